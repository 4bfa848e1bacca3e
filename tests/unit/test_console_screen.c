/* SPDX-License-Identifier: MIT */
/* Promises of hv/console/console_screen.h: what was written is what is drawn, nothing is drawn outside, work is
 * bounded. */
#include "hv/console/console_screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH 320u /* 40 columns */
#define HEIGHT 96u /* 6 rows */
#define STRIDE 330u
#define GUARD 0xa5u

static struct screen screen;
static uint8_t font[95][16]; /* every row of a character's dots is its code */
static uint8_t memory[STRIDE * HEIGHT * 4 + 4096];

static void start(uint32_t bytes_per_pixel, uint64_t bytes)
{
    struct screen_pixels pixels = {
        .base = memory,
        .bytes = bytes,
        .width = WIDTH,
        .height = HEIGHT,
        .stride_pixels = STRIDE,
        .bytes_per_pixel = bytes_per_pixel,
        .foreground = 0x00ffffff,
    };

    for (uint32_t i = 0; i < 95; i++) {
        memset(font[i], i == 0 ? 0 : (int)(0x20 + i), 16); /* a space is blank, as in any font */
    }
    memset(memory, GUARD, sizeof(memory));
    screen_init(&screen, &pixels, font, 95);
}

static void write_text(const char *text)
{
    while (*text != '\0') {
        screen_put(&screen, (uint8_t)*text++);
    }
}

static void expect_row(uint32_t row, const char *text)
{
    char wanted[SCREEN_COLUMNS_MAX + 1];

    memset(wanted, ' ', sizeof(wanted));
    memcpy(wanted, text, strlen(text));
    assert_memory_equal(screen.wanted[row], wanted, screen.columns);
}

/* The code that the dots of a cell show; every dot row must agree. */
static uint8_t seen(uint32_t row, uint32_t column, uint32_t bytes_per_pixel)
{
    uint8_t code = 0;

    for (uint32_t y = 0; y < 16; y++) {
        uint8_t dots = 0;

        for (uint32_t x = 0; x < 8; x++) {
            const uint8_t *pixel = memory + ((row * 16 + y) * STRIDE + column * 8 + x) * bytes_per_pixel;

            dots = (uint8_t)(dots << 1 | (pixel[0] != 0 ? 1 : 0));
        }
        assert_true(y == 0 || dots == code);
        code = dots;
    }
    return code;
}

static void the_grid_is_as_large_as_the_pixels_allow(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    assert_int_equal(screen.columns, 40);
    assert_int_equal(screen.rows, 6);
}

static void written_text_is_drawn_in_every_pixel_size(void **state)
{
    (void)state;
    for (uint32_t bytes = 2; bytes <= 4; bytes++) {
        start(bytes, sizeof(memory));
        write_text("Hi\r\nthere");
        assert_true(screen_draw(&screen, UINT32_MAX));
        assert_int_equal(seen(0, 0, bytes), 'H');
        assert_int_equal(seen(0, 1, bytes), 'i');
        assert_int_equal(seen(1, 4, bytes), 'e');
        assert_int_equal(seen(5, 39, bytes), 0);
    }
}

static void pixels_beyond_the_visible_width_stay_alone(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    (void)screen_draw(&screen, UINT32_MAX);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = WIDTH * 4; x < STRIDE * 4; x++) {
            assert_int_equal(memory[y * STRIDE * 4 + x], GUARD);
        }
    }
}

static void nothing_is_drawn_beyond_the_framebuffers_bytes(void **state)
{
    const uint64_t bytes = STRIDE * 4 * 20 + 100; /* ends in the second row of cells */

    (void)state;
    start(4, bytes);
    for (uint32_t i = 0; i < 40; i++) {
        write_text("XXXXXX");
    }
    assert_true(screen_draw(&screen, UINT32_MAX));
    for (uint64_t i = bytes; i < sizeof(memory); i++) {
        assert_int_equal(memory[i], GUARD);
    }
}

static void drawing_is_bounded_and_ends(void **state)
{
    uint32_t calls = 1;

    (void)state;
    start(4, sizeof(memory));
    for (uint32_t i = 0; i < 40; i++) {
        write_text("xx");
    }
    while (!screen_draw(&screen, 7)) {
        calls++;
    }
    assert_in_range(calls, (80 + 6) / 7, 80);
    assert_true(screen_draw(&screen, 0)); /* nothing is left */
    write_text("a");
    assert_false(screen_draw(&screen, 0));
    for (calls = 1; !screen_draw(&screen, 1); calls++) { /* looks are counted, too: not all cells in one call */
    }
    assert_in_range(calls, 2, screen.rows * screen.columns);
}

static void what_changes_behind_a_pass_is_drawn_by_the_next(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("abcdefgh");
    assert_false(screen_draw(&screen, 4));
    write_text("\rX"); /* where the pass has been */
    while (!screen_draw(&screen, 4)) {
    }
    assert_true(screen.dirty);
    while (!screen_draw(&screen, 4)) {
    }
    assert_false(screen.dirty);
    assert_int_equal(seen(0, 0, 4), 'X');
}

static void the_last_line_scrolls(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7");
    expect_row(0, "2");
    expect_row(5, "7");
    assert_true(screen_draw(&screen, UINT32_MAX));
    assert_int_equal(seen(0, 0, 4), '2');
}

static void long_lines_wrap(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("0123456789012345678901234567890123456789");
    assert_int_equal(screen.row, 0); /* not before the next character */
    write_text("ab");
    expect_row(1, "ab");
}

static void cursor_moves_and_erasing_work(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("hello world\r\x1b[5Cxx\x1b[2D--\x1b[K");
    expect_row(0, "hello--");
    write_text("\x1b[2;3Hab\x1b[A^\x1b[3;1Hzzz\x1b[1K");
    expect_row(1, "  ab");
    expect_row(0, "hell^--");
    expect_row(2, "");
    write_text("\x1b[2J\x1b[Htop");
    expect_row(0, "top");
    expect_row(1, "");
}

static void colours_and_titles_leave_no_trace(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("\x1b[1;32mgreen\x1b[0m\x1b]0;title\x07 \x1b(Bplain\x1b[?25h");
    expect_row(0, "green plain");
}

static void a_character_beyond_ascii_takes_one_cell(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("a\xc3\xa4\xe2\x82\xac"
               "b");
    expect_row(0, "a??b");
}

static void random_bytes_never_leave_the_grid(void **state)
{
    uint32_t seed = 99;

    (void)state;
    start(4, sizeof(memory));
    for (uint32_t i = 0; i < 2000000; i++) {
        seed = seed * 1664525u + 1013904223u;
        screen_put(&screen, (seed >> 28) < 3 ? 0x1b : (seed >> 28) < 5 ? '[' : (uint8_t)(seed >> 20));
        assert_true(screen.row < screen.rows && screen.column <= screen.columns);
    }
    assert_true(screen_draw(&screen, UINT32_MAX));
    for (uint32_t row = 0; row < screen.rows; row++) {
        for (uint32_t column = 0; column < screen.columns; column++) {
            assert_true(screen.wanted[row][column] >= 0x20 && screen.wanted[row][column] <= 0x7e);
        }
    }
}

static void no_screen_means_no_work(void **state)
{
    struct screen_pixels none = {0};

    (void)state;
    screen_init(&screen, &none, font, 95);
    write_text("text");
    assert_true(screen_draw(&screen, UINT32_MAX));
}

static void large_screens_have_large_letters_and_a_panic_larger_ones(void **state)
{
    static const struct {
        uint32_t width, height, scale, columns, panic_scale;
    } screens[] = {{640, 480, 1, 80, 1},    {800, 600, 1, 100, 1},   {1280, 800, 1, 160, 2}, {1920, 1080, 1, 240, 2},
                   {2560, 1440, 2, 160, 2}, {3840, 2160, 3, 160, 3}, {3200, 1800, 3, 133, 3}};

    (void)state;
    for (size_t i = 0; i < sizeof(screens) / sizeof(screens[0]); i++) {
        struct screen_pixels pixels = {.base = memory,
                                       .width = screens[i].width,
                                       .height = screens[i].height,
                                       .stride_pixels = screens[i].width,
                                       .bytes_per_pixel = 4};

        screen_init(&screen, &pixels, font, 95); /* no bytes: nothing is drawn */
        assert_int_equal(screen.scale, screens[i].scale);
        assert_int_equal(screen.columns, screens[i].columns);
        write_text("before");
        screen_set_status(&screen, 0, 1, "guest runs");
        screen_enlarge(&screen);
        assert_int_equal(screen.scale, screens[i].panic_scale);
        assert_true(screen.columns >= 80 && screen.rows >= 24);
        if (screens[i].panic_scale != screens[i].scale) {
            write_text("report");
            expect_row(0, "report");
            assert_int_equal(screen.status_rows, 0);
        }
    }
}

static void status_lines_stay_while_text_scrolls_above_them(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("one\r\ntwo\r\nthree\r\nfour\r\nfive\r\nsix");
    screen_set_status(&screen, 0, 1, "guest runs");
    assert_int_equal(screen.rows + screen.status_rows, 6);
    assert_int_equal(screen.status_rows, 1); /* a quarter of six rows: only the line of dashes */
    expect_row(screen.rows - 1, "six");
    write_text("\r\nseven");
    expect_row(screen.rows - 1, "seven");
    expect_row(0, "three");
    assert_int_equal(screen.wanted[screen.rows][0], '-');
    assert_true(screen_draw(&screen, UINT32_MAX));
    assert_int_equal(seen(screen.rows, 0, 4), '-');
}

static void a_status_line_is_replaced_and_erasing_the_text_leaves_it(void **state)
{
    struct screen_pixels pixels = {.base = memory,
                                   .bytes = sizeof(memory),
                                   .width = 80,
                                   .height = 256, /* 16 rows */
                                   .stride_pixels = 80,
                                   .bytes_per_pixel = 4,
                                   .foreground = 0x00ffffff};

    (void)state;
    start(4, sizeof(memory));
    screen_init(&screen, &pixels, font, 95);
    screen_set_status(&screen, 0, 2, "first runs");
    screen_set_status(&screen, 1, 2, "second runs for long");
    screen_set_status(&screen, 0, 2, "first ends");
    assert_int_equal(screen.rows, 13);
    expect_row(14, "first ends");
    expect_row(15, "second run"); /* cut at the screen's edge */
    write_text("\x1b[2J\x1b[99;1Hlast");
    expect_row(12, "last");
    expect_row(14, "first ends");
    screen_set_status(&screen, 7, 2, "nowhere");
    expect_row(15, "second run");
}

/* What a guest leaves unfinished ends with its line: the next one is read. */
static void an_unfinished_string_hides_no_later_line(void **state)
{
    static const char *const unfinished[] = {"\x1b]0;", "\x1bP", "\x1bX", "\x1b^", "\x1b_"};

    (void)state;
    for (size_t i = 0; i < sizeof(unfinished) / sizeof(unfinished[0]); i++) {
        start(4, sizeof(memory));
        write_text("a");
        write_text(unfinished[i]);
        write_text("x\r\nplinth: shown");
        expect_row(0, "a");
        expect_row(1, "plinth: shown");
        write_text("\x1b]0;\x18now");
        expect_row(1, "plinth: shownnow");
    }
}

static void the_alternate_screen_gives_the_main_one_back(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("one\r\ntwo\x1b[?1049h\x1b[3;1Hother\x1b[6;1H\n\n");
    expect_row(0, "other");
    write_text("\x1b[?1049l!");
    expect_row(0, "one");
    expect_row(1, "two!");
    expect_row(2, "");
}

static void without_autowrap_a_row_ends_at_the_margin(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("\x1b[?7l0123456789012345678901234567890123456789xyz");
    expect_row(0, "012345678901234567890123456789012345678z");
    expect_row(1, "");
    write_text("\x1b[?7hw");
    expect_row(1, "w");
}

/* Before a panic's report: whatever was written, what comes is text below what is there. */
static void a_screen_recovers_from_anything(void **state)
{
    static const char *const states[] = {"\x1b]0;",    "\x1b[3",   "\x1b[?1049h\x1b[2;2Hx",
                                         "\x1b[1;30H", "\x1b[?7l", "\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        start(4, sizeof(memory));
        write_text("one\r\ntwo\r\n");
        write_text(states[i]);
        screen_recover(&screen);
        write_text("plinth: panic");
        expect_row(0, "one");
        expect_row(1, "two");
        expect_row(2, "plinth: panic");
    }
    start(4, sizeof(memory));
    write_text("1\r\n2\r\n3\r\n4\r\n5\r\n6");
    screen_recover(&screen);
    write_text("plinth: panic");
    expect_row(4, "6");
    expect_row(5, "plinth: panic");
}

static void the_top_row_is_painted_anew_and_nothing_else(void **state)
{
    (void)state;
    start(4, sizeof(memory));
    write_text("AB\r\nC");
    assert_true(screen_draw(&screen, UINT32_MAX));
    memset(memory, GUARD, sizeof(memory));
    assert_int_equal(screen_repaint_top(&screen), WIDTH * 16 * 4);
    assert_int_equal(seen(0, 1, 4), 'B');
    for (uint32_t i = STRIDE * 16 * 4; i < sizeof(memory); i++) {
        assert_int_equal(memory[i], GUARD);
    }
    memset(&screen, 0, sizeof(screen));
    assert_int_equal(screen_repaint_top(&screen), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grid_is_as_large_as_the_pixels_allow),
        cmocka_unit_test(written_text_is_drawn_in_every_pixel_size),
        cmocka_unit_test(pixels_beyond_the_visible_width_stay_alone),
        cmocka_unit_test(nothing_is_drawn_beyond_the_framebuffers_bytes),
        cmocka_unit_test(drawing_is_bounded_and_ends),
        cmocka_unit_test(what_changes_behind_a_pass_is_drawn_by_the_next),
        cmocka_unit_test(the_last_line_scrolls),
        cmocka_unit_test(long_lines_wrap),
        cmocka_unit_test(cursor_moves_and_erasing_work),
        cmocka_unit_test(colours_and_titles_leave_no_trace),
        cmocka_unit_test(a_character_beyond_ascii_takes_one_cell),
        cmocka_unit_test(random_bytes_never_leave_the_grid),
        cmocka_unit_test(no_screen_means_no_work),
        cmocka_unit_test(large_screens_have_large_letters_and_a_panic_larger_ones),
        cmocka_unit_test(status_lines_stay_while_text_scrolls_above_them),
        cmocka_unit_test(a_status_line_is_replaced_and_erasing_the_text_leaves_it),
        cmocka_unit_test(an_unfinished_string_hides_no_later_line),
        cmocka_unit_test(the_alternate_screen_gives_the_main_one_back),
        cmocka_unit_test(without_autowrap_a_row_ends_at_the_margin),
        cmocka_unit_test(a_screen_recovers_from_anything),
        cmocka_unit_test(the_top_row_is_painted_anew_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
