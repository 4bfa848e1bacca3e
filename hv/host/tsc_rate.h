/* SPDX-License-Identifier: MIT */
/*
 * The rate of the TSC as CPUID states it: crystal * EBX / EAX of leaf 0x15; and which of several measurements is
 * believed. Pure.
 *
 * Several Intel CPUs give the ratio and not the crystal. It is one of a few, which leaf 0x16 tells apart: the base
 * frequency in whole MHz, divided by the ratio, is near one of them. So the rate is exact all the same, and a
 * measurement still has to agree with it. SDM 3B 20.7.3 "Determining the Processor Base Frequency".
 */
#ifndef HV_HOST_TSC_RATE_H
#define HV_HOST_TSC_RATE_H

#include "hv/base/types.h"

struct tsc_rate_words {
    uint32_t denominator, numerator, crystal_hz; /* leaf 0x15 EAX, EBX, ECX; 0 where it does not say */
    uint32_t base_mhz;                           /* leaf 0x16 EAX[15:0] */
};

/*
 * Of several measurements, 0 for none: the first of those with which most others agree within 1 percent. *agree: a bit
 * for each that agrees, itself included. `count`: there is none at all. At most 32.
 */
uint32_t tsc_rate_elect(const uint64_t *hz, uint32_t count, uint32_t *agree);

/* Within 1 percent of the one that was measured. */
bool tsc_rates_agree(uint64_t stated, uint64_t measured);

/* Hz; 0 where CPUID does not state it. *derived: the crystal was found by the base frequency. */
uint64_t tsc_rate_stated(const struct tsc_rate_words *words, bool *derived);

#endif
