/* SPDX-License-Identifier: MIT */
#include "hv/dev/virtio/disk_image.h"

#include "hv/base/memory.h"

/*
 * Words of the map: zeroes, then the image's pages, a number that no page has, then those of `changes`. The numbers of
 * pages that lie together count up, and where the image ends and `changes` begin they do not.
 */
#define PAGE_ZERO 0u
#define PAGE_IMAGE 1u

uint64_t disk_image_pages(uint64_t image_bytes)
{
    return align_up(image_bytes, PAGE_BYTES) / PAGE_BYTES;
}

void disk_image_init(struct disk_image *disk, const struct disk_stored *stored, uint32_t *map, uint8_t *changes,
                     uint32_t change_pages, bool in_place)
{
    *disk = (struct disk_image){
        .stored = *stored,
        .changes = changes,
        .map = map,
        .bytes = align_up(stored->bytes, DISK_SECTOR_BYTES),
        .pages = (uint32_t)disk_image_pages(stored->bytes),
        .change_pages = change_pages,
        .in_place = in_place,
    };
    disk_image_forget(disk);
}

void disk_image_forget(struct disk_image *disk)
{
    for (uint32_t page = 0; page < disk->pages; page++) {
        disk->map[page] = disk->stored.places == NULL ? PAGE_IMAGE + page : disk->stored.places[page];
    }
    disk->fresh = 0;
    disk->free_head = 0;
}

static uint32_t first_change(const struct disk_image *disk)
{
    return PAGE_IMAGE + disk->stored.count + 1;
}

static bool may_change(const struct disk_image *disk, uint32_t word)
{
    return word >= (disk->in_place ? PAGE_IMAGE : first_change(disk));
}

/* Of a word that is not PAGE_ZERO. */
static uint8_t *page_of(const struct disk_image *disk, uint32_t word)
{
    uint32_t first = first_change(disk);

    return word >= first ? disk->changes + (uint64_t)(word - first) * PAGE_BYTES
                         : disk->stored.pages + (uint64_t)(word - PAGE_IMAGE) * PAGE_BYTES;
}

/* Two words of the map, wherever they lie. */
struct map_pair {
    uint64_t words;
} __attribute__((packed, may_alias));

#define PAIR_STEP ((1ULL << 32) + 1)

/*
 * How many of `bytes` follow each other in memory, from `within` a page on: words that are the same for zeroes and
 * count up for all others. Most pages are looked at by fours.
 */
static uint64_t together(const struct disk_image *disk, uint32_t page, uint64_t within, uint64_t bytes)
{
    const uint32_t *map = &disk->map[page];
    uint64_t pages = (within + bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    uint64_t step = *map != PAGE_ZERO;
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

    *piece = together(disk, page, within, bytes);
    return word == PAGE_ZERO ? NULL : page_of(disk, word) + within;
}

/* A page of memory whose bytes are anything; PAGE_ZERO: there is none. */
static uint32_t take_page(struct disk_image *disk)
{
    uint32_t word = disk->free_head;

    if (word != PAGE_ZERO) {
        memcpy(&disk->free_head, page_of(disk, word), sizeof(disk->free_head));
        return word;
    }
    return disk->fresh < disk->change_pages ? first_change(disk) + disk->fresh++ : PAGE_ZERO;
}

static void give_page(struct disk_image *disk, uint32_t word)
{
    memcpy(page_of(disk, word), &disk->free_head, sizeof(disk->free_head));
    disk->free_head = word;
}

/* Gives the page memory of its own, with the bytes that it had. */
static bool make_page(struct disk_image *disk, uint32_t page)
{
    uint32_t before = disk->map[page];
    uint32_t word = take_page(disk);

    if (word == PAGE_ZERO) {
        return false;
    }
    if (before == PAGE_ZERO) {
        memset(page_of(disk, word), 0, PAGE_BYTES);
    } else {
        memcpy(page_of(disk, word), page_of(disk, before), PAGE_BYTES);
    }
    disk->map[page] = word;
    return true;
}

uint8_t *disk_image_write(struct disk_image *disk, uint64_t offset, uint64_t bytes, uint64_t *piece)
{
    uint32_t page = (uint32_t)(offset / PAGE_BYTES);
    uint64_t within = offset % PAGE_BYTES;

    if (may_change(disk, disk->map[page])) {
        *piece = together(disk, page, within, bytes);
    } else {
        *piece = min_u64(bytes, PAGE_BYTES - within);
        if (!make_page(disk, page)) {
            return NULL;
        }
    }
    return page_of(disk, disk->map[page]) + within;
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
            if (may_change(disk, disk->map[page])) {
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
