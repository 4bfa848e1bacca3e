/* SPDX-License-Identifier: MIT */
/*
 * Guest-virtual to guest-physical through the guest's own tables, as its MMU would do it: no paging, 32-bit (with PSE),
 * PAE, 4-level, 5-level; U/S, R/W, NX, WP, SMEP, SMAP, reserved bits.
 * SDM 3A 4 "Paging"; APM 2 5 "Page Translation and Protection".
 */
#ifndef HV_MM_GUEST_WALK_H
#define HV_MM_GUEST_WALK_H

#include "hv/mm/guest_memory.h"
#include "hv/mm/paging_registers.h"

/* Bits of a page-fault error code. SDM 3A 4.7 "Page-Fault Exceptions". */
#define PAGE_FAULT_PRESENT 0x01u
#define PAGE_FAULT_WRITE 0x02u
#define PAGE_FAULT_USER 0x04u
#define PAGE_FAULT_RESERVED 0x08u
#define PAGE_FAULT_FETCH 0x10u

enum guest_access {
    GUEST_READ,
    GUEST_WRITE,
    GUEST_FETCH,
};

/* What of the guest's state decides a translation. */
struct guest_paging {
    uint64_t cr0;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t efer;
    uint64_t rflags; /* AC, for SMAP */
    uint8_t cpl;
    bool implicit_supervisor;     /* a descriptor-table access: supervisor whatever the CPL is, and AC does not help */
    uint8_t physical_bits;        /* MAXPHYADDR as the guest's CPUID says it: 32 to 52 */
    bool nx_supported, gib_pages; /* as the guest's CPUID says */
    bool upper_bit8_reserved;     /* as AMD has it: bit 8 of PML5, PML4 and table-pointing PDPT entries must be 0 */
    bool pointer_accessed;        /* the MMU takes bit 5 of a PAE page-directory pointer for an accessed bit, wrongly */
};

enum guest_walk_result {
    GUEST_WALK_OK,
    GUEST_WALK_FAULT,    /* #PF with error_code; cr2 is the address asked for */
    GUEST_WALK_UNMAPPED, /* a table entry lies outside guest RAM: the machine would read all ones from the bus */
};

struct guest_translation {
    gpa_t address;
    uint64_t page_bytes; /* of the guest's leaf; 4 KiB without paging */
    bool writable;
    bool user;
    uint32_t error_code; /* GUEST_WALK_FAULT only */
    gpa_t bad_table;     /* GUEST_WALK_UNMAPPED only */
};

/* The address is taken as canonical: the caller checks that for its kind of access (#GP or #SS). Sets A and D bits as
 * an MMU does. */
enum guest_walk_result guest_walk(const struct guest_memory *memory, const struct guest_paging *paging,
                                  uint64_t address, enum guest_access access, struct guest_translation *result);

/* What the entries from the top down to a level allow together: R/W and U/S where they stand in an entry, and bit 63
 * where code may be fetched. */
#define GUEST_WAY_WRITE 0x2ULL
#define GUEST_WAY_USER 0x4ULL
#define GUEST_WAY_FETCH (1ULL << 63)
#define GUEST_WAY_ALL (GUEST_WAY_WRITE | GUEST_WAY_USER | GUEST_WAY_FETCH)

/* The way of a walk that ended well, by level: 0 is the table of 4 KiB pages. Filled from leaf_level to levels - 1. */
struct guest_way {
    uint8_t levels; /* 0: no paging */
    uint8_t leaf_level;
    uint8_t entry_bytes; /* 4, 8 */
    bool dirty;          /* the leaf */
    void *slots[5];      /* where the entries lie in host memory */
    uint64_t entries[5]; /* with the bits that the walk has set */
    uint64_t rights[6];  /* down to and with this level; all at `levels` */
};

/* guest_walk() that tells its way, for shadow tables. */
enum guest_walk_result guest_walk_way(const struct guest_memory *memory, const struct guest_paging *paging,
                                      uint64_t address, enum guest_access access, struct guest_translation *result,
                                      struct guest_way *way);

/*
 * The same for an address of the same last table: `way` is of a walk of 64-bit paging that ended well at a page of
 * 4 KiB, and the control registers are as they were. Where the entries above it are as they were, too, they are not
 * decoded again, and *outcome and all else is what guest_walk_way() would make it; but after a fault the upper part of
 * the way is as it was, to be used again. False: one of them has changed, and nothing was done.
 */
bool guest_walk_again(const struct guest_paging *paging, uint64_t address, enum guest_access access,
                      struct guest_translation *result, struct guest_way *way, enum guest_walk_result *outcome);

/* Are all entries of a way as they were told? Then the same walk would end well again, at the same place. */
static inline bool guest_way_holds(const struct guest_way *way)
{
    for (unsigned level = way->leaf_level; level < way->levels; level++) {
        uint64_t now = way->entry_bytes == 8 ? __atomic_load_n((const uint64_t *)way->slots[level], __ATOMIC_RELAXED)
                                             : __atomic_load_n((const uint32_t *)way->slots[level], __ATOMIC_RELAXED);

        if (now != way->entries[level]) {
            return false;
        }
    }
    return true;
}

/*
 * Where in host memory the byte at a linear address lies that the CPU has just fetched code from in 64-bit mode, with
 * 4-level or 5-level paging as CR4.LA57 says; what follows it in its page follows there. Neither rights nor reserved
 * bits are looked at, for the CPU has, and nothing is marked. NULL: the tables have changed since, or lead out of the
 * lowest range of RAM.
 */
const uint8_t *guest_walk_code(const struct guest_memory *memory, uint64_t cr3, uint64_t cr4, uint64_t linear);

/*
 * The way of guest_walk_code() to one leaf, for the next address there: each entry is read again, and only where all of
 * them are as they were is nothing else looked at. Zeroed: of no address. The memory's lowest range must stay what it
 * is, or the way be zeroed.
 */
#define GUEST_CODE_ENTRIES 4u
struct guest_code_way {
    uint64_t linear, bytes; /* addresses whose bytes lie together: the leaf, where all of it is in the range */
    uint64_t cr3, cr4;      /* of CR4: LA57 */
    const uint64_t *slots[GUEST_CODE_ENTRIES + 1]; /* from the top down; the last one again where there are fewer */
    uint64_t entries[GUEST_CODE_ENTRIES + 1];
    const uint8_t *code; /* of `linear` */
    /* The same as `bytes`, which then is 0, of a leaf of 4 KiB under 5 levels, so that the others look at no entry more
     * than they have. */
    uint64_t deep_bytes;
};

/* guest_walk_code() that fills `way`; by it where it holds and has five entries. */
const uint8_t *guest_walk_code_way(const struct guest_memory *memory, uint64_t cr3, uint64_t cr4, uint64_t linear,
                                   struct guest_code_way *way);

/* The first four entries are read again, whatever the address. */
static inline bool guest_code_way_holds(const struct guest_code_way *way, uint64_t cr3, uint64_t cr4)
{
    return cr3 == way->cr3 && ((cr4 ^ way->cr4) & CR4_LA57) == 0 &&
           __atomic_load_n(way->slots[0], __ATOMIC_RELAXED) == way->entries[0] &&
           __atomic_load_n(way->slots[1], __ATOMIC_RELAXED) == way->entries[1] &&
           __atomic_load_n(way->slots[2], __ATOMIC_RELAXED) == way->entries[2] &&
           __atomic_load_n(way->slots[3], __ATOMIC_RELAXED) == way->entries[3];
}

/* guest_walk_code() by the way of the last time. NULL: that does not hold, is another's, or has five entries. */
static inline const uint8_t *guest_code_by_way(const struct guest_code_way *way, uint64_t cr3, uint64_t cr4,
                                               uint64_t linear)
{
    uint64_t offset = linear - way->linear;

    return offset < way->bytes && guest_code_way_holds(way, cr3, cr4) ? way->code + offset : NULL;
}

/* The same of a way that has five entries. */
static inline const uint8_t *guest_code_by_deep_way(const struct guest_code_way *way, uint64_t cr3, uint64_t cr4,
                                                    uint64_t linear)
{
    uint64_t offset = linear - way->linear;
    bool same = offset < way->deep_bytes && guest_code_way_holds(way, cr3, cr4) &&
                __atomic_load_n(way->slots[GUEST_CODE_ENTRIES], __ATOMIC_RELAXED) == way->entries[GUEST_CODE_ENTRIES];

    return same ? way->code + offset : NULL;
}

/* guest_walk_code(), by the way where it holds. */
static inline const uint8_t *guest_walk_code_again(const struct guest_memory *memory, uint64_t cr3, uint64_t cr4,
                                                   uint64_t linear, struct guest_code_way *way)
{
    const uint8_t *code = guest_code_by_way(way, cr3, cr4, linear);

    return code != NULL ? code : guest_walk_code_way(memory, cr3, cr4, linear, way);
}

#endif
