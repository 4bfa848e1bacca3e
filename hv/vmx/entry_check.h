/* SPDX-License-Identifier: MIT */
/*
 * Why a VM entry failed, in a sentence. Pure.
 *
 * A CPU that refuses an entry says hardly more than "control fields" or "guest state". So after a failure all fields
 * that the manual's checks look at are read from the VMCS, and the checks are gone through in the manual's order until
 * one is violated. SDM 3C 27.2 "Checks on VMX Controls and Host-State Area", 27.3 "Checking and Loading Guest State".
 *
 *   entry_check.c   the list of fields, VM-execution, VM-exit and VM-entry controls, host state, sentences
 *   entry_check_guest.c   guest state
 *
 * Left out are checks of features that Plinth never switches on: VMCS shadowing, VM functions, sub-page permissions,
 * CET, protection keys, bound registers, Processor Trace, enclaves, system management mode.
 */
#ifndef HV_VMX_ENTRY_CHECK_H
#define HV_VMX_ENTRY_CHECK_H

#include "hv/vmx/vmcs.h"

#define VMX_ENTRY_FIELDS_MAX 160u
#define VMX_ENTRY_SENTENCE_MAX 240u

/* What this CPU allows: capability MSRs as they read. Low half of a control's: bits that must be 1; high half: that may
 * be. SDM 3D A "VMX Capability Reporting Facility". */
struct vmx_entry_caps {
    uint64_t basic;
    uint64_t pin, primary, secondary, exit, entry;
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint64_t misc;
    uint64_t ept_vpid;
    uint8_t physical_bits;
    uint8_t linear_bits; /* 48 or 57 */
};

/* The fields that are looked at, in the order of vmx_entry_fields; 0 where the CPU has no such field. */
extern const enum vmcs_field vmx_entry_fields[];
extern const uint32_t vmx_entry_field_count;

struct vmx_entry_state {
    uint64_t values[VMX_ENTRY_FIELDS_MAX];
    uint32_t vtpr; /* the TPR in the virtual-APIC page, which a check compares with the threshold */
};

uint64_t vmx_entry_get(const struct vmx_entry_state *state, enum vmcs_field field);

/* Writes the sentence about the first violated check; false where all that are known hold. */
bool vmx_entry_find_violation(const struct vmx_entry_state *state, const struct vmx_entry_caps *caps,
                              char sentence[VMX_ENTRY_SENTENCE_MAX]);

/* What a VM-instruction error number means. SDM 3C 31.4 "VM Instruction Error Numbers", table 31-1. */
const char *vmx_instruction_error_text(uint32_t number);

/* What the exit of a failed entry says by itself. SDM 3C 27.8 "VM-Entry Failures During or After Loading Guest
 * State". */
const char *vmx_entry_failure_text(uint32_t reason, uint64_t qualification);

/* --- Shared by the two files --- */

struct vmx_entry_check {
    const struct vmx_entry_state *state;
    const struct vmx_entry_caps *caps;
    char *sentence;
};

/* Writes the sentence; false, so that a check can return it. */
__attribute__((format(printf, 2, 3))) bool vmx_entry_violated(const struct vmx_entry_check *check, const char *form,
                                                              ...);
/* A value of a field, for short. */
static inline uint64_t vmx_entry_value(const struct vmx_entry_check *check, enum vmcs_field field)
{
    return vmx_entry_get(check->state, field);
}

bool vmx_entry_canonical(const struct vmx_entry_check *check, uint64_t address);
bool vmx_entry_fits_physical(const struct vmx_entry_check *check, uint64_t address);
bool vmx_entry_pat_legal(uint64_t pat);

/* Bits of a control word; secondary ones count only where the primary controls switch them on. */
bool vmx_entry_primary(const struct vmx_entry_check *check, uint32_t bit);
bool vmx_entry_secondary(const struct vmx_entry_check *check, uint32_t bit);
bool vmx_entry_entry(const struct vmx_entry_check *check, uint32_t bit);

/* entry_check_guest.c: SDM 3C 27.3.1. */
bool vmx_entry_check_guest(const struct vmx_entry_check *check);

#endif
