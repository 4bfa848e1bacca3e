/* SPDX-License-Identifier: MIT */
/* The instructions that only SVM has, one function each. APM 3, by name. VMRUN is in
 * entry.S. */
#ifndef HV_SVM_INSN_H
#define HV_SVM_INSN_H

#include "hv/base/types.h"

/* Clears the global interrupt flag: no interrupt, NMI or SMI reaches this CPU until STGI or the guest. APM 2 15.17. */
static inline void svm_insn_clgi(void)
{
    __asm__ volatile("clgi" : : : "memory");
}

static inline void svm_insn_stgi(void)
{
    __asm__ volatile("stgi" : : : "memory");
}

/* Saves FS, GS, TR, LDTR, KERNEL_GS_BASE, STAR, LSTAR, CSTAR, SFMASK and SYSENTER_* into a VMCB. APM 2 15.5.2. */
static inline void svm_insn_vmsave(uint64_t vmcb)
{
    __asm__ volatile("vmsave %0" : : "a"(vmcb) : "memory");
}

#endif
