/* SPDX-License-Identifier: MIT */
/*
 * Between the handlers and the devices: the lock, and what an access caused (guest_irq.c). See guest_io.h.
 */
#include "hv/core/guest_io.h"

#include "hv/core/guest_devices.h"
#include "hv/core/guest_irq.h"
#include "hv/core/guest_order.h"
#include "hv/core/guest_watchdog.h"
#include "hv/core/platform_lock.h"
#include "hv/dev/lapic_registers.h"
#include "hv/x86/registers.h"

#define APIC_LINE 0xff0u /* a register's place in the page. SDM 3A 11.4.1, table 11-1 */

/* Nearly always nothing. A byte for the console is no news of the bus. */
void guest_after_access(struct vcpu *vcpu, bool console)
{
    struct platform *platform = &vcpu->guest->platform;

    if (platform_has_news(platform) || console) {
        platform_carry(platform);
        guest_collect(vcpu, vcpu->exit_tsc);
    }
    if (platform_deadline_moved(platform)) {
        guest_deadline_changed(vcpu);
    }
}

/* After a byte that may have gone to the console, and nowhere else. */
void guest_byte_sent(struct vcpu *vcpu)
{
    struct platform *platform = &vcpu->guest->platform;

    if (!platform_console_is_silent(platform) && platform_console_wants(platform, vcpu->exit_tsc)) {
        vcpu->requests |= VCPU_CONSOLE;
    }
    if (platform->deadline_stale) {
        guest_deadline_changed(vcpu);
    }
}

/* False where a device is due first or takes no bytes here: then the long way is taken. */
static bool may_be_short(const struct vcpu *vcpu, const struct bus_claim *claim)
{
    return vcpu->exit_tsc < vcpu->guest->platform.bus.due && (claim->widths & BUS_BYTES) != 0;
}

static bool read_byte(struct vcpu *vcpu, const struct bus_claim *claim, uint16_t port, uint8_t *value)
{
    struct bus_access access = {.at = port + claim->bias, .now = vcpu->exit_tsc, .size = 1};

    if (!may_be_short(vcpu, claim) || !claim->row->read(claim->state, &access)) {
        return false;
    }
    *value = (uint8_t)access.value;
    bus_settle(&vcpu->guest->platform.bus, claim->device);
    guest_after_access(vcpu, false);
    return true;
}

static bool write_byte(struct vcpu *vcpu, const struct bus_claim *claim, uint16_t port, uint8_t value)
{
    struct platform *platform = &vcpu->guest->platform;
    uint32_t head = platform->console_out.head;
    const struct bus_access access = {.at = port + claim->bias, .value = value, .now = vcpu->exit_tsc, .size = 1};

    if (!may_be_short(vcpu, claim) || !claim->row->write(claim->state, &access)) {
        return false;
    }
    bus_settle(&platform->bus, claim->device);
    guest_after_access(vcpu, platform->console_out.head != head);
    return true;
}

static const struct bus_claim *claim_of(const struct vcpu *vcpu, uint16_t port)
{
    const struct bus *bus = &vcpu->guest->platform.bus;

    return &bus->claims[bus_port_number(bus, port)];
}

/* With several vCPUs the lock comes first, so what guest_quick_port_read() did not dare is tried here. The lock is not
 * waited for: the long way does that. */
bool guest_byte_read(struct vcpu *vcpu, uint16_t port, uint8_t *value)
{
    const struct bus_claim *claim;
    bool done;

    if (!guest_hold_at_once(vcpu)) {
        return false;
    }
    claim = claim_of(vcpu, port);
    done = (vcpu->guest->vcpu_count > 1 && claim->quick_read != NULL &&
            claim->quick_read(claim->state, port + claim->bias, vcpu->exit_tsc, value)) ||
           read_byte(vcpu, claim, port, value);
    guest_release(vcpu);
    return done;
}

bool guest_byte_write(struct vcpu *vcpu, uint16_t port, uint8_t value)
{
    const struct bus_claim *claim;
    bool done;

    if (!guest_hold_at_once(vcpu)) {
        return false;
    }
    claim = claim_of(vcpu, port);
    if (vcpu->guest->vcpu_count > 1 && claim->quick_write != NULL &&
        claim->quick_write(claim->state, port + claim->bias, value)) {
        guest_byte_sent(vcpu);
        done = true;
    } else {
        done = write_byte(vcpu, claim, port, value);
    }
    guest_io_end(vcpu);
    return done;
}

/* Does one range take the access whole, with nothing that is due first? A notification is told before the lock. */
static bool may_be_short_wide(const struct vcpu *vcpu, const struct bus_claim *claim, uint16_t port, uint8_t size)
{
    return vcpu->exit_tsc < vcpu->guest->platform.bus.due && (claim->widths & size) != 0 &&
           claim->last - port >= size - 1u && claim->row->notify == NULL;
}

/* With access->value; a read gives it. A function of its own for each direction. */
__attribute__((always_inline)) static inline bool wide_access(struct vcpu *vcpu, uint16_t port,
                                                              struct bus_access *access, bool in)
{
    const struct bus_claim *claim;
    bool done;

    if (!guest_hold_at_once(vcpu)) {
        return false;
    }
    claim = claim_of(vcpu, port);
    access->at = port + claim->bias;
    done = may_be_short_wide(vcpu, claim, port, access->size) &&
           (in ? claim->row->read(claim->state, access) : claim->row->write(claim->state, access));
    if (done) {
        bus_settle(&vcpu->guest->platform.bus, claim->device);
        guest_after_access(vcpu, false);
    }
    guest_io_end(vcpu);
    return done;
}

bool guest_wide_port_read(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t *value)
{
    struct bus_access access = {.value = ~0ULL, .now = vcpu->exit_tsc, .size = size};
    bool done = wide_access(vcpu, port, &access, true);

    *value = (uint32_t)access.value;
    return done;
}

bool guest_wide_port_write(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t value)
{
    struct bus_access access = {.value = value, .now = vcpu->exit_tsc, .size = size};

    return wide_access(vcpu, port, &access, false);
}

void guest_io_finish(struct vcpu *vcpu)
{
    guest_release(vcpu);
    if (__atomic_load_n(&vcpu->guest->platform.device_work, __ATOMIC_RELAXED)) {
        guest_devices_work(vcpu, vcpu->exit_tsc, vcpu_exit_end(vcpu));
    }
}

bool guest_port_read(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t *value)
{
    struct guest *guest = vcpu->guest;
    bool known;

    known = platform_port_read(&guest->platform, port, size, vcpu->exit_tsc, value);
    guest_collect(vcpu, vcpu->exit_tsc);
    guest_deadline_changed(vcpu);
    if (!known) {
        guest_note_unknown(vcpu, UNKNOWN_PORT_READ, port, 0);
    }
    return known;
}

bool guest_port_write(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t value)
{
    struct guest *guest = vcpu->guest;
    uint32_t service;
    bool known;

    if (platform_port_notify(&guest->platform, port, size, value)) {
        return true;
    }
    known = platform_port_write(&guest->platform, port, size, value, vcpu->exit_tsc);
    guest_collect(vcpu, vcpu->exit_tsc);
    guest_deadline_changed(vcpu);
    if (bios_rom_is_service(port, size, value, &service)) {
        guest_note_unknown(vcpu, UNKNOWN_BIOS, service, 0);
    } else if (!known) {
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

/* Whether software has switched the local APIC on decides which side serves it. */
static void look_at_enable(struct vcpu *vcpu, uint32_t offset)
{
    if ((offset & APIC_LINE) == LAPIC_SVR) {
        vcpu->requests |= VCPU_MSR_BITMAP;
    }
}

bool guest_hold_for(struct vcpu *vcpu, gpa_t address)
{
    return guest_is_apic_page(vcpu, address) || guest_hold(vcpu);
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
    known = platform_mmio_read(&guest->platform, address, size, vcpu->exit_tsc, value);
    guest_collect(vcpu, vcpu->exit_tsc);
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
        uint32_t offset = (uint32_t)(address.value & 0xfff);
        uint64_t deadline = vcpu->lapic.deadline;

        lapic_mmio_write(&vcpu->lapic, offset, size, (uint32_t)value, vcpu->exit_tsc);
        apic_accessed(vcpu, deadline);
        look_at_enable(vcpu, offset);
        return true;
    }
    known = platform_mmio_write(&guest->platform, address, size, value, vcpu->exit_tsc);
    guest_collect(vcpu, vcpu->exit_tsc);
    guest_deadline_changed(vcpu);
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

    (void)lapic_page_written(&vcpu->lapic, offset, vcpu->exit_tsc);
    apic_accessed(vcpu, deadline);
    look_at_enable(vcpu, offset);
}

/* What guest_collect() looks for, after the platform has changed outside of an exit; and the lock is let go. */
static void end_of_call(struct vcpu *vcpu, uint64_t now)
{
    guest_collect(vcpu, now);
    guest_deadline_changed(vcpu);
    guest_release(vcpu);
}

void guest_was_away(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    if (guest->config->ticks == TICKS_MERGE) {
        return;
    }
    vcpu->lapic.ticks.counting = true;
    if (vcpu->lapic.deadline <= now) {
        lapic_run_timer(&vcpu->lapic, now);
        vcpu->requests |= VCPU_EVENT;
    }
    vcpu->lapic.ticks.counting = false;
    if (vcpu->index == 0 && guest_hold_in_pass(vcpu)) {
        platform_run_after_absence(&guest->platform, now);
        guest_collect(vcpu, now);
        platform_absence_ends(&guest->platform);
        guest_deadline_changed(vcpu);
        guest_release(vcpu);
    }
}

void guest_run_timers(struct vcpu *vcpu, uint64_t now)
{
    struct guest *guest = vcpu->guest;

    if (vcpu->lapic.deadline <= now) {
        lapic_run_timer(&vcpu->lapic, now);
        vcpu->requests |= VCPU_EVENT;
    }
    guest_apic_bring_eois(vcpu, now);
    if (vcpu->index == 0 && __atomic_load_n(&guest->platform_deadline, __ATOMIC_ACQUIRE) <= now &&
        guest_hold_in_pass(vcpu)) {
        platform_run_timers(&guest->platform, now);
        end_of_call(vcpu, now);
    }
    if (vcpu->index == 0) {
        guest_devices_run(vcpu, now);
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
    uint64_t deadline = vcpu->lapic.eoi_pending ? 0 : vcpu->lapic.deadline;

    if (vcpu->index == 0) {
        deadline = min_u64(deadline, __atomic_load_n(&vcpu->guest->platform_deadline, __ATOMIC_ACQUIRE));
        deadline = min_u64(deadline, vcpu->guest->watchdog.deadline);
        deadline = min_u64(deadline, vcpu->guest->stop_deadline);
        deadline = min_u64(deadline, guest_devices_deadline(vcpu->guest));
    }
    return deadline;
}

bool guest_console_input(struct vcpu *vcpu, uint64_t now)
{
    bool typed;

    if (!guest_hold_in_pass(vcpu)) {
        return false;
    }
    typed = guest_devices_typed(vcpu);
    if (!typed) {
        platform_console_poll(&vcpu->guest->platform, now);
    }
    end_of_call(vcpu, now);
    if (typed) {
        guest_devices_told(vcpu, now);
    }
    return true;
}
