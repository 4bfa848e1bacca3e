/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_power.h"

/* SDM 2A "CPUID": leaf 1 ECX bit 3; leaf 5 ECX and EDX; leaf 6 EAX. APM 3 E.4: leaf 8000_0008 EBX bit 27. */
#define FEATURES_ECX_MONITOR (1u << 3)
#define MWAIT_ECX_EXTENSIONS (1u << 0)
#define MWAIT_ECX_INTERRUPTS_BREAK (1u << 1)
#define MWAIT_STATE_BITS 4u
#define MWAIT_STATE_MASK 0xfu
#define MWAIT_STATES 7u /* C1 to C7 */
#define MWAIT_HINT_SHIFT 4u
#define POWER_EAX_ARAT (1u << 2)
#define POWER_EAX_HWP (1u << 7)
#define POWER_EAX_HWP_PREFERENCE (1u << 10)
#define INVARIANT_EDX_TSC (1u << 8)
#define SIZES_EBX_CPPC (1u << 27)

/* SDM 3B 15.4.4 "Managing HWP". */
#define HWP_HIGHEST(word) ((uint32_t)((word)&0xff))
#define HWP_LOWEST(word) ((uint32_t)((word) >> 24 & 0xff))
#define HWP_REQUEST_MINIMUM_SHIFT 0u
#define HWP_REQUEST_MAXIMUM_SHIFT 8u

/* APM 2 17.6 "Collaborative Processor Performance Control": CPPC_CAPABILITY_1, CPPC_REQUEST. */
#define CPPC_HIGHEST(word) ((uint32_t)((word) >> 24 & 0xff))
#define CPPC_LOWEST(word) ((uint32_t)((word)&0xff))
#define CPPC_REQUEST_MAXIMUM_SHIFT 0u
#define CPPC_REQUEST_MINIMUM_SHIFT 8u

#define PREFERENCE_SHIFT 24u
#define PREFERENCE_BALANCED 0x80ULL

struct cpu_idle cpu_power_idle(const struct cpu_power_facts *facts)
{
    const uint32_t wanted = MWAIT_ECX_EXTENSIONS | MWAIT_ECX_INTERRUPTS_BREAK;
    struct cpu_idle idle = {0};

    if (!facts->is_intel || (facts->features_ecx & FEATURES_ECX_MONITOR) == 0 ||
        (facts->mwait_ecx & wanted) != wanted || (facts->power_eax & POWER_EAX_ARAT) == 0 ||
        (facts->invariant_edx & INVARIANT_EDX_TSC) == 0) {
        return idle;
    }
    for (uint32_t state = 1; state <= MWAIT_STATES; state++) {
        if ((facts->mwait_edx >> (MWAIT_STATE_BITS * state) & MWAIT_STATE_MASK) != 0) {
            idle = (struct cpu_idle){.mwait = true, .state = state, .hint = (state - 1) << MWAIT_HINT_SHIFT};
        }
    }
    return idle;
}

enum cpu_frequency cpu_power_frequency(const struct cpu_power_facts *facts)
{
    if (facts->is_intel) {
        return (facts->power_eax & POWER_EAX_HWP) != 0 ? CPU_FREQUENCY_HWP : CPU_FREQUENCY_AS_IT_IS;
    }
    return (facts->sizes_ebx & SIZES_EBX_CPPC) != 0 ? CPU_FREQUENCY_CPPC : CPU_FREQUENCY_AS_IT_IS;
}

bool cpu_power_range(enum cpu_frequency how, uint64_t capabilities, struct cpu_range *range)
{
    bool hwp = how == CPU_FREQUENCY_HWP;

    *range = (struct cpu_range){
        .lowest = hwp ? HWP_LOWEST(capabilities) : CPPC_LOWEST(capabilities),
        .highest = hwp ? HWP_HIGHEST(capabilities) : CPPC_HIGHEST(capabilities),
    };
    return how != CPU_FREQUENCY_AS_IT_IS && range->highest != 0 && range->lowest <= range->highest;
}

uint64_t cpu_power_request(enum cpu_frequency how, const struct cpu_power_facts *facts, const struct cpu_range *range)
{
    bool hwp = how == CPU_FREQUENCY_HWP;
    bool prefers = !hwp || (facts->power_eax & POWER_EAX_HWP_PREFERENCE) != 0;
    uint64_t minimum = (uint64_t)range->lowest << (hwp ? HWP_REQUEST_MINIMUM_SHIFT : CPPC_REQUEST_MINIMUM_SHIFT);
    uint64_t maximum = (uint64_t)range->highest << (hwp ? HWP_REQUEST_MAXIMUM_SHIFT : CPPC_REQUEST_MAXIMUM_SHIFT);

    return minimum | maximum | (prefers ? PREFERENCE_BALANCED << PREFERENCE_SHIFT : 0);
}
