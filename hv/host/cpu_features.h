/* SPDX-License-Identifier: MIT */
/*
 * What of CPUID guests may see, of each CPU of the machine: P and E cores differ, and a guest sees what all of its own
 * CPUs have.
 */
#ifndef HV_HOST_CPU_FEATURES_H
#define HV_HOST_CPU_FEATURES_H

#include "hv/host/cpu.h"
#include "hv/policy/cpuid_policy.h"

/* On the CPU itself, at its start. False: it lacks what the hypervisor uses on every CPU, and cpu->why says what. */
bool cpu_features_note(struct cpu *cpu, const struct cpuid_host *boot);

/* What was noted of the CPU of this index. */
const struct cpuid_features *cpu_features_of(uint32_t index);

#endif
