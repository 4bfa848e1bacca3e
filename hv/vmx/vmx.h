/* SPDX-License-Identifier: MIT */
/*
 * Intel VMX: the vendor's side of hv/virt/virt.h, function for function. SDM 3C 24 "Introduction to Virtual Machine
 * Extensions".
 *
 *   run.c           the loop: requests, entry, exit
 *   events.c        what is injected at the next entry, and what an exit interrupted
 *   quick.c         the short way of the frequent exits
 *   decode.c        exit words -> neutral exit (pure)
 *   entry.S         VMLAUNCH, VMRESUME
 *   entry_check.c   why an entry failed (pure)
 *   features.c      reading what this CPU has; switching VMX on and off
 *   capabilities.c  what that means, by name (pure)
 *   setup.c         a vCPU's VMCS in parts, controls by table, MSR bitmap
 *   state.c         system state between VMCS and struct vcpu
 *   quirks.c        repairs for emulators
 *   shadow.c        guests without nested paging
 *
 * Only here, because SVM has no such thing:
 *   apic.c          the local APIC served by the CPU
 *   timer.c         the guest's TSC deadline in the CPU's own register
 *   real_mode.c     real mode without unrestricted guest
 *   field.h         access to the fields of a VMCS
 *   entry_check_guest.c   the guest-state half of entry_check.c (pure)
 *
 * hv/svm has the same files with the same functions in the same order; tools/vendor-diff compares.
 *
 * This folder has all that only Intel's CPUs have. No decision about a guest is made here: exits go to hv/exit.
 */
#ifndef HV_VMX_VMX_H
#define HV_VMX_VMX_H

#include "hv/core/virt_support.h"
#include "hv/vmx/capabilities.h"
#include "hv/vmx/decode.h"
#include "hv/vmx/field.h"
#include "hv/vmx/vmcs.h"

struct cpu;
struct vmx_shadow;

extern struct vmx_features vmx_features;

/* What VMX needs per host CPU: the VMXON region. */
struct vmx_cpu {
    uint32_t revision;
    uint8_t opaque[4092];
};
_Static_assert(sizeof(struct vmx_cpu) == 4096, "one page");

/* 256 vectors. */
#define VMX_EOI_EXIT_WORDS 4u

/* tpr_threshold of a vCPU whose local APIC the CPU serves in memory, which has no use for one: what waits for it goes
 * by vmx_apic_publish(), which looks whether the page is still there. */
#define VMX_THRESHOLD_UNUSED UINT32_MAX

/* MSRs that stay in the CPU while a vCPU is loaded. */
#define VMX_LIVE_MSRS 6u

/* A row of an MSR area, which is 16-byte aligned. SDM 3C 25.7.2 "VM-Exit Controls for MSRs", table 25-12. */
struct vmx_area_msr {
    uint32_t msr;
    uint32_t reserved;
    uint64_t value;
};
_Static_assert(sizeof(struct vmx_area_msr) == 16, "SDM 3C 25.7.2");

/* The rows of both areas. */
enum vmx_area_index {
    VMX_AREA_PAT,
    VMX_AREA_EFER,
    VMX_AREA_MSRS,
};

/* What of the timer does not exit: timer.c. */
enum vmx_timer {
    VMX_TIMER_EXITS,
    VMX_TIMER_PASSES,          /* writes of the TSC deadline, and the preemption timer runs */
    VMX_TIMER_AND_ADJUST_PASS, /* and reads of TSC_ADJUST */
    VMX_TIMER_KINDS,
};

/* What VMX needs per vCPU: VMCS, then our own page. */
struct vmx_vcpu {
    uint8_t vmcs[4096];
    struct vmx_area_msr guest_msrs[VMX_AREA_MSRS]; /* loaded at an entry, stored at an exit */
    struct vmx_area_msr host_msrs[VMX_AREA_MSRS];  /* loaded at an exit */
    uint64_t rip, rflags, rsp;                     /* as the VMCS has them */
    uint64_t live_msrs[VMX_LIVE_MSRS];
    uint64_t cr2, dr6;
    uint64_t eptp;
    uint32_t primary; /* as the VMCS has them: windows change them */
    uint32_t entry;
    uint32_t tpr_threshold;
    uint32_t secondary;
    uint64_t eoi_exits[VMX_EOI_EXIT_WORDS];
    uint32_t launched;        /* on the CPU where the VMCS is loaded */
    uint32_t loaded_cpu;      /* index + 1; 0: none yet */
    uint32_t had_nmi;         /* quirks.c: one was injected, and no exit has shown its end yet */
    uint32_t guarded;         /* its CPU has something to do about speculation at each entry and exit */
    uint32_t secondary_plain; /* without what the virtual APIC adds */
    uint32_t timer_passes;    /* enum vmx_timer */
    uint32_t reserved;
    uint64_t timer_seen; /* host TSC: a deadline that is not after it has fired, or was never there */
    /* vmx_enter, vmx_read_system, vmx_write_system and vmx_flush_translations, or what a guest with shadow paging has
     * around them, so that no exit has to ask. */
    uint32_t (*enter)(struct vcpu *vcpu, uint32_t launched);
    void (*read_system)(struct vcpu *vcpu);
    void (*write_system)(struct vmx_vcpu *vmx, const struct vcpu *vcpu);
    void (*flush_translations)(const struct vcpu *vcpu);
    struct vmx_shadow *shadow;
    uint8_t pad[4096 - 4 * 16 - 3 * 8 - VMX_LIVE_MSRS * 8 - 4 * 8 - 12 * 4 - VMX_EOI_EXIT_WORDS * 8 - 5 * 8];
};
_Static_assert(sizeof(struct vmx_vcpu) == 8192, "two pages");
_Static_assert(offsetof(struct vmx_vcpu, guest_msrs) % 16 == 0 && offsetof(struct vmx_vcpu, host_msrs) % 16 == 0,
               "SDM 3C 27.2.1.2, 27.2.1.3");

/* features.c */
bool vmx_detect(struct virt_support *support);
uint64_t vmx_cpu_bytes(void);
uint64_t vmx_vcpu_bytes(void);
bool vmx_enable(struct cpu *cpu, void *memory);
void vmx_disable(struct cpu *cpu);

/* setup.c; the MSR bitmap for its secondary controls */
uint64_t vmx_msr_map(const struct vmx_vcpu *vmx);
void vmx_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested);
void vmx_vcpu_load(struct cpu *cpu, struct vcpu *vcpu);
void vmx_vcpu_put(struct cpu *cpu, struct vcpu *vcpu);

/* shadow.c. After vmx_vcpu_init(): the guest's translations come of shadow tables, so many and with leaves up to
 * `largest`, in zeroed pages of planner_shadow_pages(tables, 1) below 4 GiB. */
void vmx_vcpu_shadow(struct vcpu *vcpu, void *memory, uint32_t tables, enum page_level largest);
/* What is different in its VMCS, after everything else was written. */
void vmx_shadow_setup(struct vmx_vcpu *vmx);

/* state.c. PAT and EFER have fields where the CPU has controls for them. */
static inline void vmx_write_switched(struct vmx_vcpu *vmx, enum vmx_area_index index, enum vmcs_field field,
                                      uint64_t value)
{
    vmx->guest_msrs[index].value = value;
    if (!vmx_features.msr_areas) {
        vmx_write(field, value);
    }
}
void vmx_write_primary(struct vmx_vcpu *vmx, uint32_t primary);
void vmx_reset_state(struct vmx_vcpu *vmx);
void vmx_flush_translations(const struct vcpu *vcpu);
void vmx_read_system(struct vcpu *vcpu);
void vmx_write_system(struct vmx_vcpu *vmx, const struct vcpu *vcpu);

/* What each exit that is not quick begins with: the VMCS is launched, and the registers that the CPU has saved. */
static inline void vmx_take_exit(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    vmx->launched = 1;
    vmx->rip = vcpu->rip = vmx_read_inline(VMCS_GUEST_RIP);
    vmx->rflags = vcpu->rflags = vmx_read_inline(VMCS_GUEST_RFLAGS);
    vmx->rsp = vcpu->gpr[GPR_RSP] = vmx_read_inline(VMCS_GUEST_RSP);
    vcpu->pending.valid = false;
}

/* events.c */
static inline void vmx_end_shadow(struct vmx_vcpu *vmx)
{
    uint64_t state = vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY);

    (void)vmx;
    if ((state & INTERRUPTIBILITY_SHADOW) != 0) {
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, state & ~INTERRUPTIBILITY_SHADOW);
        vmx_write(VMCS_GUEST_PENDING_DEBUG, 0); /* what the shadow held back is raised by vcpu_advance() */
    }
}
bool vmx_nmi_is_blocked(struct vmx_vcpu *vmx, const struct vcpu *vcpu);
void vmx_choose_event(struct vmx_vcpu *vmx, struct vcpu *vcpu);
void vmx_take_back_event(struct vcpu *vcpu, const struct vmx_exit_words *words);
void vmx_finish_exception(const struct vmx_exit_words *words);

/* entry.S: enters the guest again and again, until vmx_handle_exit() says false (0) or the entry fails (1). */
uint32_t vmx_enter(struct vcpu *vcpu, uint32_t launched);
uint32_t vmx_enter_guarded(struct vcpu *vcpu, uint32_t launched);
_Static_assert(offsetof(struct vcpu, gpr) == 0, "entry.S");
void vmx_exit(void);
void vmx_exit_guarded(void);

/* quick.c, called by entry.S: the short way where there is one, else vmx_handle_any_exit(). */
bool vmx_handle_exit(struct vcpu *vcpu);

/* run.c. Handles an exit by exit_dispatch(). False: hv/run/cpu_loop.c has to look at vcpu->requests. */
bool vmx_handle_any_exit(struct vmx_vcpu *vmx, struct vcpu *vcpu);
/* As if the exit had these words; the event that it interrupted is added to them. */
bool vmx_handle_exit_as(struct vmx_vcpu *vmx, struct vcpu *vcpu, struct vmx_exit_words *words);
/* Brings rip, rsp and rflags to struct vcpu, calls the handler, and back. */
bool vmx_handle_by(struct vmx_vcpu *vmx, struct vcpu *vcpu, void (*handler)(struct vmx_vcpu *vmx, struct vcpu *vcpu));
/* After an exit that has left nothing to do but what it interrupted. */
bool vmx_finish_interrupted(struct vmx_vcpu *vmx, struct vcpu *vcpu);
/* After an exit that went the short way and left requests. */
bool vmx_finish_quick(struct vmx_vcpu *vmx, struct vcpu *vcpu);
void vmx_run(struct cpu *cpu, struct vcpu *vcpu);

/* apic.c */
void vmx_apic_build_map(uint8_t map[4096]);
void vmx_apic_set_mode(struct vmx_vcpu *vmx, struct vcpu *vcpu);
void vmx_apic_publish(struct vmx_vcpu *vmx, struct vcpu *vcpu);
/* Behind an emulated write of the page, and behind one of the CPU's that it has not looked at itself: Bochs ends an
 * interrupt by the first byte of EOI alone. */
void vmx_apic_accessed(struct vcpu *vcpu);
static inline bool vmx_apic_is_eoi(uint64_t offset)
{
    return (offset & ~3ULL) == 0xb0;
}
/* Dispatches EXIT_APIC_WRITE, EXIT_EOI and EXIT_APIC_ACCESS. */
void vmx_apic_handle(struct vcpu *vcpu, const struct vm_exit *exit, const struct vmx_exit_words *words);

/*
 * timer.c. vmx_timer_pass(): with the vCPU loaded, at host TSC `now`, before its turn, which shall end at `end`. True:
 * the CPU's timer is the guest's in this turn, and cpu->armed is `end`; the caller sets leave_at to it.
 * vmx_timer_take() after the turn, in any case: the local APIC has its deadline again, and the CPU's timer stays armed
 * with it. vmx_timer_late(): virt_late_timer(). The others are for exits, and only where vmx->timer_passes: _read()
 * before the timer's state is looked at, with vcpu->exit_tsc; _look() after what may have changed its mode; _tick() as
 * cpu_timer_tick().
 */
bool vmx_timer_may_pass(const struct vmx_vcpu *vmx, const struct vcpu *vcpu);
bool vmx_timer_pass(struct cpu *cpu, struct vcpu *vcpu, uint64_t end, uint64_t now);
void vmx_timer_take(struct cpu *cpu, struct vcpu *vcpu);
void vmx_timer_late(struct vcpu *vcpu);
void vmx_timer_read(const struct vmx_vcpu *vmx, struct vcpu *vcpu);
void vmx_timer_look(struct cpu *cpu, struct vmx_vcpu *vmx, struct vcpu *vcpu);
bool vmx_timer_tick(struct cpu *cpu, struct vmx_vcpu *vmx, struct vcpu *vcpu, uint64_t now);

/* quirks.c */
bool vmx_quirks_nmi_is_blocked(struct vmx_vcpu *vmx, bool blocked);

#endif
