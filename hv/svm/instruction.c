/* SPDX-License-Identifier: MIT */
#include "hv/svm/instruction.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/exit/dispatch.h"

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

uint8_t svm_fetched_length(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint8_t length;

    svm_read_system(vcpu);
    length = emulate_length(vcpu);
    if (length == 0) {
        note_no_length(svm, vcpu);
    }
    return length;
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
