/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/mm/small_code.h, on trees as the planner counts them: whatever a guest executes from becomes
 * executable, and the audit, which reads the tables itself, finds no executable leaf above 4 KiB at any moment; what
 * the tree maps is as before, nothing but RAM is executable, and no order of fetches lacks a table.
 */
#include "hv/mm/small_code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/plan/audit.h"
#include "hv/plan/planner.h"
#include "tests/unit/page_table_arena.h"
#include "tests/unit/random.h"

#define SHARE_START (64 * GIB)
#define FREE_START (16 * GIB)

static const struct page_attributes data = {.read = true, .write = true, .user = true, .cache = CACHE_WB};
static const struct audit_span ours = {ARENA_START, ARENA_START + sizeof(arena_bytes)};

static struct memory_map map;
static struct guest_plan plan;
static struct arena arena;
static struct small_code code;
static struct audit_tree audited;
static struct audit_share share;
static struct audit_request request;
static struct audit_finding finding;

static uint64_t below(uint64_t bound)
{
    return ((uint64_t)random_next() << 32 | random_next()) % bound;
}

static void build(uint64_t memory_bytes, uint64_t free_start, enum page_level largest)
{
    const struct planner_request wanted = {
        .memory_bytes = memory_bytes, .small_code = true, .share_count = 1, .share_bytes = {2 * MIB}};
    uint64_t missing;

    map.count = 0;
    assert_int_equal(memory_map_set(&map, ARENA_START, ours.end, MEMORY_LOADER), STATUS_OK);
    assert_int_equal(memory_map_set(&map, free_start, free_start + memory_bytes + GIB, MEMORY_FREE), STATUS_OK);
    assert_int_equal(memory_map_set(&map, SHARE_START, SHARE_START + 2 * MIB, MEMORY_LOADER), STATUS_OK);
    assert_int_equal(planner_guest(&map, &wanted, &page_table_ept4, largest, &plan, &missing), STATUS_OK);
    assert_true(plan.small_code);
    arena_start_with(&arena, &page_table_ept4, &arena_caps, plan.table_count);
    for (uint32_t i = 0; i < plan.memory.range_count; i++) {
        const struct guest_range *range = &plan.memory.ranges[i];

        assert_int_equal(
            page_table_map(&arena.tree, range->start.value, range->backing, range->bytes, data, largest, NULL),
            STATUS_OK);
    }
    share = (struct audit_share){{gpa(GUEST_SHARE_START(0)), hpa(SHARE_START), 2 * MIB}, true};
    assert_int_equal(
        page_table_map(&arena.tree, share.range.start.value, share.range.backing, 2 * MIB, data, largest, NULL),
        STATUS_OK);
    code = (struct small_code){.table = &arena.tree, .memory = &plan.memory};
    audited = (struct audit_tree){.name = "guest",
                                  .format = AUDIT_EPT4,
                                  .root = arena.tree.root,
                                  .memory = &plan.memory,
                                  .shares = &share,
                                  .share_count = 1,
                                  .small_code = true};
    request = (struct audit_request){.trees = &audited,
                                     .tree_count = 1,
                                     .window = arena.pool.window,
                                     .physical_bits = 46,
                                     .map = &map,
                                     .hypervisor = &ours,
                                     .hypervisor_count = 1};
}

static struct page_lookup lookup(uint64_t address)
{
    struct page_lookup found;

    page_table_lookup(&arena.tree, address, &found);
    return found;
}

/* The same place and rights as before, but for execution. */
static void expect_only_execution_changed(uint64_t address, const struct page_lookup *before, bool execute)
{
    struct page_lookup after = lookup(address);
    struct page_attributes expected = before->attributes;

    expected.execute = execute;
    assert_true(after.present);
    assert_int_equal(after.to.value, before->to.value);
    assert_true(arena_same(&after.attributes, &expected));
    assert_true(!execute || after.level == LEVEL_4K);
}

static void a_first_fetch_splits_its_2_mib_and_nothing_else(void **state)
{
    const uint64_t at = 5 * GIB + 7 * MIB + 0x123;
    struct page_lookup before, beside;

    (void)state;
    build(7 * GIB, FREE_START, LEVEL_1G);
    before = lookup(at);
    beside = lookup(at + 2 * MIB);
    assert_int_equal(before.level, LEVEL_1G);
    assert_false(before.attributes.execute);
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    assert_true(small_code_open(&code, gpa(at)));
    expect_only_execution_changed(at, &before, true);
    expect_only_execution_changed(at + 2 * MIB, &beside, false);
    assert_int_equal(lookup(at + 2 * MIB).level, LEVEL_2M);
    assert_int_equal(lookup(at + GIB).level, LEVEL_1G);
    assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
    assert_true(small_code_open(&code, gpa(at + PAGE_BYTES))); /* another CPU was first */
    assert_int_equal(code.regions, 1);
    arena_end(&arena);
}

/* However many CPUs fetch from new code at once, none of them waits in its exit. */
static void another_cpu_at_work_is_not_waited_for(void **state)
{
    const uint64_t at = 3 * MIB;
    struct page_lookup before;

    (void)state;
    build(GIB, FREE_START, LEVEL_1G);
    before = lookup(at);
    spinlock_take(&code.lock);
    assert_true(small_code_open(&code, gpa(at)));
    expect_only_execution_changed(at, &before, false);
    assert_int_equal(code.regions, 0);
    spinlock_release(&code.lock);
    assert_true(small_code_open(&code, gpa(at))); /* it comes again */
    expect_only_execution_changed(at, &before, true);
    assert_int_equal(code.regions, 1);
    arena_end(&arena);
}

static void what_is_no_ram_stays_as_it_is(void **state)
{
    (void)state;
    build(GIB + 5 * PAGE_BYTES, FREE_START, LEVEL_1G);
    assert_false(small_code_open(&code, gpa(GUEST_SHARE_START(0))));
    assert_false(small_code_open(&code, gpa(GIB + 5 * PAGE_BYTES)));
    assert_false(small_code_open(&code, gpa(~0ULL << PAGE_SHIFT)));
    assert_int_equal(code.regions, 0);
    /* The end of RAM, in whose 2 MiB there is something that is none. */
    assert_int_equal(
        page_table_map(&arena.tree, GIB + 8 * PAGE_BYTES, share.range.backing, PAGE_BYTES, data, LEVEL_4K, NULL),
        STATUS_OK);
    assert_true(small_code_open(&code, gpa(GIB + PAGE_BYTES)));
    assert_true(lookup(GIB + 4 * PAGE_BYTES).attributes.execute);
    assert_false(lookup(GIB + 5 * PAGE_BYTES).present);
    assert_false(lookup(GIB + 8 * PAGE_BYTES).attributes.execute);
    assert_false(lookup(GUEST_SHARE_START(0)).attributes.execute);
    arena_end(&arena);
}

/* All of a guest's memory, in any order, from any start: the plan's tables are enough, to the last one. */
static void no_order_of_fetches_lacks_a_table(void **state)
{
    (void)state;
    for (uint32_t round = 0; round < 60; round++) {
        uint64_t bytes = MIB + below(5 * 1024) * MIB / 8 + below(3) * PAGE_BYTES;
        uint64_t askew = below(3) == 0 ? below(512) * PAGE_BYTES : 0;
        enum page_level largest = below(2) == 0 ? LEVEL_2M : LEVEL_1G;

        build(bytes, FREE_START + askew, largest);
        for (uint32_t fetch = 0; fetch < 200; fetch++) {
            const struct guest_range *range = &plan.memory.ranges[below(plan.memory.range_count)];
            uint64_t at = range->start.value + below(range->bytes);
            struct page_lookup before = lookup(at);

            assert_true(small_code_open(&code, gpa(at)));
            expect_only_execution_changed(at, &before, true);
        }
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        for (uint32_t i = 0; i < plan.memory.range_count; i++) {
            const struct guest_range *range = &plan.memory.ranges[i];

            for (uint64_t at = 0; at < range->bytes; at += PAGE_BYTES) {
                if (!lookup(range->start.value + at).attributes.execute) {
                    assert_true(small_code_open(&code, gpa(range->start.value + at)));
                }
            }
        }
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        assert_int_equal(arena.pool.free_count, 0);
        arena_end(&arena);
    }
}

/* What cannot be: then the guest ends, and no leaf is other than it was. */
static void without_a_table_nothing_changes(void **state)
{
    struct page_lookup before;

    (void)state;
    build(8 * GIB, FREE_START, LEVEL_1G);
    before = lookup(GIB);
    while (arena.pool.free_count > 1) { /* a GiB needs two */
        (void)table_pool_take(&arena.pool);
    }
    assert_false(small_code_open(&code, gpa(GIB)));
    expect_only_execution_changed(GIB, &before, false);
    assert_int_equal(lookup(GIB).level, LEVEL_1G);
    assert_int_equal(code.regions, 0);
}

/* What cannot be either: RAM that the tree does not have. The pages beside it keep all that they may. */
static void a_hole_in_the_ram_gives_its_rights_to_nothing(void **state)
{
    struct page_lookup beside;

    (void)state;
    build(GIB, FREE_START, LEVEL_2M);
    arena_unmap(&arena, 4 * MIB, 2 * MIB - PAGE_BYTES);
    beside = lookup(6 * MIB - PAGE_BYTES);
    assert_false(small_code_open(&code, gpa(4 * MIB)));
    expect_only_execution_changed(6 * MIB - PAGE_BYTES, &beside, false);
    assert_int_equal(code.regions, 0);
    assert_true(small_code_open(&code, gpa(6 * MIB - PAGE_BYTES)));
    expect_only_execution_changed(6 * MIB - PAGE_BYTES, &beside, true);
    assert_false(lookup(4 * MIB).present);
    arena_end(&arena);
}

/* A leaf as it is on other CPUs. */
static void the_audit_refuses_an_executable_large_leaf(void **state)
{
    static const enum page_level levels[] = {LEVEL_2M, LEVEL_1G};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(levels); i++) {
        build(2 * GIB, FREE_START, levels[i]);
        assert_int_equal(page_table_protect(&arena.tree, GIB, level_bytes(levels[i]), arena_rwx, NULL), STATUS_OK);
        assert_int_equal(audit_trees(&request, &finding), STATUS_DENIED);
        assert_int_equal(finding.violation, AUDIT_LARGE_CODE);
        assert_int_equal(finding.gpa.value, GIB);
        assert_non_null(strstr(finding.sentence, "execute from a large page"));
        audited.small_code = false;
        assert_int_equal(audit_trees(&request, &finding), STATUS_OK);
        arena_end(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_first_fetch_splits_its_2_mib_and_nothing_else),
        cmocka_unit_test(another_cpu_at_work_is_not_waited_for),
        cmocka_unit_test(what_is_no_ram_stays_as_it_is),
        cmocka_unit_test(no_order_of_fetches_lacks_a_table),
        cmocka_unit_test(without_a_table_nothing_changes),
        cmocka_unit_test(a_hole_in_the_ram_gives_its_rights_to_nothing),
        cmocka_unit_test(the_audit_refuses_an_executable_large_leaf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
