/* SPDX-License-Identifier: MIT */
#include "hv/base/format.h"

struct output {
    char *to;
    size_t capacity;
    size_t length;
};

struct conversion {
    bool left;
    bool zero;
    bool alternate;
    size_t width;
    bool has_precision;
    size_t precision;
    unsigned bytes; /* of the integer argument */
};

#define DIGITS_MAX 24

static void put(struct output *out, char character)
{
    if (out->length + 1 < out->capacity) {
        out->to[out->length++] = character;
    }
}

static void put_padded(struct output *out, const struct conversion *conv, const char *text, size_t length)
{
    size_t padding = conv->width > length ? conv->width - length : 0;

    for (size_t i = 0; !conv->left && i < padding; i++) {
        put(out, ' ');
    }
    for (size_t i = 0; i < length; i++) {
        put(out, text[i]);
    }
    for (size_t i = 0; conv->left && i < padding; i++) {
        put(out, ' ');
    }
}

static void put_number(struct output *out, const struct conversion *conv, uint64_t value, unsigned base, bool negative,
                       bool upper)
{
    char digits[DIGITS_MAX + 4];
    char text[DIGITS_MAX + 4 + 64];
    size_t count = 0;
    size_t length = 0;
    size_t prefix;

    do {
        unsigned digit = (unsigned)(value % base);

        digits[count++] = (char)(digit < 10 ? '0' + digit : (upper ? 'A' : 'a') + digit - 10);
        value /= base;
    } while (value != 0 && count < DIGITS_MAX);
    if (negative) {
        text[length++] = '-';
    }
    if (conv->alternate && base == 16) {
        text[length++] = '0';
        text[length++] = 'x';
    }
    prefix = length;
    while (conv->zero && !conv->left && prefix + count < conv->width && prefix + count < 64) {
        text[length++] = '0';
        prefix++;
    }
    while (count > 0) {
        text[length++] = digits[--count];
    }
    put_padded(out, conv, text, length);
}

static void put_string(struct output *out, const struct conversion *conv, const char *string)
{
    size_t length = 0;

    string = string == NULL ? "(null)" : string;
    while ((!conv->has_precision || length < conv->precision) && string[length] != '\0') {
        length++;
    }
    put_padded(out, conv, string, length);
}

static const char *parse_count(const char *form, size_t *count, va_list *list)
{
    if (*form == '*') {
        int given = va_arg(*list, int);

        *count = given > 0 ? (size_t)given : 0;
        return form + 1;
    }
    *count = 0;
    while (*form >= '0' && *form <= '9') {
        *count = *count * 10 + (size_t)(*form++ - '0');
    }
    return form;
}

static const char *parse_flags(const char *form, struct conversion *conv)
{
    for (;; form++) {
        if (*form == '-') {
            conv->left = true;
        } else if (*form == '0') {
            conv->zero = true;
        } else if (*form == '#') {
            conv->alternate = true;
        } else {
            return form;
        }
    }
}

static const char *parse_length(const char *form, struct conversion *conv)
{
    conv->bytes = sizeof(int);
    if (*form == 'z') {
        conv->bytes = sizeof(size_t);
        return form + 1;
    }
    if (*form == 'l') {
        bool twice = form[1] == 'l';

        conv->bytes = twice ? 8 : (unsigned)__SIZEOF_LONG__;
        return form + (twice ? 2 : 1);
    }
    while (*form == 'h') {
        form++;
    }
    return form;
}

static uint64_t take_unsigned(const struct conversion *conv, va_list *list)
{
    return conv->bytes == 8 ? va_arg(*list, uint64_t) : va_arg(*list, unsigned);
}

static void put_signed(struct output *out, const struct conversion *conv, va_list *list)
{
    int64_t value = conv->bytes == 8 ? va_arg(*list, int64_t) : va_arg(*list, int);

    put_number(out, conv, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, value < 0, false);
}

static void put_conversion(struct output *out, struct conversion *conv, char letter, va_list *list)
{
    char character;

    switch (letter) {
    case 'd':
    case 'i':
        put_signed(out, conv, list);
        break;
    case 'u':
        put_number(out, conv, take_unsigned(conv, list), 10, false, false);
        break;
    case 'x':
    case 'X':
        put_number(out, conv, take_unsigned(conv, list), 16, false, letter == 'X');
        break;
    case 'p':
        conv->alternate = true;
        put_number(out, conv, (uint64_t)(uintptr_t)va_arg(*list, void *), 16, false, false);
        break;
    case 'c':
        character = (char)va_arg(*list, int);
        put_padded(out, conv, &character, 1);
        break;
    case 's':
        put_string(out, conv, va_arg(*list, const char *));
        break;
    case '%':
        put(out, '%');
        break;
    default:
        put(out, '%');
        put(out, letter);
        break;
    }
}

size_t format_list(char *to, size_t capacity, const char *form, va_list given)
{
    struct output out = {to, capacity, 0};
    va_list list;

    va_copy(list, given);
    while (*form != '\0') {
        struct conversion conv = {0};

        if (*form != '%') {
            put(&out, *form++);
            continue;
        }
        form = parse_flags(form + 1, &conv);
        form = parse_count(form, &conv.width, &list);
        if (*form == '.') {
            conv.has_precision = true;
            form = parse_count(form + 1, &conv.precision, &list);
        }
        form = parse_length(form, &conv);
        if (*form == '\0') {
            break;
        }
        put_conversion(&out, &conv, *form++, &list);
    }
    va_end(list);
    to[out.length] = '\0';
    return out.length;
}

size_t format_text(char *to, size_t capacity, const char *form, ...)
{
    va_list list;
    size_t length;

    va_start(list, form);
    length = format_list(to, capacity, form, list);
    va_end(list);
    return length;
}

const char *format_bytes(char to[FORMAT_BYTES_MAX], uint64_t bytes)
{
    static const struct {
        uint64_t unit;
        const char *name;
    } units[] = {{GIB * KIB, "TiB"}, {GIB, "GiB"}, {MIB, "MiB"}, {KIB, "KiB"}};

    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        uint64_t unit = units[i].unit;

        if (bytes < unit) {
            continue;
        }
        if (bytes % unit == 0) {
            format_text(to, FORMAT_BYTES_MAX, "%" PRIu64 " %s", bytes / unit, units[i].name);
        } else {
            format_text(to, FORMAT_BYTES_MAX, "%" PRIu64 ".%" PRIu64 " %s", bytes / unit,
                        bytes % unit / (unit / 1024) * 10 / 1024, units[i].name);
        }
        return to;
    }
    format_text(to, FORMAT_BYTES_MAX, "%" PRIu64 " bytes", bytes);
    return to;
}
