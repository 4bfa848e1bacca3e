/* SPDX-License-Identifier: MIT */
#include "hv/console/vt_tracker.h"

/* Whatever was begun is ended: CAN for a sequence, ST for a string that CAN does not end. ECMA-48 8.3.6, 8.3.143. */
#define REPAIR_UNFINISHED "\x18\x1b\\"

/*
 * One after the other: out of VT52 mode; printer controller mode, locked keyboard, insert mode, local echo, line feeds
 * that return: off; the usual character set; no left and right margins, lines counted from the screen's first, the cursor
 * at the margin wraps, it is shown, the screen is not reversed, output is not held back; keys as usual, no reports of the
 * mouse, no brackets around pasted text; the main screen. DEC VT510 programmer information; xterm, "Control Sequences".
 */
#define REPAIR_MODES                                                                                            \
    "\x1b<\x1b[4i\x1b[2l\x1b[4l\x1b[12h\x1b[20l\x0f\x1b(B\x1b[?69l\x1b[?6l\x1b[?7h\x1b[?25h\x1b[?5l\x1b[?2026l" \
    "\x1b[?1l\x1b>\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?2004l\x1b[?47l\x1b[?1049l"

/* The palette, and the colours of text, background and cursor. xterm, "Operating System Commands". */
#define REPAIR_COLOURS "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\"

/* All rows scroll, and the cursor is in the last one, wherever that is: the line end then makes a new one. */
#define REPAIR_PLACE "\x1b[r\x1b[999;1H"
#define REPAIR_STYLE "\x1b[m"

_Static_assert(sizeof(REPAIR_UNFINISHED REPAIR_MODES REPAIR_COLOURS REPAIR_PLACE REPAIR_STYLE) <= VT_REPAIR_BYTES_MAX,
               "a repair has its bound");

static void note_control(struct vt_tracker *tracker, uint32_t character)
{
    tracker->modes = tracker->modes || character == VT_SO;
}

static void note_escape(struct vt_tracker *tracker, const struct vt_parser *parser)
{
    if (parser->intermediate == '(' && parser->final == 'B') {
        return;
    }
    if (parser->intermediate != 0) {
        tracker->modes = true;
        return;
    }
    switch (parser->final) {
    case '\\': /* ST */
    case 'Z':  /* DECID: a question */
        break;
    case '7':
    case '8':
    case 'D':
    case 'E':
    case 'M':
        tracker->moved = true;
        break;
    case 'c': /* RIS: all as at its start, and an empty screen */
        *tracker = (struct vt_tracker){.moved = true};
        break;
    default:
        tracker->modes = true;
        break;
    }
}

/* SGR: plain again where it says that and nothing else. */
static void note_style(struct vt_tracker *tracker, const struct vt_parser *parser)
{
    tracker->styled = parser->parameter_count != 1 || parser->parameters[0] != 0;
}

static void note_sequence(struct vt_tracker *tracker, const struct vt_parser *parser)
{
    bool question = parser->final == 'n' || parser->final == 'c';

    if (parser->intermediate != 0 || parser->marker != 0) {
        tracker->modes = tracker->modes || !question;
        return;
    }
    switch (parser->final) {
    case 'm':
        note_style(tracker, parser);
        break;
    case 'n': /* questions */
    case 'c':
    case 'x':
    case 'C': /* within the line */
    case 'D':
    case 'G':
    case '`':
    case 'a':
    case 'K':
    case 'P':
    case 'X':
    case '@':
    case 'J': /* the text goes, the cursor stays */
    case 'b':
        break;
    case 'A':
    case 'B':
    case 'E':
    case 'F':
    case 'H':
    case 'I':
    case 'L':
    case 'M':
    case 'S':
    case 'T':
    case 'Z':
    case 'd':
    case 'e':
    case 'f':
    case 's':
    case 'u':
        tracker->moved = true;
        break;
    default:
        tracker->moved = true;
        tracker->modes = true;
        break;
    }
}

/* A terminal of eight bits may obey the bytes 0x80 to 0x9f as controls, also within characters of UTF-8. */
static bool is_c1(const struct vt_parser *parser, enum vt_event event, uint8_t byte)
{
    return byte >= 0x80 && byte <= 0x9f && event == VT_PRINT && parser->character == VT_UNKNOWN_CHARACTER;
}

void vt_tracker_note(struct vt_tracker *tracker, const struct vt_parser *parser, enum vt_event event, uint8_t byte)
{
    if (parser->state == VT_STATE_STRING || is_c1(parser, event, byte)) {
        tracker->strings = true;
        tracker->modes = tracker->modes || parser->state != VT_STATE_STRING;
    }
    switch (event) {
    case VT_NOTHING:
    case VT_PRINT:
        break;
    case VT_CONTROL:
        note_control(tracker, parser->character);
        break;
    case VT_ESCAPE:
        note_escape(tracker, parser);
        break;
    case VT_CSI:
        note_sequence(tracker, parser);
        break;
    }
    tracker->unfinished = !vt_parser_at_rest(parser);
}

void vt_tracker_lose(struct vt_tracker *tracker)
{
    *tracker = (struct vt_tracker){.unfinished = true, .styled = true, .moved = true, .modes = true};
}

bool vt_tracker_repair(struct vt_tracker *tracker, struct mux_output *output)
{
    if (!tracker->unfinished && !tracker->styled && !tracker->moved && !tracker->modes && !tracker->strings) {
        return false;
    }
    output_text(output, REPAIR_UNFINISHED);
    if (tracker->modes) {
        output_text(output, REPAIR_MODES);
    }
    if (tracker->strings) {
        output_text(output, REPAIR_COLOURS);
    }
    if (tracker->modes || tracker->moved) {
        output_text(output, REPAIR_PLACE);
    }
    output_text(output, REPAIR_STYLE);
    *tracker = (struct vt_tracker){0};
    output->style = (struct vt_style){0};
    return true;
}
