/* SPDX-License-Identifier: MIT */
/* The memory map's promises: hostile firmware descriptors, canonical form, all-or-nothing changes, exact search. */
#include "hv/plan/memory_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { UEFI_RESERVED, UEFI_LOADER = 2, UEFI_BOOT = 4, UEFI_RUNTIME = 6, UEFI_FREE = 7, UEFI_ACPI = 9, UEFI_MMIO = 11 };

struct descriptor {
    uint32_t type;
    uint32_t pad;
    uint64_t start;
    uint64_t virtual_start;
    uint64_t pages;
    uint64_t attribute;
};

static struct memory_map map;

static enum status load(const struct descriptor *list, size_t count, size_t stride)
{
    static uint8_t bytes[64 * 128];

    memset(bytes, 0xa5, sizeof(bytes));
    for (size_t i = 0; i < count; i++) {
        memcpy(bytes + i * stride, &list[i], sizeof(list[i]));
    }
    return memory_map_from_uefi(&map, bytes, count * stride, stride);
}

static void expect_region(uint32_t index, uint64_t start, uint64_t end, enum memory_type type)
{
    assert_true(index < map.count);
    assert_int_equal(map.regions[index].start, start);
    assert_int_equal(map.regions[index].end, end);
    assert_int_equal(map.regions[index].type, type);
}

static void unsorted_descriptors_of_any_stride_are_sorted_and_merged(void **state)
{
    static const struct descriptor list[] = {
        {UEFI_FREE, 0, 0x300000, 0, 0x100, 0xf},
        {UEFI_RUNTIME, 0, 0x100000, 0, 0x10, 0xf},
        {UEFI_FREE, 0, 0x200000, 0, 0x100, 0xf},
        {UEFI_BOOT, 0, 0x110000, 0, 0x10, 0xf},
    };
    static const size_t strides[] = {40, 41, 48, 64, 128};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(strides); i++) {
        assert_int_equal(load(list, 4, strides[i]), STATUS_OK);
        assert_int_equal(map.count, 3);
        expect_region(0, 0x100000, 0x110000, MEMORY_RESERVED);
        expect_region(1, 0x110000, 0x120000, MEMORY_BOOT);
        expect_region(2, 0x200000, 0x400000, MEMORY_FREE);
    }
}

static void where_descriptors_overlap_the_more_restrictive_wins_in_any_order(void **state)
{
    static const struct descriptor forward[] = {
        {UEFI_FREE, 0, 0x100000, 0, 0x100, 0},
        {UEFI_RESERVED, 0, 0x140000, 0, 0x10, 0},
        {UEFI_ACPI, 0, 0x148000, 0, 0x10, 0},
        {UEFI_MMIO, 0, 0x1f8000, 0, 0x10, 0},
    };
    struct descriptor backward[4];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        backward[i] = forward[3 - i];
    }
    for (int round = 0; round < 2; round++) {
        assert_int_equal(load(round == 0 ? forward : backward, 4, 48), STATUS_OK);
        assert_int_equal(map.count, 5);
        expect_region(0, 0x100000, 0x140000, MEMORY_FREE);
        expect_region(1, 0x140000, 0x150000, MEMORY_RESERVED);
        expect_region(2, 0x150000, 0x158000, MEMORY_ACPI);
        expect_region(3, 0x158000, 0x1f8000, MEMORY_FREE);
        expect_region(4, 0x1f8000, 0x208000, MEMORY_MMIO);
    }
}

static void absurd_descriptors_never_give_memory(void **state)
{
    static const struct descriptor list[] = {
        {UEFI_FREE, 0, 0x1000, 0, 0, 0},                       /* no pages */
        {UEFI_FREE, 0, 0xfffffffffffff000, 0, 2, 0},           /* wraps */
        {UEFI_FREE, 0, 0x100000, 0, 0x10000000000000, 0},      /* pages * 4096 wraps */
        {UEFI_FREE, 0, 0x10000000000000, 0, 1, 0},             /* beyond 52 bits */
        {UEFI_FREE, 0, 0x200800, 0, 2, 0},                     /* not on a page: one whole page in it */
        {UEFI_RESERVED, 0, 0x300800, 0, 1, 0},                 /* not on a page: two are touched */
        {0x80000001, 0, 0x400000, 0, 1, 0},                    /* an OS loader's type */
        {UEFI_FREE, 0, 0x500000, 0, 1, 1ULL << 63},            /* free, but of the runtime services */
        {UEFI_FREE, 0, 0x600000, 0, 1, 1ULL << 18},            /* for a special purpose */
        {UEFI_RESERVED, 0, 0xffffffff00000, 0, UINT64_MAX, 0}, /* to the end of everything */
        {UEFI_MMIO, 0, 0xffffffffff000, 0, 1, 1ULL << 63},     /* the runtime services' devices stay devices */
    };

    (void)state;
    assert_int_equal(load(list, ARRAY_COUNT(list), 48), STATUS_OK);
    assert_int_equal(memory_map_bytes(&map, MEMORY_FREE), 0x1000);
    expect_region(0, 0x201000, 0x202000, MEMORY_FREE);
    expect_region(1, 0x300000, 0x302000, MEMORY_RESERVED);
    expect_region(2, 0x400000, 0x401000, MEMORY_RESERVED);
    expect_region(3, 0x500000, 0x501000, MEMORY_RESERVED);
    expect_region(4, 0x600000, 0x601000, MEMORY_RESERVED);
    expect_region(5, 0xffffffff00000, (1ULL << 52) - 0x1000, MEMORY_RESERVED);
    expect_region(6, 0x10000000000000 - 0x1000, 1ULL << 52, MEMORY_MMIO);
    assert_int_equal(map.count, 7);
}

/* UEFI 2.10, 7.2.3: UC 1, WC 2, WT 4, WB 8 say what the memory can be. */
static void memory_that_cannot_be_written_back_is_not_free(void **state)
{
    static const struct descriptor list[] = {
        {UEFI_FREE, 0, 0x100000, 0, 1, 0xf}, {UEFI_FREE, 0, 0x200000, 0, 1, 0},   /* a firmware that says nothing */
        {UEFI_FREE, 0, 0x300000, 0, 1, 0x8}, {UEFI_FREE, 0, 0x400000, 0, 1, 0x1}, /* uncached only */
        {UEFI_FREE, 0, 0x500000, 0, 1, 0x7}, {UEFI_MMIO, 0, 0x600000, 0, 1, 0x1},
    };

    (void)state;
    assert_int_equal(load(list, ARRAY_COUNT(list), 40), STATUS_OK);
    expect_region(0, 0x100000, 0x101000, MEMORY_FREE);
    expect_region(1, 0x200000, 0x201000, MEMORY_FREE);
    expect_region(2, 0x300000, 0x301000, MEMORY_FREE);
    expect_region(3, 0x400000, 0x401000, MEMORY_RESERVED);
    expect_region(4, 0x500000, 0x501000, MEMORY_RESERVED);
    expect_region(5, 0x600000, 0x601000, MEMORY_MMIO);
    assert_int_equal(map.count, 6);
}

static void a_map_of_the_wrong_shape_is_refused_and_empty(void **state)
{
    static const struct descriptor one = {UEFI_FREE, 0, 0x100000, 0, 1, 0};

    (void)state;
    assert_int_equal(load(&one, 1, 40), STATUS_OK);
    assert_int_equal(memory_map_from_uefi(&map, &one, 40, 0), STATUS_MALFORMED);
    assert_int_equal(map.count, 0);
    assert_int_equal(memory_map_from_uefi(&map, &one, 40, 39), STATUS_MALFORMED);
    assert_int_equal(memory_map_from_uefi(&map, &one, 39, 40), STATUS_MALFORMED);
    assert_int_equal(memory_map_from_uefi(&map, NULL, 0, 48), STATUS_OK);
    assert_int_equal(map.count, 0);
}

static void more_regions_than_fit_are_refused_and_leave_the_map_empty(void **state)
{
    size_t count = MEMORY_REGIONS_MAX + 1;
    struct descriptor *list = calloc(count, sizeof(*list));

    (void)state;
    assert_non_null(list);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct descriptor){UEFI_FREE, 0, 0x100000 + i * 0x2000, 0, 1, 0};
    }
    assert_int_equal(memory_map_from_uefi(&map, list, count * sizeof(*list), sizeof(*list)), STATUS_NO_SPACE);
    assert_int_equal(map.count, 0);
    assert_int_equal(memory_map_from_uefi(&map, list, (count - 1) * sizeof(*list), sizeof(*list)), STATUS_OK);
    assert_int_equal(map.count, MEMORY_REGIONS_MAX);
    /* Reserved pages with gaps fill the map; a free descriptor over all of them would fill the gaps. */
    for (size_t i = 0; i < count - 1; i++) {
        list[i].type = UEFI_RESERVED;
    }
    list[count - 1] = (struct descriptor){UEFI_FREE, 0, 0, 0, 0x10000, 0};
    assert_int_equal(memory_map_from_uefi(&map, list, count * sizeof(*list), sizeof(*list)), STATUS_NO_SPACE);
    assert_int_equal(map.count, 0);
    free(list);
}

static void a_full_map_refuses_a_split_and_changes_nothing(void **state)
{
    static struct memory_map before;

    (void)state;
    map.count = 0;
    for (uint64_t i = 0; i < MEMORY_REGIONS_MAX; i++) {
        assert_int_equal(memory_map_set(&map, i * 0x4000, i * 0x4000 + 0x3000, MEMORY_FREE), STATUS_OK);
    }
    before = map;
    assert_int_equal(memory_map_set(&map, 0x1000, 0x2000, MEMORY_LOADER), STATUS_NO_SPACE);
    assert_memory_equal(&before, &map, sizeof(map));
    assert_int_equal(memory_map_set(&map, 0x3000, 0x4000, MEMORY_FREE), STATUS_OK);
    assert_int_equal(map.count, MEMORY_REGIONS_MAX - 1);
}

static void wrong_ranges_are_named(void **state)
{
    (void)state;
    map.count = 0;
    assert_int_equal(memory_map_set(&map, 0x2000, 0x2000, MEMORY_FREE), STATUS_INVALID);
    assert_int_equal(memory_map_set(&map, 0x3000, 0x2000, MEMORY_FREE), STATUS_INVALID);
    assert_int_equal(memory_map_set(&map, 0x1000, (1ULL << 52) + 0x1000, MEMORY_FREE), STATUS_INVALID);
    assert_int_equal(memory_map_set(&map, 0x1001, 0x2000, MEMORY_FREE), STATUS_MISALIGNED);
    assert_int_equal(memory_map_set(&map, 0x1000, 0x2800, MEMORY_FREE), STATUS_MISALIGNED);
    assert_int_equal(memory_map_convert(&map, 0x2000, 0x2000, MEMORY_FREE, MEMORY_LOADER), STATUS_INVALID);
    assert_int_equal(memory_map_convert(&map, 0x2000, 0x3000, MEMORY_FREE, MEMORY_LOADER), STATUS_BUSY);
    assert_int_equal(map.count, 0);
    memory_map_set(&map, 0x4000, 0x6000, MEMORY_FREE);
    assert_int_equal(memory_map_convert(&map, 0x2000, 0x3000, MEMORY_FREE, MEMORY_LOADER), STATUS_BUSY);
    assert_int_equal(memory_map_convert(&map, 0x4000, 0x5000, MEMORY_BOOT, MEMORY_LOADER), STATUS_BUSY);
    assert_int_equal(memory_map_convert(&map, 0x4000, 0x4800, MEMORY_FREE, MEMORY_LOADER), STATUS_MISALIGNED);
    assert_int_equal(memory_map_bytes(&map, MEMORY_FREE), 0x2000);
}

/* A flat reference: the type of each page of a small space; 6 is "not described". */
#define PAGES 96u
#define NO_TYPE 6
static int reference[PAGES];

static void compare_with_reference(void)
{
    uint32_t region = 0;

    for (uint32_t page = 0; page < PAGES;) {
        uint32_t end = page + 1;

        while (end < PAGES && reference[end] == reference[page]) {
            end++;
        }
        if (reference[page] != NO_TYPE) {
            expect_region(region, page * 0x1000ULL, end * 0x1000ULL, (enum memory_type)reference[page]);
            region++;
        }
        page = end;
    }
    assert_int_equal(map.count, region);
}

static void compare_find(uint64_t bytes, uint64_t alignment, enum memory_type type, uint64_t low, uint64_t high)
{
    uint64_t place = 0;
    bool found = memory_map_find(&map, type, bytes, alignment, low, high, &place) == STATUS_OK;

    for (uint64_t start = align_up(low, alignment); start + bytes <= min_u64(high, PAGES * 0x1000ULL);
         start += alignment) {
        bool fits = true;

        for (uint64_t at = start; at < start + bytes; at += 0x1000) {
            fits = fits && reference[at / 0x1000] == (int)type;
        }
        if (fits) {
            assert_true(found);
            assert_int_equal(place, start);
            return;
        }
    }
    assert_false(found);
}

static void random_changes_agree_with_a_flat_array(void **state)
{
    (void)state;
    srand(1);
    map.count = 0;
    for (uint32_t page = 0; page < PAGES; page++) {
        reference[page] = NO_TYPE;
    }
    for (int round = 0; round < 200000; round++) {
        uint32_t start = (uint32_t)rand() % PAGES;
        uint32_t end = start + 1 + (uint32_t)rand() % (PAGES - start);
        int type = rand() % NO_TYPE;
        int from = reference[start];
        bool convert = rand() % 4 == 0 && from != NO_TYPE;
        bool uniform = true;

        for (uint32_t page = start; page < end; page++) {
            uniform = uniform && reference[page] == from;
        }
        if (convert) {
            enum status status = memory_map_convert(&map, start * 0x1000ULL, end * 0x1000ULL, (enum memory_type)from,
                                                    (enum memory_type)type);
            assert_int_equal(status, uniform ? STATUS_OK : STATUS_BUSY);
        } else {
            assert_int_equal(memory_map_set(&map, start * 0x1000ULL, end * 0x1000ULL, (enum memory_type)type),
                             STATUS_OK);
        }
        for (uint32_t page = start; page < end && (!convert || uniform); page++) {
            reference[page] = type;
        }
        compare_with_reference();
        compare_find((1 + (uint64_t)rand() % 8) * 0x1000, 0x1000ULL << rand() % 5, (enum memory_type)(rand() % NO_TYPE),
                     (uint64_t)rand() % 16 * 0x1000, (16 + (uint64_t)rand() % 90) * 0x1000);
    }
}

static void find_refuses_nonsense_and_does_not_wrap(void **state)
{
    uint64_t place = 0;

    (void)state;
    map.count = 0;
    memory_map_set(&map, 0x1000, 0x100000, MEMORY_FREE);
    assert_int_equal(memory_map_find(&map, MEMORY_FREE, 0, 0x1000, 0, ~0ULL, &place), STATUS_INVALID);
    assert_int_equal(memory_map_find(&map, MEMORY_FREE, 0x1000, 0x1800, 0, ~0ULL, &place), STATUS_INVALID);
    assert_int_equal(memory_map_find(&map, MEMORY_FREE, 0x1000, 1ULL << 63, 0, ~0ULL, &place), STATUS_NOT_FOUND);
    assert_int_equal(memory_map_find(&map, MEMORY_FREE, ~0ULL, 0x1000, 0, ~0ULL, &place), STATUS_NOT_FOUND);
}

static void the_top_is_the_end_of_memory_and_not_of_devices(void **state)
{
    (void)state;
    map.count = 0;
    assert_int_equal(memory_map_top(&map), 0);
    memory_map_set(&map, 0x100000, 0x200000, MEMORY_FREE);
    memory_map_set(&map, 0xfec00000, 0xfec01000, MEMORY_MMIO);
    assert_int_equal(memory_map_top(&map), 0x200000);
    memory_map_set(&map, 0x100000000, 0x200000000, MEMORY_RESERVED);
    assert_int_equal(memory_map_top(&map), 0x200000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unsorted_descriptors_of_any_stride_are_sorted_and_merged),
        cmocka_unit_test(where_descriptors_overlap_the_more_restrictive_wins_in_any_order),
        cmocka_unit_test(absurd_descriptors_never_give_memory),
        cmocka_unit_test(memory_that_cannot_be_written_back_is_not_free),
        cmocka_unit_test(a_map_of_the_wrong_shape_is_refused_and_empty),
        cmocka_unit_test(more_regions_than_fit_are_refused_and_leave_the_map_empty),
        cmocka_unit_test(a_full_map_refuses_a_split_and_changes_nothing),
        cmocka_unit_test(wrong_ranges_are_named),
        cmocka_unit_test(random_changes_agree_with_a_flat_array),
        cmocka_unit_test(find_refuses_nonsense_and_does_not_wrap),
        cmocka_unit_test(the_top_is_the_end_of_memory_and_not_of_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
