/* SPDX-License-Identifier: MIT */
#include "hv/console/keyboard_codes.h"

/* Microsoft, "Keyboard Scan Code Specification" 1.3a, appendix A: set 1. */
#define CODE_EXTENDED 0xe0u
#define CODE_PAUSE 0xe1u
#define CODE_PAUSE_REST 5u
#define CODE_RELEASE 0x80u
#define CODE_ESCAPE 0x01u
#define CODE_BACKSPACE 0x0eu
#define CODE_ENTER 0x1cu
#define CODE_CONTROL 0x1du
#define CODE_SHIFT_LEFT 0x2au
#define CODE_SLASH 0x35u
#define CODE_SHIFT_RIGHT 0x36u
#define CODE_ALT 0x38u
#define CODE_CAPS 0x3au

#define BYTE_ESCAPE 0x1bu
#define BYTE_DELETE 0x7fu
#define CONTROL_BITS 0x1fu

/* By code: plain and with Shift; 0: no byte. The keypad's digits are as with Num Lock. */
static const char plain[] = "\0\0331234567890-=\177\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 \0"
                            "\0\0\0\0\0\0\0\0\0\0\0\000789-456+1230.\0\0\\";
static const char shifted[] = "\0\033!@#$%^&*()_+\177\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 \0"
                              "\0\0\0\0\0\0\0\0\0\0\0\000789-456+1230.\0\0|";
#define CODES 0x57u
_Static_assert(sizeof(plain) == CODES + 1 && sizeof(shifted) == CODES + 1, "codes 0 to 0x56, and the string's end");

/* Keys that are sequences. xterm, "PC-Style Function Keys" and "VT220-Style Function Keys". */
static const struct {
    uint8_t code;
    bool extended;
    const char *bytes;
} sequences[] = {
    {0x48, true, "\033[A"},    {0x50, true, "\033[B"},    {0x4d, true, "\033[C"},    {0x4b, true, "\033[D"},
    {0x47, true, "\033[H"},    {0x4f, true, "\033[F"},    {0x52, true, "\033[2~"},   {0x53, true, "\033[3~"},
    {0x49, true, "\033[5~"},   {0x51, true, "\033[6~"},   {0x3b, false, "\033OP"},   {0x3c, false, "\033OQ"},
    {0x3d, false, "\033OR"},   {0x3e, false, "\033OS"},   {0x3f, false, "\033[15~"}, {0x40, false, "\033[17~"},
    {0x41, false, "\033[18~"}, {0x42, false, "\033[19~"}, {0x43, false, "\033[20~"}, {0x44, false, "\033[21~"},
    {0x57, false, "\033[23~"}, {0x58, false, "\033[24~"},
};

/* True where the code is a key that only changes what others mean. */
static bool note_modifier(struct keyboard_codes *codes, uint8_t key, bool extended, bool pressed)
{
    switch (key) {
    case CODE_SHIFT_LEFT:
    case CODE_SHIFT_RIGHT:
        if (!extended && key == CODE_SHIFT_LEFT) { /* extended ones are a keyboard's own, around the arrows */
            codes->shift_left = pressed;
        } else if (!extended) {
            codes->shift_right = pressed;
        }
        return true;
    case CODE_CONTROL:
        *(extended ? &codes->control_right : &codes->control_left) = pressed;
        return true;
    case CODE_ALT:
        codes->alt = pressed;
        return true;
    case CODE_CAPS:
        codes->caps = pressed && !extended ? !codes->caps : codes->caps;
        return true;
    default:
        return false;
    }
}

static uint32_t put_sequence(uint8_t key, bool extended, uint8_t *bytes)
{
    uint32_t length = 0;

    for (uint32_t i = 0; i < ARRAY_COUNT(sequences); i++) {
        if (sequences[i].code == key && sequences[i].extended == extended) {
            for (const char *at = sequences[i].bytes; *at != '\0'; at++) {
                bytes[length++] = (uint8_t)*at;
            }
        }
    }
    return length;
}

/* With Ctrl: the letters, and @ [ \ ] ^ _ and space, which have a control character. */
static uint8_t with_control(uint8_t byte)
{
    bool letter = (byte >= 'a' && byte <= 'z') || (byte >= '@' && byte <= '_');

    return letter || byte == ' ' ? (uint8_t)(byte & CONTROL_BITS) : byte;
}

static bool is_letter(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static uint32_t put_character(const struct keyboard_codes *codes, uint8_t key, uint8_t *bytes)
{
    bool shift = codes->shift_left || codes->shift_right;
    uint8_t byte;

    if (key >= CODES || plain[key] == '\0') {
        return 0;
    }
    if (codes->caps && is_letter((uint8_t)plain[key])) {
        shift = !shift;
    }
    byte = (uint8_t)(shift ? shifted[key] : plain[key]);
    *bytes = codes->control_left || codes->control_right ? with_control(byte) : byte;
    return 1;
}

uint32_t keyboard_decode(struct keyboard_codes *codes, uint8_t code, uint8_t bytes[KEYBOARD_BYTES_MAX])
{
    uint8_t key = (uint8_t)(code & ~CODE_RELEASE);
    bool extended = codes->extended;
    uint32_t escape = 0;
    uint32_t length;

    if (codes->skip != 0) {
        codes->skip--;
        return 0;
    }
    if (code == CODE_EXTENDED || code == CODE_PAUSE) {
        codes->extended = code == CODE_EXTENDED;
        codes->skip = code == CODE_PAUSE ? CODE_PAUSE_REST : 0;
        return 0;
    }
    codes->extended = false;
    if (note_modifier(codes, key, extended, (code & CODE_RELEASE) == 0) || (code & CODE_RELEASE) != 0) {
        return 0;
    }
    if (codes->alt) {
        bytes[escape++] = BYTE_ESCAPE;
    }
    length = put_sequence(key, extended, bytes + escape);
    if (length == 0 && (!extended || key == CODE_ENTER || key == CODE_SLASH)) {
        length = put_character(codes, key, bytes + escape);
    }
    return length == 0 ? 0 : escape + length;
}
