/* SPDX-License-Identifier: MIT */
/*
 * What a guest writes to its second serial port, in lines for the log. Only what can be printed is kept, so no line can
 * pass for another one.
 */
#ifndef HV_REPORT_COM2_LINES_H
#define HV_REPORT_COM2_LINES_H

#include "hv/base/byte_ring.h"

#define COM2_LINE_MAX 160u /* characters; a longer line becomes several */

struct com2_lines {
    char text[COM2_LINE_MAX + 1];
    uint32_t length;
};

/* Takes bytes from the ring until there is a line; NULL: there is none yet. Valid until the next call. */
const char *com2_lines_next(struct com2_lines *lines, struct byte_ring *ring);

/* The guest has ended: what there is of a line; NULL: nothing. */
const char *com2_lines_rest(struct com2_lines *lines);

#endif
