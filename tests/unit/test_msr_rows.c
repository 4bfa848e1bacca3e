/* SPDX-License-Identifier: MIT */
/* The MSR table is searched by halves: that finds what looking at every row finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/policy/msr_policy.c"

#define NUMBERS 0x3000u /* from where each group of MSRs begins. */

static void rows_stand_by_number_and_apart(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(msr_rows); i++) {
        assert_true(msr_rows[i].first <= msr_rows[i].last);
        assert_true(i == 0 || msr_rows[i - 1].last < msr_rows[i].first);
    }
}

static bool has(const struct msr_row *row, uint32_t msr, enum msr_vendor vendor)
{
    return msr >= row->first && msr <= row->last && (row->vendor == ON_BOTH || row->vendor == vendor);
}

static void each_number_is_found_in_its_row(void **state)
{
    static const uint32_t groups[] = {0, 0x4b564000, 0xc0000000, 0xc0010000, 0xffffffff - NUMBERS + 1};
    static struct host_facts host;
    static struct guest guest = {.host = &host};
    static struct vcpu vcpu = {.guest = &guest};
    uint32_t found = 0;

    (void)state;
    for (uint32_t at = 0; at < 2 * ARRAY_COUNT(groups) * NUMBERS; at++) {
        uint32_t msr = groups[at / 2 / NUMBERS] + at / 2 % NUMBERS;
        const struct msr_row *expected = NULL;

        host.is_intel = at % 2 == 0;
        for (uint32_t i = 0; i < ARRAY_COUNT(msr_rows); i++) {
            if (has(&msr_rows[i], msr, host.is_intel ? ON_INTEL : ON_AMD)) {
                expected = &msr_rows[i];
            }
        }
        if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST) {
            assert_null(expected);
            expected = &x2apic_row;
        }
        assert_ptr_equal(row_find(&vcpu, msr), expected);
        found += expected != NULL;
    }
    assert_true(found > 2 * 256); /* the local APIC's alone, for both vendors */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_stand_by_number_and_apart),
        cmocka_unit_test(each_number_is_found_in_its_row),
    };

    return cmocka_run_group_tests_name("the MSR table", tests, NULL, NULL);
}
