/* SPDX-License-Identifier: MIT */
/*
 * Virtio over PCI, transitional: one function that both kinds of drivers know. Virtio 1.2, 4.1 "Virtio Over PCI Bus".
 *
 *   BAR 0   ports,   128 bytes   the legacy registers (4.1.4.10), and modern drivers' first notification register: a
 *                                write to a port costs less than one to memory, whose instruction is decoded
 *   BAR 1   memory,  4 KiB       MSI-X: table at 0, pending bits at 0x800
 *   BAR 4   memory,  16 KiB      modern: common configuration at 0, ISR at 0x1000, the device's own at 0x2000,
 *                                notifications at 0x3000
 *
 * Kinds whose ids are below VIRTIO_TRANSITIONAL_IDS have a transitional device id and both layouts; the others the
 * modern one. The guest's writes change the function and the device; what both then want of others is in the
 * function's signals: INTx, messages, and BUS_WORK where queues were kicked.
 */
#ifndef HV_DEV_VIRTIO_PCI_H
#define HV_DEV_VIRTIO_PCI_H

#include "config/config.h"
#include "hv/dev/pci/function.h"
#include "hv/dev/virtio/device.h"

struct virtio_pci {
    struct pci_endpoint function; /* its `device` is the struct virtio_device */
    uint8_t isr;
    uint8_t window_cap; /* the capability through which configuration space reaches the BARs */
    uint16_t queue_select;
    uint32_t feature_select;
    uint32_t driver_feature_select;
};

/*
 * Describes the function, at each start of the guest; the device has been made by virtio_init(). What drivers find:
 *
 *   VIRTIO_TRANSITIONAL   both layouts, and a notification register among ports before the one in memory
 *   VIRTIO_QEMU           both layouts, and the notification register in memory alone, as QEMU's devices have it: for
 *                         drivers that refuse ports and know the transitional ids alone
 *   VIRTIO_MODERN         without the legacy layout, its ids and BAR 0
 */
void virtio_pci_init(struct virtio_pci *pci, struct virtio_device *device, enum config_virtio form);

/* Turns what the device has to tell its driver into interrupts, which are in the function's signals. Under the lock of
 * the guest's PC. */
void virtio_pci_carry_signals(struct virtio_pci *pci);

/* Its two halves. After the first, messages wait in the function, where pci_take_message() can take them; the second
 * puts what is left into the signals. */
void virtio_pci_raise(struct virtio_pci *pci);
void virtio_pci_signal(struct virtio_pci *pci);

/* The row of all virtio devices, whose states begin with a struct virtio_pci. What is in flight is not plain data: they
 * have no saved state yet. */
extern const struct bus_row virtio_pci_row;

#endif
