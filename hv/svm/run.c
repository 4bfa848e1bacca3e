/*
 * The run loop: apply requests, choose the event, enter, decode, dispatch. It is left when a request needs
 * hv/run/cpu_loop.c: a host interrupt, a halt, a new deadline, console bytes, the end of the guest.
 *
 * GIF is clear from the first line to the last, so nothing can come between looking for work and VMRUN: an interrupt or
 * a kick that arrives meanwhile ends the guest's turn before its first instruction.
 */
#include "hv/svm/svm.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/core/event.h"
#include "hv/emulate/emulate.h"
#include "hv/exit/dispatch.h"
#include "hv/host/cpu.h"
#include "hv/host/panic.h"
#include "hv/mm/guest_walk.h"
#include "hv/svm/decode.h"
#include "hv/svm/insn.h"
#include "hv/x86/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define TRIPLE_FAULT_EXCEPTIONS \
    (1u << EXCEPTION_TS | 1u << EXCEPTION_NP | 1u << EXCEPTION_SS | 1u << EXCEPTION_GP | 1u << EXCEPTION_PF)
#define CPUID_LEAF_XSAVE 0xdu
#define TPR_SHIFT 4u
#define NO_LENGTH_MAX 16u
#define NO_SHADOW UINT64_MAX /* no address of an instruction that another one follows */

/* DR6 after INIT, and the single-step bit. SDM 3B 17.2.3; APM 2 13.1.1.3. */
#define DR6_RESET 0xffff0ff0ULL
#define DR6_BS (1ULL << 14)
#define DR6_BT (1ULL << 15)
#define DR6_BD (1ULL << 13)
#define DR6_BREAKPOINTS 0xfULL
#define DR7_GD (1ULL << 13)

/* The SYSCALL and SYSENTER MSRs and debug registers after INIT or power-up. APM 2 14.1.3 "Processor Initialization
 * State". */
static void reset_untouched(struct vmcb *vmcb)
{
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
    vmcb->intercepts[INTERCEPT_MISC1] &= ~(1u << MISC1_VINTR | 1u << MISC1_IRET);
    vmcb->intercepts[INTERCEPT_CR] &= ~INTERCEPT_CR_CR8_WRITE;
    vmcb->int_control = INT_CONTROL_V_MASKING;
}

static void flush_guest(struct svm_vcpu *svm)
{
    svm->vmcb.tlb_control = svm_features.flush_by_asid ? TLB_FLUSH_ASID : TLB_FLUSH_EVERYTHING;
}

/* The first group of enum vcpu_request, except VCPU_EVENT, which stays until nothing waits. */
static void apply_requests(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    uint32_t requests = vcpu->requests;
    struct vmcb *vmcb = &svm->vmcb;

    if ((requests & VCPU_RESET) != 0) {
        reset_untouched(vmcb);
        svm->nmi_masked = false;
        svm->step_tf = 0;
        svm->shadow_lost = false;
        svm->virtual_interrupt = false;
    }
    if ((requests & VCPU_SYSTEM_WRITE) != 0) {
        svm_write_system(svm, vcpu);
    }
    if ((requests & VCPU_FLUSH) != 0) {
        flush_guest(svm);
    }
    if ((requests & VCPU_ADVANCED) != 0) {
        vmcb->int_state &= ~INT_STATE_SHADOW;
    }
    if ((requests & VCPU_TSC) != 0) {
        vmcb->tsc_offset = vcpu->tsc_offset;
        svm->clean &= ~CLEAN_INTERCEPTS;
    }
    if ((requests & VCPU_CR2_WRITE) != 0) {
        vmcb->cr2 = vcpu->system.cr2;
        svm->clean &= ~CLEAN_CR2;
    }
    if ((requests & (VCPU_SYSTEM_WRITE | VCPU_CR2_WRITE)) != 0) {
        insn_write_cr2(vmcb->cr2); /* as svm_vcpu_load() does */
    }
    if ((requests & (VCPU_STEP_TRAP | VCPU_TASK_TRAP)) != 0) {
        vmcb->dr6 = (vmcb->dr6 & ~DR6_BREAKPOINTS) | ((requests & VCPU_STEP_TRAP) != 0 ? DR6_BS : DR6_BT);
        svm->clean &= ~CLEAN_DR;
    }
    if ((requests & VCPU_XCR0) != 0) {
        insn_xsetbv(0, vcpu->xcr0);
    }
    vcpu->requests &= VCPU_LEAVE_MASK | VCPU_EVENT;
}

/*
 * A window is a virtual interrupt that is intercepted at the moment the guest could take it: when RFLAGS.IF is set and
 * no shadow holds it off, whatever the TPR says. APM 2 15.21.4 "Injecting Virtual (INTR) Interrupts".
 *
 * What only the TPR holds off waits for the guest to write CR8, which leaves the guest. So does a write of CR8 while a
 * window is open: QEMU 7.2 ends itself when it sees one, and it lets a virtual interrupt of the TPR's own class in.
 */
static void set_window(struct svm_vcpu *svm, bool on, bool watch_cr8)
{
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->int_control &= ~(INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR);
    vmcb->intercepts[INTERCEPT_MISC1] &= ~(1u << MISC1_VINTR);
    vmcb->intercepts[INTERCEPT_CR] &= ~INTERCEPT_CR_CR8_WRITE;
    if (on) {
        vmcb->int_control |= INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR;
        vmcb->intercepts[INTERCEPT_MISC1] |= 1u << MISC1_VINTR;
    }
    if (on || watch_cr8) {
        vmcb->intercepts[INTERCEPT_CR] |= INTERCEPT_CR_CR8_WRITE;
    }
    svm->clean &= ~(CLEAN_INTERCEPTS | CLEAN_INT_CONTROL);
}

/* SVM has no window for the end of an NMI: its IRET is intercepted instead. APM 2 15.21.5. */
static void watch_nmi_end(struct svm_vcpu *svm, bool on)
{
    uint32_t bit = 1u << MISC1_IRET;

    svm->vmcb.intercepts[INTERCEPT_MISC1] =
        on ? svm->vmcb.intercepts[INTERCEPT_MISC1] | bit : svm->vmcb.intercepts[INTERCEPT_MISC1] & ~bit;
    svm->clean &= ~CLEAN_INTERCEPTS;
}

/* Does something wait that the TPR alone holds off? */
static bool waits_for_tpr(struct vcpu *vcpu)
{
    int requested = lapic_highest_requested(&vcpu->lapic);

    return requested >= 0 && ((uint64_t)requested >> TPR_SHIFT) <= lapic_cr8(&vcpu->lapic);
}

/*
 * While a double fault is delivered, whatever makes a triple fault of it leaves the guest: Bochs 2.7 has no shutdown
 * intercept and would end itself, with all guests. APM 2 8.2.9 "#DF", table 8-3.
 */
static void watch_double_fault(struct svm_vcpu *svm, bool on)
{
    uint32_t *exceptions = &svm->vmcb.intercepts[INTERCEPT_EXCEPTION];

    *exceptions = on ? *exceptions | TRIPLE_FAULT_EXCEPTIONS : *exceptions & ~TRIPLE_FAULT_EXCEPTIONS;
    svm->clean &= ~CLEAN_INTERCEPTS;
}

/* Real mode pushes no error codes. APM 2 8.1; 15.20 "Event Injection". */
static void inject(struct svm_vcpu *svm, const struct vcpu_event *event)
{
    struct vcpu_event injected = *event;

    injected.has_error = event->has_error && (svm->vmcb.cr0 & CR0_PE) != 0;
    svm->vmcb.event_injection = svm_encode_event(&injected);
    svm->vmcb.int_state &= ~INT_STATE_SHADOW; /* a delivery ends it */
    if (event->kind == EVENT_NMI) {
        svm->nmi_masked = true;
        watch_nmi_end(svm, true);
    } else if (event->kind == EVENT_EXCEPTION && event->vector == EXCEPTION_DF) {
        watch_double_fault(svm, true);
    }
}

/*
 * The other way, for an interrupt that nothing else waits behind: as a virtual interrupt that is not intercepted, which
 * the CPU takes before the first instruction. For QEMU, which delivers what comes through EVENTINJ twice now and then;
 * in Bochs 2.7 interrupts got lost this way. APM 2 15.21.4.
 */
static void inject_virtual(struct svm_vcpu *svm, uint8_t vector)
{
    struct vmcb *vmcb = &svm->vmcb;

    vmcb->int_control = (vmcb->int_control & ~INT_CONTROL_V_VECTOR) | INT_CONTROL_V_IRQ | INT_CONTROL_V_IGNORE_TPR |
                        (uint64_t)vector << INT_CONTROL_V_VECTOR_SHIFT;
    svm->virtual_interrupt = true;
}

static void inject_selected(struct svm_vcpu *svm, struct vcpu *vcpu, const struct vcpu_event *event)
{
    bool nmi;
    bool interrupt = vcpu_wants_window(vcpu, &nmi);

    if (svm_features.injects_twice && event->kind == EVENT_INTERRUPT && !interrupt && !nmi) {
        set_window(svm, false, waits_for_tpr(vcpu));
        inject_virtual(svm, event->vector);
        return;
    }
    inject(svm, event);
    set_window(svm, interrupt || (nmi && !svm->nmi_masked), waits_for_tpr(vcpu));
}

/*
 * One step of the guest, by RFLAGS.TF, after which an event can be injected. Nothing else is injected meanwhile.
 *
 * At the end of an NMI: the guest's next IRET unmasks NMIs after it has run; injected one instruction earlier, the next
 * NMI would find the stack of the last one still in use. SVM reports the IRET before it runs, so the guest is stepped
 * over it; what it pops replaces TF. APM 2 15.21.5; SDM 3A 6.7.1 "Handling Multiple NMIs".
 *
 * In an interrupt shadow: NMIs wait for the instruction after STI or MOV SS, too; and interrupts, where the CPU lost
 * the shadow that it was entered with. QEMU 7.2 does. An interrupt between STI and HLT would be a wake-up that is lost.
 *
 * Not repaired: where the IRET itself faults, NMIs are unmasked all the same, but the fault's frame shows TF; a PUSHF
 * in the shadow stores TF, and a POPF or IRET there that sets TF begins to single-step an instruction late.
 */
static void begin_step(struct svm_vcpu *svm, struct vcpu *vcpu, bool unmasks_nmi)
{
    if (unmasks_nmi) {
        watch_nmi_end(svm, false);
    }
    set_window(svm, false, false);
    svm->step_tf = RFLAGS_TF;
    svm->step_unmasks = unmasks_nmi;
    svm->step_rip = vcpu->rip;
    svm->step_dr6 = svm->vmcb.dr6;
    svm->step_guest_tf = (vcpu->rflags & RFLAGS_TF) != 0;
    vcpu->requests |= VCPU_EVENT;
}

/* The stepped instruction has run. */
static void step_is_done(struct svm_vcpu *svm)
{
    svm->step_tf = 0;
    if (svm->step_unmasks) {
        svm->nmi_masked = false;
    }
}

/* An instruction that was emulated during the step ended it without a trap. */
static bool stepping(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    if (svm->step_tf != 0 && vcpu->rip != svm->step_rip) {
        step_is_done(svm);
    }
    return svm->step_tf != 0;
}

static void choose_event(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    bool shadow = (svm->vmcb.int_state & INT_STATE_SHADOW) != 0;
    bool open = (vcpu->rflags & RFLAGS_IF) != 0 && !shadow;
    struct vcpu_event event;

    if (shadow && vcpu->nmi_pending != 0 && !svm->nmi_masked && !vcpu->pending.valid) {
        begin_step(svm, vcpu, false);
        return;
    }
    switch (vcpu_select_event(vcpu, open, !svm->nmi_masked && !shadow, &event)) {
    case EVENT_NOTHING:
        set_window(svm, false, waits_for_tpr(vcpu));
        break;
    case EVENT_INJECT:
        inject_selected(svm, vcpu, &event);
        break;
    case EVENT_WANT_WINDOW:
        if (svm->shadow_lost && (vcpu->rflags & RFLAGS_IF) != 0) {
            begin_step(svm, vcpu, false);
        } else {
            set_window(svm, true, true);
        }
        break;
    }
}

static bool find_violation(const struct svm_vcpu *svm, const struct vcpu *vcpu, char sentence[SVM_ENTRY_SENTENCE_MAX])
{
    struct svm_entry_caps caps = svm_features.caps;

    caps.cr4_allowed = vcpu->guest->cr4_allowed;
    return svm_entry_find_violation(&svm->vmcb, &caps, sentence);
}

/* Everything but an emulated instruction without consequences. */
__attribute__((noinline)) static void serve_requests(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    bool reset = (vcpu->requests & VCPU_RESET) != 0;
    uint64_t tpr;

    apply_requests(svm, vcpu);
    if ((vcpu->requests & VCPU_EVENT) != 0 && !stepping(svm, vcpu)) {
        choose_event(svm, vcpu);
    }
    tpr = lapic_cr8(&vcpu->lapic); /* whoever writes it requests VCPU_EVENT or VCPU_RESET */
    if ((vmcb->int_control & INT_CONTROL_V_TPR) != tpr) {
        vmcb->int_control = (vmcb->int_control & ~INT_CONTROL_V_TPR) | tpr;
        svm->clean &= ~CLEAN_INT_CONTROL;
    }
    if (reset) {
        find_violation(svm, vcpu, svm->first_entry_wrong);
    }
}

static inline void before_entry(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    if (vcpu->requests == VCPU_ADVANCED) {
        vcpu->requests = 0;
        vmcb->int_state &= ~INT_STATE_SHADOW;
    } else if (vcpu->requests != 0) {
        serve_requests(svm, vcpu);
    }
    vmcb->rax = vcpu->gpr[GPR_RAX];
    vmcb->rsp = vcpu->gpr[GPR_RSP];
    vmcb->rip = vcpu->rip;
    vmcb->rflags = vcpu->rflags | svm->step_tf;
    svm->shadow_rip = (vmcb->int_state & INT_STATE_SHADOW) != 0 ? vcpu->rip : NO_SHADOW;
    vmcb->clean = svm_features.vmcb_clean ? svm->clean : 0;
}

/* An exit came during a delivery, or before it: after an entry and before the first instruction. */
__attribute__((noinline)) static void take_back_event(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->pending = svm_decode_event(vmcb->exit_int_info);
    if ((vmcb->event_injection & EVENT_VALID) != 0) {
        vcpu->pending = svm_decode_event(vmcb->event_injection);
        vmcb->event_injection = 0;
    }
    vcpu->requests |= vcpu->pending.valid ? VCPU_EVENT : 0;
}

/* The guest left before it took a virtual interrupt, or in the middle of that: then the other words tell of it. */
__attribute__((noinline)) static void take_back_virtual(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    svm->virtual_interrupt = false;
    if ((vmcb->int_control & INT_CONTROL_V_IRQ) == 0) {
        return;
    }
    vmcb->int_control &= ~INT_CONTROL_V_IRQ;
    svm->clean &= ~CLEAN_INT_CONTROL;
    if (!vcpu->pending.valid) {
        vcpu->pending = (struct vcpu_event){.valid = true,
                                            .vector = (uint8_t)(vmcb->int_control >> INT_CONTROL_V_VECTOR_SHIFT),
                                            .kind = EVENT_INTERRUPT};
        vcpu->requests |= VCPU_EVENT;
    }
}

/*
 * An exit before the first instruction, and the guest was entered in a shadow: it is there still, even where the CPU
 * says otherwise. (A loop that came back to the same instruction is only stepped once too often.)
 */
static inline void keep_shadow(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    svm->shadow_lost = vcpu->rip == svm->shadow_rip && (svm->vmcb.int_state & INT_STATE_SHADOW) == 0;
    if (svm->shadow_lost) {
        svm->vmcb.int_state |= INT_STATE_SHADOW;
    }
}

static inline void after_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;

    vcpu->exit_tsc = insn_rdtsc();
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->gpr[GPR_RSP] = vmcb->rsp;
    vcpu->rip = vmcb->rip;
    vcpu->rflags = vmcb->rflags;
    vcpu->pending.valid = false;
    keep_shadow(svm, vcpu);
    svm->clean = CLEAN_ALL;
    vmcb->tlb_control = TLB_FLUSH_NOTHING;
    if ((vmcb->int_control & INT_CONTROL_V_TPR) != lapic_cr8(&vcpu->lapic)) {
        lapic_cr8_write(&vcpu->lapic, vmcb->int_control & 0xf);
        vcpu->requests |= VCPU_EVENT;
    }
    if (((vmcb->exit_int_info | vmcb->event_injection) & EVENT_VALID) != 0) {
        take_back_event(svm, vcpu);
    }
    if (svm->virtual_interrupt) {
        take_back_virtual(svm, vcpu);
    }
    if ((vmcb->intercepts[INTERCEPT_EXCEPTION] & TRIPLE_FAULT_EXCEPTIONS) != 0) {
        watch_double_fault(svm, false);
    }
}

/*
 * The usual forms of the instructions that exit, looked at where they lie: in 64-bit mode with 4-level paging. 0: ask
 * the decoder. The L bit of CS is attribute 9. APM 2 4.8.1 "Code-Segment Descriptors", 15.5.1.
 */
static uint8_t plain_length(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    const uint8_t *code;

    if ((vmcb->efer & EFER_LMA) == 0 || (vmcb->cs.attributes & VMCB_CS_LONG) == 0 || (vmcb->cr4 & CR4_LA57) != 0) {
        return 0;
    }
    if ((vmcb->rip & (PAGE_BYTES - 1)) > PAGE_BYTES - SVM_PLAIN_BYTES) {
        return 0;
    }
    code = guest_walk_code(&vcpu->guest->memory, vmcb->cr3, vmcb->rip);
    return code == NULL ? 0 : svm_plain_length(vmcb->exit_code, code);
}

/* Without next rip save the instruction is fetched again, through the guest's own tables, and measured. */
static uint8_t instruction_length(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    uint8_t length;

    if (vmcb->next_rip != 0) { /* stays 0 where the CPU does not save it */
        return (uint8_t)(vmcb->next_rip - vmcb->rip);
    }
    if (vmcb->exit_code == SVM_EXIT_IOIO) {
        return (uint8_t)(vmcb->exit_info2 - vmcb->rip);
    }
    length = plain_length(vmcb, vcpu);
    if (length != 0) {
        return length;
    }
    svm_read_system(svm, vcpu);
    return emulate_length(vcpu);
}

/*
 * The bytes at rip are not those of the instruction that exited: the guest rewrote them or its tables meanwhile, and an
 * exception may have been raised by the fetch. The guest goes on from there; when that exits again without progress, it
 * is stopped.
 */
static void note_no_length(struct vcpu *vcpu)
{
    struct svm_vcpu *svm = vcpu->vendor;

    if (vcpu->pending.valid) {
        return;
    }
    svm->no_length_count = svm->no_length_rip == vcpu->rip ? svm->no_length_count + 1 : 0;
    svm->no_length_rip = vcpu->rip;
    if (svm->no_length_count > NO_LENGTH_MAX) {
        guest_fail(vcpu, GUEST_CODE_UNDECODABLE,
                   "the instruction at rip 0x%" PRIx64 " that left the guest (exit 0x%x) cannot be decoded", vcpu->rip,
                   (uint32_t)svm->vmcb.exit_code);
    }
}

/* True where the exit was the step's own trap and there is nothing else in it. */
static bool end_step(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    bool trap = vmcb->exit_code == SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_DB;

    /* Without a trap: it has not run yet, or it was a PAUSE, after which QEMU looks for interrupts before it traps. */
    if (!trap && vcpu->rip - svm->step_rip <= INSTRUCTION_BYTES_MAX) {
        vcpu->rflags = svm->step_guest_tf ? vcpu->rflags : vcpu->rflags & ~RFLAGS_TF;
        if (vcpu->rip == svm->step_rip && vmcb->exit_code != SVM_EXIT_TASK_SWITCH) {
            return false;
        }
    }
    step_is_done(svm);
    vcpu->requests |= VCPU_EVENT;
    if (!trap || svm->step_guest_tf) {
        return false;
    }
    if (!svm->step_unmasks) {
        vcpu->rflags &= ~RFLAGS_TF; /* else the IRET has loaded them */
    }
    vmcb->dr6 = (vmcb->dr6 & ~DR6_BS) | (svm->step_dr6 & DR6_BS);
    svm->clean &= ~CLEAN_DR;
    return (vmcb->dr6 & DR6_BREAKPOINTS & ~svm->step_dr6) == 0;
}

/* Which enabled breakpoints are of the wanted kind: instructions at `rip`, or data anywhere. SDM 3B 17.2.4. */
static uint64_t enabled_breakpoints(uint64_t dr7, bool instruction, uint64_t rip)
{
    const uint64_t addresses[] = {insn_read_dr0(), insn_read_dr1(), insn_read_dr2(), insn_read_dr3()};
    uint64_t found = 0;

    for (uint32_t i = 0; i < ARRAY_COUNT(addresses); i++) {
        bool enabled = (dr7 >> (2 * i) & 3) != 0;
        bool is_instruction = (dr7 >> (16 + 4 * i) & 3) == 0;

        if (enabled && is_instruction == instruction && (!instruction || addresses[i] == rip)) {
            found |= 1ULL << i;
        }
    }
    return found;
}

/*
 * A #DB leaves its cause in the VMCB's DR6 (APM 2 15.12.2). Bochs' CPU does not write it, so on CPUs without decode
 * assists, which no real one has lacked for long, the cause is worked out: general detect, an instruction breakpoint,
 * a step, and where nothing else remains every data breakpoint that is on.
 */
static void complete_debug_exception(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t matches = enabled_breakpoints(vmcb->dr7, true, vcpu->rip);

    if (svm_features.decode_assists) {
        return;
    }
    if ((vmcb->dr7 & DR7_GD) != 0) {
        vmcb->dr6 |= DR6_BD;
        vmcb->dr7 &= ~DR7_GD;
    } else if (matches != 0) {
        vmcb->dr6 = (vmcb->dr6 & ~DR6_BREAKPOINTS) | matches;
    } else if ((vcpu->rflags & RFLAGS_TF) != 0) {
        vmcb->dr6 |= DR6_BS;
    } else if ((vmcb->dr6 & DR6_BREAKPOINTS) == 0) {
        vmcb->dr6 |= enabled_breakpoints(vmcb->dr7, false, 0);
    }
    svm->clean &= ~CLEAN_DR;
}

/*
 * Finds out which check failed, and says so before the guest's report. A CPU leaves a VMCB that it refused as it was;
 * QEMU and Bochs put state of the host there and clear the event, so what was seen before the first entry counts, too.
 */
static void explain_refusal(const struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    char sentence[SVM_ENTRY_SENTENCE_MAX];
    const char *why = sentence;

    if (!find_violation(svm, vcpu, sentence)) {
        why = svm->first_entry_wrong[0] != '\0'
                  ? svm->first_entry_wrong
                  : "every check of the manual that Plinth knows holds; report this with the CPU's model";
    }
    log_error("guest %s vCPU %u, VM entry refused: %s", vcpu->guest->name, vcpu->index, why);
}

/* The register is in the instruction, or in EXITINFO1 with decode assists: the instruction always serves. */
static void handle_cr_access(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vm_exit exit = {.kind = EXIT_CR_ACCESS, .raw = (uint32_t)svm->vmcb.exit_code};

    svm_read_system(svm, vcpu);
    if (!emulate_decode_cr(vcpu, &exit.cr, &exit.length)) {
        note_no_length(vcpu);
        return;
    }
    exit_dispatch(vcpu, &exit);
}

static void handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;
    struct vm_exit exit;

    if (svm->step_tf != 0 && end_step(svm, vcpu)) {
        return;
    }
    if (vmcb->exit_code == SVM_EXIT_IRET) {
        begin_step(svm, vcpu, true);
        return;
    }
    if (svm_exit_is_cr_access(vmcb->exit_code)) {
        handle_cr_access(svm, vcpu);
        return;
    }
    svm_decode_exit(vmcb, &exit);
    if (exit_wants_system(vcpu, &exit)) {
        if (svm_exit_is_machine_check(vmcb->exit_code)) {
            hv_panic_machine_check(vcpu);
        }
        if (exit.kind == EXIT_EXCEPTION && exit.exception.vector == EXCEPTION_DB) {
            complete_debug_exception(svm, vcpu);
        }
        svm_read_system(svm, vcpu);
    }
    if (exit.kind == EXIT_INVALID) {
        explain_refusal(svm, vcpu);
    }
    if (svm_exit_needs_length(vmcb->exit_code)) {
        exit.length = instruction_length(svm, vcpu);
        if (exit.length == 0) {
            note_no_length(vcpu);
            return;
        }
    }
    if (exit.kind == EXIT_CPUID) {
        vcpu->system.cr4 = vmcb->cr4;
        if ((uint32_t)vcpu->gpr[GPR_RAX] == CPUID_LEAF_XSAVE && vcpu->guest->cpuid.xsave) {
            vcpu->xcr0 = insn_xgetbv(0);
        }
    }
    exit_dispatch(vcpu, &exit);
}

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

static inline bool quick_cpuid(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t next)
{
    uint64_t rip = svm->vmcb.rip;

    vcpu->system.cr4 = svm->vmcb.cr4;
    step_over(&svm->vmcb, next);
    return exit_quick_cpuid(vcpu, SVM_EXIT_CPUID, rip, &svm->vmcb.rax);
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

static inline bool quick_port(struct vmcb *vmcb, struct vcpu *vcpu)
{
    uint64_t info = vmcb->exit_info1;
    bool done;

    if ((info & (SVM_IOIO_STRING | SVM_IOIO_REP | SVM_IOIO_SIZE)) != SVM_IOIO_SIZE_8) {
        return false;
    }
    vcpu->gpr[GPR_RAX] = vmcb->rax;
    vcpu->exit_tsc = insn_rdtsc();
    done = exit_quick_port(vcpu, SVM_EXIT_IOIO, vmcb->rip, (uint16_t)(info >> SVM_IOIO_PORT_SHIFT),
                           (info & SVM_IOIO_IN) != 0);
    vmcb->rax = vcpu->gpr[GPR_RAX];
    return done;
}

/* Where the instruction that exited ends; 0: the long way finds it. */
static uint64_t quick_next_rip(const struct vmcb *vmcb, const struct vcpu *vcpu)
{
    uint8_t length;

    if (vmcb->next_rip != 0) {
        return vmcb->next_rip;
    }
    length = plain_length(vmcb, vcpu);
    return length == 0 ? 0 : vmcb->rip + length;
}

/* The exits that hv/exit/dispatch.h has a short way for. False: nothing has been done. */
static bool quick_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t next;

    if (vmcb->exit_code == SVM_EXIT_IOIO) {
        next = vmcb->exit_info2;
        if (!quick_port(vmcb, vcpu)) {
            return false;
        }
    } else if (vmcb->exit_code == SVM_EXIT_MSR && vmcb->exit_info1 == SVM_MSR_WRITE) {
        next = quick_next_rip(vmcb, vcpu);
        if (next == 0 || !quick_msr_write(vmcb, vcpu)) {
            return false;
        }
    } else if (vmcb->exit_code == SVM_EXIT_CPUID && (uint32_t)vmcb->rax != CPUID_LEAF_XSAVE) {
        next = quick_next_rip(vmcb, vcpu);
        return next != 0 && quick_cpuid(svm, vcpu, next);
    } else {
        return false;
    }
    step_over(vmcb, next);
    return true;
}

static bool enter_again(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return false;
    }
    before_entry(svm, vcpu);
    return true;
}

__attribute__((noinline)) static bool long_way(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    after_exit(svm, vcpu);
    handle_exit(svm, vcpu);
    return enter_again(svm, vcpu);
}

/* An exit that was quick may have left something to do: then the vCPU is brought up to date first. */
__attribute__((noinline)) static bool handle_other(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if (!may_be_quick(&svm->vmcb, vcpu) || !quick_exit(svm, vcpu)) {
        return long_way(svm, vcpu);
    }
    if (vcpu->requests == 0) {
        return true;
    }
    after_exit(svm, vcpu);
    return enter_again(svm, vcpu);
}

/* CPUID with a known length comes first and makes no stack frame; nothing of it can leave something to do. */
bool svm_handle_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    const struct vmcb *vmcb = &svm->vmcb;

    if (vmcb->exit_code == SVM_EXIT_CPUID && vmcb->next_rip != 0 && may_be_quick(vmcb, vcpu) &&
        (uint32_t)vmcb->rax != CPUID_LEAF_XSAVE) {
        return quick_cpuid(svm, vcpu, vmcb->next_rip);
    }
    return handle_other(svm, vcpu);
}

void svm_run(struct cpu *cpu, struct vcpu *vcpu)
{
    struct svm_vcpu *svm = vcpu->vendor;
    struct svm_cpu *host = cpu->vendor;

    if ((vcpu->requests & VCPU_LEAVE_MASK) != 0) {
        return;
    }
    svm_insn_clgi();
    insn_sti(); /* while GIF is clear it lets nothing in; VMRUN wants it */
    before_entry(svm, vcpu);
    svm_enter(svm, vcpu, (uint64_t)(uintptr_t)&host->host);
    insn_cli();
    svm_insn_stgi();
}
