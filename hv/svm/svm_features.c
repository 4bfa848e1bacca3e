/*
 * Features one by one: what is required fails closed with its name and a remedy, what is optional is listed with what
 * changes without it. APM 2 15.4 "Enabling SVM"; APM 3 E.4.9 "Function 8000_000Ah-SVM Features".
 */
#include "hv/svm/svm.h"

#include "hv/base/format.h"
#include "hv/cpu.h"
#include "hv/svm/svm_insn.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define CPUID_SVM 0x8000000au
#define SVM_EDX_NESTED_PAGING (1u << 0)
#define SVM_EDX_NEXT_RIP (1u << 3)
#define SVM_EDX_VMCB_CLEAN (1u << 5)
#define SVM_EDX_FLUSH_BY_ASID (1u << 6)
#define SVM_EDX_DECODE_ASSISTS (1u << 7)
#define CPUID_81_EDX_RDTSCP (1u << 27)

/* APM 2 15.30.1 "VM_CR MSR", 15.30.4 "VM_HSAVE_PA MSR". */
#define MSR_VM_CR 0xc0010114u
#define MSR_VM_HSAVE_PA 0xc0010117u
#define VM_CR_LOCK (1ULL << 3)
#define VM_CR_SVMDIS (1ULL << 4)

struct svm_features svm_features;

static void set_text(char *to, size_t capacity, const char *text)
{
    format_text(to, capacity, "%s", text);
}

/* The required ones, in the order in which they can be asked for. NULL: all there. */
static const char *missing_feature(void)
{
    uint32_t highest = insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax;

    if (highest < CPUID_EXTENDED_1 || (insn_cpuid(CPUID_EXTENDED_1, 0).ecx & CPUID_81_ECX_SVM) == 0) {
        return "this CPU has no SVM (AMD-V); use a CPU that has it, or switch it on in the virtual machine around us";
    }
    if (highest < CPUID_SVM || (insn_cpuid(CPUID_SVM, 0).edx & SVM_EDX_NESTED_PAGING) == 0) {
        return "this CPU's SVM has no nested paging (NP); use a CPU from 2008 or later";
    }
    if ((insn_rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) != 0) {
        return "SVM is switched off by the firmware (VM_CR.SVMDIS); switch on \"SVM\" or \"AMD-V\" in its set-up";
    }
    return NULL;
}

static void find_optional(struct virt_support *support)
{
    struct cpuid_result svm = insn_cpuid(CPUID_SVM, 0);
    uint32_t extended = insn_cpuid(CPUID_EXTENDED_1, 0).edx;
    bool gib_pages = (extended & CPUID_81_EDX_GIB_PAGES) != 0;

    svm_features = (struct svm_features){
        .next_rip = (svm.edx & SVM_EDX_NEXT_RIP) != 0,
        .flush_by_asid = (svm.edx & SVM_EDX_FLUSH_BY_ASID) != 0,
        .vmcb_clean = (svm.edx & SVM_EDX_VMCB_CLEAN) != 0,
        .decode_assists = (svm.edx & SVM_EDX_DECODE_ASSISTS) != 0,
        .tsc_aux = (extended & CPUID_81_EDX_RDTSCP) != 0,
        .caps = {.asid_count = svm.ebx,
                 .physical_bits = (uint8_t)(insn_cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff),
                 .long_mode = (extended & CPUID_81_EDX_LM) != 0},
    };
    format_text(support->used, sizeof(support->used), "AMD SVM with nested paging, %u ASIDs%s%s%s", svm.ebx,
                gib_pages ? ", 1 GiB pages" : "", svm_features.next_rip ? ", next rip save" : "",
                svm_features.flush_by_asid ? ", flush by ASID" : "");
    format_text(support->without, sizeof(support->without), "%s%s%s",
                gib_pages ? "" : "1 GiB pages (2 MiB pages instead, more tables); ",
                svm_features.next_rip ? "" : "next rip save (lengths come from the instruction decoder); ",
                svm_features.flush_by_asid ? "" : "flush by ASID (all ASIDs are flushed); ");
    support->caps = (struct page_table_caps){
        .largest_leaf = gib_pages ? LEVEL_1G : LEVEL_2M,
        .physical_bits = (uint8_t)(insn_cpuid(CPUID_ADDRESS_SIZES, 0).eax & 0xff),
        .no_execute = (extended & CPUID_81_EDX_NX) != 0,
        .accessed_dirty = true,
    };
}

bool svm_detect(struct virt_support *support)
{
    const char *missing = missing_feature();

    if (missing != NULL) {
        support->vendor = VIRT_NONE;
        set_text(support->missing, sizeof(support->missing), missing);
        return false;
    }
    support->vendor = VIRT_SVM;
    support->format = &page_table_npt4;
    find_optional(support);
    return true;
}

uint64_t svm_cpu_bytes(void)
{
    return sizeof(struct svm_cpu);
}

uint64_t svm_vcpu_bytes(void)
{
    return sizeof(struct svm_vcpu);
}

bool svm_enable(struct cpu *cpu, void *memory, const char **sentence)
{
    struct svm_cpu *svm = memory;
    const char *missing = missing_feature();

    if (missing != NULL) {
        *sentence = missing;
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
