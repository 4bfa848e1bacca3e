/* SPDX-License-Identifier: MIT */
#include "hv/host/tsc_rate.h"

#define HZ_PER_MHZ 1000000ULL
#define NEAR 100u /* a hundredth: the base frequency is rounded to MHz, and often to 100 MHz */

/* What Intel builds in; the nearest two differ by four hundredths. */
static const uint32_t crystals[] = {19200000, 24000000, 25000000, 38400000};

static uint64_t crystal_near(uint64_t hz)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(crystals); i++) {
        uint64_t off = hz > crystals[i] ? hz - crystals[i] : crystals[i] - hz;

        if (off <= crystals[i] / NEAR) {
            return crystals[i];
        }
    }
    return 0;
}

uint64_t tsc_rate_stated(const struct tsc_rate_words *words, bool *derived)
{
    uint64_t crystal = words->crystal_hz;

    *derived = false;
    if (words->denominator == 0 || words->numerator == 0) {
        return 0;
    }
    if (crystal == 0) {
        crystal = crystal_near(words->base_mhz * HZ_PER_MHZ * words->denominator / words->numerator);
        *derived = crystal != 0;
    }
    return crystal * words->numerator / words->denominator;
}

bool tsc_rates_agree(uint64_t stated, uint64_t measured)
{
    uint64_t off = stated > measured ? stated - measured : measured - stated;

    return off <= measured / NEAR;
}

static uint32_t alike(const uint64_t *hz, uint32_t count, uint32_t which)
{
    uint32_t agree = 0;

    for (uint32_t i = 0; i < count; i++) {
        agree |= hz[i] != 0 && tsc_rates_agree(hz[i], hz[which]) ? 1u << i : 0;
    }
    return agree;
}

uint32_t tsc_rate_elect(const uint64_t *hz, uint32_t count, uint32_t *agree)
{
    uint32_t elected = count;

    *agree = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t with = hz[i] != 0 ? alike(hz, count, i) : 0;

        if (__builtin_popcount(with) > __builtin_popcount(*agree)) {
            elected = i;
            *agree = with;
        }
    }
    return elected;
}
