/* SPDX-License-Identifier: MIT */
/* Promises of hv/report/crash_cause.h: the exception that a shutdown began with, and why it was not delivered. Guests
 * in long mode with tables, code, IDT, GDT and TSS written by hand. */
#include "hv/report/crash_cause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "hv/core/vm_exit.h"
#include "hv/x86/registers.h"
#include "tests/unit/crash_guest.h"

#define PRESENT 1ULL
#define WRITABLE 2ULL
#define USER 4ULL
#define ALL (PRESENT | WRITABLE | USER)
#define CODE 0x7000u
#define STACK 0x9000u
#define IDT 0xa000u
#define GDT 0xb000u
#define TSS 0xc000u
#define HANDLER 0xd000u
#define NOWHERE 0x40000000000ULL /* no table leads there */

static char text[256];

/* The first 128 KiB mapped one to one by pages of 4 KiB, in a PT at 0x4000. */
static void map_all(void)
{
    put(0x1000, 0x2000 | ALL, 8);
    put(0x2000, 0x3000 | ALL, 8);
    put(0x3000, 0x4000 | ALL, 8);
    for (uint64_t page = 0; page < RAM_BYTES / 0x1000; page++) {
        put(0x4000 + page * 8, page << 12 | ALL, 8);
    }
}

static void set_page(uint64_t address, uint64_t rights)
{
    put(0x4000 + (address >> 12) * 8, rights == 0 ? 0 : (address & ~0xfffULL) | rights, 8);
}

static void set_gate(uint8_t vector, uint64_t handler, uint8_t type)
{
    const uint64_t at = IDT + vector * 16u;

    put(at, handler & 0xffff, 2);
    put(at + 2, 8, 2);
    put(at + 4, 0, 1);
    put(at + 5, type, 1);
    put(at + 6, handler >> 16, 6);
}

static int set_up(void **state)
{
    (void)state;
    crash_guest_begin(CR0_PE | CR0_PG | CR0_WP);
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.efer = EFER_LME | EFER_LMA | EFER_NXE;
    vcpu.system.segments[SEGMENT_CS].access = SEGMENT_L;
    vcpu.system.segments[SEGMENT_TR].base = TSS;
    vcpu.system.idtr = (struct table_register){IDT, 0xfff};
    vcpu.system.gdtr = (struct table_register){GDT, 0x17};
    vcpu.rip = CODE;
    vcpu.gpr[GPR_RSP] = STACK;
    map_all();
    put(GDT + 8, 0x00209a0000000000ULL, 8);
    for (uint32_t vector = 0; vector < 32; vector++) {
        set_gate((uint8_t)vector, HANDLER, 0x8e);
    }
    return 0;
}

static void code(const char *bytes, size_t count)
{
    memcpy(ram + CODE, bytes, count);
}

#define CODE_IS(bytes) code(bytes, sizeof(bytes) - 1)

static void expect(const char *wanted)
{
    assert_string_equal(crash_cause_text(&vcpu, "", text, sizeof(text)), wanted);
}

static void no_idt(void)
{
    vcpu.system.idtr = (struct table_register){0, 0};
}

static void a_write_to_nowhere_without_an_idt(void **state)
{
    (void)state;
    no_idt();
    CODE_IS("\x48\x89\x07"); /* mov [rdi], rax */
    vcpu.gpr[GPR_RDI] = NOWHERE;
    expect("page fault writing 0x40000000000 at rip 0x7000; no IDT");
    CODE_IS("\x48\x8b\x07"); /* mov rax, [rdi] */
    expect("page fault reading 0x40000000000 at rip 0x7000; no IDT");
    assert_string_equal(crash_cause_text(&vcpu, "main+0x1c", text, sizeof(text)),
                        "page fault reading 0x40000000000 at rip 0x7000 (main+0x1c); no IDT");
}

static void operands_are_computed_as_the_cpu_does(void **state)
{
    (void)state;
    no_idt();
    CODE_IS("\x48\x89\x44\xcf\x10"); /* mov [rdi + rcx*8 + 16], rax */
    vcpu.gpr[GPR_RDI] = NOWHERE;
    vcpu.gpr[GPR_RCX] = 2;
    expect("page fault writing 0x40000000020 at rip 0x7000; no IDT");
    CODE_IS("\xf3\x48\xab"); /* rep stosq */
    expect("page fault writing 0x40000000000 at rip 0x7000; no IDT");
    CODE_IS("\x83\x3f\x00"); /* cmp dword [rdi], 0 */
    expect("page fault reading 0x40000000000 at rip 0x7000; no IDT");
}

static void rights_count_as_the_mmu_has_them(void **state)
{
    (void)state;
    no_idt();
    CODE_IS("\x48\x89\x07");
    vcpu.gpr[GPR_RDI] = 0x8000;
    expect("an exception at rip 0x7000; no IDT"); /* it may be written: something else happened */
    set_page(0x8000, PRESENT | USER);
    expect("page fault writing 0x8000 at rip 0x7000; no IDT");
    vcpu.system.cr0 &= ~CR0_WP;
    expect("an exception at rip 0x7000; no IDT");
    set_page(0x8000, PRESENT | WRITABLE);
    vcpu.system.cpl = 3;
    expect("page fault writing 0x8000 at rip 0x7000; no IDT");
}

static void jumps_and_stacks_into_nothing(void **state)
{
    (void)state;
    no_idt();
    vcpu.rip = NOWHERE;
    expect("page fault executing 0x40000000000 at rip 0x40000000000; no IDT");
    vcpu.rip = 0x8000000000000000ULL;
    expect("general protection (of an address that is not canonical) at rip 0x8000000000000000; no IDT");
    vcpu.rip = CODE;
    set_page(CODE, ALL | 1ULL << 63);
    expect("page fault executing 0x7000 at rip 0x7000; no IDT");
    set_page(CODE, ALL);
    CODE_IS("\x55"); /* push rbp */
    vcpu.gpr[GPR_RSP] = NOWHERE;
    expect("page fault writing 0x3fffffffff8 at rip 0x7000; no IDT");
    CODE_IS("\xc3"); /* ret */
    expect("page fault reading 0x40000000000 at rip 0x7000; no IDT");
}

static void exceptions_that_are_the_instruction(void **state)
{
    (void)state;
    no_idt();
    CODE_IS("\x0f\x0b");
    expect("invalid opcode (UD) at rip 0x7000; no IDT");
    CODE_IS("\xcc");
    expect("breakpoint (INT3) at rip 0x7000; no IDT");
    CODE_IS("\xcd\x80");
    expect("software interrupt 0x80 at rip 0x7000; no IDT");
    CODE_IS("\x48\xf7\xf1"); /* div rcx */
    expect("division error (by zero) at rip 0x7000; no IDT");
    CODE_IS("\x0f\x28\xc1"); /* movaps xmm0, xmm1 */
    expect("invalid opcode (an SSE instruction while CR4.OSFXSR is 0) at rip 0x7000; no IDT");
    vcpu.system.cr4 |= CR4_OSFXSR;
    vcpu.system.cr0 |= CR0_TS;
    expect("device not available (an FPU instruction while CR0.TS or CR0.EM is 1) at rip 0x7000; no IDT");
    CODE_IS("\xf4");
    vcpu.system.cpl = 3;
    expect("general protection (a privileged instruction in ring 3) at rip 0x7000; no IDT");
}

static void what_the_hypervisor_raised_is_known_by_the_last_exit(void **state)
{
    (void)state;
    no_idt();
    CODE_IS("\x0f\x30"); /* wrmsr */
    vcpu.ring[0] = (struct exit_record){.kind = EXIT_WRMSR, .rip = CODE};
    vcpu.ring[1] = (struct exit_record){.kind = EXIT_SHUTDOWN, .rip = CODE};
    vcpu.ring_next = 2;
    expect("general protection (of an MSR that is not there, or does not take the value) at rip 0x7000; no IDT");
    vcpu.ring[0].rip = CODE - 2;
    expect("an exception at rip 0x7000; no IDT");
}

static void the_way_of_the_exception_is_followed(void **state)
{
    (void)state;
    CODE_IS("\x0f\x0b");
    expect("invalid opcode (UD) at rip 0x7000");
    vcpu.system.idtr.limit = 0x5f;
    expect("invalid opcode (UD) at rip 0x7000; the IDT (limit 0x5f) has no gate for vector 6");
    vcpu.system.idtr = (struct table_register){NOWHERE, 0xfff};
    expect("invalid opcode (UD) at rip 0x7000; the IDT, at 0x40000000000, is not mapped");
    vcpu.system.idtr.base = IDT;
    set_gate(6, 0, 0);
    expect("invalid opcode (UD) at rip 0x7000; the IDT's gate of vector 6 is empty");
    set_gate(6, HANDLER, 0x0e);
    expect("invalid opcode (UD) at rip 0x7000; the IDT's gate of vector 6 is not present");
    set_gate(6, HANDLER, 0x85);
    expect("invalid opcode (UD) at rip 0x7000; the IDT's gate of vector 6 has type 0x5");
    set_gate(6, NOWHERE, 0x8e);
    expect("invalid opcode (UD) at rip 0x7000; its handler, at 0x40000000000, is not mapped as code");
    vcpu.gpr[GPR_RSP] = NOWHERE;
    expect("invalid opcode (UD) at rip 0x7000; its stack, at 0x40000000000, cannot be written");
}

static void the_code_segment_is_looked_at(void **state)
{
    (void)state;
    CODE_IS("\x0f\x0b");
    put(IDT + 6 * 16 + 2, 0, 2);
    expect("invalid opcode (UD) at rip 0x7000; its gate has the null selector");
    put(IDT + 6 * 16 + 2, 0x20, 2);
    expect("invalid opcode (UD) at rip 0x7000; its gate's selector 0x20 lies outside of the GDT (limit 0x17)");
    put(IDT + 6 * 16 + 2, 0x10, 2);
    expect("invalid opcode (UD) at rip 0x7000; its gate's selector 0x10 is no code segment");
}

static void the_stack_is_that_of_the_tss(void **state)
{
    (void)state;
    CODE_IS("\x0f\x0b");
    put(IDT + 6 * 16 + 4, 1, 1); /* IST 1 */
    put(TSS + 36, NOWHERE, 8);
    expect("invalid opcode (UD) at rip 0x7000; its stack, at 0x40000000000, cannot be written");
    put(TSS + 36, STACK, 8);
    expect("invalid opcode (UD) at rip 0x7000");
    put(IDT + 6 * 16 + 4, 0, 1);
    vcpu.system.cpl = 3;
    put(TSS + 4, 0x10, 8);
    expect("invalid opcode (UD) at rip 0x7000");
    vcpu.system.segments[SEGMENT_TR].base = NOWHERE;
    expect("invalid opcode (UD) at rip 0x7000; the TSS, at 0x40000000000, is not mapped");
}

static void an_unknown_exception_says_no_more_than_is_certain(void **state)
{
    struct crash_cause cause;

    (void)state;
    CODE_IS("\x90");
    crash_cause_find(&vcpu, &cause);
    assert_int_equal(cause.vector, CRASH_VECTOR_UNKNOWN);
    expect("an exception at rip 0x7000");
    vcpu.system.idtr.limit = 0;
    expect("an exception at rip 0x7000; no IDT");
}

/* Only in the emulator that is known for it, and only where nothing else explains the end. */
static void an_emulator_may_be_at_fault(void **state)
{
    static struct host_facts host;

    (void)state;
    guest.host = &host;
    CODE_IS("\x90");
    host.quirks.stale_code = false;
    assert_false(crash_cause_may_be_emulator(&vcpu));
    host.quirks.stale_code = true;
    assert_true(crash_cause_may_be_emulator(&vcpu));
    CODE_IS("\x0f\x0b");
    assert_false(crash_cause_may_be_emulator(&vcpu));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_write_to_nowhere_without_an_idt, set_up),
        cmocka_unit_test_setup(operands_are_computed_as_the_cpu_does, set_up),
        cmocka_unit_test_setup(rights_count_as_the_mmu_has_them, set_up),
        cmocka_unit_test_setup(jumps_and_stacks_into_nothing, set_up),
        cmocka_unit_test_setup(exceptions_that_are_the_instruction, set_up),
        cmocka_unit_test_setup(what_the_hypervisor_raised_is_known_by_the_last_exit, set_up),
        cmocka_unit_test_setup(the_way_of_the_exception_is_followed, set_up),
        cmocka_unit_test_setup(the_code_segment_is_looked_at, set_up),
        cmocka_unit_test_setup(the_stack_is_that_of_the_tss, set_up),
        cmocka_unit_test_setup(an_unknown_exception_says_no_more_than_is_certain, set_up),
        cmocka_unit_test_setup(an_emulator_may_be_at_fault, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
