/* SPDX-License-Identifier: MIT */
/*
 * A kernel that knows only the text display: it writes there, moves the cursor, says nothing on its serial port, and
 * ends. The hypervisor shows what it wrote.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "screen";

#define TEXT_MEMORY 0xb8000u
#define COLUMNS 80u
#define GREY_ON_BLACK 0x0700u

static uint32_t cursor;

static void put_row(const char *text)
{
    volatile uint16_t *cells = (volatile uint16_t *)(uintptr_t)TEXT_MEMORY;

    for (uint32_t i = 0; i < COLUMNS; i++) {
        cells[cursor + i] = GREY_ON_BLACK | (uint8_t)(*text != '\0' ? *text++ : ' ');
    }
    cursor += COLUMNS;
    out16(0x3d4, (uint16_t)((cursor & 0xff00) | 14));
    out16(0x3d4, (uint16_t)(cursor << 8 | 15));
}

void guest_main(void)
{
    put_row("screen: first row");
    put_row("");
    put_row("screen: third row\x1b[2J of 80 cells");
    out16(PM1A_CONTROL, PM1A_POWER_OFF);
}
