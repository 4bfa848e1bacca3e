/* SPDX-License-Identifier: MIT */
/*
 * Starting a guest again while its neighbours run on.
 *
 * What a restart costs is clearing the guest's memory and copying its images. It is done by the host CPU of the guest's
 * vCPU 0, in the turns that would be this vCPU's: a neighbour on the same CPU keeps its own slices and sees nothing but
 * a guest that computes. Like an exit, a pass of that CPU's loop does not work on it longer than the exit's time: both
 * are done by pieces of at most 16 KiB, and what is left goes on at the next pass.
 *
 * There is one load plan. A guest that comes to its images while another one's are copied waits, and spends its turns
 * on that; its CPU is not held up.
 *
 * The order: hv/guest/end.c plans it when the last vCPU has left, hv/run/cpu_loop.c calls guest_restart_run() when its
 * time has come, and that releases the vCPUs at its end.
 */
#ifndef HV_GUEST_RESTART_H
#define HV_GUEST_RESTART_H

#include "hv/core/guest.h"

void guest_restart_init(void);

/* The guest starts again when the TSC has reached `at`. All its vCPUs are dead. */
void guest_restart_plan(struct guest *guest, uint64_t at);

/* Takes a plan back. False: there is none, or the guest has begun. */
bool guest_restart_cancel(struct guest *guest);

/* When this vCPU's CPU has to work on a restart; UINT64_MAX: never. */
uint64_t guest_restart_deadline(const struct vcpu *vcpu);

/* Works on it until the TSC has reached `until`, but at least one piece, or until the guest runs. On the vCPU's own
 * CPU. */
void guest_restart_run(struct vcpu *vcpu, uint64_t until);

#endif
