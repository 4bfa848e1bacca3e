/* SPDX-License-Identifier: MIT */
/*
 * A guest that shares its CPU and counts ticks of each periodic timer that a PC has: after PHASE_MS there are as many
 * as periods have passed, however often others had the CPU. Those that are still owed then come within LATER_MS.
 *
 * At the end it halts until a byte is typed, so that its slices stay its own. For a machine whose time is instructions:
 * when the host of an emulator stands still, ticks are lost that no guest was away for.
 */
#include "tests/guests/lib/cmos.h"

const char guest_name[] = "ticks";

#define PHASE_MS 250u
#define LATER_MS 100u
#define SLACK 3u

#define VECTOR 0x60
#define PIC_VECTOR 0x20
#define RTC_IRQ 8
#define UART_IRQ 4
#define UART 0x3f8
#define APIC_EOI 0xb0
#define APIC_LINT0 0x350
#define APIC_LVT_TIMER 0x320
#define APIC_INITIAL 0x380
#define APIC_CURRENT 0x390
#define APIC_DIVIDE 0x3e0
#define APIC_BY_1 0xb
#define APIC_PERIODIC 0x20000u
#define APIC_MASKED 0x10000u
#define EXTINT 0x700u
#define HPET 0xfed00000u
#define HPET_CONFIG 0x10u
#define HPET_COUNTER 0xf0u
#define HPET_TIMER 0x100u
#define HPET_COMPARATOR 0x108u
#define HPET_PERIODIC 0x14cu /* 32 bits, the comparator is set, periodic, enabled */
#define HPET_PERIOD_1_MS 14318u
#define SAME_MOMENT 100000u /* ticks of the TSC: less than a slice, more than an exit */
#define MEASURE_MS 50u
#define HPET_PIN 20u
#define IOAPIC 0xfec00000u
#define PIT_PERIOD_1_MS 1193u

static volatile uint32_t ticks;
static volatile bool typed;
static uint32_t khz;

static void on_message(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    lapic_write(APIC_EOI, 0);
}

static void on_8254(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    pic_eoi(0);
}

static void on_rtc(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    (void)cmos_read(RTC_C);
    pic_eoi(RTC_IRQ);
}

static void on_byte(struct trap_frame *frame)
{
    (void)frame;
    (void)in8(UART);
    pic_eoi(UART_IRQ);
    typed = true;
}

/* The HPET's counter and the TSC of the same moment: no other guest had the CPU between the two. */
static uint32_t hpet_count(uint64_t *tsc)
{
    uint64_t before;
    uint32_t count;

    do {
        before = rdtsc();
        count = mmio_read32(HPET + HPET_COUNTER);
        *tsc = rdtsc();
    } while (*tsc - before > SAME_MOMENT);
    return count;
}

static uint32_t measure_khz(void)
{
    uint64_t start, end;
    uint32_t first, last;

    mmio_write32(HPET + HPET_CONFIG, 1);
    first = hpet_count(&start);
    do {
        last = hpet_count(&end);
    } while (last - first < MEASURE_MS * HPET_PERIOD_1_MS);
    return (uint32_t)((end - start) * HPET_PERIOD_1_MS / (last - first));
}

static uint32_t ms_since(uint64_t start)
{
    return (uint32_t)((rdtsc() - start) / khz);
}

/* `hz`: of the timer that has just been started. */
static void count_ticks(const char *name, uint32_t hz)
{
    uint64_t start = rdtsc();
    uint64_t last = start, away = 0;
    uint32_t wanted, at_end, most;

    ticks = 0;
    interrupts_on();
    while (ms_since(start) < PHASE_MS) {
        uint64_t now = rdtsc();

        away += now - last > khz ? now - last : 0;
        last = now;
    }
    wanted = (uint32_t)((rdtsc() - start) * hz / (1000ULL * khz)) - SLACK;
    at_end = ticks;
    while (ticks < wanted && ms_since(start) < PHASE_MS + LATER_MS) {
        __asm__ volatile("pause");
    }
    interrupts_off();
    most = (uint32_t)((rdtsc() - start) * hz / (1000ULL * khz)) + SLACK;
    print("  %s: %u ticks in %u ms, %u later; away for %u ms\n", name, at_end, PHASE_MS, ticks - at_end,
          (uint32_t)(away / khz));
    CHECK(ticks >= wanted);
    CHECK(ticks <= most);
}

static void the_8254_by_the_8259(void)
{
    lapic_write(APIC_LINT0, EXTINT);
    pic_mask(0xfffe);
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)PIT_PERIOD_1_MS);
    out8(0x40, PIT_PERIOD_1_MS >> 8);
    count_ticks("8254", 1000);
    pic_mask(0xffff);
}

static void the_rtc(void)
{
    pic_mask(0xfefb);
    cmos_write(RTC_A, RTC_1024_HZ);
    cmos_write(RTC_B, RTC_PIE | RTC_24_HOURS);
    count_ticks("RTC", 1024);
    cmos_write(RTC_B, RTC_24_HOURS);
    pic_mask(0xffff);
    lapic_write(APIC_LINT0, APIC_MASKED);
}

static void set_pin(uint32_t low)
{
    mmio_write32(IOAPIC, 0x10 + 2 * HPET_PIN + 1);
    mmio_write32(IOAPIC + 0x10, 0);
    mmio_write32(IOAPIC, 0x10 + 2 * HPET_PIN);
    mmio_write32(IOAPIC + 0x10, low);
}

static void the_hpet_by_the_io_apic(void)
{
    set_pin(VECTOR);
    mmio_write32(HPET + HPET_CONFIG, 1);
    mmio_write32(HPET + HPET_TIMER, HPET_PERIODIC | HPET_PIN << 9);
    mmio_write32(HPET + HPET_COMPARATOR, mmio_read32(HPET + HPET_COUNTER) + HPET_PERIOD_1_MS);
    mmio_write32(HPET + HPET_COMPARATOR, HPET_PERIOD_1_MS);
    count_ticks("HPET", 1000);
    mmio_write32(HPET + HPET_TIMER, 0);
    set_pin(APIC_MASKED);
}

/* Counts of a millisecond, by the TSC. As in hpet_count() each pair is of one moment. */
static uint32_t apic_period(void)
{
    uint64_t before, start, end;
    uint32_t left;

    do {
        before = rdtsc();
        lapic_write(APIC_INITIAL, 0xffffffffu);
        start = rdtsc();
    } while (start - before > SAME_MOMENT);
    do {
        before = rdtsc();
        left = lapic_read(APIC_CURRENT);
        end = rdtsc();
    } while (end - before > SAME_MOMENT || end - start < (uint64_t)khz * MEASURE_MS);
    return (uint32_t)((uint64_t)(0xffffffffu - left) * khz / (end - start));
}

static void the_local_apic(void)
{
    lapic_write(APIC_DIVIDE, APIC_BY_1);
    lapic_write(APIC_LVT_TIMER, APIC_MASKED);
    lapic_write(APIC_INITIAL, apic_period());
    lapic_write(APIC_LVT_TIMER, APIC_PERIODIC | VECTOR);
    count_ticks("local APIC", 1000);
    lapic_write(APIC_LVT_TIMER, APIC_MASKED);
}

static void halt_until_a_byte_comes(void)
{
    lapic_write(APIC_LINT0, EXTINT);
    out8(UART + 1, 1);
    out8(UART + 4, 8);
    print("halts until a key is typed\n");
    pic_mask((uint16_t) ~(1u << UART_IRQ));
    while (!typed) {
        wait_for_interrupt();
    }
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    khz = measure_khz();
    trap_set(VECTOR, on_message);
    trap_set(PIC_VECTOR, on_8254);
    trap_set(PIC_VECTOR + RTC_IRQ, on_rtc);
    trap_set(PIC_VECTOR + UART_IRQ, on_byte);
    the_8254_by_the_8259();
    the_rtc();
    the_hpet_by_the_io_apic();
    the_local_apic();
    halt_until_a_byte_comes();
}
