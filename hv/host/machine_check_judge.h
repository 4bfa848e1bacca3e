/* SPDX-License-Identifier: MIT */
/*
 * What a machine check means: nothing for this CPU, the end of the guest that ran, or of everything. Pure, from the
 * words of the CPU's banks.
 *
 * A CPU says that it contains errors by IA32_MCG_CAP.SER_P (Intel) or SUCCOR (AMD); one that says neither may have lost
 * anything. An error is contained where the CPU's own state is whole (RIPV, and PCC clear), nothing was overwritten,
 * and the words say that what used the data is all that is lost.
 *
 * SDM 3B 16.6 "Recovery of Uncorrected Recoverable (UCR) Errors", 16.9.3 "Architecturally Defined UCR Errors"; APM 2
 * 9.3.2 "Error-Reporting Register Banks".
 */
#ifndef HV_HOST_MACHINE_CHECK_JUDGE_H
#define HV_HOST_MACHINE_CHECK_JUDGE_H

#include "hv/base/types.h"

struct machine_check_words {
    uint64_t capabilities; /* IA32_MCG_CAP */
    uint64_t status;       /* IA32_MCG_STATUS */
    uint32_t ras_ebx;      /* CPUID 8000_0007 EBX, where it is AMD's; else 0 */
    bool multimatch;       /* cpu_errata_tlb_multimatch() */
};

enum machine_check_verdict {
    MACHINE_CHECK_GOES_ON,    /* nothing that this CPU used is lost */
    MACHINE_CHECK_ENDS_GUEST, /* what ran here has lost data, and nothing else has */
    MACHINE_CHECK_FATAL,
};

/* What one bank's status word says. */
enum machine_check_verdict machine_check_judge_bank(const struct machine_check_words *words, uint64_t bank_status);

/*
 * AMD family 10h, erratum 383: two translations of one address match, because the guest changed a page's size without a
 * flush. The words call the context lost, but it is the guest's own translations that do not agree.
 */
bool machine_check_is_multimatch(const struct machine_check_words *words, uint64_t bank_status);

/* What all of them say: the worst. */
enum machine_check_verdict machine_check_judge(const struct machine_check_words *words, const uint64_t *bank_status,
                                               uint32_t banks);

#endif
