/* SPDX-License-Identifier: MIT */
/*
 * Virtio over MMIO, version 2: a page of registers and an interrupt line for each device, and no bus on which a kernel
 * could look for them. Virtio 1.2, 4.2 "Virtio Over MMIO".
 *
 * A kernel with ACPI finds each as a device LNRO0005; another one is told, as Linux by its command line:
 * virtio_mmio.device=4K@0xfeb00000:5. Device n is at GUEST_VIRTIO_MMIO_START + n pages, and each has an interrupt of
 * the ISA bus for itself, because those are edges: two devices could not share one without losing some.
 *
 * The line is high while the interrupt status is not 0. Where the driver acknowledges a part of it, the rest comes as
 * another edge: on an edge-triggered input nothing else would tell of it.
 */
#ifndef HV_DEV_VIRTIO_MMIO_H
#define HV_DEV_VIRTIO_MMIO_H

#include "hv/dev/bus.h"
#include "hv/dev/virtio/device.h"

struct virtio_mmio {
    struct virtio_device *device;
    struct bus_signals signals;
    uint32_t interrupt_status;
    uint32_t queue_select;
    uint32_t feature_select;
    uint32_t driver_feature_select;
};

/* At each start of the guest; the device has been made by virtio_init(). */
void virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_device *device);

/* Turns what the device has to tell its driver into interrupts. Under the lock of the guest's PC. */
void virtio_mmio_carry_signals(struct virtio_mmio *mmio);

/* Range 0 is the registers, line 0 the interrupt; both are placed where the device is attached. What is in flight is
 * not plain data: no saved state yet. */
extern const struct bus_row virtio_mmio_row;

#endif
