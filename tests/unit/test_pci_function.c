/* SPDX-License-Identifier: MIT */
/* A PCI function: its BARs, capabilities and interrupts, as a driver finds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/base/memory.h"
#include "tests/unit/pci_driver.h"

#define MSIX_VECTORS 5u
#define TABLE 0x000u
#define PBA 0x800u

static struct pci_endpoint function;
static struct {
    unsigned bar;
    uint64_t offset, value;
    uint8_t size;
    unsigned reads, writes;
} device;

static uint64_t device_read(struct pci_endpoint *state, unsigned bar, uint64_t offset, uint8_t size)
{
    (void)state;
    device.bar = bar;
    device.offset = offset;
    device.size = size;
    device.reads++;
    return 0x1122334455667788ULL;
}

static void device_write(struct pci_endpoint *state, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    (void)state;
    device.bar = bar;
    device.offset = offset;
    device.size = size;
    device.value = value;
    device.writes++;
}

static const struct pci_device_ops ops = {.read = device_read, .write = device_write};
static const struct pci_identity identity = {.vendor = 0x1af4,
                                             .device = 0x1000,
                                             .subsystem_vendor = 0x1af4,
                                             .subsystem = 1,
                                             .class_code = 0x020000,
                                             .revision = 1,
                                             .has_intx = true};

static int setup(void **state)
{
    (void)state;
    memset(&device, 0, sizeof(device));
    pci_function_init(&function, &identity, &ops, &device);
    pci_function_add_bar(&function, 0, (struct pci_bar){.kind = PCI_BAR_PORTS, .bytes = 64});
    pci_function_add_bar(&function, 1, (struct pci_bar){.kind = PCI_BAR_MEMORY32, .bytes = 4096});
    pci_function_add_bar(&function, 4, (struct pci_bar){PCI_BAR_MEMORY64, true, 8ULL << 30});
    return 0;
}

static void the_header_identifies_it(void **state)
{
    (void)state;
    assert_int_equal(driver_read32(&function, 0), 0x10001af4);
    assert_int_equal(driver_read32(&function, 8), 0x02000001);
    assert_int_equal(driver_read32(&function, 0x2c), 0x00011af4);
    assert_int_equal(pci_config_read(&function, 0x3d, 1), 1);
    assert_int_equal(pci_config_read(&function, 0x0e, 1), 0);
    driver_write32(&function, 0, 0);
    driver_write32(&function, 8, 0);
    driver_write32(&function, 0x2c, 0);
    assert_int_equal(driver_read32(&function, 0), 0x10001af4);
    assert_int_equal(driver_read32(&function, 8), 0x02000001);
    assert_int_equal(driver_read32(&function, 0x2c), 0x00011af4);
}

static void every_bar_sizes_as_described(void **state)
{
    static const uint64_t bytes[PCI_BARS] = {64, 4096, 0, 0, 8ULL << 30, 0};

    (void)state;
    for (unsigned bar = 0; bar < 5; bar++) {
        struct driver_bar found = driver_size_bar(&function, bar);

        assert_int_equal(found.bytes, bytes[bar]);
        assert_int_equal(found.ports, bar == 0);
        assert_int_equal(found.wide, bar == 4);
    }
    assert_int_equal(driver_read32(&function, 0x10) & 3, 1);
    assert_int_equal(driver_read32(&function, 0x20) & 15, 12); /* 64 bits, prefetchable */
}

static void a_bar_decodes_where_it_was_moved_and_only_when_enabled(void **state)
{
    struct bus_range range;

    (void)state;
    assert_int_equal(pci_bar_range(&function, 0).bytes, 0); /* no place yet */
    driver_write32(&function, 0x10, 0xc047);
    range = pci_bar_range(&function, 0);
    assert_int_equal(range.space, BUS_PORT);
    assert_int_equal(range.first, 0xc040);
    assert_int_equal(range.bytes, 64);
    driver_write32(&function, 0x20, 0x40000000);
    driver_write32(&function, 0x24, 0x12);
    assert_true(function.moved);
    range = pci_bar_range(&function, 4);
    assert_int_equal(range.first, 0x1200000000);
    assert_int_equal(range.bytes, 8ULL << 30);
    assert_int_equal(pci_bar_range(&function, 5).bytes, 0);
    pci_config_write(&function, 4, 2, PCI_COMMAND_IO);
    assert_int_equal(pci_bar_range(&function, 4).bytes, 0);
    assert_int_equal(pci_bar_range(&function, 0).bytes, 64);
    pci_config_write(&function, 4, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(pci_bar_range(&function, 0).bytes, 0);
}

static void a_bar_past_the_end_of_its_space_decodes_nothing(void **state)
{
    (void)state;
    driver_write32(&function, 0x10, 0x10000); /* ports end at 0xffff */
    assert_int_equal(pci_bar_range(&function, 0).bytes, 0);
    driver_write32(&function, 0x10, 0xffc0);
    assert_int_equal(pci_bar_range(&function, 0).first, 0xffc0);
    driver_write32(&function, 0x14, 0xfffff000);
    assert_int_equal(pci_bar_range(&function, 1).first, 0xfffff000);
    driver_write32(&function, 0x20, 0xffffffff);
    driver_write32(&function, 0x24, 0xffffffff);
    assert_int_equal(pci_bar_range(&function, 4).first, 0xfffffffe00000000ULL);
}

static void capabilities_form_a_list(void **state)
{
    static const uint8_t body[14] = {16, 1};
    uint8_t first = pci_function_add_capability(&function, 9, body, sizeof(body));
    uint8_t second = pci_function_add_capability(&function, 9, body, 3);

    (void)state;
    pci_function_add_msix(&function, MSIX_VECTORS, 1, TABLE, PBA);
    assert_int_equal(first, 0x40);
    assert_int_equal(second, 0x50);
    assert_int_equal(driver_find_capability(&function, 9, 0), first);
    assert_int_equal(driver_find_capability(&function, 9, 1), second);
    assert_int_equal(driver_find_capability(&function, 9, 2), 0);
    assert_int_equal(driver_find_capability(&function, 0x11, 0), 0x58);
    assert_int_equal(pci_config_read(&function, 0x42, 1), 16);
    driver_write32(&function, 0x40, 0xffffffff);
    assert_int_equal(pci_config_read(&function, 0x40, 1), 9);
}

static void every_width_reads_parts_of_the_same_registers(void **state)
{
    (void)state;
    for (unsigned at = 0; at + 4 <= PCI_CONFIG_BYTES; at++) {
        uint32_t dword = pci_config_read(&function, at, 4);

        assert_int_equal(pci_config_read(&function, at, 2), dword & 0xffff);
        assert_int_equal(pci_config_read(&function, at + 3, 1), dword >> 24);
    }
    assert_int_equal(pci_config_read(&function, 0x100, 4), 0);
    assert_int_equal(pci_config_read(&function, 0xffe, 4), 0);
}

/* ---- MSI-X ---- */

static void msix_on(uint16_t control)
{
    pci_function_add_msix(&function, MSIX_VECTORS, 1, TABLE, PBA);
    pci_config_write(&function, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_config_write(&function, driver_find_capability(&function, 0x11, 0) + 2, 2, control);
}

static void set_entry(unsigned vector, uint32_t address, uint32_t data, uint32_t control)
{
    pci_bar_write(&function, 1, TABLE + 16 * vector, 4, address);
    pci_bar_write(&function, 1, TABLE + 16 * vector + 4, 4, 0);
    pci_bar_write(&function, 1, TABLE + 16 * vector + 8, 8, (uint64_t)control << 32 | data);
}

static void msix_says_where_its_table_is(void **state)
{
    unsigned cap;

    (void)state;
    msix_on(0x8000);
    cap = driver_find_capability(&function, 0x11, 0);
    assert_int_equal(pci_config_read(&function, cap + 2, 2), 0x8000 | (MSIX_VECTORS - 1));
    assert_int_equal(driver_read32(&function, cap + 4), TABLE | 1);
    assert_int_equal(driver_read32(&function, cap + 8), PBA | 1);
    for (unsigned vector = 0; vector < MSIX_VECTORS; vector++) {
        assert_int_equal(pci_bar_read(&function, 1, TABLE + 16 * vector + 12, 4), 1); /* masked after a reset */
    }
    assert_int_equal(device.reads, 0);
    (void)pci_bar_read(&function, 1, TABLE + 16 * MSIX_VECTORS, 4); /* behind the table the BAR is the device's */
    assert_int_equal(device.reads, 1);
}

static void a_vector_becomes_its_message(void **state)
{
    struct apic_message message;

    (void)state;
    msix_on(0x8000);
    set_entry(3, 0xfee0500c, 0x00000141, 0);
    assert_false(pci_take_message(&function, &message));
    pci_interrupt(&function, 3);
    pci_signal(&function);
    assert_int_equal(function.signals.wants, BUS_MESSAGES);
    assert_true(pci_take_message(&function, &message));
    assert_int_equal(message.destination, 5);
    assert_int_equal(message.vector, 0x41);
    assert_int_equal(message.delivery, APIC_LOWEST);
    assert_true(message.logical);
    assert_false(message.level);
    assert_false(pci_take_message(&function, &message));
}

static void a_masked_vector_waits_in_the_pending_bits(void **state)
{
    struct apic_message message;

    (void)state;
    msix_on(0x8000);
    set_entry(2, 0xfee00000, 0x30, 1);
    pci_interrupt(&function, 2);
    pci_interrupt(&function, 2);
    assert_false(pci_take_message(&function, &message));
    assert_int_equal(pci_bar_read(&function, 1, PBA, 8), 1u << 2);
    assert_int_equal(pci_bar_read(&function, 1, PBA, 1), 1u << 2);
    pci_bar_write(&function, 1, PBA, 8, 0); /* read-only */
    pci_bar_write(&function, 1, TABLE + 16 * 2 + 12, 4, 0);
    assert_true(pci_take_message(&function, &message));
    assert_int_equal(message.vector, 0x30);
    assert_false(pci_take_message(&function, &message));
    assert_int_equal(pci_bar_read(&function, 1, PBA, 8), 0);
}

static void the_function_mask_and_bus_mastering_hold_messages_back(void **state)
{
    unsigned cap;
    struct apic_message message;

    (void)state;
    msix_on(0xc000);
    cap = driver_find_capability(&function, 0x11, 0);
    set_entry(0, 0xfee00000, 0x30, 0);
    pci_interrupt(&function, 0);
    assert_false(pci_take_message(&function, &message));
    pci_config_write(&function, 4, 2, PCI_COMMAND_MEMORY);
    pci_config_write(&function, cap + 2, 2, 0x8000);
    assert_false(pci_take_message(&function, &message));
    pci_config_write(&function, 4, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_true(pci_take_message(&function, &message));
}

static void messages_to_strange_addresses_are_dropped(void **state)
{
    static const uint32_t addresses[] = {0, 0x1000, 0xfed00000, 0xfef00000, 0xfffffffc};
    struct apic_message message;

    (void)state;
    msix_on(0x8000);
    for (unsigned i = 0; i < ARRAY_COUNT(addresses); i++) {
        set_entry(1, addresses[i], 0x30, 0);
        pci_interrupt(&function, 1);
        assert_false(pci_take_message(&function, &message));
        assert_int_equal(function.pending, 0);
    }
    set_entry(1, 0xfee00000, 0x30, 0);
    pci_bar_write(&function, 1, TABLE + 16 + 4, 4, 1); /* above 4 GiB */
    pci_interrupt(&function, 1);
    assert_false(pci_take_message(&function, &message));
    set_entry(1, 0xfee00000, 0x630, 0); /* a start-up IPI is no MSI */
    pci_interrupt(&function, 1);
    pci_interrupt(&function, 31); /* no such vector */
    assert_false(pci_take_message(&function, &message));
}

static void table_words_keep_what_they_can(void **state)
{
    (void)state;
    msix_on(0x8000);
    for (unsigned at = 0; at < 16 * MSIX_VECTORS; at++) {
        pci_bar_write(&function, 1, TABLE + at, 1, 0xff);
    }
    for (unsigned vector = 0; vector < MSIX_VECTORS; vector++) {
        assert_int_equal(pci_bar_read(&function, 1, TABLE + 16 * vector, 8), 0xfffffffffffffffcULL);
        assert_int_equal(pci_bar_read(&function, 1, TABLE + 16 * vector + 8, 8), 0x00000001ffffffffULL);
    }
    assert_int_equal(device.writes, 0);
}

/* ---- MSI and INTx ---- */

static void msi_puts_the_vector_into_the_data(void **state)
{
    struct apic_message message;
    unsigned cap;

    (void)state;
    pci_function_add_msi(&function, 4);
    pci_config_write(&function, 4, 2, PCI_COMMAND_MASTER);
    cap = driver_find_capability(&function, 5, 0);
    assert_int_equal(pci_config_read(&function, cap + 2, 2), 0x0184);
    driver_write32(&function, cap + 4, 0xfee01000);
    pci_config_write(&function, cap + 12, 2, 0x4053);
    pci_config_write(&function, cap + 2, 2, 0x0021); /* on, 4 vectors */
    driver_write32(&function, cap + 16, 0xfffffff4u);
    assert_int_equal(driver_read32(&function, cap + 16), 4);
    pci_interrupt(&function, 2);
    pci_interrupt(&function, 1);
    assert_true(pci_take_message(&function, &message));
    assert_int_equal(message.vector, 0x51);
    assert_int_equal(message.destination, 1);
    assert_false(pci_take_message(&function, &message));
    assert_int_equal(driver_read32(&function, cap + 20), 4); /* pending */
    driver_write32(&function, cap + 16, 0);
    assert_true(pci_take_message(&function, &message));
    assert_int_equal(message.vector, 0x52);
    assert_int_equal(driver_read32(&function, cap + 20), 0);
    pci_config_write(&function, cap + 2, 2, 0x0071); /* more than it has: four all the same */
    pci_interrupt(&function, 4);
    assert_false(pci_take_message(&function, &message));
}

static void four_bytes_are_read_as_one_by_one(void **state)
{
    (void)state;
    for (unsigned intx = 0; intx < 2; intx++) {
        function.intx = intx != 0;
        for (unsigned offset = 0; offset < PCI_CONFIG_BYTES + 8; offset++) {
            uint32_t value = 0;

            for (unsigned i = 0; i < 4; i++) {
                value |= pci_config_read(&function, offset + i, 1) << (8 * i);
            }
            assert_int_equal(pci_config_read(&function, offset, 4), value);
        }
    }
    assert_int_equal(pci_config_read(&function, PCI_STATUS, 1) & 8, 8); /* the interrupt is in it */
}

static void intx_follows_the_device_unless_something_else_is_on(void **state)
{
    (void)state;
    pci_function_add_msix(&function, 1, 1, TABLE, PBA);
    function.intx = true;
    assert_true(pci_intx_asserted(&function));
    assert_int_equal(pci_config_read(&function, 6, 2) & 8, 8);
    pci_config_write(&function, 4, 2, PCI_COMMAND_INTX_OFF);
    assert_false(pci_intx_asserted(&function));
    assert_int_equal(pci_config_read(&function, 6, 2) & 8, 8);
    pci_config_write(&function, 4, 2, 0);
    pci_config_write(&function, driver_find_capability(&function, 0x11, 0) + 2, 2, 0x8000);
    assert_false(pci_intx_asserted(&function));
    pci_config_write(&function, driver_find_capability(&function, 0x11, 0) + 2, 2, 0);
    pci_signal(&function);
    assert_int_equal(function.signals.lines, 1);
    function.intx = false;
    assert_int_equal(pci_config_read(&function, 6, 2) & 8, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_header_identifies_it, setup),
        cmocka_unit_test_setup(every_bar_sizes_as_described, setup),
        cmocka_unit_test_setup(a_bar_decodes_where_it_was_moved_and_only_when_enabled, setup),
        cmocka_unit_test_setup(a_bar_past_the_end_of_its_space_decodes_nothing, setup),
        cmocka_unit_test_setup(capabilities_form_a_list, setup),
        cmocka_unit_test_setup(every_width_reads_parts_of_the_same_registers, setup),
        cmocka_unit_test_setup(msix_says_where_its_table_is, setup),
        cmocka_unit_test_setup(a_vector_becomes_its_message, setup),
        cmocka_unit_test_setup(a_masked_vector_waits_in_the_pending_bits, setup),
        cmocka_unit_test_setup(the_function_mask_and_bus_mastering_hold_messages_back, setup),
        cmocka_unit_test_setup(messages_to_strange_addresses_are_dropped, setup),
        cmocka_unit_test_setup(table_words_keep_what_they_can, setup),
        cmocka_unit_test_setup(msi_puts_the_vector_into_the_data, setup),
        cmocka_unit_test_setup(four_bytes_are_read_as_one_by_one, setup),
        cmocka_unit_test_setup(intx_follows_the_device_unless_something_else_is_on, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
