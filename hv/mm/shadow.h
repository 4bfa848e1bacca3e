/* SPDX-License-Identifier: MIT */
/*
 * Shadow paging: the tables that a CPU without nested paging walks instead of the guest's own. They hold the guest's
 * translations with host-physical addresses, and are filled on demand.
 *
 * The promise is a TLB's. Every vCPU has shadow tables of its own, which no other CPU reads, and they show it nothing
 * that its own TLB could not have held: an entry is there only where a walk of the guest's tables has ended well since
 * the last flush that concerns it, or where the guest's entries were found unchanged since that flush. A write of CR3
 * does not concern global pages. So the guest's
 * tables need no write protection and its other vCPUs no lock: it is the guest that flushes, on each vCPU for itself,
 * because it has to on a CPU. Decision 12 has the obligations and why it was chosen.
 *
 *   the CPU faults, or INVLPG or a write of a control register exits
 *      shadow_fault()       walks the guest's tables: filled, or the guest's own fault, or a device's address
 *      shadow_flush()       a new epoch: nothing is trusted any more, but unchanged tables are linked again
 *      shadow_switch()      the same for all but global pages: MOV to CR3
 *      shadow_invalidate()  one page
 *   shadow_take_flush()     before the next entry: has the CPU's TLB to be flushed?
 *   shadow_root()           for CR3
 *
 * Which paging mode the CPU needs: as the guest's where that is 64-bit, else PAE (3 levels), also where the guest has
 * paging off; SMEP and SMAP are then off for the CPU. CR0.WP and EFER.NXE are on for the CPU, CR4.PAE where there are 3
 * levels, and PAGE_TABLE_HOST_PAT is loaded: guest RAM is write-back whatever the guest's cache bits say.
 *
 * One deviation is known: with CR0.WP clear and SMAP on, a read-only user page that supervisor code has written to can
 * be touched by supervisor code whatever RFLAGS.AC says, until the next flush.
 *
 * Pure. Not done: protection keys, PCIDs (guests on shadow tables are not offered them).
 * SDM 3A 4 "Paging", 4.10 "Caching Translation Information"; APM 2 5.5 "Translation-Lookaside Buffer (TLB)".
 */
#ifndef HV_MM_SHADOW_H
#define HV_MM_SHADOW_H

#include "hv/mm/guest_walk.h"
#include "hv/mm/page_table_format.h"

/* Enough for any one access, two pages of it and what its delivery touches. A multiple of 8. */
#define SHADOW_TABLES_MIN 32u
#define SHADOW_TABLES_MAX 32768u
#define SHADOW_ANY_ROOT UINT16_MAX
#define SHADOW_ROOT_LOW 0u /* row 0 is the root of 3 levels, at low_root, and not of the pool */
#define SHADOW_NO_WAY UINT64_MAX
#define SHADOW_BITMAP_WORDS (ENTRIES_PER_TABLE / 64u)

/* Address spaces that are remembered: two for each value of a hash. */
#define SHADOW_TREE_SET_BITS 3u
#define SHADOW_TREES (2u << SHADOW_TREE_SET_BITS)
#define SHADOW_TREE_PLACES 17u /* and that of 3 levels, the last one */
_Static_assert(SHADOW_TREE_PLACES == SHADOW_TREES + 1, "one for each tree, and one");
#define SHADOW_TREE_RUNS 104u /* the last one is the end */
#define SHADOW_TREE_SHARES 16u
#define SHADOW_TREE_SINGLES 4u /* runs of one are compared so many at a time */

/* Entries of the guest's in a row that a tree was made of; or one, with its value in place of where it was noted. */
struct shadow_run {
    const uint64_t *guest;
    union {
        uint64_t value;
        struct {
            uint32_t seen; /* index in shadow.seen */
            uint32_t count;
        };
    };
};

/* A table that other trees have, too: it is as it was, and only its place has to be noted again. */
struct shadow_share {
    struct shadow_table *row;
    uint64_t version;
    uint16_t parent;
};

/* What a tree was made of. */
struct shadow_list {
    struct shadow_share shares[SHADOW_TREE_SHARES];
    struct shadow_run runs[SHADOW_TREE_RUNS];
};
_Static_assert(PAGE_BYTES % sizeof(struct shadow_list) == 0, "lists fill pages");

enum shadow_tree_state {
    SHADOW_TREE_CHANGES, /* something was put in since it was made good, or none is remembered here */
    SHADOW_TREE_CALM,    /* nothing was */
    SHADOW_TREE_LISTED,  /* nothing was, and its runs are all that it was made of but global pages */
};

/* What is reached from one root, while another one is in use. */
struct shadow_tree {
    uint64_t cr3;            /* the guest's */
    uint64_t epoch;          /* of its tables that are not global; 0: none is remembered here */
    uint64_t globals;        /* shadow.globals, when its root had all links to global tables */
    uint64_t used;           /* shadow.switches, when it was left or entered last */
    uint64_t shared_changes; /* shadow.shared_changes, when all in its list was as it is there */
    struct shadow_list *list;
    const uint8_t *code; /* what shadow_code() has found at an address, if nothing was removed since; or NULL */
    uint64_t code_linear, code_removals;
    uint32_t root;
    uint8_t state;     /* enum shadow_tree_state */
    uint8_t singles;   /* runs of one, which come first, a multiple of SHADOW_TREE_SINGLES */
    uint8_t first_run; /* the others are from here to the end */
    uint8_t shares;
};
_Static_assert(SHADOW_TREE_RUNS <= UINT8_MAX, "a place in the list fits");

/* One table of the pool. `place` and `source` together say what it translates, and are how it is found again. */
struct shadow_table {
    uint64_t place;  /* the first linear address, and below bit 12 the level, SHADOW_DIRECT and the mode */
    uint64_t source; /* where the guest's entries lie in host memory, or the guest-physical address; and the rights */
    uint64_t used[SHADOW_BITMAP_WORDS]; /* entries that are present */
    uint64_t epoch;                     /* in which all of its entries are good: the present one, or global_epoch */
    uint64_t pinned;                    /* the fill that goes through it */
    uint64_t version;                   /* counts changes of its entries */
    uint16_t parent, index;             /* what links to it, in its epoch; SHADOW_ANY_ROOT: the root in use */
    uint16_t next;                      /* of the same hash */
    uint16_t links;                     /* entries that are links, in its epoch */
    uint16_t present;                   /* entries in `used` */
    uint8_t words;                      /* of `used` that may have any */
    bool mixed;                         /* not all pages below it are global ones, or were not */
    bool forced;                        /* it may have pages with more rights than the guest's: CR0.WP is clear */
    bool referenced;                    /* since the hand came by */
    bool shared;                        /* more trees than one have had it */
    uint8_t tree;                       /* which it was in, in its epoch */
};

struct shadow {
    const struct guest_memory *memory;
    enum page_level largest; /* leaf */
    uint64_t window;         /* table i is at window + tables + i * 4 KiB */
    uint64_t tables;         /* host-physical */
    uint64_t low_root;       /* host-physical: the four entries at the top of 3 levels */
    uint64_t *seen;          /* for each entry of each table, the guest's entry that it was made of */
    struct shadow_table *rows;
    uint16_t *heads; /* of the hash's chains */
    uint32_t count;
    uint32_t hand; /* of the clock that chooses what is recycled */
    uint32_t root;
    uint32_t mode; /* of the guest's paging, as far as it is part of `place` */
    uint8_t levels;
    bool flush;        /* the CPU's TLB may hold what is gone */
    bool global_pages; /* CR4.PGE, in 64-bit mode */
    bool unsettled;    /* the tree in use was used again, and what it shares is not noted as its own yet */
    uint64_t epoch;
    uint64_t global_epoch;   /* of the tables that have nothing but global pages below them */
    uint64_t last_epoch;     /* that was given out */
    uint64_t globals;        /* counts changes of what a root links to of them */
    uint64_t removals;       /* counts what was taken out of any table */
    uint64_t shared_changes; /* counts changes of the tables that several trees have */
    uint64_t switches;
    uint64_t kept;            /* switches to a tree of which nothing had changed */
    struct guest_way way;     /* of the last fault whose walk ended well, */
    uint64_t way_piece;       /* and the piece of the address space that its last table translates; or SHADOW_NO_WAY */
    uint32_t way_table;       /* of ours for that; or 0 */
    struct shadow_tree *tree; /* the one in use */
    struct shadow_tree trees[SHADOW_TREE_PLACES];
    uint64_t fills;    /* pages put in on demand */
    uint64_t recycled; /* tables taken from other uses */
};

/* Bytes for `tables` (at least SHADOW_TABLES_MIN, at most SHADOW_TABLES_MAX): rows, entries seen, tables. */
uint64_t shadow_bytes(uint32_t tables);

/* `start` is page-aligned memory of shadow_bytes(tables), zeroed, reached at window + start. `low_root` are 32 bytes
 * below 4 GiB, aligned to 32: CR3 has 32 bits under PAE paging. */
void shadow_init(struct shadow *shadow, const struct guest_memory *memory, enum page_level largest, uint64_t window,
                 hpa_t start, uint32_t tables, hpa_t low_root);

/* Nothing is known any more: for a restart. shadow_flush() before the next use. */
void shadow_forget(struct shadow *shadow);

/* The guest has flushed everything, or has written what decides its translations: CR0, CR3, CR4, EFER. */
void shadow_flush(struct shadow *shadow, const struct guest_paging *paging);

/* The guest has written CR3 and nothing else, without PCIDs: what a flush does, but global pages stay. *root is what
 * CR3 is to hold; the CPU has to be flushed before the next entry, which is not noted. Always true, for a tail call. */
bool shadow_switch(struct shadow *shadow, const struct guest_paging *paging, uint64_t *root);

/* The guest has flushed the page of one address. */
void shadow_invalidate(struct shadow *shadow, uint64_t linear);

enum shadow_result {
    SHADOW_FILLED,      /* the access will be let through */
    SHADOW_GUEST_FAULT, /* #PF with result->error_code */
    SHADOW_DEVICE,      /* result->address is no RAM */
    SHADOW_BAD_TABLE,   /* an entry of the guest's at result->bad_table lies outside its RAM */
};

/* The CPU has raised a page fault for this access, of `paging`'s CPL. `paging` is what shadow_flush() was told last.
 * Sets accessed and dirty bits in the guest's tables, as an MMU does. */
enum shadow_result shadow_fault(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear,
                                enum guest_access access, struct guest_translation *result);

/* True once after each change that a TLB may not know. */
static inline bool shadow_take_flush(struct shadow *shadow)
{
    bool flush = shadow->flush;

    shadow->flush = false;
    return flush;
}

/* Where the CPU finds a table: host-physical. */
static inline uint64_t shadow_table_address(const struct shadow *shadow, uint32_t table)
{
    return table == SHADOW_ROOT_LOW ? shadow->low_root : shadow->tables + (uint64_t)table * PAGE_BYTES;
}

/* What CR3 is to hold, and the levels below it: 3, 4 or 5. */
static inline uint64_t shadow_root(const struct shadow *shadow)
{
    return shadow_table_address(shadow, shadow->root);
}

/* guest_walk_code() of the address space in use. */
const uint8_t *shadow_find_code(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear);

/* The same for an address that is asked for again and again; NULL: it has to be looked for. The CPU has fetched it
 * through the tables, and as long as the tree is in use or used again, and nothing was removed, it would find the same
 * there. */
static inline const uint8_t *shadow_known_code(const struct shadow *shadow, uint64_t linear)
{
    const struct shadow_tree *tree = shadow->tree;

    return tree->code_linear == linear && tree->code_removals == shadow->removals ? tree->code : NULL;
}

#endif
