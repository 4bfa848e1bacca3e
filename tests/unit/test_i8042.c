/* SPDX-License-Identifier: MIT */
/* The keyboard controller with a keyboard and a mouse that are never touched, and the filter before the machine's. */
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
    i8042_reset(&keyboard, NULL);
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

static void expect(bool mouse, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(i8042_read(&keyboard, 0x64) & 0x21, mouse ? 0x21 : 0x01);
        assert_int_equal(i8042_read(&keyboard, 0x60), bytes[i]);
    }
    assert_int_equal(i8042_read(&keyboard, 0x64) & 0x21, 0);
}

#define KEYBOARD_SAYS(...) expect(false, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define MOUSE_SAYS(...) expect(true, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void to_keyboard(uint8_t value)
{
    i8042_write(&keyboard, 0x60, value);
}

static void to_mouse(uint8_t value)
{
    command(0xd4);
    i8042_write(&keyboard, 0x60, value);
}

/* RT-Thread's driver reads port 0x60 until it says 0xfa. */
static void a_keyboard_acknowledges(void **state)
{
    (void)state;
    to_keyboard(0xed);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0x02);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0x02); /* no command */
    KEYBOARD_SAYS(0xfe);
    to_keyboard(0xff);
    KEYBOARD_SAYS(0xfa, 0xaa);
    to_keyboard(0xee);
    KEYBOARD_SAYS(0xee);
    to_keyboard(0xf3);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0xf4); /* a command where a parameter was to come */
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0x20);
    KEYBOARD_SAYS(0xfe);
    to_keyboard(0xf2);
    assert_int_equal(i8042_read(&keyboard, 0x60), 0xfa);
    to_keyboard(0xfe); /* the one that stands in the controller stays, the rest is gone */
    KEYBOARD_SAYS(0xab, 0xab);
}

static void what_a_keyboard_says_is_translated_where_the_command_byte_says_so(void **state)
{
    (void)state;
    to_keyboard(0xf2);
    KEYBOARD_SAYS(0xfa, 0xab, 0x41);
    to_keyboard(0xf0);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0x00);
    KEYBOARD_SAYS(0xfa, 0x41);
    command(0x60);
    i8042_write(&keyboard, 0x60, 0x05);
    to_keyboard(0xf2);
    KEYBOARD_SAYS(0xfa, 0xab, 0x83);
    to_keyboard(0xf0);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0x01);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0xf0);
    KEYBOARD_SAYS(0xfa);
    to_keyboard(0x00);
    KEYBOARD_SAYS(0xfa, 0x01);
}

static void a_mouse_answers_and_is_still(void **state)
{
    (void)state;
    command(0xa9);
    assert_int_equal(answer(), 0x00);
    to_mouse(0xff);
    MOUSE_SAYS(0xfa, 0xaa, 0x00);
    to_mouse(0xf3);
    MOUSE_SAYS(0xfa);
    to_mouse(0xc8);
    MOUSE_SAYS(0xfa);
    to_mouse(0xf4);
    MOUSE_SAYS(0xfa);
    to_mouse(0xe7);
    MOUSE_SAYS(0xfa);
    to_mouse(0xe9);
    MOUSE_SAYS(0xfa, 0x30, 0x02, 0xc8);
    to_mouse(0xeb);
    MOUSE_SAYS(0xfa, 0x08, 0x00, 0x00);
    to_mouse(0xf2);
    MOUSE_SAYS(0xfa, 0x00);
    to_mouse(0xf6);
    MOUSE_SAYS(0xfa);
    to_mouse(0xe9);
    MOUSE_SAYS(0xfa, 0x00, 0x02, 0x64);
    to_mouse(0xe1); /* a maker's own */
    MOUSE_SAYS(0xfe);
}

/* A held line keeps the answer; a byte to the device frees it. */
static void a_device_that_is_off_waits(void **state)
{
    (void)state;
    to_keyboard(0xf2);
    command(0xad);
    assert_int_equal(answer(), 0xfa); /* it was there already */
    assert_int_equal(i8042_read(&keyboard, 0x64) & 1, 0);
    command(0xae);
    KEYBOARD_SAYS(0xab, 0x41);
    command(0xa7);
    to_mouse(0xf4);
    MOUSE_SAYS(0xfa);
    command(0x20);
    assert_int_equal(answer() & 0x30, 0);
}

static void each_byte_of_an_answer_is_an_interrupt(void **state)
{
    (void)state;
    to_keyboard(0xff);
    assert_int_equal(keyboard.signals.lines, I8042_LINE_KEYBOARD);
    assert_int_equal(keyboard.signals.edges, 0);
    assert_int_equal(i8042_read(&keyboard, 0x60), 0xfa);
    assert_int_equal(keyboard.signals.lines, I8042_LINE_KEYBOARD);
    assert_int_equal(keyboard.signals.edges, I8042_LINE_KEYBOARD);
    assert_int_equal(keyboard.signals.wants, BUS_EDGES);
    keyboard.signals.edges = keyboard.signals.wants = 0; /* the wires have carried them */
    assert_int_equal(i8042_read(&keyboard, 0x60), 0xaa);
    assert_int_equal(keyboard.signals.lines | keyboard.signals.edges | keyboard.signals.wants, 0);
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
    command(0x60);
    i8042_write(&keyboard, 0x60, 0x00);
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

/* ---- the machine's controller ---- */

/* One that takes each command that any maker's has: what is written to its output port, by whichever, is its end. */
static struct {
    uint8_t expects;
    bool lost; /* the machine was reset, or its A20 moved */
    uint8_t command_byte, to_keyboard, to_mouse, looped;
    uint32_t writes;
} machine;

static void machine_command(uint8_t value)
{
    machine.expects = 0;
    if (value == 0x60 || (value >= 0xd1 && value <= 0xd4)) {
        machine.expects = value;
    }
    machine.lost |= value >= 0xf0 || value == 0xdd || value == 0xdf || (value >= 0x90 && value <= 0x9f);
    machine.lost |= value >= 0xa1 && value <= 0xa6; /* a password, with which it stays locked */
    machine.lost |= (value > 0x20 && value < 0x60) || (value > 0x60 && value < 0x80); /* its own memory */
}

static void machine_write(void *context, uint16_t port, uint8_t value)
{
    uint8_t command = machine.expects;

    assert_ptr_equal(context, &machine);
    machine.writes++;
    if (port == 0x64) {
        machine_command(value);
        return;
    }
    assert_int_equal(port, 0x60);
    machine.expects = 0;
    machine.lost |= command == 0xd1;
    *(command == 0x60                      ? &machine.command_byte
      : command == 0xd2 || command == 0xd3 ? &machine.looped
      : command == 0xd4                    ? &machine.to_mouse
                                           : &machine.to_keyboard) = value;
}

static uint8_t machine_read(void *context, uint16_t port)
{
    assert_ptr_equal(context, &machine);
    return port == 0x64 ? 0x1d : 0x42;
}

static int setup_machine(void **state)
{
    static const struct i8042_io io = {&machine, machine_read, machine_write};

    (void)state;
    memset(&machine, 0, sizeof(machine));
    i8042_reset(&keyboard, &io);
    return 0;
}

static void the_machines_own_answers_are_read(void **state)
{
    (void)state;
    assert_int_equal(i8042_read(&keyboard, 0x64), 0x1d);
    assert_int_equal(i8042_read(&keyboard, 0x60), 0x42);
    assert_int_equal(i8042_read(&keyboard, 0x92), 2);
    assert_int_equal(keyboard.signals.lines, 0);
}

static void what_drivers_write_reaches_the_machine(void **state)
{
    static const uint8_t passing[] = {0x20, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad, 0xae, 0xc0, 0xd0};

    (void)state;
    for (uint32_t i = 0; i < sizeof(passing); i++) {
        command(passing[i]);
        assert_int_equal(machine.writes, i + 1);
    }
    i8042_write(&keyboard, 0x60, 0xed);
    assert_int_equal(machine.to_keyboard, 0xed);
    command(0x60);
    i8042_write(&keyboard, 0x60, 0x47);
    assert_int_equal(machine.command_byte, 0x47);
    command(0xd4);
    i8042_write(&keyboard, 0x60, 0xf4);
    assert_int_equal(machine.to_mouse, 0xf4);
    command(0xd3);
    i8042_write(&keyboard, 0x60, 0x5a);
    assert_int_equal(machine.looped, 0x5a);
    command(0xd3);
    i8042_write(&keyboard, 0x60, 0xf0);
    assert_int_equal(machine.looped, 0x0f); /* no multiplexer of mice */
    i8042_write(&keyboard, 0x60, 0xf0);
    assert_int_equal(machine.to_keyboard, 0xf0);
}

static void a_reset_by_the_machines_controller_is_the_guests(void **state)
{
    (void)state;
    command(0xfe);
    assert_string_equal(keyboard.signals.power_reason, "port 0x64");
    setup_machine(NULL);
    command(0xd1);
    i8042_write(&keyboard, 0x60, 0xdd);
    assert_null(keyboard.signals.power_reason);
    assert_int_equal(i8042_read(&keyboard, 0x92) & 2, 0); /* A20, as the guest sees it */
    command(0xd1);
    i8042_write(&keyboard, 0x60, 0xfe);
    assert_non_null(keyboard.signals.power_reason);
    i8042_write(&keyboard, 0x92, 0x03);
    assert_string_equal(keyboard.signals.power_reason, "port 0x92");
    assert_int_equal(machine.writes, 0);
}

static void write_of(uint32_t number)
{
    i8042_write(&keyboard, (number & 0x100) != 0 ? 0x64 : 0x60, (uint8_t)number);
}

/* The filter's state is the command before, and so is the controller's: three writes reach every pair of them, the last
 * command and the last parameter of each. */
static void no_writes_reset_the_machine_or_move_its_a20(void **state)
{
    static const uint32_t before[] = {0x120, 0x160, 0x1d1, 0x1d2, 0x1d3, 0x1d4};

    (void)state;
    for (uint32_t first = 0; first < sizeof(before) / sizeof(before[0]); first++) {
        for (uint32_t second = 0; second < 0x200; second++) {
            for (uint32_t third = 0; third < 0x200; third++) {
                write_of(before[first]);
                write_of(second);
                write_of(third);
                write_of(0xfe); /* as data: what a parameter of 0xd1 would be */
                assert_false(machine.lost);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_is_never_busy_and_starts_empty, setup),
        cmocka_unit_test_setup(the_command_byte_can_be_read_and_written, setup),
        cmocka_unit_test_setup(a_keyboard_acknowledges, setup),
        cmocka_unit_test_setup(what_a_keyboard_says_is_translated_where_the_command_byte_says_so, setup),
        cmocka_unit_test_setup(a_mouse_answers_and_is_still, setup),
        cmocka_unit_test_setup(a_device_that_is_off_waits, setup),
        cmocka_unit_test_setup(each_byte_of_an_answer_is_an_interrupt, setup),
        cmocka_unit_test_setup(a20_is_one_gate_with_three_switches, setup),
        cmocka_unit_test_setup(reset_by_pulse_by_output_port_and_by_port_92, setup),
        cmocka_unit_test_setup(output_interrupts_only_when_the_command_byte_says_so, setup),
        cmocka_unit_test_setup(the_machines_own_answers_are_read, setup_machine),
        cmocka_unit_test_setup(what_drivers_write_reaches_the_machine, setup_machine),
        cmocka_unit_test_setup(a_reset_by_the_machines_controller_is_the_guests, setup_machine),
        cmocka_unit_test_setup(no_writes_reset_the_machine_or_move_its_a20, setup_machine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
