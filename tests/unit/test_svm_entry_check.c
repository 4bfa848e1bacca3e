/* SPDX-License-Identifier: MIT */
/*
 * Every consistency check of VMRUN is found when it is the only one violated. The valid state is that of a Linux guest
 * in QEMU 7.2 (cpu max), from its VMCB.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/svm/entry_check.h"

#include <string.h>

static struct vmcb vmcb;
static struct svm_entry_caps caps;
static char sentence[SVM_ENTRY_SENTENCE_MAX];

static int setup(void **unused)
{
    (void)unused;
    memset(&vmcb, 0, sizeof(vmcb));
    vmcb.intercepts[INTERCEPT_MISC1] = 0xfd4c800f;
    vmcb.intercepts[INTERCEPT_MISC2] = 0x6e7f;
    vmcb.io_bitmap = 0x3c1ac000;
    vmcb.msr_bitmap = 0x3c1af000;
    vmcb.asid = 1;
    vmcb.nested_control = 1;
    vmcb.nested_cr3 = 0x3b600000;
    vmcb.int_control = INT_CONTROL_V_MASKING;
    vmcb.cr0 = 0x80050033;
    vmcb.cr3 = 0x2a10000;
    vmcb.cr4 = 0x6f0;
    vmcb.efer = 0x1d01;
    vmcb.dr6 = 0xffff0ff0;
    vmcb.dr7 = 0x400;
    vmcb.rflags = 2;
    vmcb.pat = 0x0407050600070106;
    vmcb.cs = (struct vmcb_segment){.selector = 0x10, .attributes = 0x29b, .limit = 0xffffffff};
    caps = (struct svm_entry_caps){.cr4_allowed = 0x7706ff, .asid_count = 16, .physical_bits = 40, .long_mode = true};
    return 0;
}

static bool violated(void)
{
    return svm_entry_find_violation(&vmcb, &caps, sentence);
}

static void expect(const char *words)
{
    if (!violated()) {
        fail_msg("no violation found, expected '%s'", words);
    }
    if (strstr(sentence, words) == NULL || strstr(sentence, "APM 2") == NULL) {
        fail_msg("'%s' does not have '%s' and its place in the manual", sentence, words);
    }
    setup(NULL);
}

static void a_state_that_the_cpu_entered_has_no_violation(void **unused)
{
    (void)unused;
    if (violated()) {
        fail_msg("%s", sentence);
    }
    assert_string_equal(sentence, "");
}

static void efer_is_checked(void **unused)
{
    (void)unused;
    vmcb.efer &= ~(1ULL << 12);
    expect("SVME is clear");
    vmcb.efer |= 1ULL << 1;
    expect("EFER 0x1d03: reserved bits");
    vmcb.efer |= 1ULL << 40;
    expect("reserved bits");
    caps.long_mode = false;
    expect("long mode on a CPU without it");
}

static void control_registers_are_checked(void **unused)
{
    (void)unused;
    vmcb.cr0 |= 1ULL << 29;
    expect("NW without CD");
    vmcb.cr0 |= 3ULL << 29; /* both: legal */
    assert_false(violated());
    vmcb.cr0 = 0x180050033;
    expect("CR0 0x180050033: bits 63:32");
    vmcb.cr3 |= 1ULL << 40;
    expect("guest CR3");
    vmcb.cr4 |= 1ULL << 13;
    expect("bits 0x2000 are reserved");
    vmcb.dr6 |= 1ULL << 32;
    expect("DR6 0x1ffff0ff0");
    vmcb.dr7 |= 1ULL << 32;
    expect("DR7 0x100000400");
}

static void long_mode_needs_its_parts(void **unused)
{
    (void)unused;
    vmcb.cr4 &= ~(1ULL << 5);
    expect("CR4.PAE is clear");
    vmcb.cr0 &= ~1ULL;
    expect("CR0.PE is clear");
    vmcb.cs.attributes |= 1u << 10;
    expect("L and D");
    vmcb.cr0 &= ~(1ULL << 31); /* without paging none of these matters */
    vmcb.cr4 = 0;
    vmcb.cs.attributes |= 1u << 10;
    assert_false(violated());
}

static void controls_are_checked(void **unused)
{
    (void)unused;
    vmcb.intercepts[INTERCEPT_MISC2] &= ~1u;
    expect("VMRUN is not intercepted");
    vmcb.io_bitmap = (1ULL << 40) - 0x2000;
    expect("I/O permission map");
    vmcb.msr_bitmap = (1ULL << 40) - 0x1000;
    expect("MSR permission map");
    vmcb.msr_bitmap = (1ULL << 40) - 0x2000; /* the last place where it fits */
    assert_false(violated());
    vmcb.io_bitmap = 1ULL << 45;
    vmcb.intercepts[INTERCEPT_MISC1] &= ~(1u << MISC1_IOIO);
    assert_false(violated());
    vmcb.asid = 0;
    expect("ASID 0");
    vmcb.asid = 16;
    expect("ASID 16: this CPU has 16");
}

static void events_to_inject_are_legal(void **unused)
{
    static const uint64_t legal[] = {0x80000030, 0x80000202, 0x80000b0e, 0x80000306, 0x80000480};

    (void)unused;
    for (uint32_t i = 0; i < ARRAY_COUNT(legal); i++) {
        vmcb.event_injection = legal[i];
        assert_false(violated());
    }
    vmcb.event_injection = 0x80000130;
    expect("type 1 is reserved");
    vmcb.event_injection = 0x80000530;
    expect("type 5 is reserved");
    vmcb.event_injection = 0x80000302;
    expect("vector 2 is no exception");
    vmcb.event_injection = 0x80000320;
    expect("vector 32 is no exception");
    vmcb.event_injection = 0x320; /* not valid: nothing is injected */
    assert_false(violated());
}

static void nested_paging_is_checked(void **unused)
{
    (void)unused;
    vmcb.nested_cr3 |= 1ULL << 40;
    expect("nested CR3");
    vmcb.pat = 0x0407050600070206;
    expect("PAT");
    vmcb.nested_control = 0;
    vmcb.nested_cr3 = 1ULL << 50;
    assert_false(violated());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_state_that_the_cpu_entered_has_no_violation, setup),
        cmocka_unit_test_setup(efer_is_checked, setup),
        cmocka_unit_test_setup(control_registers_are_checked, setup),
        cmocka_unit_test_setup(long_mode_needs_its_parts, setup),
        cmocka_unit_test_setup(controls_are_checked, setup),
        cmocka_unit_test_setup(events_to_inject_are_legal, setup),
        cmocka_unit_test_setup(nested_paging_is_checked, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
