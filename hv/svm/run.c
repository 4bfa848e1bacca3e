/* SPDX-License-Identifier: MIT */
/*
 * The run loop: apply requests, choose the event, enter, decode, dispatch. It is left when a request needs
 * hv/run/cpu_loop.c: a host interrupt, a halt, a new deadline, console bytes, the end of the guest.
 *
 *      svm_run -> before_entry -> svm_enter (entry.S) -> svm_handle_exit (quick.c) -+-> enters again at once
 *                      ^                                                            |
 *                      +---- enter_again <- handle_exit <- after_exit <-------------+ svm_handle_any_exit
 *
 * GIF is clear from the first line to the last, so nothing can come between looking for work and VMRUN: an interrupt or
 * a kick that arrives meanwhile ends the guest's turn before its first instruction.
 */
#include "hv/svm/svm.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/event.h"
#include "hv/dev/lapic_registers.h"
#include "hv/exit/dispatch.h"
#include "hv/host/cpu.h"
#include "hv/host/guest_machine_check.h"
#include "hv/host/panic.h"
#include "hv/host/speculation.h"
#include "hv/svm/decode.h"
#include "hv/svm/insn.h"
#include "hv/svm/instruction.h"
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

__attribute__((noinline)) static void apply_to_registers(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    uint32_t requests = vcpu->requests;
    struct vmcb *vmcb = &svm->vmcb;

    if ((requests & VCPU_RESET) != 0) {
        svm_reset_state(svm);
    }
    if ((requests & VCPU_SYSTEM_WRITE) != 0) {
        svm_write_system(svm, vcpu);
    }
    if ((requests & VCPU_FLUSH) != 0) {
        svm_flush_translations(vcpu);
    }
    if ((requests & VCPU_TSC) != 0) {
        vmcb->tsc_offset = vcpu->tsc_offset;
        vmcb->clean &= ~CLEAN_INTERCEPTS;
    }
    if ((requests & VCPU_CR2_WRITE) != 0) {
        vmcb->cr2 = vcpu->system.cr2;
        vmcb->clean &= ~CLEAN_CR2;
    }
    if ((requests & (VCPU_STEP_TRAP | VCPU_TASK_TRAP)) != 0) {
        vmcb->dr6 = (vmcb->dr6 & ~DR6_BREAKPOINTS) | ((requests & VCPU_STEP_TRAP) != 0 ? DR6_BS : DR6_BT);
        vmcb->clean &= ~CLEAN_DR;
    }
    if ((requests & (VCPU_XCR0 | VCPU_SPEC_CTRL | VCPU_IBPB)) != 0) {
        apply_rare_requests(vcpu, requests);
    }
}

/* The first group of enum vcpu_request, except VCPU_EVENT, which stays until nothing waits. */
static inline void apply_requests(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_APPLY_MASK & ~EVERYDAY_REQUESTS) != 0) {
        apply_to_registers(svm, vcpu);
    }
    if ((vcpu->requests & VCPU_ADVANCED) != 0) {
        svm_end_shadow(svm);
    }
    vcpu->requests &= VCPU_LEAVE_MASK | VCPU_EVENT;
}

/* What is armed for an interrupt is nothing to repair once the CPU has taken that. */
static inline bool wants_repair(const struct svm_vcpu *svm)
{
    return svm->repairs &&
           (svm->vmcb.rip == svm->quirk.shadow_rip || (svm->quirk.armed & ~SVM_ARMED_VIRTUAL_INTERRUPT) != 0);
}

/* An interrupt of the local APIC, where the guest may take it at once, with these flags, and nothing stands in the VMCB
 * for another; with VCPU_EVENT, no NMI, and nothing pending. */
static inline bool may_inject_alone(const struct svm_vcpu *svm, const struct vcpu *vcpu, uint64_t rflags)
{
    const struct vmcb *vmcb = &svm->vmcb;

    return (rflags & RFLAGS_IF) != 0 && vcpu_waits_for_apic_alone(vcpu) && svm_events_are_settled(svm, vcpu) &&
           (vmcb->int_state & INT_STATE_SHADOW) == 0 && (vmcb->int_control & INT_CONTROL_V_IRQ) == 0 &&
           (vmcb->intercepts[INTERCEPT_MISC1] & 1u << MISC1_VINTR) == 0 &&
           (vmcb->intercepts[INTERCEPT_CR] & INTERCEPT_CR_CR8_WRITE) == 0 && !wants_repair(svm);
}

/* As svm_choose_event() and svm_quirks_prepare() do it. */
static inline void inject_alone(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t vector)
{
    vcpu->requests = 0;
    vcpu->pending.valid = false;
    svm->exit_at_once = false;
    svm->quirk.shadow_rip = SVM_NO_SHADOW;
    svm->quirk.armed = 0; /* what was armed has been taken */
    if (vcpu->guest->host->quirks.double_injection) {
        svm_quirks_inject_virtual(&svm->quirk, &svm->vmcb, vector);
    } else {
        svm->vmcb.event_injection = EVENT_VALID | vector;
    }
}

/* The same before an entry, most often behind HLT. False: nothing has been done but what apply_requests() does. */
static inline bool inject_at_entry(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    int vector;

    if ((vcpu->requests & VCPU_ADVANCED) != 0) {
        svm_end_shadow(svm);
    }
    if (!may_inject_alone(svm, vcpu, vcpu->rflags)) {
        return false;
    }
    vector = vcpu->lapic.end_word != NULL ? lapic_accept_alone_by_word(&vcpu->lapic) : lapic_accept_alone(&vcpu->lapic);
    if (vector >= 0) {
        inject_alone(svm, vcpu, (uint64_t)vector);
    }
    return vector >= 0;
}

/* Everything but an emulated instruction without consequences. */
__attribute__((noinline)) static void prepare_any_entry(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint32_t requests = vcpu->requests;

    apply_requests(svm, vcpu);
    if ((vcpu->requests & VCPU_EVENT) != 0) {
        svm_choose_event(svm, vcpu);
        if (svm->exit_at_once) {
            cpu_kick(cpu_this()); /* it waits until GIF is set, by VMRUN: a delivery comes first */
        }
    }
    svm_write_tpr(&svm->vmcb, vcpu); /* a handler that writes the TPR requests VCPU_EVENT or VCPU_RESET */
    if (svm->repairs && svm_quirks_concern_entry(&svm->vmcb, &svm->step, requests)) {
        svm_quirks_prepare(svm, vcpu, requests);
    }
}

__attribute__((noinline)) static void prepare_event_entry(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if (!inject_at_entry(svm, vcpu)) {
        prepare_any_entry(svm, vcpu);
    }
}

__attribute__((noinline)) static void prepare_entry(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if ((vcpu->requests & ~(uint32_t)VCPU_ADVANCED) == VCPU_EVENT && vcpu->nmi_pending == 0 && !vcpu->pending.valid &&
        (vcpu->rflags & RFLAGS_IF) != 0) {
        prepare_event_entry(svm, vcpu);
    } else {
        prepare_any_entry(svm, vcpu);
    }
}

static inline void before_entry(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    if (vcpu->requests == VCPU_ADVANCED) {
        vcpu->requests = 0;
        svm_end_shadow(svm);
    } else if (vcpu->requests != 0) {
        prepare_entry(svm, vcpu);
    }
    vmcb->rax = vcpu->gpr[GPR_RAX];
    vmcb->rsp = vcpu->gpr[GPR_RSP];
    vmcb->rip = vcpu->rip;
    vmcb->rflags = vcpu->rflags | svm->step.tf;
    if (svm->repairs) {
        svm_quirks_entry(&svm->quirk, vmcb);
    }
}

static inline void after_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->exit_tsc = insn_rdtsc();
    svm_take_exit(vmcb, vcpu);
    if ((vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic)) {
        lapic_cr8_write(&vcpu->lapic, vmcb->int_control & 0xf);
        vcpu->requests |= VCPU_EVENT;
    }
    if (((vmcb->exit_int_info | vmcb->event_injection) & EVENT_VALID) != 0) {
        svm_take_back_event(svm, vcpu);
    }
    if (svm->repairs && svm_quirks_concern(&svm->quirk, vmcb)) {
        svm_quirks_repair_exit(svm, vcpu);
    }
}

bool svm_find_violation(const struct svm_vcpu *svm, const struct vcpu *vcpu, char sentence[SVM_ENTRY_SENTENCE_MAX])
{
    struct svm_entry_caps caps = svm_features.caps;

    caps.cr4_allowed = vcpu->guest->cr4_allowed;
    return svm_entry_find_violation(&svm->vmcb, &caps, sentence);
}

/* Finds out which check failed, and says so before the guest's report. */
static void explain_refusal(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    char sentence[SVM_ENTRY_SENTENCE_MAX];

    if (!svm_find_violation(svm, vcpu, sentence)) {
        format_text(sentence, sizeof(sentence), "%s",
                    "every check of the manual that Plinth knows holds; report this with the CPU's model");
        svm_quirks_refusal(svm, sentence);
    }
    log_error("guest %s vCPU %u, VM entry refused: %s", vcpu->guest->name, vcpu->index, sentence);
}

/* From the next rip, or from where the CPU has nothing of it. */
static inline uint8_t instruction_length(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    uint8_t length;

    if (vmcb->next_rip != 0) { /* stays 0 where the CPU does not save it */
        return (uint8_t)(vmcb->next_rip - vmcb->rip);
    }
    if (vmcb->exit_code == SVM_EXIT_IOIO) {
        return (uint8_t)(vmcb->exit_info2 - vmcb->rip);
    }
    length = svm_usual_length(vmcb, vcpu);
    return length != 0 ? length : svm_fetched_length(svm, vcpu);
}

static void handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    struct vm_exit exit;

    if (vmcb->exit_code == SVM_EXIT_DEBUG && svm->repairs) {
        svm_quirks_debug_exception(svm, vcpu);
    }
    if (svm_step_concerns(&svm->step, vmcb) && svm_step_exit(&svm->step, &svm->vmcb, vcpu)) {
        return;
    }
    if (vmcb->exit_code <= SVM_EXIT_CR0_SELECTIVE && svm_exit_is_cr_access(vmcb->exit_code)) {
        svm_handle_cr_access(svm, vcpu);
        return;
    }
    svm_decode_exit(vmcb, &exit);
    if (exit_wants_system(vcpu, &exit)) {
        svm_read_system(vcpu);
        if (svm_exit_is_machine_check(vmcb->exit_code)) {
            machine_check_in_guest(vcpu);
            return;
        }
    }
    if (exit.kind == EXIT_INVALID) {
        explain_refusal(svm, vcpu);
    }
    if (exit.kind == EXIT_CPUID) {
        vcpu->system.cr4 = vmcb->cr4;
        if (svm->repairs) {
            svm_quirks_cpuid(vcpu);
        }
    }
    if (vmcb->exit_code >= SVM_EXIT_RDPMC && svm_exit_needs_length(vmcb->exit_code)) {
        exit.length = instruction_length(svm, vcpu);
        if (exit.length == 0) {
            return;
        }
    }
    exit_dispatch(vcpu, &exit);
}

static bool enter_again(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return false;
    }
    before_entry(svm, vcpu);
    return true;
}

bool svm_handle_any_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    after_exit(svm, vcpu);
    handle_exit(svm, vcpu);
    return enter_again(svm, vcpu);
}

/* Is something to be delivered all that is left? */
static inline bool is_event_alone(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    return vcpu->requests == VCPU_EVENT && !svm->repairs && svm_events_are_settled(svm, vcpu);
}

/* Then rip, rflags and the stack stay in the VMCB: the choice only looks at them. */
static void deliver_alone(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->gpr[GPR_RSP] = vmcb->rsp;
    vcpu->rip = vmcb->rip;
    vcpu->rflags = vmcb->rflags;
    vcpu->pending.valid = false;
    svm_choose_event(svm, vcpu);
    if (svm->exit_at_once) {
        cpu_kick(cpu_this());
    }
    vmcb->rflags |= svm->step.tf;
}

/* What the short way has changed in the VMCB stays marked. */
__attribute__((noinline)) static bool finish_any(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint32_t clean = svm->vmcb.clean;

    if (is_event_alone(svm, vcpu)) {
        deliver_alone(svm, vcpu);
        return true;
    }
    after_exit(svm, vcpu);
    svm->vmcb.clean &= clean;
    return enter_again(svm, vcpu);
}

/* The same where the guest has a word in its memory for the ends of interrupts; else, what finish_any() does. */
__attribute__((noinline)) static bool finish_by_word(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    int vector = vcpu->lapic.end_word != NULL ? lapic_accept_alone_by_word(&vcpu->lapic) : -1;

    if (vector < 0) {
        return finish_any(svm, vcpu);
    }
    inject_alone(svm, vcpu, (uint64_t)vector);
    return true;
}

/* VCPU_EVENT alone, and no NMI. */
__attribute__((noinline)) static bool finish_with_event(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    int vector;

    if (!may_inject_alone(svm, vcpu, svm->vmcb.rflags)) {
        __attribute__((musttail)) return finish_any(svm, vcpu);
    }
    vector = lapic_accept_alone(&vcpu->lapic);
    if (vector < 0) {
        __attribute__((musttail)) return finish_by_word(svm, vcpu);
    }
    inject_alone(svm, vcpu, (uint64_t)vector);
    return true;
}

/* What is not for finish_with_event() pays nothing for the registers that it saves. */
bool svm_finish_quick(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if (vcpu->requests != VCPU_EVENT || vcpu->nmi_pending != 0) {
        __attribute__((musttail)) return finish_any(svm, vcpu);
    }
    __attribute__((musttail)) return finish_with_event(svm, vcpu);
}

void svm_run(struct cpu *cpu, struct vcpu *vcpu)
{
    struct svm_vcpu *svm = vcpu->vendor;
    struct svm_cpu *host = cpu->vendor;

    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return;
    }
    svm_insn_clgi();
    insn_sti(); /* while GIF is clear it lets nothing in; VMRUN wants it */
    before_entry(svm, vcpu);
    svm->enter(svm, vcpu, (uint64_t)(uintptr_t)&host->host);
    insn_cli();
    svm_insn_stgi();
}
