/* SPDX-License-Identifier: MIT */
/* Real mode where the CPU has none: each instruction that is executed, what exits are asked for, and deliveries. */
#include "emulate_harness.h"

#include "hv/emulate/real_mode.h"

#define STACK_SEGMENT 0x4000u
#define STACK_TOP 0x100u
#define FRAME(words) (((uint32_t)STACK_SEGMENT << 4) + STACK_TOP - 2u * (words)) /* after so many pushes */
#define DATA_SEGMENT 0x5000u
#define DATA ((uint32_t)DATA_SEGMENT << 4)
#define VECTOR 0x21u
#define HANDLER_SEGMENT 0x1234u
#define HANDLER_IP 0x5678u
#define CF 1u
#define OF (1u << 11)

static struct vm_exit vm_exit;

static void set(uint32_t segment, uint16_t selector)
{
    vcpu.system.segments[segment].selector = selector;
    vcpu.system.segments[segment].base = (uint64_t)selector << 4;
}

static int setup(void **state)
{
    const uint16_t handler[] = {HANDLER_IP, HANDLER_SEGMENT};

    (void)state;
    enter_real_mode();
    set(SEGMENT_CS, CODE_ADDRESS >> 4);
    set(SEGMENT_SS, STACK_SEGMENT);
    set(SEGMENT_DS, DATA_SEGMENT);
    vcpu.system.idtr = (struct table_register){0, 0x3ff};
    vcpu.gpr[GPR_RSP] = STACK_TOP;
    vcpu.rflags = RFLAGS_FIXED | RFLAGS_IF;
    memcpy(ram + VECTOR * 4u, handler, sizeof(handler));
    memcpy(ram + EXCEPTION_BP * 4u, handler, sizeof(handler));
    memcpy(ram + EXCEPTION_OF * 4u, handler, sizeof(handler));
    vm_exit = (struct vm_exit){.kind = EXIT_UNKNOWN};
    return 0;
}

static enum real_result execute(const char *bytes, size_t count)
{
    put_code(bytes, count);
    return real_mode_execute(&vcpu, &vm_exit);
}

#define EXECUTE(text) execute(text, sizeof(text) - 1)

static uint16_t word_at(uint32_t address)
{
    uint16_t value;

    memcpy(&value, ram + address, sizeof(value));
    return value;
}

static void put_word(uint32_t address, uint32_t value)
{
    memcpy(ram + address, &value, 2);
}

static void expect_at(uint16_t selector, uint64_t ip)
{
    assert_int_equal(vcpu.system.segments[SEGMENT_CS].selector, selector);
    assert_int_equal(vcpu.system.segments[SEGMENT_CS].base, (uint32_t)selector << 4);
    assert_int_equal(vcpu.rip, ip);
    assert_false(vcpu.pending.valid);
    assert_true((vcpu.requests & VCPU_SYSTEM_WRITE) != 0);
}

static void expect_handler(uint64_t return_ip, uint16_t flags)
{
    expect_at(HANDLER_SEGMENT, HANDLER_IP);
    assert_int_equal(vcpu.gpr[GPR_RSP], STACK_TOP - 6);
    assert_int_equal(word_at(FRAME(1)), flags);
    assert_int_equal(word_at(FRAME(2)), CODE_ADDRESS >> 4);
    assert_int_equal(word_at(FRAME(3)), return_ip);
    assert_int_equal(vcpu.rflags & (RFLAGS_IF | RFLAGS_TF), 0);
}

static void a_delivery_goes_through_the_table_and_closes_interrupts(void **state)
{
    (void)state;
    vcpu.rflags |= RFLAGS_TF | CF;
    assert_true(real_mode_deliver(&vcpu, VECTOR, 0x42));
    expect_handler(0x42, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | CF);
}

static void a_delivery_without_table_or_stack_changes_nothing(void **state)
{
    (void)state;
    vcpu.system.idtr.limit = VECTOR * 4 + 2;
    assert_false(real_mode_deliver(&vcpu, VECTOR, 0));
    vcpu.system.idtr.limit = 0x3ff;
    vcpu.gpr[GPR_RSP] = 1; /* a word at 0xffff */
    assert_false(real_mode_deliver(&vcpu, VECTOR, 0));
    assert_int_equal(vcpu.gpr[GPR_RSP], 1);
    assert_int_equal(vcpu.rip, 0);
}

static void software_interrupts_return_behind_themselves(void **state)
{
    assert_int_equal(EXECUTE("\xcd\x21"), REAL_DONE);
    expect_handler(2, RFLAGS_FIXED | RFLAGS_IF);
    setup(state);
    assert_int_equal(EXECUTE("\xcc"), REAL_DONE);
    expect_handler(1, RFLAGS_FIXED | RFLAGS_IF);
    setup(state);
    assert_int_equal(EXECUTE("\xce"), REAL_DONE);
    assert_int_equal(vcpu.rip, 1);
    setup(state);
    vcpu.rflags |= OF;
    assert_int_equal(EXECUTE("\xce"), REAL_DONE);
    expect_handler(1, RFLAGS_FIXED | RFLAGS_IF | OF);
}

static void iret_takes_ip_cs_and_flags(void **state)
{
    (void)state;
    vcpu.gpr[GPR_RSP] = STACK_TOP - 6;
    put_word(FRAME(3), 0x1111);
    put_word(FRAME(2), 0x2222);
    put_word(FRAME(1), 0x3000 | OF); /* IOPL 3 */
    assert_int_equal(EXECUTE("\xcf"), REAL_RETURNED);
    expect_at(0x2222, 0x1111);
    assert_int_equal(vcpu.gpr[GPR_RSP], STACK_TOP);
    assert_int_equal(vcpu.rflags, RFLAGS_FIXED | 0x3000 | OF);
}

static void far_branches_and_returns(void **state)
{
    assert_int_equal(EXECUTE("\xea\x10\x00\x00\x20"), REAL_DONE);
    expect_at(0x2000, 0x10);
    setup(state);
    assert_int_equal(EXECUTE("\x66\xea\x10\x00\x00\x00\x00\x20"), REAL_DONE);
    expect_at(0x2000, 0x10);
    setup(state);
    assert_int_equal(EXECUTE("\x66\xea\x10\x00\x01\x00\x00\x20"), REAL_DONE); /* beyond the limit */
    assert_true(raised(EXCEPTION_GP, false, 0, 0));
    setup(state);
    assert_int_equal(EXECUTE("\x9a\x10\x00\x00\x20"), REAL_DONE);
    expect_at(0x2000, 0x10);
    assert_int_equal(word_at(FRAME(1)), CODE_ADDRESS >> 4);
    assert_int_equal(word_at(FRAME(2)), 5);
    setup(state);
    put_word(DATA + 0x20, 0x10);
    put_word(DATA + 0x22, 0x2000);
    assert_int_equal(EXECUTE("\xff\x2e\x20\x00"), REAL_DONE); /* jmp far [0x20] */
    expect_at(0x2000, 0x10);
    setup(state);
    vcpu.gpr[GPR_RSP] = STACK_TOP - 4;
    put_word(FRAME(2), 0x10);
    put_word(FRAME(1), 0x2000);
    assert_int_equal(EXECUTE("\xca\x06\x00"), REAL_DONE);
    expect_at(0x2000, 0x10);
    assert_int_equal(vcpu.gpr[GPR_RSP], STACK_TOP + 6);
}

static void expect_segment(uint32_t index, uint16_t selector, uint64_t ip)
{
    assert_int_equal(vcpu.system.segments[index].selector, selector);
    assert_int_equal(vcpu.system.segments[index].base, (uint32_t)selector << 4);
    assert_int_equal(vcpu.rip, ip);
}

static void segments_are_loaded_from_registers_memory_and_the_stack(void **state)
{
    vcpu.gpr[GPR_RAX] = 0xffff1000;
    vcpu.system.segments[SEGMENT_FS].limit = 0xffffffff; /* which a load leaves */
    assert_int_equal(EXECUTE("\x8e\xe0"), REAL_DONE);
    expect_segment(SEGMENT_FS, 0x1000, 2);
    assert_int_equal(vcpu.system.segments[SEGMENT_FS].limit, 0xffffffff);
    setup(state);
    put_word(DATA + 0x20, 0x2000);
    assert_int_equal(EXECUTE("\x8e\x06\x20\x00"), REAL_DONE); /* mov es, [0x20] */
    expect_segment(SEGMENT_ES, 0x2000, 4);
    setup(state);
    assert_int_equal(EXECUTE("\x8e\xc8"), REAL_FAULT); /* mov cs, ax */
    setup(state);
    vcpu.gpr[GPR_RSP] = STACK_TOP - 2;
    put_word(FRAME(1), 0x3000);
    assert_int_equal(EXECUTE("\x0f\xa9"), REAL_DONE); /* pop gs */
    expect_segment(SEGMENT_GS, 0x3000, 2);
    assert_int_equal(vcpu.gpr[GPR_RSP], STACK_TOP);
    setup(state);
    put_word(DATA + 0x20, 0x1111);
    put_word(DATA + 0x22, 0x2222);
    assert_int_equal(EXECUTE("\xc4\x1e\x20\x00"), REAL_DONE); /* les bx, [0x20] */
    expect_segment(SEGMENT_ES, 0x2222, 4);
    assert_int_equal(vcpu.gpr[GPR_RBX], 0x1111);
    setup(state);
    put_word(DATA + 0x22, 0x2222);
    assert_int_equal(EXECUTE("\x0f\xb2\x26\x20\x00"), REAL_DONE); /* lss sp, [0x20] */
    expect_segment(SEGMENT_SS, 0x2222, 5);
    setup(state);
    vcpu.system.segments[SEGMENT_DS].access = SEGMENT_UNUSABLE; /* as protected mode left it */
    assert_int_equal(EXECUTE("\x8e\xd8"), REAL_DONE);
    assert_int_equal(vcpu.system.segments[SEGMENT_DS].access, 0x93);
    assert_int_equal(vcpu.system.segments[SEGMENT_DS].limit, 0xffff);
}

static void flags_are_the_guests(void **state)
{
    vcpu.rflags |= 0x3000 | RFLAGS_TF;
    assert_int_equal(EXECUTE("\x9c"), REAL_DONE);
    assert_int_equal(word_at(FRAME(1)), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | 0x3000);
    setup(state);
    put_word(FRAME(0), CF);
    assert_int_equal(EXECUTE("\x9d"), REAL_DONE);
    assert_int_equal(vcpu.rflags, RFLAGS_FIXED | CF);
    setup(state);
    assert_int_equal(EXECUTE("\xfb"), REAL_DONE); /* IF was set */
    assert_int_equal(EXECUTE("\x90\xfa"), REAL_DONE);
    assert_int_equal(vcpu.rflags, RFLAGS_FIXED);
    vcpu.rip = 0;
    assert_int_equal(EXECUTE("\xfb"), REAL_ENABLED);
    assert_int_equal(vcpu.rflags, RFLAGS_FIXED | RFLAGS_IF);
}

static void only_instructions_that_show_flags_are_told(void **state)
{
    (void)state;
    put_code("\x9c\x66\x9d\x90\x2e\x67\x9c\xfb\xf4\xfb\x90", 11);
    assert_true(real_mode_shows_flags(&vcpu));
    vcpu.rip = 1;
    assert_true(real_mode_shows_flags(&vcpu));
    vcpu.rip = 3;
    assert_false(real_mode_shows_flags(&vcpu));
    vcpu.rip = 4; /* with two prefixes that mean nothing to it */
    assert_true(real_mode_shows_flags(&vcpu));
    vcpu.rip = 7;
    assert_true(real_mode_shows_flags(&vcpu));
    vcpu.rip = 9;
    assert_false(real_mode_shows_flags(&vcpu));
}

static void tables_are_loaded_with_24_or_32_bits_of_base(void **state)
{
    static const uint8_t table[] = {0x17, 0x00, 0x78, 0x56, 0x34, 0x12};

    memcpy(ram + DATA + 0x20, table, sizeof(table));
    assert_int_equal(EXECUTE("\x0f\x01\x16\x20\x00"), REAL_DONE);
    assert_int_equal(vcpu.system.gdtr.base, 0x345678);
    assert_int_equal(vcpu.system.gdtr.limit, 0x17);
    setup(state);
    memcpy(ram + DATA + 0x20, table, sizeof(table));
    assert_int_equal(EXECUTE("\x66\x0f\x01\x1e\x20\x00"), REAL_DONE);
    assert_int_equal(vcpu.system.idtr.base, 0x12345678);
    assert_int_equal(vcpu.rip, 6);
}

static void expect_exit(enum real_result result, enum exit_kind kind, uint8_t length)
{
    assert_int_equal(result, REAL_EXIT);
    assert_int_equal(vm_exit.kind, kind);
    assert_int_equal(vm_exit.length, length);
    assert_int_equal(vcpu.rip, 0);
}

static void nothing_comes_between_sti_and_hlt(void **state)
{
    (void)state;
    vcpu.rflags = RFLAGS_FIXED;
    assert_int_equal(EXECUTE("\xfb\xf4"), REAL_EXIT);
    assert_int_equal(vm_exit.kind, EXIT_HLT);
    assert_int_equal(vm_exit.length, 1);
    assert_int_equal(vcpu.rip, 1);
    assert_int_equal(vcpu.rflags, RFLAGS_FIXED | RFLAGS_IF);
    vcpu.rip = 0;
    vcpu.rflags = RFLAGS_FIXED | RFLAGS_TF; /* the STI traps */
    assert_int_equal(EXECUTE("\xfb\xf4"), REAL_ENABLED);
}

static void what_ring_0_may_do_is_an_exit(void **state)
{
    expect_exit(EXECUTE("\xf4"), EXIT_HLT, 1);
    expect_exit(EXECUTE("\x0f\x09"), EXIT_WBINVD, 2);
    expect_exit(EXECUTE("\x0f\x30"), EXIT_WRMSR, 2);
    expect_exit(EXECUTE("\x0f\x32"), EXIT_RDMSR, 2);
    expect_exit(EXECUTE("\x0f\x33"), EXIT_RDPMC, 2);
    expect_exit(EXECUTE("\x0f\x01\x3e\x20\x00"), EXIT_NOTHING, 5); /* invlpg */
    expect_exit(EXECUTE("\x0f\x22\xc1"), EXIT_CR_ACCESS, 3);
    assert_true(vm_exit.cr.write && vm_exit.cr.number == 0 && vm_exit.cr.gpr == GPR_RCX);
    expect_exit(EXECUTE("\x0f\x06"), EXIT_CR_ACCESS, 2);
    assert_true(vm_exit.cr.clts);
    vcpu.gpr[GPR_RAX] = 0x11;
    expect_exit(EXECUTE("\x0f\x01\xf0"), EXIT_CR_ACCESS, 3);
    assert_true(vm_exit.cr.lmsw && vm_exit.cr.lmsw_source == 0x11);
    setup(state);
    assert_int_equal(EXECUTE("\x0f\x21\xc0"), REAL_DONE); /* a debug register */
    assert_true((vcpu.requests & VCPU_STOPPED) != 0);
}

static void expect_port(enum real_result result, uint8_t length, struct exit_io io)
{
    expect_exit(result, EXIT_IO, length);
    assert_int_equal(vm_exit.io.port, io.port);
    assert_int_equal(vm_exit.io.size, io.size);
    assert_int_equal(vm_exit.io.in, io.in);
    assert_int_equal(vm_exit.io.string, io.string);
    assert_int_equal(vm_exit.io.rep, io.rep);
}

static void ports_have_their_number_width_and_direction(void **state)
{
    (void)state;
    vcpu.gpr[GPR_RDX] = 0x12303f8;
    expect_port(EXECUTE("\xe4\x21"), 2, (struct exit_io){.port = 0x21, .size = 1, .in = true});
    expect_port(EXECUTE("\xe7\x21"), 2, (struct exit_io){.port = 0x21, .size = 2});
    expect_port(EXECUTE("\xed"), 1, (struct exit_io){.port = 0x3f8, .size = 2, .in = true});
    expect_port(EXECUTE("\x66\xef"), 2, (struct exit_io){.port = 0x3f8, .size = 4});
    expect_port(EXECUTE("\xf3\x6e"), 2, (struct exit_io){.port = 0x3f8, .size = 1, .string = true, .rep = true});
    expect_port(EXECUTE("\x6d"), 1, (struct exit_io){.port = 0x3f8, .size = 2, .in = true, .string = true});
}

/* Code segments of protected mode are read-only, those of real mode are not. */
static void writes_through_cs_are_executed(void **state)
{
    (void)state;
    put_word(CODE_ADDRESS + 0x80, 0xffff);
    assert_int_equal(EXECUTE("\x2e\xff\x06\x80\x00"), REAL_DONE); /* inc word cs:[0x80] */
    assert_int_equal(word_at(CODE_ADDRESS + 0x80), 0);
    assert_int_equal(vcpu.rip, 5);
    vcpu.rip = 0;
    vcpu.gpr[GPR_RAX] = 0x1234;
    assert_int_equal(EXECUTE("\x2e\xa3\x82\x00"), REAL_DONE); /* mov cs:[0x82], ax */
    assert_int_equal(word_at(CODE_ADDRESS + 0x82), 0x1234);
    vcpu.rip = 0;
    assert_int_equal(EXECUTE("\x2e\xc7\x06\xff\xff\x34\x12"), REAL_DONE); /* mov word cs:[0xffff], 0x1234 */
    assert_true(vcpu.pending.valid);
    assert_int_equal(vcpu.pending.vector, EXCEPTION_GP);
    vcpu.pending.valid = false;
    assert_int_equal(EXECUTE("\x2e\xd9\x3e\x80\x00"), REAL_FAULT); /* fnstcw cs:[0x80] */
}

static void what_is_the_guests_own_fault_is_told(void **state)
{
    (void)state;
    assert_int_equal(EXECUTE("\x88\x07"), REAL_FAULT); /* mov [bx], al */
    assert_int_equal(EXECUTE("\xff\x37"), REAL_FAULT); /* push word [bx] */
    assert_int_equal(EXECUTE("\x0f\x00\xd8"), REAL_FAULT);
    assert_int_equal(vcpu.rip, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(writes_through_cs_are_executed, setup),
        cmocka_unit_test_setup(a_delivery_goes_through_the_table_and_closes_interrupts, setup),
        cmocka_unit_test_setup(a_delivery_without_table_or_stack_changes_nothing, setup),
        cmocka_unit_test_setup(software_interrupts_return_behind_themselves, setup),
        cmocka_unit_test_setup(iret_takes_ip_cs_and_flags, setup),
        cmocka_unit_test_setup(far_branches_and_returns, setup),
        cmocka_unit_test_setup(segments_are_loaded_from_registers_memory_and_the_stack, setup),
        cmocka_unit_test_setup(flags_are_the_guests, setup),
        cmocka_unit_test_setup(nothing_comes_between_sti_and_hlt, setup),
        cmocka_unit_test_setup(only_instructions_that_show_flags_are_told, setup),
        cmocka_unit_test_setup(tables_are_loaded_with_24_or_32_bits_of_base, setup),
        cmocka_unit_test_setup(what_ring_0_may_do_is_an_exit, setup),
        cmocka_unit_test_setup(ports_have_their_number_width_and_direction, setup),
        cmocka_unit_test_setup(what_is_the_guests_own_fault_is_told, setup),
    };

    return cmocka_run_group_tests_name("real mode on other modes", tests, NULL, NULL);
}
