/* SPDX-License-Identifier: MIT */
/* Promises of hv/core/guest_order.h and of guest_reset(): what the operator and the config say is what a guest gets. */
#include "hv/core/guest_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"

#define HZ 1000000000ULL
#define MS 1000000ULL
#define STOP_MS 500u
#define PM1_STATUS 0x600u
#define PM1_CONTROL 0x604u
#define POWER_BUTTON 0x100u
#define SLEEP_ENABLE 0x2000u

static struct host_facts host;
static struct config_guest config;
static struct guest guest;
static struct vcpu vcpu;
static struct lapic_page page;
static struct due_set due; /* of its CPU */

static int set_up(void **state)
{
    struct platform_config platform = {.clock = &host.clock};

    (void)state;
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    host.clock = clock_of(HZ);
    config = (struct config_guest){.stop_us = STOP_MS * 1000, .on_reset = ACTION_RESTART};
    guest.host = &host;
    guest.config = &config;
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    guest.watchdog.deadline = UINT64_MAX;
    platform_reset(&guest.platform, &platform, 0);
    guest.platform_deadline = platform_deadline(&guest.platform);
    vcpu.guest = &guest;
    due_set_init(&due, 1);
    due_set_unmark(&due, 0);
    vcpu.due = &due;
    lapic_init(&vcpu.lapic, &page, 0, true, &host.clock);
    guest_order_forget(&guest);
    return 0;
}

static void order(enum guest_order what, uint64_t now)
{
    guest_order_give(&guest, what);
    assert_int_equal(vcpu.kick & VCPU_KICK_ORDER, VCPU_KICK_ORDER);
    vcpu.kick = 0;
    guest_order_take(&vcpu, now);
}

/* The loop of a CPU looks at no other vCPU. */
static void what_is_asked_of_a_vcpu_marks_it(void **state)
{
    struct vcpu other = {.guest = &guest, .index = 1};

    (void)state;
    guest_order_give(&guest, ORDER_KILL);
    assert_int_equal(due_set_marked(&due), 1);
    due_set_unmark(&due, 0);
    guest_source_arrived(&guest, 1);
    assert_int_equal(due_set_marked(&due), 1);
    due_set_unmark(&due, 0);
    guest_notify(&other, &vcpu, VCPU_KICK_INTERRUPT);
    assert_int_equal(due_set_marked(&due), 1);
    due_set_unmark(&due, 0);
    guest_notify(&other, &vcpu, VCPU_KICK_INTERRUPT); /* again, before it was taken */
    assert_int_equal(due_set_marked(&due), 1);
    due_set_unmark(&due, 0);
    guest_fail(&other, GUEST_CODE_RESET, "of itself");
    assert_int_equal(due_set_marked(&due), 1);
}

static void a_killed_guest_has_stopped_and_not_failed(void **state)
{
    (void)state;
    order(ORDER_KILL, 0);
    assert_int_equal(guest.state, GUEST_STOPPED);
    assert_true(guest.ended_well);
    assert_int_equal(guest.obeyed, ORDER_KILL);
    assert_int_equal(vcpu.requests & VCPU_STOPPED, VCPU_STOPPED);
    assert_string_equal(guest.report, "killed by a key");
}

static void a_restart_ends_the_guest_and_is_remembered(void **state)
{
    (void)state;
    order(ORDER_RESTART, 0);
    assert_int_equal(guest.state, GUEST_STOPPED);
    assert_int_equal(guest.obeyed, ORDER_RESTART);
    guest_order_forget(&guest);
    assert_int_equal(guest.obeyed, ORDER_NONE);
}

static void a_guest_that_listens_to_its_power_button_stops_by_itself(void **state)
{
    uint32_t status = 0;

    (void)state;
    assert_int_equal(guest.stop_deadline, UINT64_MAX);
    order(ORDER_POWER_BUTTON, 10 * MS);
    assert_int_equal(guest.state, GUEST_RUNNING);
    assert_int_equal(guest.stop_deadline, (10 + STOP_MS) * MS);
    assert_in_range(guest_deadline(&vcpu), 0, (10 + STOP_MS) * MS);
    vcpu.exit_tsc = 11 * MS;
    assert_true(guest_port_read(&vcpu, PM1_STATUS, 2, &status));
    assert_int_equal(status & POWER_BUTTON, POWER_BUTTON);
    assert_true(guest_port_write(&vcpu, PM1_CONTROL, 2, SLEEP_ENABLE));
    assert_int_equal(guest.state, GUEST_STOPPED);
    assert_string_equal(guest.report, "powered off (ACPI S5)");
}

static void a_guest_that_does_not_is_killed_after_its_time(void **state)
{
    (void)state;
    order(ORDER_POWER_BUTTON, 10 * MS);
    order(ORDER_POWER_BUTTON, 400 * MS); /* pressed again: no more time */
    guest_run_timers(&vcpu, (10 + STOP_MS) * MS - 1);
    assert_int_equal(guest.state, GUEST_RUNNING);
    guest_run_timers(&vcpu, (10 + STOP_MS) * MS);
    assert_int_equal(guest.state, GUEST_STOPPED);
    assert_string_equal(guest.report, "killed: it was still on 500 ms after its power button was pressed (stop-time)");
    assert_int_equal(guest.stop_deadline, UINT64_MAX);
}

static void an_order_is_taken_once(void **state)
{
    (void)state;
    guest_order_give(&guest, ORDER_POWER_BUTTON);
    guest_order_give(&guest, ORDER_KILL); /* the later one counts */
    guest_order_take(&vcpu, 0);
    assert_int_equal(guest.obeyed, ORDER_KILL);
    guest.obeyed = ORDER_NONE;
    guest_order_take(&vcpu, 0);
    assert_int_equal(guest.obeyed, ORDER_NONE);
}

static void reset_by_port(void)
{
    assert_true(guest_port_write(&vcpu, 0xcf9, 1, 6));
}

static void a_reset_is_no_stop_and_no_crash(void **state)
{
    (void)state;
    reset_by_port();
    assert_int_equal(guest.state, GUEST_RESET);
    assert_true(guest.ended_well);
    assert_string_equal(guest.report, "asked for a reset (port 0xcf9)");
}

static void a_reset_is_a_crash_where_the_config_says_so(void **state)
{
    (void)state;
    config.on_reset = ACTION_CRASH;
    reset_by_port();
    assert_int_equal(guest.state, GUEST_CRASHED);
    assert_int_equal(guest.failure_code, GUEST_CODE_RESET);
    assert_false(guest.ended_well);
}

static void a_panic_is_a_crash(void **state)
{
    (void)state;
    assert_true(guest_port_write(&vcpu, PVPANIC_PORT, 1, PVPANIC_PANICKED));
    assert_int_equal(guest.state, GUEST_CRASHED);
    assert_int_equal(guest.failure_code, GUEST_CODE_PANICKED);
    assert_string_equal(guest.report, "its kernel panicked (pvpanic)");
}

static void a_reset_after_a_dump_is_a_crash(void **state)
{
    (void)state;
    assert_true(guest_port_write(&vcpu, PVPANIC_PORT, 1, PVPANIC_CRASH_LOADED));
    assert_int_equal(guest.state, GUEST_RUNNING);
    reset_by_port();
    assert_int_equal(guest.state, GUEST_CRASHED);
    assert_int_equal(guest.failure_code, GUEST_CODE_PANICKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_asked_of_a_vcpu_marks_it, set_up),
        cmocka_unit_test_setup(a_killed_guest_has_stopped_and_not_failed, set_up),
        cmocka_unit_test_setup(a_restart_ends_the_guest_and_is_remembered, set_up),
        cmocka_unit_test_setup(a_guest_that_listens_to_its_power_button_stops_by_itself, set_up),
        cmocka_unit_test_setup(a_guest_that_does_not_is_killed_after_its_time, set_up),
        cmocka_unit_test_setup(an_order_is_taken_once, set_up),
        cmocka_unit_test_setup(a_reset_is_no_stop_and_no_crash, set_up),
        cmocka_unit_test_setup(a_reset_is_a_crash_where_the_config_says_so, set_up),
        cmocka_unit_test_setup(a_panic_is_a_crash, set_up),
        cmocka_unit_test_setup(a_reset_after_a_dump_is_a_crash, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
