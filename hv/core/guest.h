/* SPDX-License-Identifier: MIT */
/*
 * A guest: its memory, its PC, its vCPUs, and what became of it.
 *
 * This folder has what a guest and a vCPU are, and what happens to them whatever the vendor. Pure: handlers change the
 * vCPU and its guest and nothing of the machine.
 */
#ifndef HV_CORE_GUEST_H
#define HV_CORE_GUEST_H

#include "config/config.h"
#include "hv/base/cpu_set.h"
#include "hv/base/spinlock.h"
#include "hv/core/cpuid_table.h"
#include "hv/core/guest_codes.h"
#include "hv/core/quirks.h"
#include "hv/core/vcpu.h"
#include "hv/dev/platform.h"
#include "hv/mm/guest_layout.h"
#include "hv/mm/guest_memory.h"
#include "hv/mm/small_code.h"

#define GUEST_UNKNOWN_MAX 32u
#define UNKNOWN_TEXT_MAX 192u /* a line about one of them */
#define GUEST_REPORT_MAX 256u

enum guest_state {
    GUEST_RUNNING,
    GUEST_STOPPED, /* ended by its own wish, or the operator's: power-off, debug exit 0, all CPUs halted for good */
    GUEST_CRASHED, /* guest_fail() */
    GUEST_RESET,   /* asked for a reset */
};

/* hv/core/guest_order.h */
enum guest_order {
    ORDER_NONE,
    ORDER_POWER_BUTTON,
    ORDER_KILL,
    ORDER_RESTART,
    ORDER_LINK, /* says nothing of the guest's end */
};

enum unknown_kind {
    UNKNOWN_PORT_READ,
    UNKNOWN_PORT_WRITE,
    UNKNOWN_MSR_READ,
    UNKNOWN_MSR_WRITE,
    UNKNOWN_MMIO_READ,
    UNKNOWN_MMIO_WRITE,
    UNKNOWN_HYPERCALL,
    UNKNOWN_BIOS, /* the interrupt's number << 8 | AH */
};

/* Accesses that no device answers, to one resource or a range of neighbours: logged once, counted, named in the final
 * report. */
struct unknown_access {
    enum unknown_kind kind;
    uint64_t resource; /* port, MSR, page of guest-physical address: the lowest */
    uint64_t last;     /* the highest */
    uint64_t value;    /* first value written */
    uint64_t rip;      /* of the first */
    uint64_t count;
    bool reported;
};

/* What the machine is for all guests: made at boot, constant afterwards. */
struct host_facts {
    struct clock clock;
    uint32_t tsc_khz;
    bool tsc_stable;
    bool is_intel;
    uint8_t physical_bits;
    bool gib_pages;        /* in the guests' own tables */
    uint64_t boot_wall_ns; /* Unix time in ns at boot_tsc */
    uint64_t boot_tsc;
    uint64_t exit_ticks;  /* EXIT_WORK_NS in TSC ticks */
    bool tsc_is_machines; /* a guest's TSC begins as the machine's, for its deadline's sake; else with 0 */
    struct cpuid_host cpuid;
    uint64_t arch_capabilities; /* what guests read of IA32_ARCH_CAPABILITIES: true on every CPU */
    bool spec_ctrl;             /* guests may have SPEC_CTRL and PRED_CMD, as far as CPUID offers them */
    uint32_t microcode;         /* of the boot CPU; 0: it says none */
    struct quirks quirks;       /* of the emulator that the machine is, if it is one */
};

/* Loops that a guest can feed end after this time, or with the vCPU's turn, and go on after the next entry. */
#define EXIT_WORK_NS 50000u

/* A bit per port as both vendors want them, and as many more as an access to the last one may look at. APM 2 15.10.1;
 * SDM 3C 25.6.4. */
#define GUEST_IO_MAP_BYTES 12288u

/* Interrupts of the machine's devices that a guest has, by number: IRQs of the ISA bus first, then what others give
 * out. */
#define GUEST_SOURCES 256u
#define GUEST_SOURCE_IRQS 16u /* source n below it is IRQ n of the guest's PC */
#define GUEST_SOURCE_WORDS (GUEST_SOURCES / 64)

/* hv/core/guest_watchdog.h; vCPU 0's CPU has it. */
struct guest_watchdog {
    uint64_t deadline; /* when to look; UINT64_MAX: no watchdog */
    uint64_t progress; /* the count when it was last seen to change */
    uint64_t progress_at;
};

/* hv/core/guest_apic_page.h */
struct guest_apic_page {
    struct page_table *tree; /* NULL: the guest has none */
    struct guest_range range;
    bool mapped; /* atomic */
};

struct guest {
    char name[CONFIG_NAME_MAX + 1];
    uint32_t index;
    const struct config_guest *config;
    const struct host_facts *host;
    struct guest_layout layout;
    struct guest_memory memory;
    struct platform platform;
    uint64_t platform_deadline; /* what platform_deadline() said last; atomic, hv/core/guest_io.c writes it */
    struct guest_watchdog watchdog;
    uint32_t order;                /* enum guest_order, atomic: what is still to be done */
    enum guest_order obeyed;       /* what was done last since the start: it decides over `on_stop` */
    uint64_t stop_deadline;        /* host TSC at which it is killed after its power button; UINT64_MAX: none */
    struct guest_devices *devices; /* hv/core/guest_devices.h; NULL: it has none */
    struct vcpu *vcpus;
    uint32_t vcpu_count;
    struct cpuid_table cpuid;
    const uint8_t *io_map;                /* GUEST_IO_MAP_BYTES: a bit per port, set where it exits; NULL: all do */
    uint64_t cr4_allowed;                 /* CR4 bits whose features `cpuid` offers */
    uint64_t nested_root;                 /* host-physical */
    struct small_code *small_code;        /* NULL: large leaves are executable */
    uint32_t shadow_tables;               /* for each vCPU; 0: nested paging */
    uint32_t asid;                        /* ASID or VPID of vCPU 0; vCPU n has asid + n */
    uint64_t sources[GUEST_SOURCE_WORDS]; /* that have come and were not taken yet; atomic: hv/core/guest_irq.h */
    struct cpu_set kick_cpus;             /* posted: host CPUs that hv/run/cpu_loop.c must interrupt */
    uint32_t state;                       /* enum guest_state, atomic; what follows is true before it changes */
    bool ending;                          /* atomic: a reason is being written or stands */
    bool ended_well;                      /* as the config expects */
    char report[GUEST_REPORT_MAX];        /* one sentence: why it stopped or failed */
    uint32_t failure_code;                /* GUEST_CRASHED only */
    uint32_t failed_vcpu;
    struct spinlock unknown_lock;
    struct unknown_access unknown[GUEST_UNKNOWN_MAX];
    uint32_t unknown_count;
    uint32_t unknown_latest;  /* the entry that was counted last */
    uint64_t unknown_dropped; /* resources beyond GUEST_UNKNOWN_MAX */
    uint32_t restarts;
    uint64_t start_tsc;  /* host TSC at which the guest's clock was 0 */
    uint64_t cost_bytes; /* of the hypervisor's memory, for this guest alone */
    struct guest_apic_page apic_page;
};

/*
 * The second class of failure: this guest misbehaved or is broken. Stops it (all vCPUs), keeps the sentence, and
 * all others run on. Returns; the handler then returns to the run loop, which leaves.
 */
__attribute__((format(printf, 3, 4))) void guest_fail(struct vcpu *vcpu, uint32_t code, const char *form, ...);

/* The guest ended by its own wish. */
__attribute__((format(printf, 3, 4))) void guest_stop(struct vcpu *vcpu, bool well, const char *form, ...);

/* The guest asks for a reset; `why` names how. After a panic of its kernel, or where its config says so, that is a
 * crash. */
void guest_reset(struct vcpu *vcpu, const char *why);

/* Notes an access that no device answers; hv/run/cpu_loop.c logs it the first time (`reported`). */
void guest_note_unknown(struct vcpu *vcpu, enum unknown_kind kind, uint64_t resource, uint64_t value);

/* The same where it stands in the list already. False: it does not, or the list is in use; nothing has been done. */
bool guest_count_unknown(struct guest *guest, enum unknown_kind kind, uint64_t resource);

/* Was it the last one that was counted? With the lock. */
static inline bool guest_unknown_is_latest(const struct guest *guest, enum unknown_kind kind, uint64_t resource)
{
    const struct unknown_access *latest = &guest->unknown[guest->unknown_latest];

    return guest->unknown_latest < guest->unknown_count && latest->kind == kind && resource >= latest->resource &&
           resource <= latest->last;
}

/* The same where it was the last one that was counted; else nothing has been done. */
static inline bool guest_count_unknown_again(struct guest *guest, enum unknown_kind kind, uint64_t resource)
{
    bool again;

    if (!spinlock_try(&guest->unknown_lock)) {
        return false;
    }
    again = guest_unknown_is_latest(guest, kind, resource);
    if (again) {
        guest->unknown[guest->unknown_latest].count++;
    }
    spinlock_release(&guest->unknown_lock);
    return again;
}

/* "reads MSR 0x1a0 (first at rip 0x..., 3 times): not offered, it gets #GP", or "MSR 0x1a0 to 0x1a7". Returns `to`. */
const char *guest_unknown_describe(const struct unknown_access *access, char *to, size_t capacity);

/* The host TSC at which the work of the present exit has to end. */
static inline uint64_t vcpu_exit_end(const struct vcpu *vcpu)
{
    return min_u64(vcpu->exit_tsc + vcpu->guest->host->exit_ticks, vcpu->leave_at);
}

#endif
