/* SPDX-License-Identifier: MIT */
/*
 * What one place of a terminal shows: a character and its style. And which characters may be shown at all.
 */
#ifndef HV_CONSOLE_VT_CELL_H
#define HV_CONSOLE_VT_CELL_H

#include "hv/console/vt_parser.h"

enum vt_style_flag {
    VT_BOLD = 1u << 0,
    VT_FAINT = 1u << 1,
    VT_ITALIC = 1u << 2,
    VT_UNDERLINE = 1u << 3,
    VT_REVERSE = 1u << 4,
    VT_FOREGROUND = 1u << 5, /* not the terminal's own: the low half of `colours` */
    VT_BACKGROUND = 1u << 6, /* the same: the high half */
};

/* All zeroes: a terminal's own. Concealed and blinking text is not offered: nothing is hidden. */
struct vt_style {
    uint8_t flags;
    uint8_t colours; /* of the sixteen: foreground | background << 4 */
};

struct vt_cell {
    uint16_t character; /* 0: the second column of the character before it */
    struct vt_style style;
};
_Static_assert(sizeof(struct vt_cell) == 4, "a page has thousands of them");

#define VT_CELL_BLANK ((struct vt_cell){.character = ' '})

static inline bool vt_style_equal(struct vt_style left, struct vt_style right)
{
    return left.flags == right.flags && left.colours == right.colours;
}

/* A cell that looks like an empty one. */
static inline bool vt_cell_is_blank(struct vt_cell cell)
{
    return cell.character == ' ' && (cell.style.flags & (VT_UNDERLINE | VT_REVERSE | VT_BACKGROUND)) == 0;
}

/* Changes the style as a control sequence with the final byte `m` says (SGR). ECMA-48 8.3.117; 256 and 24-bit colours
 * (ISO 8613-6) become the nearest of the sixteen. */
void vt_style_change(struct vt_style *style, const struct vt_parser *parser);

/*
 * How many columns of a terminal the character takes, as far as terminals agree on it: 1 or 2. 0: it is not shown as it
 * is but as VT_UNKNOWN_CHARACTER. That concerns what has no width (combining and invisible characters), what changes the
 * direction of text and so the place of its neighbours, the scripts that do that, private characters, and those beyond
 * U+FFFF. Unicode 15.0, Standard Annex 11 "East Asian Width".
 */
uint32_t vt_columns(uint32_t character);

/* The line-drawing set that ESC ( 0 selects, in Unicode; other characters as they are. DEC VT220 programmer reference,
 * table 2-4. */
uint32_t vt_graphic(uint32_t character);

#endif
