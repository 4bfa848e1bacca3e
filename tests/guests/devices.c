/* SPDX-License-Identifier: MIT */
/*
 * A guest that owns three devices of the machine, each as its driver begins: QEMU's e1000e sends a packet, a disk
 * behind ahci says what it is, qemu-xhci does a command that is none. Of each the guest sees what it wrote into the
 * guest's memory, and the message that it sent for that.
 *
 * "82574 GbE Controller Family" data sheet 3.4, 10.2; "Serial ATA AHCI" 1.3.1, 3 and 4.2; "eXtensible Host Controller
 * Interface" 1.2, 5.3 to 5.5 and 6.4.
 */
#include "tests/guests/lib/pci.h"

const char guest_name[] = "devices";

#define E1000E 0x10d38086u
#define AHCI 0x29228086u
#define XHCI 0x000d1b36u

#define APIC_EOI 0xb0u
#define VECTOR_FIRST 0x51u
#define MESSAGE_ADDRESS 0xfee00000u
#define MSI_ON 0x00010000u
#define MSIX_ON 0x80000000u
#define MSIX_TABLE 4u
#define MSIX_BAR_BITS 7u
#define WAIT_MS 3000u

/* In the guest's 16 MiB, 64 KiB for each. */
#define MEMORY(device) (0x600000u + 0x10000u * (device))

enum device { DEVICE_E1000E, DEVICE_AHCI, DEVICE_XHCI, DEVICES };

static volatile uint32_t interrupts[DEVICES];

static volatile uint32_t *memory_at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static void on_message(struct trap_frame *frame)
{
    interrupts[frame->vector - VECTOR_FIRST]++;
    lapic_write(APIC_EOI, 0);
}

/* Messages of the function go to this CPU: MSI-X where it has it, message 0; else MSI. */
static void listen(uint32_t function, uint32_t vector)
{
    uint32_t msix = pci_capability(function, PCI_CAP_MSIX), msi = pci_capability(function, PCI_CAP_MSI);

    trap_set((uint8_t)vector, on_message);
    if (msix != 0) {
        uint32_t place = pci_read(function, msix + MSIX_TABLE), bar = place & MSIX_BAR_BITS;
        uint32_t entry = (pci_read(function, PCI_BAR(bar)) & ~PCI_BAR_MEMORY_BITS) + (place & ~MSIX_BAR_BITS);

        mmio_write32(entry, MESSAGE_ADDRESS);
        mmio_write32(entry + 4, 0);
        mmio_write32(entry + 8, vector);
        mmio_write32(entry + 12, 0);
        pci_write(function, msix, pci_read(function, msix) | MSIX_ON);
        return;
    }
    CHECK_EQUAL(msi != 0, 1);
    pci_write(function, msi + 4, MESSAGE_ADDRESS);
    pci_write(function, msi + 8, 0);
    pci_write(function, msi + 12, vector);
    pci_write(function, msi, pci_read(function, msi) | MSI_ON);
}

/* Where its registers are, with its messages on. */
static uint32_t open(uint32_t id, enum device device, uint32_t bar)
{
    uint32_t function = pci_find(id);

    CHECK_EQUAL(function < PCI_FUNCTIONS, 1);
    pci_write(function, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    listen(function, VECTOR_FIRST + device);
    for (uint32_t i = 0; i < 0x4000; i++) {
        memory_at(MEMORY(device))[i] = 0;
    }
    return pci_read(function, PCI_BAR(bar)) & ~PCI_BAR_MEMORY_BITS;
}

static void await(uint32_t reg, uint32_t mask, uint32_t wanted)
{
    for (uint32_t ms = 0; ms < WAIT_MS && (mmio_read32(reg) & mask) != wanted; ms++) {
        pit_wait_us(1000);
    }
    CHECK_EQUAL(mmio_read32(reg) & mask, wanted);
}

static void await_message(enum device device, const char *name)
{
    for (uint32_t ms = 0; ms < WAIT_MS && interrupts[device] == 0; ms++) {
        pit_wait_us(1000);
    }
    CHECK_EQUAL(interrupts[device] != 0, 1);
    print("devices: %s wrote to memory and sent a message\n", name);
}

/* ---- a network card ---- */

#define ROM_REGISTER 0x30u
#define ROM_PLACE 0xc9000000u /* in the window for devices, where none is */
#define ROM_ON 1u
#define ROM_SIGNATURE 0xaa55u
#define ROM_DATA 0x18u                 /* where it says for which device it is */
#define ROM_DATA_SIGNATURE 0x52494350u /* PCIR */

/* Its expansion ROM is there, of this device, and gone when it is off. */
static void read_rom(void)
{
    uint32_t function = pci_find(E1000E), data;

    pci_write(function, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    pci_write(function, ROM_REGISTER, ROM_PLACE | ROM_ON);
    CHECK_EQUAL(mmio_read32(ROM_PLACE) & 0xffff, ROM_SIGNATURE);
    data = ROM_PLACE + (mmio_read32(ROM_PLACE + ROM_DATA) & 0xffff);
    CHECK_EQUAL(mmio_read32(data), ROM_DATA_SIGNATURE);
    CHECK_EQUAL(mmio_read32(data + 4), E1000E);
    mmio_write32(ROM_PLACE, 0);
    CHECK_EQUAL(mmio_read32(ROM_PLACE) & 0xffff, ROM_SIGNATURE);
    pci_write(function, ROM_REGISTER, ROM_PLACE);
    CHECK_EQUAL(mmio_read32(ROM_PLACE), ~0u);
    print("devices: the expansion ROM of e1000e was read\n");
}

#define NET_CONTROL 0x0000u
#define NET_CONTROL_RESET (1u << 26)
#define NET_MASK_SET 0x00d0u
#define NET_MASK_CLEAR 0x00d8u
#define NET_VECTORS 0x00e4u /* IVAR: of the first transmit queue [11:8], the highest of them: valid */
#define NET_VECTORS_SEND_0 0x800u
#define NET_CAUSE_SEND_0 (1u << 22)
#define NET_SEND 0x0400u
#define NET_SEND_ON 0xau
#define NET_RING 0x3800u
#define NET_RING_BYTES 0x3808u
#define NET_RING_HEAD 0x3810u
#define NET_RING_TAIL 0x3818u
#define NET_COMMAND 0x0b000000u /* the packet's end, with a checksum, and its status is wanted */
#define NET_DONE 1u

static void send(void)
{
    uint32_t ring = MEMORY(DEVICE_E1000E), packet = ring + 0x1000;
    uint32_t registers = open(E1000E, DEVICE_E1000E, 0);

    mmio_write32(registers + NET_CONTROL, NET_CONTROL_RESET);
    pit_wait_us(10000);
    mmio_write32(registers + NET_MASK_CLEAR, ~0u);
    mmio_write32(registers + NET_VECTORS, NET_VECTORS_SEND_0);
    mmio_write32(registers + NET_RING, ring);
    mmio_write32(registers + NET_RING + 4, 0);
    mmio_write32(registers + NET_RING_BYTES, 128);
    mmio_write32(registers + NET_RING_HEAD, 0);
    mmio_write32(registers + NET_RING_TAIL, 0);
    mmio_write32(registers + NET_SEND, NET_SEND_ON);
    mmio_write32(registers + NET_MASK_SET, NET_CAUSE_SEND_0);
    memory_at(packet)[0] = memory_at(packet)[1] = ~0u; /* to all */
    memory_at(ring)[0] = packet;
    memory_at(ring)[2] = 60 | NET_COMMAND;
    mmio_write32(registers + NET_RING_TAIL, 1);
    await(ring + 12, NET_DONE, NET_DONE);
    await_message(DEVICE_E1000E, "e1000e");
}

/* ---- a disk ---- */

#define DISK_GLOBAL 0x04u
#define DISK_GLOBAL_RESET 1u
#define DISK_GLOBAL_ON 0x80000002u /* AHCI, interrupts */
#define DISK_PORT 0x100u
#define PORT_LIST 0x00u
#define PORT_RECEIVED 0x08u
#define PORT_STATUS 0x10u
#define PORT_INTERRUPTS 0x14u
#define PORT_COMMAND 0x18u
#define PORT_COMMAND_ON 0x11u
#define PORT_LINK 0x28u
#define PORT_LINK_UP 0x3u
#define PORT_ERRORS 0x30u
#define PORT_ISSUE 0x38u
#define IDENTIFY 0x00ec8027u /* host to device, a command, IDENTIFY DEVICE */
#define MODEL_WORD 27u       /* of what it says: its name, two characters each */

static void identify(void)
{
    uint32_t list = MEMORY(DEVICE_AHCI), received = list + 0x400, table = list + 0x1000, data = list + 0x2000;
    uint32_t registers = open(AHCI, DEVICE_AHCI, 5), port = registers + DISK_PORT;

    mmio_write32(registers + DISK_GLOBAL, DISK_GLOBAL_RESET);
    await(registers + DISK_GLOBAL, DISK_GLOBAL_RESET, 0);
    mmio_write32(registers + DISK_GLOBAL, DISK_GLOBAL_ON);
    mmio_write32(port + PORT_LIST, list);
    mmio_write32(port + PORT_LIST + 4, 0);
    mmio_write32(port + PORT_RECEIVED, received);
    mmio_write32(port + PORT_RECEIVED + 4, 0);
    mmio_write32(port + PORT_COMMAND, PORT_COMMAND_ON);
    await(port + PORT_LINK, 0xf, PORT_LINK_UP);
    mmio_write32(port + PORT_ERRORS, ~0u);
    mmio_write32(port + PORT_STATUS, ~0u);
    mmio_write32(port + PORT_INTERRUPTS, 7);
    memory_at(list)[0] = 5 | 1u << 16; /* a command of five words, one range of memory */
    memory_at(list)[2] = table;
    memory_at(table)[0] = IDENTIFY;
    memory_at(table + 0x80)[0] = data;
    memory_at(table + 0x80)[3] = 511;
    mmio_write32(port + PORT_ISSUE, 1);
    await(port + PORT_ISSUE, 1, 0);
    await(data + 2 * (MODEL_WORD - 1), 0xffff0000u, (uint32_t)('Q' << 8 | 'E') << 16);
    await_message(DEVICE_AHCI, "ahci");
}

/* ---- USB ---- */

#define USB_DOORBELLS 0x14u
#define USB_RUNTIME 0x18u
#define USB_COMMAND 0x00u
#define USB_COMMAND_RESET 2u
#define USB_COMMAND_RUN 5u /* and interrupts */
#define USB_STATUS 0x04u
#define USB_STATUS_NOT_READY (1u << 11)
#define USB_RING 0x18u
#define USB_CONTEXTS 0x30u
#define USB_SLOTS 0x38u
#define EVENTS 0x20u /* of the first interrupter, from the runtime registers on */
#define EVENTS_MANAGEMENT 0x00u
#define EVENTS_ON 2u
#define EVENTS_BYTES 512u
#define EVENTS_SEGMENTS 0x08u
#define EVENTS_TABLE 0x10u
#define EVENTS_NEXT 0x18u
#define CYCLE 1u
#define NO_OP (23u << 10 | CYCLE)
#define COMPLETION (33u << 10 | CYCLE)
#define SUCCESS (1u << 24)

static void write64(uint32_t reg, uint32_t value)
{
    mmio_write32(reg, value);
    mmio_write32(reg + 4, 0);
}

/* The event that says so, behind those of ports. */
static uint32_t await_completion(uint32_t events)
{
    uint32_t at = 0;

    for (uint32_t ms = 0; ms < WAIT_MS && memory_at(events + at)[3] != COMPLETION; ms++) {
        pit_wait_us(1000);
        while (memory_at(events + at)[3] != COMPLETION && memory_at(events + at)[3] != 0 && at < EVENTS_BYTES - 16) {
            at += 16;
        }
    }
    CHECK_EQUAL(memory_at(events + at)[3], COMPLETION);
    return events + at;
}

static void command(void)
{
    uint32_t ring = MEMORY(DEVICE_XHCI), table = ring + 0x1000, events = ring + 0x2000, contexts = ring + 0x3000;
    uint32_t registers = open(XHCI, DEVICE_XHCI, 0), own = registers + (mmio_read32(registers) & 0xff);
    uint32_t interrupter = registers + mmio_read32(registers + USB_RUNTIME) + EVENTS;

    mmio_write32(own + USB_COMMAND, USB_COMMAND_RESET);
    await(own + USB_COMMAND, USB_COMMAND_RESET, 0);
    await(own + USB_STATUS, USB_STATUS_NOT_READY, 0);
    mmio_write32(own + USB_SLOTS, 1);
    write64(own + USB_CONTEXTS, contexts);
    write64(own + USB_RING, ring | CYCLE);
    memory_at(table)[0] = events;
    memory_at(table)[2] = EVENTS_BYTES / 16;
    mmio_write32(interrupter + EVENTS_SEGMENTS, 1);
    write64(interrupter + EVENTS_NEXT, events);
    write64(interrupter + EVENTS_TABLE, table);
    mmio_write32(interrupter + EVENTS_MANAGEMENT, EVENTS_ON);
    mmio_write32(own + USB_COMMAND, USB_COMMAND_RUN);
    memory_at(ring)[3] = NO_OP;
    mmio_write32(registers + mmio_read32(registers + USB_DOORBELLS), 0);
    events = await_completion(events);
    CHECK_EQUAL(memory_at(events)[0], ring);
    CHECK_EQUAL(memory_at(events)[2], SUCCESS);
    await_message(DEVICE_XHCI, "xhci");
}

void guest_main(void)
{
    traps_init();
    pic_init();
    lapic_init();
    interrupts_on();
    read_rom();
    send();
    identify();
    command();
}
