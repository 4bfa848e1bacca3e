/* SPDX-License-Identifier: MIT */
/*
 * What is sent to the terminals behind the consoles. Nothing of a guest is passed on as it came: characters and styles
 * are put together anew here, so a terminal gets these sequences and no others
 *
 *   CSI ... m            a style                         CR LF BS TAB        within lines
 *   CSI row ; column H   within a page                   CSI K               to the end of the line
 *   CSI n C, CSI n D     within a line                   CSI ? ... h, l      a page begins or ends
 */
#ifndef HV_CONSOLE_VT_OUTPUT_H
#define HV_CONSOLE_VT_OUTPUT_H

#include "hv/console/vt_cell.h"

struct mux_output {
    char *bytes;
    uint32_t capacity; /* bytes beyond are dropped: callers look for room first */
    uint32_t length;
    uint64_t until;        /* host TSC: nothing more is taken of guests; 0: no end */
    struct vt_style style; /* that the terminal has now */
};

/* Most bytes that the cells of one line take; colours that would make them more are left out. */
#define VT_CELLS_BYTES_MAX 1024u
#define VT_CHARACTER_BYTES_MAX 3u /* UTF-8, up to U+FFFF */

void output_byte(struct mux_output *output, char byte);
void output_text(struct mux_output *output, const char *text);

/* CSI number, final. */
void output_control(struct mux_output *output, uint32_t number, char final);

/* Counted from 1. */
void output_move(struct mux_output *output, uint32_t row, uint32_t column);

void output_style(struct mux_output *output, struct vt_style style);
void output_plain(struct mux_output *output);

/* At most VT_CELLS_BYTES_MAX bytes for up to VT_CELLS_BYTES_MAX / VT_CHARACTER_BYTES_MAX cells. */
void output_cells(struct mux_output *output, const struct vt_cell *cells, uint32_t count);

#endif
