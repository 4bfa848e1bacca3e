/* SPDX-License-Identifier: MIT */
/* The screen console's characters: printable ASCII, 8 dots wide, the leftmost dot in the highest bit of each row.
 * Made by tools/mkfont at build time. */
#ifndef HV_CONSOLE_CONSOLE_FONT_H
#define HV_CONSOLE_CONSOLE_FONT_H

#include "hv/base/types.h"

#define CONSOLE_FONT_FIRST 0x20u
#define CONSOLE_FONT_LAST 0x7eu
#define CONSOLE_FONT_GLYPHS (CONSOLE_FONT_LAST - CONSOLE_FONT_FIRST + 1u)
#define CONSOLE_FONT_WIDTH 8u
#define CONSOLE_FONT_HEIGHT 16u

extern const uint8_t console_font[CONSOLE_FONT_GLYPHS][CONSOLE_FONT_HEIGHT];

#endif
