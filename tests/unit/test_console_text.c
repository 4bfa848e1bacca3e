/* SPDX-License-Identifier: MIT */
/*
 * The console's short way for text does what the long way does: what a lone guest writes is taken from the same state
 * twice, in runs by take_step() and byte by byte by pass_byte(), and the multiplexer, the source and the output are
 * compared.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/console/console_mux.c"

#include "tests/unit/random.h"

#include <string.h>

#define ROUNDS 20000u
#define BYTES_MAX 80u

static struct state {
    struct console_mux mux;
    struct mux_source source;
    struct mux_output output;
} now, before, taken;
static struct byte_ring out, in;
static char bytes[65536];
static char bytes_taken[65536];

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

/* Mostly text; one of `rare` is of line ends, sequences, characters of several bytes, other sets, and broken ones. */
static uint8_t random_byte(uint32_t rare)
{
    static const char others[] =
        "\r\n\r\n\t\b\x1b[m\x1b[31;1m\x1b(0\x0e\x0f\x1b]0;t\x07\x18\x7f\xc3\xa4\xe2\x94\x80\xff\x9b";

    return random_below(rare) != 0 ? (uint8_t)(' ' + random_below(95))
                                   : (uint8_t)others[random_below(sizeof(others) - 1)];
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

/* What a guest wrote, anywhere in its ring, which ends in the midst of it at times. */
static uint32_t write_some(uint8_t written[BYTES_MAX])
{
    uint32_t count = 1 + random_below(BYTES_MAX);
    uint32_t rare = random_below(2) == 0 ? 4 : 64;

    out.head = out.tail = random_below(16) == 0 ? BYTE_RING_BYTES - random_below(BYTES_MAX) : random_below(100000);
    for (uint32_t i = 0; i < count; i++) {
        written[i] = random_byte(rare);
        assert_true(byte_ring_put(&out, written[i]));
    }
    return count;
}

/* As take_turns() does, whose steps are as long as the turn. How many were taken in runs. */
static uint32_t take_all(uint64_t time)
{
    uint32_t in_runs = 0;

    while (byte_ring_count(&out) != 0) {
        uint32_t limit = 1 + random_below(MUX_RUN_BYTES);
        uint32_t step = take_step(&now.mux, &now.source, limit, time, &now.output);

        assert_in_range(step, 1, limit);
        in_runs += step > 1 ? step : 0;
    }
    return in_runs;
}

static void text_goes_both_ways_alike(void **state)
{
    uint32_t all = 0;
    uint32_t in_runs = 0;

    (void)state;
    start();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint8_t written[BYTES_MAX];
        uint32_t count = write_some(written);

        if (random_below(16) == 0) {
            disturb();
        }
        now.output.length = 0;
        before = now;
        in_runs += take_all(round);
        taken = now;
        memcpy(bytes_taken, bytes, sizeof(bytes));
        now = before;
        for (uint32_t i = 0; i < count; i++) {
            pass_byte(&now.mux, &now.source, written[i], round, &now.output);
        }
        assert_memory_equal(&taken.mux, &now.mux, sizeof(now.mux));
        assert_memory_equal(&taken.source, &now.source, sizeof(now.source));
        assert_int_equal(taken.output.length, now.output.length);
        assert_true(vt_style_equal(taken.output.style, now.output.style));
        assert_memory_equal(bytes_taken, bytes, now.output.length);
        all += count;
    }
    assert_true(in_runs > all / 8); /* else the long way is compared with itself */
    assert_true(in_runs < all - all / 8);
}

/* A run ends where the output has no room for another step, and where the line has no cell. */
static void a_run_is_no_longer_than_there_is_room(void **state)
{
    (void)state;
    start();
    out.head = out.tail = 0;
    for (uint32_t i = 0; i < LINE_CELLS + 10; i++) {
        assert_true(byte_ring_put(&out, 'x'));
    }
    assert_int_equal(take_step(&now.mux, &now.source, 9, 0, &now.output), 1); /* the line begins */
    now.output.capacity = now.output.length + MUX_STEP_MAX + 4;
    assert_int_equal(take_step(&now.mux, &now.source, 9, 0, &now.output), 5);
    assert_false(has_room(&now.output));
    now.output.capacity = sizeof(bytes);
    assert_int_equal(take_step(&now.mux, &now.source, 4096, 0, &now.output), LINE_CELLS - 6);
    assert_int_equal(now.source.line.length, LINE_CELLS);
    assert_int_equal(take_step(&now.mux, &now.source, 4096, 0, &now.output), 1);
    assert_int_equal(byte_ring_count(&out), 9);
}

/* Behind every number of characters, and of those with which a sign's word begins. */
static void a_reason_is_found_wherever_it_stands_in_a_line(void **state)
{
    static const char *const signs[] = {"Kernel panic - not syncing: ", "panic: "};
    static const char *const none[] = {"kernel panic - not syncing: ", "Kernel panic", "panic:", "anic: "};
    char text[HISTORY_LINE_MAX];

    (void)state;
    for (uint32_t first = 0; first < 40; first++) {
        for (uint32_t i = 0; i < ARRAY_COUNT(signs); i++) {
            char filling = first % 3 == 0 ? 'p' : 'x';
            size_t end = first + strlen(signs[i]);

            memset(text, filling, first);
            strcpy(text + first, signs[i]);
            strcpy(text + end, i == 0 ? "why" : "");
            assert_ptr_equal(reason_in(text, (uint32_t)strlen(text)), text + end);
        }
        for (uint32_t i = 0; i < ARRAY_COUNT(none); i++) {
            memset(text, 'P', first);
            strcpy(text + first, none[i]);
            assert_null(reason_in(text, (uint32_t)strlen(text)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_goes_both_ways_alike),
        cmocka_unit_test(a_reason_is_found_wherever_it_stands_in_a_line),
        cmocka_unit_test(a_run_is_no_longer_than_there_is_room),
    };

    return cmocka_run_group_tests_name("the console's short way for text", tests, NULL, NULL);
}
