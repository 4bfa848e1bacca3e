/* SPDX-License-Identifier: MIT */
/*
 * The CPUID policy: what a guest sees of the CPU, as a table of rows with a reason each.
 *
 * The host's answers are captured once (struct cpuid_host); the policy makes from them one table per guest, and a CPUID
 * exit is a look-up with a few bits patched in: APIC id, OSXSAVE, the size of the XSAVE area.
 * SDM 2A "CPUID"; APM 3 appendix E.
 *
 * This folder has what a guest sees of its CPU, as tables with a reason per row: CPUID, MSRs, CR4, the paravirtual
 * clock. Pure; nothing is emulated here.
 */
#ifndef HV_POLICY_CPUID_POLICY_H
#define HV_POLICY_CPUID_POLICY_H

#include "hv/core/cpuid_table.h"

struct cpuid_policy_input {
    const struct cpuid_host *host;
    uint32_t vcpu_count;
    uint32_t tsc_khz;
    bool tsc_stable;
    bool is_intel;
    bool hide_xsavec; /* quirks.broken_xsavec */
    bool hide_pcid;   /* shadow tables have none */
    bool hide_tce;    /* quirks.tce_refused */
    bool spec_ctrl;   /* controls over speculation are offered, where the host has them */
};

void cpuid_policy_build(const struct cpuid_policy_input *input, struct cpuid_table *table);

/* Features that guests may see and that one CPU has and another has not. */
struct cpuid_lack {
    uint32_t leaf;
    struct cpuid_words bits;
};

/* True: `here` lacks features of `boot`, and *lack has the first leaf with the bits. */
bool cpuid_policy_find_lack(const struct cpuid_host *boot, const struct cpuid_host *here, struct cpuid_lack *lack);

#endif
