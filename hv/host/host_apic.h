/* SPDX-License-Identifier: MIT */
/*
 * The host's own interrupt controllers: the local APIC of each CPU, and everything older or further away silenced.
 *
 * The hypervisor takes three interrupts of its own and no more: its timer, a kick from another CPU, and the spurious
 * one. A handler only sets a bit in its struct cpu and ends the interrupt; hv/run/cpu_loop.c looks at the bits. Guests
 * never see these vectors. The 8259 pair is remapped away from the exceptions and masked, all I/O APIC inputs are
 * masked: no device of the machine interrupts us, but those that a guest has (host_irq.h).
 *
 * Both access modes are served: x2APIC MSRs where the firmware has enabled them or an APIC id does not fit into 8 bits,
 * else the xAPIC page. SDM 3A 11 "Advanced Programmable Interrupt Controller (APIC)"; APM 2 16.
 *
 * Order: host_apic_init_machine() once on the BSP, host_apic_init_cpu() on every CPU, host_timer_calibrate() once
 * after tsc_calibrate(), then anything else.
 */
#ifndef HV_HOST_HOST_APIC_H
#define HV_HOST_HOST_APIC_H

#include "hv/base/types.h"
#include "hv/host/host_vectors.h"

_Static_assert(HOST_VECTOR_PIC >= 32 && HOST_VECTOR_PIC % 8 == 0,
               "above the exceptions; an 8259 sets the three low bits");
_Static_assert(HOST_VECTOR_PIC + 16 <= HOST_VECTOR_DEVICE &&
                   HOST_VECTOR_DEVICE + HOST_VECTOR_DEVICES <= HOST_VECTOR_MESSAGE &&
                   HOST_VECTOR_MESSAGE + HOST_VECTOR_MESSAGES <= HOST_VECTOR_TIMER &&
                   HOST_VECTOR_TIMER < HOST_VECTOR_KICK && HOST_VECTOR_KICK < HOST_VECTOR_SPURIOUS,
               "no vector is used twice");
_Static_assert((HOST_VECTOR_SPURIOUS & 15) == 15, "older APICs have bits 3:0 of the spurious vector set. SDM 3A 11.9");

struct host_acpi;

/* Silences the 8259s and the I/O APICs (those of the MADT, or the usual one) and chooses the access mode. */
void host_apic_init_machine(const struct host_acpi *acpi, uint32_t highest_apic_id);

/* Enables this CPU's local APIC, its timer's vector, and masks every other local input. */
void host_apic_init_cpu(void);

uint32_t host_apic_id(void);
bool host_apic_is_x2apic(void);
void host_apic_eoi(void);

/* Ends an interrupt that was not asked for, where it came through this APIC: then it is in service. A spurious one is
 * not, nor is one of the 8259s. SDM 3A 11.9. */
void host_apic_end_stray(void);

/* Sends a fixed interrupt to one other CPU, or to oneself. */
void host_apic_send(uint32_t apic_id, uint8_t vector);

void host_apic_send_nmi(uint32_t apic_id);
void host_apic_send_init(uint32_t apic_id);
/* The CPU starts in real mode at page * 4096; page is below 0x100. SDM 3A 9.4.4 "MP Initialization Example". */
void host_apic_send_sipi(uint32_t apic_id, uint8_t page);

/* Relates the one-shot timer's rate to the TSC's; does nothing where the CPU has TSC-deadline mode. */
void host_timer_calibrate(void);

/*
 * Asks for HOST_VECTOR_TIMER on this CPU at a host TSC. One deadline per CPU: a later call replaces it. UINT64_MAX
 * disarms; a past deadline fires at once; a deadline too far for the 32-bit one-shot counter fires early, so the
 * caller compares with the TSC and arms again.
 */
void host_timer_arm(uint64_t deadline_tsc);

/* "APIC timer in TSC-deadline mode" or "one-shot APIC timer", for the start-up report. */
const char *host_timer_name(void);

/* True: host_timer_arm() has the deadline in IA32_TSC_DEADLINE, and nothing else in the CPU is changed by it. */
bool host_timer_is_deadline(void);

#endif
