/* SPDX-License-Identifier: MIT */
/*
 * What each step of a start costs on machines of more and more CPUs, memory and guests: `make scale`.
 *
 *     bench_scale list                 "STEP SIZES UNIT" of each
 *     bench_scale STEP SIZE            does that step once; callgrind counts inside of scale_run() only
 *
 * The steps are those of the hypervisor that look at CPUs, memory and guests before the first entry, as they are
 * compiled for it. The largest size of each is the most that Plinth has room for, or 12 TiB.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/parse.h"
#include "hv/base/cpu_set.h"
#include "hv/host/host_acpi.h"
#include "hv/host/pci_topology.h"
#include "hv/plan/audit.h"
#include "hv/plan/audit_devices.h"
#include "hv/plan/planner.h"
#include "hv/x86/host_map.h"
#include "tests/unit/iommu_model.h"
#include "tests/unit/page_table_arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES 4u
#define TIB (1024 * GIB)
#define NODE_BYTES (TIB / 16) /* 12 TiB in 192 pieces */

static struct config config;
static struct config_errors errors;
static struct config_machine machine;
static struct numa_map numa;
static struct memory_map map;
static struct guest_plan plans[GUESTS_MAX];
static struct arena arena;
static struct mtrr_state mtrrs;
static char *text;
static size_t text_bytes;
static uint8_t descriptors[40 * MEMORY_REGIONS_MAX];

/* ---- machines ---- */

static void need(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_scale: %s\n", what);
        exit(1);
    }
}

/* Pieces of memory with a page of the firmware's behind each, from 4 GiB on; a node for every `per_node` of them. */
static void make_memory(uint64_t bytes, uint64_t piece_bytes, uint32_t per_node)
{
    uint32_t pieces = (uint32_t)(bytes / piece_bytes);

    for (uint32_t i = 0; i < pieces; i++) {
        uint64_t start = 4 * GIB + i * piece_bytes;
        uint32_t node = numa_node(&numa, per_node == 0 ? 0 : i / per_node);

        need(node != NUMA_NODE_NONE && numa_add_range(&numa, node, start, start + piece_bytes), "too many nodes");
        need(memory_map_set(&map, start, start + piece_bytes - 2 * MIB, MEMORY_FREE) == STATUS_OK &&
                 memory_map_set(&map, start + piece_bytes - 2 * MIB, start + piece_bytes, MEMORY_RESERVED) == STATUS_OK,
             "too many regions");
    }
}

static void make_cpus(uint32_t count)
{
    machine.cpu_count = count;
    machine.memory_bytes = 12 * TIB;
    machine.cores_known = true;
    machine.node_count = 8;
    for (uint32_t cpu = 0; cpu < count; cpu++) {
        machine.cores[cpu] = cpu & ~1u;
        machine.nodes[cpu] = cpu * 8 / count;
        machine.node_bytes[machine.nodes[cpu]] = 12 * TIB / 8;
    }
}

static void make_config(uint32_t guests, uint32_t cpus, const char *memory)
{
    text = malloc(256u * guests + 64u);
    need(text != NULL, "no memory");
    text_bytes = (size_t)sprintf(text, "[hypervisor]\nallow-siblings = yes\n"); /* more vCPUs than cores */
    for (uint32_t i = 0; i < guests; i++) {
        text_bytes +=
            (size_t)sprintf(text + text_bytes, "[guest g%u]\nkernel = k\nmemory = %s\ncpus = %u\n", i, memory, cpus);
    }
}

static void parse(void)
{
    need(config_parse((struct text){text, text_bytes}, &config, &errors), "the config is wrong");
}

/* ---- steps: what is prepared, and what is counted ---- */

static void prepare_parse(uint64_t size)
{
    make_config((uint32_t)size, 1, "1G");
}

static void run_parse(uint64_t size)
{
    (void)size;
    parse();
}

/* 32 vCPUs on more and more CPUs. */
static void prepare_place_on(uint64_t size)
{
    make_cpus((uint32_t)size);
    make_config(8, 4, "1G");
    parse();
}

/* More and more vCPUs on 255 CPUs. */
static void prepare_place(uint64_t size)
{
    make_cpus(CPUS_MAX);
    make_config((uint32_t)size / 4, 4, "1G");
    parse();
}

static void run_place(uint64_t size)
{
    (void)size;
    need(config_check_machine(&config, &machine, &errors), "a vCPU has no place");
}

/* In ascending order, as firmwares give them. Out of order each one moves those behind it, at most 24 KiB. */
static void prepare_map(uint64_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        uint32_t type = i % 2 == 0 ? 7 : 0; /* EfiConventionalMemory, EfiReservedMemoryType */
        uint64_t start = i * 16 * MIB + GIB;
        uint64_t pages = 16 * MIB / PAGE_BYTES;

        memcpy(descriptors + 40 * i, &type, sizeof(type));
        memcpy(descriptors + 40 * i + 8, &start, sizeof(start));
        memcpy(descriptors + 40 * i + 24, &pages, sizeof(pages));
    }
}

static void run_map(uint64_t size)
{
    need(memory_map_from_uefi(&map, descriptors, 40 * size, 40) == STATUS_OK, "the map is too large");
}

static void plan(uint32_t index)
{
    const struct planner_request request = {.memory_bytes = 16 * GIB, .numa = &numa, .node = index % 8};
    uint64_t missing;

    need(planner_guest(&map, &request, &page_table_ept4, LEVEL_1G, &plans[index], &missing) == STATUS_OK,
         "a guest has no memory");
}

/* A guest on a machine of more and more memory, in pieces of 64 GiB, in 8 nodes. */
static void prepare_plan_in(uint64_t size)
{
    make_memory(size, NODE_BYTES, (uint32_t)(size / NODE_BYTES / 8));
}

static void run_plan_in(uint64_t size)
{
    (void)size;
    plan(0);
}

/* More and more guests in 12 TiB. */
static void prepare_plan(uint64_t size)
{
    (void)size;
    prepare_plan_in(12 * TIB);
}

static void run_plan(uint64_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        plan(i);
    }
}

/* 12 TiB and less, in leaves of 1 GiB; MTRR masks of 42 bits on a CPU of 52. */
static void prepare_host_map(uint64_t size)
{
    prepare_plan_in(size);
    mtrrs =
        (struct mtrr_state){.present = true, .physical_bits = 52, .default_type = 3u << 10 | 6, .variable_count = 1};
    mtrrs.variable[0] = (struct mtrr_variable){0xfc000000, ((1ULL << 42) - 1) & ~(64 * MIB - 1)};
    mtrrs.variable[0].mask |= 1u << 11;
    arena_start(&arena, &page_table_host4);
}

static void run_host_map(uint64_t size)
{
    static struct host_range ranges[MEMORY_REGIONS_MAX];
    struct host_map_request request = {.memory = ranges, .mtrrs = &mtrrs, .largest_leaf = LEVEL_1G};

    (void)size;
    for (uint32_t i = 0; i < map.count; i++) {
        if (map.regions[i].type == MEMORY_FREE) {
            ranges[request.memory_count++] = (struct host_range){map.regions[i].start, map.regions[i].end};
        }
    }
    need(host_map_tables_max(&request, 0, 0) >= 1 && host_map_build(&arena.tree, &request) == STATUS_OK,
         "the host map is not built");
}

static struct cpu_set set;

/* Every CPU is posted and taken: what a broadcast costs. */
static void prepare_kicks(uint64_t size)
{
    (void)size;
}

static void run_kicks(uint64_t size)
{
    struct cpu_set taken;
    uint32_t count = 0;

    for (uint32_t cpu = 0; cpu < size; cpu++) {
        cpu_set_post(&set, cpu);
    }
    need(cpu_set_take(&set, &taken), "nothing was posted");
    for (uint32_t cpu = cpu_set_next(&taken, 0); cpu < CPUS_MAX; cpu = cpu_set_next(&taken, cpu + 1)) {
        count++;
    }
    need(count == size, "a CPU was lost");
}

/* ---- devices and IOMMUs are taken over: what the machine itself takes for an access is not in it ---- */

#define AMDVI_UNITS_MAX 8u
#define AMDVI_FEATURES 0x30u
#define AMDVI_FORGET_ALL (1u << 6)
#define DEVICE_ID 0x10d38086u

static struct pci_topology topology;
static uint64_t functions;
static struct iommu_io io;
static struct iommu_pages pages = {MODEL_START, MODEL_START + MODEL_BYTES};
static struct iommu_unit units[AMDVI_UNITS_MAX];

/* So many devices, one on each place of the first buses, without capabilities. */
static uint32_t read_config(void *context, struct pci_address at, uint32_t offset)
{
    (void)context;
    if (at.function != 0 || (uint64_t)(at.bus * 32u + at.device) >= functions) {
        return ~0u;
    }
    return offset == PCI_ID ? DEVICE_ID : 0;
}

static void prepare_devices(uint64_t size)
{
    functions = size;
}

static void run_devices(uint64_t size)
{
    const struct pci_access access = {NULL, read_config, NULL};
    const struct pci_buses all = {0, 0, UINT8_MAX};

    need(pci_topology_read(&topology, &access, &all, 1) == STATUS_OK && topology.count == size, "the devices");
}

static void prepare_amdvi(uint64_t size)
{
    model.amd = model.coherent = true;
    *model_reg(AMDVI_FEATURES) = AMDVI_FORGET_ALL;
    io = model_io;
    io.window = (uint64_t)(uintptr_t)model_memory - MODEL_START;
    for (uint64_t i = 0; i < size; i++) {
        units[i] = (struct iommu_unit){
            .io = &io, .kind = &iommu_amdvi, .pages = &pages, .base = MODEL_BASE, .bytes = MODEL_REGISTERS};
        need(iommu_amdvi.open(&units[i]) == STATUS_OK, "the unit");
    }
}

/* One table for all. */
static void run_amdvi(uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        units[i].table = units[0].table;
        units[i].blocked = units[0].blocked;
        need(iommu_amdvi.prepare(&units[i]) == STATUS_OK, "its tables");
    }
}

static void prepare_amdvi_audit(uint64_t size)
{
    prepare_amdvi(size);
    run_amdvi(size);
}

static void run_amdvi_audit(uint64_t size)
{
    static struct audit_devices_finding finding;
    const struct audit_span ours = {MODEL_START, MODEL_START + MODEL_BYTES};
    const struct audit_unit unit = {.kind = AUDIT_AMDVI, .table = units[0].table};
    const struct audit_devices_request request = {
        .units = &unit, .unit_count = 1, .window = io.window, .hypervisor = &ours, .hypervisor_count = 1};

    (void)size;
    need(audit_devices(&request, &finding) == STATUS_OK, finding.sentence);
}

static const struct step {
    const char *name;
    const char *unit;
    uint64_t sizes[SIZES];
    void (*prepare)(uint64_t size);
    void (*run)(uint64_t size);
} steps[] = {
    {"parse-config", "guests", {1, 4, 16, GUESTS_MAX}, prepare_parse, run_parse},
    {"place-vcpus-on", "CPUs", {16, 64, 128, CPUS_MAX}, prepare_place_on, run_place},
    {"place-vcpus", "vCPUs", {4, 16, 64, 252}, prepare_place, run_place},
    {"memory-map", "descriptors", {16, 64, 256, MEMORY_REGIONS_MAX}, prepare_map, run_map},
    {"plan-guest-in", "bytes", {TIB / 2, TIB, 4 * TIB, 12 * TIB}, prepare_plan_in, run_plan_in},
    {"plan-guests", "guests", {1, 4, 16, GUESTS_MAX}, prepare_plan, run_plan},
    {"host-map", "bytes", {TIB / 2, TIB, 4 * TIB, 12 * TIB}, prepare_host_map, run_host_map},
    {"find-devices", "devices", {8, 64, 256, PCI_NODES_MAX}, prepare_devices, run_devices},
    {"amdvi-tables", "units", {1, 2, 4, AMDVI_UNITS_MAX}, prepare_amdvi, run_amdvi},
    {"amdvi-audit", "units", {1, 2, 4, AMDVI_UNITS_MAX}, prepare_amdvi_audit, run_amdvi_audit},
    {"kick-all", "CPUs", {16, 64, 128, CPUS_MAX}, prepare_kicks, run_kicks},
};

__attribute__((noinline)) void scale_run(const struct step *step, uint64_t size);
void scale_run(const struct step *step, uint64_t size)
{
    step->run(size);
}

int main(int count, char **words)
{
    for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
        if (count == 2 && strcmp(words[1], "list") == 0) {
            printf("%s %s", steps[i].name, steps[i].unit);
            for (uint32_t k = 0; k < SIZES; k++) {
                printf(" %llu", (unsigned long long)steps[i].sizes[k]);
            }
            printf("\n");
        } else if (count == 3 && strcmp(words[1], steps[i].name) == 0) {
            uint64_t size = strtoull(words[2], NULL, 10);

            steps[i].prepare(size);
            scale_run(&steps[i], size);
            return 0;
        }
    }
    return count == 2 ? 0 : 2;
}
