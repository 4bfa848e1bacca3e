/*
 * The run loop: apply requests, choose the event, enter, decode, dispatch. It is left when a request needs
 * hv/run/cpu_loop.c: a host interrupt, a halt, a new deadline, console bytes, the end of the guest.
 *
 * Host interrupts are off from the first line to the last, so nothing can come between looking for work and the entry:
 * an interrupt or a kick that arrives meanwhile ends the guest's turn before its first instruction.
 */
#include "hv/vmx/vmx.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/event.h"
#include "hv/exit/dispatch.h"
#include "hv/host/cpu.h"
#include "hv/host/panic.h"
#include "hv/vmx/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define CPUID_LEAF_XSAVE 0xdu
#define INVVPID_SINGLE 1u
#define INVEPT_ALL 2u
#define VPID_CAP_SINGLE (1ULL << 41)

/* DR6 after INIT, and the single-step bit. SDM 3B 17.2.3. */
#define DR6_RESET 0xffff0ff0ULL
#define DR6_BS (1ULL << 14)
#define DR6_BT (1ULL << 15)
#define DR6_BD (1ULL << 13)
#define DR6_BREAKPOINTS 0xfULL
#define DR6_BITS_OF_QUALIFICATION 0x600fULL
#define DR7_GD (1ULL << 13)

/* vmx_read() and vmx_write() without a call, for what is read and written at every exit. */
_Noreturn __attribute__((noinline)) static void field_failed(enum vmcs_field field)
{
    hv_panic(PANIC_VENDOR, "field 0x%x of the VMCS cannot be accessed", (uint32_t)field);
}

static inline uint64_t read_field(enum vmcs_field field)
{
    uint64_t value;

    if (!vmx_insn_vmread((uint64_t)field, &value)) {
        field_failed(field);
    }
    return value;
}

static inline void write_field(enum vmcs_field field, uint64_t value)
{
    if (!vmx_insn_vmwrite((uint64_t)field, value)) {
        field_failed(field);
    }
}

/* What is neither in struct vcpu nor loaded with it, after INIT or power-up. SDM 3A 9.1.1. */
static void reset_untouched(struct vmx_vcpu *vmx)
{
    vmx_write(VMCS_GUEST_SYSENTER_CS, 0);
    vmx_write(VMCS_GUEST_SYSENTER_ESP, 0);
    vmx_write(VMCS_GUEST_SYSENTER_EIP, 0);
    vmx_write(VMCS_GUEST_DEBUGCTL, 0);
    vmx_write(VMCS_GUEST_PENDING_DEBUG, 0);
    vmx_write(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmx_write(VMCS_GUEST_ACTIVITY, 0);
    vmx_write(VMCS_ENTRY_EVENT, 0);
    vmx_write_primary(vmx, vmx->primary & ~(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW));
    vmx->had_nmi = 0;
    insn_wrmsr(MSR_STAR, 0);
    insn_wrmsr(MSR_LSTAR, 0);
    insn_wrmsr(MSR_CSTAR, 0);
    insn_wrmsr(MSR_SFMASK, 0);
    insn_wrmsr(MSR_KERNEL_GS_BASE, 0);
    insn_write_dr6(DR6_RESET);
}

/* The nested tree never changes, so only translations of the guest's own tables can be old. */
static void flush_guest(const struct vcpu *vcpu)
{
    const struct vmx_insn_descriptor vpid = {vcpu->guest->asid + vcpu->index, 0};
    const struct vmx_insn_descriptor none = {0, 0};

    if (!vmx_features.vpid) {
        return; /* each entry and exit flushes everything */
    }
    if ((vmx_features.caps.ept_vpid & VPID_CAP_SINGLE) != 0) {
        (void)vmx_insn_invvpid(INVVPID_SINGLE, &vpid);
    } else {
        (void)vmx_insn_invept(INVEPT_ALL, &none);
    }
}

static inline void end_shadow(void)
{
    uint64_t state = read_field(VMCS_GUEST_INTERRUPTIBILITY);

    if ((state & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) != 0) {
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, state & ~(uint64_t)(INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS));
        vmx_write(VMCS_GUEST_PENDING_DEBUG, 0); /* what the shadow held back is raised by vcpu_advance() */
    }
}

/* The first group of enum vcpu_request, except VCPU_EVENT, which stays until nothing waits. */
static void apply_requests(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint32_t requests = vcpu->requests;

    if ((requests & VCPU_RESET) != 0) {
        reset_untouched(vmx);
    }
    if ((requests & VCPU_SYSTEM_WRITE) != 0) {
        vmx_write_system(vmx, vcpu);
    }
    if ((requests & VCPU_FLUSH) != 0) {
        flush_guest(vcpu);
    }
    if ((requests & VCPU_ADVANCED) != 0) {
        end_shadow();
    }
    if ((requests & VCPU_TSC) != 0) {
        vmx_write(VMCS_TSC_OFFSET, vcpu->tsc_offset);
    }
    if ((requests & VCPU_CR2_WRITE) != 0) {
        insn_write_cr2(vcpu->system.cr2);
    }
    if ((requests & (VCPU_STEP_TRAP | VCPU_TASK_TRAP)) != 0) {
        insn_write_dr6((insn_read_dr6() & ~DR6_BREAKPOINTS) | ((requests & VCPU_STEP_TRAP) != 0 ? DR6_BS : DR6_BT));
    }
    if ((requests & (VCPU_MSR_BITMAP | VCPU_RESET)) != 0) {
        vmx_apic_set_mode(vmx, vcpu);
    }
    if ((requests & VCPU_XCR0) != 0) {
        insn_xsetbv(0, vcpu->xcr0);
    }
    vcpu->requests &= VCPU_LEAVE_MASK | VCPU_EVENT;
}

static void set_windows(struct vmx_vcpu *vmx, bool interrupt, bool nmi)
{
    uint32_t primary = vmx->primary & ~(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW);

    primary |= interrupt ? PRIMARY_INTERRUPT_WINDOW : 0;
    primary |= nmi ? PRIMARY_NMI_WINDOW : 0;
    vmx_write_primary(vmx, primary);
}

/*
 * An interrupt that only the TPR holds off: an exit comes when the guest lowers CR8 below its class. The threshold may
 * never be above the TPR at an entry, so it is set whenever events are looked at. SDM 3C 29.1.2, 26.2.1.1.
 */
static void set_tpr_threshold(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    int requested = lapic_highest_requested(&vcpu->lapic);
    uint64_t tpr = lapic_cr8(&vcpu->lapic);
    uint32_t class = requested >= 0 ? (uint32_t)requested >> 4 : 0;
    uint32_t threshold = class <= tpr ? class : 0;

    if (vmx_features.tpr_shadow && threshold != vmx->tpr_threshold) {
        vmx->tpr_threshold = threshold;
        vmx_write(VMCS_TPR_THRESHOLD, threshold);
    }
}

/*
 * The CPU keeps the blocking by NMI with each VMCS. Bochs 2.7 does not end it at the entry of another vCPU, so the bit
 * is believed only from an injected NMI to its end: vmx_vcpu_put() asks, too, before another one can spoil it. SDM 3C
 * 24.4.2, table 24-3 "Format of Interruptibility State".
 */
bool vmx_nmi_is_blocked(struct vmx_vcpu *vmx)
{
    if ((read_field(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_NMI) == 0) {
        vmx->had_nmi = 0;
    }
    return vmx->had_nmi != 0;
}

/* Real mode pushes no error codes, and an entry with one is refused. SDM 3C 26.2.1.3; 3A 20.1.4. */
static void inject(struct vmx_vcpu *vmx, const struct vcpu_event *event)
{
    struct vcpu_event injected = *event;

    injected.has_error = event->has_error && (vmx_read(VMCS_GUEST_CR0) & CR0_PE) != 0;
    vmx_write(VMCS_ENTRY_EVENT, vmx_encode_event(&injected));
    if (injected.has_error) {
        vmx_write(VMCS_ENTRY_ERROR_CODE, event->error);
    }
    if (event->kind == EVENT_NMI) {
        /* An NMI whose delivery was interrupted left the blocking set: it is delivered again. SDM 3C 26.3.1.5. */
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)INTERRUPTIBILITY_NMI);
        vmx->had_nmi = 1;
    }
}

static void choose_event(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t state = vmx_read(VMCS_GUEST_INTERRUPTIBILITY);
    bool shadow = (state & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) != 0;
    bool open = (vcpu->rflags & RFLAGS_IF) != 0 && !shadow;
    bool nmi_open = !vmx_nmi_is_blocked(vmx) && !shadow;
    struct vcpu_event event;
    bool nmi;
    bool interrupt;

    if (vcpu_select_event(vcpu, open, nmi_open, &event) == EVENT_INJECT) {
        if (shadow) {
            end_shadow(); /* a delivery ends it */
        }
        inject(vmx, &event);
    }
    interrupt = vcpu_wants_window(vcpu, &nmi);
    set_windows(vmx, interrupt, nmi);
    if (vcpu->cpu_delivers) {
        vmx_apic_publish(vmx, vcpu);
    } else {
        set_tpr_threshold(vmx, vcpu);
    }
}

static inline void write_if_changed(enum vmcs_field field, uint64_t *known, uint64_t value)
{
    if (*known != value) {
        *known = value;
        write_field(field, value);
    }
}

/* Everything but an emulated instruction without consequences. */
__attribute__((noinline)) static void serve_requests(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    apply_requests(vmx, vcpu);
    if ((vcpu->requests & VCPU_EVENT) != 0) {
        choose_event(vmx, vcpu);
    }
}

static inline void before_entry(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if (vcpu->requests == VCPU_ADVANCED) {
        vcpu->requests = 0;
        end_shadow();
    } else if (vcpu->requests != 0) {
        serve_requests(vmx, vcpu);
    }
    write_if_changed(VMCS_GUEST_RIP, &vmx->rip, vcpu->rip);
    write_if_changed(VMCS_GUEST_RFLAGS, &vmx->rflags, vcpu->rflags);
    write_if_changed(VMCS_GUEST_RSP, &vmx->rsp, vcpu->gpr[GPR_RSP]);
}

static inline void read_words(struct vmx_exit_words *words)
{
    words->reason = (uint32_t)read_field(VMCS_EXIT_REASON);
    words->vectoring = (uint32_t)read_field(VMCS_VECTORING_EVENT);
    words->vectoring_error =
        (words->vectoring & VMX_EVENT_VALID) != 0 ? (uint32_t)read_field(VMCS_VECTORING_ERROR_CODE) : 0;
    words->length = vmx_exit_needs_length(words->reason) ? (uint32_t)read_field(VMCS_EXIT_INSTRUCTION_LENGTH) : 0;
    words->qualification = vmx_exit_needs_qualification(words->reason) ? read_field(VMCS_EXIT_QUALIFICATION) : 0;
    if (words->reason == VMX_EXIT_EPT_VIOLATION || words->reason == VMX_EXIT_EPT_MISCONFIGURATION) {
        words->guest_physical = read_field(VMCS_GUEST_PHYSICAL);
    }
    if (words->reason == VMX_EXIT_EXCEPTION_NMI) {
        words->event = (uint32_t)read_field(VMCS_EXIT_EVENT);
        words->error_code = (uint32_t)read_field(VMCS_EXIT_ERROR_CODE);
    }
}

/* A #DB exit leaves DR6 and DR7 as they were: the delivery would have changed them. SDM 3C 27.1; 3B 17.2.3, 17.2.4. */
static void finish_debug_exception(struct vcpu *vcpu, const struct vmx_exit_words *words, uint32_t type)
{
    uint64_t bits = words->qualification & DR6_BITS_OF_QUALIFICATION;

    if (type == EVENT_PRIVILEGED_SOFTWARE_EXCEPTION) { /* INT1: a trap, but the exit comes before it is stepped over */
        vcpu->rip += vmx_read(VMCS_EXIT_INSTRUCTION_LENGTH);
        return;
    }
    insn_write_dr6((insn_read_dr6() & ~DR6_BREAKPOINTS) | bits);
    if ((bits & DR6_BD) != 0) {
        vmx_write(VMCS_GUEST_DR7, vmx_read(VMCS_GUEST_DR7) & ~DR7_GD);
    }
}

/* NMIs were taken from the CPU with the exit. SDM 3C 27.1. */
static void finish_exception(struct vcpu *vcpu, const struct vmx_exit_words *words)
{
    uint32_t type = (words->event >> VMX_EVENT_TYPE_SHIFT) & VMX_EVENT_TYPE;

    if (type == EVENT_NMI) {
        vmx_insn_nmi();
    } else if ((words->event & VMX_EVENT_VECTOR) == EXCEPTION_DB) {
        finish_debug_exception(vcpu, words, type);
    }
    if ((words->event & VMX_EVENT_NMI_UNBLOCKED) != 0 && (words->event & VMX_EVENT_VECTOR) != EXCEPTION_DF) {
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
    }
}

static inline void after_exit(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    vmx->launched = 1;
    vcpu->exit_tsc = insn_rdtsc();
    vmx->rip = vcpu->rip = read_field(VMCS_GUEST_RIP);
    vmx->rflags = vcpu->rflags = read_field(VMCS_GUEST_RFLAGS);
    vmx->rsp = vcpu->gpr[GPR_RSP] = read_field(VMCS_GUEST_RSP);
    vcpu->pending.valid = false;
}

/* An exit came during a delivery. */
__attribute__((noinline)) static void take_back_event(struct vcpu *vcpu, const struct vmx_exit_words *words)
{
    vcpu->pending = vmx_decode_event(words->vectoring, words->vectoring_error);
    vcpu->requests |= vcpu->pending.valid ? VCPU_EVENT : 0;
}

/* Finds out which check failed, and says so before the guest's report. */
static void explain_refusal(const struct vcpu *vcpu, const char *by_the_cpu)
{
    char sentence[VMX_ENTRY_SENTENCE_MAX];
    struct vmx_entry_state state = {.vtpr = (uint32_t)lapic_cr8(&vcpu->lapic) << 4};

    for (uint32_t i = 0; i < vmx_entry_field_count; i++) {
        if (!vmx_insn_vmread((uint64_t)vmx_entry_fields[i], &state.values[i])) {
            state.values[i] = 0;
        }
    }
    if (!vmx_entry_find_violation(&state, &vmx_features.caps, sentence)) {
        format_text(sentence, sizeof(sentence), "%s",
                    "every check of the manual that Plinth knows holds; report this with the CPU's model");
    }
    log_error("guest %s vCPU %u, VM entry refused: %s: %s", vcpu->guest->name, vcpu->index, by_the_cpu, sentence);
}

static void handle_exit(struct vcpu *vcpu, const struct vmx_exit_words *words)
{
    struct vm_exit exit;

    vmx_decode_exit(words, &exit);
    if (exit_wants_system(vcpu, &exit)) {
        if (vmx_exit_is_machine_check(words)) {
            hv_panic_machine_check(vcpu);
        }
        vmx_read_system(vcpu);
    }
    if (exit.kind == EXIT_INVALID) {
        explain_refusal(vcpu, vmx_entry_failure_text(words->reason, words->qualification));
    }
    if (exit.kind == EXIT_EOI) {
        vcpu->lapic.eoi_vector = (uint8_t)words->qualification;
    }
    if (exit.kind == EXIT_CPUID) {
        vcpu->system.cr4 = vmx_read(VMCS_GUEST_CR4);
        if ((uint32_t)vcpu->gpr[GPR_RAX] == CPUID_LEAF_XSAVE && vcpu->guest->cpuid.xsave) {
            vcpu->xcr0 = insn_xgetbv(0);
        }
    }
    exit_dispatch(vcpu, &exit);
}

/* VMLAUNCH or VMRESUME itself failed: the control fields are wrong. SDM 3C 30.4 "VM Instruction Error Numbers". */
static void handle_vmfail(struct vcpu *vcpu)
{
    struct vm_exit exit = {.kind = EXIT_INVALID};

    exit.raw = (uint32_t)vmx_read(VMCS_INSTRUCTION_ERROR);
    exit.words.info[0] = 0;
    exit.words.info[1] = 0;
    explain_refusal(vcpu, vmx_instruction_error_text(exit.raw));
    vmx_read_system(vcpu);
    exit_dispatch(vcpu, &exit);
}

/* Nothing waits, and the instruction has no consequences but its own. */
static inline bool may_be_quick(const struct vcpu *vcpu)
{
    return vcpu->requests == 0 && (read_field(VMCS_GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF)) == 0 &&
           (read_field(VMCS_GUEST_INTERRUPTIBILITY) & (INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS)) == 0;
}

static inline void step_over(uint64_t rip)
{
    write_field(VMCS_GUEST_RIP, rip + read_field(VMCS_EXIT_INSTRUCTION_LENGTH));
}

static inline bool quick_cpuid(struct vcpu *vcpu)
{
    uint64_t rip = read_field(VMCS_GUEST_RIP);

    vcpu->system.cr4 = read_field(VMCS_GUEST_CR4);
    step_over(rip);
    return exit_quick_cpuid(vcpu, VMX_EXIT_CPUID, rip, &vcpu->gpr[GPR_RAX]);
}

static inline bool quick_msr_write(struct vcpu *vcpu, uint64_t rip)
{
    vcpu->exit_tsc = insn_rdtsc();
    return exit_quick_msr_write(vcpu, VMX_EXIT_WRMSR, rip);
}

static inline bool quick_port(struct vcpu *vcpu, uint64_t rip)
{
    uint64_t info = read_field(VMCS_EXIT_QUALIFICATION);

    if ((info & (VMX_IO_STRING | VMX_IO_REP | VMX_IO_SIZE)) != VMX_IO_SIZE_8) {
        return false;
    }
    vcpu->exit_tsc = insn_rdtsc();
    return exit_quick_port(vcpu, VMX_EXIT_IO, rip, (uint16_t)(info >> VMX_IO_PORT_SHIFT), (info & VMX_IO_IN) != 0);
}

/* The exits that hv/exit/dispatch.h has a short way for. False: nothing has been done. */
static bool quick_exit(struct vcpu *vcpu, uint32_t reason)
{
    uint64_t rip;

    if ((reason != VMX_EXIT_IO && reason != VMX_EXIT_WRMSR) || !may_be_quick(vcpu)) {
        return false;
    }
    rip = read_field(VMCS_GUEST_RIP);
    if (reason == VMX_EXIT_IO ? !quick_port(vcpu, rip) : !quick_msr_write(vcpu, rip)) {
        return false;
    }
    step_over(rip);
    return true;
}

static bool enter_again(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return false;
    }
    before_entry(vmx, vcpu);
    return true;
}

__attribute__((noinline)) static bool long_way(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct vmx_exit_words words = {0};

    read_words(&words);
    after_exit(vmx, vcpu);
    if ((words.vectoring & VMX_EVENT_VALID) != 0) {
        take_back_event(vcpu, &words);
    }
    if (words.reason == VMX_EXIT_EXCEPTION_NMI) {
        finish_exception(vcpu, &words);
    }
    handle_exit(vcpu, &words);
    return enter_again(vmx, vcpu);
}

/* An exit that was quick may have left something to do: then the vCPU is brought up to date first. */
__attribute__((noinline)) static bool handle_other(struct vcpu *vcpu, uint32_t reason)
{
    if (!quick_exit(vcpu, reason)) {
        return long_way(vcpu->vendor, vcpu);
    }
    if (vcpu->requests == 0) {
        return true;
    }
    after_exit(vcpu->vendor, vcpu);
    return enter_again(vcpu->vendor, vcpu);
}

/* CPUID comes first and makes no stack frame; nothing of it can leave something to do. */
bool vmx_handle_exit(struct vcpu *vcpu)
{
    uint32_t reason = (uint32_t)read_field(VMCS_EXIT_REASON);

    if (reason == VMX_EXIT_CPUID && (uint32_t)vcpu->gpr[GPR_RAX] != CPUID_LEAF_XSAVE && may_be_quick(vcpu)) {
        return quick_cpuid(vcpu);
    }
    return handle_other(vcpu, reason);
}

void vmx_run(struct cpu *cpu, struct vcpu *vcpu)
{
    struct vmx_vcpu *vmx = vcpu->vendor;

    (void)cpu;
    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return;
    }
    before_entry(vmx, vcpu);
    if (vmx_enter(vcpu, vmx->launched) != 0) {
        handle_vmfail(vcpu);
    }
}
