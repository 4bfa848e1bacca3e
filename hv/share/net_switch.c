/* SPDX-License-Identifier: MIT */
/* A network between guests. See net_switch.h. */
#include "hv/share/net_switch.h"

#include "hv/share/net_transfer.h"

#define LOCK_TRIES 64u

/* Destinations that are more than one port. */
#define PORT_FLOOD NET_PORTS_MAX
#define PORT_NOWHERE (NET_PORTS_MAX + 1u)

#define LEARNED_PORT(entry) ((uint32_t)((entry)&0xffffu) - 1)
#define LEARNED_MAC(entry) ((entry) >> 16)

uint32_t net_switch_add(struct net_switch *net_switch, struct virtio_net *card, bool router)
{
    if (net_switch->port_count == NET_PORTS_MAX) {
        return NET_PORTS_MAX;
    }
    net_switch->ports[net_switch->port_count] = card;
    net_switch->routers[net_switch->port_count / 64] |= (uint64_t)router << net_switch->port_count % 64;
    return net_switch->port_count++;
}

/* ---- addresses ---- */

static uint64_t *learned_slot(struct net_switch *net_switch, uint64_t mac)
{
    return &net_switch->learned[(mac ^ mac >> 8 ^ mac >> 24 ^ mac >> 40) % NET_LEARNED];
}

/* The port of a card with this address; NET_PORTS_MAX: none. */
static uint32_t port_of_card(const struct net_switch *net_switch, uint64_t mac)
{
    for (uint32_t i = 0; i < net_switch->port_count; i++) {
        if (net_switch->ports[i]->config_mac == mac) {
            return i;
        }
    }
    for (uint32_t i = 0; i < net_switch->port_count; i++) {
        if (__atomic_load_n(&net_switch->ports[i]->mac, __ATOMIC_RELAXED) == mac) {
            return i;
        }
    }
    return NET_PORTS_MAX;
}

static void learn(struct net_switch *net_switch, uint32_t port, uint64_t source)
{
    if (!net_mac_is_group(source) && source != net_switch->ports[port]->config_mac) {
        __atomic_store_n(learned_slot(net_switch, source), source << 16 | (port + 1), __ATOMIC_RELAXED);
    }
}

static uint32_t find_port(struct net_switch *net_switch, uint64_t destination)
{
    uint32_t port;
    uint64_t entry;

    if (net_mac_is_group(destination)) {
        return PORT_FLOOD;
    }
    port = port_of_card(net_switch, destination);
    if (port != NET_PORTS_MAX) {
        return port;
    }
    entry = __atomic_load_n(learned_slot(net_switch, destination), __ATOMIC_RELAXED);
    return entry != 0 && LEARNED_MAC(entry) == destination ? LEARNED_PORT(entry) : PORT_FLOOD;
}

static bool is_router(const struct net_switch *net_switch, uint32_t port)
{
    return (net_switch->routers[port / 64] >> port % 64 & 1u) != 0;
}

static bool reaches(const struct net_switch *net_switch, uint32_t from, uint32_t to)
{
    return from != to && (!net_switch->isolated || is_router(net_switch, from) || is_router(net_switch, to));
}

/* ---- one packet ---- */

/* The lock is held for one packet or one register write; a sender that meets it tries again, and not for long. */
static bool try_lock(struct spinlock *lock)
{
    for (unsigned i = 0; i < LOCK_TRIES; i++) {
        if (spinlock_try(lock)) {
            return true;
        }
        __builtin_ia32_pause();
    }
    return false;
}

/* False: its lock was taken; the packet has not been there. */
static bool send_to(struct net_switch *net_switch, struct virtio_net *sender, uint32_t port,
                    struct virtio_budget *budget, struct net_wakes *wakes)
{
    struct virtio_net *receiver = net_switch->ports[port];
    uint64_t destination = net_mac(sender->packet.ethernet);

    if (!virtio_net_wants(receiver, destination) || !virtio_net_link(receiver)) {
        return true;
    }
    if (!try_lock(&receiver->device.receive_lock)) {
        return false;
    }
    if (virtio_runs(&receiver->device)) {
        if (net_transfer(sender, receiver, budget)) {
            virtio_signal(&receiver->device, 1u << NET_RECEIVE);
            net_wake(wakes, port);
        }
        if ((receiver->device.status & VIRTIO_NEEDS_RESET) != 0) {
            net_wake(wakes, port);
        }
    }
    spinlock_release(&receiver->device.receive_lock);
    return true;
}

/* Goes on with the packet that the card has. True: it has been everywhere. */
static bool send_packet(struct net_switch *net_switch, uint32_t port, struct virtio_budget *budget,
                        struct net_wakes *wakes)
{
    struct virtio_net *sender = net_switch->ports[port];
    struct net_packet *packet = &sender->packet;
    uint32_t to = find_port(net_switch, net_mac(packet->ethernet));

    if (to != PORT_FLOOD) {
        return !reaches(net_switch, port, to) || send_to(net_switch, sender, to, budget, wakes);
    }
    while (packet->next_port < net_switch->port_count) {
        if (!virtio_budget_lasts(budget) || (reaches(net_switch, port, packet->next_port) &&
                                             !send_to(net_switch, sender, packet->next_port, budget, wakes))) {
            return false;
        }
        packet->next_port++;
    }
    return true;
}

/* ---- a card ---- */

struct sending {
    struct net_switch *net_switch;
    uint32_t port;
    struct net_wakes *wakes;
};

/* The next packet, or what is left of one. False: there is none, or it cannot go on now. */
static bool next_packet(const struct sending *sending, struct virtio_net *card, struct virtio_budget *budget)
{
    if (!card->sending) {
        if (!virtio_net_next_packet(card, budget)) {
            return false;
        }
        learn(sending->net_switch, sending->port, net_mac(card->packet.ethernet + NET_MAC_BYTES));
    }
    if (virtio_net_link(card) && !send_packet(sending->net_switch, sending->port, budget, sending->wakes)) {
        return false;
    }
    virtio_net_packet_done(card);
    return true;
}

static bool work(void *context, struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    const struct sending *sending = context;
    struct virtio_net *card = sending->net_switch->ports[sending->port];
    struct virtq *queue = &device->queues[NET_TRANSMIT];
    bool more;

    if ((kicked & 1u << NET_CONTROL) != 0) {
        virtio_net_control(card, budget);
    }
    virtq_disarm(queue, device->memory);
    do {
        while (virtio_budget_lasts(budget) && next_packet(sending, card, budget)) {
        }
        more = card->sending || !virtio_budget_lasts(budget);
    } while (!more && virtio_runs(device) && virtq_rearm(queue, device->memory));
    if (virtq_wants_interrupt(queue, device->memory)) {
        virtio_signal(device, 1u << NET_TRANSMIT);
    }
    return more;
}

bool net_switch_service(struct net_switch *net_switch, uint32_t port, struct virtio_budget *budget,
                        struct net_wakes *wakes)
{
    struct sending sending = {net_switch, port, wakes};

    return virtio_service_by(&net_switch->ports[port]->device, budget, work, &sending);
}
