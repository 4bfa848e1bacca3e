/* SPDX-License-Identifier: MIT */
/*
 * A guest that owns a device of the machine: QEMU's `edu` (1234:11e8), which copies between its own buffer and any
 * address that its driver names. QEMU, docs/specs/edu.
 *
 * The registers answer, a copy to and from the guest's own memory arrives, the interrupt message comes, BAR 0 can be
 * moved, and a copy to where the guest has no memory arrives nowhere. Command line `crash`: the first life ends while a
 * copy is on the way, and the second one, which finds that the device has kept its registers, sees that it did not
 * come. Command line `line`: its interrupt comes by its line, through the I/O APIC and the 8259.
 */
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/pci.h"
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "edu";

#define MSI_ON 0x00010000u
#define BYTES 2048u

#define VECTOR 0x51u
#define APIC_EOI 0xb0u
#define SOURCE 0x600000u /* in the guest's 16 MiB */
#define TARGET 0x700000u
#define CRASH_TARGET 0x780000u
#define NOWHERE 0x30000000u
#define ELSEWHERE 0xc8000000u /* in the window for devices, where none is */
#define WAIT_MS 3000u

static volatile uint32_t interrupts;
static uint32_t device, registers;

static volatile uint32_t *memory_at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static void on_message(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    lapic_write(APIC_EOI, 0);
}

static void find(void)
{
    device = pci_find(EDU);
    CHECK_EQUAL(device < PCI_FUNCTIONS, 1);
    registers = pci_read(device, PCI_BAR(0)) & ~PCI_BAR_MEMORY_BITS;
    CHECK_EQUAL(mmio_read32(registers), EDU_VERSION);
    mmio_write32(registers + EDU_LIVE, 0x12345678);
    CHECK_EQUAL(mmio_read32(registers + EDU_LIVE), ~0x12345678u);
}

static void listen(void)
{
    uint32_t cap = pci_capability(device, PCI_CAP_MSI);

    CHECK_EQUAL(cap != 0, 1);
    trap_set(VECTOR, on_message);
    pci_write(device, cap + 4, 0xfee00000u);
    pci_write(device, cap + 8, 0);
    pci_write(device, cap + 12, VECTOR);
    pci_write(device, cap, pci_read(device, cap) | MSI_ON);
    interrupts_on();
}

/* ---- by its line ---- */

#define LINE_VECTOR 0x52u
#define PIN (16u + device / 8 % 8)
#define IRQ (device / 8 % 2 == 0 ? 10u : 11u)
#define PIC_VECTOR 0x20u /* of IRQ 0 */
#define ENTRY_LEVEL_LOW 0xa000u
#define ENTRY_MASKED 0x10000u
#define INTX_OFF 0x400u
#define STUCK 5u /* interrupts that come of one that is not acknowledged */

#define IOAPIC 0xfec00000u

static void ioapic_write(uint32_t index, uint32_t value)
{
    mmio_write32(IOAPIC, index);
    mmio_write32(IOAPIC + 0x10, value);
}

static volatile uint32_t ignored; /* so often the handler does not acknowledge at the device */

/* Reads before the end of the interrupt, so that the line has fallen by then. */
static void serve_line(void)
{
    interrupts++;
    if (ignored != 0) {
        ignored--;
        return;
    }
    mmio_write32(registers + EDU_ACKNOWLEDGE, mmio_read32(registers + EDU_STATUS));
    (void)mmio_read32(registers + EDU_STATUS);
}

static void on_line(struct trap_frame *frame)
{
    (void)frame;
    serve_line();
    lapic_write(APIC_EOI, 0);
}

static void on_irq(struct trap_frame *frame)
{
    (void)frame;
    serve_line();
    out8(0xa0, 0x20);
    out8(0x20, 0x20);
}

static void expect_interrupts(uint32_t wanted, const char *way)
{
    for (uint32_t ms = 0; ms < WAIT_MS && interrupts < wanted; ms++) {
        pit_wait_us(1000);
    }
    pit_wait_us(20000); /* and no more */
    CHECK_EQUAL(interrupts, wanted);
    print("edu: %u interrupts of the line came by the %s\n", interrupts, way);
}

/* Each raise one; one that is not acknowledged at once comes again with each end of it, and then no more. */
static void raise_lines(const char *way)
{
    interrupts = 0;
    for (uint32_t i = 1; i <= 3; i++) {
        mmio_write32(registers + EDU_RAISE, i);
        for (uint32_t ms = 0; ms < WAIT_MS && interrupts < i; ms++) {
            pit_wait_us(1000);
        }
    }
    expect_interrupts(3, way);
    ignored = STUCK;
    interrupts = 0;
    mmio_write32(registers + EDU_RAISE, 1);
    expect_interrupts(STUCK + 1, way);
}

static void take_lines(void)
{
    trap_set(LINE_VECTOR, on_line);
    trap_set(PIC_VECTOR + IRQ, on_irq);
    CHECK_EQUAL(pci_read(device, PCI_INTERRUPT_LINE) >> 8 & 0xff, 1);
    CHECK_EQUAL(pci_read(device, PCI_INTERRUPT_LINE) & 0xff, IRQ);
    interrupts_on();
    ioapic_write(0x10 + 2 * PIN + 1, 0);
    ioapic_write(0x10 + 2 * PIN, LINE_VECTOR | ENTRY_LEVEL_LOW);
    raise_lines("I/O APIC");
    ioapic_write(0x10 + 2 * PIN, LINE_VECTOR | ENTRY_LEVEL_LOW | ENTRY_MASKED);

    out8(0xa1, (uint8_t) ~(1u << (IRQ - 8)));
    out8(0x21, 0xfb);
    lapic_write(0x350, 0x700); /* LINT0: ExtINT */
    raise_lines("8259");
    out8(0xa1, 0xff);

    /* Off at the device: nothing comes, and what waits comes when it is on again. */
    ioapic_write(0x10 + 2 * PIN, LINE_VECTOR | ENTRY_LEVEL_LOW);
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER | INTX_OFF);
    interrupts = 0;
    mmio_write32(registers + EDU_RAISE, 1);
    pit_wait_us(20000);
    CHECK_EQUAL(interrupts, 0);
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    expect_interrupts(1, "I/O APIC");
}

static void begin_copy(uint32_t from, uint32_t to, uint32_t command)
{
    edu_begin(registers, from, to, BYTES, command);
}

static void copy(uint32_t from, uint32_t to, uint32_t command)
{
    begin_copy(from, to, command);
    for (uint32_t ms = 0; ms < WAIT_MS && edu_is_busy(registers); ms++) {
        pit_wait_us(1000);
    }
    CHECK(!edu_is_busy(registers));
}

static uint32_t pattern(uint32_t i)
{
    return i * 0x9e3779b9u ^ 0x5a5a5a5au;
}

static void copy_own_memory(void)
{
    for (uint32_t i = 0; i < BYTES / 4; i++) {
        memory_at(SOURCE)[i] = pattern(i);
        memory_at(TARGET)[i] = 0;
    }
    copy(SOURCE, EDU_BUFFER, 0);
    copy(EDU_BUFFER, TARGET, EDU_FROM_DEVICE);
    for (uint32_t i = 0; i < BYTES / 4; i++) {
        CHECK_EQUAL(memory_at(TARGET)[i], pattern(i));
    }
    print("edu: a copy to the device and back arrived\n");
}

static void take_interrupts(void)
{
    for (uint32_t i = 1; i <= 3; i++) {
        mmio_write32(registers + EDU_RAISE, i);
        for (uint32_t ms = 0; ms < WAIT_MS && interrupts < i; ms++) {
            pit_wait_us(1000);
        }
        CHECK_EQUAL(interrupts, i);
        mmio_write32(registers + EDU_ACKNOWLEDGE, i);
    }
    print("edu: %u interrupts came\n", interrupts);
}

/* Each access is an exit then. */
static void move(void)
{
    uint32_t before = pci_read(device, PCI_BAR(0));

    pci_write(device, PCI_BAR(0), ELSEWHERE);
    CHECK_EQUAL(mmio_read32(ELSEWHERE), EDU_VERSION);
    mmio_write32(ELSEWHERE + EDU_LIVE, 0x55aa55aa);
    CHECK_EQUAL(mmio_read32(ELSEWHERE + EDU_LIVE), ~0x55aa55aau);
    pci_write(device, PCI_BAR(0), before);
    CHECK_EQUAL(mmio_read32(registers), EDU_VERSION);
}

/* To where the guest has no memory; then to its own again, as before. */
static void copy_elsewhere(void)
{
    copy(EDU_BUFFER, NOWHERE, EDU_FROM_DEVICE);
    print("edu: a copy to 0x%x was asked for\n", NOWHERE);
    copy_own_memory();
}

static void second_life(void)
{
    for (uint32_t ms = 0; ms < 400; ms++) {
        pit_wait_us(1000);
    }
    for (uint32_t i = 0; i < BYTES / 4; i++) {
        CHECK_EQUAL(memory_at(CRASH_TARGET)[i], 0);
    }
    print("edu: the copy of the last life did not come\n");
}

void guest_main(void)
{
    bool crashes = start_info_argument(start_info(), "crash") != NULL;

    traps_init();
    pic_init();
    lapic_init();
    find();
    CHECK_EQUAL(pci_read(device, PCI_COMMAND) & PCI_COMMAND_MEMORY_MASTER, PCI_COMMAND_MEMORY);
    if (crashes && mmio_read32(registers + EDU_TARGET) == CRASH_TARGET) {
        second_life();
        crashes = false;
    }
    pci_write(device, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
    if (start_info_argument(start_info(), "line") != NULL) {
        take_lines();
        return;
    }
    listen();
    copy_own_memory();
    take_interrupts();
    move();
    copy_elsewhere();
    if (crashes) {
        print("edu: ends with a copy on the way\n");
        begin_copy(EDU_BUFFER, CRASH_TARGET, EDU_FROM_DEVICE);
        out8(0xcf9, 0x06);
        wait_for_interrupt();
    }
}
