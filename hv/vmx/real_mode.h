/* SPDX-License-Identifier: MIT */
/*
 * Real mode without unrestricted guest: the CPU has CR0.PE and PG set, so the guest's code runs in another mode, as
 * its segments allow (hv/emulate/real_mode.h has what neither executes as real mode would). Decision 24.
 *
 *   virtual-8086   where each segment is as real mode loads it: its base 16 times the selector, its limit 64 KiB. IOPL
 *                  is 0 and the task has no I/O map: ports, INT n, what sees or changes IF, and all that needs ring 0
 *                  are faults.
 *   stepped        else: what is left of a step from protected mode, and segments of more than 64 KiB. It is 16-bit
 *                  protected mode in ring 0 with the segments as they are and no descriptors, so each load of a segment
 *                  faults; and each instruction traps (RFLAGS.TF), so that a table that the guest has loaded is seen
 *                  before it can be used.
 *
 * Every exception exits. Events go to the guest through its own table, by hand: what events.c has put into the entry's
 * event field is taken out again before the entry. While the guest does not run, RFLAGS in the VMCS is the guest's;
 * what stands in other fields is known from shadow.c's read_system() and write_system(), which come here.
 *
 * Known: SGDT and SIDT show the limit 0 in stepped code, which has no interrupt shadow but that
 * of an STI before a HLT, and whose FPU and SSE
 * cannot store through CS.
 *
 * SDM 3C 27.3.1.2 "Checks on Guest Segment Registers"; SDM 3B 21.2 "Virtual-8086 Mode".
 */
#ifndef HV_VMX_REAL_MODE_H
#define HV_VMX_REAL_MODE_H

#include "hv/vmx/vmx.h"
#include "hv/x86/registers.h"

/* Clear for the CPU in real mode, and so owned: virtual-8086 code is in ring 3 for it, where they refuse what ring 0
 * may do. */
#define VMX_REAL_CR0 CR0_AM
#define VMX_REAL_CR4 (CR4_VME | CR4_PVI | CR4_TSD | CR4_UMIP)

enum vmx_way {
    VMX_WAY_PLAIN, /* protected mode and beyond: as it is */
    VMX_WAY_VIRTUAL_8086,
    VMX_WAY_STEPPED,
};

/* What the CPU does not have of the guest's while it runs in real mode. */
struct vmx_real {
    enum vmx_way way;
    struct segment segments[SEGMENT_COUNT]; /* as they were written; LDTR and TR are not in the VMCS */
    struct table_register gdtr, idtr;
    uint64_t flags; /* RFLAGS.IOPL or TF */
};

enum vmx_way vmx_real_way(const struct vcpu_system *system);

/* After vmx_write_system() and vmx_read_system(). */
void vmx_real_write(struct vmx_real *real, const struct vcpu_system *system);
void vmx_real_read(const struct vmx_real *real, struct vcpu_system *system);

/* Last before an entry, and first after an exit. False: there is no entry. */
bool vmx_real_take_over(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu);
void vmx_real_put_back(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu);

/* An exit that is neither a page fault nor INVLPG. */
bool vmx_real_handle_exit(struct vmx_real *real, struct vmx_vcpu *vmx, struct vcpu *vcpu, uint32_t reason);

#endif
