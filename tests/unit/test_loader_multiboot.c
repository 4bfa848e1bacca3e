/* SPDX-License-Identifier: MIT */
/* Multiboot 1 and 2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/loader_checks.h"

#define CODE 0x1000u

static const struct elf_part simple = {1, CODE, 0xc0100000, 0x100000, 0x200, 0x300, 0x1000};

static struct load_request elf_request(bool is_64, uint32_t flags)
{
    make_elf(&image, is_64, 0xc0100040, &simple, 1);
    put_multiboot(&image, CODE, flags);
    return request_of(&image, 16 * MIB);
}

static uint64_t info(uint32_t offset)
{
    return arena_read(plan.entry.gpr[GPR_RBX] + offset, 4);
}

/* ---- Multiboot 1 ---- */

static void a_multiboot_elf_of_both_classes_is_entered_in_protected_mode(void **state)
{
    (void)state;
    for (uint32_t is_64 = 0; is_64 < 2; is_64++) {
        struct load_request request = elf_request(is_64 != 0, 3);

        plan_ok(&request);
        assert_int_equal(plan.protocol, PROTOCOL_MULTIBOOT);
        assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
        assert_int_equal(plan.entry.rip, 0x100040);
        assert_int_equal(plan.entry.gpr[GPR_RAX], 0x2badb002);
        assert_int_equal(plan.entry.gpr[GPR_RSP], 0x7c00);
        assert_int_equal(plan.image_is_32bit, is_64 == 0);
    }
}

/* QEMU refuses a multiboot file that says x86-64, so Kerla, Resea and Asterinas write i386 into theirs. */
static void a_64_bit_elf_file_may_say_that_it_is_for_i386(void **state)
{
    struct load_request request = elf_request(true, 3);

    (void)state;
    put(&image, 18, 3, 2);
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_MULTIBOOT);
    assert_int_equal(plan.entry.rip, 0x100040);
    request = elf_request(false, 3);
    put(&image, 18, 62, 2);
    plan_fails(&request, STATUS_UNSUPPORTED, "a 32-bit ELF file for");
}

static void the_information_has_memory_names_and_no_page_0_address(void **state)
{
    struct load_request request = elf_request(false, 3);
    uint64_t at;

    (void)state;
    plan_ok(&request);
    assert_true(plan.entry.gpr[GPR_RBX] >= 0x10000);
    assert_int_equal(info(0), 0x24d);
    assert_int_equal(info(4), 639);
    assert_int_equal(info(8), 15 * 1024);
    assert_string_equal(arena_text(info(16)), "kernel console=ttyS0");
    assert_string_equal(arena_text(info(64)), "Plinth");
    assert_int_equal(info(44), request.layout.e820_count * 24);
    at = info(48);
    for (uint32_t i = 0; i < request.layout.e820_count; i++, at += 24) {
        assert_int_equal(arena_read(at, 4), 20);
        assert_int_equal(arena_read(at + 4, 8), request.layout.e820[i].start);
        assert_int_equal(arena_read(at + 12, 8), request.layout.e820[i].bytes);
        assert_int_equal(arena_read(at + 20, 4), request.layout.e820[i].type);
    }
}

static void modules_are_page_aligned_and_carry_their_strings(void **state)
{
    struct load_request request = elf_request(false, 3);
    uint64_t list;

    (void)state;
    add_module(&request, "one", 3, "first argument");
    add_module(&request, "", 0, "");
    add_module(&request, "three", 5, "third");
    plan_ok(&request);
    assert_int_equal(info(20), 3);
    list = info(24);
    assert_int_equal(arena_read(list, 4), 0x101000);
    assert_int_equal(arena_read(list + 4, 4), 0x101003);
    assert_string_equal(arena_text(arena_read(list + 8, 4)), "first argument");
    assert_int_equal(arena_read(list + 16, 4), arena_read(list + 20, 4));
    assert_int_equal(arena_read(list + 32, 4) % PAGE_BYTES, 0);
    assert_memory_equal(&arena[arena_read(list + 32, 4)], "three", 5);
    assert_string_equal(arena_text(arena_read(list + 40, 4)), "third");
}

static void elf_section_headers_are_passed_on(void **state)
{
    struct load_request request = elf_request(false, 3);
    uint64_t copy;

    (void)state;
    put(&image, 32, 0x3000, 4); /* e_shoff */
    put(&image, 46, 40, 2);
    put(&image, 48, 2, 2);
    put(&image, 50, 1, 2);
    put(&image, 0x3000, 0x1122334455667788, 8);
    put(&image, 0x3000 + 79, 0x99, 1);
    request.kernel.bytes = image.size;
    plan_ok(&request);
    assert_int_equal(info(0) & 0x20, 0x20);
    assert_int_equal(info(28), 2);
    assert_int_equal(info(32), 40);
    assert_int_equal(info(40), 1);
    copy = info(36);
    assert_memory_equal(&arena[copy], &image.bytes[0x3000], 80);
}

#define SECTIONS 0x3000u
#define LOOSE 0x2345u /* where the file has a section that no segment loads */

/* A section that a segment loads, one that none loads, one without bytes in the file. */
static void put_section(uint32_t index, bool is_64, uint32_t type, uint64_t address, uint64_t offset, uint64_t bytes)
{
    uint32_t at = SECTIONS + index * (is_64 ? 64 : 40), word = is_64 ? 8 : 4;

    put(&image, at + 4, type, 4);
    put(&image, at + 8 + word, address, word);
    put(&image, at + 8 + 2 * word, offset, word);
    put(&image, at + 8 + 3 * word, bytes, word);
    put(&image, at + (is_64 ? 63 : 39), 0, 1);
}

static void put_sections(bool is_64)
{
    put(&image, is_64 ? 40 : 32, SECTIONS, is_64 ? 8 : 4);
    put(&image, is_64 ? 58 : 46, is_64 ? 64 : 40, 2);
    put(&image, is_64 ? 60 : 48, 4, 2);
    put(&image, is_64 ? 62 : 50, 2, 2);
    put_section(0, is_64, 0, 0, 0, 0);
    put_section(1, is_64, 1, 0xc0100000, 0x1000, 0x100);
    put_section(2, is_64, 3, 0, LOOSE, 9);
    put_section(3, is_64, 8, 0, LOOSE, 0x1000000);
    memcpy(&image.bytes[LOOSE], "\0.symtab", 9);
}

/* "All sections are loaded": what no segment loads is where its header says. Section 3.3, "elf_sec". */
static void sections_that_no_segment_loads_are_in_memory(void **state)
{
    (void)state;
    for (uint32_t is_64 = 0; is_64 < 2; is_64++) {
        struct load_request request = elf_request(is_64 != 0, 3);
        uint64_t headers, bytes = is_64 != 0 ? 64 : 40, address;

        put_sections(is_64 != 0);
        request.kernel.bytes = image.size;
        plan_ok(&request);
        headers = info(36);
        address = arena_read(headers + 2 * bytes + (is_64 != 0 ? 16 : 12), is_64 != 0 ? 8 : 4);
        assert_true(guest_layout_usable(&request.layout, gpa(address), 9) && address >= GUEST_LEGACY_END);
        assert_memory_equal(&arena[address], "\0.symtab", 9);
        assert_memory_equal(&arena[headers], &image.bytes[SECTIONS], 2 * bytes);
        assert_memory_equal(&arena[headers + 3 * bytes], &image.bytes[SECTIONS + 3 * bytes], bytes);
    }
}

static void sections_that_do_not_fit_leave_the_kernel_bootable(void **state)
{
    struct load_request request = elf_request(false, 3);

    (void)state;
    put_sections(false);
    put_section(3, false, 1, 0, LOOSE, 0x10000000); /* beyond the file: not there */
    request.kernel.bytes = image.size;
    plan_ok(&request);
    assert_int_equal(arena_read(info(36) + 3 * 40 + 12, 4), 0);
    put(&image, 46, 39, 2); /* smaller than a section header is */
    plan_ok(&request);
    assert_int_equal(info(0) & 0x20, 0);
}

static void the_header_is_found_anywhere_in_the_first_8_kib_at_a_multiple_of_4(void **state)
{
    struct load_request request;

    (void)state;
    for (uint32_t at = 0; at < 0x2100; at += 2) {
        make_elf(&image, false, 0xc0100040, &simple, 1);
        image.size = 0x3000;
        if (at < ELF_PARTS_AT(false) + ELF_PART_BYTES(false)) {
            continue;
        }
        put_multiboot(&image, at, 0);
        request = request_of(&image, 16 * MIB);
        assert_int_equal(loader_plan(&request, &plan, &error), STATUS_OK);
        assert_int_equal(plan.protocol, at % 4 == 0 && at <= 8192 - 12 ? PROTOCOL_MULTIBOOT : PROTOCOL_ELF);
    }
}

static void a_wrong_checksum_is_no_header(void **state)
{
    struct load_request request = elf_request(false, 3);

    (void)state;
    put(&image, CODE + 8, 1, 4);
    request.protocol = PROTOCOL_MULTIBOOT;
    plan_fails(&request, STATUS_NOT_FOUND, "no multiboot header");
}

static void required_flags_that_are_not_known_are_an_error_and_the_video_flag_is_not(void **state)
{
    struct load_request request = elf_request(false, 7);

    (void)state;
    plan_ok(&request);
    assert_int_equal(info(0) & 0x1800, 0x1000); /* the text display, and nothing of VBE */
    assert_int_equal(info(88), 0xb8000);
    assert_int_equal(info(92), 0);
    assert_int_equal(info(96), 160);
    assert_int_equal(info(100), 80);
    assert_int_equal(info(104), 25);
    assert_int_equal(info(108), 0x0210); /* 16 bits, type 2 */
    request = elf_request(false, 3);
    plan_ok(&request);
    assert_int_equal(info(0) & 0x1800, 0); /* to those that ask only */
    request = elf_request(false, 7);
    for (uint32_t bit = 3; bit < 16; bit++) {
        request = elf_request(false, 1u << bit);
        plan_fails(&request, STATUS_UNSUPPORTED, "requires features");
        assert_int_equal(error.offset, CODE + 4);
    }
    request = elf_request(false, 0x80000000);
    plan_ok(&request);
}

#define RAW 0x40u /* where the header is in the file */

static struct load_request raw_request(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end,
                                       uint32_t entry)
{
    memset(&image, 0, sizeof(image));
    for (uint32_t i = 0; i < 0x1000; i++) {
        image.bytes[i] = (uint8_t)(i * 7);
    }
    image.size = 0x1000;
    put_multiboot(&image, RAW, 0x10003);
    put(&image, RAW + 12, header, 4);
    put(&image, RAW + 16, load, 4);
    put(&image, RAW + 20, load_end, 4);
    put(&image, RAW + 24, bss_end, 4);
    put(&image, RAW + 28, entry, 4);
    return request_of(&image, 16 * MIB);
}

static void load_addresses_in_the_header_place_the_file(void **state)
{
    struct load_request request = raw_request(0x200020, 0x200000, 0x200800, 0x201000, 0x200100);

    (void)state;
    plan_ok(&request);
    /* The header at 0x40 goes to 0x200020, so 0x200000 is file byte 0x20. */
    assert_memory_equal(&arena[0x200000], &image.bytes[0x20], 0x800);
    assert_int_equal(arena[0x200800], 0);
    assert_int_equal(arena[0x200fff], 0);
    assert_int_equal(plan.entry.rip, 0x200100);
    assert_true(plan.image_is_32bit);
}

static void load_end_0_means_the_whole_file_and_bss_end_0_no_bss(void **state)
{
    struct load_request request = raw_request(0x8040, 0x8000, 0, 0, 0x8000);

    (void)state;
    plan_ok(&request);
    assert_memory_equal(&arena[0x8000], image.bytes, 0x1000);
    assert_int_equal(arena[0x9000], 0xa5);
}

static void every_bad_load_address_is_a_named_error(void **state)
{
    struct load_request request;

    (void)state;
    request = raw_request(0x200000, 0x200004, 0, 0, 0x200004);
    plan_fails(&request, STATUS_MALFORMED, "start before the file does");
    request = raw_request(0x200041, 0x200000, 0, 0, 0x200000);
    plan_fails(&request, STATUS_MALFORMED, "start before the file does");
    request = raw_request(0x200040, 0x200000, 0x200000, 0, 0x200000);
    plan_fails(&request, STATUS_MALFORMED, "load_end_addr");
    request = raw_request(0x200040, 0x200000, 0x201001, 0, 0x200000);
    plan_fails(&request, STATUS_MALFORMED, "truncated");
    request = raw_request(0x200040, 0x200000, 0x201000, 0x200fff, 0x200000);
    plan_fails(&request, STATUS_MALFORMED, "bss_end_addr");
    request = raw_request(0x200040, 0x200000, 0x201000, 0, 0x201000);
    plan_fails(&request, STATUS_MALFORMED, "entry 0x201000");
    request = raw_request(0x9f040, 0x9f000, 0, 0, 0x9f000);
    plan_fails(&request, STATUS_NO_MEMORY, "639 KiB");
    image.size = RAW + 31;
    request = request_of(&image, 16 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "truncated");
}

/* ---- Multiboot 2 ---- */

#define HEADER CODE

/* An ELF32 file with a multiboot2 header whose tags follow as words; an end tag is added. */
static struct load_request tags_request(const uint32_t *words, uint32_t count)
{
    make_elf(&image, false, 0xc0100040, &simple, 1);
    put_multiboot2(&image, HEADER, 16 + count * 4 + 8);
    for (uint32_t i = 0; i < count; i++) {
        put(&image, HEADER + 16 + i * 4, words[i], 4);
    }
    put(&image, HEADER + 16 + count * 4, 0, 4);
    put(&image, HEADER + 20 + count * 4, 8, 4);
    return request_of(&image, 16 * MIB);
}

/* The address of the tag of this type, or 0. */
static uint64_t find_tag(uint32_t type)
{
    uint64_t at = plan.entry.gpr[GPR_RBX], end = at + arena_read(at, 4);

    assert_int_equal(at % 8, 0);
    for (at += 8; at < end; at = align_up(at + arena_read(at + 4, 4), 8)) {
        if (arena_read(at, 4) == type) {
            return at;
        }
        assert_true(arena_read(at + 4, 4) >= 8);
    }
    assert_int_equal(at, end);
    return 0;
}

static void a_multiboot2_kernel_finds_its_tags(void **state)
{
    struct load_request request = tags_request(NULL, 0);
    uint64_t tag;

    (void)state;
    add_module(&request, "one", 3, "first argument");
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_MULTIBOOT2);
    assert_int_equal(plan.entry.gpr[GPR_RAX], 0x36d76289);
    assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
    assert_int_equal(plan.entry.rip, 0x100040);
    assert_string_equal(arena_text(find_tag(1) + 8), "kernel console=ttyS0");
    assert_string_equal(arena_text(find_tag(2) + 8), "Plinth");
    tag = find_tag(3);
    assert_int_equal(arena_read(tag + 8, 4), 0x101000);
    assert_int_equal(arena_read(tag + 12, 4), 0x101003);
    assert_string_equal(arena_text(tag + 16), "first argument");
    tag = find_tag(4);
    assert_int_equal(arena_read(tag + 8, 4), 639);
    assert_int_equal(arena_read(tag + 12, 4), 15 * 1024);
    assert_int_equal(arena_read(find_tag(21) + 8, 4), 0x100000);
}

/* Header tags 4 and 5, both required: the kernel is told of the text display, and of nothing if it does not ask. */
static void a_multiboot2_kernel_that_asks_for_a_display_is_told_of_the_text_display(void **state)
{
    static const uint32_t console[] = {4, 12, 3, 0}, framebuffer[] = {5, 20, 1024, 768, 32, 0};
    struct load_request request = tags_request(NULL, 0);

    (void)state;
    plan_ok(&request);
    assert_int_equal(find_tag(8), 0);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t tag;

        request = i == 0 ? tags_request(console, 4) : tags_request(framebuffer, 6);
        plan_ok(&request);
        tag = find_tag(8);
        assert_int_not_equal(tag, 0);
        assert_int_equal(arena_read(tag + 4, 4), 32);
        assert_int_equal(arena_read(tag + 8, 8), 0xb8000);
        assert_int_equal(arena_read(tag + 16, 4), 160);
        assert_int_equal(arena_read(tag + 20, 4), 80);
        assert_int_equal(arena_read(tag + 24, 4), 25);
        assert_int_equal(arena_read(tag + 28, 4), 0x0210);
    }
}

/* A guest that has the machine's screen is told of it, whether it asks or not. */
static const struct load_screen own_screen = {.address = {0xf0001000},
                                              .width = 1280,
                                              .height = 800,
                                              .pitch_bytes = 5120,
                                              .bits = 32,
                                              .red = {16, 8},
                                              .green = {8, 8},
                                              .blue = {0, 8},
                                              .reserved = {24, 8}};

static void a_multiboot2_kernel_is_told_of_the_screen_that_it_has(void **state)
{
    static const uint32_t colours[] = {16, 8, 8, 8, 0, 8};
    struct load_request request = tags_request(NULL, 0);
    uint64_t tag;

    (void)state;
    request.screen = own_screen;
    plan_ok(&request);
    tag = find_tag(8);
    assert_int_not_equal(tag, 0);
    assert_int_equal(arena_read(tag + 4, 4), 38);
    assert_int_equal(arena_read(tag + 8, 8), 0xf0001000);
    assert_int_equal(arena_read(tag + 16, 4), 5120);
    assert_int_equal(arena_read(tag + 20, 4), 1280);
    assert_int_equal(arena_read(tag + 24, 4), 800);
    assert_int_equal(arena_read(tag + 28, 4), 0x0120);
    for (uint32_t i = 0; i < ARRAY_COUNT(colours); i++) {
        assert_int_equal(arena_read(tag + 32 + i, 1), colours[i]);
    }
}

static void a_multiboot_kernel_is_told_of_the_screen_that_it_has(void **state)
{
    struct load_request request = elf_request(false, 3);

    (void)state;
    request.screen = own_screen;
    plan_ok(&request);
    assert_int_equal(info(0) & 0x1800, 0x1000);
    assert_int_equal(info(88), 0xf0001000);
    assert_int_equal(info(96), 5120);
    assert_int_equal(info(100), 1280);
    assert_int_equal(info(104), 800);
    assert_int_equal(info(108), 0x08100120);
    assert_int_equal(info(112), 0x08000808);
}

static void multiboot2_sections_that_no_segment_loads_are_in_memory(void **state)
{
    struct load_request request = tags_request(NULL, 0);
    uint64_t tag;

    (void)state;
    put_sections(false);
    request.kernel.bytes = image.size;
    plan_ok(&request);
    tag = find_tag(9);
    assert_int_equal(arena_read(tag + 8, 4), 4);
    assert_int_equal(arena_read(tag + 12, 4), 40);
    assert_memory_equal(&arena[arena_read(tag + 20 + 2 * 40 + 12, 4)], "\0.symtab", 9);
}

static void the_multiboot2_memory_map_is_the_guests(void **state)
{
    struct load_request request = tags_request(NULL, 0);
    uint64_t tag;

    (void)state;
    plan_ok(&request);
    tag = find_tag(6);
    assert_int_equal(arena_read(tag + 4, 4), 16 + request.layout.e820_count * 24);
    assert_int_equal(arena_read(tag + 8, 4), 24);
    for (uint32_t i = 0; i < request.layout.e820_count; i++) {
        assert_int_equal(arena_read(tag + 16 + i * 24, 8), request.layout.e820[i].start);
        assert_int_equal(arena_read(tag + 24 + i * 24, 8), request.layout.e820[i].bytes);
        assert_int_equal(arena_read(tag + 32 + i * 24, 4), request.layout.e820[i].type);
    }
}

static void the_rsdp_is_copied_in_both_forms_where_it_is_known(void **state)
{
    static uint8_t rsdp[36] = "RSD PTR ";
    struct load_request request = tags_request(NULL, 0);

    (void)state;
    plan_ok(&request);
    assert_int_equal(find_tag(14), 0);
    rsdp[15] = 2;
    rsdp[35] = 0x77;
    request.rsdp_bytes = (struct span){rsdp, sizeof(rsdp)};
    plan_ok(&request);
    assert_int_equal(arena_read(find_tag(14) + 4, 4), 28);
    assert_memory_equal(&arena[find_tag(14) + 8], rsdp, 20);
    assert_memory_equal(&arena[find_tag(15) + 8], rsdp, 36);
}

static void an_entry_tag_replaces_the_elf_entry(void **state)
{
    static const uint32_t words[] = {3, 12, 0x100080, 0};
    static const uint32_t outside[] = {3, 12, 0x200080, 0};
    struct load_request request = tags_request(words, 4);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0x100080);
    request = tags_request(outside, 4);
    plan_fails(&request, STATUS_MALFORMED, "entry tag");
}

static void address_tags_place_the_file_without_elf(void **state)
{
    static const uint32_t words[] = {2, 24, 0x201000, 0x200000, 0x201080, 0x202000, 3, 12, 0x201040, 0};
    struct load_request request = tags_request(words, ARRAY_COUNT(words));

    (void)state;
    memset(image.bytes, 0x33, 0x100);
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0x201040);
    assert_memory_equal(&arena[0x200000], image.bytes, 0x1080);
    assert_int_equal(arena[0x201080], 0);
    request = tags_request(words, 6);
    plan_fails(&request, STATUS_MALFORMED, "entry address tag");
}

static void a_load_address_of_minus_one_is_the_files_beginning(void **state)
{
    static const uint32_t words[] = {2, 24, 0x200000 + HEADER, 0xffffffff, 0, 0, 3, 12, 0x200040, 0};
    struct load_request request = tags_request(words, ARRAY_COUNT(words));

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0x200040);
    assert_memory_equal(&arena[0x200000], image.bytes, image.size);
    assert_int_equal(arena_read(find_tag(21) + 8, 4), 0x200000);
}

static void a_relocatable_kernel_moves_where_its_tag_wants_it(void **state)
{
    /* minimum, maximum, alignment, preference */
    static const uint32_t lowest[] = {10, 24, 0x400000, 0xffffff, 0x200000, 1};
    static const uint32_t highest[] = {10, 24, 0x400000, 0xffffff, 0x200000, 2};
    static const uint32_t nowhere[] = {10, 24, 0x4000000, 0x4ffffff, 0x1000, 1};
    struct load_request request = tags_request(lowest, 6);

    (void)state;
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0x400040);
    assert_int_equal(arena_read(find_tag(21) + 8, 4), 0x400000);
    assert_memory_equal(&arena[0x400000], &image.bytes[CODE], 0x200);
    request = tags_request(highest, 6);
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0xe00040);
    request = tags_request(nowhere, 6);
    plan_fails(&request, STATUS_NO_MEMORY, "no room");
}

/* As Xen's image asks: no memory is enough to have room above it. What fits there lies there. */
static void modules_lie_below_a_kernel_at_the_end_of_memory(void **state)
{
    static const uint32_t highest[] = {10, 24, 0x400000, 0xffffff, 0x200000, 2};
    static char large[3 * MIB], small[PAGE_BYTES];
    struct load_request request = tags_request(highest, 6);
    uint64_t start;

    (void)state;
    memset(large, 0x66, sizeof(large));
    add_module(&request, large, sizeof(large), "large");
    add_module(&request, small, sizeof(small), "small");
    plan_ok(&request);
    assert_int_equal(plan.entry.rip, 0xe00040);
    start = arena_read(find_tag(3) + 8, 4);
    assert_in_range(start, 0x100000, 0xe00000 - sizeof(large));
    assert_int_equal(arena_read(find_tag(3) + 12, 4), start + sizeof(large));
    assert_memory_equal(&arena[start], large, sizeof(large));
}

static void required_requests_and_tags_that_are_not_known_are_errors_and_optional_ones_are_not(void **state)
{
    static const uint32_t request_known[] = {1, 16, 6, 8};
    static const uint32_t request_unknown[] = {1, 16, 6, 22};
    static const uint32_t request_optional[] = {0x10001, 16, 6, 22};
    static const uint32_t tag_unknown[] = {11, 8};
    static const uint32_t tag_optional[] = {0x1000b, 8};
    static const uint32_t efi_tags[] = {7, 8, 8, 12, 0x100000, 0, 9, 12, 0x100000, 0, 5, 20, 0, 0, 0, 0};
    struct load_request request = tags_request(request_known, 4);

    (void)state;
    plan_ok(&request);
    request = tags_request(request_unknown, 4);
    plan_fails(&request, STATUS_UNSUPPORTED, "type 22");
    request = tags_request(request_optional, 4);
    plan_ok(&request);
    request = tags_request(tag_unknown, 2);
    plan_fails(&request, STATUS_UNSUPPORTED, "tag 11");
    request = tags_request(tag_optional, 2);
    plan_ok(&request);
    request = tags_request(efi_tags, ARRAY_COUNT(efi_tags));
    plan_ok(&request);
}

static void bad_tag_sizes_are_errors(void **state)
{
    static const uint32_t zero[] = {6, 0}, small[] = {6, 7}, large[] = {6, 0x100}, huge[] = {6, 0xffffffff};
    static const uint32_t short_address[] = {2, 16, 0, 0}, short_entry[] = {3, 8};
    struct load_request request = tags_request(zero, 2);

    (void)state;
    plan_fails(&request, STATUS_MALFORMED, "do not fit the header");
    request = tags_request(small, 2);
    plan_fails(&request, STATUS_MALFORMED, "do not fit the header");
    request = tags_request(large, 2);
    plan_fails(&request, STATUS_MALFORMED, "do not fit the header");
    request = tags_request(huge, 2);
    plan_fails(&request, STATUS_MALFORMED, "do not fit the header");
    request = tags_request(short_address, 4);
    plan_fails(&request, STATUS_MALFORMED, "too short");
    request = tags_request(short_entry, 2);
    plan_fails(&request, STATUS_MALFORMED, "too short");
}

/* Boot loaders stop at the end tag's type; kernels are linked with sizes of all kinds in it. */
static void the_end_tag_ends_the_list_whatever_its_size(void **state)
{
    static const uint32_t sizes[] = {0, 4, 8, 0xffffffff};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct load_request request = tags_request(NULL, 0);

        put(&image, HEADER + 20, sizes[i], 4);
        plan_ok(&request);
        assert_int_equal(plan.protocol, PROTOCOL_MULTIBOOT2);
    }
}

static void bad_multiboot2_headers_are_errors(void **state)
{
    struct load_request request = tags_request(NULL, 0);

    (void)state;
    put_multiboot2(&image, HEADER, 15);
    plan_fails(&request, STATUS_MALFORMED, "does not fit the file");
    put_multiboot2(&image, HEADER, 0x10000);
    plan_fails(&request, STATUS_MALFORMED, "does not fit the file");
    put(&image, HEADER + 4, 4, 4);
    put(&image, HEADER + 12, 0u - (0xe85250d6u + 4 + 0x10000), 4);
    plan_fails(&request, STATUS_UNSUPPORTED, "architecture 4");
}

static void a_multiboot_file_cut_anywhere_is_an_error_or_another_protocol(void **state)
{
    struct load_request request = tags_request(NULL, 0);

    (void)state;
    put_multiboot(&image, CODE + 0x100, 3);
    for (uint64_t size = 0; size < image.size; size++) {
        uint8_t *copy = malloc(size + 1);

        assert_non_null(copy);
        memcpy(copy, image.bytes, size);
        request.kernel = (struct span){copy, size};
        for (enum config_protocol protocol = PROTOCOL_MULTIBOOT; protocol <= PROTOCOL_MULTIBOOT2; protocol++) {
            request.protocol = protocol;
            assert_int_not_equal(loader_plan(&request, &plan, &error), STATUS_OK);
            assert_int_not_equal(error.sentence[0], 0);
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_multiboot_elf_of_both_classes_is_entered_in_protected_mode),
        cmocka_unit_test(a_64_bit_elf_file_may_say_that_it_is_for_i386),
        cmocka_unit_test(the_information_has_memory_names_and_no_page_0_address),
        cmocka_unit_test(modules_are_page_aligned_and_carry_their_strings),
        cmocka_unit_test(elf_section_headers_are_passed_on),
        cmocka_unit_test(sections_that_no_segment_loads_are_in_memory),
        cmocka_unit_test(sections_that_do_not_fit_leave_the_kernel_bootable),
        cmocka_unit_test(the_header_is_found_anywhere_in_the_first_8_kib_at_a_multiple_of_4),
        cmocka_unit_test(a_wrong_checksum_is_no_header),
        cmocka_unit_test(required_flags_that_are_not_known_are_an_error_and_the_video_flag_is_not),
        cmocka_unit_test(load_addresses_in_the_header_place_the_file),
        cmocka_unit_test(load_end_0_means_the_whole_file_and_bss_end_0_no_bss),
        cmocka_unit_test(every_bad_load_address_is_a_named_error),
        cmocka_unit_test(a_multiboot2_kernel_finds_its_tags),
        cmocka_unit_test(multiboot2_sections_that_no_segment_loads_are_in_memory),
        cmocka_unit_test(a_multiboot2_kernel_that_asks_for_a_display_is_told_of_the_text_display),
        cmocka_unit_test(a_multiboot2_kernel_is_told_of_the_screen_that_it_has),
        cmocka_unit_test(a_multiboot_kernel_is_told_of_the_screen_that_it_has),
        cmocka_unit_test(the_multiboot2_memory_map_is_the_guests),
        cmocka_unit_test(the_rsdp_is_copied_in_both_forms_where_it_is_known),
        cmocka_unit_test(an_entry_tag_replaces_the_elf_entry),
        cmocka_unit_test(address_tags_place_the_file_without_elf),
        cmocka_unit_test(a_load_address_of_minus_one_is_the_files_beginning),
        cmocka_unit_test(a_relocatable_kernel_moves_where_its_tag_wants_it),
        cmocka_unit_test(modules_lie_below_a_kernel_at_the_end_of_memory),
        cmocka_unit_test(required_requests_and_tags_that_are_not_known_are_errors_and_optional_ones_are_not),
        cmocka_unit_test(bad_tag_sizes_are_errors),
        cmocka_unit_test(the_end_tag_ends_the_list_whatever_its_size),
        cmocka_unit_test(bad_multiboot2_headers_are_errors),
        cmocka_unit_test(a_multiboot_file_cut_anywhere_is_an_error_or_another_protocol),
    };

    return cmocka_run_group_tests_name("loader_multiboot", tests, NULL, NULL);
}
