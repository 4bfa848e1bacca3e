/* See hv/dev/crtc.h. */
#include "hv/dev/crtc.h"

#include "hv/base/memory.h"

/* "Input Status Register 1": the display is off, and the vertical retrace. */
#define STATUS_CHANGES 0x09u

void crtc_reset(struct crtc *crtc)
{
    memset(crtc, 0, sizeof(*crtc));
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
