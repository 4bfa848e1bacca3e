/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/core/platform_lock.h: where another vCPU has the guest's devices, an exit ends in its time with
 * nothing done and comes again; what cannot come again stays noted; and a CPU's pass waits once for all its vCPUs.
 */
#include "hv/core/platform_lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/event.h"
#include "hv/core/guest_devices.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"
#include "hv/core/guest_order.h"
#include "hv/core/vm_exit.h"
#include "hv/dev/lapic_registers.h"
#include "hv/exit/dispatch.h"
#include "hv/x86/registers.h"
#include "tests/unit/support.h"

#define HZ 1000000000ULL
#define EXIT_TICKS 50000u
#define VCPUS 2u
#define LOOK 7u /* what a look at the clock costs here */
#define IOAPIC_BASE 0xfec00000ULL
#define IOAPIC_PIN 9u /* ACPI's */
#define LEVEL 0x8000u
#define ACTIVE_LOW 0x2000u
#define MASKED 0x10000u
#define REMOTE_IRR 0x4000u
#define VECTOR 0x50u
#define UART_SCRATCH 0x3ffu

static struct host_facts host;
static struct config_guest config;
static struct guest guest;
static struct vcpu vcpus[VCPUS];
static struct lapic_page pages[VCPUS] __attribute__((aligned(4096)));

static int set_up(void **state)
{
    struct platform_config platform = {.clock = &host.clock};

    (void)state;
    memset(&guest, 0, sizeof(guest));
    memset(vcpus, 0, sizeof(vcpus));
    host.clock = clock_of(HZ);
    host.exit_ticks = EXIT_TICKS;
    guest.host = &host;
    guest.config = &config;
    guest.vcpus = vcpus;
    guest.vcpu_count = VCPUS;
    guest.watchdog.deadline = UINT64_MAX;
    platform_reset(&guest.platform, &platform, 0);
    guest.platform_deadline = platform_deadline(&guest.platform);
    guest_order_forget(&guest);
    for (uint32_t i = 0; i < VCPUS; i++) {
        vcpus[i].guest = &guest;
        vcpus[i].index = i;
        vcpus[i].leave_at = UINT64_MAX;
        lapic_init(&vcpus[i].lapic, &pages[i], i, i == 0, &host.clock);
    }
    support_now = 0;
    support_tick = LOOK;
    return 0;
}

static void other_takes(void)
{
    assert_true(turn_lock_try(&guest.platform.lock, 1));
}

static void other_releases(void)
{
    turn_lock_release(&guest.platform.lock, 1);
}

static struct vm_exit port_exit(uint16_t port, bool in)
{
    return (struct vm_exit){.kind = EXIT_IO, .length = 1, .io = {.port = port, .size = 1, .in = in}};
}

static void an_exit_gives_up_in_its_time_and_has_done_nothing(void **state)
{
    struct vm_exit exit = port_exit(UART_SCRATCH, false);
    struct vcpu before;

    (void)state;
    vcpus[0].gpr[GPR_RAX] = 0x5a;
    vcpus[0].rip = 0x1000;
    vcpus[0].exit_tsc = support_now;
    other_takes();
    before = vcpus[0];
    exit_dispatch(&vcpus[0], &exit);
    assert_in_range(support_now, EXIT_TICKS, EXIT_TICKS + 2 * LOOK);
    assert_int_equal(vcpus[0].requests, VCPU_YIELD);
    assert_int_equal(vcpus[0].rip, before.rip);
    assert_int_equal(guest.platform.uart.scr, 0);
    other_releases();
    vcpus[0].exit_tsc = support_now;
    exit_dispatch(&vcpus[0], &exit);
    assert_int_equal(vcpus[0].rip, before.rip + 1);
    assert_int_equal(guest.platform.uart.scr, 0x5a);
    assert_false(vcpus[0].holds_platform);
    assert_int_equal(guest.platform.lock.owner, 0);
}

static void the_short_way_does_not_wait(void **state)
{
    const uint8_t byte = 1;
    uint8_t value = 0;

    (void)state;
    other_takes();
    assert_false(guest_quick_port_read(&vcpus[0], UART_SCRATCH, &value));
    assert_false(guest_quick_port_write(&vcpus[0], UART_SCRATCH, &byte));
    assert_int_equal(support_now, 0);
    assert_int_equal(vcpus[0].requests, 0);
    other_releases();
    assert_true(guest_quick_port_write(&vcpus[0], UART_SCRATCH, &byte));
    assert_true(guest_quick_port_read(&vcpus[0], UART_SCRATCH, &value));
    assert_int_equal(value, 1);
    assert_int_equal(guest.platform.lock.owner, 0);
}

static void write_ioapic(uint32_t index, uint32_t value)
{
    assert_true(platform_mmio_write(&guest.platform, gpa(IOAPIC_BASE), 4, index, 0));
    assert_true(platform_mmio_write(&guest.platform, gpa(IOAPIC_BASE + 0x10), 4, value, 0));
}

static bool has_remote_irr(void)
{
    return (guest.platform.ioapic.entries[IOAPIC_PIN] & REMOTE_IRR) != 0;
}

/* A level-triggered interrupt of vCPU 0, in service. */
static void bring_level_interrupt_into_service(void)
{
    lapic_mmio_write(&vcpus[0].lapic, LAPIC_SVR, 4, 0x1ff, 0);
    write_ioapic(0x10 + 2 * IOAPIC_PIN, VECTOR | LEVEL | ACTIVE_LOW); /* the line is low */
    guest_collect(&vcpus[0], 0);
    assert_int_equal(lapic_highest_deliverable(&vcpus[0].lapic), VECTOR);
    lapic_accept(&vcpus[0].lapic, VECTOR);
    write_ioapic(0x10 + 2 * IOAPIC_PIN, VECTOR | LEVEL | ACTIVE_LOW | MASKED); /* once is enough */
    assert_true(has_remote_irr());
}

static void an_eoi_that_cannot_be_brought_stays_noted(void **state)
{
    (void)state;
    bring_level_interrupt_into_service();
    vcpus[0].requests = 0;
    other_takes();
    guest_apic_end_of_interrupt(&vcpus[0]);
    assert_in_range(support_now, EXIT_TICKS, EXIT_TICKS + 2 * LOOK);
    assert_true((vcpus[0].requests & VCPU_YIELD) != 0);
    assert_int_equal(guest_deadline(&vcpus[0]), 0); /* the CPU's loop comes to it at once */
    assert_true(has_remote_irr());
    vcpus[0].pass_end = support_now;
    guest_run_timers(&vcpus[0], support_now);
    assert_true(vcpus[0].lapic.eoi_pending);
    other_releases();
    guest_run_timers(&vcpus[0], support_now);
    assert_false(vcpus[0].lapic.eoi_pending);
    assert_false(has_remote_irr());
    assert_int_not_equal(guest_deadline(&vcpus[0]), 0);
    assert_int_equal(guest.platform.lock.owner, 0);
}

/* The 8259 is asked only where it can be; the vCPU then comes out of the guest again before anything runs. */
static void an_acknowledge_cycle_waits_for_the_next_exit(void **state)
{
    struct vcpu_event event = {0};

    (void)state;
    lapic_virtual_wire(&vcpus[0].lapic);
    platform_port_write(&guest.platform, 0x20, 1, 0x11, 0);
    platform_port_write(&guest.platform, 0x21, 1, 0x20, 0);
    platform_port_write(&guest.platform, 0x21, 1, 0x04, 0);
    platform_port_write(&guest.platform, 0x21, 1, 0x01, 0);
    platform_port_write(&guest.platform, 0x21, 1, 0xfe, 0);
    platform_port_write(&guest.platform, 0x43, 1, 0x34, 0);
    platform_port_write(&guest.platform, 0x40, 1, 0x10, 0);
    platform_port_write(&guest.platform, 0x40, 1, 0, 0);
    platform_run_timers(&guest.platform, HZ / 1000);
    guest_collect(&vcpus[0], HZ / 1000);
    assert_true(guest.platform.extint);
    vcpus[0].requests = VCPU_EVENT;
    other_takes();
    assert_int_equal(vcpu_select_event(&vcpus[0], true, true, &event), EVENT_WANT_WINDOW);
    assert_true((vcpus[0].requests & VCPU_EVENT) != 0);
    other_releases();
    assert_int_equal(vcpu_select_event(&vcpus[0], true, true, &event), EVENT_INJECT);
    assert_int_equal(event.vector, 0x20);
    assert_int_equal(guest.platform.lock.owner, 0);
}

/* However much there is to do for them: one time for all. */
static void a_pass_waits_once(void **state)
{
    const uint64_t end = EXIT_TICKS;

    (void)state;
    guest.platform_deadline = 0;
    vcpus[0].pass_end = end;
    other_takes();
    guest_run_timers(&vcpus[0], 0);
    assert_false(guest_console_input(&vcpus[0], 0));
    guest_order_give(&guest, ORDER_POWER_BUTTON);
    vcpus[0].kick = 0;
    guest_order_take(&vcpus[0], 0);
    assert_in_range(support_now, end, end + 8 * LOOK);
    assert_int_equal(guest.platform_deadline, 0);                       /* still due */
    assert_int_equal(vcpus[0].kick & VCPU_KICK_ORDER, VCPU_KICK_ORDER); /* and still to be obeyed */
    assert_int_equal(guest.order, ORDER_POWER_BUTTON);
    other_releases();
    guest_order_take(&vcpus[0], 0);
    guest_run_timers(&vcpus[0], 0);
    assert_true(guest_console_input(&vcpus[0], 0));
    assert_int_equal(guest.order, ORDER_NONE);
    assert_int_not_equal(guest.platform_deadline, 0);
    assert_int_equal(guest.platform.lock.owner, 0);
}

static void a_resource_that_is_being_noted_is_not_waited_for(void **state)
{
    (void)state;
    assert_true(spinlock_try(&guest.unknown_lock));
    guest_note_unknown(&vcpus[0], UNKNOWN_PORT_READ, 0x5000, 0);
    assert_int_equal(guest.unknown_count, 0);
    spinlock_release(&guest.unknown_lock);
    guest_note_unknown(&vcpus[0], UNKNOWN_PORT_READ, 0x5000, 0);
    assert_int_equal(guest.unknown_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_exit_gives_up_in_its_time_and_has_done_nothing, set_up),
        cmocka_unit_test_setup(the_short_way_does_not_wait, set_up),
        cmocka_unit_test_setup(an_eoi_that_cannot_be_brought_stays_noted, set_up),
        cmocka_unit_test_setup(an_acknowledge_cycle_waits_for_the_next_exit, set_up),
        cmocka_unit_test_setup(a_pass_waits_once, set_up),
        cmocka_unit_test_setup(a_resource_that_is_being_noted_is_not_waited_for, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
