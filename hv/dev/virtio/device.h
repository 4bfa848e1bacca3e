/* SPDX-License-Identifier: MIT */
/*
 * This folder has virtio: queues, devices, and the transports by which a guest reaches them. Nothing here knows
 * another guest; what crosses is in hv/share/.
 *
 * A virtio device, whatever it does and however the guest reaches it: status, features, queues, configuration, and
 * the locks around them. Virtio 1.2, 2 "Basic Facilities of a Virtio Device".
 *
 *   transport (pci.c)  ->  virtio_*()  ->  struct virtio_device  <-  the kind: block.c, net.c, ...
 *
 * A write of the guest's to a notification register only sets a bit in `kicked`. The work itself, which may copy a
 * hundred KiB, is done by virtio_service() after the guest's PC has been let go, with a budget: what is left over
 * keeps its bit, and the caller comes back after the guest has run. What the driver is to be told waits in `signals`
 * until the caller carries it to the transport.
 *
 * Locks. `service_lock` is held while a kind works on the queues that the guest notifies, `receive_lock` while bytes
 * are put into queues that another guest's packets fill. Work only tries them and never waits (spinlock_try): work
 * that finds a lock taken is left to its holder, or for later. A write that changes queues or status takes both, in
 * this order. It says so in `wanted`, which ends the work at its next look at the budget: it waits for one piece of
 * work and one packet at most. docs/decisions/0007.
 */
#ifndef HV_DEV_VIRTIO_DEVICE_H
#define HV_DEV_VIRTIO_DEVICE_H

#include "hv/base/clock.h"
#include "hv/base/spinlock.h"
#include "hv/dev/virtio/queue.h"

#define VIRTIO_QUEUES_MAX 3u
#define VIRTIO_CONFIG_MAX 96u
#define VIRTIO_NO_VECTOR 0xffffu

enum virtio_id {
    VIRTIO_NET = 1,
    VIRTIO_BLOCK = 2,
    VIRTIO_CONSOLE = 3,
    VIRTIO_ENTROPY = 4,
};

/* 2.1 "Device Status Field". */
#define VIRTIO_DRIVER 2u
#define VIRTIO_DRIVER_OK 4u
#define VIRTIO_FEATURES_OK 8u
#define VIRTIO_NEEDS_RESET 64u

/* 6 "Reserved Feature Bits". */
#define VIRTIO_F_ANY_LAYOUT (1ULL << 27) /* legacy only */
#define VIRTIO_F_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_EVENT_IDX (1ULL << 29)
#define VIRTIO_F_VERSION_1 (1ULL << 32)
#define VIRTIO_F_RING_RESET (1ULL << 40)
#define VIRTIO_LEGACY_FEATURES 0xffffffffULL /* a legacy driver sees the low half */

struct virtio_device;

/*
 * Work that one exit may cause: until a time, and counted in bytes copied and in what other steps cost beside them, so
 * that one guest's work is not many packets for others. 256 KiB are some 30 us on a PC of 10 GB/s. A request is moved
 * in pieces of 16 KiB between two looks at the clock, a packet goes whole to one receiver.
 */
#define VIRTIO_BUDGET_BYTES (256 * KIB)
#define VIRTIO_PIECE_BYTES (16 * KIB)
#define VIRTIO_COST_CHAIN 1024u     /* taking a chain, giving it back */
#define VIRTIO_COST_DESCRIPTOR 128u /* each descriptor of it */

struct virtio_budget {
    int64_t left;
    uint64_t until;         /* host TSC: work ends then, too */
    const uint32_t *wanted; /* atomic, not 0: another CPU waits for the lock. NULL: none can */
};

/* The first element is at any price: on a slow machine the exit's time may be over before the work begins. */
static inline bool virtio_budget_lasts(const struct virtio_budget *budget)
{
    if (budget->left >= (int64_t)VIRTIO_BUDGET_BYTES) {
        return true;
    }
    return budget->left > 0 && (budget->wanted == NULL || __atomic_load_n(budget->wanted, __ATOMIC_RELAXED) == 0) &&
           clock_now() <= budget->until;
}

/* A kind of device: constant. */
struct virtio_kind {
    const char *name;
    uint16_t id; /* enum virtio_id */
    uint16_t queue_count;
    uint16_t queue_size;
    uint16_t config_bytes;
    uint32_t pci_class; /* class, subclass, interface */
    /* True where this set of accepted features makes sense. NULL: every set. */
    bool (*features_fit)(uint64_t features);
    /* Works on the kicked queues. True: something is left that it can go on with. Called with service_lock. */
    bool (*service)(struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget);
    /* The driver has reset the device, or one of its queues: forget what was in flight. Both locks are held. */
    void (*reset)(struct virtio_device *device);
    void (*queue_reset)(struct virtio_device *device, unsigned queue);
    /* A write to the configuration; the bytes are the kind's to change. NULL: all are read-only. */
    void (*config_write)(struct virtio_device *device, unsigned offset, uint8_t size, uint32_t value);
};

/* Bits of `signals`: a queue's number, or a change of configuration (which is also how NEEDS_RESET is told). */
#define VIRTIO_SIGNAL_CONFIG (1u << 31)

struct virtio_device {
    const struct virtio_kind *kind;
    const struct guest_memory *memory; /* of the guest that has it */
    bool driven;                       /* a driver was ready once, in any life of the guest */
    uint64_t offered;                  /* features; saved state from here on */
    uint64_t accepted;
    uint8_t status;
    uint8_t generation;
    bool legacy;     /* its driver speaks the old register layout */
    bool fault_told; /* the log has its line */
    uint16_t config_vector;
    uint32_t kicked;  /* atomic: queues with buffers to look at */
    uint32_t signals; /* atomic */
    uint32_t wanted;  /* atomic: register writes that wait for service_lock */
    struct spinlock service_lock;
    struct spinlock receive_lock;
    struct virtq queues[VIRTIO_QUEUES_MAX];
    uint8_t config[VIRTIO_CONFIG_MAX];
};

/* Once, on zeroed memory: later a sender's CPU may hold a lock. `features` are the kind's own, with those of the rings
 * added here. */
void virtio_init(struct virtio_device *device, const struct virtio_kind *kind, const struct guest_memory *memory,
                 uint64_t features);

/* As after a reset by its driver: nothing of the guest's memory is touched any more until one has been ready again. */
void virtio_reset(struct virtio_device *device);

/* ---- what transports do. They change queues and status: these take the locks. ---- */

void virtio_status_write(struct virtio_device *device, uint8_t status);
void virtio_features_write(struct virtio_device *device, bool upper, uint32_t value);
/* `size`, and the addresses in the queue, are the driver's. */
void virtio_queue_enable(struct virtio_device *device, unsigned queue);
/* Legacy: the page number of the rings; 0 takes them away. */
void virtio_queue_place_legacy(struct virtio_device *device, unsigned queue, uint32_t page);
void virtio_queue_reset(struct virtio_device *device, unsigned queue);
/* The same where no feature has to be negotiated for it: virtio-mmio's QueueReady. */
void virtio_queue_stop(struct virtio_device *device, unsigned queue);
void virtio_notify(struct virtio_device *device, unsigned queue);

uint32_t virtio_config_read(const struct virtio_device *device, unsigned offset, uint8_t size);
void virtio_config_write(struct virtio_device *device, unsigned offset, uint8_t size, uint32_t value);

/* ---- what works on it ---- */

static inline bool virtio_has(const struct virtio_device *device, uint64_t feature)
{
    return (device->accepted & feature) != 0;
}

/*
 * The driver is ready and the device is whole. Through the old registers drivers use a device from DRIVER on: Linux
 * before 3.18 reads a disk's partitions so. VIRTIO 1.2, 3.1.2 "Legacy Interface: Device Initialization".
 */
static inline bool virtio_runs(const struct virtio_device *device)
{
    uint8_t ready = device->legacy ? VIRTIO_DRIVER | VIRTIO_DRIVER_OK : VIRTIO_DRIVER_OK;

    return (device->status & ready) != 0 && (device->status & VIRTIO_NEEDS_RESET) == 0;
}

static inline bool virtio_has_work(const struct virtio_device *device)
{
    return __atomic_load_n(&device->kicked, __ATOMIC_ACQUIRE) != 0;
}

/*
 * Works on what was kicked, as far as the budget goes. True: something is left, or another CPU is at it; call again
 * after the guest has run. Locks by itself; no other lock is held.
 */
bool virtio_service(struct virtio_device *device, struct virtio_budget *budget);

/* The same with other work than the kind's own. */
typedef bool virtio_work(void *context, struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget);
bool virtio_service_by(struct virtio_device *device, struct virtio_budget *budget, virtio_work *work, void *context);

void virtio_signal(struct virtio_device *device, uint32_t signals);
static inline uint32_t virtio_take_signals(struct virtio_device *device)
{
    return __atomic_exchange_n(&device->signals, 0, __ATOMIC_ACQ_REL);
}

/* A queue is broken: the device stops, and its driver is told. */
void virtio_fail(struct virtio_device *device);

/* Takes the next chain and pays for it. False: none, or the queue is broken (and the device has failed). */
bool virtio_take(struct virtio_device *device, unsigned queue, struct virtq_chain *chain, struct virtio_budget *budget);

/* The first broken queue, or NULL. */
const struct virtq *virtio_broken_queue(const struct virtio_device *device);

#endif
