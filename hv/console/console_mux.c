/* SPDX-License-Identifier: MIT */
#include "hv/console/console_mux.h"

#include "hv/base/clock.h"
#include "hv/base/format.h"
#include "hv/base/memory.h"
#include "hv/console/console_show.h"

#define NOTICE_MAX 160u
#define MUX_RUN_BYTES 32u                        /* passed on between two looks at the clock */
#define MUX_LINE_TURN_BYTES (3 * MUX_TURN_BYTES) /* until its line's end, as far as a line is kept */

static bool has_room(const struct mux_output *output)
{
    return output->capacity - output->length >= MUX_STEP_MAX;
}

/* How many steps of a byte each find room, where it has some. */
static uint32_t steps_in_room(const struct mux_output *output)
{
    return output->capacity - output->length - MUX_STEP_MAX + 1;
}

/* The time of this call: a byte's price is the guest's choice (a line feed scrolls the screen). */
static bool is_over(const struct mux_output *output)
{
    return output->until != 0 && clock_now() >= output->until;
}

static bool has_focus(const struct console_mux *mux, const struct mux_source *source)
{
    return source == mux_focused(mux);
}

/* Neither muted, nor left out because only the focused guest is wanted. */
static bool is_shown(const struct console_mux *mux, const struct mux_source *source)
{
    return !source->muted && (!mux->solo || has_focus(mux, source));
}

static bool has_page(const struct mux_source *source)
{
    return source->page != NULL && source->page->open;
}

/* --- Lines --- */

/* What kernels write before the reason of their panic: Linux in panic(), the BSDs in panic(9); with what stands before
 * the word itself. */
static const struct reason_sign {
    const char *text;
    uint32_t before;
} reason_signs[] = {{"Kernel panic - not syncing: ", 7}, {"panic: ", 0}};

#define EIGHT_TIMES(byte) ((byte)*0x0101010101010101ULL)

/* Is the character one of the eight? A byte is 0 where subtracting 1 borrows, and its own highest bit was 0. */
static bool is_among_eight(const char *eight, char character)
{
    uint64_t word;

    memcpy(&word, eight, sizeof(word));
    word ^= EIGHT_TIMES((uint8_t)character);
    return ((word - EIGHT_TIMES(1)) & ~word & EIGHT_TIMES(0x80)) != 0;
}

/* Where the word of a sign may begin at text[at]. */
static const char *reason_at(const char *text, uint32_t at)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(reason_signs); i++) {
        const struct reason_sign *sign = &reason_signs[i];
        const char *begin = &text[at >= sign->before ? at - sign->before : at];
        uint32_t length = 0;

        while (sign->text[length] != '\0' && begin[length] == sign->text[length]) {
            length++;
        }
        if (sign->text[length] == '\0') {
            return begin + length;
        }
    }
    return NULL;
}

/* Each line is looked through: eight characters at once. */
static const char *reason_in(const char *text, uint32_t length)
{
    const char *reason = NULL;

    for (uint32_t i = 0; i < length && reason == NULL; i++) {
        if (i % 8 == 0 && length - i >= 8 && !is_among_eight(text + i, 'p')) {
            i += 7;
        } else if (text[i] == 'p') {
            reason = reason_at(text, i);
        }
    }
    return reason;
}

static inline bool is_plain(const struct vt_cell *cell)
{
    return (uint32_t)cell->character - ' ' < 0x7fu - ' ';
}

/* Its length. Nearly all lines are plain from end to end: that loop is all they are charged for. */
static uint32_t line_text(const struct console_line *line, char text[HISTORY_LINE_MAX])
{
    uint32_t most = line->length < HISTORY_LINE_MAX - 1 ? line->length : HISTORY_LINE_MAX - 1;
    const struct vt_cell *end = &line->cells[line->length];
    const struct vt_cell *cell;
    char *last = &text[HISTORY_LINE_MAX - 1];
    char *to;
    uint32_t plain = 0;

    for (; plain < most && is_plain(&line->cells[plain]); plain++) {
        text[plain] = (char)line->cells[plain].character;
    }
    to = &text[plain];
    for (cell = &line->cells[plain]; cell < end && to < last; cell++) {
        if (is_plain(cell)) {
            *to++ = (char)cell->character;
        } else if (cell->character != 0) {
            *to++ = cell->character == VT_TAB ? ' ' : VT_UNKNOWN_CHARACTER;
        }
    }
    *to = '\0';
    return (uint32_t)(to - text);
}

/* Keeps the text of a line that is complete. */
static void remember(struct mux_source *source)
{
    char text[HISTORY_LINE_MAX];
    uint32_t length = line_text(&source->line, text);
    const char *reason = reason_in(text, length);

    history_add(&source->history, text, length);
    source->reason_age++;
    if (reason != NULL && (source->reason[0] == '\0' || source->reason_age > MUX_REASON_LINES)) {
        (void)format_text(source->reason, sizeof(source->reason), "%s", reason);
        source->reason_age = 0;
    }
}

static void forget_line(struct mux_source *source)
{
    line_clear(&source->line);
    source->return_pending = false;
    source->unshown = false;
}

/* The line as it stands, in a row of its own. It is kept: when it is complete, the whole of it is shown. */
static void show_row(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (is_shown(mux, source)) {
        show_close(mux, output);
        show_prefix(mux, source->name, output);
        output_cells(output, source->line.cells, source->line.length);
        output_plain(output);
        output_text(output, "\r\n");
    }
    source->unshown = false;
}

/* Another guest's complete line, unless all of it was shown when it was not. */
static void flush_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (source->unshown || source->line.length == 0) {
        show_row(mux, source, output);
    }
    remember(source);
    forget_line(source);
}

/* The focused guest's; with several a bare LF begins a line at the left. */
static void end_shown_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    bool at_left = mux->line_open && source->return_pending;

    if (is_shown(mux, source)) {
        show_line(mux, output);
        output_plain(output);
        output_text(output, at_left ? "\n" : "\r\n");
    }
    remember(source);
    forget_line(source);
    mux->line_open = false;
}

static void end_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (has_focus(mux, source)) {
        end_shown_line(mux, source, output);
    } else {
        flush_line(mux, source, output);
    }
}

/* After a lone CR the line is written anew from its left end, the prefix included. */
static void resume_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    bool shown = has_focus(mux, source) && is_shown(mux, source);

    if (shown) {
        show_line(mux, output);
    }
    if (source->return_pending) {
        source->return_pending = false;
        source->line.cursor = 0;
        if (shown) {
            show_prefix(mux, source->name, output);
        }
    }
}

static void take_return(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (has_focus(mux, source) && is_shown(mux, source)) {
        show_line(mux, output);
        output_byte(output, '\r');
    }
    source->return_pending = true;
}

/* The character as it is shown, in the present set. */
static uint16_t character_of(const struct mux_source *source)
{
    uint32_t character = source->parser.character;

    character = source->graphics[source->shifted ? 1 : 0] ? vt_graphic(character) : character;
    return vt_columns(character) != 0 ? (uint16_t)character : VT_UNKNOWN_CHARACTER;
}

static struct line_effect change_line(struct mux_source *source, enum vt_event event)
{
    const struct line_effect same = {.change = LINE_SAME};

    switch (event) {
    case VT_PRINT:
        return line_print(&source->line, (struct vt_cell){.character = character_of(source), .style = source->style});
    case VT_CONTROL:
        if (source->parser.character == VT_TAB) {
            return line_tab(&source->line);
        }
        return source->parser.character == VT_BS ? line_backspace(&source->line) : same;
    case VT_CSI:
        return line_control(&source->line, &source->parser);
    case VT_NOTHING:
    case VT_ESCAPE:
        break;
    }
    return same;
}

static bool is_style(const struct mux_source *source, enum vt_event event)
{
    return event == VT_CSI && source->parser.final == 'm' && source->parser.marker == 0 &&
           source->parser.intermediate == 0;
}

/* What a whole screen's sequences mean in a line: the next text is a line of its own. */
static bool breaks_line(const struct mux_source *source, enum vt_event event)
{
    bool alternate;

    return page_is_wanted(event, &source->parser, &alternate) ||
           (event == VT_ESCAPE && source->parser.intermediate == 0 && source->parser.final == 'c');
}

static void take_line_event(struct console_mux *mux, struct mux_source *source, enum vt_event event, uint64_t now,
                            struct mux_output *output)
{
    struct line_effect effect;

    if (event == VT_CONTROL && source->parser.character == VT_LF) {
        end_line(mux, source, output);
        return;
    }
    if (event == VT_CONTROL && source->parser.character == VT_CR) {
        take_return(mux, source, output);
        return;
    }
    if (is_style(source, event)) {
        vt_style_change(&source->style, &source->parser);
        return;
    }
    if (breaks_line(source, event)) {
        if (source->line.length != 0) {
            end_line(mux, source, output);
        }
        return;
    }
    if (event == VT_PRINT && !has_focus(mux, source) && source->line.cursor == LINE_CELLS) {
        flush_line(mux, source, output);
    }
    if (source->return_pending && event != VT_ESCAPE) {
        resume_line(mux, source, output);
    }
    if (event == VT_PRINT) {
        resume_line(mux, source, output);
    }
    effect = change_line(source, event);
    if (mux->line_open && has_focus(mux, source) && is_shown(mux, source)) {
        show_change(mux, &effect, output);
    } else if (effect.change != LINE_SAME) {
        source->unshown = true;
    }
    if (effect.change != LINE_SAME) {
        source->touched = now;
    }
}

/* --- Pages --- */

static bool is_character_set(const struct mux_source *source, enum vt_event event)
{
    return (event == VT_ESCAPE && (source->parser.intermediate == '(' || source->parser.intermediate == ')')) ||
           (event == VT_CONTROL && (source->parser.character == VT_SO || source->parser.character == VT_SI));
}

/* Only the designations that programs use: line drawing, and anything else as the usual one. */
static void take_character_set(struct mux_source *source, enum vt_event event)
{
    if (event == VT_CONTROL) {
        source->shifted = source->parser.character == VT_SO;
    } else {
        source->graphics[source->parser.intermediate == ')' ? 1 : 0] = source->parser.final == '0';
    }
}

/* The rows become lines; what the program does next is taken when they are shown. */
static void end_page(struct console_mux *mux, struct mux_source *source, enum vt_event next, struct mux_output *output)
{
    if (has_focus(mux, source)) {
        show_close(mux, output);
    }
    source->style = source->page->cursor.style;
    source->page_ended = !source->page->alternate;
    source->page_row = 0;
    source->page->open = source->page_ended;
    source->after_page = next;
}

static void take_event(struct console_mux *mux, struct mux_source *source, enum vt_event event, uint64_t now,
                       struct mux_output *output);

/* One row; false where there was none left. Blank ones are left out. */
static bool end_page_step(struct console_mux *mux, struct mux_source *source, uint64_t now, struct mux_output *output)
{
    struct console_page *page = source->page;

    while (source->page_row < PAGE_ROWS) {
        uint32_t row = source->page_row++;
        uint32_t length = page_row_length(page, row);

        if (length != 0) {
            memcpy(source->line.cells, page->cells[row], length * sizeof(struct vt_cell));
            source->line.length = length;
            source->unshown = true;
            flush_line(mux, source, output);
            return true;
        }
    }
    source->page_ended = false;
    page->open = false;
    if (source->after_page == VT_PRINT || source->after_page == VT_CSI) {
        take_event(mux, source, source->after_page, now, output);
    }
    source->after_page = VT_NOTHING;
    return false;
}

static void take_page_event(struct console_mux *mux, struct mux_source *source, enum vt_event event,
                            struct mux_output *output)
{
    if (event == VT_PRINT) {
        source->parser.character = character_of(source);
    }
    switch (page_take(source->page, event, &source->parser)) {
    case PAGE_STAYS:
        break;
    case PAGE_LEFT:
        end_page(mux, source, VT_NOTHING, output);
        break;
    case PAGE_SCROLLED:
        end_page(mux, source, event, output);
        break;
    }
}

/* Only the focused guest gets a page by moving its cursor: of the others every line is shown when it is complete. An
 * alternate page is one that the program closes, so any guest may have it. */
static bool opens_page(const struct console_mux *mux, const struct mux_source *source, enum vt_event event,
                       bool *alternate)
{
    return source->page != NULL && page_is_wanted(event, &source->parser, alternate) &&
           (*alternate || has_focus(mux, source));
}

static void take_event(struct console_mux *mux, struct mux_source *source, enum vt_event event, uint64_t now,
                       struct mux_output *output)
{
    bool alternate;

    if (is_character_set(source, event)) {
        take_character_set(source, event);
        return;
    }
    if (!has_page(source) && opens_page(mux, source, event, &alternate)) {
        if (source->line.length != 0) {
            end_line(mux, source, output);
        }
        forget_line(source);
        page_open(source->page, alternate, source->style);
        if (has_focus(mux, source) && is_shown(mux, source)) {
            show_page(mux, output);
        }
    }
    if (has_page(source) && !source->page->alternate && page_is_wanted(event, &source->parser, &alternate) &&
        alternate) {
        end_page(mux, source, event, output); /* its text stays as lines; then the alternate page is opened */
    } else if (has_page(source)) {
        take_page_event(mux, source, event, output);
    } else {
        take_line_event(mux, source, event, now, output);
    }
}

/* --- One console guest --- */

/* Where something of it was not sent, its bytes pass again from the end of the sequence on. */
static bool passes(const struct console_mux *mux, struct mux_source *source)
{
    if (!is_shown(mux, source)) {
        source->passed_over = true;
    } else if (source->passed_over && vt_parser_at_rest(&source->parser)) {
        source->passed_over = false;
    }
    return !source->passed_over;
}

/* After a bare LF behind text the cursor is not at the left: the line counts as open. */
static void note_single_line(struct console_mux *mux, struct mux_source *source, enum vt_event event, uint64_t now)
{
    bool line_feed = event == VT_CONTROL && source->parser.character == VT_LF;

    if (line_feed) {
        mux->line_open = mux->line_open && !source->return_pending && source->line.length != 0;
        remember(source);
        forget_line(source);
    } else if (event == VT_CONTROL && source->parser.character == VT_CR) {
        source->return_pending = true;
    } else if (is_style(source, event)) {
        vt_style_change(&source->style, &source->parser);
    } else if (event != VT_NOTHING) {
        source->line.cursor = source->return_pending ? 0 : source->line.cursor;
        source->return_pending = false;
        (void)change_line(source, event);
        source->touched = now;
    }
}

static void pass_byte(struct console_mux *mux, struct mux_source *source, uint8_t byte, uint64_t now,
                      struct mux_output *output)
{
    bool sent = passes(mux, source);
    enum vt_event event = vt_parse(&source->parser, byte);

    if (sent) {
        if (!mux->line_open && (source->line.length != 0 || (byte != VT_CR && byte != VT_LF))) {
            show_line(mux, output);
            output_style(output, source->style);
        }
        output_byte(output, (char)byte);
        vt_tracker_note(&mux->tracker, &source->parser, event, byte);
    }
    if (is_character_set(source, event)) {
        take_character_set(source, event);
        return;
    }
    note_single_line(mux, source, event, now);
    if (is_style(source, event)) {
        output->style = source->style;
    }
}

/* Text follows text that was sent, with nothing begun: nearly all bytes. */
static bool is_within_text(const struct console_mux *mux, const struct mux_source *source)
{
    return mux->line_open && !source->return_pending && !source->passed_over && !source->graphics[source->shifted] &&
           vt_parser_at_rest(&source->parser) && is_shown(mux, source);
}

/* What pass_byte() does, for as many printable characters as there are in one piece, and as have room in the line and
 * in the output; at most `limit`. How many: 0 where something else comes, and then nothing has been done. */
static uint32_t pass_text(struct console_mux *mux, struct mux_source *source, uint32_t limit, uint64_t now,
                          struct mux_output *output)
{
    struct console_line *line = &source->line;
    struct vt_cell *cells = &line->cells[line->cursor];
    struct vt_cell cell = {.style = source->style};
    char *to = &output->bytes[output->length];
    const uint8_t *bytes;
    uint32_t count = byte_ring_peek(source->out, &bytes);
    uint32_t taken = 0;

    count = (uint32_t)min_u64(min_u64(count, limit), min_u64(LINE_CELLS - line->cursor, steps_in_room(output)));
    while (taken < count && bytes[taken] >= ' ' && bytes[taken] <= '~') {
        cell.character = bytes[taken];
        to[taken] = (char)cell.character;
        cells[taken++] = cell;
    }
    if (taken != 0) {
        source->parser.character = bytes[taken - 1];
        mux->tracker.unfinished = false;
        output->length += taken;
        line->cursor += taken;
        line->length = line->cursor > line->length ? line->cursor : line->length;
        source->touched = now;
        byte_ring_drop(source->out, taken);
    }
    return taken;
}

/* --- Turns --- */

static void take_byte(struct console_mux *mux, struct mux_source *source, uint8_t byte, uint64_t now,
                      struct mux_output *output)
{
    enum vt_event event;

    if (mux_is_single(mux)) {
        pass_byte(mux, source, byte, now, output);
        return;
    }
    event = vt_parse(&source->parser, byte);
    if (event != VT_NOTHING) {
        take_event(mux, source, event, now, output);
    }
}

/* Bytes that were taken, up to `limit`; 1 for a row of a page that has ended. */
static uint32_t take_step(struct console_mux *mux, struct mux_source *source, uint32_t limit, uint64_t now,
                          struct mux_output *output)
{
    uint32_t taken = 0;
    uint8_t byte;

    if (source->page_ended) {
        return end_page_step(mux, source, now, output) ? 1 : 0;
    }
    if (mux_is_single(mux) && is_within_text(mux, source)) {
        taken = pass_text(mux, source, limit, now, output);
    }
    if (taken == 0 && byte_ring_take(source->out, &byte)) {
        take_byte(mux, source, byte, now, output);
        taken = 1;
    }
    return taken;
}

/* Turns are numbered as the sources are; the one after the last is for drawing the page. */
static uint32_t take_turn(struct console_mux *mux, uint32_t limit, uint64_t now, struct mux_output *output)
{
    if (mux->turn == mux->source_count) {
        return mux->page_shown && show_page_step(mux, output) ? 1 : 0;
    }
    return mux->sources[mux->turn]->console ? take_step(mux, mux->sources[mux->turn], limit, now, output) : 0;
}

/* An incomplete line of another guest is shown after a while. One that has stopped adds nothing to its last line. */
static void flush_partial(struct console_mux *mux, struct mux_source *source, uint64_t now, uint64_t partial_ticks,
                          struct mux_output *output)
{
    if (mux_is_single(mux) || has_focus(mux, source) || source->page_ended || source->line.length == 0 ||
        !has_room(output)) {
        return;
    }
    if (!source->running && byte_ring_count(source->out) == 0) {
        flush_line(mux, source, output);
    } else if (source->unshown && clock_ticks_since(now, source->touched) > partial_ticks) {
        show_row(mux, source, output);
    }
}

/* How many bytes that pass as they are the turn has left: each counts when it is taken, and when it is shown. Not over
 * in the middle of the focused guest's line, where more of it is there: what comes between makes the line be shown
 * twice. */
static uint32_t turn_left(const struct console_mux *mux)
{
    bool within_line = mux->turn == mux->focus && mux->line_open;
    uint32_t limit = within_line ? MUX_LINE_TURN_BYTES : MUX_TURN_BYTES;

    return mux->turn_bytes >= limit ? 0 : (uint32_t)min_u64((limit - mux->turn_bytes + 1) / 2, MUX_RUN_BYTES);
}

/* One after the other until none has anything, or there is no room, or it is enough for one call. */
static void take_turns(struct console_mux *mux, uint64_t now, struct mux_output *output)
{
    uint32_t idle = 0;
    uint32_t total = 0;

    while (idle <= mux->source_count && total < MUX_PUMP_BYTES && has_room(output) &&
           (total < MUX_SURE_BYTES || !is_over(output))) {
        uint32_t before = output->length;
        uint32_t left = turn_left(mux);
        uint32_t taken = left != 0 ? take_turn(mux, left, now, output) : 0;

        if (taken != 0) {
            mux->turn_bytes += taken + output->length - before;
            total += taken + output->length - before;
            idle = 0;
        } else {
            idle = mux->turn_bytes == 0 ? idle + 1 : 0;
            mux->turn_bytes = 0;
            mux->turn = mux->turn == mux->source_count ? 0 : mux->turn + 1;
        }
    }
}

static bool focus_is_hidden(const struct console_mux *mux)
{
    const struct mux_source *source = mux_focused(mux);

    if (source == NULL || !source->console || !is_shown(mux, source) || source->page_ended) {
        return false;
    }
    if (has_page(source)) {
        return !mux->page_shown;
    }
    return !mux->line_open && source->line.length != 0;
}

/* Shows again what the focused guest had written, after what the others had to say. Not at once: a guest that goes on
 * writing shows it by itself, and many short interruptions would show it many times. */
static void show_again(struct console_mux *mux, uint64_t now, uint64_t partial_ticks, struct mux_output *output)
{
    if (!focus_is_hidden(mux)) {
        mux->hidden_waits = false;
        mux->page_wanted = false;
        return;
    }
    if (!mux->hidden_waits) {
        mux->hidden_waits = true;
        mux->hidden_since = now;
    }
    if ((clock_ticks_since(now, mux->hidden_since) < partial_ticks && !mux->page_wanted) || !has_room(output)) {
        return;
    }
    if (has_page(mux_focused(mux))) {
        show_page(mux, output);
    } else {
        show_line(mux, output);
    }
    mux->hidden_waits = false;
    mux->page_wanted = false;
}

static void end_replay(struct console_mux *mux, struct mux_output *output)
{
    mux->replay = (struct mux_replay){0};
    mux_say_again(mux, "plinth: end of the last lines", output);
}

/* The last one is what there is of the next. */
static bool replay_line(const struct console_mux *mux, char text[HISTORY_LINE_MAX])
{
    const struct mux_source *source = mux->replay.source;

    if (mux->replay.left != 0) {
        return history_line(source == NULL ? &mux->history : &source->history, mux->replay.left - 1, text);
    }
    if (source == NULL || has_page(source) || source->line.length == 0) {
        return false;
    }
    (void)line_text(&source->line, text);
    return true;
}

/* Lines that were shown before, or were not because their guest was muted: as quotations. */
static void replay_lines(struct console_mux *mux, struct mux_output *output)
{
    struct mux_replay *replay = &mux->replay;
    char text[HISTORY_LINE_MAX];
    char line[HISTORY_LINE_MAX + NOTICE_MAX];

    while (replay->active && has_room(output) && (output->length < MUX_SURE_BYTES || !is_over(output))) {
        const struct mux_source *source = replay->source;

        if (replay_line(mux, text)) {
            format_text(line, sizeof(line), "plinth:   | %s%s%s%s", source == NULL ? "" : "[",
                        source == NULL ? "" : source->name, source == NULL ? "" : "] ", text);
            mux_say_again(mux, line, output);
        }
        if (replay->left == 0) {
            end_replay(mux, output);
        } else {
            replay->left--;
        }
    }
}

void mux_pump(struct console_mux *mux, uint64_t now, uint64_t partial_ticks, struct mux_output *output)
{
    replay_lines(mux, output);
    take_turns(mux, now, output);
    for (uint32_t i = 0; i < mux->source_count; i++) {
        flush_partial(mux, mux->sources[i], now, partial_ticks, output);
    }
    show_again(mux, now, partial_ticks, output);
}

bool mux_has_bytes(const struct console_mux *mux)
{
    for (uint32_t i = 0; i < mux->source_count; i++) {
        const struct mux_source *source = mux->sources[i];

        if (source->console && (byte_ring_count(source->out) != 0 || source->page_ended)) {
            return true;
        }
    }
    return show_page_waits(mux) || mux->replay.active;
}

bool mux_has_partial(const struct console_mux *mux)
{
    for (uint32_t i = 0; i < mux->source_count; i++) {
        if (i != mux->focus && mux->sources[i]->unshown) {
            return true;
        }
    }
    return focus_is_hidden(mux);
}

/* --- The hypervisor's lines, focus, life --- */

/* What our sentences quote may come from a guest: only printable characters. */
static void output_sentence(struct mux_output *output, const char *text)
{
    for (; *text != '\0'; text++) {
        output_byte(output, *text >= ' ' && *text <= '~' ? *text : (char)VT_UNKNOWN_CHARACTER);
    }
    output_text(output, "\r\n");
}

void mux_say_again(struct console_mux *mux, const char *text, struct mux_output *output)
{
    if (vt_tracker_repair(&mux->tracker, output)) {
        output_text(output, "\r\n");
        mux->line_open = false;
        mux->page_shown = false;
        mux->cursor_hidden = false;
        mux->application_keys = false;
        if (mux_focused(mux) != NULL && mux_is_single(mux)) {
            forget_line(mux_focused(mux));
            mux_focused(mux)->passed_over = true;
        }
    }
    show_close(mux, output);
    output_plain(output);
    output_sentence(output, text);
}

void mux_say(struct console_mux *mux, const char *text, struct mux_output *output)
{
    uint32_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    history_add(&mux->history, text, length);
    mux_say_again(mux, text, output);
}

void mux_lose_terminal(struct console_mux *mux)
{
    vt_tracker_lose(&mux->tracker);
}

/* A guest that has got the focus may have a line of which nothing was shown. */
void mux_leave_line(struct console_mux *mux, struct mux_output *output)
{
    struct mux_source *source = mux_focused(mux);

    show_close(mux, output);
    if (source != NULL && !has_page(source) && source->unshown) {
        show_row(mux, source, output);
    }
}

void mux_end_line(struct console_mux *mux, struct mux_output *output)
{
    struct mux_source *source = mux_focused(mux);

    mux_leave_line(mux, output);
    if (source != NULL && !has_page(source) && source->line.length != 0) {
        remember(source);
        forget_line(source);
    }
}

const char *mux_panic_reason(const struct mux_source *source)
{
    return source->reason_age <= MUX_REASON_LINES ? source->reason : "";
}

static void say_focus(struct console_mux *mux, struct mux_output *output)
{
    const struct mux_source *source = mux_focused(mux);
    char notice[NOTICE_MAX];

    if (source->console && source->running) {
        format_text(notice, sizeof(notice), "plinth: what you type goes to guest %s", source->name);
    } else {
        format_text(notice, sizeof(notice), "plinth: the keys are for guest %s, which %s", source->name,
                    source->running ? "has no console" : "does not run");
    }
    mux_say(mux, notice, output);
}

/* The next running console guest after the focused one, which may be itself; MUX_NONE where none runs. */
uint32_t mux_next_running(const struct console_mux *mux)
{
    uint32_t start = mux->focus == MUX_NONE ? mux->source_count - 1 : mux->focus;

    for (uint32_t step = 1; step <= mux->source_count; step++) {
        uint32_t candidate = (start + step) % mux->source_count;

        if (mux->sources[candidate]->console && mux->sources[candidate]->running) {
            return candidate;
        }
    }
    return MUX_NONE;
}

void mux_focus(struct console_mux *mux, uint32_t source, struct mux_output *output)
{
    if (source == MUX_NONE || source == mux->focus) {
        return;
    }
    mux_leave_line(mux, output);
    mux->focus = source;
    mux->page_wanted = true;
    if (!mux_is_single(mux) || !mux->sources[source]->console || !mux->sources[source]->running) {
        say_focus(mux, output);
    }
}

void mux_init(struct console_mux *mux)
{
    memset(mux, 0, sizeof(*mux));
    mux->focus = MUX_NONE;
}

bool mux_add(struct console_mux *mux, struct mux_source *source)
{
    if (mux->source_count == MUX_SOURCES_MAX) {
        return false;
    }
    source->running = true;
    mux->sources[mux->source_count] = source;
    mux->console_count += source->console ? 1 : 0;
    if (mux->focus == MUX_NONE && source->console) {
        mux->focus = mux->source_count;
    }
    mux->source_count++;
    return true;
}

/* Whatever is unfinished of a guest's last line. */
static void end_last_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (source->line.length == 0 || has_page(source)) {
        return;
    }
    if (has_focus(mux, source)) {
        mux_end_line(mux, output);
    } else {
        flush_line(mux, source, output);
    }
}

/* A guest begins: nothing of what it was before is left in it, but for its history. */
static void begin_source(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (byte_ring_count(source->out) == 0 && has_room(output)) {
        end_last_line(mux, source, output);
    }
    vt_parser_reset(&source->parser);
    source->style = (struct vt_style){0};
    source->graphics[0] = source->graphics[1] = source->shifted = false;
    source->reason[0] = '\0';
}

/* The last words of the guest that had the focus, as far as there is room for them; then the focus goes on. */
static void lose_focused(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    for (uint32_t i = 0; i < BYTE_RING_BYTES && has_room(output); i++) {
        if (take_step(mux, source, MUX_RUN_BYTES, source->touched, output) == 0 && byte_ring_count(source->out) == 0) {
            mux_end_line(mux, output);
            break;
        }
    }
    mux->focus_chosen = false;
    mux_focus(mux, mux_next_running(mux), output);
}

void mux_set_running(struct console_mux *mux, uint32_t index, bool running, struct mux_output *output)
{
    struct mux_source *source = mux->sources[index];
    bool ended = source->running && !running;
    bool began = !source->running && running;

    source->running = running;
    if (ended && index == mux->focus && has_room(output)) {
        lose_focused(mux, source, output);
    }
    if (ended && has_page(source) && !source->page_ended) {
        end_page(mux, source, VT_NOTHING, output);
    }
    if (began) {
        begin_source(mux, source, output);
    }
    if (running && mux->focus != MUX_NONE && !mux->focus_chosen && !mux_focused(mux)->running && source->console &&
        has_room(output)) {
        mux_focus(mux, index, output);
    }
}

void mux_end_guest(struct console_mux *mux, uint32_t index, struct mux_output *output)
{
    mux_set_running(mux, index, false, output);
    end_last_line(mux, mux->sources[index], output);
}
