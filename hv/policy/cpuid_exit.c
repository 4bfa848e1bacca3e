/* SPDX-License-Identifier: MIT */
#include "hv/policy/cpuid_exit.h"

#include "hv/x86/registers.h"

static inline void set_words(struct vcpu *vcpu, uint64_t *rax, const struct cpuid_words *words)
{
    *rax = words->eax;
    vcpu->gpr[GPR_RBX] = words->ebx;
    vcpu->gpr[GPR_RCX] = words->ecx;
    vcpu->gpr[GPR_RDX] = words->edx;
}

/* With what is the vCPU's; a stack frame is its own. */
__attribute__((noinline)) static bool answer_patched(struct vcpu *vcpu, uint64_t *rax)
{
    const struct cpuid_dynamic dynamic = {
        .apic_id = vcpu->lapic.id,
        .apic_enabled = lapic_enabled(&vcpu->lapic),
        .osxsave = (vcpu->system.cr4 & CR4_OSXSAVE) != 0,
        .xcr0 = vcpu->xcr0,
    };
    const struct cpuid_words words =
        cpuid_table_answer(&vcpu->guest->cpuid, (uint32_t)*rax, (uint32_t)vcpu->gpr[GPR_RCX], &dynamic);

    set_words(vcpu, rax, &words);
    return true;
}

bool cpuid_exit_answer(struct vcpu *vcpu, uint64_t *rax)
{
    const struct cpuid_entry *entry =
        cpuid_table_quick(&vcpu->guest->cpuid, (uint32_t)*rax, (uint32_t)vcpu->gpr[GPR_RCX]);

    if (entry == NULL || entry->form == CPUID_FEATURES) {
        return answer_patched(vcpu, rax);
    }
    set_words(vcpu, rax, &entry->words);
    return true;
}
