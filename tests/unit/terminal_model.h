/* SPDX-License-Identifier: MIT */
/*
 * A terminal as an operator has it, to judge what the console sends: a main screen whose rows are all kept, an alternate
 * screen, wrapping, styles. It is strict: a sequence that the console has no business to send is noted in `bad`, above
 * all what a terminal would answer. It behaves as xterm does where terminals differ (BS in the last column).
 */
#ifndef TESTS_UNIT_TERMINAL_MODEL_H
#define TESTS_UNIT_TERMINAL_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MODEL_ROWS 24u
#define MODEL_COLUMNS_MAX 132u
#define MODEL_KEPT 4096u /* rows of the main screen, with those that have scrolled off */
#define MODEL_PARAMETERS 4u

struct model_row {
    uint32_t cells[MODEL_COLUMNS_MAX];
    bool styled[MODEL_COLUMNS_MAX];
    bool continues; /* the row before it wrapped into it */
};

struct terminal_model {
    uint32_t columns;
    uint32_t top; /* first row of the main screen, in `main` */
    uint32_t row, column;
    uint32_t saved_row, saved_column;
    bool pending_wrap, alternate, no_wrap, styled, cursor_hidden, application_keys;
    struct model_row main[MODEL_KEPT];
    struct model_row other[MODEL_ROWS];
    char bad[96];
    /* The parser. */
    uint32_t state; /* 0 text, 1 after ESC, 2 in a control sequence */
    uint32_t parameters[MODEL_PARAMETERS], parameter_count;
    bool question;
    uint32_t character, utf8_left;
};

static inline void model_note(struct terminal_model *model, const char *what, uint32_t value)
{
    if (model->bad[0] == '\0') {
        (void)snprintf(model->bad, sizeof(model->bad), "%s %x", what, value);
    }
}

static inline void model_start(struct terminal_model *model, uint32_t columns)
{
    memset(model, 0, sizeof(*model));
    model->columns = columns;
}

static inline struct model_row *model_row(struct terminal_model *model, uint32_t row)
{
    return model->alternate ? &model->other[row] : &model->main[model->top + row];
}

static inline void model_line_feed(struct terminal_model *model)
{
    if (model->row + 1 < MODEL_ROWS) {
        model->row++;
    } else if (model->alternate) {
        memmove(&model->other[0], &model->other[1], sizeof(model->other) - sizeof(model->other[0]));
        memset(&model->other[MODEL_ROWS - 1], 0, sizeof(model->other[0]));
    } else if (model->top + MODEL_ROWS + 1 < MODEL_KEPT) {
        model->top++;
    }
}

static inline void model_print(struct terminal_model *model, uint32_t character)
{
    uint32_t width = character >= 0x3000 && character <= 0xff60 && character != 0xfffd ? 2 : 1;
    struct model_row *row;

    if (model->pending_wrap || model->column + width > model->columns) {
        model->pending_wrap = false;
        if (!model->no_wrap) {
            model->column = 0;
            model_line_feed(model);
            model_row(model, model->row)->continues = true;
        } else {
            model->column = model->columns - width;
        }
    }
    row = model_row(model, model->row);
    for (uint32_t i = 0; i < width; i++) {
        row->cells[model->column + i] = i == 0 ? character : 1;
        row->styled[model->column + i] = model->styled;
    }
    model->column += width;
    if (model->column >= model->columns) {
        model->column = model->columns - 1;
        model->pending_wrap = true;
    }
}

static inline void model_erase(struct terminal_model *model, uint32_t row, uint32_t from)
{
    for (uint32_t column = from; column < model->columns; column++) {
        model_row(model, row)->cells[column] = 0;
        model_row(model, row)->styled[column] = model->styled;
    }
}

static inline uint32_t model_parameter(const struct terminal_model *model, uint32_t index)
{
    return model->parameters[index] == 0 ? 1 : model->parameters[index];
}

static inline void model_mode(struct terminal_model *model, bool on)
{
    switch (model->parameters[0]) {
    case 1:
        model->application_keys = on;
        break;
    case 7:
        model->no_wrap = !on;
        break;
    case 25:
        model->cursor_hidden = !on;
        break;
    case 1049:
        if (on == model->alternate) {
            model_note(model, "the alternate screen twice", on);
        }
        if (on) {
            model->saved_row = model->row;
            model->saved_column = model->column;
            memset(model->other, 0, sizeof(model->other));
            model->alternate = true;
        } else {
            model->alternate = false;
            model->row = model->saved_row;
            model->column = model->saved_column;
        }
        model->pending_wrap = false;
        break;
    default:
        model_note(model, "mode", model->parameters[0]);
        break;
    }
}

static inline void model_move(struct terminal_model *model, uint8_t final)
{
    uint32_t count = model_parameter(model, 0);

    model->pending_wrap = false;
    if (final == 'C') {
        model->column = model->column + count < model->columns ? model->column + count : model->columns - 1;
    } else if (final == 'D') {
        model->column -= count < model->column ? count : model->column;
    } else if (!model->alternate) {
        model_note(model, "a move on the main screen", final);
    } else {
        uint32_t column = model_parameter(model, 1);

        model->row = (count < MODEL_ROWS ? count : MODEL_ROWS) - 1;
        model->column = (column < model->columns ? column : model->columns) - 1;
    }
}

static inline void model_sequence(struct terminal_model *model, uint8_t final)
{
    if (model->question) {
        if (final == 'h' || final == 'l') {
            model_mode(model, final == 'h');
        } else {
            model_note(model, "a private sequence", final);
        }
        return;
    }
    switch (final) {
    case 'm':
        model->styled = model->parameter_count > 1 || model->parameters[0] != 0;
        break;
    case 'K':
        if (model->parameters[0] != 0) {
            model_note(model, "EL", model->parameters[0]);
        }
        model_erase(model, model->row, model->column);
        break;
    case 'J':
        if (model->parameters[0] != 2 || !model->alternate) {
            model_note(model, "ED", model->parameters[0]);
        }
        for (uint32_t row = 0; row < MODEL_ROWS; row++) {
            model_erase(model, row, 0);
        }
        break;
    case 'C':
    case 'D':
    case 'H':
        model_move(model, final);
        break;
    default:
        model_note(model, "a control sequence", final);
        break;
    }
}

static inline void model_control(struct terminal_model *model, uint8_t byte)
{
    if (model->utf8_left != 0) {
        model_note(model, "an unfinished character before", byte);
    }
    switch (byte) {
    case '\n':
        model->pending_wrap = false;
        model_line_feed(model);
        break;
    case '\r':
        model->pending_wrap = false;
        model->column = 0;
        break;
    case '\b':
        model->pending_wrap = false;
        model->column -= model->column != 0 ? 1 : 0;
        break;
    case '\t':
        model->column = (model->column / 8 + 1) * 8;
        model->column = model->column < model->columns ? model->column : model->columns - 1;
        break;
    case 0x1b:
        model->state = 1;
        break;
    default:
        model_note(model, "a control character", byte);
        break;
    }
}

static inline void model_text(struct terminal_model *model, uint8_t byte)
{
    if (byte < 0x80) {
        if (model->utf8_left != 0 || byte == 0x7f) {
            model_note(model, "not UTF-8", byte);
        }
        model_print(model, byte);
    } else if (byte < 0xc0) {
        if (model->utf8_left == 0) {
            model_note(model, "not UTF-8", byte);
            return;
        }
        model->character = model->character << 6 | (byte & 0x3fu);
        if (--model->utf8_left == 0) {
            if (model->character < 0xa0) {
                model_note(model, "a C1 control", model->character);
            }
            model_print(model, model->character);
        }
    } else {
        model->utf8_left = byte >= 0xe0 ? 2 : 1;
        model->character = byte & (byte >= 0xe0 ? 0x0fu : 0x1fu);
    }
}

static inline void model_put(struct terminal_model *model, uint8_t byte)
{
    if (byte < 0x20) {
        model_control(model, byte);
    } else if (model->state == 0) {
        model_text(model, byte);
    } else if (model->state == 1) {
        if (byte != '[') {
            model_note(model, "ESC", byte);
        }
        model->state = byte == '[' ? 2 : 0;
        memset(model->parameters, 0, sizeof(model->parameters));
        model->parameter_count = 1;
        model->question = false;
    } else if (byte == '?') {
        model->question = true;
    } else if (byte >= '0' && byte <= '9') {
        uint32_t at = model->parameter_count <= MODEL_PARAMETERS ? model->parameter_count - 1 : MODEL_PARAMETERS - 1;

        model->parameters[at] = model->parameters[at] * 10 + (byte - '0');
    } else if (byte == ';') {
        model->parameter_count++;
    } else {
        model->state = 0;
        model_sequence(model, byte);
    }
}

/* A row's text with trailing blanks cut; characters beyond ASCII as '~'. */
static inline const char *model_text_of(const struct model_row *row, uint32_t columns, char *to)
{
    uint32_t length = 0;

    for (uint32_t column = 0; column < columns; column++) {
        uint32_t cell = row->cells[column];

        to[column] = (char)(cell == 0 ? ' ' : cell < 0x80 ? cell : '~');
        length = to[column] != ' ' ? column + 1 : length;
    }
    to[length] = '\0';
    return to;
}

#endif
