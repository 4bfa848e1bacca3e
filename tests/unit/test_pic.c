/* SPDX-License-Identifier: MIT */
/* The 8259 pair, driven by command words as kernels and old programs do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/pic.h"

static struct pic_pair pair;

/* The standard initialization: vectors 0x20 and 0x28, nothing masked. */
static void init(uint8_t master_icw4, uint8_t slave_icw4)
{
    pic_pair_write(&pair, 0x20, 0x11);
    pic_pair_write(&pair, 0x21, 0x20);
    pic_pair_write(&pair, 0x21, 0x04);
    pic_pair_write(&pair, 0x21, master_icw4);
    pic_pair_write(&pair, 0xa0, 0x11);
    pic_pair_write(&pair, 0xa1, 0x28);
    pic_pair_write(&pair, 0xa1, 0x02);
    pic_pair_write(&pair, 0xa1, slave_icw4);
}

static int setup(void **state)
{
    (void)state;
    pic_pair_reset(&pair);
    init(1, 1);
    return 0;
}

static void raise_irq(unsigned irq)
{
    pic_pair_set_line(&pair, irq, false);
    pic_pair_set_line(&pair, irq, true);
}

static void takes(uint8_t vector)
{
    assert_true(pic_pair_intr(&pair));
    assert_int_equal(pic_pair_acknowledge(&pair), vector);
}

static uint8_t isr(uint16_t port)
{
    pic_pair_write(&pair, port, 0x0b);
    return pic_pair_read(&pair, port);
}

static uint8_t irr(uint16_t port)
{
    pic_pair_write(&pair, port, 0x0a);
    return pic_pair_read(&pair, port);
}

/* The cascade is open: a kernel that keeps the masks which it finds and opens inputs of the slave only gets them. */
static void firmware_leaves_all_inputs_masked_with_bios_vectors(void **state)
{
    (void)state;
    pic_pair_reset(&pair);
    assert_int_equal(pic_pair_read(&pair, 0x21), 0xfb);
    assert_int_equal(pic_pair_read(&pair, 0xa1), 0xff);
    for (unsigned irq = 0; irq < 16; irq++) {
        raise_irq(irq);
    }
    assert_false(pic_pair_intr(&pair));
    pic_pair_write(&pair, 0xa1, 0xfe);
    takes(0x70);
    pic_pair_write(&pair, 0xa0, 0x20);
    pic_pair_write(&pair, 0x20, 0x20);
    pic_pair_write(&pair, 0x21, 0xfe);
    takes(0x08);
}

static void initialization_sets_vectors_and_clears_the_mask(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x21, 0xaa);
    init(1, 1);
    assert_int_equal(pic_pair_read(&pair, 0x21), 0);
    for (unsigned irq = 0; irq < 16; irq++) {
        if (irq != PIC_CASCADE_IRQ) {
            raise_irq(irq);
            takes((uint8_t)(0x20 + irq));
            pic_pair_set_line(&pair, irq, false);
            pic_pair_write(&pair, 0xa0, 0x20);
            pic_pair_write(&pair, 0x20, 0x20);
        }
    }
    assert_int_equal(isr(0x20), 0);
    assert_int_equal(isr(0xa0), 0);
}

static void initialization_without_icw4_takes_three_words(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x20, 0x10);
    pic_pair_write(&pair, 0x21, 0x40);
    pic_pair_write(&pair, 0x21, 0x04);
    pic_pair_write(&pair, 0x21, 0x5a); /* already the mask */
    assert_int_equal(pic_pair_read(&pair, 0x21), 0x5a);
}

static void an_edge_must_rise_again_after_initialization(void **state)
{
    (void)state;
    raise_irq(3);
    init(1, 1);
    assert_false(pic_pair_intr(&pair));
    pic_pair_set_line(&pair, 3, true);
    assert_false(pic_pair_intr(&pair));
    raise_irq(3);
    takes(0x23);
}

static void lower_numbers_go_first_and_block_higher_ones(void **state)
{
    (void)state;
    raise_irq(5);
    raise_irq(1);
    takes(0x21);
    assert_false(pic_pair_intr(&pair));
    raise_irq(0);
    takes(0x20);
    assert_int_equal(isr(0x20), 0x03);
    assert_int_equal(irr(0x20), 0x20);
    pic_pair_write(&pair, 0x20, 0x20); /* ends IRQ 0 */
    assert_int_equal(isr(0x20), 0x02);
    assert_false(pic_pair_intr(&pair));
    pic_pair_write(&pair, 0x20, 0x61); /* specific: IRQ 1 */
    takes(0x25);
}

static void masked_requests_wait(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x21, 0x10);
    raise_irq(4);
    assert_false(pic_pair_intr(&pair));
    assert_int_equal(irr(0x20), 0x10);
    pic_pair_write(&pair, 0x21, 0);
    takes(0x24);
    assert_int_equal(irr(0x20), 0);
}

static void the_slave_goes_through_ir2(void **state)
{
    (void)state;
    raise_irq(12);
    assert_int_equal(irr(0x20), 0x04);
    takes(0x2c);
    assert_int_equal(isr(0x20), 0x04);
    assert_int_equal(isr(0xa0), 0x10);
    raise_irq(10); /* higher than 12, but the master has IR2 in service */
    assert_false(pic_pair_intr(&pair));
    pic_pair_write(&pair, 0x20, 0x20);
    takes(0x2a);
    pic_pair_write(&pair, 0xa0, 0x20);
    pic_pair_write(&pair, 0xa0, 0x20);
    pic_pair_write(&pair, 0x20, 0x20);
    assert_false(pic_pair_intr(&pair));
}

static void two_slave_requests_are_both_delivered(void **state)
{
    (void)state;
    raise_irq(8);
    raise_irq(14);
    takes(0x28);
    pic_pair_write(&pair, 0xa0, 0x20);
    pic_pair_write(&pair, 0x20, 0x20);
    takes(0x2e);
}

static void special_fully_nested_mode_lets_a_higher_slave_request_through(void **state)
{
    (void)state;
    init(0x11, 1);
    raise_irq(12);
    takes(0x2c);
    raise_irq(9);
    takes(0x29);
}

static void a_request_that_vanishes_gives_the_spurious_vector(void **state)
{
    (void)state;
    raise_irq(3);
    pic_pair_set_line(&pair, 3, false);
    assert_false(pic_pair_intr(&pair));
    assert_int_equal(pic_pair_acknowledge(&pair), 0x27);
    assert_int_equal(isr(0x20), 0);
}

static void a_slave_request_masked_in_between_gives_irq_15(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x4d0, 0x00);
    raise_irq(12);
    pair.chips[1].imr = 0xff; /* between the master's INTA and the slave's */
    assert_int_equal(pic_pair_acknowledge(&pair), 0x2f);
    assert_int_equal(isr(0x20), 0x04);
    assert_int_equal(isr(0xa0), 0);
}

static void level_triggered_lines_ask_again_until_they_fall(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x4d0, 0xff);
    pic_pair_write(&pair, 0x4d1, 0xff);
    assert_int_equal(pic_pair_read(&pair, 0x4d0), 0xf8);
    assert_int_equal(pic_pair_read(&pair, 0x4d1), 0xde);
    pic_pair_set_line(&pair, 5, true);
    takes(0x25);
    pic_pair_write(&pair, 0x20, 0x20);
    takes(0x25);
    pic_pair_set_line(&pair, 5, false);
    pic_pair_write(&pair, 0x20, 0x20);
    assert_false(pic_pair_intr(&pair));
    pic_pair_set_line(&pair, 10, true);
    takes(0x2a);
    pic_pair_write(&pair, 0xa0, 0x20);
    pic_pair_write(&pair, 0x20, 0x20);
    takes(0x2a);
}

static void auto_eoi_leaves_nothing_in_service(void **state)
{
    (void)state;
    init(3, 1);
    raise_irq(6);
    takes(0x26);
    assert_int_equal(isr(0x20), 0);
    raise_irq(6);
    takes(0x26);
}

static void rotation_makes_the_served_level_the_lowest(void **state)
{
    (void)state;
    raise_irq(4);
    takes(0x24);
    pic_pair_write(&pair, 0x20, 0xa0); /* rotate on non-specific EOI: 4 is lowest, 5 highest */
    raise_irq(0);
    raise_irq(4);
    raise_irq(5);
    takes(0x25);
    pic_pair_write(&pair, 0x20, 0x20);
    takes(0x20);
    pic_pair_write(&pair, 0x20, 0x20);
    takes(0x24);
}

static void set_priority_and_rotate_on_auto_eoi_work(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x20, 0xc5); /* 5 is lowest, 6 highest */
    raise_irq(0);
    raise_irq(6);
    takes(0x26);
    pic_pair_write(&pair, 0x20, 0xe6); /* rotate on specific EOI 6 */
    takes(0x20);
    init(3, 1);
    pic_pair_write(&pair, 0x20, 0x80); /* rotate in auto EOI mode */
    raise_irq(1);
    takes(0x21);
    raise_irq(1);
    raise_irq(3);
    takes(0x23);
    takes(0x21);
}

static void special_mask_mode_lets_lower_levels_interrupt(void **state)
{
    (void)state;
    raise_irq(3);
    takes(0x23);
    raise_irq(6);
    assert_false(pic_pair_intr(&pair));
    pic_pair_write(&pair, 0x21, 0x08); /* mask the one in service */
    pic_pair_write(&pair, 0x20, 0x68); /* special mask mode on */
    takes(0x26);
    pic_pair_write(&pair, 0x20, 0x20); /* ends 6: 3 is masked and not a candidate */
    assert_int_equal(isr(0x20), 0x08);
    pic_pair_write(&pair, 0x20, 0x48); /* off */
    raise_irq(6);
    assert_false(pic_pair_intr(&pair));
}

static void poll_mode_acknowledges_by_a_read(void **state)
{
    (void)state;
    pic_pair_write(&pair, 0x20, 0x0c);
    assert_int_equal(pic_pair_read(&pair, 0x20), 0);
    raise_irq(5);
    pic_pair_write(&pair, 0x20, 0x0c);
    assert_int_equal(pic_pair_read(&pair, 0x20), 0x85);
    assert_int_equal(isr(0x20), 0x20);
    assert_false(pic_pair_intr(&pair));
    raise_irq(11);
    pic_pair_write(&pair, 0xa0, 0x0c);
    assert_int_equal(pic_pair_read(&pair, 0xa0), 0x83);
}

static void the_read_selection_stays(void **state)
{
    (void)state;
    raise_irq(3);
    takes(0x23);
    pic_pair_write(&pair, 0x20, 0x0b);
    assert_int_equal(pic_pair_read(&pair, 0x20), 0x08);
    pic_pair_write(&pair, 0x20, 0x08); /* no action */
    assert_int_equal(pic_pair_read(&pair, 0x20), 0x08);
}

static void masked_says_what_cannot_interrupt(void **state)
{
    (void)state;
    assert_false(pic_pair_masked(&pair, 8));
    pic_pair_write(&pair, 0x21, 0x04);
    assert_true(pic_pair_masked(&pair, 8));
    assert_false(pic_pair_masked(&pair, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(firmware_leaves_all_inputs_masked_with_bios_vectors, setup),
        cmocka_unit_test_setup(initialization_sets_vectors_and_clears_the_mask, setup),
        cmocka_unit_test_setup(initialization_without_icw4_takes_three_words, setup),
        cmocka_unit_test_setup(an_edge_must_rise_again_after_initialization, setup),
        cmocka_unit_test_setup(lower_numbers_go_first_and_block_higher_ones, setup),
        cmocka_unit_test_setup(masked_requests_wait, setup),
        cmocka_unit_test_setup(the_slave_goes_through_ir2, setup),
        cmocka_unit_test_setup(two_slave_requests_are_both_delivered, setup),
        cmocka_unit_test_setup(special_fully_nested_mode_lets_a_higher_slave_request_through, setup),
        cmocka_unit_test_setup(a_request_that_vanishes_gives_the_spurious_vector, setup),
        cmocka_unit_test_setup(a_slave_request_masked_in_between_gives_irq_15, setup),
        cmocka_unit_test_setup(level_triggered_lines_ask_again_until_they_fall, setup),
        cmocka_unit_test_setup(auto_eoi_leaves_nothing_in_service, setup),
        cmocka_unit_test_setup(rotation_makes_the_served_level_the_lowest, setup),
        cmocka_unit_test_setup(set_priority_and_rotate_on_auto_eoi_work, setup),
        cmocka_unit_test_setup(special_mask_mode_lets_lower_levels_interrupt, setup),
        cmocka_unit_test_setup(poll_mode_acknowledges_by_a_read, setup),
        cmocka_unit_test_setup(the_read_selection_stays, setup),
        cmocka_unit_test_setup(masked_says_what_cannot_interrupt, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
