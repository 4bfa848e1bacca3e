/* SPDX-License-Identifier: MIT */
/* The RTC's registers and its RAM, at ports 0x70 and 0x71. */
#ifndef TESTS_GUESTS_LIB_CMOS_H
#define TESTS_GUESTS_LIB_CMOS_H

#include "tests/guests/lib/guest.h"

/* MC146818A data sheet, registers. */
#define RTC_A 0x0a
#define RTC_B 0x0b
#define RTC_C 0x0c /* a read ends the interrupt */
#define RTC_D 0x0d
#define RTC_64_HZ 0x2a   /* of A, with the usual divider */
#define RTC_1024_HZ 0x26 /* of A */
#define RTC_24_HOURS 0x02
#define RTC_PIE 0x40 /* of B: periodic interrupts */

static inline uint8_t cmos_read(uint8_t index)
{
    out8(0x70, index);
    return in8(0x71);
}

static inline void cmos_write(uint8_t index, uint8_t value)
{
    out8(0x70, index);
    out8(0x71, value);
}

#endif
