/* SPDX-License-Identifier: MIT */
/* The choice, and the one comparison. */
#include "hv/virt/virt.h"

#include "hv/base/format.h"
#include "hv/svm/svm.h"
#include "hv/vmx/vmx.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* CPUID leaf 0: "GenuineIntel" in EBX EDX ECX. SDM 2A "CPUID"; "HygonGenuine" and "AuthenticAMD" have SVM. */

static enum virt_vendor virt_vendor;

bool virt_detect(struct virt_support *support)
{
    uint32_t vendor = insn_cpuid(0, 0).ebx;
    bool found;

    *support = (struct virt_support){.vendor = VIRT_NONE};
    if (vendor == VENDOR_AMD_EBX || vendor == VENDOR_HYGON_EBX) {
        found = svm_detect(support);
    } else if (vendor == VENDOR_INTEL_EBX || vendor == VENDOR_CENTAUR_EBX || vendor == VENDOR_ZHAOXIN_EBX) {
        found = vmx_detect(support);
    } else {
        format_text(
            support->missing, sizeof(support->missing),
            "this CPU's maker (CPUID leaf 0, EBX 0x%x) is not known to have VMX or SVM; use an Intel or AMD CPU",
            vendor);
        found = false;
    }
    virt_vendor = support->vendor;
    return found;
}

uint64_t virt_cpu_bytes(void)
{
    return virt_vendor == VIRT_VMX ? vmx_cpu_bytes() : svm_cpu_bytes();
}

uint64_t virt_vcpu_bytes(void)
{
    return virt_vendor == VIRT_VMX ? vmx_vcpu_bytes() : svm_vcpu_bytes();
}

bool virt_enable(struct cpu *cpu, void *memory)
{
    return virt_vendor == VIRT_VMX ? vmx_enable(cpu, memory) : svm_enable(cpu, memory);
}

void virt_disable(struct cpu *cpu)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_disable(cpu);
    } else {
        svm_disable(cpu);
    }
}

void virt_vcpu_init(struct vcpu *vcpu, void *memory, const struct page_table *nested)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_vcpu_init(vcpu, memory, nested);
    } else {
        svm_vcpu_init(vcpu, memory, nested);
    }
}

void virt_vcpu_shadow(struct vcpu *vcpu, void *memory, uint32_t tables, enum page_level largest)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_vcpu_shadow(vcpu, memory, tables, largest);
    } else {
        svm_vcpu_shadow(vcpu, memory, tables, largest);
    }
}

void virt_vcpu_load(struct cpu *cpu, struct vcpu *vcpu)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_vcpu_load(cpu, vcpu);
    } else {
        svm_vcpu_load(cpu, vcpu);
    }
}

void virt_vcpu_put(struct cpu *cpu, struct vcpu *vcpu)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_vcpu_put(cpu, vcpu);
    } else {
        svm_vcpu_put(cpu, vcpu);
    }
}

void virt_read_system(struct vcpu *vcpu)
{
    if (virt_vendor == VIRT_VMX) {
        ((const struct vmx_vcpu *)vcpu->vendor)->read_system(vcpu);
    } else {
        svm_read_system(vcpu);
    }
}

bool virt_pass_timer(struct cpu *cpu, struct vcpu *vcpu, uint64_t end, uint64_t now)
{
    return virt_vendor == VIRT_VMX && vmx_timer_pass(cpu, vcpu, end, now);
}

void virt_take_timer(struct cpu *cpu, struct vcpu *vcpu)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_timer_take(cpu, vcpu);
    }
}

void virt_late_timer(struct vcpu *vcpu)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_timer_late(vcpu);
    }
}

void virt_run(struct cpu *cpu, struct vcpu *vcpu)
{
    if (virt_vendor == VIRT_VMX) {
        vmx_run(cpu, vcpu);
    } else {
        svm_run(cpu, vcpu);
    }
}
