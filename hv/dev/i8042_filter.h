/* SPDX-License-Identifier: MIT */
/*
 * What of a guest's writes reaches the machine's keyboard controller, where the guest has it (`keyboard = ps2`).
 *
 * The controller's output port has the machine's reset line in bit 0 and A20 in bit 1. Command 0xd1 writes it, 0xf0 to
 * 0xff pulse bits of it, and what other numbers do differs between makers (0x90 to 0x9f write it on VIA's). So what
 * passes is a list: what drivers of keyboards and mice use, none of which reaches that port. The rest stays here, and
 * means what it means to a guest without a keyboard.
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller", "Controller Commands".
 */
#ifndef HV_DEV_I8042_FILTER_H
#define HV_DEV_I8042_FILTER_H

#include "hv/base/types.h"

/* Whether a command, a byte for port 0x64, goes on to the machine. */
bool i8042_command_passes(uint8_t command);

/* Whether the next byte for port 0x60 is the command's. */
bool i8042_command_has_parameter(uint8_t command);

/* Whether a byte for port 0x60 goes on, of the command before it (0: it is for the keyboard), and as what. */
bool i8042_data_passes(uint8_t command, uint8_t *value);

#endif
