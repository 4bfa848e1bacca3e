/* SPDX-License-Identifier: MIT */
/* What is typed: for the focused guest, or after Ctrl-] for the hypervisor. */
#include "hv/base/format.h"
#include "hv/console/console_show.h"

#define NOTICE_MAX 160u
#define FIRST_DIGIT '1'
#define LAST_DIGIT '9'

static void say_help(struct console_mux *mux, struct mux_output *output)
{
    static const char *const lines[] = {
        "plinth: Ctrl-] then n: next guest, N: next guest, also of those that do not run, 1 to 9: guest of that number",
        "plinth:   s: status, l: last lines of the guest, L: last lines of Plinth, Ctrl-]: send Ctrl-] to the guest",
        "plinth:   m: mute the guest or not, o: show only the guest that has the focus, or all again",
        "plinth:   p: press the guest's power button, k: kill it, r: restart it, b: begin a guest that does not run",
        "plinth:   c: pull the cable of the guest's network cards, or plug it in again",
        "plinth:   q, twice: switch the machine off, ?: this help",
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(lines); i++) {
        mux_say(mux, lines[i], output);
    }
}

static bool send(struct console_mux *mux, uint8_t byte)
{
    struct mux_source *source = mux_focused(mux);

    if (source == NULL || !source->running || !source->console) {
        return false;
    }
    mux->page_wanted = true;
    if (!byte_ring_put(source->in, byte)) {
        mux->input_lost++;
        return false;
    }
    return true;
}

static void choose(struct console_mux *mux, uint32_t source, struct mux_output *output)
{
    mux->focus_chosen = true;
    mux_focus(mux, source, output);
}

static void choose_next_running(struct console_mux *mux, struct mux_output *output)
{
    uint32_t next = mux_next_running(mux);

    if (next == MUX_NONE || next == mux->focus) {
        mux_say(mux, "plinth: no other running guest has a console", output);
        return;
    }
    mux->focus_chosen = false;
    mux_focus(mux, next, output);
}

static void choose_next(struct console_mux *mux, struct mux_output *output)
{
    if (mux->source_count == 1) {
        mux_say(mux, "plinth: there is one guest only", output);
        return;
    }
    choose(mux, mux->focus == MUX_NONE ? 0 : (mux->focus + 1) % mux->source_count, output);
}

static void choose_number(struct console_mux *mux, uint32_t number, struct mux_output *output)
{
    if (number >= mux->source_count) {
        mux_say(mux, "plinth: there is no guest of that number", output);
        return;
    }
    choose(mux, number, output);
}

static void toggle_mute(struct console_mux *mux, struct mux_output *output)
{
    struct mux_source *source = mux_focused(mux);
    char notice[NOTICE_MAX];

    mux_leave_line(mux, output);
    source->muted = !source->muted;
    format_text(notice, sizeof(notice), "plinth: guest %s is %s", source->name,
                source->muted ? "muted: its lines are kept (Ctrl-] l) and not shown" : "shown again");
    mux_say(mux, notice, output);
}

static void toggle_solo(struct console_mux *mux, struct mux_output *output)
{
    mux->solo = !mux->solo;
    mux_say(mux,
            mux->solo ? "plinth: only the guest that has the focus is shown; the others' lines are kept (Ctrl-] l)"
                      : "plinth: all guests are shown again",
            output);
}

static void begin_replay(struct console_mux *mux, const struct mux_source *source, struct mux_output *output)
{
    char notice[NOTICE_MAX];

    format_text(notice, sizeof(notice), "plinth: the last lines of %s%s:", source == NULL ? "Plinth" : "guest ",
                source == NULL ? "" : source->name);
    mux->replay = (struct mux_replay){.active = true, .source = source, .left = HISTORY_LINES};
    mux_say_again(mux, notice, output);
}

static void command(struct console_mux *mux, enum mux_command command)
{
    mux->command = command;
    mux->command_source = mux->focus;
}

static void ask_poweroff(struct console_mux *mux, bool asked, struct mux_output *output)
{
    if (asked) {
        command(mux, MUX_POWEROFF);
        return;
    }
    mux->poweroff_asked = true;
    mux_say(mux, "plinth: Ctrl-] q once more switches the machine off, whatever the guests do; any other key does not",
            output);
}

/* Keys for the guest that has the focus. False: not one of them. */
static bool type_guest_command(struct console_mux *mux, uint8_t byte, struct mux_output *output)
{
    switch (byte) {
    case 'm':
        toggle_mute(mux, output);
        return true;
    case 'l':
        begin_replay(mux, mux_focused(mux), output);
        return true;
    case 'p':
        command(mux, MUX_STOP);
        return true;
    case 'k':
        command(mux, MUX_KILL);
        return true;
    case 'r':
        command(mux, MUX_RESTART);
        return true;
    case 'b':
        command(mux, MUX_START);
        return true;
    case 'c':
        command(mux, MUX_LINK);
        return true;
    default:
        return false;
    }
}

static bool type_command(struct console_mux *mux, uint8_t byte, struct mux_output *output)
{
    bool asked = mux->poweroff_asked;

    mux->poweroff_asked = false;
    if (byte >= FIRST_DIGIT && byte <= LAST_DIGIT) {
        choose_number(mux, byte - (uint32_t)FIRST_DIGIT, output);
        return false;
    }
    if (mux->focus != MUX_NONE && type_guest_command(mux, byte, output)) {
        return false;
    }
    switch (byte) {
    case MUX_ESCAPE_KEY:
        return send(mux, byte);
    case 'n':
        choose_next_running(mux, output);
        break;
    case 'N':
        choose_next(mux, output);
        break;
    case 's':
        mux->command = MUX_STATUS;
        break;
    case 'o':
        toggle_solo(mux, output);
        break;
    case 'L':
        begin_replay(mux, NULL, output);
        break;
    case 'q':
        ask_poweroff(mux, asked, output);
        break;
    default:
        say_help(mux, output);
        break;
    }
    return false;
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
    mux->poweroff_asked = false;
    return send(mux, byte);
}
