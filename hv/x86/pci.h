/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration space: registers and classes, as the machine has them and as a guest's functions show them.
 *
 * "PCI Local Bus Specification" 3.0, 6.1 "Configuration Space Organization"; "PCI Express Base Specification" 5.0, 7.2.
 */
#ifndef HV_X86_PCI_H
#define HV_X86_PCI_H

#include "hv/base/types.h"

#define PCI_DEVICES 32u
#define PCI_FUNCTIONS 8u

#define PCI_ID 0x00u
#define PCI_COMMAND 0x04u
#define PCI_CLASS 0x08u
#define PCI_HEADER 0x0cu
#define PCI_BAR(n) (0x10u + 4u * (n))
#define PCI_BUSES 0x18u /* of a bridge: primary, secondary, subordinate */
#define PCI_ID_NONE 0xffffu
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_HEADER_MANY_FUNCTIONS 0x00800000u /* of the word at PCI_HEADER */

#define PCI_HEADER_TYPE_SHIFT 16u
#define PCI_HEADER_TYPE_MASK 0x7fu
#define PCI_HEADER_TYPE_BRIDGE 0x01u
#define PCI_STATUS_CAPABILITIES (1u << 20) /* of the word at PCI_COMMAND */

#define PCI_CLASS_DISPLAY 0x03u
#define PCI_CLASS_BRIDGE 0x06u
#define PCI_CLASS_USB 0x0c03u /* class and subclass */

struct pci_address {
    uint16_t segment;
    uint8_t bus, device, function;
};

#endif
