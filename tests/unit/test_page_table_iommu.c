/* SPDX-License-Identifier: MIT */
/*
 * The page-table core with the formats of IOMMUs: the bits are those of the manuals, and after any operations in any
 * order each page leads where a list of pages says, by the core's lookup and by a walker that is written from the
 * manuals; and every table comes back.
 */
#include "hv/mm/page_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define POOL_START 0x80000000ULL
#define POOL_PAGES 64u
#define PAGES 2048u                      /* of the list: 8 MiB */
#define BASE (512 * GIB - PAGES * 2048u) /* half of them on each side of the fourth level's first edge */
#define STEPS 400u
#define ADDRESS 0x000ffffffffff000ULL

static uint8_t memory[POOL_PAGES * PAGE_BYTES] __attribute__((aligned(4096)));
static struct table_pool pool;
static struct page_table tree;

static const struct row {
    const struct page_table_format *format;
    uint32_t levels;
    bool amd;
    uint64_t snoop; /* in each leaf, and in no link */
} rows[] = {{&page_table_vtd3, 3, false, 0},
            {&page_table_vtd4, 4, false, 0},
            {&page_table_vtd5, 5, false, 0},
            {&page_table_vtd3_snoop, 3, false, 1ULL << 11},
            {&page_table_vtd4_snoop, 4, false, 1ULL << 11},
            {&page_table_vtd5_snoop, 5, false, 1ULL << 11},
            {&page_table_amdvi4, 4, true, 1ULL << 60}};

static void start(const struct row *row, enum page_level largest)
{
    const struct page_table_caps caps = {.largest_leaf = largest, .physical_bits = 48};

    assert_int_equal(table_pool_init(&pool, (uint64_t)(uintptr_t)memory - POOL_START, hpa(POOL_START), POOL_PAGES),
                     STATUS_OK);
    assert_int_equal(page_table_init(&tree, row->format, &caps, &pool), STATUS_OK);
}

static uint64_t word(uint64_t table, uint64_t index)
{
    return ((const uint64_t *)(const void *)(memory + ((table & ADDRESS) - POOL_START)))[index];
}

/* VT-d 9.8 "Second-Stage Paging Entries", AMD-Vi 2.2.3 "I/O Page Tables for Host Translations". Rights: 1 read, 2
 * write. */
static uint32_t walk(const struct row *row, uint64_t address, uint64_t *to, uint32_t *level)
{
    uint64_t table = tree.root.value;
    uint32_t rights = 3;

    for (*level = row->levels - 1;; (*level)--) {
        uint64_t entry = word(table, address >> (12 + 9 * *level) & 511);
        uint64_t bytes = 1ULL << (12 + 9 * *level);

        rights &= row->amd ? ((entry & 1) != 0 ? (uint32_t)(entry >> 61) & 3 : 0) : (uint32_t)entry & 3;
        if (rights == 0) {
            return 0;
        }
        if (*level == 0 || (row->amd ? (entry >> 9 & 7) == 0 : (entry & 0x80) != 0)) {
            *to = (entry & ADDRESS & ~(bytes - 1)) | (address & (bytes - 1));
            assert_int_equal(entry & ADDRESS & (bytes - 1), 0);
            assert_int_equal(entry & (1ULL << 11 | 1ULL << 60), row->snoop);
            return rights;
        }
        assert_int_equal(entry & row->snoop, 0);
        if (row->amd) {
            assert_int_equal(entry >> 9 & 7, *level);
            assert_int_equal(entry & (0xffULL << 52 | 1ULL << 60), 0); /* reserved in a link */
        }
        table = entry;
    }
}

static const struct page_attributes read_write = {.read = true, .write = true, .execute = true, .cache = CACHE_WB};
static const struct page_attributes read_only = {.read = true, .execute = true, .cache = CACHE_WB};

static void bits_are_those_of_the_manuals(void **state)
{
    uint64_t to;
    uint32_t level;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        start(&rows[i], LEVEL_1G);
        assert_int_equal(page_table_map(&tree, GIB, hpa(7 * GIB), GIB, read_write, LEVEL_1G, NULL), STATUS_OK);
        assert_int_equal(page_table_map(&tree, 0, hpa(2 * MIB), 2 * MIB + 4 * KIB, read_only, LEVEL_1G, NULL),
                         STATUS_OK);
        assert_int_equal(walk(&rows[i], GIB + 5, &to, &level), 3);
        assert_int_equal(level, LEVEL_1G);
        assert_int_equal(to, 7 * GIB + 5);
        assert_int_equal(walk(&rows[i], 0, &to, &level), 1);
        assert_int_equal(level, LEVEL_2M);
        assert_int_equal(walk(&rows[i], 2 * MIB, &to, &level), 1);
        assert_int_equal(level, LEVEL_4K);
        assert_int_equal(to, 4 * MIB);
        assert_int_equal(page_table_root_pointer(&tree), tree.root.value);
        page_table_destroy(&tree);
        assert_int_equal(pool.free_count, POOL_PAGES);
    }
}

/* ---- any order ---- */

struct page {
    uint64_t to;
    uint32_t rights;
};

static struct page list[PAGES];
static uint32_t seed;

static uint32_t below(uint32_t end)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % end;
}

static uint64_t base_of(const struct row *row)
{
    return row->levels == 3 ? GIB - PAGES * 2048u : BASE;
}

/* 3 GiB below the window for devices and 2 GiB above 4 GiB, as a guest of 5 GiB has them. */
static void a_guest_of_whole_gibibytes_takes_three_tables_at_most(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        start(&rows[i], LEVEL_1G);
        assert_int_equal(page_table_map(&tree, 0, hpa(8 * GIB), 3 * GIB, read_write, LEVEL_1G, NULL), STATUS_OK);
        assert_int_equal(page_table_map(&tree, 4 * GIB, hpa(11 * GIB), 2 * GIB, read_write, LEVEL_1G, NULL), STATUS_OK);
        assert_int_equal(pool.fresh, rows[i].levels - 2);
        assert_true(pool.fresh <= 3);
    }
}

static void step(const struct row *row)
{
    uint32_t unit = below(2) ? 1 : 512;
    uint32_t first = below(PAGES / unit) * unit;
    uint32_t count = (1 + below((PAGES - first) / unit)) * unit;
    uint64_t address = base_of(row) + first * PAGE_BYTES, bytes = count * PAGE_BYTES;
    uint64_t to = 16 * GIB + (below(2) ? address % (8 * GIB) : below(4096) * PAGE_BYTES);
    bool writes = below(2) != 0;
    uint32_t what = below(6);
    enum status status = STATUS_OK;

    switch (what) {
    case 0:
        status = page_table_unmap(&tree, address, bytes, NULL);
        break;
    case 1:
        status = page_table_protect(&tree, address, bytes, writes ? read_write : read_only, NULL);
        break;
    case 2:
        (void)page_table_populate(&tree, address, bytes, LEVEL_4K, NULL);
        break;
    case 3:
        (void)page_table_vacate(&tree, base_of(row), PAGES * PAGE_BYTES, NULL);
        (void)page_table_coalesce(&tree, base_of(row), PAGES * PAGE_BYTES, LEVEL_2M, NULL);
        break;
    default:
        status = page_table_map(&tree, address, hpa(to), bytes, writes ? read_write : read_only, LEVEL_1G, NULL);
        break;
    }
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        struct page *page = &list[first + i];

        page->rights = what == 0 ? 0 : what == 1 ? (page->rights != 0 ? 1u + 2u * writes : 0) : page->rights;
        if (what > 3) {
            *page = (struct page){to + i * PAGE_BYTES, 1u + 2u * writes};
        }
    }
}

static void compare(const struct row *row)
{
    for (uint32_t i = 0; i < PAGES; i++) {
        struct page_lookup found;
        uint64_t address = base_of(row) + i * PAGE_BYTES, to = 0;
        uint32_t level, rights = walk(row, address, &to, &level);

        page_table_lookup(&tree, address, &found);
        assert_int_equal(rights, list[i].rights);
        assert_int_equal(found.present, rights != 0);
        if (rights != 0) {
            assert_int_equal(to, list[i].to);
            assert_int_equal(found.to.value, to);
            assert_int_equal(found.attributes.write, rights == 3);
            assert_int_equal(found.level, level);
        }
    }
}

static void any_order_leads_where_the_list_says(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        seed = i;
        memset(list, 0, sizeof(list));
        start(&rows[i], i % 2 == 0 ? LEVEL_1G : LEVEL_2M);
        for (uint32_t k = 0; k < STEPS; k++) {
            step(&rows[i]);
            compare(&rows[i]);
        }
        page_table_destroy(&tree);
        assert_int_equal(pool.free_count, POOL_PAGES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_are_those_of_the_manuals),
        cmocka_unit_test(a_guest_of_whole_gibibytes_takes_three_tables_at_most),
        cmocka_unit_test(any_order_leads_where_the_list_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
