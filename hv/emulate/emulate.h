/* SPDX-License-Identifier: MIT */
/*
 * The emulator: runs one instruction that touched guest-physical memory which is no RAM, the way the CPU would have.
 *
 * Why: a nested page fault tells an address and a direction, never the value. The instruction at CS:RIP is fetched
 * through the guest's own page tables, decoded (hv/x86/decode.h), its operands translated with every check that the CPU
 * makes, and executed on struct vcpu: registers, exact flags, exact exceptions. Operands in RAM go to RAM, the others
 * to guest_mmio_read() and guest_mmio_write(); where no device answers, reads give all ones and writes vanish.
 *
 * Which forms are claimed is in docs/instruction-decoder.md; any other instruction stops the guest with its bytes.
 *
 * This folder has instructions that the hypervisor executes in the CPU's place. Pure; what an instruction means for a
 * guest's CPUID, MSRs or devices is decided elsewhere.
 */
#ifndef HV_EMULATE_EMULATE_H
#define HV_EMULATE_EMULATE_H

#include "hv/core/vm_exit.h"
#include "hv/x86/decode.h"

/* Handles EXIT_NESTED_FAULT. Wants the system state. */
void emulate_nested_fault(struct vcpu *vcpu, const struct exit_nested_fault *fault);

/* Executes what was fetched at rip, whose operand lies in RAM or is a device's; an exception may be raised. False: it
 * is not emulated, and nothing has changed. Wants the system state. */
bool emulate_instruction(struct vcpu *vcpu, const struct instruction *instruction);

/*
 * For vendors whose CPU does not say (SVM): fills *access and *length from the MOV CR, CLTS, LMSW or SMSW at CS:RIP; an
 * LMSW from memory is read, an SMSW to memory is done. False: it is none of these, or an exception was raised (then
 * vcpu->pending is valid). Wants the system state.
 */
bool emulate_decode_cr(struct vcpu *vcpu, struct exit_cr_access *access, uint8_t *length);

/* The same for INVLPG: its address, no translation of which is asked for, and its length. */
bool emulate_decode_invlpg(struct vcpu *vcpu, uint64_t *linear, uint8_t *length);

/* The offset in its segment of an operand in memory. */
uint64_t emulate_effective_address(const struct vcpu *vcpu, const struct instruction *instruction);

#endif
