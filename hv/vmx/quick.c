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
#include "hv/vmx/vmx.h"

#include "hv/exit/dispatch.h"
#include "hv/host/cpu_timer.h"
#include "hv/policy/msr_policy.h"
#include "hv/vmx/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* Nothing waits, and the instruction has no consequences but its own. A shadow's end is the long way's. */
static inline bool may_be_quick(const struct vcpu *vcpu)
{
    return vcpu->requests == 0 && (vmx_read_inline(VMCS_GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF)) == 0 &&
           (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) == 0;
}

static inline void step_over(uint64_t rip)
{
    vmx_write_inline(VMCS_GUEST_RIP, rip + vmx_read_inline(VMCS_EXIT_INSTRUCTION_LENGTH));
}

static inline bool quick_cpuid(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->system.cr4 = vmx_read_inline(VMCS_GUEST_CR4);
    step_over(rip);
    return exit_quick_cpuid(vcpu, VMX_EXIT_CPUID, rip, &vcpu->gpr[GPR_RAX]);
}

/* With shadow paging PAT is not the guest's. */
static inline bool quick_pat_write(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if ((vmx->secondary & SECONDARY_EPT) == 0 || !exit_quick_pat_write(vcpu, VMX_EXIT_WRMSR, rip)) {
        return false;
    }
    vmx_write_switched(vmx, VMX_AREA_PAT, VMCS_GUEST_PAT, vcpu->msrs.pat);
    step_over(rip);
    return true;
}

static inline bool quick_msr_write(struct vcpu *vcpu, uint64_t rip)
{
    vcpu->exit_tsc = insn_rdtsc();
    return exit_quick_msr_write(vcpu, VMX_EXIT_WRMSR, rip);
}

static inline uint64_t guest_efer(const struct vmx_vcpu *vmx)
{
    return vmx_features.msr_areas ? vmx->guest_msrs[VMX_AREA_EFER].value : vmx_read_inline(VMCS_GUEST_EFER);
}

/* Only CPUID goes the short way where the turn's time is over. With shadow paging EFER is not the guest's. */
static inline bool may_read_known(struct vcpu *vcpu)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;

    vcpu->exit_tsc = insn_rdtsc();
    return !exit_time_is_over(vcpu) && (vmx->secondary & SECONDARY_EPT) != 0;
}

/* RDMSR where msr_is_at_hand(): no other register has to do with it. */
static inline bool quick_known_read(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    if ((uint32_t)vcpu->gpr[GPR_RCX] == MSR_EFER) {
        vcpu->system.efer = guest_efer(vcpu->vendor);
    }
    step_over(rip);
    return exit_quick_known_read(vcpu, VMX_EXIT_RDMSR, rip, &vcpu->gpr[GPR_RAX]);
}

/* A fault of the instruction that exited. */
static inline void inject_fault(enum exception vector, bool has_error)
{
    vmx_write_inline(VMCS_GUEST_RFLAGS, vmx_read_inline(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
    vmx_write_inline(VMCS_ENTRY_EVENT, VMX_EVENT_VALID | (uint32_t)vector |
                                           (uint32_t)EVENT_EXCEPTION << VMX_EVENT_TYPE_SHIFT |
                                           (has_error ? VMX_EVENT_HAS_ERROR : 0));
    if (has_error) {
        vmx_write_inline(VMCS_ENTRY_ERROR_CODE, 0);
    }
}

static bool quick_msr_read(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);
    enum exit_quick result;

    if ((vmx_read_inline(VMCS_GUEST_CR0) & CR0_PE) == 0) {
        return false;
    }
    vcpu->exit_tsc = insn_rdtsc();
    result = exit_quick_msr_read(vcpu, VMX_EXIT_RDMSR, rip);
    if (result == EXIT_QUICK_DONE) {
        step_over(rip);
    } else if (result == EXIT_QUICK_FAULT) {
        inject_fault(EXCEPTION_GP, true);
    }
    return result != EXIT_QUICK_LEFT;
}

/* Two or four bytes. */
__attribute__((noinline)) static bool quick_wide_port(struct vcpu *vcpu, uint64_t rip, uint64_t info)
{
    const struct exit_io io = {.port = (uint16_t)(info >> VMX_IO_PORT_SHIFT),
                               .size = (uint8_t)((info & VMX_IO_SIZE) + 1),
                               .in = (info & VMX_IO_IN) != 0};

    if ((info & (VMX_IO_STRING | VMX_IO_REP)) != 0) {
        return false;
    }
    vcpu->exit_tsc = insn_rdtsc();
    return exit_quick_wide_port(vcpu, VMX_EXIT_IO, rip, &io);
}

static inline bool is_byte_port(uint64_t info)
{
    return (info & (VMX_IO_STRING | VMX_IO_REP | VMX_IO_SIZE)) == VMX_IO_SIZE_8;
}

static inline bool quick_byte_port(struct vcpu *vcpu, uint64_t rip, uint64_t info)
{
    vcpu->exit_tsc = insn_rdtsc();
    return exit_quick_port(vcpu, VMX_EXIT_IO, rip, (uint16_t)(info >> VMX_IO_PORT_SHIFT), (info & VMX_IO_IN) != 0);
}

/* Its access itself: no table on the way to it, and no delivery. */
static inline bool is_plain_access(uint64_t info)
{
    return (info & VMX_EPT_FETCH) == 0 && (info & VMX_EPT_LINEAR_VALID) != 0 && (info & VMX_EPT_FINAL) != 0 &&
           (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) == 0;
}

static enum vmcs_field access_field(uint32_t segment)
{
    return (enum vmcs_field)((uint32_t)VMCS_GUEST_ES_ACCESS + segment * VMCS_SEGMENT_STRIDE);
}

static inline bool in_64bit_code(const struct vmx_vcpu *vmx)
{
    return (guest_efer(vmx) & EFER_LMA) != 0 && (vmx_read_inline(access_field(SEGMENT_CS)) & SEGMENT_L) != 0;
}

static inline uint32_t privilege_level(void)
{
    return SEGMENT_DPL((uint32_t)vmx_read_inline(access_field(SEGMENT_SS)));
}

static inline bool in_kernel(void)
{
    return privilege_level() == 0;
}

/* Its bytes, in 64-bit mode and all in one page. With shadow paging CR3 is not the guest's. */
static const uint8_t *code_at(struct vcpu *vcpu, uint64_t rip)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;

    if ((vmx->secondary & SECONDARY_EPT) == 0 || !in_64bit_code(vmx) ||
        (rip & (PAGE_BYTES - 1)) > PAGE_BYTES - EXIT_CODE_BYTES) {
        return NULL;
    }
    return guest_walk_code_again(&vcpu->guest->memory, vmx_read_inline(VMCS_GUEST_CR3), vmx_read_inline(VMCS_GUEST_CR4),
                                 rip, &vcpu->code_way);
}

__attribute__((always_inline)) static inline bool quick_move(struct vcpu *vcpu, uint32_t reason,
                                                             const struct exit_nested_fault *fault, const uint8_t *code)
{
    uint8_t length;

    vcpu->gpr[GPR_RSP] = vmx_read_inline(VMCS_GUEST_RSP);
    vcpu->exit_tsc = insn_rdtsc();
    length = exit_quick_fault(vcpu, reason, fault, code);
    if (length != 0) {
        vmx_write_inline(VMCS_GUEST_RIP, vcpu->rip + length);
    }
    return length != 0;
}

/* A device in memory. */
static bool quick_fault(struct vcpu *vcpu)
{
    uint64_t info = vmx_read_inline(VMCS_EXIT_QUALIFICATION);
    struct exit_nested_fault fault = {.write = (info & VMX_EPT_WRITE) != 0};
    const uint8_t *code;

    if (!is_plain_access(info) || privilege_level() == CPL_USER) {
        return false;
    }
    vcpu->rip = vmx_read_inline(VMCS_GUEST_RIP);
    code = code_at(vcpu, vcpu->rip);
    if (code == NULL) {
        return false;
    }
    fault.address = gpa(vmx_read_inline(VMCS_GUEST_PHYSICAL));
    return quick_move(vcpu, VMX_EXIT_EPT_VIOLATION, &fault, code);
}

/* The CPU has written into its page, and the instruction is done. */
static inline bool quick_apic_write(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);
    uint32_t offset = (uint32_t)(vmx_read_inline(VMCS_EXIT_QUALIFICATION) & VMX_APIC_OFFSET);

    vcpu->exit_tsc = insn_rdtsc();
    if (vmx_apic_is_eoi(offset) || exit_time_is_over(vcpu) ||
        (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) != 0) {
        return false;
    }
    exit_note(vcpu, EXIT_APIC_WRITE, VMX_EXIT_APIC_WRITE, rip, offset);
    guest_apic_written(vcpu, offset);
    return true;
}

/* What the CPU does not serve of its page. */
static bool quick_apic_access(struct vcpu *vcpu)
{
    uint64_t info = vmx_read_inline(VMCS_EXIT_QUALIFICATION);
    enum vmx_apic_access type = vmx_apic_access_type(info);
    const struct exit_nested_fault fault = {.address = gpa(GUEST_LAPIC_BASE | (info & VMX_APIC_OFFSET)),
                                            .write = type == VMX_APIC_WRITE};
    const uint8_t *code;

    if ((type != VMX_APIC_READ && type != VMX_APIC_WRITE) || privilege_level() == CPL_USER ||
        (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) != 0) {
        return false;
    }
    vcpu->rip = vmx_read_inline(VMCS_GUEST_RIP);
    code = code_at(vcpu, vcpu->rip);
    if (code == NULL || !quick_move(vcpu, VMX_EXIT_APIC_ACCESS, &fault, code)) {
        return false;
    }
    if (fault.write) {
        vmx_apic_accessed(vcpu);
    }
    return true;
}

/* In 64-bit code of the kernel: the DPL of a code segment that is not conforming is the CPL. SDM 3C 27.3.1.2 "Checks on
 * Guest Segment Registers". */
static inline bool may_call(const struct vcpu *vcpu)
{
    const uint64_t looked_at = SEGMENT_L | SEGMENT_DPL_BITS | SEGMENT_CONFORMING;

    return (guest_efer(vcpu->vendor) & EFER_LMA) != 0 &&
           (vmx_read_inline(access_field(SEGMENT_CS)) & looked_at) == SEGMENT_L;
}

static bool quick_hypercall(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    if (!may_call(vcpu)) {
        return false;
    }
    vcpu->rip = rip;
    vcpu->exit_tsc = insn_rdtsc();
    if (!exit_quick_hypercall(vcpu, VMX_EXIT_VMCALL)) {
        return false;
    }
    step_over(rip);
    return true;
}

/* Devices see what the caches hold, so there is nothing to write back: docs/passthrough.md has the exception. */
static bool quick_wbinvd(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if (!exit_quick_done(vcpu, EXIT_WBINVD, VMX_EXIT_WBINVD, rip)) {
        return false;
    }
    step_over(rip);
    return true;
}

/* Which components the CPU saves. With shadow paging CR4 is not the guest's. */
static bool quick_xsetbv(struct vcpu *vcpu)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if (!in_kernel() || (vmx->secondary & SECONDARY_EPT) == 0 ||
        !exit_quick_xsetbv(vcpu, VMX_EXIT_XSETBV, rip, vmx_read_inline(VMCS_GUEST_CR4))) {
        return false;
    }
    insn_xsetbv(0, vcpu->xcr0);
    step_over(rip);
    return true;
}

#define UNDEFINED_EVENT (VMX_EVENT_VALID | (uint32_t)EVENT_EXCEPTION << VMX_EVENT_TYPE_SHIFT | EXCEPTION_UD)

/* UD2 and the like, and the other vendor's hypercall; not where an IRET has ended an NMI's blocking, too. */
static bool quick_undefined(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);
    const uint8_t *code;
    enum exit_quick result;

    if ((uint32_t)vmx_read_inline(VMCS_EXIT_EVENT) != UNDEFINED_EVENT ||
        (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) != 0) {
        return false;
    }
    code = code_at(vcpu, rip);
    if (code == NULL) {
        return false;
    }
    vcpu->rip = rip;
    vcpu->exit_tsc = insn_rdtsc();
    result = exit_quick_undefined(vcpu, VMX_EXIT_EXCEPTION_NMI, code, in_kernel());
    if (result == EXIT_QUICK_DONE) {
        vmx_write_inline(VMCS_GUEST_RIP, rip + EXIT_CODE_BYTES);
    } else if (result == EXIT_QUICK_FAULT) {
        inject_fault(EXCEPTION_UD, false);
    }
    return result != EXIT_QUICK_LEFT;
}

/*
 * Each kind of exit has a function of its own, which vmx_handle_exit() ends with: it makes one stack frame where it
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
static inline bool finish(struct vcpu *vcpu, bool done)
{
    if (!done) {
        return vmx_handle_any_exit(vcpu->vendor, vcpu);
    }
    return vcpu->requests == 0 ? true : vmx_finish_quick(vcpu->vendor, vcpu);
}

/* The same for a port, where the requests `standing` were taken away before: handle_requested(). */
static inline bool finish_port(struct vcpu *vcpu, uint64_t rip, bool done, uint32_t standing)
{
    bool asks = vcpu->requests != 0;

    vcpu->requests |= standing;
    if (!done) {
        return vmx_handle_any_exit(vcpu->vendor, vcpu);
    }
    step_over(rip);
    return asks ? vmx_finish_quick(vcpu->vendor, vcpu) : true;
}

__attribute__((noinline)) static bool handle_port(struct vcpu *vcpu, uint64_t info, uint32_t standing)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    return finish_port(vcpu, rip, quick_byte_port(vcpu, rip, info), standing);
}

__attribute__((noinline)) static bool handle_any_wide_port(struct vcpu *vcpu, uint64_t info, uint32_t standing)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    return finish_port(vcpu, rip, quick_wide_port(vcpu, rip, info), standing);
}

/* OUT of eax to the PCI host's address register, the port in DX or not. */
#define PCI_ADDRESS_INFO ((uint64_t)PCI_HOST_ADDRESS_PORT << VMX_IO_PORT_SHIFT | 3u)
#define PORT_INFO (0xffffULL << VMX_IO_PORT_SHIFT | VMX_IO_SIZE | VMX_IO_IN | VMX_IO_STRING | VMX_IO_REP)

/* Two or four bytes. What leaves nothing to do makes no stack frame. */
__attribute__((noinline)) static bool handle_wide_port(struct vcpu *vcpu, uint64_t info)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if ((info & PORT_INFO) != PCI_ADDRESS_INFO ||
        !exit_quick_pci_address(vcpu, VMX_EXIT_IO, rip, (uint32_t)vcpu->gpr[GPR_RAX])) {
        return handle_any_wide_port(vcpu, info, 0);
    }
    step_over(rip);
    return true;
}

/* A window for an interrupt stands, which is all that waits, and the guest has interrupts off. What would be chosen for
 * the next entry is what was chosen for the last one, unless the exit itself asks for something, or the guest has
 * raised its TPR: then the window's exit finds that nothing is to be delivered. */
static inline bool window_stands(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    return vcpu->requests == VCPU_EVENT && vcpu->nmi_pending == 0 && !vcpu->cpu_delivers &&
           (vmx->primary & (PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW)) == PRIMARY_INTERRUPT_WINDOW &&
           (vmx_read_inline(VMCS_GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF | RFLAGS_IF)) == 0 &&
           (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) == 0 &&
           (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) == 0;
}

/* With requests. A kernel sends most of its bytes in the UART's interrupt handler, behind whose end the next interrupt
 * of the UART waits from the first byte on. */
__attribute__((noinline)) static bool handle_requested(struct vcpu *vcpu, uint32_t reason)
{
    uint64_t info;

    if (reason != VMX_EXIT_IO || !window_stands(vcpu->vendor, vcpu)) {
        return vmx_handle_any_exit(vcpu->vendor, vcpu);
    }
    info = vmx_read_inline(VMCS_EXIT_QUALIFICATION);
    vcpu->requests = 0;
    return is_byte_port(info) ? handle_port(vcpu, info, VCPU_EVENT) : handle_any_wide_port(vcpu, info, VCPU_EVENT);
}

__attribute__((noinline)) static bool handle_pat_write(struct vcpu *vcpu)
{
    return finish(vcpu, quick_pat_write(vcpu));
}

__attribute__((noinline)) static bool handle_msr_write(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    if (!quick_msr_write(vcpu, rip)) {
        return vmx_handle_any_exit(vcpu->vendor, vcpu);
    }
    step_over(rip);
    return vcpu->requests == VCPU_TIMER ? follow_deadline(vcpu) : finish(vcpu, true);
}

__attribute__((noinline)) static bool handle_deadline(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if (!exit_quick_deadline(vcpu, VMX_EXIT_WRMSR, rip, (uint32_t)vcpu->gpr[GPR_RAX])) {
        return handle_msr_write(vcpu);
    }
    step_over(rip);
    cpu_timer_follow_apic(cpu_this(), vcpu);
    return true;
}

__attribute__((noinline)) static bool handle_eoi(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if (!exit_quick_eoi(vcpu, VMX_EXIT_WRMSR, rip, (uint32_t)vcpu->gpr[GPR_RAX])) {
        return handle_msr_write(vcpu);
    }
    step_over(rip);
    return vcpu->requests == VCPU_TIMER ? follow_deadline(vcpu) : finish(vcpu, true);
}

__attribute__((noinline)) static bool handle_any_read(struct vcpu *vcpu)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;

    if (vmx->timer_passes != 0) {
        vcpu->exit_tsc = insn_rdtsc();
        vmx_timer_read(vmx, vcpu);
    }
    return finish(vcpu, quick_msr_read(vcpu));
}

/* RDMSR of what is not offered, again, which makes no stack frame; then others of the table. */
__attribute__((noinline)) static bool handle_other_read(struct vcpu *vcpu)
{
    vcpu->exit_tsc = insn_rdtsc();
    if ((vmx_read_inline(VMCS_GUEST_CR0) & CR0_PE) != 0 &&
        exit_quick_unknown_read(vcpu, VMX_EXIT_RDMSR, vmx_read_inline(VMCS_GUEST_RIP))) {
        inject_fault(EXCEPTION_GP, true);
        return true;
    }
    return handle_any_read(vcpu);
}

__attribute__((noinline)) static bool handle_known_read(struct vcpu *vcpu)
{
    return may_read_known(vcpu) ? quick_known_read(vcpu) : vmx_handle_any_exit(vcpu->vendor, vcpu);
}

__attribute__((noinline)) static bool handle_fault(struct vcpu *vcpu)
{
    return finish(vcpu, quick_fault(vcpu));
}

__attribute__((noinline)) static bool handle_any_hypercall(struct vcpu *vcpu)
{
    return finish(vcpu, quick_hypercall(vcpu));
}

/* One that nothing answers, again: it leaves nothing to do. */
__attribute__((noinline)) static bool handle_hypercall(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);

    vcpu->exit_tsc = insn_rdtsc();
    if (!may_call(vcpu) || !exit_quick_unknown_hypercall(vcpu, VMX_EXIT_VMCALL, rip, &vcpu->gpr[GPR_RAX])) {
        return handle_any_hypercall(vcpu);
    }
    step_over(rip);
    return true;
}

__attribute__((noinline)) static bool handle_wbinvd(struct vcpu *vcpu)
{
    return finish(vcpu, quick_wbinvd(vcpu));
}

__attribute__((noinline)) static bool handle_xsetbv(struct vcpu *vcpu)
{
    return finish(vcpu, quick_xsetbv(vcpu));
}

__attribute__((noinline)) static bool handle_undefined(struct vcpu *vcpu)
{
    return finish(vcpu, quick_undefined(vcpu));
}

__attribute__((noinline)) static bool handle_apic_access(struct vcpu *vcpu)
{
    return finish(vcpu, quick_apic_access(vcpu));
}

__attribute__((noinline)) static bool handle_apic_write(struct vcpu *vcpu)
{
    return finish(vcpu, quick_apic_write(vcpu));
}

/* The CPU is given away: what comes next is the vCPU's next turn. */
__attribute__((noinline)) static bool handle_halt(struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;

    vcpu->exit_tsc = insn_rdtsc();
    if (exit_time_is_over(vcpu) || (vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) != 0) {
        return vmx_handle_any_exit(vmx, vcpu);
    }
    vmx_take_exit(vmx, vcpu);
    exit_quick_halt(vcpu, VMX_EXIT_HLT, vcpu->rip + vmx_read_inline(VMCS_EXIT_INSTRUCTION_LENGTH));
    return false;
}

/* An interrupt of the host. What is there for the loop is left to it; the guest's own timer is not. */
__attribute__((noinline)) static bool handle_interrupt(struct vcpu *vcpu)
{
    uint64_t rip = vmx_read_inline(VMCS_GUEST_RIP);
    struct vmx_vcpu *vmx = vcpu->vendor;

    insn_interrupt_window();
    vcpu->exit_tsc = insn_rdtsc();
    if ((vmx_read_inline(VMCS_VECTORING_EVENT) & VMX_EVENT_VALID) != 0 ||
        !(vmx->timer_passes != 0 ? vmx_timer_tick(cpu_this(), vmx, vcpu, vcpu->exit_tsc)
                                 : cpu_timer_tick(cpu_this(), vcpu, vcpu->exit_tsc))) {
        return vmx_handle_any_exit(vmx, vcpu);
    }
    exit_note(vcpu, EXIT_HOST_INTERRUPT, VMX_EXIT_EXTERNAL_INTERRUPT, rip, vcpu->gpr[GPR_RCX]);
    return finish(vcpu, true);
}

static inline bool handle_read(struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];

    return msr_is_at_hand(msr)  ? handle_known_read(vcpu)
           : msr_is_x2apic(msr) ? handle_any_read(vcpu)
                                : handle_other_read(vcpu);
}

static inline bool handle_write(struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];

    return msr == MSR_PAT            ? handle_pat_write(vcpu)
           : msr == MSR_TSC_DEADLINE ? handle_deadline(vcpu)
           : msr == MSR_X2APIC_EOI   ? handle_eoi(vcpu)
                                     : handle_msr_write(vcpu);
}

/* What comes less often. */
__attribute__((noinline)) static bool handle_rare(struct vcpu *vcpu, uint32_t reason)
{
    switch (reason) {
    case VMX_EXIT_EXTERNAL_INTERRUPT:
        return handle_interrupt(vcpu);
    case VMX_EXIT_APIC_ACCESS:
        return handle_apic_access(vcpu);
    case VMX_EXIT_APIC_WRITE:
        return handle_apic_write(vcpu);
    case VMX_EXIT_WBINVD:
        return handle_wbinvd(vcpu);
    case VMX_EXIT_HLT:
        return handle_halt(vcpu);
    case VMX_EXIT_XSETBV:
        return handle_xsetbv(vcpu);
    case VMX_EXIT_EXCEPTION_NMI:
        return handle_undefined(vcpu);
    default:
        return vmx_handle_any_exit(vcpu->vendor, vcpu);
    }
}

/* The kinds that are left, the frequent ones first. */
__attribute__((noinline)) static bool handle_other(struct vcpu *vcpu, uint32_t reason)
{
    if (!may_be_quick(vcpu)) {
        return handle_requested(vcpu, reason);
    }
    if (reason == VMX_EXIT_IO) {
        uint64_t info = vmx_read_inline(VMCS_EXIT_QUALIFICATION);

        return is_byte_port(info) ? handle_port(vcpu, info, 0) : handle_wide_port(vcpu, info);
    }
    if (reason == VMX_EXIT_WRMSR) {
        return handle_write(vcpu);
    }
    if (reason == VMX_EXIT_EPT_VIOLATION) {
        return handle_fault(vcpu);
    }
    if (reason == VMX_EXIT_RDMSR) {
        return handle_read(vcpu);
    }
    if (reason == VMX_EXIT_VMCALL) {
        return handle_hypercall(vcpu);
    }
    return handle_rare(vcpu, reason);
}

/* The short CPUID does not look at the time, so now and then one goes the long way: the preemption timer stands still
 * at exits (timer.c), and a turn has to end for a guest that does nothing else. */
#define QUICK_IN_A_ROW EXIT_RING_ENTRIES

/* CPUID comes first and makes no stack frame; nothing of it can leave something to do. */
bool vmx_handle_exit(struct vcpu *vcpu)
{
    uint32_t reason = (uint32_t)vmx_read_inline(VMCS_EXIT_REASON);

    if (reason == VMX_EXIT_CPUID && may_be_quick(vcpu) && vcpu->ring_next % QUICK_IN_A_ROW != 0) {
        return quick_cpuid(vcpu);
    }
    return handle_other(vcpu, reason);
}
