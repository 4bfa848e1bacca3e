/* SPDX-License-Identifier: MIT */
/* The 8254 through the 8259: interrupts while halted, rate and one-shot modes, masking, read-back, EOI, spurious
 * IRR. */
#include "tests/guests/lib/guest.h"

const char guest_name[] = "pic-timer";

#define TIMER_VECTOR 0x20
#define PIC1 0x20
#define COUNT_10_MS 11932u

static volatile uint32_t ticks;
static bool send_eoi = true;

static void on_timer(struct trap_frame *frame)
{
    (void)frame;
    ticks++;
    if (send_eoi) {
        pic_eoi(0);
    }
}

static void program(uint8_t command, uint32_t count)
{
    out8(0x43, command);
    out8(0x40, (uint8_t)count);
    out8(0x40, (uint8_t)(count >> 8));
}

static uint32_t latched(void)
{
    uint32_t low;

    out8(0x43, 0x00);
    low = in8(0x40);
    return low | (uint32_t)in8(0x40) << 8;
}

static void wait_ticks(uint32_t count)
{
    ticks = 0;
    while (ticks < count) {
        wait_for_interrupt();
    }
}

static void the_rate_generator_wakes_a_halted_cpu(void)
{
    uint32_t khz = tsc_khz(), ms;
    uint64_t start;

    program(0x34, COUNT_10_MS);
    pic_mask(0xfffe);
    wait_ticks(1);
    start = rdtsc();
    wait_ticks(10);
    ms = (uint32_t)(rdtsc() - start) / khz;
    print("  10 periods of 10 ms took %u ms\n", ms);
    CHECK(ms >= 80 && ms <= 1000);
}

static void a_latched_count_stands_still_and_the_next_has_moved(void)
{
    uint32_t first = latched(), moved = 0;

    CHECK(first <= COUNT_10_MS);
    for (uint32_t i = 0; i < 1000 && moved == 0; i++) {
        moved = latched() != first;
    }
    CHECK(moved);
}

static void a_mask_holds_the_interrupt_and_unmasking_delivers_it(void)
{
    pic_mask(0xffff);
    ticks = 0;
    interrupts_on();
    pit_wait_us(40000);
    interrupts_off();
    CHECK_EQUAL(ticks, 0);
    pic_mask(0xfffe);
    wait_ticks(2);
}

static void without_eoi_nothing_follows(void)
{
    send_eoi = false;
    wait_ticks(1);
    out8(PIC1, 0x0b); /* read the in-service register next */
    CHECK_EQUAL(in8(PIC1) & 1, 1);
    interrupts_on();
    pit_wait_us(40000);
    interrupts_off();
    CHECK_EQUAL(ticks, 1);
    send_eoi = true;
    pic_eoi(0);
    wait_ticks(2);
}

/* ICW1 to ICW4 of the master, with AEOI in the last; no access to a device follows a tick. */
static void with_automatic_eoi_tick_follows_tick(void)
{
    out8(PIC1, 0x11);
    out8(PIC1 + 1, TIMER_VECTOR);
    out8(PIC1 + 1, 4);
    out8(PIC1 + 1, 3);
    pic_mask(0xfffe);
    send_eoi = false;
    program(0x34, COUNT_10_MS);
    wait_ticks(4);
    send_eoi = true;
    pic_init();
    pic_mask(0xfffe);
}

static void a_one_shot_fires_once(void)
{
    program(0x30, COUNT_10_MS);
    wait_ticks(1);
    ticks = 0;
    interrupts_on();
    pit_wait_us(40000);
    interrupts_off();
    CHECK_EQUAL(ticks, 0);
}

void guest_main(void)
{
    pic_init();
    trap_set(TIMER_VECTOR, on_timer);
    the_rate_generator_wakes_a_halted_cpu();
    a_latched_count_stands_still_and_the_next_has_moved();
    a_mask_holds_the_interrupt_and_unmasking_delivers_it();
    without_eoi_nothing_follows();
    with_automatic_eoi_tick_follows_tick();
    a_one_shot_fires_once();
}
