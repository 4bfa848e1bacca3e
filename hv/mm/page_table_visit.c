/* SPDX-License-Identifier: MIT */
/* See page_table_visit.h. */
#include "hv/mm/page_table_visit.h"

#include "hv/base/format.h"
#include "hv/mm/page_table_edit.h"

static void visit_start_at(struct page_visit *visit, const struct page_table *table, uint64_t start, uint64_t end,
                           bool merge)
{
    cursor_start(&visit->cursor, table, start, end);
    visit->format = table->format;
    visit->rights[visit->cursor.top] = ~0ULL;
    visit->merge = merge;
    visit->has_ahead = false;
    visit->tables = 1;
}

enum status page_visit_start(struct page_visit *visit, const struct page_table *table, uint64_t address, uint64_t bytes,
                             bool merge)
{
    uint64_t start;
    enum status status = page_range_check(table->format, address, bytes, &start);

    if (status == STATUS_OK) {
        visit_start_at(visit, table, start, start + bytes, merge);
    }
    return status;
}

void page_visit_all(struct page_visit *visit, const struct page_table *table, bool merge)
{
    visit_start_at(visit, table, 0, 1ULL << table->format->address_bits, merge);
}

/* The entry that the cursor is at, as an extent, and past it. */
static void visit_take(struct page_visit *visit, uint64_t entry, struct page_extent *extent)
{
    const struct page_table_format *format = visit->format;
    struct page_cursor *cursor = &visit->cursor;
    uint32_t level = cursor->level;
    uint64_t address = cursor->address;
    uint64_t sign = 1ULL << (format->address_bits - 1u);
    uint64_t rights = visit->rights[level] & (entry ^ format->inverted);

    cursor_skip(cursor);
    *extent = (struct page_extent){.address = address, .bytes = cursor->address - address};
    if (entry_present(format, entry)) {
        extent->present = true;
        extent->to = hpa((entry & level_address_mask(level)) | (address & (level_bytes(level) - 1)));
        extent->attributes = format_decode(format, rights, entry, level != 0);
        extent->leaves[level] = 1;
    }
    if (format->sign_extended && (address & sign) != 0) {
        extent->address |= 0 - sign;
    }
}

static bool visit_raw(struct page_visit *visit, struct page_extent *extent)
{
    struct page_cursor *cursor = &visit->cursor;
    uint64_t entry;

    for (;;) {
        while (cursor->address == cursor_stop(cursor)) {
            if (cursor->level == cursor->top) {
                return false;
            }
            cursor->level++;
        }
        entry = entry_load(cursor_entry(cursor));
        if (!entry_is_link(visit->format, entry, cursor->level)) {
            visit_take(visit, entry, extent);
            return true;
        }
        visit->rights[cursor->level - 1] = visit->rights[cursor->level] & (entry ^ visit->format->inverted);
        visit->tables++;
        cursor_enter(cursor, cursor_table(cursor, entry));
    }
}

static bool attributes_equal(const struct page_attributes *left, const struct page_attributes *right)
{
    return left->read == right->read && left->write == right->write && left->execute == right->execute &&
           left->user == right->user && left->global == right->global && left->ignore_guest == right->ignore_guest &&
           left->cache == right->cache;
}

/* Whether `next` continues `extent`. The gap in the middle of canonical addresses is never joined over. */
static bool extent_joins(const struct page_extent *extent, const struct page_extent *next, bool merge)
{
    if (extent->present != next->present || extent->address + extent->bytes != next->address) {
        return false;
    }
    return !extent->present || (merge && extent->to.value + extent->bytes == next->to.value &&
                                attributes_equal(&extent->attributes, &next->attributes));
}

bool page_visit_next(struct page_visit *visit, struct page_extent *extent)
{
    if (!visit->has_ahead && !visit_raw(visit, &visit->ahead)) {
        return false;
    }
    *extent = visit->ahead;
    visit->has_ahead = visit_raw(visit, &visit->ahead);
    while (visit->has_ahead && extent_joins(extent, &visit->ahead, visit->merge)) {
        extent->bytes += visit->ahead.bytes;
        for (uint32_t level = 0; level < ARRAY_COUNT(extent->leaves); level++) {
            extent->leaves[level] += visit->ahead.leaves[level];
        }
        visit->has_ahead = visit_raw(visit, &visit->ahead);
    }
    return true;
}

uint64_t page_table_tables(const struct page_table *table)
{
    struct page_extent extent;
    struct page_visit visit;

    page_visit_all(&visit, table, true);
    while (page_visit_next(&visit, &extent)) {
    }
    return visit.tables;
}

/* --- dump --- */

static const char *cache_name(enum cache_type cache)
{
    static const char *const names[CACHE_TYPES] = {
        [CACHE_UC] = "UC", [CACHE_WC] = "WC", [CACHE_WT] = "WT", [CACHE_WP] = "WP", [CACHE_WB] = "WB"};

    return names[cache];
}

void page_extent_text(const struct page_extent *extent, char text[PAGE_EXTENT_TEXT_MAX])
{
    static const char *const sizes[] = {"4K", "2M", "1G"};
    _Static_assert(ARRAY_COUNT(sizes) == LEVEL_1G + 1 && ARRAY_COUNT(extent->leaves) == LEVEL_1G + 1,
                   "a size of leaf each");
    const struct page_attributes *attributes = &extent->attributes;
    uint64_t last = extent->address + extent->bytes - 1;
    size_t length;

    if (!extent->present) {
        format_text(text, PAGE_EXTENT_TEXT_MAX, "0x%" PRIx64 "-0x%" PRIx64 " nothing", extent->address, last);
        return;
    }
    length = format_text(text, PAGE_EXTENT_TEXT_MAX, "0x%" PRIx64 "-0x%" PRIx64 " -> 0x%" PRIx64 " %c%c%c%c%s%s %s",
                         extent->address, last, extent->to.value, attributes->read ? 'r' : '-',
                         attributes->write ? 'w' : '-', attributes->execute ? 'x' : '-', attributes->user ? 'u' : '-',
                         attributes->global ? " global" : "", attributes->ignore_guest ? " ignore-guest" : "",
                         cache_name(attributes->cache));
    for (uint32_t level = ARRAY_COUNT(sizes); level-- > 0;) {
        if (extent->leaves[level] != 0) {
            length += format_text(text + length, PAGE_EXTENT_TEXT_MAX - length, " %" PRIu64 "x%s",
                                  extent->leaves[level], sizes[level]);
        }
    }
}

void page_table_dump(const struct page_table *table, void (*line)(void *context, const char *text), void *context)
{
    char text[PAGE_EXTENT_TEXT_MAX];
    struct page_extent extent;
    struct page_visit visit;

    page_visit_all(&visit, table, true);
    while (page_visit_next(&visit, &extent)) {
        if (extent.present) {
            page_extent_text(&extent, text);
            line(context, text);
        }
    }
}

/* --- compare --- */

/* What two formats cannot both say, or say with another meaning, is set to the same. */
static void attributes_common(struct page_attributes *attributes, const struct page_table_format *left,
                              const struct page_table_format *right)
{
    attributes->user = attributes->user && left->user == right->user && left->forced == right->forced;
    attributes->global = attributes->global && left->global == right->global;
    attributes->ignore_guest = attributes->ignore_guest && left->ignore_guest == right->ignore_guest;
}

/* Both extents begin at the same address. */
static bool extents_agree(const struct page_extent *left, const struct page_extent *right)
{
    if (left->present != right->present) {
        return false;
    }
    return !left->present ||
           (left->to.value == right->to.value && attributes_equal(&left->attributes, &right->attributes));
}

static void extent_shorten(struct page_extent *extent, uint64_t bytes)
{
    extent->address += bytes;
    extent->to.value += bytes;
    extent->bytes -= bytes;
}

/* The next extent, once the last one is used up. False at the end of the range. */
static bool extent_refill(struct page_visit *visit, struct page_extent *extent, const struct page_table_format *other)
{
    if (extent->bytes == 0) {
        if (!page_visit_next(visit, extent)) {
            return false;
        }
        attributes_common(&extent->attributes, visit->format, other);
    }
    return true;
}

enum status page_table_compare(const struct page_table *left, const struct page_table *right, uint64_t address,
                               uint64_t bytes, struct page_difference *difference)
{
    struct page_visit visits[2];
    struct page_extent extents[2] = {{0}};
    uint64_t both;
    enum status status = page_visit_start(&visits[0], left, address, bytes, true);

    status = status != STATUS_OK ? status : page_visit_start(&visits[1], right, address, bytes, true);
    if (status != STATUS_OK) {
        return status;
    }
    /* Both are visited over the same range, so they come to its end together. */
    while (extent_refill(&visits[0], &extents[0], right->format)) {
        CHECK(extent_refill(&visits[1], &extents[1], left->format));
        both = min_u64(extents[0].bytes, extents[1].bytes);
        if (!extents_agree(&extents[0], &extents[1])) {
            if (difference != NULL) {
                difference->address = extents[0].address;
                page_table_lookup(left, extents[0].address, &difference->left);
                page_table_lookup(right, extents[0].address, &difference->right);
            }
            return STATUS_BUSY;
        }
        extent_shorten(&extents[0], both);
        extent_shorten(&extents[1], both);
    }
    return STATUS_OK;
}
