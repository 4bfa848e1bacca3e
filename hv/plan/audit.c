/* SPDX-License-Identifier: MIT */
/*
 * The self-audit's walker and its rules. See audit.h.
 *
 * The walk goes down with one cursor per level and no recursion. Leaves that continue each other in guest and host
 * addresses are gathered into runs before they are compared, so a tree of a million leaves costs a million reads and a
 * handful of comparisons. Tables are never trusted: each must lie in the hypervisor's memory before it is read, and the
 * number of tables walked is bounded by the pages of that memory, so that tables which point back to themselves end
 * the audit with a finding.
 */
#include "hv/plan/audit.h"

#include "hv/base/format.h"
#include "hv/mm/guest_layout.h"

#define LEVELS_MAX 5u
#define LEAF_LEVEL_MAX 2u /* 1 GiB */
#define ENTRIES 512u
#define INDEX_BITS 9u

#define LEAF_BIT (1ULL << 7)
#define WRITE_BIT (1ULL << 1) /* SDM 3C 29.3.2, table 28-6; APM 2 5.4.1 */
/* Bit 10 counts under mode-based execute control alone, which is never on. SDM 3C 29.3.2, table 28-6. */
#define EPT_EXECUTE_BIT (1ULL << 2)
#define ADDRESS_BITS 0x000ffffffffff000ULL
_Static_assert(ENTRIES == 1u << INDEX_BITS && ENTRIES * sizeof(uint64_t) == PAGE_BYTES, "a table fills a page");

/* What "present" means, and the low address bits that a large leaf must have clear. */
struct audit_rules {
    uint64_t present;
    unsigned levels;
    unsigned large_reserved_from; /* reserved bits of a large leaf's address begin here */
    unsigned top_entries;
    bool shadow; /* the addresses are linear ones */
};

static const struct audit_rules rules[] = {
    /* SDM 3C 29.3.2 "EPT Translation Mechanism": present where any of bits 2:0 is set, or bit 10 where mode-based
     * execute control is on; taken as set here, since a guest must not reach the page either way. Large leaves have
     * bits 20:12 or 29:12 reserved (tables 28-3 and 28-5). */
    [AUDIT_EPT4] = {.present = 0x407, .levels = 4, .large_reserved_from = 12, .top_entries = ENTRIES},
    [AUDIT_EPT5] = {.present = 0x407, .levels = 5, .large_reserved_from = 12, .top_entries = ENTRIES},
    /* APM 2 15.25 "Nested Paging" uses the ordinary long-mode format; bit 12 of a large leaf is PAT (5.3.4, 5.3.5). */
    [AUDIT_NPT4] = {.present = 0x001, .levels = 4, .large_reserved_from = 13, .top_entries = ENTRIES},
    [AUDIT_NPT5] = {.present = 0x001, .levels = 5, .large_reserved_from = 13, .top_entries = ENTRIES},
    /* SDM 3A 4.4 "PAE Paging", 4.5 "4-Level Paging and 5-Level Paging". */
    [AUDIT_SHADOW3] = {.present = 0x001, .levels = 3, .large_reserved_from = 13, .top_entries = 4, .shadow = true},
    [AUDIT_SHADOW4] = {.present = 1, .levels = 4, .large_reserved_from = 13, .top_entries = ENTRIES, .shadow = true},
    [AUDIT_SHADOW5] = {.present = 1, .levels = 5, .large_reserved_from = 13, .top_entries = ENTRIES, .shadow = true},
};
_Static_assert(ARRAY_COUNT(rules) == AUDIT_SHADOW5 + 1, "a row for every format");

/* Leaves in one piece. bytes 0: none yet. */
struct run {
    uint64_t gpa;
    uint64_t hpa;
    uint64_t bytes;
    bool write;
};

struct walk {
    const struct audit_request *request;
    struct audit_finding *finding;
    uint32_t tree;
    const struct audit_rules *rules;
    uint64_t tables[LEVELS_MAX]; /* by level: host-physical address of the table under the cursor */
    uint32_t index[LEVELS_MAX];
    uint64_t tables_left;
    struct run run;
};

static bool is_inside(const struct audit_request *request, uint64_t address, uint64_t bytes)
{
    for (uint32_t i = 0; i < request->hypervisor_count; i++) {
        const struct audit_span *span = &request->hypervisor[i];

        if (address >= span->start && address < span->end && bytes <= span->end - address) {
            return true;
        }
    }
    return false;
}

/* The first hypervisor byte in [start, end), or `end`. */
static uint64_t first_hypervisor_byte(const struct audit_request *request, uint64_t start, uint64_t end)
{
    uint64_t first = end;

    for (uint32_t i = 0; i < request->hypervisor_count; i++) {
        const struct audit_span *span = &request->hypervisor[i];

        if (span->start < first && span->end > start) {
            first = max_u64(span->start, start);
        }
    }
    return first;
}

/* Notes the violation; the sentence is written here so that the checks stay readable. Always gives false. */
static bool found(struct audit_finding *finding, enum audit_violation violation, uint32_t tree, uint64_t guest_address,
                  uint64_t host_address)
{
    finding->violation = violation;
    finding->tree = tree;
    finding->gpa = gpa(guest_address);
    finding->hpa = hpa(host_address);
    return false;
}

/* The index of the tree, other than `but`, that was granted this host byte; tree_count: none. */
static uint32_t grantee_of(const struct audit_request *request, uint64_t address, uint32_t but)
{
    for (uint32_t t = 0; t < request->tree_count; t++) {
        const struct guest_memory *memory = request->trees[t].memory;

        for (uint32_t r = 0; r < memory->range_count && t != but; r++) {
            if (address - memory->ranges[r].backing.value < memory->ranges[r].bytes) {
                return t;
            }
        }
    }
    return request->tree_count;
}

/* The region of the map that holds this byte, or NULL. */
static const struct memory_region *region_of(const struct memory_map *map, uint64_t address)
{
    for (uint32_t i = 0; i < map->count; i++) {
        if (address - map->regions[i].start < map->regions[i].end - map->regions[i].start) {
            return &map->regions[i];
        }
    }
    return NULL;
}

static bool is_firmware(enum memory_type type)
{
    return type == MEMORY_ACPI || type == MEMORY_RESERVED || type == MEMORY_MMIO;
}

/* ---- the grants ---- */

/* Every byte of a grant must be loader memory in the map. */
static bool check_grant_memory(const struct audit_request *request, uint32_t tree, const struct guest_range *grant,
                               struct audit_finding *finding)
{
    uint64_t end = grant->backing.value + grant->bytes;
    uint64_t at = grant->backing.value;

    if (end < at) {
        return found(finding, AUDIT_GRANT_NOT_MEMORY, tree, grant->start.value, at);
    }
    while (at < end) {
        const struct memory_region *region = region_of(request->map, at);

        if (region == NULL || region->type != MEMORY_LOADER) {
            return found(finding, AUDIT_GRANT_NOT_MEMORY, tree, grant->start.value + (at - grant->backing.value), at);
        }
        at = region->end;
    }
    return true;
}

/* No other grant may overlap it: those of later guests, and later ones of the same guest. */
static bool check_grant_alone(const struct audit_request *request, uint32_t tree, uint32_t index,
                              struct audit_finding *finding)
{
    const struct guest_range *grant = &request->trees[tree].memory->ranges[index];
    uint64_t end = grant->backing.value + grant->bytes;

    for (uint32_t t = tree; t < request->tree_count; t++) {
        const struct guest_memory *other = request->trees[t].memory;

        for (uint32_t r = t == tree ? index + 1 : 0; r < other->range_count; r++) {
            uint64_t other_start = other->ranges[r].backing.value;
            uint64_t both = max_u64(grant->backing.value, other_start);

            if (both < min_u64(end, other_start + other->ranges[r].bytes)) {
                return found(finding, AUDIT_GRANT_SHARED, t, other->ranges[r].start.value + (both - other_start), both);
            }
        }
    }
    return true;
}

static bool check_grants(const struct audit_request *request, uint32_t tree, struct audit_finding *finding)
{
    const struct guest_memory *memory = request->trees[tree].memory;

    for (uint32_t r = 0; r < memory->range_count; r++) {
        const struct guest_range *grant = &memory->ranges[r];
        uint64_t end = grant->backing.value + grant->bytes;
        uint64_t ours;

        if (!check_grant_memory(request, tree, grant, finding)) {
            return false;
        }
        ours = first_hypervisor_byte(request, grant->backing.value, end);
        if (ours != end) {
            return found(finding, AUDIT_GRANT_HYPERVISOR, tree, grant->start.value + (ours - grant->backing.value),
                         ours);
        }
        if (!check_grant_alone(request, tree, r, finding)) {
            return false;
        }
    }
    return true;
}

/* ---- shared memory ---- */

/* One piece against another: apart from each other, or the same. */
static bool is_other_or_same(const struct guest_range *one, const struct guest_range *other)
{
    uint64_t start = one->backing.value, other_start = other->backing.value;

    return start >= other_start + other->bytes || other_start >= start + one->bytes ||
           (start == other_start && one->bytes == other->bytes);
}

/* A piece is ours, in no grant, and is shared whole or not at all. */
static bool check_share(const struct audit_request *request, uint32_t tree, const struct guest_range *share,
                        struct audit_finding *finding)
{
    uint64_t start = share->backing.value, end = start + share->bytes;

    if (!check_grant_memory(request, tree, share, finding)) {
        return false;
    }
    if (first_hypervisor_byte(request, start, end) != end) {
        return found(finding, AUDIT_GRANT_HYPERVISOR, tree, share->start.value, start);
    }
    for (uint32_t t = 0; t < request->tree_count; t++) {
        const struct audit_tree *other = &request->trees[t];

        for (uint32_t r = 0; r < other->memory->range_count; r++) {
            const struct guest_range *grant = &other->memory->ranges[r];

            if (max_u64(start, grant->backing.value) < min_u64(end, grant->backing.value + grant->bytes)) {
                return found(finding, AUDIT_GRANT_SHARED, tree, share->start.value, start);
            }
        }
        for (uint32_t s = 0; s < other->share_count; s++) {
            if (!is_other_or_same(share, &other->shares[s].range)) {
                return found(finding, AUDIT_GRANT_SHARED, tree, share->start.value, start);
            }
        }
    }
    return true;
}

static bool check_shares(const struct audit_request *request, uint32_t tree, struct audit_finding *finding)
{
    for (uint32_t s = 0; s < request->trees[tree].share_count; s++) {
        if (!check_share(request, tree, &request->trees[tree].shares[s].range, finding)) {
            return false;
        }
    }
    return true;
}

/* ---- registers of devices ---- */

static bool meet(const struct guest_range *one, const struct guest_range *other)
{
    return max_u64(one->backing.value, other->backing.value) <
           min_u64(one->backing.value + one->bytes, other->backing.value + other->bytes);
}

/* They lie in no memory of any kind, and in no other guest's list. */
static bool check_register(const struct audit_request *request, uint32_t tree, const struct guest_range *range,
                           struct audit_finding *finding)
{
    uint64_t start = range->backing.value, end = start + range->bytes;
    bool good = start < end && first_hypervisor_byte(request, start, end) == end;

    for (uint32_t i = 0; i < request->map->count; i++) {
        const struct memory_region *region = &request->map->regions[i];

        good = good && (region->type == MEMORY_MMIO || region->start >= end || region->end <= start);
    }
    for (uint32_t t = 0; t < request->tree_count; t++) {
        for (uint32_t r = 0; t != tree && r < request->trees[t].register_count; r++) {
            good = good && !meet(range, &request->trees[t].registers[r]);
        }
    }
    return good ? true : found(finding, AUDIT_REGISTERS, tree, range->start.value, start);
}

static bool check_registers(const struct audit_request *request, uint32_t tree, struct audit_finding *finding)
{
    for (uint32_t r = 0; r < request->trees[tree].register_count; r++) {
        if (!check_register(request, tree, &request->trees[tree].registers[r], finding)) {
            return false;
        }
    }
    return true;
}

/* ---- memory of devices ---- */

/* Nothing that the map calls memory; what firmware reserves is a device's only where chipsets have their registers. */
#define CHIPSET_START 0xfe000000ULL

static bool is_device(const struct memory_region *region, uint64_t start, uint64_t end)
{
    return region->type == MEMORY_MMIO ||
           (region->type == MEMORY_RESERVED && max_u64(start, region->start) >= CHIPSET_START &&
            min_u64(end, region->end) <= 4 * GIB);
}

static bool check_device(const struct audit_request *request, uint32_t tree, const struct guest_range *device,
                         struct audit_finding *finding)
{
    uint64_t start = device->backing.value, end = start + device->bytes;

    if (end < start || first_hypervisor_byte(request, start, end) != end) {
        return found(finding, AUDIT_GRANT_HYPERVISOR, tree, device->start.value, start);
    }
    for (uint32_t i = 0; i < request->map->count; i++) {
        const struct memory_region *region = &request->map->regions[i];

        if (region->start < end && start < region->end && !is_device(region, start, end)) {
            return found(finding, AUDIT_DEVICE_MEMORY, tree, device->start.value, max_u64(start, region->start));
        }
    }
    for (uint32_t t = 0; t < tree; t++) {
        for (uint32_t d = 0; d < request->trees[t].device_count; d++) {
            const struct guest_range *other = &request->trees[t].devices[d];

            if (start < other->backing.value + other->bytes && other->backing.value < end) {
                return found(finding, AUDIT_DEVICE_SHARED, tree, device->start.value, start);
            }
        }
    }
    return true;
}

static bool check_devices(const struct audit_request *request, uint32_t tree, struct audit_finding *finding)
{
    for (uint32_t d = 0; d < request->trees[tree].device_count; d++) {
        if (!check_device(request, tree, &request->trees[tree].devices[d], finding)) {
            return false;
        }
    }
    return true;
}

/* ---- the APIC-access page ---- */

/* One page of the hypervisor's own at the local APIC's place, and no other guest's. */
static bool check_apic_page(const struct audit_request *request, uint32_t tree, struct audit_finding *finding)
{
    const struct guest_range *page = request->trees[tree].apic_page;

    if (page == NULL) {
        return true;
    }
    if (page->start.value != GUEST_LAPIC_BASE || page->bytes != PAGE_BYTES ||
        !is_aligned(page->backing.value, PAGE_BYTES) || !is_inside(request, page->backing.value, PAGE_BYTES)) {
        return found(finding, AUDIT_APIC_PAGE, tree, page->start.value, page->backing.value);
    }
    for (uint32_t t = 0; t < tree; t++) {
        const struct guest_range *other = request->trees[t].apic_page;

        if (other != NULL && other->backing.value == page->backing.value) {
            return found(finding, AUDIT_APIC_PAGE, tree, page->start.value, page->backing.value);
        }
    }
    return true;
}

/* Is it any guest's? Then it may be no table. */
static bool is_apic_page(const struct audit_request *request, uint64_t address)
{
    for (uint32_t t = 0; t < request->tree_count; t++) {
        const struct guest_range *page = request->trees[t].apic_page;

        if (page != NULL && page->backing.value == address) {
            return true;
        }
    }
    return false;
}

/* ---- the leaves ---- */

/* What a byte is that a tree reaches without having been granted it. */
static bool found_stray(struct walk *walk, uint64_t guest_address, uint64_t host_address)
{
    const struct audit_request *request = walk->request;
    const struct memory_region *region = region_of(request->map, host_address);
    uint32_t own = grantee_of(request, host_address, request->tree_count);
    enum audit_violation violation = AUDIT_REACHES_NOTHING;

    if (own == walk->tree) {
        violation = AUDIT_WRONG_PLACE;
    } else if (own != request->tree_count) {
        violation = AUDIT_REACHES_GUEST;
    } else if (is_inside(request, host_address, 1)) {
        violation = AUDIT_REACHES_HYPERVISOR;
    } else if (region != NULL && is_firmware(region->type)) {
        violation = AUDIT_REACHES_FIRMWARE;
    }
    return found(walk->finding, violation, walk->tree, guest_address, host_address);
}

/* How many bytes from here on lie in one of these ranges, at the place that it says; 0: none. */
static uint64_t granted_bytes(const struct guest_range *ranges, uint32_t count, uint64_t guest_address,
                              uint64_t host_address)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset = guest_address - ranges[i].start.value;

        if (offset < ranges[i].bytes && ranges[i].backing.value + offset == host_address) {
            return ranges[i].bytes - offset;
        }
    }
    return 0;
}

/* The same wherever in the ranges it is. */
static uint64_t backed_bytes(const struct guest_memory *memory, uint64_t host_address)
{
    for (uint32_t i = 0; i < memory->range_count; i++) {
        uint64_t offset = host_address - memory->ranges[i].backing.value;

        if (offset < memory->ranges[i].bytes) {
            return memory->ranges[i].bytes - offset;
        }
    }
    return 0;
}

/* The same of shared memory, where the run has no right that the share has not. */
static uint64_t shared_bytes(const struct audit_tree *tree, const struct run *run, bool *refused)
{
    for (uint32_t i = 0; i < tree->share_count; i++) {
        uint64_t bytes = granted_bytes(&tree->shares[i].range, 1, run->gpa, run->hpa);

        if (bytes != 0) {
            *refused = run->write && !tree->shares[i].write;
            return bytes;
        }
    }
    return 0;
}

/* Compares the run gathered so far with the grants, piece by piece, and begins a new one. */
static bool check_run(struct walk *walk)
{
    const struct audit_tree *tree = &walk->request->trees[walk->tree];
    struct run run = walk->run;

    walk->finding->mapped_bytes += run.bytes;
    walk->run.bytes = 0;
    while (run.bytes != 0) {
        bool refused = false;
        uint64_t piece = walk->rules->shadow
                             ? backed_bytes(tree->memory, run.hpa)
                             : granted_bytes(tree->memory->ranges, tree->memory->range_count, run.gpa, run.hpa);

        if (piece == 0 && tree->apic_page != NULL) {
            piece = granted_bytes(tree->apic_page, 1, run.gpa, run.hpa);
        }
        if (piece == 0) {
            piece = granted_bytes(tree->registers, tree->register_count, run.gpa, run.hpa);
        }
        if (piece == 0) {
            piece = granted_bytes(tree->devices, tree->device_count, run.gpa, run.hpa);
        }
        if (piece == 0) {
            piece = shared_bytes(tree, &run, &refused);
        }
        if (refused) {
            return found(walk->finding, AUDIT_SHARE_RIGHTS, walk->tree, run.gpa, run.hpa);
        }
        if (piece == 0) {
            return found_stray(walk, run.gpa, run.hpa);
        }
        piece = min_u64(piece, run.bytes);
        run.gpa += piece;
        run.hpa += piece;
        run.bytes -= piece;
    }
    return true;
}

static bool add_leaf(struct walk *walk, uint64_t guest_address, uint64_t host_address, uint64_t bytes, bool write)
{
    struct run *run = &walk->run;

    if (run->bytes != 0 && run->gpa + run->bytes == guest_address && run->hpa + run->bytes == host_address &&
        run->write == write) {
        run->bytes += bytes;
        return true;
    }
    if (!check_run(walk)) {
        return false;
    }
    *run = (struct run){guest_address, host_address, bytes, write};
    return true;
}

/* ---- the tables ---- */

static unsigned shift_of(unsigned level)
{
    return PAGE_SHIFT + level * INDEX_BITS;
}

/* The guest-physical address of the entry under the cursor. */
static uint64_t cursor_address(const struct walk *walk, unsigned level)
{
    uint64_t address = 0;

    for (unsigned above = level; above < walk->rules->levels; above++) {
        address |= (uint64_t)walk->index[above] << shift_of(above);
    }
    return address;
}

static uint32_t entries_at(const struct walk *walk, unsigned level)
{
    return level + 1 == walk->rules->levels ? walk->rules->top_entries : ENTRIES;
}

static bool enter_table(struct walk *walk, unsigned level, uint64_t table, uint64_t guest_address)
{
    if (!is_inside(walk->request, table, entries_at(walk, level) * sizeof(uint64_t)) ||
        is_apic_page(walk->request, table & ~(PAGE_BYTES - 1))) {
        return found(walk->finding, AUDIT_TABLE_OUTSIDE, walk->tree, guest_address, table);
    }
    if (walk->tables_left == 0) {
        return found(walk->finding, AUDIT_TREE_TOO_LARGE, walk->tree, guest_address, table);
    }
    walk->tables_left--;
    walk->finding->tables++;
    walk->tables[level] = table;
    walk->index[level] = 0;
    return true;
}

/* The four pointers of PAE paging have no leaves. SDM 3A 4.4.1. */
static bool may_be_leaf(const struct walk *walk, unsigned level)
{
    return level <= LEAF_LEVEL_MAX && level + 1 < walk->rules->levels;
}

/* The bits of a present entry at this level that must be clear. */
static uint64_t reserved_of(const struct walk *walk, unsigned level, bool leaf)
{
    uint64_t reserved = ADDRESS_BITS & ~((1ULL << walk->request->physical_bits) - 1);

    if (leaf && level != 0) {
        reserved |= bit_mask(walk->rules->large_reserved_from, shift_of(level) - 1);
    }
    if (!may_be_leaf(walk, level)) {
        reserved |= LEAF_BIT;
    }
    return reserved;
}

/* Takes the entry under the cursor of *level: a leaf is gathered, a table entered (one level down). The cursor moves on
 * from an entry with a table when that table is done. */
static bool take_entry(struct walk *walk, unsigned *level)
{
    const uint64_t *table = (const uint64_t *)(uintptr_t)(walk->request->window + walk->tables[*level]);
    uint64_t entry = __atomic_load_n(&table[walk->index[*level]], __ATOMIC_RELAXED);
    uint64_t guest_address = cursor_address(walk, *level);
    bool leaf = *level == 0 || (may_be_leaf(walk, *level) && (entry & LEAF_BIT) != 0);

    if ((entry & walk->rules->present) == 0) {
        walk->index[*level]++;
        return true;
    }
    if ((entry & reserved_of(walk, *level, leaf)) != 0) {
        return found(walk->finding, AUDIT_ENTRY_MALFORMED, walk->tree, guest_address, entry & ADDRESS_BITS);
    }
    if (leaf && *level != 0 && walk->request->trees[walk->tree].small_code && (entry & EPT_EXECUTE_BIT) != 0) {
        return found(walk->finding, AUDIT_LARGE_CODE, walk->tree, guest_address, entry & ADDRESS_BITS);
    }
    if (leaf && walk->request->trees[walk->tree].apic_page != NULL && guest_address == GUEST_LAPIC_BASE &&
        (entry & EPT_EXECUTE_BIT) != 0) {
        return found(walk->finding, AUDIT_APIC_PAGE, walk->tree, guest_address, entry & ADDRESS_BITS);
    }
    if (leaf) {
        uint64_t bytes = 1ULL << shift_of(*level);

        walk->index[*level]++;
        return add_leaf(walk, guest_address, entry & ADDRESS_BITS & ~(bytes - 1), bytes, (entry & WRITE_BIT) != 0);
    }
    (*level)--;
    return enter_table(walk, *level, entry & ADDRESS_BITS, guest_address);
}

static bool check_tree(struct walk *walk)
{
    unsigned top = walk->rules->levels - 1;
    unsigned level = top;

    if (!enter_table(walk, top, walk->request->trees[walk->tree].root.value, 0)) {
        return false;
    }
    while (walk->index[top] != entries_at(walk, top)) {
        if (walk->index[level] == ENTRIES) {
            level++;
            walk->index[level]++;
        } else if (!take_entry(walk, &level)) {
            return false;
        }
    }
    return check_run(walk);
}

/* ---- the sentence ---- */

static const char *const violation_texts[] = {
    [AUDIT_NONE] = "reaches nothing but its own memory",
    [AUDIT_GRANT_NOT_MEMORY] = "was granted a byte that the memory map does not have as ours",
    [AUDIT_GRANT_HYPERVISOR] = "was granted a byte of the hypervisor",
    [AUDIT_GRANT_SHARED] = "was granted a byte that was granted before",
    [AUDIT_DEVICE_MEMORY] = "was granted memory as a device's",
    [AUDIT_DEVICE_SHARED] = "was granted another guest's device",
    [AUDIT_REACHES_GUEST] = "reaches the memory of another guest",
    [AUDIT_REACHES_HYPERVISOR] = "reaches the hypervisor's memory",
    [AUDIT_REACHES_FIRMWARE] = "reaches firmware or device memory",
    [AUDIT_REACHES_NOTHING] = "reaches memory that was not granted",
    [AUDIT_WRONG_PLACE] = "reaches its own memory at the wrong guest-physical address",
    [AUDIT_REGISTERS] = "has registers of a device that lie in memory, or are another guest's, too,",
    [AUDIT_SHARE_RIGHTS] = "can write to shared memory that it may only read",
    [AUDIT_APIC_PAGE] = "has an APIC-access page that is not its own, not at its place, or executable,",
    [AUDIT_TABLE_OUTSIDE] = "has a table outside the hypervisor's memory",
    [AUDIT_ENTRY_MALFORMED] = "has a table entry with reserved bits set",
    [AUDIT_LARGE_CODE] = "can execute from a large page, which lets it stop this CPU,",
    [AUDIT_TREE_TOO_LARGE] = "has more tables than there can be; some point back",
};
_Static_assert(ARRAY_COUNT(violation_texts) == AUDIT_TREE_TOO_LARGE + 1, "a text for every violation");

static void write_sentence(const struct audit_request *request, struct audit_finding *finding)
{
    uint32_t other = grantee_of(request, finding->hpa.value, finding->tree);
    const char *name = other < request->tree_count ? request->trees[other].name : NULL;

    format_text(finding->sentence, sizeof(finding->sentence),
                "Guest %s %s: %s 0x%" PRIx64 " leads to host-physical 0x%" PRIx64 "%s%s%s.",
                request->trees[finding->tree].name, violation_texts[finding->violation],
                rules[request->trees[finding->tree].format].shadow ? "linear" : "guest-physical", finding->gpa.value,
                finding->hpa.value, name != NULL ? " (guest " : "", name != NULL ? name : "", name != NULL ? ")" : "");
}

static uint64_t hypervisor_pages(const struct audit_request *request)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < request->hypervisor_count; i++) {
        pages += (request->hypervisor[i].end - request->hypervisor[i].start) / PAGE_BYTES;
    }
    return pages;
}

enum status audit_trees(const struct audit_request *request, struct audit_finding *finding)
{
    struct walk walk = {.request = request, .finding = finding, .tables_left = hypervisor_pages(request)};
    bool holds = true;

    *finding = (struct audit_finding){.violation = AUDIT_NONE};
    for (uint32_t t = 0; t < request->tree_count && holds; t++) {
        holds = check_grants(request, t, finding) && check_shares(request, t, finding) &&
                check_registers(request, t, finding) && check_devices(request, t, finding) &&
                check_apic_page(request, t, finding);
    }
    for (uint32_t t = 0; t < request->tree_count && holds; t++) {
        walk.tree = t;
        walk.rules = &rules[request->trees[t].format];
        holds = check_tree(&walk);
    }
    if (holds) {
        return STATUS_OK;
    }
    write_sentence(request, finding);
    return STATUS_DENIED;
}
