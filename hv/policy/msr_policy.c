/* SPDX-License-Identifier: MIT */
/*
 * One table for both vendors. A row says on which CPUs it exists, what a read gives and what a write does. The two MSRs
 * that a running kernel writes at each timer tick are looked at before the table.
 */
#include "hv/policy/msr_policy.h"

#include "hv/core/event.h"
#include "hv/core/guest_io.h"
#include "hv/policy/paravirt.h"
#include "hv/x86/registers.h"

/* CPUID 0x80000001 EDX. */
#define EXTENDED_EDX_NX (1u << 20)
#define EXTENDED_EDX_FFXSR (1u << 25)
#define EXTENDED_ECX_TCE (1u << 17) /* translation cache extension */
#define EXTENDED_EDX_LM (1u << 29)

/* HWCR TscFreqSel: the TSC counts at the P0 frequency; Linux calls it a firmware bug when clear. */
#define HWCR_TSC_FREQUENCY (1ULL << 24)
/* IA32_FEATURE_CONTROL: locked, with everything off. */
#define FEATURE_CONTROL_LOCKED 1ULL

/*
 * IA32_ARCH_CAPABILITIES: the attacks that the CPU is not open to, and that VERW clears buffers (FB_CLEAR, RFDS_CLEAR).
 * SDM 4 2.1, table 2-2. IBRS_ALL: IBRS may stay set. Bits of MSRs that guests have not (TSX_CTRL, MISC_PACKAGE_CTLS,
 * ...) are no guest's.
 */
#define ARCH_PROMISES                                                                                               \
    (1ULL << 0 /* RDCL_NO */ | ARCH_CAPABILITIES_IBRS_ALL | 1ULL << 4 /* SSB_NO */ | 1ULL << 5 /* MDS_NO */ |       \
     1ULL << 6 /* IF_PSCHANGE_MC_NO */ | 1ULL << 8 /* TAA_NO */ | 1ULL << 13 /* SBDR_SSDP_NO */ |                   \
     1ULL << 14 /* FBSDP_NO */ | 1ULL << 15 /* PSDP_NO */ | 1ULL << 17 /* FB_CLEAR */ | 1ULL << 20 /* BHI_NO */ |   \
     1ULL << 24 /* PBRSB_NO */ | 1ULL << 26 /* GDS_NO */ | 1ULL << 27 /* RFDS_NO */ | 1ULL << 28 /* RFDS_CLEAR */ | \
     1ULL << 62 /* ITS_NO */)
/* A RET may take its target from elsewhere than the return stack. */
#define ARCH_WARNINGS (1ULL << 2 /* RSBA */ | 1ULL << 19 /* RRSBA */)

/* MSR_PLATFORM_INFO counts in this unit. */
#define PLATFORM_RATIO_KHZ 100000u

enum msr_kind {
    MSR_IS_CONSTANT, /* reads `value`, writes are ignored */
    MSR_IS_READ_ONLY,
    MSR_IS_TSC,
    MSR_IS_APIC_BASE,
    MSR_IS_TSC_ADJUST,
    MSR_IS_MISC_ENABLE,
    MSR_IS_PLATFORM_INFO,
    MSR_IS_MICROCODE,
    MSR_IS_ARCH_CAPABILITIES,
    MSR_IS_SPEC_CTRL,
    MSR_IS_PRED_CMD,
    MSR_IS_PAT,
    MSR_IS_MTRR_DEFAULT,
    MSR_IS_TSC_DEADLINE,
    MSR_IS_X2APIC,
    MSR_IS_EFER,
    MSR_IS_KVM_WALL_CLOCK,
    MSR_IS_KVM_SYSTEM_TIME,
    MSR_IS_KVM_PV_EOI,
};

enum msr_vendor {
    ON_BOTH,
    ON_INTEL,
    ON_AMD,
};

struct msr_row {
    uint32_t first, last;
    enum msr_vendor vendor;
    enum msr_kind kind;
    uint64_t value;
};

/* By number, each in at most one row. */
/* clang-format off */
static const struct msr_row msr_rows[] = {
    {MSR_TSC, MSR_TSC, ON_BOTH, MSR_IS_TSC, 0}, /* the guest may move its TSC */
    {0x11, 0x11, ON_BOTH, MSR_IS_KVM_WALL_CLOCK, 0}, /* the older number of the same */
    {0x12, 0x12, ON_BOTH, MSR_IS_KVM_SYSTEM_TIME, 0}, /* the older number of the same */
    {0x17, 0x17, ON_INTEL, MSR_IS_READ_ONLY, 0}, /* platform id, read with the microcode revision */
    {MSR_APIC_BASE, MSR_APIC_BASE, ON_BOTH, MSR_IS_APIC_BASE, 0}, /* APIC mode and place */
    {0x3a, 0x3a, ON_INTEL, MSR_IS_READ_ONLY, FEATURE_CONTROL_LOCKED}, /* locked, no VMX */
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, ON_BOTH, MSR_IS_TSC_ADJUST, 0}, /* offered in CPUID */
    {MSR_SPEC_CTRL, MSR_SPEC_CTRL, ON_BOTH, MSR_IS_SPEC_CTRL, 0}, /* IBRS, STIBP, SSBD, each as CPUID offers it */
    {MSR_PRED_CMD, MSR_PRED_CMD, ON_BOTH, MSR_IS_PRED_CMD, 0}, /* IBPB, as CPUID offers it */
    {MSR_MICROCODE, MSR_MICROCODE, ON_BOTH, MSR_IS_MICROCODE, 0}, /* the CPU's own, read by every Linux */
    {0xce, 0xce, ON_INTEL, MSR_IS_PLATFORM_INFO, 0}, /* platform information: the TSC's ratio to 100 MHz, no turbo */
    {0xe7, 0xe8, ON_BOTH, MSR_IS_CONSTANT, 0}, /* MPERF, APERF: not offered, read by old kernels */
    {0xfe, 0xfe, ON_BOTH, MSR_IS_READ_ONLY, 0}, /* MTRRCAP: no ranges (older kernels read it unasked) */
    {MSR_ARCH_CAPABILITIES, MSR_ARCH_CAPABILITIES, ON_BOTH, MSR_IS_ARCH_CAPABILITIES, 0}, /* "not affected" bits */
    {0x140, 0x140, ON_INTEL, MSR_IS_CONSTANT, 0}, /* no ring-3 MWAIT, no CPUID faulting */
    {0x179, 0x179, ON_BOTH, MSR_IS_READ_ONLY, 0}, /* MCG_CAP: no banks */
    {0x17a, 0x17a, ON_BOTH, MSR_IS_CONSTANT, 0}, /* MCG_STATUS */
    /* Linux clears limits here; emulators have it on AMD, too */
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, ON_BOTH, MSR_IS_MISC_ENABLE, 0},
    {0x1d9, 0x1d9, ON_BOTH, MSR_IS_CONSTANT, 0}, /* DEBUGCTL: no branch tracing */
    {0x1db, 0x1de, ON_BOTH, MSR_IS_READ_ONLY, 0}, /* last branches: none recorded */
    {0x200, 0x20f, ON_BOTH, MSR_IS_CONSTANT, 0}, /* variable MTRRs: none in use */
    {0x250, 0x250, ON_BOTH, MSR_IS_CONSTANT, 0x0606060606060606}, /* fixed MTRRs: write-back */
    {0x258, 0x259, ON_BOTH, MSR_IS_CONSTANT, 0x0606060606060606}, /* fixed MTRRs: write-back */
    {0x268, 0x26f, ON_BOTH, MSR_IS_CONSTANT, 0x0606060606060606}, /* fixed MTRRs: write-back */
    {MSR_PAT, MSR_PAT, ON_BOTH, MSR_IS_PAT, 0}, /* the guest's own memory types */
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, ON_BOTH, MSR_IS_MTRR_DEFAULT, 0}, /* default memory type, write-back */
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, ON_BOTH, MSR_IS_TSC_DEADLINE, 0}, /* the local APIC's timer */
    {0x4b564d00, 0x4b564d00, ON_BOTH, MSR_IS_KVM_WALL_CLOCK, 0}, /* time of day for stock kernels */
    {0x4b564d01, 0x4b564d01, ON_BOTH, MSR_IS_KVM_SYSTEM_TIME, 0}, /* TSC frequency for stock kernels */
    {0x4b564d04, 0x4b564d04, ON_BOTH, MSR_IS_KVM_PV_EOI, 0}, /* ends of interrupts without an exit */
    {MSR_EFER, MSR_EFER, ON_BOTH, MSR_IS_EFER, 0}, /* long mode, NX, SYSCALL */
    {0xc0010000, 0xc0010007, ON_AMD, MSR_IS_CONSTANT, 0}, /* performance counters: not offered, probed */
    {0xc0010010, 0xc0010010, ON_AMD, MSR_IS_CONSTANT, 0}, /* SYSCFG: no memory encryption, no MTRR extensions */
    {0xc0010015, 0xc0010015, ON_AMD, MSR_IS_CONSTANT, HWCR_TSC_FREQUENCY}, /* HWCR: TSC runs at P0 */
    {0xc001001a, 0xc001001d, ON_AMD, MSR_IS_CONSTANT, 0}, /* TOP_MEM: not used */
    {0xc001001f, 0xc001001f, ON_AMD, MSR_IS_CONSTANT, 0}, /* NB_CFG: Linux writes it */
    {0xc0010055, 0xc0010055, ON_AMD, MSR_IS_CONSTANT, 0}, /* no C1E */
    {0xc0010058, 0xc0010058, ON_AMD, MSR_IS_CONSTANT, 0}, /* no PCI configuration in memory */
    {0xc0010061, 0xc0010071, ON_AMD, MSR_IS_CONSTANT, 0}, /* P-states: not offered */
    {0xc0010140, 0xc0010141, ON_AMD, MSR_IS_CONSTANT, 0}, /* OS-visible workarounds: none */
    {0xc0010200, 0xc001020b, ON_AMD, MSR_IS_CONSTANT, 0}, /* performance counters: not offered, probed */
    {0xc0011020, 0xc0011028, ON_AMD, MSR_IS_CONSTANT, 0}, /* core configuration: workarounds are the host's matter */
    {MSR_AMD_DE_CFG, MSR_AMD_DE_CFG, ON_AMD, MSR_IS_CONSTANT, AMD_DE_CFG_LFENCE}, /* host_cpu_serialize_lfence() has set it */
    {0xc001102a, 0xc001102d, ON_AMD, MSR_IS_CONSTANT, 0}, /* core configuration */
};

/*
 * These live in the control structure or are loaded with the vCPU, and nothing that a guest writes into them reaches
 * any other guest. TSC_AUX and the SYSCALL MSRs are switched when another vCPU is loaded on the CPU.
 */
const struct msr_pass_through msr_pass_through_list[] = {
    {0xc0000100, true, true}, /* FS base */
    {0xc0000101, true, true}, /* GS base */
    {0xc0000102, true, true}, /* KERNEL_GS_BASE */
    {0xc0000081, true, true}, /* STAR */
    {0xc0000082, true, true}, /* LSTAR */
    {0xc0000083, true, true}, /* CSTAR */
    {0xc0000084, true, true}, /* SFMASK */
    {0xc0000103, true, true}, /* TSC_AUX, which RDTSCP and RDPID read */
    {0x174, true, true}, /* SYSENTER_CS */
    {0x175, true, true}, /* SYSENTER_ESP */
    {0x176, true, true}, /* SYSENTER_EIP */
};
/* clang-format on */
const uint32_t msr_pass_through_count = ARRAY_COUNT(msr_pass_through_list);

/* The only row that can have the number: the last one that does not begin behind it. */
static const struct msr_row *row_at(uint32_t msr)
{
    uint32_t low = 0, count = ARRAY_COUNT(msr_rows);

    while (count > 1) {
        uint32_t half = count / 2;

        low += msr_rows[low + half].first <= msr ? half : 0;
        count -= half;
    }
    return &msr_rows[low];
}

/* The local APIC in x2APIC mode, which guests read most: apart from the table. */
static const struct msr_row x2apic_row = {MSR_X2APIC_FIRST, MSR_X2APIC_LAST, ON_BOTH, MSR_IS_X2APIC, 0};

static const struct msr_row *row_find(const struct vcpu *vcpu, uint32_t msr)
{
    enum msr_vendor vendor = vcpu->guest->host->is_intel ? ON_INTEL : ON_AMD;
    const struct msr_row *row;

    if (msr_is_x2apic(msr)) {
        return &x2apic_row;
    }
    row = row_at(msr);
    return msr >= row->first && msr <= row->last && (row->vendor == ON_BOTH || row->vendor == vendor) ? row : NULL;
}

static struct cpuid_words extended_features(const struct vcpu *vcpu)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true};

    return cpuid_table_answer(&vcpu->guest->cpuid, CPUID_EXTENDED_1, 0, &dynamic);
}

/* Bits that CPUID does not offer are reserved; LME cannot change under paging; LMA is the CPU's. APM 2 3.1.7. */
static bool efer_write(struct vcpu *vcpu, uint64_t value)
{
    struct vcpu_system *system = &vcpu->system;
    struct cpuid_words features = extended_features(vcpu);
    uint64_t allowed = EFER_SCE | EFER_LMA | ((features.edx & EXTENDED_EDX_LM) != 0 ? EFER_LME : 0) |
                       ((features.edx & EXTENDED_EDX_NX) != 0 ? EFER_NXE : 0) |
                       ((features.edx & EXTENDED_EDX_FFXSR) != 0 ? EFER_FFXSR : 0) |
                       ((features.ecx & EXTENDED_ECX_TCE) != 0 ? EFER_TCE : 0);
    bool paging = (system->cr0 & CR0_PG) != 0;

    if ((value & ~allowed) != 0 || (paging && ((value ^ system->efer) & EFER_LME) != 0)) {
        return false;
    }
    system->efer = (value & ~EFER_LMA) | (system->efer & EFER_LMA);
    vcpu->requests |= VCPU_SYSTEM_WRITE | VCPU_FLUSH;
    return true;
}

/* Each byte is a memory type: UC WC WT WP WB UC-, of which 2 and 3 are none. SDM 3A 12.12.2 "IA32_PAT MSR". */
#define PAT_RESERVED 0xf8f8f8f8f8f8f8f8ULL
#define PAT_BIT_1 0x0202020202020202ULL

static bool pat_legal(uint64_t value)
{
    return (value & PAT_RESERVED) == 0 && (value & PAT_BIT_1 & ~(value >> 1)) == 0;
}

static bool pat_write(struct vcpu *vcpu, uint64_t value)
{
    if (!pat_legal(value)) {
        return false;
    }
    vcpu->msrs.pat = value;
    vcpu->requests |= VCPU_SYSTEM_WRITE;
    return true;
}

static void tsc_deadline_write(struct vcpu *vcpu, uint64_t value)
{
    uint64_t before = vcpu->lapic.deadline;

    lapic_tsc_deadline_write(&vcpu->lapic, value, vcpu->tsc_offset, vcpu->exit_tsc);
    if (vcpu->lapic.deadline != before) {
        vcpu->requests |= VCPU_TIMER;
    }
    if (before <= vcpu->exit_tsc || (value != 0 && vcpu->lapic.tsc_deadline == 0)) {
        vcpu->requests |= VCPU_EVENT; /* the old deadline or the new one has passed */
    }
}

/* Moving the TSC moves TSC_ADJUST by the same amount, and the reverse. SDM 3B 18.17.3. What is counted from the TSC
 * follows: an armed deadline, and the paravirtual clock's page. */
static void tsc_move(struct vcpu *vcpu, uint64_t by)
{
    uint64_t deadline = lapic_tsc_deadline_read(&vcpu->lapic, vcpu->exit_tsc);

    vcpu->tsc_offset += by;
    vcpu->msrs.tsc_adjust += by;
    vcpu->requests |= VCPU_TSC;
    if (deadline != 0) {
        tsc_deadline_write(vcpu, deadline);
    }
    paravirt_tsc_moved(vcpu);
}

/* Whether software has switched the local APIC on decides which side serves it. */
static bool x2apic_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    vcpu->requests |= msr == MSR_X2APIC_SVR ? VCPU_MSR_BITMAP : 0;
    return guest_apic_msr_write(vcpu, msr, value);
}

static bool apic_base_write(struct vcpu *vcpu, uint64_t value)
{
    if (value == vcpu->lapic.base_msr) {
        return true; /* it was legal before */
    }
    if (!lapic_base_write(&vcpu->lapic, value, vcpu->guest->host->physical_bits)) {
        return false;
    }
    vcpu->requests |= VCPU_MSR_BITMAP | VCPU_EVENT | VCPU_TIMER;
    return true;
}

/* MSR_MTRR_DEF_TYPE: type in bits 0-7, enables in 10 and 11. SDM 3A 12.11.2.1. */
static bool mtrr_default_write(struct vcpu *vcpu, uint64_t value)
{
    if ((value & ~0xcffULL) != 0) {
        return false;
    }
    vcpu->msrs.mtrr_default = value;
    return true;
}

/* Bits 15:8: the highest ratio without turbo; 47:40: the lowest one. SDM 4 table 2-2, MSR_PLATFORM_INFO. */
static uint64_t platform_info(const struct vcpu *vcpu)
{
    uint64_t ratio = max_u64(vcpu->guest->host->tsc_khz / PLATFORM_RATIO_KHZ, 1) & 0xff;

    return ratio << 8 | ratio << 40;
}

uint64_t msr_arch_capabilities_shown(uint64_t value)
{
    return value & (ARCH_PROMISES | ARCH_WARNINGS);
}

uint64_t msr_arch_capabilities_join(uint64_t one, uint64_t other)
{
    return (one & other & ARCH_PROMISES) | ((one | other) & ARCH_WARNINGS);
}

static bool has_arch_capabilities(const struct vcpu *vcpu)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true};

    return (cpuid_table_answer(&vcpu->guest->cpuid, CPUID_EXTENDED_FEATURES, 0, &dynamic).edx &
            CPUID_7_EDX_ARCH_CAPABILITIES) != 0;
}

/* What CPUID offers this guest of the controls over speculation: bits of IA32_SPEC_CTRL, and whether there is IBPB.
 * Intel has a bit for IBRS and IBPB together. SDM 2A "CPUID", table 3-8; APM 3 E.4. */
static uint64_t spec_ctrl_bits(const struct vcpu *vcpu, bool *ibpb)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true};
    uint32_t edx = cpuid_table_answer(&vcpu->guest->cpuid, CPUID_EXTENDED_FEATURES, 0, &dynamic).edx;
    uint32_t ebx = cpuid_table_answer(&vcpu->guest->cpuid, CPUID_ADDRESS_SIZES, 0, &dynamic).ebx;
    bool ibrs = (edx & CPUID_7_EDX_SPEC_CTRL) != 0 || (ebx & CPUID_88_EBX_IBRS) != 0;
    bool stibp = (edx & CPUID_7_EDX_STIBP) != 0 || (ebx & CPUID_88_EBX_STIBP) != 0;
    bool ssbd = (edx & CPUID_7_EDX_SSBD) != 0 || (ebx & CPUID_88_EBX_SSBD) != 0;

    *ibpb = (edx & CPUID_7_EDX_SPEC_CTRL) != 0 || (ebx & CPUID_88_EBX_IBPB) != 0;
    return (ibrs ? SPEC_CTRL_IBRS : 0) | (stibp ? SPEC_CTRL_STIBP : 0) | (ssbd ? SPEC_CTRL_SSBD : 0);
}

/* These two stay out of row_read(), which the local APIC's registers need without a stack frame. */
__attribute__((noinline)) static bool arch_capabilities_read(const struct vcpu *vcpu, uint64_t *value)
{
    bool ibpb;
    bool ibrs = (spec_ctrl_bits(vcpu, &ibpb) & SPEC_CTRL_IBRS) != 0;

    *value = vcpu->guest->host->arch_capabilities & (ibrs ? ~0ULL : ~ARCH_CAPABILITIES_IBRS_ALL);
    return has_arch_capabilities(vcpu);
}

__attribute__((noinline)) static bool spec_ctrl_read(const struct vcpu *vcpu, uint64_t *value)
{
    bool ibpb;

    *value = vcpu->msrs.spec_ctrl;
    return spec_ctrl_bits(vcpu, &ibpb) != 0;
}

static bool spec_ctrl_write(struct vcpu *vcpu, uint64_t value)
{
    bool ibpb;
    uint64_t allowed = spec_ctrl_bits(vcpu, &ibpb);

    if (allowed == 0 || (value & ~allowed) != 0) {
        return false;
    }
    vcpu->msrs.spec_ctrl = value;
    vcpu->requests |= VCPU_SPEC_CTRL;
    return true;
}

static bool pred_cmd_write(struct vcpu *vcpu, uint64_t value)
{
    bool ibpb;

    (void)spec_ctrl_bits(vcpu, &ibpb);
    if (!ibpb || (value & ~(uint64_t)PRED_CMD_IBPB) != 0) {
        return false;
    }
    vcpu->requests |= value != 0 ? (uint32_t)VCPU_IBPB : 0;
    return true;
}

static bool row_read(struct vcpu *vcpu, const struct msr_row *row, uint32_t msr, uint64_t *value)
{
    switch (row->kind) {
    case MSR_IS_CONSTANT:
    case MSR_IS_READ_ONLY:
        *value = row->value;
        return true;
    case MSR_IS_TSC:
        *value = vcpu->exit_tsc + vcpu->tsc_offset;
        return true;
    case MSR_IS_APIC_BASE:
        *value = msr_at_hand(vcpu, MSR_APIC_BASE);
        return true;
    case MSR_IS_TSC_ADJUST:
        *value = vcpu->msrs.tsc_adjust;
        return true;
    case MSR_IS_MISC_ENABLE:
        *value = msr_at_hand(vcpu, MSR_MISC_ENABLE);
        return true;
    case MSR_IS_PLATFORM_INFO:
        *value = platform_info(vcpu);
        return true;
    case MSR_IS_MICROCODE:
        /* SDM 4 2.1, table 2-2, IA32_BIOS_SIGN_ID: in the upper half. AMD's has it in the lower one. */
        *value = (uint64_t)vcpu->guest->host->microcode << (vcpu->guest->host->is_intel ? 32 : 0);
        return true;
    case MSR_IS_ARCH_CAPABILITIES:
        return arch_capabilities_read(vcpu, value);
    case MSR_IS_SPEC_CTRL:
        return spec_ctrl_read(vcpu, value);
    case MSR_IS_PRED_CMD:
        return false; /* write-only */
    case MSR_IS_PAT:
        *value = msr_at_hand(vcpu, MSR_PAT);
        return true;
    case MSR_IS_MTRR_DEFAULT:
        *value = vcpu->msrs.mtrr_default;
        return true;
    case MSR_IS_TSC_DEADLINE:
        *value = lapic_tsc_deadline_read(&vcpu->lapic, vcpu->exit_tsc);
        return true;
    case MSR_IS_X2APIC:
        return guest_apic_msr_read(vcpu, msr, value);
    case MSR_IS_EFER:
        *value = msr_at_hand(vcpu, MSR_EFER);
        return true;
    case MSR_IS_KVM_WALL_CLOCK:
        *value = vcpu->msrs.kvm_wall_clock;
        return true;
    case MSR_IS_KVM_SYSTEM_TIME:
        *value = vcpu->msrs.kvm_system_time;
        return true;
    case MSR_IS_KVM_PV_EOI:
        *value = vcpu->msrs.kvm_eoi;
        return true;
    }
    return false;
}

static bool row_write(struct vcpu *vcpu, const struct msr_row *row, uint32_t msr, uint64_t value)
{
    switch (row->kind) {
    case MSR_IS_CONSTANT:
    case MSR_IS_MICROCODE:
        return true;
    case MSR_IS_READ_ONLY:
    case MSR_IS_PLATFORM_INFO:
    case MSR_IS_ARCH_CAPABILITIES:
        return false;
    case MSR_IS_TSC:
        tsc_move(vcpu, value - (vcpu->exit_tsc + vcpu->tsc_offset));
        return true;
    case MSR_IS_APIC_BASE:
        return apic_base_write(vcpu, value);
    case MSR_IS_TSC_ADJUST:
        tsc_move(vcpu, value - vcpu->msrs.tsc_adjust);
        return true;
    case MSR_IS_MISC_ENABLE:
        vcpu->msrs.misc_enable = value;
        return true;
    case MSR_IS_SPEC_CTRL:
        return spec_ctrl_write(vcpu, value);
    case MSR_IS_PRED_CMD:
        return pred_cmd_write(vcpu, value);
    case MSR_IS_PAT:
        return pat_write(vcpu, value);
    case MSR_IS_MTRR_DEFAULT:
        return mtrr_default_write(vcpu, value);
    case MSR_IS_TSC_DEADLINE:
        tsc_deadline_write(vcpu, value);
        return true;
    case MSR_IS_X2APIC:
        return x2apic_write(vcpu, msr, value);
    case MSR_IS_EFER:
        return efer_write(vcpu, value);
    case MSR_IS_KVM_WALL_CLOCK:
        paravirt_wall_clock_write(vcpu, value);
        return true;
    case MSR_IS_KVM_SYSTEM_TIME:
        paravirt_system_time_write(vcpu, value);
        return true;
    case MSR_IS_KVM_PV_EOI:
        return paravirt_eoi_write(vcpu, value);
    }
    return false;
}

/* The answer of an RDMSR. SDM 2B "RDMSR". */
static void give(struct vcpu *vcpu, uint64_t value)
{
    vcpu->gpr[GPR_RAX] = (uint32_t)value;
    vcpu->gpr[GPR_RDX] = value >> 32;
}

/* Out of line, so that it costs the local APIC's registers nothing. */
__attribute__((noinline)) static enum msr_outcome quick_table_read(struct vcpu *vcpu, uint32_t msr)
{
    const struct msr_row *row = row_find(vcpu, msr);
    uint64_t value;

    if (row == NULL) {
        return guest_count_unknown(vcpu->guest, UNKNOWN_MSR_READ, msr) ? MSR_REFUSED : MSR_LEFT;
    }
    if (!row_read(vcpu, row, msr, &value)) {
        return MSR_REFUSED;
    }
    give(vcpu, value);
    return MSR_DONE;
}

enum msr_outcome msr_quick_read(struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];
    uint64_t value;

    if (!msr_is_x2apic(msr)) {
        return quick_table_read(vcpu, msr);
    }
    if (!guest_apic_msr_read(vcpu, msr, &value)) {
        return MSR_REFUSED;
    }
    give(vcpu, value);
    return MSR_DONE;
}

void msr_read(struct vcpu *vcpu, uint8_t length)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];
    const struct msr_row *row = row_find(vcpu, msr);
    uint64_t value = 0;

    if (row == NULL) {
        guest_note_unknown(vcpu, UNKNOWN_MSR_READ, msr, 0);
    }
    if (row == NULL || !row_read(vcpu, row, msr, &value)) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    give(vcpu, value);
    vcpu_advance(vcpu, length);
}

static uint64_t written_value(const struct vcpu *vcpu)
{
    return (vcpu->gpr[GPR_RAX] & 0xffffffff) | (vcpu->gpr[GPR_RDX] << 32);
}

/* Out of line, so that each alone pays for the registers that it saves. */
__attribute__((noinline)) static bool quick_eoi(struct vcpu *vcpu)
{
    if (written_value(vcpu) != 0 || !lapic_x2apic(&vcpu->lapic)) {
        return false;
    }
    guest_apic_end_of_interrupt(vcpu);
    return true;
}

__attribute__((noinline)) static bool quick_deadline(struct vcpu *vcpu)
{
    tsc_deadline_write(vcpu, written_value(vcpu));
    return true;
}

/* IPIs by x2APIC's two registers: ICR, and SELF IPI, a kernel's work for after the interrupt that it is in. The caller
 * knows that it is one of their sixteen. */
#define IS_LIKE_ICR(msr) (((msr) | 0xfu) == MSR_X2APIC_SELF_IPI)
_Static_assert(IS_LIKE_ICR(MSR_X2APIC_ICR), "one compare for both");

__attribute__((noinline)) static bool quick_ipi(struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];

    return (msr == MSR_X2APIC_ICR || msr == MSR_X2APIC_SELF_IPI) &&
           guest_apic_msr_write(vcpu, msr, written_value(vcpu));
}

/* The same value again, which changes nothing. */
static inline bool quick_apic_base(const struct vcpu *vcpu)
{
    return written_value(vcpu) == vcpu->lapic.base_msr;
}

bool msr_quick_pat_write(struct vcpu *vcpu)
{
    uint64_t value = written_value(vcpu);
    bool legal = pat_legal(value);

    if (legal) {
        vcpu->msrs.pat = value;
    }
    return legal;
}

bool msr_quick_write(struct vcpu *vcpu)
{
    uint32_t msr = (uint32_t)vcpu->gpr[GPR_RCX];

    if (IS_LIKE_ICR(msr)) {
        return quick_ipi(vcpu);
    }
    switch (msr) {
    case MSR_APIC_BASE:
        return quick_apic_base(vcpu);
    case MSR_X2APIC_EOI:
        return quick_eoi(vcpu);
    case MSR_TSC_DEADLINE:
        __attribute__((musttail)) return quick_deadline(vcpu); /* else a known result costs a frame here */
    default:
        return false;
    }
}

/* Any other, by its row. False: #GP. */
static bool table_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
    const struct msr_row *row = row_find(vcpu, msr);

    if (row == NULL) {
        guest_note_unknown(vcpu, UNKNOWN_MSR_WRITE, msr, value);
        return false;
    }
    return row_write(vcpu, row, msr, value);
}

void msr_write(struct vcpu *vcpu, uint8_t length)
{
    if (msr_quick_write(vcpu) || table_write(vcpu, (uint32_t)vcpu->gpr[GPR_RCX], written_value(vcpu))) {
        vcpu_advance(vcpu, length);
    } else {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
    }
}
