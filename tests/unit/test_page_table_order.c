/*
 * The order of stores: at every moment of an operation each address translates as before or as after.
 *
 * The arena is mapped read-only while an operation runs. Each store faults; the handler opens the arena, lets the
 * processor take one step, closes it again, and has seen the tree as a CPU or a device would have seen it after exactly
 * that store. So every store is recorded that the code really does, whatever the compiler made of it, and nothing is
 * compiled differently for the test.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

#include "hv/mm/page_table_visit.h"
#include "tests/unit/page_table_arena.h"

#define TRAP_FLAG 0x100
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
static void (*meanwhile)(void);       /* what another CPU does after a store */
static uint64_t stores, mixed, wrong; /* mixed: moments at which some samples were old and others new */

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

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;
    uint64_t offset = (uint64_t)((uint8_t *)info->si_addr - arena_bytes);

    if (offset >= RECORDED_BYTES) {
        signal(number, SIG_DFL);
        return;
    }
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ | PROT_WRITE);
    user->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *user = context;

    (void)number;
    (void)info;
    user->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    stores++;
    if (checking) {
        samples_check();
    }
    if (meanwhile != NULL) {
        meanwhile();
    }
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ);
}

static void handlers_set(void)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &fault, NULL);
    sigaction(SIGTRAP, &step, NULL);
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
    stores = mixed = wrong = 0;
    checking = true;
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ);
    status = second(&recorded.tree);
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ | PROT_WRITE);
    checking = false;
    assert_int_equal(status, STATUS_OK);
    assert_true(stores > 0);
    assert_int_equal(wrong, 0);
    arena_end(&recorded);
}

static void record_next(operation_fn first, operation_fn second)
{
    static uint32_t next;

    /* The formats in turn: the order is the same code for all, and two signals per store take their time. */
    handlers_set();
    record(arena_formats[next++ % ARENA_FORMATS], first, second);
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

static void at_each_store_of_a_map_over_holes_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_next(nothing, map_gib);
    record_next(nothing, map_crooked);
    record_next(nothing, map_across_512g);
}

static void at_each_store_of_a_map_over_leaves_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_next(map_gib, map_small_elsewhere);
    record_next(map_gib, map_crooked);
    assert_true(mixed > 0); /* and the test can see a half-done operation */
}

static void at_each_store_of_a_map_over_tables_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_next(map_crooked, map_gib);
    record_next(map_crooked_then_punch, map_gib);
}

static void at_each_store_of_an_unmap_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_next(map_gib, punch);
    record_next(map_gib, unmap_crooked);
    record_next(map_crooked, unmap_crooked);
}

static void at_each_store_of_a_protect_each_address_is_old_or_new(void **state)
{
    (void)state;
    record_next(map_gib, protect_crooked);
    record_next(map_crooked, protect_crooked);
}

static void at_each_store_of_a_change_of_shape_nothing_changes(void **state)
{
    (void)state;
    record_next(map_gib_and_punch_nothing, coalesce);
    assert_int_equal(mixed, 0);
    record_next(map_gib, populate);
    assert_int_equal(mixed, 0);
    record_next(populate, vacate);
    assert_int_equal(mixed, 0);
}

/* --- the hardware sets a bit in the middle of it --- */

/* Marks a page dirty once, after the first store: a CPU that writes while its page is being split. */
static void mark_once(void)
{
    meanwhile = NULL;
    (void)page_table_mark(&recorded.tree, GIB + 20 * KIB, PAGE_DIRTY);
}

/* A CPU that is below a table already when the table is replaced: it marks the page there, not in the new leaf. */
static uint64_t *old_entry;

static void mark_in_the_old_table(void)
{
    struct page_lookup found;

    page_table_lookup(&recorded.tree, GIB + 20 * KIB, &found);
    if (found.level != LEVEL_4K) {
        meanwhile = NULL;
        *old_entry |= 1ULL << 6; /* the dirty bit of the host's format */
    }
}

static void run_with(void (*other)(void), operation_fn operation)
{
    enum status status;

    handlers_set();
    checking = false;
    meanwhile = other;
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ);
    status = operation(&recorded.tree);
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ | PROT_WRITE);
    assert_null(meanwhile); /* it did happen */
    assert_int_equal(status, STATUS_OK);
}

static void a_dirty_bit_that_comes_during_a_split_is_kept(void **state)
{
    struct page_lookup found;

    (void)state;
    for (uint32_t i = 0; i < ARENA_FORMATS; i++) {
        set_up(arena_formats[i], map_gib);
        run_with(mark_once, punch);
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
    set_up(&page_table_host4, map_gib_and_punch_nothing);
    assert_int_equal(page_table_walk(&recorded.tree, GIB + 20 * KIB, LEVEL_4K, &entry), STATUS_OK);
    old_entry = table_pool_pointer(&recorded.pool, entry.at.value);
    run_with(mark_in_the_old_table, coalesce_2m);
    page_table_lookup(&recorded.tree, GIB + 20 * KIB, &found);
    assert_int_equal(found.level, LEVEL_2M);
    assert_true(found.dirty);
    arena_end(&recorded);
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
    set_up(&page_table_npt4, map_gib);
    samples_read(before);
    samples_read(after);
    wrong = 0;
    checking = true;
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ);
    punch_in_the_wrong_order(&recorded.tree);
    mprotect(arena_bytes, RECORDED_BYTES, PROT_READ | PROT_WRITE);
    checking = false;
    assert_true(wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_each_store_of_a_map_over_holes_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_map_over_leaves_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_map_over_tables_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_an_unmap_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_protect_each_address_is_old_or_new),
        cmocka_unit_test(at_each_store_of_a_change_of_shape_nothing_changes),
        cmocka_unit_test(a_dirty_bit_that_comes_during_a_split_is_kept),
        cmocka_unit_test(a_dirty_bit_that_comes_during_a_coalesce_is_kept),
        cmocka_unit_test(a_table_that_is_linked_before_it_is_filled_would_be_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
