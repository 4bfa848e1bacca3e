/* SPDX-License-Identifier: MIT */
/*
 * Which repairs are on: none on a CPU, those of the emulator that was found on its vendor's side, and none where the
 * config wants none. And the signatures by which the vendors find the emulators.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/core/quirks.h"
#include "hv/svm/capabilities.h"
#include "hv/vmx/capabilities.h"

#include <string.h>

struct change {
    enum vmcs_field field;
    uint64_t value;
};

#include "tests/unit/vmx_recorded_state.h"

static struct quirks quirks;
static const struct quirks none;
static char text[QUIRKS_TEXT_MAX];

static bool any(enum emulator emulator, bool is_intel, bool wanted)
{
    memset(&quirks, 0xa5, sizeof(quirks));
    quirks_choose(emulator, is_intel, wanted, &quirks);
    return memcmp(&quirks, &none, sizeof(quirks)) != 0;
}

static void a_cpu_has_none(void **state)
{
    (void)state;
    assert_false(any(EMULATOR_NONE, true, true));
    assert_false(any(EMULATOR_NONE, false, true));
    assert_string_equal(quirks_text(EMULATOR_NONE, &quirks, text), "quirks of this CPU: none");
}

static void an_emulator_has_its_own_on_its_side(void **state)
{
    (void)state;
    assert_true(any(EMULATOR_QEMU, false, true));
    assert_true(quirks.lost_shadow && quirks.double_injection && quirks.xsetbv_unseen);
    assert_false(quirks.no_shutdown_exit || quirks.nmi_blocking_inherited || quirks.broken_xsavec);
    assert_true(any(EMULATOR_BOCHS, false, true));
    assert_true(quirks.no_shutdown_exit && quirks.broken_xsavec && quirks.refusal_spoils_vmcb);
    assert_false(quirks.lost_shadow || quirks.nmi_blocking_inherited || quirks.wrong_virtual_interrupts);
    assert_true(any(EMULATOR_BOCHS, true, true));
    assert_true(quirks.nmi_blocking_inherited && quirks.broken_xsavec && quirks.late_host_interrupts &&
                quirks.wrong_virtual_interrupts);
    assert_false(quirks.no_shutdown_exit || quirks.refusal_spoils_vmcb);
    assert_false(any(EMULATOR_QEMU, true, true)); /* it has no VMX */
}

static void the_config_can_leave_them_off(void **state)
{
    (void)state;
    assert_false(any(EMULATOR_QEMU, false, false));
    assert_false(any(EMULATOR_BOCHS, true, false));
    assert_string_equal(quirks_text(EMULATOR_BOCHS, &quirks, text), "quirks of Bochs: left off, as asked for");
}

static void each_one_that_is_on_is_named_in_a_line_of_the_log(void **state)
{
    (void)state;
    for (enum emulator emulator = EMULATOR_QEMU; emulator <= EMULATOR_BOCHS; emulator++) {
        size_t on = 0, named = 1;

        any(emulator, false, true);
        for (size_t i = 0; i < sizeof(quirks); i++) {
            on += ((const bool *)&quirks)[i];
        }
        quirks_text(emulator, &quirks, text);
        for (const char *at = text; (at = strstr(at, ", ")) != NULL; at++) {
            named++;
        }
        assert_int_equal(named, on);
        assert_true(strlen(text) < QUIRKS_TEXT_MAX - 1);
    }
}

static enum emulator of_svm(uint32_t outer, uint32_t family, uint32_t svm_edx)
{
    const struct svm_words words = {.extended_ecx = 1u << 2,
                                    .extended_edx = 1u << 29,
                                    .svm_ebx = 16,
                                    .svm_edx = svm_edx,
                                    .outer_ebx = outer,
                                    .family = family,
                                    .physical_bits = 40};
    struct svm_features features;
    struct virt_support support;

    assert_true(svm_capabilities_find(&words, &features, &support));
    return support.emulator;
}

#define NESTED_PAGING 1u
#define DECODE_ASSISTS (1u << 7)
#define TCG 0x54474354u
#define KVM 0x4b4d564bu

static void an_emulator_of_svm_is_known_by_its_signature(void **state)
{
    (void)state;
    assert_int_equal(of_svm(TCG, 6, NESTED_PAGING), EMULATOR_QEMU);
    assert_int_equal(of_svm(0, 0x17, NESTED_PAGING), EMULATOR_BOCHS); /* a Zen without decode assists is none */
    assert_int_equal(of_svm(0, 0x17, NESTED_PAGING | DECODE_ASSISTS), EMULATOR_NONE);
    assert_int_equal(of_svm(0, 0x10, NESTED_PAGING), EMULATOR_NONE); /* a K10 has none */
    assert_int_equal(of_svm(KVM, 0x17, NESTED_PAGING), EMULATOR_NONE);
}

static enum emulator of_vmx(uint64_t basic)
{
    struct vmx_features features = {.caps = recorded_caps};
    struct virt_support support;

    features.caps.basic = basic;
    assert_true(vmx_capabilities_find(&features, &support));
    return support.emulator;
}

static void an_emulator_of_vmx_is_known_by_its_revision_and_region(void **state)
{
    (void)state;
    assert_int_equal(of_vmx(recorded_caps.basic), EMULATOR_BOCHS);
    assert_int_equal(of_vmx(0x00da040000000004), EMULATOR_NONE); /* a Skylake's */
    assert_int_equal(of_vmx(0x00da04000000002b), EMULATOR_NONE);
    assert_int_equal(of_vmx(0x00da100011e57ed0), EMULATOR_NONE); /* nested under KVM */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cpu_has_none),
        cmocka_unit_test(an_emulator_has_its_own_on_its_side),
        cmocka_unit_test(the_config_can_leave_them_off),
        cmocka_unit_test(each_one_that_is_on_is_named_in_a_line_of_the_log),
        cmocka_unit_test(an_emulator_of_svm_is_known_by_its_signature),
        cmocka_unit_test(an_emulator_of_vmx_is_known_by_its_revision_and_region),
    };

    return cmocka_run_group_tests_name("quirks", tests, NULL, NULL);
}
