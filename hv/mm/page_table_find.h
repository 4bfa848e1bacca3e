/* SPDX-License-Identifier: MIT */
/*
 * The hardware's walk, for hot paths: inline, and it decodes nothing that the caller does not ask for.
 *
 *   page_table_find         the format is read from the tree
 *   page_table_find_as      the format is a constant of this file (page_find_npt4 ...): all masks and levels are then
 *                           known when the caller is compiled
 *
 * Our links allow everything. So one test per level says both "this is a link" and "it takes no right away": `link` has
 * no bit outside `link_mask`, hence subtracting it carries into no bit of the mask exactly where all its bits are
 * there, and (entry - link) & link_mask is 0 for our links and for nothing else. Where the test fails at a level that
 * can have leaves, one more tells a leaf. What is left (a hole, or a link that takes a right away, in a tree that
 * other software wrote) goes the slow way, which combines the rights as the hardware does. So the answer is right for
 * any tree of the format. Formats of IOMMUs, where no path is hot, always go it.
 */
#ifndef HV_MM_PAGE_TABLE_FIND_H
#define HV_MM_PAGE_TABLE_FIND_H

#include "hv/mm/page_table_formats.h"

static const struct page_table_format page_find_host4 __attribute__((unused)) = PAGE_TABLE_HOST4;
static const struct page_table_format page_find_npt4 __attribute__((unused)) = PAGE_TABLE_NPT4;
static const struct page_table_format page_find_ept4 __attribute__((unused)) = PAGE_TABLE_EPT4;

struct page_found {
    hpa_t to;
    uint64_t leaf;   /* the entry */
    uint64_t rights; /* the AND along the walk of the rights bits, those that forbid inverted: see format_decode */
    enum page_level level;
};

/* The slow way, from the root: any format, any link, holes. `rights` has the level where address bits would stand, so
 * that the answer fits into two registers: a pure function, after which the caller need not read the tree's root
 * again. */
struct page_find_answer {
    uint64_t leaf;
    uint64_t rights;
};
#define PAGE_FIND_LEVEL_MASK 7u
_Static_assert(PAGE_LEVELS_MAX - 1 <= PAGE_FIND_LEVEL_MASK, "a level fits into the three lowest address bits");
struct page_find_answer page_find_slowly(const struct page_table *table, uint64_t address) __attribute__((pure, cold));

static inline __attribute__((always_inline)) uint64_t page_find_load(uint64_t window, uint64_t link, uint64_t index)
{
    const uint64_t *entries = (const uint64_t *)(uintptr_t)(window + (link & ADDRESS_MASK));

    return __atomic_load_n(&entries[index], __ATOMIC_RELAXED);
}

/* At a leaf, or at level 0 at whatever is there. `level` is a constant at each call. */
static inline __attribute__((always_inline)) bool page_find_end(const struct page_table_format *format, uint64_t entry,
                                                                uint64_t address, uint32_t level,
                                                                struct page_found *found)
{
    found->leaf = entry;
    found->rights = entry ^ format->inverted;
    found->level = (enum page_level)level;
    found->to = hpa((entry & level_address_mask(level)) | (address & (level_bytes(level) - 1)));
    return (entry & format->present) != 0;
}

static inline __attribute__((always_inline)) bool page_find_any(const struct page_table *table,
                                                                const struct page_table_format *format,
                                                                uint64_t address, struct page_found *found)
{
    struct page_find_answer answer = page_find_slowly(table, address);
    uint32_t level = (uint32_t)(answer.rights >> PAGE_SHIFT) & PAGE_FIND_LEVEL_MASK;

    (void)page_find_end(format, answer.leaf, address, level, found);
    found->rights = answer.rights & ~ADDRESS_MASK;
    return (answer.leaf & format->present) != 0;
}

static inline __attribute__((always_inline)) bool page_find_is_link(const struct page_table_format *format,
                                                                    uint64_t entry)
{
    return __builtin_expect(((entry - format->link) & format->link_mask) == 0, 1);
}

/* `format` must be the tree's, or its constant of this file. False: a hole, and only `level` means something; or the
 * format has no such address, and nothing does. */
static inline __attribute__((always_inline)) bool page_table_find_as(const struct page_table *table,
                                                                     const struct page_table_format *format,
                                                                     uint64_t address, struct page_found *found)
{
    uint64_t window = table->pool->window;
    uint64_t entry = table->root.value;
    uint64_t top = address >> level_shift(format->levels - 1u);

    DEBUG_CHECK(format->levels == table->format->levels && format->link_mask == table->format->link_mask);
    if (__builtin_expect(top >= format_root_entries(format), 0) || format->leaf_clear ||
        format->levels < PAGE_LEVELS_MAX - 1) {
        return page_find_any(table, format, address, found);
    }
    entry = page_find_load(window, entry, top);
    if (format->levels == PAGE_LEVELS_MAX && page_find_is_link(format, entry)) {
        entry = page_find_load(window, entry, level_index(address, LEVEL_512G));
    }
    if (!page_find_is_link(format, entry)) {
        return page_find_any(table, format, address, found);
    }
    entry = page_find_load(window, entry, level_index(address, LEVEL_1G));
    if (!page_find_is_link(format, entry)) {
        return (entry & format->leaf) != 0 ? page_find_end(format, entry, address, LEVEL_1G, found)
                                           : page_find_any(table, format, address, found);
    }
    entry = page_find_load(window, entry, level_index(address, LEVEL_2M));
    if (!page_find_is_link(format, entry)) {
        return (entry & format->leaf) != 0 ? page_find_end(format, entry, address, LEVEL_2M, found)
                                           : page_find_any(table, format, address, found);
    }
    entry = page_find_load(window, entry, level_index(address, LEVEL_4K));
    return page_find_end(format, entry, address, LEVEL_4K, found);
}

static inline bool page_table_find(const struct page_table *table, uint64_t address, struct page_found *found)
{
    return page_table_find_as(table, table->format, address, found);
}

#endif
