/* SPDX-License-Identifier: MIT */
/* What all virtio devices have in common. See device.h. */
#include "hv/dev/virtio/device.h"

#include "hv/base/memory.h"

#define RING_FEATURES (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET)

void virtio_signal(struct virtio_device *device, uint32_t signals)
{
    __atomic_fetch_or(&device->signals, signals, __ATOMIC_RELEASE);
}

void virtio_fail(struct virtio_device *device)
{
    device->status |= VIRTIO_NEEDS_RESET;
    virtio_signal(device, VIRTIO_SIGNAL_CONFIG);
}

const struct virtq *virtio_broken_queue(const struct virtio_device *device)
{
    for (unsigned i = 0; i < device->kind->queue_count; i++) {
        if (device->queues[i].fault != VIRTQ_SOUND) {
            return &device->queues[i];
        }
    }
    return NULL;
}

/* ---- reset ---- */

static void lock(struct virtio_device *device)
{
    __atomic_fetch_add(&device->wanted, 1, __ATOMIC_RELAXED);
    spinlock_take(&device->service_lock);
    __atomic_fetch_sub(&device->wanted, 1, __ATOMIC_RELAXED);
    spinlock_take(&device->receive_lock);
}

static void unlock(struct virtio_device *device)
{
    spinlock_release(&device->receive_lock);
    spinlock_release(&device->service_lock);
}

static void reset(struct virtio_device *device)
{
    device->accepted = 0;
    device->status = 0;
    device->legacy = false;
    device->fault_told = false;
    device->config_vector = VIRTIO_NO_VECTOR;
    __atomic_store_n(&device->kicked, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&device->signals, 0, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < device->kind->queue_count; i++) {
        virtq_reset(&device->queues[i], device->kind->queue_size);
    }
    if (device->kind->reset != NULL) {
        device->kind->reset(device);
    }
}

void virtio_reset(struct virtio_device *device)
{
    lock(device);
    reset(device);
    unlock(device);
}

void virtio_init(struct virtio_device *device, const struct virtio_kind *kind, const struct guest_memory *memory,
                 uint64_t features)
{
    device->kind = kind;
    device->memory = memory;
    device->offered = features | RING_FEATURES;
    virtio_reset(device);
}

/* ---- status and features ---- */

/* MINIX' legacy driver uses indirect tables without a word about them, as soon as its queue fills; QEMU takes them. */
static void set_queue_features(struct virtio_device *device)
{
    for (unsigned i = 0; i < device->kind->queue_count; i++) {
        device->queues[i].event_index = virtio_has(device, VIRTIO_F_EVENT_IDX);
        device->queues[i].indirect = device->legacy || virtio_has(device, VIRTIO_F_INDIRECT_DESC);
    }
}

/* Those that need each other. VERSION_1 need not be: small drivers write the lower half alone, and QEMU takes it. */
static bool features_fit(const struct virtio_device *device)
{
    return device->kind->features_fit == NULL || device->kind->features_fit(device->accepted);
}

/* Buffers that were made available before the driver was ready are looked at now. */
static void start(struct virtio_device *device)
{
    __atomic_fetch_or(&device->kicked, (1u << device->kind->queue_count) - 1, __ATOMIC_RELEASE);
    if (virtio_broken_queue(device) != NULL) {
        virtio_fail(device);
    }
}

void virtio_status_write(struct virtio_device *device, uint8_t status)
{
    uint8_t before, now;

    if (status == 0) {
        virtio_reset(device);
        return;
    }
    lock(device);
    before = device->status;
    now = (uint8_t)((before & VIRTIO_NEEDS_RESET) | (status & ~VIRTIO_NEEDS_RESET));
    if ((now & ~before & VIRTIO_FEATURES_OK) != 0 && !features_fit(device)) {
        now &= (uint8_t)~VIRTIO_FEATURES_OK;
    }
    device->status = now;
    if ((now & ~before & VIRTIO_DRIVER_OK) != 0) {
        device->driven = true;
        start(device);
    }
    unlock(device);
}

/* What was not offered is not had, as in QEMU, and reads back as 0. 3.1.1 "Driver Requirements: Device
 * Initialization" forbids a driver to ask for it; some ask by constants. */
void virtio_features_write(struct virtio_device *device, bool upper, uint32_t value)
{
    unsigned shift = upper ? 32 : 0;

    if ((device->status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)) != 0) {
        return;
    }
    lock(device);
    device->accepted = (device->accepted & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
    device->accepted &= device->offered & (device->legacy ? VIRTIO_LEGACY_FEATURES : ~0ULL);
    set_queue_features(device);
    unlock(device);
}

/* ---- queues ---- */

void virtio_queue_enable(struct virtio_device *device, unsigned index)
{
    if (index >= device->kind->queue_count || device->queues[index].enabled) {
        return;
    }
    lock(device);
    set_queue_features(device);
    if (!virtq_enable(&device->queues[index], device->memory)) {
        virtio_fail(device);
    }
    unlock(device);
}

static void reset_queue(struct virtio_device *device, unsigned index)
{
    uint16_t vector = device->queues[index].vector;

    virtq_reset(&device->queues[index], device->kind->queue_size);
    device->queues[index].vector = device->legacy ? vector : VIRTIO_NO_VECTOR;
    if (device->kind->queue_reset != NULL) {
        device->kind->queue_reset(device, index);
    }
}

void virtio_queue_stop(struct virtio_device *device, unsigned index)
{
    if (index < device->kind->queue_count) {
        lock(device);
        reset_queue(device, index);
        unlock(device);
    }
}

void virtio_queue_reset(struct virtio_device *device, unsigned index)
{
    if (virtio_has(device, VIRTIO_F_RING_RESET)) {
        virtio_queue_stop(device, index);
    }
}

void virtio_queue_place_legacy(struct virtio_device *device, unsigned index, uint32_t page)
{
    if (index >= device->kind->queue_count) {
        return;
    }
    lock(device);
    reset_queue(device, index);
    if (page != 0) {
        virtq_place_legacy(&device->queues[index], (uint64_t)page * PAGE_BYTES);
        set_queue_features(device);
        if (!virtq_enable(&device->queues[index], device->memory)) {
            virtio_fail(device);
        }
    }
    unlock(device);
}

void virtio_notify(struct virtio_device *device, unsigned index)
{
    if (index < device->kind->queue_count) {
        __atomic_fetch_or(&device->kicked, 1u << index, __ATOMIC_RELEASE);
    }
}

/* ---- the device's own configuration ---- */

uint32_t virtio_config_read(const struct virtio_device *device, unsigned offset, uint8_t size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size && offset + i < device->kind->config_bytes; i++) {
        value |= (uint32_t)device->config[offset + i] << (8 * i);
    }
    return value;
}

void virtio_config_write(struct virtio_device *device, unsigned offset, uint8_t size, uint32_t value)
{
    if (device->kind->config_write != NULL && offset < device->kind->config_bytes) {
        device->kind->config_write(device, offset, size, value);
    }
}

/* ---- work ---- */

bool virtio_take(struct virtio_device *device, unsigned index, struct virtq_chain *chain, struct virtio_budget *budget)
{
    enum virtq_result result = virtq_pop(&device->queues[index], device->memory, chain);

    if (result == VIRTQ_BROKEN) {
        virtio_fail(device);
    }
    if (result != VIRTQ_CHAIN) {
        return false;
    }
    budget->left -= VIRTIO_COST_CHAIN + VIRTIO_COST_DESCRIPTOR * (chain->readable + chain->writable);
    return true;
}

/*
 * A kick that comes while another CPU holds the lock is that CPU's: after letting go it looks again. The fences are in
 * the atomics: the bit is set before the lock is tried, and the lock is free before the bits are looked at.
 */
bool virtio_service_by(struct virtio_device *device, struct virtio_budget *budget, virtio_work *work, void *context)
{
    budget->wanted = &device->wanted;
    while (virtio_has_work(device)) {
        uint32_t kicked;
        bool more = false;

        if (!virtio_budget_lasts(budget) || !spinlock_try(&device->service_lock)) {
            return true;
        }
        kicked = __atomic_exchange_n(&device->kicked, 0, __ATOMIC_ACQ_REL);
        if (virtio_runs(device)) {
            more = work(context, device, kicked, budget);
        }
        if (more) {
            __atomic_fetch_or(&device->kicked, kicked, __ATOMIC_RELEASE);
        }
        spinlock_release(&device->service_lock);
        if (more) {
            return true;
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    return false;
}

static bool work_of_kind(void *context, struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    (void)context;
    return device->kind->service(device, kicked, budget);
}

bool virtio_service(struct virtio_device *device, struct virtio_budget *budget)
{
    return virtio_service_by(device, budget, work_of_kind, NULL);
}
