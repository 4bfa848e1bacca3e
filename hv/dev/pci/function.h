/* SPDX-License-Identifier: MIT */
/*
 * This folder has a guest's PCI bus: functions, their interrupts, and the host bridge that they are found by.
 * Nothing of the machine's own PCI is here (hv/host/pci_scan.h), and nothing of what a device does.
 *
 * This file: one function, its configuration space, its base address registers, its interrupts.
 *
 * Here: PCI as a driver finds it, one description per device, pure. Not here: what a device does (hv/dev/virtio/ and
 * others), and where its accesses come from (bus.h).
 *
 * A device describes itself once per start of its guest: pci_function_init(), then its BARs, then its capabilities in
 * the order in which the list is to show them. From then on the guest's accesses change the space by the masks that
 * were laid down with it. PCI Local Bus Specification 3.0, 6 "Configuration Space".
 *
 *        3         2         1         0
 *   00  | device id         | vendor id         |     10..24  base address registers 0..5
 *   04  | status            | command           |     2c  | subsystem id      | subsystem vendor  |
 *   08  | class code                  | rev    |     34                                | first cap |
 *   0c  | BIST    | type    | latency | line   |     3c                      | pin     | line      |
 *
 * A function asks for an interrupt in one of three ways, and which one is the guest's choice: MSI-X, MSI, or its INTx
 * line. `pending` has a bit for every vector that waits, for its mask or for being collected, so nothing is lost or
 * queued twice, whatever the guest does meanwhile.
 *
 * On the device bus a function is a device like others: its state begins with a struct pci_endpoint, its row has
 * PCI_ROW_RANGES and the pci_row functions below, and its line 0 is INTx. pci_host (host.h) places its BARs.
 */
#ifndef HV_DEV_PCI_FUNCTION_H
#define HV_DEV_PCI_FUNCTION_H

#include "hv/base/types.h"
#include "hv/dev/apic_message.h"
#include "hv/dev/bus.h"
#include "hv/dev/timebase.h"
#include "hv/x86/pci.h"

#define PCI_CONFIG_BYTES 256u
#define PCI_BARS 6u
#define PCI_ROM 6u       /* the expansion ROM's register, counted behind the BARs */
#define PCI_PLACES 7u    /* registers that say where a range is: BARs and the ROM's */
#define PCI_MSIX_MAX 32u /* vectors of one function; MSI has at most 32, too */

/* Registers that others look at, beside those of hv/x86/pci.h. Figure 6-1. */
#define PCI_VENDOR 0x00u
#define PCI_STATUS 0x06u
#define PCI_BAR0 0x10u
#define PCI_CAPABILITIES 0x34u
#define PCI_INTERRUPT_LINE 0x3cu
#define PCI_INTERRUPT_PIN 0x3du

/* 6.2.2, table 6-1. */
#define PCI_COMMAND_IO 0x0001u
#define PCI_COMMAND_INTX_OFF 0x0400u

enum pci_bar_kind {
    PCI_BAR_NONE,
    PCI_BAR_PORTS,
    PCI_BAR_MEMORY32,
    PCI_BAR_MEMORY64, /* the next register is its upper half */
    PCI_BAR_ROM,      /* PCI_ROM's: below 4 GiB, and decoded where its own bit 0 says so, too */
};

struct pci_bar {
    uint8_t kind; /* enum pci_bar_kind */
    bool prefetchable;
    uint64_t bytes; /* a power of two, at least 4 (ports), 16, or 2048 (ROM) */
};

struct pci_endpoint;

/* What a device does. Any may be NULL: reads then give 0. Offsets are within the BAR, accesses do not cross its end;
 * size is 1, 2, 4 or 8 (ports: at most 4), at any alignment. */
struct pci_device_ops {
    uint64_t (*read)(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size);
    void (*write)(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value);
    /* Sees an access to the configuration space first. True: that was it. */
    bool (*config_read)(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t *value);
    bool (*config_write)(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value);
};

struct pci_identity {
    uint16_t vendor;
    uint16_t device;
    uint16_t subsystem_vendor;
    uint16_t subsystem;
    uint32_t class_code; /* class, subclass, interface: 0x020000 is a network card */
    uint8_t revision;
    bool has_intx; /* pin A */
};

struct pci_msix_entry {
    uint32_t words[4]; /* address, upper address, data, control. 6.8.2.6 to 6.8.2.9 */
};

struct pci_endpoint {
    const struct pci_device_ops *ops;
    void *device;  /* what the function belongs to */
    uint8_t devfn; /* device << 3 | function; the first byte of saved state */
    struct bus_signals signals;
    uint8_t config[PCI_CONFIG_BYTES];
    uint8_t writable[PCI_CONFIG_BYTES]; /* 1: the guest may change the bit */
    struct pci_bar bars[PCI_PLACES];
    bool moved;       /* a BAR or the command changed: the bus decodes anew */
    uint8_t last_cap; /* offset of the newest capability; 0: none */
    uint8_t cap_end;  /* where the next one goes */
    uint8_t msi_cap;  /* 0: none */
    uint8_t msix_cap; /* 0: none */
    uint8_t msix_bar; /* has the table and the pending bits */
    uint8_t msix_count;
    uint32_t msix_table; /* offsets in the BAR */
    uint32_t msix_pba;
    struct pci_msix_entry msix[PCI_MSIX_MAX];
    uint32_t pending; /* bit n: vector n waits */
    bool intx;        /* the device asks for its line */
};

/* Everything 0, then the header: ports and memory switched on and the rest off, as firmware leaves a function. */
void pci_function_init(struct pci_endpoint *function, const struct pci_identity *identity,
                       const struct pci_device_ops *ops, void *device);
void pci_function_add_bar(struct pci_endpoint *function, unsigned index, struct pci_bar bar);

/* `body` follows the two bytes of id and link; returns the capability's offset. Room for all of them is a matter of
 * the device's description, and checked. */
uint8_t pci_function_add_capability(struct pci_endpoint *function, uint8_t id, const uint8_t *body, unsigned bytes);

/* 1 to PCI_MSIX_MAX vectors; the table and the pending bits lie in memory BAR `bar`. */
void pci_function_add_msix(struct pci_endpoint *function, unsigned vectors, unsigned bar, uint32_t table, uint32_t pba);

/* vectors: 1, 2, 4, 8, 16 or 32. With 64-bit addresses and a mask per vector. */
void pci_function_add_msi(struct pci_endpoint *function, unsigned vectors);

/* size 1, 2, 4; offset + size may pass the end of a register, not of the space's 4 KiB, where nothing follows. */
uint32_t pci_config_read(struct pci_endpoint *function, unsigned offset, uint8_t size);
void pci_config_write(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value);

/* The same without a question to the device, whose config_write() may use it. */
void pci_config_store(struct pci_endpoint *function, unsigned offset, uint8_t size, uint32_t value);

static inline uint16_t pci_config_word(const struct pci_endpoint *function, unsigned offset)
{
    return (uint16_t)(function->config[offset] | function->config[offset + 1] << 8);
}

static inline uint32_t pci_config_dword(const struct pci_endpoint *function, unsigned offset)
{
    return pci_config_word(function, offset) | (uint32_t)pci_config_word(function, offset + 2) << 16;
}

static inline uint16_t pci_command(const struct pci_endpoint *function)
{
    return pci_config_word(function, PCI_COMMAND);
}

/* The address in a BAR as it stands, decoded or not. */
uint64_t pci_bar_address(const struct pci_endpoint *function, unsigned index);
void pci_bar_set_address(struct pci_endpoint *function, unsigned index, uint64_t address);

/* An access to one of its BARs: MSI-X structures are served here, the rest by the device. */
uint64_t pci_bar_read(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size);
void pci_bar_write(struct pci_endpoint *function, unsigned bar, uint64_t offset, uint8_t size, uint64_t value);

/* ---- on the device bus ---- */

/* What a row is told of an access: the BAR's number above the offset. */
#define PCI_AT(bar, offset) ((uint64_t)(bar) << 56 | (offset))
#define PCI_AT_BAR(at) ((unsigned)((at) >> 56))
#define PCI_AT_OFFSET(at) ((at) & (PCI_AT(1, 0) - 1))

#define PCI_ROW_RANGES BUS_RANGES(BUS_LATER, BUS_LATER, BUS_LATER, BUS_LATER, BUS_LATER, BUS_LATER, BUS_LATER)

bool pci_row_read(void *state, struct bus_access *access);
bool pci_row_write(void *state, const struct bus_access *access);
bool pci_row_next_message(void *state, struct apic_message *message);

/* Sets line and messages to what the state says; a deadline is the device's own. The row functions do it; a device does
 * it that changed its state outside. */
void pci_signal(struct pci_endpoint *function);

/* Where a BAR is now, as a range for bus_place(). 0 bytes: it is not decoded, or there is no such BAR. */
struct bus_range pci_bar_range(const struct pci_endpoint *function, unsigned index);

/* ---- interrupts: msi.c ---- */

/* True while the guest has switched on MSI-X, or MSI: INTx is then silent. */
bool pci_msix_enabled(const struct pci_endpoint *function);
bool pci_msi_enabled(const struct pci_endpoint *function);

/* The device asks for a vector. Where neither MSI nor MSI-X is on, or there is no such vector, nothing happens. */
void pci_interrupt(struct pci_endpoint *function, unsigned vector);

/* Does it pull its line now? Also what the status register's bit 3 says, the command's bit 10 aside. */
bool pci_intx_asserted(const struct pci_endpoint *function);

/* True where pci_take_message() has something to look at. */
bool pci_has_message(const struct pci_endpoint *function);

/* Takes the message of the lowest vector that waits and may be sent. A message to no local APIC is dropped. */
bool pci_take_message(struct pci_endpoint *function, struct apic_message *message);

bool pci_msix_covers(const struct pci_endpoint *function, unsigned bar, uint64_t offset);
uint64_t pci_msix_read(const struct pci_endpoint *function, uint64_t offset, uint8_t size);
void pci_msix_write(struct pci_endpoint *function, uint64_t offset, uint8_t size, uint64_t value);

#endif
