/* SPDX-License-Identifier: MIT */
/*
 * Backtraces from the tables that the compiler writes: .pdata and .xdata of our own image. No frame pointers needed.
 *
 * Each function that moves the stack pointer has an entry that says what its prologue did; undoing it gives the
 * caller's registers. A function without an entry is a leaf: its return address is on top of the stack. Not handled:
 * an address within an epilogue, where the step may come out wrong (traps do not happen there).
 * Pure: the image's bytes and the stack are spans, every read is checked, a damaged stack ends the backtrace.
 * Microsoft, "x64 exception handling", struct RUNTIME_FUNCTION, struct UNWIND_INFO.
 */
#ifndef HV_REPORT_UNWIND_H
#define HV_REPORT_UNWIND_H

#include "hv/base/span.h"
#include "hv/base/types.h"

/* gpr[] in the order of the instruction encoding, which is the tables' too: 4 is rsp. stack.S knows the offsets. */
struct unwind_context {
    uint64_t rip;
    uint64_t gpr[16];
};

_Static_assert(offsetof(struct unwind_context, gpr) == 8, "unwind_capture() in stack.S");
_Static_assert(offsetof(struct unwind_context, rip) == 0 && sizeof(struct unwind_context) == 8 + 8 * 16,
               "unwind_capture() in stack.S");

struct unwind_image {
    struct span image; /* as loaded, from its DOS header on */
    uint64_t base;     /* address of image.base[0] */
    struct span stack; /* what may be read as stack */
    uint64_t stack_base;
};

/* One step outwards. False at the outermost frame (return address 0) or where nothing sensible follows. */
bool unwind_step(const struct unwind_image *image, struct unwind_context *context);

/* hv/host/stack.S: the caller's registers. */
void unwind_capture(struct unwind_context *context);

#endif
