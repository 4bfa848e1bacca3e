/* SPDX-License-Identifier: MIT */
/*
 * What an exit means: one switch over the neutral kinds, the same for both vendors.
 *
 * This folder has the switch over exits and no more: what an exit does is in the folders below.
 */
#ifndef HV_EXIT_DISPATCH_H
#define HV_EXIT_DISPATCH_H

#include "hv/core/guest.h"
#include "hv/core/guest_io.h"
#include "hv/core/vm_exit.h"
#include "hv/dev/lapic_registers.h"
#include "hv/policy/msr_policy.h"

/* Handles one exit: changes only the vCPU and its guest. The vendor looks at vcpu->requests afterwards. */
void exit_dispatch(struct vcpu *vcpu, const struct vm_exit *exit);

/*
 * The short way, for what a running guest makes nearly all of its exits with and what changes so little that neither a
 * neutral exit nor the vCPU's other registers are needed: each does what exit_dispatch() would do, but the vendor moves
 * rip. They take and give gpr[] without rsp, and want `requests` empty; all want exit_tsc and a true TPR.
 * False: it is none of these, and nothing has been done.
 */
static inline bool exit_time_is_over(const struct vcpu *vcpu)
{
    return vcpu->exit_tsc >= vcpu->leave_at; /* the turn's time, at the last exit: see turn_ends() */
}
/* An exit that the vendor has handled by itself: into the vCPU's history. */
static inline void exit_note(struct vcpu *vcpu, enum exit_kind kind, uint32_t raw, uint64_t rip, uint64_t detail)
{
    vcpu->ring[vcpu->ring_next++ & (EXIT_RING_ENTRIES - 1)] =
        (struct exit_record){.rip = rip, .detail = detail, .raw = raw, .kind = (uint32_t)kind};
    vcpu->exit_counts[kind]++;
}

/* WRMSR of what msr_quick_write() takes. */
static inline bool exit_quick_msr_write(struct vcpu *vcpu, uint32_t raw, uint64_t rip)
{
    bool done = !exit_time_is_over(vcpu) && msr_quick_write(vcpu);

    if (done) {
        exit_note(vcpu, EXIT_WRMSR, raw, rip, vcpu->gpr[GPR_RCX]);
    }
    return done;
}

/* The two that a kernel writes at each timer tick: the TSC deadline, if neither the old one nor the new one has passed,
 * behind which the CPU's timer follows (hv/host/cpu_timer.h); and the end of an interrupt in x2APIC mode. `low` is
 * eax. */
static inline bool exit_quick_deadline(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint32_t low)
{
    uint64_t value = vcpu->gpr[GPR_RDX] << 32 | low;

    if (exit_time_is_over(vcpu) || !lapic_quick_tsc_deadline(&vcpu->lapic, value, vcpu->tsc_offset, vcpu->exit_tsc)) {
        return false;
    }
    exit_note(vcpu, EXIT_WRMSR, raw, rip, vcpu->gpr[GPR_RCX]);
    return true;
}

static inline bool exit_quick_eoi(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint32_t low)
{
    if (exit_time_is_over(vcpu) || (low | (uint32_t)vcpu->gpr[GPR_RDX]) != 0 || !lapic_x2apic(&vcpu->lapic)) {
        return false;
    }
    exit_note(vcpu, EXIT_WRMSR, raw, rip, vcpu->gpr[GPR_RCX]);
    guest_apic_end_of_interrupt(vcpu);
    return true;
}

/* A byte. Inlined into its one caller of each vendor: a console makes nearly all of a guest's exits. */
static inline bool exit_quick_port(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint16_t port, bool in)
{
    uint8_t *al = (uint8_t *)&vcpu->gpr[GPR_RAX];
    bool done = !exit_time_is_over(vcpu) &&
                (in ? guest_quick_port_read(vcpu, port, al) : guest_quick_port_write(vcpu, port, al));

    if (done) {
        exit_note(vcpu, EXIT_IO, raw, rip, port);
    }
    return done;
}

/* WRMSR of IA32_PAT, and XSETBV of kernel code: the vendor loads msrs.pat, and xcr0. */
static inline bool exit_quick_pat_write(struct vcpu *vcpu, uint32_t raw, uint64_t rip)
{
    bool done = !exit_time_is_over(vcpu) && msr_quick_pat_write(vcpu);

    if (done) {
        exit_note(vcpu, EXIT_WRMSR, raw, rip, vcpu->gpr[GPR_RCX]);
    }
    return done;
}
bool exit_quick_xsetbv(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t cr4);

/* Two or four bytes, at a port that a device takes whole. */
bool exit_quick_wide_port(struct vcpu *vcpu, uint32_t raw, uint64_t rip, const struct exit_io *io);

/* OUT of eax to the PCI host's address register. */
static inline bool exit_quick_pci_address(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint32_t value)
{
    bool done = !exit_time_is_over(vcpu) && guest_quick_pci_address(vcpu, value);

    if (done) {
        exit_note(vcpu, EXIT_IO, raw, rip, PCI_HOST_ADDRESS_PORT);
    }
    return done;
}

/* What may end in a fault of the instruction: the vendor injects that, with RFLAGS.RF. */
enum exit_quick {
    EXIT_QUICK_LEFT, /* nothing has been done */
    EXIT_QUICK_DONE,
    EXIT_QUICK_FAULT,
};

/* RDMSR of any other; the fault is #GP(0). */
enum exit_quick exit_quick_msr_read(struct vcpu *vcpu, uint32_t raw, uint64_t rip);

/* The same for a number that is not offered and that was the last to be counted: true is that fault. */
static inline bool exit_quick_unknown_read(struct vcpu *vcpu, uint32_t raw, uint64_t rip)
{
    uint64_t number = vcpu->gpr[GPR_RCX];

    if (exit_time_is_over(vcpu) || !guest_count_unknown_again(vcpu->guest, UNKNOWN_MSR_READ, (uint32_t)number)) {
        return false;
    }
    exit_note(vcpu, EXIT_RDMSR, raw, rip, number);
    return true;
}

/* #UD in 64-bit code, with vcpu->rip and the first bytes there; `kernel`: of the most privileged level. Done is the
 * hypercall of the other vendor, which is EXIT_CODE_BYTES long; the fault is #UD. */
#define EXIT_CODE_BYTES 3u
enum exit_quick exit_quick_undefined(struct vcpu *vcpu, uint32_t raw, const uint8_t code[EXIT_CODE_BYTES], bool kernel);

/* What KVM answers for a hypercall that is not offered: -KVM_ENOSYS. Linux, include/uapi/linux/kvm_para.h. */
#define EXIT_HYPERCALL_NOT_THERE (0 - 1000ULL)
#define EXIT_HYPERCALL_SEND_IPI 10u

/* VMCALL or VMMCALL of 64-bit kernel code, with vcpu->rip. */
bool exit_quick_hypercall(struct vcpu *vcpu, uint32_t raw);

/* The same for a number that nothing answers and that was the last to be counted; with *rax as for CPUID, and without
 * vcpu->rip. */
static inline bool exit_quick_unknown_hypercall(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t *rax)
{
    if (exit_time_is_over(vcpu) || *rax == EXIT_HYPERCALL_SEND_IPI ||
        !guest_count_unknown_again(vcpu->guest, UNKNOWN_HYPERCALL, *rax)) {
        return false;
    }
    exit_note(vcpu, EXIT_HYPERCALL, raw, rip, vcpu->gpr[GPR_RCX]);
    *rax = EXIT_HYPERCALL_NOT_THERE;
    return true;
}

/* An exit that the vendor handles by itself, if this is true: then it stands in the vCPU's history. */
static inline bool exit_quick_done(struct vcpu *vcpu, enum exit_kind kind, uint32_t raw, uint64_t rip)
{
    bool done = !exit_time_is_over(vcpu);

    if (done) {
        exit_note(vcpu, kind, raw, rip, vcpu->gpr[GPR_RCX]);
    }
    return done;
}

/* HLT with nothing that waits, and with vcpu->rip, rflags and `pending`: the CPU is given away. */
static inline void exit_quick_halt(struct vcpu *vcpu, uint32_t raw, uint64_t next)
{
    exit_note(vcpu, EXIT_HLT, raw, vcpu->rip, vcpu->gpr[GPR_RCX]);
    vcpu->rip = next;
    vcpu->state = VCPU_STATE_HALTED;
    vcpu->requests |= VCPU_ADVANCED | VCPU_HALTED | VCPU_EVENT;
}

/* An access to a device in memory, from no delivery, walk or fetch; with what emulate_known_move() wants. The length of
 * the instruction; 0: nothing has been done. */
uint8_t exit_quick_fault(struct vcpu *vcpu, uint32_t raw, const struct exit_nested_fault *fault, const uint8_t *code);

/* CPUID, with system.cr4; not for leaf 0xd. rax is where the vendor has it: an argument, because it may not be in
 * gpr[]. Always true, for a tail call. */
bool exit_quick_cpuid(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t *rax);

/* RDMSR where msr_is_at_hand() (hv/policy/msr_policy.h) and time is left, with system.efer where that is asked for;
 * else as CPUID. */
bool exit_quick_known_read(struct vcpu *vcpu, uint32_t raw, uint64_t rip, uint64_t *rax);

#endif
