/* SPDX-License-Identifier: MIT */
/*
 * Entries that the CPU refuses, of every class, in one boot: a guest whose name stands in these tables gets that field
 * of its control structure broken whenever guest state is written. And exits are measured (measure.c). Included before
 * the two run loops, the quick exits, and where VMX chooses its function, of the test build (mk/faults.mk);
 * tests/boot/faults.py says which sentence belongs to each name.
 */
#ifndef TESTS_FAULTS_FAULT_ENTRY_H
#define TESTS_FAULTS_FAULT_ENTRY_H

#include "hv/base/memory.h"
#include "hv/core/guest.h"
#include "hv/exit/dispatch.h"
#include "hv/host/fault.h"
#include "hv/svm/decode.h"
#include "hv/svm/svm.h"
#include "hv/vmx/decode.h"
#include "hv/vmx/vmx.h"
#include "hv/x86/registers.h"

static inline bool fault_guest_is(const struct vcpu *vcpu, const char *name)
{
    const char *of = vcpu->guest->name;

    while (*of != '\0' && *of == *name) {
        of++;
        name++;
    }
    return *of == *name;
}

#define FAULT_ALL (~0ULL)
#define FAULT_NOT_CANONICAL 0x8000000000000000ULL
#define FAULT_SEGMENT(first, index) ((enum vmcs_field)((first) + (index)*VMCS_SEGMENT_STRIDE))

/* Control fields (SDM 3C 27.2.1), host state (27.2.2 to 27.2.4), guest state (27.3.1). */
static const struct {
    const char *guest;
    enum vmcs_field field;
    uint64_t clear;
    uint64_t set;
} fault_vmcs[] = {
    {"pin-clear", VMCS_PIN_CONTROLS, 0x16, 0},
    {"primary-set", VMCS_PRIMARY_CONTROLS, 0, 1},
    {"secondary-set", VMCS_SECONDARY_CONTROLS, 0, 1ULL << 31},
    {"exit-clear", VMCS_EXIT_CONTROLS, 1, 0},
    {"entry-set", VMCS_ENTRY_CONTROLS, 0, 1ULL << 31},
    {"entry-smm", VMCS_ENTRY_CONTROLS, 0, 1ULL << 10},
    {"cr3-targets", VMCS_CR3_TARGET_COUNT, 0, 5},
    {"msr-bitmap", VMCS_MSR_BITMAP, 0, 0x800},
    {"virtual-apic", VMCS_VIRTUAL_APIC, 0, 0x400},
    {"vpid-zero", VMCS_VPID, FAULT_ALL, 0},
    {"ept-type", VMCS_EPT_POINTER, 7, 3},
    {"ept-walk", VMCS_EPT_POINTER, 0x38, 0},
    {"ept-reserved", VMCS_EPT_POINTER, 0, 0x80},
    {"event-type", VMCS_ENTRY_EVENT, 0, 0x80000120},
    {"event-vector", VMCS_ENTRY_EVENT, 0, 0x80000203},
    {"event-reserved", VMCS_ENTRY_EVENT, 0, 0x80001306},
    {"host-cr0", VMCS_HOST_CR0, 1, 0},
    {"host-cr3", VMCS_HOST_CR3, 0, 1ULL << 60},
    {"host-cr4", VMCS_HOST_CR4, 1ULL << 13, 0},
    {"host-cs", VMCS_HOST_CS_SELECTOR, FAULT_ALL, 0},
    {"host-tr", VMCS_HOST_TR_SELECTOR, FAULT_ALL, 0},
    {"host-ds", VMCS_HOST_DS_SELECTOR, 0, 3},
    {"host-gs-base", VMCS_HOST_GS_BASE, 0, FAULT_NOT_CANONICAL},
    {"host-gdtr", VMCS_HOST_GDTR_BASE, 0, FAULT_NOT_CANONICAL},
    {"host-idtr", VMCS_HOST_IDTR_BASE, 0, FAULT_NOT_CANONICAL},
    {"host-tr-base", VMCS_HOST_TR_BASE, 0, FAULT_NOT_CANONICAL},
    {"host-rip", VMCS_HOST_RIP, 0, FAULT_NOT_CANONICAL},
    {"host-width", VMCS_EXIT_CONTROLS, EXIT_HOST_64BIT, 0},
    {"cr0-paging", VMCS_GUEST_CR0, 1, 1ULL << 31},
    {"cr3-wide", VMCS_GUEST_CR3, 0, 1ULL << 60},
    {"cr4-reserved", VMCS_GUEST_CR4, 0, 1ULL << 31},
    {"cr4-vmxe", VMCS_GUEST_CR4, 1ULL << 13, 0},
    {"debugctl", VMCS_GUEST_DEBUGCTL, 0, 1ULL << 3},
    {"dr7-upper", VMCS_GUEST_DR7, 0, 1ULL << 32},
    {"efer-reserved", VMCS_GUEST_EFER, 0, 1ULL << 1},
    {"efer-lma", VMCS_GUEST_EFER, 0, EFER_LMA},
    {"pat-type", VMCS_GUEST_PAT, 0xff, 2},
    {"ia32e", VMCS_ENTRY_CONTROLS, 0, ENTRY_IA32E},
    {"cs-type", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_CS), 0xf, 2},
    {"cs-limit", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_CS), 1ULL << 15, 0},
    {"ss-type", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_SS), 0xf, 1},
    {"es-absent", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_ES), 0x80, 0},
    {"ds-reserved", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_DS), 0, 0x100},
    {"fs-system", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_FS), SEGMENT_S, 0},
    {"tr-data", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_TR), 0, SEGMENT_S},
    {"tr-type", FAULT_SEGMENT(VMCS_GUEST_ES_ACCESS, SEGMENT_TR), 0xf, 2},
    {"tr-local", FAULT_SEGMENT(VMCS_GUEST_ES_SELECTOR, SEGMENT_TR), 0, 4},
    {"gdtr-base", VMCS_GUEST_GDTR_BASE, 0, FAULT_NOT_CANONICAL},
    {"gdtr-limit", VMCS_GUEST_GDTR_LIMIT, 0, 0x10000},
    {"idtr-limit", VMCS_GUEST_IDTR_LIMIT, 0, 0x10000},
    {"sysenter-eip", VMCS_GUEST_SYSENTER_EIP, 0, FAULT_NOT_CANONICAL},
    {"activity", VMCS_GUEST_ACTIVITY, 0, 7},
    {"two-shadows", VMCS_GUEST_INTERRUPTIBILITY, 0, INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS},
    {"shadow-bits", VMCS_GUEST_INTERRUPTIBILITY, 0, 1ULL << 8},
    {"pending-debug", VMCS_GUEST_PENDING_DEBUG, 0, 1ULL << 5},
    {"link-pointer", VMCS_LINK_POINTER, FAULT_ALL, 0x123},
};

static inline void fault_vmx_write_system(struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    vmx_write_system(vmx, vcpu);
    for (uint32_t i = 0; i < ARRAY_COUNT(fault_vmcs); i++) {
        if (fault_guest_is(vcpu, fault_vmcs[i].guest)) {
            vmx_write(fault_vmcs[i].field, (vmx_read(fault_vmcs[i].field) & ~fault_vmcs[i].clear) | fault_vmcs[i].set);
        }
    }
}

/* APM 2 15.5.1 "Basic Operation", the list of illegal guest states, and 15.25.4. */
#define FAULT_LONG_CR0 0x80000011u
#define FAULT_LONG_EFER (EFER_SVME | EFER_LME)

static inline void fault_vmcb_controls(struct vmcb *vmcb, const struct vcpu *vcpu)
{
    if (fault_guest_is(vcpu, "asid-zero")) {
        vmcb->asid = 0;
    } else if (fault_guest_is(vcpu, "vmrun")) {
        vmcb->intercepts[INTERCEPT_MISC2] &= ~1u;
    } else if (fault_guest_is(vcpu, "io-map")) {
        vmcb->io_bitmap = (1ULL << 52) - 0x1000;
    } else if (fault_guest_is(vcpu, "msr-map")) {
        vmcb->msr_bitmap = (1ULL << 52) - 0x1000;
    } else if (fault_guest_is(vcpu, "event-type")) {
        vmcb->event_injection = EVENT_VALID | 1u << EVENT_TYPE_SHIFT;
    } else if (fault_guest_is(vcpu, "event-vector")) {
        vmcb->event_injection = EVENT_VALID | 3u << EVENT_TYPE_SHIFT | 2;
    } else if (fault_guest_is(vcpu, "nested-cr3")) {
        vmcb->nested_cr3 |= 1ULL << 60;
    } else if (fault_guest_is(vcpu, "pat-type")) {
        vmcb->pat = 2;
    }
}

static inline void fault_vmcb_state(struct vmcb *vmcb, const struct vcpu *vcpu)
{
    if (fault_guest_is(vcpu, "cr0-upper")) {
        vmcb->cr0 |= 1ULL << 32;
    } else if (fault_guest_is(vcpu, "cr0-nw")) {
        vmcb->cr0 |= 1ULL << 29;
    } else if (fault_guest_is(vcpu, "cr4-reserved")) {
        vmcb->cr4 |= 1ULL << 31;
    } else if (fault_guest_is(vcpu, "dr6-upper")) {
        vmcb->dr6 |= 1ULL << 32;
    } else if (fault_guest_is(vcpu, "dr7-upper")) {
        vmcb->dr7 |= 1ULL << 32;
    } else if (fault_guest_is(vcpu, "efer-svme")) {
        vmcb->efer &= ~EFER_SVME;
    } else if (fault_guest_is(vcpu, "efer-reserved")) {
        vmcb->efer |= 1ULL << 40;
    } else if (fault_guest_is(vcpu, "long-no-pae")) {
        vmcb->efer = FAULT_LONG_EFER;
        vmcb->cr0 = FAULT_LONG_CR0;
        vmcb->cr4 = 0;
    } else if (fault_guest_is(vcpu, "long-no-pe")) {
        vmcb->efer = FAULT_LONG_EFER;
        vmcb->cr0 = FAULT_LONG_CR0 & ~1u;
        vmcb->cr4 = 1u << 5;
    } else if (fault_guest_is(vcpu, "long-code")) {
        vmcb->efer = FAULT_LONG_EFER;
        vmcb->cr0 = FAULT_LONG_CR0;
        vmcb->cr4 = 1u << 5;
        vmcb->cs.attributes |= 3u << 9;
    }
}

static inline void fault_svm_write_system(struct svm_vcpu *svm, const struct vcpu *vcpu)
{
    svm_write_system(svm, vcpu);
    fault_vmcb_controls(&svm->vmcb, vcpu);
    fault_vmcb_state(&svm->vmcb, vcpu);
}

/* The guest's first HLT, told as a machine check: an exit that wants the system, which HLT is not. */
static inline bool fault_exit_wants_system(const struct vcpu *vcpu, const struct vm_exit *exit)
{
    return exit_wants_system(vcpu, exit) || (exit->kind == EXIT_HLT && fault_is("guest:machine-check"));
}

static inline bool fault_svm_exit_is_machine_check(uint64_t exit_code)
{
    return svm_exit_is_machine_check(exit_code) || (exit_code == SVM_EXIT_HLT && fault_is("guest:machine-check"));
}

static inline bool fault_vmx_exit_is_machine_check(const struct vmx_exit_words *words)
{
    return vmx_exit_is_machine_check(words) || (words->reason == VMX_EXIT_HLT && fault_is("guest:machine-check"));
}

/* And no HLT goes the short way then. */
static inline bool fault_time_is_over(const struct vcpu *vcpu)
{
    return exit_time_is_over(vcpu) || fault_is("guest:machine-check");
}

/* Each way by which the vendors hand an exit on is measured. */
static inline void fault_dispatch(struct vcpu *vcpu, const struct vm_exit *exit)
{
    exit_dispatch(vcpu, exit);
    fault_exit_handled(vcpu);
}

static inline bool fault_quick_port(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint16_t port, bool in)
{
    bool done = exit_quick_port(vcpu, raw, rip, port, in);

    if (done) {
        fault_exit_handled(vcpu);
    }
    return done;
}

static inline bool fault_quick_msr_write(struct vcpu *vcpu, uint32_t raw, uint64_t rip)
{
    bool done = exit_quick_msr_write(vcpu, raw, rip);

    if (done) {
        fault_exit_handled(vcpu);
    }
    return done;
}

static inline bool fault_quick_deadline(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint32_t low)
{
    bool done = exit_quick_deadline(vcpu, raw, rip, low);

    if (done) {
        fault_exit_handled(vcpu);
    }
    return done;
}

static inline bool fault_quick_eoi(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint32_t low)
{
    bool done = exit_quick_eoi(vcpu, raw, rip, low);

    if (done) {
        fault_exit_handled(vcpu);
    }
    return done;
}

#define exit_dispatch fault_dispatch
#define exit_time_is_over fault_time_is_over
#define exit_quick_deadline fault_quick_deadline
#define exit_quick_eoi fault_quick_eoi
#define exit_quick_port fault_quick_port
#define exit_quick_msr_write fault_quick_msr_write
#define exit_wants_system fault_exit_wants_system
#define svm_exit_is_machine_check fault_svm_exit_is_machine_check
#define vmx_exit_is_machine_check fault_vmx_exit_is_machine_check
#define svm_write_system fault_svm_write_system
#define vmx_write_system fault_vmx_write_system

#endif
