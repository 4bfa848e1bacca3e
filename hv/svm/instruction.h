/* SPDX-License-Identifier: MIT */
/*
 * The instruction that exited, for CPUs that do not tell: its length where there is no next rip save, and the registers
 * of a move to or from a control register. VMX has both in exit fields. APM 2 15.5.1.
 */
#ifndef HV_SVM_INSTRUCTION_H
#define HV_SVM_INSTRUCTION_H

#include "hv/mm/guest_walk.h"
#include "hv/svm/decode.h"
#include "hv/svm/svm.h"
#include "hv/x86/registers.h"

/*
 * The usual forms of the instructions that exit, looked at where they lie: in 64-bit mode with 4-level paging. The L
 * bit of CS is attribute 9. APM 2 4.8.1 "Code-Segment Descriptors", 15.5.1.
 */
static inline uint8_t svm_usual_length(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    const uint8_t *code;

    if ((vmcb->efer & EFER_LMA) == 0 || (vmcb->cs.attributes & VMCB_CS_LONG) == 0 || (vmcb->cr4 & CR4_LA57) != 0) {
        return 0;
    }
    if ((vmcb->rip & (PAGE_BYTES - 1)) > PAGE_BYTES - SVM_PLAIN_BYTES) {
        return 0;
    }
    code = guest_walk_code(&vcpu->guest->memory, vmcb->cr3, vmcb->rip);
    return code == NULL ? 0 : svm_plain_length(vmcb->exit_code, code);
}

/* By a fetch through the guest's own tables and the decoder. 0: the bytes at rip are not those of the instruction that
 * exited, and the exit is to be left at that. */
uint8_t svm_fetched_length(struct svm_vcpu *svm, struct vcpu *vcpu);

/* Handles an exit for a control register. */
void svm_handle_cr_access(struct svm_vcpu *svm, struct vcpu *vcpu);

#endif
