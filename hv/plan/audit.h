/* SPDX-License-Identifier: MIT */
/*
 * The self-audit: proves from the finished nested tables alone that guests cannot reach each other, the hypervisor or
 * the firmware. Promise 1 of the design; run before the first entry, which is refused when it finds anything.
 *
 * It has a walker of its own and shares no code with the page-table core, so that a mistake there cannot hide itself.
 * For every tree, each run of leaves must lie in what its guest was granted (a device's memory, which the config names,
 * included: exactly these ranges, which are no memory and no other guest's), at the guest-physical address that the
 * grant says; the grants must not overlap each other or the hypervisor's ranges, and must be memory that is ours in the
 * memory map; and every table must lie in the hypervisor's ranges, where no guest can reach it. Together that is the
 * promise: a byte that two guests reached would be outside one of the two's grants. One leaf may lead to a page of the
 * hypervisor's: VMX's APIC-access page, which must be at the local APIC's place, be this guest's alone, hold no table
 * and not be executable (hv/core/guest_apic_page.h says why it is never reached). Shadow tables change with every
 * fill: their roots are looked at by the unit tests and by the test build, again and again.
 */
#ifndef HV_PLAN_AUDIT_H
#define HV_PLAN_AUDIT_H

#include "hv/base/status.h"
#include "hv/mm/guest_memory.h"
#include "hv/plan/memory_map.h"

enum audit_format {
    AUDIT_EPT4,
    AUDIT_EPT5,
    AUDIT_NPT4,
    AUDIT_NPT5,
    /* Shadow tables of 3, 4 and 5 levels: what a guest calls its own memory is its matter, so every leaf may be
     * anywhere. The root of 3 levels is 32 bytes of four entries. */
    AUDIT_SHADOW3,
    AUDIT_SHADOW4,
    AUDIT_SHADOW5,
};

/* Memory that a guest shares with others, which have the same piece, and what it may do there. */
struct audit_share {
    struct guest_range range;
    bool write;
};

/* One guest's tree. */
struct audit_tree {
    const char *name; /* of the guest */
    enum audit_format format;
    hpa_t root; /* host-physical address of the root table, without the flags of a root pointer */
    const struct guest_memory *memory; /* what it was granted */
    /* VMX's APIC-access page, the one page of the hypervisor's that a tree may lead to; NULL: it has none. */
    const struct guest_range *apic_page;
    const struct guest_range *devices; /* memory of the machine's devices that it has for itself */
    uint32_t device_count;
    const struct audit_share *shares; /* the config's [shared] pieces that it has */
    uint32_t share_count;
    const struct guest_range *registers; /* of devices of the machine that are this guest's; no memory */
    uint32_t register_count;
    bool small_code; /* EPT: no leaf above 4 KiB may be executable: hv/mm/small_code.h */
};

struct audit_span {
    uint64_t start;
    uint64_t end;
};

struct audit_request {
    const struct audit_tree *trees;
    uint32_t tree_count;
    uint64_t window; /* a table at host-physical h is read at window + h */
    uint8_t physical_bits;
    const struct memory_map *map;        /* the final one */
    const struct audit_span *hypervisor; /* image, pool, stacks, config, images: everything that is ours */
    uint32_t hypervisor_count;
};

enum audit_violation {
    AUDIT_NONE,
    AUDIT_GRANT_NOT_MEMORY, /* a grant lies (partly) outside the loader's memory in the map */
    AUDIT_GRANT_HYPERVISOR, /* a grant overlaps the hypervisor */
    AUDIT_GRANT_SHARED,     /* two grants overlap, and are not the same piece of shared memory */
    AUDIT_DEVICE_MEMORY,    /* what was granted as a device's is memory */
    AUDIT_DEVICE_SHARED,    /* or another guest's device */
    AUDIT_REACHES_GUEST,
    AUDIT_REACHES_HYPERVISOR,
    AUDIT_REACHES_FIRMWARE,
    AUDIT_REACHES_NOTHING, /* no memory at all, or memory that was not granted */
    AUDIT_WRONG_PLACE,     /* its own memory, but at another guest-physical address than planned */
    AUDIT_REGISTERS,       /* a device's registers lie in memory, or are another guest's, too */
    AUDIT_SHARE_RIGHTS,    /* shared memory that it may only read, and it can write */
    AUDIT_APIC_PAGE,       /* the APIC-access page is not what it has to be, or its leaf is executable */
    AUDIT_TABLE_OUTSIDE,   /* a table lies where it is not protected */
    AUDIT_ENTRY_MALFORMED, /* reserved bits: the CPU would refuse it */
    AUDIT_LARGE_CODE,      /* a large leaf is executable where none may be */
    AUDIT_TREE_TOO_LARGE,  /* more tables than the hypervisor's memory holds: a loop */
};

#define AUDIT_SENTENCE_MAX 240u

/* The first violation; also what was walked, for the log. */
struct audit_finding {
    enum audit_violation violation;
    uint32_t tree; /* index of the guest */
    gpa_t gpa;     /* in shadow tables a linear address */
    hpa_t hpa;
    uint64_t tables;       /* walked in all trees */
    uint64_t mapped_bytes; /* reachable in all trees */
    char sentence[AUDIT_SENTENCE_MAX];
};

/* STATUS_OK: the promise holds. STATUS_DENIED: *finding says what breaks it first. */
enum status audit_trees(const struct audit_request *request, struct audit_finding *finding);

#endif
