/* SPDX-License-Identifier: MIT */
/*
 * The host bridge on the device bus: found by ports and by ECAM, every access width; BARs that firmware has placed and
 * that a guest moves, also onto each other and onto other devices; interrupts through the wires of the PC, and those of
 * a device outside of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/base/memory.h"
#include "hv/dev/pci/assigned.h"
#include "hv/dev/platform.h"
#include "hv/mm/guest_layout.h"

#define ECAM 0xe0000000ULL
#define ECAM_Q35 0xb0000000ULL
#define CARDS 3u

static struct platform platform;
static const struct clock clock = {.tsc_hz = 1000000000};
static struct card {
    struct pci_endpoint function; /* first */
    uint64_t marks[PCI_BARS];     /* last written, by BAR */
} cards[CARDS];

static uint64_t card_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size)
{
    const struct card *card = (const struct card *)function;

    return (uint64_t)(card - cards) << 16 | (uint64_t)bar << 8 | (offset & 0xf0) | size;
}

static void card_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    struct card *card = (struct card *)function;

    (void)offset;
    (void)size;
    card->marks[bar] = value;
    if (bar == 0) {
        function->intx = value != 0;
        pci_interrupt(function, (unsigned)value & 3);
    }
}

static const struct pci_device_ops ops = {.read = card_read, .write = card_write};
static const struct pci_identity identity = {
    .vendor = 0x1234, .device = 0x11e8, .class_code = 0xff0000, .has_intx = true};
static const struct bus_row row = {
    .name = "card",
    PCI_ROW_RANGES,
    .read = pci_row_read,
    .write = pci_row_write,
    .next_message = pci_row_next_message,
    .lines = {BUS_NO_LINE},
    .line_count = 1,
    .state_bytes = sizeof(struct card),
    .signals_at = offsetof(struct card, function.signals),
    .saved_from = sizeof(struct card),
};
static const struct pci_windows windows = {.ports_start = 0xc000,
                                           .ports_end = 0x10000,
                                           .low_start = 0xc0000000,
                                           .low_end = 0xe0000000,
                                           .high_start = 0x400000000,
                                           .high_end = 0x800000000};

static void describe(struct card *card)
{
    memset(card, 0, sizeof(*card));
    pci_function_init(&card->function, &identity, &ops, NULL);
    pci_function_add_bar(&card->function, 0, (struct pci_bar){.kind = PCI_BAR_PORTS, .bytes = 64});
    pci_function_add_bar(&card->function, 1, (struct pci_bar){.kind = PCI_BAR_MEMORY32, .bytes = 4096});
    pci_function_add_bar(&card->function, 2, (struct pci_bar){PCI_BAR_MEMORY64, true, 16 * MIB});
    pci_function_add_bar(&card->function, 4, (struct pci_bar){PCI_BAR_MEMORY64, true, GIB});
    pci_function_add_msix(&card->function, 4, 1, 0, 0x800);
}

static int setup(void **state)
{
    const struct platform_config config = {.clock = &clock, .ram_low_bytes = 64 * MIB, .cpus = 1};

    (void)state;
    memset(&platform, 0, sizeof(platform));
    platform_reset(&platform, &config, 0);
    for (unsigned i = 0; i < CARDS; i++) {
        describe(&cards[i]);
        assert_int_equal(pci_host_add(&platform.pci_host, &row, &cards[i].function, PCI_DEVFN(i + 1, 0)), STATUS_OK);
    }
    assert_int_equal(platform_attach_pci(&platform, &windows), STATUS_OK);
    return 0;
}

/* ---- accesses, as a guest makes them ---- */

static uint32_t port_read(uint16_t port, uint8_t size)
{
    uint32_t value = 0;

    (void)platform_port_read(&platform, port, size, 0, &value);
    return value;
}

static void port_write(uint16_t port, uint8_t size, uint32_t value)
{
    (void)platform_port_write(&platform, port, size, value, 0);
}

static uint64_t memory_read(uint64_t address, uint8_t size)
{
    uint64_t value = 0;

    (void)platform_mmio_read(&platform, gpa(address), size, 0, &value);
    return value;
}

static void memory_write(uint64_t address, uint8_t size, uint64_t value)
{
    (void)platform_mmio_write(&platform, gpa(address), size, value, 0);
}

static void select(unsigned bus, unsigned device, unsigned function, unsigned reg)
{
    port_write(0xcf8, 4, 0x80000000u | bus << 16 | device << 11 | function << 8 | (reg & 0xfcu));
}

static uint32_t config_read(unsigned device, unsigned reg)
{
    select(0, device, 0, reg);
    return port_read(0xcfc, 4);
}

static void config_write(unsigned device, unsigned reg, uint32_t value)
{
    select(0, device, 0, reg);
    port_write(0xcfc, 4, value);
}

static uint64_t ecam(unsigned device, unsigned reg)
{
    return ECAM + device * 0x8000u + reg;
}

/* ---- configuration space ---- */

static void the_host_bridge_is_at_00_00_0(void **state)
{
    (void)state;
    assert_int_equal(config_read(0, 0), 0x00081b36);
    assert_int_equal(config_read(0, 8) >> 16, 0x0600);
    assert_int_equal(config_read(0, 12) & 0x00ff0000, 0); /* header 0, one function */
    assert_int_equal(config_read(0, 0x34), 0);            /* no capabilities */
    for (unsigned reg = 0x10; reg <= 0x30; reg += 4) {
        config_write(0, reg, 0xffffffff);
        assert_int_equal(config_read(0, reg), 0);
    }
    config_write(0, 4, 0xffffffff);
    assert_int_equal(config_read(0, 4), 0x00000547);
}

static void only_what_was_added_is_there(void **state)
{
    (void)state;
    for (unsigned bus = 0; bus < 256; bus++) {
        for (unsigned devfn = 0; devfn < 256; devfn++) {
            bool there = bus == 0 && devfn % 8 == 0 && devfn / 8 <= CARDS;

            select(bus, devfn >> 3, devfn & 7, 0);
            assert_int_equal(port_read(0xcfc, 4) != 0xffffffff, there);
            if (bus == 0) {
                assert_int_equal(memory_read(ECAM + devfn * 4096, 4) != 0xffffffff, there);
            }
        }
    }
    assert_int_equal(memory_read(ECAM + 0x100000, 4), 0xffffffff);
    port_write(0xcf8, 4, 0x00000800);
    assert_int_equal(port_read(0xcfc, 4), 0xffffffff);
}

static void ports_and_ecam_show_the_same_registers_in_every_width(void **state)
{
    (void)state;
    for (unsigned reg = 0; reg < 256; reg += 4) {
        uint32_t dword = config_read(2, reg);

        assert_int_equal(memory_read(ecam(2, reg), 4), dword);
        for (unsigned at = 0; at < 4; at++) {
            select(0, 2, 0, reg);
            assert_int_equal(port_read((uint16_t)(0xcfc + at), 1), dword >> (8 * at) & 0xff);
            assert_int_equal(memory_read(ecam(2, reg + at), 1), dword >> (8 * at) & 0xff);
        }
        assert_int_equal(port_read(0xcfe, 2), dword >> 16);
        assert_int_equal(memory_read(ecam(2, reg + 2), 2), dword >> 16);
        if (reg % 8 == 0) {
            assert_int_equal(memory_read(ecam(2, reg), 8) & 0xffffffff, dword);
            assert_int_equal(memory_read(ecam(2, reg), 8) >> 32, config_read(2, reg + 4));
        }
    }
    assert_int_equal(memory_read(ecam(2, 0x100), 4), 0); /* no extended capabilities */
    memory_write(ecam(2, 0x3c), 1, 0x55);
    assert_int_equal(config_read(2, 0x3c) & 0xff, 0x55);
    memory_write(ecam(2, 0xffc), 4, 0x55);
    assert_int_equal(memory_read(ecam(2, 0xffc), 4), 0);
}

static void kernels_that_know_q35s_place_find_the_same_registers_there(void **state)
{
    (void)state;
    assert_int_equal(memory_read(ECAM_Q35, 4), 0x00081b36);
    memory_write(ECAM_Q35 + 0x1003c, 1, 0x66);
    assert_int_equal(config_read(2, 0x3c) & 0xff, 0x66);
    for (unsigned reg = 0; reg < 256; reg += 4) {
        assert_int_equal(memory_read(ECAM_Q35 + 0x10000 + reg, 4), config_read(2, reg));
    }
    assert_int_equal(memory_read(ECAM_Q35 + 0x100000, 4), 0xffffffff); /* bus 1 */
}

static void the_address_register_keeps_its_bits(void **state)
{
    (void)state;
    port_write(0xcf8, 4, 0xffffffff);
    assert_int_equal(port_read(0xcf8, 4), 0x80fffffc);
    port_write(0xcf8, 2, 0);
    assert_int_equal(port_read(0xcf8, 4), 0x80fffffc); /* only whole */
}

static void a_rising_reset_bit_resets(void **state)
{
    (void)state;
    port_write(0xcf9, 1, 0x02);
    assert_int_equal(platform.power, POWER_ON);
    assert_int_equal(port_read(0xcf9, 1), 0x02);
    port_write(0xcf9, 1, 0x06);
    assert_int_equal(platform.power, POWER_RESET_REQUESTED);
}

static void a_second_function_is_announced_by_the_first(void **state)
{
    static struct card second;

    (void)state;
    describe(&second);
    assert_int_equal(pci_host_add(&platform.pci_host, &row, &second.function, PCI_DEVFN(1, 3)), STATUS_OK);
    assert_int_equal(pci_host_add(&platform.pci_host, &row, &second.function, PCI_DEVFN(1, 3)), STATUS_BUSY);
    assert_int_equal(config_read(1, 12) >> 16 & 0xff, 0x80);
}

/* ---- BARs ---- */

static uint64_t bar_of(unsigned device, unsigned bar)
{
    return pci_bar_address(&cards[device - 1].function, bar);
}

static void firmware_has_placed_every_bar(void **state)
{
    (void)state;
    for (unsigned device = 1; device <= CARDS; device++) {
        uint64_t ports = bar_of(device, 0), low = bar_of(device, 1), large = bar_of(device, 2),
                 huge = bar_of(device, 4);

        assert_in_range(ports, 0xc000, 0xffc0);
        assert_in_range(low, 0xc0000000, 0xdffff000);
        assert_in_range(large, 0xc0000000, 0xdf000000);
        assert_in_range(huge, 0x400000000, 0x7c0000000);
        assert_int_equal(large % (16 * MIB), 0);
        assert_int_equal(port_read((uint16_t)(ports + 0x10), 4), (device - 1) << 16 | 0x14);
        assert_int_equal(memory_read(large + 0x20, 8), (uint64_t)(device - 1) << 16 | 0x228);
        assert_int_equal(memory_read(huge + 0xffffff0, 4), (uint64_t)(device - 1) << 16 | 0x4f4);
        assert_int_equal(config_read(device, 0x3c) & 0xffff, 0x0100 | (device % 2 == 0 ? 10 : 11));
        assert_int_equal(config_read(device, 4) & 7, 3);
    }
}

static void a_bar_answers_where_it_was_moved(void **state)
{
    uint64_t old = bar_of(1, 2);

    (void)state;
    config_write(1, 0x18, 0xd8000000);
    assert_int_equal(memory_read(0xd8000020, 4), 0x224);
    assert_int_equal(memory_read(old + 0x20, 4), 0xffffffff);
    config_write(1, 0x1c, 0x7); /* above 4 GiB */
    assert_int_equal(memory_read(0xd8000020, 4), 0xffffffff);
    assert_int_equal(memory_read(0x7d8000020, 4), 0x224);
    config_write(1, 4, 0);
    assert_int_equal(memory_read(0x7d8000020, 4), 0xffffffff);
    config_write(1, 4, 2);
    assert_int_equal(memory_read(0x7d8000020, 4), 0x224);
    config_write(1, 0x10, 0x5000);
    assert_int_equal(port_read(0x5010, 4), 0xffffffff);
    config_write(1, 4, 1);
    assert_int_equal(port_read(0x5010, 4), 0x14);
}

static void what_has_a_place_keeps_it(void **state)
{
    uint64_t other = bar_of(2, 1);

    (void)state;
    config_write(1, 0x14, (uint32_t)other); /* onto another BAR */
    assert_int_equal(memory_read(other + 0x820, 4) >> 16, 1);
    assert_int_equal(config_read(1, 0x14), other); /* the register has what was written */
    config_write(2, 0x14, 0xd9000000);
    assert_int_equal(memory_read(other + 0x820, 4) >> 16, 0); /* now it is free */
    config_write(1, 0x14, 0xfec00000);                        /* onto the I/O APIC */
    memory_write(0xfec00000, 4, 1);
    assert_int_equal(memory_read(0xfec00010, 4), 0x00170020);
    config_write(1, 0x14, ECAM & 0xffffffff); /* onto configuration space */
    assert_int_equal(memory_read(ECAM, 4), 0x00081b36);
    config_write(1, 0x10, 0x3c0); /* ports across the UART */
    assert_int_equal(port_read(0x3fd, 1), 0x60);
    config_write(1, 0x10, 0xcc0); /* across 0xcf8 */
    assert_int_equal(config_read(0, 0), 0x00081b36);
}

static void two_bars_may_change_places(void **state)
{
    uint64_t one = bar_of(1, 1), two = bar_of(2, 1);

    (void)state;
    config_write(1, 4, 0);
    config_write(2, 4, 0);
    config_write(1, 0x14, (uint32_t)two);
    config_write(2, 0x14, (uint32_t)one);
    config_write(1, 4, 2);
    config_write(2, 4, 2);
    assert_int_equal(memory_read(two + 0x820, 4) >> 16, 0);
    assert_int_equal(memory_read(one + 0x820, 4) >> 16, 1);
}

static void random_moves_never_reach_anything_else(void **state)
{
    static const uint32_t places[] = {0,          0xc000,     0x3c0,      0x60,       0xcc0,      0xffc0,
                                      0xfec00000, 0xfee00000, 0xe0000000, 0xc0000000, 0xc1000000, 0xc0001000,
                                      0xffffffff, 0xd0000000, 0x0000f000, 0xfed00000};
    uint32_t random = 5;

    (void)state;
    for (unsigned i = 0; i < 50000; i++) {
        unsigned device, reg;

        random = random * 1664525u + 1013904223u;
        device = 1 + (random >> 8) % CARDS;
        reg = (random >> 12) % 8;
        config_write(device, reg == 7 ? 4 : 0x10 + 4 * reg,
                     reg == 7 ? random >> 20 & 7 : places[random >> 20 & 15] + (random >> 28 == 0 ? 0x1000 : 0));
        if (i % 64 == 0) {
            assert_int_equal(config_read(0, 0), 0x00081b36);
            memory_write(0xfec00000, 4, 1);
            assert_int_equal(memory_read(0xfec00010, 4), 0x00170020);
            assert_int_equal(port_read(0x3fd, 1), 0x60);
            assert_int_equal(memory_read(ECAM, 4), 0x00081b36);
        }
    }
    for (unsigned device = 1; device <= CARDS; device++) { /* and all of it can be put back */
        config_write(device, 4, 0);
        config_write(device, 0x10, 0xd000 + 0x100 * device);
        config_write(device, 0x18, 0xc0000000 + 0x1000000 * device);
        config_write(device, 0x1c, 0);
    }
    for (unsigned device = 1; device <= CARDS; device++) {
        config_write(device, 4, 3);
        assert_int_equal(port_read((uint16_t)(0xd010 + 0x100 * device), 4) & 0xff, 0x14);
        assert_int_equal(memory_read(0xc0000020 + 0x1000000 * device, 4), (device - 1) << 16 | 0x224);
    }
}

/* ---- interrupts ---- */

static void intx_reaches_its_pin_and_the_8259(void **state)
{
    struct apic_message message;
    uint16_t port = (uint16_t)bar_of(2, 0);

    (void)state;
    memory_write(0xfec00000, 4, 0x10 + 2 * 18); /* device 2: line 2, pin 18, level, active low */
    memory_write(0xfec00010, 4, 0xa000 | 0x52);
    assert_false(platform_take_message(&platform, &message));
    port_write(port, 4, 1);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x52);
    assert_true(message.level);
    assert_false(platform_take_message(&platform, &message));
    platform_eoi(&platform, 0x52, 0); /* still low */
    assert_true(platform_take_message(&platform, &message));
    port_write(port, 4, 0);
    platform_eoi(&platform, 0x52, 0);
    assert_false(platform_take_message(&platform, &message));

    port_write(0xa1, 1, 0xfb); /* IRQ 10 */
    port_write(0x21, 1, 0xfb);
    assert_false(platform.extint);
    port_write(port, 4, 1);
    assert_true(platform.extint);
    assert_int_equal(platform_acknowledge_extint(&platform), 0x72);
    port_write(0xa0, 1, 0x20);
    port_write(0x20, 1, 0x20);
    assert_true(platform.extint); /* a level */
    port_write(port, 4, 0);
    assert_false(platform.extint);
}

/* What a kernel without ACPI takes: the I/O APIC's pin of the Interrupt Line register's number. */
static void intx_reaches_the_io_apics_pin_of_its_irq(void **state)
{
    struct apic_message message;
    uint16_t port = (uint16_t)bar_of(1, 0);

    (void)state;
    memory_write(0xfec00000, 4, 0x10 + 2 * 11); /* device 1: IRQ 11; an edge, active high */
    memory_write(0xfec00010, 4, 0x5b);
    port_write(port, 4, 1);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0x5b);
    port_write(port, 4, 0);
    assert_false(platform_take_message(&platform, &message));
    port_write(port, 4, 1);
    assert_true(platform_take_message(&platform, &message));
}

static void messages_come_from_the_table(void **state)
{
    struct apic_message message;
    uint64_t table = bar_of(3, 1);
    uint16_t port = (uint16_t)bar_of(3, 0);

    (void)state;
    config_write(3, 4, 7);
    memory_write(ecam(3, cards[2].function.msix_cap + 2u), 2, 0x8000);
    memory_write(table + 32, 8, 0xfee01000);
    memory_write(table + 40, 8, 0x1000000a7); /* masked */
    port_write(port, 4, 2);
    assert_false(platform_take_message(&platform, &message));
    assert_int_equal(memory_read(table + 0x800, 8), 4);
    memory_write(table + 44, 4, 0);
    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, 0xa7);
    assert_int_equal(message.destination, 1);
    memory_write(ecam(3, cards[2].function.msix_cap + 2u), 2, 0xc000); /* masked as a whole */
    port_write(port, 4, 2);
    assert_false(platform_take_message(&platform, &message));
    memory_write(ecam(3, cards[2].function.msix_cap + 2u), 2, 0x8000); /* a configuration write lets it out */
    assert_true(platform_take_message(&platform, &message));
}

/* ---- a device outside of the guest's PC, which pulls a line of the machine ---- */

#define SOURCE 17u
#define LINE_VECTOR 0x33u

static struct pci_assigned assigned;
static uint32_t opened; /* how often its pin was opened: each time it still pulls it comes again */

static void outside_config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes,
                                 uint32_t value)
{
    (void)context;
    (void)address;
    (void)offset;
    (void)bytes;
    (void)value;
}

static void outside_line_open(void *context, uint8_t vector)
{
    (void)context;
    assert_int_equal(vector, LINE_VECTOR);
    opened++;
}

static int setup_outside(void **state)
{
    static const struct pci_assigned_facts facts = {.identity = {.vendor = 0x1234, .device = 0x11e8}, .decode = 3};
    static const struct pci_assigned_io io = {.config_write = outside_config_write, .line_open = outside_line_open};
    const struct platform_config config = {.clock = &clock, .ram_low_bytes = 64 * MIB, .cpus = 1};

    (void)state;
    memset(&platform, 0, sizeof(platform));
    platform_reset(&platform, &config, 0);
    describe(&cards[0]);
    assigned = (struct pci_assigned){.facts = &facts, .io = &io, .line_source = SOURCE, .line_vector = LINE_VECTOR};
    pci_assigned_init(&assigned);
    assert_int_equal(pci_host_add(&platform.pci_host, &row, &cards[0].function, PCI_DEVFN(10, 0)), STATUS_OK);
    assert_int_equal(pci_host_add(&platform.pci_host, &pci_assigned_row, &assigned.function, PCI_DEVFN(2, 0)),
                     STATUS_OK);
    assert_int_equal(platform_attach_pci(&platform, &windows), STATUS_OK);
    opened = 0;
    return 0;
}

static void expect_message(uint8_t vector)
{
    struct apic_message message;

    assert_true(platform_take_message(&platform, &message));
    assert_int_equal(message.vector, vector);
    assert_true(message.level);
    assert_false(platform_take_message(&platform, &message));
}

/* One interrupt, whatever comes meanwhile; the pin is opened by its end, and only then. */
static void a_line_from_outside_falls_with_the_end_at_the_io_apic(void **state)
{
    struct apic_message message;

    (void)state;
    memory_write(0xfec00000, 4, 0x10 + 2 * 18);
    memory_write(0xfec00010, 4, 0xa000 | 0x52);
    platform_outside_came(&platform, SOURCE + 1);
    assert_false(platform_take_message(&platform, &message));
    for (uint32_t i = 1; i <= 2000; i++) { /* a level that is held back for its repeats is none of these */
        platform_outside_came(&platform, SOURCE);
        expect_message(0x52);
        platform_eoi(&platform, 0x53, 0);
        assert_int_equal(opened, i - 1);
        platform_eoi(&platform, 0x52, 0);
        assert_int_equal(opened, i);
        assert_false(platform_take_message(&platform, &message));
    }
    opened = 0;
    platform_outside_came(&platform, SOURCE);
    expect_message(0x52);
    memory_write(0xfec00040, 4, 0x52); /* the I/O APIC's own EOI register */
    assert_int_equal(opened, 1);
    platform_outside_came(&platform, SOURCE);
    expect_message(0x52);
    memory_write(0xfec00010, 4, 0x12000 | 0x52); /* as an edge, masked: what kernels do in its place */
    assert_int_equal(opened, 2);
    memory_write(0xfec00010, 4, 0xa000 | 0x52);
    assert_false(platform_take_message(&platform, &message));
}

static void a_line_from_outside_falls_with_the_end_at_the_8259(void **state)
{
    (void)state;
    port_write(0xa1, 1, 0xfb); /* IRQ 10 */
    port_write(0x21, 1, 0xfb);
    for (uint32_t i = 1; i <= 3; i++) {
        platform_outside_came(&platform, SOURCE);
        assert_true(platform.extint);
        assert_int_equal(platform_acknowledge_extint(&platform), 0x72);
        assert_int_equal(opened, i - 1);
        port_write(0xa0, 1, i == 2 ? 0x62 : 0x20); /* IRQ 10 by name, or the highest in service */
        assert_int_equal(opened, i);
        port_write(0x20, 1, 0x20);
        assert_false(platform.extint);
    }
}

/* A device of the guest's own PC on the same line keeps it, and the outside one is opened for each end. */
static void a_line_from_outside_is_shared(void **state)
{
    struct apic_message message;
    uint16_t port = (uint16_t)pci_bar_address(&cards[0].function, 0);

    (void)state;
    memory_write(0xfec00000, 4, 0x10 + 2 * 18);
    memory_write(0xfec00010, 4, 0xa000 | 0x52);
    platform_outside_came(&platform, SOURCE);
    port_write(port, 4, 1);
    expect_message(0x52);
    platform_eoi(&platform, 0x52, 0);
    assert_int_equal(opened, 1);
    expect_message(0x52);
    port_write(port, 4, 0);
    platform_eoi(&platform, 0x52, 0);
    assert_int_equal(opened, 1);
    assert_false(platform_take_message(&platform, &message));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_host_bridge_is_at_00_00_0, setup),
        cmocka_unit_test_setup(only_what_was_added_is_there, setup),
        cmocka_unit_test_setup(ports_and_ecam_show_the_same_registers_in_every_width, setup),
        cmocka_unit_test_setup(kernels_that_know_q35s_place_find_the_same_registers_there, setup),
        cmocka_unit_test_setup(the_address_register_keeps_its_bits, setup),
        cmocka_unit_test_setup(a_rising_reset_bit_resets, setup),
        cmocka_unit_test_setup(a_second_function_is_announced_by_the_first, setup),
        cmocka_unit_test_setup(firmware_has_placed_every_bar, setup),
        cmocka_unit_test_setup(a_bar_answers_where_it_was_moved, setup),
        cmocka_unit_test_setup(what_has_a_place_keeps_it, setup),
        cmocka_unit_test_setup(two_bars_may_change_places, setup),
        cmocka_unit_test_setup(random_moves_never_reach_anything_else, setup),
        cmocka_unit_test_setup(intx_reaches_its_pin_and_the_8259, setup),
        cmocka_unit_test_setup(intx_reaches_the_io_apics_pin_of_its_irq, setup),
        cmocka_unit_test_setup(messages_come_from_the_table, setup),
        cmocka_unit_test_setup(a_line_from_outside_falls_with_the_end_at_the_io_apic, setup_outside),
        cmocka_unit_test_setup(a_line_from_outside_falls_with_the_end_at_the_8259, setup_outside),
        cmocka_unit_test_setup(a_line_from_outside_is_shared, setup_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
