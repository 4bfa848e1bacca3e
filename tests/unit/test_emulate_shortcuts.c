/* SPDX-License-Identifier: MIT */
/*
 * What an access to a device does not do again: translate the operand that the CPU has translated, and fetch and decode
 * the instruction that is known. Each must give what the whole way gives, and be left where it might not.
 */
#include "emulate_harness.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_fetch.h"
#include "random.h"

#define READ_PAGE 1u           /* of the window, a device's */
#define LOAD "\x8b\x03"        /* mov eax, [rbx] */
#define STORE "\x89\x03"       /* mov [rbx], eax */
#define ADD_TO "\x01\x03"      /* add [rbx], eax */
#define BIT_SET "\x0f\xab\x03" /* bts [rbx], eax */
#define PUSH_IT "\xff\x33"     /* push qword [rbx] */

static void setup(const char *code, size_t count, uint64_t operand)
{
    enter_long_mode();
    put_code(code, count);
    vcpu.gpr[GPR_RBX] = operand;
    vcpu.gpr[GPR_RAX] = 0x11;
    vcpu.gpr[GPR_RSP] = WINDOW + 0x5800;
}

#define SETUP(code, operand) setup(code, sizeof(code) - 1, operand)

static void run(uint64_t address, bool write)
{
    const struct exit_nested_fault fault = {.address = {address}, .write = write};

    emulate_nested_fault(&vcpu, &fault);
}

/* --- the operand --- */

static void the_cpu_s_translation_is_taken(void **state)
{
    (void)state;
    SETUP(LOAD, WINDOW + 0x1010);
    put_entry(TABLE_PT, READ_PAGE, 0); /* changed since the CPU looked: it may still go by its TLB */
    device[0x10] = 0x77;
    run(DEVICE_GPA + 0x10, false);
    assert_int_equal(vcpu.gpr[GPR_RAX], 0x77);
    assert_false(vcpu.pending.valid);
    SETUP(ADD_TO, WINDOW + 0x1010);
    put_entry(TABLE_PT, READ_PAGE, 0);
    device[0x10] = 1;
    run(DEVICE_GPA + 0x10, true);
    assert_int_equal(device[0x10], 0x12);
    assert_int_equal(record_count, 2);
}

static void a_read_does_not_allow_a_write(void **state)
{
    (void)state;
    SETUP(STORE, WINDOW + 0x1010); /* the code was a load when the CPU executed it */
    put_entry(TABLE_PT, READ_PAGE, DEVICE_GPA | PTE_P | PTE_U);
    run(DEVICE_GPA + 0x10, false);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_PRESENT | PAGE_FAULT_WRITE, CODE_ADDRESS));
    assert_int_equal(record_count, 0);
}

static void another_place_in_the_page_is_another_operand(void **state)
{
    (void)state;
    SETUP(LOAD, WINDOW + 0x1020);
    device[0x20] = 0x55;
    run(DEVICE_GPA + 0x10, false);
    assert_int_equal(vcpu.gpr[GPR_RAX], 0x55);
    put_entry(TABLE_PT, READ_PAGE, 0);
    vcpu.rip = CODE_ADDRESS;
    run(DEVICE_GPA + 0x10, false);
    assert_true(raised(EXCEPTION_PF, true, 0, CODE_ADDRESS));
}

static void an_operand_over_two_pages_is_translated(void **state)
{
    (void)state;
    SETUP(LOAD, WINDOW + 0x2ffe);
    put_entry(TABLE_PT, 3, 0);
    run(DEVICE_GPA + 0x1ffe, false);
    assert_true(raised(EXCEPTION_PF, true, 0, CODE_ADDRESS));
    assert_int_equal(vcpu.system.cr2, WINDOW + 0x3000);
}

static void what_has_two_operands_or_moves_its_own_is_translated(void **state)
{
    (void)state;
    SETUP(PUSH_IT, WINDOW + 0x1010);
    put_entry(TABLE_PT, READ_PAGE, 0);
    run(DEVICE_GPA + 0x10, true);
    assert_true(raised(EXCEPTION_PF, true, 0, CODE_ADDRESS));
    SETUP(BIT_SET, WINDOW + 0x1010);
    vcpu.gpr[GPR_RAX] = 32 * 8;
    run(DEVICE_GPA + 0x10, true);
    assert_int_equal(device[0x30], 1);
}

static void segments_are_looked_at_in_any_case(void **state)
{
    (void)state;
    enter_protected_mode();
    put_code(LOAD, 2);
    vcpu.gpr[GPR_RBX] = DEVICE_GPA + 0x10;
    vcpu.system.segments[SEGMENT_DS].limit = 0xffff;
    run(DEVICE_GPA + 0x10, false);
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));
}

/* --- the instruction --- */

static bool is_kept(void)
{
    for (unsigned i = 0; i < CODE_CACHE_ENTRIES; i++) {
        if (vcpu.code[i].code != NULL && vcpu.code[i].linear == vcpu.rip) {
            return true;
        }
    }
    return false;
}

/* Runs a load from the window's code page twice: then it is known. */
static void learn(void)
{
    SETUP(LOAD, WINDOW + 0x1000);
    vcpu.rip = WINDOW + 0x4010;
    memcpy(ram + WINDOW_RAM + 0x4010, LOAD, 2);
    for (unsigned i = 0; i < 2; i++) {
        vcpu.rip = WINDOW + 0x4010;
        run(DEVICE_GPA, false);
        vcpu.rip = WINDOW + 0x4010;
        assert_true(is_kept());
    }
    vcpu.gpr[GPR_RAX] = 0x11;
    record_count = 0;
}

static void a_known_instruction_does_the_same_again(void **state)
{
    (void)state;
    learn();
    device[0] = 0x66;
    run(DEVICE_GPA, false);
    assert_int_equal(vcpu.gpr[GPR_RAX], 0x66);
    assert_int_equal(vcpu.rip, WINDOW + 0x4012);
}

static void bytes_that_changed_are_decoded_anew(void **state)
{
    (void)state;
    learn();
    memcpy(ram + WINDOW_RAM + 0x4010, STORE, 2);
    run(DEVICE_GPA, true);
    assert_true(record_count == 1 && records[0].write && records[0].value == 0x11);
    learn();
    memcpy(ram + WINDOW_RAM + 0x4010, "\x8b\x4b\x04", 3); /* mov ecx, [rbx + 4] */
    device[4] = 9;
    run(DEVICE_GPA + 4, false);
    assert_int_equal(vcpu.gpr[GPR_RCX], 9);
    assert_int_equal(vcpu.rip, WINDOW + 0x4013);
}

/* Each level's entry, then the page that it leads to. */
static void tables_that_changed_are_walked_anew(void **state)
{
    static const struct {
        uint32_t table, index;
    } entries[] = {{TABLE_PML4, (WINDOW >> 39) & 511}, {TABLE_PDPT, 0}, {TABLE_PD, 0}, {TABLE_PT, 4}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(entries); i++) {
        learn();
        put_entry(entries[i].table, entries[i].index, 0);
        run(DEVICE_GPA, false);
        assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_FETCH, WINDOW + 0x4010));
    }
    learn();
    put_entry(TABLE_PT, 4, (WINDOW_RAM + 0x5000) | PTE_P | PTE_W | PTE_U);
    memcpy(ram + WINDOW_RAM + 0x5010, STORE, 2);
    run(DEVICE_GPA, true);
    assert_true(record_count == 1 && records[0].write);
}

static void registers_that_decide_a_fetch_are_compared(void **state)
{
    (void)state;
    learn();
    vcpu.system.cr4 |= CR4_SMEP; /* user code, run by the supervisor */
    run(DEVICE_GPA, false);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_PRESENT | PAGE_FAULT_FETCH, WINDOW + 0x4010));
    learn();
    vcpu.system.cr3 = 0x8000; /* empty tables */
    run(DEVICE_GPA, false);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_FETCH, WINDOW + 0x4010));
    learn();
    put_entry(TABLE_PT, 4, (WINDOW_RAM + 0x4000) | PTE_P | PTE_W); /* the supervisor's */
    run(DEVICE_GPA, false);
    assert_false(vcpu.pending.valid);
    vcpu.rip = WINDOW + 0x4010;
    vcpu.system.cpl = 3;
    run(DEVICE_GPA, false);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_PRESENT | PAGE_FAULT_USER | PAGE_FAULT_FETCH, WINDOW + 0x4010));
    learn();
    vcpu.system.segments[SEGMENT_CS].access = ACCESS_CODE_32;
    vcpu.rip = WINDOW + 0x4010;
    vcpu.system.segments[SEGMENT_CS].limit = 0xfff; /* in 32-bit code a limit counts */
    run(DEVICE_GPA, false);
    assert_true(vcpu.pending.valid && vcpu.rip == WINDOW + 0x4010);
}

static void code_at_the_end_of_a_page_is_not_kept(void **state)
{
    (void)state;
    SETUP(LOAD, WINDOW + 0x1000);
    vcpu.rip = WINDOW + 0x4ff4;
    memcpy(ram + WINDOW_RAM + 0x4ff4, LOAD, 2);
    run(DEVICE_GPA, false);
    assert_int_equal(vcpu.rip, WINDOW + 0x4ff6);
    vcpu.rip = WINDOW + 0x4ff4;
    assert_false(is_kept());
}

/* Random code at a few places, changed tables and bytes: with the cache and without it the same comes out. */
static void the_cache_never_shows(void **state)
{
    static const char *const codes[] = {LOAD, STORE, ADD_TO, "\x8a\x03", "\x66\x89\x03", "\x48\x8b\x03"};
    struct vcpu whole;
    uint32_t kept = 0;

    (void)state;
    SETUP(LOAD, WINDOW + 0x1000);
    for (unsigned round = 0; round < 20000; round++) {
        uint32_t at = 0x4000 + 16 * (random_next() % 12);
        const char *code = codes[random_next() % ARRAY_COUNT(codes)];
        struct vcpu before;

        if (random_next() % 4 == 0) {
            memcpy(ram + WINDOW_RAM + at, code, strlen(code));
        }
        if (random_next() % 16 == 0) {
            put_entry(TABLE_PT, 4, (WINDOW_RAM + 0x4000) | (random_next() & (PTE_P | PTE_W | PTE_U)) | PTE_P);
        }
        vcpu.rip = WINDOW + at;
        vcpu.system.cpl = random_next() % 4 == 0 ? 3 : 0;
        vcpu.pending.valid = false;
        vcpu.requests = 0;
        if (ram[WINDOW_RAM + at] == 0) {
            continue;
        }
        kept += is_kept();
        before = vcpu;
        memset(vcpu.code, 0, sizeof(vcpu.code));
        device[0] = 0x40;
        record_count = 0;
        run(DEVICE_GPA, true);
        whole = vcpu;
        vcpu = before;
        device[0] = 0x40;
        record_count = 0;
        run(DEVICE_GPA, true);
        assert_memory_equal(vcpu.gpr, whole.gpr, sizeof(vcpu.gpr));
        assert_int_equal(vcpu.rip, whole.rip);
        assert_int_equal(vcpu.rflags, whole.rflags);
        assert_int_equal(vcpu.pending.valid, whole.pending.valid);
        assert_int_equal(vcpu.requests, whole.requests);
    }
    assert_true(kept > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cpu_s_translation_is_taken),
        cmocka_unit_test(a_read_does_not_allow_a_write),
        cmocka_unit_test(another_place_in_the_page_is_another_operand),
        cmocka_unit_test(an_operand_over_two_pages_is_translated),
        cmocka_unit_test(what_has_two_operands_or_moves_its_own_is_translated),
        cmocka_unit_test(segments_are_looked_at_in_any_case),
        cmocka_unit_test(a_known_instruction_does_the_same_again),
        cmocka_unit_test(bytes_that_changed_are_decoded_anew),
        cmocka_unit_test(tables_that_changed_are_walked_anew),
        cmocka_unit_test(registers_that_decide_a_fetch_are_compared),
        cmocka_unit_test(code_at_the_end_of_a_page_is_not_kept),
        cmocka_unit_test(the_cache_never_shows),
    };

    return cmocka_run_group_tests_name("emulate: shortcuts", tests, NULL, NULL);
}
