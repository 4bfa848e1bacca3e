/* SPDX-License-Identifier: MIT */
/*
 * What the emulators of CPUs do otherwise than the manuals say, one name each, and the only switch of every repair.
 *
 * All tests run in emulators, and each has its mistakes. A repair for one is code that no real CPU needs, so it stands
 * apart (hv/svm/quirks.c, hv/vmx/quirks.c, or a line beside a test of a field of struct quirks) and is off unless the
 * emulator's signature was found at the start: real CPUs run the plain path. `quirks = none` under [hypervisor] leaves
 * them off in the emulator, too, which tests do to run the plain path there. docs/emulators.md describes each.
 */
#ifndef HV_CORE_QUIRKS_H
#define HV_CORE_QUIRKS_H

#include "hv/base/types.h"

enum emulator {
    EMULATOR_NONE, /* a CPU, or a hypervisor that passes one through */
    EMULATOR_QEMU, /* TCG: "TCGTCGTCGTCG" in CPUID leaf 0x40000000 */
    EMULATOR_BOCHS,
};

/* Each is false where the CPU behaves as its manual says. */
struct quirks {
    /* SVM in QEMU 7.2 */
    bool double_injection;     /* an interrupt through EVENTINJ is delivered twice now and then */
    bool lost_shadow;          /* VMRUN does not load the interrupt shadow */
    bool cr8_in_window;        /* a write of CR8 while a virtual interrupt waits ends the emulator */
    bool task_switch_unseen;   /* the task-switch intercept is ignored */
    bool xsetbv_unseen;        /* the XSETBV intercept is ignored */
    bool lme_without_paging;   /* an exit with EFER.LME set and CR4.PAE clear leaves the host without paging */
    bool pae_pointer_accessed; /* the MMU sets bit 5 of a page-directory pointer, which is reserved */
    bool stale_code;           /* code that was written right ahead of rip runs as it was before */
    /* SVM in Bochs 2.7 */
    bool no_shutdown_exit;  /* a triple fault ends the emulator: there is no shutdown intercept */
    bool dr6_not_saved;     /* a #DB exit does not leave its cause in DR6 */
    bool cr2_not_loaded;    /* VMRUN does not load CR2 */
    bool lma_cleared_early; /* EFER.LMA is clear already when the write of CR0 that ends long mode exits */
    bool stale_task_event;  /* EXITINTINFO of a task switch by INT n names an event of the past, or that exception */
    bool tce_refused;       /* VMRUN refuses EFER.TCE, which CPUID offers */
    /* SVM in both */
    bool refusal_spoils_vmcb; /* a refused VMRUN leaves the host's state in the save area, and no event to inject */
    /* VMX in Bochs 2.7 */
    bool wrong_virtual_interrupts; /* delivered by the CPU with RFLAGS.IF clear, and not in IDT-vectoring information */
    bool nmi_blocking_inherited;   /* an entry does not clear the blocking of NMIs that another VMCS has left */
    /* Bochs 2.7 */
    bool late_host_interrupts; /* host interrupts are kept from a guest that was entered with RFLAGS.IF clear */
    bool broken_xsavec;        /* XSAVEC writes the AVX component over the header */
};

/* What is on for this emulator, on Intel's or AMD's side; nothing at all where `wanted` is false. */
void quirks_choose(enum emulator emulator, bool is_intel, bool wanted, struct quirks *quirks);

/* The start log's line: "quirks of QEMU's TCG: lost-shadow, ...", or that there are none. Returns `to`. */
#define QUIRKS_TEXT_MAX 400u
const char *quirks_text(enum emulator emulator, const struct quirks *quirks, char to[QUIRKS_TEXT_MAX]);

#endif
