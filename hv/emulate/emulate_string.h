/* SPDX-License-Identifier: MIT */
/*
 * MOVS, CMPS, STOS, LODS and SCAS with an operand on a device, with and without a repeat prefix.
 */
#ifndef HV_EMULATE_EMULATE_STRING_H
#define HV_EMULATE_EMULATE_STRING_H

#include "hv/core/vcpu.h"
#include "hv/x86/decode.h"

/*
 * A repeated instruction does at most this many elements per exit, and no more than the exit's time allows
 * (vcpu_exit_end()), but one; then it is entered again with its registers advanced: interrupts wait no longer than
 * that, as between two iterations on the machine.
 */
#define STRING_ELEMENTS_PER_EXIT 1024u

/* Elements to do: 1 without a repeat prefix, otherwise rCX cut to the address size. */
uint64_t string_elements(const struct vcpu *vcpu, const struct instruction *instruction);

/* How many of `elements` may be done in this exit: with RFLAGS.TF one, because a trap follows each. */
uint64_t string_budget(const struct vcpu *vcpu, uint64_t elements);

/* The step of rSI and rDI: the element's size, or its negative when RFLAGS.DF is set. */
uint64_t string_step(const struct vcpu *vcpu, const struct instruction *instruction);

/* After `done` of `elements` in this exit: past the instruction, or at it again. */
void string_finish(struct vcpu *vcpu, const struct instruction *instruction, bool complete);

/* Runs the instruction as far as one exit goes. */
void emulate_string(struct vcpu *vcpu, const struct instruction *instruction);

#endif
