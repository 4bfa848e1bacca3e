/* SPDX-License-Identifier: MIT */
/*
 * Places where a test build makes a fault happen, to see that none is silent. In the shipped image all of this is
 * nothing: tests/faults/hv/host/fault.h takes this header's place there (mk/faults.mk), and tests/boot/faults.py has
 * the table of faults.
 */
#ifndef HV_HOST_FAULT_H
#define HV_HOST_FAULT_H

#include "hv/boot_info.h"
#include "hv/core/vcpu.h"
#include "hv/mm/page_table.h"

/* The firmware's services may fail from now on. `stage` is efi/efi_stage.h's. */
static inline void fault_firmware(void *stage)
{
    (void)stage;
}

/* What crosses from efi/ may be wrong. */
static inline void fault_boot_info(struct boot_info *info)
{
    (void)info;
}

/* The nested trees are built, one for each guest, and not audited yet: an entry may be broken. */
static inline void fault_trees(const struct page_table *trees, uint32_t count)
{
    (void)trees;
    (void)count;
}

/* The start has come to this place. */
static inline void fault_at(const char *place)
{
    (void)place;
}

/* Before an entry: the vCPU's state may be broken. */
static inline void fault_vcpu(struct vcpu *vcpu)
{
    (void)vcpu;
}

#endif
