/* SPDX-License-Identifier: MIT */
/*
 * The data of the trampoline page, as offsets in it: hv/host/trampoline.S reads them, hv/host/smp.c writes them as
 * struct trampoline_data and asserts that both agree. Plain numbers, for the assembler.
 */
#ifndef HV_HOST_TRAMPOLINE_H
#define HV_HOST_TRAMPOLINE_H

#define TRAMPOLINE_DATA 0xf00
#define TRAMPOLINE_GDT_POINTER (TRAMPOLINE_DATA + 0x20)
#define TRAMPOLINE_FAR_32 (TRAMPOLINE_DATA + 0x28)
#define TRAMPOLINE_FAR_64 (TRAMPOLINE_DATA + 0x30)
#define TRAMPOLINE_CR3 (TRAMPOLINE_DATA + 0x38)
#define TRAMPOLINE_CR4 (TRAMPOLINE_DATA + 0x3c)
#define TRAMPOLINE_NEXT (TRAMPOLINE_DATA + 0x40)
#define TRAMPOLINE_MARK (TRAMPOLINE_DATA + 0x48)
#define TRAMPOLINE_PARK (TRAMPOLINE_DATA + 0x4c)
#define TRAMPOLINE_VECTORS_POINTER (TRAMPOLINE_DATA + 0x50)

/* Real-mode vectors of a CPU that is parked, and its stack below the data. */
#define TRAMPOLINE_VECTORS 0x800

/* What the mark says: 0, it did not start; then how far it came. */
#define TRAMPOLINE_MARK_REAL 1
#define TRAMPOLINE_MARK_PROTECTED 2
#define TRAMPOLINE_MARK_LONG 3
#define TRAMPOLINE_MARKS 4
#define TRAMPOLINE_MARK_PARKED 4

/* struct smp_next: where the CPU goes on. */
#define TRAMPOLINE_NEXT_STACK 0
#define TRAMPOLINE_NEXT_ENTRY 8
#define TRAMPOLINE_NEXT_ARGUMENT 16

/* Selectors of its GDT. */
#define TRAMPOLINE_CODE32 0x08
#define TRAMPOLINE_CODE64 0x10
#define TRAMPOLINE_DATA_SELECTOR 0x18

#endif
