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
    for (size_t i = 0; i < ARRAY_COUNT(rows) * 4; i++) {
        bool looks = i % 2 != 0; /* at the turn's time, at every exit: quirks.late_host_interrupts */

        times = 0;
        cpu.armed = rows[i / 4].armed;
        vcpu.lapic.deadline = rows[i / 4].deadline;
        vcpu.leave_at = looks ? 1 : UINT64_MAX;
        if (i % 4 < 2) {
            cpu_timer_follow(&cpu, &vcpu);
        } else {
            cpu_timer_follow_apic(&cpu, &vcpu);
        }
        assert_int_equal(cpu.armed, rows[i / 4].expected);
        assert_int_equal(times, rows[i / 4].times);
        assert_true(times == 0 || set_to == cpu.armed);
        assert_int_equal(vcpu.leave_at, !looks ? UINT64_MAX : i % 4 < 2 || times != 0 ? cpu.armed : 1);
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

/* A CPU whose one vCPU runs, with one deadline each of its timer and of everything else. */
#define VECTOR 0x41u
#define LVT_TIMER 0x832u
#define SVR 0x80fu
#define X2APIC 0x400u

static struct vcpu one_vcpu(uint64_t deadline)
{
    static struct guest guest;
    static struct lapic_page page;
    static const struct clock clock = {0};
    struct vcpu vcpu = {.guest = &guest, .index = 1, .leave_at = UINT64_MAX};

    lapic_init(&vcpu.lapic, &page, 1, false, &clock);
    assert_true(lapic_base_write(&vcpu.lapic, vcpu.lapic.base_msr | X2APIC, 46));
    assert_true(lapic_msr_write(&vcpu.lapic, SVR, 0x1ff, 0) && lapic_msr_write(&vcpu.lapic, LVT_TIMER, VECTOR, 0));
    vcpu.lapic.deadline = deadline;
    return vcpu;
}

static void other_work_is_the_loops(void **state)
{
    static const struct {
        uint64_t turn_end;
        bool eoi_pending;
        uint32_t kick;
        bool expected;
    } rows[] = {
        {UINT64_MAX, false, 0, true},
        {5001, false, 0, true},
        {5000, false, 0, false}, /* due now */
        {4999, false, 0, false},
        {0, false, 0, false}, /* several vCPUs: a slice may be over */
        {UINT64_MAX, true, false, false},
        {UINT64_MAX, false, VCPU_KICK_NMI, false},
        {UINT64_MAX, false, VCPU_KICK_TAKING, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct cpu cpu = {.turn_end = rows[i].turn_end};
        struct vcpu vcpu = one_vcpu(5000);

        vcpu.lapic.eoi_pending = rows[i].eoi_pending;
        vcpu.kick = rows[i].kick;
        assert_int_equal(cpu_timer_alone(&cpu, &vcpu, 5000), rows[i].expected);
    }
}

static void a_tick_of_the_vcpu_alone_needs_no_loop(void **state)
{
    static const struct {
        uint64_t flags, turn_end, deadline;
        bool expected, fired;
        uint64_t armed;
    } rows[] = {
        {CPU_FLAG_TIMER, 9000, 5000, true, true, 9000}, /* then something else is due next */
        {CPU_FLAG_TIMER, 9000, 4000, true, true, 9000}, /* late */
        {CPU_FLAG_TIMER, UINT64_MAX, 5000, true, true, UINT64_MAX},
        {CPU_FLAG_TIMER, 9000, 6000, false, false, 5000},       /* too early: the loop knows until when */
        {CPU_FLAG_TIMER, 9000, UINT64_MAX, false, false, 5000}, /* disarmed since */
        {CPU_FLAG_TIMER, 5000, 5000, false, false, 5000},       /* and the loop has to look */
        {CPU_FLAG_TIMER, 0, 5000, false, false, 5000},
        {CPU_FLAG_KICK, 9000, 5000, false, false, 5000},
        {CPU_FLAG_TIMER | CPU_FLAG_KICK, 9000, 5000, false, false, 5000},
        {CPU_FLAG_TIMER | CPU_FLAG_NMI, 9000, 5000, false, false, 5000},
        {CPU_FLAG_TIMER | CPU_FLAG_STOP, 9000, 5000, false, false, 5000},
        {CPU_FLAG_TIMER | CPU_FLAG_DEVICES, 9000, 5000, false, false, 5000},
        {0, 9000, 5000, false, false, 5000}, /* another interrupt, spurious or of a device */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cpu cpu = {.turn_end = rows[i].turn_end, .armed = 5000, .interrupt_flags = rows[i].flags};
        struct vcpu vcpu = one_vcpu(rows[i].deadline);

        times = 0;
        vcpu.leave_at = i % 2 != 0 ? 5000 : UINT64_MAX;
        assert_int_equal(cpu_timer_tick(&cpu, &vcpu, 5000), rows[i].expected);
        assert_int_equal(lapic_requests(&vcpu.lapic, VECTOR), rows[i].fired);
        assert_int_equal(vcpu.requests, rows[i].fired ? VCPU_EVENT : 0);
        assert_int_equal(cpu.interrupt_flags, rows[i].expected ? 0 : rows[i].flags);
        assert_int_equal(cpu.armed, rows[i].armed);
        assert_int_equal(times, rows[i].expected && rows[i].armed != UINT64_MAX);
        assert_int_equal(vcpu.leave_at, i % 2 != 0 ? cpu.armed : UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearer_deadline_is_armed),
        cmocka_unit_test(a_platform_deadline_of_the_first_vcpu_counts),
        cmocka_unit_test(other_work_is_the_loops),
        cmocka_unit_test(a_tick_of_the_vcpu_alone_needs_no_loop),
    };

    return cmocka_run_group_tests_name("the deadline of a CPU", tests, NULL, NULL);
}
