/* SPDX-License-Identifier: MIT */
/*
 * The PS/2 keyboard: what its codes become (hv/console/keyboard_codes.h), and the driver on a model of the 8042 with a
 * keyboard behind it. Time is the model's: every look at a register takes a microsecond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/console/console_keyboard.h"
#include "hv/console/console_time.h"
#include "hv/x86/insn.h"

#include <string.h>

/* ---- codes ---- */

static struct keyboard_codes codes;

static void expect_typed(const char *text, const uint8_t *list, uint32_t count)
{
    char typed[64];
    uint32_t length = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t bytes[KEYBOARD_BYTES_MAX];
        uint32_t made = keyboard_decode(&codes, list[i], bytes);

        assert_true(made <= KEYBOARD_BYTES_MAX && length + made < sizeof(typed));
        memcpy(typed + length, bytes, made);
        length += made;
    }
    typed[length] = '\0';
    assert_string_equal(typed, text);
}

#define TYPED(text, ...) expect_typed(text, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void letters_follow_shift_caps_and_control(void **state)
{
    (void)state;
    codes = (struct keyboard_codes){0};
    TYPED("hello\r", 0x23, 0xa3, 0x12, 0x92, 0x26, 0xa6, 0x26, 0xa6, 0x18, 0x98, 0x1c, 0x9c);
    TYPED("A!a1", 0x2a, 0x1e, 0x9e, 0x02, 0x82, 0xaa, 0x1e, 0x02);
    TYPED("Aa", 0x36, 0x1e, 0xb6, 0x1e);
    TYPED("A1a", 0x3a, 0xba, 0x1e, 0x02, 0x2a, 0x1e, 0xaa); /* caps: letters only, and Shift undoes it */
    TYPED("a", 0x3a, 0xba, 0x1e);
    TYPED("\003c", 0x1d, 0x2e, 0x9d, 0x2e);
    TYPED("\035", 0xe0, 0x1d, 0x1b, 0xe0, 0x9d); /* Ctrl-], the escape key */
    TYPED("\177\t\033 ", 0x0e, 0x0f, 0x01, 0x39);
    TYPED("\033a", 0x38, 0x1e, 0xb8);
}

static void keys_beside_the_letters_are_sequences(void **state)
{
    (void)state;
    codes = (struct keyboard_codes){0};
    TYPED("\033[A\033[B", 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0x50, 0xe0, 0xd0);
    TYPED("8", 0x48); /* the keypad's */
    TYPED("\r/", 0xe0, 0x1c, 0xe0, 0x35);
    TYPED("\033OP\033[24~", 0x3b, 0xbb, 0x58, 0xd8);
    TYPED("\033[3~", 0xe0, 0x2a, 0xe0, 0x53, 0xe0, 0xd3, 0xe0, 0xaa); /* with the keyboard's own Shift around it */
    TYPED("a", 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x1e);             /* behind Pause */
    TYPED("\033\033[A", 0x38, 0xe0, 0x48, 0xb8);
    TYPED("", 0xe0, 0x5b, 0xe0, 0xdb, 0x45, 0x46, 0x54);
}

/* Whatever comes, the bytes of a key fit, and a release types nothing. */
static void every_pair_of_codes_is_harmless(void **state)
{
    (void)state;
    for (uint32_t first = 0; first < 256; first++) {
        for (uint32_t second = 0; second < 256; second++) {
            uint8_t bytes[KEYBOARD_BYTES_MAX];
            uint32_t made;

            codes = (struct keyboard_codes){.alt = true};
            assert_true(keyboard_decode(&codes, (uint8_t)first, bytes) <= KEYBOARD_BYTES_MAX);
            made = keyboard_decode(&codes, (uint8_t)second, bytes);
            assert_true(made <= KEYBOARD_BYTES_MAX);
            assert_true(second < 0x80 || made == 0);
        }
    }
}

/* ---- the controller ---- */

#define TICKS_PER_US 1000u
#define QUEUE_MAX 64u

static struct {
    bool absent, deaf, stuck, no_keyboard;
    uint8_t config, command;
    bool enabled; /* the keyboard's port */
    bool scanning;
    uint8_t queue[QUEUE_MAX];
    uint32_t count;
    bool of_mouse;
    uint64_t now;
    uint32_t looks;
} chip;

static struct console_keyboard keyboard;
uint64_t console_tsc_hz;

static void put(uint8_t byte)
{
    assert_true(chip.count < QUEUE_MAX);
    chip.queue[chip.count++] = byte;
}

uint64_t insn_rdtsc(void)
{
    return chip.now;
}

void insn_pause(void)
{
}

uint8_t insn_in8(uint16_t port)
{
    uint8_t byte;

    chip.now += TICKS_PER_US;
    chip.looks++;
    if (chip.absent) {
        return 0xff;
    }
    if (port == 0x64) {
        return (uint8_t)((chip.count != 0 ? 1 : 0) | (chip.stuck ? 2 : 0) | (chip.of_mouse ? 0x20 : 0));
    }
    assert_int_equal(port, 0x60);
    byte = chip.queue[0];
    memmove(chip.queue, chip.queue + 1, QUEUE_MAX - 1);
    chip.count -= chip.count != 0;
    return byte;
}

void insn_out8(uint16_t port, uint8_t value)
{
    chip.now += TICKS_PER_US;
    if (chip.absent || chip.deaf) {
        return;
    }
    if (port == 0x64) {
        chip.command = value == 0x60 ? value : 0;
        chip.enabled = value == 0xae ? true : value == 0xad ? false : chip.enabled;
        if (value == 0x20) {
            put(chip.config);
        }
        assert_true(value == 0x20 || value == 0x60 || value == 0xa7 || value == 0xad || value == 0xae);
    } else if (chip.command == 0x60) {
        chip.config = value;
        chip.command = 0;
    } else {
        assert_int_equal(value, 0xf4);
        assert_true(chip.enabled);
        if (!chip.no_keyboard) {
            chip.scanning = true;
            put(0xfa);
        }
    }
}

static void make_chip(void)
{
    memset(&chip, 0, sizeof(chip));
    chip.config = 0x17; /* interrupts on, no translation, keyboard off */
    console_tsc_hz = 1000000ULL * TICKS_PER_US;
}

static void a_keyboard_is_set_up_and_typed_on(void **state)
{
    uint8_t byte;

    (void)state;
    make_chip();
    put(0x1e); /* from before */
    put(0x9e);
    keyboard_open(&keyboard);
    assert_true(keyboard.alive && chip.scanning);
    assert_int_equal(chip.config, 0x64); /* translated, no interrupt, the mouse off */
    assert_false(keyboard_receive(&keyboard, &byte));
    put(0xe0);
    put(0x48);
    put(0x23);
    for (const char *expected = "\033[Ah"; *expected != '\0'; expected++) {
        assert_true(keyboard_receive(&keyboard, &byte));
        assert_int_equal(byte, *expected);
    }
    assert_false(keyboard_receive(&keyboard, &byte));
}

static void a_key_that_comes_before_the_answer_does_not_hide_it(void **state)
{
    (void)state;
    make_chip();
    chip.config = 0x17;
    chip.no_keyboard = true; /* whose answers are put here */
    put(0x55);
    keyboard_open(&keyboard);
    assert_false(keyboard.alive);
    make_chip();
    keyboard_open(&keyboard);
    assert_true(keyboard.alive);
}

/* No controller, one that does not take commands, one that stays full, and no keyboard: bounded, and nothing is polled
 * then. */
static void what_does_not_answer_is_given_up(void **state)
{
    bool *const faults[] = {&chip.absent, &chip.deaf, &chip.stuck, &chip.no_keyboard};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(faults); i++) {
        uint8_t byte;

        make_chip();
        *faults[i] = true;
        keyboard_open(&keyboard);
        assert_false(keyboard.alive);
        assert_true(chip.now <= 300000ULL * TICKS_PER_US);
        chip.looks = 0;
        assert_false(keyboard_receive(&keyboard, &byte));
        assert_int_equal(chip.looks, 0);
    }
}

/* A controller that always has something cannot hold the CPU. */
static void a_flood_is_looked_at_in_pieces(void **state)
{
    uint8_t byte;

    (void)state;
    make_chip();
    keyboard_open(&keyboard);
    for (uint32_t i = 0; i < QUEUE_MAX; i++) {
        put(0xf0); /* a release */
    }
    chip.looks = 0;
    assert_false(keyboard_receive(&keyboard, &byte));
    assert_true(chip.looks <= 32);
    chip.of_mouse = true;
    chip.queue[0] = 0x1e;
    assert_false(keyboard_receive(&keyboard, &byte)); /* the mouse's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_follow_shift_caps_and_control),
        cmocka_unit_test(keys_beside_the_letters_are_sequences),
        cmocka_unit_test(every_pair_of_codes_is_harmless),
        cmocka_unit_test(a_keyboard_is_set_up_and_typed_on),
        cmocka_unit_test(a_key_that_comes_before_the_answer_does_not_hide_it),
        cmocka_unit_test(what_does_not_answer_is_given_up),
        cmocka_unit_test(a_flood_is_looked_at_in_pieces),
    };

    return cmocka_run_group_tests_name("console_keyboard", tests, NULL, NULL);
}
