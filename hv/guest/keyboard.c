/* SPDX-License-Identifier: MIT */
#include "hv/guest/keyboard.h"

#include "hv/x86/insn.h"

/* Status and command byte. PS/2 Technical Reference, as in hv/dev/i8042.h. */
#define STATUS_OUTPUT_FULL (1u << 0)
#define STATUS_INPUT_FULL (1u << 1)
#define COMMAND_WRITE_BYTE 0x60u
#define COMMAND_MOUSE_OFF 0xa7u
#define COMMAND_KEYBOARD_OFF 0xadu
#define BYTE_KEYBOARD_IRQ (1u << 0)
#define BYTE_SYSTEM (1u << 2) /* set by firmware whose self test was good */
#define BYTE_KEYBOARD_OFF (1u << 4)
#define BYTE_MOUSE_OFF (1u << 5)
#define BYTE_TRANSLATE (1u << 6) /* set 2, which keyboards send, becomes set 1 */
#define BYTE_CLOSED (BYTE_SYSTEM | BYTE_KEYBOARD_OFF | BYTE_MOUSE_OFF | BYTE_TRANSLATE)
#define BYTE_OPEN (BYTE_SYSTEM | BYTE_KEYBOARD_IRQ | BYTE_MOUSE_OFF | BYTE_TRANSLATE)

/* Reads of the status, about a microsecond each, until the controller has taken a byte. */
#define GUEST_READS 32u
#define OWN_READS 5000u
#define STALE_MAX 32u /* bytes that wait */

static bool has_taken(uint32_t reads)
{
    for (uint32_t i = 0; i < reads; i++) {
        if ((insn_in8(I8042_COMMAND_PORT) & STATUS_INPUT_FULL) == 0) {
            return true;
        }
    }
    return false;
}

static uint8_t io_read(void *context, uint16_t port)
{
    (void)context;
    return insn_in8(port);
}

static void io_write(void *context, uint16_t port, uint8_t value)
{
    (void)context;
    if (has_taken(GUEST_READS)) {
        insn_out8(port, value);
    }
}

const struct i8042_io *guest_keyboard_io(void)
{
    static const struct i8042_io io = {NULL, io_read, io_write};

    return &io;
}

static bool write_byte(uint16_t port, uint8_t value)
{
    if (!has_taken(OWN_READS)) {
        return false;
    }
    insn_out8(port, value);
    return true;
}

static void drop_stale(void)
{
    for (uint32_t i = 0; i < STALE_MAX && (insn_in8(I8042_COMMAND_PORT) & STATUS_OUTPUT_FULL) != 0; i++) {
        (void)insn_in8(I8042_DATA_PORT);
    }
}

static bool write_command_byte(uint8_t byte)
{
    return write_byte(I8042_COMMAND_PORT, COMMAND_WRITE_BYTE) && write_byte(I8042_DATA_PORT, byte);
}

/* A command also ends one whose parameter the last life did not write. */
static bool quiet(void)
{
    if (!write_byte(I8042_COMMAND_PORT, COMMAND_KEYBOARD_OFF) || !write_byte(I8042_COMMAND_PORT, COMMAND_MOUSE_OFF) ||
        !write_command_byte(BYTE_CLOSED) || !has_taken(OWN_READS)) {
        return false;
    }
    drop_stale();
    return true;
}

bool guest_keyboard_open(void)
{
    return quiet() && write_command_byte(BYTE_OPEN) && has_taken(OWN_READS);
}

void guest_keyboard_close(void)
{
    (void)quiet();
}
