/* SPDX-License-Identifier: MIT */
/* The I/O APIC: what its pins send, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/ioapic.h"

#define MASK 0x10000u
#define LEVEL 0x8000u
#define LOW 0x2000u
#define REMOTE_IRR 0x4000u

static struct ioapic ioapic;
static struct apic_message message;

static int setup(void **state)
{
    (void)state;
    ioapic_reset(&ioapic, 0xffff);
    return 0;
}

static void write_reg(uint8_t index, uint32_t value)
{
    ioapic_write(&ioapic, 0x00, 4, index);
    ioapic_write(&ioapic, 0x10, 4, value);
}

static uint32_t read_reg(uint8_t index)
{
    ioapic_write(&ioapic, 0x00, 4, index);
    return (uint32_t)ioapic_read(&ioapic, 0x10, 4);
}

static void program(unsigned pin, uint32_t low, uint32_t high)
{
    write_reg((uint8_t)(0x11 + 2 * pin), high);
    write_reg((uint8_t)(0x10 + 2 * pin), low);
}

static uint32_t entry(unsigned pin)
{
    return read_reg((uint8_t)(0x10 + 2 * pin));
}

static bool fires(void)
{
    return ioapic_next_message(&ioapic, &message);
}

static void registers_read_as_on_a_pc(void **state)
{
    (void)state;
    assert_int_equal(read_reg(1), 0x00170020);
    assert_int_equal(read_reg(0), 0);
    write_reg(0, 0xffffffff);
    assert_int_equal(read_reg(0), 0x0f000000);
    write_reg(1, 0);
    assert_int_equal(read_reg(1), 0x00170020);
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        assert_int_equal(entry(pin), MASK);
    }
    assert_int_equal(read_reg(0x40), 0);
    assert_int_equal(ioapic_read(&ioapic, 0x00, 4), 0x40);
    assert_int_equal(ioapic_read(&ioapic, 0x20, 4), 0);
}

static void read_only_bits_of_an_entry_cannot_be_written(void **state)
{
    (void)state;
    program(3, 0xffffffff, 0xffffffff);
    assert_int_equal(entry(3), 0x1afff); /* without status and Remote IRR */
    assert_int_equal(read_reg(0x11 + 6), 0xff000000);
}

static void a_narrow_write_reaches_only_the_select_register(void **state)
{
    (void)state;
    ioapic_write(&ioapic, 0x00, 1, 0x10);
    ioapic_write(&ioapic, 0x10, 1, 0x55);
    assert_int_equal(ioapic_read(&ioapic, 0x10, 4), MASK);
    assert_int_equal(ioapic_read(&ioapic, 0x12, 1), 1);
    assert_int_equal(ioapic_read(&ioapic, 0x10, 8), MASK);
}

static void an_edge_sends_one_message_with_the_entrys_fields(void **state)
{
    (void)state;
    program(4, 0x0800 | 0x100 | 0x31, 0x5a000000);
    ioapic_set_line(&ioapic, 4, true);
    assert_true(fires());
    assert_int_equal(message.vector, 0x31);
    assert_int_equal(message.delivery, APIC_LOWEST);
    assert_true(message.logical);
    assert_int_equal(message.destination, 0x5a);
    assert_false(message.level);
    assert_false(fires());
    ioapic_set_line(&ioapic, 4, true);
    assert_false(fires());
    ioapic_set_line(&ioapic, 4, false);
    assert_false(fires());
    ioapic_set_line(&ioapic, 4, true);
    assert_true(fires());
}

static void an_edge_on_a_masked_pin_is_lost(void **state)
{
    (void)state;
    program(4, MASK | 0x31, 0);
    ioapic_set_line(&ioapic, 4, true);
    program(4, 0x31, 0);
    assert_false(fires());
    ioapic_set_line(&ioapic, 4, false);
    ioapic_set_line(&ioapic, 4, true);
    assert_true(fires());
}

static void a_level_fires_again_after_eoi_while_it_is_active(void **state)
{
    (void)state;
    program(9, LEVEL | 0x42, 0);
    ioapic_set_line(&ioapic, 9, true);
    assert_true(fires());
    assert_true(message.level);
    assert_int_equal(entry(9) & REMOTE_IRR, REMOTE_IRR);
    ioapic_set_line(&ioapic, 9, false);
    ioapic_set_line(&ioapic, 9, true);
    assert_false(fires()); /* in service */
    ioapic_eoi(&ioapic, 0x41);
    assert_false(fires()); /* another pin's */
    ioapic_eoi(&ioapic, 0x42);
    assert_true(fires());
    ioapic_set_line(&ioapic, 9, false);
    ioapic_eoi(&ioapic, 0x42);
    assert_false(fires());
    assert_int_equal(entry(9) & REMOTE_IRR, 0);
}

static void the_eoi_register_ends_a_level_too(void **state)
{
    (void)state;
    program(9, LEVEL | 0x42, 0);
    ioapic_set_line(&ioapic, 9, true);
    assert_true(fires());
    ioapic_write(&ioapic, 0x40, 4, 0x42);
    assert_true(fires());
}

static void a_masked_level_fires_when_it_is_unmasked(void **state)
{
    (void)state;
    program(9, MASK | LEVEL | 0x42, 0);
    ioapic_set_line(&ioapic, 9, true);
    assert_false(fires());
    program(9, LEVEL | 0x42, 0);
    assert_true(fires());
}

static void a_level_that_falls_before_it_was_sent_is_forgotten(void **state)
{
    (void)state;
    program(9, LEVEL | 0x42, 0);
    ioapic_set_line(&ioapic, 9, true);
    ioapic_set_line(&ioapic, 9, false);
    assert_false(fires());
}

static void switching_to_edge_clears_remote_irr(void **state)
{
    (void)state;
    program(9, LEVEL | 0x42, 0);
    ioapic_set_line(&ioapic, 9, true);
    assert_true(fires());
    program(9, MASK | 0x42, 0);
    assert_int_equal(entry(9) & REMOTE_IRR, 0);
    program(9, LEVEL | 0x42, 0);
    assert_true(fires());
}

static void low_polarity_inverts_a_driven_pin_only(void **state)
{
    (void)state;
    program(4, LOW | LEVEL | 0x31, 0);
    assert_true(fires()); /* the line is low, and low is active */
    ioapic_set_line(&ioapic, 4, true);
    ioapic_eoi(&ioapic, 0x31);
    assert_false(fires());
    program(20, LOW | LEVEL | 0x32, 0); /* nothing is wired to pin 20 */
    assert_false(fires());
    program(5, LOW | 0x33, 0);
    ioapic_set_line(&ioapic, 5, true);
    assert_false(fires());
    ioapic_set_line(&ioapic, 5, false);
    assert_true(fires());
}

static void nmi_and_extint_are_edges_whatever_the_trigger_bit_says(void **state)
{
    static const uint8_t modes[] = {APIC_NMI, APIC_EXTINT, APIC_SMI, APIC_INIT};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(modes); i++) {
        program(2, LEVEL | (uint32_t)modes[i] << 8, 0);
        ioapic_set_line(&ioapic, 2, true);
        assert_true(fires());
        assert_int_equal(message.delivery, modes[i]);
        assert_false(message.level);
        assert_int_equal(entry(2) & REMOTE_IRR, 0);
        assert_false(fires());
        ioapic_set_line(&ioapic, 2, false);
    }
}

static void all_pins_can_wait_at_once_and_none_is_lost(void **state)
{
    (void)state;
    for (unsigned pin = 0; pin < 16; pin++) {
        program(pin, 0x40 + pin, 0);
        ioapic_set_line(&ioapic, pin, true);
    }
    for (unsigned pin = 0; pin < 16; pin++) {
        assert_true(fires());
        assert_int_equal(message.vector, 0x40 + pin);
    }
    assert_false(fires());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(registers_read_as_on_a_pc, setup),
        cmocka_unit_test_setup(read_only_bits_of_an_entry_cannot_be_written, setup),
        cmocka_unit_test_setup(a_narrow_write_reaches_only_the_select_register, setup),
        cmocka_unit_test_setup(an_edge_sends_one_message_with_the_entrys_fields, setup),
        cmocka_unit_test_setup(an_edge_on_a_masked_pin_is_lost, setup),
        cmocka_unit_test_setup(a_level_fires_again_after_eoi_while_it_is_active, setup),
        cmocka_unit_test_setup(the_eoi_register_ends_a_level_too, setup),
        cmocka_unit_test_setup(a_masked_level_fires_when_it_is_unmasked, setup),
        cmocka_unit_test_setup(a_level_that_falls_before_it_was_sent_is_forgotten, setup),
        cmocka_unit_test_setup(switching_to_edge_clears_remote_irr, setup),
        cmocka_unit_test_setup(low_polarity_inverts_a_driven_pin_only, setup),
        cmocka_unit_test_setup(nmi_and_extint_are_edges_whatever_the_trigger_bit_says, setup),
        cmocka_unit_test_setup(all_pins_can_wait_at_once_and_none_is_lost, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
