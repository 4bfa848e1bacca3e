/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical layout. See guest_layout.h for the picture.
 *
 * The e820 map says less than what is backed: the EBDA, the display's memory and the ROM window stay RAM in the nested
 * tree, so that the first GiB can be one leaf, but the guest is told to keep away from them.
 */
#include "hv/mm/guest_layout.h"

/* 64 TiB: far beyond any machine, and low enough that no sum below can pass 2^52 (SDM 3A 4.1.4, MAXPHYADDR <= 52). */
#define GUEST_MEMORY_MAX (1ULL << 46)
_Static_assert(GUEST_RAM_HIGH_START + GUEST_MEMORY_MAX < 1ULL << 52, "no sum passes the largest MAXPHYADDR");

static void e820_add(struct guest_layout *layout, uint64_t start, uint64_t end, enum e820_type type)
{
    if (start < end) {
        layout->e820[layout->e820_count++] = (struct e820_entry){start, end - start, (uint32_t)type};
    }
}

enum status guest_layout_make(uint64_t memory_bytes, struct guest_layout *layout)
{
    if (!is_aligned(memory_bytes, PAGE_BYTES)) {
        return STATUS_MISALIGNED;
    }
    if (memory_bytes < GUEST_MEMORY_MIN || memory_bytes > GUEST_MEMORY_MAX) {
        return STATUS_INVALID;
    }
    *layout = (struct guest_layout){.low_bytes = min_u64(memory_bytes, GUEST_RAM_LOW_MAX)};
    layout->high_bytes = memory_bytes - layout->low_bytes;
    e820_add(layout, 0, GUEST_EBDA_START, E820_RAM);
    e820_add(layout, GUEST_EBDA_START, GUEST_LEGACY_START, E820_RESERVED);
    e820_add(layout, GUEST_ACPI_START, GUEST_ACPI_END, E820_RESERVED);
    e820_add(layout, GUEST_LEGACY_END, layout->low_bytes, E820_RAM);
    e820_add(layout, GUEST_FLASH_START, GUEST_RAM_HIGH_START, E820_RESERVED);
    e820_add(layout, GUEST_RAM_HIGH_START, GUEST_RAM_HIGH_START + layout->high_bytes, E820_RAM);
    return STATUS_OK;
}

bool guest_layout_usable(const struct guest_layout *layout, gpa_t start, uint64_t bytes)
{
    for (uint32_t i = 0; i < layout->e820_count; i++) {
        const struct e820_entry *entry = &layout->e820[i];
        uint64_t offset = start.value - entry->start;

        if (entry->type == E820_RAM && start.value >= entry->start && offset <= entry->bytes &&
            bytes <= entry->bytes - offset) {
            return true;
        }
    }
    return false;
}

uint64_t guest_layout_pci_high(const struct guest_layout *layout, unsigned physical_bits)
{
    uint64_t start = align_up(GUEST_RAM_HIGH_START + layout->high_bytes, GUEST_PCI_HIGH_BYTES);

    return start + GUEST_PCI_HIGH_BYTES <= 1ULL << physical_bits ? start : 0;
}
