/* SPDX-License-Identifier: MIT */
/*
 * What devices and local APICs left for vCPUs: messages are routed, lines and power requests told, other CPUs kicked.
 */
#include "hv/core/guest_irq.h"

#include "hv/core/platform_lock.h"

/* Returns what waited already. Of NMIs two are told apart, which is as many as matter: vcpu_note_nmi(). */
static uint32_t kick_set(struct vcpu *target, enum vcpu_kick kick)
{
    uint32_t before = vcpu_kick_set(target, (uint32_t)kick);

    if (kick == VCPU_KICK_NMI && (before & VCPU_KICK_NMI) != 0) {
        before = vcpu_kick_set(target, VCPU_KICK_NMI_AGAIN);
    }
    return before;
}

void guest_notify(struct vcpu *from, struct vcpu *target, enum vcpu_kick kick)
{
    if (target == from && (kick == VCPU_KICK_INTERRUPT || kick == VCPU_KICK_EXTINT)) {
        target->requests |= VCPU_EVENT;
        return;
    }
    if (target == from && (kick == VCPU_KICK_NMI || kick == VCPU_KICK_EXTINT_MESSAGE)) {
        if (kick == VCPU_KICK_NMI) {
            vcpu_note_nmi(target);
        } else {
            target->extint_message = true;
        }
        target->requests |= VCPU_EVENT;
        return;
    }
    if ((kick_set(target, kick) & (uint32_t)kick) != 0) {
        return; /* its CPU has been told and has not looked yet: a flood is one interrupt of that CPU, not many */
    }
    cpu_set_post(&from->guest->kick_cpus, target->host_cpu);
    from->requests |= VCPU_MESSAGES;
}

/* The I/O APIC's edges are those of timers, too, and a tick that is merged with the one before may be owed. */
static void note_merged(struct vcpu *target, const struct apic_message *message)
{
    if (message->pin != 0 && !message->level && lapic_requests(&target->lapic, message->vector)) {
        platform_edge_merged(&target->guest->platform, message->pin);
    }
}

static void deliver(struct vcpu *from, struct vcpu *target, const struct apic_message *message)
{
    switch ((enum apic_delivery)message->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        note_merged(target, message);
        lapic_post(&target->lapic, message->vector, message->level);
        guest_notify(from, target, VCPU_KICK_INTERRUPT);
        break;
    case APIC_NMI:
        guest_notify(from, target, VCPU_KICK_NMI);
        break;
    case APIC_INIT:
        if (!message->deassert) {
            guest_notify(from, target, VCPU_KICK_INIT);
        }
        break;
    case APIC_STARTUP:
        target->sipi_vector = message->vector;
        guest_notify(from, target, VCPU_KICK_SIPI);
        break;
    case APIC_EXTINT:
        guest_notify(from, target, VCPU_KICK_EXTINT_MESSAGE);
        break;
    case APIC_SMI:
        break; /* guests have no system management mode */
    }
}

static bool message_reaches(const struct vcpu *from, const struct vcpu *target, const struct apic_message *message,
                            bool is_ipi)
{
    switch (is_ipi ? (enum apic_shorthand)message->shorthand : APIC_TO_DESTINATION) {
    case APIC_TO_SELF:
        return target == from;
    case APIC_TO_ALL:
        return true;
    case APIC_TO_OTHERS:
        return target != from;
    case APIC_TO_DESTINATION:
        return lapic_matches(&target->lapic, message);
    }
    return false;
}

/* Lowest priority goes to the first CPU that matches: which one is free to the implementation. SDM 3A 11.6.2.4. */
static void route(struct vcpu *from, const struct apic_message *message, bool is_ipi)
{
    struct guest *guest = from->guest;

    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        struct vcpu *target = &guest->vcpus[i];

        if (!message_reaches(from, target, message, is_ipi)) {
            continue;
        }
        deliver(from, target, message);
        if (message->delivery == APIC_LOWEST) {
            return;
        }
    }
}

void guest_send_message(struct vcpu *from, const struct apic_message *message)
{
    route(from, message, false);
}

void guest_route_ipis(struct vcpu *vcpu)
{
    for (uint32_t i = 0; i < vcpu->lapic.outbox_count; i++) {
        route(vcpu, &vcpu->lapic.outbox[i], true);
    }
    vcpu->lapic.outbox_count = 0;
}

uint32_t guest_send_ipis(struct vcpu *vcpu, const struct apic_message *message, uint32_t first, uint64_t low,
                         uint64_t high)
{
    struct guest *guest = vcpu->guest;
    struct apic_message to_one = *message;
    uint32_t sent = 0;

    to_one.x2apic = true;
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        uint64_t bit = (uint64_t)guest->vcpus[i].lapic.id - first; /* far too large below it */

        to_one.destination = guest->vcpus[i].lapic.id;
        if (bit < 128 && ((bit < 64 ? low >> bit : high >> (bit - 64)) & 1) != 0 &&
            lapic_matches(&guest->vcpus[i].lapic, &to_one)) {
            deliver(vcpu, &guest->vcpus[i], &to_one);
            sent++;
        }
    }
    return sent;
}

#define VECTOR_NO_BOOT_DEVICE 0x18u

/* Exceptions by the master's vectors, too: in real mode they are the same. */
static void fail_no_bios(struct vcpu *vcpu, uint32_t vector)
{
    if (vector == VECTOR_NO_BOOT_DEVICE) {
        guest_fail(vcpu, GUEST_CODE_NO_BIOS, "has found nothing to boot (INT 18h): there is no BIOS that it could ask");
    } else {
        guest_fail(vcpu, GUEST_CODE_NO_BIOS, "took exception %u in real mode without a handler of its own", vector);
    }
}

static void apply_power_request(struct vcpu *vcpu)
{
    const struct platform *platform = &vcpu->guest->platform;

    switch (platform->power) {
    case POWER_ON:
        break;
    case POWER_OFF_REQUESTED:
        guest_stop(vcpu, true, "powered off (%s)", platform->power_reason);
        break;
    case POWER_RESET_REQUESTED:
        guest_reset(vcpu, platform->power_reason);
        break;
    case POWER_DEBUG_EXIT:
        if (platform->debug_ports.exit_value == platform->config.debug_exit_ok) {
            guest_stop(vcpu, true, "ended itself through the debug-exit port with %u",
                       platform->debug_ports.exit_value);
        } else {
            guest_fail(vcpu, GUEST_CODE_DEBUG_EXIT,
                       "ended itself through the debug-exit port with 0x%x, which means failure",
                       platform->debug_ports.exit_value);
        }
        break;
    case POWER_PANICKED:
        guest_fail(vcpu, GUEST_CODE_PANICKED, "its kernel panicked (%s)", platform->power_reason);
        break;
    case POWER_WATCHDOG:
        guest_fail(vcpu, GUEST_CODE_WATCHDOG_DEVICE, "it did not feed its watchdog for %u s (%s)",
                   platform->wdat.seconds, platform->power_reason);
        break;
    case POWER_WATCHDOG_PCI:
        guest_fail(vcpu, GUEST_CODE_WATCHDOG_DEVICE, "it did not feed its watchdog for %" PRIu64 " ms (%s)",
                   i6300esb_ms(platform->pci_watchdog), platform->power_reason);
        break;
    case POWER_NO_BIOS:
        fail_no_bios(vcpu, platform->bios_port.vector);
        break;
    }
}

void guest_collect(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;
    struct platform *platform = &guest->platform;
    struct apic_message message;

    while (platform->outbox_count != 0 && platform_take_message(platform, &message)) {
        route(vcpu, &message, false);
    }
    if (platform->extint) {
        guest_notify(vcpu, &guest->vcpus[0], VCPU_KICK_EXTINT);
    }
    if (platform->power != POWER_ON) {
        apply_power_request(vcpu);
    }
    if (!platform_console_is_silent(platform) && platform_console_wants(platform, now)) {
        vcpu->requests |= VCPU_CONSOLE;
    }
}

/* A device's deadline belongs to vCPU 0's CPU; when another vCPU changed it, that CPU must look again. */
void guest_deadline_changed(struct vcpu *vcpu)
{
    uint64_t deadline = platform_deadline(&vcpu->guest->platform);

    if (deadline != vcpu->guest->platform_deadline) {
        __atomic_store_n(&vcpu->guest->platform_deadline, deadline, __ATOMIC_RELEASE);
        vcpu->requests |= VCPU_TIMER;
        if (vcpu->index != 0) {
            guest_notify(vcpu, &vcpu->guest->vcpus[0], VCPU_KICK_INTERRUPT);
        }
    }
}

bool guest_hold_shared(struct vcpu *vcpu, uint64_t until)
{
    vcpu->holds_platform = turn_lock_take(&vcpu->guest->platform.lock, vcpu->index, until);
    if (!vcpu->holds_platform) {
        vcpu->requests |= VCPU_YIELD;
    }
    return vcpu->holds_platform;
}

/* The platform is held. */
static void bring_eois(struct vcpu *vcpu, uint64_t now)
{
    uint8_t vector;

    while (lapic_take_eoi(&vcpu->lapic, &vector)) {
        platform_eoi(&vcpu->guest->platform, vector, now);
    }
    guest_collect(vcpu, now);
    guest_deadline_changed(vcpu);
}

/* Where the platform is held it is for the instruction that wrote EOI, which lets it go. */
void guest_apic_eoi(struct vcpu *vcpu)
{
    bool held = vcpu->holds_platform;

    if (guest_hold(vcpu)) {
        bring_eois(vcpu, vcpu->exit_tsc);
    }
    if (!held) {
        guest_release(vcpu);
    }
}

void guest_apic_bring_eois(struct vcpu *vcpu, uint64_t now)
{
    if (vcpu->lapic.eoi_pending && guest_hold_in_pass(vcpu)) {
        bring_eois(vcpu, now);
        guest_release(vcpu);
    }
}

void guest_source_arrived(struct guest *guest, uint32_t source)
{
    __atomic_fetch_or(&guest->sources[source / 64], 1ULL << source % 64, __ATOMIC_RELAXED);
    (void)vcpu_kick_set(&guest->vcpus[0], VCPU_KICK_SOURCES);
}

void guest_take_sources(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;
    uint64_t came;

    if (!guest_hold_in_pass(vcpu)) {
        guest_notify(vcpu, &guest->vcpus[0], VCPU_KICK_SOURCES); /* again, then */
        return;
    }
    came = __atomic_exchange_n(&guest->sources[0], 0, __ATOMIC_ACQ_REL);
    for (uint64_t left = came & ((1ULL << GUEST_SOURCE_IRQS) - 1); left != 0; left &= left - 1) {
        platform_direct_edge(&guest->platform, (uint32_t)__builtin_ctzll(left));
    }
    for (uint64_t left = came >> GUEST_SOURCE_IRQS; left != 0; left &= left - 1) {
        platform_outside_came(&guest->platform, GUEST_SOURCE_IRQS + (uint32_t)__builtin_ctzll(left));
    }
    guest_collect(vcpu, now);
    guest_deadline_changed(vcpu);
    guest_release(vcpu);
}

bool guest_acknowledge_extint(struct vcpu *vcpu, uint8_t *vector)
{
    if (!guest_hold(vcpu)) {
        return false;
    }
    *vector = platform_acknowledge_extint(&vcpu->guest->platform);
    guest_release(vcpu);
    return true;
}
