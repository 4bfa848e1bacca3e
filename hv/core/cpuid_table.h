/* SPDX-License-Identifier: MIT */
/*
 * What CPUID answers, as data: the host's words as they were captured, and a guest's table, which hv/policy makes of
 * them. SDM 2A "CPUID"; APM 3 appendix E.
 */
#ifndef HV_CORE_CPUID_TABLE_H
#define HV_CORE_CPUID_TABLE_H

#include "hv/base/types.h"

#define CPUID_HOST_MAX 96u
#define CPUID_TABLE_MAX 96u
#define CPUID_BASIC_MAX 0x20u
#define CPUID_EXTENDED_FIRST 0x80000000u
#define CPUID_EXTENDED_MAX 0x22u
_Static_assert(CPUID_TABLE_MAX <= 256, "struct cpuid_table finds entries by an index of 8 bits");

/* Guests may use these extended states: x87, SSE, AVX, AVX-512. SDM 1 13.1. */
#define CPUID_XCR0_ALLOWED 0xe7u

/* Of leaf 0xd, subleaf 1. SDM 2A "CPUID", table 3-8. */
#define CPUID_D1_EAX_XSAVEC (1u << 1)

struct cpuid_words {
    uint32_t eax, ebx, ecx, edx;
};

/* How the words of an entry become an answer. */
enum cpuid_form {
    CPUID_PLAIN,    /* as they are, whatever ECX is */
    CPUID_FEATURES, /* leaf 1: APIC id, APIC on or off, OSXSAVE are the vCPU's */
    CPUID_LISTED,   /* ECX selects one of the entries that follow, or zeroes: cpuid_table_quick() */
    CPUID_OTHER,    /* ECX selects a subleaf, or other words are the vCPU's: cpuid_table_answer() */
};

struct cpuid_entry {
    uint32_t leaf;
    uint32_t subleaf;
    struct cpuid_words words;
    uint32_t form;      /* enum cpuid_form; guests' tables only */
    uint16_t subleaves; /* CPUID_LISTED: entries from this one on, of subleaves 0 and up without a gap */
    bool patched;       /* CPUID_LISTED: words of this subleaf are the vCPU's */
};

_Static_assert(sizeof(struct cpuid_entry) == 32, "found by a shift");

struct cpuid_host {
    struct cpuid_entry entries[CPUID_HOST_MAX];
    uint32_t count;
};

/* The guest's table: entries of one leaf are neighbours, subleaves ascending from 0. Entry 0 is the zeroes of every
 * leaf that is not offered. */
struct cpuid_table {
    struct cpuid_entry entries[CPUID_TABLE_MAX];
    uint32_t count;
    uint8_t basic[CPUID_BASIC_MAX];       /* leaf -> its first entry */
    uint8_t extended[CPUID_EXTENDED_MAX]; /* leaf - 0x80000000 */
    uint32_t max_basic;
    uint32_t max_extended;
    uint32_t xcr0_supported;
    uint32_t xsave_bytes; /* of an area in standard form with all of these: cpuid_table_finish() */
    bool xsave;
};

/* What of the vCPU shows in CPUID. */
struct cpuid_dynamic {
    uint32_t apic_id;
    bool apic_enabled;
    bool osxsave; /* CR4.OSXSAVE */
    uint64_t xcr0;
};

/* What of leaf 1 is the vCPU's: initial APIC id in EBX 31:24; OSXSAVE is CR4's; APIC as IA32_APIC_BASE has it. SDM
 * 2A "CPUID", table 3-8. */
#define CPUID_1_APIC_ID_SHIFT 24u
#define CPUID_1_OSXSAVE (1u << 27)
#define CPUID_1_APIC (1u << 9)

static inline uint32_t cpuid_1_ebx(uint32_t apic_id)
{
    return apic_id << CPUID_1_APIC_ID_SHIFT;
}

static inline uint32_t cpuid_1_ecx(bool osxsave)
{
    return osxsave ? CPUID_1_OSXSAVE : 0;
}

static inline uint32_t cpuid_1_edx_mask(bool apic_enabled)
{
    return apic_enabled ? 0xffffffffu : ~CPUID_1_APIC;
}

/* The first entry of a leaf above the basic ones, or the zero entry. */
const struct cpuid_entry *cpuid_table_find_high(const struct cpuid_table *table, uint32_t leaf);

/* The first entry of a leaf, or the zero entry. */
static inline const struct cpuid_entry *cpuid_table_find(const struct cpuid_table *table, uint32_t leaf)
{
    return leaf < CPUID_BASIC_MAX ? &table->entries[table->basic[leaf]] : cpuid_table_find_high(table, leaf);
}

/* Computes what is the table's alone. The last step in making one. */
void cpuid_table_finish(struct cpuid_table *table);

/* What answers a basic or extended leaf, or NULL where cpuid_table_answer() does. Form CPUID_FEATURES is left to the
 * caller. */
static inline const struct cpuid_entry *cpuid_table_quick(const struct cpuid_table *table, uint32_t leaf,
                                                          uint32_t subleaf)
{
    const struct cpuid_entry *entry;

    if (leaf < CPUID_BASIC_MAX) {
        entry = &table->entries[table->basic[leaf]];
    } else if (leaf - CPUID_EXTENDED_FIRST < CPUID_EXTENDED_MAX) {
        entry = &table->entries[table->extended[leaf - CPUID_EXTENDED_FIRST]];
    } else {
        return NULL;
    }
    if (entry->form <= CPUID_FEATURES) {
        return entry;
    }
    if (entry->form != CPUID_LISTED) {
        return NULL;
    }
    entry = subleaf < entry->subleaves ? entry + subleaf : &table->entries[0];
    return entry->patched ? NULL : entry;
}

struct cpuid_words cpuid_table_answer(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                                      const struct cpuid_dynamic *dynamic);

/* The host's own words, or zeroes. */
struct cpuid_words cpuid_host_words(const struct cpuid_host *host, uint32_t leaf, uint32_t subleaf);

#endif
