/* SPDX-License-Identifier: MIT */
/*
 * Registers that stay in the CPU while a vCPU runs and leaves, because no control structure holds them: x87, SSE and
 * AVX state, XCR0, and the debug address registers. They are switched only when another vCPU takes the CPU; a vCPU that
 * has its CPU to itself never pays for them. The vendors switch what is theirs in virt_vcpu_load() and virt_vcpu_put().
 */
#ifndef HV_VIRT_VCPU_SWITCH_H
#define HV_VIRT_VCPU_SWITCH_H

#include "hv/core/vcpu.h"
#include "hv/host/cpu.h"

/* Bytes per vCPU for vcpu_switch_init(): the area for every extended state that this CPU has and guests may use. */
uint64_t vcpu_switch_bytes(void);

/* `memory`: vcpu_switch_bytes() of zeroed pages. The vCPU starts with the state of power-up. */
void vcpu_switch_init(struct vcpu *vcpu, void *memory);

/* Makes `vcpu` the one on this CPU; the one before (if another) is saved. */
void vcpu_switch_to_other(struct cpu *cpu, struct vcpu *vcpu);
static inline void vcpu_switch_to(struct cpu *cpu, struct vcpu *vcpu)
{
    if (cpu->current != vcpu) {
        vcpu_switch_to_other(cpu, vcpu);
    }
}

#endif
