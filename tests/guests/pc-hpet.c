/* SPDX-License-Identifier: MIT */
/*
 * The HPET where every PC has it: its counter, a timer once and again and again through the I/O APIC, and in the place
 * of the 8254. IA-PC HPET Specification 1.0a, 2.3 "Memory Mapped Registers".
 */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pc-hpet";

#define HPET 0xfed00000u
#define PERIOD 0x004
#define CONFIG 0x010
#define STATUS 0x020
#define COUNTER 0x0f0
#define TIMER0 0x100
#define ROUTES 0x104
#define COMPARATOR0 0x108
#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u
#define LEVEL 0x02u
#define ENABLE 0x04u
#define PERIODIC 0x08u
#define VALUE_SET 0x40u
#define BITS_32 0x100u
#define ROUTE(pin) ((uint32_t)(pin) << 9)
#define PERIOD_MAX_FS 100000000u
#define APIC_EOI 0xb0
#define APIC_LINT0 0x350
#define EXTINT 0x700u
#define PIN 20
#define PIN_VECTOR 0x60
#define PIN_LEVEL 0x8000u
#define PIC_VECTOR 0x20
#define WAITS_MAX 2000u

static volatile uint32_t interrupts;

static uint32_t get(uint32_t at)
{
    return mmio_read32(HPET + at);
}

static void set(uint32_t at, uint32_t value)
{
    mmio_write32(HPET + at, value);
}

static void on_pin(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    lapic_write(APIC_EOI, 0);
}

static void on_irq0(struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    pic_eoi(0);
}

static uint32_t ticks_per_ms(void)
{
    return (uint32_t)(1000000000u / (get(PERIOD) / 1000));
}

/* However long it takes: others may have the CPU. */
static void wait_for(uint32_t count)
{
    interrupts_on();
    for (uint32_t i = 0; i < WAITS_MAX && interrupts < count; i++) {
        pit_wait_us(1000);
    }
    interrupts_off();
    CHECK(interrupts >= count);
}

static void it_says_how_fast_it_counts_and_counts_so(void)
{
    uint32_t before;

    print("  %u fs, %u a millisecond\n", get(PERIOD), ticks_per_ms());
    CHECK(get(PERIOD) > 0 && get(PERIOD) <= PERIOD_MAX_FS);
    CHECK((get(0) >> 8 & 0x1f) >= 2);
    set(CONFIG, 0);
    set(COUNTER, 0x1000);
    set(COUNTER + 4, 0);
    pit_wait_us(1000);
    CHECK_EQUAL(get(COUNTER), 0x1000);
    set(CONFIG, CONFIG_ENABLE);
    before = get(COUNTER);
    pit_wait_us(10000);
    CHECK(get(COUNTER) - before >= 9 * ticks_per_ms());
}

static void set_pin(uint32_t low)
{
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * PIN + 1);
    mmio_write32(IOAPIC_BASE + 0x10, 0);
    mmio_write32(IOAPIC_BASE, 0x10 + 2 * PIN);
    mmio_write32(IOAPIC_BASE + 0x10, low);
}

/* QEMU's HPET takes half of the counts for passed, so the timer is far away while it is switched on. */
static void start_once(uint32_t route)
{
    set(TIMER0, BITS_32 | route);
    set(COMPARATOR0, get(COUNTER) + 0x40000000);
    set(TIMER0, ENABLE | BITS_32 | route);
    set(COMPARATOR0, get(COUNTER) + ticks_per_ms());
}

static void a_timer_fires_once(void)
{
    CHECK((get(ROUTES) >> PIN & 1) != 0);
    set_pin(PIN_VECTOR);
    interrupts = 0;
    start_once(ROUTE(PIN));
    wait_for(1);
    interrupts_on();
    pit_wait_us(5000);
    interrupts_off();
    CHECK_EQUAL(interrupts, 1);
}

static void a_timer_fires_again_and_again(void)
{
    interrupts = 0;
    set(TIMER0, ENABLE | BITS_32 | PERIODIC | VALUE_SET | ROUTE(PIN));
    set(COMPARATOR0, get(COUNTER) + ticks_per_ms());
    set(COMPARATOR0, ticks_per_ms());
    wait_for(5);
    set(TIMER0, 0);
    set_pin(0x10000);
}

/* The level stays until its status is cleared, and is no reason that the program stands still. */
static void a_level_that_is_not_cleared_lets_the_program_go_on(void)
{
    set_pin(PIN_LEVEL | PIN_VECTOR);
    interrupts = 0;
    start_once(LEVEL | ROUTE(PIN));
    wait_for(2);
    interrupts_on();
    pit_wait_us(1000);
    interrupts_off();
    CHECK_EQUAL(get(STATUS) & 1, 1);
    set(TIMER0, 0);
    set(STATUS, 1);
    interrupts_on(); /* for one that was on its way */
    pit_wait_us(1000);
    interrupts = 0;
    pit_wait_us(1000);
    interrupts_off();
    CHECK_EQUAL(interrupts, 0);
    set_pin(0x10000);
}

/* Nothing else interrupts on IRQ 0 then: the 8254, left running, has lost it. */
static void it_takes_the_place_of_the_8254(void)
{
    uint32_t count = 1193;

    set(CONFIG, CONFIG_ENABLE | CONFIG_LEGACY);
    out8(0x43, 0x34);
    out8(0x40, (uint8_t)count);
    out8(0x40, (uint8_t)(count >> 8));
    lapic_write(APIC_LINT0, EXTINT);
    pic_init();
    pic_mask((uint16_t)~1u);
    interrupts_on();
    pit_wait_us(2000); /* a last edge of the 8254 may be on its way */
    interrupts = 0;
    pit_wait_us(5000);
    interrupts_off();
    CHECK_EQUAL(interrupts, 0);
    start_once(0);
    wait_for(1);
    CHECK_EQUAL(interrupts, 1);
    set(TIMER0, 0);
    set(CONFIG, CONFIG_ENABLE);
    wait_for(3); /* the 8254 again */
    pic_mask(0xffff);
}

void guest_main(void)
{
    pic_init();
    lapic_init();
    trap_set(PIN_VECTOR, on_pin);
    trap_set(PIC_VECTOR, on_irq0);
    it_says_how_fast_it_counts_and_counts_so();
    a_timer_fires_once();
    a_timer_fires_again_and_again();
    a_level_that_is_not_cleared_lets_the_program_go_on();
    it_takes_the_place_of_the_8254();
}
