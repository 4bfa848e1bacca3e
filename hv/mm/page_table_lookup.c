/* SPDX-License-Identifier: MIT */
/* Reading a tree: what one address means, decoded, and where its entries stand. The walk is page_table_find.h. */
#include "hv/mm/page_table_find.h"

#include "hv/mm/page_table.h"
#include "hv/mm/page_table_edit.h"

struct page_find_answer page_find_slowly(const struct page_table *table, uint64_t address)
{
    const struct page_table_format *format = table->format;
    struct page_find_answer answer = {0, (uint64_t)(format->levels - 1) << PAGE_SHIFT};
    uint64_t entry = table->root.value;
    uint32_t level = format->levels;
    uint64_t rights = ~0ULL;

    if (!format_has_address(format, address)) {
        return answer;
    }
    do {
        level--;
        entry = page_find_load(table->pool->window, entry, level_index(address, level));
        rights &= entry ^ format->inverted;
    } while (entry_is_link(format, entry, level));
    answer.leaf = entry;
    answer.rights = (rights & ~ADDRESS_MASK) | (uint64_t)level << PAGE_SHIFT;
    return answer;
}

void page_table_lookup(const struct page_table *table, uint64_t address, struct page_lookup *result)
{
    const struct page_table_format *format = table->format;
    struct page_found found = {.level = (enum page_level)(format->levels - 1)};

    *result = (struct page_lookup){.present = page_table_find(table, address, &found)};
    result->level = found.level;
    if (!result->present) {
        return;
    }
    result->to = found.to;
    result->attributes = format_decode(format, found.rights, found.leaf, found.level != LEVEL_4K);
    result->accessed = (found.leaf & format->accessed) != 0;
    result->dirty = (found.leaf & format->dirty) != 0;
}

enum status page_table_walk(const struct page_table *table, uint64_t address, enum page_level level,
                            struct page_entry *entry)
{
    const struct page_table_format *format = table->format;
    uint32_t at = format->levels;

    if ((uint32_t)level >= at) {
        return STATUS_INVALID;
    }
    if (!format_has_address(format, address)) {
        return STATUS_OVERFLOW;
    }
    entry->value = table->root.value;
    do {
        at--;
        entry->at = hpa((entry->value & ADDRESS_MASK) + level_index(address, at) * sizeof(uint64_t));
        entry->value = entry_load(table_pool_pointer(table->pool, entry->at.value));
    } while (at > (uint32_t)level && entry_is_link(format, entry->value, at));
    entry->level = (enum page_level)at;
    return STATUS_OK;
}

enum status page_table_walk_create(struct page_table *table, uint64_t address, enum page_level level,
                                   struct page_entry *entry, enum page_flush *flush)
{
    enum status status = page_table_populate(table, align_down(address, PAGE_BYTES), PAGE_BYTES, level, flush);

    return status == STATUS_OK ? page_table_walk(table, address, level, entry) : status;
}
