/* SPDX-License-Identifier: MIT */
/* The virtqueue core against a driver written from the specification, and against drivers that break the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/virtq_driver.h"

#define RINGS 0x3f000u /* across the border of the two pieces of RAM */
#define SIZE 16u
#define TABLE 0x20008u /* an indirect table at an odd place */
#define BUFFERS 0x80000u

static struct arena arena;
static struct driver_queue driver;
static struct virtq queue;
static struct virtq_chain chain;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena);
    driver_queue_init(&driver, &arena, RINGS, SIZE);
    driver_place(&driver, &queue);
    assert_true(virtq_enable(&queue, &arena.memory));
    return 0;
}

static enum virtq_result pop(void)
{
    return virtq_pop(&queue, &arena.memory, &chain);
}

static void the_legacy_layout_is_the_drivers(void **state)
{
    struct virtq legacy;

    (void)state;
    virtq_reset(&legacy, SIZE);
    virtq_place_legacy(&legacy, RINGS);
    assert_int_equal(legacy.descriptors, driver.descriptors);
    assert_int_equal(legacy.available, driver.available);
    assert_int_equal(legacy.used, driver.used);
}

static void a_chain_goes_there_and_back(void **state)
{
    const struct driver_buffer buffers[] = {
        {BUFFERS, 16, false}, {BUFFERS + 4096, 512, true}, {ARENA_SPLIT - 8, 16, true}};
    struct virtq_cursor cursor;
    uint8_t bytes[528];
    uint16_t head, used;
    uint32_t written;

    (void)state;
    assert_int_equal(pop(), VIRTQ_EMPTY);
    memset(arena.bytes + BUFFERS + ARENA_GAP, 0x5a, 16);
    head = driver_add(&driver, buffers, 3);
    assert_int_equal(pop(), VIRTQ_CHAIN);
    assert_int_equal(chain.head, head);
    assert_int_equal(chain.readable_bytes, 16);
    assert_int_equal(chain.writable_bytes, 528);
    cursor = virtq_readable(&chain);
    assert_int_equal(virtq_gather(&arena.memory, &chain, &cursor, bytes, 99), 16);
    assert_int_equal(bytes[15], 0x5a);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    cursor = virtq_writable(&chain);
    assert_int_equal(virtq_scatter(&arena.memory, &chain, &cursor, bytes, 100), 100);
    assert_int_equal(virtq_scatter(&arena.memory, &chain, &cursor, bytes + 100, sizeof(bytes)), 428);
    assert_int_equal(arena_get(&arena, BUFFERS + 4096 + 256 + 7, 1), 7);
    assert_int_equal(arena_get(&arena, ARENA_SPLIT - 8, 8), 0x0706050403020100ULL); /* 512 and on */
    assert_int_equal(arena_get(&arena, ARENA_SPLIT, 8), 0x0f0e0d0c0b0a0908ULL);
    virtq_push(&queue, &arena.memory, chain.head, 528);
    assert_true(driver_take(&driver, &used, &written));
    assert_int_equal(used, head);
    assert_int_equal(written, 528);
    assert_int_equal(pop(), VIRTQ_EMPTY);
}

static void the_last_byte_to_write_is_found_behind_empty_buffers(void **state)
{
    const struct driver_buffer buffers[] = {
        {BUFFERS, 16, false}, {BUFFERS + 64, 8, true}, {ARENA_SPLIT - 1, 1, true}, {BUFFERS + 128, 0, true}};

    (void)state;
    driver_add(&driver, buffers, 4);
    assert_int_equal(pop(), VIRTQ_CHAIN);
    assert_true(virtq_put_last(&arena.memory, &chain, 0x5a));
    assert_int_equal(arena_get(&arena, ARENA_SPLIT - 1, 1), 0x5a);
    chain.writable--;                            /* without the empty one */
    chain.spans[2].start = gpa(ARENA_BYTES - 1); /* and in the other piece of RAM */
    assert_true(virtq_put_last(&arena.memory, &chain, 0x77));
    assert_int_equal(arena_get(&arena, ARENA_BYTES - 1, 1), 0x77);
    chain.writable = 0;
    assert_false(virtq_put_last(&arena.memory, &chain, 1));
}

static void a_chain_that_was_put_back_comes_again(void **state)
{
    const struct driver_buffer buffer = {BUFFERS, 64, true};
    uint16_t head = driver_add(&driver, &buffer, 1);

    (void)state;
    assert_int_equal(pop(), VIRTQ_CHAIN);
    virtq_unpop(&queue);
    assert_int_equal(pop(), VIRTQ_CHAIN);
    assert_int_equal(chain.head, head);
    assert_int_equal(pop(), VIRTQ_EMPTY);
}

static void an_indirect_table_is_followed_where_it_was_negotiated(void **state)
{
    struct driver_buffer buffers[SIZE];

    (void)state;
    for (unsigned i = 0; i < SIZE; i++) {
        buffers[i] = (struct driver_buffer){BUFFERS + 4096 * i, 100 + i, i >= 4};
    }
    queue.indirect = true;
    driver_add_indirect(&driver, ARENA_SPLIT - 40, buffers, SIZE); /* a descriptor lies across the border */
    assert_int_equal(pop(), VIRTQ_CHAIN);
    assert_int_equal(chain.readable, 4);
    assert_int_equal(chain.writable, SIZE - 4);
    for (unsigned i = 0; i < SIZE; i++) {
        assert_int_equal(chain.spans[i].start.value, buffers[i].address);
        assert_int_equal(chain.spans[i].bytes, buffers[i].bytes);
    }
}

/* ---- notifications ---- */

static void flags_suppress_interrupts_and_notifications(void **state)
{
    const struct driver_buffer buffer = {BUFFERS, 64, true};

    (void)state;
    driver_add(&driver, &buffer, 1);
    assert_false(virtq_wants_interrupt(&queue, &arena.memory)); /* nothing was pushed */
    assert_int_equal(pop(), VIRTQ_CHAIN);
    virtq_push(&queue, &arena.memory, chain.head, 0);
    assert_true(virtq_wants_interrupt(&queue, &arena.memory));
    assert_false(virtq_wants_interrupt(&queue, &arena.memory));
    driver_add(&driver, &buffer, 1);
    assert_int_equal(pop(), VIRTQ_CHAIN);
    virtq_push(&queue, &arena.memory, chain.head, 0);
    arena_put(&arena, driver.available, 1, 2);
    assert_false(virtq_wants_interrupt(&queue, &arena.memory));
    virtq_disarm(&queue, &arena.memory);
    assert_int_equal(arena_get(&arena, driver.used, 2), 1);
    assert_false(virtq_rearm(&queue, &arena.memory));
    assert_int_equal(arena_get(&arena, driver.used, 2), 0);
    driver_add(&driver, &buffer, 1);
    assert_true(virtq_rearm(&queue, &arena.memory));
}

static void event_indices_say_when_to_interrupt(void **state)
{
    const struct driver_buffer buffer = {BUFFERS, 64, true};
    uint64_t used_event = driver.available + 4 + 2 * SIZE;
    uint64_t available_event = driver.used + 4 + 8 * SIZE;
    uint16_t head;
    uint32_t written;

    (void)state;
    queue.event_index = true;
    for (unsigned round = 0; round < 70000; round++) { /* the indices wrap */
        bool wanted = round % 3 == 0;

        arena_put(&arena, used_event, (uint16_t)(wanted ? round : round + 5), 2);
        driver_add(&driver, &buffer, 1);
        assert_true(virtq_rearm(&queue, &arena.memory));
        assert_int_equal(pop(), VIRTQ_CHAIN);
        assert_false(virtq_rearm(&queue, &arena.memory));
        assert_int_equal(arena_get(&arena, available_event, 2), (uint16_t)(round + 1));
        virtq_push(&queue, &arena.memory, chain.head, 0);
        assert_int_equal(virtq_wants_interrupt(&queue, &arena.memory), wanted);
        assert_true(driver_take(&driver, &head, &written));
    }
}

static void one_interrupt_serves_a_batch(void **state)
{
    const struct driver_buffer buffer = {BUFFERS, 64, true};

    (void)state;
    queue.event_index = true;
    arena_put(&arena, driver.available + 4 + 2 * SIZE, 3, 2); /* when the fourth is used */
    for (unsigned i = 0; i < 6; i++) {
        driver_add(&driver, &buffer, 1);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pop(), VIRTQ_CHAIN);
        virtq_push(&queue, &arena.memory, chain.head, 0);
    }
    assert_false(virtq_wants_interrupt(&queue, &arena.memory));
    while (pop() == VIRTQ_CHAIN) {
        virtq_push(&queue, &arena.memory, chain.head, 0);
    }
    assert_true(virtq_wants_interrupt(&queue, &arena.memory));
}

/* ---- rules ---- */

static void expect_fault(enum virtq_fault fault)
{
    assert_int_equal(pop(), VIRTQ_BROKEN);
    assert_int_equal(queue.fault, fault);
    assert_int_equal(pop(), VIRTQ_BROKEN); /* for good */
    assert_non_null(virtq_fault_sentence(fault));
    assert_int_equal(arena_get(&arena, driver.used + 2, 2), 0);
}

static void descriptor(unsigned index, uint64_t address, uint32_t bytes, uint32_t flags, unsigned next)
{
    driver_descriptor(&arena, driver.descriptors, index, address, bytes, flags, next);
}

static void a_loop_ends(void **state)
{
    (void)state;
    descriptor(0, BUFFERS, 16, DRIVER_NEXT, 1);
    descriptor(1, BUFFERS, 16, DRIVER_NEXT, 0);
    driver_publish(&driver, 0);
    expect_fault(VIRTQ_CHAIN_LONG);
}

static void heads_and_links_stay_inside(void **state)
{
    (void)state;
    driver_publish(&driver, SIZE);
    expect_fault(VIRTQ_HEAD_BEYOND);
    setup(state);
    descriptor(0, BUFFERS, 16, DRIVER_NEXT, SIZE);
    driver_publish(&driver, 0);
    expect_fault(VIRTQ_NEXT_BEYOND);
}

static void the_index_does_not_jump(void **state)
{
    (void)state;
    arena_put(&arena, driver.available + 2, SIZE + 1, 2);
    expect_fault(VIRTQ_AVAIL_JUMPS);
}

static void buffers_are_ram(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t bytes;
    } outside[] = {{ARENA_BYTES, 1}, {ARENA_BYTES - 1, 2},   {0xfee00000, 4},
                   {~0ULL, 1},       {~0ULL - 15, 0x100},    {1ULL << 52, 16},
                   {0, 0xffffffff},  {ARENA_SPLIT, 1 << 20}, {0xe0000000, 4096}};

    for (unsigned i = 0; i < ARRAY_COUNT(outside); i++) {
        setup(state);
        descriptor(0, outside[i].address, outside[i].bytes, DRIVER_WRITE, 0);
        driver_publish(&driver, 0);
        expect_fault(VIRTQ_BUFFER_NOT_RAM);
    }
}

static void what_is_read_comes_first(void **state)
{
    (void)state;
    descriptor(0, BUFFERS, 16, DRIVER_NEXT | DRIVER_WRITE, 1);
    descriptor(1, BUFFERS, 16, 0, 0);
    driver_publish(&driver, 0);
    expect_fault(VIRTQ_ORDER);
}

static void a_chain_has_at_most_4_gib(void **state)
{
    struct guest_memory large = {
        .ranges = {{gpa(0), hpa(0), 1ULL << 40}}, .range_count = 1, .window = arena.memory.window};

    (void)state;
    driver_queue_init(&driver, &arena, 0x1000, SIZE);
    driver_place(&driver, &queue);
    assert_true(virtq_enable(&queue, &arena.memory));
    descriptor(0, BUFFERS, 0xffffffff, DRIVER_NEXT, 1);
    descriptor(1, BUFFERS, 2, 0, 0);
    driver_publish(&driver, 0);
    assert_int_equal(virtq_pop(&queue, &large, &chain), VIRTQ_BROKEN);
    assert_int_equal(queue.fault, VIRTQ_CHAIN_BYTES);
}

static void indirect_tables_obey(void **state)
{
    struct driver_buffer buffers[SIZE + 1];

    for (unsigned i = 0; i <= SIZE; i++) {
        buffers[i] = (struct driver_buffer){BUFFERS, 16, false};
    }
    driver_add_indirect(&driver, TABLE, buffers, 2); /* not negotiated */
    expect_fault(VIRTQ_INDIRECT_REFUSED);

    setup(state);
    queue.indirect = true;
    driver_add_indirect(&driver, TABLE, buffers, SIZE + 1);
    expect_fault(VIRTQ_CHAIN_LONG);

    setup(state);
    queue.indirect = true;
    driver_add_indirect(&driver, TABLE, buffers, 2);
    driver_descriptor(&arena, TABLE, 1, TABLE, 16, DRIVER_INDIRECT, 0); /* in another one */
    expect_fault(VIRTQ_INDIRECT_REFUSED);

    setup(state);
    queue.indirect = true;
    descriptor(0, TABLE, 32, DRIVER_INDIRECT | DRIVER_NEXT, 1);
    driver_publish(&driver, 0);
    expect_fault(VIRTQ_INDIRECT_REFUSED);

    for (uint32_t bytes = 0; bytes <= 24; bytes += 8) {
        setup(state);
        queue.indirect = true;
        descriptor(0, TABLE, bytes == 16 ? 17 : bytes, DRIVER_INDIRECT, 0);
        driver_publish(&driver, 0);
        expect_fault(VIRTQ_INDIRECT_BYTES);
    }

    setup(state);
    queue.indirect = true;
    descriptor(0, ARENA_BYTES - 16, 32, DRIVER_INDIRECT, 0);
    driver_publish(&driver, 0);
    expect_fault(VIRTQ_BUFFER_NOT_RAM);
}

static void rings_are_ram_aligned_and_of_a_known_size(void **state)
{
    (void)state;
    driver_place(&driver, &queue);
    queue.used = ARENA_BYTES - 8;
    assert_false(virtq_enable(&queue, &arena.memory));
    assert_int_equal(queue.fault, VIRTQ_RING_NOT_RAM);
    driver_place(&driver, &queue);
    queue.available = 0xfffffffffffffffeULL;
    assert_false(virtq_enable(&queue, &arena.memory));
    driver_place(&driver, &queue);
    queue.descriptors += 8;
    assert_false(virtq_enable(&queue, &arena.memory));
    assert_int_equal(queue.fault, VIRTQ_RING_MISALIGNED);
    for (uint16_t size = 0; size < 1000; size += size < 4 ? 3 : 509) {
        driver_place(&driver, &queue);
        queue.size = size;
        assert_false(virtq_enable(&queue, &arena.memory));
        assert_int_equal(queue.fault, VIRTQ_SIZE_BAD);
        assert_int_equal(pop(), VIRTQ_BROKEN);
    }
}

/* ---- a random driver ---- */

static uint32_t random_state;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* The device returns what the chain's readable part holds, plus one, in the writable part. */
static void echo(void)
{
    uint8_t bytes[4096];
    struct virtq_cursor from = virtq_readable(&chain), to = virtq_writable(&chain);
    uint64_t count = virtq_gather(&arena.memory, &chain, &from, bytes, sizeof(bytes));

    for (uint64_t i = 0; i < count; i++) {
        bytes[i]++;
    }
    assert_int_equal(virtq_scatter(&arena.memory, &chain, &to, bytes, count), count);
    virtq_push(&queue, &arena.memory, chain.head, (uint32_t)count);
}

static void a_random_driver_gets_everything_back(void **state)
{
    uint64_t where[SIZE] = {0};
    uint32_t length[SIZE] = {0};
    unsigned done = 0, sent = 0;

    (void)state;
    random_state = 7;
    queue.indirect = true;
    while (done < 20000) {
        struct driver_buffer buffers[4];
        uint32_t bytes = 1 + next_random(200);
        uint64_t at = BUFFERS + 1024u * (sent % 64);
        uint16_t head;
        uint32_t written;
        uint32_t cut = next_random(bytes + 1);

        buffers[0] = (struct driver_buffer){at, cut, false};
        buffers[1] = (struct driver_buffer){at + cut, bytes - cut, false};
        buffers[2] = (struct driver_buffer){at + 512, bytes - cut, true};
        buffers[3] = (struct driver_buffer){at + 512 + bytes - cut, cut, true};
        for (unsigned i = 0; i < bytes; i++) {
            arena_put(&arena, at + i, (uint8_t)(sent + i), 1);
        }
        head = next_random(2) == 0 ? driver_add(&driver, buffers, 4)
                                   : driver_add_indirect(&driver, TABLE + 128u * (sent % 64), buffers, 4);
        if (head != 0xffff) {
            where[head] = at | (uint64_t)(uint8_t)sent << 48;
            length[head] = bytes;
            sent++;
        }
        while ((head == 0xffff || next_random(3) == 0) && pop() == VIRTQ_CHAIN) {
            echo();
            assert_true(driver_take(&driver, &head, &written));
            assert_int_equal(written, length[head]);
            for (unsigned i = 0; i < written; i++) {
                assert_int_equal(arena_get(&arena, (where[head] & 0xffffffff) + 512 + i, 1),
                                 (uint8_t)((where[head] >> 48) + i + 1));
            }
            done++;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_legacy_layout_is_the_drivers, setup),
        cmocka_unit_test_setup(a_chain_goes_there_and_back, setup),
        cmocka_unit_test_setup(the_last_byte_to_write_is_found_behind_empty_buffers, setup),
        cmocka_unit_test_setup(a_chain_that_was_put_back_comes_again, setup),
        cmocka_unit_test_setup(an_indirect_table_is_followed_where_it_was_negotiated, setup),
        cmocka_unit_test_setup(flags_suppress_interrupts_and_notifications, setup),
        cmocka_unit_test_setup(event_indices_say_when_to_interrupt, setup),
        cmocka_unit_test_setup(one_interrupt_serves_a_batch, setup),
        cmocka_unit_test_setup(a_loop_ends, setup),
        cmocka_unit_test_setup(heads_and_links_stay_inside, setup),
        cmocka_unit_test_setup(the_index_does_not_jump, setup),
        cmocka_unit_test_setup(buffers_are_ram, setup),
        cmocka_unit_test_setup(what_is_read_comes_first, setup),
        cmocka_unit_test_setup(a_chain_has_at_most_4_gib, setup),
        cmocka_unit_test_setup(indirect_tables_obey, setup),
        cmocka_unit_test_setup(rings_are_ram_aligned_and_of_a_known_size, setup),
        cmocka_unit_test_setup(a_random_driver_gets_everything_back, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
