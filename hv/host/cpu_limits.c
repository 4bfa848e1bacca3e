/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_limits.h"

#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define VENDOR_INTEL_EBX 0x756e6547u /* "Genu" */

/* IA32_MISC_ENABLE. SDM 4 2.1, table 2-2. */
#define LIMIT_CPUID_MAXVAL (1ULL << 22)
#define XD_BIT_DISABLE (1ULL << 34)

/* Every Intel CPU with VMX has more leaves than the limit leaves, and no-execute pages. SDM 2A "CPUID". */
#define LEAVES_MIN 4u

static uint32_t hidden(void)
{
    uint32_t limits = insn_cpuid(CPUID_VENDOR, 0).eax < LEAVES_MIN ? CPU_LIMIT_LEAVES : 0;
    bool no_execute = insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax >= CPUID_EXTENDED_1 &&
                      (insn_cpuid(CPUID_EXTENDED_1, 0).edx & CPUID_81_EDX_NX) != 0;

    return limits | (no_execute ? 0 : CPU_LIMIT_NO_EXECUTE);
}

static bool has_register(void)
{
    return insn_cpuid(CPUID_VENDOR, 0).ebx == VENDOR_INTEL_EBX &&
           (insn_cpuid(CPUID_FEATURES, 0).ecx & (CPUID_1_ECX_VMX | CPUID_1_ECX_HYPERVISOR)) == CPUID_1_ECX_VMX;
}

uint32_t cpu_limits_lift(void)
{
    uint32_t limits = hidden();
    uint64_t value;

    if (limits == 0 || !has_register()) {
        return 0;
    }
    value = insn_rdmsr(MSR_MISC_ENABLE);
    limits &= ((value & LIMIT_CPUID_MAXVAL) != 0 ? CPU_LIMIT_LEAVES : 0) |
              ((value & XD_BIT_DISABLE) != 0 ? CPU_LIMIT_NO_EXECUTE : 0);
    if (limits != 0) {
        insn_wrmsr(MSR_MISC_ENABLE, value & ~(LIMIT_CPUID_MAXVAL | XD_BIT_DISABLE));
    }
    return limits;
}
