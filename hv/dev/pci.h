/*
 * PCI configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2) with a host bridge at 00:00.0 and nothing else, and
 * the reset control register at port 0xcf9 between its registers (Intel ICH9 data sheet 13.7.5).
 */
#ifndef HV_DEV_PCI_H
#define HV_DEV_PCI_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"

#define PCI_HEADER_BYTES 64u

struct pci {
    struct bus_signals signals;
    uint32_t address;                 /* port 0xcf8 */
    uint8_t reset_control;            /* port 0xcf9 */
    uint8_t bridge[PCI_HEADER_BYTES]; /* 00:00.0 */
};

void pci_reset(struct pci *pci);

uint32_t pci_address_read(const struct pci *pci);
void pci_address_write(struct pci *pci, uint32_t value);

/* Ports 0xcfc..0xcff: offset 0..3, size 1, 2, 4, within the dword. */
uint32_t pci_data_read(const struct pci *pci, unsigned offset, uint8_t size);
void pci_data_write(struct pci *pci, unsigned offset, uint8_t size, uint32_t value);

/* Port 0xcf9. A rising bit 2 asks for a reset. */
uint8_t pci_reset_control_read(const struct pci *pci);
void pci_reset_control_write(struct pci *pci, uint8_t value);

extern const struct bus_row pci_row;

#endif
