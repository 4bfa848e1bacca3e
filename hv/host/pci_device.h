/* SPDX-License-Identifier: MIT */
/*
 * One PCI function of the machine that a guest gets: what it has, how it is reset between two of its guest's lives, and
 * how its registers are set up for the next. Pure, over pci_scan.h; nothing here waits.
 *
 * The order of a life: pci_device_stop(), pci_device_reset(); PCI_RESET_US later pci_device_wake(); PCI_RESET_US later
 * pci_device_restore(), the interrupts' messages, and then the guest's driver.
 *
 * "PCI Express Base Specification" 5.0, 6.6.2 "Function Level Reset (FLR)"; "PCI Bus Power Management Interface
 * Specification" 1.2, 5.4; "Advanced Capabilities for Conventional PCI" ECN 2006.
 */
#ifndef HV_HOST_PCI_DEVICE_H
#define HV_HOST_PCI_DEVICE_H

#include "hv/base/status.h"
#include "hv/dev/pci/assigned.h"
#include "hv/host/pci_scan.h"

#define PCI_RESET_US 100000u /* until a function answers after a reset: 6.6.2 */

enum pci_reset {
    PCI_RESET_NONE,
    PCI_RESET_FUNCTION, /* by PCI Express */
    PCI_RESET_ADVANCED, /* by the capability of conventional PCI */
    PCI_RESET_POWER,    /* D3 and back */
    PCI_RESET_BUS,      /* of the bus that it is on, by the bridge (pci_bridge.h): not by this file */
};

/* Sizes its BARs: it must have no bus mastering, and nothing uses it. STATUS_UNSUPPORTED: it is a bridge. */
enum status pci_device_read(const struct pci_access *access, struct pci_address address,
                            struct pci_assigned_facts *facts);

/* The same of a virtual function, of which address, vendor, product and BARs are set. Nothing is written. */
void pci_device_read_virtual(const struct pci_access *access, struct pci_assigned_facts *facts);

/* The function answers, and is the one that was read. A virtual one says no ID: it is known by its class. */
bool pci_device_answers(const struct pci_access *access, const struct pci_assigned_facts *facts);

/* Of that its capabilities alone, by reading; the address is set. */
void pci_device_read_capabilities(const struct pci_access *access, struct pci_assigned_facts *facts);

enum pci_reset pci_device_reset_kind(const struct pci_access *access, const struct pci_assigned_facts *facts);

/* "function-level reset" */
const char *pci_reset_name(enum pci_reset kind);

/* Bus mastering, messages, No Snoop and reports of errors off. */
void pci_device_stop(const struct pci_access *access, const struct pci_assigned_facts *facts);

/* It has no switch for "Enable No Snoop" (it is no PCI Express device), or the bit cannot be cleared; pci_device_stop()
 * has tried. 7.5.3.4 "Device Control Register". */
bool pci_device_may_not_snoop(const struct pci_access *access, const struct pci_assigned_facts *facts);

/* Begins the reset that it has. What the device was doing is void. */
void pci_device_reset(const struct pci_access *access, const struct pci_assigned_facts *facts);

/* D0, whatever it was. */
void pci_device_wake(const struct pci_access *access, const struct pci_assigned_facts *facts);

/* BARs, ports and memory decoded, its ROM not, bus mastering off, no messages; its line as `has_line` says. */
void pci_device_restore(const struct pci_access *access, const struct pci_assigned_facts *facts, bool has_line);

/* The IRQ that the firmware has led the function's line to, as it is where the chipset's router leads all lines to the
 * 8259: it is in the Interrupt Line register, and a level. `levels`: of the ELCR, bit n of IRQ n. False: not known.
 * "PCI Local Bus Specification" 3.0, 6.2.4 "Miscellaneous Registers". */
bool pci_device_irq(const struct pci_access *access, struct pci_address address, uint16_t levels, uint32_t *irq);

/* The one message of MSI, which stays off. */
void pci_device_set_msi(const struct pci_access *access, const struct pci_assigned_facts *facts, uint64_t address,
                        uint32_t data);

#endif
