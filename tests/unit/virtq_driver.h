/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of a split virtqueue, written from the specification: what a kernel does with descriptors, the
 * available ring and the used ring. Memory is an arena that the device sees as a guest's RAM in two pieces.
 */
#ifndef TESTS_UNIT_VIRTQ_DRIVER_H
#define TESTS_UNIT_VIRTQ_DRIVER_H

#include "hv/base/memory.h"
#include "hv/dev/virtio/queue.h"

#define ARENA_BYTES (1u << 20)
#define ARENA_SPLIT 0x41000u /* where the host's second piece begins; the guest sees no gap */
#define ARENA_GAP 0x10000u   /* between the pieces on the host */

struct arena {
    uint8_t bytes[ARENA_BYTES + ARENA_GAP];
    struct guest_memory memory;
};

static inline void arena_init(struct arena *arena)
{
    memset(arena->bytes, 0, sizeof(arena->bytes));
    arena->memory = (struct guest_memory){
        .ranges = {{gpa(0), hpa(0), ARENA_SPLIT},
                   {gpa(ARENA_SPLIT), hpa(ARENA_SPLIT + ARENA_GAP), ARENA_BYTES - ARENA_SPLIT}},
        .range_count = 2,
        .window = (uint64_t)(uintptr_t)arena->bytes,
    };
}

static inline void arena_put(struct arena *arena, uint64_t at, uint64_t value, unsigned bytes)
{
    (void)guest_memory_write(&arena->memory, gpa(at), &value, bytes);
}

static inline uint64_t arena_get(const struct arena *arena, uint64_t at, unsigned bytes)
{
    uint64_t value = 0;

    (void)guest_memory_read(&arena->memory, gpa(at), &value, bytes);
    return value;
}

#define DRIVER_NEXT 1u
#define DRIVER_WRITE 2u
#define DRIVER_INDIRECT 4u

/* One buffer of a chain that the driver makes. */
struct driver_buffer {
    uint64_t address;
    uint32_t bytes;
    bool write;
};

struct driver_queue {
    struct arena *arena;
    uint64_t descriptors, available, used;
    uint16_t size;
    uint16_t free_count;
    uint16_t free_list[VIRTQ_SIZE_MAX];
    uint16_t chain_descriptors[VIRTQ_SIZE_MAX]; /* by head */
    uint16_t available_index, last_used;
};

static inline void driver_queue_init(struct driver_queue *queue, struct arena *arena, uint64_t at, uint16_t size)
{
    *queue = (struct driver_queue){.arena = arena, .size = size, .free_count = size};
    queue->descriptors = at;
    queue->available = at + 16u * size;
    queue->used = (queue->available + 6u + 2u * size + 4095u) & ~4095ULL;
    for (uint16_t i = 0; i < size; i++) {
        queue->free_list[i] = (uint16_t)(size - 1 - i);
    }
}

static inline void driver_descriptor(struct arena *arena, uint64_t table, unsigned index, uint64_t address,
                                     uint32_t bytes, uint32_t flags, unsigned next)
{
    arena_put(arena, table + 16 * index, address, 8);
    arena_put(arena, table + 16 * index + 8, bytes | (uint64_t)flags << 32 | (uint64_t)next << 48, 8);
}

static inline void driver_publish(struct driver_queue *queue, uint16_t head)
{
    arena_put(queue->arena, queue->available + 4 + 2u * (queue->available_index % queue->size), head, 2);
    queue->available_index++;
    arena_put(queue->arena, queue->available + 2, queue->available_index, 2);
}

/* The head, or 0xffff where there are too few descriptors. */
static inline uint16_t driver_add(struct driver_queue *queue, const struct driver_buffer *buffers, unsigned count)
{
    uint16_t indices[VIRTQ_SIZE_MAX];

    if (count > queue->free_count) {
        return 0xffff;
    }
    for (unsigned i = 0; i < count; i++) {
        indices[i] = queue->free_list[--queue->free_count];
    }
    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count;

        driver_descriptor(queue->arena, queue->descriptors, indices[i], buffers[i].address, buffers[i].bytes,
                          (last ? 0 : DRIVER_NEXT) | (buffers[i].write ? DRIVER_WRITE : 0), last ? 0 : indices[i + 1]);
    }
    for (unsigned i = 0; i < count; i++) { /* what driver_take() gives back */
        queue->chain_descriptors[indices[i]] = i + 1 == count ? 0xffff : indices[i + 1];
    }
    driver_publish(queue, indices[0]);
    return indices[0];
}

/* The same through a table at `table`, which takes one descriptor. */
static inline uint16_t driver_add_indirect(struct driver_queue *queue, uint64_t table,
                                           const struct driver_buffer *buffers, unsigned count)
{
    uint16_t head;

    if (queue->free_count == 0) {
        return 0xffff;
    }
    head = queue->free_list[--queue->free_count];
    queue->chain_descriptors[head] = 0xffff;
    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count;

        driver_descriptor(queue->arena, table, i, buffers[i].address, buffers[i].bytes,
                          (last ? 0 : DRIVER_NEXT) | (buffers[i].write ? DRIVER_WRITE : 0), last ? 0 : i + 1);
    }
    driver_descriptor(queue->arena, queue->descriptors, head, table, 16 * count, DRIVER_INDIRECT, 0);
    driver_publish(queue, head);
    return head;
}

/* The next used chain. False: none. */
static inline bool driver_take(struct driver_queue *queue, uint16_t *head, uint32_t *written)
{
    uint64_t element = queue->used + 4 + 8u * (queue->last_used % queue->size);

    if (arena_get(queue->arena, queue->used + 2, 2) == queue->last_used) {
        return false;
    }
    *head = (uint16_t)arena_get(queue->arena, element, 4);
    *written = (uint32_t)arena_get(queue->arena, element + 4, 4);
    queue->last_used++;
    for (uint16_t at = *head; at != 0xffff; at = queue->chain_descriptors[at]) {
        queue->free_list[queue->free_count++] = at;
    }
    return true;
}

static inline void driver_place(const struct driver_queue *from, struct virtq *queue)
{
    virtq_reset(queue, from->size);
    queue->descriptors = from->descriptors;
    queue->available = from->available;
    queue->used = from->used;
}

#endif
