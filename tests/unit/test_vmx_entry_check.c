/* SPDX-License-Identifier: MIT */
/*
 * Every check of a VM entry is found when it is the only one violated. The valid state is that of a Linux guest at an
 * I/O exit in Bochs 2.7 (corei7_skylake_x), read from its VMCS; each row changes one thing, or the few that belong
 * together, and names the words that the sentence must have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/vmx/entry_check.h"

#include <stdio.h>
#include <string.h>

#define CHANGES_MAX 4

struct change {
    enum vmcs_field field;
    uint64_t value;
};

struct row {
    const char *words;
    struct change changes[CHANGES_MAX]; /* field 0 with value 0 ends the list: VPID is changed in a test of its own */
};

#include "tests/unit/vmx_recorded_state.h"

static struct vmx_entry_state state;
static struct vmx_entry_caps caps;
static char sentence[VMX_ENTRY_SENTENCE_MAX];

static void set(enum vmcs_field field, uint64_t value)
{
    for (uint32_t i = 0; i < vmx_entry_field_count; i++) {
        if (vmx_entry_fields[i] == field) {
            state.values[i] = value;
            return;
        }
    }
    fail_msg("field 0x%x is not looked at", (unsigned)field);
}

static uint64_t get(enum vmcs_field field)
{
    return vmx_entry_get(&state, field);
}

static void reset(void)
{
    memset(&state, 0, sizeof(state));
    for (uint32_t i = 0; i < ARRAY_COUNT(recorded_fields); i++) {
        set(recorded_fields[i].field, recorded_fields[i].value);
    }
    caps = recorded_caps;
}

static int setup(void **unused)
{
    (void)unused;
    reset();
    return 0;
}

static bool violated(void)
{
    return vmx_entry_find_violation(&state, &caps, sentence);
}

static void expect(const char *words)
{
    if (!violated()) {
        fail_msg("no violation found, expected '%s'", words);
    }
    if (strstr(sentence, words) == NULL || strstr(sentence, "SDM 3C") == NULL) {
        fail_msg("'%s' does not have '%s' and its place in the manual", sentence, words);
    }
}

static void run_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        reset();
        for (uint32_t c = 0; c < CHANGES_MAX && rows[i].changes[c].field != VMCS_VPID; c++) {
            set(rows[i].changes[c].field, rows[i].changes[c].value);
        }
        expect(rows[i].words);
    }
}

static void a_state_that_the_cpu_entered_has_no_violation(void **unused)
{
    (void)unused;
    if (violated()) {
        fail_msg("%s", sentence);
    }
    assert_string_equal(sentence, "");
}

static void every_control_word_is_held_against_its_capabilities(void **unused)
{
    const struct {
        enum vmcs_field field;
        uint64_t capability;
        const char *name;
    } words[] = {
        {VMCS_PIN_CONTROLS, caps.pin, "pin-based"},
        {VMCS_PRIMARY_CONTROLS, caps.primary, "primary"},
        {VMCS_SECONDARY_CONTROLS, caps.secondary | 1ULL << 32 << 3, "secondary"},
        {VMCS_EXIT_CONTROLS, caps.exit, "VM-exit controls"},
        {VMCS_ENTRY_CONTROLS, caps.entry, "VM-entry controls"},
    };

    (void)unused;
    for (uint32_t i = 0; i < ARRAY_COUNT(words); i++) {
        uint32_t must = (uint32_t)words[i].capability;
        uint32_t may = (uint32_t)(words[i].capability >> 32);

        for (uint32_t bit = 0; bit < 32; bit++) {
            reset();
            if ((must >> bit & 1) != 0) {
                set(words[i].field, get(words[i].field) & ~(1ULL << bit));
            } else if ((may >> bit & 1) == 0) {
                set(words[i].field, get(words[i].field) | 1ULL << bit);
            } else {
                continue;
            }
            expect(words[i].name);
        }
    }
}

static void pages_that_a_control_uses_are_aligned_and_within_physical_memory(void **unused)
{
    static const struct {
        enum vmcs_field field, control;
        uint64_t bit;
        uint64_t misaligned;
    } pages[] = {
        {VMCS_MSR_BITMAP, VMCS_PRIMARY_CONTROLS, PRIMARY_MSR_BITMAPS, 0x800},
        {VMCS_VIRTUAL_APIC, VMCS_PRIMARY_CONTROLS, PRIMARY_TPR_SHADOW, 0x400},
        {VMCS_IO_BITMAP_A, VMCS_PRIMARY_CONTROLS, 1u << 25, 1},
        {VMCS_IO_BITMAP_B, VMCS_PRIMARY_CONTROLS, 1u << 25, 1},
        {VMCS_APIC_ACCESS, VMCS_SECONDARY_CONTROLS, SECONDARY_APIC_ACCESSES, 0x10},
        {VMCS_PML_ADDRESS, VMCS_SECONDARY_CONTROLS, 1u << 17, 0x10},
        {VMCS_EXIT_MSR_STORE, VMCS_EXIT_MSR_STORE_COUNT, 1, 8},
        {VMCS_EXIT_MSR_LOAD, VMCS_EXIT_MSR_LOAD_COUNT, 1, 8},
        {VMCS_ENTRY_MSR_LOAD, VMCS_ENTRY_MSR_LOAD_COUNT, 1, 8},
    };

    (void)unused;
    for (uint32_t i = 0; i < ARRAY_COUNT(pages); i++) {
        const uint64_t wrong[] = {pages[i].misaligned, 1ULL << caps.physical_bits};

        for (uint32_t w = 0; w < ARRAY_COUNT(wrong); w++) {
            reset();
            set(pages[i].control, get(pages[i].control) | pages[i].bit);
            assert_false(violated());
            set(pages[i].field, wrong[w]);
            expect("is not aligned");
            set(pages[i].control, get(pages[i].control) & ~pages[i].bit);
            if (pages[i].field != VMCS_VIRTUAL_APIC) { /* what needs the TPR shadow would be the next violation */
                assert_false(violated());
            }
        }
    }
}

static void rules_between_controls_are_known(void **unused)
{
    (void)unused;
    set(VMCS_CR3_TARGET_COUNT, 5);
    expect("CR3-target count");

    reset();
    caps.pin &= ~(uint64_t)PIN_NMI; /* so that only the rule between the two is violated */
    set(VMCS_PIN_CONTROLS, get(VMCS_PIN_CONTROLS) & ~(uint64_t)PIN_NMI);
    expect("virtual NMIs need NMI exiting");

    reset();
    set(VMCS_PIN_CONTROLS, get(VMCS_PIN_CONTROLS) & ~(uint64_t)PIN_VIRTUAL_NMI);
    set(VMCS_PRIMARY_CONTROLS, get(VMCS_PRIMARY_CONTROLS) | PRIMARY_NMI_WINDOW);
    expect("NMI-window exiting needs virtual NMIs");

    reset();
    set(VMCS_SECONDARY_CONTROLS, get(VMCS_SECONDARY_CONTROLS) | SECONDARY_X2APIC | SECONDARY_APIC_ACCESSES);
    expect("exclude each other");

    reset();
    set(VMCS_SECONDARY_CONTROLS, get(VMCS_SECONDARY_CONTROLS) | SECONDARY_VIRTUAL_X2APIC);
    assert_false(violated());
    set(VMCS_PIN_CONTROLS, get(VMCS_PIN_CONTROLS) & ~(uint64_t)PIN_EXTERNAL_INTERRUPT);
    expect("needs external-interrupt exiting");

    reset();
    set(VMCS_SECONDARY_CONTROLS, get(VMCS_SECONDARY_CONTROLS) | SECONDARY_VIRTUAL_X2APIC);
    set(VMCS_PRIMARY_CONTROLS,
        (get(VMCS_PRIMARY_CONTROLS) & ~(uint64_t)PRIMARY_TPR_SHADOW) | PRIMARY_CR8_LOAD | PRIMARY_CR8_STORE);
    expect("needs the TPR shadow");

    reset();
    caps.pin |= 1ULL << 32 << 7;
    set(VMCS_PIN_CONTROLS, get(VMCS_PIN_CONTROLS) | 1u << 7);
    expect("posted interrupts need");

    reset();
    set(VMCS_VPID, 0);
    expect("VPID is enabled and 0");

    reset();
    caps.exit |= 1ULL << 32 << 22;
    set(VMCS_EXIT_CONTROLS, get(VMCS_EXIT_CONTROLS) | 1u << 22);
    expect("preemption timer");

    reset();
    caps.entry |= 1ULL << 32 << 10;
    set(VMCS_ENTRY_CONTROLS, get(VMCS_ENTRY_CONTROLS) | 1u << 10);
    expect("system management mode");
}

static void tpr_threshold_may_not_pass_the_tpr(void **unused)
{
    (void)unused;
    state.vtpr = 0x50;
    set(VMCS_TPR_THRESHOLD, 5);
    assert_false(violated());
    set(VMCS_TPR_THRESHOLD, 6);
    expect("above the virtual TPR's class 5");
    set(VMCS_TPR_THRESHOLD, 0x15);
    expect("above 15");
}

static void ept_pointer_is_looked_at_bit_by_bit(void **unused)
{
    uint64_t good = get(VMCS_EPT_POINTER);

    (void)unused;
    set(VMCS_EPT_POINTER, (good & ~7ULL) | 3);
    expect("memory type 3");
    set(VMCS_EPT_POINTER, good & ~0x38ULL);
    expect("walk length");
    set(VMCS_EPT_POINTER, good | 0x80);
    expect("reserved bits");
    set(VMCS_EPT_POINTER, good | 1ULL << caps.physical_bits);
    expect("reserved bits");
    set(VMCS_EPT_POINTER, good | 1ULL << 6);
    caps.ept_vpid &= ~(1ULL << 21);
    expect("accessed and dirty");

    reset();
    set(VMCS_SECONDARY_CONTROLS, get(VMCS_SECONDARY_CONTROLS) & ~(uint64_t)SECONDARY_EPT);
    expect("need EPT");
}

#define EVENT(type, vector) (0x80000000u | (type) << 8 | (vector))
#define WITH_ERROR 0x800u

static void events_to_inject_are_legal(void **unused)
{
    static const struct row rows[] = {
        {"type 1 does not exist", {{VMCS_ENTRY_EVENT, EVENT(1u, 0x20u)}}},
        {"does not have vector 3", {{VMCS_ENTRY_EVENT, EVENT(2u, 3u)}}},
        {"does not have vector 32", {{VMCS_ENTRY_EVENT, EVENT(3u, 32u)}}},
        {"type 7 does not exist", {{VMCS_ENTRY_EVENT, EVENT(7u, 0u)}}}, /* Bochs has no monitor trap */
        {"reserved bits", {{VMCS_ENTRY_EVENT, EVENT(3u, 6u) | 0x1000u}}},
        {"must have an error code", {{VMCS_ENTRY_EVENT, EVENT(3u, 13u)}}},
        {"must not have an error code", {{VMCS_ENTRY_EVENT, EVENT(3u, 6u) | WITH_ERROR}}},
        {"must not have an error code", {{VMCS_ENTRY_EVENT, EVENT(2u, 2u) | WITH_ERROR}}},
        {"more than 16 bits", {{VMCS_ENTRY_EVENT, EVENT(3u, 14u) | WITH_ERROR}, {VMCS_ENTRY_ERROR_CODE, 0x10000}}},
        {"instruction length 16", {{VMCS_ENTRY_EVENT, EVENT(4u, 0x80u)}, {VMCS_ENTRY_INSTRUCTION_LENGTH, 16}}},
        {"interrupt is injected with RFLAGS.IF clear", {{VMCS_ENTRY_EVENT, EVENT(0u, 0x30u)}, {VMCS_GUEST_RFLAGS, 2}}},
        {"interrupt is injected while STI",
         {{VMCS_ENTRY_EVENT, EVENT(0u, 0x30u)}, {VMCS_GUEST_RFLAGS, 0x202}, {VMCS_GUEST_INTERRUPTIBILITY, 1}}},
        {"NMI is injected while MOV SS", {{VMCS_ENTRY_EVENT, EVENT(2u, 2u)}, {VMCS_GUEST_INTERRUPTIBILITY, 2}}},
        {"NMI is injected while an NMI", {{VMCS_ENTRY_EVENT, EVENT(2u, 2u)}, {VMCS_GUEST_INTERRUPTIBILITY, 8}}},
    };

    (void)unused;
    run_rows(rows, ARRAY_COUNT(rows));
    reset();
    set(VMCS_ENTRY_EVENT, EVENT(3u, 14u) | WITH_ERROR);
    assert_false(violated());
    set(VMCS_ENTRY_EVENT, EVENT(2u, 2u));
    assert_false(violated());
    caps.misc &= ~(1ULL << 30);
    set(VMCS_ENTRY_INSTRUCTION_LENGTH, 0);
    set(VMCS_ENTRY_EVENT, EVENT(6u, 3u));
    expect("instruction length 0");
}

static void an_exception_in_real_mode_has_no_error_code(void **unused)
{
    (void)unused;
    set(VMCS_GUEST_CR0, 0x30);
    set(VMCS_ENTRY_EVENT, EVENT(3u, 13u) | WITH_ERROR);
    expect("in real mode");
}

static void host_state_is_checked(void **unused)
{
    static const struct row rows[] = {
        {"host CR0", {{VMCS_HOST_CR0, 0x80000011}}},
        {"host CR0", {{VMCS_HOST_CR0, 0x180000031}}},
        {"host CR4", {{VMCS_HOST_CR4, 0x20}}},
        {"host CR3", {{VMCS_HOST_CR3, 1ULL << 52}}},
        {"host PAT", {{VMCS_HOST_PAT, 0x0007040600070402}}},
        {"host EFER", {{VMCS_HOST_EFER, 0x100}}},
        {"host EFER", {{VMCS_HOST_EFER, 0x1d00}}},
        {"host SYSENTER_ESP", {{VMCS_HOST_SYSENTER_ESP, 1ULL << 47}}},
        {"host SYSENTER_EIP", {{VMCS_HOST_SYSENTER_EIP, 1ULL << 47}}},
        {"host FS base", {{VMCS_HOST_FS_BASE, 1ULL << 47}}},
        {"host GS base", {{VMCS_HOST_GS_BASE, 1ULL << 47}}},
        {"host GDTR base", {{VMCS_HOST_GDTR_BASE, 1ULL << 63}}},
        {"host IDTR base", {{VMCS_HOST_IDTR_BASE, 1ULL << 63}}},
        {"host TR base", {{VMCS_HOST_TR_BASE, 1ULL << 47}}},
        {"host RIP", {{VMCS_HOST_RIP, 1ULL << 47}}},
        {"field 0xc02", {{VMCS_HOST_CS_SELECTOR, 0}}},
        {"field 0xc0c", {{VMCS_HOST_TR_SELECTOR, 0}}},
        {"field 0xc00", {{VMCS_HOST_ES_SELECTOR, 3}}},
        {"field 0xc06", {{VMCS_HOST_DS_SELECTOR, 4}}},
    };

    (void)unused;
    run_rows(rows, ARRAY_COUNT(rows));
    reset();
    caps.exit &= ~(uint64_t)EXIT_HOST_64BIT;
    set(VMCS_EXIT_CONTROLS, get(VMCS_EXIT_CONTROLS) & ~(uint64_t)(EXIT_HOST_64BIT | EXIT_LOAD_EFER));
    expect("64-bit host");
    reset();
    set(VMCS_HOST_CR4, get(VMCS_HOST_CR4) & ~0x20ULL);
    expect("host CR4.PAE");
}

static void guest_registers_are_checked(void **unused)
{
    static const struct row rows[] = {
        {"guest CR0", {{VMCS_GUEST_CR0, 0x80050011}}},
        {"guest CR0", {{VMCS_GUEST_CR0, 0x180050033}}},
        {"paging without protection", {{VMCS_GUEST_CR0, 0x80050032}}},
        {"guest CR4", {{VMCS_GUEST_CR4, 0x20}}},
        {"needs CR0.PG and CR4.PAE", {{VMCS_GUEST_CR4, 0x2000}}},
        {"guest CR3", {{VMCS_GUEST_CR3, 1ULL << 52}}},
        {"guest SYSENTER_ESP", {{VMCS_GUEST_SYSENTER_ESP, 1ULL << 47}}},
        {"guest SYSENTER_EIP", {{VMCS_GUEST_SYSENTER_EIP, 1ULL << 47}}},
        {"guest GDTR base", {{VMCS_GUEST_GDTR_BASE, 1ULL << 47}}},
        {"guest IDTR base", {{VMCS_GUEST_IDTR_BASE, 1ULL << 47}}},
        {"GDTR limit", {{VMCS_GUEST_GDTR_LIMIT, 0x10000}}},
        {"IDTR limit", {{VMCS_GUEST_IDTR_LIMIT, 0x10000}}},
        {"guest DR7", {{VMCS_GUEST_DR7, 1ULL << 32}}},
        {"guest DEBUGCTL", {{VMCS_GUEST_DEBUGCTL, 1ULL << 2}}},
        {"guest PAT", {{VMCS_GUEST_PAT, 0x0008000000000000}}},
        {"guest EFER", {{VMCS_GUEST_EFER, 0x1d01}}},
        {"LMA must be", {{VMCS_GUEST_EFER, 0x901}}},
        {"LMA must be", {{VMCS_GUEST_EFER, 0xc01}}},
        {"not canonical", {{VMCS_GUEST_RIP, 1ULL << 47}}},
        {"guest RFLAGS", {{VMCS_GUEST_RFLAGS, 0}}},
        {"guest RFLAGS", {{VMCS_GUEST_RFLAGS, 0x8002}}},
        {"guest RFLAGS", {{VMCS_GUEST_RFLAGS, 1ULL << 32 | 2}}},
        {"virtual-8086", {{VMCS_GUEST_RFLAGS, 0x20002}, {(enum vmcs_field)(VMCS_GUEST_ES_BASE + 2), 0x1000}}},
        {"VMCS link pointer", {{VMCS_LINK_POINTER, 0}}},
    };

    (void)unused;
    run_rows(rows, ARRAY_COUNT(rows));
    reset();
    set(VMCS_ENTRY_CONTROLS, get(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E);
    set(VMCS_GUEST_CR4, get(VMCS_GUEST_CR4) | 1ULL << 17);
    expect("PCIDE");
}

#define SELECTOR(index) ((enum vmcs_field)(VMCS_GUEST_ES_SELECTOR + 2 * (index)))
#define BASE(index) ((enum vmcs_field)(VMCS_GUEST_ES_BASE + 2 * (index)))
#define LIMIT(index) ((enum vmcs_field)(VMCS_GUEST_ES_LIMIT + 2 * (index)))
#define ACCESS(index) ((enum vmcs_field)(VMCS_GUEST_ES_ACCESS + 2 * (index)))
enum { ES, CS, SS, DS, FS, GS, LDTR, TR };

static void guest_segments_are_checked(void **unused)
{
    static const struct row rows[] = {
        {"guest TR", {{SELECTOR(TR), 0x44}}},
        {"guest LDTR", {{ACCESS(LDTR), 0x82}, {SELECTOR(LDTR), 4}, {LIMIT(LDTR), 0xff}}},
        {"guest LDTR", {{ACCESS(LDTR), 0x8b}, {LIMIT(LDTR), 0xff}}},
        {"guest FS", {{BASE(FS), 1ULL << 47}}},
        {"guest GS", {{BASE(GS), 1ULL << 47}}},
        {"guest TR", {{BASE(TR), 1ULL << 47}}},
        {"base is above 4 GiB", {{BASE(CS), 1ULL << 32}}},
        {"no accessed code", {{ACCESS(CS), 0xa091}}},
        {"DPL does not fit", {{ACCESS(CS), 0xa0fb}, {SELECTOR(CS), 0x33}}},
        {"L and D", {{ACCESS(CS), 0xe09b}}},
        {"S is clear", {{ACCESS(CS), 0xa08b}}},
        {"not present", {{ACCESS(CS), 0xa01b}}},
        {"reserved access", {{ACCESS(CS), 0xa19b}}},
        {"reserved access", {{ACCESS(CS), 0x2a09b}}},
        {"granularity", {{ACCESS(CS), 0x209b}}},
        {"granularity", {{LIMIT(CS), 0x12345}}},
        {"writable, accessed", {{ACCESS(SS), 0xc091}}},
        {"type is not accessed", {{ACCESS(DS), 0xc092}, {LIMIT(DS), 0xffffffff}}},
        {"type is not accessed", {{ACCESS(ES), 0xc099}, {LIMIT(ES), 0xffffffff}}},
        {"guest FS", {{ACCESS(FS), 0xc013}, {LIMIT(FS), 0xffffffff}}},
        {"guest GS", {{ACCESS(GS), 0xc083}, {LIMIT(GS), 0xffffffff}}},
        {"guest TR", {{ACCESS(TR), 0x1008b}}},
        {"busy TSS", {{ACCESS(TR), 0x83}}},
        {"S is set", {{ACCESS(TR), 0x9b}}},
        {"guest TR", {{ACCESS(TR), 0x0b}}},
    };

    (void)unused;
    run_rows(rows, ARRAY_COUNT(rows));
}

static void without_unrestricted_guest_privilege_levels_must_fit(void **unused)
{
    static const struct row rows[] = {
        {"differs from that of CS", {{SELECTOR(SS), 0x1b}, {SELECTOR(CS), 0x10}}},
        {"DPL differs from the RPL", {{SELECTOR(SS), 0x1b}, {SELECTOR(CS), 0x13}}},
        {"DPL is below the RPL", {{ACCESS(DS), 0xc093}, {SELECTOR(DS), 0x1b}, {LIMIT(DS), 0xffffffff}}},
    };

    (void)unused;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        reset();
        for (uint32_t c = 0; c < CHANGES_MAX && rows[i].changes[c].field != VMCS_VPID; c++) {
            set(rows[i].changes[c].field, rows[i].changes[c].value);
        }
        assert_false(violated());
        set(VMCS_SECONDARY_CONTROLS, get(VMCS_SECONDARY_CONTROLS) & ~(uint64_t)SECONDARY_UNRESTRICTED);
        expect(rows[i].words);
    }
}

static void real_mode(void)
{
    set(VMCS_GUEST_CR0, 0x30);
    set(VMCS_GUEST_EFER, 0);
    set(VMCS_GUEST_RIP, 0x7c00);
    set(VMCS_ENTRY_CONTROLS, get(VMCS_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E);
    for (uint32_t i = ES; i <= GS; i++) {
        set(SELECTOR(i), 0x100);
        set(BASE(i), 0x1000);
        set(LIMIT(i), 0xffff);
        set(ACCESS(i), 0x93);
    }
}

static void a_real_mode_guest_is_legal_and_its_stack_is_ring_0(void **unused)
{
    (void)unused;
    real_mode();
    if (violated()) {
        fail_msg("%s", sentence);
    }
    set(ACCESS(SS), 0xf3);
    expect("DPL");
    set(ACCESS(SS), 0x93);
    set(VMCS_GUEST_RIP, 1ULL << 32);
    expect("above 4 GiB");
}

static void virtual_8086_segments_have_one_shape(void **unused)
{
    (void)unused;
    real_mode();
    set(VMCS_GUEST_CR0, 0x31);
    set(VMCS_GUEST_RFLAGS, 0x20002);
    for (uint32_t i = ES; i <= GS; i++) {
        set(ACCESS(i), 0xf3);
    }
    assert_false(violated());
    set(BASE(FS), 0x1010);
    expect("16 times the selector");
    set(BASE(FS), 0x1000);
    set(LIMIT(GS), 0xfffff);
    expect("limit is not 0xffff");
    set(LIMIT(GS), 0xffff);
    set(ACCESS(DS), 0x93);
    expect("access rights are not 0xf3");
}

static void activity_and_shadows_are_checked(void **unused)
{
    static const struct row rows[] = {
        {"activity state 4", {{VMCS_GUEST_ACTIVITY, 4}}},
        {"outside of ring 0",
         {{VMCS_GUEST_ACTIVITY, 1}, {ACCESS(CS), 0xa0fb}, {ACCESS(SS), 0xc0f3}, {LIMIT(SS), 0xffffffff}}},
        {"in the shadow", {{VMCS_GUEST_ACTIVITY, 1}, {VMCS_GUEST_INTERRUPTIBILITY, 1}, {VMCS_GUEST_RFLAGS, 0x202}}},
        {"reserved bits", {{VMCS_GUEST_INTERRUPTIBILITY, 0x20}}},
        {"both block", {{VMCS_GUEST_INTERRUPTIBILITY, 3}}},
        {"STI blocks with RFLAGS.IF clear", {{VMCS_GUEST_INTERRUPTIBILITY, 1}, {VMCS_GUEST_RFLAGS, 2}}},
        {"SMIs are blocked", {{VMCS_GUEST_INTERRUPTIBILITY, 4}}},
        {"pending debug exceptions", {{VMCS_GUEST_PENDING_DEBUG, 0x10}}},
        {"BS must be 1", {{VMCS_GUEST_INTERRUPTIBILITY, 2}, {VMCS_GUEST_RFLAGS, 0x102}}},
        {"BS must be 0",
         {{VMCS_GUEST_INTERRUPTIBILITY, 2}, {VMCS_GUEST_RFLAGS, 0x2}, {VMCS_GUEST_PENDING_DEBUG, 0x4000}}},
    };

    (void)unused;
    run_rows(rows, ARRAY_COUNT(rows));
    reset();
    caps.misc &= ~(1ULL << 6);
    set(VMCS_GUEST_ACTIVITY, 1);
    expect("activity state 1");
}

static void reserved_bits_of_pdptes_matter_under_pae_paging_only(void **unused)
{
    (void)unused;
    set(VMCS_GUEST_PDPTE0, 1 | 2);
    assert_false(violated());
    real_mode();
    set(VMCS_GUEST_CR0, 0x80000031);
    set(VMCS_GUEST_CR4, get(VMCS_GUEST_CR4) & ~(1ULL << 17));
    set(VMCS_GUEST_PDPTE0, 0x1001);
    set((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 4), 6); /* not present: anything goes */
    if (violated()) {
        fail_msg("%s", sentence);
    }
    set((enum vmcs_field)(VMCS_GUEST_PDPTE0 + 6), 1ULL << 63 | 1);
    expect("guest PDPTE 3");
}

static void every_error_number_of_the_manual_has_a_text(void **unused)
{
    (void)unused;
    for (uint32_t number = 0; number < 32; number++) {
        bool listed = number >= 1 && number <= 28 && number != 14 && number != 21 && number != 27;
        bool told = strstr(vmx_instruction_error_text(number), "does not list") == NULL;

        assert_int_equal(listed, told);
    }
    assert_non_null(strstr(vmx_instruction_error_text(7), "control fields"));
    assert_non_null(strstr(vmx_instruction_error_text(8), "host state"));
}

static void failed_entries_are_told_apart(void **unused)
{
    (void)unused;
    assert_string_equal(vmx_entry_failure_text(0x80000021, 0), "invalid guest state");
    assert_non_null(strstr(vmx_entry_failure_text(0x80000021, 2), "PDPTE"));
    assert_non_null(strstr(vmx_entry_failure_text(0x80000021, 3), "NMI"));
    assert_non_null(strstr(vmx_entry_failure_text(0x80000021, 4), "link pointer"));
    assert_non_null(strstr(vmx_entry_failure_text(0x80000022, 1), "MSR"));
    assert_non_null(strstr(vmx_entry_failure_text(0x80000063, 0), "does not list"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_state_that_the_cpu_entered_has_no_violation, setup),
        cmocka_unit_test_setup(every_control_word_is_held_against_its_capabilities, setup),
        cmocka_unit_test_setup(pages_that_a_control_uses_are_aligned_and_within_physical_memory, setup),
        cmocka_unit_test_setup(rules_between_controls_are_known, setup),
        cmocka_unit_test_setup(tpr_threshold_may_not_pass_the_tpr, setup),
        cmocka_unit_test_setup(ept_pointer_is_looked_at_bit_by_bit, setup),
        cmocka_unit_test_setup(events_to_inject_are_legal, setup),
        cmocka_unit_test_setup(an_exception_in_real_mode_has_no_error_code, setup),
        cmocka_unit_test_setup(host_state_is_checked, setup),
        cmocka_unit_test_setup(guest_registers_are_checked, setup),
        cmocka_unit_test_setup(guest_segments_are_checked, setup),
        cmocka_unit_test_setup(without_unrestricted_guest_privilege_levels_must_fit, setup),
        cmocka_unit_test_setup(a_real_mode_guest_is_legal_and_its_stack_is_ring_0, setup),
        cmocka_unit_test_setup(virtual_8086_segments_have_one_shape, setup),
        cmocka_unit_test_setup(activity_and_shadows_are_checked, setup),
        cmocka_unit_test_setup(reserved_bits_of_pdptes_matter_under_pae_paging_only, setup),
        cmocka_unit_test_setup(every_error_number_of_the_manual_has_a_text, setup),
        cmocka_unit_test_setup(failed_entries_are_told_apart, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
