/*
 * What a host CPU does for the rest of its life: take its vCPUs in turn, run each until it leaves, serve timers, kicks
 * and consoles in between, and sleep when none of them can run.
 */
#ifndef HV_CPU_LOOP_H
#define HV_CPU_LOOP_H

#include "hv/cpu.h"

_Noreturn void cpu_loop_run(struct cpu *cpu);

#endif
