/* SPDX-License-Identifier: MIT */
/* The watchdog on the PCI bus, as a driver meets it: hv/dev/i6300esb.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/dev/i6300esb.h"
#include "tests/unit/support.h"

#define HZ 1000000000ULL
#define CONFIG 0x60u
#define LOCK 0x68u
#define PRELOAD_1 0u
#define PRELOAD_2 4u
#define RELOAD 12u
#define STEP_NS (32768u * 30u) /* of a preload, at 1 kHz */

static struct clock clock;
static struct i6300esb watchdog;

static void start(void)
{
    clock = clock_of(HZ);
    support_now = 1000;
    support_tick = 0;
    i6300esb_init(&watchdog, &clock);
}

static void write_bar(uint64_t offset, uint8_t size, uint64_t value)
{
    struct bus_access access = {.at = PCI_AT(0, offset), .value = value, .size = size, .now = support_now};

    assert_true(i6300esb_row.write(&watchdog, &access));
}

static uint64_t read_bar(uint64_t offset, uint8_t size)
{
    struct bus_access access = {.at = PCI_AT(0, offset), .size = size, .now = support_now};

    assert_true(i6300esb_row.read(&watchdog, &access));
    return access.value;
}

static void unlocked(uint64_t offset, uint8_t size, uint64_t value)
{
    write_bar(RELOAD, 2, 0x80);
    write_bar(RELOAD, 2, 0x86);
    write_bar(offset, size, value);
}

/* As Linux' driver does. */
static void set_steps(uint32_t steps)
{
    pci_config_write(&watchdog.function, CONFIG, 2, 3);
    unlocked(PRELOAD_1, 4, steps);
    unlocked(PRELOAD_2, 4, steps);
    unlocked(RELOAD, 2, 0x100);
}

static bool ended(uint64_t now)
{
    watchdog.function.signals.wants = 0;
    i6300esb_row.run(&watchdog, now);
    return (watchdog.function.signals.wants & BUS_POWER) != 0;
}

static void it_is_what_drivers_look_for_and_does_nothing_by_itself(void **state)
{
    (void)state;
    start();
    assert_int_equal(pci_config_read(&watchdog.function, 0, 4), 0x25ab8086);
    assert_int_equal(pci_config_read(&watchdog.function, CONFIG, 2), 0);
    assert_int_equal(pci_config_read(&watchdog.function, LOCK, 1), 0);
    assert_int_equal(watchdog.function.signals.deadline, DEADLINE_NONE);
    assert_false(ended(UINT64_MAX - 1));
    assert_int_equal(read_bar(RELOAD, 2), 0);
}

static void two_stages_that_are_not_fed_end_the_guest(void **state)
{
    uint64_t stage = 1000ULL * STEP_NS;

    (void)state;
    start();
    set_steps(1000);
    pci_config_write(&watchdog.function, LOCK, 1, 2);
    assert_int_equal(pci_config_read(&watchdog.function, LOCK, 1), 2);
    assert_int_equal(watchdog.function.signals.deadline, support_now + stage);
    assert_false(ended(support_now + stage));
    assert_int_equal(watchdog.function.signals.deadline, support_now + 2 * stage);
    assert_false(ended(support_now + 2 * stage - 1));
    assert_int_equal(i6300esb_ms(&watchdog), 2 * stage / 1000000);
    assert_true(ended(support_now + 2 * stage));
    assert_int_equal(watchdog.function.signals.power, POWER_WATCHDOG_PCI);
    assert_int_equal(watchdog.function.signals.deadline, DEADLINE_NONE);
    assert_false(ended(UINT64_MAX - 1));
}

static void food_begins_anew_and_one_late_look_finds_both_ends(void **state)
{
    uint64_t stage = 1000ULL * STEP_NS, fed;

    (void)state;
    start();
    set_steps(1000);
    pci_config_write(&watchdog.function, LOCK, 1, 2);
    support_now += stage + 5;
    assert_false(ended(support_now));
    fed = support_now;
    unlocked(RELOAD, 2, 0x100);
    assert_int_equal(watchdog.function.signals.deadline, fed + stage);
    assert_false(ended(fed + 2 * stage - 1));
    assert_true(ended(fed + 2 * stage));
}

static void what_is_not_unlocked_is_not_written(void **state)
{
    (void)state;
    start();
    write_bar(PRELOAD_1, 4, 5);
    write_bar(RELOAD, 2, 0x86);
    write_bar(PRELOAD_1, 4, 5);
    unlocked(PRELOAD_2, 2, 5); /* the width is wrong, and the step is used up */
    write_bar(PRELOAD_2, 4, 5);
    assert_int_equal(i6300esb_ms(&watchdog), 2ULL * 0xfffff * STEP_NS / 1000000);
    unlocked(PRELOAD_1, 4, 0xfff00001);
    assert_int_equal(i6300esb_ms(&watchdog), 0x100000ULL * STEP_NS / 1000000);
    pci_config_write(&watchdog.function, CONFIG, 2, 4); /* 1 MHz */
    assert_int_equal(i6300esb_ms(&watchdog), 0x100000ULL * 32 * 30 / 1000000);
}

static void a_lock_holds_and_without_a_reset_nothing_ends(void **state)
{
    (void)state;
    start();
    set_steps(1);
    pci_config_write(&watchdog.function, CONFIG, 2, 0x20);
    pci_config_write(&watchdog.function, LOCK, 1, 3);
    pci_config_write(&watchdog.function, LOCK, 1, 0);
    assert_int_equal(pci_config_read(&watchdog.function, LOCK, 1), 3);
    assert_int_equal(watchdog.function.signals.deadline, DEADLINE_NONE);
    assert_false(ended(UINT64_MAX - 1));
    support_now = 50;
    pci_config_write(&watchdog.function, CONFIG, 2, 0);
    assert_int_equal(watchdog.function.signals.deadline, 50 + STEP_NS);
    assert_true(ended(50 + 2 * STEP_NS));
}

static void the_next_start_knows_of_it_until_it_is_told(void **state)
{
    (void)state;
    start();
    set_steps(1);
    pci_config_write(&watchdog.function, LOCK, 1, 2);
    assert_true(ended(support_now + 2 * STEP_NS));
    start();
    assert_int_equal(watchdog.function.signals.deadline, DEADLINE_NONE);
    assert_int_equal(read_bar(RELOAD, 2), 0x1200);
    unlocked(RELOAD, 2, 0x200);
    assert_int_equal(read_bar(RELOAD, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_what_drivers_look_for_and_does_nothing_by_itself),
        cmocka_unit_test(two_stages_that_are_not_fed_end_the_guest),
        cmocka_unit_test(food_begins_anew_and_one_late_look_finds_both_ends),
        cmocka_unit_test(what_is_not_unlocked_is_not_written),
        cmocka_unit_test(a_lock_holds_and_without_a_reset_nothing_ends),
        cmocka_unit_test(the_next_start_knows_of_it_until_it_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
