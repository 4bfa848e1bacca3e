/* SPDX-License-Identifier: MIT */
/*
 * A function of the machine on a guest's PCI bus.
 *
 * The guest's driver sees the device's own identity, its base address registers, and of its capabilities those that
 * assigned.c lists; the rest of configuration space is not there. The space is a copy: what the guest writes changes
 * the copy, and four bits of it go on to the device, when they change: bus mastering, whether MSI-X or MSI is
 * on, and, where the guest has its line, whether that is off.
 * Everything else stays as the hypervisor set it before the guest's first instruction.
 *
 *     BAR of the device         what the guest's accesses do
 *     registers                 straight to the device: the nested tree maps them, no exit
 *     pages of the MSI-X table  exits: the table and the pending bits here are the guest's; in the device's own table
 *     and its pending bits      the hypervisor has written messages that the IOMMU knows
 *     expansion ROM             exits: the copy is read that the firmware made of it
 *     ports, BARs below a page, exits: the access is made by struct pci_assigned_io
 *     and a BAR that was moved
 *
 * Interrupts: the device sends one of its messages, which come to the hypervisor; `incoming` gets its bit, and
 * pci_assigned_carry() makes it the guest's own message of that number. The guest's masks hold it back there. A line
 * comes as a source of the guest with its pin masked: the guest's line rises, and falls when the guest has ended that
 * interrupt; then the pin is opened, and where the device still pulls it comes again.
 *
 * A device that is gone reads as all ones, which its registers may say, too; so where they do, and where the guest
 * looks whether there is a function, the device's ID is read.
 *
 * Pure: the machine is behind struct pci_assigned_io. One CPU at a time, under the lock of the guest's PC, except
 * `incoming`.
 */
#ifndef HV_DEV_PCI_ASSIGNED_H
#define HV_DEV_PCI_ASSIGNED_H

#include "hv/dev/pci/function.h"

#define PCI_EXPRESS_NO_SNOOP (1u << 11) /* of Device Control: the device may ask not to be snooped */

/* A base address register of the machine's function. */
struct pci_assigned_bar {
    struct pci_bar bar; /* `kind` is PCI_BAR_NONE: there is none */
    uint64_t at;        /* port, or host-physical address */
    uint64_t place;     /* where the guest finds it first; 0: anywhere */
    bool mapped;        /* by the nested tree, but for the pages of MSI-X */
};

/* Where registers lie, said by a capability that a device of virtio has and no other: 4.1.4 "Virtio Structure PCI
 * Capabilities" of "Virtual I/O Device (VIRTIO) Version 1.1". */
#define PCI_VIRTIO_MAX 4u
#define PCI_VIRTIO_BYTES 20u

struct pci_virtio_place {
    uint8_t bytes; /* of it, 0: there is none */
    uint8_t text[PCI_VIRTIO_BYTES];
};

/* What is read of the machine's function, once (hv/host/pci_device.h). */
struct pci_assigned_facts {
    struct pci_address address;
    struct pci_identity identity;
    bool has_pin;    /* it can pull an interrupt line */
    bool is_virtual; /* a virtual function (hv/host/pci_virtual.h): its own space has neither ID nor BARs */
    struct pci_assigned_bar bars[PCI_BARS];
    uint16_t decode;                /* PCI_COMMAND_IO, PCI_COMMAND_MEMORY: of what has a place */
    uint16_t pm, express, advanced; /* capabilities: power management, PCI Express, advanced features; 0: not there */
    uint16_t msi, msix;
    bool msi_64;
    uint32_t device_capabilities; /* of PCI Express */
    uint16_t device_control;      /* as each life begins: no reset, no error reports, No Snoop off */
    uint32_t msix_count;          /* of the device; 1 to 2048 */
    uint32_t msix_bar;
    uint32_t msix_table, msix_pba; /* offsets in the BAR */
    struct pci_virtio_place virtio[PCI_VIRTIO_MAX];
    const uint8_t *rom; /* the firmware's copy of its expansion ROM */
    uint32_t rom_bytes; /* a power of two from 2 KiB on; 0: there is none */
};

/* How the device is reached. Offsets in configuration space are its own. */
struct pci_assigned_io {
    void *context;
    void (*config_write)(void *context, struct pci_address address, uint32_t offset, uint32_t bytes, uint32_t value);
    uint64_t (*read)(void *context, bool port, uint64_t at, uint8_t size);
    void (*write)(void *context, bool port, uint64_t at, uint8_t size, uint64_t value);
    /* It answers, and is the same. False is said once in a life. */
    bool (*is_there)(void *context, const struct pci_assigned_facts *facts);
    void (*line_open)(void *context, uint8_t vector); /* its line may interrupt again */
};

struct pci_assigned {
    struct pci_endpoint function; /* first */
    const struct pci_assigned_facts *facts;
    const struct pci_assigned_io *io;
    uint32_t vectors;     /* messages that the hypervisor has for it: 0 to PCI_MSIX_MAX */
    uint32_t line_source; /* of the guest, by which its line comes; devices may share one */
    uint8_t line_vector;  /* for line_open(); 0: the guest has no line of it */
    uint32_t incoming;    /* atomic: bit n: message n came */
    uint64_t interrupts;  /* how many were carried */
    uint16_t command;     /* as the device has it */
    bool message;         /* the device has MSI-X or MSI on */
    bool gone;            /* it was pulled out, or died: the function reads as all ones, as one that is not there */
};

/* The device's command register at the beginning of a life. */
static inline uint16_t pci_assigned_command(const struct pci_assigned_facts *facts, bool has_line)
{
    return facts->decode | (has_line ? 0 : PCI_COMMAND_INTX_OFF);
}

/* The function as its guest's driver finds it at the start; facts, io and vectors stay. The device has bus mastering
 * and messages off. */
void pci_assigned_init(struct pci_assigned *device);

/* Asks whether the device is there, and if not lets the function be gone until the next life. */
void pci_assigned_look(struct pci_assigned *device);

/* Makes what came the guest's own interrupts. */
void pci_assigned_carry(struct pci_assigned *device);

/* The bytes [*start, *end) of a BAR, whole pages, that have MSI-X structures of the device. False: none has. They are
 * one run: where table and pending bits lie apart, what is between is in it. */
bool pci_assigned_msix_pages(const struct pci_assigned_facts *facts, unsigned bar, uint64_t *start, uint64_t *end);

extern const struct bus_row pci_assigned_row;

#endif
