/* SPDX-License-Identifier: MIT */
/*
 * A slot that waits has its bit set. The releaser clears the bit of the slot that it chooses and then names it owner; a
 * waiter that withdraws clears its bit itself. Whichever of the two finds the bit still set has won: either the waiter
 * is gone, or it is about to be the owner and waits for that one store.
 */
#include "hv/base/turn_lock.h"

#include "hv/base/clock.h"

static bool is_owner(const struct turn_lock *lock, uint32_t slot)
{
    return __atomic_load_n(&lock->owner, __ATOMIC_ACQUIRE) == slot + 1;
}

/* False where the lock has been given to the slot meanwhile. */
static bool withdraw(struct turn_lock *lock, uint64_t bit)
{
    return (__atomic_fetch_and(&lock->waiting, ~bit, __ATOMIC_ACQ_REL) & bit) != 0;
}

bool turn_lock_take(struct turn_lock *lock, uint32_t slot, uint64_t until)
{
    uint64_t bit = 1ULL << slot;

    if (turn_lock_try(lock, slot)) {
        return true;
    }
    __atomic_fetch_or(&lock->waiting, bit, __ATOMIC_ACQ_REL);
    while (!is_owner(lock, slot)) {
        if (turn_lock_try(lock, slot)) { /* it was released just before the bit was set */
            (void)withdraw(lock, bit);
            return true;
        }
        if (clock_now() >= until && withdraw(lock, bit)) {
            return false;
        }
        __builtin_ia32_pause();
    }
    return true;
}

/* The next slot that waits, after this one. */
static uint32_t next_waiting(uint64_t waiting, uint32_t slot)
{
    uint64_t above = slot + 1 == TURN_LOCK_SLOTS ? 0 : waiting & ~0ULL << (slot + 1);

    return (uint32_t)__builtin_ctzll(above != 0 ? above : waiting);
}

/* Each round but the last is a waiter that withdrew in it. */
void turn_lock_release(struct turn_lock *lock, uint32_t slot)
{
    uint64_t waiting;

    while ((waiting = __atomic_load_n(&lock->waiting, __ATOMIC_ACQUIRE)) != 0) {
        uint32_t next = next_waiting(waiting, slot);

        if (withdraw(lock, 1ULL << next)) {
            __atomic_store_n(&lock->owner, next + 1, __ATOMIC_RELEASE);
            return;
        }
    }
    __atomic_store_n(&lock->owner, 0, __ATOMIC_RELEASE);
}
