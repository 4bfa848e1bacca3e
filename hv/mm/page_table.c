/* SPDX-License-Identifier: MIT */
/*
 * Set-up, map, unmap and protect; and, since every other file of the core is a part of it, how a map works as a whole.
 * What each function promises is in page_table.h.
 *
 * An address is an index per level and an offset. Levels count from the leaf, so that a level's name is the size of
 * what one entry of its tables covers; a tree of 4 levels begins with a root of level 3, one of 5 with level 4:
 *
 *    63       57 56     48 47     39 38     30 29     21 20     12 11          0
 *   +-----------+---------+---------+---------+---------+---------+-------------+
 *   | sign, 0   | level 4 | level 3 | level 2 | level 1 | level 0 |   offset    |
 *   |           | 256 TiB | 512 GiB |  1 GiB  |  2 MiB  |  4 KiB  | in 4 KiB    |
 *   +-----------+---------+---------+---------+---------+---------+-------------+
 *                 links only          leaves or links   leaves only
 *
 * An entry is one of three, and the six formats differ only in where the bits of it stand:
 *
 *   hole   none of the format's `present` bits is set; we write 0
 *   leaf   maps memory: an address aligned to the level's size, rights, memory type, accessed and dirty bits
 *   link   leads to a table of the level below. Ours allow everything (the leaf decides) and carry two bits of our own:
 *            pinned (52)  the table was populated: it stays, empty or not, until page_table_vacate
 *            nested (53)  the table below has, or had, links itself; where it is clear, that table is given back unread
 *   A table is fresh from when it is taken from the pool until it is linked: no CPU can reach it, its stores are plain.
 *
 * The files, in the order in which a map goes through them:
 *
 *   page_table_formats.{h,c}    the rights and the memory type become the bits of a leaf: once per map, not per entry
 *   page_table_count.c          how many tables it will take. Fewer in the pool: STATUS_NO_MEMORY, nothing changed
 *   page_table_cursor.h         the walk: one place per level, down and up along the range, no recursion
 *   page_table_edit.{h,c}       entering a table: the one that is there, one split from a leaf, or a fresh one
 *   page_table.c (map_step)     the leaves. A loop of stores if the table is fresh, else a store per change
 *   page_table_edit.{h,c}       leaving a fresh table: it is complete, and one store publishes it in the table above
 *
 * For example, 2 MiB + 8 KiB at address 4 MiB - 4 KiB, to a target that agrees modulo 2 MiB, in an empty tree:
 *
 *   root (level 3) --- level 2 --- level 1 ---+-- [1]: fresh table of level 0: 511 holes, leaf [511]    4 KiB
 *                                             +-- [2]: leaf                                             2 MiB
 *                                             +-- [3]: fresh table of level 0: leaf [0], 511 holes      4 KiB
 *
 * The two tables of level 0 are published when the range leaves them, in tables of level 1 and 2 that are fresh as
 * well; a CPU sees all of it at once, with the last store, which is the one into the root.
 *
 * A map has one leaf level for the whole range: how far address and target agree modulo the page sizes does not change
 * along it. At that level and below, entries that the range covers whole are leaves; everything else is a way down. So
 * a range has at most one such way at its start and one at its end, and between them whole tables are filled by a loop
 * that does nothing but add and store. Unmap and protect are the same walk with another step.
 */
#include "hv/mm/page_table.h"
#include "hv/mm/page_table_edit.h"

#include "hv/base/memory.h"

const char *page_table_format_name(const struct page_table_format *format)
{
    return format->name;
}

unsigned page_table_levels(const struct page_table_format *format)
{
    return format->levels;
}

enum status page_table_init(struct page_table *table, const struct page_table_format *format,
                            const struct page_table_caps *caps, struct table_pool *pool)
{
    if (caps->physical_bits < 32 || caps->physical_bits > 52 || caps->largest_leaf > LEVEL_1G) {
        return STATUS_INVALID;
    }
    if (pool->start.value + pool->pages * PAGE_BYTES > 1ULL << caps->physical_bits) {
        return STATUS_OVERFLOW;
    }
    if (pool->free_count == 0) {
        return STATUS_NO_MEMORY;
    }
    *table = (struct page_table){.format = format, .caps = *caps, .pool = pool, .root = hpa(table_pool_take(pool))};
    memset(table_pool_pointer(pool, table->root.value), 0, PAGE_BYTES);
    return STATUS_OK;
}

void page_table_destroy(struct page_table *table)
{
    struct page_edit edit;

    edit_start(&edit, table, 0, 0);
    edit_release(&edit, table->root.value | edit.format->nested, edit.cursor.top);
    *table = (struct page_table){0};
}

uint64_t page_table_root_pointer(const struct page_table *table)
{
    const struct page_table_format *format = table->format;

    return table->root.value | format->root_pointer | (table->caps.accessed_dirty ? format->root_accessed : 0);
}

/* --- map --- */

static enum status map_check(const struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                             enum page_level largest, uint64_t *start)
{
    uint64_t top = 1ULL << table->caps.physical_bits;

    if (!is_aligned(to.value, PAGE_BYTES)) {
        return STATUS_MISALIGNED;
    }
    if (to.value > top || bytes > top - to.value) {
        return STATUS_OVERFLOW;
    }
    if (largest > LEVEL_1G) {
        return STATUS_INVALID;
    }
    return page_range_check(table->format, address, bytes, start);
}

static void map_need(struct page_need *need, const struct page_table *table, uint64_t start, hpa_t to, uint64_t bytes,
                     enum page_level largest)
{
    enum page_level limit = largest < table->caps.largest_leaf ? largest : table->caps.largest_leaf;

    need->leaf_level = leaf_level_for(limit, start, to.value);
    need->fills_holes = true;
    need->keeps = false;
    page_need_count(need, table, start, bytes);
}

enum status page_table_map_count(const struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                                 enum page_level largest, uint64_t *tables)
{
    struct page_need need;
    uint64_t start;
    enum status status = map_check(table, address, to, bytes, largest, &start);

    if (status == STATUS_OK) {
        map_need(&need, table, start, to, bytes, largest);
        *tables = need.tables;
    }
    return status;
}

/* New leaves in a table that others can reach. Returns how many entries it went past: it stops at a pinned table. */
static uint32_t map_over(struct page_edit *edit, uint64_t *entry, uint32_t count, uint64_t value)
{
    const struct page_table_format *format = edit->format;
    uint32_t level = edit->cursor.level;

    for (uint32_t i = 0; i < count; i++, value += level_bytes(level)) {
        uint64_t old = entry_load(&entry[i]);

        if (entry_is_link(format, old, level)) {
            if ((old & format->pinned) != 0) {
                return i;
            }
            entry_store(&entry[i], value);
            edit_release(edit, old, level - 1);
        } else if (((old ^ value) & ~format_touched(format)) != 0) {
            entry_store(&entry[i], value);
            edit_owe(edit, entry_present(format, old) ? FLUSH_RANGE : FLUSH_NONE);
        }
    }
    return count;
}

static void map_step(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint32_t level = cursor->level;
    uint32_t whole = level <= edit->leaf_level ? cursor_whole(cursor) : 0;
    uint64_t value = (cursor->address + edit->delta) | edit->flags[level != 0];
    uint32_t done = 0;

    if (whole != 0 && edit_is_fresh(edit, level)) {
        leaves_fill(cursor_entry(cursor), whole, value, level_bytes(level));
        done = whole;
    } else if (whole != 0) {
        done = map_over(edit, cursor_entry(cursor), whole, value);
    }
    cursor_advance(cursor, done);
    if (done < whole || whole == 0) {
        edit_enter(edit);
    }
}

enum status page_table_map(struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                           struct page_attributes attributes, enum page_level largest, enum page_flush *flush)
{
    struct page_edit edit;
    struct page_need need;
    uint64_t start;
    enum status status = map_check(table, address, to, bytes, largest, &start);

    status = status != STATUS_OK ? status : format_check(table->format, &table->caps, &attributes);
    if (status != STATUS_OK) {
        return status;
    }
    map_need(&need, table, start, to, bytes, largest);
    if (need.tables > table->pool->free_count) {
        return STATUS_NO_MEMORY;
    }
    /* From here on nothing can fail. */
    edit_start(&edit, table, start, bytes);
    edit.flags[0] = format_encode(table->format, &attributes, false);
    edit.flags[1] = format_encode(table->format, &attributes, true);
    edit.delta = to.value - start;
    edit.leaf_level = need.leaf_level;
    edit_run(&edit, map_step, edit_publish);
    return edit_finish(&edit, flush);
}

/* --- unmap --- */

static void unmap_need(struct page_need *need, const struct page_table *table, uint64_t start, uint64_t bytes)
{
    need->leaf_level = table->format->levels;
    need->fills_holes = false;
    need->keeps = false;
    page_need_count(need, table, start, bytes);
}

enum status page_table_unmap_count(const struct page_table *table, uint64_t address, uint64_t bytes, uint64_t *tables)
{
    struct page_need need;
    uint64_t start;
    enum status status = page_range_check(table->format, address, bytes, &start);

    if (status == STATUS_OK) {
        unmap_need(&need, table, start, bytes);
        *tables = need.tables;
    }
    return status;
}

/* Entries that the range covers whole. Returns how many it went past: it stops at a pinned table. */
static uint32_t unmap_over(struct page_edit *edit, uint64_t *entry, uint32_t count)
{
    uint32_t level = edit->cursor.level;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t old = entry_load(&entry[i]);

        if (!entry_present(edit->format, old)) {
            continue;
        }
        if (!entry_is_link(edit->format, old, level)) {
            entry_store(&entry[i], 0);
            edit_owe(edit, FLUSH_RANGE);
            continue;
        }
        if ((old & edit->format->pinned) != 0) {
            return i;
        }
        entry_store(&entry[i], 0);
        edit_release(edit, old, level - 1);
    }
    return count;
}

static void unmap_step(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint32_t whole = cursor_whole(cursor);
    uint32_t done = whole != 0 ? unmap_over(edit, cursor_entry(cursor), whole) : 0;
    uint64_t value;

    cursor_advance(cursor, done);
    if (whole != 0 && done == whole) {
        return;
    }
    value = entry_load(cursor_entry(cursor));
    if (!entry_present(edit->format, value)) {
        cursor_skip(cursor);
    } else {
        edit_enter_present(edit, value);
    }
}

enum status page_table_unmap(struct page_table *table, uint64_t address, uint64_t bytes, enum page_flush *flush)
{
    struct page_edit edit;
    struct page_need need;
    uint64_t start;
    enum status status = page_range_check(table->format, address, bytes, &start);

    if (status != STATUS_OK) {
        return status;
    }
    unmap_need(&need, table, start, bytes);
    if (need.tables > table->pool->free_count) {
        return STATUS_NO_MEMORY;
    }
    /* From here on nothing can fail. */
    edit_start(&edit, table, start, bytes);
    edit_run(&edit, unmap_step, edit_prune);
    return edit_finish(&edit, flush);
}

/* --- protect --- */

static enum status protect_check(const struct page_table *table, uint64_t address, uint64_t bytes,
                                 const struct page_attributes *attributes, struct page_need *need, uint64_t *start)
{
    enum status status = page_range_check(table->format, address, bytes, start);

    status = status != STATUS_OK ? status : format_check(table->format, &table->caps, attributes);
    if (status == STATUS_OK) {
        need->leaf_level = table->format->levels;
        need->fills_holes = false;
        need->keeps = true;
        need->flags[0] = format_encode(table->format, attributes, false);
        need->flags[1] = format_encode(table->format, attributes, true);
        page_need_count(need, table, *start, bytes);
    }
    return status;
}

enum status page_table_protect_count(const struct page_table *table, uint64_t address, uint64_t bytes,
                                     struct page_attributes attributes, uint64_t *tables)
{
    struct page_need need;
    uint64_t start;
    enum status status = protect_check(table, address, bytes, &attributes, &need, &start);

    if (status == STATUS_OK) {
        *tables = need.tables;
    }
    return status;
}

/* New flags in a leaf, by compare-exchange: an accessed or dirty bit that comes meanwhile stays. */
static void protect_leaf(struct page_edit *edit, uint64_t *entry, uint64_t old, uint32_t level)
{
    uint64_t keep = level_address_mask(level) | format_touched(edit->format);
    uint64_t flags = edit->flags[level != 0];

    if (leaf_has_flags(edit->format, old, edit->flags, level)) {
        return;
    }
    while (!__atomic_compare_exchange_n(entry, &old, (old & keep) | flags, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    }
    edit_owe(edit, FLUSH_RANGE);
}

static void protect_step(struct page_edit *edit)
{
    struct page_cursor *cursor = &edit->cursor;
    uint32_t whole = cursor_whole(cursor);
    uint64_t value;

    for (; whole != 0; whole--, cursor_advance(cursor, 1)) {
        value = entry_load(cursor_entry(cursor));
        if (entry_is_link(edit->format, value, cursor->level)) {
            cursor_enter(cursor, cursor_table(cursor, value));
            return;
        }
        if (entry_present(edit->format, value)) {
            protect_leaf(edit, cursor_entry(cursor), value, cursor->level);
        }
    }
    if (cursor->address == cursor_stop(cursor)) {
        return;
    }
    value = entry_load(cursor_entry(cursor)); /* covered in part */
    if (!entry_present(edit->format, value) || (entry_is_leaf(edit->format, value, cursor->level) &&
                                                leaf_has_flags(edit->format, value, edit->flags, cursor->level))) {
        cursor_skip(cursor);
    } else {
        edit_enter_present(edit, value);
    }
}

enum status page_table_protect(struct page_table *table, uint64_t address, uint64_t bytes,
                               struct page_attributes attributes, enum page_flush *flush)
{
    struct page_edit edit;
    struct page_need need;
    uint64_t start;
    enum status status = protect_check(table, address, bytes, &attributes, &need, &start);

    if (status != STATUS_OK) {
        return status;
    }
    if (need.tables > table->pool->free_count) {
        return STATUS_NO_MEMORY;
    }
    /* From here on nothing can fail. */
    edit_start(&edit, table, start, bytes);
    edit.flags[0] = need.flags[0];
    edit.flags[1] = need.flags[1];
    edit_run(&edit, protect_step, edit_leave_nothing);
    return edit_finish(&edit, flush);
}
