/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU as both vendors and all handlers see it.
 *
 * The vendor (hv/vmx or hv/svm) owns the control structure (VMCS or VMCB) and keeps this struct true:
 *   - gpr[], rip, rflags, exit_tsc: after every exit, and back before every entry;
 *   - system: only after exits for which exit_wants_system() is true, and back when a handler set VCPU_SYSTEM_WRITE;
 *   - pending: an event whose delivery the exit interrupted is put here before the dispatch.
 * Handlers change nothing else of the machine: they change this struct, set request bits, and the vendor and
 * hv/run/cpu_loop.c apply them before the next entry.
 */
#ifndef HV_CORE_VCPU_H
#define HV_CORE_VCPU_H

#include "hv/base/due_set.h"
#include "hv/base/types.h"
#include "hv/core/code_cache.h"
#include "hv/dev/lapic.h"
#include "hv/mm/paging_registers.h"

/* In the order of the instruction encoding. SDM 2A 2.1.5. */
enum gpr {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
    GPR_COUNT,
};
_Static_assert(GPR_COUNT == 16 && GPR_RSP == 4 && GPR_R8 == 8, "numbers of the encoding, REX bits included");

/* In the order of the instruction encoding, then the two system segments. */
enum segment_index {
    SEGMENT_ES,
    SEGMENT_CS,
    SEGMENT_SS,
    SEGMENT_DS,
    SEGMENT_FS,
    SEGMENT_GS,
    SEGMENT_LDTR,
    SEGMENT_TR,
    SEGMENT_COUNT,
};
_Static_assert(SEGMENT_CS == 1 && SEGMENT_GS == 5 && SEGMENT_LDTR == 6, "numbers of the encoding, then LDTR and TR");

/*
 * Access rights in VMX's form (SDM 3C 25.4.1 "Guest Register State", table 25-2):
 * type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
 */
#define SEGMENT_TYPE(access) ((access)&0xfu)
#define SEGMENT_CONFORMING 0x4u /* of a code segment */
#define SEGMENT_S 0x10u
#define SEGMENT_DPL_BITS 0x60u
#define SEGMENT_DPL(access) (((access) >> 5) & 3u)
#define SEGMENT_P 0x80u
#define CPL_USER 3u /* a DPL or CPL: the least privileged level */
#define SEGMENT_L 0x2000u
#define SEGMENT_DB 0x4000u
#define SEGMENT_G 0x8000u
#define SEGMENT_UNUSABLE 0x10000u

struct segment {
    uint64_t base;
    uint32_t limit; /* in bytes, expanded by G */
    uint32_t access;
    uint16_t selector;
};

struct table_register {
    uint64_t base;
    uint16_t limit;
};

#define PAE_POINTERS 4u
struct vcpu_system {
    struct segment segments[SEGMENT_COUNT];
    struct table_register gdtr;
    struct table_register idtr;
    uint64_t cr0;
    uint64_t cr2;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t pae_pointers[PAE_POINTERS]; /* under PAE paging; VMX: those that the CPU uses, whatever memory says now */
    uint64_t efer;                       /* as the guest sees it (no SVME) */
    uint64_t dr7;
    uint8_t cpl;
};

/* Vectors of exceptions. SDM 3A 6.3.1, table 6-1. */
enum exception {
    EXCEPTION_DE = 0,
    EXCEPTION_DB = 1,
    EXCEPTION_NMI = 2,
    EXCEPTION_BP = 3,
    EXCEPTION_OF = 4,
    EXCEPTION_BR = 5,
    EXCEPTION_UD = 6,
    EXCEPTION_NM = 7,
    EXCEPTION_DF = 8,
    EXCEPTION_TS = 10,
    EXCEPTION_NP = 11,
    EXCEPTION_SS = 12,
    EXCEPTION_GP = 13,
    EXCEPTION_PF = 14,
    EXCEPTION_MF = 16,
    EXCEPTION_AC = 17,
    EXCEPTION_MC = 18,
    EXCEPTION_XM = 19,
};

/* Kinds of events, with the numbers that both vendors' injection fields use (SVM has no 5 and 6). SDM 3C 25.8.3; APM
 * 2 15.20. */
enum event_kind {
    EVENT_INTERRUPT = 0,
    EVENT_NMI = 2,
    EVENT_EXCEPTION = 3,
    EVENT_SOFTWARE_INTERRUPT = 4,
    EVENT_PRIVILEGED_SOFTWARE_EXCEPTION = 5, /* INT1 */
    EVENT_SOFTWARE_EXCEPTION = 6,            /* INT3, INTO */
};

struct vcpu_event {
    bool valid;
    uint8_t vector;
    uint8_t kind; /* enum event_kind */
    bool has_error;
    uint32_t error;
    uint8_t length; /* of the instruction, software events only */
};

/* Request bits. The vendor applies the first group before the next entry; the second group makes it return to
 * hv/run/cpu_loop.c. */
enum vcpu_request {
    VCPU_SYSTEM_WRITE = 1u << 0, /* write `system` back to the control structure */
    VCPU_FLUSH = 1u << 1,        /* flush this guest's cached translations on this CPU */
    VCPU_EVENT = 1u << 2,        /* something may be injectable: ask vcpu_select_event() */
    VCPU_ADVANCED = 1u << 3,     /* rip moved past an emulated instruction: end the interrupt shadow */
    VCPU_TSC = 1u << 4,          /* tsc_offset changed */
    VCPU_MSR_BITMAP = 1u << 5,   /* APIC mode or similar changed what may pass through */
    VCPU_CR2_WRITE = 1u << 6,    /* raise_page_fault set system.cr2 */
    VCPU_STEP_TRAP = 1u << 7,    /* an emulated instruction ran with RFLAGS.TF: set DR6.BS with the pending #DB */
    VCPU_RESET = 1u << 8,        /* put the control structure into the state of INIT, then `system` */
    VCPU_XCR0 = 1u << 9,         /* load vcpu->xcr0 */
    VCPU_TASK_TRAP = 1u << 10,   /* a task switch to a TSS with its T flag: set DR6.BT with the pending #DB */
    VCPU_SPEC_CTRL = 1u << 11,   /* load msrs.spec_ctrl */
    VCPU_IBPB = 1u << 12,        /* forget this CPU's predictions */

    VCPU_HALTED = 1u << 16,   /* nothing to run until an interrupt */
    VCPU_TIMER = 1u << 17,    /* a deadline changed */
    VCPU_CONSOLE = 1u << 18,  /* bytes for the console are in a ring */
    VCPU_STOPPED = 1u << 19,  /* the guest ended or failed */
    VCPU_YIELD = 1u << 20,    /* host interrupt, end of slice, kick */
    VCPU_MESSAGES = 1u << 21, /* the lapic or platform has messages for other vCPUs */
    VCPU_PAUSED = 1u << 22,   /* it waits in a loop, and needs the rest of its slice less than another */
};
#define VCPU_LEAVE_MASK 0xffff0000u
#define VCPU_APPLY_MASK                                                                                          \
    (VCPU_SYSTEM_WRITE | VCPU_FLUSH | VCPU_EVENT | VCPU_ADVANCED | VCPU_TSC | VCPU_MSR_BITMAP | VCPU_CR2_WRITE | \
     VCPU_STEP_TRAP | VCPU_RESET | VCPU_XCR0 | VCPU_TASK_TRAP | VCPU_SPEC_CTRL | VCPU_IBPB)
_Static_assert((VCPU_APPLY_MASK & VCPU_LEAVE_MASK) == 0, "what the vendor applies does not make it leave");
_Static_assert(((VCPU_HALTED | VCPU_TIMER | VCPU_CONSOLE | VCPU_STOPPED | VCPU_YIELD | VCPU_MESSAGES | VCPU_PAUSED) &
                ~VCPU_LEAVE_MASK) == 0,
               "what hv/run/cpu_loop.c looks at makes the vendor leave");
_Static_assert((uint32_t)VCPU_SYSTEM_WRITE + VCPU_FLUSH + VCPU_EVENT + VCPU_ADVANCED + VCPU_TSC + VCPU_MSR_BITMAP +
                       VCPU_CR2_WRITE + VCPU_STEP_TRAP + VCPU_RESET + VCPU_XCR0 + VCPU_TASK_TRAP + VCPU_SPEC_CTRL +
                       VCPU_IBPB ==
                   2u * VCPU_IBPB - 1,
               "the bits from 0 on, each once");
_Static_assert((uint32_t)VCPU_HALTED + VCPU_TIMER + VCPU_CONSOLE + VCPU_STOPPED + VCPU_YIELD + VCPU_MESSAGES +
                       VCPU_PAUSED ==
                   2u * VCPU_PAUSED - VCPU_HALTED,
               "the bits from 16 on, each once");

enum vcpu_state {
    VCPU_STATE_OFF, /* waits for SIPI (secondary CPUs start so) */
    VCPU_STATE_RUNNABLE,
    VCPU_STATE_HALTED,
    VCPU_STATE_DEAD, /* the guest ended */
};

/* MSRs that the hypervisor keeps for the guest; everything else lives in the control structure or the CPU. */
struct vcpu_msrs {
    uint64_t tsc_adjust;
    uint64_t misc_enable;
    uint64_t kvm_wall_clock;
    uint64_t kvm_system_time;
    uint64_t kvm_eoi;
    uint64_t mtrr_default;
    uint64_t pat;       /* the vendor loads it; a write sets VCPU_SYSTEM_WRITE */
    uint64_t spec_ctrl; /* as the guest wrote it; a write sets VCPU_SPEC_CTRL */
};

#define EXIT_KINDS_MAX 32u
#define EXIT_RING_ENTRIES 64u
_Static_assert((EXIT_RING_ENTRIES & (EXIT_RING_ENTRIES - 1)) == 0, "the index is masked");

/* One line of a crash report's history. */
struct exit_record {
    uint64_t rip;
    uint64_t detail; /* port, MSR, address */
    uint32_t raw;    /* the vendor's exit code */
    uint32_t kind;   /* enum exit_kind */
};

struct guest;

struct vcpu {
    uint64_t gpr[GPR_COUNT];
    uint64_t rip;
    uint64_t rflags;
    uint32_t requests; /* enum vcpu_request; only the vCPU's own CPU writes it */
    struct vcpu_event pending;
    uint8_t nmi_pending;   /* how many: vcpu_note_nmi() */
    bool extint_message;   /* the I/O APIC sent an ExtINT: the vector comes from the 8259 */
    uint32_t extint_rises; /* of the platform, as far as LINT0 has seen them */
    uint64_t exit_tsc;     /* host TSC at the last exit */
    uint64_t tsc_offset;   /* guest TSC = host TSC + offset */
    struct vcpu_system system;
    uint64_t xcr0; /* kept true by the vendor for EXIT_XSETBV and CPUID leaf 0xd */
    struct vcpu_msrs msrs;
    struct lapic lapic;
    bool cpu_delivers; /* the CPU itself delivers what is in IRR (VMX virtual-interrupt delivery): it is not injected */
    struct guest *guest;
    uint32_t index;    /* within the guest */
    uint32_t host_cpu; /* index of struct cpu */
    bool shares_cpu;   /* with other vCPUs: loops of PAUSE exit where the CPU can do so */
    enum vcpu_state state;
    /* Host TSC at which an exit ends the turn, whatever it was; UINT64_MAX: none. hv/run/cpu_loop.c sets it. */
    uint64_t leave_at;
    /* TSC ticks that it had its CPU, exits included, without the present turn; hv/run/cpu_loop.c counts them. */
    uint64_t cpu_ticks;
    uint64_t turn_began;  /* host TSC; 0: it has no turn now. Others may read it: hv/guest/status.c */
    uint64_t refetch_rip; /* where the bytes were not those of the instruction that exited, and how often in a row */
    uint32_t refetches;
    uint8_t sipi_vector;
    bool holds_platform; /* platform_lock.h; only its own CPU looks */
    uint64_t pass_end;   /* host TSC: what hv/run/cpu_loop.c does for it outside of an exit ends then */
    uint32_t kick;       /* set by other CPUs, atomically: bits of enum vcpu_kick; vcpu_kick_set() */
    uint32_t due_member; /* of `due` */
    struct due_set *due; /* of its CPU: hv/run/cpu_loop.c; NULL: none is there yet */
    void *vendor;        /* struct vmx_vcpu or struct svm_vcpu */
    void *live;          /* hv/virt/vcpu_switch.c: extended state while another vCPU has the CPU */
    struct exit_record ring[EXIT_RING_ENTRIES];
    uint32_t ring_next;
    uint64_t exit_counts[EXIT_KINDS_MAX]; /* by enum exit_kind */
    struct code_cache_entry code[CODE_CACHE_ENTRIES];
    /* To the page of the last instruction that a short way looked at: for its length, and of all others. */
    struct guest_code_way length_way, code_way;
};

/* What other CPUs may ask of a vCPU. */
enum vcpu_kick {
    VCPU_KICK_INTERRUPT = 1u << 0, /* lapic.pending has something */
    VCPU_KICK_NMI = 1u << 1,
    VCPU_KICK_INIT = 1u << 2,
    VCPU_KICK_SIPI = 1u << 3,
    VCPU_KICK_STOP = 1u << 4,
    VCPU_KICK_EXTINT = 1u << 5,  /* the 8259's line has risen or is high */
    VCPU_KICK_CONSOLE = 1u << 6, /* platform.console_in has bytes */
    VCPU_KICK_EXTINT_MESSAGE = 1u << 7,
    VCPU_KICK_NMI_AGAIN = 1u << 8, /* a second one before the vCPU has looked */
    VCPU_KICK_DEVICES = 1u << 9,   /* another guest has put something into its devices' queues */
    VCPU_KICK_TAKING = 1u << 10,   /* the others were taken, and what they asked for does not show yet */
    VCPU_KICK_ORDER = 1u << 11,    /* guest->order; vCPU 0 only */
    VCPU_KICK_SOURCES = 1u << 12,  /* guest->sources; vCPU 0 only */
};
_Static_assert((uint32_t)VCPU_KICK_INTERRUPT + VCPU_KICK_NMI + VCPU_KICK_INIT + VCPU_KICK_SIPI + VCPU_KICK_STOP +
                       VCPU_KICK_EXTINT + VCPU_KICK_CONSOLE + VCPU_KICK_EXTINT_MESSAGE + VCPU_KICK_NMI_AGAIN +
                       VCPU_KICK_DEVICES + VCPU_KICK_TAKING + VCPU_KICK_ORDER + VCPU_KICK_SOURCES ==
                   2u * VCPU_KICK_SOURCES - 1,
               "the bits from 0 on, each once");

/* Its CPU's loop looks at the vCPU in its next pass. From any CPU, after what it shall see; the caller interrupts that
 * CPU. */
static inline void vcpu_look_at(const struct vcpu *vcpu)
{
    if (vcpu->due != NULL) {
        due_set_mark(vcpu->due, vcpu->due_member);
    }
}

/* The one way to set `kick`. Returns what it was. */
static inline uint32_t vcpu_kick_set(struct vcpu *vcpu, uint32_t kicks)
{
    uint32_t before = __atomic_fetch_or(&vcpu->kick, kicks, __ATOMIC_ACQ_REL);

    vcpu_look_at(vcpu);
    return before;
}

/*
 * Two NMIs that arrive while the vCPU is out of the guest are two, as on a CPU that would have begun the first one at
 * once: one is delivered, one waits for its end. While one is being handled only one is remembered; event.c sees to it.
 * SDM 3A 6.7.1 "Handling Multiple NMIs".
 */
#define VCPU_NMIS_MAX 2u

static inline void vcpu_note_nmi(struct vcpu *vcpu)
{
    if (vcpu->nmi_pending < VCPU_NMIS_MAX) {
        vcpu->nmi_pending++;
    }
}

static inline void vcpu_take_nmis(struct vcpu *vcpu, uint32_t kick)
{
    if ((kick & VCPU_KICK_NMI) != 0) {
        vcpu_note_nmi(vcpu);
    }
    if ((kick & VCPU_KICK_NMI_AGAIN) != 0) {
        vcpu_note_nmi(vcpu);
    }
}

#define RFLAGS_CF (1ULL << 0)
#define RFLAGS_FIXED (1ULL << 1)
#define RFLAGS_TF (1ULL << 8)
#define RFLAGS_IF (1ULL << 9)
#define RFLAGS_DF (1ULL << 10)
#define RFLAGS_RF (1ULL << 16)
#define RFLAGS_VM (1ULL << 17)

#endif
