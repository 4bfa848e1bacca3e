/* SPDX-License-Identifier: MIT */
/*
 * Which byte goes where: many guests and the hypervisor share one console. Pure: bytes come from the guests' rings and
 * the keyboard, and go into a struct mux_output that the caller empties into its devices.
 *
 * Output. The guest with the focus is interactive: its bytes pass at once. Another guest's bytes are collected until
 * the line is complete, or until nothing was added for MUX_PARTIAL_US. Where something else must be said in the middle
 * of the focused guest's line (a shell's prompt), that line is ended, the other is printed, and when the guest goes on
 * writing, or after MUX_PARTIAL_US, its line is printed again, as far as it fits into MUX_LINE_MAX. So two sources
 * never share a line. With one console guest nothing is prefixed and nothing is touched: full-screen programs work.
 *   With several, each line begins with "[name] ".
 *
 * Input goes to the guest with the focus. Ctrl-] is the escape key: then `n` moves the focus to the next running guest,
 * `s` asks for the status, `?` for help, and Ctrl-] itself sends one Ctrl-]. When the focused guest stops, the focus
 * moves on by itself.
 */
#ifndef HV_CONSOLE_CONSOLE_MUX_H
#define HV_CONSOLE_CONSOLE_MUX_H

#include "hv/base/byte_ring.h"
#include "hv/base/types.h"

#define MUX_SOURCES_MAX 32u
#define MUX_LINE_MAX 256u
#define MUX_NONE 0xffffffffu
#define MUX_PARTIAL_US 500000u
#define MUX_ESCAPE_KEY 0x1du /* Ctrl-] */

/* The most that one step adds: a line end, a prefix and a line, and the focused line again with its prefix. */
#define MUX_STEP_MAX 1280u

struct mux_output {
    char *bytes;
    uint32_t capacity;
    uint32_t length;
};

struct mux_source {
    const char *name;
    struct byte_ring *out; /* guest -> console */
    struct byte_ring *in;  /* console -> guest */
    bool console;          /* takes part */
    bool running;
    bool return_pending; /* a CR was read: it may belong to an LF */
    uint32_t length;     /* of `line`; may be MUX_LINE_MAX: the line is longer */
    uint64_t touched;    /* TSC of the last byte added to an incomplete line */
    char line[MUX_LINE_MAX];
};

struct console_mux {
    struct mux_source sources[MUX_SOURCES_MAX];
    uint32_t source_count;
    uint32_t console_count; /* sources with `console` */
    uint32_t focus;         /* MUX_NONE: nobody */
    bool line_open;         /* the console's cursor stands in the focused guest's line */
    bool line_waits;        /* the focused guest's line was interrupted, and waits to be shown again... */
    uint64_t waits_since;   /* ...since this TSC */
    bool escape;            /* the escape key was typed */
    bool status_wanted;     /* the caller prints the status and clears this */
    uint64_t input_lost;    /* typed bytes that found a full ring */
};

void mux_init(struct console_mux *mux);

/* Adds a source; the first one with `console` gets the focus. False where there is no room. */
bool mux_add(struct console_mux *mux, const char *name, bool console, struct byte_ring *out, struct byte_ring *in);

/* Tells that a guest stopped or was started again; the focus leaves a guest that stopped. */
void mux_set_running(struct console_mux *mux, uint32_t source, bool running, struct mux_output *output);

/* Moves what the guests wrote, as long as the output has room for another step. `partial_ticks` is MUX_PARTIAL_US in
 * ticks of `now`: so long an incomplete line waits, of another guest to be shown, of the focused one, which was
 * interrupted, to be shown again. */
void mux_pump(struct console_mux *mux, uint64_t now, uint64_t partial_ticks, struct mux_output *output);

/* The hypervisor's own line, without its line end. Needs MUX_STEP_MAX bytes of room beyond the text. */
void mux_say(struct console_mux *mux, const char *text, struct mux_output *output);

/* One typed byte. True where it went into the focused guest's ring. */
bool mux_type(struct console_mux *mux, uint8_t byte, struct mux_output *output);

/* A byte waits in some ring of a console guest; or an incomplete line waits to be shown, or shown again. */
bool mux_has_bytes(const struct console_mux *mux);
bool mux_has_partial(const struct console_mux *mux);

/* Ends the focused guest's line for good: it was shown, and is not shown again. */
void mux_end_line(struct console_mux *mux, struct mux_output *output);

#endif
