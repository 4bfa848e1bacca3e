/* SPDX-License-Identifier: MIT */
/*
 * What a PC's firmware leaves in its ROM beside ACPI, for kernels that look there:
 *
 *   - the MultiProcessor tables (Intel, MultiProcessor Specification 1.4): xv6 and JOS know no others, Linux without
 *     ACPI, HelenOS and 9front read them;
 *   - SMBIOS (DMTF DSP0134, 2.8): IncludeOS ends itself where there is none.
 *
 * Both are found by a signature at a multiple of 16 between 0xf0000 and 1 MiB.
 */
#ifndef HV_DEV_BIOS_TABLES_H
#define HV_DEV_BIOS_TABLES_H

#include "hv/base/status.h"
#include "hv/base/types.h"

#define BIOS_TABLES_BASE 0xf0000u

struct bios_tables_config {
    uint32_t cpu_count;                   /* vCPUs: APIC ids 0..cpu_count-1 */
    uint32_t cpu_signature, cpu_features; /* CPUID 1's EAX and EDX */
    uint64_t memory_bytes;
};

/* Writes what belongs at BIOS_TABLES_BASE; *used is its size. STATUS_NO_SPACE when `capacity` is too small. */
enum status bios_tables_build(const struct bios_tables_config *config, uint8_t *buffer, uint64_t capacity,
                              uint64_t *used);

#endif
