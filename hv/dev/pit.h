/* SPDX-License-Identifier: MIT */
/*
 * The 8254 timer: three channels in all six modes, and system control port B (0x61).
 * Intel 8254 data sheet (231164-005); Intel 82371AB (PIIX4) data sheet 4.2.3, 4.2.4 for the port and its wiring.
 *
 * Nothing ticks here. A channel keeps the tick at which its count was loaded; counts, outputs and edges are computed
 * from the time of the access. Channel 0 drives IRQ 0, and only its rising edges matter: pit_run() notes the last one
 * and computes when the next will be. Several edges that pass unseen are one interrupt, as with a masked IRQ on a PC.
 */
#ifndef HV_DEV_PIT_H
#define HV_DEV_PIT_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"
#include "hv/dev/ticks.h"
#include "hv/dev/timebase.h"

#define PIT_CHANNELS 3u
#define PIT_IRQ 0u
#define PIT_HZ 1193182u /* 14.31818 MHz / 12 */

struct pit_channel {
    uint8_t mode;   /* 0..5 */
    uint8_t access; /* 1 low byte, 2 high byte, 3 low then high */
    bool bcd;
    bool gate;
    bool write_high;       /* access 3: the next write is the high byte */
    bool read_high;        /* likewise for reads */
    uint8_t write_low;     /* the low byte that waits for the high one */
    bool loaded;           /* `count` is in the counting element */
    bool running;          /* and it counts: `start` is valid; else `stopped_at` is */
    bool waits;            /* `next_count` waits: for `switch_at`, or for the gate where that is DEADLINE_NONE */
    uint32_t count;        /* 1..65536, in BCD 1..10000; 0: none since the control word */
    uint32_t next_count;   /* the same */
    uint64_t start;        /* tick of elapsed time 0 */
    uint64_t stopped_at;   /* elapsed ticks when the gate stopped it */
    uint64_t switch_at;    /* tick at which next_count takes over, */
    uint64_t switch_start; /* and the `start` that it then has */
    uint16_t last_value;   /* what the counter shows before anything was loaded */
    uint8_t latched_bytes; /* bytes of `latched_count` still to read */
    uint16_t latched_count;
    bool status_latched;
    uint8_t latched_status;
};

struct pit {
    struct bus_signals signals; /* line 0, IRQ 0: raised by an edge, lowered when programming drives OUT low */
    struct timebase base;
    struct pit_channel channels[PIT_CHANNELS];
    uint8_t port_b;     /* bits 3:0 as written */
    uint64_t next_edge; /* tick of the next rising edge of OUT 0 */
    struct ticks ticks; /* of channel 0, in its ticks */
};

/* As firmware leaves it: channel 0 in mode 3 with count 65536, channel 1 the refresh, channel 2 silent. */
void pit_reset(struct pit *pit, const struct clock *clock, uint64_t now);

/* Ports 0x40..0x43 as 0..3. */
uint8_t pit_read(struct pit *pit, unsigned port, uint64_t now);
void pit_write(struct pit *pit, unsigned port, uint8_t value, uint64_t now);

/* Port 0x61. */
uint8_t pit_port_b_read(struct pit *pit, uint64_t now);
void pit_port_b_write(struct pit *pit, uint8_t value, uint64_t now);

/* Brings channel 0 up to `now`; a rising edge that it meets is left in the signals' edges. */
void pit_run(struct pit *pit, uint64_t now);

/* An edge of IRQ 0 met one that waited: both are one interrupt. */
void pit_edge_merged(struct pit *pit);

/* The output pin of a channel. */
bool pit_output(const struct pit *pit, unsigned channel, uint64_t now);

/* Ports 0x40 to 0x43 and 0x61. */
extern const struct bus_row pit_row;

#endif
