/* SPDX-License-Identifier: MIT */
#include "hv/host/speculation.h"

#include "hv/base/log.h"
#include "hv/host/cpu_speculation.h"
#include "hv/host/descriptors.h"
#include "hv/host/host_cpu.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define BETWEEN_GUESTS (1u << ANSWER_IBPB | 1u << ANSWER_VERW | 1u << ANSWER_L1D)

/* A leaf that the CPU has, or zeroes. */
static struct cpuid_result leaf_of(uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_result none = {0, 0, 0, 0};

    return insn_cpuid(leaf & CPUID_HIGHEST_EXTENDED, 0).eax >= leaf ? insn_cpuid(leaf, subleaf) : none;
}

static struct cpu_speculation look(bool threads)
{
    const struct cpuid_result leaf7 = leaf_of(CPUID_EXTENDED_FEATURES, 0);
    const struct cpu_speculation_facts facts = {
        .identity = host_cpu_identity(),
        .leaf7_ebx = leaf7.ebx,
        .leaf7_edx = leaf7.edx,
        .leaf7_2_edx = leaf7.eax >= 2 ? leaf_of(CPUID_EXTENDED_FEATURES, 2).edx : 0,
        .extended8_ebx = leaf_of(CPUID_ADDRESS_SIZES, 0).ebx,
        .extended21_eax = leaf_of(CPUID_EXTENDED_21, 0).eax,
        .arch_capabilities = host_cpu_arch_capabilities(),
        .threads = threads,
    };

    return cpu_speculation_of(&facts);
}

static bool has(uint32_t answers, enum answer answer)
{
    return (answers >> answer & 1) != 0;
}

/* Sets bits of a register that some CPUs lack. */
static void set_bits(uint32_t msr, uint64_t bits)
{
    uint64_t value;

    if (bits != 0 && insn_rdmsr_safe(msr, &value) && (value & bits) != bits) {
        (void)insn_wrmsr_safe(msr, value | bits);
    }
}

uint32_t speculation_start(bool threads)
{
    uint32_t answers = look(threads).answers;

    set_bits(MSR_SPEC_CTRL, (has(answers, ANSWER_IBRS) ? SPEC_CTRL_IBRS : 0) |
                                (has(answers, ANSWER_BHI_DIS) ? SPEC_CTRL_BHI_DIS_S : 0));
    set_bits(MSR_EFER, has(answers, ANSWER_AUTO) ? EFER_AIBRSE : 0);
    set_bits(MSR_AMD_DE_CFG, has(answers, ANSWER_ZENBLEED) ? AMD_DE_CFG_ZENBLEED : 0);
    host_cpu_serialize_lfence();
    return answers & BETWEEN_GUESTS;
}

bool speculation_report(bool threads)
{
    struct cpu_speculation speculation = look(threads);
    char attacks[CPU_SPECULATION_TEXT_MAX];
    char good[CPU_SPECULATION_TEXT_MAX];
    char between[CPU_SPECULATION_TEXT_MAX];

    if (host_cpu_is_virtual()) {
        log_info("speculation: the CPU says that it is virtual; what its host is open to is its host's matter");
        return false;
    }
    log_info("speculation: open to %s; always: %s; between two guests: %s",
             cpu_speculation_attacks(speculation.attacks, attacks),
             cpu_speculation_answers(speculation.answers & ~BETWEEN_GUESTS, good),
             cpu_speculation_answers(speculation.answers & BETWEEN_GUESTS, between));
    if (speculation.open != 0) {
        log_info(
            "speculation: the CPU's microcode has no answer to %s: update the firmware, or give each guest that is "
            "not trusted a core of its own",
            cpu_speculation_attacks(speculation.open, attacks));
    }
    return (speculation.attacks >> ATTACK_THREADS & 1) != 0;
}

void speculation_between_guests(uint32_t answers)
{
    if (has(answers, ANSWER_IBPB)) {
        insn_wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    }
    if (has(answers, ANSWER_L1D)) {
        insn_wrmsr(MSR_FLUSH_CMD, FLUSH_CMD_L1D);
    }
    if (has(answers, ANSWER_VERW)) {
        insn_verw(HOST_SELECTOR_DATA);
    }
}
