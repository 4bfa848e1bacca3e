/* SPDX-License-Identifier: MIT */
#include "hv/emulate/cr_access.h"

#include "hv/core/guest_io.h"
#include "hv/emulate/emulate_registers.h"
#include "hv/mm/guest_memory.h"
#include "hv/x86/registers.h"

#define CR0_DEFINED (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR8_MAX 15u
#define CR3_KEEPS_TRANSLATIONS (1ULL << 63) /* with CR4.PCIDE. SDM 3A 2.5 */

/* A present one has bits 2:1, 8:5 and those above the physical addresses reserved. SDM 3A 4.4.1, table 4-8; APM
 * 2 5.2.3. */
#define PAE_POINTER_PRESENT 1ULL
#define PAE_POINTER_RESERVED 0x1e6ULL
#define PAE_POINTER_BIT5 0x20ULL /* quirks.pae_pointer_accessed */
#define PAE_TABLE_ALIGNMENT 32u

/* Which changes make the CPU load them: SDM 3A 4.4.1 "PDPTE Registers". */
#define CR0_LOADS_POINTERS (CR0_CD | CR0_NW | CR0_PG)
#define CR4_LOADS_POINTERS (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

bool pae_pointers_load(struct vcpu *vcpu, uint64_t cr3)
{
    const struct host_facts *host = vcpu->guest->host;
    uint64_t defined = host->quirks.pae_pointer_accessed ? PAE_POINTER_BIT5 : 0;
    uint64_t reserved = (PAE_POINTER_RESERVED | ~((1ULL << host->physical_bits) - 1)) & ~defined;
    uint64_t pointers[PAE_POINTERS];
    gpa_t table = gpa(align_down((uint32_t)cr3, PAE_TABLE_ALIGNMENT));

    /* Where there is no RAM the bus reads as all ones. */
    if (!guest_memory_read(&vcpu->guest->memory, table, pointers, sizeof(pointers))) {
        return false;
    }
    for (uint32_t i = 0; i < PAE_POINTERS; i++) {
        if ((pointers[i] & PAE_POINTER_PRESENT) != 0 && (pointers[i] & reserved) != 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < PAE_POINTERS; i++) {
        vcpu->system.pae_pointers[i] = pointers[i];
    }
    return true;
}

static bool in_64bit_code(const struct vcpu_system *system)
{
    return (system->efer & EFER_LMA) != 0 && (system->segments[SEGMENT_CS].access & SEGMENT_L) != 0;
}

/* SDM 2B "MOV-Move to/from Control Registers", and 3A 10.8.5 "Initializing IA-32e Mode". */
static bool cr0_write(struct vcpu *vcpu, uint64_t value)
{
    struct vcpu_system *system = &vcpu->system;
    bool was_paging = (system->cr0 & CR0_PG) != 0;
    bool paging = (value & CR0_PG) != 0;
    uint64_t efer = system->efer;

    if ((value >> 32) != 0 || ((value & CR0_PG) != 0 && (value & CR0_PE) == 0) ||
        ((value & CR0_NW) != 0 && (value & CR0_CD) == 0)) {
        return false;
    }
    if (paging && !was_paging && (efer & EFER_LME) != 0) {
        if ((system->cr4 & CR4_PAE) == 0 || (system->segments[SEGMENT_CS].access & SEGMENT_L) != 0) {
            return false;
        }
        efer |= EFER_LMA;
    }
    if (!paging && was_paging) {
        if (in_64bit_code(system) || (system->cr4 & CR4_PCIDE) != 0) {
            return false;
        }
        efer &= ~EFER_LMA;
    }
    if (((value ^ system->cr0) & CR0_LOADS_POINTERS) != 0 && pae_is_on(value, system->cr4, efer) &&
        !pae_pointers_load(vcpu, system->cr3)) {
        return false;
    }
    system->efer = efer;
    system->cr0 = (value & CR0_DEFINED) | CR0_ET;
    vcpu->requests |= VCPU_SYSTEM_WRITE | VCPU_FLUSH;
    return true;
}

static bool cr3_write(struct vcpu *vcpu, uint64_t value)
{
    struct vcpu_system *system = &vcpu->system;
    uint64_t keeps = (system->cr4 & CR4_PCIDE) != 0 ? CR3_KEEPS_TRANSLATIONS : 0;
    uint64_t reserved = ~((1ULL << vcpu->guest->host->physical_bits) - 1) & ~keeps;

    if (((system->efer & EFER_LMA) != 0 && (value & reserved) != 0) ||
        (pae_is_on(system->cr0, system->cr4, system->efer) && !pae_pointers_load(vcpu, value))) {
        return false;
    }
    system->cr3 = value & ~CR3_KEEPS_TRANSLATIONS;
    vcpu->requests |= VCPU_SYSTEM_WRITE | VCPU_FLUSH;
    return true;
}

static bool cr4_write(struct vcpu *vcpu, uint64_t value)
{
    struct vcpu_system *system = &vcpu->system;
    bool long_mode = (system->efer & EFER_LMA) != 0;
    bool pcide_set = (value & ~system->cr4 & CR4_PCIDE) != 0;

    if ((value & ~vcpu->guest->cr4_allowed) != 0 || (long_mode && (value & CR4_PAE) == 0) ||
        (long_mode && ((value ^ system->cr4) & CR4_LA57) != 0) ||
        (pcide_set && (!long_mode || (system->cr3 & 0xfff) != 0))) {
        return false;
    }
    if (((value ^ system->cr4) & CR4_LOADS_POINTERS) != 0 && pae_is_on(system->cr0, value, system->efer) &&
        !pae_pointers_load(vcpu, system->cr3)) {
        return false;
    }
    system->cr4 = value;
    vcpu->requests |= VCPU_SYSTEM_WRITE | VCPU_FLUSH;
    return true;
}

static bool cr_write(struct vcpu *vcpu, const struct exit_cr_access *access, uint64_t value)
{
    switch (access->number) {
    case 0:
        return cr0_write(vcpu, value);
    case 3:
        return cr3_write(vcpu, value);
    case 4:
        return cr4_write(vcpu, value);
    case 8:
        if (value > CR8_MAX) {
            return false;
        }
        lapic_cr8_write(&vcpu->lapic, value);
        vcpu->requests |= VCPU_EVENT;
        return true;
    default:
        return false;
    }
}

static uint64_t cr_read(const struct vcpu *vcpu, uint8_t number)
{
    switch (number) {
    case 0:
        return vcpu->system.cr0;
    case 3:
        return vcpu->system.cr3;
    case 4:
        return vcpu->system.cr4;
    case 8:
        return lapic_cr8(&vcpu->lapic);
    default:
        return 0;
    }
}

/* SMSW works everywhere, unless UMIP keeps it from user code. SDM 2B "SMSW". */
static bool may_access(const struct vcpu_system *system, const struct exit_cr_access *access)
{
    return system->cpl == 0 || (system->cr0 & CR0_PE) == 0 || (access->smsw && (system->cr4 & CR4_UMIP) == 0);
}

static void cr_give(struct vcpu *vcpu, const struct exit_cr_access *access)
{
    uint64_t value = cr_read(vcpu, access->number);

    if (!access->smsw) {
        vcpu->gpr[access->gpr] = in_64bit_code(&vcpu->system) ? value : (uint32_t)value;
    } else if (access->smsw_bytes != 0) {
        register_write(vcpu, access->gpr, access->smsw_bytes, value);
    }
}

void cr_access(struct vcpu *vcpu, const struct exit_cr_access *access, uint8_t length)
{
    uint64_t value = vcpu->gpr[access->gpr];

    if (!may_access(&vcpu->system, access)) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    if (!access->write) {
        cr_give(vcpu, access);
        vcpu_advance(vcpu, length);
        return;
    }
    if (access->clts) {
        value = vcpu->system.cr0 & ~CR0_TS;
    } else if (access->lmsw) {
        /* LMSW sets PE, MP, EM, TS and cannot clear PE. SDM 2A "LMSW". */
        value = (vcpu->system.cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (access->lmsw_source & 0xf);
    } else if (!in_64bit_code(&vcpu->system)) {
        value = (uint32_t)value;
    }
    if (!cr_write(vcpu, access, value)) {
        vcpu_raise_error(vcpu, EXCEPTION_GP, 0);
        return;
    }
    vcpu_advance(vcpu, length);
}
