/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical layout: from "memory = 512M" to RAM ranges, holes and an e820 map.
 *
 *   0                                        low_bytes        3 GiB              4 GiB          4 GiB + high_bytes
 *   |  RAM (in part reserved in e820)            |  nothing     |  MMIO hole        |  RAM            |
 *
 * RAM is backed from 0 without a gap (0xa0000..0xfffff too, so that 1 GiB leaves fit). What the guest is told is a PC's
 * memory map, as its firmware would have given it, and every boot protocol gives this one:
 *
 *   0        0x9fc00    RAM
 *   0x9fc00  0xa0000    reserved: the EBDA
 *   0xa0000  0xe0000    in no entry: the display's memory and adapters' ROMs; kernels claim them as devices
 *   0xe0000  0x100000   reserved: the BIOS, with the ACPI tables and what hv/dev/bios_tables.h has
 *   0x100000 low_bytes  RAM
 *   0xfffc0000 4 GiB    reserved: a PC's flash chip, whose place no device may take
 *   4 GiB    ...        RAM
 */
#ifndef HV_MM_GUEST_LAYOUT_H
#define HV_MM_GUEST_LAYOUT_H

#include "hv/base/status.h"
#include "hv/base/types.h"

#define GUEST_RAM_LOW_MAX (3 * GIB)
#define GUEST_RAM_HIGH_START (4 * GIB)
#define GUEST_MEMORY_MIN (1 * MIB)
#define GUEST_EBDA_START 0x9fc00ULL
#define GUEST_LEGACY_START \
    0xa0000ULL /* a PC's display adapter has its memory from here; the text mode's is at 0xb8000 */
#define GUEST_DISPLAY_END 0xc0000ULL
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
#define GUEST_FLASH_START 0xfffc0000ULL /* to 4 GiB: reserved, and nothing is there */

/* Devices of virtio-mmio, a page each, and each with an interrupt of the ISA bus that no other device has. */
#define GUEST_VIRTIO_MMIO_START 0xfeb00000ULL
#define GUEST_VIRTIO_MMIO_BYTES 0x1000ULL
#define GUEST_VIRTIO_MMIO_MAX 7u
#define GUEST_VIRTIO_MMIO_IRQS  \
    {                           \
        5, 6, 7, 10, 11, 14, 15 \
    }

/* PCI: where base address registers may point, and the configuration space of bus 0. The ports are above those of a
 * PC's own devices; the window above 4 GiB begins behind the guest's RAM (guest_layout_pci_high). */
#define GUEST_PCI_LOW_START 0xc0000000ULL
#define GUEST_PCI_LOW_END 0xe0000000ULL
#define GUEST_ECAM_BASE 0xe0000000ULL
/* Where QEMU's q35 has it, which kernels that were developed there take for granted without a look at the MCFG. Low RAM
 * that reaches so far covers it. */
#define GUEST_ECAM_Q35 0xb0000000ULL
#define GUEST_PCI_PORTS_START 0xc000ULL
#define GUEST_PCI_PORTS_END 0x10000ULL
#define GUEST_PCI_HIGH_BYTES (16 * GIB)

/* A framebuffer of the machine; its offset in 2 MiB is kept, so that large leaves fit. Behind it there is room for a
 * device's memory that the config places. */
#define GUEST_FRAMEBUFFER_START 0xf0000000ULL
#define GUEST_FRAMEBUFFER_BYTES (128 * MIB)
#define GUEST_FRAMEBUFFER_AT(host) (GUEST_FRAMEBUFFER_START + ((host) & (2 * MIB - 1)))
_Static_assert(GUEST_ECAM_BASE + 256 * MIB <= GUEST_FRAMEBUFFER_START &&
                   GUEST_FRAMEBUFFER_START + GUEST_FRAMEBUFFER_BYTES < GUEST_VIRTIO_MMIO_START,
               "between PCI's configuration space and the devices");

/* Memory that guests share is in slots at the end of the window below 4 GiB, one for each piece, downwards. */
#define GUEST_SHARES_MAX 4u
#define GUEST_SHARE_SLOT (64 * MIB)
#define GUEST_SHARE_START(index) (GUEST_PCI_LOW_END - ((index) + 1ULL) * GUEST_SHARE_SLOT)
_Static_assert(GUEST_SHARE_START(GUEST_SHARES_MAX - 1) - GUEST_PCI_LOW_START >= 256 * MIB, "and devices have room");

_Static_assert(GUEST_EBDA_START < GUEST_LEGACY_START && GUEST_LEGACY_START < GUEST_ACPI_START, "in this order");
_Static_assert(GUEST_ACPI_START < GUEST_ACPI_END && GUEST_ACPI_END <= GUEST_LEGACY_END,
               "the tables lie in the ROM area");
_Static_assert(GUEST_MEMORY_MIN >= GUEST_LEGACY_END, "the smallest guest has the first MiB whole");
_Static_assert(GUEST_RAM_LOW_MAX <= GUEST_IOAPIC_BASE && GUEST_IOAPIC_BASE < GUEST_HPET_BASE &&
                   GUEST_HPET_BASE < GUEST_LAPIC_BASE && GUEST_LAPIC_BASE < GUEST_TEST_MEMORY_START,
               "devices and the test memory lie above low RAM, apart from each other");
_Static_assert(GUEST_TEST_MEMORY_START + GUEST_TEST_MEMORY_BYTES <= GUEST_RAM_HIGH_START, "and below high RAM");
_Static_assert(GUEST_VIRTIO_MMIO_START + GUEST_VIRTIO_MMIO_MAX * GUEST_VIRTIO_MMIO_BYTES <= GUEST_IOAPIC_BASE &&
                   GUEST_ECAM_BASE + 256 * MIB <= GUEST_VIRTIO_MMIO_START,
               "virtio-mmio lies between PCI's configuration space and the I/O APIC");
_Static_assert(GUEST_RAM_LOW_MAX <= GUEST_PCI_LOW_START && GUEST_PCI_LOW_END <= GUEST_ECAM_BASE &&
                   GUEST_ECAM_BASE < GUEST_IOAPIC_BASE,
               "PCI lies between low RAM and the devices");

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

/* Where the window for PCI above 4 GiB begins: GUEST_PCI_HIGH_BYTES from there. 0: a CPU with so many physical address
 * bits does not reach its end. */
uint64_t guest_layout_pci_high(const struct guest_layout *layout, unsigned physical_bits);

/* True where [start, start + bytes) is RAM of the guest and inside one e820 RAM entry. */
bool guest_layout_usable(const struct guest_layout *layout, gpa_t start, uint64_t bytes);

#endif
