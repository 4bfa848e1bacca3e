/* SPDX-License-Identifier: MIT */
#include "hv/plan/audit_devices.h"

#include "hv/base/format.h"

#define LEVELS_MAX 5u
#define LEAF_LEVEL_MAX 2u /* 1 GiB */
#define ENTRIES 512u
#define INDEX_BITS 9u
#define ADDRESS_BITS 0x000ffffffffff000ULL
#define TABLES_MAX 65536u /* in one tree: a loop ends here */
#define NO_TABLE 1ULL     /* at which there is none */

/* VT-d 9.1 "Root Entry", 9.3 "Context Entry", 9.9 "Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts":
 * pairs of words, present where bit 0 of the first is set. */
#define VTD_PRESENT 1ULL
#define VTD_TYPE(low) ((low) >> 2 & 3u) /* 0: translated, with no way around */
#define VTD_LEVELS(high) (2u + (unsigned)((high)&7u))
#define VTD_BUSES 256u
#define VTD_VECTORS 256u
#define VTD_LEVEL (1ULL << 4)
#define VTD_VECTOR(number) ((uint64_t)(number) << 16)
#define VTD_CPU(id) ((uint64_t)(id) << 40)
#define VTD_CPU_X2APIC(id) ((uint64_t)(id) << 32)
#define VTD_SOURCE(id) ((uint64_t)(id) | 1ULL << 18) /* all of the requester's ID is compared */
#define VTD_READ (1ULL << 0)
#define VTD_WRITE (1ULL << 1)
#define VTD_LARGE (1ULL << 7)

/* AMD-Vi 2.2.2.1 "Device Table Entry Format": four words; 2.2.3 "I/O Page Tables for Host Translations". */
#define AMDVI_DEVICES 65536u
#define AMDVI_WORDS 4u
#define AMDVI_VALID 3ULL /* the entry, and its translation */
#define AMDVI_LEVELS(word) ((unsigned)((word) >> 9 & 7u))
#define AMDVI_PRESENT (1ULL << 0)
#define AMDVI_READ (1ULL << 61)
#define AMDVI_WRITE (1ULL << 62)
#define AMDVI_INTERRUPTS_VALID (1ULL << 0)   /* word 2 */
#define AMDVI_INTERRUPT_CONTROL (3ULL << 60) /* 0: aborted */
#define AMDVI_INTERRUPTS_REMAPPED (2ULL << 60)
#define AMDVI_INTERRUPT_TABLE 0x000fffffffffffc0ULL
#define AMDVI_INTERRUPT_LENGTH(word) ((word) >> 1 & 15u)
#define AMDVI_INTERRUPT_LENGTH_32 5u
#define AMDVI_VECTOR(number) ((uint32_t)(number) << 16)
#define AMDVI_CPU(id) ((uint32_t)(id) << 8)

struct walk {
    const struct audit_devices_request *request;
    struct audit_devices_finding *finding;
    const struct audit_unit *unit;
    uint16_t device_id;
    uint64_t clean;      /* the root of a tree that maps nothing: looked at once; or NO_TABLE */
    uint64_t blocked[2]; /* AMD-Vi: words 0 and 2 of an entry that lets nothing through, nearly all of the 65536 */
};

__attribute__((format(printf, 2, 3))) static bool found(struct walk *walk, const char *form, ...)
{
    char what[AUDIT_SENTENCE_MAX / 2];
    va_list list;

    va_start(list, form);
    (void)format_list(what, sizeof(what), form, list);
    va_end(list);
    format_text(walk->finding->sentence, sizeof(walk->finding->sentence), "Device %04x:%02x:%02x.%x %s.",
                walk->unit->segment, walk->device_id >> 8, walk->device_id >> 3 & 31, walk->device_id & 7, what);
    return false;
}

static const uint64_t *words_at(const struct walk *walk, uint64_t at)
{
    return (const uint64_t *)(uintptr_t)(walk->request->window + at);
}

static bool is_ours(struct walk *walk, uint64_t at, uint64_t bytes)
{
    for (uint32_t i = 0; i < walk->request->hypervisor_count; i++) {
        const struct audit_span *span = &walk->request->hypervisor[i];

        if (at >= span->start && at < span->end && bytes <= span->end - at) {
            return true;
        }
    }
    return found(walk, "has a table at 0x%" PRIx64 ", outside the hypervisor's memory", at);
}

/* ---- a tree ---- */

static bool check_leaf(struct walk *walk, uint64_t address, uint64_t to, uint64_t bytes, bool write)
{
    for (uint32_t i = 0; i < walk->unit->grant_count; i++) {
        const struct audit_device_grant *grant = &walk->unit->grants[i];
        uint64_t offset = address - grant->start;

        if (grant->segment == walk->unit->segment && grant->device_id == walk->device_id && offset < grant->bytes &&
            bytes <= grant->bytes - offset && grant->backing + offset == to && (grant->write || !write)) {
            return true;
        }
    }
    return found(walk, "%s 0x%" PRIx64 " by its address 0x%" PRIx64 ", which was not granted",
                 write ? "can write to" : "can read", to, address);
}

/* What an entry says, in the terms of either format. */
struct entry {
    bool present, leaf, write;
    uint64_t to;
};

static struct entry read_entry(const struct walk *walk, uint64_t value, unsigned level)
{
    if (walk->unit->kind == AUDIT_VTD) {
        return (struct entry){(value & (VTD_READ | VTD_WRITE)) != 0, level == 0 || (value & VTD_LARGE) != 0,
                              (value & VTD_WRITE) != 0, value & ADDRESS_BITS};
    }
    return (struct entry){(value & AMDVI_PRESENT) != 0 && (value & (AMDVI_READ | AMDVI_WRITE)) != 0,
                          AMDVI_LEVELS(value) == 0, (value & AMDVI_WRITE) != 0, value & ADDRESS_BITS};
}

/* A link of AMD's says the level that it leads to; skipped levels are nothing that we make. */
static bool check_link(struct walk *walk, uint64_t value, unsigned level)
{
    if (level == 0 || (walk->unit->kind == AUDIT_AMDVI && AMDVI_LEVELS(value) != level)) {
        return found(walk, "has an entry 0x%" PRIx64 " at level %u, which leads astray", value, level);
    }
    return true;
}

static bool check_tree(struct walk *walk, uint64_t root, unsigned levels)
{
    uint64_t tables[LEVELS_MAX];
    uint32_t index[LEVELS_MAX];
    unsigned top = levels - 1;
    unsigned level = top;
    uint32_t left = TABLES_MAX;
    bool empty = true;

    if (levels < 2 || levels > LEVELS_MAX) {
        return found(walk, "has a tree of %u levels", levels);
    }
    if (root == walk->clean) {
        return true;
    }
    tables[top] = root;
    index[top] = 0;
    if (!is_ours(walk, root, PAGE_BYTES)) {
        return false;
    }
    walk->finding->tables++;
    while (index[top] != ENTRIES) {
        uint64_t value, address = 0, bytes = PAGE_BYTES << level * INDEX_BITS;
        struct entry entry;

        if (index[level] == ENTRIES) {
            index[++level]++;
            continue;
        }
        value = __atomic_load_n(&words_at(walk, tables[level])[index[level]], __ATOMIC_RELAXED);
        entry = read_entry(walk, value, level);
        for (unsigned above = level; above <= top; above++) {
            address |= (uint64_t)index[above] << (PAGE_SHIFT + above * INDEX_BITS);
        }
        if (!entry.present) {
            index[level]++;
            continue;
        }
        empty = false;
        if (entry.leaf) {
            if (level > LEAF_LEVEL_MAX) {
                return found(walk, "has a leaf at level %u", level);
            }
            if (!check_leaf(walk, address, entry.to, bytes, entry.write)) {
                return false;
            }
            index[level]++;
            continue;
        }
        if (!check_link(walk, value, level) || !is_ours(walk, entry.to, PAGE_BYTES)) {
            return false;
        }
        if (left-- == 0) {
            return found(walk, "has more tables than there can be; some point back");
        }
        walk->finding->tables++;
        tables[--level] = entry.to;
        index[level] = 0;
    }
    walk->clean = empty ? root : walk->clean;
    return true;
}

/* ---- VT-d ---- */

static bool check_context(struct walk *walk, const uint64_t *context)
{
    if ((context[0] & VTD_PRESENT) == 0) {
        return true;
    }
    walk->finding->let_through++;
    if (VTD_TYPE(context[0]) != 0) {
        return found(walk, "is let through without translation");
    }
    return check_tree(walk, context[0] & ADDRESS_BITS, VTD_LEVELS(context[1]));
}

static bool check_vtd_bus(struct walk *walk, uint64_t root)
{
    uint64_t contexts = root & ADDRESS_BITS;
    uint16_t bus = walk->device_id;

    if ((root & VTD_PRESENT) == 0) {
        return true;
    }
    if (!is_ours(walk, contexts, PAGE_BYTES)) {
        return false;
    }
    walk->finding->tables++;
    for (uint32_t i = 0; i < ENTRIES / 2; i++) {
        walk->device_id = (uint16_t)(bus | i);
        if (!check_context(walk, words_at(walk, contexts) + (size_t)i * 2)) {
            return false;
        }
    }
    return true;
}

/* An entry is as its device's owner was told, or absent. */
static bool check_vtd_vector(const struct walk *walk, uint32_t index)
{
    const uint64_t *entry = words_at(walk, walk->unit->vectors) + (size_t)index * 2;

    for (uint32_t i = 0; i < walk->unit->let_count; i++) {
        const struct audit_device_vectors *let = &walk->unit->let[i];
        uint32_t n = index - let->first;

        if (let->segment == walk->unit->segment && n < let->count &&
            entry[0] == (VTD_PRESENT | VTD_VECTOR(let->to[n].vector) | (let->to[n].level ? VTD_LEVEL : 0) |
                         (let->x2apic ? VTD_CPU_X2APIC(let->to[n].apic_id) : VTD_CPU(let->to[n].apic_id))) &&
            entry[1] == VTD_SOURCE(let->device_id)) {
            return true;
        }
    }
    return (entry[0] & VTD_PRESENT) == 0;
}

static bool check_vtd(struct walk *walk)
{
    const struct audit_unit *unit = walk->unit;

    if (!is_ours(walk, unit->table, PAGE_BYTES) || (unit->vectors != 0 && !is_ours(walk, unit->vectors, PAGE_BYTES))) {
        return false;
    }
    for (uint32_t i = 0; unit->vectors != 0 && i < VTD_VECTORS; i++) {
        if (!check_vtd_vector(walk, i)) {
            return found(walk, "or another one can raise interrupt %u, which was not granted", i);
        }
    }
    for (uint32_t bus = 0; bus < VTD_BUSES; bus++) {
        walk->device_id = (uint16_t)(bus << 8);
        if (!check_vtd_bus(walk, words_at(walk, unit->table)[(size_t)bus * 2])) {
            return false;
        }
    }
    return true;
}

/* ---- AMD-Vi ---- */

static bool check_vectors(struct walk *walk, const struct audit_device_vectors *let)
{
    const uint32_t *entries = (const uint32_t *)words_at(walk, let->table);

    for (uint32_t n = 0; n < AUDIT_VECTORS_MAX; n++) {
        uint32_t wanted = n < let->count ? 1u | AMDVI_VECTOR(let->to[n].vector) | AMDVI_CPU(let->to[n].apic_id) : 0;

        if (entries[n] != wanted) {
            return found(walk, "can raise an interrupt by its message %u, which was not granted", n);
        }
    }
    return true;
}

/* The device's table of interrupts is the one that was made for it. */
static bool check_interrupts(struct walk *walk, uint64_t word)
{
    for (uint32_t i = 0; i < walk->unit->let_count; i++) {
        const struct audit_device_vectors *let = &walk->unit->let[i];

        if (let->segment == walk->unit->segment && let->device_id == walk->device_id &&
            (word & AMDVI_INTERRUPT_CONTROL) == AMDVI_INTERRUPTS_REMAPPED &&
            (word & AMDVI_INTERRUPT_TABLE) == let->table && AMDVI_INTERRUPT_LENGTH(word) == AMDVI_INTERRUPT_LENGTH_32) {
            return is_ours(walk, let->table, PAGE_BYTES) && check_vectors(walk, let);
        }
    }
    return found(walk, "can raise interrupts, which were not granted");
}

static bool check_device(struct walk *walk, const uint64_t *words)
{
    bool through = (words[0] & (AMDVI_READ | AMDVI_WRITE)) != 0;

    if ((words[0] & AMDVI_VALID) != AMDVI_VALID || (words[2] & AMDVI_INTERRUPTS_VALID) == 0) {
        return found(walk, "is let through without translation");
    }
    if ((words[2] & AMDVI_INTERRUPT_CONTROL) != 0 && !check_interrupts(walk, words[2])) {
        return false;
    }
    walk->finding->let_through += through;
    if (AMDVI_LEVELS(words[0]) == 0) {
        return through ? found(walk, "is let through without a tree") : true;
    }
    if (!check_tree(walk, words[0] & ADDRESS_BITS, AMDVI_LEVELS(words[0]))) {
        return false;
    }
    if (!through && (words[2] & AMDVI_INTERRUPT_CONTROL) == 0 && (words[0] & ADDRESS_BITS) == walk->clean) {
        walk->blocked[0] = words[0];
        walk->blocked[1] = words[2];
    }
    return true;
}

/* The first entry from here on that has other words than the one that was found blocked, which depends on no device:
 * nearly all of a table's 65536 are alike. */
static const uint64_t *skip_blocked(const struct walk *walk, const uint64_t *words, const uint64_t *end)
{
    const uint64_t first = walk->blocked[0], third = walk->blocked[1];
    const uint64_t *stop = first != 0 ? end : words; /* none was found yet */

    while (words != stop && words[0] == first && words[2] == third) {
        words += AMDVI_WORDS;
    }
    return words;
}

static bool check_amdvi(struct walk *walk)
{
    const uint64_t bytes = (uint64_t)AMDVI_DEVICES * AMDVI_WORDS * sizeof(uint64_t);
    const uint64_t *table, *words, *end;

    if (!is_ours(walk, walk->unit->table, bytes)) {
        return false;
    }
    table = words_at(walk, walk->unit->table);
    end = table + (uint64_t)AMDVI_DEVICES * AMDVI_WORDS;
    for (words = table; words != end; words = skip_blocked(walk, words + AMDVI_WORDS, end)) {
        walk->device_id = (uint16_t)((uint64_t)(words - table) / AMDVI_WORDS);
        if (!check_device(walk, words)) {
            return false;
        }
    }
    return true;
}

enum status audit_devices(const struct audit_devices_request *request, struct audit_devices_finding *finding)
{
    bool holds = true;

    *finding = (struct audit_devices_finding){0};
    for (uint32_t i = 0; i < request->unit_count && holds; i++) {
        struct walk walk = {.request = request, .finding = finding, .unit = &request->units[i], .clean = NO_TABLE};

        holds = walk.unit->kind == AUDIT_VTD ? check_vtd(&walk) : check_amdvi(&walk);
    }
    return holds ? STATUS_OK : STATUS_DENIED;
}
