/* SPDX-License-Identifier: MIT */
/*
 * From boot_info to guests that are ready to be entered: memory zeroed, nested tree built and audited, image loaded,
 * boot information and ACPI tables written, vCPUs in their entry state.
 *
 * This folder has a guest's life beside its running: create, end, restart, status. Nothing here is called while a
 * guest runs undisturbed.
 */
#ifndef HV_GUEST_CREATE_H
#define HV_GUEST_CREATE_H

#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/virt/virt.h"

extern struct guest *guests[CONFIG_GUESTS_MAX];
extern uint32_t guest_count;

/* Builds every guest. Whatever fails here was checked before the hand-over, so it is a panic with the guest's name. */
void guest_create_all(const struct boot_info *info, const struct virt_support *support, const struct host_facts *host);

/* The tree that was built for a guest: for the audit and for reports. */
const struct page_table *guest_nested_tree(const struct guest *guest);

/* Loads the guest's images into its memory, which is all zeroes, and releases its vCPUs in the entry state. One guest
 * at a time. */
void guest_load_images(struct guest *guest);

#endif
