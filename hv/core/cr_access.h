/*
 * Control registers where a vendor must intercept them: CR0 and CR4 writes under the rules of the manual, CR8.
 */
#ifndef HV_CORE_CR_ACCESS_H
#define HV_CORE_CR_ACCESS_H

#include "hv/core/exit.h"

#define CR0_PE (1ULL << 0)
#define CR0_MP (1ULL << 1)
#define CR0_EM (1ULL << 2)
#define CR0_TS (1ULL << 3)
#define CR0_ET (1ULL << 4)
#define CR0_NE (1ULL << 5)
#define CR0_WP (1ULL << 16)
#define CR0_AM (1ULL << 18)
#define CR0_NW (1ULL << 29)
#define CR0_CD (1ULL << 30)
#define CR0_PG (1ULL << 31)

#define CR4_PAE (1ULL << 5)
#define CR4_PCIDE (1ULL << 17)
#define CR4_OSXSAVE (1ULL << 18)

#define EFER_LME (1ULL << 8)
#define EFER_LMA (1ULL << 10)

void cr_access(struct vcpu *vcpu, const struct exit_cr_access *access, uint8_t length);

/* The CR4 bits that this guest may set: those whose features its CPUID offers. SDM 3A 2.5. */
uint64_t cr4_allowed(const struct guest *guest);

#endif
