/* SPDX-License-Identifier: MIT */
/* Port I/O as on a PC: no device reads all ones; string forms move memory, registers and direction as they
 * should. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "ports";

#define NO_DEVICE 0x1234   /* no device of this PC, and none of QEMU's */
#define SCRATCH (COM1 + 7) /* a register of the 16550 that keeps what is written */
#define COUNT 5

struct string_result {
    word_t count, address;
};

#define STRING_OUT(name, instruction)                                                                 \
    static struct string_result name(uint16_t port, const void *from, word_t count)                   \
    {                                                                                                 \
        struct string_result r = {count, (word_t)(uintptr_t)from};                                    \
        __asm__ volatile("rep " instruction : "+c"(r.count), "+S"(r.address) : "d"(port) : "memory"); \
        return r;                                                                                     \
    }
#define STRING_IN(name, instruction)                                                                  \
    static struct string_result name(uint16_t port, void *to, word_t count)                           \
    {                                                                                                 \
        struct string_result r = {count, (word_t)(uintptr_t)to};                                      \
        __asm__ volatile("rep " instruction : "+c"(r.count), "+D"(r.address) : "d"(port) : "memory"); \
        return r;                                                                                     \
    }
STRING_OUT(out_bytes, "outsb")
STRING_OUT(out_words, "outsw")
STRING_OUT(out_longs, "outsl")
STRING_IN(in_bytes, "insb")
STRING_IN(in_words, "insw")
STRING_IN(in_longs, "insl")
STRING_IN(in_bytes_backwards, "insb")

static void no_device_reads_all_ones_and_ignores_writes(void)
{
    out8(NO_DEVICE, 0x12);
    out16(NO_DEVICE, 0x1234);
    out32(NO_DEVICE, 0x12345678);
    CHECK_EQUAL(in8(NO_DEVICE), 0xff);
    CHECK_EQUAL(in16(NO_DEVICE), 0xffff);
    CHECK_EQUAL(in32(NO_DEVICE), 0xffffffff);
}

static void in_changes_only_as_much_of_the_accumulator_as_it_reads(void)
{
    word_t value;

    out8(SCRATCH, 0x5a);
    __asm__ volatile("inb %%dx, %%al" : "=a"(value) : "0"((word_t)-1 ^ 0xff), "d"((uint16_t)SCRATCH));
    CHECK_EQUAL(value, ((word_t)-1 ^ 0xff) | 0x5a);
    __asm__ volatile("inw %%dx, %%ax" : "=a"(value) : "0"((word_t)0x11220000), "d"((uint16_t)NO_DEVICE));
    CHECK_EQUAL(value, 0x1122ffff);
    __asm__ volatile("inl %%dx, %%eax" : "=a"(value) : "0"((word_t)-1), "d"((uint16_t)NO_DEVICE));
    CHECK_EQUAL(value, 0xffffffffu); /* a 32-bit result clears the upper half */
}

static void a_string_out_ends_with_its_last_byte(void)
{
    static const char bytes[COUNT] = {1, 2, 3, 4, 0x77};
    struct string_result r = out_bytes(SCRATCH, bytes, COUNT);

    CHECK_EQUAL(r.count, 0);
    CHECK_EQUAL(r.address, (uintptr_t)bytes + COUNT);
    CHECK_EQUAL(in8(SCRATCH), 0x77);
    r = out_words(NO_DEVICE, bytes, 2);
    CHECK_EQUAL(r.address, (uintptr_t)bytes + 4);
    r = out_longs(NO_DEVICE, bytes, 1);
    CHECK_EQUAL(r.address, (uintptr_t)bytes + 4);
}

static void a_string_in_fills_exactly_its_count(void)
{
    static uint8_t bytes[32];
    struct string_result r;

    out8(SCRATCH, 0x3c);
    r = in_bytes(SCRATCH, &bytes[1], COUNT);
    CHECK_EQUAL(r.count, 0);
    CHECK_EQUAL(r.address, (uintptr_t)&bytes[1 + COUNT]);
    for (unsigned i = 0; i < 16; i++) {
        CHECK_EQUAL(bytes[i], i >= 1 && i < 1 + COUNT ? 0x3c : 0);
    }
    r = in_words(NO_DEVICE, &bytes[16], 2);
    CHECK_EQUAL(r.address, (uintptr_t)&bytes[20]);
    CHECK_EQUAL(bytes[19], 0xff);
    CHECK_EQUAL(bytes[20], 0);
    r = in_longs(NO_DEVICE, &bytes[24], 1);
    CHECK_EQUAL(bytes[27], 0xff);
    CHECK_EQUAL(bytes[28], 0);
}

static void a_count_of_zero_does_nothing(void)
{
    static uint8_t byte;
    struct string_result r = in_bytes(SCRATCH, &byte, 0);

    CHECK_EQUAL(r.address, (uintptr_t)&byte);
    CHECK_EQUAL(byte, 0);
}

static void the_direction_flag_turns_strings_around(void)
{
    static uint8_t bytes[16];
    struct string_result r;

    out8(SCRATCH, 0x42);
    __asm__ volatile("std");
    r = in_bytes_backwards(SCRATCH, &bytes[8], 3);
    __asm__ volatile("cld");
    CHECK_EQUAL(r.address, (uintptr_t)&bytes[5]);
    CHECK_EQUAL(bytes[5], 0);
    CHECK_EQUAL(bytes[6], 0x42);
    CHECK_EQUAL(bytes[8], 0x42);
    CHECK_EQUAL(bytes[9], 0);
}

static void strings_cross_pages(void)
{
    static uint8_t pages[2 * 4096] __attribute__((aligned(4096)));
    struct string_result r;

    out8(SCRATCH, 0x99);
    r = in_bytes(SCRATCH, &pages[4090], 12);
    CHECK_EQUAL(r.count, 0);
    CHECK_EQUAL(pages[4089], 0);
    CHECK_EQUAL(pages[4090], 0x99);
    CHECK_EQUAL(pages[4101], 0x99);
    CHECK_EQUAL(pages[4102], 0);
}

static void immediate_and_register_ports_are_the_same(void)
{
    uint8_t value;

    out8(0x80, 0); /* a delay on every PC */
    __asm__ volatile("inb $0x61, %0" : "=a"(value));
    CHECK_EQUAL(value & 0x03, in8(0x61) & 0x03);
}

void guest_main(void)
{
    no_device_reads_all_ones_and_ignores_writes();
    in_changes_only_as_much_of_the_accumulator_as_it_reads();
    a_string_out_ends_with_its_last_byte();
    a_string_in_fills_exactly_its_count();
    a_count_of_zero_does_nothing();
    the_direction_flag_turns_strings_around();
    strings_cross_pages();
    immediate_and_register_ports_are_the_same();
}
