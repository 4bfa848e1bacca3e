/* SPDX-License-Identifier: MIT */
/*
 * Exceptions and interrupts of the host.
 *
 * Three things can be meant: an interrupt that was asked for (its handler sets a flag), an instruction of
 * hv/x86/insn_safe.S that faulted as it may (goes on at its failure exit), or a defect (the trap screen, and the end).
 */
#ifndef HV_HOST_TRAPS_H
#define HV_HOST_TRAPS_H

#include "hv/base/types.h"

/* What trap_entry.S leaves on the stack. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector;
    uint64_t error;
    uint64_t rip, cs, rflags, rsp, ss; /* pushed by the CPU */
};

_Static_assert(sizeof(struct trap_frame) == 176, "trap_entry.S pushes 22 words");
_Static_assert(offsetof(struct trap_frame, rax) == 14 * 8 && offsetof(struct trap_frame, vector) == 15 * 8,
               "trap_entry.S: 15 registers, RAX pushed first, then upwards the vector");
_Static_assert(offsetof(struct trap_frame, error) == 16 * 8 && offsetof(struct trap_frame, rip) == 17 * 8,
               "the error code lies under the CPU's five words");
_Static_assert(sizeof(struct trap_frame) % 16 == 0, "RSP is aligned to 16 at the call");

/* Called by trap_entry.S for HOST_VECTOR_TIMER. hv/host/cpu.c. */
void trap_timer(void);

/* What traps.c hands on: hv/host/cpu.c defines the first two, hv/host/panic.c the third. */
void trap_interrupt(uint8_t vector);
void trap_nmi(const struct trap_frame *frame);
_Noreturn void trap_fatal(const struct trap_frame *frame);

/* Called by trap_entry.S. */
void trap_dispatch(struct trap_frame *frame);

/* "page fault (#PF)"; vectors are those of SDM 3A 6.3.1, table 6-1. */
const char *trap_name(uint64_t vector);

/* One sentence about a page fault: "write to the absent address 0x10 (page 0: a null pointer)". */
void trap_describe_page_fault(char *to, size_t capacity, uint64_t error, uint64_t address);

/* The entry of the stub of a vector. All interrupts but the timer, the kick and those of devices have one, which says
 * that it is HOST_VECTOR_SPURIOUS. */
uint64_t trap_stub_address(uint8_t vector);

/* hv/host/stack.S */
_Noreturn void stack_switch(uint64_t top, void (*next)(void *argument), void *argument);
void segments_load(uint16_t code, uint16_t data);

#endif
