/* SPDX-License-Identifier: MIT */
/*
 * Where others write to a tree at the same time: the hardware its accessed and dirty bits, other CPUs their mappings.
 * Every store here is an atomic read-modify-write, and every answer comes from the value that it replaced.
 */
#include "hv/mm/page_table.h"
#include "hv/mm/page_table_edit.h"

static uint64_t touch_mask(const struct page_table_format *format, uint32_t which)
{
    return ((which & PAGE_ACCESSED) != 0 ? format->accessed : 0) | ((which & PAGE_DIRTY) != 0 ? format->dirty : 0);
}

/* --- concurrent map --- */

enum status page_table_map_concurrent(struct page_table *table, uint64_t address, hpa_t to, enum page_level level,
                                      struct page_attributes attributes, struct page_lookup *found)
{
    enum status status = format_check(table->format, &table->caps, &attributes);
    struct page_entry entry;
    uint64_t absent = 0;

    if (status != STATUS_OK) {
        return status;
    }
    if ((uint32_t)level > (uint32_t)table->caps.largest_leaf) {
        return STATUS_INVALID;
    }
    if (!is_aligned(address | to.value, level_bytes((uint32_t)level))) {
        return STATUS_MISALIGNED;
    }
    if (to.value >= 1ULL << table->caps.physical_bits) {
        return STATUS_OVERFLOW;
    }
    status = page_table_walk(table, address, level, &entry);
    if (status != STATUS_OK) {
        return status;
    }
    if (entry.level != level && !entry_present(table->format, entry.value)) {
        return STATUS_NOT_FOUND;
    }
    if (entry.level == level &&
        __atomic_compare_exchange_n(table_pool_pointer(table->pool, entry.at.value), &absent,
                                    to.value | format_encode(table->format, &attributes, level != LEVEL_4K), false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return STATUS_OK;
    }
    if (found != NULL) {
        page_table_lookup(table, address, found);
    }
    return STATUS_BUSY;
}

enum status page_table_unmap_concurrent(struct page_table *table, uint64_t address, enum page_level level)
{
    struct page_entry entry;
    enum status status = page_table_walk(table, address, level, &entry);

    if (status != STATUS_OK) {
        return status;
    }
    if (entry.level != level || !entry_is_leaf(table->format, entry.value, (uint32_t)level)) {
        return STATUS_NOT_FOUND;
    }
    __atomic_store_n(table_pool_pointer(table->pool, entry.at.value), 0, __ATOMIC_RELEASE);
    return STATUS_OK;
}

/* --- one entry --- */

/* The leaf of an address, for a change of its accessed and dirty bits. */
static enum status touch_find(const struct page_table *table, uint64_t address, struct page_entry *entry)
{
    enum status status;

    if (!format_has_touched(table->format, &table->caps)) {
        return STATUS_UNSUPPORTED;
    }
    status = page_table_walk(table, address, LEVEL_4K, entry);
    if (status == STATUS_OK && !entry_present(table->format, entry->value)) {
        return STATUS_NOT_FOUND;
    }
    return status;
}

enum status page_table_mark(struct page_table *table, uint64_t address, uint32_t which)
{
    struct page_entry leaf, link;
    enum status status = touch_find(table, address, &leaf);

    if (status != STATUS_OK) {
        return status;
    }
    /* The links first, as the hardware does it: a harvest that finds the leaf must find the way to it. */
    for (uint32_t level = table->format->levels - 1u; level > (uint32_t)leaf.level; level--) {
        (void)page_table_walk(table, address, (enum page_level)level, &link);
        __atomic_fetch_or(table_pool_pointer(table->pool, link.at.value), table->format->accessed, __ATOMIC_RELAXED);
    }
    __atomic_fetch_or(table_pool_pointer(table->pool, leaf.at.value), touch_mask(table->format, which),
                      __ATOMIC_RELAXED);
    return STATUS_OK;
}

enum status page_table_clear(struct page_table *table, uint64_t address, uint32_t which, uint32_t *had,
                             enum page_flush *flush)
{
    const struct page_table_format *format = table->format;
    uint64_t mask = touch_mask(format, which);
    struct page_entry leaf;
    enum status status = touch_find(table, address, &leaf);
    uint64_t old;

    if (status != STATUS_OK) {
        return status;
    }
    old = __atomic_fetch_and(table_pool_pointer(table->pool, leaf.at.value), ~mask, __ATOMIC_ACQ_REL) & mask;
    if (had != NULL) {
        *had = ((old & format->accessed) != 0 ? PAGE_ACCESSED : 0) | ((old & format->dirty) != 0 ? PAGE_DIRTY : 0);
    }
    if (flush != NULL) {
        *flush = old != 0 ? FLUSH_RANGE : FLUSH_NONE;
    }
    return STATUS_OK;
}

/* --- harvest --- */

struct harvester {
    struct page_cursor cursor;
    const struct page_table_format *format;
    struct page_harvest *harvest;
    uint64_t mask;
    uint64_t start; /* of the range: page 0 of the bitmap */
    bool found;
};

/* Bits [first, first + count) of the bitmap. */
static void bitmap_set(uint64_t *bitmap, uint64_t first, uint64_t count)
{
    uint64_t end = first + count;

    while (first < end) {
        uint64_t stop = min_u64(end, align_down(first, 64) + 64);

        bitmap[first / 64] |= bit_mask((unsigned)(first % 64), (unsigned)((stop - 1) % 64));
        first = stop;
    }
}

/* A leaf, of which [address, stop) is in the range. If that is not all of it, it keeps its bits: they stand for the
 * rest too. */
static void harvest_leaf(struct harvester *harvester, uint64_t *entry, uint64_t address, uint64_t stop)
{
    struct page_harvest *harvest = harvester->harvest;
    uint64_t pages = (stop - address) >> PAGE_SHIFT;
    bool whole = is_aligned(address, level_bytes(harvester->cursor.level)) &&
                 stop - address == level_bytes(harvester->cursor.level);
    uint64_t old =
        harvest->clear && whole ? __atomic_fetch_and(entry, ~harvester->mask, __ATOMIC_ACQ_REL) : entry_load(entry);

    if ((old & harvester->mask) == 0) {
        return;
    }
    harvester->found = harvester->found || whole;
    harvest->pages += pages;
    if (harvest->bitmap != NULL) {
        bitmap_set(harvest->bitmap, (address - harvester->start) >> PAGE_SHIFT, pages);
    }
}

static inline uint64_t line_or(const uint64_t *entry)
{
    uint64_t any = 0;

#pragma clang loop unroll(full)
    for (uint32_t i = 0; i < 8; i++) {
        any |= __atomic_load_n(&entry[i], __ATOMIC_RELAXED);
    }
    return any;
}

/* 4 KiB entries: a cache line of eight at a time, as long as none of them is touched. */
static void harvest_pages(struct harvester *harvester)
{
    struct page_cursor *cursor = &harvester->cursor;
    uint64_t *entry = cursor_entry(cursor);
    uint64_t *end = entry + cursor_whole(cursor);
    uint64_t address = cursor->address;

    while (entry < end) {
        if (end - entry >= 8 && (line_or(entry) & harvester->mask) == 0) {
            entry += 8;
            address += 8 * PAGE_BYTES;
            continue;
        }
        if ((entry_load(entry) & harvester->mask) != 0) {
            harvest_leaf(harvester, entry, address, address + PAGE_BYTES);
        }
        entry++;
        address += PAGE_BYTES;
    }
    cursor->address = address;
}

static void harvest_step(struct harvester *harvester)
{
    struct page_cursor *cursor = &harvester->cursor;
    uint64_t *entry = cursor_entry(cursor);
    uint64_t value = entry_load(entry);

    if (cursor->level == 0) {
        harvest_pages(harvester);
        return;
    }
    if (entry_is_link(harvester->format, value, cursor->level) && (value & harvester->format->accessed) != 0) {
        cursor_enter(cursor, cursor_table(cursor, value));
        return;
    }
    if (entry_is_leaf(harvester->format, value, cursor->level) && (value & harvester->mask) != 0) {
        harvest_leaf(harvester, entry, cursor->address, cursor_entry_stop(cursor));
    }
    cursor_skip(cursor);
}

static void harvest_run(struct harvester *harvester)
{
    struct page_cursor *cursor = &harvester->cursor;

    while (cursor_goes_on(cursor)) {
        harvest_step(harvester);
    }
}

enum status page_table_harvest(struct page_table *table, uint64_t address, uint64_t bytes, struct page_harvest *harvest,
                               enum page_flush *flush)
{
    struct harvester harvester = {.format = table->format, .harvest = harvest};
    uint64_t start;
    enum status status = page_range_check(table->format, address, bytes, &start);

    if (status != STATUS_OK) {
        return status;
    }
    if (!format_has_touched(table->format, &table->caps)) {
        return STATUS_UNSUPPORTED;
    }
    harvest->pages = 0;
    harvester.mask = touch_mask(table->format, harvest->which);
    harvester.start = start;
    cursor_start(&harvester.cursor, table, start, start + bytes);
    harvest_run(&harvester);
    if (flush != NULL) {
        *flush = harvester.found && harvest->clear ? FLUSH_RANGE : FLUSH_NONE;
    }
    return STATUS_OK;
}
