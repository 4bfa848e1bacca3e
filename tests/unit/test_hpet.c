/* SPDX-License-Identifier: MIT */
/* The HPET: its counter, its comparators, its wires. Time is a TSC of 1 GHz that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/base/memory.h"
#include "hv/dev/hpet.h"

#include <string.h>

#define HZ 1000000000ULL
#define PERIOD_FS 69841279ULL
#define CONFIG 0x10u
#define STATUS 0x20u
#define COUNTER 0xf0u
#define TIMER(n) (0x100u + 0x20u * (n))
#define COMPARATOR(n) (TIMER(n) + 8u)
#define LEVEL 0x02u
#define ENABLE 0x04u
#define PERIODIC 0x08u
#define VALUE_SET 0x40u
#define BITS_32 0x100u
#define ROUTE(pin) ((uint64_t)(pin) << 9)

static struct clock clock_1ghz;
static struct hpet hpet;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    clock_1ghz = clock_of(HZ);
    now = 12345;
    memset(&hpet, 0xa5, sizeof(hpet));
    hpet_reset(&hpet, &clock_1ghz, now);
    return 0;
}

static uint64_t get(uint32_t at)
{
    hpet_run(&hpet, now);
    return hpet_read(&hpet, at, 8, now);
}

static void set(uint32_t at, uint64_t value)
{
    hpet_run(&hpet, now);
    hpet_write(&hpet, at, 8, value, now);
}

static uint32_t take_edges(void)
{
    uint32_t edges;

    hpet_run(&hpet, now);
    edges = hpet.edges;
    hpet.edges = 0;
    return edges;
}

/* The host's part: to the next deadline, never past `end`. Gives whether there was one. */
static bool sleep_until(uint64_t end)
{
    if (hpet.signals.deadline >= end) {
        now = end;
        return false;
    }
    now = max_u64(now, hpet.signals.deadline);
    return true;
}

static void the_counter_runs_at_its_rate_while_enabled_and_keeps_its_value_while_not(void **state)
{
    uint64_t before;

    (void)state;
    assert_int_equal(get(0) >> 32, PERIOD_FS);
    now += HZ;
    assert_int_equal(get(COUNTER), 0);
    set(CONFIG, 1);
    now += HZ;
    assert_in_range(get(COUNTER), HPET_HZ - 1, HPET_HZ);
    set(CONFIG, 0);
    before = get(COUNTER);
    now += HZ;
    assert_int_equal(get(COUNTER), before);
    set(COUNTER, 0x123456789abcdef0);
    assert_int_equal(hpet_read(&hpet, COUNTER, 4, now), 0x9abcdef0);
    assert_int_equal(hpet_read(&hpet, COUNTER + 4, 4, now), 0x12345678);
    set(CONFIG, 1);
    now += HZ / 1000;
    assert_in_range(get(COUNTER) - 0x123456789abcdef0, 14317, 14319);
}

static void a_one_shot_timer_fires_once_at_its_count(void **state)
{
    (void)state;
    set(TIMER(1), ENABLE | ROUTE(20));
    set(CONFIG, 1);
    set(COMPARATOR(1), 14318);
    assert_int_equal(take_edges(), 0);
    assert_true(sleep_until(now + HZ));
    assert_in_range(get(COUNTER), 14318, 14319);
    assert_int_equal(take_edges(), 2);
    assert_int_equal(hpet_pin(&hpet, 1), 20);
    assert_int_equal(get(STATUS), 0); /* edges leave no status */
    set(TIMER(1), ENABLE | ROUTE(20));
    assert_false(sleep_until(now + 100 * HZ));
    assert_int_equal(take_edges(), 0);
}

static void a_periodic_timer_keeps_its_rate_however_late_it_is_run(void **state)
{
    uint64_t start, fired = 0;

    (void)state;
    set(TIMER(0), ENABLE | PERIODIC | VALUE_SET | ROUTE(2));
    set(COMPARATOR(0), 14318); /* the first time */
    assert_int_equal(get(TIMER(0)) & VALUE_SET, 0);
    set(COMPARATOR(0), 28636); /* the period */
    assert_int_equal(get(COMPARATOR(0)), 14318);
    set(CONFIG, 1);
    start = now;
    while (sleep_until(start + HZ)) {
        fired += take_edges();
    }
    assert_in_range(fired, 499, 501);
    now += HZ / 2; /* not looked at: that is one interrupt */
    assert_int_equal(take_edges(), 1);
    assert_int_equal(take_edges(), 0);
    assert_in_range(get(COMPARATOR(0)) - get(COUNTER), 1, 28636);
    assert_int_equal((get(COMPARATOR(0)) - 14318) % 28636, 0);
}

static void a_period_that_is_too_short_asks_for_no_more_than_50000_a_second(void **state)
{
    uint64_t start, runs = 0;

    (void)state;
    set(TIMER(0), ENABLE | PERIODIC | VALUE_SET | ROUTE(2));
    set(COMPARATOR(0), 1);
    set(CONFIG, 1);
    start = now;
    while (sleep_until(start + HZ / 100)) {
        runs += take_edges();
    }
    assert_in_range(runs, 400, 501);
}

static void a_level_stays_until_its_status_is_cleared(void **state)
{
    (void)state;
    set(TIMER(2), ENABLE | LEVEL | ROUTE(23));
    set(CONFIG, 1);
    set(COMPARATOR(2), 1000);
    now += HZ;
    assert_int_equal(get(STATUS), 4);
    assert_int_equal(hpet_levels(&hpet), 4);
    set(TIMER(2), LEVEL | ROUTE(23)); /* not enabled: the status stays, the wire falls */
    assert_int_equal(hpet_levels(&hpet), 0);
    set(TIMER(2), ENABLE | LEVEL | ROUTE(23));
    assert_int_equal(hpet_levels(&hpet), 4);
    set(STATUS, 3);
    assert_int_equal(get(STATUS), 4);
    set(STATUS, 4);
    assert_int_equal(get(STATUS), 0);
    assert_int_equal(hpet_levels(&hpet), 0);
    assert_int_equal(take_edges(), 0);
}

static void a_timer_of_32_bits_comes_round(void **state)
{
    (void)state;
    set(TIMER(0), ENABLE | BITS_32 | ROUTE(16));
    set(COUNTER, 0x4ffffff00);
    set(COMPARATOR(0), 0x7000000010); /* the upper half does not count */
    assert_int_equal(get(COMPARATOR(0)), 0x10);
    set(CONFIG, 1);
    assert_int_equal(take_edges(), 0);
    assert_true(sleep_until(now + HZ));
    assert_in_range(get(COUNTER), 0x500000010, 0x500000011);
    assert_int_equal(take_edges(), 1);
    assert_true(sleep_until(now + 301 * HZ)); /* 2^32 counts later */
    assert_in_range(get(COUNTER), 0x600000010, 0x600000011);
    assert_int_equal(take_edges(), 1);
}

static void a_time_that_has_just_passed_fires_at_once_and_one_long_ago_does_not(void **state)
{
    (void)state;
    set(TIMER(0), ENABLE | ROUTE(2));
    set(CONFIG, 1);
    set(COUNTER, 1ULL << 40);
    set(COMPARATOR(0), (1ULL << 40) - 1000);
    assert_int_equal(take_edges(), 1);
    set(COMPARATOR(0), (1ULL << 40) - (1ULL << 32));
    assert_int_equal(take_edges(), 0);
    set(COUNTER, 0); /* the reset value of a comparator is no time that has passed */
    assert_int_equal(take_edges(), 0);
}

static void halves_of_a_register_are_written_alone(void **state)
{
    (void)state;
    hpet_write(&hpet, COMPARATOR(1), 4, 0x11223344, now);
    hpet_write(&hpet, COMPARATOR(1) + 4, 4, 0x55667788, now);
    assert_int_equal(get(COMPARATOR(1)), 0x5566778811223344);
    assert_int_equal(hpet_read(&hpet, COMPARATOR(1) + 3, 1, now), 0x11);
    hpet_write(&hpet, TIMER(1), 4, 0xffffffff, now);
    assert_int_equal(get(TIMER(1)) >> 32, HPET_PINS);
    assert_int_equal(get(TIMER(1)) >> 9 & 0x1f, 0); /* pin 31 is none of its own */
}

static void legacy_replacement_takes_irq_0_and_8(void **state)
{
    (void)state;
    set(TIMER(0), ENABLE | ROUTE(21));
    assert_int_equal(hpet_pin(&hpet, 0), 21);
    set(CONFIG, 3);
    assert_true(hpet_is_legacy(&hpet));
    assert_int_equal(hpet_pin(&hpet, 0), 2);
    assert_int_equal(hpet_pin(&hpet, 1), 8);
    set(TIMER(2), ROUTE(22));
    assert_int_equal(hpet_pin(&hpet, 2), 22);
    set(CONFIG, 1);
    assert_false(hpet_is_legacy(&hpet));
}

static void every_access_of_every_size_is_safe(void **state)
{
    (void)state;
    set(CONFIG, 1);
    for (uint32_t at = 0; at < HPET_BYTES; at++) {
        for (uint8_t size = 1; size <= 8; size = (uint8_t)(2 * size)) {
            now += 1000;
            hpet_write(&hpet, at, size, UINT64_MAX, now);
            hpet_run(&hpet, now);
            (void)hpet_read(&hpet, at, size, now);
        }
    }
    assert_int_equal(get(0) >> 32, PERIOD_FS);
    assert_int_equal(get(TIMER(3)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_counter_runs_at_its_rate_while_enabled_and_keeps_its_value_while_not, setup),
        cmocka_unit_test_setup(a_one_shot_timer_fires_once_at_its_count, setup),
        cmocka_unit_test_setup(a_periodic_timer_keeps_its_rate_however_late_it_is_run, setup),
        cmocka_unit_test_setup(a_period_that_is_too_short_asks_for_no_more_than_50000_a_second, setup),
        cmocka_unit_test_setup(a_level_stays_until_its_status_is_cleared, setup),
        cmocka_unit_test_setup(a_timer_of_32_bits_comes_round, setup),
        cmocka_unit_test_setup(a_time_that_has_just_passed_fires_at_once_and_one_long_ago_does_not, setup),
        cmocka_unit_test_setup(halves_of_a_register_are_written_alone, setup),
        cmocka_unit_test_setup(legacy_replacement_takes_irq_0_and_8, setup),
        cmocka_unit_test_setup(every_access_of_every_size_is_safe, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
