/* SPDX-License-Identifier: MIT */
/*
 * How an image gets into memory without its holes: pages of 4 KiB that are all zeroes take none, the others follow
 * each other, and `places` says where each is (struct disk_stored of disk_image.h). The image comes in pieces of any
 * size, in order.
 *
 * A file on a FAT volume has no holes of its own, and a compressed one none that is seen: what counts is the bytes.
 */
#ifndef HV_DEV_VIRTIO_DISK_STORE_H
#define HV_DEV_VIRTIO_DISK_STORE_H

#include "hv/base/span.h"
#include "hv/base/types.h"

struct disk_store {
    uint8_t *pages;
    uint64_t room;    /* pages */
    uint32_t *places; /* a word for each page of the image */
    uint64_t places_count;
    uint64_t count;  /* pages that are there */
    uint64_t within; /* bytes of the next page that have come */
    uint64_t page;   /* its number in the image */
};

/* Takes the image's next bytes. False: they need more than `room`, or are more than `places_count` pages. */
bool disk_store_add(struct disk_store *store, const uint8_t *bytes, uint64_t count);

/* After the last piece: fills the last page with zeroes. False as above. */
bool disk_store_finish(struct disk_store *store);

/* The pages that an image, which is in memory as it is, would take. */
uint64_t disk_store_count(struct span image);

#endif
