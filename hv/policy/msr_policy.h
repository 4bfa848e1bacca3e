/* SPDX-License-Identifier: MIT */
/*
 * The MSR policy: which numbers a guest may read and write, and what they mean, as a table with a reason per row.
 * Numbers that are in no row give #GP and are noted. The same table says which MSRs pass through without an exit.
 */
#ifndef HV_POLICY_MSR_POLICY_H
#define HV_POLICY_MSR_POLICY_H

#include "hv/core/guest.h"
#include "hv/x86/registers.h"

/* Handle RDMSR and WRMSR with the index in rcx; `length` of the instruction. */
void msr_read(struct vcpu *vcpu, uint8_t length);
void msr_write(struct vcpu *vcpu, uint8_t length);

/* The two that a running kernel writes at each timer tick, the end of an interrupt and the next deadline; an IPI; and
 * IA32_APIC_BASE as it is. False: it is none of these, and nothing has been done. */
bool msr_quick_write(struct vcpu *vcpu);

/* WRMSR of IA32_PAT into msrs.pat, which the caller loads. False: #GP, and nothing has been done. */
bool msr_quick_pat_write(struct vcpu *vcpu);

enum msr_outcome {
    MSR_LEFT,    /* nothing has been done: msr_read() and msr_write() have more to do */
    MSR_DONE,    /* the registers are written */
    MSR_REFUSED, /* #GP, which the caller raises */
};

/* RDMSR with the index in rcx, where not msr_is_at_hand(). */
enum msr_outcome msr_quick_read(struct vcpu *vcpu);

/* IA32_MISC_ENABLE: fast strings on; BTS and PEBS unavailable. SDM 4 table 2-2. */
#define MISC_ENABLE_DEFAULT ((1ULL << 0) | (1ULL << 11) | (1ULL << 12))
/* Registers that every guest has and that kernels read without a need: the value needs no row of the table. */
static inline bool msr_is_at_hand(uint32_t msr)
{
    return msr == MSR_APIC_BASE || msr == MSR_MISC_ENABLE || msr == MSR_PAT || msr == MSR_EFER;
}

/* x2APIC's registers, those that there are not included. */
static inline bool msr_is_x2apic(uint32_t msr)
{
    return msr - MSR_X2APIC_FIRST <= MSR_X2APIC_LAST - MSR_X2APIC_FIRST;
}

/* Its value, with system.efer where that is asked for. */
static inline uint64_t msr_at_hand(const struct vcpu *vcpu, uint32_t msr)
{
    return msr == MSR_APIC_BASE     ? vcpu->lapic.base_msr
           : msr == MSR_MISC_ENABLE ? vcpu->msrs.misc_enable | MISC_ENABLE_DEFAULT
           : msr == MSR_PAT         ? vcpu->msrs.pat
                                    : vcpu->system.efer;
}

/* What guests may read of IA32_ARCH_CAPABILITIES where one CPU has `value`. */
uint64_t msr_arch_capabilities_shown(uint64_t value);

/* The same for CPUs of which one has `one` and another `other`: a promise holds where both give it, a warning where
 * either does. */
uint64_t msr_arch_capabilities_join(uint64_t one, uint64_t other);

struct msr_pass_through {
    uint32_t msr;
    bool read, write;
};

/* What the vendors leave open in their MSR bitmaps. */
extern const struct msr_pass_through msr_pass_through_list[];
extern const uint32_t msr_pass_through_count;

/* MSRs that stay in the CPU while a vCPU is loaded and are switched by software when another is. */

#endif
