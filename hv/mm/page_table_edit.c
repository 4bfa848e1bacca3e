/* SPDX-License-Identifier: MIT */
/* See page_table_edit.h. */
#include "hv/mm/page_table_edit.h"

#include "hv/base/memory.h"

void edit_start(struct page_edit *edit, struct page_table *table, uint64_t start, uint64_t bytes)
{
    cursor_start(&edit->cursor, table, start, start + bytes);
    edit->table = table;
    edit->format = table->format;
    edit->pin = 0;
    edit->fresh = 0;
    edit->nested = 0;
    edit->flush = FLUSH_NONE;
}

enum status edit_finish(const struct page_edit *edit, enum page_flush *flush)
{
    if (flush != NULL) {
        *flush = edit->flush;
    }
    return STATUS_OK;
}

/* The table of `level` on the path has a link from now on; the link to it says so. The root has none. */
static void edit_mark_nested(struct page_edit *edit, uint32_t level, uint64_t inside)
{
    uint64_t *parent;

    if (level == edit->cursor.top) {
        return;
    }
    parent = cursor_parent(&edit->cursor, level, inside);
    if ((entry_load(parent) & edit->format->nested) == 0) {
        __atomic_fetch_or(parent, edit->format->nested, __ATOMIC_RELAXED);
    }
}

static void edit_enter_fresh(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t at = table_pool_take(edit->table->pool);
    uint64_t *table = cursor_table(cursor, at);
    uint32_t first, last;

    cursor_enter(cursor, table);
    edit->fresh |= 1u << cursor->level;
    edit->fresh_at[cursor->level] = at;
    first = level_index(cursor->address, cursor->level);
    last = level_index(cursor_stop(cursor) - 1, cursor->level);
    memset(table, 0, first * sizeof(*table));
    memset(table + last + 1, 0, (ENTRIES_PER_TABLE - 1 - last) * sizeof(*table));
}

/* 512 leaves that say what one leaf of `level` said. */
static void split_fill(const struct page_table_format *format, uint64_t *table, uint64_t leaf, uint32_t level)
{
    uint64_t mask = level_address_mask(level);

    leaves_fill(table, ENTRIES_PER_TABLE, (leaf & mask) | format_resize(format, leaf & ~mask, true, level > 1),
                level_bytes(level - 1));
}

static uint64_t *edit_split(struct page_edit *edit, uint64_t *entry)
{
    const struct page_table_format *format = edit->format;
    uint32_t level = edit->cursor.level;
    uint64_t at = table_pool_take(edit->table->pool);
    uint64_t *table = cursor_table(&edit->cursor, at);
    uint64_t leaf = entry_load(entry);
    uint64_t link;

    /* Fails only when the hardware has set accessed or dirty meanwhile: twice at most. */
    do {
        split_fill(format, table, leaf, level);
        link = format_link(format, at, level - 1) | edit->pin;
        link |= (leaf & format_touched(format)) != 0 ? format->accessed : 0;
    } while (!__atomic_compare_exchange_n(entry, &leaf, link, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    edit_mark_nested(edit, level, edit->cursor.address);
    return table;
}

void edit_enter_present(struct page_edit *edit, uint64_t value)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t *entry = cursor_entry(cursor);

    if (!entry_is_link(edit->format, value, cursor->level)) {
        cursor_enter(cursor, edit_split(edit, entry));
        return;
    }
    if (edit->pin != 0 && (value & edit->format->pinned) == 0) {
        __atomic_fetch_or(entry, edit->format->pinned, __ATOMIC_RELAXED);
    }
    cursor_enter(cursor, cursor_table(cursor, value));
}

void edit_enter(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t value = edit_is_fresh(edit, cursor->level) ? 0 : entry_load(cursor_entry(cursor));

    if (entry_present(edit->format, value)) {
        edit_enter_present(edit, value);
    } else {
        edit_enter_fresh(edit);
    }
}

void edit_publish(struct page_edit *edit)
{
    uint32_t level = edit->cursor.level;
    uint32_t bit = 1u << level;
    uint64_t inside = edit->cursor.address - 1;
    uint64_t link;

    if ((edit->fresh & bit) == 0) {
        return;
    }
    link = format_link(edit->format, edit->fresh_at[level], level) | edit->pin;
    link |= (edit->nested & bit) != 0 ? edit->format->nested : 0;
    edit->fresh &= ~bit;
    edit->nested = (edit->nested & ~bit) | bit << 1;
    entry_store(cursor_parent(&edit->cursor, level, inside), link);
    if (!edit_is_fresh(edit, level + 1)) {
        edit_mark_nested(edit, level + 1, inside);
    }
}

static bool table_is_empty(const uint64_t *table)
{
    for (uint32_t i = 0; i < ENTRIES_PER_TABLE; i += 8) {
        const uint64_t *line = table + i;

        if ((line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7]) != 0) {
            return false;
        }
    }
    return true;
}

void edit_prune(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint64_t *parent = cursor_parent(cursor, cursor->level, cursor->address - 1);
    uint64_t link = entry_load(parent);

    if ((link & edit->format->pinned) != 0 || !table_is_empty(cursor->tables[cursor->level])) {
        return;
    }
    entry_store(parent, 0);
    table_pool_give(edit->table->pool, link & ADDRESS_MASK);
    edit_owe(edit, FLUSH_ALL);
}

void edit_release(struct page_edit *edit, uint64_t link, uint32_t level)
{
    struct table_pool *pool = edit->table->pool;
    uint64_t links[PAGE_LEVELS_MAX];
    uint32_t next[PAGE_LEVELS_MAX];
    uint32_t at = level;

    links[at] = link;
    next[at] = 0;
    while (at <= level) {
        if (next[at] == ENTRIES_PER_TABLE || (links[at] & edit->format->nested) == 0) {
            table_pool_give(pool, links[at] & ADDRESS_MASK);
            at++;
            continue;
        }
        link = cursor_table(&edit->cursor, links[at])[next[at]++];
        if (entry_is_link(edit->format, link, at)) {
            at--;
            links[at] = link;
            next[at] = 0;
        }
    }
    edit_owe(edit, FLUSH_ALL);
}
