/* SPDX-License-Identifier: MIT */
/* A guest's platform has one lock; a guest with one vCPU needs none. */
#ifndef HV_CORE_PLATFORM_LOCK_H
#define HV_CORE_PLATFORM_LOCK_H

#include "hv/core/guest.h"

static inline void platform_take(struct guest *guest)
{
    if (guest->vcpu_count > 1) {
        spinlock_take(&guest->platform.lock);
    }
}

static inline void platform_give(struct guest *guest)
{
    if (guest->vcpu_count > 1) {
        spinlock_release(&guest->platform.lock);
    }
}

#endif
