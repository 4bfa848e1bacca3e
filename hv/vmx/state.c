/* SPDX-License-Identifier: MIT */
/*
 * System state between the VMCS and struct vcpu. Read only after exits whose handlers look at it; written back whole
 * when a handler changed any of it. SDM 3C 25.4 "Guest-State Area".
 */
#include "hv/vmx/vmx.h"

#include "hv/emulate/cr_access.h"
#include "hv/host/panic.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define CR0_HIDDEN (CR0_NE | CR0_NW | CR0_CD)
#define VPID_CAP_SINGLE (1ULL << 41) /* INVVPID of one VPID. SDM 3D A.10 */

_Noreturn void vmx_field_failed(enum vmcs_field field)
{
    hv_panic(PANIC_VENDOR, "field 0x%x of the VMCS cannot be accessed", (uint32_t)field);
}

uint64_t vmx_read(enum vmcs_field field)
{
    uint64_t value;

    if (!vmx_insn_vmread((uint64_t)field, &value)) {
        hv_panic(PANIC_VENDOR, "VMREAD of field 0x%x fails", (uint32_t)field);
    }
    return value;
}

void vmx_write(enum vmcs_field field, uint64_t value)
{
    if (!vmx_insn_vmwrite((uint64_t)field, value)) {
        hv_panic(PANIC_VENDOR, "VMWRITE of 0x%" PRIx64 " to field 0x%x fails", value, (uint32_t)field);
    }
}

void vmx_write_primary(struct vmx_vcpu *vmx, uint32_t primary)
{
    if (primary != vmx->primary) {
        vmx->primary = primary;
        vmx_write(VMCS_PRIMARY_CONTROLS, primary);
    }
}

/* What is neither in struct vcpu nor loaded with it, after INIT or power-up. SDM 3A 10.1.1. */
void vmx_reset_state(struct vmx_vcpu *vmx)
{
    vmx_write(VMCS_GUEST_SYSENTER_CS, 0);
    vmx_write(VMCS_GUEST_SYSENTER_ESP, 0);
    vmx_write(VMCS_GUEST_SYSENTER_EIP, 0);
    vmx_write(VMCS_GUEST_DEBUGCTL, 0);
    vmx_write(VMCS_GUEST_PENDING_DEBUG, 0);
    vmx_write(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmx_write(VMCS_GUEST_ACTIVITY, 0);
    vmx_write(VMCS_ENTRY_EVENT, 0);
    vmx_write_primary(vmx, vmx->primary & ~(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW));
    vmx->had_nmi = 0;
    insn_wrmsr(MSR_STAR, 0);
    insn_wrmsr(MSR_LSTAR, 0);
    insn_wrmsr(MSR_CSTAR, 0);
    insn_wrmsr(MSR_SFMASK, 0);
    insn_wrmsr(MSR_KERNEL_GS_BASE, 0);
    if (vmx_features.tsc_aux) {
        insn_wrmsr(MSR_TSC_AUX, 0);
    }
    insn_write_dr6(DR6_RESET);
}

/* The nested tree's one change is flushed there (apic.c), so only translations of the guest's own tables can be old. */
void vmx_flush_translations(const struct vcpu *vcpu)
{
    const struct vmx_insn_descriptor vpid = {vcpu->guest->asid + vcpu->index, 0};
    const struct vmx_insn_descriptor none = {0, 0};

    if (!vmx_features.vpid) {
        return; /* each entry and exit flushes everything */
    }
    if ((vmx_features.caps.ept_vpid & VPID_CAP_SINGLE) != 0) {
        (void)vmx_insn_invvpid(INVVPID_SINGLE, &vpid);
    } else {
        (void)vmx_insn_invept(INVEPT_ALL, &none);
    }
}

static enum vmcs_field segment_field(enum vmcs_field of_es, uint32_t index)
{
    return (enum vmcs_field)((uint32_t)of_es + index * VMCS_SEGMENT_STRIDE);
}

static struct segment read_segment(uint32_t index)
{
    return (struct segment){
        .base = vmx_read(segment_field(VMCS_GUEST_ES_BASE, index)),
        .limit = (uint32_t)vmx_read(segment_field(VMCS_GUEST_ES_LIMIT, index)),
        .access = (uint32_t)vmx_read(segment_field(VMCS_GUEST_ES_ACCESS, index)),
        .selector = (uint16_t)vmx_read(segment_field(VMCS_GUEST_ES_SELECTOR, index)),
    };
}

static void write_segment(uint32_t index, const struct segment *segment)
{
    vmx_write(segment_field(VMCS_GUEST_ES_BASE, index), segment->base);
    vmx_write(segment_field(VMCS_GUEST_ES_LIMIT, index), segment->limit);
    vmx_write(segment_field(VMCS_GUEST_ES_ACCESS, index), segment->access);
    vmx_write(segment_field(VMCS_GUEST_ES_SELECTOR, index), segment->selector);
}

/* Owned bits of CR0 and CR4 come from the shadows, the others from the registers. SDM 3C 25.6.6. */
static uint64_t read_cr(enum vmcs_field actual, enum vmcs_field shadow, enum vmcs_field mask)
{
    uint64_t owned = vmx_read(mask);

    return (vmx_read(actual) & ~owned) | (vmx_read(shadow) & owned);
}

static uint64_t read_switched(const struct vcpu *vcpu, enum vmx_area_index index, enum vmcs_field field)
{
    const struct vmx_vcpu *vmx = vcpu->vendor;

    return vmx_features.msr_areas ? vmx->guest_msrs[index].value : vmx_read(field);
}

/* Under PAE paging the CPU takes the four top entries from the VMCS and not from memory, which the guest may have
 * changed since it loaded them. Without EPT it reads memory at each entry, and CPUs that have none do not have the
 * fields: then nothing is read or written. SDM 3C 27.3.2.4, 28.3.4; 3D B.2. */
static bool has_pdptes(const struct vcpu_system *system)
{
    return pae_is_on(system->cr0, system->cr4, system->efer);
}

static enum vmcs_field pdpte_field(uint32_t index)
{
    return (enum vmcs_field)(VMCS_GUEST_PDPTE0 + index * 2);
}

static void read_pdptes(struct vcpu_system *system)
{
    for (uint32_t i = 0; has_pdptes(system) && i < PAE_POINTERS; i++) {
        (void)vmx_insn_vmread((uint64_t)pdpte_field(i), &system->pae_pointers[i]);
    }
}

static void write_pdptes(const struct vcpu_system *system)
{
    for (uint32_t i = 0; has_pdptes(system) && i < PAE_POINTERS; i++) {
        (void)vmx_insn_vmwrite((uint64_t)pdpte_field(i), system->pae_pointers[i]);
    }
}

void vmx_read_system(struct vcpu *vcpu)
{
    struct vcpu_system *system = &vcpu->system;

    for (uint32_t i = 0; i < SEGMENT_COUNT; i++) {
        system->segments[i] = read_segment(i);
    }
    system->gdtr = (struct table_register){vmx_read(VMCS_GUEST_GDTR_BASE), (uint16_t)vmx_read(VMCS_GUEST_GDTR_LIMIT)};
    system->idtr = (struct table_register){vmx_read(VMCS_GUEST_IDTR_BASE), (uint16_t)vmx_read(VMCS_GUEST_IDTR_LIMIT)};
    system->cr0 = read_cr(VMCS_GUEST_CR0, VMCS_CR0_SHADOW, VMCS_CR0_MASK);
    system->cr2 = insn_read_cr2();
    system->cr3 = vmx_read(VMCS_GUEST_CR3);
    system->cr4 = read_cr(VMCS_GUEST_CR4, VMCS_CR4_SHADOW, VMCS_CR4_MASK);
    system->efer = read_switched(vcpu, VMX_AREA_EFER, VMCS_GUEST_EFER);
    read_pdptes(system);
    system->dr7 = vmx_read(VMCS_GUEST_DR7);
    system->cpl = (uint8_t)SEGMENT_DPL(system->segments[SEGMENT_SS].access);
    vcpu->msrs.pat = read_switched(vcpu, VMX_AREA_PAT, VMCS_GUEST_PAT);
}

void vmx_write_system(struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    const struct vcpu_system *system = &vcpu->system;
    uint32_t entry = (vmx->entry & ~ENTRY_IA32E) | ((system->efer & EFER_LMA) != 0 ? ENTRY_IA32E : 0);

    for (uint32_t i = 0; i < SEGMENT_COUNT; i++) {
        write_segment(i, &system->segments[i]);
    }
    vmx_write(VMCS_GUEST_GDTR_BASE, system->gdtr.base);
    vmx_write(VMCS_GUEST_GDTR_LIMIT, system->gdtr.limit);
    vmx_write(VMCS_GUEST_IDTR_BASE, system->idtr.base);
    vmx_write(VMCS_GUEST_IDTR_LIMIT, system->idtr.limit);
    vmx_write(VMCS_GUEST_CR0, (system->cr0 & ~CR0_HIDDEN) | CR0_NE);
    vmx_write(VMCS_CR0_SHADOW, system->cr0);
    vmx_write(VMCS_GUEST_CR3, system->cr3);
    vmx_write(VMCS_GUEST_CR4, system->cr4 | vmx_features.caps.cr4_fixed0 | CR4_MCE);
    vmx_write(VMCS_CR4_SHADOW, system->cr4);
    vmx_write_switched(vmx, VMX_AREA_EFER, VMCS_GUEST_EFER, system->efer);
    vmx_write(VMCS_GUEST_DR7, system->dr7);
    vmx_write_switched(vmx, VMX_AREA_PAT, VMCS_GUEST_PAT, vcpu->msrs.pat);
    insn_write_cr2(system->cr2);
    write_pdptes(system);
    vmx_write(VMCS_ENTRY_CONTROLS, entry);
    vmx->entry = entry;
}
