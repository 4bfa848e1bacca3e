/* SPDX-License-Identifier: MIT */
/* The locks of hv/dev/virtio/device.h between two CPUs: a register write does not wait for a whole budget of work. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/virtio/device.h"

#define LOOKS_MAX 4000000000ULL /* only a hang reaches it */

static pthread_barrier_t at_work;
static uint64_t looks;
static bool reset_while_at_work, working;

/* Work that never ends by itself: its budget has neither an end in time nor one in bytes. */
static bool service(struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    (void)device;
    (void)kicked;
    budget->left = 1;
    working = true;
    pthread_barrier_wait(&at_work);
    while (looks < LOOKS_MAX && virtio_budget_lasts(budget)) {
        looks++;
    }
    working = false;
    return true;
}

static void reset(struct virtio_device *device)
{
    (void)device;
    reset_while_at_work = working;
}

static const struct virtio_kind kind = {
    .name = "test", .queue_count = 1, .queue_size = 2, .service = service, .reset = reset};

static void *write_status(void *context)
{
    pthread_barrier_wait(&at_work);
    virtio_status_write(context, 0);
    return NULL;
}

static void a_register_write_ends_the_work_that_it_waits_for(void **state)
{
    static struct virtio_device device;
    struct guest_memory memory = {0};
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL};
    pthread_t other;

    (void)state;
    virtio_init(&device, &kind, &memory, VIRTIO_F_VERSION_1);
    device.status = VIRTIO_DRIVER_OK;
    virtio_notify(&device, 0);
    assert_int_equal(pthread_barrier_init(&at_work, NULL, 2), 0);
    assert_int_equal(pthread_create(&other, NULL, write_status, &device), 0);
    assert_true(virtio_service(&device, &budget));
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_in_range(looks, 0, LOOKS_MAX - 1);
    assert_false(reset_while_at_work);
    assert_int_equal(device.status, 0);
    assert_int_equal(device.wanted, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_register_write_ends_the_work_that_it_waits_for)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
