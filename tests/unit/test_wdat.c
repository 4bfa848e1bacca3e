/* SPDX-License-Identifier: MIT */
/* Promises of hv/dev/wdat.h: what is fed lives, what is not has crashed; by the accesses that its table tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"
#include "hv/dev/wdat.h"

#define HZ 1000000000ULL
#define S HZ

static struct clock test_clock;
static struct wdat wdat;
static uint8_t table[1024];

static int set_up(void **state)
{
    const struct platform_config config = {.clock = &test_clock};
    const struct bus_environment environment = {.config = &config};

    (void)state;
    test_clock = clock_of(HZ);
    wdat_row.reset(&wdat, &environment, 5 * S);
    return 0;
}

/* One action as a driver makes it: the table's instruction for it. */
static uint64_t act(uint8_t action, uint16_t countdown, uint64_t now)
{
    struct table_writer out = {.to = table, .capacity = sizeof(table)};
    uint64_t at = wdat_put_table(&out) + 36 + 32;

    for (; table[at] != action; at += 24) {
        assert_true(at < out.used);
    }
    struct bus_access access = {.at = table[at + 8] - (WDAT_PORT & 0xff), .size = table[at + 7], .now = now};
    uint32_t value, mask;

    memcpy(&value, &table[at + 16], 4);
    memcpy(&mask, &table[at + 20], 4);
    if (table[at + 1] >= 2) {
        access.value = (table[at + 1] == 3 ? countdown : value) & mask;
        assert_true(wdat_row.write(&wdat, &access));
        return 0;
    }
    assert_true(wdat_row.read(&wdat, &access));
    return table[at + 1] == 1 ? access.value & mask : (access.value & mask) == value;
}

static void it_rests_until_a_driver_starts_it(void **state)
{
    (void)state;
    assert_int_equal(act(0x0a, 0, 5 * S), 1); /* stopped */
    assert_int_equal(act(0x08, 0, 5 * S), 0);
    assert_int_equal(act(0x20, 0, 5 * S), 0); /* it did not end the last run */
    assert_int_equal(wdat.signals.deadline, DEADLINE_NONE);
    wdat_row.run(&wdat, 5000 * S);
    assert_int_equal(wdat.signals.power, POWER_ON);
}

static void what_is_fed_lives(void **state)
{
    (void)state;
    act(0x06, 10, 5 * S);
    act(0x09, 0, 5 * S);
    assert_int_equal(act(0x08, 0, 5 * S), 1);
    assert_int_equal(act(0x05, 0, 5 * S), 10);
    for (uint64_t now = 5; now < 100; now += 9) {
        wdat_row.run(&wdat, now * S);
        assert_int_equal(wdat.signals.power, POWER_ON);
        act(0x01, 0, now * S);
        assert_int_equal(act(0x04, 0, now * S), 10);
        assert_int_equal(wdat.signals.deadline, (now + 10) * S);
    }
    assert_int_equal(act(0x04, 0, 97 * S), 10 - (97 - 95));
}

static void what_is_not_fed_has_crashed(void **state)
{
    (void)state;
    act(0x06, 10, 5 * S);
    act(0x09, 0, 5 * S);
    wdat_row.run(&wdat, 15 * S - 1);
    assert_int_equal(wdat.signals.power, POWER_ON);
    wdat_row.run(&wdat, 15 * S);
    assert_int_equal(wdat.signals.power, POWER_WATCHDOG);
    assert_int_equal(wdat.signals.deadline, DEADLINE_NONE);
}

static void what_is_stopped_rests(void **state)
{
    (void)state;
    act(0x09, 0, 5 * S);
    act(0x0b, 0, 6 * S);
    wdat_row.run(&wdat, 5000 * S);
    assert_int_equal(wdat.signals.power, POWER_ON);
}

static void times_have_bounds(void **state)
{
    (void)state;
    act(0x06, 0, 5 * S);
    assert_int_equal(act(0x05, 0, 5 * S), 1);
    act(0x06, 0xffff, 5 * S);
    assert_int_equal(act(0x05, 0, 5 * S), WDAT_SECONDS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_rests_until_a_driver_starts_it, set_up),
        cmocka_unit_test_setup(what_is_fed_lives, set_up),
        cmocka_unit_test_setup(what_is_not_fed_has_crashed, set_up),
        cmocka_unit_test_setup(what_is_stopped_rests, set_up),
        cmocka_unit_test_setup(times_have_bounds, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
