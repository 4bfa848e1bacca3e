/* SPDX-License-Identifier: MIT */
/*
 * A PCI function in a line of text, for machine.txt: what it is, where its registers lie, what it can do, and with what
 * it forms a group. No serial number and no network address is among what is read. Pure, over pci_scan.h.
 */
#ifndef HV_HOST_PCI_DESCRIBE_H
#define HV_HOST_PCI_DESCRIBE_H

#include "hv/host/pci_topology.h"

#define PCI_DESCRIBE_BYTES 640u

/* "00:1f.2 8086:2922 class 010601, disk controller, endpoint, bars 4=0x6041 5=0x81084000, can 05 12 10, group 00:1f.0".
 * A segment other than 0 stands before the bus. Extended capabilities are said as x0001. */
void pci_describe(char to[PCI_DESCRIBE_BYTES], const struct pci_topology *topology, const struct pci_node *node,
                  const struct pci_access *access);

#endif
