/* SPDX-License-Identifier: MIT */
/*
 * NMIs: at once with interrupts off, one at a time, the next one only after an IRET has run, and what they are not held
 * back by. SDM 3A 6.7 "Nonmaskable Interrupt (NMI)", 11.6.1 "Interrupt Command Register (ICR)".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-nmi";

#define APIC_ID 0x20
#define APIC_EOI 0xb0
#define APIC_ICR_LOW 0x300
#define APIC_ICR_HIGH 0x310
#define ICR_FIXED 0x4000u
#define ICR_NMI 0x4400u
#define ICR_SELF 0x40000u
#define NMI 2
#define VECTOR 0xfe
#define SENT_WHILE_MASKED 10

static volatile uint32_t nmis, interrupts, events;
static struct {
    uint8_t vector;
    const struct trap_frame *frame; /* its place: how deep the stack was */
} volatile seen[8];

static void note(const struct trap_frame *frame)
{
    if (events < sizeof(seen) / sizeof(seen[0])) {
        seen[events].vector = (uint8_t)frame->vector;
        seen[events].frame = frame;
    }
    events++;
}

static void reset(trap_handler on_nmi)
{
    nmis = interrupts = events = 0;
    trap_set(NMI, on_nmi);
}

static void send(uint32_t icr)
{
    lapic_write(APIC_ICR_HIGH, lapic_read(APIC_ID));
    lapic_write(APIC_ICR_LOW, icr);
}

static void wait_for(uint32_t count)
{
    while (nmis < count) {
        __asm__ volatile("pause");
    }
}

static void on_interrupt(struct trap_frame *frame)
{
    note(frame);
    interrupts++;
    lapic_write(APIC_EOI, 0);
}

static void count_nmi(struct trap_frame *frame)
{
    note(frame);
    nmis++;
}

static void an_nmi_comes_with_interrupts_off(void)
{
    reset(count_nmi);
    send(ICR_NMI);
    __asm__ volatile("nop; nop" : : : "memory");
    CHECK_EQUAL(nmis, 1);
}

static void send_another(struct trap_frame *frame)
{
    count_nmi(frame);
    if (nmis == 1) {
        for (uint32_t i = 0; i < SENT_WHILE_MASKED; i++) {
            send(ICR_NMI);
        }
        CHECK_EQUAL(nmis, 1); /* not here */
    }
}

/* One is remembered. It comes when the handler's stack is free again: after the IRET, not before it. */
static void a_second_nmi_waits_for_the_end_of_the_first(void)
{
    reset(send_another);
    send(ICR_NMI);
    wait_for(2);
    __asm__ volatile("nop; nop" : : : "memory");
    CHECK_EQUAL(nmis, 2);
    CHECK_EQUAL((uintptr_t)seen[1].frame, (uintptr_t)seen[0].frame);
}

static void open_interrupts(struct trap_frame *frame)
{
    count_nmi(frame);
    if (nmis == 1) {
        send(ICR_NMI);
        __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    }
}

/* A waiting NMI does not hold interrupts back, and any IRET ends the masking. */
static void an_interrupt_within_an_nmi_unmasks_the_next(void)
{
    reset(open_interrupts);
    send(ICR_FIXED | VECTOR);
    send(ICR_NMI);
    wait_for(2);
    CHECK_EQUAL(events, 3);
    CHECK_EQUAL(seen[0].vector, NMI);
    CHECK_EQUAL(seen[1].vector, VECTOR);
    CHECK_EQUAL(seen[2].vector, NMI);
    CHECK_EQUAL((uintptr_t)seen[2].frame, (uintptr_t)seen[1].frame); /* inside the first one */
}

static void an_nmi_and_an_interrupt_at_once_come_both(void)
{
    reset(count_nmi);
    send(ICR_FIXED | VECTOR);
    send(ICR_NMI);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(nmis, 1);
    CHECK_EQUAL(interrupts, 1);
}

static void the_self_shorthand_sends_no_nmi(void)
{
    reset(count_nmi);
    lapic_write(APIC_ICR_LOW, ICR_SELF | ICR_NMI | NMI);
    pit_wait_us(100);
    CHECK_EQUAL(nmis, 0);
}

/* IRQ 0 through the I/O APIC, delivered as NMI: it ends a HLT with interrupts off. 50 a second, so that none can be
 * missed for good. */
static void an_nmi_from_the_ioapic_ends_a_halt(void)
{
    reset(count_nmi);
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * 2 + 1);
    mmio_write32(IOAPIC_BASE + 0x10, lapic_read(APIC_ID));
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * 2);
    mmio_write32(IOAPIC_BASE + 0x10, 0x400 | NMI);
    out8(0x43, 0x34); /* the 8254, channel 0, mode 2 */
    out8(0x40, (uint8_t)(1193182 / 50));
    out8(0x40, (uint8_t)(1193182 / 50 >> 8));
    __asm__ volatile("hlt" : : : "memory");
    CHECK(nmis != 0);
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * 2);
    mmio_write32(IOAPIC_BASE + 0x10, 0x10000);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    trap_set(VECTOR, on_interrupt);
    an_nmi_comes_with_interrupts_off();
    a_second_nmi_waits_for_the_end_of_the_first();
    an_interrupt_within_an_nmi_unmasks_the_next();
    an_nmi_and_an_interrupt_at_once_come_both();
    if (!on_plain_tcg()) { /* whose APIC sends it */
        the_self_shorthand_sends_no_nmi();
    }
    an_nmi_from_the_ioapic_ends_a_halt();
}
