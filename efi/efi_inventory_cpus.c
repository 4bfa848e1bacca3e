/* SPDX-License-Identifier: MIT */
/*
 * Of \\plinth\\machine.txt: what each CPU says. The firmware's MP services let each of the other CPUs run a few
 * instructions; which registers a CPU has, it decides by its own CPUID, because a fault there is the firmware's to
 * show.
 */
#include "efi/efi_inventory.h"
#include "hv/host/cpu_survey.h"
#include "hv/host/host_cpu.h"
#include "hv/host/host_cpuid.h"
#include "hv/x86/registers.h"

#define CPUID_SERIAL_NUMBER 3u /* SDM 2A "CPUID", "INPUT EAX = 03H" */
#define MTRR_CAP_HAS_FIXED (1ULL << 8)
/* Words of VMX. SDM 3D A.1 to A.10. */
#define MSR_AMD_VM_CR 0xc0010114u
#define MSR_VMX_BASIC 0x480u
#define MSR_VMX_PROCBASED 0x482u
#define MSR_VMX_VMCS_ENUM 0x48au
#define MSR_VMX_PROCBASED2 0x48bu
#define MSR_VMX_EPT_VPID 0x48cu
#define MSR_VMX_TRUE_FIRST 0x48du
#define MSR_VMX_TRUE_LAST 0x490u
#define VMX_BASIC_TRUE (1ULL << 55)
#define VMX_ALLOWS_SECONDARY (1ULL << 63)
#define VMX_ALLOWS_EPT_OR_VPID (1ULL << 33 | 1ULL << 37)
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_81_ECX_SVM (1u << 2)
#define CPUID_7_EBX_TSC_ADJUST (1u << 1)

/* Too large for a stack, the firmware's for other CPUs above all. One CPU at a time is asked. */
static struct cpu_survey boot_cpu, other_cpu;

static void add_msr(struct cpu_survey *survey, uint32_t msr)
{
    cpu_survey_add(survey, msr, insn_rdmsr(msr));
}

/* The words of VMX, each where a bit of another word says that it is there. SDM 3D A.1 to A.10. */
static void ask_vmx(struct cpu_survey *survey)
{
    uint64_t basic = insn_rdmsr(MSR_VMX_BASIC);

    add_msr(survey, MSR_FEATURE_CONTROL);
    for (uint32_t msr = MSR_VMX_BASIC; msr <= MSR_VMX_VMCS_ENUM; msr++) {
        add_msr(survey, msr);
    }
    if ((insn_rdmsr(MSR_VMX_PROCBASED) & VMX_ALLOWS_SECONDARY) != 0) {
        add_msr(survey, MSR_VMX_PROCBASED2);
        if ((insn_rdmsr(MSR_VMX_PROCBASED2) & VMX_ALLOWS_EPT_OR_VPID) != 0) {
            add_msr(survey, MSR_VMX_EPT_VPID);
        }
    }
    for (uint32_t msr = MSR_VMX_TRUE_FIRST; (basic & VMX_BASIC_TRUE) != 0 && msr <= MSR_VMX_TRUE_LAST; msr++) {
        add_msr(survey, msr);
    }
}

/* APM 2 15.30.1 "VM_CR MSR (C001_0114h)". */
static void ask_virtualization(struct cpu_survey *survey)
{
    if ((insn_cpuid(1, 0).ecx & CPUID_1_ECX_VMX) != 0) {
        ask_vmx(survey);
    } else if (insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax >= CPUID_EXTENDED_1 &&
               (insn_cpuid(CPUID_EXTENDED_1, 0).ecx & CPUID_81_ECX_SVM) != 0) {
        add_msr(survey, MSR_AMD_VM_CR);
    }
}

static void ask_mtrrs(struct cpu_survey *survey)
{
    static const uint32_t fixed[] = {MSR_MTRR_FIX_64K_00000, MSR_MTRR_FIX_16K_80000, MSR_MTRR_FIX_16K_A0000};
    struct mtrr_state state;

    host_cpu_read_mtrrs(&state);
    if (!state.present) {
        return;
    }
    add_msr(survey, MSR_MTRR_CAP);
    add_msr(survey, MSR_MTRR_DEF_TYPE);
    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS && (insn_rdmsr(MSR_MTRR_CAP) & MTRR_CAP_HAS_FIXED) != 0; i++) {
        uint32_t msr = i < ARRAY_COUNT(fixed) ? fixed[i] : MSR_MTRR_FIX_4K_C0000 + i - (uint32_t)ARRAY_COUNT(fixed);

        cpu_survey_add(survey, msr, state.fixed[i]);
    }
    for (uint32_t i = 0; i < state.variable_count; i++) {
        cpu_survey_add(survey, MSR_MTRR_PHYS_BASE(i), state.variable[i].base);
        cpu_survey_add(survey, MSR_MTRR_PHYS_MASK(i), state.variable[i].mask);
    }
}

/* On the CPU that is asked. */
static void EFIAPI ask(void *argument)
{
    struct cpu_survey *survey = argument;
    bool leaf7 = insn_cpuid(CPUID_VENDOR, 0).eax >= CPUID_EXTENDED_FEATURES;

    host_cpuid_capture(&survey->cpuid);
    survey->microcode = host_cpu_identity().microcode;
    survey->msr_count = 0;
    ask_virtualization(survey);
    ask_mtrrs(survey);
    if (leaf7 && (insn_cpuid(CPUID_EXTENDED_FEATURES, 0).ebx & CPUID_7_EBX_TSC_ADJUST) != 0) {
        add_msr(survey, MSR_TSC_ADJUST);
    }
    if (leaf7 && (insn_cpuid(CPUID_EXTENDED_FEATURES, 0).edx & CPUID_7_EDX_ARCH_CAPABILITIES) != 0) {
        add_msr(survey, MSR_ARCH_CAPABILITIES);
    }
    __atomic_store_n(&survey->answered, true, __ATOMIC_RELEASE);
}

/* Every leaf but the one that had a serial number. */
static void add_boot_cpu(struct inventory *inventory)
{
    ask(&boot_cpu);
    for (uint32_t i = 0; i < boot_cpu.cpuid.count; i++) {
        const struct cpuid_entry *entry = &boot_cpu.cpuid.entries[i];

        if (entry->leaf != CPUID_SERIAL_NUMBER) {
            inventory_add(inventory, "cpuid = 0x%x %u 0x%08x 0x%08x 0x%08x 0x%08x\n", entry->leaf, entry->subleaf,
                          entry->words.eax, entry->words.ebx, entry->words.ecx, entry->words.edx);
        }
    }
    inventory_add(inventory, "microcode = 0x%x\n", boot_cpu.microcode);
    for (uint32_t i = 0; i < boot_cpu.msr_count; i++) {
        inventory_add(inventory, "msr = 0x%x 0x%" PRIx64 "\n", boot_cpu.msrs[i].number, boot_cpu.msrs[i].value);
    }
}

static void add_other_cpu(struct inventory *inventory, uint32_t index)
{
    const struct cpu_survey_msr *msr;
    uint32_t lack = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < other_cpu.cpuid.count; i++) {
        const struct cpuid_entry *entry = &other_cpu.cpuid.entries[i];

        if (entry->leaf != CPUID_SERIAL_NUMBER && cpu_survey_leaf_differs(&boot_cpu, entry)) {
            inventory_add(inventory, "cpu-cpuid = %u 0x%x %u 0x%08x 0x%08x 0x%08x 0x%08x\n", index, entry->leaf,
                          entry->subleaf, entry->words.eax, entry->words.ebx, entry->words.ecx, entry->words.edx);
        }
    }
    if (cpu_survey_lacks_leaf(&boot_cpu, &other_cpu, &lack)) {
        inventory_add(inventory, "cpu-lacks = %u leaf 0x%x\n", index, lack);
    }
    if (other_cpu.microcode != boot_cpu.microcode) {
        inventory_add(inventory, "cpu-microcode = %u 0x%x\n", index, other_cpu.microcode);
    }
    while ((msr = cpu_survey_next_msr(&boot_cpu, &other_cpu, &at)) != NULL) {
        inventory_add(inventory, "cpu-msr = %u 0x%x 0x%" PRIx64 "\n", index, msr->number, msr->value);
    }
    if (cpu_survey_lacks_msr(&boot_cpu, &other_cpu, &lack)) {
        inventory_add(inventory, "cpu-lacks = %u msr 0x%x\n", index, lack);
    }
}

void inventory_add_cpus(struct inventory *inventory, struct efi_stage *stage)
{
    uint32_t asked = 1;

    add_boot_cpu(inventory);
    for (uint32_t i = 1; i < stage->info->cpu_count; i++) {
        if (!stage->info->cpus[i].healthy) {
            continue;
        }
        other_cpu.answered = false;
        if (efi_cpus_run(stage, i, ask, &other_cpu) && __atomic_load_n(&other_cpu.answered, __ATOMIC_ACQUIRE)) {
            asked++;
            add_other_cpu(inventory, i);
        } else {
            inventory_add(inventory, "# CPU %u was not asked: the firmware does not let it run\n", i);
        }
    }
    inventory_add(inventory, "cpus-asked = %u\n", asked);
}
