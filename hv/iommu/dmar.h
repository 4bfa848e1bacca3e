/* SPDX-License-Identifier: MIT */
/*
 * The firmware's description of Intel's IOMMUs: which units there are, which devices each serves, and which memory
 * devices of the firmware go on using. Pure: a table of bytes becomes a struct, or is refused with a sentence; devices
 * are named as the table names them, by a path through bridges, and dmar_scope_find() follows it in configuration
 * space.
 *
 * This folder has the IOMMUs of both vendors, and nothing of guests.
 *
 * "Intel Virtualization Technology for Directed I/O" (VT-d) 4.1, 8 "BIOS Considerations".
 */
#ifndef HV_IOMMU_DMAR_H
#define HV_IOMMU_DMAR_H

#include "hv/base/span.h"
#include "hv/base/status.h"
#include "hv/host/pci_scan.h"
#include "hv/iommu/iommu_table.h"

#define DMAR_UNITS_MAX 32u
#define DMAR_REGIONS_MAX 64u
#define DMAR_PORTS_MAX 16u
#define DMAR_NAMES_MAX 32u
#define DMAR_SCOPES_MAX 256u
#define DMAR_PATH_MAX 8u
#define DMAR_NAME_BYTES 64u

/* VT-d 8.3.1 "Device Scope Structure". */
enum dmar_scope_kind {
    DMAR_SCOPE_ENDPOINT = 1,
    DMAR_SCOPE_BRIDGE = 2, /* and everything behind it */
    DMAR_SCOPE_IOAPIC = 3,
    DMAR_SCOPE_HPET = 4, /* one that sends its interrupts as messages */
    DMAR_SCOPE_ACPI = 5, /* a device that ACPI names: see struct dmar_name */
};

struct dmar_scope {
    uint8_t kind; /* enum dmar_scope_kind, or a later one that is not known here */
    uint8_t id;   /* of the I/O APIC, the HPET block or the named device */
    uint8_t bus;  /* where the path begins */
    uint8_t path_count;
    struct {
        uint8_t device, function;
    } path[DMAR_PATH_MAX];
};

/* A run of dmar.scopes. */
struct dmar_scopes {
    uint16_t first, count;
};

/* VT-d 8.3 "DMA Remapping Hardware Unit Definition Structure". */
struct dmar_unit {
    uint64_t base; /* of its registers, a multiple of 4 KiB */
    uint64_t bytes;
    uint16_t segment;
    bool all; /* serves every device of the segment that no other unit names */
    struct dmar_scopes scopes;
};

/* Memory that the firmware's devices go on using. VT-d 8.4 "Reserved Memory Region Reporting Structure". */
struct dmar_region {
    uint64_t start, end; /* whole pages */
    uint16_t segment;
    struct dmar_scopes scopes;
};

/* Root ports whose devices may translate addresses themselves. VT-d 8.5 "Root Port ATS Capability Reporting
 * Structure". */
struct dmar_ports {
    uint16_t segment;
    bool all;
    struct dmar_scopes scopes;
};

/* VT-d 8.7 "ACPI Name-space Device Declaration Structure". */
struct dmar_name {
    uint8_t id;
    char name[DMAR_NAME_BYTES];
};

struct dmar {
    uint8_t address_bits;      /* of DMA, at most */
    bool interrupt_remapping;  /* the platform has it */
    bool x2apic_opt_out;       /* the firmware asks not to use x2APIC */
    bool protected_from_start; /* the firmware had translation on before the hand-over (DMA_CTRL_PLATFORM_OPT_IN) */
    struct dmar_unit units[DMAR_UNITS_MAX];
    uint32_t unit_count;
    struct dmar_region regions[DMAR_REGIONS_MAX];
    uint32_t region_count;
    struct dmar_ports ports[DMAR_PORTS_MAX];
    uint32_t port_count;
    struct dmar_name names[DMAR_NAMES_MAX];
    uint32_t name_count;
    struct dmar_scope scopes[DMAR_SCOPES_MAX];
    uint32_t scope_count;
    char problem[IOMMU_TABLE_PROBLEM_BYTES]; /* why it was refused */
};

/*
 * `table`: the whole table, whose length and checksum are right. STATUS_MALFORMED: a structure cannot be, or there is
 * no unit; STATUS_NO_SPACE: more than the arrays take. dmar->problem says it in both cases, and no unit may be used:
 * half a description would leave devices without their unit.
 */
enum status dmar_read(struct dmar *dmar, struct span table);

/* The function that a scope's path leads to, as the bridges on the way are set up now. False: there is none. */
bool dmar_scope_find(const struct dmar_scope *scope, uint16_t segment, const struct pci_access *access,
                     struct pci_address *found);

#endif
