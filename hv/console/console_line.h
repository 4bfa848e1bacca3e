/* SPDX-License-Identifier: MIT */
/*
 * The line that a guest is writing: characters, where its cursor is, and the changes that a shell's line editor makes.
 * Nothing leads out of the line: what would move elsewhere is for a page (console_page.h), or is left out.
 *
 * Every change says how a terminal that showed the line before comes to show it now; console_mux.c does that.
 */
#ifndef HV_CONSOLE_CONSOLE_LINE_H
#define HV_CONSOLE_CONSOLE_LINE_H

#include "hv/console/vt_cell.h"

#define LINE_CELLS 256u

struct console_line {
    uint32_t length; /* LINE_CELLS: the line may be longer than what is kept of it */
    uint32_t cursor; /* at most `length` */
    struct vt_cell cells[LINE_CELLS];
};

enum line_change {
    LINE_SAME,
    LINE_WRITTEN,   /* `count` cells before the cursor are new there: they are written */
    LINE_FORWARD,   /* the cursor went `count` columns to the right, over cells of one column */
    LINE_BACK,      /* the cursor went `count` columns to the left, over cells of one column; not to the beginning */
    LINE_CUT,       /* the line ends at its cursor */
    LINE_DIFFERENT, /* the whole line is shown anew, and the cursor put in its place */
};

struct line_effect {
    enum line_change change;
    uint32_t count;
    struct vt_cell written; /* LINE_WRITTEN, where it was not kept: the line is full */
};

void line_clear(struct console_line *line);

/* A character that vt_columns() knows, or VT_UNKNOWN_CHARACTER. */
struct line_effect line_print(struct console_line *line, struct vt_cell cell);

/* To the next multiple of eight: a cell with a TAB at the end of the line. */
struct line_effect line_tab(struct console_line *line);

/* One column to the left. */
struct line_effect line_backspace(struct console_line *line);

/* What a control sequence means within a line: moves, erasing, inserting and deleting. Others change nothing. */
struct line_effect line_control(struct console_line *line, const struct vt_parser *parser);

/* Columns that the cells from `from` on take at least: TABs may take none at a terminal's right margin. */
uint32_t line_columns(const struct console_line *line, uint32_t from);

#endif
