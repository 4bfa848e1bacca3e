/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/vmx/timer.c: when a guest's TSC deadline is the CPU's own, that none is lost and none comes twice, and
 * that the hypervisor's deadline ends the turn. The timer is a model: it fires when the clock passes it, and is read as
 * CPUs have it (0 then) or as Bochs does (as it was).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/host/cpu_timer.h"
#include "hv/vmx/insn.h"
#include "hv/x86/insn.h"

#include <string.h>

static uint64_t read_msr(uint32_t msr);
static bool read_msr_safe(uint32_t msr, uint64_t *value);
static void open_window(void);

static uint64_t tsc;

#define insn_rdmsr(msr) read_msr(msr)
#define insn_rdmsr_safe(msr, value) read_msr_safe(msr, value)
#define insn_rdtsc() tsc
#define insn_interrupt_window() open_window()
#define vmx_insn_vmwrite_sure(field, value) ((void)(fields[field] = (value)))

static uint64_t fields[0x8000];

#include "hv/vmx/timer.c"

#define VECTOR 0x41u
#define LVT_TIMER 0x832u
#define SVR 0x80fu
#define X2APIC 0x400u
#define DEADLINE_MODE 0x40000u
#define MASKED 0x10000u
#define RATE 5u

struct vmx_features vmx_features;

static struct {
    uint64_t deadline;
    bool armed, pending, late; /* `late`: the interrupt comes in the second window, not in the first */
    bool stays;                /* `stays`: the register is as it was when the deadline has passed */
} timer;

static struct cpu cpu;
static struct vcpu vcpu;
static struct vmx_vcpu vmx;
static struct guest guest;
static bool deadline_mode_of_host;

static void pass_time(uint64_t to)
{
    tsc = to;
    if (timer.armed && timer.deadline <= tsc) {
        timer.armed = false;
        timer.pending = true;
        timer.deadline = timer.stays ? timer.deadline : 0;
    }
}

static void write_deadline(uint64_t value)
{
    timer.deadline = value;
    timer.armed = value != 0;
    pass_time(tsc);
}

static uint64_t read_msr(uint32_t msr)
{
    assert_int_equal(msr, MSR_TSC_DEADLINE);
    return timer.deadline;
}

static bool has_adjust;
static uint64_t adjust;

static bool read_msr_safe(uint32_t msr, uint64_t *value)
{
    assert_int_equal(msr, MSR_TSC_ADJUST);
    *value = adjust;
    return has_adjust;
}

static void open_window(void)
{
    if (timer.late) {
        timer.late = false;
    } else if (timer.pending) {
        timer.pending = false;
        cpu.interrupt_flags |= CPU_FLAG_TIMER;
    }
}

void host_timer_arm(uint64_t deadline_tsc)
{
    write_deadline(deadline_tsc == UINT64_MAX ? 0 : deadline_tsc);
}

bool host_timer_is_deadline(void)
{
    return deadline_mode_of_host;
}

void vmx_write(enum vmcs_field field, uint64_t value)
{
    fields[field] = value;
}

uint64_t vmx_msr_map(const struct vmx_vcpu *of)
{
    return 0x1000u + of->timer_passes * 0x1000u + ((of->secondary & SECONDARY_X2APIC) != 0 ? 0x2000u : 0);
}

static int setup(void **state)
{
    static struct lapic_page page;
    static const struct clock clock = {0};

    (void)state;
    memset(&timer, 0, sizeof(timer));
    memset(&cpu, 0, sizeof(cpu));
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&vmx, 0, sizeof(vmx));
    memset(fields, 0, sizeof(fields));
    vmx_features = (struct vmx_features){.preemption_timer = true, .pin = 0x16, .exit = 0x200, .caps.misc = RATE};
    deadline_mode_of_host = true;
    has_adjust = false;
    adjust = 0;
    tsc = 1000;
    cpu.armed = UINT64_MAX;
    cpu.turn_end = 1000000;
    vcpu.guest = &guest;
    vcpu.vendor = &vmx;
    lapic_init(&vcpu.lapic, &page, 0, true, &clock);
    assert_true(lapic_base_write(&vcpu.lapic, vcpu.lapic.base_msr | X2APIC, 46));
    assert_true(lapic_msr_write(&vcpu.lapic, SVR, 0x1ff, 0));
    assert_true(lapic_msr_write(&vcpu.lapic, LVT_TIMER, DEADLINE_MODE | VECTOR, 0));
    return 0;
}

static bool has_fired(void)
{
    return lapic_requests(&vcpu.lapic, VECTOR);
}

/* As hv/run/cpu_loop.c takes it. */
static void begin_turn(uint64_t end)
{
    cpu.turn_end = end;
    assert_true(vmx_timer_pass(&cpu, &vcpu, end, tsc));
}

static void it_passes_only_where_it_is_exact(void **state)
{
    begin_turn(1000000);
    assert_int_equal(fields[VMCS_PIN_CONTROLS], 0x16 | PIN_PREEMPTION_TIMER);
    assert_int_equal(fields[VMCS_EXIT_CONTROLS], 0x200 | EXIT_SAVE_TIMER);
    assert_int_equal(fields[VMCS_MSR_BITMAP], 0x2000);
    for (uint32_t i = 0; i < 9; i++) {
        uint64_t end = 1000000;

        setup(state);
        begin_turn(end);
        vmx_timer_take(&cpu, &vcpu);
        switch (i) {
        case 0:
            vmx_features.preemption_timer = false;
            break;
        case 1:
            deadline_mode_of_host = false;
            break;
        case 2:
            vcpu.shares_cpu = true;
            break;
        case 3:
            vcpu.tsc_offset = 1;
            break;
        case 4:
            assert_true(lapic_msr_write(&vcpu.lapic, LVT_TIMER, VECTOR, tsc));
            break;
        case 5:
            assert_true(lapic_base_write(&vcpu.lapic, vcpu.lapic.base_msr & ~0xc00ULL, 46));
            break;
        case 6:
            end = 0; /* something waits now */
            break;
        case 7:
            vmx.shadow = (struct vmx_shadow *)(void *)&vmx;
            break;
        default:
            vcpu.lapic.deadline = tsc; /* the loop lets it fire */
        }
        assert_false(vmx_timer_pass(&cpu, &vcpu, end, tsc));
        assert_int_equal(vmx.timer_passes, 0);
        assert_int_equal(fields[VMCS_PIN_CONTROLS], 0x16);
        assert_int_equal(fields[VMCS_EXIT_CONTROLS], 0x200);
        assert_int_equal(fields[VMCS_MSR_BITMAP], 0x1000);
    }
}

static void tsc_adjust_is_read_where_both_are_zero(void **state)
{
    for (uint32_t i = 0; i < 4; i++) {
        setup(state);
        has_adjust = i != 0;
        adjust = i == 1 ? 7 : 0;
        vcpu.msrs.tsc_adjust = i == 2 ? 7 : 0;
        begin_turn(1000000);
        assert_int_equal(vmx.timer_passes, i == 3 ? VMX_TIMER_AND_ADJUST_PASS : VMX_TIMER_PASSES);
    }
}

static void the_hypervisors_deadline_is_the_preemption_timers(void **state)
{
    static const struct {
        uint64_t end;
        uint32_t count;
    } rows[] = {
        {1000 + 1, 1}, /* 32 ticks each: never before it */
        {1000 + 32, 2},
        {1000 + 3200, 101},
        {1000 + (0xffffffffULL << RATE) - 32, 0xffffffff},
        {1000 + (0xffffffffULL << RATE), 0xffffffff}, /* more than it counts: the turn ends before */
        {UINT64_MAX, 0xffffffff},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        begin_turn(rows[i].end);
        assert_int_equal(fields[VMCS_PREEMPTION_TIMER], rows[i].count);
        assert_int_equal(cpu.armed, rows[i].end);
        vmx_timer_take(&cpu, &vcpu);
        assert_int_equal(cpu.armed, UINT64_MAX); /* of which nothing is in the CPU's timer */
    }
}

static void a_deadline_fires_once_in_the_guest(void **state)
{
    for (uint32_t i = 0; i < 2; i++) {
        setup(state);
        timer.stays = i != 0;
        begin_turn(1000000);
        write_deadline(5000);
        pass_time(5003);
        open_window();
        assert_true(vmx_timer_tick(&cpu, &vmx, &vcpu, tsc));
        assert_true(has_fired());
        assert_int_equal(vcpu.requests, VCPU_EVENT);
        assert_int_equal(cpu.interrupt_flags, 0);
        lapic_accept(&vcpu.lapic, VECTOR);
        vcpu.exit_tsc = tsc;
        vmx_timer_read(&vmx, &vcpu);
        assert_int_equal(lapic_tsc_deadline_read(&vcpu.lapic, 0), 0);
        vmx_timer_take(&cpu, &vcpu);
        assert_int_equal(vcpu.lapic.deadline, UINT64_MAX);
        begin_turn(1000000); /* and not again in the next turn */
        vmx_timer_take(&cpu, &vcpu);
        assert_int_equal(vcpu.lapic.deadline, UINT64_MAX);
        assert_false(has_fired());
    }
}

static void a_deadline_is_kept_over_turns(void **state)
{
    (void)state;
    begin_turn(1000000);
    write_deadline(50000);
    pass_time(3000);
    vmx_timer_take(&cpu, &vcpu);
    assert_int_equal(vcpu.lapic.deadline, 50000);
    assert_int_equal(lapic_tsc_deadline_read(&vcpu.lapic, 0), 50000);
    assert_int_equal(cpu.armed, 50000); /* a sleep until then needs no write */
    cpu_timer_set(&cpu, 4000);          /* the hypervisor's own, while it sleeps */
    pass_time(4100);
    open_window();
    assert_int_equal(cpu_take_flags(&cpu), CPU_FLAG_TIMER);
    cpu.armed = UINT64_MAX;
    begin_turn(1000000);
    assert_int_equal(timer.deadline, 50000);
    assert_false(has_fired());
}

/* Where it fires while the hypervisor handles an exit, or before, where an emulator keeps the interrupt from the
 * guest. */
static void a_deadline_that_passes_at_an_exit_fires_once(void **state)
{
    for (uint32_t i = 0; i < 8; i++) {
        bool read_at_exit = (i & 2) != 0, passed_at_exit = (i & 4) != 0;

        setup(state);
        timer.stays = (i & 1) != 0;
        begin_turn(1000000);
        write_deadline(5000);
        pass_time(passed_at_exit ? 5001 : 4990);
        vcpu.exit_tsc = tsc;
        if (read_at_exit) {
            vmx_timer_read(&vmx, &vcpu);
            assert_int_equal(lapic_tsc_deadline_read(&vcpu.lapic, 0), passed_at_exit ? 0 : 5000);
            vmx_timer_look(&cpu, &vmx, &vcpu);
            assert_int_equal(vmx.timer_passes, 1);
        }
        pass_time(5002);
        vmx_timer_take(&cpu, &vcpu);
        assert_true(has_fired());
        assert_int_equal(vcpu.lapic.deadline, UINT64_MAX);
        assert_int_equal(cpu_take_flags(&cpu), 0);
        assert_int_equal(cpu.armed, UINT64_MAX);
    }
}

/* The register is 0 already, and the interrupt has not reached the CPU. */
static void an_interrupt_on_its_way_is_not_lost(void **state)
{
    (void)state;
    begin_turn(1000000);
    write_deadline(5000);
    pass_time(5001);
    timer.late = true;
    vmx_timer_take(&cpu, &vcpu);
    assert_false(has_fired());
    assert_int_equal(cpu.armed, UINT64_MAX);
    open_window(); /* hv/run/cpu_loop.c take_interrupts() */
    assert_int_equal(cpu_take_flags(&cpu), CPU_FLAG_TIMER);
    vcpu.requests = 0;
    vmx_timer_late(&vcpu);
    assert_true(has_fired());
    assert_int_equal(vcpu.requests, VCPU_EVENT);
}

static void behind_the_turn_it_fires_by_its_time(void **state)
{
    (void)state;
    begin_turn(1000000);
    write_deadline(5000);
    pass_time(4999);
    vmx_timer_take(&cpu, &vcpu);
    pass_time(5001);
    assert_false(has_fired());
    lapic_run_timer(&vcpu.lapic, tsc);
    assert_true(has_fired());
}

static void a_newer_deadline_outlives_a_late_interrupt(void **state)
{
    (void)state;
    timer.stays = true;
    begin_turn(1000000);
    write_deadline(2000);
    pass_time(2500); /* the interrupt is kept from the guest, which goes on */
    write_deadline(9000);
    vmx_timer_take(&cpu, &vcpu);
    assert_true(has_fired());
    assert_int_equal(vcpu.lapic.deadline, 9000);
    assert_int_equal(lapic_tsc_deadline_read(&vcpu.lapic, 0), 9000);
}

static void past_and_zero_are_a_tick_and_none(void **state)
{
    (void)state;
    begin_turn(1000000);
    write_deadline(10);
    open_window();
    assert_true(vmx_timer_tick(&cpu, &vmx, &vcpu, tsc));
    lapic_accept(&vcpu.lapic, VECTOR);
    write_deadline(9000);
    write_deadline(0);
    pass_time(10000);
    vmx_timer_take(&cpu, &vcpu);
    assert_false(has_fired());
    assert_int_equal(vcpu.lapic.deadline, UINT64_MAX);
}

static void a_masked_timer_only_ends_its_deadline(void **state)
{
    (void)state;
    assert_true(lapic_msr_write(&vcpu.lapic, LVT_TIMER, DEADLINE_MODE | MASKED | VECTOR, tsc));
    begin_turn(1000000);
    write_deadline(2000);
    pass_time(2001);
    open_window();
    assert_true(vmx_timer_tick(&cpu, &vmx, &vcpu, tsc));
    assert_false(has_fired());
}

static void a_change_of_the_mode_ends_it_at_once(void **state)
{
    for (uint32_t i = 0; i < 2; i++) {
        setup(state);
        begin_turn(1000000);
        write_deadline(50000);
        vcpu.exit_tsc = tsc;
        vmx_timer_read(&vmx, &vcpu);
        if (i == 0) {
            assert_true(lapic_msr_write(&vcpu.lapic, LVT_TIMER, VECTOR, tsc));
        } else {
            vcpu.tsc_offset = 5; /* as a move of the TSC does it */
            lapic_tsc_deadline_write(&vcpu.lapic, 50000, 5, tsc);
        }
        vmx_timer_look(&cpu, &vmx, &vcpu);
        assert_int_equal(vcpu.requests, VCPU_YIELD);
        assert_int_equal(vmx.timer_passes, 0);
        assert_int_equal(fields[VMCS_MSR_BITMAP], 0x1000);
        assert_int_equal(cpu.armed, 50000);
        vmx_timer_take(&cpu, &vcpu);
        assert_int_equal(vcpu.lapic.deadline, i == 0 ? UINT64_MAX : 49995);
    }
}

static void other_work_ends_the_turn_and_the_tick_is_kept(void **state)
{
    static const struct {
        uint64_t flags, end;
        uint32_t kick;
    } rows[] = {
        {CPU_FLAG_KICK, 1000000, 0},
        {CPU_FLAG_DEVICES, 1000000, 0},
        {0, 2000, 0},
        {0, 1000000, VCPU_KICK_INTERRUPT},
    };

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        setup(state);
        begin_turn(rows[i].end);
        write_deadline(2000);
        pass_time(2000);
        cpu.interrupt_flags = rows[i].flags;
        vcpu.kick = rows[i].kick;
        open_window();
        assert_false(vmx_timer_tick(&cpu, &vmx, &vcpu, tsc));
        assert_false(has_fired());
        vmx_timer_take(&cpu, &vcpu);
        assert_true(has_fired());
        assert_int_equal(vcpu.requests, VCPU_EVENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_passes_only_where_it_is_exact, setup),
        cmocka_unit_test_setup(tsc_adjust_is_read_where_both_are_zero, setup),
        cmocka_unit_test_setup(the_hypervisors_deadline_is_the_preemption_timers, setup),
        cmocka_unit_test_setup(a_deadline_fires_once_in_the_guest, setup),
        cmocka_unit_test_setup(a_deadline_is_kept_over_turns, setup),
        cmocka_unit_test_setup(a_deadline_that_passes_at_an_exit_fires_once, setup),
        cmocka_unit_test_setup(an_interrupt_on_its_way_is_not_lost, setup),
        cmocka_unit_test_setup(behind_the_turn_it_fires_by_its_time, setup),
        cmocka_unit_test_setup(a_newer_deadline_outlives_a_late_interrupt, setup),
        cmocka_unit_test_setup(past_and_zero_are_a_tick_and_none, setup),
        cmocka_unit_test_setup(a_masked_timer_only_ends_its_deadline, setup),
        cmocka_unit_test_setup(a_change_of_the_mode_ends_it_at_once, setup),
        cmocka_unit_test_setup(other_work_ends_the_turn_and_the_tick_is_kept, setup),
    };

    return cmocka_run_group_tests_name("a guest's deadline in the CPU's timer", tests, NULL, NULL);
}
