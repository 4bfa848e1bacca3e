/* SPDX-License-Identifier: MIT */
/* Images whose holes take no memory: what is stored, and what a guest then reads and writes, against plain bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/base/memory.h"
#include "hv/dev/virtio/disk_image.h"
#include "hv/dev/virtio/disk_store.h"

#define PAGES 40u
#define BYTES_MAX (PAGES * PAGE_BYTES)
#define ROUNDS 400u

static uint8_t image[BYTES_MAX], plain[BYTES_MAX];
static uint8_t pages[(PAGES + 1) * PAGE_BYTES], changes[(PAGES + 1) * PAGE_BYTES];
static uint32_t places[PAGES + 1], map[PAGES + 1];
static uint32_t state = 11;

static uint32_t random_below(uint32_t end)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % end;
}

/* Pages of zeroes, of anything, and with one byte that is not zero. Returns the image's bytes. */
static uint64_t make_image(void)
{
    uint64_t bytes = 1 + random_below(BYTES_MAX);

    memset(image, 0, sizeof(image));
    for (uint64_t page = 0; page * PAGE_BYTES < bytes; page++) {
        uint64_t start = page * PAGE_BYTES, end = min_u64(bytes, start + PAGE_BYTES);
        uint32_t kind = random_below(4);

        if (kind == 0) {
            image[start + random_below((uint32_t)(end - start))] = 1;
        }
        for (uint64_t i = start; kind == 1 && i < end; i++) {
            image[i] = (uint8_t)random_below(256);
        }
    }
    return bytes;
}

static bool store_image(struct disk_store *store, uint64_t bytes, uint64_t room, uint32_t piece_max)
{
    *store =
        (struct disk_store){.pages = pages, .room = room, .places = places, .places_count = disk_image_pages(bytes)};
    memset(pages, 0xee, sizeof(pages));
    places[store->places_count] = 0xeeeeeeee;
    for (uint64_t at = 0; at < bytes;) {
        uint64_t piece = min_u64(bytes - at, 1 + random_below(piece_max));

        if (!disk_store_add(store, image + at, piece)) {
            return false;
        }
        at += piece;
    }
    return disk_store_finish(store);
}

static uint64_t zero_pages(uint64_t bytes)
{
    uint64_t count = 0;

    for (uint64_t page = 0; page < disk_image_pages(bytes); page++) {
        uint32_t sum = 0;

        for (uint32_t i = 0; i < PAGE_BYTES; i++) {
            sum |= image[page * PAGE_BYTES + i];
        }
        count += sum == 0;
    }
    return count;
}

static void check_all(const struct disk_image *disk)
{
    for (uint64_t at = 0, piece; at < disk->bytes; at += piece) {
        const uint8_t *bytes = disk_image_read(disk, at, disk->bytes - at, &piece);

        assert_in_range(piece, 1, disk->bytes - at);
        for (uint64_t i = 0; i < piece; i++) {
            assert_int_equal(bytes == NULL ? 0 : bytes[i], plain[at + i]);
        }
    }
}

static void only_what_is_not_zero_is_stored(void **context)
{
    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t bytes = make_image(), stored = disk_image_pages(bytes) - zero_pages(bytes);
        struct disk_store store;
        struct disk_image disk;

        assert_true(store_image(&store, bytes, PAGES, round % 2 == 0 ? 9000 : 3 * PAGE_BYTES));
        assert_int_equal(store.count, stored);
        assert_int_equal(disk_store_count((struct span){image, bytes}), stored);
        assert_int_equal(places[disk_image_pages(bytes)], 0xeeeeeeee);
        assert_int_equal(pages[min_u64(stored + 1, PAGES) * PAGE_BYTES], 0xee); /* but for one page on its way */
        disk_image_init(&disk, &(struct disk_stored){pages, places, (uint32_t)stored, bytes}, map, NULL, 0, false);
        memcpy(plain, image, sizeof(plain));
        check_all(&disk);
    }
}

static void too_little_room_is_said(void **context)
{
    struct disk_store store;

    (void)context;
    memset(image, 1, sizeof(image));
    assert_false(store_image(&store, BYTES_MAX, PAGES - 1, 9000));
    assert_int_equal(pages[(PAGES - 1) * PAGE_BYTES], 0xee);
    assert_false(store_image(&store, BYTES_MAX - 1, PAGES - 1, 9000));
    memset(image + 5 * PAGE_BYTES, 0, PAGE_BYTES);
    assert_true(store_image(&store, BYTES_MAX, PAGES - 1, 3 * PAGE_BYTES) || store.count == PAGES - 1);
    /* More bytes than were spoken of. */
    assert_true(store_image(&store, PAGE_BYTES, PAGES, 9000));
    assert_false(disk_store_add(&store, image, PAGE_BYTES));
}

/* Writes, or zeroes, a random part. How many pages lack memory afterwards is the same as a count from outside says. */
static void change(struct disk_image *disk)
{
    uint64_t at = random_below((uint32_t)disk->bytes), left = 1 + random_below((uint32_t)(disk->bytes - at));
    uint8_t value = (uint8_t)random_below(256);
    uint64_t piece;

    left = min_u64(left, 3 * PAGE_BYTES);
    if (random_below(3) == 0) {
        assert_true(disk_image_zero(disk, at, left));
        memset(plain + at, 0, left);
        return;
    }
    for (; left != 0; at += piece, left -= piece) {
        uint8_t *bytes = disk_image_write(disk, at, left, &piece);

        assert_non_null(bytes);
        assert_in_range(piece, 1, left);
        memset(bytes, value, piece);
        memset(plain + at, value, piece);
    }
}

/* With as many pages for changes as config_disk_plan() gives by default, no write fails. */
static void a_guest_finds_what_it_wrote(void **context)
{
    (void)context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t bytes = make_image();
        bool in_place = round % 2 == 0;
        struct disk_store store;
        struct disk_image disk;
        uint64_t room;

        assert_true(store_image(&store, bytes, PAGES, 9000));
        room = disk_image_pages(bytes) - (in_place ? store.count : 0);
        memset(changes, 0xcc, sizeof(changes));
        disk_image_init(&disk, &(struct disk_stored){pages, places, (uint32_t)store.count, bytes}, map, changes,
                        (uint32_t)room, in_place);
        memcpy(plain, image, sizeof(plain));
        for (unsigned i = 0; i < 60; i++) {
            change(&disk);
            check_all(&disk);
        }
        assert_int_equal(changes[room * PAGE_BYTES], 0xcc);
        if (!in_place) {
            disk_image_forget(&disk);
            memcpy(plain, image, sizeof(plain));
            check_all(&disk);
        }
    }
}

static void a_hole_takes_of_what_is_for_changes_and_of_what_was_discarded(void **context)
{
    struct disk_store store;
    struct disk_image disk;
    uint64_t piece;

    (void)context;
    memset(image, 0, sizeof(image));
    image[0] = 1;
    assert_true(store_image(&store, 4 * PAGE_BYTES, PAGES, 9000));
    disk_image_init(&disk, &(struct disk_stored){pages, places, 1, 4 * PAGE_BYTES}, map, changes, 1, true);
    assert_non_null(disk_image_write(&disk, 0, 1, &piece));
    assert_non_null(disk_image_write(&disk, 2 * PAGE_BYTES, 1, &piece));
    assert_null(disk_image_write(&disk, 3 * PAGE_BYTES, 1, &piece));
    assert_true(disk_image_zero(&disk, 0, PAGE_BYTES));
    assert_non_null(disk_image_write(&disk, 3 * PAGE_BYTES, 1, &piece));
    assert_null(disk_image_write(&disk, 0, 1, &piece));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_not_zero_is_stored),
        cmocka_unit_test(too_little_room_is_said),
        cmocka_unit_test(a_guest_finds_what_it_wrote),
        cmocka_unit_test(a_hole_takes_of_what_is_for_changes_and_of_what_was_discarded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
