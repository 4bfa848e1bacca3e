/* SPDX-License-Identifier: MIT */
/*
 * The third class of failure: the hypervisor itself is broken or the machine is. Stops every CPU and says why, on every
 * console, with a stable code, a sentence and what to do about it. No guest action may lead here.
 *
 * The last line is "plinth: result failed", which tools/run-qemu and tools/run-bochs recognize. The machine is then
 * halted with the screen readable; it is not switched off, because the screen is there to be read.
 */
#ifndef HV_HOST_PANIC_H
#define HV_HOST_PANIC_H

#include "hv/base/types.h"
#include "hv/host/panic_codes.h"

__attribute__((format(printf, 2, 3))) _Noreturn void hv_panic(uint32_t code, const char *form, ...);

struct cpu;
struct vcpu;

/* The same for a CPU that no longer does anything: it cannot say it itself, so `sentence` is another CPU's. Where it is
 * comes from the NMI that stops it, and from the last exits of the vCPU that it has. */
_Noreturn void hv_panic_hang(const struct cpu *hung, const char *sentence);

/* A machine check while this guest ran: what it did is lost, and what else is cannot be known. */
_Noreturn void hv_panic_machine_check(const struct vcpu *vcpu);

/* Where the image lies, for backtraces. */
void hv_panic_init(uint64_t image_start, uint64_t image_end);

#endif
