/* SPDX-License-Identifier: MIT */
/*
 * What kernels that know no ACPI look for on a PC, searched as they do: the EBDA and the memory sizes by the BIOS data
 * area and the CMOS, the MultiProcessor tables (Intel, MultiProcessor Specification 1.4, 4 "MP Configuration Table"),
 * SMBIOS, a text display with a cursor, a keyboard controller that passes its test, a keyboard and a mouse behind it.
 */
#include "tests/guests/lib/cmos.h"

const char guest_name[] = "pc-legacy";

#define BDA_COM1 0x400
#define BDA_EBDA 0x40e
#define BDA_MEMORY_KIB 0x413
#define BDA_COLUMNS 0x44a
#define BDA_CRTC 0x463
#define ROM_START 0xf0000u
#define ROM_END 0x100000u
#define TEXT_MEMORY 0xb8000u
#define CRTC_CURSOR_HIGH 14
#define CRTC_CURSOR_LOW 15
#define STATUS_1 0x3da
#define RETRACE 0x08
#define READS_MAX 10000000u
#define MP_CPU 0
#define MP_IOAPIC 2
#define MP_IO_INTERRUPT 3
#define MP_KIND_MAX 4

/* Through a register, so that the compiler does not see a constant address near null. */
static uint32_t peek(uint32_t address, unsigned bytes)
{
    const volatile uint8_t *at = (const volatile uint8_t *)(uintptr_t)address;
    uint32_t value = 0;

    __asm__ volatile("" : "+r"(at));
    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint32_t)at[i] << (8 * i);
    }
    return value;
}

static bool sums_to_zero(uint32_t address, uint32_t bytes)
{
    uint8_t sum = 0;

    for (uint32_t i = 0; i < bytes; i++) {
        sum = (uint8_t)(sum + peek(address + i, 1));
    }
    return sum == 0;
}

/* A structure with these first four bytes and a sum of zero; its length is `unit` times the byte at `length_at`. 0:
 * none. */
static uint32_t search(uint32_t start, uint32_t end, uint32_t signature, uint32_t length_at, uint32_t unit)
{
    for (uint32_t at = start; at < end; at += 16) {
        if (peek(at, 4) == signature && sums_to_zero(at, peek(at + length_at, 1) * unit)) {
            return at;
        }
    }
    return 0;
}

static void the_bios_data_area_tells_of_memory_and_devices(void)
{
    uint32_t ebda = peek(BDA_EBDA, 2) << 4, kib = peek(BDA_MEMORY_KIB, 2);

    print("  %u KiB, EBDA at 0x%x with %u KiB\n", kib, ebda, peek(ebda, 1));
    CHECK_EQUAL(ebda, kib * 1024);
    CHECK(kib >= 600 && kib < 640);
    CHECK_EQUAL(kib + peek(ebda, 1), 640);
    CHECK_EQUAL(peek(BDA_COM1, 2), 0x3f8);
    CHECK_EQUAL(peek(BDA_COLUMNS, 2), 80);
    CHECK_EQUAL(peek(BDA_CRTC, 2), 0x3d4);
}

static void the_cmos_tells_of_memory(void)
{
    uint32_t base = cmos_read(0x15) | (uint32_t)cmos_read(0x16) << 8,
             extended = cmos_read(0x17) | (uint32_t)cmos_read(0x18) << 8;
    uint32_t above_16m = cmos_read(0x34) | (uint32_t)cmos_read(0x35) << 8;

    CHECK_EQUAL(base, 640);
    CHECK_EQUAL(extended, cmos_read(0x30) | (uint32_t)cmos_read(0x31) << 8);
    CHECK(extended >= 8 * 1024);
    print("  %u KiB from 1 MiB, %u x 64 KiB from 16 MiB\n", extended, above_16m);
}

/* Where xv6 looks, in its order. */
static uint32_t mp_pointer(void)
{
    uint32_t ebda = peek(BDA_EBDA, 2) << 4, low = peek(BDA_MEMORY_KIB, 2) * 1024, found;

    found = search(ebda, ebda + 1024, 0x5f504d5f /* "_MP_" */, 8, 16);
    if (found == 0) {
        found = search(low - 1024, low, 0x5f504d5f, 8, 16);
    }
    return found != 0 ? found : search(ROM_START, ROM_END, 0x5f504d5f, 8, 16);
}

static void the_multiprocessor_tables_name_cpus_and_interrupts(void)
{
    uint32_t pointer = mp_pointer(), table = peek(pointer + 4, 4), end, counts[MP_KIND_MAX + 1] = {0}, entries = 0;

    CHECK(pointer != 0);
    CHECK_EQUAL(peek(table, 4), 0x504d4350); /* "PCMP" */
    end = table + peek(table + 4, 2);
    CHECK(sums_to_zero(table, end - table));
    CHECK_EQUAL(peek(table + 36, 4), LAPIC_BASE);
    for (uint32_t at = table + 44; at < end; at += peek(at, 1) == MP_CPU ? 20 : 8) {
        CHECK(peek(at, 1) <= MP_KIND_MAX);
        counts[peek(at, 1)]++;
        entries++;
        if (peek(at, 1) == MP_CPU) {
            CHECK_EQUAL(peek(at + 4, 4), cpuid(1, 0).eax);
        } else if (peek(at, 1) == MP_IOAPIC) {
            CHECK_EQUAL(peek(at + 4, 4), IOAPIC_BASE);
        }
    }
    CHECK_EQUAL(peek(table + 34, 2), entries);
    CHECK_EQUAL(counts[MP_CPU], 1);
    CHECK_EQUAL(counts[MP_IOAPIC], 1);
    CHECK(counts[MP_IO_INTERRUPT] >= 10);
}

static void smbios_names_the_machine(void)
{
    uint32_t entry = search(ROM_START, ROM_END, 0x5f4d535f /* "_SM_" */, 5, 1), structure, left;
    bool memory = false;

    CHECK(entry != 0);
    structure = peek(entry + 24, 4);
    for (left = peek(entry + 28, 2); left != 0 && peek(structure, 1) != 127; left--) {
        memory = memory || peek(structure, 1) == 16;
        structure += peek(structure + 1, 1);
        while (peek(structure, 2) != 0) {
            structure++;
        }
        structure += 2;
    }
    CHECK_EQUAL(left, 1);
    CHECK(memory);
}

static void crtc_write(uint8_t index, uint8_t value)
{
    out8(0x3d4, index);
    out8(0x3d5, value);
}

static uint8_t crtc_read(uint8_t index)
{
    out8(0x3d4, index);
    return in8(0x3d5);
}

static void the_text_display_has_memory_and_a_cursor(void)
{
    volatile uint16_t *text = (volatile uint16_t *)(uintptr_t)TEXT_MEMORY;

    CHECK((crtc_read(CRTC_CURSOR_HIGH) << 8 | crtc_read(CRTC_CURSOR_LOW)) <= 80 * 25);
    for (uint32_t i = 0; i < 80 * 25; i++) {
        text[i] = 0x0700 | ' ';
    }
    text[80 * 24 + 79] = 0x0700 | '!';
    CHECK_EQUAL(text[80 * 24 + 79], 0x0721);
    crtc_write(CRTC_CURSOR_HIGH, 0x03);
    crtc_write(CRTC_CURSOR_LOW, 0x21);
    CHECK_EQUAL(crtc_read(CRTC_CURSOR_HIGH), 0x03);
    CHECK_EQUAL(crtc_read(CRTC_CURSOR_LOW), 0x21);
    out16(0x3d4, 0x5500 | CRTC_CURSOR_LOW); /* both registers in one word */
    CHECK_EQUAL(in8(0x3d5), 0x55);
}

/* As those do that draw between two pictures: until the retrace ends, then until it begins. */
static void the_retrace_comes_and_goes(void)
{
    uint32_t reads = 0;

    while ((in8(STATUS_1) & RETRACE) != 0 && reads < READS_MAX) {
        reads++;
    }
    while ((in8(STATUS_1) & RETRACE) == 0 && reads < READS_MAX) {
        reads++;
    }
    CHECK(reads < READS_MAX);
}

static void wait_for_keyboard(uint8_t bit, bool set)
{
    uint32_t reads = 0;

    while (((in8(0x64) & bit) != 0) != set) {
        CHECK(++reads < READS_MAX);
    }
}

static void the_keyboard_controller_passes_its_test(void)
{
    wait_for_keyboard(2, false);
    out8(0x64, 0xaa);
    wait_for_keyboard(1, true);
    CHECK_EQUAL(in8(0x60), 0x55);
    out8(0x64, 0x20);
    wait_for_keyboard(1, true);
    (void)in8(0x60);
    wait_for_keyboard(1, false);
}

static void ask_keyboard(uint8_t value, uint8_t answer)
{
    wait_for_keyboard(2, false);
    out8(0x60, value);
    wait_for_keyboard(1, true);
    CHECK_EQUAL(in8(0x60), answer);
}

/* Drivers that were tried where a keyboard is always plugged in wait for these without an end. */
static void keyboard_and_mouse_acknowledge(void)
{
    static const uint8_t mouse_reset[] = {0xfa, 0xaa, 0x00};

    ask_keyboard(0xed, 0xfa);
    ask_keyboard(0x00, 0xfa);
    ask_keyboard(0xff, 0xfa);
    wait_for_keyboard(1, true);
    CHECK_EQUAL(in8(0x60), 0xaa);
    ask_keyboard(0xf4, 0xfa);
    out8(0x64, 0xa8);
    wait_for_keyboard(2, false);
    out8(0x64, 0xd4);
    wait_for_keyboard(2, false);
    out8(0x60, 0xff);
    for (uint32_t i = 0; i < sizeof(mouse_reset); i++) {
        wait_for_keyboard(0x20, true);
        wait_for_keyboard(1, true);
        CHECK_EQUAL(in8(0x60), mouse_reset[i]);
    }
}

void guest_main(void)
{
    the_bios_data_area_tells_of_memory_and_devices();
    the_cmos_tells_of_memory();
    the_multiprocessor_tables_name_cpus_and_interrupts();
    smbios_names_the_machine();
    the_text_display_has_memory_and_a_cursor();
    the_retrace_comes_and_goes();
    the_keyboard_controller_passes_its_test();
    keyboard_and_mouse_acknowledge();
}
