/* SPDX-License-Identifier: MIT */
/*
 * The screen as a console: a grid of characters in RAM, drawn into a framebuffer cell by cell.
 *
 * Writing changes the grid only, which is fast. Drawing compares the grid with what was drawn before and repaints the
 * cells that differ, at most as many as the caller allows. Framebuffers are never read (reading one is slow), and fast
 * output that scrolls by is drawn only as far as it could be seen.
 *
 * The grid understands what shells and kernels print: CR, LF, BS, TAB, and of the ECMA-48 sequences cursor moves,
 * erasing and positioning, and the alternate screen; colours are skipped. Characters beyond ASCII show as one '?' each.
 * Pure.
 *
 * The last rows may be taken for lines that stay while the text above them scrolls: one per guest with its state.
 */
#ifndef HV_CONSOLE_CONSOLE_SCREEN_H
#define HV_CONSOLE_CONSOLE_SCREEN_H

#include "hv/console/vt_parser.h"

#define SCREEN_COLUMNS_MAX 240u
#define SCREEN_ROWS_MAX 135u

/* Every dot is drawn as 2x2 from this width on, as 3x3 from the next; a panic's report from the last one on as 2x2. */
#define SCREEN_DOUBLE_WIDTH 2048u
#define SCREEN_TRIPLE_WIDTH 3200u
#define SCREEN_ENLARGE_WIDTH 1280u

struct screen_pixels {
    uint8_t *base;
    uint64_t bytes; /* nothing is written beyond */
    uint32_t width, height, stride_pixels;
    uint32_t bytes_per_pixel; /* 2, 3 or 4 */
    uint32_t foreground;      /* of a pixel; the background is black, which is 0 in every format */
};

struct screen {
    struct screen_pixels pixels;
    const uint8_t (*font)[16]; /* glyphs from 0x20 on */
    uint32_t font_glyphs;
    uint32_t columns, rows, scale; /* 0 columns: no screen. Rows of text only */
    uint32_t status_rows;          /* below them: a line of dashes, and those of screen_set_status() */
    uint32_t column, row;          /* the cursor; column may equal `columns`: the next character wraps */
    bool stays_in_row;             /* what is written behind the last column overwrites it */
    bool alternate;                /* the alternate screen is shown, `saved` has the main one */
    uint32_t saved_column, saved_row;
    struct vt_parser parser;
    uint32_t next_cell;  /* where drawing goes on */
    uint32_t looks_left; /* of the present pass */
    bool dirty;
    uint8_t wanted[SCREEN_ROWS_MAX][SCREEN_COLUMNS_MAX];
    uint8_t drawn[SCREEN_ROWS_MAX][SCREEN_COLUMNS_MAX];
    uint8_t saved[SCREEN_ROWS_MAX][SCREEN_COLUMNS_MAX];
};

/* An empty grid as large as the pixels allow; the screen becomes black. */
void screen_init(struct screen *screen, const struct screen_pixels *pixels, const uint8_t (*font)[16],
                 uint32_t font_glyphs);

/* Empty again, with letters twice as large where they are small and there is room for 80 in a line. */
void screen_enlarge(struct screen *screen);

/* False: what is put is dropped. */
static inline bool screen_is_there(const struct screen *screen)
{
    return screen->columns != 0;
}

void screen_put(struct screen *screen, uint8_t byte);

/* Whatever was written: the next byte is text on the main screen, at the left of a row below all text. */
void screen_recover(struct screen *screen);

/* Shows `text` in line `index` of `count` lines below the text; lines that would leave less than three quarters of the
 * screen to the text are not shown. `count` is the same in every call. */
void screen_set_status(struct screen *screen, uint32_t index, uint32_t count, const char *text);

/* Repaints at most `cells_max` cells; true where nothing is left to do. */
bool screen_draw(struct screen *screen, uint32_t cells_max);

/* Paints the top row anew, whatever was drawn there; the bytes that were written, 0 where there is no screen. A caller
 * that looks at the clock before and after knows how fast the framebuffer takes stores. */
uint64_t screen_repaint_top(struct screen *screen);

#endif
