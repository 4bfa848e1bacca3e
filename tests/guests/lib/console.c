/* SPDX-License-Identifier: MIT */
/* Output on the serial port, by polling, and the end of a guest. */
#include "tests/guests/lib/guest.h"

#define COM1_LINE_STATUS (COM1 + 5)
#define LINE_STATUS_EMPTY 0x20 /* the transmitter takes a byte */

static void put(char character)
{
    while ((in8(COM1_LINE_STATUS) & LINE_STATUS_EMPTY) == 0) {
        __asm__ volatile("pause");
    }
    out8(COM1, (uint8_t)character);
}

static void put_string(const char *string)
{
    for (; *string != '\0'; string++) {
        if (*string == '\n') {
            put('\r');
        }
        put(*string);
    }
}

/* Without leading zeroes. 32-bit code has no 64-bit division, so decimals have 32 bits. */
static void put_hex(uint64_t value)
{
    bool started = false;

    for (int shift = 60; shift >= 0; shift -= 4) {
        unsigned digit = (unsigned)(value >> shift) & 0xfu;

        if (digit != 0 || started || shift == 0) {
            put("0123456789abcdef"[digit]);
            started = true;
        }
    }
}

static void put_decimal(uint32_t value)
{
    char digits[11];
    int at = 10;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put_string(&digits[at]);
}

static void put_signed(int32_t value)
{
    if (value < 0) {
        put('-');
    }
    put_decimal(value < 0 ? 0u - (uint32_t)value : (uint32_t)value);
}

static void print_list(const char *form, va_list list)
{
    for (; *form != '\0'; form++) {
        if (*form != '%') {
            char one[2] = {*form, '\0'};

            put_string(one);
            continue;
        }
        switch (*++form) {
        case 's':
            put_string(va_arg(list, const char *));
            break;
        case 'c':
            put((char)va_arg(list, int));
            break;
        case 'd':
            put_signed(va_arg(list, int32_t));
            break;
        case 'u':
            put_decimal(va_arg(list, uint32_t));
            break;
        case 'x':
            put_hex(va_arg(list, uint32_t));
            break;
        case 'w':
            put_hex(va_arg(list, word_t));
            break;
        case 'q':
            put_hex(va_arg(list, uint64_t));
            break;
        default:
            put('%');
            break;
        }
    }
}

void print(const char *form, ...)
{
    va_list list;

    va_start(list, form);
    print_list(form, list);
    va_end(list);
}

/* Power-off by ACPI; where there is no such register, the debug exit port; then rest with interrupts off. */
_Noreturn void guest_end(void)
{
    out16(PM1A_CONTROL, PM1A_POWER_OFF);
    out8(DEBUG_EXIT, 0);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

_Noreturn void guest_pass(void)
{
    print("PASS %s\n", guest_name);
    guest_end();
}

_Noreturn void guest_fail(const char *form, ...)
{
    va_list list;

    print("FAIL %s: ", guest_name);
    va_start(list, form);
    print_list(form, list);
    va_end(list);
    print("\n");
    guest_end();
}

void check_equal(const char *file, int line, const char *what, uint64_t left, uint64_t right)
{
    if (left != right) {
        guest_fail("%s:%d: %s: 0x%q is not 0x%q", file, line, what, left, right);
    }
}

/* Clang may call these for copies and zeroing of structures. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    }
    return to;
}
