/* SPDX-License-Identifier: MIT */
/* The keyboard controller with nothing plugged in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/i8042.h"

#include <string.h>

static struct i8042 keyboard;

static int setup(void **state)
{
    (void)state;
    i8042_reset(&keyboard);
    return 0;
}

static void command(uint8_t value)
{
    i8042_write(&keyboard, 0x64, value);
}

static uint8_t answer(void)
{
    assert_int_equal(i8042_read(&keyboard, 0x64) & 1, 1);
    return i8042_read(&keyboard, 0x60);
}

static void it_is_never_busy_and_starts_empty(void **state)
{
    (void)state;
    assert_int_equal(i8042_read(&keyboard, 0x64) & 3, 0);
    command(0xaa);
    assert_int_equal(i8042_read(&keyboard, 0x64) & 2, 0);
    assert_int_equal(answer(), 0x55);
    assert_int_equal(i8042_read(&keyboard, 0x64) & 1, 0);
    assert_int_equal(i8042_read(&keyboard, 0x60), 0x55); /* the last byte again */
}

static void the_command_byte_can_be_read_and_written(void **state)
{
    (void)state;
    command(0x60);
    i8042_write(&keyboard, 0x60, 0x45);
    command(0x20);
    assert_int_equal(answer(), 0x45);
    command(0xad);
    command(0xa7);
    command(0x20);
    assert_int_equal(answer(), 0x75);
    command(0xae);
    command(0xa8);
    command(0x20);
    assert_int_equal(answer(), 0x45);
}

static void a_byte_to_the_keyboard_times_out(void **state)
{
    (void)state;
    i8042_write(&keyboard, 0x60, 0xff);
    assert_int_equal(i8042_read(&keyboard, 0x64) & 0x41, 0x41);
    assert_int_equal(answer(), 0xfe);
    command(0xd4);
    i8042_write(&keyboard, 0x60, 0xff);
    assert_int_equal(i8042_read(&keyboard, 0x64) & 0x61, 0x61);
    assert_int_equal(answer(), 0xfe);
    assert_int_equal(i8042_read(&keyboard, 0x64) & 0x61, 0);
}

static void a20_is_one_gate_with_three_switches(void **state)
{
    (void)state;
    assert_int_equal(i8042_read(&keyboard, 0x92) & 2, 2);
    command(0xd1);
    i8042_write(&keyboard, 0x60, 0xdd);
    assert_int_equal(i8042_read(&keyboard, 0x92) & 2, 0);
    command(0xdf);
    assert_int_equal(i8042_read(&keyboard, 0x92) & 2, 2);
    i8042_write(&keyboard, 0x92, 0);
    command(0xd0);
    assert_int_equal(answer() & 2, 0);
    assert_null(keyboard.signals.power_reason);
}

static void reset_by_pulse_by_output_port_and_by_port_92(void **state)
{
    (void)state;
    command(0xff);
    assert_null(keyboard.signals.power_reason);
    command(0xfe);
    assert_non_null(keyboard.signals.power_reason);
    setup(NULL);
    command(0xd1);
    i8042_write(&keyboard, 0x60, 0xde);
    assert_non_null(keyboard.signals.power_reason);
    setup(NULL);
    i8042_write(&keyboard, 0x92, 0x02);
    assert_null(keyboard.signals.power_reason);
    i8042_write(&keyboard, 0x92, 0x03);
    assert_string_equal(keyboard.signals.power_reason, "port 0x92");
}

static void output_interrupts_only_when_the_command_byte_says_so(void **state)
{
    (void)state;
    command(0xaa);
    assert_false(keyboard.signals.lines & I8042_LINE_KEYBOARD);
    command(0x60);
    i8042_write(&keyboard, 0x60, 0x03);
    assert_true(keyboard.signals.lines & I8042_LINE_KEYBOARD);
    (void)i8042_read(&keyboard, 0x60);
    assert_false(keyboard.signals.lines & I8042_LINE_KEYBOARD);
    command(0xd3);
    i8042_write(&keyboard, 0x60, 0x12);
    assert_true(keyboard.signals.lines & I8042_LINE_MOUSE);
    assert_false(keyboard.signals.lines & I8042_LINE_KEYBOARD);
    assert_int_equal(answer(), 0x12);
    assert_false(keyboard.signals.lines & I8042_LINE_MOUSE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_never_busy_and_starts_empty, setup),
        cmocka_unit_test_setup(the_command_byte_can_be_read_and_written, setup),
        cmocka_unit_test_setup(a_byte_to_the_keyboard_times_out, setup),
        cmocka_unit_test_setup(a20_is_one_gate_with_three_switches, setup),
        cmocka_unit_test_setup(reset_by_pulse_by_output_port_and_by_port_92, setup),
        cmocka_unit_test_setup(output_interrupts_only_when_the_command_byte_says_so, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
