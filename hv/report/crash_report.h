/* SPDX-License-Identifier: MIT */
/*
 * What a crash report says about the instruction at which a guest ended: its bytes, and the way of its address through
 * the guest's own tables, entry by entry, as they stand. Nothing is changed: no accessed bit, no exception.
 *
 * This folder has what is told of an end, a guest's or our own: it reads what was left, and nothing depends on what it
 * finds.
 */
#ifndef HV_REPORT_CRASH_REPORT_H
#define HV_REPORT_CRASH_REPORT_H

#include "guest-loader/elf_symbols.h"
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

/* "0x2011fc (main+0x1c) <- 0x200045 (start+0x5) <- ...": where it was, and by the frame pointers that its code keeps
 * in rbp the callers, as many as fit. Addresses have names where the kernel's symbols have them. Returns `to`. */
const char *crash_report_backtrace_text(const struct vcpu *vcpu, const struct elf_symbols *symbols, char *to,
                                        size_t capacity);

/* "main+0x1c", or nothing. Returns `to`. */
const char *crash_report_name_text(const struct elf_symbols *symbols, uint64_t address, char *to, size_t capacity);

/* Words of the stack from rsp on, the line's CRASH_STACK_WORDS: "7ff8: 0000000000201234 ...", or a sentence; false
 * where the line is empty. */
#define CRASH_STACK_WORDS 4u
bool crash_report_stack_text(const struct vcpu *vcpu, uint32_t line, char *to, size_t capacity);

/*
 * The last exits, oldest first: a pattern of up to CRASH_PATTERN_MAX exits that repeats is one entry, and a line has
 * as many entries as fit into `width`, one at least. "-64..-3 31 times: port I/O (0x7b) 0x3fd at 0x101af0, port I/O
 * (0x7b) 0x3f8 at 0x101af4; -2 ...": how long before the end, kind, the CPU's own code, detail, rip. *before: exits
 * before the end that are still to be told; begins with crash_report_exits(). Returns `to`.
 */
#define CRASH_PATTERN_MAX 4u
uint32_t crash_report_exits(const struct vcpu *vcpu);
const char *crash_report_exits_text(const struct vcpu *vcpu, uint32_t *before, size_t width, char *to, size_t capacity);

/* Logs those that fit into CRASH_EXIT_LINES, the last ones, a heading first. */
#define CRASH_EXIT_LINES 8u
void crash_report_log_exits(const struct vcpu *vcpu);

#endif
