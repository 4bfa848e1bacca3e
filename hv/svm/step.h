/* SPDX-License-Identifier: MIT */
/*
 * One instruction of the guest, after which an event can be injected. Pure: it changes a VMCB and a vCPU in memory.
 *
 * SVM tells neither the end of an interrupt shadow nor the end of an NMI, and VMX tells both. So the guest runs one
 * instruction with RFLAGS.TF set, and the #DB that follows is swallowed:
 *
 *   - an NMI waits in a shadow, for the instruction after STI or MOV SS (and an interrupt does, where the emulator
 *   loses
 *     shadows: quirks.lost_shadow);
 *   - an NMI is at its end: the IRET that unmasks the next one exits before it has run. APM 2 15.21.5.
 *
 *                     shadow                             NMI injected
 *        STEP_NONE ------------> STEP_SHADOW    masked <---------------- open
 *            ^                        |            | IRET exits            ^
 *            +------------------------+            +-------> STEP_IRET ----+
 *
 * A step is over when its instruction has run, has been emulated, or has raised an exception, whichever is seen first.
 * The guest must not see the TF. So while a step lasts every exception exits and is raised again without it, as do the
 * instructions that push flags or load them: PUSHF, POPF, IRET, INT n, INT3, INTO, INT1. These end a step in a shadow
 * before they have run: they use the stack, so it is as good for an NMI before them as after them.
 *
 * Order for the vendor: svm_step_exit() before anything else looks at an exit, svm_step_holds() before an event is
 * chosen, step.tf in what an entry loads as RFLAGS. What is not done: SYSCALL in a shadow leaves TF in R11.
 */
#ifndef HV_SVM_STEP_H
#define HV_SVM_STEP_H

#include "hv/core/vcpu.h"
#include "hv/svm/vmcb.h"

enum svm_step_reason {
    SVM_STEP_NONE,
    SVM_STEP_SHADOW,
    SVM_STEP_IRET,
};

struct svm_step {
    enum svm_step_reason reason;
    bool nmi_masked;     /* an NMI was injected and its IRET has not run */
    bool guest_tf;       /* the guest itself single-steps there */
    uint32_t exceptions; /* intercepts without the step */
    uint64_t tf;         /* RFLAGS.TF during a step, else 0 */
    uint64_t rip;        /* of the instruction */
    uint64_t dr6;        /* before the step */
};

/* After INIT: nothing is stepped and no NMI is masked. */
void svm_step_reset(struct svm_step *step, struct vmcb *vmcb);

/* Begins at vcpu->rip, with nothing to inject. */
void svm_step_begin(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu, enum svm_step_reason reason);

/* An NMI is injected: its IRET is intercepted from now on. */
void svm_step_nmi_begins(struct svm_step *step, struct vmcb *vmcb);

/* At an exit during a step, or of the IRET that ends an NMI. True: there is nothing else in it, nothing is to be
 * dispatched. False: vcpu->rflags is the guest's again, and the exit is dispatched as any other. */
bool svm_step_exit(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu);

/* True while the instruction has not run: nothing may be injected. An exception that is pending ends the step. */
bool svm_step_holds(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu);

/* Does svm_step_exit() want to see this exit? */
static inline bool svm_step_concerns(const struct svm_step *step, const struct vmcb *vmcb)
{
    return step->reason != SVM_STEP_NONE || vmcb->exit_code == SVM_EXIT_IRET;
}

#endif
