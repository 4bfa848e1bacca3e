/* SPDX-License-Identifier: MIT */
/*
 * For tests and fuzzers of guest-loader: images built byte by byte, what every plan promises, and a guest memory into
 * which a plan is executed, so that tests read boot information where a guest would.
 */
#ifndef TESTS_UNIT_LOADER_SUPPORT_H
#define TESTS_UNIT_LOADER_SUPPORT_H

#include "guest-loader/loader.h"
#include "guest-loader/plan.h"
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/core/vcpu.h"

_Static_assert((uint32_t)ENTRY_RAX == GPR_RAX && (uint32_t)ENTRY_RCX == GPR_RCX && (uint32_t)ENTRY_RDX == GPR_RDX &&
                   (uint32_t)ENTRY_RBX == GPR_RBX && (uint32_t)ENTRY_RSP == GPR_RSP && (uint32_t)ENTRY_RBP == GPR_RBP &&
                   (uint32_t)ENTRY_RSI == GPR_RSI && (uint32_t)ENTRY_RDI == GPR_RDI,
               "the loader numbers registers as hv/core does");

#define IMAGE_BYTES_MAX 65536u
#define ARENA_BYTES (64 * MIB)

struct image {
    uint8_t bytes[IMAGE_BYTES_MAX];
    uint64_t size;
};

static inline void put(struct image *image, uint64_t offset, uint64_t value, uint32_t bytes)
{
    CHECK_OP(offset + bytes, <=, IMAGE_BYTES_MAX);
    memcpy(&image->bytes[offset], &value, bytes);
    image->size = max_u64(image->size, offset + bytes);
}

static inline struct load_request request_of(const struct image *image, uint64_t memory_bytes)
{
    struct load_request request = {
        .kernel = {image->bytes, image->size},
        .name = text_of("kernel"),
        .cmdline = text_of("console=ttyS0"),
        .rsdp = gpa(GUEST_ACPI_START),
    };

    CHECK_OP(guest_layout_make(memory_bytes, &request.layout), ==, STATUS_OK);
    return request;
}

static inline void add_module(struct load_request *request, const char *bytes, uint64_t count, const char *arguments)
{
    request->modules[request->module_count++] =
        (struct load_module){{(const uint8_t *)bytes, count}, text_of(arguments)};
}

/* ---- What every plan promises ---- */

static inline bool lies_within(struct span span, const uint8_t *from, uint64_t bytes)
{
    return from >= span.base && (uint64_t)(from - span.base) <= span.bytes &&
           bytes <= span.bytes - (uint64_t)(from - span.base);
}

static inline bool has_source(const struct load_request *request, const struct load_plan *plan,
                              const struct load_copy *copy)
{
    struct span blob = {plan->blob, sizeof(plan->blob)};
    bool found = copy->bytes == 0 || lies_within(request->kernel, copy->from, copy->bytes) ||
                 lies_within(blob, copy->from, copy->bytes);

    for (uint32_t i = 0; i < request->module_count; i++) {
        found = found || lies_within(request->modules[i].bytes, copy->from, copy->bytes);
    }
    return found;
}

static inline bool in_display_memory_of_a_pc(const struct load_copy *copy)
{
    return copy->to.value >= 0xa0000 && copy->to.value + copy->memory_bytes <= 0xc0000;
}

static inline bool in_a_copy(const struct load_plan *plan, uint64_t address)
{
    for (uint32_t i = 0; i < plan->copy_count; i++) {
        if (address - plan->copies[i].to.value < plan->copies[i].memory_bytes) {
            return true;
        }
    }
    return false;
}

static inline uint64_t entry_address(const struct entry_state *entry)
{
    return entry->mode == MODE_REAL16 ? entry->rip + ((uint64_t)entry->cs_selector << 4) : entry->rip;
}

static inline void check_plan(const struct load_request *request, const struct load_plan *plan)
{
    CHECK_OP(plan->copy_count, <=, LOADER_COPIES_MAX);
    for (uint32_t i = 0; i < plan->copy_count; i++) {
        const struct load_copy *copy = &plan->copies[i];

        CHECK_OP(copy->bytes, <=, copy->memory_bytes);
        CHECK(guest_layout_usable(&request->layout, copy->to, copy->memory_bytes) || in_display_memory_of_a_pc(copy));
        CHECK(has_source(request, plan, copy));
        for (uint32_t j = 0; j < i; j++) {
            const struct load_copy *other = &plan->copies[j];

            CHECK(copy->to.value >= other->to.value + other->memory_bytes ||
                  other->to.value >= copy->to.value + copy->memory_bytes);
        }
    }
    CHECK(in_a_copy(plan, entry_address(&plan->entry)));
    CHECK(plan->entry.gdt_bytes == 0 || in_a_copy(plan, plan->entry.gdt.value));
    CHECK(plan->entry.mode != MODE_LONG64 || in_a_copy(plan, plan->entry.cr3));
    CHECK_OP(plan->entry.rflags, ==, 2);
}

/* ---- A guest's memory ---- */

static uint8_t arena[ARENA_BYTES];

/* What guest_create does: each copy, then zeroes. Memory starts as garbage, so that missing zeroes show. */
static inline void arena_load(const struct load_plan *plan)
{
    memset(arena, 0xa5, sizeof(arena));
    for (uint32_t i = 0; i < plan->copy_count; i++) {
        const struct load_copy *copy = &plan->copies[i];

        CHECK_OP(copy->to.value + copy->memory_bytes, <=, ARENA_BYTES);
        if (copy->bytes != 0) {
            memcpy(&arena[copy->to.value], copy->from, copy->bytes);
        }
        memset(&arena[copy->to.value + copy->bytes], 0, copy->memory_bytes - copy->bytes);
    }
}

static inline uint64_t arena_read(uint64_t address, uint32_t bytes)
{
    uint64_t value = 0;

    CHECK_OP(address + bytes, <=, ARENA_BYTES);
    memcpy(&value, &arena[address], bytes);
    return value;
}

static inline const char *arena_text(uint64_t address)
{
    CHECK_OP(address, <, ARENA_BYTES);
    return (const char *)&arena[address];
}

/* ---- Images ---- */

#define LINUX_SETUP_BYTES 0x400u
#define LINUX_CODE_BYTES 0x800u

/* A small bzImage: protocol 2.15, 64-bit entry, relocatable, preferred at 16 MiB, 1 MiB of init_size. */
static inline void make_linux(struct image *image)
{
    memset(image, 0, sizeof(*image));
    put(image, 0x1f1, 1, 1);
    put(image, 0x1f4, LINUX_CODE_BYTES / 16, 4);
    put(image, 0x1fe, 0xaa55, 2);
    put(image, 0x200, 0x6aeb, 2);
    put(image, 0x202, 0x53726448, 4);
    put(image, 0x206, 0x20f, 2);
    put(image, 0x20e, 0x100, 2);
    put(image, 0x211, 1, 1);
    put(image, 0x214, 0x100000, 4);
    put(image, 0x22c, 0x7fffffff, 4);
    put(image, 0x230, 0x200000, 4);
    put(image, 0x234, 1, 1);
    put(image, 0x235, 21, 1);
    put(image, 0x236, 0x7f, 2);
    put(image, 0x238, 2047, 4);
    put(image, 0x258, 0x1000000, 8);
    put(image, 0x260, 0x100000, 4);
    memcpy(&image->bytes[0x300], "9.8.7-test (builder)", 21);
    memset(&image->bytes[LINUX_SETUP_BYTES], 0x90, LINUX_CODE_BYTES);
    image->size = LINUX_SETUP_BYTES + LINUX_CODE_BYTES;
}

struct elf_part {
    uint32_t type;
    uint64_t offset, virtual_address, physical_address, file_bytes, memory_bytes, alignment;
};

static inline void put_elf_part(struct image *image, bool is_64, uint64_t at, const struct elf_part *part)
{
    uint32_t word = is_64 ? 8 : 4;

    put(image, at, part->type, 4);
    put(image, at + (is_64 ? 8 : 4), part->offset, word);
    put(image, at + (is_64 ? 16 : 8), part->virtual_address, word);
    put(image, at + (is_64 ? 24 : 12), part->physical_address, word);
    put(image, at + (is_64 ? 32 : 16), part->file_bytes, word);
    put(image, at + (is_64 ? 40 : 20), part->memory_bytes, word);
    put(image, at + (is_64 ? 48 : 28), part->alignment, word);
}

#define ELF_PARTS_AT(is_64) ((is_64) ? 64u : 52u)
#define ELF_PART_BYTES(is_64) ((is_64) ? 56u : 32u)

/* An ELF executable of `count` parts; what they hold is put into the image by the caller. */
static inline void make_elf(struct image *image, bool is_64, uint64_t entry, const struct elf_part *parts,
                            uint32_t count)
{
    uint32_t word = is_64 ? 8 : 4;

    memset(image, 0, sizeof(*image));
    put(image, 0, 0x464c457f, 4);
    put(image, 4, is_64 ? 2 : 1, 1);
    put(image, 5, 1, 1);
    put(image, 6, 1, 1);
    put(image, 16, 2, 2);
    put(image, 18, is_64 ? 62 : 3, 2);
    put(image, 20, 1, 4);
    put(image, 24, entry, word);
    put(image, is_64 ? 32 : 28, ELF_PARTS_AT(is_64), word);
    put(image, is_64 ? 54 : 42, ELF_PART_BYTES(is_64), 2);
    put(image, is_64 ? 56 : 44, count, 2);
    for (uint32_t i = 0; i < count; i++) {
        put_elf_part(image, is_64, ELF_PARTS_AT(is_64) + i * ELF_PART_BYTES(is_64), &parts[i]);
        if (parts[i].type == 1 && parts[i].offset + parts[i].file_bytes <= IMAGE_BYTES_MAX) {
            image->size = max_u64(image->size, parts[i].offset + parts[i].file_bytes);
        }
    }
}

static inline void put_multiboot(struct image *image, uint64_t offset, uint32_t flags)
{
    put(image, offset, 0x1badb002, 4);
    put(image, offset + 4, flags, 4);
    put(image, offset + 8, 0u - (0x1badb002u + flags), 4);
}

static inline void put_multiboot2(struct image *image, uint64_t offset, uint32_t bytes)
{
    put(image, offset, 0xe85250d6, 4);
    put(image, offset + 4, 0, 4);
    put(image, offset + 8, bytes, 4);
    put(image, offset + 12, 0u - (0xe85250d6u + bytes), 4);
}

#endif
