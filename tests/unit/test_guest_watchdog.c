/* SPDX-License-Identifier: MIT */
/* A guest without the progress that its config chose is a crash, after its time and not before; one with it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/core/guest_codes.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_watchdog.h"
#include "hv/core/vm_exit.h"

#include <string.h>

#define HZ 1000000000ULL
#define SECOND HZ
#define CPUS 2u

static struct host_facts host;
static struct config_guest config;
static struct guest guest;
static struct vcpu vcpus[CPUS];

static void begin(enum config_watchdog kind, uint32_t seconds)
{
    memset(&guest, 0, sizeof(guest));
    memset(vcpus, 0, sizeof(vcpus));
    host.clock = clock_of(HZ);
    config = (struct config_guest){.watchdog = kind, .watchdog_us = seconds * 1000000u};
    guest.host = &host;
    guest.config = &config;
    guest.vcpus = vcpus;
    guest.vcpu_count = CPUS;
    guest.state = GUEST_RUNNING;
    guest.platform_deadline = UINT64_MAX;
    guest.stop_deadline = UINT64_MAX;
    for (uint32_t i = 0; i < CPUS; i++) {
        vcpus[i].guest = &guest;
        vcpus[i].index = i;
        vcpus[i].state = VCPU_STATE_RUNNABLE;
        vcpus[i].lapic.deadline = UINT64_MAX;
    }
    guest_watchdog_start(&guest, 0);
}

/* To the deadlines that the CPU would arm, as long as the guest lives and at most until `end`; returns the last one. */
static uint64_t run_until(uint64_t end, void (*progress)(void))
{
    uint64_t now = 0;

    while (guest.state == GUEST_RUNNING && guest_deadline(&vcpus[0]) <= end) {
        now = guest_deadline(&vcpus[0]);
        if (progress != NULL) {
            progress();
        }
        guest_run_timers(&vcpus[0], now);
    }
    return now;
}

static void cpuid(void)
{
    vcpus[1].exit_counts[EXIT_CPUID]++;
}

static void heartbeat(void)
{
    vcpus[1].exit_counts[EXIT_HYPERCALL]++;
}

static void halts(void)
{
    vcpus[0].exit_counts[EXIT_HLT]++;
}

static void prints(void)
{
    (void)byte_ring_put(&guest.platform.console_out, 'x');
}

static void is_halted(void)
{
    vcpus[1].state = VCPU_STATE_HALTED;
}

/* What others do to it, and exceptions whose delivery never ends. */
static void is_interrupted(void)
{
    vcpus[0].exit_counts[EXIT_HOST_INTERRUPT]++;
    vcpus[0].exit_counts[EXIT_INTERRUPT_WINDOW]++;
    vcpus[0].exit_counts[EXIT_EXCEPTION]++;
}

static void without_a_watchdog_there_is_no_deadline(void **state)
{
    (void)state;
    begin(WATCHDOG_OFF, 0);
    assert_int_equal(guest_deadline(&vcpus[0]), UINT64_MAX);
}

static void only_the_first_vcpu_looks(void **state)
{
    (void)state;
    begin(WATCHDOG_HALT, 2);
    assert_true(guest_deadline(&vcpus[0]) < 2 * SECOND);
    assert_int_equal(guest_deadline(&vcpus[1]), UINT64_MAX);
}

static void no_progress_is_a_crash_after_its_time_and_one_look_at_most(void **state)
{
    static const enum config_watchdog kinds[] = {WATCHDOG_CONSOLE, WATCHDOG_HYPERCALL, WATCHDOG_HALT, WATCHDOG_EXIT};
    static const char *const said[] = {"printed nothing", "made no hypercall", "never halted", "never needed"};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        uint64_t end;

        begin(kinds[i], 2);
        end = run_until(60 * SECOND, is_interrupted);
        assert_int_equal(guest.state, GUEST_CRASHED);
        assert_int_equal(guest.failure_code, GUEST_CODE_WATCHDOG);
        assert_non_null(strstr(guest.report, said[i]));
        assert_non_null(strstr(guest.report, "2000 ms"));
        assert_true(end >= 2 * SECOND && end <= 2 * SECOND + 2 * SECOND / WATCHDOG_LOOKS);
    }
}

static void progress_of_the_chosen_kind_keeps_it_alive(void **state)
{
    static const struct {
        enum config_watchdog kind;
        void (*progress)(void);
    } cases[] = {{WATCHDOG_CONSOLE, prints}, {WATCHDOG_HYPERCALL, heartbeat}, {WATCHDOG_HALT, halts},
                 {WATCHDOG_HALT, is_halted}, {WATCHDOG_EXIT, cpuid},          {WATCHDOG_EXIT, is_halted}};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        begin(cases[i].kind, 2);
        run_until(100 * SECOND, cases[i].progress);
        assert_int_equal(guest.state, GUEST_RUNNING);
    }
}

static void progress_of_another_kind_does_not_count(void **state)
{
    static const struct {
        enum config_watchdog kind;
        void (*progress)(void);
    } cases[] = {{WATCHDOG_CONSOLE, heartbeat},
                 {WATCHDOG_CONSOLE, is_halted},
                 {WATCHDOG_HYPERCALL, prints},
                 {WATCHDOG_HYPERCALL, is_halted},
                 {WATCHDOG_HALT, cpuid}};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        begin(cases[i].kind, 2);
        run_until(100 * SECOND, cases[i].progress);
        assert_int_equal(guest.state, GUEST_CRASHED);
    }
}

/* The guest that starts again has its whole time. */
static void a_restart_begins_anew(void **state)
{
    (void)state;
    begin(WATCHDOG_HALT, 2);
    run_until(60 * SECOND, NULL);
    assert_int_equal(guest.state, GUEST_CRASHED);
    guest.state = GUEST_RUNNING;
    guest_watchdog_start(&guest, 60 * SECOND);
    run_until(61 * SECOND, NULL);
    assert_int_equal(guest.state, GUEST_RUNNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_watchdog_there_is_no_deadline),
        cmocka_unit_test(only_the_first_vcpu_looks),
        cmocka_unit_test(no_progress_is_a_crash_after_its_time_and_one_look_at_most),
        cmocka_unit_test(progress_of_the_chosen_kind_keeps_it_alive),
        cmocka_unit_test(progress_of_another_kind_does_not_count),
        cmocka_unit_test(a_restart_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
