/* SPDX-License-Identifier: MIT */
/*
 * What this CPU's VMX can do, from the values of its capability MSRs. Pure: tests feed it the words of other CPUs.
 * SDM 3D appendix A "VMX Capability Reporting Facility".
 *
 * A control word is what we want, plus what the CPU insists on, and nothing that it does not have: the low half of a
 * capability MSR holds the bits that must be 1, the high half those that may be. What is required fails closed with its
 * name and a remedy, what is optional is listed with what changes without it.
 */
#ifndef HV_VMX_CAPABILITIES_H
#define HV_VMX_CAPABILITIES_H

#include "hv/core/virt_support.h"
#include "hv/vmx/entry_check.h"

/* The control words as this CPU wants them, and optional features; found once. */
struct vmx_features {
    uint32_t revision;
    uint32_t pin;
    uint32_t primary;
    uint32_t secondary;
    uint32_t shadow_secondary; /* those of them that a guest with shadow paging has */
    uint32_t exit;
    uint32_t entry;
    struct vmx_entry_caps caps; /* what it allows, as its MSRs say */
    bool tpr_shadow;
    bool vpid;
    bool virtual_apic;  /* x2APIC mode, APIC registers and interrupt delivery, all virtualized by the CPU */
    bool virtual_xapic; /* and accesses in memory in xAPIC mode */
    bool tsc_aux;
    bool gib_pages;        /* in the CPU's own tables, CPUID says */
    bool pause_loop;       /* a loop of PAUSE may exit: for vCPUs that share a CPU */
    bool preemption_timer; /* and its rest is saved at an exit: timer.c */
    bool timer_is_broken;  /* it has an erratum: the caller says so before all else is found */
    bool msr_areas;        /* PAT and EFER are in the VM-entry and VM-exit MSR areas: controls of theirs lack */
};

/* IA32_VMX_MISC: the preemption timer counts down whenever this bit of the TSC changes. SDM 3D A.6; 3C 26.5.1. */
#define VMX_MISC_TIMER_RATE 0x1fULL

/* Fills the control words and optional features from features->caps, and `support`. False: support->missing says what
 * lacks. */
bool vmx_capabilities_find(struct vmx_features *features, struct virt_support *support);

/* The boot CPU's features are used on every CPU: may another one be entered with these control words, and has it what
 * of EPT is used? What it has beside them does not matter: P and E cores differ there. False: `why` says which is the
 * first that does not fit. */
bool vmx_capabilities_alike(const struct vmx_features *boot, const struct vmx_entry_caps *here, char *why,
                            size_t why_bytes);

/* IA32_FEATURE_CONTROL. SDM 3C 24.7 "Enabling and Entering VMX Operation". */
enum vmx_lock {
    VMX_LOCK_OPEN, /* undecided: we switch VMX on and lock, as the firmware should have done */
    VMX_LOCK_ON,
    VMX_LOCK_OFF,
};
enum vmx_lock vmx_capabilities_lock(uint64_t feature_control);

/* What is written where the lock is open. */
uint64_t vmx_capabilities_lock_value(uint64_t feature_control);

#endif
