/* SPDX-License-Identifier: MIT */
/*
 * Events of a vCPU: exceptions that handlers raise, and the choice of what is injected at the next entry.
 */
#ifndef HV_CORE_EVENT_H
#define HV_CORE_EVENT_H

#include "hv/core/guest.h"

/* Moves rip past the instruction that exited (length known), ends the interrupt shadow and RF, honours TF. */
void vcpu_advance(struct vcpu *vcpu, uint8_t length);

/*
 * Raises an exception, with the double- and triple-fault rules against an event that was in delivery.
 * SDM 3A 6.15 "Exception and Interrupt Reference", table 6-5.
 */
void vcpu_raise(struct vcpu *vcpu, enum exception vector);
void vcpu_raise_error(struct vcpu *vcpu, enum exception vector, uint32_t error);
void vcpu_raise_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error);

/* INT1, which exited before it was stepped over: injected with its length, so that a fault of the delivery shows where
 * it is, and what it pushes is where it ends. */
void vcpu_raise_int1(struct vcpu *vcpu, uint8_t length);

enum event_choice {
    EVENT_NOTHING,     /* enter as it is */
    EVENT_INJECT,      /* inject *event */
    EVENT_WANT_WINDOW, /* an interrupt waits that the guest cannot take now */
};

/* After an injection, what waits has not been looked at: true where it is an interrupt. Clears VCPU_EVENT where nothing
 * does. */
bool vcpu_waits_behind_injection(struct vcpu *vcpu);

/*
 * What to inject at the next entry. interrupts_open: RFLAGS.IF is set and no STI or MOV SS shadow. nmi_open: no NMI in
 * progress and no shadow. Clears VCPU_EVENT when nothing more waits. Afterwards the caller asks which windows are
 * needed, with the choice: vcpu_wants_window() is true where an interrupt waits, and *nmi where an NMI does.
 */
enum event_choice vcpu_select_event(struct vcpu *vcpu, bool interrupts_open, bool nmi_open, struct vcpu_event *event);
static inline bool vcpu_wants_window(struct vcpu *vcpu, enum event_choice choice, bool *nmi)
{
    *nmi = vcpu->nmi_pending != 0;
    return choice == EVENT_INJECT ? vcpu_waits_behind_injection(vcpu) : choice == EVENT_WANT_WINDOW;
}

/* Can nothing but a vector of the local APIC be chosen, or an NMI? For short ways, with nothing pending. */
static inline bool vcpu_waits_for_apic_alone(const struct vcpu *vcpu)
{
    const struct platform *platform = &vcpu->guest->platform;

    return !platform->extint &&
           (vcpu->index != 0 || __atomic_load_n(&platform->extint_rises, __ATOMIC_ACQUIRE) == vcpu->extint_rises);
}

/* True where a halted vCPU has something that ends its HLT. */
bool vcpu_can_wake(struct vcpu *vcpu);

/* True where nothing inside the guest can end it: halted with interrupts off, or waiting for a start-up IPI. */
bool vcpu_is_down(const struct vcpu *vcpu);

#endif
