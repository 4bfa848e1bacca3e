/* SPDX-License-Identifier: MIT */
/*
 * Starting the other CPUs: INIT, SIPI, SIPI, and what each reports.
 *
 * Every CPU of boot_info gets an entry in cpus[]. All are reset by INIT; then, one at a time, each is sent to the
 * trampoline page below 1 MiB, goes from real to long mode on its own stack, loads its tables, switches VMX or SVM on,
 * and reports. A CPU that does not come up in a bounded time, has not what the boot CPU has, or cannot switch
 * virtualization on is named and left out; the machine runs without it. SDM 3A 9.4 "Multiple-Processor
 * (MP) Initialization"; APM 2 16.5 "Interprocessor Interrupts (IPI)".
 */
#ifndef HV_HOST_SMP_H
#define HV_HOST_SMP_H

#include "hv/boot_info.h"
#include "hv/host/cpu.h"

/* Fills cpus[] from boot_info and gives every CPU its stacks from the pool; cpus[0] is the calling one. */
void smp_assign(const struct boot_info *info);

/* What a CPU does at its start, on its own stack, tables and APIC. */
struct smp_start_steps {
    /* Makes the calling CPU able to run guests. A sentence: why it cannot, and is left out. NULL: it can. */
    const char *(*prepare)(struct cpu *cpu);
    /* What it does once it is released: never returns. */
    void (*run)(struct cpu *cpu);
};

/* Starts all others; returns how many CPUs are ready, the calling one included. `steps` stays where it is. */
uint32_t smp_start(const struct boot_info *info, const struct smp_start_steps *steps);

/* True where two CPUs are different hyper-threads of one core, as the firmware says. */
bool smp_is_sibling(const struct boot_info *info, uint32_t one, uint32_t other);

/* The index of the calling CPU at the start: usually 0. */
uint32_t smp_bsp_index(void);

/* After smp_start(): no CPU that is ready was seen with another TSC than the boot CPU. */
bool smp_tsc_agrees(void);

/* Lets every started CPU go on into its `run` step. */
void smp_release(void);

/* The guard pages of all CPUs: one below the normal stack and one below each interrupt stack. Returns how many. */
uint32_t smp_guards(const uint64_t **pages);

#endif
