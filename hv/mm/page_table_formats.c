/* SPDX-License-Identifier: MIT */
/* The formats as objects, and the way from attributes to the bits of a leaf. The rows are page_table_formats.h. */
#include "hv/mm/page_table_formats.h"

const struct page_table_format page_table_host4 = PAGE_TABLE_HOST4;
const struct page_table_format page_table_host5 = PAGE_TABLE_HOST5;
const struct page_table_format page_table_npt4 = PAGE_TABLE_NPT4;
const struct page_table_format page_table_npt5 = PAGE_TABLE_NPT5;
const struct page_table_format page_table_ept4 = PAGE_TABLE_EPT4;
const struct page_table_format page_table_ept5 = PAGE_TABLE_EPT5;
const struct page_table_format page_table_vtd3 = PAGE_TABLE_VTD3;
const struct page_table_format page_table_vtd4 = PAGE_TABLE_VTD4;
const struct page_table_format page_table_vtd5 = PAGE_TABLE_VTD5;
const struct page_table_format page_table_vtd3_snoop = PAGE_TABLE_VTD3_SNOOP;
const struct page_table_format page_table_vtd4_snoop = PAGE_TABLE_VTD4_SNOOP;
const struct page_table_format page_table_vtd5_snoop = PAGE_TABLE_VTD5_SNOOP;
const struct page_table_format page_table_amdvi4 = PAGE_TABLE_AMDVI4;

uint64_t format_encode(const struct page_table_format *format, const struct page_attributes *attributes, bool large)
{
    uint64_t index = format->cache_index[attributes->cache];
    uint64_t allowed = format->forced;

    allowed |= attributes->read ? format->read : 0;
    allowed |= attributes->write ? format->write : 0;
    allowed |= attributes->execute ? format->execute : 0;
    allowed |= attributes->user ? format->user : 0;
    allowed ^= format->inverted;
    allowed |= attributes->global ? format->global : 0;
    allowed |= attributes->ignore_guest ? format->ignore_guest : 0;
    allowed |= large && !format->leaf_clear ? format->leaf : 0;
    return allowed | (index & 3u) << 3 | (index & 4u) << format->cache_high_shift[large];
}

uint64_t format_resize(const struct page_table_format *format, uint64_t flags, bool from_large, bool to_large)
{
    uint64_t high = 4ULL << format->cache_high_shift[from_large];
    bool high_set = (flags & high) != 0;

    if (from_large == to_large) {
        return flags;
    }
    flags &= ~(high | format->leaf);
    flags |= high_set ? 4ULL << format->cache_high_shift[to_large] : 0;
    return flags | (to_large && !format->leaf_clear ? format->leaf : 0);
}

enum status format_check(const struct page_table_format *format, const struct page_table_caps *caps,
                         const struct page_attributes *attributes)
{
    if ((uint32_t)attributes->cache >= CACHE_TYPES ||
        (!attributes->read && !attributes->write && !attributes->execute)) {
        return STATUS_INVALID;
    }
    if (!attributes->read && (attributes->write || !format->execute_only || !caps->execute_only)) {
        return STATUS_UNSUPPORTED;
    }
    if (!attributes->execute && format->no_execute_needs_cap && !caps->no_execute) {
        return STATUS_UNSUPPORTED;
    }
    if ((attributes->global && format->global == 0) || (attributes->ignore_guest && format->ignore_guest == 0)) {
        return STATUS_UNSUPPORTED;
    }
    return STATUS_OK;
}
