/* SPDX-License-Identifier: MIT */
/*
 * What kernels that are developed in QEMU take for granted of the 8259, the serial port and the 8254: the masks that
 * the firmware has left serve (Solo5's virtio target puts them back and opens inputs of the slave only), the serial
 * port interrupts whatever the modem control register says (xv6 clears it, Little Kernel never writes it), and a
 * software-triggered strobe wakes a halted CPU at each new count (Solo5).
 */
#include "tests/guests/lib/cmos.h"

const char guest_name[] = "pc-console";

#define PIC1 0x20
#define PIC2 0xa0
#define MASTER_VECTOR 0x20
#define SLAVE_VECTOR 0x28
#define TIMER_IRQ 0
#define COM1_IRQ 4
#define CLOCK_IRQ 8
#define COM1 0x3f8
#define UART_IER 1
#define UART_IIR 2
#define UART_MCR 4
#define IER_THRE 0x02
#define IIR_THRE 0x02
#define PIT_COMMAND_STROBE 0x38
#define COUNT_5_MS 5966u

static volatile uint32_t seen[16];

static void on_irq(struct trap_frame *frame)
{
    uint8_t irq = (uint8_t)(frame->vector - MASTER_VECTOR);

    seen[irq]++;
    if (irq == CLOCK_IRQ) {
        (void)cmos_read(RTC_C);
    }
    pic_eoi(irq);
}

/* Halts until this input has interrupted `times` more times. */
static void wait_for(uint8_t irq, uint32_t times)
{
    uint32_t until = seen[irq] + times;

    while (seen[irq] < until) {
        wait_for_interrupt();
    }
}

static void set_vectors(void)
{
    out8(PIC1, 0x11);
    out8(PIC2, 0x11);
    out8(PIC1 + 1, MASTER_VECTOR);
    out8(PIC2 + 1, SLAVE_VECTOR);
    out8(PIC1 + 1, 4);
    out8(PIC2 + 1, 2);
    out8(PIC1 + 1, 1);
    out8(PIC2 + 1, 1);
}

static void the_masks_that_the_firmware_left_serve(void)
{
    uint8_t master = in8(PIC1 + 1), slave = in8(PIC2 + 1);
    uint8_t rate = cmos_read(RTC_A), control = cmos_read(RTC_B);

    print("  masks 0x%x and 0x%x\n", master, slave);
    CHECK_EQUAL(master & 1u << 2, 0);
    set_vectors();
    out8(PIC1 + 1, master);
    out8(PIC2 + 1, slave);
    cmos_write(RTC_A, RTC_64_HZ);
    cmos_write(RTC_B, control | RTC_PIE);
    (void)cmos_read(RTC_C);
    out8(PIC2 + 1, (uint8_t)(in8(PIC2 + 1) & ~1u));
    wait_for(CLOCK_IRQ, 3);
    cmos_write(RTC_B, control);
    cmos_write(RTC_A, rate);
    (void)cmos_read(RTC_C);
}

static void the_serial_port_interrupts_whatever_its_modem_control_says(void)
{
    static const uint8_t outputs[] = {0x00, 0x03, 0x08};
    uint8_t found = in8(COM1 + UART_MCR);

    pic_mask((uint16_t) ~(1u << COM1_IRQ));
    for (unsigned i = 0; i < sizeof(outputs); i++) {
        out8(COM1 + UART_MCR, outputs[i]);
        out8(COM1 + UART_IER, IER_THRE);
        wait_for(COM1_IRQ, 1);
        CHECK_EQUAL(in8(COM1 + UART_IIR) & 0x0f, IIR_THRE);
        CHECK_EQUAL(in8(COM1 + UART_MCR), outputs[i]);
        out8(COM1 + UART_IER, 0);
    }
    out8(COM1 + UART_MCR, found);
}

static void each_new_count_of_a_strobe_wakes_the_cpu(void)
{
    pic_mask((uint16_t) ~(1u << TIMER_IRQ));
    out8(0x43, PIT_COMMAND_STROBE);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t before = seen[TIMER_IRQ];

        out8(0x40, (uint8_t)COUNT_5_MS);
        out8(0x40, (uint8_t)(COUNT_5_MS >> 8));
        wait_for(TIMER_IRQ, 1);
        CHECK_EQUAL(seen[TIMER_IRQ], before + 1);
    }
    pic_mask(0xffff);
}

void guest_main(void)
{
    for (uint8_t vector = MASTER_VECTOR; vector < SLAVE_VECTOR + 8; vector++) {
        trap_set(vector, on_irq);
    }
    the_masks_that_the_firmware_left_serve();
    the_serial_port_interrupts_whatever_its_modem_control_says();
    each_new_count_of_a_strobe_wakes_the_cpu();
}
