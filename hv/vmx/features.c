/* SPDX-License-Identifier: MIT */
/*
 * Reading what this CPU has (capabilities.c says what that means), and switching VMX on and off.
 * SDM 3C 24.7 "Enabling and Entering VMX Operation".
 */
#include "hv/vmx/vmx.h"

#include "hv/base/format.h"
#include "hv/host/cpu.h"
#include "hv/host/cpu_errata.h"
#include "hv/host/host_cpu.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* SDM 3D A.1 to A.10. */
#define MSR_VMX_BASIC 0x480u
#define MSR_VMX_PIN 0x481u
#define MSR_VMX_PRIMARY 0x482u
#define MSR_VMX_EXIT 0x483u
#define MSR_VMX_ENTRY 0x484u
#define MSR_VMX_MISC 0x485u
#define MSR_VMX_CR0_FIXED0 0x486u
#define MSR_VMX_CR0_FIXED1 0x487u
#define MSR_VMX_CR4_FIXED0 0x488u
#define MSR_VMX_CR4_FIXED1 0x489u
#define MSR_VMX_SECONDARY 0x48bu
#define MSR_VMX_EPT_VPID 0x48cu
#define MSR_VMX_TRUE_PIN 0x48du
#define MSR_VMX_TRUE_PRIMARY 0x48eu
#define MSR_VMX_TRUE_EXIT 0x48fu
#define MSR_VMX_TRUE_ENTRY 0x490u
#define VMX_BASIC_TRUE_CONTROLS (1ULL << 55)

#define CPUID_7_ECX_LA57 (1u << 16)

struct vmx_features vmx_features;

static const char no_vmx[] =
    "this CPU has no VMX (Intel VT-x), or the firmware hides it; switch on VT-x in the firmware set-up";
static const char locked_off[] =
    "VMX is locked off by the firmware (IA32_FEATURE_CONTROL); switch on VT-x in the firmware set-up";

/* An MSR is read only where the one that announces it says that it is there. */
static struct vmx_entry_caps read_words(void)
{
    uint64_t basic = insn_rdmsr(MSR_VMX_BASIC);
    bool exact = (basic & VMX_BASIC_TRUE_CONTROLS) != 0;
    struct vmx_entry_caps caps = {
        .basic = basic,
        .pin = insn_rdmsr(exact ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN),
        .primary = insn_rdmsr(exact ? MSR_VMX_TRUE_PRIMARY : MSR_VMX_PRIMARY),
        .exit = insn_rdmsr(exact ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT),
        .entry = insn_rdmsr(exact ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY),
        .cr0_fixed0 = insn_rdmsr(MSR_VMX_CR0_FIXED0),
        .cr0_fixed1 = insn_rdmsr(MSR_VMX_CR0_FIXED1),
        .cr4_fixed0 = insn_rdmsr(MSR_VMX_CR4_FIXED0),
        .cr4_fixed1 = insn_rdmsr(MSR_VMX_CR4_FIXED1),
        .misc = insn_rdmsr(MSR_VMX_MISC),
        .physical_bits = (uint8_t)(insn_cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff),
        .linear_bits = 48,
    };

    if ((caps.primary >> 32 & PRIMARY_SECONDARY) != 0) {
        caps.secondary = insn_rdmsr(MSR_VMX_SECONDARY);
    }
    if ((caps.secondary >> 32 & (SECONDARY_EPT | SECONDARY_VPID)) != 0) {
        caps.ept_vpid = insn_rdmsr(MSR_VMX_EPT_VPID);
    }
    if (insn_cpuid(CPUID_VENDOR, 0).eax >= CPUID_EXTENDED_FEATURES &&
        (insn_cpuid(CPUID_EXTENDED_FEATURES, 0).ecx & CPUID_7_ECX_LA57) != 0) {
        caps.linear_bits = 57;
    }
    return caps;
}

bool vmx_detect(struct virt_support *support)
{
    const struct cpu_identity identity = host_cpu_identity();

    if ((insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_VMX) == 0) {
        format_text(support->missing, sizeof(support->missing), "%s", no_vmx);
        return false;
    }
    if (vmx_capabilities_lock(insn_rdmsr(MSR_FEATURE_CONTROL)) == VMX_LOCK_OFF) {
        format_text(support->missing, sizeof(support->missing), "%s", locked_off);
        return false;
    }
    vmx_features = (struct vmx_features){
        .caps = read_words(),
        .tsc_aux = (insn_cpuid(CPUID_EXTENDED_1, 0).edx & CPUID_81_EDX_RDTSCP) != 0,
        .gib_pages = (insn_cpuid(CPUID_EXTENDED_1, 0).edx & CPUID_81_EDX_GIB_PAGES) != 0,
        .timer_is_broken = cpu_errata_preemption_timer(&identity),
    };
    return vmx_capabilities_find(&vmx_features, support);
}

uint64_t vmx_cpu_bytes(void)
{
    return sizeof(struct vmx_cpu);
}

uint64_t vmx_vcpu_bytes(void)
{
    return sizeof(struct vmx_vcpu);
}

static bool unlock(struct cpu *cpu)
{
    uint64_t control = insn_rdmsr(MSR_FEATURE_CONTROL);

    switch (vmx_capabilities_lock(control)) {
    case VMX_LOCK_OPEN:
        insn_wrmsr(MSR_FEATURE_CONTROL, vmx_capabilities_lock_value(control));
        return true;
    case VMX_LOCK_ON:
        return true;
    case VMX_LOCK_OFF:
        format_text(cpu->why, sizeof(cpu->why), "%s", locked_off);
        return false;
    }
    return false;
}

bool vmx_enable(struct cpu *cpu, void *memory)
{
    const struct vmx_entry_caps *caps = &vmx_features.caps;
    struct vmx_entry_caps here;
    struct vmx_cpu *vmx = memory;

    if ((insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_VMX) == 0) {
        format_text(cpu->why, sizeof(cpu->why), "%s", no_vmx);
        return false;
    }
    here = read_words();
    if (!unlock(cpu) || !vmx_capabilities_alike(&vmx_features, &here, cpu->why, sizeof(cpu->why))) {
        return false;
    }
    vmx->revision = vmx_features.revision;
    insn_write_cr0((insn_read_cr0() | caps->cr0_fixed0) & caps->cr0_fixed1);
    insn_write_cr4((insn_read_cr4() | caps->cr4_fixed0) & caps->cr4_fixed1);
    if (!vmx_insn_vmxon((uint64_t)(uintptr_t)vmx)) {
        format_text(cpu->why, sizeof(cpu->why), "VMXON fails; report the CPU's model");
        return false;
    }
    cpu->vendor = vmx;
    return true;
}

void vmx_disable(struct cpu *cpu)
{
    if (cpu->vendor != NULL) {
        cpu->vendor = NULL;
        vmx_insn_vmxoff();
        insn_write_cr4(insn_read_cr4() & ~CR4_VMXE);
    }
}
