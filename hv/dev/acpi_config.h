/* SPDX-License-Identifier: MIT */
/* What a guest's ACPI tables are made from. */
#ifndef HV_DEV_ACPI_CONFIG_H
#define HV_DEV_ACPI_CONFIG_H

#include "hv/base/types.h"

struct acpi_tables_config {
    uint32_t cpu_count; /* vCPUs: APIC ids 0..cpu_count-1 */
    uint64_t base;      /* guest-physical address of the first byte of the buffer: RSDP is there */
    bool com2;
    bool hpet;                               /* there is a table for it */
    bool keyboard;                           /* the machine's, with a mouse */
    uint32_t pci_devices;                    /* bit n: device n of bus 0 has an interrupt pin */
    uint32_t virtio_mmio;                    /* how many devices */
    uint64_t pci_high_start, pci_high_bytes; /* the window above 4 GiB; 0 bytes: there is none */
};

#endif
