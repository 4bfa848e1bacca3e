/* SPDX-License-Identifier: MIT */
/*
 * Events: exceptions that handlers raise, and the choice of what is injected at the next entry.
 *
 * At most one event is pending per vCPU: either one whose delivery an exit interrupted (the vendor put it there before
 * the dispatch) or one that a handler raised. A raised exception that meets a pending one follows the rules for
 * exceptions during delivery: some pairs are handled one after the other, some make a double fault, and a fault during
 * the delivery of a double fault is the triple fault. SDM 3A 6.15, table 6-5 "Conditions for Generating a Double
 * Fault".
 */
#include "hv/core/event.h"
#include "hv/core/guest_irq.h"

enum exception_class {
    CLASS_BENIGN,
    CLASS_CONTRIBUTORY,
    CLASS_PAGE_FAULT,
    CLASS_DOUBLE_FAULT,
};

static enum exception_class exception_class_of(uint8_t vector)
{
    switch (vector) {
    case EXCEPTION_DE:
    case EXCEPTION_TS:
    case EXCEPTION_NP:
    case EXCEPTION_SS:
    case EXCEPTION_GP:
        return CLASS_CONTRIBUTORY;
    case EXCEPTION_PF:
        return CLASS_PAGE_FAULT;
    case EXCEPTION_DF:
        return CLASS_DOUBLE_FAULT;
    default:
        return CLASS_BENIGN;
    }
}

/* Table 6-5: the first is in delivery, the second is raised by it. */
static bool pair_makes_double_fault(enum exception_class first, enum exception_class second)
{
    return (first == CLASS_CONTRIBUTORY && second == CLASS_CONTRIBUTORY) ||
           (first == CLASS_PAGE_FAULT && (second == CLASS_CONTRIBUTORY || second == CLASS_PAGE_FAULT));
}

/* Faults push RFLAGS with RF set, so that a debugger's breakpoint does not hit twice. SDM 3B 18.3.1.1. */
static bool exception_is_fault(uint8_t vector)
{
    return vector != EXCEPTION_DB && vector != EXCEPTION_BP && vector != EXCEPTION_OF && vector != EXCEPTION_NMI;
}

static void raise(struct vcpu *vcpu, uint8_t vector, bool has_error, uint32_t error)
{
    const struct vcpu_event *in_delivery = &vcpu->pending;

    if (in_delivery->valid && in_delivery->kind == EVENT_EXCEPTION) {
        enum exception_class first = exception_class_of(in_delivery->vector);
        enum exception_class second = exception_class_of(vector);

        if (first == CLASS_DOUBLE_FAULT && second != CLASS_BENIGN) {
            guest_fail(vcpu, GUEST_CODE_TRIPLE_FAULT,
                       "triple fault: exception %u during the delivery of a double fault", vector);
            return;
        }
        if (pair_makes_double_fault(first, second)) {
            vector = EXCEPTION_DF;
            has_error = true;
            error = 0;
        }
    }
    if (exception_is_fault(vector)) {
        vcpu->rflags |= RFLAGS_RF;
    }
    vcpu->pending = (struct vcpu_event){
        .valid = true, .vector = vector, .kind = EVENT_EXCEPTION, .has_error = has_error, .error = error};
    vcpu->requests |= VCPU_EVENT;
}

void vcpu_raise(struct vcpu *vcpu, enum exception vector)
{
    raise(vcpu, (uint8_t)vector, false, 0);
}

void vcpu_raise_error(struct vcpu *vcpu, enum exception vector, uint32_t error)
{
    raise(vcpu, (uint8_t)vector, true, error);
}

void vcpu_raise_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error)
{
    vcpu->system.cr2 = address;
    vcpu->requests |= VCPU_CR2_WRITE;
    raise(vcpu, EXCEPTION_PF, true, error);
}

void vcpu_raise_int1(struct vcpu *vcpu, uint8_t length)
{
    vcpu->pending = (struct vcpu_event){
        .valid = true, .vector = EXCEPTION_DB, .kind = EVENT_PRIVILEGED_SOFTWARE_EXCEPTION, .length = length};
    vcpu->requests |= VCPU_EVENT;
}

void vcpu_advance(struct vcpu *vcpu, uint8_t length)
{
    vcpu->rip += length;
    vcpu->requests |= VCPU_ADVANCED;
    vcpu->rflags &= ~RFLAGS_RF;
    if ((vcpu->rflags & RFLAGS_TF) != 0) {
        vcpu->requests |= VCPU_STEP_TRAP;
        raise(vcpu, EXCEPTION_DB, false, 0);
    }
}

/* The 8259 reaches vCPU 0 through LINT0 (or directly where the APIC is off), and any through the I/O APIC's pin 0. */
static bool extint_waits(const struct vcpu *vcpu)
{
    return vcpu->guest->platform.extint &&
           (vcpu->extint_message || (vcpu->index == 0 && lapic_accepts_extint(&vcpu->lapic)));
}

/* LINT0 in another mode than ExtINT: it sees edges of the 8259's line. */
static void sample_lint0(struct vcpu *vcpu)
{
    uint32_t rises = __atomic_load_n(&vcpu->guest->platform.extint_rises, __ATOMIC_ACQUIRE);

    if (vcpu->index != 0 || rises == vcpu->extint_rises) {
        return;
    }
    vcpu->extint_rises = rises;
    if (lapic_lint0_edge(&vcpu->lapic)) {
        vcpu_note_nmi(vcpu);
    }
}

/* The vector of the local APIC that is to be injected, or -1. Where the CPU delivers, there is none. */
static int injectable_vector(struct vcpu *vcpu)
{
    return vcpu->cpu_delivers ? -1 : lapic_highest_deliverable(&vcpu->lapic);
}

static enum event_choice select_interrupt(struct vcpu *vcpu, bool open, struct vcpu_event *event)
{
    bool extint = extint_waits(vcpu);
    uint8_t acknowledged = 0;
    int vector = extint ? 0 : injectable_vector(vcpu);

    if (vector < 0) {
        vcpu->requests &= ~(uint32_t)VCPU_EVENT;
        return EVENT_NOTHING;
    }
    if (!open) {
        return EVENT_WANT_WINDOW;
    }
    if (extint) {
        if (!guest_acknowledge_extint(vcpu, &acknowledged)) {
            return EVENT_WANT_WINDOW;
        }
        vcpu->extint_message = false;
        vector = acknowledged;
    } else {
        lapic_accept(&vcpu->lapic, (uint8_t)vector);
    }
    *event = (struct vcpu_event){.valid = true, .vector = (uint8_t)vector, .kind = EVENT_INTERRUPT};
    return EVENT_INJECT;
}

/* An NMI that must wait for the end of another one holds nothing else back: interrupts go on meanwhile. */
enum event_choice vcpu_select_event(struct vcpu *vcpu, bool interrupts_open, bool nmi_open, struct vcpu_event *event)
{
    if (vcpu->pending.valid) {
        *event = vcpu->pending;
        vcpu->pending.valid = false;
        return EVENT_INJECT;
    }
    sample_lint0(vcpu);
    if (!nmi_open && vcpu->nmi_pending > 1) {
        vcpu->nmi_pending = 1;
    }
    if (vcpu->nmi_pending != 0 && nmi_open) {
        vcpu->nmi_pending--;
        *event = (struct vcpu_event){.valid = true, .vector = EXCEPTION_NMI, .kind = EVENT_NMI};
        return EVENT_INJECT;
    }
    return select_interrupt(vcpu, interrupts_open, event);
}

bool vcpu_waits_behind_injection(struct vcpu *vcpu)
{
    bool interrupt = extint_waits(vcpu) || injectable_vector(vcpu) >= 0;

    if (!interrupt && vcpu->nmi_pending == 0) {
        vcpu->requests &= ~(uint32_t)VCPU_EVENT;
    }
    return interrupt;
}

bool vcpu_can_wake(struct vcpu *vcpu)
{
    bool open = (vcpu->rflags & RFLAGS_IF) != 0;

    sample_lint0(vcpu);
    return vcpu->pending.valid || vcpu->nmi_pending != 0 ||
           (open && (extint_waits(vcpu) || lapic_highest_deliverable(&vcpu->lapic) >= 0));
}

/* Can something other than an interrupt reach a vCPU that has interrupts off? */
static bool may_break_in(const struct vcpu *vcpu)
{
    return vcpu->nmi_pending != 0 || vcpu->pending.valid || ioapic_may_break_in(&vcpu->guest->platform.ioapic) ||
           lapic_lint0_is_nmi(&vcpu->lapic);
}

bool vcpu_is_down(const struct vcpu *vcpu)
{
    if (__atomic_load_n(&vcpu->kick, __ATOMIC_ACQUIRE) != 0) {
        return false;
    }
    switch (vcpu->state) {
    case VCPU_STATE_OFF:
    case VCPU_STATE_DEAD:
        return true;
    case VCPU_STATE_HALTED:
        return (vcpu->rflags & RFLAGS_IF) == 0 && !may_break_in(vcpu);
    case VCPU_STATE_RUNNABLE:
        return false;
    }
    return false;
}
