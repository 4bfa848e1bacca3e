/* SPDX-License-Identifier: MIT */
#include "hv/vmx/shadow.h"

#include "hv/emulate/emulate_memory.h"
#include "hv/exit/dispatch.h"
#include "hv/vmx/decode.h"
#include "hv/vmx/insn.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* What the CPU has set in any case, and what of the guest's CR0 decides its translations: it is owned. */
#define CR0_OF_CPU (CR0_PE | CR0_PG | CR0_WP | CR0_NE)
#define CR0_TRANSLATES (CR0_PE | CR0_PG | CR0_WP)

/* The same of CR4, and what counts under paging of the guest's own only. Writes of PGE and PSE flush. SDM 3A 4.10.4.1
 * "Operations that Invalidate TLBs and Paging-Structure Caches". */
#define CR4_OF_PAGING (CR4_SMEP | CR4_SMAP | CR4_LA57)
#define CR4_TRANSLATES (CR4_PAE | CR4_PSE | CR4_PGE | CR4_OF_PAGING)

/* What a walk has to know beside the control registers. A supervisor access at CPL 3 is one to a descriptor table, and
 * only SMAP asks whether it is. */
static void read_paging(struct guest_paging *paging, uint32_t error)
{
    paging->cpl = (error & PAGE_FAULT_USER) != 0 ? 3 : 0;
    paging->implicit_supervisor = false;
    if (paging->cpl == 0 && (paging->cr4 & CR4_SMAP) != 0) {
        paging->cpl = (uint8_t)SEGMENT_DPL(vmx_read(VMCS_GUEST_ES_ACCESS + SEGMENT_SS * VMCS_SEGMENT_STRIDE));
        paging->implicit_supervisor = paging->cpl == 3;
        paging->rflags = vmx_read(VMCS_GUEST_RFLAGS);
    }
}

#define TO_CR3 (3ULL | (uint64_t)VMX_CR_TYPE_TO << VMX_CR_TYPE_SHIFT) /* in a qualification */

#define ALL_EXCEPTIONS 0xffffffffu

/* What of the state that the guest had at its last flush is compared. */
static bool translates_alike(const struct guest_paging *one, const struct guest_paging *other)
{
    return ((one->cr0 ^ other->cr0) & CR0_TRANSLATES) == 0 && one->cr3 == other->cr3 && one->cr4 == other->cr4 &&
           one->efer == other->efer;
}

static void flush_translations(const struct vcpu *vcpu)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;

    vmx->shadow->flush = true;
}

/* Without a VPID each entry flushes everything. */
static void flush_cpu(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    const struct vmx_insn_descriptor vpid = {vcpu->guest->asid + vcpu->index, 0};

    if ((vmx->secondary & SECONDARY_VPID) != 0) {
        (void)vmx_insn_invvpid(INVVPID_SINGLE, &vpid);
    }
}

static void read_system(struct vcpu *vcpu)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;
    const struct vmx_shadow *shadow = vmx->shadow;

    vmx_read_system(vcpu);
    vcpu->system.cr3 = shadow->paging.cr3;
    vcpu->system.efer = shadow->paging.efer;
    vcpu->msrs.pat = shadow->pat;
    vmx_real_read(&shadow->real, &vcpu->system);
}

/* Without paging of the guest's there is no long mode. */
static void write_system(struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    struct vmx_shadow *shadow = vmx->shadow;
    const struct vcpu_system *system = &vcpu->system;
    bool paging = (system->cr0 & CR0_PG) != 0;
    uint64_t cr4 = paging ? system->cr4 : system->cr4 & ~CR4_OF_PAGING;
    uint64_t efer = paging ? system->efer : system->efer & ~(EFER_LME | EFER_LMA);
    struct guest_paging now;

    emulate_paging(vcpu, false, &now);
    shadow->flush |= !translates_alike(&now, &shadow->paging);
    shadow->paging = now;
    shadow->pat = vcpu->msrs.pat;
    shadow->stale |= (vcpu->requests & VCPU_RESET) != 0;
    shadow->root = system->cr3;
    vmx_write_system(vmx, vcpu);
    vmx_write(VMCS_GUEST_CR0, vmx_read(VMCS_GUEST_CR0) | CR0_OF_CPU);
    vmx_write(VMCS_GUEST_CR4, cr4 | vmx_features.caps.cr4_fixed0 | CR4_MCE | CR4_PAE);
    vmx_write_switched(vmx, VMX_AREA_EFER, VMCS_GUEST_EFER, efer | EFER_NXE);
    vmx_write_switched(vmx, VMX_AREA_PAT, VMCS_GUEST_PAT, PAGE_TABLE_HOST_PAT);
    vmx_real_write(&shadow->real, system);
    vmx_write(VMCS_EXCEPTION_BITMAP, shadow->real.way == VMX_WAY_PLAIN ? shadow->exceptions : ALL_EXCEPTIONS);
}

/* Last before an entry. False: there is none. */
static bool take_over(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vmx_shadow *shadow = vmx->shadow;

    if (!vmx_real_take_over(&shadow->real, vmx, vcpu)) {
        return false;
    }
    if (shadow->stale) {
        shadow->stale = false;
        shadow->flush = true;
        shadow_forget(&shadow->tables);
    }
    if (shadow->flush) {
        shadow->flush = false;
        shadow_flush(&shadow->tables, &shadow->paging);
    }
    if (shadow_take_flush(&shadow->tables)) {
        flush_cpu(vmx, vcpu);
    }
    vmx_write_if_changed(VMCS_GUEST_CR3, &shadow->root, shadow_root(&shadow->tables));
    return true;
}

/* What an instruction has to have nothing to do with, as in quick.c. False: nothing is done. */
static inline bool step_over_alone(const struct vcpu *vcpu, uint64_t rip)
{
    if (vcpu->requests != 0 || (vmx_read_inline(VMCS_GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF)) != 0 ||
        (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) != 0) {
        return false;
    }
    vmx_write_inline(VMCS_GUEST_RIP, rip + vmx_read_inline(VMCS_EXIT_INSTRUCTION_LENGTH));
    return true;
}

/* The CPU has checked the privilege. What is left is to step over it. */
static bool handle_invlpg(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t linear = vmx_read_inline(VMCS_EXIT_QUALIFICATION);
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    shadow_invalidate(&vmx->shadow->tables, linear);
    if (insn_rdtsc() < vcpu->leave_at && step_over_alone(vcpu, rip)) {
        exit_note(vcpu, EXIT_NOTHING, VMX_EXIT_INVLPG, rip, linear);
        return true;
    }
    return vmx_handle_any_exit(vmx, vcpu);
}

/* A fault of no delivery, after which nothing is to be done but what its handler does. The instruction may have RF, as
 * one has that a fault's handler has returned to. */
static bool may_go_on(const struct vcpu *vcpu)
{
    return vcpu->requests == 0 && (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) == 0 &&
           (vmx_read_inline(VMCS_EXIT_EVENT) & VMX_EVENT_NMI_UNBLOCKED) == 0 &&
           (vmx_read_inline(VMCS_GUEST_RFLAGS) & RFLAGS_TF) == 0 &&
           (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) == 0 &&
           insn_rdtsc() < vcpu->leave_at;
}

/* Becomes the exit that nested paging would have made. */
static bool handle_nested_fault(struct vmx_vcpu *vmx, struct vcpu *vcpu, uint64_t address, enum guest_access access,
                                bool table)
{
    struct vmx_exit_words words = {
        .reason = VMX_EXIT_EPT_VIOLATION,
        .qualification = VMX_EPT_LINEAR_VALID | (access == GUEST_WRITE ? VMX_EPT_WRITE : 0) |
                         (access == GUEST_FETCH ? VMX_EPT_FETCH : 0) | (table ? 0 : VMX_EPT_FINAL),
        .guest_physical = address,
    };

    return vmx_handle_exit_as(vmx, vcpu, &words);
}

/* The fault is the guest's own. The long way would raise it and end the turn, which bounds exits without an instruction
 * between them; here the time does. */
static bool handle_guest_fault(struct vmx_vcpu *vmx, struct vcpu *vcpu, uint64_t linear, uint32_t error)
{
    const struct vcpu_event event = {
        .valid = true, .vector = EXCEPTION_PF, .kind = EVENT_EXCEPTION, .has_error = true, .error = error};
    struct vmx_exit_words words = {
        .reason = VMX_EXIT_EXCEPTION_NMI,
        .event = (uint32_t)vmx_read(VMCS_EXIT_EVENT),
        .error_code = error,
        .qualification = linear,
    };

    if (!may_go_on(vcpu)) {
        return vmx_handle_exit_as(vmx, vcpu, &words);
    }
    exit_note(vcpu, EXIT_EXCEPTION, VMX_EXIT_EXCEPTION_NMI, vmx_read_inline(VMCS_GUEST_RIP), vcpu->gpr[GPR_RCX]);
    insn_write_cr2(linear);
    vmx_write_inline(VMCS_GUEST_RFLAGS, vmx_read_inline(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
    vmx_write(VMCS_ENTRY_EVENT, vmx_encode_event(&event));
    vmx_write(VMCS_ENTRY_ERROR_CODE, error);
    return true;
}

/* The instruction runs again. As in exit_dispatch(), a fault in the middle of a delivery ends the turn; one of an IRET
 * has ended the blocking of NMIs too early. SDM 3C 28.2.3. */
static bool handle_filled(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    bool interrupted = (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) != 0;

    vcpu->exit_counts[EXIT_NESTED_FAULT]++;
    if (interrupted || insn_rdtsc() >= vcpu->leave_at) {
        vcpu->requests |= VCPU_YIELD;
    } else if ((vmx_read_inline(VMCS_EXIT_EVENT) & VMX_EVENT_NMI_UNBLOCKED) != 0) {
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
    }
    return vcpu->requests == 0 || vmx_finish_interrupted(vmx, vcpu);
}

/* The qualification is the address; CR2 is as it was. SDM 3C 28.2.1, 28.1. */
static bool handle_page_fault(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint32_t error = (uint32_t)vmx_read_inline(VMCS_EXIT_ERROR_CODE);
    uint64_t linear = vmx_read_inline(VMCS_EXIT_QUALIFICATION);
    struct guest_paging *paging = &vmx->shadow->paging;
    enum guest_access access = (error & PAGE_FAULT_FETCH) != 0   ? GUEST_FETCH
                               : (error & PAGE_FAULT_WRITE) != 0 ? GUEST_WRITE
                                                                 : GUEST_READ;
    struct guest_translation result;

    read_paging(paging, error);
    switch (shadow_fault(&vmx->shadow->tables, paging, linear, access, &result)) {
    case SHADOW_FILLED:
        return handle_filled(vmx, vcpu);
    case SHADOW_GUEST_FAULT:
        return handle_guest_fault(vmx, vcpu, linear, result.error_code);
    case SHADOW_DEVICE:
        return handle_nested_fault(vmx, vcpu, result.address.value, access, false);
    case SHADOW_BAD_TABLE:
        return handle_nested_fault(vmx, vcpu, result.bad_table.value, access, true);
    }
    return false;
}

static bool is_page_fault(uint32_t event)
{
    return (event & VMX_EVENT_VECTOR) == EXCEPTION_PF &&
           ((event >> VMX_EVENT_TYPE_SHIFT) & VMX_EVENT_TYPE) == EVENT_EXCEPTION;
}

/* Any exit but a plain MOV to CR3. */
__attribute__((noinline)) static bool handle_common_exit(struct vmx_vcpu *vmx, struct vcpu *vcpu, uint32_t reason)
{
    struct vmx_real *real = &vmx->shadow->real;
    bool again;

    vmx_real_put_back(real, vmx, vcpu);
    if (reason == VMX_EXIT_EXCEPTION_NMI && is_page_fault((uint32_t)vmx_read_inline(VMCS_EXIT_EVENT))) {
        again = handle_page_fault(vmx, vcpu);
    } else if (reason == VMX_EXIT_INVLPG) {
        again = handle_invlpg(vmx, vcpu);
    } else if (real->way != VMX_WAY_PLAIN) {
        again = vmx_real_handle_exit(real, vmx, vcpu, reason);
    } else {
        again = vmx_handle_exit(vcpu);
    }
    return again && take_over(vmx, vcpu);
}

/* MOV to CR3 of 64-bit code from a register that is in gpr[], with no bit that has to be looked at: cr_access() would
 * do the same. The next entry needs nothing but the new root. */
__attribute__((noinline)) static bool handle_cr3_write(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vmx_shadow *shadow = vmx->shadow;
    uint64_t access = vmx_read_inline(VMCS_EXIT_QUALIFICATION);
    uint64_t gpr = access >> VMX_CR_GPR_SHIFT & VMX_CR_GPR;
    uint64_t value = vcpu->gpr[gpr];
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);
    uint64_t root;

    if ((access & (VMX_CR_NUMBER | VMX_CR_TYPE << VMX_CR_TYPE_SHIFT)) != TO_CR3 || gpr == GPR_RSP ||
        value >> shadow->paging.physical_bits != 0 || (shadow->paging.efer & EFER_LMA) == 0 ||
        (vmx_read_inline((enum vmcs_field)(VMCS_GUEST_ES_ACCESS + SEGMENT_CS * VMCS_SEGMENT_STRIDE)) & SEGMENT_L) ==
            0 ||
        insn_rdtsc() >= vcpu->leave_at || !step_over_alone(vcpu, rip)) {
        return handle_common_exit(vmx, vcpu, VMX_EXIT_CR);
    }
    exit_note(vcpu, EXIT_CR_ACCESS, VMX_EXIT_CR, rip, value);
    shadow->paging.cr3 = value;
    (void)shadow_switch(&shadow->tables, &shadow->paging, &root);
    vmx_write_if_changed(VMCS_GUEST_CR3, &shadow->root, root);
    flush_cpu(vmx, vcpu);
    return true;
}

bool vmx_shadow_handle_exit(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;
    uint32_t reason = (uint32_t)vmx_read_inline(VMCS_EXIT_REASON);

    return reason == VMX_EXIT_CR ? handle_cr3_write(vmx, vcpu) : handle_common_exit(vmx, vcpu, reason);
}

uint32_t vmx_shadow_run(struct vcpu *vcpu, uint32_t launched)
{
    struct vmx_vcpu *vmx = vcpu->vendor;

    if (!take_over(vmx, vcpu)) {
        return 0;
    }
    return vmx->guarded != 0 ? vmx_shadow_enter_guarded(vcpu, launched) : vmx_shadow_enter(vcpu, launched);
}

void vmx_shadow_setup(struct vmx_vcpu *vmx)
{
    vmx_write_primary(vmx, vmx->primary | PRIMARY_INVLPG | PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE);
    vmx->shadow->exceptions = (uint32_t)vmx_read(VMCS_EXCEPTION_BITMAP) | 1u << EXCEPTION_PF;
    vmx_write(VMCS_EXCEPTION_BITMAP, vmx->shadow->exceptions);
    vmx_write(VMCS_CR0_MASK, vmx_read(VMCS_CR0_MASK) | CR0_TRANSLATES | VMX_REAL_CR0);
    vmx_write(VMCS_CR4_MASK, vmx_read(VMCS_CR4_MASK) | CR4_TRANSLATES | VMX_REAL_CR4);
    vmx_write(VMCS_HOST_RIP, (uint64_t)(uintptr_t)(vmx->guarded != 0 ? vmx_shadow_exit_guarded : vmx_shadow_exit));
}

void vmx_vcpu_shadow(struct vcpu *vcpu, void *memory, uint32_t tables, enum page_level largest)
{
    struct vmx_vcpu *vmx = vcpu->vendor;
    struct vmx_shadow *shadow = memory;

    vmx->shadow = shadow;
    vmx->enter = vmx_shadow_run;
    vmx->read_system = read_system;
    vmx->write_system = write_system;
    vmx->flush_translations = flush_translations;
    vmx->secondary_plain &= vmx_features.shadow_secondary;
    largest = largest == LEVEL_1G && !vmx_features.gib_pages ? LEVEL_2M : largest;
    shadow_init(&shadow->tables, &vcpu->guest->memory, largest, 0, hpa((uint64_t)(uintptr_t)(shadow) + PAGE_BYTES),
                tables, hpa((uint64_t)(uintptr_t)shadow->low_root));
    shadow->flush = true;
}
