/* SPDX-License-Identifier: MIT */
/* What a guest sees of the CPU: the table that the policy makes of a host's answers, and the answers from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/policy/cpuid_policy.h"

#include <string.h>

#define ONES 0xffffffffu
#define ALL_ONES               \
    {                          \
        ONES, ONES, ONES, ONES \
    }

static struct cpuid_host host;
static struct cpuid_table table;
static const struct cpuid_dynamic plain = {.apic_id = 0, .apic_enabled = true, .osxsave = false, .xcr0 = 1};

static void host_add(uint32_t leaf, uint32_t subleaf, struct cpuid_words words)
{
    host.entries[host.count++] = (struct cpuid_entry){.leaf = leaf, .subleaf = subleaf, .words = words};
}

/* A host that has every bit of every leaf: what comes through is what the policy lets through. */
static void build(bool is_intel, uint32_t vcpu_count)
{
    struct cpuid_policy_input input = {
        .host = &host, .vcpu_count = vcpu_count, .tsc_khz = 2000000, .tsc_stable = true, .is_intel = is_intel};
    const struct cpuid_words ones = ALL_ONES;

    memset(&host, 0, sizeof(host));
    host_add(0, 0, (struct cpuid_words){0x1f, 0x756e6547, 0x6c65746e, 0x49656e69});
    for (uint32_t leaf = 1; leaf <= 0x1f; leaf++) {
        for (uint32_t subleaf = 0; subleaf < (leaf == 7 ? 2 : 1); subleaf++) {
            if (leaf != 0xd && leaf != 4) {
                host_add(leaf, subleaf, ones);
            }
        }
    }
    host_add(4, 0, (struct cpuid_words){ONES & ~0xe0u, 1, 2, 3});
    host_add(4, 1, (struct cpuid_words){(ONES & ~0xe0u) | 0x60, 4, 5, 6});
    host_add(4, 2, (struct cpuid_words){0, 0, 0, 0});
    host_add(0xd, 0, (struct cpuid_words){0x2e7, 0, 0, 1});
    host_add(0xd, 1, ones);
    host_add(0xd, 2, (struct cpuid_words){256, 576, 0, 0});
    host_add(0xd, 5, (struct cpuid_words){64, 1088, 0, 0});
    host_add(0xd, 9, (struct cpuid_words){8, 2688, 0, 0});
    host_add(0x80000000, 0, (struct cpuid_words){0x80000021, 1, 2, 3});
    for (uint32_t leaf = 0x80000001; leaf <= 0x80000021; leaf++) {
        host_add(leaf, 0, ones);
    }
    cpuid_policy_build(&input, &table);
}

static struct cpuid_words ask(uint32_t leaf, uint32_t subleaf)
{
    return cpuid_table_answer(&table, leaf, subleaf, &plain);
}

static bool is_zero(struct cpuid_words words)
{
    return (words.eax | words.ebx | words.ecx | words.edx) == 0;
}

static void virtualization_and_power_features_are_hidden(void **state)
{
    const uint32_t monitor = 1u << 3, vmx = 1u << 5, smx = 1u << 6, pdcm = 1u << 15;
    const uint32_t mca = 1u << 14, mtrr = 1u << 12, debug_store = 1u << 21;

    (void)state;
    build(true, 1);
    assert_int_equal(ask(1, 0).ecx & (monitor | vmx | smx | pdcm), 0);
    assert_int_equal(ask(1, 0).edx & (mca | mtrr | debug_store), 0);
    assert_int_equal(ask(0x80000001, 0).ecx & (1u << 2), 0);             /* SVM */
    assert_int_equal(ask(6, 0).eax, 1u << 2);                            /* only ARAT */
    assert_int_equal(ask(7, 0).ebx & (1u << 2 | 1u << 4 | 1u << 11), 0); /* SGX, HLE, RTM */
}

static void what_the_hypervisor_provides_is_added(void **state)
{
    const uint32_t x2apic = 1u << 21, deadline = 1u << 24, hypervisor = 1u << 31;

    (void)state;
    build(false, 1);
    assert_int_equal(ask(1, 0).ecx & (x2apic | deadline | hypervisor), x2apic | deadline | hypervisor);
    assert_int_equal(ask(0x40000000, 0).ebx, 0x4b4d564b); /* "KVMK" */
    assert_int_equal(ask(0x40000010, 0).eax, 2000000);
    assert_int_not_equal(ask(0x80000007, 0).edx & 1u << 8, 0); /* invariant TSC */
}

static void leaves_without_a_row_are_zero(void **state)
{
    static const uint32_t leaves[] = {3,          5,          8,          9,          0xa,        0xc,
                                      0xe,        0x14,       0x1f,       0x20,       0x12345678, 0x3fffffff,
                                      0x40000002, 0x4fffffff, 0x80000009, 0x8000001f, 0x80000022, 0xffffffff};

    (void)state;
    for (uint32_t vendor = 0; vendor < 2; vendor++) {
        build(vendor == 1, 2);
        for (size_t i = 0; i < ARRAY_COUNT(leaves); i++) {
            assert_true(is_zero(ask(leaves[i], 0)));
        }
    }
}

static void subleaves_are_found_by_number_and_others_are_zero(void **state)
{
    (void)state;
    build(true, 1);
    assert_int_equal(ask(4, 0).ebx, 1);
    assert_int_equal(ask(4, 1).ebx, 4);
    assert_true(is_zero(ask(4, 2)));
    assert_true(is_zero(ask(4, 3)));
    assert_int_equal(ask(0xd, 5).ebx, 1088);
    assert_true(is_zero(ask(0xd, 3)));
    assert_true(is_zero(ask(0xd, 9))); /* protection keys are not offered */
    assert_true(is_zero(ask(7, 2)));
}

static void leaves_without_subleaves_ignore_ecx(void **state)
{
    (void)state;
    build(true, 1);
    assert_int_equal(ask(1, 77).eax, ask(1, 0).eax);
    assert_int_equal(ask(0x80000008, 0xffffffff).eax, ask(0x80000008, 0).eax);
}

static void the_apic_id_osxsave_and_apic_bits_are_the_vcpus(void **state)
{
    const struct cpuid_dynamic off = {.apic_id = 3, .apic_enabled = false, .osxsave = true};
    struct cpuid_words words;

    (void)state;
    build(false, 4);
    words = cpuid_table_answer(&table, 1, 0, &off);
    assert_int_equal(words.ebx >> 24, 3);
    assert_int_equal(words.ebx >> 16 & 0xff, 4);
    assert_int_not_equal(words.ecx & 1u << 27, 0);
    assert_int_equal(words.edx & 1u << 9, 0);
    assert_int_equal(cpuid_table_answer(&table, 0x80000001, 0, &off).edx & 1u << 9, 0);
    assert_int_equal(cpuid_table_answer(&table, 0xb, 1, &off).edx, 3);
    assert_int_equal(cpuid_table_answer(&table, 0x8000001e, 0, &off).eax, 3);
    assert_int_equal(ask(1, 0).ecx & 1u << 27, 0);
    assert_int_not_equal(ask(1, 0).edx & 1u << 9, 0);
}

static void the_xsave_area_has_the_size_of_what_is_switched_on(void **state)
{
    const struct cpuid_dynamic with_avx512 = {.apic_enabled = true, .xcr0 = 0x27};

    (void)state;
    build(true, 1);
    assert_int_equal(ask(0xd, 0).eax, 0xe7); /* of the host's 0x2e7 */
    assert_int_equal(ask(0xd, 0).ebx, 576);
    assert_int_equal(cpuid_table_answer(&table, 0xd, 0, &with_avx512).ebx, 1088 + 64);
    assert_int_equal(ask(0xd, 0).ecx, 1088 + 64);
    assert_int_equal(ask(0xd, 1).eax, 0x7); /* XSAVEC, but not XSAVES */
    assert_int_equal(ask(0xd, 1).ebx, 576);
    assert_int_equal(cpuid_table_answer(&table, 0xd, 1, &with_avx512).ebx, 576 + 256 + 64);
}

/* Components lie one after the other; those that say so (ECX bit 1), on the next boundary of 64 bytes. SDM 1 13.4.3. */
static void a_compacted_xsave_area_has_no_holes_but_for_alignment(void **state)
{
    const struct cpuid_dynamic with_avx512 = {.apic_enabled = true, .xcr0 = 0x27};
    struct cpuid_entry *component;

    (void)state;
    build(true, 1);
    component = &table.entries[table.basic[0xd]];
    while (component->subleaf != 2) {
        component++;
    }
    component->words.eax = 240;
    assert_int_equal(cpuid_table_answer(&table, 0xd, 1, &with_avx512).ebx, 576 + 240 + 64);
    while (component->subleaf != 5) {
        component++;
    }
    component->words.ecx = 2;
    assert_int_equal(cpuid_table_answer(&table, 0xd, 1, &with_avx512).ebx, 576 + 256 + 64);
}

static void xsavec_is_hidden_where_the_emulator_breaks_it(void **state)
{
    const struct cpuid_policy_input input = {
        .host = &host, .vcpu_count = 1, .tsc_khz = 1000000, .is_intel = true, .hide_xsavec = true};

    (void)state;
    cpuid_policy_build(&input, &table);
    assert_int_equal(ask(0xd, 1).eax, 0x5);
    assert_int_equal(ask(0xd, 1).ebx, 0);
}

static void tce_is_hidden_where_the_emulator_refuses_it(void **state)
{
    struct cpuid_policy_input input = {.host = &host, .vcpu_count = 1, .tsc_khz = 1000000, .hide_tce = false};

    (void)state;
    cpuid_policy_build(&input, &table);
    assert_int_equal(ask(0x80000001, 0).ecx >> 17 & 1, 1);
    input.hide_tce = true;
    cpuid_policy_build(&input, &table);
    assert_int_equal(ask(0x80000001, 0).ecx >> 17 & 1, 0);
}

/* Returns how many answers of 64 subleaves were to be had quickly. */
static uint32_t compare_quick(uint32_t leaf)
{
    uint32_t quick = 0;

    for (uint32_t subleaf = 0; subleaf < 64; subleaf++) {
        const struct cpuid_entry *entry = cpuid_table_quick(&table, leaf, subleaf);
        struct cpuid_words words = ask(leaf, subleaf);

        if (entry != NULL && entry->form != CPUID_FEATURES) {
            assert_memory_equal(&words, &entry->words, sizeof(words));
            quick++;
        }
    }
    return quick;
}

static void the_quick_answer_is_the_answer(void **state)
{
    (void)state;
    for (uint32_t vendor = 0; vendor < 2; vendor++) {
        build(vendor == 0, 2);
        for (uint32_t leaf = 0; leaf < CPUID_BASIC_MAX + 2; leaf++) {
            (void)compare_quick(leaf);
            (void)compare_quick(0x40000000 + leaf);
        }
        for (uint32_t leaf = 0; leaf < CPUID_EXTENDED_MAX + 2; leaf++) {
            (void)compare_quick(CPUID_EXTENDED_FIRST + leaf);
        }
        assert_int_equal(compare_quick(0), 64);
        assert_int_equal(compare_quick(4), 64);
        assert_int_equal(compare_quick(7), 64);
        assert_int_equal(compare_quick(0xb), 0);  /* x2APIC id, and ECX again */
        assert_int_equal(compare_quick(0xd), 62); /* 0 and 1 have sizes by XCR0; 3 and 4 are gaps of the host */
        assert_int_equal(compare_quick(0x80000002), 64);
        assert_int_equal(compare_quick(0x80000001), 0); /* APIC on or off */
        assert_int_equal(cpuid_table_quick(&table, 1, 0)->form, CPUID_FEATURES);
    }
}

/* Then it is looked for. */
static void subleaves_with_a_gap_before_the_last_are_no_list(void **state)
{
    struct cpuid_policy_input input = {.host = &host, .vcpu_count = 1, .tsc_khz = 1000000, .is_intel = true};

    (void)state;
    build(true, 1);
    for (uint32_t i = 0; i < host.count; i++) {
        if (host.entries[i].leaf == 4 && host.entries[i].subleaf == 2) {
            host.entries[i].subleaf = 20;
            host.entries[i].words = (struct cpuid_words){1, 2, 3, 4};
        }
    }
    cpuid_policy_build(&input, &table);
    assert_int_equal(ask(4, 20).edx, 4);
    assert_int_equal(compare_quick(4), 0);
}

static void a_host_without_leaf_7_or_d_is_no_trouble(void **state)
{
    struct cpuid_policy_input input = {.host = &host, .vcpu_count = 1, .tsc_khz = 1000000};

    (void)state;
    memset(&host, 0, sizeof(host));
    host_add(0, 0, (struct cpuid_words){1, 1, 2, 3});
    host_add(1, 0, (struct cpuid_words){0x600, 0, 0, 0});
    cpuid_policy_build(&input, &table);
    assert_int_equal(ask(1, 0).eax, 0x600);
    assert_true(is_zero(ask(0xd, 0)));
    assert_int_equal(ask(0, 0).eax, 0xb);
}

static void a_feature_that_another_cpu_lacks_is_named_by_its_leaf_and_bit(void **state)
{
    static const struct {
        uint32_t leaf, subleaf;
        struct cpuid_words gone;
    } cases[] = {
        {1, 0, {0, 0, 1u << 20, 0}},
        {1, 0, {0, 0, 0, 1u << 26}},
        {7, 0, {0, 1u << 5, 0, 0}},
        {7, 1, {1u << 4, 0, 0, 0}},
        {0xd, 0, {4, 0, 0, 0}},
        {0xd, 1, {1, 0, 0, 0}},
        {0x80000001, 0, {0, 0, 1u << 5, 0}},
        {0x80000001, 0, {0, 0, 0, 1u << 27}},
        {0x80000008, 0, {0, 1, 0, 0}},
    };
    struct cpuid_features features;
    struct cpuid_lack lack;

    (void)state;
    build(true, 1);
    cpuid_policy_features(&host, &features);
    assert_false(cpuid_policy_limit(&host, &features, &lack));
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct cpuid_host other = host;
        struct cpuid_host shared = host;

        for (uint32_t k = 0; k < other.count; k++) {
            struct cpuid_words *words = &other.entries[k].words;

            if (other.entries[k].leaf == cases[i].leaf && other.entries[k].subleaf == cases[i].subleaf) {
                words->eax &= ~cases[i].gone.eax;
                words->ebx &= ~cases[i].gone.ebx;
                words->ecx &= ~cases[i].gone.ecx;
                words->edx &= ~cases[i].gone.edx;
            }
        }
        cpuid_policy_features(&other, &features);
        assert_true(cpuid_policy_limit(&shared, &features, &lack));
        assert_int_equal(lack.leaf, cases[i].leaf);
        assert_memory_equal(&lack.bits, &cases[i].gone, sizeof(lack.bits));
        assert_memory_equal(&shared, &other, sizeof(shared)); /* and nothing else is taken */
        cpuid_policy_features(&host, &features);
        assert_false(cpuid_policy_limit(&other, &features, &lack)); /* more than the boot CPU does no harm */
    }
}

static void what_no_guest_sees_may_differ_between_cpus(void **state)
{
    struct cpuid_host other;
    struct cpuid_features features;
    struct cpuid_lack lack;

    (void)state;
    build(true, 1);
    other = host;
    for (uint32_t k = 0; k < other.count; k++) {
        if (other.entries[k].leaf == 1) {
            other.entries[k].words.ebx = 0;                         /* the APIC id */
            other.entries[k].words.ecx &= ~(1u << 27) & ~(1u << 3); /* OSXSAVE follows CR4; MONITOR is not offered */
        } else if (other.entries[k].leaf == 4 || other.entries[k].leaf == 0x8000001e) {
            other.entries[k].words = (struct cpuid_words){0, 0, 0, 0}; /* caches, places */
        }
    }
    cpuid_policy_features(&other, &features);
    assert_false(cpuid_policy_limit(&host, &features, &lack));
    assert_false(cpuid_policy_find_lack(&host, &other, &lack));
}

/* What the hypervisor does alike on every CPU cannot be left to guests. */
static void a_cpu_without_what_is_used_on_all_is_named(void **state)
{
    static const struct {
        uint32_t leaf;
        struct cpuid_words gone;
    } needs[] = {{1, {0, 0, 1u << 26, 0}}, {0x80000001, {0, 0, 0, 1u << 20}}, {0x80000001, {0, 0, 0, 1u << 26}}};
    struct cpuid_lack lack;

    (void)state;
    build(true, 1);
    for (uint32_t i = 0; i < ARRAY_COUNT(needs); i++) {
        struct cpuid_host boot = host;
        struct cpuid_host other = host;

        for (uint32_t k = 0; k < other.count; k++) {
            if (other.entries[k].leaf == needs[i].leaf) {
                boot.entries[k].words.ecx |= needs[i].gone.ecx;
                boot.entries[k].words.edx |= needs[i].gone.edx;
                other.entries[k].words.ecx &= ~needs[i].gone.ecx;
                other.entries[k].words.edx &= ~needs[i].gone.edx;
            }
        }
        assert_true(cpuid_policy_find_lack(&boot, &other, &lack));
        assert_int_equal(lack.leaf, needs[i].leaf);
        assert_memory_equal(&lack.bits, &needs[i].gone, sizeof(lack.bits));
        assert_false(cpuid_policy_find_lack(&other, &boot, &lack));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(virtualization_and_power_features_are_hidden),
        cmocka_unit_test(a_cpu_without_what_is_used_on_all_is_named),
        cmocka_unit_test(a_feature_that_another_cpu_lacks_is_named_by_its_leaf_and_bit),
        cmocka_unit_test(what_no_guest_sees_may_differ_between_cpus),
        cmocka_unit_test(what_the_hypervisor_provides_is_added),
        cmocka_unit_test(leaves_without_a_row_are_zero),
        cmocka_unit_test(subleaves_are_found_by_number_and_others_are_zero),
        cmocka_unit_test(leaves_without_subleaves_ignore_ecx),
        cmocka_unit_test(the_apic_id_osxsave_and_apic_bits_are_the_vcpus),
        cmocka_unit_test(the_xsave_area_has_the_size_of_what_is_switched_on),
        cmocka_unit_test(a_compacted_xsave_area_has_no_holes_but_for_alignment),
        cmocka_unit_test(xsavec_is_hidden_where_the_emulator_breaks_it),
        cmocka_unit_test(tce_is_hidden_where_the_emulator_refuses_it),
        cmocka_unit_test(the_quick_answer_is_the_answer),
        cmocka_unit_test(subleaves_with_a_gap_before_the_last_are_no_list),
        cmocka_unit_test(a_host_without_leaf_7_or_d_is_no_trouble),
    };

    return cmocka_run_group_tests_name("CPUID policy", tests, NULL, NULL);
}
