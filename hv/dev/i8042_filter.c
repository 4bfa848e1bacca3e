/* SPDX-License-Identifier: MIT */
#include "hv/dev/i8042_filter.h"

#define COMMAND_WRITE_BYTE 0x60u
#define COMMAND_WRITE_OUTPUT_PORT 0xd1u
#define COMMAND_LOOP_KEYBOARD 0xd2u
#define COMMAND_LOOP_MOUSE 0xd3u
#define COMMAND_TO_MOUSE 0xd4u

/* The first byte of three that, sent through the mouse's loop, make some notebooks' controllers a multiplexer of four
 * mice, which wants commands 0x90 to 0x93: not on the list, so a driver is to find none. It looks at what comes back.
 * Synaptics, "Active PS/2 Multiplexing Specification", 2. */
#define MULTIPLEXER_WORD 0xf0u
#define NO_MULTIPLEXER 0x0fu

bool i8042_command_passes(uint8_t command)
{
    switch (command) {
    case 0x20: /* command byte: read, and written */
    case COMMAND_WRITE_BYTE:
    case 0xa7: /* mouse: off, on, test of its lines */
    case 0xa8:
    case 0xa9:
    case 0xaa: /* self test */
    case 0xab: /* keyboard: test of its lines, off, on */
    case 0xad:
    case 0xae:
    case 0xc0: /* input port and output port: read */
    case 0xd0:
    case COMMAND_LOOP_KEYBOARD:
    case COMMAND_LOOP_MOUSE:
    case COMMAND_TO_MOUSE:
        return true;
    default:
        return false;
    }
}

bool i8042_command_has_parameter(uint8_t command)
{
    return command == COMMAND_WRITE_BYTE || command == COMMAND_WRITE_OUTPUT_PORT || command == COMMAND_LOOP_KEYBOARD ||
           command == COMMAND_LOOP_MOUSE || command == COMMAND_TO_MOUSE;
}

bool i8042_data_passes(uint8_t command, uint8_t *value)
{
    if (command == COMMAND_LOOP_MOUSE && *value == MULTIPLEXER_WORD) {
        *value = NO_MULTIPLEXER;
    }
    return command != COMMAND_WRITE_OUTPUT_PORT;
}
