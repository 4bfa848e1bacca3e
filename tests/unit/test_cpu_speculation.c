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

#include "hv/host/cpu.h"
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
#define GDS_CTRL (1ULL << 25)
#define SSB_NO (1ULL << 4)
#define PBRSB_NO (1ULL << 24)
#define SSBD (1u << 31)
#define AMD_SSB_NO (1u << 26)
#define AMD_IBRS (1u << 14)
#define VERW_CLEAR (1u << 5)
#define IBPB_BRTYPE (1u << 28)
#define REDUCE (1u << 31)
#define TSA_NO (3u << 1)
#define OLD_INTEL \
    (B(IBPB) | B(VERW) | B(L1D) | B(EXIT_IBRS) | B(EXIT_RSB) | B(ENTRY_L1D) | B(ENTRY_VERW)) /* before enhanced IBRS */
#define AMD_EXIT (B(EXIT_IBPB) | B(EXIT_RSB))
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
    uint32_t extended21_ecx;
    uint64_t arch;
    bool threads;
    struct cpu_speculation expected;
} rows[] = {
    /* Intel, as sold and with microcode of later years */
    {.name = "Sandy Bridge, first microcode",
     .is_intel = true,
     .signature = 0x206a7,
     .microcode = 0x6,
     .expected = {A(BRANCH) | A(L1TF) | A(MDS) | A(SSB), B(EXIT_RSB), A(BRANCH) | A(L1TF) | A(MDS) | A(SSB)}},
    {.name = "Haswell",
     .is_intel = true,
     .signature = 0x306c3,
     .microcode = 0x28,
     .leaf7_edx = MD_CLEAR | IBRS_IBPB | L1D_FLUSH | SSBD,
     .threads = true,
     .expected = {A(BRANCH) | A(L1TF) | A(MDS) | A(SSB) | A(THREADS), OLD_INTEL, 0}},
    {.name = "Skylake",
     .is_intel = true,
     .signature = 0x506e3,
     .microcode = 0xf0,
     .leaf7_ebx = RTM,
     .leaf7_edx = MD_CLEAR | IBRS_IBPB | L1D_FLUSH | SSBD | ARCH,
     .arch = GDS_CTRL,
     .threads = true,
     .expected = {A(BRANCH) | A(L1TF) | A(MDS) | A(TAA) | A(MMIO) | A(RETBLEED) | A(GDS) | A(SSB) | A(THREADS),
                  OLD_INTEL | B(GDS), 0}},
    {.name = "Skylake, first microcode",
     .is_intel = true,
     .signature = 0x506e3,
     .microcode = 0x1b,
     .expected = {A(BRANCH) | A(L1TF) | A(MDS) | A(MMIO) | A(RETBLEED) | A(GDS) | A(SSB), B(EXIT_RSB),
                  A(BRANCH) | A(L1TF) | A(MDS) | A(MMIO) | A(RETBLEED) | A(GDS) | A(SSB)}},
    {.name = "Cascade Lake",
     .is_intel = true,
     .signature = 0x50657,
     .microcode = 0x5003604,
     .leaf7_ebx = RTM,
     .leaf7_edx = MD_CLEAR | IBRS_IBPB | L1D_FLUSH | SSBD | ARCH,
     .arch = NO_MELTDOWN | IBRS_ALL | MDS_NO | FB_CLEAR | GDS_CTRL,
     .threads = true,
     .expected = {A(BRANCH) | A(BHI) | A(TAA) | A(MMIO) | A(RETBLEED) | A(GDS) | A(SSB) | A(THREADS),
                  B(IBRS) | B(GDS) | B(IBPB) | B(VERW) | B(ENTRY_VERW) | B(EXIT_RSB) | B(EXIT_BHB), 0}},
    {.name = "Tiger Lake",
     .is_intel = true,
     .signature = 0x806c1,
     .microcode = 0xa4,
     .leaf7_edx = MD_CLEAR | IBRS_IBPB | L1D_FLUSH | SSBD | ARCH,
     .leaf7_2_edx = 1u << 4,
     .arch = NO_MELTDOWN | IBRS_ALL | MDS_NO | TAA_NO | MMIO_NO,
     .threads = true,
     .expected = {A(BRANCH) | A(BHI) | A(GDS) | A(SSB) | A(THREADS), B(IBRS) | B(BHI_DIS) | B(IBPB) | B(EXIT_RSB),
                  A(GDS)}},
    {.name = "Raptor Lake",
     .is_intel = true,
     .signature = 0xb0671,
     .microcode = 0x129,
     .leaf7_edx = MD_CLEAR | IBRS_IBPB | L1D_FLUSH | SSBD | ARCH,
     .leaf7_2_edx = 1u << 4,
     .arch = NO_MELTDOWN | IBRS_ALL | MDS_NO | TAA_NO | MMIO_NO | GDS_NO | RFDS_CLEAR | PBRSB_NO,
     .expected = {A(BRANCH) | A(BHI) | A(RFDS) | A(SSB), B(IBRS) | B(BHI_DIS) | B(IBPB) | B(VERW) | B(ENTRY_VERW), 0}},
    {.name = "Goldmont",
     .is_intel = true,
     .signature = 0x506c9,
     .microcode = 0x40,
     .leaf7_edx = IBRS_IBPB | SSBD,
     .expected = {A(BRANCH) | A(RFDS) | A(SSB), B(IBPB) | B(EXIT_IBRS) | B(EXIT_RSB), A(RFDS)}},
    {.name = "Silvermont",
     .is_intel = true,
     .signature = 0x30678,
     .microcode = 0x838,
     .leaf7_edx = MD_CLEAR | IBRS_IBPB,
     .expected = {A(BRANCH) | A(MDS), B(IBPB) | B(VERW) | B(EXIT_IBRS) | B(EXIT_RSB) | B(ENTRY_VERW), 0}},
    {.name = "Bonnell, in order", .is_intel = true, .signature = 0x106ca, .microcode = 0x107, .threads = true},
    {.name = "an Intel CPU of the future",
     .is_intel = true,
     .signature = 0xc0690,
     .microcode = 0x1,
     .leaf7_edx = IBRS_IBPB | ARCH,
     .arch = NO_MELTDOWN | IBRS_ALL | SSB_NO | MDS_NO | TAA_NO | MMIO_NO | BHI_NO | GDS_NO | RFDS_NO | PBRSB_NO,
     .expected = {A(BRANCH), B(IBRS) | B(IBPB), 0}},
    /* AMD */
    {.name = "Phenom II",
     .signature = 0x100f42,
     .microcode = 0x10000db,
     .expected = {A(BRANCH), B(EXIT_RSB), A(BRANCH)}},
    {.name = "FX-8350",
     .signature = 0x600f20,
     .microcode = 0x6000852,
     .extended8_ebx = IBPB,
     .expected = {A(BRANCH) | A(RETBLEED) | A(SSB), B(IBPB) | AMD_EXIT, 0}},
    {.name = "Zen",
     .signature = 0x810f10,
     .microcode = 0x8101016,
     .extended8_ebx = IBPB,
     .threads = true,
     .expected = {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(SSB) | A(THREADS), B(IBPB) | AMD_EXIT, 0}},
    {.name = "Zen 2 before Zenbleed's mend",
     .signature = 0x870f10,
     .microcode = 0x8701021,
     .extended8_ebx = IBPB,
     .expected = {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(ZENBLEED) | A(SSB), B(ZENBLEED) | B(IBPB) | AMD_EXIT, 0}},
    {.name = "Zen 2 behind it",
     .signature = 0x870f10,
     .microcode = 0x8701033,
     .extended8_ebx = IBPB,
     .expected = {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(SSB), B(IBPB) | AMD_EXIT, 0}},
    {.name = "Rome before it",
     .signature = 0x830f10,
     .microcode = 0x8301038,
     .extended8_ebx = IBPB,
     .expected = {A(BRANCH) | A(RETBLEED) | A(SRSO) | A(ZENBLEED) | A(SSB), B(ZENBLEED) | B(IBPB) | AMD_EXIT, 0}},
    {.name = "Zen 3, first microcode",
     .signature = 0xa20f10,
     .microcode = 0xa201205,
     .extended8_ebx = IBPB | BTC_NO,
     .expected = {A(BRANCH) | A(SRSO) | A(TSA) | A(SSB), B(IBPB) | AMD_EXIT, A(SRSO) | A(TSA)}},
    {.name = "Zen 4",
     .signature = 0xa60f12,
     .microcode = 0xa601206,
     .extended8_ebx = IBPB,
     .extended21_eax = AUTO_IBRS | IBPB_BRTYPE | VERW_CLEAR,
     .threads = true,
     .expected = {A(BRANCH) | A(SRSO) | A(TSA) | A(SSB) | A(THREADS),
                  B(AUTO) | B(IBPB) | B(VERW) | B(ENTRY_VERW) | AMD_EXIT, 0}},
    {.name = "Zen 5",
     .signature = 0xb40f40,
     .microcode = 0xb404023,
     .extended8_ebx = IBPB,
     .extended21_eax = AUTO_IBRS | REDUCE,
     .expected = {A(BRANCH) | A(SRSO) | A(SSB), B(AUTO) | B(REDUCE) | B(IBPB), 0}},
    {.name = "an AMD CPU of the future",
     .signature = 0xc40f40,
     .microcode = 0x1,
     .extended8_ebx = IBPB | AMD_IBRS | AMD_SSB_NO,
     .extended21_eax = AUTO_IBRS | SRSO_NO,
     .extended21_ecx = TSA_NO,
     .expected = {A(BRANCH), B(AUTO) | B(IBPB), 0}},
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
        .extended21_ecx = rows[i].extended21_ecx,
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
        struct cpu_speculation found = cpu_speculation_of(&facts, SPECULATION_AUTO);

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
        found = cpu_speculation_of(&facts, SPECULATION_AUTO);
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
        found = cpu_speculation_of(&facts, SPECULATION_AUTO);
        assert_int_equal(found.answers & ~(B(ZENBLEED) | B(EXIT_RSB)), 0);
        found = cpu_speculation_of(&facts, SPECULATION_ALL);
        assert_int_equal(found.answers & ~(B(ZENBLEED) | B(EXIT_RSB) | B(EXIT_BHB) | B(VERW) | B(ENTRY_VERW)), 0);
    }
}

/* `speculation = all`: what a CPU needs is among it, and a virtual one has it, too; `none` is nothing. */
static void the_config_may_ask_for_all_or_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu_speculation_facts facts = facts_of(i);
        uint32_t needed = cpu_speculation_of(&facts, SPECULATION_AUTO).answers;
        uint32_t all = cpu_speculation_of(&facts, SPECULATION_ALL).answers;

        assert_int_equal(needed & ~all, 0);
        assert_int_equal(all & B(ENTRY_VERW), B(ENTRY_VERW));
        assert_int_equal(cpu_speculation_of(&facts, SPECULATION_NONE).answers, 0);
        assert_int_equal(cpu_speculation_of(&facts, SPECULATION_NONE).attacks, rows[i].expected.attacks);
        facts.identity.is_virtual = true;
        facts.identity.microcode = UINT32_MAX; /* Zenbleed's bit is of the table alone */
        assert_int_equal(cpu_speculation_of(&facts, SPECULATION_ALL).answers, all & ~B(ZENBLEED));
    }
}

static void controls_are_offered_where_kernels_seldom_write_them(void **state)
{
    static const struct {
        struct cpu_speculation_facts facts;
        bool offered;
    } cpus_[] = {
        {{.identity.is_intel = true, .leaf7_edx = IBRS_IBPB}, false},
        {{.identity.is_intel = true, .leaf7_edx = IBRS_IBPB, .arch_capabilities = IBRS_ALL}, true},
        {{.identity.is_intel = true, .arch_capabilities = IBRS_ALL}, false},
        {{.extended8_ebx = IBPB}, false},
        {{.extended8_ebx = IBPB | AMD_IBRS}, true},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(cpus_); i++) {
        assert_int_equal(cpu_speculation_offers_control(&cpus_[i].facts), cpus_[i].offered);
    }
}

static void attacks_and_answers_have_names(void **state)
{
    char text[CPU_SPECULATION_TEXT_MAX];

    (void)state;
    assert_string_equal(cpu_speculation_attacks(A(L1TF) | A(MDS), text), "L1TF, MDS");
    assert_string_equal(cpu_speculation_attacks(0, text), "none");
    assert_string_equal(cpu_speculation_answers(B(IBRS) | B(IBPB) | B(L1D), text), "IBRS on, IBPB, L1D flush");
    assert_string_equal(cpu_speculation_answers(B(EXIT_IBRS) | B(EXIT_RSB) | B(ENTRY_VERW), text),
                        "IBRS, RSB fill, VERW");
    cpu_speculation_attacks((1u << ATTACK_COUNT) - 1, text);
    assert_non_null(strstr(text, "Spectre 2, BHI"));
    assert_non_null(strstr(text, "Zenbleed, TSA, SSB, hyper-threads"));
    cpu_speculation_answers((1u << ANSWER_COUNT) - 1, text);
    assert_non_null(strstr(text, "BHB fill, L1D flush, VERW"));
}

/* ---- the stores ---- */

#define MODEL_MSRS 8u
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
    static const uint32_t msrs[MODEL_MSRS] = {MSR_SPEC_CTRL, MSR_EFER, MSR_AMD_DE_CFG, MSR_AMD_BP_CFG,
                                              MSR_MCU_OPT_CTRL};
    struct cpu_speculation_facts facts = facts_of(i);
    const struct cpuid_entry leaves[] = {
        {.leaf = 0, .words = {0x20, 0, 0, 0}},
        {.leaf = 7, .words = {2, facts.leaf7_ebx, 0, facts.leaf7_edx}},
        {.leaf = 7, .subleaf = 2, .words = {0, 0, 0, facts.leaf7_2_edx}},
        {.leaf = 0x80000000, .words = {0x80000021, 0, 0, 0}},
        {.leaf = 0x80000008, .words = {0, facts.extended8_ebx, 0, 0}},
        {.leaf = 0x80000021, .words = {facts.extended21_eax, 0, facts.extended21_ecx, 0}},
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

static struct cpu this_cpu;

static uint64_t bits_if(uint32_t answers, uint32_t answer, uint64_t bits)
{
    return (answers & answer) != 0 ? bits : 0;
}

static uint32_t guard_of(uint32_t answers)
{
    return (uint32_t)(bits_if(answers, B(EXIT_IBPB), GUARD_IBPB) | bits_if(answers, B(EXIT_IBRS), GUARD_IBRS) |
                      bits_if(answers, B(EXIT_RSB), GUARD_RSB) | bits_if(answers, B(EXIT_BHB), GUARD_BHB) |
                      bits_if(answers, B(ENTRY_L1D), GUARD_L1D) | bits_if(answers, B(ENTRY_VERW), GUARD_VERW));
}

static void what_stays_on_is_set_and_nothing_else(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint32_t answers = rows[i].expected.answers;
        const uint64_t before = 1ULL << 40;

        make_model(i, before);
        *msr_of(MSR_MCU_OPT_CTRL) |= MCU_OPT_CTRL_GDS_MITG_DIS;
        this_cpu = (struct cpu){.threads = rows[i].threads};
        speculation_start(&this_cpu, SPECULATION_AUTO);
        assert_int_equal(this_cpu.between_guests, answers & (B(IBPB) | B(VERW) | B(L1D)));
        assert_int_equal(this_cpu.guard.answers, guard_of(answers));
        assert_int_equal(this_cpu.guard.selector, HOST_SELECTOR_DATA);
        assert_true(model.lfence_serializes);
        assert_int_equal(*msr_of(MSR_SPEC_CTRL),
                         before | bits_if(answers, B(IBRS), 1) | bits_if(answers, B(BHI_DIS), 1 << 10));
        assert_int_equal(*msr_of(MSR_EFER), before | bits_if(answers, B(AUTO), 1 << 21));
        assert_int_equal(*msr_of(MSR_AMD_DE_CFG), before | bits_if(answers, B(ZENBLEED), 1 << 9));
        assert_int_equal(*msr_of(MSR_AMD_BP_CFG), before | bits_if(answers, B(REDUCE), 1 << 4));
        assert_int_equal(*msr_of(MSR_MCU_OPT_CTRL), before | (answers & B(GDS) ? 0 : MCU_OPT_CTRL_GDS_MITG_DIS));
        /* A second time everything stands already. */
        model.store_count = 0;
        speculation_start(&this_cpu, SPECULATION_AUTO);
        assert_int_equal(model.store_count, 0);
    }
}

static void nothing_is_done_where_the_config_says_so(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        make_model(i, 0);
        this_cpu = (struct cpu){.threads = rows[i].threads};
        speculation_start(&this_cpu, SPECULATION_NONE);
        assert_int_equal(model.store_count, 0);
        assert_int_equal(this_cpu.guard.answers | this_cpu.guard.entry | this_cpu.guard.exit, 0);
    }
}

static void a_locked_choice_of_the_firmware_stays(void **state)
{
    (void)state;
    make_model(2, MCU_OPT_CTRL_GDS_MITG_DIS | MCU_OPT_CTRL_GDS_MITG_LOCK);
    this_cpu = (struct cpu){0};
    speculation_start(&this_cpu, SPECULATION_AUTO);
    assert_int_equal(*msr_of(MSR_MCU_OPT_CTRL), MCU_OPT_CTRL_GDS_MITG_DIS | MCU_OPT_CTRL_GDS_MITG_LOCK);
}

/* A guest's bits hold in the hypervisor, too, and the register is written only where they change. */
static void a_guests_control_is_its_own(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint32_t at_exit = (rows[i].expected.answers & B(EXIT_IBRS)) != 0 ? SPEC_CTRL_IBRS : 0;
        uint32_t always;

        make_model(i, 0);
        this_cpu = (struct cpu){.threads = rows[i].threads};
        speculation_start(&this_cpu, SPECULATION_AUTO);
        always = this_cpu.spec_ctrl;
        model.store_count = 0;
        speculation_set_control(&this_cpu, 0);
        speculation_set_control(&this_cpu, always); /* of another guest, which needs nothing more */
        assert_int_equal(model.store_count, 0);
        speculation_set_control(&this_cpu, SPEC_CTRL_SSBD);
        speculation_set_control(&this_cpu, SPEC_CTRL_SSBD);
        assert_int_equal(model.store_count, 1);
        assert_int_equal(*msr_of(MSR_SPEC_CTRL), always | SPEC_CTRL_SSBD | at_exit);
        assert_int_equal(this_cpu.guard.entry, always | SPEC_CTRL_SSBD);
        assert_int_equal(this_cpu.guard.exit, always | SPEC_CTRL_SSBD | at_exit);
        speculation_set_control(&this_cpu, 0);
        assert_int_equal(*msr_of(MSR_SPEC_CTRL), always | at_exit);
    }
}

static void a_cpu_without_the_register_is_left_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        make_model(i, 0);
        memset(model.msrs, 0xff, sizeof(model.msrs));
        this_cpu = (struct cpu){.threads = rows[i].threads};
        speculation_start(&this_cpu, SPECULATION_AUTO);
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
        found = cpu_speculation_of(&facts, SPECULATION_AUTO);
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
        cmocka_unit_test(the_config_may_ask_for_all_or_nothing),
        cmocka_unit_test(controls_are_offered_where_kernels_seldom_write_them),
        cmocka_unit_test(nothing_is_done_where_the_config_says_so),
        cmocka_unit_test(a_locked_choice_of_the_firmware_stays),
        cmocka_unit_test(a_guests_control_is_its_own),
        cmocka_unit_test(dumps_of_real_cpus_are_judged),
    };

    return cmocka_run_group_tests_name("cpu_speculation", tests, NULL, NULL);
}
