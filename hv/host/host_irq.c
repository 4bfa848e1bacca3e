/* SPDX-License-Identifier: MIT */
#include "hv/host/host_irq.h"

#include "hv/base/spinlock.h"
#include "hv/core/guest_irq.h"
#include "hv/host/host_vectors.h"
#include "hv/x86/insn.h"

/* Intel 82093AA data sheet, 3.1, 3.2.4. */
#define IOAPIC_USUAL_BASE 0xfec00000ULL
#define IOAPIC_SELECT 0x00u
#define IOAPIC_WINDOW 0x10u
#define IOAPIC_VERSION 0x01u
#define IOAPIC_REDIRECTION(pin) (0x10u + 2u * (pin))
#define IOAPIC_LAST_PIN(version) (((version) >> 16) & 0xffu)
#define ENTRY_ACTIVE_LOW (1u << 13)
#define ENTRY_LEVEL (1u << 15)
#define ENTRY_MASKED (1u << 16)
#define ENTRY_CPU_SHIFT 56u
#define ENTRY_ID_MAX 0xfeu /* 0xff is all CPUs */

/* What a vector stands for. Written before its pin is opened, constant from then on but for `masked`. */
struct source {
    struct guest *guest; /* NULL: the vector is free */
    uint32_t number;
    uint64_t ioapic; /* 0: it has no pin */
    uint32_t pin;
    uint32_t entry; /* its low half, without the mask */
    bool masked;    /* atomic: by host_irq_arrived() */
};

static struct {
    uint64_t ioapics[ACPI_IOAPICS_MAX];
    uint32_t gsis[ACPI_IOAPICS_MAX];
    uint8_t ids[ACPI_IOAPICS_MAX];
    uint32_t ioapic_count;
    struct acpi_irq isa[ACPI_ISA_IRQS];
    struct source sources[HOST_VECTOR_DEVICES];
    uint32_t source_count;
    struct spinlock lock; /* of the pair of registers; never waited for with a guest's lock held */
} irqs;

/* Interrupts are off wherever this is called. */
static void pin_write(uint64_t base, uint32_t index, uint32_t value)
{
    spinlock_take(&irqs.lock);
    insn_mmio_write32(base + IOAPIC_SELECT, index);
    insn_mmio_write32(base + IOAPIC_WINDOW, value);
    spinlock_release(&irqs.lock);
}

static uint32_t pin_count(uint64_t base)
{
    uint32_t version;

    spinlock_take(&irqs.lock);
    insn_mmio_write32(base + IOAPIC_SELECT, IOAPIC_VERSION);
    version = insn_mmio_read32(base + IOAPIC_WINDOW);
    spinlock_release(&irqs.lock);
    return version == UINT32_MAX ? 0 : IOAPIC_LAST_PIN(version) + 1;
}

void host_irq_init(const struct host_acpi *acpi)
{
    irqs.ioapic_count = acpi->ioapic_count;
    for (uint32_t irq = 0; irq < ACPI_ISA_IRQS; irq++) {
        irqs.isa[irq] = acpi->irqs[irq];
    }
    for (uint32_t i = 0; i < acpi->ioapic_count; i++) {
        irqs.ioapics[i] = acpi->ioapics[i];
        irqs.gsis[i] = acpi->ioapic_gsis[i];
        irqs.ids[i] = acpi->ioapic_ids[i];
    }
    if (acpi->ioapic_count == 0) {
        irqs.ioapics[0] = IOAPIC_USUAL_BASE;
        irqs.gsis[0] = 0;
        irqs.ioapic_count = 1;
    }
}

struct host_irq_pin host_irq_isa(uint32_t irq)
{
    return (struct host_irq_pin){
        .gsi = irqs.isa[irq].gsi, .level = irqs.isa[irq].level, .active_low = irqs.isa[irq].active_low};
}

uint8_t host_irq_vector(struct guest *guest, uint32_t source)
{
    if (irqs.source_count == HOST_VECTOR_DEVICES) {
        return 0;
    }
    irqs.sources[irqs.source_count] = (struct source){.guest = guest, .number = source, .masked = true};
    return (uint8_t)(HOST_VECTOR_DEVICE + irqs.source_count++);
}

/* NULL: the vector was not given out. */
static struct source *source_of(uint8_t vector)
{
    uint32_t index = (uint32_t)vector - HOST_VECTOR_DEVICE;

    return index < irqs.source_count ? &irqs.sources[index] : NULL;
}

/* The index of the I/O APIC that has the pin, or ioapic_count. */
static uint32_t ioapic_of(uint32_t gsi, uint32_t *pin)
{
    uint32_t i = 0;

    while (i < irqs.ioapic_count && gsi - irqs.gsis[i] >= pin_count(irqs.ioapics[i])) {
        i++;
    }
    *pin = i < irqs.ioapic_count ? gsi - irqs.gsis[i] : 0;
    return i;
}

bool host_irq_ioapic(uint32_t gsi, uint8_t *id)
{
    uint32_t pin;
    uint32_t i = ioapic_of(gsi, &pin);

    *id = i < irqs.ioapic_count ? irqs.ids[i] : 0;
    return i < irqs.ioapic_count;
}

static bool pin_is_taken(uint64_t ioapic, uint32_t pin)
{
    for (uint32_t i = 0; i < irqs.source_count; i++) {
        if (irqs.sources[i].ioapic == ioapic && irqs.sources[i].pin == pin) {
            return true;
        }
    }
    return false;
}

enum status host_irq_route(uint8_t vector, const struct host_irq_pin *pin)
{
    struct source *source = source_of(vector);
    uint64_t entry = pin->remapped ? pin->entry : (uint64_t)pin->apic_id << ENTRY_CPU_SHIFT | vector;
    uint32_t number;
    uint32_t ioapic = ioapic_of(pin->gsi, &number);

    if (source == NULL || ioapic == irqs.ioapic_count) {
        return STATUS_NOT_FOUND;
    }
    if (!pin->remapped && pin->apic_id > ENTRY_ID_MAX) {
        return STATUS_UNSUPPORTED;
    }
    if (pin_is_taken(irqs.ioapics[ioapic], number)) {
        return STATUS_BUSY;
    }
    source->ioapic = irqs.ioapics[ioapic];
    source->pin = number;
    source->entry = (uint32_t)entry | (pin->level ? ENTRY_LEVEL : 0) | (pin->active_low ? ENTRY_ACTIVE_LOW : 0);
    pin_write(source->ioapic, IOAPIC_REDIRECTION(number), source->entry | ENTRY_MASKED);
    pin_write(source->ioapic, IOAPIC_REDIRECTION(number) + 1, (uint32_t)(entry >> 32));
    return STATUS_OK;
}

/*
 * A level waits for its EOI (Remote IRR), which an I/O APIC knows by the vector in its entry; with AMD-Vi that is not
 * the CPU's vector. As an edge it waits for none, so a pin that is opened has been one for a moment, masked.
 */
static void set_mask(struct source *source, bool masked)
{
    uint32_t index = IOAPIC_REDIRECTION(source->pin);

    __atomic_store_n(&source->masked, masked, __ATOMIC_RELEASE);
    if (source->ioapic == 0) {
        return;
    }
    if (!masked && (source->entry & ENTRY_LEVEL) != 0) {
        pin_write(source->ioapic, index, (source->entry & ~ENTRY_LEVEL) | ENTRY_MASKED);
        pin_write(source->ioapic, index, source->entry | ENTRY_MASKED);
    }
    pin_write(source->ioapic, index, source->entry | (masked ? ENTRY_MASKED : 0));
}

void host_irq_open(uint8_t vector)
{
    set_mask(source_of(vector), false);
}

void host_irq_mask(uint8_t vector)
{
    set_mask(source_of(vector), true);
}

void host_irq_close_all(struct guest *guest)
{
    for (uint32_t i = 0; i < irqs.source_count; i++) {
        if (irqs.sources[i].guest == guest) {
            set_mask(&irqs.sources[i], true);
        }
    }
    for (uint32_t i = 0; i < GUEST_SOURCE_WORDS; i++) {
        __atomic_store_n(&guest->sources[i], 0, __ATOMIC_RELEASE);
    }
}

void host_irq_open_all(const struct guest *guest)
{
    for (uint32_t i = 0; i < irqs.source_count; i++) {
        if (irqs.sources[i].guest == guest) {
            set_mask(&irqs.sources[i], false);
        }
    }
}

bool host_irq_arrived(uint8_t vector)
{
    struct source *source = source_of(vector);

    if (source == NULL) {
        return false;
    }
    if (source->ioapic != 0) {
        set_mask(source, true);
    }
    guest_source_arrived(source->guest, source->number);
    return true;
}

void host_irq_rearm(const struct guest *guest)
{
    for (uint32_t i = 0; i < irqs.source_count; i++) {
        struct source *source = &irqs.sources[i];

        if (source->guest == guest && source->ioapic != 0 && (source->entry & ENTRY_LEVEL) == 0 &&
            __atomic_load_n(&source->masked, __ATOMIC_ACQUIRE)) {
            set_mask(source, false);
        }
    }
}
