/* SPDX-License-Identifier: MIT */
/*
 * The memory map: sorted, never overlapping regions of host-physical memory.
 *
 * Built from the firmware's UEFI descriptors (any stride, unsorted, overlapping, absurd): where descriptors overlap the
 * more restrictive type wins; what is not described is not memory. Then carved: find aligned space, reserve, release.
 */
#ifndef HV_PLAN_MEMORY_MAP_H
#define HV_PLAN_MEMORY_MAP_H

#include "hv/base/status.h"
#include "hv/base/types.h"

#define MEMORY_REGIONS_MAX 1024u

/* From the least to the most restrictive. */
enum memory_type {
    MEMORY_FREE,     /* conventional */
    MEMORY_BOOT,     /* boot services code and data: free after the hand-over */
    MEMORY_LOADER,   /* loader code and data: ours (image, config, images, guests' RAM) */
    MEMORY_ACPI,     /* ACPI reclaim and NVS: tables */
    MEMORY_RESERVED, /* firmware: runtime services, persistent, unusable, unaccepted, reserved */
    MEMORY_MMIO,
};

struct memory_region {
    uint64_t start;
    uint64_t end; /* half-open */
    enum memory_type type;
};

struct memory_map {
    struct memory_region regions[MEMORY_REGIONS_MAX];
    uint32_t count;
};

/* From a UEFI memory map as bytes. UEFI 2.10, 7.2.3 "EFI_BOOT_SERVICES.GetMemoryMap()". STATUS_MALFORMED: the stride
 * is shorter than a descriptor or does not divide the bytes; STATUS_NO_SPACE: more than MEMORY_REGIONS_MAX regions. The
 * map is then empty. */
enum status memory_map_from_uefi(struct memory_map *map, const void *descriptors, uint64_t bytes, uint64_t stride);

/* Sets the type of [start, end), splitting and merging regions. Both are multiples of 4 KiB; STATUS_INVALID where the
 * range is empty or passes 2^52. STATUS_NO_SPACE changes nothing. */
enum status memory_map_set(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type);

/* Makes [start, end), which must be `from` throughout, `to`. STATUS_BUSY where any byte is not. */
enum status memory_map_convert(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type from,
                               enum memory_type to);

/* The lowest place in `type` of `bytes` at a multiple of `alignment` within [low, high). STATUS_NOT_FOUND: none. A
 * caller that would like 1 GiB but can live with 2 MiB asks twice. */
enum status memory_map_find(const struct memory_map *map, enum memory_type type, uint64_t bytes, uint64_t alignment,
                            uint64_t low, uint64_t high, uint64_t *start);

uint64_t memory_map_bytes(const struct memory_map *map, enum memory_type type);
uint64_t memory_map_top(const struct memory_map *map); /* end of the highest region that is memory (not MMIO) */

#endif
