/* SPDX-License-Identifier: MIT */
/*
 * Virtual functions: what a PCI Express function with the SR-IOV capability can have, and how they are made. Pure, over
 * pci_scan.h; nothing here waits.
 *
 *     offset in the capability                       written by
 *     0x08  control: VF Enable, VF Memory Space      pci_virtual_make(), pci_virtual_unmake()
 *     0x0e  TotalVFs                                 the device
 *     0x10  NumVFs                                   pci_virtual_make()
 *     0x14  First VF Offset, 0x16 VF Stride          the device, from NumVFs and from ARI
 *     0x1a  VF Device ID                             the device
 *     0x20  System Page Size                         pci_virtual_make(): 4 KiB
 *     0x24  VF BAR 0 to 5                            the firmware; kept over a reset of the function
 *
 * Virtual function n, from 1 on, has the requester ID of the physical one + offset + (n - 1) * stride, and of each VF
 * BAR the part (n - 1) * its size. Its own configuration space says neither vendor, product nor BARs, so a scan of
 * buses does not find it, and what a guest is shown of them comes from the physical function.
 *
 * Where the firmware gave the VF BARs no place there is none: a bridge's windows are the firmware's.
 *
 * "PCI Express Base Specification" 5.0, 9.2.1 "SR-IOV Resource Discovery", 9.3.3 "SR-IOV Extended Capability", 9.3.4
 * "PF/VF Configuration Space Header", 6.13 "Alternative Routing-ID Interpretation (ARI)".
 */
#ifndef HV_HOST_PCI_VIRTUAL_H
#define HV_HOST_PCI_VIRTUAL_H

#include "hv/dev/pci/assigned.h"
#include "hv/host/pci_topology.h"

#define PCI_VIRTUAL_US 100000u /* from VF Enable until virtual functions answer: 9.3.3.3.1 "VF Enable" */
#define PCI_VIRTUAL_TEXT_MAX 160u

/* A function whose virtual functions guests have. */
struct pci_virtual {
    struct pci_address address; /* of the physical function */
    uint16_t at;                /* of its capability */
    uint16_t total;             /* that it can have */
    uint16_t count;             /* that are made */
    uint16_t offset, stride;    /* of requester IDs */
    uint16_t product;
    struct pci_assigned_bar bars[PCI_BARS]; /* of the first virtual function */
};

/* How many virtual functions it can have; 0: none, or its space beyond 256 bytes cannot be reached. */
uint16_t pci_virtual_total(const struct pci_access *access, struct pci_address address);

/* Reads the capability and sizes the VF BARs; no virtual function may be on, and is after it. False: it has none. */
bool pci_virtual_read(const struct pci_access *access, struct pci_address address, struct pci_virtual *physical);

/* Gives the VF BARs back their places and makes `count` virtual functions, which answer after PCI_VIRTUAL_US. NULL, or
 * a sentence of why not, in `why`: then there are none. */
const char *pci_virtual_make(const struct pci_access *access, const struct pci_topology *topology,
                             struct pci_virtual *physical, uint16_t count, char why[PCI_VIRTUAL_TEXT_MAX]);

/* There are none any more. The function needs 1 s before they are made anew (9.3.3.3.1). */
void pci_virtual_unmake(const struct pci_access *access, struct pci_virtual *physical);

/* Of virtual function n, from 1 on. */
struct pci_address pci_virtual_address(const struct pci_virtual *physical, uint32_t n);

/* What a guest's function is made from, as pci_device_read() says it of others. */
void pci_virtual_device(const struct pci_access *access, const struct pci_virtual *physical, uint32_t n,
                        struct pci_assigned_facts *facts);

#endif
