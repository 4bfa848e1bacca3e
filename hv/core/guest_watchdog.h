/* SPDX-License-Identifier: MIT */
/*
 * The watchdog of a guest (`watchdog = KIND TIME`): no progress of the chosen kind for that long is a crash.
 *
 * Progress is counted by what is counted anyway: console bytes, and exits by kind. So it costs nothing until its
 * deadline, which is one more of vCPU 0's; there the counts are compared with those of the last time. It looks
 * WATCHDOG_LOOKS times in the guest's time: a guest that stands still fails after its time and at most one look more.
 */
#ifndef HV_CORE_GUEST_WATCHDOG_H
#define HV_CORE_GUEST_WATCHDOG_H

#include "hv/core/guest.h"

#define WATCHDOG_LOOKS 8u

/* From now on; with the guest's start. */
void guest_watchdog_start(struct guest *guest, uint64_t now);

/* At or after guest->watchdog.deadline: calls guest_fail() where there was no progress. */
void guest_watchdog_look(struct vcpu *vcpu, uint64_t now);

#endif
