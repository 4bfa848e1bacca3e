/* SPDX-License-Identifier: MIT */
/*
 * Events: what is injected at the next entry, which exit is wanted for what has to wait, and what an exit interrupted.
 */
#include "hv/vmx/vmx.h"

#include "hv/core/event.h"
#include "hv/vmx/decode.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define TPR_SHIFT 4u

/* What a #DB exit's qualification has of DR6. SDM 3C 28.2.1, table 28-1. */
#define DR6_BITS_OF_QUALIFICATION (DR6_BREAKPOINTS | DR6_BD | DR6_BS)

/* The CPU keeps it with each VMCS. SDM 3C 25.4.2, table 25-3 "Format of Interruptibility State". */
bool vmx_nmi_is_blocked(struct vmx_vcpu *vmx, const struct vcpu *vcpu)
{
    bool blocked = (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_NMI) != 0;

    return vcpu->guest->host->quirks.nmi_blocking_inherited ? vmx_quirks_nmi_is_blocked(vmx, blocked) : blocked;
}

/*
 * An interrupt that only the TPR holds off: an exit comes when the guest lowers CR8 below its class. The threshold may
 * never be above the TPR at an entry, so it is set whenever events are looked at. SDM 3C 30.1.2, 27.2.1.1.
 */
static void set_tpr_threshold(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    uint64_t tpr = lapic_cr8(&vcpu->lapic);
    int requested = tpr != 0 ? lapic_highest_requested(&vcpu->lapic) : -1; /* 0 holds no vector off */
    uint32_t class = requested >= 0 ? (uint32_t)requested >> TPR_SHIFT : 0;
    uint32_t threshold = class <= tpr ? class : 0;

    if (vmx_features.tpr_shadow && threshold != vmx->tpr_threshold) {
        vmx->tpr_threshold = threshold;
        vmx_write(VMCS_TPR_THRESHOLD, threshold);
    }
}

static void set_windows(struct vmx_vcpu *vmx, struct vcpu *vcpu, bool interrupt, bool nmi)
{
    uint32_t primary = vmx->primary & ~(PRIMARY_INTERRUPT_WINDOW | PRIMARY_NMI_WINDOW);

    primary |= interrupt ? PRIMARY_INTERRUPT_WINDOW : 0;
    primary |= nmi ? PRIMARY_NMI_WINDOW : 0;
    if (primary != vmx->primary) {
        vmx_write_primary(vmx, primary);
    }
    if (vcpu->cpu_delivers) {
        vmx_apic_publish(vmx, vcpu);
    } else {
        set_tpr_threshold(vmx, vcpu);
    }
}

/* Real mode pushes no error codes, and an entry with one is refused. SDM 3C 27.2.1.3; 3B 21.1.4. */
__attribute__((noinline)) static void inject(struct vmx_vcpu *vmx, const struct vcpu_event *event)
{
    struct vcpu_event injected = *event;

    vmx_end_shadow(vmx); /* a delivery ends it */
    injected.has_error = event->has_error && (vmx_read_inline(VMCS_GUEST_CR0) & CR0_PE) != 0;
    vmx_write_inline(VMCS_ENTRY_EVENT, vmx_encode_event(&injected));
    if (injected.has_error) {
        vmx_write(VMCS_ENTRY_ERROR_CODE, event->error);
    }
    if (event->kind == EVENT_PRIVILEGED_SOFTWARE_EXCEPTION) { /* SDM 3C 25.8.3 */
        vmx_write(VMCS_ENTRY_INSTRUCTION_LENGTH, event->length);
    }
    if (event->kind == EVENT_NMI) {
        /* An NMI whose delivery was interrupted left the blocking set: it is delivered again. SDM 3C 27.3.1.5. */
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint64_t)INTERRUPTIBILITY_NMI);
        vmx->had_nmi = 1;
    }
}

void vmx_choose_event(struct vmx_vcpu *vmx, struct vcpu *vcpu)
{
    bool shadow = (vmx_read_inline(VMCS_GUEST_INTERRUPTIBILITY) & INTERRUPTIBILITY_SHADOW) != 0;
    bool open = (vcpu->rflags & RFLAGS_IF) != 0 && !shadow;
    bool nmi_open = !vmx_nmi_is_blocked(vmx, vcpu) && !shadow;
    enum event_choice choice;
    struct vcpu_event event;
    bool nmi;
    bool interrupt;

    choice = vcpu_select_event(vcpu, open, nmi_open, &event);
    if (choice == EVENT_INJECT && event.kind == EVENT_INTERRUPT) {
        vmx_end_shadow(vmx);
        vmx_write_inline(VMCS_ENTRY_EVENT, VMX_EVENT_VALID | event.vector); /* kind 0, and no error */
    } else if (choice == EVENT_INJECT) {
        inject(vmx, &event);
    }
    interrupt = vcpu_wants_window(vcpu, choice, &nmi);
    set_windows(vmx, vcpu, interrupt, nmi);
}

/* An exit came during a delivery. */
void vmx_take_back_event(struct vcpu *vcpu, const struct vmx_exit_words *words)
{
    vcpu->pending = vmx_decode_event(words->vectoring, words->vectoring_error);
    vcpu->requests |= vcpu->pending.valid ? VCPU_EVENT : 0;
}

/* A #DB exit leaves DR6 and DR7 as they were: the delivery would have changed them. SDM 3C 28.1; 3B 18.2.3, 18.2.4. */
static void finish_debug_exception(const struct vmx_exit_words *words, uint32_t type)
{
    uint64_t bits = words->qualification & DR6_BITS_OF_QUALIFICATION;

    if (type == EVENT_PRIVILEGED_SOFTWARE_EXCEPTION) {
        return; /* INT1 leaves both as they are */
    }
    insn_write_dr6((insn_read_dr6() & ~DR6_BREAKPOINTS) | bits);
    if ((bits & DR6_BD) != 0) {
        vmx_write(VMCS_GUEST_DR7, vmx_read(VMCS_GUEST_DR7) & ~DR7_GD);
    }
}

/* NMIs were taken from the CPU with the exit. SDM 3C 28.1. */
void vmx_finish_exception(const struct vmx_exit_words *words)
{
    uint32_t type = (words->event >> VMX_EVENT_TYPE_SHIFT) & VMX_EVENT_TYPE;

    if (type == EVENT_NMI) {
        vmx_insn_nmi();
    } else if ((words->event & VMX_EVENT_VECTOR) == EXCEPTION_DB) {
        finish_debug_exception(words, type);
    }
    if ((words->event & VMX_EVENT_NMI_UNBLOCKED) != 0 && (words->event & VMX_EVENT_VECTOR) != EXCEPTION_DF) {
        vmx_write(VMCS_GUEST_INTERRUPTIBILITY, vmx_read(VMCS_GUEST_INTERRUPTIBILITY) | INTERRUPTIBILITY_NMI);
    }
}
