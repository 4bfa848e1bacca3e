/* SPDX-License-Identifier: MIT */
/* The text display that is drawn nowhere: its registers, its retrace, its rows as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/crtc.h"

#include <string.h>

static struct crtc crtc;

static int setup(void **state)
{
    (void)state;
    memset(&crtc, 0xa5, sizeof(crtc));
    crtc_reset(&crtc);
    return 0;
}

static void registers_keep_what_is_written_by_index(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CRTC_REGISTERS; i++) {
        crtc_write(&crtc, CRTC_INDEX, (uint8_t)i);
        assert_int_equal(crtc_read(&crtc, CRTC_DATA), 0);
        crtc_write(&crtc, CRTC_DATA, (uint8_t)(0x80 + i));
    }
    for (unsigned i = 0; i < 256; i++) {
        crtc_write(&crtc, CRTC_INDEX, (uint8_t)i);
        assert_int_equal(crtc_read(&crtc, CRTC_INDEX), i % CRTC_REGISTERS);
        assert_int_equal(crtc_read(&crtc, CRTC_DATA), 0x80 + i % CRTC_REGISTERS);
    }
}

static void the_retrace_changes_with_every_read_and_with_no_write(void **state)
{
    uint8_t before = crtc_read(&crtc, CRTC_STATUS);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t now;

        crtc_write(&crtc, CRTC_STATUS, 0xff);
        now = crtc_read(&crtc, CRTC_STATUS);
        assert_int_equal(now ^ before, 0x09);
        before = now;
    }
}

static void a_row_is_printable_text_without_blanks_at_its_end(void **state)
{
    uint8_t cells[TEXT_ROW_BYTES];
    char text[TEXT_COLUMNS + 1];

    (void)state;
    memset(cells, 0, sizeof(cells));
    assert_int_equal(crtc_row_text(cells, text), 0);
    assert_string_equal(text, "");
    for (unsigned i = 0; i < 256; i++) {
        cells[0] = (uint8_t)i;
        cells[1] = 'x'; /* colours are no text */
        assert_int_equal(crtc_row_text(cells, text), i > ' ' && i < 0x7f ? 1 : 0);
        assert_int_equal(text[0], i > ' ' && i < 0x7f ? (char)i : 0);
    }
    cells[0] = 0x1b;
    cells[2] = 'a';
    cells[6] = 'b';
    assert_int_equal(crtc_row_text(cells, text), 4);
    assert_string_equal(text, " a b");
    for (unsigned i = 0; i < TEXT_COLUMNS; i++) {
        cells[2 * i] = '#';
    }
    assert_int_equal(crtc_row_text(cells, text), TEXT_COLUMNS);
    assert_int_equal(strlen(text), TEXT_COLUMNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers_keep_what_is_written_by_index, setup),
        cmocka_unit_test_setup(the_retrace_changes_with_every_read_and_with_no_write, setup),
        cmocka_unit_test_setup(a_row_is_printable_text_without_blanks_at_its_end, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
