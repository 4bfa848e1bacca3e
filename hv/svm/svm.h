/* SPDX-License-Identifier: MIT */
/*
 * AMD SVM: the vendor's side of hv/virt/virt.h, function for function. APM 2 15.4 "Enabling SVM".
 *
 *   run.c           the loop: requests, entry, exit
 *   events.c        what is injected at the next entry, and what an exit interrupted
 *   quick.c         the short way of the frequent exits
 *   decode.c        exit words -> neutral exit (pure)
 *   entry.S         VMRUN
 *   entry_check.c   why an entry failed (pure)
 *   features.c      reading what this CPU has; switching SVM on and off
 *   capabilities.c  what that means, by name (pure)
 *   setup.c         a vCPU's VMCB in parts, intercepts by table, permission maps
 *   state.c         system state between VMCB and struct vcpu
 *   quirks.c        repairs for emulators
 *   shadow.c        guests without nested paging
 *
 * Only here, because VMX tells or does by itself what they are for:
 *   step.c          one instruction of the guest, after which an event can be injected (pure)
 *   instruction.c   the instruction that exited: its length, and the registers of a move to CR0, CR4, CR8
 *
 * hv/vmx has the same files with the same functions in the same order; tools/vendor-diff compares.
 *
 * This folder has all that only AMD's CPUs have. No decision about a guest is made here: exits go to hv/exit.
 */
#ifndef HV_SVM_SVM_H
#define HV_SVM_SVM_H

#include "hv/core/virt_support.h"
#include "hv/svm/capabilities.h"
#include "hv/svm/entry_check.h"
#include "hv/svm/quirk_state.h"
#include "hv/svm/step.h"
#include "hv/svm/vmcb.h"
#include "hv/x86/registers.h"

struct cpu;
struct svm_shadow;

extern struct svm_features svm_features;

/* What SVM needs per host CPU. */
struct svm_cpu {
    uint8_t host_save_area[4096]; /* VM_HSAVE_PA: the CPU's own, opaque */
    struct vmcb host;             /* what VMLOAD brings back after each exit */
};
_Static_assert(sizeof(struct svm_cpu) == 8192, "two pages");

/* What SVM needs per vCPU: the VMCB is the first page of the memory that svm_vcpu_init() gets. */
struct svm_vcpu {
    struct vmcb vmcb;
    struct svm_step step;
    bool exit_at_once; /* the next entry is to end before the guest's first instruction */
    bool repairs;      /* quirks.c has something to do at entries and exits */
    uint64_t tsc_aux;
    uint64_t hidden_cr0; /* CD and NW as the guest wrote them: the CPU has them clear */
    uint64_t hidden_lme; /* quirks.lme_without_paging: EFER.LME, which the CPU has clear */
    uint64_t added_cr4;  /* MCE, where the guest has it clear: the CPU has it set */
    struct svm_quirk_state quirk;
    /* svm_enter, or what a guest with shadow paging has around it: once a turn, so that no exit has to ask. */
    void (*enter)(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);
    struct svm_shadow *shadow;
    bool guarded;      /* its CPU has something to do about speculation at each entry and exit */
    bool shadow_stale; /* the guest starts again: nothing of its shadow tables stays */
} __attribute__((aligned(4096)));
_Static_assert(sizeof(struct svm_vcpu) == 8192, "two pages");

/* features.c */
bool svm_detect(struct virt_support *support);
uint64_t svm_cpu_bytes(void);
uint64_t svm_vcpu_bytes(void);
bool svm_enable(struct cpu *cpu, void *memory);
void svm_disable(struct cpu *cpu);

/* setup.c */
void svm_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested);
void svm_vcpu_load(struct cpu *cpu, struct vcpu *vcpu);
void svm_vcpu_put(struct cpu *cpu, struct vcpu *vcpu);

/* shadow.c. After svm_vcpu_init(): the guest's translations come of shadow tables, so many and with leaves up to
 * `largest`, in zeroed pages of planner_shadow_pages(tables, 1) below 4 GiB. */
void svm_vcpu_shadow(struct vcpu *vcpu, void *memory, uint32_t tables, enum page_level largest);

/* state.c */
void svm_reset_state(struct svm_vcpu *svm);
void svm_flush_translations(const struct vcpu *vcpu);
/* The VMCB's TLB control that flushes a guest's translations. APM 2 15.16.1 "TLB Flush". */
static inline uint32_t svm_flush_control(void)
{
    return svm_features.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_EVERYTHING;
}
void svm_read_system(struct vcpu *vcpu);
/* As the guest sees it. */
static inline uint64_t svm_guest_efer(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    uint64_t efer = (vmcb->efer & ~EFER_SVME) | svm->hidden_lme;

    if (vcpu->guest->host->quirks.lma_cleared_early && (vmcb->cr0 & CR0_PG) != 0 && (vmcb->efer & EFER_LME) != 0) {
        efer |= EFER_LMA;
    }
    return efer;
}
void svm_write_system(struct svm_vcpu *svm, const struct vcpu *vcpu);

/* What each exit that is not quick begins with: the registers that the CPU has saved, and a VMCB that is as the CPU has
 * it. APM 2 15.16.1 "TLB Flush". */
static inline void svm_take_exit(struct vmcb *vmcb, struct vcpu *vcpu)
{
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->gpr[GPR_RSP] = vmcb->rsp;
    vcpu->rip = vmcb->rip;
    vcpu->rflags = vmcb->rflags;
    vcpu->pending.valid = false;
    vmcb->clean = svm_features.vmcb_clean ? CLEAN_ALL : 0;
    vmcb->tlb_control = TLB_FLUSH_NOTHING;
}

/* events.c */
static inline void svm_end_shadow(struct svm_vcpu *svm)
{
    svm->vmcb.int_state &= ~INT_STATE_SHADOW;
}
/* V_TPR, after the local APIC's TPR may have been written. */
static inline void svm_write_tpr(struct vmcb *vmcb, const struct vcpu *vcpu)
{
    uint64_t tpr = lapic_cr8(&vcpu->lapic);

    if ((vmcb->int_control & INT_CONTROL_V_TPR) != tpr) {
        vmcb->int_control = (vmcb->int_control & ~INT_CONTROL_V_TPR) | tpr;
        vmcb->clean &= ~CLEAN_INT_CONTROL;
    }
}
bool svm_nmi_is_blocked(struct svm_vcpu *svm, const struct vcpu *vcpu);
void svm_choose_event(struct svm_vcpu *svm, struct vcpu *vcpu);
void svm_take_back_event(struct svm_vcpu *svm, struct vcpu *vcpu);

/* entry.S: enters the guest again and again, until svm_handle_exit() says false. */
void svm_enter(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);
void svm_enter_guarded(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);
_Static_assert(offsetof(struct svm_vcpu, vmcb) == 0 && offsetof(struct vcpu, gpr) == 0, "entry.S");

/* quick.c, called by entry.S: the short way where there is one, else svm_handle_any_exit(). */
bool svm_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu);

/* run.c. Handles an exit by exit_dispatch(). False: hv/run/cpu_loop.c has to look at vcpu->requests. */
bool svm_handle_any_exit(struct svm_vcpu *svm, struct vcpu *vcpu);
/* Is nothing delivered or stepped, and the TPR known? */
static inline bool svm_events_are_settled(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    return svm->step.reason == SVM_STEP_NONE && !svm->step.iret_runs &&
           (vmcb->int_control & INT_CONTROL_V_TPR) == lapic_cr8(&vcpu->lapic) &&
           ((vmcb->exit_int_info | vmcb->event_injection) & EVENT_VALID) == 0;
}

/* After an exit that went the short way and left requests. */
bool svm_finish_quick(struct svm_vcpu *svm, struct vcpu *vcpu);
/* Why the CPU should refuse to enter. False: no check that is known. */
bool svm_find_violation(const struct svm_vcpu *svm, const struct vcpu *vcpu, char sentence[SVM_ENTRY_SENTENCE_MAX]);
void svm_run(struct cpu *cpu, struct vcpu *vcpu);

/* quirks.c. What quirk_state.h says; these requests have been applied. */
bool svm_quirks_any(const struct vcpu *vcpu);
void svm_quirks_prepare(struct svm_vcpu *svm, const struct vcpu *vcpu, uint32_t requests);
void svm_quirks_repair_exit(struct svm_vcpu *svm, struct vcpu *vcpu);
void svm_quirks_debug_exception(struct svm_vcpu *svm, const struct vcpu *vcpu);
void svm_quirks_cpuid(struct vcpu *vcpu);
void svm_quirks_refusal(const struct svm_vcpu *svm, char sentence[SVM_ENTRY_SENTENCE_MAX]);

#endif
