/* SPDX-License-Identifier: MIT */
/*
 * The model: random operations on a tree, and beside it a flat reference that is too simple to be wrong.
 *
 * One campaign has a format, capabilities, a pool, and a sorted list of boundaries. All operations begin and end at
 * boundaries, so between two of them the truth is one row: mapped or not, to where, how. Boundaries are drawn close
 * around multiples of 4 KiB, 2 MiB, 1 GiB and 512 GiB, where page tables have their edges. The reference says what
 * every operation must answer (also that it must refuse), and what every address must translate to. Accessed and dirty
 * bits are followed on the first page of each row: a bit that was set stays until an operation clears or replaces it.
 *
 * Where the choices come from is the caller's: a generator (test_page_table_model.c) or the fuzzer's bytes.
 */
#ifndef TESTS_UNIT_PAGE_TABLE_MODEL_H
#define TESTS_UNIT_PAGE_TABLE_MODEL_H

#include "hv/mm/page_table_find.h"
#include "hv/mm/page_table_visit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_POOL_MAX 160u
#define MODEL_BOUNDARIES 22u
#define MODEL_ROWS (MODEL_BOUNDARIES - 1u)
#define MODEL_POOL_START (2 * GIB + 0x3000)

struct model_row {
    bool present;
    uint64_t delta; /* target minus offset */
    struct page_attributes attributes;
    uint32_t touched; /* PAGE_ACCESSED, PAGE_DIRTY: at least these on the first page */
};

struct model {
    uint32_t (*choose)(void *source); /* any number */
    void *source;
    struct table_pool pool;
    struct page_table tree;
    uint64_t base;  /* added to offsets: 0, or the canonical upper half */
    uint64_t limit; /* of offsets */
    uint32_t count; /* of boundaries */
    uint64_t boundaries[MODEL_BOUNDARIES];
    struct model_row rows[MODEL_ROWS];
    uint64_t populated_start, populated_end; /* the last populate, until a vacate */
    enum page_level populated_level;
    uint64_t operations, refused, tables_moved, compared;
};

static const struct page_table_format *const model_formats[] = {&page_table_host4, &page_table_ept4, &page_table_npt4,
                                                                &page_table_host5, &page_table_ept5, &page_table_npt5};

static uint8_t model_other_arena[(uint64_t)MODEL_POOL_MAX * PAGE_BYTES] __attribute__((aligned(4096)));
static uint8_t model_arena[(uint64_t)MODEL_POOL_MAX * PAGE_BYTES] __attribute__((aligned(4096)));

#define MODEL_CHECK(condition)                                                                                   \
    do {                                                                                                         \
        if (!(condition)) {                                                                                      \
            fprintf(stderr, "%s:%d: the tree is not what the model says: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                                             \
        }                                                                                                        \
    } while (0)

static inline uint32_t model_below(struct model *model, uint32_t end)
{
    return model->choose(model->source) % end;
}

/* --- a campaign --- */

static inline uint64_t model_near(struct model *model, uint64_t center)
{
    static const uint64_t units[] = {4 * KIB, 2 * MIB, GIB, 4 * KIB, 2 * MIB};
    uint64_t value = center;

    for (uint32_t i = model_below(model, 3) + 1; i > 0; i--) {
        uint64_t unit = units[model_below(model, ARRAY_COUNT(units))];

        value += (model_below(model, 5) - 2u + 0ULL) * unit;
        value = (int64_t)value < 0 ? center : value;
    }
    return value;
}

static inline int model_order(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;

    return *a < *b ? -1 : *a > *b;
}

static inline void model_draw_boundaries(struct model *model)
{
    static const uint64_t centers[] = {0, GIB, 3 * GIB, 512 * GIB, 513 * GIB, 1024 * GIB, 1ULL << 47, 1ULL << 48};
    uint64_t here[2];
    uint32_t kept = 0;

    for (uint32_t i = 0; i < 2; i++) {
        here[i] = centers[model_below(model, ARRAY_COUNT(centers))];
    }
    for (uint32_t i = 0; i < MODEL_BOUNDARIES; i++) {
        uint64_t value = model_near(model, here[model_below(model, 2)]);

        model->boundaries[i] = min_u64(value, model->limit);
    }
    qsort(model->boundaries, MODEL_BOUNDARIES, sizeof(uint64_t), model_order);
    for (uint32_t i = 0; i < MODEL_BOUNDARIES; i++) {
        if (kept == 0 || model->boundaries[kept - 1] != model->boundaries[i]) {
            model->boundaries[kept++] = model->boundaries[i];
        }
    }
    model->count = kept;
}

static inline void model_begin(struct model *model)
{
    const struct page_table_format *format = model_formats[model_below(model, ARRAY_COUNT(model_formats))];
    struct page_table_caps caps = {.largest_leaf = (enum page_level)(2 - model_below(model, 5) / 3),
                                   .physical_bits = (uint8_t)(40 + model_below(model, 13)),
                                   .no_execute = model_below(model, 4) != 0,
                                   .execute_only = model_below(model, 2) != 0,
                                   .accessed_dirty = model_below(model, 4) != 0};
    uint32_t pages = model_below(model, 2) ? 1 + model_below(model, MODEL_POOL_MAX) : 1 + model_below(model, 12);
    uint64_t half = 1ULL << (format->address_bits - 1);

    caps.largest_leaf = model_below(model, 8) == 0 ? LEVEL_4K : caps.largest_leaf;
    MODEL_CHECK(table_pool_init(&model->pool, (uint64_t)(uintptr_t)model_arena - MODEL_POOL_START,
                                hpa(MODEL_POOL_START), pages) == STATUS_OK);
    MODEL_CHECK(page_table_init(&model->tree, format, &caps, &model->pool) == STATUS_OK);
    model->limit = format->sign_extended ? half : 2 * half;
    model->base = format->sign_extended && model_below(model, 3) == 0 ? 0 - half : 0;
    memset(model->rows, 0, sizeof(model->rows));
    model->populated_start = model->populated_end = 0;
    model_draw_boundaries(model);
}

static inline void model_end(struct model *model)
{
    uint64_t pages = model->pool.pages;
    enum page_flush flush;

    MODEL_CHECK(page_table_vacate(&model->tree, model->base, model->limit, &flush) == STATUS_OK);
    MODEL_CHECK(page_table_unmap(&model->tree, model->base, model->limit, &flush) == STATUS_OK);
    MODEL_CHECK(model->pool.free_count == pages - 1);
    page_table_destroy(&model->tree);
    MODEL_CHECK(model->pool.free_count == pages);
}

/* --- what the reference says --- */

/* The attributes as a lookup gives them back. */
static inline struct page_attributes model_seen(const struct model *model, struct page_attributes attributes)
{
    attributes.user = attributes.user || model->tree.format->forced != 0;
    return attributes;
}

static inline bool model_same(const struct page_attributes *a, const struct page_attributes *b)
{
    return a->read == b->read && a->write == b->write && a->execute == b->execute && a->user == b->user &&
           a->global == b->global && a->ignore_guest == b->ignore_guest && a->cache == b->cache;
}

static inline bool model_can_say(const struct model *model, const struct page_attributes *a)
{
    const struct page_table_caps *caps = &model->tree.caps;
    bool ept = model->tree.format == &page_table_ept4 || model->tree.format == &page_table_ept5;
    bool host = model->tree.format == &page_table_host4 || model->tree.format == &page_table_host5;

    if ((!a->read && (a->write || !ept || !caps->execute_only)) || (!a->execute && !ept && !caps->no_execute)) {
        return false;
    }
    return (!a->global || host) && (!a->ignore_guest || ept);
}

/* The fast lookup, with the format as a constant where there is one. */
static inline bool model_find(const struct page_table *tree, uint64_t address, struct page_found *found)
{
    if (tree->format == &page_table_host4) {
        return page_table_find_as(tree, &page_find_host4, address, found);
    }
    if (tree->format == &page_table_npt4) {
        return page_table_find_as(tree, &page_find_npt4, address, found);
    }
    if (tree->format == &page_table_ept4) {
        return page_table_find_as(tree, &page_find_ept4, address, found);
    }
    return page_table_find(tree, address, found);
}

static inline void model_verify_at(const struct model *model, uint32_t row, uint64_t offset)
{
    const struct model_row *expected = &model->rows[row];
    struct page_lookup found;
    struct page_found fast;

    page_table_lookup(&model->tree, model->base + offset, &found);
    MODEL_CHECK(found.present == expected->present);
    MODEL_CHECK(model_find(&model->tree, model->base + offset, &fast) == found.present);
    MODEL_CHECK(fast.level == found.level);
    if (expected->present) {
        MODEL_CHECK(found.to.value == offset + expected->delta && fast.to.value == found.to.value);
        MODEL_CHECK(model_same(&found.attributes, &expected->attributes));
        MODEL_CHECK(found.level <= model->tree.caps.largest_leaf);
    }
    if (offset == model->boundaries[row]) {
        MODEL_CHECK((expected->touched & PAGE_ACCESSED) == 0 || found.accessed);
        MODEL_CHECK((expected->touched & PAGE_DIRTY) == 0 || found.dirty);
    }
}

/* One place of a random row: its start, its end, or in the middle. */
static inline void model_verify_some(struct model *model)
{
    uint32_t row = model_below(model, model->count - 1);
    uint64_t start = model->boundaries[row];
    uint64_t bytes = model->boundaries[row + 1] - start;
    uint64_t wide = (uint64_t)model->choose(model->source) << 20 ^ model->choose(model->source);
    uint64_t inside[3] = {0, bytes - 1, wide % bytes};

    model_verify_at(model, row, start + inside[model_below(model, 3)]);
}

/* Everything: each extent of the tree against the rows that it covers, nothing outside the boundaries, and the tables
 * against the pool. */
static inline void model_verify_all(struct model *model)
{
    uint64_t offset = model->boundaries[0];
    struct page_extent extent;
    struct page_visit visit;
    uint32_t row = 0;

    page_visit_all(&visit, &model->tree, model_below(model, 2) != 0);
    while (page_visit_next(&visit, &extent)) {
        uint64_t start = extent.address - model->base;
        uint64_t end = start + extent.bytes;

        if (start >= model->limit || end <= model->boundaries[0] || start >= model->boundaries[model->count - 1]) {
            MODEL_CHECK(!extent.present);
            continue;
        }
        MODEL_CHECK(start <= offset);
        while (row + 1 < model->count && offset < end) {
            const struct model_row *expected = &model->rows[row];

            MODEL_CHECK(extent.present == expected->present);
            MODEL_CHECK(!extent.present || extent.to.value - start == expected->delta);
            MODEL_CHECK(!extent.present || model_same(&extent.attributes, &expected->attributes));
            offset = min_u64(end, model->boundaries[row + 1]);
            row += offset == model->boundaries[row + 1];
        }
    }
    MODEL_CHECK(row + 1 == model->count);
    MODEL_CHECK(visit.tables == model->pool.pages - model->pool.free_count);
}

/* --- the same again in another format --- */

/* A format that can say what the rows say at these addresses. */
static inline const struct page_table_format *model_other_format(struct model *model)
{
    const struct page_table_format *format = model_formats[model_below(model, ARRAY_COUNT(model_formats))];
    uint64_t end = model->boundaries[model->count - 1];

    for (uint32_t i = 0; i + 1 < model->count; i++) {
        if (model->rows[i].present && !model->rows[i].attributes.read && !format->execute_only) {
            format = model->tree.format;
        }
    }
    return model->base != 0 || end > 1ULL << (format->address_bits - 1u) ? model->tree.format : format;
}

/* False where the other pool is too small for it. */
static inline bool model_other_fill(const struct model *model, struct page_table *other)
{
    for (uint32_t i = 0; i + 1 < model->count; i++) {
        struct page_attributes attributes = model->rows[i].attributes;
        uint64_t start = model->boundaries[i];
        enum status status;

        attributes.global = attributes.global && other->format->global != 0;
        attributes.ignore_guest = attributes.ignore_guest && other->format->ignore_guest != 0;
        status = !model->rows[i].present ? STATUS_OK
                                         : page_table_map(other, model->base + start, hpa(start + model->rows[i].delta),
                                                          model->boundaries[i + 1] - start, attributes, LEVEL_1G, NULL);
        MODEL_CHECK(status == STATUS_OK || status == STATUS_NO_MEMORY);
        if (status != STATUS_OK) {
            return false;
        }
    }
    return true;
}

/* A tree that is built from the rows at once says the same; and where a page is taken from it, that is the first
 * difference. */
static inline void model_compare(struct model *model)
{
    static const struct page_table_caps caps = {
        .largest_leaf = LEVEL_1G, .physical_bits = 52, .no_execute = true, .execute_only = true};
    uint64_t start = model->base + model->boundaries[0];
    uint64_t bytes = model->boundaries[model->count - 1] - model->boundaries[0];
    uint32_t row = model_below(model, model->count - 1);
    uint64_t page = model->base + model->boundaries[row + 1] - PAGE_BYTES;
    struct page_difference difference;
    struct table_pool pool;
    struct page_table other;

    MODEL_CHECK(table_pool_init(&pool, (uint64_t)(uintptr_t)model_other_arena - MODEL_POOL_START, hpa(MODEL_POOL_START),
                                MODEL_POOL_MAX) == STATUS_OK);
    MODEL_CHECK(page_table_init(&other, model_other_format(model), &caps, &pool) == STATUS_OK);
    if (!model_other_fill(model, &other)) {
        return;
    }
    model->compared++;
    MODEL_CHECK(page_table_compare(&model->tree, &other, start, bytes, &difference) == STATUS_OK);
    MODEL_CHECK(page_table_compare(&other, &model->tree, start, bytes, NULL) == STATUS_OK);
    if (model->rows[row].present && page_table_unmap(&other, page, PAGE_BYTES, NULL) == STATUS_OK) {
        MODEL_CHECK(page_table_compare(&model->tree, &other, start, bytes, &difference) == STATUS_BUSY);
        MODEL_CHECK(difference.address == page && difference.left.present && !difference.right.present);
    }
}

/* --- operations --- */

struct model_range {
    uint32_t first, last; /* rows [first, last) */
    uint64_t start, bytes;
};

static inline struct model_range model_draw_range(struct model *model)
{
    uint32_t rows = model->count - 1;
    uint32_t first = model_below(model, rows);
    uint32_t most = model_below(model, 4) != 0 ? 3 : rows;
    uint32_t last = (uint32_t)min_u64(rows, first + 1 + model_below(model, most));

    return (struct model_range){first, last, model->boundaries[first],
                                model->boundaries[last] - model->boundaries[first]};
}

static inline struct page_attributes model_draw_attributes(struct model *model)
{
    uint32_t bits = model_below(model, 128);

    /* Mostly the same few, so that coalesce finds something. */
    if (model_below(model, 3) != 0) {
        return (struct page_attributes){
            .read = true, .write = bits & 1, .execute = true, .user = true, .cache = CACHE_WB};
    }
    return (struct page_attributes){.read = bits & 7 ? true : false,
                                    .write = bits & 8,
                                    .execute = (bits & 16) || !(bits & 7),
                                    .user = bits & 32,
                                    .global = (bits & 67) == 67,
                                    .ignore_guest = (bits & 76) == 76,
                                    .cache = (enum cache_type)model_below(model, 5)};
}

/* An operation answered: it must have been refused exactly where it needed more than there is, and if no table left the
 * tree, it took exactly what was counted. */
static inline bool model_settle(struct model *model, enum status status, enum page_flush flush, uint64_t counted,
                                uint64_t free_before)
{
    uint64_t free_after = model->pool.free_count;

    MODEL_CHECK((status == STATUS_NO_MEMORY) == (counted > free_before));
    if (status != STATUS_OK) {
        MODEL_CHECK(status == STATUS_NO_MEMORY && free_after == free_before);
        model->refused++;
        return false;
    }
    MODEL_CHECK(flush == FLUSH_ALL ? free_before - free_after + model->pool.pages <= counted + model->pool.pages
                                   : free_before - free_after == counted);
    model->tables_moved += counted;
    return true;
}

static inline void model_map(struct model *model)
{
    static const uint64_t shifts[] = {0, GIB, 2 * MIB, 4 * KIB, 3 * GIB, 5 * MIB + 8 * KIB};
    struct model_range range = model_draw_range(model);
    struct page_attributes attributes = model_draw_attributes(model);
    uint64_t delta = (shifts[model_below(model, ARRAY_COUNT(shifts))] - align_down(range.start, 512 * GIB));
    enum page_level largest = (enum page_level)(2 - model_below(model, 8) / 3);
    uint64_t to = range.start + delta, top = 1ULL << model->tree.caps.physical_bits;
    uint64_t counted, before = model->pool.free_count;
    enum page_flush flush = FLUSH_NONE;
    enum status status, refusal = STATUS_OK;

    refusal = model_can_say(model, &attributes) ? STATUS_OK : STATUS_UNSUPPORTED;
    refusal = to > top || range.bytes > top - to ? STATUS_OVERFLOW : refusal;
    status = page_table_map_count(&model->tree, model->base + range.start, hpa(to), range.bytes, largest, &counted);
    MODEL_CHECK(status == (refusal == STATUS_OVERFLOW ? STATUS_OVERFLOW : STATUS_OK));
    status = page_table_map(&model->tree, model->base + range.start, hpa(to), range.bytes, attributes, largest, &flush);
    if (refusal != STATUS_OK) {
        MODEL_CHECK(status == refusal && model->pool.free_count == before);
        return;
    }
    if (model_settle(model, status, flush, counted, before)) {
        for (uint32_t i = range.first; i < range.last; i++) {
            /* The same leaf again keeps its accessed and dirty bits, but need not: nothing is promised. */
            model->rows[i] = (struct model_row){true, delta, model_seen(model, attributes), 0};
        }
    }
}

static inline void model_unmap(struct model *model)
{
    struct model_range range = model_draw_range(model);
    uint64_t counted, before = model->pool.free_count;
    enum page_flush flush = FLUSH_NONE;
    enum status status;

    MODEL_CHECK(page_table_unmap_count(&model->tree, model->base + range.start, range.bytes, &counted) == STATUS_OK);
    status = page_table_unmap(&model->tree, model->base + range.start, range.bytes, &flush);
    if (model_settle(model, status, flush, counted, before)) {
        memset(&model->rows[range.first], 0, (range.last - range.first) * sizeof(model->rows[0]));
    }
}

static inline void model_protect(struct model *model)
{
    struct model_range range = model_draw_range(model);
    struct page_attributes attributes = model_draw_attributes(model);
    uint64_t counted, before = model->pool.free_count, at = model->base + range.start;
    enum page_flush flush = FLUSH_NONE;
    enum status status = page_table_protect_count(&model->tree, at, range.bytes, attributes, &counted);

    if (!model_can_say(model, &attributes)) {
        MODEL_CHECK(status == STATUS_UNSUPPORTED);
        MODEL_CHECK(page_table_protect(&model->tree, at, range.bytes, attributes, &flush) == STATUS_UNSUPPORTED);
        return;
    }
    status = page_table_protect(&model->tree, at, range.bytes, attributes, &flush);
    MODEL_CHECK(flush != FLUSH_ALL);
    if (model_settle(model, status, flush, counted, before)) {
        for (uint32_t i = range.first; i < range.last; i++) {
            model->rows[i].attributes =
                model->rows[i].present ? model_seen(model, attributes) : model->rows[i].attributes;
        }
    }
}

static inline void model_coalesce(struct model *model)
{
    struct model_range range = model_draw_range(model);
    uint64_t before = model->pool.free_count;
    enum page_flush flush = FLUSH_NONE;

    MODEL_CHECK(page_table_coalesce(&model->tree, model->base + range.start, range.bytes,
                                    (enum page_level)model_below(model, 3), &flush) == STATUS_OK);
    MODEL_CHECK((model->pool.free_count != before) == (flush == FLUSH_ALL));
}

static inline void model_populate(struct model *model)
{
    struct model_range range = model_draw_range(model);
    enum page_level level = (enum page_level)model_below(model, 3);
    uint64_t counted, before = model->pool.free_count, at = model->base + range.start;
    enum page_flush flush = FLUSH_NONE;
    enum status status;

    MODEL_CHECK(page_table_populate_count(&model->tree, at, range.bytes, level, &counted) == STATUS_OK);
    status = page_table_populate(&model->tree, at, range.bytes, level, &flush);
    MODEL_CHECK(flush == FLUSH_NONE);
    if (model_settle(model, status, flush, counted, before)) {
        model->populated_start = range.start;
        model->populated_end = range.start + range.bytes;
        model->populated_level = level;
    }
}

static inline void model_vacate(struct model *model)
{
    struct model_range range = model_draw_range(model);
    uint64_t before = model->pool.free_count;
    enum page_flush flush = FLUSH_NONE;

    MODEL_CHECK(page_table_vacate(&model->tree, model->base + range.start, range.bytes, &flush) == STATUS_OK);
    MODEL_CHECK((model->pool.free_count != before) == (flush == FLUSH_ALL));
    model->populated_start = model->populated_end = 0;
}

/* In what is populated, mapping with leaves of that size or larger takes no table, whatever happened since. */
static inline void model_check_populated(struct model *model)
{
    uint64_t counted = 0, page = level_bytes((uint32_t)model->populated_level);
    uint64_t start = align_up(model->populated_start, page), end = align_down(model->populated_end, page);

    if (start < end && model->populated_level <= model->tree.caps.largest_leaf) {
        MODEL_CHECK(page_table_map_count(&model->tree, model->base + start, hpa(0), page, LEVEL_1G, &counted) ==
                    STATUS_OK);
        MODEL_CHECK(counted == 0);
        MODEL_CHECK(page_table_map_count(&model->tree, model->base + end - page, hpa(page), page,
                                         model->populated_level, &counted) == STATUS_OK);
        MODEL_CHECK(counted == 0);
    }
}

/* The hardware touches the first page of a row. */
static inline void model_touch(struct model *model)
{
    uint32_t row = model_below(model, model->count - 1);
    uint32_t which = 1 + model_below(model, 3);
    bool can = model->tree.format->touch_always || model->tree.caps.accessed_dirty;
    enum status status = page_table_mark(&model->tree, model->base + model->boundaries[row], which);

    if (!can) {
        MODEL_CHECK(status == STATUS_UNSUPPORTED);
    } else if (model->rows[row].present) {
        MODEL_CHECK(status == STATUS_OK);
        model->rows[row].touched |= which;
    } else {
        MODEL_CHECK(status == STATUS_NOT_FOUND);
    }
}

static inline void model_clear(struct model *model)
{
    uint32_t row = model_below(model, model->count - 1);
    uint64_t at = model->boundaries[row], start;
    uint32_t which = 1 + model_below(model, 3), had = 0;
    struct page_lookup before;
    enum page_flush flush;
    enum status status;

    page_table_lookup(&model->tree, model->base + at, &before);
    status = page_table_clear(&model->tree, model->base + at, which, &had, &flush);
    if (status != STATUS_OK) {
        MODEL_CHECK(status == STATUS_UNSUPPORTED || (status == STATUS_NOT_FOUND && !model->rows[row].present));
        return;
    }
    MODEL_CHECK((had & ~which) == 0 && (flush != FLUSH_NONE) == (had != 0));
    MODEL_CHECK(((had & PAGE_DIRTY) != 0) == (before.dirty && (which & PAGE_DIRTY) != 0));
    start = align_down(at, level_bytes((uint32_t)before.level));
    for (uint32_t i = 0; i + 1 < model->count; i++) {
        if (model->boundaries[i] - start < level_bytes((uint32_t)before.level)) {
            model->rows[i].touched &= ~which;
        }
    }
}

/* Everything that was touched must be among what is harvested. */
static inline void model_harvest(struct model *model)
{
    static uint64_t bitmap[8 * MIB / PAGE_BYTES / 64];
    uint32_t row = model_below(model, model->count - 1);
    uint64_t start = model->boundaries[row], bytes = min_u64(model->boundaries[row + 1] - start, 8 * MIB);
    struct page_harvest harvest = {
        .which = 1 + model_below(model, 3), .clear = model_below(model, 2), .bitmap = bitmap};
    uint32_t touched = model->rows[row].touched & harvest.which;
    enum page_flush flush = FLUSH_NONE;

    memset(bitmap, 0, sizeof(bitmap));
    if (page_table_harvest(&model->tree, model->base + start, bytes, &harvest, &flush) != STATUS_OK) {
        MODEL_CHECK(!model->tree.format->touch_always && !model->tree.caps.accessed_dirty);
        return;
    }
    MODEL_CHECK(touched == 0 || (bitmap[0] & 1) != 0);
    MODEL_CHECK(model->rows[row].present || harvest.pages == 0);
    MODEL_CHECK(harvest.clear || flush == FLUSH_NONE);
    if (harvest.clear) {
        struct page_lookup found;

        page_table_lookup(&model->tree, model->base + start, &found);
        model->rows[row].touched = (found.accessed ? PAGE_ACCESSED : 0) | (found.dirty ? PAGE_DIRTY : 0);
        MODEL_CHECK(found.level != LEVEL_4K || (model->rows[row].touched & harvest.which) == 0 || !found.present);
    }
}

static inline void model_map_concurrent(struct model *model)
{
    struct page_attributes attributes = {.read = true, .write = true, .execute = true, .user = true, .cache = CACHE_WB};
    uint32_t row = model_below(model, model->count - 1);
    uint64_t at = model->boundaries[row], bytes = model->boundaries[row + 1] - at;
    struct page_lookup found;
    enum status status;

    if (bytes != 4 * KIB) {
        return;
    }
    status = page_table_map_concurrent(&model->tree, model->base + at, hpa(at & (4 * GIB - 1)), LEVEL_4K, attributes,
                                       &found);
    if (status == STATUS_OK) {
        MODEL_CHECK(!model->rows[row].present);
        model->rows[row] = (struct model_row){true, (at & (4 * GIB - 1)) - at, attributes, 0};
    } else if (status == STATUS_BUSY) {
        MODEL_CHECK(model->rows[row].present && found.to.value == at + model->rows[row].delta);
    } else {
        MODEL_CHECK(status == STATUS_NOT_FOUND && !model->rows[row].present);
    }
}

static inline void model_step(struct model *model)
{
    static void (*const operations[])(struct model *) = {
        model_map,      model_map,     model_map,     model_map,     model_unmap,          model_unmap,
        model_unmap,    model_protect, model_protect, model_touch,   model_touch,          model_coalesce,
        model_populate, model_vacate,  model_clear,   model_harvest, model_map_concurrent,
    };

    operations[model_below(model, ARRAY_COUNT(operations))](model);
    model->operations++;
    model_verify_some(model);
    model_verify_some(model);
    model_check_populated(model);
}

#endif
