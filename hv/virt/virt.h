/* SPDX-License-Identifier: MIT */
/*
 * The choice of the vendor, made once at boot. The efi stage asks virt_detect() before the point of no return; after it
 * every CPU enables what was found and runs vCPUs through virt_run(), which is one comparison and a direct call.
 *
 * This folder has the choice between the vendors, and what switches with a vCPU on either. It is the only one that
 * names both.
 */
#ifndef HV_VIRT_VIRT_H
#define HV_VIRT_VIRT_H

#include "hv/core/virt_support.h"

/* Looks at this CPU: CPUID and capability MSRs only, changes nothing. False: `missing` says why no guest can run
 * here. */
bool virt_detect(struct virt_support *support);

struct cpu;

/* Bytes of page-aligned memory that the vendor needs per host CPU and per vCPU (VMXON region and VMCS, or host save
 * area and VMCB, bitmaps). */
uint64_t virt_cpu_bytes(void);
uint64_t virt_vcpu_bytes(void);

/* Switches VMX or SVM on, on the calling CPU. `memory` is virt_cpu_bytes() of zeroed pages. False: cpu->why says why:
 * it is switched off there, it fails, or the CPU has not what the boot CPU has. */
bool virt_enable(struct cpu *cpu, void *memory);
void virt_disable(struct cpu *cpu);

/* Sets up a vCPU's control structure on memory of virt_vcpu_bytes() zeroed pages. */
void virt_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested);

/* After it: the vCPU translates by shadow tables, so many, in zeroed pages of planner_shadow_pages(tables, 1) below
 * 4 GiB. Only where virt_support says that there is shadow paging. */
void virt_vcpu_shadow(struct vcpu *vcpu, void *memory, uint32_t tables, enum page_level largest);

/* Makes this vCPU the one that runs on this CPU (loads what is not switched by the control structure), and the
 * reverse. */
void virt_vcpu_load(struct cpu *cpu, struct vcpu *vcpu);
void virt_vcpu_put(struct cpu *cpu, struct vcpu *vcpu);

/* Brings vcpu->system up to date, for a report. The vCPU is loaded. */
void virt_read_system(struct vcpu *vcpu);

/* The vCPU is loaded, and its turn comes, which ends at host TSC `end`; 0: with each interrupt of the timer. True: its
 * TSC deadline is in the CPU's own timer, and cpu->armed is that end. False: the timer is the caller's. After the turn
 * the vCPU takes its deadline back. */
bool virt_pass_timer(struct cpu *cpu, struct vcpu *vcpu, uint64_t end, uint64_t now);
void virt_take_timer(struct cpu *cpu, struct vcpu *vcpu);

/* The timer's interrupt has come where nothing was armed, behind the turn of the vCPU, which is still the CPU's: what
 * had fired in the turn, on its way to the CPU when virt_take_timer() looked. */
void virt_late_timer(struct vcpu *vcpu);

/* Enters the guest and handles exits until vcpu->requests has a bit of VCPU_LEAVE_MASK. */
void virt_run(struct cpu *cpu, struct vcpu *vcpu);

#endif
