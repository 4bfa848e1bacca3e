/* SPDX-License-Identifier: MIT */
#include "hv/virt/vcpu_switch.h"

#include "hv/base/memory.h"
#include "hv/core/cpuid_table.h"
#include "hv/host/cpu_errata.h"
#include "hv/host/speculation.h"
#include "hv/virt/virt.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

/* The legacy area: FCW at 0, MXCSR at 24. SDM 1 10.5.1, 13.4.1. Values of power-up: SDM 3A 10.1.1, table 10-1. */
#define LEGACY_BYTES 512u
#define FCW_OFFSET 0u
#define MXCSR_OFFSET 24u
#define FCW_INIT 0x037fu
#define MXCSR_INIT 0x1f80u

#define VENDOR_INTEL_EBX 0x756e6547u /* "Genu" */

/* What lies before the extended area: the registers that have a fixed place. */
struct live_state {
    uint64_t xcr0;
    uint64_t dr[4];
    uint8_t pad[64 - 40];
    uint8_t area[];
};
_Static_assert(offsetof(struct live_state, area) == 64, "XSAVE wants 64-byte alignment");

static bool has_xsave(void)
{
    return (insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_XSAVE) != 0;
}

/* The components that are saved: all that guests may switch on and the CPU has. */
static uint64_t switched_components(void)
{
    return insn_cpuid(CPUID_XSAVE, 0).eax & CPUID_XCR0_ALLOWED;
}

uint64_t vcpu_switch_bytes(void)
{
    uint64_t area = has_xsave() ? insn_cpuid(CPUID_XSAVE, 0).ecx : LEGACY_BYTES;

    return align_up(sizeof(struct live_state) + area, PAGE_BYTES);
}

static void *area_field(struct live_state *live, uint32_t offset)
{
    return live->area + offset;
}

void vcpu_switch_init(struct vcpu *vcpu, void *memory)
{
    struct live_state *live = memory;
    uint16_t fcw = FCW_INIT;
    uint32_t mxcsr = MXCSR_INIT;

    memset(live, 0, vcpu_switch_bytes());
    live->xcr0 = XCR0_X87;
    vcpu->xcr0 = XCR0_X87;
    memcpy(area_field(live, FCW_OFFSET), &fcw, sizeof(fcw));
    memcpy(area_field(live, MXCSR_OFFSET), &mxcsr, sizeof(mxcsr));
    vcpu->live = live;
}

static void save(struct live_state *live)
{
    live->dr[0] = insn_read_dr0();
    live->dr[1] = insn_read_dr1();
    live->dr[2] = insn_read_dr2();
    live->dr[3] = insn_read_dr3();
    if (!has_xsave()) {
        insn_fxsave(live->area);
        return;
    }
    live->xcr0 = insn_xgetbv(0);
    insn_xsetbv(0, switched_components());
    insn_xsave(live->area, switched_components());
}

static bool x87_pointers_stay(void)
{
    const struct cpu_identity identity = {.is_intel = insn_cpuid(CPUID_VENDOR, 0).ebx == VENDOR_INTEL_EBX};
    bool has_sizes = insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax >= CPUID_ADDRESS_SIZES;

    return cpu_errata_x87_pointers(&identity, has_sizes ? insn_cpuid(CPUID_ADDRESS_SIZES, 0).ebx : 0);
}

static void restore(const struct live_state *live)
{
    if (x87_pointers_stay()) {
        insn_x87_forget();
    }
    insn_write_dr0(live->dr[0]);
    insn_write_dr1(live->dr[1]);
    insn_write_dr2(live->dr[2]);
    insn_write_dr3(live->dr[3]);
    if (!has_xsave()) {
        insn_fxrstor(live->area);
        return;
    }
    insn_xsetbv(0, switched_components());
    insn_xrstor(live->area, switched_components());
    insn_xsetbv(0, live->xcr0);
}

/* What the guest before has left in the CPU is no other guest's. */
static void change_guest(struct cpu *cpu, const struct vcpu *vcpu)
{
    if (cpu->last_guest != NULL && cpu->last_guest != vcpu->guest) {
        speculation_between_guests(cpu->between_guests);
    }
    cpu->last_guest = vcpu->guest;
}

void vcpu_switch_to_other(struct cpu *cpu, struct vcpu *vcpu)
{
    if (cpu->current != NULL) {
        virt_vcpu_put(cpu, cpu->current);
        save(cpu->current->live);
    }
    change_guest(cpu, vcpu);
    speculation_set_control(cpu, vcpu->msrs.spec_ctrl);
    restore(vcpu->live);
    virt_vcpu_load(cpu, vcpu);
    cpu->current = vcpu;
}
