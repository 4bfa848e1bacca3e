/* SPDX-License-Identifier: MIT */
/* A virtio disk over PCI, against a driver written from the specification, in both register layouts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/virtio/block.h"
#include "tests/unit/support.h"
#include "tests/unit/virtio_driver.h"

#define DISK_BYTES (1000 * 512u)
#define DISK_PAGES 125u
#define RINGS 0x10000u
#define HEADER 0x30000u
#define STATUS 0x30100u
#define TABLE 0x31000u
#define DATA 0x50000u
#define MODERN ((1ULL << 32) | (1ULL << 28) | (1ULL << 29))

static struct arena arena;
static struct virtio_block_pci disk;
static struct disk_image image;
static struct virtio_driver driver;
static uint8_t file[DISK_PAGES * PAGE_BYTES];
static uint8_t changes[DISK_PAGES * PAGE_BYTES];
static uint32_t map[DISK_PAGES];
static uint8_t expected[DISK_BYTES];

static void make(bool read_only, uint32_t change_pages)
{
    arena_init(&arena);
    memset(changes, 0xcc, sizeof(changes));
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        file[i] = expected[i] = (uint8_t)(i * 7 + i / 512);
    }
    disk_image_init(&image, &(struct disk_stored){file, NULL, DISK_PAGES, DISK_BYTES}, map, changes, change_pages,
                    false);
    virtio_block_init(&disk.block, &arena.memory, &image, read_only, "a-rather-long-name.img");
    virtio_pci_init(&disk.pci, &disk.block.device, VIRTIO_TRANSITIONAL);
}

static int setup(void **state)
{
    (void)state;
    make(false, DISK_PAGES);
    assert_true(vd_start(&driver, &disk.pci, &arena, false, MODERN, 1, RINGS, 128));
    return 0;
}

static int setup_legacy(void **state)
{
    (void)state;
    make(false, DISK_PAGES);
    assert_true(vd_start(&driver, &disk.pci, &arena, true, 1u << 28, 1, RINGS, 0));
    return 0;
}

/* The bytes that follow each other in memory, page by page. */
static uint64_t together_plainly(uint64_t offset, uint64_t bytes)
{
    uint64_t there = PAGE_BYTES - offset % PAGE_BYTES;

    for (uint64_t page = offset / PAGE_BYTES; there < bytes; page++, there += PAGE_BYTES) {
        if (map[page + 1] != map[page] + (map[page] != 0)) {
            return there;
        }
    }
    return bytes;
}

/* The map's words: 0 (zeroes), the image's pages from 1 on, a number that is none, changed pages. */
#define FIRST_CHANGE (DISK_PAGES + 2)

static uint32_t any_word(uint32_t random)
{
    return (random >> 16 & 3) == 0   ? 0
           : (random >> 16 & 3) == 1 ? 1 + (random >> 18) % DISK_PAGES
                                     : FIRST_CHANGE + (random >> 18) % 4;
}

static void pages_that_lie_together_are_one_piece(void **state)
{
    uint32_t random = 7;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        uint64_t offset, bytes, piece;

        for (unsigned i = 0; i < DISK_PAGES; i++) {
            random = random * 1664525u + 1013904223u;
            map[i] = i != 0 && random >> 28 != 0 ? map[i - 1] + (map[i - 1] != 0) : any_word(random);
            map[i] += map[i] == DISK_PAGES + 1; /* from the image's last page to the first of `changes` */
        }
        offset = (random >> 8) % (DISK_BYTES - 1);
        bytes = 1 + (random = random * 1664525u + 1013904223u) / 256 % (DISK_BYTES - offset);
        (void)disk_image_read(&image, offset, bytes, &piece);
        assert_int_equal(piece, together_plainly(offset, bytes));
        if (map[offset / PAGE_BYTES] >= FIRST_CHANGE) {
            assert_non_null(disk_image_write(&image, offset, bytes, &piece));
            assert_int_equal(piece, together_plainly(offset, bytes));
        }
    }
}

/* Runs the device until it has nothing left to do; how many times it had to be called again. */
static unsigned run(int64_t bytes)
{
    unsigned turns = 0;
    struct virtio_budget budget = {bytes, UINT64_MAX, NULL};

    while (virtio_service(&disk.block.device, &budget)) {
        budget.left = bytes;
        turns++;
        assert_true(turns < 10000);
    }
    virtio_pci_carry_signals(&disk.pci);
    return turns;
}

/* The same by the clock: a call may look at it so often. Checks that each ends then. */
static unsigned run_by_the_clock(unsigned looks)
{
    unsigned turns = 0;

    support_tick = 10;
    for (;;) {
        struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, support_now + looks * support_tick, NULL};
        bool more = virtio_service(&disk.block.device, &budget);

        assert_in_range(support_now, 0, budget.until + 6 * support_tick);
        if (!more) {
            break;
        }
        assert_true(++turns < 10000);
    }
    support_tick = 0;
    virtio_pci_carry_signals(&disk.pci);
    return turns;
}

static uint8_t finish_request(uint16_t head, uint32_t *written)
{
    uint16_t used;

    vd_notify(&driver, 0);
    run(VIRTIO_BUDGET_BYTES);
    assert_true(driver_take(&driver.queues[0], &used, written));
    assert_int_equal(used, head);
    return (uint8_t)arena_get(&arena, STATUS, 1);
}

/* One request with its data in `count` pieces. Returns the status byte. */
static uint8_t request(uint32_t type, uint64_t sector, uint64_t data, uint32_t bytes, unsigned count, uint32_t *written)
{
    struct driver_buffer buffers[64] = {{HEADER, 16, false}};
    unsigned used = 1;

    arena_put(&arena, HEADER, type, 8);
    arena_put(&arena, HEADER + 8, sector, 8);
    arena_put(&arena, STATUS, 0xff, 1);
    for (unsigned i = 0; i < count && bytes != 0; i++) {
        uint32_t piece = i + 1 == count ? bytes : bytes / count;

        buffers[used++] = (struct driver_buffer){data, piece, (type & 0x7fffffff) == 0 || type == 8};
        data += piece;
        bytes -= piece;
    }
    buffers[used++] = (struct driver_buffer){STATUS, 1, true};
    return finish_request(driver_add(&driver.queues[0], buffers, used), written);
}

static void check_data(uint64_t data, uint64_t at, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        assert_int_equal(arena_get(&arena, data + i, 1), expected[at + i]);
    }
}

static void its_configuration_describes_the_disk(void **state)
{
    (void)state;
    assert_int_equal(driver_read32(&disk.pci.function, 0), 0x10011af4);
    assert_int_equal(driver_read32(&disk.pci.function, 0x2c), 0x00021af4);
    assert_int_equal(vd_config(&driver, 0, 8), 1000);
    assert_int_equal(vd_config(&driver, 12, 4), 254);
    assert_int_equal(vd_config(&driver, 20, 4), 512);
    assert_int_equal(vd_config(&driver, 24, 1), 3);
    assert_int_equal(vd_config(&driver, 60, 4), 0);
    assert_int_equal(vd_features(&driver) & (1ULL << 5), 0);
}

static void it_reads_and_writes(void **state)
{
    uint32_t written;

    (void)state;
    assert_int_equal(request(0, 3, DATA, 4096, 3, &written), 0);
    assert_int_equal(written, 4097);
    check_data(DATA, 3 * 512, 4096);
    memset(&expected[9 * 512], 0x5a, 1024);
    for (unsigned i = 0; i < 1024; i++) {
        arena_put(&arena, DATA + i, 0x5a, 1);
    }
    assert_int_equal(request(1, 9, DATA, 1024, 2, &written), 0);
    assert_int_equal(written, 1);
    assert_int_equal(request(0, 0, DATA, 128 * 512, 1, &written), 0);
    check_data(DATA, 0, 128 * 512);
    assert_int_equal(file[9 * 512], (uint8_t)(9 * 512 * 7 + 9)); /* the image is as it was */
    assert_int_equal(image.fresh, 1);                            /* one page has changed */
    assert_int_equal(request(0, 998, DATA, 1024, 1, &written), 0);
    check_data(DATA, 998 * 512, 1024);
    assert_int_equal(request(4, 0, 0, 0, 0, &written), 0); /* flush */
    assert_int_equal(request(8, 0, DATA, 20, 1, &written), 0);
    assert_int_equal(written, 21);
    assert_int_equal(arena_get(&arena, DATA + 2, 1), 'r');
    assert_int_equal(arena_get(&arena, DATA + 19, 1), 'i');
}

static void it_works_through_the_legacy_registers(void **state)
{
    uint32_t written;

    (void)state;
    assert_int_equal(vd_config(&driver, 0, 4), 1000);
    assert_int_equal(vd_read(&driver, 0, 12, 2), 256);
    assert_int_equal(vd_features(&driver) >> 32, 0);
    assert_int_equal(request(0, 5, DATA, 2048, 2, &written), 0);
    check_data(DATA, 5 * 512, 2048);
    assert_true(pci_intx_asserted(&disk.pci.function));
    assert_int_equal(disk.pci.function.signals.lines, 1);
    assert_int_equal(vd_read(&driver, 0, 19, 1), 1);
    assert_int_equal(disk.pci.function.signals.lines, 0);
    assert_int_equal(vd_read(&driver, 0, 19, 1), 0);
}

static void a_legacy_driver_uses_it_before_it_says_that_it_is_ready(void **state)
{
    static const uint8_t used[] = {2, 3, 4, 7};
    uint32_t written;

    (void)state;
    for (size_t i = 0; i < sizeof(used); i++) {
        vd_status(&driver, used[i]);
        assert_int_equal(request(0, 5, DATA, 2048, 2, &written), 0);
        check_data(DATA, 5 * 512, 2048);
    }
    vd_status(&driver, 1); /* ACKNOWLEDGE: a driver has not been found yet */
    assert_false(virtio_runs(disk.pci.function.device));
}

/* As Kerla's does: the register keeps the bit, as QEMU's, and the features go with a layout that has no VERSION_1. */
static void a_legacy_driver_may_say_that_it_is_content_with_the_features(void **state)
{
    (void)state;
    make(false, DISK_PAGES);
    assert_true(vd_start(&driver, &disk.pci, &arena, true, 0, 1, RINGS, 0));
    vd_status(&driver, 0);
    vd_status(&driver, 3);
    vd_write(&driver, 0, 4, 4, vd_read(&driver, 0, 0, 4));
    vd_status(&driver, 11);
    assert_int_equal(vd_get_status(&driver), 11);
    vd_status(&driver, 15);
    assert_int_equal(vd_get_status(&driver), 15);
}

static void a_legacy_driver_may_use_indirect_tables_that_it_has_not_asked_for(void **state)
{
    struct driver_buffer buffers[] = {{HEADER, 16, false}, {DATA, 512, true}, {STATUS, 1, true}};
    uint32_t written;

    (void)state;
    make(false, DISK_PAGES);
    assert_true(vd_start(&driver, &disk.pci, &arena, true, 0, 1, RINGS, 0));
    assert_int_equal(disk.block.device.accepted, 0);
    arena_put(&arena, HEADER, 0, 8);
    arena_put(&arena, HEADER + 8, 5, 8);
    assert_int_equal(finish_request(driver_add_indirect(&driver.queues[0], TABLE, buffers, 3), &written), 0);
    check_data(DATA, 5 * 512, 512);
    make(false, DISK_PAGES);
    assert_true(vd_start(&driver, &disk.pci, &arena, false, 1ULL << 32, 1, RINGS, 128)); /* a modern one may not */
    (void)driver_add_indirect(&driver.queues[0], TABLE, buffers, 3);
    vd_notify(&driver, 0);
    run(VIRTIO_BUDGET_BYTES);
    assert_int_not_equal(disk.block.device.status & VIRTIO_NEEDS_RESET, 0);
}

static void older_drivers_ask_for_a_barrier_and_have_a_second_flush(void **state)
{
    uint32_t written;

    (void)state;
    assert_int_equal(request(0x80000000, 5, DATA, 2048, 2, &written), 0);
    check_data(DATA, 5 * 512, 2048);
    assert_int_equal(request(5, 0, 0, 0, 0, &written), 0);
    assert_int_equal(request(0x80000063, 0, DATA, 512, 1, &written), 2);
}

static void what_is_not_on_the_disk_is_an_error(void **state)
{
    uint32_t written;

    (void)state;
    assert_int_equal(request(0, 999, DATA, 1024, 1, &written), 1);
    assert_int_equal(written, 1);
    assert_int_equal(request(1, 1000, DATA, 512, 1, &written), 1);
    assert_int_equal(request(0, ~0ULL, DATA, 512, 1, &written), 1);
    assert_int_equal(request(0, 0, DATA, 100, 1, &written), 1);
    assert_int_equal(request(99, 0, DATA, 512, 1, &written), 2);
    assert_int_equal(request(0, 1000, DATA, 0, 0, &written), 0); /* nothing, at the end */
}

static void a_read_only_disk_refuses_writes(void **state)
{
    uint32_t written;

    (void)state;
    make(true, 0);
    assert_true(vd_start(&driver, &disk.pci, &arena, false, MODERN | 1u << 5, 1, RINGS, 128));
    assert_int_not_equal(vd_features(&driver) & (1ULL << 5), 0);
    assert_int_equal(request(1, 0, DATA, 512, 1, &written), 1);
    assert_int_equal(request(13, 0, DATA, 16, 1, &written), 1);
    assert_int_equal(request(0, 0, DATA, 512, 1, &written), 0);
    check_data(DATA, 0, 512);
}

static void writes_fail_where_no_memory_is_left_and_discards_give_it_back(void **state)
{
    uint32_t written;

    (void)state;
    make(false, 2);
    assert_true(vd_start(&driver, &disk.pci, &arena, false, MODERN, 1, RINGS, 128));
    assert_int_equal(request(1, 0, DATA, 512, 1, &written), 0);
    assert_int_equal(request(1, 80, DATA, 512, 1, &written), 0);
    assert_int_equal(request(1, 81, DATA, 512, 1, &written), 0); /* the same page */
    assert_int_equal(request(1, 160, DATA, 512, 1, &written), 1);
    assert_int_equal(disk.block.counters.full, 1);
    arena_put(&arena, DATA, 80, 8); /* discard 80 to 87 */
    arena_put(&arena, DATA + 8, 8, 8);
    assert_int_equal(request(11, 0, DATA, 16, 1, &written), 0);
    memset(&expected[80 * 512], 0, 8 * 512);
    assert_int_equal(request(1, 160, DATA, 512, 1, &written), 0);
    assert_int_equal(request(0, 76, DATA, 16 * 512, 1, &written), 0);
    check_data(DATA, 76 * 512, 16 * 512);
}

static void zeroes_are_written_across_pages(void **state)
{
    uint32_t written;

    (void)state;
    arena_put(&arena, DATA, 5, 8); /* sectors 5 to 29, unmap allowed */
    arena_put(&arena, DATA + 8, 25 | 1ULL << 32, 8);
    assert_int_equal(request(13, 0, DATA, 16, 1, &written), 0);
    memset(&expected[5 * 512], 0, 25 * 512);
    assert_int_equal(request(0, 0, DATA, 64 * 512, 1, &written), 0);
    check_data(DATA, 0, 64 * 512);
    arena_put(&arena, DATA, 990, 8);
    arena_put(&arena, DATA + 8, 11, 8);
    assert_int_equal(request(13, 0, DATA, 16, 1, &written), 1);
    arena_put(&arena, DATA + 8, 0x10001, 8);
    assert_int_equal(request(11, 0, DATA, 16, 1, &written), 1);
    arena_put(&arena, DATA + 8, 1 | 2ULL << 32, 8);
    assert_int_equal(request(13, 0, DATA, 16, 1, &written), 2);
}

static void a_restart_may_forget_the_changes(void **state)
{
    uint32_t written;

    (void)state;
    arena_put(&arena, DATA, 0x1111, 8);
    assert_int_equal(request(1, 7, DATA, 512, 1, &written), 0);
    disk_image_forget(&image);
    assert_int_equal(request(0, 7, DATA, 512, 1, &written), 0);
    check_data(DATA, 7 * 512, 512);
}

static void changes_may_be_kept_in_the_image_itself(void **state)
{
    uint32_t written;

    (void)state;
    disk_image_init(&image, &(struct disk_stored){file, NULL, DISK_PAGES, DISK_BYTES - 512}, map, NULL, 0, true);
    arena_put(&arena, DATA, 0x1111, 8);
    assert_int_equal(request(1, 7, DATA, 512, 1, &written), 0);
    assert_int_equal(file[7 * 512], 0x11);
    arena_put(&arena, DATA, 8, 8);
    arena_put(&arena, DATA + 8, 16, 8);
    assert_int_equal(request(11, 0, DATA, 16, 1, &written), 0);
    assert_int_equal(request(1, 8, DATA, 512, 1, &written), 0); /* a page that was given back is taken */
}

/* A read of 100 blocks from the second one on; its head. */
static uint16_t ask_for_much(void)
{
    struct driver_buffer buffers[] = {{HEADER, 16, false}, {DATA, 100 * 512, true}, {STATUS, 1, true}};
    uint16_t head;

    arena_put(&arena, HEADER, 0, 8);
    arena_put(&arena, HEADER + 8, 1, 8);
    head = driver_add(&driver.queues[0], buffers, 3);
    vd_notify(&driver, 0);
    return head;
}

/* It has come, and nothing else. */
static uint16_t check_much(void)
{
    uint16_t used;
    uint32_t written;

    assert_true(driver_take(&driver.queues[0], &used, &written));
    check_data(DATA, 512, 100 * 512);
    return used;
}

static void a_large_request_goes_on_in_turns(void **state)
{
    uint16_t head;

    (void)state;
    head = ask_for_much();
    assert_int_equal(disk.pci.function.signals.wants & BUS_WORK, BUS_WORK);
    assert_in_range(run(6000), 8, 12);
    assert_int_equal(check_much(), head);
}

static void a_large_request_ends_by_the_clock_and_goes_on(void **state)
{
    (void)state;
    (void)ask_for_much();
    assert_in_range(run_by_the_clock(3), 1, 5);
    (void)check_much();
}

/* A machine so slow that the time is over before the work begins: each call still does something. */
static void work_goes_on_where_there_is_no_time(void **state)
{
    (void)state;
    (void)ask_for_much();
    assert_in_range(run_by_the_clock(0), 100 * 512 / VIRTIO_PIECE_BYTES, 10);
    (void)check_much();
}

static void many_requests_are_one_interrupt(void **state)
{
    struct apic_message message;
    unsigned cap;

    (void)state;
    cap = driver_find_capability(&disk.pci.function, 0x11, 0);
    pci_config_write(&disk.pci.function, cap + 2, 2, 0x8000);
    vd_write(&driver, 1, 16, 4, 0xfee00000);
    vd_write(&driver, 1, 24, 8, 0x55);
    vd_write(&driver, driver.common.bar, driver.common.offset + 26, 2, 1); /* queue 0: vector 1 */
    assert_int_equal(vd_read(&driver, driver.common.bar, driver.common.offset + 26, 2), 1);
    vd_write(&driver, driver.common.bar, driver.common.offset + 26, 2, 2); /* there are two */
    assert_int_equal(vd_read(&driver, driver.common.bar, driver.common.offset + 26, 2), 0xffff);
    vd_write(&driver, driver.common.bar, driver.common.offset + 26, 2, 1);
    arena_put(&arena, HEADER, 4, 8);
    for (unsigned i = 0; i < 30; i++) {
        struct driver_buffer buffers[] = {{HEADER, 16, false}, {STATUS + i, 1, true}};

        driver_add(&driver.queues[0], buffers, 2);
    }
    vd_notify(&driver, 0);
    assert_int_equal(run(VIRTIO_BUDGET_BYTES), 0);
    assert_true(pci_row_next_message(&disk.pci, &message));
    assert_int_equal(message.vector, 0x55);
    assert_false(pci_row_next_message(&disk.pci, &message));
    assert_int_equal(disk.block.counters.flushes, 30);
}

static void a_request_without_header_or_status_breaks_the_device(void **state)
{
    struct driver_buffer no_status[] = {{HEADER, 16, false}};
    struct driver_buffer short_header[] = {{HEADER, 15, false}, {STATUS, 1, true}};

    for (unsigned i = 0; i < 2; i++) {
        setup(state);
        driver_add(&driver.queues[0], i == 0 ? no_status : short_header, i + 1);
        vd_notify(&driver, 0);
        run(VIRTIO_BUDGET_BYTES);
        assert_int_equal(vd_get_status(&driver), 15 | 64);
        assert_int_equal(virtio_broken_queue(&disk.block.device)->fault, VIRTQ_REQUEST);
        vd_notify(&driver, 0);
        assert_int_equal(run(VIRTIO_BUDGET_BYTES), 0);
        assert_true(vd_start(&driver, &disk.pci, &arena, false, MODERN, 1, RINGS, 128)); /* and a reset mends it */
        assert_int_equal(vd_get_status(&driver), 15);
    }
}

/* As QEMU has it: small drivers write constants, or the lower half of the features alone. */
static void a_driver_has_no_feature_that_was_not_offered_and_may_go_without_all(void **state)
{
    static const uint64_t wanted[] = {MODERN, MODERN | 1ULL << 33, MODERN | 1ULL << 5, ~0ULL, 1ULL << 28, 0};
    uint32_t written;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_true(vd_start(&driver, &disk.pci, &arena, false, wanted[i], 1, RINGS, 128));
        assert_int_equal(disk.block.device.accepted, wanted[i] & disk.block.device.offered);
        vd_write(&driver, driver.common.bar, driver.common.offset + 8, 4, 0);
        assert_int_equal(vd_read(&driver, driver.common.bar, driver.common.offset + 12, 4),
                         (uint32_t)disk.block.device.accepted);
        assert_int_equal(request(0, 5, DATA, 512, 1, &written), 0);
        check_data(DATA, 5 * 512, 512);
    }
}

static void rings_outside_of_ram_break_the_device(void **state)
{
    (void)state;
    vd_start(&driver, &disk.pci, &arena, false, MODERN, 0, RINGS, 128);
    vd_queue(&driver, 0, 0xfffff000, 128);
    assert_int_equal(vd_get_status(&driver) & 64, 64);
    vd_start(&driver, &disk.pci, &arena, true, 0, 0, RINGS, 128);
    vd_queue(&driver, 0, 0xfffff000000ULL, 128);
    assert_int_equal(vd_get_status(&driver) & 64, 64);
}

static void a_queue_is_reset_alone(void **state)
{
    uint64_t common = driver.common.offset;
    uint32_t written;

    (void)state;
    assert_true(vd_start(&driver, &disk.pci, &arena, false, MODERN | 1ULL << 40, 1, RINGS, 128));
    vd_write(&driver, driver.common.bar, common + 58, 2, 1);
    assert_int_equal(vd_read(&driver, driver.common.bar, common + 28, 2), 0);
    vd_queue(&driver, 0, RINGS + 0x8000, 64);
    assert_int_equal(request(0, 3, DATA, 4096, 3, &written), 0);
}

/* How many capabilities of notifications there are, and how many of them name a port. */
static unsigned count_notifications(unsigned *ports)
{
    struct pci_endpoint *function = &disk.pci.function;
    unsigned cap, count = 0;

    *ports = 0;
    for (unsigned nth = 0; (cap = driver_find_capability(function, 9, nth)) != 0; nth++) {
        if (pci_config_read(function, cap + 3, 1) == 2) {
            unsigned bar = pci_config_read(function, cap + 4, 1);

            *ports += driver_read32(function, 0x10 + 4 * bar) & 1;
            count++;
        }
    }
    return count;
}

static void drivers_find_what_the_config_says_of_ids_layouts_and_notifications(void **state)
{
    static const struct {
        enum config_virtio form;
        uint16_t device;
        unsigned notifications, ports;
    } forms[] = {
        {VIRTIO_TRANSITIONAL, 0x1001, 2, 1},
        {VIRTIO_QEMU, 0x1001, 1, 0},
        {VIRTIO_MODERN, 0x1042, 1, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++) {
        unsigned ports;
        uint32_t written;

        make(false, DISK_PAGES);
        virtio_pci_init(&disk.pci, &disk.block.device, forms[i].form);
        assert_int_equal(driver_read32(&disk.pci.function, 0) >> 16, forms[i].device);
        assert_int_equal(driver_read32(&disk.pci.function, 0x2c) >> 16, forms[i].form == VIRTIO_MODERN ? 0x1100 : 2);
        assert_int_equal(count_notifications(&ports), forms[i].notifications);
        assert_int_equal(ports, forms[i].ports);
        assert_true(vd_start(&driver, &disk.pci, &arena, false, MODERN, 1, RINGS, 128));
        assert_int_equal(request(0, 3, DATA, 512, 1, &written), 0);
        check_data(DATA, 3 * 512, 512);
        make(false, DISK_PAGES);
        virtio_pci_init(&disk.pci, &disk.block.device, forms[i].form);
        if (forms[i].form != VIRTIO_MODERN) {
            assert_true(vd_start(&driver, &disk.pci, &arena, true, 1u << 28, 1, RINGS, 0));
        }
    }
}

/* Hermit's driver asks for 24 bytes of a card, where the fields of the features that are offered take 12. */
static void the_devices_own_configuration_has_room_for_every_field_and_reads_0_there(void **state)
{
    (void)state;
    assert_in_range(driver.config.bytes, 96, 4096);
    assert_int_not_equal(vd_read(&driver, driver.config.bar, driver.config.offset, 4), 0);
    for (unsigned at = 60; at < 128; at += 4) {
        assert_int_equal(vd_read(&driver, driver.config.bar, driver.config.offset + at, 4), 0);
    }
}

static void configuration_space_has_a_window_to_the_registers(void **state)
{
    struct pci_endpoint *function = &disk.pci.function;
    unsigned cap, nth = 0;

    (void)state;
    do {
        cap = driver_find_capability(function, 9, nth++);
    } while (pci_config_read(function, cap + 3, 1) != 5);
    pci_config_write(function, cap + 4, 1, 4);
    driver_write32(function, cap + 8, 0x2000);
    driver_write32(function, cap + 12, 4);
    assert_int_equal(driver_read32(function, cap + 16), 1000); /* capacity */
    driver_write32(function, cap + 8, 20);                     /* device_status */
    driver_write32(function, cap + 12, 1);
    assert_int_equal(driver_read32(function, cap + 16), 15);
    driver_write32(function, cap + 16, 0);
    assert_int_equal(vd_get_status(&driver), 0);
    driver_write32(function, cap + 8, 0x4000); /* outside */
    assert_int_equal(driver_read32(function, cap + 16), 0);
    driver_write32(function, cap + 16, 0xffffffff);
}

static void a_random_driver_sees_a_disk(void **state)
{
    uint32_t random = 3, written;

    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t sector = (random = random * 1664525u + 1013904223u) / 65536 % 980;
        uint32_t sectors = 1 + (random = random * 1664525u + 1013904223u) / 65536 % 20;
        bool write = (random >> 30) == 0;

        if (write) {
            for (uint32_t b = 0; b < sectors * 512; b++) {
                expected[sector * 512 + b] = (uint8_t)(i + b);
                arena_put(&arena, DATA + b, (uint8_t)(i + b), 1);
            }
        }
        assert_int_equal(request(write, sector, DATA, sectors * 512, 1 + i % 7, &written), 0);
        if (!write) {
            check_data(DATA, sector * 512, sectors * 512);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(its_configuration_describes_the_disk, setup),
        cmocka_unit_test_setup(pages_that_lie_together_are_one_piece, setup),
        cmocka_unit_test_setup(it_reads_and_writes, setup),
        cmocka_unit_test_setup(it_works_through_the_legacy_registers, setup_legacy),
        cmocka_unit_test_setup(a_legacy_driver_uses_it_before_it_says_that_it_is_ready, setup_legacy),
        cmocka_unit_test(a_legacy_driver_may_say_that_it_is_content_with_the_features),
        cmocka_unit_test(a_legacy_driver_may_use_indirect_tables_that_it_has_not_asked_for),
        cmocka_unit_test_setup(older_drivers_ask_for_a_barrier_and_have_a_second_flush, setup_legacy),
        cmocka_unit_test_setup(what_is_not_on_the_disk_is_an_error, setup),
        cmocka_unit_test_setup(a_read_only_disk_refuses_writes, setup),
        cmocka_unit_test_setup(writes_fail_where_no_memory_is_left_and_discards_give_it_back, setup),
        cmocka_unit_test_setup(zeroes_are_written_across_pages, setup),
        cmocka_unit_test_setup(a_restart_may_forget_the_changes, setup),
        cmocka_unit_test_setup(changes_may_be_kept_in_the_image_itself, setup),
        cmocka_unit_test_setup(a_large_request_goes_on_in_turns, setup),
        cmocka_unit_test_setup(a_large_request_ends_by_the_clock_and_goes_on, setup),
        cmocka_unit_test_setup(work_goes_on_where_there_is_no_time, setup),
        cmocka_unit_test_setup(many_requests_are_one_interrupt, setup),
        cmocka_unit_test_setup(a_request_without_header_or_status_breaks_the_device, setup),
        cmocka_unit_test_setup(a_driver_has_no_feature_that_was_not_offered_and_may_go_without_all, setup),
        cmocka_unit_test_setup(rings_outside_of_ram_break_the_device, setup),
        cmocka_unit_test_setup(a_queue_is_reset_alone, setup),
        cmocka_unit_test(drivers_find_what_the_config_says_of_ids_layouts_and_notifications),
        cmocka_unit_test_setup(the_devices_own_configuration_has_room_for_every_field_and_reads_0_there, setup),
        cmocka_unit_test_setup(configuration_space_has_a_window_to_the_registers, setup),
        cmocka_unit_test_setup(a_random_driver_sees_a_disk, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
