/* SPDX-License-Identifier: MIT */
/*
 * The crash report's walk: every paging mode's tables by name, and where it stops. Tables are written by hand.
 */
#include "hv/report/crash_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/vm_exit.h"
#include "hv/x86/registers.h"
#include "tests/unit/crash_guest.h"

#define PRESENT 3u
#define LARGE 0x80u

static char text[CRASH_TEXT_MAX];
static struct crash_walk walk;

static int set_up(void **state)
{
    (void)state;
    crash_guest_begin(CR0_PE | CR0_PG);
    return 0;
}

static const char *walk_text(uint64_t linear)
{
    crash_report_walk(&vcpu, linear, &walk);
    return crash_report_walk_text(&walk, text, sizeof(text));
}

static void long_mode(void)
{
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.efer = EFER_LME | EFER_LMA;
    vcpu.system.segments[SEGMENT_CS].access = SEGMENT_L;
}

static void four_levels_are_named_down_to_the_page(void **state)
{
    (void)state;
    long_mode();
    put(0x1000, 0x2000 | PRESENT, 8);
    put(0x2008, 0x3000 | PRESENT, 8);
    put(0x3010, 0x4000 | PRESENT, 8);
    put(0x4018, 0x5000 | PRESENT, 8);
    assert_string_equal(walk_text(0x40403123),
                        "PML4[0] 0x2003, PDPT[1] 0x3003, PD[2] 0x4003, PT[3] 0x5003: guest-physical 0x5123");
}

static void a_large_page_ends_the_walk(void **state)
{
    (void)state;
    long_mode();
    put(0x1000, 0x2000 | PRESENT, 8);
    put(0x2000, 0x3000 | PRESENT, 8);
    put(0x3008, 0x8000000000600000ULL | LARGE | PRESENT, 8);
    assert_string_equal(walk_text(0x212345),
                        "PML4[0] 0x2003, PDPT[0] 0x3003, PD[1] 0x8000000000600083: guest-physical 0x612345");
    put(0x2000, 0x40000000 | LARGE | PRESENT, 8);
    assert_string_equal(walk_text(0x212345), "PML4[0] 0x2003, PDPT[0] 0x40000083: guest-physical 0x40212345");
}

static void five_levels_begin_with_pml5(void **state)
{
    (void)state;
    long_mode();
    vcpu.system.cr4 |= 1u << 12;
    put(0x1008, 0x2000 | PRESENT, 8);
    assert_string_equal(walk_text(1ULL << 48), "PML5[1] 0x2003, PML4[0] 0x0: not present");
}

static void pae_takes_four_top_entries_from_an_unaligned_root(void **state)
{
    (void)state;
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.cr3 = 0x1020;
    put(0x1020 + 24, 0x2001, 8);
    put(0x2000, 0x200000 | LARGE | PRESENT, 8);
    assert_string_equal(walk_text(0xc0000044), "PDPT[3] 0x2001, PD[0] 0x200083: guest-physical 0x200044");
}

static void pages_of_four_mib_need_pse(void **state)
{
    (void)state;
    put(0x1004, 0x00802000 | LARGE | PRESENT, 4);
    vcpu.system.cr4 = 1u << 4;
    assert_string_equal(walk_text(0x400010), "PD[1] 0x802083: guest-physical 0x100800010");
    vcpu.system.cr4 = 0;
    assert_string_equal(walk_text(0x400010),
                        "PD[1] 0x802083: the next table, at guest-physical 0x802000, is not memory");
}

static void without_paging_the_address_is_its_own(void **state)
{
    (void)state;
    vcpu.system.cr0 = CR0_PE;
    assert_string_equal(walk_text(0x1234), "guest-physical 0x1234");
}

static void code_is_read_as_far_as_it_is_mapped(void **state)
{
    (void)state;
    long_mode();
    put(0x1000, 0x2000 | PRESENT, 8);
    put(0x2000, 0x3000 | PRESENT, 8);
    put(0x3000, 0x4000 | PRESENT, 8);
    put(0x4000, 0x5000 | PRESENT, 8); /* the next page is not present */
    put(0x5ffe, 0x0b0f, 2);
    vcpu.rip = 0xffe;
    assert_string_equal(crash_report_code_text(&vcpu, text, sizeof(text)), "0f 0b");
    vcpu.rip = 0x1000;
    assert_string_equal(crash_report_code_text(&vcpu, text, sizeof(text)), "no memory that can be read");
}

static void outside_long_mode_the_segment_counts(void **state)
{
    (void)state;
    vcpu.system.cr0 = 0;
    vcpu.system.segments[SEGMENT_CS].base = 0xffff0000;
    vcpu.rip = 0xfff0;
    assert_int_equal(crash_report_rip(&vcpu), 0xfffffff0);
}

static void note_exit(enum exit_kind kind, uint64_t detail, uint64_t rip)
{
    vcpu.ring[vcpu.ring_next++ & (EXIT_RING_ENTRIES - 1)] =
        (struct exit_record){.kind = (uint32_t)kind, .raw = 0x72, .detail = detail, .rip = rip};
}

static void exits_alike_are_told_once(void **state)
{
    uint32_t before;

    (void)state;
    note_exit(EXIT_IO, 0x3fd, 0x1000);
    for (uint32_t i = 0; i < 5; i++) {
        note_exit(EXIT_CPUID, 0, 0x2000);
    }
    before = crash_report_exits(&vcpu);
    assert_int_equal(before, 6);
    crash_report_exits_text(&vcpu, &before, 200, text, sizeof(text));
    assert_int_equal(before, 0);
    assert_string_equal(text, "-6 port I/O (0x72) 0x3fd at 0x1000; -5..-1 CPUID (0x72) 0x0 at 0x2000");
}

/* Each of the 64 is told once, in its order, whatever the width of a line. */
static void all_exits_that_are_kept_are_told(void **state)
{
    static const size_t widths[] = {20, 60, 84, 110, 300};

    (void)state;
    for (uint32_t i = 0; i < 3 * EXIT_RING_ENTRIES + 5; i++) {
        note_exit(EXIT_RDMSR, i, 0x100000 + i);
    }
    for (size_t w = 0; w < ARRAY_COUNT(widths); w++) {
        uint32_t before = crash_report_exits(&vcpu);
        uint32_t expected = EXIT_RING_ENTRIES;

        while (before != 0) {
            const char *at = crash_report_exits_text(&vcpu, &before, widths[w], text, sizeof(text));

            assert_true(strlen(text) <= widths[w] || strstr(text, "; ") == NULL);
            for (; at != NULL; at = strstr(at, "; ") != NULL ? strstr(at, "; ") + 2 : NULL) {
                assert_int_equal(strtol(at, NULL, 10), -(long)expected);
                expected--;
            }
            assert_int_equal(before, expected);
        }
        assert_int_equal(expected, 0);
    }
}

/* Status read, byte written, again and again: one entry. */
static void a_pattern_that_repeats_is_told_once(void **state)
{
    uint32_t before;

    (void)state;
    note_exit(EXIT_CPUID, 0, 0x2000);
    for (uint32_t i = 0; i < 25; i++) {
        note_exit(EXIT_IO, 0x3fd, 0x1000);
        note_exit(EXIT_IO, 0x3f8, 0x1004);
    }
    note_exit(EXIT_SHUTDOWN, 0, 0x3000);
    before = crash_report_exits(&vcpu);
    (void)crash_report_exits_text(&vcpu, &before, 300, text, sizeof(text));
    assert_int_equal(before, 0);
    assert_string_equal(text, "-52 CPUID (0x72) 0x0 at 0x2000; -51..-2 25 times: port I/O (0x72) 0x3fd at 0x1000, "
                              "port I/O (0x72) 0x3f8 at 0x1004; -1 triple fault (0x72) 0x0 at 0x3000");
}

static void the_stack_is_shown_as_far_as_it_is_mapped(void **state)
{
    (void)state;
    long_mode();
    vcpu.system.cr0 = 0;
    vcpu.gpr[GPR_RSP] = RAM_BYTES - 16;
    put(RAM_BYTES - 16, 0x201234, 8);
    put(RAM_BYTES - 8, ~0ULL, 8);
    assert_true(crash_report_stack_text(&vcpu, 0, text, sizeof(text)));
    assert_string_equal(text, "1fff0: 0000000000201234 ffffffffffffffff");
    assert_false(crash_report_stack_text(&vcpu, 1, text, sizeof(text)));
    vcpu.gpr[GPR_RSP] = RAM_BYTES;
    assert_true(crash_report_stack_text(&vcpu, 0, text, sizeof(text)));
    assert_string_equal(text, "0x20000 is no memory that can be read");
}

static void callers_are_found_by_frame_pointers(void **state)
{
    (void)state;
    long_mode();
    vcpu.system.cr0 = 0;
    vcpu.rip = 0x1111;
    vcpu.gpr[GPR_RBP] = 0x8000;
    put(0x8000, 0x8040, 8);
    put(0x8008, 0x2222, 8);
    put(0x8040, 0x8000, 8); /* a frame that leads back is the last one */
    put(0x8048, 0x3333, 8);
    assert_string_equal(crash_report_backtrace_text(&vcpu, NULL, text, sizeof(text)), "0x1111 <- 0x2222 <- 0x3333");
    vcpu.gpr[GPR_RBP] = RAM_BYTES;
    assert_string_equal(crash_report_backtrace_text(&vcpu, NULL, text, sizeof(text)), "0x1111");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(four_levels_are_named_down_to_the_page, set_up),
        cmocka_unit_test_setup(a_large_page_ends_the_walk, set_up),
        cmocka_unit_test_setup(five_levels_begin_with_pml5, set_up),
        cmocka_unit_test_setup(pae_takes_four_top_entries_from_an_unaligned_root, set_up),
        cmocka_unit_test_setup(pages_of_four_mib_need_pse, set_up),
        cmocka_unit_test_setup(without_paging_the_address_is_its_own, set_up),
        cmocka_unit_test_setup(code_is_read_as_far_as_it_is_mapped, set_up),
        cmocka_unit_test_setup(outside_long_mode_the_segment_counts, set_up),
        cmocka_unit_test_setup(exits_alike_are_told_once, set_up),
        cmocka_unit_test_setup(all_exits_that_are_kept_are_told, set_up),
        cmocka_unit_test_setup(a_pattern_that_repeats_is_told_once, set_up),
        cmocka_unit_test_setup(the_stack_is_shown_as_far_as_it_is_mapped, set_up),
        cmocka_unit_test_setup(callers_are_found_by_frame_pointers, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
