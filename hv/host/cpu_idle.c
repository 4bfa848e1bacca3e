/* SPDX-License-Identifier: MIT */
#include "hv/host/cpu_idle.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/host/cpu_power.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define LEAF_MWAIT 0x5u
#define LEAF_POWER 0x6u

/* SDM 3B 15.4.2 "Enabling HWP". */
#define MSR_PM_ENABLE 0x770u
#define MSR_HWP_CAPABILITIES 0x771u
#define MSR_HWP_REQUEST 0x774u

/* APM 2 17.6 "Collaborative Processor Performance Control". */
#define MSR_CPPC_CAPABILITY_1 0xc00102b0u
#define MSR_CPPC_ENABLE 0xc00102b1u
#define MSR_CPPC_REQUEST 0xc00102b3u

static struct cpu_power_facts read_facts(void)
{
    uint32_t basic = insn_cpuid(CPUID_VENDOR, 0).eax;
    uint32_t extended = insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax;
    struct cpu_power_facts facts = {
        .is_intel = insn_cpuid(CPUID_VENDOR, 0).ebx == VENDOR_INTEL_EBX,
        .features_ecx = insn_cpuid(CPUID_FEATURES, 0).ecx,
    };

    if (basic >= LEAF_MWAIT) {
        facts.mwait_ecx = insn_cpuid(LEAF_MWAIT, 0).ecx;
        facts.mwait_edx = insn_cpuid(LEAF_MWAIT, 0).edx;
    }
    if (basic >= LEAF_POWER) {
        facts.power_eax = insn_cpuid(LEAF_POWER, 0).eax;
    }
    if (extended >= CPUID_POWER) {
        facts.invariant_edx = insn_cpuid(CPUID_POWER, 0).edx;
    }
    if (extended >= CPUID_ADDRESS_SIZES) {
        facts.sizes_ebx = insn_cpuid(CPUID_ADDRESS_SIZES, 0).ebx;
    }
    return facts;
}

/* HWP stays on until a reset; with the whole range asked for, that costs nothing. */
static void ask_for_range(struct cpu *cpu, const struct cpu_power_facts *facts)
{
    enum cpu_frequency how = cpu_power_frequency(facts);
    bool hwp = how == CPU_FREQUENCY_HWP;
    struct cpu_range range;
    uint64_t capabilities = 0;

    if (how == CPU_FREQUENCY_AS_IT_IS || !insn_wrmsr_safe(hwp ? MSR_PM_ENABLE : MSR_CPPC_ENABLE, 1) ||
        !insn_rdmsr_safe(hwp ? MSR_HWP_CAPABILITIES : MSR_CPPC_CAPABILITY_1, &capabilities) ||
        !cpu_power_range(how, capabilities, &range)) {
        return;
    }
    if (insn_wrmsr_safe(hwp ? MSR_HWP_REQUEST : MSR_CPPC_REQUEST, cpu_power_request(how, facts, &range))) {
        cpu->sleep.frequency = hwp ? "HWP" : "CPPC";
        cpu->sleep.lowest = range.lowest;
        cpu->sleep.highest = range.highest;
    }
}

void cpu_idle_start(struct cpu *cpu)
{
    const struct cpu_power_facts facts = read_facts();
    const struct cpu_idle idle = cpu_power_idle(&facts);

    cpu->sleep.mwait = idle.mwait;
    cpu->sleep.hint = idle.hint;
    cpu->sleep.state = idle.state;
    ask_for_range(cpu, &facts);
}

void cpu_idle_report(const struct cpu *cpu)
{
    char sleep[32] = "HLT";
    char frequency[48] = "as the firmware left it";

    if (cpu->sleep.mwait) {
        format_text(sleep, sizeof(sleep), "MWAIT to C%u (hint 0x%x)", cpu->sleep.state, cpu->sleep.hint);
    }
    if (cpu->sleep.frequency != NULL) {
        format_text(frequency, sizeof(frequency), "the CPU's choice (%s, %u to %u)", cpu->sleep.frequency,
                    cpu->sleep.lowest, cpu->sleep.highest);
    }
    log_info("idle CPUs: %s; frequency: %s", sleep, frequency);
}

/* The line of the flags is watched from before the last look: an NMI that sets one there ends the sleep, too. An
 * interrupt ends MWAIT although interrupts are off, and stays for the caller's window. */
void cpu_idle_sleep(struct cpu *cpu)
{
    if (!cpu->sleep.mwait) {
        if (cpu_flags(cpu) == 0) {
            insn_sti_hlt_cli();
        }
        return;
    }
    insn_monitor(&cpu->interrupt_flags);
    if (cpu_flags(cpu) == 0) {
        insn_mwait_interruptible(cpu->sleep.hint);
    }
}
