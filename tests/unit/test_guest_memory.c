/* SPDX-License-Identifier: MIT */
/* Promises of the access to guest memory: no guest address leads out of the guest's ranges, copies are whole or not. */
#include "hv/mm/guest_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Two ranges that touch in guest addresses and not in the host, and one after a hole. */
#define HOST_BASE 0x7654321000ULL
static uint8_t arena[6 * PAGE_BYTES];
static struct guest_memory memory;

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(arena); i++) {
        arena[i] = (uint8_t)(i / PAGE_BYTES + 1);
    }
    memory = (struct guest_memory){
        .ranges = {{gpa(0), hpa(HOST_BASE + 3 * PAGE_BYTES), 2 * PAGE_BYTES},
                   {gpa(2 * PAGE_BYTES), hpa(HOST_BASE), PAGE_BYTES},
                   {gpa(0x100000000), hpa(HOST_BASE + PAGE_BYTES), PAGE_BYTES}},
        .range_count = 3,
        .window = (uint64_t)(uintptr_t)arena - HOST_BASE,
    };
    return 0;
}

static void a_pointer_lies_behind_its_guest_address(void **state)
{
    (void)state;
    assert_ptr_equal(guest_memory_pointer(&memory, gpa(0), 2 * PAGE_BYTES), arena + 3 * PAGE_BYTES);
    assert_ptr_equal(guest_memory_pointer(&memory, gpa(0x1fff), 1), arena + 3 * PAGE_BYTES + 0x1fff);
    assert_ptr_equal(guest_memory_pointer(&memory, gpa(2 * PAGE_BYTES), PAGE_BYTES), arena);
    assert_ptr_equal(guest_memory_pointer(&memory, gpa(0x100000ff8), 8), arena + PAGE_BYTES + 0xff8);
}

static void no_pointer_leads_out_of_a_range(void **state)
{
    static const struct {
        uint64_t start, bytes;
    } bad[] = {
        {0x1fff, 2},
        {0, 3 * PAGE_BYTES},
        {0x3000, 1},
        {0xffffffff, 1},
        {0x100001000, 1},
        {0x100000ff9, 8},
        {UINT64_MAX, 1},
        {UINT64_MAX, 2},
        {0, UINT64_MAX},
        {0x1000, UINT64_MAX},
        {UINT64_MAX - 7, 8},
        {0x8000000000000000, 8},
        {0x1000, UINT64_MAX - 0xfff},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_null(guest_memory_pointer(&memory, gpa(bad[i].start), bad[i].bytes));
    }
    memory.range_count = 0;
    assert_null(guest_memory_pointer(&memory, gpa(0), 1));
}

/* Of the first range it is guest_memory_pointer(), and of nothing else it is anything. */
static void the_quick_pointer_is_the_pointer_in_the_first_range_alone(void **state)
{
    static const uint64_t starts[] = {0, 0x1000, 0x1fff, 2 * PAGE_BYTES, 0x100000000, UINT64_MAX};
    static const uint64_t sizes[] = {0, 1, 2, PAGE_BYTES, 2 * PAGE_BYTES, 2 * PAGE_BYTES + 1, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(starts) * ARRAY_COUNT(sizes); i++) {
        uint64_t start = starts[i / ARRAY_COUNT(sizes)], bytes = sizes[i % ARRAY_COUNT(sizes)];
        const void *wanted = start < 2 * PAGE_BYTES ? guest_memory_pointer(&memory, gpa(start), bytes) : NULL;

        assert_ptr_equal(guest_memory_quick(&memory, start, bytes), wanted);
    }
}

static void copies_cross_range_borders(void **state)
{
    uint8_t bytes[3 * PAGE_BYTES];

    (void)state;
    assert_true(guest_memory_read(&memory, gpa(0x1800), bytes, 0x1000));
    assert_int_equal(bytes[0x7ff], 5);
    assert_int_equal(bytes[0x800], 1);
    memset(bytes, 0xee, sizeof(bytes));
    assert_true(guest_memory_write(&memory, gpa(0), bytes, sizeof(bytes)));
    assert_int_equal(arena[0], 0xee);
    assert_int_equal(arena[5 * PAGE_BYTES - 1], 0xee);
    assert_int_equal(arena[PAGE_BYTES], 2);
    assert_int_equal(arena[5 * PAGE_BYTES], 6);
    assert_true(guest_memory_zero(&memory, gpa(0x1fff), 2));
    assert_int_equal(arena[5 * PAGE_BYTES - 1], 0);
    assert_int_equal(arena[0], 0);
    assert_int_equal(arena[1], 0xee);
}

static void a_copy_that_leaves_ram_changes_nothing(void **state)
{
    static uint8_t before[sizeof(arena)];
    uint8_t bytes[0x2000] = {0};

    (void)state;
    memcpy(before, arena, sizeof(arena));
    assert_false(guest_memory_write(&memory, gpa(0x2800), bytes, 0x1000));
    assert_false(guest_memory_zero(&memory, gpa(0x2fff), 2));
    assert_false(guest_memory_zero(&memory, gpa(0x1000), UINT64_MAX));
    assert_false(guest_memory_zero(&memory, gpa(0), UINT64_MAX));
    assert_false(guest_memory_read(&memory, gpa(0x100000fff), bytes, 2));
    assert_false(guest_memory_read(&memory, gpa(UINT64_MAX), bytes, 2));
    assert_memory_equal(before, arena, sizeof(arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pointer_lies_behind_its_guest_address, setup),
        cmocka_unit_test_setup(no_pointer_leads_out_of_a_range, setup),
        cmocka_unit_test_setup(the_quick_pointer_is_the_pointer_in_the_first_range_alone, setup),
        cmocka_unit_test_setup(copies_cross_range_borders, setup),
        cmocka_unit_test_setup(a_copy_that_leaves_ram_changes_nothing, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
