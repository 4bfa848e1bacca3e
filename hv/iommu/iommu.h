/* SPDX-License-Identifier: MIT */
/*
 * The machine's IOMMUs as a whole. From iommu_start() on no device of the machine reaches any memory, and none raises
 * an interrupt, but for the memory that the firmware says its devices go on using (RMRR of Intel, IVMD of AMD), and
 * only where the memory map has no memory of ours there. What a unit refuses becomes a line, counted and limited.
 *
 * Parts: dmar.c and ivrs.c read the firmware's description (pure); vtd.c and amdvi.c are the two kinds of units,
 * mirrored name by name over iommu_unit.h (pure, with registers given); iommu.c is the machine. This folder has
 * nothing of guests, and nothing of it cares which vendor the CPU is of.
 *
 * Order, all on the BSP: iommu_read() while the firmware's tables can be reached; iommu_start() before other CPUs run;
 * iommu_audit() once the guests are made; iommu_poll() from then on.
 *
 * Not done: units share no tree with a CPU; devices do not translate by themselves (ATS stays off); no posted
 * interrupts.
 */
#ifndef HV_IOMMU_IOMMU_H
#define HV_IOMMU_IOMMU_H

#include "hv/boot_info.h"
#include "hv/host/host_acpi.h"

/* Of the pool, for a machine with these tables. 0: it has no IOMMU. May be called before the hand-over. */
uint64_t iommu_bytes(const struct host_acpi *acpi);

/* Keeps what the firmware says of its units. */
void iommu_read(const struct host_acpi *acpi);

/* Takes all units over. One line says what is protected by them, or what is not promised without. Time is known, the
 * host's devices are (host_devices_find). */
void iommu_start(const struct boot_info *info, bool x2apic);

/* Every unit is on: no device reaches what it was not granted. */
bool iommu_protects(void);

/* Proves it from the tables (hv/plan/audit_devices.h); panics where it is not so. */
void iommu_audit(const struct boot_info *info);

/* Says what the units have refused since, at most some lines; due when iommu_deadline() is. UINT64_MAX: never. */
void iommu_poll(uint64_t now);
uint64_t iommu_deadline(void);

#endif
