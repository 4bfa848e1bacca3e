/* SPDX-License-Identifier: MIT */
/*
 * KVM-compatible paravirtual clock: stock kernels read the TSC's frequency and the time of day from it, and then use
 * the TSC itself. And KVM's end of interrupts by a word of memory. Structures: Linux,
 * Documentation/virt/kvm/x86/msr.rst (MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_EOI_EN).
 */
#ifndef HV_POLICY_PARAVIRT_H
#define HV_POLICY_PARAVIRT_H

#include "hv/core/guest.h"

/* Writes of the two MSRs: fill the guest's structure at once; it never changes afterwards, because the offset never
 * does. */
void paravirt_wall_clock_write(struct vcpu *vcpu, uint64_t value);
void paravirt_system_time_write(struct vcpu *vcpu, uint64_t value);
/* MSR_KVM_EOI_EN: says where the word is, or that there is none. False: #GP. */
bool paravirt_eoi_write(struct vcpu *vcpu, uint64_t value);
/* The guest moved its TSC: the page, where there is one, says so. */
void paravirt_tsc_moved(struct vcpu *vcpu);

/* The TSC's frequency as the clock structure says it: ns = ((ticks << shift) * multiplier) >> 32. */
void paravirt_clock_scale(uint64_t tsc_hz, uint32_t *multiplier, int8_t *shift);

#endif
