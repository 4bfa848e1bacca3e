/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest that owns devices which write to any address that their driver names (QEMU's `edu`, 1234:11e8): they
 * write a pattern to some pages of every MiB from the end of the guest's memory up to `to=` MiB, to what lies below
 * 4 GiB for devices (I/O APICs, IOMMUs, flash), and then to every page. By way of the IOMMU these addresses are the
 * guest's own, so nothing of it may arrive. One copy goes to the own memory of the guest: a search for the pattern in
 * the memory of the machine finds that one, and no other. QEMU, docs/specs/edu; a copy takes 100 ms.
 *
 * Command line `messages`: to every message address, too, which a device writes to for an interrupt. `load`: every
 * device copies to the guest's own memory until the guest is ended from outside; each life first looks whether a copy
 * of the one before comes.
 */
#include "tests/guests/lib/edu.h"
#include "tests/guests/lib/hostile.h"
#include "tests/guests/lib/pci.h"

const char guest_name[] = "hostile-edu";

#define DEVICES_MAX 8u

#define PAGE 4096u
#define BYTES 4095u      /* from the middle of a page to the middle of the next: a copy for two pages */
#define SOURCE 0x600000u /* in the guest's 16 MiB */
#define CONTROL 0x700000u
#define OWN_END 0x1000000u
#define REGISTERS_START 0xfe000000u /* I/O APIC, HPET, IOMMUs, the firmware's flash */
#define REGISTERS_END 0xffffe000u
#define MESSAGES 0xfee00000u
#define MESSAGES_END 0xfef00000u
#define SAMPLES (2 * 1024 * 1024u) /* from one page to the next of the first pass: before a unit mutes the devices */
#define MESSAGE_BYTES 4u
#define COPY_MS 101u
#define VECTOR 0x51u
#define UNIT 16u /* words of the pattern, which repeats */

static uint32_t registers[DEVICES_MAX];
static uint32_t count, pending;
static uint32_t timer_khz, copies;

static volatile uint32_t *memory_at(uint32_t address)
{
    return (volatile uint32_t *)(uintptr_t)address;
}

static void find(void)
{
    for (uint32_t function = 0; function < PCI_FUNCTIONS && count < DEVICES_MAX; function++) {
        if (pci_read(function, PCI_ID) == EDU) {
            registers[count++] = pci_read(function, PCI_BAR(0)) & ~PCI_BAR_MEMORY_BITS;
            pci_write(function, PCI_COMMAND, PCI_COMMAND_MEMORY_MASTER);
        }
    }
    CHECK(count != 0);
}

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    lapic_write(LAPIC_EOI, 0);
}

static void measure_timer(void)
{
    trap_set(VECTOR, on_timer);
    lapic_write(LAPIC_TIMER_DIVIDE, 0xb); /* by 1 */
    lapic_write(LAPIC_LVT_TIMER, VECTOR);
    lapic_write(LAPIC_TIMER_INITIAL, 0xffffffffu);
    pit_wait_us(10000);
    timer_khz = (0xffffffffu - lapic_read(0x390)) / 10;
    lapic_write(LAPIC_TIMER_INITIAL, 0);
}

static void sleep_ms(uint32_t ms)
{
    lapic_write(LAPIC_TIMER_INITIAL, timer_khz * ms);
    wait_for_interrupt();
}

/* All that were begun end. */
static void finish(void)
{
    while (pending != 0) {
        sleep_ms(COPY_MS);
        while (pending != 0 && !edu_is_busy(registers[pending - 1])) {
            pending--;
        }
    }
}

static void begin(uint32_t from, uint32_t to, uint32_t bytes, uint32_t command)
{
    uint32_t device = registers[pending++];

    edu_begin(device, from, to, bytes, command);
    copies++;
    if (pending == count) {
        finish();
    }
}

static uint32_t pattern(uint32_t i)
{
    return (i % UNIT + 1) * 0x9e3779b9u ^ 0x6b8b79fbu; /* the first: message data, vector 0x42 */
}

/* The devices' buffers have it, and no memory. */
static void load_pattern(void)
{
    for (uint32_t i = 0; i < PAGE / 4; i++) {
        memory_at(SOURCE)[i] = pattern(i);
    }
    for (uint32_t i = 0; i < count; i++) {
        begin(SOURCE, EDU_BUFFER, BYTES, 0);
    }
    for (uint32_t i = 0; i < PAGE / 4; i++) {
        memory_at(SOURCE)[i] = 0;
    }
}

static void sweep(uint32_t start, uint32_t end, uint32_t step)
{
    for (uint32_t page = start; page < end; page += step) {
        begin(EDU_BUFFER, page + PAGE / 2, BYTES, EDU_FROM_DEVICE);
    }
    finish();
}

/* What a device writes there is an interrupt message. */
static void send_messages(void)
{
    for (uint32_t page = MESSAGES; page < MESSAGES_END; page += PAGE) {
        begin(EDU_BUFFER, page, MESSAGE_BYTES, EDU_FROM_DEVICE);
    }
    finish();
}

static void load(void)
{
    sleep_ms(COPY_MS + 50);
    for (uint32_t i = 0; i < DEVICES_MAX * PAGE / 4; i++) {
        CHECK_EQUAL(memory_at(CONTROL)[i], 0);
    }
    load_pattern();
    for (uint32_t round = 0;; round++) {
        for (uint32_t i = 0; i < count; i++) {
            begin(EDU_BUFFER, CONTROL + i * PAGE, BYTES, EDU_FROM_DEVICE);
        }
        for (uint32_t i = 0; i < count * PAGE / 4; i++) {
            if (i % (PAGE / 4) < BYTES / 4) {
                CHECK_EQUAL(memory_at(CONTROL)[i], pattern(i));
            }
            memory_at(CONTROL)[i] = 0;
        }
        if (round == 0) {
            print("under load\n");
        }
    }
}

void guest_main(void)
{
    uint32_t end = hostile_number("to=", 1024) << 20;

    traps_init();
    pic_init();
    lapic_init();
    measure_timer();
    find();
    if (hostile_argument("load") != NULL) {
        load();
    }
    load_pattern();
    begin(EDU_BUFFER, CONTROL, BYTES, EDU_FROM_DEVICE);
    finish();
    CHECK(memory_at(CONTROL)[0] != 0);
    print("%u devices begin\n", count);
    sweep(OWN_END, end, SAMPLES);
    sweep(REGISTERS_START, MESSAGES, 2 * PAGE);
    sweep(MESSAGES_END, REGISTERS_END, 2 * PAGE);
    print("registers are written to\n");
    if (hostile_argument("messages") != NULL) {
        send_messages();
        print("messages are sent\n");
    }
    sweep(OWN_END, end, 2 * PAGE);
    print("%u copies, to each page from 0x%x to 0x%x\n", copies, OWN_END, end);
}
