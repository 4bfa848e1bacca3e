/* SPDX-License-Identifier: MIT */
/* Promises of hv/host/machine_check_judge.h on the words that the manuals define: a guest is ended only where the CPU
 * says that nothing else is lost, and what only another CPU met ends nothing. */
#include "hv/host/machine_check_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define VALID (1ULL << 63)
#define OVERFLOW (1ULL << 62)
#define UNCORRECTED (1ULL << 61)
#define ENABLED (1ULL << 60)
#define CONTEXT_LOST (1ULL << 57)
#define SIGNALED (1ULL << 56)
#define ACTION (1ULL << 55)
#define DEFERRED (1ULL << 44)
#define SRAR (VALID | UNCORRECTED | ENABLED | SIGNALED | ACTION)
#define LOAD 0x134u
#define FETCH 0x150u

#define RIPV 1u
#define EIPV 2u
#define IN_PROGRESS 4u

static const struct machine_check_words intel = {.capabilities = 1ULL << 24 | 20, .status = RIPV | EIPV | IN_PROGRESS};
static const struct machine_check_words amd = {.capabilities = 23, .status = RIPV | EIPV | IN_PROGRESS, .ras_ebx = 3};

static enum machine_check_verdict judge(const struct machine_check_words *words, uint64_t status)
{
    const uint64_t banks[] = {0, VALID | 0x42, status, 0}; /* beside a corrected error */

    return machine_check_judge(words, banks, ARRAY_COUNT(banks));
}

static void a_cpu_that_promises_nothing_has_lost_all(void **state)
{
    struct machine_check_words words = {.capabilities = 6, .status = RIPV | EIPV | IN_PROGRESS};

    (void)state;
    assert_int_equal(judge(&words, SRAR | LOAD), MACHINE_CHECK_FATAL);
    assert_int_equal(judge(&words, 0), MACHINE_CHECK_FATAL);
    words = intel;
    words.status = EIPV | IN_PROGRESS;
    assert_int_equal(judge(&words, SRAR | LOAD), MACHINE_CHECK_FATAL);
    words = amd;
    words.status = IN_PROGRESS;
    assert_int_equal(judge(&words, 0), MACHINE_CHECK_FATAL);
}

static void what_intel_calls_recoverable_here_ends_the_guest(void **state)
{
    struct machine_check_words sibling = intel;

    (void)state;
    assert_int_equal(judge(&intel, SRAR | LOAD), MACHINE_CHECK_ENDS_GUEST);
    assert_int_equal(judge(&intel, SRAR | FETCH), MACHINE_CHECK_ENDS_GUEST);
    assert_int_equal(judge(&intel, SRAR | LOAD | 0x1000), MACHINE_CHECK_ENDS_GUEST); /* filtering */
    assert_int_equal(judge(&intel, SRAR | 0x135), MACHINE_CHECK_FATAL);              /* no code of the table */
    assert_int_equal(judge(&intel, SRAR | LOAD | OVERFLOW), MACHINE_CHECK_FATAL);
    assert_int_equal(judge(&intel, SRAR | LOAD | CONTEXT_LOST), MACHINE_CHECK_FATAL);
    sibling.status = RIPV | IN_PROGRESS;
    assert_int_equal(judge(&sibling, SRAR | LOAD), MACHINE_CHECK_GOES_ON);
    assert_int_equal(judge(&sibling, SRAR | FETCH), MACHINE_CHECK_ENDS_GUEST);
}

static void what_was_not_used_ends_nothing(void **state)
{
    (void)state;
    assert_int_equal(judge(&intel, 0), MACHINE_CHECK_GOES_ON); /* told to every CPU, met by another one */
    assert_int_equal(judge(&intel, (SRAR | 0xc0) & ~ACTION), MACHINE_CHECK_GOES_ON); /* found by scrubbing */
    assert_int_equal(judge(&intel, (SRAR | LOAD) & ~(ACTION | SIGNALED)), MACHINE_CHECK_GOES_ON); /* deferred */
    assert_int_equal(judge(&intel, (SRAR | LOAD) & ~ENABLED), MACHINE_CHECK_GOES_ON);
    assert_int_equal(judge(&intel, (SRAR | LOAD) & ~VALID), MACHINE_CHECK_GOES_ON);
    assert_int_equal(judge(&amd, VALID | UNCORRECTED | ENABLED | DEFERRED), MACHINE_CHECK_GOES_ON);
    assert_int_equal(judge(&amd, 0), MACHINE_CHECK_GOES_ON);
}

static void what_amd_contains_ends_the_guest(void **state)
{
    struct machine_check_words words = amd;
    uint64_t error = VALID | UNCORRECTED | ENABLED | 0x135;

    (void)state;
    assert_int_equal(judge(&words, error), MACHINE_CHECK_ENDS_GUEST);
    assert_int_equal(judge(&words, error | CONTEXT_LOST), MACHINE_CHECK_FATAL);
    assert_int_equal(judge(&words, error | OVERFLOW), MACHINE_CHECK_ENDS_GUEST);
    words.ras_ebx = 2; /* an overflow is not recovered from */
    assert_int_equal(judge(&words, error | OVERFLOW), MACHINE_CHECK_FATAL);
    words.ras_ebx = 1; /* errors are not contained */
    assert_int_equal(judge(&words, error), MACHINE_CHECK_FATAL);
}

static void the_worst_bank_decides_wherever_it_is(void **state)
{
    uint64_t banks[32] = {0};

    (void)state;
    for (uint32_t at = 0; at < 32; at++) {
        banks[at] = SRAR | LOAD;
        banks[31 - at] = SRAR | LOAD | CONTEXT_LOST;
        assert_int_equal(machine_check_judge(&intel, banks, 32), MACHINE_CHECK_FATAL);
        banks[31 - at] = 0;
        banks[at] = SRAR | LOAD;
        assert_int_equal(machine_check_judge(&intel, banks, 32), MACHINE_CHECK_ENDS_GUEST);
        banks[at] = 0;
    }
}

static void two_matches_in_the_tlb_end_the_guest_on_a_cpu_with_the_erratum(void **state)
{
    struct machine_check_words words = {.capabilities = 6, .status = IN_PROGRESS, .multimatch = true};
    const uint64_t match = 0xb600000000010015;
    uint64_t banks[] = {match, VALID | 0x42, 0, 0};

    (void)state;
    assert_int_equal(machine_check_judge(&words, banks, 4), MACHINE_CHECK_ENDS_GUEST);
    banks[0] |= OVERFLOW;
    assert_int_equal(machine_check_judge(&words, banks, 4), MACHINE_CHECK_ENDS_GUEST);
    banks[3] = VALID | UNCORRECTED | ENABLED; /* something else is wrong, too */
    assert_int_equal(machine_check_judge(&words, banks, 4), MACHINE_CHECK_FATAL);
    banks[3] = 0;
    for (uint32_t bit = 0; bit < 62; bit++) {
        banks[0] = match ^ 1ULL << bit;
        assert_int_equal(machine_check_judge(&words, banks, 4), MACHINE_CHECK_FATAL);
    }
    banks[0] = match;
    words.multimatch = false;
    assert_int_equal(machine_check_judge(&words, banks, 4), MACHINE_CHECK_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cpu_that_promises_nothing_has_lost_all),
        cmocka_unit_test(what_intel_calls_recoverable_here_ends_the_guest),
        cmocka_unit_test(what_was_not_used_ends_nothing),
        cmocka_unit_test(what_amd_contains_ends_the_guest),
        cmocka_unit_test(the_worst_bank_decides_wherever_it_is),
        cmocka_unit_test(two_matches_in_the_tlb_end_the_guest_on_a_cpu_with_the_erratum),
    };

    return cmocka_run_group_tests_name("machine_check", tests, NULL, NULL);
}
