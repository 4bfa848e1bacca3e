/* SPDX-License-Identifier: MIT */
/* Mistakes that shipped in other page-table code, each as the promise that this one does not make it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/mm/page_table_visit.h"
#include "tests/unit/page_table_arena.h"

FOR_EACH_FORMAT(unmap_goes_on_behind_a_hole_at_the_right_address)
{
    /* The range begins in the middle of a hole of 1 GiB, in the middle of a hole of 2 MiB, in a page. */
    arena_map(arena, 2 * GIB, 0, 8 * MIB);
    arena_map(arena, 2 * GIB + 8 * MIB, 4 * KIB, 16 * KIB);
    arena_unmap(arena, GIB + 4 * KIB, GIB + 8 * MIB);
    arena_expect_hole(arena, 2 * GIB);
    arena_expect_hole(arena, 2 * GIB + 8 * MIB - 1);
    arena_expect_hole(arena, 2 * GIB + 8 * MIB);
    arena_expect(arena, 2 * GIB + 8 * MIB + 4 * KIB, 8 * KIB, LEVEL_4K);
    arena_unmap(arena, GIB + 4 * KIB, GIB + 8 * MIB + 12 * KIB);
    arena_expect_hole(arena, 2 * GIB + 8 * MIB + 12 * KIB);
    assert_int_equal(arena_used(arena), 1);
}

FOR_EACH_FORMAT(a_4k_hole_in_a_1g_leaf_costs_two_tables)
{
    uint64_t before, counted;

    arena_map(arena, 0, GIB, 2 * GIB);
    before = arena_used(arena);
    assert_int_equal(page_table_unmap_count(&arena->tree, GIB + 12 * KIB, 4 * KIB, &counted), STATUS_OK);
    assert_int_equal(counted, 2);
    arena_unmap(arena, GIB + 12 * KIB, 4 * KIB);
    assert_int_equal(arena_used(arena) - before, 2);
    arena_expect_hole(arena, GIB + 12 * KIB);
    arena_expect(arena, GIB + 8 * KIB, 2 * GIB + 8 * KIB, LEVEL_4K);
    arena_expect(arena, GIB + 16 * KIB, 2 * GIB + 16 * KIB, LEVEL_4K);
    arena_expect(arena, GIB + 2 * MIB, 2 * GIB + 2 * MIB, LEVEL_2M);
}

FOR_EACH_FORMAT(a_4k_map_inside_a_large_leaf_does_not_take_the_data_for_a_table)
{
    /* The leaf's memory is in the arena itself, so a walk into it would be seen: it is filled with a pattern. */
    uint64_t data = align_up(ARENA_START + ARENA_PAGES / 2 * PAGE_BYTES, 2 * MIB);
    uint8_t *bytes = arena_bytes + (data - ARENA_START);

    memset(bytes, 0x67, 2 * MIB); /* as entries: present, and addresses that lead nowhere */
    arena_map(arena, 4 * MIB, data, 2 * MIB);
    arena_map(arena, 4 * MIB + 8 * KIB, 6 * GIB, 4 * KIB);
    arena_expect(arena, 4 * MIB + 8 * KIB, 6 * GIB, LEVEL_4K);
    arena_expect(arena, 4 * MIB, data, LEVEL_4K);
    arena_expect(arena, 6 * MIB - 1, data + 2 * MIB - 1, LEVEL_4K);
    for (uint32_t i = 0; i < 2 * MIB; i++) {
        assert_int_equal(bytes[i], 0x67);
    }
}

FOR_EACH_FORMAT(a_4k_unmap_leaves_the_rest_of_the_large_leaf)
{
    arena_map(arena, 2 * MIB, 4 * MIB, 2 * MIB);
    arena_unmap(arena, 2 * MIB, 4 * KIB);
    arena_expect_hole(arena, 2 * MIB);
    for (uint64_t at = 4 * KIB; at < 2 * MIB; at += 4 * KIB) {
        arena_expect(arena, 2 * MIB + at, 4 * MIB + at, LEVEL_4K);
    }
}

FOR_EACH_FORMAT(a_large_leaf_over_tables_gives_the_tables_back)
{
    uint64_t empty_path;

    arena_map(arena, 0, 0, GIB);
    empty_path = arena_used(arena);
    for (uint64_t at = 0; at < 64 * MIB; at += 2 * MIB) {
        arena_map(arena, at, 5 * GIB, 4 * KIB);
    }
    assert_int_equal(arena_used(arena), empty_path + 33);
    arena_map(arena, 0, GIB, GIB);
    arena_expect(arena, 0, GIB, LEVEL_1G);
    assert_int_equal(arena_used(arena), empty_path);
}

/* Rights and type of what is left around a hole, for each right and type, and each size that is split. */
static void expect_split_keeps(struct arena *arena, struct page_attributes given, uint64_t bytes)
{
    struct page_lookup before, after;

    arena_unmap(arena, 0, 8 * GIB);
    assert_int_equal(page_table_map(&arena->tree, 4 * GIB, hpa(2 * GIB), bytes, given, LEVEL_1G, NULL), STATUS_OK);
    page_table_lookup(&arena->tree, 4 * GIB + 8 * KIB, &before);
    arena_unmap(arena, 4 * GIB, 4 * KIB);
    for (uint64_t at = 8 * KIB; at < bytes; at = at * 2) {
        page_table_lookup(&arena->tree, 4 * GIB + at, &after);
        assert_true(after.present);
        assert_int_equal(after.to.value, 2 * GIB + at);
        assert_true(arena_same(&after.attributes, &before.attributes));
    }
}

FOR_EACH_FORMAT(a_split_keeps_the_memory_type_and_the_rights)
{
    for (uint32_t bits = 0; bits < 8; bits++) {
        for (uint32_t cache = 0; cache <= CACHE_WB; cache++) {
            struct page_attributes given;

            memset(&given, 0, sizeof(given));
            given.read = true;
            given.write = bits & 1;
            given.execute = bits & 2;
            given.user = bits & 4;
            given.cache = (enum cache_type)cache;
            expect_split_keeps(arena, given, 2 * MIB);
            expect_split_keeps(arena, given, GIB);
        }
    }
}

FOR_EACH_FORMAT(a_split_keeps_accessed_and_dirty)
{
    struct page_lookup found;

    arena_map(arena, 0, 0, GIB);
    assert_int_equal(page_table_mark(&arena->tree, 5 * MIB, PAGE_ACCESSED | PAGE_DIRTY), STATUS_OK);
    arena_unmap(arena, 0, 4 * KIB);
    page_table_lookup(&arena->tree, 4 * KIB, &found);
    assert_true(found.accessed && found.dirty);
    page_table_lookup(&arena->tree, 5 * MIB, &found);
    assert_true(found.accessed && found.dirty);
}

FOR_EACH_FORMAT(everything_is_given_back_when_regions_above_the_first_remain)
{
    for (uint64_t at = 0; at < 16; at++) {
        arena_map(arena, at * 100 * GIB + at * 4 * KIB, GIB, 8 * KIB);
    }
    arena_unmap(arena, 0, 90 * GIB);
    arena_expect(arena, 700 * GIB + 28 * KIB, GIB, LEVEL_4K);
    /* arena_end destroys the rest and checks the count. */
}

FOR_EACH_FORMAT(a_partly_filled_table_is_given_back)
{
    arena_map(arena, 3 * GIB + 7 * MIB + 4 * KIB, GIB, 4 * KIB);
    arena_map(arena, 3 * GIB + 7 * MIB + 64 * KIB, GIB, 4 * KIB);
    arena_unmap(arena, 3 * GIB + 7 * MIB, 16 * KIB);
    arena_expect(arena, 3 * GIB + 7 * MIB + 64 * KIB, GIB, LEVEL_4K);
    arena_unmap(arena, 3 * GIB + 7 * MIB + 64 * KIB, 4 * KIB);
    assert_int_equal(arena_used(arena), 1);
}

FOR_EACH_FORMAT(a_map_over_another_page_replaces_it)
{
    enum page_flush flush;

    arena_map(arena, 4 * KIB, 4 * KIB, 8 * KIB);
    assert_int_equal(page_table_map(&arena->tree, 8 * KIB, hpa(GIB), 4 * KIB, arena_ro, LEVEL_4K, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_RANGE);
    arena_expect(arena, 8 * KIB, GIB, LEVEL_4K);
    arena_expect(arena, 4 * KIB, 4 * KIB, LEVEL_4K);
}

FOR_EACH_FORMAT(overlapping_populate_takes_each_table_once)
{
    uint64_t counted, used;

    assert_int_equal(page_table_populate(&arena->tree, 0, 5 * MIB, LEVEL_4K, NULL), STATUS_OK);
    used = arena_used(arena);
    assert_int_equal(page_table_populate_count(&arena->tree, 3 * MIB, 5 * MIB, LEVEL_4K, &counted), STATUS_OK);
    assert_int_equal(counted, 1);
    assert_int_equal(page_table_populate(&arena->tree, 3 * MIB, 5 * MIB, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used + 1);
    assert_int_equal(page_table_populate(&arena->tree, 0, 8 * MIB, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used + 1);
    assert_int_equal(page_table_vacate(&arena->tree, 0, 8 * MIB, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), 1);
}

/* --- how long something takes, in instructions: the processor stops after each --- */

static uint64_t steps;

static void on_step(int number)
{
    (void)number;
    steps++;
}

/* Below what the compiler may keep under the stack pointer. */
static void trap_flag_flip(void)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; xorl $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
                         : "memory", "cc");
}

FOR_EACH_FORMAT(unmapping_what_was_never_mapped_looks_at_no_page)
{
    enum status status;

    arena_map(arena, 80 * GIB, 0, 4 * KIB);
    signal(SIGTRAP, on_step);
    steps = 0;
    trap_flag_flip();
    status = page_table_unmap(&arena->tree, 0, 64 * GIB, NULL);
    trap_flag_flip();
    assert_int_equal(status, STATUS_OK);
    assert_in_range(steps, 64, 20000); /* there are 2^24 pages */
}

/* A copy of all tables and the pool, to compare after an operation that must have changed nothing. */
static uint8_t copy[sizeof(arena_bytes)];

static void expect_no_memory_and_no_change(struct arena *arena, uint64_t address, uint64_t bytes)
{
    struct table_pool pool = arena->pool;

    memcpy(copy, arena_bytes, sizeof(copy));
    assert_int_equal(page_table_map(&arena->tree, address, hpa(4 * KIB), bytes, arena_rwx, LEVEL_4K, NULL),
                     STATUS_NO_MEMORY);
    assert_int_equal(page_table_unmap(&arena->tree, 8 * KIB, 2 * GIB, NULL), STATUS_NO_MEMORY);
    assert_int_equal(page_table_protect(&arena->tree, 8 * KIB, 2 * GIB, arena_ro, NULL), STATUS_NO_MEMORY);
    assert_int_equal(page_table_populate(&arena->tree, 0, 64 * MIB, LEVEL_4K, NULL), STATUS_NO_MEMORY);
    assert_memory_equal(&pool, &arena->pool, sizeof(pool));
    assert_memory_equal(copy, arena_bytes, sizeof(copy));
}

static void when_memory_runs_out_no_part_of_a_map_is_left_behind(void **state)
{
    struct arena arena;

    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        arena_start_with(&arena, arena_formats[i], &arena_caps, 3 + i % 2); /* one table is left after the map */
        arena_map(&arena, 0, 0, 4 * GIB);
        expect_no_memory_and_no_change(&arena, 0, 16 * MIB);
        expect_no_memory_and_no_change(&arena, 600 * GIB, 16 * MIB);
        arena_end(&arena);
    }
}

FOR_EACH_FORMAT(punch_and_restore_ends_with_the_tree_it_started_from)
{
    uint64_t used;

    arena_map(arena, 0, 4 * GIB, 4 * GIB);
    arena_map(arena, 4 * GIB, 2 * MIB, 64 * MIB);
    used = arena_used(arena);
    memcpy(copy, arena_bytes, used * PAGE_BYTES);
    for (uint32_t i = 0; i < 8; i++) {
        arena_unmap(arena, i * 509 * MIB, 4 * KIB);
    }
    arena_unmap(arena, 4 * GIB + 5 * MIB, 12 * KIB);
    assert_true(arena_used(arena) > used);
    for (uint32_t i = 0; i < 8; i++) {
        arena_map(arena, i * 509 * MIB, 4 * GIB + i * 509 * MIB, 4 * KIB);
    }
    arena_map(arena, 4 * GIB + 5 * MIB, 7 * MIB, 12 * KIB);
    assert_int_equal(page_table_coalesce(&arena->tree, 0, 8 * GIB, LEVEL_1G, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used);
    assert_memory_equal(copy, arena_bytes, used * PAGE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unmap_goes_on_behind_a_hole_at_the_right_address),
        cmocka_unit_test(a_4k_hole_in_a_1g_leaf_costs_two_tables),
        cmocka_unit_test(a_4k_map_inside_a_large_leaf_does_not_take_the_data_for_a_table),
        cmocka_unit_test(a_4k_unmap_leaves_the_rest_of_the_large_leaf),
        cmocka_unit_test(a_large_leaf_over_tables_gives_the_tables_back),
        cmocka_unit_test(a_split_keeps_the_memory_type_and_the_rights),
        cmocka_unit_test(a_split_keeps_accessed_and_dirty),
        cmocka_unit_test(everything_is_given_back_when_regions_above_the_first_remain),
        cmocka_unit_test(a_partly_filled_table_is_given_back),
        cmocka_unit_test(a_map_over_another_page_replaces_it),
        cmocka_unit_test(overlapping_populate_takes_each_table_once),
        cmocka_unit_test(unmapping_what_was_never_mapped_looks_at_no_page),
        cmocka_unit_test(when_memory_runs_out_no_part_of_a_map_is_left_behind),
        cmocka_unit_test(punch_and_restore_ends_with_the_tree_it_started_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
