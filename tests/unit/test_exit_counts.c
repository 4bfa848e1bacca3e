/* SPDX-License-Identifier: MIT */
/* Promises of hv/report/exit_counts.h: counts of all vCPUs, true percentages, and no word of what did not happen. */
#include "hv/report/exit_counts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct vcpu vcpus[2];
static struct guest guest;
static char text[EXIT_COUNTS_TEXT_MAX];

static int set_up(void **state)
{
    (void)state;
    memset(vcpus, 0, sizeof(vcpus));
    guest = (struct guest){.vcpus = vcpus, .vcpu_count = 2};
    return 0;
}

static void percentages_are_of_all_exits(void **state)
{
    (void)state;
    vcpus[0].exit_counts[EXIT_CPUID] = 50;
    vcpus[1].exit_counts[EXIT_CPUID] = 6;
    vcpus[1].exit_counts[EXIT_HLT] = 2;
    assert_string_equal(exit_counts_text(&guest, text, sizeof(text)), "58 exits, CPUID 56 (97%), HLT 2 (3%)");
    assert_int_equal(exit_count_total(&guest), 58);
    assert_int_equal(exit_count(&guest, EXIT_CPUID), 56);
}

static void one_kind_is_a_hundred_percent(void **state)
{
    (void)state;
    vcpus[0].exit_counts[EXIT_HLT] = 7;
    assert_string_equal(exit_counts_text(&guest, text, sizeof(text)), "7 exits, HLT 7 (100%)");
}

static void nothing_is_not_divided(void **state)
{
    (void)state;
    assert_string_equal(exit_counts_text(&guest, text, sizeof(text)), "0 exits");
}

static void large_counts_do_not_overflow(void **state)
{
    (void)state;
    vcpus[0].exit_counts[EXIT_HLT] = 1ULL << 50;
    vcpus[0].exit_counts[EXIT_CPUID] = 1ULL << 50;
    (void)exit_counts_text(&guest, text, sizeof(text));
    assert_non_null(strstr(text, "(50%)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(percentages_are_of_all_exits, set_up),
        cmocka_unit_test_setup(one_kind_is_a_hundred_percent, set_up),
        cmocka_unit_test_setup(nothing_is_not_divided, set_up),
        cmocka_unit_test_setup(large_counts_do_not_overflow, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
