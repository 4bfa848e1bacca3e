/* SPDX-License-Identifier: MIT */
/* INS and OUTS: sizes, directions, segments, repeats cut into exits, faults in the middle. */
#include "emulate_harness.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_string.h"
#include "hv/emulate/string_io.h"

#define PORT 0xe9u

/* As the vendor's decoder would tell it. */
static void run(const char *code, size_t count, bool in, uint8_t size)
{
    const struct exit_io io = {.port = PORT, .size = size, .in = in, .string = true, .rep = (uint8_t)code[0] == 0xf3};

    put_code(code, count);
    vcpu.gpr[GPR_RDX] = PORT;
    string_io(&vcpu, &io);
}

#define RUN(code, in, size) run(code, sizeof(code) - 1, in, size)

static void rep_outsb_sends_every_byte_in_order(void **state)
{
    static const char text[] = "Hello from a guest\n";

    (void)state;
    enter_protected_mode();
    memcpy(ram + 0x50000, text, sizeof(text));
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RCX] = sizeof(text);
    RUN("\xf3\x6e", false, 1);
    assert_int_equal(record_count, sizeof(text));
    for (uint32_t i = 0; i < sizeof(text); i++) {
        assert_true(records[i].write && records[i].address == PORT && records[i].size == 1);
        assert_int_equal(records[i].value, (uint8_t)text[i]);
    }
    assert_int_equal(vcpu.gpr[GPR_RSI], 0x50000 + sizeof(text));
    assert_int_equal(vcpu.gpr[GPR_RCX], 0);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
}

static void rep_insd_fills_memory_over_a_page_border(void **state)
{
    (void)state;
    enter_long_mode();
    port_value = 100;
    vcpu.gpr[GPR_RDI] = WINDOW + 0x3ff2; /* page 3 and 4; one element crosses */
    vcpu.gpr[GPR_RCX] = 8;
    RUN("\xf3\x6d", true, 4);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t value;

        memcpy(&value, ram + WINDOW_RAM + 0x3ff2 + 4 * i, 4);
        assert_int_equal(value, 100 + i);
    }
    assert_int_equal(vcpu.gpr[GPR_RDI], WINDOW + 0x3ff2 + 32);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
}

static void backwards_goes_down(void **state)
{
    (void)state;
    enter_protected_mode();
    memcpy(ram + 0x50000, "\x01\x02\x03\x04\x05\x06", 6);
    vcpu.rflags |= RFLAGS_DF;
    vcpu.gpr[GPR_RSI] = 0x50004;
    vcpu.gpr[GPR_RCX] = 3;
    RUN("\xf3\x66\x6f", false, 2);
    assert_int_equal(record_count, 3);
    assert_true(records[0].value == 0x0605 && records[1].value == 0x0403 && records[2].value == 0x0201);
    assert_int_equal(vcpu.gpr[GPR_RSI], 0x4fffe);
}

static void real_mode_outs_honours_segment_override_and_wraps(void **state)
{
    (void)state;
    enter_real_mode();
    vcpu.system.segments[SEGMENT_ES].base = 0x50000;
    ram[0x5ffff] = 0x11;
    ram[0x50000] = 0x22;
    vcpu.gpr[GPR_RSI] = 0x7777ffff;
    vcpu.gpr[GPR_RCX] = 0xabcd0002;
    RUN("\xf3\x26\x6e", false, 1);
    assert_int_equal(record_count, 2);
    assert_true(records[0].value == 0x11 && records[1].value == 0x22);
    assert_int_equal(vcpu.gpr[GPR_RSI], 0x77770001);
    assert_int_equal(vcpu.gpr[GPR_RCX], 0xabcd0000);
    assert_int_equal(vcpu.rip, 3);
}

static void ins_ignores_the_segment_override(void **state)
{
    (void)state;
    enter_real_mode();
    port_value = 0x5c;
    vcpu.system.segments[SEGMENT_ES].base = 0x50000;
    vcpu.system.segments[SEGMENT_SS].base = 0x60000;
    RUN("\x36\x6c", true, 1);
    assert_int_equal(ram[0x50000], 0x5c);
    assert_int_equal(ram[0x60000], 0);
    assert_int_equal(vcpu.gpr[GPR_RDI], 1);
}

static void a_fault_takes_nothing_from_the_port_and_keeps_what_was_done(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PT, 4, 0);
    port_value = 1;
    vcpu.gpr[GPR_RDI] = WINDOW + 0x3ffc;
    vcpu.gpr[GPR_RCX] = 10;
    RUN("\xf3\x6c", true, 1);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_WRITE, CODE_ADDRESS));
    assert_int_equal(vcpu.system.cr2, WINDOW + 0x4000);
    assert_int_equal(record_count, 4);
    assert_int_equal(port_value, 5);
    assert_int_equal(vcpu.gpr[GPR_RCX], 6);
    assert_int_equal(vcpu.gpr[GPR_RDI], WINDOW + 0x4000);
    assert_memory_equal(ram + WINDOW_RAM + 0x3ffc, "\x01\x02\x03\x04", 4);
}

static void a_segment_limit_stops_a_run_at_the_right_element(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.system.segments[SEGMENT_DS].limit = 0x50002;
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RCX] = 8;
    RUN("\xf3\x6e", false, 1);
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));
    assert_int_equal(record_count, 3);
    assert_int_equal(vcpu.gpr[GPR_RSI], 0x50003);
}

static void a_long_string_is_cut_into_exits(void **state)
{
    uint32_t exits = 0;

    (void)state;
    enter_protected_mode();
    for (uint32_t i = 0; i < 4000; i++) {
        ram[0x50000 + i] = (uint8_t)(i * 7);
    }
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RCX] = 4000;
    for (; vcpu.rip == CODE_ADDRESS && exits < 20; exits++) {
        RUN("\xf3\x6e", false, 1);
        assert_true(record_count <= (exits + 1) * STRING_ELEMENTS_PER_EXIT);
    }
    assert_int_equal(exits, (4000 + STRING_ELEMENTS_PER_EXIT - 1) / STRING_ELEMENTS_PER_EXIT);
    assert_int_equal(record_count, 4000);
    for (uint32_t i = 0; i < 4000; i++) {
        assert_int_equal(records[i].value, (uint8_t)(i * 7));
    }
}

/* Each look at the clock takes as long as half of what an exit may. */
static void an_exit_ends_by_the_clock_and_goes_on_afterwards(void **state)
{
    uint32_t exits = 0;

    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RCX] = 100;
    support_tick = EXIT_TICKS / 2;
    while (vcpu.gpr[GPR_RCX] != 0) {
        uint32_t before = record_count;

        vcpu.exit_tsc = support_now;
        RUN("\xf3\x6e", false, 1);
        assert_in_range(record_count - before, 1, 3);
        assert_int_equal(vcpu.gpr[GPR_RCX] + record_count, 100);
        assert_int_equal(vcpu.gpr[GPR_RSI], 0x50000 + record_count);
        exits++;
    }
    assert_in_range(exits, 34, 100);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
}

static void an_exit_ends_with_the_vcpus_turn_and_does_one_element_at_least(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RCX] = 100;
    vcpu.exit_tsc = support_now = 5000;
    vcpu.leave_at = 4000; /* over already */
    RUN("\xf3\x6e", false, 1);
    assert_int_equal(record_count, 1);
    assert_int_equal(vcpu.gpr[GPR_RCX], 99);
    assert_int_equal(vcpu.rip, CODE_ADDRESS);
}

/* Two vCPUs: the platform is let go after each element, and where it is not to be had the instruction waits. */
static void an_element_that_cannot_have_the_platform_is_not_done(void **state)
{
    (void)state;
    enter_protected_mode();
    guest.vcpu_count = 2;
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RCX] = 5;
    platform_taken = true;
    RUN("\xf3\x6e", false, 1);
    assert_int_equal(record_count, 0);
    assert_int_equal(vcpu.gpr[GPR_RCX], 5);
    assert_int_equal(vcpu.rip, CODE_ADDRESS);
    assert_int_equal(vcpu.rflags & RFLAGS_RF, 0);
    assert_int_equal(vcpu.requests, VCPU_YIELD);
    platform_taken = false;
    RUN("\xf3\x6e", false, 1);
    assert_int_equal(record_count, 5);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
    guest_release(&vcpu); /* as exit_dispatch() does */
    assert_false(vcpu.holds_platform);
}

static void a_string_may_come_from_a_device_and_go_to_one(void **state)
{
    (void)state;
    enter_protected_mode();
    memcpy(device, "\x31\x32\x33", 3);
    vcpu.gpr[GPR_RSI] = DEVICE_GPA;
    vcpu.gpr[GPR_RCX] = 3;
    RUN("\xf3\x6e", false, 1);
    assert_int_equal(record_count, 6);
    assert_true(!records[0].write && records[0].address == DEVICE_GPA && records[1].write && records[1].value == 0x31);
    vcpu.rip = CODE_ADDRESS;
    port_value = 0x44;
    vcpu.gpr[GPR_RDI] = DEVICE_GPA + 8;
    RUN("\x6c", true, 1);
    assert_int_equal(device[8], 0x44);
}

static void a_port_that_no_device_answers_gives_ones(void **state)
{
    const struct exit_io io = {.port = 0xffff, .size = 2, .in = true, .string = true};

    (void)state;
    enter_protected_mode();
    put_code("\x66\x6d", 2);
    vcpu.gpr[GPR_RDI] = 0x50000;
    string_io(&vcpu, &io);
    assert_memory_equal(ram + 0x50000, "\xff\xff\x00", 3);
}

static void rep_with_nothing_to_do_only_moves_rip(void **state)
{
    (void)state;
    enter_protected_mode();
    RUN("\xf3\x6e", false, 1);
    assert_int_equal(record_count, 0);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
}

static void other_bytes_at_rip_stop_the_guest(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.refetch_rip = CODE_ADDRESS; /* not for the first time */
    vcpu.refetches = 100;
    RUN("\xee", false, 1); /* out dx, al */
    assert_true(guest.state == GUEST_CRASHED && guest.failure_code == GUEST_CODE_UNDECODABLE);
    assert_non_null(strstr(guest.report, "port 0xe9"));
}

/* --- executed after another exit: the guest has put the instruction there meanwhile --- */

#define TSS 0x60000u
#define TSS_MAP 104u
#define IOPL_3 0x3000u

/* A 32-bit TSS with a map behind its registers. */
static void enter_ring_3(uint32_t limit)
{
    const uint16_t map = TSS_MAP;

    enter_protected_mode();
    vcpu.system.cpl = 3;
    vcpu.system.segments[SEGMENT_TR] = (struct segment){.base = TSS, .limit = limit, .access = 0x8b};
    memcpy(ram + TSS + 102, &map, sizeof(map));
    memcpy(ram + 0x50000, "\x5a\xa5", 2);
}

static void refuse_port(uint16_t port)
{
    ram[TSS + TSS_MAP + port / 8] |= (uint8_t)(1u << port % 8);
}

/* What a write of a device's register became: OUTS of `size` bytes to `port`. True: it was done. */
static bool writes(uint16_t port, uint8_t size)
{
    const struct exit_nested_fault fault = {.address = gpa(DEVICE_GPA), .write = true};

    vcpu.pending.valid = false;
    vcpu.rip = CODE_ADDRESS;
    vcpu.gpr[GPR_RSI] = 0x50000;
    vcpu.gpr[GPR_RDX] = port;
    record_count = 0;
    put_code(size == 1 ? "\x6e" : size == 2 ? "\x66\x6f" : "\x6f", size == 2 ? 2 : 1);
    emulate_nested_fault(&vcpu, &fault);
    if (record_count == 0) {
        assert_true(vcpu.pending.valid && vcpu.pending.vector == EXCEPTION_GP && vcpu.pending.error == 0);
        assert_int_equal(vcpu.rip, CODE_ADDRESS);
        assert_int_equal(vcpu.gpr[GPR_RSI], 0x50000);
        return false;
    }
    assert_true(!vcpu.pending.valid && record_count == 1 && records[0].address == port && records[0].size == size);
    return true;
}

static void ring_3_needs_iopl_or_the_map_as_the_cpu_would_check_it(void **state)
{
    (void)state;
    enter_ring_3(TSS_MAP + 0x2000);
    assert_true(writes(PORT, 1)); /* the map allows all */
    refuse_port(PORT);
    assert_false(writes(PORT, 1));
    vcpu.rflags |= IOPL_3;
    assert_true(writes(PORT, 1));
    vcpu.rflags &= ~(uint64_t)0x1000; /* IOPL 2 */
    assert_false(writes(PORT, 1));
    vcpu.system.cpl = 2;
    assert_true(writes(PORT, 1));
}

static void every_port_of_an_access_is_looked_up_in_the_map(void **state)
{
    (void)state;
    for (uint16_t port = 0xe0; port < 0xf8; port++) {
        for (uint8_t size = 1; size <= 4; size = (uint8_t)(size * 2)) {
            enter_ring_3(TSS_MAP + 0x2000);
            refuse_port(0xec);
            assert_int_equal(writes(port, size), port > 0xec || port + size <= 0xec);
        }
    }
}

static void virtual_8086_code_has_the_map_alone(void **state)
{
    (void)state;
    enter_ring_3(TSS_MAP + 0x2000);
    refuse_port(PORT);
    vcpu.rflags |= IOPL_3;
    assert_true(writes(PORT, 1));
    vcpu.rflags |= RFLAGS_VM;
    assert_false(writes(PORT, 1));
    assert_true(writes(PORT + 1, 1));
}

static void a_tss_without_a_map_allows_nothing(void **state)
{
    (void)state;
    enter_ring_3(TSS_MAP + PORT / 8); /* the byte behind is looked at as well */
    assert_false(writes(PORT, 1));
    enter_ring_3(TSS_MAP + PORT / 8 + 1);
    assert_true(writes(PORT, 1));
    enter_ring_3(102); /* half of the map's place */
    assert_false(writes(PORT, 1));
    enter_ring_3(TSS_MAP + 0x2000);
    vcpu.system.segments[SEGMENT_TR].access = 0x83; /* of 16 bits */
    assert_false(writes(PORT, 1));
    vcpu.system.segments[SEGMENT_TR].access = SEGMENT_UNUSABLE;
    assert_false(writes(PORT, 1));
}

static void other_bytes_at_rip_are_left_to_the_cpu_sixteen_times(void **state)
{
    (void)state;
    enter_protected_mode();
    for (uint32_t i = 0; i < 17; i++) {
        RUN("\xee", false, 1); /* out dx, al */
        assert_int_equal(guest.state, GUEST_RUNNING);
        assert_true(!vcpu.pending.valid && vcpu.rip == CODE_ADDRESS && record_count == 0);
    }
    RUN("\xee", false, 1);
    assert_int_equal(guest.failure_code, GUEST_CODE_UNDECODABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rep_outsb_sends_every_byte_in_order),
        cmocka_unit_test(rep_insd_fills_memory_over_a_page_border),
        cmocka_unit_test(backwards_goes_down),
        cmocka_unit_test(real_mode_outs_honours_segment_override_and_wraps),
        cmocka_unit_test(ins_ignores_the_segment_override),
        cmocka_unit_test(a_fault_takes_nothing_from_the_port_and_keeps_what_was_done),
        cmocka_unit_test(a_segment_limit_stops_a_run_at_the_right_element),
        cmocka_unit_test(a_long_string_is_cut_into_exits),
        cmocka_unit_test(an_exit_ends_by_the_clock_and_goes_on_afterwards),
        cmocka_unit_test(an_exit_ends_with_the_vcpus_turn_and_does_one_element_at_least),
        cmocka_unit_test(an_element_that_cannot_have_the_platform_is_not_done),
        cmocka_unit_test(a_string_may_come_from_a_device_and_go_to_one),
        cmocka_unit_test(a_port_that_no_device_answers_gives_ones),
        cmocka_unit_test(rep_with_nothing_to_do_only_moves_rip),
        cmocka_unit_test(other_bytes_at_rip_stop_the_guest),
        cmocka_unit_test(other_bytes_at_rip_are_left_to_the_cpu_sixteen_times),
        cmocka_unit_test(ring_3_needs_iopl_or_the_map_as_the_cpu_would_check_it),
        cmocka_unit_test(every_port_of_an_access_is_looked_up_in_the_map),
        cmocka_unit_test(virtual_8086_code_has_the_map_alone),
        cmocka_unit_test(a_tss_without_a_map_allows_nothing),
    };

    return cmocka_run_group_tests_name("string I/O", tests, NULL, NULL);
}
