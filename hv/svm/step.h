/* SPDX-License-Identifier: MIT */
/*
 * One instruction of the guest, after which an event can be injected. Pure: it changes a VMCB and a vCPU in memory.
 *
 * SVM tells neither the end of an interrupt shadow nor the end of an NMI, and VMX tells both. So the guest runs one
 * instruction with RFLAGS.TF set, and the #DB that follows is swallowed:
 *
 *   - an NMI waits in a shadow, for the instruction after STI or MOV SS (and an interrupt does, where the emulator
 *     loses shadows: quirks.lost_shadow);
 *   - an NMI is at its end and another one waits: the IRET that unmasks it exits before it has run. APM 2 15.21.5.
 *
 * Where no other NMI waits at the IRET, nothing needs to be known of its end yet: it runs freely, and the next time
 * events are chosen rip and rsp tell whether it has run (STEP_NONE with iret_runs). It is stepped after all where an
 * NMI has come and it has not.
 *
 *                     shadow                             NMI injected
 *        STEP_NONE ------------> STEP_SHADOW    masked <----------------------- open
 *            ^                        |         |  ^ | IRET exits, an NMI waits    ^  ^
 *            +------------------------+         |  | +-----------> STEP_IRET ------+  |
 *                                               |  |                  ^ an NMI waits  |
 *                         IRET exits, none does |  | an interrupt     |               |
 *                                               v  | comes before it  | it has run    |
 *                                             iret_runs --------------+---------------+
 *
 * A step is over when its instruction has run, has been emulated, or has raised an exception, whichever is seen first.
 * The guest must not see the TF. So while a step lasts every exception exits and is raised again without it, as do the
 * instructions that push flags or load them: PUSHF, POPF, IRET, INT n, INT3, INTO, INT1. These end a step in a shadow
 * before they have run: they use the stack, so it is as good for an NMI before them as after them.
 *
 * Order for the vendor: svm_step_exit() before anything else looks at an exit, svm_step_settle_iret() and
 * svm_step_holds() before an event is chosen, step.tf in what an entry loads as RFLAGS. What is not done: SYSCALL in a
 * shadow leaves TF in R11.
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
    bool nmi_masked;     /* an NMI was injected, and its IRET is not known to have run */
    bool iret_runs;      /* masked, and the IRET at `rip` runs without an intercept or a step */
    bool guest_tf;       /* the guest itself single-steps there */
    uint32_t exceptions; /* intercepts without the step */
    uint64_t tf;         /* RFLAGS.TF during a step, else 0 */
    uint64_t rip;        /* of the instruction, or of the IRET that runs */
    uint64_t rsp;        /* at the IRET that runs: it may lead to itself, and pops its frame then, too */
    uint64_t dr6;        /* before the step */
};

/* After INIT: nothing is stepped and no NMI is masked. */
void svm_step_reset(struct svm_step *step, struct vmcb *vmcb);

/* Begins at vcpu->rip, with nothing to inject. */
void svm_step_begin(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu, enum svm_step_reason reason);

/* An NMI is injected: its IRET is intercepted from now on. */
void svm_step_nmi_begins(struct svm_step *step, struct vmcb *vmcb);

/* The exit of the IRET that ends an NMI, where nothing is stepped and no NMI waits: it runs freely. */
static inline void svm_step_let_iret_run(struct svm_step *step, struct vmcb *vmcb)
{
    step->iret_runs = true;
    step->rip = vmcb->rip;
    step->rsp = vmcb->rsp;
    vmcb->intercepts[INTERCEPT_MISC1] &= ~(1u << MISC1_IRET);
    vmcb->clean &= ~CLEAN_INTERCEPTS;
}

/* Before an event is chosen while iret_runs: finds out whether the IRET has run, and steps it where an NMI waits for
 * it. */
void svm_step_settle_iret(struct svm_step *step, struct vmcb *vmcb, struct vcpu *vcpu);

/* Where iret_runs after that, and an event is injected: it comes before the IRET, whose intercept is back. (The next
 * IRET is that of the event's handler, and unmasks.) */
void svm_step_iret_waits(struct svm_step *step, struct vmcb *vmcb);

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
