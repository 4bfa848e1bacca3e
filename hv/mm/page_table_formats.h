/* SPDX-License-Identifier: MIT */
/*
 * The formats: what page_table_format.h declares, spelled out. A row here is all that a format is: no other file
 * knows where a bit stands, except that bits 51:12 are the address and that links have two bits of ours.
 *
 * The rows are macros so that page_table_find.h can have them as constants where the format is known when the code is
 * compiled; page_table_formats.c makes the objects that everything else uses.
 */
#ifndef HV_MM_PAGE_TABLE_FORMATS_H
#define HV_MM_PAGE_TABLE_FORMATS_H

#include "hv/mm/page_table_format.h"

/* Host x86-64 and nPT. SDM 3A 4.5 "4-Level Paging and 5-Level Paging", tables 4-15 to 4-20; APM 2 5.3 "Long-Mode Page
 * Translation" and 15.25.5 "Nested Table Walk": nPT has the host's format, and every guest access counts as a
 * user's. */
#define X86_PRESENT (1ULL << 0)
#define X86_WRITE (1ULL << 1)
#define X86_USER (1ULL << 2)
#define X86_ACCESSED (1ULL << 5)
#define X86_DIRTY (1ULL << 6)
#define X86_LARGE (1ULL << 7)
#define X86_GLOBAL (1ULL << 8)
#define X86_NO_EXECUTE (1ULL << 63)
#define X86_PAT_4K (1ULL << 7)
#define X86_PAT_LARGE (1ULL << 12)

/* EPT. SDM 3C 29.3.2 "EPT Translation Mechanism", tables 29-1 to 29-6; 29.3.7 "EPT and Memory Typing". */
#define EPT_READ (1ULL << 0)
#define EPT_WRITE (1ULL << 1)
#define EPT_EXECUTE (1ULL << 2)
#define EPT_IGNORE_PAT (1ULL << 6)
#define EPT_LARGE (1ULL << 7)
#define EPT_ACCESSED (1ULL << 8)
#define EPT_DIRTY (1ULL << 9)
#define EPT_USER_EXECUTE (1ULL << 10)
#define EPT_TYPE_HIGH (1ULL << 5) /* of the memory type in bits 5:3 */

/* EPTP. SDM 3C 25.6.11 "Extended-Page-Table Pointer (EPTP)", table 25-9. */
#define EPTP_WRITE_BACK 6ULL
#define EPTP_WALK_LENGTH_MINUS_1(levels) ((uint64_t)((levels)-1) << 3)
#define EPTP_ACCESSED_DIRTY (1ULL << 6)

/* The PAT index per type and the type per index; the layout is PAGE_TABLE_HOST_PAT's. Index 2 is UC-, which is UC
 * unless an MTRR says WC, and we never use it; 6 and 7 repeat 2 and 3. */
#define X86_INDEX_UC 3
#define X86_INDEX_WC 5
#define X86_INDEX_WT 1
#define X86_INDEX_WP 4
#define X86_INDEX_WB 0
#define X86_CACHE_INDEX                                                                                             \
    {                                                                                                               \
        [CACHE_UC] = X86_INDEX_UC, [CACHE_WC] = X86_INDEX_WC, [CACHE_WT] = X86_INDEX_WT, [CACHE_WP] = X86_INDEX_WP, \
        [CACHE_WB] = X86_INDEX_WB,                                                                                  \
    }
#define X86_CACHE_OF                                                                    \
    {                                                                                   \
        CACHE_WB, CACHE_WT, CACHE_UC, CACHE_UC, CACHE_WP, CACHE_WC, CACHE_UC, CACHE_UC, \
    }

/* The types of MTRRs and EPT. SDM 3A 12.11 "Memory Type Range Registers (MTRRs)", table 12-8. 2, 3 and 7 are
 * reserved. */
#define EPT_INDEX_UC 0
#define EPT_INDEX_WC 1
#define EPT_INDEX_WT 4
#define EPT_INDEX_WP 5
#define EPT_INDEX_WB 6
#define EPT_CACHE_INDEX                                                                                             \
    {                                                                                                               \
        [CACHE_UC] = EPT_INDEX_UC, [CACHE_WC] = EPT_INDEX_WC, [CACHE_WT] = EPT_INDEX_WT, [CACHE_WP] = EPT_INDEX_WP, \
        [CACHE_WB] = EPT_INDEX_WB,                                                                                  \
    }
#define EPT_CACHE_OF                                                                    \
    {                                                                                   \
        CACHE_UC, CACHE_WC, CACHE_UC, CACHE_UC, CACHE_WT, CACHE_WP, CACHE_WB, CACHE_UC, \
    }

/* The PAT's bytes have the same encodings as MTRRs and EPT. */
#define HOST_PAT_TYPE(index) ((PAGE_TABLE_HOST_PAT >> (8 * (index))) & 7u)
_Static_assert(HOST_PAT_TYPE(X86_INDEX_UC) == EPT_INDEX_UC, "the PAT's index for UC means UC");
_Static_assert(HOST_PAT_TYPE(X86_INDEX_WC) == EPT_INDEX_WC, "the PAT's index for WC means WC");
_Static_assert(HOST_PAT_TYPE(X86_INDEX_WT) == EPT_INDEX_WT, "the PAT's index for WT means WT");
_Static_assert(HOST_PAT_TYPE(X86_INDEX_WP) == EPT_INDEX_WP, "the PAT's index for WP means WP");
_Static_assert(HOST_PAT_TYPE(X86_INDEX_WB) == EPT_INDEX_WB, "the PAT's index for WB means WB");
_Static_assert(EPTP_WRITE_BACK == EPT_INDEX_WB, "the walk of EPT reads its tables through the caches");

#define X86_RIGHTS (X86_PRESENT | X86_WRITE | X86_USER)
#define X86_LINK_MASK (X86_RIGHTS | X86_NO_EXECUTE | X86_LARGE)
#define X86_CACHE_HIGH_4K 5
#define X86_CACHE_HIGH_LARGE 10
#define X86_BITS                                                                                                      \
    .present = X86_PRESENT, .leaf = X86_LARGE, .read = X86_PRESENT, .write = X86_WRITE, .execute = X86_NO_EXECUTE,    \
    .user = X86_USER, .inverted = X86_NO_EXECUTE, .link = X86_RIGHTS, .link_mask = X86_LINK_MASK,                     \
    .pinned = LINK_PINNED, .nested = LINK_NESTED, .accessed = X86_ACCESSED, .dirty = X86_DIRTY, .touch_always = true, \
    .no_execute_needs_cap = true, .cache_high_shift = {X86_CACHE_HIGH_4K, X86_CACHE_HIGH_LARGE},                      \
    .cache_index = X86_CACHE_INDEX, .cache_of = X86_CACHE_OF
_Static_assert(4u << X86_CACHE_HIGH_4K == X86_PAT_4K, "the third cache bit of a 4 KiB page is PAT, bit 7");
_Static_assert(4u << X86_CACHE_HIGH_LARGE == X86_PAT_LARGE, "and of a larger one bit 12");
_Static_assert((X86_PAT_LARGE & (2 * MIB - 1)) == X86_PAT_LARGE, "which no address of a large page has");
_Static_assert((X86_RIGHTS & ~X86_LINK_MASK) == 0, "page_table_find.h: `link` has no bit outside `link_mask`");
_Static_assert((X86_LINK_MASK & (X86_ACCESSED | X86_DIRTY | LINK_PINNED | LINK_NESTED | ADDRESS_MASK)) == 0,
               "what changes in a link of ours is not what tells it from all else");
_Static_assert(((LINK_PINNED | LINK_NESTED) & X86_NO_EXECUTE) == 0, "bits 62:52 are the software's");

#define EPT_RIGHTS (EPT_READ | EPT_WRITE | EPT_EXECUTE | EPT_USER_EXECUTE)
#define EPT_LINK_MASK (EPT_RIGHTS | EPT_LARGE)
#define EPT_CACHE_HIGH 3
#define EPT_BITS                                                                                            \
    .present = EPT_READ | EPT_WRITE | EPT_EXECUTE, .leaf = EPT_LARGE, .read = EPT_READ, .write = EPT_WRITE, \
    .execute = EPT_EXECUTE, .user = EPT_USER_EXECUTE, .link = EPT_RIGHTS, .link_mask = EPT_LINK_MASK,       \
    .pinned = LINK_PINNED, .nested = LINK_NESTED, .ignore_guest = EPT_IGNORE_PAT, .accessed = EPT_ACCESSED, \
    .dirty = EPT_DIRTY, .execute_only = true, .root_accessed = EPTP_ACCESSED_DIRTY,                         \
    .cache_high_shift = {EPT_CACHE_HIGH, EPT_CACHE_HIGH}, .cache_index = EPT_CACHE_INDEX, .cache_of = EPT_CACHE_OF
_Static_assert(4u << EPT_CACHE_HIGH == EPT_TYPE_HIGH, "the memory type of EPT is bits 5:3 at every level");
_Static_assert((EPT_RIGHTS & ~EPT_LINK_MASK) == 0, "page_table_find.h: `link` has no bit outside `link_mask`");
_Static_assert((EPT_LINK_MASK & (EPT_ACCESSED | EPT_DIRTY | LINK_PINNED | LINK_NESTED | ADDRESS_MASK)) == 0,
               "what changes in a link of ours is not what tells it from all else");
_Static_assert((EPT_LINK_MASK & (7u << 3 | EPT_IGNORE_PAT)) == 0, "a link has no memory type");
#define EPTP_LENGTH_BITS EPTP_WALK_LENGTH_MINUS_1(PAGE_LEVELS_MAX)
_Static_assert((EPTP_LENGTH_BITS & (EPTP_WRITE_BACK | EPTP_ACCESSED_DIRTY)) == 0,
               "the fields of an EPTP do not overlap");
_Static_assert(((EPTP_WRITE_BACK | EPTP_LENGTH_BITS | EPTP_ACCESSED_DIRTY) & ADDRESS_MASK) == 0,
               "nor does its address");

/* VT-d, second stage. VT-d 9.8 "Second-Stage Paging Entries": what a device may do; in legacy mode nothing else is
 * looked at. There is no memory type: the device's own attributes say whether caches are snooped, or SNP, where the
 * unit has it, forces it. */
#define VTD_READ (1ULL << 0)
#define VTD_WRITE (1ULL << 1)
#define VTD_LARGE (1ULL << 7)
#define VTD_SNOOP (1ULL << 11)
#define VTD_RIGHTS (VTD_READ | VTD_WRITE)
#define NO_CACHE_HIGH 3
#define NO_CACHE_INDEX \
    {                  \
        0              \
    }
#define NO_CACHE_OF                                                                     \
    {                                                                                   \
        CACHE_WB, CACHE_WB, CACHE_WB, CACHE_WB, CACHE_WB, CACHE_WB, CACHE_WB, CACHE_WB, \
    }
#define VTD_BITS                                                                                        \
    .present = VTD_RIGHTS, .leaf = VTD_LARGE, .read = VTD_READ, .write = VTD_WRITE, .link = VTD_RIGHTS, \
    .link_mask = VTD_RIGHTS | VTD_LARGE, .pinned = LINK_PINNED, .nested = LINK_NESTED,                  \
    .cache_high_shift = {NO_CACHE_HIGH, NO_CACHE_HIGH}, .cache_index = NO_CACHE_INDEX, .cache_of = NO_CACHE_OF
_Static_assert(((LINK_PINNED | LINK_NESTED) & (VTD_RIGHTS | VTD_LARGE)) == 0, "our bits are none of VT-d's");

/* AMD-Vi 2.2.3 "I/O Page Tables for Host Translations": a link says how many levels are below it, a leaf of any size
 * says 0 where the size is its level's. */
#define AMDVI_PRESENT (1ULL << 0)
#define AMDVI_NEXT_LEVEL(level) ((uint64_t)(level) << 9)
#define AMDVI_NEXT_LEVEL_MASK AMDVI_NEXT_LEVEL(7)
#define AMDVI_COHERENT (1ULL << 60) /* FC: caches are snooped, whatever the device asks for */
#define AMDVI_READ (1ULL << 61)
#define AMDVI_WRITE (1ULL << 62)
#define AMDVI_LINK_PINNED (1ULL << 1)
#define AMDVI_LINK_NESTED (1ULL << 2)
#define AMDVI_LINK (AMDVI_PRESENT | AMDVI_READ | AMDVI_WRITE)
#define AMDVI_BITS                                                                                                   \
    .present = AMDVI_PRESENT, .leaf = AMDVI_NEXT_LEVEL_MASK, .leaf_clear = true, .read = AMDVI_READ,                 \
    .write = AMDVI_WRITE, .forced = AMDVI_PRESENT | AMDVI_COHERENT, .link = AMDVI_LINK,                              \
    .link_level = AMDVI_NEXT_LEVEL(1), .link_mask = AMDVI_LINK | AMDVI_NEXT_LEVEL_MASK, .pinned = AMDVI_LINK_PINNED, \
    .nested = AMDVI_LINK_NESTED, .cache_high_shift = {NO_CACHE_HIGH, NO_CACHE_HIGH}, .cache_index = NO_CACHE_INDEX,  \
    .cache_of = NO_CACHE_OF
_Static_assert((AMDVI_LINK & (ADDRESS_MASK | AMDVI_NEXT_LEVEL_MASK | AMDVI_LINK_PINNED | AMDVI_LINK_NESTED)) == 0,
               "the fields of a link do not overlap");

#define X86_CANONICAL(bits) .sign_extended = true, .address_half = 1ULL << ((bits)-1), ADDRESS_BITS(bits)
#define ADDRESS_BITS(bits) .address_bits = (bits), .address_outside = ~0ULL << (bits)
#define LEVELS_BITS(levels) (PAGE_SHIFT + (levels)*ENTRIES_SHIFT)
_Static_assert(LEVELS_BITS(4) == 48, "4-level paging translates 48 bits. SDM 3A 4.5");
_Static_assert(LEVELS_BITS(PAGE_LEVELS_MAX) == 57, "5-level paging translates 57 bits. SDM 3A 4.5");

#define PAGE_TABLE_HOST4                                                                            \
    {                                                                                               \
        X86_BITS, .name = "host4", .global = X86_GLOBAL, .levels = 4, X86_CANONICAL(LEVELS_BITS(4)) \
    }
#define PAGE_TABLE_HOST5                                                                            \
    {                                                                                               \
        X86_BITS, .name = "host5", .global = X86_GLOBAL, .levels = 5, X86_CANONICAL(LEVELS_BITS(5)) \
    }
#define PAGE_TABLE_NPT4                                                                         \
    {                                                                                           \
        X86_BITS, .name = "npt4", .forced = X86_USER, .levels = 4, ADDRESS_BITS(LEVELS_BITS(4)) \
    }
#define PAGE_TABLE_NPT5                                                                         \
    {                                                                                           \
        X86_BITS, .name = "npt5", .forced = X86_USER, .levels = 5, ADDRESS_BITS(LEVELS_BITS(5)) \
    }
#define PAGE_TABLE_EPT4                                                         \
    {                                                                           \
        EPT_BITS, .name = "ept4", .levels = 4, ADDRESS_BITS(LEVELS_BITS(4)),    \
                  .root_pointer = EPTP_WRITE_BACK | EPTP_WALK_LENGTH_MINUS_1(4) \
    }
#define PAGE_TABLE_EPT5                                                         \
    {                                                                           \
        EPT_BITS, .name = "ept5", .levels = 5, ADDRESS_BITS(LEVELS_BITS(5)),    \
                  .root_pointer = EPTP_WRITE_BACK | EPTP_WALK_LENGTH_MINUS_1(5) \
    }
#define PAGE_TABLE_VTD3                                                     \
    {                                                                       \
        VTD_BITS, .name = "vtd3", .levels = 3, ADDRESS_BITS(LEVELS_BITS(3)) \
    }
#define PAGE_TABLE_VTD4                                                     \
    {                                                                       \
        VTD_BITS, .name = "vtd4", .levels = 4, ADDRESS_BITS(LEVELS_BITS(4)) \
    }
#define PAGE_TABLE_VTD5                                                     \
    {                                                                       \
        VTD_BITS, .name = "vtd5", .levels = 5, ADDRESS_BITS(LEVELS_BITS(5)) \
    }
#define PAGE_TABLE_VTD3_SNOOP                                                                          \
    {                                                                                                  \
        VTD_BITS, .name = "vtd3-snoop", .forced = VTD_SNOOP, .levels = 3, ADDRESS_BITS(LEVELS_BITS(3)) \
    }
#define PAGE_TABLE_VTD4_SNOOP                                                                          \
    {                                                                                                  \
        VTD_BITS, .name = "vtd4-snoop", .forced = VTD_SNOOP, .levels = 4, ADDRESS_BITS(LEVELS_BITS(4)) \
    }
#define PAGE_TABLE_VTD5_SNOOP                                                                          \
    {                                                                                                  \
        VTD_BITS, .name = "vtd5-snoop", .forced = VTD_SNOOP, .levels = 5, ADDRESS_BITS(LEVELS_BITS(5)) \
    }
#define PAGE_TABLE_AMDVI4                                                       \
    {                                                                           \
        AMDVI_BITS, .name = "amdvi4", .levels = 4, ADDRESS_BITS(LEVELS_BITS(4)) \
    }

#endif
