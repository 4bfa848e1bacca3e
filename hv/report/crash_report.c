/* SPDX-License-Identifier: MIT */
#include "hv/report/crash_report.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/vm_exit.h"
#include "hv/x86/registers.h"

#define REPORT_LINE_BYTES 84u /* with what stands before them they fit the 100 columns of a small screen */

#define CODE_BYTES 15u
#define BACKTRACE_FRAMES 12u
#define EXIT_TEXT_MAX 240u
#define ENTRY_PRESENT 1ULL
#define ENTRY_LARGE 0x80ULL
#define ENTRY_ADDRESS 0x000ffffffffff000ULL
#define CR3_PAE_ADDRESS 0xffffffe0ULL
#define PSE36_HIGH(entry) (((entry) >> 13 & 0xffULL) << 32)

/* SDM 3A 4.3, 4.4, 4.5: the tables from the top, what bits of the address select an entry, whether it may be a leaf. */
struct level {
    const char *name;
    uint8_t shift;
    uint8_t bits;
    bool leaf; /* by its bit 7 */
};

struct mode {
    uint32_t first;
    uint32_t entry_bytes;
    uint64_t root_mask;
};

static const struct level levels[] = {
    {"PML5", 48, 9, false}, {"PML4", 39, 9, false}, {"PDPT", 30, 9, true}, {"PD", 21, 9, true},  {"PT", 12, 9, false},
    {"PDPT", 30, 2, false}, {"PD", 21, 9, true},    {"PT", 12, 9, false},  {"PD", 22, 10, true}, {"PT", 12, 10, false},
};
static const struct mode mode_5_levels = {0, 8, ENTRY_ADDRESS};
static const struct mode mode_4_levels = {1, 8, ENTRY_ADDRESS};
static const struct mode mode_pae = {5, 8, CR3_PAE_ADDRESS};
static const struct mode mode_32 = {8, 4, 0xfffff000ULL};

static const struct mode *mode_of(const struct vcpu_system *system)
{
    if ((system->efer & EFER_LMA) != 0) {
        return (system->cr4 & CR4_LA57) != 0 ? &mode_5_levels : &mode_4_levels;
    }
    return (system->cr4 & CR4_PAE) != 0 ? &mode_pae : &mode_32;
}

uint64_t crash_report_rip(const struct vcpu *vcpu)
{
    const struct segment *cs = &vcpu->system.segments[SEGMENT_CS];
    bool long_code = (vcpu->system.efer & EFER_LMA) != 0 && (cs->access & SEGMENT_L) != 0;

    return long_code ? vcpu->rip : (uint32_t)(cs->base + vcpu->rip);
}

static bool is_leaf(const struct level *level, const struct mode *mode, const struct vcpu_system *system,
                    uint64_t entry)
{
    if (level->shift == 12) {
        return true;
    }
    return level->leaf && (entry & ENTRY_LARGE) != 0 && (mode != &mode_32 || (system->cr4 & CR4_PSE) != 0);
}

static uint64_t leaf_address(const struct level *level, const struct mode *mode, uint64_t entry, uint64_t linear)
{
    uint64_t offset_mask = (1ULL << level->shift) - 1;
    uint64_t base = entry & ENTRY_ADDRESS & ~offset_mask;

    if (mode == &mode_32 && level->shift != 12) {
        base = (entry & 0xffc00000ULL) | PSE36_HIGH(entry);
    }
    return base | (linear & offset_mask);
}

void crash_report_walk(const struct vcpu *vcpu, uint64_t linear, struct crash_walk *walk)
{
    const struct vcpu_system *system = &vcpu->system;
    const struct mode *mode = mode_of(system);
    uint64_t table = system->cr3 & mode->root_mask;

    *walk = (struct crash_walk){.end = CRASH_WALK_MAPPED, .address = gpa(linear)};
    if ((system->cr0 & CR0_PG) == 0) {
        return;
    }
    for (const struct level *level = &levels[mode->first]; walk->count < CRASH_WALK_STEPS; level++) {
        struct crash_step *step = &walk->steps[walk->count];

        step->name = level->name;
        step->index = (uint32_t)(linear >> level->shift & ((1ULL << level->bits) - 1));
        step->at = table + (uint64_t)step->index * mode->entry_bytes;
        if (!guest_memory_read(&vcpu->guest->memory, gpa(step->at), &step->entry, mode->entry_bytes)) {
            walk->end = CRASH_WALK_NOT_MEMORY;
            walk->address = gpa(step->at);
            return;
        }
        walk->count++;
        if ((step->entry & ENTRY_PRESENT) == 0) {
            walk->end = CRASH_WALK_NOT_PRESENT;
            return;
        }
        if (is_leaf(level, mode, system, step->entry)) {
            walk->address = gpa(leaf_address(level, mode, step->entry, linear));
            return;
        }
        table = step->entry & ENTRY_ADDRESS;
    }
}

const char *crash_report_walk_text(const struct crash_walk *walk, char *to, size_t capacity)
{
    size_t length = 0;

    to[0] = '\0';
    for (uint32_t i = 0; i < walk->count; i++) {
        const struct crash_step *step = &walk->steps[i];

        length += format_text(to + length, capacity - length, "%s[%u] 0x%" PRIx64 "%s", step->name, step->index,
                              step->entry, i + 1 < walk->count ? ", " : ": ");
    }
    switch (walk->end) {
    case CRASH_WALK_MAPPED:
        (void)format_text(to + length, capacity - length, "guest-physical 0x%" PRIx64, walk->address.value);
        break;
    case CRASH_WALK_NOT_PRESENT:
        (void)format_text(to + length, capacity - length, "%s", "not present");
        break;
    case CRASH_WALK_NOT_MEMORY:
        (void)format_text(to + length, capacity - length,
                          "the next table, at guest-physical 0x%" PRIx64 ", is not memory", walk->address.value);
        break;
    }
    return to;
}

/* Byte by byte: the instruction may cross into a page that is elsewhere, or nowhere. */
static bool read_code(const struct vcpu *vcpu, uint64_t linear, uint8_t *byte)
{
    struct crash_walk walk;

    crash_report_walk(vcpu, linear, &walk);
    return walk.end == CRASH_WALK_MAPPED && guest_memory_read(&vcpu->guest->memory, walk.address, byte, 1);
}

const char *crash_report_code_text(const struct vcpu *vcpu, char *to, size_t capacity)
{
    uint64_t linear = crash_report_rip(vcpu);
    size_t length = 0;
    uint8_t byte;

    to[0] = '\0';
    for (uint32_t i = 0; i < CODE_BYTES && read_code(vcpu, linear + i, &byte); i++) {
        length += format_text(to + length, capacity - length, "%s%02x", i == 0 ? "" : " ", byte);
    }
    if (length == 0) {
        (void)format_text(to, capacity, "%s", "no memory that can be read");
    }
    return to;
}

uint32_t crash_report_exits(const struct vcpu *vcpu)
{
    return (uint32_t)min_u64(vcpu->ring_next, EXIT_RING_ENTRIES);
}

static const struct exit_record *record_before_end(const struct vcpu *vcpu, uint32_t before)
{
    return &vcpu->ring[(vcpu->ring_next - before) & (EXIT_RING_ENTRIES - 1)];
}

static bool alike(const struct exit_record *one, const struct exit_record *other)
{
    return one->kind == other->kind && one->raw == other->raw && one->detail == other->detail && one->rip == other->rip;
}

/* How often the `length` exits from `before` on come again right after themselves, the first time counted. */
static uint32_t repeats(const struct vcpu *vcpu, uint32_t before, uint32_t length)
{
    uint32_t times = 1;

    while ((times + 1) * length <= before) {
        for (uint32_t i = 0; i < length; i++) {
            if (!alike(record_before_end(vcpu, before - i), record_before_end(vcpu, before - times * length - i))) {
                return times;
            }
        }
        times++;
    }
    return times;
}

/* The pattern that takes the most exits away; a single exit where none repeats. */
static uint32_t pattern_at(const struct vcpu *vcpu, uint32_t before, uint32_t *times)
{
    uint32_t best = 1;

    *times = repeats(vcpu, before, 1);
    for (uint32_t length = 2; length <= CRASH_PATTERN_MAX; length++) {
        uint32_t count = 2 * length <= before ? repeats(vcpu, before, length) : 1;

        if (count > 1 && count * length > *times * best) {
            *times = count;
            best = length;
        }
    }
    return best;
}

static size_t put_exit(const struct exit_record *record, char *to, size_t capacity)
{
    return format_text(to, capacity, "%s (0x%x) 0x%" PRIx64 " at 0x%" PRIx64,
                       exit_kind_name((enum exit_kind)record->kind), record->raw, record->detail, record->rip);
}

/* One entry: a pattern and how often it came. */
static size_t put_pattern(const struct vcpu *vcpu, uint32_t before, uint32_t length, uint32_t times, char *to,
                          size_t capacity)
{
    size_t used = format_text(to, capacity, "-%u", before);

    if (times * length > 1) {
        used += format_text(to + used, capacity - used, "..-%u", before - times * length + 1);
    }
    if (length > 1) {
        used += format_text(to + used, capacity - used, " %u times:", times);
    }
    for (uint32_t i = 0; i < length; i++) {
        used += format_text(to + used, capacity - used, "%s", i == 0 ? " " : ", ");
        used += put_exit(record_before_end(vcpu, before - i), to + used, capacity - used);
    }
    return used;
}

const char *crash_report_exits_text(const struct vcpu *vcpu, uint32_t *before, size_t width, char *to, size_t capacity)
{
    size_t length = 0;

    to[0] = '\0';
    while (*before != 0) {
        char text[EXIT_TEXT_MAX];
        uint32_t times;
        uint32_t pattern = pattern_at(vcpu, *before, &times);
        size_t bytes = put_pattern(vcpu, *before, pattern, times, text, sizeof(text));

        if (length != 0 && length + bytes + 2 > width) {
            break;
        }
        length += format_text(to + length, capacity - length, "%s%s", length == 0 ? "" : "; ", text);
        *before -= pattern * times;
    }
    return to;
}

/* How many lines entries of so many bytes take, as crash_report_exits_text() fills them. */
static uint32_t lines_of(const uint16_t *bytes, uint32_t count)
{
    uint32_t lines = 0;
    size_t length = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (length == 0 || length + bytes[i] + 2 > REPORT_LINE_BYTES) {
            lines++;
            length = bytes[i];
        } else {
            length += bytes[i] + 2u;
        }
    }
    return lines;
}

/* Where to begin so that the last exits take no more lines than there may be. Each entry is formatted once. */
static uint32_t first_exit_shown(const struct vcpu *vcpu)
{
    uint32_t begins[EXIT_RING_ENTRIES];
    uint16_t bytes[EXIT_RING_ENTRIES];
    char text[EXIT_TEXT_MAX];
    uint32_t count = 0;

    for (uint32_t before = crash_report_exits(vcpu); before != 0; count++) {
        uint32_t times;
        uint32_t pattern = pattern_at(vcpu, before, &times);

        begins[count] = before;
        bytes[count] = (uint16_t)put_pattern(vcpu, before, pattern, times, text, sizeof(text));
        before -= pattern * times;
    }
    for (uint32_t first = 0; first < count; first++) {
        if (lines_of(&bytes[first], count - first) <= CRASH_EXIT_LINES) {
            return begins[first];
        }
    }
    return 0;
}

void crash_report_log_exits(const struct vcpu *vcpu)
{
    uint32_t before = first_exit_shown(vcpu);
    char text[EXIT_TEXT_MAX];

    log_error("  last exits, by how long before the end: kind (CPU's code) detail at rip");
    while (before != 0) {
        log_error("  %s", crash_report_exits_text(vcpu, &before, REPORT_LINE_BYTES, text, sizeof(text)));
    }
}

/* --- Names, stack, callers --- */

const char *crash_report_name_text(const struct elf_symbols *symbols, uint64_t address, char *to, size_t capacity)
{
    struct text name;
    uint64_t offset;

    to[0] = '\0';
    if (symbols != NULL && elf_symbols_find(symbols, address, &name, &offset)) {
        (void)format_text(to, capacity, "%.*s+0x%" PRIx64, (int)name.length, name.start, offset);
    }
    return to;
}

static uint32_t word_bytes(const struct vcpu *vcpu)
{
    const struct segment *cs = &vcpu->system.segments[SEGMENT_CS];

    return (vcpu->system.efer & EFER_LMA) != 0 && (cs->access & SEGMENT_L) != 0 ? 8 : 4;
}

static uint64_t stack_address(const struct vcpu *vcpu, uint64_t offset)
{
    return word_bytes(vcpu) == 8 ? offset : (uint32_t)(vcpu->system.segments[SEGMENT_SS].base + (uint32_t)offset);
}

static bool read_word(const struct vcpu *vcpu, uint64_t linear, uint64_t *word)
{
    *word = 0;
    for (uint32_t i = 0; i < word_bytes(vcpu); i++) {
        if (!read_code(vcpu, linear + i, (uint8_t *)word + i)) {
            return false;
        }
    }
    return true;
}

bool crash_report_stack_text(const struct vcpu *vcpu, uint32_t line, char *to, size_t capacity)
{
    uint32_t bytes = word_bytes(vcpu);
    uint64_t at = stack_address(vcpu, vcpu->gpr[GPR_RSP]) + (uint64_t)line * CRASH_STACK_WORDS * bytes;
    size_t length = format_text(to, capacity, "%" PRIx64 ":", at);
    uint64_t word;
    uint32_t i;

    for (i = 0; i < CRASH_STACK_WORDS && read_word(vcpu, at + i * bytes, &word); i++) {
        length += bytes == 8 ? format_text(to + length, capacity - length, " %016" PRIx64, word)
                             : format_text(to + length, capacity - length, " %08" PRIx64, word);
    }
    if (i == 0 && line == 0) {
        (void)format_text(to, capacity, "0x%" PRIx64 " is no memory that can be read", at);
    }
    return i != 0 || line == 0;
}

static size_t put_place(const struct elf_symbols *symbols, uint64_t address, const char *before, char *to,
                        size_t capacity)
{
    char name[ELF_SYMBOL_NAME_MAX + 24];

    (void)crash_report_name_text(symbols, address, name, sizeof(name));
    return format_text(to, capacity, "%s0x%" PRIx64 "%s%s%s", before, address, name[0] == '\0' ? "" : " (", name,
                       name[0] == '\0' ? "" : ")");
}

/* Frames lie one above the other; what does not is no frame. */
const char *crash_report_backtrace_text(const struct vcpu *vcpu, const struct elf_symbols *symbols, char *to,
                                        size_t capacity)
{
    uint64_t frame = vcpu->gpr[GPR_RBP];
    size_t length = put_place(symbols, vcpu->rip, "", to, capacity);
    uint64_t caller, next;

    for (uint32_t depth = 0; depth < BACKTRACE_FRAMES && frame != 0; depth++) {
        if (!read_word(vcpu, stack_address(vcpu, frame), &next) ||
            !read_word(vcpu, stack_address(vcpu, frame) + word_bytes(vcpu), &caller) || caller == 0) {
            break;
        }
        length += put_place(symbols, caller, " <- ", to + length, capacity - length);
        if (next <= frame) {
            break;
        }
        frame = next;
    }
    return to;
}
