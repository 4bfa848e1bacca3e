/* SPDX-License-Identifier: MIT */
/*
 * The emulator where no CPU can be asked: 16- and 32-bit code, segments, faults and their error codes, near branches,
 * repeated strings cut into exits, and what a guest does wrong. The arithmetic is in test_emulate_cpu.c.
 */
#include "emulate_harness.h"

#include "hv/emulate/emulate.h"
#include "hv/emulate/emulate_alu.h"
#include "hv/emulate/emulate_fetch.h"
#include "hv/emulate/emulate_string.h"

/* Of a walk, whose address is not the operand's: all is translated here. test_emulate_shortcuts.c has the other. */
static const struct exit_nested_fault read_fault = {.address = {DEVICE_GPA}, .table_walk = true};
static const struct exit_nested_fault write_fault = {.address = {DEVICE_GPA}, .write = true, .table_walk = true};

#define RUN(code) run_code(code, sizeof(code) - 1)

static void run_code(const char *code, size_t count)
{
    put_code(code, count);
    emulate_nested_fault(&vcpu, &read_fault);
}

static uint64_t device_value(uint32_t at, uint8_t bytes)
{
    uint64_t value = 0;

    memcpy(&value, device + at, bytes);
    return value;
}

static void put_ram(uint32_t at, uint64_t value, uint8_t bytes)
{
    memcpy(ram + at, &value, bytes);
}

static uint64_t ram_value(uint32_t at, uint8_t bytes)
{
    uint64_t value = 0;

    memcpy(&value, ram + at, bytes);
    return value;
}

static bool stopped_with(uint32_t code)
{
    return (vcpu.requests & VCPU_STOPPED) && guest.state == GUEST_CRASHED && guest.failure_code == code;
}

/* --- how devices see it --- */

static void one_mov_is_one_device_access_of_its_width(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RBX] = DEVICE_GPA + 0x10;
    vcpu.gpr[GPR_RAX] = 0x1234567811223344;
    RUN("\x89\x03"); /* mov [ebx], eax */
    assert_int_equal(record_count, 1);
    assert_true(records[0].write && records[0].address == DEVICE_GPA + 0x10 && records[0].size == 4);
    assert_int_equal(records[0].value, 0x11223344);
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
    assert_true(vcpu.requests & VCPU_ADVANCED);
}

static void a_read_modify_write_reads_once_and_writes_once(void **state)
{
    (void)state;
    enter_protected_mode();
    device[0] = 0x0f;
    RUN("\xf0\x80\x0d\x00\x00\xd0\xfe\xf0"); /* lock or byte [fed00000], f0 */
    assert_int_equal(record_count, 2);
    assert_true(!records[0].write && records[0].size == 1 && records[1].write && records[1].size == 1);
    assert_int_equal(device[0], 0xff);
    assert_int_equal(vcpu.rflags & FLAGS_STATUS, FLAG_SF | FLAG_PF);
}

static void an_access_over_two_device_pages_is_split_between_them(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RBX] = DEVICE_GPA + 0xffd;
    vcpu.gpr[GPR_RCX] = 0xddccbbaa;
    RUN("\x89\x0b"); /* mov [ebx], ecx: 3 bytes here, 1 there */
    assert_int_equal(record_count, 3);
    assert_true(records[0].address == DEVICE_GPA + 0xffd && records[0].size == 2);
    assert_true(records[1].address == DEVICE_GPA + 0xfff && records[1].size == 1);
    assert_true(records[2].address == DEVICE_GPA + 0x1000 && records[2].size == 1);
    assert_int_equal(device_value(0xffd, 4), 0xddccbbaa);
}

static void no_device_reads_as_all_ones_and_ignores_writes(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RBX] = NO_DEVICE_GPA;
    RUN("\x66\x8b\x03"); /* mov ax, [ebx] */
    assert_int_equal(vcpu.gpr[GPR_RAX], 0xffff);
    vcpu.rip = CODE_ADDRESS;
    RUN("\x83\x2b\x01"); /* sub dword [ebx], 1 */
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 3);
    assert_true(records[record_count - 1].write && records[record_count - 1].value == 0xfffffffe);
    assert_false(vcpu.pending.valid || (vcpu.requests & VCPU_STOPPED));
}

static void the_end_of_ram_is_split_from_what_no_device_has(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RBX] = RAM_BYTES - 2;
    put_ram(RAM_BYTES - 2, 0x3412, 2);
    RUN("\x8b\x03"); /* mov eax, [ebx] */
    assert_int_equal(vcpu.gpr[GPR_RAX], 0xffff3412);
    assert_true(records[0].address == RAM_BYTES && records[0].size == 2);
}

/* --- modes and segments --- */

static void real_mode_uses_segment_bases_and_16_bit_addresses(void **state)
{
    (void)state;
    enter_real_mode();
    vcpu.system.segments[SEGMENT_ES].base = DEVICE_GPA;
    vcpu.gpr[GPR_RBX] = 0xfff0;
    vcpu.gpr[GPR_RSI] = 0x0011; /* wraps to 1 */
    vcpu.gpr[GPR_RAX] = 0x1122334455667788;
    RUN("\x26\x88\x20"); /* mov es:[bx + si], ah */
    assert_int_equal(device[1], 0x77);
    assert_int_equal(vcpu.rip, 3);
}

static void a_real_mode_limit_fault_has_no_error_code(void **state)
{
    (void)state;
    enter_real_mode();
    vcpu.gpr[GPR_RBX] = 0xffff;
    RUN("\x8b\x07"); /* mov ax, [bx]: a word at ffff */
    assert_true(raised(EXCEPTION_GP, false, 0, 0));
    vcpu.pending.valid = false;
    vcpu.gpr[GPR_RBP] = 0xffff;
    RUN("\x8b\x46\x00"); /* mov ax, [bp] */
    assert_true(raised(EXCEPTION_SS, false, 0, 0));
    assert_int_equal(record_count, 0);
}

static void protected_mode_checks_limits_types_and_null_segments(void **state)
{
    struct segment *ds;

    (void)state;
    enter_protected_mode();
    ds = &vcpu.system.segments[SEGMENT_DS];
    ds->limit = 0xfff;
    vcpu.gpr[GPR_RBX] = 0xffd;
    RUN("\x8b\x03"); /* four bytes from ffd */
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));

    enter_protected_mode();
    ds->access = 0xc091; /* read-only data */
    vcpu.gpr[GPR_RBX] = DEVICE_GPA;
    RUN("\x89\x03");
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));

    enter_protected_mode();
    ds->access = SEGMENT_UNUSABLE;
    RUN("\x8b\x03");
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));

    enter_protected_mode();
    vcpu.system.segments[SEGMENT_CS].access = 0xc099; /* execute-only code */
    RUN("\x2e\x8b\x03");
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));
    assert_int_equal(record_count, 0);
}

static void an_expand_down_segment_holds_what_is_above_its_limit(void **state)
{
    struct segment *ss;

    (void)state;
    enter_protected_mode();
    ss = &vcpu.system.segments[SEGMENT_SS];
    ss->access = 0xc097; /* expand-down, writable, B */
    ss->limit = 0xfff;
    vcpu.gpr[GPR_RBP] = 0x1000;
    ss->base = DEVICE_GPA - 0x1000;
    RUN("\xc7\x45\x00\x01\x02\x03\x04"); /* mov dword [ebp], 04030201 */
    assert_int_equal(device_value(0, 4), 0x04030201);
    vcpu.rip = CODE_ADDRESS;
    vcpu.gpr[GPR_RBP] = 0xfff;
    RUN("\xc7\x45\x00\x01\x02\x03\x04");
    assert_true(raised(EXCEPTION_SS, true, 0, CODE_ADDRESS));
}

static void fs_and_gs_have_bases_in_64_bit_mode_and_the_others_do_not(void **state)
{
    (void)state;
    enter_long_mode();
    vcpu.system.segments[SEGMENT_GS].base = DEVICE_GPA;
    vcpu.system.segments[SEGMENT_ES].base = 0x123000;
    vcpu.gpr[GPR_RAX] = 0xab;
    RUN("\x65\x26\x88\x04\x25\x05\x00\x00\x00"); /* mov gs:[5], al */
    assert_int_equal(device[5], 0xab);
}

static void an_address_that_is_not_canonical_faults_by_its_segment(void **state)
{
    (void)state;
    enter_long_mode();
    vcpu.gpr[GPR_RBX] = 0x800000000000;
    RUN("\x8b\x03");
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));
    vcpu.pending.valid = false;
    vcpu.gpr[GPR_RBP] = 0x7ffffffffffd; /* the last byte is not */
    RUN("\x8b\x45\x00");
    assert_true(raised(EXCEPTION_SS, true, 0, CODE_ADDRESS));
}

static void misaligned_user_accesses_raise_alignment_checks(void **state)
{
    (void)state;
    enter_long_mode();
    vcpu.system.cpl = 3;
    vcpu.system.cr0 |= CR0_AM;
    vcpu.rflags |= RFLAGS_AC;
    vcpu.gpr[GPR_RBX] = DEVICE_GPA + 2;
    RUN("\x8b\x03");
    assert_true(raised(EXCEPTION_AC, true, 0, CODE_ADDRESS));
    vcpu.pending.valid = false;
    RUN("\x66\x8b\x03");
    assert_false(vcpu.pending.valid);
}

/* --- page faults --- */

static void a_read_only_page_faults_with_the_write_bit_before_any_device_access(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PT, 1, DEVICE_GPA | PTE_P | PTE_U);
    vcpu.system.cpl = 3;
    vcpu.gpr[GPR_RBX] = WINDOW + 0x1008;
    RUN("\x83\x03\x01"); /* add dword [rbx], 1 */
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_PRESENT | PAGE_FAULT_WRITE | PAGE_FAULT_USER, CODE_ADDRESS));
    assert_true(vcpu.system.cr2 == WINDOW + 0x1008 && (vcpu.requests & VCPU_CR2_WRITE));
    assert_true(vcpu.rflags & RFLAGS_RF);
    assert_int_equal(record_count, 0);
}

static void an_operand_that_ends_on_an_absent_page_changes_nothing(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PT, 3, 0);
    vcpu.gpr[GPR_RBX] = WINDOW + 0x2ffe;
    RUN("\x89\x03");
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_WRITE, CODE_ADDRESS));
    assert_int_equal(vcpu.system.cr2, WINDOW + 0x3000);
    assert_int_equal(record_count, 0);
}

static void code_that_ends_on_an_absent_page_faults_there(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PT, 5, 0);
    vcpu.rip = WINDOW + 0x4fff;
    ram[WINDOW_RAM + 0x4fff] = 0x8b;
    emulate_nested_fault(&vcpu, &read_fault);
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_FETCH, WINDOW + 0x4fff));
    assert_int_equal(vcpu.system.cr2, WINDOW + 0x5000);
}

static void code_over_two_pages_is_put_together(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PT, 5, (WINDOW_RAM + 0x9000) | PTE_P);
    vcpu.rip = WINDOW + 0x4fff;
    vcpu.gpr[GPR_RBX] = WINDOW + 0x1000;
    vcpu.gpr[GPR_RCX] = 0x77;
    ram[WINDOW_RAM + 0x4fff] = 0x88; /* mov [rbx], cl */
    ram[WINDOW_RAM + 0x9000] = 0x0b;
    emulate_nested_fault(&vcpu, &write_fault);
    assert_int_equal(device[0], 0x77);
    assert_int_equal(vcpu.rip, WINDOW + 0x5001);
}

static void a_page_table_outside_memory_is_a_page_fault_with_reserved_bits(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PDPT, 1, NO_DEVICE_GPA | PTE_P | PTE_W | PTE_U);
    vcpu.gpr[GPR_RBX] = WINDOW + GIB;
    RUN("\x89\x03");
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED | PAGE_FAULT_WRITE, CODE_ADDRESS));
}

/* --- stack and branches --- */

static void push_and_pop_move_between_device_and_stack(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RSP] = 0x50000;
    vcpu.gpr[GPR_RBX] = DEVICE_GPA;
    memcpy(device, "\x11\x22\x33\x44", 4);
    RUN("\xff\x33"); /* push dword [ebx] */
    assert_int_equal(vcpu.gpr[GPR_RSP], 0x4fffc);
    assert_int_equal(ram_value(0x4fffc, 4), 0x44332211);
    vcpu.rip = CODE_ADDRESS;
    RUN("\x66\x8f\x43\x08"); /* pop word [ebx + 8] */
    assert_int_equal(vcpu.gpr[GPR_RSP], 0x4fffe);
    assert_int_equal(device_value(8, 4), 0x2211);
}

static void pop_addresses_memory_with_the_stack_pointer_after_the_pop(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RSP] = DEVICE_GPA;
    memcpy(device, "\x11\x22\x33\x44", 4);
    RUN("\x8f\x04\x24"); /* pop dword [esp] */
    assert_int_equal(vcpu.gpr[GPR_RSP], DEVICE_GPA + 4);
    assert_int_equal(device_value(4, 4), 0x44332211);
}

static void a_pop_whose_destination_faults_leaves_the_stack_pointer(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.system.segments[SEGMENT_ES].access = SEGMENT_UNUSABLE;
    vcpu.gpr[GPR_RSP] = 0x50000;
    RUN("\x26\x8f\x03");
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));
    assert_int_equal(vcpu.gpr[GPR_RSP], 0x50000);
}

static void a_16_bit_stack_wraps_within_64_kib(void **state)
{
    (void)state;
    enter_real_mode();
    vcpu.system.segments[SEGMENT_DS].base = DEVICE_GPA;
    vcpu.gpr[GPR_RSP] = 0x12340000;
    memcpy(device, "\x11\x22", 2);
    RUN("\xff\x37"); /* push word [bx] */
    assert_int_equal(vcpu.gpr[GPR_RSP], 0x1234fffe);
    assert_int_equal(ram_value(0xfffe, 2), 0x2211);
}

static void a_call_through_a_device_pushes_the_next_rip_and_goes_there(void **state)
{
    (void)state;
    enter_long_mode();
    vcpu.gpr[GPR_RSP] = 0x50000;
    vcpu.gpr[GPR_RBX] = DEVICE_GPA;
    memcpy(device, "\x00\x00\x04\x00\x00\x00\x00\x00", 8);
    RUN("\xff\x13");
    assert_int_equal(vcpu.rip, 0x40000);
    assert_int_equal(ram_value(0x4fff8, 8), CODE_ADDRESS + 2);
    assert_true(vcpu.requests & VCPU_ADVANCED);
    vcpu.rip = CODE_ADDRESS;
    RUN("\xff\x23"); /* jmp */
    assert_int_equal(vcpu.rip, 0x40000);
    assert_int_equal(vcpu.gpr[GPR_RSP], 0x4fff8);
}

static void a_branch_to_a_bad_target_faults_before_the_push(void **state)
{
    (void)state;
    enter_long_mode();
    vcpu.gpr[GPR_RSP] = 0x50000;
    vcpu.gpr[GPR_RBX] = DEVICE_GPA;
    memcpy(device, "\x00\x00\x00\x00\x00\x80\x00\x00", 8);
    RUN("\xff\x13");
    assert_true(raised(EXCEPTION_GP, true, 0, CODE_ADDRESS));
    assert_int_equal(vcpu.gpr[GPR_RSP], 0x50000);
    assert_int_equal(ram_value(0x4fff8, 8), 0);
}

/* --- strings --- */

static void a_long_repeat_is_cut_into_exits_and_ends_exactly(void **state)
{
    uint32_t exits = 0;

    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RDI] = DEVICE_GPA;
    vcpu.gpr[GPR_RCX] = 2 * STRING_ELEMENTS_PER_EXIT - 8;
    vcpu.gpr[GPR_RAX] = 0x5c;
    put_code("\xf3\xaa", 2); /* rep stosb */
    for (; vcpu.rip == CODE_ADDRESS && exits < 10; exits++) {
        emulate_nested_fault(&vcpu, &write_fault);
        assert_true(vcpu.rip != CODE_ADDRESS || (vcpu.rflags & RFLAGS_RF));
        assert_int_equal(vcpu.gpr[GPR_RCX] + record_count, 2 * STRING_ELEMENTS_PER_EXIT - 8);
    }
    assert_int_equal(exits, 2);
    assert_int_equal(record_count, 2 * STRING_ELEMENTS_PER_EXIT - 8);
    assert_int_equal(vcpu.gpr[GPR_RDI], DEVICE_GPA + record_count);
    assert_int_equal(vcpu.gpr[GPR_RCX], 0);
    assert_false(vcpu.rflags & RFLAGS_RF);
    assert_int_equal(device[record_count - 1], 0x5c);
    assert_int_equal(device[record_count], 0);
}

static void a_repeat_ends_by_the_clock_and_goes_on_afterwards(void **state)
{
    uint32_t exits = 0;

    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RDI] = DEVICE_GPA;
    vcpu.gpr[GPR_RCX] = 50;
    support_tick = EXIT_TICKS;
    while (vcpu.gpr[GPR_RCX] != 0) {
        vcpu.exit_tsc = support_now;
        run_code("\xf3\xaa", 2); /* rep stosb */
        exits++;
        assert_int_equal(record_count, exits);
        assert_int_equal(vcpu.gpr[GPR_RCX], 50 - exits);
    }
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
}

/* With several vCPUs nothing of an instruction is done where the device is not to be had, and all of it afterwards. */
static void an_instruction_that_cannot_have_the_platform_changes_nothing(void **state)
{
    static const char codes[][4] = {"\x00\x07", "\x87\x07", "\xff\x37", "\x8f\x07", "\xa4", "\x0f\xb1\x0f"};
    struct vcpu before;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
        enter_protected_mode();
        guest.vcpu_count = 2;
        vcpu.gpr[GPR_RDI] = DEVICE_GPA;
        vcpu.gpr[GPR_RSI] = 0x50000;
        vcpu.gpr[GPR_RSP] = 0x60000;
        platform_taken = true;
        put_code(codes[i], 3);
        before = vcpu;
        run_code(codes[i], 3);
        before.requests |= VCPU_YIELD;
        before.rip = vcpu.rip;
        memcpy(before.code, vcpu.code, sizeof(before.code)); /* what it has learned */
        assert_memory_equal(&before, &vcpu, sizeof(vcpu));
        assert_int_equal(record_count, 0);
        assert_int_equal(vcpu.rip, CODE_ADDRESS);
        platform_taken = false;
        vcpu.requests = 0;
        run_code(codes[i], 3);
        assert_true(record_count > 0);
        assert_true(vcpu.rip > CODE_ADDRESS);
    }
}

static void a_repeat_of_nothing_only_moves_rip(void **state)
{
    (void)state;
    enter_protected_mode();
    RUN("\xf3\xa5");
    assert_int_equal(vcpu.rip, CODE_ADDRESS + 2);
    assert_int_equal(record_count, 0);
}

static void single_stepping_traps_after_each_element(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.gpr[GPR_RDI] = DEVICE_GPA;
    vcpu.gpr[GPR_RCX] = 2;
    vcpu.rflags |= RFLAGS_TF;
    RUN("\xf3\xaa");
    assert_true(raised(EXCEPTION_DB, false, 0, CODE_ADDRESS));
    assert_true(vcpu.requests & VCPU_STEP_TRAP);
    assert_int_equal(vcpu.gpr[GPR_RCX], 1);
    vcpu.pending.valid = false;
    RUN("\xf3\xaa");
    assert_true(raised(EXCEPTION_DB, false, 0, CODE_ADDRESS + 2));
}

static void a_fault_in_a_repeat_leaves_what_was_done(void **state)
{
    (void)state;
    enter_long_mode();
    put_entry(TABLE_PT, 3, 0);
    vcpu.gpr[GPR_RDI] = WINDOW + 0x2ff8;
    vcpu.gpr[GPR_RSI] = WINDOW;
    vcpu.gpr[GPR_RCX] = 5;
    memcpy(ram + WINDOW_RAM, "abcdefghijklmnopqrst", 20);
    RUN("\xf3\xa5"); /* rep movsd */
    assert_true(raised(EXCEPTION_PF, true, PAGE_FAULT_WRITE, CODE_ADDRESS));
    assert_int_equal(vcpu.system.cr2, WINDOW + 0x3000);
    assert_int_equal(vcpu.gpr[GPR_RCX], 3);
    assert_int_equal(vcpu.gpr[GPR_RSI], WINDOW + 8);
    assert_int_equal(vcpu.gpr[GPR_RDI], WINDOW + 0x3000);
    assert_memory_equal(device + 0x1ff8, "abcdefgh", 8);
}

static void a_16_bit_string_wraps_its_index_and_keeps_the_upper_half(void **state)
{
    (void)state;
    enter_real_mode();
    vcpu.system.segments[SEGMENT_ES].base = DEVICE_GPA;
    vcpu.gpr[GPR_RDI] = 0xabcdffff;
    vcpu.gpr[GPR_RAX] = 0x42;
    RUN("\xaa"); /* stosb at es:ffff */
    assert_int_equal(vcpu.gpr[GPR_RDI], 0xabcd0000);
    assert_int_equal(records[0].address, DEVICE_GPA + 0xffff);
}

/* --- what cannot go on --- */

static void an_unclaimed_instruction_stops_the_guest_and_names_its_bytes(void **state)
{
    (void)state;
    enter_protected_mode();
    RUN("\x0f\x28\x03\x90"); /* movaps xmm0, [ebx] */
    assert_true(stopped_with(GUEST_CODE_UNDECODABLE));
    assert_non_null(strstr(guest.report, "0f 28 03"));
    assert_non_null(strstr(guest.report, "0xfed00000"));
    assert_int_equal(vcpu.rip, CODE_ADDRESS);
}

static void a_register_form_is_not_taken_for_a_memory_access(void **state)
{
    (void)state;
    enter_protected_mode();
    RUN("\x89\xc3"); /* mov ebx, eax */
    assert_true(stopped_with(GUEST_CODE_UNDECODABLE));
    assert_int_equal(vcpu.gpr[GPR_RBX], 0);
}

static void executing_where_there_is_no_memory_stops_the_guest(void **state)
{
    const struct exit_nested_fault fetch = {.address = {NO_DEVICE_GPA}, .fetch = true};

    (void)state;
    enter_protected_mode();
    vcpu.rip = NO_DEVICE_GPA;
    emulate_nested_fault(&vcpu, &fetch);
    assert_true(stopped_with(GUEST_CODE_FETCH));

    enter_protected_mode();
    vcpu.rip = NO_DEVICE_GPA;
    emulate_nested_fault(&vcpu, &read_fault); /* the same, found by the fetch */
    assert_true(stopped_with(GUEST_CODE_FETCH));
}

static void an_event_that_cannot_be_delivered_stops_the_guest(void **state)
{
    (void)state;
    enter_protected_mode();
    vcpu.pending = (struct vcpu_event){.valid = true, .vector = 32, .kind = EVENT_INTERRUPT};
    RUN("\x89\x03");
    assert_true(stopped_with(GUEST_CODE_BAD_STATE));
    assert_int_equal(record_count, 0);
}

static void lock_where_it_is_not_allowed_is_undefined(void **state)
{
    (void)state;
    enter_protected_mode();
    RUN("\xf0\x8b\x03");
    assert_true(raised(EXCEPTION_UD, false, 0, CODE_ADDRESS));
}

/* --- what vendors ask --- */

static void control_register_moves_are_taken_apart(void **state)
{
    struct exit_cr_access access;
    uint8_t length = 0;

    (void)state;
    enter_long_mode();
    put_code("\x45\x0f\x22\xc3", 4); /* mov cr8, r11 */
    assert_true(emulate_decode_cr(&vcpu, &access, &length));
    assert_true(access.number == 8 && access.write && access.gpr == GPR_R11 && length == 4);
    put_code("\x0f\x20\xd8", 3); /* mov rax, cr3 */
    assert_true(emulate_decode_cr(&vcpu, &access, &length));
    assert_true(access.number == 3 && !access.write && access.gpr == GPR_RAX && length == 3);
    put_code("\x0f\x06", 2);
    assert_true(emulate_decode_cr(&vcpu, &access, &length));
    assert_true(access.clts && length == 2);
    put_code("\x0f\x01\x33", 3); /* lmsw [rbx] */
    vcpu.gpr[GPR_RBX] = 0x60000;
    put_ram(0x60000, 0x1234000f, 4);
    assert_true(emulate_decode_cr(&vcpu, &access, &length));
    assert_true(access.lmsw && access.lmsw_source == 0x000f && length == 3);
    put_code("\x41\x0f\x01\xe4", 4); /* smsw r12d */
    assert_true(emulate_decode_cr(&vcpu, &access, &length));
    assert_true(access.smsw && !access.write && access.gpr == GPR_R12 && access.smsw_bytes == 4 && length == 4);
    put_code("\x48\x0f\x01\x23", 4); /* smsw [rbx]: a word, whatever the prefixes say */
    vcpu.system.cr0 |= CR0_CD;
    assert_true(emulate_decode_cr(&vcpu, &access, &length));
    assert_true(access.smsw && access.smsw_bytes == 0 && length == 4);
    assert_int_equal(ram[0x60000] | ram[0x60001] << 8, vcpu.system.cr0 & 0xffff);
    assert_int_equal(ram[0x60002] | ram[0x60003] << 8, 0x1234);
    put_code("\x0f\xa2", 2);
    assert_false(emulate_decode_cr(&vcpu, &access, &length));
    assert_int_equal(emulate_length(&vcpu), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_mov_is_one_device_access_of_its_width),
        cmocka_unit_test(a_read_modify_write_reads_once_and_writes_once),
        cmocka_unit_test(an_access_over_two_device_pages_is_split_between_them),
        cmocka_unit_test(no_device_reads_as_all_ones_and_ignores_writes),
        cmocka_unit_test(the_end_of_ram_is_split_from_what_no_device_has),
        cmocka_unit_test(real_mode_uses_segment_bases_and_16_bit_addresses),
        cmocka_unit_test(a_real_mode_limit_fault_has_no_error_code),
        cmocka_unit_test(protected_mode_checks_limits_types_and_null_segments),
        cmocka_unit_test(an_expand_down_segment_holds_what_is_above_its_limit),
        cmocka_unit_test(fs_and_gs_have_bases_in_64_bit_mode_and_the_others_do_not),
        cmocka_unit_test(an_address_that_is_not_canonical_faults_by_its_segment),
        cmocka_unit_test(misaligned_user_accesses_raise_alignment_checks),
        cmocka_unit_test(a_read_only_page_faults_with_the_write_bit_before_any_device_access),
        cmocka_unit_test(an_operand_that_ends_on_an_absent_page_changes_nothing),
        cmocka_unit_test(code_that_ends_on_an_absent_page_faults_there),
        cmocka_unit_test(code_over_two_pages_is_put_together),
        cmocka_unit_test(a_page_table_outside_memory_is_a_page_fault_with_reserved_bits),
        cmocka_unit_test(push_and_pop_move_between_device_and_stack),
        cmocka_unit_test(pop_addresses_memory_with_the_stack_pointer_after_the_pop),
        cmocka_unit_test(a_pop_whose_destination_faults_leaves_the_stack_pointer),
        cmocka_unit_test(a_16_bit_stack_wraps_within_64_kib),
        cmocka_unit_test(a_call_through_a_device_pushes_the_next_rip_and_goes_there),
        cmocka_unit_test(a_branch_to_a_bad_target_faults_before_the_push),
        cmocka_unit_test(a_long_repeat_is_cut_into_exits_and_ends_exactly),
        cmocka_unit_test(a_repeat_ends_by_the_clock_and_goes_on_afterwards),
        cmocka_unit_test(an_instruction_that_cannot_have_the_platform_changes_nothing),
        cmocka_unit_test(a_repeat_of_nothing_only_moves_rip),
        cmocka_unit_test(single_stepping_traps_after_each_element),
        cmocka_unit_test(a_fault_in_a_repeat_leaves_what_was_done),
        cmocka_unit_test(a_16_bit_string_wraps_its_index_and_keeps_the_upper_half),
        cmocka_unit_test(an_unclaimed_instruction_stops_the_guest_and_names_its_bytes),
        cmocka_unit_test(a_register_form_is_not_taken_for_a_memory_access),
        cmocka_unit_test(executing_where_there_is_no_memory_stops_the_guest),
        cmocka_unit_test(an_event_that_cannot_be_delivered_stops_the_guest),
        cmocka_unit_test(lock_where_it_is_not_allowed_is_undefined),
        cmocka_unit_test(control_register_moves_are_taken_apart),
    };

    return cmocka_run_group_tests_name("emulate", tests, NULL, NULL);
}
