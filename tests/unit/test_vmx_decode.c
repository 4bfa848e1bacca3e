/* SPDX-License-Identifier: MIT */
/*
 * From VMX's exit words to the neutral exit. Words marked "recorded" are those of a Linux guest and of our own guests
 * in Bochs 2.7 (corei7_skylake_x), printed by a temporary log line in hv/vmx/run.c; the others follow the manual's
 * tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/vmx/decode.h"

#include <string.h>

/* In the order of struct vmx_exit_words: reason, event, error, vectoring, vectoring error, length, qualification,
 * gpa. */
static struct vm_exit decode(struct vmx_exit_words words)
{
    struct vm_exit exit;

    memset(&exit, 0xa5, sizeof(exit));
    vmx_decode_exit(&words, &exit);
    assert_int_equal(exit.raw, words.reason);
    assert_int_equal(exit.length, words.length);
    return exit;
}

static struct vm_exit decode_io_word(uint64_t qualification)
{
    struct vm_exit exit = decode((struct vmx_exit_words){.reason = 30, .length = 1, .qualification = qualification});

    assert_int_equal(exit.kind, EXIT_IO);
    return exit;
}

/* SDM 3C 28.2.1, table 28-5. */
static void port_accesses_have_port_size_and_direction(void **state)
{
    struct vm_exit exit;

    (void)state;
    exit = decode_io_word(0x00700008); /* in al, 0x70 */
    assert_int_equal(exit.io.port, 0x70);
    assert_int_equal(exit.io.size, 1);
    assert_true(exit.io.in && !exit.io.string && !exit.io.rep);
    exit = decode_io_word(0xcf80003); /* out dx, eax with 0xcf8 */
    assert_int_equal(exit.io.port, 0xcf8);
    assert_int_equal(exit.io.size, 4);
    assert_true(!exit.io.in && !exit.io.string);
    exit = decode_io_word(0xffff0039); /* rep insw from 0xffff */
    assert_int_equal(exit.io.port, 0xffff);
    assert_int_equal(exit.io.size, 2);
    assert_true(exit.io.in && exit.io.string && exit.io.rep);
    exit = decode_io_word(0x3f80010); /* outsb */
    assert_true(!exit.io.in && exit.io.string && !exit.io.rep);
    exit = decode_io_word(0x800040); /* out 0x80, al with an immediate port */
    assert_int_equal(exit.io.port, 0x80);
    assert_false(exit.io.string);
}

static struct vm_exit decode_ept(uint64_t qualification, uint64_t address)
{
    struct vm_exit exit =
        decode((struct vmx_exit_words){.reason = 48, .qualification = qualification, .guest_physical = address});

    assert_int_equal(exit.kind, EXIT_NESTED_FAULT);
    assert_int_equal(exit.fault.address.value, address);
    return exit;
}

/* Table 27-7. */
static void ept_violations_have_address_direction_and_cause(void **state)
{
    struct vm_exit exit;

    (void)state;
    exit = decode_ept(0x181, 0xfec00010); /* a read of the I/O APIC */
    assert_true(!exit.fault.write && !exit.fault.fetch && !exit.fault.table_walk);
    exit = decode_ept(0x182, 0xfee000b0); /* a write to the local APIC */
    assert_true(exit.fault.write && !exit.fault.fetch && !exit.fault.table_walk);
    exit = decode_ept(0x184, 0xd0000000); /* a fetch */
    assert_true(exit.fault.fetch && !exit.fault.write);
    exit =
        decode_ept(0x81, 0xd0000000); /* the walk of the guest's tables: linear address valid, not the final access */
    assert_true(exit.fault.table_walk);
    exit = decode_ept(0x1, 0xd0000000); /* no linear address: loading PDPTEs */
    assert_false(exit.fault.table_walk);
    exit = decode((struct vmx_exit_words){.reason = 49, .guest_physical = 0x1000});
    assert_int_equal(exit.kind, EXIT_NESTED_FAULT);
}

/* Table 27-3. */
static void control_register_accesses_have_register_and_way(void **state)
{
    struct vm_exit exit;

    (void)state;
    exit = decode((struct vmx_exit_words){.reason = 28, .length = 3, .qualification = 0x300}); /* mov cr0, rbx */
    assert_int_equal(exit.kind, EXIT_CR_ACCESS);
    assert_int_equal(exit.cr.number, 0);
    assert_int_equal(exit.cr.gpr, GPR_RBX);
    assert_true(exit.cr.write && !exit.cr.clts && !exit.cr.lmsw);
    exit = decode((struct vmx_exit_words){.reason = 28, .qualification = 0xf14}); /* mov r15, cr4 */
    assert_int_equal(exit.cr.number, 4);
    assert_int_equal(exit.cr.gpr, GPR_R15);
    assert_false(exit.cr.write);
    exit = decode((struct vmx_exit_words){.reason = 28, .qualification = 0x20});
    assert_true(exit.cr.clts && exit.cr.write && !exit.cr.lmsw);
    exit = decode((struct vmx_exit_words){.reason = 28, .qualification = 0x00110030});
    assert_true(exit.cr.lmsw && exit.cr.write && !exit.cr.clts);
    assert_int_equal(exit.cr.lmsw_source, 0x11);
    exit = decode((struct vmx_exit_words){.reason = 28, .qualification = 8 | 1 << 8}); /* mov cr8, rcx */
    assert_int_equal(exit.cr.number, 8);
    assert_int_equal(exit.cr.gpr, GPR_RCX);
}

/* Table 27-2. A gate's error code is in the IDT-vectoring fields. */
static void task_switches_have_selector_and_source(void **state)
{
    static const enum task_switch_reason reasons[] = {TASK_SWITCH_CALL, TASK_SWITCH_IRET, TASK_SWITCH_JMP,
                                                      TASK_SWITCH_GATE};

    (void)state;
    for (uint64_t source = 0; source < 4; source++) {
        struct vm_exit exit =
            decode((struct vmx_exit_words){.reason = 9, .length = 2, .qualification = source << 30 | 0x28});

        assert_int_equal(exit.kind, EXIT_TASK_SWITCH);
        assert_int_equal(exit.task.selector, 0x28);
        assert_int_equal(exit.task.reason, reasons[source]);
        assert_false(exit.task.has_error);
    }
    struct vm_exit fault = decode((struct vmx_exit_words){
        .reason = 9, .qualification = 0xc0000030, .vectoring = 0x80000b08, .vectoring_error = 0x10});
    assert_true(fault.task.has_error);
    assert_int_equal(fault.task.error, 0x10);
    fault = decode((struct vmx_exit_words){.reason = 9, .qualification = 0xc0000030, .vectoring = 0x00000b08});
    assert_false(fault.task.has_error); /* not valid */
}

static void exceptions_are_the_guests_and_nmis_the_hosts(void **state)
{
    struct vm_exit exit;

    (void)state;
    exit = decode((struct vmx_exit_words){.event = 0x80000301, .qualification = 0x4000}); /* #DB, single step */
    assert_int_equal(exit.kind, EXIT_EXCEPTION);
    assert_int_equal(exit.exception.vector, EXCEPTION_DB);
    assert_false(exit.exception.has_error);
    assert_int_equal(exit.exception.address, 0x4000);
    exit = decode((struct vmx_exit_words){.event = 0x80000b11}); /* #AC */
    assert_int_equal(exit.kind, EXIT_EXCEPTION);
    assert_true(exit.exception.has_error);
    assert_int_equal(exit.exception.error, 0);
    exit = decode((struct vmx_exit_words){.event = 0x80000b0e, .error_code = 7, .qualification = 0x1234});
    assert_int_equal(exit.exception.error, 7);
    assert_int_equal(exit.exception.address, 0x1234);
    exit = decode((struct vmx_exit_words){.event = 0x80000202}); /* NMI */
    assert_int_equal(exit.kind, EXIT_HOST_INTERRUPT);
    assert_false(exit.exception.by_int1);
}

static void int1_keeps_its_length(void **state)
{
    const struct vmx_exit_words words = {.event = 0x80000501, .length = 2};
    const struct vcpu_event again = {
        .valid = true, .vector = EXCEPTION_DB, .kind = EVENT_PRIVILEGED_SOFTWARE_EXCEPTION, .length = 2};
    struct vm_exit exit = decode(words);

    (void)state;
    assert_int_equal(exit.kind, EXIT_EXCEPTION);
    assert_int_equal(exit.exception.vector, EXCEPTION_DB);
    assert_true(exit.exception.by_int1);
    assert_int_equal(exit.length, 2);
    assert_int_equal(vmx_encode_event(&again), 0x80000501);
    assert_false(decode((struct vmx_exit_words){.event = 0x80000301}).exception.by_int1);
}

static void machine_checks_are_the_hosts_in_the_guest_and_at_its_entry(void **state)
{
    (void)state;
    assert_true(vmx_exit_is_machine_check(&(struct vmx_exit_words){.event = 0x80000312}));
    assert_true(vmx_exit_is_machine_check(&(struct vmx_exit_words){.reason = 0x80000029}));
    assert_false(vmx_exit_is_machine_check(&(struct vmx_exit_words){.event = 0x80000202}));
    assert_false(vmx_exit_is_machine_check(&(struct vmx_exit_words){.event = 0x80000b11}));
    assert_false(vmx_exit_is_machine_check(&(struct vmx_exit_words){.reason = 0x80000021, .event = 0x80000312}));
    assert_false(vmx_exit_is_machine_check(&(struct vmx_exit_words){.reason = 1, .event = 0x80000312}));
}

/* SDM 3D appendix C: every reason up to 70, those that the hypervisor never asks for included. */
static void every_exit_reason_has_its_kind(void **state)
{
    static const struct {
        uint32_t reason;
        enum exit_kind kind;
    } rows[] = {
        {1, EXIT_HOST_INTERRUPT},   {2, EXIT_SHUTDOWN},
        {3, EXIT_HOST_INTERRUPT},   {4, EXIT_HOST_INTERRUPT},
        {52, EXIT_HOST_INTERRUPT},  {7, EXIT_INTERRUPT_WINDOW},
        {8, EXIT_INTERRUPT_WINDOW}, {10, EXIT_CPUID},
        {11, EXIT_UNDEFINED},       {12, EXIT_HLT},
        {13, EXIT_WBINVD},          {14, EXIT_NOTHING},
        {15, EXIT_RDPMC},           {17, EXIT_UNDEFINED},
        {18, EXIT_HYPERCALL},       {19, EXIT_UNDEFINED},
        {20, EXIT_UNDEFINED},       {21, EXIT_UNDEFINED},
        {22, EXIT_UNDEFINED},       {23, EXIT_UNDEFINED},
        {24, EXIT_UNDEFINED},       {25, EXIT_UNDEFINED},
        {26, EXIT_UNDEFINED},       {27, EXIT_UNDEFINED},
        {28, EXIT_CR_ACCESS},       {30, EXIT_IO},
        {31, EXIT_RDMSR},           {32, EXIT_WRMSR},
        {36, EXIT_UNDEFINED},       {39, EXIT_UNDEFINED},
        {40, EXIT_PAUSE},           {43, EXIT_INTERRUPT_WINDOW},
        {44, EXIT_APIC_ACCESS},     {45, EXIT_EOI},
        {48, EXIT_NESTED_FAULT},    {49, EXIT_NESTED_FAULT},
        {50, EXIT_UNDEFINED},       {53, EXIT_UNDEFINED},
        {54, EXIT_WBINVD},          {55, EXIT_XSETBV},
        {56, EXIT_APIC_WRITE},      {59, EXIT_UNDEFINED},
        {60, EXIT_UNDEFINED},       {63, EXIT_UNDEFINED},
        {64, EXIT_UNDEFINED},       {65, EXIT_UNDEFINED},
        {67, EXIT_UNDEFINED},       {68, EXIT_UNDEFINED},
        {69, EXIT_UNDEFINED},       {70, EXIT_UNDEFINED},
        {76, EXIT_UNDEFINED},       {77, EXIT_UNDEFINED},
        {9, EXIT_TASK_SWITCH},
    };
    enum exit_kind kinds[80];

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        kinds[i] = EXIT_UNKNOWN;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        kinds[rows[i].reason] = rows[i].kind;
    }
    for (uint32_t reason = 1; reason < ARRAY_COUNT(kinds); reason++) {
        struct vm_exit exit = decode((struct vmx_exit_words){.reason = reason});

        if (exit.kind != kinds[reason]) {
            fail_msg("reason %u is decoded as '%s', not '%s'", reason, exit_kind_name(exit.kind),
                     exit_kind_name(kinds[reason]));
        }
    }
}

static void failed_entries_are_told_from_exits_with_the_same_number(void **state)
{
    struct vm_exit exit = decode((struct vmx_exit_words){.reason = 0x80000021, .qualification = 4});

    (void)state;
    assert_int_equal(exit.kind, EXIT_INVALID);
    assert_int_equal(exit.words.info[0], 4);
    assert_int_equal(decode((struct vmx_exit_words){.reason = 0x80000022}).kind, EXIT_INVALID);
    assert_int_equal(decode((struct vmx_exit_words){.reason = 0x80000029}).kind, EXIT_INVALID);
}

static void apic_writes_have_the_register_and_unknown_exits_their_words(void **state)
{
    struct vm_exit exit = decode((struct vmx_exit_words){.reason = 56, .qualification = 0x3f0});

    (void)state;
    assert_int_equal(exit.apic.offset, 0x3f0);
    exit = decode((struct vmx_exit_words){.reason = 62, .qualification = 0x1111, .guest_physical = 0x2222});
    assert_int_equal(exit.kind, EXIT_UNKNOWN);
    assert_int_equal(exit.words.info[0], 0x1111);
    assert_int_equal(exit.words.info[1], 0x2222);
}

static void apic_accesses_have_their_address_and_kind(void **state)
{
    static const struct {
        uint64_t type;
        bool write, fetch, table_walk;
    } rows[] = {
        {0, false, false, false}, {1, true, false, false},  {2, false, true, false},
        {3, false, false, false}, {10, false, false, true}, {15, false, false, true},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct vm_exit exit =
            decode((struct vmx_exit_words){.reason = 44, .qualification = 0x390 | rows[i].type << 12 | 1ULL << 16});

        assert_int_equal(exit.kind, EXIT_APIC_ACCESS);
        assert_int_equal(exit.fault.address.value, 0xfee00390);
        assert_int_equal(exit.fault.write, rows[i].write);
        assert_int_equal(exit.fault.fetch, rows[i].fetch);
        assert_int_equal(exit.fault.table_walk, rows[i].table_walk);
    }
}

/* Every exit of an instruction that is stepped over needs its length; faults and events do not have one. */
static void lengths_are_read_where_an_instruction_is_stepped_over(void **state)
{
    (void)state;
    for (uint32_t reason = 1; reason <= 80; reason++) {
        struct vm_exit exit = decode((struct vmx_exit_words){.reason = reason});
        bool stepped = exit.kind == EXIT_CPUID || exit.kind == EXIT_HLT || exit.kind == EXIT_WBINVD ||
                       exit.kind == EXIT_HYPERCALL || exit.kind == EXIT_CR_ACCESS || exit.kind == EXIT_IO ||
                       exit.kind == EXIT_RDMSR || exit.kind == EXIT_WRMSR || exit.kind == EXIT_NOTHING ||
                       exit.kind == EXIT_PAUSE || exit.kind == EXIT_XSETBV || exit.kind == EXIT_RDPMC ||
                       exit.kind == EXIT_TASK_SWITCH;

        if (vmx_exit_needs_length(reason) != stepped) {
            fail_msg("reason %u", reason);
        }
    }
}

static void qualifications_are_read_where_they_are_decoded(void **state)
{
    static const uint8_t wanted[] = {0, 9, 28, 30, 48, 49, 45, 56};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_true(vmx_exit_needs_qualification(wanted[i]));
    }
    assert_true(vmx_exit_needs_qualification(0x80000021));
    assert_false(vmx_exit_needs_qualification(10)); /* the frequent ones without */
    assert_false(vmx_exit_needs_qualification(1));
    assert_false(vmx_exit_needs_qualification(32));
}

/* SDM 3C 25.9.3. */
static void an_interrupted_delivery_is_given_back(void **state)
{
    struct vcpu_event event;

    (void)state;
    assert_false(vmx_decode_event(0, 0).valid);
    event = vmx_decode_event(0x800000ec, 0); /* the timer */
    assert_true(event.valid);
    assert_int_equal(event.kind, EVENT_INTERRUPT);
    assert_int_equal(event.vector, 0xec);
    event = vmx_decode_event(0x80000b0e, 2); /* #PF */
    assert_int_equal(event.kind, EVENT_EXCEPTION);
    assert_true(event.has_error);
    assert_int_equal(event.error, 2);
    event = vmx_decode_event(0x80000202, 0);
    assert_int_equal(event.kind, EVENT_NMI);
    /* INT n, INT1, INT3: the instruction runs again. */
    assert_false(vmx_decode_event(0x80000480, 0).valid);
    assert_false(vmx_decode_event(0x80000501, 0).valid);
    assert_false(vmx_decode_event(0x80000603, 0).valid);
}

static void what_is_injected_is_what_was_taken(void **state)
{
    static const uint32_t words[] = {0x800000ec, 0x80000202, 0x80000b0e, 0x80000306, 0x80000b08, 0x80000301};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(words); i++) {
        struct vcpu_event event = vmx_decode_event(words[i], 0);

        assert_int_equal(vmx_encode_event(&event), words[i]);
    }
}

#include "tests/unit/vmx_recorded_exits.h"

/* The recorded words in the order in which they came. */
static void recorded_exits_mean_what_the_guest_did(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(recorded); i++) {
        const struct recorded_exit *row = &recorded[i];
        struct vm_exit exit = decode(row->words);

        if (exit.kind != row->kind) {
            fail_msg("row %u (%s) is '%s'", i, row->what, exit_kind_name(exit.kind));
        }
        if (exit.kind == EXIT_IO) {
            assert_int_equal(exit.io.port, row->resource);
            assert_int_equal(exit.io.in, row->reads);
            assert_int_equal(exit.io.size, row->size);
        } else if (exit.kind == EXIT_NESTED_FAULT) {
            assert_int_equal(exit.fault.address.value, row->resource);
            assert_int_equal(!exit.fault.write, row->reads);
        } else if (exit.kind == EXIT_CR_ACCESS) {
            assert_int_equal(exit.cr.number, row->resource);
            assert_int_equal(!exit.cr.write, row->reads);
        }
        assert_int_equal(vmx_exit_needs_length(row->words.reason), row->words.length != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_accesses_have_port_size_and_direction),
        cmocka_unit_test(ept_violations_have_address_direction_and_cause),
        cmocka_unit_test(control_register_accesses_have_register_and_way),
        cmocka_unit_test(task_switches_have_selector_and_source),
        cmocka_unit_test(exceptions_are_the_guests_and_nmis_the_hosts),
        cmocka_unit_test(int1_keeps_its_length),
        cmocka_unit_test(machine_checks_are_the_hosts_in_the_guest_and_at_its_entry),
        cmocka_unit_test(every_exit_reason_has_its_kind),
        cmocka_unit_test(failed_entries_are_told_from_exits_with_the_same_number),
        cmocka_unit_test(apic_writes_have_the_register_and_unknown_exits_their_words),
        cmocka_unit_test(apic_accesses_have_their_address_and_kind),
        cmocka_unit_test(lengths_are_read_where_an_instruction_is_stepped_over),
        cmocka_unit_test(qualifications_are_read_where_they_are_decoded),
        cmocka_unit_test(an_interrupted_delivery_is_given_back),
        cmocka_unit_test(what_is_injected_is_what_was_taken),
        cmocka_unit_test(recorded_exits_mean_what_the_guest_did),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
