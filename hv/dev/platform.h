/* SPDX-License-Identifier: MIT */
/*
 * The guest's PC: every port and MMIO device other than the local APICs, on one bus (bus.h), and the wires between
 * them.
 *
 * Pure. An access finds its device on the bus, the device changes its own state, the wires carry what it left, and
 * what concerns others is left in this struct for the caller to collect: interrupt messages in `outbox`, console
 * bytes in the rings, a power request in `power`. The caller (hv/core) holds `lock` around every call when a guest
 * has several vCPUs. Which devices there are: devices.h. Where they are: their rows, and docs/devices.md.
 *
 * This folder has the guest's PC: a file pair per device. Pure: a device sees no vCPU, no other guest and nothing of
 * the host, and calls nothing outside of the folder.
 */
#ifndef HV_DEV_PLATFORM_H
#define HV_DEV_PLATFORM_H

#include "hv/base/byte_ring.h"
#include "hv/base/turn_lock.h"
#include "hv/base/types.h"
#include "hv/dev/bus.h"
#include "hv/dev/devices.h"
#include "hv/dev/i6300esb.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"

#define PLATFORM_OUTBOX_MAX 32u

struct platform {
    struct turn_lock lock; /* its slots are the vCPUs */
    struct platform_config config;
#define PLATFORM_MEMBER(type, name) type name;
    PLATFORM_DEVICES(PLATFORM_MEMBER)
#undef PLATFORM_MEMBER
    struct apic_message outbox[PLATFORM_OUTBOX_MAX];
    uint32_t outbox_count;
    uint32_t bus_lines;             /* the bus's lines, as the wires last looked at them */
    uint32_t lines;                 /* ISA interrupt lines as they were last propagated, bit n: IRQ n */
    uint32_t hpet_levels;           /* of its timers, as they were last propagated */
    uint8_t hpet_pins[HPET_TIMERS]; /* where they were routed then */
    uint32_t level_repeats;         /* how many levels asked again right at their EOI, one after the other */
    uint64_t level_deadline;        /* host TSC: those that were told to wait ask again then */
    uint32_t hpet_high;             /* I/O APIC pins that its timers hold active */
    bool device_work;               /* a device has BUS_WORK; the caller clears it, once the lock is let go */
    bool extint;                    /* the 8259's INTR line is high */
    uint32_t extint_rises;          /* how often it rose; atomic, each vCPU's CPU compares it */
    enum platform_power power;
    const char *power_reason;            /* "ACPI S5", "port 0xcf9" */
    const struct i6300esb *pci_watchdog; /* on the PCI bus of a guest that has one */
    uint64_t console_quiet_until;        /* host TSC: a byte before it waits for its line's end */
    uint64_t console_deadline;           /* host TSC: what waits is told then; DEADLINE_NONE: nothing waits */
    uint64_t deadline;                   /* what platform_deadline() says, unless `deadline_stale` */
    bool deadline_stale;
    struct byte_ring console_out; /* guest -> console (16550 and port 0xe9) */
    struct byte_ring console_in;
    struct byte_ring com2_out;
    struct bus bus;
};

/* The first time on zeroed memory. The lock and what is still in the console rings survive: a guest's last words
 * before a restart are not lost. */
void platform_reset(struct platform *platform, const struct platform_config *config, uint64_t now);

/* Puts the functions that were added to `pci_host` since the reset on the bus, as firmware does. STATUS_NO_SPACE: a
 * window is full, or the bus. */
enum status platform_attach_pci(struct platform *platform, const struct pci_windows *windows);

/* Source n of the guest has come, from a device outside of its PC: the bus's device that it is of is told. */
void platform_outside_came(struct platform *platform, uint32_t source);

/* A function has changed outside of an access, as when another guest's CPU gave it something. */
void platform_device_changed(struct platform *platform, unsigned device);
void platform_function_changed(struct platform *platform, const struct pci_endpoint *function);

/* size is 1, 2 or 4. False: no device there; *value is all ones of the size. */
bool platform_port_read(struct platform *platform, uint16_t port, uint8_t size, uint64_t now, uint32_t *value);
bool platform_port_write(struct platform *platform, uint16_t port, uint8_t size, uint32_t value, uint64_t now);

/* A write that only says that a queue has buffers, or is none (false, and nothing has changed): nothing is due, carried
 * or to be collected after it, but `device_work` is set. */
static inline bool platform_port_notify(struct platform *platform, uint16_t port, uint8_t size, uint32_t value)
{
    if (port < BUS_MAPPED_PORTS || !bus_notify(&platform->bus, BUS_PORT, port, size, value)) {
        return false;
    }
    platform->device_work = true;
    return true;
}

/* size is 1, 2, 4 or 8. The local APIC page is not here: core serves it. False: no device there; all ones. */
bool platform_mmio_read(struct platform *platform, gpa_t address, uint8_t size, uint64_t now, uint64_t *value);
bool platform_mmio_write(struct platform *platform, gpa_t address, uint8_t size, uint64_t value, uint64_t now);

/* May platform_deadline() be another one than the last time? */
static inline bool platform_deadline_moved(const struct platform *platform)
{
    return platform->deadline_stale || platform->bus.deadline_moved;
}

/* Has a device left something that platform_carry() would take on? After an access that did not come by the four
 * above. */
static inline bool platform_has_news(const struct platform *platform)
{
    return platform->bus.wanting != 0 || platform->bus.lines != platform->bus_lines;
}

/* Carries what the devices left to the interrupt controllers, and what those want to the outside. */
void platform_carry(struct platform *platform);

/* The earliest host TSC at which a device has something to do, or DEADLINE_NONE. */
uint64_t platform_deadline(struct platform *platform);
void platform_run_timers(struct platform *platform, uint64_t now);

/* The same after the guest was off its CPU: periods that have passed are owed to it one by one (hv/dev/ticks.h), and so
 * are the messages that find an older one of theirs, until platform_absence_ends(). */
void platform_run_after_absence(struct platform *platform, uint64_t now);
void platform_absence_ends(struct platform *platform);

/* A message of an edge at this pin of the I/O APIC found its vector still requested. platform_deadline() may change. */
void platform_edge_merged(struct platform *platform, uint8_t pin);

/* True where console_out has something that the console should take now. Otherwise what is there waits, and
 * `console_deadline` says how long. */
bool platform_console_wants(struct platform *platform, uint64_t now);

/* Nothing is in console_out, and nothing was: platform_console_wants() would say no and change nothing. */
static inline bool platform_console_is_silent(const struct platform *platform)
{
    return platform->console_out.head == platform->console_out.tail && platform->console_deadline == DEADLINE_NONE;
}

#define PLATFORM_CONSOLE_BATCH 512u /* bytes that the console takes whether or not their line has ended */

/* platform_console_wants() would say no and change nothing: what is in console_out waits for its deadline already, and
 * is neither a line nor many bytes now. */
static inline bool platform_console_goes_on_waiting(const struct platform *platform, uint64_t now)
{
    const struct byte_ring *ring = &platform->console_out;

    return platform->console_deadline != DEADLINE_NONE && now < platform->console_quiet_until &&
           byte_ring_count(ring) - 1 < PLATFORM_CONSOLE_BATCH - 1 && /* and not 0 */
           ring->data[(ring->head - 1) & (BYTE_RING_BYTES - 1)] != '\n';
}

/* Takes bytes from console_in into the UART as its FIFO has room; call after console_in was filled, or com2_out
 * emptied. */
void platform_console_poll(struct platform *platform, uint64_t now);

/* A local APIC ended a level-triggered interrupt. */
void platform_eoi(struct platform *platform, uint8_t vector, uint64_t now);

/* The 8259's interrupt acknowledge cycle: the vector, and the lines are updated. Valid when `extint`. */
uint8_t platform_acknowledge_extint(struct platform *platform);

/*
 * An IRQ of the ISA bus (not 0, 2 or 8) that a device of the machine drives, no device of this PC: it has risen. The
 * line falls before it rises again, as it is not known when the device let it go: as an edge it is what the device
 * made, and a pin that the guest has set to levels sees it stay high.
 */
void platform_direct_edge(struct platform *platform, unsigned irq);

/* The power button of the guest's PC is pressed. */
void platform_press_power_button(struct platform *platform);

/* Takes the oldest interrupt message; false where there is none. */
bool platform_take_message(struct platform *platform, struct apic_message *message);

#endif
