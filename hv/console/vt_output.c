/* SPDX-License-Identifier: MIT */
#include "hv/console/vt_output.h"

#include "hv/base/format.h"

#define STYLE_BYTES_MAX 32u /* CSI 0;1;2;3;4;7;97;107 m */

void output_byte(struct mux_output *output, char byte)
{
    if (output->length < output->capacity) {
        output->bytes[output->length++] = byte;
    }
}

void output_text(struct mux_output *output, const char *text)
{
    while (*text != '\0') {
        output_byte(output, *text++);
    }
}

void output_control(struct mux_output *output, uint32_t number, char final)
{
    char text[16];

    (void)format_text(text, sizeof(text), "\x1b[%u%c", number, final);
    output_text(output, text);
}

void output_move(struct mux_output *output, uint32_t row, uint32_t column)
{
    char text[24];

    (void)format_text(text, sizeof(text), "\x1b[%u;%uH", row, column);
    output_text(output, text);
}

static size_t put_colour(char *to, size_t capacity, uint32_t colour, uint32_t plain, uint32_t bright)
{
    return format_text(to, capacity, ";%u", colour < 8 ? plain + colour : bright + colour - 8);
}

/* From the terminal's own on each time: no style depends on what came before. */
void output_style(struct mux_output *output, struct vt_style style)
{
    static const char *const names[] = {";1", ";2", ";3", ";4", ";7"}; /* in the order of enum vt_style_flag */
    char text[STYLE_BYTES_MAX];
    size_t length;

    if (vt_style_equal(style, output->style)) {
        return;
    }
    output->style = style;
    length = format_text(text, sizeof(text), "\x1b[0");
    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
        if ((style.flags & 1u << i) != 0) {
            length += format_text(text + length, sizeof(text) - length, "%s", names[i]);
        }
    }
    if ((style.flags & VT_FOREGROUND) != 0) {
        length += put_colour(text + length, sizeof(text) - length, style.colours & 0x0fu, 30, 90);
    }
    if ((style.flags & VT_BACKGROUND) != 0) {
        length += put_colour(text + length, sizeof(text) - length, style.colours >> 4u, 40, 100);
    }
    (void)format_text(text + length, sizeof(text) - length, "m");
    output_text(output, text);
}

void output_plain(struct mux_output *output)
{
    output_style(output, (struct vt_style){0});
}

/* UTF-8. Unicode 15.0, 3.9, table 3-6. */
static void output_character(struct mux_output *output, uint32_t character)
{
    if (character < 0x80) {
        output_byte(output, (char)character);
        return;
    }
    if (character < 0x800) {
        output_byte(output, (char)(0xc0u | character >> 6));
    } else {
        output_byte(output, (char)(0xe0u | character >> 12));
        output_byte(output, (char)(0x80u | (character >> 6 & 0x3fu)));
    }
    output_byte(output, (char)(0x80u | (character & 0x3fu)));
}

void output_cells(struct mux_output *output, const struct vt_cell *cells, uint32_t count)
{
    uint32_t end = output->length + VT_CELLS_BYTES_MAX;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t needed = STYLE_BYTES_MAX + (count - i) * VT_CHARACTER_BYTES_MAX;

        if (cells[i].character == 0) {
            continue;
        }
        if (output->length + needed <= end) {
            output_style(output, cells[i].style);
        }
        output_character(output, cells[i].character);
    }
}
