/* SPDX-License-Identifier: MIT */
/*
 * The copy of a packet between two guests. See net_transfer.h.
 *
 * The receiver's buffers are taken one after the other (5.1.6.3 of Virtio 1.2): with merged buffers as many as the
 * packet needs, otherwise one that holds all of it. They are given back only when the packet is whole; where the
 * buffers end before it does, all of them are put back as if they had not been taken, and the packet is lost.
 *
 * The frame's first bytes and the header come from the copies by which the packet was sent on, so they are what the
 * switch has looked at. The rest is read from the sender's memory here, for the first and only time per receiver.
 */
#include "hv/share/net_transfer.h"

#include "hv/base/memory.h"
#include "hv/share/net_segment.h"

/*
 * What one packet may take of its receiver's buffers, which the receiver makes up and the sender's CPU goes through: 68
 * hold the largest frame where each has 1 KiB. One that needs more is lost.
 */
#define BUFFERS_MAX 68u
#define RECEIVE_COST_MAX (BUFFERS_MAX * VIRTIO_COST_CHAIN + VIRTQ_SIZE_MAX * VIRTIO_COST_DESCRIPTOR)
_Static_assert(BUFFERS_MAX *KIB >= NET_FRAME_MAX + sizeof(struct net_header), "the largest frame fits");
#define HEADER_BUFFERS_OFFSET 10u
#define CHECKSUM_BYTES 2u
#define COST_FRAME 512u /* beside the bytes: taking buffers, giving them back */

/* Where the copy is. */
struct transfer {
    struct virtio_net *sender, *receiver;
    const struct net_frame *frame;
    struct virtq_cursor from;    /* in the sender's chain */
    struct virtq_cursor to;      /* in the receiver's buffer */
    uint64_t room;               /* left in that buffer */
    uint32_t in_buffer;          /* bytes written to it */
    uint16_t heads[BUFFERS_MAX]; /* of the buffers that were filled, and with how much */
    uint32_t written[BUFFERS_MAX];
    uint16_t buffers;
    struct virtio_budget cost; /* of these buffers; the switch counts the sender's price as a whole */
    uint8_t *count_at[2];      /* the two bytes of the header's `buffers` field */
    uint64_t checksum_at;      /* offset in the frame; 0: none has to be made */
    uint32_t frame_done;       /* bytes of the frame that are copied */
    uint32_t sum;              /* of the bytes from checksum_start on */
    uint8_t *sum_at[CHECKSUM_BYTES];
};

/* Takes the receiver's next buffer. False: there is none. */
static bool next_buffer(struct transfer *transfer)
{
    struct virtio_net *receiver = transfer->receiver;

    if (transfer->buffers == BUFFERS_MAX || transfer->cost.left <= 0 ||
        !virtio_take(&receiver->device, NET_RECEIVE, &receiver->receive_chain, &transfer->cost)) {
        return false;
    }
    transfer->heads[transfer->buffers] = receiver->receive_chain.head;
    transfer->to = virtq_writable(&receiver->receive_chain);
    transfer->room = receiver->receive_chain.writable_bytes;
    transfer->in_buffer = 0;
    transfer->buffers++;
    return true;
}

static bool merges(const struct transfer *transfer)
{
    return virtio_has(&transfer->receiver->device, NET_F_MRG_RXBUF);
}

/* Room for at least a byte, in this buffer or the next. */
static bool make_room(struct transfer *transfer)
{
    while (transfer->room == 0) {
        transfer->written[transfer->buffers - 1] = transfer->in_buffer;
        if (!merges(transfer) || !next_buffer(transfer)) {
            return false;
        }
    }
    return true;
}

/* The next bytes of the receiver's buffers in one piece. NULL: they are at their end. */
static uint8_t *receive_piece(struct transfer *transfer, uint64_t bytes, uint64_t *piece)
{
    uint8_t *to;

    if (!make_room(transfer)) {
        return NULL;
    }
    to =
        virtq_piece(transfer->receiver->device.memory, &transfer->receiver->receive_chain, &transfer->to, bytes, piece);
    if (to != NULL) {
        transfer->room -= *piece;
        transfer->in_buffer += (uint32_t)*piece;
    }
    return to;
}

/* ---- checksums, for drivers that want them made ---- */

struct half_word {
    uint16_t value;
} __attribute__((packed, may_alias));

struct word {
    uint32_t value;
} __attribute__((packed, may_alias));

static uint32_t fold(uint64_t sum)
{
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint32_t)sum;
}

/* The sum of half words in the order of this CPU is that of the network with its bytes swapped, and so is that of bytes
 * which begin at an odd place. */
uint32_t net_sum(uint32_t sum, const uint8_t *bytes, uint64_t count, uint64_t offset)
{
    uint64_t added = 0;
    uint32_t half;

    for (; count >= sizeof(uint32_t); count -= sizeof(uint32_t), bytes += sizeof(uint32_t)) {
        added += ((const struct word *)(const void *)bytes)->value;
    }
    if (count >= sizeof(uint16_t)) {
        added += ((const struct half_word *)(const void *)bytes)->value;
        count -= sizeof(uint16_t);
        bytes += sizeof(uint16_t);
    }
    if (count != 0) {
        added += *bytes;
    }
    half = fold(added);
    return fold(sum + (offset % 2 == 0 ? half : (uint32_t)__builtin_bswap16((uint16_t)half)));
}

/* After a piece of the frame was copied to `to`. */
static void sum_piece(struct transfer *transfer, const uint8_t *to, uint64_t piece)
{
    uint64_t start = transfer->frame->header.checksum_start;
    uint64_t first = max_u64(start, transfer->frame_done);

    if (first < transfer->frame_done + piece) {
        transfer->sum = net_sum(transfer->sum, to + (first - transfer->frame_done),
                                transfer->frame_done + piece - first, first - start);
    }
}

/* A sum of 0 is sent as all ones, which means the same and does not mean "none". RFC 768. */
static void put_checksum(struct transfer *transfer)
{
    uint16_t sum = (uint16_t)~transfer->sum;
    uint8_t bytes[CHECKSUM_BYTES];

    sum = sum == 0 ? 0xffff : sum;
    bytes[0] = (uint8_t)sum;
    bytes[1] = (uint8_t)(sum >> 8);
    for (unsigned i = 0; i < CHECKSUM_BYTES; i++) {
        *transfer->sum_at[i] = bytes[i];
    }
}

/* ---- the parts of a packet ---- */

/* Where the checksum's two bytes came to lie, when a piece of the frame was copied to `to`. */
static void note_checksum(struct transfer *transfer, uint8_t *to, uint64_t piece)
{
    for (unsigned i = 0; i < CHECKSUM_BYTES; i++) {
        uint64_t at = transfer->checksum_at + i - transfer->frame_done;

        if (at < piece) {
            transfer->sum_at[i] = to + at;
        }
    }
}

/* Bytes of the frame that the hypervisor holds. */
static bool put_bytes(struct transfer *transfer, const uint8_t *from, uint64_t bytes)
{
    while (bytes != 0) {
        uint64_t piece = 0;
        uint8_t *to = receive_piece(transfer, bytes, &piece);

        if (to == NULL) {
            return false;
        }
        memcpy(to, from, (size_t)piece);
        if (transfer->checksum_at != 0) {
            note_checksum(transfer, to, piece);
            sum_piece(transfer, to, piece);
        }
        transfer->frame_done += (uint32_t)piece;
        from += piece;
        bytes -= piece;
    }
    return true;
}

/* The rest of the frame, from the sender's memory. */
static bool put_rest(struct transfer *transfer)
{
    struct virtio_net *sender = transfer->sender;
    uint64_t left = transfer->frame->bytes - transfer->frame->start_bytes;

    while (left != 0) {
        uint64_t piece = 0;
        const uint8_t *from = virtq_piece(sender->device.memory, &sender->send_chain, &transfer->from, left, &piece);

        if (from == NULL || !put_bytes(transfer, from, piece)) {
            return false;
        }
        left -= piece;
    }
    return true;
}

/* The header as this receiver is to see it, and whether a checksum has to be made. */
static struct net_header header_for(struct transfer *transfer)
{
    struct net_header header = transfer->frame->header;

    header.flags &= NET_NEEDS_CHECKSUM;
    if (header.flags != 0 && !virtio_has(&transfer->receiver->device, NET_F_GUEST_CSUM)) {
        transfer->checksum_at = (uint64_t)header.checksum_start + header.checksum_offset;
        header = (struct net_header){0};
    }
    header.buffers = 1;
    return header;
}

/* Its `buffers` are written at the end. */
static bool put_header(struct transfer *transfer, const struct net_header *header, uint32_t bytes)
{
    const uint8_t *from = (const uint8_t *)header;

    for (uint32_t done = 0; done < bytes;) {
        uint64_t piece = 0;
        uint8_t *to = receive_piece(transfer, bytes - done, &piece);

        if (to == NULL) {
            return false;
        }
        memcpy(to, from + done, (size_t)piece);
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t at = HEADER_BUFFERS_OFFSET + i - done;

            if (at < piece) {
                transfer->count_at[i] = to + at;
            }
        }
        done += (uint32_t)piece;
    }
    return true;
}

/* Segments that the sender left to the card go only to drivers that take them. */
static bool takes_segments(const struct virtio_net *receiver, const struct net_header *header)
{
    uint64_t wanted = (header->gso_type & NET_GSO_ECN) != 0 ? NET_F_GUEST_ECN : 0;

    switch (header->gso_type & (uint8_t)~NET_GSO_ECN) {
    case NET_GSO_NONE:
        return true;
    case NET_GSO_TCP4:
        wanted |= NET_F_GUEST_TSO4;
        break;
    default:
        wanted |= NET_F_GUEST_TSO6;
        break;
    }
    return (receiver->device.accepted & wanted) == wanted;
}

/* ---- all of it ---- */

static void give_back(struct transfer *transfer)
{
    struct virtio_device *device = &transfer->receiver->device;

    transfer->written[transfer->buffers - 1] = transfer->in_buffer;
    if (transfer->buffers != 1) {
        *transfer->count_at[0] = (uint8_t)transfer->buffers;
        *transfer->count_at[1] = (uint8_t)(transfer->buffers >> 8);
    }
    for (uint16_t i = 0; i < transfer->buffers; i++) {
        virtq_push(&device->queues[NET_RECEIVE], device->memory, transfer->heads[i], transfer->written[i]);
    }
}

/* Where the buffer that was taken has `bytes` in one piece; NULL: it has not. */
static uint8_t *whole_buffer(const struct transfer *transfer, uint64_t bytes)
{
    const struct virtq_chain *chain = &transfer->receiver->receive_chain;
    const struct virtq_span *span = &chain->spans[chain->readable];

    return chain->writable != 0 && span->bytes >= bytes
               ? guest_memory_quick(transfer->receiver->device.memory, span->start.value, bytes)
               : NULL;
}

/* The usual case, in a few steps: the buffer holds all of it in one piece. */
static bool put_whole(struct transfer *transfer, const struct net_header *header, uint32_t header_bytes, uint8_t *to)
{
    const struct net_frame *frame = transfer->frame;
    uint64_t rest = frame->bytes - frame->start_bytes;
    uint8_t *bytes = to + header_bytes;

    memcpy(to, header, header_bytes);
    memcpy(bytes, frame->start, frame->start_bytes);
    if (virtq_gather(transfer->sender->device.memory, &transfer->sender->send_chain, &transfer->from,
                     bytes + frame->start_bytes, rest) != rest) {
        return false;
    }
    transfer->in_buffer = header_bytes + frame->bytes;
    if (transfer->checksum_at != 0) {
        uint32_t start = frame->header.checksum_start;

        transfer->sum = net_sum(0, bytes + start, frame->bytes - start, 0);
        transfer->sum_at[0] = bytes + transfer->checksum_at;
        transfer->sum_at[1] = transfer->sum_at[0] + 1;
    }
    return true;
}

static bool put_packet(struct transfer *transfer)
{
    uint32_t header_bytes = virtio_net_header_bytes(transfer->receiver);
    struct net_header header;
    uint8_t *to;

    if (!next_buffer(transfer)) {
        return false;
    }
    header = header_for(transfer);
    to = whole_buffer(transfer, (uint64_t)header_bytes + transfer->frame->bytes);
    if (to != NULL) {
        return put_whole(transfer, &header, header_bytes, to);
    }
    return put_header(transfer, &header, header_bytes) &&
           put_bytes(transfer, transfer->frame->start, transfer->frame->start_bytes) && put_rest(transfer);
}

/* Whole, or not at all. */
static void transfer_frame(struct virtio_net *sender, struct virtio_net *receiver, const struct net_frame *frame,
                           struct virtio_budget *budget)
{
    struct transfer transfer;

    budget->left -= (int64_t)(COST_FRAME + frame->bytes);
    transfer.sender = sender;
    transfer.receiver = receiver;
    transfer.frame = frame;
    transfer.from = frame->rest;
    transfer.buffers = 0;
    transfer.cost = (struct virtio_budget){RECEIVE_COST_MAX, UINT64_MAX, NULL};
    transfer.room = transfer.checksum_at = 0;
    transfer.in_buffer = transfer.frame_done = transfer.sum = 0;
    if (!put_packet(&transfer)) {
        receiver->counters.lost_full++;
        for (uint16_t i = 0; i < transfer.buffers; i++) {
            virtq_unpop(&receiver->device.queues[NET_RECEIVE]);
        }
        return;
    }
    if (transfer.checksum_at != 0) {
        put_checksum(&transfer);
    }
    give_back(&transfer);
    receiver->counters.received_packets++;
    receiver->counters.received_bytes += frame->bytes;
}

/* Each segment takes a buffer, and a queue has VIRTQ_SIZE_MAX at most: the rest of a packet that has more would be lost
 * in any case. */
static void transfer_segments(struct virtio_net *sender, struct virtio_net *receiver, struct virtio_budget *budget)
{
    struct net_segments segments;
    struct net_frame frame;

    if (!net_segments_begin(&segments, sender)) {
        receiver->counters.lost_unfit++;
        return;
    }
    for (unsigned i = 0; i < VIRTQ_SIZE_MAX && net_segments_next(&segments, sender, &frame); i++) {
        transfer_frame(sender, receiver, &frame, budget);
    }
}

bool net_transfer(struct virtio_net *sender, struct virtio_net *receiver, struct virtio_budget *budget)
{
    struct virtio_device *device = &receiver->device;
    const struct net_packet *packet = &sender->packet;

    if (takes_segments(receiver, &packet->header)) {
        const struct net_frame frame = {packet->header, packet->ethernet, NET_ETHERNET_BYTES, packet->bytes,
                                        packet->rest};

        transfer_frame(sender, receiver, &frame, budget);
    } else {
        transfer_segments(sender, receiver, budget);
    }
    return virtq_wants_interrupt(&device->queues[NET_RECEIVE], device->memory);
}
