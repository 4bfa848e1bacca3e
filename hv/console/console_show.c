/* SPDX-License-Identifier: MIT */
#include "hv/console/console_show.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

#define PREFIX_MAX 24u
#define NOTICE_MAX 80u
#define OWN_NAME "plinth:"
#define ROW_BEYOND 999u /* a terminal takes it for its last row */

/* The terminal's other screen, empty; text beyond the right margin stays in its row. xterm, "Control Sequences". */
#define ENTER_ALTERNATE "\x1b[?1049h\x1b[2J\x1b[?7l"
#define LEAVE_ALTERNATE "\x1b[?7h\x1b[?1049l"
#define CURSOR_HIDE "\x1b[?25l"
#define CURSOR_SHOW "\x1b[?25h"
#define KEYS_APPLICATION "\x1b[?1h"
#define KEYS_USUAL "\x1b[?1l"

void show_prefix(const struct console_mux *mux, const char *name, struct mux_output *output)
{
    char prefix[PREFIX_MAX];

    if (!mux_is_single(mux)) {
        output_plain(output);
        format_text(prefix, sizeof(prefix), "[%s] ", name);
        output_text(output, prefix);
    }
}

/* --- Pages --- */

static void set_modes(struct console_mux *mux, bool cursor_hidden, bool application_keys, struct mux_output *output)
{
    if (mux->cursor_hidden != cursor_hidden) {
        output_text(output, cursor_hidden ? CURSOR_HIDE : CURSOR_SHOW);
        mux->cursor_hidden = cursor_hidden;
    }
    if (mux->application_keys != application_keys) {
        output_text(output, application_keys ? KEYS_APPLICATION : KEYS_USUAL);
        mux->application_keys = application_keys;
    }
}

/* A terminal that has no other screen has its cursor in the last row then, below what it shows. */
static void leave_page(struct console_mux *mux, struct mux_output *output)
{
    output_plain(output);
    set_modes(mux, false, false, output);
    output_move(output, ROW_BEYOND, 1);
    output_text(output, LEAVE_ALTERNATE "\r\n");
    mux->page_shown = false;
}

/* The last row says what this is; where the terminal has no more rows than the page, the page takes it. */
static void put_notice(const struct mux_source *source, struct mux_output *output)
{
    char notice[NOTICE_MAX];

    format_text(notice, sizeof(notice), " full screen of guest %s; Ctrl-] ? for help ", source->name);
    output_move(output, ROW_BEYOND, 1);
    output_style(output, (struct vt_style){.flags = VT_REVERSE});
    output_text(output, notice);
    output_plain(output);
}

void show_page(struct console_mux *mux, struct mux_output *output)
{
    struct mux_source *source = mux_focused(mux);

    if (mux->page_shown) {
        return;
    }
    show_close(mux, output);
    show_prefix(mux, source->name, output);
    output_text(output, "(full screen)" ENTER_ALTERNATE);
    put_notice(source, output);
    page_touch(source->page);
    mux->page_shown = true;
    mux->rows_drawn = 0;
    mux->rows_forged = 0;
    mux->cursor_row = PAGE_ROWS;
}

static bool cells_are(const struct vt_cell *cells, const char *text)
{
    for (uint32_t i = 0; text[i] != '\0'; i++) {
        uint32_t character = cells[i].character;

        if (character >= 'A' && character <= 'Z' && text[i] >= 'a' && text[i] <= 'z') {
            character += 'a' - 'A';
        }
        if (character != (uint8_t)text[i]) {
            return false;
        }
    }
    return true;
}

static bool begins_with_prefix(const struct console_mux *mux, const struct vt_cell *cells)
{
    char prefix[PREFIX_MAX];

    for (uint32_t i = 0; i < mux->source_count; i++) {
        format_text(prefix, sizeof(prefix), "[%s]", mux->sources[i]->name);
        if (cells_are(cells, prefix)) {
            return true;
        }
    }
    return false;
}

/* A row that begins like a line of the hypervisor or of a guest; *first is where. */
static bool is_forged(const struct console_mux *mux, const struct vt_cell *row, uint32_t *first)
{
    uint32_t column = 0;

    while (column < PAGE_COLUMNS && (row[column].character == ' ' || row[column].character == 0)) {
        column++;
    }
    *first = column;
    return column + PREFIX_MAX <= PAGE_COLUMNS &&
           (cells_are(&row[column], OWN_NAME) || begins_with_prefix(mux, &row[column]));
}

/* Cells [from, to), of which one may be a sign that this is not what it seems to be. */
static void put_cells(const struct vt_cell *row, uint32_t from, uint32_t to, uint32_t marked, struct mux_output *output)
{
    struct vt_cell sign = {.character = VT_UNKNOWN_CHARACTER};

    if (marked < from || marked >= to) {
        output_cells(output, &row[from], to - from);
        return;
    }
    output_cells(output, &row[from], marked - from);
    output_cells(output, &sign, 1);
    output_cells(output, &row[marked + 1], to - marked - 1);
}

static void erase_from(uint32_t row, uint32_t column, struct mux_output *output)
{
    output_plain(output);
    output_move(output, row + 1, column + 1);
    output_text(output, "\x1b[K");
}

/* A row for the first time as a whole, later what has changed. Blank ends are erased before the text is written: behind
 * a full row a terminal would erase its last character. */
static void draw_row(struct console_mux *mux, uint32_t row, struct page_changed changed, struct mux_output *output)
{
    const struct console_page *page = mux_focused(mux)->page;
    const struct vt_cell *cells = page->cells[row];
    uint32_t length = page_row_length(page, row);
    uint64_t bit = 1ULL << row;
    bool drawn = (mux->rows_drawn & bit) != 0;
    uint32_t first;
    bool forged = is_forged(mux, cells, &first);
    bool whole = !drawn || forged || (mux->rows_forged & bit) != 0;
    uint32_t from = whole ? 0 : changed.from;
    uint32_t to = (uint32_t)min_u64(whole ? PAGE_COLUMNS : changed.to, length);
    uint32_t end = drawn ? (uint32_t)max_u64(from, length) : 0;

    if (length == 0 && !drawn) {
        return;
    }
    if (!drawn || (changed.to > length && end < page->columns)) {
        erase_from(row, end, output);
    }
    if (from < to) {
        output_move(output, row + 1, from + 1);
        put_cells(cells, from, to, forged ? first : PAGE_COLUMNS, output);
    }
    mux->rows_drawn |= bit;
    mux->rows_forged = forged ? mux->rows_forged | bit : mux->rows_forged & ~bit;
    mux->cursor_row = PAGE_ROWS;
}

static bool cursor_is_placed(const struct console_mux *mux, const struct console_page *page)
{
    return mux->cursor_row == page->cursor.row && mux->cursor_column == page->cursor.column &&
           mux->cursor_hidden == page->cursor_hidden && mux->application_keys == page->application_keys;
}

bool show_page_step(struct console_mux *mux, struct mux_output *output)
{
    struct console_page *page = mux_focused(mux)->page;
    struct page_changed changed;

    for (uint32_t row = 0; row < PAGE_ROWS; row++) {
        if (page_take_changed(page, row, &changed)) {
            draw_row(mux, row, changed, output);
            return true;
        }
    }
    if (cursor_is_placed(mux, page)) {
        return false;
    }
    output_plain(output);
    set_modes(mux, page->cursor_hidden, page->application_keys, output);
    output_move(output, page->cursor.row + 1, page->cursor.column + 1);
    mux->cursor_row = page->cursor.row;
    mux->cursor_column = page->cursor.column;
    return true;
}

bool show_page_waits(const struct console_mux *mux)
{
    const struct mux_source *source = mux_focused(mux);

    return mux->page_shown && (page_has_changed(source->page) || !cursor_is_placed(mux, source->page));
}

/* --- Lines --- */

void show_close(struct console_mux *mux, struct mux_output *output)
{
    if (mux->page_shown) {
        leave_page(mux, output);
    } else if (mux->line_open) {
        output_plain(output);
        output_text(output, "\r\n");
    }
    mux->line_open = false;
}

static void put_count(struct mux_output *output, uint32_t count, char single, char final)
{
    if (count == 1 && single != '\0') {
        output_byte(output, single);
    } else {
        output_control(output, count, final);
    }
}

/* Behind the end of the line the cursor goes back to its place, never further than columns are certain. */
static void put_cursor(struct console_mux *mux, const struct mux_source *source, struct mux_output *output)
{
    const struct console_line *line = &source->line;
    uint32_t back = line_columns(line, line->cursor);

    if (line->cursor == 0 && back != 0) {
        output_byte(output, '\r');
        show_prefix(mux, source->name, output);
    } else if (back != 0) {
        put_count(output, back, '\b', 'D');
    }
}

void show_line(struct console_mux *mux, struct mux_output *output)
{
    struct mux_source *source = mux_focused(mux);

    if (!mux->line_open) {
        show_prefix(mux, source->name, output);
        output_cells(output, source->line.cells, source->line.length);
        put_cursor(mux, source, output);
        if (source->return_pending) {
            output_byte(output, '\r');
        }
        mux->line_open = true;
        source->unshown = false;
    }
}

static void put_whole_line(struct console_mux *mux, struct mux_output *output)
{
    const struct mux_source *source = mux_focused(mux);

    output_byte(output, '\r');
    show_prefix(mux, source->name, output);
    output_text(output, "\x1b[K");
    output_cells(output, source->line.cells, source->line.length);
    put_cursor(mux, source, output);
}

void show_change(struct console_mux *mux, const struct line_effect *effect, struct mux_output *output)
{
    switch (effect->change) {
    case LINE_SAME:
        break;
    case LINE_WRITTEN:
        for (uint32_t i = 0; i < effect->count; i++) {
            output_cells(output, &effect->written, 1);
        }
        break;
    case LINE_FORWARD:
        put_count(output, effect->count, '\0', 'C');
        break;
    case LINE_BACK:
        put_count(output, effect->count, '\b', 'D');
        break;
    case LINE_CUT:
        output_plain(output);
        output_text(output, "\x1b[K");
        break;
    case LINE_DIFFERENT:
        put_whole_line(mux, output);
        break;
    }
}
