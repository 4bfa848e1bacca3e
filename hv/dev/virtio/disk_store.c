/* SPDX-License-Identifier: MIT */
#include "hv/dev/virtio/disk_store.h"

#include "hv/base/memory.h"

/* Words of an image, wherever they lie. */
struct words {
    uint64_t words[4];
} __attribute__((packed, may_alias));

static bool is_zero(const uint8_t *bytes, uint64_t count)
{
    uint64_t at = 0;

    while (count - at >= sizeof(struct words)) {
        const struct words *four = (const struct words *)(const void *)(bytes + at);

        if ((four->words[0] | four->words[1] | four->words[2] | four->words[3]) != 0) {
            return false;
        }
        at += sizeof(*four);
    }
    while (at < count && bytes[at] == 0) {
        at++;
    }
    return at == count;
}

static bool end_page(struct disk_store *store, bool zero)
{
    if (store->page == store->places_count) {
        return false;
    }
    store->places[store->page++] = zero ? 0 : (uint32_t)++store->count;
    store->within = 0;
    return true;
}

/* Bytes of one page, which are not all of it, or not zero. */
static bool add_part(struct disk_store *store, const uint8_t *bytes, uint64_t count)
{
    uint8_t *page = store->pages + store->count * PAGE_BYTES;

    if (store->count == store->room) {
        return false;
    }
    memcpy(page + store->within, bytes, (size_t)count);
    store->within += count;
    return store->within < PAGE_BYTES || end_page(store, is_zero(page, PAGE_BYTES));
}

bool disk_store_add(struct disk_store *store, const uint8_t *bytes, uint64_t count)
{
    while (count != 0) {
        uint64_t piece = min_u64(count, PAGE_BYTES - store->within);
        bool hole = piece == PAGE_BYTES && is_zero(bytes, PAGE_BYTES);

        if (hole ? !end_page(store, true) : !add_part(store, bytes, piece)) {
            return false;
        }
        bytes += piece;
        count -= piece;
    }
    return true;
}

bool disk_store_finish(struct disk_store *store)
{
    static const uint8_t zeroes[PAGE_BYTES];

    return store->within == 0 || add_part(store, zeroes, PAGE_BYTES - store->within);
}

uint64_t disk_store_count(struct span image)
{
    uint64_t count = 0;

    for (uint64_t at = 0; at < image.bytes; at += PAGE_BYTES) {
        count += !is_zero(image.base + at, min_u64(PAGE_BYTES, image.bytes - at));
    }
    return count;
}
