#include "hv/x86/host_map.h"

#define LARGEST_TABLE_SPAN (512 * GIB) /* what one table of 1 GiB leaves covers */
#define TABLES_PER_EDGE 2u /* a border inside a 1 GiB leaf: one table of 2 MiB leaves, one of 4 KiB leaves */
#define ROOT_TABLES_MAX 2u /* five levels */

/* Changes of the memory type below `top`. */
static uint64_t type_edges(const struct host_map_request *request)
{
    uint64_t edges = 0;
    enum cache_type type;

    for (uint64_t at = 0; at < request->top; edges++) {
        at = mtrr_run(request->mtrrs, at, request->top, &type);
    }
    return edges;
}

uint64_t host_map_tables_max(const struct host_map_request *request, uint32_t loose_pieces, uint64_t dense_bytes)
{
    uint64_t tables = ROOT_TABLES_MAX + request->top / LARGEST_TABLE_SPAN + 1;
    uint64_t edges = type_edges(request) + 2 + 2ULL * loose_pieces; /* 2: page 0 and the top */

    if (request->largest_leaf < LEVEL_1G) {
        tables += request->top / GIB + 1;
    }
    /* A piece above the top (the screen) may need tables of 1 GiB leaves of its own, at both ends. */
    tables += edges * TABLES_PER_EDGE + 2ULL * loose_pieces;
    tables += dense_bytes / GIB + 2 + dense_bytes / (2 * MIB) + 2;
    return tables;
}

static struct page_attributes attributes_of(enum host_piece_kind kind, enum cache_type cache)
{
    return (struct page_attributes){
        .read = true,
        .write = kind == HOST_PIECE_DATA || kind == HOST_PIECE_SCREEN,
        .execute = kind == HOST_PIECE_TEXT,
        .cache = kind == HOST_PIECE_SCREEN ? CACHE_WC : cache,
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
    const struct host_piece all = {0, request->top, HOST_PIECE_DATA};
    const struct host_piece null_page = {0, PAGE_BYTES, HOST_PIECE_ABSENT};
    enum page_flush flush;
    enum status status = host_map_apply(table, request->mtrrs, &all, request->largest_leaf, &flush);

    for (uint32_t i = 0; status == STATUS_OK && i < request->piece_count; i++) {
        status = host_map_apply(table, request->mtrrs, &request->pieces[i], request->largest_leaf, &flush);
    }
    if (status == STATUS_OK) {
        status = host_map_apply(table, request->mtrrs, &null_page, request->largest_leaf, &flush);
    }
    return status;
}
