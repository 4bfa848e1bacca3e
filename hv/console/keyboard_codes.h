/* SPDX-License-Identifier: MIT */
/*
 * What a PC's keyboard sends, as the bytes of a terminal: scan codes of set 1, US layout. Pure.
 *
 * Letters with Shift, Ctrl and Caps Lock; Alt puts an ESC before. Arrows and the other keys beside the letters are the
 * sequences of a VT220 and xterm. Codes that mean nothing here (releases, Windows keys, Num Lock) give no byte.
 */
#ifndef HV_CONSOLE_KEYBOARD_CODES_H
#define HV_CONSOLE_KEYBOARD_CODES_H

#include "hv/base/types.h"

#define KEYBOARD_BYTES_MAX 8u /* of one key: ESC, and "\e[24~" */

struct keyboard_codes {
    bool shift_left, shift_right, control_left, control_right, alt, caps;
    bool extended; /* an 0xe0 came */
    uint8_t skip;  /* codes of the Pause key that are still to come */
};

/* One code of set 1; the bytes that it makes are written, their number is returned. */
uint32_t keyboard_decode(struct keyboard_codes *codes, uint8_t code, uint8_t bytes[KEYBOARD_BYTES_MAX]);

#endif
