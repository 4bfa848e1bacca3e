/* SPDX-License-Identifier: MIT */
/*
 * The model of shadow paging: random guest tables, accesses, changes and flushes in all paging modes, and beside the
 * engine a flat reference that knows what a TLB may hold.
 *
 * The reference has a walker of its own. For each of a few linear addresses it keeps every translation that a walk
 * could have ended with since the last flush that concerns the address: a TLB may hold any of them and nothing else.
 * After each flush every address is looked up in the engine's tables as a CPU with CR0.WP and EFER.NXE set would do it,
 * and each right that it finds must be one that a translation of that set has, at the place that the guest's map says.
 *
 * An access goes the way of a CPU: through the engine's tables, and where they do not allow it, to shadow_fault(). What
 * that answers must be what the reference's walk of the present tables says, with the exact error code, and after
 * SHADOW_FILLED the access must be let through.
 *
 * Where the choices come from is the caller's: a generator (test_shadow.c) or the fuzzer's bytes.
 */
#ifndef TESTS_UNIT_SHADOW_MODEL_H
#define TESTS_UNIT_SHADOW_MODEL_H

#include "hv/mm/shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MODEL_CHECK(condition)                                                                       \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            fprintf(stderr, "%s:%d: not what the model says: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                                 \
        }                                                                                            \
    } while (0)

#define P 0x001ULL
#define W 0x002ULL
#define U 0x004ULL
#define A 0x020ULL
#define D 0x040ULL
#define PS 0x080ULL
#define G 0x100ULL
#define NX (1ULL << 63)
#define FRAME 0x000ffffffffff000ULL

/* Host-physical addresses of the arena. */
#define ARENA_START 0x20000000ULL
#define ARENA_BYTES (7 * 512 * MIB)
#define LOW_ROOT (ARENA_START + 0x7e0)
#define POOL (ARENA_START + 0x1000)

#define ROOTS 4u        /* the first of them are roots, too */
#define TABLE_PAGES 40u /* guest pages 1 .. this hold tables */
#define ADDRESSES 40u
#define HISTORY 48u
#define PHYSICAL_BITS 40u

/* One translation that a TLB may hold. */
struct translation {
    uint64_t start, bytes; /* linear */
    uint64_t to;           /* guest-physical, of `start` */
    bool write, user, execute;
    bool dirty;
    bool global; /* stays where CR3 is written */
};

struct model {
    uint32_t (*choose)(void *source);
    void *source;
    uint8_t *arena;
    struct guest_memory memory;
    struct guest_paging paging;
    struct shadow shadow;
    uint64_t linear[ADDRESSES];
    struct translation history[ADDRESSES][HISTORY];
    uint32_t known[ADDRESSES];
    struct translation cached[ADDRESSES]; /* what a real TLB may have of the engine's tables; bytes 0: nothing */
    uint64_t pointers[4];                 /* the CPU has the top of 3 levels in registers */
    bool calm;                            /* few flushes and changes */
    uint64_t steps, exits, guest_faults, devices, through, flushes, recycled, bad_tables, global_kept, kept;
};

static uint32_t choose(struct model *model, uint32_t count)
{
    return model->choose(model->source) % count;
}

static uint64_t window(const struct model *model)
{
    return (uint64_t)(uintptr_t)model->arena - ARENA_START;
}

/* --- the reference's walk --- */

static bool is_long(const struct model *model)
{
    return (model->paging.efer & EFER_LMA) != 0;
}

static bool is_32(const struct model *model)
{
    return (model->paging.cr4 & CR4_PAE) == 0;
}

static int levels(const struct model *model)
{
    return is_32(model) ? 2 : !is_long(model) ? 3 : (model->paging.cr4 & CR4_LA57) != 0 ? 5 : 4;
}

/* Host memory behind a guest-physical page; 0: no RAM. */
static uint64_t host_of(const struct model *model, uint64_t guest)
{
    for (uint32_t i = 0; i < model->memory.range_count; i++) {
        const struct guest_range *range = &model->memory.ranges[i];

        if (guest >= range->start.value && guest - range->start.value < range->bytes) {
            return range->backing.value + (guest - range->start.value);
        }
    }
    return 0;
}

enum outcome { OUTCOME_OK, OUTCOME_FAULT, OUTCOME_BAD_TABLE };

/* SDM 3A 4.3 to 4.5, reserved bits. `level` 0: the last. */
static bool entry_is_bad(const struct model *model, int level, uint64_t entry, bool leaf)
{
    uint64_t high = FRAME & ~((1ULL << PHYSICAL_BITS) - 1);

    if (is_32(model)) {
        return leaf && level == 1 && (entry & (1 << 21)) != 0;
    }
    if ((entry & high) != 0 || ((entry & NX) != 0 && (model->paging.efer & EFER_NXE) == 0)) {
        return true;
    }
    if (!is_long(model) && (entry & 0x7ff0000000000000ULL) != 0) {
        return true;
    }
    if (!is_long(model) && level == 2) {
        return (entry & (NX | 0x1e6)) != 0;
    }
    if (level >= 3) {
        return (entry & PS) != 0 || (entry & 0x100) != 0;
    }
    if (level == 2 && !leaf && (entry & 0x100) != 0) {
        return true;
    }
    return leaf && level != 0 && (entry & ((1ULL << (12 + 9 * level)) - 1) & ~0x1fffULL) != 0;
}

/* `all_accessed`: every entry on the way has its bit, so that a TLB may have read it ahead. */
static enum outcome reference_walk(const struct model *model, uint64_t linear, struct translation *result,
                                   bool *all_accessed, bool *reserved)
{
    int bits = is_32(model) ? 10 : 9;
    uint64_t table = is_32(model)      ? model->paging.cr3 & 0xfffff000
                     : !is_long(model) ? model->paging.cr3 & 0xffffffe0
                                       : model->paging.cr3 & FRAME;

    *result = (struct translation){.write = true, .user = true, .execute = true, .dirty = true};
    *all_accessed = true;
    *reserved = false;
    if ((model->paging.cr0 & CR0_PG) == 0) {
        *result = (struct translation){linear & ~0xfffULL, 4096, linear & 0xfffff000, true, true, true, true, false};
        return OUTCOME_OK;
    }
    for (int level = levels(model) - 1;; level--) {
        int shift = 12 + bits * level;
        uint64_t index = linear >> shift & ((1ULL << bits) - 1);
        uint64_t host = host_of(model, table + index * (is_32(model) ? 4 : 8));
        uint64_t entry = 0;
        bool leaf;

        if (!is_long(model) && !is_32(model) && level == 2) {
            index &= 3;
            host = host_of(model, table + index * 8);
        }
        if (host == 0) {
            return OUTCOME_BAD_TABLE;
        }
        memcpy(&entry, (void *)(uintptr_t)(window(model) + host), is_32(model) ? 4 : 8);
        if ((entry & P) == 0) {
            return OUTCOME_FAULT;
        }
        leaf = level == 0 || ((entry & PS) != 0 &&
                              (is_32(model) ? (model->paging.cr4 & CR4_PSE) != 0 : level <= (is_long(model) ? 2 : 1)));
        if (entry_is_bad(model, level, entry, leaf)) {
            *reserved = true;
            return OUTCOME_FAULT;
        }
        if (is_long(model) || is_32(model) || level != 2) {
            result->write = result->write && (entry & W) != 0;
            result->user = result->user && (entry & U) != 0;
            result->execute = result->execute && (entry & NX) == 0;
            *all_accessed = *all_accessed && (entry & A) != 0;
        }
        table = entry & FRAME;
        if (leaf) {
            result->bytes = 1ULL << shift;
            result->start = linear & ~(result->bytes - 1);
            result->to = table & ~(result->bytes - 1);
            if (is_32(model) && level == 1) {
                result->to = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
            }
            result->dirty = (entry & D) != 0;
            result->global = (entry & G) != 0 && (model->paging.cr4 & CR4_PGE) != 0;
            return OUTCOME_OK;
        }
    }
}

/* SDM 3A 4.6.1: what the guest's control registers make of these rights. */
static bool allows(const struct model *model, const struct translation *to, enum guest_access access, bool user,
                   bool ac, bool wp)
{
    uint64_t cr4 = (model->paging.cr0 & CR0_PG) != 0 ? model->paging.cr4 : 0; /* so has the CPU: shadow.h */

    if (user) {
        return to->user && (access == GUEST_READ || (access == GUEST_WRITE ? to->write : to->execute));
    }
    if (access == GUEST_FETCH) {
        return to->execute && !(to->user && (cr4 & CR4_SMEP) != 0);
    }
    if (to->user && (cr4 & CR4_SMAP) != 0 && !ac) {
        return false;
    }
    return access == GUEST_READ || to->write || !wp;
}

/* --- what the CPU sees --- */

/* A table that can be reached must not be taken for another use. One that several trees have is noted later. */
static void check_in_tree(const struct shadow *shadow, uint64_t table)
{
    const struct shadow_table *row = &shadow->rows[(table - shadow->tables) / PAGE_BYTES];

    MODEL_CHECK(shadow->unsettled || row->epoch == shadow->epoch || row->epoch == shadow->global_epoch);
}

/* The engine's tables, read as a CPU does: the leaf, or NULL. `host` is of the page at `linear`. */
static uint64_t *cpu_leaf(const struct model *model, uint64_t linear, struct translation *to, uint64_t *host)
{
    int top = model->shadow.levels - 1;
    uint64_t table = shadow_root(&model->shadow);

    *to = (struct translation){.write = true, .user = true, .execute = true};
    for (int level = top;; level--) {
        uint64_t index = linear >> (12 + 9 * level) & (top == 2 && level == 2 ? 3 : 511);
        uint64_t *slot = (uint64_t *)(uintptr_t)(window(model) + table + index * 8);
        uint64_t entry = *slot;
        uint64_t bytes = 1ULL << (12 + 9 * level);
        bool leaf = level == 0 || (level < 3 && (entry & PS) != 0);

        if ((entry & P) == 0) {
            MODEL_CHECK(entry == 0);
            return NULL;
        }
        if (top == 2 && level == 2) {
            MODEL_CHECK((entry & ~FRAME) == P); /* all else is reserved in PAE's pointers */
        } else {
            to->write = to->write && (entry & W) != 0;
            to->user = to->user && (entry & U) != 0;
            to->execute = to->execute && (entry & NX) == 0;
        }
        if (leaf) {
            MODEL_CHECK((entry & FRAME & (bytes - 1)) == 0);
            MODEL_CHECK((enum page_level)level <= model->shadow.largest && (top > 2 || level < 2));
            *host = (entry & FRAME) | (linear & (bytes - 1) & ~0xfffULL);
            return slot;
        }
        table = entry & FRAME;
        MODEL_CHECK(table > model->shadow.tables && table < model->shadow.tables + model->shadow.count * PAGE_BYTES);
        check_in_tree(&model->shadow, table);
    }
}

static bool cpu_walk(const struct model *model, uint64_t linear, struct translation *to, uint64_t *host)
{
    return cpu_leaf(model, linear, to, host) != NULL;
}

static bool cpu_allows(const struct model *model, uint64_t linear, enum guest_access access, bool user, bool ac,
                       uint64_t *host)
{
    struct translation to;

    return cpu_walk(model, linear, &to, host) && allows(model, &to, access, user, ac, true);
}

/* Does a translation that a TLB may hold allow this, at this place? */
static bool is_justified(const struct model *model, uint32_t n, uint64_t host, enum guest_access access, bool user,
                         bool ac)
{
    bool wp = (model->paging.cr0 & CR0_WP) != 0;

    for (uint32_t i = 0; i < model->known[n]; i++) {
        const struct translation *to = &model->history[n][i];
        uint64_t page = model->linear[n] & ~0xfffULL;

        if (host != 0 && host_of(model, to->to + (page - to->start)) == host &&
            allows(model, to, access, user, ac, wp) && (access != GUEST_WRITE || to->dirty)) {
            return true;
        }
    }
    return false;
}

static void check_address(const struct model *model, uint32_t n)
{
    bool loose =
        (model->paging.cr0 & (CR0_WP | CR0_PG)) == CR0_PG && (model->paging.cr4 & CR4_SMAP) != 0; /* shadow.h says so */
    struct translation to;
    uint64_t host;

    if (!cpu_walk(model, model->linear[n], &to, &host)) {
        return;
    }
    for (uint32_t i = 0; i < 12; i++) {
        enum guest_access access = (enum guest_access)(i % 3);
        bool user = (i / 3 & 1) != 0;
        bool ac = i >= 6;

        if (allows(model, &to, access, user, ac, true) && !(loose && !user && !ac)) {
            MODEL_CHECK(is_justified(model, n, host, access, user, ac));
        }
    }
}

static void check_all(const struct model *model)
{
    for (uint32_t n = 0; n < ADDRESSES; n++) {
        check_address(model, n);
    }
}

/* --- what a TLB may hold --- */

static bool is_same(const struct translation *a, const struct translation *b)
{
    return a->start == b->start && a->bytes == b->bytes && a->to == b->to && a->write == b->write &&
           a->user == b->user && a->execute == b->execute && a->dirty == b->dirty && a->global == b->global;
}

static void remember_one(struct model *model, uint32_t n, const struct translation *to)
{
    for (uint32_t i = 0; i < model->known[n]; i++) {
        if (is_same(&model->history[n][i], to)) {
            return;
        }
    }
    MODEL_CHECK(model->known[n] < HISTORY);
    model->history[n][model->known[n]++] = *to;
}

static void remember(struct model *model, uint32_t n)
{
    struct translation to;
    bool accessed;
    bool reserved;

    if (reference_walk(model, model->linear[n], &to, &accessed, &reserved) == OUTCOME_OK && accessed) {
        remember_one(model, n, &to);
    }
}

static void remember_all(struct model *model)
{
    for (uint32_t n = 0; n < ADDRESSES; n++) {
        remember(model, n);
    }
}

static void flush_all(struct model *model)
{
    shadow_flush(&model->shadow, &model->paging);
    memset(model->known, 0, sizeof(model->known));
    remember_all(model);
    model->flushes++;
    check_all(model);
}

/* As a vendor calls it, which flushes the CPU by itself. */
static inline void switch_space(struct shadow *shadow, const struct guest_paging *paging)
{
    uint64_t root;

    MODEL_CHECK(shadow_switch(shadow, paging, &root));
    MODEL_CHECK(root == shadow_root(shadow));
    shadow->flush = true;
}

/* CR3 is written: what a TLB holds of global pages stays. SDM 3A 4.10.4.1. */
static void switch_root(struct model *model)
{
    switch_space(&model->shadow, &model->paging);
    for (uint32_t n = 0; n < ADDRESSES; n++) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < model->known[n]; i++) {
            if (model->history[n][i].global) {
                memmove(&model->history[n][kept++], &model->history[n][i], sizeof(model->history[n][i]));
            }
        }
        model->known[n] = kept;
        model->global_kept += kept;
    }
    remember_all(model);
    model->flushes++;
    check_all(model);
}

static void invalidate(struct model *model, uint32_t n)
{
    uint64_t linear = model->linear[n];

    shadow_invalidate(&model->shadow, linear);
    for (uint32_t m = 0; m < ADDRESSES; m++) {
        uint32_t kept = 0;

        for (uint32_t i = 0; i < model->known[m]; i++) {
            const struct translation *to = &model->history[m][i];

            if (linear - to->start >= to->bytes) {
                memmove(&model->history[m][kept++], to, sizeof(*to));
            }
        }
        model->known[m] = kept;
    }
    remember_all(model);
    check_all(model);
}

/* --- steps --- */

static uint64_t canonical(const struct model *model, uint64_t linear)
{
    unsigned unused = 64 - 12 - 9 * (unsigned)levels(model);

    if ((model->paging.cr0 & CR0_PG) == 0 || !is_long(model)) {
        return (uint32_t)linear;
    }
    return (uint64_t)((int64_t)(linear << unused) >> unused);
}

/* Few indices at each level, so that addresses share tables. */
static void choose_addresses(struct model *model)
{
    static const uint64_t indices[] = {0, 1, 2, 3, 7, 255, 256, 511};

    for (uint32_t n = 0; n < ADDRESSES; n++) {
        uint64_t linear = choose(model, 4096);

        for (unsigned level = 0; level < 5; level++) {
            linear |= indices[choose(model, level == 0 ? 8 : 4)] << (12 + 9 * level);
        }
        linear |= choose(model, 4) == 0 ? 0xffff800000000000ULL : 0;
        model->linear[n] = canonical(model, linear);
    }
}

static void set_mode(struct model *model)
{
    static const struct {
        uint64_t cr0, cr4, efer;
    } modes[] = {
        {CR0_PG, CR4_PAE, EFER_LMA},
        {CR0_PG, CR4_PAE, EFER_LMA},
        {CR0_PG, CR4_PAE | CR4_LA57, EFER_LMA},
        {CR0_PG, CR4_PAE, 0},
        {CR0_PG, 0, 0},
        {CR0_PG, CR4_PSE, 0},
        {0, 0, 0},
        {0, CR4_PAE, 0},
    };
    uint32_t mode = choose(model, ARRAY_COUNT(modes));
    bool same_kind = choose(model, 4) != 0;
    uint64_t keep = CR4_PAE | CR4_LA57;

    if (!same_kind) {
        model->paging.cr0 = modes[mode].cr0;
        model->paging.cr4 = modes[mode].cr4;
        model->paging.efer = modes[mode].efer;
    }
    model->paging.cr0 = (model->paging.cr0 & CR0_PG) | (choose(model, 4) != 0 ? CR0_WP : 0);
    model->paging.cr4 = (model->paging.cr4 & (keep | CR4_PSE)) | (choose(model, 3) == 0 ? CR4_SMEP : 0) |
                        (choose(model, 3) == 0 ? CR4_SMAP : 0) | (choose(model, 3) == 0 ? CR4_PSE : 0) |
                        (choose(model, 3) != 0 ? CR4_PGE : 0);
    model->paging.efer = (model->paging.efer & EFER_LMA) | (choose(model, 3) != 0 ? EFER_NXE : 0);
    if (!same_kind) {
        choose_addresses(model);
    }
}

static void set_root(struct model *model)
{
    model->paging.cr3 = (1 + choose(model, ROOTS)) * PAGE_BYTES;
    if (choose(model, 256) == 0) {
        model->paging.cr3 = 0x500000; /* a device */
    }
    if (choose(model, 16) == 0) {
        model->paging.cr3 |= 0x18; /* PCD, PWT: another value, the same tables */
    }
}

static uint64_t random_frame(struct model *model)
{
    static const uint64_t bases[] = {0x200000, 0x600000, 0x800000, GIB, GIB + 0x400000, 2 * GIB, 0x400000, 0x7ff000};

    return bases[choose(model, ARRAY_COUNT(bases))] + (choose(model, 3) == 0 ? choose(model, 8) * PAGE_BYTES : 0);
}

static uint64_t random_entry(struct model *model, int level)
{
    uint64_t entry = P | (choose(model, 8) != 0 ? W : 0) | (choose(model, 8) != 0 ? U : 0) |
                     (choose(model, 4) != 0 ? A : 0) | (choose(model, 2) != 0 ? D : 0) |
                     (choose(model, 12) == 0 && !is_32(model) ? NX : 0);

    if (choose(model, 16) < (level == 0 ? 4 : level < 3 ? 12 : 16)) {
        entry |= (1 + choose(model, TABLE_PAGES)) * PAGE_BYTES;
    } else {
        entry |= random_frame(model) | (choose(model, 2) != 0 || level != 0 ? PS : 0) | (choose(model, 2) != 0 ? G : 0);
    }
    if (!is_long(model) && !is_32(model) && level == 2) {
        entry &= FRAME | P;
    }
    return choose(model, 24) == 0 ? entry ^ 1ULL << choose(model, 64) : entry;
}

/* The entry of an address that a walk would come to, down to a random level; its level in *level. */
static uint8_t *find_entry(struct model *model, uint64_t linear, int *level)
{
    int bits = is_32(model) ? 10 : 9;
    int stop = (int)choose(model, (uint32_t)levels(model));
    uint64_t bytes = is_32(model) ? 4 : 8;
    uint64_t table = model->paging.cr3 & FRAME;

    for (*level = levels(model) - 1;; (*level)--) {
        uint64_t index = linear >> (12 + bits * *level) & ((1ULL << bits) - 1);
        uint64_t entry = 0;
        uint8_t *slot;

        if (host_of(model, table) == 0 || table > TABLE_PAGES * PAGE_BYTES) {
            table = (1 + choose(model, TABLE_PAGES)) * PAGE_BYTES;
            stop = *level;
        }
        index &= !is_long(model) && !is_32(model) && *level == 2 ? 3 : index;
        slot = (uint8_t *)(uintptr_t)(window(model) + host_of(model, table)) + index * bytes;
        memcpy(&entry, slot, bytes);
        if (*level == stop || (entry & P) == 0) {
            return slot;
        }
        table = entry & FRAME;
    }
}

/* Changes an entry that the walk of one of the addresses goes through. */
static void change(struct model *model)
{
    static const uint64_t flips[] = {P, W, U, A, D, PS, G, NX};
    int level;
    uint8_t *slot = find_entry(model, model->linear[choose(model, ADDRESSES)], &level);
    size_t bytes = is_32(model) ? 4 : 8;
    uint64_t entry = 0;

    memcpy(&entry, slot, bytes);
    if ((entry & P) == 0 || choose(model, 4) == 0) {
        entry = choose(model, 6) == 0 ? 0 : random_entry(model, level);
    } else if (choose(model, 2) == 0) {
        entry ^= flips[choose(model, ARRAY_COUNT(flips))];
    } else {
        entry |= A | (choose(model, 2) != 0 ? D : 0);
    }
    memcpy(slot, &entry, bytes);
}

static uint32_t expected_error(const struct model *model, enum guest_access access, bool user, uint32_t cause)
{
    bool fetch = access == GUEST_FETCH &&
                 (((model->paging.efer & EFER_NXE) != 0 && !is_32(model)) || (model->paging.cr4 & CR4_SMEP) != 0);

    return cause | (access == GUEST_WRITE ? PAGE_FAULT_WRITE : 0) | (user ? PAGE_FAULT_USER : 0) |
           (fetch ? PAGE_FAULT_FETCH : 0);
}

/* From the walk of the tables as they were before. An accessed bit that a walk sets can change the way that it goes
 * (one entry at two levels, a PAE pointer): then either is right. */
struct expected {
    enum outcome outcome;
    struct translation to;
    bool reserved;
};

/* What shadow_fault() has to answer. */
static void check_answer(struct model *model, uint32_t n, enum guest_access access, bool user, bool ac,
                         const struct expected *expected, enum shadow_result answer,
                         const struct guest_translation *result)
{
    const struct translation *to = &expected->to;
    uint64_t page = model->linear[n] & ~0xfffULL;
    uint32_t cause = expected->reserved ? PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED : 0;

    if (expected->outcome == OUTCOME_BAD_TABLE) {
        MODEL_CHECK(answer == SHADOW_BAD_TABLE);
        model->bad_tables++;
    } else if (expected->outcome == OUTCOME_FAULT) {
        MODEL_CHECK(answer == SHADOW_GUEST_FAULT);
        MODEL_CHECK(result->error_code == expected_error(model, access, user, cause));
    } else if ((model->paging.cr0 & CR0_PG) != 0 &&
               !allows(model, to, access, user, ac, (model->paging.cr0 & CR0_WP) != 0)) {
        MODEL_CHECK(answer == SHADOW_GUEST_FAULT);
        MODEL_CHECK(result->error_code == expected_error(model, access, user, PAGE_FAULT_PRESENT));
    } else if (host_of(model, to->to + (page - to->start)) == 0) {
        MODEL_CHECK(answer == SHADOW_DEVICE);
        MODEL_CHECK(result->address.value == to->to + (model->linear[n] - to->start));
        model->devices++;
    } else {
        MODEL_CHECK(answer == SHADOW_FILLED);
    }
    model->guest_faults += answer == SHADOW_GUEST_FAULT ? 1 : 0;
}

/* The accessed and dirty bits are in the guest's tables, and so a TLB may have it. */
static void check_filled(struct model *model, uint32_t n, enum guest_access access, const struct expected *before)
{
    struct expected after;
    struct translation used = before->to;
    bool accessed;

    after.outcome = reference_walk(model, model->linear[n], &after.to, &accessed, &after.reserved);
    MODEL_CHECK(after.outcome != OUTCOME_OK || (accessed && (after.to.dirty || access != GUEST_WRITE)) ||
                after.to.to != used.to);
    used.dirty = used.dirty || access == GUEST_WRITE;
    for (uint32_t m = 0; m < ADDRESSES; m++) {
        if (model->linear[m] - used.start < used.bytes) {
            remember_one(model, m, &used);
        }
    }
}

static void touch(struct model *model)
{
    uint32_t n = choose(model, ADDRESSES);
    enum guest_access access = (enum guest_access)choose(model, 3);
    bool user = choose(model, 2) != 0 && (model->paging.cr0 & CR0_PG) != 0;
    bool ac = choose(model, 2) != 0;
    struct guest_translation result;
    struct guest_paging paging = model->paging;
    struct expected expected;
    struct expected before;
    struct expected after;
    struct translation to;
    enum shadow_result answer;
    bool accessed;
    uint64_t host;

    paging.cpl = user ? 3 : 0;
    paging.rflags = ac ? RFLAGS_AC : 0;
    if (cpu_allows(model, model->linear[n], access, user, ac, &host)) {
        *cpu_leaf(model, model->linear[n], &to, &host) |= A;
        model->through++;
        check_address(model, n);
        return;
    }
    model->exits++;
    expected.outcome = reference_walk(model, model->linear[n], &expected.to, &accessed, &expected.reserved);
    before = expected;
    answer = shadow_fault(&model->shadow, &paging, model->linear[n], access, &result);
    after.outcome = reference_walk(model, model->linear[n], &after.to, &accessed, &after.reserved);
    if (after.outcome != expected.outcome && answer == SHADOW_GUEST_FAULT) {
        expected = after;
    }
    check_answer(model, n, access, user, ac, &expected, answer, &result);
    if (answer == SHADOW_FILLED) {
        check_filled(model, n, access, &expected);
        MODEL_CHECK(cpu_allows(model, model->linear[n], access, user, ac, &host));
    }
    if (after.outcome != before.outcome) {
        flush_all(model); /* what others could have through the way as it was is not known */
        return;
    }
    remember_all(model);
    check_address(model, n);
}

/* What counts as reached from the root is: its parent has the link. Else it is filled and seen by no CPU, and what
 * takes it out again takes another one. */
static void check_link(const struct model *model, uint32_t table, uint32_t parent)
{
    const struct shadow *shadow = &model->shadow;
    uint64_t at = shadow_table_address(shadow, parent == SHADOW_ANY_ROOT ? shadow->root : parent);
    const uint64_t *entries = (const uint64_t *)(uintptr_t)(window(model) + at);

    MODEL_CHECK(table == shadow->root ||
                (entries[shadow->rows[table].index] & FRAME) == shadow_table_address(shadow, table));
}

static void check_links(const struct model *model)
{
    const struct shadow *shadow = &model->shadow;

    for (uint32_t i = 1; i < shadow->count; i++) {
        const struct shadow_table *row = &shadow->rows[i];

        /* Of what several trees have the parent is noted before it is needed: behind this loop. */
        if ((row->epoch == shadow->epoch && !(shadow->unsettled && row->shared)) ||
            row->epoch == shadow->global_epoch) {
            check_link(model, i, row->parent);
        }
    }
    for (uint32_t i = 0; shadow->unsettled && i < shadow->tree->shares; i++) {
        const struct shadow_share *share = &shadow->tree->list->shares[i];

        check_link(model, (uint32_t)(share->row - shadow->rows), share->parent);
    }
}

/* Where the engine does not ask for a flush, a TLB that has everything of its tables may keep it all: nothing has gone
 * from them, and rights were only added. */
static void check_flush(struct model *model)
{
    bool flush = shadow_take_flush(&model->shadow);
    const void *top = (const void *)(uintptr_t)(window(model) + LOW_ROOT);

    check_links(model);
    MODEL_CHECK(flush || memcmp(model->pointers, top, sizeof(model->pointers)) == 0);
    memcpy(model->pointers, top, sizeof(model->pointers));
    for (uint32_t n = 0; n < ADDRESSES; n++) {
        const struct translation *old = &model->cached[n];
        struct translation now;
        uint64_t host = 0;
        bool there = cpu_walk(model, model->linear[n], &now, &host);

        if (!flush && old->bytes != 0) {
            MODEL_CHECK(there && host == old->to && now.user == old->user && now.execute == old->execute);
            MODEL_CHECK(now.write || !old->write);
        }
        now.bytes = there ? PAGE_BYTES : 0;
        now.to = host;
        model->cached[n] = now;
    }
}

static bool history_is_full(const struct model *model)
{
    for (uint32_t n = 0; n < ADDRESSES; n++) {
        if (model->known[n] >= HISTORY - 2) {
            return true;
        }
    }
    return false;
}

/* One that the CPU sees, if a few tries find it. */
static uint32_t choose_seen(struct model *model)
{
    struct translation to;
    uint64_t host;
    uint32_t n = choose(model, ADDRESSES);

    for (uint32_t tries = 0; tries < 8 && !cpu_walk(model, model->linear[n], &to, &host); tries++) {
        n = choose(model, ADDRESSES);
    }
    return n;
}

/* Back and forth between address spaces, as a guest's scheduler goes; now and then something is touched or changed. */
static void switch_around(struct model *model)
{
    for (uint32_t left = choose(model, 16); left != 0; left--) {
        uint32_t kind = choose(model, 16);

        if (kind < 2) {
            change(model);
            remember_all(model);
        } else if (kind < 4) {
            touch(model);
        } else if (kind == 4) {
            invalidate(model, choose_seen(model));
        }
        check_flush(model);
        if (history_is_full(model)) {
            return;
        }
        if (choose(model, 8) != 0) { /* else CR3 is written as it is */
            set_root(model);
        }
        switch_root(model);
    }
}

static void step(struct model *model)
{
    uint32_t kind = choose(model, 100);

    model->steps++;
    if (model->calm && kind >= 60) {
        kind = choose(model, 8) == 0 ? choose(model, 100) : 0;
    }
    if (history_is_full(model)) {
        kind = 98;
    }
    if (kind < 50) {
        touch(model);
    } else if (kind < 82) {
        change(model);
        remember_all(model);
    } else if (kind < 90) {
        invalidate(model, choose(model, ADDRESSES));
    } else if (kind < 98) {
        set_root(model);
        if (choose(model, 8) == 0) {
            flush_all(model);
        } else {
            switch_root(model);
            switch_around(model);
        }
    } else if (kind < 99) {
        set_mode(model);
        flush_all(model);
    } else if (choose(model, 8) == 0) {
        shadow_forget(&model->shadow);
        flush_all(model);
    }
    check_flush(model);
}

/* A campaign: `tables` in the pool, leaves up to `largest`, and so many changes to the guest's empty tables. */
static void begin(struct model *model, uint32_t tables, enum page_level largest, uint32_t changes)
{
    if (model->arena == NULL) {
        model->arena =
            mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MODEL_CHECK(model->arena != MAP_FAILED);
    }
    model->recycled += model->shadow.recycled;
    model->kept += model->shadow.kept;
    memset(model->arena, 0, 0x1000 + shadow_bytes(tables));
    /* With a hole for devices, a range that no large leaf fits, and one for GiB leaves. */
    model->memory = (struct guest_memory){
        .ranges = {{gpa(0), hpa(0x40000000), 0x400000},
                   {gpa(0x600000), hpa(0x48001000), 0x203000},
                   {gpa(GIB), hpa(0x80000000), GIB + 0x600000}},
        .range_count = 3,
        .window = window(model),
    };
    memset((void *)(uintptr_t)(window(model) + 0x40000000), 0, (TABLE_PAGES + 1) * PAGE_BYTES);
    model->paging = (struct guest_paging){.cr0 = CR0_PG | CR0_WP,
                                          .cr3 = PAGE_BYTES,
                                          .cr4 = CR4_PAE,
                                          .efer = EFER_LMA | EFER_NXE,
                                          .physical_bits = PHYSICAL_BITS,
                                          .nx_supported = true,
                                          .gib_pages = true,
                                          .upper_bit8_reserved = true};
    shadow_init(&model->shadow, &model->memory, largest, window(model), hpa(POOL), tables, hpa(LOW_ROOT));
    model->calm = choose(model, 2) != 0;
    set_mode(model);
    choose_addresses(model);
    for (uint32_t i = 0; i < changes; i++) {
        change(model);
    }
    if (choose(model, 2) != 0) { /* all roots have the same tables below them, as those of a kernel's processes */
        uint8_t *pages = (uint8_t *)(uintptr_t)(window(model) + 0x40000000);

        for (uint32_t root = 2; root <= ROOTS; root++) {
            memcpy(pages + root * PAGE_BYTES, pages + PAGE_BYTES, PAGE_BYTES);
        }
    }
    flush_all(model);
}

#endif
