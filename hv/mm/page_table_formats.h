/*
 * The six formats: what page_table_format.h declares, spelled out. A row here is all that a format is: no other file
 * knows where a bit stands, except that bits 51:12 are the address and that links have two bits of ours.
 *
 * The rows are macros so that page_table_find.h can have them as constants where the format is known when the code is
 * compiled; page_table_formats.c makes the six objects that everything else uses.
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

/* EPT. SDM 3C 29.3.2 "EPT Translation Mechanism", tables 29-1 to 29-6; 29.3.7 "EPT and Memory Typing". */
#define EPT_READ (1ULL << 0)
#define EPT_WRITE (1ULL << 1)
#define EPT_EXECUTE (1ULL << 2)
#define EPT_IGNORE_PAT (1ULL << 6)
#define EPT_LARGE (1ULL << 7)
#define EPT_ACCESSED (1ULL << 8)
#define EPT_DIRTY (1ULL << 9)
#define EPT_USER_EXECUTE (1ULL << 10)

/* EPTP. SDM 3C 25.6.11 "Extended-Page-Table Pointer (EPTP)", table 25-9. */
#define EPTP_WRITE_BACK 6ULL
#define EPTP_WALK_LENGTH_MINUS_1(levels) ((uint64_t)((levels)-1) << 3)
#define EPTP_ACCESSED_DIRTY (1ULL << 6)

/* The PAT index per type and the type per index; the layout is PAGE_TABLE_HOST_PAT's. Index 2 is UC-, which is UC
 * unless an MTRR says WC, and we never use it; 6 and 7 repeat 2 and 3. */
#define X86_CACHE_INDEX                                                                 \
    {                                                                                   \
        [CACHE_UC] = 3, [CACHE_WC] = 5, [CACHE_WT] = 1, [CACHE_WP] = 4, [CACHE_WB] = 0, \
    }
#define X86_CACHE_OF                                                                    \
    {                                                                                   \
        CACHE_WB, CACHE_WT, CACHE_UC, CACHE_UC, CACHE_WP, CACHE_WC, CACHE_UC, CACHE_UC, \
    }

/* The types of MTRRs and EPT. SDM 3A 12.11 "Memory Type Range Registers (MTRRs)", table 12-8. 2, 3 and 7 are
 * reserved. */
#define EPT_CACHE_INDEX                                                                 \
    {                                                                                   \
        [CACHE_UC] = 0, [CACHE_WC] = 1, [CACHE_WT] = 4, [CACHE_WP] = 5, [CACHE_WB] = 6, \
    }
#define EPT_CACHE_OF                                                                    \
    {                                                                                   \
        CACHE_UC, CACHE_WC, CACHE_UC, CACHE_UC, CACHE_WT, CACHE_WP, CACHE_WB, CACHE_UC, \
    }

#define X86_RIGHTS (X86_PRESENT | X86_WRITE | X86_USER)
#define X86_BITS                                                                                                     \
    .present = X86_PRESENT, .leaf = X86_LARGE, .read = X86_PRESENT, .write = X86_WRITE, .execute = X86_NO_EXECUTE,   \
    .user = X86_USER, .inverted = X86_NO_EXECUTE, .link = X86_RIGHTS,                                                \
    .link_mask = X86_RIGHTS | X86_NO_EXECUTE | X86_LARGE, .accessed = X86_ACCESSED, .dirty = X86_DIRTY,              \
    .touch_always = true, .no_execute_needs_cap = true, .cache_high_shift = {5, 10}, .cache_index = X86_CACHE_INDEX, \
    .cache_of = X86_CACHE_OF
_Static_assert((4u << 5) == (1u << 7) && (4u << 10) == (1u << 12), "the PAT bit is 7 at 4 KiB and 12 above");

#define EPT_RIGHTS (EPT_READ | EPT_WRITE | EPT_EXECUTE | EPT_USER_EXECUTE)
#define EPT_BITS                                                                                               \
    .present = EPT_READ | EPT_WRITE | EPT_EXECUTE, .leaf = EPT_LARGE, .read = EPT_READ, .write = EPT_WRITE,    \
    .execute = EPT_EXECUTE, .user = EPT_USER_EXECUTE, .link = EPT_RIGHTS, .link_mask = EPT_RIGHTS | EPT_LARGE, \
    .ignore_guest = EPT_IGNORE_PAT, .accessed = EPT_ACCESSED, .dirty = EPT_DIRTY, .execute_only = true,        \
    .root_accessed = EPTP_ACCESSED_DIRTY, .cache_high_shift = {3, 3}, .cache_index = EPT_CACHE_INDEX,          \
    .cache_of = EPT_CACHE_OF
_Static_assert((4u << 3) == (1u << 5), "the memory type of EPT is bits 5:3");

#define X86_CANONICAL(bits) .sign_extended = true, .address_half = 1ULL << ((bits)-1), ADDRESS_BITS(bits)
#define ADDRESS_BITS(bits) .address_bits = (bits), .address_outside = ~0ULL << (bits)

#define PAGE_TABLE_HOST4                                                                \
    {                                                                                   \
        X86_BITS, .name = "host4", .global = X86_GLOBAL, .levels = 4, X86_CANONICAL(48) \
    }
#define PAGE_TABLE_HOST5                                                                \
    {                                                                                   \
        X86_BITS, .name = "host5", .global = X86_GLOBAL, .levels = 5, X86_CANONICAL(57) \
    }
#define PAGE_TABLE_NPT4                                                             \
    {                                                                               \
        X86_BITS, .name = "npt4", .forced = X86_USER, .levels = 4, ADDRESS_BITS(48) \
    }
#define PAGE_TABLE_NPT5                                                             \
    {                                                                               \
        X86_BITS, .name = "npt5", .forced = X86_USER, .levels = 5, ADDRESS_BITS(57) \
    }
#define PAGE_TABLE_EPT4                                                         \
    {                                                                           \
        EPT_BITS, .name = "ept4", .levels = 4, ADDRESS_BITS(48),                \
                  .root_pointer = EPTP_WRITE_BACK | EPTP_WALK_LENGTH_MINUS_1(4) \
    }
#define PAGE_TABLE_EPT5                                                         \
    {                                                                           \
        EPT_BITS, .name = "ept5", .levels = 5, ADDRESS_BITS(57),                \
                  .root_pointer = EPTP_WRITE_BACK | EPTP_WALK_LENGTH_MINUS_1(5) \
    }
_Static_assert(PAGE_SHIFT + 4 * ENTRIES_SHIFT == 48 && PAGE_SHIFT + 5 * ENTRIES_SHIFT == 57, "levels and widths agree");

#endif
