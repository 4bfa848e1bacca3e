/* SPDX-License-Identifier: MIT */
/*
 * What is done about attacks by speculation (hv/host/cpu_speculation.h) on the machine's CPUs.
 */
#ifndef HV_HOST_SPECULATION_H
#define HV_HOST_SPECULATION_H

#include "hv/base/types.h"

/* Looks at the calling CPU and switches on what stays on, LFENCE's waiting included. Returns the answers that are given
 * between two guests, for speculation_between_guests(); 0: nothing needs to be done then. Before virtualization is
 * switched on. `threads`: its core has other threads. */
uint32_t speculation_start(bool threads);

/* One line: what the calling CPU is open to, what is done, and what is left for want of microcode. True where threads
 * of a core see data of each other. */
bool speculation_report(bool threads);

/* The CPU goes from one guest to another: clears what the one may have left. `answers` are this CPU's. */
void speculation_between_guests(uint32_t answers);

#endif
