/*
 * Reading a tree: what one address means. The loop is the hardware's walk; rights are combined as the hardware combines
 * them, although our own links allow everything, so that the answer is right for any tree of the format.
 */
#include "hv/mm/page_table_edit.h"

/* Links and leaves of all six formats agree in these two bits; execute-only leaves of EPT have neither at 4 KiB, and
 * are never asked there. SDM 3C 29.3.2 tables 29-2 to 29-6; SDM 3A 4.5.5 tables 4-15 to 4-20. */
#define LINK_TEST_MASK 0x81ULL
#define LINK_TEST 0x01ULL

/* True where the format has such an address. */
static inline bool lookup_in_format(const struct page_table_format *format, uint64_t address)
{
    uint64_t half = format->sign_extended ? 1ULL << (format->address_bits - 1u) : 0;

    return (address + half) >> format->address_bits == 0;
}

/*
 * One level of the walk. `found->leaf` holds the entry that led here. False: this is where the walk ends. `level` is a
 * constant at each call: the loop below is unrolled, so that shifts and masks are too.
 */
static inline __attribute__((always_inline)) bool find_step(struct page_found *found, uint64_t window,
                                                            uint64_t inverted, uint64_t address, uint32_t level)
{
    const uint64_t *entries = (const uint64_t *)(uintptr_t)(window + (found->leaf & ADDRESS_MASK));
    uint64_t entry = entry_load(&entries[level_index(address, level)]);

    found->leaf = entry;
    found->rights &= entry ^ inverted;
    if (level != 0 && (entry & LINK_TEST_MASK) == LINK_TEST) {
        return true;
    }
    found->to = hpa((entry & level_address_mask(level)) | (address & (level_bytes(level) - 1)));
    found->level = (enum page_level)level;
    return false;
}

bool page_table_find(const struct page_table *table, uint64_t address, struct page_found *result)
{
    const struct page_table_format *format = table->format;
    struct page_found found = {.leaf = table->root.value, .rights = ~0ULL, .level = LEVEL_256T};
    uint64_t window = table->pool->window;
    uint64_t inverted = format->inverted;

    if (!lookup_in_format(format, address)) {
        *result = (struct page_found){.level = (enum page_level)(format->levels - 1)};
        return false;
    }
    if (format->levels != PAGE_LEVELS_MAX || find_step(&found, window, inverted, address, LEVEL_256T)) {
#pragma clang loop unroll(full)
        for (uint32_t level = LEVEL_512G + 1; level-- > 0;) {
            if (!find_step(&found, window, inverted, address, level)) {
                break;
            }
        }
    }
    *result = found;
    return entry_present(format, found.leaf);
}

void page_table_lookup(const struct page_table *table, uint64_t address, struct page_lookup *result)
{
    const struct page_table_format *format = table->format;
    struct page_found found;

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
    if (!lookup_in_format(format, address)) {
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
