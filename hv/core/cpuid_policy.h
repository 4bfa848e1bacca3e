/*
 * The CPUID policy: what a guest sees of the CPU, as a table of rows with a reason each.
 *
 * The host's answers are captured once (struct cpuid_host); the policy makes from them one table per guest, and a CPUID
 * exit is a look-up with a few bits patched in: APIC id, OSXSAVE, the size of the XSAVE area.
 * SDM 2A 3.3 "CPUID"; APM 3 appendix E.
 */
#ifndef HV_CORE_CPUID_POLICY_H
#define HV_CORE_CPUID_POLICY_H

#include "hv/base/types.h"

#define CPUID_HOST_MAX 96u
#define CPUID_TABLE_MAX 96u
#define CPUID_BASIC_MAX 0x20u
#define CPUID_EXTENDED_MAX 0x22u
#define CPUID_SUBLEAVES_MAX 16u

/* Guests may use these extended states: x87, SSE, AVX, AVX-512. SDM 1 13.1. */
#define CPUID_XCR0_ALLOWED 0xe7u

struct cpuid_words {
    uint32_t eax, ebx, ecx, edx;
};

struct cpuid_entry {
    uint32_t leaf;
    uint32_t subleaf;
    struct cpuid_words words;
};

struct cpuid_host {
    struct cpuid_entry entries[CPUID_HOST_MAX];
    uint32_t count;
};

/* The guest's table: entries of one leaf are neighbours, subleaves ascending from 0. */
struct cpuid_table {
    struct cpuid_entry entries[CPUID_TABLE_MAX];
    uint32_t count;
    uint8_t basic[CPUID_BASIC_MAX];       /* leaf -> first entry + 1; 0: all zero */
    uint8_t extended[CPUID_EXTENDED_MAX]; /* leaf - 0x80000000 */
    uint32_t max_basic;
    uint32_t max_extended;
    uint32_t xcr0_supported;
    bool xsave;
};

struct cpuid_policy_input {
    const struct cpuid_host *host;
    uint32_t vcpu_count;
    uint32_t tsc_khz;
    bool tsc_stable;
    bool is_intel;
};

void cpuid_policy_build(const struct cpuid_policy_input *input, struct cpuid_table *table);

/* What of the vCPU shows in CPUID. */
struct cpuid_dynamic {
    uint32_t apic_id;
    bool apic_enabled;
    bool osxsave; /* CR4.OSXSAVE */
    uint64_t xcr0;
    uint32_t tsc_khz;
};

struct cpuid_words cpuid_policy_answer(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                                       const struct cpuid_dynamic *dynamic);

/* The host's own words, or zeroes. */
struct cpuid_words cpuid_host_words(const struct cpuid_host *host, uint32_t leaf, uint32_t subleaf);

#endif
