/* SPDX-License-Identifier: MIT */
#include "hv/console/console_page.h"

#include "hv/base/memory.h"

#define TAB_COLUMNS 8u
#define UNCHANGED ((struct page_changed){.from = PAGE_COLUMNS, .to = 0})

/* Private modes, by their parameter. DEC VT510 programmer information, DECSET; xterm's for the alternate screen. */
enum private_mode {
    MODE_APPLICATION_KEYS = 1,
    MODE_AUTOWRAP = 7,
    MODE_CURSOR = 25,
    MODE_ALTERNATE_OLD = 47,
    MODE_ALTERNATE = 1047,
    MODE_ALTERNATE_SAVING = 1049,
};
#define MODE_INSERT 4u /* ECMA-48 7.2.10 IRM */

static void touch(struct console_page *page, uint32_t row, uint32_t from, uint32_t to)
{
    struct page_changed *changed = &page->changed[row];

    changed->from = (uint8_t)min_u64(changed->from, from);
    changed->to = (uint8_t)max_u64(changed->to, to);
}

static void touch_rows(struct console_page *page, uint32_t first, uint32_t last)
{
    for (uint32_t row = first; row <= last; row++) {
        touch(page, row, 0, PAGE_COLUMNS);
    }
}

void page_touch(struct console_page *page)
{
    touch_rows(page, 0, PAGE_ROWS - 1);
}

bool page_take_changed(struct console_page *page, uint32_t row, struct page_changed *changed)
{
    *changed = page->changed[row];
    page->changed[row] = UNCHANGED;
    return changed->from < changed->to;
}

bool page_has_changed(const struct console_page *page)
{
    for (uint32_t row = 0; row < PAGE_ROWS; row++) {
        if (page->changed[row].from < page->changed[row].to) {
            return true;
        }
    }
    return false;
}

uint32_t page_row_length(const struct console_page *page, uint32_t row)
{
    uint32_t length = PAGE_COLUMNS;

    while (length != 0 && vt_cell_is_blank(page->cells[row][length - 1])) {
        length--;
    }
    return length;
}

/* --- Erasing and moving text --- */

/* What is erased has the background of the present style, as on most terminals. */
static struct vt_cell blank_of(const struct console_page *page)
{
    struct vt_style style = page->cursor.style;
    struct vt_cell blank = VT_CELL_BLANK;

    blank.style.flags = style.flags & VT_BACKGROUND;
    blank.style.colours = style.colours & 0xf0u;
    return blank;
}

static void fill(struct console_page *page, uint32_t row, uint32_t from, uint32_t to, struct vt_cell cell)
{
    for (uint32_t column = from; column < to; column++) {
        page->cells[row][column] = cell;
    }
    touch(page, row, from, to);
}

/* Up to the page's width; what an earlier, wider use left behind it goes, too. */
static void blank(struct console_page *page, uint32_t row, uint32_t from, uint32_t to)
{
    fill(page, row, from, to, blank_of(page));
    if (to == page->columns) {
        fill(page, row, to, PAGE_COLUMNS, VT_CELL_BLANK);
    }
}

static void blank_rows(struct console_page *page, uint32_t first, uint32_t end)
{
    for (uint32_t row = first; row < end; row++) {
        blank(page, row, 0, page->columns);
    }
}

static void copy_rows(struct console_page *page, uint32_t to, uint32_t from, uint32_t count)
{
    memmove(page->cells[to], page->cells[from], (size_t)count * sizeof(page->cells[0]));
}

/* Rows [first, last] move up, and blank ones come in below. */
static void scroll_up(struct console_page *page, uint32_t first, uint32_t last, uint32_t count)
{
    uint32_t moved = (uint32_t)min_u64(count, last - first + 1);

    copy_rows(page, first, first + moved, last - first + 1 - moved);
    blank_rows(page, last + 1 - moved, last + 1);
    touch_rows(page, first, last);
}

static void scroll_down(struct console_page *page, uint32_t first, uint32_t last, uint32_t count)
{
    uint32_t moved = (uint32_t)min_u64(count, last - first + 1);

    copy_rows(page, first + moved, first, last - first + 1 - moved);
    blank_rows(page, first, first + moved);
    touch_rows(page, first, last);
}

static void insert_cells(struct console_page *page, uint32_t count)
{
    uint32_t row = page->cursor.row;
    uint32_t column = page->cursor.column;
    uint32_t moved = (uint32_t)min_u64(count, page->columns - column);

    memmove(&page->cells[row][column + moved], &page->cells[row][column],
            (size_t)(page->columns - column - moved) * sizeof(struct vt_cell));
    blank(page, row, column, column + moved);
    touch(page, row, column, page->columns);
}

static void delete_cells(struct console_page *page, uint32_t count)
{
    uint32_t row = page->cursor.row;
    uint32_t column = page->cursor.column;
    uint32_t gone = (uint32_t)min_u64(count, page->columns - column);

    memmove(&page->cells[row][column], &page->cells[row][column + gone],
            (size_t)(page->columns - column - gone) * sizeof(struct vt_cell));
    blank(page, row, page->columns - gone, page->columns);
    touch(page, row, column, page->columns);
}

/* ED and EL: 0 from the cursor on, 1 up to it, 2 all. ECMA-48 8.3.39, 8.3.41. */
static void erase_in_line(struct console_page *page, uint32_t which)
{
    uint32_t from = which == 0 ? page->cursor.column : 0;
    uint32_t to = which == 1 ? page->cursor.column + 1 : page->columns;

    blank(page, page->cursor.row, from, to);
}

static void erase_in_page(struct console_page *page, uint32_t which)
{
    if (which == 0) {
        blank_rows(page, page->cursor.row + 1, page->rows);
    } else if (which == 1) {
        blank_rows(page, 0, page->cursor.row);
    } else {
        blank_rows(page, 0, page->rows);
        return;
    }
    erase_in_line(page, which);
}

/* --- The cursor --- */

/* A place beyond the page makes it larger, where a terminal could be so large; else it is the page's edge: programs ask
 * for row 999 to find the last one. */
static uint32_t reach(uint32_t place, uint32_t *size, uint32_t most)
{
    if (place < *size) {
        return place;
    }
    if (place < most) {
        *size = place + 1;
        return place;
    }
    return *size - 1;
}

static uint32_t reach_row(struct console_page *page, uint32_t row)
{
    bool whole = page->top == 0 && page->bottom == page->rows - 1;
    uint32_t place = reach(row, &page->rows, PAGE_ROWS);

    if (whole) {
        page->bottom = page->rows - 1;
    }
    return place;
}

static void move_to(struct console_page *page, uint32_t row, uint32_t column)
{
    page->cursor.row = reach_row(page, row);
    page->cursor.column = reach(column, &page->columns, PAGE_COLUMNS);
    page->cursor.wraps = false;
}

/* Relative moves end at the edges, and at those of the rows that scroll where they begin between them. */
static void move_rows(struct console_page *page, uint32_t up, uint32_t down)
{
    struct page_cursor *cursor = &page->cursor;
    uint32_t first = cursor->row >= page->top ? page->top : 0;
    uint32_t last = cursor->row <= page->bottom ? page->bottom : page->rows - 1;

    cursor->row -= (uint32_t)min_u64(up, cursor->row - first);
    cursor->row += (uint32_t)min_u64(down, last - cursor->row);
    cursor->wraps = false;
}

static void move_columns(struct console_page *page, uint32_t left, uint32_t right)
{
    struct page_cursor *cursor = &page->cursor;

    cursor->column -= (uint32_t)min_u64(left, cursor->column);
    cursor->column += (uint32_t)min_u64(right, page->columns - 1 - cursor->column);
    cursor->wraps = false;
}

/* A primary page that would lose its first row ends instead. */
static enum page_result line_feed(struct console_page *page)
{
    page->cursor.wraps = false;
    if (page->cursor.row != page->bottom) {
        page->cursor.row += page->cursor.row + 1 < page->rows ? 1 : 0;
        return PAGE_STAYS;
    }
    if (!page->alternate && page->top == 0 && page->bottom == page->rows - 1) {
        return PAGE_SCROLLED;
    }
    scroll_up(page, page->top, page->bottom, 1);
    return PAGE_STAYS;
}

static void reverse_line_feed(struct console_page *page)
{
    page->cursor.wraps = false;
    if (page->cursor.row == page->top) {
        scroll_down(page, page->top, page->bottom, 1);
    } else {
        page->cursor.row -= page->cursor.row != 0 ? 1 : 0;
    }
}

static void tab(struct console_page *page)
{
    move_columns(page, 0, TAB_COLUMNS - page->cursor.column % TAB_COLUMNS);
}

/* --- Characters --- */

static void put_cell(struct console_page *page, uint16_t character)
{
    struct page_cursor *cursor = &page->cursor;

    if (page->insert) {
        insert_cells(page, 1);
    }
    page->cells[cursor->row][cursor->column] = (struct vt_cell){.character = character, .style = cursor->style};
    touch(page, cursor->row, cursor->column, cursor->column + 1);
    if (cursor->column + 1 < page->columns) {
        cursor->column++;
    } else {
        cursor->wraps = !page->stays_in_column;
    }
}

static enum page_result print(struct console_page *page, uint16_t character)
{
    uint32_t columns = vt_columns(character);
    enum page_result result = PAGE_STAYS;

    if (page->cursor.wraps || (columns == 2 && page->cursor.column + 1 == page->columns)) {
        page->cursor.column = 0;
        result = line_feed(page);
        if (result == PAGE_SCROLLED) {
            return result;
        }
    }
    put_cell(page, character);
    if (columns == 2) {
        put_cell(page, 0);
    }
    page->last_printed = character;
    return result;
}

static enum page_result repeat(struct console_page *page, uint32_t count)
{
    enum page_result result = PAGE_STAYS;

    for (uint32_t i = 0; i < count && i < PAGE_COLUMNS && page->last_printed != 0 && result == PAGE_STAYS; i++) {
        result = print(page, page->last_printed);
    }
    return result == PAGE_SCROLLED ? PAGE_STAYS : result;
}

/* --- Events --- */

static enum page_result take_control(struct console_page *page, uint32_t character)
{
    switch (character) {
    case VT_LF:
    case VT_VT:
    case VT_FF:
        return line_feed(page);
    case VT_CR:
        page->cursor.column = 0;
        page->cursor.wraps = false;
        break;
    case VT_BS:
        move_columns(page, 1, 0);
        break;
    case VT_TAB:
        tab(page);
        break;
    default:
        break;
    }
    return PAGE_STAYS;
}

static enum page_result take_escape(struct console_page *page, const struct vt_parser *parser)
{
    if (parser->intermediate != 0) {
        return PAGE_STAYS;
    }
    switch (parser->final) {
    case '7': /* DECSC */
        page->saved = page->cursor;
        break;
    case '8': /* DECRC */
        page->cursor = page->saved;
        break;
    case 'D': /* IND */
        return line_feed(page);
    case 'E': /* NEL */
        page->cursor.column = 0;
        return line_feed(page);
    case 'M': /* RI */
        reverse_line_feed(page);
        break;
    case 'c': /* RIS */
        page_open(page, page->alternate, (struct vt_style){0});
        break;
    default:
        break;
    }
    return PAGE_STAYS;
}

/* DECSTBM: the rows that scroll; the cursor goes to its first place. */
static void set_scrolled_rows(struct console_page *page, const struct vt_parser *parser)
{
    uint32_t top = vt_parameter(parser, 0, 1) - 1;
    uint32_t bottom = reach_row(page, vt_parameter(parser, 1, page->rows) - 1);

    if (top < bottom) {
        page->top = top;
        page->bottom = bottom;
        move_to(page, 0, 0);
    }
}

static enum page_result set_modes(struct console_page *page, const struct vt_parser *parser, bool on)
{
    enum page_result result = PAGE_STAYS;

    for (uint32_t i = 0; i < parser->parameter_count; i++) {
        uint32_t mode = parser->parameters[i];

        if (parser->marker == 0) {
            page->insert = mode == MODE_INSERT ? on : page->insert;
        } else if (mode == MODE_APPLICATION_KEYS) {
            page->application_keys = on;
        } else if (mode == MODE_AUTOWRAP) {
            page->stays_in_column = !on;
        } else if (mode == MODE_CURSOR) {
            page->cursor_hidden = !on;
        } else if (mode == MODE_ALTERNATE_OLD || mode == MODE_ALTERNATE || mode == MODE_ALTERNATE_SAVING) {
            if (on && !page->alternate) {
                page_open(page, true, page->cursor.style);
            }
            result = !on && page->alternate ? PAGE_LEFT : PAGE_STAYS;
        }
    }
    return result;
}

/* In the order of the finals; false: not a move. */
static bool take_move(struct console_page *page, const struct vt_parser *parser)
{
    uint32_t count = vt_parameter(parser, 0, 1);

    switch (parser->final) {
    case 'A':
        move_rows(page, count, 0);
        return true;
    case 'B':
    case 'e':
        move_rows(page, 0, count);
        return true;
    case 'C':
    case 'a':
        move_columns(page, 0, count);
        return true;
    case 'D':
        move_columns(page, count, 0);
        return true;
    case 'E':
        page->cursor.column = 0;
        move_rows(page, 0, count);
        return true;
    case 'F':
        page->cursor.column = 0;
        move_rows(page, count, 0);
        return true;
    case 'G':
    case '`':
        move_to(page, page->cursor.row, count - 1);
        return true;
    case 'H':
    case 'f':
        move_to(page, count - 1, vt_parameter(parser, 1, 1) - 1);
        return true;
    case 'd':
        move_to(page, count - 1, page->cursor.column);
        return true;
    default:
        return false;
    }
}

static void insert_rows(struct console_page *page, uint32_t count, bool down)
{
    if (page->cursor.row < page->top || page->cursor.row > page->bottom) {
        return;
    }
    if (down) {
        scroll_down(page, page->cursor.row, page->bottom, count);
    } else {
        scroll_up(page, page->cursor.row, page->bottom, count);
    }
    page->cursor.column = 0;
}

static enum page_result take_edit(struct console_page *page, const struct vt_parser *parser)
{
    uint32_t count = vt_parameter(parser, 0, 1);

    switch (parser->final) {
    case 'J':
        erase_in_page(page, parser->parameters[0]);
        break;
    case 'K':
        erase_in_line(page, parser->parameters[0]);
        break;
    case 'L':
        insert_rows(page, count, true);
        break;
    case 'M':
        insert_rows(page, count, false);
        break;
    case '@':
        insert_cells(page, count);
        break;
    case 'P':
        delete_cells(page, count);
        break;
    case 'X':
        blank(page, page->cursor.row, page->cursor.column,
              (uint32_t)min_u64((uint64_t)page->cursor.column + count, page->columns));
        break;
    case 'S':
        scroll_up(page, page->top, page->bottom, count);
        break;
    case 'T':
        scroll_down(page, page->top, page->bottom, count);
        break;
    case 'b':
        return repeat(page, count);
    default:
        break;
    }
    return PAGE_STAYS;
}

static enum page_result take_sequence(struct console_page *page, const struct vt_parser *parser)
{
    bool modes = parser->final == 'h' || parser->final == 'l';

    if (parser->intermediate != 0 || (parser->marker != 0 && (parser->marker != '?' || !modes))) {
        return PAGE_STAYS;
    }
    if (modes) {
        return set_modes(page, parser, parser->final == 'h');
    }
    switch (parser->final) {
    case 'm':
        vt_style_change(&page->cursor.style, parser);
        return PAGE_STAYS;
    case 'r':
        set_scrolled_rows(page, parser);
        return PAGE_STAYS;
    case 's':
        page->saved = page->cursor;
        return PAGE_STAYS;
    case 'u':
        page->cursor = page->saved;
        return PAGE_STAYS;
    default:
        return take_move(page, parser) ? PAGE_STAYS : take_edit(page, parser);
    }
}

enum page_result page_take(struct console_page *page, enum vt_event event, const struct vt_parser *parser)
{
    switch (event) {
    case VT_NOTHING:
        break;
    case VT_PRINT:
        return print(page, (uint16_t)parser->character);
    case VT_CONTROL:
        return take_control(page, parser->character);
    case VT_ESCAPE:
        return take_escape(page, parser);
    case VT_CSI:
        return take_sequence(page, parser);
    }
    return PAGE_STAYS;
}

static bool has_alternate_mode(const struct vt_parser *parser)
{
    for (uint32_t i = 0; i < parser->parameter_count; i++) {
        uint32_t mode = parser->parameters[i];

        if (mode == MODE_ALTERNATE_OLD || mode == MODE_ALTERNATE || mode == MODE_ALTERNATE_SAVING) {
            return true;
        }
    }
    return false;
}

bool page_is_wanted(enum vt_event event, const struct vt_parser *parser, bool *alternate)
{
    *alternate = false;
    if (event != VT_CSI || parser->intermediate != 0) {
        return false;
    }
    if (parser->marker == '?') {
        *alternate = true;
        return parser->final == 'h' && has_alternate_mode(parser);
    }
    if (parser->marker != 0) {
        return false;
    }
    switch (parser->final) {
    case 'H':
    case 'd':
    case 'f':
    case 'r':
        return true;
    case 'J':
        return parser->parameters[0] == 2;
    default:
        return false;
    }
}

void page_open(struct console_page *page, bool alternate, struct vt_style style)
{
    bool keys = page->open && page->application_keys;

    memset(page, 0, offsetof(struct console_page, cells));
    page->open = true;
    page->alternate = alternate;
    page->application_keys = keys;
    page->rows = PAGE_ROWS_USUAL;
    page->columns = PAGE_COLUMNS_USUAL;
    page->bottom = page->rows - 1;
    page->cursor.style = style;
    for (uint32_t row = 0; row < PAGE_ROWS; row++) {
        fill(page, row, 0, PAGE_COLUMNS, VT_CELL_BLANK);
    }
}
