/* SPDX-License-Identifier: MIT */
/*
 * How a CPU sleeps while it has nothing to do, and which frequencies it may choose. Two decisions from CPUID, pure;
 * cpu_idle.h carries them out.
 *
 * A CPU sleeps by HLT, or by MWAIT in a deeper state. Deeper is only what still wakes it in time: the local APIC's
 * timer runs in every state (ARAT), the TSC counts in every state (invariant TSC), and an interrupt ends MWAIT although
 * interrupts are off (so none is lost between the last look and the sleep). Where one of the three is missing it is
 * HLT. AMD's CPUs enter their deep states from HLT by themselves.
 *
 * Frequencies are the CPU's own choice where it can (HWP, CPPC): it is asked for its full range. Other CPUs stay as the
 * firmware left them.
 *
 * SDM 3B 15.4 "Hardware-Controlled Performance States (HWP)"; SDM 2B "MWAIT"; APM 2 17.6 "Collaborative Processor
 * Performance Control".
 */
#ifndef HV_HOST_CPU_POWER_H
#define HV_HOST_CPU_POWER_H

#include "hv/base/types.h"

/* The words of CPUID that decide; 0 where a leaf is not there. */
struct cpu_power_facts {
    bool is_intel;
    uint32_t features_ecx; /* leaf 1 */
    uint32_t mwait_ecx;    /* leaf 5 */
    uint32_t mwait_edx;
    uint32_t power_eax;     /* leaf 6 */
    uint32_t invariant_edx; /* leaf 8000_0007 */
    uint32_t sizes_ebx;     /* leaf 8000_0008 */
};

/* SDM 2B "MWAIT": EAX[7:4] is the C-state minus 1, EAX[3:0] the substate. */
struct cpu_idle {
    bool mwait;     /* else HLT */
    uint32_t state; /* 1: C1 ... */
    uint32_t hint;
};

struct cpu_idle cpu_power_idle(const struct cpu_power_facts *facts);

enum cpu_frequency {
    CPU_FREQUENCY_AS_IT_IS,
    CPU_FREQUENCY_HWP,
    CPU_FREQUENCY_CPPC,
};

enum cpu_frequency cpu_power_frequency(const struct cpu_power_facts *facts);

struct cpu_range {
    uint32_t lowest, highest; /* in the CPU's own steps */
};

/* From IA32_HWP_CAPABILITIES or AMD's CPPC_CAPABILITY_1. False: a range that cannot be; nothing is asked for. */
bool cpu_power_range(enum cpu_frequency how, uint64_t capabilities, struct cpu_range *range);

/* The value of IA32_HWP_REQUEST or CPPC_REQUEST that asks for the whole range, half way between power and speed, and
 * leaves the choice to the CPU. */
uint64_t cpu_power_request(enum cpu_frequency how, const struct cpu_power_facts *facts, const struct cpu_range *range);

#endif
