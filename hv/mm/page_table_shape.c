/* SPDX-License-Identifier: MIT */
/*
 * Operations that change which tables there are and not what is mapped: populate, vacate, coalesce.
 *
 * That a table was populated is a bit in the link to it (the format's `pinned`), and in all links above. It is not
 * counted: two populate of overlapping ranges pin the shared tables once, and one vacate over a range unpins all that
 * it touches.
 */
#include "hv/mm/page_table.h"
#include "hv/mm/page_table_edit.h"

#include "hv/base/memory.h"

/* --- populate --- */

/* The range grows to whole entries of `level`: that is what populating a part of one means. */
static enum status populate_need(struct page_need *need, const struct page_table *table, uint64_t address,
                                 uint64_t bytes, enum page_level level, uint64_t *start, uint64_t *end)
{
    enum status status = page_range_check(table->format, address, bytes, start);

    if ((uint32_t)level >= table->format->levels) {
        return STATUS_INVALID;
    }
    if (status == STATUS_OK) {
        need->leaf_level = (uint32_t)level;
        *end = bytes == 0 ? *start : align_up(*start + bytes, level_bytes(need->leaf_level));
        *start = bytes == 0 ? *start : align_down(*start, level_bytes(need->leaf_level));
        need->fills_holes = true;
        need->keeps = false;
        page_need_count(need, table, *start, *end - *start);
    }
    return status;
}

enum status page_table_populate_count(const struct page_table *table, uint64_t address, uint64_t bytes,
                                      enum page_level level, uint64_t *tables)
{
    struct page_need need;
    uint64_t start, end;
    enum status status = populate_need(&need, table, address, bytes, level, &start, &end);

    if (status == STATUS_OK) {
        *tables = need.tables;
    }
    return status;
}

static void populate_step(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint32_t whole = cursor_whole(cursor);

    if (cursor->level != edit->leaf_level) {
        edit_enter(edit);
        return;
    }
    if (edit_is_fresh(edit, cursor->level)) {
        memset(cursor_entry(cursor), 0, whole * sizeof(uint64_t));
    }
    cursor_advance(cursor, whole);
}

enum status page_table_populate(struct page_table *table, uint64_t address, uint64_t bytes, enum page_level level,
                                enum page_flush *flush)
{
    struct page_edit edit;
    struct page_need need;
    uint64_t start, end;
    enum status status = populate_need(&need, table, address, bytes, level, &start, &end);

    if (status != STATUS_OK) {
        return status;
    }
    if (need.tables > table->pool->free_count) {
        return STATUS_NO_MEMORY;
    }
    /* From here on nothing can fail. */
    edit_start(&edit, table, start, end - start);
    edit.leaf_level = need.leaf_level;
    edit.pin = edit.format->pinned;
    edit_run(&edit, populate_step, edit_publish);
    return edit_finish(&edit, flush);
}

/* --- vacate --- */

static void shape_enter_or_skip(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t value = entry_load(cursor_entry(cursor));

    if (entry_is_link(edit->format, value, cursor->level)) {
        cursor_enter(cursor, cursor_table(cursor, value));
    } else {
        cursor_skip(cursor);
    }
}

/* Down every link of the range. The tables of 4 KiB entries have none. */
static void shape_step(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;

    if (cursor->level == 0) {
        cursor->address = cursor_stop(cursor);
    } else {
        shape_enter_or_skip(edit);
    }
}

/* True where a table of `level` has a link with all of `bits`. */
static bool table_has_link(const struct page_table_format *format, const uint64_t *table, uint32_t level, uint64_t bits)
{
    for (uint32_t i = 0; level != 0 && i < ENTRIES_PER_TABLE; i++) {
        if (entry_is_link(format, table[i], level) && (table[i] & bits) == bits) {
            return true;
        }
    }
    return false;
}

static void vacate_leave(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t *parent = cursor_parent(cursor, cursor->level, cursor->address - 1);

    if (table_has_link(edit->format, cursor->tables[cursor->level], cursor->level, edit->format->pinned)) {
        return;
    }
    if ((entry_load(parent) & edit->format->pinned) != 0) {
        __atomic_fetch_and(parent, ~edit->format->pinned, __ATOMIC_RELAXED);
    }
    edit_prune(edit);
}

enum status page_table_vacate(struct page_table *table, uint64_t address, uint64_t bytes, enum page_flush *flush)
{
    struct page_edit edit;
    uint64_t start;
    enum status status = page_range_check(table->format, address, bytes, &start);

    if (status != STATUS_OK) {
        return status;
    }
    edit_start(&edit, table, start, bytes);
    edit_run(&edit, shape_step, vacate_leave);
    return edit_finish(&edit, flush);
}

/* --- coalesce --- */

/* True where 512 leaves of `level` say what one leaf above them would say; `touched`: the accessed and dirty bits of
 * any of them. */
static bool table_is_uniform(const struct page_table_format *format, const uint64_t *table, uint32_t level,
                             uint64_t *touched)
{
    uint64_t first = entry_load(&table[0]);
    uint64_t expected = first;

    *touched = 0;
    if (!entry_is_leaf(format, first, level) ||
        (first & level_address_mask(level) & (level_bytes(level + 1) - 1)) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < ENTRIES_PER_TABLE; i++, expected += level_bytes(level)) {
        uint64_t entry = entry_load(&table[i]);

        if (((entry ^ expected) & ~format_touched(format)) != 0) {
            return false;
        }
        *touched |= entry & format_touched(format);
    }
    return true;
}

static void coalesce_table(struct page_edit *edit, uint64_t *parent, uint64_t *table, uint64_t touched)
{
    const struct page_table_format *format = edit->format;
    uint32_t level = edit->cursor.level;
    uint64_t link = entry_load(parent);
    uint64_t flags = table[0] & ~level_address_mask(level) & ~format_touched(format);
    uint64_t late = 0;

    entry_store(parent,
                (table[0] & level_address_mask(level)) | format_resize(format, flags, level != 0, true) | touched);
    /* A CPU that was on its way down may have touched a page after we looked and before it could see the new leaf. */
    for (uint32_t i = 0; i < ENTRIES_PER_TABLE; i++) {
        late |= entry_load(&table[i]) & format_touched(format);
    }
    if ((late & ~touched) != 0) {
        __atomic_fetch_or(parent, late, __ATOMIC_RELAXED);
    }
    table_pool_give(edit->table->pool, link & ADDRESS_MASK);
    edit_owe(edit, FLUSH_ALL);
}

static void coalesce_leave(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t *table = cursor->tables[cursor->level];
    uint64_t *parent = cursor_parent(cursor, cursor->level, cursor->address - 1);
    uint64_t link = entry_load(parent);
    uint64_t touched;

    if (cursor->level < edit->leaf_level && (link & edit->format->pinned) == 0 &&
        table_is_uniform(edit->format, table, cursor->level, &touched)) {
        coalesce_table(edit, parent, table, touched);
    } else if ((link & edit->format->nested) != 0 && !table_has_link(edit->format, table, cursor->level, 0)) {
        __atomic_fetch_and(parent, ~edit->format->nested, __ATOMIC_RELAXED);
    }
}

enum status page_table_coalesce(struct page_table *table, uint64_t address, uint64_t bytes, enum page_level largest,
                                enum page_flush *flush)
{
    struct page_edit edit;
    uint64_t start;
    enum status status = page_range_check(table->format, address, bytes, &start);

    if ((uint32_t)largest > LEVEL_1G) {
        return STATUS_INVALID;
    }
    if (status != STATUS_OK) {
        return status;
    }
    edit_start(&edit, table, start, bytes);
    edit.leaf_level = (uint32_t)(largest < table->caps.largest_leaf ? largest : table->caps.largest_leaf);
    edit_run(&edit, shape_step, coalesce_leave);
    return edit_finish(&edit, flush);
}
