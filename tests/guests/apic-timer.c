/* SPDX-License-Identifier: MIT */
/* The local APIC and its timer: one-shot, periodic, TSC-deadline where the CPU has it, priorities, self-IPI,
 * disable. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "apic-timer";

#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_EOI 0xb0
#define APIC_ISR 0x100
#define APIC_IRR 0x200
#define APIC_ICR_LOW 0x300
#define APIC_TIMER 0x320
#define APIC_INITIAL 0x380
#define APIC_CURRENT 0x390
#define APIC_DIVIDE 0x3e0
#define DIVIDE_BY_16 0x3
#define TIMER_PERIODIC 0x20000u
#define TIMER_DEADLINE 0x40000u
#define TIMER_MASKED 0x10000u
#define ICR_SELF 0x40000u
#define IA32_TSC_DEADLINE 0x6e0
#define IA32_APIC_BASE 0x1b
#define VECTOR 0x50
#define LOW_VECTOR 0x41

static volatile uint32_t ticks, low_ticks;
static bool send_eoi = true;

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    if (send_eoi) {
        lapic_write(APIC_EOI, 0);
    }
}

static void on_low(struct trap_frame *frame)
{
    (void)frame;
    low_ticks++;
    lapic_write(APIC_EOI, 0);
}

/* Ticks of the APIC's clock, divided by 16, in 10 ms. */
static uint32_t measure(void)
{
    lapic_write(APIC_DIVIDE, DIVIDE_BY_16);
    lapic_write(APIC_TIMER, TIMER_MASKED | VECTOR);
    lapic_write(APIC_INITIAL, 0xffffffffu);
    pit_wait_us(10000);
    return 0xffffffffu - lapic_read(APIC_CURRENT);
}

static void a_one_shot_fires_once_while_halted(uint32_t per_10_ms)
{
    ticks = 0;
    lapic_write(APIC_TIMER, VECTOR);
    lapic_write(APIC_INITIAL, per_10_ms);
    while (ticks == 0) {
        wait_for_interrupt();
    }
    CHECK_EQUAL(lapic_read(APIC_CURRENT), 0);
    interrupts_on();
    pit_wait_us(30000);
    interrupts_off();
    CHECK_EQUAL(ticks, 1);
}

static void a_periodic_timer_goes_on_at_its_rate(uint32_t per_10_ms)
{
    uint32_t khz = tsc_khz(), ms;
    uint64_t start;

    ticks = 0;
    lapic_write(APIC_TIMER, TIMER_PERIODIC | VECTOR);
    lapic_write(APIC_INITIAL, per_10_ms);
    start = rdtsc();
    while (ticks < 10) {
        wait_for_interrupt();
    }
    ms = (uint32_t)(rdtsc() - start) / khz;
    print("  10 periods of 10 ms took %u ms\n", ms);
    CHECK(ms >= 80 && ms <= 1000);
    lapic_write(APIC_INITIAL, 0);
    interrupts_on();
    pit_wait_us(10); /* one may have come between the last two lines */
    ticks = 0;
    pit_wait_us(30000);
    interrupts_off();
    CHECK_EQUAL(ticks, 0); /* an initial count of 0 stops it */
}

static void a_masked_timer_counts_but_does_not_interrupt(uint32_t per_10_ms)
{
    ticks = 0;
    lapic_write(APIC_TIMER, TIMER_MASKED | VECTOR);
    lapic_write(APIC_INITIAL, per_10_ms / 2);
    interrupts_on();
    pit_wait_us(20000);
    interrupts_off();
    CHECK_EQUAL(ticks, 0);
    CHECK_EQUAL(lapic_read(APIC_CURRENT), 0);
}

static void the_tsc_deadline_fires_and_disarms(void)
{
    uint32_t khz = tsc_khz();

    if ((cpuid(1, 0).ecx & (1u << 24)) == 0) {
        print("  this CPU has no TSC-deadline timer\n");
        return;
    }
    ticks = 0;
    lapic_write(APIC_TIMER, TIMER_DEADLINE | VECTOR);
    __asm__ volatile("mfence" : : : "memory");
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + khz * 10ull);
    while (ticks == 0) {
        wait_for_interrupt();
    }
    CHECK_EQUAL(rdmsr(IA32_TSC_DEADLINE), 0);
    wrmsr(IA32_TSC_DEADLINE, rdtsc() + khz * 10ull);
    wrmsr(IA32_TSC_DEADLINE, 0);
    interrupts_on();
    pit_wait_us(30000);
    interrupts_off();
    CHECK_EQUAL(ticks, 1);
    lapic_write(APIC_TIMER, TIMER_MASKED | VECTOR);
}

static void send_self(uint8_t vector)
{
    lapic_write(APIC_ICR_LOW, ICR_SELF | vector);
}

static uint32_t bit_of(uint32_t bank, uint8_t vector)
{
    return (lapic_read(bank + (vector / 32u) * 0x10u) >> (vector % 32u)) & 1u;
}

static void a_self_ipi_waits_in_irr_until_interrupts_are_on(void)
{
    ticks = 0;
    send_self(VECTOR);
    CHECK_EQUAL(bit_of(APIC_IRR, VECTOR), 1);
    CHECK_EQUAL(ticks, 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(ticks, 1);
    CHECK_EQUAL(bit_of(APIC_IRR, VECTOR), 0);
}

static void the_task_priority_holds_lower_vectors_back(void)
{
    ticks = 0;
    lapic_write(APIC_TPR, 0x50); /* class 5: vectors up to 0x5f wait */
    send_self(VECTOR);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(ticks, 0);
    lapic_write(APIC_TPR, 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(ticks, 1);
}

static void without_eoi_lower_vectors_wait(void)
{
    ticks = 0;
    low_ticks = 0;
    send_eoi = false;
    send_self(VECTOR);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(ticks, 1);
    CHECK_EQUAL(bit_of(APIC_ISR, VECTOR), 1);
    send_self(LOW_VECTOR);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(low_ticks, 0);
    lapic_write(APIC_EOI, 0);
    send_eoi = true;
    CHECK_EQUAL(bit_of(APIC_ISR, VECTOR), 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    CHECK_EQUAL(low_ticks, 1);
}

/* Kernels switch the APIC off and on again through its base MSR. */
static void the_apic_comes_back_after_a_disable(uint32_t per_10_ms)
{
    uint64_t base = rdmsr(IA32_APIC_BASE);

    if (on_plain_tcg()) {
        return; /* its APIC cannot come back */
    }
    CHECK_EQUAL(base & 0xfffff000u, LAPIC_BASE);
    CHECK_EQUAL(base & 0x800, 0x800);
    wrmsr(IA32_APIC_BASE, base & ~0x800ull);
    CHECK_EQUAL(cpuid(1, 0).edx & (1u << 9), 0);
    wrmsr(IA32_APIC_BASE, base);
    CHECK_EQUAL(cpuid(1, 0).edx & (1u << 9), 1u << 9);
    lapic_init();
    lapic_write(APIC_DIVIDE, DIVIDE_BY_16);
    a_one_shot_fires_once_while_halted(per_10_ms);
}

void guest_main(void)
{
    uint32_t per_10_ms;

    pic_init();
    lapic_init();
    trap_set(VECTOR, on_timer);
    trap_set(LOW_VECTOR, on_low);
    CHECK((lapic_read(APIC_VERSION) & 0xff) >= 0x10);
    per_10_ms = measure();
    print("  %u ticks of the APIC timer in 10 ms\n", per_10_ms);
    CHECK(per_10_ms > 100);
    a_one_shot_fires_once_while_halted(per_10_ms);
    a_periodic_timer_goes_on_at_its_rate(per_10_ms);
    a_masked_timer_counts_but_does_not_interrupt(per_10_ms);
    the_tsc_deadline_fires_and_disarms();
    a_self_ipi_waits_in_irr_until_interrupts_are_on();
    the_task_priority_holds_lower_vectors_back();
    without_eoi_lower_vectors_wait();
    the_apic_comes_back_after_a_disable(per_10_ms);
}
