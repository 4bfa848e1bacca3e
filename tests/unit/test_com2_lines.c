/* SPDX-License-Identifier: MIT */
/* Lines of a second serial port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/report/com2_lines.h"

#include <string.h>

static struct com2_lines lines;
static struct byte_ring ring;

static int setup(void **state)
{
    (void)state;
    memset(&lines, 0, sizeof(lines));
    memset(&ring, 0, sizeof(ring));
    return 0;
}

static void write_text(const char *text)
{
    while (*text != '\0') {
        assert_true(byte_ring_put(&ring, (uint8_t)*text++));
    }
}

static void expect_line(const char *text)
{
    const char *line = com2_lines_next(&lines, &ring);

    assert_non_null(line);
    assert_string_equal(line, text);
}

static void lines_come_when_they_are_complete(void **state)
{
    (void)state;
    write_text("one\r\n\ntwo\nthr");
    expect_line("one");
    expect_line("");
    expect_line("two");
    assert_null(com2_lines_next(&lines, &ring));
    write_text("ee\n");
    expect_line("three");
}

static void what_cannot_be_printed_is_left_out(void **state)
{
    (void)state;
    write_text("\x1b[2Ja\x07\x7f\x9b\xff");
    write_text("b\rplinth: result ok\n");
    expect_line("[2Jabplinth: result ok");
}

static void a_long_line_is_several(void **state)
{
    char text[COM2_LINE_MAX + 1] = {0};

    (void)state;
    memset(text, 'x', COM2_LINE_MAX);
    write_text(text);
    write_text("yy\n");
    expect_line(text);
    expect_line("yy");
}

static void the_end_of_the_guest_ends_its_line(void **state)
{
    (void)state;
    assert_null(com2_lines_rest(&lines));
    write_text("last");
    assert_null(com2_lines_next(&lines, &ring));
    assert_string_equal(com2_lines_rest(&lines), "last");
    assert_null(com2_lines_rest(&lines));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lines_come_when_they_are_complete, setup),
        cmocka_unit_test_setup(what_cannot_be_printed_is_left_out, setup),
        cmocka_unit_test_setup(a_long_line_is_several, setup),
        cmocka_unit_test_setup(the_end_of_the_guest_ends_its_line, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
