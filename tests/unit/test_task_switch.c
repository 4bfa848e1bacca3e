/* SPDX-License-Identifier: MIT */
/*
 * Task switches: what is saved, what is loaded, links and busy bits, the error code of a gate, and the exceptions of
 * table 7-1 with their error codes, in the old task before the commit point and in the new one behind it.
 */
#include "emulate_harness.h"

#include "hv/emulate/task_switch.h"

/* The GDT. */
#define GDT 0x10000u
#define SELECTOR_CODE 0x08u
#define SELECTOR_DATA 0x10u
#define SELECTOR_OLD 0x18u
#define SELECTOR_NEW 0x20u
#define SELECTOR_NEW_16 0x28u
#define SELECTOR_LDT 0x30u
#define SELECTOR_ABSENT 0x38u
#define SELECTOR_CODE_3 0x40u
#define SELECTOR_ABSENT_CODE 0x48u
#define GDT_LIMIT 0x4fu

#define OLD_TSS 0x11000u
#define NEW_TSS 0x12000u
#define NEW_TSS_16 0x13000u
#define LDT 0x14000u
#define IDT 0x15000u
#define NEW_STACK 0x60000u
#define NEW_EIP 0x70000u
#define NEW_EFLAGS 0x202u
#define FLAG_NT (1u << 14)
#define FLAG_RF (1u << 16)

#define DESCRIPTOR_CODE 0x00cf9a000000ffffULL
#define DESCRIPTOR_DATA 0x00cf92000000ffffULL
#define BUSY (1ULL << 41)

static uint64_t descriptor_of(uint32_t base, uint32_t limit, uint8_t access)
{
    return (uint64_t)(base >> 24) << 56 | (uint64_t)access << 40 | (uint64_t)(base & 0xffffff) << 16 | (limit & 0xffff);
}

static void put(uint32_t at, uint64_t value, uint8_t bytes)
{
    memcpy(ram + at, &value, bytes);
}

static uint64_t get(uint32_t at, uint8_t bytes)
{
    uint64_t value = 0;

    memcpy(&value, ram + at, bytes);
    return value;
}

static void put_task_gate(uint8_t vector, uint16_t selector)
{
    put(IDT + vector * 8u, 0x0000850000000000ULL | (uint64_t)selector << 16, 8);
}

static void put_new_tss(void)
{
    put(NEW_TSS + 32, NEW_EIP, 4);
    put(NEW_TSS + 36, NEW_EFLAGS, 4);
    for (uint32_t i = 0; i < 8; i++) {
        put(NEW_TSS + 40 + 4 * i, 0xa0a0a000 + i, 4);
    }
    put(NEW_TSS + 56, NEW_STACK, 4);
    for (uint32_t i = 0; i < 6; i++) {
        put(NEW_TSS + 72 + 4 * i, i == SEGMENT_CS ? SELECTOR_CODE : SELECTOR_DATA, 2);
    }
}

static void put_new_tss_16(void)
{
    put(NEW_TSS_16 + 14, 0x4321, 2);
    put(NEW_TSS_16 + 16, NEW_EFLAGS, 2);
    for (uint32_t i = 0; i < 8; i++) {
        put(NEW_TSS_16 + 18 + 2 * i, 0xb0b0 + i, 2);
    }
    for (uint32_t i = 0; i < 4; i++) {
        put(NEW_TSS_16 + 34 + 2 * i, i == SEGMENT_CS ? SELECTOR_CODE : SELECTOR_DATA, 2);
    }
}

/* A 32-bit task at a far jump of 7 bytes. */
static void set_up(void)
{
    enter_protected_mode();
    put(GDT + SELECTOR_CODE, DESCRIPTOR_CODE, 8);
    put(GDT + SELECTOR_DATA, DESCRIPTOR_DATA, 8);
    put(GDT + SELECTOR_OLD, descriptor_of(OLD_TSS, 103, 0x8b), 8);
    put(GDT + SELECTOR_NEW, descriptor_of(NEW_TSS, 103, 0x89), 8);
    put(GDT + SELECTOR_NEW_16, descriptor_of(NEW_TSS_16, 43, 0x81), 8);
    put(GDT + SELECTOR_LDT, descriptor_of(LDT, 15, 0x82), 8);
    put(GDT + SELECTOR_ABSENT, DESCRIPTOR_DATA & ~(1ULL << 47), 8);
    put(GDT + SELECTOR_CODE_3, DESCRIPTOR_CODE | 3ULL << 45, 8);
    put(GDT + SELECTOR_ABSENT_CODE, DESCRIPTOR_CODE & ~(1ULL << 47), 8);
    vcpu.system.gdtr = (struct table_register){.base = GDT, .limit = GDT_LIMIT};
    vcpu.system.idtr = (struct table_register){.base = IDT, .limit = 0x7ff};
    vcpu.system.segments[SEGMENT_TR] =
        (struct segment){.selector = SELECTOR_OLD, .base = OLD_TSS, .limit = 103, .access = 0x8b};
    vcpu.system.segments[SEGMENT_LDTR].access = SEGMENT_UNUSABLE;
    for (uint16_t i = 0; i < 6; i++) {
        vcpu.system.segments[i].selector = i == SEGMENT_CS ? SELECTOR_CODE : SELECTOR_DATA;
    }
    for (uint32_t i = 0; i < 8; i++) {
        vcpu.gpr[i] = 0xc0c0c000 + i;
    }
    vcpu.rflags = RFLAGS_FIXED | 0x41;
    put_code("\xea\x00\x00\x00\x00\x20\x00", 7);
    put_new_tss();
    put_new_tss_16();
}

static void switch_to(uint16_t selector, enum task_switch_reason reason)
{
    const struct exit_task_switch ts = {.selector = selector, .reason = reason};

    task_switch(&vcpu, &ts);
}

static bool in_new_task(void)
{
    return vcpu.rip == NEW_EIP && vcpu.system.segments[SEGMENT_TR].selector == SELECTOR_NEW;
}

static void a_jump_saves_the_old_task_and_loads_the_new_one(void **state)
{
    (void)state;
    set_up();
    vcpu.system.dr7 = 0x755;
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_false(vcpu.pending.valid);
    assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS + 7);
    assert_int_equal(get(OLD_TSS + 36, 4), RFLAGS_FIXED | 0x41);
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(get(OLD_TSS + 40 + 4 * i, 4), 0xc0c0c000 + i);
        assert_int_equal(vcpu.gpr[i], i == GPR_RSP ? NEW_STACK : 0xa0a0a000 + i);
    }
    assert_int_equal(get(OLD_TSS + 76, 4), SELECTOR_CODE);
    assert_int_equal(get(OLD_TSS + 72, 4), SELECTOR_DATA);
    assert_true(in_new_task());
    assert_int_equal(vcpu.rflags, NEW_EFLAGS);
    assert_true(vcpu.system.cr0 & CR0_TS);
    assert_int_equal(vcpu.system.dr7, 0x400 | 0x200);
    assert_int_equal(vcpu.system.segments[SEGMENT_TR].base, NEW_TSS);
    assert_int_equal(vcpu.system.segments[SEGMENT_TR].access, 0x8b);
    assert_int_equal(vcpu.system.segments[SEGMENT_CS].access, 0xc09b);
    assert_int_equal(vcpu.system.segments[SEGMENT_SS].limit, 0xffffffff);
    assert_true(vcpu.requests & VCPU_SYSTEM_WRITE);
}

static void a_jump_frees_the_old_task_and_takes_the_new_one(void **state)
{
    (void)state;
    set_up();
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_false(get(GDT + SELECTOR_OLD, 8) & BUSY);
    assert_true(get(GDT + SELECTOR_NEW, 8) & BUSY);
    assert_int_equal(get(NEW_TSS, 2), 0);
    assert_false(vcpu.rflags & FLAG_NT);
}

static void a_call_links_the_tasks_and_iret_goes_back(void **state)
{
    (void)state;
    set_up();
    put_code("\x9a\x00\x00\x00\x00\x20\x00", 7);
    switch_to(SELECTOR_NEW, TASK_SWITCH_CALL);
    assert_true(in_new_task());
    assert_true((get(GDT + SELECTOR_OLD, 8) & BUSY) && (get(GDT + SELECTOR_NEW, 8) & BUSY));
    assert_int_equal(get(NEW_TSS, 2), SELECTOR_OLD);
    assert_true(vcpu.rflags & FLAG_NT);

    put(NEW_EIP, 0xcf, 1); /* iret */
    switch_to(SELECTOR_OLD, TASK_SWITCH_IRET);
    assert_false(vcpu.pending.valid);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 7);
    assert_int_equal(vcpu.gpr[GPR_RDI], 0xc0c0c007);
    assert_false(vcpu.rflags & FLAG_NT);
    assert_true(get(GDT + SELECTOR_OLD, 8) & BUSY);
    assert_false(get(GDT + SELECTOR_NEW, 8) & BUSY);
    assert_int_equal(get(NEW_TSS + 32, 4), NEW_EIP + 1);
    assert_int_equal(get(NEW_TSS + 36, 4), NEW_EFLAGS); /* NT is cleared in the image */
}

static void a_gate_for_an_exception_pushes_its_error_code_and_keeps_rip(void **state)
{
    const struct exit_task_switch ts = {
        .selector = SELECTOR_NEW, .reason = TASK_SWITCH_GATE, .has_error = true, .error = 0x1234};

    (void)state;
    set_up();
    put_task_gate(EXCEPTION_GP, SELECTOR_NEW);
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = EXCEPTION_GP, .kind = EVENT_EXCEPTION};
    vcpu.rflags |= RFLAGS_RF;
    task_switch(&vcpu, &ts);
    assert_false(vcpu.pending.valid);
    assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS);
    assert_true(get(OLD_TSS + 36, 4) & FLAG_RF);
    assert_int_equal(vcpu.gpr[GPR_RSP], NEW_STACK - 4);
    assert_int_equal(get(NEW_STACK - 4, 4), 0x1234);
    assert_int_equal(get(NEW_TSS, 2), SELECTOR_OLD);
    assert_true(vcpu.rflags & FLAG_NT);
}

static void a_software_interrupt_through_a_gate_returns_behind_it(void **state)
{
    (void)state;
    set_up();
    put_code("\xcd\x80", 2);
    put_task_gate(0x80, SELECTOR_NEW);
    switch_to(SELECTOR_NEW, TASK_SWITCH_GATE); /* the decoders leave no event of an instruction */
    assert_true(in_new_task() && !vcpu.pending.valid);
    assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS + 2);
}

/* quirks.stale_task_event; without it an event in delivery is what it says. */
static void an_event_whose_gate_is_another_one_is_of_the_past(void **state)
{
    (void)state;
    set_up();
    put_code("\xcd\x80", 2);
    put_task_gate(0x80, SELECTOR_NEW);
    put_task_gate(0x20, SELECTOR_NEW_16);
    host_facts.quirks.stale_task_event = true;
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = 0x20, .kind = EVENT_INTERRUPT};
    switch_to(SELECTOR_NEW, TASK_SWITCH_GATE);
    assert_true(in_new_task() && !vcpu.pending.valid);
    assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS + 2);
    set_up();
    put_task_gate(0x20, SELECTOR_NEW);
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = 0x20, .kind = EVENT_INTERRUPT};
    switch_to(SELECTOR_NEW, TASK_SWITCH_GATE);
    assert_true(in_new_task());
    assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS);
    set_up();
    put_code("\xcd\x80", 2);
    put_task_gate(0x80, SELECTOR_NEW);
    host_facts.quirks.stale_task_event = false;
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = 0x20, .kind = EVENT_INTERRUPT};
    switch_to(SELECTOR_NEW, TASK_SWITCH_GATE);
    assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS);
}

/* The past has an exception whose gate names the same task: what stands at rip tells. */
static void a_software_interrupt_is_known_behind_an_exception_through_its_task(void **state)
{
    static const struct {
        const char *code;
        uint8_t length, vector, ahead;
        bool has_error;
    } rows[] = {{"\xcd\x80", 2, 0x80, 2, false},     {"\xcd\x80", 2, 0x80, 0, true},
                {"\xcc", 1, EXCEPTION_BP, 1, false}, {"\xce", 1, EXCEPTION_OF, 1, false},
                {"\xf1", 1, EXCEPTION_DB, 1, false}, {"\xf7\xf1", 2, 0x80, 0, false},
                {"\xcd\x81", 2, 0x80, 0, false},     {"\xcc", 1, 0x80, 0, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct exit_task_switch ts = {
            .selector = SELECTOR_NEW, .reason = TASK_SWITCH_GATE, .has_error = rows[i].has_error, .error = 0};

        set_up();
        host_facts.quirks.stale_task_event = true;
        memset(ram + IDT, 0, 0x800);
        put_code(rows[i].code, rows[i].length);
        put_task_gate(EXCEPTION_DE, SELECTOR_NEW);
        put_task_gate(rows[i].vector, SELECTOR_NEW);
        vcpu.pending = (struct vcpu_event){.valid = true, .vector = EXCEPTION_DE, .kind = EVENT_EXCEPTION};
        task_switch(&vcpu, &ts);
        assert_true(in_new_task() && !vcpu.pending.valid);
        assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS + rows[i].ahead);
    }
}

static void a_16_bit_task_has_16_bit_registers_and_no_fs_and_gs(void **state)
{
    (void)state;
    set_up();
    switch_to(SELECTOR_NEW_16, TASK_SWITCH_JMP);
    assert_false(vcpu.pending.valid);
    assert_int_equal(vcpu.rip, 0x4321);
    assert_int_equal(vcpu.gpr[GPR_RDI] & 0xffff, 0xb0b7);
    assert_int_equal(vcpu.system.segments[SEGMENT_FS].selector, 0);
    assert_true(vcpu.system.segments[SEGMENT_GS].access & SEGMENT_UNUSABLE);
    /* and back: the 16-bit format is saved in 16-bit fields */
    put(GDT + SELECTOR_OLD, get(GDT + SELECTOR_OLD, 8) & ~BUSY, 8);
    put(0x4321, 0x20000000000000eaULL, 8);
    put(0x4326, 0x18, 2);
    switch_to(SELECTOR_OLD, TASK_SWITCH_JMP);
    assert_int_equal(get(NEW_TSS_16 + 14, 2), 0x4328);
    assert_int_equal(get(NEW_TSS_16 + 32, 2), 0xb0b7);
    assert_int_equal(get(NEW_TSS_16 + 42, 2), 0);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 7);
}

static void paging_tasks_get_their_own_cr3_and_ldt(void **state)
{
    (void)state;
    set_up();
    for (uint32_t i = 0; i < 1024; i++) { /* identity with 4 MiB pages, at two places */
        put(0x20000 + 4 * i, i << 22 | 0x83, 4);
        put(0x21000 + 4 * i, i << 22 | 0x83, 4);
    }
    vcpu.system.cr0 |= CR0_PG;
    vcpu.system.cr4 = CR4_PSE;
    vcpu.system.cr3 = 0x20000;
    put(NEW_TSS + 28, 0x21000, 4);
    put(NEW_TSS + 96, SELECTOR_LDT, 2);
    put(NEW_TSS + 84, 0x0c, 2); /* DS: entry 1 of the LDT */
    put(LDT + 8, DESCRIPTOR_DATA | 0x123ULL << 16, 8);
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_false(vcpu.pending.valid);
    assert_int_equal(vcpu.system.cr3, 0x21000);
    assert_true(vcpu.requests & VCPU_FLUSH);
    assert_int_equal(vcpu.system.segments[SEGMENT_LDTR].base, LDT);
    assert_int_equal(vcpu.system.segments[SEGMENT_DS].base, 0x123);
    assert_int_equal(get(LDT + 8, 8) >> 40 & 1, 1); /* accessed */
}

static void a_virtual_8086_task_gets_paragraph_segments(void **state)
{
    (void)state;
    set_up();
    put(NEW_TSS + 36, 0x20202, 4);
    put(NEW_TSS + 32, 0x100, 4);
    put(NEW_TSS + 76, 0x1234, 2);
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_false(vcpu.pending.valid);
    assert_int_equal(vcpu.system.segments[SEGMENT_CS].base, 0x12340);
    assert_int_equal(vcpu.system.segments[SEGMENT_DS].access, 0xf3);
    assert_int_equal(vcpu.system.cpl, 3);
}

static void the_t_flag_of_a_tss_traps_before_the_first_instruction(void **state)
{
    (void)state;
    set_up();
    put(NEW_TSS + 100, 1, 2);
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_true(raised(EXCEPTION_DB, false, 0, NEW_EIP));
    assert_true(vcpu.requests & VCPU_TASK_TRAP);
}

/* --- faults in the old task --------------------------------------------------------------------------------------- */

static bool nothing_changed(void)
{
    return get(OLD_TSS + 32, 4) == 0 && (get(GDT + SELECTOR_OLD, 8) & BUSY) && vcpu.gpr[GPR_RDI] == 0xc0c0c007 &&
           vcpu.system.segments[SEGMENT_TR].selector == SELECTOR_OLD && !(vcpu.requests & VCPU_SYSTEM_WRITE);
}

static void a_bad_tss_descriptor_faults_in_the_old_task(void **state)
{
    static const struct {
        uint16_t selector;
        uint64_t descriptor; /* 0: as it is */
        enum task_switch_reason reason;
        enum exception vector;
    } cases[] = {
        {GDT_LIMIT + 1, 0, TASK_SWITCH_JMP, EXCEPTION_GP},                    /* beyond the GDT */
        {0, 0, TASK_SWITCH_JMP, EXCEPTION_GP},                                /* null */
        {SELECTOR_NEW | 4, 0, TASK_SWITCH_JMP, EXCEPTION_GP},                 /* in the LDT */
        {SELECTOR_DATA, 0, TASK_SWITCH_JMP, EXCEPTION_GP},                    /* no TSS */
        {SELECTOR_NEW, 0x00008b0000000067ULL, TASK_SWITCH_JMP, EXCEPTION_GP}, /* busy */
        {SELECTOR_NEW, 0, TASK_SWITCH_IRET, EXCEPTION_TS},                    /* not busy */
        {SELECTOR_NEW, 0x0000090000000067ULL, TASK_SWITCH_JMP, EXCEPTION_NP}, /* not present */
        {SELECTOR_NEW, 0x0000890000000066ULL, TASK_SWITCH_JMP, EXCEPTION_TS}, /* too short */
        {SELECTOR_NEW_16, 0x000081000000002aULL, TASK_SWITCH_CALL, EXCEPTION_TS},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_up();
        if (cases[i].descriptor != 0) {
            put(GDT + cases[i].selector, cases[i].descriptor, 8);
        }
        switch_to(cases[i].selector, cases[i].reason);
        assert_true(raised((uint8_t)cases[i].vector, true, cases[i].selector & ~3u, CODE_ADDRESS));
        assert_true(nothing_changed());
    }
}

static void a_tss_that_cannot_be_written_faults_before_anything_changes(void **state)
{
    (void)state;
    set_up();
    for (uint32_t i = 0; i < 1024; i++) {
        put(0x20000 + 4 * i, i << 12 | (i == OLD_TSS >> 12 ? 1u : 3u), 4); /* the old TSS's page is read-only */
    }
    put(0x21000, 0x20003, 4);
    vcpu.system.cr0 |= CR0_PG | CR0_WP;
    vcpu.system.cr3 = 0x21000;
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_PRESENT | PAGE_FAULT_WRITE, CODE_ADDRESS));
    assert_int_equal(vcpu.system.cr2, OLD_TSS);
    assert_true(nothing_changed());
}

/* --- faults in the new task --------------------------------------------------------------------------------------- */

static void a_bad_selector_in_the_tss_faults_in_the_new_task(void **state)
{
    static const struct {
        uint8_t at; /* in the TSS */
        uint16_t selector;
        enum exception vector;
    } cases[] = {
        {96, SELECTOR_DATA, EXCEPTION_TS},        /* LDT: no LDT */
        {96, SELECTOR_LDT | 4, EXCEPTION_TS},     /* LDT in the LDT */
        {76, 0, EXCEPTION_TS},                    /* CS: null */
        {76, SELECTOR_DATA, EXCEPTION_TS},        /* CS: no code */
        {76, SELECTOR_CODE_3, EXCEPTION_TS},      /* CS: DPL 3, RPL 0 */
        {76, SELECTOR_ABSENT_CODE, EXCEPTION_NP}, /* CS: not present */
        {80, 0, EXCEPTION_TS},                    /* SS: null */
        {80, SELECTOR_CODE, EXCEPTION_TS},        /* SS: code */
        {80, SELECTOR_DATA | 1, EXCEPTION_TS},    /* SS: RPL is not CPL */
        {80, SELECTOR_ABSENT, EXCEPTION_SS},      /* SS: not present */
        {84, SELECTOR_OLD, EXCEPTION_TS},         /* DS: a system segment */
        {72, SELECTOR_ABSENT, EXCEPTION_NP},      /* ES: not present */
        {88, GDT_LIMIT + 1, EXCEPTION_TS},        /* FS: beyond the GDT */
        {92, 0x0c, EXCEPTION_TS},                 /* GS: in an LDT that is not there */
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set_up();
        put(NEW_TSS + cases[i].at, cases[i].selector, 2);
        switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
        assert_true(raised((uint8_t)cases[i].vector, true, cases[i].selector & ~3u, NEW_EIP));
        assert_true(in_new_task());
        assert_int_equal(get(OLD_TSS + 32, 4), CODE_ADDRESS + 7);
        assert_true(vcpu.requests & VCPU_SYSTEM_WRITE);
    }
}

static void an_external_event_sets_ext_in_the_error_code(void **state)
{
    (void)state;
    set_up();
    put(NEW_TSS + 84, SELECTOR_ABSENT, 2);
    put_task_gate(0x20, SELECTOR_NEW);
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = 0x20, .kind = EVENT_INTERRUPT};
    switch_to(SELECTOR_NEW, TASK_SWITCH_GATE);
    assert_true(raised(EXCEPTION_NP, true, SELECTOR_ABSENT | 1, NEW_EIP));
}

static void an_entry_beyond_the_code_segment_faults(void **state)
{
    (void)state;
    set_up();
    put(GDT + SELECTOR_CODE, 0x00409a000000ffffULL, 8); /* 64 KiB */
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_true(raised(EXCEPTION_GP, true, 0, NEW_EIP));
}

/* `lss esp, [eax]` is no instruction that switches tasks, and none that is decoded. */
static void code_that_changed_during_the_switch_ends_the_guest_with_a_code(void **state)
{
    (void)state;
    set_up();
    put_code("\x0f\xb2\x20", 3);
    vcpu.refetch_rip = CODE_ADDRESS; /* not for the first time */
    vcpu.refetches = 100;
    switch_to(SELECTOR_NEW, TASK_SWITCH_JMP);
    assert_int_equal(guest.state, GUEST_CRASHED);
    assert_int_equal(guest.failure_code, GUEST_CODE_TASK_SWITCH);
    assert_non_null(strstr(guest.report, "0f b2 20"));
    assert_false(in_new_task());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jump_saves_the_old_task_and_loads_the_new_one),
        cmocka_unit_test(a_jump_frees_the_old_task_and_takes_the_new_one),
        cmocka_unit_test(a_call_links_the_tasks_and_iret_goes_back),
        cmocka_unit_test(a_gate_for_an_exception_pushes_its_error_code_and_keeps_rip),
        cmocka_unit_test(a_software_interrupt_through_a_gate_returns_behind_it),
        cmocka_unit_test(an_event_whose_gate_is_another_one_is_of_the_past),
        cmocka_unit_test(a_software_interrupt_is_known_behind_an_exception_through_its_task),
        cmocka_unit_test(a_16_bit_task_has_16_bit_registers_and_no_fs_and_gs),
        cmocka_unit_test(paging_tasks_get_their_own_cr3_and_ldt),
        cmocka_unit_test(a_virtual_8086_task_gets_paragraph_segments),
        cmocka_unit_test(the_t_flag_of_a_tss_traps_before_the_first_instruction),
        cmocka_unit_test(a_bad_tss_descriptor_faults_in_the_old_task),
        cmocka_unit_test(a_tss_that_cannot_be_written_faults_before_anything_changes),
        cmocka_unit_test(a_bad_selector_in_the_tss_faults_in_the_new_task),
        cmocka_unit_test(an_external_event_sets_ext_in_the_error_code),
        cmocka_unit_test(an_entry_beyond_the_code_segment_faults),
        cmocka_unit_test(code_that_changed_during_the_switch_ends_the_guest_with_a_code),
    };

    return cmocka_run_group_tests_name("task switch", tests, NULL, NULL);
}
