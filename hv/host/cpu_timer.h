/* SPDX-License-Identifier: MIT */
/*
 * The one deadline of a CPU: the earliest moment at which it has something to do that its guest does not cause itself.
 * hv/run/cpu_loop.c sets it at each turn. A vCPU that runs and only moves a deadline of its own, as a kernel does
 * at each of its timer ticks, needs no turn for that.
 */
#ifndef HV_HOST_CPU_TIMER_H
#define HV_HOST_CPU_TIMER_H

#include "hv/core/guest_io.h"
#include "hv/host/cpu.h"
#include "hv/host/host_apic.h"

/* Host TSC; UINT64_MAX: none. The CPU's own, with interrupts off. */
static inline void cpu_timer_set(struct cpu *cpu, uint64_t deadline)
{
    if (deadline != cpu->armed) {
        __atomic_store_n(&cpu->armed, deadline, __ATOMIC_RELAXED);
        host_timer_arm(deadline);
    }
}

/* The deadline of the vCPU that runs on this CPU has changed, and nothing else. A later one is left to the next turn:
 * the timer fires at the old one, and the loop sets the new one. */
static inline void cpu_timer_follow(struct cpu *cpu, struct vcpu *vcpu)
{
    cpu_timer_set(cpu, min_u64(guest_deadline(vcpu), cpu->armed));
    if (vcpu->leave_at != UINT64_MAX) {
        vcpu->leave_at = cpu->armed;
    }
}

#endif
