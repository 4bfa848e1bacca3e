/* SPDX-License-Identifier: MIT */
/*
 * Thirteen real CPUs (cpu_dumps.h) run through the whole policy: CPUID, MSRs, CR4, EFER, XCR0. A feature that needs a
 * register of its own is offered with all of its registers or hidden with all of its bits, each bit that a guest sees
 * is one that this page knows, and no register that a stock kernel reads without asking gives #GP.
 *
 * docs/guest-cpu.md has the groups with the reasons.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/core/vcpu_reset.h"
#include "hv/policy/cpuid_policy.h"
#include "hv/policy/cr4_policy.h"
#include "hv/policy/msr_policy.h"
#include "hv/x86/registers.h"
#include "tests/unit/cpu_dumps.h"

#include <string.h>

#define BIT(n) (1u << (n))
#define TSC_KHZ 3000000u
#define MICROCODE 0x123u
#define BITS_MAX 6u
#define MSRS_MAX 6u

enum word { EAX, EBX, ECX, EDX };

static struct host_facts host;
static struct guest guest;
static struct vcpu vcpu;

static void build_with(const struct cpu_dump *dump, bool spec_ctrl)
{
    struct cpuid_policy_input input = {.host = &host.cpuid,
                                       .vcpu_count = 2,
                                       .tsc_khz = TSC_KHZ,
                                       .tsc_stable = true,
                                       .is_intel = dump->is_intel,
                                       .spec_ctrl = spec_ctrl};

    memset(&host, 0, sizeof(host));
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    cpu_dump_load(dump, &host.cpuid);
    host.is_intel = dump->is_intel;
    host.tsc_khz = TSC_KHZ;
    host.clock = clock_of(TSC_KHZ * 1000ULL);
    host.physical_bits = (uint8_t)cpuid_host_words(&host.cpuid, 0x80000008, 0).eax;
    host.microcode = MICROCODE;
    host.arch_capabilities = msr_arch_capabilities_shown(dump->arch_capabilities);
    guest.host = &host;
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    cpuid_policy_build(&input, &guest.cpuid);
    guest.cr4_allowed = cr4_allowed(&guest.cpuid);
    vcpu.guest = &guest;
}

static void build(const struct cpu_dump *dump)
{
    build_with(dump, false);
}

static uint32_t word_of(const struct cpuid_words *words, enum word word)
{
    const uint32_t all[] = {words->eax, words->ebx, words->ecx, words->edx};

    return all[word];
}

static uint32_t shown(uint32_t leaf, uint32_t subleaf, enum word word)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true, .xcr0 = 1};
    struct cpuid_words words = cpuid_table_answer(&guest.cpuid, leaf, subleaf, &dynamic);

    return word_of(&words, word);
}

static uint32_t there(uint32_t leaf, uint32_t subleaf, enum word word)
{
    struct cpuid_words words = cpuid_host_words(&host.cpuid, leaf, subleaf);

    return word_of(&words, word);
}

/* RDMSR as the guest does it. */
static bool can_read(uint32_t msr, uint64_t *value)
{
    for (uint32_t i = 0; i < msr_pass_through_count; i++) {
        if (msr_pass_through_list[i].msr == msr && msr_pass_through_list[i].read) {
            return true;
        }
    }
    vcpu.pending = (struct vcpu_event){0};
    vcpu.gpr[GPR_RCX] = msr;
    msr_read(&vcpu, 2);
    *value = (vcpu.gpr[GPR_RAX] & 0xffffffff) | vcpu.gpr[GPR_RDX] << 32;
    return !vcpu.pending.valid;
}

static bool can_write(uint32_t msr, uint64_t value)
{
    vcpu.pending = (struct vcpu_event){0};
    vcpu.gpr[GPR_RCX] = msr;
    vcpu.gpr[GPR_RAX] = (uint32_t)value;
    vcpu.gpr[GPR_RDX] = value >> 32;
    msr_write(&vcpu, 2);
    return !vcpu.pending.valid;
}

static bool can_set_efer(uint64_t bit)
{
    vcpu.system.efer = 0;
    return can_write(MSR_EFER, bit);
}

/* ---- features with registers of their own ---- */

enum offer { OFFERED, HIDDEN };

struct feature_bit {
    uint32_t leaf, subleaf;
    enum word word;
    uint32_t bit;
};

struct group {
    const char *name;
    enum offer offer;
    struct feature_bit bits[BITS_MAX];
    uint32_t msrs[MSRS_MAX];
    uint64_t cr4, xcr0, efer;
};

/* SDM 2A "CPUID", tables 3-8 to 3-11; SDM 4 2.1; APM 3 E.3 and E.4. */
static const struct group groups[] = {
    {"long mode, NX", OFFERED, {{0x80000001, 0, EDX, 20}, {0x80000001, 0, EDX, 29}}, {MSR_EFER}, 0, 0, 0x900},
    {"FFXSR", OFFERED, {{0x80000001, 0, EDX, 25}}, {MSR_EFER}, 0, 0, EFER_FFXSR},
    {"TCE", OFFERED, {{0x80000001, 0, ECX, 17}}, {MSR_EFER}, 0, 0, EFER_TCE},
    {"SYSENTER", OFFERED, {{1, 0, EDX, 11}}, {0x174, 0x175, 0x176}, 0, 0, 0},
    {"RDTSCP, RDPID", OFFERED, {{0x80000001, 0, EDX, 27}, {7, 0, ECX, 22}}, {MSR_TSC_AUX}, 0, 0, 0},
    {"PAT", OFFERED, {{1, 0, EDX, 16}}, {MSR_PAT}, 0, 0, 0},
    {"XSAVE, AVX", OFFERED, {{1, 0, ECX, 26}, {1, 0, ECX, 28}}, {0}, 1 << 18, 7, 0},
    {"AVX-512", OFFERED, {{7, 0, EBX, 16}, {0xd, 0, EAX, 5}, {0xd, 0, EAX, 6}, {0xd, 0, EAX, 7}}, {0}, 0, 0xe0, 0},
    {"PCID", OFFERED, {{1, 0, ECX, 17}}, {0}, 1 << 17, 0, 0},
    {"FSGSBASE", OFFERED, {{7, 0, EBX, 0}}, {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE}, 1 << 16, 0, 0},
    {"SMEP", OFFERED, {{7, 0, EBX, 7}}, {0}, 1 << 20, 0, 0},
    {"SMAP", OFFERED, {{7, 0, EBX, 20}}, {0}, 1 << 21, 0, 0},
    {"UMIP", OFFERED, {{7, 0, ECX, 2}}, {0}, 1 << 11, 0, 0},
    {"five-level paging", OFFERED, {{7, 0, ECX, 16}}, {0}, 1 << 12, 0, 0},
    {"ARCH_CAPABILITIES", OFFERED, {{7, 0, EDX, 29}}, {MSR_ARCH_CAPABILITIES}, 0, 0, 0},
    {"protection keys", HIDDEN, {{7, 0, ECX, 3}, {0xd, 0, EAX, 9}}, {0}, 1 << 22, 0x200, 0},
    {"protection keys for supervisor pages", HIDDEN, {{7, 0, ECX, 31}}, {0x6e1}, 1 << 24, 0, 0},
    {"VMX, SMX", HIDDEN, {{1, 0, ECX, 5}, {1, 0, ECX, 6}}, {0x480}, 3 << 13, 0, 0},
    {"SVM, SKINIT", HIDDEN, {{0x80000001, 0, ECX, 2}, {0x80000001, 0, ECX, 12}}, {0xc0010114}, 0, 0, 0x1000},
    {"MWAIT, MWAITX", HIDDEN, {{1, 0, ECX, 3}, {0x80000001, 0, ECX, 29}}, {0xe2}, 0, 0, 0},
    {"debug store, performance counters",
     HIDDEN,
     {{1, 0, EDX, 21}, {1, 0, ECX, 2}, {1, 0, ECX, 15}, {0x80000001, 0, ECX, 23}, {0x80000001, 0, ECX, 24}},
     {0x345, 0x600, 0x38f, 0xc0010230},
     0,
     0,
     0},
    {"IBS, LWP", HIDDEN, {{0x80000001, 0, ECX, 10}, {0x80000001, 0, ECX, 15}}, {0xc0011030, 0xc0000105}, 0, 0, 0},
    {"processor trace", HIDDEN, {{7, 0, EBX, 25}, {0xd, 1, ECX, 8}}, {0x570}, 0, 0, 0},
    {"architectural LBRs", HIDDEN, {{7, 0, EDX, 19}, {0xd, 1, ECX, 15}}, {0x14ce}, 0, 0, 0},
    {"machine checks", HIDDEN, {{1, 0, EDX, 7}, {1, 0, EDX, 14}}, {0x400}, 0, 0, 0},
    {"MTRRs", HIDDEN, {{1, 0, EDX, 12}, {0x80000001, 0, EDX, 12}}, {0}, 0, 0, 0},
    {"thermal and power",
     HIDDEN,
     {{1, 0, EDX, 22}, {1, 0, ECX, 7}, {1, 0, ECX, 8}, {6, 0, EAX, 0}, {6, 0, ECX, 3}},
     {0x19c, 0x1a2, 0x199, 0x1b0},
     0,
     0,
     0},
    {"hardware P-states, CPPC", HIDDEN, {{6, 0, EAX, 7}, {0x80000008, 0, EBX, 27}}, {0x770, 0xc00102b1}, 0, 0, 0},
    {"APERF, MPERF", HIDDEN, {{6, 0, ECX, 0}, {0x80000007, 0, EDX, 10}}, {0xc00000e7}, 0, 0, 0},
    {"SGX", HIDDEN, {{7, 0, EBX, 2}, {7, 0, ECX, 30}}, {0x8c}, 0, 0, 0},
    {"TSX", HIDDEN, {{7, 0, EBX, 4}, {7, 0, EBX, 11}, {7, 0, EDX, 11}}, {0x122, 0x10f}, 0, 0, 0},
    {"MPX", HIDDEN, {{7, 0, EBX, 14}, {0xd, 0, EAX, 3}, {0xd, 0, EAX, 4}}, {0xd90}, 0, 0x18, 0},
    {"resource monitoring and allocation", HIDDEN, {{7, 0, EBX, 12}, {7, 0, EBX, 15}}, {0xc8d, 0xc90}, 0, 0, 0},
    {"shadow stacks, branch tracking",
     HIDDEN,
     {{7, 0, ECX, 7}, {7, 0, EDX, 20}, {0xd, 1, ECX, 11}, {0xd, 1, ECX, 12}},
     {0x6a0, 0x6a2, 0x6a4},
     1 << 23,
     0,
     0},
    {"XSAVES", HIDDEN, {{0xd, 1, EAX, 3}}, {0xda0}, 0, 0, 0},
    {"memory encryption", HIDDEN, {{7, 0, ECX, 13}, {0x8000001f, 0, EAX, 0}, {7, 0, EDX, 18}}, {0x981}, 0, 0, 0},
    {"key locker", HIDDEN, {{7, 0, ECX, 23}}, {0}, 1 << 19, 0, 0},
    {"AMX", HIDDEN, {{7, 0, EDX, 24}, {7, 0, EDX, 22}, {7, 0, EDX, 25}}, {0x1c4}, 0, 0x60000, 0},
    {"WAITPKG", HIDDEN, {{7, 0, ECX, 5}}, {0xe1}, 0, 0, 0},
    {"LAM", HIDDEN, {{7, 1, EAX, 26}}, {0}, 1ULL << 28, 0, 0},
    {"AVX10", HIDDEN, {{7, 1, EDX, 19}, {0x24, 0, EBX, 17}}, {0}, 0, 0, 0},
    {"hybrid", HIDDEN, {{7, 0, EDX, 15}, {0x1a, 0, EAX, 30}, {6, 0, EAX, 23}}, {0x17d0}, 0, 0, 0},
    {"user interrupts, ENQCMD, bus lock", HIDDEN, {{7, 0, EDX, 5}, {7, 0, ECX, 29}, {7, 0, ECX, 24}}, {0x985}, 0, 0, 0},
    {"speculation controls, Intel",
     HIDDEN,
     {{7, 0, EDX, 26}, {7, 0, EDX, 27}, {7, 0, EDX, 28}, {7, 0, EDX, 31}},
     {0x48, 0x49, 0x10b},
     0,
     0,
     0},
    {"speculation controls, AMD",
     HIDDEN,
     {{0x80000008, 0, EBX, 12},
      {0x80000008, 0, EBX, 14},
      {0x80000008, 0, EBX, 15},
      {0x80000008, 0, EBX, 24},
      {0x80000008, 0, EBX, 25},
      {0x80000021, 0, EAX, 8}},
     {0x48, 0x49, 0xc001011f},
     0,
     0,
     1ULL << 21},
    {"core capabilities", HIDDEN, {{7, 0, EDX, 30}, {7, 0, EDX, 9}}, {0xcf, 0x33, 0x123}, 0, 0, 0},
    {"node id, data breakpoint masks",
     HIDDEN,
     {{0x80000001, 0, ECX, 19}, {0x80000001, 0, ECX, 26}},
     {0xc001100c},
     0,
     0,
     0},
    {"OS-visible workarounds", HIDDEN, {{0x80000001, 0, ECX, 9}}, {0}, 0, 0, 0},
    {"RDPRU, INVLPGB", HIDDEN, {{0x80000008, 0, EBX, 4}, {0x80000008, 0, EBX, 3}}, {0}, 0, 0, 0},
};

static bool is_used(const struct feature_bit *bit)
{
    return bit->leaf != 0;
}

/* The group as the guest sees it: every bit that the host has, or none. */
static bool group_is_offered(const struct cpu_dump *dump, const struct group *group, uint32_t *in_host)
{
    uint32_t in_guest = 0;

    *in_host = 0;
    for (uint32_t i = 0; i < BITS_MAX && is_used(&group->bits[i]); i++) {
        const struct feature_bit *bit = &group->bits[i];
        uint32_t has = there(bit->leaf, bit->subleaf, bit->word) & BIT(bit->bit);

        *in_host += has != 0;
        in_guest += (shown(bit->leaf, bit->subleaf, bit->word) & BIT(bit->bit)) != 0;
    }
    if (in_guest != 0 && in_guest != *in_host) {
        fail_msg("%s: %u of %u bits of %s are shown", dump->name, in_guest, *in_host, group->name);
    }
    return in_guest != 0;
}

static void check_registers(const struct cpu_dump *dump, const struct group *group, bool offered)
{
    uint64_t value;

    for (uint32_t i = 0; i < MSRS_MAX && group->msrs[i] != 0; i++) {
        if (can_read(group->msrs[i], &value) != offered) {
            fail_msg("%s: %s is %s, MSR 0x%x is not", dump->name, group->name, offered ? "offered" : "hidden",
                     group->msrs[i]);
        }
    }
    if ((guest.cr4_allowed & group->cr4) != (offered ? group->cr4 : 0)) {
        fail_msg("%s: %s and its CR4 bit do not agree", dump->name, group->name);
    }
    if ((guest.cpuid.xcr0_supported & group->xcr0) != (offered ? group->xcr0 : 0)) {
        fail_msg("%s: %s and its XCR0 bits do not agree", dump->name, group->name);
    }
    if (group->efer != 0 && can_set_efer(group->efer) != offered) {
        fail_msg("%s: %s and its EFER bit do not agree", dump->name, group->name);
    }
}

static void features_with_registers_are_offered_whole_or_hidden_whole(void **state)
{
    uint32_t met[ARRAY_COUNT(groups)] = {0};

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        build(&cpu_dumps[d]);
        for (uint32_t i = 0; i < ARRAY_COUNT(groups); i++) {
            uint32_t in_host;
            bool offered = group_is_offered(&cpu_dumps[d], &groups[i], &in_host);

            met[i] += in_host != 0;
            if (groups[i].offer == (offered ? HIDDEN : OFFERED) && in_host != 0) {
                fail_msg("%s: %s is %s", cpu_dumps[d].name, groups[i].name, offered ? "offered" : "hidden");
            }
            /* What both vendors' guests read unasked is there without the feature, too. */
            if (in_host != 0 || groups[i].offer == HIDDEN) {
                check_registers(&cpu_dumps[d], &groups[i], offered);
            }
        }
    }
    for (uint32_t i = 0, seen = 0; i < ARRAY_COUNT(groups); i++) {
        seen += met[i] != 0;
        if (i + 1 == ARRAY_COUNT(groups)) {
            assert_true(seen > ARRAY_COUNT(groups) * 3 / 4); /* the dumps have most of what there is */
        }
    }
}

/* Features that are instructions alone, or say what the CPU does: no register belongs to them. What the hypervisor adds
 * itself (x2APIC, TSC-deadline, hypervisor, TSC_ADJUST, APIC) has its tests in test_cpuid_policy_rows. */
static const struct {
    uint32_t leaf, subleaf;
    enum word word;
    uint32_t bits;
} plain[] = {
    /* SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES F16C RDRAND hypervisor */
    {1, 0, ECX,
     BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) | BIT(21) | BIT(22) | BIT(23) | BIT(24) |
         BIT(25) | BIT(29) | BIT(30) | BIT(31)},
    /* FPU VME DE PSE TSC MSR PAE CX8 APIC PGE CMOV PSE-36 CLFSH MMX FXSR SSE SSE2 HTT */
    {1, 0, EDX,
     BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(13) | BIT(15) | BIT(17) |
         BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(28)},
    /* TSC_ADJUST BMI1 AVX2 BMI2 ERMS INVPCID AVX-512's instructions RDSEED ADX CLFLUSHOPT CLWB SHA */
    {7, 0, EBX,
     BIT(1) | BIT(3) | BIT(5) | BIT(8) | BIT(9) | BIT(10) | BIT(17) | BIT(18) | BIT(19) | BIT(21) | BIT(23) | BIT(24) |
         BIT(28) | BIT(29) | BIT(30) | BIT(31)},
    /* vector instructions */
    {7, 0, ECX, BIT(1) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14)},
    /* FSRM VP2INTERSECT MD_CLEAR SERIALIZE */
    {7, 0, EDX, BIT(4) | BIT(8) | BIT(10) | BIT(14)},
    {7, 1, EAX, BIT(4) | BIT(5) | BIT(10) | BIT(11) | BIT(12)},
    {0xd, 1, EAX, BIT(0) | BIT(1) | BIT(2)}, /* XSAVEOPT XSAVEC XGETBV */
    {0xd, 0, EAX, BIT(0) | BIT(1) | BIT(2)}, /* with XSAVE */
    /* LahfSahf CmpLegacy AltMovCr8 ABM SSE4A MisAlignSse 3DNowPrefetch XOP FMA4 TBM TopologyExtensions */
    {0x80000001, 0, ECX,
     BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(21) | BIT(22)},
    /* leaf 1's, SYSCALL MmxExt Page1GB 3DNowExt 3DNow */
    {0x80000001, 0, EDX,
     BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(11) | BIT(13) | BIT(15) |
         BIT(16) | BIT(17) | BIT(22) | BIT(23) | BIT(24) | BIT(26) | BIT(30) | BIT(31)},
    {0x80000007, 0, EDX, BIT(8)}, /* invariant TSC */
    /* CLZERO XSaveErPtr WBNOINVD SSB_NO BTC_NO */
    {0x80000008, 0, EBX, BIT(0) | BIT(2) | BIT(9) | BIT(26) | BIT(29)},
    {0x80000021, 0, EAX, BIT(0) | BIT(2) | BIT(6) | BIT(10) | BIT(11) | BIT(29) | BIT(30)},
    {6, 0, EAX, BIT(2)}, /* ARAT */
};

static uint32_t known_bits(uint32_t leaf, uint32_t subleaf, enum word word)
{
    uint32_t bits = 0;

    for (uint32_t i = 0; i < ARRAY_COUNT(plain); i++) {
        bits |= plain[i].leaf == leaf && plain[i].subleaf == subleaf && plain[i].word == word ? plain[i].bits : 0;
    }
    for (uint32_t g = 0; g < ARRAY_COUNT(groups); g++) {
        for (uint32_t i = 0; i < BITS_MAX && groups[g].offer != HIDDEN && is_used(&groups[g].bits[i]); i++) {
            const struct feature_bit *bit = &groups[g].bits[i];

            bits |= bit->leaf == leaf && bit->subleaf == subleaf && bit->word == word ? BIT(bit->bit) : 0;
        }
    }
    return bits;
}

static void every_feature_that_is_shown_is_known_here(void **state)
{
    static const struct {
        uint32_t leaf, subleaf;
        enum word word;
    } words[] = {{1, 0, ECX},          {1, 0, EDX},          {6, 0, EAX},          {6, 0, ECX},
                 {7, 0, EBX},          {7, 0, ECX},          {7, 0, EDX},          {7, 1, EAX},
                 {7, 1, EDX},          {0xd, 0, EAX},        {0xd, 1, EAX},        {0xd, 1, ECX},
                 {0x80000001, 0, ECX}, {0x80000001, 0, EDX}, {0x80000007, 0, EDX}, {0x80000008, 0, EBX},
                 {0x8000000a, 0, EDX}, {0x8000001b, 0, EAX}, {0x8000001f, 0, EAX}, {0x80000020, 0, EBX},
                 {0x80000021, 0, EAX}};

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        build(&cpu_dumps[d]);
        for (uint32_t i = 0; i < ARRAY_COUNT(words); i++) {
            uint32_t unknown = shown(words[i].leaf, words[i].subleaf, words[i].word) &
                               ~known_bits(words[i].leaf, words[i].subleaf, words[i].word);

            if (unknown != 0) {
                fail_msg("%s: leaf 0x%x.%u shows 0x%x in word %d", cpu_dumps[d].name, words[i].leaf, words[i].subleaf,
                         unknown, (int)words[i].word);
            }
        }
    }
}

/* ---- what kernels read without asking ---- */

enum reader { EVERY, INTEL, AMD, AMD_10H, AMD_15H, AMD_17H };

/* Linux 6.1 to 6.12 (arch/x86/kernel/cpu, arch/x86/events, arch/x86/pci), FreeBSD 14 (sys/x86, sys/amd64), OpenBSD 7
 * (sys/arch/amd64/amd64/identcpu.c, cpu.c), NetBSD 10 (sys/arch/x86/x86): registers that are read with no #GP handler
 * behind, on what only the vendor and the family decide. */
static const struct {
    uint32_t msr;
    enum reader reader;
    const char *name;
} unasked[] = {
    {MSR_TSC, EVERY, "TSC"},
    {MSR_APIC_BASE, EVERY, "APIC_BASE"},
    {MSR_MICROCODE, EVERY, "microcode revision"},
    {MSR_PAT, EVERY, "PAT"},
    {MSR_EFER, EVERY, "EFER"},
    {MSR_STAR, EVERY, "STAR"},
    {MSR_LSTAR, EVERY, "LSTAR"},
    {MSR_SFMASK, EVERY, "SFMASK"},
    {MSR_FS_BASE, EVERY, "FS base"},
    {MSR_GS_BASE, EVERY, "GS base"},
    {MSR_KERNEL_GS_BASE, EVERY, "KERNEL_GS_BASE"},
    {MSR_TSC_ADJUST, EVERY, "TSC_ADJUST, offered on all"},
    {MSR_TSC_DEADLINE, EVERY, "TSC deadline, offered on all"},
    {MSR_MTRR_CAP, EVERY, "MTRR capabilities, by older kernels"},
    {MSR_MTRR_DEF_TYPE, EVERY, "default memory type, by older kernels"},
    {0x1d9, EVERY, "DEBUGCTL"},
    {0x17, INTEL, "platform id"},
    {MSR_MISC_ENABLE, INTEL, "MISC_ENABLE"},
    {0xce, INTEL, "platform information"},
    {MSR_FEATURE_CONTROL, INTEL, "feature control"},
    {0xc0010010, AMD, "SYSCFG"},
    {0xc0010015, AMD, "HWCR"},
    {0xc001001a, AMD, "top of memory"},
    {0xc001001d, AMD, "second top of memory"},
    {0xc0011020, AMD, "LS_CFG"},
    {MSR_AMD_DE_CFG, AMD, "DE_CFG"},
    {0xc001001f, AMD_10H, "NB_CFG"},
    {MSR_AMD_INTERRUPT_PENDING, AMD_10H, "interrupt pending message"},
    {0xc0010058, AMD_10H, "PCI configuration in memory"},
    {0xc0010064, AMD_10H, "P-state 0"},
    {0xc0011022, AMD_10H, "DC_CFG"},
    {0xc001102a, AMD_10H, "BU_CFG2"},
    {0xc0011021, AMD_15H, "IC_CFG"},
    {0xc0010064, AMD_15H, "P-state 0"},
    {0xc0010064, AMD_17H, "P-state 0"},
    {0xc0011028, AMD_17H, "FP_CFG"},
};

static bool reads(enum reader reader, bool is_intel, uint32_t family)
{
    switch (reader) {
    case EVERY:
        return true;
    case INTEL:
        return is_intel;
    case AMD:
        return !is_intel;
    case AMD_10H:
        return !is_intel && family == 0x10;
    case AMD_15H:
        return !is_intel && family == 0x15;
    case AMD_17H:
        return !is_intel && family >= 0x17;
    }
    return false;
}

static void what_kernels_read_unasked_gives_no_fault(void **state)
{
    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        uint32_t signature, family;
        uint64_t value;

        build(&cpu_dumps[d]);
        signature = shown(1, 0, EAX);
        family = (signature >> 8 & 0xf) + ((signature >> 8 & 0xf) == 0xf ? signature >> 20 & 0xff : 0);
        for (uint32_t i = 0; i < ARRAY_COUNT(unasked); i++) {
            if (reads(unasked[i].reader, cpu_dumps[d].is_intel, family) && !can_read(unasked[i].msr, &value)) {
                fail_msg("%s: a read of MSR 0x%x (%s) gives #GP", cpu_dumps[d].name, unasked[i].msr, unasked[i].name);
            }
        }
    }
}

/* ---- values ---- */

static void the_microcode_revision_is_the_cpus(void **state)
{
    uint64_t value = 0;

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        build(&cpu_dumps[d]);
        assert_true(can_read(MSR_MICROCODE, &value));
        assert_int_equal(value, cpu_dumps[d].is_intel ? (uint64_t)MICROCODE << 32 : MICROCODE);
    }
}

static void lfence_is_said_to_wait_where_the_vendor_has_a_register_for_it(void **state)
{
    uint64_t value = 0;

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        build(&cpu_dumps[d]);
        assert_int_equal(can_read(MSR_AMD_DE_CFG, &value), !cpu_dumps[d].is_intel);
        assert_true(cpu_dumps[d].is_intel || (value & AMD_DE_CFG_LFENCE) != 0);
    }
}

#define RDCL_NO (1ULL << 0)
#define IBRS_ALL (1ULL << 1)
#define RSBA (1ULL << 2)
#define MDS_NO (1ULL << 5)
#define TSX_CTRL (1ULL << 7)
#define RRSBA (1ULL << 19)

static void guests_are_told_what_every_cpu_is_not_open_to(void **state)
{
    uint64_t value = 0;

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        uint64_t has = cpu_dumps[d].arch_capabilities;

        build(&cpu_dumps[d]);
        assert_int_equal(can_read(MSR_ARCH_CAPABILITIES, &value), has != 0);
        assert_true(has == 0 || (value & (RDCL_NO | MDS_NO)) == (has & (RDCL_NO | MDS_NO)));
        assert_int_equal(has == 0 ? 0 : value & (IBRS_ALL | TSX_CTRL), 0); /* of registers that guests have not */
    }
    /* A promise holds where all give it; a warning where one does. */
    assert_int_equal(msr_arch_capabilities_join(RDCL_NO | MDS_NO, RDCL_NO), RDCL_NO);
    assert_int_equal(msr_arch_capabilities_join(RDCL_NO, RDCL_NO | RSBA | RRSBA), RDCL_NO | RSBA | RRSBA);
    assert_int_equal(msr_arch_capabilities_join(RSBA, 0), RSBA);
    assert_int_equal(msr_arch_capabilities_join(~0ULL, ~0ULL), msr_arch_capabilities_shown(~0ULL));
    assert_int_equal(msr_arch_capabilities_join(msr_arch_capabilities_shown(~0ULL), 0), RSBA | RRSBA);
}

/* With the controls: each bit of SPEC_CTRL and PRED_CMD that CPUID shows can be written, and no other. */
static void controls_over_speculation_are_those_of_cpuid(void **state)
{
    uint32_t with = 0;
    uint64_t value = 0;

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        uint32_t edx, ebx, ibrs, stibp, ssbd, ibpb;

        build_with(&cpu_dumps[d], true);
        edx = there(7, 0, EDX);
        ebx = there(0x80000008, 0, EBX);
        ibrs = (edx & BIT(26)) | (ebx & BIT(14));
        stibp = (edx & BIT(27)) | (ebx & BIT(15));
        ssbd = (edx & BIT(31)) | (ebx & BIT(24));
        ibpb = (edx & BIT(26)) | (ebx & BIT(12));
        assert_int_equal(shown(7, 0, EDX) & (BIT(26) | BIT(27) | BIT(31)), edx & (BIT(26) | BIT(27) | BIT(31)));
        assert_int_equal(can_write(MSR_SPEC_CTRL, SPEC_CTRL_IBRS), ibrs != 0);
        assert_int_equal(can_write(MSR_SPEC_CTRL, SPEC_CTRL_STIBP), stibp != 0);
        vcpu.requests = 0;
        assert_int_equal(can_write(MSR_SPEC_CTRL, SPEC_CTRL_SSBD), ssbd != 0);
        assert_int_equal(vcpu.requests & VCPU_SPEC_CTRL, ssbd != 0 ? VCPU_SPEC_CTRL : 0);
        assert_int_equal(can_read(MSR_SPEC_CTRL, &value), (ibrs | stibp | ssbd) != 0);
        assert_true(ssbd == 0 || value == SPEC_CTRL_SSBD);
        assert_false(can_write(MSR_SPEC_CTRL, SPEC_CTRL_BHI_DIS_S));
        assert_false(can_write(MSR_SPEC_CTRL, 1ULL << 40));
        vcpu.requests = 0;
        assert_int_equal(can_write(MSR_PRED_CMD, PRED_CMD_IBPB), ibpb != 0);
        assert_int_equal(vcpu.requests & VCPU_IBPB, ibpb != 0 ? VCPU_IBPB : 0);
        assert_false(can_write(MSR_PRED_CMD, 2));
        assert_false(can_read(MSR_PRED_CMD, &value));
        assert_false(can_write(MSR_FLUSH_CMD, 1));
        assert_true(cpu_dumps[d].arch_capabilities == 0 || can_read(MSR_ARCH_CAPABILITIES, &value));
        assert_true(cpu_dumps[d].arch_capabilities == 0 || ((value ^ cpu_dumps[d].arch_capabilities) & IBRS_ALL) == 0);
        vcpu_reset(&vcpu);
        assert_int_equal(vcpu.msrs.spec_ctrl, 0);
        with += ibrs != 0;
    }
    assert_true(with > 1);
}

static void arch_capabilities_cannot_be_written(void **state)
{
    (void)state;
    build(&cpu_dumps[6]);
    vcpu.gpr[GPR_RCX] = MSR_ARCH_CAPABILITIES;
    msr_write(&vcpu, 2);
    assert_true(vcpu.pending.valid);
}

/* The same machine with a CPU of another kind is refused by name where guests would see the difference. */
static void a_cpu_of_another_generation_lacks_what_guests_see(void **state)
{
    static struct cpuid_host boot, here;
    struct cpuid_lack lack;

    (void)state;
    for (uint32_t d = 0; d < ARRAY_COUNT(cpu_dumps); d++) {
        cpu_dump_load(&cpu_dumps[d], &boot);
        assert_false(cpuid_policy_find_lack(&boot, &boot, &lack));
    }
    cpu_dump_load(&cpu_dumps[5], &boot); /* Tiger Lake has AVX-512, Raptor Lake has not */
    cpu_dump_load(&cpu_dumps[6], &here);
    assert_true(cpuid_policy_find_lack(&boot, &here, &lack));
    assert_int_equal(lack.leaf, 7);
    assert_int_not_equal(lack.bits.ebx & BIT(16), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_with_registers_are_offered_whole_or_hidden_whole),
        cmocka_unit_test(every_feature_that_is_shown_is_known_here),
        cmocka_unit_test(what_kernels_read_unasked_gives_no_fault),
        cmocka_unit_test(the_microcode_revision_is_the_cpus),
        cmocka_unit_test(lfence_is_said_to_wait_where_the_vendor_has_a_register_for_it),
        cmocka_unit_test(guests_are_told_what_every_cpu_is_not_open_to),
        cmocka_unit_test(controls_over_speculation_are_those_of_cpuid),
        cmocka_unit_test(arch_capabilities_cannot_be_written),
        cmocka_unit_test(a_cpu_of_another_generation_lacks_what_guests_see),
    };

    return cmocka_run_group_tests_name("cpu_dumps", tests, NULL, NULL);
}
