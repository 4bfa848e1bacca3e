/* SPDX-License-Identifier: MIT */
/*
 * What the operator asks of a running guest: to switch itself off, to end, to begin again.
 *
 * The order is left in the guest and taken by the CPU of its vCPU 0, which owns the devices' deadlines. A power button
 * is pressed as on a PC (hv/dev/pm.h): a system that listens shuts down and switches itself off; one that has not done
 * so after its `stop-time` is killed.
 */
#ifndef HV_CORE_GUEST_ORDER_H
#define HV_CORE_GUEST_ORDER_H

#include "hv/core/guest.h"

/* From any CPU; the caller interrupts the CPU of vCPU 0. A later order replaces an earlier one that was not taken. */
void guest_order_give(struct guest *guest, enum guest_order order);

/* vCPU 0, on its CPU, after VCPU_KICK_ORDER. */
void guest_order_take(struct vcpu *vcpu, uint64_t now);

/* vCPU 0, at or after guest->stop_deadline. */
void guest_order_expire(struct vcpu *vcpu);

/* With the guest's start: nothing is asked of it. */
void guest_order_forget(struct guest *guest);

#endif
