/* SPDX-License-Identifier: MIT */
/*
 * The end of a guest, and of the machine's run: reports, restart, and what happens when all guests have stopped.
 */
#ifndef HV_GUEST_END_H
#define HV_GUEST_END_H

#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/host/cpu.h"

void guest_end_init(const struct boot_info *info);

/* A vCPU left its guest for good. After the last one the guest's end is reported, and it is restarted, or the machine's
 * run ends: at once, or in guest_end_serve() when the consoles have room for the report. */
void guest_end_vcpu_left(struct vcpu *vcpu);

/* A guest that is never entered, because the config gives it a CPU that did not come up. Before any vCPU runs. */
void guest_end_unstarted(struct guest *guest, const struct cpu *cpu);

/* Likewise one whose config names a device that it cannot have: guest_assigned_problem(). */
void guest_end_without_device(struct guest *guest);

/* The operator's: a guest that has ended for good begins again; false where it has not, or cannot. One that waits for
 * its restart stays as it is; false where it does not wait. The machine goes off. */
bool guest_end_start(struct guest *guest);
bool guest_end_cancel_restart(struct guest *guest);
_Noreturn void guest_end_poweroff(const char *why);
/* When all guests have ended the machine goes off, whatever the config says. */
void guest_end_wants_poweroff(void);

/* Ends that wait for room on the consoles. The CPU that polls the consoles calls it after each poll. */
void guest_end_serve(void);

/* How many ends have been reported; for the test build that measures. */
uint32_t guest_end_reports(void);

/* CPU_FLAG_STOP: the machine's run has ended elsewhere; this CPU halts. */
_Noreturn void guest_end_cpu_stops(struct cpu *cpu);

#endif
