/*
 * Reading a tree: what one address means. The loop is the hardware's walk; rights are combined as the hardware combines
 * them, although our own links allow everything, so that the answer is right for any tree of the format.
 */
#include "hv/mm/page_table_edit.h"

/* The offset of an address in the tree, or false where the format has no such address. */
static bool lookup_offset(const struct page_table_format *format, uint64_t address, uint64_t *offset)
{
    return page_range_check(format, align_down(address, PAGE_BYTES), PAGE_BYTES, offset) == STATUS_OK;
}

void page_table_lookup(const struct page_table *table, uint64_t address, struct page_lookup *result)
{
    const struct page_table_format *format = table->format;
    uint64_t window = table->pool->window;
    uint64_t entry = table->root.value;
    uint64_t rights = ~0ULL;
    uint32_t level = format->levels;
    uint64_t offset;

    *result = (struct page_lookup){.level = (enum page_level)(level - 1)};
    if (!lookup_offset(format, address, &offset)) {
        return;
    }
    do {
        level--;
        entry = entry_load((const uint64_t *)(uintptr_t)(window + (entry & ADDRESS_MASK)) + level_index(offset, level));
        rights &= entry ^ format->inverted;
    } while (entry_is_link(format, entry, level));
    result->level = (enum page_level)level;
    if (!entry_present(format, entry)) {
        return;
    }
    result->present = true;
    result->to = hpa((entry & level_address_mask(level)) | (address & (level_bytes(level) - 1)));
    result->attributes = format_decode(format, rights, entry, level != 0);
    result->accessed = (entry & format->accessed) != 0;
    result->dirty = (entry & format->dirty) != 0;
}

bool page_table_translate(const struct page_table *table, uint64_t address, hpa_t *to)
{
    const struct page_table_format *format = table->format;
    uint64_t window = table->pool->window;
    uint64_t entry = table->root.value;
    uint32_t level = format->levels;
    uint64_t offset;

    if (!lookup_offset(format, address, &offset)) {
        return false;
    }
    do {
        level--;
        entry = entry_load((const uint64_t *)(uintptr_t)(window + (entry & ADDRESS_MASK)) + level_index(offset, level));
    } while (entry_is_link(format, entry, level));
    *to = hpa((entry & level_address_mask(level)) | (address & (level_bytes(level) - 1)));
    return entry_present(format, entry);
}

enum status page_table_walk(const struct page_table *table, uint64_t address, enum page_level level,
                            struct page_entry *entry)
{
    const struct page_table_format *format = table->format;
    uint32_t at = format->levels;
    uint64_t offset;

    if ((uint32_t)level >= at) {
        return STATUS_INVALID;
    }
    if (!lookup_offset(format, address, &offset)) {
        return STATUS_OVERFLOW;
    }
    entry->value = table->root.value;
    do {
        at--;
        entry->at = hpa((entry->value & ADDRESS_MASK) + level_index(offset, at) * sizeof(uint64_t));
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
