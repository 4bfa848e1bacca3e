/* SPDX-License-Identifier: MIT */
/*
 * The guest's ACPI tables: RSDP, XSDT, FADT (reset register, PM1a for S5), DSDT (_S5, the UART, PCI), MADT, MCFG, and
 * SPCR and DBG2, which name the UART as console and debug port. ACPI 6.5, 5.2.
 */
#ifndef HV_DEV_ACPI_TABLES_H
#define HV_DEV_ACPI_TABLES_H

#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/dev/acpi_config.h"

/* Writes all tables into `buffer`; *used is their size. STATUS_NO_SPACE when `capacity` is too small. */
enum status acpi_tables_build(const struct acpi_tables_config *config, uint8_t *buffer, uint64_t capacity,
                              uint64_t *used);

#endif
