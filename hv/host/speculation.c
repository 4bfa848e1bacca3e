/* SPDX-License-Identifier: MIT */
#include "hv/host/speculation.h"

#include "hv/base/log.h"
#include "hv/host/cpu.h"
#include "hv/host/cpu_speculation.h"
#include "hv/host/descriptors.h"
#include "hv/host/host_cpu.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define BETWEEN_GUESTS (1u << ANSWER_IBPB | 1u << ANSWER_VERW | 1u << ANSWER_L1D)

static const struct {
    enum answer answer;
    uint32_t guard;
} guards[] = {
    {ANSWER_EXIT_IBPB, GUARD_IBPB}, {ANSWER_EXIT_IBRS, GUARD_IBRS}, {ANSWER_EXIT_RSB, GUARD_RSB},
    {ANSWER_EXIT_BHB, GUARD_BHB},   {ANSWER_ENTRY_L1D, GUARD_L1D},  {ANSWER_ENTRY_VERW, GUARD_VERW},
};

/* A leaf that the CPU has, or zeroes. */
static struct cpuid_result leaf_of(uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_result none = {0, 0, 0, 0};

    return insn_cpuid(leaf & CPUID_HIGHEST_EXTENDED, 0).eax >= leaf ? insn_cpuid(leaf, subleaf) : none;
}

static struct cpu_speculation_facts look(bool threads)
{
    const struct cpuid_result leaf7 = leaf_of(CPUID_EXTENDED_FEATURES, 0);
    const struct cpuid_result extended21 = leaf_of(CPUID_EXTENDED_21, 0);

    return (struct cpu_speculation_facts){
        .identity = host_cpu_identity(),
        .leaf7_ebx = leaf7.ebx,
        .leaf7_edx = leaf7.edx,
        .leaf7_2_edx = leaf7.eax >= 2 ? leaf_of(CPUID_EXTENDED_FEATURES, 2).edx : 0,
        .extended8_ebx = leaf_of(CPUID_ADDRESS_SIZES, 0).ebx,
        .extended21_eax = extended21.eax,
        .extended21_ecx = extended21.ecx,
        .arch_capabilities = host_cpu_arch_capabilities(),
        .threads = threads,
    };
}

static struct cpu_speculation judge(bool threads, enum config_speculation wanted)
{
    const struct cpu_speculation_facts facts = look(threads);

    return cpu_speculation_of(&facts, wanted);
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

/* The firmware may have switched the microcode's answer off; locked, it stays as it is. */
static void guard_gathers(void)
{
    uint64_t value;

    if (insn_rdmsr_safe(MSR_MCU_OPT_CTRL, &value) && (value & MCU_OPT_CTRL_GDS_MITG_DIS) != 0 &&
        (value & MCU_OPT_CTRL_GDS_MITG_LOCK) == 0) {
        (void)insn_wrmsr_safe(MSR_MCU_OPT_CTRL, value & ~MCU_OPT_CTRL_GDS_MITG_DIS);
    }
}

void speculation_start(struct cpu *cpu, enum config_speculation wanted)
{
    uint32_t answers = judge(cpu->threads, wanted).answers;

    cpu->spec_ctrl = (uint32_t)((has(answers, ANSWER_IBRS) ? SPEC_CTRL_IBRS : 0) |
                                (has(answers, ANSWER_BHI_DIS) ? SPEC_CTRL_BHI_DIS_S : 0));
    set_bits(MSR_SPEC_CTRL, cpu->spec_ctrl);
    set_bits(MSR_EFER, has(answers, ANSWER_AUTO) ? EFER_AIBRSE : 0);
    set_bits(MSR_AMD_DE_CFG, has(answers, ANSWER_ZENBLEED) ? AMD_DE_CFG_ZENBLEED : 0);
    set_bits(MSR_AMD_BP_CFG, has(answers, ANSWER_REDUCE) ? AMD_BP_CFG_SPEC_REDUCE : 0);
    if (has(answers, ANSWER_GDS)) {
        guard_gathers();
    }
    host_cpu_serialize_lfence();
    cpu->between_guests = answers & BETWEEN_GUESTS;
    cpu->guard = (struct cpu_guard){.selector = HOST_SELECTOR_DATA, .entry = cpu->spec_ctrl};
    for (uint32_t i = 0; i < ARRAY_COUNT(guards); i++) {
        cpu->guard.answers |= has(answers, guards[i].answer) ? guards[i].guard : 0;
    }
    cpu->guard.exit = cpu->spec_ctrl | (has(answers, ANSWER_EXIT_IBRS) ? (uint32_t)SPEC_CTRL_IBRS : 0);
}

bool speculation_offers_control(void)
{
    const struct cpu_speculation_facts facts = look(false);

    return cpu_speculation_offers_control(&facts);
}

void speculation_report(const struct cpu *cpu, enum config_speculation wanted)
{
    const uint32_t at_exits =
        1u << ANSWER_EXIT_IBPB | 1u << ANSWER_EXIT_IBRS | 1u << ANSWER_EXIT_RSB | 1u << ANSWER_EXIT_BHB;
    const uint32_t at_entries = 1u << ANSWER_ENTRY_L1D | 1u << ANSWER_ENTRY_VERW;
    const uint32_t at_times = BETWEEN_GUESTS | at_exits | at_entries;
    struct cpu_speculation speculation = judge(cpu->threads, wanted);
    char texts[5][CPU_SPECULATION_TEXT_MAX];

    if (host_cpu_is_virtual() && wanted != SPECULATION_ALL) {
        log_info("speculation: the CPU says that it is virtual; what its host is open to is its host's matter");
        return;
    }
    log_info("speculation: open to %s; always: %s; between two guests: %s; at each exit: %s; at each entry: %s%s",
             cpu_speculation_attacks(speculation.attacks, texts[0]),
             cpu_speculation_answers(speculation.answers & ~at_times, texts[1]),
             cpu_speculation_answers(speculation.answers & BETWEEN_GUESTS, texts[2]),
             cpu_speculation_answers(speculation.answers & at_exits, texts[3]),
             cpu_speculation_answers(speculation.answers & at_entries, texts[4]),
             wanted == SPECULATION_ALL    ? " (`speculation = all`)"
             : wanted == SPECULATION_NONE ? " (`speculation = none`, or an emulator)"
                                          : "");
    if (speculation.open != 0 && wanted != SPECULATION_NONE) {
        log_info(
            "speculation: the CPU's microcode has no answer to %s: update the firmware, or give each guest that is "
            "not trusted a machine of its own",
            cpu_speculation_attacks(speculation.open, texts[0]));
    }
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

/* Where the exit writes the register, the entry does, too. */
void speculation_set_control(struct cpu *cpu, uint64_t guest_bits)
{
    uint32_t value = cpu->spec_ctrl | (uint32_t)guest_bits;

    if (value == cpu->guard.entry) {
        return;
    }
    cpu->guard.entry = value;
    cpu->guard.exit = value | ((cpu->guard.answers & GUARD_IBRS) != 0 ? (uint32_t)SPEC_CTRL_IBRS : 0);
    (void)insn_wrmsr_safe(MSR_SPEC_CTRL, cpu->guard.exit);
}

void speculation_barrier(void)
{
    (void)insn_wrmsr_safe(MSR_PRED_CMD, PRED_CMD_IBPB);
}
