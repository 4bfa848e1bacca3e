/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC: 24 pins, each with a redirection entry, and messages to local APICs.
 * Intel 82093AA data sheet (290566-001) 3; Intel ICH9 data sheet 13.5 for version 0x20 and its EOI register.
 *
 * A pin that fires sets its bit in `pending`; ioapic_next_message() turns bits into messages. So nothing is lost when
 * the receiver is slow, and a pin is never in the queue twice. A level-triggered pin has Remote IRR set from the
 * message to the EOI; if its line is then still active it fires again.
 */
#ifndef HV_DEV_IOAPIC_H
#define HV_DEV_IOAPIC_H

#include "hv/base/types.h"
#include "hv/dev/apic_message.h"
#include "hv/dev/bus.h"

#define IOAPIC_PINS 24u
#define IOAPIC_MMIO_BYTES 4096u

struct ioapic {
    struct bus_signals signals; /* BUS_MESSAGES while `pending` has any */
    uint32_t id;                /* register 0: bits 27:24 */
    uint8_t select;             /* IOREGSEL */
    uint32_t lines;             /* pins, electrically high = 1 */
    uint32_t driven; /* pins that are wired to a device; the others are never active, whatever their polarity */
    uint32_t pending;
    uint32_t ended; /* levels of pins that the guest has ended, until the wires have taken BUS_ENDS */
    uint64_t entries[IOAPIC_PINS];
};

/* All pins masked. `driven` has a bit for every pin that some device drives. */
void ioapic_reset(struct ioapic *ioapic, uint32_t driven);

/* The MMIO page; offset 0..0xfff, size 1, 2, 4 or 8. */
uint64_t ioapic_read(const struct ioapic *ioapic, uint32_t offset, uint8_t size);
void ioapic_write(struct ioapic *ioapic, uint32_t offset, uint8_t size, uint64_t value);

void ioapic_set_line(struct ioapic *ioapic, unsigned pin, bool high);

/* A local APIC ended a level-triggered interrupt with this vector. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

/* Every level-triggered pin that is active, unmasked and not waiting for an EOI asks again. */
void ioapic_ask_again(struct ioapic *ioapic);

/* Takes the lowest pending pin as a message; false where none is pending. */
bool ioapic_next_message(struct ioapic *ioapic, struct apic_message *message);

static inline bool ioapic_masked(const struct ioapic *ioapic, unsigned pin)
{
    return (ioapic->entries[pin] >> 16 & 1u) != 0;
}

/* May a pin send something that a CPU takes with interrupts off: NMI or INIT? */
bool ioapic_may_break_in(const struct ioapic *ioapic);

extern const struct bus_row ioapic_row;

#endif
