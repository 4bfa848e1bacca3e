/* SPDX-License-Identifier: MIT */
/*
 * Which memory is near which CPUs.
 *
 * A large machine consists of nodes, each with memory and CPUs of its own; a CPU reaches the memory of another node
 * later and with less bandwidth. The firmware says it in two tables: the SRAT has the ranges of memory and the CPUs of
 * each proximity domain, the SLIT how far the domains are from each other. Here a domain is a node: nodes are numbered
 * from 0 in the order in which they are named first.
 *
 * The ranges ascend and never overlap: where the firmware's do, the first that it names has the bytes. Memory that no
 * range has is of no node, and as far from every node as anything. A machine without the tables has no nodes, and
 * nothing here changes a plan.
 */
#ifndef HV_PLAN_NUMA_H
#define HV_PLAN_NUMA_H

#include "hv/base/limits.h"
#include "hv/base/types.h"

#define NUMA_RANGES_MAX 256u
#define NUMA_NODE_NONE UINT32_MAX

/* ACPI 6.5 5.2.17 "System Locality Information Table (SLIT)": 10 is a node's distance to itself, 255 unreachable.
 * Without a SLIT other nodes are twice as far, as operating systems take it. */
#define NUMA_DISTANCE_HERE 10u
#define NUMA_DISTANCE_OTHER 20u
#define NUMA_DISTANCE_NEVER 255u

struct numa_range {
    uint64_t start, end; /* whole pages */
    uint32_t node;
};

struct numa_map {
    uint32_t node_count;
    uint32_t domains[NUMA_NODES_MAX]; /* the proximity domain that each node is */
    uint8_t distances[NUMA_NODES_MAX][NUMA_NODES_MAX];
    struct numa_range ranges[NUMA_RANGES_MAX]; /* ascending */
    uint32_t range_count;
};

/* The node of a domain, made where it is not there yet. NUMA_NODE_NONE: there are NUMA_NODES_MAX others. */
uint32_t numa_node(struct numa_map *map, uint32_t domain);

/* The node of a domain that was named before; NUMA_NODE_NONE: it was not. */
uint32_t numa_node_find(const struct numa_map *map, uint32_t domain);

/* Gives the node what of [start, end), cut to whole pages, no node has. False: some of it was another's, or the table
 * of ranges is full. */
bool numa_add_range(struct numa_map *map, uint32_t node, uint64_t start, uint64_t end);

/* The node of the byte at `address`, or NUMA_NODE_NONE; *end is where that changes. */
uint32_t numa_node_at(const struct numa_map *map, uint64_t address, uint64_t *end);

/* How far the memory of `to` is from the CPUs of `from`. Of no node: NUMA_DISTANCE_NEVER. */
uint32_t numa_distance(const struct numa_map *map, uint32_t from, uint32_t to);

/* Whether there is something to choose: two nodes or more. */
static inline bool numa_is_known(const struct numa_map *map)
{
    return map->node_count > 1;
}

#endif
