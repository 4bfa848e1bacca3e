/* SPDX-License-Identifier: MIT */
/*
 * The short ways do what the long way does: each exit is made twice from the same state, once by exit_dispatch() and
 * once by its short way, and registers, local APIC, UART and console are compared. And when the console is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/core/guest_io.h"
#include "hv/exit/dispatch.h"
#include "hv/policy/cpuid_policy.h"
#include "tests/unit/random.h"

#include <string.h>

#define HZ 1000000000ULL
#define MS 1000000ULL
#define EOI 0x80bu
#define ICR 0x830u
#define DEADLINE 0x6e0u

static struct host_facts host;
static struct vcpu vcpus[2]; /* 0 goes the long way, 1 the short one */
static const struct config_guest guest_config = {.on_reset = ACTION_STAY};
static struct guest guests[2];
static struct lapic_page pages[2];

static void host_add(uint32_t leaf, struct cpuid_words words)
{
    host.cpuid.entries[host.cpuid.count++] = (struct cpuid_entry){.leaf = leaf, .words = words};
}

static void make(uint32_t i)
{
    const struct platform_config config = {.clock = &host.clock, .console = true};
    const struct cpuid_policy_input policy = {
        .host = &host.cpuid, .vcpu_count = 1, .tsc_khz = 1000000, .is_intel = true};

    memset(&guests[i], 0, sizeof(guests[i]));
    memset(&vcpus[i], 0, sizeof(vcpus[i]));
    guests[i].host = &host;
    guests[i].vcpus = &vcpus[i];
    guests[i].vcpu_count = 1;
    cpuid_policy_build(&policy, &guests[i].cpuid);
    platform_reset(&guests[i].platform, &config, 100 * MS);
    guests[i].platform_deadline = platform_deadline(&guests[i].platform);
    guests[i].watchdog.deadline = UINT64_MAX;
    guests[i].stop_deadline = UINT64_MAX;
    guests[i].config = &guest_config;
    vcpus[i].guest = &guests[i];
    vcpus[i].rflags = RFLAGS_FIXED;
    vcpus[i].exit_tsc = 100 * MS;
    vcpus[i].leave_at = UINT64_MAX;
    lapic_init(&vcpus[i].lapic, &pages[i], 5, true, &host.clock);
    assert_true(lapic_base_write(&vcpus[i].lapic, vcpus[i].lapic.base_msr | 0x400, 46));
    assert_true(lapic_msr_write(&vcpus[i].lapic, 0x80f, 0x1ff, 0));
}

static int setup(void **state)
{
    (void)state;
    memset(&host, 0, sizeof(host));
    host.clock = clock_of(HZ);
    host.physical_bits = 46;
    host_add(0, (struct cpuid_words){0x16, 1, 2, 3});
    host_add(1, (struct cpuid_words){0x50657, 0x800, 0xffffffff, 0xffffffff});
    host_add(7, (struct cpuid_words){0, 0xffffffff, 0, 0});
    host_add(0x80000000, (struct cpuid_words){0x80000008, 1, 2, 3});
    host_add(0x80000008, (struct cpuid_words){0x302e, 0, 0, 0});
    make(0);
    make(1);
    return 0;
}

static void compare(void)
{
    assert_memory_equal(vcpus[0].gpr, vcpus[1].gpr, sizeof(vcpus[0].gpr));
    assert_memory_equal(&pages[0], &pages[1], sizeof(pages[0]));
    assert_int_equal(vcpus[0].lapic.deadline, vcpus[1].lapic.deadline);
    assert_int_equal(vcpus[0].lapic.tsc_deadline, vcpus[1].lapic.tsc_deadline);
    assert_int_equal(guests[0].platform.uart.signals.lines, guests[1].platform.uart.signals.lines);
    assert_int_equal(guests[0].platform.uart.thre_event, guests[1].platform.uart.thre_event);
    assert_int_equal(guests[0].platform.uart.signals.deadline, guests[1].platform.uart.signals.deadline);
    assert_int_equal(byte_ring_count(&guests[0].platform.console_out),
                     byte_ring_count(&guests[1].platform.console_out));
    assert_int_equal(vcpus[0].requests & ~(uint32_t)VCPU_ADVANCED, vcpus[1].requests);
    assert_memory_equal(vcpus[0].exit_counts, vcpus[1].exit_counts, sizeof(vcpus[0].exit_counts));
    assert_memory_equal(vcpus[0].ring, vcpus[1].ring, sizeof(vcpus[0].ring));
}

static void both(enum gpr number, uint64_t value)
{
    vcpus[0].gpr[number] = value;
    vcpus[1].gpr[number] = value;
}

static void take_all(uint32_t i)
{
    uint8_t byte;

    while (byte_ring_take(&guests[i].platform.console_out, &byte)) {
    }
}

/* Time passes, and the console takes what it was told of. */
static void both_later(uint64_t by)
{
    for (uint32_t i = 0; i < 2; i++) {
        if ((vcpus[i].requests & VCPU_CONSOLE) != 0) {
            take_all(i);
        }
        vcpus[i].requests = 0;
        vcpus[i].exit_tsc += by;
    }
}

static void go_long(enum exit_kind kind, const struct exit_io *io)
{
    struct vm_exit exit = {.kind = kind, .raw = 99, .length = 2};

    if (io != NULL) {
        exit.io = *io;
    }
    vcpus[0].rip = 0x1000;
    exit_dispatch(&vcpus[0], &exit);
    assert_int_equal(vcpus[0].rip, 0x1002);
}

static void cpuid_answers_alike_for_every_leaf(void **state)
{
    (void)state;
    for (uint32_t leaf = 0; leaf < 0x40; leaf++) {
        for (uint32_t high = 0; high < 3; high++) {
            both(GPR_RAX, 0xabcd00000000ULL | high << 30 | leaf);
            both(GPR_RCX, 0xffffffff00000001ULL);
            vcpus[0].system.cr4 = vcpus[1].system.cr4 = leaf % 2 << 18;
            go_long(EXIT_CPUID, NULL);
            assert_true(exit_quick_cpuid(&vcpus[1], 99, 0x1000, &vcpus[1].gpr[GPR_RAX]));
            compare();
        }
    }
}

static void write_msr(uint32_t msr, uint64_t value)
{
    both(GPR_RCX, msr);
    both(GPR_RAX, value & 0xffffffff);
    both(GPR_RDX, value >> 32);
    go_long(EXIT_WRMSR, NULL);
    assert_true(exit_quick_msr_write(&vcpus[1], 99, 0x1000));
    compare();
    both_later(0);
}

static void eoi_and_deadline_writes_do_the_same(void **state)
{
    (void)state;
    write_msr(EOI, 0); /* nothing in service */
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(lapic_msr_write(&vcpus[i].lapic, 0x832, 0x400ec, 0)); /* TSC-deadline mode */
        for (uint8_t vector = 0x40; vector < 0x80; vector += 0x10) {
            lapic_post(&vcpus[i].lapic, vector, vector == 0x60);
            assert_int_equal(lapic_highest_deliverable(&vcpus[i].lapic), vector);
            lapic_accept(&vcpus[i].lapic, vector);
        }
        lapic_post(&vcpus[i].lapic, 0x45, false);
        lapic_merge_pending(&vcpus[i].lapic);
    }
    for (uint32_t i = 0; i < 4; i++) {
        write_msr(EOI, 0);
    }
    write_msr(DEADLINE, 0);
    write_msr(DEADLINE, 200 * MS);
    assert_int_equal(vcpus[1].lapic.deadline, 200 * MS);
    write_msr(DEADLINE, 1); /* it has passed: it fires */
    assert_int_equal(lapic_highest_requested(&vcpus[1].lapic), 0xec);
}

static void interrupt_commands_do_the_same(void **state)
{
    static const uint64_t commands[] = {0x44400 /* an NMI to itself */,
                                        0x40041 /* a vector to itself */,
                                        0xc0041 /* to all others */,
                                        0x700004041 /* to a CPU that is not there */,
                                        0x40005 /* not a vector */,
                                        0xc4500 /* INIT to all others */,
                                        0x40300 /* a reserved delivery */};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        write_msr(ICR, commands[i]);
    }
    assert_int_equal(vcpus[1].nmi_pending, 1);
    assert_int_equal(lapic_highest_requested(&vcpus[1].lapic), 0x41);
}

static void a_fired_deadline_asks_for_an_injection_and_a_new_one_for_the_timer(void **state)
{
    (void)state;
    assert_true(lapic_msr_write(&vcpus[1].lapic, 0x832, 0x400ec, 0));
    vcpus[1].gpr[GPR_RCX] = DEADLINE;
    vcpus[1].gpr[GPR_RAX] = 150 * MS;
    assert_true(exit_quick_msr_write(&vcpus[1], 99, 0));
    assert_int_equal(vcpus[1].requests, VCPU_TIMER);
    vcpus[1].requests = 0;
    vcpus[1].gpr[GPR_RAX] = 1;
    assert_true(exit_quick_msr_write(&vcpus[1], 99, 0));
    assert_int_not_equal(vcpus[1].requests & VCPU_EVENT, 0);
}

/* Each of these exits by itself, as the vendors ask for it first. */
static void a_passed_deadline_and_a_wrong_eoi_are_left(void **state)
{
    static const struct {
        uint32_t deadline; /* in ms, where the last one is 200; it is 100 now */
        bool done;
    } rows[] = {{150, true}, {0, true}, {99, false}, {100, false}};
    struct vcpu before;

    (void)state;
    assert_true(lapic_msr_write(&vcpus[1].lapic, 0x832, 0x400ec, 0));
    vcpus[1].gpr[GPR_RCX] = DEADLINE;
    vcpus[1].gpr[GPR_RDX] = 0;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        vcpus[1].lapic.deadline = vcpus[1].lapic.tsc_deadline = 200 * MS;
        memcpy(&before, &vcpus[1], sizeof(before));
        assert_int_equal(exit_quick_deadline(&vcpus[1], 99, 0, (uint32_t)(rows[i].deadline * MS)), rows[i].done);
        assert_int_equal(vcpus[1].requests, 0);
        assert_true(rows[i].done || memcmp(&before, &vcpus[1], sizeof(before)) == 0);
        assert_true(!rows[i].done || vcpus[1].lapic.tsc_deadline == rows[i].deadline * MS);
    }
    vcpus[1].lapic.deadline = 99 * MS; /* it has passed, and was not seen */
    memcpy(&before, &vcpus[1], sizeof(before));
    assert_false(exit_quick_deadline(&vcpus[1], 99, 0, 150 * MS));
    assert_false(exit_quick_eoi(&vcpus[1], 99, 0, 1));
    vcpus[1].gpr[GPR_RDX] = before.gpr[GPR_RDX] = 1;
    assert_false(exit_quick_eoi(&vcpus[1], 99, 0, 0));
    assert_memory_equal(&before, &vcpus[1], sizeof(before));
}

static void other_msrs_and_values_that_fault_go_the_long_way(void **state)
{
    static const uint64_t refused[][2] = {{EOI, 1}, {0x808, 0x20}, {0x10, 5}, {0xc0000080, 0}, {ICR, 0x200000}};
    struct vcpu before;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
        vcpus[1].gpr[GPR_RCX] = refused[i][0];
        vcpus[1].gpr[GPR_RAX] = refused[i][1];
        memcpy(&before, &vcpus[1], sizeof(before));
        assert_false(exit_quick_msr_write(&vcpus[1], 99, 0));
        assert_memory_equal(&before, &vcpus[1], sizeof(before));
    }
}

static void port(uint16_t number, bool in, uint8_t value)
{
    const struct exit_io io = {.port = number, .size = 1, .in = in};

    both(GPR_RAX, 0x1122334455667700ULL | value);
    go_long(EXIT_IO, &io);
    assert_true(exit_quick_port(&vcpus[1], 99, 0x1000, number, in));
    compare();
    both_later(10);
}

static void uart_and_delay_ports_do_the_same(void **state)
{
    (void)state;
    port(0x3fd, true, 0x55);
    port(0x80, false, 0x55);
    port(0x80, true, 0x55);
    port(0xed, false, 1);
    for (const char *text = "first line\nsecond"; *text != 0; text++) {
        port(0x3fd, true, 0);
        port(0x3f8, false, (uint8_t)*text);
    }
}

/* Bytes of the state that are a device's own: two guests' differ by where they are. */
static void forget_empty_fifo(struct uart_fifo *fifo)
{
    if (fifo->count == 0) {
        memset(fifo, 0, sizeof(*fifo)); /* a byte that went straight through was never in it */
    }
}

static void compare_platforms(void)
{
    const struct platform *a = &guests[0].platform, *b = &guests[1].platform;

    forget_empty_fifo(&guests[0].platform.uart.tx);
    forget_empty_fifo(&guests[1].platform.uart.tx);
    for (unsigned i = 0; i < a->bus.device_count; i++) {
        const struct bus_device *device = &a->bus.devices[i];
        uint32_t from = device->row->saved_from;

        assert_memory_equal((const uint8_t *)device->state + from, (const uint8_t *)b->bus.devices[i].state + from,
                            device->row->state_bytes - from);
    }
    assert_int_equal(a->lines, b->lines);
    assert_int_equal(a->extint, b->extint);
    assert_int_equal(a->bus.lines, b->bus.lines);
    assert_int_equal(a->power, b->power);
    assert_int_equal(guests[0].platform_deadline, guests[1].platform_deadline);
    assert_memory_equal(a->console_out.data, b->console_out.data, sizeof(a->console_out.data));
}

/*
 * Both ways from the same state, at every port that answers: what is not done the short way is done the long way after
 * it, as by a vendor. Interrupts are on and an APIC takes them, so consequences of every kind come up.
 */
static void random_bytes_at_random_ports_do_the_same(void **state)
{
    static const uint16_t ports[] = {0x20,  0x21,  0xa0,  0xa1,  0x40,  0x42,  0x43,  0x61,  0x60,  0x64,  0x70,
                                     0x71,  0x3d4, 0x3d5, 0x3da, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe,
                                     0x3ff, 0x4d0, 0x600, 0x602, 0x608, 0xcfc, 0x80,  0x0f,  0x2f8, 0xcf9};
    uint32_t short_ones = 0;

    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        struct exit_io io = {
            .port = ports[random_next() % ARRAY_COUNT(ports)], .size = 1, .in = random_next() % 2 == 0};
        uint8_t value = (uint8_t)random_next();

        if (!io.in && (io.port == 0xcf9 || (io.port == 0x64 && value >= 0xf0) || (io.port == 0x60))) {
            continue; /* a reset ends the guest */
        }
        both(GPR_RAX, value);
        vcpus[1].rip = 0x1000;
        go_long(EXIT_IO, &io);
        if (exit_quick_port(&vcpus[1], 99, 0x1000, io.port, io.in)) {
            short_ones++;
        } else {
            const struct vm_exit exit = {.kind = EXIT_IO, .raw = 99, .length = 2, .io = io};

            exit_dispatch(&vcpus[1], &exit);
        }
        for (uint32_t v = 0; v < 2; v++) {
            vcpus[v].requests &= ~(uint32_t)VCPU_ADVANCED;
            if (guests[v].platform.extint) {
                vcpus[v].requests |= VCPU_EVENT; /* a line that was high before is told again by the long way only */
            }
        }
        compare();
        for (uint32_t v = 0; v < 2; v++) {
            platform_run_timers(&guests[v].platform,
                                vcpus[v].exit_tsc); /* a short way may leave what is due for later */
        }
        compare_platforms();
        both_later(random_next() % 16 == 0 ? random_next() % (60 * MS) : random_next() % 1000);
        for (uint32_t v = 0; v < 2; v++) {
            guest_run_timers(&vcpus[v], vcpus[v].exit_tsc); /* as the host's timer would have made the CPU do */
            if ((vcpus[v].requests & VCPU_CONSOLE) != 0) {
                take_all(v);
            }
            vcpus[v].requests = 0;
        }
    }
    assert_true(short_ones > 100000);
}

static void what_changes_more_goes_the_long_way(void **state)
{
    struct uart *uart = &guests[1].platform.uart;
    const struct bus_row *row = &uart_row;
    struct uart before;
    uint8_t value;

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        setup(NULL);
        uart->lcr = i == 0 ? 0x80 : 3; /* the divisor */
        uart->mcr = i == 1 ? 0x10 : 8; /* loopback */
        uart->ier = i == 2 ? 2 : 0;    /* the line will rise */
        uart->tx.count = i == 3;       /* the console is full */
        guests[1].platform.console_out.head = i == 4 ? BYTE_RING_BYTES : 0;
        before = *uart;
        assert_false(row->quick_write(uart, 0, 'x'));
        assert_memory_equal(&before, uart, sizeof(before));
    }
    assert_false(row->quick_write(uart, 1, 0));
    assert_false(row->quick_read(uart, 7, 0, &value));
    setup(NULL);
    uart->errors = 2;
    assert_false(row->quick_read(uart, 5, 0, &value));
}

static void what_nothing_answers_and_what_is_due_goes_the_long_way(void **state)
{
    struct platform before;

    (void)state;
    memcpy(&before, &guests[1].platform, sizeof(before));
    assert_false(exit_quick_port(&vcpus[1], 99, 0, 0x2f8, true));
    assert_false(exit_quick_port(&vcpus[1], 99, 0, 0xcf8, true)); /* a dword's port */
    vcpus[1].exit_tsc = guests[1].platform.bus.due;
    assert_false(exit_quick_port(&vcpus[1], 99, 0, 0x20, true));
    vcpus[1].leave_at = vcpus[1].exit_tsc;
    assert_false(exit_quick_port(&vcpus[1], 99, 0, 0x3fd, true)); /* its time is over */
    assert_memory_equal(&before, &guests[1].platform, sizeof(before));
}

static void send(uint8_t byte)
{
    vcpus[1].requests = 0;
    vcpus[1].gpr[GPR_RAX] = byte;
    assert_true(exit_quick_port(&vcpus[1], 99, 0, 0x3f8, false));
}

static void the_console_is_told_of_an_echo_at_once_and_then_by_lines(void **state)
{
    (void)state;
    send('a');
    assert_int_not_equal(vcpus[1].requests & VCPU_CONSOLE, 0); /* after a silence */
    take_all(1);
    send('b');
    assert_int_equal(vcpus[1].requests & VCPU_CONSOLE, 0);
    assert_int_not_equal(vcpus[1].requests & VCPU_TIMER, 0); /* it waits, but not for ever */
    send('c');
    assert_int_equal(vcpus[1].requests, 0);
    send('\n');
    assert_int_not_equal(vcpus[1].requests & VCPU_CONSOLE, 0);
    take_all(1);
}

static void half_a_line_is_told_after_a_millisecond(void **state)
{
    uint64_t due;

    (void)state;
    send('a');
    take_all(1);
    send('b');
    due = guest_deadline(&vcpus[1]);
    assert_in_range(due, vcpus[1].exit_tsc, vcpus[1].exit_tsc + MS);
    vcpus[1].requests = 0;
    guest_run_timers(&vcpus[1], due);
    assert_int_not_equal(vcpus[1].requests & VCPU_CONSOLE, 0);
    take_all(1);
    guest_run_timers(&vcpus[1], due + MS);
    assert_true(guest_deadline(&vcpus[1]) > due + MS);
}

static void an_entry_that_the_cpu_refuses_ends_the_guest_with_its_code(void **state)
{
    const struct vm_exit exit = {.kind = EXIT_INVALID, .raw = 0x80000021, .words.info = {4, 0}};

    (void)state;
    exit_dispatch(&vcpus[0], &exit);
    assert_int_equal(guests[0].state, GUEST_CRASHED);
    assert_int_equal(guests[0].failure_code, GUEST_CODE_ENTRY_FAILED);
    assert_non_null(strstr(guests[0].report, "0x80000021"));
}

static void an_exit_that_was_not_asked_for_ends_the_guest_with_its_code(void **state)
{
    const struct vm_exit exit = {.kind = EXIT_UNKNOWN, .raw = 0x3ff};

    (void)state;
    exit_dispatch(&vcpus[0], &exit);
    assert_int_equal(guests[0].state, GUEST_CRASHED);
    assert_int_equal(guests[0].failure_code, GUEST_CODE_UNKNOWN_EXIT);
    assert_non_null(strstr(guests[0].report, "0x3ff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cpuid_answers_alike_for_every_leaf, setup),
        cmocka_unit_test_setup(eoi_and_deadline_writes_do_the_same, setup),
        cmocka_unit_test_setup(interrupt_commands_do_the_same, setup),
        cmocka_unit_test_setup(a_fired_deadline_asks_for_an_injection_and_a_new_one_for_the_timer, setup),
        cmocka_unit_test_setup(a_passed_deadline_and_a_wrong_eoi_are_left, setup),
        cmocka_unit_test_setup(other_msrs_and_values_that_fault_go_the_long_way, setup),
        cmocka_unit_test_setup(uart_and_delay_ports_do_the_same, setup),
        cmocka_unit_test_setup(what_changes_more_goes_the_long_way, setup),
        cmocka_unit_test_setup(what_nothing_answers_and_what_is_due_goes_the_long_way, setup),
        cmocka_unit_test_setup(random_bytes_at_random_ports_do_the_same, setup),
        cmocka_unit_test_setup(the_console_is_told_of_an_echo_at_once_and_then_by_lines, setup),
        cmocka_unit_test_setup(half_a_line_is_told_after_a_millisecond, setup),
        cmocka_unit_test_setup(an_entry_that_the_cpu_refuses_ends_the_guest_with_its_code, setup),
        cmocka_unit_test_setup(an_exit_that_was_not_asked_for_ends_the_guest_with_its_code, setup),
    };

    return cmocka_run_group_tests_name("short ways", tests, NULL, NULL);
}
