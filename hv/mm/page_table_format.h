/* SPDX-License-Identifier: MIT */
/*
 * The formats of page-table entries as data, and the few inline functions that read the data.
 *
 * All formats have the same skeleton, and only the bits around the address differ:
 *
 *    63  62      54 53 52 51                          12 11        8  7  6       0
 *   +---+----------+--+--+------------------------------+-----------+---+---------+
 *   |NX |          |N |P | address of the table or page | A/D (EPT) | L | rights  |   L: leaf above 4 KiB
 *   +---+----------+--+--+------------------------------+-----------+---+---------+   N, P: our two bits in links
 *
 * Bits 52 and 53 are ignored by the hardware in every link of every format of a CPU (SDM 3A 4.5.4, tables 4-15 to
 * 4-20, and 3C 29.3.2, tables 29-1 to 29-6; APM 2 5.3.3 "4-Kbyte Page Translation", bits 58:52 available to software)
 * and of VT-d. AMD's IOMMU reserves them and ignores bits 4:1. So a format's row says where our two bits are:
 *   pinned  the table was populated: it stays, empty or not, until page_table_vacate.
 *   nested  the table below holds, or once held, links itself. Where it is clear, the table can go back to the
 *                pool without being read.
 *
 * Rights are kept as "bits that allow". Where a format has a bit that forbids (NX), `inverted` names it: entry XOR
 * inverted has only bits that allow, and the AND of those along a walk is what the walk allows.
 */
#ifndef HV_MM_PAGE_TABLE_FORMAT_H
#define HV_MM_PAGE_TABLE_FORMAT_H

#include "hv/base/status.h"
#include "hv/mm/page_table_types.h"

#define ENTRIES_PER_TABLE 512u
#define ADDRESS_MASK 0x000ffffffffff000ULL /* bits 51:12 */
#define LINK_PINNED (1ULL << 52)
#define LINK_NESTED (1ULL << 53)
_Static_assert(ENTRIES_PER_TABLE * sizeof(uint64_t) == PAGE_BYTES, "a table fills a page");
_Static_assert(ENTRIES_PER_TABLE == 1u << ENTRIES_SHIFT, "an index has nine bits");
_Static_assert(PAGE_SHIFT + LEVEL_2M * ENTRIES_SHIFT == 21 && PAGE_SHIFT + LEVEL_1G * ENTRIES_SHIFT == 30,
               "levels have the sizes of their names");
_Static_assert(ADDRESS_MASK == ((1ULL << 52) - PAGE_BYTES), "bits 51:12");
_Static_assert(((LINK_PINNED | LINK_NESTED) & ADDRESS_MASK) == 0, "our bits are no address bits");

#define CACHE_TYPES 5u
_Static_assert(CACHE_WB + 1 == CACHE_TYPES, "cache_index has one row per type");

struct page_table_format {
    const char *name;
    uint64_t present;                    /* any of these bits: the entry is present */
    uint64_t leaf;                       /* tells a leaf above 4 KiB from a link: any of it is set ... */
    bool leaf_clear;                     /* ... or, where this is true, none */
    uint64_t read, write, execute, user; /* the rights; 0 where the format has none */
    uint64_t link;                       /* what our links carry: a link allows everything, the leaf decides */
    uint64_t link_level;                 /* and this times the levels below it */
    uint64_t link_mask;                  /* the rights and `leaf`: with `link`, what tells our links from all else */
    uint64_t pinned, nested;             /* our two bits in links */
    uint64_t inverted;                   /* those rights whose bit forbids */
    uint64_t forced;                     /* set in every leaf */
    uint64_t global;                     /* leaves only */
    uint64_t ignore_guest;               /* EPT's "ignore PAT" */
    uint64_t accessed;                   /* leaves and links */
    uint64_t dirty;                      /* leaves */
    uint64_t root_pointer;               /* set in CR3, nCR3 or EPTP */
    uint64_t root_accessed;              /* and this where caps.accessed_dirty */
    uint64_t address_half;    /* added to an address, the format's addresses begin at 0: half the width if canonical */
    uint64_t address_outside; /* and then have none of these bits */
    uint8_t levels;
    uint8_t address_bits;
    bool sign_extended;               /* addresses are canonical: the upper half is at the top of 64 bits */
    bool touch_always;                /* accessed and dirty need no capability */
    bool execute_only;                /* can be had with caps.execute_only */
    bool no_execute_needs_cap;        /* leaves without execute need caps.no_execute */
    uint8_t cache_high_shift[2];      /* the third cache bit is 4 << this, at 4 KiB and above */
    uint8_t cache_index[CACHE_TYPES]; /* by enum cache_type; the lower two bits stand at 4:3 */
    enum cache_type cache_of[8];      /* the way back */
};

static inline uint32_t level_index(uint64_t address, uint32_t level)
{
    return (uint32_t)(address >> level_shift(level)) & (ENTRIES_PER_TABLE - 1);
}

/* The address bits of a leaf: above 4 KiB the ones below the page's size mean something else (PAT). */
static inline uint64_t level_address_mask(uint32_t level)
{
    return ADDRESS_MASK & ~(level_bytes(level) - 1);
}

static inline bool entry_present(const struct page_table_format *format, uint64_t entry)
{
    return (entry & format->present) != 0;
}

static inline bool entry_is_link(const struct page_table_format *format, uint64_t entry, uint32_t level)
{
    return level != 0 && entry_present(format, entry) && ((entry & format->leaf) == 0) != format->leaf_clear;
}

static inline bool entry_is_leaf(const struct page_table_format *format, uint64_t entry, uint32_t level)
{
    return entry_present(format, entry) && (level == 0 || ((entry & format->leaf) != 0) != format->leaf_clear);
}

/* A link of ours to the table at `at`, whose own entries are of `level`. */
static inline uint64_t format_link(const struct page_table_format *format, uint64_t at, uint32_t level)
{
    return at | format->link | format->link_level * (level + 1);
}

/* What the hardware changes by itself. */
static inline uint64_t format_touched(const struct page_table_format *format)
{
    return format->accessed | format->dirty;
}

static inline bool format_has_address(const struct page_table_format *format, uint64_t address)
{
    return ((address + format->address_half) & format->address_outside) == 0;
}

/* The entries of the root that addresses without a sign extension use. */
static inline uint64_t format_root_entries(const struct page_table_format *format)
{
    return format->sign_extended ? ENTRIES_PER_TABLE / 2 : ENTRIES_PER_TABLE;
}

static inline bool format_has_touched(const struct page_table_format *format, const struct page_table_caps *caps)
{
    return format->touch_always || caps->accessed_dirty;
}

/* The flags of a leaf that allows what the attributes say; `large`: above 4 KiB. */
uint64_t format_encode(const struct page_table_format *format, const struct page_attributes *attributes, bool large);

/* Flags of a leaf of one kind (4 KiB, or above) as a leaf of the other kind carries them. */
uint64_t format_resize(const struct page_table_format *format, uint64_t flags, bool from_large, bool to_large);

/* STATUS_UNSUPPORTED where the format or the CPU cannot say this, STATUS_INVALID where it means nothing. */
enum status format_check(const struct page_table_format *format, const struct page_table_caps *caps,
                         const struct page_attributes *attributes);

/* `rights`: the AND along the walk of (entry XOR inverted); `leaf`: the entry itself. */
static inline struct page_attributes format_decode(const struct page_table_format *format, uint64_t rights,
                                                   uint64_t leaf, bool large)
{
    uint32_t high = format->cache_high_shift[large];

    return (struct page_attributes){
        .read = (rights & format->read) != 0,
        .write = (rights & format->write) != 0,
        .execute = (rights & format->execute) != 0,
        .user = (rights & format->user) != 0,
        .global = (leaf & format->global) != 0,
        .ignore_guest = (leaf & format->ignore_guest) != 0,
        .cache = format->cache_of[((leaf >> 3) & 3u) | ((leaf >> high) & 4u)],
    };
}

#endif
