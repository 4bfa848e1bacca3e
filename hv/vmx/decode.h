/* SPDX-License-Identifier: MIT */
/*
 * From the VMCS's exit fields to the neutral exit. Pure: tests feed it words recorded from real exits.
 */
#ifndef HV_VMX_DECODE_H
#define HV_VMX_DECODE_H

#include "hv/core/vm_exit.h"
#include "hv/vmx/vmcs.h"

/* Qualification of I/O instructions. SDM 3C 28.2.1, table 28-5. */
#define VMX_IO_SIZE 7ULL /* less 1 */
#define VMX_IO_SIZE_8 0ULL
#define VMX_IO_IN (1ULL << 3)
#define VMX_IO_STRING (1ULL << 4)
#define VMX_IO_REP (1ULL << 5)
#define VMX_IO_PORT_SHIFT 16u

/* Qualification of control-register accesses. SDM 3C 28.2.1, table 28-3. */
#define VMX_CR_NUMBER 0xfULL
#define VMX_CR_TYPE_SHIFT 4u
#define VMX_CR_TYPE 3ULL
#define VMX_CR_TYPE_TO 0u
#define VMX_CR_GPR_SHIFT 8u
#define VMX_CR_GPR 0xfULL

/* Qualification of EPT violations. SDM 3C 28.2.1, table 28-7. */
#define VMX_EPT_WRITE (1ULL << 1)
#define VMX_EPT_FETCH (1ULL << 2)
#define VMX_EPT_LINEAR_VALID (1ULL << 7)
#define VMX_EPT_FINAL (1ULL << 8) /* not an entry of the guest's tables */

/* Qualification of APIC-access exits. SDM 3C 28.2.1, table 28-6. */
#define VMX_APIC_OFFSET 0xfffULL
#define VMX_APIC_TYPE_SHIFT 12u
#define VMX_APIC_TYPE 0xfULL
enum vmx_apic_access {
    VMX_APIC_READ = 0,
    VMX_APIC_WRITE = 1,
    VMX_APIC_FETCH = 2,
    VMX_APIC_DELIVERY = 3,           /* of an event: a read or a write */
    VMX_APIC_PHYSICAL_DELIVERY = 10, /* not by its linear address, as all above: an entry of the guest's tables */
    VMX_APIC_PHYSICAL = 15,
};
static inline enum vmx_apic_access vmx_apic_access_type(uint64_t qualification)
{
    return (enum vmx_apic_access)(qualification >> VMX_APIC_TYPE_SHIFT & VMX_APIC_TYPE);
}

/* The raw words of one exit; which of them mean anything depends on the reason. SDM 3C 25.9 "VM-Exit Information
 * Fields". */
struct vmx_exit_words {
    uint32_t reason;
    uint32_t event; /* exit interruption information */
    uint32_t error_code;
    uint32_t vectoring; /* IDT-vectoring information */
    uint32_t vectoring_error;
    uint32_t length;
    uint64_t qualification;
    uint64_t guest_physical;
};

void vmx_decode_exit(const struct vmx_exit_words *words, struct vm_exit *exit);

/* The event whose delivery the exit interrupted, as it is injected again. Invalid: none. SDM 3C 25.9.3. */
struct vcpu_event vmx_decode_event(uint32_t vectoring, uint32_t error);

/* The reverse, for the VM-entry interruption-information field. SDM 3C 25.8.3. */
uint32_t vmx_encode_event(const struct vcpu_event *event);

/* #MC is the host's, and the exit has taken it from the CPU: it is not delivered any more. Also one that came during
 * the entry. SDM 3C 25.9.2, 27.9 "Machine-Check Events During VM Entry". */
static inline bool vmx_exit_is_machine_check(const struct vmx_exit_words *words)
{
    if (words->reason == (VMX_EXIT_ENTRY_FAILED | VMX_EXIT_ENTRY_MACHINE_CHECK)) {
        return true;
    }
    return words->reason == VMX_EXIT_EXCEPTION_NMI && (words->event & VMX_EVENT_VECTOR) == EXCEPTION_MC;
}

/* Which of the words the decoder will look at, so that only these are read. */
bool vmx_exit_needs_qualification(uint32_t reason);
bool vmx_exit_needs_length(uint32_t reason);

#endif
