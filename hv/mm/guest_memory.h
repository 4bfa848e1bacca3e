/* SPDX-License-Identifier: MIT */
/*
 * A guest's RAM as the hypervisor reaches it: at most GUEST_RANGES_MAX ranges of guest-physical addresses with the host
 * memory behind each. Every access of the hypervisor to guest memory goes through here, so no guest address can lead
 * anywhere else. `window` is 0 in the hypervisor (identity map) and an arena in native tests.
 */
#ifndef HV_MM_GUEST_MEMORY_H
#define HV_MM_GUEST_MEMORY_H

#include "hv/base/types.h"

#define GUEST_RANGES_MAX 16u

struct guest_range {
    gpa_t start;
    hpa_t backing;
    uint64_t bytes;
};

struct guest_memory {
    struct guest_range ranges[GUEST_RANGES_MAX]; /* ascending, not overlapping */
    uint32_t range_count;
    uint64_t window;
};

/* The host pointer to [start, start + bytes), or NULL unless all of it lies in one range. */
void *guest_memory_pointer(const struct guest_memory *memory, gpa_t start, uint64_t bytes);

/* The host bytes at `start`, and in *piece how many of `bytes` lie there in one piece. NULL where it is not RAM. */
void *guest_memory_piece(const struct guest_memory *memory, gpa_t start, uint64_t bytes, uint64_t *piece);

/* True where every byte of [start, start + bytes) is RAM, in however many ranges. */
bool guest_memory_is_ram(const struct guest_memory *memory, gpa_t start, uint64_t bytes);

/* guest_memory_pointer() where it is likely: in the first range, a guest's low RAM. NULL may mean anything. */
static inline void *guest_memory_quick(const struct guest_memory *memory, uint64_t start, uint64_t bytes)
{
    const struct guest_range *range = &memory->ranges[0];
    uint64_t offset = start - range->start.value;

    return offset < range->bytes && bytes <= range->bytes - offset
               ? (void *)(uintptr_t)(memory->window + range->backing.value + offset)
               : NULL;
}

/* Copies across range borders; false (and for read: nothing useful in `to`) where any byte is not RAM. */
bool guest_memory_read(const struct guest_memory *memory, gpa_t from, void *to, size_t bytes);
bool guest_memory_write(const struct guest_memory *memory, gpa_t to, const void *from, size_t bytes);
bool guest_memory_zero(const struct guest_memory *memory, gpa_t to, uint64_t bytes);

#endif
