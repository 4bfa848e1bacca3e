/* SPDX-License-Identifier: MIT */
/*
 * The answer to CPUID for any leaf. hv/exit/dispatch.c itself answers the usual ones; the rest is in a file of its own,
 * so that the usual path needs no stack frame for it.
 */
#ifndef HV_POLICY_CPUID_EXIT_H
#define HV_POLICY_CPUID_EXIT_H

#include "hv/core/guest.h"

/* Wants system.cr4, and xcr0 for leaf 0xd. rax is read and written where the vendor has it, the others are in gpr[].
 * Always true, for a tail call. */
bool cpuid_exit_answer(struct vcpu *vcpu, uint64_t *rax);

#endif
