/* SPDX-License-Identifier: MIT */
/* Promises of hv/console/console_page.h: full-screen programs find a terminal of 24 rows and 80 columns, or the one that
 * they believe in; and what has changed is known. */
#include "hv/console/console_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct console_page page;
static struct vt_parser parser;
static enum page_result last;

static void put(const char *bytes)
{
    for (; *bytes != '\0'; bytes++) {
        enum vt_event event = vt_parse(&parser, (uint8_t)*bytes);

        if (event != VT_NOTHING) {
            last = page_take(&page, event, &parser);
        }
    }
}

static void start(const char *bytes)
{
    vt_parser_reset(&parser);
    memset(&page, 0, sizeof(page));
    page_open(&page, true, (struct vt_style){0});
    put(bytes);
}

static void expect_row(uint32_t row, const char *text)
{
    char found[PAGE_COLUMNS + 1];
    uint32_t length = page_row_length(&page, row);

    for (uint32_t column = 0; column < length; column++) {
        uint16_t character = page.cells[row][column].character;

        found[column] = (char)(character < 0x80 ? character : '~');
    }
    found[length] = '\0';
    assert_string_equal(found, text);
}

static void expect_cursor(uint32_t row, uint32_t column)
{
    assert_int_equal(page.cursor.row, row);
    assert_int_equal(page.cursor.column, column);
}

static void text_goes_where_the_cursor_is(void **state)
{
    (void)state;
    start("one\r\ntwo\x1b[5;10Hthree\x1b[HO\x1b[24;80Hx");
    expect_row(0, "One");
    expect_row(1, "two");
    expect_row(4, "         three");
    assert_int_equal(page.cells[23][79].character, 'x');
}

static void a_full_row_goes_on_in_the_next_one(void **state)
{
    (void)state;
    start("\x1b[1;79Habc");
    assert_int_equal(page.cells[0][79].character, 'b');
    expect_row(1, "c");
    start("\x1b[?7l\x1b[1;79Habc");
    assert_int_equal(page.cells[0][79].character, 'c');
    expect_row(1, "");
}

static void erasing_follows_ecma_48(void **state)
{
    (void)state;
    start("aaaa\r\nbbbb\r\ncccc\x1b[2;3H\x1b[K");
    expect_row(1, "bb");
    put("\x1b[1K");
    expect_row(1, "");
    put("\x1b[1J");
    expect_row(0, "");
    expect_row(2, "cccc");
    put("\x1b[J");
    expect_row(2, "");
    start("x\x1b[2J");
    expect_row(0, "");
    start("abcdef\x1b[1;3H\x1b[2X");
    expect_row(0, "ab  ef");
}

static void cells_and_rows_are_inserted_and_deleted(void **state)
{
    (void)state;
    start("abcdef\x1b[1;3H\x1b[2@");
    expect_row(0, "ab  cdef");
    put("\x1b[3P");
    expect_row(0, "abdef");
    put("\x1b[4hXY\x1b[4lZ");
    expect_row(0, "abXYZef");
    start("1\r\n2\r\n3\x1b[2;1H\x1b[L");
    expect_row(1, "");
    expect_row(2, "2");
    put("\x1b[M\x1b[M");
    expect_row(1, "3");
}

static void rows_scroll_within_their_region(void **state)
{
    (void)state;
    start("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nnew");
    expect_row(0, "1");
    expect_row(1, "3");
    expect_row(2, "new");
    expect_row(3, "4");
    put("\x1b[2;1H\x1bM");
    expect_row(1, "");
    expect_row(2, "3");
    expect_row(3, "4");
}

static void moves_end_at_the_edges(void **state)
{
    (void)state;
    start("\x1b[500A\x1b[500D");
    expect_cursor(0, 0);
    put("\x1b[500B\x1b[500C");
    expect_cursor(23, 79);
    put("\x1b"
        "7\x1b[3;3H\x1b"
        "8");
    expect_cursor(23, 79);
}

/* A program asks for row 999 to find the last one: it finds that of a usual terminal. One that knows better gets it. */
static void a_page_grows_to_what_a_program_believes_in(void **state)
{
    (void)state;
    start("\x1b[999;999H");
    expect_cursor(23, 79);
    put("\x1b[40;120Hx");
    expect_cursor(39, 119);
    put("\x1b[999;999H");
    expect_cursor(39, 119);
    assert_int_equal(page.rows, 40);
    put("\n\x1b[39;120H");
    assert_int_equal(page.cells[38][119].character, 'x'); /* scrolled by one */
}

static void an_alternate_page_scrolls_and_is_left(void **state)
{
    (void)state;
    start("top\x1b[24;1H\n");
    expect_row(0, "");
    assert_int_equal(last, PAGE_STAYS);
    put("\x1b[?1049l");
    assert_int_equal(last, PAGE_LEFT);
}

static void a_primary_page_ends_when_it_would_scroll(void **state)
{
    (void)state;
    vt_parser_reset(&parser);
    page_open(&page, false, (struct vt_style){0});
    put("top\x1b[24;1Hlast");
    assert_int_equal(last, PAGE_STAYS);
    put("\n");
    assert_int_equal(last, PAGE_SCROLLED);
    expect_row(0, "top");
    expect_row(23, "last");
}

static void modes_are_kept_for_the_terminal(void **state)
{
    (void)state;
    start("\x1b[?25l\x1b[?1h");
    assert_true(page.cursor_hidden && page.application_keys);
    put("\x1b[?25h\x1b[?1l");
    assert_false(page.cursor_hidden || page.application_keys);
}

static bool wants(const char *bytes, bool *alternate)
{
    bool wanted = false;

    vt_parser_reset(&parser);
    for (; *bytes != '\0'; bytes++) {
        wanted = page_is_wanted(vt_parse(&parser, (uint8_t)*bytes), &parser, alternate);
    }
    return wanted;
}

static void what_needs_a_page_is_known(void **state)
{
    bool alternate;

    (void)state;
    assert_true(wants("\x1b[?1049h", &alternate) && alternate);
    assert_true(wants("\x1b[H", &alternate) && !alternate);
    assert_true(wants("\x1b[2J", &alternate) && !alternate);
    assert_false(wants("\x1b[J", &alternate)); /* a shell's line editor */
    assert_false(wants("\x1b[K", &alternate));
    assert_false(wants("\x1b[6n", &alternate));
    assert_false(wants("\x1b[?25l", &alternate));
}

static void changes_are_told_once(void **state)
{
    struct page_changed changed;

    (void)state;
    start("");
    for (uint32_t row = 0; row < PAGE_ROWS; row++) {
        (void)page_take_changed(&page, row, &changed);
    }
    assert_false(page_has_changed(&page));
    put("\x1b[3;5Habc");
    assert_true(page_take_changed(&page, 2, &changed));
    assert_int_equal(changed.from, 4);
    assert_int_equal(changed.to, 7);
    assert_false(page_has_changed(&page));
}

/* Every cell that differs from what it was lies in a change that is told. */
static void no_change_is_forgotten(void **state)
{
    static struct console_page before;
    static const char finals[] = "ABCDEFGHJKLMPSTX@bdmrsuhl`";
    uint32_t seed = 5;

    (void)state;
    start("");
    for (uint32_t step = 0; step < 30000; step++) {
        char sequence[32];
        struct page_changed changed;

        seed = seed * 1664525u + 1013904223u;
        if (seed >> 30 == 0) {
            (void)snprintf(sequence, sizeof(sequence), "\x1b[%u;%u%c", seed >> 8 & 63, seed >> 14 & 127,
                           finals[(seed >> 21) % (sizeof(finals) - 1)]);
        } else {
            (void)snprintf(sequence, sizeof(sequence), "%c%c", 'a' + (int)(seed >> 8 & 15),
                           (seed >> 20 & 7) == 0 ? '\n' : 'x');
        }
        for (uint32_t row = 0; row < PAGE_ROWS; row++) {
            (void)page_take_changed(&page, row, &changed);
        }
        before = page;
        put(sequence);
        assert_true(page.cursor.row < page.rows && page.cursor.column < page.columns && page.bottom < page.rows &&
                    page.top <= page.bottom);
        for (uint32_t row = 0; row < PAGE_ROWS; row++) {
            bool told = page_take_changed(&page, row, &changed);

            for (uint32_t column = 0; column < PAGE_COLUMNS; column++) {
                if (memcmp(&before.cells[row][column], &page.cells[row][column], sizeof(struct vt_cell)) != 0) {
                    assert_true(told && column >= changed.from && column < changed.to);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_goes_where_the_cursor_is),
        cmocka_unit_test(a_full_row_goes_on_in_the_next_one),
        cmocka_unit_test(erasing_follows_ecma_48),
        cmocka_unit_test(cells_and_rows_are_inserted_and_deleted),
        cmocka_unit_test(rows_scroll_within_their_region),
        cmocka_unit_test(moves_end_at_the_edges),
        cmocka_unit_test(a_page_grows_to_what_a_program_believes_in),
        cmocka_unit_test(an_alternate_page_scrolls_and_is_left),
        cmocka_unit_test(a_primary_page_ends_when_it_would_scroll),
        cmocka_unit_test(modes_are_kept_for_the_terminal),
        cmocka_unit_test(what_needs_a_page_is_known),
        cmocka_unit_test(changes_are_told_once),
        cmocka_unit_test(no_change_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
