/* SPDX-License-Identifier: MIT */
/* Promises of the console to its operator, whatever guests print: console_promises.h, with programs made at random. */
#include "tests/unit/console_promises.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define PROGRAM_BYTES 3000u
#define PROGRAMS 1500u

static struct promises p;
static uint32_t seed;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* What attackers and full-screen programs are made of. */
static const char *const pieces[] = {
    "\x1b[",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[H",
    "\x1b[2J",
    "\x1b[K",
    "\x1b[1K",
    "\x1b[2K",
    "\x1b[J",
    "\x1b]0;",
    "\x1bP",
    "\x1b\\",
    "\x1b[6n",
    "\x1b[c",
    "\x05",
    "\x1b[5A",
    "\x1b[3B",
    "\x1b[200C",
    "\x1b[200D",
    "\x1b[1G",
    "\x1b[999;999H",
    "\x1b[2;5r",
    "\x1bM",
    "\x1b"
    "D",
    "\x1b"
    "7",
    "\x1b"
    "8",
    "\x1b[4h",
    "\x1b[10@",
    "\x1b[10P",
    "\x1b[10X",
    "\x1b[3L",
    "\x1b[3M",
    "\x1b[31m",
    "\x1b[7;44m",
    "\x1b[38;5;200m",
    "\x1b[38;2;1;2;3m",
    "\x1b[0m",
    "\x1b[8m",
    "\b\b\b\b\b\b\b\b\b\b",
    "\r",
    "\n",
    "\r\n",
    "\t\t\t\t\t\t\t\t\t\t\t\t",
    "plinth: error: panic",
    "plinth: N0.",
    "[bank] hello",
    "[meter]",
    "plinth:",
    "\x9b"
    "6n",
    "\xc2\x9b"
    "6n",
    "\xc3",
    "\xa4",
    "\xe2\x82\xac",
    "\xe4\xb8\xad\xe4\xb8\xad",
    "\xf0\x9f\x98\x80",
    "\xcc\x81",
    "\xe2\x80\xae",
    "\x1b(0lqqqk\x1b(B",
    "\x0e",
    "\x0f",
    "\x18",
    "\x1a",
    "\x7f",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "\x1b[20b",
    "\x1b"
    "c",
    "\x1b[5i",
    "\x1b[?2l",
    "\x1b[!p",
    "\x1b[?25l",
    "\x1b[?1h",
    "\x1b[3;1Hplinth: ok",
    "\x1b[1;1H  [a] ",
    "\x1b[24;1H\n",
};

/* Writes one piece as steps of a guest. */
static size_t put_piece(uint8_t *program, size_t room, uint32_t guest, const char *piece)
{
    size_t length = strlen(piece);
    size_t used = 0;

    for (size_t at = 0; at < length; at += 15) {
        size_t some = length - at < 15 ? length - at : 15;

        if (used + 1 + some > room) {
            return used;
        }
        /* The low bits choose the guest (4 to 6), bit 3 whether the console is pumped then, the high ones the count. */
        program[used++] = (uint8_t)(some << 4 | (next_random(3) == 0 ? 8u : 0u) | (4u + (guest + 2) % 3));
        memcpy(&program[used], piece + at, some);
        used += some;
    }
    return used;
}

static size_t make_program(uint8_t *program)
{
    size_t used = 0;

    while (used + 128 < PROGRAM_BYTES) {
        uint32_t kind = next_random(20);

        if (kind < 12) {
            used += put_piece(&program[used], PROGRAM_BYTES - used, next_random(3),
                              pieces[next_random(sizeof(pieces) / sizeof(pieces[0]))]);
        } else if (kind < 14) {
            for (uint32_t i = 0; i < 12; i++) {
                program[used++] = (uint8_t)next_random(256);
            }
        } else if (kind == 14) {
            program[used++] = 1; /* a key for the hypervisor: two typed bytes */
            program[used++] = MUX_ESCAPE_KEY;
            program[used++] = 1;
            program[used++] = (uint8_t) "nnNmolL1234sqx"[next_random(14)];
        } else {
            program[used++] = (uint8_t)(next_random(32) * 8 + next_random(3));
        }
    }
    return used;
}

static void the_promises_hold_whatever_guests_print(void **state)
{
    static const uint32_t widths[] = {80, 132, 40, 33, 24, 100};
    static uint8_t program[PROGRAM_BYTES];

    (void)state;
    for (uint32_t i = 0; i < PROGRAMS; i++) {
        size_t bytes;

        seed = 77u + i;
        bytes = make_program(program);
        if (promises_run(&p, program, bytes, widths[i % 6])[0] != '\0') {
            fail_msg("program %u: %s", i, p.broken);
        }
    }
}

/* The check itself can fail: each promise is broken once by hand. */
static void the_check_sees_what_breaks_a_promise(void **state)
{
    static const char *const wrongs[] = {"\x1b[6n",
                                         "\x1b]0;",
                                         "\xc2\x9b",
                                         "\x1b[5A",
                                         "\x1b[2J",
                                         "nameless\r\n",
                                         "\x1b[1Gplinth: N7.\r\n",
                                         "\x1b[31mplinth: N1.\r\n",
                                         "\x05",
                                         "\x1b",
                                         "\x1b[?1049h\x1b[1;1Hplinth: x"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        promises_start(&p, 80);
        promise_say(&p);
        assert_string_equal(p.broken, "");
        output_text(&p.output, wrongs[i]);
        promise_deliver(&p);
        if (p.broken[0] == '\0') {
            fail_msg("wrong %zu was not seen", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_promises_hold_whatever_guests_print),
        cmocka_unit_test(the_check_sees_what_breaks_a_promise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
