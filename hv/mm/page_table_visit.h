/* SPDX-License-Identifier: MIT */
/*
 * A tree as a sequence of extents: leaves and holes in the order of their addresses. The visitor is pulled, one extent
 * per call, so that two trees can be visited side by side (compare) without a callback and its context.
 */
#ifndef HV_MM_PAGE_TABLE_VISIT_H
#define HV_MM_PAGE_TABLE_VISIT_H

#include "hv/mm/page_table.h"
#include "hv/mm/page_table_cursor.h"

struct page_extent {
    uint64_t address;
    uint64_t bytes;
    bool present; /* false: a hole, and only the two above mean something */
    hpa_t to;
    struct page_attributes attributes; /* effective */
    uint64_t leaves[3];                /* how many of each size */
};

struct page_visit {
    struct page_cursor cursor;
    const struct page_table_format *format;
    uint64_t rights[PAGE_LEVELS_MAX]; /* of the path down to the table of that level */
    bool merge;
    bool has_ahead;
    struct page_extent ahead;
    uint64_t tables; /* visited so far; of the whole tree when page_visit_all has come to its end */
};

/* `merge`: neighbours that continue each other with the same attributes are one extent. Holes always are. */
enum status page_visit_start(struct page_visit *visit, const struct page_table *table, uint64_t address, uint64_t bytes,
                             bool merge);
/* All that the format can address. */
void page_visit_all(struct page_visit *visit, const struct page_table *table, bool merge);

/* False at the end. The tree must not lose tables between the calls. */
bool page_visit_next(struct page_visit *visit, struct page_extent *extent);

/* How many tables the tree has, root included. */
uint64_t page_table_tables(const struct page_table *table);

/* What is mapped, as lines like "0x0-0xbfffffff -> 0x40000000 rwxu WB 3x1G". */
#define PAGE_EXTENT_TEXT_MAX 128u
void page_extent_text(const struct page_extent *extent, char text[PAGE_EXTENT_TEXT_MAX]);
void page_table_dump(const struct page_table *table, void (*line)(void *context, const char *text), void *context);

/* Where two trees first differ, and what each says there. */
struct page_difference {
    uint64_t address;
    struct page_lookup left, right;
};

/*
 * Whether two trees of any formats say the same about a range: target, rights, type; of user, global and ignore_guest
 * what both formats have with the same meaning; not the sizes of leaves, nor accessed and dirty. STATUS_BUSY where they
 * differ: `difference` (may be NULL) has the first place. STATUS_OVERFLOW where the range is not in both formats.
 */
enum status page_table_compare(const struct page_table *left, const struct page_table *right, uint64_t address,
                               uint64_t bytes, struct page_difference *difference);

#endif
