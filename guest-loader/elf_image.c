/* SPDX-License-Identifier: MIT */
/* ELF files as data; guest-loader/elf_image.h tells what for. */
#include "guest-loader/elf_image.h"

#include "guest-loader/foreign.h"
#include "guest-loader/protocols.h"
#include "hv/base/memory.h"
#include "hv/base/text.h"

/* gABI 4.1, figure 4-4 "e_ident[] Identification Indexes" and the values below it. */
#define ELF_CLASS_OFFSET 4u
#define ELF_DATA_OFFSET 5u
#define ELF_CLASS_32 1u
#define ELF_CLASS_64 2u
#define ELF_DATA_LITTLE 1u
#define ELF_TYPE_OFFSET 16u
#define ELF_MACHINE_OFFSET 18u
#define ELF_TYPE_EXEC 2u
#define ELF_TYPE_DYN 3u
#define ELF_MACHINE_386 3u
#define ELF_MACHINE_X86_64 62u
#define ELF_DYNAMIC_END 0u /* gABI 4.1, figure 5-10 "Dynamic Array Tags" */
#define ELF_DYNAMIC_NEEDED 1u
#define ELF_DYNAMIC_MAX 256u /* entries that are looked at; a module has some dozen */
#define ELF_NOTE_HEADER_BYTES 12u
#define ELF_NOTES_MAX 256u /* per segment; kernels have a handful */

static const uint8_t elf_magic[4] = {0x7f, 'E', 'L', 'F'};

/* Where the fields are, for each class. gABI 4.1, figures 4-3 "ELF Header" and 5-1 "Program Header". */
struct elf_form {
    uint8_t word; /* bytes of an address, offset or size */
    uint8_t header_bytes;
    uint8_t entry, segment_table, section_table;
    uint8_t segment_bytes, segment_count, section_bytes, section_count, section_names;
    uint8_t program_header_bytes;
    uint8_t p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};

static const struct elf_form elf_form_32 = {4, 52, 24, 28, 32, 42, 44, 46, 48, 50, 32, 4, 8, 12, 16, 20, 28};
static const struct elf_form elf_form_64 = {8, 64, 24, 32, 40, 54, 56, 58, 60, 62, 56, 8, 16, 24, 32, 40, 48};

static const struct elf_form *form_of(bool is_64)
{
    return is_64 ? &elf_form_64 : &elf_form_32;
}

/* A field that was checked to be in the file; 0 where it is not. */
static uint64_t read_word(struct span file, uint64_t offset, uint8_t bytes)
{
    uint64_t value = 0;

    span_copy(file, offset, &value, bytes);
    return value;
}

bool elf_recognize(struct span kernel)
{
    return kernel.bytes >= sizeof(elf_magic) && memcmp(kernel.base, elf_magic, sizeof(elf_magic)) == 0;
}

/* ---- The header ---- */

/* For a file that was not called an ELF file, in the terms of what it was called. */
static enum status fail_no_elf(struct loader *loader)
{
    switch (loader->request->protocol) {
    case PROTOCOL_ELF:
        return foreign_fail(loader, "protocol = elf, but the file has no ELF header",
                            "(7f 'E' 'L' 'F'): check that this is the kernel's own image");
    case PROTOCOL_PVH:
        return foreign_fail(loader, "protocol = pvh is for ELF files, and this one has no ELF header",
                            "(7f 'E' 'L' 'F'): check that this is the kernel's own image");
    case PROTOCOL_AUTO:
    case PROTOCOL_LINUX:
    case PROTOCOL_MULTIBOOT:
    case PROTOCOL_MULTIBOOT2:
    case PROTOCOL_FLAT:
        break;
    }
    return loader_fail(loader, STATUS_MALFORMED, PLAN_NOT_IN_FILE,
                       "the %s header gives no load addresses (%s), and the file is no ELF file that would: "
                       "put them into the header, or link an ELF file",
                       loader->plan->protocol == PROTOCOL_MULTIBOOT2 ? "multiboot2" : "multiboot",
                       loader->plan->protocol == PROTOCOL_MULTIBOOT2 ? "no address tag" : "flag 16 is clear");
}

static enum status check_identity(struct loader *loader, struct span file)
{
    uint8_t class = (uint8_t)read_word(file, ELF_CLASS_OFFSET, 1);
    uint8_t data = (uint8_t)read_word(file, ELF_DATA_OFFSET, 1);

    if (!elf_recognize(file)) {
        return fail_no_elf(loader);
    }
    if (class != ELF_CLASS_32 && class != ELF_CLASS_64) {
        return loader_fail(loader, STATUS_MALFORMED, ELF_CLASS_OFFSET, "ELF class %u is neither 32-bit nor 64-bit",
                           class);
    }
    if (data != ELF_DATA_LITTLE) {
        return loader_fail(loader, STATUS_UNSUPPORTED, ELF_DATA_OFFSET,
                           "ELF data encoding %u is not little-endian: this is no x86 kernel", data);
    }
    if (!span_holds(file, 0, form_of(class == ELF_CLASS_64)->header_bytes)) {
        return loader_fail(loader, STATUS_MALFORMED, file.bytes,
                           "the file ends within the ELF header: it is truncated");
    }
    return STATUS_OK;
}

/* The class decides: a 64-bit file for i386 is one made for QEMU, which takes no other multiboot kernel of 64 bits. */
static bool machine_fits(uint64_t machine, bool is_64)
{
    return machine == ELF_MACHINE_386 || (is_64 && machine == ELF_MACHINE_X86_64);
}

static enum status check_machine(struct loader *loader, struct span file, bool is_64)
{
    uint64_t type = read_word(file, ELF_TYPE_OFFSET, 2);
    uint64_t machine = read_word(file, ELF_MACHINE_OFFSET, 2);

    if (type != ELF_TYPE_EXEC && type != ELF_TYPE_DYN) {
        return loader_fail(loader, STATUS_UNSUPPORTED, ELF_TYPE_OFFSET,
                           "ELF type %u is not an executable: link the object file first", (unsigned)type);
    }
    if (!machine_fits(machine, is_64)) {
        const char *name = foreign_elf_machine((uint32_t)machine);

        return loader_fail(loader, STATUS_UNSUPPORTED, ELF_MACHINE_OFFSET,
                           "a %s ELF file for %s (machine %u) is no x86 kernel: build it for x86-64 or i386",
                           is_64 ? "64-bit" : "32-bit", name != NULL ? name : "an unknown CPU", (unsigned)machine);
    }
    return STATUS_OK;
}

static void read_header(struct elf_image *image)
{
    const struct elf_form *form = form_of(image->is_64);
    struct span file = image->file;

    image->entry = read_word(file, form->entry, form->word);
    image->segment_table = read_word(file, form->segment_table, form->word);
    image->section_table = read_word(file, form->section_table, form->word);
    image->segment_bytes = (uint32_t)read_word(file, form->segment_bytes, 2);
    image->segment_count = (uint32_t)read_word(file, form->segment_count, 2);
    image->section_bytes = (uint32_t)read_word(file, form->section_bytes, 2);
    image->section_count = (uint32_t)read_word(file, form->section_count, 2);
    image->section_names = (uint32_t)read_word(file, form->section_names, 2);
}

static enum status check_tables(struct loader *loader, struct elf_image *image)
{
    const struct elf_form *form = form_of(image->is_64);

    if (image->segment_count == 0) {
        return loader_fail(loader, STATUS_MALFORMED, form->segment_count,
                           "the ELF file has no program headers, so nothing says what to load");
    }
    if (image->segment_count > ELF_SEGMENTS_MAX) {
        return loader_fail(loader, STATUS_UNSUPPORTED, form->segment_count,
                           "%u ELF program headers are more than the %u that are supported", image->segment_count,
                           ELF_SEGMENTS_MAX);
    }
    if (image->segment_bytes < form->program_header_bytes) {
        return loader_fail(loader, STATUS_MALFORMED, form->segment_bytes,
                           "ELF program headers of %u bytes are shorter than their %u bytes", image->segment_bytes,
                           form->program_header_bytes);
    }
    if (!span_holds(image->file, image->segment_table, (uint64_t)image->segment_bytes * image->segment_count)) {
        return loader_fail(loader, STATUS_MALFORMED, form->segment_table,
                           "the ELF program headers at offset 0x%" PRIx64 " pass the file's end: it is truncated",
                           image->segment_table);
    }
    return STATUS_OK;
}

enum status elf_open(struct loader *loader, struct elf_image *image)
{
    struct span file = loader->request->kernel;
    enum status status = check_identity(loader, file);

    if (status != STATUS_OK) {
        return status;
    }
    *image = (struct elf_image){.file = file, .is_64 = read_word(file, ELF_CLASS_OFFSET, 1) == ELF_CLASS_64};
    status = check_machine(loader, file, image->is_64);
    if (status != STATUS_OK) {
        return status;
    }
    read_header(image);
    return check_tables(loader, image);
}

/* ---- Segments ---- */

/*
 * GNU ld's -Ttext=0x100000 puts the file's headers into the page before the text, where a PC has its firmware. They are
 * no part of the kernel: what lies there of a segment is left out where it is nothing but headers and padding.
 */
static void leave_out_headers(const struct elf_image *image, struct elf_segment *segment)
{
    uint64_t headers = image->segment_table + (uint64_t)image->segment_bytes * image->segment_count;
    uint64_t bytes;

    if (segment->type != ELF_PT_LOAD || segment->offset != 0 || segment->physical_address < GUEST_EBDA_START ||
        segment->physical_address >= GUEST_LEGACY_END) {
        return;
    }
    bytes = min_u64(segment->memory_bytes, GUEST_LEGACY_END - segment->physical_address);
    if (headers > bytes || bytes > min_u64(segment->file_bytes, image->file.bytes)) {
        return;
    }
    for (uint64_t at = headers; at < bytes; at++) {
        if (image->file.base[at] != 0) {
            return;
        }
    }
    segment->offset += bytes;
    segment->virtual_address += bytes;
    segment->physical_address += bytes;
    segment->file_bytes -= bytes;
    segment->memory_bytes -= bytes;
}

struct elf_segment elf_segment_at(const struct elf_image *image, uint32_t index)
{
    const struct elf_form *form = form_of(image->is_64);
    uint64_t at = image->segment_table + (uint64_t)index * image->segment_bytes;
    struct elf_segment segment = {
        .type = (uint32_t)read_word(image->file, at, 4),
        .header_offset = at,
        .offset = read_word(image->file, at + form->p_offset, form->word),
        .virtual_address = read_word(image->file, at + form->p_vaddr, form->word),
        .physical_address = read_word(image->file, at + form->p_paddr, form->word),
        .file_bytes = read_word(image->file, at + form->p_filesz, form->word),
        .memory_bytes = read_word(image->file, at + form->p_memsz, form->word),
        .alignment = read_word(image->file, at + form->p_align, form->word),
    };

    leave_out_headers(image, &segment);
    return segment;
}

static bool is_loaded(const struct elf_segment *segment)
{
    return segment->type == ELF_PT_LOAD && segment->memory_bytes != 0;
}

static enum status check_segment(struct loader *loader, const struct elf_image *image,
                                 const struct elf_segment *segment)
{
    if (segment->memory_bytes < segment->file_bytes) {
        return loader_fail(loader, STATUS_MALFORMED, segment->header_offset,
                           "an ELF segment has 0x%" PRIx64 " bytes in the file but only 0x%" PRIx64 " in memory",
                           segment->file_bytes, segment->memory_bytes);
    }
    if (!span_holds(image->file, segment->offset, segment->file_bytes)) {
        return loader_fail(loader, STATUS_MALFORMED, segment->header_offset,
                           "an ELF segment's 0x%" PRIx64 " bytes at offset 0x%" PRIx64
                           " pass the end of the file (0x%" PRIx64 " bytes): it is truncated",
                           segment->file_bytes, segment->offset, image->file.bytes);
    }
    if (segment->physical_address + segment->memory_bytes < segment->physical_address ||
        segment->virtual_address + (segment->memory_bytes - 1) < segment->virtual_address) {
        return loader_fail(loader, STATUS_OVERFLOW, segment->header_offset,
                           "an ELF segment of 0x%" PRIx64 " bytes at 0x%" PRIx64 " passes the end of the address space",
                           segment->memory_bytes, segment->physical_address);
    }
    return STATUS_OK;
}

static enum status place_segment(struct loader *loader, const struct elf_image *image,
                                 const struct elf_segment *segment, uint64_t shift)
{
    enum status status = check_segment(loader, image, segment);

    if (status != STATUS_OK) {
        return status;
    }
    return plan_copy(loader, "an ELF segment", segment->header_offset,
                     (struct load_copy){gpa(segment->physical_address + shift), image->file.base + segment->offset,
                                        segment->file_bytes, segment->memory_bytes});
}

/*
 * A PVH note or a multiboot header says so. Such kernels may be linked like programs for the sake of their modules:
 * FreeBSD's names an interpreter and a library that do not exist, so that it has a table of dynamic symbols.
 */
static bool is_said_to_be_a_kernel(enum config_protocol protocol)
{
    return protocol == PROTOCOL_PVH || protocol == PROTOCOL_MULTIBOOT || protocol == PROTOCOL_MULTIBOOT2;
}

/* Its entries, a tag and a value each, name libraries. A file that relocates itself names none. */
static bool needs_libraries(const struct elf_image *image, const struct elf_segment *segment)
{
    uint8_t word = form_of(image->is_64)->word;
    struct span entries = span_part(image->file, segment->offset, segment->file_bytes);

    for (uint64_t i = 0; i < ELF_DYNAMIC_MAX && span_holds(entries, 2 * word * i, word); i++) {
        uint64_t tag = read_word(entries, 2 * word * i, word);

        if (tag == ELF_DYNAMIC_NEEDED || tag == ELF_DYNAMIC_END) {
            return tag == ELF_DYNAMIC_NEEDED;
        }
    }
    return false;
}

/* What only the ELF format says is a kernel may be a program, and then it is one for another system's loader. */
static enum status check_static(struct loader *loader, const struct elf_image *image, const struct elf_segment *segment)
{
    if (is_said_to_be_a_kernel(loader->plan->protocol)) {
        return STATUS_OK;
    }
    if (segment->type == ELF_PT_INTERP) {
        return loader_fail(loader, STATUS_UNSUPPORTED, segment->header_offset,
                           "this ELF file is a dynamically linked program, not a kernel: link it statically");
    }
    if (segment->type == ELF_PT_DYNAMIC && needs_libraries(image, segment)) {
        return loader_fail(loader, STATUS_UNSUPPORTED, segment->header_offset,
                           "this ELF file needs shared libraries, so it is a program or a boot loader's module (as "
                           "Syslinux' .c32 are), not a kernel: link it statically");
    }
    return STATUS_OK;
}

enum status elf_place(struct loader *loader, const struct elf_image *image, uint64_t shift)
{
    uint32_t placed = 0;

    for (uint32_t i = 0; i < image->segment_count; i++) {
        struct elf_segment segment = elf_segment_at(image, i);
        enum status status = check_static(loader, image, &segment);

        if (status == STATUS_OK && is_loaded(&segment)) {
            status = place_segment(loader, image, &segment, shift);
            placed++;
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (placed == 0) {
        return loader_fail(loader, STATUS_MALFORMED, image->segment_table,
                           "no ELF segment is to be loaded: the file has no code");
    }
    return STATUS_OK;
}

bool elf_extent(const struct elf_image *image, uint64_t *low, uint64_t *high)
{
    *low = UINT64_MAX;
    *high = 0;
    for (uint32_t i = 0; i < image->segment_count; i++) {
        struct elf_segment segment = elf_segment_at(image, i);

        if (is_loaded(&segment)) {
            *low = min_u64(*low, segment.physical_address);
            *high = max_u64(*high, segment.physical_address + segment.memory_bytes);
        }
    }
    return *low < *high;
}

bool elf_holds_physical(const struct elf_image *image, uint64_t address)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        struct elf_segment segment = elf_segment_at(image, i);

        if (is_loaded(&segment) && address >= segment.physical_address &&
            address - segment.physical_address < segment.memory_bytes) {
            return true;
        }
    }
    return false;
}

enum status elf_entry(struct loader *loader, const struct elf_image *image, uint64_t *entry)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        struct elf_segment segment = elf_segment_at(image, i);

        if (is_loaded(&segment) && image->entry >= segment.virtual_address &&
            image->entry - segment.virtual_address < segment.memory_bytes) {
            *entry = image->entry - segment.virtual_address + segment.physical_address;
            return STATUS_OK;
        }
    }
    if (elf_holds_physical(image, image->entry)) {
        *entry = image->entry;
        return STATUS_OK;
    }
    return loader_fail(loader, STATUS_MALFORMED, form_of(image->is_64)->entry,
                       "the ELF entry 0x%" PRIx64 " lies in no loaded segment: check the linker script's ENTRY",
                       image->entry);
}

enum status elf_load(struct loader *loader, struct elf_image *image, uint64_t *entry)
{
    enum status status = elf_open(loader, image);

    if (status == STATUS_OK) {
        status = elf_place(loader, image, 0);
    }
    return status == STATUS_OK ? elf_entry(loader, image, entry) : status;
}

/* ---- Notes ---- */

/*
 * The notes of one segment: name size, descriptor size, type, then name and descriptor, each padded to `alignment`.
 * gABI 4.1, figure 5-7 "Note Information". Sizes have 32 bits, so no sum here passes 64.
 */
static struct span find_note(struct span notes, uint64_t alignment, const char *owner, uint32_t type)
{
    struct text wanted = text_of(owner);
    uint64_t at = 0;

    for (uint32_t i = 0; i < ELF_NOTES_MAX && span_holds(notes, at, ELF_NOTE_HEADER_BYTES); i++) {
        uint64_t name_bytes = read_word(notes, at, 4), bytes = read_word(notes, at + 4, 4);
        uint64_t name = at + ELF_NOTE_HEADER_BYTES;
        uint64_t descriptor = align_up(name + name_bytes, alignment);

        if (read_word(notes, at + 8, 4) == type && name_bytes == wanted.length + 1 &&
            span_holds(notes, name, name_bytes) && memcmp(notes.base + name, owner, wanted.length + 1) == 0) {
            return span_part(notes, descriptor, bytes);
        }
        at = align_up(descriptor + bytes, alignment);
    }
    return (struct span){NULL, 0};
}

struct span elf_note(const struct elf_image *image, const char *owner, uint32_t type)
{
    for (uint32_t i = 0; i < image->segment_count; i++) {
        struct elf_segment segment = elf_segment_at(image, i);

        if (segment.type == ELF_PT_NOTE) {
            struct span notes = span_part(image->file, segment.offset, segment.file_bytes);
            struct span found = find_note(notes, segment.alignment == 8 ? 8 : 4, owner, type);

            /* A linker script may put notes of both alignments into one segment, which has the larger one. */
            if (found.base == NULL && segment.alignment == 8) {
                found = find_note(notes, 4, owner, type);
            }
            if (found.base != NULL) {
                return found;
            }
        }
    }
    return (struct span){NULL, 0};
}
