/* SPDX-License-Identifier: MIT */
/*
 * Configuration space of the guest's bus 0 by the two ports: "PCI Local Bus Specification" 3.0, 3.2.2.3.2 and 6. A
 * function is its number on the bus, device * 8 + function.
 */
#ifndef TESTS_GUESTS_LIB_PCI_H
#define TESTS_GUESTS_LIB_PCI_H

#include "tests/guests/lib/guest.h"

#define PCI_ADDRESS_PORT 0xcf8
#define PCI_DATA_PORT 0xcfc
#define PCI_ENABLE 0x80000000u
#define PCI_FUNCTIONS 256u

#define PCI_ID 0x00u
#define PCI_COMMAND 0x04u
#define PCI_COMMAND_MEMORY 0x02u
#define PCI_COMMAND_MEMORY_MASTER 0x06u
#define PCI_COMMAND_ALL 0x07u
#define PCI_BAR(n) (0x10u + 4u * (n))
#define PCI_BAR_MEMORY_BITS 0xfu
#define PCI_BAR_PORT_BITS 0x3u
#define PCI_SUBSYSTEM 0x2cu
#define PCI_CAPABILITIES 0x34u
#define PCI_INTERRUPT_LINE 0x3cu
#define PCI_CAP_MSI 0x05u
#define PCI_CAP_MSIX 0x11u

/* The data port is this register's then, for accesses of any size. */
static inline void pci_select(uint32_t function, uint32_t offset)
{
    out32(PCI_ADDRESS_PORT, PCI_ENABLE | function << 8 | (offset & 0xfcu));
}

static inline uint32_t pci_read(uint32_t function, uint32_t offset)
{
    pci_select(function, offset);
    return in32(PCI_DATA_PORT);
}

static inline void pci_write(uint32_t function, uint32_t offset, uint32_t value)
{
    pci_select(function, offset);
    out32(PCI_DATA_PORT, value);
}

/* The first with this vendor and device; PCI_FUNCTIONS: there is none. */
static inline uint32_t pci_find(uint32_t id)
{
    uint32_t function = 0;

    while (function < PCI_FUNCTIONS && pci_read(function, PCI_ID) != id) {
        function++;
    }
    return function;
}

/* Where the capability is; 0: it has none such. */
static inline uint32_t pci_capability(uint32_t function, uint32_t id)
{
    uint32_t at = pci_read(function, PCI_CAPABILITIES) & 0xfcu;

    while (at != 0 && (pci_read(function, at) & 0xffu) != id) {
        at = pci_read(function, at) >> 8 & 0xfcu;
    }
    return at;
}

#endif
