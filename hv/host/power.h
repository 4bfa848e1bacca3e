/* SPDX-License-Identifier: MIT */
/*
 * The end of the machine's run: off, again, or halted.
 *
 * Off: ACPI S5 through the FADT's PM1 registers with the DSDT's \_S5_ values; else the ports of the emulators that have
 * no ACPI (only where the CPU says it is virtual); else the sentence that the machine may be switched off. Again: the
 * FADT's reset register, port 0xcf9, the keyboard controller, and at last a triple fault.
 */
#ifndef HV_HOST_POWER_H
#define HV_HOST_POWER_H

#include "hv/base/types.h"

struct host_acpi;

/* What later calls use. The tables stay where they are. */
void power_init(const struct host_acpi *acpi);

/* All three flush the consoles first. Any CPU may call them; others should have left their guests. */
_Noreturn void power_off(void);
_Noreturn void power_reboot(void);
_Noreturn void power_halt(void);

#endif
