/* SPDX-License-Identifier: MIT */
/* Sets of what is due against a loop over all members, as the loop of a CPU was before. */
#include "hv/base/due_set.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/random.h"

static struct {
    uint64_t deadlines[DUE_SET_MAX];
    bool marked[DUE_SET_MAX];
} model;

static void model_init(uint32_t count)
{
    for (uint32_t i = 0; i < DUE_SET_MAX; i++) {
        model.deadlines[i] = UINT64_MAX;
        model.marked[i] = i < count;
    }
}

static void compare(const struct due_set *set, uint32_t count, uint64_t now)
{
    uint64_t due = 0, marked = 0, earliest = UINT64_MAX;

    for (uint32_t i = 0; i < count; i++) {
        due |= model.deadlines[i] <= now ? 1ULL << i : 0;
        marked |= model.marked[i] ? 1ULL << i : 0;
        earliest = min_u64(earliest, model.deadlines[i]);
        assert_int_equal(due_set_deadline(set, i), model.deadlines[i]);
    }
    assert_int_equal(due_set_due(set, now), due);
    assert_int_equal(due_set_marked(set), marked);
    assert_int_equal(due_set_earliest(set), earliest);
}

/* Near `now` on both sides, the same as another one's, at the ends of time. */
static uint64_t some_deadline(uint32_t count, uint64_t now)
{
    switch (random_next() % 8) {
    case 0:
        return UINT64_MAX;
    case 1:
        return 0;
    case 2:
        return UINT64_MAX - 1;
    case 3:
        return model.deadlines[random_next() % count];
    case 4:
        return now;
    default:
        return now + 50 - random_next() % 100;
    }
}

static void a_set_agrees_with_a_loop_over_all(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= DUE_SET_MAX; count++) {
        struct due_set set;
        uint64_t now = 1000;

        due_set_init(&set, count);
        model_init(count);
        for (uint32_t step = 0; step < 2000; step++) {
            uint32_t member = random_next() % count;
            uint32_t what = random_next() % 8;

            if (what == 0) {
                due_set_mark(&set, member);
                model.marked[member] = true;
            } else if (what == 1) {
                due_set_unmark(&set, member);
                model.marked[member] = false;
            } else {
                model.deadlines[member] = some_deadline(count, now);
                due_set_put(&set, member, model.deadlines[member]);
            }
            now += random_next() % 8;
            compare(&set, count, now);
        }
    }
}

static void a_set_of_none_has_nothing_to_do(void **state)
{
    struct due_set set;

    (void)state;
    due_set_init(&set, 0);
    assert_int_equal(due_set_marked(&set), 0);
    assert_int_equal(due_set_earliest(&set), UINT64_MAX);
    assert_int_equal(due_set_due(&set, UINT64_MAX - 1), 0);
}

static void the_order_goes_round(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t members = ((uint64_t)random_next() << 32 | random_next()) >> random_next() % DUE_SET_MAX;
        uint32_t first = random_next() % DUE_SET_MAX, found = first;

        if (members == 0) {
            continue;
        }
        while ((members >> found & 1) == 0) {
            found = (found + 1) % DUE_SET_MAX;
        }
        assert_int_equal(due_set_next(members, first), found);
    }
}

/* Work is left and then told, by several at once; the owner takes the mark and then the work. */
#define SENDERS 3u
#define SENDS 200000u
static struct due_set shared;
static uint32_t work[DUE_SET_MAX]; /* atomic */

static void *send(void *first)
{
    uint32_t member = *(const uint32_t *)first;

    for (uint32_t i = 0; i < SENDS; i++, member = (member + 7) % DUE_SET_MAX) {
        __atomic_fetch_add(&work[member], 1, __ATOMIC_RELEASE);
        due_set_mark(&shared, member);
    }
    return NULL;
}

static void what_is_marked_is_never_missed(void **state)
{
    pthread_t senders[SENDERS];
    uint32_t firsts[SENDERS];
    uint64_t done = 0;

    (void)state;
    due_set_init(&shared, DUE_SET_MAX);
    for (uint32_t i = 0; i < SENDERS; i++) {
        firsts[i] = i;
        assert_int_equal(pthread_create(&senders[i], NULL, send, &firsts[i]), 0);
    }
    for (uint32_t joined = 0; joined <= SENDERS;) {
        uint64_t marked = due_set_marked(&shared);

        for (; marked != 0; marked &= marked - 1) {
            uint32_t member = (uint32_t)__builtin_ctzll(marked);

            due_set_unmark(&shared, member);
            done += __atomic_exchange_n(&work[member], 0, __ATOMIC_ACQ_REL);
        }
        if (due_set_marked(&shared) == 0 && joined < SENDERS) {
            pthread_join(senders[joined++], NULL);
        } else if (due_set_marked(&shared) == 0) {
            joined++;
        }
    }
    assert_int_equal(done, (uint64_t)SENDERS * SENDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_agrees_with_a_loop_over_all),
        cmocka_unit_test(a_set_of_none_has_nothing_to_do),
        cmocka_unit_test(the_order_goes_round),
        cmocka_unit_test(what_is_marked_is_never_missed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
