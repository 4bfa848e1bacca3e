/* SPDX-License-Identifier: MIT */
#include "guest-loader/elf_symbols.h"

#include "hv/base/memory.h"

#define CLASS_OFFSET 4u
#define CLASS_32 1u
#define CLASS_64 2u
#define SECTION_SYMTAB 2u /* gABI 4.1, figure 4-9 */
#define SEGMENT_LOAD 1u   /* figure 5-2 */
#define SYMBOL_NOTYPE 0u  /* figure 4-17 */
#define SYMBOL_FUNC 2u
#define SYMBOL_TYPE(info) ((info)&0x0fu)
#define SECTION_UNDEFINED 0u
#define SECTION_RESERVED 0xff00u /* figure 4-7: SHN_LORESERVE */

/* Where a field is, and how many bytes it has. gABI 4.1, figures 4-3, 4-8, 4-15, 5-1. */
struct place {
    uint8_t at, bytes;
};

struct layout {
    struct place segments, segment_bytes, segment_count;
    struct place sections, section_bytes, section_count;
    struct place section_type, section_offset, section_size, section_link;
    struct place segment_type, segment_virtual, segment_physical, segment_memory;
    struct place name, value, size, info, section;
    uint8_t symbol_bytes;
};

static const struct layout layouts[] = {
    {.segments = {28, 4},
     .segment_bytes = {42, 2},
     .segment_count = {44, 2},
     .sections = {32, 4},
     .section_bytes = {46, 2},
     .section_count = {48, 2},
     .section_type = {4, 4},
     .section_offset = {16, 4},
     .section_size = {20, 4},
     .section_link = {24, 4},
     .segment_type = {0, 4},
     .segment_virtual = {8, 4},
     .segment_physical = {12, 4},
     .segment_memory = {20, 4},
     .name = {0, 4},
     .value = {4, 4},
     .size = {8, 4},
     .info = {12, 1},
     .section = {14, 2},
     .symbol_bytes = 16},
    {.segments = {32, 8},
     .segment_bytes = {54, 2},
     .segment_count = {56, 2},
     .sections = {40, 8},
     .section_bytes = {58, 2},
     .section_count = {60, 2},
     .section_type = {4, 4},
     .section_offset = {24, 8},
     .section_size = {32, 8},
     .section_link = {40, 4},
     .segment_type = {0, 4},
     .segment_virtual = {16, 8},
     .segment_physical = {24, 8},
     .segment_memory = {40, 8},
     .name = {0, 4},
     .value = {8, 8},
     .size = {16, 8},
     .info = {4, 1},
     .section = {6, 2},
     .symbol_bytes = 24},
};

static const struct layout *layout_of(const struct elf_symbols *symbols)
{
    return &layouts[symbols->is_64 ? 1 : 0];
}

/* 0 where the field is not in the span. */
static uint64_t field(struct span span, uint64_t base, struct place place)
{
    uint64_t value = 0;

    return span_holds(span, base, 0) && span_copy(span, base + place.at, &value, place.bytes) ? value : 0;
}

static bool recognize(struct span file, bool *is_64)
{
    static const uint8_t magic[] = {0x7f, 'E', 'L', 'F'};
    uint8_t class = 0;

    if (!span_holds(file, 0, sizeof(magic)) || memcmp(file.base, magic, sizeof(magic)) != 0 ||
        !span_read_u8(file, CLASS_OFFSET, &class)) {
        return false;
    }
    *is_64 = class == CLASS_64;
    return class == CLASS_32 || class == CLASS_64;
}

void elf_symbols_open(struct span file, struct elf_symbols *symbols)
{
    const struct layout *layout;
    uint64_t table, bytes, count;

    *symbols = (struct elf_symbols){.file = file};
    if (!recognize(file, &symbols->is_64)) {
        return;
    }
    layout = layout_of(symbols);
    table = field(file, 0, layout->sections);
    bytes = field(file, 0, layout->section_bytes);
    count = field(file, 0, layout->section_count);
    for (uint64_t i = 0; i < count && table <= file.bytes; i++) {
        uint64_t header = table + i * bytes;
        uint64_t names = table + field(file, header, layout->section_link) * bytes;

        if (field(file, header, layout->section_type) != SECTION_SYMTAB) {
            continue;
        }
        symbols->table =
            span_part(file, field(file, header, layout->section_offset), field(file, header, layout->section_size));
        symbols->names =
            span_part(file, field(file, names, layout->section_offset), field(file, names, layout->section_size));
        symbols->count = (uint32_t)min_u64(symbols->table.bytes / layout->symbol_bytes, ELF_SYMBOLS_MAX);
        return;
    }
}

/* Functions, and labels of assembly: defined, and not of a file, a section or data. */
static bool names_code(const struct elf_symbols *symbols, uint64_t at)
{
    const struct layout *layout = layout_of(symbols);
    uint64_t type = SYMBOL_TYPE(field(symbols->table, at, layout->info));
    uint64_t section = field(symbols->table, at, layout->section);

    return (type == SYMBOL_FUNC || type == SYMBOL_NOTYPE) && section != SECTION_UNDEFINED &&
           section < SECTION_RESERVED && field(symbols->table, at, layout->name) != 0;
}

static bool holds(uint64_t value, uint64_t size, uint64_t address)
{
    return address >= value && address - value < (size != 0 ? size : ELF_SYMBOL_REACH);
}

static struct text name_at(const struct elf_symbols *symbols, uint64_t offset)
{
    struct text name = {.start = (const char *)symbols->names.base + offset};

    while (name.length < ELF_SYMBOL_NAME_MAX && offset + name.length < symbols->names.bytes &&
           name.start[name.length] != '\0') {
        name.length++;
    }
    return name;
}

/* The nearest symbol before the address that reaches so far. */
static bool find_linked(const struct elf_symbols *symbols, uint64_t address, struct text *name, uint64_t *offset)
{
    const struct layout *layout = layout_of(symbols);
    uint64_t nearest = UINT64_MAX;

    for (uint32_t i = 0; i < symbols->count; i++) {
        uint64_t at = (uint64_t)i * layout->symbol_bytes;
        uint64_t value = field(symbols->table, at, layout->value);

        if (value <= address && address - value < nearest && names_code(symbols, at) &&
            holds(value, field(symbols->table, at, layout->size), address)) {
            uint64_t place = field(symbols->table, at, layout->name);

            if (place < symbols->names.bytes) {
                nearest = address - value;
                *name = name_at(symbols, place);
            }
        }
    }
    *offset = nearest;
    return nearest != UINT64_MAX;
}

/* Where an address in physical memory is linked: a kernel runs there before it has its page tables. */
static bool linked_for(const struct elf_symbols *symbols, uint64_t physical, uint64_t *address)
{
    const struct layout *layout = layout_of(symbols);
    uint64_t table = field(symbols->file, 0, layout->segments);
    uint64_t bytes = field(symbols->file, 0, layout->segment_bytes);
    uint64_t count = field(symbols->file, 0, layout->segment_count);

    for (uint64_t i = 0; i < count && table <= symbols->file.bytes; i++) {
        uint64_t header = table + i * bytes;
        uint64_t start = field(symbols->file, header, layout->segment_physical);

        if (field(symbols->file, header, layout->segment_type) == SEGMENT_LOAD && physical >= start &&
            physical - start < field(symbols->file, header, layout->segment_memory)) {
            *address = physical - start + field(symbols->file, header, layout->segment_virtual);
            return *address != physical;
        }
    }
    return false;
}

bool elf_symbols_find(const struct elf_symbols *symbols, uint64_t address, struct text *name, uint64_t *offset)
{
    uint64_t linked;

    return find_linked(symbols, address, name, offset) ||
           (linked_for(symbols, address, &linked) && find_linked(symbols, linked, name, offset));
}
