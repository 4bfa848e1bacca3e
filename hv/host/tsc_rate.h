/* SPDX-License-Identifier: MIT */
/*
 * The rate of the TSC as CPUID states it: crystal * EBX / EAX of leaf 0x15. Pure.
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

/* Hz; 0 where CPUID does not state it. *derived: the crystal was found by the base frequency. */
uint64_t tsc_rate_stated(const struct tsc_rate_words *words, bool *derived);

#endif
