/* SPDX-License-Identifier: MIT */
/*
 * The memory map: a sorted array of half-open regions, in one canonical form.
 *
 *   - regions ascend and never overlap (CHECKed after every change, because isolation rests on it);
 *   - neighbours that touch have different types: what can be merged is merged at once;
 *   - so the array is a function of the type of each byte alone, and undoing a change restores the array exactly.
 *
 * Every change is one splice: the regions that [start, end) touches are replaced by at most three pieces (what is left
 * of the first one, the new region, what is left of the last one), with the neighbours merged in. Space is checked
 * before anything moves, so STATUS_NO_SPACE changes nothing.
 *
 * Firmware's descriptors are not trusted. Where two overlap the more restrictive type wins; what is not described is
 * not memory; usable memory is rounded inward to whole pages and restrictive memory outward; a usable descriptor whose
 * end wraps or passes the widest physical address is a lie and is dropped, a restrictive one is cut there.
 */
#include "hv/plan/memory_map.h"

#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/base/span.h"

/* SDM 3A 4.1.4 "Enumeration of Paging Features by CPUID": MAXPHYADDR is at most 52. */
#define PHYSICAL_END (1ULL << 52)

/* EFI_MEMORY_DESCRIPTOR. UEFI 2.10, 7.2.3 "EFI_BOOT_SERVICES.GetMemoryMap()", related definitions. */
#define UEFI_DESCRIPTOR_BYTES 40u
#define UEFI_OFFSET_TYPE 0u
#define UEFI_OFFSET_START 8u
#define UEFI_OFFSET_PAGES 24u
#define UEFI_OFFSET_ATTRIBUTE 32u
#define UEFI_ATTRIBUTE_CACHE 0xfULL /* what the memory can be: UC, WC, WT, WB */
#define UEFI_ATTRIBUTE_WB (1ULL << 3)
#define UEFI_ATTRIBUTE_SPECIFIC_PURPOSE (1ULL << 18)
#define UEFI_ATTRIBUTE_RUNTIME (1ULL << 63)

/* EFI_MEMORY_TYPE, in its order. Numbers beyond the table (OEM and OS-loader types) are RESERVED. */
static const enum memory_type uefi_types[] = {
    MEMORY_RESERVED, /* EfiReservedMemoryType */
    MEMORY_LOADER,   /* EfiLoaderCode */
    MEMORY_LOADER,   /* EfiLoaderData */
    MEMORY_BOOT,     /* EfiBootServicesCode */
    MEMORY_BOOT,     /* EfiBootServicesData */
    MEMORY_RESERVED, /* EfiRuntimeServicesCode */
    MEMORY_RESERVED, /* EfiRuntimeServicesData */
    MEMORY_FREE,     /* EfiConventionalMemory */
    MEMORY_RESERVED, /* EfiUnusableMemory */
    MEMORY_ACPI,     /* EfiACPIReclaimMemory */
    MEMORY_ACPI,     /* EfiACPIMemoryNVS: tables may lie there; it stays the firmware's */
    MEMORY_MMIO,     /* EfiMemoryMappedIO */
    MEMORY_MMIO,     /* EfiMemoryMappedIOPortSpace */
    MEMORY_RESERVED, /* EfiPalCode */
    MEMORY_RESERVED, /* EfiPersistentMemory: keeps data that is not ours to overwrite */
    MEMORY_RESERVED, /* EfiUnacceptedMemoryType */
};
_Static_assert(ARRAY_COUNT(uefi_types) == 16, "EfiMaxMemoryType of UEFI 2.10, 7.2.1");
_Static_assert(UEFI_OFFSET_ATTRIBUTE + sizeof(uint64_t) == UEFI_DESCRIPTOR_BYTES, "the attribute is the last field");

static void check_pair(const struct memory_map *map, uint32_t index)
{
    const struct memory_region *region = &map->regions[index];

    CHECK_OP(region->start, <, region->end);
    if (index != 0) {
        CHECK_OP(region[-1].end, <=, region->start);
    }
}

/* The index of the first region that ends after `address`; count where there is none. */
static uint32_t first_ending_after(const struct memory_map *map, uint64_t address)
{
    uint32_t low = 0;
    uint32_t high = map->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (map->regions[middle].end > address) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* What replaces the regions [first, last) of a map. */
struct splice {
    uint32_t first, last;
    struct memory_region pieces[3];
    uint32_t count;
};

static void splice_add(struct splice *splice, uint64_t start, uint64_t end, enum memory_type type)
{
    struct memory_region *before = splice->count != 0 ? &splice->pieces[splice->count - 1] : NULL;

    if (start >= end) {
        return;
    }
    if (before != NULL) {
        /* What is spliced in has no gap: the first and last region at least touch the new one. */
        DEBUG_CHECK_OP(before->end, ==, start);
        if (before->type == type) {
            before->end = end;
            return;
        }
    }
    splice->pieces[splice->count++] = (struct memory_region){start, end, type};
}

static enum status splice_apply(struct memory_map *map, const struct splice *splice)
{
    uint32_t removed = splice->last - splice->first;
    uint32_t count = map->count - removed + splice->count;

    if (count > MEMORY_REGIONS_MAX) {
        return STATUS_NO_SPACE;
    }
    memmove(&map->regions[splice->first + splice->count], &map->regions[splice->last],
            (map->count - splice->last) * sizeof(map->regions[0]));
    memcpy(&map->regions[splice->first], splice->pieces, splice->count * sizeof(map->regions[0]));
    map->count = count;
    for (uint32_t i = splice->first; i < count && i <= splice->first + splice->count; i++) {
        check_pair(map, i);
    }
    return STATUS_OK;
}

enum status memory_map_set(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type)
{
    struct splice splice = {.count = 0};

    if (start >= end || end > PHYSICAL_END) {
        return STATUS_INVALID;
    }
    if (!is_aligned(start | end, PAGE_BYTES)) {
        return STATUS_MISALIGNED;
    }
    /* Regions that only touch [start, end) are taken in too: they may merge with it. */
    splice.first = start == 0 ? 0 : first_ending_after(map, start - 1);
    splice.last = splice.first;
    while (splice.last < map->count && map->regions[splice.last].start <= end) {
        splice.last++;
    }
    if (splice.first < splice.last) {
        const struct memory_region *left = &map->regions[splice.first];

        splice_add(&splice, left->start, min_u64(left->end, start), left->type);
    }
    splice_add(&splice, start, end, type);
    if (splice.first < splice.last) {
        const struct memory_region *right = &map->regions[splice.last - 1];

        splice_add(&splice, max_u64(right->start, end), right->end, right->type);
    }
    return splice_apply(map, &splice);
}

/* Makes every byte of [start, end) at least as restrictive as `type`. */
static enum status raise(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type type)
{
    enum status status = STATUS_OK;

    while (start < end && status == STATUS_OK) {
        uint32_t index = first_ending_after(map, start);
        const struct memory_region *region = index < map->count ? &map->regions[index] : NULL;
        bool in_region = region != NULL && region->start <= start;
        uint64_t border = region == NULL ? end : in_region ? region->end : region->start;
        uint64_t piece_end = min_u64(border, end);

        if (!in_region || region->type < type) {
            status = memory_map_set(map, start, piece_end, type);
        }
        start = piece_end;
    }
    return status;
}

static enum memory_type uefi_type(uint32_t type, uint64_t attribute)
{
    enum memory_type result = type < ARRAY_COUNT(uefi_types) ? uefi_types[type] : MEMORY_RESERVED;
    uint64_t cache = attribute & UEFI_ATTRIBUTE_CACHE;
    bool uncached = cache != 0 && (cache & UEFI_ATTRIBUTE_WB) == 0; /* some firmwares say nothing */
    bool special = uncached || (attribute & (UEFI_ATTRIBUTE_RUNTIME | UEFI_ATTRIBUTE_SPECIFIC_PURPOSE)) != 0;

    return special && result < MEMORY_RESERVED ? MEMORY_RESERVED : result;
}

static enum status add_descriptor(struct memory_map *map, struct span descriptor)
{
    uint32_t uefi = 0;
    uint64_t start = 0;
    uint64_t pages = 0;
    uint64_t attribute = 0;
    uint64_t end;
    enum memory_type type;
    bool usable;

    span_read_u32(descriptor, UEFI_OFFSET_TYPE, &uefi);
    span_read_u64(descriptor, UEFI_OFFSET_START, &start);
    span_read_u64(descriptor, UEFI_OFFSET_PAGES, &pages);
    span_read_u64(descriptor, UEFI_OFFSET_ATTRIBUTE, &attribute);
    type = uefi_type(uefi, attribute);
    usable = type <= MEMORY_LOADER;
    if (pages == 0 || start >= PHYSICAL_END) {
        return STATUS_OK;
    }
    if (pages > (PHYSICAL_END - start) / PAGE_BYTES) {
        if (usable) {
            return STATUS_OK;
        }
        end = PHYSICAL_END;
    } else {
        end = start + pages * PAGE_BYTES;
    }
    start = usable ? align_up(start, PAGE_BYTES) : align_down(start, PAGE_BYTES);
    end = usable ? align_down(end, PAGE_BYTES) : align_up(end, PAGE_BYTES);
    return raise(map, start, end, type);
}

enum status memory_map_from_uefi(struct memory_map *map, const void *descriptors, uint64_t bytes, uint64_t stride)
{
    struct span all = {descriptors, bytes};

    map->count = 0;
    if (stride < UEFI_DESCRIPTOR_BYTES || bytes % stride != 0) {
        return STATUS_MALFORMED;
    }
    for (uint64_t offset = 0; offset < bytes; offset += stride) {
        enum status status = add_descriptor(map, span_part(all, offset, stride));

        if (status != STATUS_OK) {
            map->count = 0;
            return status;
        }
    }
    for (uint32_t i = 0; i < map->count; i++) {
        check_pair(map, i);
    }
    return STATUS_OK;
}

enum status memory_map_convert(struct memory_map *map, uint64_t start, uint64_t end, enum memory_type from,
                               enum memory_type to)
{
    uint32_t index;

    if (start >= end) {
        return STATUS_INVALID;
    }
    /* Neighbours of one type are merged, so a uniform range lies in one region. */
    index = first_ending_after(map, start);
    if (index == map->count || map->regions[index].start > start || map->regions[index].end < end ||
        map->regions[index].type != from) {
        return STATUS_BUSY;
    }
    return memory_map_set(map, start, end, to);
}

enum status memory_map_find(const struct memory_map *map, enum memory_type type, uint64_t bytes, uint64_t alignment,
                            uint64_t low, uint64_t high, uint64_t *start)
{
    if (bytes == 0 || !is_power_of_two(alignment)) {
        return STATUS_INVALID;
    }
    for (uint32_t i = first_ending_after(map, low); i < map->count && map->regions[i].start < high; i++) {
        const struct memory_region *region = &map->regions[i];
        uint64_t end = min_u64(region->end, high);
        uint64_t place = align_up(max_u64(region->start, low), alignment);

        if (region->type == type && place < end && bytes <= end - place) {
            *start = place;
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

uint64_t memory_map_bytes(const struct memory_map *map, enum memory_type type)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < map->count; i++) {
        if (map->regions[i].type == type) {
            bytes += map->regions[i].end - map->regions[i].start;
        }
    }
    return bytes;
}

uint64_t memory_map_top(const struct memory_map *map)
{
    uint32_t i = map->count;

    while (i != 0 && map->regions[i - 1].type == MEMORY_MMIO) {
        i--;
    }
    return i == 0 ? 0 : map->regions[i - 1].end;
}
