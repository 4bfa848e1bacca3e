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

/* The L bit of CS is attribute 9. APM 2 4.8.1 "Code-Segment Descriptors". */
static inline bool svm_in_64bit_code(const struct vmcb *vmcb)
{
    return (vmcb->efer & EFER_LMA) != 0 && (vmcb->cs.attributes & VMCB_CS_LONG) != 0;
}

/* The instruction that exited where it lies, with SVM_PLAIN_BYTES of it: in 64-bit mode. NULL: look for it by a fetch.
 * APM 2 15.5.1. */
static inline const uint8_t *svm_code_at_rip(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    if (!svm_in_64bit_code(vmcb)) {
        return NULL;
    }
    if ((vmcb->rip & (PAGE_BYTES - 1)) > PAGE_BYTES - SVM_PLAIN_BYTES) {
        return NULL;
    }
    return guest_walk_code(&vcpu->guest->memory, vmcb->cr3, vmcb->cr4, vmcb->rip);
}

/* The usual forms of the instructions that exit. */
static inline uint8_t svm_usual_length(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    const uint8_t *code = svm_code_at_rip(vmcb, vcpu);

    return code == NULL ? 0 : svm_plain_length(vmcb->exit_code, code);
}

/* By a fetch through the guest's own tables and the decoder. 0: the bytes at rip are not those of the instruction that
 * exited, and the exit is to be left at that. */
uint8_t svm_fetched_length(struct svm_vcpu *svm, struct vcpu *vcpu);

/* Handles an exit for a control register. */
void svm_handle_cr_access(struct svm_vcpu *svm, struct vcpu *vcpu);

#endif
