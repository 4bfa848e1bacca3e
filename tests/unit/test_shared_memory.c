/* SPDX-License-Identifier: MIT */
/* Shared memory between guests: the device as a driver of QEMU's ivshmem-doorbell finds it, and doorbells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hv/dev/pci/host.h"
#include "hv/share/shared_memory.h"
#include "tests/unit/pci_driver.h"

#define PEERS 3u
#define MEMORY_BYTES 8192u
#define PLACE 0xdc000000ULL

static struct ivshmem devices[PEERS];
static struct shared_memory shared;
static uint8_t memory[MEMORY_BYTES];

static int setup(void **state)
{
    (void)state;
    memset(&shared, 0, sizeof(shared));
    memset(memory, 0, sizeof(memory));
    for (unsigned i = 0; i < PEERS; i++) {
        devices[i] = (struct ivshmem){.memory = memory, .bytes = MEMORY_BYTES, .place = PLACE, .read_only = i == 2};
        assert_true(shared_memory_add(&shared, &devices[i]));
        ivshmem_init(&devices[i]);
        devices[i].open = true;
        pci_config_write(&devices[i].function, 4, 2, 6);
    }
    return 0;
}

static uint64_t read_at(unsigned index, unsigned bar, uint64_t offset, uint8_t size)
{
    struct bus_access access = {.at = PCI_AT(bar, offset), .size = size};

    assert_true(ivshmem_row.read(&devices[index], &access));
    return access.value;
}

static void write_at(unsigned index, unsigned bar, uint64_t offset, uint8_t size, uint64_t value)
{
    struct bus_access access = {.at = PCI_AT(bar, offset), .size = size, .value = value};

    assert_true(ivshmem_row.write(&devices[index], &access));
}

static void msix_on(unsigned index)
{
    unsigned cap = driver_find_capability(&devices[index].function, 0x11, 0);

    assert_int_not_equal(cap, 0);
    assert_int_equal(driver_read32(&devices[index].function, cap + 4), 1); /* the table is at the start of BAR 1 */
    for (unsigned vector = 0; vector < IVSHMEM_VECTORS; vector++) {
        write_at(index, 1, 16 * vector, 8, 0xfee00000);
        write_at(index, 1, 16 * vector + 8, 8, 0x40 + 0x10 * index + vector);
    }
    pci_config_write(&devices[index].function, cap + 2, 2, 0x8000);
}

/* The vector of the next message; -1: there is none. */
static int next_vector(unsigned index)
{
    struct apic_message message;

    return ivshmem_row.next_message(&devices[index], &message) ? message.vector : -1;
}

static void a_driver_finds_what_qemu_would_show_it(void **state)
{
    struct pci_endpoint *function = &devices[1].function;
    struct driver_bar bar;

    (void)state;
    assert_int_equal(driver_read32(function, 0), 0x11101af4);
    assert_int_equal(driver_read32(function, 8), 0x05000001);
    assert_int_equal(driver_read32(function, 0x2c), 0x11001af4);
    assert_int_equal(pci_config_read(function, 0x3d, 1), 0); /* no interrupt pin */
    bar = driver_size_bar(function, 0);
    assert_int_equal(bar.bytes, 256);
    bar = driver_size_bar(function, 2);
    assert_true(bar.wide);
    assert_int_equal(bar.bytes, MEMORY_BYTES);
    assert_int_equal(bar.address, PLACE);
    for (unsigned i = 0; i < PEERS; i++) {
        assert_int_equal(read_at(i, 0, 8, 4), i);
        assert_int_equal(read_at(i, 0, 0, 4), 0);
        assert_int_equal(read_at(i, 0, 12, 4), 0);
    }
}

static void a_doorbell_is_an_interrupt_of_the_peer_that_it_names(void **state)
{
    (void)state;
    msix_on(0);
    msix_on(1);
    write_at(0, 0, 12, 4, 1u << 16 | 3);
    assert_int_equal(devices[0].function.signals.wants & BUS_WORK, BUS_WORK);
    assert_int_equal(shared_memory_ring(&shared, &devices[0]), 1u << 1);
    assert_int_equal(next_vector(1), -1); /* the peer's own CPU makes it */
    ivshmem_carry(&devices[1]);
    assert_int_equal(next_vector(1), 0x53);
    assert_int_equal(next_vector(1), -1);
    assert_int_equal(next_vector(0), -1);
    write_at(1, 0, 12, 4, 1u << 16); /* to itself, as QEMU allows */
    assert_int_equal(shared_memory_ring(&shared, &devices[1]), 1u << 1);
    ivshmem_carry(&devices[1]);
    assert_int_equal(next_vector(1), 0x50);
}

static void a_storm_is_one_interrupt(void **state)
{
    (void)state;
    msix_on(1);
    for (unsigned i = 0; i < 1000; i++) {
        write_at(0, 0, 12, 4, 1u << 16 | 2);
        assert_int_equal(shared_memory_ring(&shared, &devices[0]), i == 0 ? 1u << 1 : 0);
    }
    ivshmem_carry(&devices[1]);
    assert_int_equal(next_vector(1), 0x52);
    assert_int_equal(next_vector(1), -1);
}

static void what_names_nothing_rings_nothing(void **state)
{
    static const uint32_t values[] = {3u << 16, 31u << 16, 32u << 16, 0xffffffff, 1u << 16 | 4, 1u << 16 | 0xffff};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(values); i++) {
        write_at(0, 0, 12, 4, values[i]);
        assert_int_equal(shared_memory_ring(&shared, &devices[0]), 0);
    }
    for (uint64_t offset = 0; offset < 256; offset++) {
        if (offset != 12) {
            write_at(0, 0, offset, 1, 1);
            (void)read_at(0, 0, offset, 1);
        }
    }
    for (unsigned i = 0; i < PEERS; i++) {
        assert_int_equal(devices[i].incoming, 0);
    }
}

static void a_guest_that_has_ended_is_not_rung(void **state)
{
    (void)state;
    devices[1].open = false;
    write_at(0, 0, 12, 4, 1u << 16);
    assert_int_equal(shared_memory_ring(&shared, &devices[0]), 0);
    assert_int_equal(devices[1].incoming, 0);
    devices[1].open = true; /* and what was rung meanwhile is not kept for it */
    assert_int_equal(shared_memory_ring(&shared, &devices[0]), 0);
}

static void without_msix_a_doorbell_is_lost(void **state)
{
    (void)state;
    write_at(0, 0, 12, 4, 1u << 16);
    assert_int_equal(shared_memory_ring(&shared, &devices[0]), 1u << 1);
    ivshmem_carry(&devices[1]);
    msix_on(1);
    assert_int_equal(next_vector(1), -1);
}

/* The memory behind a BAR that its guest has moved is served access by access, with the same rights. */
static void a_moved_bar_reaches_the_same_memory(void **state)
{
    (void)state;
    write_at(0, 2, 16, 8, 0x1122334455667788);
    assert_int_equal(memory[16], 0x88);
    assert_int_equal(read_at(1, 2, 18, 2), 0x5566);
    assert_int_equal(read_at(2, 2, MEMORY_BYTES - 8, 8), 0);
    write_at(2, 2, 16, 8, 0);
    assert_int_equal(read_at(2, 2, 16, 8), 0x1122334455667788);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_driver_finds_what_qemu_would_show_it, setup),
        cmocka_unit_test_setup(a_doorbell_is_an_interrupt_of_the_peer_that_it_names, setup),
        cmocka_unit_test_setup(a_storm_is_one_interrupt, setup),
        cmocka_unit_test_setup(what_names_nothing_rings_nothing, setup),
        cmocka_unit_test_setup(a_guest_that_has_ended_is_not_rung, setup),
        cmocka_unit_test_setup(without_msix_a_doorbell_is_lost, setup),
        cmocka_unit_test_setup(a_moved_bar_reaches_the_same_memory, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
