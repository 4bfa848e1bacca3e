/* SPDX-License-Identifier: MIT */
/* The promises of hv/mm/shadow.h, by the model in shadow_model.h and by cases that have a name. */
#define _GNU_SOURCE
#include "tests/unit/shadow_model.h"

#include "hv/mm/page_table_formats.h"
#include "hv/plan/audit.h"
#include "hv/plan/planner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define STEPS 10000000u
#define CAMPAIGN_STEPS 4000u
#define CAMPAIGN_CHANGES 1200u
#define STEPS_BETWEEN_AUDITS 500u

static struct model model;

static uint32_t next(void *source)
{
    uint64_t *state = source;

    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

/* By the walker that shares no code with the engine: every leaf of the root shows RAM of the guest's, every table is
 * the engine's. */
static bool audit_passes(const struct shadow *shadow, struct audit_finding *finding)
{
    static const enum audit_format formats[] = {AUDIT_SHADOW3, AUDIT_SHADOW4, AUDIT_SHADOW5};
    const struct audit_tree tree = {.name = "model",
                                    .format = formats[shadow->levels - 3],
                                    .root = hpa(shadow_root(shadow)),
                                    .memory = &model.memory};
    const struct audit_span ours[] = {{POOL, POOL + shadow_bytes(shadow->count)}, {LOW_ROOT, LOW_ROOT + 32}};
    static struct memory_map map;
    const struct audit_request request = {.trees = &tree,
                                          .tree_count = 1,
                                          .window = window(&model),
                                          .physical_bits = PHYSICAL_BITS,
                                          .map = &map,
                                          .hypervisor = ours,
                                          .hypervisor_count = ARRAY_COUNT(ours)};

    map.count = 0;
    for (uint32_t i = 0; i < model.memory.range_count; i++) {
        const struct guest_range *range = &model.memory.ranges[i];

        assert_int_equal(memory_map_set(&map, range->backing.value, range->backing.value + range->bytes, MEMORY_LOADER),
                         STATUS_OK);
    }
    return audit_trees(&request, finding) == STATUS_OK;
}

static void nothing_is_shown_that_a_tlb_could_not_hold(void **state)
{
    static const uint32_t pools[] = {SHADOW_TABLES_MIN, SHADOW_TABLES_MIN + 1, 40, 200};
    const char *wanted = getenv("PLINTH_MODEL_OPERATIONS");
    const char *seed_text = getenv("PLINTH_MODEL_SEED");
    uint64_t steps = wanted != NULL ? strtoull(wanted, NULL, 0) : STEPS;
    uint64_t audited = 0;
    uint64_t seed = seed_text != NULL ? strtoull(seed_text, NULL, 0) : 0x5eed5eed5eed5eedULL;

    (void)state;
    model.choose = next;
    model.source = &seed;
    for (uint32_t campaign = 0; model.steps < steps; campaign++) {
        begin(&model, pools[campaign % ARRAY_COUNT(pools)], (enum page_level)(next(&seed) % 3), CAMPAIGN_CHANGES);
        for (uint32_t i = 0; i < CAMPAIGN_STEPS; i++) {
            step(&model);
            if (i % STEPS_BETWEEN_AUDITS == 0) {
                struct audit_finding finding;

                if (!audit_passes(&model.shadow, &finding)) {
                    fail_msg("%s", finding.sentence);
                }
                audited += finding.mapped_bytes;
            }
        }
    }
    assert_true(audited > steps);
    print_message("%lu steps: %lu accesses let through, %lu exits, %lu faults of the guest, %lu of devices, %lu bad "
                  "tables, %lu flushes, %lu tables recycled, %lu global pages kept, %lu trees used again\n",
                  model.steps, model.through, model.exits, model.guest_faults, model.devices, model.bad_tables,
                  model.flushes, model.recycled, model.global_kept, model.kept);
    assert_true(model.through > steps / 50 && model.guest_faults > steps / 50 && model.devices > steps / 1000);
    assert_true(model.bad_tables != 0 && model.recycled > steps / 100 && model.kept > steps / 100);
}

/* --- what the CPU does not let through although it is there --- */

static uint64_t choice_of_zero;

#define ENTRY (P | W | U)
#define RAM_HOST 0x40000000ULL /* of guest-physical 0 */

static uint64_t *guest_table(uint64_t page)
{
    return (uint64_t *)(uintptr_t)(window(&model) + RAM_HOST + page * PAGE_BYTES);
}

/* A root in the guest's page `first` and three tables in the pages behind it, on the way to address 0. */
static void make_way(uint64_t first, uint64_t leaf)
{
    memset(guest_table(first), 0, 4 * PAGE_BYTES);
    for (uint64_t page = first; page < first + 3; page++) {
        guest_table(page)[0] = (page + 1) * PAGE_BYTES | ENTRY;
    }
    guest_table(first + 3)[0] = leaf;
}

/* One user page at 0, in the guest's page 1 to 4 as tables. */
static void one_user_page_of(uint64_t cr4, uint32_t pool)
{
    choice_of_zero = 1;
    model.choose = next;
    model.source = &choice_of_zero;
    begin(&model, pool, LEVEL_1G, 0);
    make_way(1, 0x5000 | ENTRY);
    model.paging.cr0 = CR0_PG | CR0_WP;
    model.paging.cr3 = 0x1000;
    model.paging.cr4 = CR4_PAE | cr4;
    model.paging.efer = EFER_LMA | EFER_NXE;
    shadow_flush(&model.shadow, &model.paging);
}

static void one_user_page(uint64_t cr4)
{
    one_user_page_of(cr4, SHADOW_TABLES_MIN);
}

static enum shadow_result fault_at_0(uint8_t cpl, bool implicit, uint32_t *error)
{
    struct guest_paging paging = model.paging;
    struct guest_translation result;
    enum shadow_result answer;

    paging.cpl = cpl;
    paging.rflags = RFLAGS_AC;
    paging.implicit_supervisor = implicit;
    answer = shadow_fault(&model.shadow, &paging, 0, GUEST_READ, &result);
    *error = result.error_code;
    return answer;
}

static void smap_holds_for_accesses_that_ac_does_not_help(void **state)
{
    uint32_t error;

    (void)state;
    one_user_page(CR4_SMAP);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_GUEST_FAULT); /* it was there: it must have been implicit */
    assert_int_equal(error, PAGE_FAULT_PRESENT);
    assert_int_equal(fault_at_0(3, true, &error), SHADOW_GUEST_FAULT);
    assert_int_equal(error, PAGE_FAULT_PRESENT);
}

static void a_fault_without_a_cause_is_let_through_again(void **state)
{
    uint32_t error;

    (void)state;
    one_user_page(0);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
        assert_int_equal(fault_at_0(3, false, &error), SHADOW_FILLED);
        assert_int_equal(fault_at_0(3, true, &error), SHADOW_FILLED);
    }
}

static void a_leaf_that_leads_out_of_the_guest_is_found_by_the_audit(void **state)
{
    struct audit_finding finding;
    uint64_t *entry;
    uint64_t table;
    uint32_t error;

    (void)state;
    one_user_page(0);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    assert_true(audit_passes(&model.shadow, &finding));
    table = shadow_root(&model.shadow);
    for (unsigned level = 4; level-- > 0; table = *entry & ADDRESS_MASK) {
        entry = (uint64_t *)(uintptr_t)(window(&model) + table);
        assert_true((*entry & P) != 0);
    }
    *entry = (*entry & ~ADDRESS_MASK) | POOL;
    assert_false(audit_passes(&model.shadow, &finding));
    assert_int_equal(finding.violation, AUDIT_REACHES_HYPERVISOR);
    assert_non_null(strstr(finding.sentence, "linear 0x0"));
    *entry = (*entry & ~ADDRESS_MASK) | 0x50000000;
    assert_false(audit_passes(&model.shadow, &finding));
    assert_int_equal(finding.violation, AUDIT_REACHES_NOTHING);
}

/* A root that was used before is whole again at the switch, where the guest has changed nothing; what it has changed is
 * not there. */
static void a_switch_back_needs_no_exit(void **state)
{
    uint64_t *guest_leaf = guest_table(4);
    uint64_t *other_root = guest_table(6);
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    one_user_page(0);
    other_root[0] = 0x2000 | ENTRY;
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    model.paging.cr3 = 0x6000;
    shadow_flush(&model.shadow, &model.paging);
    assert_false(cpu_walk(&model, 0, &to, &host));
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    for (uint32_t i = 0; i < 4; i++) {
        model.paging.cr3 = i % 2 == 0 ? 0x1000 : 0x6000;
        shadow_flush(&model.shadow, &model.paging);
        assert_true(cpu_walk(&model, 0, &to, &host));
        assert_int_equal(host, 0x40005000);
    }
    *guest_leaf = 0x7000 | ENTRY;
    shadow_flush(&model.shadow, &model.paging);
    assert_false(cpu_walk(&model, 0, &to, &host));
}

/* With CR0.WP clear and SMAP on: what a write has made a supervisor's page is not there after a flush of any kind. A
 * page of 4 KiB, and a part of a large one. */
static void a_forced_write_ends_with_the_next_flush(void **state)
{
    uint64_t *tables = guest_table(1);
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    (void)state;
    for (uint32_t kind = 0; kind < 8; kind++) {
        one_user_page(CR4_SMAP | CR4_PGE);
        model.paging.cr0 = CR0_PG;
        model.paging.rflags = RFLAGS_AC;
        tables[1024] = (kind & 1) != 0 ? 0x600000 | P | U | PS | G : 0x4000 | ENTRY;
        tables[1536] = 0x5000 | P | U | G;
        shadow_flush(&model.shadow, &model.paging);
        for (uint32_t turn = 0; turn < 3; turn++) {
            assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_WRITE, &result), SHADOW_FILLED);
            assert_true(cpu_walk(&model, 0, &to, &host) && to.write && !to.user);
            if ((kind & 2) != 0) {
                switch_space(&model.shadow, &model.paging);
            } else {
                shadow_flush(&model.shadow, &model.paging);
            }
            assert_false(cpu_walk(&model, 0, &to, &host) && !to.user);
            if ((kind & 4) != 0) { /* a read in between, which finds the tables by their names */
                assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0x1000, GUEST_READ, &result),
                                 (kind & 1) != 0 ? SHADOW_FILLED : SHADOW_GUEST_FAULT);
                assert_false(cpu_walk(&model, 0, &to, &host) && !to.user);
            }
        }
    }
}

/* Eight address spaces with tables of their own all the way, each with a page. */
static void eight_roots_stay(void **state)
{
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    one_user_page_of(0, 64);
    for (uint64_t i = 0; i < 8; i++) {
        make_way(1 + 4 * i, (0x200000 + 0x1000 * i) | ENTRY);
    }
    for (uint32_t i = 0; i < 24; i++) {
        model.paging.cr3 = 0x1000 + 0x4000 * (uint64_t)(i % 8);
        switch_space(&model.shadow, &model.paging);
        assert_int_equal(cpu_walk(&model, 0, &to, &host), i >= 8);
        if (i < 8) {
            assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
        } else {
            assert_int_equal(host, 0x40200000 + 0x1000 * (uint64_t)(i % 8));
        }
    }
}

/* Two address spaces with a directory that both have. What is used again needs no look at its tables: after it was
 * seen twice without a change, and only while the guest's entries and the shared table are as they were. */
static void a_tree_is_used_again_while_nothing_has_changed(void **state)
{
    uint64_t *tables = guest_table(1);
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    one_user_page_of(0, 64);
    memcpy(&tables[5 * 512], tables, PAGE_BYTES); /* another root */
    for (uint32_t i = 0; i < 24; i++) {
        uint32_t since = i % 12; /* the leaf was changed */
        uint64_t kept = model.shadow.kept;

        model.paging.cr3 = i % 2 == 0 ? 0x6000 : 0x1000;
        switch_space(&model.shadow, &model.paging);
        assert_true(since > 1 || model.shadow.kept == kept);
        assert_true(since < 8 || model.shadow.kept == kept + 1);
        if (!cpu_walk(&model, 0, &to, &host)) {
            assert_true(since < 2);
            assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
            assert_true(cpu_walk(&model, 0, &to, &host));
        }
        assert_int_equal(host, i < 12 ? 0x40005000 : 0x40007000);
        if (i == 11) {
            tables[1536] = 0x7000 | ENTRY; /* in a table of both, and there is no flush but the switch */
        }
    }
}

static void switch_to(uint64_t page)
{
    model.paging.cr3 = page * PAGE_BYTES;
    switch_space(&model.shadow, &model.paging);
}

/* Neighbours of a page that was filled are there without an exit. What the CPU has not used of them when the address
 * space is listed is not compared at each switch from then on: it is gone, and comes again where it is touched. */
static void what_is_read_ahead_and_not_used_leaves_a_tree_that_is_listed(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    (void)state;
    one_user_page_of(0, 64);
    for (uint64_t page = 0; page < 4; page++) {
        guest_table(4)[page] = (0x5000 + page * PAGE_BYTES) | ENTRY | X86_ACCESSED;
    }
    make_way(12, 0);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 2 * PAGE_BYTES, GUEST_READ, &result), SHADOW_FILLED);
    for (uint64_t page = 0; page < 4; page++) {
        const uint64_t *leaf = cpu_leaf(&model, page * PAGE_BYTES, &to, &host);

        assert_non_null(leaf);
        assert_int_equal((*leaf & X86_ACCESSED) != 0, page == 2);
    }
    *cpu_leaf(&model, 0, &to, &host) |= X86_ACCESSED; /* as the CPU does that uses it */
    for (uint32_t i = 0; i < 6; i++) {
        switch_to(12);
        switch_to(1);
    }
    assert_int_equal(model.shadow.tree->state, SHADOW_TREE_LISTED);
    for (uint64_t page = 0; page < 4; page++) {
        assert_int_equal(cpu_walk(&model, page * PAGE_BYTES, &to, &host), page % 2 == 0);
    }
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, PAGE_BYTES, GUEST_READ, &result), SHADOW_FILLED);
    assert_true(cpu_walk(&model, PAGE_BYTES, &to, &host));
    assert_int_equal(host, RAM_HOST + 0x6000);
}

#define EMPTY_ROOT 20u

/* The same of what another address space has used in a table: a new process often gets those of one that is gone. */
static void what_another_address_space_has_used_leaves_the_list_of_this_one(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    (void)state;
    one_user_page_of(0, 64);
    for (uint64_t page = 0; page < 3; page += 2) { /* not beside each other */
        guest_table(4)[page] = (0x5000 + page * PAGE_BYTES) | ENTRY | X86_ACCESSED;
        assert_int_equal(shadow_fault(&model.shadow, &model.paging, page * PAGE_BYTES, GUEST_READ, &result),
                         SHADOW_FILLED);
    }
    make_way(6, 0);
    guest_table(8)[0] = 0x4000 | ENTRY; /* the last table of the first way */
    make_way(12, 0);
    switch_to(6);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_READ, &result), SHADOW_FILLED);
    assert_true(cpu_walk(&model, 2 * PAGE_BYTES, &to, &host));
    for (uint32_t i = 0; i < 6; i++) {
        switch_to(12);
        switch_to(6);
    }
    assert_int_equal(model.shadow.tree->state, SHADOW_TREE_LISTED);
    assert_true(cpu_walk(&model, 0, &to, &host));
    assert_false(cpu_walk(&model, 2 * PAGE_BYTES, &to, &host));
}

/* A link that was carried with global pages from a root outside of RAM has nothing to be compared with. When a page
 * that is not global comes below it, it is one of this address space's, and ends with the guest's entry. */
static void a_link_that_came_with_global_pages_is_not_kept_for_others(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    (void)state;
    one_user_page_of(CR4_PGE, 64);
    guest_table(4)[0] |= 0x100; /* global */
    guest_table(4)[1] = 0x7000 | ENTRY;
    memset(guest_table(EMPTY_ROOT), 0, PAGE_BYTES);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_READ, &result), SHADOW_FILLED);
    switch_to(0x100000); /* outside */
    assert_true(cpu_walk(&model, 0, &to, &host));
    switch_to(EMPTY_ROOT);
    guest_table(EMPTY_ROOT)[0] = guest_table(1)[0];
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0x1000, GUEST_READ, &result), SHADOW_FILLED);
    assert_true(cpu_walk(&model, 0x1000, &to, &host));
    guest_table(EMPTY_ROOT)[0] = 0;
    switch_to(EMPTY_ROOT);
    assert_false(cpu_walk(&model, 0x1000, &to, &host));
}

/* A table with a forced page, and a global one beside it, was taken by a second address space, and a third one has it
 * now with what is global. */
static void a_table_that_had_a_forced_page(uint32_t pool)
{
    struct guest_translation result;

    one_user_page_of(CR4_PGE, pool);
    guest_table(4)[0] = 0x5000 | P;
    guest_table(4)[1] = 0x7000 | ENTRY | 0x100; /* global */
    make_way(6, 0);
    guest_table(8)[0] = 0x4000 | ENTRY; /* the last table of the first way */
    memset(guest_table(EMPTY_ROOT), 0, PAGE_BYTES);
    model.paging.cr0 = CR0_PG;
    shadow_flush(&model.shadow, &model.paging);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_WRITE, &result), SHADOW_FILLED);
    switch_to(6);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0x1000, GUEST_READ, &result), SHADOW_FILLED);
    switch_to(EMPTY_ROOT);
}

/* It is emptied when another address space takes it, and is as global as what links to it. */
static void a_table_that_had_a_forced_page_stays_in_the_tree(void **state)
{
    struct translation to;
    uint64_t host;

    (void)state;
    a_table_that_had_a_forced_page(64);
    assert_true(cpu_walk(&model, 0x1000, &to, &host)); /* which looks at the epoch of each table */
    assert_int_equal(host, RAM_HOST + 0x7000);
}

/* What 69aeeef mended, as the CPU sees it: the table counted as free while it was linked, and was used again a level
 * higher. A link to a table of ours was then a page of the guest's. All places that are filled are entry 1. */
static void a_table_that_is_linked_is_not_used_again_a_level_higher(void **state)
{
    struct guest_translation result;
    struct audit_finding finding;
    const uint64_t first = 12; /* the guest's three tables below its root */

    (void)state;
    a_table_that_had_a_forced_page(SHADOW_TABLES_MIN);
    memset(guest_table(first), 0, 3 * PAGE_BYTES);
    guest_table(first)[1] = (first + 1) * PAGE_BYTES | ENTRY;
    guest_table(first + 1)[1] = (first + 2) * PAGE_BYTES | ENTRY;
    guest_table(first + 2)[1] = 0x5000 | ENTRY;
    for (uint64_t i = 1; i <= SHADOW_TABLES_MIN; i++) {
        uint64_t linear = i << 39 | 1ULL << 30 | 1ULL << 21 | 1ULL << 12;

        guest_table(EMPTY_ROOT)[i] = first * PAGE_BYTES | ENTRY;
        assert_int_equal(shadow_fault(&model.shadow, &model.paging, linear, GUEST_READ, &result), SHADOW_FILLED);
        if (!audit_passes(&model.shadow, &finding)) {
            fail_msg("%s", finding.sentence);
        }
    }
    assert_true(model.shadow.recycled > SHADOW_TABLES_MIN);
}

/* What one address space puts into a table that it takes from another one is compared before the other one has it. */
static void a_table_that_a_fill_takes_ends_the_tree_that_had_it(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;
    uint64_t kept;
    uint32_t error;

    (void)state;
    one_user_page_of(0, 64);
    make_way(6, 0);
    guest_table(8)[0] = 0x4000 | ENTRY; /* the last table of the first way */
    guest_table(4)[1] = 0x7000 | ENTRY;
    memset(guest_table(EMPTY_ROOT), 0, PAGE_BYTES);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    for (uint32_t i = 0; i < 3; i++) {
        switch_to(EMPTY_ROOT);
        kept = model.shadow.kept;
        switch_to(1);
    }
    assert_int_equal(model.shadow.kept, kept + 1);
    switch_to(6);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0x1000, GUEST_READ, &result), SHADOW_FILLED);
    guest_table(4)[1] = 0x8000 | ENTRY;
    switch_to(1);
    assert_false(cpu_walk(&model, 0x1000, &to, &host));
}

/* --- many pages --- */

/* The page at `page` of a table shows its own frame. */
static uint64_t frame_of(uint64_t page)
{
    return GIB + page * PAGE_BYTES;
}

static void put_page(uint64_t table, uint64_t page)
{
    guest_table(table)[page % 512] = frame_of(page) | ENTRY | X86_ACCESSED;
}

static bool is_shown(uint64_t page)
{
    struct translation to;
    uint64_t host;
    bool there = cpu_walk(&model, page * PAGE_BYTES, &to, &host);

    assert_true(!there || host == 0x80000000 + page * PAGE_BYTES);
    return there;
}

/* As a CPU goes there, with its accessed bit. */
static void touch_page(uint64_t page)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    if (!is_shown(page)) {
        assert_int_equal(shadow_fault(&model.shadow, &model.paging, page * PAGE_BYTES, GUEST_READ, &result),
                         SHADOW_FILLED);
    }
    *cpu_leaf(&model, page * PAGE_BYTES, &to, &host) |= X86_ACCESSED;
}

/* Pages 0, step, 2 * step .. of the first way. */
static void touch_pages(uint64_t count, uint64_t step)
{
    for (uint64_t i = 0; i < count; i++) {
        put_page(4, i * step);
    }
    for (uint64_t i = 0; i < count; i++) {
        touch_page(i * step);
    }
}

/* To the other address space and back, until a tree that can be listed is. */
static void switch_there_and_back(void)
{
    for (uint32_t i = 0; i < 3; i++) {
        switch_to(EMPTY_ROOT);
        switch_to(1);
    }
}

static void start_many(void)
{
    one_user_page_of(0, 128);
    memset(guest_table(EMPTY_ROOT), 0, PAGE_BYTES);
}

/* What is the same stays at a flush, however many entries there are beside each other, and what is not goes alone. */
static void one_page_of_many_that_has_changed_goes_alone(void **state)
{
    static const uint64_t counts[] = {1, 2, 7, 8, 9, 15, 16, 64, 200, 512};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(counts); i++) {
        start_many();
        touch_pages(counts[i], 1);
        shadow_flush(&model.shadow, &model.paging);
        for (uint64_t page = 0; page < counts[i]; page++) {
            assert_true(is_shown(page));
        }
        guest_table(4)[counts[i] / 2] = 0;
        shadow_flush(&model.shadow, &model.paging);
        for (uint64_t page = 0; page < counts[i]; page++) {
            assert_int_equal(is_shown(page), page != counts[i] / 2);
        }
    }
}

/* A list has 103 places, of which the single ones are filled up to a multiple of 4, and the three tables above take one
 * each. The half of them is for entries by themselves, then a run of any length takes one place. Whether there is a
 * list or not, each page that was changed is gone. */
static void a_tree_is_listed_if_all_of_it_fits(void **state)
{
    static const struct {
        uint64_t singles, pairs; /* pages, each with a gap behind it */
        bool listed;
    } rows[] = {{96, 0, true},   {97, 0, true},  {98, 0, false}, {100, 0, false}, {101, 0, false},
                {103, 0, false}, {49, 48, true}, {49, 51, true}, {49, 52, false}, {10, 60, true}};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t pages = rows[i].singles + rows[i].pairs;
        uint64_t changed = 2 * (rows[i].singles / 2);
        uint64_t kept;

        start_many();
        for (uint64_t at = 0; at < pages; at++) {
            uint64_t page = at < rows[i].singles ? 2 * at : 3 * at - rows[i].singles;

            put_page(4, page);
            touch_page(page);
            if (at >= rows[i].singles) {
                put_page(4, page + 1);
                touch_page(page + 1);
            }
        }
        switch_there_and_back();
        assert_int_equal(model.shadow.tree->state == SHADOW_TREE_LISTED, rows[i].listed);
        kept = model.shadow.kept;
        switch_to(EMPTY_ROOT);
        switch_to(1);
        assert_int_equal(model.shadow.kept - kept, rows[i].listed ? 2 : 1);
        guest_table(4)[changed] = 0;
        switch_to(EMPTY_ROOT);
        switch_to(1);
        for (uint64_t page = 0; page < 2 * rows[i].singles; page += 2) {
            assert_int_equal(is_shown(page), page != changed);
        }
    }
}

/* Many entries beside each other are one run of the list, which is compared as a whole. */
static void a_run_that_has_changed_is_seen_at_the_switch(void **state)
{
    static const uint64_t counts[] = {32, 40, 47, 512};

    (void)state;
    for (uint32_t i = 0; i < 2 * ARRAY_COUNT(counts); i++) {
        uint64_t count = counts[i / 2];
        uint64_t changed = i % 2 == 0 ? count - 1 : 3;
        uint64_t kept;

        start_many();
        touch_pages(count, 1);
        switch_there_and_back();
        assert_int_equal(model.shadow.tree->state, SHADOW_TREE_LISTED);
        kept = model.shadow.kept;
        switch_to(EMPTY_ROOT);
        switch_to(1);
        assert_int_equal(model.shadow.kept, kept + 2);
        guest_table(4)[changed] = 0;
        switch_to(EMPTY_ROOT);
        switch_to(1);
        assert_int_equal(model.shadow.kept, kept + 3); /* the empty one alone */
        for (uint64_t page = 0; page < count; page++) {
            assert_int_equal(is_shown(page), page != changed);
        }
    }
}

/* The same where what other trees share was changed meanwhile: then the switch goes the slow way. */
static void a_run_that_has_changed_is_seen_by_a_switch_that_looks_at_shares_first(void **state)
{
    (void)state;
    for (uint32_t changes = 0; changes < 2; changes++) {
        uint64_t kept;

        start_many();
        make_way(6, 0);
        make_way(10, 0);
        guest_table(12)[0] = 0x9000 | ENTRY; /* the last table of the way from 6 */
        guest_table(9)[0] = frame_of(0) | ENTRY;
        touch_pages(40, 1);
        for (uint32_t i = 0; i < 6; i++) { /* two that share a table, which is listed as shared */
            switch_to(i % 2 == 0 ? 6 : 10);
            touch_page(0);
        }
        switch_to(1);
        switch_there_and_back();
        assert_int_equal(model.shadow.tree->state, SHADOW_TREE_LISTED);
        switch_to(6);
        guest_table(9)[1] = frame_of(1) | ENTRY;
        kept = model.shadow.shared_changes;
        touch_page(1); /* which the table of both gets */
        assert_true(model.shadow.shared_changes != kept);
        kept = model.shadow.kept;
        guest_table(4)[20] ^= changes != 0 ? P : 0;
        switch_to(1);
        assert_int_equal(model.shadow.kept, kept + 1 - changes);
        for (uint64_t page = 0; page < 40; page++) {
            assert_int_equal(is_shown(page), changes == 0 || page != 20);
        }
    }
}

/* More tables of two trees than a list has room for: both are good all the same. */
static void a_tree_with_many_shared_tables_has_no_list(void **state)
{
    (void)state;
    for (uint64_t tables = SHADOW_TREE_SHARES - 2; tables < SHADOW_TREE_SHARES + 2; tables++) {
        bool fits = tables + 2 <= SHADOW_TREE_SHARES;

        start_many();
        memcpy(guest_table(6), guest_table(1), PAGE_BYTES); /* another root, with all tables in common */
        for (uint64_t i = 0; i < tables; i++) {
            guest_table(3)[i] = (21 + i) * PAGE_BYTES | ENTRY;
            memset(guest_table(21 + i), 0, PAGE_BYTES);
            put_page(21 + i, i * 512);
        }
        for (uint32_t turn = 0; turn < 48; turn++) { /* with each one table more is known to be shared */
            switch_to(turn % 2 == 0 ? 1 : 6);
            for (uint64_t i = 0; i < tables; i++) {
                assert_true(turn < 2 || is_shown(i * 512));
                touch_page(i * 512);
            }
        }
        assert_int_equal(model.shadow.tree->state == SHADOW_TREE_LISTED, fits);
        guest_table(23)[0] = 0;
        switch_to(1);
        for (uint64_t i = 0; i < tables; i++) {
            assert_int_equal(is_shown(i * 512), i != 2);
        }
    }
}

/* A switch looks at so many entries and no more: what is behind that comes again by faults, as the guest says it. */
static void of_very_many_pages_a_switch_keeps_some_tables(void **state)
{
    uint64_t shown = 0;

    (void)state;
    for (uint32_t changes = 0; changes < 2; changes++) {
        start_many();
        for (uint64_t table = 0; table < 6; table++) {
            guest_table(3)[table] = (21 + table) * PAGE_BYTES | ENTRY;
            for (uint64_t page = 0; page < 512; page++) {
                put_page(21 + table, table * 512 + page);
            }
            for (uint64_t page = 0; page < 512; page++) {
                touch_page(table * 512 + page);
            }
        }
        guest_table(21)[7] ^= changes != 0 ? P : 0;
        guest_table(26)[7] ^= changes != 0 ? P : 0;
        shadow_flush(&model.shadow, &model.paging);
        shown = 0;
        for (uint64_t page = 0; page < 6 * 512; page++) {
            bool there = is_shown(page);

            shown += there;
            assert_false(there && changes != 0 && (page == 7 || page == 5 * 512 + 7));
        }
        assert_int_equal(shown, 3 * 512 - changes); /* the tables above count, too */
        assert_true(is_shown(0) && !is_shown(5 * 512));
        touch_page(5 * 512);
    }
}

/* INVLPG takes a table out of a tree that is listed, and another address space has it, too. When CR3 is written again,
 * nothing of the list has changed; the table is not linked, though, and must count as free: a page that is put into it
 * is seen by no CPU, and when it is recycled there is no link to take out. */
static void a_shared_table_that_invlpg_took_out_stays_out(void **state)
{
    const uint64_t large = 0x600000 | ENTRY | PS | X86_ACCESSED; /* whose memory starts at an odd page */
    struct guest_translation result;
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        one_user_page(0);
        make_way(6, 0);
        guest_table(3)[0] = guest_table(8)[0] = large;
        for (uint64_t i = 1; i < 40; i++) {
            guest_table(3)[i] = (EMPTY_ROOT - 10 + i % 20) * PAGE_BYTES | ENTRY;
            guest_table(EMPTY_ROOT - 10 + i % 20)[0] = 0x7000 | ENTRY;
        }
        for (uint32_t i = 0; i < 11; i++) {
            switch_to(i % 2 == 0 ? 1 : 6);
            if (!cpu_walk(&model, 0, &to, &host)) {
                assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
            }
        }
        assert_int_equal(model.shadow.tree->state, SHADOW_TREE_LISTED);
        shadow_invalidate(&model.shadow, 0);
        switch_to(1);
        assert_false(cpu_walk(&model, 0, &to, &host));
        for (uint64_t i = 1; kind != 0 && i < 40; i++) { /* as many tables as there are */
            assert_int_equal(shadow_fault(&model.shadow, &model.paging, i << 21, GUEST_READ, &result), SHADOW_FILLED);
            assert_true(cpu_walk(&model, i << 21, &to, &host) && host == RAM_HOST + 0x7000);
        }
        assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
        assert_true(cpu_walk(&model, 0, &to, &host));
        assert_int_equal(host, 0x48001000);
    }
}

/* And so many tables, of which the three above are some; not one is lost for good. */
static void of_very_many_tables_a_switch_keeps_some(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        uint32_t shown = 0;

        start_many();
        guest_table(21)[0] = frame_of(0) | ENTRY | X86_ACCESSED;
        guest_table(21)[1] = 0; /* one table of the guest's in 40 places, each of which has one of ours */
        for (uint64_t i = 0; i < 40; i++) {
            struct guest_translation result;

            guest_table(3)[i] = 21 * PAGE_BYTES | ENTRY;
            assert_int_equal(shadow_fault(&model.shadow, &model.paging, i << 21, GUEST_READ, &result), SHADOW_FILLED);
        }
        if (kind == 0) {
            shadow_flush(&model.shadow, &model.paging);
        } else {
            switch_to(EMPTY_ROOT);
            switch_to(1);
        }
        for (uint64_t i = 0; i < 40; i++) {
            struct guest_translation result;
            struct translation to;
            uint64_t host;

            shown += cpu_walk(&model, i << 21, &to, &host);
            if (!cpu_walk(&model, i << 21, &to, &host)) {
                assert_int_equal(shadow_fault(&model.shadow, &model.paging, i << 21, GUEST_READ, &result),
                                 SHADOW_FILLED);
            }
            assert_true(cpu_walk(&model, i << 21, &to, &host) && host == 0x80000000);
        }
        assert_int_equal(shown, 32 - 3);
    }
}

/* A table of two address spaces that is recycled goes from the one that is in use, whichever had it first. */
static void a_table_taken_back_is_recycled_where_it_is(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    for (uint32_t kind = 0; kind < 4; kind++) {
        uint64_t root = (kind & 1) != 0 ? 1 : 6;
        uint32_t turns = 12 + kind / 2; /* of which the last one is the root's */
        uint32_t gone = 0;
        uint64_t kept = 0;

        one_user_page(0);
        make_way(6, 0);
        guest_table(8)[0] = 0x4000 | ENTRY;
        for (uint64_t i = 1; i < 40; i++) { /* other pages, each in a table of its own */
            guest_table(root + 2)[i] = (EMPTY_ROOT + i) * PAGE_BYTES | ENTRY;
            guest_table(EMPTY_ROOT + i)[0] = (0x200000 + i * PAGE_BYTES) | ENTRY;
        }
        for (uint32_t i = 0; i < turns; i++) {
            kept = model.shadow.kept;
            switch_to((turns - i) % 2 == 0 ? 7 - root : root);
            if (!cpu_walk(&model, 0, &to, &host)) {
                assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
            }
        }
        assert_int_equal(model.shadow.kept, kept + 1);
        for (uint64_t i = 1; i < 40; i++) {
            assert_int_equal(shadow_fault(&model.shadow, &model.paging, i << 21, GUEST_READ, &result), SHADOW_FILLED);
            assert_true(cpu_walk(&model, i << 21, &to, &host) && host == RAM_HOST + 0x200000 + i * PAGE_BYTES);
            gone += cpu_walk(&model, 0, &to, &host) ? 0 : 1;
            assert_true(gone != 0 || host == RAM_HOST + 0x5000);
        }
        assert_int_not_equal(gone, 0);
    }
}

/* SDM 3A 4.10.4.1: MOV to CR3 does not take global pages out of a TLB; INVLPG and a change of CR4.PGE do. */
static void a_global_page_stays_where_cr3_is_written(void **state)
{
    uint64_t *guest_leaf = guest_table(4);
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    for (uint32_t end = 0; end < 3; end++) {
        one_user_page(CR4_PGE);
        *guest_leaf |= G;
        assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
        for (uint32_t i = 0; i < 4; i++) {
            model.paging.cr3 = i % 2 == 0 ? 0x6000 : 0x1000; /* there is nothing at 0x6000 */
            switch_space(&model.shadow, &model.paging);
            assert_true(cpu_walk(&model, 0, &to, &host));
            assert_int_equal(host, 0x40005000);
        }
        if (end == 0) {
            shadow_invalidate(&model.shadow, 0);
        } else if (end == 1) {
            *guest_leaf = 0; /* what is compared is as it was, else */
            shadow_flush(&model.shadow, &model.paging);
        } else {
            *guest_leaf &= ~G;
            shadow_invalidate(&model.shadow, 0);
            assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
            assert_true(cpu_walk(&model, 0, &to, &host));
            model.paging.cr3 = 0x6000;
            switch_space(&model.shadow, &model.paging);
        }
        assert_false(cpu_walk(&model, 0, &to, &host));
    }
}

/* A table that has had other pages makes all above it so, and none of them stays. */
static void a_table_with_other_pages_does_not_stay(void **state)
{
    uint64_t *tables = guest_table(1);
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    one_user_page(CR4_PGE);
    tables[1536] |= G;
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED); /* 1, 2, 3, 4 are global */
    make_way(6, 0x5000 | ENTRY);                                   /* 6, 7, 8, 9 are not */
    shadow_invalidate(&model.shadow, 0);
    model.paging.cr3 = 0x6000;
    switch_space(&model.shadow, &model.paging);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    model.paging.cr3 = 0x1000;
    switch_space(&model.shadow, &model.paging);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    tables[512] = 0x8000 | ENTRY; /* the directory of the other one, whose page is global now */
    tables[8 * 512] |= G;
    shadow_invalidate(&model.shadow, 0);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    assert_true(cpu_walk(&model, 0, &to, &host));
    model.paging.cr3 = 0x500000; /* a device */
    for (uint32_t i = 0; i < 2; i++) {
        switch_space(&model.shadow, &model.paging);
        assert_false(cpu_walk(&model, 0, &to, &host));
    }
}

/* A page that is not global comes beside a global one, right after it, so that the way to their table is known. */
static void a_page_beside_a_global_one_is_not_kept_as_one(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    one_user_page_of(CR4_PGE, 64);
    guest_table(4)[0] |= G;
    guest_table(4)[1] = 0x7000 | ENTRY;
    memset(guest_table(EMPTY_ROOT), 0, PAGE_BYTES);
    assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0x1000, GUEST_READ, &result), SHADOW_FILLED);
    assert_true(cpu_walk(&model, 0, &to, &host) && cpu_walk(&model, 0x1000, &to, &host));
    switch_to(EMPTY_ROOT);
    assert_false(cpu_walk(&model, 0x1000, &to, &host));
}

/* In one table, the second one filled. */
static void a_global_page_and_another(void)
{
    struct guest_translation result;

    one_user_page_of(CR4_PGE, 64);
    guest_table(4)[0] |= G;
    guest_table(4)[1] = 0x7000 | ENTRY;
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0x1000, GUEST_READ, &result), SHADOW_FILLED);
}

/* A global page in a table that has others, below one that has had none but is not in the epoch of global pages, for
 * what links to it is not. When that one comes below a root by itself, the table is not kept as a global one. */
static void a_table_with_other_pages_is_not_kept_below_one_without(void **state)
{
    struct guest_translation result;
    struct audit_finding finding;
    struct translation to;
    uint64_t host;

    (void)state;
    a_global_page_and_another();
    make_way(6, 0); /* 6, 7, 8 and then the last table of the first way; and beside them a page that is not global */
    guest_table(8)[0] = 0x4000 | ENTRY;
    make_way(10, 0x7000 | ENTRY);
    guest_table(7)[1] = 12 * PAGE_BYTES | ENTRY;
    switch_to(6);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, GIB, GUEST_READ, &result), SHADOW_FILLED);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_READ, &result), SHADOW_FILLED);
    make_way(EMPTY_ROOT, 0);
    guest_table(EMPTY_ROOT + 1)[0] = 8 * PAGE_BYTES | ENTRY;
    switch_to(EMPTY_ROOT);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_READ, &result), SHADOW_FILLED);
    assert_true(cpu_walk(&model, 0, &to, &host) && host == RAM_HOST + 0x5000);
    assert_true(audit_passes(&model.shadow, &finding));
    switch_to(0x500);
    assert_false(cpu_walk(&model, 0x1000, &to, &host));
}

/* A table with other pages comes below two tables that have had none: both are as it is, up to the root. */
static void a_table_with_other_pages_makes_all_above_it_so(void **state)
{
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    (void)state;
    a_global_page_and_another();
    make_way(6, 0);
    guest_table(8)[0] = 0x4000 | ENTRY;
    switch_to(6);
    assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_READ, &result), SHADOW_FILLED);
    assert_true(cpu_walk(&model, 0, &to, &host) && host == RAM_HOST + 0x5000);
    assert_true(cpu_walk(&model, 0x1000, &to, &host)); /* it is as it was */
    switch_to(0x500);
    assert_false(cpu_walk(&model, 0x1000, &to, &host));
}

/* The parts of a large page of the guest's that RAM does not allow as one leaf are there again at the switch. */
static void parts_of_a_large_page_are_there_again_at_a_switch(void **state)
{
    uint64_t *tables = guest_table(1);
    struct translation to;
    uint64_t host;
    uint32_t error;

    (void)state;
    one_user_page(0);
    tables[1024] = 0x600000 | ENTRY | PS; /* whose memory starts at an odd page */
    memcpy(tables + 5 * 512, tables, 8);  /* another root */
    for (uint32_t i = 0; i < 6; i++) {
        model.paging.cr3 = i % 2 == 0 ? 0x6000 : 0x1000;
        switch_space(&model.shadow, &model.paging);
        assert_int_equal(cpu_walk(&model, 0, &to, &host), i >= 2);
        if (i < 2) {
            assert_int_equal(fault_at_0(0, false, &error), SHADOW_FILLED);
        } else {
            assert_int_equal(host, 0x48001000);
        }
    }
    tables[1024] ^= W;
    model.paging.cr3 = 0x6000;
    switch_space(&model.shadow, &model.paging);
    assert_false(cpu_walk(&model, 0, &to, &host));
}

/* A part of a 1 GiB page of one address space is a part of a 2 MiB page of another one, with the same rights: both have
 * the same table of ours, and find it at the switch by the name that it has for each. */
static void a_table_of_parts_of_two_large_pages_is_the_same(void **state)
{
    const uint64_t linear = 0x600000; /* whose memory starts at an odd page */
    const uint64_t used = ENTRY | PS | X86_ACCESSED | X86_DIRTY;
    struct guest_translation result;
    struct translation to;
    uint64_t host;

    (void)state;
    one_user_page_of(0, 64);
    guest_table(2)[0] = 0 | used;
    make_way(6, 0);
    guest_table(8)[3] = linear | used;
    for (uint32_t i = 0; i < 6; i++) {
        switch_to(i % 2 == 0 ? 1 : 6);
        assert_int_equal(cpu_walk(&model, linear, &to, &host), i >= 2);
        if (i < 2) {
            assert_int_equal(shadow_fault(&model.shadow, &model.paging, linear, GUEST_READ, &result), SHADOW_FILLED);
        } else {
            assert_true(host == 0x48001000 && to.write && to.user);
        }
    }
    guest_table(8)[3] ^= X86_DIRTY; /* another name: a write has to be seen */
    switch_to(6);
    assert_false(cpu_walk(&model, linear, &to, &host));
}

/* The leaf that a fill makes is what the page-table core would have encoded. */
static void leaves_are_those_of_the_page_table_core(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 4; kind++) {
        const struct page_attributes attributes = {
            .read = true, .write = (kind & 1) != 0, .execute = (kind & 2) != 0, .user = true, .cache = CACHE_WB};
        uint64_t *guest_leaf = guest_table(4);
        const uint64_t *entry;
        struct guest_translation result;
        uint64_t table;

        one_user_page(0);
        *guest_leaf = 0x5000 | P | U | ((kind & 1) != 0 ? W | X86_DIRTY : 0) | ((kind & 2) != 0 ? 0 : X86_NO_EXECUTE);
        assert_int_equal(shadow_fault(&model.shadow, &model.paging, 0, GUEST_READ, &result), SHADOW_FILLED);
        table = shadow_root(&model.shadow);
        for (unsigned level = 4; level-- > 0; table = *entry & ADDRESS_MASK) {
            entry = (const uint64_t *)(uintptr_t)(window(&model) + table);
        }
        assert_int_equal(*entry,
                         0x40005000 | format_encode(&page_table_host4, &attributes, false) | X86_ACCESSED | X86_DIRTY);
    }
}

static void memory_is_counted_for_rows_lists_entries_seen_and_tables(void **state)
{
    (void)state;
    assert_int_equal(shadow_bytes(64) % PAGE_BYTES, 0);
    assert_in_range(shadow_bytes(64) - SHADOW_TREES * sizeof(struct shadow_list),
                    64 * (2 * PAGE_BYTES + sizeof(struct shadow_table)), 64 * 2 * PAGE_BYTES + 3 * PAGE_BYTES);
    assert_int_equal(planner_shadow_pages(0, 4), 0);
    assert_int_equal(planner_shadow_pages(64, 4), 4 * (1 + shadow_bytes(64) / PAGE_BYTES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_shown_that_a_tlb_could_not_hold),
        cmocka_unit_test(smap_holds_for_accesses_that_ac_does_not_help),
        cmocka_unit_test(a_fault_without_a_cause_is_let_through_again),
        cmocka_unit_test(a_leaf_that_leads_out_of_the_guest_is_found_by_the_audit),
        cmocka_unit_test(leaves_are_those_of_the_page_table_core),
        cmocka_unit_test(a_switch_back_needs_no_exit),
        cmocka_unit_test(a_forced_write_ends_with_the_next_flush),
        cmocka_unit_test(eight_roots_stay),
        cmocka_unit_test(a_tree_is_used_again_while_nothing_has_changed),
        cmocka_unit_test(what_is_read_ahead_and_not_used_leaves_a_tree_that_is_listed),
        cmocka_unit_test(what_another_address_space_has_used_leaves_the_list_of_this_one),
        cmocka_unit_test(a_link_that_came_with_global_pages_is_not_kept_for_others),
        cmocka_unit_test(a_table_that_had_a_forced_page_stays_in_the_tree),
        cmocka_unit_test(a_table_that_is_linked_is_not_used_again_a_level_higher),
        cmocka_unit_test(a_table_that_a_fill_takes_ends_the_tree_that_had_it),
        cmocka_unit_test(one_page_of_many_that_has_changed_goes_alone),
        cmocka_unit_test(a_tree_is_listed_if_all_of_it_fits),
        cmocka_unit_test(a_run_that_has_changed_is_seen_at_the_switch),
        cmocka_unit_test(a_run_that_has_changed_is_seen_by_a_switch_that_looks_at_shares_first),
        cmocka_unit_test(a_tree_with_many_shared_tables_has_no_list),
        cmocka_unit_test(of_very_many_pages_a_switch_keeps_some_tables),
        cmocka_unit_test(a_shared_table_that_invlpg_took_out_stays_out),
        cmocka_unit_test(of_very_many_tables_a_switch_keeps_some),
        cmocka_unit_test(a_table_taken_back_is_recycled_where_it_is),
        cmocka_unit_test(a_global_page_stays_where_cr3_is_written),
        cmocka_unit_test(a_table_with_other_pages_does_not_stay),
        cmocka_unit_test(a_page_beside_a_global_one_is_not_kept_as_one),
        cmocka_unit_test(a_table_of_parts_of_two_large_pages_is_the_same),
        cmocka_unit_test(a_table_with_other_pages_is_not_kept_below_one_without),
        cmocka_unit_test(a_table_with_other_pages_makes_all_above_it_so),
        cmocka_unit_test(parts_of_a_large_page_are_there_again_at_a_switch),
        cmocka_unit_test(memory_is_counted_for_rows_lists_entries_seen_and_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
