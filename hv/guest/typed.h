/* SPDX-License-Identifier: MIT */
/* The consoles' turn, and what was typed meanwhile. */
#ifndef HV_GUEST_TYPED_H
#define HV_GUEST_TYPED_H

#include "hv/host/cpu.h"

/* Moves the consoles on (console_service()), and kicks vCPU 0 of each guest that got input: its UART is there. `here`
 * is the calling CPU, which looks at its own vCPUs' kicks without an interrupt. `now`: the TSC. */
void guest_typed_serve(const struct cpu *here, uint64_t now);

#endif
