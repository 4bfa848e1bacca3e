/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/tsc.h and hv/host/tsc_reference.h on a model of the timers: the rate is found by whichever of
 * them works, a timer that runs at another rate than the others is not believed, and the source says which agreed. Time
 * passes by what is read and waited for.
 */
#include "hv/host/tsc.h"
#include "hv/host/tsc_reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hv/host/host_acpi.h"
#include "hv/host/tsc_rate.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define TSC_HZ 2500000000ULL
#define HPET_AT 0xfed00000ULL
#define HPET_PERIOD_FS 69841279u
#define PM_PORT 0x408u
#define READ_TICKS 1000u /* that a timer's reading takes */

/* The machine of the model. A rate of 0: the timer stands still. */
static struct {
    uint64_t tsc;
    uint64_t pm_hz, hpet_hz, pit_hz;
    uint32_t hpet_config;
    uint64_t hpet_started;
    uint64_t pit_started;
    uint32_t pit_latched;
    bool pit_high, invariant;
    uint64_t held_up; /* ticks that a reading of the PM timer takes beside its own */
    struct tsc_rate_words words;
} machine;

static struct host_acpi acpi;

static uint32_t counted(uint64_t hz, uint64_t since)
{
    return (uint32_t)((__uint128_t)(machine.tsc - since) * hz / TSC_HZ);
}

uint64_t insn_rdtsc(void)
{
    return machine.tsc += 20;
}

void insn_pause(void)
{
    machine.tsc += 40;
}

uint32_t insn_in32(uint16_t port)
{
    assert_int_equal(port, PM_PORT);
    machine.tsc += READ_TICKS + machine.held_up;
    return counted(machine.pm_hz, 0) & 0xffffffu;
}

uint8_t insn_in8(uint16_t port)
{
    machine.tsc += READ_TICKS;
    if (port != 0x42) {
        return 0;
    }
    machine.pit_high = !machine.pit_high;
    return (uint8_t)(machine.pit_high ? machine.pit_latched : machine.pit_latched >> 8);
}

void insn_out8(uint16_t port, uint8_t value)
{
    machine.tsc += READ_TICKS;
    if (port == 0x43 && value == 0x80) {
        machine.pit_latched = 0xffffu - (counted(machine.pit_hz, machine.pit_started) & 0xffffu);
        machine.pit_high = false;
    } else if (port == 0x42) {
        machine.pit_started = machine.tsc;
    }
}

uint32_t insn_mmio_read32(uint64_t address)
{
    machine.tsc += READ_TICKS;
    switch (address - HPET_AT) {
    case 0x004:
        return HPET_PERIOD_FS;
    case 0x010:
        return machine.hpet_config;
    default:
        assert_int_equal(address - HPET_AT, 0x0f0);
        return (machine.hpet_config & 1u) != 0 ? counted(machine.hpet_hz, machine.hpet_started) : 0;
    }
}

void insn_mmio_write32(uint64_t address, uint32_t value)
{
    assert_int_equal(address, HPET_AT + 0x010);
    machine.hpet_config = value;
}

struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    switch (leaf) {
    case CPUID_VENDOR:
        return (struct cpuid_result){.eax = CPUID_FREQUENCY};
    case CPUID_TSC_RATIO:
        return (struct cpuid_result){machine.words.denominator, machine.words.numerator, machine.words.crystal_hz, 0};
    case CPUID_FREQUENCY:
        return (struct cpuid_result){.eax = machine.words.base_mhz};
    case CPUID_HIGHEST_EXTENDED:
        return (struct cpuid_result){.eax = CPUID_POWER};
    case CPUID_POWER:
        return (struct cpuid_result){.edx = machine.invariant ? CPUID_87_EDX_INVARIANT_TSC : 0};
    default:
        return (struct cpuid_result){.eax = 0};
    }
}

static int a_usual_machine(void **state)
{
    (void)state;
    memset(&machine, 0, sizeof(machine));
    machine.tsc = 1000000000;
    machine.pm_hz = 3579545;
    machine.hpet_hz = 14318180;
    machine.pit_hz = 1193182;
    machine.invariant = true;
    acpi = (struct host_acpi){.pm_timer_port = PM_PORT, .hpet = HPET_AT};
    return 0;
}

static void expect_hz(const struct tsc_calibration *tsc, uint64_t hz)
{
    assert_in_range(tsc->hz, hz - hz / 1000, hz + hz / 1000);
}

static void all_timers_agree_and_are_named(void **state)
{
    struct tsc_calibration tsc = tsc_calibrate(&acpi, TSC_HZ + 1000000);

    (void)state;
    expect_hz(&tsc, TSC_HZ);
    assert_true(tsc.stable);
    assert_string_equal(tsc.source,
                        "measured with the ACPI PM timer; also by the HPET, the 8254 timer, the firmware's Stall()");
    assert_string_equal(tsc.note, "");
    assert_int_equal(machine.hpet_config, 0); /* as it was found */
}

static void the_one_that_differs_is_not_believed(void **state)
{
    struct tsc_calibration tsc;

    (void)state;
    machine.pm_hz = 2 * 3579545;
    tsc = tsc_calibrate(&acpi, 0);
    expect_hz(&tsc, TSC_HZ);
    assert_non_null(strstr(tsc.source, "measured with the HPET; also by the 8254 timer; not by the ACPI PM timer (12"));
}

static void a_timer_that_stands_still_is_left_out(void **state)
{
    struct tsc_calibration tsc;

    (void)state;
    machine.pm_hz = 0;
    tsc = tsc_calibrate(&acpi, 0);
    expect_hz(&tsc, TSC_HZ);
    assert_string_equal(tsc.source, "measured with the HPET; also by the 8254 timer");
    machine.hpet_hz = 0;
    tsc = tsc_calibrate(&acpi, 0);
    expect_hz(&tsc, TSC_HZ);
    assert_string_equal(tsc.source, "measured with the 8254 timer");
    machine.pit_hz = 0;
    tsc = tsc_calibrate(&acpi, TSC_HZ);
    assert_int_equal(tsc.hz, TSC_HZ);
    assert_string_equal(tsc.source, "measured with the firmware's Stall()");
}

/* 16 bits come round in 55 ms. */
static void a_timer_that_has_come_round_is_left_out(void **state)
{
    struct tsc_calibration tsc;

    (void)state;
    machine.held_up = TSC_HZ / 100;
    tsc = tsc_calibrate(&acpi, 0);
    assert_in_range(tsc.hz, TSC_HZ - TSC_HZ / 20, TSC_HZ + TSC_HZ / 20);
    assert_string_equal(tsc.source, "measured with the ACPI PM timer; also by the HPET");
}

static void without_any_timer_cpuid_is_believed_and_it_is_said(void **state)
{
    struct tsc_calibration tsc;

    (void)state;
    acpi = (struct host_acpi){0};
    machine.pit_hz = 0;
    machine.words = (struct tsc_rate_words){.base_mhz = 2500};
    tsc = tsc_calibrate(&acpi, 0);
    assert_int_equal(tsc.hz, TSC_HZ);
    assert_string_equal(tsc.source, "CPUID leaf 0x16, not checked");
    assert_non_null(strstr(tsc.note, "neither an ACPI PM timer, an HPET nor an 8254"));
}

static void leaf_0x15_is_exact_where_the_timers_agree_with_it(void **state)
{
    struct tsc_calibration tsc;

    (void)state;
    machine.words = (struct tsc_rate_words){.denominator = 1, .numerator = 100, .crystal_hz = 25000000};
    tsc = tsc_calibrate(&acpi, 0);
    assert_int_equal(tsc.hz, TSC_HZ);
    assert_non_null(strstr(tsc.source, "CPUID leaf 0x15, checked with the ACPI PM timer; also by the HPET"));
    machine.words.crystal_hz = 50000000;
    tsc = tsc_calibrate(&acpi, 0);
    expect_hz(&tsc, TSC_HZ);
    assert_non_null(strstr(tsc.note, "the timer is believed"));
}

static void the_most_that_agree_are_elected(void **state)
{
    static const struct {
        uint64_t hz[4];
        uint32_t elected, agree;
    } rows[] = {
        {{100, 0, 0, 0}, 0, 1},           {{0, 0, 0, 0}, 4, 0},
        {{1000, 2000, 3000, 0}, 0, 1},    {{1000, 2000, 2010, 0}, 1, 6},
        {{1000, 2000, 1001, 2001}, 0, 5}, {{1000, 2000, 2001, 2002}, 1, 14},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint32_t agree;

        assert_int_equal(tsc_rate_elect(rows[i].hz, 4, &agree), rows[i].elected);
        assert_int_equal(agree, rows[i].agree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_timers_agree_and_are_named, a_usual_machine),
        cmocka_unit_test_setup(the_one_that_differs_is_not_believed, a_usual_machine),
        cmocka_unit_test_setup(a_timer_that_stands_still_is_left_out, a_usual_machine),
        cmocka_unit_test_setup(a_timer_that_has_come_round_is_left_out, a_usual_machine),
        cmocka_unit_test_setup(without_any_timer_cpuid_is_believed_and_it_is_said, a_usual_machine),
        cmocka_unit_test_setup(leaf_0x15_is_exact_where_the_timers_agree_with_it, a_usual_machine),
        cmocka_unit_test(the_most_that_agree_are_elected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
