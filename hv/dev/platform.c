/* SPDX-License-Identifier: MIT */
/*
 * The wires of the guest's PC. See platform.h; bus.h for what devices promise and leave.
 *
 * An access goes: run what is due; the device; carry what it left. Wires:
 *
 *   8254 OUT 0 -> IRQ 0      IRQ n -> 8259 pair, input n
 *   8042       -> IRQ 1, 12  IRQ n -> I/O APIC pin n, but IRQ 0 -> pin 2 (the MADT says so)
 *   16550      -> IRQ 4      8259 INTR -> `extint` (LINT0 of the local APICs) and I/O APIC pin 0
 *   RTC        -> IRQ 8      PCI lines 16 to 23 -> I/O APIC pins 16 to 23, active low, and IRQs 10 and 11
 *   ACPI SCI   -> IRQ 9      messages of the I/O APIC and of all others -> `outbox`
 *
 * The HPET's timers drive I/O APIC pins 2 and 16 to 23, or in its legacy mode IRQ 0 and IRQ 8, which the 8254 and the
 * RTC then have lost.
 *
 * LINT0 in another mode than ExtINT sees the rising edges of INTR: `extint_rises`.
 *
 * IRQ 0 is propagated as pulses: each rising edge of OUT 0 is a low and a high on the wire, however late it is
 * noticed, so a slow host does not lose a tick that a PC would have delivered.
 */
#include "hv/dev/platform.h"

#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/dev/timebase.h"

#define PIN_INTR 0u
#define PIN_TIMER 2u
#define ISA_LINES 0xffffu
#define PCI_LINE_BITS 0xff0000u
#define PCI_EVEN_LINES 0x55u
#define INTR_LINE (1u << BUS_LINE_INTR)

#define ELCR_HIGH 0x4d1u

#define CONSOLE_WAIT_NS 1000000u
#define LEVEL_REPEATS_MAX 1000u
#define LEVEL_PAUSE_NS 1000000u

/* The number of each device on the bus: its place in the list. */
enum platform_device {
#define NUMBER(type, name) DEVICE_##name,
    PLATFORM_DEVICES(NUMBER)
#undef NUMBER
        DEVICE_COUNT
};

struct platform_entry {
    const struct bus_row *row;
    size_t at; /* its state in struct platform */
};

static const struct platform_entry entries[] = {
#define ENTRY(type, name) {&name##_row, offsetof(struct platform, name)},
    PLATFORM_DEVICES(ENTRY)
#undef ENTRY
};
_Static_assert(ARRAY_COUNT(entries) == DEVICE_COUNT && ARRAY_COUNT(entries) <= BUS_DEVICES_MAX / 2,
               "half of the bus is left for devices that are added at run time");

/* --- Interrupt lines --- */

static unsigned pin_of_irq(unsigned irq)
{
    return irq == PIT_IRQ ? PIN_TIMER : irq;
}

static void set_isa_line(struct platform *platform, unsigned irq, bool high)
{
    pic_pair_set_line(&platform->pic, irq, high);
    ioapic_set_line(&platform->ioapic, pin_of_irq(irq), high);
    platform->deadline_stale = true; /* whether a tick that the 8259 holds is worth waking up for */
}

/* Pins whose lines a device has been connected to; the others are never active, whatever their polarity. */
static uint32_t driven_pins(const struct bus *bus)
{
    uint32_t pins = bus->wired & (ISA_LINES | PCI_LINE_BITS) & ~(1u << PIT_IRQ);

    return pins | (bus->wired >> PIT_IRQ & 1u) << PIN_TIMER | (bus->wired >> BUS_LINE_INTR & 1u) << PIN_INTR;
}

#define HPET_LEGACY_LINES (1u << PIT_IRQ | 1u << CMOS_IRQ)

/* PCI's lines are active low and shared: a pin is low while a function or a timer of the HPET holds it. */
static void set_pci_pin(struct platform *platform, unsigned pin)
{
    ioapic_set_line(&platform->ioapic, pin, ((platform->bus.lines | platform->hpet_high) >> pin & 1u) == 0);
}

static void set_hpet_line(struct platform *platform, unsigned timer, unsigned pin, bool high)
{
    if (hpet_is_legacy(&platform->hpet) && timer < 2) {
        unsigned irq = timer == 0 ? PIT_IRQ : CMOS_IRQ;

        set_isa_line(platform, irq, high);
        platform->lines = (platform->lines & ~(1u << irq)) | (uint32_t)high << irq;
    } else if ((HPET_PINS >> pin & 1u) != 0) {
        platform->ioapic.driven |= 1u << pin;
        platform->hpet_high = (platform->hpet_high & ~(1u << pin)) | (uint32_t)high << pin;
        if ((platform->bus.wired >> pin & 1u) != 0) {
            set_pci_pin(platform, pin);
        } else {
            ioapic_set_line(&platform->ioapic, pin, high);
        }
    }
}

/* An edge is a low and a high, as for IRQ 0. A level falls where it rose, wherever the timer is routed meanwhile. */
static void propagate_hpet_timer(struct platform *platform, unsigned timer, bool edge, bool level)
{
    unsigned pin = hpet_pin(&platform->hpet, timer), old_pin = platform->hpet_pins[timer];
    bool was_level = (platform->hpet_levels >> timer & 1u) != 0;
    bool moved = level != was_level || pin != old_pin;

    if (was_level && moved) {
        set_hpet_line(platform, timer, old_pin, false);
    }
    if (edge) {
        set_hpet_line(platform, timer, pin, false);
    }
    if (edge || (level && moved)) {
        set_hpet_line(platform, timer, pin, true);
    }
    platform->hpet_pins[timer] = (uint8_t)pin;
}

static void propagate_hpet(struct platform *platform)
{
    uint32_t levels = hpet_levels(&platform->hpet), edges = platform->hpet.edges;

    platform->hpet.edges = 0;
    for (unsigned timer = 0; timer < HPET_TIMERS; timer++) {
        propagate_hpet_timer(platform, timer, (edges >> timer & 1u) != 0, (levels >> timer & 1u) != 0);
    }
    platform->hpet_levels = levels;
}

/* Levels of IRQs: those that the HPET has taken over stay as it left them. */
static void carry_isa_lines(struct platform *platform)
{
    uint32_t lines = platform->bus.lines & ISA_LINES;
    uint32_t changed;

    if (hpet_is_legacy(&platform->hpet)) {
        lines = (lines & ~HPET_LEGACY_LINES) | (platform->lines & HPET_LEGACY_LINES);
    }
    changed = lines ^ platform->lines;
    platform->lines = lines;
    for (; changed != 0; changed &= changed - 1) {
        unsigned irq = (unsigned)__builtin_ctz(changed);

        set_isa_line(platform, irq, (lines >> irq & 1u) != 0);
    }
}

/*
 * The router of a PC's chipset leads each line to an IRQ, too, which is high while one line asks. Kernels take it that
 * know of no other routing: without ACPI's tables, by the 8259 or by the I/O APIC's pin of the same number.
 */
static void carry_pci_irqs(struct platform *platform)
{
    uint32_t lines = (platform->bus.lines & PCI_LINE_BITS) >> BUS_LINE_PCI;

    set_isa_line(platform, PCI_IRQ_EVEN, (lines & PCI_EVEN_LINES) != 0);
    set_isa_line(platform, PCI_IRQ_ODD, (lines & ~PCI_EVEN_LINES) != 0);
}

static void carry_pci_lines(struct platform *platform)
{
    uint32_t changed = (platform->bus.lines ^ platform->bus_lines) & PCI_LINE_BITS;

    if (changed != 0) {
        carry_pci_irqs(platform);
    }
    for (; changed != 0; changed &= changed - 1) {
        set_pci_pin(platform, (unsigned)__builtin_ctz(changed));
    }
}

/* A low and a high, and then the level that programming has left. */
static void carry_edge(struct platform *platform, unsigned irq)
{
    bool taken_over = hpet_is_legacy(&platform->hpet) && (HPET_LEGACY_LINES >> irq & 1u) != 0;

    if (taken_over || irq >= PIC_IRQ_COUNT) {
        return;
    }
    set_isa_line(platform, irq, false);
    set_isa_line(platform, irq, true);
    set_isa_line(platform, irq, (platform->bus.lines >> irq & 1u) != 0);
    platform->lines = (platform->lines & ~(1u << irq)) | (platform->bus.lines & 1u << irq);
}

static void carry_edges(struct platform *platform, const struct bus_device *device)
{
    for (uint32_t left = device->signals->edges; left != 0; left &= left - 1) {
        carry_edge(platform, device->line_of[__builtin_ctz(left)]);
    }
    device->signals->edges = 0;
}

/* --- What devices want --- */

static void carry_messages(struct platform *platform, unsigned number)
{
    const struct bus_device *device = &platform->bus.devices[number];

    while (platform->outbox_count < PLATFORM_OUTBOX_MAX) {
        if (!device->row->next_message(device->state, &platform->outbox[platform->outbox_count])) {
            return;
        }
        platform->outbox_count++;
    }
    device->signals->wants |= BUS_MESSAGES; /* the rest, when there is room */
    platform->bus.wanting |= 1ULL << number;
}

/* The first request counts. */
static void carry_power(struct platform *platform, struct bus_signals *signals)
{
    if (platform->power == POWER_ON) {
        platform->power = signals->power;
        platform->power_reason = signals->power_reason;
    }
    signals->power = POWER_ON;
    signals->power_reason = NULL;
}

/* A pin counts as driven from the first time on that the test device moves it. */
static void carry_test_line(struct platform *platform)
{
    uint8_t line = platform->testdev.line;

    platform->testdev.line = TESTDEV_NO_LINE;
    platform->ioapic.driven |= 1u << line;
    pic_pair_set_line(&platform->pic, line, platform->testdev.level);
    ioapic_set_line(&platform->ioapic, line, platform->testdev.level);
}

static bool irq_masked(const struct platform *platform, unsigned irq)
{
    return pic_pair_masked(&platform->pic, irq) && ioapic_masked(&platform->ioapic, pin_of_irq(irq));
}

static void forget_unheard_ticks(struct platform *platform)
{
    if (irq_masked(platform, PIT_IRQ)) {
        ticks_forget(&platform->pit.ticks);
    }
}

/*
 * The guest has ended levels: devices outside of its PC let go of their lines, before these are looked at again. An IRQ
 * that PCI's lines lead to stands for all of them.
 */
static void carry_ends(struct platform *platform)
{
    uint32_t irqs = platform->ioapic.ended | (uint32_t)platform->pic.chips[1].ended << 8;
    uint32_t lines = platform->ioapic.ended & PCI_LINE_BITS;

    platform->ioapic.ended = 0;
    platform->pic.chips[0].ended = platform->pic.chips[1].ended = 0;
    lines |= (irqs & 1u << PCI_IRQ_EVEN) != 0 ? PCI_EVEN_LINES << BUS_LINE_PCI : 0;
    lines |= (irqs & 1u << PCI_IRQ_ODD) != 0 ? ~(PCI_EVEN_LINES << BUS_LINE_PCI) & PCI_LINE_BITS : 0;
    for (uint64_t left = lines != 0 ? platform->bus.outside : 0; left != 0; left &= left - 1) {
        unsigned number = (unsigned)__builtin_ctzll(left);
        const struct bus_device *device = &platform->bus.devices[number];

        if (device->line_of[0] < BUS_LINES_MAX && (lines >> device->line_of[0] & 1u) != 0) {
            device->row->line_ended(device->state);
            bus_settle(&platform->bus, number);
        }
    }
    carry_pci_lines(platform);
}

static void carry_wants(struct platform *platform, unsigned number)
{
    struct bus_device *device = &platform->bus.devices[number];
    uint32_t wants = bus_take_wants(&platform->bus, number);

    if ((wants & BUS_ENDS) != 0) {
        carry_ends(platform);
    }
    if ((wants & BUS_POWER) != 0) {
        carry_power(platform, device->signals);
    }
    if ((wants & BUS_EDGES) != 0) {
        carry_edges(platform, device);
    }
    if ((wants & BUS_ROUTES) != 0) {
        propagate_hpet(platform);
    }
    if ((wants & BUS_TEST_LINE) != 0) {
        carry_test_line(platform);
    }
    if ((wants & BUS_MESSAGES) != 0) {
        carry_messages(platform, number);
    }
    if ((wants & BUS_PLACES) != 0) {
        pci_host_apply(&platform->pci_host, &platform->bus);
    }
    if ((wants & BUS_WORK) != 0) {
        platform->device_work = true;
    }
    if ((wants & BUS_MASKS) != 0) {
        platform->deadline_stale = true;
        forget_unheard_ticks(platform);
    }
}

__attribute__((noinline)) static void carry_each_want(struct platform *platform)
{
    for (uint64_t left = platform->bus.wanting; left != 0; left &= left - 1) {
        carry_wants(platform, (unsigned)__builtin_ctzll(left));
    }
}

/* Mostly of none. */
__attribute__((always_inline)) static inline void carry_all_wants(struct platform *platform)
{
    if (platform->bus.wanting != 0) {
        carry_each_want(platform);
    }
}

static void carry_intr(struct platform *platform)
{
    bool extint = pic_pair_intr(&platform->pic);

    if (extint == platform->extint) {
        return;
    }
    platform->extint = extint;
    if (extint) {
        __atomic_store_n(&platform->extint_rises, platform->extint_rises + 1, __ATOMIC_RELEASE);
    }
    ioapic_set_line(&platform->ioapic, PIN_INTR, extint);
}

/* The RTC leads to two lines: its own, and the SCI, by which a guest wakes that has suspended itself. */
static void carry_alarm(struct platform *platform)
{
    struct bus *bus = &platform->bus;

    if ((bus->lines & ~platform->bus_lines & 1u << CMOS_IRQ) != 0) {
        pm_rtc_rises(&platform->pm);
        bus_settle(bus, DEVICE_pm);
    }
}

/*
 * Devices first, then the 8259 that they drive, then the I/O APIC that both drive, then its messages: nothing leads
 * back, so one pass carries everything.
 */
void platform_carry(struct platform *platform)
{
    struct bus *bus = &platform->bus;

    platform->ioapic.driven |= driven_pins(bus);
    carry_all_wants(platform);
    carry_alarm(platform);
    carry_isa_lines(platform);
    carry_pci_lines(platform);
    bus_settle(bus, DEVICE_pic);
    carry_intr(platform);
    platform->bus_lines = bus->lines;
    bus_settle(bus, DEVICE_ioapic);
    carry_all_wants(platform);
}

/* Wants that lead past the lines and the interrupt controllers: those of disks, cards and consoles at work. */
#define WANTS_ASIDE ((uint32_t)BUS_MESSAGES | BUS_WORK)

/*
 * What platform_carry() would do where devices have left nothing else. False: they have, and it has the rest to do.
 * tests/unit/test_platform.c compares the two.
 */
static bool carry_aside(struct platform *platform)
{
    struct bus *bus = &platform->bus;

    if (bus->lines != platform->bus_lines) {
        return false;
    }
    for (uint64_t left = bus->wanting; left != 0; left &= left - 1) {
        unsigned number = (unsigned)__builtin_ctzll(left);
        uint32_t wants = bus->devices[number].signals->wants;

        if ((wants & ~WANTS_ASIDE) != 0) {
            return false;
        }
        (void)bus_take_wants(bus, number);
        if ((wants & BUS_WORK) != 0) {
            platform->device_work = true;
        }
        if ((wants & BUS_MESSAGES) != 0) {
            carry_messages(platform, number);
        }
    }
    return true;
}

static void carry_news(struct platform *platform)
{
    if (platform_has_news(platform) && !carry_aside(platform)) {
        platform_carry(platform);
    }
}

/* --- Timers --- */

/* Only the 8259 takes IRQ 0, and has one: another one would be merged with it. Of the I/O APIC's edges the local APIC
 * tells. */
static bool pic_holds_tick(const struct platform *platform)
{
    return ioapic_masked(&platform->ioapic, PIN_TIMER) && (platform->pic.chips[0].irr & 1u << PIT_IRQ) != 0;
}

static void run_due(struct platform *platform, uint64_t now)
{
    if (now >= platform->bus.due) {
        platform->pit.ticks.held = pic_holds_tick(platform);
        platform->hpet.timers[0].ticks.held = hpet_is_legacy(&platform->hpet) && platform->pit.ticks.held;
        bus_run(&platform->bus, now);
    }
    if (now >= platform->level_deadline) {
        platform->level_deadline = DEADLINE_NONE;
        platform->deadline_stale = true;
        ioapic_ask_again(&platform->ioapic);
        bus_settle(&platform->bus, DEVICE_ioapic);
    }
    carry_news(platform);
}

void platform_run_timers(struct platform *platform, uint64_t now)
{
    run_due(platform, now);
}

/*
 * A tick is worth waking up for unless it is masked everywhere, or only the 8259 takes it and already has one. That
 * one ends with an EOI, after which the deadline is computed anew; with automatic EOI none would come by.
 */
static bool tick_matters(const struct platform *platform)
{
    const struct pic *pic = &platform->pic.chips[0];
    bool pic_has_it = (pic->irr & 1u << PIT_IRQ) != 0 && !pic->auto_eoi;

    return !ioapic_masked(&platform->ioapic, PIN_TIMER) || (!pic_pair_masked(&platform->pic, PIT_IRQ) && !pic_has_it);
}

/* Ticks that the guest does not listen to are lost, as ever. */
static void count_ticks(struct platform *platform, bool counting)
{
    platform->pit.ticks.counting = counting && !irq_masked(platform, PIT_IRQ);
    platform->cmos.ticks.counting = counting;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        platform->hpet.timers[i].ticks.counting = counting;
    }
}

void platform_run_after_absence(struct platform *platform, uint64_t now)
{
    count_ticks(platform, true);
    pit_run(&platform->pit, now);
    bus_settle(&platform->bus, DEVICE_pit);
    cmos_run(&platform->cmos, now);
    bus_settle(&platform->bus, DEVICE_cmos);
    hpet_run(&platform->hpet, now);
    bus_settle(&platform->bus, DEVICE_hpet);
    run_due(platform, now);
    carry_news(platform);
}

void platform_absence_ends(struct platform *platform)
{
    count_ticks(platform, false);
}

void platform_edge_merged(struct platform *platform, uint8_t pin)
{
    if (pin == PIN_TIMER && !hpet_is_legacy(&platform->hpet)) {
        pit_edge_merged(&platform->pit);
        bus_settle(&platform->bus, DEVICE_pit);
    }
    for (unsigned i = 0; pin != 0 && i < HPET_TIMERS; i++) {
        if (hpet_pin(&platform->hpet, i) == pin) {
            hpet_edge_merged(&platform->hpet, i);
        }
    }
    bus_settle(&platform->bus, DEVICE_hpet);
}

/* May the device's deadline wake a CPU? */
static bool is_heard(const struct platform *platform, const struct bus_device *device)
{
    unsigned line = device->line_of[0];

    if (!device->row->asleep_unheard || line >= PIC_IRQ_COUNT) {
        return true;
    }
    if (line == CMOS_IRQ && pm_hears_rtc(&platform->pm)) {
        return true;
    }
    return line == PIT_IRQ ? tick_matters(platform) : !irq_masked(platform, line);
}

static uint64_t compute_deadline(const struct platform *platform)
{
    uint64_t deadline = min_u64(platform->level_deadline, platform->console_deadline);

    for (uint64_t left = platform->bus.timed; left != 0; left &= left - 1) {
        const struct bus_device *device = &platform->bus.devices[__builtin_ctzll(left)];

        if (device->deadline < deadline && is_heard(platform, device)) {
            deadline = device->deadline;
        }
    }
    return deadline;
}

uint64_t platform_deadline(struct platform *platform)
{
    if (platform_deadline_moved(platform)) {
        platform->deadline_stale = false;
        platform->bus.deadline_moved = false;
        platform->deadline = compute_deadline(platform);
    }
    return platform->deadline;
}

/* --- Accesses --- */

bool platform_port_read(struct platform *platform, uint16_t port, uint8_t size, uint64_t now, uint32_t *value)
{
    uint64_t wide;
    bool known;

    run_due(platform, now);
    known = bus_read(&platform->bus, BUS_PORT, port, size, now, &wide);
    *value = (uint32_t)wide;
    carry_news(platform);
    return known;
}

bool platform_port_write(struct platform *platform, uint16_t port, uint8_t size, uint32_t value, uint64_t now)
{
    bool known;

    run_due(platform, now);
    known = bus_write(&platform->bus, BUS_PORT, port, size, value, now);
    carry_news(platform);
    return known;
}

bool platform_mmio_read(struct platform *platform, gpa_t address, uint8_t size, uint64_t now, uint64_t *value)
{
    bool known;

    run_due(platform, now);
    known = bus_read(&platform->bus, BUS_MEMORY, address.value, size, now, value);
    carry_news(platform);
    return known;
}

/* Edges up to now have met the old entries of the I/O APIC. */
bool platform_mmio_write(struct platform *platform, gpa_t address, uint8_t size, uint64_t value, uint64_t now)
{
    bool known;

    run_due(platform, now);
    known = bus_write(&platform->bus, BUS_MEMORY, address.value, size, value, now);
    carry_news(platform);
    return known;
}

/* --- The rest of the interface --- */

static void set_console_deadline(struct platform *platform, uint64_t deadline)
{
    platform->deadline_stale |= platform->console_deadline != deadline;
    platform->console_deadline = deadline;
}

/*
 * The console is told of a burst's first byte at once, so that an echo is immediate, and then of whole lines, of many
 * bytes, or of what there is after CONSOLE_WAIT_NS: not of each byte.
 */
bool platform_console_wants(struct platform *platform, uint64_t now)
{
    const struct byte_ring *ring = &platform->console_out;
    uint32_t count = byte_ring_count(ring);
    bool line = count != 0 && ring->data[(ring->head - 1) & (BYTE_RING_BYTES - 1)] == '\n';

    if (count == 0) {
        set_console_deadline(platform, DEADLINE_NONE);
        return false;
    }
    /* Where there is a deadline, it is console_quiet_until. */
    if (line || count >= PLATFORM_CONSOLE_BATCH || now >= platform->console_quiet_until) {
        platform->console_quiet_until = now + clock_ns_to_ticks(platform->config.clock, CONSOLE_WAIT_NS);
        set_console_deadline(platform, DEADLINE_NONE);
        return true;
    }
    if (platform->console_deadline == DEADLINE_NONE) {
        set_console_deadline(platform, platform->console_quiet_until);
    }
    return false;
}

void platform_console_poll(struct platform *platform, uint64_t now)
{
    uart_run(&platform->uart, now);
    bus_settle(&platform->bus, DEVICE_uart);
    if (platform->config.com2) {
        uart_run(&platform->com2, now);
        bus_settle(&platform->bus, DEVICE_com2);
    }
    carry_news(platform);
}

/*
 * A level that the guest does not clear comes back at its EOI. On a PC the messages take a while, and the program
 * that is interrupted gets on between them; here it would never execute an instruction again, and hang without a
 * word.
 */
static void hold_back_levels(struct platform *platform, uint64_t now)
{
    if (platform->ioapic.pending == 0) {
        platform->level_repeats = 0;
    } else if (++platform->level_repeats >= LEVEL_REPEATS_MAX) {
        platform->level_repeats = 0;
        platform->ioapic.pending = 0;
        platform->deadline_stale = true;
        platform->level_deadline = now + clock_ns_to_ticks(platform->config.clock, LEVEL_PAUSE_NS);
    }
}

void platform_eoi(struct platform *platform, uint8_t vector, uint64_t now)
{
    ioapic_eoi(&platform->ioapic, vector);
    carry_ends(platform);
    hold_back_levels(platform, now);
    bus_settle(&platform->bus, DEVICE_ioapic);
    carry_news(platform);
}

uint8_t platform_acknowledge_extint(struct platform *platform)
{
    uint8_t vector = pic_pair_acknowledge(&platform->pic);

    bus_settle(&platform->bus, DEVICE_pic);
    carry_news(platform);
    return vector;
}

bool platform_take_message(struct platform *platform, struct apic_message *message)
{
    if (platform->outbox_count == 0) {
        return false;
    }
    *message = platform->outbox[0];
    platform->outbox_count--;
    for (uint32_t i = 0; i < platform->outbox_count; i++) {
        platform->outbox[i] = platform->outbox[i + 1];
    }
    carry_news(platform); /* what found no room */
    return true;
}

static bool is_present(enum bus_presence presence, const struct platform_config *config)
{
    switch (presence) {
    case BUS_ALWAYS:
        break;
    case BUS_WITH_DEBUG_PORTS:
        return config->debug_ports;
    case BUS_WITH_COM2:
        return config->com2;
    }
    return true;
}

static void attach(struct platform *platform, const struct platform_entry *entry,
                   const struct bus_environment *environment, uint64_t now)
{
    void *state = (uint8_t *)platform + entry->at;
    bool present = is_present(entry->row->presence, environment->config);
    enum status status;

    entry->row->reset(state, environment, now);
    status = present ? bus_attach(&platform->bus, entry->row, state, NULL)
                     : bus_add(&platform->bus, entry->row, state, NULL);
    CHECK_OP((unsigned)status, ==, STATUS_OK);
}

void platform_reset(struct platform *platform, const struct platform_config *config, uint64_t now)
{
    struct bus_environment environment = {
        .config = &platform->config,
        .console_out = config->console ? &platform->console_out : NULL,
        .console_in = config->console ? &platform->console_in : NULL,
        .com2_out = &platform->com2_out,
    };

    platform->config = *config;
    bus_reset(&platform->bus);
    for (unsigned i = 0; i < ARRAY_COUNT(entries); i++) {
        attach(platform, &entries[i], &environment, now);
    }
    platform->outbox_count = 0;
    platform->bus_lines = 0;
    platform->lines = 0;
    platform->hpet_levels = 0;
    platform->hpet_high = 0;
    platform->device_work = false;
    platform->level_repeats = 0;
    platform->level_deadline = DEADLINE_NONE;
    platform->extint = false;
    platform->power = POWER_ON;
    platform->power_reason = NULL;
    platform->console_quiet_until = 0;
    platform->console_deadline = DEADLINE_NONE;
    platform->deadline_stale = true;
    platform_carry(platform);
}

/* --- PCI functions --- */

/* Lines are high until a function asks, and the 8259's inputs that they lead to are levels. ELCR: PIIX4 7.3. */
static void wire_pci(struct platform *platform)
{
    uint32_t pins = platform->bus.wired & PCI_LINE_BITS;

    for (uint32_t left = pins; left != 0; left &= left - 1) {
        set_pci_pin(platform, (unsigned)__builtin_ctz(left));
    }
    if (pins != 0) {
        platform->ioapic.driven |= 1u << PCI_IRQ_EVEN | 1u << PCI_IRQ_ODD;
        pic_pair_write(&platform->pic, ELCR_HIGH,
                       pic_pair_read(&platform->pic, ELCR_HIGH) | 1u << (PCI_IRQ_EVEN - 8) | 1u << (PCI_IRQ_ODD - 8));
    }
}

enum status platform_attach_pci(struct platform *platform, const struct pci_windows *windows)
{
    enum status status = pci_host_attach(&platform->pci_host, windows, &platform->bus);

    wire_pci(platform);
    platform_carry(platform);
    return status;
}

void platform_device_changed(struct platform *platform, unsigned device)
{
    bus_settle(&platform->bus, device);
    carry_news(platform);
}

void platform_outside_came(struct platform *platform, uint32_t source)
{
    for (uint64_t left = platform->bus.outside; left != 0; left &= left - 1) {
        unsigned number = (unsigned)__builtin_ctzll(left);

        platform->bus.devices[number].row->outside_came(platform->bus.devices[number].state, source);
        bus_settle(&platform->bus, number);
    }
    carry_news(platform);
}

void platform_function_changed(struct platform *platform, const struct pci_endpoint *function)
{
    pci_host_settle(&platform->pci_host, function, &platform->bus);
    carry_news(platform);
}

void platform_direct_edge(struct platform *platform, unsigned irq)
{
    platform->ioapic.driven |= 1u << pin_of_irq(irq);
    set_isa_line(platform, irq, false);
    set_isa_line(platform, irq, true);
    bus_settle(&platform->bus, DEVICE_pic);
    bus_settle(&platform->bus, DEVICE_ioapic);
    carry_news(platform);
}

void platform_press_power_button(struct platform *platform)
{
    pm_press_power_button(&platform->pm);
    bus_settle(&platform->bus, DEVICE_pm);
    carry_news(platform);
}
