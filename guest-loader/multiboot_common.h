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

/* Modules, then the blob. */
enum status multiboot_open(struct loader *loader);

/* A copy of the ELF section headers in the blob; *address 0 where the file has none or they are too many. */
enum status multiboot_put_sections(struct loader *loader, const struct elf_image *image, uint64_t *address);

#endif
