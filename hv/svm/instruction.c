/* SPDX-License-Identifier: MIT */
#include "hv/svm/instruction.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/exit/dispatch.h"

/*
 * The bytes at rip are not those of the instruction that exited, or an exception was raised by the fetch. The guest
 * goes on from there; when that exits again and again without progress, it is stopped.
 */
static void go_on_from_there(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    bool waits = (vcpu->requests & VCPU_YIELD) != 0; /* for a device: platform_lock.h */

    if (!vcpu->pending.valid && !waits && !emulate_enter_again(vcpu)) {
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
        go_on_from_there(svm, vcpu);
    }
    return length;
}

/* Is this what the CPU has checked and left the guest for? CLTS and LMSW write CR0, SMSW reads it. APM 2 15.8.1 "MOV
 * CRx/DRx Intercepts". */
static bool is_access_of(uint64_t exit_code, const struct exit_cr_access *access)
{
    uint64_t code = exit_code == SVM_EXIT_CR0_SELECTIVE ? SVM_EXIT_CR0_WRITE : exit_code;

    return access->number == code % SVM_EXIT_CR0_WRITE && access->write == (code >= SVM_EXIT_CR0_WRITE);
}

/* The register is in the instruction, or in EXITINFO1 with decode assists: the instruction always serves. */
void svm_handle_cr_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vm_exit exit = {.kind = EXIT_CR_ACCESS, .raw = (uint32_t)svm->vmcb.exit_code};

    svm_read_system(vcpu);
    if (!emulate_decode_cr(vcpu, &exit.cr, &exit.length) || !is_access_of(svm->vmcb.exit_code, &exit.cr)) {
        go_on_from_there(svm, vcpu);
        return;
    }
    exit_dispatch(vcpu, &exit);
}
