/*
 * Between the handlers and the devices: the lock, and what an access caused.
 *
 * A device never calls anybody. After each call into the platform, collect() looks at what it left: messages for local
 * APICs, a power request, bytes for the console, an earlier deadline.
 */
#include "hv/core/guest_io.h"

#include "hv/core/guest_order.h"
#include "hv/core/guest_watchdog.h"
#include "hv/x86/registers.h"

#define MMIO_PAGE(address) ((address) & ~0xfffULL)

static void platform_take(struct guest *guest)
{
    if (guest->vcpu_count > 1) {
        spinlock_take(&guest->platform.lock);
    }
}

static void platform_give(struct guest *guest)
{
    if (guest->vcpu_count > 1) {
        spinlock_release(&guest->platform.lock);
    }
}

/* Returns what waited already. Of NMIs two are told apart, which is as many as matter: vcpu_note_nmi(). */
static uint32_t kick_set(struct vcpu *target, enum vcpu_kick kick)
{
    uint32_t before = __atomic_fetch_or(&target->kick, (uint32_t)kick, __ATOMIC_ACQ_REL);

    if (kick == VCPU_KICK_NMI && (before & VCPU_KICK_NMI) != 0) {
        before = __atomic_fetch_or(&target->kick, (uint32_t)VCPU_KICK_NMI_AGAIN, __ATOMIC_ACQ_REL);
    }
    return before;
}

/* Tells another vCPU, or this one, that something waits for it. */
static void vcpu_notify(struct vcpu *from, struct vcpu *target, enum vcpu_kick kick)
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
    __atomic_fetch_or(&from->guest->kick_cpus, 1ULL << target->host_cpu, __ATOMIC_RELEASE);
    from->requests |= VCPU_MESSAGES;
}

static void deliver(struct vcpu *from, struct vcpu *target, const struct apic_message *message)
{
    switch ((enum apic_delivery)message->delivery) {
    case APIC_FIXED:
    case APIC_LOWEST:
        lapic_post(&target->lapic, message->vector, message->level);
        vcpu_notify(from, target, VCPU_KICK_INTERRUPT);
        break;
    case APIC_NMI:
        vcpu_notify(from, target, VCPU_KICK_NMI);
        break;
    case APIC_INIT:
        if (!message->deassert) {
            vcpu_notify(from, target, VCPU_KICK_INIT);
        }
        break;
    case APIC_STARTUP:
        target->sipi_vector = message->vector;
        vcpu_notify(from, target, VCPU_KICK_SIPI);
        break;
    case APIC_EXTINT:
        vcpu_notify(from, target, VCPU_KICK_EXTINT_MESSAGE);
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

void guest_route_ipis(struct vcpu *vcpu)
{
    for (uint32_t i = 0; i < vcpu->lapic.outbox_count; i++) {
        route(vcpu, &vcpu->lapic.outbox[i], true);
    }
    vcpu->lapic.outbox_count = 0;
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
        if (platform->debug_exit_value == platform->config.debug_exit_ok) {
            guest_stop(vcpu, true, "ended itself through the debug-exit port with %u", platform->debug_exit_value);
        } else {
            guest_fail(vcpu, GUEST_CODE_DEBUG_EXIT,
                       "ended itself through the debug-exit port with 0x%x, which means failure",
                       platform->debug_exit_value);
        }
        break;
    }
}

/* What the platform left for others. Called with the lock held. */
static void collect(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;
    struct platform *platform = &guest->platform;
    struct apic_message message;

    while (platform->outbox_count != 0 && platform_take_message(platform, &message)) {
        route(vcpu, &message, false);
    }
    if (platform->extint) {
        vcpu_notify(vcpu, &guest->vcpus[0], VCPU_KICK_EXTINT);
    }
    if (platform->power != POWER_ON) {
        apply_power_request(vcpu);
    }
    if (platform_console_wants(platform, now)) {
        vcpu->requests |= VCPU_CONSOLE;
    }
}

/* A device's deadline belongs to vCPU 0's CPU; when another vCPU changed it, that CPU must look again. */
static void deadline_changed(struct vcpu *vcpu)
{
    uint64_t deadline = platform_deadline(&vcpu->guest->platform);

    if (deadline != vcpu->guest->platform_deadline) {
        __atomic_store_n(&vcpu->guest->platform_deadline, deadline, __ATOMIC_RELEASE);
        vcpu->requests |= VCPU_TIMER;
        if (vcpu->index != 0) {
            vcpu_notify(vcpu, &vcpu->guest->vcpus[0], VCPU_KICK_INTERRUPT);
        }
    }
}

/* After a byte that went the short way: only the console can have something to do. */
static void quick_written(struct vcpu *vcpu)
{
    struct platform *platform = &vcpu->guest->platform;
    uint64_t before = platform->console_deadline;

    if (platform_console_wants(platform, vcpu->exit_tsc)) {
        vcpu->requests |= VCPU_CONSOLE;
    }
    if (platform->console_deadline != before) {
        deadline_changed(vcpu);
    }
}

bool guest_quick_port_read(struct vcpu *vcpu, uint16_t port, uint8_t *value)
{
    struct guest *guest = vcpu->guest;
    bool done;

    if (platform_is_delay(port)) {
        *value = 0xff;
        return true;
    }
    if (port != PLATFORM_UART_STATUS) {
        return false;
    }
    platform_take(guest);
    done = uart_quick_status(&guest->platform.uart, vcpu->exit_tsc, value);
    platform_give(guest);
    return done;
}

__attribute__((noinline)) static bool quick_send(struct vcpu *vcpu, uint8_t value)
{
    struct guest *guest = vcpu->guest;
    bool done;

    platform_take(guest);
    done = uart_quick_send(&guest->platform.uart, value);
    if (done) {
        quick_written(vcpu);
    }
    platform_give(guest);
    return done;
}

bool guest_quick_port_write(struct vcpu *vcpu, uint16_t port, uint8_t value)
{
    return port == PLATFORM_UART_DATA ? quick_send(vcpu, value) : platform_is_delay(port);
}

bool guest_port_read(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t *value)
{
    struct guest *guest = vcpu->guest;
    bool known;

    platform_take(guest);
    known = platform_port_read(&guest->platform, port, size, vcpu->exit_tsc, value);
    collect(vcpu, vcpu->exit_tsc);
    deadline_changed(vcpu);
    platform_give(guest);
    if (!known) {
        guest_note_unknown(vcpu, UNKNOWN_PORT_READ, port, 0);
    }
    return known;
}

bool guest_port_write(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t value)
{
    struct guest *guest = vcpu->guest;
    bool known;

    platform_take(guest);
    known = platform_port_write(&guest->platform, port, size, value, vcpu->exit_tsc);
    collect(vcpu, vcpu->exit_tsc);
    deadline_changed(vcpu);
    platform_give(guest);
    if (!known) {
        guest_note_unknown(vcpu, UNKNOWN_PORT_WRITE, port, value);
    }
    return known;
}

bool guest_is_apic_page(const struct vcpu *vcpu, gpa_t address)
{
    return lapic_enabled(&vcpu->lapic) && !lapic_x2apic(&vcpu->lapic) &&
           MMIO_PAGE(address.value) == MMIO_PAGE(vcpu->lapic.base_msr);
}

/* What an access to the local APIC may have changed. */
static void apic_accessed(struct vcpu *vcpu, uint64_t deadline_before)
{
    vcpu->requests |= VCPU_EVENT;
    if (vcpu->lapic.deadline != deadline_before) {
        vcpu->requests |= VCPU_TIMER;
    }
    if (vcpu->lapic.outbox_count != 0) {
        guest_route_ipis(vcpu);
    }
    if (vcpu->lapic.eoi_pending) {
        guest_apic_eoi(vcpu);
    }
}

bool guest_mmio_read(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t *value)
{
    struct guest *guest = vcpu->guest;
    bool known;

    if (guest_is_apic_page(vcpu, address)) {
        uint64_t ones = size == 8 ? ~0ULL : (1ULL << (size * 8)) - 1;

        *value = lapic_mmio_read(&vcpu->lapic, (uint32_t)(address.value & 0xfff), vcpu->exit_tsc) & ones;
        return true;
    }
    platform_take(guest);
    known = platform_mmio_read(&guest->platform, address, size, vcpu->exit_tsc, value);
    collect(vcpu, vcpu->exit_tsc);
    platform_give(guest);
    if (!known) {
        guest_note_unknown(vcpu, UNKNOWN_MMIO_READ, MMIO_PAGE(address.value), 0);
    }
    return known;
}

bool guest_mmio_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value)
{
    struct guest *guest = vcpu->guest;
    bool known;

    if (guest_is_apic_page(vcpu, address)) {
        uint64_t deadline = vcpu->lapic.deadline;

        lapic_mmio_write(&vcpu->lapic, (uint32_t)(address.value & 0xfff), (uint32_t)value, vcpu->exit_tsc);
        apic_accessed(vcpu, deadline);
        return true;
    }
    platform_take(guest);
    known = platform_mmio_write(&guest->platform, address, size, value, vcpu->exit_tsc);
    collect(vcpu, vcpu->exit_tsc);
    deadline_changed(vcpu);
    platform_give(guest);
    if (!known) {
        guest_note_unknown(vcpu, UNKNOWN_MMIO_WRITE, MMIO_PAGE(address.value), value);
    }
    return known;
}

bool guest_apic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
    return lapic_msr_read(&vcpu->lapic, msr, vcpu->exit_tsc, value);
}

bool guest_apic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    uint64_t deadline = vcpu->lapic.deadline;

    if (!lapic_msr_write(&vcpu->lapic, msr, value, vcpu->exit_tsc)) {
        return false;
    }
    apic_accessed(vcpu, deadline);
    return true;
}

/* The end of an interrupt makes another one deliverable only where there is one. */
void guest_apic_end_of_interrupt(struct vcpu *vcpu)
{
    if (!lapic_end_of_interrupt(&vcpu->lapic)) {
        return;
    }
    if (lapic_has_request(&vcpu->lapic)) {
        vcpu->requests |= VCPU_EVENT;
    }
    if (vcpu->lapic.eoi_pending) {
        guest_apic_eoi(vcpu);
    }
}

void guest_apic_written(struct vcpu *vcpu, uint32_t offset)
{
    uint64_t deadline = vcpu->lapic.deadline;
    uint32_t value = vcpu->lapic.page->registers[offset / 4];

    if (lapic_x2apic(&vcpu->lapic)) {
        (void)lapic_msr_write(&vcpu->lapic, MSR_X2APIC_FIRST + offset / 16, value, vcpu->exit_tsc);
    } else {
        lapic_mmio_write(&vcpu->lapic, offset, value, vcpu->exit_tsc);
    }
    apic_accessed(vcpu, deadline);
}

void guest_apic_eoi(struct vcpu *vcpu)
{
    struct guest *guest = vcpu->guest;

    vcpu->lapic.eoi_pending = false;
    platform_take(guest);
    platform_eoi(&guest->platform, vcpu->lapic.eoi_vector, vcpu->exit_tsc);
    collect(vcpu, vcpu->exit_tsc);
    deadline_changed(vcpu);
    platform_give(guest);
}

uint8_t guest_acknowledge_extint(struct vcpu *vcpu)
{
    struct guest *guest = vcpu->guest;
    uint8_t vector;

    platform_take(guest);
    vector = platform_acknowledge_extint(&guest->platform);
    platform_give(guest);
    return vector;
}

void guest_run_timers(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    if (vcpu->lapic.deadline <= now) {
        lapic_run_timer(&vcpu->lapic, now);
        vcpu->requests |= VCPU_EVENT;
    }
    if (vcpu->index == 0 && __atomic_load_n(&guest->platform_deadline, __ATOMIC_ACQUIRE) <= now) {
        platform_take(guest);
        platform_run_timers(&guest->platform, now);
        collect(vcpu, now);
        deadline_changed(vcpu);
        platform_give(guest);
    }
    if (vcpu->index == 0 && guest->watchdog.deadline <= now) {
        guest_watchdog_look(vcpu, now);
    }
    if (vcpu->index == 0 && guest->stop_deadline <= now) {
        guest_order_expire(vcpu);
    }
}

uint64_t guest_deadline(const struct vcpu *vcpu)
{
    uint64_t deadline = vcpu->lapic.deadline;

    if (vcpu->index == 0) {
        deadline = min_u64(deadline, __atomic_load_n(&vcpu->guest->platform_deadline, __ATOMIC_ACQUIRE));
        deadline = min_u64(deadline, vcpu->guest->watchdog.deadline);
        deadline = min_u64(deadline, vcpu->guest->stop_deadline);
    }
    return deadline;
}

void guest_console_input(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    platform_take(guest);
    platform_console_poll(&guest->platform, now);
    collect(vcpu, now);
    deadline_changed(vcpu);
    platform_give(guest);
}

void guest_press_power_button(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    platform_take(guest);
    platform_press_power_button(&guest->platform);
    collect(vcpu, now);
    deadline_changed(vcpu);
    platform_give(guest);
}
