/* SPDX-License-Identifier: MIT */
/*
 * A second CPU that is not as the boot CPU, for tests: included before the files that read what a CPU has
 * (mk/faults.mk). No emulator has such a machine. `locked` and `vmxon` are real: the MSR is locked there, and VMXON is
 * refused.
 */
#ifndef TESTS_FAULTS_OTHER_CPU_H
#define TESTS_FAULTS_OTHER_CPU_H

#include "hv/host/fault.h"
#include "hv/vmx/insn.h"
#include "hv/x86/insn.h"

#define OTHER_FEATURE_CONTROL 0x3au /* SDM 4 2.1, IA32_FEATURE_CONTROL: bit 0 locks */
#define OTHER_TRUE_PRIMARY 0x48eu   /* SDM 3D A.3.2: bit 63 is "secondary controls may be 1" */
#define OTHER_EPT_VPID 0x48cu       /* SDM 3D A.10: bit 17 is 1 GiB pages */
#define OTHER_VM_CR 0xc0010114u     /* APM 2 15.30.1: bit 4 is SVMDIS */

static inline uint64_t other_rdmsr(uint32_t msr)
{
    if (msr == OTHER_FEATURE_CONTROL && fault_is_here("cpu1:locked")) {
        insn_wrmsr(msr, 1);
    } else if (msr == OTHER_TRUE_PRIMARY && fault_is_here("cpu1:true-controls")) {
        return insn_rdmsr(msr) & ~(1ULL << 63);
    } else if (msr == OTHER_EPT_VPID && fault_is_here("cpu1:ept")) {
        return insn_rdmsr(msr) & ~(1ULL << 17);
    } else if (msr == OTHER_VM_CR && fault_is_here("cpu1:svm-off")) {
        return 0x18;
    }
    return insn_rdmsr(msr);
}

static inline struct cpuid_result other_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result words = insn_cpuid(leaf, subleaf);

    if (leaf == 0x8000000a && fault_is_here("cpu1:no-nested-paging")) { /* APM 3 E.4.9: EDX bit 0 */
        words.edx &= ~1u;
    } else if (leaf == 0x8000000a && fault_is_here("cpu1:asids")) {
        words.ebx = 8;
    } else if (leaf == 1 && fault_is_here("cpu1:hangs")) {
        for (;;) {
            insn_cli();
            insn_hlt();
        }
    } else if (leaf == 1 && fault_is_here("cpu1:no-sse4.2")) { /* SDM 2A "CPUID", table 3-10: ECX bit 20 */
        words.ecx &= ~(1u << 20);
    }
    return words;
}

static inline uint64_t other_rdtsc(void)
{
    return insn_rdtsc() + (fault_is_here("cpu1:tsc") ? 1ULL << 40 : 0);
}

/* A region that is not aligned is refused. SDM 3C 31.3 "VMX Instructions", VMXON. */
static inline bool other_vmxon(uint64_t region)
{
    return vmx_insn_vmxon(fault_is_here("cpu1:vmxon") ? region + 8 : region);
}

#define insn_rdtsc() other_rdtsc()
#define insn_rdmsr(msr) other_rdmsr(msr)
#define insn_cpuid(leaf, subleaf) other_cpuid(leaf, subleaf)
#define vmx_insn_vmxon(region) other_vmxon(region)

#endif
