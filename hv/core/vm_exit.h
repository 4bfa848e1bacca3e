/* SPDX-License-Identifier: MIT */
/*
 * The neutral exit: what both vendors' decoders make of their raw exit words, and all that a handler gets to see.
 */
#ifndef HV_CORE_VM_EXIT_H
#define HV_CORE_VM_EXIT_H

#include "hv/core/vcpu.h"

enum exit_kind {
    EXIT_HOST_INTERRUPT,   /* a physical interrupt, NMI or SMI of the host arrived: nothing of the guest's doing */
    EXIT_INTERRUPT_WINDOW, /* the guest can take an interrupt now */
    EXIT_CPUID,
    EXIT_RDMSR,
    EXIT_WRMSR,
    EXIT_IO,
    EXIT_NESTED_FAULT, /* EPT violation or misconfiguration, #NPF */
    EXIT_HLT,
    EXIT_HYPERCALL, /* VMCALL, VMMCALL */
    EXIT_XSETBV,
    EXIT_RDPMC,
    EXIT_WBINVD, /* WBINVD, INVD, WBNOINVD */
    EXIT_CR_ACCESS,
    EXIT_EXCEPTION, /* an intercepted exception, before its delivery */
    EXIT_TASK_SWITCH,
    EXIT_UNDEFINED,   /* an instruction that this machine does not offer (VMRUN, VMXON, MWAIT, ...): #UD */
    EXIT_NOTHING,     /* an instruction with no effect here (INVLPG): go on after it */
    EXIT_PAUSE,       /* a loop of PAUSE, on a CPU that several vCPUs share: another may have the slice's rest */
    EXIT_SHUTDOWN,    /* triple fault */
    EXIT_APIC_WRITE,  /* VMX with APIC virtualization: a register was written, offset in apic.offset */
    EXIT_EOI,         /* VMX with virtual-interrupt delivery: EOI of a level-triggered vector */
    EXIT_APIC_ACCESS, /* VMX with APIC virtualization: dispatched as the EXIT_NESTED_FAULT that it is in all else */
    EXIT_INVALID,     /* the CPU refused to enter: the control structure is wrong */
    EXIT_UNKNOWN,     /* an exit that was never asked for */
    EXIT_KIND_COUNT,
};
_Static_assert(EXIT_KIND_COUNT <= EXIT_KINDS_MAX, "struct vcpu counts every kind");
_Static_assert(EXIT_KIND_COUNT <= 32, "guest_watchdog.c has a bit per kind in 32 bits");

const char *exit_kind_name(enum exit_kind kind);

struct exit_io {
    uint16_t port;
    uint8_t size; /* 1, 2, 4 */
    bool in;
    bool string;
    bool rep;
};

struct exit_nested_fault {
    gpa_t address;
    bool write;
    bool fetch;
    bool table_walk; /* the guest's page-table walk caused it, not the access itself */
};

struct exit_cr_access {
    uint8_t number; /* 0, 3, 4, 8 */
    bool write;
    bool clts;
    bool lmsw;
    bool smsw;
    uint8_t gpr;        /* enum gpr: source or target */
    uint8_t smsw_bytes; /* of the target that change: 2, 4, 8; 0: it was memory, and is done */
    uint16_t lmsw_source;
};

enum task_switch_reason {
    TASK_SWITCH_CALL,
    TASK_SWITCH_IRET,
    TASK_SWITCH_JMP,
    TASK_SWITCH_GATE, /* through the IDT */
};

struct exit_task_switch {
    uint16_t selector;
    enum task_switch_reason reason;
    bool has_error;
    uint32_t error;
};

struct vm_exit {
    enum exit_kind kind;
    uint32_t raw;   /* the vendor's code, for reports */
    uint8_t length; /* of the instruction that exited; 0 where it does not apply or is not known */
    union {
        struct exit_io io;
        struct exit_nested_fault fault;
        struct exit_cr_access cr;
        struct exit_task_switch task;
        struct {
            uint8_t vector;
            bool has_error;
            bool by_int1; /* with the exit's length: a trap that exits before its instruction is stepped over */
            uint32_t error;
            uint64_t address; /* #PF, #DB: CR2 or DR6 bits */
        } exception;
        struct {
            uint32_t offset;
        } apic;
        struct {
            uint64_t info[2]; /* raw words of an EXIT_INVALID or EXIT_UNKNOWN */
        } words;
    };
};

/* The MSRs whose handlers look at or change the system state, or have it written back. SDM 4 2.1, table 2-2: IA32_PAT,
 * IA32_EFER. */
#define EXIT_MSR_PAT 0x277u
#define EXIT_MSR_EFER 0xc0000080u

/* Handlers of these read or write vcpu->system; the vendor fills it before the dispatch. */
static inline bool exit_wants_system(const struct vcpu *vcpu, const struct vm_exit *exit)
{
    switch (exit->kind) {
    case EXIT_IO:
        return exit->io.string;
    case EXIT_WRMSR:
        return (uint32_t)vcpu->gpr[GPR_RCX] == EXIT_MSR_EFER || (uint32_t)vcpu->gpr[GPR_RCX] == EXIT_MSR_PAT;
    case EXIT_RDMSR:
        return (uint32_t)vcpu->gpr[GPR_RCX] == EXIT_MSR_EFER;
    case EXIT_NESTED_FAULT:
    case EXIT_APIC_ACCESS:
    case EXIT_XSETBV:
    case EXIT_RDPMC:
    case EXIT_CR_ACCESS:
    case EXIT_EXCEPTION:
    case EXIT_TASK_SWITCH:
    case EXIT_SHUTDOWN:
    case EXIT_HYPERCALL:
    case EXIT_INVALID:
    case EXIT_UNKNOWN:
        return true;
    case EXIT_HOST_INTERRUPT:
    case EXIT_INTERRUPT_WINDOW:
    case EXIT_CPUID:
    case EXIT_HLT:
    case EXIT_WBINVD:
    case EXIT_UNDEFINED:
    case EXIT_NOTHING:
    case EXIT_PAUSE:
    case EXIT_APIC_WRITE:
    case EXIT_EOI:
    case EXIT_KIND_COUNT:
        return false;
    }
    return true;
}

#endif
