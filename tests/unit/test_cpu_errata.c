/* SPDX-License-Identifier: MIT */
/* Promises of hv/host/cpu_errata.h: CPUs are told apart as the manuals say, and an erratum is seen on the CPUs that
 * have it, until the microcode that mends it. The signatures are those of CPUs as they are sold. */
#include "hv/host/cpu_errata.h"
#include "hv/x86/insn.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct cpu_identity identity_of(bool is_intel, uint32_t signature, uint32_t microcode)
{
    struct cpu_identity identity = {.is_intel = is_intel, .microcode = microcode};

    cpu_identity_decode(&identity, signature);
    return identity;
}

static void signatures_are_decoded(void **state)
{
    static const struct {
        uint32_t signature, family, model, stepping;
    } rows[] = {
        {0x000506e3, 6, 0x5e, 3},    /* Skylake, desktop */
        {0x00050654, 6, 0x55, 4},    /* Skylake, server */
        {0x00000f4a, 15, 4, 10},     /* Pentium 4: family 15, no extended model */
        {0x00800f12, 0x17, 1, 2},    /* Zen */
        {0x00a20f10, 0x19, 0x21, 0}, /* Zen 3 */
        {0x00100f43, 0x10, 4, 3},    /* Phenom II */
        {0x00040f33, 0x0f, 0x43, 3}, /* Athlon 64 X2, revision F */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_identity identity = identity_of(true, rows[i].signature, 0);

        assert_int_equal(identity.family, rows[i].family);
        assert_int_equal(identity.model, rows[i].model);
        assert_int_equal(identity.stepping, rows[i].stepping);
    }
}

static void the_deadline_timer_is_trusted_from_the_microcode_on_that_mends_it(void **state)
{
    struct cpu_identity cpu = identity_of(true, 0x000506e3, 0xb1);
    uint32_t wanted;

    (void)state;
    assert_true(cpu_errata_deadline_timer(&cpu, &wanted));
    assert_int_equal(wanted, 0xb2);
    cpu.microcode = 0xb2;
    assert_false(cpu_errata_deadline_timer(&cpu, &wanted));
    cpu = identity_of(true, 0x00050654, 0x2000013);
    assert_true(cpu_errata_deadline_timer(&cpu, &wanted));
    cpu = identity_of(true, 0x00050657, 0x1); /* Cascade Lake: a later stepping of the model */
    assert_false(cpu_errata_deadline_timer(&cpu, &wanted));
    cpu = identity_of(true, 0x000906ed, 0x10); /* Coffee Lake refresh shares Kaby Lake's row */
    assert_true(cpu_errata_deadline_timer(&cpu, &wanted));
    cpu = identity_of(true, 0x000806c1, 0x1); /* Tiger Lake never had it */
    assert_false(cpu_errata_deadline_timer(&cpu, &wanted));
}

static void an_emulated_cpu_has_no_errata(void **state)
{
    struct cpu_identity cpu = identity_of(true, 0x000506e3, 0x1);
    uint32_t wanted;

    (void)state;
    cpu.is_virtual = true;
    assert_false(cpu_errata_deadline_timer(&cpu, &wanted));
    cpu.is_virtual = false;
    cpu.microcode = 0; /* Bochs, and a CPU whose revision cannot be read */
    assert_false(cpu_errata_deadline_timer(&cpu, &wanted));
    cpu = identity_of(false, 0x00100f43, 0);
    cpu.is_virtual = true;
    assert_false(cpu_errata_c1e(&cpu));
}

static void c1e_is_an_old_amds(void **state)
{
    struct cpu_identity cpu = identity_of(false, 0x00100f43, 0);

    (void)state;
    assert_true(cpu_errata_c1e(&cpu));
    cpu = identity_of(false, 0x00040f33, 0);
    assert_true(cpu_errata_c1e(&cpu));
    cpu = identity_of(false, 0x00020f71, 0); /* Athlon 64, revision E */
    assert_false(cpu_errata_c1e(&cpu));
    cpu = identity_of(false, 0x00600f20, 0); /* family 15h */
    assert_false(cpu_errata_c1e(&cpu));
    cpu = identity_of(true, 0x00100f43, 0);
    assert_false(cpu_errata_c1e(&cpu));
}

static void x87_pointers_stay_on_amds_before_zen(void **state)
{
    struct cpu_identity bulldozer = identity_of(false, 0x00600f20, 0);
    struct cpu_identity zen = identity_of(false, 0x00800f11, 0);
    struct cpu_identity intel = identity_of(true, 0x000206a7, 0);

    (void)state;
    assert_true(cpu_errata_x87_pointers(&bulldozer, 0));
    assert_false(cpu_errata_x87_pointers(&zen, 1u << 2));
    assert_false(cpu_errata_x87_pointers(&intel, 0));
}

/* The instruction pointer that FNSTENV stores is that of the last x87 instruction. */
static uint64_t x87_pointer(void)
{
    struct {
        uint32_t words[7];
    } environment;

    __asm__ volatile("fnstenv %0\n\tfldenv %0" : "+m"(environment));
    return environment.words[3];
}

static void forgetting_leaves_nothing_of_what_ran_before(void **state)
{
    static const uint32_t secret = 5;
    uint64_t before;
    uint16_t tags;
    uint32_t environment[7];

    (void)state;
    __asm__ volatile("fninit\n\tfildl %0\n\tfildl %0" : : "m"(secret));
    before = x87_pointer();
    insn_x87_forget();
    assert_int_not_equal(x87_pointer(), before);
    __asm__ volatile("fnstenv %0" : "=m"(environment));
    tags = (uint16_t)environment[2];
    assert_int_equal(tags, 0xffff); /* the stack is empty */
    assert_int_not_equal(environment[5], (uint32_t)(uintptr_t)&secret);
    __asm__ volatile("fninit");
}

static void family_10h_alone_has_two_matches_in_its_tlb(void **state)
{
    struct cpu_identity identity = identity_of(false, 0x00100f43, 0);

    (void)state;
    assert_true(cpu_errata_tlb_multimatch(&identity));
    identity.is_virtual = true;
    assert_false(cpu_errata_tlb_multimatch(&identity));
    identity = identity_of(false, 0x00800f12, 0);
    assert_false(cpu_errata_tlb_multimatch(&identity));
    identity = identity_of(true, 0x00100f43, 0);
    assert_false(cpu_errata_tlb_multimatch(&identity));
}

static void code_whose_page_changes_its_size_stops_intels_big_cores_until_they_say_not(void **state)
{
    static const uint64_t says_not = 1u << 6;
    static const struct {
        uint32_t signature;
        bool is_intel, has;
    } rows[] = {
        {0x000106a5, true, true},   /* Nehalem */
        {0x000206a7, true, true},   /* Sandy Bridge */
        {0x000306c3, true, true},   /* Haswell */
        {0x000506e3, true, true},   /* Skylake */
        {0x00050657, true, true},   /* Cascade Lake without the bit */
        {0x000a0652, true, true},   /* Comet Lake */
        {0x000106ca, true, false},  /* Bonnell */
        {0x000406c3, true, false},  /* Airmont */
        {0x000506c9, true, false},  /* Goldmont */
        {0x00050671, true, false},  /* Knights Landing */
        {0x00000f4a, true, false},  /* Pentium 4 */
        {0x00800f12, false, false}, /* Zen */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_identity identity = identity_of(rows[i].is_intel, rows[i].signature, 0);

        assert_int_equal(cpu_errata_page_size_change(&identity, 0), rows[i].has);
        assert_false(cpu_errata_page_size_change(&identity, says_not));
        identity.is_virtual = true;
        assert_false(cpu_errata_page_size_change(&identity, 0));
    }
}

static void the_preemption_timer_is_told_by_the_stepping(void **state)
{
    static const uint32_t broken[] = {0x106a0, 0x106a1, 0x106a4, 0x106a5, 0x106e5, 0x20652, 0x20655, 0x206e6, 0x306a8};
    static const uint32_t whole[] = {0x306a9, 0x206a7, 0x306c3, 0x50654, 0x106a6, 0x20654};
    struct cpu_identity cpu = {.is_intel = true};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
        cpu_identity_decode(&cpu, broken[i]);
        assert_true(cpu_errata_preemption_timer(&cpu));
    }
    for (size_t i = 0; i < ARRAY_COUNT(whole); i++) {
        cpu_identity_decode(&cpu, whole[i]);
        assert_false(cpu_errata_preemption_timer(&cpu));
    }
    cpu_identity_decode(&cpu, broken[0]);
    cpu.is_intel = false;
    assert_false(cpu_errata_preemption_timer(&cpu));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_preemption_timer_is_told_by_the_stepping),
        cmocka_unit_test(signatures_are_decoded),
        cmocka_unit_test(the_deadline_timer_is_trusted_from_the_microcode_on_that_mends_it),
        cmocka_unit_test(an_emulated_cpu_has_no_errata),
        cmocka_unit_test(c1e_is_an_old_amds),
        cmocka_unit_test(x87_pointers_stay_on_amds_before_zen),
        cmocka_unit_test(forgetting_leaves_nothing_of_what_ran_before),
        cmocka_unit_test(code_whose_page_changes_its_size_stops_intels_big_cores_until_they_say_not),
        cmocka_unit_test(family_10h_alone_has_two_matches_in_its_tlb),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
