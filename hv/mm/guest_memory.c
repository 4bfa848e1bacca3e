/* SPDX-License-Identifier: MIT */
/*
 * The only way from a guest-physical address to a host pointer.
 *
 * Ranges are few (one or two for almost every guest), so a plain scan beats any index. Copies are checked as a whole
 * before the first byte moves: a guest buffer that runs out of RAM is refused and not half written.
 */
#include "hv/mm/guest_memory.h"

#include "hv/base/memory.h"

/* The range that holds this address, or NULL. */
static const struct guest_range *range_of(const struct guest_memory *memory, uint64_t address)
{
    for (uint32_t i = 0; i < memory->range_count; i++) {
        if (address - memory->ranges[i].start.value < memory->ranges[i].bytes) {
            return &memory->ranges[i];
        }
    }
    return NULL;
}

static void *range_pointer(const struct guest_memory *memory, const struct guest_range *range, uint64_t address)
{
    return (void *)(uintptr_t)(memory->window + range->backing.value + (address - range->start.value));
}

void *guest_memory_pointer(const struct guest_memory *memory, gpa_t start, uint64_t bytes)
{
    const struct guest_range *range = range_of(memory, start.value);

    if (range == NULL || bytes > range->bytes - (start.value - range->start.value)) {
        return NULL;
    }
    return range_pointer(memory, range, start.value);
}

/* Callers step over a buffer with it: each step moves at least one byte and at most one range. */
static void *piece_at(const struct guest_memory *memory, uint64_t address, uint64_t bytes, uint64_t *piece)
{
    const struct guest_range *range = range_of(memory, address);

    if (range == NULL) {
        return NULL;
    }
    *piece = min_u64(bytes, range->bytes - (address - range->start.value));
    return range_pointer(memory, range, address);
}

void *guest_memory_piece(const struct guest_memory *memory, gpa_t start, uint64_t bytes, uint64_t *piece)
{
    return piece_at(memory, start.value, bytes, piece);
}

static bool is_ram(const struct guest_memory *memory, uint64_t start, uint64_t bytes)
{
    uint64_t piece = 0;

    if (start + bytes < start) {
        return false;
    }
    for (uint64_t done = 0; done < bytes; done += piece) {
        if (piece_at(memory, start + done, bytes - done, &piece) == NULL) {
            return false;
        }
    }
    return true;
}

bool guest_memory_is_ram(const struct guest_memory *memory, gpa_t start, uint64_t bytes)
{
    return is_ram(memory, start.value, bytes);
}

bool guest_memory_read(const struct guest_memory *memory, gpa_t from, void *to, size_t bytes)
{
    uint64_t piece = 0;

    if (!is_ram(memory, from.value, bytes)) {
        return false;
    }
    for (uint64_t done = 0; done < bytes; done += piece) {
        const void *host = piece_at(memory, from.value + done, bytes - done, &piece);

        memcpy((uint8_t *)to + done, host, (size_t)piece);
    }
    return true;
}

bool guest_memory_write(const struct guest_memory *memory, gpa_t to, const void *from, size_t bytes)
{
    uint64_t piece = 0;

    if (!is_ram(memory, to.value, bytes)) {
        return false;
    }
    for (uint64_t done = 0; done < bytes; done += piece) {
        void *host = piece_at(memory, to.value + done, bytes - done, &piece);

        memcpy(host, (const uint8_t *)from + done, (size_t)piece);
    }
    return true;
}

bool guest_memory_zero(const struct guest_memory *memory, gpa_t to, uint64_t bytes)
{
    uint64_t piece = 0;

    if (!is_ram(memory, to.value, bytes)) {
        return false;
    }
    for (uint64_t done = 0; done < bytes; done += piece) {
        void *host = piece_at(memory, to.value + done, bytes - done, &piece);

        memset(host, 0, (size_t)piece);
    }
    return true;
}
