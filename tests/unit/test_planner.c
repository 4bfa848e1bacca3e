/* SPDX-License-Identifier: MIT */
/*
 * The planner's promises: largest leaves, exact counts (compared with real trees), all or nothing, nothing below 1 MiB,
 * and never memory that was not free.
 */
#include "hv/plan/planner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/console/console.h"
#include "hv/core/guest_devices.h"
#include "hv/host/budget.h"
#include "tests/unit/page_table_arena.h"
#include "tests/unit/random.h"
#include "tools/check/check.h"

static struct memory_map map;
static struct memory_map before;
static struct guest_plan plan;
static uint64_t missing;
static struct arena arena;

static void free_only(uint64_t start, uint64_t end)
{
    assert_int_equal(memory_map_set(&map, start, end, MEMORY_FREE), STATUS_OK);
}

/* Builds the tree that the plan speaks of and counts its tables and leaves there. */
static void compare_with_tree(const struct page_table_format *format, unsigned largest)
{
    uint64_t leaves[3] = {0, 0, 0};

    arena_start(&arena, format);
    for (uint32_t i = 0; i < plan.memory.range_count; i++) {
        const struct guest_range *range = &plan.memory.ranges[i];

        assert_int_equal(page_table_map(&arena.tree, range->start.value, range->backing, range->bytes, arena_rwx,
                                        (enum page_level)largest, NULL),
                         STATUS_OK);
        for (uint64_t offset = 0; offset < range->bytes;) {
            struct page_lookup found;

            page_table_lookup(&arena.tree, range->start.value + offset, &found);
            assert_true(found.present);
            assert_int_equal(found.to.value, range->backing.value + offset);
            leaves[found.level]++;
            offset += PAGE_BYTES << (9 * found.level);
        }
    }
    assert_int_equal(arena_used(&arena), plan.table_count);
    assert_int_equal(leaves[0], plan.leaves[0]);
    assert_int_equal(leaves[1], plan.leaves[1]);
    assert_int_equal(leaves[2], plan.leaves[2]);
    arena_end(&arena);
}

static enum memory_type type_before(uint64_t address)
{
    for (uint32_t i = 0; i < before.count; i++) {
        if (address >= before.regions[i].start && address < before.regions[i].end) {
            return before.regions[i].type;
        }
    }
    return MEMORY_MMIO;
}

/* The ranges cover the layout without gap or overlap, and are backed by what was free and is now the loader's. */
static void check_plan(uint64_t memory_bytes)
{
    uint64_t expected = 0;
    uint64_t total = 0;

    for (uint32_t i = 0; i < plan.memory.range_count; i++) {
        const struct guest_range *range = &plan.memory.ranges[i];
        uint64_t start = range->backing.value;
        uint64_t end = start + range->bytes;

        expected = total == plan.layout.low_bytes ? GUEST_RAM_HIGH_START : expected;
        assert_int_equal(range->start.value, expected);
        expected += range->bytes;
        total += range->bytes;
        assert_true(start >= MIB);
        assert_int_equal(type_before(start), MEMORY_FREE);
        assert_int_equal(memory_map_convert(&before, start, end, MEMORY_FREE, MEMORY_LOADER), STATUS_OK);
    }
    assert_int_equal(total, memory_bytes);
    /* Exactly the ranges were taken, and no byte twice: the conversions above gave the planner's map. */
    assert_int_equal(before.count, map.count);
    assert_memory_equal(before.regions, map.regions, map.count * sizeof(map.regions[0]));
}

static enum status make_at(uint64_t at, uint64_t memory_bytes, unsigned largest)
{
    const struct planner_request request = {.memory_bytes = memory_bytes, .at = at};
    enum status status;

    before = map;
    status = planner_guest(&map, &request, &page_table_npt4, largest, &plan, &missing);
    if (status == STATUS_OK) {
        assert_int_equal(missing, 0);
        check_plan(memory_bytes);
        compare_with_tree(&page_table_npt4, largest);
    } else {
        assert_int_equal(map.count, before.count);
        assert_memory_equal(map.regions, before.regions, map.count * sizeof(map.regions[0]));
        assert_int_equal(plan.memory.range_count, 0);
    }
    return status;
}

static enum status make(uint64_t memory_bytes, unsigned largest)
{
    return make_at(0, memory_bytes, largest);
}

static int setup(void **state)
{
    (void)state;
    map.count = 0;
    return 0;
}

static void test_memory_is_backed_beside_the_guests_ram(void **state)
{
    const struct planner_request request = {.memory_bytes = 5 * GIB, .test_memory = true};
    const struct guest_range *range = &plan.memory.ranges[1];

    (void)state;
    free_only(16 * MIB, 24 * GIB);
    assert_int_equal(planner_guest(&map, &request, &page_table_npt4, LEVEL_1G, &plan, &missing), STATUS_OK);
    assert_int_equal(plan.memory.range_count, 3);
    assert_int_equal(range->start.value, GUEST_TEST_MEMORY_START);
    assert_int_equal(range->bytes, GUEST_TEST_MEMORY_BYTES);
    assert_int_equal(plan.memory.ranges[2].start.value, GUEST_RAM_HIGH_START);
    assert_int_equal(plan.memory.ranges[2].bytes, 2 * GIB);
    assert_false(guest_layout_usable(&plan.layout, gpa(GUEST_TEST_MEMORY_START), 1));
    compare_with_tree(&page_table_npt4, LEVEL_1G);
}

static void whole_gibs_get_gib_leaves_even_when_free_memory_starts_askew(void **state)
{
    (void)state;
    free_only(4 * GIB + 0x123000, 24 * GIB);
    assert_int_equal(make(8 * GIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.leaves[2], 8);
    assert_int_equal(plan.leaves[1] + plan.leaves[0], 0);
    assert_int_equal(plan.table_count, 2);
}

static void the_rest_of_a_gib_gets_2_mib_leaves_and_then_4_kib(void **state)
{
    (void)state;
    free_only(4 * GIB, 8 * GIB);
    assert_int_equal(make(GIB + 6 * MIB + 3 * PAGE_BYTES, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.leaves[2], 1);
    assert_int_equal(plan.leaves[1], 3);
    assert_int_equal(plan.leaves[0], 3);
    assert_int_equal(plan.memory.range_count, 1);
}

static void without_gib_pages_2_mib_leaves_are_used(void **state)
{
    (void)state;
    free_only(4 * GIB, 8 * GIB);
    assert_int_equal(make(GIB, LEVEL_2M), STATUS_OK);
    assert_int_equal(plan.leaves[1], 512);
    assert_int_equal(plan.table_count, 3);
    assert_int_equal(make(64 * MIB, LEVEL_4K), STATUS_OK);
    assert_int_equal(plan.leaves[0], 16384);
}

static void without_an_aligned_gib_2_mib_pieces_are_put_together(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 4; i++) {
        free_only(4 * GIB + i * GIB + 2 * MIB, 5 * GIB + i * GIB - 2 * MIB);
    }
    assert_int_equal(make(3 * GIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.leaves[1], 1536);
    assert_int_equal(plan.leaves[0] + plan.leaves[2], 0);
}

static void big_guests_leave_low_memory_alone(void **state)
{
    (void)state;
    free_only(MIB, 3 * GIB);
    free_only(4 * GIB, 8 * GIB);
    assert_int_equal(make(2 * GIB, LEVEL_1G), STATUS_OK);
    assert_true(plan.memory.ranges[0].backing.value >= 4 * GIB);
    /* A small one goes where no whole GiB breaks. */
    assert_int_equal(make(64 * MIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.memory.ranges[0].backing.value, 2 * MIB);
}

static void nothing_below_1_mib_is_given_away(void **state)
{
    (void)state;
    free_only(0, 4 * MIB);
    assert_int_equal(make(4 * MIB, LEVEL_1G), STATUS_NO_MEMORY);
    assert_int_equal(missing, 1 * MIB);
    assert_int_equal(make(3 * MIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(memory_map_bytes(&map, MEMORY_FREE), 1 * MIB);
}

static void too_little_memory_says_exactly_how_much_is_missing(void **state)
{
    (void)state;
    free_only(4 * GIB, 5 * GIB + 0x7000);
    assert_int_equal(make(2 * GIB, LEVEL_1G), STATUS_NO_MEMORY);
    assert_int_equal(missing, GIB - 0x7000);
    assert_int_equal(make(GIB + 0x7000, LEVEL_1G), STATUS_OK);
}

static void memory_in_too_many_pieces_is_refused_whole(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 2 * GUEST_RANGES_MAX; i++) {
        free_only(GIB + i * 4 * MIB, GIB + i * 4 * MIB + 2 * MIB);
    }
    assert_int_equal(make((GUEST_RANGES_MAX + 1) * 2 * MIB, LEVEL_1G), STATUS_NO_MEMORY);
    assert_int_equal(missing, 2 * MIB);
    assert_int_equal(make(GUEST_RANGES_MAX * 2 * MIB, LEVEL_1G), STATUS_OK);
}

static void a_map_without_room_for_a_split_is_refused_whole(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MEMORY_REGIONS_MAX; i++) {
        free_only(GIB + i * 8 * MIB, GIB + i * 8 * MIB + 4 * MIB);
    }
    assert_int_equal(make(2 * MIB, LEVEL_1G), STATUS_NO_MEMORY);
    assert_int_equal(missing, 2 * MIB);
    assert_int_equal(make(4 * MIB, LEVEL_1G), STATUS_OK);
}

static void a_bad_size_is_named_and_takes_nothing(void **state)
{
    (void)state;
    free_only(4 * GIB, 8 * GIB);
    assert_int_equal(make(GIB + 1, LEVEL_1G), STATUS_MISALIGNED);
    assert_int_equal(make(0, LEVEL_1G), STATUS_INVALID);
}

static uint64_t random_below(uint64_t bound)
{
    return ((uint64_t)rand() << 31 | (uint64_t)rand()) % bound;
}

/* A machine of random regions; sizes are skewed so that borders of every alignment occur. */
static void random_machine(void)
{
    uint64_t at = 0;

    map.count = 0;
    while (map.count < 40 && at < 40 * GIB) {
        uint64_t unit = 4096ULL << (9 * (rand() % 3));
        uint64_t bytes = unit * (1 + random_below(unit == GIB ? 6 : 600));

        memory_map_set(&map, at, at + bytes, rand() % 3 != 0 ? MEMORY_FREE : (enum memory_type)(rand() % 6));
        at += bytes;
    }
}

static void random_machines_and_sizes_keep_every_promise(void **state)
{
    unsigned planned = 0;

    (void)state;
    srand(7);
    for (int round = 0; round < 400; round++) {
        random_machine();
        for (int guest = 0; guest < 4; guest++) {
            unsigned largest = (unsigned)rand() % 3;
            uint64_t unit = 4096ULL << (9 * ((unsigned)rand() % (largest + 1)));
            uint64_t bytes = MIB + unit * random_below(largest == 0 ? 20000 : unit == GIB ? 8 : 1500);
            uint64_t usable = 0;

            for (uint32_t i = 0; i < map.count; i++) {
                uint64_t start = max_u64(map.regions[i].start, MIB);

                usable +=
                    map.regions[i].type == MEMORY_FREE && map.regions[i].end > start ? map.regions[i].end - start : 0;
            }
            if (make(bytes, largest) == STATUS_OK) {
                planned++;
            } else {
                assert_true(missing != 0 && missing <= bytes);
                assert_true(usable >= bytes || missing == bytes - usable);
            }
        }
    }
    assert_true(planned > 400);
}

/* Low and high part behind each other; the leaves are what the address allows. */
static void a_place_of_ones_own_is_kept_or_refused_whole(void **state)
{
    (void)state;
    free_only(16 * MIB, 24 * GIB);
    assert_int_equal(make_at(8 * GIB, 5 * GIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.memory.ranges[0].backing.value, 8 * GIB);
    assert_int_equal(plan.memory.ranges[1].start.value, GUEST_RAM_HIGH_START);
    assert_int_equal(plan.memory.ranges[1].backing.value, 11 * GIB);
    assert_int_equal(plan.leaves[LEVEL_1G], 5);

    assert_int_equal(make_at(2 * GIB + 2 * MIB, GIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.leaves[LEVEL_2M], 512);
    assert_int_equal(make_at(20 * MIB + PAGE_BYTES, MIB, LEVEL_1G), STATUS_OK);
    assert_int_equal(plan.leaves[LEVEL_4K], 256);
}

static void a_place_that_is_not_free_is_refused_with_the_first_byte_that_is_not(void **state)
{
    (void)state;
    free_only(16 * MIB, 24 * GIB);
    assert_int_equal(memory_map_set(&map, 4 * GIB, 4 * GIB + PAGE_BYTES, MEMORY_MMIO), STATUS_OK);
    assert_int_equal(make_at(3 * GIB, 2 * GIB, LEVEL_1G), STATUS_BUSY); /* the second part */
    assert_int_equal(missing, 4 * GIB);
    assert_int_equal(make_at(4 * GIB, GIB, LEVEL_1G), STATUS_BUSY);
    assert_int_equal(missing, 4 * GIB);
    assert_int_equal(make_at(23 * GIB, GIB + PAGE_BYTES, LEVEL_1G), STATUS_BUSY);
    assert_int_equal(missing, 24 * GIB);
    assert_int_equal(make_at(64 * GIB, MIB, LEVEL_1G), STATUS_BUSY);
    assert_int_equal(missing, 64 * GIB);
    free_only(0, GIB);
    assert_int_equal(make_at(512 * KIB, MIB, LEVEL_1G), STATUS_BUSY); /* below 1 MiB */
    assert_int_equal(missing, 512 * KIB);
}

/* The place is free, but the map has no room to say that it is taken. */
static void a_place_that_the_map_has_no_room_for_is_missing_memory(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < MEMORY_REGIONS_MAX; i++) {
        free_only(GIB + i * 8 * MIB, GIB + i * 8 * MIB + 4 * MIB);
    }
    assert_int_equal(make_at(GIB + MIB, 2 * MIB, LEVEL_1G), STATUS_NO_MEMORY);
    assert_int_equal(missing, 2 * MIB);
    assert_int_equal(make_at(GIB, 4 * MIB, LEVEL_1G), STATUS_OK); /* a whole region */
}

/* ---- tables for what is no RAM ---- */

static enum status make_request(const struct planner_request *request, unsigned largest)
{
    return planner_guest(&map, request, &page_table_npt4, largest, &plan, &missing);
}

/* As hv/guest/create.c maps what guests share. */
static void shared_memory_has_its_tables(void **state)
{
    static const uint64_t sizes[] = {2 * MIB, 6 * MIB, PAGE_BYTES, 4 * MIB + PAGE_BYTES};

    (void)state;
    for (uint32_t kind = 0; kind < 2 * ARRAY_COUNT(sizes); kind++) {
        unsigned largest = kind % 2 == 0 ? LEVEL_2M : LEVEL_4K;
        uint64_t bytes = sizes[kind / 2];
        struct planner_request request = {.memory_bytes = 16 * MIB};
        uint64_t alone;

        setup(state);
        free_only(4 * GIB, 5 * GIB);
        assert_int_equal(make_request(&request, largest), STATUS_OK);
        alone = plan.table_count;
        request.share_count = 1;
        request.share_bytes[0] = bytes;
        assert_int_equal(make_request(&request, largest), STATUS_OK);
        arena_start(&arena, &page_table_npt4);
        assert_int_equal(page_table_map(&arena.tree, 0, plan.memory.ranges[0].backing, 16 * MIB, arena_rwx,
                                        (enum page_level)largest, NULL),
                         STATUS_OK);
        assert_int_equal(arena_used(&arena), alone);
        assert_int_equal(page_table_map(&arena.tree, GUEST_SHARE_START(0), hpa(8 * GIB), bytes, arena_rwx,
                                        (enum page_level)largest, NULL),
                         STATUS_OK);
        assert_true(arena_used(&arena) <= plan.table_count);
        assert_true(largest == LEVEL_4K || !is_aligned(bytes, 2 * MIB) || arena_used(&arena) == plan.table_count);
        arena_end(&arena);
    }
}

/* Whether or not guest and host address agree in 2 MiB: never too few, and large leaves where they can be. */
static void a_devices_memory_has_its_tables(void **state)
{
    static const uint64_t sizes[] = {PAGE_BYTES, 2 * MIB, 128 * MIB, GIB + 6 * MIB};
    static const uint64_t offsets[] = {0, PAGE_BYTES, 2 * MIB, 2 * MIB - PAGE_BYTES};
    const uint64_t start = 0x4000000000;

    (void)state;
    for (uint32_t kind = 0; kind < 16; kind++) {
        uint64_t bytes = sizes[kind / 4], guest = 3 * GIB + offsets[kind % 4];
        uint64_t counts[2] = {planner_device_tables(guest, start + offsets[kind % 4], bytes),
                              planner_device_tables(guest, start, bytes)};

        for (uint32_t i = 0; i < 2; i++) {
            arena_start(&arena, &page_table_npt4);
            assert_int_equal(page_table_map(&arena.tree, guest, hpa(start + (i == 0 ? offsets[kind % 4] : 0)), bytes,
                                            arena_rwx, LEVEL_2M, NULL),
                             STATUS_OK);
            assert_true(arena_used(&arena) - 1 <= counts[i]);
            arena_end(&arena);
        }
        assert_true(counts[0] <= 6 + bytes / GIB);
        assert_int_equal(counts[1] - counts[0], kind % 2 == 0 ? 0 : bytes / (2 * MIB));
    }
}

/* Of a guest that has functions of the machine: its nested tree has room for their registers, and the tree of its
 * devices for all its memory in leaves of 2 MiB. */
static void devices_of_the_machine_have_their_tables(void **state)
{
    struct planner_request request = {.memory_bytes = 5 * GIB + 3 * PAGE_BYTES};
    uint64_t counts[3];

    (void)state;
    for (request.pci_count = 0; request.pci_count < 3; request.pci_count++) {
        setup(state);
        free_only(4 * GIB + 0x123000, 12 * GIB);
        assert_int_equal(make_request(&request, LEVEL_1G), STATUS_OK);
        counts[request.pci_count] = plan.table_count;
        assert_true((plan.device_tables != 0) == (request.pci_count != 0));
    }
    assert_true(counts[1] - counts[0] > counts[2] - counts[1]); /* what all have, and what each has */
    assert_true(counts[2] - counts[1] >= 24);
    arena_start(&arena, &page_table_ept4);
    for (uint32_t i = 0; i < plan.memory.range_count; i++) {
        const struct guest_range *range = &plan.memory.ranges[i];

        assert_int_equal(
            page_table_map(&arena.tree, range->start.value, range->backing, range->bytes, arena_rwx, LEVEL_2M, NULL),
            STATUS_OK);
    }
    assert_true(arena_used(&arena) <= plan.device_tables);
    arena_end(&arena);
}

/* ---- nodes ---- */

static struct numa_map numa;

/* Three nodes of 8 GiB from 4 GiB on, one behind the other; from the first the third is nearer than the second. */
static void three_nodes(void)
{
    memset(&numa, 0, sizeof(numa));
    for (uint32_t node = 0; node < 3; node++) {
        assert_int_equal(numa_node(&numa, 10 + node), node);
        assert_true(numa_add_range(&numa, node, 4 * GIB + node * 8 * GIB, 12 * GIB + node * 8 * GIB));
    }
    numa.distances[0][1] = 32;
    numa.distances[0][2] = 16;
    free_only(4 * GIB, 28 * GIB); /* one region: nodes are told apart inside it */
}

/* Bytes of the plan's memory by node. */
static void count_nodes(uint64_t bytes[3])
{
    memset(bytes, 0, 3 * sizeof(bytes[0]));
    for (uint32_t i = 0; i < plan.memory.range_count; i++) {
        const struct guest_range *range = &plan.memory.ranges[i];

        for (uint64_t at = 0; at < range->bytes; at += 2 * MIB) {
            uint64_t end;
            uint32_t node = numa_node_at(&numa, range->backing.value + at, &end);

            assert_true(node < 3);
            bytes[node] += 2 * MIB;
        }
    }
}

static enum status plan_on(uint32_t node, uint64_t bytes)
{
    const struct planner_request request = {.memory_bytes = bytes, .numa = &numa, .node = node};

    return planner_guest(&map, &request, &page_table_ept4, LEVEL_1G, &plan, &missing);
}

static void memory_comes_from_the_node_of_the_guests_cpus(void **state)
{
    uint64_t bytes[3];

    (void)state;
    for (uint32_t node = 0; node < 3; node++) {
        setup(state);
        three_nodes();
        for (uint32_t guest = 0; guest < 2; guest++) {
            assert_int_equal(plan_on(node, 4 * GIB), STATUS_OK);
            count_nodes(bytes);
            assert_int_equal(bytes[node], 4 * GIB);
            assert_int_equal(plan.leaves[LEVEL_1G], 4);
            compare_with_tree(&page_table_ept4, LEVEL_1G);
        }
    }
}

static void a_node_without_enough_is_joined_by_the_nearest_one(void **state)
{
    uint64_t bytes[3];

    (void)state;
    three_nodes();
    assert_int_equal(plan_on(0, 6 * GIB), STATUS_OK);
    assert_int_equal(plan_on(0, 6 * GIB), STATUS_OK); /* 2 GiB are left in node 0 */
    count_nodes(bytes);
    assert_int_equal(bytes[0] + bytes[2], 6 * GIB); /* node 2 is nearer than node 1 */
    assert_int_equal(plan.leaves[LEVEL_1G], 6);
    assert_int_equal(plan_on(0, 10 * GIB), STATUS_OK);
    count_nodes(bytes);
    assert_true(bytes[1] != 0);
    assert_int_equal(plan_on(0, 6 * GIB), STATUS_NO_MEMORY); /* 2 GiB are left altogether */
    assert_int_equal(missing, 4 * GIB);
    assert_int_equal(plan_on(0, 2 * GIB), STATUS_OK);
}

/* A guest may have GUEST_RANGES_MAX ranges: a node in crumbs is left then. */
static void a_node_in_too_many_pieces_is_left(void **state)
{
    uint64_t bytes[3];

    (void)state;
    three_nodes();
    assert_int_equal(memory_map_set(&map, 4 * GIB, 12 * GIB, MEMORY_RESERVED), STATUS_OK);
    for (uint64_t at = 4 * GIB; at < 4 * GIB + 2 * GUEST_RANGES_MAX * 4 * MIB; at += 4 * MIB) {
        free_only(at, at + 2 * MIB);
    }
    assert_int_equal(plan_on(0, 4 * MIB), STATUS_OK);
    count_nodes(bytes);
    assert_int_equal(bytes[0], 4 * MIB);
    assert_int_equal(plan_on(0, GUEST_RANGES_MAX * 2 * MIB + 64 * MIB), STATUS_OK);
    count_nodes(bytes);
    assert_int_equal(bytes[0], 0);
}

static void memory_of_no_node_is_taken_last(void **state)
{
    uint64_t end;

    (void)state;
    three_nodes();
    free_only(32 * GIB, 40 * GIB);
    assert_int_equal(numa_node_at(&numa, 32 * GIB, &end), NUMA_NODE_NONE);
    for (uint32_t guest = 0; guest < 3; guest++) {
        assert_int_equal(plan_on(1, 8 * GIB), STATUS_OK);
        assert_true(plan.memory.ranges[0].backing.value < 28 * GIB);
    }
    assert_int_equal(plan_on(1, 8 * GIB), STATUS_OK);
    assert_int_equal(plan.memory.ranges[0].backing.value, 32 * GIB);
}

/* The same as before there were nodes: with one of them, without a table, and for a guest whose CPUs have none. */
static void without_nodes_a_plan_does_not_change(void **state)
{
    struct guest_plan expected;

    (void)state;
    three_nodes();
    assert_int_equal(plan_on(CONFIG_NODE_ANY, 6 * GIB), STATUS_OK);
    expected = plan;
    setup(state);
    three_nodes();
    numa.node_count = 1;
    assert_int_equal(plan_on(0, 6 * GIB), STATUS_OK);
    assert_memory_equal(&plan, &expected, sizeof(plan));
}

/* Any ranges in any order: of each page the node is the first that was given it. */
static void ranges_that_overlap_belong_to_the_first(void **state)
{
    enum { PAGES = 64 };
    uint32_t owner[PAGES];

    (void)state;
    for (uint32_t round = 0; round < 2000; round++) {
        memset(&numa, 0, sizeof(numa));
        memset(owner, 0xff, sizeof(owner));
        for (uint32_t i = 0; i < 12; i++) {
            uint32_t start = random_next() % PAGES;
            uint32_t end = start + random_next() % (PAGES - start + 1);
            uint32_t node = numa_node(&numa, random_next() % 4);
            bool whole = true;

            for (uint32_t page = start; page < end; page++) {
                whole = whole && (owner[page] == NUMA_NODE_NONE || owner[page] == node);
                owner[page] = owner[page] == NUMA_NODE_NONE ? node : owner[page];
            }
            assert_int_equal(numa_add_range(&numa, node, start * PAGE_BYTES, end * PAGE_BYTES), whole);
        }
        for (uint32_t page = 0; page < PAGES; page++) {
            uint64_t end;

            assert_int_equal(numa_node_at(&numa, page * PAGE_BYTES, &end), owner[page]);
            for (uint64_t next = page + 1; next * PAGE_BYTES < end && next < PAGES; next++) {
                assert_int_equal(owner[next], owner[page]);
            }
        }
    }
}

static void the_64_nodes_and_256_ranges_that_there_can_be_are_not_exceeded(void **state)
{
    uint64_t end;

    (void)state;
    memset(&numa, 0, sizeof(numa));
    for (uint32_t node = 0; node < NUMA_NODES_MAX; node++) {
        assert_int_equal(numa_node(&numa, 3 * node), node);
    }
    assert_int_equal(numa_node(&numa, 1), NUMA_NODE_NONE);
    assert_int_equal(numa_node(&numa, 3), 1); /* one that is there is found */
    for (uint64_t i = 0; i < NUMA_RANGES_MAX; i++) {
        assert_true(numa_add_range(&numa, 0, 2 * i * PAGE_BYTES, (2 * i + 1) * PAGE_BYTES));
    }
    assert_false(numa_add_range(&numa, 1, PAGE_BYTES, 2 * PAGE_BYTES));
    assert_int_equal(numa_node_at(&numa, PAGE_BYTES, &end), NUMA_NODE_NONE);
    assert_int_equal(end, 2 * PAGE_BYTES);
    assert_true(numa_add_range(&numa, 0, PAGE_BYTES, 2 * PAGE_BYTES)); /* only one of them becomes longer */
    assert_int_equal(numa_node_at(&numa, PAGE_BYTES, &end), 0);
}

static void what_is_of_no_node_is_as_far_as_anything(void **state)
{
    (void)state;
    three_nodes();
    assert_int_equal(numa_distance(&numa, 0, 2), 16);
    assert_int_equal(numa_distance(&numa, 2, 0), NUMA_DISTANCE_OTHER);
    assert_int_equal(numa_distance(&numa, 0, NUMA_NODE_NONE), NUMA_DISTANCE_NEVER);
    assert_int_equal(numa_distance(&numa, NUMA_NODE_NONE, 0), NUMA_DISTANCE_NEVER);
    assert_int_equal(numa_distance(&numa, 3, 3), NUMA_DISTANCE_NEVER);
}

static void the_free_memory_of_each_node_is_counted(void **state)
{
    uint64_t bytes[NUMA_NODES_MAX];

    (void)state;
    three_nodes();
    free_only(0, 2 * MIB); /* half of it is not given away, and it is of no node */
    free_only(32 * GIB, 40 * GIB);
    assert_int_equal(memory_map_set(&map, 12 * GIB, 13 * GIB, MEMORY_LOADER), STATUS_OK);
    memset(bytes, 0xff, sizeof(bytes));
    planner_node_bytes(&map, &numa, bytes);
    assert_int_equal(bytes[0], 8 * GIB);
    assert_int_equal(bytes[1], 7 * GIB);
    assert_int_equal(bytes[2], 8 * GIB);
    for (uint32_t node = 3; node < NUMA_NODES_MAX; node++) {
        assert_int_equal(bytes[node], 0);
    }
}

static void a_plans_nodes_are_said_with_its_own_first(void **state)
{
    const struct guest_memory memory = {
        .ranges = {{gpa(0), hpa(18 * GIB), 4 * GIB}, {gpa(4 * GIB), hpa(27 * GIB), 3 * GIB}}, .range_count = 2};
    struct guest_memory own = {.ranges = {{gpa(0), hpa(4 * GIB), 6 * GIB}}, .range_count = 1};
    char text[PLANNER_NODES_TEXT_MAX];

    (void)state;
    three_nodes();
    assert_string_equal(planner_nodes_text(&own, &numa, 0, text), "6 GiB of node 0 (its CPUs' node)");
    assert_string_equal(planner_nodes_text(&memory, &numa, 1, text),
                        "2 GiB of node 1 (its CPUs' node), 3 GiB of node 2 (distance 20), 2 GiB of no node");
    assert_string_equal(planner_nodes_text(&memory, &numa, 0, text),
                        "0 bytes of node 0 (its CPUs' node), 2 GiB of node 1 (distance 32), 3 GiB of node 2 (distance "
                        "16), 2 GiB of no node");
    memset(&numa, 0, sizeof(numa)); /* more nodes than there is room for */
    for (uint32_t node = 0; node < 32; node++) {
        assert_int_equal(numa_node(&numa, node), node);
        assert_true(numa_add_range(&numa, node, node * MIB, (node + 1) * MIB));
    }
    own = (struct guest_memory){.ranges = {{gpa(0), hpa(0), 64 * MIB}}, .range_count = 1};
    assert_int_equal(strlen(planner_nodes_text(&own, &numa, 0, text)), PLANNER_NODES_TEXT_MAX - 1);
}

/* ---- the hypervisor's own memory ---- */

/* What stays for the hypervisor's own images and tables is above 1 MiB, and a machine that has not that much loses
 * none. */
static void the_reserve_is_taken_whole_or_not_at_all(void **state)
{
    uint64_t usable;

    (void)state;
    free_only(0, MIB + PLANNER_RESERVE_BYTES - PAGE_BYTES);
    usable = memory_map_bytes(&map, MEMORY_FREE);
    planner_keep_reserve(&map);
    assert_int_equal(memory_map_bytes(&map, MEMORY_FREE), usable);

    free_only(0, MIB + PLANNER_RESERVE_BYTES);
    planner_keep_reserve(&map);
    assert_int_equal(memory_map_bytes(&map, MEMORY_FREE), MIB);
    assert_int_equal(memory_map_bytes(&map, MEMORY_RESERVED), PLANNER_RESERVE_BYTES);
}

static void the_hypervisors_own_memory_is_counted_and_placed_in_one_aligned_piece(void **state)
{
    const struct planner_own own = {MIB, 16 * KIB, 64 * KIB};
    uint64_t start = 0;

    (void)state;
    assert_int_equal(planner_own_bytes(&own, 0, 0, 0), 2 * MIB);
    assert_int_equal(planner_own_bytes(&own, 1, 15, 12), 2 * MIB); /* to the byte: 1 MiB, 16 KiB, 960 KiB, 48 KiB */
    assert_int_equal(planner_own_bytes(&own, 1, 15, 13), 4 * MIB);

    free_only(3 * MIB, 8 * MIB - PAGE_BYTES);
    assert_int_equal(planner_own_place(&map, 2 * MIB, &start), STATUS_OK);
    assert_int_equal(start, 4 * MIB);
    assert_int_equal(planner_own_place(&map, 4 * MIB, &start), STATUS_NOT_FOUND);
}

static uint64_t pages(uint64_t bytes)
{
    return align_up(bytes, PAGE_BYTES);
}

/* As hv/host/budget.c counts, on a PC of 8 CPUs with stacks of 80 KiB. */
static void a_machine_of_which_nothing_is_known_keeps_what_the_hypervisor_takes(void **state)
{
    (void)state;
    assert_true(pages(sizeof(struct guest)) + pages(CONSOLE_GUEST_BYTES_MAX) <= CHECK_OWN_GUEST_BYTES);
    assert_true(pages(sizeof(struct vcpu)) + pages(sizeof(struct lapic_page)) + BUDGET_XSAVE_BYTES + 4 * PAGE_BYTES <=
                CHECK_OWN_VCPU_BYTES);
    assert_true(512 * KIB + CONFIG_NETWORKS_MAX * pages(sizeof(struct guest_network)) + BUDGET_LOAD_PLAN_BYTES +
                    8 * 80 * KIB <=
                CHECK_OWN_FIXED_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_machine_of_which_nothing_is_known_keeps_what_the_hypervisor_takes),
        cmocka_unit_test_setup(whole_gibs_get_gib_leaves_even_when_free_memory_starts_askew, setup),
        cmocka_unit_test_setup(the_rest_of_a_gib_gets_2_mib_leaves_and_then_4_kib, setup),
        cmocka_unit_test_setup(without_gib_pages_2_mib_leaves_are_used, setup),
        cmocka_unit_test_setup(without_an_aligned_gib_2_mib_pieces_are_put_together, setup),
        cmocka_unit_test_setup(test_memory_is_backed_beside_the_guests_ram, setup),
        cmocka_unit_test_setup(big_guests_leave_low_memory_alone, setup),
        cmocka_unit_test_setup(nothing_below_1_mib_is_given_away, setup),
        cmocka_unit_test_setup(too_little_memory_says_exactly_how_much_is_missing, setup),
        cmocka_unit_test_setup(memory_in_too_many_pieces_is_refused_whole, setup),
        cmocka_unit_test_setup(a_map_without_room_for_a_split_is_refused_whole, setup),
        cmocka_unit_test_setup(a_bad_size_is_named_and_takes_nothing, setup),
        cmocka_unit_test_setup(a_place_of_ones_own_is_kept_or_refused_whole, setup),
        cmocka_unit_test_setup(a_place_that_is_not_free_is_refused_with_the_first_byte_that_is_not, setup),
        cmocka_unit_test_setup(a_place_that_the_map_has_no_room_for_is_missing_memory, setup),
        cmocka_unit_test_setup(shared_memory_has_its_tables, setup),
        cmocka_unit_test_setup(a_devices_memory_has_its_tables, setup),
        cmocka_unit_test_setup(devices_of_the_machine_have_their_tables, setup),
        cmocka_unit_test_setup(memory_comes_from_the_node_of_the_guests_cpus, setup),
        cmocka_unit_test_setup(a_node_without_enough_is_joined_by_the_nearest_one, setup),
        cmocka_unit_test_setup(a_node_in_too_many_pieces_is_left, setup),
        cmocka_unit_test_setup(memory_of_no_node_is_taken_last, setup),
        cmocka_unit_test_setup(without_nodes_a_plan_does_not_change, setup),
        cmocka_unit_test_setup(ranges_that_overlap_belong_to_the_first, setup),
        cmocka_unit_test_setup(the_64_nodes_and_256_ranges_that_there_can_be_are_not_exceeded, setup),
        cmocka_unit_test_setup(what_is_of_no_node_is_as_far_as_anything, setup),
        cmocka_unit_test_setup(the_free_memory_of_each_node_is_counted, setup),
        cmocka_unit_test_setup(a_plans_nodes_are_said_with_its_own_first, setup),
        cmocka_unit_test_setup(the_reserve_is_taken_whole_or_not_at_all, setup),
        cmocka_unit_test_setup(the_hypervisors_own_memory_is_counted_and_placed_in_one_aligned_piece, setup),
        cmocka_unit_test_setup(random_machines_and_sizes_keep_every_promise, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
