/* SPDX-License-Identifier: MIT */
/*
 * This folder has what crosses between guests, and nowhere else does one function hold two guests' memory.
 *
 * A network: a learning switch between the guests' cards that name it. A packet is copied once, from the sender's
 * buffers to each receiver's, by the sender's CPU; what is not there to receive it is lost, and nothing waits for it.
 *
 * A port is a card. Its receive queue is worked on under the card's receive_lock, so senders of several guests may
 * come at once; a sender tries the lock a bounded number of times, and otherwise keeps its packet for the next turn.
 * A receiver whose driver has reset the card is not reached at all: the reset holds the same lock. Guests' memory
 * outlives every card (hv/guest/create.c), and a guest that is loaded anew has reset its cards before.
 *
 * Addresses. A port is known by the address that the config gave its card, which no other port can take away; then by
 * the one that its driver has set; then by those that packets have come from (learned). Unknown ones are flooded.
 *
 * The caller passes what each call gives in net_wakes on to the guests: those whose drivers want an interrupt.
 */
#ifndef HV_SHARE_NET_SWITCH_H
#define HV_SHARE_NET_SWITCH_H

#include "hv/base/limits.h"
#include "hv/dev/virtio/net.h"

#define NET_PORTS_MAX (GUESTS_MAX * 4u) /* as many cards as a guest can have */
#define NET_LEARNED 256u

struct net_switch {
    struct virtio_net *ports[NET_PORTS_MAX]; /* constant after the start */
    uint32_t port_count;
    bool isolated;                        /* packets go from a router's port or to one, and nowhere else */
    uint64_t routers[NET_PORTS_MAX / 64]; /* a set of ports */
    uint64_t learned[NET_LEARNED];        /* atomic: address << 16 | 1 + port; 0: empty */
};

/* A set of ports. */
struct net_wakes {
    uint64_t words[NET_PORTS_MAX / 64];
};

static inline void net_wake(struct net_wakes *wakes, uint32_t port)
{
    wakes->words[port / 64] |= 1ULL << (port % 64);
}

/* The port's number. NET_PORTS_MAX: the switch is full. `router`: of the guest that the others reach where the network
 * is isolated. */
uint32_t net_switch_add(struct net_switch *net_switch, struct virtio_net *card, bool router);

/*
 * Sends what the card of `port` has to send, as far as the budget goes, and serves its control queue. True: call
 * again after the guest has run.
 */
bool net_switch_service(struct net_switch *net_switch, uint32_t port, struct virtio_budget *budget,
                        struct net_wakes *wakes);

#endif
