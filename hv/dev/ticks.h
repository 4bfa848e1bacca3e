/* SPDX-License-Identifier: MIT */
/*
 * Ticks of a periodic timer that its guest is still owed (`ticks = all`).
 *
 * While a guest's CPU is with another guest, periods pass. A timer computes its state from the time, so they would all
 * be one interrupt, and a clock that counts ticks would go slow. So they are counted here, and made up for once the
 * guest runs again: one at a time, none closer to the last than TICKS_GAP_NS, and none while the last one has not been
 * taken (its IRR bit, or the timer's own flag, is still set); such a one stays owed. At most TICKS_OWED_MAX are kept,
 * however long the guest was away. Nothing walks through periods: what has passed is divided.
 *
 * What a guest misses while it has the CPU, because its interrupts are off, is lost as on a PC.
 *
 * Times are in the unit of the caller, which passes the gap in it, too.
 */
#ifndef HV_DEV_TICKS_H
#define HV_DEV_TICKS_H

#include "hv/base/types.h"
#include "hv/dev/timebase.h"

#define TICKS_OWED_MAX 1000u
#define TICKS_GAP_NS 50000u

struct ticks {
    uint64_t next; /* before it none is made up for */
    uint32_t owed;
    bool counting; /* the guest was off its CPU: what it missed is owed */
    bool repeated; /* the last one was owed: so is what is merged with it */
    bool held;     /* the last one waits where the timer cannot see it */
};

static inline void ticks_forget(struct ticks *ticks)
{
    ticks->owed = 0;
    ticks->repeated = false;
}

/* Periods that have passed without an interrupt of their own. */
static inline void ticks_miss(struct ticks *ticks, uint64_t periods)
{
    if (ticks->counting || ticks->repeated || ticks->owed != 0) {
        ticks->owed = (uint32_t)min_u64(ticks->owed + min_u64(periods, TICKS_OWED_MAX), TICKS_OWED_MAX);
    }
}

/* A period has ended, and has its interrupt. */
static inline void ticks_made(struct ticks *ticks, uint64_t now, uint64_t gap)
{
    ticks->repeated = false;
    ticks->next = now + gap;
}

static inline bool ticks_due(const struct ticks *ticks, uint64_t now)
{
    return ticks->owed != 0 && now >= ticks->next;
}

/* One that is due: true where it can be made up for now. `waits`: the last one has not been taken. */
static inline bool ticks_repeat(struct ticks *ticks, bool waits, uint64_t now, uint64_t gap)
{
    ticks->next = now + gap;
    if (waits || ticks->held) {
        return false;
    }
    ticks->owed--;
    ticks->repeated = true;
    return true;
}

static inline uint64_t ticks_deadline(const struct ticks *ticks)
{
    return ticks->owed != 0 ? ticks->next : DEADLINE_NONE;
}

#endif
