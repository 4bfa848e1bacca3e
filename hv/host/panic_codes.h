/* SPDX-License-Identifier: MIT */
/*
 * The stable codes of every stop, with what to do about it: PLINTH_CODES(row) expands row(name, number, remedy).
 * Numbers are never reused. P0001-P0099: the hypervisor's own; P0300-P0399: a guest's failures
 * (hv/core/guest_codes.h); P0600-P0999: before the hand-over (efi/). docs/codes.md is generated from all of them.
 */
#ifndef HV_HOST_PANIC_CODES_H
#define HV_HOST_PANIC_CODES_H

#include "hv/base/types.h"

/* clang-format off */
#define HV_CODES(row) \
    row(PANIC_TRAP, 1, "this is a bug in Plinth: please report these lines") \
    row(PANIC_CHECK, 2, "this is a bug in Plinth: please report these lines") \
    row(PANIC_POOL, 3, "this is a bug in Plinth's memory count: please report your plinth.conf and the lines above") \
    row(PANIC_HOST_MAP, 4, "please report these lines; fewer guests or less memory per guest may avoid it") \
    row(PANIC_BOOT_INFO, 5, "BOOTX64.EFI is damaged or mixed from two versions: write the boot stick again") \
    row(PANIC_TSC, 6, "enable the ACPI or HPET/8254 timer in the firmware's set-up") \
    row(PANIC_CPU, 7, "enable all CPU features in the firmware's set-up, or use another machine") \
    row(PANIC_VIRT, 8, "enable virtualization (SVM, VT-x) in the firmware's set-up") \
    row(PANIC_MACHINE_CHECK, 9, "the hardware reported an error: check memory, cooling and power") \
    row(PANIC_GUEST_CREATE, 10, "check the guest's section in plinth.conf; if it is right, please report these lines") \
    row(PANIC_STACK, 11, "this is a bug in Plinth: a stack overflowed; please report these lines") \
    row(PANIC_VENDOR, 12, "this is a bug in Plinth or an erratum of this CPU: please report these lines") \
    row(PANIC_AUDIT, 13, "this is a bug in Plinth: nothing was started; please report your plinth.conf and the lines above") \
    row(PANIC_HANG, 14, "this is a bug in Plinth, or the hardware holds the CPU: please report these lines") \
    row(PANIC_IOMMU, 15, "update the firmware: an IOMMU of the machine has stopped to answer; please report these lines") \
    row(PANIC_HANDOVER, 902, "update the firmware; start Plinth first after switching the machine on")
/* clang-format on */

enum hv_code {
#define HV_CODE_ENUM(name, number, remedy) name = number,
    HV_CODES(HV_CODE_ENUM)
#undef HV_CODE_ENUM
};

/* What to do about it, for every code of this table and of hv/core/guest_codes.h. */
const char *code_remedy(uint32_t code);

#endif
