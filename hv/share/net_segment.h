/* SPDX-License-Identifier: MIT */
/*
 * Segments in software: a large TCP packet that its sender left to the card to cut, for a receiver whose driver takes
 * none such (Virtio 1.2, 5.1.6.4.1: a device must not pass them to it). Each segment is a frame with headers of its
 * own, made here, and a part of the sender's bytes, which stay where they are.
 *
 * The headers are read once, from the chain into a copy that is checked and used. What is no TCP over IPv4 or IPv6,
 * with a VLAN tag at most, is not cut.
 */
#ifndef HV_SHARE_NET_SEGMENT_H
#define HV_SHARE_NET_SEGMENT_H

#include "hv/dev/virtio/net.h"

#define NET_SEGMENT_HEADERS_MAX 192u /* the largest of IPv4 and TCP is 138; the rest is for extensions of IPv6 */

/* A frame on its way: its first bytes, which the hypervisor holds, and the rest in the sender's chain. */
struct net_frame {
    struct net_header header;
    const uint8_t *start;
    uint32_t start_bytes;
    uint32_t bytes; /* all of it */
    struct virtq_cursor rest;
};

struct net_segments {
    uint8_t headers[NET_SEGMENT_HEADERS_MAX];
    uint32_t header_bytes;
    uint32_t network, transport; /* where the headers of IP and TCP begin */
    bool is_ipv6;
    uint8_t last_flags; /* of TCP: those that only the last segment has */
    uint16_t identification;
    uint32_t sequence;
    uint32_t size;          /* bytes of each segment but the last */
    uint32_t payload, done; /* bytes of all, and of those that were cut off */
    struct virtq_cursor rest;
};

/* Begins with the packet that the card is sending. False: it cannot be cut. */
bool net_segments_begin(struct net_segments *segments, const struct virtio_net *sender);

/* The next segment; its `start` is in *segments until the next call. False: there is no more. */
bool net_segments_next(struct net_segments *segments, const struct virtio_net *sender, struct net_frame *frame);

/* The Internet's checksum (RFC 1071) over more bytes, not complemented; they begin at `offset` of what is summed. */
uint32_t net_sum(uint32_t sum, const uint8_t *bytes, uint64_t count, uint64_t offset);

#endif
