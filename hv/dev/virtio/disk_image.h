/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a guest's disk: an image that was read before the hand-over, and what the guest has changed of it.
 *
 * Pages of 4 KiB. `map` has a word for each: the page is all zeroes, or one of the image's, or one of `changes`. So
 * several guests can use one image, each pays only for the pages that it has written, and what a guest discards it
 * has back. Where one guest alone uses an image and its changes may stay for good, the image's own pages are changed,
 * and nothing is ever copied (`in_place`).
 *
 * Of an image that was read with its holes (disk_store.h) only the pages are in memory that are not all zeroes.
 */
#ifndef HV_DEV_VIRTIO_DISK_IMAGE_H
#define HV_DEV_VIRTIO_DISK_IMAGE_H

#include "hv/base/span.h"
#include "hv/base/types.h"

#define DISK_SECTOR_BYTES 512u
#define DISK_MAP_BYTES 4u /* of memory for each page of the disk */

/* An image in memory: whole pages, the last one filled with zeroes behind the image's end. */
struct disk_stored {
    uint8_t *pages; /* of a disk that is not in place only read */
    /* For each page of the image 1 + its number among `pages`, or 0: zeroes. NULL: all are there. */
    const uint32_t *places;
    uint32_t count; /* of `pages` */
    uint64_t bytes; /* of the image */
};

struct disk_image {
    struct disk_stored stored;
    uint8_t *changes;
    uint32_t *map;
    uint64_t bytes; /* of the disk: a multiple of sectors */
    uint32_t pages;
    uint32_t change_pages; /* room in `changes` */
    uint32_t fresh;        /* pages of `changes` from here on were never used */
    uint32_t free_head;    /* word of a page that was given back, which holds the next one's; 0: none */
    bool in_place;
};

/*
 * `map` has a word per page of the image; `changes` has room for `change_pages`, which may be 0. `in_place`: no other
 * disk has the image, and its own pages take the changes too.
 */
void disk_image_init(struct disk_image *disk, const struct disk_stored *stored, uint32_t *map, uint8_t *changes,
                     uint32_t change_pages, bool in_place);

/* Forgets all changes. Not in place. */
void disk_image_forget(struct disk_image *disk);

uint64_t disk_image_pages(uint64_t image_bytes);

/* The bytes at `offset` that are together in memory, at most `bytes` of them: *piece. NULL: zeroes. */
const uint8_t *disk_image_read(const struct disk_image *disk, uint64_t offset, uint64_t bytes, uint64_t *piece);

/* The same to write to. A page comes into being here. NULL: `changes` is full. */
uint8_t *disk_image_write(struct disk_image *disk, uint64_t offset, uint64_t bytes, uint64_t *piece);

/* Makes [offset, offset + bytes) zeroes; whole pages give their memory back. False: `changes` is full. */
bool disk_image_zero(struct disk_image *disk, uint64_t offset, uint64_t bytes);

#endif
