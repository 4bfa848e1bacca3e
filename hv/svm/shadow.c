/* SPDX-License-Identifier: MIT */
#include "hv/svm/shadow.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/svm/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define EXIT_PAGE_FAULT ((uint64_t)SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_PF)

/* Of CR0, what changes translations; TS and MP are what a guest may change without an exit. */
#define CR0_TRANSLATES (CR0_PG | CR0_WP)
#define CR0_UNSEEN (CR0_TS | CR0_MP)

/* CR4 under paging that is not the guest's own. */
#define CR4_OF_PAGING (CR4_SMEP | CR4_SMAP | CR4_LA57)

/* The guest's paging, as its VMCB has it now; vcpu->system may be older. */
static void read_paging(const struct svm_vcpu *svm, const struct vcpu *vcpu, bool implicit, struct guest_paging *paging)
{
    const struct vmcb *vmcb = &svm->vmcb;

    emulate_paging(vcpu, implicit, paging);
    paging->cr0 = vmcb->cr0;
    paging->cr3 = vmcb->cr3;
    paging->cr4 = vmcb->cr4;
    paging->efer = vmcb->efer;
    paging->rflags = vmcb->rflags;
    paging->cpl = vmcb->cpl;
}

/* A handler that writes a register of these, or wants a flush, has left it in the VMCB. */
static void follow_guest(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    struct svm_shadow *shadow = svm->shadow;
    const struct vmcb *vmcb = &svm->vmcb;
    struct guest_paging paging;

    if (svm->shadow_stale) {
        svm->shadow_stale = false;
        shadow_forget(&shadow->tables);
        shadow->flushed_cr3 = ~0ULL;
    }
    if (vmcb->tlb_control == TLB_FLUSH_NOTHING && ((vmcb->cr0 ^ shadow->flushed_cr0) & CR0_TRANSLATES) == 0 &&
        vmcb->cr3 == shadow->flushed_cr3 && vmcb->cr4 == shadow->flushed_cr4 && vmcb->efer == shadow->flushed_efer) {
        return;
    }
    shadow->flushed_cr0 = vmcb->cr0;
    shadow->flushed_cr3 = vmcb->cr3;
    shadow->flushed_cr4 = vmcb->cr4;
    shadow->flushed_efer = vmcb->efer;
    read_paging(svm, vcpu, false, &paging);
    shadow_flush(&shadow->tables, &paging);
}

/* Where the guest's value is not the CPU's, all accesses leave the guest, as state.c has it for other bits. */
static void watch_registers(struct svm_vcpu *svm, uint64_t cr0, uint64_t cr4)
{
    struct vmcb *vmcb = &svm->vmcb;
    const uint32_t cr0_accesses = INTERCEPT_CR_CR0_READ | INTERCEPT_CR_CR0_WRITE;
    uint32_t cr = vmcb->intercepts[INTERCEPT_CR] & ~(cr0_accesses | INTERCEPT_CR_CR4_READ);

    cr |= INTERCEPT_CR_CR3_READ | INTERCEPT_CR_CR3_WRITE;
    cr |= svm->hidden_cr0 != 0 || cr0 != vmcb->cr0 ? cr0_accesses : 0;
    cr |= svm->added_cr4 != 0 || cr4 != vmcb->cr4 ? INTERCEPT_CR_CR4_READ : 0;
    vmcb->intercepts[INTERCEPT_CR] = cr;
    vmcb->intercepts[INTERCEPT_EXCEPTION] |= 1u << EXCEPTION_PF;
    vmcb->intercepts[INTERCEPT_MISC1] |= 1u << MISC1_INVLPG;
}

/* Without paging of the guest's there is no long mode, and PE may be clear: paged real mode. */
static void take_over(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    struct svm_shadow *shadow = svm->shadow;
    struct vmcb *vmcb = &svm->vmcb;
    bool paging = (vmcb->cr0 & CR0_PG) != 0;
    uint64_t cr0 = vmcb->cr0 | CR0_PG | CR0_WP;
    uint64_t cr4 = vmcb->cr4 | CR4_PAE;

    follow_guest(svm, vcpu);
    if (shadow_take_flush(&shadow->tables)) {
        svm_flush_translations(vcpu);
    }
    cr4 = paging ? cr4 : cr4 & ~CR4_OF_PAGING;
    watch_registers(svm, cr0, cr4);
    shadow->cr0 = vmcb->cr0;
    shadow->cr3 = vmcb->cr3;
    shadow->cr4 = vmcb->cr4;
    shadow->efer = vmcb->efer;
    vmcb->cr0 = cr0;
    vmcb->cr3 = shadow_root(&shadow->tables);
    vmcb->cr4 = cr4;
    vmcb->efer = (paging ? vmcb->efer : vmcb->efer & ~(EFER_LME | EFER_LMA)) | EFER_NXE;
    vmcb->clean &= ~(CLEAN_INTERCEPTS | CLEAN_ASID | CLEAN_CR);
}

static void put_back(struct svm_vcpu *svm)
{
    struct svm_shadow *shadow = svm->shadow;
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->cr0 = (shadow->cr0 & ~CR0_UNSEEN) | (vmcb->cr0 & CR0_UNSEEN);
    vmcb->cr3 = shadow->cr3;
    vmcb->cr4 = shadow->cr4;
    vmcb->efer = shadow->efer;
    vmcb->tlb_control = TLB_FLUSH_NOTHING;
}

/* Becomes the exit that nested paging would have made. */
static bool handle_nested_fault(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t address, enum guest_access access,
                                bool table)
{
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->exit_code = SVM_EXIT_NPF;
    vmcb->exit_info1 = (access == GUEST_WRITE ? NPF_WRITE : 0) | (access == GUEST_FETCH ? NPF_FETCH : 0) |
                       (table ? NPF_TABLE_WALK : 0);
    vmcb->exit_info2 = address;
    return svm_handle_any_exit(svm, vcpu);
}

/*
 * EXITINFO1 is the error code, EXITINFO2 the address. APM 2 15.12.15 "#PF (Page Fault)". A supervisor access at CPL 3
 * is one to a descriptor table. As in exit_dispatch(), a fault in the middle of a delivery ends the turn.
 */
static bool handle_page_fault(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t error = vmcb->exit_info1;
    uint64_t linear = vmcb->exit_info2;
    enum guest_access access = (error & PAGE_FAULT_FETCH) != 0   ? GUEST_FETCH
                               : (error & PAGE_FAULT_WRITE) != 0 ? GUEST_WRITE
                                                                 : GUEST_READ;
    struct guest_paging paging;
    struct guest_translation result;

    read_paging(svm, vcpu, vmcb->cpl == 3 && (error & PAGE_FAULT_USER) == 0, &paging);
    switch (shadow_fault(&svm->shadow->tables, &paging, linear, access, &result)) {
    case SHADOW_FILLED:
        vcpu->exit_counts[EXIT_NESTED_FAULT]++;
        if ((vmcb->exit_int_info & EVENT_VALID) != 0 || insn_rdtsc() >= vcpu->leave_at) {
            vcpu->requests |= VCPU_YIELD;
        }
        return svm_finish_quick(svm, vcpu);
    case SHADOW_GUEST_FAULT:
        vmcb->exit_info1 = result.error_code;
        return svm_handle_any_exit(svm, vcpu);
    case SHADOW_DEVICE:
        return handle_nested_fault(svm, vcpu, result.address.value, access, false);
    case SHADOW_BAD_TABLE:
        return handle_nested_fault(svm, vcpu, result.bad_table.value, access, true);
    }
    return false;
}

/* The CPU has checked the privilege. What is left is to step over it. Where its operand is not to be found, everything
 * is flushed: that is always right. */
static bool handle_invlpg(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t linear;
    uint8_t length;
    bool again;

    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->gpr[GPR_RSP] = vmcb->rsp;
    vcpu->rip = vmcb->rip;
    vcpu->rflags = vmcb->rflags;
    svm_read_system(vcpu);
    if (emulate_decode_invlpg(vcpu, &linear, &length)) {
        shadow_invalidate(&svm->shadow->tables, linear);
        vmcb->next_rip = vmcb->rip + length;
    } else {
        svm->shadow->flushed_cr3 = ~0ULL;
    }
    again = svm_handle_any_exit(svm, vcpu);
    vmcb->next_rip = 0; /* where the CPU does not write it, it stays 0 */
    return again;
}

bool svm_shadow_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t code = svm->vmcb.exit_code;
    bool again;

    put_back(svm);
    if (code == EXIT_PAGE_FAULT) {
        again = handle_page_fault(svm, vcpu);
    } else if (code == SVM_EXIT_INVLPG) {
        again = handle_invlpg(svm, vcpu);
    } else {
        again = svm_handle_exit(svm, vcpu);
    }
    if (again) {
        take_over(svm, vcpu);
    }
    return again;
}

void svm_shadow_run(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb)
{
    take_over(svm, vcpu);
    if (svm->guarded) {
        svm_shadow_enter_guarded(svm, vcpu, host_vmcb);
    } else {
        svm_shadow_enter(svm, vcpu, host_vmcb);
    }
}

void svm_vcpu_shadow(struct vcpu *vcpu, void *memory, uint32_t tables, enum page_level largest)
{
    struct svm_vcpu *svm = vcpu->vendor;
    struct svm_shadow *shadow = memory;

    svm->shadow = shadow;
    svm->enter = svm_shadow_run;
    svm->vmcb.nested_control = 0;
    svm->vmcb.nested_cr3 = 0;
    shadow_init(&shadow->tables, &vcpu->guest->memory, largest, 0, hpa((uint64_t)(uintptr_t)(shadow) + PAGE_BYTES),
                tables, hpa((uint64_t)(uintptr_t)shadow->low_root));
    shadow->flushed_cr3 = ~0ULL;
}
