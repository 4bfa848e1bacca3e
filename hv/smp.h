/*
 * Starting the other CPUs: INIT, SIPI, SIPI, and what each reports.
 *
 * Every CPU of boot_info gets an entry in cpus[]. One at a time: the trampoline page below 1 MiB is filled with the
 * CPU's page-table root and stack, the CPU is reset and sent there, goes from real to long mode, loads its tables, and
 * reports. A CPU that does not come up in a bounded time is named and left out; the machine runs without it.
 * SDM 3A 9.4 "Multiple-Processor (MP) Initialization"; APM 2 16.5 "Interprocessor Interrupts (IPI)".
 */
#ifndef HV_SMP_H
#define HV_SMP_H

#include "hv/boot_info.h"
#include "hv/cpu.h"

/* Fills cpus[] from boot_info and gives every CPU its stacks from the pool; cpus[0] is the calling one. */
void smp_assign(const struct boot_info *info);

/* Starts all others; returns how many CPUs are ready, the calling one included. */
uint32_t smp_start(const struct boot_info *info);

/* What a started CPU does first, on itself: the same steps that hv_main did for the BSP. Set by hv_main. */
typedef void smp_cpu_init(struct cpu *cpu);

/* Lets every ready CPU go into cpu_loop_run(). */
void smp_release(void);

/* The addresses of all guard pages, ascending. */
uint32_t smp_guard_count(void);
uint64_t smp_guard_page(uint32_t index);

#endif
