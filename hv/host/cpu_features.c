/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_features.h"

#include "hv/base/format.h"
#include "hv/host/host_cpuid.h"

static struct cpuid_features noted[CPUS_MAX];

/* One CPU starts at a time, so one capture is enough for all. */
bool cpu_features_note(struct cpu *cpu, const struct cpuid_host *boot)
{
    static struct cpuid_host here;
    struct cpuid_lack lack;

    host_cpuid_capture(&here);
    cpuid_policy_features(&here, &noted[cpu->index]);
    if (!cpuid_policy_find_lack(boot, &here, &lack)) {
        return true;
    }
    format_text(cpu->why, sizeof(cpu->why),
                "it lacks features of the boot CPU: CPUID leaf 0x%x, eax 0x%x ebx 0x%x ecx 0x%x edx 0x%x", lack.leaf,
                lack.bits.eax, lack.bits.ebx, lack.bits.ecx, lack.bits.edx);
    return false;
}

const struct cpuid_features *cpu_features_of(uint32_t index)
{
    return &noted[index];
}
