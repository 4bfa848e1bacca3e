/* SPDX-License-Identifier: MIT */
/*
 * How many tables an operation needs, before it changes anything. Where a tree has a hole or a leaf, arithmetic tells;
 * only where tables exist are they looked at, and of those only the entries that the range covers in part or that are
 * too large for a leaf. So counting costs a small part of the operation, and is exact.
 */
#include "hv/mm/page_table.h"
#include "hv/mm/page_table_edit.h"

/*
 * The tables of [start, end) below one entry of `level`, if there are none yet. One is needed per entry that is
 * touched: above the leaf level always, at or below it only where the range covers the entry in part, which the first
 * and the last can be.
 */
static uint64_t tables_below(uint64_t start, uint64_t end, uint32_t level, uint32_t leaf_level)
{
    uint64_t tables = 0;

    for (uint32_t above = 1; above <= level; above++) {
        uint64_t bytes = level_bytes(above);
        uint64_t touched = (align_down(end - 1, bytes) - align_down(start, bytes)) / bytes + 1;
        bool start_part = !is_aligned(start, bytes);
        bool end_part = !is_aligned(end, bytes);

        if (above > leaf_level) {
            tables += touched;
        } else {
            tables += touched == 1 ? (start_part || end_part) : (uint64_t)start_part + end_part;
        }
    }
    return tables;
}

static void need_step(struct page_need *need)
{
    struct page_cursor *cursor = &need->cursor;
    uint32_t whole = cursor->level <= need->leaf_level ? cursor_whole(cursor) : 0;
    uint64_t value;
    bool needs;

    if (whole != 0) {
        cursor_advance(cursor, whole);
        return;
    }
    value = entry_load(cursor_entry(cursor));
    if (entry_is_link(need->format, value, cursor->level)) {
        cursor_enter(cursor, cursor_table(cursor, value));
        return;
    }
    needs = entry_present(need->format, value)
                ? !(need->keeps && leaf_has_flags(need->format, value, need->flags, cursor->level))
                : need->fills_holes;
    if (needs) {
        need->tables += tables_below(cursor->address, cursor_entry_stop(cursor), cursor->level, need->leaf_level);
    }
    cursor_skip(cursor);
}

void page_need_count(struct page_need *need, const struct page_table *table, uint64_t start, uint64_t bytes)
{
    struct page_cursor *cursor = &need->cursor;

    cursor_start(cursor, table, start, start + bytes);
    need->format = table->format;
    need->tables = 0;
    while (cursor_goes_on(cursor)) {
        need_step(need);
    }
}

uint64_t page_table_count_new(const struct page_table_format *format, enum page_level largest, uint64_t address,
                              hpa_t to, uint64_t bytes)
{
    uint64_t start;

    /* The root is the one table below an entry that does not exist. */
    if (bytes == 0 || page_range_check(format, address, bytes, &start) != STATUS_OK) {
        return 1;
    }
    return tables_below(start, start + bytes, format->levels, leaf_level_for(largest, start, to.value));
}
