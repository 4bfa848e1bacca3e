/* SPDX-License-Identifier: MIT */
/*
 * Which device the firmware wants to go on using which memory, and which unit hears a device. Pure: from the firmware's
 * table, the machine's functions and its memory map.
 *
 * A region that has one byte of memory which is ours, or may become so, is not given to a device, whatever the firmware
 * says: it would reach a guest.
 */
#ifndef HV_IOMMU_IOMMU_REGIONS_H
#define HV_IOMMU_IOMMU_REGIONS_H

#include "hv/host/pci_topology.h"
#include "hv/iommu/dmar.h"
#include "hv/iommu/ivrs.h"
#include "hv/plan/memory_map.h"

#define IOMMU_REGIONS_MAX 128u

/* One ID that a unit hears, and one range of its. */
struct iommu_region {
    uint16_t segment, device_id;
    uint64_t start, end; /* whole pages */
    bool write;
    bool refused; /* the memory map has memory of ours there */
};

struct iommu_regions {
    struct iommu_region rows[IOMMU_REGIONS_MAX]; /* of one device one after the other */
    uint32_t count;
    bool full; /* there are more: their devices are blocked */
};

void iommu_regions_of_dmar(struct iommu_regions *regions, const struct dmar *dmar, const struct pci_topology *topology,
                           const struct pci_access *access, const struct memory_map *map);
void iommu_regions_of_ivrs(struct iommu_regions *regions, const struct ivrs *ivrs, const struct pci_topology *topology,
                           const struct memory_map *map);

/* The unit that hears the function: the one that names it or a bridge above it, else its segment's unit for all others.
 * dmar->unit_count: none. */
uint32_t dmar_unit_of(const struct dmar *dmar, const struct pci_topology *topology, const struct pci_access *access,
                      const struct pci_address *at);

#endif
