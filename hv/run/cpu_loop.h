/* SPDX-License-Identifier: MIT */
/*
 * What a host CPU does for the rest of its life: take its vCPUs in turn, run each until it leaves, serve timers, kicks
 * and consoles in between, and sleep when none of them can run.
 *
 * vCPUs that share a CPU take turns in the order of plinth.conf, each for its slice; one that halts gives the rest of
 * its slice away. A CPU with one vCPU has no slices: nothing but that guest's own timers interrupts it.
 *
 * This folder has the loop of a CPU: which vCPU runs, until when, and what is done in between. What an exit means is
 * not known here.
 */
#ifndef HV_RUN_CPU_LOOP_H
#define HV_RUN_CPU_LOOP_H

#include "hv/boot_info.h"
#include "hv/core/guest.h"
#include "hv/host/cpu.h"

/* Gives every vCPU to its host CPU. Once, on the boot CPU, after guest_create_all() and before any cpu_loop_run(). */
void cpu_loop_assign(const struct boot_info *info);

_Noreturn void cpu_loop_run(struct cpu *cpu);

#endif
