/* SPDX-License-Identifier: MIT */
#include "hv/plan/numa.h"

#include "hv/base/memory.h"

uint32_t numa_node_find(const struct numa_map *map, uint32_t domain)
{
    for (uint32_t node = 0; node < map->node_count; node++) {
        if (map->domains[node] == domain) {
            return node;
        }
    }
    return NUMA_NODE_NONE;
}

uint32_t numa_node(struct numa_map *map, uint32_t domain)
{
    uint32_t node = numa_node_find(map, domain);

    if (node != NUMA_NODE_NONE || map->node_count == NUMA_NODES_MAX) {
        return node;
    }
    node = map->node_count++;
    map->domains[node] = domain;
    for (uint32_t i = 0; i <= node; i++) {
        map->distances[i][node] = map->distances[node][i] = NUMA_DISTANCE_OTHER;
    }
    map->distances[node][node] = NUMA_DISTANCE_HERE;
    return node;
}

/* The first range that ends behind the address; range_count: none. */
static uint32_t first_ending_after(const struct numa_map *map, uint64_t address)
{
    uint32_t low = 0;
    uint32_t high = map->range_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (map->ranges[middle].end > address) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

uint32_t numa_node_at(const struct numa_map *map, uint64_t address, uint64_t *end)
{
    uint32_t index = first_ending_after(map, address);

    if (index == map->range_count) {
        *end = UINT64_MAX;
        return NUMA_NODE_NONE;
    }
    if (map->ranges[index].start > address) {
        *end = map->ranges[index].start;
        return NUMA_NODE_NONE;
    }
    *end = map->ranges[index].end;
    return map->ranges[index].node;
}

/* [start, end) lies in a gap before ranges[index]. */
static bool insert(struct numa_map *map, uint32_t index, const struct numa_range *range)
{
    struct numa_range *before = index != 0 ? &map->ranges[index - 1] : NULL;

    if (before != NULL && before->end == range->start && before->node == range->node) {
        before->end = range->end;
        return true;
    }
    if (map->range_count == NUMA_RANGES_MAX) {
        return false;
    }
    memmove(&map->ranges[index + 1], &map->ranges[index], (map->range_count - index) * sizeof(map->ranges[0]));
    map->ranges[index] = *range;
    map->range_count++;
    return true;
}

bool numa_add_range(struct numa_map *map, uint32_t node, uint64_t start, uint64_t end)
{
    bool whole = true;

    start = align_up(start, PAGE_BYTES);
    end = align_down(end, PAGE_BYTES);
    while (start < end) {
        uint32_t index = first_ending_after(map, start);
        const struct numa_range *next = index < map->range_count ? &map->ranges[index] : NULL;

        if (next != NULL && next->start <= start) {
            whole = whole && next->node == node;
            start = next->end;
        } else {
            uint64_t stop = next != NULL ? min_u64(next->start, end) : end;

            if (!insert(map, index, &(struct numa_range){start, stop, node})) {
                return false;
            }
            start = stop;
        }
    }
    return whole;
}

uint32_t numa_distance(const struct numa_map *map, uint32_t from, uint32_t to)
{
    return from < map->node_count && to < map->node_count ? map->distances[from][to] : NUMA_DISTANCE_NEVER;
}
