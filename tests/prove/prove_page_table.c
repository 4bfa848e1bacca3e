/* SPDX-License-Identifier: MIT */
/*
 * The operations on trees, for each format: any tables (all memory below 2^52 may hold anything), any range, any
 * attributes. Proved is that the walk stays in its arrays of levels, that no shift is too wide, that nothing is read
 * before it is written, and that every access outside the operation's own variables is one to a table, at
 * window + (52-bit address). That links lead to tables of the pool is the tree's invariant, not proved here.
 */
#include "hv/mm/page_table.h"
#include "hv/mm/page_table_find.h"

static struct table_pool pool;
static struct page_table table;

static struct page_attributes any_attributes(void)
{
    struct page_attributes attributes;

    attributes.read = prove_any_u8() & 1;
    attributes.write = prove_any_u8() & 1;
    attributes.execute = prove_any_u8() & 1;
    attributes.user = prove_any_u8() & 1;
    attributes.global = prove_any_u8() & 1;
    attributes.ignore_guest = prove_any_u8() & 1;
    attributes.cache = (enum cache_type)Frama_C_interval(CACHE_UC, CACHE_WB);
    return attributes;
}

static enum page_level any_level(void)
{
    return (enum page_level)Frama_C_interval(LEVEL_4K, LEVEL_256T);
}

static void any_tree(const struct page_table_format *format)
{
    pool.window = 0;
    pool.start = hpa(PAGE_BYTES);
    pool.pages = (uint64_t)Frama_C_unsigned_long_long_interval(1, 1ULL << 39);
    pool.fresh = (uint64_t)Frama_C_unsigned_long_long_interval(0, 1ULL << 39);
    pool.free_head = (uint64_t)Frama_C_unsigned_long_long_interval(0, 1ULL << 39) * PAGE_BYTES;
    pool.free_count = (uint64_t)Frama_C_unsigned_long_long_interval(0, 1ULL << 39);
    table.format = format;
    table.caps.largest_leaf = (enum page_level)Frama_C_interval(LEVEL_4K, LEVEL_1G);
    table.caps.physical_bits = (uint8_t)Frama_C_interval(32, 52);
    table.caps.no_execute = prove_any_u8() & 1;
    table.caps.execute_only = prove_any_u8() & 1;
    table.caps.accessed_dirty = prove_any_u8() & 1;
    table.pool = &pool;
    table.root = hpa((uint64_t)Frama_C_unsigned_long_long_interval(1, (1ULL << 40) - 1) * PAGE_BYTES);
}

static void prove_shape(const struct page_table_format *format)
{
    struct page_entry entry;
    enum page_flush flush;
    uint64_t tables;

    any_tree(format);
    (void)page_table_populate_count(&table, prove_any_u64(), prove_any_u64(), any_level(), &tables);
    (void)page_table_populate(&table, prove_any_u64(), prove_any_u64(), any_level(), &flush);
    (void)page_table_walk_create(&table, prove_any_u64(), any_level(), &entry, &flush);
    (void)page_table_vacate(&table, prove_any_u64(), prove_any_u64(), &flush);
    (void)page_table_coalesce(&table, prove_any_u64(), prove_any_u64(), any_level(), &flush);
}

static void prove_touch(const struct page_table_format *format)
{
    struct page_harvest harvest;
    struct page_lookup lookup;
    enum page_flush flush;
    uint32_t had;

    any_tree(format);
    harvest.which = prove_any_u32();
    harvest.clear = prove_any_u8() & 1;
    harvest.bitmap = NULL;
    harvest.pages = 0;
    (void)page_table_map_concurrent(&table, prove_any_u64(), hpa(prove_any_u64()), any_level(), any_attributes(),
                                    &lookup);
    (void)page_table_mark(&table, prove_any_u64(), prove_any_u32());
    (void)page_table_clear(&table, prove_any_u64(), prove_any_u32(), &had, &flush);
    (void)page_table_harvest(&table, prove_any_u64(), prove_any_u64(), &harvest, &flush);
}

static void prove_format(const struct page_table_format *format)
{
    struct page_lookup lookup;
    struct page_entry entry;
    enum page_flush flush;
    uint64_t tables;

    any_tree(format);
    page_table_lookup(&table, prove_any_u64(), &lookup);
    (void)page_table_walk(&table, prove_any_u64(), any_level(), &entry);
    (void)page_table_map_count(&table, prove_any_u64(), hpa(prove_any_u64()), prove_any_u64(), any_level(), &tables);
    (void)page_table_map(&table, prove_any_u64(), hpa(prove_any_u64()), prove_any_u64(), any_attributes(), any_level(),
                         &flush);
    (void)page_table_unmap(&table, prove_any_u64(), prove_any_u64(), &flush);
    (void)page_table_protect(&table, prove_any_u64(), prove_any_u64(), any_attributes(), &flush);
    prove_shape(format);
    prove_touch(format);
}

int main(void)
{
    prove_format(&page_table_host4);
    prove_format(&page_table_host5);
    prove_format(&page_table_ept4);
    prove_format(&page_table_ept5);
    prove_format(&page_table_npt4);
    prove_format(&page_table_npt5);
    return 0;
}
