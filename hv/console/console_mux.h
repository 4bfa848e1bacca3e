/* SPDX-License-Identifier: MIT */
/*
 * Which byte goes where: many guests and the hypervisor share one console. Pure: bytes come from the guests' rings and
 * the keyboard, and go into a struct mux_output that the caller empties into its devices.
 *
 *   a guest's ring -> vt_parser -+-> console_line --+-> prefix, line, line end ---+-> output
 *                                +-> console_page --+-> changed places -----------+
 *                                                       (the focused guest only)
 *
 * Output of several console guests. Nothing of theirs passes as it came: it is taken apart, kept as a line or a page of
 * characters with styles, and put together anew. Each line begins with "[name] ", and two sources never share one. The
 * guest with the focus is interactive: what it writes of its line is shown at once. Another guest's line is shown when
 * it is complete, or when nothing was added for MUX_PARTIAL_US. Where something else must be said in the middle of the
 * focused guest's line (a shell's prompt), that line is ended, the other is printed, and when the guest goes on
 * writing, or after MUX_PARTIAL_US, its line is shown again. So whatever came between and wherever the focus is: a line
 * that is complete, and not longer than LINE_CELLS, stands whole in a row of its own.
 *
 * A full-screen program of the focused guest draws on a page, which is shown on the terminal's alternate screen. The
 * lines of the others and of the hypervisor belong to the main screen: for them the page is left, and shown again after
 * MUX_PARTIAL_US, or as soon as a key is typed. So nothing that was said can be written over.
 *
 * Output of one console guest passes as it is, so that every program works; what it does to the terminal is followed
 * (vt_tracker.h), and repaired before a line of the hypervisor.
 *
 * The room of the output is shared: each source has its turn of MUX_TURN_BYTES, one after the other, and the next call
 * goes on where this one ended.
 *
 * Input goes to the guest with the focus, unless Ctrl-] comes before it: then a key is for the hypervisor (`?` lists
 * them). When the focused guest stops, the focus moves on by itself.
 */
#ifndef HV_CONSOLE_CONSOLE_MUX_H
#define HV_CONSOLE_CONSOLE_MUX_H

#include "hv/base/byte_ring.h"
#include "hv/base/limits.h"
#include "hv/base/types.h"
#include "hv/console/console_history.h"
#include "hv/console/console_line.h"
#include "hv/console/console_page.h"
#include "hv/console/vt_output.h"
#include "hv/console/vt_tracker.h"

#define MUX_SOURCES_MAX GUESTS_MAX
#define MUX_NAME_MAX 15u
#define MUX_NONE 0xffffffffu
#define MUX_PARTIAL_US 500000u
#define MUX_ESCAPE_KEY 0x1du /* Ctrl-] */
#define MUX_TURN_BYTES 256u  /* taken or shown of one source before the next one's turn */
#define MUX_PUMP_BYTES 8192u /* the same of all sources in one call */
#define MUX_SURE_BYTES 64u   /* that go on whatever the clock says: on a slow machine its time is over at once */
#define MUX_REASON_MAX 96u
#define MUX_REASON_LINES 100u /* what was printed longer ago is not the reason of an end */

/* The most that one step adds: the end of a line or page, and twice a prefix with a line, or a row of a page. */
#define MUX_STEP_MAX 2560u

struct mux_source {
    const char *name;
    struct byte_ring *out;     /* guest -> console */
    struct byte_ring *in;      /* console -> guest */
    struct console_page *page; /* NULL: it has none, its full-screen programs write lines */
    bool console;              /* takes part */
    bool running;
    bool muted;
    bool passed_over;    /* something of it was not sent, and it may be within a sequence */
    bool return_pending; /* a CR was read: it may belong to an LF */
    bool unshown;        /* something of the line is not on the console yet */
    bool graphics[2];    /* the character sets G0 and G1: line drawing. ECMA-35 */
    bool shifted;        /* G1 is in use */
    bool page_ended;     /* its rows from page_row on are still to be shown as lines... */
    uint32_t page_row;
    enum vt_event after_page; /* ...and then this event is to be taken; `parser` has it */
    uint64_t touched;         /* TSC of the last byte added to an incomplete line */
    struct vt_parser parser;
    struct vt_style style;
    struct console_line line;
    struct console_history history;
    char reason[MUX_REASON_MAX]; /* what its kernel said of its panic; empty: nothing... */
    uint32_t reason_age;         /* ...and how many lines ago */
};

/* What a key asks of the caller. */
enum mux_command {
    MUX_NO_COMMAND,
    MUX_STATUS,
    MUX_START,
    MUX_STOP,
    MUX_KILL,
    MUX_RESTART,
    MUX_LINK, /* the cable of its network cards is pulled, or plugged in again */
    MUX_POWEROFF,
};

/* Lines that are shown again. */
struct mux_replay {
    bool active;
    const struct mux_source *source; /* NULL: the hypervisor */
    uint32_t left;                   /* complete lines still to be shown */
};

struct console_mux {
    struct mux_source *sources[MUX_SOURCES_MAX];
    uint32_t source_count;
    uint32_t console_count; /* sources with `console` */
    uint32_t focus;         /* MUX_NONE: no source. It may have stopped, or take no part, where a key chose it */
    bool focus_chosen;      /* by a key */
    uint32_t turn;          /* whose turn it is... */
    uint32_t turn_bytes;    /* ...and how much it has had */
    bool line_open;         /* the console's cursor stands in the focused guest's line */
    bool page_shown;        /* the terminal shows the focused guest's page */
    bool page_wanted;       /* a key was typed: the page is shown again now */
    bool hidden_waits;      /* the focused guest's line or page was interrupted, and waits to be shown again... */
    uint64_t hidden_since;  /* ...since this TSC */
    uint64_t rows_drawn;    /* of the page, a bit for each: the terminal shows nothing else there */
    uint64_t rows_forged;   /* those that look like a line of ours, and are marked */
    bool cursor_hidden;     /* what the terminal has of the page's modes */
    bool application_keys;
    uint32_t cursor_row, cursor_column; /* where the terminal's cursor is in the page */
    bool solo;                          /* only the focused guest is shown */
    struct vt_tracker tracker;
    bool escape;              /* the escape key was typed */
    bool poweroff_asked;      /* once: the next such key means it */
    enum mux_command command; /* the caller carries it out and clears it */
    uint32_t command_source;  /* the guest that it is for */
    uint64_t input_lost;      /* typed bytes that found a full ring */
    struct mux_replay replay;
    struct console_history history; /* of the hypervisor's own lines */
};
_Static_assert(PAGE_ROWS <= 64, "a bit for each row");

void mux_init(struct console_mux *mux);

/* Adds a source; the first one with `console` gets the focus. `source` is all zeroes but for name, out, in, page and
 * console. False where there is no room. */
bool mux_add(struct console_mux *mux, struct mux_source *source);

/* Tells that a guest stopped or was started again; the focus leaves a guest that stopped. */
void mux_set_running(struct console_mux *mux, uint32_t source, bool running, struct mux_output *output);

/* The guest has ended, and all that it wrote has been taken: its last line is a whole one even where it did not end it,
 * and nothing that the guest writes after a new start is a part of it. `output` has room for MUX_STEP_MAX bytes. */
void mux_end_guest(struct console_mux *mux, uint32_t source, struct mux_output *output);

/* Moves what the guests wrote, as long as the output has room for another step. `partial_ticks` is MUX_PARTIAL_US in
 * ticks of `now`. */
void mux_pump(struct console_mux *mux, uint64_t now, uint64_t partial_ticks, struct mux_output *output);

/* The hypervisor's own line, without its line end: ASCII. It begins at the left end of a line on a terminal that shows
 * it. Needs MUX_STEP_MAX bytes of room beyond the text. */
void mux_say(struct console_mux *mux, const char *text, struct mux_output *output);

/* The same, and it is not kept among the hypervisor's last lines: it is about them. */
void mux_say_again(struct console_mux *mux, const char *text, struct mux_output *output);

/* Nothing is known of what the terminal shows: bytes were lost, or we are broken. */
void mux_lose_terminal(struct console_mux *mux);

/* One typed byte. True where it went into the focused guest's ring. */
bool mux_type(struct console_mux *mux, uint8_t byte, struct mux_output *output);

/* A byte waits in some ring of a console guest, or a line to be shown again; or an incomplete line or a page waits. */
bool mux_has_bytes(const struct console_mux *mux);
bool mux_has_partial(const struct console_mux *mux);

/* Leaves the focused guest's line or page: it is shown, and may be shown again when there is more of it. */
void mux_leave_line(struct console_mux *mux, struct mux_output *output);

/* The same for good: what comes is another line. */
void mux_end_line(struct console_mux *mux, struct mux_output *output);

/* What the source has printed as the reason of a panic, a few lines ago; an empty text: nothing. */
const char *mux_panic_reason(const struct mux_source *source);

/* Moves the focus. With several guests, or one that is not the console's, it is said. */
void mux_focus(struct console_mux *mux, uint32_t source, struct mux_output *output);

/* The source that has the focus, or NULL. */
static inline struct mux_source *mux_focused(const struct console_mux *mux)
{
    return mux->focus == MUX_NONE ? NULL : mux->sources[mux->focus];
}

/* The next running console guest after the focused one, which may be itself; MUX_NONE where none runs. */
uint32_t mux_next_running(const struct console_mux *mux);

#endif
