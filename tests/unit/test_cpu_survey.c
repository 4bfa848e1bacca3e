/* SPDX-License-Identifier: MIT */
/* Promises of hv/host/cpu_survey.h: what tells CPUs apart by design is no difference, all else is, each way round. */
#include "hv/host/cpu_survey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct cpu_survey boot, other;

static void leaf(struct cpu_survey *survey, uint32_t number, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    survey->cpuid.entries[survey->cpuid.count++] = (struct cpuid_entry){.leaf = number, .words = {eax, ebx, ecx, edx}};
}

static int both_alike(void **state)
{
    (void)state;
    memset(&boot, 0, sizeof(boot));
    leaf(&boot, 0x1, 0x806ea, 0x00100800, 0x7ffafbbf, 0xbfebfbff);
    leaf(&boot, 0x7, 0, 0x029c6fbf, 0, 0xbc000600);
    leaf(&boot, 0x1a, 0x40000001, 0, 0, 0);
    cpu_survey_add(&boot, 0x3a, 5);
    cpu_survey_add(&boot, 0x480, 0x00da040000000004);
    other = boot;
    return 0;
}

static bool differs(void)
{
    for (uint32_t i = 0; i < other.cpuid.count; i++) {
        if (cpu_survey_leaf_differs(&boot, &other.cpuid.entries[i])) {
            return true;
        }
    }
    return false;
}

static void ids_and_bits_that_show_cr4_are_no_difference(void **state)
{
    (void)state;
    other.cpuid.entries[0].words.ebx = 0x03100800; /* APIC id 3 */
    other.cpuid.entries[0].words.ecx ^= 1u << 27;  /* OSXSAVE */
    other.cpuid.entries[1].words.ecx ^= 1u << 4;   /* OSPKE */
    leaf(&boot, 0xb, 1, 2, 0x100, 0);
    leaf(&other, 0xb, 1, 2, 0x100, 3);
    leaf(&boot, 0x8000001e, 0, 0x100, 0, 0);
    leaf(&other, 0x8000001e, 3, 0x101, 1, 0);
    assert_false(differs());
}

static void every_other_bit_is_one(void **state)
{
    (void)state;
    for (uint32_t bit = 0; bit < 32; bit++) {
        other.cpuid.entries[1].words.ebx ^= 1u << bit;
        assert_true(differs());
        other.cpuid.entries[1].words.ebx ^= 1u << bit;
    }
    assert_false(differs());
    other.cpuid.entries[2].words.eax = 0x20000002; /* another kind of core */
    assert_true(differs());
}

static void a_leaf_or_register_that_one_has_alone_is_told_either_way(void **state)
{
    uint32_t at = 0;
    uint32_t lack = 0;

    (void)state;
    assert_false(cpu_survey_lacks_leaf(&boot, &other, &lack));
    assert_false(cpu_survey_lacks_msr(&boot, &other, &lack));
    assert_null(cpu_survey_next_msr(&boot, &other, &at));
    other.cpuid.count--;
    assert_true(cpu_survey_lacks_leaf(&boot, &other, &lack));
    assert_int_equal(lack, 0x1a);
    other.msr_count--;
    assert_true(cpu_survey_lacks_msr(&boot, &other, &lack));
    assert_int_equal(lack, 0x480);
    leaf(&other, 0x24, 1, 0, 0, 0);
    assert_true(differs());
    cpu_survey_add(&other, 0x10a, 7);
    at = 0;
    assert_int_equal(cpu_survey_next_msr(&boot, &other, &at)->number, 0x10a);
    assert_null(cpu_survey_next_msr(&boot, &other, &at));
}

static void a_register_of_another_value_is_told(void **state)
{
    uint32_t at = 0;
    const struct cpu_survey_msr *msr;

    (void)state;
    other.msrs[0].value = 1;
    msr = cpu_survey_next_msr(&boot, &other, &at);
    assert_int_equal(msr->number, 0x3a);
    assert_int_equal(msr->value, 1);
}

static void what_does_not_fit_is_left_out(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2 * CPU_SURVEY_MSRS_MAX; i++) {
        cpu_survey_add(&other, i, i);
    }
    assert_int_equal(other.msr_count, CPU_SURVEY_MSRS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ids_and_bits_that_show_cr4_are_no_difference, both_alike),
        cmocka_unit_test_setup(every_other_bit_is_one, both_alike),
        cmocka_unit_test_setup(a_leaf_or_register_that_one_has_alone_is_told_either_way, both_alike),
        cmocka_unit_test_setup(a_register_of_another_value_is_told, both_alike),
        cmocka_unit_test_setup(what_does_not_fit_is_left_out, both_alike),
    };

    return cmocka_run_group_tests_name("cpu_survey", tests, NULL, NULL);
}
