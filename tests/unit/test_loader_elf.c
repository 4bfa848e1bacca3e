/* SPDX-License-Identifier: MIT */
/* Plain ELF, PVH, flat binaries, and what a file is recognized as. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest-loader/bios.h"
#include "guest-loader/foreign.h"
#include "tests/unit/loader_checks.h"

#define CODE 0x1000u /* where the parts' bytes are in the file */

/* One part of 0x100 bytes, and as much bss, linked high and loaded at 1 MiB. */
static const struct elf_part simple = {1, CODE, 0xc0100000, 0x100000, 0x100, 0x200, 0x1000};

static void make_simple(bool is_64)
{
    make_elf(&image, is_64, 0xc0100010, &simple, 1);
    memset(&image.bytes[CODE], 0x90, 0x100);
}

static struct load_request simple_request(bool is_64)
{
    make_simple(is_64);
    return request_of(&image, 16 * MIB);
}

static void check_start_info(uint64_t info, const struct load_request *request)
{
    uint64_t map = arena_read(info + 40, 8);

    assert_true(info >= 0x10000);
    assert_int_equal(arena_read(info, 4), 0x336ec578);
    assert_int_equal(arena_read(info + 4, 4), 1);
    assert_int_equal(arena_read(info + 12, 4), request->module_count);
    assert_string_equal(arena_text(arena_read(info + 24, 8)), "console=ttyS0");
    assert_int_equal(arena_read(arena_read(info + 24, 8) + strlen("console=ttyS0"), 4), 0);
    assert_int_equal(arena_read(info + 32, 8), GUEST_ACPI_START);
    assert_int_equal(arena_read(info + 48, 4), request->layout.e820_count);
    for (uint32_t i = 0; i < request->layout.e820_count; i++) {
        assert_int_equal(arena_read(map + i * 24, 8), request->layout.e820[i].start);
        assert_int_equal(arena_read(map + i * 24 + 8, 8), request->layout.e820[i].bytes);
        assert_int_equal(arena_read(map + i * 24 + 16, 4), request->layout.e820[i].type);
    }
}

static void a_segment_goes_to_its_physical_address_and_its_bss_is_zero(void **state)
{
    struct load_request request = simple_request(true);

    (void)state;
    plan_ok(&request);
    assert_memory_equal(&arena[0x100000], &image.bytes[CODE], 0x100);
    for (uint32_t i = 0x100; i < 0x200; i++) {
        assert_int_equal(arena[0x100000 + i], 0);
    }
    assert_int_equal(arena[0x100200], 0xa5);
}

static void elf64_is_entered_in_long_mode_as_if_called_by_c(void **state)
{
    struct load_request request = simple_request(true);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_ELF);
    assert_int_equal(plan.entry.mode, MODE_LONG64);
    assert_int_equal(plan.entry.rip, 0x100010); /* virtual in the header, physical at entry */
    assert_int_equal(plan.entry.gpr[GPR_RDI], plan.entry.gpr[GPR_RBX]);
    assert_int_equal((plan.entry.gpr[GPR_RSP] + 8) % 16, 0);
    assert_int_equal(arena_read(plan.entry.gpr[GPR_RSP], 8), 0);
    check_start_info(plan.entry.gpr[GPR_RDI], &request);
}

static void elf32_is_entered_in_protected_mode_as_if_called_by_c(void **state)
{
    struct load_request request = simple_request(false);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
    assert_true(plan.image_is_32bit);
    assert_int_equal((plan.entry.gpr[GPR_RSP] + 4) % 16, 0);
    assert_int_equal(arena_read(plan.entry.gpr[GPR_RSP], 4), 0);
    assert_int_equal(arena_read(plan.entry.gpr[GPR_RSP] + 4, 4), plan.entry.gpr[GPR_RBX]);
    check_start_info(plan.entry.gpr[GPR_RBX], &request);
}

static void an_entry_that_is_physical_already_is_taken_as_it_is(void **state)
{
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0x100020, &simple, 1);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0x100020);
}

static void an_entry_outside_of_all_segments_is_an_error(void **state)
{
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0xc0100200, &simple, 1);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "0xc0100200");
    assert_int_equal(error.offset, 24);
}

static void modules_lie_page_aligned_above_the_kernel_and_are_listed(void **state)
{
    struct load_request request = simple_request(true);
    uint64_t list, first, second;

    (void)state;
    add_module(&request, "one", 3, "first argument");
    add_module(&request, "three", 5, "");
    plan_ok(&request);
    check_start_info(plan.entry.gpr[GPR_RDI], &request);
    list = arena_read(plan.entry.gpr[GPR_RDI] + 16, 8);
    first = arena_read(list, 8);
    second = arena_read(list + 32, 8);
    assert_int_equal(first, 0x101000);
    assert_int_equal(second, 0x102000);
    assert_int_equal(arena_read(list + 8, 8), 3);
    assert_int_equal(arena_read(list + 40, 8), 5);
    assert_memory_equal(&arena[first], "one", 3);
    assert_memory_equal(&arena[second], "three", 5);
    assert_string_equal(arena_text(arena_read(list + 16, 8)), "first argument");
}

static void boot_information_gives_way_to_a_kernel_that_lies_in_low_memory(void **state)
{
    static const struct elf_part parts[] = {
        {1, CODE, 0x10000, 0x10000, 0x100, GUEST_EBDA_START - 0x10000, 0x1000},
    };
    struct load_request request;

    (void)state;
    make_elf(&image, false, 0x10000, parts, 1);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_true(plan.entry.gpr[GPR_RBX] >= 0x100000);
    check_start_info(plan.entry.gpr[GPR_RBX], &request);
}

static void a_kernel_in_page_0_keeps_it(void **state)
{
    static const struct elf_part parts[] = {{1, CODE, 0, 0, 0x1000, 0x1000, 0x1000}};
    struct load_request request;

    (void)state;
    make_elf(&image, false, 0x10, parts, 1);
    memset(&image.bytes[CODE], 0x90, 0x1000);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_memory_equal(arena, &image.bytes[CODE], 0x1000);
}

static void others_find_the_bios_data_area_of_a_pc(void **state)
{
    struct load_request request = simple_request(false);

    (void)state;
    plan_ok(&request);
    assert_int_equal(arena_read(0x400, 2), 0x3f8);
    assert_int_equal(arena_read(0x40e, 2) << 4, GUEST_EBDA_START);
    assert_int_equal(arena_read(0x413, 2) * KIB, GUEST_EBDA_START);
}

/* The code itself runs in tests/guests/realmode.c and is looked at in test_bios_rom.c. */
static void bios_services_have_vectors_that_lead_to_code(void **state)
{
    struct load_request request = simple_request(false);

    (void)state;
    plan_ok(&request);
    for (uint32_t vector = 0x10; vector < 0x20; vector++) {
        assert_int_equal(arena_read(vector * 4, 2), bios_vector(vector));
        assert_int_equal(arena_read(vector * 4 + 2, 2), 0xf000);
    }
}

/* A linker script that puts the screen buffer to its place makes such a segment, with bytes in the file or without. */
static void a_segment_in_the_displays_memory_is_loaded(void **state)
{
    static const struct elf_part parts[] = {{1, CODE, 0x100000, 0x100000, 0x100, 0x100, 0x1000},
                                            {1, CODE, 0xb8000, 0xb8000, 0x10, 4000, 0x1000},
                                            {1, CODE, 0xa0000, 0xa0000, 0, 0x10000, 0x1000}};
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0x100010, parts, 3);
    memset(&image.bytes[CODE], 0x42, 0x100);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_memory_equal(&arena[0xb8000], &image.bytes[CODE], 0x10);
    assert_int_equal(arena[0xb8010], 0);
}

static void a_segment_that_leaves_the_displays_memory_is_an_error(void **state)
{
    static const struct elf_part below = {1, CODE, 0x9ff00, 0x9ff00, 0x100, 0x101, 1};
    static const struct elf_part above = {1, CODE, 0xbff00, 0xbff00, 0x100, 0x101, 1};
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0x9ff00, &below, 1);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_NO_MEMORY, "0x9ff00");
    make_elf(&image, true, 0xbff00, &above, 1);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_NO_MEMORY, "0xbff00");
}

#define MANY_PARTS 200u

static void some_hundred_segments_are_loaded_and_too_many_are_named(void **state)
{
    static struct elf_part parts[LOADER_COPIES_MAX];
    struct load_request request;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(parts); i++) {
        parts[i] = (struct elf_part){1, 0x8000 + i, 0x100000 + i * 0x1000, 0x100000 + i * 0x1000, 1, 2, 1};
    }
    make_elf(&image, true, 0x100000, parts, MANY_PARTS);
    memset(&image.bytes[0x8000], 0x90, MANY_PARTS);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    for (uint32_t i = 0; i < MANY_PARTS; i++) {
        assert_int_equal(arena_read(0x100000 + i * 0x1000, 2), 0x90);
    }
    make_elf(&image, true, 0x100000, parts, LOADER_COPIES_MAX);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_NO_SPACE, "use fewer segments");
}

struct bad_part {
    struct elf_part part;
    enum status status;
    const char *named;
};

static const struct bad_part bad_parts[] = {
    {{1, CODE, 0xc0100000, 0x100000, 0x200, 0x1ff, 1}, STATUS_MALFORMED, "only 0x1ff in memory"},
    {{1, CODE, 0xc0100000, 0x100000, ~0ULL, ~0ULL, 1}, STATUS_MALFORMED, "truncated"},
    {{1, ~0ULL, 0xc0100000, 0x100000, 0x200, 0x200, 1}, STATUS_MALFORMED, "truncated"},
    {{1, ~0ULL, 0xc0100000, 0x100000, 0, 0x200, 1}, STATUS_MALFORMED, "truncated"},
    {{1, CODE, 0xc0100000, ~0ULL, 0x100, 0x200, 1}, STATUS_OVERFLOW, "end of the address space"},
    {{1, CODE, ~0ULL, 0x100000, 0x100, 0x200, 1}, STATUS_OVERFLOW, "end of the address space"},
    {{1, CODE, 0xc0100000, 0x9fb00, 0x100, 0x200, 1}, STATUS_NO_MEMORY, "639 KiB"},
    {{1, CODE, 0xc0100000, 0xfff00, 0x100, 0x200, 1}, STATUS_NO_MEMORY, "639 KiB"},
    {{1, CODE, 0xc0100000, 0x1000000, 0x100, 0x200, 1}, STATUS_NO_MEMORY, "memory = 17M"},
    {{1, CODE, 0xc0100000, 0x100000, 0x100, 0x100000000, 1}, STATUS_NO_MEMORY, "4 GiB"},
    {{3, CODE, 0, 0, 0, 0, 1}, STATUS_UNSUPPORTED, "dynamically linked"},
    {{1, CODE, 0, 0, 0, 0, 1}, STATUS_MALFORMED, "no code"},
    {{4, CODE, 0, 0, 0, 0, 1}, STATUS_MALFORMED, "no code"},
};

/* As GNU ld makes them of -Ttext=0x100000, with the text in the same segment and without. */
static void file_headers_in_the_firmwares_page_are_left_out(void **state)
{
    static const struct elf_part parts[] = {{1, 0, 0xff000, 0xff000, 0x1100, 0x1200, 0x1000},
                                            {1, CODE + 0x100, 0x102000, 0x102000, 0x100, 0x100, 0x1000}};
    static const struct elf_part apart[] = {{1, 0, 0xff000, 0xff000, 0xe8, 0xe8, 0x1000},
                                            {1, CODE, 0x100000, 0x100000, 0x100, 0x100, 0x1000}};
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0x100010, parts, 2);
    memset(&image.bytes[CODE], 0x90, 0x100);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0x100010);
    assert_memory_equal(&arena[0x100000], &image.bytes[CODE], 0x100);
    assert_int_equal(arena[0x1001ff], 0);
    assert_int_equal(arena[0xff000], 0xa5);
    make_elf(&image, true, 0x100010, apart, 2);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_int_equal(arena[0xff000], 0xa5);
    make_elf(&image, true, 0xff010, apart, 2); /* an entry in the headers */
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "0xff010");
}

static void code_in_the_firmwares_page_is_an_error(void **state)
{
    static const struct elf_part part = {1, 0, 0xff000, 0xff000, 0x1100, 0x1100, 0x1000};
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0x100010, &part, 1);
    put(&image, CODE - 1, 0x90, 1);
    put(&image, CODE + 0xff, 0x90, 1);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_NO_MEMORY, "0xff000");
}

static void every_bad_segment_is_a_named_error_with_the_offset_of_its_header(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(bad_parts); i++) {
        struct load_request request;

        make_elf(&image, true, 0xc0100000, &bad_parts[i].part, 1);
        image.size = CODE + 0x200;
        request = request_of(&image, 16 * MIB);
        plan_fails(&request, bad_parts[i].status, bad_parts[i].named);
        assert_int_equal(error.offset, ELF_PARTS_AT(true));
    }
}

#define DYNAMIC 0x2000u

/* Tags of a dynamic section, `length` of them, with the segment `bytes` long. */
static struct load_request request_of_dynamic(bool is_64, const uint64_t *tags, uint32_t length, uint64_t bytes)
{
    const struct elf_part parts[] = {simple, {2, DYNAMIC, 0, 0, bytes, bytes, 8}};
    uint32_t word = is_64 ? 8 : 4;

    make_elf(&image, is_64, 0xc0100010, parts, 2);
    image.size = DYNAMIC + 0x100;
    for (uint32_t i = 0; i < length; i++) {
        put(&image, DYNAMIC + 2 * i * word, tags[i], word);
    }
    return request_of(&image, 16 * MIB);
}

static void a_file_that_needs_libraries_is_no_kernel_and_one_that_relocates_itself_is(void **state)
{
    static const uint64_t needed[] = {5, 6, 1}, ended[] = {7, 0, 1}, alone[] = {17, 18, 19};

    (void)state;
    for (uint32_t is_64 = 0; is_64 < 2; is_64++) {
        uint64_t entry = is_64 != 0 ? 16 : 8;
        struct load_request request = request_of_dynamic(is_64 != 0, needed, 3, 3 * entry);

        plan_fails(&request, STATUS_UNSUPPORTED, "needs shared libraries");
        assert_int_equal(error.offset, ELF_PARTS_AT(is_64 != 0) + ELF_PART_BYTES(is_64 != 0));
        request = request_of_dynamic(is_64 != 0, needed, 3, 2 * entry); /* behind the segment's end */
        plan_ok(&request);
        request = request_of_dynamic(is_64 != 0, ended, 3, 3 * entry);
        plan_ok(&request);
        request = request_of_dynamic(is_64 != 0, alone, 3, ~0ULL); /* which is none: the file is shorter */
        plan_ok(&request);
    }
}

static void overlapping_segments_are_an_error(void **state)
{
    static const struct elf_part parts[] = {
        {1, CODE, 0x100000, 0x100000, 0x100, 0x1001, 1},
        {1, CODE, 0x101000, 0x101000, 0x100, 0x100, 1},
    };
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0x100000, parts, 2);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "overlaps an ELF segment at 0x100000..0x101001");
    assert_int_equal(error.offset, ELF_PARTS_AT(true) + ELF_PART_BYTES(true));
}

struct bad_header {
    uint32_t offset, bytes;
    uint64_t value;
    enum status status;
    const char *named;
};

static const struct bad_header bad_headers[] = {
    {4, 1, 3, STATUS_MALFORMED, "class 3"},
    {5, 1, 2, STATUS_UNSUPPORTED, "little-endian"},
    {16, 2, 1, STATUS_UNSUPPORTED, "type 1"},
    {18, 2, 183, STATUS_UNSUPPORTED, "for arm64 (machine 183)"},
    {18, 2, 0x1234, STATUS_UNSUPPORTED, "unknown CPU (machine 4660)"},
    {32, 8, 0x7fffffff, STATUS_MALFORMED, "truncated"},
    {32, 8, ~0ULL, STATUS_MALFORMED, "truncated"},
    {54, 2, 55, STATUS_MALFORMED, "55 bytes"},
    {56, 2, 0, STATUS_MALFORMED, "no program"},
    {56, 2, 513, STATUS_UNSUPPORTED, "513 ELF program headers"},
};

static void every_bad_elf_header_is_a_named_error(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(bad_headers); i++) {
        struct load_request request;

        make_simple(true);
        put(&image, bad_headers[i].offset, bad_headers[i].value, bad_headers[i].bytes);
        request = request_of(&image, 16 * MIB);
        plan_fails(&request, bad_headers[i].status, bad_headers[i].named);
        assert_int_equal(error.offset, bad_headers[i].offset);
    }
}

static void an_elf_file_cut_anywhere_is_an_error(void **state)
{
    (void)state;
    for (uint32_t is_64 = 0; is_64 < 2; is_64++) {
        struct load_request request = simple_request(is_64 != 0);

        for (uint64_t size = 0; size < image.size; size++) {
            uint8_t *copy = malloc(size + 1);

            assert_non_null(copy);
            memcpy(copy, image.bytes, size);
            request.kernel = (struct span){copy, size};
            assert_int_not_equal(loader_plan(&request, &plan, &error), STATUS_OK);
            assert_int_not_equal(error.sentence[0], 0);
            free(copy);
        }
    }
}

/* ---- PVH ---- */

#define NOTE 0x2000u

static void put_note(const char *owner, uint32_t type, uint64_t value, uint32_t bytes)
{
    put(&image, NOTE, strlen(owner) + 1, 4);
    put(&image, NOTE + 4, bytes, 4);
    put(&image, NOTE + 8, type, 4);
    memcpy(&image.bytes[NOTE + 12], owner, strlen(owner) + 1);
    put(&image, NOTE + 16, value, 8);
}

static void make_pvh(bool is_64, uint64_t entry, uint32_t note_bytes)
{
    const struct elf_part parts[] = {simple, {4, NOTE, 0, 0, 16 + note_bytes, 16 + note_bytes, 4}};

    make_elf(&image, is_64, 0xc0100010, parts, 2);
    put_note("Xen", 18, entry, note_bytes);
}

static void a_pvh_note_gives_the_32_bit_entry_and_ebx_the_start_information(void **state)
{
    (void)state;
    for (uint32_t bytes = 4; bytes <= 8; bytes += 4) {
        struct load_request request;

        make_pvh(bytes == 8, 0x100040, bytes);
        request = request_of(&image, 16 * MIB);
        plan_ok(&request);
        assert_int_equal(plan.protocol, PROTOCOL_PVH);
        assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
        assert_int_equal(plan.entry.rip, 0x100040);
        assert_int_equal(plan.image_is_32bit, bytes == 4);
        check_start_info(plan.entry.gpr[GPR_RBX], &request);
    }
}

static void a_pvh_kernel_that_is_linked_like_a_program_is_a_kernel(void **state)
{
    static const uint64_t needed[] = {1, 10, 5, 20, 0, 0}; /* as FreeBSD's, which needs "hack.pico" */
    const struct elf_part parts[] = {
        simple, {3, NOTE + 0x180, 0, 0, 13, 13, 1}, {2, NOTE + 0x100, 0, 0, 48, 48, 8}, {4, NOTE, 0, 0, 24, 24, 4}};
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0xc0100010, parts, 4);
    put_note("Xen", 18, 0x100040, 8);
    image.size = max_u64(image.size, NOTE + 0x200);
    for (uint32_t i = 0; i < ARRAY_COUNT(needed); i++) {
        put(&image, NOTE + 0x100 + 8 * i, needed[i], 8);
    }
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_PVH);
    assert_int_equal(plan.entry.rip, 0x100040);
    request.protocol = PROTOCOL_ELF; /* without the note's word for it */
    plan_fails(&request, STATUS_UNSUPPORTED, "dynamically linked program");
}

/* Behind a note whose 20 bytes end at a multiple of 4, in a segment that says 8 because of others. */
static void a_pvh_note_is_found_in_a_segment_of_mixed_alignments(void **state)
{
    const struct elf_part parts[] = {simple, {4, NOTE - 20, 0, 0, 44, 44, 8}};
    struct load_request request;

    (void)state;
    make_elf(&image, true, 0xc0100010, parts, 2);
    put(&image, NOTE - 20, 4, 4);
    put(&image, NOTE - 16, 4, 4);
    put(&image, NOTE - 12, 6, 4);
    memcpy(&image.bytes[NOTE - 8], "Xen", 4);
    put_note("Xen", 18, 0x100040, 8);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_PVH);
    assert_int_equal(plan.entry.rip, 0x100040);
}

static void a_bad_pvh_entry_is_an_error_at_the_note(void **state)
{
    struct load_request request;

    (void)state;
    make_pvh(true, 0x200000, 8);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "0x200000");
    assert_int_equal(error.offset, NOTE + 16);
    make_pvh(true, 0x100000040, 8);
    plan_fails(&request, STATUS_MALFORMED, "below 4 GiB");
    make_pvh(true, 0x100040, 3);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "3 bytes");
}

static void pvh_without_its_note_is_an_error(void **state)
{
    struct load_request request = simple_request(true);

    (void)state;
    request.protocol = PROTOCOL_PVH;
    plan_fails(&request, STATUS_NOT_FOUND, "PHYS32_ENTRY");
}

static void another_owners_note_is_no_pvh_note(void **state)
{
    struct load_request request;

    (void)state;
    make_pvh(true, 0x100040, 8);
    put_note("Xem", 18, 0x100040, 8);
    request = request_of(&image, 16 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_ELF);
}

/* ---- Flat binaries ---- */

static struct load_request flat_request(uint64_t load, uint64_t entry, enum config_mode mode)
{
    struct load_request request;

    memset(&image, 0, sizeof(image));
    image.size = 0x2000;
    request = request_of(&image, 16 * MIB);
    request.protocol = PROTOCOL_FLAT;
    request.flat_load = load;
    request.flat_entry = entry;
    request.flat_mode = mode;
    return request;
}

static void a_boot_sector_starts_with_all_segments_0(void **state)
{
    struct load_request request = flat_request(0x7c00, 0x7c05, MODE_REAL16);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.mode, MODE_REAL16);
    assert_int_equal(plan.entry.cs_selector, 0);
    assert_int_equal(plan.entry.data_selector, 0);
    assert_int_equal(plan.entry.rip, 0x7c05);
    assert_int_equal(plan.entry.gpr[GPR_RSP], 0x7c00);
    assert_int_equal(plan.entry.gpr[GPR_RDX], 0x80);
}

static void a_real_mode_entry_above_64_kib_starts_its_own_segment(void **state)
{
    struct load_request request = flat_request(0x20000, 0x20123, MODE_REAL16);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.cs_selector, 0x2012);
    assert_int_equal(plan.entry.rip, 3);
    request = flat_request(0x100000, 0x100000, MODE_REAL16);
    plan_fails(&request, STATUS_UNSUPPORTED, "below 1 MiB");
}

static void a_flat_binary_enters_protected_or_long_mode_like_elf(void **state)
{
    struct load_request request = flat_request(0x8000, 0x8000, MODE_PROTECTED32);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
    check_start_info(plan.entry.gpr[GPR_RBX], &request);
    request = flat_request(0x200000, 0x200010, MODE_LONG64);
    plan_ok(&request);
    assert_int_equal(plan.entry.mode, MODE_LONG64);
    check_start_info(plan.entry.gpr[GPR_RDI], &request);
}

static void a_flat_entry_outside_of_the_binary_is_an_error(void **state)
{
    struct load_request request = flat_request(0x8000, 0xa000, MODE_PROTECTED32);

    (void)state;
    plan_fails(&request, STATUS_MALFORMED, "set `entry` within it");
    request = flat_request(0x8000, 0x7fff, MODE_PROTECTED32);
    plan_fails(&request, STATUS_MALFORMED, "set `entry` within it");
}

/* ---- Recognition ---- */

static void an_unknown_file_is_an_error_that_names_what_is_known(void **state)
{
    struct load_request request;

    (void)state;
    memset(&image, 0x41, sizeof(image));
    image.size = sizeof(image.bytes);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_NOT_FOUND, "protocol = flat");
}

struct known_file {
    uint32_t offset, bytes;
    uint64_t value;
    const char *named;
};

static const struct known_file known_files[] = {
    {0, 2, 0x8b1f, "gunzip"},
    {0, 4, 0xfd2fb528, "zstd"},
    {0, 6, 0x005a587a37fd, "unxz"},
    {0, 4, 0x184d2204, "unlz4"},
    {0, 2, 0x5a4d, "EFI"},
    {56, 4, 0x644d5241, "arm64"},
    {0, 5, 0x3037303730, "initrd"},
    {0x8001, 5, 0x3130304443, "CD image"},
    {510, 2, 0xaa55, "needs a BIOS, and a guest has none"},
};

static void a_file_that_is_something_else_is_named_by_every_protocol(void **state)
{
    static const enum config_protocol protocols[] = {PROTOCOL_AUTO,       PROTOCOL_LINUX, PROTOCOL_MULTIBOOT,
                                                     PROTOCOL_MULTIBOOT2, PROTOCOL_PVH,   PROTOCOL_ELF};
    struct load_request request;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(known_files); i++) {
        memset(&image, 0, sizeof(image));
        put(&image, 0xfff0, 1, 1);
        put(&image, known_files[i].offset, known_files[i].value, known_files[i].bytes);
        request = request_of(&image, 16 * MIB);
        for (uint32_t p = 0; p < ARRAY_COUNT(protocols); p++) {
            request.protocol = protocols[p];
            plan_fails(&request, STATUS_NOT_FOUND, known_files[i].named);
            assert_true(strlen(error.sentence) < sizeof(error.sentence) - 1); /* whole */
        }
    }
}

/* A raw disk begins with anything; a boot sector and a file system are what a disk has. */
static void a_disk_that_is_none_is_told_and_no_other(void **state)
{
    static const struct {
        uint32_t offset, bytes;
        uint64_t value;
        const char *what; /* NULL: a disk */
    } files[] = {
        {0, 4, 0xfb494651, "a disk image (qcow2)"},
        {0, 8, 0x656c696678646876, "a disk image (VHDX)"},
        {64, 4, 0xbeda107f, "a disk image (VDI)"},
        {0, 4, 0xfd2fb528, "a file compressed with zstd"},
        {0, 6, 0x005a587a37fd, "a file compressed with xz"},
        {510, 2, 0xaa55, NULL},
        {0x8001, 5, 0x3130304443, NULL}, /* a CD's file system */
        {257, 5, 0x7261747375, NULL},    /* tar */
        {0, 1, 0, NULL},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(files); i++) {
        const char *found;

        memset(&image, 0, sizeof(image));
        put(&image, 0xfff0, 1, 1);
        put(&image, files[i].offset, files[i].value, files[i].bytes);
        found = foreign_disk((struct span){image.bytes, image.size});
        if (files[i].what == NULL) {
            assert_null(found);
        } else {
            assert_string_equal(found, files[i].what);
        }
    }
    assert_null(foreign_disk((struct span){image.bytes, 1}));
}

static void a_kernel_under_another_protocols_name_is_told_its_own(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    request.protocol = PROTOCOL_ELF;
    plan_fails(&request, STATUS_NOT_FOUND, "a Linux bzImage: write protocol = linux");
    request.protocol = PROTOCOL_MULTIBOOT;
    plan_fails(&request, STATUS_NOT_FOUND, "a Linux bzImage: write protocol = linux");
    request = simple_request(true);
    request.protocol = PROTOCOL_MULTIBOOT2;
    plan_fails(&request, STATUS_NOT_FOUND, "an ELF file: write protocol = auto");
}

/* Only a file that was called an ELF file lacks an ELF header. */
static void a_multiboot_file_without_addresses_is_not_told_of_elf_magic(void **state)
{
    struct load_request request;

    (void)state;
    memset(&image, 0, sizeof(image));
    put_multiboot(&image, 0x100, 3);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "flag 16 is clear");
    memset(&image, 0, sizeof(image));
    put_multiboot2(&image, 0x100, 24);
    put(&image, 0x110, 0x0000000800000000, 8);
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "no address tag");
}

static void an_elf_files_machine_has_a_name_or_a_number(void **state)
{
    (void)state;
    assert_string_equal(foreign_elf_machine(183), "arm64");
    assert_string_equal(foreign_elf_machine(243), "RISC-V");
    assert_null(foreign_elf_machine(0));
}

static void a_command_line_that_no_boot_information_holds_is_an_error(void **state)
{
    static char line[LOADER_BLOB_BYTES];
    struct load_request request = simple_request(false);

    (void)state;
    memset(line, 'x', sizeof(line));
    request.cmdline = (struct text){line, sizeof(line)};
    plan_fails(&request, STATUS_NO_SPACE, "shorten the command line");
}

static void planning_twice_gives_the_same_plan(void **state)
{
    static struct load_plan second;
    struct load_request request = simple_request(true);

    (void)state;
    add_module(&request, "one", 3, "first argument");
    plan_ok(&request);
    assert_int_equal(loader_plan(&request, &second, &error), STATUS_OK);
    assert_int_equal(plan.copy_count, second.copy_count);
    assert_memory_equal(plan.blob, second.blob, sizeof(plan.blob));
    assert_memory_equal(&plan.entry, &second.entry, sizeof(plan.entry));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_goes_to_its_physical_address_and_its_bss_is_zero),
        cmocka_unit_test(elf64_is_entered_in_long_mode_as_if_called_by_c),
        cmocka_unit_test(elf32_is_entered_in_protected_mode_as_if_called_by_c),
        cmocka_unit_test(an_entry_that_is_physical_already_is_taken_as_it_is),
        cmocka_unit_test(an_entry_outside_of_all_segments_is_an_error),
        cmocka_unit_test(modules_lie_page_aligned_above_the_kernel_and_are_listed),
        cmocka_unit_test(boot_information_gives_way_to_a_kernel_that_lies_in_low_memory),
        cmocka_unit_test(a_kernel_in_page_0_keeps_it),
        cmocka_unit_test(others_find_the_bios_data_area_of_a_pc),
        cmocka_unit_test(bios_services_have_vectors_that_lead_to_code),
        cmocka_unit_test(file_headers_in_the_firmwares_page_are_left_out),
        cmocka_unit_test(code_in_the_firmwares_page_is_an_error),
        cmocka_unit_test(a_segment_in_the_displays_memory_is_loaded),
        cmocka_unit_test(a_segment_that_leaves_the_displays_memory_is_an_error),
        cmocka_unit_test(some_hundred_segments_are_loaded_and_too_many_are_named),
        cmocka_unit_test(every_bad_segment_is_a_named_error_with_the_offset_of_its_header),
        cmocka_unit_test(a_file_that_needs_libraries_is_no_kernel_and_one_that_relocates_itself_is),
        cmocka_unit_test(overlapping_segments_are_an_error),
        cmocka_unit_test(every_bad_elf_header_is_a_named_error),
        cmocka_unit_test(an_elf_file_cut_anywhere_is_an_error),
        cmocka_unit_test(a_pvh_note_gives_the_32_bit_entry_and_ebx_the_start_information),
        cmocka_unit_test(a_pvh_kernel_that_is_linked_like_a_program_is_a_kernel),
        cmocka_unit_test(a_pvh_note_is_found_in_a_segment_of_mixed_alignments),
        cmocka_unit_test(a_bad_pvh_entry_is_an_error_at_the_note),
        cmocka_unit_test(pvh_without_its_note_is_an_error),
        cmocka_unit_test(another_owners_note_is_no_pvh_note),
        cmocka_unit_test(a_boot_sector_starts_with_all_segments_0),
        cmocka_unit_test(a_real_mode_entry_above_64_kib_starts_its_own_segment),
        cmocka_unit_test(a_flat_binary_enters_protected_or_long_mode_like_elf),
        cmocka_unit_test(a_flat_entry_outside_of_the_binary_is_an_error),
        cmocka_unit_test(an_unknown_file_is_an_error_that_names_what_is_known),
        cmocka_unit_test(a_file_that_is_something_else_is_named_by_every_protocol),
        cmocka_unit_test(a_disk_that_is_none_is_told_and_no_other),
        cmocka_unit_test(a_kernel_under_another_protocols_name_is_told_its_own),
        cmocka_unit_test(a_multiboot_file_without_addresses_is_not_told_of_elf_magic),
        cmocka_unit_test(an_elf_files_machine_has_a_name_or_a_number),
        cmocka_unit_test(a_command_line_that_no_boot_information_holds_is_an_error),
        cmocka_unit_test(planning_twice_gives_the_same_plan),
    };

    return cmocka_run_group_tests_name("loader_elf", tests, NULL, NULL);
}
