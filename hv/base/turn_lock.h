/* SPDX-License-Identifier: MIT */
/*
 * A lock that is waited for by the clock: a CPU that has waited long enough withdraws, and comes again later.
 *
 * Its takers have fixed slots (a guest's vCPUs). The one that releases it hands it to the next slot that waits, going
 * round, so that none is passed over while it waits. With `until` in the past there is one try. Never held across a
 * guest's entry.
 */
#ifndef HV_BASE_TURN_LOCK_H
#define HV_BASE_TURN_LOCK_H

#include "hv/base/types.h"

#define TURN_LOCK_SLOTS 64u

struct turn_lock {
    uint64_t waiting; /* a bit per slot */
    uint32_t owner;   /* slot + 1; 0: free */
};

/* Is free and is ours now. */
static inline bool turn_lock_try(struct turn_lock *lock, uint32_t slot)
{
    uint32_t unowned = 0;

    return __atomic_compare_exchange_n(&lock->owner, &unowned, slot + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Waits until the host TSC `until`. False: not taken. slot is below TURN_LOCK_SLOTS and does not hold it. */
bool turn_lock_take(struct turn_lock *lock, uint32_t slot, uint64_t until);
void turn_lock_release(struct turn_lock *lock, uint32_t slot);

#endif
