/* SPDX-License-Identifier: MIT */
/*
 * The start's lines about the CPU, the memory, the guests and the time it took.
 */
#ifndef HV_HOST_REPORT_H
#define HV_HOST_REPORT_H

#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/core/virt_support.h"

/* The CPU's name, what of its virtualization is used, what is not there, and which repairs for emulators are on. */
void report_cpu(const struct virt_support *support, const struct quirks *quirks);

void report_memory(const struct boot_info *info);

/* Where a guest runs, with which leaves its memory is mapped, and what it costs. */
void report_guest(const struct guest *guest, const struct boot_info *info);

/* Everything from the first instruction of efi_main, without the firmware's file reads. */
void report_time(const struct boot_info *info, const struct clock *clock);

#endif
