/* SPDX-License-Identifier: MIT */
#include "hv/console/console_history.h"

#include "hv/base/memory.h"

static void put(struct console_history *history, const char *bytes, uint32_t count)
{
    uint32_t at = (uint32_t)(history->written % HISTORY_BYTES);
    uint32_t piece = (uint32_t)min_u64(count, HISTORY_BYTES - at);

    memcpy(&history->bytes[at], bytes, piece);
    memcpy(history->bytes, bytes + piece, count - piece);
    history->written += count;
}

void history_add(struct console_history *history, const char *line, uint32_t length)
{
    put(history, line, (uint32_t)min_u64(length, HISTORY_LINE_MAX - 1));
    put(history, "\n", 1);
}

static char byte_before(const struct console_history *history, uint32_t distance)
{
    return history->bytes[(history->written - distance) % HISTORY_BYTES];
}

bool history_line(const struct console_history *history, uint32_t before, char *to)
{
    uint32_t kept = (uint32_t)min_u64(history->written, HISTORY_BYTES);
    uint32_t ends = 0;
    uint32_t end = 0; /* how far before the ring's head the line's end is; 0: not found yet */
    uint32_t length = 0;

    for (uint32_t distance = 1; distance <= kept; distance++) {
        if (byte_before(history, distance) != '\n') {
            continue;
        }
        if (end != 0) {
            kept = distance - 1; /* the end of the line before it */
            break;
        }
        end = ends++ == before ? distance : 0;
    }
    if (end == 0 || (kept == HISTORY_BYTES && history->written != HISTORY_BYTES)) {
        return false; /* its beginning is gone */
    }
    for (uint32_t distance = kept; distance > end && length < HISTORY_LINE_MAX - 1; distance--) {
        to[length++] = byte_before(history, distance);
    }
    to[length] = '\0';
    return true;
}
