/* SPDX-License-Identifier: MIT */
/*
 * The short way of devices in memory: guest_quick_mmio_read() and guest_quick_mmio_write() of guest_io.h, apart because
 * they are compiled for speed. Each does what guest_mmio_read() and guest_mmio_write() would, or nothing:
 * tests/unit/test_svm_quick.c and test_vmx_quick.c compare.
 */
#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"
#include "hv/core/platform_lock.h"
#include "hv/dev/lapic_registers.h"
#include "hv/mm/guest_layout.h"

/* Where the APIC is after a reset, and no RAM can be; nearly always. */
static inline bool is_apic_at_usual_place(const struct vcpu *vcpu)
{
    return (vcpu->lapic.base_msr & ~LAPIC_BASE_BSP) == (GUEST_LAPIC_BASE | LAPIC_BASE_ENABLE);
}

static inline bool is_usual_apic_page(const struct vcpu *vcpu, gpa_t address)
{
    return MMIO_PAGE(address.value) == GUEST_LAPIC_BASE && is_apic_at_usual_place(vcpu);
}

static inline void look_for_request(struct vcpu *vcpu)
{
    if (lapic_has_request(&vcpu->lapic)) {
        vcpu->requests |= VCPU_EVENT;
    }
}

/* The registers that running kernels write: nothing is deliverable after them that is not requested. */
static void apic_quick_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value)
{
    struct lapic *lapic = &vcpu->lapic;
    uint32_t offset = (uint32_t)(address.value & 0xfff);

    if (offset == LAPIC_EOI) {
        guest_apic_end_of_interrupt(vcpu);
    } else if (offset == LAPIC_TPR) {
        lapic_tpr_write(lapic, (uint32_t)value);
        look_for_request(vcpu);
    } else if (offset == LAPIC_ICR && lapic_quick_self_ipi(lapic, (uint32_t)value)) {
        vcpu->requests |= VCPU_EVENT; /* no short write has a shorthand */
    } else if ((offset == LAPIC_ICR || offset == LAPIC_ICR_HIGH) && size >= sizeof(uint32_t)) {
        lapic_mmio_write(lapic, offset, sizeof(uint32_t), (uint32_t)value, vcpu->exit_tsc);
        if (lapic->outbox_count != 0) {
            guest_route_ipis(vcpu);
        }
        look_for_request(vcpu);
    } else {
        (void)guest_mmio_write(vcpu, address, size, value); /* the page is there */
    }
}

/* The range that takes the access whole, with nothing that is due first; else NULL. */
static const struct bus_claim *claim_in_memory(const struct vcpu *vcpu, gpa_t address, uint8_t size)
{
    const struct bus *bus = &vcpu->guest->platform.bus;
    const struct bus_claim *claim = vcpu->exit_tsc < bus->due ? bus_find(bus, BUS_MEMORY, address.value) : NULL;

    return claim != NULL && (claim->widths & size) != 0 && claim->last - address.value >= size - 1u ? claim : NULL;
}

/* Is nothing there, with nothing that is due first, and has that been noted before? Then it is counted. */
static bool is_known_hole(struct vcpu *vcpu, gpa_t address, uint8_t size, enum unknown_kind kind)
{
    const struct bus *bus = &vcpu->guest->platform.bus;

    return vcpu->exit_tsc < bus->due && bus_is_hole(bus, address.value, size) &&
           guest_count_unknown(vcpu->guest, kind, MMIO_PAGE(address.value));
}

/* The platform is the vCPU's. */
static bool device_access(struct vcpu *vcpu, gpa_t address, struct bus_access *access, bool write)
{
    struct platform *platform = &vcpu->guest->platform;
    const struct bus_claim *claim = claim_in_memory(vcpu, address, access->size);
    uint32_t head = platform->console_out.head;

    if (claim == NULL) {
        return is_known_hole(vcpu, address, access->size, write ? UNKNOWN_MMIO_WRITE : UNKNOWN_MMIO_READ);
    }
    access->at = address.value + claim->bias;
    if (write ? !claim->row->write(claim->state, access) : !claim->row->read(claim->state, access)) {
        return false;
    }
    bus_settle(&platform->bus, claim->device);
    guest_after_access(vcpu, platform->console_out.head != head);
    return true;
}

_Static_assert(GUEST_RAM_LOW_MAX <= GUEST_IOAPIC_BASE && GUEST_LAPIC_BASE < GUEST_TEST_MEMORY_START &&
                   GUEST_PCI_LOW_END <= GUEST_IOAPIC_BASE,
               "no RAM from the I/O APIC to the local one, and none that guests share");

/* Is it a device of the bus? RAM answers where it lies over one, which it never does over the PC's own, and the local
 * APIC where the guest has moved it to. */
static inline bool is_of_the_bus(const struct vcpu *vcpu, gpa_t address)
{
    bool fixed = address.value >= GUEST_IOAPIC_BASE && address.value < GUEST_LAPIC_BASE;

    return (fixed || guest_memory_pointer(&vcpu->guest->memory, address, 1) == NULL) &&
           (is_apic_at_usual_place(vcpu) || !guest_is_apic_page(vcpu, address));
}

static bool memory_access(struct vcpu *vcpu, gpa_t address, struct bus_access *access, bool write)
{
    bool done;

    if (!is_of_the_bus(vcpu, address) || !guest_hold_at_once(vcpu)) {
        return false;
    }
    done = device_access(vcpu, address, access, write);
    if (!done) {
        guest_release(vcpu);
    }
    return done;
}

static inline uint64_t ones_of(uint8_t size)
{
    return ~0ULL >> (64 - 8 * size);
}

/* Out of line, so that the local APIC pays nothing for it. */
__attribute__((noinline)) static bool memory_read(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t *value)
{
    struct bus_access access = {.now = vcpu->exit_tsc, .size = size, .value = ~0ULL};
    bool done = memory_access(vcpu, address, &access, false);

    *value = access.value & ones_of(size);
    return done;
}

__attribute__((noinline)) static bool memory_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value)
{
    struct bus_access access = {.now = vcpu->exit_tsc, .size = size, .value = value};

    return memory_access(vcpu, address, &access, true);
}

bool guest_quick_mmio_read(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t *value)
{
    if (!is_usual_apic_page(vcpu, address)) {
        return memory_read(vcpu, address, size, value);
    }
    *value = lapic_mmio_read(&vcpu->lapic, (uint32_t)(address.value & 0xfff), vcpu->exit_tsc) & ones_of(size);
    return true;
}

bool guest_quick_mmio_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value)
{
    if (!is_usual_apic_page(vcpu, address)) {
        return memory_write(vcpu, address, size, value);
    }
    apic_quick_write(vcpu, address, size, value);
    return true;
}
