/* SPDX-License-Identifier: MIT */
/*
 * The stable codes of a guest's failure, with what to do about it: GUEST_CODES(row) expands row(name, number, remedy).
 * Numbers are never reused. docs/codes.md is generated from this table and from the sentences of guest_fail().
 */
#ifndef HV_CORE_GUEST_CODES_H
#define HV_CORE_GUEST_CODES_H

/* clang-format off */
#define GUEST_CODES(row) \
    row(GUEST_CODE_TRIPLE_FAULT, 300u, "mend what the line above names in the guest's kernel; one that sets its IDT up first can tell such faults itself; where this is how it resets its PC (Linux with reboot=t), write on-crash = restart") \
    row(GUEST_CODE_ENTRY_FAILED, 301u, "the guest has a state that its CPU cannot have, or this is a bug in Plinth: please report these lines") \
    row(GUEST_CODE_UNKNOWN_EXIT, 302u, "this is a bug in Plinth: please report these lines") \
    row(GUEST_CODE_UNDECODABLE, 303u, "please report these lines with the name of the guest's kernel") \
    row(GUEST_CODE_FETCH, 304u, "give the guest more `memory`, or look for a wild jump in its kernel") \
    row(GUEST_CODE_TASK_SWITCH, 305u, "mend the guest's kernel: code that switches tasks must not change meanwhile") \
    row(GUEST_CODE_DEBUG_EXIT, 306u, "the guest reports a failure of its own: see its last lines; where the value is its success, write it as `debug-exit-ok`") \
    row(GUEST_CODE_BAD_STATE, 307u, "give the guest more `memory`, or mend where its kernel puts IDT, GDT, TSS and stack") \
    row(GUEST_CODE_NO_CPU, 308u, "give the guest other `cpus`; the line about that CPU at the start says why it was left out") \
    row(GUEST_CODE_WATCHDOG, 309u, "see what the guest did last, or give its `watchdog` more time or another kind") \
    row(GUEST_CODE_NO_BIOS, 310u, "a guest has no BIOS: take a kernel that starts by a boot protocol (docs/boot-protocols.md), or mend its real-mode code") \
    row(GUEST_CODE_PANICKED, 311u, "see the guest's last lines: its kernel says why it panicked; `on-crash = restart` starts it again") \
    row(GUEST_CODE_RESET, 312u, "see why the guest resets itself, or let it: `on-reset = restart`") \
    row(GUEST_CODE_WATCHDOG_DEVICE, 313u, "see why the program that feeds the guest's watchdog did not run, or give it more time in the guest") \
    row(GUEST_CODE_REAL_MODE, 314u, "the CPU has no real mode for guests with shadow paging, and Plinth executes what it lacks, but not this: please report these lines with the name of the guest's kernel, and take a CPU with EPT and unrestricted guest") \
    row(GUEST_CODE_MACHINE_CHECK, 315u, "check memory, cooling and power supply; the lines above say what the banks reported. The guest is not restarted, because its memory may still have the error") \
    row(GUEST_CODE_NO_DEVICE, 317u, "take the function out of the guest's section (`pci`), or mend what the line above names: firmware settings (VT-d, AMD-Vi, interrupt remapping), the slot, the other functions of its group")
/* clang-format on */

enum guest_code {
#define GUEST_CODE_ENUM(name, number, remedy) name = number,
    GUEST_CODES(GUEST_CODE_ENUM)
#undef GUEST_CODE_ENUM
};

#endif
