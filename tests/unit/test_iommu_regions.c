/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/iommu/iommu_regions.h on an invented machine: a region goes to the functions that the firmware
 * names, by every ID as which they are heard, and never where the memory map has memory that is ours; and each
 * function is heard by one unit.
 */
#include "hv/iommu/iommu_regions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RESERVED 0x7f000000ULL
#define FREE 0x10000000ULL

static struct pci_topology topology;
static struct iommu_regions regions;
static struct memory_map map;
static struct dmar dmar;
static struct ivrs ivrs;

static uint32_t config_read(void *context, struct pci_address address, uint32_t offset)
{
    const struct pci_node *node = pci_topology_find(&topology, address);

    (void)context;
    if (node == NULL) {
        return ~0u;
    }
    switch (offset) {
    case PCI_HEADER:
        return node->is_bridge ? PCI_HEADER_TYPE_BRIDGE << PCI_HEADER_TYPE_SHIFT : 0;
    case PCI_BUSES:
        return (uint32_t)node->bridge.subordinate << 16 | (uint32_t)node->bridge.secondary << 8;
    default:
        return 0x12348086;
    }
}

static const struct pci_access access_pci = {NULL, config_read, NULL};

static struct pci_node *add(uint16_t segment, uint8_t bus, uint8_t device, uint16_t parent)
{
    struct pci_node *node = &topology.nodes[topology.count++];

    *node = (struct pci_node){.function.address = {segment, bus, device, 0}, .parent = parent};
    return node;
}

/* 0: 00:02.0; 1: 00:1c.0, a root port; 2: 03:00.0 behind it; 3: 00:1e.0, a bridge to conventional PCI; 4: 05:01.0
 * behind it; 5: 1:00:02.0 on another segment. */
static void reset(void)
{
    struct pci_node *bridge;

    memset(&topology, 0, sizeof(topology));
    memset(&regions, 0, sizeof(regions));
    memset(&dmar, 0, sizeof(dmar));
    memset(&ivrs, 0, sizeof(ivrs));
    memset(&map, 0, sizeof(map));
    assert_int_equal(memory_map_set(&map, RESERVED, RESERVED + 16 * MIB, MEMORY_RESERVED), STATUS_OK);
    assert_int_equal(memory_map_set(&map, FREE, FREE + 16 * MIB, MEMORY_FREE), STATUS_OK);
    (void)add(0, 0, 2, PCI_PARENT_NONE);
    bridge = add(0, 0, 0x1c, PCI_PARENT_NONE);
    bridge->is_bridge = true;
    bridge->port = PCI_PORT_ROOT;
    bridge->bridge = (struct pci_bridge){3, 4};
    (void)add(0, 3, 0, 1);
    bridge = add(0, 0, 0x1e, PCI_PARENT_NONE);
    bridge->is_bridge = true;
    bridge->port = PCI_PORT_CONVENTIONAL;
    bridge->bridge = (struct pci_bridge){5, 5};
    (void)add(0, 5, 1, 3);
    (void)add(1, 0, 2, PCI_PARENT_NONE);
}

static void scope(struct dmar_scopes *scopes, uint8_t kind, uint8_t bus, uint8_t device)
{
    if (scopes->count++ == 0) {
        scopes->first = (uint16_t)dmar.scope_count;
    }
    dmar.scopes[dmar.scope_count++] =
        (struct dmar_scope){.kind = kind, .bus = bus, .path_count = 1, .path = {{device, 0}}};
}

static struct dmar_region *region(uint64_t start, uint64_t end)
{
    struct dmar_region *is = &dmar.regions[dmar.region_count++];

    *is = (struct dmar_region){.start = start, .end = end};
    return is;
}

static void assert_row(uint32_t index, uint16_t device_id, uint64_t start)
{
    assert_true(index < regions.count);
    assert_int_equal(regions.rows[index].device_id, device_id);
    assert_int_equal(regions.rows[index].start, start);
}

static void a_region_goes_to_the_functions_named(void **state)
{
    (void)state;
    reset();
    scope(&region(RESERVED, RESERVED + MIB)->scopes, DMAR_SCOPE_ENDPOINT, 0, 2);
    scope(&region(RESERVED + MIB, RESERVED + 2 * MIB)->scopes, DMAR_SCOPE_BRIDGE, 0, 0x1c);
    iommu_regions_of_dmar(&regions, &dmar, &topology, &access_pci, &map);
    assert_int_equal(regions.count, 3); /* not the one of the other segment */
    assert_row(0, 0x0010, RESERVED);
    assert_row(1, 0x00e0, RESERVED + MIB);
    assert_row(2, 0x0300, RESERVED + MIB);
    assert_false(regions.rows[0].refused || regions.rows[1].refused || regions.full);
    assert_true(regions.rows[0].write);
}

static void a_function_is_heard_by_its_bridge_too(void **state)
{
    (void)state;
    reset();
    scope(&region(RESERVED, RESERVED + MIB)->scopes, DMAR_SCOPE_ENDPOINT, 5, 1);
    iommu_regions_of_dmar(&regions, &dmar, &topology, &access_pci, &map);
    assert_int_equal(regions.count, 2);
    assert_row(0, 0x0508, RESERVED);
    assert_row(1, 0x00f0, RESERVED);
}

static void memory_of_ours_is_refused(void **state)
{
    (void)state;
    reset();
    scope(&region(FREE + 15 * MIB, FREE + 17 * MIB)->scopes, DMAR_SCOPE_ENDPOINT, 0, 2);
    scope(&region(RESERVED + 15 * MIB, RESERVED + 17 * MIB)->scopes, DMAR_SCOPE_ENDPOINT, 0, 2);
    iommu_regions_of_dmar(&regions, &dmar, &topology, &access_pci, &map);
    assert_int_equal(regions.count, 2);
    assert_true(regions.rows[0].refused);
    assert_false(regions.rows[1].refused); /* what the map does not name is no memory of ours */
}

static void amd_regions_are_for_functions_that_there_are(void **state)
{
    (void)state;
    reset();
    ivrs.regions[ivrs.region_count++] =
        (struct ivrs_region){.start = RESERVED, .end = RESERVED + MIB, .last = UINT16_MAX, .read = true};
    ivrs.devices[ivrs.device_count++] =
        (struct ivrs_devices){.first = 0x0300, .last = 0x03ff, .has_alias = true, .alias = 0x00a4};
    ivrs.unit_count = 1;
    iommu_regions_of_ivrs(&regions, &ivrs, &topology, &map);
    assert_int_equal(regions.count, 6); /* five functions, and an alias */
    assert_row(0, 0x0010, RESERVED);
    assert_row(2, 0x0300, RESERVED);
    assert_row(3, 0x00a4, RESERVED);
    assert_false(regions.rows[0].write);
}

static void too_many_regions_are_said(void **state)
{
    (void)state;
    reset();
    for (uint32_t i = 0; i < DMAR_REGIONS_MAX; i++) {
        struct dmar_region *is = region(RESERVED + i * MIB, RESERVED + (i + 1) * MIB);

        scope(&is->scopes, DMAR_SCOPE_BRIDGE, 0, 0x1c);
        scope(&is->scopes, DMAR_SCOPE_ENDPOINT, 0, 2);
    }
    iommu_regions_of_dmar(&regions, &dmar, &topology, &access_pci, &map);
    assert_int_equal(regions.count, IOMMU_REGIONS_MAX);
    assert_true(regions.full);
}

static void each_function_is_heard_by_one_unit(void **state)
{
    const struct pci_address screen = {0, 0, 2, 0}, behind = {0, 3, 0, 0}, other = {0, 5, 1, 0}, far = {1, 0, 2, 0};

    (void)state;
    reset();
    dmar.unit_count = 3;
    scope(&dmar.units[0].scopes, DMAR_SCOPE_ENDPOINT, 0, 2);
    dmar.units[1].all = true;
    scope(&dmar.units[2].scopes, DMAR_SCOPE_BRIDGE, 0, 0x1c);
    assert_int_equal(dmar_unit_of(&dmar, &topology, &access_pci, &screen), 0);
    assert_int_equal(dmar_unit_of(&dmar, &topology, &access_pci, &behind), 2);
    assert_int_equal(dmar_unit_of(&dmar, &topology, &access_pci, &other), 1);
    assert_int_equal(dmar_unit_of(&dmar, &topology, &access_pci, &far), 3); /* none */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_region_goes_to_the_functions_named),
        cmocka_unit_test(a_function_is_heard_by_its_bridge_too),
        cmocka_unit_test(memory_of_ours_is_refused),
        cmocka_unit_test(amd_regions_are_for_functions_that_there_are),
        cmocka_unit_test(too_many_regions_are_said),
        cmocka_unit_test(each_function_is_heard_by_one_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
