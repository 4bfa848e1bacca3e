/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue: split rings in a guest's memory, by which a driver hands buffers to a device and gets them back.
 * Virtio 1.2, 2.7 "Split Virtqueues".
 *
 *   descriptors   | address | bytes | flags | next |  x size      the driver writes
 *   available     | flags | idx | ring[size] | used_event |       the driver writes: heads of chains for the device
 *   used          | flags | idx | {id, bytes}[size] | avail_event |   the device writes: chains it has done
 *
 * One core for all devices, and it trusts nothing. All rings lie in memory that the guest changes at any time, so
 * every field is read once, into a copy that is then checked and used. A chain has at most as many descriptors as
 * the queue, indirect ones included, so a loop ends; every buffer lies in RAM; no chain is longer than 4 GiB. What
 * breaks a rule breaks the queue for good (until the driver resets it), and `fault` says which rule it was: the
 * device then asks for a reset (DEVICE_NEEDS_RESET).
 *
 * A chain is kept as guest-physical spans, so a device can keep one while it works on it for several exits. Its bytes
 * are reached with a cursor that moves over spans and pieces of RAM.
 *
 * Order of calls: virtq_pop() until VIRTQ_EMPTY, virtq_push() for each chain that is done, in any order, then
 * virtq_wants_interrupt() once for all of them. After VIRTQ_EMPTY virtq_rearm() asks the driver for a notification of
 * the next buffer, and says whether one came in between; a device that never waits for buffers does not call it.
 *
 * Not done: packed rings, in-order use, notification data.
 */
#ifndef HV_DEV_VIRTIO_QUEUE_H
#define HV_DEV_VIRTIO_QUEUE_H

#include "hv/base/types.h"
#include "hv/mm/guest_memory.h"

#define VIRTQ_SIZE_MAX 256u /* descriptors; a power of two */
#define VIRTQ_LEGACY_ALIGN 4096u

/* The rules, each with its section in Virtio 1.2. virtq_fault_sentence() has the words. */
enum virtq_fault {
    VIRTQ_SOUND,
    VIRTQ_RING_NOT_RAM,     /* 2.7: the rings are not in the guest's RAM */
    VIRTQ_RING_MISALIGNED,  /* 2.7 */
    VIRTQ_SIZE_BAD,         /* 2.7: no power of two, or larger than the device's */
    VIRTQ_AVAIL_JUMPS,      /* 2.7.6: more chains available than the queue has descriptors */
    VIRTQ_HEAD_BEYOND,      /* 2.7.6: a head that is no descriptor's number */
    VIRTQ_NEXT_BEYOND,      /* 2.7.5: a link to no descriptor */
    VIRTQ_CHAIN_LONG,       /* 2.7.5.3.1: more descriptors than the queue has: a loop */
    VIRTQ_CHAIN_BYTES,      /* 2.7.4.2: more than 4 GiB in one chain */
    VIRTQ_BUFFER_NOT_RAM,   /* 2.7.5: a buffer outside of RAM */
    VIRTQ_ORDER,            /* 2.7.4.2: a buffer to read behind one to write */
    VIRTQ_INDIRECT_REFUSED, /* 2.7.5.3.1: an indirect table that was not negotiated, in another one, or in a chain */
    VIRTQ_INDIRECT_BYTES,   /* 2.7.5.3.1: a table of no whole descriptors, or none */
    VIRTQ_REQUEST,          /* of the device: a chain without what the device needs in it */
    VIRTQ_FAULTS,
};

struct virtq {
    uint64_t descriptors, available, used; /* guest-physical */
    /* Where the host has them, each in one piece of RAM; 0: it is not in one piece. virtq_enable() finds them. */
    uint64_t host_descriptors, host_available, host_used;
    uint16_t size;
    uint16_t vector; /* MSI-X; the transport's */
    bool enabled;
    bool event_index; /* VIRTIO_F_EVENT_IDX was negotiated */
    bool indirect;    /* VIRTIO_F_INDIRECT_DESC was negotiated */
    uint8_t fault;    /* enum virtq_fault */
    uint16_t next_available;
    uint16_t seen_available; /* the driver's index when it was last read */
    uint16_t next_used;
    uint16_t signalled_used; /* next_used when the driver was last considered for an interrupt */
};

struct virtq_span {
    gpa_t start;
    uint32_t bytes;
};

/* Spans to read come first, then those to write. Each is in RAM, whole. */
struct virtq_chain {
    uint16_t head;
    uint16_t readable; /* spans */
    uint16_t writable;
    uint64_t readable_bytes;
    uint64_t writable_bytes;
    struct virtq_span spans[VIRTQ_SIZE_MAX];
};

enum virtq_result {
    VIRTQ_EMPTY,
    VIRTQ_CHAIN,
    VIRTQ_BROKEN, /* queue->fault says why */
};

/* Not enabled, no addresses, `size` descriptors. */
void virtq_reset(struct virtq *queue, uint16_t size);

/* Begins with the addresses and size that it has, which are checked. False: queue->fault says why. */
bool virtq_enable(struct virtq *queue, const struct guest_memory *memory);

/* The old way: one page number says where everything is. Virtio 1.2, 2.7.2 "Legacy Interfaces". */
void virtq_place_legacy(struct virtq *queue, uint64_t address);

enum virtq_result virtq_pop(struct virtq *queue, const struct guest_memory *memory, struct virtq_chain *chain);

/* Puts the chain that was taken last back, as if it had not been: for a receiver that has no use for it yet. */
void virtq_unpop(struct virtq *queue);

/* `written`: bytes from the start of the writable part. */
void virtq_push(struct virtq *queue, const struct guest_memory *memory, uint16_t head, uint32_t written);

/* Does the driver want an interrupt for what was pushed since the last call? */
bool virtq_wants_interrupt(struct virtq *queue, const struct guest_memory *memory);

/* True: buffers came meanwhile; take them before waiting for the driver to notify. */
bool virtq_rearm(struct virtq *queue, const struct guest_memory *memory);

/* Asks the driver not to notify; a hint. */
void virtq_disarm(struct virtq *queue, const struct guest_memory *memory);

void virtq_break(struct virtq *queue, enum virtq_fault fault);

/* "a descriptor chain longer than the queue (Virtio 1.2, 2.7.5.3.1)". */
const char *virtq_fault_sentence(enum virtq_fault fault);

/* ---- the bytes of a chain ---- */

struct virtq_cursor {
    uint16_t span;
    uint16_t end; /* the span behind the last */
    uint32_t offset;
};

struct virtq_cursor virtq_readable(const struct virtq_chain *chain);
struct virtq_cursor virtq_writable(const struct virtq_chain *chain);

/* The next bytes in one piece, at most `bytes` of them, and moves behind them. NULL: the end. */
uint8_t *virtq_piece(const struct guest_memory *memory, const struct virtq_chain *chain, struct virtq_cursor *cursor,
                     uint64_t bytes, uint64_t *piece);

/* Copy at most `bytes`, and move; the number of bytes copied. */
uint64_t virtq_gather(const struct guest_memory *memory, const struct virtq_chain *chain, struct virtq_cursor *cursor,
                      void *to, uint64_t bytes);
uint64_t virtq_scatter(const struct guest_memory *memory, const struct virtq_chain *chain, struct virtq_cursor *cursor,
                       const void *from, uint64_t bytes);
/* Writes the last byte of the writable part, where virtio's requests have their status. False: there is none. */
bool virtq_put_last(const struct guest_memory *memory, const struct virtq_chain *chain, uint8_t value);
uint64_t virtq_skip(const struct virtq_chain *chain, struct virtq_cursor *cursor, uint64_t bytes);

#endif
