/* SPDX-License-Identifier: MIT */
/*
 * Interrupts of the machine's devices that a guest has.
 *
 *   device -> I/O APIC pin, or a message -> vector of the host, on the CPU of the guest's vCPU 0
 *          -> host_irq_arrived(), in the trap: the pin is masked, a bit in the guest says which (guest_source_arrived)
 *          -> hv/run/cpu_loop.c: host_irq_rearm() opens the pin, guest_take_sources() gives the guest its interrupt
 *
 * A vector is given out once and stays: a source of a guest, for its whole life. The handler does nothing else, so that
 * an interrupt costs the guest that has the CPU no more than an exit. A pin is masked until the owner's CPU has looked:
 * a device that a guest makes interrupt as fast as it can costs a neighbour one before the owner has its turn. What
 * rises while the pin is masked is lost on the way, and not for the guest: the interrupt that it gets comes after the
 * pin was opened, so its handler finds what there is.
 *
 * Pins of levels are not served by host_irq_rearm(): they would come again at once. host_irq_open() is for the end of
 * the guest's interrupt: a line that stays high costs an interrupt for each of those, and no more. Messages (MSI) have
 * no pin here: the caller makes them of the vector, and masks them at the device.
 *
 * I/O APIC. Intel 82093AA data sheet, 3.
 */
#ifndef HV_HOST_HOST_IRQ_H
#define HV_HOST_HOST_IRQ_H

#include "hv/base/status.h"
#include "hv/host/host_acpi.h"

struct guest;

/* The low and high half of a pin's entry but for the mask: 3.2.4. The vector is one of host_irq_vector(). */
struct host_irq_pin {
    uint32_t gsi;
    bool level;
    bool active_low;
    uint32_t apic_id; /* of the CPU to interrupt: vCPU 0's */
    bool remapped;    /* by an IOMMU, */
    uint64_t entry;   /* and then this stands in the pin's entry in place of vector and CPU */
};

/* Where the pins are. Once, on the BSP, after host_apic_init_machine() has masked them. */
void host_irq_init(const struct host_acpi *acpi);

/* The pin of an IRQ of the ISA bus, by the MADT; apic_id is left to the caller. */
struct host_irq_pin host_irq_isa(uint32_t irq);

/* The ID of the I/O APIC that has the pin, by the MADT. False: none has it. */
bool host_irq_ioapic(uint32_t gsi, uint8_t *id);

/* A vector of its own for a source of a guest (guest_source_arrived()). 0: none is left. */
uint8_t host_irq_vector(struct guest *guest, uint32_t source);

/*
 * Leads a pin to a vector, masked. STATUS_NOT_FOUND: no I/O APIC has it. STATUS_UNSUPPORTED: the CPU's id does not fit
 * into an entry (8 bits). STATUS_BUSY: another vector has it.
 */
enum status host_irq_route(uint8_t vector, const struct host_irq_pin *pin);

/* Opens or masks the pin of a vector that has one. */
void host_irq_open(uint8_t vector);
void host_irq_mask(uint8_t vector);

/* All that a guest has: masked from its end to its next life. What had come and was not taken is forgotten. */
void host_irq_close_all(struct guest *guest);
void host_irq_open_all(const struct guest *guest);

/* In the trap. False: the vector was not given out. */
bool host_irq_arrived(uint8_t vector);

/* Before guest_take_sources(): pins of edges that host_irq_arrived() has masked are open again. */
void host_irq_rearm(const struct guest *guest);

#endif
