/* SPDX-License-Identifier: MIT */
/* Virtio over MMIO. See mmio.h. */
#include "hv/dev/virtio/mmio.h"

#include "hv/base/memory.h"
#include "hv/dev/timebase.h"

/* 4.2.2 "MMIO Device Register Layout". */
enum reg {
    REG_MAGIC = 0x000,
    REG_VERSION = 0x004,
    REG_DEVICE_ID = 0x008,
    REG_VENDOR_ID = 0x00c,
    REG_DEVICE_FEATURES = 0x010,
    REG_DEVICE_FEATURES_SELECT = 0x014,
    REG_DRIVER_FEATURES = 0x020,
    REG_DRIVER_FEATURES_SELECT = 0x024,
    REG_QUEUE_SELECT = 0x030,
    REG_QUEUE_SIZE_MAX = 0x034,
    REG_QUEUE_SIZE = 0x038,
    REG_QUEUE_READY = 0x044,
    REG_QUEUE_NOTIFY = 0x050,
    REG_INTERRUPT_STATUS = 0x060,
    REG_INTERRUPT_ACK = 0x064,
    REG_STATUS = 0x070,
    REG_DESCRIPTORS = 0x080,
    REG_DESCRIPTORS_HIGH = 0x084,
    REG_AVAILABLE = 0x090,
    REG_AVAILABLE_HIGH = 0x094,
    REG_USED = 0x0a0,
    REG_USED_HIGH = 0x0a4,
    REG_SHARED_LENGTH = 0x0b0,
    REG_SHARED_LENGTH_HIGH = 0x0b4,
    REG_SHARED_BASE = 0x0b8,
    REG_SHARED_BASE_HIGH = 0x0bc,
    REG_QUEUE_RESET = 0x0c0,
    REG_GENERATION = 0x0fc,
    REG_CONFIG = 0x100,
};

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR 0x544e4c50u           /* "PLNT" */
#define NO_SHARED_MEMORY 0xffffffffu /* length and base of a region that there is not */
#define INTERRUPT_QUEUE 1u
#define INTERRUPT_CONFIG 2u
#define LINE 1u

/* NULL where the driver has selected a queue that there is not. */
static struct virtq *selected_queue(const struct virtio_mmio *mmio)
{
    return mmio->queue_select < mmio->device->kind->queue_count ? &mmio->device->queues[mmio->queue_select] : NULL;
}

/* ---- interrupts ---- */

/* The state says what the signals are: the line follows the interrupt status. */
static void signal(struct virtio_mmio *mmio)
{
    mmio->signals.lines = mmio->interrupt_status != 0 ? LINE : 0;
    if (virtio_has_work(mmio->device)) {
        mmio->signals.wants |= BUS_WORK;
    }
}

void virtio_mmio_carry_signals(struct virtio_mmio *mmio)
{
    struct virtio_device *device = mmio->device;
    uint32_t signals = virtio_take_signals(device);

    if ((signals & ~VIRTIO_SIGNAL_CONFIG) != 0) {
        mmio->interrupt_status |= INTERRUPT_QUEUE;
    }
    if ((signals & VIRTIO_SIGNAL_CONFIG) != 0) {
        device->generation++;
        mmio->interrupt_status |= INTERRUPT_CONFIG;
    }
    signal(mmio);
}

static void acknowledge(struct virtio_mmio *mmio, uint32_t bits)
{
    uint32_t before = mmio->interrupt_status;

    mmio->interrupt_status &= ~bits;
    if (mmio->interrupt_status != before && mmio->interrupt_status != 0) {
        mmio->signals.edges |= LINE;
        mmio->signals.wants |= BUS_EDGES;
    }
}

/* ---- the registers: 32 bits each ---- */

static uint32_t queue_read(const struct virtio_mmio *mmio, unsigned reg)
{
    const struct virtq *queue = selected_queue(mmio);

    if (queue == NULL) {
        return 0;
    }
    return reg == REG_QUEUE_SIZE_MAX ? mmio->device->kind->queue_size : queue->enabled;
}

static uint32_t register_read(const struct virtio_mmio *mmio, unsigned reg)
{
    const struct virtio_device *device = mmio->device;

    switch (reg) {
    case REG_MAGIC:
        return MAGIC;
    case REG_VERSION:
        return VERSION;
    case REG_DEVICE_ID:
        return device->kind->id;
    case REG_VENDOR_ID:
        return VENDOR;
    case REG_DEVICE_FEATURES:
        return mmio->feature_select < 2 ? (uint32_t)(device->offered >> (32 * mmio->feature_select)) : 0;
    case REG_QUEUE_SIZE_MAX:
    case REG_QUEUE_READY:
        return queue_read(mmio, reg);
    case REG_INTERRUPT_STATUS:
        return mmio->interrupt_status;
    case REG_STATUS:
        return device->status;
    case REG_SHARED_LENGTH:
    case REG_SHARED_LENGTH_HIGH:
    case REG_SHARED_BASE:
    case REG_SHARED_BASE_HIGH:
        return NO_SHARED_MEMORY;
    case REG_GENERATION:
        return device->generation;
    default:
        return 0;
    }
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
    unsigned shift = high ? 32 : 0;

    *address = (*address & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
}

/* Size and addresses are the driver's until the queue is ready. */
static void place_write(struct virtq *queue, unsigned reg, uint32_t value)
{
    switch (reg) {
    case REG_QUEUE_SIZE:
        queue->size = (uint16_t)min_u64(value, UINT16_MAX);
        break;
    case REG_DESCRIPTORS:
    case REG_DESCRIPTORS_HIGH:
        set_half(&queue->descriptors, reg == REG_DESCRIPTORS_HIGH, value);
        break;
    case REG_AVAILABLE:
    case REG_AVAILABLE_HIGH:
        set_half(&queue->available, reg == REG_AVAILABLE_HIGH, value);
        break;
    case REG_USED:
    case REG_USED_HIGH:
        set_half(&queue->used, reg == REG_USED_HIGH, value);
        break;
    default:
        break;
    }
}

static void queue_write(struct virtio_mmio *mmio, unsigned reg, uint32_t value)
{
    struct virtq *queue = selected_queue(mmio);

    if (queue == NULL) {
        return;
    }
    if (reg == REG_QUEUE_READY) {
        if (value == 1) {
            virtio_queue_enable(mmio->device, mmio->queue_select);
        } else if (queue->enabled) {
            virtio_queue_stop(mmio->device, mmio->queue_select);
        }
    } else if (reg == REG_QUEUE_RESET) {
        if (value == 1) {
            virtio_queue_reset(mmio->device, mmio->queue_select);
        }
    } else if (!queue->enabled) {
        place_write(queue, reg, value);
    }
}

static void status_write(struct virtio_mmio *mmio, uint8_t status)
{
    virtio_status_write(mmio->device, status);
    if (status == 0) {
        mmio->interrupt_status = 0;
    }
}

static void register_write(struct virtio_mmio *mmio, unsigned reg, uint32_t value)
{
    switch (reg) {
    case REG_DEVICE_FEATURES_SELECT:
        mmio->feature_select = value;
        break;
    case REG_DRIVER_FEATURES:
        if (mmio->driver_feature_select < 2) {
            virtio_features_write(mmio->device, mmio->driver_feature_select == 1, value);
        }
        break;
    case REG_DRIVER_FEATURES_SELECT:
        mmio->driver_feature_select = value;
        break;
    case REG_QUEUE_SELECT:
        mmio->queue_select = value;
        break;
    case REG_QUEUE_NOTIFY:
        virtio_notify(mmio->device, value);
        break;
    case REG_INTERRUPT_ACK:
        acknowledge(mmio, value);
        break;
    case REG_STATUS:
        status_write(mmio, (uint8_t)value);
        break;
    default:
        queue_write(mmio, reg, value);
        break;
    }
}

/* ---- on the bus ---- */

/* 4.2.2.2: a driver uses whole registers, aligned; other accesses read 0 and change nothing. The device's own
 * configuration is bytes. */
static bool row_read(void *state, struct bus_access *access)
{
    struct virtio_mmio *mmio = state;
    unsigned at = (unsigned)access->at;

    if (at >= REG_CONFIG) {
        access->value = virtio_config_read(mmio->device, at - REG_CONFIG, (uint8_t)min_u64(access->size, 4));
        if (access->size == 8) {
            access->value |= (uint64_t)virtio_config_read(mmio->device, at - REG_CONFIG + 4, 4) << 32;
        }
    } else {
        access->value = access->size == 4 && is_aligned(at, 4) ? register_read(mmio, at) : 0;
    }
    return true;
}

static bool row_write(void *state, const struct bus_access *access)
{
    struct virtio_mmio *mmio = state;
    unsigned at = (unsigned)access->at;

    if (at >= REG_CONFIG) {
        virtio_config_write(mmio->device, at - REG_CONFIG, (uint8_t)min_u64(access->size, 4), (uint32_t)access->value);
    } else if (access->size == 4 && is_aligned(at, 4)) {
        register_write(mmio, at, (uint32_t)access->value);
    }
    virtio_mmio_carry_signals(mmio);
    return true;
}

void virtio_mmio_init(struct virtio_mmio *mmio, struct virtio_device *device)
{
    memset(mmio, 0, sizeof(*mmio));
    mmio->device = device;
    mmio->signals.deadline = DEADLINE_NONE;
}

const struct bus_row virtio_mmio_row = {
    .name = "virtio-mmio",
    BUS_RANGES(BUS_LATER),
    .read = row_read,
    .write = row_write,
    .lines = {BUS_NO_LINE},
    .line_count = 1,
    .state_bytes = sizeof(struct virtio_mmio),
    .signals_at = offsetof(struct virtio_mmio, signals),
    .saved_from = sizeof(struct virtio_mmio),
};
