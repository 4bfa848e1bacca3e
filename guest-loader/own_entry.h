/* SPDX-License-Identifier: MIT */
/*
 * The second half of plain ELF and flat binaries, which have no protocol of their own, so the entry state is Plinth's
 * (docs/boot-protocols.md):
 *
 *   long mode       rdi = rbx = start information, rsp = a 16 KiB stack, as if called by C
 *   protected mode  edi = ebx = start information, esp = the stack: a null return address, then the start information
 *                   as the first argument
 *   real mode       cs:ip = the entry, ds = es = ss = cs, sp = the free space below or after it, dl = 0x80,
 *                   ebx = start information
 *
 * so that in the first two the entry may be a C function taking a pointer to struct start_info.
 */
#ifndef GUEST_LOADER_OWN_ENTRY_H
#define GUEST_LOADER_OWN_ENTRY_H

#include "guest-loader/plan.h"

/* What follows once the kernel is in its place: modules, boot information, entry state. */
enum status own_entry_plan(struct loader *loader, enum config_mode mode, uint64_t entry);

#endif
