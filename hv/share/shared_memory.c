/* SPDX-License-Identifier: MIT */
/* See shared_memory.h. */
#include "hv/share/shared_memory.h"

bool shared_memory_add(struct shared_memory *shared, struct ivshmem *device)
{
    if (shared->peer_count == IVSHMEM_PEERS_MAX) {
        return false;
    }
    device->number = (uint16_t)shared->peer_count;
    shared->peers[shared->peer_count++] = device;
    return true;
}

uint32_t shared_memory_ring(const struct shared_memory *shared, struct ivshmem *device)
{
    uint32_t wakes = 0;

    for (uint32_t i = 0; i < shared->peer_count; i++) {
        struct ivshmem *peer = shared->peers[i];
        uint32_t vectors;

        if (__atomic_load_n(&device->rung[i], __ATOMIC_ACQUIRE) == 0) {
            continue;
        }
        vectors = __atomic_exchange_n(&device->rung[i], 0, __ATOMIC_ACQ_REL);
        if (__atomic_load_n(&peer->open, __ATOMIC_ACQUIRE)) {
            device->sent += (uint32_t)__builtin_popcount(vectors);
            if ((__atomic_fetch_or(&peer->incoming, vectors, __ATOMIC_ACQ_REL) & vectors) != vectors) {
                wakes |= 1u << i;
            }
        }
    }
    return wakes;
}
