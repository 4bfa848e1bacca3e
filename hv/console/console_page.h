/* SPDX-License-Identifier: MIT */
/*
 * A guest's full screen: the grid on which an editor, a pager or a process list draws.
 *
 *        1 ......... columns
 *      1 .                    The guest believes that it draws on its terminal. It draws here, and console_mux.c
 *      . .  top   --+         draws what has changed on the real one (`from` and `to` of each row), while the guest
 *      . .          | scrolls has the focus.
 *      . .  bottom -+
 *   rows
 *
 * There are two kinds, as on a terminal. An alternate page is one that the program opens and closes itself
 * (CSI ? 1049 h, l), and its text goes with it. Any other program that puts its cursor somewhere gets a primary page; it
 * ends when its text would scroll off, or with the guest, and its text stays as lines.
 *
 * A page has 24 rows and 80 columns. A program that believes in a larger terminal (`stty rows 40 columns 120`) makes it
 * larger by what it addresses, up to PAGE_ROWS and PAGE_COLUMNS.
 */
#ifndef HV_CONSOLE_CONSOLE_PAGE_H
#define HV_CONSOLE_CONSOLE_PAGE_H

#include "hv/console/vt_cell.h"

#define PAGE_ROWS 50u
#define PAGE_COLUMNS 132u
#define PAGE_ROWS_USUAL 24u
#define PAGE_COLUMNS_USUAL 80u

struct page_cursor {
    uint32_t row, column; /* from 0 */
    bool wraps;           /* the last column was written: the next character goes to the next row */
    struct vt_style style;
};

/* Columns [from, to) that the real terminal does not show yet; from >= to: none. */
struct page_changed {
    uint8_t from, to;
};

struct console_page {
    bool open;
    bool alternate;
    bool insert;           /* IRM */
    bool stays_in_column;  /* DECAWM is off: what is written behind the last column overwrites it */
    bool cursor_hidden;    /* DECTCEM */
    bool application_keys; /* DECCKM: the terminal's arrow keys send what the program expects */
    uint32_t rows, columns;
    uint32_t top, bottom; /* the rows that scroll, both included */
    struct page_cursor cursor;
    struct page_cursor saved;
    uint16_t last_printed; /* for REP */
    struct page_changed changed[PAGE_ROWS];
    struct vt_cell cells[PAGE_ROWS][PAGE_COLUMNS];
};
_Static_assert(PAGE_COLUMNS <= UINT8_MAX, "columns fit into struct page_changed");

enum page_result {
    PAGE_STAYS,
    PAGE_LEFT,     /* the program has closed its alternate page */
    PAGE_SCROLLED, /* a primary page's text moves up: it continues as lines, and this line feed is still to be done */
};

/* True where the event asks for a page: *alternate says of which kind. */
bool page_is_wanted(enum vt_event event, const struct vt_parser *parser, bool *alternate);

/* An empty page, the cursor in its first place. */
void page_open(struct console_page *page, bool alternate, struct vt_style style);

/* One event of the guest's. A character is given as vt_graphic() and vt_columns() have it. */
enum page_result page_take(struct console_page *page, enum vt_event event, const struct vt_parser *parser);

/* How many of a row's columns show something. */
uint32_t page_row_length(const struct console_page *page, uint32_t row);

/* All rows count as changed: the terminal shows something else. */
void page_touch(struct console_page *page);

/* The columns of the row that changed; they count as shown then. False: none. */
bool page_take_changed(struct console_page *page, uint32_t row, struct page_changed *changed);
bool page_has_changed(const struct console_page *page);

#endif
