/* SPDX-License-Identifier: MIT */
/* See pong.h. Two rings as the legacy layout has them, buffers that are given back at once, one answer at a time. */
#include "tests/guests/lib/pong.h"

#include "tests/guests/lib/pci.h"

/* ---- the card ---- */

#define ID_NET 0x10001af4u /* 5.1: the transitional id */
#define FEATURES 4u
#define QUEUE_ADDRESS 8u
#define QUEUE_SIZE 12u
#define QUEUE_SELECT 14u
#define QUEUE_NOTIFY 16u
#define STATUS 18u
#define ISR 19u
#define MAC 20u
#define STATUS_DRIVER 3u /* acknowledged, and there is a driver */
#define STATUS_READY 7u

#define RECEIVE 0u
#define TRANSMIT 1u
#define QUEUE_MAX 256u
#define PAGE 4096u
#define RING_BYTES (3 * PAGE) /* of 256 descriptors */
#define WRITE 2u
#define NO_INTERRUPT 1u
#define BUFFERS 8u
#define BUFFER_BYTES 1536u
#define HEADER_BYTES 10u

struct descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

struct ring {
    volatile struct descriptor *descriptors;
    volatile uint16_t *available; /* flags, index, heads */
    volatile uint16_t *used;      /* flags, index, elements of two dwords */
    uint16_t size, seen;
};

static uint16_t ports;
static uint8_t card_irq, own_address[4], own_mac[6];
static struct ring rings[2];
static uint8_t memory[2][RING_BYTES] __attribute__((aligned(PAGE)));
static uint8_t received[BUFFERS][BUFFER_BYTES] __attribute__((aligned(8)));
static uint8_t answer[BUFFER_BYTES] __attribute__((aligned(8)));
static uint32_t pings;

static uint16_t at(uint32_t offset)
{
    return (uint16_t)(ports + offset);
}

static void on_interrupt(struct trap_frame *frame)
{
    (void)frame;
    (void)in8(at(ISR)); /* the line falls */
    pic_eoi(card_irq);
}

/* 2.7.2: descriptors, the available ring, and on the next page the used ring. */
static void place_ring(uint16_t index)
{
    struct ring *ring = &rings[index];
    uint32_t start = (uint32_t)(uintptr_t)memory[index];

    out16(at(QUEUE_SELECT), index);
    ring->size = in16(at(QUEUE_SIZE));
    CHECK(ring->size != 0 && ring->size <= QUEUE_MAX);
    ring->descriptors = (volatile struct descriptor *)(uintptr_t)start;
    ring->available = (volatile uint16_t *)(uintptr_t)(start + 16u * ring->size);
    ring->used = (volatile uint16_t *)(uintptr_t)((start + 18u * ring->size + 6u + PAGE - 1) & ~(PAGE - 1));
    out32(at(QUEUE_ADDRESS), start / PAGE);
}

static void put(struct ring *ring, uint16_t head)
{
    ring->available[2 + ring->available[1] % ring->size] = head;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring->available[1]++;
}

static void describe(struct ring *ring, uint16_t head, const volatile void *buffer, uint32_t bytes, uint16_t flags)
{
    ring->descriptors[head].address = (uintptr_t)buffer;
    ring->descriptors[head].bytes = bytes;
    ring->descriptors[head].flags = flags;
}

static bool find_card(void)
{
    uint32_t card = pci_find(ID_NET);

    if (card == PCI_FUNCTIONS) {
        return false;
    }
    ports = (uint16_t)(pci_read(card, PCI_BAR(0)) & ~PCI_BAR_PORT_BITS);
    card_irq = (uint8_t)pci_read(card, PCI_INTERRUPT_LINE);
    return true;
}

uint8_t pong_start(const uint8_t address[4])
{
    if (!find_card()) {
        return 0;
    }
    for (uint32_t i = 0; i < 4; i++) {
        own_address[i] = address[i];
    }
    out8(at(STATUS), 0);
    out8(at(STATUS), STATUS_DRIVER);
    out32(at(FEATURES), 0);
    for (uint16_t i = 0; i < 6; i++) {
        own_mac[i] = in8(at(MAC + i));
    }
    place_ring(RECEIVE);
    place_ring(TRANSMIT);
    rings[TRANSMIT].available[0] = NO_INTERRUPT;
    trap_set((uint8_t)(0x20 + card_irq), on_interrupt);
    out8(at(STATUS), STATUS_READY);
    for (uint16_t i = 0; i < BUFFERS; i++) {
        describe(&rings[RECEIVE], i, received[i], BUFFER_BYTES, WRITE);
        put(&rings[RECEIVE], i);
    }
    out16(at(QUEUE_NOTIFY), RECEIVE);
    return card_irq;
}

/* ---- frames: Ethernet, ARP (RFC 826), IPv4 (RFC 791), ICMP (RFC 792) ---- */

#define ETHERNET_BYTES 14u
#define TYPE_IP 0x0800u
#define TYPE_ARP 0x0806u
#define ARP_BYTES 28u
#define ARP_REQUEST 1u
#define ARP_REPLY 2u
#define IP_BYTES 20u
#define IP_PLAIN 0x45u /* version 4, a header without options */
#define IP_FRAGMENT 0x3fffu
#define PROTOCOL_ICMP 1u
#define ICMP_BYTES 8u
#define ECHO_REQUEST 8u
#define ECHO_REPLY 0u

static uint32_t word(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 8 | bytes[1];
}

static void put_word(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        to[i] = from[i];
    }
}

static bool is_ours(const uint8_t *address)
{
    for (uint32_t i = 0; i < 4; i++) {
        if (address[i] != own_address[i]) {
            return false;
        }
    }
    return true;
}

static uint32_t checksum(const uint8_t *bytes, uint32_t count)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < count; i += 2) {
        sum += i + 1 < count ? word(bytes + i) : (uint32_t)bytes[i] << 8;
    }
    sum = (sum & 0xffff) + (sum >> 16);
    return ~(sum + (sum >> 16)) & 0xffff;
}

static void send(uint32_t bytes)
{
    struct ring *ring = &rings[TRANSMIT];

    describe(ring, 0, answer, HEADER_BYTES + bytes, 0);
    put(ring, 0);
    out16(at(QUEUE_NOTIFY), TRANSMIT);
    while (ring->used[1] == ring->seen) {
    }
    ring->seen++;
}

/* The frame itself, back to where it came from. */
static uint8_t *turn(const uint8_t *frame, uint32_t bytes)
{
    uint8_t *back = answer + HEADER_BYTES;

    copy(back, frame, bytes);
    copy(back, frame + 6, 6);
    copy(back + 6, own_mac, 6);
    return back + ETHERNET_BYTES;
}

/* Hardware and protocol types, operation, and two pairs of addresses: the sender's and the target's. */
static void answer_arp(const uint8_t *frame, uint32_t bytes)
{
    const uint8_t *arp = frame + ETHERNET_BYTES;
    uint8_t *back;

    if (bytes < ETHERNET_BYTES + ARP_BYTES || word(arp + 6) != ARP_REQUEST || !is_ours(arp + 24)) {
        return;
    }
    back = turn(frame, ETHERNET_BYTES + ARP_BYTES);
    put_word(back + 6, ARP_REPLY);
    copy(back + 8, own_mac, 6);
    copy(back + 14, own_address, 4);
    copy(back + 18, arp + 8, 10);
    send(ETHERNET_BYTES + ARP_BYTES);
}

static void answer_ping(const uint8_t *frame, uint32_t bytes)
{
    const uint8_t *ip = frame + ETHERNET_BYTES;
    uint32_t total = bytes >= ETHERNET_BYTES + IP_BYTES ? word(ip + 2) : 0;
    uint8_t *back;

    if (total < IP_BYTES + ICMP_BYTES || total > bytes - ETHERNET_BYTES || ip[0] != IP_PLAIN ||
        (word(ip + 6) & IP_FRAGMENT) != 0 || ip[9] != PROTOCOL_ICMP || !is_ours(ip + 16) ||
        ip[IP_BYTES] != ECHO_REQUEST) {
        return;
    }
    back = turn(frame, ETHERNET_BYTES + total);
    copy(back + 12, ip + 16, 4); /* which leaves the header's checksum as it is */
    copy(back + 16, ip + 12, 4);
    back[IP_BYTES] = ECHO_REPLY;
    put_word(back + IP_BYTES + 2, 0);
    put_word(back + IP_BYTES + 2, checksum(back + IP_BYTES, total - IP_BYTES));
    send(ETHERNET_BYTES + total);
    pings++;
}

uint32_t pong_answer(void)
{
    struct ring *ring = &rings[RECEIVE];

    while (ring->size != 0 && ring->used[1] != ring->seen) {
        const volatile uint32_t *element = (const volatile uint32_t *)(ring->used + 2) + 2 * (ring->seen % ring->size);
        uint32_t head = element[0] % BUFFERS, bytes = element[1];
        const uint8_t *frame = received[head] + HEADER_BYTES;

        bytes = bytes > BUFFER_BYTES ? BUFFER_BYTES : bytes;
        if (bytes >= HEADER_BYTES + ETHERNET_BYTES && word(frame + 12) == TYPE_ARP) {
            answer_arp(frame, bytes - HEADER_BYTES);
        } else if (bytes >= HEADER_BYTES + ETHERNET_BYTES && word(frame + 12) == TYPE_IP) {
            answer_ping(frame, bytes - HEADER_BYTES);
        }
        ring->seen++;
        put(ring, (uint16_t)head);
        out16(at(QUEUE_NOTIFY), RECEIVE);
    }
    return pings;
}
