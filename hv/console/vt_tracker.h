/* SPDX-License-Identifier: MIT */
/*
 * What a guest that is alone on the console has done to the terminal. Its bytes pass as they are, so the terminal is
 * what the guest has made of it; before a line of ours it is brought back to a state in which that line is read.
 *
 * Text and line ends leave nothing to repair, and nothing is sent then: a log of such a guest has our lines bare. What
 * is not known to be harmless counts as harmful.
 */
#ifndef HV_CONSOLE_VT_TRACKER_H
#define HV_CONSOLE_VT_TRACKER_H

#include "hv/console/vt_output.h"

struct vt_tracker {
    bool unfinished; /* within a character, a sequence or a string */
    bool styled;     /* colours and the like */
    bool moved;      /* the cursor may be anywhere on the screen */
    bool modes;      /* a mode, a character set, margins, ... is not the usual one */
    bool strings;    /* a string may have changed colours of the palette */
};

/* The guest's next byte, after vt_parse() has said what it is. */
void vt_tracker_note(struct vt_tracker *tracker, const struct vt_parser *parser, enum vt_event event, uint8_t byte);

/* Nothing is known of the terminal. */
void vt_tracker_lose(struct vt_tracker *tracker);

/* What brings the terminal back, up to VT_REPAIR_BYTES_MAX bytes, but for the line end. False: nothing was needed. */
#define VT_REPAIR_BYTES_MAX 256u
bool vt_tracker_repair(struct vt_tracker *tracker, struct mux_output *output);

#endif
