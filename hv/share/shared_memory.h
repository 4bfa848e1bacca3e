/* SPDX-License-Identifier: MIT */
/*
 * A [shared NAME] of the config: the guests that have it, and the doorbells between them. The memory itself is in the
 * guests' nested tables, and no function of the hypervisor looks into it.
 *
 * A doorbell is a bit in the peer's device and a kick of the peer's vCPU 0, whose CPU makes an interrupt of it under
 * the peer's own lock. A storm is one interrupt until the peer has looked.
 */
#ifndef HV_SHARE_SHARED_MEMORY_H
#define HV_SHARE_SHARED_MEMORY_H

#include "hv/dev/ivshmem.h"

struct shared_memory {
    struct ivshmem *peers[IVSHMEM_PEERS_MAX]; /* by number; constant after the start */
    uint32_t peer_count;
};

/* Gives the device its number. False: there is no more room. */
bool shared_memory_add(struct shared_memory *shared, struct ivshmem *device);

/* Rings what the device's guest has rung. Bit n: peer n is to be woken. */
uint32_t shared_memory_ring(const struct shared_memory *shared, struct ivshmem *device);

#endif
