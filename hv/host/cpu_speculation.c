/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_speculation.h"

#include "hv/base/format.h"

#define BIT(attack) (1u << (attack))

/* CPUID. SDM 2A "CPUID", table 3-8; APM 3 E.4. */
#define LEAF7_EBX_RTM (1u << 11)
#define LEAF7_EDX_MD_CLEAR (1u << 10)
#define LEAF7_EDX_SPEC_CTRL (1u << 26) /* IBRS and IBPB */
#define LEAF7_EDX_L1D_FLUSH (1u << 28)
#define LEAF7_EDX_SSBD (1u << 31)
#define LEAF7_2_EDX_BHI_CTRL (1u << 4)
#define EXTENDED8_EBX_IBPB (1u << 12)
#define EXTENDED8_EBX_IBRS (1u << 14)
#define EXTENDED8_EBX_SSB_NO (1u << 26)
#define EXTENDED8_EBX_BTC_NO (1u << 29)
#define EXTENDED21_EAX_VERW_CLEAR (1u << 5)
#define EXTENDED21_EAX_AUTO_IBRS (1u << 8)
#define EXTENDED21_EAX_IBPB_BRTYPE (1u << 28) /* IBPB forgets predictions of returns, too */
#define EXTENDED21_EAX_SRSO_NO (1u << 29)
#define EXTENDED21_EAX_SRSO_REDUCE (1u << 31)
#define EXTENDED21_ECX_TSA_NO (3u << 1) /* TSA_SQ_NO, TSA_L1_NO */

/* IA32_ARCH_CAPABILITIES. SDM 4 2.1, table 2-2. */
#define ARCH_RDCL_NO (1ULL << 0)
#define ARCH_IBRS_ALL (1ULL << 1)
#define ARCH_SKIP_L1DFL (1ULL << 3)
#define ARCH_SSB_NO (1ULL << 4)
#define ARCH_MDS_NO (1ULL << 5)
#define ARCH_TAA_NO (1ULL << 8)
#define ARCH_MMIO_NO (7ULL << 13) /* SBDR_SSDP_NO, FBSDP_NO, PSDP_NO */
#define ARCH_FB_CLEAR (1ULL << 17)
#define ARCH_BHI_NO (1ULL << 20)
#define ARCH_PBRSB_NO (1ULL << 24)
#define ARCH_GDS_CTRL (1ULL << 25)
#define ARCH_GDS_NO (1ULL << 26)
#define ARCH_RFDS_NO (1ULL << 27)
#define ARCH_RFDS_CLEAR (1ULL << 28)

#define FAMILY_P6 6u
#define FAMILY_BULLDOZER 0x15u
#define FAMILY_ZEN 0x17u
#define FAMILY_HYGON 0x18u
#define FAMILY_ZEN_3 0x19u /* and Zen 4 */
#define FAMILY_ZEN_5 0x1au

/*
 * Intel, family 6, by model. `never`: attacks that the first-line rules below would give it, and that do not reach it;
 * `listed`: attacks that reach listed models only.
 */
static const struct {
    uint8_t model;
    uint32_t never, listed;
} intel_models[] = {
    /* in order, without speculation: Bonnell, Saltwell */
    {0x1c, ~0u, 0},
    {0x26, ~0u, 0},
    {0x27, ~0u, 0},
    {0x35, ~0u, 0},
    {0x36, ~0u, 0},
    /* Silvermont, Airmont, Knights Landing, Knights Mill */
    {0x37, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    {0x4a, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    {0x4c, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    {0x4d, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    {0x5a, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    {0x57, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    {0x85, BIT(ATTACK_L1TF) | BIT(ATTACK_SSB), 0},
    /* Goldmont, Goldmont Plus */
    {0x5c, BIT(ATTACK_L1TF) | BIT(ATTACK_MDS), BIT(ATTACK_RFDS)},
    {0x5f, BIT(ATTACK_L1TF) | BIT(ATTACK_MDS), BIT(ATTACK_RFDS)},
    {0x7a, BIT(ATTACK_L1TF) | BIT(ATTACK_MDS), BIT(ATTACK_RFDS)},
    /* Tremont */
    {0x86, BIT(ATTACK_L1TF) | BIT(ATTACK_MDS), BIT(ATTACK_MMIO) | BIT(ATTACK_RFDS)},
    {0x96, BIT(ATTACK_L1TF) | BIT(ATTACK_MDS), BIT(ATTACK_MMIO) | BIT(ATTACK_RFDS)},
    {0x9c, BIT(ATTACK_L1TF) | BIT(ATTACK_MDS), BIT(ATTACK_MMIO) | BIT(ATTACK_RFDS)},
    /* Haswell and Broadwell servers */
    {0x3f, 0, BIT(ATTACK_MMIO)},
    {0x4f, 0, BIT(ATTACK_MMIO)},
    {0x56, 0, BIT(ATTACK_MMIO)},
    /* Skylake and what followed in its place, Cascade Lake, Cannon Lake */
    {0x55, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0x4e, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0x5e, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0x8e, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0x9e, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0xa5, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0xa6, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0x66, 0, BIT(ATTACK_RETBLEED)},
    /* Ice Lake, Lakefield, Tiger Lake, Rocket Lake */
    {0x6a, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_GDS)},
    {0x6c, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_GDS)},
    {0x7e, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    {0x8a, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED)},
    {0x8c, 0, BIT(ATTACK_GDS)},
    {0x8d, 0, BIT(ATTACK_GDS)},
    {0xa7, 0, BIT(ATTACK_MMIO) | BIT(ATTACK_RETBLEED) | BIT(ATTACK_GDS)},
    /* the small cores of Alder Lake and Raptor Lake, Gracemont alone */
    {0x97, 0, BIT(ATTACK_RFDS)},
    {0x9a, 0, BIT(ATTACK_RFDS)},
    {0xb7, 0, BIT(ATTACK_RFDS)},
    {0xba, 0, BIT(ATTACK_RFDS)},
    {0xbf, 0, BIT(ATTACK_RFDS)},
    {0xbe, 0, BIT(ATTACK_RFDS)},
};

/* AMD, family 17h: Zen 2, and the first microcode without Zenbleed. */
static const struct {
    uint8_t first, last;
    uint32_t microcode;
} zenbleed_rows[] = {
    {0x30, 0x31, 0x0830107b}, {0x60, 0x67, 0x0860010c}, {0x68, 0x6f, 0x08608107},
    {0x70, 0x7f, 0x08701033}, {0xa0, 0xaf, 0x08a00009},
};

/* What the CPU says that it is not open to, and more: the attack, and any of the bits that mean "not". */
static const struct {
    enum attack attack;
    uint64_t arch_no; /* all of them */
} arch_rows[] = {
    {ATTACK_L1TF, ARCH_RDCL_NO}, {ATTACK_MDS, ARCH_MDS_NO},   {ATTACK_TAA, ARCH_TAA_NO}, {ATTACK_MMIO, ARCH_MMIO_NO},
    {ATTACK_BHI, ARCH_BHI_NO},   {ATTACK_RFDS, ARCH_RFDS_NO}, {ATTACK_GDS, ARCH_GDS_NO}, {ATTACK_SSB, ARCH_SSB_NO},
};

#define ATTACKS_ON_BUFFERS (BIT(ATTACK_MDS) | BIT(ATTACK_TAA) | BIT(ATTACK_MMIO) | BIT(ATTACK_RFDS) | BIT(ATTACK_TSA))
#define ATTACKS_ALL (BIT(ATTACK_COUNT) - 1u)

static uint32_t intel_attacks(const struct cpu_speculation_facts *facts)
{
    uint32_t attacks = BIT(ATTACK_BRANCH) | BIT(ATTACK_L1TF) | BIT(ATTACK_MDS) | BIT(ATTACK_SSB);

    if (facts->identity.family != FAMILY_P6) {
        return 0;
    }
    attacks |= (facts->leaf7_ebx & LEAF7_EBX_RTM) != 0 ? BIT(ATTACK_TAA) : 0;
    attacks |= (facts->arch_capabilities & ARCH_IBRS_ALL) != 0 ? BIT(ATTACK_BHI) : 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(intel_models); i++) {
        if (intel_models[i].model == facts->identity.model) {
            attacks = (attacks | intel_models[i].listed) & ~intel_models[i].never;
        }
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(arch_rows); i++) {
        if ((facts->arch_capabilities & arch_rows[i].arch_no) == arch_rows[i].arch_no) {
            attacks &= ~BIT(arch_rows[i].attack);
        }
    }
    return attacks;
}

static bool is_zenbleed(const struct cpu_identity *identity)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(zenbleed_rows); i++) {
        if (identity->family == FAMILY_ZEN && identity->model >= zenbleed_rows[i].first &&
            identity->model <= zenbleed_rows[i].last) {
            return identity->microcode < zenbleed_rows[i].microcode;
        }
    }
    return false;
}

/* Whether a CPU of these families is open to it: the bits that say "not" are not all there. */
static uint32_t amd_between(const struct cpu_speculation_facts *facts, uint32_t first, uint32_t last, uint32_t word,
                            uint32_t no_bits, enum attack attack)
{
    bool is_open = facts->identity.family >= first && facts->identity.family <= last && (word & no_bits) != no_bits;

    return is_open ? BIT(attack) : 0;
}

static uint32_t amd_attacks(const struct cpu_speculation_facts *facts)
{
    const uint32_t ebx8 = facts->extended8_ebx, eax21 = facts->extended21_eax, ecx21 = facts->extended21_ecx;

    return BIT(ATTACK_BRANCH) |
           amd_between(facts, FAMILY_BULLDOZER, FAMILY_HYGON, ebx8, EXTENDED8_EBX_BTC_NO, ATTACK_RETBLEED) |
           amd_between(facts, FAMILY_ZEN, FAMILY_ZEN_5, eax21, EXTENDED21_EAX_SRSO_NO, ATTACK_SRSO) |
           amd_between(facts, FAMILY_ZEN_3, FAMILY_ZEN_3, ecx21, EXTENDED21_ECX_TSA_NO, ATTACK_TSA) |
           amd_between(facts, FAMILY_BULLDOZER, UINT32_MAX, ebx8, EXTENDED8_EBX_SSB_NO, ATTACK_SSB) |
           (is_zenbleed(&facts->identity) ? BIT(ATTACK_ZENBLEED) : 0);
}

/* Whether VERW clears what the attack would read. */
static bool verw_clears(const struct cpu_speculation_facts *facts, enum attack attack)
{
    switch (attack) {
    case ATTACK_MDS:
    case ATTACK_TAA:
        return (facts->leaf7_edx & LEAF7_EDX_MD_CLEAR) != 0;
    case ATTACK_MMIO: /* CPUs without MDS say so in a bit of their own */
        return (facts->arch_capabilities & ARCH_FB_CLEAR) != 0 ||
               ((facts->leaf7_edx & LEAF7_EDX_MD_CLEAR) != 0 && (facts->arch_capabilities & ARCH_MDS_NO) == 0);
    case ATTACK_RFDS:
        return (facts->arch_capabilities & ARCH_RFDS_CLEAR) != 0;
    case ATTACK_TSA:
        return (facts->extended21_eax & EXTENDED21_EAX_VERW_CLEAR) != 0;
    case ATTACK_BRANCH:
    case ATTACK_BHI:
    case ATTACK_RETBLEED:
    case ATTACK_SRSO:
    case ATTACK_L1TF:
    case ATTACK_GDS:
    case ATTACK_ZENBLEED:
    case ATTACK_SSB:
    case ATTACK_THREADS:
    case ATTACK_COUNT:
        break;
    }
    return false;
}

static bool has_enhanced_ibrs(const struct cpu_speculation_facts *facts)
{
    return facts->identity.is_intel && (facts->leaf7_edx & LEAF7_EDX_SPEC_CTRL) != 0 &&
           (facts->arch_capabilities & ARCH_IBRS_ALL) != 0;
}

static bool has_automatic_ibrs(const struct cpu_speculation_facts *facts)
{
    return !facts->identity.is_intel && (facts->extended21_eax & EXTENDED21_EAX_AUTO_IBRS) != 0;
}

static bool has_ibpb(const struct cpu_speculation_facts *facts)
{
    return facts->identity.is_intel ? (facts->leaf7_edx & LEAF7_EDX_SPEC_CTRL) != 0
                                    : (facts->extended8_ebx & EXTENDED8_EBX_IBPB) != 0;
}

static uint32_t for_good(const struct cpu_speculation_facts *facts, uint32_t attacks)
{
    bool bhi = (attacks & BIT(ATTACK_BHI)) != 0 && (facts->leaf7_2_edx & LEAF7_2_EDX_BHI_CTRL) != 0;
    bool reduce = !facts->identity.is_intel && (attacks & BIT(ATTACK_SRSO)) != 0 &&
                  (facts->extended21_eax & EXTENDED21_EAX_SRSO_REDUCE) != 0;
    bool gds = (attacks & BIT(ATTACK_GDS)) != 0 && (facts->arch_capabilities & ARCH_GDS_CTRL) != 0;

    return (has_enhanced_ibrs(facts) ? BIT(ANSWER_IBRS) : 0) | (has_automatic_ibrs(facts) ? BIT(ANSWER_AUTO) : 0) |
           (bhi ? BIT(ANSWER_BHI_DIS) : 0) | (reduce ? BIT(ANSWER_REDUCE) : 0) | (gds ? BIT(ANSWER_GDS) : 0) |
           (is_zenbleed(&facts->identity) ? BIT(ANSWER_ZENBLEED) : 0);
}

static uint32_t between_guests(const struct cpu_speculation_facts *facts, uint32_t attacks)
{
    uint32_t answers = 0;

    if ((attacks & BIT(ATTACK_BRANCH)) != 0 && has_ibpb(facts)) {
        answers |= BIT(ANSWER_IBPB);
    }
    if ((attacks & BIT(ATTACK_L1TF)) != 0 && (facts->leaf7_edx & LEAF7_EDX_L1D_FLUSH) != 0 &&
        (facts->arch_capabilities & ARCH_SKIP_L1DFL) == 0) {
        answers |= BIT(ANSWER_L1D);
    }
    for (enum attack attack = 0; attack < ATTACK_COUNT; attack++) {
        if ((attacks & BIT(attack)) != 0 && verw_clears(facts, attack)) {
            answers |= BIT(ANSWER_VERW);
        }
    }
    return answers;
}

/*
 * Guest against hypervisor, predictions. Intel, "Retpoline: A Branch Target Injection Mitigation", 5; "Post-barrier
 * Return Stack Buffer Predictions": with enhanced IBRS the return stack matters without PBRSB_NO. "Branch History
 * Injection and Intra-mode Branch Target Injection": the history is overwritten where it cannot be switched off. AMD,
 * "Software Techniques for Managing Speculation", V4-4 and V4-7, and bulletins 1037 and 7005: an IBPB at the exit is an
 * answer to all of Spectre 2, Retbleed and SRSO; automatic IBRS clears the return stack itself.
 */
static uint32_t at_exits(const struct cpu_speculation_facts *facts, uint32_t attacks, uint32_t always)
{
    uint32_t answers = 0;

    if ((attacks & BIT(ATTACK_BRANCH)) == 0) {
        return 0;
    }
    if (!facts->identity.is_intel) {
        bool returns = (attacks & (BIT(ATTACK_RETBLEED) | BIT(ATTACK_SRSO))) != 0 && (always & BIT(ANSWER_REDUCE)) == 0;
        bool wanted = returns || (always & BIT(ANSWER_AUTO)) == 0;

        return wanted ? BIT(ANSWER_EXIT_RSB) | (has_ibpb(facts) ? BIT(ANSWER_EXIT_IBPB) : 0) : 0;
    }
    if (!has_enhanced_ibrs(facts)) {
        answers |= has_ibpb(facts) ? BIT(ANSWER_EXIT_IBRS) : 0;
    }
    if (!has_enhanced_ibrs(facts) || (facts->arch_capabilities & ARCH_PBRSB_NO) == 0) {
        answers |= BIT(ANSWER_EXIT_RSB);
    }
    if ((attacks & BIT(ATTACK_BHI)) != 0 && (always & BIT(ANSWER_BHI_DIS)) == 0) {
        answers |= BIT(ANSWER_EXIT_BHB);
    }
    return answers;
}

/* Guest against hypervisor, data: before an entry the CPU forgets what an exit has touched. */
static uint32_t at_entries(uint32_t between)
{
    return ((between & BIT(ANSWER_L1D)) != 0 ? BIT(ANSWER_ENTRY_L1D) : 0) |
           ((between & BIT(ANSWER_VERW)) != 0 ? BIT(ANSWER_ENTRY_VERW) : 0);
}

/* Zen 3 and 4 need microcode before their IBPB reaches returns; the Zens before do not. AMD bulletin 7005. */
static bool is_srso_answered(const struct cpu_speculation_facts *facts, uint32_t answers)
{
    if ((answers & BIT(ANSWER_REDUCE)) != 0) {
        return true;
    }
    return (answers & BIT(ANSWER_EXIT_IBPB)) != 0 &&
           (facts->identity.family < FAMILY_ZEN_3 || (facts->extended21_eax & EXTENDED21_EAX_IBPB_BRTYPE) != 0);
}

/* Attacks whose answer this CPU has not: what an update of the microcode brings. */
static uint32_t left_open(const struct cpu_speculation_facts *facts, uint32_t attacks, uint32_t answers)
{
    uint32_t open = 0;

    open |= (answers & BIT(ANSWER_IBPB)) == 0 ? attacks & (BIT(ATTACK_BRANCH) | BIT(ATTACK_RETBLEED)) : 0;
    open |= is_srso_answered(facts, answers) ? 0 : attacks & BIT(ATTACK_SRSO);
    open |= (answers & BIT(ANSWER_L1D)) == 0 ? attacks & BIT(ATTACK_L1TF) : 0;
    open |= (answers & BIT(ANSWER_GDS)) == 0 ? attacks & BIT(ATTACK_GDS) : 0;
    open |= facts->identity.is_intel && (facts->leaf7_edx & LEAF7_EDX_SSBD) == 0 ? attacks & BIT(ATTACK_SSB) : 0;
    for (enum attack attack = 0; attack < ATTACK_COUNT; attack++) {
        bool is_open = (attacks & ATTACKS_ON_BUFFERS & BIT(attack)) != 0 && !verw_clears(facts, attack);

        open |= is_open ? BIT(attack) : 0;
    }
    return open;
}

/* VERW has no bit of its own: it is an instruction of every CPU. */
static uint32_t answers_to(const struct cpu_speculation_facts *facts, uint32_t attacks, bool every)
{
    uint32_t always = for_good(facts, attacks);
    uint32_t between = between_guests(facts, attacks) | (every ? BIT(ANSWER_VERW) : 0);

    return always | between | at_exits(facts, attacks, always) | at_entries(between);
}

struct cpu_speculation cpu_speculation_of(const struct cpu_speculation_facts *facts, enum config_speculation wanted)
{
    struct cpu_speculation result = {0, 0, 0};

    if (!facts->identity.is_virtual) {
        result.attacks = facts->identity.is_intel ? intel_attacks(facts) : amd_attacks(facts);
    }
    if (wanted != SPECULATION_NONE) {
        bool every = wanted == SPECULATION_ALL;

        result.answers = answers_to(facts, every ? ATTACKS_ALL : result.attacks, every);
    }
    if (facts->identity.is_virtual && wanted != SPECULATION_ALL) {
        result.answers = 0;
    }
    result.open = left_open(facts, result.attacks, result.answers);
    if (facts->threads && result.attacks != 0) {
        result.attacks |= BIT(ATTACK_THREADS); /* answered by the config alone: a core for each guest */
    }
    return result;
}

bool cpu_speculation_offers_control(const struct cpu_speculation_facts *facts)
{
    return facts->identity.is_intel ? has_enhanced_ibrs(facts)
                                    : (facts->extended8_ebx & (EXTENDED8_EBX_IBPB | EXTENDED8_EBX_IBRS)) ==
                                          (EXTENDED8_EBX_IBPB | EXTENDED8_EBX_IBRS);
}

static const char *join(uint32_t bits, const char *const *names, uint32_t count, char to[CPU_SPECULATION_TEXT_MAX])
{
    size_t at = 0;

    format_text(to, CPU_SPECULATION_TEXT_MAX, "none");
    for (uint32_t i = 0; i < count; i++) {
        if ((bits & BIT(i)) != 0) {
            at += format_text(to + at, CPU_SPECULATION_TEXT_MAX - at, "%s%s", at == 0 ? "" : ", ", names[i]);
        }
    }
    return to;
}

const char *cpu_speculation_attacks(uint32_t attacks, char to[CPU_SPECULATION_TEXT_MAX])
{
    static const char *const names[] = {
        [ATTACK_BRANCH] = "Spectre 2",  [ATTACK_BHI] = "BHI",
        [ATTACK_RETBLEED] = "Retbleed", [ATTACK_SRSO] = "SRSO",
        [ATTACK_L1TF] = "L1TF",         [ATTACK_MDS] = "MDS",
        [ATTACK_TAA] = "TAA",           [ATTACK_MMIO] = "MMIO",
        [ATTACK_RFDS] = "RFDS",         [ATTACK_GDS] = "GDS",
        [ATTACK_ZENBLEED] = "Zenbleed", [ATTACK_TSA] = "TSA",
        [ATTACK_SSB] = "SSB",           [ATTACK_THREADS] = "hyper-threads",
    };

    return join(attacks, names, ARRAY_COUNT(names), to);
}

const char *cpu_speculation_answers(uint32_t answers, char to[CPU_SPECULATION_TEXT_MAX])
{
    static const char *const names[] = {
        [ANSWER_IBRS] = "IBRS on",
        [ANSWER_AUTO] = "automatic IBRS on",
        [ANSWER_BHI_DIS] = "BHI_DIS_S on",
        [ANSWER_ZENBLEED] = "Zenbleed's bit on",
        [ANSWER_REDUCE] = "BP_SPEC_REDUCE on",
        [ANSWER_GDS] = "gathers guarded",
        [ANSWER_IBPB] = "IBPB",
        [ANSWER_VERW] = "VERW",
        [ANSWER_L1D] = "L1D flush",
        [ANSWER_EXIT_IBPB] = "IBPB",
        [ANSWER_EXIT_IBRS] = "IBRS",
        [ANSWER_EXIT_RSB] = "RSB fill",
        [ANSWER_EXIT_BHB] = "BHB fill",
        [ANSWER_ENTRY_L1D] = "L1D flush",
        [ANSWER_ENTRY_VERW] = "VERW",
    };

    return join(answers, names, ARRAY_COUNT(names), to);
}
