/* SPDX-License-Identifier: MIT */
/*
 * A device counter that runs at its own fixed frequency, read from the host's TSC without a division.
 *
 *   ticks = (now - start) * rate / 2^62          rate    = device Hz / TSC Hz, 2.62 fixed point
 *   tsc   = start + ticks * inverse / 2^44       inverse = TSC Hz / device Hz, 20.44 fixed point
 *
 * Ticks are counted from `start`, never from the last reading, so nothing drifts: after a year the count is still
 * right to a fraction of a tick. Divisions happen once, in timebase_of().
 */
#ifndef HV_DEV_TIMEBASE_H
#define HV_DEV_TIMEBASE_H

#include "hv/base/clock.h"
#include "hv/base/types.h"

#define DEADLINE_NONE UINT64_MAX /* of a device that has nothing to do */

struct timebase {
    uint64_t start; /* host TSC at tick 0 */
    uint64_t rate_62;
    uint64_t inverse_44;
};

/* The TSC's rate is from 1 MHz to 8 GHz; device_hz is below 4 times that rate and above a millionth of it. */
static inline struct timebase timebase_of(const struct clock *clock, uint64_t device_hz, uint64_t start)
{
    /* Long division by hand: the image has no 128-bit division. */
    uint64_t high = (device_hz << 31) / clock->tsc_hz;
    uint64_t rest = (device_hz << 31) % clock->tsc_hz;

    return (struct timebase){
        .start = start,
        .rate_62 = (high << 31) + (rest << 31) / clock->tsc_hz,
        .inverse_44 =
            ((clock->tsc_hz << 30) / device_hz << 14) + (((clock->tsc_hz << 30) % device_hz) << 14) / device_hz,
    };
}

static inline uint64_t timebase_ticks(const struct timebase *base, uint64_t now)
{
    return (uint64_t)(((unsigned __int128)(now - base->start) * base->rate_62) >> 62);
}

/* The host TSC at which `ticks` is reached: timebase_ticks() of the result is never less. */
static inline uint64_t timebase_tsc(const struct timebase *base, uint64_t ticks)
{
    uint64_t tsc = base->start + (uint64_t)(((unsigned __int128)ticks * base->inverse_44) >> 44) + 1;

    if (ticks == DEADLINE_NONE) {
        return DEADLINE_NONE;
    }
    return timebase_ticks(base, tsc) >= ticks ? tsc : tsc + (base->inverse_44 >> 44) + 1;
}

#endif
