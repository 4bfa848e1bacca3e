/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: timer, status, enable, control. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/pm.h"

#define HZ 2400000000ULL

static struct clock test_clock;
static struct pm pm;

static int setup(void **state)
{
    (void)state;
    test_clock = clock_of(HZ);
    pm_reset(&pm, &test_clock, 1000);
    return 0;
}

static uint64_t seconds(uint64_t count)
{
    return 1000 + count * HZ;
}

static void the_timer_counts_at_its_frequency_and_wraps_at_32_bits(void **state)
{
    (void)state;
    assert_int_equal(pm_read(&pm, 8, 4, 1000), 0);
    assert_in_range(pm_read(&pm, 8, 4, seconds(1)), PM_TIMER_HZ - 1, PM_TIMER_HZ);
    assert_in_range(pm_read(&pm, 8, 4, seconds(1200)), (uint32_t)(1200ULL * PM_TIMER_HZ) - 1,
                    (uint32_t)(1200ULL * PM_TIMER_HZ));
    assert_int_equal(pm_read(&pm, 10, 2, seconds(1)), pm_read(&pm, 8, 4, seconds(1)) >> 16);
    pm_write(&pm, 8, 4, 0, seconds(1));
    assert_int_not_equal(pm_read(&pm, 8, 4, seconds(1)), 0);
}

static void acpi_mode_is_always_on(void **state)
{
    (void)state;
    assert_int_equal(pm_read(&pm, 4, 2, 1000), 1);
    pm_write(&pm, 4, 2, 0, 1000);
    assert_int_equal(pm_read(&pm, 4, 2, 1000), 1);
}

static void the_timer_status_is_set_when_the_top_bit_changes(void **state)
{
    (void)state;
    assert_int_equal(pm_read(&pm, 0, 2, seconds(599)) & 1, 0);
    assert_int_equal(pm_read(&pm, 0, 2, seconds(600)) & 1, 1);
    assert_int_equal(pm.signals.lines, 0);
    assert_true(pm.signals.deadline == DEADLINE_NONE);
    pm_write(&pm, 0, 2, 1, seconds(600));
    assert_int_equal(pm_read(&pm, 0, 2, seconds(600)) & 1, 0);
    assert_int_equal(pm_read(&pm, 0, 2, seconds(1200)) & 1, 1);
}

static void an_enabled_timer_raises_the_sci_until_its_status_is_cleared(void **state)
{
    (void)state;
    pm_write(&pm, 2, 2, 1, seconds(1));
    assert_in_range(pm.signals.deadline, seconds(599), seconds(600));
    pm_run(&pm, pm.signals.deadline);
    assert_int_equal(pm.signals.lines, 1);
    pm_write(&pm, 0, 2, 0, seconds(601));
    assert_int_equal(pm.signals.lines, 1);
    pm_write(&pm, 0, 2, 1, seconds(601));
    assert_int_equal(pm.signals.lines, 0);
    assert_in_range(pm.signals.deadline, seconds(1199), seconds(1200));
}

static void enable_keeps_only_its_bits_and_takes_bytes(void **state)
{
    (void)state;
    pm_write(&pm, 2, 2, 0xffff, 1000);
    assert_int_equal(pm_read(&pm, 2, 2, 1000), 0x0521);
    pm_write(&pm, 2, 1, 0, 1000);
    assert_int_equal(pm_read(&pm, 2, 2, 1000), 0x0500);
    assert_int_equal(pm_read(&pm, 3, 1, 1000), 0x05);
    assert_int_equal(pm_read(&pm, 0, 4, 1000), 0x05000000);
}

static void soft_off_needs_the_type_and_the_enable_bit(void **state)
{
    (void)state;
    pm_write(&pm, 4, 2, 0x2000 | 5 << 10, 1000); /* another sleep state: not there */
    assert_int_equal(pm.signals.power, POWER_ON);
    pm_write(&pm, 4, 2, PM_SLEEP_TYPE_S5 << 10, 1000);
    assert_int_equal(pm.signals.power, POWER_ON);
    pm_write(&pm, 4, 2, 0x2000 | PM_SLEEP_TYPE_S5 << 10, 1000);
    assert_int_equal(pm.signals.power, POWER_OFF_REQUESTED);
    assert_int_equal(pm_read(&pm, 4, 2, 1000), 1); /* SLP_EN reads 0 */
}

static void soft_off_by_a_byte_write(void **state)
{
    (void)state;
    pm_write(&pm, 5, 1, 0x20, 1000);
    assert_int_equal(pm.signals.power, POWER_OFF_REQUESTED);
}

static void the_power_button_raises_the_sci_where_it_is_enabled(void **state)
{
    (void)state;
    pm_press_power_button(&pm);
    assert_int_equal(pm_read(&pm, 0, 2, 1000) & 0x100, 0x100);
    assert_int_equal(pm.signals.lines, 0);
    pm_write(&pm, 2, 2, 0x100, 1000);
    assert_int_equal(pm.signals.lines, 1);
    pm_write(&pm, 0, 2, 0x100, 1000); /* cleared by writing 1 */
    assert_int_equal(pm.signals.lines, 0);
    assert_int_equal(pm_read(&pm, 0, 2, 1000) & 0x100, 0);
    pm_press_power_button(&pm);
    assert_int_equal(pm.signals.lines, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_timer_counts_at_its_frequency_and_wraps_at_32_bits, setup),
        cmocka_unit_test_setup(acpi_mode_is_always_on, setup),
        cmocka_unit_test_setup(the_timer_status_is_set_when_the_top_bit_changes, setup),
        cmocka_unit_test_setup(an_enabled_timer_raises_the_sci_until_its_status_is_cleared, setup),
        cmocka_unit_test_setup(enable_keeps_only_its_bits_and_takes_bytes, setup),
        cmocka_unit_test_setup(soft_off_needs_the_type_and_the_enable_bit, setup),
        cmocka_unit_test_setup(soft_off_by_a_byte_write, setup),
        cmocka_unit_test_setup(the_power_button_raises_the_sci_where_it_is_enabled, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
