/*
 * The guest's PC: every port and MMIO device other than the local APICs, behind one bus.
 *
 * Pure: no callbacks, no host access. A port or address is mapped to its device by a switch (no table, no pointer), the
 * device changes its own state, and what concerns others is left in this struct for the caller to collect:
 * interrupt messages in `outbox`, console bytes in the rings, a power request in `power`.
 * The caller (hv/core) holds `lock` around every call when a guest has several vCPUs.
 *
 * Port map (all others: nobody there, reads give all ones):
 *   20-21 a0-a1 4d0-4d1  8259 pair      40-43 61  8254 and port B      60 64  keyboard controller (reset, A20)
 *   70-71  CMOS/RTC      80 ed  delay   92  A20, reset                 3f8-3ff  16550, IRQ 4
 *   cf8-cff  PCI configuration, reset   600-60b  ACPI PM1a, PM timer   e9 f4  debug ports (only if configured)
 *   0-f 81-8f c0-df  DMA: idle          f0-f1  FPU error: idle      3d4-3d5 3da  text display's registers
 *
 * This folder has the guest's PC: a file pair per device. Pure: a device sees no vCPU, no other guest and nothing of
 * the host, and calls nothing outside of the folder.
 */
#ifndef HV_DEV_PLATFORM_H
#define HV_DEV_PLATFORM_H

#include "hv/base/byte_ring.h"
#include "hv/base/clock.h"
#include "hv/base/spinlock.h"
#include "hv/base/types.h"
#include "hv/dev/cmos.h"
#include "hv/dev/crtc.h"
#include "hv/dev/hpet.h"
#include "hv/dev/i8042.h"
#include "hv/dev/ioapic.h"
#include "hv/dev/lapic.h"
#include "hv/dev/pci.h"
#include "hv/dev/pic.h"
#include "hv/dev/pit.h"
#include "hv/dev/pm.h"
#include "hv/dev/testdev.h"
#include "hv/dev/uart.h"

#define PLATFORM_OUTBOX_MAX 32u

enum platform_power {
    POWER_ON,
    POWER_OFF_REQUESTED,   /* ACPI S5 */
    POWER_RESET_REQUESTED, /* 0xcf9, 0x92, 0x64, ACPI reset register */
    POWER_DEBUG_EXIT,      /* port 0xf4; the value is in debug_exit_value */
};

struct platform_config {
    const struct clock *clock;
    uint64_t wall_clock_ns; /* Unix time in ns at host TSC `wall_clock_tsc` */
    uint64_t wall_clock_tsc;
    uint64_t ram_low_bytes, ram_high_bytes; /* for CMOS */
    uint16_t cpus;                          /* for the test device */
    bool debug_ports;
    uint64_t debug_exit_ok; /* the value that, written to the debug-exit port, means success */
    bool console;           /* the UART is wired to the console; otherwise its output vanishes and it never receives */
};

struct platform {
    struct spinlock lock;
    struct platform_config config;
    struct pic_pair pic;
    struct pit pit;
    struct ioapic ioapic;
    struct cmos cmos;
    struct i8042 keyboard;
    struct crtc crtc;
    struct hpet hpet;
    struct uart uart;
    struct pci pci;
    struct pm pm;
    struct testdev testdev;
    struct apic_message outbox[PLATFORM_OUTBOX_MAX];
    uint32_t outbox_count;
    uint32_t lines;                 /* ISA interrupt lines as they were last propagated, bit n: IRQ n */
    uint32_t hpet_levels;           /* of its timers, as they were last propagated */
    uint8_t hpet_pins[HPET_TIMERS]; /* where they were routed then */
    uint32_t level_repeats;         /* how many levels asked again right at their EOI, one after the other */
    uint64_t level_deadline;        /* host TSC: those that were told to wait ask again then */
    bool extint;                    /* the 8259's INTR line is high */
    uint32_t extint_rises;          /* how often it rose; atomic, each vCPU's CPU compares it */
    enum platform_power power;
    const char *power_reason; /* "ACPI S5", "port 0xcf9" */
    uint32_t debug_exit_value;
    uint64_t console_quiet_until; /* host TSC: a byte before it waits for its line's end */
    uint64_t console_deadline;    /* host TSC: what waits is told then; DEADLINE_NONE: nothing waits */
    struct byte_ring console_out; /* guest -> console (16550 and port 0xe9) */
    struct byte_ring console_in;
};

/* The first time on zeroed memory. The lock and what is still in the console rings survive: a guest's last words before
 * a restart are not lost. */
void platform_reset(struct platform *platform, const struct platform_config *config, uint64_t now);

/* size is 1, 2 or 4. False: no device there; *value is all ones of the size. */
bool platform_port_read(struct platform *platform, uint16_t port, uint8_t size, uint64_t now, uint32_t *value);
bool platform_port_write(struct platform *platform, uint16_t port, uint8_t size, uint32_t value, uint64_t now);

/* size is 1, 2, 4 or 8. The local APIC page is not here: core serves it. False: no device there; all ones. */
bool platform_mmio_read(struct platform *platform, gpa_t address, uint8_t size, uint64_t now, uint64_t *value);
bool platform_mmio_write(struct platform *platform, gpa_t address, uint8_t size, uint64_t value, uint64_t now);

/* The earliest host TSC at which a device has something to do, or DEADLINE_NONE. */
uint64_t platform_deadline(const struct platform *platform);
void platform_run_timers(struct platform *platform, uint64_t now);

/* Ports whose accesses mean nothing but time: diagnostics, and Linux' io_delay. Reads give all ones. */
static inline bool platform_is_delay(uint16_t port)
{
    return port == 0x80 || port == 0xed;
}

/* The UART's transmitter and line status, which have a short way: uart_quick_send() and uart_quick_status(). */
#define PLATFORM_UART_DATA 0x3f8u
#define PLATFORM_UART_STATUS 0x3fdu

/* True where console_out has something that the console should take now. Otherwise what is there waits, and
 * `console_deadline` says how long. */
bool platform_console_wants(struct platform *platform, uint64_t now);

/* Takes bytes from console_in into the UART as its FIFO has room; call after console_in was filled. */
void platform_console_poll(struct platform *platform, uint64_t now);

/* A local APIC ended a level-triggered interrupt. */
void platform_eoi(struct platform *platform, uint8_t vector, uint64_t now);

/* The 8259's interrupt acknowledge cycle: the vector, and the lines are updated. Valid when `extint`. */
uint8_t platform_acknowledge_extint(struct platform *platform);

/* The power button of the guest's PC is pressed. */
void platform_press_power_button(struct platform *platform);

/* Takes the oldest interrupt message; false where there is none. */
bool platform_take_message(struct platform *platform, struct apic_message *message);

#endif
