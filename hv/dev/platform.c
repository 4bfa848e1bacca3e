/*
 * The bus and the wires of the guest's PC. See platform.h.
 *
 * An access goes: bring timers up to `now`; the device; take over what it wants (power, reset); propagate its interrupt
 * line. Wires:
 *
 *   8254 OUT 0 -> IRQ 0      IRQ n -> 8259 pair, input n
 *   8042       -> IRQ 1, 12  IRQ n -> I/O APIC pin n, but IRQ 0 -> pin 2 (the MADT says so)
 *   16550      -> IRQ 4      8259 INTR -> `extint` (LINT0 of the local APICs) and I/O APIC pin 0
 *   RTC        -> IRQ 8
 *   ACPI SCI   -> IRQ 9      I/O APIC -> `outbox`
 *
 * The HPET's timers drive I/O APIC pins 2 and 16 to 23, or in its legacy mode IRQ 0 and IRQ 8, which the 8254 and the
 * RTC then have lost.
 *
 * LINT0 in another mode than ExtINT sees the rising edges of INTR: `extint_rises`.
 *
 * IRQ 0 is propagated as pulses: each rising edge of OUT 0 is a low and a high on the wire, however late it is noticed,
 * so a slow host does not lose a tick that a PC would have delivered.
 */
#include "hv/dev/platform.h"

#include "hv/base/memory.h"
#include "hv/mm/guest_layout.h"

#define IRQ_TIMER 0u
#define IRQ_KEYBOARD 1u
#define IRQ_UART 4u
#define IRQ_RTC 8u
#define IRQ_SCI 9u
#define IRQ_MOUSE 12u
#define PIN_INTR 0u
#define PIN_TIMER 2u
#define DRIVEN_PINS                                                                                           \
    (1u << PIN_INTR | 1u << PIN_TIMER | 1u << IRQ_KEYBOARD | 1u << IRQ_UART | 1u << IRQ_RTC | 1u << IRQ_SCI | \
     1u << IRQ_MOUSE)

#define UART_BASE PLATFORM_UART_DATA
#define PCI_ADDRESS 0xcf8u
#define PCI_DATA 0xcfcu
#define RESET_CONTROL 0xcf9u
#define DEBUG_CONSOLE 0xe9u
#define DEBUG_EXIT 0xf4u

#define CONSOLE_BATCH_BYTES 512u
#define CONSOLE_WAIT_NS 1000000u
#define LEVEL_REPEATS_MAX 1000u
#define LEVEL_PAUSE_NS 1000000u

/* --- Interrupt lines --- */

static void set_isa_line(struct platform *platform, unsigned irq, bool high)
{
    pic_pair_set_line(&platform->pic, irq, high);
    ioapic_set_line(&platform->ioapic, irq == IRQ_TIMER ? PIN_TIMER : irq, high);
}

static void collect_messages(struct platform *platform)
{
    while (platform->outbox_count < PLATFORM_OUTBOX_MAX &&
           ioapic_next_message(&platform->ioapic, &platform->outbox[platform->outbox_count])) {
        platform->outbox_count++;
    }
}

static uint32_t device_lines(const struct platform *platform)
{
    return (uint32_t)platform->pit.irq0 << IRQ_TIMER | (uint32_t)platform->keyboard.irq1 << IRQ_KEYBOARD |
           (uint32_t)platform->uart.irq << IRQ_UART | (uint32_t)platform->cmos.irq << IRQ_RTC |
           (uint32_t)platform->pm.irq << IRQ_SCI | (uint32_t)platform->keyboard.irq12 << IRQ_MOUSE;
}

#define HPET_LEGACY_LINES (1u << IRQ_TIMER | 1u << IRQ_RTC)

static void set_hpet_line(struct platform *platform, unsigned timer, unsigned pin, bool high)
{
    if (hpet_is_legacy(&platform->hpet) && timer < 2) {
        unsigned irq = timer == 0 ? IRQ_TIMER : IRQ_RTC;

        set_isa_line(platform, irq, high);
        platform->lines = (platform->lines & ~(1u << irq)) | (uint32_t)high << irq;
    } else if ((HPET_PINS >> pin & 1u) != 0) {
        platform->ioapic.driven |= 1u << pin;
        ioapic_set_line(&platform->ioapic, pin, high);
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

/* Carries what the devices want to the interrupt controllers, and what those want to the outside. */
static void propagate(struct platform *platform)
{
    uint32_t lines = device_lines(platform);
    bool legacy = hpet_is_legacy(&platform->hpet);
    uint32_t changed;
    bool extint;

    if (legacy) {
        lines = (lines & ~HPET_LEGACY_LINES) | (platform->lines & HPET_LEGACY_LINES);
    }
    changed = lines ^ platform->lines;
    if (pit_take_edge(&platform->pit) && !legacy) {
        set_isa_line(platform, IRQ_TIMER, false);
        set_isa_line(platform, IRQ_TIMER, true);
        changed |= 1u << IRQ_TIMER; /* and then the level that programming has left */
    }
    platform->lines = lines;
    while (changed != 0) {
        unsigned irq = (unsigned)__builtin_ctz(changed);

        set_isa_line(platform, irq, (lines >> irq & 1u) != 0);
        changed &= changed - 1;
    }
    if ((platform->hpet.edges | platform->hpet.status | platform->hpet_levels) != 0) {
        propagate_hpet(platform);
    }
    extint = pic_pair_intr(&platform->pic);
    if (extint != platform->extint) {
        platform->extint = extint;
        if (extint) {
            __atomic_store_n(&platform->extint_rises, platform->extint_rises + 1, __ATOMIC_RELEASE);
        }
        ioapic_set_line(&platform->ioapic, PIN_INTR, extint);
    }
    if (platform->ioapic.pending != 0) {
        collect_messages(platform);
    }
}

/* --- Timers --- */

static void run_due(struct platform *platform, uint64_t now)
{
    if (now >= platform->pit.deadline) {
        pit_run(&platform->pit, now);
    }
    if (now >= platform->cmos.deadline) {
        cmos_run(&platform->cmos, now);
    }
    if (now >= platform->pm.deadline) {
        pm_run(&platform->pm, now);
    }
    if (now >= platform->hpet.deadline) {
        hpet_run(&platform->hpet, now);
    }
    if (now >= platform->uart.deadline) {
        uart_run(&platform->uart, now);
    }
    if (now >= platform->level_deadline) {
        platform->level_deadline = DEADLINE_NONE;
        ioapic_ask_again(&platform->ioapic);
    }
}

void platform_run_timers(struct platform *platform, uint64_t now)
{
    run_due(platform, now);
    propagate(platform);
}

static bool irq_masked(const struct platform *platform, unsigned irq)
{
    return pic_pair_masked(&platform->pic, irq) && ioapic_masked(&platform->ioapic, irq == IRQ_TIMER ? PIN_TIMER : irq);
}

/*
 * A tick is worth waking up for unless it is masked everywhere, or only the 8259 takes it and already has one. That one
 * ends with an EOI, after which the deadline is computed anew; with automatic EOI nobody would come by.
 */
static bool tick_matters(const struct platform *platform)
{
    const struct pic *pic = &platform->pic.chips[0];
    bool pic_has_it = (pic->irr & 1u << IRQ_TIMER) != 0 && !pic->auto_eoi;

    return !ioapic_masked(&platform->ioapic, PIN_TIMER) || (!pic_pair_masked(&platform->pic, IRQ_TIMER) && !pic_has_it);
}

uint64_t platform_deadline(const struct platform *platform)
{
    uint64_t deadline = tick_matters(platform) ? platform->pit.deadline : DEADLINE_NONE;

    if (!irq_masked(platform, IRQ_RTC)) {
        deadline = min_u64(deadline, platform->cmos.deadline);
    }
    if (!irq_masked(platform, IRQ_SCI)) {
        deadline = min_u64(deadline, platform->pm.deadline);
    }
    if (!irq_masked(platform, IRQ_UART)) {
        deadline = min_u64(deadline, platform->uart.deadline);
    }
    deadline = min_u64(deadline, platform->level_deadline);
    return min_u64(min_u64(deadline, platform->hpet.deadline), platform->console_deadline);
}

/* --- Power --- */

static void request_power(struct platform *platform, enum platform_power power, const char *reason)
{
    if (platform->power == POWER_ON) {
        platform->power = power;
        platform->power_reason = reason;
    }
}

static void collect_power(struct platform *platform)
{
    if (platform->pm.off_requested) {
        request_power(platform, POWER_OFF_REQUESTED, "ACPI S5");
    }
    if (platform->pci.reset_requested) {
        request_power(platform, POWER_RESET_REQUESTED, "port 0xcf9");
    }
    if (platform->keyboard.reset_by != NULL) {
        request_power(platform, POWER_RESET_REQUESTED, platform->keyboard.reset_by);
    }
}

/* --- Byte ports --- */

static bool is_uart(uint16_t port)
{
    return (port & ~7u) == UART_BASE;
}

static bool is_pm(uint16_t port)
{
    return port >= PM_BASE && port < PM_BASE + PM_BYTES;
}

static bool read_byte(struct platform *platform, uint16_t port, uint64_t now, uint8_t *value)
{
    switch (port) {
    case 0x20 ... 0x21:
    case 0xa0 ... 0xa1:
    case 0x4d0 ... 0x4d1:
        *value = pic_pair_read(&platform->pic, port);
        return true;
    case 0x40 ... 0x43:
        *value = pit_read(&platform->pit, port & 3u, now);
        return true;
    case 0x61:
        *value = pit_port_b_read(&platform->pit, now);
        return true;
    case 0x60:
    case 0x64:
    case 0x92:
        *value = i8042_read(&platform->keyboard, port);
        return true;
    case CRTC_INDEX:
    case CRTC_DATA:
    case CRTC_STATUS:
        *value = crtc_read(&platform->crtc, port);
        return true;
    case 0x70 ... 0x71:
        *value = cmos_read(&platform->cmos, port, now);
        return true;
    case 0x00 ... 0x0f: /* DMA controllers that nobody uses */
    case 0x81 ... 0x8f:
    case 0xc0 ... 0xdf:
        *value = 0;
        return true;
    case 0x80: /* diagnostics and delay */
    case 0xed:
    case 0xf0 ... 0xf1: /* FPU error latch, write-only */
        *value = 0xff;
        return true;
    case RESET_CONTROL:
        *value = pci_reset_control_read(&platform->pci);
        return true;
    case PCI_DATA ... PCI_DATA + 3:
        *value = (uint8_t)pci_data_read(&platform->pci, port & 3u, 1);
        return true;
    case DEBUG_CONSOLE:
        *value = platform->config.debug_ports ? DEBUG_CONSOLE : 0xff;
        return platform->config.debug_ports;
    default:
        *value = 0xff;
        return false;
    }
}

static void debug_put(struct platform *platform, uint8_t value)
{
    if (platform->config.console) {
        (void)byte_ring_put(&platform->console_out, value);
    }
}

static bool write_byte(struct platform *platform, uint16_t port, uint8_t value, uint64_t now)
{
    switch (port) {
    case 0x20 ... 0x21:
    case 0xa0 ... 0xa1:
    case 0x4d0 ... 0x4d1:
        pic_pair_write(&platform->pic, port, value);
        return true;
    case 0x40 ... 0x43:
        pit_write(&platform->pit, port & 3u, value, now);
        return true;
    case 0x61:
        pit_port_b_write(&platform->pit, value, now);
        return true;
    case 0x60:
    case 0x64:
    case 0x92:
        i8042_write(&platform->keyboard, port, value);
        return true;
    case CRTC_INDEX:
    case CRTC_DATA:
    case CRTC_STATUS:
        crtc_write(&platform->crtc, port, value);
        return true;
    case 0x70 ... 0x71:
        cmos_write(&platform->cmos, port, value, now);
        return true;
    case 0x00 ... 0x0f:
    case 0x80 ... 0x8f:
    case 0xc0 ... 0xdf:
    case 0xed:
    case 0xf0 ... 0xf1:
        return true; /* known, and without effect */
    case RESET_CONTROL:
        pci_reset_control_write(&platform->pci, value);
        return true;
    case PCI_DATA ... PCI_DATA + 3:
        pci_data_write(&platform->pci, port & 3u, 1, value);
        return true;
    case DEBUG_CONSOLE:
        if (platform->config.debug_ports) {
            debug_put(platform, value);
        }
        return platform->config.debug_ports;
    default:
        return false;
    }
}

/* --- Ports of any size --- */

static uint32_t size_mask(uint8_t size)
{
    return size >= 4 ? 0xffffffffu : (1u << (size * 8)) - 1;
}

/* Registers that are wider than a byte; everything else is cut into bytes at consecutive ports. */
static bool read_wide(struct platform *platform, uint16_t port, uint8_t size, uint64_t now, uint32_t *value)
{
    if (port == PCI_ADDRESS && size == 4) {
        *value = pci_address_read(&platform->pci);
        return true;
    }
    if (port >= PCI_DATA && port + size <= PCI_DATA + 4) {
        *value = pci_data_read(&platform->pci, port & 3u, size);
        return true;
    }
    if (is_pm(port) && is_pm((uint16_t)(port + size - 1))) {
        *value = pm_read(&platform->pm, port - PM_BASE, size, now);
        return true;
    }
    return platform->config.debug_ports && testdev_port_read(&platform->testdev, port, size, value);
}

/* A pin counts as driven from the first time on that the test device moves it. */
static void move_test_line(struct platform *platform)
{
    uint8_t line = platform->testdev.line;

    if (line == TESTDEV_NO_LINE) {
        return;
    }
    platform->testdev.line = TESTDEV_NO_LINE;
    platform->ioapic.driven |= 1u << line;
    pic_pair_set_line(&platform->pic, line, platform->testdev.level);
    ioapic_set_line(&platform->ioapic, line, platform->testdev.level);
}

static bool write_debug(struct platform *platform, uint16_t port, uint8_t size, uint32_t value)
{
    if (port == DEBUG_EXIT) {
        platform->debug_exit_value = value;
        request_power(platform, POWER_DEBUG_EXIT, "port 0xf4");
        return true;
    }
    if (!testdev_port_write(&platform->testdev, port, size, value)) {
        return false;
    }
    move_test_line(platform);
    return true;
}

static bool write_wide(struct platform *platform, uint16_t port, uint8_t size, uint32_t value, uint64_t now)
{
    if (port == PCI_ADDRESS && size == 4) {
        pci_address_write(&platform->pci, value);
        return true;
    }
    if (port >= PCI_DATA && port + size <= PCI_DATA + 4) {
        pci_data_write(&platform->pci, port & 3u, size, value);
        return true;
    }
    if (is_pm(port) && is_pm((uint16_t)(port + size - 1))) {
        pm_write(&platform->pm, port - PM_BASE, size, value, now);
        return true;
    }
    return platform->config.debug_ports && write_debug(platform, port, size, value);
}

/* A wide access at the end of the port space runs into nothing: it does not wrap to port 0. */
static bool read_port_byte(struct platform *platform, uint32_t port, uint64_t now, uint8_t *value)
{
    if (port > UINT16_MAX) {
        *value = 0xff;
        return false;
    }
    if (is_uart((uint16_t)port)) {
        *value = uart_read(&platform->uart, port & 7u, now);
        return true;
    }
    return read_byte(platform, (uint16_t)port, now, value);
}

static bool write_port_byte(struct platform *platform, uint32_t port, uint8_t value, uint64_t now)
{
    if (port > UINT16_MAX) {
        return false;
    }
    if (is_uart((uint16_t)port)) {
        uart_write(&platform->uart, port & 7u, value, now);
        return true;
    }
    return write_byte(platform, (uint16_t)port, value, now);
}

bool platform_port_read(struct platform *platform, uint16_t port, uint8_t size, uint64_t now, uint32_t *value)
{
    bool known;

    run_due(platform, now);
    known = read_wide(platform, port, size, now, value);
    if (!known) {
        *value = 0;
        for (unsigned i = 0; i < size; i++) {
            uint8_t byte;

            known |= read_port_byte(platform, port + i, now, &byte);
            *value |= (uint32_t)byte << (8 * i);
        }
    }
    propagate(platform);
    return known;
}

bool platform_port_write(struct platform *platform, uint16_t port, uint8_t size, uint32_t value, uint64_t now)
{
    bool known;

    run_due(platform, now);
    value &= size_mask(size);
    known = write_wide(platform, port, size, value, now);
    if (!known) {
        for (unsigned i = 0; i < size; i++) {
            known |= write_port_byte(platform, port + i, (uint8_t)(value >> (8 * i)), now);
        }
    }
    collect_power(platform);
    propagate(platform);
    return known;
}

/* --- Memory --- */

static bool is_ioapic(gpa_t address)
{
    return address.value - GUEST_IOAPIC_BASE < IOAPIC_MMIO_BYTES;
}

static bool is_hpet(gpa_t address)
{
    return address.value - GUEST_HPET_BASE < HPET_BYTES;
}

bool platform_mmio_read(struct platform *platform, gpa_t address, uint8_t size, uint64_t now, uint64_t *value)
{
    if (!is_ioapic(address) && !is_hpet(address)) {
        *value = ~0ULL >> (64 - 8 * size);
        return false;
    }
    run_due(platform, now);
    if (is_ioapic(address)) {
        *value = ioapic_read(&platform->ioapic, (uint32_t)(address.value - GUEST_IOAPIC_BASE), size);
    } else {
        hpet_run(&platform->hpet, now);
        *value = hpet_read(&platform->hpet, (uint32_t)(address.value - GUEST_HPET_BASE), size, now);
    }
    propagate(platform);
    return true;
}

bool platform_mmio_write(struct platform *platform, gpa_t address, uint8_t size, uint64_t value, uint64_t now)
{
    if (!is_ioapic(address) && !is_hpet(address)) {
        return false;
    }
    run_due(platform, now);
    propagate(platform); /* edges up to now meet the old entries */
    if (is_ioapic(address)) {
        ioapic_write(&platform->ioapic, (uint32_t)(address.value - GUEST_IOAPIC_BASE), size, value);
    } else {
        hpet_run(&platform->hpet, now);
        hpet_write(&platform->hpet, (uint32_t)(address.value - GUEST_HPET_BASE), size, value, now);
    }
    propagate(platform);
    return true;
}

/* --- The rest of the interface --- */

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
        platform->console_deadline = DEADLINE_NONE;
        return false;
    }
    if (line || count >= CONSOLE_BATCH_BYTES || now >= platform->console_quiet_until ||
        now >= platform->console_deadline) {
        platform->console_quiet_until = now + clock_ns_to_ticks(platform->config.clock, CONSOLE_WAIT_NS);
        platform->console_deadline = DEADLINE_NONE;
        return true;
    }
    if (platform->console_deadline == DEADLINE_NONE) {
        platform->console_deadline = platform->console_quiet_until;
    }
    return false;
}

void platform_console_poll(struct platform *platform, uint64_t now)
{
    uart_run(&platform->uart, now);
    propagate(platform);
}

/*
 * A level that nobody clears comes back at its EOI. On a PC the messages take a while, and the program that is
 * interrupted gets on between them; here it would never execute an instruction again, and hang without a word.
 */
static void hold_back_levels(struct platform *platform, uint64_t now)
{
    if (platform->ioapic.pending == 0) {
        platform->level_repeats = 0;
    } else if (++platform->level_repeats >= LEVEL_REPEATS_MAX) {
        platform->level_repeats = 0;
        platform->ioapic.pending = 0;
        platform->level_deadline = now + clock_ns_to_ticks(platform->config.clock, LEVEL_PAUSE_NS);
    }
}

void platform_eoi(struct platform *platform, uint8_t vector, uint64_t now)
{
    ioapic_eoi(&platform->ioapic, vector);
    hold_back_levels(platform, now);
    propagate(platform);
}

uint8_t platform_acknowledge_extint(struct platform *platform)
{
    uint8_t vector = pic_pair_acknowledge(&platform->pic);

    propagate(platform);
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
    collect_messages(platform);
    return true;
}

void platform_reset(struct platform *platform, const struct platform_config *config, uint64_t now)
{
    struct cmos_config cmos = {
        .clock = config->clock,
        .wall_clock_ns = config->wall_clock_ns,
        .wall_clock_tsc = config->wall_clock_tsc,
        .ram_low_bytes = config->ram_low_bytes,
        .ram_high_bytes = config->ram_high_bytes,
    };

    platform->config = *config;
    pic_pair_reset(&platform->pic);
    pit_reset(&platform->pit, config->clock, now);
    ioapic_reset(&platform->ioapic, DRIVEN_PINS);
    cmos_reset(&platform->cmos, &cmos, now);
    i8042_reset(&platform->keyboard);
    crtc_reset(&platform->crtc);
    hpet_reset(&platform->hpet, config->clock, now);
    uart_reset(&platform->uart, config->clock, config->console ? &platform->console_out : NULL,
               config->console ? &platform->console_in : NULL);
    pci_reset(&platform->pci);
    pm_reset(&platform->pm, config->clock, now);
    testdev_reset(&platform->testdev, config->cpus, config->ram_low_bytes + config->ram_high_bytes);
    platform->outbox_count = 0;
    platform->lines = 0;
    platform->hpet_levels = 0;
    platform->level_repeats = 0;
    platform->level_deadline = DEADLINE_NONE;
    platform->extint = false;
    platform->power = POWER_ON;
    platform->power_reason = NULL;
    platform->debug_exit_value = 0;
    platform->console_quiet_until = 0;
    platform->console_deadline = DEADLINE_NONE;
}

void platform_press_power_button(struct platform *platform)
{
    pm_press_power_button(&platform->pm);
    propagate(platform);
}
