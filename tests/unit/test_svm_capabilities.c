/* SPDX-License-Identifier: MIT */
/*
 * What Plinth makes of a CPU's CPUID words about SVM and of VM_CR. The sentences are what a user gets to see, so they
 * must say what to do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/svm/capabilities.h"

#include <string.h>

#define WHY_MAX 160u

/* APM 3 E.4.9 "Function 8000_000Ah: SVM Features", E.4.2. */
#define NESTED_PAGING (1u << 0)
#define NEXT_RIP (1u << 3)
#define VMCB_CLEAN (1u << 5)
#define FLUSH_BY_ASID (1u << 6)
#define DECODE_ASSISTS (1u << 7)
#define ECX_SVM (1u << 2)
#define EDX_NX (1u << 20)
#define EDX_GIB_PAGES (1u << 26)
#define EDX_RDTSCP (1u << 27)
#define EDX_LONG_MODE (1u << 29)
#define VM_CR_LOCK (1u << 3)
#define VM_CR_SVMDIS (1u << 4)

static struct svm_features features;
static struct virt_support support;

static struct svm_words everything(void)
{
    return (struct svm_words){
        .extended_ecx = ECX_SVM,
        .extended_edx = EDX_NX | EDX_GIB_PAGES | EDX_RDTSCP | EDX_LONG_MODE,
        .svm_ebx = 32768,
        .svm_edx = NESTED_PAGING | NEXT_RIP | VMCB_CLEAN | FLUSH_BY_ASID | DECODE_ASSISTS,
        .physical_bits = 48,
    };
}

static bool find(struct svm_words words)
{
    features = (struct svm_features){0};
    support = (struct virt_support){.vendor = VIRT_NONE};
    return svm_capabilities_find(&words, &features, &support);
}

static void expect_missing(struct svm_words words, const char *name, const char *remedy)
{
    assert_false(find(words));
    assert_int_equal(support.vendor, VIRT_NONE);
    if (strstr(support.missing, name) == NULL || strstr(support.missing, remedy) == NULL) {
        fail_msg("'%s' does not name '%s' and '%s'", support.missing, name, remedy);
    }
}

static void a_current_cpu_has_all_that_is_wanted(void **state)
{
    (void)state;
    assert_true(find(everything()));
    assert_int_equal(support.vendor, VIRT_SVM);
    assert_true(features.next_rip && features.vmcb_clean && features.flush_by_asid && features.tsc_aux);
    assert_int_equal(features.caps.asid_count, 32768);
    assert_int_equal(support.caps.largest_leaf, LEVEL_1G);
    assert_true(support.caps.no_execute && support.caps.accessed_dirty);
    assert_string_equal(support.without, "");
    assert_string_equal(support.used,
                        "AMD SVM with nested paging, 32768 ASIDs, 1 GiB pages, next rip save, flush by ASID");
}

static void what_is_required_is_missed_by_its_name_and_with_a_remedy(void **state)
{
    struct svm_words words = everything();

    (void)state;
    words.extended_ecx = 0;
    expect_missing(words, "no SVM (AMD-V)", "use a CPU that has it");
    expect_missing((struct svm_words){0}, "no SVM", "use a CPU");
}

static void svm_that_the_firmware_switched_off_is_a_matter_of_its_set_up(void **state)
{
    struct svm_words words = everything();

    (void)state;
    words.vm_cr = VM_CR_SVMDIS;
    expect_missing(words, "SVM is switched off by the firmware (VM_CR.SVMDIS)", "switch on \"SVM Mode\" or \"AMD-V\"");
    words.vm_cr = VM_CR_SVMDIS | VM_CR_LOCK;
    expect_missing(words, "SVM is switched off by the firmware (VM_CR.SVMDIS)", "switch on \"SVM Mode\" or \"AMD-V\"");
    words.vm_cr = VM_CR_LOCK; /* locked, and on */
    assert_true(find(words));
}

static void what_is_optional_is_listed_with_what_changes_without_it(void **state)
{
    static const struct {
        uint32_t extended_edx, svm_edx;
        const char *sentence;
    } rows[] = {
        {EDX_GIB_PAGES, 0, "1 GiB pages (2 MiB pages instead, more tables); "},
        {0, NESTED_PAGING, "nested paging (shadow tables instead, more exits); "},
        {0, NEXT_RIP, "next rip save (lengths come from the instruction decoder); "},
        {0, FLUSH_BY_ASID, "flush by ASID (all ASIDs are flushed); "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct svm_words words = everything();

        words.extended_edx &= ~rows[i].extended_edx;
        words.svm_edx &= ~rows[i].svm_edx;
        assert_true(find(words));
        assert_string_equal(support.without, rows[i].sentence);
        assert_int_equal(support.caps.largest_leaf, i == 0 ? LEVEL_2M : LEVEL_1G);
        assert_int_equal(support.nested_paging, i != 1);
        assert_int_equal(features.next_rip, i != 2);
        assert_int_equal(features.flush_by_asid, i != 3);
    }
}

static void a_cpu_that_is_not_as_the_boot_cpu_is_told_from_it_by_the_word(void **state)
{
    struct svm_words boot = everything();
    struct svm_words others[] = {boot, boot, boot, boot};
    const char *const names[] = {"8000_000A EDX", "ASIDs", "8000_0001 EDX", "physical address bits"};
    char why[WHY_MAX] = "";

    (void)state;
    others[0].svm_edx &= ~NEXT_RIP;
    others[1].svm_ebx = 8;
    others[2].extended_edx &= ~EDX_RDTSCP;
    others[3].physical_bits = 40;
    for (uint32_t i = 0; i < ARRAY_COUNT(others); i++) {
        assert_false(svm_capabilities_alike(&boot, &others[i], why, sizeof(why)));
        assert_non_null(strstr(why, names[i]));
    }
    assert_string_equal(why,
                        "its SVM is not the boot CPU's (update the firmware): physical address bits 0x28, there 0x30");
    assert_true(svm_capabilities_alike(&boot, &boot, why, sizeof(why)));
    others[0] = boot;
    others[0].svm_edx |= 1u << 12; /* a pause filter threshold: nothing uses it */
    assert_true(svm_capabilities_alike(&boot, &others[0], why, sizeof(why)));
}

/* The CPU walks the nested tables in the host's own paging mode. */
static void nested_tables_have_as_many_levels_as_the_hosts(void **state)
{
    struct svm_words words = everything();

    (void)state;
    assert_true(find(words));
    assert_ptr_equal(support.format, &page_table_npt4);
    words.five_levels = true;
    assert_true(find(words));
    assert_ptr_equal(support.format, &page_table_npt5);
}

static void the_boot_cpus_words_are_kept_for_the_others(void **state)
{
    struct svm_words words = everything();
    char why[WHY_MAX] = "";

    (void)state;
    assert_true(find(words));
    assert_true(svm_capabilities_alike(&features.words, &words, why, sizeof(why)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_current_cpu_has_all_that_is_wanted),
        cmocka_unit_test(a_cpu_that_is_not_as_the_boot_cpu_is_told_from_it_by_the_word),
        cmocka_unit_test(nested_tables_have_as_many_levels_as_the_hosts),
        cmocka_unit_test(the_boot_cpus_words_are_kept_for_the_others),
        cmocka_unit_test(what_is_required_is_missed_by_its_name_and_with_a_remedy),
        cmocka_unit_test(svm_that_the_firmware_switched_off_is_a_matter_of_its_set_up),
        cmocka_unit_test(what_is_optional_is_listed_with_what_changes_without_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
