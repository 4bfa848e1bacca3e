/* SPDX-License-Identifier: MIT */
/* See hv/dev/crtc.h. */
#include "hv/dev/crtc.h"

#include "hv/base/memory.h"
#include "hv/dev/timebase.h"

/* "Input Status Register 1": the display is off, and the vertical retrace. */
#define STATUS_CHANGES 0x09u

void crtc_reset(struct crtc *crtc)
{
    memset(crtc, 0, sizeof(*crtc));
    crtc->signals.deadline = DEADLINE_NONE;
}

uint8_t crtc_read(struct crtc *crtc, uint16_t port)
{
    switch (port) {
    case CRTC_INDEX:
        return crtc->index;
    case CRTC_DATA:
        return crtc->registers[crtc->index];
    default:
        crtc->status ^= STATUS_CHANGES;
        return crtc->status;
    }
}

/* Of the index register five bits exist. The status port's address is for another register when written. */
void crtc_write(struct crtc *crtc, uint16_t port, uint8_t value)
{
    if (port == CRTC_INDEX) {
        crtc->index = value & (CRTC_REGISTERS - 1);
    } else if (port == CRTC_DATA) {
        crtc->registers[crtc->index] = value;
    }
}

uint32_t crtc_row_text(const uint8_t cells[TEXT_ROW_BYTES], char text[TEXT_COLUMNS + 1])
{
    uint32_t length = 0;

    for (uint32_t i = 0; i < TEXT_COLUMNS; i++) {
        uint8_t character = cells[2 * i];
        bool visible = character > ' ' && character < 0x7f;

        text[i] = visible ? (char)character : ' ';
        length = visible ? i + 1 : length;
    }
    text[length] = '\0';
    return length;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = crtc_read(state, (uint16_t)access->at);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    crtc_write(state, (uint16_t)access->at, (uint8_t)access->value);
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)environment;
    (void)now;
    crtc_reset(state);
}

const struct bus_row crtc_row = {
    .name = "text display",
    BUS_RANGES(BUS_PORTS(CRTC_INDEX, 2), BUS_PORTS(CRTC_STATUS, 1)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    BUS_STATE(struct crtc, signals),
};
