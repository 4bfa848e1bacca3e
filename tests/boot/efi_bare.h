/* SPDX-License-Identifier: MIT */
/*
 * A CPU with the least of VMX that Plinth runs on, for tests: included before hv/vmx/features.c, it takes from the
 * capability MSRs what is optional. No emulator has such a CPU. mk/test-efi.mk makes build/efi-bare/BOOTX64.EFI.
 */
#ifndef TESTS_BOOT_EFI_BARE_H
#define TESTS_BOOT_EFI_BARE_H

#include "hv/vmx/vmcs.h"
#include "hv/x86/insn.h"

/* The bits of a capability MSR that are taken away; of control words the upper half says what may be set. SDM 3D A. */
static inline uint64_t bare_hidden(uint32_t msr)
{
    switch (msr) {
    case 0x482: /* primary controls, plain and true */
    case 0x48e:
        return (uint64_t)PRIMARY_TPR_SHADOW << 32;
    case 0x483: /* exit controls */
    case 0x48f:
        return (uint64_t)(EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER | EXIT_LOAD_EFER) << 32;
    case 0x484: /* entry controls */
    case 0x490:
        return (uint64_t)(ENTRY_LOAD_PAT | ENTRY_LOAD_EFER) << 32;
    case 0x48b: /* secondary controls */
        return (uint64_t)(SECONDARY_VPID | SECONDARY_WBINVD | SECONDARY_VIRTUAL_X2APIC | SECONDARY_APIC_ACCESSES) << 32;
    case 0x48c: /* EPT: 1 GiB pages, accessed and dirty bits, execute-only */
        return 1ULL << 17 | 1ULL << 21 | 1ULL << 0;
    default:
        return 0;
    }
}

static inline uint64_t bare_rdmsr(uint32_t msr)
{
    return insn_rdmsr(msr) & ~bare_hidden(msr);
}

#define insn_rdmsr(msr) bare_rdmsr(msr)

#endif
