/* SPDX-License-Identifier: MIT */
/*
 * What this CPU is and can, as far as the host's own paging is concerned, and the registers that switch it on.
 */
#ifndef HV_HOST_HOST_CPU_H
#define HV_HOST_HOST_CPU_H

#include "hv/host/cpu_errata.h"
#include "hv/mm/page_table.h"
#include "hv/x86/mtrr.h"

#define HOST_CPU_NAME_BYTES 49u

/* "AMD EPYC Processor", without the padding. */
void host_cpu_name(char name[HOST_CPU_NAME_BYTES]);

/* True where the CPU says that it is virtual. CPUID.1:ECX[31]; APM 3 E.3.2. */
bool host_cpu_is_virtual(void);

/* The maker of the CPU, its model, and its microcode. */
struct cpu_identity host_cpu_identity(void);

/* Switches off what the calling CPU's errata make harmful: C1E on AMD CPUs whose APIC timer it stops. True: it was
 * on. And makes two matches in the TLB of family 10h a machine check (erratum 383). */
bool host_cpu_apply_errata(void);

/* IA32_ARCH_CAPABILITIES of the calling CPU; 0 where it has none. SDM 4 2.1, table 2-2. */
uint64_t host_cpu_arch_capabilities(void);

/* Makes LFENCE wait for all instructions before it on the calling CPU, as guests are told that it does. An emulator's
 * or another hypervisor's register is left alone, and so is a CPU's without the bit: LFENCE always waits there. */
void host_cpu_serialize_lfence(void);

/* What the host's page tables may use. `no_execute` false: the CPU cannot run Plinth. */
struct page_table_caps host_cpu_paging_caps(void);

/* True where firmware left 5-level paging on: it cannot be left in long mode, so the host's tree has five levels
 * too. */
bool host_cpu_five_levels(void);

void host_cpu_read_mtrrs(struct mtrr_state *state);

/* Gives the calling CPU these memory types, with caches off meanwhile, interrupts off and PGE clear. Only where
 * mtrr_compare() says that it has the registers. */
void host_cpu_write_mtrrs(const struct mtrr_state *state);

/* The CR4 that every CPU of the hypervisor runs with, before the vendor adds its bit. */
uint64_t host_cpu_cr4(void);

/* NXE, WP, PAT, CR4 and at last CR3: the calling CPU then uses the tree. */
void host_cpu_load_paging(uint64_t cr3);

#endif
