/* SPDX-License-Identifier: MIT */
/*
 * The console's short way for text does what the long way does: each byte that a lone guest writes is taken from the
 * same state twice, by take_byte() and by pass_byte(), and the multiplexer, the source and the output are compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/console/console_mux.c"

#include "tests/unit/random.h"

#include <string.h>

#define ROUNDS 200000u

static struct state {
    struct console_mux mux;
    struct mux_source source;
    struct mux_output output;
} now, before, taken;
static struct byte_ring out, in;
static char bytes[4096];
static char bytes_taken[4096];

static uint32_t random_below(uint32_t limit)
{
    return random_next() % limit;
}

static void start(void)
{
    memset(&now, 0, sizeof(now));
    mux_init(&now.mux);
    now.source = (struct mux_source){.name = "alone", .out = &out, .in = &in, .console = true};
    assert_true(mux_add(&now.mux, &now.source));
    now.output = (struct mux_output){.bytes = bytes, .capacity = sizeof(bytes)};
}

/* Mostly text; line ends, sequences, characters of several bytes, other sets, and what is broken. */
static uint8_t random_byte(void)
{
    static const char rare[] =
        "\r\n\r\n\t\b\x1b[m\x1b[31;1m\x1b(0\x0e\x0f\x1b]0;t\x07\x18\x7f\xc3\xa4\xe2\x94\x80\xff\x9b";

    return random_below(4) != 0 ? (uint8_t)(' ' + random_below(95)) : (uint8_t)rare[random_below(sizeof(rare) - 1)];
}

/* Another line in between, or the guest is muted, or it is not. */
static void disturb(void)
{
    if (random_below(16) == 0) {
        mux_say(&now.mux, "a line", &now.output);
    }
    if (random_below(8) == 0) {
        now.source.muted = !now.source.muted;
    }
}

static void text_goes_both_ways_alike(void **state)
{
    uint32_t quick = 0;

    (void)state;
    start();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint8_t byte = random_byte();

        if (random_below(64) == 0) {
            disturb();
        }
        now.output.length = 0;
        before = now;
        take_byte(&now.mux, &now.source, byte, round, &now.output);
        taken = now;
        memcpy(bytes_taken, bytes, sizeof(bytes));
        now = before;
        quick += pass_text(&now.mux, &now.source, byte, round, &now.output) ? 1 : 0;
        now = before;
        pass_byte(&now.mux, &now.source, byte, round, &now.output);
        assert_memory_equal(&taken.mux, &now.mux, sizeof(now.mux));
        assert_memory_equal(&taken.source, &now.source, sizeof(now.source));
        assert_int_equal(taken.output.length, now.output.length);
        assert_true(vt_style_equal(taken.output.style, now.output.style));
        assert_memory_equal(bytes_taken, bytes, now.output.length);
    }
    assert_true(quick > ROUNDS / 8); /* else the long way is compared with itself */
    assert_true(quick < ROUNDS - ROUNDS / 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_goes_both_ways_alike),
    };

    return cmocka_run_group_tests_name("the console's short way for text", tests, NULL, NULL);
}
