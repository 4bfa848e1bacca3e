/* SPDX-License-Identifier: MIT */
/*
 * The keyboard of a PC's 8042 controller as a place to type: polled, without interrupts. For machines without a serial
 * port. IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
 *
 * USB keyboards are not among it: what some firmwares make of them for ports 0x60 and 0x64 ends when the hypervisor
 * takes the USB controllers (hv/host/usb_handoff.h).
 */
#ifndef HV_CONSOLE_CONSOLE_KEYBOARD_H
#define HV_CONSOLE_CONSOLE_KEYBOARD_H

#include "hv/console/keyboard_codes.h"

struct console_keyboard {
    bool alive;
    struct keyboard_codes codes;
    uint8_t bytes[KEYBOARD_BYTES_MAX]; /* of the last key, which are still to be taken */
    uint32_t count, taken;
};

/* Sets the controller up: its interrupts and the mouse's port off, scan codes of set 1. `alive` is false where no
 * controller answers, or no keyboard: after 300 ms at most. Needs the TSC's rate. */
void keyboard_open(struct console_keyboard *keyboard);

/* One typed byte; false where there is none. Looks at 16 codes of the controller at most. */
bool keyboard_receive(struct console_keyboard *keyboard, uint8_t *byte);

#endif
