/* SPDX-License-Identifier: MIT */
/* See net_segment.h. */
#include "hv/share/net_segment.h"

#include "hv/base/memory.h"

/* IEEE 802.3, 802.1Q: the type, behind the two addresses, or behind a tag of four bytes. */
#define TYPE_AT 12u
#define TYPE_IPV4 0x0800u
#define TYPE_IPV6 0x86ddu
#define TYPE_VLAN 0x8100u
#define VLAN_BYTES 4u

/* RFC 791, 3.1 "Internet Header Format". */
#define IPV4_LENGTH 2u
#define IPV4_IDENTIFICATION 4u
#define IPV4_CHECKSUM 10u
#define IPV4_ADDRESSES 12u
#define IPV4_BYTES 20u
/* RFC 8200, 3 "IPv6 Header Format". */
#define IPV6_LENGTH 4u
#define IPV6_ADDRESSES 8u
#define IPV6_BYTES 40u

/* RFC 9293, 3.1 "Header Format"; RFC 3168, 6.1 for CWR. */
#define TCP_SEQUENCE 4u
#define TCP_OFFSET 12u
#define TCP_FLAGS 13u
#define TCP_CHECKSUM 16u
#define TCP_BYTES 20u
#define TCP_FIN 0x01u
#define TCP_PUSH 0x08u
#define TCP_CWR 0x80u
#define PROTOCOL_TCP 6u

/* ---- numbers in the network's order ---- */

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

static void put_sum(uint8_t *at, uint32_t sum)
{
    at[0] = (uint8_t)sum;
    at[1] = (uint8_t)(sum >> 8);
}

/* ---- headers ---- */

static bool find_network(struct net_segments *segments)
{
    uint32_t at = TYPE_AT;
    uint16_t type = get16(&segments->headers[at]);

    if (type == TYPE_VLAN) {
        at += VLAN_BYTES;
        type = get16(&segments->headers[at]);
    }
    segments->network = at + 2;
    segments->is_ipv6 = type == TYPE_IPV6;
    return type == TYPE_IPV4 || type == TYPE_IPV6;
}

/* Do the headers lie where the packet's own header says that TCP begins? */
static bool network_fits(const struct net_segments *segments)
{
    const uint8_t *ip = &segments->headers[segments->network];
    uint32_t bytes = segments->transport - segments->network;

    if (segments->transport < segments->network) {
        return false;
    }
    if (segments->is_ipv6) {
        return ip[0] >> 4 == 6 && bytes >= IPV6_BYTES;
    }
    return ip[0] >> 4 == 4 && bytes >= IPV4_BYTES && (uint32_t)(ip[0] & 0xfu) * 4 == bytes;
}

bool net_segments_begin(struct net_segments *segments, const struct virtio_net *sender)
{
    const struct net_packet *packet = &sender->packet;
    uint32_t most = (uint32_t)min_u64(packet->bytes, NET_SEGMENT_HEADERS_MAX);
    struct virtq_cursor rest = packet->rest;
    uint8_t *tcp;

    memset(segments, 0, sizeof(*segments));
    memcpy(segments->headers, packet->ethernet, NET_ETHERNET_BYTES);
    (void)virtq_gather(sender->device.memory, &sender->send_chain, &rest, segments->headers + NET_ETHERNET_BYTES,
                       most - NET_ETHERNET_BYTES);
    segments->transport = packet->header.checksum_start;
    segments->size = packet->header.gso_bytes;
    if (!find_network(segments) || segments->transport + TCP_BYTES > most || !network_fits(segments) ||
        segments->size == 0) {
        return false;
    }
    tcp = &segments->headers[segments->transport];
    segments->header_bytes = segments->transport + (uint32_t)(tcp[TCP_OFFSET] >> 4) * 4;
    if (segments->header_bytes < segments->transport + TCP_BYTES || segments->header_bytes >= most) {
        return false;
    }
    segments->sequence = get32(tcp + TCP_SEQUENCE);
    segments->identification = get16(&segments->headers[segments->network + IPV4_IDENTIFICATION]);
    segments->last_flags = tcp[TCP_FLAGS] & (TCP_FIN | TCP_PUSH);
    tcp[TCP_FLAGS] &= (uint8_t)~segments->last_flags;
    segments->payload = packet->bytes - segments->header_bytes;
    segments->rest = packet->rest;
    (void)virtq_skip(&sender->send_chain, &segments->rest, segments->header_bytes - NET_ETHERNET_BYTES);
    return true;
}

/* The lengths and the header's own checksum. */
static void put_network(struct net_segments *segments, uint32_t bytes)
{
    uint8_t *ip = &segments->headers[segments->network];

    if (segments->is_ipv6) {
        put16(ip + IPV6_LENGTH, segments->header_bytes - segments->network - IPV6_BYTES + bytes);
        return;
    }
    put16(ip + IPV4_LENGTH, segments->header_bytes - segments->network + bytes);
    put16(ip + IPV4_IDENTIFICATION, segments->identification++);
    put16(ip + IPV4_CHECKSUM, 0);
    put_sum(ip + IPV4_CHECKSUM, ~net_sum(0, ip, segments->transport - segments->network, 0));
}

/* The checksum's field gets the sum of the pseudo-header: RFC 9293, 3.1, RFC 8200, 8.1. */
static void put_transport(struct net_segments *segments, uint32_t bytes)
{
    const uint8_t *ip = &segments->headers[segments->network];
    uint8_t *tcp = &segments->headers[segments->transport];
    uint8_t pseudo[8];

    put32(pseudo, segments->header_bytes - segments->transport + bytes);
    put32(pseudo + 4, PROTOCOL_TCP);
    put_sum(tcp + TCP_CHECKSUM,
            net_sum(net_sum(0, pseudo, sizeof(pseudo), 0), ip + (segments->is_ipv6 ? IPV6_ADDRESSES : IPV4_ADDRESSES),
                    segments->is_ipv6 ? 32 : 8, 0));
    put32(tcp + TCP_SEQUENCE, segments->sequence + segments->done);
    if (segments->done != 0) {
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR; /* RFC 3168, 6.1.2: once */
    }
    if (segments->done + bytes == segments->payload) {
        tcp[TCP_FLAGS] |= segments->last_flags;
    }
}

bool net_segments_next(struct net_segments *segments, const struct virtio_net *sender, struct net_frame *frame)
{
    uint32_t bytes = (uint32_t)min_u64(segments->size, segments->payload - segments->done);

    if (bytes == 0) {
        return false;
    }
    put_network(segments, bytes);
    put_transport(segments, bytes);
    *frame = (struct net_frame){
        .header = {.flags = NET_NEEDS_CHECKSUM,
                   .checksum_start = (uint16_t)segments->transport,
                   .checksum_offset = TCP_CHECKSUM},
        .start = segments->headers,
        .start_bytes = segments->header_bytes,
        .bytes = segments->header_bytes + bytes,
        .rest = segments->rest,
    };
    (void)virtq_skip(&sender->send_chain, &segments->rest, bytes);
    segments->done += bytes;
    return true;
}
