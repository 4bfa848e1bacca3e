/* SPDX-License-Identifier: MIT */
/*
 * Real mode on a CPU that has none: what virtual-8086 mode, or 16-bit protected mode with an empty descriptor table,
 * does not execute as real mode would. The vendor runs the guest in one of these, and asks here after the fault.
 *
 *   interrupts and exceptions    through the table at IDTR: real_mode_deliver()
 *   INT n, INT3, INTO, INT1      the same, with the next instruction as what is returned to
 *   HLT, IN, OUT, INS, OUTS, MOV CR, CLTS, LMSW, RDMSR, WRMSR, RDPMC, WBINVD, INVD, INVLPG, XSETBV
 *                                are what exits of a CPU in real mode would be: exit_dispatch() is for them
 *   LGDT, LIDT, CLI, STI, PUSHF, POPF, IRET, far JMP, CALL and RET, loads of segment registers
 *                                executed here
 *   what writes through CS       emulated, where the emulator has it: protected mode's code segments are read-only
 *
 * Real mode only: CR0.PE of vcpu->system is clear. All that is touched is guest memory and struct vcpu; the work is one
 * instruction. Pure. Not done: MOV to and from debug registers, by which the guest fails.
 *
 * SDM 3B 21.1 "Real-Address Mode", 21.2.7 "Sensitive Instructions".
 */
#ifndef HV_EMULATE_REAL_MODE_H
#define HV_EMULATE_REAL_MODE_H

#include "hv/core/vm_exit.h"

enum real_result {
    REAL_DONE,     /* executed, or an exception was raised, or the guest has failed */
    REAL_RETURNED, /* the same for an IRET: it ends the blocking of NMIs */
    REAL_ENABLED,  /* the same for an STI that has set IF: the next instruction is in its shadow */
    REAL_EXIT,     /* *exit is to be dispatched */
    REAL_FAULT,    /* none of these: the fault was the guest's own */
};

/* Executes the instruction at CS:IP. Wants the system state; a change of it requests VCPU_SYSTEM_WRITE. */
enum real_result real_mode_execute(struct vcpu *vcpu, struct vm_exit *exit);

/* Is it PUSHF or POPF, or an STI before a HLT? A vendor that steps with RFLAGS.TF must not leave them to the CPU: they
 * show or take TF, and an interrupt that comes between the two would leave the guest halted. */
bool real_mode_shows_flags(struct vcpu *vcpu);

/* Pushes FLAGS, CS and `return_ip` and goes to the handler. False: no stack, or no table; nothing has changed. */
bool real_mode_deliver(struct vcpu *vcpu, uint8_t vector, uint64_t return_ip);

#endif
