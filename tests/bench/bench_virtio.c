/* SPDX-License-Identifier: MIT */
/*
 * What disks and networks cost in the hypervisor, in instructions beside the copies: `make bench-virtio`.
 *
 * Two guests with one vCPU each, made of the same objects as the hypervisor's; drivers as in the unit tests. Each row
 * puts work into a queue, and then counts what one notification causes: guest_port_write() and everything below it, as
 * at an exit. callgrind counts inside of counted_*() only; memcpy and memset are taken off by tests/bench/bench-native.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/core/guest_devices.h"
#include "hv/core/guest_io.h"
#include "tests/unit/virtio_driver.h"

#include <stdio.h>
#include <stdlib.h>

#define GUESTS 2u
#define ROUNDS 64u
#define RINGS 0x10000u
#define SENT 0x40000u
#define RECEIVED 0x80000u
#define DISK_BYTES (1u << 20)
#define MODERN ((1ULL << 32) | (1ULL << 28) | (1ULL << 29))
#define NET_FEATURES (MODERN | 1u << 0 | 1u << 1 | 1u << 7 | 1u << 11 | 1u << 15)

static struct config config;
static struct boot_guest boots[GUESTS];
static struct guest guests[GUESTS];
static struct vcpu vcpus[GUESTS];
static struct lapic_page lapic_pages[GUESTS];
static uint64_t devices_memory[GUESTS][8192];
static const struct guest_devices *devices[GUESTS];
static struct guest_network network;
static struct host_facts host = {.physical_bits = 40};
static struct arena arenas[GUESTS];
static struct virtio_driver disk_driver, console_driver, net_drivers[GUESTS];
static uint8_t file[DISK_BYTES], changes[DISK_BYTES];
static uint32_t map[DISK_BYTES / PAGE_BYTES];

/* Functions of their own, which callgrind is told to count in. */
__attribute__((noinline)) void counted_notify(struct vcpu *vcpu, uint16_t port, unsigned queue);
void counted_notify(struct vcpu *vcpu, uint16_t port, unsigned queue)
{
    (void)guest_port_write(vcpu, port, 2, queue);
    guest_io_end(vcpu);
}

__attribute__((noinline)) void counted_told(struct vcpu *vcpu);
void counted_told(struct vcpu *vcpu)
{
    guest_devices_told(vcpu, 0);
}

/* Marks the end of a row for callgrind. */
__attribute__((noinline)) void row_ended(void);
void row_ended(void)
{
    __asm__ volatile("");
}

static void make_guest(unsigned index)
{
    struct guest *guest = &guests[index];
    struct config_guest *own = &config.guests[index];
    const struct platform_config platform = {.clock = &host.clock, .ram_low_bytes = ARENA_BYTES, .cpus = 1};

    arena_init(&arenas[index]);
    /* One piece, as the planner gives a guest wherever it can. */
    arenas[index].memory.ranges[0].bytes = ARENA_BYTES;
    arenas[index].memory.range_count = 1;
    own->disk_count = index == 0;
    own->console_virtio = index == 1;
    own->disks[0].path = text_of("disk.img");
    own->net_count = 1;
    own->nets[0].network = text_of("lan");
    own->nets[0].mac[0] = 2;
    own->nets[0].mac[5] = (uint8_t)(1 + index);
    boots[index].disks[0] = (struct boot_disk){
        .image = {file, sizeof(file)},
        .map = (uint64_t)(uintptr_t)map,
        .changes = (uint64_t)(uintptr_t)changes,
        .stored_pages = DISK_BYTES / PAGE_BYTES,
        .change_pages = DISK_BYTES / PAGE_BYTES,
    };
    snprintf(guest->name, sizeof(guest->name), "g%u", index);
    guest->config = own;
    guest->host = &host;
    guest->memory = arenas[index].memory;
    guest->layout.low_bytes = ARENA_BYTES;
    guest->vcpus = &vcpus[index];
    guest->vcpu_count = 1;
    guest->watchdog.deadline = UINT64_MAX;
    guest->stop_deadline = UINT64_MAX;
    vcpus[index].guest = guest;
    lapic_init(&vcpus[index].lapic, &lapic_pages[index], 0, true, &host.clock);
    lapic_virtual_wire(&vcpus[index].lapic);
    if (guest_devices_bytes(own) > sizeof(devices_memory[index])) {
        abort();
    }
    guest_devices_create(guest, devices_memory[index], &config, &boots[index], &network, NULL, NULL);
    devices[index] = guest->devices;
    platform_reset(&guest->platform, &platform, 0);
    if (guest_devices_attach(guest, host.physical_bits) != STATUS_OK) {
        abort();
    }
}

/* MSI-X: one vector for each queue. */
static void set_vectors(struct virtio_driver *driver, unsigned queues)
{
    unsigned cap = driver_find_capability(&driver->pci->function, 0x11, 0);

    pci_config_write(&driver->pci->function, cap + 2, 2, 0x8000);
    for (unsigned queue = 0; queue < queues; queue++) {
        vd_write(driver, 1, 16 * (queue + 1), 8, 0xfee00000);
        vd_write(driver, 1, 16 * (queue + 1) + 8, 8, 0x40 + queue);
        vd_write(driver, driver->common.bar, driver->common.offset + 22, 2, queue);
        vd_write(driver, driver->common.bar, driver->common.offset + 26, 2, queue + 1);
    }
}

static void start(void)
{
    host.clock = clock_of(1000000000);
    config.guest_count = GUESTS;
    for (unsigned i = 0; i < GUESTS; i++) {
        make_guest(i);
        vd_start(&net_drivers[i], &devices[i]->cards[0].state.pci, &arenas[i], false, NET_FEATURES, 2, RINGS + 0x10000,
                 128);
        set_vectors(&net_drivers[i], 2);
    }
    vd_start(&disk_driver, &devices[0]->disks[0].state.pci, &arenas[0], false, MODERN, 1, RINGS, 128);
    set_vectors(&disk_driver, 1);
    vd_start(&console_driver, &devices[1]->console->pci, &arenas[1], false, MODERN, 2, RINGS + 0x20000, 16);
    set_vectors(&console_driver, 2);
    for (unsigned i = 0; i < GUESTS; i++) {
        guests[i].platform.device_work = true;
        guest_devices_work(&vcpus[i], 0, UINT64_MAX);
    }
}

static void notify(unsigned guest, struct virtio_driver *driver, unsigned queue)
{
    counted_notify(&vcpus[guest], (uint16_t)(pci_bar_address(&driver->pci->function, 0) + 16), queue);
    vcpus[guest].requests = 0;
}

static void take_all(struct virtio_driver *driver, unsigned queue)
{
    uint16_t head;
    uint32_t written;
    struct driver_queue *used = &driver->queues[queue];

    while (driver_take(used, &head, &written)) {
    }
    arena_put(driver->arena, used->available + 4 + 2u * used->size, used->last_used, 2); /* used_event: the next one */
}

static void row(const char *name, unsigned operations, uint64_t bytes)
{
    printf("%s\t%u\t%u\t%llu\n", name, ROUNDS * operations, ROUNDS, (unsigned long long)(ROUNDS * bytes));
    fflush(stdout);
    row_ended();
}

static void disk(const char *name, bool write, uint32_t bytes, unsigned requests)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < requests; i++) {
            struct driver_buffer buffers[3] = {{SENT, 16, false}, {RECEIVED, bytes, !write}, {SENT + 64, 1, true}};

            arena_put(&arenas[0], SENT, write, 8);
            arena_put(&arenas[0], SENT + 8, 8u * (round % 8), 8);
            driver_add(&disk_driver.queues[0], buffers, 3);
        }
        notify(0, &disk_driver, 0);
        take_all(&disk_driver, 0);
    }
    row(name, requests, (uint64_t)bytes * requests);
}

static void packets(const char *name, uint32_t bytes, unsigned count)
{
    struct net_header header = {.buffers = 0};
    uint8_t addresses[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

    if (bytes > 1514) {
        header = (struct net_header){.flags = 1,
                                     .gso_type = NET_GSO_TCP4,
                                     .header_bytes = 54,
                                     .gso_bytes = 1460,
                                     .checksum_start = 34,
                                     .checksum_offset = 16};
    }
    (void)guest_memory_write(&arenas[0].memory, gpa(SENT), &header, sizeof(header));
    (void)guest_memory_write(&arenas[0].memory, gpa(SENT + 12), addresses, sizeof(addresses));
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 48; i++) {
            struct driver_buffer buffer = {RECEIVED + 0x1000 * i, bytes > 1514 ? 4096 : 2048, true};

            driver_add(&net_drivers[1].queues[0], &buffer, 1);
        }
        for (unsigned i = 0; i < count; i++) {
            struct driver_buffer buffer = {SENT, 12 + bytes, false};

            driver_add(&net_drivers[0].queues[1], &buffer, 1);
        }
        notify(0, &net_drivers[0], 1);
        counted_told(&vcpus[1]);
        vcpus[1].requests = vcpus[1].kick = 0;
        take_all(&net_drivers[0], 1);
        take_all(&net_drivers[1], 0);
    }
    if (guests[1].devices->cards[0].state.net.counters.lost_full != 0) {
        abort();
    }
    row(name, count, (uint64_t)bytes * count);
}

/* Linux' driver wants an interrupt for what it sends (its queue has a vector), though it looks at the used ring at
 * once. */
static void lines(const char *name, uint32_t bytes, bool interrupt)
{
    const struct driver_queue *queue = &console_driver.queues[1];

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct driver_buffer buffer = {SENT, bytes, false};

        driver_add(&console_driver.queues[1], &buffer, 1);
        notify(1, &console_driver, 1);
        take_all(&console_driver, 1);
        if (!interrupt) { /* one that is 2^15 buffers away */
            arena_put(&arenas[1], queue->available + 4 + 2u * queue->size, (uint16_t)(queue->last_used + 0x8000u), 2);
        }
        guests[1].platform.console_out.tail = guests[1].platform.console_out.head;
    }
    row(name, 1, bytes);
}

int main(void)
{
    start();
    row_ended();
    disk("disk read 128 KiB", false, 128 * 1024, 1);
    disk("disk read 4 KiB", false, 4096, 1);
    disk("disk write 4 KiB", true, 4096, 1);
    disk("disk read 4 KiB, 16 at once", false, 4096, 16);
    disk("disk read 128 KiB, in 2 pieces", false, 128 * 1024, 1); /* pages that were written, and others */
    packets("packet 64 B", 64, 1);
    packets("packet 64 B, 16 at once", 64, 16);
    packets("packet 1500 B", 1514, 1);
    packets("packet 1500 B, 16 at once", 1514, 16);
    packets("segment 64 KiB", 65226, 1);
    lines("console, a line of 80 bytes", 80, true);
    lines("console, no interrupt", 80, false);
    return 0;
}
