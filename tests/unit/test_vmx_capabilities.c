/* SPDX-License-Identifier: MIT */
/*
 * What Plinth makes of a CPU's VMX capability MSRs. The words are those of Bochs 2.7's models: corei7_skylake_x has
 * everything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/vmx/capabilities.h"

#include <string.h>

#define WHY_MAX 160u

struct change {
    enum vmcs_field field;
    uint64_t value;
};

#include "tests/unit/vmx_recorded_state.h"

static struct vmx_features features;
static struct virt_support support;

static bool find(struct vmx_entry_caps caps)
{
    features = (struct vmx_features){.caps = caps};
    support = (struct virt_support){.vendor = VIRT_NONE};
    return vmx_capabilities_find(&features, &support);
}

/* As find(), with some allowed bits of a control word taken away. */
static uint64_t without(uint64_t capability, uint32_t bits)
{
    return capability & ~((uint64_t)bits << 32);
}

static void expect_missing(struct vmx_entry_caps caps, const char *name)
{
    assert_false(find(caps));
    assert_int_equal(support.vendor, VIRT_NONE);
    if (strstr(support.missing, name) == NULL) {
        fail_msg("'%s' does not name '%s'", support.missing, name);
    }
}

static void a_current_cpu_has_all_that_is_wanted(void **state)
{
    (void)state;
    assert_true(find(recorded_caps));
    assert_int_equal(support.vendor, VIRT_VMX);
    assert_int_equal(support.caps.largest_leaf, LEVEL_1G);
    assert_true(features.tpr_shadow && features.vpid && features.virtual_apic);
    assert_true(support.caps.accessed_dirty && support.caps.execute_only);
    assert_string_equal(support.without, "");
    assert_non_null(strstr(support.used, "EPT, unrestricted guest, 1 GiB pages, VPID, TPR shadow, virtual APIC"));
    assert_int_equal(features.revision, recorded_caps.basic & 0x7fffffff);
}

static void control_words_lie_between_what_must_and_what_may_be_set(void **state)
{
    const struct vmx_entry_caps *caps = &recorded_caps;

    (void)state;
    assert_true(find(recorded_caps));
    assert_int_equal((uint32_t)caps->pin & ~features.pin, 0);
    assert_int_equal(features.pin & ~(uint32_t)(caps->pin >> 32), 0);
    assert_int_equal((uint32_t)caps->primary & ~features.primary, 0);
    assert_int_equal(features.primary & ~(uint32_t)(caps->primary >> 32), 0);
    assert_int_equal(features.secondary & ~(uint32_t)(caps->secondary >> 32), 0);
    assert_int_equal((uint32_t)caps->exit & ~features.exit, 0);
    assert_int_equal(features.exit & ~(uint32_t)(caps->exit >> 32), 0);
    assert_int_equal((uint32_t)caps->entry & ~features.entry, 0);
    assert_int_equal(features.entry & ~(uint32_t)(caps->entry >> 32), 0);
    /* ENCLS and ENCLV would run in the guest unless they exit; the recorded CPU has neither. */
    assert_int_equal(features.secondary & (SECONDARY_ENCLS | SECONDARY_ENCLV), 0);
    {
        struct vmx_entry_caps with_sgx = recorded_caps;

        with_sgx.secondary |= (uint64_t)(SECONDARY_ENCLS | SECONDARY_ENCLV) << 32;
        assert_true(find(with_sgx));
        assert_int_equal(features.secondary & (SECONDARY_ENCLS | SECONDARY_ENCLV), SECONDARY_ENCLS | SECONDARY_ENCLV);
        assert_true(find(recorded_caps));
    }
    /* The virtual APIC is switched on later, by the mode of a guest's local APIC. */
    assert_int_equal(features.secondary & (SECONDARY_VIRTUAL_X2APIC | SECONDARY_APIC_ACCESSES), 0);
    assert_true(features.virtual_apic && features.virtual_xapic && support.apic_page);
    {
        struct vmx_entry_caps plain = recorded_caps;

        plain.secondary = without(plain.secondary, SECONDARY_APIC_ACCESSES);
        assert_true(find(plain));
        assert_true(features.virtual_apic && !features.virtual_xapic && !support.apic_page);
        plain = recorded_caps;
        plain.primary = without(plain.primary, PRIMARY_TPR_SHADOW);
        assert_true(find(plain));
        assert_true(!features.virtual_apic && !features.virtual_xapic && !support.apic_page);
        assert_true(find(recorded_caps));
    }
}

static void each_required_control_is_missed_by_its_name(void **state)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } pin[] = {{PIN_EXTERNAL_INTERRUPT, "external-interrupt exiting"},
               {PIN_NMI, "NMI exiting"},
               {PIN_VIRTUAL_NMI, "virtual NMIs"}},
      primary[] = {{PRIMARY_TSC_OFFSET, "TSC offsetting"}, {PRIMARY_HLT, "HLT exiting"},
                   {PRIMARY_MWAIT, "MWAIT exiting"},       {PRIMARY_MONITOR, "MONITOR exiting"},
                   {PRIMARY_RDPMC, "RDPMC exiting"},       {PRIMARY_UNCONDITIONAL_IO, "unconditional I/O"},
                   {PRIMARY_MSR_BITMAPS, "MSR bitmaps"}},
      exit[] = {{EXIT_HOST_64BIT, "64-bit host"}, {EXIT_SAVE_DEBUG, "debug controls"}},
      entry[] = {{ENTRY_LOAD_DEBUG, "debug controls"}};
    struct vmx_entry_caps caps;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(pin); i++) {
        caps = recorded_caps;
        caps.pin = without(caps.pin, pin[i].bit);
        expect_missing(caps, pin[i].name);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(primary); i++) {
        caps = recorded_caps;
        caps.primary = without(caps.primary, primary[i].bit);
        expect_missing(caps, primary[i].name);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(exit); i++) {
        caps = recorded_caps;
        caps.exit = without(caps.exit, exit[i].bit);
        expect_missing(caps, exit[i].name);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(entry); i++) {
        caps = recorded_caps;
        caps.entry = without(caps.entry, entry[i].bit);
        expect_missing(caps, entry[i].name);
    }
}

static void a_cpu_without_1_gib_pages_gets_2_mib_leaves_and_says_so(void **state)
{
    struct vmx_entry_caps caps = recorded_caps;

    (void)state;
    caps.ept_vpid &= ~(1ULL << 17);
    assert_true(find(caps));
    assert_int_equal(support.caps.largest_leaf, LEVEL_2M);
    assert_non_null(strstr(support.without, "1 GiB pages"));
    assert_null(strstr(support.used, "1 GiB pages"));
}

/* No guest has nested paging then, and what lacks is named. */
static void expect_shadow(struct vmx_entry_caps caps, const char *name)
{
    assert_true(find(caps));
    assert_false(support.nested_paging);
    assert_int_equal(features.secondary & (SECONDARY_EPT | SECONDARY_UNRESTRICTED), 0);
    assert_non_null(strstr(support.used, "shadow paging"));
    assert_ptr_equal(support.format, &page_table_ept4); /* the tree that the audit looks at is built all the same */
    if (strstr(support.without, name) != support.without) {
        fail_msg("'%s' does not begin with '%s'", support.without, name);
    }
}

static void without_a_part_of_nested_paging_there_is_shadow_paging(void **state)
{
    static const uint8_t bits[] = {6, 14, 16, 26};
    struct vmx_entry_caps caps = recorded_caps;

    (void)state;
    assert_true(find(caps) && support.nested_paging);
    assert_int_equal(features.secondary & ~features.shadow_secondary,
                     SECONDARY_EPT | SECONDARY_UNRESTRICTED | SECONDARY_INVPCID);
    for (uint32_t i = 0; i < ARRAY_COUNT(bits); i++) {
        caps = recorded_caps;
        caps.ept_vpid &= ~(1ULL << bits[i]);
        expect_shadow(caps, "EPT with 4-level walks");
    }
    caps = recorded_caps;
    caps.secondary = without(caps.secondary, SECONDARY_EPT);
    expect_shadow(caps, "EPT (");
    caps = recorded_caps;
    caps.secondary = without(caps.secondary, SECONDARY_UNRESTRICTED);
    expect_shadow(caps, "unrestricted guest (");
    caps = recorded_caps;
    caps.primary |= PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE;
    expect_shadow(caps, "EPT without exits for CR3 (");
}

static void without_secondary_controls_all_of_theirs_lack(void **state)
{
    struct vmx_entry_caps caps = recorded_caps;

    (void)state;
    caps.primary = without(caps.primary, PRIMARY_SECONDARY);
    expect_shadow(caps, "EPT (");
    assert_int_equal(features.primary & PRIMARY_SECONDARY, 0);
    assert_int_equal(features.secondary, 0);
    assert_false(features.vpid || features.virtual_apic);
}

static void shadow_paging_has_a_vpid_where_one_can_be_flushed_alone(void **state)
{
    struct vmx_entry_caps caps = recorded_caps;

    (void)state;
    assert_true(find(caps));
    assert_int_equal(features.shadow_secondary & SECONDARY_VPID, SECONDARY_VPID);
    caps.ept_vpid &= ~(1ULL << 41);
    assert_true(find(caps) && features.vpid);
    assert_int_equal(features.shadow_secondary & SECONDARY_VPID, 0);
}

static void without_tpr_shadow_cr8_exits_and_the_apic_is_emulated(void **state)
{
    struct vmx_entry_caps caps = recorded_caps;

    (void)state;
    caps.primary = without(caps.primary, PRIMARY_TPR_SHADOW);
    assert_true(find(caps));
    assert_false(features.tpr_shadow);
    assert_false(features.virtual_apic);
    assert_int_equal(features.primary & (PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE), PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE);
    assert_non_null(strstr(support.without, "TPR shadow"));
}

static void a_virtual_apic_takes_all_three_of_its_controls(void **state)
{
    static const uint32_t parts[] = {SECONDARY_X2APIC, SECONDARY_APIC_REGISTERS, SECONDARY_INTERRUPT_DELIVERY};

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(parts); i++) {
        struct vmx_entry_caps caps = recorded_caps;

        caps.secondary = without(caps.secondary, parts[i]);
        assert_true(find(caps));
        assert_false(features.virtual_apic);
        assert_non_null(strstr(support.without, "virtual APIC"));
    }
}

static void any_lacking_control_of_pat_or_efer_means_msr_areas_for_both(void **state)
{
    static const uint32_t exit[] = {EXIT_SAVE_PAT, EXIT_LOAD_PAT, EXIT_SAVE_EFER, EXIT_LOAD_EFER, 0, 0};
    static const uint32_t entry[] = {0, 0, 0, 0, ENTRY_LOAD_PAT, ENTRY_LOAD_EFER};
    const uint32_t all_exit = EXIT_SAVE_PAT | EXIT_LOAD_PAT | EXIT_SAVE_EFER | EXIT_LOAD_EFER;
    const uint32_t all_entry = ENTRY_LOAD_PAT | ENTRY_LOAD_EFER;

    (void)state;
    assert_true(find(recorded_caps) && !features.msr_areas);
    assert_int_equal(features.exit & all_exit, all_exit);
    assert_int_equal(features.entry & all_entry, all_entry);
    for (uint32_t i = 0; i < ARRAY_COUNT(exit); i++) {
        struct vmx_entry_caps caps = recorded_caps;

        caps.exit = without(caps.exit, exit[i]);
        caps.entry = without(caps.entry, entry[i]);
        assert_true(find(caps) && features.msr_areas);
        assert_int_equal(features.exit & all_exit, 0);
        assert_int_equal(features.entry & all_entry, 0);
        assert_non_null(strstr(support.without, "PAT and EFER controls"));
    }
}

static void a_deadline_passes_where_the_preemption_timer_is_whole(void **state)
{
    struct vmx_entry_caps caps = recorded_caps;

    (void)state;
    assert_true(find(caps));
    assert_true(features.preemption_timer && support.passes_deadline);
    assert_int_equal(features.pin & PIN_PREEMPTION_TIMER, 0); /* only while a deadline passes */
    assert_int_equal(features.exit & EXIT_SAVE_TIMER, 0);
    caps.pin = without(caps.pin, PIN_PREEMPTION_TIMER);
    assert_true(find(caps));
    assert_false(features.preemption_timer || support.passes_deadline);
    caps = recorded_caps;
    caps.exit = without(caps.exit, EXIT_SAVE_TIMER);
    assert_true(find(caps));
    assert_false(features.preemption_timer || support.passes_deadline);
    features = (struct vmx_features){.caps = recorded_caps, .timer_is_broken = true};
    assert_true(vmx_capabilities_find(&features, &support));
    assert_false(features.preemption_timer || support.passes_deadline);
}

static void the_preemption_timers_of_all_cpus_are_alike(void **state)
{
    struct vmx_entry_caps other = recorded_caps;
    char why[WHY_MAX] = "";

    (void)state;
    assert_true(find(recorded_caps));
    other.misc ^= 1;
    assert_false(vmx_capabilities_alike(&features, &other, why, sizeof(why)));
    assert_non_null(strstr(why, "preemption timer"));
    other = recorded_caps;
    other.pin = without(other.pin, PIN_PREEMPTION_TIMER);
    assert_false(vmx_capabilities_alike(&features, &other, why, sizeof(why)));
    features.preemption_timer = false; /* then it does not matter */
    other.misc ^= 1;
    assert_true(vmx_capabilities_alike(&features, &other, why, sizeof(why)));
}

static void the_lock_of_vmx_has_three_states(void **state)
{
    (void)state;
    assert_int_equal(vmx_capabilities_lock(0), VMX_LOCK_OPEN); /* Bochs, and some boards */
    assert_int_equal(vmx_capabilities_lock(4), VMX_LOCK_OPEN);
    assert_int_equal(vmx_capabilities_lock(5), VMX_LOCK_ON);
    assert_int_equal(vmx_capabilities_lock(0xff07), VMX_LOCK_ON);
    assert_int_equal(vmx_capabilities_lock(1), VMX_LOCK_OFF);
    assert_int_equal(vmx_capabilities_lock(3), VMX_LOCK_OFF); /* inside SMX only */
    assert_int_equal(vmx_capabilities_lock_value(0), 5);
    assert_int_equal(vmx_capabilities_lock_value(0x100000), 0x100005);
}

static void a_cpu_that_is_not_as_the_boot_cpu_is_told_from_it_by_the_word(void **state)
{
    const struct vmx_entry_caps *boot = &recorded_caps;
    struct vmx_features used = {.caps = recorded_caps};
    char why[WHY_MAX] = "";
    struct {
        struct vmx_entry_caps caps;
        const char *name;
    } others[] = {{*boot, "IA32_VMX_BASIC"},
                  {*boot, "pin-based"},
                  {*boot, "primary"},
                  {*boot, "secondary"},
                  {*boot, "exit"},
                  {*boot, "entry"},
                  {*boot, "EPT and VPID"},
                  {*boot, "CR0 bits that must"},
                  {*boot, "CR0 bits that may"},
                  {*boot, "CR4 bits that must"},
                  {*boot, "CR4 bits that may"},
                  {*boot, "physical"},
                  {*boot, "linear"}};
    uint64_t *const words[] = {&others[0].caps.basic,      &others[1].caps.pin,        &others[2].caps.primary,
                               &others[3].caps.secondary,  &others[4].caps.exit,       &others[5].caps.entry,
                               &others[6].caps.ept_vpid,   &others[7].caps.cr0_fixed0, &others[8].caps.cr0_fixed1,
                               &others[9].caps.cr4_fixed0, &others[10].caps.cr4_fixed1};

    (void)state;
    assert_true(vmx_capabilities_find(&used, &support));
    /* A bit that is used and may not be set, or one that must be set there alone. */
    *words[0] ^= 1;
    for (uint32_t i = 1; i < 6; i++) {
        const uint32_t controls[] = {0, used.pin, used.primary, used.secondary, used.exit, used.entry};

        uint32_t chosen = controls[i] & ~(uint32_t)*words[i]; /* and does not have to be set */

        assert_int_not_equal(chosen, 0);
        *words[i] &= ~((uint64_t)(chosen & (0 - chosen)) << 32);
    }
    *words[6] &= ~(1ULL << 6);
    *words[7] |= 1ULL << 29;
    *words[8] &= ~(1ULL << 31);
    *words[9] |= 1ULL << 5;
    *words[10] &= ~(1ULL << 5);
    others[11].caps.physical_bits = 36;
    others[12].caps.linear_bits = 57;
    for (uint32_t i = 0; i < ARRAY_COUNT(others); i++) {
        assert_false(vmx_capabilities_alike(&used, &others[i].caps, why, sizeof(why)));
        if (strstr(why, others[i].name) == NULL) {
            fail_msg("'%s' does not name '%s'", why, others[i].name);
        }
    }
    assert_true(vmx_capabilities_alike(&used, boot, why, sizeof(why)));
}

/* P and E cores: what is not used may differ, in either direction. */
static void a_cpu_that_differs_in_what_is_not_used_is_as_good(void **state)
{
    struct vmx_features used = {.caps = recorded_caps};
    struct vmx_entry_caps here = recorded_caps;
    char why[WHY_MAX] = "";

    (void)state;
    assert_true(vmx_capabilities_find(&used, &support));
    here.basic ^= 1ULL << 49 | 1ULL << 55;
    here.pin |= 1ULL << (32 + 7);
    here.primary |= 1ULL << (32 + 3);
    here.secondary |= (uint64_t) ~(used.secondary | 0x1d00u) << 32;
    here.exit |= 1ULL << (32 + 30);
    here.entry |= 1ULL << (32 + 17);
    here.ept_vpid |= 1ULL << 22 | 1ULL << 7;
    here.cr4_fixed1 ^= 1ULL << 22 | 1ULL << 27; /* protection keys, LASS: CPUID announces them */
    here.misc ^= 1ULL << 29;
    assert_true(vmx_capabilities_alike(&used, &here, why, sizeof(why)));
    here.primary |= PRIMARY_CR3_LOAD; /* it insists on exits that the boot CPU does without */
    assert_false(vmx_capabilities_alike(&used, &here, why, sizeof(why)));
    assert_non_null(strstr(why, "primary"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_current_cpu_has_all_that_is_wanted),
        cmocka_unit_test(a_cpu_that_is_not_as_the_boot_cpu_is_told_from_it_by_the_word),
        cmocka_unit_test(a_cpu_that_differs_in_what_is_not_used_is_as_good),
        cmocka_unit_test(control_words_lie_between_what_must_and_what_may_be_set),
        cmocka_unit_test(each_required_control_is_missed_by_its_name),
        cmocka_unit_test(a_cpu_without_1_gib_pages_gets_2_mib_leaves_and_says_so),
        cmocka_unit_test(without_a_part_of_nested_paging_there_is_shadow_paging),
        cmocka_unit_test(without_secondary_controls_all_of_theirs_lack),
        cmocka_unit_test(shadow_paging_has_a_vpid_where_one_can_be_flushed_alone),
        cmocka_unit_test(without_tpr_shadow_cr8_exits_and_the_apic_is_emulated),
        cmocka_unit_test(a_virtual_apic_takes_all_three_of_its_controls),
        cmocka_unit_test(any_lacking_control_of_pat_or_efer_means_msr_areas_for_both),
        cmocka_unit_test(a_deadline_passes_where_the_preemption_timer_is_whole),
        cmocka_unit_test(the_preemption_timers_of_all_cpus_are_alike),
        cmocka_unit_test(the_lock_of_vmx_has_three_states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
