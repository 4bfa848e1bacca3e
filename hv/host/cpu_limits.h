/* SPDX-License-Identifier: MIT */
/*
 * Switches of a firmware's set-up that hide from every system what the CPU has: a limit of CPUID's leaves for systems
 * of the nineties ("Limit CPUID Maximum"), and no-execute pages ("Execute Disable Bit"). Both are bits of
 * IA32_MISC_ENABLE on Intel CPUs, and nothing of ours works with them.
 */
#ifndef HV_HOST_CPU_LIMITS_H
#define HV_HOST_CPU_LIMITS_H

#include "hv/base/types.h"

enum cpu_limit {
    CPU_LIMIT_LEAVES = 1u << 0,
    CPU_LIMIT_NO_EXECUTE = 1u << 1,
};

/* Lifts the limits of the calling CPU. Returns what was lifted, bits of enum cpu_limit. The register is only read where
 * CPUID lacks what every such CPU has, so it is there. */
uint32_t cpu_limits_lift(void);

#endif
