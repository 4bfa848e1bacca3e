/* SPDX-License-Identifier: MIT */
/* The same numbers in every run. Marsaglia, "Xorshift RNGs", 2003. */
#ifndef TESTS_UNIT_RANDOM_H
#define TESTS_UNIT_RANDOM_H

#include <stdint.h>

static inline uint32_t random_next(void)
{
    static uint32_t state = 2463534242u;

    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

#endif
