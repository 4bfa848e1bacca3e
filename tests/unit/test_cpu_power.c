/* SPDX-License-Identifier: MIT */
/* Promises of hv/host/cpu_power.h: a deep sleep only where the timer, the TSC and interrupts survive it, and a request
 * for the CPU's own range, on CPUs as their CPUID describes them. */
#include "hv/host/cpu_power.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* As desktop CPUs say it: ARAT, HWP with preference, states C1, C2, C3 and the three behind C6. */
static const struct cpu_power_facts skylake = {
    .is_intel = true,
    .features_ecx = 0x7ffafbbf,
    .mwait_ecx = 0x3,
    .mwait_edx = 0x00142120,
    .power_eax = 0x000027f7,
    .invariant_edx = 0x100,
};

static const struct cpu_power_facts zen3 = {
    .is_intel = false,
    .features_ecx = 0x7ed8320b,
    .mwait_ecx = 0x3,
    .mwait_edx = 0x11,
    .power_eax = 0x4,
    .invariant_edx = 0x100,
    .sizes_ebx = 0x191ef657 | 1u << 27,
};

static void the_deepest_state_that_the_cpu_lists_is_taken(void **state)
{
    struct cpu_power_facts facts = skylake;
    struct cpu_idle idle = cpu_power_idle(&facts);

    (void)state;
    assert_true(idle.mwait);
    assert_int_equal(idle.state, 5);
    assert_int_equal(idle.hint, 0x40);
    facts.mwait_edx = 0x00000020;
    idle = cpu_power_idle(&facts);
    assert_true(idle.mwait && idle.state == 1 && idle.hint == 0);
    facts.mwait_edx = 0xf0000000;
    idle = cpu_power_idle(&facts);
    assert_true(idle.mwait && idle.state == 7 && idle.hint == 0x60);
    facts.mwait_edx = 0xf; /* C0 is no sleep */
    assert_false(cpu_power_idle(&facts).mwait);
}

static void it_is_hlt_where_anything_would_be_lost(void **state)
{
    static const struct {
        size_t word;
        uint32_t bit;
    } needs[] = {
        {offsetof(struct cpu_power_facts, features_ecx), 1u << 3},  /* MONITOR */
        {offsetof(struct cpu_power_facts, mwait_ecx), 1u << 0},     /* extensions are told */
        {offsetof(struct cpu_power_facts, mwait_ecx), 1u << 1},     /* interrupts end it */
        {offsetof(struct cpu_power_facts, power_eax), 1u << 2},     /* ARAT */
        {offsetof(struct cpu_power_facts, invariant_edx), 1u << 8}, /* invariant TSC */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(needs); i++) {
        struct cpu_power_facts facts = skylake;

        *(uint32_t *)(void *)((char *)&facts + needs[i].word) &= ~needs[i].bit;
        assert_false(cpu_power_idle(&facts).mwait);
    }
    assert_false(cpu_power_idle(&zen3).mwait); /* HLT reaches its deep states */
    assert_false(cpu_power_idle(&(struct cpu_power_facts){.is_intel = true}).mwait);
}

static void each_maker_is_asked_in_its_own_way(void **state)
{
    struct cpu_power_facts facts = skylake;

    (void)state;
    assert_int_equal(cpu_power_frequency(&skylake), CPU_FREQUENCY_HWP);
    assert_int_equal(cpu_power_frequency(&zen3), CPU_FREQUENCY_CPPC);
    facts.power_eax &= ~(1u << 7);
    facts.sizes_ebx = 1u << 27;
    assert_int_equal(cpu_power_frequency(&facts), CPU_FREQUENCY_AS_IT_IS);
    facts.is_intel = false;
    facts.sizes_ebx = 0;
    facts.power_eax |= 1u << 7;
    assert_int_equal(cpu_power_frequency(&facts), CPU_FREQUENCY_AS_IT_IS);
}

static void the_whole_range_is_asked_for_and_no_fixed_speed(void **state)
{
    struct cpu_power_facts facts = skylake;
    struct cpu_range range;

    (void)state;
    assert_true(
        cpu_power_range(CPU_FREQUENCY_HWP, 0x0108182a, &range)); /* lowest 1, efficient 8, base 0x18, turbo 0x2a */
    assert_true(range.lowest == 1 && range.highest == 0x2a);
    assert_int_equal(cpu_power_request(CPU_FREQUENCY_HWP, &facts, &range), 0x80002a01);
    facts.power_eax &= ~(1u << 10); /* no preference */
    assert_int_equal(cpu_power_request(CPU_FREQUENCY_HWP, &facts, &range), 0x2a01);
    assert_true(
        cpu_power_range(CPU_FREQUENCY_CPPC, 0xa6763415, &range)); /* highest 0xa6, nominal, efficient, lowest 0x15 */
    assert_true(range.lowest == 0x15 && range.highest == 0xa6);
    assert_int_equal(cpu_power_request(CPU_FREQUENCY_CPPC, &zen3, &range), 0x800015a6);
}

static void a_range_that_cannot_be_is_not_asked_for(void **state)
{
    struct cpu_range range;

    (void)state;
    assert_false(cpu_power_range(CPU_FREQUENCY_HWP, 0, &range));
    assert_false(cpu_power_range(CPU_FREQUENCY_HWP, 0x30000020, &range)); /* the lowest is above the highest */
    assert_false(cpu_power_range(CPU_FREQUENCY_CPPC, 0x20000030, &range));
    assert_false(cpu_power_range(CPU_FREQUENCY_AS_IT_IS, 0x0108182a, &range));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_deepest_state_that_the_cpu_lists_is_taken),
        cmocka_unit_test(it_is_hlt_where_anything_would_be_lost),
        cmocka_unit_test(each_maker_is_asked_in_its_own_way),
        cmocka_unit_test(the_whole_range_is_asked_for_and_no_fixed_speed),
        cmocka_unit_test(a_range_that_cannot_be_is_not_asked_for),
    };

    return cmocka_run_group_tests_name("cpu_power", tests, NULL, NULL);
}
