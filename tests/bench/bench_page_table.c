/* SPDX-License-Identifier: MIT */
/*
 * How fast the page-table core is: make bench. The core is compiled with the image's code-generation flags (general
 * registers only, no debug checks), and so is this file.
 *
 *   W1 map 64 GiB with 1 GiB leaves           W5 punch 10,000 holes of 4 KiB into 64 GiB of 1 GiB leaves
 *   W2 map 64 GiB with 2 MiB leaves           W6 10^7 random lookups over 32 GiB, at each leaf size
 *   W3 map 4 GiB with 4 KiB leaves            W7 unmap all of W2 and give back all tables
 *   W4 a PC's map, backing 2 MiB-aligned      W8 harvest and clear dirty over 8 GiB of 4 KiB entries, 1 % dirty
 *   (W6 is page_table_find_as with a constant format: target, combined rights, present or not; W6g the same with the
 *   format read from the tree; W6d decodes all attributes)
 *   L  the floor beside each: the same tables written, or scanned, by a plain loop of 8-byte accesses; for lookups a
 *      walk with levels and masks written out by hand
 *
 * A run is timed as a whole; what comes before it (an empty tree, an older map) is not. The tables come from an arena
 * on huge pages, as in the hypervisor, touched before. Each figure is the median and the best of RUNS runs; the
 * ratio is that of the medians, with the floor run in turn with what it is the floor of. All
 * arithmetic is in picoseconds: there are no floating-point registers here.
 */
#include "hv/mm/page_table_find.h"
#include "hv/mm/page_table_visit.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define RUNS 11u
#define ARENA_BYTES (160 * MIB)
#define ARENA_HPA (1ULL << 40)
#define BATCH 64u /* trees per run, where one map is too short for the clock */
#define HOLES 10000u
#define LOOKUPS 10000000u
#define ADDRESSES (1u << 20)

static uint8_t *arena;
static struct table_pool pool;
static struct page_table trees[BATCH];
static const struct page_table_format *format;
static uint64_t addresses[ADDRESSES];
static uint64_t tables_used;
static uint64_t lookups = LOOKUPS;
static volatile uint64_t sink;

static const struct page_attributes rwx = {
    .read = true, .write = true, .execute = true, .user = true, .cache = CACHE_WB};

static uint64_t now_ps(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return ((uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec) * 1000u;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right)
{
    printf("%s:%u: %s (%" PRIu64 ", %" PRIu64 ")\n", file, line, condition, left, right);
    __builtin_trap();
}

/* --- what is measured --- */

static void trees_start(uint32_t count)
{
    struct page_table_caps caps = {
        .largest_leaf = LEVEL_1G, .physical_bits = 52, .no_execute = true, .accessed_dirty = true};

    table_pool_init(&pool, (uint64_t)(uintptr_t)arena - ARENA_HPA, hpa(ARENA_HPA), ARENA_BYTES / PAGE_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(page_table_init(&trees[i], format, &caps, &pool) == STATUS_OK);
    }
}

static void map(struct page_table *tree, uint64_t address, uint64_t to, uint64_t bytes, enum page_level largest)
{
    CHECK(page_table_map(tree, address, hpa(to), bytes, rwx, largest, NULL) == STATUS_OK);
}

static void empty_batch(void)
{
    trees_start(BATCH);
}

static void empty_one(void)
{
    trees_start(1);
}

static void w1_run(void)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        map(&trees[i], 0, 0, 64 * GIB, LEVEL_1G);
    }
}

static void w2_run(void)
{
    map(&trees[0], 0, 0, 64 * GIB, LEVEL_2M);
}

static void w3_run(void)
{
    map(&trees[0], 0, 0, 4 * GIB, LEVEL_4K);
}

static void w4_run(void)
{
    map(&trees[0], 0, 62 * MIB, 640 * KIB, LEVEL_1G);
    map(&trees[0], MIB, 63 * MIB, 3 * GIB - MIB, LEVEL_1G);
    map(&trees[0], 4 * GIB, 8 * GIB + 2 * MIB, 33 * GIB, LEVEL_1G);
}

static void w5_before(void)
{
    uint64_t state = 88172645463325252ULL;

    trees_start(1);
    map(&trees[0], 0, 0, 64 * GIB, LEVEL_1G);
    for (uint32_t i = 0; i < HOLES; i++) {
        addresses[i] = random_next(&state) % (64 * GIB / PAGE_BYTES) * PAGE_BYTES;
    }
}

static void w5_run(void)
{
    for (uint32_t i = 0; i < HOLES; i++) {
        CHECK(page_table_unmap(&trees[0], addresses[i], PAGE_BYTES, NULL) == STATUS_OK);
    }
}

static void w6_before(enum page_level level)
{
    uint64_t state = 88172645463325252ULL;

    trees_start(1);
    map(&trees[0], 0, 64 * GIB, 32 * GIB, level);
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        addresses[i] = random_next(&state) % (32 * GIB);
    }
}

static void w6_before_4k(void)
{
    w6_before(LEVEL_4K);
}

static void w6_before_2m(void)
{
    w6_before(LEVEL_2M);
}

static void w6_before_1g(void)
{
    w6_before(LEVEL_1G);
}

static void w6_run(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < lookups; i++) {
        struct page_lookup found;

        page_table_lookup(&trees[0], addresses[i % ADDRESSES], &found);
        sum += found.to.value + found.attributes.write;
    }
    sink = sum;
}

static inline __attribute__((always_inline)) void w6_find(const struct page_table_format *of)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < lookups; i++) {
        struct page_found found;

        sum += page_table_find_as(&trees[0], of, addresses[i % ADDRESSES], &found);
        sum += found.to.value + (found.rights & of->write);
    }
    sink = sum;
}

static void w6_find_run(void)
{
    if (format == &page_table_host4) {
        w6_find(&page_find_host4);
    } else if (format == &page_table_npt4) {
        w6_find(&page_find_npt4);
    } else {
        w6_find(&page_find_ept4);
    }
}

static void w6_generic_run(void)
{
    w6_find(format);
}

static void w7_before(void)
{
    trees_start(1);
    map(&trees[0], 0, 0, 64 * GIB, LEVEL_2M);
    tables_used = pool.pages - pool.free_count;
}

static void w7_run(void)
{
    CHECK(page_table_unmap(&trees[0], 0, 64 * GIB, NULL) == STATUS_OK);
    CHECK_OP(pool.pages - pool.free_count, ==, 1u);
}

static void w8_before(void)
{
    uint64_t state = 88172645463325252ULL;

    trees_start(1);
    map(&trees[0], 0, 0, 8 * GIB, LEVEL_4K);
    for (uint64_t i = 0; i < 8 * GIB / PAGE_BYTES / 100; i++) {
        (void)page_table_mark(&trees[0], random_next(&state) % (8 * GIB), PAGE_ACCESSED | PAGE_DIRTY);
    }
}

static void w8_run(void)
{
    static uint64_t bitmap[8 * GIB / PAGE_BYTES / 64];
    struct page_harvest harvest = {.which = PAGE_DIRTY, .clear = true, .bitmap = bitmap};

    CHECK(page_table_harvest(&trees[0], 0, 8 * GIB, &harvest, NULL) == STATUS_OK);
    CHECK_OP(harvest.pages, >, 20000u);
}

/* --- L: the floor --- */

static void floor_tables(uint64_t tables)
{
    uint64_t *words = (uint64_t *)(void *)arena;
    uint64_t value = 0x87;

    for (uint64_t i = 0; i < tables * ENTRIES_PER_TABLE; i++) {
        words[i] = value;
        value += 2 * MIB;
        __asm__ volatile("" ::: "memory");
    }
}

static void l1_run(void)
{
    floor_tables(BATCH);
}

static void l2_run(void)
{
    floor_tables(64);
}

static void l3_run(void)
{
    floor_tables(2048);
}

static void l4_run(void)
{
    floor_tables(37);
}

static void l5_run(void)
{
    floor_tables(tables_used);
}

static void l7_run(void)
{
    floor_tables(1);
}

static void l8_run(void)
{
    const volatile uint64_t *words = (const volatile uint64_t *)(const void *)arena;
    uint64_t any = 0;

    for (uint64_t i = 0; i < 4096 * ENTRIES_PER_TABLE; i++) {
        any |= words[i];
    }
    sink = any;
}

static inline __attribute__((always_inline)) uint64_t ideal_load(uint64_t entry, uint64_t address, uint32_t shift)
{
    const uint64_t *words = (const uint64_t *)(const void *)(arena - ARENA_HPA + (entry & 0x000ffffffffff000ULL));

    return words[(address >> shift) & 511];
}

static inline __attribute__((always_inline)) uint64_t ideal_walk(uint64_t address)
{
    uint64_t entry = ideal_load(trees[0].root.value, address, 39);

    entry = ideal_load(entry, address, 30);
    if ((entry & 0x80) != 0) {
        return (entry & 0x000fffffc0000000ULL) | (address & 0x3fffffff);
    }
    entry = ideal_load(entry, address, 21);
    if ((entry & 0x80) != 0) {
        return (entry & 0x000fffffffe00000ULL) | (address & 0x1fffff);
    }
    return (ideal_load(entry, address, 12) & 0x000ffffffffff000ULL) | (address & 0xfff);
}

static void l6_run(void)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < lookups; i++) {
        sum += ideal_walk(addresses[i % ADDRESSES]);
    }
    sink = sum;
}

/* --- the table --- */

struct workload {
    const char *name;
    const char *what;
    void (*before)(void);
    void (*run)(void);
    void (*floor)(void);
    uint64_t entries; /* per run: what the time is divided by */
    uint32_t trees;
};

static const struct workload workloads[] = {
    {"W1", "map 64 GiB, 1 GiB leaves", empty_batch, w1_run, l1_run, 64 * BATCH, BATCH},
    {"W2", "map 64 GiB, 2 MiB leaves", empty_one, w2_run, l2_run, 32768, 1},
    {"W3", "map 4 GiB, 4 KiB leaves", empty_one, w3_run, l3_run, 1048576, 1},
    {"W4", "a PC's map, the whole of it", empty_one, w4_run, l4_run, 1, 1},
    {"W5", "punch a 4 KiB hole", w5_before, w5_run, l5_run, HOLES, 1},
    {"W6", "find, 4 KiB leaves", w6_before_4k, w6_find_run, l6_run, LOOKUPS, 1},
    {"W6", "find, 2 MiB leaves", w6_before_2m, w6_find_run, l6_run, LOOKUPS, 1},
    {"W6", "find, 1 GiB leaves", w6_before_1g, w6_find_run, l6_run, LOOKUPS, 1},
    {"W6g", "the same, format not constant", w6_before_4k, w6_generic_run, l6_run, LOOKUPS, 1},
    {"W6g", "the same, 2 MiB leaves", w6_before_2m, w6_generic_run, l6_run, LOOKUPS, 1},
    {"W6g", "the same, 1 GiB leaves", w6_before_1g, w6_generic_run, l6_run, LOOKUPS, 1},
    {"W6d", "decoded lookup, 4 KiB leaves", w6_before_4k, w6_run, l6_run, LOOKUPS, 1},
    {"W6d", "decoded lookup, 2 MiB leaves", w6_before_2m, w6_run, l6_run, LOOKUPS, 1},
    {"W6d", "decoded lookup, 1 GiB leaves", w6_before_1g, w6_run, l6_run, LOOKUPS, 1},
    {"W7", "unmap 64 GiB of 2 MiB leaves", w7_before, w7_run, l7_run, 32768, 1},
    {"W8", "harvest dirty, 8 GiB, 1 %", w8_before, w8_run, l8_run, 2097152, 1},
};

struct figure {
    uint64_t median, best;
};

static void sort(uint64_t *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t j = i; j > 0 && values[j - 1] > values[j]; j--) {
            uint64_t value = values[j];

            values[j] = values[j - 1];
            values[j - 1] = value;
        }
    }
}

static uint64_t timed(void (*run)(void), const struct workload *workload)
{
    uint64_t start = now_ps();

    run();
    return (now_ps() - start) / workload->entries;
}

/* The two are run in turn, so that a machine that is busy meanwhile is as slow for one as for the other. Lookups leave
 * the tree as it is; where the floor writes over the tables, it is made anew before each run. */
static void measure(const struct workload *workload, struct figure *ours, struct figure *floor)
{
    uint64_t times[2][RUNS];

    for (uint32_t i = 0; i < RUNS; i++) {
        if (i == 0 || workload->floor != l6_run) {
            workload->before();
        }
        times[0][i] = timed(workload->run, workload);
        if (workload->run != w7_run) {
            tables_used = (pool.pages - pool.free_count) / workload->trees;
        }
        times[1][i] = timed(workload->floor, workload);
    }
    sort(times[0], RUNS);
    sort(times[1], RUNS);
    *ours = (struct figure){times[0][RUNS / 2], times[0][0]};
    *floor = (struct figure){times[1][RUNS / 2], times[1][0]};
}

static void workload_print(const struct workload *workload)
{
    struct figure time, floor;
    uint64_t ratio;

    measure(workload, &time, &floor);
    ratio = time.median * 100 / (floor.median == 0 ? 1 : floor.median);
    printf("%-4s %-30s %-6s %9" PRIu64 ".%03" PRIu64 " %9" PRIu64 ".%03" PRIu64 " %9" PRIu64 ".%03" PRIu64 " %6" PRIu64
           ".%02" PRIu64 " %12" PRIu64 "\n",
           workload->name, workload->what, page_table_format_name(format), time.median / 1000, time.median % 1000,
           time.best / 1000, time.best % 1000, floor.median / 1000, floor.median % 1000, ratio / 100, ratio % 100,
           tables_used * PAGE_BYTES);
    fflush(stdout);
}

/* A place that callgrind can name. */
static __attribute__((noinline)) void run_ended(void)
{
    __asm__ volatile("" ::: "memory");
}

/* Each once, and its floor: what tests/bench/count-instructions counts, which knows them by their order. */
static void workload_count(const struct workload *workload)
{
    workload->before();
    workload->run();
    run_ended();
    tables_used = pool.pages - pool.free_count;
    workload->floor();
    run_ended();
    printf("%s\t%s\t%s\t%" PRIu64 "\n", workload->name, workload->what, page_table_format_name(format),
           workload->floor == l6_run ? lookups : workload->entries);
}

/* `count`: nothing is timed, and there are fewer lookups. */
int main(int count, char **arguments)
{
    static const struct page_table_format *const formats[] = {&page_table_host4, &page_table_ept4, &page_table_npt4,
                                                              &page_table_host5};
    bool counted = count > 1 && arguments[1][0] == 'c';

    lookups = counted ? LOOKUPS / 100 : LOOKUPS;
    arena = mmap(NULL, ARENA_BYTES + 2 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(arena != MAP_FAILED);
    arena = (uint8_t *)align_up((uint64_t)(uintptr_t)arena, 2 * MIB);
    (void)madvise(arena, ARENA_BYTES, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < ARENA_BYTES; i += PAGE_BYTES) {
        arena[i] = 1;
    }
    if (!counted) {
        printf("%-4s %-30s %-6s %13s %13s %13s %9s %12s\n", "", "ns per entry (W4: whole)", "format", "median", "best",
               "L: floor", "ratio", "table bytes");
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(formats); i++) {
        format = formats[i];
        for (uint32_t j = 0; j < ARRAY_COUNT(workloads); j++) {
            if (workloads[j].floor != l6_run || format->levels == 4) {
                (counted ? workload_count : workload_print)(&workloads[j]);
            }
        }
    }
    return 0;
}
