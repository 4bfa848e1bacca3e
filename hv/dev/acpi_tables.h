/* SPDX-License-Identifier: MIT */
/*
 * The guest's ACPI tables: RSDP, XSDT, FADT (reset register, PM1a for S5), DSDT (_S5, the UART, PCI), MADT, MCFG, and
 * SPCR and DBG2, which name the UART as console and debug port. ACPI 6.5, 5.2.
 */
#ifndef HV_DEV_ACPI_TABLES_H
#define HV_DEV_ACPI_TABLES_H

#include "hv/base/status.h"
#include "hv/base/types.h"

struct acpi_tables_config {
    uint32_t cpu_count;                      /* vCPUs: APIC ids 0..cpu_count-1 */
    uint64_t base;                           /* guest-physical address of the first byte of the buffer: RSDP is there */
    uint32_t pci_devices;                    /* bit n: device n of bus 0 has an interrupt pin */
    uint64_t pci_high_start, pci_high_bytes; /* the window above 4 GiB; 0 bytes: there is none */
};

/* Writes all tables into `buffer`; *used is their size. STATUS_NO_SPACE when `capacity` is too small. */
enum status acpi_tables_build(const struct acpi_tables_config *config, uint8_t *buffer, uint64_t capacity,
                              uint64_t *used);

#endif
