/* SPDX-License-Identifier: MIT */
/*
 * A guest's platform has one lock; a guest with one vCPU needs none.
 *
 * A vCPU that cannot have it within the time that an exit may take (vcpu_exit_end()) gives up: what it exited for has
 * not happened, rip stays, VCPU_YIELD brings it to the loop of its CPU, and it comes again. So no number of vCPUs that
 * want the lock makes an exit longer, and what a neighbour on the same CPU waits for is bounded. Once held, it is held
 * to the end of the instruction (of one element of a string instruction): hv/exit/dispatch.c lets go of what is left.
 */
#ifndef HV_CORE_PLATFORM_LOCK_H
#define HV_CORE_PLATFORM_LOCK_H

#include "hv/core/guest.h"

_Static_assert(CONFIG_GUEST_CPUS_MAX <= TURN_LOCK_SLOTS, "a slot for every vCPU");

bool guest_hold_shared(struct vcpu *vcpu, uint64_t until);

/* Within an exit. True: the platform is the vCPU's, or was already. False: not in time, and VCPU_YIELD is set. */
static inline bool guest_hold(struct vcpu *vcpu)
{
    return vcpu->guest->vcpu_count == 1 || vcpu->holds_platform || guest_hold_shared(vcpu, vcpu_exit_end(vcpu));
}

/* As guest_hold(), outside of an exit: vCPUs that one pass of a CPU's loop works for wait for one time together. */
static inline bool guest_hold_in_pass(struct vcpu *vcpu)
{
    return vcpu->guest->vcpu_count == 1 || guest_hold_shared(vcpu, vcpu->pass_end);
}

/* Not waited for: true where it is the vCPU's now. */
static inline bool guest_hold_at_once(struct vcpu *vcpu)
{
    if (vcpu->guest->vcpu_count > 1) {
        vcpu->holds_platform = turn_lock_try(&vcpu->guest->platform.lock, vcpu->index);
        return vcpu->holds_platform;
    }
    return true;
}

static inline void guest_release(struct vcpu *vcpu)
{
    if (vcpu->holds_platform) {
        vcpu->holds_platform = false;
        turn_lock_release(&vcpu->guest->platform.lock, vcpu->index);
    }
}

#endif
