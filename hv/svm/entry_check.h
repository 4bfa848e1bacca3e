/* SPDX-License-Identifier: MIT */
/*
 * Why VMRUN refused a VMCB (VMEXIT_INVALID), in a sentence: the checks of APM 2 15.5.1 "Basic Operation",
 * "Canonicalization and Consistency Checks", and of 15.20 "Event Injection", in the manual's order. Pure.
 */
#ifndef HV_SVM_ENTRY_CHECK_H
#define HV_SVM_ENTRY_CHECK_H

#include "hv/svm/vmcb.h"

#define SVM_ENTRY_SENTENCE_MAX 240u

/* What this CPU, and of CR4 this guest, allows. */
struct svm_entry_caps {
    uint64_t cr4_allowed; /* CR4 bits of features that the guest has: no other may be set */
    uint32_t asid_count;
    uint8_t physical_bits;
    bool long_mode;
};

/* Writes the sentence about the first violated check; false where all that are known hold. */
bool svm_entry_find_violation(const struct vmcb *vmcb, const struct svm_entry_caps *caps,
                              char sentence[SVM_ENTRY_SENTENCE_MAX]);

#endif
