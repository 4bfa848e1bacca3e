/* SPDX-License-Identifier: MIT */
/*
 * What one CPU of the machine says of itself, and what of that differs from the boot CPU: for machine.txt, which would
 * be long and dull if each of 255 CPUs were written out. Pure; efi/efi_inventory_cpus.c asks the CPUs.
 */
#ifndef HV_HOST_CPU_SURVEY_H
#define HV_HOST_CPU_SURVEY_H

#include "hv/core/cpuid_table.h"

#define CPU_SURVEY_MSRS_MAX 96u

struct cpu_survey_msr {
    uint32_t number;
    uint64_t value;
};

struct cpu_survey {
    struct cpuid_host cpuid;
    struct cpu_survey_msr msrs[CPU_SURVEY_MSRS_MAX];
    uint32_t msr_count;
    uint32_t microcode;
    bool answered; /* it ran the questions to their end */
};

/* Appends a register; what does not fit is left out. */
void cpu_survey_add(struct cpu_survey *survey, uint32_t msr, uint64_t value);

/*
 * The words of an entry without what tells CPUs apart by design: APIC ids, and the bits of CPUID that show CR4
 * (OSXSAVE, OSPKE). SDM 2A "CPUID"; APM 3 E.3, E.4.
 */
struct cpuid_words cpu_survey_common(const struct cpuid_entry *entry);

/* Whether `other` says something else than `boot` in this leaf, or `boot` lacks it. */
bool cpu_survey_leaf_differs(const struct cpu_survey *boot, const struct cpuid_entry *other);

/* The next register of `other` from *at on that differs or that `boot` lacks; NULL: there is none. */
const struct cpu_survey_msr *cpu_survey_next_msr(const struct cpu_survey *boot, const struct cpu_survey *other,
                                                 uint32_t *at);

/* A leaf or a register that `boot` has and `other` has not: the first of each by number; false: there is none. */
bool cpu_survey_lacks_leaf(const struct cpu_survey *boot, const struct cpu_survey *other, uint32_t *leaf);
bool cpu_survey_lacks_msr(const struct cpu_survey *boot, const struct cpu_survey *other, uint32_t *msr);

#endif
