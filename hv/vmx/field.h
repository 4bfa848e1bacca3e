/* SPDX-License-Identifier: MIT */
/*
 * Access to the fields of the VMCS that is current on this CPU. A field that cannot be read or written is a bug of
 * ours: panic.
 */
#ifndef HV_VMX_FIELD_H
#define HV_VMX_FIELD_H

#include "hv/vmx/insn.h"
#include "hv/vmx/vmcs.h"

/* state.c. For what happens seldom: a call is shorter than the instruction with its check. */
uint64_t vmx_read(enum vmcs_field field);
void vmx_write(enum vmcs_field field, uint64_t value);
_Noreturn void vmx_field_failed(enum vmcs_field field);

/* For what happens at every exit. */
static inline uint64_t vmx_read_inline(enum vmcs_field field)
{
    return vmx_insn_vmread_sure((uint64_t)field);
}

static inline void vmx_write_inline(enum vmcs_field field, uint64_t value)
{
    vmx_insn_vmwrite_sure((uint64_t)field, value);
}

/* Keeps *known, the value that the VMCS has. */
static inline void vmx_write_if_changed(enum vmcs_field field, uint64_t *known, uint64_t value)
{
    if (*known != value) {
        *known = value;
        vmx_write_inline(field, value);
    }
}

#endif
