/* SPDX-License-Identifier: MIT */
/*
 * The console's time: microseconds as TSC ticks. The rate is given once it is known; before that 4 GHz are taken, so
 * that no wait is too short.
 */
#ifndef HV_CONSOLE_CONSOLE_TIME_H
#define HV_CONSOLE_CONSOLE_TIME_H

#include "hv/base/types.h"

#define CONSOLE_ASSUMED_HZ 4000000000ULL

extern uint64_t console_tsc_hz; /* set by console_set_tsc_hz() */

static inline uint64_t console_ticks_of_us(uint64_t us)
{
    return us * (console_tsc_hz / 1000) / 1000;
}

#endif
