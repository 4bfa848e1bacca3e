/* SPDX-License-Identifier: MIT */
/*
 * What is done about attacks by speculation (hv/host/cpu_speculation.h) on the machine's CPUs.
 */
#ifndef HV_HOST_SPECULATION_H
#define HV_HOST_SPECULATION_H

#include "config/config.h"
#include "hv/base/types.h"

struct cpu;

/* Looks at the calling CPU, `cpu`, switches on what stays on, LFENCE's waiting included, and notes in `cpu` what is
 * done between two guests and at exits. Before virtualization is switched on. */
void speculation_start(struct cpu *cpu, enum config_speculation wanted);

/* Whether guests may have SPEC_CTRL and PRED_CMD on the calling CPU. */
bool speculation_offers_control(void);

/* One line: what the calling CPU is open to, what is done, and what is left for want of microcode. */
void speculation_report(const struct cpu *cpu, enum config_speculation wanted);

/* The CPU goes from one guest to another: clears what the one may have left. `answers` are this CPU's. */
void speculation_between_guests(uint32_t answers);

/* The vCPU that `cpu` runs has these bits in its IA32_SPEC_CTRL. They hold in the hypervisor as well, so that no exit
 * has to write the register: they forbid, and allow nothing. */
void speculation_set_control(struct cpu *cpu, uint64_t guest_bits);

/* The guest's IBPB. */
void speculation_barrier(void);

#endif
