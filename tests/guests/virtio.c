/* SPDX-License-Identifier: MIT */
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "virtio";

#define ID_NET 1u
#define ID_BLOCK 2u

/* ---- rings: 2.7 ---- */

#define QUEUE_MAX 256u
#define RING_BYTES 0x3000u /* of 256 descriptors, with the legacy layout's gap */
#define PAGE 4096u
#define F_NEXT 1u
#define F_WRITE 2u
#define NO_INTERRUPT 1u

struct descriptor {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
};

struct used_element {
    uint32_t id, bytes;
};

struct queue {
    volatile struct descriptor *descriptors;
    volatile uint16_t *available; /* flags, index, ring */
    volatile uint16_t *used;      /* flags, index, elements */
    uint16_t size, seen;
};

/* ---- a device ---- */

#define QUEUES_MAX 2u

struct device {
    bool legacy;
    uint16_t ports;
    uint32_t registers;
    uint8_t irq;
    uint32_t header_bytes; /* of a packet */
    struct queue queues[QUEUES_MAX];
};

static struct device disk, card;
static uint8_t rings[2 * QUEUES_MAX][RING_BYTES] __attribute__((aligned(PAGE)));
static uint32_t rings_taken;
static volatile uint32_t interrupts[16];

/* Legacy: 4.1.4.10. */
#define L_FEATURES 0u
#define L_ACCEPT 4u
#define L_ADDRESS 8u
#define L_SIZE 12u
#define L_SELECT 14u
#define L_NOTIFY 16u
#define L_STATUS 18u
#define L_ISR 19u
#define L_CONFIG 20u

/* MMIO: 4.2.2. */
#define M_MAGIC 0x000u
#define M_VERSION 0x004u
#define M_ID 0x008u
#define M_ACCEPT 0x020u
#define M_ACCEPT_SELECT 0x024u
#define M_SELECT 0x030u
#define M_SIZE_MAX 0x034u
#define M_SIZE 0x038u
#define M_READY 0x044u
#define M_NOTIFY 0x050u
#define M_INTERRUPT 0x060u
#define M_ACK 0x064u
#define M_STATUS 0x070u
#define M_DESCRIPTORS 0x080u
#define M_AVAILABLE 0x090u
#define M_USED 0x0a0u
#define M_CONFIG 0x100u

static void set_status(const struct device *device, uint8_t status)
{
    if (device->legacy) {
        out8((uint16_t)(device->ports + L_STATUS), status);
    } else {
        mmio_write32(device->registers + M_STATUS, status);
    }
}

static uint32_t get_status(const struct device *device)
{
    return device->legacy ? in8((uint16_t)(device->ports + L_STATUS)) : mmio_read32(device->registers + M_STATUS);
}

static uint32_t config(const struct device *device, uint32_t offset)
{
    return device->legacy ? in32((uint16_t)(device->ports + L_CONFIG + offset))
                          : mmio_read32(device->registers + M_CONFIG + offset);
}

static void notify(const struct device *device, uint16_t queue)
{
    if (device->legacy) {
        out16((uint16_t)(device->ports + L_NOTIFY), queue);
    } else {
        mmio_write32(device->registers + M_NOTIFY, queue);
    }
}

static uint32_t acknowledge(const struct device *device)
{
    uint32_t status;

    if (device->legacy) {
        return in8((uint16_t)(device->ports + L_ISR));
    }
    status = mmio_read32(device->registers + M_INTERRUPT);
    mmio_write32(device->registers + M_ACK, status);
    return status;
}

static void on_interrupt(struct trap_frame *frame)
{
    uint8_t irq = (uint8_t)(frame->vector - 0x20);

    interrupts[irq]++;
    if (irq == disk.irq) {
        acknowledge(&disk);
    }
    if (irq == card.irq) {
        acknowledge(&card);
    }
    pic_eoi(irq);
}

/* The legacy layout (2.7.2) is good for both. */
static void place_queue(struct device *device, uint16_t index)
{
    struct queue *queue = &device->queues[index];
    uint32_t at = (uint32_t)(uintptr_t)rings[rings_taken++], available, used;

    if (device->legacy) {
        out16((uint16_t)(device->ports + L_SELECT), index);
        queue->size = in16((uint16_t)(device->ports + L_SIZE));
    } else {
        mmio_write32(device->registers + M_SELECT, index);
        queue->size = (uint16_t)mmio_read32(device->registers + M_SIZE_MAX);
    }
    CHECK(queue->size != 0 && queue->size <= QUEUE_MAX);
    available = at + 16u * queue->size;
    used = (available + 6u + 2u * queue->size + PAGE - 1) & ~(PAGE - 1);
    queue->descriptors = (volatile struct descriptor *)(uintptr_t)at;
    queue->available = (volatile uint16_t *)(uintptr_t)available;
    queue->used = (volatile uint16_t *)(uintptr_t)used;
    if (device->legacy) {
        out32((uint16_t)(device->ports + L_ADDRESS), at / PAGE);
        CHECK_EQUAL(in32((uint16_t)(device->ports + L_ADDRESS)), at / PAGE);
    } else {
        const uint32_t addresses[][2] = {{M_DESCRIPTORS, at}, {M_AVAILABLE, available}, {M_USED, used}};

        mmio_write32(device->registers + M_SIZE, queue->size);
        for (uint32_t i = 0; i < 3; i++) {
            mmio_write32(device->registers + addresses[i][0], addresses[i][1]);
            mmio_write32(device->registers + addresses[i][0] + 4, 0);
        }
        mmio_write32(device->registers + M_READY, 1);
        CHECK_EQUAL(mmio_read32(device->registers + M_READY), 1);
    }
}

static void accept_features(struct device *device)
{
    if (device->legacy) {
        CHECK(in32((uint16_t)(device->ports + L_FEATURES)) != 0);
        out32((uint16_t)(device->ports + L_ACCEPT), 0);
        return;
    }
    mmio_write32(device->registers + M_ACCEPT_SELECT, 0);
    mmio_write32(device->registers + M_ACCEPT, 0);
    mmio_write32(device->registers + M_ACCEPT_SELECT, 1);
    mmio_write32(device->registers + M_ACCEPT, 1); /* VERSION_1 */
    set_status(device, 11);
    CHECK_EQUAL(get_status(device), 11);
}

/*
 * The old layout's drivers have used a device before DRIVER_OK (3.1.2 "Legacy Interface: Device Initialization"), and
 * some write that bit alone and never again look at it: get_ready() is called when all has been used once.
 */
static void start(struct device *device, uint16_t queues)
{
    device->header_bytes = device->legacy ? 10 : 12;
    set_status(device, 0);
    CHECK_EQUAL(get_status(device), 0);
    set_status(device, 1);
    set_status(device, device->legacy ? 2 : 3);
    accept_features(device);
    for (uint16_t i = 0; i < queues; i++) {
        place_queue(device, i);
    }
    if (!device->legacy) {
        set_status(device, 15);
    }
    trap_set((uint8_t)(0x20 + device->irq), on_interrupt);
}

static void get_ready(const struct device *device)
{
    if (device->legacy) {
        set_status(device, 4);
        CHECK_EQUAL(get_status(device), 4);
    }
}

static void put(struct queue *queue, uint16_t head)
{
    queue->available[2 + queue->available[1] % queue->size] = head;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    queue->available[1]++;
}

/* False: nothing new. */
static bool take(struct queue *queue, struct used_element *element)
{
    const volatile struct used_element *elements = (const volatile struct used_element *)(queue->used + 2);

    if (queue->used[1] == queue->seen) {
        return false;
    }
    element->id = elements[queue->seen % queue->size].id;
    element->bytes = elements[queue->seen % queue->size].bytes;
    queue->seen++;
    return true;
}

static void describe(struct queue *queue, uint16_t index, const volatile void *buffer, uint32_t bytes, uint16_t flags)
{
    queue->descriptors[index].address = (uintptr_t)buffer;
    queue->descriptors[index].bytes = bytes;
    queue->descriptors[index].flags = flags;
    queue->descriptors[index].next = (uint16_t)(index + 1);
}

/* ---- the disk: 5.2 ---- */

#define SECTOR_WORDS 128u
#define SECTORS_AT_ONCE 8u

static struct {
    uint32_t type, reserved;
    uint64_t sector;
} request;
static volatile uint8_t request_status;
static uint32_t data[SECTORS_AT_ONCE * SECTOR_WORDS];

/* By interrupts or by looking. */
static void transfer(bool write, uint64_t sector, uint32_t sectors, bool by_interrupt)
{
    struct queue *queue = &disk.queues[0];
    struct used_element done;
    uint32_t before;

    request.type = write;
    request.sector = sector;
    request_status = 0xff;
    describe(queue, 0, &request, sizeof(request), F_NEXT);
    describe(queue, 1, data, sectors * 512, write ? F_NEXT : F_NEXT | F_WRITE);
    describe(queue, 2, &request_status, 1, F_WRITE);
    queue->available[0] = by_interrupt ? 0 : NO_INTERRUPT;
    put(queue, 0);
    before = interrupts[disk.irq];
    notify(&disk, 0);
    while (by_interrupt && interrupts[disk.irq] == before) { /* the request itself may be done already */
        wait_for_interrupt();
    }
    while (!take(queue, &done)) {
    }
    CHECK_EQUAL(done.id, 0);
    CHECK_EQUAL(done.bytes, write ? 1 : sectors * 512 + 1);
    CHECK_EQUAL(request_status, 0);
}

static void check_words(uint64_t sector, uint32_t sectors, uint32_t added)
{
    for (uint32_t i = 0; i < sectors * SECTOR_WORDS; i++) {
        CHECK_EQUAL(data[i], (uint32_t)sector * SECTOR_WORDS + i + added);
    }
}

static void check_disk(void)
{
    uint64_t sectors = config(&disk, 0) | (uint64_t)config(&disk, 4) << 32;
    uint32_t before;

    CHECK(sectors >= 2 * SECTORS_AT_ONCE);
    pic_mask((uint16_t) ~(1u << disk.irq | 1u << 2));
    before = interrupts[disk.irq];
    for (uint64_t sector = 0; sector + SECTORS_AT_ONCE <= sectors; sector += SECTORS_AT_ONCE) {
        bool by_interrupt = sector / SECTORS_AT_ONCE % 2 == 0;

        transfer(false, sector, SECTORS_AT_ONCE, by_interrupt);
        check_words(sector, SECTORS_AT_ONCE, 0);
        for (uint32_t i = 0; i < SECTORS_AT_ONCE * SECTOR_WORDS; i++) {
            data[i] += 0x1000000;
        }
        transfer(true, sector, SECTORS_AT_ONCE, !by_interrupt);
        data[0] = data[SECTOR_WORDS] = 0;
        transfer(false, sector, SECTORS_AT_ONCE, by_interrupt);
        check_words(sector, SECTORS_AT_ONCE, 0x1000000);
    }
    CHECK(interrupts[disk.irq] != before);
    print("  disk: %u sectors, %u interrupts\n", (uint32_t)sectors, interrupts[disk.irq] - before);
}

/* ---- the network card: 5.1 ---- */

#define RECEIVE 0u
#define TRANSMIT 1u
#define BUFFERS 16u
#define BUFFER_BYTES 1536u
#define FRAME_BYTES 60u
#define TYPE_EXPERIMENT 0x88b5u /* IEEE 802, "Local Experimental Ethertype" */
#define ROUNDS 200u

static uint8_t receive_buffers[BUFFERS][BUFFER_BYTES] __attribute__((aligned(8)));
static uint8_t send_buffer[BUFFER_BYTES] __attribute__((aligned(8)));

static void put_number(uint8_t *frame, uint32_t number)
{
    for (uint32_t i = 0; i < 4; i++) {
        frame[14 + i] = (uint8_t)(number >> (8 * i));
    }
}

static uint32_t number_of(const uint8_t *frame)
{
    return frame[14] | (uint32_t)frame[15] << 8 | (uint32_t)frame[16] << 16 | (uint32_t)frame[17] << 24;
}

static void send(const uint8_t to[6], uint32_t number)
{
    struct queue *queue = &card.queues[TRANSMIT];
    uint8_t *frame = send_buffer + card.header_bytes;
    struct used_element done;

    for (uint32_t i = 0; i < BUFFER_BYTES; i++) {
        send_buffer[i] = 0;
    }
    for (uint32_t i = 0; i < 6; i++) {
        frame[i] = to[i];
        frame[6 + i] = (uint8_t)(config(&card, i & 4) >> (8 * (i & 3)));
    }
    frame[12] = TYPE_EXPERIMENT >> 8;
    frame[13] = TYPE_EXPERIMENT & 0xff;
    put_number(frame, number);
    describe(queue, 0, send_buffer, card.header_bytes + FRAME_BYTES, 0);
    put(queue, 0);
    notify(&card, TRANSMIT);
    while (!take(queue, &done)) {
    }
}

/* The next frame of ours; the buffer is put back. NULL: none is there. */
static const uint8_t *receive(uint8_t frame[FRAME_BYTES])
{
    struct queue *queue = &card.queues[RECEIVE];
    struct used_element done;

    while (take(queue, &done)) {
        const uint8_t *bytes = receive_buffers[done.id] + card.header_bytes;
        bool ours = done.bytes == card.header_bytes + FRAME_BYTES && bytes[12] == TYPE_EXPERIMENT >> 8;

        for (uint32_t i = 0; i < FRAME_BYTES; i++) {
            frame[i] = bytes[i];
        }
        put(queue, (uint16_t)done.id);
        notify(&card, RECEIVE);
        if (ours) {
            return frame;
        }
    }
    return NULL;
}

/* Broadcasts until the other guest answers, then speaks to it alone. */
static void ask(void)
{
    uint8_t to[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, frame[FRAME_BYTES];

    for (uint32_t number = 1; number <= ROUNDS;) {
        send(to, number);
        for (uint32_t wait = 0; wait < 20 && receive(frame) == NULL; wait++) {
            pit_wait_us(1000);
            frame[12] = 0;
        }
        if (frame[12] != 0 && number_of(frame) == number) {
            for (uint32_t i = 0; i < 6; i++) {
                to[i] = frame[6 + i];
            }
            number++;
        }
        frame[12] = 0;
    }
}

static void answer(void)
{
    uint8_t frame[FRAME_BYTES];
    uint32_t number = 0;

    while (number < ROUNDS) {
        if (receive(frame) == NULL) {
            wait_for_interrupt();
            continue;
        }
        number = number_of(frame);
        send(frame + 6, number);
    }
}

static void check_card(bool asks)
{
    struct queue *queue = &card.queues[RECEIVE];

    pic_mask((uint16_t) ~(1u << card.irq | 1u << 2));
    for (uint16_t i = 0; i < BUFFERS; i++) {
        describe(queue, i, receive_buffers[i], BUFFER_BYTES, F_WRITE);
        put(queue, i);
    }
    card.queues[TRANSMIT].available[0] = NO_INTERRUPT;
    notify(&card, RECEIVE);
    get_ready(&card);
    if (asks) {
        ask();
    } else {
        answer();
    }
    print("  network: %u frames there and back\n", ROUNDS);
}

/* ---- finding them ---- */

#define VENDOR 0x1af4u
#define DEVICE_LEGACY 0x1000u

static void find_legacy(void)
{
    for (uint32_t i = 0; i < PCI_FUNCTIONS; i++) {
        uint32_t id = pci_read(i, PCI_ID), subsystem = pci_read(i, PCI_SUBSYSTEM) >> 16;
        struct device *device = subsystem == ID_BLOCK ? &disk : &card;

        if (id == (VENDOR | (DEVICE_LEGACY + subsystem - 1) << 16) || id == (VENDOR | (DEVICE_LEGACY + 1) << 16)) {
            CHECK_EQUAL(pci_read(i, 8) & 0xff, 0);                       /* revision */
            CHECK_EQUAL(pci_read(i, PCI_BAR(0)) & PCI_BAR_PORT_BITS, 1); /* BAR 0: ports */
            device->legacy = true;
            device->ports = (uint16_t)(pci_read(i, PCI_BAR(0)) & ~PCI_BAR_PORT_BITS);
            device->irq = (uint8_t)pci_read(i, PCI_INTERRUPT_LINE);
        }
    }
}

static uint32_t hexadecimal(const char **text)
{
    uint32_t value = 0;

    for (;; (*text)++) {
        char c = **text;

        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint32_t)(c - 'a' + 10);
        } else {
            return value;
        }
    }
}

/* "4K@0xfeb00000:5", with what comes behind. */
static void find_mmio(const char *text)
{
    struct device found = {0};

    while (*text != 'x') {
        text++;
    }
    text++;
    found.registers = hexadecimal(&text);
    for (text++; *text >= '0' && *text <= '9'; text++) {
        found.irq = (uint8_t)(found.irq * 10 + *text - '0');
    }
    CHECK_EQUAL(mmio_read32(found.registers + M_MAGIC), 0x74726976);
    CHECK_EQUAL(mmio_read32(found.registers + M_VERSION), 2);
    if (mmio_read32(found.registers + M_ID) == ID_BLOCK) {
        disk = found;
    } else {
        CHECK_EQUAL(mmio_read32(found.registers + M_ID), ID_NET);
        card = found;
    }
}

void guest_main(void)
{
    const struct start_info *info = start_info();
    static const char key[] = "virtio_mmio.device=";
    const char *text = start_info_argument(info, key);

    traps_init();
    pic_init();
    if (text == NULL) {
        find_legacy();
    }
    while (text != NULL) {
        const struct start_info rest = {.cmdline = (uintptr_t)text};

        find_mmio(text);
        text = start_info_argument(&rest, key);
    }
    CHECK(disk.irq != 0 && card.irq != 0);
    start(&disk, 1);
    start(&card, 2);
    check_disk();
    get_ready(&disk);
    check_card(start_info_argument(info, "asks") != NULL);
}
