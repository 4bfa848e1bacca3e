/* SPDX-License-Identifier: MIT */
/* Second serial ports of guests (`com2 = yes`): what they write goes to the log, a line at a time. */
#ifndef HV_GUEST_COM2_H
#define HV_GUEST_COM2_H

#include "hv/core/guest.h"

/* Logs what there is, as far as the consoles have room. The CPU that polls the consoles calls it. */
void guest_com2_serve(void);

/* False: the guest has ended, and some of its lines wait for room. */
bool guest_com2_has_said_all(const struct guest *guest);

/* After its last line: what there is of another one. */
void guest_com2_end(const struct guest *guest);

#endif
