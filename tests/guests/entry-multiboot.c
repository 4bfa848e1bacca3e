/* SPDX-License-Identifier: MIT */
/* Multiboot 1, section 3.2 "Machine state" and 3.3 "Boot information format". */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-multiboot";

#define LOADER_MAGIC 0x2badb002u
#define INFO_WANTED 0x4du /* memory, command line, modules, memory map */
#define INFO_SECTIONS 0x20u
#define INFO_LOADER_NAME 0x200u
#define INFO_FRAMEBUFFER 0x1000u
#define TYPE_TEXT 2u

struct info {
    uint32_t flags, memory_lower_kib, memory_upper_kib, boot_device, cmdline, module_count, modules, symbols[4];
    uint32_t memory_map_bytes, memory_map, drives[2], config_table, loader_name, apm_table, vbe[4];
    uint32_t framebuffer, framebuffer_high, pitch, width, height;
    uint8_t bits, type;
};

struct section {
    uint32_t name, type, flags, address, offset, bytes, link, info, alignment, entry_bytes;
};

struct module {
    uint32_t start, end, string, reserved;
};

struct __attribute__((packed)) memory {
    uint32_t bytes;
    uint64_t start, length;
    uint32_t type;
};

static void check_memory(const struct info *info)
{
    uint32_t at = 0;

    while (at < info->memory_map_bytes) {
        const struct memory *entry = (const struct memory *)(uintptr_t)(info->memory_map + at);

        entry_check_memory(entry->start, entry->length, entry->type);
        at += entry->bytes + 4;
    }
    CHECK_EQUAL(at, info->memory_map_bytes);
    entry_check_memory_end();
    print("  lower %u KiB, upper %u KiB\n", info->memory_lower_kib, info->memory_upper_kib);
    CHECK(info->memory_lower_kib >= 600 && info->memory_lower_kib <= 640);
    CHECK(info->memory_upper_kib >= 1024);
}

/* QEMU's loader gives neither of these. The names of the sections are in a section that no segment loads. */
static void check_sections(const struct info *info)
{
    const struct section *sections = (const struct section *)(uintptr_t)info->symbols[2];
    const char *names = (const char *)(uintptr_t)sections[info->symbols[3]].address;

    CHECK_EQUAL(info->symbols[1], sizeof(*sections));
    CHECK(info->symbols[0] > 4 && info->symbols[3] < info->symbols[0]);
    for (uint32_t i = 1; i < info->symbols[0]; i++) {
        CHECK_EQUAL(names[sections[i].name], '.');
        CHECK(sections[i].bytes == 0 || sections[i].address != 0);
    }
    entry_check_text("first section", names + sections[1].name, ".multiboot");
}

/* The header asks for a video mode. */
static void check_text_display(const struct info *info)
{
    CHECK_EQUAL(info->type, TYPE_TEXT);
    CHECK_EQUAL(info->framebuffer, 0xb8000);
    CHECK_EQUAL(info->framebuffer_high, 0);
    CHECK_EQUAL(info->pitch, 160);
    CHECK_EQUAL(info->width, 80);
    CHECK_EQUAL(info->height, 25);
}

static bool is_plinth(const struct info *info)
{
    const char *name = (const char *)(uintptr_t)info->loader_name;

    return (info->flags & INFO_LOADER_NAME) != 0 && name[0] == 'P' && name[1] == 'l';
}

void guest_main(void)
{
    const struct info *info = (const struct info *)(uintptr_t)entry_state.bx;
    const struct module *module = (const struct module *)(uintptr_t)info->modules;

    entry_dump();
    CHECK_EQUAL((uint32_t)entry_state.ax, LOADER_MAGIC);
    CHECK(entry_state.sp >= 0x1000); /* SerenityOS pushes before it has a stack of its own */
    entry_check_protected();
    entry_check_gdt(false);
    entry_check_place("boot information", entry_state.bx);
    CHECK_EQUAL(info->flags & INFO_WANTED, INFO_WANTED);
    check_memory(info);
    entry_check_text("command line", (const char *)(uintptr_t)info->cmdline, ENTRY_CMDLINE);
    CHECK_EQUAL(info->module_count, 1);
    entry_check_module(module->start, module->end - module->start);
    entry_check_text("module", (const char *)(uintptr_t)module->string, ENTRY_MODULE_ARGUMENTS);
    CHECK_EQUAL((info->flags & INFO_SECTIONS) != 0, is_plinth(info));
    CHECK_EQUAL((info->flags & INFO_FRAMEBUFFER) != 0, is_plinth(info));
    if (is_plinth(info)) {
        check_sections(info);
        check_text_display(info);
    }
}
