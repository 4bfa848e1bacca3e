/* SPDX-License-Identifier: MIT */
/* One memory map everywhere: what each boot protocol tells its kernel is the guest's e820 map, entry by entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/loader_checks.h"

#define CODE 0x1000u
#define NOTE 0x2000u

static const struct elf_part simple = {1, CODE, 0xc0100000, 0x100000, 0x200, 0x300, 0x1000};

/* Where a protocol's map is: entries of `stride` bytes with start, size and type at these offsets. */
struct told_map {
    uint64_t at;
    uint32_t count;
    uint32_t stride, start_at, type_at;
};

/* ---- one kernel per protocol, and where its map is when it starts ---- */

static void make_linux_elf(void)
{
    make_elf(&image, true, 0xc0100040, &simple, 1);
}

static struct told_map of_linux(void)
{
    uint64_t page = plan.entry.gpr[GPR_RSI];

    return (struct told_map){page + 0x2d0, (uint32_t)arena_read(page + 0x1e8, 1), 20, 0, 16};
}

static void make_multiboot(void)
{
    make_elf(&image, false, 0xc0100040, &simple, 1);
    put_multiboot(&image, CODE, 3);
}

static struct told_map of_multiboot(void)
{
    uint64_t info = plan.entry.gpr[GPR_RBX];
    uint64_t at = arena_read(info + 48, 4);

    assert_int_equal(arena_read(at, 4), 20);
    return (struct told_map){at, (uint32_t)arena_read(info + 44, 4) / 24, 24, 4, 20};
}

static void make_multiboot2(void)
{
    make_elf(&image, false, 0xc0100040, &simple, 1);
    put_multiboot2(&image, CODE, 24);
    put(&image, CODE + 16, 0x0000000800000000, 8);
}

static struct told_map of_multiboot2(void)
{
    uint64_t at = plan.entry.gpr[GPR_RBX] + 8;

    while (arena_read(at, 4) != 6) {
        assert_int_not_equal(arena_read(at, 4), 0);
        at = align_up(at + arena_read(at + 4, 4), 8);
    }
    return (struct told_map){at + 16, (uint32_t)(arena_read(at + 4, 4) - 16) / 24, 24, 0, 16};
}

static void make_pvh(void)
{
    const struct elf_part parts[] = {simple, {4, NOTE, 0, 0, 24, 24, 4}};

    make_elf(&image, true, 0xc0100010, parts, 2);
    put(&image, NOTE, 4, 4);
    put(&image, NOTE + 4, 8, 4);
    put(&image, NOTE + 8, 18, 4);
    memcpy(&image.bytes[NOTE + 12], "Xen", 4);
    put(&image, NOTE + 16, 0x100040, 8);
}

static void make_plain_elf(void)
{
    make_elf(&image, true, 0xc0100040, &simple, 1);
}

static void make_flat(void)
{
    memset(&image, 0, sizeof(image));
    image.size = 0x200;
}

static struct told_map of_start_info(void)
{
    uint64_t info = plan.entry.gpr[GPR_RBX];

    return (struct told_map){arena_read(info + 40, 8), (uint32_t)arena_read(info + 48, 4), 24, 0, 16};
}

static void make_bzimage(void)
{
    make_linux(&image);
    put(&image, 0x258, 0x200000, 8);
}

static const struct {
    const char *name;
    enum config_protocol protocol;
    void (*make)(void);
    struct told_map (*find)(void);
} kernels[] = {
    {"bzImage", PROTOCOL_LINUX, make_bzimage, of_linux},
    {"vmlinux", PROTOCOL_LINUX, make_linux_elf, of_linux},
    {"multiboot", PROTOCOL_MULTIBOOT, make_multiboot, of_multiboot},
    {"multiboot2", PROTOCOL_MULTIBOOT2, make_multiboot2, of_multiboot2},
    {"PVH", PROTOCOL_PVH, make_pvh, of_start_info},
    {"ELF", PROTOCOL_ELF, make_plain_elf, of_start_info},
    {"flat", PROTOCOL_FLAT, make_flat, of_start_info},
};

static void compare_map(const struct load_request *request, struct told_map map)
{
    assert_int_equal(map.count, request->layout.e820_count);
    for (uint32_t i = 0; i < map.count; i++, map.at += map.stride) {
        const struct e820_entry *entry = &request->layout.e820[i];

        assert_int_equal(arena_read(map.at + map.start_at, 8), entry->start);
        assert_int_equal(arena_read(map.at + map.start_at + 8, 8), entry->bytes);
        assert_int_equal(arena_read(map.at + map.type_at, 4), entry->type);
    }
}

static void every_protocol_tells_the_guests_one_memory_map(void **state)
{
    static const uint64_t sizes[] = {4 * MIB, 64 * MIB, 3 * GIB, 5 * GIB};

    (void)state;
    for (uint32_t k = 0; k < ARRAY_COUNT(kernels); k++) {
        for (uint32_t s = 0; s < ARRAY_COUNT(sizes); s++) {
            struct load_request request;

            kernels[k].make();
            request = request_of(&image, sizes[s]);
            request.protocol = kernels[k].protocol;
            request.flat_load = 0x7c00;
            request.flat_entry = 0x7c00;
            request.flat_mode = MODE_PROTECTED32;
            plan_ok(&request);
            compare_map(&request, kernels[k].find());
        }
    }
}

static void the_sizes_that_multiboot_gives_apart_are_those_of_the_map(void **state)
{
    struct load_request request;
    uint64_t info;

    (void)state;
    make_multiboot();
    request = request_of(&image, 5 * GIB);
    plan_ok(&request);
    info = plan.entry.gpr[GPR_RBX];
    assert_int_equal(arena_read(info + 4, 4) * KIB, request.layout.e820[0].bytes);
    assert_int_equal(arena_read(info + 8, 4) * KIB, 3 * GIB - MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_tells_the_guests_one_memory_map),
        cmocka_unit_test(the_sizes_that_multiboot_gives_apart_are_those_of_the_map),
    };

    return cmocka_run_group_tests_name("loader_maps", tests, NULL, NULL);
}
