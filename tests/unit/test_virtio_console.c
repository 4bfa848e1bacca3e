/* SPDX-License-Identifier: MIT */
/* The console and the entropy device, as drivers of both register layouts meet them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/virtio/console.h"
#include "hv/dev/virtio/entropy.h"
#include "tests/unit/virtio_driver.h"

#define MODERN ((1ULL << 32) | (1ULL << 28) | (1ULL << 29))
#define RINGS 0x10000u
#define DATA 0x40f00u /* across the arena's two pieces */
#define TYPED 0x60000u

static struct arena arena;
static struct virtio_driver driver;
static struct virtio_console_pci console;
static struct virtio_entropy_pci entropy;
static struct byte_ring out, in;

static void start_console(bool legacy)
{
    arena_init(&arena);
    memset(&out, 0, sizeof(out));
    memset(&in, 0, sizeof(in));
    virtio_console_init(&console.console, &arena.memory, &out, &in);
    virtio_pci_init(&console.pci, &console.console.device, VIRTIO_TRANSITIONAL);
    assert_true(vd_start(&driver, &console.pci, &arena, legacy, legacy ? 0 : MODERN, 2, RINGS, 16));
}

static bool run(void)
{
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL};
    bool more = virtio_service(&console.console.device, &budget);

    virtio_pci_carry_signals(&console.pci);
    return more;
}

static void send(uint64_t at, uint32_t bytes)
{
    struct driver_buffer buffers[2] = {{at, bytes / 2, false}, {at + bytes / 2, bytes - bytes / 2, false}};

    for (uint32_t i = 0; i < bytes; i++) {
        arena_put(&arena, at + i, (uint8_t)(i * 7 + i / 256), 1);
    }
    assert_int_not_equal(driver_add(&driver.queues[1], buffers, 2), 0xffff);
    vd_notify(&driver, 1);
}

static void type(const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(byte_ring_put(&in, (uint8_t)*text));
    }
    virtio_notify(&console.console.device, CONSOLE_RECEIVE);
}

static void what_is_sent_comes_out_in_one_go(void **state)
{
    (void)state;
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        uint32_t written;
        uint16_t head;
        uint8_t byte;

        start_console(legacy != 0);
        send(DATA, 1000);
        assert_false(run());
        assert_int_equal(byte_ring_count(&out), 1000);
        for (uint32_t i = 0; i < 1000; i++) {
            assert_true(byte_ring_take(&out, &byte));
            assert_int_equal(byte, (uint8_t)(i * 7 + i / 256));
        }
        assert_true(driver_take(&driver.queues[1], &head, &written));
        assert_int_equal(written, 0);
        assert_int_equal(driver_read32(&console.pci.function, 0), 0x10031af4);
    }
}

static void a_full_ring_keeps_the_rest_for_later(void **state)
{
    uint32_t written, at = 0;
    uint16_t head;
    uint8_t byte;

    (void)state;
    start_console(false);
    send(DATA, 10000);
    while (run()) {
        assert_int_equal(byte_ring_room(&out), 0);
        assert_false(driver_take(&driver.queues[1], &head, &written));
        for (unsigned i = 0; i < 3333 && byte_ring_take(&out, &byte); i++, at++) {
            assert_int_equal(byte, (uint8_t)(at * 7 + at / 256));
        }
    }
    while (byte_ring_take(&out, &byte)) {
        assert_int_equal(byte, (uint8_t)(at * 7 + at / 256));
        at++;
    }
    assert_int_equal(at, 10000);
    assert_true(driver_take(&driver.queues[1], &head, &written));
}

/* QEMU looks at the place alone. Nautilus' driver writes all ones there, others their queue's number at the first. */
static void a_notification_in_memory_is_known_by_its_place_or_by_its_value(void **state)
{
    struct virtio_place notify;
    uint32_t multiplier = 0;

    (void)state;
    start_console(false);
    virtio_pci_init(&console.pci, &console.console.device, VIRTIO_QEMU);
    assert_true(vd_start(&driver, &console.pci, &arena, false, MODERN, 2, RINGS, 16));
    notify = vd_find(&driver, 2, true, &multiplier);
    assert_int_equal(notify.bar, 4);
    assert_int_equal(multiplier, 4);
    assert_in_range(notify.bytes, 2 * multiplier, 0x1000);
    vd_write(&driver, driver.common.bar, driver.common.offset + 22, 2, 1);
    assert_int_equal(vd_read(&driver, driver.common.bar, driver.common.offset + 30, 2), 1);
    send(DATA, 10); /* notifies the place with the value */
    assert_false(run());
    assert_int_equal(byte_ring_count(&out), 10);
    for (unsigned i = 0; i < 2; i++) {
        struct driver_buffer buffer = {DATA, 10, false};

        assert_int_not_equal(driver_add(&driver.queues[1], &buffer, 1), 0xffff);
        vd_write(&driver, notify.bar, notify.offset + (i == 0 ? multiplier : 0), i == 0 ? 4 : 2, i == 0 ? ~0u : 1);
        assert_false(run());
        assert_int_equal(byte_ring_count(&out), 20 + 10 * i);
    }
}

static void a_reset_forgets_what_was_on_its_way(void **state)
{
    (void)state;
    start_console(false);
    send(DATA, 10000);
    assert_true(run());
    out.tail = out.head;
    vd_status(&driver, 0);
    assert_false(run());
    assert_int_equal(byte_ring_count(&out), 0);
    assert_true(vd_start(&driver, &console.pci, &arena, false, MODERN, 2, RINGS, 16));
    send(DATA, 10);
    assert_false(run());
    assert_int_equal(byte_ring_count(&out), 10);
}

static void what_is_typed_waits_for_a_buffer(void **state)
{
    struct driver_buffer buffer = {TYPED, 4, true};
    uint32_t written;
    uint16_t head;

    (void)state;
    start_console(false);
    type("hello");
    assert_false(run());
    assert_int_equal(byte_ring_count(&in), 5);
    assert_int_not_equal(driver_add(&driver.queues[0], &buffer, 1), 0xffff);
    vd_notify(&driver, 0);
    assert_false(run());
    assert_true(driver_take(&driver.queues[0], &head, &written));
    assert_int_equal(written, 4);
    assert_int_equal(arena_get(&arena, TYPED, 4), 0x6c6c6568); /* "hell" */
    assert_int_equal(byte_ring_count(&in), 1);
    assert_int_not_equal(driver_add(&driver.queues[0], &buffer, 1), 0xffff);
    vd_notify(&driver, 0);
    assert_false(run());
    assert_true(driver_take(&driver.queues[0], &head, &written));
    assert_int_equal(written, 1);
}

static void a_broken_queue_ends_the_console_and_no_more(void **state)
{
    (void)state;
    start_console(false);
    driver_descriptor(&arena, driver.queues[1].descriptors, 0, 0xfee00000, 64, 0, 0);
    driver_publish(&driver.queues[1], 0);
    vd_notify(&driver, 1);
    assert_false(run());
    assert_int_equal(vd_get_status(&driver) & 64, 64);
    type("x");
    assert_false(run());
    assert_int_equal(byte_ring_count(&in), 1);
}

static void a_flood_of_empty_buffers_ends_with_the_budget(void **state)
{
    struct virtio_budget budget = {3 * VIRTIO_COST_CHAIN, UINT64_MAX, NULL};
    struct driver_buffer buffer = {DATA, 1, false};

    (void)state;
    start_console(false);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_not_equal(driver_add(&driver.queues[1], &buffer, 1), 0xffff);
    }
    vd_notify(&driver, 1);
    assert_true(virtio_service(&console.console.device, &budget));
    assert_in_range(byte_ring_count(&out), 1, 4);
    assert_false(run());
    assert_int_equal(byte_ring_count(&out), 16);
}

static void random_bytes_fill_what_the_driver_gives(void **state)
{
    static const uint8_t key[32] = {1};
    struct driver_buffer buffers[2] = {{DATA, 100, true}, {DATA + 200, 1000, true}};
    struct random expected = {{1}};
    uint8_t bytes[ENTROPY_CHAIN_BYTES];
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL};
    uint32_t written;
    uint16_t head;

    (void)state;
    arena_init(&arena);
    virtio_entropy_init(&entropy.entropy, &arena.memory, key);
    virtio_pci_init(&entropy.pci, &entropy.entropy.device, VIRTIO_TRANSITIONAL);
    assert_int_equal(driver_read32(&entropy.pci.function, 0), 0x10051af4);
    assert_true(vd_start(&driver, &entropy.pci, &arena, false, MODERN, 1, RINGS, 16));
    assert_int_not_equal(driver.config.bytes, 0); /* Asterinas' driver wants one of every device */
    assert_int_not_equal(driver_add(&driver.queues[0], buffers, 2), 0xffff);
    vd_notify(&driver, 0);
    assert_false(virtio_service(&entropy.entropy.device, &budget));
    assert_true(driver_take(&driver.queues[0], &head, &written));
    assert_int_equal(written, ENTROPY_CHAIN_BYTES);
    random_bytes(&expected, bytes, sizeof(bytes));
    for (unsigned i = 0; i < ENTROPY_CHAIN_BYTES; i++) {
        assert_int_equal(arena_get(&arena, i < 100 ? DATA + i : DATA + 100 + i, 1), bytes[i]);
    }
    assert_memory_equal(entropy.entropy.random.key, expected.key, sizeof(expected.key));
    virtio_reset(&entropy.entropy.device); /* a restart of the guest */
    assert_memory_equal(entropy.entropy.random.key, expected.key, sizeof(expected.key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_comes_out_in_one_go),
        cmocka_unit_test(a_full_ring_keeps_the_rest_for_later),
        cmocka_unit_test(a_notification_in_memory_is_known_by_its_place_or_by_its_value),
        cmocka_unit_test(a_reset_forgets_what_was_on_its_way),
        cmocka_unit_test(what_is_typed_waits_for_a_buffer),
        cmocka_unit_test(a_broken_queue_ends_the_console_and_no_more),
        cmocka_unit_test(a_flood_of_empty_buffers_ends_with_the_budget),
        cmocka_unit_test(random_bytes_fill_what_the_driver_gives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
