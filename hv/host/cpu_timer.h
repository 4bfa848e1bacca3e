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

/* The same where it is the deadline of its local APIC, which a kernel writes at each of its ticks. */
static inline void cpu_timer_follow_apic(struct cpu *cpu, struct vcpu *vcpu)
{
    uint64_t deadline = vcpu->lapic.deadline;

    if (deadline < cpu->armed) {
        if (vcpu->leave_at != UINT64_MAX) {
            vcpu->leave_at = deadline;
        }
        cpu_timer_set(cpu, deadline);
    }
}

/*
 * Is the timer of the vCPU's local APIC all that is due on its CPU? cpu->turn_end is the TSC at which more than it is,
 * which hv/run/cpu_loop.c finds before each turn: the hypervisor's own work, other timers of the guest; 0 where a CPU
 * has several vCPUs. What others want of the vCPU meanwhile comes with another flag, or as a kick.
 */
static inline bool cpu_timer_alone(const struct cpu *cpu, const struct vcpu *vcpu, uint64_t now)
{
    return now < cpu->turn_end && !vcpu->lapic.eoi_pending && __atomic_load_n(&vcpu->kick, __ATOMIC_ACQUIRE) == 0;
}

/*
 * An interrupt of the host that ended nothing but the guest's execution has been taken, at host TSC `now`. True: it was
 * the timer's, for the vCPU's local APIC, which has fired; the vCPU may be entered again, with what is requested.
 * False: it is the loop's, and nothing has been done.
 */
static inline bool cpu_timer_tick(struct cpu *cpu, struct vcpu *vcpu, uint64_t now)
{
    uint64_t flags = CPU_FLAG_TIMER;

    if (vcpu->lapic.deadline > now || !cpu_timer_alone(cpu, vcpu, now) ||
        !__atomic_compare_exchange_n(&cpu->interrupt_flags, &flags, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        return false;
    }
    lapic_run_timer(&vcpu->lapic, now);
    vcpu->requests |= VCPU_EVENT;
    __atomic_store_n(&cpu->armed, UINT64_MAX, __ATOMIC_RELAXED);
    cpu_timer_set(cpu, min_u64(vcpu->lapic.deadline, cpu->turn_end));
    if (vcpu->leave_at != UINT64_MAX) {
        vcpu->leave_at = cpu->armed;
    }
    return true;
}

#endif
