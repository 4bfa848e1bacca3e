/* SPDX-License-Identifier: MIT */
#include "hv/core/vm_exit.h"

const char *exit_kind_name(enum exit_kind kind)
{
    static const char *const names[EXIT_KIND_COUNT] = {
        [EXIT_HOST_INTERRUPT] = "host interrupt",
        [EXIT_INTERRUPT_WINDOW] = "interrupt window",
        [EXIT_CPUID] = "CPUID",
        [EXIT_RDMSR] = "RDMSR",
        [EXIT_WRMSR] = "WRMSR",
        [EXIT_IO] = "port I/O",
        [EXIT_NESTED_FAULT] = "nested page fault",
        [EXIT_HLT] = "HLT",
        [EXIT_HYPERCALL] = "hypercall",
        [EXIT_XSETBV] = "XSETBV",
        [EXIT_RDPMC] = "RDPMC",
        [EXIT_WBINVD] = "WBINVD",
        [EXIT_CR_ACCESS] = "control register",
        [EXIT_EXCEPTION] = "exception",
        [EXIT_TASK_SWITCH] = "task switch",
        [EXIT_UNDEFINED] = "instruction not offered",
        [EXIT_NOTHING] = "no effect",
        [EXIT_PAUSE] = "pause",
        [EXIT_SHUTDOWN] = "triple fault",
        [EXIT_APIC_WRITE] = "APIC write",
        [EXIT_EOI] = "virtual EOI",
        [EXIT_APIC_ACCESS] = "APIC access",
        [EXIT_INVALID] = "entry refused",
        [EXIT_UNKNOWN] = "unknown exit",
    };

    return (uint32_t)kind < EXIT_KIND_COUNT ? names[kind] : "?";
}
