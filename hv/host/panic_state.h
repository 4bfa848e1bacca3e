/* SPDX-License-Identifier: MIT */
/*
 * Whether a CPU panics, and what the others do then: apart from the report (panic.h), because the interrupt handlers of
 * cpu.c need it and the report needs them.
 */
#ifndef HV_HOST_PANIC_STATE_H
#define HV_HOST_PANIC_STATE_H

#include "hv/base/types.h"

/* The calling CPU panics. True: it is the first one, which reports. */
bool panic_state_enter(void);

/* Some CPU panics. A CPU that is told so by NMI ends in hv_panic_stop(). */
bool hv_panicking(void);

/* Halts the calling CPU for good: interrupts off, only NMIs and SMIs reach it. */
_Noreturn void hv_panic_stop(void);

#endif
