/*
 * Features one by one: what is required fails closed with its name and a remedy, what is optional is listed with what
 * changes without it. SDM 3D appendix A "VMX Capability Reporting Facility".
 *
 * A control word is what we want, plus what the CPU insists on, and nothing that it does not have: the low half of a
 * capability MSR holds the bits that must be 1, the high half those that may be.
 */
#include "hv/vmx/vmx.h"

#include "hv/base/format.h"
#include "hv/cpu.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* SDM 3D A.1 to A.10. */
#define MSR_VMX_BASIC 0x480u
#define MSR_VMX_PIN 0x481u
#define MSR_VMX_PRIMARY 0x482u
#define MSR_VMX_EXIT 0x483u
#define MSR_VMX_ENTRY 0x484u
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
#define VMX_BASIC_REVISION 0x7fffffffu
#define VMX_BASIC_TRUE_CONTROLS (1ULL << 55)

/* IA32_VMX_EPT_VPID_CAP. SDM 3D A.10. */
#define EPT_CAP_EXECUTE_ONLY (1ULL << 0)
#define EPT_CAP_WALK_4 (1ULL << 6)
#define EPT_CAP_WRITE_BACK (1ULL << 14)
#define EPT_CAP_2M (1ULL << 16)
#define EPT_CAP_1G (1ULL << 17)
#define EPT_CAP_INVEPT (1ULL << 20)
#define EPT_CAP_ACCESSED_DIRTY (1ULL << 21)
#define EPT_CAP_INVEPT_ALL (1ULL << 26)
#define EPT_CAP_INVVPID (1ULL << 32)
#define EPT_CAP_INVVPID_SINGLE (1ULL << 41)
#define EPT_CAP_INVVPID_ALL (1ULL << 42)

/* IA32_FEATURE_CONTROL. SDM 3C 23.7 "Enabling and Entering VMX Operation". */
#define FEATURE_CONTROL_LOCK (1ULL << 0)
#define FEATURE_CONTROL_VMX (1ULL << 2)

#define CPUID_81_EDX_RDTSCP (1u << 27)

struct vmx_features vmx_features;

struct control_feature {
    uint32_t bit;
    const char *name;
};

static const struct control_feature required_pin[] = {
    {PIN_EXTERNAL_INTERRUPT, "external-interrupt exiting"},
    {PIN_NMI, "NMI exiting"},
    {PIN_VIRTUAL_NMI, "virtual NMIs"},
};
static const struct control_feature required_primary[] = {
    {PRIMARY_TSC_OFFSET, "TSC offsetting"}, {PRIMARY_HLT, "HLT exiting"},
    {PRIMARY_MWAIT, "MWAIT exiting"},       {PRIMARY_MONITOR, "MONITOR exiting"},
    {PRIMARY_RDPMC, "RDPMC exiting"},       {PRIMARY_UNCONDITIONAL_IO, "unconditional I/O exiting"},
    {PRIMARY_MSR_BITMAPS, "MSR bitmaps"},   {PRIMARY_SECONDARY, "secondary controls"},
};
static const struct control_feature required_secondary[] = {
    {SECONDARY_EPT, "EPT (extended page tables)"},
    {SECONDARY_UNRESTRICTED, "unrestricted guest"},
};
static const struct control_feature required_exit[] = {
    {EXIT_HOST_64BIT, "64-bit host"}, {EXIT_SAVE_PAT, "save PAT"},   {EXIT_LOAD_PAT, "load PAT"},
    {EXIT_SAVE_EFER, "save EFER"},    {EXIT_LOAD_EFER, "load EFER"}, {EXIT_SAVE_DEBUG, "save debug controls"},
};
static const struct control_feature required_entry[] = {
    {ENTRY_LOAD_PAT, "load PAT at entry"},
    {ENTRY_LOAD_EFER, "load EFER at entry"},
    {ENTRY_LOAD_DEBUG, "load debug controls"},
};

#define OPTIONAL_PRIMARY PRIMARY_TPR_SHADOW
#define OPTIONAL_SECONDARY (SECONDARY_RDTSCP | SECONDARY_VPID | SECONDARY_WBINVD | SECONDARY_INVPCID)

static bool say_missing(struct virt_support *support, const char *form, const char *name)
{
    support->vendor = VIRT_NONE;
    format_text(support->missing, sizeof(support->missing), "%s%s", form, name);
    return false;
}

/* All rows of a table, or the sentence that names the first one that the CPU lacks. */
static bool require(struct virt_support *support, uint64_t capability, const struct control_feature *rows,
                    uint32_t count, uint32_t *control)
{
    uint32_t allowed = (uint32_t)(capability >> 32);

    for (uint32_t i = 0; i < count; i++) {
        if ((allowed & rows[i].bit) == 0) {
            return say_missing(
                support,
                "this CPU's VMX lacks a feature that Plinth needs (use a Core i from 2010 or later): ", rows[i].name);
        }
        *control |= rows[i].bit;
    }
    *control |= (uint32_t)capability;
    return true;
}

static bool find_controls(struct virt_support *support)
{
    struct vmx_features *features = &vmx_features;
    bool exact = (insn_rdmsr(MSR_VMX_BASIC) & VMX_BASIC_TRUE_CONTROLS) != 0;
    uint64_t primary = insn_rdmsr(exact ? MSR_VMX_TRUE_PRIMARY : MSR_VMX_PRIMARY);
    uint64_t secondary;

    if (!require(support, insn_rdmsr(exact ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN), required_pin, ARRAY_COUNT(required_pin),
                 &features->pin) ||
        !require(support, primary, required_primary, ARRAY_COUNT(required_primary), &features->primary)) {
        return false;
    }
    secondary = insn_rdmsr(MSR_VMX_SECONDARY);
    if (!require(support, secondary, required_secondary, ARRAY_COUNT(required_secondary), &features->secondary) ||
        !require(support, insn_rdmsr(exact ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT), required_exit,
                 ARRAY_COUNT(required_exit), &features->exit) ||
        !require(support, insn_rdmsr(exact ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY), required_entry,
                 ARRAY_COUNT(required_entry), &features->entry)) {
        return false;
    }
    if ((features->primary & (PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE)) != 0) {
        return say_missing(support, "this CPU's VMX insists on exits for CR3; use a Core i from 2010 or later", "");
    }
    features->primary |= (uint32_t)(primary >> 32) & OPTIONAL_PRIMARY;
    features->secondary |= (uint32_t)(secondary >> 32) & OPTIONAL_SECONDARY;
    features->tpr_shadow = (features->primary & PRIMARY_TPR_SHADOW) != 0;
    features->vpid = (features->secondary & SECONDARY_VPID) != 0;
    features->primary |= features->tpr_shadow ? 0 : PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE;
    return true;
}

static bool find_ept(struct virt_support *support)
{
    uint64_t caps = insn_rdmsr(MSR_VMX_EPT_VPID);

    vmx_features.ept_vpid_caps = caps;
    if ((caps & EPT_CAP_WALK_4) == 0 || (caps & EPT_CAP_WRITE_BACK) == 0 || (caps & EPT_CAP_2M) == 0 ||
        (caps & EPT_CAP_INVEPT_ALL) == 0) {
        return say_missing(
            support, "this CPU's EPT lacks 4-level walks, write-back tables, 2 MiB pages or INVEPT; use a newer CPU",
            "");
    }
    support->format = &page_table_ept4;
    support->caps = (struct page_table_caps){
        .largest_leaf = (caps & EPT_CAP_1G) != 0 ? LEVEL_1G : LEVEL_2M,
        .physical_bits = (uint8_t)(insn_cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff),
        .execute_only = (caps & EPT_CAP_EXECUTE_ONLY) != 0,
        .accessed_dirty = (caps & EPT_CAP_ACCESSED_DIRTY) != 0,
    };
    return true;
}

static void describe(struct virt_support *support)
{
    bool gib_pages = support->caps.largest_leaf == LEVEL_1G;
    bool vpid = vmx_features.vpid;
    bool tpr = vmx_features.tpr_shadow;

    format_text(support->used, sizeof(support->used), "Intel VMX with EPT, unrestricted guest%s%s%s%s",
                gib_pages ? ", 1 GiB pages" : "", vpid ? ", VPID" : "", tpr ? ", TPR shadow" : "",
                support->caps.accessed_dirty ? ", accessed/dirty bits" : "");
    format_text(support->without, sizeof(support->without), "%s%s%s",
                gib_pages ? "" : "1 GiB pages (2 MiB pages instead, more tables); ",
                vpid ? "" : "VPID (each entry flushes the TLB); ", tpr ? "" : "TPR shadow (CR8 accesses exit); ");
}

bool vmx_detect(struct virt_support *support)
{
    uint64_t control;

    if ((insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_VMX) == 0) {
        return say_missing(
            support,
            "this CPU has no VMX (Intel VT-x), or the firmware hides it; switch on VT-x in the firmware set-up", "");
    }
    control = insn_rdmsr(MSR_FEATURE_CONTROL);
    if ((control & FEATURE_CONTROL_LOCK) != 0 && (control & FEATURE_CONTROL_VMX) == 0) {
        return say_missing(
            support, "VMX is locked off by the firmware (IA32_FEATURE_CONTROL); switch on VT-x in the firmware set-up",
            "");
    }
    vmx_features = (struct vmx_features){
        .revision = (uint32_t)insn_rdmsr(MSR_VMX_BASIC) & VMX_BASIC_REVISION,
        .cr0_fixed0 = insn_rdmsr(MSR_VMX_CR0_FIXED0),
        .cr0_fixed1 = insn_rdmsr(MSR_VMX_CR0_FIXED1),
        .cr4_fixed0 = insn_rdmsr(MSR_VMX_CR4_FIXED0),
        .cr4_fixed1 = insn_rdmsr(MSR_VMX_CR4_FIXED1),
        .tsc_aux = (insn_cpuid(CPUID_EXTENDED_1, 0).edx & CPUID_81_EDX_RDTSCP) != 0,
    };
    if (!find_controls(support) || !find_ept(support)) {
        return false;
    }
    support->vendor = VIRT_VMX;
    describe(support);
    return true;
}

uint64_t vmx_cpu_bytes(void)
{
    return sizeof(struct vmx_cpu);
}

uint64_t vmx_vcpu_bytes(void)
{
    return sizeof(struct vmx_vcpu);
}

/* Some boards leave the MSR open; then VMX is switched on and locked here, as their firmware should have done. */
static bool unlock(const char **sentence)
{
    uint64_t control = insn_rdmsr(MSR_FEATURE_CONTROL);

    if ((control & FEATURE_CONTROL_LOCK) == 0) {
        insn_wrmsr(MSR_FEATURE_CONTROL, control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
        return true;
    }
    if ((control & FEATURE_CONTROL_VMX) == 0) {
        *sentence = "VMX is locked off by the firmware (IA32_FEATURE_CONTROL); switch on VT-x in the firmware set-up";
        return false;
    }
    return true;
}

bool vmx_enable(struct cpu *cpu, void *memory, const char **sentence)
{
    struct vmx_cpu *vmx = memory;

    if (!unlock(sentence)) {
        return false;
    }
    vmx->revision = vmx_features.revision;
    insn_write_cr0((insn_read_cr0() | vmx_features.cr0_fixed0) & vmx_features.cr0_fixed1);
    insn_write_cr4((insn_read_cr4() | vmx_features.cr4_fixed0) & vmx_features.cr4_fixed1);
    if (!vmx_insn_vmxon((uint64_t)(uintptr_t)vmx)) {
        *sentence = "VMXON fails; report the CPU's model";
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
