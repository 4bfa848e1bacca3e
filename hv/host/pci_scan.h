/* SPDX-License-Identifier: MIT */
/*
 * The machine's PCI functions: where they are, and how their configuration space is read. Pure: the caller gives the
 * access, so that invented machines serve as well as the real one.
 */
#ifndef HV_HOST_PCI_SCAN_H
#define HV_HOST_PCI_SCAN_H

#include "hv/x86/pci.h"

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

/* Does a function answer at this address? */
bool pci_is_there(const struct pci_access *access, struct pci_address address);

/* The buses behind a bridge, on its own segment: first and last included. */
struct pci_bridge {
    uint8_t secondary, subordinate;
};

/* False: the function is no bridge, or no bus behind it has a number. "PCI-to-PCI Bridge Architecture Specification"
 * 1.2, 3.2.5 "PCI-to-PCI Bridge Standard Configuration Space Register Definitions". */
bool pci_read_bridge(const struct pci_access *access, struct pci_address address, struct pci_bridge *bridge);

/* Can the function write to memory by itself? Displays and bridges do not count: see pci_stop_master(). */
bool pci_is_master(const struct pci_access *access, const struct pci_function *function);

/*
 * Takes the right to write to memory by itself from a function. True: it had it. Displays keep it, whose controllers
 * may fetch the picture from memory, and bridges, which only forward.
 */
bool pci_stop_master(const struct pci_access *access, const struct pci_function *function);

#endif
