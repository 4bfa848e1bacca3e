/* SPDX-License-Identifier: MIT */
/*
 * What the page-table tests share: an arena that stands for host-physical memory, a tree in it, the six formats, and a
 * count of the pool, which every test gets back to where it started. cmocka's headers come before this one.
 */
#ifndef TESTS_UNIT_PAGE_TABLE_ARENA_H
#define TESTS_UNIT_PAGE_TABLE_ARENA_H

#include "hv/mm/page_table.h"

#define ARENA_PAGES 4096u
#define ARENA_START (3 * GIB + 0x5000)
#define ARENA_FORMATS 6u

static uint8_t arena_bytes[(uint64_t)ARENA_PAGES * PAGE_BYTES] __attribute__((aligned(4096)));

struct arena {
    struct table_pool pool;
    struct page_table tree;
};

static const struct page_table_format *const arena_formats[ARENA_FORMATS] = {
    &page_table_host4, &page_table_host5, &page_table_ept4, &page_table_ept5, &page_table_npt4, &page_table_npt5,
};

static const struct page_table_caps arena_caps = {
    .largest_leaf = LEVEL_1G,
    .physical_bits = 46,
    .no_execute = true,
    .execute_only = true,
    .accessed_dirty = true,
};

static const struct page_attributes arena_rwx = {
    .read = true, .write = true, .execute = true, .user = true, .cache = CACHE_WB};
static const struct page_attributes arena_ro = {.read = true, .user = true, .cache = CACHE_WT};

static inline void arena_start_with(struct arena *arena, const struct page_table_format *format,
                                    const struct page_table_caps *caps, uint64_t pages)
{
    uint64_t window = (uint64_t)(uintptr_t)arena_bytes - ARENA_START;

    assert_int_equal(table_pool_init(&arena->pool, window, hpa(ARENA_START), pages), STATUS_OK);
    assert_int_equal(page_table_init(&arena->tree, format, caps, &arena->pool), STATUS_OK);
}

static inline void arena_start(struct arena *arena, const struct page_table_format *format)
{
    arena_start_with(arena, format, &arena_caps, ARENA_PAGES);
}

static inline void arena_end(struct arena *arena)
{
    uint64_t pages = arena->pool.pages;

    page_table_destroy(&arena->tree);
    assert_int_equal(arena->pool.free_count, pages);
}

static inline bool arena_same(const struct page_attributes *a, const struct page_attributes *b)
{
    return a->read == b->read && a->write == b->write && a->execute == b->execute && a->user == b->user &&
           a->global == b->global && a->ignore_guest == b->ignore_guest && a->cache == b->cache;
}

static inline uint64_t arena_used(const struct arena *arena)
{
    return arena->pool.pages - arena->pool.free_count;
}

static inline void arena_map(struct arena *arena, uint64_t address, uint64_t to, uint64_t bytes)
{
    assert_int_equal(page_table_map(&arena->tree, address, hpa(to), bytes, arena_rwx, LEVEL_1G, NULL), STATUS_OK);
}

static inline void arena_unmap(struct arena *arena, uint64_t address, uint64_t bytes)
{
    assert_int_equal(page_table_unmap(&arena->tree, address, bytes, NULL), STATUS_OK);
}

static inline void arena_expect(const struct arena *arena, uint64_t address, uint64_t to, enum page_level level)
{
    struct page_lookup lookup;

    page_table_lookup(&arena->tree, address, &lookup);
    assert_true(lookup.present);
    assert_int_equal(lookup.to.value, to);
    assert_int_equal(lookup.level, level);
}

static inline void arena_expect_hole(const struct arena *arena, uint64_t address)
{
    struct page_lookup lookup;

    page_table_lookup(&arena->tree, address, &lookup);
    assert_false(lookup.present);
}

/* Runs a test body once per format; the body gives everything back. */
static inline void each_format(void (*body)(struct arena *))
{
    struct arena arena;

    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        arena_start(&arena, arena_formats[i]);
        body(&arena);
        arena_end(&arena);
    }
}

#define FOR_EACH_FORMAT(name)                   \
    static void name##_in(struct arena *arena); \
    static void name(void **state)              \
    {                                           \
        (void)state;                            \
        each_format(name##_in);                 \
    }                                           \
    static void name##_in(struct arena *arena)

#endif
