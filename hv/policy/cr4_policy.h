/* SPDX-License-Identifier: MIT */
/*
 * Which control register bits a guest may set: those whose features its CPUID offers.
 */
#ifndef HV_POLICY_CR4_POLICY_H
#define HV_POLICY_CR4_POLICY_H

#include "hv/core/cpuid_table.h"

/* The CR4 bits that a guest with this CPUID may set. SDM 3A 2.5 "Control Registers". */
uint64_t cr4_allowed(const struct cpuid_table *cpuid);

#endif
