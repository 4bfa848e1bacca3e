/* SPDX-License-Identifier: MIT */
/*
 * The shadow tables of a vCPU. See shadow.h for the promise.
 *
 * A table translates one aligned piece of linear addresses, and is made of one of the guest's tables (or of half or a
 * quarter of one: 32-bit tables have 1024 entries), or of nothing but a contiguous piece of guest-physical memory
 * (SHADOW_DIRECT: the guest has a larger leaf than RAM allows, or no paging). Both stand in its name, and with them
 * what the guest's upper entries allow and the paging mode, so a table can be linked wherever its name is asked for.
 * Links allow everything, the leaf decides.
 *
 *   place    63                         12 11   4  3 2  0        source   63              10   2  1  0
 *           +-----------------------------+------+--+----+               +------------------+--+--+--+
 *           | linear address              | mode |D | L  |               | host pointer     |U |W |F |   F: fetch
 *           +-----------------------------+------+--+----+               +------------------+--+--+--+
 *
 * Epochs. A flush of the guest's begins a new epoch, in which no table is good. The root, and later each table that a
 * fault needs, is made good before it is linked: its leaves and links are compared with the guest's entries as they
 * were when they were made (seen[]), and what is not the same goes. A link stays with the table below it, which is made
 * good in the same go, as far as that may take. So in the present epoch what can be reached from the root is a tree in
 * which each table has one parent, and INVLPG finds an address on the only way that leads to it. A fault whose leaf's
 * table is in the tree already needs no more of the way: it has its name, whatever became of the upper entries.
 *
 * Global pages. A table that has nothing but global pages below it, and is linked by the root or by such a table again,
 * is of the epoch of global pages, which goes on where CR3 alone is written: shadow_switch() links from the new root
 * what the old one has of them, without a look at it. A table with other pages is `mixed` until it is empty, and so are
 * all above it; what is global below it is of the common epoch. So what stays are whole trees, from the root down.
 *
 * Trees that are remembered. What was reached from a root stays as it is while another one is in use: its tables have
 * the epoch that it had. A switch back to it makes that epoch the present one again, in place of a new one, if nothing
 * of the tree has changed: what was put in would have ended its list, and so would a table that was taken out; the
 * guest's entries that it was made of, all that are not below a global table, are compared with the list; the root has
 * all links to global tables if the count of their changes is as it was. A table that another tree takes ends the tree
 * that had it alone (take_from_tree), and is `shared` from then on: lists say so, a switch sees by its version whether
 * it is as it was, and its place is noted again before anything else changes (settle). Global tables below a root have
 * no parent of their own (SHADOW_ANY_ROOT): it is the root in use.
 *
 * Reading ahead. A fill puts in pages beside its own, and links a table with the pages that it has from before, all
 * without the accessed bit, which the CPU sets where it uses one: the only thing that it writes here. When a tree gets
 * its list, those without go.
 *
 * Recycling. A clock's hand goes over the tables and takes the first that was not used since it came by, is not on the
 * way of the fill in progress, and links to nothing in this epoch. There always is one: a tree has leaves.
 */
#include "hv/mm/shadow.h"

#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/mm/page_table_formats.h"

#define PLACE_LEVEL 7ULL
#define PLACE_DIRECT 8ULL
#define PLACE_MODE_SHIFT 4u
#define PLACE_LINEAR (~0xfffULL)

#define SOURCE_FETCH 1ULL
#define SOURCE_WRITE GUEST_WAY_WRITE
#define SOURCE_USER GUEST_WAY_USER
#define SOURCE_RIGHTS 7ULL
#define SOURCE_DIRTY 8ULL /* direct tables: the guest's leaf is dirty, which a write with CR0.WP clear needs, too */

#define GUEST_GLOBAL (1ULL << 8) /* in a leaf, with CR4.PGE. SDM 3A 4.10.2.4 "Global Pages" */

/* What of the guest's control registers changes the meaning of its entries or of ours. */
#define MODE_PAGING 0x01u
#define MODE_PAE 0x02u
#define MODE_LONG 0x04u
#define MODE_LA57 0x08u
#define MODE_PSE 0x10u
#define MODE_WP 0x20u
#define MODE_SMEP 0x40u
#define MODE_NXE 0x80u
_Static_assert(MODE_NXE << PLACE_MODE_SHIFT <= ~PLACE_LINEAR, "the mode fits below the address");

#define LEVELS_PAE 3u
#define ROOT_LOW SHADOW_ROOT_LOW
#define BLOCK 16u /* entries, aligned, of which those beside a filled one are looked at, too */
_Static_assert(64 % BLOCK == 0, "a block has its bits in one word");
#define PAGE_FLAGS 0xfffULL

/* What one flush or one fill makes good at most: the work of some 10,000 instructions. */
#define RELINK_TABLES 32u
#define RELINK_ENTRIES 2048u

#define RUN_MIN 32u /* entries in a row, from which on they are cheaper to compare as a run */

static struct shadow_table *row_of(const struct shadow *shadow, uint32_t table)
{
    return &shadow->rows[table];
}

static unsigned level_of(const struct shadow_table *row)
{
    return (unsigned)(row->place & PLACE_LEVEL);
}

static uint64_t address_of(const struct shadow *shadow, uint32_t table)
{
    return shadow_table_address(shadow, table);
}

static uint64_t *entries_of(const struct shadow *shadow, uint32_t table)
{
    return (uint64_t *)(uintptr_t)(shadow->window + address_of(shadow, table));
}

/* The table that an entry links to. */
static uint32_t child_of(const struct shadow *shadow, uint64_t entry)
{
    return (uint32_t)(((entry & ADDRESS_MASK) - shadow->tables) / PAGE_BYTES);
}

static uint64_t *seen_of(const struct shadow *shadow, uint32_t table)
{
    return &shadow->seen[(uint64_t)table * ENTRIES_PER_TABLE];
}

static bool is_link(const struct shadow_table *row, uint64_t entry)
{
    return level_of(row) != 0 && (entry & X86_LARGE) == 0;
}

/* Two entries of ours come of one of the guest's: 32-bit paging's 4 MiB. Not for direct tables. */
static bool is_paired(const struct shadow_table *row)
{
    return level_of(row) == LEVEL_2M && (row->place & MODE_PAE << PLACE_MODE_SHIFT) == 0;
}

/* The guest's entry that entry `index` of a table is made of, as it is now. */
static uint64_t guest_entry(const struct shadow_table *row, uint32_t index)
{
    uint64_t from = row->source & ~SOURCE_RIGHTS;
    bool wide = (row->place & MODE_PAE << PLACE_MODE_SHIFT) != 0;

    if (wide) {
        return __atomic_load_n((const uint64_t *)(uintptr_t)from + index, __ATOMIC_RELAXED);
    }
    return __atomic_load_n((const uint32_t *)(uintptr_t)from + (is_paired(row) ? index / 2 : index), __ATOMIC_RELAXED);
}

/* Can it be reached from the root? */
static bool is_in_tree(const struct shadow *shadow, const struct shadow_table *row)
{
    return row->epoch == shadow->epoch || row->epoch == shadow->global_epoch;
}

static uint32_t tree_index(const struct shadow *shadow, const struct shadow_tree *tree)
{
    return (uint32_t)(tree - shadow->trees);
}

/* It is not to be used again. */
static void end_tree(struct shadow_tree *tree)
{
    tree->epoch = 0;
    tree->state = SHADOW_TREE_CHANGES;
}

/* Another tree takes a table. What can be reached from the root of the one that had it alone is not known any more; the
 * lists that are made from now on say that it is shared. */
static void take_from_tree(struct shadow *shadow, struct shadow_table *row)
{
    struct shadow_tree *tree = &shadow->trees[row->tree];

    if (!row->shared && row->epoch != 0 && tree->epoch == row->epoch) {
        DEBUG_CHECK(tree != shadow->tree); /* it is not in the tree in use */
        end_tree(tree);
        row->shared = true;
    }
}

static void join_tree(struct shadow *shadow, struct shadow_table *row, uint64_t epoch)
{
    row->epoch = epoch;
    row->tree = (uint8_t)tree_index(shadow, shadow->tree);
}

static uint32_t parent_of(const struct shadow *shadow, const struct shadow_table *row)
{
    return row->parent == SHADOW_ANY_ROOT ? shadow->root : row->parent;
}

/* What a table of this epoch is linked by. Global ones are linked by whatever root is in use. */
static void set_parent(const struct shadow *shadow, struct shadow_table *row, uint32_t parent, uint32_t index)
{
    bool any = parent == shadow->root && row->epoch == shadow->global_epoch;

    row->parent = any ? SHADOW_ANY_ROOT : (uint16_t)parent;
    row->index = (uint16_t)index;
}

/* The root in use links to a global table that it did not link to, or no longer does. */
static void globals_changed(struct shadow *shadow)
{
    shadow->globals++;
    shadow->tree->globals = shadow->globals;
}

/* The epoch of a table that is linked by `parent`: that of global pages where neither has others below it. */
static uint64_t epoch_below(const struct shadow *shadow, uint32_t parent, const struct shadow_table *row)
{
    bool global = shadow->global_pages && !row->mixed &&
                  (parent == shadow->root || row_of(shadow, parent)->epoch == shadow->global_epoch);

    return global ? shadow->global_epoch : shadow->epoch;
}

/* --- entries --- */

/* The trees that have it, too, must see it before they are used again. */
static void count_change(struct shadow *shadow, struct shadow_table *row)
{
    row->version++;
    shadow->shared_changes += row->shared;
}

static void put(struct shadow *shadow, uint32_t table, uint32_t index, uint64_t entry, uint64_t seen)
{
    struct shadow_table *row = row_of(shadow, table);
    uint64_t *word = &row->used[index / 64];

    entries_of(shadow, table)[index] = entry;
    row->present += (*word >> (index % 64) & 1) == 0 ? 1 : 0;
    *word |= 1ULL << (index % 64);
    row->words |= (uint8_t)(1u << index / 64);
    if (table != ROOT_LOW) {
        seen_of(shadow, table)[index] = seen;
    }
    count_change(shadow, row);
    if (row->epoch != shadow->global_epoch) {
        shadow->tree->state = SHADOW_TREE_CHANGES;
    }
}

/* A table left the tree, and with it all below it: none of them is good any more. */
static void unlink_below(struct shadow *shadow, uint32_t table)
{
    const struct shadow_table *top = row_of(shadow, table);
    uint64_t piece = ~((1ULL << level_shift(level_of(top) + 1)) - 1);

    for (uint32_t i = 1; i < shadow->count && top->links != 0; i++) {
        struct shadow_table *row = row_of(shadow, i);

        if (is_in_tree(shadow, row) && level_of(row) < level_of(top) && ((row->place ^ top->place) & piece) == 0) {
            row->epoch = 0;
        }
    }
}

static void drop(struct shadow *shadow, uint32_t table, uint32_t index)
{
    struct shadow_table *row = row_of(shadow, table);
    uint64_t *entry = &entries_of(shadow, table)[index];

    if (is_link(row, *entry)) {
        uint32_t child = child_of(shadow, *entry);

        unlink_below(shadow, child);
        if (table == shadow->root && row_of(shadow, child)->epoch == shadow->global_epoch) {
            globals_changed(shadow);
        }
        row_of(shadow, child)->epoch = 0;
        row->links--;
        shadow->tree->state = SHADOW_TREE_CHANGES; /* else settle() would have the child in the tree again */
    }
    *entry = 0;
    shadow->removals++;
    count_change(shadow, row);
    row->present--;
    row->used[index / 64] &= ~(1ULL << (index % 64));
    shadow->flush = true;
}

/* A page that is not global comes below this table: it and what is below it end with this epoch. */
static void make_mixed(struct shadow *shadow, uint32_t table)
{
    struct shadow_table *top = row_of(shadow, table);
    uint64_t piece = ~((1ULL << level_shift(level_of(top) + 1)) - 1);
    bool global = top->epoch == shadow->global_epoch;

    top->mixed = true;
    if (!global) {
        return;
    }
    join_tree(shadow, top, shadow->epoch);
    shadow->tree->state = SHADOW_TREE_CHANGES;
    if (top->parent == SHADOW_ANY_ROOT) {
        top->parent = (uint16_t)shadow->root;
        globals_changed(shadow);
    }
    for (uint32_t i = 1; i < shadow->count && top->links != 0; i++) {
        struct shadow_table *row = row_of(shadow, i);

        if (row->epoch == shadow->global_epoch && level_of(row) < level_of(top) &&
            ((row->place ^ top->place) & piece) == 0) {
            join_tree(shadow, row, shadow->epoch);
        }
    }
}

/* The name that the table below a link has, by the guest's entry that the link was made of. For a direct table it is
 * the guest's leaf, or nothing but the table above. */
static void name_below(const struct shadow *shadow, const struct shadow_table *row, uint32_t index, uint64_t seen,
                       uint64_t *place, uint64_t *source)
{
    uint64_t piece = 1ULL << level_shift(level_of(row));
    uint64_t rights = (seen & (SOURCE_WRITE | SOURCE_USER)) | ((seen & X86_NO_EXECUTE) != 0 ? 0 : SOURCE_FETCH);

    *place = row->place + index * piece - 1;
    if ((row->place & PLACE_DIRECT) != 0) {
        *source = row->source + index * piece;
    } else if ((seen & X86_LARGE) != 0) {
        *place |= PLACE_DIRECT;
        *source = (seen & ADDRESS_MASK & ~(piece - 1)) | (rights & row->source & SOURCE_RIGHTS);
        *source = (seen & X86_DIRTY) != 0 ? *source | SOURCE_DIRTY : *source & ~SOURCE_WRITE;
    } else {
        *source = (uint64_t)(uintptr_t)guest_memory_pointer(shadow->memory, gpa(seen & ADDRESS_MASK), PAGE_BYTES) |
                  (rights & row->source & SOURCE_RIGHTS);
    }
}

/*
 * A link of an older epoch may stay where the guest's entry is as it was and the table below still has the name that
 * follows from it: a CPU could have walked there by itself since the flush. The table that was linked here last, and
 * nowhere else since, has it. Not for 32-bit paging, where two links come of one entry.
 */
static bool may_stay(const struct shadow *shadow, uint32_t table, uint32_t index, const struct shadow_table *below)
{
    const struct shadow_table *row = row_of(shadow, table);
    uint64_t seen = seen_of(shadow, table)[index];
    uint64_t place;
    uint64_t source;

    if (is_in_tree(shadow, below)) {
        return false;
    }
    if ((row->place & PLACE_DIRECT) == 0 &&
        ((row->place & MODE_PAE << PLACE_MODE_SHIFT) == 0 || seen == 0 || guest_entry(row, index) != seen)) {
        return false;
    }
    if (below->parent == table) { /* which has one link to it */
        DEBUG_CHECK_OP(below->index, ==, index);
        return true;
    }
    name_below(shadow, row, index, seen, &place, &source);
    return below->place == place && below->source == source;
}

/* Tables whose turn to be made good has come, in one go. */
struct relinking {
    uint32_t tables[RELINK_TABLES];
    uint32_t count;
    uint32_t entries; /* that may be looked at still */
};

__attribute__((noinline)) static bool keep_link(struct shadow *shadow, uint32_t table, uint32_t index,
                                                struct relinking *relinking)
{
    struct shadow_table *row = row_of(shadow, table);
    uint32_t child = child_of(shadow, entries_of(shadow, table)[index]);
    struct shadow_table *below = row_of(shadow, child);

    if (below->epoch == shadow->global_epoch && parent_of(shadow, below) == table && below->index == index) {
        row->links++; /* shadow_switch() has put it here, or it was here */
        return true;
    }
    DEBUG_CHECK(table != ROOT_LOW); /* which is empty after each flush */
    if (relinking->count == RELINK_TABLES || below->present > relinking->entries ||
        (below->mixed && row->epoch == shadow->global_epoch) || !may_stay(shadow, table, index, below)) {
        return false;
    }
    relinking->entries -= below->present;
    relinking->tables[relinking->count++] = child;
    take_from_tree(shadow, below);
    join_tree(shadow, below, epoch_below(shadow, table, below));
    set_parent(shadow, below, table, index);
    if (below->parent == SHADOW_ANY_ROOT) {
        globals_changed(shadow);
    }
    row->links++;
    return true;
}

/* Is any of a few entries not what it was? */
static inline bool few_differ(const uint64_t *guest, const uint64_t *seen, uint32_t count)
{
#pragma clang loop unroll(full)
    for (uint32_t i = 0; i < count; i++) {
        if (__atomic_load_n(&guest[i], __ATOMIC_RELAXED) != seen[i]) {
            return true;
        }
    }
    return false;
}

/* The same of any number: eight at a time, and with few registers, which makes a switch cheap. */
static inline bool differ(const uint64_t *guest, const uint64_t *seen, uint32_t count)
{
    for (; count >= 8; count -= 8, guest += 8, seen += 8) {
        if (few_differ(guest, seen, 8)) {
            return true;
        }
    }
    return count != 0 && (((count & 4) != 0 && few_differ(guest, seen, 4)) ||
                          ((count & 2) != 0 && few_differ(guest + (count & 4), seen + (count & 4), 2)) ||
                          ((count & 1) != 0 && few_differ(guest + count - 1, seen + count - 1, 1)));
}

/* Which of 64 entries, of those in `used`, are not what they were. Often they are one run. */
static uint64_t changed_entries(const uint64_t *guest, const uint64_t *seen, uint64_t used)
{
    uint32_t first = used == 0 ? 0 : (uint32_t)__builtin_ctzll(used);
    uint64_t run = used >> first;
    uint64_t differs = 0;

    if (used == 0 ||
        ((run & (run + 1)) == 0 && !differ(guest + first, seen + first, 64 - (uint32_t)__builtin_clzll(run)))) {
        return 0;
    }
    for (uint64_t left = used; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(left);

        if (__builtin_expect(__atomic_load_n(&guest[i], __ATOMIC_RELAXED) != seen[i], 0)) {
            differs |= left & -left;
        }
    }
    return differs;
}

/* Takes out the entries of a word that are not good. */
static void clear_entries(struct shadow *shadow, uint32_t table, uint32_t word, uint64_t gone)
{
    struct shadow_table *row = row_of(shadow, table);

    shadow->removals++;
    count_change(shadow, row);
    row->used[word] &= ~gone;
    row->words &= (uint8_t) ~(row->used[word] == 0 ? 1u << word : 0);
    for (; gone != 0; gone &= gone - 1) {
        entries_of(shadow, table)[word * 64 + (uint32_t)__builtin_ctzll(gone)] = 0;
        row->present--;
    }
}

/* A table of 4 KiB pages with entries of 8 bytes: most are. */
static void check_pages(struct shadow *shadow, uint32_t table)
{
    const struct shadow_table *row = row_of(shadow, table);
    const uint64_t *guest = (const uint64_t *)(uintptr_t)(row->source & ~SOURCE_RIGHTS);
    const uint64_t *seen = seen_of(shadow, table);

    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);
        uint64_t gone = changed_entries(guest + word * 64, seen + word * 64, row->used[word]);

        if (gone != 0) {
            clear_entries(shadow, table, word, gone);
        }
    }
}

/* A table of links and large pages with entries of 8 bytes. What is here itself is keep_link() for a link that nothing
 * has happened to, which a switch is mostly about. One with nothing seen came with the global pages of a root that is
 * outside of RAM; since then it may have become a link to others. */
__attribute__((noinline)) static void check_links(struct shadow *shadow, uint32_t table, struct relinking *relinking)
{
    struct shadow_table *row = row_of(shadow, table);
    const uint64_t *entries = entries_of(shadow, table);
    const uint64_t *guest = (const uint64_t *)(uintptr_t)(row->source & ~SOURCE_RIGHTS);
    const uint64_t *seen = seen_of(shadow, table);

    row->links = 0;
    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);
        uint64_t gone = 0;

        for (uint64_t left = row->used[word]; left != 0; left &= left - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);
            bool same = seen[index] != 0 && __atomic_load_n(&guest[index], __ATOMIC_RELAXED) == seen[index];
            uint32_t child = child_of(shadow, entries[index]);
            struct shadow_table *below = row_of(shadow, child);

            if ((entries[index] & X86_LARGE) != 0) {
                gone |= same ? 0 : left & -left;
            } else if (same && below->parent == table && below->mixed && row->epoch == shadow->epoch &&
                       below->present <= relinking->entries && relinking->count < RELINK_TABLES) {
                DEBUG_CHECK(below->index == index && !is_in_tree(shadow, below)); /* `table` has just come itself */
                relinking->entries -= below->present;
                relinking->tables[relinking->count++] = child;
                take_from_tree(shadow, below);
                join_tree(shadow, below, shadow->epoch);
                row->links++;
            } else if (!keep_link(shadow, table, index, relinking)) {
                gone |= left & -left;
            }
        }
        if (gone != 0) {
            clear_entries(shadow, table, word, gone);
        }
    }
}

/* Any other. */
static void check_others(struct shadow *shadow, uint32_t table, struct relinking *relinking)
{
    struct shadow_table *row = row_of(shadow, table);
    const uint64_t *entries = entries_of(shadow, table);
    bool direct = (row->place & PLACE_DIRECT) != 0;

    row->links = 0;
    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);
        uint64_t gone = 0;

        for (uint64_t left = row->used[word]; left != 0; left &= left - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);
            bool good = is_link(row, entries[index])
                            ? keep_link(shadow, table, index, relinking)
                            : direct || guest_entry(row, index) == seen_of(shadow, table)[index];

            gone |= good ? 0 : left & -left;
        }
        if (gone != 0) {
            clear_entries(shadow, table, word, gone);
        }
    }
}

/* Everything in it goes. What is below has left the tree before. */
static void make_empty(struct shadow *shadow, uint32_t table)
{
    struct shadow_table *row = row_of(shadow, table);

    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);

        clear_entries(shadow, table, word, row->used[word]);
    }
    row->links = 0;
    row->mixed = false;
    row->forced = false;
}

/* One table: of its leaves what is not as the guest's entries say now goes, and what links cannot stay. In a direct
 * one without links all is good. */
static void check_entries(struct shadow *shadow, uint32_t table, struct relinking *relinking)
{
    const struct shadow_table *row = row_of(shadow, table);
    bool pages = level_of(row) == LEVEL_4K;
    bool direct = (row->place & PLACE_DIRECT) != 0;
    bool wide = (row->place & MODE_PAE << PLACE_MODE_SHIFT) != 0 && (row->source & ~SOURCE_RIGHTS) != 0;

    if (row->forced) {
        make_empty(shadow, table);
    }
    if (pages && direct) {
        return;
    }
    if (direct || !wide) {
        check_others(shadow, table, relinking);
    } else if (pages) {
        check_pages(shadow, table);
    } else {
        check_links(shadow, table, relinking);
    }
}

/* Makes the entries of a table of an older epoch good, and those of the tables below it whose links stay. */
static void make_good(struct shadow *shadow, uint32_t table, struct relinking *relinking)
{
    relinking->tables[0] = table;
    relinking->count = 1;
    relinking->entries = RELINK_ENTRIES;
    for (uint32_t i = 0; i < relinking->count; i++) {
        check_entries(shadow, relinking->tables[i], relinking);
    }
}

/* --- the pool --- */

static uint16_t *head_of(const struct shadow *shadow, uint64_t place, uint64_t source)
{
    uint64_t hash = (place ^ source * 0x9e3779b97f4a7c15ULL) * 0x9e3779b97f4a7c15ULL;

    return &shadow->heads[(hash >> 32) * shadow->count >> 32];
}

static void forget_name(struct shadow *shadow, uint32_t table)
{
    struct shadow_table *row = row_of(shadow, table);
    uint16_t *at = head_of(shadow, row->place, row->source);

    while (*at != 0 && *at != table) {
        at = &row_of(shadow, *at)->next;
    }
    *at = *at == 0 ? 0 : row->next; /* one that never had a name is in no chain */
}

static uint32_t choose_victim(struct shadow *shadow)
{
    for (uint32_t steps = 0;; steps++) {
        struct shadow_table *row;

        CHECK_OP(steps, <, 2 * shadow->count); /* a tree has leaves, and they are more than the way of one fill */
        shadow->hand = shadow->hand + 1 < shadow->count ? shadow->hand + 1 : 1;
        row = row_of(shadow, shadow->hand);
        if (row->pinned == shadow->fills || (is_in_tree(shadow, row) && row->links != 0)) {
            continue;
        }
        if (!row->referenced) {
            return shadow->hand;
        }
        row->referenced = false;
    }
}

/* The table that has a name; 0: there is none. */
static uint32_t look_up(const struct shadow *shadow, uint64_t place, uint64_t source, const uint16_t *head)
{
    uint32_t table = *head;

    while (table != 0 && (row_of(shadow, table)->place != place || row_of(shadow, table)->source != source)) {
        table = row_of(shadow, table)->next;
    }
    return table;
}

/* A table by its name, whatever its entries are; one that is not there is taken from another use and is empty. */
static uint32_t find_name(struct shadow *shadow, uint64_t place, uint64_t source)
{
    uint16_t *head = head_of(shadow, place, source);
    struct shadow_table *row;
    uint32_t table = look_up(shadow, place, source, head);

    if (table == 0) {
        table = choose_victim(shadow);
        row = row_of(shadow, table);
        if (is_in_tree(shadow, row)) {
            uint32_t parent = parent_of(shadow, row);

            CHECK_OP(child_of(shadow, entries_of(shadow, parent)[row->index]), ==, table);
            drop(shadow, parent, row->index);
        }
        take_from_tree(shadow, row);
        row->epoch = 0;
        count_change(shadow, row);
        row->shared = false;
        shadow->recycled += row->place != 0 ? 1 : 0;
        make_empty(shadow, table);
        forget_name(shadow, table);
        row->place = place;
        row->source = source;
        row->parent = ROOT_LOW; /* whose links never stay */
        row->index = 0;
        row->next = *head;
        *head = (uint16_t)table;
    }
    row = row_of(shadow, table);
    row->referenced = true;
    row->pinned = shadow->fills;
    return table;
}

/* The pages of a table that comes into a tree count as read ahead: those of a process that is gone are as good. */
static void begin_unused(struct shadow *shadow, uint32_t table)
{
    const struct shadow_table *row = row_of(shadow, table);
    uint64_t *entries = entries_of(shadow, table);

    if (level_of(row) != LEVEL_4K || (row->place & PLACE_DIRECT) != 0) {
        return;
    }
    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);

        for (uint64_t left = row->used[word]; left != 0; left &= left - 1) {
            entries[word * 64 + (uint32_t)__builtin_ctzll(left)] &= ~X86_ACCESSED;
        }
    }
}

/* The same with good entries, to be linked by `parent`. */
static uint32_t find_table(struct shadow *shadow, uint64_t place, uint64_t source, uint32_t parent)
{
    uint32_t table = find_name(shadow, place, source);
    struct shadow_table *row = row_of(shadow, table);
    struct relinking relinking;

    DEBUG_CHECK(!is_in_tree(shadow, row)); /* what was linked for its addresses has gone with all below it */
    take_from_tree(shadow, row);
    if (row->forced) {
        make_empty(shadow, table); /* before its epoch is chosen: then it has no other pages than global ones */
    }
    join_tree(shadow, row, epoch_below(shadow, parent, row));
    make_good(shadow, table, &relinking);
    for (uint32_t i = 0; i < relinking.count; i++) {
        begin_unused(shadow, relinking.tables[i]);
    }
    return table;
}

/*
 * Before anything is changed in a tree that was used again: what other trees have, too, is this one's. No such table is
 * a global one now. Its way in this tree has none above it, and while the root links to the same global tables
 * (tree->globals) no tree has another way for these addresses.
 */
static inline void settle(struct shadow *shadow)
{
    const struct shadow_tree *tree = shadow->tree;

    if (!shadow->unsettled) {
        return;
    }
    shadow->unsettled = false;
    for (uint32_t i = 0; i < tree->shares; i++) {
        const struct shadow_share *share = &tree->list->shares[i];

        share->row->epoch = tree->epoch;
        share->row->parent = share->parent;
    }
}

/* --- a fill --- */

/* The next walk is a whole one. */
static inline void forget_way(struct shadow *shadow)
{
    shadow->way_piece = SHADOW_NO_WAY;
    shadow->way_table = 0;
}

/* The bits of a linear address that take part. */
static uint64_t linear_mask(const struct shadow *shadow)
{
    return shadow->levels == LEVELS_PAE ? UINT32_MAX : (1ULL << level_shift(shadow->levels)) - 1;
}

struct fill {
    struct shadow *shadow;
    const struct guest_paging *paging;
    const struct guest_way *way;
    uint64_t linear;
    uint64_t address; /* guest-physical */
    enum guest_access access;
    bool global; /* the page is one, where CR4.PGE is set */
};

static uint64_t source_rights(uint64_t rights)
{
    return (rights & (SOURCE_WRITE | SOURCE_USER)) | ((rights & GUEST_WAY_FETCH) != 0 ? SOURCE_FETCH : 0);
}

/* What all of the guest's entries allow, and no write before the leaf is dirty. */
static uint64_t leaf_rights(const struct guest_way *way)
{
    return way->rights[way->leaf_level] & (way->dirty ? ~0ULL : ~GUEST_WAY_WRITE);
}

/* Is a table of `level` on the way below the guest's leaf? Its entries of 4 MiB pages are at level 1. */
static bool is_direct(const struct guest_way *way, unsigned level)
{
    return way->levels == 0 || way->leaf_level > level;
}

/* The name of the table of `level` on the way. */
static void name_of(const struct fill *fill, unsigned level, uint64_t *place, uint64_t *source)
{
    const struct guest_way *way = fill->way;
    uint64_t piece = 1ULL << level_shift(level + 1);
    uint64_t bytes = PAGE_BYTES; /* of the guest's entries */

    *place = (fill->linear & ~(piece - 1)) | fill->shadow->mode << PLACE_MODE_SHIFT | level;
    if (is_direct(way, level)) {
        *place |= PLACE_DIRECT;
        *source = (fill->address & ~(piece - 1)) | source_rights(way->levels == 0 ? GUEST_WAY_ALL : leaf_rights(way));
        *source |= way->levels != 0 && way->dirty ? SOURCE_DIRTY : 0;
        return;
    }
    if (way->entry_bytes == 4) {
        bytes = level == LEVEL_4K ? PAGE_BYTES / 2 : PAGE_BYTES / 4;
    }
    *source = ((uint64_t)(uintptr_t)way->slots[level] & ~(bytes - 1)) | source_rights(way->rights[level + 1]);
}

/* The RAM that a leaf of `level` around the address would show; 0: not all of it is there in one piece. */
static uint64_t ram_of(const struct guest_memory *memory, uint64_t address, unsigned level)
{
    uint64_t bytes = level_bytes(level);
    uint64_t start = address & ~(bytes - 1);

    for (uint32_t i = 0; i < memory->range_count; i++) {
        const struct guest_range *range = &memory->ranges[i];
        uint64_t offset = start - range->start.value;

        if (offset < range->bytes && bytes <= range->bytes - offset) {
            uint64_t host = range->backing.value + offset;

            return is_aligned(host, bytes) ? host : 0;
        }
    }
    return 0;
}

/* The largest leaf that the guest's, RAM and the CPU allow, and the memory that it shows, of which the 4 KiB around the
 * address are at *host. */
static unsigned leaf_level(const struct fill *fill, uint64_t *host)
{
    const struct guest_way *way = fill->way;
    unsigned level = way->levels == 0 ? LEVEL_2M : way->leaf_level;

    level = (unsigned)min_u64(level, fill->shadow->levels == LEVELS_PAE ? LEVEL_2M : LEVEL_1G);
    level = (unsigned)min_u64(level, (unsigned)fill->shadow->largest);
    for (; level != 0; level--) {
        uint64_t larger = ram_of(fill->shadow->memory, fill->address, level);

        if (larger != 0) {
            *host = larger;
            break;
        }
    }
    return level;
}

/* Write-back memory, whose index is 0. format_encode() gives the same; this is the one that runs at every fill, and
 * tests/unit/test_shadow.c compares. */
static uint64_t make_leaf(uint64_t host, uint64_t rights, bool large)
{
    return host | X86_PRESENT | X86_ACCESSED | X86_DIRTY | (rights & (GUEST_WAY_WRITE | GUEST_WAY_USER)) |
           ((rights & GUEST_WAY_FETCH) != 0 ? 0 : X86_NO_EXECUTE) | (large ? X86_LARGE : 0);
}
_Static_assert(GUEST_WAY_WRITE == X86_WRITE && GUEST_WAY_USER == X86_USER && GUEST_WAY_FETCH == X86_NO_EXECUTE,
               "rights stand where they do in an entry");
_Static_assert((PAGE_TABLE_HOST_PAT & 0xff) == 6, "PAT entry 0 is write-back");

/*
 * With CR0.WP clear supervisor code may write where no entry allows it, and there is no such right in an entry while it
 * is set: the page becomes a supervisor's, until a user touches it, and at the latest until the next flush. SMEP would
 * forbid to run a user's page.
 */
static bool is_forced(const struct fill *fill)
{
    return fill->access == GUEST_WRITE && fill->way->levels != 0 && (leaf_rights(fill->way) & GUEST_WAY_WRITE) == 0;
}

static uint64_t rights_of(const struct fill *fill)
{
    const struct guest_paging *paging = fill->paging;
    uint64_t rights = fill->way->levels == 0 ? GUEST_WAY_ALL : leaf_rights(fill->way);

    if (is_forced(fill)) {
        rights = (rights | GUEST_WAY_WRITE) & ~GUEST_WAY_USER;
        rights &= (paging->cr4 & CR4_SMEP) != 0 && (fill->way->rights[fill->way->leaf_level] & GUEST_WAY_USER) != 0
                      ? ~GUEST_WAY_FETCH
                      : ~0ULL;
    }
    return rights;
}

/* What is filled beside a page: entries that differ from its own in nothing but address and dirty bit. */
struct neighbours {
    const struct guest_range *range; /* RAM that has the page; of others none is filled */
    const uint8_t *guest;            /* the page's entry */
    uint64_t *entries, *seen;        /* the table's */
    uint64_t used;                   /* of the 64 entries around */
    uint64_t like, differs;          /* the page's entry, and which bits are the same */
    uint64_t addresses;
    uint64_t clean, dirty; /* a leaf without its address */
    uint32_t index;        /* of the page */
    bool wide;             /* the guest's entries have 8 bytes */
};

/* The guest's entry so many behind one of a way. */
static inline uint64_t entry_behind(const uint8_t *slot, int64_t entries, bool wide)
{
    return wide ? __atomic_load_n((const uint64_t *)(const void *)slot + entries, __ATOMIC_RELAXED)
                : __atomic_load_n((const uint32_t *)(const void *)slot + entries, __ATOMIC_RELAXED);
}

/* From one entry on as far as they are alike, and none was there. Which were filled, as bits. RAM consists of whole
 * pages. */
static uint64_t fill_row(const struct neighbours *next, uint32_t from, uint32_t end, uint32_t step)
{
    uint64_t filled = 0;

    for (uint32_t i = from; i != end; i += step) {
        uint64_t entry = entry_behind(next->guest, (int64_t)i - next->index, next->wide);
        uint64_t offset = (entry & next->addresses) - next->range->start.value;

        if (((entry ^ next->like) & next->differs) != 0 || (next->used >> (i % 64) & 1) != 0 ||
            offset >= next->range->bytes) {
            break;
        }
        next->entries[i] =
            (next->range->backing.value + offset) | ((entry & X86_DIRTY) != 0 ? next->dirty : next->clean);
        next->seen[i] = entry;
        filled |= 1ULL << (i % 64);
    }
    return filled;
}

/* The RAM that an address is in, of which it is known that it is in one. */
static const struct guest_range *range_of(const struct guest_memory *memory, uint64_t address)
{
    uint32_t i = 0;

    while (address - memory->ranges[i].start.value >= memory->ranges[i].bytes) {
        i++;
        CHECK(i < GUEST_RANGES_MAX);
    }
    return &memory->ranges[i];
}

/*
 * The entries around the one that was filled, in its block: a CPU could have read them ahead, for they are accessed.
 * Ours are not, and show by that bit whether the CPU uses them.
 */
__attribute__((noinline)) static void fill_neighbours(const struct fill *fill, uint32_t table, uint32_t index)
{
    struct shadow_table *row = row_of(fill->shadow, table);
    uint64_t rights = fill->way->rights[0];
    uint32_t first = index & ~(BLOCK - 1);
    struct neighbours next = {
        .range = range_of(fill->shadow->memory, fill->address),
        .guest = fill->way->slots[0],
        .entries = entries_of(fill->shadow, table),
        .seen = seen_of(fill->shadow, table),
        .used = row->used[index / 64],
        .like = fill->way->entries[0],
        .addresses = (1ULL << fill->paging->physical_bits) - PAGE_BYTES,
        .clean = make_leaf(0, rights & ~GUEST_WAY_WRITE, false) & ~X86_ACCESSED,
        .dirty = make_leaf(0, rights, false) & ~X86_ACCESSED,
        .index = index,
        .wide = fill->way->entry_bytes == 8,
    };
    uint64_t filled;

    next.differs = ~(next.addresses | X86_DIRTY);
    filled = fill_row(&next, index + 1, first + BLOCK, 1) | fill_row(&next, index - 1, first - 1, UINT32_MAX);
    row->used[index / 64] |= filled;
    row->present = (uint16_t)(row->present + __builtin_popcountll(filled));
}

/* Is there one beside it that fill_neighbours() would fill? Mostly there is none: the guest has just made the page. */
static inline bool has_neighbours(const struct fill *fill, uint32_t table, uint32_t index)
{
    const struct guest_way *way = fill->way;
    uint64_t used = row_of(fill->shadow, table)->used[index / 64] >> (index & ~(BLOCK - 1)) % 64;
    uint64_t differs = ~(((1ULL << fill->paging->physical_bits) - PAGE_BYTES) | X86_DIRTY);
    uint32_t place = index % BLOCK;
    bool wide = way->entry_bytes == 8;

    return (place != BLOCK - 1 && (used >> place & 2) == 0 &&
            ((entry_behind(way->slots[0], 1, wide) ^ way->entries[0]) & differs) == 0) ||
           (place != 0 && (used << 1 >> place & 1) == 0 &&
            ((entry_behind(way->slots[0], -1, wide) ^ way->entries[0]) & differs) == 0);
}

/* Is the table that is linked here the one with this name? */
static bool is_linked(const struct shadow *shadow, uint64_t entry, uint64_t place, uint64_t source, uint32_t *child)
{
    *child = child_of(shadow, entry);
    return row_of(shadow, *child)->place == place && row_of(shadow, *child)->source == source;
}

/* A table that has had other pages is linked by this one. Each turn makes one more table other than global. */
static void make_mixed_upwards(struct shadow *shadow, uint32_t table)
{
    while (row_of(shadow, table)->epoch == shadow->global_epoch) {
        make_mixed(shadow, table);
        table = row_of(shadow, table)->parent;
    }
}

/* The table of the next level is on the way of a fill. */
static uint32_t step_into(const struct fill *fill, uint32_t child)
{
    struct shadow_table *row = row_of(fill->shadow, child);

    row->referenced = true;
    row->pinned = fill->shadow->fills;
    if (!fill->global && !row->mixed) {
        make_mixed(fill->shadow, child);
    }
    return child;
}

/* Links the table of the next level into entry `index`, if it is not what is linked there. Another one is taken out
 * before the new one is made good: both have tables below them for the same addresses. */
static uint32_t step_down(const struct fill *fill, uint32_t table, uint32_t index, bool *linked)
{
    struct shadow *shadow = fill->shadow;
    struct shadow_table *row = row_of(shadow, table);
    unsigned level = level_of(row);
    uint64_t link = table == ROOT_LOW ? X86_PRESENT : page_table_host4.link;
    uint64_t entry = entries_of(shadow, table)[index];
    uint64_t place;
    uint64_t source;
    uint32_t child;
    struct shadow_table *below;

    name_of(fill, level - 1, &place, &source);
    if (entry != 0 && is_link(row, entry) && is_linked(shadow, entry, place, source, &child)) {
        return step_into(fill, child);
    }
    if (entry != 0) {
        drop(shadow, table, index);
    }
    child = find_table(shadow, place, source, table);
    *linked = true;
    below = row_of(shadow, child);
    set_parent(shadow, below, table, index);
    if (below->parent == SHADOW_ANY_ROOT) {
        globals_changed(shadow);
    }
    row->links++;
    if (below->mixed) {
        make_mixed_upwards(shadow, table);
    }
    put(shadow, table, index, link | address_of(shadow, child),
        is_direct(fill->way, level) ? 0 : fill->way->entries[level]);
    shadow->flush |= table == ROOT_LOW; /* the CPU may have the top of 3 levels in registers */
    return step_into(fill, child);
}

/* The table of the leaf, with all links to it. One that is in the tree already has its name, and the way to it is one
 * that was gone in this epoch, whatever the guest's upper entries are by now. */
static uint32_t find_leaf_table(const struct fill *fill, unsigned leaf, bool *linked)
{
    struct shadow *shadow = fill->shadow;
    struct shadow_table *row;
    uint64_t place;
    uint64_t source;
    uint32_t table = shadow->way_table;

    row = row_of(shadow, table);
    if (table != 0 && (fill->global || row->mixed)) {
        DEBUG_CHECK(is_in_tree(shadow, row)); /* else the way was forgotten */
        row->referenced = true;
        return table;
    }
    name_of(fill, leaf, &place, &source);
    table = look_up(shadow, place, source, head_of(shadow, place, source));
    row = row_of(shadow, table);
    if (table != 0 && is_in_tree(shadow, row) && (fill->global || row->mixed)) {
        row->referenced = true;
        return table;
    }
    table = shadow->root;
    row_of(shadow, table)->pinned = shadow->fills;
    for (unsigned level = shadow->levels - 1u; level > leaf; level--) {
        table = step_down(fill, table, level_index(fill->linear, level), linked);
    }
    return table;
}

/* False: the access should have been let through as it was: no link was missing, and the leaf is as it is. */
static bool fill_in(const struct fill *fill, uint64_t host)
{
    struct shadow *shadow = fill->shadow;
    unsigned leaf = leaf_level(fill, &host);
    uint64_t entry = make_leaf(host, rights_of(fill), leaf != 0);
    bool linked = false;
    uint32_t table;
    uint64_t old;
    uint32_t index;

    settle(shadow);
    shadow->fills++;
    table = find_leaf_table(fill, leaf, &linked);
    shadow->way_table = table;
    index = level_index(fill->linear, leaf);
    old = entries_of(shadow, table)[index];
    old |= old != 0 ? X86_ACCESSED : 0;
    if (old == entry) {
        entries_of(shadow, table)[index] = entry;
        return linked;
    }
    if (old != 0 &&
        (old | X86_WRITE) != entry) { /* a right that is added needs no flush: a fault made the CPU forget */
        drop(shadow, table, index);
    }
    put(shadow, table, index, entry, is_direct(fill->way, leaf) ? 0 : fill->way->entries[leaf]);
    row_of(shadow, table)->forced |= is_forced(fill);
    if (leaf == 0 && !is_direct(fill->way, 0) && has_neighbours(fill, table, index)) {
        fill_neighbours(fill, table, index);
    }
    return true;
}

/* The guest's walk, whose way stays in shadow->way. Mostly the next one leads to the same last table. */
static enum guest_walk_result walk(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear,
                                   enum guest_access access, struct guest_translation *result)
{
    uint64_t piece = linear >> level_shift(LEVEL_2M);
    enum guest_walk_result walked;

    if (shadow->way_piece == piece && guest_walk_again(paging, linear, access, result, &shadow->way, &walked)) {
        return walked;
    }
    forget_way(shadow);
    walked = guest_walk_way(shadow->memory, paging, linear, access, result, &shadow->way);
    if (walked == GUEST_WALK_OK && shadow->way.levels > LEVELS_PAE && shadow->way.leaf_level == LEVEL_4K) {
        shadow->way_piece = piece;
    }
    return walked;
}

enum shadow_result shadow_fault(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear,
                                enum guest_access access, struct guest_translation *result)
{
    const struct guest_way *way = &shadow->way;
    struct fill fill = {.shadow = shadow, .paging = paging, .way = way, .linear = linear, .access = access};
    struct guest_paging implicit;
    uint64_t host;
    enum guest_walk_result walked = walk(shadow, paging, linear, access, result);

    if (walked != GUEST_WALK_OK) {
        return walked == GUEST_WALK_FAULT ? SHADOW_GUEST_FAULT : SHADOW_BAD_TABLE;
    }
    fill.address = result->address.value;
    fill.global =
        (shadow->mode & MODE_LONG) != 0 && (way->entries[way->leaf_level] & GUEST_GLOBAL) != 0 && !is_forced(&fill);
    fill.linear &= linear_mask(shadow);
    host = ram_of(shadow->memory, fill.address, LEVEL_4K);
    if (host == 0) {
        return SHADOW_DEVICE;
    }
    if (fill_in(&fill, host) || paging->implicit_supervisor) {
        return SHADOW_FILLED;
    }
    shadow->flush = true;
    /* There already, and the CPU did not let it through: SMAP, and an access that RFLAGS.AC does not help. The fault
     * does not say which. SDM 3A 4.6.1. */
    implicit = *paging;
    implicit.implicit_supervisor = true;
    return paging->cpl != 3 && guest_walk(shadow->memory, &implicit, linear, access, result) == GUEST_WALK_FAULT
               ? SHADOW_GUEST_FAULT
               : SHADOW_FILLED;
}

/* --- flushes --- */

static uint32_t mode_of(const struct guest_paging *paging)
{
    if ((paging->cr0 & CR0_PG) == 0) {
        return 0;
    }
    return MODE_PAGING | ((paging->cr4 & CR4_PAE) != 0 ? MODE_PAE : 0) |
           ((paging->efer & EFER_LMA) != 0 ? MODE_LONG : 0) | ((paging->cr4 & CR4_LA57) != 0 ? MODE_LA57 : 0) |
           ((paging->cr4 & CR4_PSE) != 0 ? MODE_PSE : 0) | ((paging->cr0 & CR0_WP) != 0 ? MODE_WP : 0) |
           ((paging->cr4 & CR4_SMEP) != 0 ? MODE_SMEP : 0) | ((paging->efer & EFER_NXE) != 0 ? MODE_NXE : 0);
}

/* The root of 64-bit modes, as the guest's registers say; what is in it is not looked at. */
static uint32_t find_root(struct shadow *shadow, const struct guest_paging *paging)
{
    const void *table = guest_memory_pointer(shadow->memory, gpa(paging->cr3 & ADDRESS_MASK), PAGE_BYTES);

    return find_name(shadow, (uint64_t)shadow->mode << PLACE_MODE_SHIFT | (shadow->levels - 1u),
                     (uint64_t)(uintptr_t)table | SOURCE_RIGHTS); /* outside of RAM no walk gets beyond it */
}

static void begin_epoch(struct shadow *shadow, bool global)
{
    shadow->unsettled = false; /* what the old epoch shares is not of this one, whichever it was noted in */
    forget_way(shadow);
    shadow->global_epoch = global ? shadow->last_epoch + 1 : shadow->global_epoch;
    shadow->last_epoch += 2;
    shadow->epoch = shadow->last_epoch;
    shadow->fills++; /* no way of an older fill is pinned */
    shadow->flush = true;
}

/* --- trees that are remembered --- */

/* The two places where an address space may be remembered. */
static inline struct shadow_tree *tree_set(struct shadow *shadow, uint64_t cr3)
{
    uint32_t hash = (uint32_t)(cr3 >> PAGE_SHIFT) * 0x9e3779b1u;

    return &shadow->trees[2 * (hash >> (32 - SHADOW_TREE_SET_BITS))];
}

/* Where an address space is remembered, or will be, in place of the one of its set that was used less recently. */
static struct shadow_tree *find_tree(struct shadow *shadow, uint64_t cr3)
{
    struct shadow_tree *set = tree_set(shadow, cr3);

    if (set[0].cr3 == cr3) {
        return &set[0];
    }
    return set[1].cr3 == cr3 || set[1].used < set[0].used ? &set[1] : &set[0];
}

/* Are the tables of a listed tree that others have, too, as they were? Then the others' changes are known to it. */
static void look_at_shares(const struct shadow *shadow, struct shadow_tree *tree)
{
    const struct shadow_share *share = tree->list->shares;
    uint64_t differs = 0;

    for (uint32_t left = tree->shares; left != 0; left--, share++) {
        differs |= share->row->version ^ share->version;
    }
    tree->shared_changes = differs == 0 ? shadow->shared_changes : tree->shared_changes;
}

/* Entries in a row: a run, or each by itself where they are few, as long as half of the list is free. False: it is
 * full. */
static bool list_run(struct shadow *shadow, uint32_t table, uint32_t first, uint32_t count)
{
    struct shadow_tree *tree = shadow->tree;
    struct shadow_run *runs = tree->list->runs;
    const uint64_t *guest = (const uint64_t *)(uintptr_t)(row_of(shadow, table)->source & ~SOURCE_RIGHTS) + first;
    uint32_t left = (uint32_t)tree->first_run - tree->singles;
    uint32_t places = count < RUN_MIN && left > SHADOW_TREE_RUNS / 2 ? count : 1;

    if (left < places) {
        return false;
    }
    if (count != 1 && places == 1) {
        runs[--tree->first_run] =
            (struct shadow_run){.guest = guest, .seen = table * ENTRIES_PER_TABLE + first, .count = count};
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        runs[tree->singles++] = (struct shadow_run){.guest = &guest[i], .value = seen_of(shadow, table)[first + i]};
    }
    return true;
}

/* Is entry `index` one that the tree's list needs? Links to global tables are not compared. */
static bool is_listed(const struct shadow *shadow, uint32_t table, uint32_t index)
{
    const struct shadow_table *row = row_of(shadow, table);
    uint64_t entry = entries_of(shadow, table)[index];

    return !(is_link(row, entry) && row_of(shadow, child_of(shadow, entry))->epoch == shadow->global_epoch);
}

static bool list_table(struct shadow *shadow, uint32_t table)
{
    const struct shadow_table *row = row_of(shadow, table);
    uint32_t first = 0;
    uint32_t count = 0;

    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);

        for (uint64_t left = row->used[word]; left != 0; left &= left - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);

            if (!is_listed(shadow, table, index)) {
                continue;
            }
            if (count != 0 && first + count == index) {
                count++;
                continue;
            }
            if (count != 0 && !list_run(shadow, table, first, count)) {
                return false;
            }
            first = index;
            count = 1;
        }
    }
    return count == 0 || list_run(shadow, table, first, count);
}

/* Pages that were read ahead, and that the CPU has not used since, go: they would be compared at each switch. */
static void drop_unused(struct shadow *shadow, uint32_t table)
{
    const struct shadow_table *row = row_of(shadow, table);
    const uint64_t *entries = entries_of(shadow, table);

    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);
        uint64_t unused = 0;

        for (uint64_t left = row->used[word]; left != 0; left &= left - 1) {
            uint64_t entry = entries[word * 64 + (uint32_t)__builtin_ctzll(left)];

            unused |= (entry & X86_ACCESSED) != 0 ? 0 : left & -left;
        }
        if (unused != 0) {
            clear_entries(shadow, table, word, unused);
        }
    }
}

/* With runs that are always as they were. */
static bool fill_up_singles(struct shadow_tree *tree)
{
    struct shadow_run *runs = tree->list->runs;

    for (; tree->singles % SHADOW_TREE_SINGLES != 0; tree->singles++) {
        if (tree->singles == tree->first_run) {
            return false;
        }
        runs[tree->singles] = (struct shadow_run){.guest = &runs[tree->singles].value, .value = 0};
    }
    return true;
}

/* What was made good just now is the whole tree. */
static bool list_tree(struct shadow *shadow, const struct relinking *relinking)
{
    struct shadow_tree *tree = shadow->tree;

    tree->singles = 0;
    tree->first_run = SHADOW_TREE_RUNS - 1;
    tree->list->runs[tree->first_run].count = 0; /* the end */
    tree->shares = 0;
    for (uint32_t i = 0; i < relinking->count; i++) {
        uint32_t table = relinking->tables[i];
        struct shadow_table *row = row_of(shadow, table);

        if (row->epoch != shadow->epoch) {
            continue; /* global */
        }
        if (level_of(row) == LEVEL_4K && (row->place & PLACE_DIRECT) == 0) {
            drop_unused(shadow, table);
        }
        if (row->shared && tree->shares == SHADOW_TREE_SHARES) {
            return false;
        }
        if (row->shared) {
            tree->list->shares[tree->shares++] =
                (struct shadow_share){.row = row, .version = row->version, .parent = row->parent};
        }
        if ((row->place & PLACE_DIRECT) == 0 && ((row->source & ~SOURCE_RIGHTS) == 0 || !list_table(shadow, table))) {
            return false;
        }
    }
    tree->shared_changes = shadow->shared_changes;
    return fill_up_singles(tree);
}

/* Makes what is reached from the new root good. Where nothing was put in since the last time, it gets a list: most
 * likely the same is asked again. */
static void use_tree(struct shadow *shadow, bool was_calm)
{
    struct shadow_tree *tree = shadow->tree;
    struct shadow_table *row = row_of(shadow, shadow->root);
    struct relinking relinking;

    take_from_tree(shadow, row);
    join_tree(shadow, row, shadow->epoch);
    make_good(shadow, shadow->root, &relinking);
    tree->root = shadow->root;
    tree->globals = shadow->globals;
    tree->state = was_calm && list_tree(shadow, &relinking) ? SHADOW_TREE_LISTED : SHADOW_TREE_CALM;
}

static void forget_trees(struct shadow *shadow)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(shadow->trees); i++) {
        end_tree(&shadow->trees[i]);
    }
}

/* The tree of an address space begins again, in this epoch. */
static void begin_tree(struct shadow *shadow, struct shadow_tree *tree, uint64_t cr3)
{
    tree->cr3 = cr3;
    tree->epoch = shadow->epoch;
    tree->code = NULL;
    tree->used = ++shadow->switches;
    shadow->tree = tree;
}

const uint8_t *shadow_find_code(struct shadow *shadow, const struct guest_paging *paging, uint64_t linear)
{
    struct shadow_tree *tree = shadow->tree;

    tree->code = guest_walk_code(shadow->memory, paging->cr3, paging->cr4, linear);
    tree->code_linear = linear;
    tree->code_removals = shadow->removals;
    return tree->code;
}

void shadow_flush(struct shadow *shadow, const struct guest_paging *paging)
{
    begin_epoch(shadow, true);
    forget_trees(shadow);
    shadow->tree = &shadow->trees[SHADOW_TREES];
    shadow->mode = mode_of(paging);
    shadow->levels = LEVELS_PAE;
    shadow->root = ROOT_LOW;
    shadow->global_pages = (shadow->mode & MODE_LONG) != 0 && (paging->cr4 & CR4_PGE) != 0;
    if ((shadow->mode & MODE_LONG) == 0) {
        make_empty(shadow, ROOT_LOW);
        return;
    }
    shadow->levels = (shadow->mode & MODE_LA57) != 0 ? 5 : 4;
    begin_tree(shadow, find_tree(shadow, paging->cr3), paging->cr3);
    shadow->root = find_root(shadow, paging);
    use_tree(shadow, false);
}

/* What the old root has of global pages is the new one's, too, whatever it has there itself. */
static void carry_global(struct shadow *shadow, uint32_t from, uint32_t to)
{
    const struct shadow_table *row = row_of(shadow, from);
    bool in_ram = (row_of(shadow, to)->source & ~SOURCE_RIGHTS) != 0; /* else there is nothing to compare with later */

    for (uint32_t words = row->words; words != 0; words &= words - 1) {
        uint32_t word = (uint32_t)__builtin_ctz(words);

        for (uint64_t left = row->used[word]; left != 0; left &= left - 1) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(left);
            uint64_t entry = entries_of(shadow, from)[index];
            const struct shadow_table *below = row_of(shadow, child_of(shadow, entry));

            if (below->epoch == shadow->global_epoch) {
                put(shadow, to, index, entry, in_ram ? seen_of(shadow, from)[index] : 0);
            }
        }
    }
}

/* Are the guest's entries that a tree was made of as they were? Most of what a switch costs is this. */
__attribute__((always_inline)) static inline bool singles_are_unchanged(const struct shadow_tree *tree)
{
    const struct shadow_run *run = tree->list->runs;
    const struct shadow_run *end = run + tree->singles;

    for (; run != end; run += SHADOW_TREE_SINGLES) {
#pragma clang loop unroll(full)
        for (uint32_t i = 0; i < SHADOW_TREE_SINGLES; i++) {
            if (__atomic_load_n(run[i].guest, __ATOMIC_RELAXED) != run[i].value) {
                return false;
            }
        }
    }
    return true;
}

static inline bool has_runs(const struct shadow_tree *tree)
{
    return tree->list->runs[tree->first_run].count != 0;
}

__attribute__((always_inline)) static inline bool runs_are_unchanged(const struct shadow *shadow,
                                                                     const struct shadow_tree *tree)
{
    for (const struct shadow_run *run = tree->list->runs + tree->first_run; run->count != 0; run++) {
        if (differ(run->guest, &shadow->seen[run->seen], run->count)) {
            return false;
        }
    }
    return true;
}

/* Have we changed nothing of the tree, and has it all global pages? */
static inline bool is_listed_whole(const struct shadow *shadow, const struct shadow_tree *tree, uint64_t cr3)
{
    return tree->cr3 == cr3 && tree->state == SHADOW_TREE_LISTED && tree->globals == shadow->globals &&
           tree->shared_changes == shadow->shared_changes;
}

/* It is in use again. */
static inline void enter_tree(struct shadow *shadow, struct shadow_tree *tree, uint64_t *root)
{
    forget_way(shadow);
    tree->used = ++shadow->switches;
    shadow->tree = tree;
    shadow->root = tree->root;
    shadow->epoch = tree->epoch;
    shadow->unsettled = true;
    shadow->kept++;
    shadow->flush = false;
    *root = shadow->tables + (uint64_t)tree->root * PAGE_BYTES; /* it is no root of 3 levels */
}

static void switch_to(struct shadow *shadow, const struct guest_paging *paging, struct shadow_tree *tree)
{
    uint32_t old = shadow->root;
    bool was_calm = tree->cr3 == paging->cr3 && tree->state != SHADOW_TREE_CHANGES;

    begin_epoch(shadow, false);
    row_of(shadow, old)->pinned = shadow->fills;
    begin_tree(shadow, tree, paging->cr3);
    shadow->root = find_root(shadow, paging);
    if (shadow->root != old) {
        carry_global(shadow, old, shadow->root);
    }
    use_tree(shadow, was_calm);
}

/* All of these are true always, which the compiler must not see: then each ends with a jump to the next. */
__attribute__((noinline)) static bool switch_slowly(struct shadow *shadow, const struct guest_paging *paging,
                                                    uint64_t *root)
{
    struct shadow_tree *tree = find_tree(shadow, paging->cr3);

    if (shadow->root == ROOT_LOW) {
        shadow_flush(shadow, paging);
    } else {
        if (tree->cr3 == paging->cr3 && tree->state == SHADOW_TREE_LISTED) {
            look_at_shares(shadow, tree);
        }
        if (is_listed_whole(shadow, tree, paging->cr3) && singles_are_unchanged(tree) &&
            runs_are_unchanged(shadow, tree)) {
            enter_tree(shadow, tree, root);
        } else {
            switch_to(shadow, paging, tree);
        }
    }
    shadow->flush = false;
    *root = shadow_root(shadow);
    return *root != 0;
}

/* One that has changed is not compared again. */
__attribute__((noinline)) static bool switch_changed(struct shadow *shadow, struct shadow_tree *tree,
                                                     const struct guest_paging *paging, uint64_t *root)
{
    tree->state = SHADOW_TREE_CALM;
    return switch_slowly(shadow, paging, root);
}

__attribute__((noinline)) static bool switch_with_runs(struct shadow *shadow, struct shadow_tree *tree,
                                                       const struct guest_paging *paging, uint64_t *root)
{
    if (!runs_are_unchanged(shadow, tree)) {
        return switch_changed(shadow, tree, paging, root);
    }
    enter_tree(shadow, tree, root);
    return true;
}

/* This one calls nothing, and so saves no registers. */
__attribute__((noinline)) static bool switch_listed(struct shadow *shadow, struct shadow_tree *tree,
                                                    const struct guest_paging *paging, uint64_t *root)
{
    if (!singles_are_unchanged(tree)) {
        return switch_changed(shadow, tree, paging, root);
    }
    if (has_runs(tree)) {
        return switch_with_runs(shadow, tree, paging, root);
    }
    enter_tree(shadow, tree, root);
    return true;
}

bool shadow_switch(struct shadow *shadow, const struct guest_paging *paging, uint64_t *root)
{
    uint64_t cr3 = paging->cr3;
    struct shadow_tree *tree = tree_set(shadow, cr3);

    tree = tree->cr3 == cr3 ? tree : tree + 1;
    return is_listed_whole(shadow, tree, cr3) ? switch_listed(shadow, tree, paging, root)
                                              : switch_slowly(shadow, paging, root);
}

/* A page of the guest's can be several leaves of ours: then all of them go. */
void shadow_invalidate(struct shadow *shadow, uint64_t linear)
{
    uint32_t table = shadow->root;

    settle(shadow);
    for (uint32_t depth = 0;; depth++) {
        const struct shadow_table *row = row_of(shadow, table);
        uint32_t index = level_index(linear & linear_mask(shadow), level_of(row));
        uint64_t entry = entries_of(shadow, table)[index];
        uint32_t child = child_of(shadow, entry);

        CHECK_OP(depth, <, shadow->levels);
        if (is_paired(row)) {
            uint64_t other = entries_of(shadow, table)[index ^ 1];
            uint32_t below = child_of(shadow, other);

            if (other != 0 && (!is_link(row, other) || (row_of(shadow, below)->place & PLACE_DIRECT) != 0)) {
                drop(shadow, table, index ^ 1);
            }
        }
        if (entry == 0) {
            return;
        }
        if (!is_link(row, entry) || ((row_of(shadow, child)->place & PLACE_DIRECT) != 0)) {
            drop(shadow, table, index);
            return;
        }
        table = child;
    }
}

/* --- set-up --- */

static uint64_t rows_bytes(uint32_t tables)
{
    return align_up(tables * (sizeof(struct shadow_table) + sizeof(uint16_t)), PAGE_BYTES);
}

#define LISTS_BYTES (SHADOW_TREES * sizeof(struct shadow_list))
_Static_assert(LISTS_BYTES % PAGE_BYTES == 0, "what comes behind the lists is page-aligned");

uint64_t shadow_bytes(uint32_t tables)
{
    return rows_bytes(tables) + LISTS_BYTES + 2ULL * tables * PAGE_BYTES;
}

void shadow_init(struct shadow *shadow, const struct guest_memory *memory, enum page_level largest, uint64_t window,
                 hpa_t start, uint32_t tables, hpa_t low_root)
{
    uint64_t rows = window + start.value;
    uint64_t lists = rows + rows_bytes(tables);
    uint64_t seen = lists + LISTS_BYTES;

    CHECK_OP(tables, >=, SHADOW_TABLES_MIN);
    CHECK_OP(tables, <=, SHADOW_TABLES_MAX);
    CHECK_OP(low_root.value, <, 4 * GIB);
    *shadow = (struct shadow){
        .memory = memory,
        .largest = largest,
        .window = window,
        .tables = seen - window + (uint64_t)tables * PAGE_BYTES,
        .low_root = low_root.value,
        .seen = (uint64_t *)(uintptr_t)seen,
        .rows = (struct shadow_table *)(uintptr_t)rows,
        .heads = (uint16_t *)(uintptr_t)(rows + tables * sizeof(struct shadow_table)),
        .count = tables,
        .levels = LEVELS_PAE,
        .way_piece = SHADOW_NO_WAY,
        .epoch = 2,
        .last_epoch = 2,
        .global_epoch = 1,
    };
    for (uint32_t i = 0; i < SHADOW_TREES; i++) {
        shadow->trees[i].list = (struct shadow_list *)(uintptr_t)lists + i;
    }
    shadow->tree = &shadow->trees[SHADOW_TREES];
    shadow->rows[ROOT_LOW].place = LEVELS_PAE - 1;
}

void shadow_forget(struct shadow *shadow)
{
    memset(shadow->heads, 0, shadow->count * sizeof(*shadow->heads));
    for (uint32_t table = 0; table < shadow->count; table++) {
        make_empty(shadow, table);
        row_of(shadow, table)->place = table == ROOT_LOW ? LEVELS_PAE - 1 : 0;
        row_of(shadow, table)->epoch = 0;
    }
    forget_trees(shadow);
    forget_way(shadow);
    shadow->tree = &shadow->trees[SHADOW_TREES];
    shadow->root = ROOT_LOW;
    shadow->flush = true;
}
