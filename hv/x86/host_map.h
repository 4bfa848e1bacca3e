/*
 * The hypervisor's own address space: identity, from 0 to the top of memory, never writable and executable.
 *
 *   0             absent: a null pointer faults
 *   [0, top)      read-write, no-execute, in the memory type that the MTRRs say, with the largest leaves that fit
 *                 into a run of one type
 *   framebuffer   read-write, no-execute, write-combining: its MTRR type is usually UC, and WC in the page tables
 *                 overrides that (SDM 3A 12.5.2.2, table 12-7; APM 2 7.8.5)
 *   image         each section with exactly its rights: text RX, constants R, data RW
 *   guard pages   absent: one below every stack
 *
 * Pure: builds a tree with hv/mm/page_table.h; hv/host/host_memory.c says what is where and loads the tree.
 */
#ifndef HV_X86_HOST_MAP_H
#define HV_X86_HOST_MAP_H

#include "hv/mm/page_table.h"
#include "hv/x86/mtrr.h"

enum host_piece_kind {
    HOST_PIECE_TEXT,     /* read, execute */
    HOST_PIECE_CONSTANT, /* read */
    HOST_PIECE_DATA,     /* read, write */
    HOST_PIECE_SCREEN,   /* read, write, write-combining; may lie above `top` */
    HOST_PIECE_ABSENT,
};

struct host_piece {
    uint64_t start, end; /* whole pages */
    enum host_piece_kind kind;
};

struct host_map_request {
    uint64_t top; /* a multiple of 4 KiB */
    const struct mtrr_state *mtrrs;
    enum page_level largest_leaf;
    const struct host_piece *pieces; /* applied in order, over the plain map */
    uint32_t piece_count;
};

/*
 * Tables that host_map_build() takes at most, for any places of the pieces: `loose_pieces` may lie anywhere, and
 * `dense_bytes` is the size of an area that holds any number of further pieces.
 */
uint64_t host_map_tables_max(const struct host_map_request *request, uint32_t loose_pieces, uint64_t dense_bytes);

/* Into an empty tree. Page 0 becomes absent by itself. */
enum status host_map_build(struct page_table *table, const struct host_map_request *request);

/* New rights for one piece of a tree that is in use. */
enum status host_map_apply(struct page_table *table, const struct mtrr_state *mtrrs, const struct host_piece *piece,
                           enum page_level largest_leaf, enum page_flush *flush);

#endif
