/* SPDX-License-Identifier: MIT */
/*
 * A PCI function as a driver handles it: sizes and reads BARs, walks the list of capabilities, sets up MSI-X. What a
 * kernel does, written down from the specification and not from hv/dev/pci, so that the two can be compared.
 */
#ifndef TESTS_UNIT_PCI_DRIVER_H
#define TESTS_UNIT_PCI_DRIVER_H

#include "hv/dev/pci/function.h"

static inline uint32_t driver_read32(struct pci_endpoint *function, unsigned offset)
{
    return pci_config_read(function, offset, 4);
}

static inline void driver_write32(struct pci_endpoint *function, unsigned offset, uint32_t value)
{
    pci_config_write(function, offset, 4, value);
}

struct driver_bar {
    bool ports, wide;
    uint64_t bytes; /* 0: there is none */
    uint64_t address;
};

/* Writes all ones, reads the mask, and puts the old value back. */
static inline struct driver_bar driver_size_bar(struct pci_endpoint *function, unsigned index)
{
    unsigned at = 0x10 + 4 * index;
    uint32_t low = driver_read32(function, at), high = 0;
    struct driver_bar bar = {.ports = (low & 1) != 0, .wide = (low & 7) == 4};
    uint64_t flags = bar.ports ? 3 : 15;
    uint64_t mask;

    driver_write32(function, at, 0xffffffff);
    mask = driver_read32(function, at);
    driver_write32(function, at, low);
    if (bar.wide) {
        high = driver_read32(function, at + 4);
        driver_write32(function, at + 4, 0xffffffff);
        mask |= (uint64_t)driver_read32(function, at + 4) << 32;
        driver_write32(function, at + 4, high);
    } else if (mask != 0) {
        mask |= 0xffffffff00000000ULL;
    }
    bar.bytes = mask == 0 ? 0 : ~(mask & ~flags) + 1;
    bar.address = (((uint64_t)high << 32) | low) & ~flags;
    return bar;
}

/* The offset of the nth capability with this id; 0: there is none. A list longer than the space is a loop. */
static inline unsigned driver_find_capability(struct pci_endpoint *function, uint8_t id, unsigned nth)
{
    unsigned at = 0;

    if ((pci_config_read(function, 6, 2) & 0x10) != 0) {
        at = pci_config_read(function, 0x34, 1) & ~3u;
    }
    for (unsigned i = 0; i < 48 && at != 0; i++) {
        if (pci_config_read(function, at, 1) == id && nth-- == 0) {
            return at;
        }
        at = pci_config_read(function, at + 1, 1) & ~3u;
    }
    return 0;
}

#endif
