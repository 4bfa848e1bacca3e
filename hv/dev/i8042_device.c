/* SPDX-License-Identifier: MIT */
/* See hv/dev/i8042_device.h. */
#include "hv/dev/i8042_device.h"

#include "hv/base/memory.h"

#define REPLY_ACKNOWLEDGE 0xfau
#define REPLY_AGAIN 0xfeu
#define REPLY_TEST_PASSED 0xaau
#define REPLY_ECHO 0xeeu
#define KEYBOARD_ID_LOW 0xabu
#define KEYBOARD_ID_HIGH 0x83u
#define KEYBOARD_CODES 2u
#define MOUSE_ID 0x00u
#define MOUSE_REPORT_STILL 0x08u /* no button, no movement; the bit is always 1 */
#define MOUSE_STATUS_REPORTS 0x20u
#define MOUSE_STATUS_DOUBLES 0x10u
#define MOUSE_RATE 100u
#define MOUSE_RESOLUTION 2u

/* Of both. */
#define COMMAND_IDENTIFY 0xf2u
#define COMMAND_RATE 0xf3u /* of codes while a key is held, of the mouse's reports */
#define COMMAND_ENABLE 0xf4u
#define COMMAND_DISABLE 0xf5u
#define COMMAND_DEFAULTS 0xf6u
#define COMMAND_AGAIN 0xfeu
#define COMMAND_RESET 0xffu

/* The keyboard's. */
#define COMMAND_LAMPS 0xedu
#define COMMAND_ECHO 0xeeu
#define COMMAND_CODES 0xf0u
#define COMMAND_ALL_KEYS_FIRST 0xf7u /* to 0xfa: what every key does */
#define COMMAND_ALL_KEYS_LAST 0xfau
#define COMMAND_KEYS_FIRST 0xfbu /* to 0xfd: what single keys do, whose codes follow */
#define COMMAND_KEYS_LAST 0xfdu

/* The mouse's. */
#define COMMAND_SINGLE 0xe6u
#define COMMAND_DOUBLE 0xe7u
#define COMMAND_RESOLUTION 0xe8u
#define COMMAND_STATUS 0xe9u
#define COMMAND_REPORT 0xebu /* 0xea and 0xec only end modes that it is never in */
#define COMMAND_UNWRAP 0xecu
#define COMMAND_REMOTE 0xf0u

static void say(struct i8042_device *device, uint8_t value)
{
    if (device->count < I8042_REPLY_MAX) {
        device->replies[device->count++] = value;
    }
}

static void set_defaults(struct i8042_device *device)
{
    device->reports = false;
    device->doubles = false;
    device->codes = KEYBOARD_CODES;
    device->rate = MOUSE_RATE;
    device->resolution = MOUSE_RESOLUTION;
}

void i8042_device_reset(struct i8042_device *device, bool is_mouse)
{
    memset(device, 0, sizeof(*device));
    device->is_mouse = is_mouse;
    set_defaults(device);
}

bool i8042_device_take(struct i8042_device *device, uint8_t *value)
{
    if (device->count == 0) {
        return false;
    }
    device->last = device->replies[0];
    *value = device->last;
    device->count--;
    for (unsigned i = 0; i < device->count; i++) {
        device->replies[i] = device->replies[i + 1];
    }
    return true;
}

/* What both know. False: the command is one's own. */
static bool write_common(struct i8042_device *device, uint8_t command)
{
    switch (command) {
    case COMMAND_RATE:
        device->expects = command;
        break;
    case COMMAND_ENABLE:
        device->reports = true;
        break;
    case COMMAND_DISABLE:
        device->reports = false;
        break;
    case COMMAND_DEFAULTS:
    case COMMAND_RESET:
        set_defaults(device);
        break;
    case COMMAND_AGAIN:
        say(device, device->last);
        return true;
    default:
        return false;
    }
    say(device, REPLY_ACKNOWLEDGE);
    if (command == COMMAND_RESET) {
        say(device, REPLY_TEST_PASSED);
        if (device->is_mouse) {
            say(device, MOUSE_ID);
        }
    }
    return true;
}

static void write_keyboard(struct i8042_device *keyboard, uint8_t command)
{
    if (command == COMMAND_ECHO) {
        say(keyboard, REPLY_ECHO);
    } else if (command == COMMAND_IDENTIFY) {
        say(keyboard, REPLY_ACKNOWLEDGE);
        say(keyboard, KEYBOARD_ID_LOW);
        say(keyboard, KEYBOARD_ID_HIGH);
    } else if (command == COMMAND_LAMPS || command == COMMAND_CODES ||
               (command >= COMMAND_KEYS_FIRST && command <= COMMAND_KEYS_LAST)) {
        keyboard->expects = command;
        say(keyboard, REPLY_ACKNOWLEDGE);
    } else {
        bool known = command >= COMMAND_ALL_KEYS_FIRST && command <= COMMAND_ALL_KEYS_LAST;

        say(keyboard, known ? REPLY_ACKNOWLEDGE : REPLY_AGAIN);
    }
}

static void say_status(struct i8042_device *mouse)
{
    uint32_t status = (mouse->reports ? MOUSE_STATUS_REPORTS : 0) | (mouse->doubles ? MOUSE_STATUS_DOUBLES : 0);

    say(mouse, (uint8_t)status);
    say(mouse, mouse->resolution);
    say(mouse, mouse->rate);
}

static void write_mouse(struct i8042_device *mouse, uint8_t command)
{
    bool known = command >= COMMAND_SINGLE && command <= COMMAND_UNWRAP;

    say(mouse, known || command == COMMAND_REMOTE || command == COMMAND_IDENTIFY ? REPLY_ACKNOWLEDGE : REPLY_AGAIN);
    switch (command) {
    case COMMAND_SINGLE:
    case COMMAND_DOUBLE:
        mouse->doubles = command == COMMAND_DOUBLE;
        break;
    case COMMAND_RESOLUTION:
        mouse->expects = command;
        break;
    case COMMAND_STATUS:
        say_status(mouse);
        break;
    case COMMAND_REPORT:
        say(mouse, MOUSE_REPORT_STILL);
        say(mouse, 0);
        say(mouse, 0);
        break;
    case COMMAND_IDENTIFY:
        say(mouse, MOUSE_ID);
        break;
    default:
        break;
    }
}

/* Set 0 of the keyboard's codes is a question. */
static void write_parameter(struct i8042_device *device, uint8_t command, uint8_t value)
{
    say(device, REPLY_ACKNOWLEDGE);
    if (device->is_mouse) {
        *(command == COMMAND_RATE ? &device->rate : &device->resolution) = value;
    } else if (command == COMMAND_CODES && value == 0) {
        say(device, device->codes);
    } else if (command == COMMAND_CODES && value <= 3) {
        device->codes = value;
    }
}

/* A keyboard takes a command in the place of a parameter for a command. */
void i8042_device_write(struct i8042_device *device, uint8_t value)
{
    uint8_t command = device->expects;

    device->count = 0;
    device->expects = 0;
    if (command != 0 && (device->is_mouse || value < COMMAND_LAMPS)) {
        write_parameter(device, command, value);
    } else if (!write_common(device, value)) {
        if (device->is_mouse) {
            write_mouse(device, value);
        } else {
            write_keyboard(device, value);
        }
    }
}
