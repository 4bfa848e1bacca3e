/* SPDX-License-Identifier: MIT */
/*
 * The last lines of a source, as text: to be shown again, and to be looked into. A ring; the oldest lines go first.
 */
#ifndef HV_CONSOLE_CONSOLE_HISTORY_H
#define HV_CONSOLE_CONSOLE_HISTORY_H

#include "hv/base/types.h"

#define HISTORY_BYTES 4096u
#define HISTORY_LINES 20u /* that are shown again */
#define HISTORY_LINE_MAX 256u

struct console_history {
    uint64_t written; /* bytes ever */
    char bytes[HISTORY_BYTES];
};

/* `length` characters without a line end; what is beyond HISTORY_LINE_MAX - 1 of them is cut. */
void history_add(struct console_history *history, const char *line, uint32_t length);

/* The line that `before` lines follow, the last one for 0; false where it is not kept. `to` has HISTORY_LINE_MAX
 * bytes. */
bool history_line(const struct console_history *history, uint32_t before, char *to);

#endif
