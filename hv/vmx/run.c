/* SPDX-License-Identifier: MIT */
/*
 * The run loop: apply requests, choose the event, enter, decode, dispatch. It is left when a request needs
 * hv/run/cpu_loop.c: a host interrupt, a halt, a new deadline, console bytes, the end of the guest.
 *
 *      vmx_run -> before_entry -> vmx_enter (entry.S) -> vmx_handle_exit (quick.c) -+-> enters again at once
 *                      ^                                                            |
 *                      +---- enter_again <- handle_exit <- after_exit <-------------+ vmx_handle_any_exit
 *
 * Host interrupts are off from the first line to the last, so nothing can come between looking for work and the entry:
 * an interrupt or a kick that arrives meanwhile ends the guest's turn before its first instruction.
 */
#include "hv/vmx/vmx.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/event.h"
#include "hv/dev/lapic_registers.h"
#include "hv/exit/dispatch.h"
#include "hv/host/cpu.h"
#include "hv/host/guest_machine_check.h"
#include "hv/host/panic.h"
#include "hv/host/speculation.h"
#include "hv/vmx/decode.h"
#include "hv/vmx/insn.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* Registers of the CPU that kernels write a few times. */
__attribute__((noinline)) static void apply_rare_requests(const struct vcpu *vcpu, uint32_t requests)
{
    if ((requests & VCPU_XCR0) != 0) {
        insn_xsetbv(0, vcpu->xcr0);
    }
    if ((requests & VCPU_SPEC_CTRL) != 0) {
        speculation_set_control(cpu_this(), vcpu->msrs.spec_ctrl);
    }
    if ((requests & VCPU_IBPB) != 0) {
        speculation_barrier();
    }
}

/* What apply_requests() does by itself. */
#define EVERYDAY_REQUESTS ((uint32_t)VCPU_EVENT | VCPU_ADVANCED)

__attribute__((noinline)) static void apply_to_registers(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint32_t requests = vcpu->requests;

    if ((requests & VCPU_RESET) != 0) {
        vmx_reset_state(vmx);
    }
    if ((requests & VCPU_SYSTEM_WRITE) != 0) {
        vmx->write_system(vmx, vcpu);
    }
    if ((requests & VCPU_FLUSH) != 0) {
        vmx->flush_translations(vcpu);
    }
    if ((requests & VCPU_TSC) != 0) {
        vmx_write(VMCS_TSC_OFFSET, vcpu->tsc_offset);
    }
    if ((requests & VCPU_CR2_WRITE) != 0) {
        insn_write_cr2(vcpu->system.cr2);
    }
    if ((requests & (VCPU_STEP_TRAP | VCPU_TASK_TRAP)) != 0) {
        insn_write_dr6((insn_read_dr6() & ~DR6_BREAKPOINTS) | ((requests & VCPU_STEP_TRAP) != 0 ? DR6_BS : DR6_BT));
    }
    if ((requests & (VCPU_MSR_BITMAP | VCPU_RESET)) != 0) {
        vmx_apic_set_mode(vmx, vcpu);
    }
    if ((requests & (VCPU_XCR0 | VCPU_SPEC_CTRL | VCPU_IBPB)) != 0) {
        apply_rare_requests(vcpu, requests);
    }
}

/* The first group of enum vcpu_request, except VCPU_EVENT, which stays until nothing waits. */
static inline void apply_requests(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_APPLY_MASK & ~EVERYDAY_REQUESTS) != 0) {
        apply_to_registers(vmx, vcpu);
    }
    if ((vcpu->requests & VCPU_ADVANCED) != 0) {
        vmx_end_shadow(vmx);
    }
    vcpu->requests &= VCPU_LEAVE_MASK | VCPU_EVENT;
}

/* Nothing but a vector of the local APIC, and no exit is wanted for another; with VCPU_EVENT, no NMI, and nothing
 * pending. */
static inline bool may_inject_alone(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    return vcpu_waits_for_apic_alone(vcpu) && (vmx->primary & (PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW)) == 0 &&
           vmx->tpr_threshold == 0;
}

/* May the guest take it at once, with these flags, and is no NMI being served, whose end may have to be noted? */
static inline bool is_open(uint64_t rflags)
{
    return (rflags & RFLAGS_IF) != 0 &&
           (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_SHADOW | INTERRUPTIBILITY_NMI)) == 0;
}

/* As vmx_choose_event() does it. */
static inline void inject_alone(struct vmx_vcpu *vmx, struct vcpu *vcpu, uint32_t vector)
{
    vcpu->requests = 0;
    vcpu->pending.valid = false;
    vmx->had_nmi = 0;
    vmx_write_inline(VMCS_ENTRY_EVENT, VMX_EVENT_VALID | vector);
}

/* The CPU delivers: it is told of the vector, unless its EOI has exited until now or has to exit. False: nothing has
 * been done. As vmx_apic_publish(). */
static inline bool publish_alone(const struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    int vector = lapic_requests_alone(&vcpu->lapic);
    uint64_t status;

    if (vector < 0 || (vmx->eoi_exits[vector / 64] >> vector % 64 & 1) != 0 || lapic_latest_is_level(&vcpu->lapic)) {
        return false;
    }
    status = vmx_read_inline(VMCS_GUEST_INTERRUPT_STATUS);
    vmx_write_inline(VMCS_GUEST_INTERRUPT_STATUS, (status & ~(uint64_t)INTERRUPT_STATUS_RVI) | (uint32_t)vector);
    vcpu->requests = 0;
    vcpu->pending.valid = false;
    return true;
}

/* The same before an entry, most often behind HLT. False: nothing has been done but what apply_requests() does. */
static inline bool inject_at_entry(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    int vector;

    if ((vcpu->requests & VCPU_ADVANCED) != 0) {
        vmx_end_shadow(vmx);
    }
    if (!may_inject_alone(vmx, vcpu) || (!vcpu->cpu_delivers && !is_open(vcpu->rflags))) {
        return false;
    }
    if (vcpu->cpu_delivers) {
        return publish_alone(vmx, vcpu);
    }
    vector = vcpu->lapic.end_word != NULL ? lapic_accept_alone_by_word(&vcpu->lapic) : lapic_accept_alone(&vcpu->lapic);
    if (vector >= 0) {
        inject_alone(vmx, vcpu, (uint32_t)vector);
    }
    return vector >= 0;
}

/* Everything but an emulated instruction without consequences. */
__attribute__((noinline)) static void prepare_any_entry(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    apply_requests(vmx, vcpu);
    if ((vcpu->requests & VCPU_EVENT) != 0) {
        vmx_choose_event(vmx, vcpu);
    }
}

__attribute__((noinline)) static void prepare_event_entry(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if (!inject_at_entry(vmx, vcpu)) {
        prepare_any_entry(vmx, vcpu);
    }
}

__attribute__((noinline)) static void prepare_entry(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if ((vcpu->requests & ~(uint32_t)VCPU_ADVANCED) == VCPU_EVENT && vcpu->nmi_pending == 0 && !vcpu->pending.valid &&
        (vcpu->rflags & RFLAGS_IF) != 0) {
        prepare_event_entry(vmx, vcpu);
    } else {
        prepare_any_entry(vmx, vcpu);
    }
}

static inline void before_entry(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if (vcpu->requests == VCPU_ADVANCED) {
        vcpu->requests = 0;
        vmx_end_shadow(vmx);
    } else if (vcpu->requests != 0) {
        prepare_entry(vmx, vcpu);
    }
    vmx_write_if_changed(VMCS_GUEST_RIP, &vmx->rip, vcpu->rip);
    vmx_write_if_changed(VMCS_GUEST_RFLAGS, &vmx->rflags, vcpu->rflags);
    vmx_write_if_changed(VMCS_GUEST_RSP, &vmx->rsp, vcpu->gpr[GPR_RSP]);
}

static inline void read_vectoring(struct vmx_exit_words *words)
{
    words->vectoring = (uint32_t)vmx_read_inline(VMCS_VECTORING_EVENT);
    words->vectoring_error =
        (words->vectoring & VMX_EVENT_VALID) != 0 ? (uint32_t)vmx_read_inline(VMCS_VECTORING_ERROR_CODE) : 0;
}

static inline void read_words(struct vmx_exit_words *words)
{
    words->reason = (uint32_t)vmx_read_inline(VMCS_EXIT_REASON);
    read_vectoring(words);
    words->length = vmx_exit_needs_length(words->reason) ? (uint32_t)vmx_read_inline(VMCS_EXIT_INSTRUCTION_LENGTH) : 0;
    words->qualification = vmx_exit_needs_qualification(words->reason) ? vmx_read_inline(VMCS_EXIT_QUALIFICATION) : 0;
    if (words->reason == VMX_EXIT_EPT_VIOLATION || words->reason == VMX_EXIT_EPT_MISCONFIGURATION) {
        words->guest_physical = vmx_read_inline(VMCS_GUEST_PHYSICAL);
    }
    if (words->reason == VMX_EXIT_EXCEPTION_NMI) {
        words->event = (uint32_t)vmx_read_inline(VMCS_EXIT_EVENT);
        words->error_code = (uint32_t)vmx_read_inline(VMCS_EXIT_ERROR_CODE);
        words->length = (uint32_t)vmx_read_inline(VMCS_EXIT_INSTRUCTION_LENGTH); /* of INT1 */
    }
}

static inline void after_exit(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    vcpu->exit_tsc = insn_rdtsc();
    vmx_take_exit(vmx, vcpu);
}

static bool find_violation(const struct vcpu *vcpu, char sentence[VMX_ENTRY_SENTENCE_MAX])
{
    struct vmx_entry_state state = {.vtpr = (uint32_t)lapic_cr8(&vcpu->lapic) << 4};

    for (uint32_t i = 0; i < vmx_entry_field_count; i++) {
        if (!vmx_insn_vmread((uint64_t)vmx_entry_fields[i], &state.values[i])) {
            state.values[i] = 0;
        }
    }
    return vmx_entry_find_violation(&state, &vmx_features.caps, sentence);
}

/* Finds out which check failed, and says so before the guest's report. */
static void explain_refusal(const struct vcpu *vcpu, const char *by_the_cpu)
{
    char sentence[VMX_ENTRY_SENTENCE_MAX];

    if (!find_violation(vcpu, sentence)) {
        format_text(sentence, sizeof(sentence), "%s",
                    "every check of the manual that Plinth knows holds; report this with the CPU's model");
    }
    log_error("guest %s vCPU %u, VM entry refused: %s: %s", vcpu->guest->name, vcpu->index, by_the_cpu, sentence);
}

static void handle_exit(const struct vmx_vcpu *vmx, struct vcpu *vcpu, const struct vmx_exit_words *words)
{
    struct vm_exit exit;

    vmx_decode_exit(words, &exit);
    if (exit_wants_system(vcpu, &exit)) {
        vmx->read_system(vcpu);
        if (vmx_exit_is_machine_check(words)) {
            machine_check_in_guest(vcpu);
            return;
        }
    }
    if (exit.kind == EXIT_INVALID) {
        explain_refusal(vcpu, vmx_entry_failure_text(words->reason, words->qualification));
    }
    if (exit.kind == EXIT_CPUID) {
        vcpu->system.cr4 = vmx_read(VMCS_GUEST_CR4);
    }
    if (exit.kind >= EXIT_APIC_WRITE && exit.kind <= EXIT_APIC_ACCESS) {
        vmx_apic_handle(vcpu, &exit, words);
        return;
    }
    exit_dispatch(vcpu, &exit);
}

/* VMLAUNCH or VMRESUME itself failed: the control fields are wrong. SDM 3C 31.4 "VM Instruction Error Numbers". */
static void handle_vmfail(const struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vm_exit exit = {.kind = EXIT_INVALID};

    exit.raw = (uint32_t)vmx_read(VMCS_INSTRUCTION_ERROR);
    exit.words.info[0] = 0;
    exit.words.info[1] = 0;
    explain_refusal(vcpu, vmx_instruction_error_text(exit.raw));
    vmx->read_system(vcpu);
    exit_dispatch(vcpu, &exit);
}

static bool enter_again(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return false;
    }
    before_entry(vmx, vcpu);
    return true;
}

__attribute__((always_inline)) static inline bool handle_words(struct vmx_vcpu *vmx, struct vcpu *vcpu,
                                                               const struct vmx_exit_words *words)
{
    after_exit(vmx, vcpu);
    if ((words->vectoring & VMX_EVENT_VALID) != 0) {
        vmx_take_back_event(vcpu, words);
    }
    if (words->reason == VMX_EXIT_EXCEPTION_NMI) {
        vmx_finish_exception(words);
    }
    if (vmx->timer_passes != 0) {
        vmx_timer_read(vmx, vcpu);
        handle_exit(vmx, vcpu, words);
        vmx_timer_look(cpu_this(), vmx, vcpu);
    } else {
        handle_exit(vmx, vcpu, words);
    }
    return enter_again(vmx, vcpu);
}

bool vmx_handle_any_exit(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vmx_exit_words words = {0};

    read_words(&words);
    return handle_words(vmx, vcpu, &words);
}

bool vmx_handle_exit_as(struct vmx_vcpu *vmx, struct vcpu *vcpu, struct vmx_exit_words *words)
{
    read_vectoring(words);
    return handle_words(vmx, vcpu, words);
}

__attribute__((noinline)) static bool finish_any(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    after_exit(vmx, vcpu);
    return enter_again(vmx, vcpu);
}

/* The same where the guest has a word in its memory for the ends of interrupts; else, what finish_any() does. */
__attribute__((noinline)) static bool finish_by_word(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    bool may = vcpu->lapic.end_word != NULL && !vcpu->cpu_delivers && is_open(vmx_read_inline(VMCS_GUEST_RFLAGS));
    int vector = may ? lapic_accept_alone_by_word(&vcpu->lapic) : -1;

    if (vector < 0) {
        return finish_any(vmx, vcpu);
    }
    inject_alone(vmx, vcpu, (uint32_t)vector);
    return true;
}

/* VCPU_EVENT alone, and no NMI. */
__attribute__((noinline)) static bool finish_with_event(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    int vector = -1;

    if (!may_inject_alone(vmx, vcpu)) {
        __attribute__((musttail)) return finish_any(vmx, vcpu);
    }
    if (vcpu->cpu_delivers) {
        if (publish_alone(vmx, vcpu)) {
            return true;
        }
    } else if (is_open(vmx_read_inline(VMCS_GUEST_RFLAGS))) {
        vector = lapic_accept_alone(&vcpu->lapic);
    }
    if (vector < 0) {
        __attribute__((musttail)) return finish_by_word(vmx, vcpu);
    }
    inject_alone(vmx, vcpu, (uint32_t)vector);
    return true;
}

/* What is not for finish_with_event() pays nothing for the registers that it saves. */
bool vmx_finish_quick(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if (vcpu->requests != VCPU_EVENT || vcpu->nmi_pending != 0) {
        __attribute__((musttail)) return finish_any(vmx, vcpu);
    }
    __attribute__((musttail)) return finish_with_event(vmx, vcpu);
}

bool vmx_handle_by(struct vmx_vcpu *vmx, struct vcpu *vcpu, void (*handler)(struct vmx_vcpu *vmx, struct vcpu *vcpu))
{
    vcpu->exit_tsc = insn_rdtsc();
    vmx->rip = vcpu->rip = vmx_read(VMCS_GUEST_RIP);
    vmx->rflags = vcpu->rflags = vmx_read(VMCS_GUEST_RFLAGS);
    vmx->rsp = vcpu->gpr[GPR_RSP] = vmx_read(VMCS_GUEST_RSP);
    handler(vmx, vcpu);
    return enter_again(vmx, vcpu);
}

bool vmx_finish_interrupted(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vmx_exit_words words = {0};

    read_vectoring(&words);
    after_exit(vmx, vcpu);
    if ((words.vectoring & VMX_EVENT_VALID) != 0) {
        vmx_take_back_event(vcpu, &words);
    }
    return enter_again(vmx, vcpu);
}

void vmx_run(struct cpu *cpu, struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;

    (void)cpu;
    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return;
    }
    before_entry(vmx, vcpu);
    if (vmx->enter(vcpu, vmx->launched) != 0) {
        handle_vmfail(vmx, vcpu);
    }
}
