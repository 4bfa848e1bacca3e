/* Multiboot 1, section 3.2 "Machine state" and 3.3 "Boot information format". */
#include "tests/guests/lib/entry.h"

const char guest_name[] = "entry-multiboot";

#define LOADER_MAGIC 0x2badb002u
#define INFO_WANTED 0x4du /* memory, command line, modules, memory map */
#define TYPE_RAM 1u

struct info {
    uint32_t flags, memory_lower_kib, memory_upper_kib, boot_device, cmdline, module_count, modules, symbols[4];
    uint32_t memory_map_bytes, memory_map;
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
    uint64_t here = (uintptr_t)&entry_state;
    bool found = false;
    uint32_t at = 0;

    while (at < info->memory_map_bytes) {
        const struct memory *entry = (const struct memory *)(uintptr_t)(info->memory_map + at);

        print("  memory 0x%q + 0x%q type %u\n", entry->start, entry->length, entry->type);
        found = found || (entry->type == TYPE_RAM && here >= entry->start && here - entry->start < entry->length);
        at += entry->bytes + 4;
    }
    CHECK_EQUAL(at, info->memory_map_bytes);
    CHECK(found);
    print("  lower %u KiB, upper %u KiB\n", info->memory_lower_kib, info->memory_upper_kib);
    CHECK(info->memory_lower_kib >= 600 && info->memory_lower_kib <= 640);
    CHECK(info->memory_upper_kib >= 1024);
}

void guest_main(void)
{
    const struct info *info = (const struct info *)(uintptr_t)entry_state.bx;
    const struct module *module = (const struct module *)(uintptr_t)info->modules;

    entry_dump();
    CHECK_EQUAL((uint32_t)entry_state.ax, LOADER_MAGIC);
    entry_check_protected();
    entry_check_gdt(false);
    entry_check_place("boot information", entry_state.bx);
    CHECK_EQUAL(info->flags & INFO_WANTED, INFO_WANTED);
    check_memory(info);
    entry_check_text("command line", (const char *)(uintptr_t)info->cmdline, ENTRY_CMDLINE);
    CHECK_EQUAL(info->module_count, 1);
    entry_check_module(module->start, module->end - module->start);
    entry_check_text("module", (const char *)(uintptr_t)module->string, ENTRY_MODULE_ARGUMENTS);
}
