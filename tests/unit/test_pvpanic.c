/* SPDX-License-Identifier: MIT */
/* Promises of hv/dev/pvpanic.h: which events there are, and what follows from each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/pvpanic.h"

static struct pvpanic pvpanic;

static int set_up(void **state)
{
    (void)state;
    pvpanic_row.reset(&pvpanic, NULL, 0);
    return 0;
}

static void tell(uint8_t events)
{
    const struct bus_access access = {.at = PVPANIC_PORT, .value = events, .size = 1};

    assert_true(pvpanic_row.write(&pvpanic, &access));
}

static void both_events_are_offered(void **state)
{
    struct bus_access access = {.at = PVPANIC_PORT, .size = 1};

    (void)state;
    assert_true(pvpanic_row.read(&pvpanic, &access));
    assert_int_equal(access.value, 3);
    assert_int_equal(pvpanic_row.ranges[0].first, 0x505);
    assert_int_equal(pvpanic_row.ranges[0].bytes, 1);
}

static void a_panic_asks_for_the_guests_end(void **state)
{
    (void)state;
    tell(PVPANIC_PANICKED);
    assert_int_equal(pvpanic.signals.power, POWER_PANICKED);
    assert_int_equal(pvpanic.signals.wants & BUS_POWER, BUS_POWER);
    assert_false(pvpanic.crash_loaded);
}

static void a_crash_kernel_goes_on_and_is_remembered_until_a_reset(void **state)
{
    (void)state;
    tell(PVPANIC_CRASH_LOADED);
    assert_int_equal(pvpanic.signals.power, POWER_ON);
    assert_true(pvpanic.crash_loaded);
    (void)set_up(state);
    assert_false(pvpanic.crash_loaded);
}

static void other_bits_mean_nothing(void **state)
{
    (void)state;
    tell(0);
    tell(0xfc);
    assert_int_equal(pvpanic.signals.power, POWER_ON);
    assert_int_equal(pvpanic.signals.wants, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_events_are_offered, set_up),
        cmocka_unit_test_setup(a_panic_asks_for_the_guests_end, set_up),
        cmocka_unit_test_setup(a_crash_kernel_goes_on_and_is_remembered_until_a_reset, set_up),
        cmocka_unit_test_setup(other_bits_mean_nothing, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
