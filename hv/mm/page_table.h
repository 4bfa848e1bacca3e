/* SPDX-License-Identifier: MIT */
/*
 * The one page-table core: host x86-64 and nPT and EPT, each with 4 and 5 levels. See docs/page-tables.md.
 *
 * A tree maps addresses of its owner's kind (linear for the host, guest-physical for EPT and nPT) to host-physical
 * memory. Every operation takes a range [address, address + bytes) of whole 4 KiB pages, counts the tables that it will
 * need before it changes anything, and then cannot fail: it succeeds whole or changes nothing. It says which flush it
 * owes; the caller does it on every CPU that uses the tree, before the pool of the tree is used again, because a CPU
 * may hold a pointer to a table that just went back to the pool.
 *
 * One writer at a time per tree and pool (page_table_map_concurrent and the accessed/dirty functions excepted). CPUs
 * and devices may walk the tree meanwhile: tables are filled first and linked by one store, entries change by one store
 * or compare-exchange, and each address translates as before or as after, never to a third thing.
 *
 * page_table.c opens with the picture of a tree and the order of a map. The operations are in page_table.c (set-up,
 * map, unmap, protect), page_table_shape.c (populate, vacate, coalesce), page_table_lookup.c and page_table_touch.c
 * (accessed and dirty bits, concurrent map). Apart from this interface: page_table_find.h (one address, on hot paths)
 * and page_table_visit.h (visit, dump, compare).
 *
 * This folder has memory as data: page tables, a guest's memory, the walk of its tables. Pure: no register of a CPU, no
 * device, no allocation beyond a pool that the caller gives.
 */
#ifndef HV_MM_PAGE_TABLE_H
#define HV_MM_PAGE_TABLE_H

#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/mm/page_table_types.h"
#include "hv/mm/table_pool.h"

/* "host4", "ept5" ... */
const char *page_table_format_name(const struct page_table_format *format);

/* Levels of tables, the root included. */
unsigned page_table_levels(const struct page_table_format *format);

/*
 * What all range operations answer, besides STATUS_OK:
 *   STATUS_MISALIGNED   an address or size is not a multiple of 4 KiB
 *   STATUS_OVERFLOW     the range leaves the format's addresses, or the target leaves the CPU's physical addresses
 *   STATUS_INVALID      attributes that mean nothing (no right at all), a level that does not exist
 *   STATUS_UNSUPPORTED  attributes that this format or CPU cannot express
 *   STATUS_NO_MEMORY    the pool has fewer tables than the operation needs
 * In all of these cases nothing was changed. An empty range is fine and does nothing. `flush` may be NULL.
 */

/* Makes an empty tree: takes one table, the root. */
enum status page_table_init(struct page_table *table, const struct page_table_format *format,
                            const struct page_table_caps *caps, struct table_pool *pool);

/* Gives every table back, pinned ones and the root too. No CPU uses the tree any more. */
void page_table_destroy(struct page_table *table);

/* Maps the range to [to, to + bytes), with the largest leaves that fit and that `largest` allows, over whatever was
 * there. Populated tables stay, and are mapped with leaves of their size. */
enum status page_table_map(struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                           struct page_attributes attributes, enum page_level largest, enum page_flush *flush);

/* Larger leaves are split at the edges. Tables that become empty go back to the pool, unless they are populated. */
enum status page_table_unmap(struct page_table *table, uint64_t address, uint64_t bytes, enum page_flush *flush);

/* New rights and type for what is mapped in the range; holes stay holes; addresses, accessed and dirty bits stay. */
enum status page_table_protect(struct page_table *table, uint64_t address, uint64_t bytes,
                               struct page_attributes attributes, enum page_flush *flush);

/* Makes the tables in advance, so that leaves of `level` can be mapped in the range without any table being taken.
 * Larger leaves there are split. Populating twice is populating once. Undone by vacate, whatever else happens. */
enum status page_table_populate(struct page_table *table, uint64_t address, uint64_t bytes, enum page_level level,
                                enum page_flush *flush);

/* The tables that the range touches need not stay any more: empty ones go back to the pool now, the others when they
 * become empty. What is mapped stays mapped. */
enum status page_table_vacate(struct page_table *table, uint64_t address, uint64_t bytes, enum page_flush *flush);

/* Each full table that the range touches, of contiguous leaves that differ in nothing but accessed and dirty, becomes
 * one larger leaf (at most `largest`) that has the bits of all. Populated tables stay. */
enum status page_table_coalesce(struct page_table *table, uint64_t address, uint64_t bytes, enum page_level largest,
                                enum page_flush *flush);

/* The tables that the operation of the same name would take from the pool, exactly. */
enum status page_table_map_count(const struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                                 enum page_level largest, uint64_t *tables);
enum status page_table_unmap_count(const struct page_table *table, uint64_t address, uint64_t bytes, uint64_t *tables);
enum status page_table_protect_count(const struct page_table *table, uint64_t address, uint64_t bytes,
                                     struct page_attributes attributes, uint64_t *tables);
enum status page_table_populate_count(const struct page_table *table, uint64_t address, uint64_t bytes,
                                      enum page_level level, uint64_t *tables);

/* The tables of a tree that is not there yet and maps this range only (root included): what a planner asks. */
uint64_t page_table_count_new(const struct page_table_format *format, enum page_level largest, uint64_t address,
                              hpa_t to, uint64_t bytes);

struct page_lookup {
    bool present;
    hpa_t to;                          /* of the very address asked for */
    enum page_level level;             /* of the leaf, or of the hole */
    struct page_attributes attributes; /* effective: combined along the walk */
    bool accessed, dirty;
};
/* For hot paths there is page_table_find.h. */
void page_table_lookup(const struct page_table *table, uint64_t address, struct page_lookup *result);

/* An entry as it stands, wherever the walk ended. */
struct page_entry {
    hpa_t at; /* of the entry itself */
    uint64_t value;
    enum page_level level;
};

/* To the entry of `level` for this address, or to the leaf or hole above it where the walk ends. */
enum status page_table_walk(const struct page_table *table, uint64_t address, enum page_level level,
                            struct page_entry *entry);
/* The same, but populates the way, so that it ends at `level`. */
enum status page_table_walk_create(struct page_table *table, uint64_t address, enum page_level level,
                                   struct page_entry *entry, enum page_flush *flush);

/*
 * Maps one page or leaf of `level` in a populated range where nothing is mapped yet; any number of CPUs may do so at
 * the same time, also for the same address, while others walk. Exactly one of them gets STATUS_OK.
 *   STATUS_BUSY       something is mapped there; `found` (may be NULL) says what, as of after the attempt
 *   STATUS_NOT_FOUND  the range is not populated for this level
 * No flush is owed: an absent entry is cached nowhere.
 */
enum status page_table_map_concurrent(struct page_table *table, uint64_t address, hpa_t to, enum page_level level,
                                      struct page_attributes attributes, struct page_lookup *found);

/* The reverse, under the same conditions: the table stays. STATUS_NOT_FOUND where no leaf of `level` is; else every CPU
 * that uses the tree owes a flush of this address. */
enum status page_table_unmap_concurrent(struct page_table *table, uint64_t address, enum page_level level);

/*
 * Accessed and dirty bits, which the hardware sets by itself while these functions run: they use atomic operations, so
 * that no bit is lost. `which` is PAGE_ACCESSED, PAGE_DIRTY or both; query is page_table_lookup. STATUS_UNSUPPORTED
 * where the CPU has no such bits (caps.accessed_dirty), STATUS_NOT_FOUND where nothing is mapped.
 */
#define PAGE_ACCESSED 1u
#define PAGE_DIRTY 2u
enum status page_table_mark(struct page_table *table, uint64_t address, uint32_t which);
/* `had` (may be NULL): which of the bits were set. A TLB remembers that a page was dirty: hence the flush. */
enum status page_table_clear(struct page_table *table, uint64_t address, uint32_t which, uint32_t *had,
                             enum page_flush *flush);

struct page_harvest {
    uint32_t which;   /* harvested are the leaves that have any of these */
    bool clear;       /* and they lose them, except large leaves that lie in the range only in part */
    uint64_t *bitmap; /* bit n: page n of the range; bits are added, never taken away; NULL: only count */
    uint64_t pages;   /* result: 4 KiB pages harvested, of large leaves what lies in the range */
};

/*
 * Over a range. Subtrees whose link was never used by the hardware are skipped unseen. Links keep their accessed bits:
 * a CPU that holds a link in its paging-structure caches would not set it again before the flush, and what it touches
 * in between would be skipped next time.
 */
enum status page_table_harvest(struct page_table *table, uint64_t address, uint64_t bytes, struct page_harvest *harvest,
                               enum page_flush *flush);

/* The value for CR3, nCR3 or EPTP. */
uint64_t page_table_root_pointer(const struct page_table *table);

#endif
