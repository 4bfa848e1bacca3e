/*
 * Intel VMX: the vendor's side of hv/virt/virt.h, function for function. SDM 3C 23 "Introduction to Virtual Machine
 * Extensions".
 *
 *   vmx_capabilities.c  what this CPU has, by name (pure)
 *   vmx_features.c  reading that; switching VMX on and off
 *   vmx_setup.c     a vCPU's VMCS in parts, controls by table, MSR bitmap
 *   vmx_apic.c      the local APIC served by the CPU
 *   vmx_state.c     system state between VMCS and struct vcpu
 *   vmx_decode.c    exit words -> neutral exit (pure)
 *   vmx_entry_check.c, vmx_entry_guest.c   why an entry failed (pure)
 *   vmx_run.c       the run loop: requests, events, entry, exit
 *   vmx_entry.S     VMLAUNCH, VMRESUME
 *
 * This folder has all that only Intel's CPUs have; its files and functions mirror hv/svm. No decision about a guest is
 * made here: exits go to hv/exit.
 */
#ifndef HV_VMX_VMX_H
#define HV_VMX_VMX_H

#include "hv/core/virt_support.h"
#include "hv/vmx/capabilities.h"
#include "hv/vmx/insn.h"
#include "hv/vmx/vmcs.h"

struct cpu;

extern struct vmx_features vmx_features;

/* What VMX needs per host CPU: the VMXON region. */
struct vmx_cpu {
    uint32_t revision;
    uint8_t opaque[4092];
};
_Static_assert(sizeof(struct vmx_cpu) == 4096, "one page");

/* 256 vectors. */
#define VMX_EOI_EXIT_WORDS 4u

/* MSRs that stay in the CPU while a vCPU is loaded. */
#define VMX_LIVE_MSRS 6u

/* A row of an MSR area, which is 16-byte aligned. SDM 3C 24.7.2 "VM-Exit Controls for MSRs", table 24-12. */
struct vmx_area_msr {
    uint32_t msr;
    uint32_t reserved;
    uint64_t value;
};
_Static_assert(sizeof(struct vmx_area_msr) == 16, "SDM 3C 24.7.2");

/* The rows of both areas. */
enum vmx_area_index {
    VMX_AREA_PAT,
    VMX_AREA_EFER,
    VMX_AREA_MSRS,
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
    uint32_t launched;   /* on the CPU where the VMCS is loaded */
    uint32_t loaded_cpu; /* index + 1; 0: none yet */
    uint32_t had_nmi;    /* one was injected, and no exit has shown its end yet */
    uint8_t pad[4096 - 4 * 16 - 3 * 8 - VMX_LIVE_MSRS * 8 - 3 * 8 - 7 * 4 - VMX_EOI_EXIT_WORDS * 8];
};
_Static_assert(sizeof(struct vmx_vcpu) == 8192, "two pages");
_Static_assert(offsetof(struct vmx_vcpu, guest_msrs) % 16 == 0 && offsetof(struct vmx_vcpu, host_msrs) % 16 == 0,
               "SDM 3C 26.2.1.2, 26.2.1.3");

bool vmx_detect(struct virt_support *support);
uint64_t vmx_cpu_bytes(void);
uint64_t vmx_vcpu_bytes(void);
bool vmx_enable(struct cpu *cpu, void *memory);
void vmx_disable(struct cpu *cpu);
void vmx_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested);
void vmx_vcpu_load(struct cpu *cpu, struct vcpu *vcpu);
void vmx_vcpu_put(struct cpu *cpu, struct vcpu *vcpu);
void vmx_run(struct cpu *cpu, struct vcpu *vcpu);

/* vmx_apic.c */
void vmx_apic_build_map(uint8_t map[4096]);
void vmx_apic_set_mode(struct vmx_vcpu *vmx, struct vcpu *vcpu);
void vmx_apic_publish(struct vmx_vcpu *vmx, struct vcpu *vcpu);

/* vmx_setup.c: the MSR bitmap without and with a virtual APIC. */
uint64_t vmx_msr_map(bool virtual_apic);

/* vmx_state.c. A field that cannot be read or written is a bug of ours: panic. */
uint64_t vmx_read(enum vmcs_field field);
void vmx_write(enum vmcs_field field, uint64_t value);
void vmx_read_system(struct vcpu *vcpu);
void vmx_write_system(struct vmx_vcpu *vmx, const struct vcpu *vcpu);
void vmx_write_primary(struct vmx_vcpu *vmx, uint32_t primary);

/* vmx_run.c: does an NMI of this vCPU, which is loaded, hold back the next one? */
bool vmx_nmi_is_blocked(struct vmx_vcpu *vmx);

/* vmx_entry.S: enters the guest again and again, until vmx_handle_exit() says false (0) or the entry fails (1). */
uint32_t vmx_enter(struct vcpu *vcpu, uint32_t launched);
bool vmx_handle_exit(struct vcpu *vcpu);
_Static_assert(offsetof(struct vcpu, gpr) == 0, "vmx_entry.S");
void vmx_exit(void);

#endif
