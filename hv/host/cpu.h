/* SPDX-License-Identifier: MIT */
/*
 * A physical CPU as the hypervisor keeps it: which one it is, where its stacks are, what it runs, what interrupted it.
 *
 * cpus[0] is the one that firmware started (the BSP); the order is boot_info's, so `cpus = 0,1` in plinth.conf means
 * indices of this array. GS points to the CPU's own entry.
 *
 * This folder has the machine as the hypervisor drives it: CPUs, interrupts, clock, traps, memory pool, panic, power.
 * No guest's state is changed here.
 */
#ifndef HV_HOST_CPU_H
#define HV_HOST_CPU_H

#include "hv/base/limits.h"
#include "hv/base/types.h"
#include "hv/host/descriptors.h"
#include "hv/host/speculation_guard.h"
#include "hv/x86/insn.h"

#define CPU_WHY_MAX 160u

/* Each CPU's normal stack and each of its interrupt stacks; under each lies an absent guard page. */
#define CPU_STACK_BYTES (32 * KIB)
#define CPU_IST_BYTES (8 * KIB)
_Static_assert(CPU_STACK_BYTES % PAGE_BYTES == 0 && CPU_IST_BYTES % PAGE_BYTES == 0, "guard pages lie between them");
#define CPU_GUARDS (1u + DESCRIPTOR_IST_COUNT)
#define CPU_GUARDS_MAX (CPUS_MAX * CPU_GUARDS)

/* Bits of interrupt_flags: what interrupts came since the flags were last taken. */
#define CPU_FLAG_TIMER (1ULL << 0)
#define CPU_FLAG_KICK (1ULL << 1)
#define CPU_FLAG_STOP (1ULL << 2) /* the machine ends: leave the guest and halt */
#define CPU_FLAG_NMI (1ULL << 3)  /* an NMI of the machine's */

#define CPU_FLAG_DEVICES (1ULL << 4) /* of guests: cpu_take_devices() */

enum cpu_state {
    CPU_STATE_UNKNOWN, /* not started yet */
    CPU_STATE_STARTING,
    CPU_STATE_READY,  /* has its stack, tables and APIC; waits for smp_release() or runs */
    CPU_STATE_FAILED, /* `failure` says why; it is left out */
};

struct cpu_stacks {
    uint64_t main_top;
    uint64_t ist_top[DESCRIPTOR_IST_COUNT];
};

/* Stacks and guard pages of one CPU. */
static inline uint64_t cpu_stacks_bytes(void)
{
    return PAGE_BYTES + CPU_STACK_BYTES + DESCRIPTOR_IST_COUNT * (PAGE_BYTES + CPU_IST_BYTES);
}

struct vcpu;
struct trap_frame;

/* What each entry into a guest and each exit does against speculation: hv/host/speculation_guard.h. */
struct cpu_guard {
    uint32_t answers;  /* GUARD_*; 0: entries and exits are plain */
    uint32_t entry;    /* IA32_SPEC_CTRL while the guest runs */
    uint32_t exit;     /* and while the hypervisor does */
    uint16_t selector; /* for VERW */
};

/* How it sleeps, and which frequencies it was asked for. */
struct cpu_sleep {
    bool mwait;            /* else HLT */
    uint32_t state, hint;  /* of MWAIT */
    const char *frequency; /* "HWP", "CPPC"; NULL: as the firmware left it */
    uint32_t lowest, highest;
};

struct cpu {
    struct cpu *self;       /* first: GS:0 */
    struct cpu_guard guard; /* second: speculation_guard.h reads it */
    uint32_t index;
    uint32_t apic_id;
    bool bsp;
    uint32_t state; /* enum cpu_state, atomic */
    const char *failure;
    bool mtrrs_set;                      /* its memory types were not the boot CPU's when it started, and are now */
    uint64_t interrupt_flags;            /* CPU_FLAG_*: set by interrupt handlers, taken with cpu_take_flags() */
    uint64_t device_interrupts;          /* bit n: HOST_VECTOR_MESSAGE + n came */
    struct vcpu *current;                /* what it runs now; NULL: nothing */
    bool threads;                        /* its core has other threads */
    const void *last_guest;              /* what one guest left in it is cleared before another's turn */
    uint32_t between_guests;             /* how: speculation_start() said it */
    uint32_t spec_ctrl;                  /* bits of IA32_SPEC_CTRL that stay on, whatever a guest has there */
    void *vendor;                        /* the vendor's per-CPU memory, virt_cpu_bytes() */
    char why[CPU_WHY_MAX];               /* room for `failure` */
    uint64_t nmis;                       /* that no CPU sent */
    uint64_t nmis_reported;              /* how many there were when that was last said */
    bool nmi_asked;                      /* atomic: the next NMI is another CPU's question (hv/host/cpu_watch.c) */
    uint64_t turns;                      /* of cpu_loop_run(): hv/host/cpu_watch.c looks whether they go on */
    uint64_t armed;                      /* TSC at which its timer interrupts it */
    uint64_t turn_end;                   /* cpu_timer_alone() */
    struct cpu_sleep sleep;              /* cpu_idle_start() decided it */
    bool idle;                           /* sleeps until an interrupt */
    const struct trap_frame *stopped_at; /* where a panic's NMI found it; NULL: it has not answered */
    struct cpu_stacks stacks;
    struct descriptor_tables descriptors;
};
_Static_assert(offsetof(struct cpu, self) == 0, "cpu_this() reads GS:0");
_Static_assert(offsetof(struct cpu, guard) == CPU_GUARD_ANSWERS &&
                   offsetof(struct cpu, guard.entry) == CPU_GUARD_ENTRY &&
                   offsetof(struct cpu, guard.exit) == CPU_GUARD_EXIT &&
                   offsetof(struct cpu, guard.selector) == CPU_GUARD_SELECTOR,
               "speculation_guard.h");

extern struct cpu cpus[CPUS_MAX];
extern uint32_t cpu_count; /* entries of cpus[], those that failed included */

/* Makes `cpu` the entry of the calling CPU: the first thing that a CPU does. */
void cpu_bind(struct cpu *cpu);

/* The calling CPU. */
static inline struct cpu *cpu_this(void)
{
    return insn_read_gs_pointer();
}

/* The flags that are set, which are cleared: an interrupt that comes between is not lost. */
static inline uint64_t cpu_take_flags(struct cpu *cpu)
{
    return __atomic_exchange_n(&cpu->interrupt_flags, 0, __ATOMIC_ACQ_REL);
}

/* One of them alone. Was it set? */
static inline bool cpu_take_flag(struct cpu *cpu, uint64_t flag)
{
    return (__atomic_fetch_and(&cpu->interrupt_flags, ~flag, __ATOMIC_ACQ_REL) & flag) != 0;
}

static inline uint64_t cpu_flags(const struct cpu *cpu)
{
    return __atomic_load_n(&cpu->interrupt_flags, __ATOMIC_ACQUIRE);
}

static inline void cpu_set_flags(struct cpu *cpu, uint64_t flags)
{
    __atomic_fetch_or(&cpu->interrupt_flags, flags, __ATOMIC_ACQ_REL);
}

/* Which interrupts of guests' devices came since the last time. */
static inline uint64_t cpu_take_devices(struct cpu *cpu)
{
    return __atomic_exchange_n(&cpu->device_interrupts, 0, __ATOMIC_ACQ_REL);
}

static inline bool cpu_is_ready(const struct cpu *cpu)
{
    return __atomic_load_n(&cpu->state, __ATOMIC_ACQUIRE) == CPU_STATE_READY;
}

/* Makes the calling CPU leave its guest soon: sends CPU_FLAG_KICK to another CPU or to the calling one. */
void cpu_kick(const struct cpu *cpu);

/* After CPU_FLAG_NMI: says which CPU got how many NMIs and what the chipset says of their cause, when there are twice
 * as many as at the last time, so that a storm of them does not drown the console. */
void cpu_report_nmis(struct cpu *cpu);

#endif
