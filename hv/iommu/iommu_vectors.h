/* SPDX-License-Identifier: MIT */
/* The interrupts that a device may raise. */
#ifndef HV_IOMMU_IOMMU_VECTORS_H
#define HV_IOMMU_IOMMU_VECTORS_H

#include "hv/base/types.h"

/* The interrupts of one device: its message n becomes vector to[n].vector of a CPU, and no other. */
#define IOMMU_VECTORS_MAX 32u

struct iommu_vectors {
    uint16_t device_id;
    uint16_t count;
    uint16_t first; /* VT-d: of the unit's table */
    uint64_t table; /* AMD-Vi: the device's own */
    struct {
        uint32_t apic_id;
        uint8_t vector;
    } to[IOMMU_VECTORS_MAX];
};

#endif
