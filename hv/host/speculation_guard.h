/* SPDX-License-Identifier: MIT */
/*
 * What a CPU that is open to attacks by speculation does at each exit and before each entry: hv/svm/entry.S and
 * hv/vmx/entry.S have a second loop with the macros of speculation_guard.inc, and a vCPU gets it where its CPU's struct
 * cpu_guard asks for any of them. The plain loop has nothing of it. For the assembler: plain numbers.
 */
#ifndef HV_HOST_SPECULATION_GUARD_H
#define HV_HOST_SPECULATION_GUARD_H

/* Offsets in struct cpu, where GS points. */
#define CPU_GUARD_ANSWERS 8
#define CPU_GUARD_ENTRY 12
#define CPU_GUARD_EXIT 16
#define CPU_GUARD_SELECTOR 20

/* Bits of its answers. */
#define GUARD_IBPB 0x01
#define GUARD_IBRS 0x02
#define GUARD_RSB 0x04
#define GUARD_BHB 0x08
#define GUARD_L1D 0x10
#define GUARD_VERW 0x20

#endif
