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
#include "hv/svm/insn.h"
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

/* Is it the plain form of an instruction, where the guest's code at rip lies in host memory, if that was found? */
static inline bool is_form(const struct vmcb *vmcb, const uint8_t *code, enum svm_form form)
{
    return code != NULL && svm_may_look_at_rip(vmcb) && svm_has_form(code, form);
}

/* Without next rip, and not by the way of the last time. */
__attribute__((noinline)) static uint64_t search_next_rip(const struct vmcb *vmcb, struct vcpu *vcpu,
                                                          enum svm_form form)
{
    const uint8_t *code = svm_may_look_at_rip(vmcb) ? guest_walk_code_way(&vcpu->guest->memory, vmcb->cr3, vmcb->cr4,
                                                                          vmcb->rip, &vcpu->length_way)
                                                    : NULL;

    return code != NULL && svm_has_form(code, form) ? vmcb->rip + SVM_FORM_LENGTH(form) : 0;
}

/* A program's pages of 4 KiB under five levels. */
__attribute__((noinline)) static uint64_t find_deep_next_rip(const struct vmcb *vmcb, struct vcpu *vcpu,
                                                             enum svm_form form)
{
    const uint8_t *code = guest_code_by_deep_way(&vcpu->length_way, vmcb->cr3, vmcb->cr4, vmcb->rip);

    if (is_form(vmcb, code, form)) {
        return vmcb->rip + SVM_FORM_LENGTH(form);
    }
    return search_next_rip(vmcb, vcpu, form);
}

/* Without next rip; a stack frame is the search's. */
__attribute__((noinline)) static uint64_t find_next_rip(const struct vmcb *vmcb, struct vcpu *vcpu, enum svm_form form)
{
    const uint8_t *code = guest_code_by_way(&vcpu->length_way, vmcb->cr3, vmcb->cr4, vmcb->rip);

    if (is_form(vmcb, code, form)) {
        return vmcb->rip + SVM_FORM_LENGTH(form);
    }
    return find_deep_next_rip(vmcb, vcpu, form);
}

/* Where the instruction that exited ends; 0: the long way finds it. */
static inline uint64_t next_rip(const struct vmcb *vmcb, struct vcpu *vcpu, enum svm_form form)
{
    return vmcb->next_rip != 0 ? vmcb->next_rip : find_next_rip(vmcb, vcpu, form);
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
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_WRMSR);

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

static inline void inject_fault(struct vmcb *vmcb, enum exception vector, bool has_error)
{
    vmcb->rflags |= RFLAGS_RF;
    vmcb->event_injection = EVENT_VALID | (uint64_t)vector | (uint64_t)EVENT_EXCEPTION << EVENT_TYPE_SHIFT |
                            (has_error ? EVENT_HAS_ERROR : 0); /* the error is 0 */
    step_over(vmcb, vmcb->rip);
}

static bool quick_msr_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_RDMSR);
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

static inline bool is_byte_port(uint64_t info)
{
    return (info & (SVM_IOIO_STRING | SVM_IOIO_REP | SVM_IOIO_SIZE)) == SVM_IOIO_SIZE_8;
}

static inline bool quick_byte_port(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t info = vmcb->exit_info1;
    bool done;

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
static inline bool quick_cr4_access(struct svm_vcpu *svm, struct vcpu *vcpu, const uint8_t *code, bool write)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint32_t exit_code = write ? SVM_EXIT_CR4_WRITE : SVM_EXIT_CR4_READ;
    uint64_t *operand;
    uint8_t gpr;

    if (code == NULL || vmcb->cpl != 0 || svm->shadow != NULL || !svm_plain_cr4_access(exit_code, code, &gpr) ||
        gpr == GPR_RSP) {
        return false;
    }
    operand = gpr == GPR_RAX ? &vmcb->rax : &vcpu->gpr[gpr];
    vcpu->exit_tsc = insn_rdtsc();
    if ((write && !is_global_flush(svm, vcpu, *operand)) ||
        !exit_quick_done(vcpu, EXIT_CR_ACCESS, exit_code, vmcb->rip)) {
        return false;
    }
    step_over(vmcb, vmcb->rip + SVM_PLAIN_BYTES);
    if (write) {
        vmcb->cr4 = *operand | CR4_MCE;
        vmcb->clean &= ~CLEAN_CR;
        vmcb->tlb_control = svm_flush_control();
    } else {
        *operand = vmcb->cr4 & ~svm->added_cr4;
    }
    return true;
}

/* What it may send looks at the TPR. */
static inline bool may_call(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    return vmcb->cpl == 0 && svm_in_64bit_code(vmcb) &&
           (vmcb->int_control & INT_CONTROL_V_TPR) == lapic_cr8(&vcpu->lapic);
}

static bool quick_hypercall(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_VMMCALL);

    if (next == 0 || !may_call(vmcb, vcpu)) {
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
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_WBINVD);

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
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_XSETBV);

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

/* The same for a port, where the requests `standing` were taken away before: handle_requested(). */
static inline bool finish_port(struct svm_vcpu *svm, struct vcpu *vcpu, bool done, uint32_t standing)
{
    bool asks = vcpu->requests != 0;

    vcpu->requests |= standing;
    if (!done) {
        return svm_handle_any_exit(svm, vcpu);
    }
    step_over(&svm->vmcb, svm->vmcb.exit_info2);
    return asks ? svm_finish_quick(svm, vcpu) : true;
}

__attribute__((noinline)) static bool handle_port(struct svm_vcpu *svm, struct vcpu *vcpu, uint32_t standing)
{
    return finish_port(svm, vcpu, quick_byte_port(&svm->vmcb, vcpu), standing);
}

__attribute__((noinline)) static bool handle_any_wide_port(struct svm_vcpu *svm, struct vcpu *vcpu, uint32_t standing)
{
    return finish_port(svm, vcpu, quick_wide_port(&svm->vmcb, vcpu), standing);
}

/* OUT of eax to the PCI host's address register. The bits between port and size are of addresses. */
#define PCI_ADDRESS_INFO ((uint64_t)PCI_HOST_ADDRESS_PORT << SVM_IOIO_PORT_SHIFT | 4u << SVM_IOIO_SIZE_SHIFT)
#define PORT_INFO (0xffffULL << SVM_IOIO_PORT_SHIFT | SVM_IOIO_SIZE | SVM_IOIO_IN | SVM_IOIO_STRING | SVM_IOIO_REP)

/* Two or four bytes. What leaves nothing to do makes no stack frame. */
__attribute__((noinline)) static bool handle_wide_port(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->exit_tsc = insn_rdtsc();
    if ((vmcb->exit_info1 & PORT_INFO) != PCI_ADDRESS_INFO ||
        !exit_quick_pci_address(vcpu, SVM_EXIT_IOIO, vmcb->rip, (uint32_t)vmcb->rax)) {
        return handle_any_wide_port(svm, vcpu, 0);
    }
    step_over(vmcb, vmcb->exit_info2);
    return true;
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
    if (svm->vmcb.exit_code != SVM_EXIT_IOIO || !window_stands(svm, vcpu)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    vcpu->requests = 0;
    return is_byte_port(svm->vmcb.exit_info1) ? handle_port(svm, vcpu, VCPU_EVENT)
                                              : handle_any_wide_port(svm, vcpu, VCPU_EVENT);
}

__attribute__((noinline)) static bool handle_pat_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_pat_write(&svm->vmcb, vcpu));
}

__attribute__((noinline)) static bool handle_msr_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = next_rip(&svm->vmcb, vcpu, SVM_FORM_WRMSR);

    if (next == 0 || !quick_msr_write(&svm->vmcb, vcpu)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    step_over(&svm->vmcb, next);
    return vcpu->requests == VCPU_TIMER ? follow_deadline(vcpu) : finish(svm, vcpu, true);
}

/* V_TPR as in quick_msr_write(). */
__attribute__((noinline)) static bool handle_deadline(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_WRMSR);

    vcpu->exit_tsc = insn_rdtsc();
    if (next == 0 || (vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic) ||
        !exit_quick_deadline(vcpu, SVM_EXIT_MSR, vmcb->rip, (uint32_t)vmcb->rax)) {
        return handle_msr_write(svm, vcpu);
    }
    step_over(vmcb, next);
    cpu_timer_follow_apic(cpu_this(), vcpu);
    return true;
}

__attribute__((noinline)) static bool handle_eoi(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = next_rip(vmcb, vcpu, SVM_FORM_WRMSR);

    vcpu->exit_tsc = insn_rdtsc();
    if (next == 0 || (vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic) ||
        !exit_quick_eoi(vcpu, SVM_EXIT_MSR, vmcb->rip, (uint32_t)vmcb->rax)) {
        return handle_msr_write(svm, vcpu);
    }
    step_over(vmcb, next);
    return vcpu->requests == VCPU_TIMER ? follow_deadline(vcpu) : finish(svm, vcpu, true);
}

__attribute__((noinline)) static bool handle_any_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_msr_read(svm, vcpu));
}

/* RDMSR of what is not offered, again, which makes no stack frame; then others of the table. */
__attribute__((noinline)) static bool handle_other_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->exit_tsc = insn_rdtsc();
    if ((vmcb->int_control & INT_CONTROL_V_TPR) == lapic_cr8(&vcpu->lapic) && may_fault(svm) &&
        exit_quick_unknown_read(vcpu, SVM_EXIT_MSR, vmcb->rip)) {
        inject_fault(vmcb, EXCEPTION_GP, true);
        return true;
    }
    return handle_any_read(svm, vcpu);
}

/* RDMSR of a register whose value is at hand; without next rip. */
__attribute__((noinline)) static bool handle_known_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = next_rip(&svm->vmcb, vcpu, SVM_FORM_RDMSR);

    return next != 0 && may_read_known(vcpu) ? quick_known_read(svm, vcpu, next) : svm_handle_any_exit(svm, vcpu);
}

/* Without next rip. The two below make no stack frame: a program of the guest's executes it by the dozen. */
__attribute__((noinline)) static bool handle_cpuid_search(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = search_next_rip(&svm->vmcb, vcpu, SVM_FORM_CPUID);

    return next != 0 ? quick_cpuid(svm, vcpu, next) : svm_handle_any_exit(svm, vcpu);
}

__attribute__((noinline)) static bool handle_cpuid_deep(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code = guest_code_by_deep_way(&vcpu->length_way, vmcb->cr3, vmcb->cr4, vmcb->rip);

    if (!is_form(vmcb, code, SVM_FORM_CPUID)) {
        __attribute__((musttail)) return handle_cpuid_search(svm, vcpu);
    }
    return quick_cpuid(svm, vcpu, vmcb->rip + SVM_FORM_LENGTH(SVM_FORM_CPUID));
}

__attribute__((noinline)) static bool handle_cpuid(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code = guest_code_by_way(&vcpu->length_way, vmcb->cr3, vmcb->cr4, vmcb->rip);

    if (!is_form(vmcb, code, SVM_FORM_CPUID)) {
        __attribute__((musttail)) return handle_cpuid_deep(svm, vcpu);
    }
    return quick_cpuid(svm, vcpu, vmcb->rip + SVM_FORM_LENGTH(SVM_FORM_CPUID));
}

__attribute__((noinline)) static bool handle_fault(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_fault(svm, vcpu));
}

/* With the instruction, or NULL. They leave nothing to do, and make no stack frame. */
__attribute__((noinline)) static bool handle_cr4_read(struct svm_vcpu *svm, struct vcpu *vcpu, const uint8_t *code)
{
    return quick_cr4_access(svm, vcpu, code, false) ? true : svm_handle_any_exit(svm, vcpu);
}

__attribute__((noinline)) static bool handle_cr4_write(struct svm_vcpu *svm, struct vcpu *vcpu, const uint8_t *code)
{
    return quick_cr4_access(svm, vcpu, code, true) ? true : svm_handle_any_exit(svm, vcpu);
}

static inline bool handle_cr4_access_at(struct svm_vcpu *svm, struct vcpu *vcpu, const uint8_t *code)
{
    return svm->vmcb.exit_code == SVM_EXIT_CR4_READ ? handle_cr4_read(svm, vcpu, code)
                                                    : handle_cr4_write(svm, vcpu, code);
}

__attribute__((noinline)) static bool search_cr4_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return handle_cr4_access_at(svm, vcpu, svm_code_at_rip(&svm->vmcb, vcpu));
}

/* By the way of the last time, or not. */
__attribute__((noinline)) static bool handle_cr4_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    const uint8_t *code = guest_code_by_way(&vcpu->code_way, vmcb->cr3, vmcb->cr4, vmcb->rip);

    return code != NULL && svm_may_look_at_rip(vmcb) ? handle_cr4_access_at(svm, vcpu, code)
                                                     : search_cr4_access(svm, vcpu);
}

__attribute__((noinline)) static bool handle_any_hypercall(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    return finish(svm, vcpu, quick_hypercall(&svm->vmcb, vcpu));
}

/* One that nothing answers, again: it leaves nothing to do. */
__attribute__((noinline)) static bool handle_hypercall(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = vmcb->next_rip;

    vcpu->exit_tsc = insn_rdtsc();
    if (next == 0 || !may_call(vmcb, vcpu) ||
        !exit_quick_unknown_hypercall(vcpu, SVM_EXIT_VMMCALL, vmcb->rip, &vmcb->rax)) {
        return handle_any_hypercall(svm, vcpu);
    }
    step_over(vmcb, next);
    return true;
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

/* The CPU is given away: what comes next is the vCPU's next turn. */
__attribute__((noinline)) static bool handle_halt(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    uint64_t next = vmcb->next_rip != 0 ? vmcb->next_rip : vmcb->rip + svm_usual_length(vmcb, vcpu);

    vcpu->exit_tsc = insn_rdtsc();
    if (next == vmcb->rip || exit_time_is_over(vcpu) || !svm_events_are_settled(svm, vcpu)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    svm_take_exit(&svm->vmcb, vcpu);
    if (svm->repairs && svm_quirks_concern(&svm->quirk, vmcb)) {
        svm_quirks_repair_exit(svm, vcpu);
    }
    exit_quick_halt(vcpu, SVM_EXIT_HLT, next);
    return false;
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

/* The host's interrupts are let in for a moment. */
static inline void open_window(void)
{
    insn_cli();
    svm_insn_stgi();
    insn_interrupt_window();
    svm_insn_clgi();
    insn_sti(); /* as svm_run() has it */
}

/* An interrupt of the host. What is there for the loop is left to it; the guest's own timer is not. */
__attribute__((noinline)) static bool handle_interrupt(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    open_window();
    vcpu->exit_tsc = insn_rdtsc();
    if (!svm_events_are_settled(svm, vcpu) || !cpu_timer_tick(cpu_this(), vcpu, vcpu->exit_tsc)) {
        return svm_handle_any_exit(svm, vcpu);
    }
    svm->vmcb.tlb_control = TLB_FLUSH_NOTHING;
    exit_note(vcpu, EXIT_HOST_INTERRUPT, SVM_EXIT_INTR, svm->vmcb.rip, vcpu->gpr[GPR_RCX]);
    return finish(svm, vcpu, true);
}

/* RDMSR. */
__attribute__((noinline)) static bool handle_read(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint64_t next = svm->vmcb.next_rip;

    if (!msr_is_at_hand((uint32_t)vcpu->gpr[GPR_RCX])) {
        return msr_is_x2apic((uint32_t)vcpu->gpr[GPR_RCX]) ? handle_any_read(svm, vcpu) : handle_other_read(svm, vcpu);
    }
    return next != 0 && may_read_known(vcpu) ? quick_known_read(svm, vcpu, next) : handle_known_read(svm, vcpu);
}

static inline bool handle_write(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];

    return msr == MSR_PAT            ? handle_pat_write(svm, vcpu)
           : msr == MSR_TSC_DEADLINE ? handle_deadline(svm, vcpu)
           : msr == MSR_X2APIC_EOI   ? handle_eoi(svm, vcpu)
                                     : handle_msr_write(svm, vcpu);
}

/* CPUID's leaf of XSAVE, which some CPUs have to be repaired for. */
__attribute__((noinline)) static bool handle_xsave_cpuid(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if (svm->repairs) {
        vcpu->gpr[GPR_RAX] = svm->vmcb.rax;
        svm_quirks_cpuid(vcpu);
    }
    return svm->vmcb.next_rip != 0 ? quick_cpuid(svm, vcpu, svm->vmcb.next_rip) : handle_cpuid(svm, vcpu);
}

/* What comes less often. */
__attribute__((noinline)) static bool handle_rare(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    switch (svm->vmcb.exit_code) {
    case SVM_EXIT_INTR:
        return handle_interrupt(svm, vcpu);
    case SVM_EXIT_CR4_READ:
    case SVM_EXIT_CR4_WRITE:
        return handle_cr4_access(svm, vcpu);
    case SVM_EXIT_HLT:
        return handle_halt(svm, vcpu);
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
        return is_byte_port(vmcb->exit_info1) ? handle_port(svm, vcpu, 0) : handle_wide_port(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_MSR) {
        return vmcb->exit_info1 == SVM_MSR_WRITE ? handle_write(svm, vcpu) : handle_read(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_NPF) {
        return handle_fault(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_VMMCALL) {
        return handle_hypercall(svm, vcpu);
    }
    if (exit_code == SVM_EXIT_CPUID) {
        return handle_xsave_cpuid(svm, vcpu);
    }
    return handle_rare(svm, vcpu);
}

/* CPUID with a known length comes first and makes no stack frame; nothing of it can leave something to do. */
bool svm_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    if (vmcb->exit_code == SVM_EXIT_CPUID && may_be_quick(vmcb, vcpu) && (uint32_t)vmcb->rax != CPUID_XSAVE) {
        return vmcb->next_rip != 0 ? quick_cpuid(svm, vcpu, vmcb->next_rip) : handle_cpuid(svm, vcpu);
    }
    return handle_other(svm, vcpu);
}
