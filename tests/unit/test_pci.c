/* PCI configuration: one host bridge, nothing else, and the reset register. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/pci.h"

static struct pci pci;

static int setup(void **state)
{
    (void)state;
    pci_reset(&pci);
    return 0;
}

static uint32_t config_read(unsigned bus, unsigned device, unsigned function, unsigned reg)
{
    pci_address_write(&pci, 0x80000000u | bus << 16 | device << 11 | function << 8 | (reg & 0xfcu));
    return pci_data_read(&pci, 0, 4);
}

static void the_host_bridge_is_at_00_00_0(void **state)
{
    (void)state;
    assert_int_equal(config_read(0, 0, 0, 0), 0x00081b36);
    assert_int_equal(config_read(0, 0, 0, 8) >> 16, 0x0600);
    assert_int_equal(config_read(0, 0, 0, 12) & 0x00ff0000, 0); /* header 0, one function */
    assert_int_equal(config_read(0, 0, 0, 0x34), 0);            /* no capabilities */
    assert_int_equal(config_read(0, 0, 0, 0xfc), 0);
}

static void there_is_nothing_anywhere_else(void **state)
{
    (void)state;
    for (unsigned bus = 0; bus < 256; bus++) {
        for (unsigned slot = bus == 0 ? 1 : 0; slot < 256; slot++) {
            assert_int_equal(config_read(bus, slot >> 3, slot & 7, 0), 0xffffffff);
        }
    }
}

static void without_the_enable_bit_there_is_nothing(void **state)
{
    (void)state;
    pci_address_write(&pci, 0);
    assert_int_equal(pci_data_read(&pci, 0, 4), 0xffffffff);
    assert_int_equal(pci_data_read(&pci, 1, 2), 0xffff);
    assert_int_equal(pci_data_read(&pci, 3, 1), 0xff);
}

static void the_address_register_keeps_its_bits(void **state)
{
    (void)state;
    pci_address_write(&pci, 0xffffffff);
    assert_int_equal(pci_address_read(&pci), 0x80fffffc);
}

static void bytes_and_words_are_parts_of_the_dword(void **state)
{
    (void)state;
    (void)config_read(0, 0, 0, 0);
    assert_int_equal(pci_data_read(&pci, 0, 2), 0x1b36);
    assert_int_equal(pci_data_read(&pci, 2, 2), 0x0008);
    assert_int_equal(pci_data_read(&pci, 1, 1), 0x1b);
}

static void base_address_registers_size_as_absent(void **state)
{
    (void)state;
    for (unsigned reg = 0x10; reg <= 0x30; reg += 4) {
        (void)config_read(0, 0, 0, reg);
        pci_data_write(&pci, 0, 4, 0xffffffff);
        assert_int_equal(config_read(0, 0, 0, reg), 0);
    }
}

static void only_command_and_scratch_registers_are_writable(void **state)
{
    (void)state;
    (void)config_read(0, 0, 0, 4);
    pci_data_write(&pci, 0, 4, 0xffffffff);
    assert_int_equal(config_read(0, 0, 0, 4), 0x00000547);
    (void)config_read(0, 0, 0, 0);
    pci_data_write(&pci, 0, 4, 0);
    assert_int_equal(config_read(0, 0, 0, 0), 0x00081b36);
    (void)config_read(0, 0, 0, 0x3c);
    pci_data_write(&pci, 0, 1, 0x0b);
    assert_int_equal(config_read(0, 0, 0, 0x3c), 0x0b);
    pci_address_write(&pci, 0x80000800);
    pci_data_write(&pci, 0, 4, 0x12345678); /* no device there */
    assert_int_equal(config_read(0, 1, 0, 0), 0xffffffff);
}

static void a_rising_reset_bit_resets(void **state)
{
    (void)state;
    pci_reset_control_write(&pci, 0x02);
    assert_false(pci.reset_requested);
    assert_int_equal(pci_reset_control_read(&pci), 0x02);
    pci_reset_control_write(&pci, 0x06);
    assert_true(pci.reset_requested);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_host_bridge_is_at_00_00_0, setup),
        cmocka_unit_test_setup(there_is_nothing_anywhere_else, setup),
        cmocka_unit_test_setup(without_the_enable_bit_there_is_nothing, setup),
        cmocka_unit_test_setup(the_address_register_keeps_its_bits, setup),
        cmocka_unit_test_setup(bytes_and_words_are_parts_of_the_dword, setup),
        cmocka_unit_test_setup(base_address_registers_size_as_absent, setup),
        cmocka_unit_test_setup(only_command_and_scratch_registers_are_writable, setup),
        cmocka_unit_test_setup(a_rising_reset_bit_resets, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
