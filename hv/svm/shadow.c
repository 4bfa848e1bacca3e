/* SPDX-License-Identifier: MIT */
#include "hv/svm/shadow.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_memory.h"
#include "hv/exit/dispatch.h"
#include "hv/svm/decode.h"
#include "hv/svm/instruction.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define EXIT_PAGE_FAULT ((uint64_t)SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_PF)

/* Of CR0, what changes translations; TS and MP are what a guest may change without an exit. */
#define CR0_TRANSLATES (CR0_PG | CR0_WP)
#define CR0_UNSEEN (CR0_TS | CR0_MP)

/* CR4 under paging that is not the guest's own. */
#define CR4_OF_PAGING (CR4_SMEP | CR4_SMAP | CR4_LA57)

/* What a walk has to know beside the control registers. A supervisor access at CPL 3 is one to a descriptor table. */
static void read_paging(struct guest_paging *paging, const struct vmcb *vmcb, uint64_t error)
{
    paging->cpl = vmcb->cpl;
    paging->implicit_supervisor = vmcb->cpl == 3 && (error & PAGE_FAULT_USER) == 0;
    paging->rflags = vmcb->rflags;
}

/* A handler that writes a register of these, or wants a flush, has left it in the VMCB. */
static void follow_guest(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    struct svm_shadow *shadow = svm->shadow;
    struct guest_paging *paging = &shadow->paging;
    const struct vmcb *vmcb = &svm->vmcb;

    if (svm->shadow_stale) {
        svm->shadow_stale = false;
        shadow->flush = true;
        shadow_forget(&shadow->tables);
    }
    if (!shadow->flush && vmcb->tlb_control == TLB_FLUSH_NOTHING && ((vmcb->cr0 ^ paging->cr0) & CR0_TRANSLATES) == 0 &&
        vmcb->cr3 == paging->cr3 && vmcb->cr4 == paging->cr4 && vmcb->efer == paging->efer) {
        paging->cr0 = vmcb->cr0;
        return;
    }
    shadow->flush = false;
    emulate_paging(vcpu, false, paging);
    paging->cr0 = vmcb->cr0;
    paging->cr3 = vmcb->cr3;
    paging->cr4 = vmcb->cr4;
    paging->efer = vmcb->efer;
    shadow_flush(&shadow->tables, paging);
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
    vmcb->cr0 = cr0;
    vmcb->cr3 = shadow_root(&shadow->tables);
    vmcb->cr4 = cr4;
    vmcb->efer = (paging ? vmcb->efer : vmcb->efer & ~(EFER_LME | EFER_LMA)) | EFER_NXE;
    vmcb->clean &= ~(CLEAN_INTERCEPTS | CLEAN_ASID | CLEAN_CR);
}

static void put_back(struct svm_vcpu *svm)
{
    const struct guest_paging *paging = &svm->shadow->paging;
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->cr0 = (paging->cr0 & ~CR0_UNSEEN) | (vmcb->cr0 & CR0_UNSEEN);
    vmcb->cr3 = paging->cr3;
    vmcb->cr4 = paging->cr4;
    vmcb->efer = paging->efer;
    vmcb->tlb_control = TLB_FLUSH_NOTHING;
}

/* The same guest goes on, whose tables may have changed. */
static inline bool enter_again_at_once(struct svm_vcpu *svm)
{
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->tlb_control = TLB_FLUSH_NOTHING;
    if (shadow_take_flush(&svm->shadow->tables)) {
        vmcb->tlb_control = svm_flush_control();
        vmcb->clean &= ~CLEAN_ASID;
    }
    return true;
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
        svm->shadow->flush = true;
    }
    again = svm_handle_any_exit(svm, vcpu);
    vmcb->next_rip = 0; /* where the CPU does not write it, it stays 0 */
    return again;
}

/* What has to do with more than the tables: the VMCB is the guest's meanwhile. */
__attribute__((noinline)) static bool handle_other_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    bool again;

    put_back(svm);
    again = svm->vmcb.exit_code == SVM_EXIT_INVLPG ? handle_invlpg(svm, vcpu) : svm_handle_exit(svm, vcpu);
    if (again) {
        take_over(svm, vcpu);
    }
    return again;
}

/* An exit of no delivery, after which nothing is to be done but what its handler does. */
static inline bool may_run_again(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    return vcpu->requests == 0 && ((vmcb->exit_int_info | vmcb->event_injection) & EVENT_VALID) == 0 &&
           !(svm->repairs && svm_quirks_concern(&svm->quirk, vmcb)) && insn_rdtsc() < vcpu->leave_at;
}

/* And nothing waits for the instruction's end. One that a fault's handler has returned to has RF. */
static inline bool may_go_on(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    return (svm->vmcb.rflags & RFLAGS_TF) == 0 && (svm->vmcb.int_state & INT_STATE_SHADOW) == 0 &&
           may_run_again(svm, vcpu);
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
    return handle_other_exit(svm, vcpu);
}

/* The fault is the guest's own. The long way would raise it and end the turn, which bounds exits without an instruction
 * between them; here the time does. */
static bool handle_guest_fault(struct svm_vcpu *svm, struct vcpu *vcpu, uint32_t error)
{
    const struct vcpu_event event = {
        .valid = true, .vector = EXCEPTION_PF, .kind = EVENT_EXCEPTION, .has_error = true, .error = error};
    struct vmcb *vmcb = &svm->vmcb;

    if (!may_go_on(svm, vcpu) || svm->step.reason != SVM_STEP_NONE || svm->step.iret_runs) {
        vmcb->exit_info1 = error;
        return handle_other_exit(svm, vcpu);
    }
    exit_note(vcpu, EXIT_EXCEPTION, (uint32_t)vmcb->exit_code, vmcb->rip, vcpu->gpr[GPR_RCX]);
    vmcb->cr2 = vmcb->exit_info2;
    vmcb->clean &= ~CLEAN_CR2;
    vmcb->rflags |= RFLAGS_RF;
    vmcb->event_injection = svm_encode_event(&event);
    if (svm->repairs) {
        svm_quirks_prepare(svm, vcpu, VCPU_CR2_WRITE);
    }
    return enter_again_at_once(svm);
}

/*
 * A page is there now: the instruction runs again, with the flags and in the shadow that it had. As in exit_dispatch(),
 * a fault in the middle of a delivery ends the turn.
 */
static bool handle_filled(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    vcpu->exit_counts[EXIT_NESTED_FAULT]++;
    if (may_run_again(svm, vcpu)) {
        return enter_again_at_once(svm);
    }
    put_back(svm);
    if ((vmcb->exit_int_info & EVENT_VALID) != 0 || insn_rdtsc() >= vcpu->leave_at) {
        vcpu->requests |= VCPU_YIELD;
    }
    if (!svm_finish_quick(svm, vcpu)) {
        return false;
    }
    take_over(svm, vcpu);
    return true;
}

/* EXITINFO1 is the error code, EXITINFO2 the address. APM 2 15.12.15 "#PF (Page Fault)". */
__attribute__((noinline)) static bool handle_page_fault(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    struct guest_paging *paging = &svm->shadow->paging;
    uint64_t error = vmcb->exit_info1;
    enum guest_access access = (error & PAGE_FAULT_FETCH) != 0   ? GUEST_FETCH
                               : (error & PAGE_FAULT_WRITE) != 0 ? GUEST_WRITE
                                                                 : GUEST_READ;
    struct guest_translation result;

    read_paging(paging, vmcb, error);
    switch (shadow_fault(&svm->shadow->tables, paging, vmcb->exit_info2, access, &result)) {
    case SHADOW_FILLED:
        return handle_filled(svm, vcpu);
    case SHADOW_GUEST_FAULT:
        return handle_guest_fault(svm, vcpu, result.error_code);
    case SHADOW_DEVICE:
        return handle_nested_fault(svm, vcpu, result.address.value, access, false);
    case SHADOW_BAD_TABLE:
        return handle_nested_fault(svm, vcpu, result.bad_table.value, access, true);
    }
    return false;
}

/*
 * MOV to CR3 and INVLPG of 64-bit code, with no prefix but REX.B and an operand that is in a register which this can
 * read: 0f 22 /3, and 0f 01 /7 with a base and nothing else. cr_access() would do the same. APM 3 "MOV CRn", "INVLPG".
 */
#define CODE_REX_B 0x41u
#define CODE_FIXED 0xf8ffffu /* of the first four bytes: all but the register and what follows */
#define CODE_CR3 0xd8220fu
#define CODE_INVLPG 0x38010fu
#define CODE_GPR_SHIFT 16u
#define CODE_SIB 4u     /* in place of a base */
#define CODE_NO_BASE 5u /* an address relative to rip */

/* May what has exited be stepped over here, as quick.c has it, and is it run as 64-bit code of the kernel? */
static inline bool may_step_over(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    return vcpu->requests == 0 && (vmcb->rflags & (RFLAGS_TF | RFLAGS_RF)) == 0 && vmcb->cpl == 0 &&
           (vmcb->cs.attributes & VMCB_CS_LONG) != 0 && insn_rdtsc() < vcpu->leave_at;
}

/* And may the instruction at rip be a plain one, all of whose bytes are in one page? */
static inline bool may_be_plain(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    return may_step_over(svm, vcpu) && svm_in_64bit_code(vmcb) &&
           (vmcb->rip & (PAGE_BYTES - 1)) <= PAGE_BYTES - (SVM_PLAIN_BYTES + 1);
}

/* The first of them. One load, of any alignment. */
static inline uint32_t code_bytes(const uint8_t *code)
{
    uint32_t bytes;

    __builtin_memcpy(&bytes, code, sizeof(bytes));
    return bytes;
}

/* Is an instruction that begins so this one? Then its operand's register, and its length. */
static inline bool is_plain(uint32_t bytes, uint32_t wanted, uint8_t *gpr, uint8_t *length)
{
    uint8_t rex = (uint8_t)bytes == CODE_REX_B ? 1 : 0;

    bytes = rex != 0 ? bytes >> 8 : bytes;
    *gpr = (uint8_t)((bytes >> CODE_GPR_SHIFT & 7) + 8u * rex);
    *length = (uint8_t)(SVM_PLAIN_BYTES + rex);
    return (bytes & CODE_FIXED) == wanted;
}

static inline void step_over_plain(struct vmcb *vmcb, uint8_t length)
{
    vmcb->rip += length;
    vmcb->int_state &= ~INT_STATE_SHADOW;
}

/* The instruction is one that can be handled here. A tail call is left. */
static inline bool finish_cr3_write(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t value)
{
    struct svm_shadow *shadow = svm->shadow;
    struct vmcb *vmcb = &svm->vmcb;

    exit_note(vcpu, EXIT_CR_ACCESS, SVM_EXIT_CR3_WRITE, vmcb->rip, value);
    step_over_plain(vmcb, shadow->cr3_bytes);
    vmcb->tlb_control = svm_flush_control();
    vmcb->clean &= ~(CLEAN_CR | CLEAN_ASID);
    shadow->paging.cr3 = value;
    return shadow_switch(&shadow->tables, &shadow->paging, &vmcb->cr3);
}

/* The instruction has to be looked for in the guest's tables, and decoded: its register is one of gpr[] without rsp. */
__attribute__((noinline)) static bool handle_cr3_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct svm_shadow *shadow = svm->shadow;
    const uint8_t *code =
        may_be_plain(svm, vcpu) ? shadow_find_code(&shadow->tables, &shadow->paging, svm->vmcb.rip) : NULL;
    uint8_t length;
    uint8_t gpr;

    vcpu->gpr[GPR_RAX] = svm->vmcb.rax;
    if (code == NULL || !is_plain(code_bytes(code), CODE_CR3, &gpr, &length) || gpr == GPR_RSP ||
        vcpu->gpr[gpr] >> shadow->paging.physical_bits != 0) {
        return handle_other_exit(svm, vcpu);
    }
    shadow->cr3_code = code_bytes(code);
    shadow->cr3_gpr = gpr;
    shadow->cr3_bytes = length;
    return finish_cr3_write(svm, vcpu, vcpu->gpr[gpr]);
}

/*
 * The same where the instruction lies where one lay before in this address space, and is the last one that was looked
 * at. That was 64-bit code's, and so is the address space; CS says whether it is run as such. Most of what a switch
 * costs beside the engine's part is here, so this calls nothing.
 */
__attribute__((noinline)) static bool handle_known_cr3_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct svm_shadow *shadow = svm->shadow;
    struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code = shadow_known_code(&shadow->tables, vmcb->rip);
    uint64_t value;

    if (code == NULL || code_bytes(code) != shadow->cr3_code || !may_step_over(svm, vcpu)) {
        return handle_cr3_write(svm, vcpu);
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    value = vcpu->gpr[shadow->cr3_gpr];
    if (value >> shadow->paging.physical_bits != 0) {
        return handle_other_exit(svm, vcpu);
    }
    return finish_cr3_write(svm, vcpu, value);
}

static bool quick_invlpg(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct svm_shadow *shadow = svm->shadow;
    struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code;
    uint64_t linear;
    uint8_t length;
    uint8_t gpr;

    if (!may_be_plain(svm, vcpu)) {
        return false;
    }
    code = guest_walk_code(&vcpu->guest->memory, shadow->paging.cr3, shadow->paging.cr4, vmcb->rip);
    if (code == NULL || !is_plain(code_bytes(code), CODE_INVLPG, &gpr, &length) || (gpr & 7u) == CODE_SIB ||
        (gpr & 7u) == CODE_NO_BASE) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    linear = vcpu->gpr[gpr];
    exit_note(vcpu, EXIT_NOTHING, SVM_EXIT_INVLPG, vmcb->rip, linear);
    step_over_plain(vmcb, length);
    shadow_invalidate(&shadow->tables, linear);
    return true;
}

__attribute__((noinline)) static bool handle_plain_invlpg(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return quick_invlpg(svm, vcpu) ? enter_again_at_once(svm) : handle_other_exit(svm, vcpu);
}

bool svm_shadow_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t code = svm->vmcb.exit_code;

    if (code == EXIT_PAGE_FAULT) {
        return handle_page_fault(svm, vcpu);
    }
    if (code == SVM_EXIT_CR3_WRITE) {
        return handle_known_cr3_write(svm, vcpu);
    }
    return code == SVM_EXIT_INVLPG ? handle_plain_invlpg(svm, vcpu) : handle_other_exit(svm, vcpu);
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
    shadow->flush = true;
    shadow->cr3_code = CODE_CR3;
    shadow->cr3_gpr = GPR_RAX;
    shadow->cr3_bytes = SVM_PLAIN_BYTES;
}
