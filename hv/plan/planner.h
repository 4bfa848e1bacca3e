/* SPDX-License-Identifier: MIT */
/*
 * The planner: from the guests' sizes and the machine's memory map to host ranges, leaf counts and table counts.
 *
 * Backing is chosen so that leaves are as large as they can be: 1 GiB-aligned pieces for whole GiBs, 2 MiB-aligned for
 * the rest, 4 KiB only for what is left. Pure: it marks what it took in `map` (MEMORY_FREE -> MEMORY_LOADER).
 *
 * This folder has what is decided of memory before the hand-over (map, plan), and the audit of what came of it before
 * the first entry. Pure; nothing here runs while a guest does.
 */
#ifndef HV_PLAN_PLANNER_H
#define HV_PLAN_PLANNER_H

#include "hv/base/status.h"
#include "hv/mm/guest_layout.h"
#include "hv/mm/guest_memory.h"
#include "hv/mm/page_table.h"
#include "hv/plan/memory_map.h"
#include "hv/plan/numa.h"

struct guest_plan {
    struct guest_layout layout;
    struct guest_memory memory;
    uint64_t leaves[3];     /* 4 KiB, 2 MiB, 1 GiB */
    uint64_t table_count;   /* of the nested tree, root included */
    uint64_t device_tables; /* of the tree of the devices that it has of the machine, at most */
    uint32_t shadow_tables; /* for each vCPU; 0: nested paging. The caller's */
    bool small_code;        /* as the request says: the tables of 4 KiB leaves for all RAM are counted */
};

/* What a guest wants of the planner. */
struct planner_request {
    uint64_t memory_bytes;
    bool test_memory;     /* and GUEST_TEST_MEMORY_BYTES at GUEST_TEST_MEMORY_START */
    uint64_t at;          /* where on the host its RAM begins, in one piece; 0: where it is best */
    uint32_t share_count; /* memory that it shares, for the count of tables alone: at GUEST_SHARE_START(), aligned */
    uint64_t share_bytes[GUEST_SHARES_MAX];
    uint32_t pci_count;          /* functions of the machine that it has, for the counts of tables alone */
    uint64_t device_tables;      /* of its nested tree, for memory of the machine's devices: planner_device_tables() */
    const struct numa_map *numa; /* NULL, or without nodes: all memory is equally near */
    uint32_t node;   /* of the guest's CPUs: its memory comes from there, else from the nearest that has it */
    bool small_code; /* code lies in 4 KiB leaves alone: hv/mm/small_code.h */
};

/* largest_leaf: what format and CPU allow (0..2). Otherwise nothing was taken: STATUS_NO_MEMORY, and *missing says how
 * much more is needed; STATUS_BUSY: the place that the request names is not free from the host address *missing on. */
enum status planner_guest(struct memory_map *map, const struct planner_request *request,
                          const struct page_table_format *format, unsigned largest_leaf, struct guest_plan *plan,
                          uint64_t *missing);

/* How many tables a piece of a device's memory needs at most, beside the root. */
uint64_t planner_device_tables(uint64_t guest_start, uint64_t start, uint64_t bytes);

/* What of the free memory lies in each node. */
void planner_node_bytes(const struct memory_map *map, const struct numa_map *numa, uint64_t bytes[NUMA_NODES_MAX]);

/* "6 GiB of node 0 (its CPUs' node), 2 GiB of node 2 (distance 16)": where a plan's memory is, the guest's node first.
 * Returns `to`. */
#define PLANNER_NODES_TEXT_MAX 200u
const char *planner_nodes_text(const struct guest_memory *memory, const struct numa_map *numa, uint32_t node,
                               char to[PLANNER_NODES_TEXT_MAX]);

/* Left to the firmware while guests' RAM is planned: it allocates small pieces itself until the hand-over. */
#define PLANNER_RESERVE_BYTES (16 * MIB)

/* Marks the reserve in a map (MEMORY_FREE -> MEMORY_RESERVED), after the guests with a place of their own. Only marked,
 * not allocated: some firmwares fill what is given back, and that takes longer than all the rest. */
void planner_keep_reserve(struct memory_map *map);

/* What of the hypervisor's own memory depends on the machine and its CPU: hv/host/pool.c counts it, machine.txt has
 * it. */
struct planner_own {
    uint64_t fixed_bytes; /* host map, CPUs, and what is not counted one by one */
    uint64_t guest_bytes; /* for each guest */
    uint64_t vcpu_bytes;  /* for each of its vCPUs */
};

#define PLANNER_OWN_ALIGNMENT (2 * MIB)

/* What shadow paging takes of it: a page of the vendor's and shadow_bytes() for each vCPU. 0 for no tables. */
uint64_t planner_shadow_pages(uint32_t tables, uint32_t vcpus);

/* Bytes of the hypervisor's own memory for so many guests and vCPUs, and pages for their nested tables and devices: a
 * multiple of 2 MiB. */
uint64_t planner_own_bytes(const struct planner_own *own, uint32_t guests, uint32_t vcpus, uint64_t pages);

/* Where they lie, after the guests. STATUS_NOT_FOUND: nowhere in one piece. */
enum status planner_own_place(const struct memory_map *map, uint64_t bytes, uint64_t *start);

#endif
