/*
 * Starting the other CPUs: INIT, SIPI, SIPI, and what each reports.
 *
 * Every CPU of boot_info gets an entry in cpus[]. All are reset by INIT; then, one at a time, each is sent to the
 * trampoline page below 1 MiB, goes from real to long mode on its own stack, loads its tables, switches VMX or SVM on,
 * and reports. A CPU that does not come up in a bounded time, has not what the boot CPU has, or cannot switch
 * virtualization on is named and left out; the machine runs without it. SDM 3A 9.4 "Multiple-Processor
 * (MP) Initialization"; APM 2 16.5 "Interprocessor Interrupts (IPI)".
 */
#ifndef HV_SMP_H
#define HV_SMP_H

#include "hv/boot_info.h"
#include "hv/cpu.h"

/* Fills cpus[] from boot_info and gives every CPU its stacks from the pool; cpus[0] is the calling one. */
void smp_assign(const struct boot_info *info);

/* Starts all others; returns how many CPUs are ready, the calling one included. */
uint32_t smp_start(const struct boot_info *info);

/* The index of the calling CPU at the start: usually 0. */
uint32_t smp_bsp_index(void);

/* Lets every started CPU go on into hv_cpu_start(). */
void smp_release(void);

/* hv/hv_main.c: makes the calling CPU able to run guests, once its stack, tables and APIC are there. A sentence: why it
 * cannot, and is left out. NULL: it can. */
const char *hv_cpu_prepare(struct cpu *cpu);

/* hv/hv_main.c: what every CPU does once it is released, on its own stack. */
_Noreturn void hv_cpu_start(struct cpu *cpu);

/* Stacks and guard pages of one CPU. */
uint64_t smp_stacks_bytes(void);

/* The guard pages, of all CPUs: one below the normal stack and one below each interrupt stack. */
#define SMP_GUARDS_PER_CPU (1u + DESCRIPTOR_IST_COUNT)
#define SMP_GUARDS_MAX (CPUS_MAX * SMP_GUARDS_PER_CPU)
uint32_t smp_guard_count(void);
uint64_t smp_guard_page(uint32_t index);

#endif
