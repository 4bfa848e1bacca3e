/* SPDX-License-Identifier: MIT */
/*
 * Why a guest's CPU shut down (a triple fault), in the guest's terms: which exception, what caused it, and why it could
 * not be delivered.
 *
 * Neither vendor tells. At the shutdown a CPU still has the rip of the instruction whose exception was the first, CR2
 * of the last page fault, and the guest's tables are as they were. So the instruction is decoded, what it touches is
 * looked up in the guest's page tables as its MMU would, and the way of the exception is followed: IDT, gate, code
 * segment, handler, stack. What is not certain is not said: an instruction that could have raised several exceptions is
 * "an exception". Nothing is changed. SDM 3A 6.15 "Exception and Interrupt Reference"; APM 2 8.2 "Vectors".
 */
#ifndef HV_REPORT_CRASH_CAUSE_H
#define HV_REPORT_CRASH_CAUSE_H

#include "hv/core/guest.h"

#define CRASH_VECTOR_UNKNOWN 0xffu

struct crash_cause {
    uint8_t vector;     /* CRASH_VECTOR_UNKNOWN: some exception */
    bool software;      /* INT n */
    bool has_address;   /* a page fault: */
    uint64_t address;   /* where, */
    const char *access; /* and "reading", "writing" or "executing" */
    const char *detail; /* more of it: "by a division by zero"; or NULL */
};

void crash_cause_find(const struct vcpu *vcpu, struct crash_cause *cause);

/* Why an exception of that vector (any, where it is unknown) cannot be delivered: "no IDT". False: no reason is
 * seen. */
bool crash_cause_delivery(const struct vcpu *vcpu, uint8_t vector, char *to, size_t capacity);

/* The guest ended at an instruction that raises nothing, in an emulator that is known to run other bytes than those in
 * memory now and then (quirk stale-code): the fault may be the emulator's. */
bool crash_cause_may_be_emulator(const struct vcpu *vcpu);

/* "page fault writing 0x40000000000 at rip 0x2011fc (main+0x1c); no IDT". `where` is the name of rip, or empty. */
const char *crash_cause_text(const struct vcpu *vcpu, const char *where, char *to, size_t capacity);

#endif
