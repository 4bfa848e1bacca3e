/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/pci_device.h and hv/dev/pci/assigned.h on an invented device: it is read without a change that
 * stays, its guest sees what the table of assigned.c shows and nothing else, no write of the guest reaches more of the
 * device than its bus mastering and its messages, and each life begins with registers as the first one found them.
 */
#include "hv/host/pci_device.h"
#include "hv/host/pci_topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BYTES 256u
#define PM_AT 0x40u
#define MSI_AT 0x50u
#define EXPRESS_AT 0x60u
#define MSIX_AT 0xa0u
#define VENDOR_AT 0xb0u
#define BAR0_AT 0x7ff000000ULL
#define BAR0_BYTES 0x8000u
#define PORTS_AT 0xd000u
#define SMALL_AT 0xfe001000u
#define TABLE 0x2000u
#define PBA 0x3000u
#define MESSAGES 65u
#define VECTORS 32u
#define LINE_VECTOR 0x31u
#define LINE_SOURCE 17u

static struct {
    uint8_t config[BYTES];
    uint32_t bar_masks[PCI_BARS];
    uint32_t resets, writes, opened;
    uint64_t last_at, last_value;
    bool last_port;
} machine;

static struct pci_assigned_facts facts;
static struct pci_assigned device;
static const struct pci_address place = {0, 2, 0, 0};

static uint32_t word_at(uint32_t offset)
{
    uint32_t value;

    memcpy(&value, &machine.config[offset], sizeof(value));
    return value;
}

static void put(uint32_t offset, uint32_t value, uint32_t bytes)
{
    memcpy(&machine.config[offset], &value, bytes);
}

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    (void)context;
    assert_int_equal(pci_requester(address), pci_requester(place));
    assert_true(offset % 4 == 0 && offset < BYTES);
    return word_at(offset);
}

static void config_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value)
{
    uint32_t bar = (offset - PCI_BAR(0)) / 4;

    (void)context;
    assert_int_equal(pci_requester(address), pci_requester(place));
    assert_true(offset + bytes <= BYTES);
    machine.writes++;
    if (bar < PCI_BARS) {
        assert_int_equal(bytes, 4);
        value = (value & machine.bar_masks[bar]) | (word_at(offset) & 0xf & ~machine.bar_masks[bar]);
    }
    if (offset == EXPRESS_AT + 8 && (value & 0x8000) != 0) {
        machine.resets++;
        value &= 0x7fff;
    }
    put(offset, value, bytes);
}

static uint64_t bar_read(void *context, bool port, uint64_t at, uint8_t size)
{
    (void)context;
    machine.last_at = at;
    machine.last_port = port;
    return 0x1122334455667788ULL & (size == 8 ? ~0ULL : (1ULL << 8 * size) - 1);
}

static void bar_write(void *context, bool port, uint64_t at, uint8_t size, uint64_t value)
{
    (void)context;
    (void)size;
    machine.last_at = at;
    machine.last_port = port;
    machine.last_value = value;
}

static const struct pci_access access = {NULL, config_read, config_write};

static bool is_there(void *context, const struct pci_assigned_facts *of)
{
    (void)context;
    assert_ptr_equal(of, &facts);
    return word_at(PCI_ID) == 0x10d38086;
}

static void line_open(void *context, uint8_t vector)
{
    (void)context;
    assert_int_equal(vector, LINE_VECTOR);
    machine.opened++;
}

static const struct pci_assigned_io io = {NULL, config_write, bar_read, bar_write, is_there, line_open};

/* 64-bit registers with MSI-X, ports, a BAR below a page; capabilities with one that is hidden. */
static void make_machine(void)
{
    memset(&machine, 0, sizeof(machine));
    put(PCI_ID, 0x10d38086, 4);
    put(PCI_COMMAND, 0x00100007, 4); /* bus mastering on: firmware has used it */
    put(PCI_CLASS, 0x02000003, 4);
    put(0x2c, 0x12345678, 4);
    put(0x34, PM_AT, 1);
    put(PCI_BAR(0), (uint32_t)BAR0_AT | 4, 4);
    put(PCI_BAR(1), (uint32_t)(BAR0_AT >> 32), 4);
    put(PCI_BAR(2), PORTS_AT | 1, 4);
    put(PCI_BAR(3), SMALL_AT, 4);
    machine.bar_masks[0] = ~(BAR0_BYTES - 1);
    machine.bar_masks[1] = ~0u;
    machine.bar_masks[2] = 0xffe0;
    machine.bar_masks[3] = ~0xffu;
    put(PM_AT, 0x00030001 | MSI_AT << 8, 4);
    put(PM_AT + 4, 0x8, 4);
    put(MSI_AT, 0x00800005 | EXPRESS_AT << 8, 4);
    put(EXPRESS_AT, 0x00020010 | MSIX_AT << 8, 4);
    put(EXPRESS_AT + 4, 0x10008fc0, 4);
    put(EXPRESS_AT + 8, 0x2810, 2);
    put(MSIX_AT, (MESSAGES - 1) << 16 | 0x0011 | VENDOR_AT << 8, 4);
    put(MSIX_AT + 4, TABLE, 4);
    put(MSIX_AT + 8, PBA, 4);
    put(VENDOR_AT, 0xdead0009, 4);
}

static void make(void)
{
    make_machine();
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    facts.bars[0].place = 0xc8000000;
    facts.bars[0].mapped = true;
    device = (struct pci_assigned){.facts = &facts, .io = &io, .vectors = VECTORS};
    pci_assigned_init(&device);
}

static void a_device_is_read_and_left_as_it_was_but_for_bus_mastering(void **state)
{
    uint8_t before[BYTES];

    (void)state;
    make_machine();
    memcpy(before, machine.config, BYTES);
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    before[PCI_COMMAND] = 3;
    assert_memory_equal(before, machine.config, BYTES);
    assert_int_equal(facts.identity.vendor, 0x8086);
    assert_int_equal(facts.identity.device, 0x10d3);
    assert_int_equal(facts.identity.class_code, 0x020000);
    assert_int_equal(facts.identity.revision, 3);
    assert_int_equal(facts.bars[0].bar.kind, PCI_BAR_MEMORY64);
    assert_int_equal(facts.bars[0].bar.bytes, BAR0_BYTES);
    assert_int_equal(facts.bars[0].at, BAR0_AT);
    assert_int_equal(facts.bars[1].bar.kind, PCI_BAR_NONE);
    assert_int_equal(facts.bars[2].bar.kind, PCI_BAR_PORTS);
    assert_int_equal(facts.bars[2].bar.bytes, 32);
    assert_int_equal(facts.bars[2].at, PORTS_AT);
    assert_int_equal(facts.bars[3].bar.bytes, 256);
    assert_int_equal(facts.bars[4].bar.kind, PCI_BAR_NONE);
    assert_int_equal(facts.msix_count, MESSAGES);
    assert_int_equal(facts.msix_table, TABLE);
    assert_int_equal(facts.msix_pba, PBA);
    assert_int_equal(facts.msi, MSI_AT);
    assert_true(facts.msi_64);
    put(PCI_HEADER, 0x00010000, 4);
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_UNSUPPORTED);
}

static void what_a_device_says_beyond_its_registers_is_not_believed(void **state)
{
    (void)state;
    make_machine();
    put(MSIX_AT + 8, BAR0_BYTES, 4); /* the pending bits behind the BAR's end */
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    assert_int_equal(facts.msix, 0);
    put(MSIX_AT + 4, BAR0_BYTES - 16 * MESSAGES + 8, 4); /* the table's last message */
    put(MSIX_AT + 8, PBA, 4);
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    assert_int_equal(facts.msix, 0);
    put(MSIX_AT + 4, TABLE | 2, 4); /* both in ports */
    put(MSIX_AT + 8, PBA | 2, 4);
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    assert_int_equal(facts.msix, 0);
    put(0x34, 0xf8, 1); /* MSI that goes on behind the space's end */
    put(0xf8, 0x00800005, 4);
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    assert_int_equal(facts.msi, 0);
}

static void ports_that_the_firmware_gave_no_place_are_not_there_and_not_decoded(void **state)
{
    (void)state;
    make();
    assert_int_equal(facts.decode, 3);
    put(PCI_BAR(2), 1, 4);
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    assert_int_equal(facts.bars[2].bar.kind, PCI_BAR_NONE);
    assert_int_equal(facts.decode, 2);
    pci_assigned_init(&device);
    pci_device_restore(&access, &facts, false);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x402);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x7);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x406);
}

static unsigned capability(uint8_t id)
{
    unsigned at = pci_config_read(&device.function, 0x34, 1);

    while (at != 0 && pci_config_read(&device.function, at, 1) != id) {
        at = pci_config_read(&device.function, at + 1, 1);
    }
    return at;
}

static void the_guest_sees_what_is_shown_and_nothing_else(void **state)
{
    unsigned express, msix;

    (void)state;
    make();
    assert_int_equal(pci_config_read(&device.function, PCI_ID, 4), 0x10d38086);
    assert_int_equal(pci_config_read(&device.function, PCI_COMMAND, 2), 3);
    assert_int_equal(pci_config_read(&device.function, 0x3d, 1), 0); /* no interrupt line */
    assert_int_equal(pci_config_read(&device.function, PCI_BAR(0), 4), 0xc8000004);
    assert_int_not_equal(capability(0x01), 0);
    assert_int_equal(capability(0x05), 0);
    assert_int_equal(capability(0x09), 0);
    express = capability(0x10);
    assert_int_equal(pci_config_read(&device.function, express + 2, 2), 0x92);
    assert_int_equal(pci_config_read(&device.function, express + 4, 4), 0x00008fc0); /* no reset */
    msix = capability(0x11);
    assert_int_equal(pci_config_read(&device.function, msix + 2, 2) & 0x7ff, VECTORS - 1);
    assert_int_equal(pci_config_read(&device.function, msix + 4, 4), TABLE);
    for (unsigned at = 0x100; at < 0x1000; at += 4) {
        assert_int_equal(pci_config_read(&device.function, at, 4), 0);
    }
}

static void a_device_of_virtio_says_where_its_registers_are(void **state)
{
    unsigned at;

    (void)state;
    make_machine();
    put(PCI_ID, 0x10411af4, 4);
    put(VENDOR_AT, 0x02140009 | 0xd0 << 8, 4); /* notifications: 20 bytes, in BAR 0 at 0x3000 */
    put(VENDOR_AT + 4, 0, 4);
    put(VENDOR_AT + 8, 0x3000, 4);
    put(VENDOR_AT + 12, 0x1000, 4);
    put(VENDOR_AT + 16, 4, 4);
    put(0xd0, 0x05140009, 4); /* a window onto all BARs */
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    device = (struct pci_assigned){.facts = &facts, .io = &io, .vectors = VECTORS};
    pci_assigned_init(&device);
    at = capability(0x09);
    assert_int_not_equal(at, 0);
    assert_int_equal(pci_config_read(&device.function, at + 2, 2), 0x0214);
    assert_int_equal(pci_config_read(&device.function, at + 8, 4), 0x3000);
    assert_int_equal(pci_config_read(&device.function, at + 16, 4), 4);
    pci_config_write(&device.function, at + 8, 4, 0);
    assert_int_equal(pci_config_read(&device.function, at + 8, 4), 0x3000);
    assert_int_equal(pci_config_read(&device.function, at + 1, 1), 0);
}

static void no_write_to_configuration_space_reaches_more_than_two_registers(void **state)
{
    uint8_t before[BYTES];
    uint32_t random = 1, command, control;

    (void)state;
    make();
    memcpy(before, machine.config, BYTES);
    for (uint32_t i = 0; i < 200000; i++) {
        random = random * 1664525u + 1013904223u;
        pci_config_write(&device.function, random >> 20 & 0xfff, (uint8_t)(1u << (random >> 8) % 3),
                         random * 2654435761u);
        command = word_at(PCI_COMMAND) & 0xffff;
        assert_true(command == 0x3 || command == 0x403 || command == 0x407);
        control = word_at(MSIX_AT) >> 16;
        assert_true(control == MESSAGES - 1 || control == 0 || control == 0x8000);
        before[PCI_COMMAND] = machine.config[PCI_COMMAND];
        before[PCI_COMMAND + 1] = machine.config[PCI_COMMAND + 1];
        before[MSIX_AT + 2] = machine.config[MSIX_AT + 2];
        before[MSIX_AT + 3] = machine.config[MSIX_AT + 3];
        assert_memory_equal(before, machine.config, BYTES);
    }
}

static void bus_mastering_and_messages_go_on_to_the_device(void **state)
{
    unsigned msix;

    (void)state;
    make();
    msix = capability(0x11);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x7);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x407);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x4); /* memory off: for the guest alone */
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x407);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x2);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x403);
    pci_config_write(&device.function, msix + 2, 2, 0xc000); /* with the function masked: by the guest's own table */
    assert_int_equal(word_at(MSIX_AT) >> 16, 0x8000);
    pci_config_write(&device.function, msix + 2, 2, 0);
    assert_int_equal(word_at(MSIX_AT) >> 16, 0);
}

static void the_devices_own_messages_are_out_of_reach(void **state)
{
    uint64_t start, end;

    (void)state;
    make();
    assert_true(pci_assigned_msix_pages(&facts, 0, &start, &end));
    assert_int_equal(start, TABLE);
    assert_int_equal(end, PBA + PAGE_BYTES);
    assert_false(pci_assigned_msix_pages(&facts, 2, &start, &end));
    for (uint64_t at = TABLE; at < TABLE + 16 * MESSAGES; at += 4) {
        machine.last_at = 0;
        pci_bar_write(&device.function, 0, at, 4, 0xfee00000);
        (void)pci_bar_read(&device.function, 0, at, 4);
        assert_int_equal(machine.last_at, 0);
    }
    pci_bar_write(&device.function, 0, TABLE - 4, 8, ~0ULL); /* begins before it */
    assert_int_equal(machine.last_at, 0);
    pci_bar_write(&device.function, 0, TABLE - 8, 8, 5);
    assert_int_equal(machine.last_at, BAR0_AT + TABLE - 8);
    assert_int_equal(machine.last_value, 5);
    assert_int_equal(pci_bar_read(&device.function, 2, 4, 2), 0x7788);
    assert_true(machine.last_port);
    assert_int_equal(machine.last_at, PORTS_AT + 4);
}

static void what_comes_becomes_the_guests_own_message(void **state)
{
    struct apic_message message;
    unsigned msix;

    (void)state;
    make();
    msix = capability(0x11);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x6);
    pci_config_write(&device.function, msix + 2, 2, 0x8000);
    pci_bar_write(&device.function, 0, TABLE + 16, 4, 0xfee01000);
    pci_bar_write(&device.function, 0, TABLE + 24, 4, 0x51);
    device.incoming = 1u << 1;
    pci_assigned_carry(&device);
    assert_false(pci_take_message(&device.function, &message)); /* masked */
    pci_bar_write(&device.function, 0, TABLE + 28, 4, 0);
    assert_true(pci_take_message(&device.function, &message));
    assert_int_equal(message.vector, 0x51);
    assert_int_equal(message.destination, 1);
    assert_false(pci_take_message(&device.function, &message));
    assert_int_equal(device.interrupts, 1);
}

static void a_life_ends_with_a_reset_and_the_next_finds_the_registers_in_place(void **state)
{
    (void)state;
    make();
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x7);
    pci_config_write(&device.function, capability(0x11) + 2, 2, 0x8000);
    pci_device_stop(&access, &facts);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x400);
    assert_int_equal(word_at(MSIX_AT) >> 31, 0);
    assert_int_equal(pci_device_reset_kind(&access, &facts), PCI_RESET_FUNCTION);
    pci_device_reset(&access, &facts);
    assert_int_equal(machine.resets, 1);
    for (unsigned i = 0; i < 4; i++) {
        put(PCI_BAR(i), i == 0 ? 4 : i == 2 ? 1 : 0, 4); /* a reset loses them */
    }
    pci_device_wake(&access, &facts);
    pci_device_restore(&access, &facts, false);
    assert_int_equal(word_at(PCI_BAR(0)), (uint32_t)BAR0_AT | 4);
    assert_int_equal(word_at(PCI_BAR(1)), BAR0_AT >> 32);
    assert_int_equal(word_at(PCI_BAR(2)), PORTS_AT | 1);
    assert_int_equal(word_at(PCI_BAR(3)), SMALL_AT);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x403);
    assert_int_equal(machine.resets, 1);
    facts.device_capabilities = 0;
    assert_int_equal(pci_device_reset_kind(&access, &facts), PCI_RESET_NONE); /* D3 keeps its state */
    put(PM_AT + 4, 0, 4);
    assert_int_equal(pci_device_reset_kind(&access, &facts), PCI_RESET_POWER);
    pci_device_reset(&access, &facts);
    assert_int_equal(word_at(PM_AT + 4) & 3, 3);
    pci_device_wake(&access, &facts);
    assert_int_equal(word_at(PM_AT + 4) & 3, 0);
}

static void a_device_with_msi_alone_has_one_message(void **state)
{
    (void)state;
    make_machine();
    put(EXPRESS_AT, 0x00020010, 4); /* no MSI-X behind it */
    assert_int_equal(pci_device_read(&access, place, &facts), STATUS_OK);
    assert_int_equal(facts.msix, 0);
    device = (struct pci_assigned){.facts = &facts, .io = &io, .vectors = 1};
    pci_assigned_init(&device);
    assert_int_equal(capability(0x11), 0);
    assert_int_equal(pci_config_read(&device.function, capability(0x05) + 2, 2) & 0xe, 0); /* one */
    pci_device_set_msi(&access, &facts, 0xfee00030, 0x1234);
    assert_int_equal(word_at(MSI_AT + 4), 0xfee00030);
    assert_int_equal(word_at(MSI_AT + 8), 0);
    assert_int_equal(word_at(MSI_AT + 12) & 0xffff, 0x1234);
    pci_config_write(&device.function, capability(0x05) + 2, 2, 1);
    assert_int_equal(word_at(MSI_AT) >> 16 & 1, 1);
}

/* Nor does the device forget it over a reset, nor can the guest have it. */
static void no_snoop_is_off_and_stays_off(void **state)
{
    unsigned express;

    (void)state;
    make();
    assert_true(pci_device_may_not_snoop(&access, &facts)); /* the firmware's 0x2810 */
    pci_device_stop(&access, &facts);
    assert_int_equal(word_at(EXPRESS_AT + 8) & 0xffff, 0x2010);
    assert_false(pci_device_may_not_snoop(&access, &facts));
    put(EXPRESS_AT + 8, 0x2810, 2);
    pci_device_restore(&access, &facts, false);
    assert_int_equal(word_at(EXPRESS_AT + 8) & 0xffff, 0x2010);
    express = capability(0x10);
    pci_config_write(&device.function, express + 8, 2, 0xffff);
    assert_int_equal(pci_config_read(&device.function, express + 8, 2) & 0x8800, 0);
    assert_int_equal(word_at(EXPRESS_AT + 8) & 0xffff, 0x2010);
    facts.express = 0;
    assert_true(pci_device_may_not_snoop(&access, &facts));
}

/* What is pulled out reads as all ones, and nothing of the guest's goes on to it; in the next life it may be back. */
static void a_device_that_is_gone_is_no_function_any_more(void **state)
{
    uint32_t writes;

    (void)state;
    make();
    assert_int_equal(pci_config_read(&device.function, PCI_ID, 4), 0x10d38086);
    put(PCI_ID, ~0u, 4);
    assert_int_equal(pci_config_read(&device.function, PCI_COMMAND, 2), 3); /* it was not looked for yet */
    assert_int_equal(pci_config_read(&device.function, PCI_ID, 2), 0xffff);
    assert_int_equal(pci_config_read(&device.function, PCI_COMMAND, 2), 0xffff);
    assert_int_equal(pci_config_read(&device.function, 0x40, 4), ~0u);
    writes = machine.writes;
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x7);
    assert_int_equal(machine.writes, writes);
    pci_assigned_init(&device);
    pci_assigned_look(&device);
    assert_true(device.gone);
    put(PCI_ID, 0x10d38086, 4);
    pci_assigned_init(&device);
    pci_assigned_look(&device);
    assert_false(device.gone);
    assert_int_equal(pci_config_read(&device.function, PCI_ID, 4), 0x10d38086);
}

/* The guest's line rises with the device's and falls when the guest has ended it; only then may it come again. */
static void a_line_is_high_until_the_guest_has_ended_its_interrupt(void **state)
{
    const struct bus_row *row = &pci_assigned_row;

    (void)state;
    make();
    row->outside_came(&device, LINE_SOURCE);
    assert_false(pci_intx_asserted(&device.function)); /* it has none */
    device.line_vector = LINE_VECTOR;
    device.line_source = LINE_SOURCE;
    pci_assigned_init(&device);
    pci_device_restore(&access, &facts, true);
    assert_int_equal(pci_config_read(&device.function, 0x3d, 1), 1);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x3);
    row->line_ended(&device);
    row->outside_came(&device, LINE_SOURCE + 1);
    assert_int_equal(machine.opened, 0);
    assert_int_equal(device.function.signals.lines, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        row->outside_came(&device, LINE_SOURCE);
        assert_int_equal(device.function.signals.lines, 1);
        assert_int_equal(machine.opened, i - 1);
        row->line_ended(&device);
        assert_int_equal(device.function.signals.lines, 0);
        assert_int_equal(machine.opened, i);
    }
    row->outside_came(&device, LINE_SOURCE);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x406);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x407);
    assert_false(pci_intx_asserted(&device.function));
    pci_config_write(&device.function, PCI_COMMAND, 2, 0x6);
    assert_int_equal(word_at(PCI_COMMAND) & 0xffff, 0x7);
    assert_true(pci_intx_asserted(&device.function));
    pci_assigned_init(&device); /* the next life */
    assert_false(pci_intx_asserted(&device.function));
}

static void the_firmware_says_where_a_line_leads_by_an_irq_that_is_a_level(void **state)
{
    static const struct {
        uint32_t word;
        bool known;
    } rows[] = {{0x010a, true},  {0x020b, true},  {0x000a, false}, {0x0109, false},
                {0x01ff, false}, {0x0110, false}, {0x0100, false}};
    uint32_t irq;

    (void)state;
    make();
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        put(0x3c, rows[i].word, 4);
        assert_int_equal(pci_device_irq(&access, place, 0x0c00, &irq), rows[i].known);
        assert_int_equal(irq, rows[i].word & 0xff);
    }
}

/* Sized like a BAR, decoded where both switches say so, read from the copy, and never written. */
static void the_rom_is_the_firmwares_copy(void **state)
{
    static uint8_t rom[4096];
    struct bus_access read = {.size = 4};
    struct bus_range range;

    (void)state;
    for (size_t i = 0; i < sizeof(rom); i++) {
        rom[i] = (uint8_t)(i * 7 + 0x55);
    }
    make();
    assert_int_equal(pci_config_read(&device.function, 0x30, 4), 0);
    pci_config_write(&device.function, 0x30, 4, ~0u);
    assert_int_equal(pci_config_read(&device.function, 0x30, 4), 0); /* without a copy there is none */
    facts.rom = rom;
    facts.rom_bytes = sizeof(rom);
    pci_assigned_init(&device);
    pci_config_write(&device.function, 0x30, 4, 0xfffff800);
    assert_int_equal(pci_config_read(&device.function, 0x30, 4), 0xfffff000);
    pci_config_write(&device.function, 0x30, 4, 0xfe800000);
    assert_int_equal(pci_bar_range(&device.function, PCI_ROM).bytes, 0);
    machine.writes = 0;
    pci_config_write(&device.function, 0x30, 4, 0xfe800001);
    assert_int_equal(machine.writes, 0); /* the device's own stays off */
    range = pci_bar_range(&device.function, PCI_ROM);
    assert_int_equal(range.first, 0xfe800000);
    assert_int_equal(range.bytes, sizeof(rom));
    read.at = range.as + 0xffc;
    assert_true(pci_row_read(&device, &read));
    assert_memory_equal(&read.value, &rom[0xffc], 4);
    assert_true(pci_row_write(&device, &(struct bus_access){.size = 4, .at = range.as, .value = 1}));
    assert_int_equal(rom[0], 0x55);
    pci_config_write(&device.function, PCI_COMMAND, 2, 0);
    assert_int_equal(pci_bar_range(&device.function, PCI_ROM).bytes, 0);
    facts.rom_bytes = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_read_and_left_as_it_was_but_for_bus_mastering),
        cmocka_unit_test(a_device_of_virtio_says_where_its_registers_are),
        cmocka_unit_test(what_a_device_says_beyond_its_registers_is_not_believed),
        cmocka_unit_test(ports_that_the_firmware_gave_no_place_are_not_there_and_not_decoded),
        cmocka_unit_test(the_guest_sees_what_is_shown_and_nothing_else),
        cmocka_unit_test(no_write_to_configuration_space_reaches_more_than_two_registers),
        cmocka_unit_test(no_snoop_is_off_and_stays_off),
        cmocka_unit_test(a_device_that_is_gone_is_no_function_any_more),
        cmocka_unit_test(a_line_is_high_until_the_guest_has_ended_its_interrupt),
        cmocka_unit_test(the_firmware_says_where_a_line_leads_by_an_irq_that_is_a_level),
        cmocka_unit_test(bus_mastering_and_messages_go_on_to_the_device),
        cmocka_unit_test(the_devices_own_messages_are_out_of_reach),
        cmocka_unit_test(what_comes_becomes_the_guests_own_message),
        cmocka_unit_test(a_life_ends_with_a_reset_and_the_next_finds_the_registers_in_place),
        cmocka_unit_test(a_device_with_msi_alone_has_one_message),
        cmocka_unit_test(the_rom_is_the_firmwares_copy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
