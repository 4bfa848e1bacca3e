/* SPDX-License-Identifier: MIT */
/*
 * Attacks on the guest's PCI bus, its virtio devices and shared memory. After each the device is reset and must work as
 * if nothing had been. The neighbour's ticks tell whether the hypervisor let it get away with it; on the same network
 * and the same shared memory is a guest that never reads what it gets.
 */
#include "tests/guests/lib/hostile.h"
#include "tests/guests/lib/pci.h"

const char guest_name[] = "hostile-devices";

#define STORM_MS 100u

/* ---- PCI ---- */

#define BARS 6u
#define BAR_PORTS 0u
#define BAR_MSIX 1u
#define BAR_MODERN 4u
#define ECAM 0xe0000000u
#define VIRTIO_BLOCK 0x10011af4u
#define VIRTIO_NET 0x10001af4u
#define IVSHMEM 0x11101af4u

static uint32_t disk, card, shared; /* lib/pci.h's numbers */

static uint32_t find(uint32_t id)
{
    uint32_t device = pci_find(id);

    CHECK(device < PCI_FUNCTIONS);
    pci_write(device, PCI_COMMAND, PCI_COMMAND_ALL);
    return device;
}

static uint32_t bar(uint32_t device, uint32_t number)
{
    return pci_read(device, PCI_BAR(number)) & ~0xfu;
}

/* ---- virtio: the modern layout (4.1.4.3), whose structures lie where the capabilities of Plinth say ---- */

#define FEATURE_SELECT 8u
#define FEATURES 12u
#define STATUS 20u
#define QUEUE_SELECT 22u
#define QUEUE_SIZE 24u
#define QUEUE_ENABLE 28u
#define DESCRIPTORS 32u
#define AVAILABLE 40u
#define USED 48u
#define NOTIFY 0x3000u
#define NEEDS_RESET 64u
#define F_NEXT 1u
#define F_WRITE 2u
#define F_INDIRECT 4u

struct descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

#define SIZE 64u
static struct descriptor descriptors[SIZE] __attribute__((aligned(4096)));
static volatile uint16_t available[SIZE + 3] __attribute__((aligned(4096)));
static volatile uint16_t used[2 + SIZE * 4 + 1] __attribute__((aligned(4096)));
static uint8_t data[4096] __attribute__((aligned(4096)));
static uint64_t seed = 1;

static void put8(uint32_t at, uint8_t value)
{
    *(volatile uint8_t *)(uintptr_t)at = value;
}

static void put16(uint32_t at, uint16_t value)
{
    *(volatile uint16_t *)(uintptr_t)at = value;
}

static void put64(uint32_t at, uint64_t value)
{
    mmio_write32(at, (uint32_t)value);
    mmio_write32(at + 4, (uint32_t)(value >> 32));
}

static uint8_t status_of(uint32_t device)
{
    return *(volatile uint8_t *)(uintptr_t)(bar(device, BAR_MODERN) + STATUS);
}

static void place(uint32_t device, uint16_t queue, uint16_t size, uint64_t table, uint64_t avail, uint64_t done)
{
    uint32_t common = bar(device, BAR_MODERN);

    put16(common + QUEUE_SELECT, queue);
    put16(common + QUEUE_SIZE, size);
    put64(common + DESCRIPTORS, table);
    put64(common + AVAILABLE, avail);
    put64(common + USED, done);
    put16(common + QUEUE_ENABLE, 1);
}

static void begin(uint32_t device)
{
    uint32_t common = bar(device, BAR_MODERN);

    put8(common + STATUS, 0);
    put8(common + STATUS, 3);
    for (uint32_t half = 0; half < 2; half++) { /* indirect tables, and VERSION_1 */
        mmio_write32(common + FEATURE_SELECT, half);
        mmio_write32(common + FEATURES, half == 0 ? 1u << 28 : 1);
    }
    put8(common + STATUS, 11);
    available[0] = available[1] = used[0] = used[1] = 0;
}

static void ready(uint32_t device)
{
    put8(bar(device, BAR_MODERN) + STATUS, 15);
}

static void notify(uint32_t device, uint16_t queue)
{
    put16(bar(device, BAR_MODERN) + NOTIFY, queue);
}

static void start(uint32_t device, uint16_t queue)
{
    begin(device);
    place(device, queue, SIZE, (uintptr_t)descriptors, (uintptr_t)available, (uintptr_t)used);
    ready(device);
}

static void describe(uint32_t index, const volatile void *at, uint32_t bytes, uint32_t flags)
{
    descriptors[index] = (struct descriptor){(uintptr_t)at, bytes, (uint16_t)flags, (uint16_t)(index + 1)};
}

static void offer(uint16_t head)
{
    available[2 + available[1] % SIZE] = head;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    available[1]++;
}

/* The disk must read its first sector, whatever was done to it before. */
static void disk_works(void)
{
    static uint32_t request[4];

    start(disk, 0);
    describe(0, request, sizeof(request), F_NEXT);
    describe(1, data, 512, F_NEXT | F_WRITE);
    describe(2, data + 512, 1, F_WRITE);
    data[0] = data[512] = 0xff;
    offer(0);
    notify(disk, 0);
    while (used[1] == 0) {
        __asm__ volatile("pause");
    }
    CHECK_EQUAL(data[512], 0);
    CHECK_EQUAL(data[0], 0);
    CHECK_EQUAL(data[4], 1); /* words tell their place */
}

static bool broken_after(uint32_t device)
{
    notify(device, 0);
    for (uint32_t i = 0; i < 100 && (status_of(device) & NEEDS_RESET) == 0; i++) {
        pit_wait_us(100);
    }
    return (status_of(device) & NEEDS_RESET) != 0;
}

/* ---- the attacks ---- */

static const uint64_t places[] = {
    0xfee00000,           0xfec00000,           0xe0000000,          0xc0000000,
    0xfeb00000,           0xbffff000,           0xfffff000,          16u << 20,
    (16u << 20) - 0x1000, 1ULL << 32,           (1ULL << 46) - 4096, 0x8000000000000000ULL,
    ~0ULL - 0xfffff,      0xffffffffffffffc0ULL};
#define PLACES (sizeof(places) / sizeof(places[0]))

static void rings_that_are_no_memory(void)
{
    for (uint32_t i = 0; i < PLACES; i++) {
        for (uint32_t which = 0; which < 3; which++) {
            uint64_t at[3] = {(uintptr_t)descriptors, (uintptr_t)available, (uintptr_t)used};

            at[which] = places[i] == (16u << 20) - 0x1000 ? places[i] + 0xff0 : places[i];
            begin(disk);
            place(disk, 0, 256, at[0], at[1], at[2]);
            ready(disk);
            CHECK(broken_after(disk));
        }
    }
    disk_works();
}

static void queue_sizes(void)
{
    static const uint16_t sizes[] = {0, 3, 100, 257, 512, 32768, 65535};

    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        begin(disk);
        place(disk, 0, sizes[i], (uintptr_t)descriptors, (uintptr_t)available, (uintptr_t)used);
        ready(disk);
        CHECK(broken_after(disk));
    }
    disk_works();
}

static void buffers_that_are_no_memory(void)
{
    for (uint32_t i = 0; i < PLACES; i++) {
        start(disk, 0);
        descriptors[0] = (struct descriptor){places[i], 0x2000, F_WRITE, 0};
        offer(0);
        CHECK(broken_after(disk));
        start(disk, 0);
        descriptors[0] = (struct descriptor){places[i], 4096, F_INDIRECT, 0};
        offer(0);
        CHECK(broken_after(disk));
    }
    disk_works();
}

static void chains_without_end(void)
{
    start(disk, 0); /* a loop of one, and of all */
    descriptors[0] = (struct descriptor){(uintptr_t)data, 16, F_NEXT, 0};
    offer(0);
    CHECK(broken_after(disk));
    start(disk, 0);
    for (uint32_t i = 0; i < SIZE; i++) {
        describe(i, data, 0xffffffff, F_NEXT);
        descriptors[i].next = (uint16_t)((i + 1) % SIZE);
    }
    offer(0);
    CHECK(broken_after(disk));
    start(disk, 0); /* heads and links that are none, and an index that runs away */
    offer(0x7fff);
    CHECK(broken_after(disk));
    start(disk, 0);
    available[1] = 0x8000;
    CHECK(broken_after(disk));
    start(disk, 0); /* empty buffers, and no request in them */
    for (uint32_t i = 0; i < SIZE; i++) {
        describe(i, data, 0, i + 1 == SIZE ? F_WRITE : F_NEXT);
    }
    offer(0);
    CHECK(broken_after(disk));
    disk_works();
}

/* Rings whose bytes are anything, and other ones at the next notification. */
static void rings_that_change(void)
{
    uint64_t end = rdtsc() + (uint64_t)hostile_khz() * STORM_MS;

    while (rdtsc() < end) {
        uint32_t device = (hostile_random(&seed) & 1) != 0 ? disk : card;
        uint16_t queue = device == disk ? 0 : (uint16_t)(hostile_random(&seed) % 3);

        start(device, queue);
        for (uint32_t i = 0; i < SIZE; i++) {
            uint64_t random = hostile_random(&seed);

            descriptors[i] = (struct descriptor){random % 0x1100000, (uint32_t)(random >> 32) % 9000,
                                                 (uint16_t)(random >> 20 & 7), (uint16_t)(random >> 40 & 63)};
            if ((descriptors[i].flags & F_WRITE) != 0) { /* what devices write goes where the guest can lose it */
                descriptors[i].address = (uintptr_t)data;
                descriptors[i].bytes %= sizeof(data);
            }
            available[2 + i] = (uint16_t)(random >> 50) % SIZE;
        }
        available[1] = (uint16_t)(hostile_random(&seed) % SIZE);
        notify(device, queue);
    }
    disk_works();
}

/* Onto RAM, the APICs, each other, nowhere; what they covered is there as before, and so are they at the end. */
static void bars_anywhere(void)
{
    static volatile uint32_t witness = 0x600d600d;
    uint32_t version = lapic_read(0x30);
    const uint32_t targets[] = {0, 0x1000, 0xb8000, 0xfec00000, 0xfee00000, 0xfed00000, ECAM, 0xfffff000};

    for (uint32_t number = 0; number < BARS; number++) {
        uint32_t kept = pci_read(disk, PCI_BAR(number));

        for (uint32_t i = 0; i < sizeof(targets) / sizeof(targets[0]) + 2; i++) {
            uint32_t target = i < 8    ? targets[i]
                              : i == 8 ? (uint32_t)(uintptr_t)&witness & ~0xfffu
                                       : bar(card, BAR_MODERN);

            pci_write(disk, PCI_BAR(number), number == BAR_PORTS ? target >> 8 : target);
            CHECK_EQUAL(witness, 0x600d600d);
            CHECK_EQUAL(lapic_read(0x30), version);
            CHECK_EQUAL(mmio_read32(ECAM), 0x00081b36);
            CHECK_EQUAL(pci_read(card, 0), VIRTIO_NET);
            (void)in8(0x64);
        }
        pci_write(disk, PCI_BAR(number), kept);
    }
    disk_works();
}

static void configuration_space(void)
{
    uint32_t kept[BARS];

    for (uint32_t i = 0; i < BARS; i++) {
        kept[i] = pci_read(disk, PCI_BAR(i));
    }
    for (uint32_t i = 0; i < 3000; i++) {
        uint64_t random = hostile_random(&seed);
        uint32_t offset = (uint32_t)(random & 0xff);

        pci_select(disk, offset);
        switch (random >> 8 & 3) {
        case 0:
            out8((uint16_t)(PCI_DATA_PORT + (offset & 3)), (uint8_t)(random >> 16));
            break;
        case 1:
            out16((uint16_t)(PCI_DATA_PORT + (offset & 2)), (uint16_t)(random >> 16));
            break;
        case 2:
            out32(PCI_DATA_PORT, (uint32_t)(random >> 16));
            break;
        default: /* ECAM, over the register's end too */
            *(volatile uint32_t *)(uintptr_t)(ECAM + (disk << 12) + offset) = (uint32_t)(random >> 16);
            break;
        }
    }
    pci_write(disk, PCI_COMMAND, 0);
    for (uint32_t i = 0; i < BARS; i++) {
        pci_write(disk, PCI_BAR(i), kept[i]);
    }
    pci_write(disk, PCI_COMMAND, PCI_COMMAND_ALL);
    pci_write(disk, 0x40, 0); /* MSI-X off */
    disk_works();
}

/* Broadcasts as fast as they go, to a receiver that takes none. */
static void packet_storm(void)
{
    uint64_t end = rdtsc() + (uint64_t)hostile_khz() * STORM_MS;
    uint32_t sent = 0;

    start(card, 1);
    for (uint32_t i = 0; i < sizeof(data); i++) {
        data[i] = i < 12 ? 0 : 0xff;
    }
    for (uint32_t i = 0; i < SIZE; i++) {
        describe(i, data, 1514 + 12, 0);
    }
    while (rdtsc() < end) {
        for (uint32_t i = 0; i < SIZE && (uint16_t)(available[1] - used[1]) < SIZE; i++) {
            offer((uint16_t)(available[1] % SIZE));
            sent++;
        }
        notify(card, 1);
    }
    print("  %u packets\n", sent);
    disk_works();
}

static void doorbell_storm(void)
{
    uint64_t end = rdtsc() + (uint64_t)hostile_khz() * STORM_MS;

    for (uint32_t i = 0; rdtsc() < end; i++) {
        mmio_write32(bar(shared, 0) + 12, (i & 1) != 0 ? 1u << 16 | (i >> 1 & 3) : (uint32_t)hostile_random(&seed));
    }
    disk_works();
}

/* Messages to addresses that are no local APIC's, with modes and vectors that are none. */
static void messages_anywhere(void)
{
    static const uint64_t addresses[] = {0, 0x1000, 0xfec00000, 0xfee00000, 0xfee0f00c, 0xfeeff000, 0x1fee00000, ~3ULL};
    uint32_t cap = pci_read(disk, 0x34) & 0xfc, msix = bar(disk, BAR_MSIX);

    CHECK_EQUAL(pci_read(disk, cap) & 0xff, 0x11);
    pci_write(disk, cap, 0x80000000);
    for (uint32_t i = 0; i < 8; i++) {
        for (uint32_t mode = 0; mode < 8; mode++) {
            if (mode == 4 || mode == 5 || (mode == 7 && i >= 3)) {
                continue; /* NMI, INIT and ExtINT are what they say, where they reach an APIC */
            }
            begin(disk);
            put16(bar(disk, BAR_MODERN) + QUEUE_SELECT, 0);
            put16(bar(disk, BAR_MODERN) + 26, 1); /* its vector */
            put64(msix + 16, addresses[i]);
            mmio_write32(msix + 24, mode << 8 | (uint32_t)(hostile_random(&seed) & 0xf));
            mmio_write32(msix + 28, 0);
            place(disk, 0, SIZE, (uintptr_t)descriptors, (uintptr_t)available, (uintptr_t)used);
            put8(bar(disk, BAR_MODERN) + STATUS, 15);
            describe(0, data, 16, F_NEXT);
            describe(1, data + 512, 1, F_WRITE);
            offer(0);
            notify(disk, 0);
            pit_wait_us(200);
        }
    }
    pci_write(disk, cap, 0);
    disk_works();
}

/* ---- the legacy layout (4.1.4.10), mixed with the modern one ---- */

#define LEGACY_BYTES 128u
#define LEGACY_FEATURES 4u
#define LEGACY_ADDRESS 8u
#define LEGACY_SELECT 14u
#define LEGACY_NOTIFY 16u
#define LEGACY_STATUS 18u
#define CAP_VENDOR 0x09u
#define CAP_WINDOW 5u
#define PAGE 4096u

static uint8_t legacy_ring[16 * PAGE] __attribute__((aligned(4096)));
static uint32_t windows[2]; /* of the disk and of the card: where the capability is */

/* 4.1.4.9: BAR, offset and length; then the BAR's bytes themselves. */
static uint32_t find_window(uint32_t device)
{
    uint32_t at = pci_read(device, 0x34) & 0xfc;

    while (at != 0 && ((pci_read(device, at) & 0xff) != CAP_VENDOR || pci_read(device, at) >> 24 != CAP_WINDOW)) {
        at = pci_read(device, at) >> 8 & 0xfc;
    }
    CHECK(at != 0);
    return at;
}

/* A device may write to what the descriptors say: never to the guest's code. */
static void fill_legacy_ring(uint64_t random)
{
    struct descriptor *table = (struct descriptor *)legacy_ring;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = (struct descriptor){(uintptr_t)data + (random & 0xff), (uint32_t)(random >> 8) % 3000,
                                       (uint16_t)(random >> 20 & 7), (uint16_t)(random >> 30 & 0x1ff)};
        random = hostile_random(&seed);
    }
    for (uint32_t i = 256 * sizeof(*table); i < sizeof(legacy_ring); i++) {
        legacy_ring[i] = (uint8_t)(random >> (i & 31));
    }
}

/* Rings: its own, over the end of RAM, at its end, where devices are, beyond everything. */
static uint32_t legacy_page(uint64_t random)
{
    static const uint32_t pages[] = {0,       0xfff,   0x1000,   0xa0,       0xfee00,
                                     0xe0000, 0xfffff, 0x100000, 0x7fffffff, 0xffffffff};

    return (random & 3) != 0 ? (uint32_t)(uintptr_t)legacy_ring / PAGE
                             : pages[(random >> 2) % (sizeof(pages) / sizeof(pages[0]))];
}

/* Everything but where the rings are, which is chosen. */
static void legacy_anything(uint16_t port, uint64_t random)
{
    uint32_t offset = (uint32_t)(random % LEGACY_BYTES);

    if (offset == LEGACY_ADDRESS) {
        return;
    }
    switch (random >> 8 & 3) {
    case 0:
        out8((uint16_t)(port + offset), (uint8_t)(random >> 16));
        break;
    case 1:
        out16((uint16_t)(port + offset), (uint16_t)(random >> 16));
        break;
    case 2:
        out32((uint16_t)(port + offset), (uint32_t)(random >> 16));
        break;
    default:
        (void)in32((uint16_t)(port + offset));
        break;
    }
}

/* The modern layout by the window, at every width that there is and at some that are none. */
static void window_anything(uint32_t device, uint32_t window, uint64_t random)
{
    static const uint32_t offsets[] = {STATUS, QUEUE_SELECT, QUEUE_SIZE, QUEUE_ENABLE, NOTIFY,
                                       0x1000, 0x2000,       0x3ffc,     0x4000};

    pci_write(device, window + 4, (uint32_t)(random & 7));
    pci_write(device, window + 8, offsets[(random >> 3) % (sizeof(offsets) / sizeof(offsets[0]))]);
    pci_write(device, window + 12, (uint32_t)(random >> 8) % 6);
    (void)pci_read(device, window + 16);
    pci_write(device, window + 16, (uint32_t)(random >> 12 & 0xf));
}

static void legacy_step(uint32_t device, uint32_t window, uint64_t random)
{
    uint16_t port = (uint16_t)(pci_read(device, PCI_BAR(BAR_PORTS)) & ~3u);

    switch (random % 9) {
    case 0:
        out8((uint16_t)(port + LEGACY_STATUS), (uint8_t)(random >> 8));
        break;
    case 1:
        out32((uint16_t)(port + LEGACY_FEATURES), (uint32_t)(random >> 8));
        break;
    case 2:
        out16((uint16_t)(port + LEGACY_SELECT), (uint16_t)(random >> 8 & (random >> 24 & 1 ? 0xffff : 3)));
        break;
    case 3:
        out32((uint16_t)(port + LEGACY_ADDRESS), legacy_page(random >> 8));
        break;
    case 4:
        out16((uint16_t)(port + LEGACY_NOTIFY), (uint16_t)(random >> 8 & 3));
        break;
    case 5:
        fill_legacy_ring(random);
        break;
    case 6:
        window_anything(device, window, random >> 8);
        break;
    case 7: /* many notifications of one instruction */
        __asm__ volatile("rep outsw"
                         : "+S"((uintptr_t){(uintptr_t)legacy_ring}), "+c"((uint64_t){200})
                         : "d"(port + LEGACY_NOTIFY)
                         : "memory");
        break;
    default:
        legacy_anything(port, random >> 8);
        break;
    }
}

static void legacy_registers(void)
{
    uint64_t end = rdtsc() + (uint64_t)hostile_khz() * STORM_MS;

    windows[0] = find_window(disk);
    windows[1] = find_window(card);
    begin(disk);
    begin(card);
    while (rdtsc() < end) {
        uint64_t random = hostile_random(&seed);

        legacy_step((random & 1) != 0 ? disk : card, windows[(random & 1) != 0 ? 0 : 1], random >> 1);
    }
    begin(disk);
    begin(card);
    disk_works();
}

/* ---- a device that writes the tables by which the CPU walks ---- */

#define ENTRIES 64u /* 512 bytes: a sector */
#define LARGE_PAGE 0x200000ULL
#define GOOD_SECTOR 40u
#define BAD_SECTOR 41u

/* Type 0 reads and 1 writes: 5.2.6. */
static void transfer_sector(uint32_t type, uint64_t sector, void *at)
{
    static struct {
        uint32_t type, reserved;
        uint64_t sector;
    } request;

    request.type = type;
    request.sector = sector;
    data[512] = 0xff;
    start(disk, 0);
    describe(0, &request, sizeof(request), F_NEXT);
    describe(1, at, 512, type == 0 ? F_NEXT | F_WRITE : F_NEXT);
    describe(2, data + 512, 1, F_WRITE);
    offer(0);
    notify(disk, 0);
    while (used[1] == 0) {
        __asm__ volatile("pause");
    }
    CHECK_EQUAL(data[512], 0);
}

/* Every kind of entry: of memory, of devices, of nothing, with reserved bits, of tables that are none or itself. */
static uint64_t hostile_entry(uint32_t index)
{
    static const uint64_t targets[] = {0,          0xfee00000, 0xfec00000, 0xe0000000,
                                       1ULL << 24, 1ULL << 32, 1ULL << 51, 0xe00000};
    uint64_t random = hostile_random(&seed), target = targets[random >> 8 & 7];

    if ((random & 0x30000) == 0) {
        target = (uintptr_t)window_directory & ((random & 0x40000) != 0 ? ~0ULL : ~0x1fffffULL);
    }
    return target | (random & 0xfff & ~(index % 8 == 0 ? PTE_LARGE : 0)) | PTE_PRESENT | (random & 1ULL << 63);
}

static void read_by_window(void)
{
    write_cr3(read_cr3());
    for (uint32_t i = 0; i < ENTRIES; i++) {
        TRAP("movb (%0), %%al", : : "r"(WINDOW_BASE + i * LARGE_PAGE) : "rax", "memory");
    }
}

static void check_window(void)
{
    write_cr3(read_cr3());
    for (uint32_t i = 0; i < ENTRIES; i++) {
        uint64_t at = (i % 8) * LARGE_PAGE + 0x100000;

        CHECK_EQUAL(*(volatile uint64_t *)(WINDOW_BASE + i * LARGE_PAGE + 0x100000), *(volatile uint64_t *)at);
    }
}

/* The disk brings entries of every kind, then those that lead to the guest's own memory: only a flush tells of either.
 * What is read in between may be anything, or a fault. */
static void tables_by_a_device(void)
{
    static uint64_t entries[ENTRIES];

    window_init();
    for (uint32_t i = 0; i < ENTRIES; i++) {
        entries[i] = (i % 8) * LARGE_PAGE | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
    }
    transfer_sector(1, GOOD_SECTOR, entries);
    for (uint32_t round = 0; round < 16; round++) {
        for (uint32_t i = 0; i < ENTRIES; i++) {
            entries[i] = hostile_entry(i);
        }
        transfer_sector(1, BAD_SECTOR, entries);
        transfer_sector(0, BAD_SECTOR, window_directory);
        read_by_window();
        transfer_sector(0, GOOD_SECTOR, window_directory);
        check_window();
    }
    for (uint32_t i = 0; i < ENTRIES; i++) {
        window_directory[i] = 0;
    }
    write_cr3(read_cr3());
    disk_works();
}

/* ---- every width and form at registers that are taken for 32 bits ---- */

static void odd_widths(void)
{
    const uint64_t places_of_bars[] = {
        bar(shared, 0), bar(shared, 1), bar(disk, BAR_MSIX), bar(disk, BAR_MODERN), bar(disk, BAR_MODERN) + 0x2000,
        bar(shared, 2)};

    for (uint32_t i = 0; i < sizeof(places_of_bars) / sizeof(places_of_bars[0]); i++) {
        for (uint32_t offset = 0; offset < 128; offset += 3) {
            uint64_t at = places_of_bars[i] + offset;

            if (i == 5) {
                at += 4096 - 64; /* over the page's end; the byte that ends the silent guest is not written */
                (void)*(volatile uint64_t *)at;
                continue;
            }
            TRAP("lock; cmpxchgq %%rcx, (%0)", : : "r"(at) : "rax", "memory");
            TRAP("movw %%ax, (%0)", : : "r"(at), "a"(0xffff) : "memory");
            TRAP("lock; orb $0x55, (%0)", : : "r"(at) : "memory");
            TRAP("rep movsb", : : "S"((uintptr_t)legacy_ring), "D"(at), "c"(128ULL) : "memory");
            TRAP("rep movsq", : : "S"(at), "D"((uintptr_t)legacy_ring), "c"(16ULL) : "memory");
            TRAP("xchgl %%eax, (%0)", : : "r"(at), "a"(0xffffffff) : "memory");
        }
    }
    pci_write(disk, pci_read(disk, 0x34) & 0xfc, 0);
    disk_works();
}

static const struct attack attacks[] = {
    {"rings-that-are-no-memory", rings_that_are_no_memory},
    {"queue-sizes", queue_sizes},
    {"buffers-that-are-no-memory", buffers_that_are_no_memory},
    {"chains-without-end", chains_without_end},
    {"rings-that-change", rings_that_change},
    {"bars-anywhere", bars_anywhere},
    {"configuration-space", configuration_space},
    {"packet-storm", packet_storm},
    {"doorbell-storm", doorbell_storm},
    {"messages-anywhere", messages_anywhere},
    {"legacy-registers", legacy_registers},
    {"tables-by-a-device", tables_by_a_device},
    {"odd-widths", odd_widths},
};

void guest_main(void)
{
    volatile uint32_t *end;

    pic_init();
    lapic_init();
    card = find(VIRTIO_NET);
    shared = find(IVSHMEM);
    end = (volatile uint32_t *)(uintptr_t)bar(shared, 2);
    if (hostile_argument("silent") != NULL) {
        start(card, 0);
        while (*end == 0) {
            pit_wait_us(1000);
        }
        CHECK_EQUAL(used[1], 0);
        return;
    }
    disk = find(VIRTIO_BLOCK);
    disk_works();
    hostile_run(attacks, sizeof(attacks) / sizeof(attacks[0]));
    *end = 1;
}
