/* SPDX-License-Identifier: MIT */
/* Promises of hv/console/vt_parser.h and vt_cell.h: bytes are taken apart as a terminal would, and nothing is lost of
 * what follows. */
#include "hv/console/vt_cell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct vt_parser parser;
static char seen[1024];

/* Events as text: characters as they are, controls <n>, escapes {intermediate final}, sequences {marker parameters final}. */
static void parse(const char *bytes)
{
    size_t length = strlen(seen);

    for (size_t i = 0; bytes[i] != '\0'; i++) {
        char *to = seen + length;
        size_t room = sizeof(seen) - length;

        switch (vt_parse(&parser, (uint8_t)bytes[i])) {
        case VT_NOTHING:
            break;
        case VT_PRINT:
            (void)snprintf(to, room, parser.character < 0x80 ? "%c" : "<U+%04X>", parser.character);
            break;
        case VT_CONTROL:
            (void)snprintf(to, room, "<%u>", parser.character);
            break;
        case VT_ESCAPE:
            (void)snprintf(to, room, "{%s%c}", parser.intermediate != 0 ? (char[]){(char)parser.intermediate, 0} : "",
                           parser.final);
            break;
        case VT_CSI:
            (void)snprintf(to, room, "{[%s%u:%u %c}", parser.marker != 0 ? (char[]){(char)parser.marker, 0} : "",
                           parser.parameter_count, parser.parameters[0], parser.final);
            break;
        }
        length = strlen(seen);
    }
}

static void expect(const char *bytes, const char *events)
{
    vt_parser_reset(&parser);
    seen[0] = '\0';
    parse(bytes);
    assert_string_equal(seen, events);
}

static void text_and_controls_are_what_they_are(void **state)
{
    (void)state;
    expect("ab\r\nc\td\x7f", "ab<13><10>c<9>d");
}

static void utf8_is_decoded_in_its_shortest_form_only(void **state)
{
    (void)state;
    expect("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "<U+00E4><U+20AC><U+1F600>");
    expect("\xc1\x81x", "??x");                     /* an overlong A */
    expect("\xe0\x80\x9bx", "?x");                  /* an overlong ESC ... */
    expect("\xed\xa0\x80\xf4\x90\x80\x80x", "??x"); /* a surrogate; beyond the last character */
    expect("\xff\xfex", "??x");
}

static void a_piece_of_a_character_does_not_reach_what_follows(void **state)
{
    (void)state;
    expect("\xe2\x82x", "x");
    expect("\xe2\x82\n", "<10>");
    expect("\xe2\x82\x1b[mx", "{[1:0 m}x");
    expect("\xa4x", "?x");
}

/* CSI as the byte 0x9b and as the character U+009B: a terminal may obey either. */
static void eight_bit_controls_are_no_controls(void **state)
{
    (void)state;
    expect("\x9b"
           "6n",
           "?6n");
    expect("\xc2\x9b"
           "6n",
           "?6n");
    expect("\x90"
           "q\x9c",
           "?q?");
}

static void sequences_have_their_parameters(void **state)
{
    (void)state;
    expect("\x1b[m\x1b[31m\x1b[38:5:1m\x1b[?1049h\x1b[>c\x1b[12;3Hx",
           "{[1:0 m}{[1:31 m}{[3:38 m}{[?1:1049 h}{[>1:0 c}{[2:12 H}x");
    expect("\x1b[99999999999A", "{[1:9999 A}");
    expect("\x1b[5?h", ""); /* a marker behind a parameter */
    expect("\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17mx", "x");
    expect("\x1b[1 qx", "{[1:1 q}x");
    expect("\x1b(0\x1b#8\x1b"
           "7x",
           "{(0}{#8}{7}x");
}

static void controls_within_a_sequence_are_obeyed(void **state)
{
    (void)state;
    expect("\x1b[3\n1mx", "<10>{[1:31 m}x");
    expect("\x1b[3\x18"
           "1mx",
           "1mx");
    expect("\x1b[3\x1b[4mx", "{[1:4 m}x");
    expect("\x1b[3\xc3\xa4x", "<U+00E4>x");
}

static void strings_are_swallowed(void **state)
{
    (void)state;
    expect("a\x1b]0;title\x07"
           "b",
           "ab");
    expect("a\x1b]0;title\x1b\\b", "ab");
    expect("a\x1bPdata\x1b\\b\x1bXdata\x1b\\c\x1b^data\x1b\\d\x1b_data\x1b\\e", "abcde");
    expect("a\x1b]0;t\x1b[31mb", "a{[1:31 m}b");
    expect("a\x1b]0;t\x18"
           "b",
           "ab");
}

/* What blinded a screen for good: the rest of the line is lost, and no more. */
static void a_string_without_an_end_ends_with_its_line(void **state)
{
    (void)state;
    expect("\x1b]0;\r\nplinth: x", "<13><10>plinth: x");
    vt_parser_reset(&parser);
    for (uint32_t i = 0; i < VT_STRING_MAX + 2; i++) {
        (void)vt_parse(&parser, i < 2 ? (uint8_t) "\x1b]"[i] : 'x');
    }
    assert_true(vt_parser_at_rest(&parser));
}

static void rest_is_known(void **state)
{
    static const char *const unfinished[] = {"\x1b",  "\x1b[",        "\x1b[3", "\x1b(",
                                             "\x1b]", "\x1b]0;x\x1b", "\xc3",   "\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(unfinished); i++) {
        expect(unfinished[i], "");
        assert_false(vt_parser_at_rest(&parser));
    }
    expect("x", "x");
    assert_true(vt_parser_at_rest(&parser));
}

static struct vt_style style_of(const char *sequence)
{
    struct vt_style style = {0};

    vt_parser_reset(&parser);
    for (; *sequence != '\0'; sequence++) {
        if (vt_parse(&parser, (uint8_t)*sequence) == VT_CSI) {
            vt_style_change(&style, &parser);
        }
    }
    return style;
}

static void styles_follow_sgr(void **state)
{
    struct vt_style style = style_of("\x1b[1;4;31;42m");

    (void)state;
    assert_int_equal(style.flags, VT_BOLD | VT_UNDERLINE | VT_FOREGROUND | VT_BACKGROUND);
    assert_int_equal(style.colours, 0x21);
    assert_true(vt_style_equal(style_of("\x1b[1;4;31;42m\x1b[22;24;39;49m"), (struct vt_style){0}));
    assert_true(vt_style_equal(style_of("\x1b[7;97;105m\x1b[m"), (struct vt_style){0}));
    assert_int_equal(style_of("\x1b[97;105m").colours, 0xdf);
    assert_int_equal(style_of("\x1b[38;5;196m").colours, 9);      /* the reddest of the cube: bright red */
    assert_int_equal(style_of("\x1b[38;2;0;0;255m").colours, 12); /* bright blue */
    assert_int_equal(style_of("\x1b[48;5;232m").colours, 0);
    assert_int_equal(style_of("\x1b[38;5;1;4m").flags, VT_FOREGROUND | VT_UNDERLINE);
    assert_true(vt_style_equal(style_of("\x1b[5;8m"), (struct vt_style){0})); /* neither blinks nor is hidden */
}

/* What moves or turns its neighbours, and what only looks like a blank. */
static void only_characters_with_a_known_width_are_shown(void **state)
{
    static const uint32_t hidden[] = {0x80,   0x9b,   0xa0,   0xad,   0x300,  0x5d0,  0x627,  0x200b, 0x200f,
                                      0x202e, 0x2066, 0x2028, 0x2800, 0x3000, 0xfe0f, 0xfeff, 0xe000, 0x1f600};
    static const uint32_t narrow[] = {' ', '~', 0xe4, 0x3b1, 0x416, 0x2013, 0x20ac, 0x2500, 0x2588};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(hidden); i++) {
        assert_int_equal(vt_columns(hidden[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(narrow); i++) {
        assert_int_equal(vt_columns(narrow[i]), 1);
    }
    assert_int_equal(vt_columns(0x4e2d), 2);
    for (uint32_t character = 0; character < 0x80; character++) {
        uint32_t drawn = vt_graphic(character);

        assert_true(character < ' ' || character == 0x7f || vt_columns(drawn) == 1);
    }
    assert_int_equal(vt_graphic('q'), 0x2500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_controls_are_what_they_are),
        cmocka_unit_test(utf8_is_decoded_in_its_shortest_form_only),
        cmocka_unit_test(a_piece_of_a_character_does_not_reach_what_follows),
        cmocka_unit_test(eight_bit_controls_are_no_controls),
        cmocka_unit_test(sequences_have_their_parameters),
        cmocka_unit_test(controls_within_a_sequence_are_obeyed),
        cmocka_unit_test(strings_are_swallowed),
        cmocka_unit_test(a_string_without_an_end_ends_with_its_line),
        cmocka_unit_test(rest_is_known),
        cmocka_unit_test(styles_follow_sgr),
        cmocka_unit_test(only_characters_with_a_known_width_are_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
