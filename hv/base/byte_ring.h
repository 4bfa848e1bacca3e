/* SPDX-License-Identifier: MIT */
/*
 * A ring of bytes between one producer and one consumer, which may be two CPUs: a guest's UART and the console.
 * The indices run freely and are masked on use; a full ring refuses, and nothing is overwritten.
 */
#ifndef HV_BASE_BYTE_RING_H
#define HV_BASE_BYTE_RING_H

#include "hv/base/types.h"

#define BYTE_RING_BYTES 4096u
_Static_assert((BYTE_RING_BYTES & (BYTE_RING_BYTES - 1)) == 0, "the indices are masked");

struct byte_ring {
    uint32_t head; /* next to write; the producer's */
    uint32_t tail; /* next to read; the consumer's */
    uint8_t data[BYTE_RING_BYTES];
};
_Static_assert(offsetof(struct byte_ring, head) == 0 && offsetof(struct byte_ring, tail) == 4,
               "producer and consumer store different words");

static inline uint32_t byte_ring_count(const struct byte_ring *ring)
{
    return __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
}

static inline uint32_t byte_ring_room(const struct byte_ring *ring)
{
    return BYTE_RING_BYTES - byte_ring_count(ring);
}

static inline bool byte_ring_put(struct byte_ring *ring, uint8_t byte)
{
    uint32_t head = ring->head;

    if (byte_ring_room(ring) == 0) {
        return false;
    }
    ring->data[head & (BYTE_RING_BYTES - 1)] = byte;
    __atomic_store_n(&ring->head, head + 1, __ATOMIC_RELEASE);
    return true;
}

/* What lies in one piece of the ring from the oldest byte on: how many bytes from *bytes. They stay until
 * byte_ring_drop(). */
static inline uint32_t byte_ring_peek(const struct byte_ring *ring, const uint8_t **bytes)
{
    uint32_t at = ring->tail & (BYTE_RING_BYTES - 1);
    uint32_t count = byte_ring_count(ring);

    *bytes = &ring->data[at];
    return count < BYTE_RING_BYTES - at ? count : BYTE_RING_BYTES - at;
}

/* Takes the oldest bytes away, no more than there are. */
static inline void byte_ring_drop(struct byte_ring *ring, uint32_t count)
{
    __atomic_store_n(&ring->tail, ring->tail + count, __ATOMIC_RELEASE);
}

static inline bool byte_ring_take(struct byte_ring *ring, uint8_t *byte)
{
    uint32_t tail = ring->tail;

    if (byte_ring_count(ring) == 0) {
        return false;
    }
    *byte = ring->data[tail & (BYTE_RING_BYTES - 1)];
    __atomic_store_n(&ring->tail, tail + 1, __ATOMIC_RELEASE);
    return true;
}

#endif
