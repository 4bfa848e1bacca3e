/* SPDX-License-Identifier: MIT */
/* Virtio over MMIO, against a driver written from the specification, on the bus of a whole PC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/platform.h"
#include "hv/dev/virtio/block.h"
#include "hv/dev/virtio/mmio.h"
#include "hv/mm/guest_layout.h"
#include "tests/unit/support.h"
#include "tests/unit/virtq_driver.h"

#define DISK_BYTES (64 * 512u)
#define IRQ 5u
#define RING 0x10000u
#define HEADER 0x30000u
#define STATUS_AT 0x30100u
#define DATA 0x50000u

/* Virtio 1.2, 4.2.2. */
#define MAGIC 0x000u
#define VERSION 0x004u
#define DEVICE_ID 0x008u
#define DEVICE_FEATURES 0x010u
#define DEVICE_FEATURES_SELECT 0x014u
#define DRIVER_FEATURES 0x020u
#define DRIVER_FEATURES_SELECT 0x024u
#define QUEUE_SELECT 0x030u
#define QUEUE_SIZE_MAX 0x034u
#define QUEUE_SIZE 0x038u
#define QUEUE_READY 0x044u
#define QUEUE_NOTIFY 0x050u
#define INTERRUPT_STATUS 0x060u
#define INTERRUPT_ACK 0x064u
#define STATUS 0x070u
#define DESCRIPTORS 0x080u
#define AVAILABLE 0x090u
#define USED 0x0a0u
#define SHARED_LENGTH 0x0b0u
#define QUEUE_RESET 0x0c0u
#define CONFIG 0x100u

static struct arena arena;
static struct platform platform;
static struct clock clock_1ghz;
static struct virtio_block block;
static struct virtio_mmio mmio;
static struct disk_image image;
static struct driver_queue queue;
static unsigned on_bus;
static uint8_t file[DISK_BYTES], changes[8 * PAGE_BYTES];
static uint32_t map[8];

static uint32_t get(unsigned reg)
{
    uint64_t value = 0;

    assert_true(platform_mmio_read(&platform, gpa(GUEST_VIRTIO_MMIO_START + reg), 4, 0, &value));
    return (uint32_t)value;
}

static void put(unsigned reg, uint32_t value)
{
    assert_true(platform_mmio_write(&platform, gpa(GUEST_VIRTIO_MMIO_START + reg), 4, value, 0));
}

static int setup(void **state)
{
    const struct bus_range place = BUS_MMIO(GUEST_VIRTIO_MMIO_START, GUEST_VIRTIO_MMIO_BYTES);
    const struct platform_config config = {.clock = &clock_1ghz};

    (void)state;
    arena_init(&arena);
    for (unsigned i = 0; i < DISK_BYTES; i++) {
        file[i] = (uint8_t)(i * 7 + i / 512);
    }
    clock_1ghz = clock_of(1000000000);
    platform_reset(&platform, &config, 0);
    disk_image_init(&image, &(struct disk_stored){file, NULL, DISK_BYTES / PAGE_BYTES, DISK_BYTES}, map, changes, 8,
                    false);
    virtio_block_init(&block, &arena.memory, &image, false, "disk.img");
    virtio_mmio_init(&mmio, &block.device);
    assert_int_equal(bus_add(&platform.bus, &virtio_mmio_row, &mmio, &on_bus), STATUS_OK);
    assert_int_equal(bus_place(&platform.bus, on_bus, 0, &place), STATUS_OK);
    bus_wire(&platform.bus, on_bus, 0, IRQ);
    assert_true(platform_port_write(&platform, 0x21, 1, 0xff & ~(1u << IRQ), 0)); /* IRQ 5 alone, by edges */
    return 0;
}

static void accept(uint64_t features)
{
    for (uint32_t half = 0; half < 2; half++) {
        put(DRIVER_FEATURES_SELECT, half);
        put(DRIVER_FEATURES, (uint32_t)(features >> (32 * half)));
    }
}

static void place_queue(uint16_t size)
{
    driver_queue_init(&queue, &arena, RING, size);
    put(QUEUE_SELECT, 0);
    put(QUEUE_SIZE, size);
    put(DESCRIPTORS, (uint32_t)queue.descriptors);
    put(DESCRIPTORS + 4, 0);
    put(AVAILABLE, (uint32_t)queue.available);
    put(AVAILABLE + 4, 0);
    put(USED, (uint32_t)queue.used);
    put(USED + 4, 0);
    put(QUEUE_READY, 1);
}

static void start(void)
{
    put(STATUS, 0);
    assert_int_equal(get(STATUS), 0);
    put(STATUS, 1);
    put(STATUS, 3);
    accept(1ULL << 32);
    put(STATUS, 11);
    assert_int_equal(get(STATUS), 11);
    place_queue(64);
    put(STATUS, 15);
    assert_int_equal(get(STATUS), 15);
}

/* What hv/core/guest_devices.c does after an exit. */
static void work(void)
{
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL};

    platform.device_work = false;
    assert_false(virtio_service(&block.device, &budget));
    virtio_mmio_carry_signals(&mmio);
    platform_device_changed(&platform, on_bus);
}

static void submit_read(uint64_t sector)
{
    const struct driver_buffer buffers[] = {{HEADER, 16, false}, {DATA, 512, true}, {STATUS_AT, 1, true}};

    arena_put(&arena, HEADER, 0, 8);
    arena_put(&arena, HEADER + 8, sector, 8);
    arena_put(&arena, STATUS_AT, 0xff, 1);
    assert_int_not_equal(driver_add(&queue, buffers, 3), 0xffff);
    put(QUEUE_NOTIFY, 0);
}

static void expect_read(uint64_t sector)
{
    uint16_t head;
    uint32_t written;

    assert_true(driver_take(&queue, &head, &written));
    assert_int_equal(written, 513);
    assert_int_equal(arena_get(&arena, STATUS_AT, 1), 0);
    for (unsigned i = 0; i < 512; i++) {
        assert_int_equal(arena_get(&arena, DATA + i, 1), file[sector * 512 + i]);
    }
}

/* INTA of the 8259: the vector, and the end of the interrupt. */
static bool interrupted(void)
{
    uint8_t vector;

    if (!platform.extint) {
        return false;
    }
    vector = platform_acknowledge_extint(&platform);
    assert_int_equal(vector & 7, IRQ);
    assert_true(platform_port_write(&platform, 0x20, 1, 0x60 | IRQ, 0));
    return true;
}

static void it_says_what_it_is(void **state)
{
    (void)state;
    assert_int_equal(get(MAGIC), 0x74726976);
    assert_int_equal(get(VERSION), 2);
    assert_int_equal(get(DEVICE_ID), 2);
    put(DEVICE_FEATURES_SELECT, 1);
    assert_int_equal(get(DEVICE_FEATURES) & 1, 1); /* VERSION_1 */
    put(DEVICE_FEATURES_SELECT, 2);
    assert_int_equal(get(DEVICE_FEATURES), 0);
    assert_int_equal(get(QUEUE_SIZE_MAX), 256);
    assert_int_equal(get(CONFIG), DISK_BYTES / 512);
    assert_int_equal(get(SHARED_LENGTH), 0xffffffff);
    put(QUEUE_SELECT, 1);
    assert_int_equal(get(QUEUE_SIZE_MAX), 0);
    put(QUEUE_READY, 1);
    assert_int_equal(get(QUEUE_READY), 0);
}

static void a_driver_has_the_features_that_were_offered_and_may_go_without_version_1(void **state)
{
    (void)state;
    put(STATUS, 3);
    accept(1u << 28 | 1ULL << 33);
    put(STATUS, 11);
    assert_int_equal(get(STATUS), 11);
    assert_int_equal(block.device.accepted, 1u << 28);
}

static void it_reads_and_interrupts(void **state)
{
    (void)state;
    start();
    work();
    assert_false(interrupted());
    for (uint64_t sector = 0; sector < 5; sector++) {
        submit_read(sector);
        assert_true(platform.device_work);
        work();
        assert_true(interrupted());
        assert_int_equal(get(INTERRUPT_STATUS), 1);
        put(INTERRUPT_ACK, 1);
        assert_int_equal(get(INTERRUPT_STATUS), 0);
        assert_false(interrupted());
        expect_read(sector);
    }
}

/* On an edge nothing else would tell of what came between the driver's look and its acknowledgement. */
static void what_is_left_of_the_status_is_another_edge(void **state)
{
    (void)state;
    start();
    submit_read(1);
    work();
    assert_true(interrupted());
    assert_int_equal(get(INTERRUPT_STATUS), 1);
    virtio_fail(&block.device); /* a change of configuration meanwhile */
    work();
    assert_int_equal(get(INTERRUPT_STATUS), 3);
    assert_false(interrupted()); /* the line is high already */
    put(INTERRUPT_ACK, 1);
    assert_true(interrupted());
    assert_int_equal(get(INTERRUPT_STATUS), 2);
    put(INTERRUPT_ACK, 2);
    assert_false(interrupted());
    assert_int_equal(get(STATUS), 15 | 64);
}

static void a_queue_can_be_taken_away_and_placed_again(void **state)
{
    (void)state;
    start();
    assert_int_equal(get(QUEUE_READY), 1);
    put(QUEUE_READY, 0);
    assert_int_equal(get(QUEUE_READY), 0);
    assert_int_equal(get(QUEUE_SIZE_MAX), 256);
    put(QUEUE_RESET, 1); /* not negotiated: nothing */
    place_queue(16);
    submit_read(3);
    work();
    expect_read(3);
}

static void a_size_that_is_none_breaks_the_device(void **state)
{
    (void)state;
    for (uint32_t size = 0; size < 600; size += 100) { /* 0, and no power of two, and too large */
        put(STATUS, 0);
        put(STATUS, 3);
        accept(1ULL << 32);
        put(STATUS, 11);
        place_queue((uint16_t)(size < VIRTQ_SIZE_MAX ? size : VIRTQ_SIZE_MAX));
        put(QUEUE_READY, 0);
        put(QUEUE_SIZE, size);
        put(QUEUE_READY, 1);
        assert_int_equal(get(STATUS) & 64, 64);
    }
}

static void other_widths_are_no_registers(void **state)
{
    uint64_t value = 0;

    (void)state;
    for (uint8_t size = 1; size <= 8; size = (uint8_t)(size * 2)) {
        if (size != 4) {
            assert_true(platform_mmio_read(&platform, gpa(GUEST_VIRTIO_MMIO_START), size, 0, &value));
            assert_int_equal(value, 0);
            assert_true(platform_mmio_write(&platform, gpa(GUEST_VIRTIO_MMIO_START + STATUS), size, 3, 0));
            assert_int_equal(get(STATUS), 0);
        }
    }
    assert_true(platform_mmio_read(&platform, gpa(GUEST_VIRTIO_MMIO_START + CONFIG), 8, 0, &value));
    assert_int_equal(value, DISK_BYTES / 512); /* but of the device's own bytes any */
    assert_true(platform_mmio_read(&platform, gpa(GUEST_VIRTIO_MMIO_START + CONFIG + 20), 1, 0, &value));
    assert_int_equal(value, 512 & 0xff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_says_what_it_is, setup),
        cmocka_unit_test_setup(a_driver_has_the_features_that_were_offered_and_may_go_without_version_1, setup),
        cmocka_unit_test_setup(it_reads_and_interrupts, setup),
        cmocka_unit_test_setup(what_is_left_of_the_status_is_another_edge, setup),
        cmocka_unit_test_setup(a_queue_can_be_taken_away_and_placed_again, setup),
        cmocka_unit_test_setup(a_size_that_is_none_breaks_the_device, setup),
        cmocka_unit_test_setup(other_widths_are_no_registers, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
