/* SPDX-License-Identifier: MIT */
/*
 * The one switch. Frequent exits first in the file; each handler is short or lives in a file of its own:
 * CPUID in cpuid_policy.c, MSRs in msr_policy.c, ports and MMIO in guest_io.c and emulate.c, control registers in
 * cr_access.c, task switches in task_switch.c.
 */
#include "hv/exit/dispatch.h"

#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"
#include "hv/core/platform_lock.h"
#include "hv/emulate/cr_access.h"
#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/emulate/string_io.h"
#include "hv/emulate/task_switch.h"
#include "hv/policy/cpuid_exit.h"
#include "hv/policy/msr_policy.h"
#include "hv/x86/registers.h"

/* What KVM's hypercalls answer to user code, and to wrong arguments: -KVM_EPERM, -KVM_EINVAL. Linux,
 * include/uapi/linux/kvm_para.h. */
#define HYPERCALL_REFUSED (0 - 1ULL)
#define HYPERCALL_INVALID (0 - 22ULL)
#define VECTOR_FIRST 16u        /* of an interrupt. SDM 3A 11.5.2 "Valid Interrupt Vectors" */
#define ICR_NOT_WANTED 0xc8800u /* a logical destination, level-triggered, a shorthand. SDM 3A 11.6.1 */

static inline bool answer_cpuid(struct vcpu *vcpu, uint32_t leaf, uint64_t *rax)
{
    const struct cpuid_entry *entry;
    uint64_t *gpr = vcpu->gpr;

    if (leaf >= CPUID_BASIC_MAX) {
        return cpuid_exit_answer(vcpu, rax);
    }
    entry = cpuid_table_find(&vcpu->guest->cpuid, leaf);
    if (entry->form == CPUID_FEATURES) {
        gpr[GPR_RBX] = entry->words.ebx | cpuid_1_ebx(vcpu->lapic.id);
        gpr[GPR_RCX] = entry->words.ecx | cpuid_1_ecx((vcpu->system.cr4 & CR4_OSXSAVE) != 0);
        gpr[GPR_RDX] = entry->words.edx;
        *rax = entry->words.eax;
        if (!lapic_enabled(&vcpu->lapic)) {
            gpr[GPR_RDX] &= cpuid_1_edx_mask(false);
        }
        return true;
    }
    if (entry->form != CPUID_PLAIN) {
        return cpuid_exit_answer(vcpu, rax);
    }
    gpr[GPR_RBX] = entry->words.ebx;
    gpr[GPR_RCX] = entry->words.ecx;
    gpr[GPR_RDX] = entry->words.edx;
    *rax = entry->words.eax;
    return true;
}

static void handle_cpuid(struct vcpu *vcpu, uint8_t length)
{
    (void)answer_cpuid(vcpu, (uint32_t)vcpu->gpr[GPR_RAX], &vcpu->gpr[GPR_RAX]);
    vcpu_advance(vcpu, length);
}

/* IN changes only as many bytes of rax as it reads; a 4-byte IN clears the upper half. SDM 2A "IN". */
static inline uint64_t io_mask(uint8_t size)
{
    return size == 4 ? ~0ULL : (1ULL << (size * 8)) - 1;
}

static void access_port(struct vcpu *vcpu, const struct exit_io *io, uint8_t length)
{
    uint64_t mask = io_mask(io->size);
    uint32_t value = 0;

    if (!guest_hold(vcpu)) {
        return; /* not done: the vCPU comes again */
    }
    if (io->in) {
        guest_port_read(vcpu, io->port, io->size, &value);
        vcpu->gpr[GPR_RAX] = (vcpu->gpr[GPR_RAX] & ~mask) | (value & mask);
    } else {
        guest_port_write(vcpu, io->port, io->size, (uint32_t)(vcpu->gpr[GPR_RAX] & mask));
    }
    vcpu_advance(vcpu, length);
}

static void handle_port(struct vcpu *vcpu, const struct exit_io *io, uint8_t length)
{
    if (io->string) {
        string_io(vcpu, io);
    } else {
        access_port(vcpu, io, length);
    }
    guest_io_end(vcpu);
}

static void handle_task_switch(struct vcpu *vcpu, const struct exit_task_switch *ts)
{
    task_switch(vcpu, ts);
    guest_io_end(vcpu);
}

/* Halted until an interrupt; with interrupts off only another vCPU, an NMI or nothing at all can end it. */
static void handle_hlt(struct vcpu *vcpu, uint8_t length)
{
    vcpu_advance(vcpu, length);
    if (!vcpu->pending.valid) {
        vcpu->state = VCPU_STATE_HALTED;
        vcpu->requests |= VCPU_HALTED | VCPU_EVENT;
    }
}

static void handle_stepped_over(struct vcpu *vcpu, const struct vm_exit *exit)
{
    if (exit->kind == EXIT_PAUSE) {
        vcpu->requests |= VCPU_PAUSED;
    }
    vcpu_advance(vcpu, exit->length);
}

static void handle_nested_fault(struct vcpu *vcpu, const struct exit_nested_fault *fault)
{
    emulate_nested_fault(vcpu, fault);
    guest_io_end(vcpu);
}

/* Interrupts and NMIs to many CPUs in one exit: KVM_HC_SEND_IPI. Linux, Documentation/virt/kvm/x86/hypercalls.rst. */
__attribute__((noinline)) static uint64_t send_ipis(struct vcpu *vcpu, bool wide)
{
    const uint64_t *gpr = vcpu->gpr;
    uint64_t icr = gpr[GPR_RSI];
    struct apic_message message = {.vector = (uint8_t)icr, .delivery = (uint8_t)(icr >> 8 & 7u)};
    uint64_t low = wide ? gpr[GPR_RBX] : (uint32_t)gpr[GPR_RBX] | gpr[GPR_RCX] << 32;

    if ((icr & ICR_NOT_WANTED) != 0 ||
        (message.delivery != APIC_NMI && (message.delivery != APIC_FIXED || message.vector < VECTOR_FIRST))) {
        return HYPERCALL_INVALID;
    }
    return guest_send_ipis(vcpu, &message, (uint32_t)gpr[GPR_RDX], low, wide ? gpr[GPR_RCX] : 0);
}

static uint64_t answer_hypercall(struct vcpu *vcpu, bool wide)
{
    uint64_t number = wide ? vcpu->gpr[GPR_RAX] : (uint32_t)vcpu->gpr[GPR_RAX];

    if (number == EXIT_HYPERCALL_SEND_IPI) {
        return send_ipis(vcpu, wide);
    }
    if (!guest_count_unknown(vcpu->guest, UNKNOWN_HYPERCALL, number)) {
        guest_note_unknown(vcpu, UNKNOWN_HYPERCALL, number, 0);
    }
    return EXIT_HYPERCALL_NOT_THERE;
}

/* Code that is not 64-bit gets 32 bits. */
static void handle_hypercall(struct vcpu *vcpu, uint8_t length)
{
    const struct vcpu_system *system = &vcpu->system;
    bool wide = (system->efer & EFER_LMA) != 0 && (system->segments[SEGMENT_CS].access & SEGMENT_L) != 0;
    uint64_t answer = HYPERCALL_REFUSED;

    if (system->cpl == 0) {
        answer = answer_hypercall(vcpu, wide);
    }
    vcpu->gpr[GPR_RAX] = wide ? answer : (uint32_t)answer;
    vcpu_advance(vcpu, length);
}

static bool has_all(uint64_t value, uint64_t bits)
{
    return (value & bits) == bits;
}

/* Component combinations that XSETBV accepts: x87 always, AVX with SSE, AVX-512 whole and with AVX. SDM 2D
 * "XSETBV"; SDM 1 13.3. */
static bool xcr0_valid(uint64_t value, uint64_t supported)
{
    return has_all(value, XCR0_X87) && (value & ~supported) == 0 &&
           ((value & XCR0_AVX) == 0 || has_all(value, XCR0_SSE)) &&
           ((value & XCR0_AVX512) == 0 || has_all(value, XCR0_AVX512 | XCR0_AVX));
}

static bool has_xsetbv(const struct vcpu *vcpu, uint64_t cr4)
{
    return vcpu->guest->cpuid.xsave && (cr4 & CR4_OSXSAVE) != 0;
}

/* Takes over what the kernel wants in XCR0. False: #GP, and nothing has changed. */
static bool xcr0_write(struct vcpu *vcpu)
{
    uint64_t value = (vcpu->gpr[GPR_RAX] & 0xffffffff) | (vcpu->gpr[GPR_RDX] << 32);

    if ((uint32_t)vcpu->gpr[GPR_RCX] != 0 || !xcr0_valid(value, vcpu->guest->cpuid.xcr0_supported)) {
        return false;
    }
    vcpu->xcr0 = value;
    return true;
}

static void handle_xsetbv(struct vcpu *vcpu, uint8_t length)
{
    if (!has_xsetbv(vcpu, vcpu->system.cr4)) {
        vcpu_raise(vcpu, EXCEPTION_UD);
        return;
    }
    if ((vcpu->system.cpl != 0 && (vcpu->system.cr0 & CR0_PE) != 0) || !xcr0_write(vcpu)) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    vcpu->requests |= VCPU_XCR0;
    vcpu_advance(vcpu, length);
}

/*
 * Kernels for AMD take the four counters for granted that every CPU since the K7 has: they are there and count nothing,
 * as their MSRs say (hv/policy/msr_policy.c). Intel's are offered by CPUID leaf 0xa, and none is. APM 3 "RDPMC"; SDM 2B
 * "RDPMC".
 */
#define AMD_COUNTERS 4u

static void handle_rdpmc(struct vcpu *vcpu, uint8_t length)
{
    const struct vcpu_system *system = &vcpu->system;
    bool allowed = system->cpl == 0 || (system->cr0 & CR0_PE) == 0 || (system->cr4 & CR4_PCE) != 0;

    if (!allowed || vcpu->guest->host->is_intel || (uint32_t)vcpu->gpr[GPR_RCX] >= AMD_COUNTERS) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    vcpu->gpr[GPR_RAX] = 0;
    vcpu->gpr[GPR_RDX] = 0;
    vcpu_advance(vcpu, length);
}

/*
 * VMCALL (0f 01 c1) or VMMCALL (0f 01 d9). The CPU raises #UD for the one of the other vendor; kernels and test kernels
 * that know only one of them expect the answer that KVM gives to both. SDM 3C 31.3, "VMCALL"; APM 3 "VMMCALL".
 */
static inline bool is_hypercall(const uint8_t code[EXIT_CODE_BYTES])
{
    return code[0] == 0x0f && code[1] == 0x01 && (code[2] == 0xc1 || code[2] == 0xd9);
}

static bool is_foreign_hypercall(struct vcpu *vcpu)
{
    uint8_t code[EXIT_CODE_BYTES];

    return emulate_peek(vcpu, emulate_fetch_address(vcpu), false, code, sizeof(code)) && is_hypercall(code);
}

/*
 * #DB and #AC are intercepted so that no guest can keep the CPU in an endless delivery, on SVM all of them during a
 * step; they go to the guest as they are. One that came while a double fault was delivered is a triple fault.
 */
static void handle_exception(struct vcpu *vcpu, const struct vm_exit *exit)
{
    if (exit->exception.vector == EXCEPTION_UD && is_foreign_hypercall(vcpu)) {
        handle_hypercall(vcpu, EXIT_CODE_BYTES);
    } else if (exit->exception.by_int1) {
        vcpu_raise_int1(vcpu, exit->length);
    } else if (exit->exception.vector == EXCEPTION_PF) {
        vcpu_raise_page_fault(vcpu, exit->exception.address, exit->exception.error);
    } else if (exit->exception.has_error) {
        vcpu_raise_error(vcpu, (enum exception)exit->exception.vector, exit->exception.error);
    } else {
        vcpu_raise(vcpu, (enum exception)exit->exception.vector);
    }
}

static void handle_broken(struct vcpu *vcpu, const struct vm_exit *exit)
{
    if (exit->kind == EXIT_INVALID) {
        guest_fail(vcpu, GUEST_CODE_ENTRY_FAILED,
                   "the CPU refused to enter the guest (exit 0x%x, words 0x%" PRIx64 " 0x%" PRIx64 ")", exit->raw,
                   exit->words.info[0], exit->words.info[1]);
    } else {
        guest_fail(vcpu, GUEST_CODE_UNKNOWN_EXIT,
                   "an exit that was never asked for: 0x%x (words 0x%" PRIx64 " 0x%" PRIx64 ")", exit->raw,
                   exit->words.info[0], exit->words.info[1]);
    }
}

static uint64_t exit_detail(const struct vcpu *vcpu, const struct vm_exit *exit)
{
    if (exit->kind == EXIT_IO) {
        return exit->io.port;
    }
    if (exit->kind == EXIT_NESTED_FAULT) {
        return exit->fault.address.value;
    }
    if (exit->kind == EXIT_APIC_WRITE) {
        return exit->apic.offset;
    }
    return exit->kind == EXIT_CPUID ? (uint32_t)vcpu->gpr[GPR_RAX] : vcpu->gpr[GPR_RCX];
}

bool exit_quick_cpuid(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t *rax)
{
    uint32_t leaf = (uint32_t)*rax;

    exit_note(vcpu, EXIT_CPUID, raw, rip, leaf);
    return answer_cpuid(vcpu, leaf, rax);
}

bool exit_quick_known_read(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t *rax)
{
    uint64_t number = vcpu->gpr[GPR_RCX];
    uint64_t value = msr_at_hand(vcpu, (uint32_t)number);

    exit_note(vcpu, EXIT_RDMSR, raw, rip, number);
    *rax = (uint32_t)value;
    vcpu->gpr[GPR_RDX] = value >> 32;
    return true;
}

bool exit_quick_xsetbv(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t cr4)
{
    if (exit_time_is_over(vcpu) || !has_xsetbv(vcpu, cr4) || !xcr0_write(vcpu)) {
        return false;
    }
    exit_note(vcpu, EXIT_XSETBV, raw, rip, vcpu->gpr[GPR_RCX]);
    return true;
}

enum exit_quick exit_quick_msr_read(struct vcpu *vcpu, uint32_t raw, uint64_t rip)
{
    uint64_t number = vcpu->gpr[GPR_RCX];
    enum msr_outcome outcome = exit_time_is_over(vcpu) ? MSR_LEFT : msr_quick_read(vcpu);

    if (outcome == MSR_LEFT) {
        return EXIT_QUICK_LEFT;
    }
    exit_note(vcpu, EXIT_RDMSR, raw, rip, number);
    return outcome == MSR_DONE ? EXIT_QUICK_DONE : EXIT_QUICK_FAULT;
}

bool exit_quick_wide_port(struct vcpu *vcpu, uint32_t raw, uint64_t rip, const struct exit_io *io)
{
    uint64_t mask = io_mask(io->size);
    uint64_t *rax = &vcpu->gpr[GPR_RAX];
    uint32_t value;

    if (io->string || exit_time_is_over(vcpu)) {
        return false;
    }
    if (io->in) {
        if (!guest_wide_port_read(vcpu, io->port, io->size, &value)) {
            return false;
        }
        *rax = (*rax & ~mask) | (value & mask);
    } else if (!guest_wide_port_write(vcpu, io->port, io->size, (uint32_t)(*rax & mask))) {
        return false;
    }
    exit_note(vcpu, EXIT_IO, raw, rip, io->port);
    return true;
}

enum exit_quick exit_quick_undefined(struct vcpu *vcpu, uint32_t raw, const uint8_t code[EXIT_CODE_BYTES], bool kernel)
{
    bool call = is_hypercall(code);

    if (exit_time_is_over(vcpu) || (call && !kernel)) {
        return EXIT_QUICK_LEFT;
    }
    exit_note(vcpu, EXIT_EXCEPTION, raw, vcpu->rip, vcpu->gpr[GPR_RCX]);
    if (call) {
        vcpu->gpr[GPR_RAX] = answer_hypercall(vcpu, true);
    }
    return call ? EXIT_QUICK_DONE : EXIT_QUICK_FAULT;
}

bool exit_quick_hypercall(struct vcpu *vcpu, uint32_t raw)
{
    if (exit_time_is_over(vcpu)) {
        return false;
    }
    exit_note(vcpu, EXIT_HYPERCALL, raw, vcpu->rip, vcpu->gpr[GPR_RCX]);
    vcpu->gpr[GPR_RAX] = answer_hypercall(vcpu, true);
    return true;
}

/* The length of the MOV; 0: nothing has been done. */
__attribute__((always_inline)) static inline uint8_t
move_by_device(struct vcpu *vcpu, uint32_t raw, const struct exit_nested_fault *fault, const struct instruction *move)
{
    uint64_t value;

    if (move->to_reg) {
        if (!guest_quick_mmio_read(vcpu, fault->address, move->rm_bytes, &value)) {
            return 0;
        }
        register_write_operand(vcpu, move, value);
    } else {
        value = move->has_immediate ? move->immediate : register_read_operand(vcpu, move);
        if (!guest_quick_mmio_write(vcpu, fault->address, move->rm_bytes, value & size_mask(move->rm_bytes))) {
            return 0;
        }
    }
    exit_note(vcpu, EXIT_NESTED_FAULT, raw, vcpu->rip, fault->address.value);
    guest_io_end(vcpu);
    return move->length;
}

/* Out of line, so that what is known does not pay for it. */
__attribute__((noinline)) static uint8_t quick_fault_beside(struct vcpu *vcpu, uint32_t raw,
                                                            const struct exit_nested_fault *fault, const uint8_t *code)
{
    struct instruction move;

    return emulate_move_beside(vcpu, fault, code, &move) ? move_by_device(vcpu, raw, fault, &move) : 0;
}

uint8_t exit_quick_fault(struct vcpu *vcpu, uint32_t raw, const struct exit_nested_fault *fault, const uint8_t *code)
{
    const struct instruction *move;

    if (exit_time_is_over(vcpu)) {
        return 0;
    }
    move = emulate_known_move(vcpu, fault, code);
    return move != NULL ? move_by_device(vcpu, raw, fault, move) : quick_fault_beside(vcpu, raw, fault, code);
}

/*
 * Turns end by a host interrupt, which a CPU takes between two instructions of the guest. Where that may not come, the
 * exit itself ends the turn:
 *   - an exit during a delivery, and an exception that exits, can come again at the next entry before the guest runs
 *     one instruction: a breakpoint on the stack that every delivery hits, a task gate whose task traps. Not #UD: it is
 *     of an instruction, before which interrupts are taken;
 *   - quirks.late_host_interrupts: when the turn's time is over all the same.
 */
static bool turn_ends(const struct vcpu *vcpu, const struct vm_exit *exit)
{
    bool again = exit->kind == EXIT_EXCEPTION && exit->exception.vector != EXCEPTION_UD;

    return vcpu->pending.valid || again || exit->kind == EXIT_TASK_SWITCH || exit_time_is_over(vcpu);
}

static inline void begin(struct vcpu *vcpu, const struct vm_exit *exit)
{
    exit_note(vcpu, exit->kind, exit->raw, vcpu->rip, exit_detail(vcpu, exit));
    vcpu->requests |= turn_ends(vcpu, exit) ? VCPU_YIELD : 0;
}

void exit_dispatch(struct vcpu *vcpu, const struct vm_exit *exit)
{
    begin(vcpu, exit);
    switch (exit->kind) {
    case EXIT_HOST_INTERRUPT:
        vcpu->requests |= VCPU_YIELD;
        break;
    case EXIT_INTERRUPT_WINDOW:
        vcpu->requests |= VCPU_EVENT;
        break;
    case EXIT_CPUID:
        handle_cpuid(vcpu, exit->length);
        break;
    case EXIT_RDMSR:
        msr_read(vcpu, exit->length);
        break;
    case EXIT_WRMSR:
        msr_write(vcpu, exit->length);
        break;
    case EXIT_IO:
        handle_port(vcpu, &exit->io, exit->length);
        break;
    case EXIT_NESTED_FAULT:
        handle_nested_fault(vcpu, &exit->fault);
        break;
    case EXIT_HLT:
        handle_hlt(vcpu, exit->length);
        break;
    case EXIT_HYPERCALL:
        handle_hypercall(vcpu, exit->length);
        break;
    case EXIT_XSETBV:
        handle_xsetbv(vcpu, exit->length);
        break;
    case EXIT_RDPMC:
        handle_rdpmc(vcpu, exit->length);
        break;
    case EXIT_WBINVD: /* devices see what the caches hold: docs/passthrough.md has the exception */
    case EXIT_NOTHING:
    case EXIT_PAUSE:
        handle_stepped_over(vcpu, exit);
        break;
    case EXIT_CR_ACCESS:
        cr_access(vcpu, &exit->cr, exit->length);
        break;
    case EXIT_EXCEPTION:
        handle_exception(vcpu, exit);
        break;
    case EXIT_TASK_SWITCH:
        handle_task_switch(vcpu, &exit->task);
        break;
    case EXIT_UNDEFINED:
        vcpu_raise(vcpu, EXCEPTION_UD);
        break;
    case EXIT_SHUTDOWN:
        guest_fail(vcpu, GUEST_CODE_TRIPLE_FAULT, "triple fault");
        break;
    case EXIT_APIC_WRITE:
        guest_apic_written(vcpu, exit->apic.offset);
        break;
    case EXIT_EOI:
        guest_apic_eoi(vcpu);
        break;
    case EXIT_APIC_ACCESS: /* the vendor dispatches it as EXIT_NESTED_FAULT */
    case EXIT_INVALID:
    case EXIT_UNKNOWN:
    case EXIT_KIND_COUNT:
        handle_broken(vcpu, exit);
        break;
    }
}
