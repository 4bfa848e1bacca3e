/* SPDX-License-Identifier: MIT */
#include "hv/vmx/decode.h"

#include "hv/mm/guest_layout.h"

/* Control-register accesses. Table 28-3. */
#define CR_TYPE_FROM 1u
#define CR_TYPE_CLTS 2u
#define CR_TYPE_LMSW 3u
#define CR_LMSW_SHIFT 16u

/* Task switches. Table 28-2. */
#define TASK_SOURCE_SHIFT 30u

static void decode_io(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    uint64_t info = words->qualification;

    exit->kind = EXIT_IO;
    exit->io = (struct exit_io){
        .port = (uint16_t)(info >> VMX_IO_PORT_SHIFT),
        .size = (uint8_t)((info & VMX_IO_SIZE) + 1),
        .in = (info & VMX_IO_IN) != 0,
        .string = (info & VMX_IO_STRING) != 0,
        .rep = (info & VMX_IO_REP) != 0,
    };
}

static void decode_nested_fault(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    uint64_t info = words->qualification;

    exit->kind = EXIT_NESTED_FAULT;
    exit->fault = (struct exit_nested_fault){
        .address = gpa(words->guest_physical),
        .write = (info & VMX_EPT_WRITE) != 0,
        .fetch = (info & VMX_EPT_FETCH) != 0,
        .table_walk = (info & VMX_EPT_LINEAR_VALID) != 0 && (info & VMX_EPT_FINAL) == 0,
    };
}

/* In xAPIC mode at its usual place: nowhere else does the CPU serve a local APIC in memory. */
static void decode_apic_access(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    enum vmx_apic_access type = vmx_apic_access_type(words->qualification);

    exit->kind = EXIT_APIC_ACCESS;
    exit->fault = (struct exit_nested_fault){
        .address = gpa(GUEST_LAPIC_BASE | (words->qualification & VMX_APIC_OFFSET)),
        .write = type == VMX_APIC_WRITE,
        .fetch = type == VMX_APIC_FETCH,
        .table_walk = type >= VMX_APIC_PHYSICAL_DELIVERY,
    };
}

static void decode_task_switch(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    static const enum task_switch_reason sources[] = {TASK_SWITCH_CALL, TASK_SWITCH_IRET, TASK_SWITCH_JMP,
                                                      TASK_SWITCH_GATE};

    exit->kind = EXIT_TASK_SWITCH;
    exit->task = (struct exit_task_switch){
        .selector = (uint16_t)words->qualification,
        .reason = sources[(words->qualification >> TASK_SOURCE_SHIFT) & 3],
        .has_error =
            (words->vectoring & (VMX_EVENT_VALID | VMX_EVENT_HAS_ERROR)) == (VMX_EVENT_VALID | VMX_EVENT_HAS_ERROR),
        .error = words->vectoring_error,
    };
}

static void decode_cr(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    uint64_t info = words->qualification;
    uint32_t type = (uint32_t)((info >> VMX_CR_TYPE_SHIFT) & VMX_CR_TYPE);

    exit->kind = EXIT_CR_ACCESS;
    exit->cr = (struct exit_cr_access){
        .number = (uint8_t)(info & VMX_CR_NUMBER),
        .write = type != CR_TYPE_FROM,
        .clts = type == CR_TYPE_CLTS,
        .lmsw = type == CR_TYPE_LMSW,
        .gpr = (uint8_t)((info >> VMX_CR_GPR_SHIFT) & VMX_CR_GPR),
        .lmsw_source = (uint16_t)(info >> CR_LMSW_SHIFT),
    };
}

/* NMIs are the host's. For #DB the qualification holds the DR6 bits. SDM 3C 28.2.1, table 28-1. */
static void decode_exception(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    uint32_t type = (words->event >> VMX_EVENT_TYPE_SHIFT) & VMX_EVENT_TYPE;

    exit->kind = type == EVENT_NMI ? EXIT_HOST_INTERRUPT : EXIT_EXCEPTION;
    exit->exception.vector = (uint8_t)(words->event & VMX_EVENT_VECTOR);
    exit->exception.has_error = (words->event & VMX_EVENT_HAS_ERROR) != 0;
    exit->exception.by_int1 = type == EVENT_PRIVILEGED_SOFTWARE_EXCEPTION;
    exit->exception.error = words->error_code;
    exit->exception.address = words->qualification;
}

static enum exit_kind simple_kind(uint32_t reason)
{
    switch (reason) {
    case VMX_EXIT_EXTERNAL_INTERRUPT:
    case VMX_EXIT_INIT:
    case VMX_EXIT_SIPI:
    case VMX_EXIT_PREEMPTION_TIMER: /* the hypervisor's own deadline: timer.c */
        return EXIT_HOST_INTERRUPT;
    case VMX_EXIT_INTERRUPT_WINDOW:
    case VMX_EXIT_NMI_WINDOW:
    case VMX_EXIT_TPR_BELOW_THRESHOLD:
        return EXIT_INTERRUPT_WINDOW;
    case VMX_EXIT_TRIPLE_FAULT:
        return EXIT_SHUTDOWN;
    case VMX_EXIT_CPUID:
        return EXIT_CPUID;
    case VMX_EXIT_HLT:
        return EXIT_HLT;
    case VMX_EXIT_RDMSR:
        return EXIT_RDMSR;
    case VMX_EXIT_WRMSR:
        return EXIT_WRMSR;
    case VMX_EXIT_VMCALL:
        return EXIT_HYPERCALL;
    case VMX_EXIT_XSETBV:
        return EXIT_XSETBV;
    case VMX_EXIT_RDPMC:
        return EXIT_RDPMC;
    case VMX_EXIT_INVD:
    case VMX_EXIT_WBINVD:
        return EXIT_WBINVD;
    case VMX_EXIT_PAUSE:
        return EXIT_PAUSE;
    case VMX_EXIT_INVLPG: /* shadow.c has done it */
        return EXIT_NOTHING;
    case VMX_EXIT_VIRTUAL_EOI:
        return EXIT_EOI;
    case VMX_EXIT_GETSEC:
    case VMX_EXIT_RSM:
    case VMX_EXIT_MWAIT:
    case VMX_EXIT_MONITOR:
    case VMX_EXIT_INVEPT:
    case VMX_EXIT_INVVPID:
    case VMX_EXIT_VMFUNC:
    case VMX_EXIT_ENCLS:
    case VMX_EXIT_XSAVES:
    case VMX_EXIT_XRSTORS:
    case VMX_EXIT_PCONFIG:
    case VMX_EXIT_UMWAIT:
    case VMX_EXIT_TPAUSE:
    case VMX_EXIT_LOADIWKEY:
    case VMX_EXIT_ENCLV:
    case VMX_EXIT_SEAMCALL:
    case VMX_EXIT_TDCALL:
        return EXIT_UNDEFINED;
    default:
        return reason >= VMX_EXIT_VMCLEAR && reason <= VMX_EXIT_VMXON ? EXIT_UNDEFINED : EXIT_UNKNOWN;
    }
}

void vmx_decode_exit(const struct vmx_exit_words *words, struct vm_exit *exit)
{
    exit->raw = words->reason;
    exit->length = (uint8_t)words->length;
    switch (words->reason) {
    case VMX_EXIT_EXCEPTION_NMI:
        decode_exception(words, exit);
        break;
    case VMX_EXIT_IO:
        decode_io(words, exit);
        break;
    case VMX_EXIT_CR:
        decode_cr(words, exit);
        break;
    case VMX_EXIT_TASK_SWITCH:
        decode_task_switch(words, exit);
        break;
    case VMX_EXIT_EPT_VIOLATION:
    case VMX_EXIT_EPT_MISCONFIGURATION:
        decode_nested_fault(words, exit);
        break;
    case VMX_EXIT_APIC_ACCESS:
        decode_apic_access(words, exit);
        break;
    case VMX_EXIT_APIC_WRITE:
        exit->kind = EXIT_APIC_WRITE;
        exit->apic.offset = (uint32_t)(words->qualification & 0xfff);
        break;
    default:
        exit->kind = (words->reason & VMX_EXIT_ENTRY_FAILED) != 0 ? EXIT_INVALID : simple_kind(words->reason);
        exit->words.info[0] = words->qualification;
        exit->words.info[1] = words->guest_physical;
        break;
    }
}

bool vmx_exit_needs_qualification(uint32_t reason)
{
    return reason == VMX_EXIT_IO || reason == VMX_EXIT_CR || reason == VMX_EXIT_TASK_SWITCH ||
           reason == VMX_EXIT_EPT_VIOLATION || reason == VMX_EXIT_EPT_MISCONFIGURATION ||
           reason == VMX_EXIT_EXCEPTION_NMI || reason == VMX_EXIT_VIRTUAL_EOI || reason == VMX_EXIT_APIC_WRITE ||
           reason == VMX_EXIT_APIC_ACCESS || (reason & VMX_EXIT_ENTRY_FAILED) != 0;
}

/* Instructions that are stepped over. SDM 3C 28.2.5 "Information for VM Exits Due to Instruction Execution". */
bool vmx_exit_needs_length(uint32_t reason)
{
    return reason == VMX_EXIT_CPUID || reason == VMX_EXIT_HLT || reason == VMX_EXIT_INVD || reason == VMX_EXIT_VMCALL ||
           reason == VMX_EXIT_CR || reason == VMX_EXIT_IO || reason == VMX_EXIT_RDMSR || reason == VMX_EXIT_WRMSR ||
           reason == VMX_EXIT_PAUSE || reason == VMX_EXIT_WBINVD || reason == VMX_EXIT_XSETBV ||
           reason == VMX_EXIT_TASK_SWITCH || reason == VMX_EXIT_RDPMC || reason == VMX_EXIT_INVLPG;
}

/* Software interrupts and exceptions are not injected again: rip still points at the instruction, which runs again. */
struct vcpu_event vmx_decode_event(uint32_t vectoring, uint32_t error)
{
    uint8_t kind = (uint8_t)((vectoring >> VMX_EVENT_TYPE_SHIFT) & VMX_EVENT_TYPE);

    return (struct vcpu_event){
        .valid = (vectoring & VMX_EVENT_VALID) != 0 && kind < EVENT_SOFTWARE_INTERRUPT,
        .vector = (uint8_t)(vectoring & VMX_EVENT_VECTOR),
        .kind = kind,
        .has_error = (vectoring & VMX_EVENT_HAS_ERROR) != 0,
        .error = error,
    };
}

uint32_t vmx_encode_event(const struct vcpu_event *event)
{
    return VMX_EVENT_VALID | event->vector | (uint32_t)event->kind << VMX_EVENT_TYPE_SHIFT |
           (event->has_error ? VMX_EVENT_HAS_ERROR : 0);
}
