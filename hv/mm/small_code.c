/* SPDX-License-Identifier: MIT */
#include "hv/mm/small_code.h"

#include "hv/base/check.h"

#define REGION_BYTES (2 * MIB) /* what a table of 4 KiB leaves maps */

/* The attributes are those of all RAM of the tree, and execution. It is populated, so no table is wanted. */
static void open_ram(const struct small_code *code, uint64_t start, uint64_t end, struct page_attributes attributes)
{
    attributes.execute = true;
    for (uint32_t i = 0; i < code->memory->range_count; i++) {
        const struct guest_range *range = &code->memory->ranges[i];
        uint64_t from = max_u64(start, range->start.value);
        uint64_t to = min_u64(end, range->start.value + range->bytes);

        if (from < to) {
            enum status status = page_table_protect(code->table, from, to - from, attributes, NULL);

            CHECK_OP(status, ==, STATUS_OK);
        }
    }
}

/* The lock is held. */
static bool open_region(struct small_code *code, uint64_t address)
{
    uint64_t start = align_down(address, REGION_BYTES);
    struct page_lookup found;
    bool open;

    page_table_lookup(code->table, address, &found);
    if (found.attributes.execute) {
        return true;
    }
    /* Populated tables stay, and are protected in leaves of their own size. A hole has no attributes to keep. */
    open = found.present && page_table_populate(code->table, start, REGION_BYTES, LEVEL_4K, NULL) == STATUS_OK;
    if (open) {
        open_ram(code, start, start + REGION_BYTES, found.attributes);
        code->regions++;
    }
    return open;
}

bool small_code_open(struct small_code *code, gpa_t address)
{
    bool open;

    if (!guest_memory_is_ram(code->memory, address, 1)) {
        return false;
    }
    if (!spinlock_try(&code->lock)) {
        return true;
    }
    open = open_region(code, address.value);
    spinlock_release(&code->lock);
    return open;
}
