/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration space of segment 0 by ports 0xcf8 and 0xcfc: "PCI Local Bus Specification" 3.0, 3.2.2.3.2 "Software
 * Generation of Configuration Transactions". One CPU at a time uses the pair.
 */
#ifndef HV_HOST_PCI_PORTS_H
#define HV_HOST_PCI_PORTS_H

#include "hv/host/pci_scan.h"
#include "hv/x86/insn.h"

#define PCI_PORT_ADDRESS 0xcf8u
#define PCI_PORT_DATA 0xcfcu
#define PCI_PORT_ELCR 0x4d0u
#define PCI_PORT_ENABLE 0x80000000u

/* Bus [23:16], device [15:11], function [10:8], register [7:2]. */
static inline void pci_ports_select(struct pci_address address, uint32_t offset)
{
    insn_out32(PCI_PORT_ADDRESS, PCI_PORT_ENABLE | (uint32_t)address.bus << 16 | (uint32_t)address.device << 11 |
                                     (uint32_t)address.function << 8 | (offset & 0xfc));
}

static inline uint32_t pci_ports_read(void *context, struct pci_address address, uint32_t offset)
{
    (void)context;
    pci_ports_select(address, offset);
    return insn_in32(PCI_PORT_DATA);
}

static inline void pci_ports_write(void *context, struct pci_address address, uint32_t offset, uint32_t bytes,
                                   uint32_t value)
{
    (void)context;
    pci_ports_select(address, offset);
    if (bytes == 2) {
        insn_out16((uint16_t)(PCI_PORT_DATA + (offset & 2)), (uint16_t)value);
    } else {
        insn_out32(PCI_PORT_DATA, value);
    }
}

/* Which IRQs the firmware has made levels, bit n of IRQ n: those that PCI's lines are led to are. ELCR: Intel 82371AB
 * (PIIX4) data sheet 7.3. */
static inline uint16_t pci_ports_levels(void)
{
    return (uint16_t)(insn_in8(PCI_PORT_ELCR) | insn_in8(PCI_PORT_ELCR + 1) << 8);
}

#endif
