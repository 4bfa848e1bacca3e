/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_survey.h"

#include "hv/base/memory.h"

/* Words that are a CPU's own, by leaf; bits that are set here are taken out. */
static const struct {
    uint32_t leaf;
    struct cpuid_words own;
} own_words[] = {
    {0x1, {0, 0xff000000u, 1u << 27, 0}},  /* EBX[31:24]: APIC id; ECX bit 27: OSXSAVE */
    {0x7, {0, 0, 1u << 4, 0}},             /* ECX bit 4: OSPKE */
    {0xb, {0, 0, 0, ~0u}},                 /* EDX: x2APIC id */
    {0xd, {0, ~0u, 0, 0}},                 /* EBX: bytes of what XCR0 has on */
    {0x1f, {0, 0, 0, ~0u}},                /* EDX: x2APIC id */
    {0x8000001eu, {~0u, 0xffu, 0xffu, 0}}, /* EAX: APIC id, EBX[7:0]: core, ECX[7:0]: node */
    {0x80000026u, {0, 0, 0, ~0u}},         /* EDX: APIC id */
};

void cpu_survey_add(struct cpu_survey *survey, uint32_t msr, uint64_t value)
{
    if (survey->msr_count < CPU_SURVEY_MSRS_MAX) {
        survey->msrs[survey->msr_count++] = (struct cpu_survey_msr){msr, value};
    }
}

struct cpuid_words cpu_survey_common(const struct cpuid_entry *entry)
{
    struct cpuid_words words = entry->words;

    for (uint32_t i = 0; i < ARRAY_COUNT(own_words); i++) {
        if (own_words[i].leaf == entry->leaf) {
            words.eax &= ~own_words[i].own.eax;
            words.ebx &= ~own_words[i].own.ebx;
            words.ecx &= ~own_words[i].own.ecx;
            words.edx &= ~own_words[i].own.edx;
        }
    }
    return words;
}

static const struct cpuid_entry *find_leaf(const struct cpu_survey *survey, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < survey->cpuid.count; i++) {
        if (survey->cpuid.entries[i].leaf == leaf && survey->cpuid.entries[i].subleaf == subleaf) {
            return &survey->cpuid.entries[i];
        }
    }
    return NULL;
}

static const struct cpu_survey_msr *find_msr(const struct cpu_survey *survey, uint32_t number)
{
    for (uint32_t i = 0; i < survey->msr_count; i++) {
        if (survey->msrs[i].number == number) {
            return &survey->msrs[i];
        }
    }
    return NULL;
}

bool cpu_survey_leaf_differs(const struct cpu_survey *boot, const struct cpuid_entry *other)
{
    const struct cpuid_entry *same = find_leaf(boot, other->leaf, other->subleaf);
    struct cpuid_words one;
    struct cpuid_words two;

    if (same == NULL) {
        return true;
    }
    one = cpu_survey_common(same);
    two = cpu_survey_common(other);
    return memcmp(&one, &two, sizeof(one)) != 0;
}

const struct cpu_survey_msr *cpu_survey_next_msr(const struct cpu_survey *boot, const struct cpu_survey *other,
                                                 uint32_t *at)
{
    while (*at < other->msr_count) {
        const struct cpu_survey_msr *msr = &other->msrs[(*at)++];
        const struct cpu_survey_msr *same = find_msr(boot, msr->number);

        if (same == NULL || same->value != msr->value) {
            return msr;
        }
    }
    return NULL;
}

bool cpu_survey_lacks_leaf(const struct cpu_survey *boot, const struct cpu_survey *other, uint32_t *leaf)
{
    for (uint32_t i = 0; i < boot->cpuid.count; i++) {
        const struct cpuid_entry *entry = &boot->cpuid.entries[i];

        if (find_leaf(other, entry->leaf, entry->subleaf) == NULL) {
            *leaf = entry->leaf;
            return true;
        }
    }
    return false;
}

bool cpu_survey_lacks_msr(const struct cpu_survey *boot, const struct cpu_survey *other, uint32_t *msr)
{
    for (uint32_t i = 0; i < boot->msr_count; i++) {
        if (find_msr(other, boot->msrs[i].number) == NULL) {
            *msr = boot->msrs[i].number;
            return true;
        }
    }
    return false;
}
