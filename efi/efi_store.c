/* SPDX-License-Identifier: MIT */
/*
 * Images of disks whose holes take no memory. How much an image needs is known when its last byte has come, so it goes
 * into the largest piece that the firmware has, and what was not needed is given back: the lower part, so that the free
 * memory below grows together with it.
 */
#include "config/parse.h"
#include "efi/efi_stage.h"

/* The firmware itself needs memory while files are read: where not all that was asked for is there, a part is left. */
#define LEFT_SHARE 16u
#define PIECE_PAGES_MIN (MIB / PAGE_BYTES) /* sizes are tried in steps of this */

/* The most pages in one piece, up to `wanted`; 0: not even the least. */
static uint64_t most_pages(struct efi_stage *stage, uint64_t wanted)
{
    uint64_t there = 0, beyond = wanted + PIECE_PAGES_MIN;

    while (beyond - there > PIECE_PAGES_MIN) {
        uint64_t pages = there == 0 && beyond > wanted ? wanted : there + (beyond - there) / 2;
        uint64_t address = 0;

        if (EFI_ERROR(efi_pages_take(stage, AllocateAnyPages, pages, &address))) {
            beyond = pages;
        } else {
            efi_pages_return(stage, address);
            there = pages;
        }
    }
    return there == wanted ? there : there - there / LEFT_SHARE;
}

EFI_STATUS efi_store_begin(struct efi_stage *stage, uint64_t bytes, struct efi_store *store)
{
    uint64_t wanted = align_up(bytes, PAGE_BYTES) / PAGE_BYTES;
    uint64_t places_pages = align_up(wanted * CONFIG_DISK_MAP_BYTES, PAGE_BYTES) / PAGE_BYTES;
    EFI_STATUS status = efi_pages_take(stage, AllocateAnyPages, places_pages, &store->places);

    if (EFI_ERROR(status)) {
        return status;
    }
    store->pages = most_pages(stage, wanted);
    status =
        store->pages == 0 ? EFI_OUT_OF_RESOURCES : efi_pages_take(stage, AllocateAnyPages, store->pages, &store->start);
    store->store = (struct disk_store){
        .pages = (uint8_t *)(uintptr_t)store->start,
        .room = store->pages,
        .places = (uint32_t *)(uintptr_t)store->places,
        .places_count = wanted,
    };
    return status;
}

bool efi_store_end(struct efi_stage *stage, struct efi_store *store, uint64_t *start, struct efi_holes *holes)
{
    uint64_t kept, free_bytes;

    if (!disk_store_finish(&store->store)) {
        return false;
    }
    kept = max_u64(store->store.count, 1); /* an image of zeroes is somewhere, too */
    free_bytes = (store->pages - kept) * PAGE_BYTES;
    /* From the last page on: none is written before it was moved. */
    for (uint64_t page = free_bytes == 0 ? 0 : kept; page > 0; page--) {
        uint8_t *from = store->store.pages + (page - 1) * PAGE_BYTES;

        memcpy(from + free_bytes, from, PAGE_BYTES);
    }
    efi_pages_return_first(stage, store->start, free_bytes / PAGE_BYTES);
    *start = store->start + free_bytes;
    *holes = (struct efi_holes){.places = store->places, .stored_pages = store->store.count};
    return true;
}
