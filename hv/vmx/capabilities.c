/* SPDX-License-Identifier: MIT */
#include "hv/vmx/capabilities.h"

#include "hv/base/format.h"

/* IA32_VMX_BASIC. SDM 3D A.1. */
#define BASIC_REVISION 0x7fffffffULL
#define BASIC_REGION_SHIFT 32u
#define BASIC_REGION 0x1fffULL /* bytes of a VMCS */

/* Of Bochs: CPUs have other revisions, and regions of 1024 bytes. */
#define BOCHS_REVISION 0x2bu
#define BOCHS_REGION 4096u

/* IA32_VMX_EPT_VPID_CAP. SDM 3D A.10. */
#define EPT_CAP_EXECUTE_ONLY (1ULL << 0)
#define EPT_CAP_WALK_4 (1ULL << 6)
#define EPT_CAP_WRITE_BACK (1ULL << 14)
#define EPT_CAP_2M (1ULL << 16)
#define EPT_CAP_1G (1ULL << 17)
#define EPT_CAP_ACCESSED_DIRTY (1ULL << 21)
#define EPT_CAP_INVEPT_ALL (1ULL << 26)
#define VPID_CAP_ALL (1ULL << 32 | 0xfULL << 40) /* INVVPID, and its four types */

#define FEATURE_CONTROL_LOCK (1ULL << 0)
#define FEATURE_CONTROL_VMX (1ULL << 2)

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
    {PRIMARY_MSR_BITMAPS, "MSR bitmaps"},
};
static const struct control_feature required_exit[] = {
    {EXIT_HOST_64BIT, "64-bit host"},
    {EXIT_SAVE_DEBUG, "save debug controls"},
};
static const struct control_feature required_entry[] = {
    {ENTRY_LOAD_DEBUG, "load debug controls"},
};

#define OPTIONAL_PRIMARY (PRIMARY_TPR_SHADOW | PRIMARY_SECONDARY)
/* ENCLS and ENCLV, where the CPU has them, would make enclaves in a guest that sees no SGX. */
#define OPTIONAL_SECONDARY \
    (SECONDARY_RDTSCP | SECONDARY_VPID | SECONDARY_WBINVD | SECONDARY_INVPCID | SECONDARY_ENCLS | SECONDARY_ENCLV)

/* Guests with nested paging need both: their real mode has no tables. SDM 3C 27.2.1.1. */
#define NESTED_SECONDARY (SECONDARY_EPT | SECONDARY_UNRESTRICTED)

/* INVVPID of one VPID, without which a guest with shadow paging has none. SDM 3D A.10. */
#define VPID_CAP_SINGLE (1ULL << 41)

/* PAT and EFER are switched by these where the CPU has them all, by MSR areas otherwise. */
#define SWITCH_EXIT (EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER | EXIT_LOAD_EFER)
#define SWITCH_ENTRY (ENTRY_LOAD_PAT | ENTRY_LOAD_EFER)

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

    *control = 0;
    for (uint32_t i = 0; i < count; i++) {
        if ((allowed & rows[i].bit) == 0) {
            return say_missing(
                support,
                "this CPU's VMX lacks a feature that Plinth needs (use a Core 2 or a later CPU): ", rows[i].name);
        }
        *control |= rows[i].bit;
    }
    *control |= (uint32_t)capability;
    return true;
}

static bool find_required(struct vmx_features *features, struct virt_support *support)
{
    const struct vmx_entry_caps *caps = &features->caps;

    return require(support, caps->pin, required_pin, ARRAY_COUNT(required_pin), &features->pin) &&
           require(support, caps->primary, required_primary, ARRAY_COUNT(required_primary), &features->primary) &&
           require(support, caps->exit, required_exit, ARRAY_COUNT(required_exit), &features->exit) &&
           require(support, caps->entry, required_entry, ARRAY_COUNT(required_entry), &features->entry);
}

static void find_optional(struct vmx_features *features)
{
    uint32_t primary = (uint32_t)(features->caps.primary >> 32);
    bool has_secondary = (primary & PRIMARY_SECONDARY) != 0;
    uint32_t secondary = has_secondary ? (uint32_t)(features->caps.secondary >> 32) : 0;

    features->msr_areas = (features->caps.exit >> 32 & SWITCH_EXIT) != SWITCH_EXIT ||
                          (features->caps.entry >> 32 & SWITCH_ENTRY) != SWITCH_ENTRY;
    features->exit |= features->msr_areas ? 0 : SWITCH_EXIT;
    features->entry |= features->msr_areas ? 0 : SWITCH_ENTRY;
    features->primary |= primary & OPTIONAL_PRIMARY;
    features->secondary = (secondary & OPTIONAL_SECONDARY) | (has_secondary ? (uint32_t)features->caps.secondary : 0);
    features->shadow_secondary = ~(NESTED_SECONDARY | SECONDARY_INVPCID);
    features->shadow_secondary &= (features->caps.ept_vpid & VPID_CAP_SINGLE) != 0 ? ~0u : ~SECONDARY_VPID;
    features->tpr_shadow = (features->primary & PRIMARY_TPR_SHADOW) != 0;
    features->vpid = (features->secondary & SECONDARY_VPID) != 0;
    features->pause_loop = (secondary & SECONDARY_PAUSE_LOOP) != 0;
    features->virtual_apic = features->tpr_shadow && (secondary & SECONDARY_VIRTUAL_X2APIC) == SECONDARY_VIRTUAL_X2APIC;
    features->virtual_xapic = features->virtual_apic && (secondary & SECONDARY_APIC_ACCESSES) != 0;
    features->preemption_timer = !features->timer_is_broken && (features->caps.pin >> 32 & PIN_PREEMPTION_TIMER) != 0 &&
                                 (features->caps.exit >> 32 & EXIT_SAVE_TIMER) != 0;
    features->primary |= features->tpr_shadow ? 0 : PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE;
}

/* What lacks for nested paging, or NULL. */
static const char *missing_for_nested(const struct vmx_features *features)
{
    uint64_t caps = features->caps.ept_vpid;
    uint32_t secondary = (uint32_t)(features->caps.secondary >> 32);

    if ((features->primary & PRIMARY_SECONDARY) == 0 || (secondary & SECONDARY_EPT) == 0) {
        return "EPT";
    }
    if ((secondary & SECONDARY_UNRESTRICTED) == 0) {
        return "unrestricted guest";
    }
    if ((caps & EPT_CAP_WALK_4) == 0 || (caps & EPT_CAP_WRITE_BACK) == 0 || (caps & EPT_CAP_2M) == 0 ||
        (caps & EPT_CAP_INVEPT_ALL) == 0) {
        return "EPT with 4-level walks, write-back tables, 2 MiB pages and INVEPT";
    }
    if ((features->primary & (PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE)) != 0) {
        return "EPT without exits for CR3";
    }
    return NULL;
}

/* The nested tree is built, and audited, also where the CPU walks shadow tables: of 2 MiB leaves then. */
static void find_nested(struct vmx_features *features, struct virt_support *support)
{
    uint64_t caps = features->caps.ept_vpid;

    support->nested_paging = missing_for_nested(features) == NULL;
    features->secondary |= support->nested_paging ? NESTED_SECONDARY : 0;
    support->format = &page_table_ept4;
    support->caps = (struct page_table_caps){
        .largest_leaf = (caps & EPT_CAP_1G) != 0 ? LEVEL_1G : LEVEL_2M,
        .physical_bits = features->caps.physical_bits,
        .execute_only = (caps & EPT_CAP_EXECUTE_ONLY) != 0,
        .accessed_dirty = (caps & EPT_CAP_ACCESSED_DIRTY) != 0,
    };
}

static enum emulator find_emulator(uint64_t basic)
{
    bool bochs =
        (basic & BASIC_REVISION) == BOCHS_REVISION && (basic >> BASIC_REGION_SHIFT & BASIC_REGION) == BOCHS_REGION;

    return bochs ? EMULATOR_BOCHS : EMULATOR_NONE;
}

static void describe(const struct vmx_features *features, struct virt_support *support)
{
    bool gib_pages = support->caps.largest_leaf == LEVEL_1G;
    bool vpid = features->vpid;
    bool tpr = features->tpr_shadow;

    const char *missing = missing_for_nested(features);

    format_text(support->used, sizeof(support->used), "Intel VMX with %s%s%s%s%s%s",
                support->nested_paging ? "EPT, unrestricted guest" : "shadow paging", gib_pages ? ", 1 GiB pages" : "",
                vpid ? ", VPID" : "", tpr ? ", TPR shadow" : "", features->virtual_apic ? ", virtual APIC" : "",
                support->caps.accessed_dirty ? ", accessed/dirty bits" : "");
    format_text(support->without, sizeof(support->without), "%s%s%s%s%s%s%s", missing == NULL ? "" : missing,
                missing == NULL ? "" : " (shadow tables instead, more exits); ",
                gib_pages ? "" : "1 GiB pages (2 MiB pages instead, more tables); ",
                vpid ? "" : "VPID (each entry flushes the TLB); ", tpr ? "" : "TPR shadow (CR8 accesses exit); ",
                features->virtual_apic ? "" : "virtual APIC (EOI and interrupt windows exit); ",
                features->msr_areas ? "PAT and EFER controls (MSR areas instead); " : "");
}

bool vmx_capabilities_find(struct vmx_features *features, struct virt_support *support)
{
    features->revision = (uint32_t)(features->caps.basic & BASIC_REVISION);
    if (!find_required(features, support)) {
        return false;
    }
    find_optional(features);
    find_nested(features, support);
    support->vendor = VIRT_VMX;
    support->emulator = find_emulator(features->caps.basic);
    support->passes_deadline = features->preemption_timer;
    support->apic_page = features->virtual_xapic && support->nested_paging;
    describe(features, support);
    return true;
}

/* What of IA32_VMX_BASIC anything depends on: revision, size and memory type of a VMCS, the width of its addresses,
 * what exits for INS and OUTS tell. Not the MSRs with exact controls, or dual-monitor treatment. SDM 3D A.1. */
#define BASIC_ADDRESS_32 (1ULL << 48)
#define BASIC_MEMORY_TYPE (0xfULL << 50)
#define BASIC_STRING_IO (1ULL << 54)
#define BASIC_USED \
    (BASIC_REVISION | BASIC_REGION << BASIC_REGION_SHIFT | BASIC_ADDRESS_32 | BASIC_MEMORY_TYPE | BASIC_STRING_IO)

/* CR4 bits that are not announced by a CPUID feature: those that are go by the guest's own CPUID. */
#define CR4_PLAIN 0x27ffULL /* VME to OSXMMEXCPT, VMXE */

/* A control word of the boot CPU as another would have it: without what that may not, with what that must have. */
static uint64_t fitted(uint64_t control, uint64_t capability)
{
    return (control & capability >> 32) | (uint32_t)capability;
}

/* What of IA32_VMX_EPT_VPID_CAP is used. */
static uint64_t used_ept(const struct vmx_features *features)
{
    uint64_t used = EPT_CAP_WALK_4 | EPT_CAP_WRITE_BACK | EPT_CAP_2M | EPT_CAP_1G | EPT_CAP_INVEPT_ALL |
                    EPT_CAP_EXECUTE_ONLY | EPT_CAP_ACCESSED_DIRTY;

    return features->caps.ept_vpid & (used | (features->vpid ? VPID_CAP_ALL : 0));
}

bool vmx_capabilities_alike(const struct vmx_features *boot, const struct vmx_entry_caps *here, char *why,
                            size_t why_bytes)
{
    uint32_t secondary = boot->secondary | (boot->virtual_apic ? SECONDARY_VIRTUAL_X2APIC : 0) |
                         (boot->virtual_xapic ? SECONDARY_APIC_ACCESSES : 0) |
                         (boot->pause_loop ? SECONDARY_PAUSE_LOOP : 0);
    uint32_t pin = boot->pin | (boot->preemption_timer ? PIN_PREEMPTION_TIMER : 0);
    uint32_t exit = boot->exit | (boot->preemption_timer ? EXIT_SAVE_TIMER : 0);
    uint64_t rate = boot->preemption_timer ? VMX_MISC_TIMER_RATE : 0;
    uint64_t ept = used_ept(boot);
    uint64_t cr4 = boot->caps.cr4_fixed1 & CR4_PLAIN;
    const struct virt_word words[] = {
        {"revision and VMCS format (IA32_VMX_BASIC)", boot->caps.basic & BASIC_USED, here->basic & BASIC_USED},
        {"pin-based controls", pin, fitted(pin, here->pin)},
        {"primary controls", boot->primary, fitted(boot->primary, here->primary)},
        {"I/O bitmaps", boot->caps.primary >> 32 & PRIMARY_IO_BITMAPS,
         boot->caps.primary & here->primary & (uint64_t)PRIMARY_IO_BITMAPS << 32 ? PRIMARY_IO_BITMAPS : 0},
        {"secondary controls", secondary, fitted(secondary, here->secondary)},
        {"exit controls", exit, fitted(exit, here->exit)},
        {"entry controls", boot->entry, fitted(boot->entry, here->entry)},
        {"the preemption timer's rate", boot->caps.misc & rate, here->misc & rate},
        {"EPT and VPID", ept, ept & here->ept_vpid},
        {"CR0 bits that must be set", boot->caps.cr0_fixed0, here->cr0_fixed0},
        {"CR0 bits that may be set", boot->caps.cr0_fixed1, boot->caps.cr0_fixed1 & here->cr0_fixed1},
        {"CR4 bits that must be set", boot->caps.cr4_fixed0, here->cr4_fixed0},
        {"CR4 bits that may be set", cr4, cr4 & here->cr4_fixed1},
        {"physical address bits", boot->caps.physical_bits, here->physical_bits},
        {"linear address bits", boot->caps.linear_bits, here->linear_bits},
    };

    return virt_words_alike("VMX", words, ARRAY_COUNT(words), why, why_bytes);
}

enum vmx_lock vmx_capabilities_lock(uint64_t feature_control)
{
    if ((feature_control & FEATURE_CONTROL_LOCK) == 0) {
        return VMX_LOCK_OPEN;
    }
    return (feature_control & FEATURE_CONTROL_VMX) != 0 ? VMX_LOCK_ON : VMX_LOCK_OFF;
}

uint64_t vmx_capabilities_lock_value(uint64_t feature_control)
{
    return feature_control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX;
}
