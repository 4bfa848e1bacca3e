/* SPDX-License-Identifier: MIT */
/* The shared half of every boot protocol; guest-loader/plan.h tells the order and the places. */
#include "guest-loader/plan.h"

#include "guest-loader/bios.h"
#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"

/* RFLAGS with everything clear: bit 1 always reads 1. SDM 1 3.4.3 "EFLAGS Register". */
#define RFLAGS_FIXED 0x2ULL

/*
 * Segment descriptors: flat (base 0, limit 4 GiB), present, DPL 0, accessed, as a CPU leaves them in its GDT.
 * SDM 3A 3.4.5 "Segment Descriptors".
 */
#define DESCRIPTOR_CODE32 0x00cf9b000000ffffULL
#define DESCRIPTOR_CODE64 0x00af9b000000ffffULL
#define DESCRIPTOR_DATA 0x00cf93000000ffffULL
#define GDT_ENTRIES 4u
/* Where no protocol gives a stack, kernels that call or push before they have their own find low memory, as on a PC. */
#define LOW_STACK 0x7c00ULL

/* Page-table entries of the identity map. SDM 3A 4.5 "4-Level Paging and 5-Level Paging", tables 4-15 to 4-18. */
#define ENTRY_PRESENT_WRITE 0x3ULL
#define ENTRY_LARGE 0x80ULL
#define TABLE_ENTRIES 512u
#define IDENTITY_GIBS 4u
#define IDENTITY_LEAF (2 * MIB)

enum status loader_fail(struct loader *loader, enum status status, uint64_t offset, const char *form, ...)
{
    va_list list;

    loader->error->offset = offset;
    va_start(list, form);
    format_list(loader->error->sentence, sizeof(loader->error->sentence), form, list);
    va_end(list);
    return status;
}

/* ---- What is occupied ---- */

static bool ranges_overlap(uint64_t a_start, uint64_t a_end, uint64_t b_start, uint64_t b_end)
{
    return a_start < b_end && b_start < a_end;
}

static uint64_t copy_end(const struct load_copy *copy)
{
    return copy->to.value + copy->memory_bytes;
}

/* The first thing that [start, end) overlaps: its range and name. */
static bool find_occupant(const struct loader *loader, uint64_t start, uint64_t end, struct plan_reserved *range,
                          const char **name)
{
    for (uint32_t i = 0; i < loader->plan->copy_count; i++) {
        const struct load_copy *copy = &loader->plan->copies[i];

        if (ranges_overlap(start, end, copy->to.value, copy_end(copy))) {
            *range = (struct plan_reserved){copy->to.value, copy_end(copy)};
            *name = loader->copy_names[i];
            return true;
        }
    }
    for (uint32_t i = 0; i < loader->reserved_count; i++) {
        if (ranges_overlap(start, end, loader->reserved[i].start, loader->reserved[i].end)) {
            *range = loader->reserved[i];
            *name = "the memory that the kernel reserves";
            return true;
        }
    }
    return false;
}

/* Kernels that link their screen buffer to its place have a segment there. It is backed as RAM is. */
static bool in_display_memory(uint64_t start, uint64_t end)
{
    return start >= GUEST_LEGACY_START && end <= GUEST_DISPLAY_END;
}

enum status plan_require_ram(struct loader *loader, const char *what, uint64_t offset, uint64_t start, uint64_t bytes)
{
    const struct guest_layout *layout = &loader->request->layout;
    uint64_t end = start + bytes;
    char size[FORMAT_BYTES_MAX], memory[FORMAT_BYTES_MAX];

    if (end >= start && (guest_layout_usable(layout, gpa(start), bytes) || in_display_memory(start, end))) {
        return STATUS_OK;
    }
    format_bytes(size, bytes);
    if (start >= GUEST_LEGACY_END && end >= start && end <= GUEST_RAM_LOW_MAX) {
        return loader_fail(loader, STATUS_NO_MEMORY, offset,
                           "%s needs %s from 0x%" PRIx64 " and the guest's memory is %s: write memory = %uM or more",
                           what, size, start, format_bytes(memory, layout->low_bytes + layout->high_bytes),
                           (unsigned)(align_up(end, MIB) / MIB));
    }
    return loader_fail(loader, STATUS_NO_MEMORY, offset,
                       "%s wants %s at 0x%" PRIx64 ", which is not all RAM on a PC (639 KiB..1 MiB and 3..4 GiB are "
                       "not): link it elsewhere",
                       what, size, start);
}

static enum status require_free(struct loader *loader, const char *what, uint64_t offset, uint64_t start,
                                uint64_t bytes)
{
    struct plan_reserved range;
    const char *name;

    if (!find_occupant(loader, start, start + bytes, &range, &name)) {
        return STATUS_OK;
    }
    return loader_fail(loader, STATUS_MALFORMED, offset,
                       "%s at 0x%" PRIx64 "..0x%" PRIx64 " overlaps %s at 0x%" PRIx64 "..0x%" PRIx64
                       ": link them apart",
                       what, start, start + bytes, name, range.start, range.end);
}

enum status plan_copy(struct loader *loader, const char *what, uint64_t offset, struct load_copy copy)
{
    struct load_plan *plan = loader->plan;
    enum status status = plan_require_ram(loader, what, offset, copy.to.value, copy.memory_bytes);

    if (status == STATUS_OK) {
        status = require_free(loader, what, offset, copy.to.value, copy.memory_bytes);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (plan->copy_count == LOADER_COPIES_MAX) {
        return loader_fail(loader, STATUS_NO_SPACE, offset,
                           "more than %u pieces to load: use fewer segments or modules", LOADER_COPIES_MAX);
    }
    loader->copy_names[plan->copy_count] = what;
    plan->copies[plan->copy_count++] = copy;
    return STATUS_OK;
}

void plan_reserve(struct loader *loader, uint64_t start, uint64_t bytes)
{
    CHECK_OP(loader->reserved_count, <, PLAN_RESERVED_MAX);
    loader->reserved[loader->reserved_count++] = (struct plan_reserved){start, start + bytes};
}

/* ---- Finding room ---- */

/* Within [low, high), all RAM. Each step jumps over one occupant, so there are no more steps than occupants. */
static bool find_within(const struct loader *loader, uint64_t bytes, uint64_t alignment, uint64_t low, uint64_t high,
                        enum plan_end end, uint64_t *start)
{
    uint64_t at = end == PLAN_LOWEST ? align_up(low, alignment) : align_down(high - bytes, alignment);

    for (uint32_t step = 0; step <= LOADER_COPIES_MAX + PLAN_RESERVED_MAX; step++) {
        struct plan_reserved occupant;
        const char *name;

        if (at < low || at > high || bytes > high - at) {
            return false;
        }
        if (!find_occupant(loader, at, at + bytes, &occupant, &name)) {
            *start = at;
            return true;
        }
        if (end == PLAN_HIGHEST && occupant.start < bytes) {
            return false;
        }
        at = end == PLAN_LOWEST ? align_up(occupant.end, alignment) : align_down(occupant.start - bytes, alignment);
    }
    return false;
}

bool plan_find(const struct loader *loader, uint64_t bytes, uint64_t alignment, uint64_t low, uint64_t high,
               enum plan_end end, uint64_t *start)
{
    const struct guest_layout *layout = &loader->request->layout;

    for (uint32_t i = 0; i < layout->e820_count; i++) {
        /* e820 entries ascend. */
        const struct e820_entry *entry = &layout->e820[end == PLAN_LOWEST ? i : layout->e820_count - 1 - i];
        uint64_t from = max_u64(low, entry->start);
        uint64_t to = min_u64(high, entry->start + entry->bytes);

        if (entry->type == E820_RAM && from < to && bytes <= to - from &&
            find_within(loader, bytes, alignment, from, to, end, start)) {
            return true;
        }
    }
    return false;
}

uint64_t plan_occupied_end(const struct loader *loader)
{
    uint64_t end = GUEST_LEGACY_END;

    for (uint32_t i = 0; i < loader->plan->copy_count; i++) {
        end = max_u64(end, copy_end(&loader->plan->copies[i]));
    }
    for (uint32_t i = 0; i < loader->reserved_count; i++) {
        end = max_u64(end, loader->reserved[i].end);
    }
    return end;
}

static enum status fail_module(struct loader *loader, uint32_t index, uint64_t low)
{
    uint64_t bytes = loader->request->modules[index].bytes.bytes;
    char size[FORMAT_BYTES_MAX];

    format_bytes(size, bytes);
    if (low > GUEST_RAM_LOW_MAX || bytes > GUEST_RAM_LOW_MAX - low) {
        return loader_fail(loader, STATUS_NO_MEMORY, PLAN_NOT_IN_FILE,
                           "module %u (%s) does not fit between 0x%" PRIx64
                           " and 3 GiB, where this protocol's modules lie: make the modules smaller",
                           index + 1, size, low);
    }
    return loader_fail(loader, STATUS_NO_MEMORY, PLAN_NOT_IN_FILE,
                       "module %u (%s) does not fit above the kernel: write memory = %uM or more", index + 1, size,
                       (unsigned)(align_up(low + bytes + LOADER_BLOB_BYTES, MIB) / MIB));
}

static enum status place_module(struct loader *loader, uint32_t index, uint64_t low)
{
    struct span bytes = loader->request->modules[index].bytes;
    uint64_t start = 0;

    /* 4 GiB: all protocols but one give modules 32-bit addresses. Above a kernel that asks for the highest place there
     * is no room, whatever the guest's memory. */
    if (!plan_find(loader, max_u64(bytes.bytes, 1), PAGE_BYTES, low, GUEST_RAM_HIGH_START, PLAN_LOWEST, &start) &&
        !plan_find(loader, max_u64(bytes.bytes, 1), PAGE_BYTES, GUEST_LEGACY_END, GUEST_RAM_HIGH_START, PLAN_LOWEST,
                   &start)) {
        return fail_module(loader, index, low);
    }
    loader->module_addresses[index] = start;
    if (bytes.bytes == 0) {
        return STATUS_OK;
    }
    return plan_copy(loader, "a module", PLAN_NOT_IN_FILE,
                     (struct load_copy){gpa(start), bytes.base, bytes.bytes, bytes.bytes});
}

enum status plan_modules(struct loader *loader)
{
    uint64_t low = align_up(plan_occupied_end(loader), PAGE_BYTES);

    for (uint32_t i = 0; i < loader->request->module_count; i++) {
        enum status status = place_module(loader, i, low);

        if (status != STATUS_OK) {
            return status;
        }
        low = max_u64(low, align_up(loader->module_addresses[i] + loader->request->modules[i].bytes.bytes, PAGE_BYTES));
    }
    return STATUS_OK;
}

/* Below the EBDA where there is room, else at the top of low RAM. */
static bool find_low(const struct loader *loader, uint64_t bytes, uint64_t high, uint64_t *start)
{
    return plan_find(loader, bytes, PAGE_BYTES, PLAN_LOWEST_FREE, high, PLAN_HIGHEST, start) ||
           plan_find(loader, bytes, PAGE_BYTES, GUEST_LEGACY_END, GUEST_RAM_HIGH_START, PLAN_HIGHEST, start);
}

/* ---- The blob ---- */

enum status plan_blob_open(struct loader *loader, uint64_t high)
{
    struct load_plan *plan = loader->plan;

    plan->blob_used = 0;
    memset(plan->blob, 0, sizeof(plan->blob));
    if (!find_low(loader, LOADER_BLOB_BYTES, high, &loader->blob_address)) {
        return loader_fail(loader, STATUS_NO_MEMORY, PLAN_NOT_IN_FILE,
                           "no room for %u KiB of boot information beside the kernel: give the guest more memory",
                           (unsigned)(LOADER_BLOB_BYTES / KIB));
    }
    loader->blob_copy = plan->copy_count;
    return plan_copy(loader, "the boot information", PLAN_NOT_IN_FILE,
                     (struct load_copy){gpa(loader->blob_address), plan->blob, 0, LOADER_BLOB_BYTES});
}

enum status plan_blob_take(struct loader *loader, uint64_t bytes, uint64_t alignment, void **memory, uint64_t *address)
{
    uint64_t offset = align_up(loader->plan->blob_used, alignment);

    /* Even where it fails the results are defined. */
    *memory = loader->plan->blob;
    *address = loader->blob_address;
    if (offset > LOADER_BLOB_BYTES || bytes > LOADER_BLOB_BYTES - offset) {
        return loader_fail(loader, STATUS_NO_SPACE, PLAN_NOT_IN_FILE,
                           "the boot information passes %u KiB: shorten the command line or the module arguments",
                           (unsigned)(LOADER_BLOB_BYTES / KIB));
    }
    loader->plan->blob_used = (uint32_t)(offset + bytes);
    *memory = &loader->plan->blob[offset];
    *address = loader->blob_address + offset;
    return STATUS_OK;
}

/* NetBSD's PVH entry ends its copy of the command line at four bytes of zero. */
#define STRING_END_BYTES 4u

enum status plan_blob_two_strings(struct loader *loader, struct text first, struct text second, uint64_t *address)
{
    uint64_t between = first.length != 0 && second.length != 0 ? 1 : 0;
    void *memory;
    enum status status =
        plan_blob_take(loader, first.length + between + second.length + STRING_END_BYTES, 1, &memory, address);
    char *to = memory;

    if (status != STATUS_OK) {
        return status;
    }
    to += text_copy(first, to, first.length + 1);
    if (between != 0) {
        *to++ = ' ';
    }
    text_copy(second, to, second.length + 1);
    return STATUS_OK;
}

enum status plan_blob_string(struct loader *loader, struct text text, uint64_t *address)
{
    return plan_blob_two_strings(loader, text, (struct text){NULL, 0}, address);
}

/*
 * What kernels without ACPI or e820 look for in page 0, as a PC's firmware leaves it:
 *
 *   0x000   interrupt vectors, which lead to hv/dev/bios_rom.h: there is no BIOS, and each says so
 *   0x400   the BIOS data area: the first serial port, the EBDA's segment, the KiB of memory below it, an empty
 *           keyboard buffer, and the text display in mode 3, whose memory and cursor exist (hv/dev/crtc.h)
 *
 * A kernel that loads there comes first: then there is none of it.
 */
#define BIOS_DATA_START 0ULL
#define BIOS_DATA_END 0x500ULL
#define LOW_KIB (GUEST_EBDA_START / KIB)

/* IBM Personal System/2 and Personal Computer BIOS Interface Technical Reference, section 3 "Data Areas". */
static const struct {
    uint16_t address;
    uint16_t value;
} bios_data[] = {
    {0x400, 0x3f8}, /* COM1 */
    {0x40e, GUEST_EBDA_START >> 4},
    {0x410, 0x0222}, /* equipment: a serial port, an 80-column display, an x87 */
    {0x413, LOW_KIB},
    {0x41a, 0x1e}, /* keyboard buffer: head, tail; start, end below */
    {0x41c, 0x1e},
    {0x449, 0x5003}, /* video mode 3, and 80 (of a word): columns */
    {0x44c, 4096},   /* bytes of a screen */
    {0x463, 0x3d4},  /* CRT controller */
    {0x480, 0x1e},
    {0x482, 0x3e},
    {0x484, 0x1018}, /* rows less one, and 16 (of a word): the height of a character */
};

/* `memory` begins at address 0. */
static void put_u16(uint8_t *memory, uint64_t address, uint16_t value)
{
    memcpy(memory + address, &value, sizeof(value));
}

static void put_vectors(uint8_t *memory)
{
    for (uint32_t vector = 0; vector < BIOS_VECTORS; vector++) {
        uint16_t offset = bios_vector(vector);

        put_u16(memory, vector * 4, offset);
        put_u16(memory, vector * 4 + 2, offset == 0 ? 0 : BIOS_SEGMENT);
    }
}

static enum status put_bios_data(struct loader *loader)
{
    struct plan_reserved occupant;
    const char *name;
    uint64_t unused;
    void *memory;
    enum status status;

    if (find_occupant(loader, BIOS_DATA_START, BIOS_DATA_END, &occupant, &name)) {
        return STATUS_OK;
    }
    status = plan_blob_take(loader, BIOS_DATA_END, 8, &memory, &unused);
    if (status != STATUS_OK) {
        return status;
    }
    put_vectors(memory);
    for (uint32_t i = 0; i < ARRAY_COUNT(bios_data); i++) {
        put_u16(memory, bios_data[i].address, bios_data[i].value);
    }
    return plan_copy(loader, "the BIOS data area", PLAN_NOT_IN_FILE,
                     (struct load_copy){gpa(BIOS_DATA_START), memory, BIOS_DATA_END, BIOS_DATA_END});
}

/* Its whole capacity was kept free until now; what it holds is known only here. */
enum status plan_blob_close(struct loader *loader)
{
    struct load_copy *copy = &loader->plan->copies[loader->blob_copy];
    enum status status = put_bios_data(loader);

    copy->bytes = loader->plan->blob_used;
    copy->memory_bytes = loader->plan->blob_used;
    return status;
}

/* ---- The stack ---- */

/*
 * The top of the stack. At a function's first instruction the i386 ABI wants esp + 4, and the x86-64 ABI wants rsp + 8,
 * to be a multiple of 16:
 *
 *   top - 32      -28         -24         -20         -16         -12 ...
 *   |             |           | 64: rip   |           |
 *                                         | 32: eip   | argument  |
 */
#define FRAME_WORDS 8u
#define FRAME_BYTES (FRAME_WORDS * sizeof(uint32_t))
#define FRAME_ARGUMENT 4u
#define FRAME_POINTER_32 20u
#define FRAME_POINTER_64 24u

enum status plan_stack(struct loader *loader, uint32_t argument, enum config_mode mode, uint64_t *pointer)
{
    uint64_t start, unused;
    void *frame;
    enum status status = plan_blob_take(loader, FRAME_BYTES, 8, &frame, &unused);

    if (status != STATUS_OK) {
        return status;
    }
    if (!find_low(loader, PLAN_STACK_BYTES, GUEST_EBDA_START, &start)) {
        return loader_fail(loader, STATUS_NO_MEMORY, PLAN_NOT_IN_FILE,
                           "no room for a 16 KiB stack beside the kernel: give the guest more memory");
    }
    ((uint32_t *)frame)[FRAME_ARGUMENT] = argument;
    *pointer = start + PLAN_STACK_BYTES - (mode == MODE_LONG64 ? FRAME_POINTER_64 : FRAME_POINTER_32);
    status = plan_copy(loader, "the stack", PLAN_NOT_IN_FILE,
                       (struct load_copy){gpa(start), loader->plan->blob, 0, PLAN_STACK_BYTES - FRAME_BYTES});
    if (status != STATUS_OK) {
        return status;
    }
    return plan_copy(loader, "the stack's first frame", PLAN_NOT_IN_FILE,
                     (struct load_copy){gpa(start + PLAN_STACK_BYTES - FRAME_BYTES), frame, FRAME_BYTES, FRAME_BYTES});
}

/* ---- Entry states ---- */

static enum status put_gdt(struct loader *loader, uint16_t code_selector, uint64_t code_descriptor)
{
    struct entry_state *entry = &loader->plan->entry;
    void *memory;
    uint64_t address;
    enum status status = plan_blob_take(loader, GDT_ENTRIES * sizeof(uint64_t), sizeof(uint64_t), &memory, &address);
    uint64_t *gdt = memory;

    if (status != STATUS_OK) {
        return status;
    }
    gdt[code_selector / 8u] = code_descriptor;
    gdt[code_selector / 8u + 1] = DESCRIPTOR_DATA;
    entry->cs_selector = code_selector;
    entry->data_selector = (uint16_t)(code_selector + 8);
    entry->gdt = gpa(address);
    entry->gdt_bytes = GDT_ENTRIES * sizeof(uint64_t);
    return STATUS_OK;
}

enum status plan_enter_protected(struct loader *loader, uint64_t rip, uint16_t code_selector)
{
    struct entry_state *entry = &loader->plan->entry;

    entry->mode = MODE_PROTECTED32;
    entry->rip = rip;
    entry->rflags = RFLAGS_FIXED;
    if (entry->gpr[ENTRY_RSP] == 0) {
        entry->gpr[ENTRY_RSP] = LOW_STACK;
    }
    return put_gdt(loader, code_selector, DESCRIPTOR_CODE32);
}

/*
 * Six pages in a row: PML4, PDPT, and a page directory for each of the four GiBs. 2 MiB leaves, because a guest's CPU
 * need not have 1 GiB pages.
 */
static enum status put_identity_map(struct loader *loader, uint64_t *root)
{
    void *memory;
    uint64_t address;
    enum status status =
        plan_blob_take(loader, (2 + IDENTITY_GIBS) * (uint64_t)PAGE_BYTES, PAGE_BYTES, &memory, &address);
    uint64_t *tables = memory;

    if (status != STATUS_OK) {
        return status;
    }
    tables[0] = (address + PAGE_BYTES) | ENTRY_PRESENT_WRITE;
    for (uint32_t i = 0; i < IDENTITY_GIBS; i++) {
        tables[TABLE_ENTRIES + i] = (address + (2 + i) * (uint64_t)PAGE_BYTES) | ENTRY_PRESENT_WRITE;
    }
    for (uint32_t i = 0; i < IDENTITY_GIBS * TABLE_ENTRIES; i++) {
        tables[2 * TABLE_ENTRIES + i] = i * IDENTITY_LEAF | ENTRY_LARGE | ENTRY_PRESENT_WRITE;
    }
    *root = address;
    return STATUS_OK;
}

enum status plan_enter_long(struct loader *loader, uint64_t rip, uint16_t code_selector)
{
    struct entry_state *entry = &loader->plan->entry;
    enum status status = put_identity_map(loader, &entry->cr3);

    if (status != STATUS_OK) {
        return status;
    }
    if (rip >= IDENTITY_GIBS * GIB) {
        return loader_fail(loader, STATUS_UNSUPPORTED, PLAN_NOT_IN_FILE,
                           "the 64-bit entry 0x%" PRIx64 " lies above the identity map of 4 GiB: link it lower", rip);
    }
    entry->mode = MODE_LONG64;
    entry->rip = rip;
    entry->rflags = RFLAGS_FIXED;
    return put_gdt(loader, code_selector, DESCRIPTOR_CODE64);
}

/* ---- Memory sizes ---- */

uint32_t plan_memory_lower_kib(const struct loader *loader)
{
    return (uint32_t)(min_u64(loader->request->layout.low_bytes, GUEST_EBDA_START) / KIB);
}

uint32_t plan_memory_upper_kib(const struct loader *loader)
{
    uint64_t low = loader->request->layout.low_bytes;

    return low <= GUEST_LEGACY_END ? 0 : (uint32_t)((low - GUEST_LEGACY_END) / KIB);
}
