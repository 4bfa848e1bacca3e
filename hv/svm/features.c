/* SPDX-License-Identifier: MIT */
/*
 * Reading what this CPU has (capabilities.c says what that means), and switching SVM on and off.
 * APM 2 15.4 "Enabling SVM".
 */
#include "hv/svm/svm.h"

#include "hv/base/format.h"
#include "hv/host/cpu.h"
#include "hv/host/host_cpu.h"
#include "hv/svm/insn.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define CPUID_SVM 0x8000000au

/* APM 2 15.30.1 "VM_CR MSR (C001_0114h)", 15.30.4 "VM_HSAVE_PA MSR (C001_0117h)". */
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE_PA 0xc0010117u

/* CPUID 1 EAX. APM 3 E.3.2 "Function 1h: Processor and Processor Feature Identifiers". */
#define FAMILY_SHIFT 8u
#define FAMILY 0xfu /* the base family; the extended one counts where it is 15 */
#define EXTENDED_FAMILY_SHIFT 20u
#define EXTENDED_FAMILY 0xffu

struct svm_features svm_features;

static uint32_t family(void)
{
    uint32_t eax = insn_cpuid(CPUID_FEATURES, 0).eax;
    uint32_t base = (eax >> FAMILY_SHIFT) & FAMILY;

    return base == FAMILY ? base + ((eax >> EXTENDED_FAMILY_SHIFT) & EXTENDED_FAMILY) : base;
}

/* A leaf or MSR is read only where the one that announces it says that it is there. */
static struct svm_words read_words(void)
{
    uint32_t highest = insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax;
    struct svm_words words = {0};

    if (highest < CPUID_SVM) {
        return words;
    }
    words.extended_ecx = insn_cpuid(CPUID_EXTENDED_1, 0).ecx;
    words.extended_edx = insn_cpuid(CPUID_EXTENDED_1, 0).edx;
    words.svm_ebx = insn_cpuid(CPUID_SVM, 0).ebx;
    words.svm_edx = insn_cpuid(CPUID_SVM, 0).edx;
    if ((insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_HYPERVISOR) != 0) {
        words.outer_ebx = insn_cpuid(CPUID_HYPERVISOR, 0).ebx;
    }
    words.family = family();
    words.five_levels = host_cpu_five_levels();
    words.physical_bits = (uint8_t)(insn_cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff);
    if ((words.extended_ecx & CPUID_81_ECX_SVM) != 0) {
        words.vm_cr = insn_rdmsr(MSR_VM_CR);
    }
    return words;
}

bool svm_detect(struct virt_support *support)
{
    struct svm_words words = read_words();

    return svm_capabilities_find(&words, &svm_features, support);
}

uint64_t svm_cpu_bytes(void)
{
    return sizeof(struct svm_cpu);
}

uint64_t svm_vcpu_bytes(void)
{
    return sizeof(struct svm_vcpu);
}

bool svm_enable(struct cpu *cpu, void *memory)
{
    struct svm_cpu *svm = memory;
    struct svm_words words = read_words();
    const char *missing = svm_capabilities_missing(&words);

    if (missing != NULL) {
        format_text(cpu->why, sizeof(cpu->why), "%s", missing);
        return false;
    }
    if (!svm_capabilities_alike(&svm_features.words, &words, cpu->why, sizeof(cpu->why))) {
        return false;
    }
    cpu->vendor = svm;
    insn_wrmsr(MSR_EFER, insn_rdmsr(MSR_EFER) | EFER_SVME);
    insn_wrmsr(MSR_VM_HSAVE_PA, (uint64_t)(uintptr_t)svm->host_save_area);
    svm_insn_vmsave((uint64_t)(uintptr_t)&svm->host);
    return true;
}

void svm_disable(struct cpu *cpu)
{
    cpu->vendor = NULL;
    svm_insn_stgi();
    insn_wrmsr(MSR_VM_HSAVE_PA, 0);
    insn_wrmsr(MSR_EFER, insn_rdmsr(MSR_EFER) & ~EFER_SVME);
}
