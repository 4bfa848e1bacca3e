/* SPDX-License-Identifier: MIT */
/*
 * What this CPU's SVM can do, from its CPUID words and VM_CR. Pure: tests feed it the words of other CPUs.
 * APM 2 15.4 "Enabling SVM"; APM 3 E.4.9 "Function 8000_000Ah: SVM Features".
 *
 * What is required fails closed with its name and a remedy, what is optional is listed with what changes without it.
 */
#ifndef HV_SVM_CAPABILITIES_H
#define HV_SVM_CAPABILITIES_H

#include "hv/core/virt_support.h"
#include "hv/svm/entry_check.h"

/* As the CPU says them; 0 where it has no such leaf or MSR. */
struct svm_words {
    uint32_t extended_ecx; /* CPUID 8000_0001 */
    uint32_t extended_edx;
    uint32_t svm_ebx; /* CPUID 8000_000A */
    uint32_t svm_edx;
    uint64_t vm_cr;     /* APM 2 15.30.1 "VM_CR MSR (C001_0114h)" */
    uint32_t outer_ebx; /* CPUID 4000_0000: the signature of a hypervisor or emulator around us, 0 without one */
    uint32_t family;    /* CPUID 1: base and extended family added */
    uint8_t physical_bits;
    bool five_levels; /* CR4.LA57, which cannot change in long mode */
};

/* Optional features, found once. */
struct svm_features {
    struct svm_words words; /* of the boot CPU */
    bool next_rip;
    bool flush_by_asid;
    bool vmcb_clean;
    bool pause_filter;          /* not each PAUSE exits, but a loop of them: for vCPUs that share a CPU */
    bool tsc_aux;               /* RDTSCP or RDPID is there, so TSC_AUX exists */
    struct svm_entry_caps caps; /* for the checks after a refused entry */
};

/* The required ones, in the order in which they can be asked for: a sentence about the first that lacks, or NULL. */
const char *svm_capabilities_missing(const struct svm_words *words);

/* Fills *features and `support`. False: support->missing says what lacks. */
bool svm_capabilities_find(const struct svm_words *words, struct svm_features *features, struct virt_support *support);

/* Guests were prepared for what the boot CPU has: every CPU must have the same. False: `why` says which word is the
 * first that it has not. */
bool svm_capabilities_alike(const struct svm_words *boot, const struct svm_words *here, char *why, size_t why_bytes);

#endif
