/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_kind.h"

#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* SDM 2A "CPUID": leaf 7, EDX bit 15, and leaf 0x1a, "Native Model ID Enumeration Leaf", EAX[31:24]. */
#define LEAF_FEATURES 0x7u
#define FEATURES_EDX_HYBRID (1u << 15)
#define LEAF_NATIVE_MODEL 0x1au
#define NATIVE_ATOM 0x20u
#define NATIVE_CORE 0x40u

/* APM 3 E.4 "Extended Feature Function Numbers", 8000_0026h: EAX bit 30, and EBX[31:28] of the level of cores. */
#define LEAF_TOPOLOGY 0x80000026u
#define TOPOLOGY_LEVELS_MAX 8u
#define TOPOLOGY_EAX_MIXED (1u << 30)
#define TOPOLOGY_ECX_LEVEL(ecx) (((ecx) >> 8) & 0xffu)
#define TOPOLOGY_LEVEL_NONE 0u
#define TOPOLOGY_LEVEL_CORE 1u
#define TOPOLOGY_EBX_TYPE(ebx) ((ebx) >> 28)
#define TYPE_PERFORMANCE 0u
#define TYPE_EFFICIENT 1u

static bool is_hybrid_intel(void)
{
    return insn_cpuid(CPUID_VENDOR, 0).eax >= LEAF_NATIVE_MODEL &&
           (insn_cpuid(LEAF_FEATURES, 0).edx & FEATURES_EDX_HYBRID) != 0;
}

/* Whether AMD's topology says that cores differ, and the calling CPU's type. */
static bool read_topology(uint32_t *type)
{
    bool mixed = false;

    if (insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax < LEAF_TOPOLOGY) {
        return false;
    }
    for (uint32_t i = 0; i < TOPOLOGY_LEVELS_MAX; i++) {
        struct cpuid_result level = insn_cpuid(LEAF_TOPOLOGY, i);

        if (TOPOLOGY_ECX_LEVEL(level.ecx) == TOPOLOGY_LEVEL_NONE) {
            break;
        }
        mixed = mixed || (level.eax & TOPOLOGY_EAX_MIXED) != 0;
        if (TOPOLOGY_ECX_LEVEL(level.ecx) == TOPOLOGY_LEVEL_CORE) {
            *type = TOPOLOGY_EBX_TYPE(level.ebx);
        }
    }
    return mixed;
}

bool cpu_kind_is_mixed(void)
{
    uint32_t type;

    return is_hybrid_intel() || read_topology(&type);
}

enum config_cpu_kind cpu_kind_here(void)
{
    uint32_t type = UINT32_MAX;

    if (is_hybrid_intel()) {
        uint32_t native = insn_cpuid(LEAF_NATIVE_MODEL, 0).eax >> 24;

        return native == NATIVE_CORE ? CPU_KIND_PERFORMANCE : native == NATIVE_ATOM ? CPU_KIND_EFFICIENT : CPU_KIND_ANY;
    }
    if (!read_topology(&type)) {
        return CPU_KIND_ANY;
    }
    return type == TYPE_PERFORMANCE ? CPU_KIND_PERFORMANCE : type == TYPE_EFFICIENT ? CPU_KIND_EFFICIENT : CPU_KIND_ANY;
}
