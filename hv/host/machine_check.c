/* SPDX-License-Identifier: MIT */
#include "hv/host/machine_check.h"

#include "hv/base/format.h"
#include "hv/host/host_cpu.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define HEADING_MAX 64u
#define BANKS_JUDGED_MAX 64u /* no CPU has as many; on one with more every machine check is fatal */

static bool has_banks(void)
{
    const uint32_t both = CPUID_1_EDX_MCE | CPUID_1_EDX_MCA;

    return (insn_cpuid(CPUID_FEATURES, 0).edx & both) == both;
}

static uint64_t read_or_zero(uint32_t msr)
{
    uint64_t value = 0;

    return insn_rdmsr_safe(msr, &value) ? value : 0;
}

static uint32_t bank_count(uint64_t capabilities)
{
    return (uint32_t)(capabilities & MCG_CAP_BANKS);
}

/* An address and a further word are there only where the status says so. SDM 3B 16.3.2.2 "IA32_MCi_STATUS MSRs"; APM 2
 * 9.3.2.2. */
void machine_check_report(enum log_level level, const char *heading)
{
    uint32_t banks = has_banks() ? bank_count(insn_rdmsr(MSR_MCG_CAP)) : 0;

    for (uint32_t i = 0; i < banks; i++) {
        uint64_t status = read_or_zero(MSR_MC_STATUS(i));
        uint64_t address = (status & MC_STATUS_ADDRV) != 0 ? read_or_zero(MSR_MC_ADDR(i)) : 0;
        uint64_t further = (status & MC_STATUS_MISCV) != 0 ? read_or_zero(MSR_MC_MISC(i)) : 0;

        if ((status & MC_STATUS_VALID) != 0) {
            log_line(level, "%sbank %u: %s error, status %016" PRIx64 "  address %016" PRIx64 "  misc %016" PRIx64,
                     heading, i, (status & MC_STATUS_UC) != 0 ? "uncorrected" : "corrected", status, address, further);
        }
    }
}

/* SDM 3B 16.8 "Machine-Check Initialization"; APM 2 9.4. */
void machine_check_start(uint32_t cpu)
{
    char heading[HEADING_MAX];
    uint64_t capabilities;

    if (!has_banks()) {
        return;
    }
    format_text(heading, sizeof(heading), "CPU %u, machine check from before this start, ", cpu);
    machine_check_report(LOG_WARNING, heading);
    capabilities = insn_rdmsr(MSR_MCG_CAP);
    if ((capabilities & MCG_CAP_CTL) != 0) {
        (void)insn_wrmsr_safe(MSR_MCG_CTL, UINT64_MAX);
    }
    for (uint32_t i = 0; i < bank_count(capabilities); i++) {
        (void)insn_wrmsr_safe(MSR_MC_CTL(i), UINT64_MAX);
        (void)insn_wrmsr_safe(MSR_MC_STATUS(i), 0);
    }
}

/* CPUID 8000_0007 EBX is AMD's alone. */
static uint32_t ras_features(void)
{
    bool amd = insn_cpuid(CPUID_VENDOR, 0).ebx != VENDOR_INTEL_EBX;

    return amd && insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax >= CPUID_POWER ? insn_cpuid(CPUID_POWER, 0).ebx : 0;
}

enum machine_check_verdict machine_check_judge_here(void)
{
    const struct cpu_identity identity = host_cpu_identity();
    struct machine_check_words words = {.ras_ebx = ras_features(), .multimatch = cpu_errata_tlb_multimatch(&identity)};
    uint64_t banks[BANKS_JUDGED_MAX];
    uint32_t count;

    if (!has_banks()) {
        return MACHINE_CHECK_FATAL;
    }
    words.capabilities = insn_rdmsr(MSR_MCG_CAP);
    words.status = read_or_zero(MSR_MCG_STATUS);
    count = bank_count(words.capabilities);
    for (uint32_t i = 0; i < count && i < BANKS_JUDGED_MAX; i++) {
        banks[i] = read_or_zero(MSR_MC_STATUS(i));
    }
    return count > BANKS_JUDGED_MAX ? MACHINE_CHECK_FATAL : machine_check_judge(&words, banks, count);
}

/* The banks first: while IA32_MCG_STATUS.MCIP is set, another machine check shuts the machine down. SDM 3B 16.10.4.1
 * "Machine-Check Exception Handler for Error Recovery". */
void machine_check_clear(void)
{
    uint32_t banks = bank_count(insn_rdmsr(MSR_MCG_CAP));

    for (uint32_t i = 0; i < banks; i++) {
        if ((read_or_zero(MSR_MC_STATUS(i)) & MC_STATUS_VALID) != 0) {
            (void)insn_wrmsr_safe(MSR_MC_STATUS(i), 0);
        }
    }
    (void)insn_wrmsr_safe(MSR_MCG_STATUS, 0);
}

bool machine_check_is_harmless(void)
{
    if (machine_check_judge_here() != MACHINE_CHECK_GOES_ON) {
        return false;
    }
    machine_check_clear();
    return true;
}
