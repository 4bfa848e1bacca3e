/* SPDX-License-Identifier: MIT */
/*
 * Periodic timers of a guest that shares its CPU: it is away for AWAY_MS, has the CPU for the next HERE_MS, and so on,
 * and takes each interrupt as it comes. What it missed while it was away is delivered; what it missed by itself is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/lapic_registers.h"
#include "hv/dev/platform.h"

#include <string.h>

#define HZ 1000000000ULL
#define MS 1000000ULL
#define AWAY_MS 10u
#define HERE_MS 10u
#define ROUNDS 50u
#define IOAPIC 0xfec00000ULL
#define HPET 0xfed00000ULL
#define VECTOR 0x50u
#define PIN_8254 2u
#define PIN_HPET 20u
#define PIT_1_KHZ 1193u

static struct clock clock_1ghz;
static struct platform platform;
static struct lapic_page page;
static struct lapic lapic;
static uint64_t now;
static uint32_t taken; /* interrupts */
static uint32_t handler_us;

static int setup(void **state)
{
    struct platform_config config = {
        .clock = &clock_1ghz, .wall_clock_ns = 1700000000ULL * HZ, .ram_low_bytes = 512 * MIB, .console = true};

    (void)state;
    now = 1000;
    taken = 0;
    handler_us = 5;
    clock_1ghz = clock_of(HZ);
    memset(&platform, 0, sizeof(platform));
    platform_reset(&platform, &config, now);
    memset(&lapic, 0, sizeof(lapic));
    lapic_init(&lapic, &page, 0, true, &clock_1ghz);
    lapic_virtual_wire(&lapic);
    return 0;
}

static void out_b(uint16_t port, uint8_t value)
{
    assert_true(platform_port_write(&platform, port, 1, value, now));
}

static uint8_t in_b(uint16_t port)
{
    uint32_t value;

    assert_true(platform_port_read(&platform, port, 1, now, &value));
    return (uint8_t)value;
}

static void mmio(uint64_t address, uint8_t size, uint64_t value)
{
    assert_true(platform_mmio_write(&platform, gpa(address), size, value, now));
}

static void route(unsigned pin, uint32_t low)
{
    mmio(IOAPIC, 4, 0x10 + 2 * pin);
    mmio(IOAPIC + 0x10, 4, low);
}

static void start_8254(uint16_t count)
{
    out_b(0x43, 0x34);
    out_b(0x40, (uint8_t)count);
    out_b(0x40, (uint8_t)(count >> 8));
}

static void start_8259(uint8_t mask)
{
    static const uint8_t words[] = {0x11, 0x20, 0x04, 0x01};

    out_b(0x20, words[0]);
    for (unsigned i = 1; i < 4; i++) {
        out_b(0x21, words[i]);
    }
    out_b(0x21, mask);
}

/* --- The hypervisor's part: hv/core does the same --- */

static void collect(void)
{
    struct apic_message message;

    while (platform_take_message(&platform, &message)) {
        if (!message.level && lapic_requests(&lapic, message.vector)) {
            platform_edge_merged(&platform, message.pin);
        }
        lapic_post(&lapic, message.vector, message.level);
    }
}

static void be_away(void)
{
    now += AWAY_MS * MS;
    lapic.ticks.counting = true;
    lapic_run_timer(&lapic, now);
    lapic.ticks.counting = false;
    platform_run_after_absence(&platform, now);
    collect();
    platform_absence_ends(&platform);
}

static void run_timers(void)
{
    lapic_run_timer(&lapic, now);
    platform_run_timers(&platform, now);
    collect();
}

/* --- The guest's --- */

static void handle_rtc(void)
{
    out_b(0x70, 0x0c);
    (void)in_b(0x71);
}

static void take_interrupts(void (*handler)(void))
{
    int vector = lapic_highest_deliverable(&lapic);
    uint8_t ended;

    if (vector >= 0) {
        lapic_accept(&lapic, (uint8_t)vector);
        taken++;
        now += handler_us * 1000;
        if (handler != NULL) {
            handler();
        }
        (void)lapic_end_of_interrupt(&lapic);
        while (lapic_take_eoi(&lapic, &ended)) {
            platform_eoi(&platform, ended, now);
            collect();
        }
    } else if (platform.extint) {
        (void)platform_acknowledge_extint(&platform);
        taken++;
        now += handler_us * 1000;
        out_b(0x20, 0x20);
    }
}

static void be_here(uint64_t end, void (*handler)(void))
{
    while (now < end) {
        uint64_t next;

        take_interrupts(handler);
        next = min_u64(platform_deadline(&platform), lapic.deadline);
        if (!lapic_has_request(&lapic) && !platform.extint) {
            now = max_u64(now, min_u64(next, end));
        }
        run_timers();
    }
}

/* Interrupts that were taken in ROUNDS rounds; half a slice more for what is still owed. */
static uint32_t share(void (*handler)(void))
{
    uint64_t start = now;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        be_away();
        be_here(now + HERE_MS * MS, handler);
    }
    assert_in_range((now - start) / MS, ROUNDS * (AWAY_MS + HERE_MS), ROUNDS * (AWAY_MS + HERE_MS) + 1);
    return taken;
}

#define ALL_MS (ROUNDS * (AWAY_MS + HERE_MS))

static void ticks_of_the_8254_by_the_8259(void **state)
{
    (void)state;
    start_8259(0xfe);
    start_8254(PIT_1_KHZ);
    assert_in_range(share(NULL), ALL_MS - 2, ALL_MS + 2);
}

static void ticks_of_the_8254_by_the_io_apic(void **state)
{
    (void)state;
    route(PIN_8254, VECTOR);
    start_8254(PIT_1_KHZ);
    assert_in_range(share(NULL), ALL_MS - 2, ALL_MS + 2);
}

/* A handler that needs longer than the gap between ticks that are made up for: none is merged with another. */
static void a_slow_handler_loses_none(void **state)
{
    (void)state;
    handler_us = 300;
    route(PIN_8254, VECTOR);
    start_8254(PIT_1_KHZ);
    assert_in_range(share(NULL), ALL_MS - 2, ALL_MS + 2);
}

static void ticks_of_the_rtc(void **state)
{
    (void)state;
    route(8, VECTOR);
    out_b(0x70, 0x0a);
    out_b(0x71, 0x26); /* 1024 Hz */
    out_b(0x70, 0x0b);
    out_b(0x71, 0x42);
    assert_in_range(share(handle_rtc), ALL_MS * 1024 / 1000 - 3, ALL_MS * 1024 / 1000 + 3);
}

static void start_hpet(uint64_t more)
{
    mmio(HPET + 0x10, 8, 1);
    mmio(HPET + 0x100, 8, 0x4c | (uint64_t)PIN_HPET << 9 | more);
    mmio(HPET + 0x108, 8, 14318);
    mmio(HPET + 0x108, 8, 14318);
}

static void clear_hpet(void)
{
    mmio(HPET + 0x20, 8, 1);
}

static void ticks_of_the_hpet(void **state)
{
    (void)state;
    route(PIN_HPET, VECTOR);
    start_hpet(0);
    assert_in_range(share(NULL), ALL_MS - 2, ALL_MS + 2);
}

static void ticks_of_the_hpet_by_levels(void **state)
{
    (void)state;
    route(PIN_HPET, VECTOR | 1u << 15);
    start_hpet(2);
    assert_in_range(share(clear_hpet), ALL_MS - 2, ALL_MS + 2);
}

static void start_apic_timer(uint32_t count)
{
    lapic_mmio_write(&lapic, LAPIC_TIMER_DIVIDE, 4, 0xb, now);
    lapic_mmio_write(&lapic, LAPIC_LVT_TIMER, 4, LAPIC_TIMER_PERIODIC | VECTOR, now);
    lapic_mmio_write(&lapic, LAPIC_TIMER_INITIAL, 4, count, now);
}

static void ticks_of_the_local_apic(void **state)
{
    (void)state;
    start_apic_timer(1000000);
    assert_in_range(share(NULL), ALL_MS - 2, ALL_MS + 2);
}

/* --- What is not owed --- */

/* Interrupts off for 20 periods while it has the CPU: one, as on a PC. */
static void what_the_guest_misses_by_itself_is_lost(void **state)
{
    (void)state;
    route(PIN_8254, VECTOR);
    start_8254(PIT_1_KHZ);
    start_apic_timer(1000000);
    lapic_mmio_write(&lapic, LAPIC_LVT_TIMER, 4, LAPIC_TIMER_PERIODIC | (VECTOR + 16), now);
    for (uint64_t end = now + 20 * MS; now < end; now += MS / 10) {
        run_timers();
    }
    take_interrupts(NULL);
    take_interrupts(NULL);
    take_interrupts(NULL);
    assert_int_equal(taken, 2); /* one of each timer */
    assert_int_equal(platform.pit.ticks.owed, 0);
    assert_int_equal(lapic.ticks.owed, 0);
}

static void no_more_are_owed_than_the_bound(void **state)
{
    (void)state;
    route(PIN_8254, VECTOR);
    route(PIN_HPET, VECTOR + 1);
    start_8254(100);
    start_hpet(0);
    start_apic_timer(50000);
    now += 3600 * HZ;
    be_away();
    assert_int_equal(platform.cmos.ticks.owed, 0); /* its interrupt is off */
    assert_int_equal(platform.pit.ticks.owed, TICKS_OWED_MAX);
    assert_int_equal(platform.hpet.timers[0].ticks.owed, TICKS_OWED_MAX);
    assert_int_equal(lapic.ticks.owed, TICKS_OWED_MAX);
}

/* A rate that is written anew, a timer that is stopped, a line that is masked: the old ticks are not asked for. */
static void what_was_owed_ends_with_its_timer(void **state)
{
    (void)state;
    route(PIN_8254, VECTOR);
    route(PIN_HPET, VECTOR + 1);
    start_8254(PIT_1_KHZ);
    start_hpet(0);
    start_apic_timer(1000000);
    be_away();
    assert_in_range(platform.pit.ticks.owed, 8, 10);
    assert_in_range(platform.hpet.timers[0].ticks.owed, 8, 10);
    assert_in_range(lapic.ticks.owed, 8, 10);
    route(PIN_8254, VECTOR | 1u << 16);
    mmio(HPET + 0x100, 8, 0x48);
    lapic_mmio_write(&lapic, LAPIC_TIMER_INITIAL, 4, 0, now);
    assert_int_equal(platform.pit.ticks.owed, 0);
    assert_int_equal(platform.hpet.timers[0].ticks.owed, 0);
    assert_int_equal(lapic.ticks.owed, 0);
    route(PIN_8254, VECTOR);
    be_away();
    assert_in_range(platform.pit.ticks.owed, 8, 10);
    start_8254(PIT_1_KHZ);
    assert_int_equal(platform.pit.ticks.owed, 0);
}

/* A count that asks for an interrupt each microsecond is served as often as ever, and nothing is owed for it. */
static void periods_too_short_to_serve_are_not_owed(void **state)
{
    (void)state;
    route(PIN_8254, VECTOR);
    route(PIN_HPET, VECTOR + 1);
    start_8254(2);
    mmio(HPET + 0x10, 8, 1);
    mmio(HPET + 0x100, 8, 0x4c | (uint64_t)PIN_HPET << 9);
    mmio(HPET + 0x108, 8, 14);
    mmio(HPET + 0x108, 8, 14);
    be_away();
    assert_int_equal(platform.pit.ticks.owed, 0);
    assert_int_equal(platform.hpet.timers[0].ticks.owed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ticks_of_the_8254_by_the_8259, setup),
        cmocka_unit_test_setup(ticks_of_the_8254_by_the_io_apic, setup),
        cmocka_unit_test_setup(a_slow_handler_loses_none, setup),
        cmocka_unit_test_setup(ticks_of_the_rtc, setup),
        cmocka_unit_test_setup(ticks_of_the_hpet, setup),
        cmocka_unit_test_setup(ticks_of_the_hpet_by_levels, setup),
        cmocka_unit_test_setup(ticks_of_the_local_apic, setup),
        cmocka_unit_test_setup(what_the_guest_misses_by_itself_is_lost, setup),
        cmocka_unit_test_setup(no_more_are_owed_than_the_bound, setup),
        cmocka_unit_test_setup(what_was_owed_ends_with_its_timer, setup),
        cmocka_unit_test_setup(periods_too_short_to_serve_are_not_owed, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
