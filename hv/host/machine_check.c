/* SPDX-License-Identifier: MIT */
#include "hv/host/machine_check.h"

#include "hv/base/format.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define HEADING_MAX 64u

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
