/* SPDX-License-Identifier: MIT */
/* The parts of the config parser that touch the file's bytes, on every text of up to TEXT_BYTES bytes: lines, words,
 * quotes, numbers, sizes, durations, lists of CPUs. (Keys and rules only see what these hand out.) */
#include "config/config_internal.h"

#define TEXT_BYTES 4096u

static char bytes[TEXT_BYTES];
static struct config_guest guest;

static struct text any_text(void)
{
    struct text text;

    Frama_C_make_unknown(bytes, TEXT_BYTES);
    text.start = bytes;
    text.length = (size_t)Frama_C_interval(0, TEXT_BYTES);
    return text;
}

static void prove_lines(void)
{
    struct config_reader reader = config_reader_of(any_text());
    struct config_line line;
    struct config_piece word;

    while (config_read_line(&reader, &line)) {
        (void)config_unquote(&line.value);
        (void)config_take_word(&line.value, &word);
    }
}

static void prove_values(void)
{
    uint64_t number;
    uint32_t us;

    (void)config_value_size(any_text(), &number);
    (void)config_value_number(any_text(), &number);
    (void)config_value_duration(any_text(), &us);
    guest.cpu_count = 0;
    (void)config_value_cpus(any_text(), &guest);
}

int main(void)
{
    prove_lines();
    prove_values();
    (void)config_text_alike(any_text(), "cpus");
    (void)config_text_distance(any_text(), "cpus");
    return 0;
}
