/* SPDX-License-Identifier: MIT */
/*
 * An ELF file as a kernel: header, program headers, notes and section headers, of both classes, read through one table
 * of field offsets. System V ABI, gABI 4.1, chapter 4 "Object Files" and chapter 5 "Program Loading".
 */
#ifndef GUEST_LOADER_ELF_IMAGE_H
#define GUEST_LOADER_ELF_IMAGE_H

#include "guest-loader/plan.h"

/* Program headers of all types; LOADER_COPIES_MAX bounds those that are loaded. */
#define ELF_SEGMENTS_MAX 512u

/* Types of program headers. gABI 4.1, figure 5-2. */
#define ELF_PT_LOAD 1u
#define ELF_PT_DYNAMIC 2u
#define ELF_PT_INTERP 3u
#define ELF_PT_NOTE 4u

struct elf_image {
    struct span file;
    bool is_64;
    uint64_t entry; /* as the header has it: usually virtual */
    uint64_t segment_table;
    uint64_t section_table;
    uint32_t segment_count;
    uint32_t segment_bytes;
    uint32_t section_count;
    uint32_t section_bytes;
    uint32_t section_names; /* index of the section that holds their names */
};

struct elf_segment {
    uint32_t type;
    uint64_t header_offset; /* of the program header, for messages */
    uint64_t offset;
    uint64_t virtual_address;
    uint64_t physical_address;
    uint64_t file_bytes;
    uint64_t memory_bytes;
    uint64_t alignment;
};

/* Checks the header and that the program headers are in the file. */
enum status elf_open(struct loader *loader, struct elf_image *image);

/* The program header `index` < segment_count of an opened image, without file headers that lie in a PC's firmware. */
struct elf_segment elf_segment_at(const struct elf_image *image, uint32_t index);

/* Plans a copy for every PT_LOAD segment at its physical address plus `shift` (modulo 2^64). */
enum status elf_place(struct loader *loader, const struct elf_image *image, uint64_t shift);

/* The range [*low, *high) of physical addresses that the segments take; false where there is nothing to load. */
bool elf_extent(const struct elf_image *image, uint64_t *low, uint64_t *high);

/*
 * Where execution starts in physical memory: an entry within the virtual range of a segment is moved with the segment;
 * else it may be physical itself. An entry outside of all segments is an error.
 */
enum status elf_entry(struct loader *loader, const struct elf_image *image, uint64_t *entry);

/* All three, at the addresses that the file has. */
enum status elf_load(struct loader *loader, struct elf_image *image, uint64_t *entry);

/* True where the physical address (before any shift) lies within a loaded segment. */
bool elf_holds_physical(const struct elf_image *image, uint64_t address);

/* The descriptor of the first note with this owner and type; an empty span with a null base where there is none. */
struct span elf_note(const struct elf_image *image, const char *owner, uint32_t type);

#endif
