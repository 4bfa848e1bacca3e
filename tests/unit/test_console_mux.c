/* SPDX-License-Identifier: MIT */
/* Promises of hv/console/console_mux.h: lines of different sources never mix, the focused guest is not delayed, keys
 * work. */
#include "hv/console/console_mux.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PARTIAL 50u

struct fixture {
    struct console_mux mux;
    struct byte_ring out[3], in[3];
    char bytes[65536];
    struct mux_output output;
    uint64_t now;
};

static struct fixture f;

static void start(uint32_t guests)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};

    memset(&f, 0, sizeof(f));
    mux_init(&f.mux);
    f.output = (struct mux_output){f.bytes, sizeof(f.bytes), 0};
    for (uint32_t i = 0; i < guests; i++) {
        assert_true(mux_add(&f.mux, names[i], true, &f.out[i], &f.in[i]));
    }
}

static void guest_writes(uint32_t guest, const char *text)
{
    while (*text != '\0') {
        assert_true(byte_ring_put(&f.out[guest], (uint8_t)*text++));
    }
}

static void pump(void)
{
    mux_pump(&f.mux, f.now, PARTIAL, &f.output);
}

static void expect(const char *text)
{
    f.bytes[f.output.length] = '\0';
    assert_string_equal(f.bytes, text);
    f.output.length = 0;
}

static void one_guest_passes_through_untouched(void **state)
{
    static const char text[] = "\x1b[2J\x1b[1;1Habc\rdef\nx\r\n\r\n# ";

    (void)state;
    start(1);
    guest_writes(0, text);
    pump();
    expect(text);
}

static void lines_of_several_guests_carry_their_names(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "one\r\ntwo\r\n");
    guest_writes(1, "three\r\nfour\r\n");
    pump();
    expect("[alpha] one\r\n[alpha] two\r\n[beta] three\r\n[beta] four\r\n");
}

static void focused_bytes_appear_at_once(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "# ");
    pump();
    expect("[alpha] # ");
    guest_writes(0, "l");
    pump();
    expect("l");
}

static void a_line_of_another_guest_does_not_split_the_prompt(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "# ls");
    pump();
    expect("[alpha] # ls");
    guest_writes(1, "tick\n");
    pump();
    f.now += PARTIAL;
    pump();
    expect("\r\n[beta] tick\r\n[alpha] # ls");
    guest_writes(0, "\r\n");
    pump();
    expect("\r\n");
}

static void the_hypervisors_line_stands_alone(void **state)
{
    (void)state;
    start(1);
    guest_writes(0, "login: ");
    pump();
    mux_say(&f.mux, "plinth: hello", &f.output);
    pump();
    f.now += PARTIAL;
    pump();
    expect("login: \r\nplinth: hello\r\nlogin: ");
}

static void an_interrupted_line_is_shown_again_once_after_all_the_others(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "login: ");
    pump();
    mux_say(&f.mux, "plinth: one", &f.output);
    mux_say(&f.mux, "plinth: two", &f.output);
    guest_writes(1, "three\nfour\n");
    assert_true(mux_has_partial(&f.mux));
    pump();
    assert_true(mux_has_partial(&f.mux));
    f.now += PARTIAL - 1;
    mux_say(&f.mux, "plinth: five", &f.output);
    pump();
    expect("[alpha] login: \r\nplinth: one\r\nplinth: two\r\n[beta] three\r\n[beta] four\r\nplinth: five\r\n");
    f.now += 1;
    pump();
    expect("[alpha] login: ");
    assert_false(mux_has_partial(&f.mux));
}

static void a_guest_that_goes_on_writing_shows_its_interrupted_line_at_once(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "PASS h");
    pump();
    mux_say(&f.mux, "plinth: one", &f.output);
    pump();
    guest_writes(0, "ello\n");
    pump();
    expect("[alpha] PASS h\r\nplinth: one\r\n[alpha] PASS hello\r\n");
    assert_false(mux_has_partial(&f.mux));
}

static void an_incomplete_line_of_another_guest_waits_and_then_appears(void **state)
{
    (void)state;
    start(2);
    guest_writes(1, "par");
    pump();
    expect("");
    assert_true(mux_has_partial(&f.mux));
    f.now = PARTIAL - 1;
    guest_writes(1, "tial");
    pump();
    expect("");
    f.now += PARTIAL + 1;
    pump();
    expect("[beta] partial\r\n");
    assert_false(mux_has_partial(&f.mux));
}

static void a_line_longer_than_the_buffer_loses_no_byte(void **state)
{
    uint32_t letters = 0;

    (void)state;
    start(2);
    for (uint32_t i = 0; i < 3 * MUX_LINE_MAX + 7; i++) {
        guest_writes(1, "x");
    }
    guest_writes(1, "\n");
    pump();
    for (uint32_t i = 0; i < f.output.length; i++) {
        letters += f.bytes[i] == 'x' ? 1 : 0;
    }
    assert_int_equal(letters, 3 * MUX_LINE_MAX + 7);
}

static void a_lone_carriage_return_keeps_the_name_in_front(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "10%\r20%\r\n");
    pump();
    expect("[alpha] 10%\r[alpha] 20%\r\n");
}

static void nothing_is_taken_while_the_output_has_no_room(void **state)
{
    (void)state;
    start(2);
    f.output.capacity = MUX_STEP_MAX - 1;
    guest_writes(0, "a\n");
    guest_writes(1, "b\n");
    pump();
    expect("");
    f.output.capacity = sizeof(f.bytes);
    pump();
    expect("[alpha] a\r\n[beta] b\r\n");
}

static void one_step_never_adds_more_than_its_bound(void **state)
{
    (void)state;
    start(2);
    for (uint32_t i = 0; i < MUX_LINE_MAX; i++) {
        guest_writes(0, "f");
        guest_writes(1, "o");
    }
    pump();
    f.output.length = 0;
    guest_writes(1, "\n");
    pump();
    assert_true(f.output.length <= MUX_STEP_MAX);
}

static void type(const char *keys)
{
    while (*keys != '\0') {
        (void)mux_type(&f.mux, (uint8_t)*keys++, &f.output);
    }
}

static void expect_input(uint32_t guest, const char *text)
{
    uint8_t byte;

    while (*text != '\0') {
        assert_true(byte_ring_take(&f.in[guest], &byte));
        assert_int_equal(byte, (uint8_t)*text++);
    }
    assert_false(byte_ring_take(&f.in[guest], &byte));
}

static void keys_go_to_the_focused_guest(void **state)
{
    (void)state;
    start(2);
    type("ls\r");
    expect_input(0, "ls\r");
    expect_input(1, "");
}

static void the_escape_key_moves_the_focus(void **state)
{
    (void)state;
    start(3);
    type("a\x1dn"
         "b\x1dn"
         "c\x1dn"
         "d");
    expect_input(0, "ad");
    expect_input(1, "b");
    expect_input(2, "c");
}

static void the_escape_key_twice_sends_itself(void **state)
{
    (void)state;
    start(2);
    type("\x1d\x1d");
    expect_input(0, "\x1d");
}

static void status_and_help_reach_the_hypervisor_not_the_guest(void **state)
{
    (void)state;
    start(1);
    type("\x1ds");
    assert_true(f.mux.status_wanted);
    type("\x1d?");
    assert_non_null(memchr(f.bytes, 'C', f.output.length));
    expect_input(0, "");
}

static void the_focus_skips_guests_that_stopped(void **state)
{
    (void)state;
    start(3);
    mux_set_running(&f.mux, 1, false, &f.output);
    type("\x1dn"
         "x");
    expect_input(1, "");
    expect_input(2, "x");
}

static void the_focus_leaves_a_guest_that_stops_and_its_last_words_are_shown(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "bye");
    mux_set_running(&f.mux, 0, false, &f.output);
    expect("[alpha] bye\r\nplinth: what you type goes to guest beta\r\n");
    type("x");
    expect_input(1, "x");
}

static void the_last_line_of_all_is_the_hypervisors(void **state)
{
    (void)state;
    start(1);
    guest_writes(0, "System halted");
    mux_set_running(&f.mux, 0, false, &f.output);
    mux_say(&f.mux, "plinth: result ok", &f.output);
    pump();
    expect("System halted\r\nplinth: result ok\r\n");
}

static void the_focus_returns_when_a_guest_starts_while_none_ran(void **state)
{
    (void)state;
    start(2);
    mux_set_running(&f.mux, 0, false, &f.output);
    mux_set_running(&f.mux, 1, false, &f.output);
    type("x");
    expect_input(0, "");
    expect_input(1, "");
    mux_set_running(&f.mux, 0, true, &f.output);
    type("y");
    expect_input(0, "y");
}

static void a_shown_incomplete_line_is_not_shown_twice_after_the_focus_moved(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "# ");
    pump();
    type("\x1dn");
    f.output.length = 0;
    f.now = 10 * PARTIAL;
    pump();
    expect("");
}

static void a_guest_without_console_is_silent_and_gets_no_keys(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    mux_init(&f.mux);
    f.output = (struct mux_output){f.bytes, sizeof(f.bytes), 0};
    assert_true(mux_add(&f.mux, "quiet", false, &f.out[0], &f.in[0]));
    assert_true(mux_add(&f.mux, "loud", true, &f.out[1], &f.in[1]));
    guest_writes(0, "secret\n");
    guest_writes(1, "hello\n");
    pump();
    expect("hello\n"); /* only one guest has a console: no name, no change */
    type("x");
    expect_input(0, "");
    expect_input(1, "x");
}

static void typed_bytes_beyond_a_full_ring_are_counted(void **state)
{
    (void)state;
    start(1);
    for (uint32_t i = 0; i < BYTE_RING_BYTES + 5; i++) {
        type("k");
    }
    assert_int_equal(f.mux.input_lost, 5);
    assert_int_equal(byte_ring_count(&f.in[0]), BYTE_RING_BYTES);
}

/* Many random writes: every complete line comes out whole, once, in the order of its guest. */
static void random_interleavings_lose_and_mix_nothing(void **state)
{
    uint32_t seed = 12345;
    uint32_t written[3] = {0}, seen[3] = {0};
    static const char *const names[] = {"alpha", "beta", "gamma"};
    char *line;

    (void)state;
    start(3);
    for (uint32_t step = 0; step < 1500; step++) {
        char text[64];
        uint32_t guest = (seed = seed * 1664525u + 1013904223u) >> 16 & 3u;

        if (guest < 3) {
            (void)snprintf(text, sizeof(text), "line %u of %s\r\n", written[guest]++, names[guest]);
            guest_writes(guest, text);
        }
        f.now++;
        if ((seed >> 24) % 5 == 0) {
            pump();
        }
    }
    pump();
    f.bytes[f.output.length] = '\0';
    for (line = strtok(f.bytes, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        bool known = false;

        for (uint32_t guest = 0; guest < 3; guest++) {
            char want[80];

            (void)snprintf(want, sizeof(want), "[%s] line %u of %s", names[guest], seen[guest], names[guest]);
            if (strcmp(line, want) == 0) {
                seen[guest]++;
                known = true;
                break;
            }
        }
        assert_true(known);
    }
    assert_memory_equal(seen, written, sizeof(seen));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_guest_passes_through_untouched),
        cmocka_unit_test(lines_of_several_guests_carry_their_names),
        cmocka_unit_test(focused_bytes_appear_at_once),
        cmocka_unit_test(a_line_of_another_guest_does_not_split_the_prompt),
        cmocka_unit_test(the_hypervisors_line_stands_alone),
        cmocka_unit_test(an_interrupted_line_is_shown_again_once_after_all_the_others),
        cmocka_unit_test(a_guest_that_goes_on_writing_shows_its_interrupted_line_at_once),
        cmocka_unit_test(an_incomplete_line_of_another_guest_waits_and_then_appears),
        cmocka_unit_test(a_line_longer_than_the_buffer_loses_no_byte),
        cmocka_unit_test(a_lone_carriage_return_keeps_the_name_in_front),
        cmocka_unit_test(nothing_is_taken_while_the_output_has_no_room),
        cmocka_unit_test(one_step_never_adds_more_than_its_bound),
        cmocka_unit_test(keys_go_to_the_focused_guest),
        cmocka_unit_test(the_escape_key_moves_the_focus),
        cmocka_unit_test(the_escape_key_twice_sends_itself),
        cmocka_unit_test(status_and_help_reach_the_hypervisor_not_the_guest),
        cmocka_unit_test(the_focus_skips_guests_that_stopped),
        cmocka_unit_test(the_focus_leaves_a_guest_that_stops_and_its_last_words_are_shown),
        cmocka_unit_test(the_last_line_of_all_is_the_hypervisors),
        cmocka_unit_test(the_focus_returns_when_a_guest_starts_while_none_ran),
        cmocka_unit_test(a_shown_incomplete_line_is_not_shown_twice_after_the_focus_moved),
        cmocka_unit_test(a_guest_without_console_is_silent_and_gets_no_keys),
        cmocka_unit_test(typed_bytes_beyond_a_full_ring_are_counted),
        cmocka_unit_test(random_interleavings_lose_and_mix_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
