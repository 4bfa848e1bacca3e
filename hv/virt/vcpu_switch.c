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

/* Of the CPU, the same on all of the machine: read once. A CPUID is a hundred cycles and more, and an exit where the
 * hypervisor is itself a guest, so a switch makes none. */
static struct {
    uint64_t bytes;
    uint64_t components; /* what is saved: all that guests may switch on and the CPU has. 0: it has no XSAVE */
    bool x87_pointers_stay;
} known;

static bool x87_pointers_stay(void)
{
    const struct cpu_identity identity = {.is_intel = insn_cpuid(CPUID_VENDOR, 0).ebx == VENDOR_INTEL_EBX};
    bool has_sizes = insn_cpuid(CPUID_HIGHEST_EXTENDED, 0).eax >= CPUID_ADDRESS_SIZES;

    return cpu_errata_x87_pointers(&identity, has_sizes ? insn_cpuid(CPUID_ADDRESS_SIZES, 0).ebx : 0);
}

uint64_t vcpu_switch_bytes(void)
{
    uint64_t area = LEGACY_BYTES;

    if (known.bytes != 0) {
        return known.bytes;
    }
    if ((insn_cpuid(CPUID_FEATURES, 0).ecx & CPUID_1_ECX_XSAVE) != 0) {
        area = insn_cpuid(CPUID_XSAVE, 0).ecx;
        known.components = insn_cpuid(CPUID_XSAVE, 0).eax & CPUID_XCR0_ALLOWED;
    }
    known.x87_pointers_stay = x87_pointers_stay();
    known.bytes = align_up(sizeof(struct live_state) + area, PAGE_BYTES);
    return known.bytes;
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

static void read_breakpoints(uint64_t dr[4])
{
    dr[0] = insn_read_dr0();
    dr[1] = insn_read_dr1();
    dr[2] = insn_read_dr2();
    dr[3] = insn_read_dr3();
}

/* XCR0 then has all components. */
static void save(struct live_state *live)
{
    if (known.components == 0) {
        insn_fxsave(live->area);
        return;
    }
    live->xcr0 = insn_xgetbv(0);
    if (live->xcr0 != known.components) {
        insn_xsetbv(0, known.components);
    }
    insn_xsave(live->area, known.components);
}

/* Few guests have breakpoints, and a write waits for all instructions before it. `is`: what the CPU has. */
static void restore_breakpoints(const uint64_t dr[4], const uint64_t is[4])
{
    if (dr[0] != is[0]) {
        insn_write_dr0(dr[0]);
    }
    if (dr[1] != is[1]) {
        insn_write_dr1(dr[1]);
    }
    if (dr[2] != is[2]) {
        insn_write_dr2(dr[2]);
    }
    if (dr[3] != is[3]) {
        insn_write_dr3(dr[3]);
    }
}

/* XCR0 has all components. */
static void restore(const struct live_state *live)
{
    if (known.x87_pointers_stay) {
        insn_x87_forget();
    }
    if (known.components == 0) {
        insn_fxrstor(live->area);
        return;
    }
    insn_xrstor(live->area, known.components);
    if (live->xcr0 != known.components) {
        insn_xsetbv(0, live->xcr0);
    }
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
    const struct live_state *live = vcpu->live;
    uint64_t breakpoints[4];

    read_breakpoints(breakpoints);
    if (cpu->current != NULL) {
        struct live_state *before = cpu->current->live;

        virt_vcpu_put(cpu, cpu->current);
        memcpy(before->dr, breakpoints, sizeof(breakpoints));
        save(before);
    } else if (known.components != 0) {
        insn_xsetbv(0, known.components);
    }
    change_guest(cpu, vcpu);
    speculation_set_control(cpu, vcpu->msrs.spec_ctrl);
    restore_breakpoints(live->dr, breakpoints);
    restore(live);
    virt_vcpu_load(cpu, vcpu);
    cpu->current = vcpu;
}
