/* SPDX-License-Identifier: MIT */
#include "hv/x86/host_map.h"

#define LARGEST_TABLE_SPAN (512 * GIB) /* what one table of 1 GiB leaves covers */
#define TABLES_PER_EDGE 2u /* a border inside a 1 GiB leaf: one table of 2 MiB leaves, one of 4 KiB leaves */
#define ROOT_TABLES_MAX 2u /* five levels */

/* Tables that borders inside large leaves take: of several borders in one GiB or one 2 MiB, ascending, the first
 * pays. */
struct edge_count {
    uint64_t last_gib, last_2mib;
    uint64_t tables;
};

static void count_edge(struct edge_count *count, uint64_t at)
{
    if (!is_aligned(at, GIB) && at / GIB != count->last_gib) {
        count->last_gib = at / GIB;
        count->tables++;
    }
    if (!is_aligned(at, 2 * MIB) && at / (2 * MIB) != count->last_2mib) {
        count->last_2mib = at / (2 * MIB);
        count->tables++;
    }
}

/* For the borders of memory and the changes of its type, and for the tables above them: one for each 512 GiB, and where
 * there are no leaves of 1 GiB one for each of these. */
static uint64_t memory_tables(const struct host_map_request *request)
{
    struct edge_count count = {UINT64_MAX, UINT64_MAX, 0};
    uint64_t next_gib = 0;
    uint64_t next_span = 0;
    enum cache_type type;

    for (uint32_t i = 0; i < request->memory_count; i++) {
        const struct host_range *range = &request->memory[i];
        uint64_t first_gib = max_u64(range->start / GIB, next_gib);
        uint64_t first_span = max_u64(range->start / LARGEST_TABLE_SPAN, next_span);

        next_gib = max_u64(next_gib, (range->end - 1) / GIB + 1);
        next_span = max_u64(next_span, (range->end - 1) / LARGEST_TABLE_SPAN + 1);
        count.tables += next_span - min_u64(first_span, next_span);
        count.tables += request->largest_leaf < LEVEL_1G ? next_gib - min_u64(first_gib, next_gib) : 0;
        count_edge(&count, range->start);
        for (uint64_t at = range->start; at < range->end;) {
            at = mtrr_run(request->mtrrs, at, range->end, &type);
            count_edge(&count, at);
        }
    }
    return count.tables;
}

uint64_t host_map_tables_max(const struct host_map_request *request, uint32_t loose_pieces, uint64_t dense_bytes)
{
    uint64_t tables = ROOT_TABLES_MAX + memory_tables(request);
    uint64_t edges = 1 + 2ULL * loose_pieces; /* 1: page 0 */

    /* A piece where there is no memory (the screen) may need tables of 1 GiB leaves of its own, at both ends. */
    tables += edges * TABLES_PER_EDGE + 2ULL * loose_pieces;
    tables += request->largest_leaf < LEVEL_1G ? 2ULL * loose_pieces : 0;
    tables += dense_bytes / GIB + 2 + dense_bytes / (2 * MIB) + 2;
    return tables;
}

static struct page_attributes attributes_of(enum host_piece_kind kind, enum cache_type cache)
{
    return (struct page_attributes){
        .read = true,
        .write = kind == HOST_PIECE_DATA || kind == HOST_PIECE_SCREEN || kind == HOST_PIECE_DEVICE,
        .execute = kind == HOST_PIECE_TEXT,
        .cache = kind == HOST_PIECE_SCREEN   ? CACHE_WC
                 : kind == HOST_PIECE_DEVICE ? CACHE_UC
                                             : cache,
    };
}

enum status host_map_apply(struct page_table *table, const struct mtrr_state *mtrrs, const struct host_piece *piece,
                           enum page_level largest_leaf, enum page_flush *flush)
{
    uint64_t at = piece->start;

    *flush = FLUSH_NONE;
    if (piece->kind == HOST_PIECE_ABSENT) {
        return page_table_unmap(table, piece->start, piece->end - piece->start, flush);
    }
    while (at < piece->end) {
        enum cache_type type;
        uint64_t end = mtrr_run(mtrrs, at, piece->end, &type);
        enum page_flush owed;
        enum status status =
            page_table_map(table, at, hpa(at), end - at, attributes_of(piece->kind, type), largest_leaf, &owed);

        if (status != STATUS_OK) {
            return status;
        }
        *flush = owed > *flush ? owed : *flush;
        at = end;
    }
    return STATUS_OK;
}

enum status host_map_build(struct page_table *table, const struct host_map_request *request)
{
    const struct host_piece null_page = {0, PAGE_BYTES, HOST_PIECE_ABSENT};
    enum page_flush flush;
    enum status status = STATUS_OK;

    for (uint32_t i = 0; status == STATUS_OK && i < request->memory_count; i++) {
        const struct host_piece memory = {request->memory[i].start, request->memory[i].end, HOST_PIECE_DATA};

        status = host_map_apply(table, request->mtrrs, &memory, request->largest_leaf, &flush);
    }
    for (uint32_t i = 0; status == STATUS_OK && i < request->piece_count; i++) {
        status = host_map_apply(table, request->mtrrs, &request->pieces[i], request->largest_leaf, &flush);
    }
    if (status == STATUS_OK) {
        status = host_map_apply(table, request->mtrrs, &null_page, request->largest_leaf, &flush);
    }
    return status;
}
