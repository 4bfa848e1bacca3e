/* SPDX-License-Identifier: MIT */
/*
 * What an entry and an exit pay for repairs (quirks.c): a few comparisons in an emulator, one on a CPU.
 */
#ifndef HV_SVM_QUIRK_STATE_H
#define HV_SVM_QUIRK_STATE_H

#include "hv/svm/entry_check.h"
#include "hv/svm/step.h"

#define SVM_NO_SHADOW UINT64_MAX /* no address of an instruction that another one follows */

#define SVM_ARMED_VIRTUAL_INTERRUPT 1u /* double_injection: entered with an interrupt as V_IRQ */
#define SVM_ARMED_DOUBLE_FAULT 2u      /* no_shutdown_exit: a #DF is delivered; what makes a triple fault of it exits */

struct svm_quirk_state {
    uint64_t shadow_rip; /* lost_shadow: where the last entry was in an interrupt shadow, else SVM_NO_SHADOW */
    uint32_t armed;      /* SVM_ARMED_* */
    char first_entry_wrong
        [SVM_ENTRY_SENTENCE_MAX]; /* refusal_spoils_vmcb: before the first entry after a reset, or "" */
};

/* At every entry. */
static inline void svm_quirks_entry(struct svm_quirk_state *quirk, const struct vmcb *vmcb)
{
    quirk->shadow_rip = (vmcb->int_state & INT_STATE_SHADOW) != 0 ? vmcb->rip : SVM_NO_SHADOW;
}

/*
 * double_injection: an interrupt that nothing else waits behind goes in the other way, as a virtual interrupt that is
 * not intercepted, which the CPU takes before the first instruction. In Bochs 2.7 interrupts got lost this way. APM
 * 2 15.21.4.
 */
static inline void svm_quirks_inject_virtual(struct svm_quirk_state *quirk, struct vmcb *vmcb, uint64_t vector)
{
    vmcb->int_control = (vmcb->int_control & ~INT_CONTROL_V_VECTOR) | INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR |
                        vector << INT_CONTROL_V_VECTOR_SHIFT;
    vmcb->clean &= ~CLEAN_INT_CONTROL;
    quirk->armed |= SVM_ARMED_VIRTUAL_INTERRUPT;
}

/* Where requests were applied: may there be something to repair before the entry? */
#define SVM_QUIRKS_REQUESTS ((uint32_t)VCPU_RESET | VCPU_SYSTEM_WRITE | VCPU_CR2_WRITE)

static inline bool svm_quirks_concern_entry(const struct vmcb *vmcb, const struct svm_step *step, uint32_t requests)
{
    return (requests & SVM_QUIRKS_REQUESTS) != 0 || (vmcb->event_injection & EVENT_VALID) != 0 ||
           step->reason == SVM_STEP_IRET;
}

/* At every exit: may there be something to repair? */
static inline bool svm_quirks_concern(const struct svm_quirk_state *quirk, const struct vmcb *vmcb)
{
    return vmcb->rip == quirk->shadow_rip || quirk->armed != 0;
}

#endif
