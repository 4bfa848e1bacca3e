/* SPDX-License-Identifier: MIT */
/* Inside of the ACPI tables: what acpi_tables.c and acpi_dsdt.c share. */
#ifndef HV_DEV_ACPI_DSDT_H
#define HV_DEV_ACPI_DSDT_H

#include "hv/dev/acpi_config.h"
#include "hv/dev/table_writer.h"

/* A table's header, aligned; *begin returns its offset, which the end is given, and length and checksum are filled in
 * there. */
uint64_t acpi_table_begin(struct table_writer *out, const char *signature, uint8_t revision);
void acpi_table_end(struct table_writer *out, uint64_t start);

/* The DSDT's offset. */
uint64_t acpi_put_dsdt(struct table_writer *out, const struct acpi_tables_config *config);

#endif
