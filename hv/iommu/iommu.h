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
 * Devices of guests: iommu_device_open() once for each, while no guest runs; then iommu_device_let() at each start of
 * its guest, and iommu_device_block() at each end, by any CPU. What a device of a guest may reach is a tree that its
 * owner has built, all devices of a guest the same one.
 *
 * Not done: units share no tree with a CPU; devices do not translate by themselves (ATS stays off); no posted
 * interrupts.
 */
#ifndef HV_IOMMU_IOMMU_H
#define HV_IOMMU_IOMMU_H

#include "hv/boot_info.h"
#include "hv/host/host_acpi.h"
#include "hv/host/pci_topology.h"
#include "hv/iommu/iommu_vectors.h"
#include "hv/mm/page_table.h"

struct iommu_unit;

/* Of the pool, for a machine with these tables. 0: it has no IOMMU. May be called before the hand-over. */
uint64_t iommu_bytes(const struct host_acpi *acpi);

/* Keeps what the firmware says of its units. */
void iommu_read(const struct host_acpi *acpi);

/* Takes all units over. One line says what is protected by them, or what is not promised without. Time is known, the
 * host's devices are (host_devices_find). */
void iommu_start(const struct boot_info *info, bool x2apic);

/* Every unit is on: no device reaches what it was not granted. */
bool iommu_protects(void);

/* The machine's functions, as iommu_start() found them. */
const struct pci_topology *iommu_topology(void);

#define IOMMU_DEVICES_MAX 64u /* of all guests */

/* A function that a guest has. `to` of its interrupts is the caller's. */
struct iommu_device {
    struct pci_address address;
    const char *owner; /* the guest's name; NULL: the hypervisor lets it through for itself, and only before they run */
    uint16_t domain;   /* one number for one tree: the guest's */
    struct iommu_vectors vectors;
    const struct page_table *tree; /* set before the first iommu_device_let() */
    struct iommu_unit *unit;
    bool let;
};

/* Room for its interrupts; `address`, `owner`, `domain` and `vectors.count` are set. NULL, or a sentence that says why
 * the function cannot be a guest's: "its firmware goes on using it". BSP only. */
const char *iommu_device_open(struct iommu_device *device);

/* From now on the device reaches what its tree maps, and its interrupts pass. Not STATUS_OK: it stays blocked. */
enum status iommu_device_let(struct iommu_device *device);

/* It reaches nothing, and nothing of it is on the way any more. */
void iommu_device_block(struct iommu_device *device);

/* What the device has to write for its message n. */
void iommu_message(const struct iommu_device *device, uint32_t n, uint64_t *address, uint32_t *data);

/* One interrupt of an I/O APIC. */
struct iommu_line {
    uint8_t ioapic_id; /* by the MADT */
    uint8_t vector;
    uint32_t apic_id;
    bool level;
    /* What iommu_line_open() says. */
    bool remapped;  /* false: by no unit, and the pin's entry is an ordinary one */
    uint64_t entry; /* what the pin's has to be, trigger, polarity and mask aside */
};

/* Lets it through. NULL, or a sentence that says why it cannot be. It stays for good: the pin's mask is what stops it.
 * BSP only, before the guests run. */
const char *iommu_line_open(struct iommu_line *line);

/* The device's unit can have caches snooped whatever the device asks for. */
bool iommu_can_snoop(const struct iommu_device *device);

/* What the tree of a guest's devices is to be made with; `snooping`: all of their units can. */
void iommu_tree_kind(const struct iommu_device *device, bool snooping, const struct page_table_format **format,
                     struct page_table_caps *caps);

/* A tree is in memory before a unit sees it. */
void iommu_tree_publish(const struct table_pool *pool);

/* What the audit is told of a guest's device: a range of its tree. False: there are too many. */
bool iommu_grant(const struct iommu_device *device, uint64_t start, uint64_t backing, uint64_t bytes);

/* Proves it from the tables (hv/plan/audit_devices.h); panics where it is not so. */
void iommu_audit(const struct boot_info *info);

/* Says what the units have refused since, at most some lines; due when iommu_deadline() is. UINT64_MAX: never. */
void iommu_poll(uint64_t now);
uint64_t iommu_deadline(void);

#endif
