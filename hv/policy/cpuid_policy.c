/* SPDX-License-Identifier: MIT */
/*
 * The rows below say, leaf by leaf and register by register, which of the host's bits a guest may see (`keep`) and
 * which are added because the hypervisor provides the feature itself (`add`). A leaf that has no row is all zero: a new
 * CPU's new features are hidden until a row here allows them.
 *
 * Topology is that of the guest: one package, vcpu_count cores of one thread, APIC ids from 0.
 */
#include "hv/policy/cpuid_policy.h"

#include "hv/dev/lapic.h"
#include "hv/x86/registers.h"

#define ALL 0xffffffffu
#define SUBLEAF_ANY 0xffffffffu

#define LEAF_EXTENDED_LAST 0x80000021u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_PLINTH 0x40000100u
#define LEAF_NONE 0xffffffffu /* of the zero entry: no table has this leaf */

/* Bits of the features that the hypervisor itself decides on. SDM 2A "CPUID", table 3-8; APM 3 E.3. */
#define LEAF1_ECX_XSAVE (1u << 26)
#define LEAF1_EDX_APIC CPUID_1_APIC
/* XSAVEOPT, XSAVEC and XGETBV with ECX 1. Not XSAVES: there is no IA32_XSS. */
#define LEAFD_1_EAX_KEEP 0x7u

/* KVM's paravirtual features: Linux, Documentation/virt/kvm/x86/cpuid.rst. */
#define KVM_FEATURE_CLOCKSOURCE (1u << 0)
#define KVM_FEATURE_NOP_IO_DELAY (1u << 1)
#define KVM_FEATURE_CLOCKSOURCE2 (1u << 3)
#define KVM_FEATURE_PV_EOI (1u << 6)
#define KVM_FEATURE_PV_SEND_IPI (1u << 11)
#define KVM_FEATURE_CLOCKSOURCE_STABLE (1u << 24)

/*
 * What guests keep of the feature words, by name. SDM 2A "CPUID", tables 3-8 to 3-11; APM 3 E.3 and E.4.
 */
#define BIT(n) (1u << (n))

/* SSE3 PCLMULQDQ SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND */
#define LEAF1_ECX_KEEP                                                                                          \
    (BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | \
     LEAF1_ECX_XSAVE | BIT(28) | BIT(29) | BIT(30))
/* x2APIC TSC-deadline hypervisor */
#define LEAF1_ECX_ADD (BIT(21) | BIT(24) | BIT(31))
/* FPU VME DE PSE TSC MSR PAE CX8 SEP PGE CMOV PAT PSE-36 CLFSH MMX FXSR SSE SSE2 */
#define LEAF1_EDX_KEEP                                                                                               \
    (BIT(0) | BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(11) | BIT(13) | BIT(15) | BIT(16) | \
     BIT(17) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26))
/* FSGSBASE BMI1 AVX2 SMEP BMI2 ERMS INVPCID RDSEED ADX SMAP CLFLUSHOPT CLWB SHA; AVX512 F DQ IFMA CD BW VL */
#define LEAF7_EBX_KEEP                                                                                                 \
    (BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(18) | BIT(19) | BIT(20) | BIT(23) | BIT(24) | \
     BIT(29) | BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31))
/* VBMI UMIP VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ LA57 RDPID */
#define LEAF7_ECX_KEEP \
    (BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14) | BIT(16) | BIT(22))
/* FSRM VP2INTERSECT MD_CLEAR SERIALIZE ARCH_CAPABILITIES */
#define LEAF7_EDX_KEEP (BIT(4) | BIT(8) | BIT(10) | BIT(14) | CPUID_7_EDX_ARCH_CAPABILITIES)
/* IBRS and IBPB, STIBP, SSBD: only with input.spec_ctrl */
#define LEAF7_EDX_CONTROLS (CPUID_7_EDX_SPEC_CTRL | CPUID_7_EDX_STIBP | CPUID_7_EDX_SSBD)
#define EXTENDED8_EBX_CONTROLS (CPUID_88_EBX_IBPB | CPUID_88_EBX_IBRS | CPUID_88_EBX_STIBP | CPUID_88_EBX_SSBD)
#define LEAF7_EBX_TSC_ADJUST BIT(1)
#define LEAF1_ECX_PCID BIT(17)
#define LEAF7_EBX_INVPCID BIT(10)
/* AVX-VNNI AVX512-BF16 fast zero-length REP MOVSB, short STOSB, short CMPSB */
#define LEAF7_1_EAX_KEEP (BIT(4) | BIT(5) | BIT(10) | BIT(11) | BIT(12))
#define EXTENDED1_ECX_TCE BIT(17)
/* LahfSahf AltMovCr8 ABM SSE4A MisAlignSse 3DNowPrefetch XOP FMA4 TCE TBM TopologyExtensions */
#define EXTENDED1_ECX_KEEP \
    (BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(16) | BIT(17) | BIT(21) | BIT(22))
/* the copies of leaf 1's, then SYSCALL NX MmxExt FFXSR Page1GB RDTSCP LM 3DNowExt 3DNow */
#define EXTENDED1_EDX_KEEP                                                                                           \
    ((LEAF1_EDX_KEEP & ~BIT(19) & ~BIT(25) & ~BIT(26)) | BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(26) | BIT(27) | \
     BIT(29) | BIT(30) | BIT(31))
/* CLZERO XSaveErPtr WBNOINVD; not affected: SSB_NO BTC_NO */
#define EXTENDED8_EBX_KEEP (BIT(0) | BIT(2) | BIT(9) | BIT(26) | BIT(29))
/* NoNestedDataBp LfenceAlwaysSerializing NullSelectClearsBase FSRS FSRC; not affected: SRSO_NO, SRSO_USER_KERNEL_NO */
#define EXTENDED21_EAX_KEEP (BIT(0) | BIT(2) | BIT(6) | BIT(10) | BIT(11) | BIT(29) | BIT(30))

struct policy_row {
    uint32_t leaf;
    uint32_t subleaf; /* SUBLEAF_ANY: every one that the host has */
    struct cpuid_words keep;
    struct cpuid_words add;
};

/* clang-format off */
static const struct policy_row policy_rows[] = {
    {0x00000000, 0, {0, ALL, ALL, ALL}, {0}}, /* the vendor's name; the highest leaf is set below */
    /* family and model; no MONITOR, VMX, SMX, SpeedStep, PDCM, MTRR, MCA, debug store, thermal; hypervisor,
     * TSC-deadline and x2APIC are emulated whatever the host has */
    {0x00000001, 0, {ALL, 0x0000ff00, LEAF1_ECX_KEEP, LEAF1_EDX_KEEP}, {0, 0, LEAF1_ECX_ADD, LEAF1_EDX_APIC}},
    {0x00000002, 0, {ALL, ALL, ALL, ALL}, {0}}, /* cache descriptors */
    {0x00000004, SUBLEAF_ANY, {0x3fff, ALL, ALL, ALL}, {0}}, /* caches; how many share them is set below */
    /* no thermal or power management; ARAT: the APIC timer never stops */
    {0x00000006, 0, {0, 0, 0, 0}, {1u << 2, 0, 0, 0}},
    /* instructions without state of their own; no SGX, HLE/RTM, MPX, PT; of speculation what VERW does and which
     * attacks the CPU is not open to; its controls where spec_ctrl says so; no protection keys, neither PKU nor PKS: decision 10;
     * TSC_ADJUST is emulated */
    {0x00000007, 0, {1, LEAF7_EBX_KEEP, LEAF7_ECX_KEEP, LEAF7_EDX_KEEP | LEAF7_EDX_CONTROLS}, {0, LEAF7_EBX_TSC_ADJUST, 0, 0}},
    {0x00000007, 1, {LEAF7_1_EAX_KEEP, 0, 0, 0}, {0}}, /* vector and string instructions */
    {0x0000000d, SUBLEAF_ANY, {ALL, ALL, ALL, ALL}, {0}}, /* extended state; limited to CPUID_XCR0_ALLOWED below */
    {0x80000000, 0, {0, ALL, ALL, ALL}, {0}}, /* the vendor's name again; the highest leaf is set below */
    /* no SVM, ExtApic space, SKINIT, IBS, performance counters, MWAITX, MCA, MTRR */
    {0x80000001, 0, {ALL, ALL, EXTENDED1_ECX_KEEP, EXTENDED1_EDX_KEEP}, {0}},
    {0x80000002, 0, {ALL, ALL, ALL, ALL}, {0}}, /* brand string */
    {0x80000003, 0, {ALL, ALL, ALL, ALL}, {0}}, /* brand string */
    {0x80000004, 0, {ALL, ALL, ALL, ALL}, {0}}, /* brand string */
    {0x80000005, 0, {ALL, ALL, ALL, ALL}, {0}}, /* first-level caches and TLBs */
    {0x80000006, 0, {ALL, ALL, ALL, ALL}, {0}}, /* second-level caches and TLBs */
    {0x80000007, 0, {0, 0, 0, 0}, {0}}, /* invariant TSC is set below where the host's TSC is stable */
    /* address widths, CLZERO, XSAVEERPTR, WBNOINVD; core count below */
    {0x80000008, 0, {0x0000ffff, EXTENDED8_EBX_KEEP | EXTENDED8_EBX_CONTROLS, 0, 0}, {0}},
    {0x80000019, 0, {ALL, ALL, 0, 0}, {0}}, /* 1 GiB TLBs */
    {0x8000001a, 0, {ALL, 0, 0, 0}, {0}}, /* how wide vector units are */
    {0x8000001d, SUBLEAF_ANY, {0x3fff, ALL, ALL, ALL}, {0}}, /* caches; how many share them is set below */
    {0x80000021, 0, {EXTENDED21_EAX_KEEP, 0, 0, 0}, {0}}, /* what instructions do; no SMM lock, AutoIBRS */
};
/* clang-format on */

/* The words that are features, bit by bit: other words differ between CPUs of one machine (APIC ids, caches). */
static const struct {
    uint32_t leaf, subleaf;
    struct cpuid_words features;
} feature_words[] = {
    {0x00000001, 0, {0, 0, LEAF1_ECX_KEEP, LEAF1_EDX_KEEP}},
    {0x00000007, 0, {0, LEAF7_EBX_KEEP, LEAF7_ECX_KEEP, LEAF7_EDX_KEEP}},
    {0x00000007, 1, {LEAF7_1_EAX_KEEP, 0, 0, 0}},
    {0x0000000d, 0, {CPUID_XCR0_ALLOWED, 0, 0, 0}},
    {0x0000000d, 1, {LEAFD_1_EAX_KEEP, 0, 0, 0}},
    {0x80000001, 0, {0, 0, EXTENDED1_ECX_KEEP, EXTENDED1_EDX_KEEP}},
    {0x80000008, 0, {0, EXTENDED8_EBX_KEEP, 0, 0}},
    {0x80000021, 0, {EXTENDED21_EAX_KEEP, 0, 0, 0}},
};

_Static_assert(ARRAY_COUNT(feature_words) == CPUID_FEATURE_WORDS, "struct cpuid_features");

/* What the hypervisor does alike on every CPU: extended state is switched with XSAVE or FXSAVE, the timer and the local
 * APIC have one mode, tables have no-execute pages and leaves of one size, guests' TSC_AUX is switched. */
static const struct {
    uint32_t leaf;
    struct cpuid_words features;
} own_words[] = {
    {0x00000001, {0, 0, BIT(21) | BIT(24) | LEAF1_ECX_XSAVE, 0}},   /* x2APIC, TSC-deadline */
    {0x80000001, {0, 0, 0, BIT(20) | BIT(26) | BIT(27) | BIT(29)}}, /* NX, 1 GiB pages, RDTSCP, long mode */
};

/* Bits of `keep` that are in `there` and not in `has`. */
static struct cpuid_words lacking(struct cpuid_words keep, struct cpuid_words there, struct cpuid_words has)
{
    return (struct cpuid_words){there.eax & ~has.eax & keep.eax, there.ebx & ~has.ebx & keep.ebx,
                                there.ecx & ~has.ecx & keep.ecx, there.edx & ~has.edx & keep.edx};
}

static bool any(struct cpuid_words words)
{
    return (words.eax | words.ebx | words.ecx | words.edx) != 0;
}

bool cpuid_policy_find_lack(const struct cpuid_host *boot, const struct cpuid_host *here, struct cpuid_lack *lack)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(own_words); i++) {
        lack->leaf = own_words[i].leaf;
        lack->bits = lacking(own_words[i].features, cpuid_host_words(boot, own_words[i].leaf, 0),
                             cpuid_host_words(here, own_words[i].leaf, 0));
        if (any(lack->bits)) {
            return true;
        }
    }
    return false;
}

void cpuid_policy_features(const struct cpuid_host *host, struct cpuid_features *features)
{
    for (uint32_t i = 0; i < CPUID_FEATURE_WORDS; i++) {
        features->words[i] = cpuid_host_words(host, feature_words[i].leaf, feature_words[i].subleaf);
    }
}

bool cpuid_policy_limit(struct cpuid_host *host, const struct cpuid_features *features, struct cpuid_lack *lack)
{
    bool found = false;

    for (uint32_t i = 0; i < CPUID_FEATURE_WORDS; i++) {
        for (uint32_t k = 0; k < host->count; k++) {
            struct cpuid_entry *entry = &host->entries[k];
            struct cpuid_words gone = lacking(feature_words[i].features, entry->words, features->words[i]);

            if (entry->leaf != feature_words[i].leaf || entry->subleaf != feature_words[i].subleaf || !any(gone)) {
                continue;
            }
            entry->words = lacking((struct cpuid_words){ALL, ALL, ALL, ALL}, entry->words, gone);
            if (!found) {
                *lack = (struct cpuid_lack){feature_words[i].leaf, gone};
            }
            found = true;
        }
    }
    return found;
}

static struct cpuid_words apply(const struct policy_row *row, struct cpuid_words host)
{
    return (struct cpuid_words){
        (host.eax & row->keep.eax) | row->add.eax,
        (host.ebx & row->keep.ebx) | row->add.ebx,
        (host.ecx & row->keep.ecx) | row->add.ecx,
        (host.edx & row->keep.edx) | row->add.edx,
    };
}

/* Leaves whose words depend on ECX, or on the vCPU in another way than leaf 1's. */
static enum cpuid_form leaf_form(uint32_t leaf)
{
    switch (leaf) {
    case 1:
        return CPUID_FEATURES;
    case 4:
    case 7:
    case 0xb:
    case 0xd:
    case 0x80000001:
    case 0x8000001d:
    case 0x8000001e:
        return CPUID_OTHER;
    default:
        return CPUID_PLAIN;
    }
}

/* Entries come in ascending order of leaf and subleaf, so that a leaf's subleaves are neighbours. */
static struct cpuid_entry *table_add(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                                     struct cpuid_words words)
{
    struct cpuid_entry *entry = &table->entries[table->count];

    if (table->count == CPUID_TABLE_MAX) {
        return NULL;
    }
    *entry = (struct cpuid_entry){.leaf = leaf, .subleaf = subleaf, .words = words, .form = (uint32_t)leaf_form(leaf)};
    if (leaf < CPUID_BASIC_MAX && table->basic[leaf] == 0) {
        table->basic[leaf] = (uint8_t)table->count;
    }
    if (leaf >= CPUID_EXTENDED_FIRST && leaf - CPUID_EXTENDED_FIRST < CPUID_EXTENDED_MAX &&
        table->extended[leaf - CPUID_EXTENDED_FIRST] == 0) {
        table->extended[leaf - CPUID_EXTENDED_FIRST] = (uint8_t)table->count;
    }
    table->count++;
    return entry;
}

/* Subleaves that the host does not have between some that it has get entries, so that they are found by their number:
 * those of leaf 0xd, of the components that guests may use. */
#define SUBLEAVES_FILLED 8u

static void add_row(struct cpuid_table *table, const struct cpuid_host *host, const struct policy_row *row)
{
    uint32_t next = 0;

    if (row->subleaf != SUBLEAF_ANY) {
        table_add(table, row->leaf, row->subleaf, apply(row, cpuid_host_words(host, row->leaf, row->subleaf)));
        return;
    }
    for (uint32_t i = 0; i < host->count; i++) {
        uint32_t subleaf = host->entries[i].subleaf;

        if (host->entries[i].leaf != row->leaf) {
            continue;
        }
        for (; next < subleaf && subleaf < SUBLEAVES_FILLED; next++) {
            table_add(table, row->leaf, next, (struct cpuid_words){0, 0, 0, 0});
        }
        table_add(table, row->leaf, subleaf, apply(row, host->entries[i].words));
        next = subleaf + 1;
    }
}

static struct cpuid_entry *table_find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->entries[i].leaf == leaf && table->entries[i].subleaf == subleaf) {
            return &table->entries[i];
        }
    }
    return NULL;
}

/* The smallest n with 2^n >= count. */
static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;

    while ((1u << bits) < count) {
        bits++;
    }
    return bits;
}

/* SDM 2A "CPUID", leaf 0xb "Extended Topology Enumeration": one thread a core, all cores in one package. */
static void add_topology(struct cpuid_table *table, uint32_t vcpu_count)
{
    table_add(table, 0xb, 0, (struct cpuid_words){0, 1, 1u << 8, 0});
    table_add(table, 0xb, 1, (struct cpuid_words){bits_for(vcpu_count), vcpu_count, 1 | (2u << 8), 0});
    table_add(table, 0xb, 2, (struct cpuid_words){0, 0, 2, 0});
}

/*
 * Leaf 0x15: TSC = crystal * EBX / EAX. The crystal is the clock of the emulated APIC timer, so that both agree.
 * SDM 2A "CPUID", leaf 15H "Time Stamp Counter and Nominal Core Crystal Clock Information"; Intel only.
 */
static void add_tsc_leaves(struct cpuid_table *table, uint32_t tsc_khz)
{
    uint32_t timer_hz = (uint32_t)lapic_timer_hz(tsc_khz * 1000ULL);

    table_add(table, 0x15, 0, (struct cpuid_words){timer_hz / 1000, tsc_khz, timer_hz, 0});
    table_add(table, 0x16, 0, (struct cpuid_words){tsc_khz / 1000, tsc_khz / 1000, 100, 0});
}

/* Signatures: "KVMKVMKVM\0\0\0" at 0x40000000, so that stock kernels find their clock; our own at 0x40000100. */
static void add_hypervisor_leaves(struct cpuid_table *table, const struct cpuid_policy_input *input)
{
    uint32_t features = KVM_FEATURE_CLOCKSOURCE | KVM_FEATURE_CLOCKSOURCE2 | KVM_FEATURE_NOP_IO_DELAY |
                        KVM_FEATURE_PV_EOI | KVM_FEATURE_PV_SEND_IPI |
                        (input->tsc_stable ? KVM_FEATURE_CLOCKSOURCE_STABLE : 0);
    uint32_t timer_khz = (uint32_t)(lapic_timer_hz(input->tsc_khz * 1000ULL) / 1000);

    table_add(table, LEAF_HYPERVISOR, 0, (struct cpuid_words){LEAF_HYPERVISOR + 0x10, 0x4b4d564b, 0x564b4d56, 0x4d});
    table_add(table, LEAF_HYPERVISOR + 1, 0, (struct cpuid_words){features, 0, 0, 0});
    table_add(table, LEAF_HYPERVISOR + 0x10, 0, (struct cpuid_words){input->tsc_khz, timer_khz, 0, 0});
    table_add(table, LEAF_PLINTH, 0, (struct cpuid_words){LEAF_PLINTH + 1, 0x6e696c50, 0x6c506874, 0x68746e69});
    table_add(table, LEAF_PLINTH + 1, 0, (struct cpuid_words){1, 0, 0, 0});
}

/* Cache leaves: each vCPU is a core that shares nothing up to the last level, which the package shares. */
static void set_cache_sharing(struct cpuid_table *table, uint32_t leaf, uint32_t vcpu_count)
{
    for (uint32_t i = 0; i < table->count; i++) {
        struct cpuid_words *words = &table->entries[i].words;
        bool last_level = ((words->eax >> 5) & 7) >= 3;

        if (table->entries[i].leaf != leaf || (words->eax & 0x1f) == 0) {
            continue;
        }
        words->eax &= 0x3fff;
        words->eax |= last_level ? (vcpu_count - 1) << 14 : 0;
        words->eax |= leaf == 4 ? (vcpu_count - 1) << 26 : 0;
    }
}

static void set_topology(struct cpuid_table *table, const struct cpuid_policy_input *input)
{
    struct cpuid_entry *leaf1 = table_find(table, 1, 0);
    struct cpuid_entry *sizes = table_find(table, 0x80000008, 0);
    struct cpuid_entry *features = table_find(table, 0x80000001, 0);

    leaf1->words.ebx |= input->vcpu_count << 16;
    leaf1->words.edx |= input->vcpu_count > 1 ? 1u << 28 : 0;
    set_cache_sharing(table, 4, input->vcpu_count);
    set_cache_sharing(table, 0x8000001d, input->vcpu_count);
    if (input->is_intel) {
        return;
    }
    if (sizes != NULL) {
        sizes->words.ecx = (input->vcpu_count - 1) | (bits_for(input->vcpu_count) << 12);
    }
    if (features != NULL && input->hide_tce) {
        features->words.ecx &= ~EXTENDED1_ECX_TCE;
    }
    if (features != NULL && input->vcpu_count > 1) {
        features->words.ecx |= 1u << 1; /* CmpLegacy: several cores, no threads. APM 3 E.4.2 */
    }
}

/* IA32_SPEC_CTRL and IA32_PRED_CMD. */
static void hide_controls(struct cpuid_table *table)
{
    struct cpuid_entry *intel = table_find(table, 7, 0);
    struct cpuid_entry *amd = table_find(table, 0x80000008, 0);

    if (intel != NULL) {
        intel->words.edx &= ~LEAF7_EDX_CONTROLS;
    }
    if (amd != NULL) {
        amd->words.ebx &= ~EXTENDED8_EBX_CONTROLS;
    }
}

/* PCID and INVPCID. */
static void hide_pcid(struct cpuid_table *table)
{
    struct cpuid_entry *features = table_find(table, 1, 0);
    struct cpuid_entry *more = table_find(table, 7, 0);

    features->words.ecx &= ~LEAF1_ECX_PCID;
    if (more != NULL) {
        more->words.ebx &= ~LEAF7_EBX_INVPCID;
    }
}

/* Which extended states are offered follows from what the host has and what the policy allows. */
static void set_xsave(const struct cpuid_policy_input *input, struct cpuid_table *table)
{
    uint32_t instructions = input->hide_xsavec ? LEAFD_1_EAX_KEEP & ~CPUID_D1_EAX_XSAVEC : LEAFD_1_EAX_KEEP;
    struct cpuid_entry *main = table_find(table, 0xd, 0);
    struct cpuid_entry *leaf1 = table_find(table, 1, 0);

    table->xsave = main != NULL && (leaf1->words.ecx & LEAF1_ECX_XSAVE) != 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct cpuid_entry *entry = &table->entries[i];
        bool component = entry->subleaf >= 2;

        if (entry->leaf != 0xd) {
            continue;
        }
        if (!table->xsave ||
            (component && (entry->subleaf > 31 || ((CPUID_XCR0_ALLOWED >> entry->subleaf) & 1) == 0))) {
            entry->words = (struct cpuid_words){0, 0, 0, 0};
        }
        if (entry->subleaf == 1) {
            entry->words = (struct cpuid_words){entry->words.eax & instructions, 0, 0, 0};
        }
    }
    if (table->xsave) {
        main->words.eax &= CPUID_XCR0_ALLOWED;
        main->words.edx = 0;
        table->xcr0_supported = main->words.eax;
    }
}

/* Form CPUID_LISTED for the leaf whose first entry this is, where nothing but ECX and a patched subleaf decides. */
static void list_subleaves(struct cpuid_table *table, struct cpuid_entry *first)
{
    const struct cpuid_entry *end = &table->entries[table->count];
    struct cpuid_entry *entry = first;

    while (entry < end && entry->leaf == first->leaf && entry->subleaf == (uint32_t)(entry - first)) {
        entry->patched = first->leaf == 0xd && entry->subleaf <= 1; /* sizes, by XCR0 */
        entry++;
    }
    first->subleaves = (uint16_t)(entry - first);
    while (entry < end && entry->leaf == first->leaf && !any(entry->words)) {
        entry++;
    }
    if (entry == end || entry->leaf != first->leaf) {
        first->form = CPUID_LISTED;
    }
}

static void list_all_subleaves(struct cpuid_table *table)
{
    static const uint32_t leaves[] = {4, 7, 0xd, 0x8000001d};

    for (uint32_t i = 0; i < ARRAY_COUNT(leaves); i++) {
        struct cpuid_entry *first = table_find(table, leaves[i], 0);

        if (first != NULL) {
            list_subleaves(table, first);
        }
    }
}

void cpuid_policy_build(const struct cpuid_policy_input *input, struct cpuid_table *table)
{
    const struct cpuid_host *host = input->host;
    uint32_t host_basic = cpuid_host_words(host, 0, 0).eax;
    uint32_t host_extended = cpuid_host_words(host, CPUID_EXTENDED_FIRST, 0).eax;
    struct cpuid_entry *power;

    *table = (struct cpuid_table){.count = 0};
    table_add(table, LEAF_NONE, 0, (struct cpuid_words){0, 0, 0, 0});
    table->max_basic = host_basic < 0xd ? (host_basic < 0xb ? 0xb : host_basic) : 0xd;
    table->max_basic = input->is_intel ? 0x16 : table->max_basic;
    table->max_extended = host_extended < LEAF_EXTENDED_LAST ? host_extended : LEAF_EXTENDED_LAST;
    for (uint32_t i = 0; i < ARRAY_COUNT(policy_rows); i++) {
        add_row(table, host, &policy_rows[i]);
    }
    add_topology(table, input->vcpu_count);
    if (input->is_intel) {
        add_tsc_leaves(table, input->tsc_khz);
    } else {
        /* APM 3 E.4.16: extended APIC id (patched), one thread a core, one node. */
        table_add(table, 0x8000001e, 0, (struct cpuid_words){0, 0, 0, 0});
    }
    add_hypervisor_leaves(table, input);
    table_find(table, 0, 0)->words.eax = table->max_basic;
    table_find(table, CPUID_EXTENDED_FIRST, 0)->words.eax = table->max_extended;
    power = table_find(table, 0x80000007, 0);
    power->words.edx = input->tsc_stable ? 1u << 8 : 0;
    set_topology(table, input);
    set_xsave(input, table);
    if (input->hide_pcid) {
        hide_pcid(table);
    }
    if (!input->spec_ctrl) {
        hide_controls(table);
    }
    list_all_subleaves(table);
    cpuid_table_finish(table);
}
