/* SPDX-License-Identifier: MIT */
/*
 * Control registers where a vendor must intercept them: CR0 and CR4 writes under the rules of the manual, CR8.
 */
#ifndef HV_EMULATE_CR_ACCESS_H
#define HV_EMULATE_CR_ACCESS_H

#include "hv/core/event.h"
#include "hv/core/vm_exit.h"
#include "hv/x86/registers.h"

void cr_access(struct vcpu *vcpu, const struct exit_cr_access *access, uint8_t length);

/* PAE paging, where the CPU has the four entries of its top table in registers. SDM 3A 4.4.1 "PDPTE Registers". */
static inline bool pae_is_on(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) != 0 && (cr4 & CR4_PAE) != 0 && (efer & EFER_LMA) == 0;
}

/*
 * Loads vcpu->system.pae_pointers from where `cr3` points, as the CPU does when CR0, CR3 or CR4 is written. False, and
 * nothing is loaded: one of them is present and has reserved bits set, which is #GP(0) for MOV to a control register.
 */
bool pae_pointers_load(struct vcpu *vcpu, uint64_t cr3);

#endif
