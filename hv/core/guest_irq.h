/* SPDX-License-Identifier: MIT */
/*
 * What devices and local APICs leave for vCPUs: interrupt messages and their routing, the 8259's line, kicks of other
 * CPUs, a power request, a new deadline.
 *
 * A device never calls: after each call into the platform guest_collect() looks at what it left.
 */
#ifndef HV_CORE_GUEST_IRQ_H
#define HV_CORE_GUEST_IRQ_H

#include "hv/core/guest.h"

/* Tells another vCPU, or this one, that something waits for it. `from` is the vCPU whose CPU this is. */
void guest_notify(struct vcpu *from, struct vcpu *target, enum vcpu_kick kick);

/* Sends a device's message to the vCPUs that it names. */
void guest_send_message(struct vcpu *from, const struct apic_message *message);

/* What the platform left for others, at host TSC `now`. Called with the platform's lock held. */
void guest_collect(struct vcpu *vcpu, uint64_t now);

/* Makes a new deadline of the platform known to the CPU of vCPU 0. Called with the platform's lock held. */
void guest_deadline_changed(struct vcpu *vcpu);

/* Routes the IPIs that a vCPU's local APIC left in its outbox. */
void guest_route_ipis(struct vcpu *vcpu);

/* Sends a message to each vCPU whose APIC id is `first` and the number of a bit that is set in `low`, or 64 more and
 * one in `high`. Returns how many there were. */
uint32_t guest_send_ipis(struct vcpu *vcpu, const struct apic_message *message, uint32_t first, uint64_t low,
                         uint64_t high);

/* A local APIC ended level-triggered interrupts: tells the I/O APIC, now, or where the platform cannot be had in time,
 * by guest_apic_bring_eois() from guest_run_timers(): guest_deadline() is in the past until then. */
void guest_apic_eoi(struct vcpu *vcpu);
void guest_apic_bring_eois(struct vcpu *vcpu, uint64_t now);

/*
 * An interrupt of a device that this guest has came to the host: noted for the CPU of vCPU 0, where
 * guest_take_sources() gives it to the guest. For interrupt handlers, too: nothing but atomic bits is changed. `source`
 * is below GUEST_SOURCES.
 */
void guest_source_arrived(struct guest *guest, uint32_t source);

/* On the CPU of vCPU 0, at host TSC `now`: what has arrived goes to the guest, an IRQ as an edge of its PC's line (its
 * 8259 and I/O APIC decide the rest), those of word 0 beyond the IRQs as lines of devices on its PCI bus. Where the
 * platform cannot be had before vcpu->pass_end it is all noted again. */
void guest_take_sources(struct vcpu *vcpu, uint64_t now);

/* The 8259's interrupt acknowledge cycle. False: not now (platform_lock.h); the line is still high, and the caller asks
 * again after the next exit. */
bool guest_acknowledge_extint(struct vcpu *vcpu, uint8_t *vector);

#endif
