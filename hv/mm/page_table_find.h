/*
 * The hardware's walk, for hot paths: inline, and it decodes nothing that the caller does not ask for.
 *
 * Our links allow everything, so that one comparison per level says both "this is a link" and "it takes no right away".
 * Where it fails, the walk has found a leaf, a hole, or a link that takes a right away (a tree that somebody else
 * wrote); the last is left to a slower loop that combines the rights as the hardware does. So the answer is right for
 * any tree of the format.
 */
#ifndef HV_MM_PAGE_TABLE_FIND_H
#define HV_MM_PAGE_TABLE_FIND_H

#include "hv/mm/page_table_format.h"

struct page_found {
    hpa_t to;
    uint64_t leaf;   /* the entry */
    uint64_t rights; /* the AND along the walk of the rights bits, those that forbid inverted: see format_decode */
    enum page_level level;
};

/* One level; `level` is a constant at each call, and so are shifts and masks. False: here the walk ends. */
static inline __attribute__((always_inline)) bool page_find_step(struct page_found *found, uint64_t window,
                                                                 uint64_t link_mask, uint64_t link, uint64_t address,
                                                                 uint32_t level)
{
    const uint64_t *entries = (const uint64_t *)(uintptr_t)(window + (found->leaf & ADDRESS_MASK));
    uint64_t mask = level_address_mask(level);

    found->leaf = __atomic_load_n(&entries[level_index(address, level)], __ATOMIC_RELAXED);
    if (level != 0 && (found->leaf & link_mask) == link) {
        return true;
    }
    found->level = (enum page_level)level;
    found->to = hpa((found->leaf & mask) | (address & (level_bytes(level) - 1)));
    return false;
}

/* On from a link that takes a right away. */
static inline void page_find_slowly(const struct page_table_format *format, uint64_t window, uint64_t address,
                                    struct page_found *found)
{
    uint32_t level = (uint32_t)found->level;

    do {
        const uint64_t *entries = (const uint64_t *)(uintptr_t)(window + (found->leaf & ADDRESS_MASK));

        level--;
        found->leaf = __atomic_load_n(&entries[level_index(address, level)], __ATOMIC_RELAXED);
        found->rights &= found->leaf ^ format->inverted;
    } while (entry_is_link(format, found->leaf, level));
    found->level = (enum page_level)level;
    found->to = hpa((found->leaf & level_address_mask(level)) | (address & (level_bytes(level) - 1)));
}

/* False: a hole, and only `level` means something; or the format has no such address, and nothing does. */
static inline bool page_table_find(const struct page_table *table, uint64_t address, struct page_found *found)
{
    const struct page_table_format *format = table->format;
    uint64_t window = table->pool->window;
    uint64_t link = format->link;
    uint64_t link_mask = format->link_mask;

    if (__builtin_expect(!format_has_address(format, address), 0)) {
        return false;
    }
    found->leaf = table->root.value;
    (void)((format->levels != PAGE_LEVELS_MAX || page_find_step(found, window, link_mask, link, address, LEVEL_256T)) &&
           page_find_step(found, window, link_mask, link, address, LEVEL_512G) &&
           page_find_step(found, window, link_mask, link, address, LEVEL_1G) &&
           page_find_step(found, window, link_mask, link, address, LEVEL_2M) &&
           page_find_step(found, window, link_mask, link, address, LEVEL_4K));
    found->rights = found->leaf ^ format->inverted;
    if (__builtin_expect(entry_is_link(format, found->leaf, (uint32_t)found->level), 0)) {
        page_find_slowly(format, window, address, found);
    }
    return entry_present(format, found->leaf);
}

#endif
