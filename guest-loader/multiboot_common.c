/* SPDX-License-Identifier: MIT */
/* See guest-loader/multiboot_common.h. */
#include "guest-loader/multiboot_common.h"

#include "hv/base/memory.h"

/* All values come from 32-bit fields, so no sum wraps. */
static enum status check_addresses(struct loader *loader, const struct load_addresses *from, uint64_t *file_offset,
                                   uint64_t *bytes)
{
    uint64_t file_bytes = loader->request->kernel.bytes;

    if (from->load > from->header || from->header - from->load > from->header_offset) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: load_addr 0x%" PRIx64 " and header_addr 0x%" PRIx64
                           " would start before the file does",
                           from->load, from->header);
    }
    *file_offset = from->header_offset - (from->header - from->load);
    *bytes = from->load_end == 0 ? file_bytes - *file_offset : from->load_end - from->load;
    if (from->load_end != 0 && from->load_end <= from->load) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: load_end_addr 0x%" PRIx64 " is not above load_addr 0x%" PRIx64, from->load_end,
                           from->load);
    }
    if (*bytes > file_bytes - *file_offset) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: load_end_addr 0x%" PRIx64 " needs 0x%" PRIx64
                           " bytes of file and there are 0x%" PRIx64 ": it is truncated",
                           from->load_end, *bytes, file_bytes - *file_offset);
    }
    if (from->bss_end != 0 && from->bss_end < from->load + *bytes) {
        return loader_fail(loader, STATUS_MALFORMED, from->header_offset,
                           "multiboot: bss_end_addr 0x%" PRIx64 " lies below the end of the loaded bytes 0x%" PRIx64,
                           from->bss_end, from->load + *bytes);
    }
    return STATUS_OK;
}

enum status multiboot_place_addresses(struct loader *loader, const struct load_addresses *addresses, uint64_t entry)
{
    uint64_t offset = 0, bytes = 0, memory_bytes;
    enum status status = check_addresses(loader, addresses, &offset, &bytes);

    if (status != STATUS_OK) {
        return status;
    }
    memory_bytes = addresses->bss_end == 0 ? bytes : addresses->bss_end - addresses->load;
    if (entry < addresses->load || entry - addresses->load >= memory_bytes) {
        return loader_fail(loader, STATUS_MALFORMED, addresses->header_offset,
                           "multiboot: entry 0x%" PRIx64 " lies outside of the loaded 0x%" PRIx64 "..0x%" PRIx64, entry,
                           addresses->load, addresses->load + memory_bytes);
    }
    return plan_copy(
        loader, "the multiboot kernel", addresses->header_offset,
        (struct load_copy){gpa(addresses->load), loader->request->kernel.base + offset, bytes, memory_bytes});
}

/* ---- ELF sections ---- */

/* System V ABI, "Sections": offsets in a section header. */
struct section_form {
    uint8_t header_bytes, address, offset, size, word;
};
static const struct section_form form_32 = {40, 12, 16, 20, 4}, form_64 = {64, 16, 24, 32, 8};
#define SECTION_TYPE_AT 4u
#define SECTION_NULL 0u
#define SECTION_NOBITS 8u

struct section {
    uint64_t type, address, offset, bytes;
};

static const struct section_form *form_of(const struct elf_image *image)
{
    return image->is_64 ? &form_64 : &form_32;
}

static struct section section_at(const struct elf_image *image, uint32_t index)
{
    const struct section_form *form = form_of(image);
    uint64_t at = image->section_table + (uint64_t)index * image->section_bytes;
    struct section section = {0};

    span_copy(image->file, at + SECTION_TYPE_AT, &section.type, 4);
    span_copy(image->file, at + form->address, &section.address, form->word);
    span_copy(image->file, at + form->offset, &section.offset, form->word);
    span_copy(image->file, at + form->size, &section.bytes, form->word);
    return section;
}

/* Sections that segments load have addresses; 0 is none. */
static bool is_loose(const struct elf_image *image, const struct section *section)
{
    return section->type != SECTION_NULL && section->type != SECTION_NOBITS && section->address == 0 &&
           section->bytes != 0 && span_holds(image->file, section->offset, section->bytes);
}

uint64_t multiboot_section_bytes(const struct elf_image *image)
{
    uint64_t bytes = (uint64_t)image->section_count * image->section_bytes;
    bool whole = image->section_bytes >= form_of(image)->header_bytes && bytes <= MULTIBOOT_SECTIONS_BYTES_MAX &&
                 span_holds(image->file, image->section_table, bytes);

    return whole ? bytes : 0;
}

static enum status place_sections(struct loader *loader, const struct elf_image *image, struct loose_sections *loose)
{
    uint32_t count = multiboot_section_bytes(image) == 0 ? 0 : image->section_count;
    uint64_t low = UINT64_MAX, high = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct section section = section_at(image, i);

        if (is_loose(image, &section)) {
            low = min_u64(low, align_down(section.offset, PAGE_BYTES));
            high = max_u64(high, section.offset + section.bytes);
        }
    }
    if (low >= high || !plan_find(loader, high - low, PAGE_BYTES, GUEST_LEGACY_END, GUEST_RAM_HIGH_START, PLAN_LOWEST,
                                  &loose->address)) {
        return STATUS_OK;
    }
    loose->offset = low;
    loose->bytes = high - low;
    return plan_copy(loader, "the ELF sections", PLAN_NOT_IN_FILE,
                     (struct load_copy){gpa(loose->address), image->file.base + low, loose->bytes, loose->bytes});
}

void multiboot_copy_sections(const struct elf_image *image, const struct loose_sections *loose, uint8_t *to)
{
    const struct section_form *form = form_of(image);

    span_copy(image->file, image->section_table, to, (size_t)multiboot_section_bytes(image));
    for (uint32_t i = 0; i < image->section_count && loose->bytes != 0; i++) {
        struct section section = section_at(image, i);

        if (is_loose(image, &section)) {
            uint64_t address = loose->address + (section.offset - loose->offset);

            memcpy(to + (uint64_t)i * image->section_bytes + form->address, &address, form->word);
        }
    }
}

enum status multiboot_open(struct loader *loader, const struct elf_image *image, struct loose_sections *loose)
{
    enum status status = plan_modules(loader);

    *loose = (struct loose_sections){0};
    if (status == STATUS_OK) {
        status = place_sections(loader, image, loose);
    }
    return status == STATUS_OK ? plan_blob_open(loader, GUEST_EBDA_START) : status;
}
