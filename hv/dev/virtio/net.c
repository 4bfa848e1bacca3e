/* SPDX-License-Identifier: MIT */
/* A virtio network card. See net.h. */
#include "hv/dev/virtio/net.h"

#include "hv/base/memory.h"

#define NET_F_CSUM (1ULL << 0)
#define NET_F_MTU (1ULL << 3)
#define NET_F_MAC (1ULL << 5)
#define NET_F_HOST_TSO4 (1ULL << 11)
#define NET_F_HOST_TSO6 (1ULL << 12)
#define NET_F_HOST_ECN (1ULL << 13)
#define NET_F_STATUS (1ULL << 16)
#define NET_F_CTRL_VQ (1ULL << 17)
#define NET_F_CTRL_RX (1ULL << 18)
#define NET_F_CTRL_RX_EXTRA (1ULL << 20)
#define NET_F_CTRL_MAC_ADDR (1ULL << 23)

#define FEATURES                                                                                           \
    (NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MAC | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN |   \
     NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | \
     NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA | NET_F_CTRL_MAC_ADDR)

/* 5.1.4 "Device configuration layout". */
#define CONFIG_MAC 0u
#define CONFIG_STATUS 6u
#define CONFIG_MTU 10u
#define CONFIG_BYTES 12u
#define STATUS_LINK_UP 1u

#define QUEUE_SIZE 256u

/* 5.1.6.5 "Control Virtqueue". */
#define CONTROL_RX 0u
enum control_rx {
    CONTROL_RX_PROMISCUOUS,
    CONTROL_RX_ALL_MULTICAST,
    CONTROL_RX_ALL_UNICAST,
    CONTROL_RX_NO_MULTICAST,
    CONTROL_RX_NO_UNICAST,
    CONTROL_RX_NO_BROADCAST,
};
#define CONTROL_MAC 1u
#define CONTROL_MAC_TABLE 0u
#define CONTROL_MAC_ADDRESS 1u
#define CONTROL_OK 0u
#define CONTROL_ERROR 1u
#define CONTROL_BUDGET_CHAINS 16u /* of one service */

struct control {
    uint8_t class;
    uint8_t command;
};

static struct virtio_net *net_of(struct virtio_device *device)
{
    return (struct virtio_net *)device;
}

/* ---- which addresses ---- */

/* Before its driver has said anything a card takes all, as others do; drivers without the control queue rely on it. */
static void forget_filter(struct virtio_net *net)
{
    net->modes = 1u << CONTROL_RX_PROMISCUOUS;
    net->filter_count = 0;
    __atomic_store_n(&net->mac, net->config_mac, __ATOMIC_RELAXED);
}

static bool has_mode(const struct virtio_net *net, enum control_rx mode)
{
    return (net->modes >> mode & 1u) != 0;
}

bool virtio_net_wants(const struct virtio_net *net, uint64_t destination)
{
    bool group = net_mac_is_group(destination);

    if (has_mode(net, CONTROL_RX_PROMISCUOUS)) {
        return true;
    }
    if (destination == NET_MAC_BROADCAST) {
        return !has_mode(net, CONTROL_RX_NO_BROADCAST);
    }
    if (has_mode(net, group ? CONTROL_RX_NO_MULTICAST : CONTROL_RX_NO_UNICAST)) {
        return false;
    }
    if (has_mode(net, group ? CONTROL_RX_ALL_MULTICAST : CONTROL_RX_ALL_UNICAST) ||
        destination == __atomic_load_n(&net->mac, __ATOMIC_RELAXED)) {
        return true;
    }
    for (unsigned i = 0; i < net->filter_count && i < NET_FILTER_MAX; i++) {
        if (net->filter[i] == destination) {
            return true;
        }
    }
    return false;
}

/* ---- control ---- */

static bool take_bytes(struct virtio_net *net, struct virtq_cursor *cursor, void *to, uint64_t bytes)
{
    return virtq_gather(net->device.memory, &net->control_chain, cursor, to, bytes) == bytes;
}

/* A list: how many, and so many addresses. What does not fit makes the card take everything, which is allowed. */
static bool read_table(struct virtio_net *net, struct virtq_cursor *cursor, bool *overflow)
{
    uint32_t count;

    if (!take_bytes(net, cursor, &count, sizeof(count)) ||
        (uint64_t)count * NET_MAC_BYTES > net->control_chain.readable_bytes) {
        return false;
    }
    *overflow = count > NET_FILTER_MAX - net->filter_count;
    if (*overflow) {
        return virtq_skip(&net->control_chain, cursor, (uint64_t)count * NET_MAC_BYTES) ==
               (uint64_t)count * NET_MAC_BYTES;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t mac[NET_MAC_BYTES];

        if (!take_bytes(net, cursor, mac, sizeof(mac))) {
            return false;
        }
        net->filter[net->filter_count++] = net_mac(mac);
    }
    return true;
}

/* 5.1.6.5.2 "Setting MAC Address Filtering": first cards' addresses, then groups'. */
static bool set_table(struct virtio_net *net, struct virtq_cursor *cursor)
{
    bool overflow = false, overflow_groups = false;

    net->filter_count = 0;
    if (!read_table(net, cursor, &overflow) || !read_table(net, cursor, &overflow_groups)) {
        net->filter_count = 0;
        return false;
    }
    net->modes |= (uint8_t)(overflow << CONTROL_RX_PROMISCUOUS | overflow_groups << CONTROL_RX_ALL_MULTICAST);
    return true;
}

static bool set_address(struct virtio_net *net, struct virtq_cursor *cursor)
{
    uint8_t mac[NET_MAC_BYTES];

    if (!take_bytes(net, cursor, mac, sizeof(mac)) || (mac[0] & 1) != 0) {
        return false;
    }
    __atomic_store_n(&net->mac, net_mac(mac), __ATOMIC_RELAXED);
    memcpy(&net->device.config[CONFIG_MAC], mac, sizeof(mac));
    return true;
}

static bool set_mode(struct virtio_net *net, struct virtq_cursor *cursor, uint8_t command)
{
    uint8_t on;

    if (!take_bytes(net, cursor, &on, 1) || command > CONTROL_RX_NO_BROADCAST) {
        return false;
    }
    net->modes = (uint8_t)((net->modes & ~(1u << command)) | (on != 0 ? 1u << command : 0));
    return true;
}

static bool obey(struct virtio_net *net)
{
    struct virtq_cursor cursor = virtq_readable(&net->control_chain);
    struct control control;

    if (!take_bytes(net, &cursor, &control, sizeof(control))) {
        return false;
    }
    if (control.class == CONTROL_RX) {
        return set_mode(net, &cursor, control.command);
    }
    if (control.class == CONTROL_MAC && control.command == CONTROL_MAC_TABLE) {
        return set_table(net, &cursor);
    }
    return control.class == CONTROL_MAC && control.command == CONTROL_MAC_ADDRESS && set_address(net, &cursor);
}

/* The receivers' side reads the filter without a lock: a packet at the moment of a change may meet the old one. */
void virtio_net_control(struct virtio_net *net, struct virtio_budget *budget)
{
    struct virtio_device *device = &net->device;

    do {
        while (virtio_budget_lasts(budget) && virtio_take(device, NET_CONTROL, &net->control_chain, budget)) {
            struct virtq_cursor cursor = virtq_writable(&net->control_chain);
            uint8_t answer;

            if (net->control_chain.writable_bytes == 0) {
                virtq_break(&device->queues[NET_CONTROL], VIRTQ_REQUEST);
                virtio_fail(device);
                return;
            }
            answer = obey(net) ? CONTROL_OK : CONTROL_ERROR;
            virtq_scatter(device->memory, &net->control_chain, &cursor, &answer, 1);
            virtq_push(&device->queues[NET_CONTROL], device->memory, net->control_chain.head, 1);
        }
    } while (virtio_budget_lasts(budget) && virtio_runs(device) &&
             virtq_rearm(&device->queues[NET_CONTROL], device->memory));
    if (virtq_wants_interrupt(&device->queues[NET_CONTROL], device->memory)) {
        virtio_signal(device, 1u << NET_CONTROL);
    }
}

/* ---- packets that are sent ---- */

/* 5.1.6.2.1: what the header says must lie inside the frame, and have been negotiated. */
static bool header_is_good(const struct virtio_net *net, const struct net_header *header, uint32_t frame)
{
    uint8_t gso = header->gso_type & (uint8_t)~NET_GSO_ECN;
    bool checksum = (header->flags & NET_NEEDS_CHECKSUM) != 0;

    if (checksum && (!virtio_has(&net->device, NET_F_CSUM) ||
                     (uint32_t)header->checksum_start + header->checksum_offset + 2 > frame)) {
        return false;
    }
    if (gso == NET_GSO_NONE) {
        return true;
    }
    return checksum && header->gso_bytes != 0 &&
           ((gso == NET_GSO_TCP4 && virtio_has(&net->device, NET_F_HOST_TSO4)) ||
            (gso == NET_GSO_TCP6 && virtio_has(&net->device, NET_F_HOST_TSO6)));
}

static bool read_packet(struct virtio_net *net)
{
    struct virtq_chain *chain = &net->send_chain;
    struct virtq_cursor cursor = virtq_readable(chain);
    struct net_packet *packet = &net->packet;
    uint32_t header_bytes = virtio_net_header_bytes(net);
    uint8_t start[sizeof(struct net_header) + NET_ETHERNET_BYTES];

    if (chain->readable_bytes < header_bytes + NET_ETHERNET_BYTES ||
        chain->readable_bytes > header_bytes + NET_FRAME_MAX) {
        return false;
    }
    packet->bytes = (uint32_t)chain->readable_bytes - header_bytes;
    packet->next_port = 0;
    (void)virtq_gather(net->device.memory, chain, &cursor, start, header_bytes + NET_ETHERNET_BYTES);
    packet->header = (struct net_header){0};
    memcpy(&packet->header, start, header_bytes);
    memcpy(packet->ethernet, start + header_bytes, NET_ETHERNET_BYTES);
    packet->rest = cursor;
    return header_is_good(net, &packet->header, packet->bytes);
}

bool virtio_net_next_packet(struct virtio_net *net, struct virtio_budget *budget)
{
    while (virtio_budget_lasts(budget) && virtio_take(&net->device, NET_TRANSMIT, &net->send_chain, budget)) {
        if (read_packet(net)) {
            net->sending = true;
            net->counters.sent_packets++;
            net->counters.sent_bytes += net->packet.bytes;
            return true;
        }
        net->counters.bad++;
        virtq_push(&net->device.queues[NET_TRANSMIT], net->device.memory, net->send_chain.head, 0);
    }
    return false;
}

void virtio_net_packet_done(struct virtio_net *net)
{
    net->sending = false;
    virtq_push(&net->device.queues[NET_TRANSMIT], net->device.memory, net->send_chain.head, 0);
}

/* ---- the link ---- */

void virtio_net_set_link(struct virtio_net *net, bool up)
{
    if (virtio_net_link(net) != up) {
        __atomic_store_n(&net->unplugged, !up, __ATOMIC_RELAXED);
        net->device.config[CONFIG_STATUS] = up ? STATUS_LINK_UP : 0;
        if (virtio_runs(&net->device)) {
            virtio_signal(&net->device, VIRTIO_SIGNAL_CONFIG);
        }
    }
}

/* ---- its description ---- */

static bool needs(uint64_t features, uint64_t feature, uint64_t needed)
{
    return (features & feature) == 0 || (features & needed) != 0;
}

/* 5.1.3.1 "Feature bit requirements". */
static bool features_fit(uint64_t features)
{
    return needs(features, NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6, NET_F_GUEST_CSUM) &&
           needs(features, NET_F_HOST_TSO4 | NET_F_HOST_TSO6, NET_F_CSUM) &&
           needs(features, NET_F_GUEST_ECN, NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6) &&
           needs(features, NET_F_HOST_ECN, NET_F_HOST_TSO4 | NET_F_HOST_TSO6) &&
           needs(features, NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA | NET_F_CTRL_MAC_ADDR, NET_F_CTRL_VQ);
}

static void reset(struct virtio_device *device)
{
    struct virtio_net *net = net_of(device);

    net->sending = false;
    forget_filter(net);
    for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
        device->config[CONFIG_MAC + i] = (uint8_t)(net->config_mac >> (8 * i));
    }
}

static void queue_reset(struct virtio_device *device, unsigned queue)
{
    if (queue == NET_TRANSMIT) {
        net_of(device)->sending = false;
    }
}

/* Legacy drivers set the address by writing it, a byte after the other. */
static void config_write(struct virtio_device *device, unsigned offset, uint8_t size, uint32_t value)
{
    if (!device->legacy) {
        return;
    }
    for (unsigned i = 0; i < size && offset + i < NET_MAC_BYTES; i++) {
        device->config[CONFIG_MAC + offset + i] = (uint8_t)(value >> (8 * i));
    }
    __atomic_store_n(&net_of(device)->mac, net_mac(&device->config[CONFIG_MAC]), __ATOMIC_RELAXED);
}

/* Without a network: what is sent is gone. */
static bool service(struct virtio_device *device, uint32_t kicked, struct virtio_budget *budget)
{
    struct virtio_net *net = net_of(device);

    (void)kicked;
    virtio_net_control(net, budget);
    while (virtio_net_next_packet(net, budget)) {
        virtio_net_packet_done(net);
    }
    return !virtio_budget_lasts(budget);
}

static const struct virtio_kind kind = {
    .name = "virtio-net",
    .id = VIRTIO_NET,
    .queue_count = 3,
    .queue_size = QUEUE_SIZE,
    .config_bytes = CONFIG_BYTES,
    .pci_class = 0x020000, /* Ethernet */
    .features_fit = features_fit,
    .service = service,
    .reset = reset,
    .queue_reset = queue_reset,
    .config_write = config_write,
};

void virtio_net_init(struct virtio_net *net, const struct guest_memory *memory, const uint8_t mac[NET_MAC_BYTES],
                     uint16_t mtu)
{
    memset(net, 0, sizeof(*net));
    net->config_mac = net_mac(mac);
    net->device.config[CONFIG_STATUS] = STATUS_LINK_UP;
    memcpy(&net->device.config[CONFIG_MTU], &mtu, sizeof(mtu));
    virtio_init(&net->device, &kind, memory, FEATURES | (mtu != 0 ? NET_F_MTU : 0));
}
