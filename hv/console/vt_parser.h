/* SPDX-License-Identifier: MIT */
/*
 * Takes a guest's bytes apart as a terminal would: characters, control characters, escape and control sequences. Only
 * takes apart: what of it reaches a terminal is decided by its callers, and nothing is passed on as it came.
 *
 *   byte --> vt_parse() --> VT_PRINT      a character (`character`)
 *                           VT_CONTROL    a C0 control character (`character`): BS, TAB, LF, CR, ...
 *                           VT_ESCAPE     ESC, perhaps an intermediate byte, a final byte
 *                           VT_CSI        a control sequence: marker, parameters, intermediate, final byte
 *                           VT_NOTHING    a piece of something, or something that is dropped
 *
 * One parser per source, so that what one guest leaves unfinished concerns nobody else. Strings (OSC, DCS, SOS, PM,
 * APC) are swallowed; one that never ends ends with the line, or after VT_STRING_MAX bytes. UTF-8 is decoded: shortest
 * forms only, no surrogates. A byte that is no UTF-8 is VT_UNKNOWN_CHARACTER; the 8-bit controls 0x80 to 0x9f are such
 * bytes, and so are the characters U+0080 to U+009F, which some terminals obey. ECMA-48 5.3 to 5.6; ECMA-35 13.2;
 * Unicode 15.0, 3.9 "Unicode Encoding Forms", table 3-7.
 */
#ifndef HV_CONSOLE_VT_PARSER_H
#define HV_CONSOLE_VT_PARSER_H

#include "hv/base/types.h"

#define VT_PARAMETERS_MAX 16u
#define VT_PARAMETER_MAX 9999u /* larger ones count as this */
#define VT_STRING_MAX 4096u
#define VT_UNKNOWN_CHARACTER '?'

/* C0 control characters. ECMA-48 8.3. */
#define VT_BEL 0x07u
#define VT_BS 0x08u
#define VT_TAB 0x09u
#define VT_LF 0x0au
#define VT_VT 0x0bu
#define VT_FF 0x0cu
#define VT_CR 0x0du
#define VT_SO 0x0eu
#define VT_SI 0x0fu
#define VT_CAN 0x18u
#define VT_SUB 0x1au
#define VT_ESC 0x1bu

enum vt_event {
    VT_NOTHING,
    VT_PRINT,
    VT_CONTROL,
    VT_ESCAPE,
    VT_CSI,
};

enum vt_state {
    VT_STATE_GROUND,
    VT_STATE_ESCAPE,
    VT_STATE_CSI,
    VT_STATE_CSI_IGNORE, /* a control sequence that is too long or malformed: skipped to its final byte */
    VT_STATE_STRING,
    VT_STATE_STRING_ESCAPE, /* ESC within a string: ST, if a backslash follows */
};

struct vt_parser {
    enum vt_state state;
    uint32_t character;   /* VT_PRINT, VT_CONTROL; while `utf8_left` is not 0: as far as it is known */
    uint32_t utf8_least;  /* smaller ones are not the shortest form */
    uint8_t utf8_left;    /* bytes that a character still lacks */
    uint8_t marker;       /* '<' to '?' before the parameters; 0: none */
    uint8_t intermediate; /* 0x20 to 0x2f; 0: none; 0xff: several */
    uint8_t final;
    bool begun; /* of a control sequence more than its beginning was seen: a marker comes too late */
    uint32_t parameters[VT_PARAMETERS_MAX]; /* 0 where none is written */
    uint32_t parameter_count;               /* 1 at least, in VT_CSI */
    uint32_t string_bytes;
};

/* Back to the state of a terminal that was just switched on. All zeroes is this state. */
void vt_parser_reset(struct vt_parser *parser);

enum vt_event vt_parse(struct vt_parser *parser, uint8_t byte);

/* Between two characters or sequences: nothing is unfinished. */
static inline bool vt_parser_at_rest(const struct vt_parser *parser)
{
    return parser->state == VT_STATE_GROUND && parser->utf8_left == 0;
}

/* A parameter, or `otherwise` where it is not written or 0. */
static inline uint32_t vt_parameter(const struct vt_parser *parser, uint32_t index, uint32_t otherwise)
{
    uint32_t value = index < parser->parameter_count ? parser->parameters[index] : 0;

    return value != 0 ? value : otherwise;
}

#endif
