/* SPDX-License-Identifier: MIT */
/* The 8254: modes, counts and latches, with the time in its own ticks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/dev/pit.h"

#define TSC_HZ 2893300000ULL /* nothing that divides evenly */

static struct clock test_clock;
static struct pit pit;

/* The host TSC at which `tick` is reached. */
static uint64_t at(uint64_t tick)
{
    return timebase_tsc(&pit.base, tick);
}

static int setup(void **state)
{
    (void)state;
    test_clock = clock_of(TSC_HZ);
    pit_reset(&pit, &test_clock, 777);
    return 0;
}

/* True once after each rising edge that the device has met. */
static bool take_edge(void)
{
    bool edge = (pit.signals.wants & BUS_EDGES) != 0;

    assert_int_equal(pit.signals.edges != 0, edge);
    pit.signals.wants = 0;
    pit.signals.edges = 0;
    return edge;
}

static void write_mode(unsigned channel, unsigned mode, uint64_t tick)
{
    pit_write(&pit, 3, (uint8_t)(channel << 6 | 0x30 | mode << 1), at(tick));
}

static void write_count(unsigned channel, uint16_t count, uint64_t tick)
{
    pit_write(&pit, channel, (uint8_t)count, at(tick));
    pit_write(&pit, channel, (uint8_t)(count >> 8), at(tick));
}

static void program(unsigned channel, unsigned mode, uint16_t count, uint64_t tick)
{
    write_mode(channel, mode, tick);
    write_count(channel, count, tick);
}

static uint16_t read_count(unsigned channel, uint64_t tick)
{
    uint8_t low = pit_read(&pit, channel, at(tick));

    return (uint16_t)(low | pit_read(&pit, channel, at(tick)) << 8);
}

static bool output(unsigned channel, uint64_t tick)
{
    return pit_output(&pit, channel, at(tick));
}

static void gate2(bool high, uint64_t tick)
{
    pit_port_b_write(&pit, high ? 1 : 0, at(tick));
}

static void the_timebase_counts_device_ticks_without_drift(void **state)
{
    const uint64_t day = 86400;

    (void)state;
    assert_in_range(timebase_ticks(&pit.base, 777 + TSC_HZ), PIT_HZ - 1, PIT_HZ);
    assert_in_range(timebase_ticks(&pit.base, 777 + 365 * day * TSC_HZ), 365 * day * PIT_HZ - 1, 365 * day * PIT_HZ);
    for (uint64_t tick = 1; tick < 1ULL << 50; tick = tick * 3 + 1) {
        assert_true(timebase_ticks(&pit.base, at(tick)) >= tick);
        assert_in_range(timebase_ticks(&pit.base, at(tick)), tick, tick + 1);
    }
    assert_true(timebase_tsc(&pit.base, DEADLINE_NONE) == DEADLINE_NONE);
}

static void firmware_leaves_channel_0_at_18_hz(void **state)
{
    (void)state;
    assert_true(output(0, 10));
    assert_false(output(0, 40000));
    assert_true(output(0, 65537));
    assert_true(pit.signals.deadline == at(65536));
    pit_run(&pit, at(65535));
    assert_false(take_edge());
    pit_run(&pit, at(65536));
    assert_true(take_edge());
    assert_false(take_edge());
    assert_true(pit.signals.deadline == at(2 * 65536));
}

static void mode_0_interrupts_once_at_the_end_of_the_count(void **state)
{
    (void)state;
    program(0, 0, 1000, 100);
    assert_int_equal(pit.signals.lines, 0);
    assert_false(output(0, 1100));
    assert_true(output(0, 1101)); /* N + 1 after the write */
    assert_int_equal(read_count(0, 601), 500);
    pit_run(&pit, at(1101));
    assert_true(take_edge());
    assert_int_equal(pit.signals.lines, 1);
    assert_true(pit.signals.deadline == DEADLINE_NONE);
    assert_int_equal(read_count(0, 1102), 0xffff); /* it counts on */
    assert_true(output(0, 100000));
    write_count(0, 10, 200000); /* and starts again with a new count */
    assert_false(output(0, 200005));
    assert_true(output(0, 200011));
}

static void mode_0_waits_for_both_bytes_of_a_new_count(void **state)
{
    (void)state;
    program(0, 0, 1000, 0);
    pit_write(&pit, 0, 0x10, at(500));
    assert_false(output(0, 5000));
    assert_true(pit.signals.deadline == DEADLINE_NONE);
    pit_write(&pit, 0, 0x00, at(5000));
    assert_true(output(0, 5017));
}

static void mode_0_stops_while_the_gate_is_low(void **state)
{
    (void)state;
    gate2(true, 0);
    program(2, 0, 1000, 0);
    gate2(false, 401);
    assert_int_equal(read_count(2, 90000), 600);
    gate2(true, 100000);
    assert_false(output(2, 100599));
    assert_true(output(2, 100600));
}

static void mode_1_is_started_by_each_rising_gate(void **state)
{
    (void)state;
    program(2, 1, 100, 0);
    assert_true(output(2, 50)); /* nothing happens before the gate */
    gate2(true, 1000);
    assert_false(output(2, 1001));
    assert_false(output(2, 1100));
    assert_true(output(2, 1101));
    gate2(false, 2000);
    gate2(true, 3000);
    gate2(false, 3040);
    gate2(true, 3050); /* retriggered */
    assert_false(output(2, 3150));
    assert_true(output(2, 3151));
}

static void mode_2_is_low_for_one_tick_of_every_period(void **state)
{
    (void)state;
    program(0, 2, 100, 0);
    for (uint64_t e = 0; e < 300; e++) {
        assert_int_equal(output(0, 1 + e), e % 100 != 99);
        assert_int_equal(read_count(0, 1 + e), 100 - e % 100);
    }
}

static void mode_2_edges_do_not_drift_when_served_late(void **state)
{
    (void)state;
    program(0, 2, 11932, 0);
    for (uint64_t period = 1; period < 1000; period++) {
        assert_true(pit.signals.deadline == at(1 + period * 11932));
        pit_run(&pit, pit.signals.deadline + 300 * (period % 7));
        assert_true(take_edge());
    }
    pit_run(&pit, at(1 + 5000 * 11932)); /* thousands of edges are one */
    assert_true(take_edge());
    assert_false(take_edge());
    assert_true(pit.signals.deadline == at(1 + 5001 * 11932));
}

static void mode_2_takes_a_new_count_at_the_end_of_the_period(void **state)
{
    (void)state;
    program(0, 2, 100, 0);
    write_count(0, 50, 130); /* the second period ends at 201 */
    assert_int_equal(read_count(0, 131), 70);
    assert_true(pit.signals.deadline == at(201));
    pit_run(&pit, at(201));
    assert_true(pit.signals.deadline == at(251));
    assert_int_equal(read_count(0, 211), 40);
}

static void mode_2_restarts_at_the_gate(void **state)
{
    (void)state;
    gate2(true, 0);
    program(2, 2, 100, 0);
    gate2(false, 100); /* OUT is low there: the gate makes it high at once */
    assert_true(output(2, 100));
    gate2(true, 500);
    assert_true(output(2, 599));
    assert_false(output(2, 600));
    assert_true(output(2, 601));
}

static void mode_3_is_a_square_wave_of_the_right_halves(void **state)
{
    (void)state;
    program(0, 3, 101, 0);
    for (uint64_t e = 0; e < 404; e++) {
        assert_int_equal(output(0, 1 + e), e % 101 < 51);
    }
    program(0, 3, 100, 1000);
    assert_int_equal(read_count(0, 1001), 100);
    assert_int_equal(read_count(0, 1011), 80);
    assert_int_equal(read_count(0, 1061), 80); /* counted twice a period */
}

static void mode_3_takes_a_new_count_at_the_half_period(void **state)
{
    (void)state;
    program(0, 3, 100, 0);
    write_count(0, 40, 10);
    assert_true(output(0, 50));
    assert_false(output(0, 51)); /* low half of the new count: 20 */
    assert_false(output(0, 70));
    assert_true(output(0, 71));
    assert_true(pit.signals.deadline == at(71));
    pit_run(&pit, at(71));
    assert_true(pit.signals.deadline == at(111));
}

static void mode_4_strobes_once(void **state)
{
    (void)state;
    program(0, 4, 100, 0);
    assert_true(output(0, 100));
    assert_false(output(0, 101));
    assert_true(output(0, 102));
    assert_true(pit.signals.deadline == at(102));
    pit_run(&pit, at(102));
    assert_true(take_edge());
    assert_true(pit.signals.deadline == DEADLINE_NONE);
}

static void mode_5_strobes_after_the_gate(void **state)
{
    (void)state;
    program(2, 5, 100, 0);
    assert_true(output(2, 101));
    gate2(true, 1000);
    assert_true(output(2, 1100));
    assert_false(output(2, 1101));
    assert_true(output(2, 1102));
}

static void counts_of_zero_and_bcd_counts(void **state)
{
    (void)state;
    program(0, 2, 0, 0);
    assert_true(pit.signals.deadline == at(65537));
    pit_write(&pit, 3, 0x35, at(100)); /* BCD, mode 2 */
    write_count(0, 0x1234, 100);
    assert_int_equal(read_count(0, 101), 0x1234);
    assert_int_equal(read_count(0, 136), 0x1199);
    assert_true(pit.signals.deadline == at(101 + 1234));
    pit_write(&pit, 3, 0x35, at(5000));
    write_count(0, 0, 5000);
    assert_true(pit.signals.deadline == at(15001));
}

static void one_byte_access_reads_and_writes_that_byte(void **state)
{
    (void)state;
    pit_write(&pit, 3, 0x24, at(0)); /* high byte only, mode 2 */
    pit_write(&pit, 0, 0x12, at(0));
    assert_int_equal(pit_read(&pit, 0, at(1)), 0x12);
    assert_true(pit.signals.deadline == at(0x1201));
    pit_write(&pit, 3, 0x14, at(10)); /* low byte only */
    pit_write(&pit, 0, 0x80, at(10));
    assert_int_equal(pit_read(&pit, 0, at(11)), 0x80);
    assert_true(pit.signals.deadline == at(10 + 0x81));
}

static void a_latched_count_stays_until_it_is_read(void **state)
{
    (void)state;
    program(0, 2, 1000, 0);
    pit_write(&pit, 3, 0x00, at(101));
    pit_write(&pit, 3, 0x00, at(301)); /* ignored */
    assert_int_equal(read_count(0, 501), 900);
    assert_int_equal(read_count(0, 501), 500);
}

static void read_back_latches_status_and_counts(void **state)
{
    (void)state;
    program(0, 2, 1000, 0);
    program(2, 3, 500, 0);             /* the gate is low: never loaded from running */
    pit_write(&pit, 3, 0xc2, at(101)); /* both of channel 0 */
    assert_int_equal(pit_read(&pit, 0, at(200)), 0xb4);
    assert_int_equal(read_count(0, 200), 900);
    write_mode(0, 0, 300);
    pit_write(&pit, 3, 0xe2, at(300)); /* status only: OUT low, null count */
    assert_int_equal(pit_read(&pit, 0, at(300)), 0x70);
    write_count(0, 50, 300);
    pit_write(&pit, 3, 0xe2, at(302));
    assert_int_equal(pit_read(&pit, 0, at(302)), 0x30);
    pit_write(&pit, 3, 0xe2, at(400));
    assert_int_equal(pit_read(&pit, 0, at(400)), 0xb0);
}

static void port_61_gates_channel_2_and_shows_its_output(void **state)
{
    uint8_t first;

    (void)state;
    pit_port_b_write(&pit, 0xf1, at(0));
    assert_int_equal(pit_port_b_read(&pit, at(1)) & 0x0f, 1);
    program(2, 0, 1000, 0); /* Linux calibrates its TSC so */
    assert_int_equal(pit_port_b_read(&pit, at(1000)) & 0x20, 0);
    assert_int_equal(pit_port_b_read(&pit, at(1001)) & 0x20, 0x20);
    first = pit_port_b_read(&pit, at(1800)) & 0x10;
    assert_int_not_equal(pit_port_b_read(&pit, at(1818)) & 0x10, first);
    assert_int_equal(pit_port_b_read(&pit, at(1836)) & 0x10, first);
}

static void programming_that_lowers_the_output_lowers_irq_0(void **state)
{
    (void)state;
    program(0, 2, 1000, 0);
    pit_run(&pit, at(1001));
    assert_true(take_edge());
    write_mode(0, 0, 1500);
    assert_int_equal(pit.signals.lines, 0);
    assert_false(take_edge());
    write_mode(0, 2, 1600); /* up again: an edge */
    assert_true(take_edge());
}

static void tiny_periods_cannot_storm(void **state)
{
    uint64_t first;

    (void)state;
    program(0, 2, 2, 0);
    first = pit.signals.deadline;
    pit_run(&pit, first);
    assert_true(pit.signals.deadline - first > TSC_HZ / 60000);
}

/* What the guest can see of the device from now on: counters, OUT 2, interrupts. */
static void assert_same_from(struct pit *one, struct pit *other, uint64_t tick)
{
    for (unsigned step = 0; step < 40; step++, tick += 1 + step * 97) {
        for (unsigned channel = 0; channel < PIT_CHANNELS; channel++) {
            assert_int_equal(pit_read(one, channel, at(tick)), pit_read(other, channel, at(tick)));
        }
        assert_int_equal(pit_port_b_read(one, at(tick)), pit_port_b_read(other, at(tick)));
        assert_int_equal(one->signals.deadline, other->signals.deadline);
        assert_int_equal(one->signals.lines, other->signals.lines);
    }
}

/* The short way of port B says what the long one says, and changes nothing that shows later. */
static void port_61_on_the_short_way_is_the_same(void **state)
{
    uint64_t tick = 10;
    uint64_t seed = 1;
    unsigned quick = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t chosen = (uint32_t)((seed = seed * 6364136223846793005ULL + 1442695040888963407ULL) >> 33);
        struct pit other;
        uint8_t value;

        tick += chosen % 3000;
        if (chosen % 5 == 0) {
            program(chosen / 5 % PIT_CHANNELS, chosen / 15 % 6, (uint16_t)(chosen / 90 % 4000), tick);
        } else if (chosen % 5 == 1) {
            write_count(chosen / 5 % PIT_CHANNELS, (uint16_t)(chosen / 15 % 4000), tick);
        } else if (chosen % 5 == 2) {
            pit_port_b_write(&pit, (uint8_t)(chosen / 5), at(tick));
        }
        other = pit;
        if (!pit_row.quick_read(&pit, 4, at(tick), &value)) {
            continue;
        }
        quick++;
        assert_int_equal(value, pit_port_b_read(&other, at(tick)));
        if (i % 100 < 10) {
            struct pit later = pit;

            assert_same_from(&later, &other, tick);
        }
    }
    assert_true(quick > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_timebase_counts_device_ticks_without_drift, setup),
        cmocka_unit_test_setup(firmware_leaves_channel_0_at_18_hz, setup),
        cmocka_unit_test_setup(mode_0_interrupts_once_at_the_end_of_the_count, setup),
        cmocka_unit_test_setup(mode_0_waits_for_both_bytes_of_a_new_count, setup),
        cmocka_unit_test_setup(mode_0_stops_while_the_gate_is_low, setup),
        cmocka_unit_test_setup(mode_1_is_started_by_each_rising_gate, setup),
        cmocka_unit_test_setup(mode_2_is_low_for_one_tick_of_every_period, setup),
        cmocka_unit_test_setup(mode_2_edges_do_not_drift_when_served_late, setup),
        cmocka_unit_test_setup(mode_2_takes_a_new_count_at_the_end_of_the_period, setup),
        cmocka_unit_test_setup(mode_2_restarts_at_the_gate, setup),
        cmocka_unit_test_setup(mode_3_is_a_square_wave_of_the_right_halves, setup),
        cmocka_unit_test_setup(mode_3_takes_a_new_count_at_the_half_period, setup),
        cmocka_unit_test_setup(mode_4_strobes_once, setup),
        cmocka_unit_test_setup(mode_5_strobes_after_the_gate, setup),
        cmocka_unit_test_setup(counts_of_zero_and_bcd_counts, setup),
        cmocka_unit_test_setup(one_byte_access_reads_and_writes_that_byte, setup),
        cmocka_unit_test_setup(a_latched_count_stays_until_it_is_read, setup),
        cmocka_unit_test_setup(read_back_latches_status_and_counts, setup),
        cmocka_unit_test_setup(port_61_gates_channel_2_and_shows_its_output, setup),
        cmocka_unit_test_setup(port_61_on_the_short_way_is_the_same, setup),
        cmocka_unit_test_setup(programming_that_lowers_the_output_lowers_irq_0, setup),
        cmocka_unit_test_setup(tiny_periods_cannot_storm, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
