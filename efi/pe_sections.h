/* SPDX-License-Identifier: MIT */
/*
 * The sections of an image as the firmware loaded it, from the PE headers that lie in front of it: the host map gives
 * each exactly the rights that its header states. Pure, so that it is tested on the host.
 */
#ifndef EFI_PE_SECTIONS_H
#define EFI_PE_SECTIONS_H

#include "hv/boot_info.h"

/* Fills the image's range and its sections, headers first. False where the image is not a PE image in memory, has more
 * sections than we can list, a section that is not page-aligned or reaches out of the image, or one that is both
 * written and executed. */
bool pe_sections_read(struct span image, struct boot_info *info);

#endif
