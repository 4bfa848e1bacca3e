/* SPDX-License-Identifier: MIT */
/*
 * A guest without nested paging: what stands between its VMCB and VMRUN. APM 2 15.16 "TLB Control", 15.19 "Paged Real
 * Mode".
 *
 * While the guest does not run, its VMCB is as under nested paging: the control registers are the guest's, and all
 * other code of this folder is the same. Just before VMRUN they are exchanged for what the CPU needs to walk the shadow
 * tables (hv/mm/shadow.h), and right after the exit they are put back:
 *
 *   svm_run -> svm_shadow_run -> take_over -> svm_shadow_enter (entry.S: VMRUN) -> svm_shadow_handle_exit -+
 *                                   ^                                                                     |
 *                                   +--------- svm_handle_exit (quick.c, run.c) <------- put_back <-------+
 *
 * Page faults and INVLPG are made into what nested paging would have had: nothing, a fault of the guest's, or a nested
 * page fault. What changes nothing but the tables goes a short way: after a page that is filled, a MOV to CR3 or an
 * INVLPG of 64-bit code the VMCB is entered again as the CPU left it, under the contract of quick.c. A guest with
 * nested paging pays nothing for all this: its way in is another one.
 *
 * The memory types of the guest's own tables do not count: without nested paging VMRUN loads no PAT of the guest's.
 */
#ifndef HV_SVM_SHADOW_H
#define HV_SVM_SHADOW_H

#include "hv/mm/shadow.h"
#include "hv/svm/svm.h"

/* One page, before the engine's own memory. */
struct svm_shadow {
    struct shadow tables;
    uint64_t low_root[4] __attribute__((aligned(32)));
    struct guest_paging paging; /* the guest's, while it runs, as the tables have been told; CPL, RFLAGS of a fault */
    bool flush;                 /* the tables have not been told */
    uint8_t cr3_gpr, cr3_bytes; /* of the instruction `cr3_code`: its register, and how long it is */
    uint32_t cr3_code;          /* the first bytes of the last MOV to CR3 that was decoded */
};
_Static_assert(sizeof(struct svm_shadow) <= PAGE_BYTES, "hv/plan/planner.c counts one page");

/* The way in for svm_vcpu.enter, with the arguments of svm_enter(). */
void svm_shadow_run(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);

/* entry.S: as svm_enter() and svm_enter_guarded(), with svm_shadow_handle_exit() after each exit. */
void svm_shadow_enter(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);
void svm_shadow_enter_guarded(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);
bool svm_shadow_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu);

#endif
