/* SPDX-License-Identifier: MIT */
/* The Linux boot protocol: what the guest finds, and that every field that is out of range is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/loader_checks.h"

static uint64_t zero_page(uint32_t offset, uint32_t bytes)
{
    return arena_read(plan.entry.gpr[GPR_RSI] + offset, bytes);
}

static void a_64_bit_kernel_is_entered_in_long_mode_0x200_after_its_preferred_address(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.protocol, PROTOCOL_LINUX);
    assert_int_equal(plan.entry.mode, MODE_LONG64);
    assert_int_equal(plan.entry.rip, 0x1000200);
    assert_int_equal(plan.entry.cs_selector, 0x10);
    assert_int_equal(plan.entry.data_selector, 0x18);
    assert_string_equal(plan.description, "Linux 9.8.7-test, boot protocol 2.15, 64-bit entry");
}

static void a_kernel_without_64_bit_entry_is_entered_in_protected_mode_at_its_start(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    put(&image, 0x236, 0, 2);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
    assert_int_equal(plan.entry.rip, 0x1000000);
    assert_true(plan.image_is_32bit);
    assert_int_equal(plan.entry.gpr[GPR_RBX] | plan.entry.gpr[GPR_RBP] | plan.entry.gpr[GPR_RDI], 0);
}

static void the_identity_map_covers_4_gib(void **state)
{
    struct load_request request;
    uint64_t root, pointers;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    root = arena_read(plan.entry.cr3, 8);
    assert_int_equal(root & 0xfff, 3);
    pointers = root & ~0xfffULL;
    for (uint64_t address = 0; address < 4 * GIB; address += 2 * MIB) {
        uint64_t directory = arena_read(pointers + (address >> 30) * 8, 8) & ~0xfffULL;

        assert_int_equal(arena_read(directory + ((address >> 21) & 511) * 8, 8), address | 0x83);
    }
    assert_int_equal(arena_read(pointers + 4 * 8, 8), 0);
}

static void the_gdt_holds_what_the_selectors_mean(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    assert_true(plan.entry.gdt_bytes >= 0x20);
    assert_int_equal(arena_read(plan.entry.gdt.value, 8), 0);
    assert_int_equal(arena_read(plan.entry.gdt.value + 0x10, 8), 0x00af9b000000ffff);
    assert_int_equal(arena_read(plan.entry.gdt.value + 0x18, 8), 0x00cf93000000ffff);
}

static void the_zero_page_holds_header_command_line_memory_map_and_rsdp(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    assert_memory_equal(&arena[plan.entry.gpr[GPR_RSI] + 0x1f1], &image.bytes[0x1f1], 0x210 - 0x1f1);
    assert_int_equal(zero_page(0x1ef, 1), 0);
    assert_int_equal(zero_page(0x210, 1), 0xff);
    assert_int_equal(zero_page(0x214, 4), 0x1000000);
    assert_int_equal(zero_page(0x26c, 4), 0);
    assert_int_equal(zero_page(0x70, 8), GUEST_ACPI_START);
    assert_string_equal(arena_text(zero_page(0x228, 4)), "console=ttyS0");
    assert_int_equal(zero_page(0x1e8, 1), request.layout.e820_count);
    for (uint32_t i = 0; i < request.layout.e820_count; i++) {
        assert_int_equal(zero_page(0x2d0 + i * 20, 8), request.layout.e820[i].start);
        assert_int_equal(zero_page(0x2d8 + i * 20, 8), request.layout.e820[i].bytes);
        assert_int_equal(zero_page(0x2e0 + i * 20, 4), request.layout.e820[i].type);
    }
}

/* Linux 6.1, include/uapi/linux/screen_info.h. */
static void a_guest_with_the_machines_screen_has_it_in_its_zero_page(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    assert_int_equal(zero_page(0x0f, 1), 0);
    request.screen = (struct load_screen){.address = {0xf0001000},
                                          .width = 1280,
                                          .height = 800,
                                          .pitch_bytes = 5120,
                                          .bits = 32,
                                          .red = {16, 8},
                                          .green = {8, 8},
                                          .blue = {0, 8},
                                          .reserved = {24, 8}};
    plan_ok(&request);
    assert_int_equal(zero_page(0x0f, 1), 0x70);
    assert_int_equal(zero_page(0x12, 2), 1280);
    assert_int_equal(zero_page(0x14, 2), 800);
    assert_int_equal(zero_page(0x16, 2), 32);
    assert_int_equal(zero_page(0x18, 4), 0xf0001000);
    assert_int_equal(zero_page(0x1c, 4), 5120 * 800);
    assert_int_equal(zero_page(0x24, 2), 5120);
    assert_int_equal(zero_page(0x26, 4), 0x08081008);
    assert_int_equal(zero_page(0x2a, 4), 0x18080008);
}

static void boot_information_keeps_clear_of_the_decompressors_trampoline(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    for (uint32_t i = 0; i < plan.copy_count; i++) {
        uint64_t start = plan.copies[i].to.value;

        assert_true(start >= 0x100000 || start + plan.copies[i].memory_bytes <= 0x90000);
    }
}

static void the_initrd_lies_page_aligned_as_high_as_the_kernel_allows(void **state)
{
    static const char bytes[] = "initrd";
    struct load_request request;

    (void)state;
    make_linux(&image);
    put(&image, 0x22c, 0x1ffffff, 4);
    request = request_of(&image, 64 * MIB);
    add_module(&request, bytes, 6, "");
    plan_ok(&request);
    assert_int_equal(zero_page(0x218, 4), 0x1fff000);
    assert_int_equal(zero_page(0x21c, 4), 6);
    assert_memory_equal(&arena[zero_page(0x218, 4)], bytes, 6);
}

static void several_initrds_follow_each_other_at_multiples_of_4(void **state)
{
    struct load_request request;
    uint64_t address;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    add_module(&request, "abcde", 5, "");
    add_module(&request, "fgh", 3, "");
    plan_ok(&request);
    address = zero_page(0x218, 4);
    assert_int_equal(zero_page(0x21c, 4), 11);
    assert_memory_equal(&arena[address], "abcde", 5);
    assert_memory_equal(&arena[address + 8], "fgh", 3);
}

static void an_initrd_never_overlaps_what_the_kernel_needs_to_start(void **state)
{
    static char bytes[0x100000];
    struct load_request request;

    (void)state;
    make_linux(&image);
    put(&image, 0x260, 0x1000000, 4);
    /* 16 MiB from 16 MiB, the initrd allowed up to 33 MiB: exactly 1 MiB is free above the kernel. */
    put(&image, 0x22c, 0x20fffff, 4);
    request = request_of(&image, 64 * MIB);
    add_module(&request, bytes, sizeof(bytes), "");
    plan_ok(&request);
    assert_int_equal(zero_page(0x218, 4), 0x2000000);
    put(&image, 0x22c, 0x20ffffe, 4);
    plan_ok(&request);
    assert_int_equal(zero_page(0x218, 4), 0xf00000);
}

/* Only sizes count: nothing reads an initrd before the guest is created. */
static struct load_request request_with_initrd(uint64_t bytes, uint64_t memory_bytes)
{
    struct load_request request = request_of(&image, memory_bytes);

    request.modules[0] = (struct load_module){{image.bytes, bytes}, text_of("")};
    request.module_count = 1;
    return request;
}

static uint64_t initrd_address(void)
{
    return zero_page(0x218, 4) | zero_page(0xc0, 4) << 32;
}

static uint64_t initrd_size(void)
{
    return zero_page(0x21c, 4) | zero_page(0xc4, 4) << 32;
}

/* The small copies only: what a zero page says is in low memory. */
static void load_low_copies(void)
{
    static struct load_plan low;

    low = plan;
    low.copy_count = 0;
    for (uint32_t i = 0; i < plan.copy_count; i++) {
        if (plan.copies[i].to.value < MIB) {
            low.copies[low.copy_count++] = plan.copies[i];
        }
    }
    arena_load(&low);
}

static void an_initrd_lies_above_4_gib_where_the_kernel_takes_it_there_and_it_fits_nowhere_else(void **state)
{
    static const struct {
        uint64_t bytes, memory_bytes, address;
    } rows[] = {
        {1 * GIB, 8 * GIB, 1 * GIB},             /* below initrd_addr_max */
        {2 * GIB - 17 * MIB, 8 * GIB, 17 * MIB}, /* right behind the kernel */
        {2 * GIB, 8 * GIB, 7 * GIB},             /* not there: the end of memory */
        {3 * GIB, 8 * GIB, 6 * GIB},
        {5 * GIB - PAGE_BYTES, 8 * GIB, 4 * GIB + PAGE_BYTES},
        {2 * GIB, 3 * GIB, 1 * GIB}, /* between initrd_addr_max and 3 GiB */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct load_request request;

        make_linux(&image);
        request = request_with_initrd(rows[i].bytes, rows[i].memory_bytes);
        assert_int_equal(loader_plan(&request, &plan, &error), STATUS_OK);
        check_plan(&request, &plan);
        load_low_copies();
        assert_int_equal(initrd_address(), rows[i].address);
        assert_int_equal(initrd_size(), rows[i].bytes);
    }
}

static void a_kernel_that_takes_its_initrd_no_higher_is_not_offered_more_memory(void **state)
{
    static const struct {
        uint32_t offset;
        uint64_t value;
    } kernels[] = {{0x236, 0x7d}, {0x236, 0x7e}}; /* without XLF_CAN_BE_LOADED_ABOVE_4G; without the 64-bit entry */

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(kernels); i++) {
        struct load_request request;

        make_linux(&image);
        put(&image, kernels[i].offset, kernels[i].value, 2);
        request = request_with_initrd(3 * GIB, 16 * GIB);
        plan_fails(&request, STATUS_NO_MEMORY, "takes it no higher");
        assert_null(strstr(error.sentence, "memory ="));
    }
}

static void the_memory_that_an_error_asks_for_is_enough(void **state)
{
    static const uint64_t sizes[] = {16 * MIB, 100 * MIB + 1, 2 * GIB - 18 * MIB, 2 * GIB, 3 * GIB, 5 * GIB + 12345};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        struct load_request request;
        const char *wanted;

        make_linux(&image);
        request = request_with_initrd(sizes[i], 17 * MIB);
        plan_fails(&request, STATUS_NO_MEMORY, "write memory = ");
        wanted = strstr(error.sentence, "memory = ") + strlen("memory = ");
        request = request_with_initrd(sizes[i], strtoull(wanted, NULL, 10) * MIB);
        assert_int_equal(loader_plan(&request, &plan, &error), STATUS_OK);
        check_plan(&request, &plan);
    }
}

/* Linux's header around a program that runs in real mode only. */
static void ipxes_lkrn_is_told_that_there_is_no_bios(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    put(&image, 0x206, 0x207, 2);
    put(&image, 0x214, 0, 4);
    put(&image, 0x236, 0, 2);
    request = request_of(&image, 64 * MIB);
    plan_fails(&request, STATUS_MALFORMED, "needs a BIOS, and a guest has none");
    assert_int_equal(error.offset, 0x214);
}

static void memory_that_holds_init_size_is_enough_and_less_is_an_error_that_says_how_much(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 17 * MIB);
    plan_ok(&request);
    request = request_of(&image, 17 * MIB - PAGE_BYTES);
    assert_int_equal(loader_plan(&request, &plan, &error), STATUS_NO_MEMORY);
    assert_non_null(strstr(error.sentence, "memory = 17M"));
    assert_int_equal(error.offset, 0x260);
}

static void a_command_line_may_be_as_long_as_the_kernel_says_and_no_longer(void **state)
{
    static char line[33];
    struct load_request request;

    (void)state;
    make_linux(&image);
    put(&image, 0x238, 32, 4);
    memset(line, 'x', sizeof(line));
    request = request_of(&image, 64 * MIB);
    request.cmdline = (struct text){line, 32};
    plan_ok(&request);
    request.cmdline.length = 33;
    assert_int_equal(loader_plan(&request, &plan, &error), STATUS_INVALID);
    assert_non_null(strstr(error.sentence, "33 characters"));
}

static void fields_newer_than_the_protocol_version_are_not_read(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    put(&image, 0x206, 0x206, 2); /* no pref_address, init_size, xloadflags yet */
    put(&image, 0x258, ~0ULL, 8);
    put(&image, 0x260, ~0ULL, 4);
    request = request_of(&image, 64 * MIB);
    plan_ok(&request);
    assert_int_equal(plan.entry.mode, MODE_PROTECTED32);
    assert_int_equal(plan.entry.rip, 0x100000);
}

struct bad_field {
    uint32_t offset, bytes;
    uint64_t value;
    enum status status;
    const char *named;
};

static const struct bad_field bad_fields[] = {
    {0x1f1, 1, 0xff, STATUS_MALFORMED, "truncated"},
    {0x1f4, 4, LINUX_CODE_BYTES / 16 + 1, STATUS_MALFORMED, "truncated"},
    {0x1f4, 4, 0xffffffff, STATUS_MALFORMED, "truncated"},
    {0x1f4, 4, 0x200 / 16, STATUS_MALFORMED, "ends before it"},
    {0x1fe, 2, 0x1234, STATUS_MALFORMED, "boot_flag"},
    {0x201, 1, 0x10, STATUS_MALFORMED, "too short"},
    {0x202, 4, 0, STATUS_NOT_FOUND, "HdrS"},
    {0x206, 2, 0x205, STATUS_MALFORMED, "version"},
    {0x206, 2, 0x203, STATUS_MALFORMED, "need a BIOS"}, /* memdisk */
    {0x211, 1, 0, STATUS_MALFORMED, "loadflags"},
    {0x22c, 4, 0xfffff, STATUS_MALFORMED, "initrd_addr_max"},
    {0x230, 4, 0x200001, STATUS_MALFORMED, "kernel_alignment"},
    {0x230, 4, 0, STATUS_MALFORMED, "kernel_alignment"},
    {0x258, 8, 0x1000001, STATUS_MALFORMED, "pref_address"},
    {0x258, 8, 0x100000000, STATUS_MALFORMED, "pref_address"},
    {0x258, 8, 0xc0000000, STATUS_NO_MEMORY, "not all RAM"},
    {0x260, 4, 0xffffffff, STATUS_NO_MEMORY, "not all RAM"},
};

static void every_field_that_is_out_of_range_is_a_named_error(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(bad_fields); i++) {
        const struct bad_field *bad = &bad_fields[i];
        struct load_request request;

        make_linux(&image);
        put(&image, bad->offset, bad->value, bad->bytes);
        request = request_of(&image, 64 * MIB);
        request.protocol = PROTOCOL_LINUX;
        assert_int_equal(loader_plan(&request, &plan, &error), bad->status);
        assert_non_null(strstr(error.sentence, bad->named));
        assert_int_not_equal(error.offset, UINT64_MAX);
    }
}

static void a_file_cut_anywhere_is_an_error(void **state)
{
    struct load_request request;

    (void)state;
    make_linux(&image);
    request = request_of(&image, 64 * MIB);
    request.protocol = PROTOCOL_LINUX;
    for (uint64_t size = 0; size < image.size; size++) {
        /* A heap copy of exactly this size, so that the sanitizer sees any read past it. */
        uint8_t *copy = malloc(size + 1);

        assert_non_null(copy);
        memcpy(copy, image.bytes, size);
        request.kernel = (struct span){copy, size};
        /* syssize counts 16 bytes at a time: less than that may be missing. */
        if (size <= image.size - 16) {
            assert_int_not_equal(loader_plan(&request, &plan, &error), STATUS_OK);
            assert_int_not_equal(error.sentence[0], 0);
        }
        free(copy);
    }
}

/* As Firecracker starts kernels: entry and segments are the file's, the zero page is the loader's. */
static void an_elf_file_gets_a_zero_page_of_the_loaders(void **state)
{
    static const struct elf_part parts[] = {{1, 0x1000, 0xffffffff81000000, 0x1000000, 0x100, 0x3000, 0x1000}};
    struct load_request request;
    uint64_t page, cmdline;

    (void)state;
    make_elf(&image, true, 0x1000040, parts, 1);
    put(&image, 0x10ff, 0x90, 1);
    request = request_of(&image, 64 * MIB);
    request.protocol = PROTOCOL_LINUX;
    add_module(&request, "initrd", 6, "");
    assert_int_equal(loader_plan(&request, &plan, &error), STATUS_OK);
    check_plan(&request, &plan);
    arena_load(&plan);
    page = plan.entry.gpr[ENTRY_RSI];
    cmdline = arena_read(page + 0x228, 4);
    assert_int_equal(plan.entry.mode, MODE_LONG64);
    assert_int_equal(plan.entry.rip, 0x1000040);
    assert_int_equal(page % PAGE_BYTES, 0);
    assert_int_equal(arena_read(page + 0x1fe, 2), 0xaa55);
    assert_int_equal(arena_read(page + 0x202, 4), 0x53726448);
    assert_int_equal(arena_read(page + 0x210, 1), 0xff);
    assert_int_equal(cmdline % PAGE_BYTES, 0);
    assert_string_equal(arena_text(cmdline), "console=ttyS0");
    assert_int_equal(arena_read(page + 0x238, 4), sizeof("console=ttyS0"));
    assert_int_equal(arena_read(page + 0x218, 4) % PAGE_BYTES, 0);
    assert_int_equal(arena_read(page + 0x21c, 4), 6);
    assert_memory_equal(arena_text(arena_read(page + 0x218, 4)), "initrd", 6);
    assert_int_equal(arena_read(page + 0x70, 8), GUEST_ACPI_START);
    assert_int_equal(arena_read(page + 0x1e8, 1), request.layout.e820_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_64_bit_kernel_is_entered_in_long_mode_0x200_after_its_preferred_address),
        cmocka_unit_test(a_kernel_without_64_bit_entry_is_entered_in_protected_mode_at_its_start),
        cmocka_unit_test(the_identity_map_covers_4_gib),
        cmocka_unit_test(the_gdt_holds_what_the_selectors_mean),
        cmocka_unit_test(the_zero_page_holds_header_command_line_memory_map_and_rsdp),
        cmocka_unit_test(a_guest_with_the_machines_screen_has_it_in_its_zero_page),
        cmocka_unit_test(boot_information_keeps_clear_of_the_decompressors_trampoline),
        cmocka_unit_test(the_initrd_lies_page_aligned_as_high_as_the_kernel_allows),
        cmocka_unit_test(several_initrds_follow_each_other_at_multiples_of_4),
        cmocka_unit_test(an_initrd_never_overlaps_what_the_kernel_needs_to_start),
        cmocka_unit_test(an_initrd_lies_above_4_gib_where_the_kernel_takes_it_there_and_it_fits_nowhere_else),
        cmocka_unit_test(a_kernel_that_takes_its_initrd_no_higher_is_not_offered_more_memory),
        cmocka_unit_test(the_memory_that_an_error_asks_for_is_enough),
        cmocka_unit_test(ipxes_lkrn_is_told_that_there_is_no_bios),
        cmocka_unit_test(memory_that_holds_init_size_is_enough_and_less_is_an_error_that_says_how_much),
        cmocka_unit_test(a_command_line_may_be_as_long_as_the_kernel_says_and_no_longer),
        cmocka_unit_test(fields_newer_than_the_protocol_version_are_not_read),
        cmocka_unit_test(every_field_that_is_out_of_range_is_a_named_error),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(an_elf_file_gets_a_zero_page_of_the_loaders),
    };

    return cmocka_run_group_tests_name("loader_linux", tests, NULL, NULL);
}
