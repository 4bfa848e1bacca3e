/* SPDX-License-Identifier: MIT */
/*
 * Devices of the machine in a guest's hands. What its command line names is tried:
 *
 *   parallel   the data register of the port at 0x378 keeps what is written
 *   com2       a text is sent by the interrupt of an empty transmitter, a byte for each, and nothing but the interrupt
 *              sends; then bytes come back through the UART's own loop, by its interrupt
 *   framebuffer   the beginning of the screen gets one colour, and keeps it
 *   mmio       the registers of a display of QEMU (bochs-display's interface) at MMIO answer as they do to their owner
 *   crash      after that, a triple fault while the interrupt is on: the next life begins with a quiet UART
 */
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "direct";

#define PARALLEL_DATA 0x378
#define COM2 0x2f8
#define COM2_IRQ 3
#define VECTOR 0x43
#define IOAPIC_ENTRY(pin) (0x10u + 2u * (pin))
#define UART_ENABLE (COM2 + 1)
#define UART_CAUSE (COM2 + 2)
#define UART_LINE (COM2 + 3)
#define UART_MODEM (COM2 + 4)
#define UART_STATUS (COM2 + 5)
#define ENABLE_RECEIVE 0x01
#define ENABLE_SEND 0x02
#define CAUSE_NONE 0x01
#define CAUSE_SEND 0x02
#define CAUSE_RECEIVE 0x04
#define MODEM_LOOP 0x10
#define MODEM_INTERRUPT 0x08 /* OUT2: a PC leads the interrupt by it */
#define LOOP_BYTES 20u

static const char text[] = "direct: by interrupts, from guest to COM2\n";
static volatile uint32_t sent, received, interrupts;
static volatile uint8_t last_received;

static bool asks_for(const char *word)
{
    const struct start_info *info = start_info();

    return info != NULL && start_info_argument(info, word) != NULL;
}

static void test_parallel(void)
{
    for (uint32_t i = 0; i < 256; i += 15) {
        out8(PARALLEL_DATA, (uint8_t)i);
        CHECK_EQUAL(in8(PARALLEL_DATA), i);
    }
    print("direct: the parallel port keeps what is written\n");
}

static void take_cause(uint8_t cause)
{
    if (cause == CAUSE_SEND && sent < sizeof(text) - 1) {
        out8(COM2, (uint8_t)text[sent++]);
    } else if (cause == CAUSE_SEND) {
        out8(UART_ENABLE, 0);
    } else if ((cause & CAUSE_RECEIVE) != 0) {
        last_received = in8(COM2);
        received++;
    }
}

static void on_com2(struct trap_frame *frame)
{
    uint8_t cause;

    (void)frame;
    interrupts++;
    while (((cause = in8(UART_CAUSE)) & CAUSE_NONE) == 0) {
        take_cause(cause & 0x0f);
    }
    lapic_write(0xb0, 0);
}

/* An edge of IRQ 3 to this CPU. */
static void open_pin(void)
{
    mmio_write32(IOAPIC_BASE, IOAPIC_ENTRY(COM2_IRQ) + 1);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, IOAPIC_ENTRY(COM2_IRQ));
    mmio_write32(IOAPIC_BASE + 0x10, VECTOR);
}

static void test_com2(void)
{
    CHECK_EQUAL(in8(UART_ENABLE), 0);
    trap_set(VECTOR, on_com2);
    lapic_init();
    open_pin();
    out8(UART_LINE, 0x03);
    out8(UART_MODEM, MODEM_INTERRUPT | 0x03);
    out8(UART_ENABLE, ENABLE_SEND);
    while (sent < sizeof(text) - 1) {
        wait_for_interrupt();
    }
    while ((in8(UART_STATUS) & 0x40) == 0) {
    }
    out8(UART_ENABLE, 0);
    CHECK(interrupts >= sizeof(text) / 16);
    print("direct: %u bytes sent by %u interrupts\n", sent, interrupts);
}

static void test_loop(void)
{
    out8(UART_ENABLE, ENABLE_RECEIVE);
    for (uint32_t i = 0; i < LOOP_BYTES; i++) {
        out8(UART_MODEM, MODEM_LOOP | MODEM_INTERRUPT);
        out8(COM2, (uint8_t)(i + 0x40));
        while (received == i) {
            wait_for_interrupt();
        }
        CHECK_EQUAL(last_received, i + 0x40);
    }
    print("direct: %u bytes came back by interrupts\n", received);
}

#define FRAMEBUFFER 0xf0000000u
#define FRAMEBUFFER_WORDS 0x40000u
#define COLOUR 0x00336699u

static void test_framebuffer(void)
{
    for (uint32_t i = 0; i < FRAMEBUFFER_WORDS; i++) {
        mmio_write32(FRAMEBUFFER + 4 * i, COLOUR);
    }
    for (uint32_t i = 0; i < FRAMEBUFFER_WORDS; i += 4093) {
        CHECK_EQUAL(mmio_read32(FRAMEBUFFER + 4 * i), COLOUR);
    }
    print("direct: drawn\n");
}

/* QEMU, docs/specs/standard-vga.txt: the registers of the Bochs display interface, 16 bits each. */
#define DISPLAY 0xf8000000u
#define DISPLAY_ID (DISPLAY + 0x500)
#define DISPLAY_ID_NEWEST 0xb0c5
#define DISPLAY_X_OFFSET (DISPLAY + 0x500 + 2 * 8)

static uint16_t mmio_read16(uint32_t address)
{
    return *(volatile uint16_t *)(uintptr_t)address;
}

static void test_mmio(void)
{
    CHECK_EQUAL(mmio_read16(DISPLAY_ID), DISPLAY_ID_NEWEST);
    *(volatile uint16_t *)(uintptr_t)DISPLAY_X_OFFSET = 8;
    CHECK_EQUAL(mmio_read16(DISPLAY_X_OFFSET), 8);
    *(volatile uint16_t *)(uintptr_t)DISPLAY_X_OFFSET = 0;
    print("direct: the display's registers answer\n");
}

/* With its interrupt on and a byte in the UART. */
static void crash(void)
{
    static const struct table_pointer nothing;

    out8(UART_ENABLE, ENABLE_RECEIVE | ENABLE_SEND);
    out8(COM2, 'x');
    __asm__ volatile("lidt %0; int3" : : "m"(nothing));
}

void guest_main(void)
{
    if (asks_for("parallel")) {
        test_parallel();
    }
    if (asks_for("com2")) {
        test_com2();
        test_loop();
    }
    if (asks_for("framebuffer")) {
        test_framebuffer();
    }
    if (asks_for("mmio")) {
        test_mmio();
    }
    if (asks_for("crash")) {
        crash();
    }
}
