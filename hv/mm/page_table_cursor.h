/* SPDX-License-Identifier: MIT */
/*
 * The walk that all range operations share. Internal to hv/mm/page_table*.c.
 *
 *      56     48 47     39 38     30 29     21 20     12 11       0
 *     +---------+---------+---------+---------+---------+----------+
 *     | level 4 | level 3 | level 2 | level 1 | level 0 |  offset  |   nine bits each: the index into the table of
 *     +---------+---------+---------+---------+---------+----------+   that level
 *
 * A cursor stands in one table at a time. An operation is two functions: `step` looks at the entries from the cursor
 * on, and either goes past as many as it can (a tight loop over one table) or enters the table below one; `leave` is
 * called once for each table below the root that was entered, when the range is through with it. There is no recursion:
 * the path is an array, with one place per level.
 */
#ifndef HV_MM_PAGE_TABLE_CURSOR_H
#define HV_MM_PAGE_TABLE_CURSOR_H

#include "hv/mm/page_table_format.h"

struct page_cursor {
    uint64_t address; /* [address, stops[level]) is what is left to do in this table */
    uint32_t level;
    uint32_t top; /* the root's level */
    uint64_t window;
    uint64_t *tables[PAGE_LEVELS_MAX];
    uint64_t stops[PAGE_LEVELS_MAX];
};

static inline uint64_t *cursor_table(const struct page_cursor *cursor, uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(cursor->window + (entry & ADDRESS_MASK));
}

static inline void cursor_start(struct page_cursor *cursor, const struct page_table *table, uint64_t start,
                                uint64_t end)
{
    cursor->address = start;
    cursor->top = table->format->levels - 1u;
    cursor->level = cursor->top;
    cursor->window = table->pool->window;
    cursor->tables[cursor->top] = cursor_table(cursor, table->root.value);
    cursor->stops[cursor->top] = end;
}

static inline uint64_t *cursor_entry(const struct page_cursor *cursor)
{
    return &cursor->tables[cursor->level][level_index(cursor->address, cursor->level)];
}

static inline uint64_t cursor_stop(const struct page_cursor *cursor)
{
    return cursor->stops[cursor->level];
}

/* How many entries, from the one that the cursor is at, the range covers whole in this table. */
static inline uint32_t cursor_whole(const struct page_cursor *cursor)
{
    uint64_t bytes = level_bytes(cursor->level);

    if (!is_aligned(cursor->address, bytes)) {
        return 0;
    }
    return (uint32_t)((cursor_stop(cursor) - cursor->address) >> level_shift(cursor->level));
}

/* Where the range ends within the entry that the cursor is at. */
static inline uint64_t cursor_entry_stop(const struct page_cursor *cursor)
{
    uint64_t bytes = level_bytes(cursor->level);

    return min_u64(cursor_stop(cursor), align_down(cursor->address, bytes) + bytes);
}

static inline void cursor_skip(struct page_cursor *cursor)
{
    cursor->address = cursor_entry_stop(cursor);
}

static inline void cursor_advance(struct page_cursor *cursor, uint32_t entries)
{
    cursor->address += (uint64_t)entries << level_shift(cursor->level);
}

static inline void cursor_enter(struct page_cursor *cursor, uint64_t *table)
{
    uint64_t stop = cursor_entry_stop(cursor);

    cursor->level--;
    cursor->tables[cursor->level] = table;
    cursor->stops[cursor->level] = stop;
}

/* Up from every table that the range is through with, for operations that have nothing to do there. False at the
 * end. */
static inline bool cursor_goes_on(struct page_cursor *cursor)
{
    while (cursor->address == cursor_stop(cursor)) {
        if (cursor->level == cursor->top) {
            return false;
        }
        cursor->level++;
    }
    return true;
}

/* The entry that links to the table of `level` on the path; `inside` is an address that this table covers. */
static inline uint64_t *cursor_parent(const struct page_cursor *cursor, uint32_t level, uint64_t inside)
{
    return &cursor->tables[level + 1][level_index(inside, level + 1)];
}

/*
 * Checks [address, address + bytes) against the format's width and gives it as unsigned offsets: a canonical address of
 * the upper half loses its sign extension here, and nowhere else.
 */
static inline enum status page_range_check(const struct page_table_format *format, uint64_t address, uint64_t bytes,
                                           uint64_t *start)
{
    uint64_t width = 1ULL << format->address_bits;
    uint64_t half = width >> 1;
    uint64_t limit = format->sign_extended ? half : width;

    if (!is_aligned(address | bytes, PAGE_BYTES)) {
        return STATUS_MISALIGNED;
    }
    *start = address;
    if (format->sign_extended && address >= 0 - half) {
        *start = address & (width - 1);
        limit = width;
    }
    return *start < limit && bytes <= limit - *start ? STATUS_OK : STATUS_OVERFLOW;
}

#endif
