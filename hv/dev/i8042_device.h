/* SPDX-License-Identifier: MIT */
/*
 * A PS/2 keyboard or mouse that is plugged in and never touched: it acknowledges what a driver sends, answers its
 * questions and reports nothing of its own. Kernels that were developed in QEMU, where both are always there, wait for
 * the acknowledgement without an end.
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-Key)" and "Mouse".
 *
 * Pure: the controller in front of it (hv/dev/i8042.h) decides when an answer is taken.
 */
#ifndef HV_DEV_I8042_DEVICE_H
#define HV_DEV_I8042_DEVICE_H

#include "hv/base/types.h"

#define I8042_REPLY_MAX 4u /* the mouse's status: an acknowledgement and three bytes */

struct i8042_device {
    bool is_mouse;
    bool reports;    /* of the mouse: reporting is on */
    bool doubles;    /* of the mouse: scaling is 2:1 */
    uint8_t expects; /* command whose parameter comes next; 0: none */
    uint8_t last;    /* the last byte that was taken: 0xfe asks for it again */
    uint8_t codes;   /* of the keyboard: its set of codes, 1 to 3 */
    uint8_t rate;    /* of the mouse: reports a second */
    uint8_t resolution;
    uint8_t replies[I8042_REPLY_MAX];
    uint8_t count;
};

/* As after power-on, with nothing to say. */
void i8042_device_reset(struct i8042_device *device, bool is_mouse);

/* A byte from the driver; what waited to be taken is gone, as the lines' protocol has it. */
void i8042_device_write(struct i8042_device *device, uint8_t value);

/* The next byte of its answer. False: it has nothing to say, and *value is as before. */
bool i8042_device_take(struct i8042_device *device, uint8_t *value);

#endif
