/* SPDX-License-Identifier: MIT */
/* Promises of map, unmap, protect, lookup, count and the root pointer, in every format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/page_table_arena.h"

FOR_EACH_FORMAT(a_new_tree_is_one_table_and_maps_nothing)
{
    assert_int_equal(arena_used(arena), 1);
    arena_expect_hole(arena, 0);
    arena_expect_hole(arena, 5 * GIB + 123);
    assert_int_equal(arena->tree.root.value & 0xfff, 0);
}

FOR_EACH_FORMAT(the_largest_leaf_that_fits_is_used_everywhere)
{
    /* 4 KiB up to 2 MiB, 2 MiB up to 1 GiB, 1 GiB, and down again. */
    uint64_t start = GIB - 2 * MIB - 4 * KIB;
    uint64_t end = 2 * GIB + 2 * MIB + 4 * KIB;

    arena_map(arena, start, start + 4 * GIB, end - start);
    arena_expect_hole(arena, start - 1);
    arena_expect(arena, start, start + 4 * GIB, LEVEL_4K);
    arena_expect(arena, GIB - 2 * MIB, 5 * GIB - 2 * MIB, LEVEL_2M);
    arena_expect(arena, GIB - 1, 5 * GIB - 1, LEVEL_2M);
    arena_expect(arena, GIB + 0x1234567, 5 * GIB + 0x1234567, LEVEL_1G);
    arena_expect(arena, 2 * GIB, 6 * GIB, LEVEL_2M);
    arena_expect(arena, 2 * GIB + 2 * MIB, 6 * GIB + 2 * MIB, LEVEL_4K);
    arena_expect_hole(arena, end);
}

FOR_EACH_FORMAT(the_target_alignment_limits_the_leaf)
{
    arena_map(arena, 4 * GIB, 8 * GIB + 2 * MIB, 2 * GIB);
    arena_expect(arena, 5 * GIB, 9 * GIB + 2 * MIB, LEVEL_2M);
    arena_map(arena, 8 * GIB, 16 * GIB + 4 * KIB, 4 * MIB);
    arena_expect(arena, 8 * GIB + 2 * MIB, 16 * GIB + 2 * MIB + 4 * KIB, LEVEL_4K);
}

static void the_capability_limits_the_leaf(void **state)
{
    struct page_table_caps caps = arena_caps;
    struct arena arena;

    (void)state;
    caps.largest_leaf = LEVEL_2M;
    arena_start_with(&arena, &page_table_npt4, &caps, ARENA_PAGES);
    arena_map(&arena, 0, 0, 4 * GIB);
    arena_expect(&arena, 3 * GIB, 3 * GIB, LEVEL_2M);
    arena_end(&arena);
    caps.largest_leaf = LEVEL_4K;
    arena_start_with(&arena, &page_table_ept4, &caps, ARENA_PAGES);
    arena_map(&arena, 0, 0, 4 * MIB);
    arena_expect(&arena, 2 * MIB, 2 * MIB, LEVEL_4K);
    arena_end(&arena);
}

FOR_EACH_FORMAT(every_right_and_type_comes_back_as_it_was_given)
{
    for (uint32_t bits = 1; bits < 32; bits++) {
        for (uint32_t cache = 0; cache <= CACHE_WB; cache++) {
            struct page_attributes given = {.read = bits & 1,
                                            .write = bits & 2,
                                            .execute = bits & 4,
                                            .user = bits & 8,
                                            .cache = (enum cache_type)cache};
            bool nested = strncmp(page_table_format_name(arena->tree.format), "npt", 3) == 0;
            uint64_t sizes[] = {4 * KIB, 2 * MIB, GIB};

            if (!given.read) {
                continue;
            }
            for (uint32_t level = 0; level < 3; level++) {
                struct page_lookup found;

                assert_int_equal(page_table_map(&arena->tree, 7 * GIB, hpa(GIB), sizes[level], given, LEVEL_1G, NULL),
                                 STATUS_OK);
                page_table_lookup(&arena->tree, 7 * GIB, &found);
                assert_int_equal(found.level, level);
                assert_int_equal(found.to.value, GIB);
                assert_int_equal(found.attributes.read, given.read);
                assert_int_equal(found.attributes.write, given.write);
                assert_int_equal(found.attributes.execute, given.execute);
                assert_int_equal(found.attributes.user, given.user || nested);
                assert_int_equal(found.attributes.cache, given.cache);
                assert_false(found.accessed || found.dirty);
            }
        }
    }
}

FOR_EACH_FORMAT(unmap_takes_what_it_names_and_leaves_the_rest)
{
    arena_map(arena, 0, GIB, 3 * GIB);
    arena_unmap(arena, GIB - 4 * KIB, GIB + 8 * KIB);
    arena_expect(arena, GIB - 4 * KIB - 1, 2 * GIB - 4 * KIB - 1, LEVEL_4K);
    arena_expect_hole(arena, GIB - 4 * KIB);
    arena_expect_hole(arena, GIB);
    arena_expect_hole(arena, 2 * GIB + 4 * KIB - 1);
    arena_expect(arena, 2 * GIB + 4 * KIB, 3 * GIB + 4 * KIB, LEVEL_4K);
    arena_expect(arena, 2 * GIB + 2 * MIB, 3 * GIB + 2 * MIB, LEVEL_2M);
}

FOR_EACH_FORMAT(unmapping_everything_gives_every_table_back_but_the_root)
{
    arena_map(arena, 4 * KIB, 4 * KIB, 40 * MIB);
    arena_map(arena, 3 * GIB - 8 * KIB, 7 * GIB, 3 * MIB);
    assert_true(arena_used(arena) > 4);
    arena_unmap(arena, 0, 512 * GIB);
    assert_int_equal(arena_used(arena), 1);
    arena_map(arena, 4 * KIB, 4 * KIB, 40 * MIB);
    arena_unmap(arena, 4 * KIB, 40 * MIB);
    assert_int_equal(arena_used(arena), 1);
}

FOR_EACH_FORMAT(protect_changes_rights_and_not_addresses)
{
    struct page_lookup found;
    enum page_flush flush;

    arena_map(arena, 0, GIB, 2 * GIB);
    assert_int_equal(page_table_protect(&arena->tree, 4 * KIB, 4 * KIB, arena_ro, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_RANGE);
    page_table_lookup(&arena->tree, 4 * KIB, &found);
    assert_true(found.attributes.read && !found.attributes.write && !found.attributes.execute);
    assert_int_equal(found.attributes.cache, CACHE_WT);
    assert_int_equal(found.to.value, GIB + 4 * KIB);
    page_table_lookup(&arena->tree, 8 * KIB, &found);
    assert_true(found.attributes.write && found.attributes.execute);
    assert_int_equal(found.attributes.cache, CACHE_WB);
    assert_int_equal(page_table_protect(&arena->tree, 4 * KIB, 4 * KIB, arena_ro, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_NONE);
    assert_int_equal(page_table_protect(&arena->tree, 0, 4 * GIB, arena_ro, &flush), STATUS_OK);
    arena_expect_hole(arena, 2 * GIB);
    arena_expect(arena, GIB, 2 * GIB, LEVEL_1G);
}

/* Maps with exactly the tables counted, and shows that one less is refused without a change. */
static void count_is_exact_for(const struct page_table_format *format, uint64_t address, uint64_t to, uint64_t bytes)
{
    struct arena arena;
    uint64_t tables;

    arena_start(&arena, format);
    assert_int_equal(page_table_map_count(&arena.tree, address, hpa(to), bytes, LEVEL_1G, &tables), STATUS_OK);
    assert_int_equal(page_table_count_new(format, LEVEL_1G, address, hpa(to), bytes), tables + 1);
    arena_map(&arena, address, to, bytes);
    assert_int_equal(arena_used(&arena), tables + 1);
    arena_end(&arena);
    arena_start_with(&arena, format, &arena_caps, tables);
    assert_int_equal(page_table_map(&arena.tree, address, hpa(to), bytes, arena_rwx, LEVEL_1G, NULL), STATUS_NO_MEMORY);
    assert_int_equal(arena_used(&arena), 1);
    arena_expect_hole(&arena, address);
    arena_expect_hole(&arena, address + bytes - 1);
    arena_end(&arena);
}

static void the_count_is_exact_and_one_table_less_changes_nothing(void **state)
{
    static const struct {
        uint64_t address, to, bytes;
    } ranges[] = {
        {0, 0, 4 * KIB},
        {0, GIB, 64 * GIB},
        {4 * KIB, 4 * KIB, 64 * GIB},
        {0, 2 * MIB, 64 * GIB},
        {GIB - 4 * KIB, GIB - 4 * KIB, 8 * KIB},
        {511 * GIB, GIB, 2 * GIB},
        {512 * GIB - 4 * KIB, 4 * KIB, 3 * MIB},
    };

    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        for (uint32_t j = 0; j < ARRAY_COUNT(ranges); j++) {
            count_is_exact_for(arena_formats[i], ranges[j].address, ranges[j].to, ranges[j].bytes);
        }
    }
}

FOR_EACH_FORMAT(bad_ranges_get_a_named_status_and_change_nothing)
{
    struct page_table *tree = &arena->tree;
    bool five =
        tree->format == &page_table_host5 || tree->format == &page_table_ept5 || tree->format == &page_table_npt5;
    uint64_t end = five ? 1ULL << 57 : 1ULL << 48;
    struct page_attributes none = {.cache = CACHE_WB};
    struct page_attributes write_only = {.write = true, .cache = CACHE_WB};
    struct page_attributes no_such_type = {.read = true, .execute = true, .cache = (enum cache_type)9};

    assert_int_equal(page_table_map(tree, 0x800, hpa(0), 0x1000, arena_rwx, LEVEL_1G, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_map(tree, 0, hpa(0x10), 0x1000, arena_rwx, LEVEL_1G, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_map(tree, 0, hpa(0), 0x1001, arena_rwx, LEVEL_1G, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_map(tree, end, hpa(0), 0x1000, arena_rwx, LEVEL_1G, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map(tree, end - 0x1000, hpa(0), 0x2000, arena_rwx, LEVEL_1G, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map(tree, ~0xfffULL, hpa(0), 0x2000, arena_rwx, LEVEL_1G, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map(tree, 0, hpa(1ULL << 46), 0x1000, arena_rwx, LEVEL_1G, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map(tree, 0, hpa(1ULL << 51), 0x1000, arena_rwx, LEVEL_1G, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_map(tree, 0, hpa(0), 0x1000, arena_rwx, (enum page_level)3, NULL), STATUS_INVALID);
    assert_int_equal(page_table_map(tree, 0, hpa(0), 0x1000, none, LEVEL_1G, NULL), STATUS_INVALID);
    assert_int_equal(page_table_map(tree, 0, hpa(0), 0x1000, no_such_type, LEVEL_1G, NULL), STATUS_INVALID);
    assert_int_equal(page_table_map(tree, 0, hpa(0), 0x1000, write_only, LEVEL_1G, NULL), STATUS_UNSUPPORTED);
    assert_int_equal(page_table_unmap(tree, 0x800, 0x1000, NULL), STATUS_MISALIGNED);
    assert_int_equal(page_table_unmap(tree, end, 0x1000, NULL), STATUS_OVERFLOW);
    assert_int_equal(page_table_protect(tree, 0, 0x1000, write_only, NULL), STATUS_UNSUPPORTED);
    assert_int_equal(page_table_protect(tree, 1, 0x1000, arena_rwx, NULL), STATUS_MISALIGNED);
    assert_int_equal(arena_used(arena), 1);
    arena_expect_hole(arena, end);
}

static void rights_that_the_cpu_lacks_are_refused_by_name(void **state)
{
    struct page_attributes execute_only = {.execute = true, .cache = CACHE_WB};
    struct page_table_caps caps = arena_caps;
    struct page_attributes global = arena_rwx;
    struct arena arena;

    (void)state;
    global.global = true;
    arena_start(&arena, &page_table_ept4);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), GIB, execute_only, LEVEL_1G, NULL), STATUS_OK);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), GIB, global, LEVEL_1G, NULL), STATUS_UNSUPPORTED);
    arena_end(&arena);
    caps.execute_only = false;
    caps.no_execute = false;
    arena_start_with(&arena, &page_table_ept4, &caps, 8);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), GIB, execute_only, LEVEL_1G, NULL), STATUS_UNSUPPORTED);
    arena_end(&arena);
    arena_start_with(&arena, &page_table_host4, &caps, 8);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), GIB, execute_only, LEVEL_1G, NULL), STATUS_UNSUPPORTED);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), GIB, arena_ro, LEVEL_1G, NULL), STATUS_UNSUPPORTED);
    assert_int_equal(page_table_map(&arena.tree, 0, hpa(0), GIB, global, LEVEL_1G, NULL), STATUS_OK);
    arena_end(&arena);
}

static void a_canonical_upper_half_belongs_to_the_host_formats_only(void **state)
{
    uint64_t upper = 0xffff800000000000ULL;
    struct arena arena;

    (void)state;
    arena_start(&arena, &page_table_host4);
    arena_map(&arena, upper, GIB, GIB);
    arena_expect(&arena, upper + 5, GIB + 5, LEVEL_1G);
    arena_expect_hole(&arena, 1ULL << 47);
    assert_int_equal(page_table_map(&arena.tree, (1ULL << 47) - 0x1000, hpa(0), 0x2000, arena_rwx, LEVEL_1G, NULL),
                     STATUS_OVERFLOW);
    arena_map(&arena, ~0xfffULL, 0x5000, 0x1000);
    arena_expect(&arena, ~0ULL, 0x5fff, LEVEL_4K);
    arena_end(&arena);
    arena_start(&arena, &page_table_ept4);
    assert_int_equal(page_table_map(&arena.tree, upper, hpa(GIB), GIB, arena_rwx, LEVEL_1G, NULL), STATUS_OVERFLOW);
    arena_map(&arena, 1ULL << 47, GIB, GIB);
    arena_expect(&arena, (1ULL << 47) + 7, GIB + 7, LEVEL_1G);
    arena_end(&arena);
}

static void root_pointers_are_what_the_manuals_say(void **state)
{
    struct page_table_caps caps = arena_caps;
    struct arena arena;

    (void)state;
    arena_start(&arena, &page_table_ept4);
    assert_int_equal(page_table_root_pointer(&arena.tree), ARENA_START | 0x5e); /* WB, 4 levels, A/D */
    arena_end(&arena);
    caps.accessed_dirty = false;
    arena_start_with(&arena, &page_table_ept5, &caps, 1);
    assert_int_equal(page_table_root_pointer(&arena.tree), ARENA_START | 0x26); /* WB, 5 levels */
    arena_end(&arena);
    arena_start(&arena, &page_table_npt4);
    assert_int_equal(page_table_root_pointer(&arena.tree), ARENA_START);
    arena_end(&arena);
    arena_start(&arena, &page_table_host5);
    assert_int_equal(page_table_root_pointer(&arena.tree), ARENA_START);
    arena_end(&arena);
}

/* The bits, once, against the manuals: everything else above goes through encode and decode of the same table. */
static void leaves_and_links_have_the_bits_of_the_manuals(void **state)
{
    static const struct {
        const struct page_table_format *format;
        struct page_attributes attributes;
        uint64_t small, large;
    } rows[] = {
        {&page_table_host4, {.read = true, .write = true, .cache = CACHE_WB}, 0x8000000000000003, 0x8000000000000083},
        {&page_table_host4, {.read = true, .execute = true, .global = true, .cache = CACHE_WC}, 0x189, 0x1189},
        {&page_table_host5, {.read = true, .execute = true, .user = true, .cache = CACHE_UC}, 0x1d, 0x9d},
        {&page_table_npt4, {.read = true, .write = true, .execute = true, .cache = CACHE_WP}, 0x87, 0x1087},
        {&page_table_ept4, {.read = true, .write = true, .execute = true, .cache = CACHE_WB}, 0x37, 0xb7},
        {&page_table_ept4, {.read = true, .ignore_guest = true, .cache = CACHE_UC}, 0x41, 0xc1},
        {&page_table_ept5, {.execute = true, .user = true, .cache = CACHE_WT}, 0x424, 0x4a4},
    };
    struct arena arena;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const uint64_t *words = (const uint64_t *)(const void *)arena_bytes;
        uint32_t levels = rows[i].format == &page_table_host5 || rows[i].format == &page_table_ept5 ? 5 : 4;

        arena_start(&arena, rows[i].format);
        assert_int_equal(
            page_table_map(&arena.tree, GIB, hpa(7 * GIB), GIB + 4 * KIB, rows[i].attributes, LEVEL_1G, NULL),
            STATUS_OK);
        /* Tables are taken from the top down: root, ..., level 2, level 1, level 0. */
        assert_int_equal(words[(levels - 3) * 512 + 1], 7 * GIB | rows[i].large);
        assert_int_equal(words[(levels - 1) * 512], 8 * GIB | rows[i].small);
        assert_int_equal(words[(levels - 2) * 512] & 0xfff,
                         rows[i].format == &page_table_ept4 || rows[i].format == &page_table_ept5 ? 0x407 : 0x7);
        arena_end(&arena);
    }
}

FOR_EACH_FORMAT(the_flush_owed_is_none_where_nothing_was_there)
{
    enum page_flush flush = FLUSH_ALL;

    assert_int_equal(page_table_map(&arena->tree, 0, hpa(0), GIB, arena_rwx, LEVEL_1G, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_NONE);
    assert_int_equal(page_table_map(&arena->tree, 0, hpa(0), GIB, arena_rwx, LEVEL_1G, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_NONE);
    assert_int_equal(page_table_map(&arena->tree, 0, hpa(GIB), GIB, arena_rwx, LEVEL_1G, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_RANGE);
    assert_int_equal(page_table_unmap(&arena->tree, 0, 4 * KIB, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_RANGE);
    assert_int_equal(page_table_map(&arena->tree, 0, hpa(GIB), GIB, arena_rwx, LEVEL_1G, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_ALL);
    assert_int_equal(page_table_unmap(&arena->tree, 4 * GIB, GIB, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_NONE);
}

FOR_EACH_FORMAT(an_empty_range_is_fine_and_does_nothing)
{
    enum page_flush flush = FLUSH_ALL;

    assert_int_equal(page_table_map(&arena->tree, GIB, hpa(0), 0, arena_rwx, LEVEL_1G, &flush), STATUS_OK);
    assert_int_equal(flush, FLUSH_NONE);
    assert_int_equal(page_table_unmap(&arena->tree, GIB, 0, &flush), STATUS_OK);
    assert_int_equal(page_table_protect(&arena->tree, GIB, 0, arena_ro, &flush), STATUS_OK);
    assert_int_equal(arena_used(arena), 1);
}

static void a_new_tree_that_maps_nothing_is_counted_as_its_root(void **state)
{
    (void)state;
    assert_int_equal(page_table_count_new(&page_table_ept4, LEVEL_1G, GIB, hpa(0), 0), 1);
    assert_int_equal(page_table_count_new(&page_table_ept4, LEVEL_1G, 1, hpa(0), 4 * KIB), 1);
    assert_int_equal(page_table_count_new(&page_table_npt5, LEVEL_1G, 0, hpa(0), 64 * GIB), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_tree_is_one_table_and_maps_nothing),
        cmocka_unit_test(the_largest_leaf_that_fits_is_used_everywhere),
        cmocka_unit_test(the_target_alignment_limits_the_leaf),
        cmocka_unit_test(the_capability_limits_the_leaf),
        cmocka_unit_test(every_right_and_type_comes_back_as_it_was_given),
        cmocka_unit_test(unmap_takes_what_it_names_and_leaves_the_rest),
        cmocka_unit_test(unmapping_everything_gives_every_table_back_but_the_root),
        cmocka_unit_test(protect_changes_rights_and_not_addresses),
        cmocka_unit_test(the_count_is_exact_and_one_table_less_changes_nothing),
        cmocka_unit_test(bad_ranges_get_a_named_status_and_change_nothing),
        cmocka_unit_test(rights_that_the_cpu_lacks_are_refused_by_name),
        cmocka_unit_test(a_canonical_upper_half_belongs_to_the_host_formats_only),
        cmocka_unit_test(root_pointers_are_what_the_manuals_say),
        cmocka_unit_test(leaves_and_links_have_the_bits_of_the_manuals),
        cmocka_unit_test(the_flush_owed_is_none_where_nothing_was_there),
        cmocka_unit_test(a_new_tree_that_maps_nothing_is_counted_as_its_root),
        cmocka_unit_test(an_empty_range_is_fine_and_does_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
