/* SPDX-License-Identifier: MIT */
/*
 * The TSC deadline of a guest in the CPU's own register: a kernel that sets its timer makes no exit.
 *
 * While the vCPU runs, IA32_TSC_DEADLINE has the guest's deadline, and each interrupt of the host's timer is the
 * guest's: it ends the guest's execution, and the local APIC's timer has fired. What the hypervisor itself has to do is
 * found by the CPU's preemption timer, which counts while the guest runs, and at exits by vcpu->leave_at: both are set
 * to the end of the turn. SDM 3A 11.5.4.1 "TSC-Deadline Mode"; SDM 3C 26.5.1 "VMX-Preemption Timer".
 *
 *      turn begins    vmx_timer_pass(): the deadline goes into the register, if all of vmx_timer_may_pass() holds
 *      exit           vmx_timer_read() before anything that looks at the local APIC's timer: most exits do not
 *      interrupt      vmx_timer_tick(): the timer has fired, and the guest is entered again
 *      turn ends      vmx_timer_take(): the deadline comes back; it stays armed, and the CPU may sleep until then
 *      later          vmx_timer_late(): the register had fired, and its interrupt was still on its way to the CPU
 *
 * Writes alone pass through. A read exits: an emulator leaves the deadline in the register when it has passed. So one
 * that is not after `timer_seen`, when the last one was known to have fired or not to be there, is none.
 *
 * The register can only be the guest's where its TSC is the machine's, where its local APIC has no other timer (the
 * mode) and is in x2APIC mode (so that no access in memory changes the timer), and where no other vCPU has the CPU.
 * Everywhere else its writes exit. SVM has no such timer beside the local APIC's.
 */
#include "hv/vmx/vmx.h"

#include "hv/host/cpu.h"
#include "hv/host/cpu_timer.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

bool vmx_timer_may_pass(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    return vmx_features.preemption_timer && host_timer_is_deadline() && !vcpu->shares_cpu && vmx->shadow == NULL &&
           vcpu->tsc_offset == 0 && lapic_x2apic(&vcpu->lapic) && lapic_takes_tsc_deadline(&vcpu->lapic);
}

/* Its read passes, too, which Linux makes once a second where it is idle, if the CPU's is the guest's. */
static bool tsc_adjust_passes(const struct vcpu *vcpu)
{
    uint64_t value;

    return vcpu->msrs.tsc_adjust == 0 && insn_rdmsr_safe(MSR_TSC_ADJUST, &value) && value == 0;
}

/* The timer's rest may be saved only while it runs. SDM 3C 27.2.1.2 "VM-Exit Control Fields". */
static void set_passing(struct vmx_vcpu *vmx, const struct vcpu *vcpu, bool passes)
{
    vmx->timer_passes = !passes                   ? VMX_TIMER_EXITS
                        : tsc_adjust_passes(vcpu) ? VMX_TIMER_AND_ADJUST_PASS
                                                  : VMX_TIMER_PASSES;
    vmx_write(VMCS_PIN_CONTROLS, vmx_features.pin | (passes ? PIN_PREEMPTION_TIMER : 0));
    vmx_write(VMCS_EXIT_CONTROLS, vmx_features.exit | (passes ? EXIT_SAVE_TIMER : 0));
    vmx_write(VMCS_MSR_BITMAP, vmx_msr_map(vmx));
}

/* Not earlier than `ticks` of the TSC; where these are more than the timer can count, the turn ends for nothing. */
static uint32_t preemption_count(uint64_t ticks)
{
    uint64_t count = (ticks >> (vmx_features.caps.misc & VMX_MISC_TIMER_RATE)) + 1;

    return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

bool vmx_timer_pass(struct cpu *cpu, struct vcpu *vcpu, uint64_t end, uint64_t now)
{
    struct vmx_vcpu *vmx = vcpu->vendor;
    bool passes = now < end && vcpu->lapic.deadline > now && vmx_timer_may_pass(vmx, vcpu);

    if (passes != (vmx->timer_passes != VMX_TIMER_EXITS)) {
        set_passing(vmx, vcpu, passes);
    }
    if (!passes) {
        return false;
    }
    cpu_timer_set(cpu, vcpu->lapic.deadline);
    __atomic_store_n(&cpu->armed, end, __ATOMIC_RELAXED); /* what ends the turn at the latest */
    vmx->timer_seen = now;
    vmx_write_inline(VMCS_PREEMPTION_TIMER, preemption_count(end - now));
    return true;
}

/* The guest's deadline, as host TSC and as it reads it: one that is past, and not known to have fired, is about to. */
static uint64_t read_deadline(const struct vmx_vcpu *vmx)
{
    uint64_t deadline = insn_rdmsr(MSR_TSC_DEADLINE);

    return deadline > vmx->timer_seen ? deadline : DEADLINE_NONE;
}

void vmx_timer_read(const struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t deadline = read_deadline(vmx);
    bool runs = deadline != DEADLINE_NONE && deadline > vcpu->exit_tsc;

    vcpu->lapic.deadline = runs ? deadline : DEADLINE_NONE;
    vcpu->lapic.tsc_deadline = runs ? deadline : 0;
}

void vmx_timer_look(struct cpu *cpu, struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if (!vmx_timer_may_pass(vmx, vcpu)) {
        __atomic_store_n(&cpu->armed, read_deadline(vmx), __ATOMIC_RELAXED);
        set_passing(vmx, vcpu, false);
        vcpu->requests |= VCPU_YIELD;
    }
}

bool vmx_timer_tick(struct cpu *cpu, struct vmx_vcpu *vmx, struct vcpu *vcpu, uint64_t now)
{
    uint64_t flags = CPU_FLAG_TIMER;

    if (!cpu_timer_alone(cpu, vcpu, now) ||
        !__atomic_compare_exchange_n(&cpu->interrupt_flags, &flags, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        return false;
    }
    vmx->timer_seen = now;
    lapic_timer_fired(&vcpu->lapic, now);
    vcpu->requests |= VCPU_EVENT;
    return true;
}

static void tell_fired(struct vcpu *vcpu)
{
    lapic_timer_fired(&vcpu->lapic, insn_rdtsc());
    vcpu->requests |= VCPU_EVENT;
}

/* In this order: what fires behind the reading is in `deadline`, and fires there. */
void vmx_timer_take(struct cpu *cpu, struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;
    uint64_t deadline;

    if (vmx->timer_passes == VMX_TIMER_EXITS) {
        return;
    }
    deadline = read_deadline(vmx);
    __atomic_store_n(&cpu->armed, deadline, __ATOMIC_RELAXED);
    vcpu->lapic.deadline = deadline;
    vcpu->lapic.tsc_deadline = deadline != DEADLINE_NONE ? deadline : 0;
    insn_interrupt_window();
    if (cpu_take_flag(cpu, CPU_FLAG_TIMER)) {
        __atomic_store_n(&cpu->armed, UINT64_MAX, __ATOMIC_RELAXED);
        tell_fired(vcpu);
    }
}

void vmx_timer_late(struct vcpu *vcpu)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;

    if (vmx->timer_passes != VMX_TIMER_EXITS) {
        tell_fired(vcpu);
    }
}
