/* SPDX-License-Identifier: MIT */
/*
 * A watchdog that kernels find by the ACPI table WDAT (Linux: wdat_wdt; Windows has its own): a program in the guest
 * feeds it; where none does for long enough, the guest has crashed. Microsoft, "Hardware Watchdog Timers Design
 * Specification", 2 "Watchdog Action Table".
 *
 *   0x620  control   bit 0: it runs
 *   0x621  feed      a write begins the time anew
 *   0x622  status    bit 0: it ended the last run; write 1 to clear. Always 0: a guest begins anew after an end
 *   0x624  time      16 bits: how long, in seconds; a write begins it anew
 *   0x626  left      16 bits: what is left of it, rounded up
 */
#ifndef HV_DEV_WDAT_H
#define HV_DEV_WDAT_H

#include "hv/dev/bus.h"
#include "hv/dev/table_writer.h"

#define WDAT_PORT 0x620u
#define WDAT_BYTES 8u
#define WDAT_SECONDS_MAX 3600u
#define WDAT_SECONDS_DEFAULT 30u

struct wdat {
    const struct clock *clock;
    struct bus_signals signals;
    bool running;
    uint16_t seconds;
    uint64_t fed_at; /* host TSC */
};

extern const struct bus_row wdat_row;

/* The table; returns where it begins. */
uint64_t wdat_put_table(struct table_writer *out);

#endif
