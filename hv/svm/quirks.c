/* SPDX-License-Identifier: MIT */
/*
 * Repairs for emulators of SVM, each behind its field of struct quirks: hv/core/quirks.h names them and
 * docs/emulators.md describes what was seen. None of this runs on a CPU: svm_vcpu.repairs is false there. Repairs of
 * one line stand where the line is (state.c, setup.c).
 */
#include "hv/svm/svm.h"

#include "hv/base/memory.h"
#include "hv/svm/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* What makes a triple fault of a double fault. APM 2 8.2.9 "#DF: Double-Fault Exception (Vector 8)", table 8-3. */
#define TRIPLE_FAULT_EXCEPTIONS \
    (1u << EXCEPTION_TS | 1u << EXCEPTION_NP | 1u << EXCEPTION_SS | 1u << EXCEPTION_GP | 1u << EXCEPTION_PF)
#define RFLAGS_NT (1ULL << 14)

static const struct quirks *quirks_of(const struct vcpu *vcpu)
{
    return &vcpu->guest->host->quirks;
}

bool svm_quirks_any(const struct vcpu *vcpu)
{
    static const struct quirks none;

    return memcmp(quirks_of(vcpu), &none, sizeof(none)) != 0;
}

/* --- before an entry --- */

/*
 * no_shutdown_exit: while a double fault is delivered, whatever makes a triple fault of it exits. #DF itself always
 * does (setup.c), so that its delivery is ours.
 */
static void watch_double_fault(struct svm_vcpu *svm, bool on)
{
    uint32_t *exceptions = &svm->vmcb.intercepts[INTERCEPT_EXCEPTION];

    *exceptions = on ? *exceptions | TRIPLE_FAULT_EXCEPTIONS : *exceptions & ~TRIPLE_FAULT_EXCEPTIONS;
    svm->quirk.armed = on ? svm->quirk.armed | SVM_ARMED_DOUBLE_FAULT : svm->quirk.armed & ~SVM_ARMED_DOUBLE_FAULT;
    svm->vmcb.clean &= ~CLEAN_INTERCEPTS;
}

/*
 * task_switch_unseen: the IRET of a nested task switches without an exit and would save the step's TF in the TSS of the
 * NMI's task. It runs without, and the next exit, whichever it is, ends the step.
 */
static void step_without_trap(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    if (svm->step.reason == SVM_STEP_IRET && (vcpu->rflags & RFLAGS_NT) != 0 && (svm->vmcb.efer & EFER_LMA) == 0) {
        svm->step.tf = 0;
    }
}

static bool injects(const struct vmcb *vmcb, uint64_t kind)
{
    return (vmcb->event_injection & EVENT_VALID) != 0 &&
           (vmcb->event_injection >> EVENT_TYPE_SHIFT & EVENT_TYPE) == kind;
}

void svm_quirks_prepare(struct svm_vcpu *svm, const struct vcpu *vcpu, uint32_t requests)
{
    const struct quirks *quirks = quirks_of(vcpu);
    struct vmcb *vmcb = &svm->vmcb;

    if (quirks->double_injection && injects(vmcb, EVENT_INTERRUPT) && (vmcb->int_control & INT_CONTROL_V_IRQ) == 0) {
        svm_quirks_inject_virtual(&svm->quirk, vmcb, vmcb->event_injection & EVENT_VECTOR);
        vmcb->event_injection = 0;
    }
    if (quirks->no_shutdown_exit && injects(vmcb, EVENT_EXCEPTION) &&
        (vmcb->event_injection & EVENT_VECTOR) == EXCEPTION_DF) {
        watch_double_fault(svm, true);
    }
    if (quirks->task_switch_unseen) {
        step_without_trap(svm, vcpu);
    }
    if (quirks->cr2_not_loaded && (requests & (VCPU_SYSTEM_WRITE | VCPU_CR2_WRITE)) != 0) {
        insn_write_cr2(vmcb->cr2); /* as svm_vcpu_load() does */
    }
    if (quirks->refusal_spoils_vmcb && (requests & VCPU_RESET) != 0) {
        svm_find_violation(svm, vcpu, svm->quirk.first_entry_wrong);
    }
}

/* --- after an exit --- */

/*
 * lost_shadow: an exit before the first instruction, and the guest was entered in a shadow: it is there still. (A loop
 * that came back to the same instruction is only stepped once too often.)
 */
static void keep_shadow(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    if (vcpu->rip == svm->quirk.shadow_rip) {
        svm->vmcb.int_state |= INT_STATE_SHADOW;
    }
}

/* The guest left before it took a virtual interrupt, or in the middle of that, for which a page may be missing: then
 * EXITINTINFO has its vector, but as an exception's, and such a one would be refused. */
static void take_back_virtual(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    const struct vcpu_event interrupt = {
        .valid = true, .vector = (uint8_t)(vmcb->int_control >> INT_CONTROL_V_VECTOR_SHIFT), .kind = EVENT_INTERRUPT};

    svm->quirk.armed &= ~SVM_ARMED_VIRTUAL_INTERRUPT;
    if ((vmcb->int_control & INT_CONTROL_V_IRQ) == 0) {
        return;
    }
    vmcb->int_control &= ~INT_CONTROL_V_IRQ;
    vmcb->clean &= ~CLEAN_INT_CONTROL;
    if (!vcpu->pending.valid || (vcpu->pending.kind == EVENT_EXCEPTION && vcpu->pending.vector == interrupt.vector)) {
        vcpu->pending = interrupt;
        vcpu->requests |= VCPU_EVENT;
    }
}

/* Which enabled breakpoints are of the wanted kind: instructions at `rip`, or data anywhere. SDM 3B 18.2.4. */
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
 * dr6_not_saved: the cause of a #DB is worked out: general detect, an instruction breakpoint, a step, and where nothing
 * else remains every data breakpoint that is on. INT1 has none; neither has the step of a POPF that cleared TF.
 * APM 2 15.12.2 "#DB (Debug)".
 */
void svm_quirks_debug_exception(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    struct vmcb *vmcb = &svm->vmcb;
    uint64_t matches = enabled_breakpoints(vmcb->dr7, true, vmcb->rip);

    if (!quirks_of(vcpu)->dr6_not_saved) {
        return;
    }
    if ((vmcb->dr7 & DR7_GD) != 0) {
        vmcb->dr6 |= DR6_BD;
        vmcb->dr7 &= ~DR7_GD;
    } else if (matches != 0) {
        vmcb->dr6 = (vmcb->dr6 & ~DR6_BREAKPOINTS) | matches;
    } else if (((vmcb->rflags | svm->step.tf) & RFLAGS_TF) != 0) { /* an IRET that was stepped has loaded RFLAGS */
        vmcb->dr6 |= DR6_BS;
    } else if ((vmcb->dr6 & DR6_BREAKPOINTS) == 0) {
        vmcb->dr6 |= enabled_breakpoints(vmcb->dr7, false, 0);
    }
    vmcb->clean &= ~CLEAN_DR;
}

void svm_quirks_repair_exit(struct svm_vcpu *svm, struct vcpu *vcpu)
{
    if (quirks_of(vcpu)->lost_shadow) {
        keep_shadow(svm, vcpu);
    }
    if ((svm->quirk.armed & SVM_ARMED_VIRTUAL_INTERRUPT) != 0) {
        take_back_virtual(svm, vcpu);
    }
    if ((svm->quirk.armed & SVM_ARMED_DOUBLE_FAULT) != 0) {
        watch_double_fault(svm, false);
    }
}

/* xsetbv_unseen: what the guest wrote to XCR0 is in the CPU, and shows in CPUID. */
void svm_quirks_cpuid(struct vcpu *vcpu)
{
    if (quirks_of(vcpu)->xsetbv_unseen && (uint32_t)vcpu->gpr[GPR_RAX] == CPUID_XSAVE && vcpu->guest->cpuid.xsave) {
        vcpu->xcr0 = insn_xgetbv(0);
    }
}

/* refusal_spoils_vmcb: what was seen before the first entry counts, too. */
void svm_quirks_refusal(const struct svm_vcpu *svm, char sentence[SVM_ENTRY_SENTENCE_MAX])
{
    if (svm->quirk.first_entry_wrong[0] != '\0') {
        memcpy(sentence, svm->quirk.first_entry_wrong, SVM_ENTRY_SENTENCE_MAX);
    }
}
