/* SPDX-License-Identifier: MIT */
/*
 * The MC146818-compatible real-time clock with 128 bytes of CMOS RAM, ports 0x70 and 0x71, IRQ 8.
 * Motorola MC146818A data sheet; Intel 82371AB (PIIX4) data sheet 4.2.6.
 *
 * The time of day is the wall clock plus an offset that the guest sets by setting the clock. The date registers are
 * computed when they are read; the flags of register C when they are read or when an enabled interrupt falls due.
 */
#ifndef HV_DEV_CMOS_H
#define HV_DEV_CMOS_H

#include "hv/base/clock.h"
#include "hv/base/types.h"
#include "hv/dev/bus.h"
#include "hv/dev/ticks.h"
#include "hv/dev/timebase.h"

#define CMOS_INDEX_PORT 0x70u
#define CMOS_DATA_PORT 0x71u
#define CMOS_IRQ 8u
#define CMOS_BYTES 128u

struct cmos_config {
    const struct clock *clock;
    uint64_t wall_clock_ns; /* Unix time in ns at host TSC `wall_clock_tsc` */
    uint64_t wall_clock_tsc;
    uint64_t ram_low_bytes, ram_high_bytes;
};

struct cmos {
    struct cmos_config config;
    struct bus_signals signals; /* line 0: the interrupt */
    uint8_t index;              /* port 0x70 bits 6:0 */
    uint8_t ram[CMOS_BYTES];
    int64_t offset_ns;        /* guest's time of day minus wall clock */
    int64_t seen_s;           /* the guest's second up to which the flags are true */
    struct timebase periodic; /* the 32.768 kHz time base since the rate was set */
    uint64_t periods;         /* of `periodic`, up to which the flags are true */
    struct ticks ticks;       /* of its interrupt, in host TSC ticks */
};

void cmos_reset(struct cmos *cmos, const struct cmos_config *config, uint64_t now);

/* port is 0x70 or 0x71. */
uint8_t cmos_read(struct cmos *cmos, uint16_t port, uint64_t now);
void cmos_write(struct cmos *cmos, uint16_t port, uint8_t value, uint64_t now);

/* Sets the flags that have fallen due, and with them `irq` and `deadline`. */
void cmos_run(struct cmos *cmos, uint64_t now);

extern const struct bus_row cmos_row;

#endif
