/* SPDX-License-Identifier: MIT */
/*
 * Time: TSC ticks to nanoseconds and back without a division on the way.
 *
 * ns = ticks * ns_per_tick / 2^32, with a 128-bit product; likewise back. Exact to about 2^-32 of the value, so over an
 * uptime of a day the two directions disagree by less than 25 microseconds.
 */
#ifndef HV_BASE_CLOCK_H
#define HV_BASE_CLOCK_H

#include "hv/base/types.h"

#define NS_PER_SECOND 1000000000ULL

/*
 * The host's TSC. The one clock that pure code reads for itself, and for one purpose: to end work that a guest can feed
 * (docs/exits.md, "How long an exit can take"). All else is told the time of the exit. hv/host/tsc.c has it in the
 * image, tests/unit/support.c in native programs.
 */
uint64_t clock_now(void);

struct clock {
    uint64_t tsc_hz;
    uint64_t ns_per_tick_32;  /* 32.32 fixed point */
    uint64_t ticks_per_ns_32; /* 32.32 fixed point */
};

/* tsc_hz is at least 1 MHz. */
static inline struct clock clock_of(uint64_t tsc_hz)
{
    return (struct clock){
        .tsc_hz = tsc_hz,
        .ns_per_tick_32 = (NS_PER_SECOND << 32) / tsc_hz,
        .ticks_per_ns_32 =
            (uint64_t)((tsc_hz << 10) / NS_PER_SECOND << 22) + (((tsc_hz << 10) % NS_PER_SECOND) << 22) / NS_PER_SECOND,
    };
}

static inline uint64_t clock_ticks_to_ns(const struct clock *clock, uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ticks * clock->ns_per_tick_32) >> 32);
}

static inline uint64_t clock_ns_to_ticks(const struct clock *clock, uint64_t ns)
{
    return (uint64_t)(((unsigned __int128)ns * clock->ticks_per_ns_32) >> 32);
}

/* Ticks from `then` to `now`; 0 where another CPU's TSC makes `then` the later one. */
static inline uint64_t clock_ticks_since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

#endif
