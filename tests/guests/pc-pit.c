/* SPDX-License-Identifier: MIT */
/*
 * The ways from the 8254 to the CPU: the 8259 through LINT0 as ExtINT, as a fixed vector and as NMI; through the I/O
 * APIC's pin 0 as ExtINT; past the 8259 through pin 2; and with the local APIC off. The RTC's second way, the SCI.
 * MP Specification 1.4, 3.6.2 "Interrupt Modes"; SDM 3A 11.5.1.
 */
#include "tests/guests/lib/cmos.h"

const char guest_name[] = "pc-pit";

#define IA32_APIC_BASE 0x1b
#define APIC_ENABLE 0x800u
#define APIC_ID 0x20
#define APIC_EOI 0xb0
#define APIC_SVR 0xf0
#define APIC_LINT0 0x350
#define MASKED 0x10000u
#define EXTINT 0x700u
#define NMI_MODE 0x400u
#define NMI 2
#define PIC_VECTOR 0x20
#define LINT_VECTOR 0x41
#define PIN_VECTOR 0x42
#define PIN_8259 0
#define PIN_TIMER 2
#define TICKS 1193 /* a millisecond */
#define SCI 9
#define SCI_VECTOR 0x29
#define PM1_STATUS 0x600
#define PM1_ENABLE 0x602
#define PM1_RTC 0x400u

static volatile uint32_t seen[256];

static void on_interrupt(struct trap_frame *frame)
{
    seen[frame->vector]++;
}

static void set_pin(uint32_t pin, uint32_t low)
{
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * pin + 1);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * pin);
    mmio_write32(IOAPIC_BASE + 0x10, low);
}

static void start_timer(void)
{
    out8(0x43, 0x30); /* channel 0, mode 0: once */
    out8(0x40, (uint8_t)TICKS);
    out8(0x40, (uint8_t)(TICKS >> 8));
}

/* Exactly one interrupt, with this vector. */
static void expect(const char *what, uint8_t vector)
{
    uint32_t all = 0;

    for (uint32_t i = 0; i < 256; i++) {
        seen[i] = 0;
    }
    start_timer();
    interrupts_on();
    for (uint32_t i = 0; i < 50 && seen[vector] == 0; i++) {
        pit_wait_us(1000);
    }
    pit_wait_us(2000);
    interrupts_off();
    for (uint32_t i = 0; i < 256; i++) {
        all += seen[i];
    }
    if (seen[vector] != 1 || all != 1) {
        guest_fail("%s: vector %u came %u times, all %u", what, (uint32_t)vector, seen[vector], all);
    }
}

/* Takes what waits in the 8259, so that its line is low. */
static void drain(void)
{
    lapic_write(APIC_LINT0, EXTINT);
    pic_mask(0xfffe);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    pic_eoi(0);
    lapic_write(APIC_LINT0, MASKED);
}

/* A kernel that has suspended itself sleeps with IRQ 8 masked until the RTC makes an SCI. ACPI 6.5, 4.8.2.4. */
static void the_rtc_wakes_by_the_sci(void)
{
    trap_set(SCI_VECTOR, on_interrupt);
    lapic_write(APIC_LINT0, EXTINT);
    pic_mask(0xfdfb);
    cmos_write(RTC_A, RTC_1024_HZ);
    cmos_write(RTC_B, RTC_24_HOURS);
    (void)cmos_read(RTC_C); /* a line that is high already rises no more */
    out16(PM1_STATUS, PM1_RTC);
    out16(PM1_ENABLE, PM1_RTC);
    seen[SCI_VECTOR] = 0;
    cmos_write(RTC_B, RTC_PIE | RTC_24_HOURS);
    __asm__ volatile("sti; hlt; cli" : : : "memory");
    CHECK_EQUAL(seen[SCI_VECTOR], 1);
    CHECK_EQUAL(in16(PM1_STATUS) & PM1_RTC, PM1_RTC);
    out16(PM1_ENABLE, 0);
    out16(PM1_STATUS, PM1_RTC);
    pic_eoi(SCI);
    cmos_write(RTC_B, RTC_24_HOURS);
    (void)cmos_read(RTC_C);
}

void guest_main(void)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);

    pic_init();
    lapic_init();
    trap_set(NMI, on_interrupt);
    trap_set(PIC_VECTOR, on_interrupt);
    trap_set(LINT_VECTOR, on_interrupt);
    trap_set(PIN_VECTOR, on_interrupt);
    out8(0x43, 0x30); /* no count: the output stays low */
    set_pin(PIN_8259, MASKED);
    set_pin(PIN_TIMER, MASKED);
    drain();

    lapic_write(APIC_LINT0, EXTINT);
    expect("LINT0 as ExtINT", PIC_VECTOR);
    pic_eoi(0);
    drain();

    if (!on_plain_tcg()) { /* whose LINT0 knows ExtINT only, and whose pin 0 is not wired */
        lapic_write(APIC_LINT0, LINT_VECTOR);
        expect("LINT0 with a fixed vector", LINT_VECTOR);
        lapic_write(APIC_EOI, 0);
        drain();

        lapic_write(APIC_LINT0, NMI_MODE);
        expect("LINT0 as NMI", NMI);
        drain();

        set_pin(PIN_8259, EXTINT);
        expect("the I/O APIC's pin 0 as ExtINT", PIC_VECTOR);
        pic_eoi(0);
        set_pin(PIN_8259, MASKED);
        drain();
    }

    pic_mask(0xffff);
    set_pin(PIN_TIMER, PIN_VECTOR);
    expect("the I/O APIC's pin 2", PIN_VECTOR);
    lapic_write(APIC_EOI, 0);
    set_pin(PIN_TIMER, MASKED);

    if (!on_plain_tcg()) { /* whose APIC does not come back */
        pic_mask(0xfffe);
        wrmsr(IA32_APIC_BASE, base & ~(uint64_t)APIC_ENABLE);
        expect("with the local APIC off", PIC_VECTOR);
        pic_eoi(0);
        wrmsr(IA32_APIC_BASE, base);
        lapic_write(APIC_SVR, 0x1ff);
        the_rtc_wakes_by_the_sci();
    }
}
