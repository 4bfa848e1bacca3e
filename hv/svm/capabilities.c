/* SPDX-License-Identifier: MIT */
#include "hv/svm/capabilities.h"

#include "hv/base/format.h"
#include "hv/x86/registers.h"

#define SVM_EDX_NESTED_PAGING (1u << 0)
#define SVM_EDX_NEXT_RIP (1u << 3)
#define SVM_EDX_VMCB_CLEAN (1u << 5)
#define SVM_EDX_FLUSH_BY_ASID (1u << 6)
#define SVM_EDX_DECODE_ASSISTS (1u << 7)
#define SVM_EDX_PAUSE_FILTER (1u << 10)
#define SIGNATURE_TCG 0x54474354u /* "TCGT" of "TCGTCGTCGTCG" */
#define FAMILY_ZEN 0x17u
#define VM_CR_SVMDIS (1ULL << 4)

const char *svm_capabilities_missing(const struct svm_words *words)
{
    if ((words->extended_ecx & CPUID_81_ECX_SVM) == 0) {
        return "this CPU shows no SVM (AMD-V); switch on \"SVM Mode\" in the firmware's set-up, or use a CPU that has "
               "it";
    }
    if ((words->vm_cr & VM_CR_SVMDIS) != 0) {
        return "SVM is switched off by the firmware (VM_CR.SVMDIS); switch on \"SVM Mode\" or \"AMD-V\" in its set-up";
    }
    return NULL;
}

/* Every Zen has decode assists (APM 3 E.4.9, EDX bit 7), and a hypervisor around us says that it is there. */
static enum emulator find_emulator(const struct svm_words *words)
{
    if (words->outer_ebx == SIGNATURE_TCG) {
        return EMULATOR_QEMU;
    }
    return words->outer_ebx == 0 && words->family >= FAMILY_ZEN && (words->svm_edx & SVM_EDX_DECODE_ASSISTS) == 0
               ? EMULATOR_BOCHS
               : EMULATOR_NONE;
}

static void describe(const struct svm_words *words, const struct svm_features *features, struct virt_support *support)
{
    bool gib_pages = support->caps.largest_leaf == LEVEL_1G;

    format_text(support->used, sizeof(support->used), "AMD SVM with %s paging, %u ASIDs%s%s%s",
                support->nested_paging ? "nested" : "shadow", words->svm_ebx, gib_pages ? ", 1 GiB pages" : "",
                features->next_rip ? ", next rip save" : "", features->flush_by_asid ? ", flush by ASID" : "");
    format_text(support->without, sizeof(support->without), "%s%s%s%s",
                support->nested_paging ? "" : "nested paging (shadow tables instead, more exits); ",
                gib_pages ? "" : "1 GiB pages (2 MiB pages instead, more tables); ",
                features->next_rip ? "" : "next rip save (lengths come from the instruction decoder); ",
                features->flush_by_asid ? "" : "flush by ASID (all ASIDs are flushed); ");
}

/* Nested tables have as many levels as the host's own: VMRUN takes the host's paging mode for them. APM 2 15.25.3
 * "Enabling Nested Paging". */
bool svm_capabilities_find(const struct svm_words *words, struct svm_features *features, struct virt_support *support)
{
    const char *missing = svm_capabilities_missing(words);

    if (missing != NULL) {
        support->vendor = VIRT_NONE;
        format_text(support->missing, sizeof(support->missing), "%s", missing);
        return false;
    }
    *features = (struct svm_features){
        .words = *words,
        .next_rip = (words->svm_edx & SVM_EDX_NEXT_RIP) != 0,
        .flush_by_asid = (words->svm_edx & SVM_EDX_FLUSH_BY_ASID) != 0,
        .vmcb_clean = (words->svm_edx & SVM_EDX_VMCB_CLEAN) != 0,
        .pause_filter = (words->svm_edx & SVM_EDX_PAUSE_FILTER) != 0,
        .tsc_aux = (words->extended_edx & CPUID_81_EDX_RDTSCP) != 0,
        .caps = {.asid_count = words->svm_ebx,
                 .physical_bits = words->physical_bits,
                 .long_mode = (words->extended_edx & CPUID_81_EDX_LM) != 0},
    };
    support->vendor = VIRT_SVM;
    support->nested_paging = (words->svm_edx & SVM_EDX_NESTED_PAGING) != 0;
    support->emulator = find_emulator(words);
    support->format = words->five_levels ? &page_table_npt5 : &page_table_npt4;
    support->caps = (struct page_table_caps){
        .largest_leaf = (words->extended_edx & CPUID_81_EDX_GIB_PAGES) != 0 ? LEVEL_1G : LEVEL_2M,
        .physical_bits = words->physical_bits,
        .no_execute = (words->extended_edx & CPUID_81_EDX_NX) != 0,
        .accessed_dirty = true,
    };
    describe(words, features, support);
    return true;
}

/* Which of the words' bits anything depends on. */
#define SVM_EDX_USED                                                                                                  \
    (SVM_EDX_NESTED_PAGING | SVM_EDX_NEXT_RIP | SVM_EDX_VMCB_CLEAN | SVM_EDX_FLUSH_BY_ASID | SVM_EDX_DECODE_ASSISTS | \
     SVM_EDX_PAUSE_FILTER)
#define EXTENDED_EDX_USED (CPUID_81_EDX_GIB_PAGES | CPUID_81_EDX_NX | CPUID_81_EDX_LM | CPUID_81_EDX_RDTSCP)

bool svm_capabilities_alike(const struct svm_words *boot, const struct svm_words *here, char *why, size_t why_bytes)
{
    const struct virt_word words[] = {
        {"features (CPUID 8000_000A EDX)", boot->svm_edx & SVM_EDX_USED, here->svm_edx & SVM_EDX_USED},
        {"ASIDs", boot->svm_ebx, min_u64(boot->svm_ebx, here->svm_ebx)}, /* more do no harm */
        {"CPUID 8000_0001 EDX", boot->extended_edx & EXTENDED_EDX_USED, here->extended_edx & EXTENDED_EDX_USED},
        {"physical address bits", boot->physical_bits, here->physical_bits},
    };

    return virt_words_alike("SVM", words, ARRAY_COUNT(words), why, why_bytes);
}
