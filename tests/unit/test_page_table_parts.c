/* SPDX-License-Identifier: MIT */
/* Promises of populate, vacate, coalesce, walk, visit, dump, compare, accessed and dirty, and the concurrent map. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hv/mm/page_table_find.h"
#include "hv/mm/page_table_visit.h"
#include "tests/unit/page_table_arena.h"

/* --- populate, vacate, coalesce --- */

FOR_EACH_FORMAT(a_map_in_a_populated_range_takes_no_table)
{
    uint64_t used;

    assert_int_equal(page_table_populate(&arena->tree, GIB, 4 * MIB, LEVEL_4K, NULL), STATUS_OK);
    used = arena_used(arena);
    arena_expect_hole(arena, GIB);
    arena_map(arena, GIB, 8 * GIB, 4 * MIB);
    arena_expect(arena, GIB, 8 * GIB, LEVEL_4K); /* populated tables stay, so leaves have their size */
    arena_unmap(arena, GIB, 4 * MIB);
    arena_unmap(arena, 0, 8 * GIB);
    arena_map(arena, 0, 0, 8 * GIB);
    arena_expect(arena, GIB + 5, GIB + 5, LEVEL_4K);
    arena_expect(arena, GIB + 4 * MIB, GIB + 4 * MIB, LEVEL_2M);
    arena_expect(arena, 2 * GIB, 2 * GIB, LEVEL_1G);
    assert_int_equal(arena_used(arena), used);
    arena_unmap(arena, 0, 8 * GIB);
    assert_int_equal(arena_used(arena), used);
}

FOR_EACH_FORMAT(populating_nothing_does_nothing)
{
    uint64_t counted = 1;

    assert_int_equal(page_table_populate_count(&arena->tree, GIB, 0, LEVEL_4K, &counted), STATUS_OK);
    assert_int_equal(counted, 0);
    assert_int_equal(page_table_populate(&arena->tree, GIB, 0, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), 1);
}

FOR_EACH_FORMAT(vacate_gives_back_what_is_empty_and_keeps_what_is_mapped)
{
    enum page_flush flush;

    assert_int_equal(page_table_populate(&arena->tree, 0, 4 * MIB, LEVEL_4K, NULL), STATUS_OK);
    arena_map(arena, 8 * KIB, GIB, 4 * KIB);
    assert_int_equal(page_table_vacate(&arena->tree, 0, 4 * MIB, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_ALL);
    arena_expect(arena, 8 * KIB, GIB, LEVEL_4K);
    arena_unmap(arena, 8 * KIB, 4 * KIB);
    assert_int_equal(arena_used(arena), 1);
}

FOR_EACH_FORMAT(vacate_of_a_part_leaves_the_other_part_populated)
{
    uint64_t counted = 1;

    assert_int_equal(page_table_populate(&arena->tree, 0, 4 * MIB, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(page_table_vacate(&arena->tree, 0, 4 * KIB, NULL), STATUS_OK);
    assert_int_equal(page_table_map_count(&arena->tree, 2 * MIB, hpa(0), 2 * MIB, LEVEL_4K, &counted), STATUS_OK);
    assert_int_equal(counted, 0);
    assert_int_equal(page_table_map_count(&arena->tree, 0, hpa(0), 4 * KIB, LEVEL_4K, &counted), STATUS_OK);
    assert_int_equal(counted, 1);
}

FOR_EACH_FORMAT(coalesce_keeps_what_is_not_uniform)
{
    uint64_t used;

    arena_map(arena, 0, GIB, 4 * MIB);
    assert_int_equal(page_table_protect(&arena->tree, 4 * KIB, 4 * KIB, arena_ro, NULL), STATUS_OK);
    used = arena_used(arena);
    assert_int_equal(page_table_coalesce(&arena->tree, 0, 4 * MIB, LEVEL_1G, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used);
    assert_int_equal(page_table_protect(&arena->tree, 4 * KIB, 4 * KIB, arena_rwx, NULL), STATUS_OK);
    assert_int_equal(page_table_coalesce(&arena->tree, 0, 4 * MIB, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used);
    assert_int_equal(page_table_coalesce(&arena->tree, 0, 4 * MIB, LEVEL_2M, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used - 1);
    arena_expect(arena, 4 * KIB, GIB + 4 * KIB, LEVEL_2M);
    /* Contiguous, but not aligned as the larger page must be. */
    arena_map(arena, 8 * MIB, GIB + 4 * KIB, 2 * MIB);
    used = arena_used(arena);
    assert_int_equal(page_table_coalesce(&arena->tree, 8 * MIB, 4 * KIB, LEVEL_2M, NULL), STATUS_OK);
    assert_int_equal(arena_used(arena), used);
}

FOR_EACH_FORMAT(coalesce_keeps_the_accessed_and_dirty_bits_of_all)
{
    struct page_lookup found;

    arena_map(arena, 0, 0, 2 * MIB);
    arena_unmap(arena, 4 * KIB, 4 * KIB);
    arena_map(arena, 4 * KIB, 4 * KIB, 4 * KIB);
    assert_int_equal(page_table_mark(&arena->tree, 9 * KIB, PAGE_DIRTY), STATUS_OK);
    assert_int_equal(page_table_mark(&arena->tree, MIB, PAGE_ACCESSED), STATUS_OK);
    assert_int_equal(page_table_coalesce(&arena->tree, 0, 2 * MIB, LEVEL_2M, NULL), STATUS_OK);
    page_table_lookup(&arena->tree, 0, &found);
    assert_int_equal(found.level, LEVEL_2M);
    assert_true(found.accessed && found.dirty);
}

FOR_EACH_FORMAT(bad_ranges_of_the_other_operations_are_refused_by_name)
{
    struct page_table *tree = &arena->tree;
    struct page_harvest harvest = {.which = PAGE_DIRTY};
    struct page_entry entry;
    struct page_visit visit;
    uint64_t tables;

    assert_int_equal(page_table_populate(tree, 1, 4 * KIB, LEVEL_4K, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_populate(tree, 0, 4 * KIB, (enum page_level)5, NULL), STATUS_INVALID);
    assert_int_equal(page_table_populate_count(tree, 1ULL << 57, 4 * KIB, LEVEL_4K, &tables), STATUS_OVERFLOW);
    assert_int_equal(page_table_vacate(tree, 0, 5, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_coalesce(tree, 0, 4 * KIB, LEVEL_512G, NULL), STATUS_INVALID);
    assert_int_equal(page_table_coalesce(tree, 8, 4 * KIB, LEVEL_2M, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_harvest(tree, 0, 8, &harvest, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_walk(tree, 1ULL << 57, LEVEL_4K, &entry), STATUS_OVERFLOW);
    assert_int_equal(page_table_walk(tree, 0, (enum page_level)7, &entry), STATUS_INVALID);
    assert_int_equal(page_table_walk_create(tree, 1ULL << 57, LEVEL_4K, &entry, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map_count(tree, 1, hpa(0), 4 * KIB, LEVEL_1G, &tables), STATUS_MISALIGNED);
    assert_int_equal(page_visit_start(&visit, tree, 8, 0, true), STATUS_MISALIGNED);
    assert_int_equal(page_table_compare(tree, tree, 0, 12, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_unmap_count(tree, 1, 4 * KIB, &tables), STATUS_MISALIGNED);
    assert_int_equal(page_table_protect_count(tree, 1, 4 * KIB, arena_ro, &tables), STATUS_MISALIGNED);
    assert_int_equal(arena_used(arena), 1);
}

static void a_tree_needs_a_cpu_that_exists_and_a_pool_it_can_reach(void **state)
{
    struct page_table_caps caps = arena_caps;
    struct table_pool pool;
    struct page_table tree;

    (void)state;
    assert_int_equal(table_pool_init(&pool, (uint64_t)(uintptr_t)arena_bytes - 8 * GIB, hpa(8 * GIB), 1), STATUS_OK);
    caps.physical_bits = 53;
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_INVALID);
    caps.physical_bits = 31;
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_INVALID);
    caps.physical_bits = 33;
    caps.largest_leaf = LEVEL_512G;
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_INVALID);
    caps.largest_leaf = LEVEL_2M;
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_OVERFLOW);
    caps.physical_bits = 34;
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_OK);
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_NO_MEMORY);
}

/* --- walk --- */

FOR_EACH_FORMAT(walk_ends_at_the_level_asked_for_or_above)
{
    struct page_entry entry;

    arena_map(arena, 0, GIB, GIB + 4 * KIB);
    assert_int_equal(page_table_walk(&arena->tree, 5 * MIB, LEVEL_4K, &entry), STATUS_OK);
    assert_int_equal(entry.level, LEVEL_1G);
    assert_int_equal(*table_pool_pointer(&arena->pool, entry.at.value), entry.value);
    assert_int_equal(page_table_walk(&arena->tree, GIB, LEVEL_2M, &entry), STATUS_OK);
    assert_int_equal(entry.level, LEVEL_2M);
    assert_int_equal(page_table_walk(&arena->tree, 3 * GIB, LEVEL_4K, &entry), STATUS_OK);
    assert_int_equal(entry.level, LEVEL_1G);
    assert_int_equal(entry.value, 0);
    assert_int_equal(page_table_walk_create(&arena->tree, 3 * GIB + 5, LEVEL_4K, &entry, NULL), STATUS_OK);
    assert_int_equal(entry.level, LEVEL_4K);
    assert_int_equal(entry.value, 0);
}

/* A tree that other software wrote, whose links take rights away. */
static void lookup_combines_the_rights_along_the_walk(void **state)
{
    static const struct {
        const struct page_table_format *format;
        uint64_t clear, set;
        bool write, execute, user;
    } rows[] = {
        {&page_table_host4, 2, 0, false, true, true},         {&page_table_host4, 4, 0, true, true, false},
        {&page_table_npt5, 0, 1ULL << 63, true, false, true}, {&page_table_ept4, 2, 0, false, true, true},
        {&page_table_ept5, 4, 0, true, false, true},          {&page_table_ept5, 0x400, 0, true, true, false},
    };
    struct arena arena;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (uint32_t level = 1; level < 4; level++) {
            struct page_entry link;
            struct page_lookup found;
            struct page_extent extent;
            struct page_visit visit;

            arena_start(&arena, rows[i].format);
            arena_map(&arena, 0, 0, 4 * KIB);
            assert_int_equal(page_table_walk(&arena.tree, 0, (enum page_level)level, &link), STATUS_OK);
            *table_pool_pointer(&arena.pool, link.at.value) = (link.value & ~rows[i].clear) | rows[i].set;
            page_table_lookup(&arena.tree, 0x123, &found);
            assert_true(found.present && found.to.value == 0x123 && found.level == LEVEL_4K);
            assert_int_equal(found.attributes.write, rows[i].write);
            assert_int_equal(found.attributes.execute, rows[i].execute);
            assert_int_equal(found.attributes.user, rows[i].user);
            page_visit_all(&visit, &arena.tree, true);
            assert_true(page_visit_next(&visit, &extent) && extent.present);
            assert_true(arena_same(&extent.attributes, &found.attributes));
            arena_end(&arena);
        }
    }
}

/* The hot path's lookup with a constant format goes the same ways: leaf of each size, hole, link that takes a right
 * away, upper half, and addresses that the format does not have. */
static void find_with_a_constant_format_answers_as_lookup_does(void **state)
{
    static const struct {
        const struct page_table_format *format, *as;
        uint64_t write;
    } rows[] = {
        {&page_table_host4, &page_find_host4, 2},
        {&page_table_npt4, &page_find_npt4, 2},
        {&page_table_ept4, &page_find_ept4, 2},
    };
    static const uint64_t places[] = {0x123, 5 * MIB + 7, 3 * GIB + 9, 4 * GIB, 600 * GIB, 1ULL << 47, ~0ULL << 47};
    struct arena arena;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct page_entry link;

        arena_start(&arena, rows[i].format);
        arena_map(&arena, 0, 0, 8 * MIB);
        arena_map(&arena, GIB, GIB, 3 * GIB);
        arena_map(&arena, 0, 77 * PAGE_BYTES, PAGE_BYTES);
        assert_int_equal(page_table_walk(&arena.tree, 0, LEVEL_2M, &link), STATUS_OK);
        *table_pool_pointer(&arena.pool, link.at.value) = link.value & ~rows[i].write;
        for (uint32_t j = 0; j < ARRAY_COUNT(places); j++) {
            struct page_lookup slow = {0};
            struct page_found fast = {0};

            page_table_lookup(&arena.tree, places[j], &slow);
            assert_int_equal(page_table_find_as(&arena.tree, rows[i].as, places[j], &fast), slow.present);
            assert_int_equal(j < 3, slow.present);
            assert_int_equal(slow.present ? fast.to.value : 0, slow.to.value);
            assert_int_equal(slow.present && (fast.rights & rows[i].write) != 0, slow.attributes.write);
            assert_int_equal(slow.present && j != 0, slow.attributes.write);
        }
        arena_end(&arena);
    }
}

/* --- visit, dump, compare --- */

struct lines {
    char text[1024];
};

static void line_add(void *context, const char *text)
{
    struct lines *lines = context;

    strncat(lines->text, text, sizeof(lines->text) - strlen(lines->text) - 1);
    strncat(lines->text, "\n", sizeof(lines->text) - strlen(lines->text) - 1);
}

static void a_dump_is_the_mapped_ranges_as_lines(void **state)
{
    struct lines lines = {{0}};
    struct arena arena;

    (void)state;
    arena_start(&arena, &page_table_ept4);
    arena_map(&arena, 0, GIB, 640 * KIB);
    arena_map(&arena, MIB, GIB + MIB, 2 * GIB - MIB);
    assert_int_equal(page_table_map(&arena.tree, 4 * GIB, hpa(8 * GIB), 4 * KIB, arena_ro, LEVEL_1G, NULL), STATUS_OK);
    page_table_dump(&arena.tree, line_add, &lines);
    assert_string_equal(lines.text, "0x0-0x9ffff -> 0x40000000 rwxu WB 160x4K\n"
                                    "0x100000-0x7fffffff -> 0x40100000 rwxu WB 1x1G 511x2M 256x4K\n"
                                    "0x100000000-0x100000fff -> 0x200000000 r--u WT 1x4K\n");
    assert_int_equal(page_table_tables(&arena.tree), arena_used(&arena));
    arena_end(&arena);
}

FOR_EACH_FORMAT(visit_gives_leaves_and_holes_in_order_and_covers_the_range)
{
    uint64_t at = GIB - 2 * MIB, end = GIB + 4 * MIB;
    struct page_extent extent;
    struct page_visit visit;
    uint32_t leaves = 0, holes = 0;

    arena_map(arena, GIB, 4 * KIB, 12 * KIB);
    arena_map(arena, GIB + 2 * MIB, 8 * MIB, 2 * MIB);
    assert_int_equal(page_visit_start(&visit, &arena->tree, at, end - at, false), STATUS_OK);
    while (page_visit_next(&visit, &extent)) {
        assert_int_equal(extent.address, at);
        at += extent.bytes;
        leaves += extent.present;
        holes += !extent.present;
    }
    assert_int_equal(at, end);
    assert_int_equal(leaves, 4);
    assert_int_equal(holes, 2); /* before, and between; the range ends with the large leaf */
}

static void a_visit_of_both_halves_of_the_host_names_canonical_addresses(void **state)
{
    struct page_extent extent;
    struct page_visit visit;
    struct arena arena;
    uint64_t last = 0;
    uint32_t count = 0;

    (void)state;
    arena_start(&arena, &page_table_host4);
    arena_map(&arena, 0xffffffff80000000ULL, GIB, 2 * GIB);
    page_visit_all(&visit, &arena.tree, true);
    while (page_visit_next(&visit, &extent)) {
        last = extent.present ? extent.address : last;
        count++;
    }
    assert_int_equal(last, 0xffffffff80000000ULL);
    assert_int_equal(count, 3); /* a hole in the lower half, one in the upper half, the leaves */
    arena_end(&arena);
}

static void trees_of_any_two_formats_compare(void **state)
{
    struct page_difference difference;
    struct arena left, right;

    (void)state;
    arena_start(&left, &page_table_ept4);
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        right.pool = left.pool;
        assert_int_equal(page_table_init(&right.tree, arena_formats[i], &arena_caps, &left.pool), STATUS_OK);
        arena_map(&left, 0, GIB, 2 * GIB);
        assert_int_equal(page_table_map(&right.tree, 0, hpa(GIB), 2 * GIB, arena_rwx, LEVEL_2M, NULL), STATUS_OK);
        assert_int_equal(page_table_compare(&left.tree, &right.tree, 0, 64 * GIB, &difference), STATUS_OK);
        assert_int_equal(page_table_protect(&right.tree, GIB + 8 * KIB, 4 * KIB, arena_ro, NULL), STATUS_OK);
        assert_int_equal(page_table_compare(&left.tree, &right.tree, 0, 64 * GIB, &difference), STATUS_BUSY);
        assert_int_equal(difference.address, GIB + 8 * KIB);
        assert_true(difference.left.attributes.write && !difference.right.attributes.write);
        assert_int_equal(page_table_unmap(&right.tree, 16 * KIB, 2 * GIB, NULL), STATUS_OK);
        assert_int_equal(page_table_compare(&left.tree, &right.tree, 0, 64 * GIB, &difference), STATUS_BUSY);
        assert_int_equal(difference.address, 16 * KIB);
        assert_true(difference.left.present && !difference.right.present);
        assert_int_equal(page_table_compare(&left.tree, &right.tree, 0, 16 * KIB, &difference), STATUS_OK);
        page_table_destroy(&right.tree);
    }
    arena_end(&left);
}

static void neighbours_are_merged_only_if_they_say_the_same(void **state)
{
    struct page_attributes variants[5] = {arena_rwx, arena_rwx, arena_rwx, arena_rwx, arena_rwx};
    struct lines lines = {{0}};
    struct arena arena;

    (void)state;
    variants[1].user = false;
    variants[2].global = true;
    variants[3].write = false;
    variants[4].cache = CACHE_UC;
    arena_start(&arena, &page_table_host4);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(
            page_table_map(&arena.tree, i * 4 * KIB, hpa(i * 4 * KIB), 4 * KIB, variants[i], LEVEL_4K, NULL),
            STATUS_OK);
    }
    page_table_dump(&arena.tree, line_add, &lines);
    assert_string_equal(lines.text, "0x0-0xfff -> 0x0 rwxu WB 1x4K\n"
                                    "0x1000-0x1fff -> 0x1000 rwx- WB 1x4K\n"
                                    "0x2000-0x2fff -> 0x2000 rwxu global WB 1x4K\n"
                                    "0x3000-0x3fff -> 0x3000 r-xu WB 1x4K\n"
                                    "0x4000-0x4fff -> 0x4000 rwxu UC 1x4K\n");
    arena_end(&arena);
}

static void a_dump_says_execute_only_and_ignore_guest(void **state)
{
    struct page_attributes execute_only = {.execute = true, .cache = CACHE_WB};
    struct page_attributes strict = {.read = true, .user = true, .ignore_guest = true, .cache = CACHE_UC};
    char text[PAGE_EXTENT_TEXT_MAX];
    struct page_extent hole = {.address = GIB, .bytes = 4 * KIB};
    struct lines lines = {{0}};
    struct arena arena;

    (void)state;
    arena_start(&arena, &page_table_ept5);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), 4 * KIB, execute_only, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(page_table_map(&arena.tree, 4 * KIB, hpa(4 * KIB), 4 * KIB, strict, LEVEL_4K, NULL), STATUS_OK);
    strict.ignore_guest = false;
    assert_int_equal(page_table_map(&arena.tree, 8 * KIB, hpa(8 * KIB), 4 * KIB, strict, LEVEL_4K, NULL), STATUS_OK);
    page_table_dump(&arena.tree, line_add, &lines);
    assert_string_equal(lines.text, "0x0-0xfff -> 0x0 --x- WB 1x4K\n"
                                    "0x1000-0x1fff -> 0x1000 r--u ignore-guest UC 1x4K\n"
                                    "0x2000-0x2fff -> 0x2000 r--u UC 1x4K\n");
    page_extent_text(&hole, text);
    assert_string_equal(text, "0x40000000-0x40000fff nothing");
    arena_end(&arena);
}

/* One page each, in two trees of these formats, with these attributes: do they compare as equal? */
static enum status compare_pages(const struct page_table_format *formats[2], const struct page_attributes pages[2],
                                 uint64_t to)
{
    struct arena left;
    struct page_table right;
    enum status status;

    arena_start(&left, formats[0]);
    assert_int_equal(page_table_init(&right, formats[1], &arena_caps, &left.pool), STATUS_OK);
    assert_int_equal(page_table_map(&left.tree, 0, hpa(0), 4 * KIB, pages[0], LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(page_table_map(&right, 0, hpa(to), 4 * KIB, pages[1], LEVEL_4K, NULL), STATUS_OK);
    status = page_table_compare(&left.tree, &right, 0, GIB, NULL);
    page_table_destroy(&right);
    arena_end(&left);
    return status;
}

static void compare_looks_at_what_both_formats_can_say(void **state)
{
    const struct page_table_format *hosts[2] = {&page_table_host4, &page_table_host5};
    const struct page_table_format *epts[2] = {&page_table_ept4, &page_table_ept5};
    const struct page_table_format *ept_and_npt[2] = {&page_table_ept4, &page_table_npt4};
    const struct page_table_format *host_and_npt[2] = {&page_table_host4, &page_table_npt4};
    struct page_attributes same[2] = {arena_rwx, arena_rwx};
    struct page_attributes user[2] = {arena_rwx, arena_rwx};
    struct page_attributes global[2] = {arena_rwx, arena_rwx};
    struct page_attributes strict[2] = {arena_rwx, arena_rwx};

    (void)state;
    user[0].user = false;
    global[0].global = true;
    strict[0].ignore_guest = true;
    assert_int_equal(compare_pages(hosts, same, 0), STATUS_OK);
    assert_int_equal(compare_pages(hosts, same, 4 * KIB), STATUS_BUSY);
    assert_int_equal(compare_pages(hosts, user, 0), STATUS_BUSY);
    assert_int_equal(compare_pages(host_and_npt, user, 0), STATUS_OK);
    assert_int_equal(compare_pages(hosts, global, 0), STATUS_BUSY);
    assert_int_equal(compare_pages(host_and_npt, global, 0), STATUS_OK);
    assert_int_equal(compare_pages(epts, strict, 0), STATUS_BUSY);
    assert_int_equal(compare_pages(epts, same, 0), STATUS_OK);
    assert_int_equal(compare_pages(ept_and_npt, strict, 0), STATUS_OK);
}

/* --- accessed and dirty --- */

FOR_EACH_FORMAT(mark_query_and_clear_say_the_same)
{
    struct page_lookup found;
    enum page_flush flush;
    uint32_t had;

    arena_map(arena, 0, 0, 2 * MIB + 4 * KIB);
    assert_int_equal(page_table_mark(&arena->tree, 2 * MIB, PAGE_DIRTY), STATUS_OK);
    page_table_lookup(&arena->tree, 2 * MIB, &found);
    assert_true(found.dirty && !found.accessed);
    assert_int_equal(page_table_clear(&arena->tree, 2 * MIB, PAGE_ACCESSED, &had, &flush), STATUS_OK);
    assert_int_equal(had, 0);
    assert_int_equal(flush, FLUSH_NONE);
    assert_int_equal(page_table_clear(&arena->tree, 2 * MIB, PAGE_ACCESSED | PAGE_DIRTY, &had, &flush), STATUS_OK);
    assert_int_equal(had, PAGE_DIRTY);
    assert_int_equal(flush, FLUSH_RANGE);
    page_table_lookup(&arena->tree, 2 * MIB, &found);
    assert_false(found.dirty || found.accessed);
    assert_int_equal(page_table_clear(&arena->tree, 2 * MIB, PAGE_DIRTY, NULL, NULL), STATUS_OK);
    assert_int_equal(page_table_mark(&arena->tree, 1ULL << 57, PAGE_DIRTY), STATUS_OVERFLOW);
    assert_int_equal(page_table_mark(&arena->tree, GIB, PAGE_DIRTY), STATUS_NOT_FOUND);
    assert_int_equal(page_table_clear(&arena->tree, GIB, PAGE_DIRTY, &had, &flush), STATUS_NOT_FOUND);
}

FOR_EACH_FORMAT(harvest_finds_each_dirty_page_once)
{
    static uint64_t bitmap[8 * MIB / PAGE_BYTES / 64];
    struct page_harvest harvest = {.which = PAGE_DIRTY, .clear = true, .bitmap = bitmap};
    static const uint64_t dirty[] = {0, 5, 63, 64, 511, 512, 1023};
    enum page_flush flush;

    assert_int_equal(page_table_map(&arena->tree, GIB, hpa(0), 8 * MIB, arena_rwx, LEVEL_4K, NULL), STATUS_OK);
    memset(bitmap, 0, sizeof(bitmap));
    for (uint32_t i = 0; i < ARRAY_COUNT(dirty); i++) {
        assert_int_equal(page_table_mark(&arena->tree, GIB + dirty[i] * PAGE_BYTES, PAGE_DIRTY), STATUS_OK);
    }
    assert_int_equal(page_table_harvest(&arena->tree, GIB, 8 * MIB, &harvest, &flush), STATUS_OK);
    assert_int_equal(harvest.pages, ARRAY_COUNT(dirty));
    assert_int_equal(flush, FLUSH_RANGE);
    for (uint32_t i = 0; i < ARRAY_COUNT(dirty); i++) {
        assert_true((bitmap[dirty[i] / 64] >> (dirty[i] % 64) & 1) != 0);
        bitmap[dirty[i] / 64] &= ~(1ULL << (dirty[i] % 64));
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(bitmap); i++) {
        assert_int_equal(bitmap[i], 0);
    }
    assert_int_equal(page_table_harvest(&arena->tree, GIB, 8 * MIB, &harvest, &flush), STATUS_OK);
    assert_int_equal(harvest.pages, 0);
    assert_int_equal(flush, FLUSH_NONE);
}

FOR_EACH_FORMAT(a_large_leaf_is_harvested_as_its_pages_and_cleared_only_as_a_whole)
{
    static uint64_t bitmap[2 * MIB / PAGE_BYTES / 64];
    struct page_harvest harvest = {.which = PAGE_DIRTY | PAGE_ACCESSED, .clear = true, .bitmap = bitmap};
    struct page_lookup found;
    enum page_flush flush;

    arena_map(arena, 0, 0, 2 * MIB);
    assert_int_equal(page_table_mark(&arena->tree, 0, PAGE_DIRTY), STATUS_OK);
    memset(bitmap, 0, sizeof(bitmap));
    assert_int_equal(page_table_harvest(&arena->tree, 4 * KIB, 130 * 4 * KIB, &harvest, &flush), STATUS_OK);
    assert_int_equal(harvest.pages, 130);
    assert_int_equal(flush, FLUSH_NONE);
    assert_int_equal(bitmap[0], ~0ULL);
    assert_int_equal(bitmap[1], ~0ULL);
    assert_int_equal(bitmap[2], 3);
    page_table_lookup(&arena->tree, 0, &found);
    assert_true(found.dirty);
    harvest.bitmap = NULL;
    assert_int_equal(page_table_harvest(&arena->tree, 0, 4 * MIB, &harvest, &flush), STATUS_OK);
    assert_int_equal(harvest.pages, 512);
    assert_int_equal(flush, FLUSH_RANGE);
    page_table_lookup(&arena->tree, 0, &found);
    assert_false(found.dirty);
}

FOR_EACH_FORMAT(harvest_does_not_go_where_the_hardware_never_was)
{
    struct page_harvest harvest = {.which = PAGE_DIRTY};
    struct page_entry leaf;

    /* A dirty bit below a link without accessed cannot come from hardware: that it is not found shows the short cut. */
    assert_int_equal(page_table_map(&arena->tree, 0, hpa(0), 4 * MIB, arena_rwx, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(page_table_mark(&arena->tree, 0, PAGE_DIRTY), STATUS_OK);
    assert_int_equal(page_table_walk(&arena->tree, 0, LEVEL_4K, &leaf), STATUS_OK);
    *table_pool_pointer(&arena->pool, leaf.at.value + PAGE_BYTES) = leaf.value | 2 * MIB;
    assert_int_equal(page_table_harvest(&arena->tree, 0, 4 * MIB, &harvest, NULL), STATUS_OK);
    assert_int_equal(harvest.pages, 1);
}

static void without_the_capability_ept_has_no_accessed_and_dirty(void **state)
{
    struct page_table_caps caps = arena_caps;
    struct page_harvest harvest = {.which = PAGE_DIRTY};
    struct arena arena;

    (void)state;
    caps.accessed_dirty = false;
    arena_start_with(&arena, &page_table_ept4, &caps, 8);
    arena_map(&arena, 0, 0, 4 * KIB);
    assert_int_equal(page_table_mark(&arena.tree, 0, PAGE_DIRTY), STATUS_UNSUPPORTED);
    assert_int_equal(page_table_clear(&arena.tree, 0, PAGE_DIRTY, NULL, NULL), STATUS_UNSUPPORTED);
    assert_int_equal(page_table_harvest(&arena.tree, 0, GIB, &harvest, NULL), STATUS_UNSUPPORTED);
    arena_end(&arena);
}

/* --- several CPUs --- */

#define RACE_PAGES 512u
#define RACE_ROUNDS 60u

struct racer {
    struct arena *arena;
    pthread_barrier_t *barrier;
    uint64_t target; /* this one maps page n to target + n pages */
    uint64_t won, lost, lied;
};

static void *racer_map(void *context)
{
    struct racer *racer = context;

    pthread_barrier_wait(racer->barrier);
    for (uint64_t at = 0; at < RACE_PAGES * PAGE_BYTES; at += PAGE_BYTES) {
        struct page_lookup found;
        enum status status =
            page_table_map_concurrent(&racer->arena->tree, at, hpa(racer->target + at), LEVEL_4K, arena_rwx, &found);

        racer->won += status == STATUS_OK;
        racer->lost += status == STATUS_BUSY;
        racer->lied += status == STATUS_BUSY && (!found.present || found.to.value == racer->target + at);
    }
    return NULL;
}

/* Walks while the others map: a hole, or what one of them says, never anything else. */
static void *racer_walk(void *context)
{
    struct racer *racer = context;

    pthread_barrier_wait(racer->barrier);
    for (uint64_t at = 0; at < RACE_PAGES * PAGE_BYTES; at += PAGE_BYTES) {
        struct page_lookup found;

        page_table_lookup(&racer->arena->tree, at + 7, &found);
        racer->lied += found.present && found.to.value != GIB + at + 7 && found.to.value != 2 * GIB + at + 7;
    }
    return NULL;
}

static void race(struct arena *arena)
{
    pthread_barrier_t barrier;
    struct racer racers[3] = {{.target = GIB}, {.target = 2 * GIB}, {.target = 0}};
    pthread_t threads[3];

    pthread_barrier_init(&barrier, NULL, 3);
    for (uint32_t i = 0; i < 3; i++) {
        racers[i].arena = arena;
        racers[i].barrier = &barrier;
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? racer_map : racer_walk, &racers[i]), 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(racers[i].lied, 0);
    }
    pthread_barrier_destroy(&barrier);
    assert_int_equal(racers[0].won + racers[1].won, RACE_PAGES);
    assert_int_equal(racers[0].lost + racers[1].lost, RACE_PAGES);
}

FOR_EACH_FORMAT(two_cpus_that_map_the_same_page_end_with_one_mapping_and_the_truth)
{
    assert_int_equal(page_table_populate(&arena->tree, 0, RACE_PAGES * PAGE_BYTES, LEVEL_4K, NULL), STATUS_OK);
    for (uint32_t i = 0; i < RACE_ROUNDS; i++) {
        race(arena);
        arena_unmap(arena, 0, RACE_PAGES * PAGE_BYTES);
    }
}

FOR_EACH_FORMAT(a_concurrent_unmap_leaves_the_tables_as_they_are)
{
    struct page_table *tree = &arena->tree;
    struct page_lookup found;
    uint64_t spare;

    assert_int_equal(page_table_unmap_concurrent(tree, GIB, LEVEL_4K), STATUS_NOT_FOUND);
    assert_int_equal(page_table_unmap_concurrent(tree, 1ULL << 62, LEVEL_4K), STATUS_OVERFLOW); /* no tree has that */
    assert_int_equal(page_table_populate(tree, GIB, PAGE_BYTES, LEVEL_4K, NULL), STATUS_OK);
    spare = tree->pool->free_count;
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(page_table_unmap_concurrent(tree, GIB, LEVEL_4K), STATUS_NOT_FOUND);
        assert_int_equal(page_table_map_concurrent(tree, GIB, hpa(MIB), LEVEL_4K, arena_rwx, NULL), STATUS_OK);
        assert_int_equal(page_table_unmap_concurrent(tree, GIB, LEVEL_2M), STATUS_NOT_FOUND);
        assert_int_equal(page_table_unmap_concurrent(tree, GIB, LEVEL_4K), STATUS_OK);
        page_table_lookup(tree, GIB, &found);
        assert_false(found.present);
    }
    assert_int_equal(tree->pool->free_count, spare);
    assert_int_equal(page_table_vacate(tree, GIB, PAGE_BYTES, NULL), STATUS_OK);
}

FOR_EACH_FORMAT(a_concurrent_map_is_refused_by_name)
{
    struct page_table *tree = &arena->tree;
    struct page_attributes none = {.cache = CACHE_WB};

    assert_int_equal(page_table_map_concurrent(tree, 0, hpa(0), LEVEL_4K, arena_rwx, NULL), STATUS_NOT_FOUND);
    assert_int_equal(page_table_map_concurrent(tree, 0, hpa(0), LEVEL_512G, arena_rwx, NULL), STATUS_INVALID);
    assert_int_equal(page_table_map_concurrent(tree, 4 * KIB, hpa(0), LEVEL_2M, arena_rwx, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_map_concurrent(tree, 0, hpa(1ULL << 46), LEVEL_4K, arena_rwx, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map_concurrent(tree, 1ULL << 57, hpa(0), LEVEL_4K, arena_rwx, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map_concurrent(tree, 0, hpa(0), LEVEL_4K, none, NULL), STATUS_INVALID);
    arena_map(arena, 0, 0, 2 * MIB);
    assert_int_equal(page_table_map_concurrent(tree, 0, hpa(0), LEVEL_4K, arena_rwx, NULL), STATUS_BUSY);
    assert_int_equal(page_table_map_concurrent(tree, 2 * MIB, hpa(GIB), LEVEL_2M, arena_rwx, NULL), STATUS_OK);
    assert_int_equal(page_table_map_concurrent(tree, 2 * MIB, hpa(0), LEVEL_2M, arena_rwx, NULL), STATUS_BUSY);
    arena_expect(arena, 2 * MIB, GIB, LEVEL_2M);
}

/* A thread that sets dirty bits as the hardware does, while the range is protected, split and harvested. */
struct dirtier {
    struct arena *arena;
    uint64_t set;
    bool stop;
};

static void *dirtier_run(void *context)
{
    struct dirtier *dirtier = context;

    /* Page after page, each once; whatever happens to the tree meanwhile, no bit may vanish unharvested. */
    for (uint64_t page = 0; page < 1024; page++) {
        while (page_table_mark(&dirtier->arena->tree, page * PAGE_BYTES, PAGE_DIRTY) != STATUS_OK) {
        }
        __atomic_store_n(&dirtier->set, page + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

FOR_EACH_FORMAT(no_dirty_bit_is_lost_to_protect_and_harvest_running_meanwhile)
{
    static uint64_t bitmap[1024 / 64];
    struct page_harvest harvest = {.which = PAGE_DIRTY, .clear = true, .bitmap = bitmap};
    struct dirtier dirtier = {.arena = arena};
    struct page_attributes other = arena_rwx;
    pthread_t thread;

    other.execute = false;
    memset(bitmap, 0, sizeof(bitmap));
    assert_int_equal(page_table_map(&arena->tree, 0, hpa(0), 4 * MIB, arena_rwx, LEVEL_4K, NULL), STATUS_OK);
    assert_int_equal(pthread_create(&thread, NULL, dirtier_run, &dirtier), 0);
    while (__atomic_load_n(&dirtier.set, __ATOMIC_ACQUIRE) < 1024) {
        assert_int_equal(page_table_protect(&arena->tree, 0, 4 * MIB, other, NULL), STATUS_OK);
        assert_int_equal(page_table_harvest(&arena->tree, 0, 4 * MIB, &harvest, NULL), STATUS_OK);
        assert_int_equal(page_table_protect(&arena->tree, 0, 4 * MIB, arena_rwx, NULL), STATUS_OK);
    }
    pthread_join(thread, NULL);
    assert_int_equal(page_table_harvest(&arena->tree, 0, 4 * MIB, &harvest, NULL), STATUS_OK);
    for (uint32_t i = 0; i < ARRAY_COUNT(bitmap); i++) {
        assert_int_equal(bitmap[i], ~0ULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_in_a_populated_range_takes_no_table),
        cmocka_unit_test(populating_nothing_does_nothing),
        cmocka_unit_test(neighbours_are_merged_only_if_they_say_the_same),
        cmocka_unit_test(a_dump_says_execute_only_and_ignore_guest),
        cmocka_unit_test(compare_looks_at_what_both_formats_can_say),
        cmocka_unit_test(vacate_gives_back_what_is_empty_and_keeps_what_is_mapped),
        cmocka_unit_test(vacate_of_a_part_leaves_the_other_part_populated),
        cmocka_unit_test(coalesce_keeps_what_is_not_uniform),
        cmocka_unit_test(coalesce_keeps_the_accessed_and_dirty_bits_of_all),
        cmocka_unit_test(bad_ranges_of_the_other_operations_are_refused_by_name),
        cmocka_unit_test(a_tree_needs_a_cpu_that_exists_and_a_pool_it_can_reach),
        cmocka_unit_test(walk_ends_at_the_level_asked_for_or_above),
        cmocka_unit_test(lookup_combines_the_rights_along_the_walk),
        cmocka_unit_test(find_with_a_constant_format_answers_as_lookup_does),
        cmocka_unit_test(a_dump_is_the_mapped_ranges_as_lines),
        cmocka_unit_test(visit_gives_leaves_and_holes_in_order_and_covers_the_range),
        cmocka_unit_test(a_visit_of_both_halves_of_the_host_names_canonical_addresses),
        cmocka_unit_test(trees_of_any_two_formats_compare),
        cmocka_unit_test(mark_query_and_clear_say_the_same),
        cmocka_unit_test(harvest_finds_each_dirty_page_once),
        cmocka_unit_test(a_large_leaf_is_harvested_as_its_pages_and_cleared_only_as_a_whole),
        cmocka_unit_test(harvest_does_not_go_where_the_hardware_never_was),
        cmocka_unit_test(without_the_capability_ept_has_no_accessed_and_dirty),
        cmocka_unit_test(two_cpus_that_map_the_same_page_end_with_one_mapping_and_the_truth),
        cmocka_unit_test(a_concurrent_unmap_leaves_the_tables_as_they_are),
        cmocka_unit_test(a_concurrent_map_is_refused_by_name),
        cmocka_unit_test(no_dirty_bit_is_lost_to_protect_and_harvest_running_meanwhile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
