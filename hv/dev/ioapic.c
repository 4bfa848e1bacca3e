/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC. See ioapic.h for the idea.
 *
 * A redirection entry (82093AA data sheet 3.2.4; "RO" bits are the I/O APIC's own):
 *
 *   63      56              16   15    14   13   12   11   10    8 7      0
 *   | destination | reserved |mask|level|rIRR|low |busy|logi|delivery| vector |
 *                                        RO        RO
 *
 * What a pin is electrically (`lines`) and whether that means "active" are two things: an entry with the polarity bit
 * is active when its line is low. Pins that no device drives are never active.
 *
 * An edge on a masked pin is lost, as the data sheet says; a level is not, for it is still there after unmasking.
 */
#include "hv/dev/ioapic.h"

#include "hv/base/memory.h"
#include "hv/dev/timebase.h"
#include "hv/mm/guest_layout.h"

#define ENTRY_VECTOR(entry) ((uint8_t)(entry))
#define ENTRY_DELIVERY(entry) ((uint8_t)((entry) >> 8 & 7u))
#define ENTRY_LOGICAL (1ULL << 11)
#define ENTRY_ACTIVE_LOW (1ULL << 13)
#define ENTRY_REMOTE_IRR (1ULL << 14)
#define ENTRY_LEVEL (1ULL << 15)
#define ENTRY_MASKED (1ULL << 16)
#define ENTRY_READ_ONLY ((1ULL << 12) | ENTRY_REMOTE_IRR)
#define ENTRY_WRITABLE (0xff0000000001ffffULL & ~ENTRY_READ_ONLY)

/* MMIO offsets and register numbers. ICH9 13.5.1 "APIC Register Map". */
#define IOAPIC_SELECT 0x00u
#define IOAPIC_WINDOW 0x10u
#define IOAPIC_EOI 0x40u
#define IOAPIC_REGISTER_ID 0u
#define IOAPIC_REGISTER_VERSION 1u
#define IOAPIC_REGISTER_ARBITRATION 2u
#define IOAPIC_REGISTER_ENTRIES 0x10u
#define IOAPIC_VERSION_VALUE (0x20u | (IOAPIC_PINS - 1) << 16) /* 0x20: it has the EOI register */
#define IOAPIC_ID_BITS 0x0f000000u

/* Level-triggered only where the delivery mode has a vector: NMI, SMI, INIT and ExtINT are always edges. 3.2.4. */
static bool entry_is_level(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) != 0 && ENTRY_DELIVERY(entry) <= APIC_LOWEST;
}

static bool pin_active(const struct ioapic *ioapic, unsigned pin)
{
    bool high = (ioapic->lines >> pin & 1u) != 0;
    bool low_means_active = (ioapic->entries[pin] & ENTRY_ACTIVE_LOW) != 0;

    return (ioapic->driven >> pin & 1u) != 0 && high != low_means_active;
}

/* A level-triggered pin that is active, unmasked and not waiting for an EOI asks for a message. */
static void evaluate_level(struct ioapic *ioapic, unsigned pin)
{
    uint64_t entry = ioapic->entries[pin];

    if (!entry_is_level(entry)) {
        return;
    }
    if ((entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) == 0 && pin_active(ioapic, pin)) {
        ioapic->pending |= 1u << pin;
    } else {
        ioapic->pending &= ~(1u << pin);
    }
}

static void end_level(struct ioapic *ioapic, unsigned pin)
{
    ioapic->ended |= 1u << pin;
    ioapic->signals.wants |= BUS_ENDS;
}

/* Messages that wait are for the wires to take. */
static void update(struct ioapic *ioapic)
{
    if (ioapic->pending != 0) {
        ioapic->signals.wants |= BUS_MESSAGES;
    }
}

void ioapic_reset(struct ioapic *ioapic, uint32_t driven)
{
    memset(ioapic, 0, sizeof(*ioapic));
    ioapic->driven = driven;
    ioapic->signals.deadline = DEADLINE_NONE;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->entries[pin] = ENTRY_MASKED;
    }
}

void ioapic_set_line(struct ioapic *ioapic, unsigned pin, bool high)
{
    uint32_t bit = 1u << pin;
    bool was_active = pin_active(ioapic, pin);

    ioapic->lines = high ? ioapic->lines | bit : ioapic->lines & ~bit;
    if (entry_is_level(ioapic->entries[pin])) {
        evaluate_level(ioapic, pin);
    } else if (!was_active && pin_active(ioapic, pin) && !ioapic_masked(ioapic, pin)) {
        ioapic->pending |= bit;
    }
    update(ioapic);
}

bool ioapic_may_break_in(const struct ioapic *ioapic)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint8_t delivery = ENTRY_DELIVERY(ioapic->entries[pin]);

        if ((ioapic->driven >> pin & 1u) != 0 && !ioapic_masked(ioapic, pin) &&
            (delivery == APIC_NMI || delivery == APIC_INIT)) {
            return true;
        }
    }
    return false;
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = ioapic->entries[pin];

        if ((entry & ENTRY_REMOTE_IRR) != 0 && ENTRY_VECTOR(entry) == vector) {
            ioapic->entries[pin] = entry & ~ENTRY_REMOTE_IRR;
            end_level(ioapic, pin);
            evaluate_level(ioapic, pin);
        }
    }
    update(ioapic);
}

void ioapic_ask_again(struct ioapic *ioapic)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        evaluate_level(ioapic, pin);
    }
    update(ioapic);
}

bool ioapic_next_message(struct ioapic *ioapic, struct apic_message *message)
{
    unsigned pin;
    uint64_t entry;

    if (ioapic->pending == 0) {
        return false;
    }
    pin = (unsigned)__builtin_ctz(ioapic->pending);
    entry = ioapic->entries[pin];
    ioapic->pending &= ioapic->pending - 1;
    if (entry_is_level(entry)) {
        ioapic->entries[pin] |= ENTRY_REMOTE_IRR;
    }
    *message = (struct apic_message){
        .destination = (uint32_t)(entry >> 56),
        .vector = ENTRY_VECTOR(entry),
        .delivery = ENTRY_DELIVERY(entry),
        .logical = (entry & ENTRY_LOGICAL) != 0,
        .level = entry_is_level(entry),
        .pin = (uint8_t)pin,
    };
    return true;
}

/* --- Registers --- */

static uint32_t read_window(const struct ioapic *ioapic)
{
    unsigned index = ioapic->select - IOAPIC_REGISTER_ENTRIES;

    switch (ioapic->select) {
    case IOAPIC_REGISTER_ID:
    case IOAPIC_REGISTER_ARBITRATION:
        return ioapic->id;
    case IOAPIC_REGISTER_VERSION:
        return IOAPIC_VERSION_VALUE;
    default:
        return index / 2 < IOAPIC_PINS ? (uint32_t)(ioapic->entries[index / 2] >> (index % 2 * 32)) : 0;
    }
}

/*
 * A write that makes a pin edge-triggered ends its wait for an EOI: kernels clear a stuck Remote IRR in this way on
 * I/O APICs without an EOI register. An edge that was not sent yet is forgotten by a mask.
 */
static void write_entry(struct ioapic *ioapic, unsigned pin, bool upper, uint32_t value)
{
    uint64_t old = ioapic->entries[pin];
    uint64_t half = upper ? 0xffffffffULL << 32 : 0xffffffffULL;
    uint64_t entry = (old & ~half) | ((uint64_t)value << (upper ? 32 : 0));

    entry = (entry & ENTRY_WRITABLE) | (old & ENTRY_READ_ONLY);
    if (!entry_is_level(entry) && (entry & ENTRY_REMOTE_IRR) != 0) {
        entry &= ~ENTRY_REMOTE_IRR;
        end_level(ioapic, pin);
    }
    if ((entry & ENTRY_MASKED) != 0) {
        ioapic->pending &= ~(1u << pin);
    }
    ioapic->entries[pin] = entry;
    evaluate_level(ioapic, pin);
}

static void write_window(struct ioapic *ioapic, uint32_t value)
{
    unsigned index = ioapic->select - IOAPIC_REGISTER_ENTRIES;

    if (ioapic->select == IOAPIC_REGISTER_ID) {
        ioapic->id = value & IOAPIC_ID_BITS;
    } else if (index / 2 < IOAPIC_PINS) {
        write_entry(ioapic, index / 2, index % 2 != 0, value);
    }
}

uint64_t ioapic_read(const struct ioapic *ioapic, uint32_t offset, uint8_t size)
{
    uint64_t value = 0;

    if ((offset & ~3u) == IOAPIC_SELECT) {
        value = ioapic->select;
    } else if ((offset & ~3u) == IOAPIC_WINDOW) {
        value = read_window(ioapic);
    }
    value >>= 8 * (offset & 3u);
    return size < 8 ? value & ((1ULL << (size * 8)) - 1) : value;
}

/* Registers are written as dwords; a narrow write reaches the select register only, which has 8 bits. */
void ioapic_write(struct ioapic *ioapic, uint32_t offset, uint8_t size, uint64_t value)
{
    if (offset == IOAPIC_SELECT) {
        ioapic->select = (uint8_t)value;
    } else if (offset == IOAPIC_WINDOW && size >= 4) {
        write_window(ioapic, (uint32_t)value);
        ioapic->signals.wants |= BUS_MASKS;
    } else if (offset == IOAPIC_EOI) {
        ioapic_eoi(ioapic, (uint8_t)value);
    }
    update(ioapic);
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = ioapic_read(state, (uint32_t)access->at, access->size);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    ioapic_write(state, (uint32_t)access->at, access->size, access->value);
    return true;
}

static bool next_message(void *state, struct apic_message *message)
{
    return ioapic_next_message(state, message);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)environment;
    (void)now;
    ioapic_reset(state, 0);
}

const struct bus_row ioapic_row = {
    .name = "I/O APIC",
    BUS_RANGES(BUS_MMIO(GUEST_IOAPIC_BASE, IOAPIC_MMIO_BYTES)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    .next_message = next_message,
    BUS_STATE(struct ioapic, signals),
};
