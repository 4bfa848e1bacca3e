/* SPDX-License-Identifier: MIT */
/* Dates of the firmware's clock: every day of four centuries against the calendar of libc, and what is no date. */
#define _POSIX_C_SOURCE 200809L

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "efi/civil_time.h"

#define DAY_S 86400u
#define DAYS_OF_400_YEARS 146097u

static void every_day_of_400_years_agrees_with_libc(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < DAYS_OF_400_YEARS; day++) {
        time_t seconds = (time_t)(day * DAY_S + (day * 7919) % DAY_S);
        struct tm parts;
        struct civil_time civil;

        assert_non_null(gmtime_r(&seconds, &parts));
        civil = (struct civil_time){.year = (uint32_t)parts.tm_year + 1900,
                                    .month = (uint32_t)parts.tm_mon + 1,
                                    .day = (uint32_t)parts.tm_mday,
                                    .hour = (uint32_t)parts.tm_hour,
                                    .minute = (uint32_t)parts.tm_min,
                                    .second = (uint32_t)parts.tm_sec};
        assert_int_equal(civil_to_unix(&civil), (uint64_t)seconds);
    }
}

/* UEFI 2.10, 8.3: UTC = local time + TimeZone. Berlin in winter is -60: its 01:00 is 00:00 UTC. */
static void zone_minutes_are_added(void **state)
{
    const struct civil_time berlin = {.year = 2024, .month = 1, .day = 1, .hour = 1, .zone_minutes = -60};
    const struct civil_time utc = {.year = 2024, .month = 1, .day = 1};

    (void)state;
    assert_int_equal(civil_to_unix(&berlin), civil_to_unix(&utc));
}

/* By the config where it says so, else by the firmware, else UTC; and where that is a guess it is said. */
static void the_zone_is_the_configs_or_the_firmwares(void **state)
{
    static struct config config;
    bool guessed;

    (void)state;
    assert_int_equal(civil_zone(&config, true, -60, &guessed), -60);
    assert_false(guessed);
    assert_int_equal(civil_zone(&config, false, 0x7ff, &guessed), 0);
    assert_false(guessed);
    config.rtc = RTC_LOCAL;
    assert_int_equal(civil_zone(&config, true, -60, &guessed), -60);
    assert_false(guessed);
    assert_int_equal(civil_zone(&config, false, 0x7ff, &guessed), 0);
    assert_true(guessed);
    config.rtc = RTC_LOCAL_ZONE;
    config.rtc_east_minutes = 330;
    assert_int_equal(civil_zone(&config, false, 0x7ff, &guessed), -330);
    assert_int_equal(civil_zone(&config, true, -60, &guessed), -330);
    assert_false(guessed);
}

static void time_before_1970_is_zero(void **state)
{
    const struct civil_time east = {.year = 1970, .month = 1, .day = 1, .zone_minutes = -60};
    const struct civil_time old = {.year = 1969, .month = 12, .day = 31};

    (void)state;
    assert_int_equal(civil_to_unix(&east), 0);
    assert_int_equal(civil_to_unix(&old), 0);
}

static void what_is_no_date_is_zero(void **state)
{
    static const struct civil_time bad[] = {
        {.year = 2024, .month = 0, .day = 1},
        {.year = 2024, .month = 13, .day = 1},
        {.year = 2024, .month = 1, .day = 0},
        {.year = 2024, .month = 1, .day = 32},
        {.year = 2024, .month = 1, .day = 1, .hour = 24},
        {.year = 2024, .month = 1, .day = 1, .minute = 60},
        {.year = 2024, .month = 1, .day = 1, .second = 60},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_int_equal(civil_to_unix(&bad[i]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_day_of_400_years_agrees_with_libc),
        cmocka_unit_test(zone_minutes_are_added),
        cmocka_unit_test(the_zone_is_the_configs_or_the_firmwares),
        cmocka_unit_test(time_before_1970_is_zero),
        cmocka_unit_test(what_is_no_date_is_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
