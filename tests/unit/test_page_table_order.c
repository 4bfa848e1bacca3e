/* SPDX-License-Identifier: MIT */
/*
 * The order of stores: at every moment of an operation each address translates as before or as after.
 *
 * The arena is mapped read-only while an operation runs. Each store faults; the handler opens the arena, lets the
 * processor take one step, closes it again, and has seen the tree as a CPU or a device would have seen it after exactly
 * that store. So every store is recorded that the code really does, whatever the compiler made of it, and nothing is
 * compiled differently for the test.
 *
 * Every scene is recorded in every format. Two signals per store take their time, so there only the pages are closed
 * that can be reached from the root, found anew after each store by a scan that takes every word for a link: no walker
 * can see a store into another page. One format per scene, in turn, has all pages closed.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "hv/mm/page_table_visit.h"
#include "tests/unit/page_table_arena.h"
#include "tests/unit/single_stores.h"

#define SAMPLES_MAX 96u
#define RECORDED_PAGES 24u
#define RECORDED_BYTES (RECORDED_PAGES * PAGE_BYTES)

struct truth {
    bool present;
    uint64_t to;
    struct page_attributes attributes;
};

static struct arena recorded;
static uint64_t samples[SAMPLES_MAX];
static struct truth before[SAMPLES_MAX], after[SAMPLES_MAX];
static uint32_t sample_count;
static bool checking;
static bool every_page = true;    /* close all of them, not only those that can be reached */
static void (*just_before)(void); /* what another CPU does when a store has been decided on but not done */
static void (*meanwhile)(void);   /* and after one */
static uint64_t mixed, wrong;     /* mixed: moments at which some samples were old and others new */

static bool truth_is(const struct truth *truth, const struct page_lookup *found)
{
    if (truth->present != found->present) {
        return false;
    }
    return !found->present || (truth->to == found->to.value && arena_same(&truth->attributes, &found->attributes));
}

static void samples_check(void)
{
    uint32_t old = 0, new = 0;

    for (uint32_t i = 0; i < sample_count; i++) {
        struct page_lookup found;
        bool is_old, is_new;

        page_table_lookup(&recorded.tree, samples[i], &found);
        is_old = truth_is(&before[i], &found);
        is_new = truth_is(&after[i], &found);
        wrong += !is_old && !is_new;
        old += is_old && !is_new;
        new += is_new && !is_old;
    }
    mixed += old != 0 && new != 0;
}

/* The pages of the arena that a walk from the root can come to, as a mask. */
static uint32_t pages_reachable(void)
{
    uint32_t reached = 1u << ((recorded.tree.root.value - ARENA_START) / PAGE_BYTES);
    uint32_t scanned = 0;

    while (scanned != reached) {
        uint32_t page = (uint32_t)__builtin_ctz(reached & ~scanned);
        const uint64_t *words = (const uint64_t *)(const void *)(arena_bytes + page * PAGE_BYTES);

        scanned |= 1u << page;
        for (uint32_t i = 0; i < PAGE_BYTES / sizeof(*words); i++) {
            uint64_t to = ((words[i] & 0x000ffffffffff000ULL) - ARENA_START) / PAGE_BYTES;

            reached |= to < RECORDED_PAGES ? 1u << to : 0;
        }
    }
    return reached;
}

static void arena_open(void)
{
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ | PROT_WRITE);
}

static void arena_close(void)
{
    uint32_t reachable = every_page ? 0 : pages_reachable();

    if (every_page) {
        mprotect(arena_bytes, RECORDED_BYTES, PROT_READ);
    }
    for (; reachable != 0; reachable &= reachable - 1) {
        mprotect(arena_bytes + (uint32_t)__builtin_ctz(reachable) * PAGE_BYTES, PAGE_BYTES, PROT_READ);
    }
}

static bool open_for_store(const uint8_t *at)
{
    if ((uint64_t)(at - arena_bytes) >= RECORDED_BYTES) {
        return false;
    }
    arena_open();
    if (just_before != NULL) {
        just_before();
    }
    return true;
}

static void look_behind_store(void)
{
    if (checking) {
        samples_check();
    }
    if (meanwhile != NULL) {
        meanwhile();
    }
    arena_close();
}

static void handlers_set(void)
{
    single_stores_watch(open_for_store, look_behind_store);
}

/* --- what is recorded --- */

typedef enum status (*operation_fn)(struct page_table *tree);

/* Pages on both sides of every place where the scenes change something, and in between. */
static void samples_draw(void)
{
    static const uint64_t bases[] = {0, 2 * MIB, GIB, GIB + 2 * MIB, 2 * GIB, 511 * GIB, 512 * GIB};
    static const int64_t offsets[] = {
        -(int64_t)(2 * MIB), -8192, -1, 0, 4096, 8191, 8192, 12288, 1 << 20, 2 << 20, 3 << 20};

    sample_count = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(bases); i++) {
        for (uint32_t j = 0; j < ARRAY_COUNT(offsets); j++) {
            if (offsets[j] >= 0 || bases[i] != 0) {
                samples[sample_count++] = bases[i] + (uint64_t)offsets[j];
            }
        }
    }
}

static void samples_read(struct truth *truths)
{
    for (uint32_t i = 0; i < sample_count; i++) {
        struct page_lookup found;

        page_table_lookup(&recorded.tree, samples[i], &found);
        truths[i] = (struct truth){found.present, found.to.value, found.attributes};
    }
}

static void set_up(const struct page_table_format *format, operation_fn first)
{
    arena_start_with(&recorded, format, &arena_caps, RECORDED_PAGES);
    assert_int_equal(first(&recorded.tree), STATUS_OK);
}

/* Runs it once to learn what is true afterwards, and once more, store by store. */
static void record(const struct page_table_format *format, operation_fn first, operation_fn second)
{
    enum status status;

    samples_draw();
    set_up(format, first);
    samples_read(before);
    assert_int_equal(second(&recorded.tree), STATUS_OK);
    samples_read(after);
    arena_end(&recorded);
    set_up(format, first);
    single_stores.count = mixed = wrong = 0;
    checking = true;
    arena_close();
    status = second(&recorded.tree);
    arena_open();
    checking = false;
    assert_int_equal(status, STATUS_OK);
    assert_true(single_stores.count > 0);
    assert_int_equal(wrong, 0);
    arena_end(&recorded);
}

/* In every format. `recorded_mixed`: moments at which a half-done operation was seen, in all of them. */
static uint64_t recorded_mixed;

static void record_scene(operation_fn first, operation_fn second)
{
    static uint32_t turn;

    handlers_set();
    recorded_mixed = 0;
    turn++;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        every_page = i == turn % ARENA_FORMATS;
        record(arena_formats[i], first, second);
        recorded_mixed += mixed;
    }
    every_page = true;
}

/* An operation that changes no translation: no moment may show any other. */
static void record_still(operation_fn first, operation_fn second)
{
    record_scene(first, second);
    for (uint32_t i = 0; i < sample_count; i++) {
        assert_int_equal(before[i].present, after[i].present);
        assert_int_equal(before[i].to, after[i].to);
        assert_true(arena_same(&before[i].attributes, &after[i].attributes));
    }
}

/* --- scenes --- */

static enum status nothing(struct page_table *tree)
{
    (void)tree;
    return STATUS_OK;
}

static enum status map_gib(struct page_table *tree)
{
    return page_table_map(tree, 0, hpa(4 * GIB), 3 * GIB, arena_rwx, LEVEL_1G, NULL);
}

static enum status map_crooked(struct page_table *tree)
{
    return page_table_map(tree, 2 * MIB - 8 * KIB, hpa(2 * MIB - 8 * KIB), GIB + 16 * KIB, arena_rwx, LEVEL_1G, NULL);
}

static enum status map_small_elsewhere(struct page_table *tree)
{
    return page_table_map(tree, GIB - 8 * KIB, hpa(9 * GIB), 20 * KIB, arena_ro, LEVEL_1G, NULL);
}

static enum status map_across_512g(struct page_table *tree)
{
    return page_table_map(tree, 512 * GIB - 8 * KIB, hpa(4 * KIB), 16 * KIB, arena_rwx, LEVEL_1G, NULL);
}

static enum status punch(struct page_table *tree)
{
    return page_table_unmap(tree, GIB + 8 * KIB, 4 * KIB, NULL);
}

static enum status unmap_crooked(struct page_table *tree)
{
    return page_table_unmap(tree, 4 * KIB, GIB + 2 * MIB, NULL);
}

static enum status protect_crooked(struct page_table *tree)
{
    return page_table_protect(tree, 2 * MIB - 4 * KIB, GIB + 8 * KIB, arena_ro, NULL);
}

static enum status map_gib_and_punch_nothing(struct page_table *tree)
{
    enum status status = map_gib(tree);

    status = status != STATUS_OK ? status : punch(tree);
    return status != STATUS_OK
               ? status
               : page_table_map(tree, GIB + 8 * KIB, hpa(5 * GIB + 8 * KIB), 4 * KIB, arena_rwx, LEVEL_1G, NULL);
}

static enum status coalesce(struct page_table *tree)
{
    return page_table_coalesce(tree, 0, 4 * GIB, LEVEL_1G, NULL);
}

static enum status map_crooked_then_punch(struct page_table *tree)
{
    enum status status = map_crooked(tree);

    return status != STATUS_OK ? status : page_table_unmap(tree, 512 * MIB, 12 * KIB, NULL);
}

static enum status populate(struct page_table *tree)
{
    return page_table_populate(tree, GIB, 4 * MIB, LEVEL_4K, NULL);
}

static enum status vacate(struct page_table *tree)
{
    return page_table_vacate(tree, GIB, 4 * MIB, NULL);
}

static enum status populate_and_map(struct page_table *tree)
{
    enum status status = populate(tree);

    return status != STATUS_OK ? status : page_table_map(tree, GIB, hpa(6 * GIB), 3 * MIB, arena_rwx, LEVEL_1G, NULL);
}

static enum status walk_create(struct page_table *tree)
{
    struct page_entry entry;

    return page_table_walk_create(tree, GIB + 8 * KIB, LEVEL_4K, &entry, NULL);
}

static enum status map_concurrently(struct page_table *tree)
{
    enum status status = STATUS_OK;

    for (uint64_t at = 0; at < 16 * KIB && status == STATUS_OK; at += 4 * KIB) {
        status = page_table_map_concurrent(tree, GIB + at, hpa(3 * MIB + at), LEVEL_4K, arena_rwx, NULL);
    }
    return status;
}

static enum status mark_clear_and_harvest(struct page_table *tree)
{
    struct page_harvest harvest = {.which = PAGE_ACCESSED | PAGE_DIRTY, .clear = true};
    enum status status = page_table_mark(tree, 2 * MIB - 8 * KIB, PAGE_DIRTY);

    status = status != STATUS_OK ? status : page_table_mark(tree, GIB, PAGE_ACCESSED | PAGE_DIRTY);
    status = status != STATUS_OK ? status : page_table_clear(tree, GIB, PAGE_ACCESSED, NULL, NULL);
    status = status != STATUS_OK ? status : page_table_harvest(tree, 0, 2 * GIB, &harvest, NULL);
    return harvest.pages >= 2 ? status : STATUS_NOT_FOUND;
}

static void at_each_store_of_a_map_over_holes_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_scene(nothing, map_gib);
    record_scene(nothing, map_crooked);
    record_scene(nothing, map_across_512g);
}

static void at_each_store_of_a_map_over_leaves_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_scene(map_gib, map_small_elsewhere);
    record_scene(map_gib, map_crooked);
    assert_true(recorded_mixed > 0); /* and the test can see a half-done operation */
}

static void at_each_store_of_a_map_over_tables_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_scene(map_crooked, map_gib);
    record_scene(map_crooked_then_punch, map_gib);
    record_scene(populate, map_gib);
}

static void at_each_store_of_an_unmap_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_scene(map_gib, punch);
    record_scene(map_gib, unmap_crooked);
    record_scene(map_crooked, unmap_crooked);
    record_scene(populate_and_map, unmap_crooked);
}

static void at_each_store_of_a_protect_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_scene(map_gib, protect_crooked);
    record_scene(map_crooked, protect_crooked);
}

static void at_each_store_of_a_concurrent_map_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_scene(populate, map_concurrently);
    assert_true(recorded_mixed > 0);
}

static void at_each_store_of_a_change_of_shape_nothing_changes(void **state)
{
    (void)state;
    record_still(map_gib_and_punch_nothing, coalesce);
    record_still(nothing, populate);
    record_still(map_gib, populate);
    record_still(map_gib, walk_create);
    record_still(populate, vacate);
    record_still(populate_and_map, vacate);
}

static void at_each_store_of_accessed_and_dirty_bits_nothing_else_changes(void **state)
{
    (void)state;
    record_still(map_crooked, mark_clear_and_harvest);
}

/* --- the hardware sets a bit in the middle of it --- */

/* Marks a page dirty once, after the first store: a CPU that writes while its page is being split. */
static void mark_once(void)
{
    meanwhile = NULL;
    (void)page_table_mark(&recorded.tree, GIB + 20 * KIB, PAGE_DIRTY);
}

/* SDM 3A table 4-20; SDM 3C table 29-6 for EPT. */
static uint64_t dirty_bit(const struct page_table_format *format)
{
    return format == &page_table_ept4 || format == &page_table_ept5 ? 1ULL << 9 : 1ULL << 6;
}

/* A CPU that is below a table already when the table is replaced: it marks the page there, not in the new leaf. */
static uint64_t *old_entry;

static void mark_in_the_old_table(void)
{
    struct page_lookup found;

    page_table_lookup(&recorded.tree, GIB + 20 * KIB, &found);
    if (found.level != LEVEL_4K) {
        meanwhile = NULL;
        *old_entry |= dirty_bit(recorded.tree.format);
    }
}

/* `other` unhooks itself once it has done what it is for. */
static void run_with(void (**hook)(void), void (*other)(void), operation_fn operation)
{
    enum status status;

    handlers_set();
    checking = false;
    *hook = other;
    arena_close();
    status = operation(&recorded.tree);
    arena_open();
    assert_null(*hook); /* it did happen */
    assert_int_equal(status, STATUS_OK);
}

static void a_dirty_bit_that_comes_during_a_split_is_kept(void **state)
{
    struct page_lookup found;

    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        set_up(arena_formats[i], map_gib);
        run_with(&meanwhile, mark_once, punch);
        page_table_lookup(&recorded.tree, GIB + 20 * KIB, &found);
        assert_int_equal(found.level, LEVEL_4K);
        assert_true(found.dirty);
        arena_end(&recorded);
    }
}

static enum status coalesce_2m(struct page_table *tree)
{
    return page_table_coalesce(tree, GIB, 4 * KIB, LEVEL_2M, NULL);
}

static void a_dirty_bit_that_comes_during_a_coalesce_is_kept(void **state)
{
    struct page_lookup found;
    struct page_entry entry;

    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        set_up(arena_formats[i], map_gib_and_punch_nothing);
        assert_int_equal(page_table_walk(&recorded.tree, GIB + 20 * KIB, LEVEL_4K, &entry), STATUS_OK);
        old_entry = table_pool_pointer(&recorded.pool, entry.at.value);
        run_with(&meanwhile, mark_in_the_old_table, coalesce_2m);
        page_table_lookup(&recorded.tree, GIB + 20 * KIB, &found);
        assert_int_equal(found.level, LEVEL_2M);
        assert_true(found.dirty);
        arena_end(&recorded);
    }
}

/* --- another CPU is faster by one store --- */

#define CONTESTED (2 * MIB - 4 * KIB) /* a page of map_crooked and of populate_low */

static void dirty_just_before(void)
{
    just_before = NULL;
    (void)page_table_mark(&recorded.tree, CONTESTED, PAGE_DIRTY);
}

static enum status protect_one(struct page_table *tree)
{
    return page_table_protect(tree, CONTESTED, 4 * KIB, arena_ro, NULL);
}

static void a_dirty_bit_that_comes_during_a_protect_is_kept(void **state)
{
    struct page_lookup found;

    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        set_up(arena_formats[i], map_crooked);
        run_with(&just_before, dirty_just_before, protect_one);
        page_table_lookup(&recorded.tree, CONTESTED, &found);
        assert_true(found.dirty);
        assert_false(found.attributes.write);
        arena_end(&recorded);
    }
}

static uint64_t harvested[2]; /* by the one that was faster, by the one that was slower */

static enum status harvest_one(struct page_table *tree)
{
    struct page_harvest harvest = {.which = PAGE_DIRTY, .clear = true};
    enum status status = page_table_harvest(tree, CONTESTED, 4 * KIB, &harvest, NULL);

    harvested[1] = harvest.pages;
    return status;
}

static void harvest_just_before(void)
{
    struct page_harvest harvest = {.which = PAGE_DIRTY, .clear = true};

    just_before = NULL;
    (void)page_table_harvest(&recorded.tree, CONTESTED, 4 * KIB, &harvest, NULL);
    harvested[0] = harvest.pages;
}

static void a_page_is_harvested_by_one_of_two_harvesters(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        set_up(arena_formats[i], map_crooked);
        assert_int_equal(page_table_mark(&recorded.tree, CONTESTED, PAGE_DIRTY), STATUS_OK);
        run_with(&just_before, harvest_just_before, harvest_one);
        assert_int_equal(harvested[0], 1);
        assert_int_equal(harvested[1], 0);
        arena_end(&recorded);
    }
}

static enum status map_statuses[2];
static struct page_lookup map_found;

static enum status populate_low(struct page_table *tree)
{
    return page_table_populate(tree, 0, 2 * MIB, LEVEL_4K, NULL);
}

static void map_just_before(void)
{
    just_before = NULL;
    map_statuses[0] = page_table_map_concurrent(&recorded.tree, CONTESTED, hpa(7 * GIB), LEVEL_4K, arena_rwx, NULL);
}

static enum status map_one(struct page_table *tree)
{
    map_statuses[1] = page_table_map_concurrent(tree, CONTESTED, hpa(8 * GIB), LEVEL_4K, arena_rwx, &map_found);
    return STATUS_OK;
}

static void the_slower_of_two_that_map_a_page_is_told_what_is_there(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        set_up(arena_formats[i], populate_low);
        run_with(&just_before, map_just_before, map_one);
        assert_int_equal(map_statuses[0], STATUS_OK);
        assert_int_equal(map_statuses[1], STATUS_BUSY);
        assert_true(map_found.present);
        assert_int_equal(map_found.to.value, 7 * GIB);
        arena_expect(&recorded, CONTESTED, 7 * GIB, LEVEL_4K);
        arena_end(&recorded);
    }
}

/* The test itself: a table that is linked before it is filled is seen. */
static enum status punch_in_the_wrong_order(struct page_table *tree)
{
    uint64_t *level2 = table_pool_pointer(tree->pool, tree->root.value + PAGE_BYTES); /* the second table taken */
    uint64_t at = table_pool_take(tree->pool);
    uint64_t *table = table_pool_pointer(tree->pool, at);
    uint64_t leaf = level2[1];

    memset(table, 0, PAGE_BYTES);
    level2[1] = at | 7;
    for (uint32_t i = 0; i < 512; i++) {
        table[i] = leaf + i * 2 * MIB;
    }
    return STATUS_OK;
}

static void a_table_that_is_linked_before_it_is_filled_would_be_seen(void **state)
{
    (void)state;
    handlers_set();
    samples_draw();
    for (uint32_t i = 0; i < 2; i++) {
        every_page = i == 0;
        set_up(&page_table_npt4, map_gib);
        samples_read(before);
        samples_read(after);
        wrong = 0;
        checking = true;
        arena_close();
        punch_in_the_wrong_order(&recorded.tree);
        arena_open();
        checking = false;
        assert_true(wrong > 0);
    }
    every_page = true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_each_store_of_a_map_over_holes_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_map_over_leaves_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_map_over_tables_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_an_unmap_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_protect_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_concurrent_map_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_accessed_and_dirty_bits_nothing_else_changes),
        cmocka_unit_test(at_each_store_of_a_change_of_shape_nothing_changes),
        cmocka_unit_test(a_dirty_bit_that_comes_during_a_split_is_kept),
        cmocka_unit_test(a_dirty_bit_that_comes_during_a_coalesce_is_kept),
        cmocka_unit_test(a_dirty_bit_that_comes_during_a_protect_is_kept),
        cmocka_unit_test(a_page_is_harvested_by_one_of_two_harvesters),
        cmocka_unit_test(the_slower_of_two_that_map_a_page_is_told_what_is_there),
        cmocka_unit_test(a_table_that_is_linked_before_it_is_filled_would_be_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
