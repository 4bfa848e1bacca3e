/* SPDX-License-Identifier: MIT */
#include "hv/console/console_mux.h"

#include "hv/base/format.h"
#include "hv/base/memory.h"

#define PREFIX_MAX 24u
#define NOTICE_MAX 160u

static void emit(struct mux_output *output, char byte)
{
    if (output->length < output->capacity) {
        output->bytes[output->length++] = byte;
    }
}

static void emit_text(struct mux_output *output, const char *text)
{
    while (*text != '\0') {
        emit(output, *text++);
    }
}

static bool has_room(const struct mux_output *output)
{
    return output->capacity - output->length >= MUX_STEP_MAX;
}

static void emit_prefix(const struct console_mux *mux, const struct mux_source *source, struct mux_output *output)
{
    char prefix[PREFIX_MAX];

    if (mux->console_count > 1) {
        format_text(prefix, sizeof(prefix), "[%s] ", source->name);
        emit_text(output, prefix);
    }
}

static struct mux_source *focused(struct console_mux *mux)
{
    return mux->focus == MUX_NONE ? NULL : &mux->sources[mux->focus];
}

/* Ends the focused guest's open line, so that somebody else can say something. */
static void close_line(struct console_mux *mux, struct mux_output *output)
{
    if (mux->line_open) {
        emit_text(output, "\r\n");
        mux->line_open = false;
    }
}

static void emit_line(const struct mux_source *source, struct mux_output *output)
{
    for (uint32_t i = 0; i < source->length; i++) {
        emit(output, source->line[i]);
    }
}

static void keep(struct mux_source *source, char byte, uint64_t now)
{
    if (source->length < MUX_LINE_MAX) {
        source->line[source->length++] = byte;
    }
    source->touched = now;
}

static void begin_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    if (!mux->line_open) {
        emit_prefix(mux, source, output);
        emit_line(source, output);
        mux->line_open = true;
    }
}

static bool line_is_hidden(const struct console_mux *mux)
{
    return mux->focus != MUX_NONE && !mux->line_open && mux->sources[mux->focus].length != 0;
}

/* Shows again what the focused guest had written of its line, after what the others had to say. Not at once: a guest
 * that goes on writing shows it by itself, and many short interruptions would show it many times. */
static void reopen_line(struct console_mux *mux, uint64_t now, uint64_t partial_ticks, struct mux_output *output)
{
    if (!line_is_hidden(mux)) {
        mux->line_waits = false;
        return;
    }
    if (!mux->line_waits) {
        mux->line_waits = true;
        mux->waits_since = now;
    }
    if (now - mux->waits_since >= partial_ticks && has_room(output)) {
        begin_line(mux, focused(mux), output);
        mux->line_waits = false;
    }
}

/* With several guests a bare LF begins a line at the left; with one, bytes are not touched. */
static void pass_line_feed(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    begin_line(mux, source, output);
    if (mux->console_count > 1 && !source->return_pending) {
        emit(output, '\r');
    }
    emit(output, '\n');
    source->length = 0;
    source->return_pending = false;
    mux->line_open = false;
}

/* The focused guest: each byte at once, and the line is kept for reopen_line(). After a lone CR the line is written
 * anew from its left end, the prefix included. */
static void pass_byte(struct console_mux *mux, struct mux_source *source, char byte, uint64_t now,
                      struct mux_output *output)
{
    if (byte == '\n') {
        pass_line_feed(mux, source, output);
        return;
    }
    if (byte == '\r') {
        begin_line(mux, source, output);
        emit(output, byte);
        source->return_pending = true;
        return;
    }
    if (source->return_pending) {
        source->return_pending = false;
        source->length = 0;
        mux->line_open = false;
    }
    begin_line(mux, source, output);
    emit(output, byte);
    keep(source, byte, now);
}

/* Another guest's complete line, or what there is of it. */
static void flush_line(struct console_mux *mux, struct mux_source *source, struct mux_output *output)
{
    close_line(mux, output);
    emit_prefix(mux, source, output);
    emit_line(source, output);
    emit_text(output, "\r\n");
    source->length = 0;
}

static void collect_byte(struct console_mux *mux, struct mux_source *source, char byte, uint64_t now,
                         struct mux_output *output)
{
    if (byte == '\n') {
        flush_line(mux, source, output);
        return;
    }
    if (byte == '\r') {
        return;
    }
    if (source->length == MUX_LINE_MAX) {
        flush_line(mux, source, output);
    }
    keep(source, byte, now);
}

static void pump_focused(struct console_mux *mux, uint64_t now, struct mux_output *output)
{
    struct mux_source *source = focused(mux);
    uint8_t byte;

    while (source != NULL && has_room(output) && byte_ring_take(source->out, &byte)) {
        pass_byte(mux, source, (char)byte, now, output);
    }
}

static void pump_other(struct console_mux *mux, struct mux_source *source, uint64_t now, uint64_t partial_ticks,
                       struct mux_output *output)
{
    uint8_t byte;

    while (has_room(output) && byte_ring_take(source->out, &byte)) {
        collect_byte(mux, source, (char)byte, now, output);
    }
    if (source->length != 0 && has_room(output) && (now - source->touched > partial_ticks || !source->running)) {
        flush_line(mux, source, output);
    }
}

void mux_pump(struct console_mux *mux, uint64_t now, uint64_t partial_ticks, struct mux_output *output)
{
    pump_focused(mux, now, output);
    for (uint32_t i = 0; i < mux->source_count; i++) {
        if (i != mux->focus && mux->sources[i].console) {
            pump_other(mux, &mux->sources[i], now, partial_ticks, output);
        }
    }
    reopen_line(mux, now, partial_ticks, output);
}

void mux_say(struct console_mux *mux, const char *text, struct mux_output *output)
{
    close_line(mux, output);
    emit_text(output, text);
    emit_text(output, "\r\n");
}

static void say_focus(struct console_mux *mux, struct mux_output *output)
{
    char notice[NOTICE_MAX];

    format_text(notice, sizeof(notice), "plinth: what you type goes to guest %s", focused(mux)->name);
    mux_say(mux, notice, output);
}

/* The next running console guest after the focused one, which may be itself; MUX_NONE where none runs. */
static uint32_t next_running(const struct console_mux *mux)
{
    uint32_t start = mux->focus == MUX_NONE ? mux->source_count - 1 : mux->focus;

    for (uint32_t step = 1; step <= mux->source_count; step++) {
        uint32_t candidate = (start + step) % mux->source_count;

        if (mux->sources[candidate].console && mux->sources[candidate].running) {
            return candidate;
        }
    }
    return MUX_NONE;
}

void mux_end_line(struct console_mux *mux, struct mux_output *output)
{
    close_line(mux, output);
    if (focused(mux) != NULL) {
        focused(mux)->length = 0;
        focused(mux)->return_pending = false;
    }
}

static void move_focus(struct console_mux *mux, uint32_t to, struct mux_output *output)
{
    if (to == MUX_NONE || to == mux->focus) {
        return;
    }
    mux_end_line(mux, output);
    mux->focus = to;
    if (mux->console_count > 1) {
        say_focus(mux, output);
    }
}

void mux_init(struct console_mux *mux)
{
    memset(mux, 0, sizeof(*mux));
    mux->focus = MUX_NONE;
}

bool mux_add(struct console_mux *mux, const char *name, bool console, struct byte_ring *out, struct byte_ring *in)
{
    if (mux->source_count == MUX_SOURCES_MAX) {
        return false;
    }
    mux->sources[mux->source_count] =
        (struct mux_source){.name = name, .out = out, .in = in, .console = console, .running = true};
    mux->console_count += console ? 1 : 0;
    if (mux->focus == MUX_NONE && console) {
        mux->focus = mux->source_count;
    }
    mux->source_count++;
    return true;
}

void mux_set_running(struct console_mux *mux, uint32_t source, bool running, struct mux_output *output)
{
    bool ended = mux->sources[source].running && !running;

    mux->sources[source].running = running;
    if (ended && source == mux->focus && has_room(output)) {
        pump_focused(mux, mux->sources[source].touched, output);
        mux_end_line(mux, output);
        move_focus(mux, next_running(mux), output);
    } else if (running && mux->focus != MUX_NONE && !focused(mux)->running && mux->sources[source].console) {
        move_focus(mux, source, output);
    }
}

static void say_help(struct console_mux *mux, struct mux_output *output)
{
    mux_say(mux, "plinth: Ctrl-] then n: next guest, s: status, Ctrl-]: send Ctrl-] to the guest, ?: this help",
            output);
}

static bool send(struct console_mux *mux, uint8_t byte)
{
    struct mux_source *source = focused(mux);

    if (source == NULL || !source->running) {
        return false;
    }
    if (!byte_ring_put(source->in, byte)) {
        mux->input_lost++;
        return false;
    }
    return true;
}

static bool type_command(struct console_mux *mux, uint8_t byte, struct mux_output *output)
{
    uint32_t next = next_running(mux);

    switch (byte) {
    case MUX_ESCAPE_KEY:
        return send(mux, byte);
    case 'n':
        if (next == MUX_NONE || next == mux->focus) {
            mux_say(mux, "plinth: no other running guest has a console", output);
        } else {
            move_focus(mux, next, output);
        }
        return false;
    case 's':
        mux->status_wanted = true;
        return false;
    default:
        say_help(mux, output);
        return false;
    }
}

bool mux_type(struct console_mux *mux, uint8_t byte, struct mux_output *output)
{
    if (mux->source_count == 0) {
        return false;
    }
    if (mux->escape) {
        mux->escape = false;
        return type_command(mux, byte, output);
    }
    if (byte == MUX_ESCAPE_KEY) {
        mux->escape = true;
        return false;
    }
    return send(mux, byte);
}

bool mux_has_bytes(const struct console_mux *mux)
{
    for (uint32_t i = 0; i < mux->source_count; i++) {
        if (mux->sources[i].console && byte_ring_count(mux->sources[i].out) != 0) {
            return true;
        }
    }
    return false;
}

bool mux_has_partial(const struct console_mux *mux)
{
    for (uint32_t i = 0; i < mux->source_count; i++) {
        if (i != mux->focus && mux->sources[i].console && mux->sources[i].length != 0) {
            return true;
        }
    }
    return line_is_hidden(mux);
}
