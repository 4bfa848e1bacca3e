/* SPDX-License-Identifier: MIT */
/*
 * PE Format (Microsoft), "COFF File Header", "Optional Header", "Section Table".
 */
#include "efi/pe_sections.h"

#define DOS_PE_OFFSET 0x3cu
#define PE_SIGNATURE 0x00004550u /* "PE\0\0" */

/* Offsets from the signature. */
#define COFF_SECTION_COUNT 6u
#define COFF_OPTIONAL_BYTES 20u
#define OPTIONAL_START 24u

/* Offsets from the optional header (PE32+). */
#define OPTIONAL_SECTION_ALIGNMENT 32u
#define OPTIONAL_IMAGE_BYTES 56u
#define OPTIONAL_HEADERS_BYTES 60u

/* The section table. */
#define SECTION_BYTES 40u
#define SECTION_NAME_BYTES 8u
#define SECTION_VIRTUAL_BYTES 8u
#define SECTION_VIRTUAL_START 12u
#define SECTION_CHARACTERISTICS 36u
#define SECTION_EXECUTE 0x20000000u
#define SECTION_WRITE 0x80000000u

struct image_headers {
    struct span image;
    uint64_t optional; /* offset */
    uint64_t table;    /* offset of the section table */
    uint16_t sections;
    uint32_t image_bytes, header_bytes, alignment;
};

static bool read_headers(struct span image, struct image_headers *headers)
{
    uint32_t pe = 0;
    uint32_t signature = 0;
    uint16_t optional_bytes = 0;

    headers->image = image;
    if (!span_read_u32(image, DOS_PE_OFFSET, &pe) || !span_read_u32(image, pe, &signature) ||
        signature != PE_SIGNATURE || !span_read_u16(image, pe + (uint64_t)COFF_SECTION_COUNT, &headers->sections) ||
        !span_read_u16(image, pe + (uint64_t)COFF_OPTIONAL_BYTES, &optional_bytes)) {
        return false;
    }
    headers->optional = pe + (uint64_t)OPTIONAL_START;
    headers->table = headers->optional + optional_bytes;
    return span_read_u32(image, headers->optional + OPTIONAL_SECTION_ALIGNMENT, &headers->alignment) &&
           span_read_u32(image, headers->optional + OPTIONAL_IMAGE_BYTES, &headers->image_bytes) &&
           span_read_u32(image, headers->optional + OPTIONAL_HEADERS_BYTES, &headers->header_bytes) &&
           headers->sections < BOOT_SECTIONS_MAX && headers->alignment >= PAGE_BYTES &&
           headers->image_bytes <= image.bytes;
}

static bool read_section(const struct image_headers *headers, uint32_t index, struct boot_section *section)
{
    uint64_t at = headers->table + (uint64_t)index * SECTION_BYTES;
    uint64_t base = (uint64_t)(uintptr_t)headers->image.base;
    uint32_t bytes = 0;
    uint32_t start = 0;
    uint32_t rights = 0;

    if (!span_copy(headers->image, at, section->name, SECTION_NAME_BYTES) ||
        !span_read_u32(headers->image, at + SECTION_VIRTUAL_BYTES, &bytes) ||
        !span_read_u32(headers->image, at + SECTION_VIRTUAL_START, &start) ||
        !span_read_u32(headers->image, at + SECTION_CHARACTERISTICS, &rights)) {
        return false;
    }
    section->start = base + start;
    section->end = base + align_up((uint64_t)start + bytes, PAGE_BYTES);
    section->write = (rights & SECTION_WRITE) != 0;
    section->execute = (rights & SECTION_EXECUTE) != 0;
    return is_aligned(start, PAGE_BYTES) && section->end <= base + headers->image.bytes &&
           !(section->write && section->execute);
}

/* The headers are the first section: read-only. */
static bool list_sections(const struct image_headers *headers, struct boot_info *info)
{
    uint64_t base = (uint64_t)(uintptr_t)headers->image.base;

    info->sections[0] = (struct boot_section){
        .name = "headers", .start = base, .end = base + align_up(headers->header_bytes, PAGE_BYTES)};
    for (uint32_t i = 0; i < headers->sections; i++) {
        if (!read_section(headers, i, &info->sections[i + 1])) {
            return false;
        }
    }
    info->section_count = headers->sections + 1u;
    info->image_start = base;
    info->image_end = base + align_up(headers->image_bytes, PAGE_BYTES);
    return is_aligned(base, PAGE_BYTES);
}

bool pe_sections_read(struct span image, struct boot_info *info)
{
    struct image_headers headers = {0};

    return read_headers(image, &headers) && list_sections(&headers, info);
}
