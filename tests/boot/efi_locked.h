/* SPDX-License-Identifier: MIT */
/*
 * A firmware that has switched virtualization off and locked that, for tests: included before the vendors' files that
 * read features. mk/test-efi.mk makes build/efi-locked/BOOTX64.EFI with it. SDM 4 2.1, IA32_FEATURE_CONTROL; APM
 * 2 15.30.1.
 */
#ifndef TESTS_BOOT_EFI_LOCKED_H
#define TESTS_BOOT_EFI_LOCKED_H

#include "hv/x86/insn.h"

static inline uint64_t locked_rdmsr(uint32_t msr)
{
    switch (msr) {
    case 0x3a: /* locked, VMX off */
        return 1;
    case 0xc0010114: /* VM_CR: SVMDIS, and its lock */
        return 0x18;
    default:
        return insn_rdmsr(msr);
    }
}

#define insn_rdmsr(msr) locked_rdmsr(msr)

#endif
