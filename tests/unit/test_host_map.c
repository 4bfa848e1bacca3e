/* SPDX-License-Identifier: MIT */
/* Promises of hv/x86/host_map.h and hv/x86/mtrr.h: the host's map is identity, W^X, holds what must be absent absent,
 * never lets a leaf span two memory types, and takes no more tables than were counted. */
#include "hv/x86/host_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_HPA 0x10000000ULL
#define ARENA_PAGES 4096u
#define PHYSICAL_BITS 40u

#define TYPE_UC 0ULL
#define TYPE_WC 1ULL
#define TYPE_WT 4ULL
#define TYPE_WB 6ULL
#define VALID (1ULL << 11)
#define ENABLE (1ULL << 11)
#define FIXED_ENABLE (1ULL << 10)

#define MEMORY_RANGES 20u
#define MEMORY(end) .memory = (const struct host_range[]){{0, end}}, .memory_count = 1

static uint8_t *arena;
static struct table_pool pool;
static struct page_table table;
static struct mtrr_state mtrrs;
static uint32_t seed;

static uint32_t dice(uint32_t sides)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % sides;
}

static uint64_t mask_of(uint64_t bytes)
{
    return (((1ULL << PHYSICAL_BITS) - 1) & ~(bytes - 1)) | VALID;
}

static void add_range(uint64_t base, uint64_t bytes, uint64_t type)
{
    mtrrs.variable[mtrrs.variable_count++] = (struct mtrr_variable){base | type, mask_of(bytes)};
}

/* As OVMF and most boards leave it: WB by default, UC for the upper part below 4 GiB, VGA and ROM in the fixed ones. */
static void usual_mtrrs(void)
{
    memset(&mtrrs, 0, sizeof(mtrrs));
    mtrrs.present = true;
    mtrrs.physical_bits = PHYSICAL_BITS;
    mtrrs.default_type = ENABLE | FIXED_ENABLE | TYPE_WB;
    memset(mtrrs.fixed, 0x06, sizeof(mtrrs.fixed));
    mtrrs.fixed[2] = 0; /* a0000-bffff: UC */
    add_range(0x80000000, 0x80000000, TYPE_UC);
}

static void new_tree(enum page_level largest)
{
    struct page_table_caps caps = {.largest_leaf = largest, .physical_bits = PHYSICAL_BITS, .no_execute = true};

    assert_int_equal(table_pool_init(&pool, (uint64_t)(uintptr_t)arena - ARENA_HPA, hpa(ARENA_HPA), ARENA_PAGES), 0);
    assert_int_equal(page_table_init(&table, &page_table_host4, &caps, &pool), STATUS_OK);
}

static struct page_lookup lookup(uint64_t address)
{
    struct page_lookup result;

    page_table_lookup(&table, address, &result);
    return result;
}

static uint64_t leaf_bytes(enum page_level level)
{
    return (uint64_t)PAGE_BYTES << (9u * (unsigned)level);
}

/* Walks all of [0, end) leaf by leaf. */
static void expect_sound(uint64_t end)
{
    for (uint64_t at = 0; at < end;) {
        struct page_lookup result = lookup(at);
        uint64_t bytes = result.level > LEVEL_1G ? leaf_bytes(LEVEL_1G) : leaf_bytes(result.level);
        uint64_t next = align_down(at, bytes) + bytes;

        if (result.present) {
            enum cache_type type;

            assert_int_equal(result.to.value, at);
            assert_false(result.attributes.write && result.attributes.execute);
            /* WC and UC in the page tables hold whatever the MTRRs say. SDM 3A 12.5.2.2, table 12-7. */
            if (result.attributes.cache != CACHE_WC && result.attributes.cache != CACHE_UC) {
                uint64_t run = mtrr_run(&mtrrs, align_down(at, bytes), next, &type);

                assert_int_equal(run, next);
                assert_int_equal(result.attributes.cache, type);
            }
        }
        at = next;
    }
}

static void build(const struct host_map_request *request, uint32_t loose, uint64_t dense)
{
    new_tree(request->largest_leaf);
    assert_int_equal(host_map_build(&table, request), STATUS_OK);
    assert_true(pool.pages - pool.free_count <= host_map_tables_max(request, loose, dense));
}

static void page_zero_is_absent_and_the_rest_is_identity(void **state)
{
    struct host_map_request request = {MEMORY(4 * GIB), .mtrrs = &mtrrs, .largest_leaf = LEVEL_1G};

    (void)state;
    usual_mtrrs();
    build(&request, 0, 0);
    assert_false(lookup(0).present);
    assert_false(lookup(PAGE_BYTES - 1).present);
    assert_true(lookup(PAGE_BYTES).present);
    assert_true(lookup(4 * GIB - 1).present);
    assert_false(lookup(4 * GIB).present);
    expect_sound(5 * GIB);
}

static void large_memory_of_one_type_takes_the_largest_leaves(void **state)
{
    struct host_map_request request = {MEMORY(64 * GIB), .mtrrs = &mtrrs, .largest_leaf = LEVEL_1G};

    (void)state;
    usual_mtrrs();
    build(&request, 0, 0);
    assert_int_equal(lookup(1 * GIB).level, LEVEL_1G);
    assert_int_equal(lookup(3 * GIB).level, LEVEL_1G);
    assert_int_equal(lookup(63 * GIB).level, LEVEL_1G);
    assert_int_equal(lookup(0x40000000 - 1).level, LEVEL_2M); /* the first GiB holds the VGA hole and page 0 */
    assert_true(pool.pages - pool.free_count <= 4);
    request.largest_leaf = LEVEL_2M;
    build(&request, 0, 0);
    assert_int_equal(lookup(63 * GIB).level, LEVEL_2M);
}

static void pieces_have_exactly_their_rights(void **state)
{
    static const struct host_piece pieces[] = {
        {0x40200000, 0x40203000, HOST_PIECE_TEXT},     {0x40203000, 0x40205000, HOST_PIECE_CONSTANT},
        {0x40205000, 0x40240000, HOST_PIECE_DATA},     {0x600000, 0x601000, HOST_PIECE_ABSENT},
        {0x609000, 0x60a000, HOST_PIECE_ABSENT},       {0x80000000, 0x80300000, HOST_PIECE_SCREEN},
        {0x700000000, 0x700300000, HOST_PIECE_SCREEN},
    };
    struct host_map_request request = {MEMORY(4 * GIB), .mtrrs = &mtrrs, .largest_leaf = LEVEL_1G, .pieces = pieces,
                                       .piece_count = ARRAY_COUNT(pieces)};

    (void)state;
    usual_mtrrs();
    build(&request, 5, 0x100000);
    assert_true(lookup(0x40202fff).attributes.execute && !lookup(0x40202fff).attributes.write);
    assert_false(lookup(0x40203000).attributes.execute || lookup(0x40204fff).attributes.write);
    assert_true(lookup(0x40205000).attributes.write && !lookup(0x40205000).attributes.execute);
    assert_false(lookup(0x401fffff).attributes.execute);
    assert_false(lookup(0x600fff).present);
    assert_true(lookup(0x601000).present && lookup(0x5fffff).present);
    assert_false(lookup(0x609000).present);
    assert_int_equal(lookup(0x80000000).attributes.cache, CACHE_WC);
    assert_int_equal(lookup(0x80300000).attributes.cache, CACHE_UC);
    assert_int_equal(lookup(0x7002ff000).attributes.cache, CACHE_WC);
    assert_false(lookup(0x700300000).present);
    expect_sound(32 * GIB);
}

static void one_piece_changes_while_the_tree_is_in_use(void **state)
{
    struct host_map_request request = {MEMORY(4 * GIB), .mtrrs = &mtrrs, .largest_leaf = LEVEL_1G};
    struct host_piece page = {0x9000, 0xa000, HOST_PIECE_TEXT};
    enum page_flush flush;

    (void)state;
    usual_mtrrs();
    build(&request, 0, 0);
    assert_int_equal(host_map_apply(&table, &mtrrs, &page, LEVEL_4K, &flush), STATUS_OK);
    assert_int_not_equal(flush, FLUSH_NONE);
    assert_true(lookup(0x9000).attributes.execute && !lookup(0x9000).attributes.write);
    assert_true(lookup(0x8000).attributes.write && lookup(0xa000).attributes.write);
    page.kind = HOST_PIECE_DATA;
    assert_int_equal(host_map_apply(&table, &mtrrs, &page, LEVEL_4K, &flush), STATUS_OK);
    assert_true(lookup(0x9000).attributes.write && !lookup(0x9000).attributes.execute);
}

static void fixed_ranges_decide_below_1_mib(void **state)
{
    (void)state;
    usual_mtrrs();
    mtrrs.fixed[10] = 0x0605040106060600; /* f8000: UC, f9000: WB, ..., fc000: WC, fd000: WT, fe000: WP, ff000: WB */
    assert_int_equal(mtrr_type(&mtrrs, 0x9f000), CACHE_WB);
    assert_int_equal(mtrr_type(&mtrrs, 0xa0000), CACHE_UC);
    assert_int_equal(mtrr_type(&mtrrs, 0xbffff), CACHE_UC);
    assert_int_equal(mtrr_type(&mtrrs, 0xc0000), CACHE_WB);
    assert_int_equal(mtrr_type(&mtrrs, 0xf8000), CACHE_UC);
    assert_int_equal(mtrr_type(&mtrrs, 0xfc000), CACHE_WC);
    assert_int_equal(mtrr_type(&mtrrs, 0xfd000), CACHE_WT);
    assert_int_equal(mtrr_type(&mtrrs, 0xfe000), CACHE_WP);
    mtrrs.default_type &= ~FIXED_ENABLE;
    assert_int_equal(mtrr_type(&mtrrs, 0xa0000), CACHE_WB);
}

static void overlapping_ranges_combine_as_the_manual_says(void **state)
{
    (void)state;
    usual_mtrrs();
    add_range(0x40000000, 0x40000000, TYPE_WB);
    add_range(0x50000000, 0x10000000, TYPE_WT);
    add_range(0x58000000, 0x08000000, TYPE_UC);
    assert_int_equal(mtrr_type(&mtrrs, 0x40000000), CACHE_WB);
    assert_int_equal(mtrr_type(&mtrrs, 0x50000000), CACHE_WT);
    assert_int_equal(mtrr_type(&mtrrs, 0x58000000), CACHE_UC);
}

static void without_mtrrs_all_is_write_back_and_with_disabled_ones_uncached(void **state)
{
    (void)state;
    usual_mtrrs();
    mtrrs.default_type &= ~ENABLE;
    assert_int_equal(mtrr_type(&mtrrs, 0x1000), CACHE_UC);
    mtrrs.present = false;
    assert_int_equal(mtrr_type(&mtrrs, 0x1000), CACHE_WB);
}

static void amd_forces_write_back_above_4_gib_unless_a_range_says_otherwise(void **state)
{
    enum cache_type type;

    (void)state;
    usual_mtrrs();
    mtrrs.default_type = ENABLE | TYPE_UC;
    mtrrs.force_wb_end = 6 * GIB;
    add_range(5 * GIB, 0x10000000, TYPE_WC);
    assert_int_equal(mtrr_type(&mtrrs, 4 * GIB), CACHE_WB);
    assert_int_equal(mtrr_type(&mtrrs, 5 * GIB), CACHE_WC);
    assert_int_equal(mtrr_type(&mtrrs, 6 * GIB), CACHE_UC);
    assert_int_equal(mtrr_run(&mtrrs, 4 * GIB, 8 * GIB, &type), 5 * GIB);
    assert_int_equal(mtrr_run(&mtrrs, 5 * GIB + 0x10000000, 8 * GIB, &type), 6 * GIB);
}

/* Some machine: a few ranges of any size and place, masks with gaps among them. */
static void random_mtrrs(void)
{
    uint32_t count = dice(6);

    memset(&mtrrs, 0, sizeof(mtrrs));
    mtrrs.present = true;
    mtrrs.physical_bits = PHYSICAL_BITS;
    mtrrs.default_type = ENABLE | (dice(2) != 0 ? FIXED_ENABLE : 0) | (dice(2) != 0 ? TYPE_WB : TYPE_UC);
    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS; i++) {
        memset(&mtrrs.fixed[i], dice(2) != 0 ? 6 : 0, 8);
    }
    for (uint32_t i = 0; i < count; i++) {
        static const uint64_t types[] = {TYPE_UC, TYPE_WC, TYPE_WT, TYPE_WB};
        uint64_t bytes = 1ULL << (12 + dice(22));
        uint64_t base = align_down(((uint64_t)dice(1u << 20) << 13), bytes);

        add_range(base, bytes, types[dice(4)]);
        if (dice(8) == 0) {
            mtrrs.variable[i].mask &= ~(1ULL << 30); /* a gap: the block appears twice per 2 GiB */
        }
    }
    if (dice(6) == 0) { /* a firmware that leaves upper bits out of all masks: what is below 4 GiB comes again */
        for (uint32_t i = 0; i < count; i++) {
            mtrrs.variable[i].mask &= 4 * GIB - 1;
            mtrrs.variable[i].base &= 4 * GIB - 1;
        }
    }
    mtrrs.force_wb_end = dice(3) == 0 ? 4 * GIB + (uint64_t)dice(2048) * PAGE_BYTES * 1024 : 0;
}

/* The end of a run by looking at every page near it, which is what mtrr_run() must agree with. */
static void runs_end_exactly_where_the_type_changes(void **state)
{
    (void)state;
    seed = 7;
    for (uint32_t round = 0; round < 300; round++) {
        uint64_t at = 0;

        random_mtrrs();
        for (uint32_t runs = 0; at < 8 * GIB && runs < 200; runs++) {
            enum cache_type type;
            uint64_t end = mtrr_run(&mtrrs, at, 8 * GIB, &type);

            assert_true(end > at && is_aligned(end, PAGE_BYTES));
            assert_true(end == 8 * GIB || mtrr_type(&mtrrs, end) != type);
            assert_int_equal(mtrr_type(&mtrrs, end - PAGE_BYTES), type);
            for (uint32_t probe = 0; probe < 50; probe++) {
                uint64_t within = at + align_down((uint64_t)dice(1u << 24) * 512 % (end - at), PAGE_BYTES);

                assert_int_equal(mtrr_type(&mtrrs, within), type);
            }
            at = end;
        }
    }
}

/* Some memory below `top`, with holes. */
static uint32_t random_memory(struct host_range *ranges, uint64_t top)
{
    uint32_t count = 0;
    uint64_t at = dice(2) * PAGE_BYTES;

    while (at < top && count < MEMORY_RANGES) {
        uint64_t bytes = (1 + (uint64_t)dice(1u << dice(20))) * PAGE_BYTES;

        ranges[count++] = (struct host_range){at, min_u64(at + bytes, top)};
        at += bytes + (1 + (uint64_t)dice(1u << dice(20))) * PAGE_BYTES;
    }
    return count;
}

static bool is_mapped(const struct host_map_request *request, uint64_t at)
{
    bool mapped = false;

    for (uint32_t i = 0; i < request->memory_count; i++) {
        mapped = mapped || (request->memory[i].start <= at && at < request->memory[i].end);
    }
    for (uint32_t i = 0; i < request->piece_count; i++) {
        if (request->pieces[i].start <= at && at < request->pieces[i].end) {
            mapped = request->pieces[i].kind != HOST_PIECE_ABSENT;
        }
    }
    return mapped && at >= PAGE_BYTES;
}

/* Memory and pieces are there, and nothing else: looked at at every border and on both sides of it. */
static void expect_only(const struct host_map_request *request)
{
    for (uint32_t i = 0; i < request->memory_count; i++) {
        const uint64_t places[] = {request->memory[i].start, request->memory[i].end, request->memory[i].start - 1,
                                   request->memory[i].end - 1, request->memory[i].start + dice(1u << 20)};

        for (uint32_t k = 0; k < ARRAY_COUNT(places); k++) {
            if (places[k] < UINT64_MAX / 2) {
                assert_int_equal(lookup(places[k]).present, is_mapped(request, places[k]));
            }
        }
    }
}

static void a_hole_is_absent_and_a_device_is_uncached(void **state)
{
    static const struct host_range memory[] = {{0, 0xa0000}, {0x100000, 0x7f000000}, {4 * GIB, 1012 * GIB}};
    static const struct host_piece pieces[] = {
        {0xfee00000, 0xfee01000, HOST_PIECE_DEVICE},
        {0xfd00000000, 0xfd00100000, HOST_PIECE_DEVICE}, /* where the MTRRs say write-back */
    };
    struct host_map_request request = {.memory = memory,
                                       .memory_count = 3,
                                       .mtrrs = &mtrrs,
                                       .largest_leaf = LEVEL_1G,
                                       .pieces = pieces,
                                       .piece_count = 2};

    (void)state;
    usual_mtrrs();
    build(&request, 2, 0);
    assert_false(lookup(0xa0000).present || lookup(0xfffff).present);
    assert_false(lookup(0x7f000000).present || lookup(4 * GIB - 1).present);
    assert_true(lookup(0xfee00000).present && !lookup(0xfee01000).present);
    assert_int_equal(lookup(0xfee00000).attributes.cache, CACHE_UC);
    assert_int_equal(lookup(0xfd00000000).attributes.cache, CACHE_UC);
    assert_false(lookup(0xfd00100000).present); /* AMD's HyperTransport range */
    assert_int_equal(lookup(4 * GIB).level, LEVEL_1G);
    expect_sound(1024 * GIB);
}

static void random_machines_are_sound_and_within_the_count(void **state)
{
    (void)state;
    seed = 11;
    for (uint32_t round = 0; round < 60; round++) {
        struct host_piece pieces[12];
        struct host_map_request request = {.mtrrs = &mtrrs, .pieces = pieces};
        struct host_range ranges[MEMORY_RANGES];
        uint64_t top;

        random_mtrrs();
        top = (uint64_t)(2048 + dice(2048)) * 2 * MIB;
        request.memory = ranges;
        request.memory_count = random_memory(ranges, top);
        request.largest_leaf = dice(2) != 0 ? LEVEL_1G : LEVEL_2M;
        request.piece_count = dice(12);
        for (uint32_t i = 0; i < request.piece_count; i++) {
            uint64_t start = (1 + (uint64_t)dice(1u << 20)) * PAGE_BYTES;

            pieces[i] = (struct host_piece){start, start + (1 + (uint64_t)dice(100)) * PAGE_BYTES,
                                            (enum host_piece_kind)dice(HOST_PIECE_ABSENT + 1)};
        }
        build(&request, request.piece_count, 0);
        expect_sound(top);
        expect_only(&request);
        assert_false(lookup(0).present);
    }
}

static int allocate(void **state)
{
    (void)state;
    arena = aligned_alloc(PAGE_BYTES, (size_t)ARENA_PAGES * PAGE_BYTES);
    return arena == NULL ? -1 : 0;
}

static int release(void **state)
{
    (void)state;
    free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_zero_is_absent_and_the_rest_is_identity),
        cmocka_unit_test(large_memory_of_one_type_takes_the_largest_leaves),
        cmocka_unit_test(pieces_have_exactly_their_rights),
        cmocka_unit_test(one_piece_changes_while_the_tree_is_in_use),
        cmocka_unit_test(fixed_ranges_decide_below_1_mib),
        cmocka_unit_test(overlapping_ranges_combine_as_the_manual_says),
        cmocka_unit_test(without_mtrrs_all_is_write_back_and_with_disabled_ones_uncached),
        cmocka_unit_test(amd_forces_write_back_above_4_gib_unless_a_range_says_otherwise),
        cmocka_unit_test(runs_end_exactly_where_the_type_changes),
        cmocka_unit_test(a_hole_is_absent_and_a_device_is_uncached),
        cmocka_unit_test(random_machines_are_sound_and_within_the_count),
    };

    return cmocka_run_group_tests(tests, allocate, release);
}
