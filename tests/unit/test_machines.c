/* SPDX-License-Identifier: MIT */
/*
 * Maps of real machines (tests/machines, from public start logs): the host map has their memory, ACPI's tables and the
 * windows that are used, and nothing else; each node's memory can be had by guests on it. What plinth-check says of
 * each is tests/tools/test_machines.py.
 */
#include "tools/check/check.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/x86/host_map.h"
#include "tests/unit/page_table_arena.h"

#define FOLDER "tests/machines"
#define MACHINES_MIN 12u

/* Memory type range registers as most firmwares leave them, for a CPU of 52 bits. SDM 3A 12.11.2.1, 12.11.2.3. */
#define MTRR_ENABLE (3u << 10)
#define MTRR_VALID (1u << 11)
#define TYPE_UC 0u
#define TYPE_WB 6u
#define PHYSICAL_BITS 52u

/* AMD's HyperTransport range: nothing may read there. */
#define HYPERTRANSPORT_START 0xfd00000000ULL
#define HYPERTRANSPORT_END 0x10000000000ULL

static struct check check;
static struct mtrr_state mtrrs;
static struct host_range ranges[MEMORY_REGIONS_MAX];
static struct arena arena;

/* Calls `visit` for each description. */
static void each_machine(void (*visit)(const char *name))
{
    DIR *folder = opendir(FOLDER);
    uint32_t count = 0;

    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[HOST_PATH_MAX];
        size_t length = strlen(entry->d_name);

        if (length < 4 || strcmp(entry->d_name + length - 4, ".txt") != 0) {
            continue;
        }
        snprintf(path, sizeof(path), FOLDER "/%s", entry->d_name);
        memset(&check, 0, sizeof(check));
        check.options.machine = path;
        check_machine_read(&check);
        if (check.machine_errors.count != 0) {
            fail_msg("%s: line %u: %s", path, check.machine_errors.list[0].position.line,
                     check.machine_errors.list[0].sentence);
        }
        visit(entry->d_name);
        free((void *)(uintptr_t)check.machine.file.start);
        count++;
    }
    closedir(folder);
    assert_true(count >= MACHINES_MIN);
}

static void cover(uint64_t base, uint64_t bytes, uint64_t type, uint32_t bits)
{
    mtrrs.variable[mtrrs.variable_count++] =
        (struct mtrr_variable){base | type, (((1ULL << bits) - 1) & ~(bytes - 1)) | MTRR_VALID};
}

/* WB by default and UC for 64 MiB below 4 GiB, in registers whose masks have `bits`. */
static void use_mtrrs(uint32_t bits)
{
    memset(&mtrrs, 0, sizeof(mtrrs));
    mtrrs.present = true;
    mtrrs.physical_bits = PHYSICAL_BITS;
    mtrrs.default_type = MTRR_ENABLE | TYPE_WB;
    cover(4 * GIB - 64 * MIB, 64 * MIB, TYPE_UC, bits);
}

static uint32_t collect(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < check.machine.map.count; i++) {
        const struct memory_region *region = &check.machine.map.regions[i];

        if (region->type > MEMORY_ACPI) {
            continue;
        }
        if (count != 0 && ranges[count - 1].end == region->start) {
            ranges[count - 1].end = region->end;
        } else {
            ranges[count++] = (struct host_range){region->start, region->end};
        }
    }
    return count;
}

static bool is_mapped(uint64_t address)
{
    struct page_lookup found;

    page_table_lookup(&arena.tree, address, &found);
    assert_true(!found.present || found.to.value == address);
    return found.present;
}

/* Both sides of every border, and the middle of what lies between. */
static void compare_map(const char *name)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < check.machine.map.count; i++) {
        const struct memory_region *region = &check.machine.map.regions[i];
        bool memory = region->type <= MEMORY_ACPI;
        uint64_t middle = region->start + align_down((region->end - region->start) / 2, PAGE_BYTES);

        if (is_mapped(region->start) != memory || is_mapped(region->end - PAGE_BYTES) != memory ||
            is_mapped(middle) != memory) {
            fail_msg("%s: what lies at 0x%" PRIx64 " is %s in the host map", name, region->start,
                     memory ? "not" : "wrongly");
        }
        if (before < region->start && before != 0) {
            assert_false(is_mapped(before));
            assert_false(is_mapped(region->start - PAGE_BYTES));
        }
        before = region->end;
    }
    assert_false(is_mapped(before));
    for (uint64_t at = HYPERTRANSPORT_START; at < HYPERTRANSPORT_END; at += GIB) {
        assert_false(is_mapped(at));
    }
}

/* 52 bits as the CPU says them, and 42 as a firmware with keys for memory encryption leaves in the masks. */
static void map_one(const char *name)
{
    static const uint32_t widths[] = {PHYSICAL_BITS, 42};

    for (uint32_t i = 0; i < ARRAY_COUNT(widths); i++) {
        struct host_map_request request = {.memory = ranges, .memory_count = collect(), .mtrrs = &mtrrs};

        use_mtrrs(widths[i]);
        request.largest_leaf = (enum page_level)check.machine.largest_leaf;
        arena_start(&arena, &page_table_host4);
        assert_int_equal(host_map_build(&arena.tree, &request), STATUS_OK);
        assert_true(arena_used(&arena) <= host_map_tables_max(&request, 0, 0));
        compare_map(name);
        arena_end(&arena);
    }
}

static void nothing_but_memory_and_tables_is_mapped_on_any_machine(void **state)
{
    (void)state;
    each_machine(map_one);
}

/* What the largest guests of a node can have: as many as fit of 64 GiB, and 3 GiB for the rest. */
static void plan_one(const char *name)
{
    struct numa_map *numa = &check.machine.numa;
    uint64_t bytes[NUMA_NODES_MAX];

    memory_map_set(&check.machine.map, 0, MIB, MEMORY_RESERVED);
    planner_node_bytes(&check.machine.map, numa, bytes);
    for (uint32_t node = 0; node < numa->node_count; node++) {
        struct memory_map map = check.machine.map;
        struct planner_request request = {.memory_bytes = 64 * GIB, .numa = numa, .node = node};

        request.memory_bytes = min_u64(request.memory_bytes, align_down(bytes[node] / 2, GIB));
        while (request.memory_bytes != 0 && bytes[node] >= 2 * request.memory_bytes) {
            struct guest_plan plan;
            uint64_t missing;

            assert_int_equal(
                planner_guest(&map, &request, check.machine.format, check.machine.largest_leaf, &plan, &missing),
                STATUS_OK);
            for (uint32_t i = 0; i < plan.memory.range_count; i++) {
                uint64_t end;
                const struct guest_range *range = &plan.memory.ranges[i];

                if (numa_node_at(numa, range->backing.value, &end) != node ||
                    end < range->backing.value + range->bytes) {
                    fail_msg("%s: memory of node %u was taken elsewhere", name, node);
                }
            }
            assert_int_equal(plan.leaves[LEVEL_4K], 0);
            bytes[node] -= request.memory_bytes;
        }
    }
}

static void each_node_has_memory_for_its_own_guests(void **state)
{
    (void)state;
    each_machine(plan_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_but_memory_and_tables_is_mapped_on_any_machine),
        cmocka_unit_test(each_node_has_memory_for_its_own_guests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
