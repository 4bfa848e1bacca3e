/* SPDX-License-Identifier: MIT */
/*
 * The guest's MMU in software: one loop for all paging modes, which differ only in a row of constants.
 *
 *   mode      levels  index bits  entry      leaf sizes by level (0, 1, 2)   bits of the linear address
 *   32-bit    2       10          4 bytes    4 KiB, 4 MiB (CR4.PSE)          31:22 21:12 | 11:0
 *   PAE       3       9           8 bytes    4 KiB, 2 MiB                    31:30 29:21 20:12 | 11:0
 *   4-level   4       9           8 bytes    4 KiB, 2 MiB, 1 GiB (CPUID)     47:39 38:30 29:21 20:12 | 11:0
 *   5-level   5       9           8 bytes    4 KiB, 2 MiB, 1 GiB (CPUID)     56:48 47:39 38:30 29:21 20:12 | 11:0
 *
 * A walk reads the entries (each through guest_memory_pointer, so a hostile entry leads nowhere), checks presence and
 * reserved bits on the way down and rights at the leaf, and only then sets accessed and dirty bits, by
 * compare-exchange: where another vCPU changed an entry in between, the walk starts again, as an MMU would see the new
 * entry. After RESTARTS_MAX such races the walk answers with what it last read and leaves the bits: a guest that
 * rewrites its tables faster than that harms itself only.
 *
 * Not done: protection keys and shadow stacks (guests are not offered them). PAE's page-directory pointers are read
 * from memory at each walk, as AMD does under nested paging; Intel keeps them in registers since the last write of CR3,
 * and a guest can only tell the difference if it changes them without writing CR3, which both manuals forbid.
 *
 * SDM 3A 4.3 to 4.8; APM 2 5.2 to 5.6.
 */
#include "hv/mm/guest_walk.h"

#include "hv/base/check.h"

/* Bits of an entry. SDM 3A 4.5 "4-Level Paging and 5-Level Paging", tables 4-14 to 4-20. */
#define ENTRY_PRESENT (1ULL << 0)
#define ENTRY_WRITE (1ULL << 1)
#define ENTRY_USER (1ULL << 2)
#define ENTRY_ACCESSED (1ULL << 5)
#define ENTRY_DIRTY (1ULL << 6)
#define ENTRY_LARGE (1ULL << 7)
#define ENTRY_BIT8 (1ULL << 8)
#define ENTRY_NX (1ULL << 63)
#define ENTRY_ADDRESS 0x000ffffffffff000ULL /* bits 51:12 */

/* PAE: a page-directory pointer has bits 2:1 and 8:5 reserved. SDM 3A 4.4.1, table 4-8. */
#define PAE_POINTER_RESERVED 0x1e6ULL
/* PAE: bits 62:52 are reserved, where longer modes ignore them. SDM 3A 4.4.2, tables 4-9 to 4-11. */
#define PAE_HIGH_RESERVED 0x7ff0000000000000ULL

/* PSE-36: a 4 MiB page has address bits 39:32 in entry bits 20:13; bit 21 is reserved. SDM 3A 4.3, table 4-4. */
#define PSE36_FIELD_LOW 13u
#define PSE36_BITS 8u
#define PSE36_RESERVED (1ULL << 21)

#define WALK_LEVELS_MAX 5u
#define LEVEL_OF_PAGES 0u
#define RESTARTS_MAX 8u /* where other vCPUs change the tables meanwhile: then without accessed and dirty bits */

struct walk_mode {
    uint8_t levels;
    uint8_t index_bits;
    uint8_t entry_bytes;
    uint8_t large_levels;     /* levels 1 .. this may hold a leaf */
    bool pointers_at_top;     /* PAE: the top level's entries have no rights and no accessed bit */
    uint64_t linear_mask;     /* address bits that take part */
    uint64_t root_mask;       /* of CR3 */
    uint64_t always_reserved; /* in every entry */
};

#define LEVELS_32 2
#define LEVELS_PAE 3
#define INDEX_32 10 /* bits of an address that select an entry of 4 bytes */
#define INDEX_64 9  /* and one of 8 */
_Static_assert(PAGE_SHIFT + LEVELS_32 * INDEX_32 == 32, "32-bit paging. SDM 3A 4.3");
_Static_assert(PAGE_SHIFT + (LEVELS_PAE - 1) * INDEX_64 + 2 == 32, "PAE paging has four pointers. SDM 3A 4.4");
_Static_assert((4u << INDEX_32) == PAGE_BYTES && (8u << INDEX_64) == PAGE_BYTES, "a table fills a page");

#define LINEAR(bits) ((1ULL << (bits)) - 1)
static const struct walk_mode mode_32 = {LEVELS_32, INDEX_32, 4, 1, false, LINEAR(32), 0xfffff000, 0};
static const struct walk_mode mode_pae = {LEVELS_PAE, INDEX_64, 8, 1, true, LINEAR(32), 0xffffffe0, PAE_HIGH_RESERVED};
static const struct walk_mode mode_4 = {4, INDEX_64, 8, 2, false, LINEAR(PAGE_SHIFT + 4 * INDEX_64), ENTRY_ADDRESS, 0};
static const struct walk_mode mode_5 = {5, INDEX_64, 8, 2, false, LINEAR(PAGE_SHIFT + 5 * INDEX_64), ENTRY_ADDRESS, 0};

/* One walk: what was asked, and what came of it. The entries that were met are in a struct guest_way, by level. */
struct walk {
    const struct guest_paging *paging;
    uint64_t linear;
    enum guest_access access;
    bool user_access;
    uint64_t reserved; /* in every entry of this walk */
    uint64_t rights;   /* R/W, U/S and inverted NX of all entries, combined */
    uint8_t leaf_level;
};
_Static_assert(sizeof(((struct guest_way *)0)->entries) == WALK_LEVELS_MAX * sizeof(uint64_t), "one for each level");

static bool is_nx_enabled(const struct guest_paging *paging)
{
    return (paging->efer & EFER_NXE) != 0 && paging->nx_supported && (paging->cr4 & CR4_PAE) != 0;
}

static const struct walk_mode *mode_of(const struct guest_paging *paging)
{
    if ((paging->cr4 & CR4_PAE) == 0) {
        return &mode_32;
    }
    if ((paging->efer & EFER_LMA) == 0) {
        return &mode_pae;
    }
    return (paging->cr4 & CR4_LA57) != 0 ? &mode_5 : &mode_4;
}

__attribute__((always_inline)) static inline bool is_pointer(const struct walk_mode *mode, unsigned level)
{
    return mode->pointers_at_top && level + 1u == mode->levels;
}

__attribute__((always_inline)) static inline unsigned level_shift(const struct walk_mode *mode, unsigned level)
{
    return PAGE_SHIFT + level * mode->index_bits;
}

__attribute__((always_inline)) static inline bool is_large(const struct walk_mode *mode, const struct walk *walk,
                                                           unsigned level, uint64_t entry)
{
    return level != 0 && level <= mode->large_levels && (entry & ENTRY_LARGE) != 0 &&
           (mode != &mode_32 || (walk->paging->cr4 & CR4_PSE) != 0);
}

/* The bits between a large leaf's attributes and its address. */
static uint64_t large_reserved(const struct walk_mode *mode, const struct walk *walk, unsigned level)
{
    unsigned usable = walk->paging->physical_bits < 40u ? walk->paging->physical_bits - 32u : PSE36_BITS;

    if (mode == &mode_32) {
        return PSE36_RESERVED | (bit_mask(PSE36_FIELD_LOW, PSE36_FIELD_LOW + PSE36_BITS - 1) &
                                 ~((1ULL << (PSE36_FIELD_LOW + usable)) - 1));
    }
    return bit_mask(PAGE_SHIFT + 1, level_shift(mode, level) - 1) |
           (level == 2 && !walk->paging->gib_pages ? ENTRY_LARGE : 0);
}

__attribute__((always_inline)) static inline uint64_t reserved_bits(const struct walk_mode *mode,
                                                                    const struct walk *walk, unsigned level, bool large)
{
    uint64_t reserved = walk->reserved;

    if (large) {
        return reserved | large_reserved(mode, walk, level);
    }
    if (is_pointer(mode, level)) {
        reserved |= PAE_POINTER_RESERVED | ENTRY_NX;
        return walk->paging->pointer_accessed ? reserved & ~ENTRY_ACCESSED : reserved;
    }
    if (level > mode->large_levels) {
        reserved |= ENTRY_LARGE;
    }
    if (level >= 2 && walk->paging->upper_bit8_reserved) {
        reserved |= ENTRY_BIT8;
    }
    return reserved;
}

__attribute__((always_inline)) static inline uint64_t entry_load(const struct walk_mode *mode, const void *slot)
{
    return mode->entry_bytes == 8 ? __atomic_load_n((const uint64_t *)slot, __ATOMIC_RELAXED)
                                  : __atomic_load_n((const uint32_t *)slot, __ATOMIC_RELAXED);
}

/* True where the entry was still `old` and now is `new`. */
__attribute__((always_inline)) static inline bool entry_exchange(const struct walk_mode *mode, void *slot, uint64_t old,
                                                                 uint64_t new)
{
    uint32_t old32 = (uint32_t)old;

    return mode->entry_bytes == 8
               ? __atomic_compare_exchange_n((uint64_t *)slot, &old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
               : __atomic_compare_exchange_n((uint32_t *)slot, &old32, (uint32_t) new, false, __ATOMIC_ACQ_REL,
                                             __ATOMIC_RELAXED);
}

/* A page fault, with what the access itself puts into the error code. SDM 3A 4.7 "Page-Fault Exceptions". */
static void fault(const struct walk *walk, uint32_t cause, struct guest_translation *result)
{
    bool tells_fetch = is_nx_enabled(walk->paging) || (walk->paging->cr4 & CR4_SMEP) != 0;

    result->error_code = cause | (walk->access == GUEST_WRITE ? PAGE_FAULT_WRITE : 0) |
                         (walk->user_access ? PAGE_FAULT_USER : 0) |
                         (walk->access == GUEST_FETCH && tells_fetch ? PAGE_FAULT_FETCH : 0);
}

/* Whether the rights of a present page allow the access. SDM 3A 4.6.1 "Determination of Access Rights". */
__attribute__((always_inline)) static inline bool is_allowed(const struct walk *walk)
{
    const struct guest_paging *paging = walk->paging;
    bool user_page = (walk->rights & ENTRY_USER) != 0;
    bool on_user_page = !walk->user_access && user_page;

    if (walk->user_access && !user_page) {
        return false;
    }
    if (walk->access == GUEST_FETCH) {
        return (walk->rights & ENTRY_NX) != 0 && !(on_user_page && (paging->cr4 & CR4_SMEP) != 0);
    }
    if (on_user_page && (paging->cr4 & CR4_SMAP) != 0 &&
        (paging->implicit_supervisor || (paging->rflags & RFLAGS_AC) == 0)) {
        return false;
    }
    return walk->access == GUEST_READ || (walk->rights & ENTRY_WRITE) != 0 ||
           (!walk->user_access && (paging->cr0 & CR0_WP) == 0);
}

/* The result of a walk that ended at a leaf. */
__attribute__((always_inline)) static inline void translate(const struct walk_mode *mode, const struct walk *walk,
                                                            uint64_t entry, struct guest_translation *result)
{
    uint64_t bytes = 1ULL << level_shift(mode, walk->leaf_level);
    uint64_t base = entry & ENTRY_ADDRESS & ~(bytes - 1);

    if (mode == &mode_32 && walk->leaf_level != 0) {
        base |= bit_field(entry, PSE36_FIELD_LOW, PSE36_FIELD_LOW + PSE36_BITS - 1) << 32;
    }
    result->address = gpa(base | (walk->linear & (bytes - 1)));
    result->page_bytes = bytes;
    result->writable = (walk->rights & ENTRY_WRITE) != 0;
    result->user = (walk->rights & ENTRY_USER) != 0;
}

/* The place of an entry in host memory; NULL: not RAM. */
__attribute__((always_inline)) static inline void *entry_place(const struct guest_memory *memory, uint64_t entry,
                                                               uint64_t bytes)
{
    void *slot = guest_memory_quick(memory, entry, bytes);

    return slot != NULL ? slot : guest_memory_pointer(memory, gpa(entry), bytes);
}

__attribute__((always_inline)) static inline enum guest_walk_result walk_down(const struct guest_memory *memory,
                                                                              const struct walk_mode *mode,
                                                                              struct walk *walk, struct guest_way *way,
                                                                              struct guest_translation *result)
{
    uint64_t table = walk->paging->cr3 & mode->root_mask;
    uint64_t entry = 0;
    unsigned level = mode->levels;
    bool leaf = false;

    walk->rights = GUEST_WAY_ALL;
    while (!leaf) {
        uint64_t index;
        void *slot;
        bool large;

        level--;
        index = walk->linear >> level_shift(mode, level) & ((1ULL << mode->index_bits) - 1);
        slot = entry_place(memory, table + index * mode->entry_bytes, mode->entry_bytes);
        if (slot == NULL) {
            result->bad_table = gpa(table);
            return GUEST_WALK_UNMAPPED;
        }
        entry = entry_load(mode, slot);
        way->slots[level] = slot;
        way->entries[level] = entry;
        if ((entry & ENTRY_PRESENT) == 0) {
            fault(walk, 0, result);
            return GUEST_WALK_FAULT;
        }
        large = is_large(mode, walk, level, entry);
        if ((entry & reserved_bits(mode, walk, level, large)) != 0) {
            fault(walk, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED, result);
            return GUEST_WALK_FAULT;
        }
        if (!is_pointer(mode, level)) {
            walk->rights &= entry ^ ENTRY_NX;
        }
        way->rights[level] = walk->rights;
        table = entry & ENTRY_ADDRESS;
        leaf = level == 0 || large;
    }
    walk->leaf_level = (uint8_t)level;
    translate(mode, walk, entry, result);
    if (!is_allowed(walk)) {
        fault(walk, PAGE_FAULT_PRESENT, result);
        return GUEST_WALK_FAULT;
    }
    return GUEST_WALK_OK;
}

/* False: the entry has changed since it was read. */
__attribute__((always_inline)) static inline bool mark_entry(const struct walk_mode *mode, struct guest_way *way,
                                                             unsigned level, uint64_t marks)
{
    uint64_t entry = way->entries[level];

    way->entries[level] = entry | marks;
    return (entry & marks) == marks || entry_exchange(mode, way->slots[level], entry, entry | marks);
}

/* What an access leaves in the leaf. */
static inline uint64_t used_marks(enum guest_access access)
{
    return ENTRY_ACCESSED | (access == GUEST_WRITE ? ENTRY_DIRTY : 0);
}

/* Sets accessed and dirty bits, from the top down. False: an entry changed since it was read. SDM 3A 4.8 "Accessed and
 * Dirty Flags". */
__attribute__((always_inline)) static inline bool mark_used(const struct walk_mode *mode, const struct walk *walk,
                                                            struct guest_way *way)
{
    for (unsigned level = mode->levels - 1u; level > walk->leaf_level; level--) {
        if (!is_pointer(mode, level) && !mark_entry(mode, way, level, ENTRY_ACCESSED)) {
            return false;
        }
    }
    return mark_entry(mode, way, walk->leaf_level, used_marks(walk->access));
}

static inline bool is_user_access(const struct guest_paging *paging)
{
    return paging->cpl == 3 && !paging->implicit_supervisor;
}

/* In every entry of a walk. */
static inline uint64_t always_reserved(const struct walk_mode *mode, const struct guest_paging *paging)
{
    return mode->always_reserved | (is_nx_enabled(paging) ? 0 : ENTRY_NX) |
           (ENTRY_ADDRESS & ~((1ULL << paging->physical_bits) - 1));
}

/* With a constant mode this is a walk of its own: the mode's row is no data then. Of the way only slots, entries and
 * rights are filled. */
__attribute__((always_inline)) static inline enum guest_walk_result
walk_in_mode(const struct guest_memory *memory, const struct guest_paging *paging, const struct walk_mode *mode,
             uint64_t address, enum guest_access access, struct guest_translation *result, struct guest_way *way)
{
    struct walk walk;
    enum guest_walk_result outcome = GUEST_WALK_OK;

    DEBUG_CHECK(paging->physical_bits >= 32 && paging->physical_bits <= 52);
    walk.paging = paging;
    walk.access = access;
    walk.linear = address & mode->linear_mask;
    walk.user_access = is_user_access(paging);
    walk.reserved = always_reserved(mode, paging);
    result->error_code = 0;
    for (unsigned restarts = 0; restarts < RESTARTS_MAX; restarts++) {
        outcome = walk_down(memory, mode, &walk, way, result);
        if (outcome != GUEST_WALK_OK || mark_used(mode, &walk, way)) {
            break;
        }
    }
    if (outcome == GUEST_WALK_OK) {
        way->leaf_level = walk.leaf_level;
    }
    return outcome;
}

enum guest_walk_result guest_walk(const struct guest_memory *memory, const struct guest_paging *paging,
                                  uint64_t address, enum guest_access access, struct guest_translation *result)
{
    struct guest_way way;

    if ((paging->cr0 & CR0_PG) == 0) {
        *result = (struct guest_translation){
            .address = gpa(address & mode_32.linear_mask), .page_bytes = PAGE_BYTES, .writable = true, .user = true};
        return GUEST_WALK_OK;
    }
    return walk_in_mode(memory, paging, mode_of(paging), address, access, result, &way);
}

/* 4-level and 5-level paging are by themselves, for shadow paging, which walks at each of its faults. */
enum guest_walk_result guest_walk_way(const struct guest_memory *memory, const struct guest_paging *paging,
                                      uint64_t address, enum guest_access access, struct guest_translation *result,
                                      struct guest_way *way)
{
    const struct walk_mode *mode = mode_of(paging);
    enum guest_walk_result outcome;

    way->levels = 0;
    if ((paging->cr0 & CR0_PG) == 0) {
        return guest_walk(memory, paging, address, access, result);
    }
    outcome = mode == &mode_4   ? walk_in_mode(memory, paging, &mode_4, address, access, result, way)
              : mode == &mode_5 ? walk_in_mode(memory, paging, &mode_5, address, access, result, way)
                                : walk_in_mode(memory, paging, mode, address, access, result, way);
    if (outcome == GUEST_WALK_OK) {
        way->levels = mode->levels;
        way->entry_bytes = mode->entry_bytes;
        way->rights[mode->levels] = GUEST_WAY_ALL;
        way->dirty = (way->entries[way->leaf_level] & ENTRY_DIRTY) != 0;
    }
    return outcome;
}

/* From the top down, as a walk reads them. */
static inline bool upper_entries_hold(const struct guest_way *way)
{
    for (unsigned level = way->levels - 1u; level != 0; level--) {
        if (__atomic_load_n((const uint64_t *)way->slots[level], __ATOMIC_RELAXED) != way->entries[level]) {
            return false;
        }
    }
    return true;
}

/* What the page itself says. False: a lost race for its accessed or dirty bit. */
static inline bool step_to_page(struct walk *walk, struct guest_translation *result, struct guest_way *way,
                                enum guest_walk_result *outcome)
{
    uint64_t entry = entry_load(&mode_4, way->slots[LEVEL_OF_PAGES]);

    way->entries[LEVEL_OF_PAGES] = entry;
    *outcome = GUEST_WALK_FAULT;
    if ((entry & ENTRY_PRESENT) == 0) {
        fault(walk, 0, result);
        return true;
    }
    if ((entry & always_reserved(&mode_4, walk->paging)) != 0) {
        fault(walk, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED, result);
        return true;
    }
    walk->rights = way->rights[LEVEL_OF_PAGES + 1] & (entry ^ ENTRY_NX);
    way->rights[LEVEL_OF_PAGES] = walk->rights;
    translate(&mode_4, walk, entry, result);
    if (!is_allowed(walk)) {
        fault(walk, PAGE_FAULT_PRESENT, result);
        return true;
    }
    *outcome = GUEST_WALK_OK;
    return mark_entry(&mode_4, way, LEVEL_OF_PAGES, used_marks(walk->access));
}

/* A lost race is left to the whole walk: it begins at the top again. */
bool guest_walk_again(const struct guest_paging *paging, uint64_t address, enum guest_access access,
                      struct guest_translation *result, struct guest_way *way, enum guest_walk_result *outcome)
{
    uint64_t *table = (uint64_t *)((uintptr_t)way->slots[LEVEL_OF_PAGES] & ~(uintptr_t)(PAGE_BYTES - 1));
    struct walk walk = {.paging = paging, .linear = address, .access = access, .user_access = is_user_access(paging)};

    if (!upper_entries_hold(way)) {
        return false;
    }
    result->error_code = 0;
    way->slots[LEVEL_OF_PAGES] = &table[address >> PAGE_SHIFT & LINEAR(INDEX_64)];
    if (!step_to_page(&walk, result, way, outcome)) {
        return false;
    }
    way->dirty = (way->entries[LEVEL_OF_PAGES] & ENTRY_DIRTY) != 0;
    return true;
}

/* One more entry on the way, if it is kept. Returns the entry. */
__attribute__((always_inline)) static inline uint64_t pass_entry(const uint64_t *slot, struct guest_code_way *way,
                                                                 unsigned number)
{
    uint64_t entry = __atomic_load_n(slot, __ATOMIC_RELAXED);

    if (way != NULL) {
        way->slots[number] = slot;
        way->entries[number] = entry;
    }
    return entry;
}

/* The whole leaf where all of it is in the range; else the page. `number` entries lead to it. */
static inline void keep_way(struct guest_code_way *way, uint64_t cr3, uint64_t cr4, uint64_t linear,
                            const uint8_t *code, uint64_t leaf_bytes, unsigned number)
{
    uint64_t in_leaf = linear & (leaf_bytes - 1);

    for (unsigned i = number; i < GUEST_CODE_ENTRIES; i++) {
        way->slots[i] = way->slots[i - 1];
        way->entries[i] = way->entries[i - 1];
    }
    way->cr3 = cr3;
    way->cr4 = cr4;
    way->linear = linear - in_leaf;
    way->code = code - in_leaf;
    way->bytes = number <= GUEST_CODE_ENTRIES ? leaf_bytes : 0;
    way->deep_bytes = number <= GUEST_CODE_ENTRIES ? 0 : leaf_bytes;
}

/* Only in the lowest range, where nearly all tables and code lie: this is for speed. Ranges consist of whole pages, so
 * that an aligned entry lies in the range of its first byte. `way` is NULL or to be filled. */
__attribute__((always_inline)) static inline const uint8_t *
walk_to_code(const struct guest_memory *memory, uint64_t cr3, uint64_t cr4, uint64_t linear, struct guest_code_way *way)
{
    const struct guest_range *range = &memory->ranges[0];
    uint64_t start = range->start.value;
    uint64_t host = memory->window + range->backing.value;
    uint64_t bytes = range->bytes;
    uint64_t offset = (cr3 & ENTRY_ADDRESS) - start;
    unsigned number = 0;

    if ((cr4 & CR4_LA57) != 0 && offset < bytes) {
        const uint64_t *table = (const uint64_t *)(uintptr_t)(host + offset);
        uint64_t entry = pass_entry(&table[linear >> level_shift(&mode_5, 4) & LINEAR(9)], way, number++);

        offset = (entry & ENTRY_PRESENT) != 0 ? (entry & ENTRY_ADDRESS) - start : bytes;
    }
    for (unsigned shift = PAGE_SHIFT + 3u * 9u; offset < bytes; shift -= 9u) {
        const uint64_t *table = (const uint64_t *)(uintptr_t)(host + offset);
        uint64_t entry = pass_entry(&table[linear >> shift & LINEAR(9)], way, number++);

        if ((entry & ENTRY_PRESENT) == 0) {
            return NULL;
        }
        offset = (entry & ENTRY_ADDRESS) - start;
        if (shift == PAGE_SHIFT || (entry & ENTRY_LARGE) != 0) {
            uint64_t leaf = (entry & ENTRY_ADDRESS & ~LINEAR(shift)) - start;
            const uint8_t *code = (const uint8_t *)(uintptr_t)(host + leaf + (linear & LINEAR(shift)));

            offset = leaf + (linear & LINEAR(shift));
            if (offset >= bytes) {
                return NULL;
            }
            if (way != NULL) {
                bool whole = leaf < bytes && LINEAR(shift) < bytes - leaf;

                keep_way(way, cr3, cr4, linear, code, whole ? 1ULL << shift : PAGE_BYTES, number);
            }
            return code;
        }
    }
    return NULL;
}

const uint8_t *guest_walk_code(const struct guest_memory *memory, uint64_t cr3, uint64_t cr4, uint64_t linear)
{
    return walk_to_code(memory, cr3, cr4, linear, NULL);
}

const uint8_t *guest_walk_code_way(const struct guest_memory *memory, uint64_t cr3, uint64_t cr4, uint64_t linear,
                                   struct guest_code_way *way)
{
    const uint8_t *code = guest_code_by_deep_way(way, cr3, cr4, linear);

    if (code != NULL) {
        return code;
    }
    way->bytes = 0;
    way->deep_bytes = 0;
    return walk_to_code(memory, cr3, cr4, linear, way);
}
