/* SPDX-License-Identifier: MIT */
/*
 * The self-audit of the IOMMUs: proves from their tables alone that no device reaches a byte that it was not granted,
 * and that no interrupt passes but those that it was granted. It is audit.h's other half, has a walker of its own, and
 * shares no code with hv/iommu or the page-table core.
 *
 * Every entry of every unit's tables is read: of devices that exist, and of those that do not. An entry that lets a
 * device through must lead to a tree in which each leaf lies in one of that device's grants, at the place that the
 * grant says, with no right more; and all tables must lie in the hypervisor's ranges.
 */
#ifndef HV_PLAN_AUDIT_DEVICES_H
#define HV_PLAN_AUDIT_DEVICES_H

#include "hv/plan/audit.h"

enum audit_unit_kind {
    AUDIT_VTD,
    AUDIT_AMDVI,
};

/* What one device may reach: its addresses [start, start + bytes) are the memory at `backing`. */
struct audit_device_grant {
    uint16_t segment, device_id;
    bool write;
    uint64_t start, backing, bytes;
};

/* What interrupts one device, or I/O APIC, may raise: message n is vector to[n].vector of one CPU. */
#define AUDIT_VECTORS_MAX 32u

struct audit_device_vectors {
    uint16_t segment, device_id;
    uint16_t first; /* VT-d: of the unit's table */
    uint16_t count;
    uint64_t table; /* AMD-Vi: the device's own, of 32 entries */
    bool x2apic;    /* VT-d: how the table says which CPU */
    struct {
        uint32_t apic_id;
        uint8_t vector;
        bool level; /* VT-d, of an I/O APIC's pin */
    } to[AUDIT_VECTORS_MAX];
};

struct audit_unit {
    enum audit_unit_kind kind;
    uint16_t segment;
    uint64_t table;   /* VT-d: the root table; AMD-Vi: the device table */
    uint64_t vectors; /* VT-d: the interrupt remapping table of 256 entries; 0: the unit has none */
    const struct audit_device_grant *grants;
    uint32_t grant_count;
    const struct audit_device_vectors *let;
    uint32_t let_count;
};

struct audit_devices_request {
    const struct audit_unit *units;
    uint32_t unit_count;
    uint64_t window;
    const struct audit_span *hypervisor;
    uint32_t hypervisor_count;
};

struct audit_devices_finding {
    uint32_t let_through; /* devices that reach something */
    uint64_t tables;
    char sentence[AUDIT_SENTENCE_MAX]; /* what is wrong first */
};

/* STATUS_OK: the promise holds. STATUS_DENIED: finding->sentence says what breaks it first. */
enum status audit_devices(const struct audit_devices_request *request, struct audit_devices_finding *finding);

#endif
