/* SPDX-License-Identifier: MIT */
/*
 * The console's 16550 driver on a model of the chip: what is sent arrives, in ports as in memory; a chip that takes no
 * more bytes is given up after a time and holds up no CPU; an empty bus is no UART. Time is the model's: every look at
 * a register takes a microsecond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/console/console_time.h"
#include "hv/console/console_uart.h"
#include "hv/x86/insn.h"

#include <string.h>

#define PORT 0x3f8u
#define TICKS_PER_US 1000u
#define FIFO_BYTES 16u
#define BYTE_US 87u /* at 115200 baud */
#define SENT_MAX 65536u

static struct {
    bool absent, hung, no_fifo;
    uint8_t lcr, ier, mcr, divisor_low;
    bool fifo_on;
    uint32_t waiting; /* bytes in the FIFO */
    uint64_t next;    /* when one of them is out */
    char sent[SENT_MAX];
    uint32_t sent_count;
    uint32_t lost; /* written into a full FIFO */
    uint64_t now;
} chip;

static struct console_uart uart;
static const struct boot_uart com1 = {.base = PORT, .stride = 1};

static void pass_time(void)
{
    chip.now += TICKS_PER_US;
    while (!chip.hung && chip.waiting != 0 && chip.now >= chip.next) {
        chip.waiting--;
        chip.next += BYTE_US * TICKS_PER_US;
    }
}

static uint8_t line_status(void)
{
    return chip.waiting == 0 ? 0x60 : 0;
}

static void take_byte(uint8_t value)
{
    uint32_t room = chip.fifo_on && !chip.no_fifo ? FIFO_BYTES : 1;

    if (chip.waiting >= room) {
        chip.lost++;
        return;
    }
    if (chip.waiting++ == 0) {
        chip.next = chip.now + BYTE_US * TICKS_PER_US;
    }
    assert_true(chip.sent_count < SENT_MAX);
    chip.sent[chip.sent_count++] = (char)value;
}

uint8_t insn_in8(uint16_t port)
{
    pass_time();
    if (chip.absent) {
        return 0xff;
    }
    switch (port - PORT) {
    case 2:
        return chip.fifo_on && !chip.no_fifo ? 0xc1 : 0x01;
    case 3:
        return chip.lcr;
    case 5:
        return line_status();
    default:
        return 0;
    }
}

void insn_out8(uint16_t port, uint8_t value)
{
    pass_time();
    switch (port - PORT) {
    case 0:
        if ((chip.lcr & 0x80) != 0) {
            chip.divisor_low = value;
        } else {
            take_byte(value);
        }
        break;
    case 1:
        chip.ier = value;
        break;
    case 2:
        chip.fifo_on = (value & 1) != 0;
        break;
    case 3:
        chip.lcr = value;
        break;
    case 4:
        chip.mcr = value;
        break;
    default:
        break;
    }
}

void insn_pause(void)
{
    pass_time();
}

uint64_t console_tsc_hz = TICKS_PER_US * 1000000ULL;

uint64_t insn_rdtsc(void)
{
    return chip.now;
}

static int set_up(void **state)
{
    (void)state;
    memset(&chip, 0, sizeof(chip));
    memset(&uart, 0, sizeof(uart));
    chip.now = 1;
    return 0;
}

static void put_text(const char *text)
{
    uart_put(&uart, text, (uint32_t)strlen(text));
}

static void what_is_put_is_sent_in_order_and_none_is_lost(void **state)
{
    char text[3000];

    (void)state;
    for (uint32_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('a' + i % 26);
    }
    text[sizeof(text) - 1] = '\0';
    uart_open(&uart, &com1);
    assert_true(uart.alive && uart.fifo);
    assert_int_equal(chip.divisor_low, 1);
    put_text(text);
    uart_flush(&uart);
    assert_int_equal(chip.lost, 0);
    assert_int_equal(chip.sent_count, sizeof(text) - 1);
    assert_memory_equal(chip.sent, text, sizeof(text) - 1);
    assert_true(uart.alive && uart_empty(&uart));
}

static void what_finds_the_ring_full_is_lost_and_counted(void **state)
{
    static char text[3000];

    (void)state;
    uart_open(&uart, &com1);
    chip.hung = true;
    for (uint32_t put = 0; put < UART_RING_BYTES; put += sizeof(text)) {
        assert_int_equal(uart.lost, 0);
        memset(text, (int)('a' + put / sizeof(text)), sizeof(text));
        uart_put(&uart, text, sizeof(text));
    }
    assert_int_equal(uart_room(&uart), 0);
    assert_int_equal(uart.lost, (UART_RING_BYTES / sizeof(text) + 1) * sizeof(text) - UART_RING_BYTES);
    for (uint32_t i = 0; i < UART_RING_BYTES; i++) {
        assert_int_equal(uart.ring[i], 'a' + i / sizeof(text));
    }
}

static void a_chip_without_fifo_gets_a_byte_at_a_time(void **state)
{
    (void)state;
    chip.no_fifo = true;
    uart_open(&uart, &com1);
    assert_true(uart.alive && !uart.fifo);
    put_text("slowly");
    uart_flush(&uart);
    assert_int_equal(chip.lost, 0);
    assert_int_equal(chip.sent_count, 6);
}

static void a_drain_never_waits(void **state)
{
    uint64_t before;

    (void)state;
    uart_open(&uart, &com1);
    for (uint32_t i = 0; i < 1000; i++) {
        uart_put(&uart, "x", 1);
    }
    before = chip.now;
    uart_drain(&uart, chip.now, 512);
    assert_true(chip.now - before < 100 * TICKS_PER_US);
    assert_int_equal(chip.sent_count, FIFO_BYTES);
}

static void a_hung_chip_is_given_up_and_costs_a_bounded_time(void **state)
{
    uint64_t before;

    (void)state;
    uart_open(&uart, &com1);
    chip.hung = true;
    for (uint32_t i = 0; i < UART_RING_BYTES; i++) {
        uart_put(&uart, "x", 1);
    }
    before = chip.now;
    uart_flush(&uart);
    assert_false(uart.alive);
    assert_true(chip.now - before >= UART_STUCK_US * TICKS_PER_US);
    assert_true(chip.now - before < 2 * UART_STUCK_US * TICKS_PER_US);
    assert_true(uart_empty(&uart));
    assert_int_equal(uart_room(&uart), UART_RING_BYTES);
    before = chip.now;
    put_text("this is not sent");
    uart_flush(&uart);
    assert_int_equal(chip.now, before);
}

static void a_chip_that_hangs_between_drains_is_given_up_by_time_and_not_by_calls(void **state)
{
    (void)state;
    uart_open(&uart, &com1);
    chip.hung = true;
    for (uint32_t i = 0; i < 100; i++) {
        uart_put(&uart, "x", 1);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        uart_drain(&uart, chip.now, 512);
    }
    assert_true(uart.alive); /* a millisecond is no hang */
    chip.now += UART_STUCK_US * TICKS_PER_US;
    uart_drain(&uart, chip.now, 512);
    uart_drain(&uart, chip.now, 512);
    assert_false(uart.alive);
}

static void an_empty_bus_is_no_uart(void **state)
{
    uint8_t byte;

    (void)state;
    chip.absent = true;
    uart_open(&uart, &com1);
    assert_false(uart.alive);
    assert_false(uart_receive(&uart, &byte));
    put_text("x");
    assert_true(uart_empty(&uart));
}

static void the_rate_of_a_foreign_clock_stays(void **state)
{
    const struct boot_uart card = {.base = PORT, .stride = 1, .keep_rate = true};

    (void)state;
    chip.divisor_low = 13;
    uart_open(&uart, &card);
    assert_true(uart.alive);
    assert_int_equal(chip.divisor_low, 13);
}

/* Registers in memory: a block that is plain memory, with the status of an idle transmitter. */
static void registers_in_memory_are_used_with_their_stride(void **state)
{
    static uint32_t words[8];
    static uint8_t bytes[8];
    const struct boot_uart wide = {.base = (uint64_t)(uintptr_t)words, .mmio = true, .stride = 4};
    const struct boot_uart narrow = {.base = (uint64_t)(uintptr_t)bytes, .mmio = true, .stride = 1};

    (void)state;
    words[5] = 0x60;
    uart_open(&uart, &wide);
    assert_true(uart.alive);
    uart_put(&uart, "W", 1);
    uart_flush(&uart);
    assert_int_equal(words[0], 'W');
    assert_int_equal(words[3], 0x03);
    assert_int_equal(words[4], 0x03);
    bytes[5] = 0x60;
    uart_open(&uart, &narrow);
    uart_put(&uart, "N", 1);
    uart_flush(&uart);
    assert_int_equal(bytes[0], 'N');
    assert_int_equal(chip.sent_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_put_is_sent_in_order_and_none_is_lost, set_up),
        cmocka_unit_test_setup(what_finds_the_ring_full_is_lost_and_counted, set_up),
        cmocka_unit_test_setup(a_chip_without_fifo_gets_a_byte_at_a_time, set_up),
        cmocka_unit_test_setup(a_drain_never_waits, set_up),
        cmocka_unit_test_setup(a_hung_chip_is_given_up_and_costs_a_bounded_time, set_up),
        cmocka_unit_test_setup(a_chip_that_hangs_between_drains_is_given_up_by_time_and_not_by_calls, set_up),
        cmocka_unit_test_setup(an_empty_bus_is_no_uart, set_up),
        cmocka_unit_test_setup(the_rate_of_a_foreign_clock_stays, set_up),
        cmocka_unit_test_setup(registers_in_memory_are_used_with_their_stride, set_up),
    };

    return cmocka_run_group_tests_name("console UART", tests, NULL, NULL);
}
