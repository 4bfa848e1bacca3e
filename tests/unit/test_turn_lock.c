/* SPDX-License-Identifier: MIT */
/* The lock that is waited for by the clock: one owner at a time, turns go round, and a waiter may withdraw at any
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/base/turn_lock.h"
#include "tests/unit/support.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define THREADS 6u
#define ROUNDS 3000u

static struct turn_lock lock;
static volatile uint32_t inside; /* not atomic: only the lock protects it */
static volatile uint64_t sum;
static uint32_t taken[THREADS];
static uint32_t withdrawn[THREADS];

static int setup(void **state)
{
    (void)state;
    memset(&lock, 0, sizeof(lock));
    support_now = 0;
    support_tick = 0;
    return 0;
}

static void a_free_lock_is_taken_at_once(void **state)
{
    (void)state;
    assert_true(turn_lock_take(&lock, 3, 0));
    assert_int_equal(lock.owner, 4);
    turn_lock_release(&lock, 3);
    assert_int_equal(lock.owner, 0);
    assert_true(turn_lock_try(&lock, 63));
    assert_false(turn_lock_try(&lock, 0));
    turn_lock_release(&lock, 63);
    assert_int_equal(lock.owner, 0);
}

static void a_waiter_withdraws_when_its_time_is_over(void **state)
{
    (void)state;
    assert_true(turn_lock_take(&lock, 0, 0));
    support_tick = 1;
    assert_false(turn_lock_take(&lock, 1, 100));
    assert_in_range(support_now, 100, 101);
    assert_int_equal(lock.waiting, 0);
    assert_false(turn_lock_take(&lock, 2, 0)); /* over before it began: one try */
    turn_lock_release(&lock, 0);
    assert_int_equal(lock.owner, 0);
}

static void turns_go_round_from_the_one_that_releases(void **state)
{
    static const uint32_t order[] = {9, 40, 63, 0, 2, 5};

    (void)state;
    assert_true(turn_lock_take(&lock, 5, 0));
    for (unsigned i = 0; i < ARRAY_COUNT(order); i++) {
        lock.waiting |= 1ULL << order[i]; /* as six waiters would have left it; 5 has come again */
    }
    for (unsigned i = 0, from = 5; i < ARRAY_COUNT(order); from = order[i], i++) {
        turn_lock_release(&lock, from);
        assert_int_equal(lock.owner, order[i] + 1);
    }
    turn_lock_release(&lock, 5);
    assert_int_equal(lock.owner, 0);
    assert_int_equal(lock.waiting, 0);
}

static void *worker(void *argument)
{
    uint32_t slot = (uint32_t)(uintptr_t)argument;
    uint64_t patience = 1 + slot * 2000; /* in looks at the clock, of all threads together */

    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (!turn_lock_take(&lock, slot, __atomic_load_n(&support_now, __ATOMIC_RELAXED) + patience)) {
            withdrawn[slot]++;
            continue;
        }
        if (inside++ != 0) {
            return argument + 1;
        }
        sum++;
        taken[slot]++;
        if (i % 4 == slot % 4) {
            (void)sched_yield(); /* so that others come to wait, and run out of patience */
        }
        inside--;
        turn_lock_release(&lock, slot);
    }
    return NULL;
}

static void threads_never_meet_inside_and_none_is_lost(void **state)
{
    pthread_t threads[THREADS];
    uint64_t all_taken = 0, all_withdrawn = 0;

    (void)state;
    support_tick = 1;
    alarm(120); /* a lock that is handed to a slot that does not wait is never released */
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *met;

        assert_int_equal(pthread_join(threads[i], &met), 0);
        assert_null(met);
        all_taken += taken[i];
        all_withdrawn += withdrawn[i];
    }
    alarm(0);
    assert_int_equal(sum, all_taken);
    assert_int_equal(all_taken + all_withdrawn, THREADS * ROUNDS);
    print_message("%llu taken, %llu withdrawn\n", (unsigned long long)all_taken, (unsigned long long)all_withdrawn);
    assert_true(all_taken > 100 && all_withdrawn > 100);
    assert_int_equal(lock.owner, 0);
    assert_int_equal(lock.waiting, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_free_lock_is_taken_at_once, setup),
        cmocka_unit_test_setup(a_waiter_withdraws_when_its_time_is_over, setup),
        cmocka_unit_test_setup(turns_go_round_from_the_one_that_releases, setup),
        cmocka_unit_test_setup(threads_never_meet_inside_and_none_is_lost, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
