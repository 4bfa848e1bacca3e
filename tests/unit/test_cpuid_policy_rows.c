/* SPDX-License-Identifier: MIT */
/*
 * The CPUID policy hides what its rows say, offers only what the host has or the hypervisor emulates, and is the same
 * for both vendors. The host here is a CPU that has every bit of every leaf, one that has none, or a random one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/policy/cpuid_policy.h"

#define BIT(n) (1u << (n))
#define ONES 0xffffffffu
#define TSC_KHZ 3000000u
#define BASIC_LEAVES 0x20u
#define EXTENDED 0x80000000u
#define EXTENDED_LEAVES 0x22u
#define ROUNDS 1000u

enum word { EAX, EBX, ECX, EDX };

static uint32_t word_of(const struct cpuid_words *words, enum word word)
{
    const uint32_t all[] = {words->eax, words->ebx, words->ecx, words->edx};

    return all[word];
}

/* xorshift64: the same sequence in every run. */
static uint32_t random_word(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)(*seed >> 16);
}

enum host_kind { HOST_HAS_ALL, HOST_HAS_NOTHING, HOST_RANDOM };

static struct cpuid_words host_words(enum host_kind kind, uint32_t leaf, uint32_t subleaf, uint64_t *seed)
{
    if (leaf == 0) {
        return (struct cpuid_words){BASIC_LEAVES - 1, 0x756e6547, 0x6c65746e, 0x49656e69};
    }
    if (leaf == EXTENDED) {
        return (struct cpuid_words){EXTENDED + EXTENDED_LEAVES - 1, 0, 0, 0};
    }
    if (leaf == 0xd && subleaf >= 2) {
        return (struct cpuid_words){64, 576 + 64 * subleaf, 0, 0}; /* a component's bytes and place */
    }
    if (kind == HOST_RANDOM) {
        return (struct cpuid_words){random_word(seed), random_word(seed), random_word(seed), random_word(seed)};
    }
    return kind == HOST_HAS_ALL ? (struct cpuid_words){ONES, ONES, ONES, ONES} : (struct cpuid_words){0, 0, 0, 0};
}

static uint32_t subleaves_of(uint32_t leaf)
{
    return leaf == 4 || leaf == 0x8000001d ? 8 : leaf == 7 ? 2 : leaf == 0xd ? 10 : 1;
}

static struct cpuid_host host_of(enum host_kind kind, uint64_t *seed)
{
    static const struct {
        uint32_t first, count;
    } ranges[] = {{0, BASIC_LEAVES}, {EXTENDED, EXTENDED_LEAVES}};
    struct cpuid_host host = {.count = 0};

    for (uint32_t range = 0; range < ARRAY_COUNT(ranges); range++) {
        for (uint32_t leaf = ranges[range].first; leaf < ranges[range].first + ranges[range].count; leaf++) {
            for (uint32_t subleaf = 0; subleaf < subleaves_of(leaf); subleaf++) {
                assert_true(host.count < CPUID_HOST_MAX);
                host.entries[host.count++] = (struct cpuid_entry){
                    .leaf = leaf, .subleaf = subleaf, .words = host_words(kind, leaf, subleaf, seed)};
            }
        }
    }
    return host;
}

static struct cpuid_table table_of(const struct cpuid_host *host, bool is_intel, uint32_t vcpu_count)
{
    const struct cpuid_policy_input input = {
        .host = host, .vcpu_count = vcpu_count, .tsc_khz = TSC_KHZ, .tsc_stable = true, .is_intel = is_intel};
    struct cpuid_table table;

    cpuid_policy_build(&input, &table);
    assert_true(table.count < CPUID_TABLE_MAX);
    return table;
}

static struct cpuid_words answer(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true, .xcr0 = 1};

    return cpuid_table_answer(table, leaf, subleaf, &dynamic);
}

/* What no guest may see, whatever the host has. SDM 2A "CPUID", tables 3-8 to 3-11; APM 3 E.3 and E.4. */
static const struct {
    uint32_t leaf, subleaf;
    enum word word;
    uint32_t bit;
    const char *name;
} hidden[] = {
    {1, 0, ECX, 2, "DTES64"},
    {1, 0, ECX, 3, "MONITOR"},
    {1, 0, ECX, 4, "DS-CPL"},
    {1, 0, ECX, 5, "VMX"},
    {1, 0, ECX, 6, "SMX"},
    {1, 0, ECX, 7, "SpeedStep"},
    {1, 0, ECX, 8, "thermal monitor 2"},
    {1, 0, ECX, 11, "silicon debug"},
    {1, 0, ECX, 14, "xTPR"},
    {1, 0, ECX, 15, "PDCM"},
    {1, 0, ECX, 18, "direct cache access"},
    {1, 0, ECX, 27, "OSXSAVE, while CR4.OSXSAVE is clear"},
    {1, 0, EDX, 7, "MCE"},
    {1, 0, EDX, 12, "MTRR"},
    {1, 0, EDX, 14, "MCA"},
    {1, 0, EDX, 18, "processor serial number"},
    {1, 0, EDX, 21, "debug store"},
    {1, 0, EDX, 22, "ACPI thermal"},
    {1, 0, EDX, 29, "thermal monitor"},
    {1, 0, EDX, 31, "PBE"},
    {6, 0, EAX, 0, "digital temperature sensor"},
    {6, 0, EAX, 1, "turbo"},
    {6, 0, EAX, 7, "hardware P-states"},
    {6, 0, ECX, 0, "APERF and MPERF"},
    {7, 0, EBX, 2, "SGX"},
    {7, 0, EBX, 4, "HLE"},
    {7, 0, EBX, 11, "RTM"},
    {7, 0, EBX, 12, "resource monitoring"},
    {7, 0, EBX, 14, "MPX"},
    {7, 0, EBX, 15, "resource allocation"},
    {7, 0, EBX, 25, "processor trace"},
    {7, 0, ECX, 3, "protection keys"},
    {7, 0, ECX, 5, "WAITPKG"},
    {7, 0, ECX, 7, "shadow stacks"},
    {7, 0, ECX, 13, "total memory encryption"},
    {7, 0, ECX, 23, "key locker"},
    {7, 0, ECX, 29, "ENQCMD"},
    {7, 0, ECX, 30, "SGX launch control"},
    {7, 0, ECX, 31, "protection keys for supervisor pages"},
    {7, 0, EDX, 5, "user interrupts"},
    {7, 0, EDX, 18, "PCONFIG"},
    {7, 0, EDX, 19, "architectural LBRs"},
    {7, 0, EDX, 20, "indirect branch tracking"},
    {7, 0, EDX, 22, "AMX-BF16"},
    {7, 0, EDX, 24, "AMX"},
    {7, 0, EDX, 25, "AMX-INT8"},
    {7, 0, EDX, 26, "IBRS and IBPB: their MSRs are not offered"},
    {7, 0, EDX, 27, "STIBP"},
    {7, 0, EDX, 28, "L1D_FLUSH"},
    {7, 0, EDX, 30, "CORE_CAPABILITIES"},
    {7, 0, EDX, 31, "SSBD"},
    {0xd, 0, EAX, 3, "MPX bounds"},
    {0xd, 0, EAX, 4, "MPX status"},
    {0xd, 0, EAX, 9, "protection keys' state"},
    {0xd, 0, EAX, 17, "AMX's tile configuration"},
    {0xd, 0, EAX, 18, "AMX's tiles"},
    {0xd, 1, EAX, 3, "XSAVES"},
    {0xd, 1, ECX, 8, "processor trace state in IA32_XSS"},
    {0x80000001, 0, ECX, 2, "SVM"},
    {0x80000001, 0, ECX, 3, "extended APIC space"},
    {0x80000001, 0, ECX, 10, "IBS"},
    {0x80000001, 0, ECX, 12, "SKINIT"},
    {0x80000001, 0, ECX, 13, "watchdog"},
    {0x80000001, 0, ECX, 15, "LWP"},
    {0x80000001, 0, ECX, 19, "node id MSR"},
    {0x80000001, 0, ECX, 23, "core performance counters"},
    {0x80000001, 0, ECX, 24, "northbridge performance counters"},
    {0x80000001, 0, ECX, 26, "data breakpoint extension"},
    {0x80000001, 0, ECX, 27, "performance TSC"},
    {0x80000001, 0, ECX, 28, "L3 performance counters"},
    {0x80000001, 0, ECX, 29, "MWAITX"},
    {0x80000001, 0, EDX, 7, "MCE"},
    {0x80000001, 0, EDX, 12, "MTRR"},
    {0x80000001, 0, EDX, 14, "MCA"},
    {0x80000008, 0, EBX, 1, "retired instruction counter"},
    {0x80000008, 0, EBX, 3, "INVLPGB"},
    {0x80000008, 0, EBX, 4, "RDPRU"},
    {0x80000008, 0, EBX, 12, "IBPB"},
    {0x80000008, 0, EBX, 14, "IBRS"},
    {0x80000008, 0, EBX, 15, "STIBP"},
    {0x80000008, 0, EBX, 24, "SSBD"},
    {0x80000021, 0, EAX, 8, "automatic IBRS: EFER's bit is not offered"},
    {0x80000021, 0, EAX, 9, "a lock of SMM's registers"},
    {0x80000021, 0, EAX, 13, "prefetch control"},
    {0x80000021, 0, EAX, 17, "CPUID faulting"},
    {0x80000021, 0, EAX, 27, "selective branch predictor barrier: its MSR is not offered"},
    {0x80000021, 0, EAX, 28, "IBPB flushes branch types"},
};

/* What the hypervisor provides itself, whatever the host has. */
static const struct {
    uint32_t leaf;
    enum word word;
    uint32_t bits;
    const char *name;
} emulated[] = {
    {1, ECX, BIT(21), "x2APIC"},       {1, ECX, BIT(24), "TSC-deadline timer"},
    {1, ECX, BIT(31), "a hypervisor"}, {1, EDX, BIT(9), "APIC"},
    {6, EAX, BIT(2), "ARAT"},          {7, EBX, BIT(1), "TSC_ADJUST"},
};

static void what_is_hidden_stays_hidden_where_the_host_has_everything(void **state)
{
    struct cpuid_host host = host_of(HOST_HAS_ALL, NULL);

    (void)state;
    for (uint32_t intel = 0; intel < 2; intel++) {
        struct cpuid_table table = table_of(&host, intel != 0, 1);

        for (uint32_t i = 0; i < ARRAY_COUNT(hidden); i++) {
            struct cpuid_words words = answer(&table, hidden[i].leaf, hidden[i].subleaf);

            if ((word_of(&words, hidden[i].word) & BIT(hidden[i].bit)) != 0) {
                fail_msg("leaf %x shows %s", hidden[i].leaf, hidden[i].name);
            }
        }
    }
}

static void what_is_emulated_is_offered_where_the_host_has_nothing(void **state)
{
    struct cpuid_host host = host_of(HOST_HAS_NOTHING, NULL);

    (void)state;
    for (uint32_t intel = 0; intel < 2; intel++) {
        struct cpuid_table table = table_of(&host, intel != 0, 1);

        for (uint32_t i = 0; i < ARRAY_COUNT(emulated); i++) {
            struct cpuid_words words = answer(&table, emulated[i].leaf, 0);

            if ((word_of(&words, emulated[i].word) & emulated[i].bits) == 0) {
                fail_msg("leaf %x does not show %s", emulated[i].leaf, emulated[i].name);
            }
        }
    }
}

static uint32_t emulated_bits(uint32_t leaf, enum word word)
{
    uint32_t bits = 0;

    for (uint32_t i = 0; i < ARRAY_COUNT(emulated); i++) {
        bits |= emulated[i].leaf == leaf && emulated[i].word == word ? emulated[i].bits : 0;
    }
    return bits;
}

static void nothing_else_is_offered_that_the_host_lacks(void **state)
{
    static const struct {
        uint32_t leaf;
        enum word word;
    } feature_words[] = {{1, ECX}, {1, EDX},          {6, EAX},          {7, EBX},         {7, ECX},
                         {7, EDX}, {0x80000001, ECX}, {0x80000001, EDX}, {0x80000008, EBX}};
    uint64_t seed = 0x9e3779b97f4a7c15ULL;

    (void)state;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct cpuid_host host = host_of(HOST_RANDOM, &seed);
        struct cpuid_table table = table_of(&host, (round & 1) != 0, 1);

        for (uint32_t i = 0; i < ARRAY_COUNT(feature_words); i++) {
            struct cpuid_words has = cpuid_host_words(&host, feature_words[i].leaf, 0);
            struct cpuid_words shown = answer(&table, feature_words[i].leaf, 0);
            uint32_t allowed =
                word_of(&has, feature_words[i].word) | emulated_bits(feature_words[i].leaf, feature_words[i].word);

            assert_int_equal(word_of(&shown, feature_words[i].word) & ~allowed, 0);
        }
    }
}

/* Leaves that the policy has thought about. Whatever else a new CPU reports, guests do not see it. */
static bool leaf_is_known(uint32_t leaf, bool is_intel)
{
    static const uint32_t known[] = {0,          1,          2,          4,          6,          7,
                                     0xb,        0xd,        0x80000000, 0x80000001, 0x80000002, 0x80000003,
                                     0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008, 0x80000019,
                                     0x8000001a, 0x8000001d, 0x80000021};

    for (uint32_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (leaf == known[i]) {
            return true;
        }
    }
    return is_intel ? leaf == 0x15 || leaf == 0x16 : leaf == 0x8000001e;
}

static void leaves_without_a_row_are_zero(void **state)
{
    const struct cpuid_words zero = {0, 0, 0, 0};
    struct cpuid_host host = host_of(HOST_HAS_ALL, NULL);
    uint32_t checked = 0;

    (void)state;
    for (uint32_t intel = 0; intel < 2; intel++) {
        struct cpuid_table table = table_of(&host, intel != 0, 1);

        for (uint32_t i = 0; i < 0x80; i++) {
            uint32_t leaf = i < 0x40 ? i : EXTENDED + i - 0x40;
            struct cpuid_words words = answer(&table, leaf, 0);

            if (!leaf_is_known(leaf, intel != 0)) {
                assert_memory_equal(&words, &zero, sizeof(zero));
                checked++;
            }
        }
    }
    assert_true(checked > 100);
}

/* The bits that depend on the vendor, for one and the same host. */
static uint32_t vendor_bits(uint32_t leaf, enum word word)
{
    switch (leaf) {
    case 0:
        return word == EAX ? ONES : 0; /* the highest leaf */
    case 0x15:
    case 0x16:
    case 0x8000001e:
        return ONES;
    case 0x80000001:
        return word == ECX ? BIT(1) : 0; /* CmpLegacy */
    case 0x80000008:
        return word == ECX ? ONES : 0; /* AMD counts cores here */
    default:
        return 0;
    }
}

static void assert_same_but_for_the_vendor(const struct cpuid_table *left, const struct cpuid_table *right,
                                           uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_words a = answer(left, leaf, subleaf), b = answer(right, leaf, subleaf);

    for (enum word word = EAX; word <= EDX; word++) {
        if (((word_of(&a, word) ^ word_of(&b, word)) & ~vendor_bits(leaf, word)) != 0) {
            fail_msg("leaf %x.%u, word %d: %x and %x", leaf, subleaf, (int)word, word_of(&a, word), word_of(&b, word));
        }
    }
}

static void both_vendors_are_shown_the_same(void **state)
{
    uint64_t seed = 88172645463325252ULL;

    (void)state;
    for (uint32_t vcpus = 1; vcpus <= 4; vcpus++) {
        struct cpuid_host host = host_of(HOST_RANDOM, &seed);
        struct cpuid_table intel = table_of(&host, true, vcpus), amd = table_of(&host, false, vcpus);

        for (uint32_t subleaf = 0; subleaf < 10; subleaf++) {
            for (uint32_t i = 0; i < 0x40; i++) {
                assert_same_but_for_the_vendor(&intel, &amd, i, subleaf);
                assert_same_but_for_the_vendor(&intel, &amd, 0x40000000u + i, subleaf);
                assert_same_but_for_the_vendor(&intel, &amd, 0x40000100u + i, subleaf);
                assert_same_but_for_the_vendor(&intel, &amd, EXTENDED + i, subleaf);
            }
        }
    }
}

static void apic_and_osxsave_bits_follow_the_registers(void **state)
{
    struct cpuid_host host = host_of(HOST_HAS_ALL, NULL);
    struct cpuid_table table = table_of(&host, false, 1);
    const struct cpuid_dynamic off = {.apic_enabled = false, .osxsave = false, .xcr0 = 1};
    const struct cpuid_dynamic on = {.apic_enabled = true, .osxsave = true, .xcr0 = 1};

    (void)state;
    assert_int_equal(cpuid_table_answer(&table, 1, 0, &off).edx & BIT(9), 0);
    assert_int_equal(cpuid_table_answer(&table, 0x80000001, 0, &off).edx & BIT(9), 0);
    assert_int_equal(cpuid_table_answer(&table, 1, 0, &off).ecx & BIT(27), 0);
    assert_int_equal(cpuid_table_answer(&table, 1, 0, &on).edx & BIT(9), BIT(9));
    assert_int_equal(cpuid_table_answer(&table, 1, 0, &on).ecx & BIT(27), BIT(27));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_hidden_stays_hidden_where_the_host_has_everything),
        cmocka_unit_test(what_is_emulated_is_offered_where_the_host_has_nothing),
        cmocka_unit_test(nothing_else_is_offered_that_the_host_lacks),
        cmocka_unit_test(leaves_without_a_row_are_zero),
        cmocka_unit_test(both_vendors_are_shown_the_same),
        cmocka_unit_test(apic_and_osxsave_bits_follow_the_registers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
