/* SPDX-License-Identifier: MIT */
#include "hv/console/console_line.h"

#include "hv/base/memory.h"

#define TAB_COLUMNS 8u

static const struct line_effect same = {.change = LINE_SAME};
static const struct line_effect different = {.change = LINE_DIFFERENT};

void line_clear(struct console_line *line)
{
    line->length = 0;
    line->cursor = 0;
}

static bool is_narrow(const struct vt_cell *cell)
{
    return cell->character != VT_TAB && vt_columns(cell->character) == 1;
}

static bool are_narrow(const struct console_line *line, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (!is_narrow(&line->cells[i])) {
            return false;
        }
    }
    return true;
}

uint32_t line_columns(const struct console_line *line, uint32_t from)
{
    uint32_t columns = 0;

    for (uint32_t i = from; i < line->length; i++) {
        columns += line->cells[i].character == VT_TAB ? 0 : 1;
    }
    return columns;
}

struct line_effect line_print(struct console_line *line, struct vt_cell cell)
{
    if (line->cursor < LINE_CELLS) {
        line->cells[line->cursor++] = cell;
        line->length = (uint32_t)max_u64(line->length, line->cursor);
    }
    return (struct line_effect){.change = LINE_WRITTEN, .count = 1, .written = cell};
}

struct line_effect line_tab(struct console_line *line)
{
    if (line->cursor == line->length) {
        return line_print(line, (struct vt_cell){.character = VT_TAB});
    }
    line->cursor = (uint32_t)min_u64((line->cursor / TAB_COLUMNS + 1) * TAB_COLUMNS, line->length);
    return different;
}

/* A terminal's column is never left of the cursor's place, so what goes back over narrow cells stays in the line. The
 * beginning is reached by a carriage return: with a full row a terminal's cursor may be one column short. */
static struct line_effect move_back(struct console_line *line, uint32_t count)
{
    uint32_t to = line->cursor - (uint32_t)min_u64(count, line->cursor);
    bool narrow = are_narrow(line, to, line->cursor);
    uint32_t columns = line->cursor - to;

    line->cursor = to;
    if (columns == 0) {
        return same;
    }
    return narrow && to != 0 ? (struct line_effect){.change = LINE_BACK, .count = columns} : different;
}

static void fill(struct console_line *line, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        line->cells[i] = VT_CELL_BLANK;
    }
}

/* Beyond the end of the line blanks are written. */
static struct line_effect move_forward(struct console_line *line, uint32_t count)
{
    uint32_t from = line->cursor;
    uint32_t to = (uint32_t)min_u64((uint64_t)line->cursor + count, LINE_CELLS);
    uint32_t end = line->length;

    line->cursor = to;
    if (to <= end) {
        bool narrow = are_narrow(line, from, to);

        return narrow && to != from ? (struct line_effect){.change = LINE_FORWARD, .count = to - from} : different;
    }
    fill(line, end, to);
    line->length = to;
    return from == end ? (struct line_effect){.change = LINE_WRITTEN, .count = to - from, .written = VT_CELL_BLANK}
                       : different;
}

static struct line_effect move_to(struct console_line *line, uint32_t column)
{
    return column < line->cursor ? move_back(line, line->cursor - column) : move_forward(line, column - line->cursor);
}

struct line_effect line_backspace(struct console_line *line)
{
    return move_back(line, 1);
}

/* EL: 0 from the cursor on, 1 up to it, 2 all. ECMA-48 8.3.41. */
static struct line_effect erase(struct console_line *line, uint32_t which)
{
    if (which == 0) {
        line->length = line->cursor;
        return (struct line_effect){.change = LINE_CUT};
    }
    if (which == 2) {
        line->length = line->cursor;
    } else if (line->cursor < line->length) {
        line->cells[line->cursor] = VT_CELL_BLANK;
    }
    fill(line, 0, line->cursor);
    return different;
}

static struct line_effect insert(struct console_line *line, uint32_t count)
{
    uint32_t most = LINE_CELLS - line->cursor;
    uint32_t moved = (uint32_t)min_u64(count, most);
    uint32_t kept = (uint32_t)min_u64(line->length - line->cursor, most - moved);

    if (line->cursor == line->length) {
        return same;
    }
    memmove(&line->cells[line->cursor + moved], &line->cells[line->cursor], kept * sizeof(struct vt_cell));
    fill(line, line->cursor, line->cursor + moved);
    line->length = line->cursor + moved + kept;
    return different;
}

static struct line_effect delete (struct console_line *line, uint32_t count)
{
    uint32_t gone = (uint32_t)min_u64(count, line->length - line->cursor);
    uint32_t left = line->length - line->cursor - gone;

    memmove(&line->cells[line->cursor], &line->cells[line->cursor + gone], left * sizeof(struct vt_cell));
    line->length -= gone;
    return different;
}

static struct line_effect blank(struct console_line *line, uint32_t count)
{
    fill(line, line->cursor, (uint32_t)min_u64((uint64_t)line->cursor + count, line->length));
    return different;
}

struct line_effect line_control(struct console_line *line, const struct vt_parser *parser)
{
    uint32_t count = vt_parameter(parser, 0, 1);

    if (parser->marker != 0 || parser->intermediate != 0) {
        return same;
    }
    switch (parser->final) {
    case 'C':
    case 'a':
        return move_forward(line, count);
    case 'D':
        return move_back(line, count);
    case 'G':
    case '`':
        return move_to(line, count - 1);
    case 'J': /* what lies below the line is not the guest's */
        return parser->parameters[0] == 0 ? erase(line, 0) : same;
    case 'K':
        return parser->parameters[0] <= 2 ? erase(line, parser->parameters[0]) : same;
    case '@':
        return insert(line, count);
    case 'P':
        return delete (line, count);
    case 'X':
        return blank(line, count);
    default:
        return same;
    }
}
