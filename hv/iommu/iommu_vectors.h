/* SPDX-License-Identifier: MIT */
/* The interrupts that a device may raise, or an I/O APIC. */
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
        bool level; /* of an I/O APIC's pin: VT-d has it in the entry, AMD-Vi leaves it to the pin */
    } to[IOMMU_VECTORS_MAX];
};

#endif
