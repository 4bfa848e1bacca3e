/* SPDX-License-Identifier: MIT */
/*
 * What CPUs are open to and what is done about it: the table (hv/host/cpu_speculation.h) for the CPUs of cpu_dumps.h
 * and for others with the microcode of later years, and the stores that follow (hv/host/speculation.c) on a model of a
 * CPU's registers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/cpu_dumps.h"

#include "hv/host/cpu_speculation.h"
#include "hv/host/descriptors.h"
#include "hv/host/host_cpu.h"
#include "hv/host/speculation.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#include <string.h>

#define A(name) (1u << ATTACK_##name)
#define B(name) (1u << ANSWER_##name)

#define MD_CLEAR (1u << 10)
#define IBRS_IBPB (1u << 26)
#define L1D_FLUSH (1u << 28)
#define ARCH (1u << 29)
#define RTM (1u << 11)
#define NO_MELTDOWN (1ULL << 0 | 1ULL << 3)
#define IBRS_ALL (1ULL << 1)
#define MDS_NO (1ULL << 5)
#define TAA_NO (1ULL << 8)
#define MMIO_NO (7ULL << 13)
#define FB_CLEAR (1ULL << 17)
#define BHI_NO (1ULL << 20)
#define GDS_NO (1ULL << 26)
#define RFDS_NO (1ULL << 27)
#define RFDS_CLEAR (1ULL << 28)
#define BTC_NO (1u << 29)
#define SRSO_NO (1u << 29)
#define AUTO_IBRS (1u << 8)
#define IBPB (1u << 12)

/* ---- the table ---- */

static const struct {
    const char *name;
    bool is_intel;
    uint32_t signature, microcode, leaf7_ebx, leaf7_edx, leaf7_2_edx, extended8_ebx, extended21_eax;
    uint64_t arch;
    bool threads;
    struct cpu_speculation expected;
} rows[] = {
    /* Intel, as sold and with microcode of later years */
    {"Sandy Bridge, first microcode",
     true,
     0x206a7,
     0x6,
     0,
     0,
     0,
     0,
     0,
     0,
     false,
     {A(BRANCH) | A(L1TF) | A(MDS), 0, A(BRANCH) | A(L1TF) | A(MDS)}},
    {"Haswell",
     true,
     0x306c3,
     0x28,
     0,
     MD_CLEAR | IBRS_IBPB | L1D_FLUSH,
     0,
     0,
     0,
     0,
     true,
     {A(BRANCH) | A(L1TF) | A(MDS) | A(THREADS), B(IBPB) | B(VERW) | B(L1D), 0}},
    {"Skylake",
     true,
     0x506e3,
     0xf0,
     RTM,
     MD_CLEAR | IBRS_IBPB | L1D_FLUSH,
     0,
     0,
     0,
     0,
     true,
     {A(BRANCH) | A(L1TF) | A(MDS) | A(TAA) | A(MMIO) | A(RETBLEED) | A(GDS) | A(THREADS), B(IBPB) | B(VERW) | B(L1D),
      0}},
    {"Skylake, first microcode",
     true,
     0x506e3,
     0x1b,
     0,
     0,
     0,
     0,
     0,
     0,
     false,
     {A(BRANCH) | A(L1TF) | A(MDS) | A(MMIO) | A(RETBLEED) | A(GDS), 0,
      A(BRANCH) | A(L1TF) | A(MDS) | A(MMIO) | A(RETBLEED)}},
    {"Cascade Lake",
     true,
     0x50657,
     0x5003604,
     RTM,
     MD_CLEAR | IBRS_IBPB | L1D_FLUSH | ARCH,
     0,
     0,
     0,
     NO_MELTDOWN | IBRS_ALL | MDS_NO | FB_CLEAR,
     true,
     {A(BRANCH) | A(BHI) | A(TAA) | A(MMIO) | A(RETBLEED) | A(GDS) | A(THREADS), B(IBRS) | B(IBPB) | B(VERW), A(BHI)}},
    {"Tiger Lake",
     true,
     0x806c1,
     0xa4,
     0,
     MD_CLEAR | IBRS_IBPB | L1D_FLUSH | ARCH,
     1u << 4,
     0,
     0,
     NO_MELTDOWN | IBRS_ALL | MDS_NO | TAA_NO | MMIO_NO,
     true,
     {A(BRANCH) | A(BHI) | A(GDS) | A(THREADS), B(IBRS) | B(BHI_DIS) | B(IBPB), 0}},
    {"Raptor Lake",
     true,
     0xb0671,
     0x129,
     0,
     MD_CLEAR | IBRS_IBPB | L1D_FLUSH | ARCH,
     1u << 4,
     0,
     0,
     NO_MELTDOWN | IBRS_ALL | MDS_NO | TAA_NO | MMIO_NO | GDS_NO | RFDS_CLEAR,
     false,
     {A(BRANCH) | A(BHI) | A(RFDS), B(IBRS) | B(BHI_DIS) | B(IBPB) | B(VERW), 0}},
    {"Goldmont", true, 0x506c9, 0x40, 0, IBRS_IBPB, 0, 0, 0, 0, false, {A(BRANCH) | A(RFDS), B(IBPB), A(RFDS)}},
    {"Silvermont",
     true,
     0x30678,
     0x838,
     0,
     MD_CLEAR | IBRS_IBPB,
     0,
     0,
     0,
     0,
     false,
     {A(BRANCH) | A(MDS), B(IBPB) | B(VERW), 0}},
    {"Bonnell, in order", true, 0x106ca, 0x107, 0, 0, 0, 0, 0, 0, true, {0, 0, 0}},
    {"an Intel CPU of the future",
     true,
     0xc0690,
     0x1,
     0,
     IBRS_IBPB | ARCH,
     0,
     0,
     0,
     NO_MELTDOWN | IBRS_ALL | MDS_NO | TAA_NO | MMIO_NO | BHI_NO | GDS_NO | RFDS_NO,
     false,
     {A(BRANCH), B(IBRS) | B(IBPB), 0}},
    /* AMD */
    {"Phenom II", false, 0x100f42, 0x10000db, 0, 0, 0, 0, 0, 0, false, {A(BRANCH), 0, A(BRANCH)}},
    {"FX-8350", false, 0x600f20, 0x6000852, 0, 0, 0, IBPB, 0, 0, false, {A(BRANCH) | A(RETBLEED), B(IBPB), 0}},
    {"Zen",
     false,
     0x810f10,
     0x8101016,
     0,
     0,
     0,
     IBPB,
     0,
     0,
     true,
     {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(THREADS), B(IBPB), 0}},
    {"Zen 2 before Zenbleed's mend",
     false,
     0x870f10,
     0x8701021,
     0,
     0,
     0,
     IBPB,
     0,
     0,
     false,
     {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(ZENBLEED), B(ZENBLEED) | B(IBPB), 0}},
    {"Zen 2 behind it",
     false,
     0x870f10,
     0x8701033,
     0,
     0,
     0,
     IBPB,
     0,
     0,
     false,
     {A(BRANCH) | A(RETBLEED) | A(SRSO), B(IBPB), 0}},
    {"Rome before it",
     false,
     0x830f10,
     0x8301038,
     0,
     0,
     0,
     IBPB,
     0,
     0,
     false,
     {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(ZENBLEED), B(ZENBLEED) | B(IBPB), 0}},
    {"Zen 3", false, 0xa20f10, 0xa201205, 0, 0, 0, IBPB | BTC_NO, 0, 0, false, {A(BRANCH) | A(SRSO), B(IBPB), 0}},
    {"Zen 4",
     false,
     0xa60f12,
     0xa601206,
     0,
     0,
     0,
     IBPB,
     AUTO_IBRS,
     0,
     true,
     {A(BRANCH) | A(SRSO) | A(THREADS), B(AUTO) | B(IBPB), 0}},
    {"Zen 5",
     false,
     0xb40f40,
     0xb404023,
     0,
     0,
     0,
     IBPB,
     AUTO_IBRS | SRSO_NO,
     0,
     false,
     {A(BRANCH), B(AUTO) | B(IBPB), 0}},
};

static struct cpu_speculation_facts facts_of(uint32_t i)
{
    struct cpu_speculation_facts facts = {
        .identity = {.is_intel = rows[i].is_intel, .microcode = rows[i].microcode},
        .leaf7_ebx = rows[i].leaf7_ebx,
        .leaf7_edx = rows[i].leaf7_edx,
        .leaf7_2_edx = rows[i].leaf7_2_edx,
        .extended8_ebx = rows[i].extended8_ebx,
        .extended21_eax = rows[i].extended21_eax,
        .arch_capabilities = rows[i].arch,
        .threads = rows[i].threads,
    };

    cpu_identity_decode(&facts.identity, rows[i].signature);
    return facts;
}

static void every_cpu_is_open_to_what_its_maker_says(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_speculation_facts facts = facts_of(i);
        struct cpu_speculation found = cpu_speculation_of(&facts);

        if (memcmp(&found, &rows[i].expected, sizeof(found)) != 0) {
            fail_msg("%s: open to 0x%x, answers 0x%x, left 0x%x", rows[i].name, found.attacks, found.answers,
                     found.open);
        }
    }
}

static void a_virtual_cpu_has_no_attacks_of_its_own(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_speculation_facts facts = facts_of(i);
        struct cpu_speculation found;

        facts.identity.is_virtual = true;
        found = cpu_speculation_of(&facts);
        assert_int_equal(found.attacks | found.answers | found.open, 0);
    }
}

/* Nothing is switched on or flushed without a bit of the CPU that says it can be. */
static void no_answer_is_given_without_the_cpus_bit(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_speculation_facts facts = facts_of(i);
        struct cpu_speculation found;

        facts.leaf7_edx = facts.leaf7_2_edx = facts.extended8_ebx = facts.extended21_eax = 0;
        facts.arch_capabilities = 0;
        found = cpu_speculation_of(&facts);
        assert_int_equal(found.answers & ~B(ZENBLEED), 0);
    }
}

static void attacks_and_answers_have_names(void **state)
{
    char text[CPU_SPECULATION_TEXT_MAX];

    (void)state;
    assert_string_equal(cpu_speculation_attacks(A(L1TF) | A(MDS), text), "L1TF, MDS");
    assert_string_equal(cpu_speculation_attacks(0, text), "none");
    assert_string_equal(cpu_speculation_answers(B(IBRS) | B(IBPB) | B(L1D), text), "IBRS on, IBPB, L1D flush");
    cpu_speculation_attacks((1u << ATTACK_COUNT) - 1, text);
    assert_non_null(strstr(text, "Spectre 2, BHI"));
    assert_non_null(strstr(text, "Zenbleed, hyper-threads"));
    cpu_speculation_answers((1u << ANSWER_COUNT) - 1, text);
    assert_non_null(strstr(text, "VERW, L1D flush"));
}

/* ---- the stores ---- */

#define MODEL_MSRS 6u
#define STORES_MAX 8u

static struct {
    struct cpuid_host cpuid;
    struct cpu_identity identity;
    uint64_t arch_capabilities;
    struct {
        uint32_t msr;
        uint64_t value;
    } msrs[MODEL_MSRS]; /* those that exist; 0: no more */
    uint32_t stores[STORES_MAX];
    uint32_t store_count;
    uint32_t verws;
    bool lfence_serializes;
} model;

struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_words words = cpuid_host_words(&model.cpuid, leaf, subleaf);

    return (struct cpuid_result){words.eax, words.ebx, words.ecx, words.edx};
}

static uint64_t *msr_of(uint32_t msr)
{
    for (uint32_t i = 0; i < MODEL_MSRS; i++) {
        if (model.msrs[i].msr == msr) {
            return &model.msrs[i].value;
        }
    }
    return NULL;
}

bool insn_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    *value = msr_of(msr) != NULL ? *msr_of(msr) : *value;
    return msr_of(msr) != NULL;
}

bool insn_wrmsr_safe(uint32_t msr, uint64_t value)
{
    assert_true(model.store_count < STORES_MAX);
    model.stores[model.store_count++] = msr;
    if (msr_of(msr) != NULL) {
        *msr_of(msr) = value;
    }
    return msr_of(msr) != NULL;
}

void insn_wrmsr(uint32_t msr, uint64_t value)
{
    assert_int_equal(value, 1);
    assert_true(model.store_count < STORES_MAX);
    model.stores[model.store_count++] = msr;
}

void insn_verw(uint16_t selector)
{
    assert_int_equal(selector, HOST_SELECTOR_DATA);
    model.verws++;
}

struct cpu_identity host_cpu_identity(void)
{
    return model.identity;
}

uint64_t host_cpu_arch_capabilities(void)
{
    return model.arch_capabilities;
}

bool host_cpu_is_virtual(void)
{
    return model.identity.is_virtual;
}

void host_cpu_serialize_lfence(void)
{
    model.lfence_serializes = true;
}

/* A CPU with row i's facts and with every register, whose values are `value`. */
static void make_model(uint32_t i, uint64_t value)
{
    static const uint32_t msrs[MODEL_MSRS] = {MSR_SPEC_CTRL, MSR_EFER, MSR_AMD_DE_CFG};
    struct cpu_speculation_facts facts = facts_of(i);
    const struct cpuid_entry leaves[] = {
        {.leaf = 0, .words = {0x20, 0, 0, 0}},
        {.leaf = 7, .words = {2, facts.leaf7_ebx, 0, facts.leaf7_edx}},
        {.leaf = 7, .subleaf = 2, .words = {0, 0, 0, facts.leaf7_2_edx}},
        {.leaf = 0x80000000, .words = {0x80000021, 0, 0, 0}},
        {.leaf = 0x80000008, .words = {0, facts.extended8_ebx, 0, 0}},
        {.leaf = 0x80000021, .words = {facts.extended21_eax, 0, 0, 0}},
    };

    memset(&model, 0, sizeof(model));
    memcpy(model.cpuid.entries, leaves, sizeof(leaves));
    model.cpuid.count = ARRAY_COUNT(leaves);
    model.identity = facts.identity;
    model.arch_capabilities = facts.arch_capabilities;
    for (uint32_t k = 0; k < MODEL_MSRS; k++) {
        model.msrs[k].msr = msrs[k];
        model.msrs[k].value = msrs[k] == 0 ? 0 : value;
    }
}

static uint64_t bits_if(uint32_t answers, uint32_t answer, uint64_t bits)
{
    return (answers & answer) != 0 ? bits : 0;
}

static void what_stays_on_is_set_and_nothing_else(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint32_t answers = rows[i].expected.answers;
        const uint64_t before = 1ULL << 40;

        make_model(i, before);
        assert_int_equal(speculation_start(rows[i].threads), answers & (B(IBPB) | B(VERW) | B(L1D)));
        assert_true(model.lfence_serializes);
        assert_int_equal(*msr_of(MSR_SPEC_CTRL),
                         before | bits_if(answers, B(IBRS), 1) | bits_if(answers, B(BHI_DIS), 1 << 10));
        assert_int_equal(*msr_of(MSR_EFER), before | bits_if(answers, B(AUTO), 1 << 21));
        assert_int_equal(*msr_of(MSR_AMD_DE_CFG), before | bits_if(answers, B(ZENBLEED), 1 << 9));
        /* A second time everything stands already. */
        model.store_count = 0;
        (void)speculation_start(rows[i].threads);
        assert_int_equal(model.store_count, 0);
    }
}

static void a_cpu_without_the_register_is_left_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        make_model(i, 0);
        memset(model.msrs, 0xff, sizeof(model.msrs));
        (void)speculation_start(rows[i].threads);
        assert_int_equal(model.store_count, 0);
    }
}

static void between_guests_each_answer_is_one_store(void **state)
{
    (void)state;
    for (uint32_t answers = 0; answers < 1u << ANSWER_COUNT; answers++) {
        uint32_t count = 0;

        memset(&model, 0, sizeof(model));
        speculation_between_guests(answers);
        if ((answers & B(IBPB)) != 0) {
            assert_int_equal(model.stores[count++], MSR_PRED_CMD);
        }
        if ((answers & B(L1D)) != 0) {
            assert_int_equal(model.stores[count++], MSR_FLUSH_CMD);
        }
        assert_int_equal(model.store_count, count);
        assert_int_equal(model.verws, (answers & B(VERW)) != 0);
    }
}

static void threads_are_told_of_where_they_matter(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        make_model(i, 0);
        assert_int_equal(speculation_report(rows[i].threads), (rows[i].expected.attacks & A(THREADS)) != 0);
        model.identity.is_virtual = true;
        assert_false(speculation_report(rows[i].threads));
    }
}

/* The dumps are of CPUs with their first microcode: each is open to something, and nothing is done that it cannot. */
static void dumps_of_real_cpus_are_judged(void **state)
{
    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        struct cpuid_host host;
        struct cpu_speculation_facts facts = {.identity = {.is_intel = cpu_dumps[d].is_intel}};
        struct cpu_speculation found;

        cpu_dump_load(&cpu_dumps[d], &host);
        cpu_identity_decode(&facts.identity, cpuid_host_words(&host, 1, 0).eax);
        facts.leaf7_ebx = cpuid_host_words(&host, 7, 0).ebx;
        facts.leaf7_edx = cpuid_host_words(&host, 7, 0).edx;
        facts.extended8_ebx = cpuid_host_words(&host, 0x80000008, 0).ebx;
        facts.extended21_eax = cpuid_host_words(&host, 0x80000021, 0).eax;
        facts.arch_capabilities = cpu_dumps[d].arch_capabilities;
        found = cpu_speculation_of(&facts);
        assert_int_not_equal(found.attacks & A(BRANCH), 0);
        assert_int_equal(found.attacks & A(THREADS), 0);
        assert_int_equal(found.answers & B(IBPB),
                         bits_if(facts.leaf7_edx, IBRS_IBPB, cpu_dumps[d].is_intel ? B(IBPB) : 0) |
                             bits_if(facts.extended8_ebx, IBPB, B(IBPB)));
        assert_int_equal(found.open & ~found.attacks, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cpu_is_open_to_what_its_maker_says),
        cmocka_unit_test(a_virtual_cpu_has_no_attacks_of_its_own),
        cmocka_unit_test(no_answer_is_given_without_the_cpus_bit),
        cmocka_unit_test(attacks_and_answers_have_names),
        cmocka_unit_test(what_stays_on_is_set_and_nothing_else),
        cmocka_unit_test(a_cpu_without_the_register_is_left_alone),
        cmocka_unit_test(between_guests_each_answer_is_one_store),
        cmocka_unit_test(threads_are_told_of_where_they_matter),
        cmocka_unit_test(dumps_of_real_cpus_are_judged),
    };

    return cmocka_run_group_tests_name("cpu_speculation", tests, NULL, NULL);
}
