/*
 * A guest that does nothing but spin, until a byte is typed to it: while it spins, its CPU has no reason to leave it.
 * The status that the hypervisor prints on a key tells how often that happened.
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "spin";

#define IRQ 4
#define VECTOR 0x24
#define UART 0x3f8
#define UART_INTERRUPTS 0x3f9
#define UART_MODEM 0x3fc
#define RECEIVED 1u
#define OUT2 8u

static volatile bool typed;

static void on_byte(struct trap_frame *frame)
{
    (void)frame;
    (void)in8(UART);
    pic_eoi(IRQ);
    typed = true;
}

void guest_main(void)
{
    uint64_t rounds = 0;

    pic_init();
    trap_set(VECTOR, on_byte);
    out8(UART_INTERRUPTS, RECEIVED);
    out8(UART_MODEM, OUT2);
    print("spins until a key is typed\n");
    pic_mask((uint16_t) ~(1u << IRQ));
    interrupts_on();
    while (!typed) {
        rounds++;
    }
    interrupts_off();
    CHECK(rounds != 0);
}
