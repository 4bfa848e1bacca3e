/* SPDX-License-Identifier: MIT */
/* See console.h. */
#include "hv/dev/virtio/console.h"

#include "hv/base/memory.h"

#define QUEUE_SIZE 64u

static struct virtio_console *console_of(struct virtio_device *device)
{
    return (struct virtio_console *)device;
}

/* There is room for them. */
static void put_bytes(struct byte_ring *ring, const uint8_t *from, uint32_t bytes)
{
    uint32_t at = ring->head & (BYTE_RING_BYTES - 1);
    uint32_t first = (uint32_t)min_u64(bytes, BYTE_RING_BYTES - at);

    memcpy(ring->data + at, from, first);
    memcpy(ring->data, from + first, bytes - first);
    __atomic_store_n(&ring->head, ring->head + bytes, __ATOMIC_RELEASE);
}

/* As much of the chain in flight as the ring has room for. True: it is done. */
static bool send(struct virtio_console *console, struct virtio_budget *budget)
{
    uint32_t room = byte_ring_room(console->out);
    uint64_t piece = 0;

    while (room != 0) {
        const uint8_t *from = virtq_piece(console->device.memory, &console->chain, &console->cursor, room, &piece);

        if (from == NULL) {
            return true;
        }
        put_bytes(console->out, from, (uint32_t)piece);
        console->printed = true;
        room -= (uint32_t)piece;
        budget->left -= (int64_t)piece;
    }
    return false;
}

/* True: the ring is full, or the budget used up. */
static bool transmit(struct virtio_console *console, struct virtio_budget *budget)
{
    struct virtio_device *device = &console->device;
    struct virtq *queue = &device->queues[CONSOLE_TRANSMIT];

    do {
        while (virtio_budget_lasts(budget) &&
               (console->sending || virtio_take(device, CONSOLE_TRANSMIT, &console->chain, budget))) {
            if (!console->sending) {
                console->cursor = virtq_readable(&console->chain);
                console->sending = true;
            }
            if (!send(console, budget)) {
                return true;
            }
            console->sending = false;
            virtq_push(queue, device->memory, console->chain.head, 0);
        }
    } while (virtio_budget_lasts(budget) && virtio_runs(device) && virtq_rearm(queue, device->memory));
    return !virtio_budget_lasts(budget);
}

static void receive_chain(struct virtio_console *console)
{
    struct virtio_device *device = &console->device;
    struct virtq_chain *chain = &console->receive_chain;
    struct virtq_cursor cursor = virtq_writable(chain);
    uint32_t count = (uint32_t)min_u64(byte_ring_count(console->in), chain->writable_bytes);

    for (uint32_t i = 0; i < count; i++) {
        uint8_t byte = 0;

        (void)byte_ring_take(console->in, &byte);
        (void)virtq_scatter(device->memory, chain, &cursor, &byte, 1);
    }
    virtq_push(&device->queues[CONSOLE_RECEIVE], device->memory, chain->head, count);
}

static bool input_waits(const struct virtio_console *console, const struct virtio_budget *budget)
{
    return byte_ring_count(console->in) != 0 && virtio_budget_lasts(budget) && virtio_runs(&console->device);
}

/* Without a buffer what was typed waits in the ring. True: the budget is used up. */
static bool receive(struct virtio_console *console, struct virtio_budget *budget)
{
    struct virtio_device *device = &console->device;

    do {
        while (input_waits(console, budget) && virtio_take(device, CONSOLE_RECEIVE, &console->receive_chain, budget)) {
            receive_chain(console);
        }
    } while (input_waits(console, budget) && virtq_rearm(&device->queues[CONSOLE_RECEIVE], device->memory));
    return !virtio_budget_lasts(budget);
}

static bool service(struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    struct virtio_console *console = console_of(device);
    bool more = transmit(console, budget);

    (void)kicked;
    more = receive(console, budget) || more;
    for (unsigned i = 0; i < device->kind->queue_count; i++) {
        if (virtq_wants_interrupt(&device->queues[i], device->memory)) {
            virtio_signal(device, 1u << i);
        }
    }
    return more;
}

static void reset(struct virtio_device *device)
{
    console_of(device)->sending = false;
    console_of(device)->printed = false;
}

static void queue_reset(struct virtio_device *device, unsigned queue)
{
    if (queue == CONSOLE_TRANSMIT) {
        console_of(device)->sending = false;
    }
}

static const struct virtio_kind kind = {
    .name = "virtio-console",
    .id = VIRTIO_CONSOLE,
    .queue_count = 2,
    .queue_size = QUEUE_SIZE,
    .config_bytes = 12,
    .pci_class = 0x078000, /* communication, other */
    .service = service,
    .reset = reset,
    .queue_reset = queue_reset,
};

void virtio_console_init(struct virtio_console *console, const struct guest_memory *memory, struct byte_ring *out,
                         struct byte_ring *in)
{
    memset(console, 0, sizeof(*console));
    console->out = out;
    console->in = in;
    virtio_init(&console->device, &kind, memory, 0);
}
