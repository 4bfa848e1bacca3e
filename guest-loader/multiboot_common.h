/* SPDX-License-Identifier: MIT */
/* What the two multiboot versions share: load addresses in the header, ELF sections, names. */
#ifndef GUEST_LOADER_MULTIBOOT_COMMON_H
#define GUEST_LOADER_MULTIBOOT_COMMON_H

#include "guest-loader/elf_image.h"
#include "guest-loader/plan.h"

#define MULTIBOOT_LOADER_NAME "Plinth"
#define MULTIBOOT_CODE_SELECTOR 0x08u
/* Beyond this the section headers are left out: they serve debuggers, and must not crowd out the command line. */
#define MULTIBOOT_SECTIONS_BYTES_MAX 8192u

/*
 * Load addresses that the header gives instead of ELF. The file byte of the header goes to `header`, so the file byte
 * of `load` is header - load bytes before it.
 */
struct load_addresses {
    uint64_t header_offset; /* in the file */
    uint64_t header;
    uint64_t load;
    uint64_t load_end; /* 0: to the end of the file */
    uint64_t bss_end;  /* 0: no bss */
};

enum status multiboot_place_addresses(struct loader *loader, const struct load_addresses *addresses, uint64_t entry);

/* Sections of the file that no segment loads, in one piece. bytes 0: none. */
struct loose_sections {
    uint64_t offset; /* in the file */
    uint64_t bytes;
    uint64_t address;
};

/*
 * Modules; the sections that no segment loads (symbols, strings, debug information), which both specifications want in
 * memory ("All sections are loaded"), where there is room for them; then the blob.
 */
enum status multiboot_open(struct loader *loader, const struct elf_image *image, struct loose_sections *loose);

/* The bytes of the section headers; 0 where the file has none, or more than are passed on. */
uint64_t multiboot_section_bytes(const struct elf_image *image);

/* The section headers into `to`, which holds as many bytes; those of loose sections get their addresses. */
void multiboot_copy_sections(const struct elf_image *image, const struct loose_sections *loose, uint8_t *to);

/* The text display that every guest has: hv/dev/crtc.h. VGA's mode 3. */
#define MULTIBOOT_TEXT_ADDRESS 0xb8000u
#define MULTIBOOT_TEXT_COLUMNS 80u
#define MULTIBOOT_TEXT_ROWS 25u
#define MULTIBOOT_TEXT_PITCH 160u
#define MULTIBOOT_TEXT_BITS 16u
#define MULTIBOOT_FRAMEBUFFER_TEXT 2u
#define MULTIBOOT_FRAMEBUFFER_RGB 1u

/* Position and size of red, green and blue, as both specifications have them. */
#define MULTIBOOT_COLOUR_BYTES 6u
static inline void multiboot_put_colours(const struct load_screen *screen, uint8_t to[MULTIBOOT_COLOUR_BYTES])
{
    const struct load_colour colours[] = {screen->red, screen->green, screen->blue};

    for (uint32_t i = 0; i < ARRAY_COUNT(colours); i++) {
        to[2 * i] = colours[i].position;
        to[2 * i + 1] = colours[i].bits;
    }
}

#endif
