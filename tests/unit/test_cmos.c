/* SPDX-License-Identifier: MIT */
/* The real-time clock and CMOS RAM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/cmos.h"

#define HZ 1000000000ULL
#define SECOND HZ
/* 2024-02-29 23:59:50 UTC, a Thursday. */
#define LEAP_DAY 1709251190ULL

static struct clock clock_1ghz;
static struct cmos cmos;

static void start_at(uint64_t unix_s)
{
    const struct cmos_config config = {
        .clock = &clock_1ghz,
        .wall_clock_ns = unix_s * HZ,
        .wall_clock_tsc = 0,
        .ram_low_bytes = 3 * GIB,
        .ram_high_bytes = 5 * GIB,
    };

    cmos_reset(&cmos, &config, 0);
}

static int setup(void **state)
{
    (void)state;
    clock_1ghz = clock_of(HZ);
    start_at(LEAP_DAY);
    return 0;
}

static uint8_t in_cmos(uint8_t index, uint64_t now)
{
    cmos_write(&cmos, 0x70, index, now);
    return cmos_read(&cmos, 0x71, now);
}

static void out_cmos(uint8_t index, uint8_t value, uint64_t now)
{
    cmos_write(&cmos, 0x70, index, now);
    cmos_write(&cmos, 0x71, value, now);
}

static void shows(uint64_t now, uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t hour, uint8_t minute,
                  uint8_t second)
{
    assert_int_equal(in_cmos(0x32, now), century);
    assert_int_equal(in_cmos(0x09, now), year);
    assert_int_equal(in_cmos(0x08, now), month);
    assert_int_equal(in_cmos(0x07, now), day);
    assert_int_equal(in_cmos(0x04, now), hour);
    assert_int_equal(in_cmos(0x02, now), minute);
    assert_int_equal(in_cmos(0x00, now), second);
}

static void the_clock_shows_the_wall_clock_in_bcd(void **state)
{
    (void)state;
    shows(0, 0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x50);
    assert_int_equal(in_cmos(0x06, 0), 5);
    shows(10 * SECOND, 0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00);
    assert_int_equal(in_cmos(0x06, 10 * SECOND), 6);
}

static void calendar_is_right_over_two_centuries(void **state)
{
    static const struct {
        uint64_t unix_s;
        uint8_t century, year, month, day, weekday;
    } days[] = {
        {0, 0x19, 0x70, 0x01, 0x01, 5},          {951782400, 0x20, 0x00, 0x02, 0x29, 3},
        {951868800, 0x20, 0x00, 0x03, 0x01, 4},  {1767225600, 0x20, 0x26, 0x01, 0x01, 5},
        {4102444800, 0x21, 0x00, 0x01, 0x01, 6}, {4107542400, 0x21, 0x00, 0x03, 0x01, 2},
        {4107456000, 0x21, 0x00, 0x02, 0x28, 1},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(days); i++) {
        start_at(days[i].unix_s);
        shows(0, days[i].century, days[i].year, days[i].month, days[i].day, 0, 0, 0);
        assert_int_equal(in_cmos(0x06, 0), days[i].weekday);
    }
}

static void setting_a_time_gives_that_time_back_for_every_day(void **state)
{
    (void)state;
    out_cmos(0x0b, 0x06, 0); /* binary, 24 hours */
    for (uint64_t day = 0; day < 80000; day += 13) {
        uint64_t seconds = day * 86400 + day % 86400;
        uint8_t copy[8];
        static const uint8_t registers[8] = {0x32, 9, 8, 7, 4, 2, 0, 6};

        start_at(seconds);
        out_cmos(0x0b, 0x06, 0);
        for (unsigned i = 0; i < 8; i++) {
            copy[i] = in_cmos(registers[i], 0);
        }
        start_at(LEAP_DAY);
        out_cmos(0x0b, 0x86, 0);
        for (unsigned i = 0; i < 8; i++) {
            out_cmos(registers[i], copy[i], 0);
        }
        out_cmos(0x0b, 0x06, 0);
        for (unsigned i = 0; i < 8; i++) {
            assert_int_equal(in_cmos(registers[i], 0), copy[i]);
        }
    }
}

static void binary_and_twelve_hour_formats(void **state)
{
    (void)state;
    out_cmos(0x0b, 0x06, 0);
    shows(0, 20, 24, 2, 29, 23, 59, 50);
    out_cmos(0x0b, 0x00, 0);
    shows(0, 0x20, 0x24, 0x02, 0x29, 0x91, 0x59, 0x50);           /* 11 pm */
    shows(10 * SECOND, 0x20, 0x24, 0x03, 0x01, 0x12, 0x00, 0x00); /* midnight is 12 am */
    shows(12 * 3600 * SECOND + 10 * SECOND, 0x20, 0x24, 0x03, 0x01, 0x92, 0x00, 0x00);
}

static void set_stops_the_registers_and_release_starts_them(void **state)
{
    (void)state;
    out_cmos(0x0b, 0x82, 0);
    shows(30 * SECOND, 0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x50);
    out_cmos(0x04, 0x12, 30 * SECOND);
    out_cmos(0x02, 0x34, 30 * SECOND);
    out_cmos(0x00, 0x56, 30 * SECOND);
    out_cmos(0x0b, 0x02, 30 * SECOND);
    shows(30 * SECOND, 0x20, 0x24, 0x02, 0x29, 0x12, 0x34, 0x56);
    shows(34 * SECOND, 0x20, 0x24, 0x02, 0x29, 0x12, 0x35, 0x00);
}

static void a_divider_reset_starts_in_the_middle_of_a_second(void **state)
{
    (void)state;
    out_cmos(0x0a, 0x70, 0);
    out_cmos(0x00, 0x10, 100);
    out_cmos(0x0a, 0x26, 1000);
    assert_int_equal(in_cmos(0x00, 1000), 0x10);
    assert_int_equal(in_cmos(0x00, SECOND / 2), 0x10);
    assert_int_equal(in_cmos(0x00, SECOND / 2 + 2000), 0x11);
}

static void nonsense_in_the_registers_becomes_a_valid_time(void **state)
{
    (void)state;
    out_cmos(0x0b, 0x86, 0);
    for (unsigned i = 0; i < 10; i++) {
        out_cmos((uint8_t)i, 0xff, 0);
    }
    out_cmos(0x32, 0xff, 0);
    out_cmos(0x0b, 0x06, 0);
    assert_in_range(in_cmos(0x08, SECOND), 1, 12);
    assert_in_range(in_cmos(0x07, SECOND), 1, 31);
    assert_in_range(in_cmos(0x04, SECOND), 0, 23);
}

static void update_in_progress_covers_the_end_of_each_second(void **state)
{
    (void)state;
    assert_int_equal(in_cmos(0x0a, 0), 0x26);
    assert_int_equal(in_cmos(0x0a, SECOND - 2300000), 0x26);
    assert_int_equal(in_cmos(0x0a, SECOND - 2000000), 0xa6);
    assert_int_equal(in_cmos(0x00, SECOND - 1), 0x50);
    assert_int_equal(in_cmos(0x0a, SECOND), 0x26);
    assert_int_equal(in_cmos(0x00, SECOND), 0x51);
    out_cmos(0x0b, 0x82, SECOND); /* never while SET holds the clock */
    assert_int_equal(in_cmos(0x0a, 2 * SECOND - 1000), 0x26);
}

static void flags_are_there_for_a_guest_that_polls(void **state)
{
    (void)state;
    (void)in_cmos(0x0c, 0);
    assert_int_equal(in_cmos(0x0c, 100), 0);
    assert_int_equal(in_cmos(0x0c, 2 * SECOND), 0x50); /* PF and UF, no interrupt */
    assert_int_equal(in_cmos(0x0c, 2 * SECOND), 0);
    assert_int_equal(cmos.signals.lines, 0);
    assert_true(cmos.signals.deadline == DEADLINE_NONE);
}

static void the_update_interrupt_comes_each_second(void **state)
{
    (void)state;
    out_cmos(0x0b, 0x12, SECOND / 4);
    assert_in_range(cmos.signals.deadline, SECOND, SECOND + 2);
    for (uint64_t second = 1; second < 5; second++) {
        cmos_run(&cmos, second * SECOND + 5);
        assert_int_equal(cmos.signals.lines, 1);
        assert_true(cmos.signals.deadline == DEADLINE_NONE); /* until it is acknowledged */
        assert_int_equal(in_cmos(0x0c, second * SECOND + 5) & 0x90, 0x90);
        assert_int_equal(cmos.signals.lines, 0);
        assert_in_range(cmos.signals.deadline, (second + 1) * SECOND, (second + 1) * SECOND + 2);
    }
}

static void the_periodic_interrupt_has_every_rate(void **state)
{
    static const unsigned hz[16] = {0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2};

    (void)state;
    for (unsigned rate = 1; rate < 16; rate++) {
        setup(NULL);
        out_cmos(0x0a, (uint8_t)(0x20 | rate), 0);
        out_cmos(0x0b, 0x42, 0);
        for (unsigned period = 1; period < 20; period++) {
            assert_in_range(cmos.signals.deadline, SECOND * period / hz[rate], SECOND * period / hz[rate] + 3);
            cmos_run(&cmos, cmos.signals.deadline);
            assert_int_equal(cmos.signals.lines, 1);
            assert_int_equal(in_cmos(0x0c, SECOND * period / hz[rate] + 3) & 0xc0, 0xc0);
        }
    }
    out_cmos(0x0a, 0x20, 0); /* rate 0: off */
    assert_true(cmos.signals.deadline == DEADLINE_NONE);
}

static void the_alarm_matches_its_time_and_wildcards(void **state)
{
    (void)state;
    out_cmos(0x05, 0x00, 0);
    out_cmos(0x03, 0x00, 0);
    out_cmos(0x01, 0x05, 0); /* 00:00:05 is in 15 s */
    out_cmos(0x0b, 0x22, 0);
    assert_in_range(cmos.signals.deadline, 15 * SECOND, 15 * SECOND + 2);
    cmos_run(&cmos, 14 * SECOND);
    assert_int_equal(cmos.signals.lines, 0);
    cmos_run(&cmos, 15 * SECOND);
    assert_int_equal(cmos.signals.lines, 1);
    assert_int_equal(in_cmos(0x0c, 15 * SECOND) & 0xa0, 0xa0);
    assert_in_range(cmos.signals.deadline, (15 + 86400) * SECOND, (15 + 86400) * SECOND + 2);
    out_cmos(0x05, 0xff, 15 * SECOND); /* every hour */
    assert_in_range(cmos.signals.deadline, (15 + 3600) * SECOND, (15 + 3600) * SECOND + 2);
    out_cmos(0x03, 0xc0, 15 * SECOND); /* every minute */
    assert_in_range(cmos.signals.deadline, (15 + 60) * SECOND, (15 + 60) * SECOND + 2);
    out_cmos(0x01, 0xff, 15 * SECOND); /* every second */
    assert_in_range(cmos.signals.deadline, 16 * SECOND, 16 * SECOND + 2);
    out_cmos(0x01, 0x77, 15 * SECOND); /* never */
    assert_true(cmos.signals.deadline == DEADLINE_NONE);
}

static uint8_t bcd(uint32_t value)
{
    return (uint8_t)(value / 10 << 4 | value % 10);
}

/* By looking at every second of two days: what next_alarm() finds with a handful of jumps. */
static uint64_t seconds_to_alarm(uint32_t hour, uint32_t minute, uint32_t second)
{
    for (uint64_t wait = 1; wait <= 2 * 86400; wait++) {
        uint64_t of_day = (LEAP_DAY + wait) % 86400;

        if ((hour >= 192 || hour == of_day / 3600) && (minute >= 192 || minute == of_day / 60 % 60) &&
            (second >= 192 || second == of_day % 60)) {
            return wait;
        }
    }
    return 0;
}

static void every_alarm_is_found_where_it_is(void **state)
{
    static const uint32_t hours[] = {0, 1, 12, 22, 23, 24, 200}, others[] = {0, 1, 30, 49, 50, 51, 58, 59, 60, 99, 200};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(hours) * ARRAY_COUNT(others) * ARRAY_COUNT(others); i++) {
        uint32_t hour = hours[i % ARRAY_COUNT(hours)], minute = others[i / ARRAY_COUNT(hours) % ARRAY_COUNT(others)];
        uint32_t second = others[i / ARRAY_COUNT(hours) / ARRAY_COUNT(others)];
        uint64_t wait = seconds_to_alarm(hour, minute, second);

        start_at(LEAP_DAY);
        out_cmos(0x05, hour == 200 ? 0xff : bcd(hour), 0);
        out_cmos(0x03, minute == 200 ? 0xff : bcd(minute), 0);
        out_cmos(0x01, second == 200 ? 0xff : bcd(second), 0);
        out_cmos(0x0b, 0x22, 0);
        if (wait == 0) {
            assert_true(cmos.signals.deadline == DEADLINE_NONE);
        } else {
            assert_in_range(cmos.signals.deadline, wait * SECOND, wait * SECOND + 2);
        }
    }
}

static void an_alarm_between_two_readings_is_not_missed(void **state)
{
    (void)state;
    out_cmos(0x05, 0x12, 0);
    out_cmos(0x03, 0x00, 0);
    out_cmos(0x01, 0x00, 0);
    (void)in_cmos(0x0c, 0);
    assert_int_equal(in_cmos(0x0c, 20 * 3600 * SECOND) & 0x20, 0x20);
    assert_int_equal(in_cmos(0x0c, 21 * 3600 * SECOND) & 0x20, 0);
}

static void memory_sizes_are_where_firmware_puts_them(void **state)
{
    (void)state;
    assert_int_equal(in_cmos(0x15, 0) | in_cmos(0x16, 0) << 8, 640);
    assert_int_equal(in_cmos(0x17, 0) | in_cmos(0x18, 0) << 8, 0xffff);
    assert_int_equal(in_cmos(0x30, 0) | in_cmos(0x31, 0) << 8, 0xffff);
    assert_int_equal(in_cmos(0x34, 0) | in_cmos(0x35, 0) << 8, (3 * GIB - 16 * MIB) / (64 * KIB));
    assert_int_equal(in_cmos(0x5b, 0) | in_cmos(0x5c, 0) << 8 | in_cmos(0x5d, 0) << 16, 5 * GIB / (64 * KIB));
    assert_int_equal(in_cmos(0x0d, 0), 0x80);
}

static void ram_bytes_are_stored_and_status_registers_are_not(void **state)
{
    (void)state;
    for (unsigned i = 0x0e; i < 128; i++) {
        if (i != 0x32) {
            out_cmos((uint8_t)i, (uint8_t)(i ^ 0x5a), 0);
        }
    }
    for (unsigned i = 0x0e; i < 128; i++) {
        if (i != 0x32) {
            assert_int_equal(in_cmos((uint8_t)i, 0), (uint8_t)(i ^ 0x5a));
        }
    }
    out_cmos(0x0d, 0x00, 0);
    assert_int_equal(in_cmos(0x0d, 0), 0x80);
    assert_int_equal(in_cmos(0x8f, 0), 0x0f ^ 0x5a); /* bit 7 is the NMI mask */
    assert_int_equal(cmos_read(&cmos, 0x70, 0), 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_clock_shows_the_wall_clock_in_bcd, setup),
        cmocka_unit_test_setup(calendar_is_right_over_two_centuries, setup),
        cmocka_unit_test_setup(setting_a_time_gives_that_time_back_for_every_day, setup),
        cmocka_unit_test_setup(binary_and_twelve_hour_formats, setup),
        cmocka_unit_test_setup(set_stops_the_registers_and_release_starts_them, setup),
        cmocka_unit_test_setup(a_divider_reset_starts_in_the_middle_of_a_second, setup),
        cmocka_unit_test_setup(nonsense_in_the_registers_becomes_a_valid_time, setup),
        cmocka_unit_test_setup(update_in_progress_covers_the_end_of_each_second, setup),
        cmocka_unit_test_setup(flags_are_there_for_a_guest_that_polls, setup),
        cmocka_unit_test_setup(the_update_interrupt_comes_each_second, setup),
        cmocka_unit_test_setup(the_periodic_interrupt_has_every_rate, setup),
        cmocka_unit_test_setup(the_alarm_matches_its_time_and_wildcards, setup),
        cmocka_unit_test_setup(every_alarm_is_found_where_it_is, setup),
        cmocka_unit_test_setup(an_alarm_between_two_readings_is_not_missed, setup),
        cmocka_unit_test_setup(memory_sizes_are_where_firmware_puts_them, setup),
        cmocka_unit_test_setup(ram_bytes_are_stored_and_status_registers_are_not, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
