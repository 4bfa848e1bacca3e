/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware: PM1a event and control blocks and the power-management timer. ACPI 6.5, 4.8.3.
 *
 *   0x600  PM1 status   0x602  PM1 enable   0x604  PM1 control   0x608  PM timer, 32 bits, 3.579545 MHz
 *
 * The machine is always in ACPI mode (SCI_EN reads 1). The SCI is IRQ 9, level-triggered, active high.
 */
#ifndef HV_DEV_PM_H
#define HV_DEV_PM_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"
#include "hv/dev/timebase.h"

#define PM_BASE 0x600u
#define PM_STATUS_OFFSET 0u
#define PM_ENABLE_OFFSET 2u
#define PM_CONTROL_OFFSET 4u
#define PM_TIMER_OFFSET 8u
#define PM_BYTES 12u
_Static_assert(PM_ENABLE_OFFSET == PM_STATUS_OFFSET + 2 && PM_TIMER_OFFSET + 4 == PM_BYTES,
               "status and enable are halves of one block; the timer's 32 bits are the last");
#define PM_IRQ 9u /* the SCI */
#define PM_TIMER_HZ 3579545u
#define PM_SLEEP_TYPE_S5 0u /* what the DSDT's \_S5 says */

struct pm {
    struct bus_signals signals; /* line 0: the SCI; power: soft-off */
    struct timebase base;
    uint16_t status;
    uint16_t enable;
    uint16_t control;
    uint64_t half_cycles; /* times that the timer's top bit has changed, as far as `status` knows */
};

void pm_reset(struct pm *pm, const struct clock *clock, uint64_t now);

/* offset from PM_BASE, 0..PM_BYTES-1; size 1, 2 or 4. */
uint32_t pm_read(struct pm *pm, unsigned offset, uint8_t size, uint64_t now);
void pm_write(struct pm *pm, unsigned offset, uint8_t size, uint32_t value, uint64_t now);

void pm_run(struct pm *pm, uint64_t now);

/* The power button is pressed: its status bit, and the SCI where the guest has enabled it. ACPI 6.5, 4.8.2.2.1.1. */
void pm_press_power_button(struct pm *pm);

/* The RTC's interrupt line has risen: its status bit, and the SCI where the guest has enabled it, which wakes a kernel
 * that has suspended itself. ACPI 6.5, 4.8.2.4 "Real Time Clock Alarm". */
void pm_rtc_rises(struct pm *pm);

/* Has the guest enabled it? Then the RTC is heard though its own line is masked. */
bool pm_hears_rtc(const struct pm *pm);

extern const struct bus_row pm_row;

#endif
