/* SPDX-License-Identifier: MIT */
#include "hv/console/vt_cell.h"

/* --- Style --- */

#define COLOURS_PLAIN 8u /* the bright ones follow */
#define CUBE_FIRST 16u   /* of 256 colours: 6 x 6 x 6, then 24 greys */
#define CUBE_SIDE 6u
#define GREY_FIRST 232u
#define COLOUR_RED 1u
#define COLOUR_GREEN 2u
#define COLOUR_BLUE 4u
#define COLOUR_BRIGHT 8u

/* From parts of 0 to 5: a part counts that has at least half of the largest one. */
static uint8_t nearest_colour(uint32_t red, uint32_t green, uint32_t blue)
{
    uint32_t most = (uint32_t)max_u64(red, max_u64(green, blue));
    uint32_t colour = most >= 4 ? COLOUR_BRIGHT : 0;

    if (most == 0) {
        return 0;
    }
    colour |= red * 2 >= most ? COLOUR_RED : 0;
    colour |= green * 2 >= most ? COLOUR_GREEN : 0;
    colour |= blue * 2 >= most ? COLOUR_BLUE : 0;
    return (uint8_t)colour;
}

static uint8_t colour_of_index(uint32_t index)
{
    if (index < CUBE_FIRST) {
        return (uint8_t)index;
    }
    if (index < GREY_FIRST) {
        uint32_t place = index - CUBE_FIRST;

        return nearest_colour(place / (CUBE_SIDE * CUBE_SIDE), place / CUBE_SIDE % CUBE_SIDE, place % CUBE_SIDE);
    }
    return nearest_colour((index - GREY_FIRST) / 4, (index - GREY_FIRST) / 4, (index - GREY_FIRST) / 4);
}

static void set_foreground(struct vt_style *style, uint8_t colour)
{
    style->flags |= VT_FOREGROUND;
    style->colours = (uint8_t)((style->colours & 0xf0u) | colour);
}

static void set_background(struct vt_style *style, uint8_t colour)
{
    style->flags |= VT_BACKGROUND;
    style->colours = (uint8_t)((style->colours & 0x0fu) | (uint32_t)colour << 4);
}

static void clear_flags(struct vt_style *style, uint32_t flags)
{
    style->flags &= (uint8_t)~flags;
    style->colours &= (uint8_t)((flags & VT_FOREGROUND) != 0 ? 0xf0u : 0xffu);
    style->colours &= (uint8_t)((flags & VT_BACKGROUND) != 0 ? 0x0fu : 0xffu);
}

#define SGR_FOREGROUND_OTHER 38u
#define SGR_BACKGROUND_OTHER 48u
#define SGR_OTHER_RGB 2u
#define SGR_OTHER_INDEX 5u
#define RGB_PER_PART 51u /* 255 / 5 */

/* 38;5;INDEX or 38;2;RED;GREEN;BLUE, and with 48. Returns how many parameters it took. */
static uint32_t change_other_colour(struct vt_style *style, const struct vt_parser *parser, uint32_t at)
{
    uint32_t left = parser->parameter_count - at;
    const uint32_t *some = &parser->parameters[at];
    uint8_t colour;
    uint32_t taken;

    if (left >= 3 && some[1] == SGR_OTHER_INDEX && some[2] <= 0xff) {
        colour = colour_of_index(some[2]);
        taken = 3;
    } else if (left >= 5 && some[1] == SGR_OTHER_RGB) {
        colour = nearest_colour(some[2] / RGB_PER_PART, some[3] / RGB_PER_PART, some[4] / RGB_PER_PART);
        taken = 5;
    } else {
        return left; /* not understood, so neither is what follows */
    }
    if (some[0] == SGR_FOREGROUND_OTHER) {
        set_foreground(style, colour);
    } else {
        set_background(style, colour);
    }
    return taken;
}

static void change_flag(struct vt_style *style, uint32_t parameter)
{
    static const uint8_t on[] = {[1] = VT_BOLD, [2] = VT_FAINT, [3] = VT_ITALIC, [4] = VT_UNDERLINE, [7] = VT_REVERSE};
    static const uint8_t off[] = {
        [0] = 0, [2] = VT_BOLD | VT_FAINT, [3] = VT_ITALIC, [4] = VT_UNDERLINE, [7] = VT_REVERSE};

    if (parameter == 0) {
        *style = (struct vt_style){0};
    } else if (parameter < ARRAY_COUNT(on)) {
        style->flags |= on[parameter];
    } else if (parameter >= 20 && parameter < 20 + ARRAY_COUNT(off)) {
        clear_flags(style, off[parameter - 20]);
    }
}

static void change_colour(struct vt_style *style, uint32_t parameter)
{
    if (parameter >= 30 && parameter < 38) {
        set_foreground(style, (uint8_t)(parameter - 30));
    } else if (parameter == 39) {
        clear_flags(style, VT_FOREGROUND);
    } else if (parameter >= 40 && parameter < 48) {
        set_background(style, (uint8_t)(parameter - 40));
    } else if (parameter == 49) {
        clear_flags(style, VT_BACKGROUND);
    } else if (parameter >= 90 && parameter < 98) {
        set_foreground(style, (uint8_t)(parameter - 90 + COLOURS_PLAIN));
    } else if (parameter >= 100 && parameter < 108) {
        set_background(style, (uint8_t)(parameter - 100 + COLOURS_PLAIN));
    }
}

void vt_style_change(struct vt_style *style, const struct vt_parser *parser)
{
    for (uint32_t at = 0; at < parser->parameter_count;) {
        uint32_t parameter = parser->parameters[at];

        if (parameter == SGR_FOREGROUND_OTHER || parameter == SGR_BACKGROUND_OTHER) {
            at += change_other_colour(style, parser, at);
        } else if (parameter < 30) {
            change_flag(style, parameter);
            at++;
        } else {
            change_colour(style, parameter);
            at++;
        }
    }
}

/* --- Width --- */

struct width_range {
    uint16_t first, last;
    uint8_t columns;
};

/* What is not here is not shown. Blocks of Unicode, without their combining, invisible and right-to-left characters, and
 * without blanks other than the blank. */
static const struct width_range widths[] = {
    {0x0020, 0x007e, 1}, {0x00a1, 0x00ac, 1}, {0x00ae, 0x02ff, 1}, /* Latin, phonetic */
    {0x0370, 0x0482, 1}, {0x048a, 0x0556, 1},                      /* Greek, Cyrillic, Armenian */
    {0x10d0, 0x10fc, 1}, {0x1e00, 0x1fff, 1},                      /* Georgian; more of Latin and Greek */
    {0x2010, 0x2027, 1}, {0x2030, 0x205e, 1},                      /* punctuation */
    {0x2070, 0x209c, 1}, {0x20a0, 0x20c0, 1}, {0x2100, 0x2319, 1}, /* signs, arrows, mathematics */
    {0x231c, 0x2328, 1}, {0x232b, 0x23e8, 1}, {0x2400, 0x244a, 1}, /* technical */
    {0x2460, 0x25fc, 1}, {0x25ff, 0x2613, 1},                      /* in circles, boxes, blocks, shapes */
    {0x2801, 0x28ff, 1},                                           /* Braille */
    {0x3001, 0x3029, 2}, {0x3030, 0x303e, 2}, {0x3041, 0x3096, 2}, {0x309b, 0x30ff, 2},
    {0x3105, 0x312f, 2}, {0x3400, 0x4dbf, 2}, {0x4e00, 0x9fff, 2}, {0xac00, 0xd7a3, 2},
    {0xff01, 0xff60, 2}, {0xff61, 0xff9f, 1}, {0xfffd, 0xfffd, 1},
};

uint32_t vt_columns(uint32_t character)
{
    for (size_t i = 0; i < ARRAY_COUNT(widths); i++) {
        if (character >= widths[i].first && character <= widths[i].last) {
            return widths[i].columns;
        }
    }
    return 0;
}

/* --- Line drawing --- */

#define GRAPHIC_FIRST 0x60u

uint32_t vt_graphic(uint32_t character)
{
    static const uint16_t drawn[] = {
        0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0x00b0, 0x00b1, 0x2424, 0x240b, 0x2518,
        0x2510, 0x250c, 0x2514, 0x253c, 0x23ba, 0x23bb, 0x2500, 0x23bc, 0x23bd, 0x251c, 0x2524,
        0x2534, 0x252c, 0x2502, 0x2264, 0x2265, 0x03c0, 0x2260, 0x00a3, 0x00b7,
    };

    if (character >= GRAPHIC_FIRST && character - GRAPHIC_FIRST < ARRAY_COUNT(drawn)) {
        return drawn[character - GRAPHIC_FIRST];
    }
    return character;
}
