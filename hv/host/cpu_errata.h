/* SPDX-License-Identifier: MIT */
/*
 * Errata of CPUs that decide how the hypervisor drives them, by family, model, stepping and microcode revision. Pure.
 */
#ifndef HV_HOST_CPU_ERRATA_H
#define HV_HOST_CPU_ERRATA_H

#include "hv/base/types.h"

/* What a CPU is. CPUID leaf 1 EAX in display form: SDM 2A "CPUID", "INPUT EAX = 01H". */
struct cpu_identity {
    bool is_intel; /* else AMD or Hygon */
    uint32_t family, model, stepping;
    uint32_t microcode; /* revision, IA32_BIOS_SIGN_ID; 0: not known */
    bool is_virtual;    /* an emulator or another hypervisor answers: errata are not its own */
};

/* Fills family, model and stepping from CPUID leaf 1 EAX. */
void cpu_identity_decode(struct cpu_identity *identity, uint32_t signature);

/*
 * TSC-deadline mode loses or delays interrupts until a microcode update on some Intel CPUs. True: this CPU has the
 * erratum and not the update; *wanted is the revision that mends it, 0 where none is known to be needed.
 */
bool cpu_errata_deadline_timer(const struct cpu_identity *identity, uint32_t *wanted);

/* VMX's preemption timer does not count at the rate that it announces: Intel's Nehalem and Westmere, and one stepping
 * of Ivy Bridge. Errata AAJ124, AAK139, AAM126, AAN92, AAO95, AAP86, AAT59, AAU65, AAX65, BA86 of the specification
 * updates. */
bool cpu_errata_preemption_timer(const struct cpu_identity *identity);

/* AMD family 0fh (from revision F on), 10h and 11h: the C1E state stops the local APIC's timer, entered by HLT when all
 * cores of a package halt. Erratum 400. */
bool cpu_errata_c1e(const struct cpu_identity *identity);

/* Intel family 6 but for the Atoms and the Xeon Phis, until IA32_ARCH_CAPABILITIES says that it is mended: code whose
 * page changes its size without a flush makes a fetch a machine check. CVE-2018-12207, hv/mm/small_code.h. */
bool cpu_errata_page_size_change(const struct cpu_identity *identity, uint64_t arch_capabilities);

/* AMD family 10h: a guest that changes the size of a page without a flush makes two translations match, which the data
 * cache reports as a machine check, or does not survive. Erratum 383. */
bool cpu_errata_tlb_multimatch(const struct cpu_identity *identity);

/*
 * On AMD's CPUs before Zen FXRSTOR and XRSTOR leave the x87's pointers (FIP, FDP, FOP) as they are unless an exception
 * is pending: what the last guest's instructions and data were at would be the next one's to read. Newer ones say so by
 * XSaveErPtr: `sizes_ebx` is CPUID 8000_0008 EBX. APM 3 E.4.
 */
bool cpu_errata_x87_pointers(const struct cpu_identity *identity, uint32_t sizes_ebx);

#endif
