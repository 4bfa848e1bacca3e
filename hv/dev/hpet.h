/* SPDX-License-Identifier: MIT */
/*
 * The HPET at 0xfed00000: a 64-bit counter at four times the PM timer's rate and three timers. IA-PC HPET
 * Specification 1.0a, 2.3 "Memory Mapped Registers"; its timers reach pins 2 and 16 to 23 of the I/O APIC, or in
 * legacy replacement mode IRQ 0 and IRQ 8 in place of the 8254 and the RTC (2.2.3 "LegacyReplacement Routing").
 *
 * No ACPI table names it, but with `hpet = yes`: kernels that look have better clocks here. It is for those that take
 * the address for granted, and with the table for those that have no other reference.
 *
 * A timer that is set to a time that has just passed fires at once: a guest whose CPU was elsewhere between its
 * reading of the counter and its writing of the comparator would else wait for the counter to come round. "Just" is
 * half of 32 bits.
 *
 * Edges are left in `edges` for the wires to take, levels are in `status`; BUS_ROUTES says that there is something
 * new.
 */
#ifndef HV_DEV_HPET_H
#define HV_DEV_HPET_H

#include "hv/base/clock.h"
#include "hv/base/types.h"
#include "hv/dev/bus.h"
#include "hv/dev/ticks.h"
#include "hv/dev/timebase.h"

#define HPET_BYTES 0x400u
#define HPET_HZ 14318180u
#define HPET_TIMERS 3u
/* Vendor, legacy replacement, a counter of 64 bits, timers less one, revision. 2.3.4 "General Capabilities and ID". */
#define HPET_BLOCK_ID (0x8086u << 16 | 1u << 15 | 1u << 13 | (HPET_TIMERS - 1) << 8 | 1u)
#define HPET_PERIOD_MIN_TICKS 287u /* of a periodic timer's interrupts: 20 us */
#define HPET_PINS 0x00ff0004u      /* where timers may be routed */

struct hpet_timer {
    uint64_t config;
    uint64_t comparator;
    uint64_t period;
    uint64_t next;      /* the count at which it fires; UINT64_MAX: never */
    struct ticks ticks; /* in host TSC ticks */
};

struct hpet {
    struct bus_signals signals;
    struct timebase base;
    uint64_t offset; /* the count at base.start; the count itself while halted */
    uint64_t config;
    uint64_t status; /* level-triggered timers that have fired */
    struct hpet_timer timers[HPET_TIMERS];
    uint32_t edges; /* edge-triggered timers that have fired and were not taken */
    uint64_t quiet_tsc, repeat_tsc;
    uint64_t not_before; /* host TSC before which no periodic timer asks to be run */
};

void hpet_reset(struct hpet *hpet, const struct clock *clock, uint64_t now);

/* offset < HPET_BYTES; size is 1, 2, 4 or 8. hpet_run() comes first. */
uint64_t hpet_read(const struct hpet *hpet, uint32_t offset, uint8_t size, uint64_t now);
void hpet_write(struct hpet *hpet, uint32_t offset, uint8_t size, uint64_t value, uint64_t now);

void hpet_run(struct hpet *hpet, uint64_t now);

/* An edge of the timer met one that waited: both are one interrupt. */
void hpet_edge_merged(struct hpet *hpet, unsigned timer);

/* The I/O APIC's pin of a timer; in legacy replacement mode those of IRQ 0 and IRQ 8. */
unsigned hpet_pin(const struct hpet *hpet, unsigned timer);

/* Has it taken the place of the 8254 and the RTC? */
bool hpet_is_legacy(const struct hpet *hpet);

/* Timers whose level is high, a bit each. */
uint32_t hpet_levels(const struct hpet *hpet);

extern const struct bus_row hpet_row;

#endif
