/* SPDX-License-Identifier: MIT */
/* The guest-physical layout's promises: RAM where the picture says, the memory map of a PC, sizes checked. */
#include "hv/mm/guest_layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct guest_layout layout;

/* What a PC's firmware says of everything that is not RAM (QEMU 7.2's pc with SeaBIOS 1.16 has the BIOS from
 * 0xf0000). */
static const struct e820_entry reserved_on_a_pc[] = {
    {0x9fc00, 0x400, E820_RESERVED},
    {0xe0000, 0x20000, E820_RESERVED},
    {0xfffc0000, 0x40000, E820_RESERVED},
};

static void check_entries(uint64_t memory_bytes)
{
    uint64_t ram = 0;
    uint64_t before = 0;
    uint32_t reserved = 0;

    assert_int_equal(guest_layout_make(memory_bytes, &layout), STATUS_OK);
    assert_int_equal(layout.low_bytes + layout.high_bytes, memory_bytes);
    for (uint32_t i = 0; i < layout.e820_count; i++) {
        const struct e820_entry *entry = &layout.e820[i];

        assert_true(entry->bytes != 0 && entry->start >= before);
        before = entry->start + entry->bytes;
        if (entry->type == E820_RAM) {
            ram += entry->bytes;
        } else {
            assert_true(reserved < ARRAY_COUNT(reserved_on_a_pc));
            assert_memory_equal(entry, &reserved_on_a_pc[reserved], sizeof(*entry));
            reserved++;
        }
        /* No entry covers the display's memory and the adapters' ROMs. */
        assert_true(before <= 0xa0000 || entry->start >= 0xe0000);
    }
    assert_int_equal(reserved, ARRAY_COUNT(reserved_on_a_pc));
    /* All of the guest's memory but what lies between the EBDA's start and 1 MiB. */
    assert_int_equal(ram, memory_bytes - (GUEST_LEGACY_END - GUEST_EBDA_START));
}

static void e820_describes_every_byte_of_every_size(void **state)
{
    static const uint64_t sizes[] = {1 * MIB, 1 * MIB + 0x1000, 4 * MIB, 128 * MIB,         3 * GIB - 0x1000,
                                     3 * GIB, 3 * GIB + 0x1000, 4 * GIB, 64 * GIB + 0x5000, 1ULL << 46};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        check_entries(sizes[i]);
    }
}

static void a_4_mib_guest_has_memory_above_1_mib(void **state)
{
    (void)state;
    assert_int_equal(guest_layout_make(4 * MIB, &layout), STATUS_OK);
    assert_true(guest_layout_usable(&layout, gpa(1 * MIB), 3 * MIB));
    assert_false(guest_layout_usable(&layout, gpa(1 * MIB), 3 * MIB + 1));
    assert_true(guest_layout_usable(&layout, gpa(0), GUEST_EBDA_START));
}

static void the_smallest_guest_has_only_low_memory(void **state)
{
    (void)state;
    assert_int_equal(guest_layout_make(1 * MIB, &layout), STATUS_OK);
    assert_int_equal(layout.e820_count, 4);
    assert_false(guest_layout_usable(&layout, gpa(1 * MIB), 1));
}

static void memory_beyond_3_gib_starts_at_4_gib(void **state)
{
    (void)state;
    assert_int_equal(guest_layout_make(5 * GIB, &layout), STATUS_OK);
    assert_int_equal(layout.low_bytes, 3 * GIB);
    assert_int_equal(layout.high_bytes, 2 * GIB);
    assert_true(guest_layout_usable(&layout, gpa(4 * GIB), 2 * GIB));
    assert_false(guest_layout_usable(&layout, gpa(3 * GIB), 1));
    assert_false(guest_layout_usable(&layout, gpa(6 * GIB), 1));
}

static void usable_refuses_the_legacy_window_borders_and_wraps(void **state)
{
    (void)state;
    assert_int_equal(guest_layout_make(64 * MIB, &layout), STATUS_OK);
    assert_false(guest_layout_usable(&layout, gpa(GUEST_EBDA_START), 1));
    assert_false(guest_layout_usable(&layout, gpa(GUEST_EBDA_START - 1), 2));
    assert_false(guest_layout_usable(&layout, gpa(GUEST_ACPI_START), 1));
    assert_false(guest_layout_usable(&layout, gpa(2 * MIB), UINT64_MAX));
    assert_false(guest_layout_usable(&layout, gpa(UINT64_MAX), 2));
    assert_true(guest_layout_usable(&layout, gpa(1 * MIB), 63 * MIB));
}

/* Behind the RAM, at a multiple of its size; where the CPU does not reach its end there is none. */
static void the_high_window_for_pci_lies_behind_the_ram_where_the_cpu_reaches_it(void **state)
{
    (void)state;
    assert_int_equal(guest_layout_make(1 * GIB, &layout), STATUS_OK);
    assert_int_equal(guest_layout_pci_high(&layout, 52), GUEST_PCI_HIGH_BYTES);
    assert_int_equal(guest_layout_pci_high(&layout, 35), GUEST_PCI_HIGH_BYTES); /* to the last byte */
    assert_int_equal(guest_layout_pci_high(&layout, 34), 0);
    assert_int_equal(guest_layout_make(15 * GIB, &layout), STATUS_OK); /* RAM ends at 16 GiB */
    assert_int_equal(guest_layout_pci_high(&layout, 36), 16 * GIB);
    assert_int_equal(guest_layout_make(15 * GIB + PAGE_BYTES, &layout), STATUS_OK);
    assert_int_equal(guest_layout_pci_high(&layout, 36), 32 * GIB);
    assert_int_equal(guest_layout_pci_high(&layout, 35), 0);
}

static void wrong_sizes_are_named(void **state)
{
    (void)state;
    assert_int_equal(guest_layout_make(1 * MIB + 1, &layout), STATUS_MISALIGNED);
    assert_int_equal(guest_layout_make(0, &layout), STATUS_INVALID);
    assert_int_equal(guest_layout_make(1 * MIB - 0x1000, &layout), STATUS_INVALID);
    assert_int_equal(guest_layout_make((1ULL << 46) + 0x1000, &layout), STATUS_INVALID);
    assert_int_equal(guest_layout_make(~0xfffULL, &layout), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(e820_describes_every_byte_of_every_size),
        cmocka_unit_test(a_4_mib_guest_has_memory_above_1_mib),
        cmocka_unit_test(the_smallest_guest_has_only_low_memory),
        cmocka_unit_test(memory_beyond_3_gib_starts_at_4_gib),
        cmocka_unit_test(usable_refuses_the_legacy_window_borders_and_wraps),
        cmocka_unit_test(the_high_window_for_pci_lies_behind_the_ram_where_the_cpu_reaches_it),
        cmocka_unit_test(wrong_sizes_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
