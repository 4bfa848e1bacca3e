/* SPDX-License-Identifier: MIT */
/*
 * What of the control registers decides a translation: bits of CR0, CR4, EFER and RFLAGS. hv/x86/registers.h, which has
 * all the others, is above this folder and includes this.
 */
#ifndef HV_MM_PAGING_REGISTERS_H
#define HV_MM_PAGING_REGISTERS_H

/* SDM 3A 2.5 "Control Registers"; APM 2 3.1.1, 3.1.3. */
#define CR0_WP (1ULL << 16)
#define CR0_PG (1ULL << 31)
#define CR4_PSE (1ULL << 4)
#define CR4_PAE (1ULL << 5)
#define CR4_PGE (1ULL << 7)
#define CR4_LA57 (1ULL << 12)
#define CR4_SMEP (1ULL << 20)
#define CR4_SMAP (1ULL << 21)

/* IA32_EFER. SDM 3A 2.2.1 "Extended Feature Enable Register"; APM 2 3.1.7. */
#define EFER_LMA (1ULL << 10)
#define EFER_NXE (1ULL << 11)

/* SDM 1 3.4.3 "EFLAGS Register". */
#define RFLAGS_AC (1ULL << 18)

#endif
