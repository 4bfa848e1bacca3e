/* SPDX-License-Identifier: MIT */
/*
 * A guest's PCI Express host bridge: one bus (0) with up to 32 devices of 8 functions, its configuration space by
 * ECAM and by ports 0xcf8 and 0xcfc, and the reset control register between these (port 0xcf9; Intel ICH9 data sheet
 * 13.7.5). PCI Local Bus 3.0, 3.2.2.3.2 "Software Generation of Configuration Transactions"; PCI Express 3.0, 7.2.2
 * "PCI Express Enhanced Configuration Access Mechanism (ECAM)".
 *
 *   0xcf8:  31      30    24 23  16 15    11 10      8 7      2 1 0      ECAM:  27 20 19    15 14      12 11       0
 *           |enable|  0    | bus  | device | function | register|0 0|           | bus | device | function | register |
 *
 * The order that callers keep: pci_host_reset() on the state; pci_host_add() for each function, which has been
 * described; pci_host_attach() once the host itself is on the bus. From then on every configuration write may move a
 * BAR or unmask an interrupt of any function: it sets BUS_PLACES in the host's wants, and the wires call
 * pci_host_apply().
 *
 * What firmware does before a kernel starts is done in pci_host_attach(): every BAR gets a place, the Interrupt Line
 * register the IRQ of the 8259 that the device's pin leads to. A device d pulls line PCI_LINE(d): I/O APIC pins 16
 * to 23, and an IRQ of the 8259 (PCI_LINE_IRQ), as the chipset of a PC routes them. The guest's ACPI tables say the
 * same.
 *
 * A BAR that a guest moves onto something else, or onto another BAR, answers nothing there: what has a place keeps
 * it. Over RAM it cannot be seen at all, for the guest's accesses to RAM do not come here.
 */
#ifndef HV_DEV_PCI_HOST_H
#define HV_DEV_PCI_HOST_H

#include "hv/dev/pci/function.h"

#define PCI_FUNCTIONS_MAX 40u /* as many as the device bus has room for, beside the rest of the PC */
#define PCI_DEVFNS 256u
#define PCI_DEVFN(device, function) ((uint8_t)((device) << 3 | (function)))
#define PCI_ECAM_BYTES (PCI_DEVFNS * 4096u)

#define PCI_LINES 8u
#define PCI_LINE(devfn) (((devfn) >> 3) % PCI_LINES) /* of pin A */
/* The 8259's inputs that no device of a PC's south bridge has. */
#define PCI_IRQ_EVEN 10u
#define PCI_IRQ_ODD 11u
#define PCI_LINE_IRQ(line) ((line) % 2 == 0 ? PCI_IRQ_EVEN : PCI_IRQ_ODD)

struct pci_host {
    struct pci_endpoint *functions[PCI_FUNCTIONS_MAX];
    const struct bus_row *rows[PCI_FUNCTIONS_MAX];
    struct bus_signals signals;                /* saved from here on */
    uint8_t device_numbers[PCI_FUNCTIONS_MAX]; /* on the device bus */
    uint32_t count;
    uint8_t index_of[PCI_DEVFNS]; /* 1 + index; 0: nothing is there */
    uint32_t address;             /* port 0xcf8 */
    uint8_t reset_control;        /* port 0xcf9 */
    struct pci_endpoint bridge;   /* 00:00.0 */
};

/* A write of four bytes to the address register, which does nothing else. PCI Local Bus 3.0, 3.2.2.3.2. */
#define PCI_HOST_ADDRESS_PORT 0xcf8u
#define PCI_HOST_ADDRESS_BITS 0x80fffffcu
static inline void pci_host_set_address(struct pci_host *host, uint32_t value)
{
    host->address = value & PCI_HOST_ADDRESS_BITS;
}

/* Where firmware places BARs. Half-open. */
struct pci_windows {
    uint64_t ports_start, ports_end;
    uint64_t low_start, low_end;   /* below 4 GiB */
    uint64_t high_start, high_end; /* above; equal: there is none */
};

/* The host bridge and nothing else. */
void pci_host_reset(struct pci_host *host);

/* `state` begins with the struct pci_endpoint. STATUS_NO_SPACE, or STATUS_BUSY where there is one at this devfn. */
enum status pci_host_add(struct pci_host *host, const struct bus_row *row, struct pci_endpoint *function,
                         uint8_t devfn);

/* Gives every BAR a place, largest first, and puts the functions on the bus. STATUS_NO_SPACE: a window is full. */
enum status pci_host_attach(struct pci_host *host, const struct pci_windows *windows, struct bus *bus);

/* Carries what configuration writes changed to the bus. */
void pci_host_apply(struct pci_host *host, struct bus *bus);

/* A function of this host has changed outside of an access: the bus looks at its signals. */
void pci_host_settle(struct pci_host *host, const struct pci_endpoint *function, struct bus *bus);

/* A function's configuration space; size 1, 2 or 4. Nothing there: all ones, and writes vanish. */
uint32_t pci_host_config_read(struct pci_host *host, uint8_t devfn, unsigned offset, uint8_t size);
void pci_host_config_write(struct pci_host *host, uint8_t devfn, unsigned offset, uint8_t size, uint32_t value);

/* What the host's own ranges are told apart by. */
#define PCI_HOST_ADDRESS 0u /* 0xcf8 to 0xcff count from here */
#define PCI_HOST_ECAM 0x100000u

extern const struct bus_row pci_host_row;

#endif
