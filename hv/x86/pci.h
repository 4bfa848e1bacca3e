/* SPDX-License-Identifier: MIT */
/*
 * The machine's PCI functions: where they are, and how their configuration space is read. Pure: the caller gives the
 * access, so that invented machines serve as well as the real one.
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
#define PCI_ID_NONE 0xffffu
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_HEADER_MANY_FUNCTIONS 0x00800000u /* of the word at PCI_HEADER */

#define PCI_CLASS_DISPLAY 0x03u
#define PCI_CLASS_BRIDGE 0x06u
#define PCI_CLASS_USB 0x0c03u /* class and subclass */

struct pci_address {
    uint16_t segment;
    uint8_t bus, device, function;
};

/* How configuration space is reached. `offset` is a multiple of `bytes`, which is 2 or 4. */
struct pci_access {
    void *context;
    uint32_t (*read)(void *context, struct pci_address address, uint32_t offset);
    void (*write)(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value);
};

struct pci_function {
    struct pci_address address;
    uint16_t vendor, product;
    uint32_t class_code; /* class, subclass, programming interface */
};

/* Buses that can be reached: of one segment group, first and last included. */
struct pci_buses {
    uint16_t segment;
    uint8_t first, last;
};

typedef void pci_visit(void *context, const struct pci_access *access, const struct pci_function *function);

/*
 * Calls `visit` for every function on every one of the buses, in ascending order; returns how many there are. All buses
 * are looked at, because a bus behind a second root complex is below no bridge of the first.
 */
uint32_t pci_scan(const struct pci_access *access, const struct pci_buses *buses, uint32_t count, pci_visit *visit,
                  void *context);

/* Can the function write to memory by itself? Displays and bridges do not count: see pci_stop_master(). */
bool pci_is_master(const struct pci_access *access, const struct pci_function *function);

/*
 * Takes the right to write to memory by itself from a function. True: it had it. Displays keep it, whose controllers
 * may fetch the picture from memory, and bridges, which only forward.
 */
bool pci_stop_master(const struct pci_access *access, const struct pci_function *function);

#endif
