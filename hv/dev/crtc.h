/* SPDX-License-Identifier: MIT */
/*
 * The CRT controller's registers (0x3d4, 0x3d5) and the status port (0x3da) of a display that is drawn nowhere. Kernels
 * keep the text cursor in the former: xv6 and JOS read back where it is before they print their first character, and
 * 0xffff ends xv6. Others wait for the retrace bit of the latter to change, so it changes with every read.
 *
 * The text memory at 0xb8000 is RAM (hv/mm/guest_layout.h): 25 rows of 80 cells, a character and its colours each. IBM
 * VGA Technical Reference, "CRT Controller Registers".
 */
#ifndef HV_DEV_CRTC_H
#define HV_DEV_CRTC_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"

#define CRTC_INDEX 0x3d4u
#define CRTC_DATA 0x3d5u
#define CRTC_STATUS 0x3dau
#define CRTC_REGISTERS 32u
#define TEXT_MEMORY 0xb8000ULL
#define TEXT_ROWS 25u
#define TEXT_COLUMNS 80u
#define TEXT_ROW_BYTES (2 * TEXT_COLUMNS)
_Static_assert(TEXT_ROWS *TEXT_ROW_BYTES <= 4 * KIB, "one page of text memory");

struct crtc {
    struct bus_signals signals;
    uint8_t index;
    uint8_t status;
    uint8_t registers[CRTC_REGISTERS];
};

void crtc_reset(struct crtc *crtc);

/* port is one of the three above. */
uint8_t crtc_read(struct crtc *crtc, uint16_t port);
void crtc_write(struct crtc *crtc, uint16_t port, uint8_t value);

/* A row's cells as text, what is no printable ASCII as a blank, without the blanks at the end. Gives its length. */
uint32_t crtc_row_text(const uint8_t cells[TEXT_ROW_BYTES], char text[TEXT_COLUMNS + 1]);

extern const struct bus_row crtc_row;

#endif
