/*
 * Control registers where a vendor must intercept them: CR0 and CR4 writes under the rules of the manual, CR8.
 */
#ifndef HV_CORE_CR_ACCESS_H
#define HV_CORE_CR_ACCESS_H

#include "hv/core/exit.h"

void cr_access(struct vcpu *vcpu, const struct exit_cr_access *access, uint8_t length);

/* The CR4 bits that a guest with this CPUID may set: those whose features it offers. SDM 3A 2.5. */
uint64_t cr4_allowed(const struct cpuid_table *cpuid);

#endif
