/* SPDX-License-Identifier: MIT */
/*
 * What the terminal shows of the focused guest: its open line, or its page. Only console_mux.c calls this.
 */
#ifndef HV_CONSOLE_CONSOLE_SHOW_H
#define HV_CONSOLE_CONSOLE_SHOW_H

#include "hv/console/console_mux.h"

/* Guests' bytes pass as they are. */
static inline bool mux_is_single(const struct console_mux *mux)
{
    return mux->console_count <= 1;
}

/* "[name] ", where there are several. */
void show_prefix(const struct console_mux *mux, const char *name, struct mux_output *output);

/* The focused guest's open line or page gives way: what follows begins a line of its own. Nothing is forgotten. */
void show_close(struct console_mux *mux, struct mux_output *output);

/* The focused guest's line as far as it is written, where it is not shown. */
void show_line(struct console_mux *mux, struct mux_output *output);

/* Its page, where it is not shown; rows follow in show_page_row(). */
void show_page(struct console_mux *mux, struct mux_output *output);

/* Draws one row of the page that has changed, or puts the cursor in its place; false where all is drawn. */
bool show_page_step(struct console_mux *mux, struct mux_output *output);

/* The page has something that the terminal does not show. */
bool show_page_waits(const struct console_mux *mux);

/* The focused guest's line has changed: the terminal follows. Only with several guests. */
void show_change(struct console_mux *mux, const struct line_effect *effect, struct mux_output *output);

#endif
