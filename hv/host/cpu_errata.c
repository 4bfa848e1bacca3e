/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_errata.h"

#define FAMILY_EXTENDED 0xfu /* the extended family is added to it */
#define FAMILY_P6 6u
#define STEPPING_ANY 0xffu

void cpu_identity_decode(struct cpu_identity *identity, uint32_t signature)
{
    uint32_t family = signature >> 8 & 0xf;

    identity->stepping = signature & 0xf;
    identity->model = signature >> 4 & 0xf;
    identity->family = family;
    if (family == FAMILY_EXTENDED) {
        identity->family += signature >> 20 & 0xff;
    }
    if (family == FAMILY_EXTENDED || family == FAMILY_P6) {
        identity->model |= (signature >> 16 & 0xf) << 4;
    }
}

/* Intel family 6: the first revision without the erratum, from the CPUs' specification updates. */
static const struct {
    uint8_t model;
    uint8_t stepping;
    uint32_t microcode;
} deadline_rows[] = {
    {0x3c, STEPPING_ANY, 0x22},
    {0x3d, STEPPING_ANY, 0x25},
    {0x3f, 2, 0x3a},
    {0x3f, 4, 0x0f},
    {0x45, STEPPING_ANY, 0x20},
    {0x46, STEPPING_ANY, 0x17},
    {0x47, STEPPING_ANY, 0x17},
    {0x4e, STEPPING_ANY, 0xb2},
    {0x4f, STEPPING_ANY, 0xb000020},
    {0x55, 3, 0x1000136},
    {0x55, 4, 0x2000014},
    {0x56, 2, 0x14},
    {0x56, 3, 0x700000e},
    {0x56, 4, 0xf00000c},
    {0x56, 5, 0xe000003},
    {0x5e, STEPPING_ANY, 0xb2},
    {0x8e, STEPPING_ANY, 0x52},
    {0x9e, STEPPING_ANY, 0x52},
};

bool cpu_errata_deadline_timer(const struct cpu_identity *identity, uint32_t *wanted)
{
    *wanted = 0;
    if (!identity->is_intel || identity->is_virtual || identity->family != FAMILY_P6 || identity->microcode == 0) {
        return false;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(deadline_rows); i++) {
        if (deadline_rows[i].model == identity->model &&
            (deadline_rows[i].stepping == STEPPING_ANY || deadline_rows[i].stepping == identity->stepping)) {
            *wanted = deadline_rows[i].microcode;
            return identity->microcode < *wanted;
        }
    }
    return false;
}

/* Of family 6. */
static const struct {
    uint8_t model, stepping;
} preemption_timer_rows[] = {
    {0x1a, 0}, {0x1a, 1}, {0x1a, 4}, {0x1a, 5}, {0x1e, 5}, {0x25, 2}, {0x25, 5}, {0x2e, 6}, {0x3a, 8},
};

bool cpu_errata_preemption_timer(const struct cpu_identity *identity)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(preemption_timer_rows); i++) {
        if (identity->is_intel && identity->family == FAMILY_P6 && preemption_timer_rows[i].model == identity->model &&
            preemption_timer_rows[i].stepping == identity->stepping) {
            return true;
        }
    }
    return false;
}

#define SIZES_EBX_XSAVE_ER_PTR (1u << 2)

bool cpu_errata_x87_pointers(const struct cpu_identity *identity, uint32_t sizes_ebx)
{
    return !identity->is_intel && (sizes_ebx & SIZES_EBX_XSAVE_ER_PTR) == 0;
}

bool cpu_errata_c1e(const struct cpu_identity *identity)
{
    if (identity->is_intel || identity->is_virtual) {
        return false;
    }
    return identity->family == 0x10 || identity->family == 0x11 || (identity->family == 0xf && identity->model >= 0x40);
}

#define ARCH_PSCHANGE_MC_NO (1ULL << 6) /* SDM 4 2.1, table 2-2, IA32_ARCH_CAPABILITIES: IF_PSCHANGE_MC_NO */

/* Intel family 6, models without the erratum that may not have the bit: Bonnell, Saltwell, Silvermont, Airmont,
 * Goldmont, Tremont, Knights Landing, Knights Mill. Intel, "Affected Processors". */
static const uint8_t page_size_change_never[] = {
    0x1c, 0x26, 0x27, 0x35, 0x36, 0x37, 0x4a, 0x4d, 0x4c, 0x5a, 0x75, 0x5c, 0x5f, 0x7a, 0x86, 0x57, 0x85,
};

bool cpu_errata_page_size_change(const struct cpu_identity *identity, uint64_t arch_capabilities)
{
    if (!identity->is_intel || identity->is_virtual || identity->family != FAMILY_P6 ||
        (arch_capabilities & ARCH_PSCHANGE_MC_NO) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(page_size_change_never); i++) {
        if (page_size_change_never[i] == identity->model) {
            return false;
        }
    }
    return true;
}

bool cpu_errata_tlb_multimatch(const struct cpu_identity *identity)
{
    return !identity->is_intel && !identity->is_virtual && identity->family == 0x10;
}
