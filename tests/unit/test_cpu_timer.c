/* SPDX-License-Identifier: MIT */
/* The deadline of a CPU follows that of the vCPU that runs on it, and is never later than it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/host/cpu_timer.h"

static uint64_t set_to; /* what the APIC's timer was given last */
static uint32_t times;

void host_timer_arm(uint64_t deadline_tsc)
{
    set_to = deadline_tsc;
    times++;
}

static void the_nearer_deadline_is_armed(void **state)
{
    static const struct {
        uint64_t armed, deadline, expected;
        uint32_t times;
    } rows[] = {
        {UINT64_MAX, 5000, 5000, 1}, /* a tick: the timer has fired, and the next one is set */
        {9000, 5000, 5000, 1},       /* nearer: a sleep before the tick */
        {5000, 9000, 5000, 0},       /* later: the loop sees to it when the old one comes */
        {5000, UINT64_MAX, 5000, 0}, /* disarmed */
        {5000, 5000, 5000, 0},       /* the same */
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0},
    };
    static struct guest guest;
    static struct vcpu vcpu = {.guest = &guest, .index = 1}; /* without the platform's deadlines */
    static struct cpu cpu;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows) * 2; i++) {
        bool looks = i % 2 != 0; /* at the turn's time, at every exit: quirks.late_host_interrupts */

        times = 0;
        cpu.armed = rows[i / 2].armed;
        vcpu.lapic.deadline = rows[i / 2].deadline;
        vcpu.leave_at = looks ? 1 : UINT64_MAX;
        cpu_timer_follow(&cpu, &vcpu);
        assert_int_equal(cpu.armed, rows[i / 2].expected);
        assert_int_equal(times, rows[i / 2].times);
        assert_true(times == 0 || set_to == cpu.armed);
        assert_int_equal(vcpu.leave_at, looks ? cpu.armed : UINT64_MAX);
    }
}

static void a_platform_deadline_of_the_first_vcpu_counts(void **state)
{
    static struct guest guest = {.platform_deadline = 3000};
    static struct vcpu vcpu = {.guest = &guest, .lapic.deadline = 4000, .leave_at = UINT64_MAX};
    static struct cpu cpu = {.armed = UINT64_MAX};

    (void)state;
    guest.watchdog.deadline = guest.stop_deadline = UINT64_MAX;
    cpu_timer_follow(&cpu, &vcpu);
    assert_int_equal(cpu.armed, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearer_deadline_is_armed),
        cmocka_unit_test(a_platform_deadline_of_the_first_vcpu_counts),
    };

    return cmocka_run_group_tests_name("the deadline of a CPU", tests, NULL, NULL);
}
