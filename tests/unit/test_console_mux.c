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
    struct mux_source sources[3];
    struct console_page pages[3];
    struct byte_ring out[3], in[3];
    char bytes[65536];
    struct mux_output output;
    uint64_t now;
};

static struct fixture f;

static void add(uint32_t guest, const char *name, bool console)
{
    f.sources[guest] = (struct mux_source){
        .name = name, .out = &f.out[guest], .in = &f.in[guest], .page = &f.pages[guest], .console = console};
    assert_true(mux_add(&f.mux, &f.sources[guest]));
}

static void start(uint32_t guests)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};

    memset(&f, 0, sizeof(f));
    mux_init(&f.mux);
    f.output = (struct mux_output){.bytes = f.bytes, .capacity = sizeof(f.bytes)};
    for (uint32_t i = 0; i < guests; i++) {
        add(i, names[i], true);
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
    for (uint32_t i = 0; i < 3 * LINE_CELLS + 7; i++) {
        guest_writes(1, "x");
    }
    guest_writes(1, "\n");
    pump();
    for (uint32_t i = 0; i < f.output.length; i++) {
        letters += f.bytes[i] == 'x' ? 1 : 0;
    }
    assert_int_equal(letters, 3 * LINE_CELLS + 7);
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
    for (uint32_t i = 0; i < LINE_CELLS; i++) {
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
    assert_int_equal(f.mux.command, MUX_STATUS);
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

/* A restart that comes at once: the guest writes again before the multiplexer has looked at it. */
static void the_last_line_before_a_restart_is_a_line_of_its_own(void **state)
{
    (void)state;
    for (uint32_t guest = 0; guest < 2; guest++) { /* with the focus, and without */
        start(2);
        guest_writes(guest, "last wo");
        pump();
        mux_end_guest(&f.mux, guest, &f.output);
        mux_say(&f.mux, "plinth: stopped", &f.output);
        guest_writes(guest, "first words\r\n");
        mux_set_running(&f.mux, guest, false, &f.output);
        mux_set_running(&f.mux, guest, true, &f.output);
        pump();
        f.now += PARTIAL + 1;
        pump();
        expect(guest == 0 ? "[alpha] last wo\r\nplinth: what you type goes to guest beta\r\nplinth: stopped\r\n"
                            "[alpha] first words\r\n"
                          : "[beta] last wo\r\nplinth: stopped\r\n[beta] first words\r\n");
    }
}

static void the_only_guests_last_line_before_a_restart_is_a_line_of_its_own(void **state)
{
    (void)state;
    start(1);
    guest_writes(0, "last wo");
    pump();
    mux_end_guest(&f.mux, 0, &f.output);
    guest_writes(0, "first words\r\n");
    mux_set_running(&f.mux, 0, true, &f.output);
    pump();
    expect("last wo\r\nfirst words\r\n");
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
    f.output = (struct mux_output){.bytes = f.bytes, .capacity = sizeof(f.bytes)};
    add(0, "quiet", false);
    add(1, "loud", true);
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
    while (mux_has_bytes(&f.mux)) {
        pump();
    }
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

/* --- Several guests: what passes, and what does not --- */

/* A boot of twelve guests on one CPU ended so: the guests had stopped while their output still waited for a slow port,
 * and the focus went through guests of which half a line had been taken. */
static void half_a_line_is_not_lost_when_the_focus_passes_through(void **state)
{
    (void)state;
    start(3);
    guest_writes(0, "PASS alpha\n");
    guest_writes(1, "PA");
    pump(); /* beta's line is incomplete, and nothing of it is shown */
    guest_writes(1, "SS beta\n");
    mux_set_running(&f.mux, 0, false, &f.output); /* the focus goes to beta... */
    f.output.capacity = f.output.length + MUX_STEP_MAX - 1;
    mux_set_running(&f.mux, 1, false, &f.output); /* ...which has ended, but there is no room... */
    f.output.capacity = sizeof(f.bytes);
    mux_set_running(&f.mux, 2, true, &f.output); /* ...and then to gamma */
    pump();
    expect("[alpha] PASS alpha\r\nplinth: what you type goes to guest beta\r\n[beta] PA\r\n"
           "plinth: what you type goes to guest gamma\r\n[beta] PASS beta\r\n");
}

static void a_line_that_was_shown_in_part_is_shown_whole_when_it_is_complete(void **state)
{
    (void)state;
    start(2);
    guest_writes(1, "PA");
    pump();
    f.now += PARTIAL + 1;
    pump();
    guest_writes(1, "SS beta\n# ");
    pump();
    f.now += PARTIAL + 1;
    pump();
    f.now += PARTIAL + 1;
    pump();
    guest_writes(1, "\n"); /* nothing was added to what is shown */
    pump();
    expect("[beta] PA\r\n[beta] PASS beta\r\n[beta] # \r\n");
}

static void a_muted_guests_open_line_is_among_its_last_lines(void **state)
{
    (void)state;
    start(2);
    type("\x1dm");
    guest_writes(0, "one\ntwo: ");
    pump();
    f.output.length = 0;
    type("\x1dl");
    pump();
    expect("plinth: the last lines of guest alpha:\r\nplinth:   | [alpha] one\r\nplinth:   | [alpha] two: \r\n"
           "plinth: end of the last lines\r\n");
}

static const char *const random_names[] = {"alpha", "beta", "gamma"};

struct random_guests {
    uint32_t seed, written[3], seen[3];
    char rest[3][64]; /* of the line that the guest is writing */
};

static uint32_t next_random(struct random_guests *r, uint32_t below)
{
    r->seed = r->seed * 1664525u + 1013904223u;
    return (r->seed >> 8) % below;
}

/* A piece of a line; the pieces of a guest make numbered lines. A guest that has stopped writes nothing. */
static void write_piece(struct random_guests *r, uint32_t guest, uint32_t bytes)
{
    char *rest = r->rest[guest];
    char piece[64];

    if (!f.sources[guest].running) {
        return;
    }
    if (rest[0] == '\0') {
        (void)snprintf(rest, sizeof(r->rest[0]), "line %u of %s\r\n", r->written[guest]++, random_names[guest]);
    }
    (void)snprintf(piece, sizeof(piece), "%.*s", (int)bytes, rest);
    memmove(rest, rest + strlen(piece), strlen(rest) - strlen(piece) + 1);
    guest_writes(guest, piece);
}

static void random_step(struct random_guests *r)
{
    uint32_t guest = next_random(r, 3);

    switch (next_random(r, 12)) {
    case 0:
        mux_say(&f.mux, "plinth: hello", &f.output);
        break;
    case 1:
        type("\x1dn");
        break;
    case 2: /* with the last of its line, as a guest that stops in order */
        write_piece(r, guest, 63);
        mux_set_running(&f.mux, guest, false, &f.output);
        break;
    case 3:
        mux_set_running(&f.mux, guest, true, &f.output);
        break;
    case 4:
        f.now += PARTIAL + 1;
        break;
    case 5:
    case 6: /* with little room or none */
        f.output.capacity = f.output.length + next_random(r, 2 * MUX_STEP_MAX);
        pump();
        f.output.capacity = sizeof(f.bytes);
        break;
    default:
        write_piece(r, guest, 1 + next_random(r, 20));
    }
}

/* Rows that begin as the guest's next line does are pieces of it, or all of it. */
static void look_for_lines(struct random_guests *r)
{
    f.bytes[f.output.length] = '\0';
    for (char *row = strtok(f.bytes, "\r\n"); row != NULL; row = strtok(NULL, "\r\n")) {
        for (uint32_t guest = 0; guest < 3; guest++) {
            char want[80];

            (void)snprintf(want, sizeof(want), "[%s] line %u of %s", random_names[guest], r->seen[guest],
                           random_names[guest]);
            r->seen[guest] += strcmp(row, want) == 0 ? 1 : 0;
        }
    }
    f.output.length = 0;
}

/* Guests write in pieces, stop and begin, the focus moves, there is no room, time passes: every line that a guest
 * completes stands whole in a row, in the order of its guest. */
static void every_complete_line_stands_whole_in_a_row(void **state)
{
    (void)state;
    for (uint32_t program = 0; program < 400; program++) {
        struct random_guests r = {.seed = program};

        start(3);
        for (uint32_t step = 0; step < 300; step++) {
            random_step(&r);
        }
        for (uint32_t guest = 0; guest < 3; guest++) {
            write_piece(&r, guest, 63);
        }
        while (mux_has_bytes(&f.mux)) {
            pump();
        }
        look_for_lines(&r);
        for (uint32_t guest = 0; guest < 3; guest++) {
            if (r.seen[guest] != r.written[guest]) {
                fail_msg("program %u: line %u of %s is not whole", program, r.seen[guest], random_names[guest]);
            }
        }
    }
}

static void expect_line(const char *written, const char *shown)
{
    for (uint32_t guest = 0; guest < 2; guest++) {
        char wanted[256];

        start(2);
        guest_writes(guest, written);
        guest_writes(guest, "\n");
        pump();
        f.bytes[f.output.length] = '\0';
        if (guest == 1) { /* of a guest without the focus the line is shown as it is at its end */
            (void)snprintf(wanted, sizeof(wanted), "[beta] %s\r\n", shown);
            assert_string_equal(f.bytes, wanted);
        } else {
            assert_int_equal(strncmp(f.bytes, "[alpha] ", 8), 0);
        }
        for (uint32_t i = 0; i < f.output.length; i++) {
            assert_true(f.bytes[i] != 0x05 && f.bytes[i] != 0x07 && f.bytes[i] != 0x0e && f.bytes[i] != (char)0x9b);
        }
    }
}

static void text_tabs_and_colours_pass(void **state)
{
    (void)state;
    expect_line("a\tb", "a\tb");
    expect_line("\x1b[1;31mred\x1b[0m plain", "\x1b[0;1;31mred\x1b[0m plain");
    expect_line("gr\xc3\xbcn \xe2\x94\x80", "gr\xc3\xbcn \xe2\x94\x80");
    expect_line("\x1b[32mnot closed", "\x1b[0;32mnot closed\x1b[0m");
}

static void what_a_terminal_would_answer_does_not_pass(void **state)
{
    (void)state;
    expect_line("\x1b[6n\x1b[5n\x1b[c\x1b[>c\x1b[=c\x1bZ\x05\x1b[18t\x1b[?1$p\x1b[x\x1b]10;?\x07\x1bP$qm\x1b\\x", "x");
}

static void titles_palettes_and_modes_do_not_pass(void **state)
{
    (void)state;
    expect_line("\x1b]0;title\x07\x1b]4;1;red\x1b\\\x1b[?1000h\x1b[?2l\x1b[5i\x1b[12l\x1b)0\x0ex\x0f\x1b%@\x1b#8",
                "\xe2\x94\x82");
}

/* The prefix is not reached by any way back, and a lone CR begins behind it. */
static void nothing_leads_over_the_prefix(void **state)
{
    static const char *const ways[] = {
        "\b\b\b\b\b\b\b\b\b", "\x1b[20D", "\x1b[1G", "\x1b[1`", "\r", "\x1b[2K", "\x1b[1K\r", "x\b\b\b\b\b\b\b\b\b"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ways); i++) {
        start(2);
        guest_writes(1, ways[i]);
        guest_writes(1, "[alpha] forged\n");
        pump();
        f.bytes[f.output.length] = '\0';
        assert_string_equal(f.bytes, "[beta] [alpha] forged\r\n");
    }
}

static void a_line_editor_works_in_the_focused_line(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "# lz");
    pump();
    expect("[alpha] # lz");
    guest_writes(0, "\b \bs");
    pump();
    expect("\b \bs");
    guest_writes(0, "\x1b[3D\x1b[K");
    pump();
    expect("\x1b[3D\x1b[K");
    guest_writes(0, "abc\x1b[2Dx\x1b[1C\x1b[P");
    pump();
    expect("abc\x1b[2Dx\x1b[1C\r[alpha] \x1b[K#axc");
}

/* ... and what was typed is not lost when another line comes between. */
static void an_edited_line_is_shown_again_as_it_is(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "# abc\b\b");
    pump();
    mux_say(&f.mux, "plinth: x", &f.output);
    f.output.length = 0;
    pump();
    f.now += PARTIAL;
    pump();
    expect("[alpha] # abc\x1b[2D");
}

static void a_string_without_an_end_hides_one_line_of_its_guest(void **state)
{
    (void)state;
    start(2);
    guest_writes(1, "\x1b]0;hidden\nshown\n");
    mux_say(&f.mux, "plinth: x", &f.output);
    pump();
    mux_say(&f.mux, "plinth: y", &f.output);
    expect("plinth: x\r\n[beta] \r\n[beta] shown\r\nplinth: y\r\n");
}

static void the_parser_of_one_guest_does_not_touch_another(void **state)
{
    (void)state;
    start(3);
    guest_writes(0, "\x1b[3");
    guest_writes(1, "1mone\xc3");
    guest_writes(2, "\xa4two\n");
    guest_writes(1, "\n");
    guest_writes(0, "1mred\n");
    for (uint32_t i = 0; i < 3; i++) {
        pump();
    }
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "[alpha] \x1b[0;31mred\x1b[0m\r\n"));
    assert_non_null(strstr(f.bytes, "[beta] 1mone\r\n"));
    assert_non_null(strstr(f.bytes, "[gamma] ?two\r\n"));
}

/* Our sentences may quote a guest. */
static void what_the_hypervisor_quotes_is_harmless(void **state)
{
    (void)state;
    start(2);
    mux_say(&f.mux,
            "plinth: guest x says \x1b]0;\n\x9b"
            "6n",
            &f.output);
    expect("plinth: guest x says ?]0;??6n\r\n");
}

/* --- Room --- */

static void a_flood_leaves_room_for_the_others(void **state)
{
    uint32_t taken[3] = {0};

    (void)state;
    start(3);
    for (uint32_t round = 0; round < 400; round++) {
        for (uint32_t guest = 0; guest < 3; guest++) {
            uint32_t before = f.out[guest].tail;

            while (byte_ring_put(&f.out[guest], f.out[guest].head % 64 == 63 ? '\n' : 'x')) {
            }
            (void)before;
        }
        f.output.capacity = MUX_STEP_MAX + round % 40; /* a slow port: a few bytes at a time */
        pump();
        f.output.length = 0;
    }
    for (uint32_t guest = 0; guest < 3; guest++) {
        taken[guest] = f.out[guest].tail;
    }
    for (uint32_t guest = 0; guest < 3; guest++) {
        assert_true(taken[guest] > 1000);
        assert_true(taken[guest] < 2 * taken[(guest + 1) % 3]);
    }
}

/* What one call does is bounded, also where nothing is sent. */
static void a_muted_flood_ends_a_call(void **state)
{
    (void)state;
    start(2);
    f.sources[1].muted = true;
    for (uint32_t i = 0; i < BYTE_RING_BYTES; i++) {
        (void)byte_ring_put(&f.out[1], 'x');
    }
    pump();
    expect("");
    assert_true(byte_ring_count(&f.out[1]) < BYTE_RING_BYTES);
}

/* --- Full screens --- */

#define ENTER "[alpha] (full screen)\x1b[?1049h\x1b[2J\x1b[?7l"
#define NOTICE "\x1b[999;1H\x1b[0;7m full screen of guest alpha; Ctrl-] ? for help \x1b[0m"
#define LEAVE "\x1b[999;1H\x1b[?7h\x1b[?1049l\r\n"

static void a_full_screen_is_drawn_on_the_alternate_screen(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "\x1b[?1049h\x1b[2;3Hhi\x1b[24;1H\x1b[7mstatus\x1b[m");
    pump();
    expect(ENTER NOTICE "\x1b[2;1H\x1b[K\x1b[2;1H  hi\x1b[24;1H\x1b[K\x1b[24;1H\x1b[0;7mstatus\x1b[0m\x1b[24;7H");
    guest_writes(0, "\x1b[2;5H!");
    pump();
    expect("\x1b[2;5H!\x1b[2;6H");
    guest_writes(0, "\x1b[2;4H\x1b[K");
    pump();
    expect("\x1b[2;4H\x1b[K\x1b[2;4H");
    guest_writes(0, "\x1b[?1049l# ");
    pump();
    expect(LEAVE "[alpha] # ");
}

static void a_line_of_another_leaves_the_full_screen_and_it_comes_back(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "\x1b[?1049h\x1b[1;1Hhi");
    pump();
    f.output.length = 0;
    guest_writes(1, "tick\n");
    pump();
    expect(LEAVE "[beta] tick\r\n");
    guest_writes(0, "\x1b[2;1Hmore");
    pump();
    expect("");
    assert_true(mux_has_partial(&f.mux));
    f.now += PARTIAL;
    pump();
    pump();
    expect(ENTER NOTICE "\x1b[1;1H\x1b[K\x1b[1;1Hhi\x1b[2;1H\x1b[K\x1b[2;1Hmore\x1b[2;5H");
    mux_say(&f.mux, "plinth: x", &f.output);
    expect(LEAVE "plinth: x\r\n");
    type("k"); /* a key brings it back at once */
    pump();
    f.bytes[f.output.length] = '\0';
    assert_int_equal(strncmp(f.bytes, ENTER, strlen(ENTER)), 0);
}

/* `clear`, then lines: they are on a page until they would scroll, then all of them are lines. */
static void a_page_that_would_scroll_becomes_lines(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "\x1b[H\x1b[J");
    for (uint32_t i = 0; i < 23; i++) {
        guest_writes(0, "row\r\n");
    }
    pump();
    f.output.length = 0;
    guest_writes(0, "last\r\nnext\r\n");
    pump();
    f.bytes[f.output.length] = '\0';
    assert_int_equal(strncmp(f.bytes, LEAVE "[alpha] row\r\n", strlen(LEAVE) + 13), 0);
    assert_non_null(strstr(f.bytes, "[alpha] row\r\n[alpha] last\r\n[alpha] next\r\n"));
}

static void a_guest_that_ends_leaves_its_page_as_lines(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "\x1b[2J\x1b[5;1Hlast words");
    pump();
    f.output.length = 0;
    mux_set_running(&f.mux, 0, false, &f.output);
    pump();
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "[alpha] last words\r\n"));
}

/* `clear`, then an editor: what stood on the cleared screen is not lost. */
static void a_page_below_an_alternate_one_becomes_lines(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "\x1b[H\x1b[2Jfirst\r\nsecond\x1b[?1049h\x1b[2;2Hediting");
    pump();
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "[alpha] first\r\n[alpha] second\r\n" ENTER));
    f.output.length = 0;
    guest_writes(0, "\x1b[?1049l$ ");
    pump();
    expect(LEAVE "[alpha] $ ");
}

/* Without the focus nothing is a page: kernels that clear the screen first are read line by line. */
static void another_guests_screen_is_lines(void **state)
{
    (void)state;
    start(2);
    guest_writes(1, "\x1b[2J\x1b[HBooting\nx\x1b[5;5Hy\n");
    pump();
    expect("[beta] Booting\r\n[beta] x\r\n[beta] y\r\n");
}

static void a_row_that_looks_like_a_line_of_ours_is_marked(void **state)
{
    (void)state;
    start(2);
    guest_writes(0, "\x1b[?1049h\x1b[3;1Hplinth: result ok\x1b[4;1H  [beta] hello");
    pump();
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "?linth: result ok"));
    assert_non_null(strstr(f.bytes, "  ?beta] hello"));
    f.output.length = 0;
    guest_writes(0, "\x1b[3;1HP"); /* in any case, and piece by piece */
    pump();
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "?linth: result ok"));
}

/* --- One console guest --- */

static void expect_single(const char *written, const char *shown)
{
    start(1);
    guest_writes(0, written);
    pump();
    f.output.length = 0;
    mux_say(&f.mux, "plinth: x", &f.output);
    expect(shown);
}

static void the_hypervisors_line_is_bare_after_text(void **state)
{
    (void)state;
    expect_single("hello\r\n", "plinth: x\r\n");
    expect_single("hello", "\r\nplinth: x\r\n");
    expect_single("\x1b[32mgreen\x1b[0m\x1b[6n\x1b[J\x1b[K\r\n", "plinth: x\r\n");
    expect_single("hello\n", "\r\nplinth: x\r\n"); /* a bare LF: the cursor is not at the left */
}

static bool shown_after(const char *written, const char *repair)
{
    const char *end = "\r\nplinth: x\r\n";

    start(1);
    guest_writes(0, written);
    pump();
    assert_memory_equal(f.bytes, written, strlen(written)); /* the guest's bytes are untouched */
    f.output.length = 0;
    mux_say(&f.mux, "plinth: x", &f.output);
    f.bytes[f.output.length] = '\0';
    return strncmp(f.bytes, "\x18\x1b\\", 3) == 0 && strstr(f.bytes, repair) != NULL &&
           strcmp(f.bytes + f.output.length - strlen(end), end) == 0;
}

static void the_terminal_is_brought_back_before_the_hypervisors_line(void **state)
{
    (void)state;
    assert_true(shown_after("\x1b]0;", "\x1b]104"));
    assert_true(shown_after("\x1b[3", "\x18"));
    assert_true(shown_after("\x1bP", "\x1b\\"));
    assert_true(shown_after("\xe2\x82", "\x18"));
    assert_true(shown_after("\x1b[8mhidden\r\n", "\x1b[m"));
    assert_true(shown_after("\x1b[?1049h", "\x1b[?1049l"));
    assert_true(shown_after("\x1b[5i", "\x1b[4i"));
    assert_true(shown_after("\x1b[2;5r", "\x1b[r"));
    assert_true(shown_after("\x1b[10;10H", "\x1b[999;1H"));
    assert_true(shown_after("\x1b(0", "\x1b(B"));
    assert_true(shown_after("\x0e", "\x0f"));
    assert_true(shown_after("\x9b"
                            "5i",
                            "\x1b[4i"));
    f.output.length = 0;
    mux_say(&f.mux, "plinth: y", &f.output); /* once is enough */
    expect("plinth: y\r\n");
}

static void a_lost_terminal_is_brought_back(void **state)
{
    (void)state;
    start(2);
    mux_lose_terminal(&f.mux);
    mux_say(&f.mux, "plinth: x", &f.output);
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "\x1b[?1049l"));
    assert_non_null(strstr(f.bytes, "\r\nplinth: x\r\n"));
}

static void the_rest_of_an_interrupted_sequence_is_not_text(void **state)
{
    (void)state;
    start(1);
    guest_writes(0, "\x1b[3");
    pump();
    mux_say(&f.mux, "plinth: x", &f.output);
    f.output.length = 0;
    guest_writes(0, "1mred");
    pump();
    f.bytes[f.output.length] = '\0';
    assert_null(strstr(f.bytes, "1mred"));
    assert_non_null(strstr(f.bytes, "red"));
}

/* --- Keys --- */

static void keys_ask_for_what_they_say(void **state)
{
    static const struct {
        const char *keys;
        enum mux_command command;
    } rows[] = {{"\x1ds", MUX_STATUS},
                {"\x1dp", MUX_STOP},
                {"\x1dk", MUX_KILL},
                {"\x1dr", MUX_RESTART},
                {"\x1d"
                 "c",
                 MUX_LINK},
                {"\x1d"
                 "b",
                 MUX_START},
                {"\x1dq", MUX_NO_COMMAND}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        start(3);
        type("\x1dn");
        type(rows[i].keys);
        assert_int_equal(f.mux.command, rows[i].command);
        assert_true(rows[i].command == MUX_NO_COMMAND || rows[i].command == MUX_STATUS || f.mux.command_source == 1);
    }
}

static void the_machine_is_switched_off_after_two_keys(void **state)
{
    (void)state;
    start(1);
    type("\x1dqx\x1dq");
    assert_int_equal(f.mux.command, MUX_NO_COMMAND);
    type("\x1ds");
    f.mux.command = MUX_NO_COMMAND;
    type("\x1dq\x1dq");
    assert_int_equal(f.mux.command, MUX_POWEROFF);
}

static void help_lists_every_key(void **state)
{
    static const char keys[] = "nNslLmopkrbq?";

    (void)state;
    start(1);
    type("\x1d?");
    f.bytes[f.output.length] = '\0';
    for (size_t i = 0; keys[i] != '\0'; i++) {
        char wanted[4] = {' ', keys[i], i == sizeof(keys) ? ',' : ':', '\0'};

        assert_true(strstr(f.bytes, wanted) != NULL || (keys[i] == 'q' && strstr(f.bytes, "q, twice:") != NULL));
    }
}

/* A key may choose a guest that does not run; the focus stays there until it is moved. */
static void a_stopped_guest_can_be_chosen(void **state)
{
    (void)state;
    start(3);
    mux_set_running(&f.mux, 1, false, &f.output);
    type("\x1d"
         "2");
    assert_int_equal(f.mux.focus, 1);
    mux_set_running(&f.mux, 2, true, &f.output);
    assert_int_equal(f.mux.focus, 1);
    type("x\x1d"
         "b");
    assert_int_equal(f.mux.command, MUX_START);
    assert_int_equal(f.mux.command_source, 1);
    expect_input(1, "");
    type("\x1dN");
    assert_int_equal(f.mux.focus, 2);
    type("\x1d"
         "9");
    assert_int_equal(f.mux.focus, 2);
}

static void a_muted_guest_is_kept_and_not_shown(void **state)
{
    (void)state;
    start(2);
    type("\x1dn\x1dm\x1dn");
    f.output.length = 0;
    guest_writes(1, "quiet\n");
    guest_writes(0, "loud\n");
    pump();
    expect("[alpha] loud\r\n");
    type("\x1dn\x1dl");
    f.output.length = 0;
    pump();
    expect("plinth:   | [beta] quiet\r\nplinth: end of the last lines\r\n");
    type("\x1dm");
    f.output.length = 0;
    guest_writes(1, "again\n");
    pump();
    expect("[beta] again\r\n");
}

static void solo_shows_the_focused_guest_only(void **state)
{
    (void)state;
    start(2);
    type("\x1do");
    f.output.length = 0;
    guest_writes(1, "other\n");
    guest_writes(0, "mine\n");
    pump();
    expect("[alpha] mine\r\n");
    type("\x1do");
    f.output.length = 0;
    guest_writes(1, "back\n");
    pump();
    expect("[beta] back\r\n");
}

static void a_muted_single_guest_comes_back_between_sequences(void **state)
{
    (void)state;
    start(1);
    type("\x1dm");
    f.output.length = 0;
    guest_writes(0, "hidden\r\n\x1b[3");
    pump();
    expect("");
    type("\x1dm");
    f.output.length = 0;
    guest_writes(0, "1mred\r\n");
    pump();
    f.bytes[f.output.length] = '\0';
    assert_null(strstr(f.bytes, "1mred"));
    assert_non_null(strstr(f.bytes, "red\r\n"));
}

static void the_last_lines_are_the_last_twenty(void **state)
{
    uint32_t lines = 0;

    (void)state;
    start(2);
    for (uint32_t i = 0; i < 30; i++) {
        char text[32];

        (void)snprintf(text, sizeof(text), "line %u\n", i);
        guest_writes(0, text);
    }
    pump();
    mux_say(&f.mux, "plinth: own", &f.output);
    type("\x1dl");
    f.output.length = 0;
    pump();
    f.bytes[f.output.length] = '\0';
    for (const char *at = f.bytes; (at = strstr(at, "plinth:   | [alpha] line")) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, HISTORY_LINES);
    assert_non_null(strstr(f.bytes, "line 10\r\n"));
    assert_null(strstr(f.bytes, "line 9\r\n"));
    type("\x1dL");
    f.output.length = 0;
    pump();
    f.bytes[f.output.length] = '\0';
    assert_non_null(strstr(f.bytes, "plinth:   | plinth: own\r\n"));
}

static void the_reason_of_a_panic_is_kept_until_the_guest_begins_again(void **state)
{
    (void)state;
    start(2);
    guest_writes(1, "[    1.0] Kernel panic - not syncing: sysrq triggered crash\r\n---[ end Kernel panic - not "
                    "syncing: x ]---\r\n");
    pump();
    assert_string_equal(f.sources[1].reason, "sysrq triggered crash");
    mux_set_running(&f.mux, 1, false, &f.output);
    assert_string_equal(f.sources[1].reason, "sysrq triggered crash");
    mux_set_running(&f.mux, 1, true, &f.output);
    assert_string_equal(mux_panic_reason(&f.sources[1]), "");
}

/* Printed long before its end, it is not the reason of it. */
static void an_old_reason_is_none(void **state)
{
    (void)state;
    start(2);
    guest_writes(1, "panic: quoted\n");
    pump();
    assert_string_equal(mux_panic_reason(&f.sources[1]), "quoted");
    for (uint32_t i = 0; i <= MUX_REASON_LINES; i++) {
        guest_writes(1, "x\n");
        pump();
    }
    assert_string_equal(mux_panic_reason(&f.sources[1]), "");
    guest_writes(1, "panic: real\n");
    pump();
    assert_string_equal(mux_panic_reason(&f.sources[1]), "real");
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
        cmocka_unit_test(the_last_line_before_a_restart_is_a_line_of_its_own),
        cmocka_unit_test(the_only_guests_last_line_before_a_restart_is_a_line_of_its_own),
        cmocka_unit_test(the_focus_returns_when_a_guest_starts_while_none_ran),
        cmocka_unit_test(a_shown_incomplete_line_is_not_shown_twice_after_the_focus_moved),
        cmocka_unit_test(a_guest_without_console_is_silent_and_gets_no_keys),
        cmocka_unit_test(typed_bytes_beyond_a_full_ring_are_counted),
        cmocka_unit_test(random_interleavings_lose_and_mix_nothing),
        cmocka_unit_test(half_a_line_is_not_lost_when_the_focus_passes_through),
        cmocka_unit_test(a_line_that_was_shown_in_part_is_shown_whole_when_it_is_complete),
        cmocka_unit_test(a_muted_guests_open_line_is_among_its_last_lines),
        cmocka_unit_test(every_complete_line_stands_whole_in_a_row),
        cmocka_unit_test(text_tabs_and_colours_pass),
        cmocka_unit_test(what_a_terminal_would_answer_does_not_pass),
        cmocka_unit_test(titles_palettes_and_modes_do_not_pass),
        cmocka_unit_test(nothing_leads_over_the_prefix),
        cmocka_unit_test(a_line_editor_works_in_the_focused_line),
        cmocka_unit_test(an_edited_line_is_shown_again_as_it_is),
        cmocka_unit_test(a_string_without_an_end_hides_one_line_of_its_guest),
        cmocka_unit_test(the_parser_of_one_guest_does_not_touch_another),
        cmocka_unit_test(what_the_hypervisor_quotes_is_harmless),
        cmocka_unit_test(a_flood_leaves_room_for_the_others),
        cmocka_unit_test(a_muted_flood_ends_a_call),
        cmocka_unit_test(a_full_screen_is_drawn_on_the_alternate_screen),
        cmocka_unit_test(a_line_of_another_leaves_the_full_screen_and_it_comes_back),
        cmocka_unit_test(a_page_that_would_scroll_becomes_lines),
        cmocka_unit_test(a_guest_that_ends_leaves_its_page_as_lines),
        cmocka_unit_test(a_page_below_an_alternate_one_becomes_lines),
        cmocka_unit_test(another_guests_screen_is_lines),
        cmocka_unit_test(a_row_that_looks_like_a_line_of_ours_is_marked),
        cmocka_unit_test(the_hypervisors_line_is_bare_after_text),
        cmocka_unit_test(the_terminal_is_brought_back_before_the_hypervisors_line),
        cmocka_unit_test(a_lost_terminal_is_brought_back),
        cmocka_unit_test(the_rest_of_an_interrupted_sequence_is_not_text),
        cmocka_unit_test(keys_ask_for_what_they_say),
        cmocka_unit_test(the_machine_is_switched_off_after_two_keys),
        cmocka_unit_test(help_lists_every_key),
        cmocka_unit_test(a_stopped_guest_can_be_chosen),
        cmocka_unit_test(a_muted_guest_is_kept_and_not_shown),
        cmocka_unit_test(solo_shows_the_focused_guest_only),
        cmocka_unit_test(a_muted_single_guest_comes_back_between_sequences),
        cmocka_unit_test(the_last_lines_are_the_last_twenty),
        cmocka_unit_test(the_reason_of_a_panic_is_kept_until_the_guest_begins_again),
        cmocka_unit_test(an_old_reason_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
