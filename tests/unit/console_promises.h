/* SPDX-License-Identifier: MIT */
/*
 * What an operator is promised of a console with several guests, whatever these print, as one check over a terminal
 * model. A program of bytes says what happens: guests print, the hypervisor speaks, keys are typed, time passes, guests
 * end and begin. test_console_promises.c makes such programs at random, tests/fuzz/fuzz_console.c has libFuzzer make them.
 *
 *   1. The terminal gets characters, styles and moves, nothing that it would answer, nothing unfinished.
 *   2. A row that is complete stays as it is.
 *   3. Each line begins with "[name] " or "plinth: ".
 *   4. The lines that begin with "plinth: " are those that the hypervisor said: all of them, whole, in order, unstyled.
 *   5. What is not a line is a page, on the alternate screen, and no row of it begins as a line does.
 */
#ifndef TESTS_UNIT_CONSOLE_PROMISES_H
#define TESTS_UNIT_CONSOLE_PROMISES_H

#include "hv/console/console_mux.h"
#include "tests/unit/terminal_model.h"

#define PROMISE_GUESTS 3u
#define PROMISE_SAID_MAX 512u
#define PROMISE_OUTPUT_BYTES 8192u
#define PROMISE_PARTIAL 50u

struct promises {
    struct console_mux mux;
    struct mux_source sources[PROMISE_GUESTS];
    struct console_page pages[PROMISE_GUESTS];
    struct byte_ring out[PROMISE_GUESTS], in[PROMISE_GUESTS];
    struct terminal_model terminal;
    struct mux_output output;
    char bytes[PROMISE_OUTPUT_BYTES];
    uint64_t now;
    uint32_t said;                                  /* lines of the hypervisor so far, numbered */
    uint32_t seen;                                  /* those that the terminal has shown, in order */
    uint32_t checked;                               /* rows of the main screen that are complete and known... */
    char frozen[MODEL_KEPT][MODEL_COLUMNS_MAX + 1]; /* ...and what they say */
    char broken[320];                               /* the promise that does not hold */
};

static const char *const promise_names[PROMISE_GUESTS] = {"a", "bank", "meter"};

static inline void promises_start(struct promises *p, uint32_t columns)
{
    memset(p, 0, sizeof(*p));
    mux_init(&p->mux);
    model_start(&p->terminal, columns);
    p->output = (struct mux_output){.bytes = p->bytes, .capacity = sizeof(p->bytes)};
    for (uint32_t i = 0; i < PROMISE_GUESTS; i++) {
        p->sources[i] = (struct mux_source){.name = promise_names[i],
                                            .out = &p->out[i],
                                            .in = &p->in[i],
                                            .page = i == 2 ? NULL : &p->pages[i],
                                            .console = true};
        (void)mux_add(&p->mux, &p->sources[i]);
    }
}

static inline void promise_broken(struct promises *p, const char *what, const char *text)
{
    if (p->broken[0] == '\0') {
        (void)snprintf(p->broken, sizeof(p->broken), "%s: '%s'", what, text);
    }
}

static inline bool promise_begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static inline bool promise_has_prefix(const char *text)
{
    for (uint32_t i = 0; i < PROMISE_GUESTS; i++) {
        char prefix[24];

        (void)snprintf(prefix, sizeof(prefix), "[%s]", promise_names[i]);
        if (promise_begins(text, prefix)) {
            return true;
        }
    }
    return promise_begins(text, "plinth: ");
}

/* The hypervisor's line of that number; others that it says by itself begin otherwise. */
static inline void promise_own_line(struct promises *p, const struct model_row *row, const char *text)
{
    char wanted[64];

    for (uint32_t column = 0; column < p->terminal.columns; column++) {
        if (row->cells[column] != 0 && row->styled[column]) {
            promise_broken(p, "a line of the hypervisor has a style", text);
        }
    }
    if (!promise_begins(text, "plinth: N")) {
        return;
    }
    (void)snprintf(wanted, sizeof(wanted), "plinth: N%u.", p->seen);
    if (strcmp(text, wanted) != 0) {
        promise_broken(p, wanted, text);
    }
    p->seen++;
}

static inline void promise_check_main(struct promises *p)
{
    struct terminal_model *terminal = &p->terminal;
    uint32_t complete = terminal->top + (terminal->alternate ? terminal->saved_row : terminal->row);
    uint32_t recent = p->checked > 2 * MODEL_ROWS ? p->checked - 2 * MODEL_ROWS : 0;
    char text[MODEL_COLUMNS_MAX + 1];

    for (uint32_t row = recent; row < p->checked; row++) {
        if (strcmp(p->frozen[row], model_text_of(&terminal->main[row], terminal->columns, text)) != 0) {
            promise_broken(p, "a complete row was changed", text);
        }
    }
    for (; p->checked < complete; p->checked++) {
        const struct model_row *row = &terminal->main[p->checked];

        (void)model_text_of(row, terminal->columns, p->frozen[p->checked]);
        if (!row->continues && !promise_has_prefix(p->frozen[p->checked])) {
            promise_broken(p, "a line without a name", p->frozen[p->checked]);
        }
        if (!row->continues && promise_begins(p->frozen[p->checked], "plinth: ")) {
            promise_own_line(p, row, p->frozen[p->checked]);
        }
    }
    (void)model_text_of(&terminal->main[complete], terminal->columns, text);
    if (text[0] != '\0' && !terminal->main[complete].continues && !promise_has_prefix(text)) {
        promise_broken(p, "an open line without a name", text);
    }
}

static inline void promise_check_page(struct promises *p)
{
    char text[MODEL_COLUMNS_MAX + 1];

    for (uint32_t row = 0; p->terminal.alternate && row < MODEL_ROWS; row++) {
        const char *first = model_text_of(&p->terminal.other[row], p->terminal.columns, text);

        while (*first == ' ') {
            first++;
        }
        if (promise_has_prefix(first) || promise_begins(first, "plinth:")) {
            promise_broken(p, "a row of a page looks like a line", text);
        }
    }
}

/* The terminal gets what was said, and the promises are looked at. */
static inline void promise_deliver(struct promises *p)
{
    if (p->output.length == p->output.capacity) {
        promise_broken(p, "the output's bound", "");
    }
    for (uint32_t i = 0; i < p->output.length; i++) {
        model_put(&p->terminal, (uint8_t)p->bytes[i]);
    }
    p->output.length = 0;
    if (p->terminal.state != 0 || p->terminal.utf8_left != 0) {
        promise_broken(p, "an unfinished sequence", "");
    }
    if (p->terminal.bad[0] != '\0') {
        promise_broken(p, "not for a terminal", p->terminal.bad);
    }
    promise_check_main(p);
    promise_check_page(p);
}

static inline void promise_say(struct promises *p)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "plinth: N%u.", p->said++);
    mux_say(&p->mux, text, &p->output);
    promise_deliver(p);
    if (p->seen != p->said) {
        promise_broken(p, "a line of the hypervisor is not shown", text);
    }
    if (p->terminal.alternate || p->terminal.column != 0 || p->terminal.cursor_hidden || p->terminal.application_keys ||
        p->terminal.no_wrap || p->terminal.styled) {
        promise_broken(p, "after a line the terminal is not as usual", text);
    }
}

static inline void promise_pump(struct promises *p)
{
    mux_pump(&p->mux, p->now, PROMISE_PARTIAL, &p->output);
    promise_deliver(p);
}

/* One step of a program; returns how many bytes of it were used. */
static inline size_t promise_step(struct promises *p, const uint8_t *program, size_t bytes)
{
    uint32_t guest = program[0] / 8u % PROMISE_GUESTS;
    size_t used = 1;

    switch (program[0] % 8u) {
    case 0:
        promise_say(p);
        break;
    case 1:
        if (bytes > 1) {
            (void)mux_type(&p->mux, program[1], &p->output);
            used = 2;
            p->mux.command = MUX_NO_COMMAND;
            p->in[guest].tail = p->in[guest].head;
            promise_deliver(p);
        }
        break;
    case 2:
        p->now += program[0];
        promise_pump(p);
        break;
    case 3:
        mux_set_running(&p->mux, guest, (program[0] & 0x80u) != 0, &p->output);
        promise_deliver(p);
        break;
    default: /* guests print: up to 15 bytes */
        for (uint32_t i = 0; i < program[0] / 16u && used < bytes; i++) {
            (void)byte_ring_put(&p->out[program[0] % 8u % PROMISE_GUESTS], program[used++]);
        }
        if ((program[0] & 8u) != 0) {
            promise_pump(p);
        }
        break;
    }
    return used;
}

/* The whole program, then an end as the machine has it. Empty, or the promise that did not hold. */
static inline const char *promises_run(struct promises *p, const uint8_t *program, size_t bytes, uint32_t columns)
{
    promises_start(p, columns);
    while (bytes != 0 && p->broken[0] == '\0' && p->terminal.top + 8 * MODEL_ROWS < MODEL_KEPT) {
        size_t used = promise_step(p, program, bytes);

        program += used;
        bytes -= used;
    }
    promise_say(p);
    for (uint32_t i = 0; i < 64 && mux_has_bytes(&p->mux) && p->terminal.top + 8 * MODEL_ROWS < MODEL_KEPT; i++) {
        promise_pump(p);
    }
    mux_end_line(&p->mux, &p->output);
    promise_deliver(p);
    promise_say(p);
    return p->broken;
}

#endif
