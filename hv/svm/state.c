/* SPDX-License-Identifier: MIT */
/*
 * System state between the VMCB's save area and struct vcpu. Read only after exits whose handlers look at it; written
 * back whole when a handler changed any of it. APM 2 B.
 */
#include "hv/svm/svm.h"

#include "hv/svm/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* A guest that switches its caches off would slow down others that share them: it only sees that it did. APM 2
 * 7.6.2. */
#define CR0_HIDDEN (CR0_NW | CR0_CD)

/* The SYSCALL and SYSENTER MSRs and debug registers after INIT or power-up, and nothing to inject. APM 2 14.1.3
 * "Processor Initialization State". */
void svm_reset_state(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->star = 0;
    vmcb->lstar = 0;
    vmcb->cstar = 0;
    vmcb->sfmask = 0;
    vmcb->kernel_gs_base = 0;
    vmcb->sysenter_cs = 0;
    vmcb->sysenter_esp = 0;
    vmcb->sysenter_eip = 0;
    vmcb->debugctl = 0;
    vmcb->dr6 = DR6_RESET;
    vmcb->int_state = 0;
    vmcb->event_injection = 0;
    vmcb->intercepts[INTERCEPT_MISC1] &= ~(1u << MISC1_VINTR);
    vmcb->intercepts[INTERCEPT_CR] &= ~INTERCEPT_CR_CR8_WRITE;
    vmcb->int_control = INT_CONTROL_V_MASKING;
    if (svm_features.tsc_aux) {
        insn_wrmsr(MSR_TSC_AUX, 0); /* the vCPU is loaded */
    }
    svm_step_reset(&svm->step, vmcb);
    svm->shadow_stale = true;
    svm->quirk.armed = 0;
    svm->quirk.shadow_rip = SVM_NO_SHADOW;
}

void svm_flush_translations(const struct vcpu *vcpu)
{
    struct svm_vcpu *svm = vcpu->vendor;

    svm->vmcb.tlb_control = svm_flush_control();
}

void svm_read_system(struct vcpu *vcpu)
{
    const struct svm_vcpu *svm = vcpu->vendor;
    const struct vmcb *vmcb = &svm->vmcb;
    struct vcpu_system *system = &vcpu->system;

    system->segments[SEGMENT_ES] = svm_decode_segment(&vmcb->es);
    system->segments[SEGMENT_CS] = svm_decode_segment(&vmcb->cs);
    system->segments[SEGMENT_SS] = svm_decode_segment(&vmcb->ss);
    system->segments[SEGMENT_DS] = svm_decode_segment(&vmcb->ds);
    system->segments[SEGMENT_FS] = svm_decode_segment(&vmcb->fs);
    system->segments[SEGMENT_GS] = svm_decode_segment(&vmcb->gs);
    system->segments[SEGMENT_LDTR] = svm_decode_segment(&vmcb->ldtr);
    system->segments[SEGMENT_TR] = svm_decode_segment(&vmcb->tr);
    system->gdtr = (struct table_register){vmcb->gdtr.base, (uint16_t)vmcb->gdtr.limit};
    system->idtr = (struct table_register){vmcb->idtr.base, (uint16_t)vmcb->idtr.limit};
    system->cr0 = vmcb->cr0 | svm->hidden_cr0;
    system->cr2 = vmcb->cr2;
    system->cr3 = vmcb->cr3;
    system->cr4 = vmcb->cr4 & ~svm->added_cr4;
    system->efer = svm_guest_efer(svm, vcpu);
    system->dr7 = vmcb->dr7;
    system->cpl = vmcb->cpl;
    vcpu->msrs.pat = vmcb->pat;
}

/* Where the guest's CR0 is not the CPU's, all accesses leave the guest; else only those that may make it so. */
static void write_cr0(struct svm_vcpu *svm, uint64_t cr0)
{
    const uint32_t all = INTERCEPT_CR_CR0_READ | INTERCEPT_CR_CR0_WRITE;
    uint32_t *intercepts = &svm->vmcb.intercepts[INTERCEPT_CR];

    svm->hidden_cr0 = cr0 & CR0_HIDDEN;
    svm->vmcb.cr0 = cr0 & ~CR0_HIDDEN;
    *intercepts = svm->hidden_cr0 != 0 ? *intercepts | all : *intercepts & ~all;
}

/* Machine checks are the host's: without MCE one would shut the CPU down. A guest that has MCE clear is asked for its
 * reads, too. APM 2 9.2; 3.1.3 "CR4 Register". */
static void write_cr4(struct svm_vcpu *svm, uint64_t cr4)
{
    uint32_t *intercepts = &svm->vmcb.intercepts[INTERCEPT_CR];

    svm->added_cr4 = ~cr4 & CR4_MCE;
    svm->vmcb.cr4 = cr4 | CR4_MCE;
    *intercepts = svm->added_cr4 != 0 ? *intercepts | INTERCEPT_CR_CR4_READ : *intercepts & ~INTERCEPT_CR_CR4_READ;
}

/* lme_without_paging: LME means nothing before paging is on, and the write of CR0 that switches it on exits. Until then
 * the emulator does not see it. */
static void write_efer(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vcpu_system *system = &vcpu->system;
    bool hide = vcpu->guest->host->quirks.lme_without_paging && (system->cr0 & CR0_PG) == 0;

    svm->hidden_lme = hide ? system->efer & EFER_LME : 0;
    svm->vmcb.efer = (system->efer & ~svm->hidden_lme) | EFER_SVME;
}

void svm_write_system(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    const struct vcpu_system *system = &vcpu->system;

    vmcb->es = svm_encode_segment(&system->segments[SEGMENT_ES]);
    vmcb->cs = svm_encode_segment(&system->segments[SEGMENT_CS]);
    vmcb->ss = svm_encode_segment(&system->segments[SEGMENT_SS]);
    vmcb->ds = svm_encode_segment(&system->segments[SEGMENT_DS]);
    vmcb->fs = svm_encode_segment(&system->segments[SEGMENT_FS]);
    vmcb->gs = svm_encode_segment(&system->segments[SEGMENT_GS]);
    vmcb->ldtr = svm_encode_segment(&system->segments[SEGMENT_LDTR]);
    vmcb->tr = svm_encode_segment(&system->segments[SEGMENT_TR]);
    vmcb->gdtr = (struct vmcb_segment){.limit = system->gdtr.limit, .base = system->gdtr.base};
    vmcb->idtr = (struct vmcb_segment){.limit = system->idtr.limit, .base = system->idtr.base};
    write_cr0(svm, system->cr0);
    vmcb->cr2 = system->cr2;
    vmcb->cr3 = system->cr3;
    write_cr4(svm, system->cr4);
    write_efer(svm, vcpu);
    vmcb->dr7 = system->dr7;
    vmcb->cpl = system->cpl;
    vmcb->pat = vcpu->msrs.pat;
    vmcb->clean = 0;
}
