/* SPDX-License-Identifier: MIT */
/*
 * A virtio network card, without the network. Virtio 1.2, 5.1 "Network Device".
 *
 * Here: what its driver sees and says (configuration, control queue, which addresses it wants), and the packets that it
 * sends, one at a time. Not here: where a packet goes and how it comes into another guest's memory; that is
 * hv/share/net_switch.h, which alone has two guests' memory in its hands.
 *
 *   queue 0  receive: buffers that wait for packets; touched by senders' CPUs, under receive_lock
 *   queue 1  transmit
 *   queue 2  control
 *
 *   a packet in either: header (12 bytes; 10 of a legacy driver without merged buffers) | frame
 *
 * A packet that is being sent is kept in the card until it has been everywhere, so a budget may end in the middle of a
 * flood. Its header and the frame's first bytes, by which it is sent on, are read once.
 */
#ifndef HV_DEV_VIRTIO_NET_H
#define HV_DEV_VIRTIO_NET_H

#include "hv/dev/virtio/device.h"
#include "hv/dev/virtio/pci.h"

#define NET_RECEIVE 0u
#define NET_TRANSMIT 1u
#define NET_CONTROL 2u

#define NET_ETHERNET_BYTES 14u
#define NET_MAC_BYTES 6u
#define NET_FRAME_MAX (65535u + 18u) /* one IP packet of the largest size, with a VLAN tag */
#define NET_FILTER_MAX 32u

/* 5.1.3 "Feature bits", as far as others than net.c look at them. */
#define NET_F_GUEST_CSUM (1ULL << 1)
#define NET_F_GUEST_TSO4 (1ULL << 7)
#define NET_F_GUEST_TSO6 (1ULL << 8)
#define NET_F_GUEST_ECN (1ULL << 9)
#define NET_F_MRG_RXBUF (1ULL << 15)

/* 5.1.6 "Device Operation": the header. */
struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_bytes;
    uint16_t gso_bytes;
    uint16_t checksum_start;
    uint16_t checksum_offset;
    uint16_t buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "as the driver lays it out");
#define NET_NEEDS_CHECKSUM 1u
#define NET_GSO_NONE 0u
#define NET_GSO_TCP4 1u
#define NET_GSO_TCP6 4u
#define NET_GSO_ECN 0x80u

struct net_packet {
    struct net_header header;
    uint8_t ethernet[NET_ETHERNET_BYTES]; /* destination, source, type */
    uint32_t bytes;                       /* of the frame, these included */
    struct virtq_cursor rest;             /* what follows them, in send_chain */
    uint32_t next_port;                   /* where a flood goes on */
};

struct net_counters {
    uint64_t sent_packets, sent_bytes;
    uint64_t received_packets, received_bytes;
    uint64_t lost_full;     /* received: no buffer was there */
    uint64_t lost_filtered; /* received: not for this card */
    uint64_t lost_unfit;    /* received: larger than the driver takes */
    uint64_t bad;           /* sent: no packet at all */
};

struct virtio_net {
    struct virtio_device device; /* first */
    uint64_t mac;                /* atomic: the driver's choice; byte 0 in bits 7:0 */
    uint64_t config_mac;         /* the config's */
    bool unplugged;              /* atomic: the link is down */
    bool sending;                /* `packet` is on its way */
    uint8_t modes;               /* bit n: 5.1.6.5.1's command n is on */
    uint8_t filter_count;
    uint64_t filter[NET_FILTER_MAX]; /* further addresses, of cards and groups */
    struct net_packet packet;
    struct virtq_chain send_chain;
    struct virtq_chain control_chain;
    struct virtq_chain receive_chain; /* under receive_lock */
    struct net_counters counters;
};

struct virtio_net_pci {
    struct virtio_pci pci; /* first */
    struct virtio_net net;
};

/* Once. `mtu`: the largest packet that the network's guests are to send, without the Ethernet header; 0: not said. */
void virtio_net_init(struct virtio_net *net, const struct guest_memory *memory, const uint8_t mac[NET_MAC_BYTES],
                     uint16_t mtu);

/* A MAC address as a number, byte 0 in bits 7:0. */
static inline uint64_t net_mac(const uint8_t bytes[NET_MAC_BYTES])
{
    uint64_t mac = 0;

    for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
        mac |= (uint64_t)bytes[i] << (8 * i);
    }
    return mac;
}

static inline bool net_mac_is_group(uint64_t mac)
{
    return (mac & 1) != 0;
}

#define NET_MAC_BROADCAST 0xffffffffffffULL

/* Bytes of the header as this card's driver lays it out. */
#define NET_LEGACY_HEADER_BYTES 10u
static inline uint32_t virtio_net_header_bytes(const struct virtio_net *net)
{
    return virtio_has(&net->device, VIRTIO_F_VERSION_1 | NET_F_MRG_RXBUF) ? sizeof(struct net_header)
                                                                          : NET_LEGACY_HEADER_BYTES;
}

/* Does the driver want frames to this address? */
bool virtio_net_wants(const struct virtio_net *net, uint64_t destination);

/* The link: while it is down the switch takes the card's packets and drops them, and brings it none. */
void virtio_net_set_link(struct virtio_net *net, bool up);
static inline bool virtio_net_link(const struct virtio_net *net)
{
    return !__atomic_load_n(&net->unplugged, __ATOMIC_RELAXED);
}

/* Makes `packet` the next one. False: there is none. Bad ones are counted and given back. With service_lock. */
bool virtio_net_next_packet(struct virtio_net *net, struct virtio_budget *budget);

/* The packet has been everywhere. */
void virtio_net_packet_done(struct virtio_net *net);

/* Serves the control queue. With service_lock. */
void virtio_net_control(struct virtio_net *net, struct virtio_budget *budget);

#endif
