/* SPDX-License-Identifier: MIT */
/*
 * The machine's keyboard controller (8042) in a guest's hands: `keyboard = ps2`. The keyboard and the mouse behind it,
 * with IRQ 1 and 12 (hv/guest/direct.c).
 *
 * Each access exits: a map of ports knows reads and writes of one port alone together, and writes are filtered
 * (hv/dev/i8042_filter.h). The filter is right as long as the controller takes each byte as what it was written as. An
 * 8042 first looks whether the byte that waits is a command, and then reads it; a byte that is written in between would
 * be data that it takes for a command, such as 0xfe, the machine's reset. So none is written while one waits.
 *
 * Between two lives its interrupts and both of its devices are off and its buffer is empty. A life begins as after a
 * PC's firmware: keyboard on, codes of set 1, IRQ 1. What a guest told the keyboard and the mouse themselves (lamps,
 * another set of codes) they keep: a reset of theirs takes half a second.
 */
#ifndef HV_GUEST_KEYBOARD_H
#define HV_GUEST_KEYBOARD_H

#include "hv/dev/i8042.h"

/* The guest's accesses. A write waits 32 reads of the status at most for the byte before it, and is lost where that
 * still waits then. */
const struct i8042_io *guest_keyboard_io(void);

/* False: no controller answers. Where one takes nothing of what is written: after some 5 ms. */
bool guest_keyboard_open(void);
void guest_keyboard_close(void);

#endif
