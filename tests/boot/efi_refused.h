/* SPDX-License-Identifier: MIT */
/*
 * A mistake of ours in the first guest's control structure, for tests: included before hv/svm/run.c and, where the
 * function is chosen, hv/vmx/setup.c, it breaks a field whenever guest state is written. The CPU then refuses the
 * entry. mk/test-efi.mk makes build/efi-refused/BOOTX64.EFI.
 */
#ifndef TESTS_BOOT_EFI_REFUSED_H
#define TESTS_BOOT_EFI_REFUSED_H

#include "hv/core/guest.h"
#include "hv/svm/svm.h"
#include "hv/vmx/vmx.h"
#include "hv/x86/registers.h"

/* The host's ASID. After a refusal QEMU 7.2 has the host's registers in the save area, so a broken register would not
 * be found there. APM 2 15.5.1. */
static inline void refused_svm_write_system(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    svm_write_system(svm, vcpu);
    if (vcpu->guest->index == 0) {
        svm->vmcb.asid = 0;
    }
}

/* TR is a code or data segment. SDM 3C 27.3.1.2. */
static inline void refused_vmx_write_system(struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    vmx_write_system(vmx, vcpu);
    if (vcpu->guest->index == 0) {
        vmx_write((enum vmcs_field)(VMCS_GUEST_ES_ACCESS + SEGMENT_TR * VMCS_SEGMENT_STRIDE),
                  vcpu->system.segments[SEGMENT_TR].access | SEGMENT_S);
    }
}

#define svm_write_system refused_svm_write_system
#define vmx_write_system refused_vmx_write_system

#endif
