/* SPDX-License-Identifier: MIT */
/* When a CPU is taken for one that hangs: hv/host/cpu_watch.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/host/cpu_watch.h"

#define LOOKS 1000u

static void a_cpu_that_makes_turns_is_never_asked(void **state)
{
    struct watch watch = {0};

    (void)state;
    for (uint64_t turns = 1; turns < LOOKS; turns++) {
        assert_int_equal(watch_look(&watch, turns, WATCH_MUST_GO_ON), WATCH_WELL);
    }
}

static void a_cpu_in_a_guest_or_asleep_is_never_asked(void **state)
{
    struct watch watch = {.turns = 7};

    (void)state;
    for (uint32_t i = 0; i < LOOKS; i++) {
        assert_int_equal(watch_look(&watch, 7, WATCH_WELL_ANYWAY), WATCH_WELL);
    }
}

static void a_cpu_that_stands_still_is_asked_twice_and_then_hangs(void **state)
{
    struct watch watch = {.turns = 7};
    uint32_t asked = 0;
    uint32_t asked_loud = 0;
    enum watch_verdict verdict = WATCH_WELL;

    (void)state;
    for (uint32_t i = 0; i < LOOKS && verdict != WATCH_HANGS; i++) {
        verdict = watch_look(&watch, 7, WATCH_MUST_GO_ON);
        asked += verdict == WATCH_ASK;
        asked_loud += verdict == WATCH_ASK_LOUD;
    }
    assert_int_equal(verdict, WATCH_HANGS);
    assert_int_equal(asked, 1);
    assert_true(asked_loud >= 1);
    assert_int_equal(watch.late, WATCH_LATE_HANGS);
}

static void an_answer_at_the_last_moment_is_one(void **state)
{
    struct watch watch = {.turns = 7};

    (void)state;
    for (uint32_t i = 0; i + 1 < WATCH_LATE_HANGS; i++) {
        assert_int_not_equal(watch_look(&watch, 7, WATCH_MUST_GO_ON), WATCH_HANGS);
    }
    assert_int_equal(watch_look(&watch, 8, WATCH_MUST_GO_ON), WATCH_WELL);
    for (uint32_t i = 0; i + 1 < WATCH_LATE_HANGS; i++) {
        assert_int_not_equal(watch_look(&watch, 8, WATCH_MUST_GO_ON), WATCH_HANGS);
    }
    assert_int_equal(watch_look(&watch, 8, WATCH_WELL_ANYWAY), WATCH_WELL);
    assert_int_equal(watch.still, 0);
}

/* A minute is 15 looks: a guest that spins for one is left alone. */
static void a_cpu_that_may_be_in_a_guest_is_asked_once_after_minutes(void **state)
{
    struct watch watch = {.turns = 7};

    (void)state;
    for (uint32_t i = 1; i < LOOKS; i++) {
        enum watch_verdict verdict = watch_look(&watch, 7, WATCH_MAY_STAND);

        assert_int_equal(verdict, i == WATCH_STILL_MAX ? WATCH_ASK : WATCH_WELL);
    }
    assert_true(WATCH_STILL_MAX > 15);
    for (uint32_t i = 1; i < WATCH_LATE_HANGS; i++) {
        assert_int_not_equal(watch_look(&watch, 7, WATCH_MUST_GO_ON), WATCH_HANGS);
    }
    assert_int_equal(watch_look(&watch, 7, WATCH_MUST_GO_ON), WATCH_HANGS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cpu_that_makes_turns_is_never_asked),
        cmocka_unit_test(a_cpu_in_a_guest_or_asleep_is_never_asked),
        cmocka_unit_test(a_cpu_that_stands_still_is_asked_twice_and_then_hangs),
        cmocka_unit_test(a_cpu_that_may_be_in_a_guest_is_asked_once_after_minutes),
        cmocka_unit_test(an_answer_at_the_last_moment_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
