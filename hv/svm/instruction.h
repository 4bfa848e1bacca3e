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

/* In 64-bit mode, and all of it in one page? */
static inline bool svm_may_look_at_rip(const struct vmcb *vmcb)
{
    return svm_in_64bit_code(vmcb) && (vmcb->rip & (PAGE_BYTES - 1)) <= PAGE_BYTES - SVM_PLAIN_BYTES;
}

/* The instruction that exited where it lies, with SVM_PLAIN_BYTES of it: in 64-bit mode. NULL: look for it by a fetch.
 * APM 2 15.5.1. */
static inline const uint8_t *svm_code_at_rip(const struct vmcb *vmcb, struct vcpu *vcpu)
{
    return svm_may_look_at_rip(vmcb)
               ? guest_walk_code_again(&vcpu->guest->memory, vmcb->cr3, vmcb->cr4, vmcb->rip, &vcpu->code_way)
               : NULL;
}

/* The usual forms of the instructions that exit. */
static inline uint8_t svm_usual_length(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    const uint8_t *code =
        svm_may_look_at_rip(vmcb) ? guest_walk_code(&vcpu->guest->memory, vmcb->cr3, vmcb->cr4, vmcb->rip) : NULL;

    return code == NULL ? 0 : svm_plain_length(vmcb->exit_code, code);
}

/* The usual form of an instruction that exits: its first bytes, the first one lowest, and their count above them. */
enum svm_form {
    SVM_FORM_CPUID = 0x0200a20f,
    SVM_FORM_WRMSR = 0x0200300f,
    SVM_FORM_RDMSR = 0x0200320f,
    SVM_FORM_WBINVD = 0x0200090f,
    SVM_FORM_VMMCALL = 0x03d9010f,
    SVM_FORM_XSETBV = 0x03d1010f,
};
#define SVM_FORM_LENGTH(form) ((uint32_t)(form) >> 24)

static inline bool svm_has_form(const uint8_t *code, enum svm_form form)
{
    uint16_t word;

    __builtin_memcpy(&word, code, sizeof(word));
    return word == (uint16_t)form && (SVM_FORM_LENGTH(form) == 2 || code[2] == (uint8_t)((uint32_t)form >> 16));
}

/* By a fetch through the guest's own tables and the decoder. 0: the bytes at rip are not those of the instruction that
 * exited, and the exit is to be left at that. */
uint8_t svm_fetched_length(struct svm_vcpu *svm, struct vcpu *vcpu);

/* Handles an exit for a control register. */
void svm_handle_cr_access(struct svm_vcpu *svm, struct vcpu *vcpu);

#endif
