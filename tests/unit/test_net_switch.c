/* SPDX-License-Identifier: MIT */
/* Networks between guests: drivers written from the specification send each other packets through the switch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/share/net_switch.h"
#include "tests/unit/support.h"
#include "tests/unit/virtio_driver.h"

#define GUESTS 4u
#define RINGS 0x10000u
#define SENT 0x50000u
#define RECEIVED 0x80000u
#define BUFFER_BYTES 2048u
#define MODERN ((1ULL << 32) | (1ULL << 28) | (1ULL << 29))
#define CSUM (1ULL << 0)
#define GUEST_CSUM (1ULL << 1)
#define GUEST_TSO4 (1ULL << 7)
#define HOST_TSO4 (1ULL << 11)
#define MRG (1ULL << 15)
#define CONTROL (1ULL << 17 | 1ULL << 18 | 1ULL << 23)
#define OFFLOADS (MODERN | CSUM | GUEST_CSUM | GUEST_TSO4 | HOST_TSO4 | MRG | CONTROL)

struct peer {
    struct arena arena;
    struct virtio_net_pci card;
    struct virtio_driver driver;
    uint32_t header_bytes;
    unsigned posted;
};

static struct peer peers[GUESTS];
static struct net_switch net_switch;

static const uint8_t macs[GUESTS][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}, {2, 0, 0, 0, 0, 4}};

static void post(struct peer *peer, uint32_t bytes)
{
    struct driver_buffer buffer = {RECEIVED + (uint64_t)BUFFER_BYTES * (peer->posted++ % 64), bytes, true};

    assert_int_not_equal(driver_add(&peer->driver.queues[0], &buffer, 1), 0xffff);
}

static void start_peer(unsigned index, bool legacy, uint64_t features, unsigned buffers)
{
    struct peer *peer = &peers[index];

    peer->posted = 0;
    peer->header_bytes = (features & (MRG | 1ULL << 32)) != 0 ? 12 : 10;
    assert_true(vd_start(&peer->driver, &peer->card.pci, &peer->arena, legacy, features, 3, RINGS, 128));
    for (unsigned i = 0; i < buffers; i++) {
        post(peer, BUFFER_BYTES);
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&net_switch, 0, sizeof(net_switch));
    for (unsigned i = 0; i < GUESTS; i++) {
        arena_init(&peers[i].arena);
        virtio_net_init(&peers[i].card.net, &peers[i].arena.memory, macs[i], i == 3 ? 9000 : 0);
        virtio_pci_init(&peers[i].card.pci, &peers[i].card.net.device, VIRTIO_TRANSITIONAL);
        assert_int_equal(net_switch_add(&net_switch, &peers[i].card.net, i == 2), i);
        start_peer(i, false, OFFLOADS, 32);
    }
    return 0;
}

/* Runs a guest's card until it has nothing more to do. The set of ports that are to be woken. */
static uint64_t run(unsigned index, unsigned *turns)
{
    struct net_wakes wakes = {{0}};
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL};
    unsigned count = 0;

    while (net_switch_service(&net_switch, index, &budget, &wakes)) {
        budget.left = VIRTIO_BUDGET_BYTES;
        assert_true(++count < 1000);
    }
    if (turns != NULL) {
        *turns = count;
    }
    return wakes.words[0];
}

/* A frame whose bytes behind the addresses say where they are. In two pieces with the header in front of the first. */
static void put_frame(unsigned from, const uint8_t to[6], uint32_t bytes, const struct net_header *header)
{
    struct peer *peer = &peers[from];
    struct net_header plain = {0};
    uint32_t first = peer->header_bytes + 20;
    struct driver_buffer buffers[2] = {{SENT, first, false}, {SENT + 0x1001, bytes - 20, false}};

    (void)guest_memory_write(&peer->arena.memory, gpa(SENT), header != NULL ? header : &plain, peer->header_bytes);
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t byte = i < 6 ? to[i] : i < 12 ? macs[from][i - 6] : (uint8_t)(i * 13 + i / 256);

        arena_put(&peer->arena, i < 20 ? SENT + peer->header_bytes + i : SENT + 0x1001 + i - 20, byte, 1);
    }
    assert_int_not_equal(driver_add(&peer->driver.queues[1], buffers, bytes > 20 ? 2 : 1), 0xffff);
    vd_notify(&peer->driver, 1);
}

/* The next frame that a guest has received, over as many buffers as its header says. 0: none. */
static uint32_t take_frame(unsigned index, uint8_t *frame, struct net_header *header)
{
    struct peer *peer = &peers[index];
    uint8_t bytes[256 * 1024];
    uint32_t used = 0, written, buffers = 1;
    uint16_t head;

    for (uint32_t i = 0; i < buffers; i++) {
        if (!driver_take(&peer->driver.queues[0], &head, &written)) {
            assert_int_equal(i, 0);
            return 0;
        }
        (void)guest_memory_read(&peer->arena.memory,
                                gpa(arena_get(&peer->arena, peer->driver.queues[0].descriptors + 16u * head, 8)),
                                bytes + used, written);
        used += written;
        if (i == 0) {
            *header = (struct net_header){0};
            memcpy(header, bytes, peer->header_bytes);
            buffers = (peers[index].card.net.device.accepted & MRG) != 0 ? header->buffers : 1;
        }
    }
    memcpy(frame, bytes + peer->header_bytes, used - peer->header_bytes);
    return used - peer->header_bytes;
}

static void expect_frame(unsigned index, unsigned from, const uint8_t to[6], uint32_t bytes)
{
    static uint8_t frame[256 * 1024];
    struct net_header header;

    assert_int_equal(take_frame(index, frame, &header), bytes);
    assert_memory_equal(frame, to, 6);
    assert_memory_equal(frame + 6, macs[from], 6);
    for (uint32_t i = 12; i < bytes; i++) {
        assert_int_equal(frame[i], (uint8_t)(i * 13 + i / 256));
    }
}

static void expect_nothing(unsigned index)
{
    static uint8_t frame[256 * 1024];
    struct net_header header;

    assert_int_equal(take_frame(index, frame, &header), 0);
}

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void a_packet_reaches_the_card_that_it_names(void **state)
{
    uint16_t head;
    uint32_t written;

    (void)state;
    put_frame(0, macs[2], 60, NULL);
    assert_int_equal(run(0, NULL), 1u << 2);
    expect_nothing(1);
    expect_frame(2, 0, macs[2], 60);
    expect_nothing(3);
    assert_true(driver_take(&peers[0].driver.queues[1], &head, &written));
    assert_int_equal(written, 0);
    assert_int_equal(virtio_take_signals(&peers[2].card.net.device), 1);
}

static void a_broadcast_reaches_all_others(void **state)
{
    (void)state;
    put_frame(1, broadcast, 200, NULL);
    assert_int_equal(run(1, NULL), 0xd);
    expect_frame(0, 1, broadcast, 200);
    expect_nothing(1);
    expect_frame(2, 1, broadcast, 200);
    expect_frame(3, 1, broadcast, 200);
}

static void no_packet_passes_where_the_cable_is_pulled(void **state)
{
    (void)state;
    assert_int_equal(vd_config(&peers[0].driver, 6, 2), 1);
    virtio_net_set_link(&peers[0].card.net, false);
    assert_int_equal(virtio_take_signals(&peers[0].card.net.device), VIRTIO_SIGNAL_CONFIG);
    assert_int_equal(vd_config(&peers[0].driver, 6, 2), 0);
    put_frame(1, broadcast, 200, NULL);
    run(1, NULL);
    expect_nothing(0);
    expect_frame(2, 1, broadcast, 200);
    expect_frame(3, 1, broadcast, 200);
    put_frame(0, broadcast, 200, NULL); /* is taken, and goes nowhere */
    assert_int_equal(run(0, NULL), 0);
    expect_nothing(1);
    virtio_net_set_link(&peers[0].card.net, true);
    virtio_net_set_link(&peers[0].card.net, true); /* no news */
    assert_int_equal(virtio_take_signals(&peers[0].card.net.device) & VIRTIO_SIGNAL_CONFIG, VIRTIO_SIGNAL_CONFIG);
    put_frame(0, broadcast, 200, NULL);
    run(0, NULL);
    expect_frame(1, 0, broadcast, 200);
    virtio_reset(&peers[0].card.net.device);
    virtio_net_set_link(&peers[0].card.net, false); /* nothing for a driver that is not ready */
    assert_int_equal(virtio_take_signals(&peers[0].card.net.device), 0);
}

static void unknown_addresses_are_flooded_until_they_are_learned(void **state)
{
    static const uint8_t stranger[6] = {2, 9, 9, 9, 9, 9};

    (void)state;
    put_frame(0, stranger, 60, NULL);
    assert_int_equal(run(0, NULL), 0xe);
    for (unsigned i = 1; i < GUESTS; i++) {
        expect_frame(i, 0, stranger, 60);
    }
    /* a bridge behind guest 3 answers from that address */
    put_frame(3, macs[0], 60, NULL);
    arena_put(&peers[3].arena, SENT + 12 + 6, net_mac(stranger) & 0xffffffff, 4);
    arena_put(&peers[3].arena, SENT + 12 + 10, net_mac(stranger) >> 32, 2);
    run(3, NULL);
    put_frame(0, stranger, 60, NULL);
    run(0, NULL);
    expect_nothing(1);
    expect_nothing(2);
    expect_frame(3, 0, stranger, 60);
}

static void no_card_takes_another_ones_address(void **state)
{
    (void)state;
    put_frame(1, broadcast, 60, NULL); /* guest 1 pretends to be guest 2 */
    arena_put(&peers[1].arena, SENT + 12 + 6, net_mac(macs[2]) & 0xffffffff, 4);
    arena_put(&peers[1].arena, SENT + 12 + 10, net_mac(macs[2]) >> 32, 2);
    run(1, NULL);
    peers[1].card.net.mac = net_mac(macs[2]);
    put_frame(0, macs[2], 61, NULL);
    run(0, NULL);
    expect_nothing(1);
    assert_int_equal(peers[2].card.net.counters.received_packets, 2); /* guest 1's broadcast, and this */
}

static void large_frames_are_spread_over_buffers(void **state)
{
    struct net_header header = {.flags = 1,
                                .gso_type = NET_GSO_TCP4,
                                .header_bytes = 54,
                                .gso_bytes = 1460,
                                .checksum_start = 34,
                                .checksum_offset = 16};
    static uint8_t frame[256 * 1024];
    struct net_header got;

    (void)state;
    put_frame(0, macs[1], 40000, &header);
    assert_int_equal(run(0, NULL), 1u << 1);
    assert_int_equal(take_frame(1, frame, &got), 40000);
    assert_int_equal(got.buffers, (40000 + 12 + BUFFER_BYTES - 1) / BUFFER_BYTES);
    assert_int_equal(got.flags, 1);
    assert_int_equal(got.gso_type, NET_GSO_TCP4);
    assert_int_equal(got.gso_bytes, 1460);
    for (uint32_t i = 14; i < 40000; i++) {
        assert_int_equal(frame[i], (uint8_t)(i * 13 + i / 256));
    }
}

static void where_buffers_are_too_few_the_packet_is_lost_and_the_next_one_is_not(void **state)
{
    (void)state;
    put_frame(0, macs[1], 65000, NULL);
    put_frame(0, macs[1], 1000, NULL); /* the same memory: both have these bytes */
    put_frame(0, macs[1], 65000, NULL);
    (void)state;
    start_peer(1, false, OFFLOADS, 20);
    run(0, NULL);
    assert_int_equal(peers[1].card.net.counters.lost_full, 2);
    assert_int_equal(peers[1].card.net.counters.received_packets, 1);
    assert_int_equal(peers[1].card.net.counters.received_bytes, 1000);
    expect_frame(1, 0, macs[1], 1000);
    expect_nothing(1);
}

/* Its buffers are its own choice, and the sender's CPU goes through them. */
static void a_receiver_of_very_small_buffers_loses_large_packets(void **state)
{
    (void)state;
    start_peer(1, false, OFFLOADS, 0);
    for (unsigned i = 0; i < 120; i++) {
        post(&peers[1], 100);
    }
    put_frame(0, macs[1], 9000, NULL); /* fits into 91 */
    run(0, NULL);
    assert_int_equal(peers[1].card.net.counters.lost_full, 1);
    put_frame(0, macs[1], 1000, NULL); /* the buffers are there again */
    run(0, NULL);
    assert_int_equal(peers[1].card.net.counters.received_packets, 1);
}

static void a_flood_to_many_ends_by_the_clock_and_goes_on(void **state)
{
    struct net_wakes wakes = {{0}};
    unsigned turns = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        put_frame(0, broadcast, 3000, NULL);
    }
    support_tick = 10;
    for (;;) {
        struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, support_now, NULL};
        bool more = net_switch_service(&net_switch, 0, &budget, &wakes);

        assert_in_range(support_now, 0, budget.until + 6 * support_tick);
        if (!more) {
            break;
        }
        assert_true(++turns < 100);
    }
    support_tick = 0;
    assert_true(turns >= 4);
    for (unsigned i = 1; i < GUESTS; i++) {
        for (unsigned n = 0; n < 4; n++) {
            expect_frame(i, 0, broadcast, 3000);
        }
        expect_nothing(i);
    }
}

static void without_merged_buffers_a_frame_fits_into_one_or_is_lost(void **state)
{
    (void)state;
    start_peer(1, true, 0, 4);
    put_frame(0, macs[1], 2000, NULL);
    run(0, NULL);
    expect_frame(1, 0, macs[1], 2000);
    put_frame(0, macs[1], BUFFER_BYTES - 9, NULL);
    run(0, NULL);
    assert_int_equal(peers[1].card.net.counters.lost_full, 1);
    put_frame(0, macs[1], BUFFER_BYTES - 10, NULL);
    run(0, NULL);
    expect_frame(1, 0, macs[1], BUFFER_BYTES - 10);
    assert_int_equal(peers[1].card.net.counters.received_packets, 2);
}

static uint16_t reference_checksum(const uint8_t *frame, uint32_t start, uint32_t end)
{
    uint32_t sum = 0;

    for (uint32_t i = start; i < end; i++) {
        sum += (i - start) % 2 == 0 ? (uint32_t)frame[i] << 8 : frame[i];
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static void checksums_are_made_for_drivers_that_want_them(void **state)
{
    (void)state;
    for (uint32_t bytes = 60; bytes < 1400; bytes += 37) {
        struct net_header header = {.flags = 1, .checksum_start = (uint16_t)(33 + bytes % 2), .checksum_offset = 6};
        static uint8_t frame[256 * 1024], expected[2048];
        struct net_header got;
        uint16_t checksum;

        setup(state);
        start_peer(1, false, MODERN | (bytes % 3 == 0 ? MRG : 0), 32);
        put_frame(0, macs[1], bytes, &header);
        run(0, NULL);
        assert_int_equal(take_frame(1, frame, &got), bytes);
        assert_int_equal(got.flags, 0);
        assert_int_equal(got.buffers, 1);
        memcpy(expected, frame, bytes);
        for (unsigned i = header.checksum_start + 6u; i < header.checksum_start + 8u; i++) {
            expected[i] = (uint8_t)(i * 13 + i / 256);
        }
        checksum = reference_checksum(expected, header.checksum_start, bytes);
        assert_int_equal(frame[header.checksum_start + 6], checksum >> 8);
        assert_int_equal(frame[header.checksum_start + 7], checksum & 0xff);
    }
}

static void filters_are_obeyed(void **state)
{
    struct peer *peer = &peers[1];
    static const uint8_t other[6] = {2, 8, 8, 8, 8, 8};
    static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
    struct driver_buffer buffers[] = {{SENT, 3, false}, {SENT + 64, 1, true}};
    struct driver_buffer table[] = {{SENT, 2 + 4 + 4 + 6, false}, {SENT + 64, 1, true}};

    (void)state;
    arena_put(&peer->arena, SENT, 0, 3); /* not promiscuous */
    arena_put(&peer->arena, SENT + 64, 0xff, 1);
    driver_add(&peer->driver.queues[2], buffers, 2);
    vd_notify(&peer->driver, 2);
    run(1, NULL);
    assert_int_equal(arena_get(&peer->arena, SENT + 64, 1), 0);
    put_frame(0, other, 60, NULL);
    run(0, NULL);
    expect_nothing(1);
    put_frame(0, group, 60, NULL);
    run(0, NULL);
    expect_nothing(1);
    arena_put(&peer->arena, SENT, 1, 8); /* class 1, command 0, no cards, one group */
    arena_put(&peer->arena, SENT + 6, 1, 4);
    arena_put(&peer->arena, SENT + 10, net_mac(group), 6);
    driver_add(&peer->driver.queues[2], table, 2);
    vd_notify(&peer->driver, 2);
    run(1, NULL);
    assert_int_equal(arena_get(&peer->arena, SENT + 64, 1), 0);
    put_frame(0, group, 60, NULL);
    run(0, NULL);
    expect_frame(1, 0, group, 60);
}

static void set_mode(unsigned index, uint8_t command, bool on)
{
    struct peer *peer = &peers[index];
    struct driver_buffer buffers[] = {{SENT, 3, false}, {SENT + 64, 1, true}};

    arena_put(&peer->arena, SENT, 0, 1);
    arena_put(&peer->arena, SENT + 1, command, 1);
    arena_put(&peer->arena, SENT + 2, on, 1);
    arena_put(&peer->arena, SENT + 64, 0xff, 1);
    driver_add(&peer->driver.queues[2], buffers, 2);
    vd_notify(&peer->driver, 2);
    run(index, NULL);
    assert_int_equal(arena_get(&peer->arena, SENT + 64, 1), command > 5 ? 1 : 0);
}

/* 5.1.6.5.1 "Packet Receive Filtering", all six. */
static void every_mode_of_reception_is_obeyed(void **state)
{
    static const uint8_t other[6] = {2, 8, 8, 8, 8, 8}, group[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const struct {
        uint8_t modes; /* bit n: command n */
        bool own, other, group, broadcast;
    } cases[] = {{0x01, true, true, true, true},    {0x00, true, false, false, true}, {0x02, true, false, true, true},
                 {0x04, true, true, false, true},   {0x0a, true, false, false, true}, {0x14, false, false, false, true},
                 {0x20, true, false, false, false}, {0x39, true, true, true, true}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        for (uint8_t command = 0; command <= 6; command++) {
            set_mode(1, command, (cases[i].modes >> command & 1) != 0);
        }
        assert_int_equal(virtio_net_wants(&peers[1].card.net, net_mac(macs[1])), cases[i].own);
        assert_int_equal(virtio_net_wants(&peers[1].card.net, net_mac(other)), cases[i].other);
        assert_int_equal(virtio_net_wants(&peers[1].card.net, net_mac(group)), cases[i].group);
        assert_int_equal(virtio_net_wants(&peers[1].card.net, NET_MAC_BROADCAST), cases[i].broadcast);
    }
}

static void an_isolated_network_reaches_its_router_alone(void **state)
{
    static const uint8_t unknown[6] = {2, 9, 9, 9, 9, 9};
    static const uint8_t *const to[] = {broadcast, unknown, macs[2]};

    (void)state;
    net_switch.isolated = true; /* guest 2 is the router */
    put_frame(0, macs[1], 60, NULL);
    assert_int_equal(run(0, NULL), 0);
    for (uint32_t i = 0; i < ARRAY_COUNT(to); i++) {
        put_frame(0, to[i], 61 + i, NULL);
        run(0, NULL);
        expect_frame(2, 0, to[i], 61 + i);
    }
    put_frame(2, macs[1], 64, NULL);
    run(2, NULL);
    expect_frame(1, 2, macs[1], 64);
    put_frame(2, broadcast, 65, NULL);
    run(2, NULL);
    expect_frame(0, 2, broadcast, 65);
    expect_frame(1, 2, broadcast, 65);
    expect_frame(3, 2, broadcast, 65);
    /* an address that another guest claims does not lead to it */
    put_frame(1, broadcast, 60, NULL);
    arena_put(&peers[1].arena, SENT + 12 + 6, net_mac(unknown) & 0xffffffff, 4);
    arena_put(&peers[1].arena, SENT + 12 + 10, net_mac(unknown) >> 32, 2);
    run(1, NULL);
    put_frame(0, unknown, 66, NULL);
    run(0, NULL);
    for (unsigned i = 0; i < GUESTS; i++) {
        assert_int_equal(peers[i].card.net.counters.received_packets, i == 2 ? 4 : i == 1 ? 2 : 1);
    }
}

static void the_networks_mtu_is_told(void **state)
{
    (void)state;
    assert_int_equal(vd_features(&peers[0].driver) & 1ULL << 3, 0);
    assert_int_equal(vd_features(&peers[3].driver) & 1ULL << 3, 1ULL << 3);
    assert_int_equal(vd_config(&peers[3].driver, 10, 2), 9000);
}

static void an_address_that_the_driver_sets_is_reached(void **state)
{
    static const uint8_t other[6] = {2, 8, 8, 8, 8, 8};
    struct peer *peer = &peers[1];
    struct driver_buffer buffers[] = {{SENT, 8, false}, {SENT + 64, 1, true}};

    (void)state;
    arena_put(&peer->arena, SENT, 0x0101, 2);
    arena_put(&peer->arena, SENT + 2, net_mac(other), 6);
    driver_add(&peer->driver.queues[2], buffers, 2);
    vd_notify(&peer->driver, 2);
    run(1, NULL);
    assert_int_equal(arena_get(&peer->arena, SENT + 64, 1), 0);
    assert_int_equal(vd_config(&peer->driver, 0, 4), net_mac(other) & 0xffffffff);
    put_frame(0, other, 60, NULL);
    assert_int_equal(run(0, NULL), 1u << 1);
}

static void bad_packets_are_counted_and_given_back(void **state)
{
    struct net_header header = {.flags = 1, .checksum_start = 50, .checksum_offset = 16};
    uint16_t head;
    uint32_t written;

    (void)state;
    put_frame(0, macs[1], 60, &header); /* the checksum would be outside */
    put_frame(0, macs[1], 66000, NULL);
    header = (struct net_header){.gso_type = NET_GSO_TCP4};
    put_frame(0, macs[1], 60, &header);
    header = (struct net_header){.gso_type = 77, .flags = 1};
    put_frame(0, macs[1], 60, &header);
    run(0, NULL);
    assert_int_equal(peers[0].card.net.counters.bad, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(driver_take(&peers[0].driver.queues[1], &head, &written));
    }
    expect_nothing(1);
}

static void a_flood_goes_on_where_the_budget_ended(void **state)
{
    unsigned turns;

    (void)state;
    for (unsigned i = 0; i < GUESTS; i++) {
        start_peer(i, false, OFFLOADS, 64);
    }
    for (unsigned i = 0; i < 4; i++) {
        put_frame(0, broadcast, 30000, NULL);
    }
    run(0, &turns);
    assert_in_range(turns, 1, 3);
    for (unsigned i = 1; i < GUESTS; i++) {
        for (unsigned n = 0; n < 4; n++) {
            expect_frame(i, 0, broadcast, 30000);
        }
        expect_nothing(i);
    }
}

static void a_receiver_that_is_busy_gets_its_packet_later(void **state)
{
    struct net_wakes wakes = {{0}};
    struct virtio_budget budget = {VIRTIO_BUDGET_BYTES, UINT64_MAX, NULL};

    (void)state;
    put_frame(0, macs[1], 60, NULL);
    spinlock_take(&peers[1].card.net.device.receive_lock);
    assert_true(net_switch_service(&net_switch, 0, &budget, &wakes));
    assert_int_equal(wakes.words[0], 0);
    spinlock_release(&peers[1].card.net.device.receive_lock);
    assert_false(net_switch_service(&net_switch, 0, &budget, &wakes));
    assert_int_equal(wakes.words[0], 2);
    expect_frame(1, 0, macs[1], 60);
}

static void a_card_that_was_reset_receives_nothing(void **state)
{
    (void)state;
    vd_status(&peers[1].driver, 0);
    put_frame(0, macs[1], 60, NULL);
    assert_int_equal(run(0, NULL), 0);
    assert_int_equal(peers[1].card.net.counters.received_packets, 0);
}

static void a_broken_receive_queue_is_the_receivers_fault_alone(void **state)
{
    struct peer *peer = &peers[1];

    (void)state;
    start_peer(1, false, OFFLOADS, 0);
    driver_descriptor(&peer->arena, peer->driver.queues[0].descriptors, 0, 0xfee00000, 4096, DRIVER_WRITE, 0);
    driver_publish(&peer->driver.queues[0], 0);
    put_frame(0, macs[1], 60, NULL);
    assert_int_equal(run(0, NULL), 2);
    assert_int_equal(vd_get_status(&peer->driver) & 64, 64);
    assert_int_equal(vd_get_status(&peers[0].driver), 15);
    put_frame(0, macs[2], 60, NULL);
    run(0, NULL);
    expect_frame(2, 0, macs[2], 60);
}

static void features_depend_on_each_other(void **state)
{
    struct peer *peer = &peers[0];

    (void)state;
    assert_false(vd_start(&peer->driver, &peer->card.pci, &peer->arena, false, MODERN | GUEST_TSO4, 3, RINGS, 128));
    assert_false(vd_start(&peer->driver, &peer->card.pci, &peer->arena, false, MODERN | HOST_TSO4, 3, RINGS, 128));
    assert_false(vd_start(&peer->driver, &peer->card.pci, &peer->arena, false, MODERN | 1ULL << 18, 3, RINGS, 128));
    assert_true(
        vd_start(&peer->driver, &peer->card.pci, &peer->arena, false, MODERN | HOST_TSO4 | CSUM, 3, RINGS, 128));
    assert_int_equal(driver_read32(&peer->card.pci.function, 0), 0x10001af4);
    assert_int_equal(vd_config(&peer->driver, 6, 2), 1);
    assert_int_equal(vd_config(&peer->driver, 0, 1), 2);
    assert_int_equal(vd_config(&peer->driver, 5, 1), 1);
}

/* ---- segments that the card cuts ---- */

#define PSH_FIN 0x09u
#define ACK 0x10u
#define CWR 0x80u

struct tcp_packet {
    uint8_t bytes[64 * 1024];
    uint32_t size, network, transport, headers;
};

static struct tcp_packet large;

/* A packet of TCP as Linux hands it to a card that cuts: lengths of the whole, the checksum's field without use. */
static void make_tcp(bool ipv6, bool tagged, uint32_t payload)
{
    uint8_t *frame = large.bytes, *ip, *tcp;
    uint32_t total;

    memset(&large, 0, sizeof(large));
    large.network = tagged ? 18 : 14;
    large.transport = large.network + (ipv6 ? 40 : 24); /* IPv4 with an option */
    large.headers = large.transport + 32;
    large.size = large.headers + payload;
    memcpy(frame, macs[1], 6);
    memcpy(frame + 6, macs[0], 6);
    memcpy(frame + 12, tagged ? "\x81\x00\x00\x07" : "", tagged ? 4 : 0);
    memcpy(frame + large.network - 2, ipv6 ? "\x86\xdd" : "\x08\x00", 2);
    ip = frame + large.network;
    tcp = frame + large.transport;
    total = large.size - large.network;
    if (ipv6) {
        ip[0] = 0x60;
        ip[4] = (uint8_t)((total - 40) >> 8);
        ip[5] = (uint8_t)(total - 40);
        ip[6] = 6;
    } else {
        memcpy(ip, "\x46\x00\x00\x00\xff\xfe\x40\x00\x40\x06", 10);
        ip[2] = (uint8_t)(total >> 8);
        ip[3] = (uint8_t)total;
    }
    for (unsigned i = 0; i < (ipv6 ? 32u : 8u); i++) {
        ip[(ipv6 ? 8 : 12) + i] = (uint8_t)(0xa1 + 7 * i);
    }
    memcpy(tcp + 4, "\xff\xff\xfe\x00", 4);
    tcp[12] = 0x80;
    tcp[13] = PSH_FIN | ACK | CWR;
    memcpy(tcp + 16, "\x12\x34", 2);
    for (uint32_t i = 0; i < payload; i++) {
        frame[large.headers + i] = (uint8_t)(i * 29 + i / 256);
    }
}

static void send_large(uint8_t gso_type, uint16_t gso_bytes)
{
    struct peer *peer = &peers[0];
    struct net_header header = {.flags = 1,
                                .gso_type = gso_type,
                                .gso_bytes = gso_bytes,
                                .checksum_start = (uint16_t)large.transport,
                                .checksum_offset = 16};
    struct driver_buffer buffers[3] = {
        {SENT, 12 + 30, false}, {SENT + 0x1001, 40, false}, {SENT + 0x2003, large.size - 70, false}};

    (void)guest_memory_write(&peer->arena.memory, gpa(SENT), &header, 12);
    (void)guest_memory_write(&peer->arena.memory, gpa(SENT + 12), large.bytes, 30);
    (void)guest_memory_write(&peer->arena.memory, gpa(SENT + 0x1001), large.bytes + 30, 40);
    (void)guest_memory_write(&peer->arena.memory, gpa(SENT + 0x2003), large.bytes + 70, large.size - 70);
    assert_int_not_equal(driver_add(&peer->driver.queues[1], buffers, 3), 0xffff);
    vd_notify(&peer->driver, 1);
    run(0, NULL);
}

static uint32_t number(const uint8_t *at, unsigned bytes)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* The sum of addresses, protocol and length, as two bytes of a frame whose reference_checksum() is then 0. */
static uint32_t pseudo_sum(const uint8_t *frame, bool ipv6, uint32_t tcp_bytes)
{
    uint8_t bytes[40] = {0};
    unsigned addresses = ipv6 ? 32 : 8;

    memcpy(bytes, frame + large.network + (ipv6 ? 8 : 12), addresses);
    bytes[addresses + 1] = 6;
    bytes[addresses + 2] = (uint8_t)(tcp_bytes >> 8);
    bytes[addresses + 3] = (uint8_t)tcp_bytes;
    return (uint16_t)~reference_checksum(bytes, 0, addresses + 4);
}

static void expect_headers(const uint8_t *frame, uint32_t bytes, bool ipv6, uint32_t done, bool last, unsigned index)
{
    const uint8_t *ip = frame + large.network, *tcp = frame + large.transport;

    assert_memory_equal(frame, large.bytes, large.network);
    if (ipv6) {
        assert_int_equal(number(ip + 4, 2), bytes - large.network - 40);
    } else {
        assert_int_equal(number(ip + 2, 2), bytes - large.network);
        assert_int_equal(number(ip + 4, 2), (0xfffe + index) & 0xffff);
        assert_int_equal(reference_checksum(frame, large.network, large.transport), 0);
    }
    assert_int_equal(number(tcp + 4, 4), 0xfffffe00u + done);
    assert_int_equal(tcp[13], ACK | (last ? PSH_FIN : 0) | (done == 0 ? CWR : 0));
}

/* Takes all segments at guest 1 and compares them with what was sent. */
static unsigned expect_segments(bool ipv6, uint32_t size, bool whole_checksum)
{
    static uint8_t frame[256 * 1024];
    struct net_header got;
    uint32_t done = 0, bytes, payload = large.size - large.headers;
    unsigned count = 0;

    while ((bytes = take_frame(1, frame, &got)) != 0) {
        uint32_t part = bytes - large.headers;
        uint32_t pseudo = pseudo_sum(frame, ipv6, bytes - large.transport);

        assert_int_equal(part, done + size < payload ? size : payload - done);
        assert_int_equal(got.gso_type, 0);
        expect_headers(frame, bytes, ipv6, done, done + part == payload, count++);
        assert_memory_equal(frame + large.headers, large.bytes + large.headers + done, part);
        if (whole_checksum) {
            uint32_t sum = pseudo + (uint16_t)~reference_checksum(frame, large.transport, bytes);

            assert_int_equal(got.flags, 0);
            assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
        } else {
            assert_int_equal(got.flags, 1);
            assert_int_equal(got.checksum_start, large.transport);
            assert_int_equal(got.checksum_offset, 16);
            assert_int_equal(number(frame + large.transport + 16, 2), pseudo);
        }
        done += part;
    }
    assert_int_equal(done, payload);
    return count;
}

static void large_packets_are_cut_for_drivers_that_take_none(void **state)
{
    const uint64_t sender = OFFLOADS | 1ULL << 12; /* HOST_TSO6 */

    for (unsigned kind = 0; kind < 8; kind++) {
        bool ipv6 = (kind & 1) != 0, tagged = (kind & 2) != 0, whole = (kind & 4) != 0;

        setup(state);
        start_peer(0, false, sender, 8);
        start_peer(1, false, MODERN | (whole ? 0 : GUEST_CSUM), 32);
        make_tcp(ipv6, tagged, 20000);
        send_large(ipv6 ? NET_GSO_TCP6 : NET_GSO_TCP4, 1441);
        assert_int_equal(expect_segments(ipv6, 1441, whole), 14);
        assert_int_equal(peers[1].card.net.counters.received_packets, 14);
        make_tcp(ipv6, tagged, 1441);
        send_large(ipv6 ? NET_GSO_TCP6 : NET_GSO_TCP4, 1441);
        assert_int_equal(expect_segments(ipv6, 1441, whole), 1);
    }
}

static void what_cannot_be_cut_is_lost_alone(void **state)
{
    struct net_counters *counters = &peers[1].card.net.counters;

    (void)state;
    start_peer(1, false, MODERN, 4);
    make_tcp(false, false, 20000);
    send_large(NET_GSO_TCP4, 1); /* as many as there are buffers, and an end */
    assert_int_equal(counters->received_packets, 4);
    start_peer(1, false, MODERN, 8);
    for (unsigned kind = 0; kind < 5; kind++) {
        make_tcp(false, false, 3000);
        if (kind == 0) {
            large.bytes[12] = 0x77; /* no IP */
        } else if (kind == 1) {
            large.bytes[14] = 0x47; /* its length is not where TCP begins */
        } else if (kind == 2) {
            large.bytes[large.transport + 12] = 0x40; /* a TCP header of 16 bytes */
        } else if (kind == 3) {
            large.transport = 190;
        } else {
            large.size = large.headers; /* nothing to cut */
        }
        send_large(NET_GSO_TCP4, 1000);
        assert_int_equal(counters->lost_unfit, kind + 1);
    }
    assert_int_equal(counters->received_packets, 4);
    put_frame(0, macs[1], 60, NULL);
    run(0, NULL);
    assert_int_equal(counters->received_packets, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_packet_reaches_the_card_that_it_names, setup),
        cmocka_unit_test_setup(a_broadcast_reaches_all_others, setup),
        cmocka_unit_test_setup(no_packet_passes_where_the_cable_is_pulled, setup),
        cmocka_unit_test_setup(unknown_addresses_are_flooded_until_they_are_learned, setup),
        cmocka_unit_test_setup(no_card_takes_another_ones_address, setup),
        cmocka_unit_test_setup(large_frames_are_spread_over_buffers, setup),
        cmocka_unit_test_setup(where_buffers_are_too_few_the_packet_is_lost_and_the_next_one_is_not, setup),
        cmocka_unit_test_setup(a_receiver_of_very_small_buffers_loses_large_packets, setup),
        cmocka_unit_test_setup(a_flood_to_many_ends_by_the_clock_and_goes_on, setup),
        cmocka_unit_test_setup(without_merged_buffers_a_frame_fits_into_one_or_is_lost, setup),
        cmocka_unit_test_setup(checksums_are_made_for_drivers_that_want_them, setup),
        cmocka_unit_test_setup(large_packets_are_cut_for_drivers_that_take_none, setup),
        cmocka_unit_test_setup(what_cannot_be_cut_is_lost_alone, setup),
        cmocka_unit_test_setup(filters_are_obeyed, setup),
        cmocka_unit_test_setup(every_mode_of_reception_is_obeyed, setup),
        cmocka_unit_test_setup(an_isolated_network_reaches_its_router_alone, setup),
        cmocka_unit_test_setup(the_networks_mtu_is_told, setup),
        cmocka_unit_test_setup(an_address_that_the_driver_sets_is_reached, setup),
        cmocka_unit_test_setup(bad_packets_are_counted_and_given_back, setup),
        cmocka_unit_test_setup(a_flood_goes_on_where_the_budget_ended, setup),
        cmocka_unit_test_setup(a_receiver_that_is_busy_gets_its_packet_later, setup),
        cmocka_unit_test_setup(a_card_that_was_reset_receives_nothing, setup),
        cmocka_unit_test_setup(a_broken_receive_queue_is_the_receivers_fault_alone, setup),
        cmocka_unit_test_setup(features_depend_on_each_other, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
