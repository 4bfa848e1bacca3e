/* SPDX-License-Identifier: MIT */
#include "hv/host/machine_check_judge.h"

#include "hv/x86/registers.h"

/* Both vendors' status words. SDM 3B 16.3.2.2 "IA32_MCi_STATUS MSRs"; APM 2 9.3.2.2. */
#define STATUS_OVERFLOW (1ULL << 62)
#define STATUS_ENABLED (1ULL << 60)
#define STATUS_CONTEXT_LOST (1ULL << 57) /* PCC */
#define STATUS_SIGNALED (1ULL << 56)     /* S, with SER_P */
#define STATUS_ACTION (1ULL << 55)       /* AR, with SER_P */
#define STATUS_DEFERRED (1ULL << 44)     /* AMD: found before it was used */
#define STATUS_CODE_MASK 0xefffu         /* without the bit of filtering */
/* SDM 3B 16.9.3.2 "Architecturally Defined SRAR Errors". */
#define CODE_DATA_LOAD 0x0134u
#define CODE_INSTRUCTION_FETCH 0x0150u

/* "Revision Guide for AMD Family 10h Processors", erratum 383: what bank 0 says, with or without an overflow. */
#define STATUS_MULTIMATCH 0xb600000000010015ULL

#define MCG_CAP_SER (1ULL << 24)
#define MCG_STATUS_RIPV (1ULL << 0) /* the instruction at rip can be gone on with */
#define MCG_STATUS_EIPV (1ULL << 1) /* and it is the one that met the error */

/* CPUID 8000_0007 EBX. APM 3 E.4. */
#define RAS_OVERFLOW_RECOVERS (1u << 0)
#define RAS_SUCCOR (1u << 1)

/* A data load that a thread of the same core made: this CPU sees the bank and was not at it. */
static enum machine_check_verdict judge_recoverable(const struct machine_check_words *words, uint64_t status)
{
    if ((status & STATUS_SIGNALED) == 0 || (status & STATUS_ACTION) == 0) {
        return MACHINE_CHECK_GOES_ON;
    }
    if ((status & STATUS_OVERFLOW) != 0) {
        return MACHINE_CHECK_FATAL;
    }
    switch (status & STATUS_CODE_MASK) {
    case CODE_DATA_LOAD:
        return (words->status & MCG_STATUS_EIPV) != 0 ? MACHINE_CHECK_ENDS_GUEST : MACHINE_CHECK_GOES_ON;
    case CODE_INSTRUCTION_FETCH:
        return MACHINE_CHECK_ENDS_GUEST; /* the place is not told either way */
    default:
        return MACHINE_CHECK_FATAL;
    }
}

static enum machine_check_verdict judge_contained(const struct machine_check_words *words, uint64_t status)
{
    if ((status & STATUS_OVERFLOW) != 0 && (words->ras_ebx & RAS_OVERFLOW_RECOVERS) == 0) {
        return MACHINE_CHECK_FATAL;
    }
    return (status & STATUS_DEFERRED) != 0 ? MACHINE_CHECK_GOES_ON : MACHINE_CHECK_ENDS_GUEST;
}

bool machine_check_is_multimatch(const struct machine_check_words *words, uint64_t bank_status)
{
    return words->multimatch && (bank_status & ~STATUS_OVERFLOW) == STATUS_MULTIMATCH;
}

enum machine_check_verdict machine_check_judge_bank(const struct machine_check_words *words, uint64_t bank_status)
{
    bool error = (bank_status & MC_STATUS_VALID) != 0 && (bank_status & MC_STATUS_UC) != 0;

    if (!error || (bank_status & STATUS_ENABLED) == 0) {
        return MACHINE_CHECK_GOES_ON;
    }
    if (machine_check_is_multimatch(words, bank_status)) {
        return MACHINE_CHECK_ENDS_GUEST;
    }
    if ((bank_status & STATUS_CONTEXT_LOST) != 0) {
        return MACHINE_CHECK_FATAL;
    }
    if ((words->capabilities & MCG_CAP_SER) != 0) {
        return judge_recoverable(words, bank_status);
    }
    return judge_contained(words, bank_status);
}

enum machine_check_verdict machine_check_judge(const struct machine_check_words *words, const uint64_t *bank_status,
                                               uint32_t banks)
{
    bool contains = (words->capabilities & MCG_CAP_SER) != 0 || (words->ras_ebx & RAS_SUCCOR) != 0;
    bool trusted = contains && (words->status & MCG_STATUS_RIPV) != 0;
    bool multimatch = banks != 0 && machine_check_is_multimatch(words, bank_status[0]);
    enum machine_check_verdict worst = MACHINE_CHECK_GOES_ON;

    if (!trusted && !multimatch) {
        return MACHINE_CHECK_FATAL;
    }
    for (uint32_t i = 0; i < banks; i++) {
        enum machine_check_verdict one = machine_check_judge_bank(words, bank_status[i]);

        one = !trusted && i != 0 && one != MACHINE_CHECK_GOES_ON ? MACHINE_CHECK_FATAL : one;
        worst = one > worst ? one : worst;
    }
    return worst;
}
