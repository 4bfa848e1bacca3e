/* SPDX-License-Identifier: MIT */
/*
 * A guest whose life the operator has in hand: it says that it is ready, and answers each byte that is typed to it.
 * When its power button is pressed it switches itself off, as a system does that shuts down.
 *
 * Command line: `deaf`, and it does not listen to the power button; `panic`, and it tells pvpanic that it panicked;
 * `crash-kernel`, and it tells that a kernel for crashes begins, and resets itself; `reset`, and it resets itself once
 * a byte was typed, in the middle of a line; `com2`, and it says so on its second serial port.
 */
#include "tests/guests/lib/start_info.h"

const char guest_name[] = "life";

#define PM1_STATUS 0x600
#define PM1_ENABLE 0x602
#define PM1_CONTROL 0x604
#define POWER_BUTTON 0x0100u
#define SLEEP_ENABLE 0x2000u /* S5 has type 0 */
#define PVPANIC 0x505
#define PVPANIC_EVENTS 0x03
#define PANICKED 0x01
#define CRASH_LOADED 0x02
#define RESET_PORT 0xcf9
#define RESET_FULL 0x06
#define UART_STATUS 0x3fd
#define UART_HAS_BYTE 1u
#define UART_SENDS 0x20u
#define COM2 0x2f8
#define COM2_IRQ 3
#define PIC_VECTOR 0x20

static volatile uint32_t com2_interrupts;

static void on_com2(struct trap_frame *frame)
{
    (void)frame;
    (void)in8(COM2 + 2);
    com2_interrupts++;
    pic_eoi(COM2_IRQ);
}

static bool asks_for(const char *word)
{
    const struct start_info *info = start_info();

    return info != NULL && start_info_argument(info, word) != NULL;
}

static bool has_byte(void)
{
    return (in8(UART_STATUS) & UART_HAS_BYTE) != 0;
}

static void take_byte(void)
{
    (void)in8(COM1);
    print("awake\n");
}

static void wait_for_button(void)
{
    while ((in16(PM1_STATUS) & POWER_BUTTON) == 0) {
        if (has_byte()) {
            take_byte();
        }
    }
    print("the power button was pressed\n");
    out16(PM1_STATUS, POWER_BUTTON);
    CHECK_EQUAL(in16(PM1_STATUS) & POWER_BUTTON, 0);
    out16(PM1_CONTROL, SLEEP_ENABLE);
}

static void wait_for_byte(void)
{
    while (!has_byte()) {
        __asm__ volatile("pause");
    }
    take_byte();
}

/* A line, and the beginning of one. The transmitter's interrupt is IRQ 3. */
static void use_com2(void)
{
    static const char text[] = "on the second port\nand a rest";

    for (uint32_t i = 0; i + 1 < sizeof(text); i++) {
        while ((in8(COM2 + 5) & UART_SENDS) == 0) {
            __asm__ volatile("pause");
        }
        out8(COM2, (uint8_t)text[i]);
    }
    pic_init();
    trap_set(PIC_VECTOR + COM2_IRQ, on_com2);
    out8(COM2 + 4, 8);
    out8(COM2 + 1, 2);
    pic_mask((uint16_t) ~(1u << COM2_IRQ));
    while (com2_interrupts == 0) {
        wait_for_interrupt();
    }
    pic_mask(0xffff);
}

void guest_main(void)
{
    if (asks_for("com2")) {
        use_com2();
    }
    CHECK_EQUAL(in8(PVPANIC), PVPANIC_EVENTS);
    out16(PM1_ENABLE, POWER_BUTTON);
    print("ready\n");
    if (asks_for("panic")) {
        print("panic: a test\n");
        out8(PVPANIC, PANICKED);
    } else if (asks_for("crash-kernel")) {
        out8(PVPANIC, CRASH_LOADED);
        print("the crash kernel has saved a dump\n");
        out8(RESET_PORT, RESET_FULL);
    } else if (asks_for("reset")) {
        wait_for_byte();
        print("half a line");
        out8(RESET_PORT, RESET_FULL);
    } else if (!asks_for("deaf")) {
        wait_for_button();
    }
    for (;;) {
        wait_for_byte();
    }
}
