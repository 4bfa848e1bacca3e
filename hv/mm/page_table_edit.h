/* SPDX-License-Identifier: MIT */
/*
 * What the operations that change a tree share: entering tables that may not be there yet, splitting, publishing,
 * giving back. Internal to hv/mm/page_table*.c.
 *
 * The order of stores is the whole safety of a tree that others walk meanwhile:
 *   - A table for a hole is "fresh": no CPU can reach it. Its entries are plain stores. It is linked by edit_publish,
 *     with one store, when the range is through with it and all of its 512 entries are written.
 *   - A leaf that must be split becomes 512 leaves that say the same; a compare-exchange links them, so that an
 *     accessed or dirty bit that the hardware sets meanwhile is noticed and carried over.
 *   - In a table that is reachable, each entry goes from old to new by one 64-bit store.
 *   - A table is unlinked first and given back afterwards.
 */
#ifndef HV_MM_PAGE_TABLE_EDIT_H
#define HV_MM_PAGE_TABLE_EDIT_H

#include "hv/mm/page_table_cursor.h"

struct page_edit {
    struct page_cursor cursor;
    struct page_table *table;
    const struct page_table_format *format;
    uint64_t flags[2]; /* of the new leaves: 4 KiB, above */
    uint64_t delta;    /* target minus address, modulo 2^64 */
    uint64_t pin;      /* the format's `pinned` for populate, else 0 */
    uint32_t leaf_level;
    uint32_t fresh;  /* bit per level: the path's table is not linked yet */
    uint32_t nested; /* bit per level: a fresh table has links */
    uint64_t fresh_at[PAGE_LEVELS_MAX];
    enum page_flush flush;
};
_Static_assert(PAGE_LEVELS_MAX <= 8 * sizeof(((struct page_edit *)0)->fresh), "a bit per level");

static inline uint64_t entry_load(const uint64_t *entry)
{
    return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

/* On x86-64 a plain store: what was written before it is seen before it. */
static inline void entry_store(uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

static inline bool edit_is_fresh(const struct page_edit *edit, uint32_t level)
{
    return (edit->fresh >> level & 1u) != 0;
}

static inline void edit_owe(struct page_edit *edit, enum page_flush flush)
{
    edit->flush = edit->flush > flush ? edit->flush : flush;
}

/* Leaves of `bytes` each, in a row: nothing but a store and an addition per entry. */
static inline void leaves_fill(uint64_t *entry, uint32_t count, uint64_t value, uint64_t bytes)
{
#pragma clang loop unroll_count(8)
    for (uint32_t i = 0; i < count; i++) {
        entry[i] = value;
        value += bytes;
    }
}

void edit_start(struct page_edit *edit, struct page_table *table, uint64_t start, uint64_t bytes);

/* The end of an operation: says in `flush`, which may be NULL, what is owed. */
enum status edit_finish(const struct page_edit *edit, enum page_flush *flush);

/* Enters the table below the entry that the cursor is at: the one that is there, one split from its leaf, or a fresh
 * one, in which all that the range does not cover is holes already. */
void edit_enter(struct page_edit *edit);

/* Enters what is there: the table below a link, or one split from a leaf. */
void edit_enter_present(struct page_edit *edit, uint64_t entry);

/* For `leave`: links the table if it is fresh. */
void edit_publish(struct page_edit *edit);

/* For `leave`: gives the table back if it is empty and not pinned. */
void edit_prune(struct page_edit *edit);

/* Gives back the table of `level` behind `link`, with all tables below it. Nothing links to it any more. */
void edit_release(struct page_edit *edit, uint64_t link, uint32_t level);

static inline void edit_leave_nothing(struct page_edit *edit)
{
    (void)edit;
}

/* The driver. `step` and `leave` are constants at every call, so that the compiler sees through them. Each step goes on
 * in the range or down in the tree, so the loop ends. */
static inline __attribute__((always_inline)) void edit_run(struct page_edit *edit, void (*step)(struct page_edit *),
                                                           void (*leave)(struct page_edit *))
{
    struct page_cursor *cursor = &edit->cursor;

    for (;;) {
        while (cursor->address == cursor_stop(cursor)) {
            if (cursor->level == cursor->top) {
                return;
            }
            leave(edit);
            cursor->level++;
        }
        step(edit);
    }
}

/* The largest leaf with which address and target agree, up to `limit`. */
static inline uint32_t leaf_level_for(enum page_level limit, uint64_t address, uint64_t to)
{
    uint32_t level = (uint32_t)limit;

    while (level != 0 && !is_aligned(address ^ to, level_bytes(level))) {
        level--;
    }
    return level;
}

/* How many tables an operation needs: page_table_count.c. */
struct page_need {
    struct page_cursor cursor;
    const struct page_table_format *format;
    uint32_t leaf_level; /* an entry of this level or below that is covered whole needs nothing */
    bool fills_holes;    /* map and populate; unmap and protect leave holes alone */
    bool keeps;          /* a leaf that already has these flags is not split */
    uint64_t flags[2];
    uint64_t tables;
};

void page_need_count(struct page_need *need, const struct page_table *table, uint64_t start, uint64_t bytes);

static inline bool leaf_has_flags(const struct page_table_format *format, uint64_t leaf, const uint64_t flags[2],
                                  uint32_t level)
{
    uint64_t mask = ~(level_address_mask(level) | format_touched(format));

    return (leaf & mask) == flags[level != 0];
}

#endif
