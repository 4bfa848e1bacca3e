/* SPDX-License-Identifier: MIT */
/*
 * What Ctrl-] s prints: for each guest its state, how long it runs and how much CPU time it had, why it left, and what
 * it touched that nobody answers. Counters of guests that run on other CPUs are read as they are at that moment.
 */
#ifndef HV_GUEST_STATUS_H
#define HV_GUEST_STATUS_H

#include "hv/core/guest.h"

void guest_status_print(void);

/* What a guest shows on its text display, where its serial port has said nothing: many small kernels know no other
 * way. False: it has said nothing on either. */
bool guest_status_screen(const struct guest *guest);

#endif
