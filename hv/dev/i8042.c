/* SPDX-License-Identifier: MIT */
/*
 * The keyboard controller with idle devices behind it, or the machine's. See i8042.h.
 */
#include "hv/dev/i8042.h"

#include "hv/base/memory.h"
#include "hv/dev/i8042_filter.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/timebase.h"

/* Status register, port 0x64. */
#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_SYSTEM 0x04u
#define STATUS_COMMAND 0x08u
#define STATUS_NOT_LOCKED 0x10u
#define STATUS_AUX_DATA 0x20u

/* Command byte. */
#define COMMAND_BYTE_IRQ1 0x01u
#define COMMAND_BYTE_IRQ12 0x02u
#define COMMAND_BYTE_SYSTEM 0x04u
#define COMMAND_BYTE_KEYBOARD_OFF 0x10u
#define COMMAND_BYTE_AUX_OFF 0x20u
#define COMMAND_BYTE_TRANSLATES 0x40u

/* Output port: bit 0 low resets the CPU, bit 1 is A20. */
#define OUTPUT_PORT_NO_RESET 0x01u
#define OUTPUT_PORT_A20 0x02u

#define SELF_TEST_PASSED 0x55u
#define INTERFACE_PASSED 0x00u

#define CONTROL_A_RESET 0x01u
#define CONTROL_A_A20 0x02u

static void update(struct i8042 *keyboard)
{
    bool full = (keyboard->status & STATUS_OUTPUT_FULL) != 0;
    bool aux = (keyboard->status & STATUS_AUX_DATA) != 0;
    bool irq1 = full && !aux && (keyboard->command_byte & COMMAND_BYTE_IRQ1) != 0;
    bool irq12 = full && aux && (keyboard->command_byte & COMMAND_BYTE_IRQ12) != 0;

    keyboard->signals.lines = (irq1 ? I8042_LINE_KEYBOARD : 0) | (irq12 ? I8042_LINE_MOUSE : 0);
}

static void put_output(struct i8042 *keyboard, uint8_t value, uint8_t status_bits)
{
    keyboard->data = value;
    keyboard->status &= (uint8_t)~STATUS_AUX_DATA;
    keyboard->status |= (uint8_t)(STATUS_OUTPUT_FULL | status_bits);
}

/* Codes of set 2 become those of set 1, whatever they stand for. Of what an untouched keyboard says these are codes,
 * too: the second byte of its identity, and the numbers of sets. PS/2 Technical Reference, as in i8042.h. */
static uint8_t translated(uint8_t value)
{
    switch (value) {
    case 0x01:
        return 0x43;
    case 0x02:
    case 0x83:
        return 0x41;
    case 0x03:
        return 0x3f;
    default:
        return value;
    }
}

/* An empty output buffer takes the next byte of a device whose line is not held. */
static void take_answer(struct i8042 *keyboard)
{
    uint8_t value = 0;

    if ((keyboard->status & STATUS_OUTPUT_FULL) != 0) {
        return;
    }
    if ((keyboard->command_byte & COMMAND_BYTE_KEYBOARD_OFF) == 0 && i8042_device_take(&keyboard->board, &value)) {
        put_output(keyboard, (keyboard->command_byte & COMMAND_BYTE_TRANSLATES) != 0 ? translated(value) : value, 0);
    } else if ((keyboard->command_byte & COMMAND_BYTE_AUX_OFF) == 0 && i8042_device_take(&keyboard->mouse, &value)) {
        put_output(keyboard, value, STATUS_AUX_DATA);
    }
}

/* As firmware leaves it: the keyboard is on, with IRQ 1 and codes of set 1; the mouse is off. */
void i8042_reset(struct i8042 *keyboard, const struct i8042_io *io)
{
    memset(keyboard, 0, sizeof(*keyboard));
    keyboard->io = io;
    keyboard->status = STATUS_SYSTEM | STATUS_NOT_LOCKED;
    keyboard->command_byte = COMMAND_BYTE_IRQ1 | COMMAND_BYTE_SYSTEM | COMMAND_BYTE_AUX_OFF | COMMAND_BYTE_TRANSLATES;
    keyboard->output_port = 0xcc | OUTPUT_PORT_NO_RESET | OUTPUT_PORT_A20;
    keyboard->control_a = CONTROL_A_A20;
    keyboard->signals.deadline = DEADLINE_NONE;
    i8042_device_reset(&keyboard->board, false);
    i8042_device_reset(&keyboard->mouse, true);
}

/* The A20 gate is one wire with two switches, here and at port 0x92. */
static void set_a20(struct i8042 *keyboard, bool on)
{
    keyboard->output_port = (uint8_t)((keyboard->output_port & ~OUTPUT_PORT_A20) | (on ? OUTPUT_PORT_A20 : 0));
    keyboard->control_a = (uint8_t)((keyboard->control_a & ~CONTROL_A_A20) | (on ? CONTROL_A_A20 : 0));
}

static void write_output_port(struct i8042 *keyboard, uint8_t value)
{
    keyboard->output_port = value | OUTPUT_PORT_NO_RESET;
    set_a20(keyboard, (value & OUTPUT_PORT_A20) != 0);
    if ((value & OUTPUT_PORT_NO_RESET) == 0) {
        bus_request_power(&keyboard->signals, POWER_RESET_REQUESTED, "keyboard controller, output port");
    }
}

static void set_command_bits(struct i8042 *keyboard, uint8_t bits, bool on)
{
    keyboard->command_byte = on ? keyboard->command_byte | bits : keyboard->command_byte & (uint8_t)~bits;
}

/* Commands that need a byte through port 0x60. */
static void write_parameter(struct i8042 *keyboard, uint8_t command, uint8_t value)
{
    switch (command) {
    case 0x60:
        keyboard->command_byte = value;
        break;
    case 0xd1:
        write_output_port(keyboard, value);
        break;
    case 0xd2: /* as if the keyboard had sent it */
        put_output(keyboard, value, 0);
        break;
    case 0xd3: /* as if the mouse had sent it */
        put_output(keyboard, value, STATUS_AUX_DATA);
        break;
    case 0xd4: /* to the mouse, whose line it frees */
        set_command_bits(keyboard, COMMAND_BYTE_AUX_OFF, false);
        i8042_device_write(&keyboard->mouse, value);
        break;
    default:
        break;
    }
}

static void write_command(struct i8042 *keyboard, uint8_t command)
{
    keyboard->expects = i8042_command_has_parameter(command) ? command : 0;
    switch (command) {
    case 0x20:
        put_output(keyboard, keyboard->command_byte, 0);
        break;
    case 0xa7:
    case 0xa8:
        set_command_bits(keyboard, COMMAND_BYTE_AUX_OFF, command == 0xa7);
        break;
    case 0xaa:
        keyboard->status |= STATUS_SYSTEM;
        put_output(keyboard, SELF_TEST_PASSED, 0);
        break;
    case 0xa9: /* the lines of the mouse, and of the keyboard */
    case 0xab:
        put_output(keyboard, INTERFACE_PASSED, 0);
        break;
    case 0xad:
    case 0xae:
        set_command_bits(keyboard, COMMAND_BYTE_KEYBOARD_OFF, command == 0xad);
        break;
    case 0xc0: /* input port: keyboard not locked */
        put_output(keyboard, 0x80, 0);
        break;
    case 0xd0:
        put_output(keyboard, keyboard->output_port, 0);
        break;
    case 0xdd:
    case 0xdf:
        set_a20(keyboard, command == 0xdf);
        break;
    default: /* 0xf0..0xff pulse the output port bits that are 0; bit 0 is reset */
        if (command >= 0xf0 && (command & 1u) == 0) {
            bus_request_power(&keyboard->signals, POWER_RESET_REQUESTED, "port 0x64");
        }
        break;
    }
}

static void write_data(struct i8042 *keyboard, uint8_t value)
{
    uint8_t command = keyboard->expects;

    keyboard->expects = 0;
    if (command != 0) {
        write_parameter(keyboard, command, value);
        return;
    }
    set_command_bits(keyboard, COMMAND_BYTE_KEYBOARD_OFF, false); /* a byte to the keyboard enables its clock */
    i8042_device_write(&keyboard->board, value);
}

/* To the machine's controller, or what is not for it to the own one, which takes none of these to a device. */
static void write_machine(struct i8042 *keyboard, uint16_t port, uint8_t value)
{
    const struct i8042_io *io = keyboard->io;
    uint8_t command = keyboard->expects;

    if (port == I8042_COMMAND_PORT) {
        if (!i8042_command_passes(value)) {
            write_command(keyboard, value);
            return;
        }
        keyboard->expects = i8042_command_has_parameter(value) ? value : 0;
        io->write(io->context, port, value);
        return;
    }
    keyboard->expects = 0;
    if (i8042_data_passes(command, &value)) {
        io->write(io->context, port, value);
    } else {
        write_parameter(keyboard, command, value);
    }
}

static void write_control_a(struct i8042 *keyboard, uint8_t value)
{
    if ((value & CONTROL_A_RESET) != 0 && (keyboard->control_a & CONTROL_A_RESET) == 0) {
        bus_request_power(&keyboard->signals, POWER_RESET_REQUESTED, "port 0x92");
    }
    keyboard->control_a = value & (CONTROL_A_RESET | CONTROL_A_A20);
    set_a20(keyboard, (value & CONTROL_A_A20) != 0);
}

void i8042_write(struct i8042 *keyboard, uint16_t port, uint8_t value)
{
    if (port == I8042_CONTROL_A_PORT) {
        write_control_a(keyboard, value);
        return;
    }
    if (keyboard->io != NULL) {
        write_machine(keyboard, port, value);
        return;
    }
    if (port == I8042_COMMAND_PORT) {
        keyboard->status |= STATUS_COMMAND;
        write_command(keyboard, value);
    } else {
        keyboard->status &= (uint8_t)~STATUS_COMMAND;
        write_data(keyboard, value);
    }
    take_answer(keyboard);
    update(keyboard);
}

/* Reading the data empties the output buffer; an empty one repeats the last byte. What comes into it at once is an
 * interrupt of its own. */
static uint8_t read_data(struct i8042 *keyboard)
{
    uint32_t before = keyboard->signals.lines;
    uint8_t value = keyboard->data;

    keyboard->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_AUX_DATA);
    take_answer(keyboard);
    update(keyboard);
    keyboard->signals.edges |= before & keyboard->signals.lines;
    keyboard->signals.wants |= keyboard->signals.edges != 0 ? (uint32_t)BUS_EDGES : 0;
    return value;
}

uint8_t i8042_read(struct i8042 *keyboard, uint16_t port)
{
    if (port == I8042_CONTROL_A_PORT) {
        return keyboard->control_a;
    }
    if (keyboard->io != NULL) {
        return keyboard->io->read(keyboard->io->context, port);
    }
    if (port == I8042_COMMAND_PORT) {
        return keyboard->status;
    }
    return read_data(keyboard);
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = i8042_read(state, (uint16_t)access->at);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    i8042_write(state, (uint16_t)access->at, (uint8_t)access->value);
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)now;
    i8042_reset(state, environment->config->keyboard);
}

const struct bus_row i8042_row = {
    .name = "8042",
    BUS_RANGES(BUS_PORTS(I8042_DATA_PORT, 1), BUS_PORTS(I8042_COMMAND_PORT, 1), BUS_PORTS(I8042_CONTROL_A_PORT, 1)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    .lines = {I8042_IRQ_KEYBOARD, I8042_IRQ_MOUSE},
    .line_count = 2,
    BUS_STATE(struct i8042, signals),
};
