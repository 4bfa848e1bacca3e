/* SPDX-License-Identifier: MIT */
#include "hv/console/vt_parser.h"

#include "hv/base/memory.h"

#define BYTE_DEL 0x7fu
#define INTERMEDIATE_FIRST 0x20u
#define INTERMEDIATE_LAST 0x2fu
#define SEVERAL_INTERMEDIATES 0xffu
#define C1_LAST 0x9fu
#define SURROGATE_FIRST 0xd800u
#define SURROGATE_LAST 0xdfffu
#define UNICODE_LAST 0x10ffffu

void vt_parser_reset(struct vt_parser *parser)
{
    memset(parser, 0, sizeof(*parser));
}

static enum vt_event print(struct vt_parser *parser, uint32_t character)
{
    parser->utf8_left = 0;
    parser->character = character;
    return VT_PRINT;
}

/* How many bytes follow the first one, which bits of it count, and the least character of that length. */
static enum vt_event begin_utf8(struct vt_parser *parser, uint8_t byte)
{
    if (byte >= 0xc2 && byte <= 0xdf) {
        parser->utf8_left = 1;
        parser->utf8_least = 0x80;
        parser->character = byte & 0x1fu;
    } else if (byte >= 0xe0 && byte <= 0xef) {
        parser->utf8_left = 2;
        parser->utf8_least = 0x800;
        parser->character = byte & 0x0fu;
    } else if (byte >= 0xf0 && byte <= 0xf4) {
        parser->utf8_left = 3;
        parser->utf8_least = 0x10000;
        parser->character = byte & 0x07u;
    } else {
        return print(parser, VT_UNKNOWN_CHARACTER);
    }
    return VT_NOTHING;
}

static bool is_character(const struct vt_parser *parser)
{
    uint32_t character = parser->character;

    return character >= parser->utf8_least && character > C1_LAST && character <= UNICODE_LAST &&
           (character < SURROGATE_FIRST || character > SURROGATE_LAST);
}

static enum vt_event continue_utf8(struct vt_parser *parser, uint8_t byte)
{
    parser->character = parser->character << 6 | (byte & 0x3fu);
    parser->utf8_left--;
    if (parser->utf8_left != 0) {
        return VT_NOTHING;
    }
    return print(parser, is_character(parser) ? parser->character : VT_UNKNOWN_CHARACTER);
}

static void begin_escape(struct vt_parser *parser)
{
    parser->state = VT_STATE_ESCAPE;
    parser->intermediate = 0;
}

static void begin_control_sequence(struct vt_parser *parser)
{
    parser->state = VT_STATE_CSI;
    parser->marker = 0;
    parser->intermediate = 0;
    parser->begun = false;
    parser->parameter_count = 1;
    memset(parser->parameters, 0, sizeof(parser->parameters));
}

static void begin_string(struct vt_parser *parser)
{
    parser->state = VT_STATE_STRING;
    parser->string_bytes = 0;
}

static void note_intermediate(struct vt_parser *parser, uint8_t byte)
{
    parser->intermediate = parser->intermediate == 0 ? byte : SEVERAL_INTERMEDIATES;
}

static enum vt_event parse_escape(struct vt_parser *parser, uint8_t byte)
{
    if (byte >= INTERMEDIATE_FIRST && byte <= INTERMEDIATE_LAST) {
        note_intermediate(parser, byte);
        return VT_NOTHING;
    }
    parser->state = VT_STATE_GROUND;
    if (parser->intermediate == 0) {
        switch (byte) {
        case '[':
            begin_control_sequence(parser);
            return VT_NOTHING;
        case ']': /* OSC */
        case 'P': /* DCS */
        case 'X': /* SOS */
        case '^': /* PM */
        case '_': /* APC */
            begin_string(parser);
            return VT_NOTHING;
        default:
            break;
        }
    }
    parser->final = byte;
    return VT_ESCAPE;
}

static void parse_digit(struct vt_parser *parser, uint8_t byte)
{
    uint32_t *parameter = &parser->parameters[parser->parameter_count - 1];

    *parameter = (uint32_t)min_u64(*parameter * 10 + (byte - '0'), VT_PARAMETER_MAX);
}

/* A colon separates as a semicolon does: 38:5:1 is 38;5;1. ECMA-48 5.4.2. */
static void parse_separator(struct vt_parser *parser)
{
    if (parser->parameter_count == VT_PARAMETERS_MAX) {
        parser->state = VT_STATE_CSI_IGNORE;
    } else {
        parser->parameter_count++;
    }
}

static enum vt_event parse_control_sequence(struct vt_parser *parser, uint8_t byte)
{
    if (byte >= 0x40 && byte < BYTE_DEL) {
        bool good = parser->state == VT_STATE_CSI;

        parser->state = VT_STATE_GROUND;
        parser->final = byte;
        return good ? VT_CSI : VT_NOTHING;
    }
    if (parser->state == VT_STATE_CSI_IGNORE) {
        return VT_NOTHING;
    }
    if (byte <= INTERMEDIATE_LAST) {
        note_intermediate(parser, byte);
    } else if (parser->intermediate != 0) {
        parser->state = VT_STATE_CSI_IGNORE; /* parameters come before intermediate bytes */
    } else if (byte <= '9') {
        parse_digit(parser, byte);
    } else if (byte == ';' || byte == ':') {
        parse_separator(parser);
    } else if (!parser->begun) {
        parser->marker = byte;
    } else {
        parser->state = VT_STATE_CSI_IGNORE;
    }
    parser->begun = true;
    return VT_NOTHING;
}

/* The end of the line ends a string, too: what forgot its end loses a line and not all that follows. */
static enum vt_event parse_string(struct vt_parser *parser, uint8_t byte)
{
    bool after_escape = parser->state == VT_STATE_STRING_ESCAPE;

    parser->state = VT_STATE_STRING;
    parser->string_bytes++;
    if (byte == VT_LF || byte == VT_CR) {
        parser->state = VT_STATE_GROUND;
        parser->character = byte;
        return VT_CONTROL;
    }
    if (byte == VT_BEL || byte == VT_CAN || byte == VT_SUB || parser->string_bytes == VT_STRING_MAX) {
        parser->state = VT_STATE_GROUND;
    } else if (byte == VT_ESC) {
        parser->state = VT_STATE_STRING_ESCAPE;
    } else if (after_escape && byte == '\\') {
        parser->state = VT_STATE_GROUND; /* ST */
    } else if (after_escape) {
        begin_escape(parser);
        return parse_escape(parser, byte);
    }
    return VT_NOTHING;
}

/* Obeyed wherever they come, within a sequence too. ECMA-48 does not say; the DEC VT500 series, "Parser", does. */
static enum vt_event parse_control(struct vt_parser *parser, uint8_t byte)
{
    parser->utf8_left = 0;
    if (byte == VT_ESC) {
        begin_escape(parser);
        return VT_NOTHING;
    }
    if (byte == VT_CAN || byte == VT_SUB) {
        parser->state = VT_STATE_GROUND;
        return VT_NOTHING;
    }
    parser->character = byte;
    return VT_CONTROL;
}

static enum vt_event parse_text(struct vt_parser *parser, uint8_t byte)
{
    if (byte >= 0x80 && byte <= 0xbf && parser->utf8_left != 0) {
        return continue_utf8(parser, byte);
    }
    parser->utf8_left = 0; /* what was begun is not finished: dropped */
    return byte >= 0x80 ? begin_utf8(parser, byte) : print(parser, byte);
}

enum vt_event vt_parse(struct vt_parser *parser, uint8_t byte)
{
    if (parser->state == VT_STATE_STRING || parser->state == VT_STATE_STRING_ESCAPE) {
        return parse_string(parser, byte);
    }
    if (byte < 0x20) {
        return parse_control(parser, byte);
    }
    if (byte == BYTE_DEL) {
        parser->utf8_left = 0;
        return VT_NOTHING;
    }
    if (byte >= 0x80) {
        parser->state = VT_STATE_GROUND;
    }
    switch (parser->state) {
    case VT_STATE_ESCAPE:
        return parse_escape(parser, byte);
    case VT_STATE_CSI:
    case VT_STATE_CSI_IGNORE:
        return parse_control_sequence(parser, byte);
    case VT_STATE_GROUND:
    case VT_STATE_STRING:
    case VT_STATE_STRING_ESCAPE:
        break;
    }
    return parse_text(parser, byte);
}
