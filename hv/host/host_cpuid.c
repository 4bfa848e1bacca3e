/* SPDX-License-Identifier: MIT */
#include "hv/host/host_cpuid.h"

#include "hv/x86/insn.h"

/* Leaves with subleaves, and how many of them are asked for. SDM 2A "CPUID". */
static const struct {
    uint32_t leaf;
    uint32_t subleaves;
} indexed[] = {
    {0x4, 8},
    {0x7, 2},
    {0xd, 10},
    {0x8000001d, 8},
};

static uint32_t subleaves_of(uint32_t leaf)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(indexed); i++) {
        if (indexed[i].leaf == leaf) {
            return indexed[i].subleaves;
        }
    }
    return 1;
}

static void capture_range(struct cpuid_host *host, uint32_t first, uint32_t last)
{
    for (uint32_t leaf = first; leaf <= last; leaf++) {
        for (uint32_t subleaf = 0; subleaf < subleaves_of(leaf) && host->count < CPUID_HOST_MAX; subleaf++) {
            struct cpuid_result result = insn_cpuid(leaf, subleaf);

            host->entries[host->count++] = (struct cpuid_entry){
                .leaf = leaf, .subleaf = subleaf, .words = {result.eax, result.ebx, result.ecx, result.edx}};
        }
    }
}

void host_cpuid_capture(struct cpuid_host *host)
{
    uint32_t basic = insn_cpuid(0, 0).eax;
    uint32_t extended = insn_cpuid(0x80000000u, 0).eax;

    host->count = 0;
    capture_range(host, 0, basic < CPUID_BASIC_MAX ? basic : CPUID_BASIC_MAX - 1);
    if (extended >= 0x80000000u) {
        capture_range(host, 0x80000000u,
                      extended - 0x80000000u < CPUID_EXTENDED_MAX ? extended : 0x80000000u + CPUID_EXTENDED_MAX - 1);
    }
}
