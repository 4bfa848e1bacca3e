/* SPDX-License-Identifier: MIT */
/*
 * What a crash report says about the instruction at which a guest ended: its bytes, and the way of its address through
 * the guest's own tables, entry by entry, as they stand. Nothing is changed: no accessed bit, no exception.
 */
#ifndef HV_CORE_CRASH_REPORT_H
#define HV_CORE_CRASH_REPORT_H

#include "hv/core/guest.h"

#define CRASH_WALK_STEPS 5u
#define CRASH_TEXT_MAX 320u

struct crash_step {
    const char *name; /* of the table: PML4, PDPT, ... */
    uint32_t index;
    uint64_t at; /* guest-physical, of the entry */
    uint64_t entry;
};

enum crash_walk_end {
    CRASH_WALK_MAPPED,
    CRASH_WALK_NOT_PRESENT,
    CRASH_WALK_NOT_MEMORY, /* the next table is not in the guest's RAM */
};

struct crash_walk {
    struct crash_step steps[CRASH_WALK_STEPS];
    uint32_t count;
    enum crash_walk_end end;
    gpa_t address; /* CRASH_WALK_MAPPED only */
};

/* The linear address of the next instruction. */
uint64_t crash_report_rip(const struct vcpu *vcpu);

void crash_report_walk(const struct vcpu *vcpu, uint64_t linear, struct crash_walk *walk);

/* "PML4[0] 0x97023, PDPT[0] 0x98023, PD[0] 0x1e3: guest-physical 0x101af0". Returns `to`. */
const char *crash_report_walk_text(const struct crash_walk *walk, char *to, size_t capacity);

/* "0f 0b 5d c3 ...", or a sentence where the bytes cannot be read. Returns `to`. */
const char *crash_report_code_text(const struct vcpu *vcpu, char *to, size_t capacity);

/*
 * The last exits, all that are kept, oldest first: alike neighbours are one entry, and a line has as many as fit.
 * "-64..-3 CPUID (0x72) 0x0 at 0x101af0; -2 ..." : how long before the end, kind, the CPU's own code, detail, rip.
 * *before: exits before the end that are still to be told; begins with crash_report_exits(). Returns `to`.
 */
uint32_t crash_report_exits(const struct vcpu *vcpu);
const char *crash_report_exits_text(const struct vcpu *vcpu, uint32_t *before, char *to, size_t capacity);

/* Logs them all, a heading first. */
void crash_report_log_exits(const struct vcpu *vcpu);

#endif
