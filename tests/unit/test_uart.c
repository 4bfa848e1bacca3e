/* SPDX-License-Identifier: MIT */
/* The 16550A, as drivers that poll and drivers that wait for interrupts use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/uart.h"

#include "hv/dev/timebase.h"

#include <string.h>

static struct clock clock_1ghz;
static struct byte_ring out, in;
static struct uart uart;

#define IRQ_ENABLE 0x08u /* MCR OUT2 */

static int setup(void **state)
{
    (void)state;
    clock_1ghz = clock_of(1000000000);
    memset(&out, 0, sizeof(out));
    memset(&in, 0, sizeof(in));
    uart_reset(&uart, &clock_1ghz, &out, &in);
    return 0;
}

static uint8_t in_reg(unsigned reg)
{
    return uart_read(&uart, reg, 1000);
}

static void out_reg(unsigned reg, uint8_t value)
{
    uart_write(&uart, reg, value, 1000);
}

static void type(const char *text, uint64_t now)
{
    for (; *text != '\0'; text++) {
        assert_true(byte_ring_put(&in, (uint8_t)*text));
    }
    uart_run(&uart, now);
}

static void a_polling_driver_prints(void **state)
{
    uint8_t byte;

    (void)state;
    assert_int_equal(in_reg(5), 0x60);
    out_reg(0, 'A');
    assert_int_equal(in_reg(5), 0x60);
    out_reg(0, 'B');
    assert_true(byte_ring_take(&out, &byte));
    assert_int_equal(byte, 'A');
    assert_true(byte_ring_take(&out, &byte));
    assert_int_equal(byte, 'B');
    assert_int_equal(uart.signals.lines, 0);
}

static void the_divisor_is_not_printed(void **state)
{
    (void)state;
    out_reg(3, 0x83);
    out_reg(0, 0x0c);
    out_reg(1, 0x01);
    assert_int_equal(in_reg(0), 0x0c);
    assert_int_equal(in_reg(1), 0x01);
    out_reg(3, 0x03);
    assert_int_equal(in_reg(1), 0);
    assert_int_equal(byte_ring_count(&out), 0);
}

static void enabling_thre_on_an_empty_transmitter_interrupts_at_once(void **state)
{
    (void)state;
    out_reg(4, IRQ_ENABLE);
    out_reg(1, 0x02);
    assert_int_equal(uart.signals.lines, 1);
    assert_int_equal(in_reg(2), 0x02);
    assert_int_equal(uart.signals.lines, 0); /* reading IIR took it away */
    assert_int_equal(in_reg(2), 0x01);
    out_reg(1, 0x02); /* no change, no new interrupt */
    assert_int_equal(uart.signals.lines, 0);
    out_reg(1, 0x00);
    out_reg(1, 0x02);
    assert_int_equal(in_reg(2), 0x02); /* Linux tests for this */
}

static void every_written_byte_ends_in_a_thre_interrupt(void **state)
{
    (void)state;
    out_reg(4, IRQ_ENABLE);
    out_reg(1, 0x02);
    assert_int_equal(in_reg(2), 0x02);
    out_reg(0, 'x');
    assert_int_equal(uart.signals.lines, 1);
    assert_int_equal(in_reg(2), 0x02);
    assert_int_equal(uart.signals.lines, 0);
}

/* Decision 37: kernels that never set it, or clear it, wait for their console's interrupts. */
static void the_interrupt_does_not_wait_for_out2(void **state)
{
    static const uint8_t outputs[] = {0, IRQ_ENABLE, 0x10, IRQ_ENABLE | 0x10, 0};

    (void)state;
    for (size_t i = 0; i < sizeof(outputs); i++) {
        out_reg(4, outputs[i]);
        out_reg(1, 0x02);
        assert_int_equal(uart.signals.lines, 1);
        assert_int_equal(in_reg(4), outputs[i]);
        assert_int_equal(in_reg(2), 0x02);
        assert_int_equal(uart.signals.lines, 0);
        out_reg(1, 0x00);
    }
    out_reg(1, 0x01);
    type("x", 0);
    assert_int_equal(uart.signals.lines, 1);
}

static void a_full_console_holds_the_transmitter_and_loses_nothing(void **state)
{
    uint8_t byte;

    (void)state;
    out_reg(2, 0x01);
    out_reg(4, IRQ_ENABLE);
    out_reg(1, 0x02);
    (void)in_reg(2);
    for (unsigned i = 0; i < BYTE_RING_BYTES; i++) {
        assert_true(byte_ring_put(&out, '.'));
    }
    out_reg(0, '1');
    assert_int_equal(in_reg(5), 0);
    assert_int_equal(uart.signals.lines, 0);
    assert_in_range(uart.signals.deadline, 1001, 10000000);
    for (unsigned i = 0; i < 15; i++) {
        out_reg(0, (uint8_t)('2' + i));
    }
    assert_true(byte_ring_take(&out, &byte));
    uart_run(&uart, 2000);
    assert_int_equal(in_reg(5), 0); /* one moved, fifteen wait */
    assert_int_equal(uart.signals.lines, 0);
    for (unsigned i = 1; i < BYTE_RING_BYTES; i++) {
        assert_true(byte_ring_take(&out, &byte));
    }
    uart_run(&uart, 3000);
    assert_int_equal(in_reg(5), 0x60);
    assert_int_equal(uart.signals.lines, 1);
    assert_true(uart.signals.deadline == DEADLINE_NONE);
    for (unsigned i = 0; i < 16; i++) {
        assert_true(byte_ring_take(&out, &byte));
        assert_int_equal(byte, '1' + i);
    }
}

static void without_a_console_bytes_vanish_and_the_driver_never_waits(void **state)
{
    (void)state;
    uart_reset(&uart, &clock_1ghz, NULL, NULL);
    for (unsigned i = 0; i < 3 * BYTE_RING_BYTES; i++) {
        out_reg(0, 'x');
        assert_int_equal(in_reg(5), 0x60);
    }
}

static void typed_bytes_arrive_in_order_and_none_is_overrun(void **state)
{
    char text[101];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        text[i] = (char)('!' + i % 90);
    }
    text[100] = '\0';
    type(text, 1000); /* without FIFOs: one holding register */
    for (unsigned i = 0; i < 100; i++) {
        if (i == 50) {
            assert_int_equal(uart.rx.count, 1);
        }
        assert_int_equal(in_reg(5) & 0x03, 0x01);
        assert_int_equal(in_reg(0), text[i]);
    }
    assert_int_equal(in_reg(5) & 0x01, 0);
}

static void the_trigger_level_decides_when_data_interrupt(void **state)
{
    static const uint8_t triggers[] = {1, 4, 8, 14};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(triggers); i++) {
        setup(NULL);
        out_reg(4, IRQ_ENABLE);
        out_reg(2, (uint8_t)(i << 6 | 0x07));
        out_reg(1, 0x01);
        for (unsigned count = 1; count <= triggers[i]; count++) {
            assert_int_equal(uart.signals.lines, 0);
            type("k", 1000);
        }
        assert_int_equal(uart.signals.lines, 1);
        assert_int_equal(in_reg(2), 0xc4);
        (void)in_reg(0);
        assert_int_equal(uart.signals.lines, 0);
    }
}

static void bytes_below_the_trigger_time_out_after_four_characters(void **state)
{
    const uint64_t four_characters = 4 * 10 * 8681; /* ns at 115200 8N1 */

    (void)state;
    out_reg(4, IRQ_ENABLE);
    out_reg(2, 0xc1);
    out_reg(1, 0x01);
    type("ab", 1000);
    assert_int_equal(uart.signals.lines, 0);
    assert_in_range(uart.signals.deadline, 1000 + four_characters - 2, 1000 + four_characters);
    uart_run(&uart, uart.signals.deadline);
    assert_int_equal(uart.signals.lines, 1);
    assert_int_equal(in_reg(2), 0xcc);
    assert_int_equal(in_reg(0), 'a');
    assert_int_equal(uart.signals.lines, 0); /* a read starts the time again */
    assert_int_equal(in_reg(2), 0xc1);
    uart_run(&uart, uart.signals.deadline);
    assert_int_equal(in_reg(2), 0xcc);
    assert_int_equal(in_reg(0), 'b');
    assert_true(uart.signals.deadline == DEADLINE_NONE);
}

static void interrupts_have_the_data_sheets_priorities(void **state)
{
    (void)state;
    out_reg(4, 0x10 | 0x0f); /* loopback, to raise everything */
    (void)in_reg(6);
    out_reg(1, 0x0f);
    out_reg(4, 0x10); /* modem inputs change */
    out_reg(0, 'x');
    out_reg(0, 'y'); /* overrun: no FIFO */
    assert_int_equal(in_reg(2), 0x06);
    assert_int_equal(in_reg(5), 0x63);
    assert_int_equal(in_reg(2), 0x04);
    assert_int_equal(in_reg(0), 'y');
    assert_int_equal(in_reg(2), 0x02);
    assert_int_equal(in_reg(2), 0x00);
    assert_int_equal(in_reg(6), 0x0f);
    assert_int_equal(in_reg(2), 0x01);
}

static void loopback_connects_outputs_to_inputs(void **state)
{
    (void)state;
    out_reg(4, 0x1a); /* RTS and OUT2: the 16550 presence test of Linux */
    assert_int_equal(in_reg(6) & 0xf0, 0x90);
    out_reg(0, 0x5a);
    assert_int_equal(in_reg(5) & 1, 1);
    assert_int_equal(in_reg(0), 0x5a);
    assert_int_equal(byte_ring_count(&out), 0);
    out_reg(4, 0);
    assert_int_equal(in_reg(6) & 0xf0, 0xb0);
}

static void a_break_in_loopback_is_received_as_a_break(void **state)
{
    (void)state;
    out_reg(4, 0x10);
    out_reg(3, 0x43);
    assert_int_equal(in_reg(5) & 0x1f, 0x19);
    assert_int_equal(in_reg(0), 0);
    assert_int_equal(in_reg(5) & 0x1f, 0);
}

static void the_fifo_control_register_is_a_16550as(void **state)
{
    (void)state;
    assert_int_equal(in_reg(2), 0x01);
    out_reg(2, 0x01);
    assert_int_equal(in_reg(2), 0xc1);
    type("abc", 1000);
    out_reg(2, 0x03); /* clear the receiver */
    assert_int_equal(in_reg(5) & 1, 0);
    out_reg(2, 0x00);
    assert_int_equal(in_reg(2), 0x01);
    out_reg(7, 0xa5);
    assert_int_equal(in_reg(7), 0xa5);
    out_reg(1, 0xff);
    assert_int_equal(in_reg(1), 0x0f);
    out_reg(4, 0xff);
    assert_int_equal(in_reg(4), 0x1f);
}

static void a_full_fifo_in_loopback_overruns_and_keeps_what_it_has(void **state)
{
    (void)state;
    out_reg(2, 0x01);
    out_reg(4, 0x10);
    for (unsigned i = 0; i < 17; i++) {
        out_reg(0, (uint8_t)('a' + i));
    }
    assert_int_equal(in_reg(5) & 0x03, 0x03);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(in_reg(0), 'a' + i);
    }
    assert_int_equal(in_reg(5) & 0x03, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_polling_driver_prints, setup),
        cmocka_unit_test_setup(the_divisor_is_not_printed, setup),
        cmocka_unit_test_setup(enabling_thre_on_an_empty_transmitter_interrupts_at_once, setup),
        cmocka_unit_test_setup(every_written_byte_ends_in_a_thre_interrupt, setup),
        cmocka_unit_test_setup(the_interrupt_does_not_wait_for_out2, setup),
        cmocka_unit_test_setup(a_full_console_holds_the_transmitter_and_loses_nothing, setup),
        cmocka_unit_test_setup(without_a_console_bytes_vanish_and_the_driver_never_waits, setup),
        cmocka_unit_test_setup(typed_bytes_arrive_in_order_and_none_is_overrun, setup),
        cmocka_unit_test_setup(the_trigger_level_decides_when_data_interrupt, setup),
        cmocka_unit_test_setup(bytes_below_the_trigger_time_out_after_four_characters, setup),
        cmocka_unit_test_setup(interrupts_have_the_data_sheets_priorities, setup),
        cmocka_unit_test_setup(loopback_connects_outputs_to_inputs, setup),
        cmocka_unit_test_setup(a_break_in_loopback_is_received_as_a_break, setup),
        cmocka_unit_test_setup(the_fifo_control_register_is_a_16550as, setup),
        cmocka_unit_test_setup(a_full_fifo_in_loopback_overruns_and_keeps_what_it_has, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
