/* SPDX-License-Identifier: MIT */
/* The image's own sections: rights as the headers state them, and every header that must not be believed. */
#define _POSIX_C_SOURCE 200809L /* strnlen */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "efi/pe_sections.h"

#define IMAGE_BYTES 0x6000u
#define PE 0x80u
#define OPTIONAL (PE + 24u)
#define OPTIONAL_BYTES 240u
#define TABLE (OPTIONAL + OPTIONAL_BYTES)

#define READ 0x40000000u
#define WRITE 0x80000000u
#define EXECUTE 0x20000000u

struct fixture {
    uint8_t *image; /* page-aligned, as firmware places it */
    struct boot_info *info;
};

static void put16(uint8_t *image, uint32_t at, uint32_t value)
{
    image[at] = (uint8_t)value;
    image[at + 1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *image, uint32_t at, uint32_t value)
{
    put16(image, at, value & 0xffff);
    put16(image, at + 2, value >> 16);
}

static void put_section(uint8_t *image, uint32_t index, const char *name, uint32_t start, uint32_t bytes,
                        uint32_t rights)
{
    uint32_t at = TABLE + index * 40;

    memcpy(image + at, name, strnlen(name, 8));
    put32(image, at + 8, bytes);
    put32(image, at + 12, start);
    put32(image, at + 36, rights);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    uint8_t *image = aligned_alloc(PAGE_BYTES, IMAGE_BYTES);

    assert_non_null(fixture);
    assert_non_null(image);
    memset(image, 0, IMAGE_BYTES);
    put32(image, 0x3c, PE);
    put32(image, PE, 0x4550);
    put16(image, PE + 6, 3);
    put16(image, PE + 20, OPTIONAL_BYTES);
    put32(image, OPTIONAL + 32, PAGE_BYTES);
    put32(image, OPTIONAL + 56, IMAGE_BYTES);
    put32(image, OPTIONAL + 60, 0x400);
    put_section(image, 0, ".text", 0x1000, 0x1801, READ | EXECUTE);
    put_section(image, 1, ".rdata", 0x3000, 0x1000, READ);
    put_section(image, 2, ".data1234", 0x4000, 0x1ffc, READ | WRITE);
    fixture->image = image;
    fixture->info = calloc(1, sizeof(*fixture->info));
    assert_non_null(fixture->info);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    free(fixture->image);
    free(fixture->info);
    free(fixture);
    return 0;
}

static bool read_bytes(struct fixture *fixture, uint64_t bytes)
{
    return pe_sections_read((struct span){fixture->image, bytes}, fixture->info);
}

static void sections_are_pages_with_the_rights_of_their_headers(void **state)
{
    static const struct {
        const char *name;
        uint64_t start, end;
        bool write, execute;
    } want[] = {
        {"headers", 0, 0x1000, false, false},
        {".text", 0x1000, 0x3000, false, true},
        {".rdata", 0x3000, 0x4000, false, false},
        {".data123", 0x4000, 0x6000, true, false},
    };
    struct fixture *fixture = *state;
    uint64_t base = (uint64_t)(uintptr_t)fixture->image;

    assert_true(read_bytes(fixture, IMAGE_BYTES));
    assert_int_equal(fixture->info->section_count, ARRAY_COUNT(want));
    for (size_t i = 0; i < ARRAY_COUNT(want); i++) {
        const struct boot_section *got = &fixture->info->sections[i];

        assert_string_equal(got->name, want[i].name);
        assert_int_equal(got->start, base + want[i].start);
        assert_int_equal(got->end, base + want[i].end);
        assert_int_equal(got->write, want[i].write);
        assert_int_equal(got->execute, want[i].execute);
    }
    assert_int_equal(fixture->info->image_start, base);
    assert_int_equal(fixture->info->image_end, base + IMAGE_BYTES);
}

static void a_writable_and_executable_section_is_refused(void **state)
{
    struct fixture *fixture = *state;

    put_section(fixture->image, 2, ".data", 0x4000, 0x1000, READ | WRITE | EXECUTE);
    assert_false(read_bytes(fixture, IMAGE_BYTES));
}

static void a_section_off_a_page_border_is_refused(void **state)
{
    struct fixture *fixture = *state;

    put_section(fixture->image, 1, ".rdata", 0x3200, 0x100, READ);
    assert_false(read_bytes(fixture, IMAGE_BYTES));
}

static void a_section_that_leaves_the_image_is_refused(void **state)
{
    struct fixture *fixture = *state;

    put_section(fixture->image, 2, ".data", 0x4000, 0x2001, READ | WRITE);
    assert_false(read_bytes(fixture, IMAGE_BYTES));
    put_section(fixture->image, 2, ".data", 0xfffff000, 0xfffff000, READ | WRITE);
    assert_false(read_bytes(fixture, IMAGE_BYTES));
}

static void more_sections_than_boot_info_holds_are_refused(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t i = 0; i < BOOT_SECTIONS_MAX; i++) {
        put_section(fixture->image, i, ".x", 0x1000, 0x1000, READ);
    }
    put16(fixture->image, PE + 6, BOOT_SECTIONS_MAX - 1);
    assert_true(read_bytes(fixture, IMAGE_BYTES));
    put16(fixture->image, PE + 6, BOOT_SECTIONS_MAX);
    assert_false(read_bytes(fixture, IMAGE_BYTES));
}

static void sections_that_share_pages_are_refused(void **state)
{
    struct fixture *fixture = *state;

    put32(fixture->image, OPTIONAL + 32, 0x200);
    assert_false(read_bytes(fixture, IMAGE_BYTES));
}

/* Each shorter image is an exact heap block, so that a read past it is an error under the address sanitizer. */
static void no_cut_of_the_headers_is_accepted_or_read_past(void **state)
{
    struct fixture *fixture = *state;

    for (uint64_t bytes = 1; bytes < TABLE + 3 * 40; bytes++) {
        uint8_t *cut = malloc(bytes);

        assert_non_null(cut);
        memcpy(cut, fixture->image, bytes);
        assert_false(pe_sections_read((struct span){cut, bytes}, fixture->info));
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sections_are_pages_with_the_rights_of_their_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writable_and_executable_section_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_section_off_a_page_border_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_section_that_leaves_the_image_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_sections_than_boot_info_holds_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sections_that_share_pages_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_cut_of_the_headers_is_accepted_or_read_past, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
