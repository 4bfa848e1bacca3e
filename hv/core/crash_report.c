/* SPDX-License-Identifier: MIT */
#include "hv/core/crash_report.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/vm_exit.h"
#include "hv/x86/registers.h"

#define REPORT_LINE_BYTES 110u /* with what stands before them they fit the 128 columns of a usual screen */

#define CODE_BYTES 15u
#define EXIT_TEXT_MAX 120u
#define ENTRY_PRESENT 1ULL
#define ENTRY_LARGE 0x80ULL
#define ENTRY_ADDRESS 0x000ffffffffff000ULL
#define CR3_PAE_ADDRESS 0xffffffe0ULL
#define CR4_LA57_BIT (1ULL << 12)
#define CR4_PSE_BIT (1ULL << 4)
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
        return (system->cr4 & CR4_LA57_BIT) != 0 ? &mode_5_levels : &mode_4_levels;
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
    return level->leaf && (entry & ENTRY_LARGE) != 0 && (mode != &mode_32 || (system->cr4 & CR4_PSE_BIT) != 0);
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

const char *crash_report_exits_text(const struct vcpu *vcpu, uint32_t *before, char *to, size_t capacity)
{
    size_t length = 0;

    to[0] = '\0';
    while (*before != 0) {
        const struct exit_record *record = record_before_end(vcpu, *before);
        uint32_t last = *before;
        char text[EXIT_TEXT_MAX];
        char span[16] = "";
        size_t bytes;

        while (last > 1 && alike(record, record_before_end(vcpu, last - 1))) {
            last--;
        }
        if (last != *before) {
            (void)format_text(span, sizeof(span), "..-%u", last);
        }
        bytes = format_text(text, sizeof(text), "%s-%u%s %s (0x%x) 0x%" PRIx64 " at 0x%" PRIx64,
                            length == 0 ? "" : "; ", *before, span, exit_kind_name((enum exit_kind)record->kind),
                            record->raw, record->detail, record->rip);
        if (length != 0 && length + bytes >= capacity) {
            break;
        }
        length += format_text(to + length, capacity - length, "%s", text);
        *before = last - 1;
    }
    return to;
}

void crash_report_log_exits(const struct vcpu *vcpu)
{
    uint32_t before = crash_report_exits(vcpu);
    char text[REPORT_LINE_BYTES];

    log_error("  last exits, by how long before the end: kind (CPU's code) detail at rip");
    while (before != 0) {
        log_error("  %s", crash_report_exits_text(vcpu, &before, text, sizeof(text)));
    }
}
