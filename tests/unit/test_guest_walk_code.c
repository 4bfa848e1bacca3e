/* SPDX-License-Identifier: MIT */
/* The quick walk to an instruction's bytes finds what the full walk finds, and gives up where it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/mm/guest_walk.h"
#include "hv/svm/decode.h"

#include <string.h>

#define RAM_BYTES (8 * MIB)
#define RAM_START 0x1000000ULL /* the range does not begin at 0 */
#define PML4 (RAM_START + 0x1000)
#define PDPT (RAM_START + 0x2000)
#define PD (RAM_START + 0x3000)
#define PT (RAM_START + 0x4000)
#define PML5 (RAM_START + 0x6000)
#define PRESENT 1ULL
#define LARGE 0x80ULL

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static struct guest_memory memory;
static const struct guest_paging paging = {.cr0 = 1ULL << 31 | 1,
                                           .cr3 = PML4 | 0x18,
                                           .cr4 = 1ULL << 5,
                                           .efer = 3ULL << 10,
                                           .physical_bits = 40,
                                           .gib_pages = true,
                                           .nx_supported = true};

static void put(uint64_t table, uint64_t index, uint64_t entry)
{
    memcpy(ram + (table - RAM_START) + index * 8, &entry, 8);
}

static int setup(void **state)
{
    (void)state;
    memset(ram, 0, sizeof(ram));
    memory = (struct guest_memory){.range_count = 1, .window = (uint64_t)(uintptr_t)ram};
    memory.ranges[0] = (struct guest_range){gpa(RAM_START), hpa(0), RAM_BYTES};
    put(PML5, 511, PML4 | PRESENT);
    put(PML4, 511, PDPT | PRESENT);
    put(PDPT, 510, PD | PRESENT);
    put(PD, 3, PT | PRESENT);
    put(PT, 7, (RAM_START + 0x123000) | PRESENT | 1ULL << 63);
    put(PD, 4, (RAM_START + 2 * MIB) | PRESENT | LARGE);
    put(PDPT, 1, 0 | PRESENT | LARGE);
    return 0;
}

static const uint8_t *walk(uint64_t linear)
{
    return guest_walk_code(&memory, paging.cr3, paging.cr4, linear);
}

static uint64_t linear_of(uint64_t pdpt, uint64_t pd, uint64_t pt, uint64_t offset)
{
    return 0xffffff8000000000ULL | pdpt << 30 | pd << 21 | pt << 12 | offset;
}

static void every_leaf_size_leads_where_the_full_walk_leads(void **state)
{
    const uint64_t addresses[] = {linear_of(510, 3, 7, 0), linear_of(510, 3, 7, 0xffe), linear_of(510, 4, 0, 0x10),
                                  linear_of(510, 4, 511, 0xabc), linear_of(1, 8, 5, 0x77)};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(addresses); i++) {
        struct guest_translation translation;

        assert_int_equal(guest_walk(&memory, &paging, addresses[i], GUEST_READ, &translation), GUEST_WALK_OK);
        assert_ptr_equal(walk(addresses[i]), guest_memory_pointer(&memory, translation.address, 1));
        assert_non_null(walk(addresses[i]));
    }
}

static void what_is_not_mapped_or_not_in_ram_gives_nothing(void **state)
{
    (void)state;
    assert_null(walk(0));                       /* no PML4 entry */
    assert_null(walk(linear_of(510, 3, 8, 0))); /* no page */
    assert_null(walk(linear_of(1, 0, 0, 0)));   /* a page below the range */
    assert_null(walk(linear_of(1, 12, 0, 0)));  /* and one above it */
    put(PML4, 511, (RAM_START + RAM_BYTES) | PRESENT);
    assert_null(walk(linear_of(510, 3, 7, 0))); /* a table outside */
    assert_null(guest_walk_code(&memory, RAM_START - 0x1000, 0, 0));
    memory.range_count = 0;
    memory.ranges[0].bytes = 0;
    assert_null(walk(linear_of(510, 4, 0, 0)));
}

/* Tables, CR3, CR4.LA57 and addresses change at random, one at a time; the way that was kept never leads elsewhere than
 * a whole walk. */
static void a_kept_way_leads_where_a_walk_leads(void **state)
{
    static const uint64_t tables[] = {PML4, PDPT, PD, PT, PML5, PDPT, PD, PT};
    static const uint64_t indexes[] = {511, 510, 3, 7, 511, 1, 4, 8};
    static const uint64_t targets[] = {
        PML4, PDPT, PD, PT, RAM_START + 2 * MIB, RAM_START + RAM_BYTES - MIB, PT | LARGE, RAM_START + 0x5000};
    struct guest_code_way way = {0};
    uint64_t seed = 1, kept = 0, deep = 0, found = 0, cr3 = PML4, cr4 = 0, linear = linear_of(510, 3, 7, 0);

    (void)state;
    for (uint32_t round = 0; round < 400000; round++) {
        const uint8_t *code, *by_way;

        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        switch (seed >> 60) {
        case 0:
            put(tables[seed >> 40 & 7], indexes[seed >> 40 & 7],
                targets[seed >> 44 & 7] | (seed >> 50 & 7 ? PRESENT : 0));
            break;
        case 1:
            put(tables[seed >> 40 & 3], indexes[seed >> 40 & 3], tables[(seed >> 40 & 3) + 1] | PRESENT);
            break;
        case 2:
            cr3 = seed >> 40 & 1 ? PML4 : PDPT;
            break;
        case 3:
            cr4 = (seed >> 40 & 3) == 0 ? CR4_LA57 : 0;
            break;
        case 4:
            (void)setup(NULL);
            cr4 = seed >> 40 & 1 ? CR4_LA57 : 0;
            cr3 = cr4 != 0 ? PML5 : PML4;
            break;
        default:
            linear =
                linear_of(seed >> 40 & 1 ? 510 : 1, seed >> 41 & 1 ? 3 : 4, seed >> 42 & 1 ? 7 : 8, seed >> 20 & 0xfff);
            break;
        }
        code = guest_walk_code(&memory, cr3, cr4, linear);
        by_way = guest_code_by_way(&way, cr3, cr4, linear);
        assert_true(by_way == NULL || by_way == code);
        kept += by_way != NULL;
        found += code != NULL;
        deep += code != NULL && linear - way.linear < way.deep_bytes && guest_code_way_holds(&way, cr3, cr4) &&
                *way.slots[GUEST_CODE_ENTRIES] == way.entries[GUEST_CODE_ENTRIES];
        assert_ptr_equal(guest_walk_code_again(&memory, cr3, cr4, linear, &way), code);
    }
    assert_true(kept > 10000 && deep > 1000 && found > kept + deep); /* else nothing was compared */
}

/* Of a large leaf that the range has in part: by the way it is found in that page, and not beyond. */
static void of_a_leaf_that_is_not_all_in_the_range_a_page_is_kept(void **state)
{
    static const struct {
        uint64_t from, to; /* what the range has of the RAM */
        uint64_t offset;   /* in the leaf */
    } rows[] = {{0x1000, 4 * MIB, 0x5000}, {0, 2 * MIB - PAGE_BYTES, 0x5000}, {0, 4 * MIB, 0x5000}};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint64_t linear = linear_of(510, 5, 0, rows[i].offset);
        struct guest_code_way way = {0};
        const uint8_t *code;

        (void)setup(NULL);
        put(PD, 5, RAM_START | PRESENT | LARGE);
        memory.ranges[0] =
            (struct guest_range){gpa(RAM_START + rows[i].from), hpa(rows[i].from), rows[i].to - rows[i].from};
        code = guest_walk_code_again(&memory, paging.cr3, paging.cr4, linear, &way);
        assert_ptr_equal(code, ram + rows[i].offset);
        assert_ptr_equal(guest_code_by_way(&way, paging.cr3, paging.cr4, linear + 0xfff), code + 0xfff);
        assert_int_equal(guest_code_by_way(&way, paging.cr3, paging.cr4, linear + PAGE_BYTES) != NULL, i == 2);
        assert_int_equal(guest_code_by_way(&way, paging.cr3, paging.cr4, linear - 1) != NULL, i == 2);
    }
}

static void nothing_is_marked(void **state)
{
    static uint8_t before[RAM_BYTES];

    (void)state;
    memcpy(before, ram, sizeof(ram));
    assert_non_null(walk(linear_of(510, 3, 7, 4)));
    assert_memory_equal(before, ram, sizeof(ram));
}

/* APM 3 appendix A. */
static void plain_forms_have_their_length_and_prefixed_ones_none(void **state)
{
    static const uint8_t cpuid[] = {0x0f, 0xa2, 0}, wrmsr[] = {0x0f, 0x30, 0}, rdmsr[] = {0x0f, 0x32, 0},
                         hlt[] = {0xf4, 0x0f, 0};
    static const uint8_t prefixed[] = {0x48, 0x0f, 0xa2}, wbinvd[] = {0x0f, 0x09, 0}, vmmcall[] = {0x0f, 0x01, 0xd9};
    static const uint8_t vmcall[] = {0x0f, 0x01, 0xc1};

    (void)state;
    assert_int_equal(svm_plain_length(SVM_EXIT_CPUID, cpuid), 2);
    assert_int_equal(svm_plain_length(SVM_EXIT_MSR, wrmsr), 2);
    assert_int_equal(svm_plain_length(SVM_EXIT_MSR, rdmsr), 2);
    assert_int_equal(svm_plain_length(SVM_EXIT_HLT, hlt), 1);
    assert_int_equal(svm_plain_length(SVM_EXIT_CPUID, prefixed), 0);
    assert_int_equal(svm_plain_length(SVM_EXIT_CPUID, wrmsr), 0);
    assert_int_equal(svm_plain_length(SVM_EXIT_MSR, cpuid), 0);
    assert_int_equal(svm_plain_length(SVM_EXIT_VMMCALL, cpuid), 0);
    assert_int_equal(svm_plain_length(SVM_EXIT_VMMCALL, vmmcall), 3);
    assert_int_equal(svm_plain_length(SVM_EXIT_VMMCALL, vmcall), 0);
    assert_int_equal(svm_plain_length(SVM_EXIT_WBINVD, wbinvd), 2);
    assert_int_equal(svm_plain_length(SVM_EXIT_WBINVD, cpuid), 0);
    assert_int_equal(svm_plain_length(SVM_EXIT_PAUSE, cpuid), 0); /* the decoder knows it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_leaf_size_leads_where_the_full_walk_leads, setup),
        cmocka_unit_test_setup(what_is_not_mapped_or_not_in_ram_gives_nothing, setup),
        cmocka_unit_test_setup(a_kept_way_leads_where_a_walk_leads, setup),
        cmocka_unit_test_setup(of_a_leaf_that_is_not_all_in_the_range_a_page_is_kept, setup),
        cmocka_unit_test_setup(nothing_is_marked, setup),
        cmocka_unit_test(plain_forms_have_their_length_and_prefixed_ones_none),
    };

    return cmocka_run_group_tests_name("quick walk", tests, NULL, NULL);
}
