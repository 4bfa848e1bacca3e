/* SPDX-License-Identifier: MIT */
/*
 * What a tree is made of: levels, attributes, capabilities, the formats by name, and the tree itself. Everything of
 * hv/mm/page_table* includes this; callers include page_table.h, which has the operations.
 */
#ifndef HV_MM_PAGE_TABLE_TYPES_H
#define HV_MM_PAGE_TABLE_TYPES_H

#include "hv/base/types.h"
#include "hv/mm/table_pool.h"

/* Levels count from the leaf: a level names the size of what one entry of its tables covers. */
enum page_level {
    LEVEL_4K = 0,
    LEVEL_2M = 1,
    LEVEL_1G = 2, /* the largest leaf */
    LEVEL_512G = 3,
    LEVEL_256T = 4,
};
#define PAGE_LEVELS_MAX 5u
_Static_assert(PAGE_LEVELS_MAX == LEVEL_256T + 1, "a place on the path for every level");

enum cache_type {
    CACHE_UC,
    CACHE_WC,
    CACHE_WT,
    CACHE_WP,
    CACHE_WB,
};

/*
 * The value of IA32_PAT that every CPU of the hypervisor loads before it uses a host or nPT tree, so that indices mean
 * { 0 WB, 1 WT, 2 UC-, 3 UC, 4 WP, 5 WC, 6 UC-, 7 UC }. Index 0 to 3 are those of the reset value, so that tables of
 * the firmware keep their meaning. SDM 3A 12.12.2 "IA32_PAT MSR"; APM 2 7.8.2 "PAT Indexing", 15.25.8 for nPT.
 */
#define PAGE_TABLE_HOST_PAT 0x0007010500070406ULL

struct page_attributes {
    bool read, write, execute;
    bool user;   /* host: U/S; EPT: user execute, which the CPU reads only under mode-based execute control; nPT: guest
                    accesses count as a user's, so it is forced */
    bool global; /* host only */
    bool ignore_guest; /* EPT only: the guest's PAT has no say in the memory type */
    enum cache_type cache;
};

struct page_table_format; /* const data; the rows are page_table_formats.h */
extern const struct page_table_format page_table_host4;
extern const struct page_table_format page_table_host5;
extern const struct page_table_format page_table_ept4;
extern const struct page_table_format page_table_ept5;
extern const struct page_table_format page_table_npt4;
extern const struct page_table_format page_table_npt5;
extern const struct page_table_format page_table_vtd3; /* of IOMMUs */
extern const struct page_table_format page_table_vtd4;
extern const struct page_table_format page_table_vtd5;
extern const struct page_table_format page_table_vtd3_snoop; /* the same, and caches are snooped */
extern const struct page_table_format page_table_vtd4_snoop;
extern const struct page_table_format page_table_vtd5_snoop;
extern const struct page_table_format page_table_amdvi4; /* snoops always */

/* What the CPU offers, found at run time. */
struct page_table_caps {
    enum page_level largest_leaf; /* at most LEVEL_1G */
    uint8_t physical_bits;        /* MAXPHYADDR: 32 to 52 */
    bool no_execute;              /* host, nPT: EFER.NXE is on */
    bool execute_only;            /* EPT */
    bool accessed_dirty;          /* EPT; the other formats always have it */
};

struct page_table {
    const struct page_table_format *format;
    struct page_table_caps caps;
    struct table_pool *pool;
    hpa_t root;
};

/* From the least to the most. FLUSH_RANGE: only translations of the range may be stale. FLUSH_ALL: a table left the
 * tree, and a CPU may still hold a pointer to it. */
enum page_flush {
    FLUSH_NONE,
    FLUSH_RANGE,
    FLUSH_ALL,
};

#define ENTRIES_SHIFT 9u /* bits of the index into a table */

/* What a leaf of a level maps. */
static inline uint32_t level_shift(uint32_t level)
{
    return PAGE_SHIFT + level * ENTRIES_SHIFT;
}

static inline uint64_t level_bytes(uint32_t level)
{
    return 1ULL << level_shift(level);
}

#endif
