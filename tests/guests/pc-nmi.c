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
#define UD 6
#define SENT_WHILE_MASKED 10
#define MANY 1000u
#define NMIS_IN_SHADOWS 30u

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

/* The manual calls it invalid, and every CPU delivers it. SDM 3A 11.6.1, table 11-3. */
static void the_self_shorthand_sends_an_nmi(void)
{
    reset(count_nmi);
    lapic_write(APIC_ICR_LOW, ICR_SELF | ICR_NMI | NMI);
    __asm__ volatile("nop; nop" : : : "memory");
    CHECK_EQUAL(nmis, 1);
}

static void many_nmis_are_as_many(void)
{
    reset(count_nmi);
    for (uint32_t i = 1; i <= MANY; i++) {
        lapic_write(APIC_ICR_LOW, ICR_SELF | ICR_NMI | NMI);
        __asm__ volatile("nop; nop" : : : "memory");
        CHECK_EQUAL(nmis, i);
    }
}

/* IRQ 0 through the I/O APIC, delivered as NMI, so many a second. */
static void begin_nmis_from_the_ioapic(uint32_t a_second)
{
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * 2 + 1);
    mmio_write32(IOAPIC_BASE + 0x10, lapic_read(APIC_ID));
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * 2);
    mmio_write32(IOAPIC_BASE + 0x10, 0x400 | NMI);
    out8(0x43, 0x34); /* the 8254, channel 0, mode 2 */
    out8(0x40, (uint8_t)(1193182 / a_second));
    out8(0x40, (uint8_t)(1193182 / a_second >> 8));
}

static void end_nmis_from_the_ioapic(void)
{
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * 2);
    mmio_write32(IOAPIC_BASE + 0x10, 0x10000);
}

/* It ends a HLT with interrupts off. None can be missed for good. */
static void an_nmi_from_the_ioapic_ends_a_halt(void)
{
    reset(count_nmi);
    begin_nmis_from_the_ioapic(50);
    __asm__ volatile("hlt" : : : "memory");
    CHECK(nmis != 0);
    end_nmis_from_the_ioapic();
}

static volatile uint32_t undefined;

static void skip_ud2(struct trap_frame *frame)
{
    undefined++;
    frame->ip += 2;
}

/* Each #UD is raised, also where an NMI waits for the end of the shadow. */
static void an_exception_in_the_shadow_of_sti_is_raised(void)
{
    uint32_t executed = 0;

    reset(count_nmi);
    trap_set(UD, skip_ud2);
    begin_nmis_from_the_ioapic(2000);
    while (nmis < NMIS_IN_SHADOWS) {
        __asm__ volatile("sti; ud2; cli" : : : "memory");
        executed++;
    }
    end_nmis_from_the_ioapic();
    CHECK_EQUAL(undefined, executed);
    trap_set(UD, NULL);
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
    the_self_shorthand_sends_an_nmi();
    many_nmis_are_as_many();
    an_nmi_from_the_ioapic_ends_a_halt();
    an_exception_in_the_shadow_of_sti_is_raised();
}
