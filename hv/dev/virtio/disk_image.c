/* SPDX-License-Identifier: MIT */
#include "hv/dev/virtio/disk_image.h"

#include "hv/base/memory.h"

/* Words of the map; more is 2 + the number of a page of `changes`. */
#define PAGE_IMAGE 0u
#define PAGE_ZERO 1u
#define PAGE_CHANGED 2u

uint64_t disk_image_pages(uint64_t image_bytes)
{
    return align_up(image_bytes, PAGE_BYTES) / PAGE_BYTES;
}

void disk_image_init(struct disk_image *disk, struct span image, uint32_t *map, uint8_t *changes, uint32_t change_pages)
{
    *disk = (struct disk_image){
        .image = image.base,
        .changes = changes,
        .map = map,
        .image_bytes = image.bytes,
        .bytes = align_up(image.bytes, DISK_SECTOR_BYTES),
        .pages = (uint32_t)disk_image_pages(image.bytes),
        .change_pages = change_pages,
    };
    disk_image_forget(disk);
}

void disk_image_init_in_place(struct disk_image *disk, uint8_t *image, uint64_t bytes, uint32_t *map)
{
    *disk = (struct disk_image){
        .changes = image,
        .map = map,
        .image_bytes = bytes,
        .bytes = align_up(bytes, DISK_SECTOR_BYTES),
        .pages = (uint32_t)disk_image_pages(bytes),
        .in_place = true,
    };
    disk->change_pages = disk->fresh = disk->pages;
    memset(image + bytes, 0, (size_t)(align_up(bytes, PAGE_BYTES) - bytes));
    for (uint32_t page = 0; page < disk->pages; page++) {
        map[page] = PAGE_CHANGED + page;
    }
}

void disk_image_forget(struct disk_image *disk)
{
    memset(disk->map, 0, disk->pages * sizeof(*disk->map));
    disk->fresh = 0;
    disk->free_head = 0;
}

static uint8_t *changed_page(const struct disk_image *disk, uint32_t word)
{
    return disk->changes + (uint64_t)(word - PAGE_CHANGED) * PAGE_BYTES;
}

/* How much of a page the image has; what is behind its end is zeroes. */
static uint64_t image_bytes_of(const struct disk_image *disk, uint32_t page)
{
    uint64_t start = (uint64_t)page * PAGE_BYTES;

    return disk->image == NULL || start >= disk->image_bytes ? 0 : min_u64(PAGE_BYTES, disk->image_bytes - start);
}

/* Two words of the map, wherever they lie. */
struct map_pair {
    uint64_t words;
} __attribute__((packed, may_alias));

#define PAIR_STEP ((1ULL << 32) + 1)

/*
 * How many of `bytes` follow each other in memory, from `within` a page on: words that are the same for pages of the
 * image and for zeroes, and count up for changes. Most pages are looked at by fours.
 */
static uint64_t together(const struct disk_image *disk, uint32_t page, uint64_t within, uint64_t bytes)
{
    const uint32_t *map = &disk->map[page];
    uint64_t pages = (within + bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    uint64_t step = *map >= PAGE_CHANGED;
    uint64_t word = *map + step; /* of the next page */
    uint64_t first = word | (word + step) << 32;
    uint64_t second = first + 2 * step * PAIR_STEP;
    uint64_t next = 1;

    while (next + 4 <= pages) {
        const struct map_pair *pairs = (const struct map_pair *)&map[next];

        if (((pairs[0].words ^ first) | (pairs[1].words ^ second)) != 0) {
            break;
        }
        first += 4 * step * PAIR_STEP;
        second += 4 * step * PAIR_STEP;
        next += 4;
    }
    while (next < pages && map[next] == *map + step * next) {
        next++;
    }
    return min_u64(bytes, next * PAGE_BYTES - within);
}

const uint8_t *disk_image_read(const struct disk_image *disk, uint64_t offset, uint64_t bytes, uint64_t *piece)
{
    uint32_t page = (uint32_t)(offset / PAGE_BYTES);
    uint64_t within = offset % PAGE_BYTES;
    uint32_t word = disk->map[page];
    uint64_t end = disk->image == NULL ? 0 : disk->image_bytes;

    *piece = together(disk, page, within, bytes);
    if (word >= PAGE_CHANGED) {
        return changed_page(disk, word) + within;
    }
    if (word == PAGE_ZERO || offset >= end) {
        return NULL;
    }
    *piece = min_u64(*piece, end - offset);
    return disk->image + offset;
}

/* A page of memory whose bytes are anything; 0: there is none. */
static uint32_t take_page(struct disk_image *disk)
{
    uint32_t word;

    if (disk->free_head != 0) {
        word = PAGE_CHANGED + disk->free_head - 1;
        memcpy(&disk->free_head, changed_page(disk, word), sizeof(disk->free_head));
        return word;
    }
    return disk->fresh < disk->change_pages ? PAGE_CHANGED + disk->fresh++ : 0;
}

static void give_page(struct disk_image *disk, uint32_t word)
{
    memcpy(changed_page(disk, word), &disk->free_head, sizeof(disk->free_head));
    disk->free_head = word - PAGE_CHANGED + 1;
}

/* Gives the page memory of its own, with the bytes that it had. */
static bool make_page(struct disk_image *disk, uint32_t page)
{
    uint64_t there = disk->map[page] == PAGE_IMAGE ? image_bytes_of(disk, page) : 0;
    uint32_t word = take_page(disk);
    uint8_t *bytes;

    if (word == 0) {
        return false;
    }
    bytes = changed_page(disk, word);
    if (there != 0) {
        memcpy(bytes, disk->image + (uint64_t)page * PAGE_BYTES, (size_t)there);
    }
    memset(bytes + there, 0, (size_t)(PAGE_BYTES - there));
    disk->map[page] = word;
    return true;
}

uint8_t *disk_image_write(struct disk_image *disk, uint64_t offset, uint64_t bytes, uint64_t *piece)
{
    uint32_t page = (uint32_t)(offset / PAGE_BYTES);
    uint64_t within = offset % PAGE_BYTES;

    if (disk->map[page] >= PAGE_CHANGED) {
        *piece = together(disk, page, within, bytes);
    } else {
        *piece = min_u64(bytes, PAGE_BYTES - within);
        if (!make_page(disk, page)) {
            return NULL;
        }
    }
    return changed_page(disk, disk->map[page]) + within;
}

static bool zero_part(struct disk_image *disk, uint64_t offset, uint64_t bytes)
{
    uint64_t piece = 0;
    uint8_t *to;

    if (disk->map[offset / PAGE_BYTES] == PAGE_ZERO) {
        return true;
    }
    to = disk_image_write(disk, offset, bytes, &piece);
    if (to != NULL) {
        memset(to, 0, (size_t)piece);
    }
    return to != NULL;
}

bool disk_image_zero(struct disk_image *disk, uint64_t offset, uint64_t bytes)
{
    while (bytes != 0) {
        uint32_t page = (uint32_t)(offset / PAGE_BYTES);
        uint64_t step = min_u64(bytes, PAGE_BYTES - offset % PAGE_BYTES);

        if (step == PAGE_BYTES) {
            if (disk->map[page] >= PAGE_CHANGED) {
                give_page(disk, disk->map[page]);
            }
            disk->map[page] = PAGE_ZERO;
        } else if (!zero_part(disk, offset, step)) {
            return false;
        }
        offset += step;
        bytes -= step;
    }
    return true;
}
