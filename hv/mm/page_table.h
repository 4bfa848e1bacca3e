/*
 * The one page-table core: host x86-64 (4 and 5 levels), EPT, nPT. See docs/page-tables.md.
 * (First cut of the interface; the owner of hv/mm completes it. These names stay.)
 */
#ifndef HV_MM_PAGE_TABLE_H
#define HV_MM_PAGE_TABLE_H

#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/mm/table_pool.h"

/* Levels count from the leaf. */
enum page_level {
    LEVEL_4K = 0,
    LEVEL_2M = 1,
    LEVEL_1G = 2,
};

enum cache_type {
    CACHE_UC,
    CACHE_WC,
    CACHE_WT,
    CACHE_WP,
    CACHE_WB,
};

struct page_attributes {
    bool read, write, execute;
    bool user; /* host: U/S; EPT with mode-based execute control: user execute; nPT: must be true (guest accesses are
                  user) and is forced */
    bool global;
    enum cache_type cache;
};

struct page_table_format; /* const data; the descriptors are below */
extern const struct page_table_format page_table_host4;
extern const struct page_table_format page_table_host5;
extern const struct page_table_format page_table_ept4;
extern const struct page_table_format page_table_npt4;

/* What the CPU offers, found at run time. */
struct page_table_caps {
    enum page_level largest_leaf;
    uint8_t physical_bits;
    bool no_execute;     /* host, nPT: EFER.NXE is on */
    bool execute_only;   /* EPT */
    bool accessed_dirty; /* EPT */
};

struct page_table {
    const struct page_table_format *format;
    struct page_table_caps caps;
    struct table_pool *pool;
    hpa_t root;
};

enum page_flush {
    FLUSH_NONE,
    FLUSH_RANGE,
    FLUSH_ALL,
};

enum status page_table_init(struct page_table *table, const struct page_table_format *format,
                            const struct page_table_caps *caps, struct table_pool *pool);
enum status page_table_map(struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                           struct page_attributes attributes, enum page_level largest, enum page_flush *flush);
enum status page_table_unmap(struct page_table *table, uint64_t address, uint64_t bytes, enum page_flush *flush);
enum status page_table_protect(struct page_table *table, uint64_t address, uint64_t bytes,
                               struct page_attributes attributes, enum page_flush *flush);

struct page_lookup {
    bool present;
    hpa_t to;                          /* of the very address asked for */
    enum page_level level;             /* of the leaf, or of the hole */
    struct page_attributes attributes; /* effective: combined along the walk */
    bool accessed, dirty;
};
void page_table_lookup(const struct page_table *table, uint64_t address, struct page_lookup *result);

/* Tables that page_table_map of this range would take from the pool, exactly. */
enum status page_table_map_count(const struct page_table *table, uint64_t address, hpa_t to, uint64_t bytes,
                                 enum page_level largest, uint64_t *tables);
/* The same for an empty tree that is not there yet (root included): what a planner asks. */
uint64_t page_table_count_new(const struct page_table_format *format, enum page_level largest, uint64_t address,
                              hpa_t to, uint64_t bytes);

/* The value for CR3, nCR3 or EPTP. */
uint64_t page_table_root_pointer(const struct page_table *table);

#endif
