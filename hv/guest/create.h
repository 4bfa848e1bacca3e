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

/* How far a guest's images have been copied. */
struct load_progress {
    uint32_t copy;       /* 0: the firmware's tables; from 1 on those of the load plan */
    uint64_t done_bytes; /* of it */
};

/*
 * The images of a guest whose memory is all zeroes, in three parts: plan, copy by pieces, and release its vCPUs in the
 * entry state. There is one plan and one buffer for all guests: from guest_load_begin() to guest_load_end() nothing may
 * be loaded for another one.
 */
void guest_load_begin(struct guest *guest, struct load_progress *progress);

/* Copies the next piece, of at most GUEST_LOAD_PIECE_BYTES. False: there was none left. */
#define GUEST_LOAD_PIECE_BYTES (16 * KIB)
bool guest_load_piece(struct guest *guest, struct load_progress *progress);

void guest_load_end(struct guest *guest);

#endif
