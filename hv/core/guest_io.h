/*
 * A guest's accesses to ports and MMIO, from any handler: the platform and the local APIC behind one call, with the
 * platform's lock where it is needed, and everything that the access caused (interrupts, a power request, console
 * bytes, a new deadline) collected into the vCPU's requests.
 */
#ifndef HV_CORE_GUEST_IO_H
#define HV_CORE_GUEST_IO_H

#include "hv/core/guest.h"

/* size 1, 2, 4. False: nobody there; *value is all ones, and the access has been noted. */
bool guest_port_read(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t *value);
bool guest_port_write(struct vcpu *vcpu, uint16_t port, uint8_t size, uint32_t value);

/* The short way for bytes: the UART's transmitter and line status, the delay ports, and what a byte sent causes. False:
 * it is none of these or changes more than itself, nothing has been done, and the functions above do it. */
bool guest_quick_port_read(struct vcpu *vcpu, uint16_t port, uint8_t *value);
bool guest_quick_port_write(struct vcpu *vcpu, uint16_t port, uint8_t value);

/* size 1, 2, 4, 8, within one page. False: nobody there; all ones; noted. */
bool guest_mmio_read(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t *value);
bool guest_mmio_write(struct vcpu *vcpu, gpa_t address, uint8_t size, uint64_t value);

/* True where an MMIO access at this address is served by a device (the local APIC's page included). */
bool guest_is_apic_page(const struct vcpu *vcpu, gpa_t address);

/* x2APIC MSRs, with what they cause. False: #GP. */
bool guest_apic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value);
bool guest_apic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value);

/* A write of 0 to the EOI register of an APIC in x2APIC mode: what guest_apic_msr_write() would do. */
void guest_apic_end_of_interrupt(struct vcpu *vcpu);

/* VMX's APIC virtualization stored a register at this offset of the page: do what a write of it does. */
void guest_apic_written(struct vcpu *vcpu, uint32_t offset);

/* Timers of the vCPU's APIC and, for vCPU 0, of the platform. Called by hv/run/cpu_loop.c with the host TSC. */
void guest_run_timers(struct vcpu *vcpu, uint64_t now);
/* The earliest host TSC at which guest_run_timers has something to do for this vCPU. */
uint64_t guest_deadline(const struct vcpu *vcpu);

/* The console put bytes into platform.console_in (vCPU 0's CPU calls this). */
/* The operator presses the guest's power button. On the CPU of vCPU 0. */
void guest_press_power_button(struct vcpu *vcpu, uint64_t now);

void guest_console_input(struct vcpu *vcpu, uint64_t now);

/* Asks the 8259's INTR line for vCPU 0; the vector. */
uint8_t guest_acknowledge_extint(struct vcpu *vcpu);

/* A local APIC ended a level-triggered interrupt: tell the I/O APIC. */
void guest_apic_eoi(struct vcpu *vcpu);

/* Routes the IPIs that a vCPU's local APIC left in its outbox. */
void guest_route_ipis(struct vcpu *vcpu);

#endif
