/* SPDX-License-Identifier: MIT */
/* See entropy.h. */
#include "hv/dev/virtio/entropy.h"

#include "hv/base/memory.h"

#define QUEUE_SIZE 64u
#define COST_BYTE 40u /* 64 bytes take as long as a copy of 2.5 KiB */

static void fill(struct virtio_entropy *entropy)
{
    struct virtio_device *device = &entropy->device;
    struct virtq_cursor cursor = virtq_writable(&entropy->chain);
    uint8_t bytes[ENTROPY_CHAIN_BYTES];
    uint64_t count = min_u64(entropy->chain.writable_bytes, sizeof(bytes));

    random_bytes(&entropy->random, bytes, count);
    (void)virtq_scatter(device->memory, &entropy->chain, &cursor, bytes, count);
    virtq_push(&device->queues[0], device->memory, entropy->chain.head, (uint32_t)count);
    entropy->given += count;
}

static bool service(struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    struct virtio_entropy *entropy = (struct virtio_entropy *)device;
    struct virtq *queue = &device->queues[0];

    (void)kicked;
    do {
        while (virtio_budget_lasts(budget) && virtio_take(device, 0, &entropy->chain, budget)) {
            fill(entropy);
            budget->left -= COST_BYTE * ENTROPY_CHAIN_BYTES;
        }
    } while (virtio_budget_lasts(budget) && virtio_runs(device) && virtq_rearm(queue, device->memory));
    if (virtq_wants_interrupt(queue, device->memory)) {
        virtio_signal(device, 1);
    }
    return !virtio_budget_lasts(budget);
}

static const struct virtio_kind kind = {
    .name = "virtio-rng",
    .id = VIRTIO_ENTROPY,
    .queue_count = 1,
    .queue_size = QUEUE_SIZE,
    .pci_class = 0x00ff00, /* none of those that there are */
    .service = service,
};

void virtio_entropy_init(struct virtio_entropy *entropy, const struct guest_memory *memory,
                         const uint8_t key[RANDOM_KEY_BYTES])
{
    memset(entropy, 0, sizeof(*entropy));
    memcpy(entropy->random.key, key, RANDOM_KEY_BYTES);
    virtio_init(&entropy->device, &kind, memory, 0);
}
