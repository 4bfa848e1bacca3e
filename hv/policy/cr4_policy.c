/* SPDX-License-Identifier: MIT */
#include "hv/policy/cr4_policy.h"

/* A CR4 bit and the CPUID bit that makes it legal. SDM 3A 2.5 "Control Registers". */
static const struct {
    uint8_t bit;
    uint32_t leaf;
    char word;
    uint8_t feature;
} cr4_bits[] = {
    {0, 1, 'd', 1},   {1, 1, 'd', 1},   {2, 1, 'd', 4},   {3, 1, 'd', 2},   {4, 1, 'd', 3},   {5, 1, 'd', 6},
    {7, 1, 'd', 13},  {9, 1, 'd', 24},  {10, 1, 'd', 25}, {11, 7, 'c', 2},  {12, 7, 'c', 16}, {16, 7, 'b', 0},
    {17, 1, 'c', 17}, {18, 1, 'c', 26}, {20, 7, 'b', 7},  {21, 7, 'b', 20},
};

uint64_t cr4_allowed(const struct cpuid_table *cpuid)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true};
    uint64_t allowed = (1ULL << 6) | (1ULL << 8); /* MCE and PCE: harmless and set by kernels that do not ask */

    for (uint32_t i = 0; i < ARRAY_COUNT(cr4_bits); i++) {
        struct cpuid_words words = cpuid_table_answer(cpuid, cr4_bits[i].leaf, 0, &dynamic);
        uint32_t word = cr4_bits[i].word == 'b' ? words.ebx : cr4_bits[i].word == 'c' ? words.ecx : words.edx;

        allowed |= ((word >> cr4_bits[i].feature) & 1) != 0 ? 1ULL << cr4_bits[i].bit : 0;
    }
    return allowed;
}
