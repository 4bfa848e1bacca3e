/* SPDX-License-Identifier: MIT */
/*
 * A guest without nested paging: what stands between its VMCS and the entry. SDM 3C 25.6.6
 * "Guest/Host Masks and Read Shadows for CR0 and CR4".
 *
 * The CPU walks the shadow tables (hv/mm/shadow.h) with CR0.PE, PG and WP, CR4.PAE and EFER.NXE set, whatever the guest
 * has. What the guest has of CR0 and CR4 is in the read shadows, which answer its reads, and the masks make each write
 * that would change a translation exit. CR3, EFER and PAT have no shadows: the guest's are here, and its accesses exit.
 * So the VMCS keeps the CPU's values from one entry to the next, and an exit that does not concern them costs nothing:
 *
 *   vmx_run -> vmx_shadow_run -> take_over -> vmx_shadow_enter (entry.S) -> vmx_shadow_handle_exit -+
 *                                  ^                                                                |
 *                                  +---------- page fault, INVLPG; vmx_handle_exit for all others <-+
 *
 * The functions of struct vmx_vcpu between the VMCS and struct vcpu are those of shadow.c then, which exchange these
 * registers on the way. A guest with nested paging pays nothing for all this.
 *
 * Page faults become what nested paging would have had: nothing, a fault of the guest's, or an EPT violation.
 *
 * Real mode is another mode for the CPU: real_mode.h.
 */
#ifndef HV_VMX_SHADOW_H
#define HV_VMX_SHADOW_H

#include "hv/mm/shadow.h"
#include "hv/vmx/real_mode.h"
#include "hv/vmx/vmx.h"

/* One page, before the engine's own memory. */
struct vmx_shadow {
    struct shadow tables;
    uint64_t low_root[4] __attribute__((aligned(32)));
    struct guest_paging paging; /* the guest's, as it is now; CPL and RFLAGS as at the last page fault */
    struct vmx_real real;
    uint64_t pat;        /* the guest's */
    uint64_t root;       /* as the VMCS has it in CR3 */
    uint32_t exceptions; /* that exit where the guest is not in real mode */
    bool stale;          /* the guest starts again: nothing of its shadow tables stays */
    bool flush;          /* the guest has flushed, or has written what decides its translations */
};
_Static_assert(sizeof(struct vmx_shadow) <= PAGE_BYTES, "hv/plan/planner.c counts one page");

/* The way in for vmx_vcpu.enter, with the arguments and the result of vmx_enter(). */
uint32_t vmx_shadow_run(struct vcpu *vcpu, uint32_t launched);

/* entry.S: as vmx_enter() and vmx_enter_guarded(), with vmx_shadow_handle_exit() after each exit. */
uint32_t vmx_shadow_enter(struct vcpu *vcpu, uint32_t launched);
uint32_t vmx_shadow_enter_guarded(struct vcpu *vcpu, uint32_t launched);
void vmx_shadow_exit(void);
void vmx_shadow_exit_guarded(void);
bool vmx_shadow_handle_exit(struct vcpu *vcpu);

#endif
