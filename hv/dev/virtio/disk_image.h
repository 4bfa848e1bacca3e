/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a guest's disk: an image that was read before the hand-over, and what the guest has changed of it.
 *
 * Pages of 4 KiB. `map` has a word for each: the page is as in the image, or all zeroes, or one of `changes`. So
 * several guests can use one image, each pays only for the pages that it has written, and what a guest discards it
 * has back. Where one guest alone uses an image and its changes may stay for good, the image's own memory is
 * `changes`, and nothing is ever copied (disk_image_in_place).
 */
#ifndef HV_DEV_VIRTIO_DISK_IMAGE_H
#define HV_DEV_VIRTIO_DISK_IMAGE_H

#include "hv/base/span.h"
#include "hv/base/types.h"

#define DISK_SECTOR_BYTES 512u
#define DISK_MAP_BYTES 4u /* of memory for each page of the disk */

struct disk_image {
    const uint8_t *image; /* NULL: the disk is all changes */
    uint8_t *changes;
    uint32_t *map;
    uint64_t image_bytes;
    uint64_t bytes; /* of the disk: a multiple of sectors */
    uint32_t pages;
    uint32_t change_pages; /* room in `changes` */
    uint32_t fresh;        /* pages of `changes` from here on were never used */
    uint32_t free_head;    /* 1 + a page that was given back, which holds the next one's number; 0: none */
    bool in_place;
};

/* The image as it is in memory. `map` has a word per page; `changes` has room for `change_pages`, which may be 0. */
void disk_image_init(struct disk_image *disk, struct span image, uint32_t *map, uint8_t *changes,
                     uint32_t change_pages);

/* The image's own memory, which ends on a page's border, takes the changes. */
void disk_image_init_in_place(struct disk_image *disk, uint8_t *image, uint64_t bytes, uint32_t *map);

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
