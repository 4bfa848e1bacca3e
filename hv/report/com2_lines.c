/* SPDX-License-Identifier: MIT */
#include "hv/report/com2_lines.h"

#define FIRST_PRINTED ' '
#define LAST_PRINTED '~'

static const char *take_line(struct com2_lines *lines)
{
    lines->text[lines->length] = '\0';
    lines->length = 0;
    return lines->text;
}

const char *com2_lines_next(struct com2_lines *lines, struct byte_ring *ring)
{
    uint8_t byte;

    while (byte_ring_take(ring, &byte)) {
        if (byte == '\n') {
            return take_line(lines);
        }
        if (byte >= FIRST_PRINTED && byte <= LAST_PRINTED) {
            lines->text[lines->length++] = (char)byte;
        }
        if (lines->length == COM2_LINE_MAX) {
            return take_line(lines);
        }
    }
    return NULL;
}

const char *com2_lines_rest(struct com2_lines *lines)
{
    return lines->length != 0 ? take_line(lines) : NULL;
}
