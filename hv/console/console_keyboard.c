/* SPDX-License-Identifier: MIT */
#include "hv/console/console_keyboard.h"

#include "hv/base/clock.h"
#include "hv/console/console_time.h"
#include "hv/x86/insn.h"

/* Ports, status bits and commands of the controller. PS/2 Technical Reference, as in the header. */
#define PORT_DATA 0x60u
#define PORT_COMMAND 0x64u /* read: status */
#define STATUS_OUTPUT_FULL (1u << 0)
#define STATUS_INPUT_FULL (1u << 1)
#define STATUS_MOUSE (1u << 5) /* what waits is of the mouse */
#define STATUS_ABSENT 0xffu
#define COMMAND_READ_CONFIG 0x20u
#define COMMAND_WRITE_CONFIG 0x60u
#define COMMAND_MOUSE_OFF 0xa7u
#define COMMAND_KEYBOARD_OFF 0xadu
#define COMMAND_KEYBOARD_ON 0xaeu
#define CONFIG_INTERRUPTS 0x03u /* of the keyboard and the mouse */
#define CONFIG_KEYBOARD_OFF (1u << 4)
#define CONFIG_MOUSE_OFF (1u << 5)
#define CONFIG_TRANSLATE (1u << 6) /* set 2, which keyboards send, becomes set 1 */
#define KEYBOARD_ENABLE 0xf4u      /* begins to send codes */
#define KEYBOARD_ACK 0xfau

#define ANSWER_US 25000u /* of the controller, or of the keyboard: 20 ms as its data sheet has it */
#define STALE_MAX 32u    /* bytes that wait when it is opened */
#define CODES_MAX 16u
#define ANSWERS_MAX 4u /* bytes in which the keyboard's answer is looked for */

/* Until the bits of the status are as wanted. False: never. */
static bool wait_status(uint8_t mask, uint8_t wanted)
{
    uint64_t began = insn_rdtsc();

    while ((insn_in8(PORT_COMMAND) & mask) != wanted) {
        if (clock_ticks_since(insn_rdtsc(), began) > console_ticks_of_us(ANSWER_US)) {
            return false;
        }
        insn_pause();
    }
    return true;
}

static bool write_byte(uint16_t port, uint8_t value)
{
    if (!wait_status(STATUS_INPUT_FULL, 0)) {
        return false;
    }
    insn_out8(port, value);
    return true;
}

static bool read_byte(uint8_t *value)
{
    if (!wait_status(STATUS_OUTPUT_FULL, STATUS_OUTPUT_FULL)) {
        return false;
    }
    *value = insn_in8(PORT_DATA);
    return true;
}

static void drop_stale(void)
{
    for (uint32_t i = 0; i < STALE_MAX && (insn_in8(PORT_COMMAND) & STATUS_OUTPUT_FULL) != 0; i++) {
        (void)insn_in8(PORT_DATA);
    }
}

static bool set_up_controller(void)
{
    uint8_t config;

    if (insn_in8(PORT_COMMAND) == STATUS_ABSENT || !write_byte(PORT_COMMAND, COMMAND_KEYBOARD_OFF) ||
        !write_byte(PORT_COMMAND, COMMAND_MOUSE_OFF)) {
        return false;
    }
    drop_stale();
    if (!write_byte(PORT_COMMAND, COMMAND_READ_CONFIG) || !read_byte(&config)) {
        return false;
    }
    config = (uint8_t)((config & ~(CONFIG_INTERRUPTS | CONFIG_KEYBOARD_OFF)) | CONFIG_MOUSE_OFF | CONFIG_TRANSLATE);
    return write_byte(PORT_COMMAND, COMMAND_WRITE_CONFIG) && write_byte(PORT_DATA, config) &&
           write_byte(PORT_COMMAND, COMMAND_KEYBOARD_ON);
}

/* A key that is pressed meanwhile may come before the answer. */
static bool keyboard_answers(void)
{
    uint8_t answer = 0;

    if (!write_byte(PORT_DATA, KEYBOARD_ENABLE)) {
        return false;
    }
    for (uint32_t i = 0; i < ANSWERS_MAX && answer != KEYBOARD_ACK; i++) {
        if (!read_byte(&answer)) {
            return false;
        }
    }
    return answer == KEYBOARD_ACK;
}

void keyboard_open(struct console_keyboard *keyboard)
{
    *keyboard = (struct console_keyboard){.alive = false};
    keyboard->alive = set_up_controller() && keyboard_answers();
}

static bool read_code(uint8_t *code)
{
    uint8_t status = insn_in8(PORT_COMMAND);

    if (status == STATUS_ABSENT || (status & STATUS_OUTPUT_FULL) == 0) {
        return false;
    }
    *code = insn_in8(PORT_DATA);
    return (status & STATUS_MOUSE) == 0;
}

bool keyboard_receive(struct console_keyboard *keyboard, uint8_t *byte)
{
    uint8_t code;

    for (uint32_t i = 0; keyboard->alive && i < CODES_MAX && keyboard->taken == keyboard->count; i++) {
        if (!read_code(&code)) {
            return false;
        }
        keyboard->count = keyboard_decode(&keyboard->codes, code, keyboard->bytes);
        keyboard->taken = 0;
    }
    if (keyboard->taken == keyboard->count) {
        return false;
    }
    *byte = keyboard->bytes[keyboard->taken++];
    return true;
}
