/* SPDX-License-Identifier: MIT */
/*
 * A virtio entropy device: random bytes into the driver's buffers. Virtio 1.2, 5.4 "Entropy Device".
 *
 * Each device has a generator of its own (hv/base/random.h), whose key is made at the start and is never used twice: a
 * restart of the guest goes on with it. A chain gets ENTROPY_CHAIN_BYTES at most, as the specification allows.
 */
#ifndef HV_DEV_VIRTIO_ENTROPY_H
#define HV_DEV_VIRTIO_ENTROPY_H

#include "hv/base/random.h"
#include "hv/dev/virtio/pci.h"

#define ENTROPY_CHAIN_BYTES 256u

struct virtio_entropy {
    struct virtio_device device; /* first */
    struct random random;
    struct virtq_chain chain;
    uint64_t given; /* bytes */
};

struct virtio_entropy_pci {
    struct virtio_pci pci; /* first */
    struct virtio_entropy entropy;
};

/* Once. */
void virtio_entropy_init(struct virtio_entropy *entropy, const struct guest_memory *memory,
                         const uint8_t key[RANDOM_KEY_BYTES]);

#endif
