/* SPDX-License-Identifier: MIT */
/* A ticket lock: first come, first served, so that no CPU starves another. Never held across a guest entry. */
#ifndef HV_BASE_SPINLOCK_H
#define HV_BASE_SPINLOCK_H

#include "hv/base/types.h"

struct spinlock {
    uint32_t next;
    uint32_t serving;
};

static inline void spinlock_take(struct spinlock *lock)
{
    uint32_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);

    while (__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != ticket) {
        __builtin_ia32_pause();
    }
}

/* Takes the lock where it is free; never waits, and never stands in the queue. */
static inline bool spinlock_try(struct spinlock *lock)
{
    uint32_t ticket = __atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE);

    return __atomic_compare_exchange_n(&lock->next, &ticket, ticket + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void spinlock_release(struct spinlock *lock)
{
    __atomic_store_n(&lock->serving, lock->serving + 1, __ATOMIC_RELEASE);
}

#endif
