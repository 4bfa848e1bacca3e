/* SPDX-License-Identifier: MIT */
#include "hv/console/console_screen.h"

#include "hv/base/memory.h"

#define GLYPH_WIDTH 8u
#define GLYPH_HEIGHT 16u
#define GLYPH_FIRST 0x20u
#define TAB_COLUMNS 8u

#define MODE_AUTOWRAP 7u /* DEC VT510 programmer information, DECSET; xterm's for the alternate screen */
#define MODE_ALTERNATE 1049u

/* In whole rows: painting every cell instead would take most of the start's time. */
static void clear(const struct screen_pixels *pixels)
{
    uint64_t line_bytes = (uint64_t)pixels->stride_pixels * pixels->bytes_per_pixel;
    uint64_t visible_bytes = (uint64_t)pixels->width * pixels->bytes_per_pixel;

    for (uint64_t y = 0; y < pixels->height && y * line_bytes + visible_bytes <= pixels->bytes; y++) {
        memset(pixels->base + y * line_bytes, 0, (size_t)visible_bytes);
    }
}

static void open_grid(struct screen *screen, uint32_t scale)
{
    const struct screen_pixels *pixels = &screen->pixels;

    screen->scale = scale;
    screen->columns = (uint32_t)min_u64(pixels->width / (GLYPH_WIDTH * scale), SCREEN_COLUMNS_MAX);
    screen->rows = (uint32_t)min_u64(pixels->height / (GLYPH_HEIGHT * scale), SCREEN_ROWS_MAX);
    if (screen->rows == 0 || screen->columns == 0 || pixels->base == NULL) {
        screen->columns = 0;
        screen->rows = 0;
        return;
    }
    clear(pixels);
    memset(screen->wanted, ' ', sizeof(screen->wanted));
    memset(screen->drawn, ' ', sizeof(screen->drawn));
    vt_parser_reset(&screen->parser);
    screen->alternate = false;
    screen->stays_in_row = false;
}

void screen_init(struct screen *screen, const struct screen_pixels *pixels, const uint8_t (*font)[16],
                 uint32_t font_glyphs)
{
    memset(screen, 0, sizeof(*screen));
    screen->pixels = *pixels;
    screen->font = font;
    screen->font_glyphs = font_glyphs;
    open_grid(screen, pixels->width >= SCREEN_TRIPLE_WIDTH ? 3 : pixels->width >= SCREEN_DOUBLE_WIDTH ? 2 : 1);
}

void screen_enlarge(struct screen *screen)
{
    if (screen->scale == 1 && screen->pixels.width >= SCREEN_ENLARGE_WIDTH) {
        screen->column = 0;
        screen->row = 0;
        screen->status_rows = 0;
        screen->next_cell = 0;
        open_grid(screen, 2);
    }
}

static void scroll(struct screen *screen)
{
    memmove(screen->wanted[0], screen->wanted[1], (size_t)(screen->rows - 1) * SCREEN_COLUMNS_MAX);
    memset(screen->wanted[screen->rows - 1], ' ', SCREEN_COLUMNS_MAX);
}

static void line_feed(struct screen *screen)
{
    if (screen->row + 1 < screen->rows) {
        screen->row++;
    } else {
        scroll(screen);
    }
}

static void put_character(struct screen *screen, uint8_t character)
{
    if (screen->column >= screen->columns && screen->stays_in_row) {
        screen->column = screen->columns - 1;
    } else if (screen->column >= screen->columns) {
        screen->column = 0;
        line_feed(screen);
    }
    screen->wanted[screen->row][screen->column++] = character;
}

static void put_character_control(struct screen *screen, uint32_t control)
{
    if (control == VT_LF) {
        line_feed(screen);
    } else if (control == VT_CR) {
        screen->column = 0;
    } else if (control == VT_BS) {
        screen->column -= screen->column > 0 ? 1 : 0;
    } else if (control == VT_TAB) {
        screen->column =
            (uint32_t)min_u64((screen->column / TAB_COLUMNS + 1) * TAB_COLUMNS, (uint64_t)screen->columns - 1);
    }
}

static bool has_glyph(const struct screen *screen, uint32_t character)
{
    return character >= GLYPH_FIRST && character < 0x80 && character < GLYPH_FIRST + screen->font_glyphs;
}

/* Blanks cells [from, to) counted row by row. */
static void erase(struct screen *screen, uint32_t from, uint32_t to)
{
    for (uint32_t cell = from; cell < to; cell++) {
        screen->wanted[cell / screen->columns][cell % screen->columns] = ' ';
    }
}

/* ED (J) and EL (K): 0 from the cursor on, 1 up to it, 2 all. ECMA-48 8.3.39, 8.3.41. */
static void control_erase(struct screen *screen, bool whole_screen)
{
    uint32_t column = (uint32_t)min_u64(screen->column, (uint64_t)screen->columns - 1);
    uint32_t first = whole_screen ? 0 : screen->row * screen->columns;
    uint32_t end = whole_screen ? screen->rows * screen->columns : first + screen->columns;
    uint32_t cursor = screen->row * screen->columns + column;

    erase(screen, screen->parser.parameters[0] == 0 ? cursor : first,
          screen->parser.parameters[0] == 1 ? cursor + 1 : end);
}

static void move_to(struct screen *screen, int64_t row, int64_t column)
{
    int64_t last_row = (int64_t)screen->rows - 1;
    int64_t last_column = (int64_t)screen->columns - 1;

    row = row < 0 ? 0 : row;
    column = column < 0 ? 0 : column;
    screen->row = (uint32_t)(row > last_row ? last_row : row);
    screen->column = (uint32_t)(column > last_column ? last_column : column);
}

static void enter_alternate(struct screen *screen)
{
    if (!screen->alternate) {
        memcpy(screen->saved, screen->wanted, sizeof(screen->saved));
        screen->saved_row = screen->row;
        screen->saved_column = screen->column;
        screen->alternate = true;
    }
    erase(screen, 0, screen->rows * screen->columns);
}

/* The rows below the text are as they are. */
static void leave_alternate(struct screen *screen)
{
    if (screen->alternate) {
        memcpy(screen->wanted, screen->saved, (size_t)screen->rows * SCREEN_COLUMNS_MAX);
        screen->row = (uint32_t)min_u64(screen->saved_row, (uint64_t)screen->rows - 1);
        screen->column = screen->saved_column;
        screen->alternate = false;
    }
}

static void set_mode(struct screen *screen, uint32_t mode, bool on)
{
    if (mode == MODE_AUTOWRAP) {
        screen->stays_in_row = !on;
    } else if (mode == MODE_ALTERNATE && on) {
        enter_alternate(screen);
    } else if (mode == MODE_ALTERNATE) {
        leave_alternate(screen);
    }
}

static void put_sequence(struct screen *screen)
{
    const struct vt_parser *parser = &screen->parser;
    int64_t row = screen->row;
    int64_t column = screen->column;
    int64_t count = vt_parameter(parser, 0, 1);

    switch (parser->final) {
    case 'A':
        move_to(screen, row - count, column);
        break;
    case 'B':
        move_to(screen, row + count, column);
        break;
    case 'C':
        move_to(screen, row, column + count);
        break;
    case 'D':
        move_to(screen, row, column - count);
        break;
    case 'G':
        move_to(screen, row, count - 1);
        break;
    case 'H':
    case 'f':
        move_to(screen, count - 1, (int64_t)vt_parameter(parser, 1, 1) - 1);
        break;
    case 'J':
        control_erase(screen, true);
        break;
    case 'K':
        control_erase(screen, false);
        break;
    default:
        break; /* colours and the like: nothing to show */
    }
}

static void put_control(struct screen *screen)
{
    const struct vt_parser *parser = &screen->parser;

    if (parser->marker == 0 && parser->intermediate == 0) {
        put_sequence(screen);
    } else if (parser->marker == '?' && (parser->final == 'h' || parser->final == 'l')) {
        for (uint32_t i = 0; i < parser->parameter_count; i++) {
            set_mode(screen, parser->parameters[i], parser->final == 'h');
        }
    }
}

void screen_put(struct screen *screen, uint8_t byte)
{
    if (screen->columns == 0) {
        return;
    }
    switch (vt_parse(&screen->parser, byte)) {
    case VT_NOTHING:
    case VT_ESCAPE:
        return;
    case VT_PRINT:
        put_character(screen, has_glyph(screen, screen->parser.character) ? (uint8_t)screen->parser.character
                                                                          : (uint8_t)VT_UNKNOWN_CHARACTER);
        break;
    case VT_CONTROL:
        put_character_control(screen, screen->parser.character);
        break;
    case VT_CSI:
        put_control(screen);
        break;
    }
    screen->dirty = true;
}

static bool row_is_blank(const struct screen *screen, uint32_t row)
{
    for (uint32_t column = 0; column < screen->columns; column++) {
        if (screen->wanted[row][column] != ' ') {
            return false;
        }
    }
    return true;
}

void screen_recover(struct screen *screen)
{
    if (screen->columns == 0) {
        return;
    }
    leave_alternate(screen);
    vt_parser_reset(&screen->parser);
    screen->stays_in_row = false;
    screen->column = 0;
    screen->row = screen->rows - 1;
    while (screen->row > 0 && row_is_blank(screen, screen->row) && row_is_blank(screen, screen->row - 1)) {
        screen->row--;
    }
    if (!row_is_blank(screen, screen->row)) {
        scroll(screen);
    }
    screen->dirty = true;
}

/* Takes the last rows from the text, which moves up where the cursor would be below it. */
static void reserve_status(struct screen *screen, uint32_t count)
{
    uint32_t wanted = (uint32_t)min_u64(count + 1, screen->rows / 4);

    while (screen->row + wanted >= screen->rows) {
        scroll(screen);
        screen->row--;
    }
    screen->rows -= wanted;
    screen->status_rows = wanted;
    for (uint32_t row = 0; row < wanted; row++) {
        memset(screen->wanted[screen->rows + row], row == 0 ? '-' : ' ', screen->columns);
    }
}

void screen_set_status(struct screen *screen, uint32_t index, uint32_t count, const char *text)
{
    uint8_t *row;
    uint32_t column = 0;

    if (screen->columns != 0 && screen->status_rows == 0) {
        reserve_status(screen, count);
    }
    if (index + 1 >= screen->status_rows) {
        return;
    }
    row = screen->wanted[screen->rows + 1 + index];
    memset(row, ' ', screen->columns);
    for (; *text != '\0' && column < screen->columns; text++) {
        row[column++] = (uint8_t)(*text >= ' ' && *text <= '~' ? *text : '?');
    }
    screen->dirty = true;
}

/* One row of dots of a character, `scale` times as wide. The caller has checked that it lies in the framebuffer. */
static void draw_dots(const struct screen *screen, uint8_t *to, uint8_t dots)
{
    const struct screen_pixels *pixels = &screen->pixels;

    for (uint32_t x = 0; x < GLYPH_WIDTH * screen->scale; x++) {
        bool lit = (dots & (0x80u >> x / screen->scale)) != 0;
        uint32_t colour = lit ? pixels->foreground : 0;

        memcpy(to + (size_t)x * pixels->bytes_per_pixel, &colour, pixels->bytes_per_pixel);
    }
}

/* The usual format: a store per dot, without a call. */
static void draw_dots_32(const struct screen *screen, uint8_t *to, uint8_t dots)
{
    uint32_t *pixel = (uint32_t *)(void *)to;
    uint32_t foreground = screen->pixels.foreground;

    for (uint32_t bit = 0x80; bit != 0; bit >>= 1) {
        uint32_t colour = (dots & bit) != 0 ? foreground : 0;

        for (uint32_t i = 0; i < screen->scale; i++) {
            *pixel++ = colour;
        }
    }
}

static void draw_cell(const struct screen *screen, uint32_t row, uint32_t column, uint8_t character)
{
    const struct screen_pixels *pixels = &screen->pixels;
    uint64_t line_bytes = (uint64_t)pixels->stride_pixels * pixels->bytes_per_pixel;
    uint64_t cell_bytes = (uint64_t)GLYPH_WIDTH * screen->scale * pixels->bytes_per_pixel;
    const uint8_t *glyph = screen->font[character - GLYPH_FIRST];

    for (uint32_t y = 0; y < GLYPH_HEIGHT * screen->scale; y++) {
        uint64_t offset = (row * GLYPH_HEIGHT * screen->scale + y) * line_bytes + column * cell_bytes;

        if (offset + cell_bytes > pixels->bytes) {
            return;
        }
        if (pixels->bytes_per_pixel == 4) {
            draw_dots_32(screen, pixels->base + offset, glyph[y / screen->scale]);
        } else {
            draw_dots(screen, pixels->base + offset, glyph[y / screen->scale]);
        }
    }
}

#define LOOKS_PER_CELL 16u /* cells that are looked at cost as much as one that is drawn */

/* What changes behind the look of a pass makes the screen dirty again, for the next one. */
bool screen_draw(struct screen *screen, uint32_t cells_max)
{
    uint32_t cells = (screen->rows + screen->status_rows) * screen->columns;
    uint64_t left = (uint64_t)cells_max * LOOKS_PER_CELL;

    if (screen->looks_left == 0 && screen->dirty) {
        screen->looks_left = cells;
        screen->dirty = false;
    }
    for (; screen->looks_left != 0 && left != 0; screen->looks_left--) {
        uint32_t row = screen->next_cell / screen->columns;
        uint32_t column = screen->next_cell % screen->columns;
        uint8_t character = screen->wanted[row][column];

        if (screen->drawn[row][column] != character) {
            draw_cell(screen, row, column, character);
            screen->drawn[row][column] = character;
            left -= min_u64(left, LOOKS_PER_CELL) - 1;
        }
        left--;
        screen->next_cell = screen->next_cell + 1 >= cells ? 0 : screen->next_cell + 1;
    }
    return screen->looks_left == 0;
}

uint64_t screen_repaint_top(struct screen *screen)
{
    uint64_t cell_bytes = (uint64_t)GLYPH_WIDTH * GLYPH_HEIGHT * screen->scale * screen->scale;

    for (uint32_t column = 0; column < screen->columns; column++) {
        draw_cell(screen, 0, column, screen->drawn[0][column]);
    }
    return screen->columns * cell_bytes * screen->pixels.bytes_per_pixel;
}
