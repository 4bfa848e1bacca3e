/* SPDX-License-Identifier: MIT */
/*
 * A virtio disk over a struct disk_image. Virtio 1.2, 5.2 "Block Device".
 *
 * One queue. A request that is larger than what is left of the budget is kept, with how far it has come, and goes on
 * the next time: nothing of it is read twice. FLUSH has nothing to do, for the image is memory; its changes are gone at
 * power-off, which docs/devices.md says.
 *
 *   chain:  header (type, sector) | data to write | data to read | status byte, the last that can be written
 */
#ifndef HV_DEV_VIRTIO_BLOCK_H
#define HV_DEV_VIRTIO_BLOCK_H

#include "hv/dev/virtio/device.h"
#include "hv/dev/virtio/disk_image.h"
#include "hv/dev/virtio/pci.h"

#define BLOCK_ID_BYTES 20u

struct virtio_block_counters {
    uint64_t reads, writes, flushes, others;
    uint64_t bytes_read, bytes_written;
    uint64_t errors;
    uint64_t full; /* writes for which no memory was left */
};

struct virtio_block {
    struct virtio_device device; /* first */
    struct disk_image *disk;
    bool read_only;
    char id[BLOCK_ID_BYTES];
    bool busy; /* the rest is about the request that is being worked on */
    uint8_t status;
    uint32_t type;
    uint64_t at;   /* byte on the disk */
    uint64_t left; /* bytes of data */
    uint32_t written;
    struct virtq_cursor cursor;
    struct virtq_chain chain;
    struct virtio_block_counters counters;
};

/* A disk on the PCI bus. */
struct virtio_block_pci {
    struct virtio_pci pci; /* first */
    struct virtio_block block;
};

/* Once. `id`: what the guest sees as its serial number, cut to BLOCK_ID_BYTES. */
void virtio_block_init(struct virtio_block *block, const struct guest_memory *memory, struct disk_image *image,
                       bool read_only, const char *id);

#endif
