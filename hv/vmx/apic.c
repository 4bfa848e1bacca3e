/* SPDX-License-Identifier: MIT */
/*
 * The local APIC served by the CPU: in x2APIC mode the guest reads most registers, writes TPR, EOI and self-IPI, and
 * takes its interrupts without an exit. SDM 3C 30 "APIC Virtualization and Virtual Interrupts".
 *
 * The registers are the page of hv/dev/lapic.c, which thereby is the virtual-APIC page. The CPU moves a vector from IRR
 * to ISR and back out of it by itself; what it must be told are two numbers beside the page, in the "guest interrupt
 * status" (SDM 3C 25.4.2): RVI, the highest vector in IRR, whenever we have set one, and SVI, the highest one in ISR,
 * when it takes over. hv/core then injects no vectors of the local APIC (vcpu->cpu_delivers), only exceptions, NMIs and
 * what the 8259 has.
 *
 * An EOI exits only for a level-triggered vector, which the I/O APIC waits for: the EOI-exit bitmap is the TMR.
 *
 * In xAPIC mode the plain path stays. There the CPU wants an APIC-access page mapped in the guest's nested tree, which
 * is no memory of the guest's: an exception from the rule that the audit proves, for guests that old or that small.
 * Everything that runs on a hypervisor with KVM's signature goes to x2APIC mode by itself.
 */
#include "hv/vmx/vmx.h"

#include "hv/dev/lapic_registers.h"
#include "hv/x86/registers.h"

#define MSR_MAP_WRITES 2048u /* writes of low MSRs. SDM 3C 25.6.9 */
#define STATUS_SVI_SHIFT 8u
#define STATUS_RVI 0xffu
#define TMR_WORDS 8u

/*
 * x2APIC registers that read right from the page: ICR is in two places of it and the timer's count in none. The CPU
 * would answer reads of any number, so what does not exist stays closed.
 */
static const uint8_t readable[] = {
    0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16,
    0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23,
    0x24, 0x25, 0x26, 0x27, 0x28, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3e,
};
/* TPR, EOI, self-IPI. SDM 3C 30.5 "Virtualizing MSR-Based APIC Accesses". */
static const uint8_t writable[] = {0x08, 0x0b, 0x3f};

static void open_msr(uint8_t *part, uint32_t msr)
{
    part[msr / 8] = (uint8_t)(part[msr / 8] & ~(1u << (msr % 8)));
}

void vmx_apic_build_map(uint8_t map[4096])
{
    for (uint32_t i = 0; i < ARRAY_COUNT(readable); i++) {
        open_msr(map, MSR_X2APIC_FIRST + readable[i]);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(writable); i++) {
        open_msr(map + MSR_MAP_WRITES, MSR_X2APIC_FIRST + writable[i]);
    }
}

static uint32_t highest(const struct lapic *lapic, uint32_t base)
{
    for (uint32_t word = TMR_WORDS; word-- > 0;) {
        uint32_t bits = lapic_get(lapic, base + word * 16);

        if (bits != 0) {
            return word * 32 + 31 - (uint32_t)__builtin_clz(bits);
        }
    }
    return 0;
}

static void write_eoi_exits(struct vmx_vcpu *vmx, const struct lapic *lapic, bool always)
{
    for (uint32_t i = 0; i < VMX_EOI_EXIT_WORDS; i++) {
        uint64_t levels = lapic_get(lapic, LAPIC_TMR + i * 32) | (uint64_t)lapic_get(lapic, LAPIC_TMR + i * 32 + 16)
                                                                     << 32;

        if (always || levels != vmx->eoi_exits[i]) {
            vmx->eoi_exits[i] = levels;
            vmx_write((enum vmcs_field)(VMCS_EOI_EXIT_0 + i * 2), levels);
        }
    }
}

/*
 * After a reset or a change of the APIC's mode: which side serves the local APIC from now on. What the guest has ended
 * by its memory is ended before the CPU has the ISR; ends are no exits then, and none is offered there any more.
 */
void vmx_apic_set_mode(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct lapic *lapic = &vcpu->lapic;
    bool wanted = vcpu->guest->config->virtual_apic && !vcpu->guest->host->quirks.wrong_virtual_interrupts;
    bool virtual_apic = vmx_features.virtual_apic && wanted && lapic_x2apic(lapic) && vmx->shadow == NULL;
    uint32_t secondary = vmx->secondary_plain | (virtual_apic ? SECONDARY_VIRTUAL_APIC_ALL : 0);

    vcpu->cpu_delivers = virtual_apic;
    if (secondary != vmx->secondary) {
        vmx->secondary = secondary;
        vmx_write(VMCS_SECONDARY_CONTROLS, secondary);
        vmx_write(VMCS_MSR_BITMAP, vmx_msr_map(vmx, virtual_apic));
    }
    if (vmx_features.tpr_shadow) {
        vmx->tpr_threshold = 0;
        vmx_write(VMCS_TPR_THRESHOLD, 0);
    }
    if (virtual_apic) {
        lapic_set_end_word(lapic, NULL);
        vmx_write(VMCS_GUEST_INTERRUPT_STATUS,
                  highest(lapic, LAPIC_ISR) << STATUS_SVI_SHIFT | highest(lapic, LAPIC_IRR));
        write_eoi_exits(vmx, lapic, true);
    }
    vcpu->requests |= VCPU_EVENT;
}

/* Before an entry: what was posted or raised since the last one becomes visible to the CPU. */
void vmx_apic_publish(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    int requested = lapic_highest_requested(&vcpu->lapic);
    uint64_t status = vmx_read_inline(VMCS_GUEST_INTERRUPT_STATUS);
    uint64_t wanted = (status & ~(uint64_t)STATUS_RVI) | (requested > 0 ? (uint32_t)requested : 0);

    if (wanted != status) {
        vmx_write_inline(VMCS_GUEST_INTERRUPT_STATUS, wanted);
    }
    write_eoi_exits(vmx, &vcpu->lapic, false);
}
