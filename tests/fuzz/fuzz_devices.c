/* SPDX-License-Identifier: MIT */
/*
 * A guest that attacks its devices: accesses to ports, memory and configuration space in every width, rings and
 * buffers of arbitrary bytes, base address registers anywhere. Beside it on the network is a guest whose driver is
 * sound.
 *
 * The input is the attacker's RAM, repeated, and a list of accesses. Checked, beside what the sanitizers see: the
 * PC's own devices stay where they are; one service ends within its budget and one step more; of the neighbour's
 * memory nothing changes but its receive buffers and used ring; the disk's image stays as it is, and so does what
 * lies around its changes and around the memory that the two share, which the attacker may only read.
 */
#include "hv/base/check.h"
#include "hv/base/memory.h"
#include "hv/dev/platform.h"
#include "hv/dev/virtio/block.h"
#include "hv/dev/virtio/console.h"
#include "hv/dev/virtio/entropy.h"
#include "hv/dev/virtio/mmio.h"
#include "hv/dev/virtio/net.h"
#include "hv/mm/guest_layout.h"
#include "hv/share/net_switch.h"
#include "hv/share/shared_memory.h"

#define RAM_BYTES 0x10000u
#define DISK_PAGES 16u
#define ACCESSES_MAX 64u
#define TURNS 3u
/* A step that a budget does not cut: one chain of the longest kind, one frame, one segment of zeroes. */
#define OVERSHOOT_MAX \
    ((int64_t)(VIRTIO_COST_CHAIN + VIRTIO_COST_DESCRIPTOR * VIRTQ_SIZE_MAX + NET_FRAME_MAX + 8192 * 32 + 4096))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t ram[RAM_BYTES + 4096], neighbour_ram[RAM_BYTES], neighbour_copy[RAM_BYTES];
static uint8_t file[DISK_PAGES * PAGE_BYTES], file_copy[sizeof(file)];
static uint8_t changes[(DISK_PAGES / 2 + 1) * PAGE_BYTES];
static uint32_t map[DISK_PAGES];
static struct guest_memory memory, neighbour_memory;
static struct platform platform;
static const struct clock clock = {.tsc_hz = 1000000000};
static struct virtio_block_pci disk;
static struct virtio_net_pci card, neighbour;
static struct virtio_console_pci console;
static struct virtio_entropy_pci entropy;
static struct virtio_block mmio_disk; /* of its own: with virtio-mmio */
static struct virtio_mmio mmio;
static unsigned mmio_on_bus;
static struct ivshmem share, neighbour_share;
static struct shared_memory shared;
static uint8_t shared_pages[3 * PAGE_BYTES]; /* the one in the middle is shared */
static struct byte_ring console_out, console_in;
static struct disk_image image, mmio_image;
static uint32_t mmio_map[DISK_PAGES];
static struct net_switch net_switch;

struct access {
    uint8_t kind;
    uint8_t size;
    uint16_t where;
    uint32_t more;
    uint64_t value;
};

/* ---- the neighbour: one page of rings, buffers from 0x8000 on ---- */

#define NEIGHBOUR_SIZE 16u
#define NEIGHBOUR_USED 0x2000u
#define NEIGHBOUR_BUFFERS 0x8000u

static void start_neighbour(void)
{
    struct virtq *queue = &neighbour.net.device.queues[NET_RECEIVE];
    uint16_t available[2 + NEIGHBOUR_SIZE] = {0, NEIGHBOUR_SIZE};

    memset(neighbour_ram, 0, sizeof(neighbour_ram));
    for (uint16_t i = 0; i < NEIGHBOUR_SIZE; i++) {
        uint64_t descriptor[2] = {NEIGHBOUR_BUFFERS + 2048u * i, 2048 | 2ULL << 32};

        memcpy(neighbour_ram + 16u * i, descriptor, sizeof(descriptor));
        available[2 + i] = i;
    }
    memcpy(neighbour_ram + 0x1000, available, sizeof(available));
    queue->size = NEIGHBOUR_SIZE;
    queue->descriptors = 0;
    queue->available = 0x1000;
    queue->used = NEIGHBOUR_USED;
    virtio_features_write(&neighbour.net.device, true, 1);
    virtio_features_write(&neighbour.net.device, false, NET_F_MRG_RXBUF);
    virtio_status_write(&neighbour.net.device, 11);
    virtio_queue_enable(&neighbour.net.device, NET_RECEIVE);
    virtio_status_write(&neighbour.net.device, 15);
    memcpy(neighbour_copy, neighbour_ram, sizeof(neighbour_ram));
}

static void check_neighbour(void)
{
    CHECK(memcmp(neighbour_ram, neighbour_copy, NEIGHBOUR_USED) == 0);
    CHECK(memcmp(neighbour_ram + NEIGHBOUR_USED + 0x1000, neighbour_copy + NEIGHBOUR_USED + 0x1000,
                 NEIGHBOUR_BUFFERS - NEIGHBOUR_USED - 0x1000) == 0);
    CHECK(virtio_runs(&neighbour.net.device));
}

/* ---- the attacker ---- */

static void start_share(void)
{
    struct ivshmem plain = {.memory = shared_pages + PAGE_BYTES, .bytes = PAGE_BYTES, .place = GUEST_SHARE_START(0)};

    memset(shared_pages, 0x55, sizeof(shared_pages));
    memset(&shared, 0, sizeof(shared));
    share = neighbour_share = plain;
    share.read_only = true;
    CHECK(shared_memory_add(&shared, &share) && shared_memory_add(&shared, &neighbour_share));
    ivshmem_init(&share);
    ivshmem_init(&neighbour_share);
    share.open = neighbour_share.open = true;
}

static void start_mmio(void)
{
    const struct bus_range place = BUS_MMIO(GUEST_VIRTIO_MMIO_START, GUEST_VIRTIO_MMIO_BYTES);

    disk_image_init(&mmio_image, &(struct disk_stored){file, NULL, DISK_PAGES, sizeof(file)}, mmio_map, changes, 0,
                    false);
    virtio_block_init(&mmio_disk, &memory, &mmio_image, true, "mmio");
    virtio_mmio_init(&mmio, &mmio_disk.device);
    CHECK(bus_add(&platform.bus, &virtio_mmio_row, &mmio, &mmio_on_bus) == STATUS_OK);
    CHECK(bus_place(&platform.bus, mmio_on_bus, 0, &place) == STATUS_OK);
    bus_wire(&platform.bus, mmio_on_bus, 0, 5);
}

static struct virtio_pci *target(const struct access *access)
{
    struct virtio_pci *const all[] = {&disk.pci, &card.pci, &console.pci, &entropy.pci};

    return all[(access->more & 1) + (access->more >> 11 & 2)];
}

/* Every fourth page is a hole. */
static const uint32_t places[DISK_PAGES] = {1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 10, 11, 12, 0};
static const struct disk_stored with_holes = {file, places, 12, DISK_PAGES *PAGE_BYTES - 1000};

/* The machine's keyboard controller: what would reset the machine never comes there. */
static void keyboard_write(void *context, uint16_t port, uint8_t value)
{
    uint8_t *expects = context;

    CHECK(port == 0x60 || (value != 0xd1 && value < 0xd5 && (value < 0x90 || value > 0x9f)));
    CHECK(port != 0x60 || *expects != 0xd1);
    *expects = port == 0x64 ? value : 0;
}

static uint8_t keyboard_read(void *context, uint16_t port)
{
    return *(const uint8_t *)context ^ (uint8_t)port;
}

static uint8_t keyboard_expects;
static const struct i8042_io keyboard = {&keyboard_expects, keyboard_read, keyboard_write};

static void start(void)
{
    const struct platform_config config = {
        .clock = &clock, .ram_low_bytes = RAM_BYTES, .cpus = 1, .keyboard = &keyboard};
    const struct pci_windows windows = {0xc000, 0x10000, GUEST_PCI_LOW_START, GUEST_PCI_LOW_END, 0, 0};
    const uint8_t macs[2][NET_MAC_BYTES] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};

    const uint8_t key[RANDOM_KEY_BYTES] = {1};

    memory = (struct guest_memory){.ranges = {{gpa(0), hpa(0), RAM_BYTES}}, .range_count = 1};
    neighbour_memory = memory;
    memory.window = (uint64_t)(uintptr_t)ram;
    neighbour_memory.window = (uint64_t)(uintptr_t)neighbour_ram;
    memset(changes, 0x77, sizeof(changes));
    disk_image_init(&image, &with_holes, map, changes, DISK_PAGES / 2, false);
    memset(&net_switch, 0, sizeof(net_switch));
    virtio_block_init(&disk.block, &memory, &image, false, "disk");
    virtio_net_init(&card.net, &memory, macs[0], 0);
    virtio_net_init(&neighbour.net, &neighbour_memory, macs[1], 1500);
    (void)net_switch_add(&net_switch, &card.net, false);
    (void)net_switch_add(&net_switch, &neighbour.net, false);
    memset(&console_out, 0, sizeof(console_out));
    memset(&console_in, 'x', sizeof(console_in));
    console_in.head = 100;
    console_in.tail = 0;
    virtio_console_init(&console.console, &memory, &console_out, &console_in);
    virtio_entropy_init(&entropy.entropy, &memory, key);
    start_share();
    virtio_pci_init(&disk.pci, &disk.block.device, VIRTIO_TRANSITIONAL);
    virtio_pci_init(&card.pci, &card.net.device, VIRTIO_TRANSITIONAL);
    virtio_pci_init(&console.pci, &console.console.device, VIRTIO_TRANSITIONAL);
    virtio_pci_init(&entropy.pci, &entropy.entropy.device, VIRTIO_TRANSITIONAL);
    platform_reset(&platform, &config, 0);
    CHECK(pci_host_add(&platform.pci_host, &virtio_pci_row, &disk.pci.function, 8) == STATUS_OK);
    CHECK(pci_host_add(&platform.pci_host, &virtio_pci_row, &card.pci.function, 16) == STATUS_OK);
    CHECK(pci_host_add(&platform.pci_host, &virtio_pci_row, &console.pci.function, 24) == STATUS_OK);
    CHECK(pci_host_add(&platform.pci_host, &virtio_pci_row, &entropy.pci.function, 32) == STATUS_OK);
    CHECK(pci_host_add(&platform.pci_host, &ivshmem_row, &share.function, 40) == STATUS_OK);
    start_mmio();
    CHECK(platform_attach_pci(&platform, &windows) == STATUS_OK);
    start_neighbour();
}

/* Half of the accesses go where they hurt: registers of the devices as they are, wherever the BARs are now. */
static uint64_t memory_place(const struct access *access)
{
    const struct virtio_pci *pci = target(access);

    switch (access->more >> 1 & 7) {
    case 0:
        return GUEST_ECAM_BASE + ((access->more >> 4 & 7) << 15 | (access->where & 0xfffu));
    case 1:
        return pci_bar_address(&pci->function, 1) + (access->where & 0xfffu);
    case 2:
        return access->where | (uint64_t)access->more << 16;
    case 3:
        return pci_bar_address(&share.function, access->more >> 4 & 3) + (access->where & 0xfffu);
    case 4:
        return GUEST_VIRTIO_MMIO_START + (access->where & 0x1ffu);
    default:
        return pci_bar_address(&pci->function, 4) + (access->where & 0x303fu);
    }
}

static uint16_t port_place(const struct access *access)
{
    const struct virtio_pci *pci = target(access);

    switch (access->more >> 1 & 3) {
    case 0:
        return (uint16_t)((access->where & 8) != 0 ? 0x60 + (access->where & 4) : 0xcf8 + (access->where & 7));
    case 1:
        return access->where;
    default:
        return (uint16_t)(pci_bar_address(&pci->function, 0) + (access->where & 0x1f));
    }
}

static void write_ram(const struct access *access)
{
    memcpy(ram + access->where % (RAM_BYTES - 8), &access->value, 8);
}

/* A driver that knows what it does up to here: the queue's rings at a page of RAM, and ready. */
static void set_up(const struct access *access)
{
    struct virtio_device *device =
        (access->more >> 20 & 3) == 0 ? &mmio_disk.device : (struct virtio_device *)target(access)->function.device;
    unsigned queue = access->more >> 1 & 3;

    virtio_status_write(device, 0);
    virtio_features_write(device, true, 1);
    virtio_features_write(device, false, (uint32_t)access->value);
    virtio_status_write(device, 11);
    for (unsigned i = 0; i < device->kind->queue_count; i++) {
        device->queues[i].size = (uint16_t)(1u << (access->size % 9));
        device->queues[i].descriptors = (uint64_t)(access->where & 0xf0u) << 8;
        device->queues[i].available = device->queues[i].descriptors + 0x800 * (1 + i);
        device->queues[i].used = 0x4000 + 0x1000 * (queue + i);
        virtio_queue_enable(device, i);
    }
    virtio_status_write(device, 15);
    disk.pci.function.signals.wants |= BUS_WORK;
    platform.device_work = true;
}

static void make(const struct access *access)
{
    uint8_t size = (uint8_t)(1u << (access->size & 3));
    uint64_t wide;
    uint32_t value;

    switch (access->kind & 7) {
    case 0:
        (void)platform_mmio_read(&platform, gpa(memory_place(access)), size, 0, &wide);
        break;
    case 1:
    case 2:
        (void)platform_mmio_write(&platform, gpa(memory_place(access)), size, access->value, 0);
        break;
    case 3:
        (void)platform_port_read(&platform, port_place(access), size == 8 ? 4 : size, 0, &value);
        break;
    case 4:
    case 5:
        (void)platform_port_write(&platform, port_place(access), size == 8 ? 4 : size, (uint32_t)access->value, 0);
        break;
    case 6:
        write_ram(access);
        break;
    default:
        set_up(access);
        break;
    }
}

/* What hv/core/guest_devices.c does after an exit, a few times. */
static void serve(void)
{
    struct virtio_pci *const all[] = {&disk.pci, &card.pci, &console.pci, &entropy.pci};
    struct apic_message message;
    bool more = true;

    for (unsigned turn = 0; turn < TURNS && more; turn++) {
        struct virtio_budget budget = {16 * KIB, UINT64_MAX, NULL};
        struct net_wakes wakes = {{0}};

        more = virtio_service(&disk.block.device, &budget);
        more |= net_switch_service(&net_switch, 0, &budget, &wakes);
        more |= virtio_service(&console.console.device, &budget);
        more |= virtio_service(&entropy.entropy.device, &budget);
        more |= virtio_service(&mmio_disk.device, &budget);
        CHECK((shared_memory_ring(&shared, &share) & ~3u) == 0);
        CHECK(budget.left >= -OVERSHOOT_MAX);
    }
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        virtio_pci_carry_signals(all[i]);
        platform_function_changed(&platform, &all[i]->function);
    }
    virtio_mmio_carry_signals(&mmio);
    platform_device_changed(&platform, mmio_on_bus);
    ivshmem_carry(&share);
    platform_function_changed(&platform, &share.function);
    console_out.tail = console_out.head;
    platform.device_work = false;
    for (unsigned i = 0; platform_take_message(&platform, &message); i++) {
        CHECK(i < 256);
    }
}

/* The PC's own devices, wherever the BARs point. */
static void check_pc(void)
{
    uint32_t value = 0;
    uint64_t wide = 0;

    (void)platform_mmio_read(&platform, gpa(GUEST_ECAM_BASE), 4, 0, &wide);
    CHECK_OP(wide, ==, 0x00081b36);
    (void)platform_mmio_read(&platform, gpa(GUEST_VIRTIO_MMIO_START), 4, 0, &wide);
    CHECK_OP(wide, ==, 0x74726976);
    (void)platform_port_read(&platform, 0x3fd, 1, 0, &value);
    CHECK_OP(value & 0x60, ==, 0x60);
}

/* Every byte as the one before it. A loop would cost more than the input: the fuzzer notes each comparison. */
static bool all_are(const uint8_t *bytes, size_t count, uint8_t value)
{
    return bytes[0] == value && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* As it was made for the first input. */
static void fill_file(void)
{
    for (size_t i = 0; i < sizeof(file) && file_copy[1] == 0; i++) {
        file[i] = (uint8_t)(i * 31);
    }
    if (file_copy[1] == 0) {
        memcpy(file_copy, file, sizeof(file));
    }
    memcpy(file, file_copy, sizeof(file));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t accesses = min_u64(size / 2 / sizeof(struct access), ACCESSES_MAX);
    const uint8_t *filling = data + accesses * sizeof(struct access);
    size_t filling_bytes = size - accesses * sizeof(struct access);

    if (accesses == 0) {
        return 0;
    }
    fill_file();
    memset(ram + RAM_BYTES, 0x99, sizeof(ram) - RAM_BYTES);
    for (size_t at = 0; at < RAM_BYTES; at += filling_bytes) {
        memcpy(ram + at, filling, (size_t)min_u64(filling_bytes, RAM_BYTES - at));
    }
    start();
    for (size_t i = 0; i < accesses; i++) {
        struct access access;

        memcpy(&access, data + i * sizeof(access), sizeof(access));
        make(&access);
        if (platform.device_work) {
            serve();
        }
    }
    serve();
    check_neighbour();
    check_pc();
    CHECK(memcmp(file, file_copy, sizeof(file)) == 0);
    CHECK(all_are(changes + DISK_PAGES / 2 * PAGE_BYTES, PAGE_BYTES, 0x77));
    CHECK(all_are(shared_pages, sizeof(shared_pages), 0x55));
    CHECK_OP(neighbour_share.incoming & ~((1u << IVSHMEM_VECTORS) - 1), ==, 0);
    CHECK(all_are(ram + RAM_BYTES, sizeof(ram) - RAM_BYTES, 0x99));
    return 0;
}
