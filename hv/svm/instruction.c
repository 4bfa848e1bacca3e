/*
 * The instruction that exited, for CPUs that do not tell: its length where there is no next rip save, and the registers
 * of a move to or from a control register. VMX has both in exit fields. APM 2 15.5.1.
 */
#include "hv/svm/svm.h"

#include "hv/emulate/emulate.h"
#include "hv/exit/dispatch.h"
#include "hv/svm/decode.h"

#define NO_LENGTH_MAX 16u

/*
 * The bytes at rip are not those of the instruction that exited: the guest rewrote them or its tables meanwhile, and an
 * exception may have been raised by the fetch. The guest goes on from there; when that exits again without progress, it
 * is stopped.
 */
static void note_no_length(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if (vcpu->pending.valid) {
        return;
    }
    svm->no_length_count = svm->no_length_rip == vcpu->rip ? svm->no_length_count + 1 : 0;
    svm->no_length_rip = vcpu->rip;
    if (svm->no_length_count > NO_LENGTH_MAX) {
        guest_fail(vcpu, GUEST_CODE_UNDECODABLE,
                   "the instruction at rip 0x%" PRIx64 " that left the guest (exit 0x%x) cannot be decoded", vcpu->rip,
                   (uint32_t)svm->vmcb.exit_code);
    }
}

/* The instruction is fetched again, through the guest's own tables, and measured. */
static uint8_t fetched_length(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint8_t length;

    svm_read_system(vcpu);
    length = emulate_length(vcpu);
    if (length == 0) {
        note_no_length(svm, vcpu);
    }
    return length;
}

uint8_t svm_instruction_length(struct svm_vcpu *svm, struct vcpu *vcpu)
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
    return length != 0 ? length : fetched_length(svm, vcpu);
}

/* The register is in the instruction, or in EXITINFO1 with decode assists: the instruction always serves. */
void svm_handle_cr_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vm_exit exit = {.kind = EXIT_CR_ACCESS, .raw = (uint32_t)svm->vmcb.exit_code};

    svm_read_system(vcpu);
    if (!emulate_decode_cr(vcpu, &exit.cr, &exit.length)) {
        note_no_length(svm, vcpu);
        return;
    }
    exit_dispatch(vcpu, &exit);
}
