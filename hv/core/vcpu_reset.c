/* SPDX-License-Identifier: MIT */
#include "hv/core/vcpu_reset.h"

#include "hv/base/memory.h"
#include "hv/core/guest.h"
#include "hv/core/vm_exit.h"
#include "hv/x86/registers.h"

#define PAT_RESET 0x0007040600070406ULL /* SDM 3A 12.12.4 */
#define DR7_RESET 0x400u
#define RESET_CS 0xf000u
#define RESET_CS_BASE 0xffff0000u
#define RESET_RIP 0xfff0u
#define MTRR_DEFAULT_WRITE_BACK 0xc06u /* enabled, fixed enabled, type 6 */
_Static_assert(RESET_CS_BASE + RESET_RIP == 0xfffffff0u, "the first instruction after a reset. SDM 3A 10.1.1");
_Static_assert(EXIT_MSR_PAT == MSR_PAT && EXIT_MSR_EFER == MSR_EFER, "vm_exit.h names them without registers.h");

/* Access rights: present, accessed. Code is readable, data writable. */
#define ACCESS_REAL_CODE 0x009bu
#define ACCESS_REAL_DATA 0x0093u
#define ACCESS_FLAT_CODE32 0xc09bu
#define ACCESS_FLAT_CODE64 0xa09bu
#define ACCESS_FLAT_DATA 0xc093u
#define ACCESS_LDT 0x0082u
#define ACCESS_TSS_BUSY 0x008bu
#define LIMIT_REAL 0xffffu
#define LIMIT_FLAT 0xffffffffu
#define LIMIT_TSS 0x67u

static void set_data_segments(struct vcpu_system *system, uint16_t selector, uint64_t base, uint32_t limit,
                              uint32_t access)
{
    static const uint8_t data[] = {SEGMENT_ES, SEGMENT_SS, SEGMENT_DS, SEGMENT_FS, SEGMENT_GS};

    for (uint32_t i = 0; i < ARRAY_COUNT(data); i++) {
        system->segments[data[i]] = (struct segment){base, limit, access, selector};
    }
}

/* Both CR0.CD and CR0.NW keep their values over an INIT; at power-up they are set, and no firmware would leave them
 * so. */
static void reset_system(struct vcpu_system *system)
{
    memset(system, 0, sizeof(*system));
    system->segments[SEGMENT_CS] = (struct segment){RESET_CS_BASE, LIMIT_REAL, ACCESS_REAL_CODE, RESET_CS};
    set_data_segments(system, 0, 0, LIMIT_REAL, ACCESS_REAL_DATA);
    system->segments[SEGMENT_LDTR] = (struct segment){0, LIMIT_REAL, ACCESS_LDT, 0};
    system->segments[SEGMENT_TR] = (struct segment){0, LIMIT_REAL, ACCESS_TSS_BUSY, 0};
    system->gdtr.limit = LIMIT_REAL;
    system->idtr.limit = LIMIT_REAL;
    system->cr0 = CR0_ET;
    system->dr7 = DR7_RESET;
}

void vcpu_reset(struct vcpu *vcpu)
{
    const struct cpuid_dynamic dynamic = {.apic_enabled = true};

    memset(vcpu->gpr, 0, sizeof(vcpu->gpr));
    vcpu->gpr[GPR_RDX] = cpuid_table_answer(&vcpu->guest->cpuid, 1, 0, &dynamic).eax;
    vcpu->rip = RESET_RIP;
    vcpu->rflags = RFLAGS_FIXED;
    vcpu->pending.valid = false;
    vcpu->nmi_pending = 0;
    vcpu->extint_message = false;
    vcpu->msrs.pat = PAT_RESET;
    vcpu->msrs.mtrr_default = MTRR_DEFAULT_WRITE_BACK;
    vcpu->msrs.spec_ctrl = 0;
    vcpu->msrs.kvm_eoi = 0; /* lapic_reset() has let the word go */
    reset_system(&vcpu->system);
    vcpu->requests |= VCPU_SPEC_CTRL | VCPU_RESET | VCPU_SYSTEM_WRITE | VCPU_FLUSH | VCPU_TSC | VCPU_MSR_BITMAP;
}

void vcpu_start_at(struct vcpu *vcpu, uint8_t sipi_vector)
{
    struct segment *cs = &vcpu->system.segments[SEGMENT_CS];

    cs->selector = (uint16_t)(sipi_vector << 8);
    cs->base = (uint64_t)sipi_vector << 12;
    vcpu->rip = 0;
    vcpu->requests |= VCPU_SYSTEM_WRITE;
}

static void enter_real(struct vcpu_system *system, const struct entry_state *entry)
{
    system->segments[SEGMENT_CS] =
        (struct segment){(uint64_t)entry->cs_selector << 4, LIMIT_REAL, ACCESS_REAL_CODE, entry->cs_selector};
    set_data_segments(system, entry->data_selector, (uint64_t)entry->data_selector << 4, LIMIT_REAL, ACCESS_REAL_DATA);
    system->idtr = (struct table_register){0, 0x3ff};
}

static void enter_flat(struct vcpu_system *system, const struct entry_state *entry, uint32_t code_access)
{
    system->segments[SEGMENT_CS] = (struct segment){0, LIMIT_FLAT, code_access, entry->cs_selector};
    set_data_segments(system, entry->data_selector, 0, LIMIT_FLAT, ACCESS_FLAT_DATA);
    system->segments[SEGMENT_TR] = (struct segment){0, LIMIT_TSS, ACCESS_TSS_BUSY, 0}; /* as PVH promises it */
    system->cr0 = CR0_PE | CR0_ET;
    system->idtr = (struct table_register){0, 0};
    if (entry->gdt_bytes != 0) {
        system->gdtr = (struct table_register){entry->gdt.value, (uint16_t)(entry->gdt_bytes - 1)};
    }
}

void vcpu_set_entry(struct vcpu *vcpu, const struct entry_state *entry)
{
    struct vcpu_system *system = &vcpu->system;

    vcpu_reset(vcpu);
    switch (entry->mode) {
    case MODE_REAL16:
        enter_real(system, entry);
        break;
    case MODE_PROTECTED32:
        enter_flat(system, entry, ACCESS_FLAT_CODE32);
        break;
    case MODE_LONG64:
        enter_flat(system, entry, ACCESS_FLAT_CODE64);
        system->cr0 |= CR0_PG | CR0_NE | CR0_WP;
        system->cr3 = entry->cr3;
        system->cr4 = CR4_PAE;
        system->efer = EFER_LME | EFER_LMA;
        break;
    }
    memcpy(vcpu->gpr, entry->gpr, sizeof(vcpu->gpr));
    vcpu->rip = entry->rip;
    vcpu->rflags = entry->rflags | RFLAGS_FIXED;
}
