/* SPDX-License-Identifier: MIT */
/*
 * The local APIC served by the CPU: the guest reads most registers, writes TPR, EOI and IPIs to itself, and takes its
 * interrupts without an exit, in x2APIC mode by MSRs and in xAPIC mode by the page in memory. SDM 3C 30 "APIC
 * Virtualization and Virtual Interrupts".
 *
 * The registers are the page of hv/dev/lapic.c, which thereby is the virtual-APIC page. The CPU moves a vector from IRR
 * to ISR and back out of it by itself; what it must be told are two numbers beside the page, in the "guest interrupt
 * status" (SDM 3C 25.4.2): RVI, the highest vector in IRR, whenever we have set one, and SVI, the highest one in ISR,
 * when it takes over and when an end of interrupt was emulated. hv/core then injects no vectors of the local APIC
 * (vcpu->cpu_delivers), only exceptions, NMIs and what the 8259 has.
 *
 * An EOI exits only for a level-triggered vector, which the I/O APIC waits for: the EOI-exit bitmap is the TMR.
 *
 * In xAPIC mode the CPU wants an APIC-access page mapped in the guest's nested tree: hv/core/guest_apic_page.h. It is
 * for vCPUs whose local APIC is where it is after a reset; once one of the guest's wants another place or mode the page
 * is gone for all, and each plain from its next access on. In between, and on other CPUs that still know the leaf, what
 * the CPU does is right as well: the registers are the vCPU's own either way. Most writes exit behind the instruction,
 * with the page written (EXIT_APIC_WRITE); what the CPU does not serve exits before it (EXIT_NESTED_FAULT).
 *
 * A local APIC that software has switched off takes no interrupts, also none of its own, which the CPU would not look
 * at: until it is on everything exits, to the plain path.
 */
#include "hv/vmx/vmx.h"

#include "hv/core/guest_apic_page.h"
#include "hv/dev/lapic_registers.h"
#include "hv/exit/dispatch.h"
#include "hv/x86/registers.h"

#define MSR_MAP_WRITES 2048u /* writes of low MSRs. SDM 3C 25.6.9 */
#define STATUS_SVI_SHIFT 8u
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

static void write_eoi_exits(struct vmx_vcpu *vmx, const struct lapic *lapic)
{
    for (uint32_t i = 0; i < VMX_EOI_EXIT_WORDS; i++) {
        uint64_t levels = lapic_get(lapic, LAPIC_TMR + i * 32) | (uint64_t)lapic_get(lapic, LAPIC_TMR + i * 32 + 16)
                                                                     << 32;

        if (levels != vmx->eoi_exits[i]) {
            vmx->eoi_exits[i] = levels;
            vmx_write((enum vmcs_field)(VMCS_EOI_EXIT_0 + i * 2), levels);
        }
    }
}

static bool is_at_usual_place(const struct lapic *lapic)
{
    return lapic_enabled(lapic) && !lapic_x2apic(lapic) &&
           (lapic->base_msr & ~(uint64_t)(PAGE_BYTES - 1)) == GUEST_LAPIC_BASE;
}

/* The controls by which the CPU serves it. */
static uint32_t controls_for(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    const struct guest *guest = vcpu->guest;
    bool on = lapic_software_enabled(&vcpu->lapic);

    if (is_at_usual_place(&vcpu->lapic)) {
        return !guest_apic_page_is_mapped(guest) ? 0 : on ? SECONDARY_VIRTUAL_XAPIC : SECONDARY_APIC_ACCESSES;
    }
    return on && lapic_x2apic(&vcpu->lapic) && vmx_features.virtual_apic && guest->config->virtual_apic &&
                   !guest->host->quirks.wrong_virtual_interrupts && vmx->shadow == NULL
               ? SECONDARY_VIRTUAL_X2APIC
               : 0;
}

static void write_status(struct lapic *lapic)
{
    vmx_write(VMCS_GUEST_INTERRUPT_STATUS, highest(lapic, LAPIC_ISR) << STATUS_SVI_SHIFT | highest(lapic, LAPIC_IRR));
}

static void write_controls(struct vmx_vcpu *vmx, uint32_t secondary)
{
    const struct vmx_insn_descriptor none = {0, 0};
    bool flush = (vmx->secondary & ~secondary & SECONDARY_APIC_ACCESSES) != 0;

    vmx->secondary = secondary;
    vmx_write(VMCS_SECONDARY_CONTROLS, secondary);
    vmx_write(VMCS_MSR_BITMAP, vmx_msr_map(vmx));
    if (flush) {
        (void)vmx_insn_invept(INVEPT_ALL, &none); /* the leaf is gone: nothing may lead to the page any more */
    }
}

/*
 * After a reset, a change of the APIC's mode or place or of its software enable: which side serves the local APIC from
 * now on. What the guest has ended by its memory is ended before the CPU has the ISR; ends are no exits then, and none
 * is offered there any more.
 */
void vmx_apic_set_mode(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    struct lapic *lapic = &vcpu->lapic;
    uint32_t secondary;

    if (vcpu->guest->apic_page.tree != NULL && !is_at_usual_place(lapic)) {
        guest_apic_page_unmap(vcpu->guest);
    }
    secondary = vmx->secondary_plain | controls_for(vmx, vcpu);
    vcpu->cpu_delivers = (secondary & SECONDARY_INTERRUPT_DELIVERY) != 0;
    if (secondary != vmx->secondary) {
        write_controls(vmx, secondary);
    }
    if (vmx_features.tpr_shadow) {
        vmx->tpr_threshold = 0;
        vmx_write(VMCS_TPR_THRESHOLD, 0);
    }
    if (vcpu->cpu_delivers) {
        vmx->tpr_threshold = (secondary & SECONDARY_APIC_ACCESSES) != 0 ? VMX_THRESHOLD_UNUSED : 0;
        lapic_set_end_word(lapic, NULL);
        write_status(lapic);
        write_eoi_exits(vmx, lapic);
    }
    lapic_tpr_write(lapic, lapic_get(lapic, LAPIC_TPR)); /* and PPR, whatever the CPU had for SVI */
    vcpu->requests |= VCPU_EVENT;
}

/* The CPU may have left bytes in TPR that are none of it, where an instruction has exited behind its write. */
void vmx_apic_accessed(struct vcpu *vcpu)
{
    *lapic_register(&vcpu->lapic, LAPIC_TPR) &= 0xffu;
    if (vcpu->cpu_delivers) {
        write_status(&vcpu->lapic);
    }
}

void vmx_apic_handle(struct vcpu *vcpu, const struct vm_exit *exit, const struct vmx_exit_words *words)
{
    struct vm_exit neutral = *exit;

    if (exit->kind == EXIT_EOI) {
        lapic_note_eoi(&vcpu->lapic, (uint8_t)words->qualification);
    }
    if (exit->kind == EXIT_APIC_ACCESS) {
        neutral.kind = EXIT_NESTED_FAULT;
    }
    exit_dispatch(vcpu, &neutral);
    if (exit->kind == EXIT_APIC_ACCESS || (exit->kind == EXIT_APIC_WRITE && vmx_apic_is_eoi(exit->apic.offset))) {
        vmx_apic_accessed(vcpu);
    }
}

/* Has another vCPU taken the page from it? Then what it does there is emulated, and SVI is of the past: nothing that
 * waits may depend on it. */
static inline bool has_lost_page(const struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    return (vmx->secondary & SECONDARY_APIC_ACCESSES) != 0 && !guest_apic_page_is_mapped(vcpu->guest);
}

/* Before an entry: what was posted or raised since the last one becomes visible to the CPU. */
void vmx_apic_publish(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t status, wanted;
    int requested;

    if (has_lost_page(vmx, vcpu)) {
        vmx_apic_set_mode(vmx, vcpu);
        vmx_write_primary(vmx, vmx->primary | PRIMARY_INTERRUPT_WINDOW); /* events are chosen anew there */
        return;
    }
    requested = lapic_highest_requested(&vcpu->lapic);
    status = vmx_read_inline(VMCS_GUEST_INTERRUPT_STATUS);
    wanted = (status & ~(uint64_t)INTERRUPT_STATUS_RVI) | (requested > 0 ? (uint32_t)requested : 0);
    if (wanted != status) {
        vmx_write_inline(VMCS_GUEST_INTERRUPT_STATUS, wanted);
    }
    write_eoi_exits(vmx, &vcpu->lapic);
}
