/* SPDX-License-Identifier: MIT */
/*
 * The bridges on the way to a PCI function that a guest has: their reports of errors, which must not stop the machine
 * for a device that a guest drives, and the reset of the bus behind one. Pure, over pci_scan.h; nothing here waits.
 *
 * "PCI-to-PCI Bridge Architecture Specification" 1.2, 3.2.5.18 "Bridge Control Register"; "PCI Express Base
 * Specification" 5.0, 6.2 "Error Signaling and Logging", 7.8.4 "Advanced Error Reporting Extended Capability".
 */
#ifndef HV_HOST_PCI_BRIDGE_H
#define HV_HOST_PCI_BRIDGE_H

#include "hv/host/pci_topology.h"

/* SERR#, system errors and error interrupts off; of what advanced error reporting has, "Surprise Down" is masked. */
void pci_bridge_mute(const struct pci_access *access, const struct pci_address *address);

/* Holds the bus behind the bridge in reset, or lets it go. It is held for 1 ms at least; PCI_RESET_US (pci_device.h)
 * after it was let go the functions answer, with nothing set up. */
void pci_bridge_reset(const struct pci_access *access, const struct pci_address *address, bool held);

/* The bridge right before the function, where a reset of the bus behind it meets no function for which `is_own` is not
 * true. NULL: there is none. */
const struct pci_node *pci_bridge_of(const struct pci_topology *topology, const struct pci_node *node,
                                     bool (*is_own)(const void *context, const struct pci_node *node),
                                     const void *context);

#endif
