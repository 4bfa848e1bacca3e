/* SPDX-License-Identifier: MIT */
#include "hv/svm/step.h"

#include "hv/x86/registers.h"

/* Every vector but NMI's, which has an intercept of its own. APM 2 15.12. */
#define ALL_EXCEPTIONS (~(1u << EXCEPTION_NMI))

/* What pushes RFLAGS or loads them, and does not make an exception. */
#define FLAGS_MISC1 (1u << MISC1_PUSHF | 1u << MISC1_POPF | 1u << MISC1_IRET | 1u << MISC1_INTN)
#define FLAGS_MISC2 (1u << MISC2_ICEBP)

#define EXCEPTION_EXIT(vector) ((uint64_t)SVM_EXIT_EXCEPTION_FIRST + (vector))

static bool uses_flags(uint64_t exit_code)
{
    return exit_code == SVM_EXIT_PUSHF || exit_code == SVM_EXIT_POPF || exit_code == SVM_EXIT_IRET ||
           exit_code == SVM_EXIT_INTN || exit_code == SVM_EXIT_ICEBP || exit_code == EXCEPTION_EXIT(EXCEPTION_BP) ||
           exit_code == EXCEPTION_EXIT(EXCEPTION_OF);
}

/* Outside of a step only IRET is of interest, until it ends an NMI. */
static void watch_flags(const struct svm_step *step, struct vmcb *vmcb, bool all)
{
    uint32_t misc1 = vmcb->intercepts[INTERCEPT_MISC1] & ~FLAGS_MISC1;
    uint32_t misc2 = vmcb->intercepts[INTERCEPT_MISC2] & ~FLAGS_MISC2;

    if (step->nmi_masked && !step->iret_runs && step->reason != SVM_STEP_IRET) {
        misc1 |= 1u << MISC1_IRET;
    }
    vmcb->intercepts[INTERCEPT_MISC1] = all ? misc1 | FLAGS_MISC1 : misc1;
    vmcb->intercepts[INTERCEPT_MISC2] = all ? misc2 | FLAGS_MISC2 : misc2;
    vmcb->clean &= ~CLEAN_INTERCEPTS;
}

/* Breakpoints of a #DB that is the guest's take the place of older ones. BS stays until the guest clears it. */
static void end(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu, bool debug)
{
    if (step->reason == SVM_STEP_IRET) {
        step->nmi_masked = false; /* also where the IRET faulted */
    }
    vmcb->dr6 |= step->dr6 & (debug ? DR6_BS : DR6_BS | DR6_BREAKPOINTS);
    vmcb->clean &= ~CLEAN_DR;
    step->reason = SVM_STEP_NONE;
    step->tf = 0;
    vmcb->intercepts[INTERCEPT_EXCEPTION] = step->exceptions;
    watch_flags(step, vmcb, false);
    vcpu->requests |= VCPU_EVENT;
}

void svm_step_reset(struct svm_step *step, struct vmcb *vmcb)
{
    if (step->reason != SVM_STEP_NONE) {
        vmcb->intercepts[INTERCEPT_EXCEPTION] = step->exceptions;
    }
    *step = (struct svm_step){.reason = SVM_STEP_NONE};
    watch_flags(step, vmcb, false);
}

void svm_step_begin(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu, enum svm_step_reason reason)
{
    step->reason = reason;
    step->iret_runs = false;
    step->tf = RFLAGS_TF;
    step->guest_tf = (vcpu->rflags & RFLAGS_TF) != 0;
    step->rip = vcpu->rip;
    step->dr6 = vmcb->dr6;
    step->exceptions = vmcb->intercepts[INTERCEPT_EXCEPTION];
    vmcb->dr6 &= ~(DR6_BS | DR6_BREAKPOINTS); /* what is there afterwards is of this instruction */
    vmcb->intercepts[INTERCEPT_EXCEPTION] = ALL_EXCEPTIONS;
    watch_flags(step, vmcb, reason == SVM_STEP_SHADOW);
    vmcb->clean &= ~CLEAN_DR;
    vcpu->requests |= VCPU_EVENT;
}

void svm_step_nmi_begins(struct svm_step *step, struct vmcb *vmcb)
{
    step->nmi_masked = true;
    step->iret_runs = false;
    watch_flags(step, vmcb, false);
}

/* A fault of the IRET has unmasked NMIs, too; a breakpoint on it or an interrupt comes before it. */
static bool pending_is_of_iret(const struct vcpu_event *pending)
{
    return pending->valid && pending->kind == EVENT_EXCEPTION && pending->vector != EXCEPTION_DB;
}

void svm_step_settle_iret(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu)
{
    bool has_run = vcpu->rip != step->rip || vcpu->gpr[GPR_RSP] != step->rsp;

    if (has_run || pending_is_of_iret(&vcpu->pending)) {
        step->iret_runs = false;
        step->nmi_masked = false;
    } else if (vcpu->nmi_pending != 0 && !vcpu->pending.valid) {
        svm_step_begin(step, vmcb, vcpu, SVM_STEP_IRET);
    }
}

void svm_step_iret_waits(struct svm_step *step, struct vmcb *vmcb)
{
    step->iret_runs = false;
    watch_flags(step, vmcb, false);
}

/* A #DB without any cause is one, too: the step alone can have asked for it. */
static bool is_step(uint64_t dr6)
{
    return (dr6 & DR6_BS) != 0 || (dr6 & (DR6_BREAKPOINTS | DR6_BD | DR6_BT)) == 0;
}

/* True where only the step has asked for this #DB. */
static bool end_by_trap(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu)
{
    bool breakpoint = (vmcb->dr6 & DR6_BREAKPOINTS) != 0;

    if (step->guest_tf) {
        end(step, vmcb, vcpu, true);
        return false;
    }
    if (step->reason == SVM_STEP_SHADOW) {
        vcpu->rflags &= ~RFLAGS_TF; /* else the IRET has loaded them */
    }
    vmcb->dr6 &= ~DR6_BS;
    end(step, vmcb, vcpu, breakpoint);
    return !breakpoint;
}

bool svm_step_exit(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu)
{
    bool moved = vcpu->rip != step->rip;

    if (step->reason == SVM_STEP_NONE) {
        if (vcpu->nmi_pending == 0) {
            svm_step_let_iret_run(step, vmcb);
        } else {
            svm_step_begin(step, vmcb, vcpu, SVM_STEP_IRET);
        }
        return true;
    }
    if (vmcb->exit_code == SVM_EXIT_DEBUG && is_step(vmcb->dr6)) {
        return end_by_trap(step, vmcb, vcpu);
    }
    if (!step->guest_tf && (step->reason == SVM_STEP_SHADOW || !moved)) {
        vcpu->rflags &= ~step->tf;
    }
    if (step->reason == SVM_STEP_SHADOW && uses_flags(vmcb->exit_code)) {
        vmcb->int_state &= ~INT_STATE_SHADOW;
        end(step, vmcb, vcpu, false);
        return true;
    }
    if (moved || vmcb->exit_code == SVM_EXIT_TASK_SWITCH) {
        end(step, vmcb, vcpu, vmcb->exit_code == SVM_EXIT_DEBUG);
    }
    return false;
}

bool svm_step_holds(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu)
{
    bool debug = vcpu->pending.valid && vcpu->pending.vector == EXCEPTION_DB;

    if (step->reason == SVM_STEP_NONE) {
        return false;
    }
    if (!vcpu->pending.valid && vcpu->rip == step->rip) {
        return true;
    }
    end(step, vmcb, vcpu, debug);
    return false;
}
