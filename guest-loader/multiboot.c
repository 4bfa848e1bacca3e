/* SPDX-License-Identifier: MIT */
/*
 * Multiboot 1. Multiboot Specification 0.6.96, chapter 3: "The specification".
 *
 * A header within the first 8 KiB says what the kernel wants; the kernel is an ELF file, or (flag 16) the header itself
 * gives load addresses. Entered in flat 32-bit protected mode with eax = 0x2badb002 and ebx = boot information.
 */
#include "guest-loader/elf_image.h"
#include "guest-loader/foreign.h"
#include "guest-loader/multiboot_common.h"
#include "guest-loader/protocols.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"

/* Section 3.1.1 "The layout of Multiboot header" and 3.1.2 "The magic fields of Multiboot header". */
#define MULTIBOOT_SEARCH_BYTES 8192u
#define MULTIBOOT_MAGIC 0x1badb002u
#define MULTIBOOT_LOADER_MAGIC 0x2badb002u
#define MULTIBOOT_HEADER_BYTES 12u
#define MULTIBOOT_ADDRESSES_OFFSET 12u /* header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr */
#define MULTIBOOT_WANTS_VIDEO 0x4u
#define MULTIBOOT_WANTS_KNOWN 0x7u /* page-aligned modules, memory, video mode */
#define MULTIBOOT_WANTS_REQUIRED 0xffffu
#define MULTIBOOT_HAS_ADDRESSES 0x10000u

/* Section 3.3 "Boot information format": flags. */
#define INFO_MEMORY 0x001u
#define INFO_CMDLINE 0x004u
#define INFO_MODULES 0x008u
#define INFO_ELF_SECTIONS 0x020u
#define INFO_MEMORY_MAP 0x040u
#define INFO_LOADER_NAME 0x200u
#define INFO_FRAMEBUFFER 0x1000u

struct multiboot_info {
    uint32_t flags;
    uint32_t memory_lower_kib, memory_upper_kib;
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t module_count, modules;
    uint32_t elf_count, elf_entry_bytes, elf_address, elf_names;
    uint32_t memory_map_bytes, memory_map;
    uint32_t drives_bytes, drives;
    uint32_t config_table;
    uint32_t loader_name;
    uint32_t apm_table;
    uint32_t vbe[4];
    uint32_t framebuffer_address_low, framebuffer_address_high;
    uint32_t framebuffer_pitch, framebuffer_width, framebuffer_height;
    uint8_t framebuffer_bits, framebuffer_type, framebuffer_colours[6];
};
_Static_assert(sizeof(struct multiboot_info) == 116 && offsetof(struct multiboot_info, loader_name) == 64 &&
                   offsetof(struct multiboot_info, framebuffer_address_low) == 88,
               "section 3.3");

struct multiboot_module {
    uint32_t start, end, string, reserved;
};

/* `bytes` does not count itself. */
struct multiboot_memory {
    uint32_t bytes;
    uint32_t start_low, start_high;
    uint32_t length_low, length_high;
    uint32_t type;
};
_Static_assert(sizeof(struct multiboot_memory) == 24, "section 3.3");

struct multiboot_header {
    uint64_t offset;
    uint32_t flags;
};

static bool find_header(struct span kernel, struct multiboot_header *header)
{
    struct span search = span_part(kernel, 0, min_u64(kernel.bytes, MULTIBOOT_SEARCH_BYTES));
    uint32_t words[3];

    for (uint64_t at = 0; span_copy(search, at, words, sizeof(words)); at += 4) {
        if (words[0] == MULTIBOOT_MAGIC && words[0] + words[1] + words[2] == 0) {
            *header = (struct multiboot_header){at, words[1]};
            return true;
        }
    }
    return false;
}

bool multiboot_recognize(struct span kernel)
{
    struct multiboot_header header;

    return find_header(kernel, &header);
}

static enum status check_header(struct loader *loader, struct multiboot_header *header)
{
    uint32_t unknown;

    if (!find_header(loader->request->kernel, header)) {
        return foreign_fail(loader, "no multiboot header in the first 8 KiB (magic 0x1badb002, 4-aligned, checksum 0)",
                            "is there: try protocol = auto");
    }
    unknown = header->flags & MULTIBOOT_WANTS_REQUIRED & ~MULTIBOOT_WANTS_KNOWN;
    if (unknown != 0) {
        return loader_fail(
            loader, STATUS_UNSUPPORTED, header->offset + 4,
            "the multiboot header requires features 0x%x that the specification has not: clear these flags", unknown);
    }
    return STATUS_OK;
}

/* Section 3.1.3 "The address fields of Multiboot header". */
static enum status place_by_addresses(struct loader *loader, const struct multiboot_header *header, uint64_t *entry)
{
    struct load_addresses addresses = {.header_offset = header->offset};
    uint32_t words[5];

    if (!span_copy(loader->request->kernel, header->offset + MULTIBOOT_ADDRESSES_OFFSET, words, sizeof(words))) {
        return loader_fail(loader, STATUS_MALFORMED, header->offset,
                           "the file ends within the multiboot header's address fields: it is truncated");
    }
    addresses.header = words[0];
    addresses.load = words[1];
    addresses.load_end = words[2];
    addresses.bss_end = words[3];
    *entry = words[4];
    return multiboot_place_addresses(loader, &addresses, *entry);
}

static enum status place_kernel(struct loader *loader, const struct multiboot_header *header, struct elf_image *image,
                                uint64_t *entry)
{
    enum status status;

    *image = (struct elf_image){0};
    if ((header->flags & MULTIBOOT_HAS_ADDRESSES) != 0) {
        loader->plan->image_is_32bit = true;
        return place_by_addresses(loader, header, entry);
    }
    status = elf_load(loader, image, entry);
    loader->plan->image_is_32bit = !image->is_64;
    return status;
}

/* ---- Boot information ---- */

static enum status put_strings(struct loader *loader, struct multiboot_info *info)
{
    uint64_t cmdline = 0, name = 0;
    enum status status = plan_blob_two_strings(loader, loader->request->name, loader->request->cmdline, &cmdline);

    if (status == STATUS_OK) {
        status = plan_blob_string(loader, text_of(MULTIBOOT_LOADER_NAME), &name);
    }
    info->cmdline = (uint32_t)cmdline;
    info->loader_name = (uint32_t)name;
    info->flags |= INFO_CMDLINE | INFO_LOADER_NAME;
    return status;
}

static enum status put_modules(struct loader *loader, struct multiboot_info *info)
{
    const struct load_request *request = loader->request;
    struct multiboot_module *modules;
    void *memory = NULL;
    uint64_t address = 0, string = 0;
    enum status status = plan_blob_take(loader, request->module_count * sizeof(*modules), 8, &memory, &address);

    modules = memory;
    for (uint32_t i = 0; status == STATUS_OK && i < request->module_count; i++) {
        modules[i].start = (uint32_t)loader->module_addresses[i];
        modules[i].end = (uint32_t)(loader->module_addresses[i] + request->modules[i].bytes.bytes);
        status = plan_blob_string(loader, request->modules[i].arguments, &string);
        modules[i].string = (uint32_t)string;
    }
    info->module_count = request->module_count;
    info->modules = request->module_count == 0 ? 0 : (uint32_t)address;
    info->flags |= INFO_MODULES;
    return status;
}

static enum status put_memory(struct loader *loader, struct multiboot_info *info)
{
    const struct guest_layout *layout = &loader->request->layout;
    struct multiboot_memory *entries;
    void *memory = NULL;
    uint64_t address = 0, bytes = layout->e820_count * sizeof(*entries);
    enum status status = plan_blob_take(loader, bytes, 8, &memory, &address);

    entries = memory;
    for (uint32_t i = 0; status == STATUS_OK && i < layout->e820_count; i++) {
        const struct e820_entry *from = &layout->e820[i];

        entries[i] = (struct multiboot_memory){sizeof(*entries) - 4,          (uint32_t)from->start,
                                               (uint32_t)(from->start >> 32), (uint32_t)from->bytes,
                                               (uint32_t)(from->bytes >> 32), from->type};
    }
    info->memory_map = (uint32_t)address;
    info->memory_map_bytes = (uint32_t)bytes;
    info->memory_lower_kib = plan_memory_lower_kib(loader);
    info->memory_upper_kib = plan_memory_upper_kib(loader);
    info->flags |= INFO_MEMORY | INFO_MEMORY_MAP;
    return status;
}

static enum status put_sections(struct loader *loader, const struct elf_image *image,
                                const struct loose_sections *loose, struct multiboot_info *info)
{
    uint64_t bytes = multiboot_section_bytes(image), address = 0;
    void *memory = NULL;
    enum status status;

    if (bytes == 0) {
        return STATUS_OK;
    }
    status = plan_blob_take(loader, bytes, 8, &memory, &address);
    if (status != STATUS_OK) {
        return status;
    }
    multiboot_copy_sections(image, loose, memory);
    info->elf_count = image->section_count;
    info->elf_entry_bytes = image->section_bytes;
    info->elf_address = (uint32_t)address;
    info->elf_names = image->section_names;
    info->flags |= INFO_ELF_SECTIONS;
    return STATUS_OK;
}

/* To kernels that ask for a video mode of any kind: the wish is advisory, and there is the text display. */
static void put_text_display(struct multiboot_info *info)
{
    info->framebuffer_address_low = MULTIBOOT_TEXT_ADDRESS;
    info->framebuffer_pitch = MULTIBOOT_TEXT_PITCH;
    info->framebuffer_width = MULTIBOOT_TEXT_COLUMNS;
    info->framebuffer_height = MULTIBOOT_TEXT_ROWS;
    info->framebuffer_bits = MULTIBOOT_TEXT_BITS;
    info->framebuffer_type = MULTIBOOT_FRAMEBUFFER_TEXT;
    info->flags |= INFO_FRAMEBUFFER;
}

/* The guest has a screen of its own, whether it asks or not. */
static void put_screen(const struct load_screen *screen, struct multiboot_info *info)
{
    info->framebuffer_address_low = (uint32_t)screen->address.value;
    info->framebuffer_address_high = (uint32_t)(screen->address.value >> 32);
    info->framebuffer_pitch = screen->pitch_bytes;
    info->framebuffer_width = screen->width;
    info->framebuffer_height = screen->height;
    info->framebuffer_bits = screen->bits;
    info->framebuffer_type = MULTIBOOT_FRAMEBUFFER_RGB;
    multiboot_put_colours(screen, info->framebuffer_colours);
    info->flags |= INFO_FRAMEBUFFER;
}

static enum status put_info(struct loader *loader, const struct elf_image *image, const struct loose_sections *loose,
                            uint32_t wants)
{
    struct multiboot_info *info;
    void *memory = NULL;
    uint64_t address = 0;
    enum status status = plan_blob_take(loader, sizeof(*info), 8, &memory, &address);

    if (status != STATUS_OK) {
        return status;
    }
    info = memory;
    status = put_memory(loader, info);
    if (status == STATUS_OK) {
        status = put_modules(loader, info);
    }
    if (status == STATUS_OK) {
        status = put_strings(loader, info);
    }
    if (status == STATUS_OK) {
        status = put_sections(loader, image, loose, info);
    }
    if (loader->request->screen.width != 0) {
        put_screen(&loader->request->screen, info);
    } else if ((wants & MULTIBOOT_WANTS_VIDEO) != 0) {
        put_text_display(info);
    }
    loader->plan->entry.gpr[ENTRY_RBX] = address;
    loader->plan->entry.gpr[ENTRY_RAX] = MULTIBOOT_LOADER_MAGIC;
    return status;
}

enum status multiboot_plan(struct loader *loader)
{
    struct load_plan *plan = loader->plan;
    struct multiboot_header header = {0};
    struct elf_image image;
    struct loose_sections loose;
    uint64_t entry = 0;
    enum status status = check_header(loader, &header);

    if (status == STATUS_OK) {
        status = place_kernel(loader, &header, &image, &entry);
    }
    if (status != STATUS_OK) {
        return status;
    }
    format_text(plan->description, sizeof(plan->description), "multiboot, %s, 32-bit entry at 0x%" PRIx64,
                (header.flags & MULTIBOOT_HAS_ADDRESSES) != 0 ? "load addresses in its header"
                                                              : (image.is_64 ? "ELF64" : "ELF32"),
                entry);
    status = multiboot_open(loader, &image, &loose);
    if (status == STATUS_OK) {
        status = put_info(loader, &image, &loose, header.flags);
    }
    if (status == STATUS_OK) {
        status = plan_enter_protected(loader, entry, MULTIBOOT_CODE_SELECTOR);
    }
    if (status == STATUS_OK) {
        status = plan_blob_close(loader);
    }
    return status;
}
