/* SPDX-License-Identifier: MIT */
/*
 * A virtio console: hvc0 of a Linux, beside the serial port and on the same rings, so what the console does with a
 * guest's output and with what is typed is the same for both. Virtio 1.2, 5.3 "Console Device". One port, no features.
 *
 *   queue 0  receive: buffers for what is typed
 *   queue 1  transmit: a buffer at a time, and one exit for each instead of one for every byte
 *
 * Where the ring to the console is full, the chain in flight waits with how far it has come; nothing is lost.
 */
#ifndef HV_DEV_VIRTIO_CONSOLE_H
#define HV_DEV_VIRTIO_CONSOLE_H

#include "hv/base/byte_ring.h"
#include "hv/dev/virtio/pci.h"

#define CONSOLE_RECEIVE 0u
#define CONSOLE_TRANSMIT 1u

struct virtio_console {
    struct virtio_device device; /* first */
    struct byte_ring *out, *in;
    bool printed; /* something, since its driver last reset it */
    bool sending; /* `chain` is on its way, up to `cursor` */
    struct virtq_cursor cursor;
    struct virtq_chain chain;
    struct virtq_chain receive_chain;
};

struct virtio_console_pci {
    struct virtio_pci pci; /* first */
    struct virtio_console console;
};

/* Once. Where the rings are worked on, the caller holds the lock of the guest's PC: so too around virtio_service(). */
void virtio_console_init(struct virtio_console *console, const struct guest_memory *memory, struct byte_ring *out,
                         struct byte_ring *in);

#endif
