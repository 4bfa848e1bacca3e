/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own address space: identity, memory and the few devices that are used, never writable and
 * executable.
 *
 *   0             absent: a null pointer faults
 *   memory        read-write, no-execute, in the memory type that the MTRRs say, with the largest leaves that fit
 *                 into a run of one type
 *   devices       read-write, no-execute, uncached: the windows that the hypervisor uses
 *   all else      absent. A CPU may read ahead wherever a translation allows it, and a read into a hole of the address
 *                 space can be a machine check (AMD's HyperTransport range below 1 TiB)
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
    HOST_PIECE_SCREEN,   /* read, write, write-combining */
    HOST_PIECE_DEVICE,   /* read, write, uncached */
    HOST_PIECE_ABSENT,
};

struct host_piece {
    uint64_t start, end; /* whole pages */
    enum host_piece_kind kind;
};

/* Memory: whole pages. */
struct host_range {
    uint64_t start, end;
};

struct host_map_request {
    const struct host_range *memory; /* ascending, with gaps between them */
    uint32_t memory_count;
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
