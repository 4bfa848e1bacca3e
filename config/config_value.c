/* SPDX-License-Identifier: MIT */
/*
 * Values: sizes, durations, CPU lists. All numbers are read with overflow checks; a text is a value only as a whole.
 */
#include "config/config_internal.h"

#define NUMBER_MAX (1ULL << 60) /* room for one more digit without overflow */
#define FRACTION_DIGITS_MAX 6u
#define SIZE_MAX_BYTES (1ULL << 62)
#define CPU_NUMBER_MAX 4095u

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes decimal digits off the front. False where there are none or the number is absurd. */
static bool take_digits(struct text *text, uint64_t *number)
{
    size_t i = 0;
    uint64_t value = 0;

    while (i < text->length && is_digit(text->start[i])) {
        value = value * 10 + (uint64_t)(text->start[i] - '0');
        if (value >= NUMBER_MAX) {
            return false;
        }
        i++;
    }
    *number = value;
    *text = (struct text){text->start + i, text->length - i};
    return i != 0;
}

static bool take_hex(struct text *text, uint64_t *number)
{
    size_t i = 0;
    uint64_t value = 0;

    for (; i < text->length; i++) {
        char c = text->start[i];
        char lower = (char)(c | 0x20);

        if (!is_digit(c) && (lower < 'a' || lower > 'f')) {
            break;
        }
        value = value << 4 | (uint64_t)(is_digit(c) ? c - '0' : lower - 'a' + 10);
        if (value >= NUMBER_MAX) {
            return false;
        }
    }
    *number = value;
    *text = (struct text){text->start + i, text->length - i};
    return i != 0;
}

static void skip(struct text *text, size_t count)
{
    *text = (struct text){text->start + count, text->length - count};
}

static bool take_char(struct text *text, char c)
{
    bool there = text->length != 0 && text->start[0] == c;

    if (there) {
        skip(text, 1);
    }
    return there;
}

static void skip_blanks(struct text *text)
{
    while (take_char(text, ' ') || take_char(text, '\t')) {
    }
}

bool config_take_number(struct text *text, uint64_t *number)
{
    bool hex = text->length > 2 && text->start[0] == '0' && (text->start[1] | 0x20) == 'x';

    if (hex) {
        skip(text, 2);
    }
    return hex ? take_hex(text, number) : take_digits(text, number);
}

bool config_value_number(struct text text, uint64_t *number)
{
    return take_digits(&text, number) && text.length == 0;
}

/* Powers of 1024 in every spelling that people use. */
static const struct {
    const char *name;
    uint64_t factor;
} size_units[] = {
    {"", 1},      {"b", 1},     {"bytes", 1},    {"k", KIB},       {"kb", KIB},
    {"kib", KIB}, {"m", MIB},   {"mb", MIB},     {"mib", MIB},     {"g", GIB},
    {"gb", GIB},  {"gib", GIB}, {"t", KIB *GIB}, {"tb", KIB *GIB}, {"tib", KIB *GIB},
};

static bool size_factor(struct text unit, uint64_t *factor)
{
    for (size_t i = 0; i < ARRAY_COUNT(size_units); i++) {
        if (config_text_alike(unit, size_units[i].name)) {
            *factor = size_units[i].factor;
            return true;
        }
    }
    return false;
}

/* ".5" behind "1": as a number of digits over a power of ten. */
static bool take_fraction(struct text *text, uint64_t *number, uint64_t *power)
{
    size_t before = text->length;

    *power = 1;
    if (!take_digits(text, number) || before - text->length > FRACTION_DIGITS_MAX) {
        return false;
    }
    for (size_t i = text->length; i < before; i++) {
        *power *= 10;
    }
    return true;
}

bool config_value_size(struct text text, uint64_t *bytes)
{
    uint64_t whole = 0;
    uint64_t fraction = 0;
    uint64_t power = 1;
    uint64_t factor = 1;
    bool hex = text.length > 2 && text.start[0] == '0' && (text.start[1] | 0x20) == 'x';

    if (hex) {
        skip(&text, 2);
    }
    if (!(hex ? take_hex(&text, &whole) : take_digits(&text, &whole))) {
        return false;
    }
    if (!hex && take_char(&text, '.') && !take_fraction(&text, &fraction, &power)) {
        return false;
    }
    skip_blanks(&text);
    if (!size_factor(text, &factor) || whole > SIZE_MAX_BYTES / factor) {
        return false;
    }
    /* fraction < 10^6 < 2^20 and factor <= 2^40: the product fits. Of 1.3G the part of a byte is left out: the rules
     * then say which multiple of a page is near. */
    if (factor < MIB && fraction * factor % power != 0) {
        return false;
    }
    *bytes = whole * factor + fraction * factor / power;
    return true;
}

bool config_value_duration(struct text text, uint32_t *us)
{
    static const struct {
        const char *name;
        uint32_t factor;
    } units[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}};
    uint64_t number = 0;

    if (!take_digits(&text, &number)) {
        return false;
    }
    skip_blanks(&text);
    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (config_text_alike(text, units[i].name) && number <= UINT32_MAX / units[i].factor) {
            *us = (uint32_t)number * units[i].factor;
            return true;
        }
    }
    return false;
}

static void skip_character(struct text *text)
{
    text->start++;
    text->length--;
}

bool config_value_zone(struct text text, int32_t *minutes)
{
    uint64_t hours = 0, rest = 0;
    bool west;

    if (text.length == 0 || (text.start[0] != '+' && text.start[0] != '-')) {
        return false;
    }
    west = text.start[0] == '-';
    skip_character(&text);
    if (!take_digits(&text, &hours)) {
        return false;
    }
    if (text.length != 0 && text.start[0] == ':') {
        skip_character(&text);
        if (!take_digits(&text, &rest)) {
            return false;
        }
    }
    if (text.length != 0 || rest >= 60 || hours > CONFIG_ZONE_MAX_MINUTES / 60 ||
        hours * 60 + rest > CONFIG_ZONE_MAX_MINUTES) {
        return false;
    }
    *minutes = west ? -(int32_t)(hours * 60 + rest) : (int32_t)(hours * 60 + rest);
    return true;
}

static enum config_cpus_result add_cpu(struct config_guest *guest, uint32_t cpu)
{
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        if (guest->cpus[i] == cpu) {
            return CPUS_TWICE;
        }
    }
    if (guest->cpu_count == CONFIG_GUEST_CPUS_MAX) {
        return CPUS_TOO_MANY;
    }
    guest->cpus[guest->cpu_count++] = cpu;
    return CPUS_OK;
}

/* "3" or "0-3". */
static enum config_cpus_result take_cpu_range(struct text *text, struct config_guest *guest)
{
    uint64_t first = 0;
    uint64_t last;
    enum config_cpus_result result = CPUS_OK;

    skip_blanks(text);
    if (!take_digits(text, &first)) {
        return CPUS_BAD;
    }
    last = first;
    skip_blanks(text);
    if (take_char(text, '-')) {
        skip_blanks(text);
        if (!take_digits(text, &last)) {
            return CPUS_BAD;
        }
        skip_blanks(text);
    }
    if (last > CPU_NUMBER_MAX || last < first) {
        return CPUS_BAD;
    }
    for (uint64_t cpu = first; cpu <= last && result == CPUS_OK; cpu++) {
        result = add_cpu(guest, (uint32_t)cpu);
    }
    return result;
}

static enum config_cpus_result set_cpu_count(struct config_guest *guest, uint64_t count)
{
    if (count == 0) {
        return CPUS_NONE;
    }
    if (count > CONFIG_GUEST_CPUS_MAX) {
        return CPUS_TOO_MANY;
    }
    guest->cpu_count = (uint32_t)count;
    for (uint32_t i = 0; i < guest->cpu_count; i++) {
        guest->cpus[i] = CONFIG_CPU_ANY;
    }
    return CPUS_OK;
}

/* "2 performance" */
static bool read_cpus_of_kind(struct text text, uint64_t *count, enum config_cpu_kind *kind)
{
    if (!take_digits(&text, count) || text.length == 0 || (text.start[0] != ' ' && text.start[0] != '\t')) {
        return false;
    }
    skip_blanks(&text);
    for (uint32_t i = CPU_KIND_PERFORMANCE; i <= CPU_KIND_EFFICIENT; i++) {
        if (config_text_alike(text, config_cpu_kind_name((enum config_cpu_kind)i))) {
            *kind = (enum config_cpu_kind)i;
            return true;
        }
    }
    return false;
}

enum config_cpus_result config_value_cpus(struct text text, struct config_guest *guest)
{
    enum config_cpus_result result = CPUS_OK;
    uint64_t count = 0;

    guest->cpu_count = 0;
    guest->cpu_kind = CPU_KIND_ANY;
    if (config_value_number(text, &count) || read_cpus_of_kind(text, &count, &guest->cpu_kind)) {
        return set_cpu_count(guest, count);
    }
    while (result == CPUS_OK) {
        result = take_cpu_range(&text, guest);
        skip_blanks(&text);
        if (result != CPUS_OK || text.length == 0) {
            break;
        }
        if (!take_char(&text, ',')) {
            return CPUS_BAD;
        }
        skip_blanks(&text);
        if (text.length == 0) {
            break; /* a comma at the end makes a list of one: "2," is CPU 2 */
        }
    }
    return result;
}
