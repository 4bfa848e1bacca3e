/*
 * The third class of failure: the hypervisor itself is broken or the machine is. Stops every CPU and says why, on every
 * console, with a stable code, a sentence and what to do about it. No guest action may lead here.
 *
 * The last line is "plinth: result failed", which tools/run-qemu and tools/run-bochs recognize. The machine is then
 * halted with the screen readable; it is not switched off, because whoever sits in front of it has to read the screen.
 */
#ifndef HV_PANIC_H
#define HV_PANIC_H

#include "hv/base/types.h"
#include "hv/codes.h"

struct trap_frame;

__attribute__((format(printf, 2, 3))) _Noreturn void hv_panic(uint32_t code, const char *form, ...);

/* The same with the registers of a trap. */
_Noreturn void hv_panic_trap(const struct trap_frame *frame);

/* A CPU that was stopped by another's panic ends here. */
bool hv_panicking(void);

#endif
