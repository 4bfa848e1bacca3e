/*
 * Guest-physical layout: from "memory = 512M" to RAM ranges, holes and an e820 map.
 *
 *   0                                        low_bytes        3 GiB              4 GiB          4 GiB + high_bytes
 *   |  RAM (legacy area reserved in e820)        |  nothing     |  MMIO hole        |  RAM            |
 *
 * RAM is backed from 0 without a gap (0xa0000..0xfffff too, so that 1 GiB leaves fit), but e820 reserves the top KiB of
 * the first 640 KiB (EBDA) and 0xa0000..0xfffff, where the ACPI tables' root pointer is.
 */
#ifndef HV_MM_GUEST_LAYOUT_H
#define HV_MM_GUEST_LAYOUT_H

#include "hv/base/status.h"
#include "hv/base/types.h"

#define GUEST_RAM_LOW_MAX (3 * GIB)
#define GUEST_RAM_HIGH_START (4 * GIB)
#define GUEST_MEMORY_MIN (1 * MIB)
#define GUEST_EBDA_START 0x9fc00ULL
#define GUEST_LEGACY_START 0xa0000ULL
#define GUEST_LEGACY_END 0x100000ULL
#define GUEST_ACPI_START 0xe0000ULL /* RSDP first; all tables within [start, end) */
#define GUEST_ACPI_END 0x100000ULL

/* What QEMU calls the test device's memory, with `debug-ports = yes`. Backed as RAM is, and in no e820 entry. */
#define GUEST_TEST_MEMORY_START 0xff000000ULL
#define GUEST_TEST_MEMORY_BYTES (64 * KIB)

/* Where the devices are, and the guest's firmware tables say so. */
#define GUEST_LAPIC_BASE 0xfee00000ULL
#define GUEST_IOAPIC_BASE 0xfec00000ULL
#define GUEST_HPET_BASE 0xfed00000ULL

_Static_assert(GUEST_EBDA_START < GUEST_LEGACY_START && GUEST_LEGACY_START < GUEST_ACPI_START, "in this order");
_Static_assert(GUEST_ACPI_START < GUEST_ACPI_END && GUEST_ACPI_END <= GUEST_LEGACY_END,
               "the tables lie in the ROM area");
_Static_assert(GUEST_MEMORY_MIN >= GUEST_LEGACY_END, "the smallest guest has the first MiB whole");
_Static_assert(GUEST_RAM_LOW_MAX <= GUEST_IOAPIC_BASE && GUEST_IOAPIC_BASE < GUEST_HPET_BASE &&
                   GUEST_HPET_BASE < GUEST_LAPIC_BASE && GUEST_LAPIC_BASE < GUEST_TEST_MEMORY_START,
               "devices and the test memory lie above low RAM, apart from each other");
_Static_assert(GUEST_TEST_MEMORY_START + GUEST_TEST_MEMORY_BYTES <= GUEST_RAM_HIGH_START, "and below high RAM");

enum e820_type {
    E820_RAM = 1,
    E820_RESERVED = 2,
    E820_ACPI = 3,
    E820_NVS = 4,
};

struct e820_entry {
    uint64_t start;
    uint64_t bytes;
    uint32_t type;
};

#define GUEST_E820_MAX 8u

struct guest_layout {
    uint64_t low_bytes;  /* RAM from 0 */
    uint64_t high_bytes; /* RAM from 4 GiB */
    struct e820_entry e820[GUEST_E820_MAX];
    uint32_t e820_count;
};

/* memory_bytes: a multiple of 4 KiB, at least GUEST_MEMORY_MIN; else STATUS_MISALIGNED or STATUS_INVALID. */
enum status guest_layout_make(uint64_t memory_bytes, struct guest_layout *layout);

/* True where [start, start + bytes) is RAM of the guest and inside one e820 RAM entry. */
bool guest_layout_usable(const struct guest_layout *layout, gpa_t start, uint64_t bytes);

#endif
