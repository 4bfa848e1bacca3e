/* SPDX-License-Identifier: MIT */
/*
 * Events: what is injected at the next entry, which exit is wanted for what has to wait, and what an exit interrupted.
 */
#include "hv/svm/svm.h"

#include "hv/core/event.h"
#include "hv/svm/decode.h"
#include "hv/x86/registers.h"

#define TPR_SHIFT 4u

/* SVM does not say: it is known from the injection of one to its IRET (step.h). */
bool svm_nmi_is_blocked(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    (void)vcpu;
    return svm->step.nmi_masked;
}

/* Does something wait that the TPR alone holds off? Then an exit comes when the guest writes CR8. */
static bool waits_for_tpr(struct vcpu *vcpu)
{
    uint64_t tpr = lapic_cr8(&vcpu->lapic);
    int requested = tpr != 0 ? lapic_highest_requested(&vcpu->lapic) : -1; /* 0 holds no vector off */

    return requested >= 0 && ((uint64_t)requested >> TPR_SHIFT) <= tpr;
}

/*
 * A window is a virtual interrupt that is intercepted at the moment the guest could take it: when RFLAGS.IF is set and
 * no shadow holds it off, whatever the TPR says. There is none for an NMI: one that waits behind an event that is
 * injected gets an exit right after that event's delivery. APM 2 15.21.4 "Injecting Virtual (INTR) Interrupts".
 */
__attribute__((noinline)) static void set_windows(struct svm_vcpu *svm, struct vcpu *vcpu, bool interrupt, bool nmi)
{
    struct vmcb *vmcb = &svm->vmcb;
    bool nmi_next = nmi && !svm->step.nmi_masked;
    bool on = interrupt || nmi_next;
    bool cr8 = waits_for_tpr(vcpu) || (on && vcpu->guest->host->quirks.cr8_in_window);
    uint32_t misc1 = vmcb->intercepts[INTERCEPT_MISC1] & ~(1u << MISC1_VINTR);
    uint32_t cr = vmcb->intercepts[INTERCEPT_CR] & ~INTERCEPT_CR_CR8_WRITE;

    uint64_t control = vmcb->int_control & ~(INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR);

    svm->exit_at_once = nmi_next;
    misc1 |= on ? 1u << MISC1_VINTR : 0;
    control |= on ? INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR : 0;
    cr |= cr8 ? INTERCEPT_CR_CR8_WRITE : 0;
    if (misc1 != vmcb->intercepts[INTERCEPT_MISC1] || cr != vmcb->intercepts[INTERCEPT_CR] ||
        control != vmcb->int_control) {
        vmcb->intercepts[INTERCEPT_MISC1] = misc1;
        vmcb->intercepts[INTERCEPT_CR] = cr;
        vmcb->int_control = control;
        vmcb->clean &= ~(CLEAN_INTERCEPTS | CLEAN_INT_CONTROL);
    }
}

/* Nothing waits, which is so nearly always: set_windows() for that. */
static inline void shut_windows(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint32_t misc1 = vmcb->intercepts[INTERCEPT_MISC1];
    uint32_t cr = vmcb->intercepts[INTERCEPT_CR];
    uint64_t control = vmcb->int_control;

    svm->exit_at_once = false;
    if ((misc1 & 1u << MISC1_VINTR) != 0 || (cr & INTERCEPT_CR_CR8_WRITE) != 0 ||
        (control & (INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR)) != 0) {
        vmcb->intercepts[INTERCEPT_MISC1] = misc1 & ~(1u << MISC1_VINTR);
        vmcb->intercepts[INTERCEPT_CR] = cr & ~INTERCEPT_CR_CR8_WRITE;
        vmcb->int_control = control & ~(INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR);
        vmcb->clean &= ~(CLEAN_INTERCEPTS | CLEAN_INT_CONTROL);
    }
}

/* Not even behind the TPR, which kernels keep above 0. */
static inline bool nothing_waits(const struct vcpu *vcpu, bool interrupt, bool nmi)
{
    return !interrupt && !nmi && (lapic_cr8(&vcpu->lapic) == 0 || !lapic_has_request(&vcpu->lapic));
}

/* Real mode pushes no error codes. APM 2 8.1; 15.20 "Event Injection". */
__attribute__((noinline)) static void inject(struct svm_vcpu *svm, const struct vcpu_event *event)
{
    struct vcpu_event injected = *event;

    svm_end_shadow(svm); /* a delivery ends it */
    injected.has_error = event->has_error && (svm->vmcb.cr0 & CR0_PE) != 0;
    svm->vmcb.event_injection = svm_encode_event(&injected);
    if (event->kind == EVENT_NMI) {
        svm_step_nmi_begins(&svm->step, &svm->vmcb);
    } else if (svm->step.iret_runs) {
        svm_step_iret_waits(&svm->step, &svm->vmcb);
    }
}

/* Does something wait in a shadow that the CPU does not hold it off from? */
static bool wants_step(const struct svm_vcpu *svm, const struct vcpu *vcpu, bool interrupt, bool nmi)
{
    if ((svm->vmcb.int_state & INT_STATE_SHADOW) == 0) {
        return false;
    }
    return (nmi && !svm->step.nmi_masked) ||
           (interrupt && (vcpu->rflags & RFLAGS_IF) != 0 && vcpu->guest->host->quirks.lost_shadow);
}

void svm_choose_event(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    bool shadow = (svm->vmcb.int_state & INT_STATE_SHADOW) != 0;
    bool open = (vcpu->rflags & RFLAGS_IF) != 0 && !shadow;
    enum event_choice choice;
    struct vcpu_event event;
    bool nmi_open;
    bool nmi;
    bool interrupt;

    if (svm->step.iret_runs) {
        svm_step_settle_iret(&svm->step, &svm->vmcb, vcpu);
    }
    if (svm->step.reason != SVM_STEP_NONE && svm_step_holds(&svm->step, &svm->vmcb, vcpu)) {
        set_windows(svm, vcpu, false, false); /* nothing else is to come before the instruction has run */
        return;
    }
    nmi_open = !svm_nmi_is_blocked(svm, vcpu) && !shadow;
    choice = vcpu_select_event(vcpu, open, nmi_open, &event);
    if (choice == EVENT_INJECT && event.kind == EVENT_INTERRUPT && !svm->step.iret_runs) {
        svm_end_shadow(svm);
        svm->vmcb.event_injection = EVENT_VALID | event.vector; /* kind 0, and no error */
    } else if (choice == EVENT_INJECT) {
        inject(svm, &event);
    }
    interrupt = vcpu_wants_window(vcpu, choice, &nmi);
    if (wants_step(svm, vcpu, interrupt, nmi)) {
        svm_step_begin(&svm->step, &svm->vmcb, vcpu, SVM_STEP_SHADOW);
        interrupt = nmi = false;
    }
    if (nothing_waits(vcpu, interrupt, nmi)) {
        shut_windows(svm);
    } else {
        set_windows(svm, vcpu, interrupt, nmi);
    }
}

/* An exit came during a delivery, or before it: after an entry and before the first instruction. */
void svm_take_back_event(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->pending = svm_decode_event(vmcb->exit_int_info);
    if ((vmcb->event_injection & EVENT_VALID) != 0) {
        vcpu->pending = svm_decode_event(vmcb->event_injection);
        vmcb->event_injection = 0;
    }
    vcpu->requests |= vcpu->pending.valid ? VCPU_EVENT : 0;
}
