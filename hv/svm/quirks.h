/*
 * What an entry and an exit pay for repairs (quirks.c): a few comparisons in an emulator, one on a CPU.
 */
#ifndef HV_SVM_QUIRKS_H
#define HV_SVM_QUIRKS_H

#include "hv/svm/entry_check.h"

#define SVM_NO_SHADOW UINT64_MAX /* no address of an instruction that another one follows */

struct svm_quirk_state {
    uint64_t shadow_rip;    /* lost_shadow: where the last entry was in an interrupt shadow, else SVM_NO_SHADOW */
    bool virtual_interrupt; /* double_injection: entered with an interrupt as V_IRQ */
    bool double_fault;      /* no_shutdown_exit: a #DF is delivered, and what makes a triple fault of it exits */
    char first_entry_wrong
        [SVM_ENTRY_SENTENCE_MAX]; /* refusal_spoils_vmcb: before the first entry after a reset, or "" */
};

/* At every entry. */
static inline void svm_quirks_entry(struct svm_quirk_state *quirk, const struct vmcb *vmcb)
{
    quirk->shadow_rip = (vmcb->int_state & INT_STATE_SHADOW) != 0 ? vmcb->rip : SVM_NO_SHADOW;
}

/* At every exit: may there be something to repair? */
static inline bool svm_quirks_concern(const struct svm_quirk_state *quirk, const struct vmcb *vmcb)
{
    return vmcb->rip == quirk->shadow_rip || quirk->virtual_interrupt || quirk->double_fault ||
           vmcb->exit_code == SVM_EXIT_CPUID || vmcb->exit_code == SVM_EXIT_DEBUG;
}

#endif
