/* SPDX-License-Identifier: MIT */
#include "hv/svm/decode.h"

/* EXITINFO2 of a task switch. APM 2 15.14.1 "Task Switch Intercept". */
#define TASK_BY_IRET (1ULL << 36)
#define TASK_BY_JMP (1ULL << 38)
#define TASK_HAS_ERROR (1ULL << 44)

static void decode_io(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint64_t info = vmcb->exit_info1;

    exit->kind = EXIT_IO;
    exit->io = (struct exit_io){
        .port = (uint16_t)(info >> SVM_IOIO_PORT_SHIFT),
        .size = (uint8_t)((info >> SVM_IOIO_SIZE_SHIFT) & 7),
        .in = (info & SVM_IOIO_IN) != 0,
        .string = (info & SVM_IOIO_STRING) != 0,
        .rep = (info & SVM_IOIO_REP) != 0,
    };
}

static void decode_nested_fault(const struct vmcb *vmcb, struct vm_exit *exit)
{
    exit->kind = EXIT_NESTED_FAULT;
    exit->fault = (struct exit_nested_fault){
        .address = gpa(vmcb->exit_info2),
        .write = (vmcb->exit_info1 & NPF_WRITE) != 0,
        .fetch = (vmcb->exit_info1 & NPF_FETCH) != 0,
        .table_walk = (vmcb->exit_info1 & NPF_TABLE_WALK) != 0,
    };
}

static enum task_switch_reason task_reason(const struct vmcb *vmcb)
{
    if ((vmcb->exit_info2 & TASK_BY_IRET) != 0) {
        return TASK_SWITCH_IRET;
    }
    if ((vmcb->exit_info2 & TASK_BY_JMP) != 0) {
        return TASK_SWITCH_JMP;
    }
    return (vmcb->exit_int_info & EVENT_VALID) != 0 ? TASK_SWITCH_GATE : TASK_SWITCH_CALL;
}

static void decode_task_switch(const struct vmcb *vmcb, struct vm_exit *exit)
{
    exit->kind = EXIT_TASK_SWITCH;
    exit->task = (struct exit_task_switch){
        .selector = (uint16_t)vmcb->exit_info1,
        .reason = task_reason(vmcb),
        .has_error = (vmcb->exit_info2 & TASK_HAS_ERROR) != 0,
        .error = (uint32_t)vmcb->exit_info2,
    };
}

/* #PF: CR2 is in EXITINFO2; #DB has none there. APM 2 15.12 "Exception Intercepts". */
static void decode_exception(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint8_t vector = (uint8_t)(vmcb->exit_code - SVM_EXIT_EXCEPTION_FIRST);

    exit->kind = EXIT_EXCEPTION;
    exit->exception.vector = vector;
    exit->exception.by_int1 = false; /* that has an intercept of its own, which is not used */
    exit->exception.has_error = vector == EXCEPTION_AC || vector == EXCEPTION_PF || vector == EXCEPTION_DF ||
                                (vector >= EXCEPTION_TS && vector <= EXCEPTION_GP);
    exit->exception.error = (uint32_t)vmcb->exit_info1;
    exit->exception.address = vmcb->exit_info2;
}

static enum exit_kind simple_kind(uint64_t code)
{
    switch (code) {
    case SVM_EXIT_INTR:
    case SVM_EXIT_NMI:
    case SVM_EXIT_SMI:
    case SVM_EXIT_INIT:
        return EXIT_HOST_INTERRUPT;
    case SVM_EXIT_VINTR:
        return EXIT_INTERRUPT_WINDOW;
    case SVM_EXIT_CPUID:
        return EXIT_CPUID;
    case SVM_EXIT_HLT:
        return EXIT_HLT;
    case SVM_EXIT_VMMCALL:
        return EXIT_HYPERCALL;
    case SVM_EXIT_XSETBV:
        return EXIT_XSETBV;
    case SVM_EXIT_RDPMC:
        return EXIT_RDPMC;
    case SVM_EXIT_INVD:
    case SVM_EXIT_WBINVD:
        return EXIT_WBINVD;
    case SVM_EXIT_PAUSE:
        return EXIT_PAUSE;
    case SVM_EXIT_INVLPG: /* shadow.c has done it */
    case SVM_EXIT_FERR_FREEZE:
        return EXIT_NOTHING;
    case SVM_EXIT_SHUTDOWN:
        return EXIT_SHUTDOWN;
    case SVM_EXIT_RSM:
    case SVM_EXIT_INVLPGA:
    case SVM_EXIT_VMRUN:
    case SVM_EXIT_VMLOAD:
    case SVM_EXIT_VMSAVE:
    case SVM_EXIT_STGI:
    case SVM_EXIT_CLGI:
    case SVM_EXIT_SKINIT:
    case SVM_EXIT_MONITOR:
    case SVM_EXIT_MWAIT:
    case SVM_EXIT_MWAIT_ARMED:
    case SVM_EXIT_RDPRU:
        return EXIT_UNDEFINED;
    default:
        return EXIT_UNKNOWN;
    }
}

void svm_decode_exit(const struct vmcb *vmcb, struct vm_exit *exit)
{
    uint64_t code = vmcb->exit_code;

    exit->raw = (uint32_t)code;
    exit->length = 0;
    if (code == SVM_EXIT_MSR) {
        exit->kind = vmcb->exit_info1 == SVM_MSR_WRITE ? EXIT_WRMSR : EXIT_RDMSR;
    } else if (code == SVM_EXIT_IOIO) {
        decode_io(vmcb, exit);
    } else if (code == SVM_EXIT_NPF) {
        decode_nested_fault(vmcb, exit);
    } else if (code == SVM_EXIT_TASK_SWITCH) {
        decode_task_switch(vmcb, exit);
    } else if (code >= SVM_EXIT_EXCEPTION_FIRST && code <= SVM_EXIT_EXCEPTION_LAST) {
        decode_exception(vmcb, exit);
    } else {
        exit->kind = (uint32_t)code == SVM_EXIT_INVALID ? EXIT_INVALID : simple_kind(code);
        exit->words.info[0] = vmcb->exit_info1;
        exit->words.info[1] = vmcb->exit_info2;
    }
}

bool svm_exit_needs_length(uint64_t exit_code)
{
    return exit_code == SVM_EXIT_MSR || exit_code == SVM_EXIT_IOIO || exit_code == SVM_EXIT_XSETBV ||
           (exit_code >= SVM_EXIT_RDPMC && exit_code <= SVM_EXIT_INVLPGA && exit_code != SVM_EXIT_IRET) ||
           exit_code == SVM_EXIT_VMMCALL || exit_code == SVM_EXIT_WBINVD;
}

bool svm_exit_is_cr_access(uint64_t exit_code)
{
    return exit_code == SVM_EXIT_CR0_READ || exit_code == SVM_EXIT_CR0_WRITE || exit_code == SVM_EXIT_CR0_SELECTIVE ||
           exit_code == SVM_EXIT_CR3_READ || exit_code == SVM_EXIT_CR3_WRITE || exit_code == SVM_EXIT_CR4_READ ||
           exit_code == SVM_EXIT_CR4_WRITE || exit_code == SVM_EXIT_CR8_WRITE;
}

/* Apart, because it would cost the frequent ones instructions. */
__attribute__((noinline)) static uint8_t rare_length(uint64_t exit_code, const uint8_t code[SVM_PLAIN_BYTES])
{
    if (code[0] != 0x0f) {
        return 0;
    }
    if (exit_code == SVM_EXIT_WBINVD) {
        return code[1] == 0x09 ? 2 : 0;
    }
    if (exit_code == SVM_EXIT_XSETBV) {
        return code[1] == 0x01 && code[2] == 0xd1 ? 3 : 0;
    }
    return exit_code == SVM_EXIT_VMMCALL && code[1] == 0x01 && code[2] == 0xd9 ? 3 : 0;
}

/* CPUID is 0f a2, WRMSR 0f 30, RDMSR 0f 32, HLT f4, WBINVD 0f 09, XSETBV 0f 01 d1, VMMCALL 0f 01 d9. APM 3 appendix
 * A. */
uint8_t svm_plain_length(uint64_t exit_code, const uint8_t code[SVM_PLAIN_BYTES])
{
    uint32_t opcode = (uint32_t)code[0] << 8 | code[1];

    switch (exit_code) {
    case SVM_EXIT_CPUID:
        return opcode == 0x0fa2 ? 2 : 0;
    case SVM_EXIT_MSR:
        return opcode == 0x0f30 || opcode == 0x0f32 ? 2 : 0;
    case SVM_EXIT_HLT:
        return code[0] == 0xf4 ? 1 : 0;
    default:
        return rare_length(exit_code, code);
    }
}

/*
 * Software interrupts and INT3, INTO are not injected again: rip still points at the instruction, which runs again.
 * APM 2 15.7.2 "Intercepts During IDT Interrupt Delivery".
 */
struct vcpu_event svm_decode_event(uint64_t info)
{
    struct vcpu_event event = {
        .valid = (info & EVENT_VALID) != 0,
        .vector = (uint8_t)(info & EVENT_VECTOR),
        .kind = (uint8_t)((info >> EVENT_TYPE_SHIFT) & EVENT_TYPE),
        .has_error = (info & EVENT_HAS_ERROR) != 0,
        .error = (uint32_t)(info >> EVENT_ERROR_SHIFT),
    };
    bool by_instruction =
        event.kind == EVENT_SOFTWARE_INTERRUPT ||
        (event.kind == EVENT_EXCEPTION && (event.vector == EXCEPTION_BP || event.vector == EXCEPTION_OF));

    event.valid = event.valid && !by_instruction;
    return event;
}

uint64_t svm_encode_event(const struct vcpu_event *event)
{
    return EVENT_VALID | event->vector | (uint64_t)event->kind << EVENT_TYPE_SHIFT |
           (event->has_error ? EVENT_HAS_ERROR | (uint64_t)event->error << EVENT_ERROR_SHIFT : 0);
}

struct segment svm_decode_segment(const struct vmcb_segment *segment)
{
    uint32_t access = (segment->attributes & 0xffu) | (uint32_t)(segment->attributes & 0xf00u) << 4;

    if ((access & SEGMENT_P) == 0) {
        access |= SEGMENT_UNUSABLE;
    }
    return (struct segment){
        .base = segment->base, .limit = segment->limit, .access = access, .selector = segment->selector};
}

struct vmcb_segment svm_encode_segment(const struct segment *segment)
{
    uint32_t access = segment->access;

    if ((access & SEGMENT_UNUSABLE) != 0) {
        access &= ~SEGMENT_P;
    }
    return (struct vmcb_segment){
        .selector = segment->selector,
        .attributes = (uint16_t)((access & 0xffu) | ((access >> 4) & 0xf00u)),
        .limit = segment->limit,
        .base = segment->base,
    };
}
