/* SPDX-License-Identifier: MIT */
#include "hv/core/cpuid_table.h"

#define LEAF_HYPERVISOR 0x40000000u

struct cpuid_words cpuid_host_words(const struct cpuid_host *host, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < host->count; i++) {
        if (host->entries[i].leaf == leaf && host->entries[i].subleaf == subleaf) {
            return host->entries[i].words;
        }
    }
    return (struct cpuid_words){0, 0, 0, 0};
}

/* Bytes of an XSAVE area in standard form for the given components. SDM 1 13.4. */
static uint32_t xsave_area_bytes(const struct cpuid_table *table, uint64_t components)
{
    uint32_t bytes = 512 + 64;

    for (uint32_t i = table->basic[0xd]; i < table->count && table->entries[i].leaf == 0xd; i++) {
        const struct cpuid_entry *entry = &table->entries[i];

        if (entry->subleaf >= 2 && entry->subleaf < 64 && ((components >> entry->subleaf) & 1) != 0) {
            uint32_t end = entry->words.eax + entry->words.ebx;

            bytes = end > bytes ? end : bytes;
        }
    }
    return bytes;
}

void cpuid_table_finish(struct cpuid_table *table)
{
    table->xsave_bytes = xsave_area_bytes(table, table->xcr0_supported);
}

/* The same in compacted form: one after the other, some of them on 64-byte boundaries. SDM 1 13.4.3. */
#define COMPONENT_IS_ALIGNED (1u << 1)
#define COMPONENT_ALIGNMENT 64u

static uint32_t xsave_compacted_bytes(const struct cpuid_table *table, uint64_t components)
{
    uint32_t bytes = 512 + 64;

    for (uint32_t i = table->basic[0xd]; i < table->count && table->entries[i].leaf == 0xd; i++) {
        const struct cpuid_entry *entry = &table->entries[i];

        if (entry->subleaf >= 2 && entry->subleaf < 64 && ((components >> entry->subleaf) & 1) != 0) {
            bytes =
                (entry->words.ecx & COMPONENT_IS_ALIGNED) != 0 ? (uint32_t)align_up(bytes, COMPONENT_ALIGNMENT) : bytes;
            bytes += entry->words.eax;
        }
    }
    return bytes;
}

const struct cpuid_entry *cpuid_table_find_high(const struct cpuid_table *table, uint32_t leaf)
{
    if (leaf - CPUID_EXTENDED_FIRST < CPUID_EXTENDED_MAX) {
        return &table->entries[table->extended[leaf - CPUID_EXTENDED_FIRST]];
    }
    for (uint32_t i = 0; (leaf & 0xfffffe00u) == LEAF_HYPERVISOR && i < table->count; i++) {
        if (table->entries[i].leaf == leaf) {
            return &table->entries[i];
        }
    }
    return &table->entries[0];
}

/* Leaves whose words depend on ECX. */
static bool leaf_has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
}

/* The words of leaf and subleaf; zeroes where there is no such subleaf. */
static struct cpuid_words words_of(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_entry *entry = cpuid_table_find(table, leaf);
    const struct cpuid_entry *end = &table->entries[table->count];

    if (!leaf_has_subleaves(leaf)) {
        return entry->words;
    }
    while (entry < end && entry->leaf == leaf && entry->subleaf < subleaf) {
        entry++;
    }
    if (entry < end && entry->leaf == leaf && entry->subleaf == subleaf) {
        return entry->words;
    }
    return (struct cpuid_words){0, 0, 0, 0};
}

static void patch(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf, const struct cpuid_dynamic *dynamic,
                  struct cpuid_words *words)
{
    switch (leaf) {
    case 1:
        words->ebx |= cpuid_1_ebx(dynamic->apic_id);
        words->ecx |= cpuid_1_ecx(dynamic->osxsave);
        words->edx &= cpuid_1_edx_mask(dynamic->apic_enabled);
        break;
    case 0xb:
        words->ecx = (words->ecx & ~0xffu) | (subleaf & 0xff);
        words->edx = dynamic->apic_id;
        break;
    case 0xd:
        if (table->xsave && subleaf == 0) {
            words->ebx =
                dynamic->xcr0 == table->xcr0_supported ? table->xsave_bytes : xsave_area_bytes(table, dynamic->xcr0);
            words->ecx = table->xsave_bytes;
        } else if (subleaf == 1 && (words->eax & CPUID_D1_EAX_XSAVEC) != 0) {
            words->ebx = xsave_compacted_bytes(table, dynamic->xcr0);
        }
        break;
    case 0x80000001:
        words->edx &= dynamic->apic_enabled ? ~0u : ~CPUID_1_APIC;
        break;
    case 0x8000001e:
        words->eax = dynamic->apic_id;
        words->ebx = dynamic->apic_id;
        break;
    default:
        break;
    }
}

/* A basic leaf above the highest: Intel answers as for the highest basic leaf, AMD with zeroes; here it is zeroes on
 * both. */
struct cpuid_words cpuid_table_answer(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                                      const struct cpuid_dynamic *dynamic)
{
    struct cpuid_words words = words_of(table, leaf, subleaf);

    if (cpuid_table_find(table, leaf)->form != CPUID_PLAIN) {
        patch(table, leaf, subleaf, dynamic, &words);
    }
    return words;
}
