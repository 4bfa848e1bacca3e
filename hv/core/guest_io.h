/* SPDX-License-Identifier: MIT */
/*
 * A guest's accesses to ports and MMIO, from any handler: the platform and the local APIC behind one call, with the
 * platform's lock where it is needed, and everything that the access caused (interrupts, a power request, console
 * bytes, a new deadline) collected into the vCPU's requests.
 */
#ifndef HV_CORE_GUEST_IO_H
#define HV_CORE_GUEST_IO_H

#include "hv/core/guest.h"

#define MMIO_PAGE(address) ((address) & ~0xfffULL)

/*
 * guest_port_read() to guest_mmio_write() want the platform: guest_hold(), or guest_hold_for() the address, comes
 * before them, and guest_io_end() after the instruction: it lets the platform go, which a string does after each
 * element (guest_release()), and then works on queues that were notified.
 */
void guest_io_finish(struct vcpu *vcpu);

static inline void guest_io_end(struct vcpu *vcpu)
{
    if (vcpu->holds_platform || __atomic_load_n(&vcpu->guest->platform.device_work, __ATOMIC_RELAXED)) {
        guest_io_finish(vcpu);
    }
}

/* For the short ways: what the bus has after an access to one device, and whether that left a byte for the console. */
void guest_after_access(struct vcpu *vcpu, bool console);

/* size 1, 2, 4. False: nothing is there; *value is all ones, and the access has been noted. */
bool guest_port_read(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t *value);
bool guest_port_write(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t value);

/*
 * The short way for bytes. True: what the functions above would have done has been done, and what it caused is in the
 * vCPU's requests. False: nothing has been done, and they do it.
 *
 * Where a guest has several vCPUs nothing but the inert ports can be looked up without the lock, which is not waited
 * for here.
 */
bool guest_byte_read(struct vcpu *vcpu, uint16_t port, uint8_t *value);
bool guest_byte_write(struct vcpu *vcpu, uint16_t port, uint8_t value);
void guest_byte_sent(struct vcpu *vcpu);

static inline bool guest_quick_port_read(struct vcpu *vcpu, uint16_t port, uint8_t *value)
{
    const struct guest *guest = vcpu->guest;
    uint8_t number = bus_port_number(&guest->platform.bus, port);
    const struct bus_claim *claim = &guest->platform.bus.claims[number];

    if (number == BUS_INERT_CLAIM) {
        *value = 0xff;
        return true;
    }
    if (guest->vcpu_count == 1 && claim->quick_read != NULL &&
        claim->quick_read(claim->state, port + claim->bias, vcpu->exit_tsc, value)) {
        return true;
    }
    return guest_byte_read(vcpu, port, value);
}

static inline bool guest_quick_port_write(struct vcpu *vcpu, uint16_t port, const uint8_t *value)
{
    const struct guest *guest = vcpu->guest;
    uint8_t number = bus_port_number(&guest->platform.bus, port);
    const struct bus_claim *claim = &guest->platform.bus.claims[number];

    if (number == BUS_INERT_CLAIM) {
        return true;
    }
    if (guest->vcpu_count == 1 && claim->quick_write != NULL &&
        claim->quick_write(claim->state, port + claim->bias, *value)) {
        const struct platform *platform = &vcpu->guest->platform;

        if (!platform_console_goes_on_waiting(platform, vcpu->exit_tsc) || platform->deadline_stale) {
            guest_byte_sent(vcpu);
        }
        return true;
    }
    return guest_byte_write(vcpu, port, *value);
}

/* Four bytes to port 0xcf8, in a guest of one vCPU: what stands before each access to a PCI function. False where
 * anything of the devices is to be done as well; then nothing has been done. */
static inline bool guest_quick_pci_address(struct vcpu *vcpu, uint32_t value)
{
    struct platform *platform = &vcpu->guest->platform;

    if (vcpu->guest->vcpu_count != 1 || vcpu->exit_tsc >= platform->bus.due || platform_has_news(platform) ||
        platform_deadline_moved(platform) || __atomic_load_n(&platform->device_work, __ATOMIC_RELAXED)) {
        return false;
    }
    pci_host_set_address(&platform->pci_host, value);
    return true;
}

/*
 * Two or four bytes at a port that one range of a device takes whole: `value` has no more bytes, and is all ones above
 * those read. False: none does, a device is due first, or the platform is not to be had at once; nothing has been done.
 */
bool guest_wide_port_read(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t *value);
bool guest_wide_port_write(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t value);

/* size 1, 2, 4, 8, within one page. False: nothing is there; all ones; noted. */
bool guest_mmio_read(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t *value);
bool guest_mmio_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value);

/*
 * The short way of a device in memory: the local APIC, what one range of a device takes whole, and where nothing is and
 * that has been noted before. size 1, 2, 4, 8, within one page; a value has no more bytes. True: as above, and
 * guest_io_end() comes after it. False: nothing has been done. Neither wants the platform.
 */
bool guest_quick_mmio_read(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t *value);
bool guest_quick_mmio_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value);

/* guest_hold(), where the address is not the vCPU's own local APIC, which needs none. */
bool guest_hold_for(struct vcpu *vcpu, gpa_t address);

/* True where an MMIO access at this address is served by a device (the local APIC's page included). */
bool guest_is_apic_page(const struct vcpu *vcpu, gpa_t address);

/* x2APIC MSRs, with what they cause. False: #GP. */
bool guest_apic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
bool guest_apic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

/* A write of 0 to the EOI register of an APIC in x2APIC mode: what guest_apic_msr_write() would do. */
void guest_apic_end_of_interrupt(struct vcpu *vcpu);

/* VMX's APIC virtualization stored a register at this offset of the page: do what a write of it does. */
void guest_apic_written(struct vcpu *vcpu, uint32_t offset);

/* Timers of the vCPU's APIC and, for vCPU 0, of the platform. Called by hv/run/cpu_loop.c with the host TSC. What
 * cannot be done before vcpu->pass_end stays due. */
void guest_run_timers(struct vcpu *vcpu, uint64_t now);

/* Another vCPU had the CPU since this one ran: periods of its timers that have passed are owed to it, by its guest's
 * `ticks`. Before guest_run_timers(). */
void guest_was_away(struct vcpu *vcpu, uint64_t now);

/* The earliest host TSC at which guest_run_timers has something to do for this vCPU. */
uint64_t guest_deadline(const struct vcpu *vcpu);

/* On the CPU of vCPU 0: the console put bytes into platform.console_in. False: the platform cannot be had before
 * vcpu->pass_end; the caller comes again. */
bool guest_console_input(struct vcpu *vcpu, uint64_t now);

#endif
