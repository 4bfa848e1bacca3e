/* SPDX-License-Identifier: MIT */
#include "hv/host/host_cpu.h"

#include "hv/base/memory.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* IA32_MTRRCAP. SDM 3A 12.11.1, figure 12-5. */
#define MTRR_CAP_COUNT 0xffULL
#define MTRR_CAP_FIXED (1ULL << 8)

#define PHYSICAL_BITS_DEFAULT 36u
#define VENDOR_AMD_EBX 0x68747541u   /* "Auth" */
#define VENDOR_HYGON_EBX 0x6f677948u /* "Hygo" */

static uint32_t highest_extended_leaf(void)
{
    return insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax;
}

void host_cpu_name(char name[HOST_CPU_NAME_BYTES])
{
    size_t start = 0;
    size_t length;

    memset(name, 0, HOST_CPU_NAME_BYTES);
    for (uint32_t leaf = CPUID_BRAND_FIRST; leaf <= CPUID_BRAND_LAST && leaf <= highest_extended_leaf(); leaf++) {
        struct cpuid_result words = insn_cpuid(leaf, 0);

        memcpy(name + (size_t)(leaf - CPUID_BRAND_FIRST) * sizeof(words), &words, sizeof(words));
    }
    while (name[start] == ' ') {
        start++;
    }
    memmove(name, name + start, HOST_CPU_NAME_BYTES - start);
    for (length = 0; name[length] != '\0'; length++) {
    }
    while (length > 0 && name[length - 1] == ' ') {
        name[--length] = '\0';
    }
}

bool host_cpu_is_virtual(void)
{
    return (insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_HYPERVISOR) != 0;
}

static uint8_t physical_bits(void)
{
    if (highest_extended_leaf() < CPUID_ADDRESS_SIZES) {
        return PHYSICAL_BITS_DEFAULT;
    }
    return (uint8_t)(insn_cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff);
}

/* Intel: the register has the revision after a 0 was written there and CPUID 1 was run; AMD: it always has. SDM 4 2.1,
 * table 2-2, IA32_BIOS_SIGN_ID. */
static uint32_t microcode_of(bool is_intel)
{
    uint64_t value = 0;

    if (is_intel && insn_wrmsr_safe(MSR_MICROCODE, 0)) {
        (void)insn_cpuid(CPUID_FEATURES, 0);
    }
    if (!insn_rdmsr_safe(MSR_MICROCODE, &value)) {
        return 0;
    }
    return (uint32_t)(is_intel ? value >> 32 : value);
}

struct cpu_identity host_cpu_identity(void)
{
    struct cpu_identity identity = {
        .is_intel = insn_cpuid(CPUID_VENDOR, 0).ebx == VENDOR_INTEL_EBX,
        .is_virtual = host_cpu_is_virtual(),
    };

    cpu_identity_decode(&identity, insn_cpuid(CPUID_FEATURES, 0).eax);
    identity.microcode = microcode_of(identity.is_intel);
    return identity;
}

/* "Revision Guide for AMD Family 10h Processors", erratum 383: with bit 47 of DC_CFG two matches are a machine check
 * that a guest's end answers (machine_check_judge.h), and not a hang. */
#define MSR_AMD_DC_CFG 0xc0011022u
#define AMD_DC_CFG_MULTIMATCH (1ULL << 47)

bool host_cpu_apply_errata(void)
{
    const struct cpu_identity identity = host_cpu_identity();
    uint64_t value;

    if (cpu_errata_tlb_multimatch(&identity) && insn_rdmsr_safe(MSR_AMD_DC_CFG, &value)) {
        (void)insn_wrmsr_safe(MSR_AMD_DC_CFG, value | AMD_DC_CFG_MULTIMATCH);
    }
    if (!cpu_errata_c1e(&identity) || !insn_rdmsr_safe(MSR_AMD_INTERRUPT_PENDING, &value) ||
        (value & AMD_INTERRUPT_PENDING_C1E) == 0) {
        return false;
    }
    return insn_wrmsr_safe(MSR_AMD_INTERRUPT_PENDING, value & ~AMD_INTERRUPT_PENDING_C1E);
}

uint64_t host_cpu_arch_capabilities(void)
{
    uint64_t value = 0;

    if (insn_cpuid(0, 0).eax < CPUID_EXTENDED_FEATURES ||
        (insn_cpuid(CPUID_EXTENDED_FEATURES, 0).edx & CPUID_7_EDX_ARCH_CAPABILITIES) == 0) {
        return 0;
    }
    return insn_rdmsr_safe(MSR_ARCH_CAPABILITIES, &value) ? value : 0;
}

void host_cpu_serialize_lfence(void)
{
    uint64_t value;

    if (!host_cpu_is_virtual() && insn_cpuid(CPUID_VENDOR, 0).ebx != VENDOR_INTEL_EBX &&
        insn_rdmsr_safe(MSR_AMD_DE_CFG, &value) && (value & AMD_DE_CFG_LFENCE) == 0) {
        (void)insn_wrmsr_safe(MSR_AMD_DE_CFG, value | AMD_DE_CFG_LFENCE);
    }
}

struct page_table_caps host_cpu_paging_caps(void)
{
    uint32_t edx = insn_cpuid(CPUID_EXTENDED_1, 0).edx;

    return (struct page_table_caps){
        .largest_leaf = (edx & CPUID_81_EDX_GIB_PAGES) != 0 ? LEVEL_1G : LEVEL_2M,
        .physical_bits = physical_bits(),
        .no_execute = (edx & CPUID_81_EDX_NX) != 0,
        .accessed_dirty = true,
    };
}

bool host_cpu_five_levels(void)
{
    return (insn_read_cr4() & CR4_LA57) != 0;
}

/* AMD: memory from 4 GiB to TOM2 is write-back by a bit of its own. APM 2 7.9.4 "Top of Memory". */
static uint64_t force_wb_end(void)
{
    uint32_t vendor = insn_cpuid(CPUID_VENDOR, 0).ebx;
    uint64_t both = SYSCFG_MTRR_TOM2_EN | SYSCFG_TOM2_FORCE_WB;

    if ((vendor != VENDOR_AMD_EBX && vendor != VENDOR_HYGON_EBX) || host_cpu_is_virtual() ||
        (insn_rdmsr(MSR_AMD_SYSCFG) & both) != both) {
        return 0;
    }
    return align_down(insn_rdmsr(MSR_AMD_TOM2), PAGE_BYTES);
}

static const uint32_t fixed_registers[MTRR_FIXED_REGISTERS] = {
    MSR_MTRR_FIX_64K_00000,     MSR_MTRR_FIX_16K_80000,     MSR_MTRR_FIX_16K_A0000,     MSR_MTRR_FIX_4K_C0000,
    MSR_MTRR_FIX_4K_C0000 + 1u, MSR_MTRR_FIX_4K_C0000 + 2u, MSR_MTRR_FIX_4K_C0000 + 3u, MSR_MTRR_FIX_4K_C0000 + 4u,
    MSR_MTRR_FIX_4K_C0000 + 5u, MSR_MTRR_FIX_4K_C0000 + 6u, MSR_MTRR_FIX_4K_C0000 + 7u,
};

static void read_fixed(struct mtrr_state *state)
{
    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS; i++) {
        state->fixed[i] = insn_rdmsr(fixed_registers[i]);
    }
}

void host_cpu_read_mtrrs(struct mtrr_state *state)
{
    uint64_t capabilities;

    memset(state, 0, sizeof(*state));
    state->physical_bits = physical_bits();
    if ((insn_cpuid(CPUID_FEATURES, 0).edx & CPUID_1_EDX_MTRR) == 0) {
        return;
    }
    capabilities = insn_rdmsr(MSR_MTRR_CAP);
    state->present = true;
    state->default_type = insn_rdmsr(MSR_MTRR_DEF_TYPE);
    if ((capabilities & MTRR_CAP_FIXED) != 0) {
        read_fixed(state);
    }
    state->variable_count = (uint32_t)min_u64(capabilities & MTRR_CAP_COUNT, MTRR_VARIABLE_MAX);
    for (uint32_t i = 0; i < state->variable_count; i++) {
        state->variable[i].base = insn_rdmsr(MSR_MTRR_PHYS_BASE(i));
        state->variable[i].mask = insn_rdmsr(MSR_MTRR_PHYS_MASK(i));
    }
    state->force_wb_end = force_wb_end();
}

#define MTRR_ENABLES (3ULL << 10) /* of all, and of the fixed ones. SDM 3A 12.11.2.1, figure 12-6 */

static void write_mtrr_values(const struct mtrr_state *state)
{
    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS && (insn_rdmsr(MSR_MTRR_CAP) & MTRR_CAP_FIXED) != 0; i++) {
        insn_wrmsr(fixed_registers[i], state->fixed[i]);
    }
    for (uint32_t i = 0; i < state->variable_count; i++) {
        insn_wrmsr(MSR_MTRR_PHYS_BASE(i), state->variable[i].base);
        insn_wrmsr(MSR_MTRR_PHYS_MASK(i), state->variable[i].mask);
    }
}

/* The order of SDM 3A 12.11.8. Hyper-threads share the registers: those of a core that runs already are alike. */
void host_cpu_write_mtrrs(const struct mtrr_state *state)
{
    uint64_t cr0 = insn_read_cr0();

    insn_write_cr0((cr0 | CR0_CD) & ~CR0_NW);
    insn_wbinvd();
    insn_write_cr3(insn_read_cr3());
    insn_wrmsr(MSR_MTRR_DEF_TYPE, insn_rdmsr(MSR_MTRR_DEF_TYPE) & ~MTRR_ENABLES);
    write_mtrr_values(state);
    insn_wrmsr(MSR_MTRR_DEF_TYPE, state->default_type);
    insn_wbinvd();
    insn_write_cr3(insn_read_cr3());
    insn_write_cr0(cr0);
}

uint64_t host_cpu_cr4(void)
{
    uint64_t cr4 = CR4_PAE | CR4_DE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

    if ((insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_XSAVE) != 0) {
        cr4 |= CR4_OSXSAVE;
    }
    return cr4 | (insn_read_cr4() & CR4_LA57);
}

/*
 * Caches are written back around the change of the PAT, so that no line stays cached under a type that its page no
 * longer has. SDM 3A 12.12.4 "Programming the PAT". PGE is off in CR4, so the load of CR3 drops every translation.
 */
void host_cpu_load_paging(uint64_t cr3)
{
    insn_wrmsr(MSR_EFER, insn_rdmsr(MSR_EFER) | EFER_NXE);
    insn_write_cr0((insn_read_cr0() & ~(CR0_CD | CR0_NW | CR0_EM | CR0_TS | CR0_AM)) | CR0_WP | CR0_MP | CR0_NE);
    insn_write_cr4(host_cpu_cr4());
    insn_wbinvd();
    insn_wrmsr(MSR_PAT, PAGE_TABLE_HOST_PAT);
    insn_write_cr3(cr3);
    insn_wbinvd();
}
