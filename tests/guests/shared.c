/* SPDX-License-Identifier: MIT */
/*
 * Two guests with a piece of shared memory, as drivers written from QEMU's description of ivshmem-doorbell: one writes
 * and rings, the other, which may only read, checks what it sees, tries to write all the same, and rings back.
 *
 * Command line: `writer` or `reader`. The writer is peer 0.
 */
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "shared";

#define IVSHMEM 0x11101af4u
#define MSIX_ON 0x80000000u
#define MSIX_ENTRY_BYTES 16u

#define REGISTER_NUMBER 8u
#define REGISTER_DOORBELL 12u
#define WRITER 0u
#define READER 1u
#define VECTORS 4u
#define VECTOR_READY 1u
#define VECTOR_READ 2u
#define FIRST_VECTOR 0x50u
#define APIC_EOI 0xb0u

#define WORDS 1024u
#define FIRST_WORD 16u
#define FORBIDDEN_WORD 1u     /* the reader tries to write it */
#define ELSEWHERE 0xc8000000u /* in the window for devices, where none is */

static volatile uint32_t rung[VECTORS];
static uint32_t device; /* lib/pci.h's number */
static uint32_t registers, msix;

static volatile uint32_t *memory_at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static void on_doorbell(struct trap_frame *frame)
{
    rung[frame->vector - FIRST_VECTOR]++;
    lapic_write(APIC_EOI, 0);
}

static void find(void)
{
    device = pci_find(IVSHMEM);
    CHECK_EQUAL(device < PCI_FUNCTIONS, 1);
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    registers = pci_read(device, PCI_BAR(0)) & ~PCI_BAR_MEMORY_BITS;
    msix = pci_read(device, PCI_BAR(1)) & ~PCI_BAR_MEMORY_BITS;
    CHECK_EQUAL(pci_read(device, PCI_BAR(2)) & PCI_BAR_MEMORY_BITS, 0xc); /* 64 bits, prefetchable */
    CHECK_EQUAL(pci_read(device, PCI_BAR(3)), 0);
}

static void listen(void)
{
    uint32_t cap = pci_capability(device, PCI_CAP_MSIX);

    CHECK_EQUAL((pci_read(device, cap) >> 16 & 0x7ffu) + 1, VECTORS);
    for (uint32_t i = 0; i < VECTORS; i++) {
        trap_set((uint8_t)(FIRST_VECTOR + i), on_doorbell);
        mmio_write32(msix + MSIX_ENTRY_BYTES * i, 0xfee00000u);
        mmio_write32(msix + MSIX_ENTRY_BYTES * i + 4, 0);
        mmio_write32(msix + MSIX_ENTRY_BYTES * i + 8, FIRST_VECTOR + i);
        mmio_write32(msix + MSIX_ENTRY_BYTES * i + 12, 0);
    }
    pci_write(device, cap, pci_read(device, cap) | MSIX_ON);
    interrupts_on();
}

static void ring(uint32_t peer, uint32_t vector)
{
    mmio_write32(registers + REGISTER_DOORBELL, peer << 16 | vector);
}

static uint32_t pattern(uint32_t i)
{
    return i * 0x9e3779b9u ^ 0x5a5a5a5au;
}

/* Through a BAR that was moved each access is an exit, and reaches the same memory. */
static void move(volatile uint32_t *memory)
{
    uint32_t before = pci_read(device, PCI_BAR(2));

    pci_write(device, PCI_BAR(2), ELSEWHERE);
    CHECK_EQUAL(memory_at(ELSEWHERE)[FIRST_WORD + 7], pattern(7));
    memory_at(ELSEWHERE)[2] = 0x12345678;
    CHECK_EQUAL(memory[2], 0x12345678);
    pci_write(device, PCI_BAR(2), before);
    CHECK_EQUAL(memory_at(ELSEWHERE)[2], 0xffffffff);
    CHECK_EQUAL(memory[2], 0x12345678);
}

/* Numbers of peers and vectors that there are not, and messages to addresses that are no local APIC's. */
static void storm(void)
{
    for (uint32_t i = 0; i < 2000; i++) {
        mmio_write32(registers + REGISTER_DOORBELL, i * 0x9e3779b1u);
        mmio_write32(registers + (i * 4 & 0xfcu), i);
    }
    mmio_write32(msix, 0x1000u);
    mmio_write32(msix + 4, 0xffffffffu);
    ring(WRITER, 0);
    CHECK_EQUAL(mmio_read32(registers + REGISTER_NUMBER), WRITER);
}

static void write_and_wait(volatile uint32_t *memory)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        memory[FIRST_WORD + i] = pattern(i);
    }
    while (rung[VECTOR_READ] == 0) {
        ring(READER, VECTOR_READY); /* until the reader listens */
        pit_wait_us(1000);
    }
    CHECK_EQUAL(memory[FORBIDDEN_WORD], 0);
    move(memory);
    storm();
}

static void wait_and_read(volatile uint32_t *memory)
{
    while (rung[VECTOR_READY] == 0) {
        wait_for_interrupt();
    }
    for (uint32_t i = 0; i < WORDS; i++) {
        CHECK_EQUAL(memory[FIRST_WORD + i], pattern(i));
    }
    memory[FORBIDDEN_WORD] = 0xbad;
    CHECK_EQUAL(memory[FORBIDDEN_WORD], 0);
    ring(WRITER, VECTOR_READ);
}

void guest_main(void)
{
    bool writes = start_info_argument(start_info(), "writer") != NULL;
    volatile uint32_t *memory;

    traps_init();
    pic_init();
    lapic_init();
    find();
    memory = memory_at(pci_read(device, PCI_BAR(2)) & ~PCI_BAR_MEMORY_BITS);
    CHECK_EQUAL(mmio_read32(registers + REGISTER_NUMBER), writes ? WRITER : READER);
    listen();
    if (writes) {
        write_and_wait(memory);
    } else {
        wait_and_read(memory);
    }
    print("%s: done\n", writes ? "writer" : "reader");
}
