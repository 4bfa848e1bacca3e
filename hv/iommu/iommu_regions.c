/* SPDX-License-Identifier: MIT */
#include "hv/iommu/iommu_regions.h"

static bool is_ours(const struct memory_map *map, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < map->count; i++) {
        if (map->regions[i].type < MEMORY_ACPI && map->regions[i].start < end && start < map->regions[i].end) {
            return true;
        }
    }
    return false;
}

static void add(struct iommu_regions *regions, const struct memory_map *map, const struct iommu_region *region)
{
    for (uint32_t i = 0; i < regions->count; i++) {
        const struct iommu_region *row = &regions->rows[i];

        if (row->segment == region->segment && row->device_id == region->device_id && row->start == region->start &&
            row->end == region->end) {
            return; /* heard by the same ID as another one */
        }
    }
    if (regions->count == IOMMU_REGIONS_MAX) {
        regions->full = true;
        return;
    }
    regions->rows[regions->count] = *region;
    regions->rows[regions->count++].refused = is_ours(map, region->start, region->end);
}

/* For each ID as which the function may be heard. */
static void add_function(struct iommu_regions *regions, const struct pci_topology *topology,
                         const struct memory_map *map, const struct pci_node *node, struct iommu_region region)
{
    uint16_t ids[PCI_REQUESTERS_MAX];
    uint32_t count = pci_topology_requesters(topology, node, ids);

    region.segment = node->function.address.segment;
    for (uint32_t i = 0; i < count; i++) {
        region.device_id = ids[i];
        add(regions, map, &region);
    }
}

/* ---- Intel ---- */

static bool is_behind(const struct pci_address *at, const struct pci_node *bridge)
{
    return bridge != NULL && bridge->is_bridge && bridge->function.address.segment == at->segment &&
           at->bus >= bridge->bridge.secondary && at->bus <= bridge->bridge.subordinate;
}

static bool scope_has(const struct dmar_scope *scope, uint16_t segment, const struct pci_topology *topology,
                      const struct pci_access *access, const struct pci_address *at)
{
    struct pci_address found;

    if ((scope->kind != DMAR_SCOPE_ENDPOINT && scope->kind != DMAR_SCOPE_BRIDGE) || at->segment != segment ||
        !dmar_scope_find(scope, segment, access, &found)) {
        return false;
    }
    return pci_requester(found) == pci_requester(*at) ||
           (scope->kind == DMAR_SCOPE_BRIDGE && is_behind(at, pci_topology_find(topology, found)));
}

static bool scopes_have(const struct dmar *dmar, const struct dmar_scopes *scopes, uint16_t segment,
                        const struct pci_topology *topology, const struct pci_access *access,
                        const struct pci_address *at)
{
    for (uint32_t i = 0; i < scopes->count; i++) {
        if (scope_has(&dmar->scopes[scopes->first + i], segment, topology, access, at)) {
            return true;
        }
    }
    return false;
}

void iommu_regions_of_dmar(struct iommu_regions *regions, const struct dmar *dmar, const struct pci_topology *topology,
                           const struct pci_access *access, const struct memory_map *map)
{
    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *node = &topology->nodes[i];

        for (uint32_t r = 0; r < dmar->region_count; r++) {
            const struct dmar_region *region = &dmar->regions[r];

            if (scopes_have(dmar, &region->scopes, region->segment, topology, access, &node->function.address)) {
                add_function(regions, topology, map, node,
                             (struct iommu_region){.start = region->start, .end = region->end, .write = true});
            }
        }
    }
}

uint32_t dmar_unit_of(const struct dmar *dmar, const struct pci_topology *topology, const struct pci_access *access,
                      const struct pci_address *at)
{
    uint32_t rest = dmar->unit_count;

    for (uint32_t i = 0; i < dmar->unit_count; i++) {
        const struct dmar_unit *unit = &dmar->units[i];

        if (scopes_have(dmar, &unit->scopes, unit->segment, topology, access, at)) {
            return i;
        }
        rest = unit->all && unit->segment == at->segment ? i : rest;
    }
    return rest;
}

/* ---- AMD ---- */

/* A block for all devices, or for a range, means those that there are. */
void iommu_regions_of_ivrs(struct iommu_regions *regions, const struct ivrs *ivrs, const struct pci_topology *topology,
                           const struct memory_map *map)
{
    for (uint32_t i = 0; i < topology->count; i++) {
        const struct pci_node *node = &topology->nodes[i];
        uint16_t segment = node->function.address.segment;
        uint16_t id = pci_requester(node->function.address);

        for (uint32_t r = 0; r < ivrs->region_count; r++) {
            const struct ivrs_region *region = &ivrs->regions[r];
            struct iommu_region row = {.segment = segment,
                                       .device_id = ivrs_alias_of(ivrs, segment, id),
                                       .start = region->start,
                                       .end = region->end,
                                       .write = region->write};

            if (region->segment == segment && id >= region->first && id <= region->last) {
                add_function(regions, topology, map, node, row);
                add(regions, map, &row);
            }
        }
    }
}
