/*
 * AMD SVM: the vendor's side of hv/virt/virt.h, function for function. APM 2 15 "Secure Virtual Machine".
 *
 *   svm_capabilities.c  what this CPU has, by name (pure)
 *   svm_features.c  reading that; switching SVM on and off
 *   svm_setup.c     a vCPU's VMCB in parts, intercepts by table, permission maps
 *   svm_state.c     system state between VMCB and struct vcpu
 *   svm_decode.c    exit words -> neutral exit (pure)
 *   svm_entry_check.c  why an entry failed (pure)
 *   svm_run.c       the run loop: requests, events, entry, exit
 *   svm_entry.S     VMRUN
 *
 * This folder has all that only AMD's CPUs have; its files and functions mirror hv/vmx. No decision about a guest is
 * made here: exits go to hv/exit.
 */
#ifndef HV_SVM_SVM_H
#define HV_SVM_SVM_H

#include "hv/core/virt_support.h"
#include "hv/svm/capabilities.h"
#include "hv/svm/entry_check.h"
#include "hv/svm/vmcb.h"

struct cpu;

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
    uint64_t step_tf;       /* RFLAGS.TF while the guest is stepped so that an event can follow, else 0 */
    uint64_t step_rip;      /* the instruction that is stepped over */
    uint64_t step_dr6;      /* DR6 before the step */
    uint64_t shadow_rip;    /* where the last entry was in an interrupt shadow, else NO_SHADOW */
    bool shadow_lost;       /* the CPU did not keep that shadow */
    bool step_guest_tf;     /* the guest itself single-steps there */
    bool nmi_masked;        /* an NMI was injected and its IRET has not run */
    bool step_unmasks;      /* the step is over that IRET */
    bool virtual_interrupt; /* entered with an interrupt as V_IRQ */
    uint32_t clean;         /* CLEAN_*: what was not changed since the last entry */
    uint64_t tsc_aux;
    uint64_t no_length_rip; /* where an instruction could not be measured, and how often in a row */
    uint64_t no_length_count;
    uint64_t hidden_cr0;                            /* CD and NW as the guest wrote them: the CPU has them clear */
    uint64_t hidden_lme;                            /* EFER.LME while the guest does not page: the CPU has it clear */
    uint64_t added_cr4;                             /* MCE, where the guest has it clear: the CPU has it set */
    char first_entry_wrong[SVM_ENTRY_SENTENCE_MAX]; /* why the CPU should refuse the first entry after a reset, or "" */
    uint8_t pad[4096 - 96 - SVM_ENTRY_SENTENCE_MAX];
};
_Static_assert(sizeof(struct svm_vcpu) == 8192, "two pages");

bool svm_detect(struct virt_support *support);
uint64_t svm_cpu_bytes(void);
uint64_t svm_vcpu_bytes(void);
bool svm_enable(struct cpu *cpu, void *memory);
void svm_disable(struct cpu *cpu);
void svm_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested);
void svm_vcpu_load(struct cpu *cpu, struct vcpu *vcpu);
void svm_vcpu_put(struct cpu *cpu, struct vcpu *vcpu);
void svm_run(struct cpu *cpu, struct vcpu *vcpu);

/* svm_state.c */
void svm_read_system(const struct svm_vcpu *svm, struct vcpu *vcpu);
void svm_write_system(struct svm_vcpu *svm, const struct vcpu *vcpu);

/* svm_entry.S: enters the guest again and again, until svm_handle_exit() says false. */
void svm_enter(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb);
bool svm_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu);
_Static_assert(offsetof(struct svm_vcpu, vmcb) == 0 && offsetof(struct vcpu, gpr) == 0, "svm_entry.S");

#endif
