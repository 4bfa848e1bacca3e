/* SPDX-License-Identifier: MIT */
/*
 * From the VMCB's exit words to the neutral exit. Words marked "recorded" are those of a Linux guest in QEMU 7.2
 * (cpu max), printed by a temporary log line in hv/svm/run.c; the others follow the manual's tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/svm/decode.h"

#include <string.h>

static struct vm_exit decode_words(uint64_t code, uint64_t info1, uint64_t info2, uint64_t int_info)
{
    static struct vmcb vmcb;
    struct vm_exit exit;

    vmcb.exit_code = code;
    vmcb.exit_info1 = info1;
    vmcb.exit_info2 = info2;
    vmcb.exit_int_info = int_info;
    memset(&exit, 0xa5, sizeof(exit));
    svm_decode_exit(&vmcb, &exit);
    assert_int_equal(exit.raw, (uint32_t)code);
    assert_int_equal(exit.length, 0);
    return exit;
}

/* APM 2 15.10.2, figure 15-2. */
static void port_accesses_have_port_size_and_direction(void **state)
{
    struct vm_exit exit = decode_words(0x7b, 0x00710211, 0, 0); /* in al, 0x71 */

    (void)state;
    assert_int_equal(exit.kind, EXIT_IO);
    assert_int_equal(exit.io.port, 0x71);
    assert_int_equal(exit.io.size, 1);
    assert_true(exit.io.in && !exit.io.string && !exit.io.rep);
    exit = decode_words(0x7b, 0x0cf80240, 0, 0); /* out dx, eax */
    assert_int_equal(exit.io.port, 0xcf8);
    assert_int_equal(exit.io.size, 4);
    assert_false(exit.io.in);
    exit = decode_words(0x7b, 0xffff012d, 0, 0); /* rep insw */
    assert_int_equal(exit.io.port, 0xffff);
    assert_int_equal(exit.io.size, 2);
    assert_true(exit.io.in && exit.io.string && exit.io.rep);
}

/* APM 2 15.25.6. */
static void nested_faults_have_address_direction_and_cause(void **state)
{
    struct vm_exit exit = decode_words(0x400, 0x100000006, 0xfee00300, 0);

    (void)state;
    assert_int_equal(exit.kind, EXIT_NESTED_FAULT);
    assert_int_equal(exit.fault.address.value, 0xfee00300);
    assert_true(exit.fault.write && !exit.fault.fetch && !exit.fault.table_walk);
    exit = decode_words(0x400, 0x100000014, 0xd0000000, 0);
    assert_true(exit.fault.fetch && !exit.fault.write);
    exit = decode_words(0x400, 0x200000006, 0xd0000000, 0);
    assert_true(exit.fault.table_walk);
}

/* APM 2 15.14.1. */
static void task_switches_have_selector_and_source(void **state)
{
    struct vm_exit exit = decode_words(0x7d, 0x28, 1ULL << 36, 0);

    (void)state;
    assert_int_equal(exit.kind, EXIT_TASK_SWITCH);
    assert_int_equal(exit.task.selector, 0x28);
    assert_int_equal(exit.task.reason, TASK_SWITCH_IRET);
    exit = decode_words(0x7d, 0x28, 1ULL << 38, 0);
    assert_int_equal(exit.task.reason, TASK_SWITCH_JMP);
    exit = decode_words(0x7d, 0x28, 0, 0);
    assert_int_equal(exit.task.reason, TASK_SWITCH_CALL);
    exit = decode_words(0x7d, 0x30, 1ULL << 44 | 0x10, 0x80000b08);
    assert_int_equal(exit.task.reason, TASK_SWITCH_GATE);
    assert_true(exit.task.has_error);
    assert_int_equal(exit.task.error, 0x10);
}

static void exceptions_are_the_guests_and_machine_checks_the_hosts(void **state)
{
    static const uint8_t with_error[] = {8, 10, 11, 12, 13, 14, 17};

    (void)state;
    for (uint8_t vector = 0; vector < 32; vector++) {
        struct vm_exit exit = decode_words(0x40u + vector, 5, 0x1234, 0);
        bool has_error = false;

        for (uint32_t i = 0; i < ARRAY_COUNT(with_error); i++) {
            has_error = has_error || vector == with_error[i];
        }
        assert_int_equal(svm_exit_is_machine_check(0x40u + vector), vector == 18);
        assert_int_equal(exit.kind, EXIT_EXCEPTION);
        assert_int_equal(exit.exception.vector, vector);
        assert_int_equal(exit.exception.has_error, has_error);
        assert_int_equal(exit.exception.error, 5);
        assert_int_equal(exit.exception.address, 0x1234);
    }
}

static void rdpmc_is_a_kind_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(decode_words(0x6f, 7, 7, 0).kind, EXIT_RDPMC);
    assert_true(svm_exit_needs_length(0x6f));
}

static void msr_accesses_are_told_by_the_first_word(void **state)
{
    (void)state;
    assert_int_equal(decode_words(0x7c, 0, 0, 0).kind, EXIT_RDMSR);
    assert_int_equal(decode_words(0x7c, 1, 0, 0).kind, EXIT_WRMSR);
}

/* APM 2 appendix C: every code up to 0xa5 that is not decoded above. */
static void every_exit_code_has_its_kind(void **state)
{
    static const struct {
        uint32_t code;
        enum exit_kind kind;
    } rows[] = {
        {0x60, EXIT_HOST_INTERRUPT},
        {0x61, EXIT_HOST_INTERRUPT},
        {0x62, EXIT_HOST_INTERRUPT},
        {0x63, EXIT_HOST_INTERRUPT},
        {0x64, EXIT_INTERRUPT_WINDOW},
        {0x6f, EXIT_RDPMC},
        {0x72, EXIT_CPUID},
        {0x73, EXIT_UNDEFINED},
        {0x76, EXIT_WBINVD},
        {0x77, EXIT_PAUSE},
        {0x78, EXIT_HLT},
        {0x79, EXIT_NOTHING},
        {0x7a, EXIT_UNDEFINED},
        {0x7e, EXIT_NOTHING},
        {0x7f, EXIT_SHUTDOWN},
        {0x80, EXIT_UNDEFINED},
        {0x81, EXIT_HYPERCALL},
        {0x82, EXIT_UNDEFINED},
        {0x83, EXIT_UNDEFINED},
        {0x84, EXIT_UNDEFINED},
        {0x85, EXIT_UNDEFINED},
        {0x86, EXIT_UNDEFINED},
        {0x89, EXIT_WBINVD},
        {0x8a, EXIT_UNDEFINED},
        {0x8b, EXIT_UNDEFINED},
        {0x8c, EXIT_UNDEFINED},
        {0x8d, EXIT_XSETBV},
        {0x8e, EXIT_UNDEFINED},
    };

    (void)state;
    for (uint32_t code = 0x60; code <= 0xa5; code++) {
        enum exit_kind expected = EXIT_UNKNOWN;
        struct vm_exit exit;

        if (code == SVM_EXIT_IOIO || code == SVM_EXIT_MSR || code == SVM_EXIT_TASK_SWITCH) {
            continue;
        }
        for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
            expected = rows[i].code == code ? rows[i].kind : expected;
        }
        exit = decode_words(code, 0, 0, 0);
        if (exit.kind != expected) {
            fail_msg("code 0x%x is '%s', not '%s'", code, exit_kind_name(exit.kind), exit_kind_name(expected));
        }
    }
}

static void a_refused_entry_is_known_in_both_widths(void **state)
{
    (void)state;
    assert_int_equal(decode_words(~0ULL, 0, 0, 0).kind, EXIT_INVALID);
    assert_int_equal(decode_words(0xffffffff, 1, 2, 0).kind, EXIT_INVALID); /* recorded: QEMU 7.2 stores 32 bits */
    assert_int_equal(decode_words(0xffffffff, 1, 2, 0).words.info[1], 2);
}

static void lengths_are_needed_where_an_instruction_is_stepped_over(void **state)
{
    (void)state;
    for (uint32_t code = 0x60; code <= 0xa5; code++) {
        enum exit_kind kind = decode_words(code, 0, 0, 0).kind;
        bool stepped = kind == EXIT_CPUID || kind == EXIT_HLT || kind == EXIT_WBINVD || kind == EXIT_HYPERCALL ||
                       kind == EXIT_IO || kind == EXIT_RDMSR || kind == EXIT_WRMSR || kind == EXIT_XSETBV ||
                       code == SVM_EXIT_PAUSE;

        if (stepped && !svm_exit_needs_length(code)) {
            fail_msg("code 0x%x", code);
        }
    }
    assert_false(svm_exit_needs_length(SVM_EXIT_NPF));
    assert_false(svm_exit_needs_length(SVM_EXIT_INTR));
    assert_false(svm_exit_needs_length(SVM_EXIT_VINTR));
    assert_false(svm_exit_needs_length(SVM_EXIT_IRET));
    assert_false(svm_exit_needs_length(SVM_EXIT_SHUTDOWN));
}

/* APM 2 15.7.2, 15.20. */
static void an_interrupted_delivery_is_given_back_unless_an_instruction_caused_it(void **state)
{
    static const uint64_t back[] = {0x800000ec, 0x80000202, 0x200000b0e | 1ULL << 31, 0x80000306};
    static const uint64_t again[] = {0x80000480, 0x80000303, 0x80000304};
    struct vcpu_event event;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(back); i++) {
        event = svm_decode_event(back[i]);
        assert_true(event.valid);
        assert_int_equal(svm_encode_event(&event), back[i]);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(again); i++) {
        assert_false(svm_decode_event(again[i]).valid);
    }
    assert_false(svm_decode_event(0xec).valid);
    event = svm_decode_event(0x280000b0e);
    assert_int_equal(event.vector, EXCEPTION_PF);
    assert_true(event.has_error);
    assert_int_equal(event.error, 2);
}

/* APM 2 appendix B, table B-2: 12 bits there, 16 in the neutral form; a segment that is not present is "unusable". */
static void segments_survive_the_way_there_and_back(void **state)
{
    static const struct {
        uint16_t packed;
        uint32_t access;
    } rows[] = {
        {0x29b, 0x209b}, /* 64-bit code */
        {0xa9b, 0xa09b}, /* the same, coarse */
        {0xc93, 0xc093}, /* flat data */
        {0x093, 0x0093}, /* real-mode data */
        {0x08b, 0x008b}, /* busy TSS */
        {0x0f3, 0x00f3}, /* virtual-8086 */
        {0x193, 0x1093}, /* AVL */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct vmcb_segment vmcb_segment = {.selector = 8, .attributes = rows[i].packed, .limit = 0xfffff, .base = 1};
        struct segment segment = svm_decode_segment(&vmcb_segment);
        struct vmcb_segment back = svm_encode_segment(&segment);

        assert_int_equal(segment.access, rows[i].access);
        assert_memory_equal(&back, &vmcb_segment, sizeof(back));
    }
    struct vmcb_segment null_segment = {0};
    struct segment unusable = svm_decode_segment(&null_segment);
    assert_true((unusable.access & SEGMENT_UNUSABLE) != 0);
    assert_int_equal(svm_encode_segment(&unusable).attributes & 0x80, 0);
    unusable.access = SEGMENT_UNUSABLE | 0x93; /* as VMX may say it */
    assert_int_equal(svm_encode_segment(&unusable).attributes & 0x80, 0);
}

#include "tests/unit/svm_recorded_exits.h"

static void recorded_exits_mean_what_the_guest_did(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(recorded); i++) {
        const struct recorded_exit *row = &recorded[i];
        struct vm_exit exit = decode_words(row->code, row->info1, row->info2, row->int_info);

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
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_accesses_have_port_size_and_direction),
        cmocka_unit_test(nested_faults_have_address_direction_and_cause),
        cmocka_unit_test(task_switches_have_selector_and_source),
        cmocka_unit_test(exceptions_are_the_guests_and_machine_checks_the_hosts),
        cmocka_unit_test(rdpmc_is_a_kind_of_its_own),
        cmocka_unit_test(msr_accesses_are_told_by_the_first_word),
        cmocka_unit_test(every_exit_code_has_its_kind),
        cmocka_unit_test(a_refused_entry_is_known_in_both_widths),
        cmocka_unit_test(lengths_are_needed_where_an_instruction_is_stepped_over),
        cmocka_unit_test(an_interrupted_delivery_is_given_back_unless_an_instruction_caused_it),
        cmocka_unit_test(segments_survive_the_way_there_and_back),
        cmocka_unit_test(recorded_exits_mean_what_the_guest_did),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
