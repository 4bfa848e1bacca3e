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

/* ACPI is enabled, which takes the button from the firmware, and of the machine's events it alone is enabled. Waits at
 * most 300 ms for the firmware. Before errata are applied: the firmware's answer may undo them. */
void power_take_button(void);

/* It was pressed since the last call. Holding it for four seconds is the hardware's, whatever is done here. */
bool power_button_pressed(void);

/* When to look again; UINT64_MAX: there is no button to look at. */
uint64_t power_button_deadline(uint64_t now);

/* All three flush the consoles first. Any CPU may call them; others should have left their guests. */
_Noreturn void power_off(void);
_Noreturn void power_reboot(void);
_Noreturn void power_halt(void);

#endif
