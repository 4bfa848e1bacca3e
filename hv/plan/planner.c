/* SPDX-License-Identifier: MIT */
/*
 * The planner: which host memory stands behind a guest's RAM.
 *
 * A guest's RAM is one or two areas (from 0, and from 4 GiB), both starting at a multiple of 1 GiB. Each area is filled
 * from its start: whole GiBs with 1 GiB-aligned host memory, then whole 2 MiBs with 2 MiB-aligned memory, then pages.
 * So guest and host address agree modulo the leaf size, and the nested tree gets the largest leaves there can be. What
 * the aligned memory does not suffice for is left to the next smaller unit.
 *
 * Among the places for a piece the planner takes, in this order of importance:
 *   1. the one that holds most of it (few ranges: guest_memory.h has room for GUEST_RANGES_MAX);
 *   2. the one that breaks up the fewest whole GiBs, then whole 2 MiBs, of free memory (for guests planned later);
 *   3. the one right behind the piece before it (one range instead of two);
 *   4. above 4 GiB (low memory stays for what needs it);
 *   5. the smallest free region, and then the lowest address.
 * Nothing depends on anything but the arguments: the same map and sizes give the same plan.
 *
 * Where memory is nearer to some CPUs than to others, all this happens within the node of the guest's CPUs, and a
 * region that lies in two nodes counts as two. If the node has not enough, the nearest other ones join, one after the
 * other, until there is enough, and a nearer place comes before all that is said above. Where the ranges run out by
 * that, nodes are not looked at.
 *
 * Where the ranges run out before the memory does, the plan is tried again with smaller leaves, which need fewer
 * ranges. Memory below 1 MiB is never given away: the real-mode trampoline, the BIOS data and old habits of firmware
 * are there.
 */
#include "hv/plan/planner.h"

#include "hv/mm/shadow.h"

#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/mm/page_table_types.h"

#define PLAN_LOW_BOUND MIB
#define PLAN_HIGH_START (4 * GIB)

/* A place for a piece, and what it costs. */
struct place {
    uint64_t start;
    uint64_t bytes;
    uint64_t gibs_lost;
    uint64_t mibs_lost; /* of whole 2 MiBs */
    bool follows;
    uint32_t distance;
    uint64_t region_bytes;
};

/* Where a guest's memory may come from. */
struct reach {
    const struct numa_map *numa; /* NULL: from anywhere */
    uint32_t node;
    uint32_t distance; /* nodes up to this one */
};

static const struct reach everywhere = {.numa = NULL, .distance = NUMA_DISTANCE_NEVER};

/* A walk over the pieces of free memory within reach: parts of a region that are of one node. */
struct walk {
    uint32_t index; /* of the region */
    uint64_t at;    /* what lies below was seen */
};

/* A piece that looks for a place. */
struct piece {
    uint64_t unit;   /* alignment, and what the size is a multiple of */
    uint64_t bytes;  /* at most this much */
    uint64_t behind; /* the host address where the range before it ends; 0: none */
};

static uint64_t whole_units(uint64_t start, uint64_t end, uint64_t unit)
{
    uint64_t first = align_up(start, unit);
    uint64_t last = align_down(end, unit);

    return first < last ? (last - first) / unit : 0;
}

static uint64_t units_lost(const struct memory_region *region, const struct place *place, uint64_t unit)
{
    return whole_units(region->start, region->end, unit) - whole_units(region->start, place->start, unit) -
           whole_units(place->start + place->bytes, region->end, unit);
}

static bool is_better(const struct place *one, const struct place *other)
{
    bool one_high = one->start >= PLAN_HIGH_START;

    if (one->distance != other->distance) {
        return one->distance < other->distance;
    }
    if (one->bytes != other->bytes) {
        return one->bytes > other->bytes;
    }
    if (one->gibs_lost != other->gibs_lost) {
        return one->gibs_lost < other->gibs_lost;
    }
    if (one->mibs_lost != other->mibs_lost) {
        return one->mibs_lost < other->mibs_lost;
    }
    if (one->follows != other->follows) {
        return one->follows;
    }
    if (one_high != (other->start >= PLAN_HIGH_START)) {
        return one_high;
    }
    if (one->region_bytes != other->region_bytes) {
        return one->region_bytes < other->region_bytes;
    }
    return one->start < other->start;
}

/* Keeps the better of *best and the place at `start` in this region. */
static void consider(const struct memory_region *region, const struct piece *piece, uint32_t distance, uint64_t start,
                     uint64_t bytes, struct place *best)
{
    struct place place = {
        .distance = distance,
        .start = start,
        .bytes = bytes,
        .follows = start == piece->behind,
        .region_bytes = region->end - region->start,
    };

    place.gibs_lost = units_lost(region, &place, GIB);
    place.mibs_lost = units_lost(region, &place, 2 * MIB);
    if (best->bytes == 0 || is_better(&place, best)) {
        *best = place;
    }
}

/* The free region at this index without what lies below the low bound; false where nothing is left of it. */
static bool free_region(const struct memory_map *map, uint32_t index, struct memory_region *region)
{
    *region = map->regions[index];
    region->start = max_u64(region->start, PLAN_LOW_BOUND);
    return region->type == MEMORY_FREE && region->start < region->end;
}

/* The next piece of free memory within reach, and how far it is; false: there is none. */
static bool next_piece(const struct memory_map *map, const struct reach *reach, struct walk *walk,
                       struct memory_region *piece, uint32_t *distance)
{
    for (; walk->index < map->count; walk->index++, walk->at = 0) {
        while (free_region(map, walk->index, piece) && walk->at < piece->end) {
            piece->start = max_u64(piece->start, walk->at);
            *distance = 0;
            if (reach->numa != NULL) {
                uint64_t end;
                uint32_t node = numa_node_at(reach->numa, piece->start, &end);

                piece->end = min_u64(piece->end, end);
                *distance = numa_distance(reach->numa, reach->node, node);
            }
            walk->at = piece->end;
            if (*distance <= reach->distance) {
                return true;
            }
        }
    }
    return false;
}

/* The best place for a piece; bytes 0 where there is none. Only the ends of a region are worth looking at: every other
 * place in it breaks up more. */
static struct place find_place(const struct memory_map *map, const struct reach *reach, const struct piece *piece)
{
    struct place best = {.bytes = 0};
    struct walk walk = {0, 0};
    struct memory_region region;
    uint32_t distance;

    while (next_piece(map, reach, &walk, &region, &distance)) {
        uint64_t start = align_up(region.start, piece->unit);
        uint64_t end = align_down(region.end, piece->unit);
        uint64_t bytes;

        if (whole_units(region.start, region.end, piece->unit) == 0) {
            continue;
        }
        bytes = min_u64(end - start, piece->bytes);
        consider(&region, piece, distance, start, bytes, &best);
        consider(&region, piece, distance, end - bytes, bytes, &best);
    }
    return best;
}

static struct guest_range *last_range(struct guest_memory *memory)
{
    return memory->range_count != 0 ? &memory->ranges[memory->range_count - 1] : NULL;
}

/* Puts host memory behind `start`. False: no range or no room in the map is left, and nothing was taken. */
static bool take_place(struct memory_map *map, struct guest_memory *memory, uint64_t start, const struct place *place)
{
    struct guest_range *last = last_range(memory);
    bool extends =
        last != NULL && last->start.value + last->bytes == start && last->backing.value + last->bytes == place->start;

    if (!extends && memory->range_count == GUEST_RANGES_MAX) {
        return false;
    }
    if (memory_map_convert(map, place->start, place->start + place->bytes, MEMORY_FREE, MEMORY_LOADER) != STATUS_OK) {
        return false;
    }
    if (extends) {
        last->bytes += place->bytes;
    } else {
        memory->ranges[memory->range_count++] = (struct guest_range){gpa(start), hpa(place->start), place->bytes};
    }
    return true;
}

/* Backs [start, start + bytes) with leaves up to `level`; returns how many bytes it could not back. */
static uint64_t fill_area(struct memory_map *map, const struct reach *reach, struct guest_memory *memory,
                          uint64_t start, uint64_t bytes, unsigned level)
{
    for (unsigned above = level + 1; above != 0; above--) {
        uint64_t unit = level_bytes(above - 1);

        while (bytes >= unit) {
            const struct guest_range *last = last_range(memory);
            struct piece piece = {unit, align_down(bytes, unit), last != NULL ? last->backing.value + last->bytes : 0};
            struct place place = find_place(map, reach, &piece);

            if (place.bytes == 0) {
                break;
            }
            if (!take_place(map, memory, start, &place)) {
                return bytes;
            }
            start += place.bytes;
            bytes -= place.bytes;
        }
    }
    return bytes;
}

static void release(struct memory_map *map, struct guest_memory *memory)
{
    for (; memory->range_count != 0; memory->range_count--) {
        const struct guest_range *range = last_range(memory);
        enum status status = memory_map_convert(map, range->backing.value, range->backing.value + range->bytes,
                                                MEMORY_LOADER, MEMORY_FREE);

        /* The map was in this state before, so it has room for it. */
        CHECK_OP(status, ==, STATUS_OK);
    }
}

static uint64_t usable_bytes(const struct memory_map *map, const struct reach *reach)
{
    struct walk walk = {0, 0};
    struct memory_region piece;
    uint64_t bytes = 0;
    uint32_t distance;

    while (next_piece(map, reach, &walk, &piece, &distance)) {
        bytes += piece.end - piece.start;
    }
    return bytes;
}

/* The part of a range that leaves of this level or above map, as guest-physical addresses; empty: at its end. */
static struct memory_region covered_part(const struct guest_range *range, unsigned level, unsigned largest)
{
    struct memory_region part = {range->start.value, range->start.value + range->bytes, MEMORY_LOADER};
    uint64_t end = part.end;

    if (level == LEVEL_4K) {
        return part;
    }
    part.start = align_up(part.start, level_bytes(level));
    part.end = align_down(part.end, level_bytes(level));
    if (level > largest || !is_aligned(range->start.value ^ range->backing.value, level_bytes(level)) ||
        part.start >= part.end) {
        part.start = end;
        part.end = end;
    }
    return part;
}

static void count_leaves(struct guest_plan *plan, unsigned largest)
{
    for (uint32_t i = 0; i < plan->memory.range_count; i++) {
        uint64_t above = 0; /* bytes mapped by larger leaves */

        for (unsigned count = largest + 1; count != 0; count--) {
            unsigned level = count - 1;
            struct memory_region part = covered_part(&plan->memory.ranges[i], level, largest);

            plan->leaves[level] += (part.end - part.start - above) / level_bytes(level);
            above = part.end - part.start;
        }
    }
}

/* The slots of one table size that a tree needs, counted in ascending order of addresses. */
struct slot_count {
    unsigned shift;
    uint64_t next; /* slots below this one are counted */
    uint64_t count;
};

static void count_slots(struct slot_count *slots, uint64_t start, uint64_t end)
{
    uint64_t first = max_u64(start >> slots->shift, slots->next);
    uint64_t last = (end - 1) >> slots->shift;

    if (start < end && first <= last) {
        slots->count += last - first + 1;
        slots->next = last + 1;
    }
}

/*
 * Tables that the tree will have. A table of level t stands for one slot of the size of a leaf of level t + 1; it is
 * there where any byte of the slot is mapped by something smaller than that leaf.
 */
static uint64_t count_tables(const struct guest_memory *memory, unsigned levels, unsigned largest)
{
    uint64_t tables = 1; /* the root */

    for (unsigned level = 0; level + 1 < levels; level++) {
        struct slot_count slots = {.shift = level_shift(level + 1)};

        for (uint32_t i = 0; i < memory->range_count; i++) {
            const struct guest_range *range = &memory->ranges[i];
            struct memory_region part = covered_part(range, level + 1, largest);

            count_slots(&slots, range->start.value, part.start);
            count_slots(&slots, part.end, range->start.value + range->bytes);
        }
        tables += slots.count;
    }
    return tables;
}

/* Tables of shared memory: the one of its GiB, which lies behind all low RAM, and those of pages that are not large. */
static uint64_t count_share_tables(const struct planner_request *request, unsigned largest)
{
    uint64_t tables = request->share_count == 0 ? 0 : 1;

    for (uint32_t i = 0; i < request->share_count; i++) {
        uint64_t bytes = request->share_bytes[i];
        uint64_t slot = level_bytes(LEVEL_2M);

        tables += largest >= LEVEL_2M && is_aligned(bytes, slot) ? 0 : align_up(bytes, slot) / slot;
    }
    return tables;
}

/* At each level one at either end; large leaves need the same offset on both sides, else each 2 MiB has a table. */
uint64_t planner_device_tables(uint64_t guest_start, uint64_t start, uint64_t bytes)
{
    uint64_t slot = level_bytes(LEVEL_2M);
    bool alike = is_aligned(guest_start - start, slot);

    return 2 + (alike ? 0 : bytes / slot) + 2 + bytes / level_bytes(LEVEL_1G) + 2;
}

/* The first byte from `start` on that is not free memory for guests. */
static uint64_t free_until(const struct memory_map *map, uint64_t start)
{
    struct memory_region region;

    for (uint32_t i = 0; i < map->count; i++) {
        if (free_region(map, i, &region) && region.start <= start && region.end > start) {
            return region.end;
        }
    }
    return start;
}

/* Where the request names a place: all RAM in one piece from there, low and high part behind each other. On a failure
 * nothing was taken. */
static enum status fill_at(struct memory_map *map, struct guest_plan *plan, uint64_t at, uint64_t *missing)
{
    const struct place low = {.start = at, .bytes = plan->layout.low_bytes};
    const struct place high = {.start = at + low.bytes, .bytes = plan->layout.high_bytes};

    bool whole = true;

    *missing = free_until(map, at);
    if (*missing < high.start + high.bytes) {
        return STATUS_BUSY;
    }
    *missing = low.bytes + high.bytes;
    if (!take_place(map, &plan->memory, 0, &low)) {
        return STATUS_NO_MEMORY;
    }
    if (high.bytes != 0) {
        whole = take_place(map, &plan->memory, GUEST_RAM_HIGH_START, &high);
    }
    CHECK(whole); /* right behind the other, so the map has no region more */
    *missing = 0;
    return STATUS_OK;
}

/* Wherever it is best within reach, with leaves up to `level`. Returns how much could not be had. */
static uint64_t fill_anywhere(struct memory_map *map, const struct reach *reach, struct guest_plan *plan,
                              uint64_t test_bytes, unsigned level)
{
    return fill_area(map, reach, &plan->memory, 0, plan->layout.low_bytes, level) +
           fill_area(map, reach, &plan->memory, GUEST_TEST_MEMORY_START, test_bytes, level) +
           fill_area(map, reach, &plan->memory, GUEST_RAM_HIGH_START, plan->layout.high_bytes, level);
}

/* Fills a plan, with leaves up to `level`. On a failure nothing was taken; *missing: bytes, or with STATUS_BUSY from
 * which address on the wanted place is not free. */
static enum status fill(struct memory_map *map, const struct planner_request *request, const struct reach *reach,
                        struct guest_plan *plan, unsigned level, uint64_t *missing)
{
    uint64_t test_bytes = request->test_memory ? GUEST_TEST_MEMORY_BYTES : 0;

    if (request->at == 0) {
        *missing = fill_anywhere(map, reach, plan, test_bytes, level);
    } else {
        enum status status = fill_at(map, plan, request->at, missing);

        if (status != STATUS_OK) {
            return status;
        }
        *missing = fill_area(map, reach, &plan->memory, GUEST_TEST_MEMORY_START, test_bytes, level);
    }
    if (*missing != 0) {
        release(map, &plan->memory);
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

/* The next larger distance of a node, or of memory that is of none; NUMA_DISTANCE_NEVER at last. */
static uint32_t next_distance(const struct reach *reach)
{
    uint32_t next = NUMA_DISTANCE_NEVER;

    for (uint32_t node = 0; node < reach->numa->node_count; node++) {
        uint32_t distance = numa_distance(reach->numa, reach->node, node);

        next = distance > reach->distance && distance < next ? distance : next;
    }
    return next;
}

/* With leaves as large as they can be. */
static enum status fill_within(struct memory_map *map, const struct planner_request *request, const struct reach *reach,
                               struct guest_plan *plan, unsigned largest, uint64_t *missing)
{
    enum status status = STATUS_NO_MEMORY;

    for (unsigned above = largest + 1; status == STATUS_NO_MEMORY && above != 0; above--) {
        status = fill(map, request, reach, plan, above - 1, missing);
    }
    return status;
}

/* Of the distances at which the memory suffices the smallest one that works; at last from anywhere. */
static enum status fill_near(struct memory_map *map, const struct planner_request *request, struct guest_plan *plan,
                             unsigned largest, uint64_t *missing)
{
    struct reach reach = {.numa = request->numa, .node = request->node, .distance = NUMA_DISTANCE_HERE};
    enum status status = STATUS_NO_MEMORY;
    bool known = request->numa != NULL && numa_is_known(request->numa) && request->node < request->numa->node_count;

    while (known && status == STATUS_NO_MEMORY) {
        if (usable_bytes(map, &reach) >= request->memory_bytes) {
            status = fill_within(map, request, &reach, plan, largest, missing);
        }
        known = reach.distance < NUMA_DISTANCE_NEVER;
        reach.distance = known ? next_distance(&reach) : reach.distance;
    }
    return status == STATUS_NO_MEMORY ? fill_within(map, request, &everywhere, plan, largest, missing) : status;
}

/* Of each function six ranges of registers, of at most 1 GiB in all, each cut in two by its MSI-X pages: two tables of
 * 4 KiB pages for each end, and those above them in two places of the guest's addresses. */
#define PCI_FUNCTION_TABLES 24u
#define PCI_TABLES 6u
#define TREE_LEVELS_MAX 5u

/* The tree by which devices reach the guest's memory, whatever its format, with leaves of 2 MiB: for each range its
 * GiBs, and at each of its ends a table of each level. */
static uint64_t count_device_tables(const struct guest_memory *memory)
{
    uint64_t tables = 1;

    for (uint32_t i = 0; i < memory->range_count; i++) {
        tables += memory->ranges[i].bytes / GIB + 2 * TREE_LEVELS_MAX;
    }
    return tables;
}

enum status planner_guest(struct memory_map *map, const struct planner_request *request,
                          const struct page_table_format *format, unsigned largest_leaf, struct guest_plan *plan,
                          uint64_t *missing)
{
    uint64_t memory_bytes = request->memory_bytes + (request->test_memory ? GUEST_TEST_MEMORY_BYTES : 0);
    unsigned largest = (unsigned)min_u64(largest_leaf, LEVEL_1G);
    uint64_t usable = usable_bytes(map, &everywhere);
    enum status status;

    *missing = 0;
    *plan = (struct guest_plan){.table_count = 0};
    status = guest_layout_make(request->memory_bytes, &plan->layout);
    if (status != STATUS_OK) {
        return status;
    }
    if (usable < memory_bytes) {
        *missing = memory_bytes - usable;
        return STATUS_NO_MEMORY;
    }
    status = fill_near(map, request, plan, largest, missing);
    if (status == STATUS_OK) {
        *missing = 0;
        count_leaves(plan, largest);
        plan->small_code = request->small_code;
        plan->table_count =
            count_tables(&plan->memory, page_table_levels(format), request->small_code ? LEVEL_4K : largest) +
            count_share_tables(request, largest) + request->device_tables;
        if (request->pci_count != 0) {
            plan->table_count += PCI_TABLES + request->pci_count * PCI_FUNCTION_TABLES;
            plan->device_tables = count_device_tables(&plan->memory);
        }
    }
    return status;
}

void planner_node_bytes(const struct memory_map *map, const struct numa_map *numa, uint64_t bytes[NUMA_NODES_MAX])
{
    const struct reach nodes = {.numa = numa, .node = 0, .distance = NUMA_DISTANCE_NEVER};
    struct walk walk = {0, 0};
    struct memory_region piece;
    uint32_t distance;

    for (uint32_t node = 0; node < NUMA_NODES_MAX; node++) {
        bytes[node] = 0;
    }
    while (next_piece(map, &nodes, &walk, &piece, &distance)) {
        uint64_t end;
        uint32_t node = numa_node_at(numa, piece.start, &end);

        if (node != NUMA_NODE_NONE) {
            bytes[node] += piece.end - piece.start;
        }
    }
}

/* Bytes of the plan's memory in a node. */
static uint64_t bytes_in(const struct guest_memory *memory, const struct numa_map *numa, uint32_t node)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < memory->range_count; i++) {
        uint64_t at = memory->ranges[i].backing.value;
        uint64_t stop = at + memory->ranges[i].bytes;

        while (at < stop) {
            uint64_t end;
            bool here = numa_node_at(numa, at, &end) == node;

            end = min_u64(end, stop);
            bytes += here ? end - at : 0;
            at = end;
        }
    }
    return bytes;
}

const char *planner_nodes_text(const struct guest_memory *memory, const struct numa_map *numa, uint32_t node,
                               char to[PLANNER_NODES_TEXT_MAX])
{
    char text[FORMAT_BYTES_MAX];
    uint64_t elsewhere = bytes_in(memory, numa, NUMA_NODE_NONE);
    size_t length = format_text(to, PLANNER_NODES_TEXT_MAX, "%s of node %u (its CPUs' node)",
                                format_bytes(text, bytes_in(memory, numa, node)), node);

    for (uint32_t other = 0; other < numa->node_count; other++) {
        uint64_t bytes = other == node ? 0 : bytes_in(memory, numa, other);

        if (bytes != 0) {
            length += format_text(to + length, PLANNER_NODES_TEXT_MAX - length, ", %s of node %u (distance %u)",
                                  format_bytes(text, bytes), other, numa_distance(numa, node, other));
        }
    }
    if (elsewhere != 0) {
        format_text(to + length, PLANNER_NODES_TEXT_MAX - length, ", %s of no node", format_bytes(text, elsewhere));
    }
    return to;
}

void planner_keep_reserve(struct memory_map *map)
{
    uint64_t start = 0;

    if (memory_map_find(map, MEMORY_FREE, PLANNER_RESERVE_BYTES, PAGE_BYTES, MIB, UINT64_MAX, &start) == STATUS_OK) {
        memory_map_convert(map, start, start + PLANNER_RESERVE_BYTES, MEMORY_FREE, MEMORY_RESERVED);
    }
}

uint64_t planner_shadow_pages(uint32_t tables, uint32_t vcpus)
{
    return tables == 0 ? 0 : vcpus * (1 + shadow_bytes(tables) / PAGE_BYTES);
}

uint64_t planner_own_bytes(const struct planner_own *own, uint32_t guests, uint32_t vcpus, uint64_t pages)
{
    return align_up(own->fixed_bytes + guests * own->guest_bytes + vcpus * own->vcpu_bytes + pages * PAGE_BYTES,
                    PLANNER_OWN_ALIGNMENT);
}

enum status planner_own_place(const struct memory_map *map, uint64_t bytes, uint64_t *start)
{
    return memory_map_find(map, MEMORY_FREE, bytes, PLANNER_OWN_ALIGNMENT, MIB, UINT64_MAX, start);
}
