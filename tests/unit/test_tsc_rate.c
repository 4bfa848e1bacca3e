/* SPDX-License-Identifier: MIT */
/* Promises of hv/host/tsc_rate.h, with the words of CPUs as they are sold. */
#include "hv/host/tsc_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_crystal_that_is_stated_is_taken(void **state)
{
    const struct tsc_rate_words words = {2, 216, 24000000, 2600};
    bool derived = true;

    (void)state;
    assert_int_equal(tsc_rate_stated(&words, &derived), 2592000000);
    assert_false(derived);
}

static void a_missing_crystal_is_found_by_the_base_frequency(void **state)
{
    static const struct {
        struct tsc_rate_words words;
        uint64_t hz;
    } rows[] = {
        {{2, 284, 0, 3400}, 3408000000}, /* Skylake, desktop: 24 MHz */
        {{2, 216, 0, 2600}, 2592000000}, /* Skylake, notebook */
        {{2, 168, 0, 2100}, 2100000000}, /* Skylake, server: 25 MHz */
        {{3, 171, 0, 1100}, 1094400000}, /* Goldmont: 19.2 MHz */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        bool derived = false;

        assert_int_equal(tsc_rate_stated(&rows[i].words, &derived), rows[i].hz);
        assert_true(derived);
    }
}

static void without_ratio_or_a_crystal_nearby_nothing_is_stated(void **state)
{
    static const struct tsc_rate_words rows[] = {
        {0, 284, 24000000, 3400}, {2, 0, 24000000, 3400}, {2, 284, 0, 0}, {2, 284, 0, 3000}, {0, 0, 0, 0},
    };
    bool derived = true;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(tsc_rate_stated(&rows[i], &derived), 0);
        assert_false(derived);
    }
}

static void no_words_overflow(void **state)
{
    const struct tsc_rate_words words = {UINT32_MAX, UINT32_MAX, UINT32_MAX, 0xffff};
    bool derived;

    (void)state;
    assert_int_equal(tsc_rate_stated(&words, &derived), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crystal_that_is_stated_is_taken),
        cmocka_unit_test(a_missing_crystal_is_found_by_the_base_frequency),
        cmocka_unit_test(without_ratio_or_a_crystal_nearby_nothing_is_stated),
        cmocka_unit_test(no_words_overflow),
    };

    return cmocka_run_group_tests_name("tsc_rate", tests, NULL, NULL);
}
