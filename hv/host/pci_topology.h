/* SPDX-License-Identifier: MIT */
/*
 * How the machine's PCI functions hang together, and which of them nothing can tell apart. Pure, over pci_scan.h.
 *
 * An IOMMU knows a device by the requester ID of its transactions, and it sees only what reaches it. Two things break
 * that: a bridge to conventional PCI puts one ID on everything behind it, and a PCI Express switch or a multi-function
 * device may send a transaction from one function to another without showing it to the IOMMU, unless Access Control
 * Services (ACS) forbid it. Functions that could pass for each other or reach each other form a group, and a group has
 * one owner.
 *
 *     root complex: assumed to isolate its devices from each other, as every IOMMU's specification does
 *       |-- 00:02.0  endpoint                     alone
 *       |-- 00:1f.0, 00:1f.3  one device          together: several functions without ACS
 *       |-- 00:1c.0  root port with ACS           alone, and what is behind it, too
 *       |     '-- 02:00.0
 *       |-- 00:1c.1  root port without ACS        together with all that is behind it
 *       |     '-- 03:00.0
 *       '-- 00:1e.0  bridge to conventional PCI   together with all that is behind it
 *             '-- 04:01.0                         heard as 04:00.0
 *
 * "PCI Express Base Specification" 5.0, 6.12 "Access Control Services", 7.5.3 "PCI Express Capability Structure",
 * 7.7.8 "ACS Extended Capability"; "PCI Express to PCI/PCI-X Bridge Specification" 1.0, 2.3 "Assignment of Requester
 * ID and Tag by the Bridge".
 */
#ifndef HV_HOST_PCI_TOPOLOGY_H
#define HV_HOST_PCI_TOPOLOGY_H

#include "hv/base/status.h"
#include "hv/host/pci_scan.h"

#define PCI_NODES_MAX 512u
#define PCI_PARENT_NONE UINT16_MAX
#define PCI_REQUESTERS_MAX 3u

/* PCI Express device and port types, with the values of its capabilities register. */
enum pci_port {
    PCI_PORT_ENDPOINT = 0x0,
    PCI_PORT_LEGACY_ENDPOINT = 0x1,
    PCI_PORT_ROOT = 0x4,
    PCI_PORT_UPSTREAM = 0x5,
    PCI_PORT_DOWNSTREAM = 0x6,
    PCI_PORT_TO_CONVENTIONAL = 0x7,
    PCI_PORT_FROM_CONVENTIONAL = 0x8,
    PCI_PORT_INTEGRATED = 0x9,      /* an endpoint of the root complex */
    PCI_PORT_EVENT_COLLECTOR = 0xa, /* of the root complex */
    PCI_PORT_CONVENTIONAL = 0x10,   /* no PCI Express: not a value of the register */
};

struct pci_node {
    struct pci_function function;
    uint8_t port; /* enum pci_port */
    bool is_bridge;
    struct pci_bridge bridge;
    uint16_t parent; /* the bridge that it is behind; PCI_PARENT_NONE: it is on a root bus */
    bool many_functions;
    bool isolates;     /* ACS forbids what goes around the IOMMU, or can be told to */
    bool phantom;      /* it uses function numbers that no function has */
    uint16_t acs;      /* where the capability is; 0: none */
    uint16_t group;    /* the lowest index of its group */
    uint16_t physical; /* of a virtual function: the index of the function that has it; else PCI_PARENT_NONE */
};

struct pci_topology {
    struct pci_node nodes[PCI_NODES_MAX];
    uint32_t count;
};

/* Everything on the buses. STATUS_NO_SPACE: there are more functions than PCI_NODES_MAX; groups then mean nothing. */
enum status pci_topology_read(struct pci_topology *topology, const struct pci_access *access,
                              const struct pci_buses *buses, uint32_t count);

/* Adds a virtual function of the one at `physical`, which the scan did not find (pci_virtual.h). Functions of a device
 * that can have virtual ones reach each other only where they have ACS, which then forbids it: 6.12.1.2 "ACS Functions
 * in SR-IOV Capable and Multi-Function Devices". STATUS_NO_SPACE: there are more than PCI_NODES_MAX. */
enum status pci_topology_add_virtual(struct pci_topology *topology, const struct pci_access *access,
                                     const struct pci_node *physical, const struct pci_function *function);

/* Switches on the ACS that `isolates` speaks of. Before a function of a group is given away, and not to list groups:
 * they are the same before and after it, and until the hand-over the bridges are the firmware's. */
void pci_topology_isolate(const struct pci_topology *topology, const struct pci_access *access);

/* NULL: there is none. */
const struct pci_node *pci_topology_find(const struct pci_topology *topology, struct pci_address address);

/* Bus [15:8], device [7:3], function [2:0]: the requester ID, which AMD calls a device ID. */
static inline uint16_t pci_requester(struct pci_address address)
{
    return (uint16_t)(address.bus << 8 | address.device << 3 | address.function);
}

/* The IDs as which an IOMMU may hear the function, its own first. Returns how many. */
uint32_t pci_topology_requesters(const struct pci_topology *topology, const struct pci_node *node,
                                 uint16_t ids[PCI_REQUESTERS_MAX]);

#endif
