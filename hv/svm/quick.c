/* SPDX-License-Identifier: MIT */
/*
 * The short way of the exits that a running guest makes most of: CPUID, a write of the APIC's EOI or of the deadline,
 * and the ports of the UART and of delays. For these neither a neutral exit nor all of struct vcpu is needed.
 *
 * The contract. An exit goes this way only where exit_dispatch() would have done the same: nothing is requested (of a
 * port: nothing but an interrupt that waits for its window), nothing is being stepped or delivered, and the instruction
 * has no other consequence than its result, rip behind it and the end of an interrupt shadow. In vcpu only gpr[]
 * without rsp is brought up to date, and for MSRs and ports exit_tsc; rip, rflags and rsp stay in the control
 * structure. Where the turn's time is over (quirks.late_host_interrupts) only CPUID still goes this way. What is not
 * done is left entirely to the long way, with nothing changed. What an exit leaves in vcpu->requests is applied before
 * the next entry. tests/unit/test_svm_quick.c and test_vmx_quick.c run both ways on random states and compare.
 */
#include "hv/svm/svm.h"

#include "hv/exit/dispatch.h"
#include "hv/host/cpu_timer.h"
#include "hv/policy/msr_policy.h"
#include "hv/svm/decode.h"
#include "hv/svm/instruction.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* Nothing waits, and the instruction has no consequences but its own. */
static inline bool may_be_quick(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    return vcpu->requests == 0 && (vmcb->rflags & (RFLAGS_TF | RFLAGS_RF)) == 0;
}

static inline void step_over(struct vmcb *vmcb, uint64_t next)
{
    vmcb->rip = next;
    vmcb->int_state &= ~INT_STATE_SHADOW;
    vmcb->tlb_control = TLB_FLUSH_NOTHING;
}

/* Where the instruction that exited ends; 0: the long way finds it. */
static uint64_t next_rip(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    uint8_t length;

    if (vmcb->next_rip != 0) {
        return vmcb->next_rip;
    }
    length = svm_usual_length(vmcb, vcpu);
    return length == 0 ? 0 : vmcb->rip + length;
}

static inline bool quick_cpuid(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t next)
{
    uint64_t rip = svm->vmcb.rip;

    vcpu->system.cr4 = svm->vmcb.cr4;
    step_over(&svm->vmcb, next);
    return exit_quick_cpuid(vcpu, SVM_EXIT_CPUID, rip, &svm->vmcb.rax);
}

/* Without nested paging the CPU does not use it. APM 2 15.25.8 "Combining Memory Types, MTRRs". */
static inline bool quick_pat_write(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t next = next_rip(vmcb, vcpu);

    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    if (next == 0 || !exit_quick_pat_write(vcpu, SVM_EXIT_MSR, vmcb->rip)) {
        return false;
    }
    vmcb->pat = vcpu->msrs.pat;
    vmcb->clean &= ~CLEAN_NESTED;
    step_over(vmcb, next);
    return true;
}

/* V_TPR is looked at because an EOI computes with it; it is taken over by the long way. */
static inline bool quick_msr_write(const struct vmcb *vmcb, struct vcpu *vcpu)
{
    if ((vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic)) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    return exit_quick_msr_write(vcpu, SVM_EXIT_MSR, vmcb->rip);
}

/* Only CPUID goes the short way where the turn's time is over. */
static inline bool may_read_known(struct vcpu *vcpu)
{
    vcpu->exit_tsc = insn_rdtsc();
    return !exit_time_is_over(vcpu);
}

/* RDMSR where msr_is_at_hand(): no other register has to do with it. */
static inline bool quick_known_read(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t next)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t rip = vmcb->rip;

    if ((uint32_t)vcpu->gpr[GPR_RCX] == MSR_EFER) {
        vcpu->system.efer = svm_guest_efer(svm, vcpu);
    }
    step_over(vmcb, next);
    return exit_quick_known_read(vcpu, SVM_EXIT_MSR, rip, &vmcb->rax);
}

/* A fault of the instruction that exited. What looks at injections or at the end of an NMI is the long way's. */
static inline bool may_fault(const struct svm_vcpu *svm)
{
    return svm->step.reason == SVM_STEP_NONE && !svm->step.iret_runs && svm->quirk.armed == 0 &&
           (svm->vmcb.cr0 & CR0_PE) != 0;
}

static void inject_fault(struct vmcb *vmcb, enum exception vector, bool has_error)
{
    const struct vcpu_event event = {
        .valid = true, .vector = (uint8_t)vector, .kind = EVENT_EXCEPTION, .has_error = has_error};

    vmcb->rflags |= RFLAGS_RF;
    vmcb->event_injection = svm_encode_event(&event);
    step_over(vmcb, vmcb->rip);
}

static bool quick_msr_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = next_rip(vmcb, vcpu);
    enum exit_quick result;

    if (next == 0 || (vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic) || !may_fault(svm)) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    result = exit_quick_msr_read(vcpu, SVM_EXIT_MSR, vmcb->rip);
    if (result == EXIT_QUICK_DONE) {
        vmcb->rax = vcpu->gpr[GPR_RAX];
        step_over(vmcb, next);
    } else if (result == EXIT_QUICK_FAULT) {
        inject_fault(vmcb, EXCEPTION_GP, true);
    }
    return result != EXIT_QUICK_LEFT;
}

/* Two or four bytes. */
__attribute__((noinline)) static bool quick_wide_port(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t info = vmcb->exit_info1;
    const struct exit_io io = {.port = (uint16_t)(info >> SVM_IOIO_PORT_SHIFT),
                               .size = info >> SVM_IOIO_SIZE_SHIFT & 7u,
                               .in = (info & SVM_IOIO_IN) != 0};
    bool done;

    if ((info & (SVM_IOIO_STRING | SVM_IOIO_REP)) != 0) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    done = exit_quick_wide_port(vcpu, SVM_EXIT_IOIO, vmcb->rip, &io);
    vmcb->rax = vcpu->gpr[GPR_RAX];
    return done;
}

static inline bool quick_port(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t info = vmcb->exit_info1;
    bool done;

    if ((info & (SVM_IOIO_STRING | SVM_IOIO_REP | SVM_IOIO_SIZE)) != SVM_IOIO_SIZE_8) {
        return quick_wide_port(vmcb, vcpu);
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    done = exit_quick_port(vcpu, SVM_EXIT_IOIO, vmcb->rip, (uint16_t)(info >> SVM_IOIO_PORT_SHIFT),
                           (info & SVM_IOIO_IN) != 0);
    vmcb->rax = vcpu->gpr[GPR_RAX];
    return done;
}

/* Its access itself: no table on the way to it, and no delivery. */
static inline bool is_plain_access(const struct vmcb *vmcb)
{
    return (vmcb->exit_info1 & (NPF_FETCH | NPF_TABLE_WALK)) == 0 && (vmcb->exit_int_info & EVENT_VALID) == 0;
}

/* A device in memory. V_TPR as above; a write of the TPR is carried to it. */
static bool quick_fault(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    const struct exit_nested_fault fault = {.address = gpa(vmcb->exit_info2),
                                            .write = (vmcb->exit_info1 & NPF_WRITE) != 0};
    const uint8_t *code;
    uint8_t length;

    if (!is_plain_access(vmcb) || (vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic) ||
        vmcb->cpl == CPL_USER) {
        return false;
    }
    code = svm_code_at_rip(vmcb, vcpu);
    if (code == NULL) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->gpr[GPR_RSP] = vmcb->rsp;
    vcpu->rip = vmcb->rip;
    vcpu->exit_tsc = insn_rdtsc();
    length = exit_quick_fault(vcpu, SVM_EXIT_NPF, &fault, code);
    if (length == 0) {
        return false;
    }
    vmcb->rax = vcpu->gpr[GPR_RAX];
    svm_write_tpr(vmcb, vcpu);
    step_over(vmcb, vmcb->rip + length);
    return true;
}

/* A kernel flushes all translations by a write in which PGE changes and nothing else. In 64-bit mode that loads no PAE
 * pointers. SDM 3A 4.10.4.1; APM 2 5.5. */
static bool is_global_flush(const struct svm_vcpu *svm, const struct vcpu *vcpu, uint64_t value)
{
    return ((value ^ svm->vmcb.cr4 ^ svm->added_cr4) & ~CR4_PGE) == 0 && (value & ~vcpu->guest->cr4_allowed) == 0;
}

/* A read exits where the guest has MCE clear. With shadow paging CR4 is not the guest's, and the tables must hear of a
 * flush. */
static bool quick_cr4_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code = svm_code_at_rip(vmcb, vcpu);
    bool write = vmcb->exit_code == SVM_EXIT_CR4_WRITE;
    uint64_t *operand;
    uint8_t gpr;

    if (code == NULL || vmcb->cpl != 0 || svm->shadow != NULL || !svm_plain_cr4_access(vmcb->exit_code, code, &gpr) ||
        gpr == GPR_RSP) {
        return false;
    }
    operand = gpr == GPR_RAX ? &vmcb->rax : &vcpu->gpr[gpr];
    vcpu->exit_tsc = insn_rdtsc();
    if ((write && !is_global_flush(svm, vcpu, *operand)) ||
        !exit_quick_done(vcpu, EXIT_CR_ACCESS, (uint32_t)vmcb->exit_code, vmcb->rip)) {
        return false;
    }
    step_over(vmcb, vmcb->rip + SVM_PLAIN_BYTES);
    if (write) {
        vmcb->cr4 = *operand | CR4_MCE;
        vmcb->clean &= ~CLEAN_CR;
        svm_flush_translations(vcpu);
    } else {
        *operand = vmcb->cr4 & ~svm->added_cr4;
    }
    return true;
}

/* What it may send looks at the TPR. */
static bool quick_hypercall(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t next = next_rip(vmcb, vcpu);

    if (next == 0 || vmcb->cpl != 0 || !svm_in_64bit_code(vmcb) ||
        (vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic)) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->rip = vmcb->rip;
    vcpu->exit_tsc = insn_rdtsc();
    if (!exit_quick_hypercall(vcpu, SVM_EXIT_VMMCALL)) {
        return false;
    }
    vmcb->rax = vcpu->gpr[GPR_RAX];
    step_over(vmcb, next);
    return true;
}

/* Devices see what the caches hold, so there is nothing to write back: docs/passthrough.md has the exception. */
static bool quick_wbinvd(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t next = next_rip(vmcb, vcpu);

    vcpu->exit_tsc = insn_rdtsc();
    if (next == 0 || !exit_quick_done(vcpu, EXIT_WBINVD, SVM_EXIT_WBINVD, vmcb->rip)) {
        return false;
    }
    step_over(vmcb, next);
    return true;
}

/* Which components the CPU saves. With shadow paging CR4 is not the guest's. */
static bool quick_xsetbv(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = next_rip(vmcb, vcpu);

    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    if (next == 0 || vmcb->cpl != 0 || svm->shadow != NULL ||
        !exit_quick_xsetbv(vcpu, SVM_EXIT_XSETBV, vmcb->rip, vmcb->cr4)) {
        return false;
    }
    insn_xsetbv(0, vcpu->xcr0);
    step_over(vmcb, next);
    return true;
}

/* UD2 and the like, and the other vendor's hypercall. With shadow paging CR3 is not the guest's. */
static bool quick_undefined(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code = svm->shadow == NULL && may_fault(svm) ? svm_code_at_rip(vmcb, vcpu) : NULL;
    enum exit_quick result;

    if (code == NULL || (vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic) ||
        (vmcb->exit_int_info & EVENT_VALID) != 0) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->rip = vmcb->rip;
    vcpu->exit_tsc = insn_rdtsc();
    result = exit_quick_undefined(vcpu, (uint32_t)vmcb->exit_code, code, vmcb->cpl == 0);
    if (result == EXIT_QUICK_DONE) {
        vmcb->rax = vcpu->gpr[GPR_RAX];
        step_over(vmcb, vmcb->rip + EXIT_CODE_BYTES);
    } else if (result == EXIT_QUICK_FAULT) {
        inject_fault(vmcb, EXCEPTION_UD, false);
    }
    return result != EXIT_QUICK_LEFT;
}

/*
 * Each kind of exit has a function of its own, which svm_handle_exit() ends with: it makes one stack frame where it
 * calls others, and none where it does not. The first half of a kind, above, says false where nothing has been done.
 */

/* A new deadline of the guest's, which most writes of MSRs are, needs no turn. True: it is entered again. */
__attribute__((noinline)) static bool follow_deadline(struct vcpu *vcpu)
{
    vcpu->requests = 0;
    cpu_timer_follow(cpu_this(), vcpu);
    return true;
}

/* An exit that was quick may have left something to do: then the vCPU is brought up to date first. */
static inline bool finish(struct svm_vcpu *svm, struct vcpu *vcpu, bool done)
{
    if (!done) {
        return svm_handle_any_exit(svm, vcpu);
    }
    return vcpu->requests == 0 ? true : svm_finish_quick(svm, vcpu);
}

__attribute__((noinline)) static bool handle_port(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = vmcb->exit_info2;

    if (!quick_port(vmcb, vcpu)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    step_over(vmcb, next);
    return finish(svm, vcpu, true);
}

/* A window for an interrupt stands, which is all that waits, and the guest has interrupts off. What would be chosen for
 * the next entry is what was chosen for the last one, unless the exit itself asks for something. */
static inline bool window_stands(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    return vcpu->requests == VCPU_EVENT && vcpu->nmi_pending == 0 &&
           (vmcb->rflags & (RFLAGS_TF | RFLAGS_RF | RFLAGS_IF)) == 0 && (vmcb->int_control & INT_CONTROL_V_IRQ) != 0 &&
           svm_events_are_settled(svm, vcpu) && !(svm->repairs && svm_quirks_concern(&svm->quirk, vmcb));
}

/* With requests. A kernel sends most of its bytes in the UART's interrupt handler, behind whose end the next interrupt
 * of the UART waits from the first byte on. */
__attribute__((noinline)) static bool handle_requested(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = vmcb->exit_info2;
    bool asks;
    bool done;

    if (vmcb->exit_code != SVM_EXIT_IOIO || !window_stands(svm, vcpu)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    vcpu->requests = 0;
    done = quick_port(vmcb, vcpu);
    asks = vcpu->requests != 0;
    vcpu->requests |= VCPU_EVENT;
    if (!done) {
        return svm_handle_any_exit(svm, vcpu);
    }
    step_over(vmcb, next);
    return asks ? svm_finish_quick(svm, vcpu) : true;
}

__attribute__((noinline)) static bool handle_pat_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_pat_write(&svm->vmcb, vcpu));
}

__attribute__((noinline)) static bool handle_msr_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = next_rip(&svm->vmcb, vcpu);

    if (next == 0 || !quick_msr_write(&svm->vmcb, vcpu)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    step_over(&svm->vmcb, next);
    return vcpu->requests == VCPU_TIMER ? follow_deadline(vcpu) : finish(svm, vcpu, true);
}

__attribute__((noinline)) static bool handle_msr_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_msr_read(svm, vcpu));
}

/* RDMSR of a register whose value is at hand; without next rip. */
__attribute__((noinline)) static bool handle_known_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = next_rip(&svm->vmcb, vcpu);

    return next != 0 && may_read_known(vcpu) ? quick_known_read(svm, vcpu, next) : svm_handle_any_exit(svm, vcpu);
}

__attribute__((noinline)) static bool handle_cpuid(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = next_rip(&svm->vmcb, vcpu);

    return next != 0 ? quick_cpuid(svm, vcpu, next) : svm_handle_any_exit(svm, vcpu);
}

__attribute__((noinline)) static bool handle_fault(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_fault(svm, vcpu));
}

__attribute__((noinline)) static bool handle_cr4_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_cr4_access(svm, vcpu));
}

__attribute__((noinline)) static bool handle_hypercall(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_hypercall(&svm->vmcb, vcpu));
}

__attribute__((noinline)) static bool handle_wbinvd(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_wbinvd(&svm->vmcb, vcpu));
}

__attribute__((noinline)) static bool handle_xsetbv(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_xsetbv(svm, vcpu));
}

__attribute__((noinline)) static bool handle_undefined(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_undefined(svm, vcpu));
}

/* The IRET that ends an NMI, where none waits. It is not stepped over: it runs at the entry. */
__attribute__((noinline)) static bool handle_iret(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    if (svm->step.reason != SVM_STEP_NONE || vcpu->nmi_pending != 0 || (vmcb->int_state & INT_STATE_SHADOW) != 0) {
        return svm_handle_any_exit(svm, vcpu);
    }
    vmcb->tlb_control = TLB_FLUSH_NOTHING;
    svm_step_let_iret_run(&svm->step, vmcb);
    return true;
}

/* Reads of MSRs, then what comes less often. */
__attribute__((noinline)) static bool handle_rare(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = svm->vmcb.next_rip;

    switch (svm->vmcb.exit_code) {
    case SVM_EXIT_MSR:
        if (!msr_is_at_hand((uint32_t)vcpu->gpr[GPR_RCX])) {
            return handle_msr_read(svm, vcpu);
        }
        return next != 0 && may_read_known(vcpu) ? quick_known_read(svm, vcpu, next) : handle_known_read(svm, vcpu);
    case SVM_EXIT_CR4_READ:
    case SVM_EXIT_CR4_WRITE:
        return handle_cr4_access(svm, vcpu);
    case SVM_EXIT_VMMCALL:
        return handle_hypercall(svm, vcpu);
    case SVM_EXIT_WBINVD:
        return handle_wbinvd(svm, vcpu);
    case SVM_EXIT_XSETBV:
        return handle_xsetbv(svm, vcpu);
    case SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_UD:
        return handle_undefined(svm, vcpu);
    case SVM_EXIT_IRET:
        return handle_iret(svm, vcpu);
    default:
        return svm_handle_any_exit(svm, vcpu);
    }
}

/* The kinds that are left, the frequent ones first. */
__attribute__((noinline)) static bool handle_other(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    uint64_t exit_code = vmcb->exit_code;

    if (!may_be_quick(vmcb, vcpu)) {
        return handle_requested(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_IOIO) {
        return handle_port(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_MSR && vmcb->exit_info1 == SVM_MSR_WRITE) {
        return (uint32_t)vcpu->gpr[GPR_RCX] == MSR_PAT ? handle_pat_write(svm, vcpu) : handle_msr_write(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_NPF) {
        return handle_fault(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_CPUID && (uint32_t)vmcb->rax != CPUID_XSAVE) {
        return handle_cpuid(svm, vcpu);
    }
    return handle_rare(svm, vcpu);
}

/* CPUID with a known length comes first and makes no stack frame; nothing of it can leave something to do. */
bool svm_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    if (vmcb->exit_code == SVM_EXIT_CPUID && vmcb->next_rip != 0 && may_be_quick(vmcb, vcpu) &&
        (uint32_t)vmcb->rax != CPUID_XSAVE) {
        return quick_cpuid(svm, vcpu, vmcb->next_rip);
    }
    return handle_other(svm, vcpu);
}
