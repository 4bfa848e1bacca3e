/* SPDX-License-Identifier: MIT */
/* A CPU without work: its sleep, and the frequencies that it may choose. What is chosen: cpu_power.h. */
#ifndef HV_HOST_CPU_IDLE_H
#define HV_HOST_CPU_IDLE_H

#include "hv/host/cpu.h"

/* Decides for the calling CPU, and asks it for its full range of frequencies. Registers that fault are left alone. */
void cpu_idle_start(struct cpu *cpu);

/* One line: how this CPU sleeps and what it was asked for. */
void cpu_idle_report(const struct cpu *cpu);

/*
 * Sleeps until an interrupt, or not at all where a flag of the calling CPU is set. Called and left with interrupts off:
 * an interrupt that comes between the look at the flags and the sleep ends it. It is taken here, or at the caller's
 * next window.
 */
void cpu_idle_sleep(struct cpu *cpu);

#endif
