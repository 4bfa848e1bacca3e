/* SPDX-License-Identifier: MIT */
/*
 * The keyboard controller with a keyboard and a mouse that are never touched (ports 0x60 and 0x64; i8042_device.h), and
 * system control port A (0x92).
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; PIIX4 4.2.7 for 0x92.
 *
 * It answers its own commands (self test, command byte, output port, reset) and carries bytes to the two devices and
 * their answers back. Both are in no ACPI table, so a kernel that goes by those spends no exit on them. The A20 gate is
 * remembered and has no effect: address line 20 is never masked.
 *
 * Of a guest that has the machine's (`keyboard = ps2`) ports 0x60 and 0x64 are that one's, through a filter
 * (i8042_filter.h): what would reset the machine or move its A20 is answered here, as without a keyboard.
 */
#ifndef HV_DEV_I8042_H
#define HV_DEV_I8042_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"
#include "hv/dev/i8042_device.h"

#define I8042_DATA_PORT 0x60u
#define I8042_COMMAND_PORT 0x64u
#define I8042_CONTROL_A_PORT 0x92u
#define I8042_IRQ_KEYBOARD 1u
#define I8042_IRQ_MOUSE 12u

/* Its lines of the signals. */
#define I8042_LINE_KEYBOARD 1u
#define I8042_LINE_MOUSE 2u

/* The machine's controller. Ports are 0x60 and 0x64; a write comes from the filter. */
struct i8042_io {
    void *context;
    uint8_t (*read)(void *context, uint16_t port);
    void (*write)(void *context, uint16_t port, uint8_t value);
};

struct i8042 {
    const struct i8042_io *io; /* NULL: the guest has a controller of its own */
    struct bus_signals signals;
    uint8_t status;
    uint8_t command_byte;
    uint8_t output_port;
    uint8_t data;      /* output buffer */
    uint8_t expects;   /* command whose parameter comes next through port 0x60; 0: none */
    uint8_t control_a; /* port 0x92 */
    struct i8042_device board, mouse;
};

void i8042_reset(struct i8042 *keyboard, const struct i8042_io *io);

/* port is 0x60, 0x64 or 0x92. */
uint8_t i8042_read(struct i8042 *keyboard, uint16_t port);
void i8042_write(struct i8042 *keyboard, uint16_t port, uint8_t value);

extern const struct bus_row i8042_row;

#endif
