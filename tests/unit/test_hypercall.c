/* SPDX-License-Identifier: MIT */
/* Both vendors' hypercall instructions mean the same on both: the one that the CPU raises #UD for, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/exit/dispatch.h"
#include "hv/x86/registers.h"

#include <string.h>

#define RAM_BYTES 0x4000u
#define RIP 0x2000u
#define CODE_16_ACCESS 0x009bu
#define CODE_32_ACCESS 0xc09bu
#define CODE_64_ACCESS 0xa09bu
#define NOT_THERE (0 - 1000ULL) /* -KVM_ENOSYS */
#define REFUSED (0 - 1ULL)      /* -KVM_EPERM */

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static struct host_facts host;
static struct guest guest;
static struct vcpu vcpu;

static void put(uint32_t code_access, uint64_t rip, const char *bytes, size_t count)
{
    memset(ram, 0, sizeof(ram));
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    host.physical_bits = 46;
    guest.host = &host;
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    guest.memory.window = (uint64_t)(uintptr_t)ram;
    guest.memory.range_count = 1;
    guest.memory.ranges[0] = (struct guest_range){gpa(0), hpa(0), RAM_BYTES};
    vcpu.guest = &guest;
    vcpu.rip = rip;
    vcpu.rflags = RFLAGS_FIXED;
    vcpu.gpr[GPR_RAX] = 99;
    vcpu.system.cr0 = CR0_PE;
    vcpu.system.segments[SEGMENT_CS] = (struct segment){.access = code_access, .limit = 0xffffffff};
    memcpy(ram + rip, bytes, count);
}

static void undefined(uint32_t code_access, uint64_t rip, const char *bytes, size_t count)
{
    const struct vm_exit exit = {.kind = EXIT_EXCEPTION, .exception = {.vector = EXCEPTION_UD}};

    put(code_access, rip, bytes, count);
    exit_dispatch(&vcpu, &exit);
}

static bool answered(uint64_t next)
{
    return vcpu.gpr[GPR_RAX] == (uint32_t)NOT_THERE && vcpu.rip == next && !vcpu.pending.valid &&
           (vcpu.requests & VCPU_ADVANCED) != 0;
}

static bool undefined_again(uint64_t rip)
{
    return vcpu.gpr[GPR_RAX] == 99 && vcpu.rip == rip && vcpu.pending.valid && vcpu.pending.vector == EXCEPTION_UD &&
           !vcpu.pending.has_error && (vcpu.rflags & RFLAGS_RF) != 0;
}

static void both_instructions_are_answered_in_every_mode(void **state)
{
    static const uint32_t modes[] = {CODE_16_ACCESS, CODE_32_ACCESS};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        undefined(modes[i], RIP, "\x0f\x01\xc1", 3);
        assert_true(answered(RIP + 3));
        undefined(modes[i], RIP, "\x0f\x01\xd9", 3);
        assert_true(answered(RIP + 3));
    }
    undefined(CODE_32_ACCESS, 0x2ffe, "\x0f\x01\xc1", 3); /* across two pages */
    assert_true(answered(0x3001));
}

static void the_native_one_gets_the_same_answer(void **state)
{
    const struct vm_exit exit = {.kind = EXIT_HYPERCALL, .length = 3};

    (void)state;
    put(CODE_32_ACCESS, RIP, "\x0f\x01\xc1", 3);
    exit_dispatch(&vcpu, &exit);
    assert_true(answered(RIP + 3));
}

static void code_64_gets_an_answer_of_64_bits(void **state)
{
    const struct vm_exit exit = {.kind = EXIT_HYPERCALL, .length = 3};

    (void)state;
    put(CODE_64_ACCESS, RIP, "\x0f\x01\xc1", 3);
    vcpu.system.efer = EFER_LME | EFER_LMA;
    exit_dispatch(&vcpu, &exit);
    assert_int_equal(vcpu.gpr[GPR_RAX], NOT_THERE);
    assert_int_equal(guest.unknown_count, 1);
}

/* And what user code tries is nothing that the kernel's owner wants to read. */
static void user_code_is_refused(void **state)
{
    const struct vm_exit exit = {.kind = EXIT_HYPERCALL, .length = 3};

    (void)state;
    put(CODE_32_ACCESS, RIP, "\x0f\x01\xc1", 3);
    vcpu.system.cpl = 3;
    exit_dispatch(&vcpu, &exit);
    assert_int_equal(vcpu.gpr[GPR_RAX], (uint32_t)REFUSED);
    assert_int_equal(vcpu.rip, RIP + 3);
    assert_int_equal(guest.unknown_count, 0);
    put(CODE_64_ACCESS, RIP, "\x0f\x01\xd9", 3);
    vcpu.system.cpl = 3;
    vcpu.system.efer = EFER_LME | EFER_LMA;
    exit_dispatch(&vcpu, &exit);
    assert_int_equal(vcpu.gpr[GPR_RAX], REFUSED);
}

static void all_else_stays_undefined(void **state)
{
    (void)state;
    undefined(CODE_32_ACCESS, RIP, "\x0f\x0b", 2);
    assert_true(undefined_again(RIP));
    undefined(CODE_32_ACCESS, RIP, "\xf0\x0f\x01\xc1", 4); /* LOCK */
    assert_true(undefined_again(RIP));
    undefined(CODE_32_ACCESS, RIP, "\x0f\x01\xc2", 3); /* VMLAUNCH */
    assert_true(undefined_again(RIP));
    undefined(CODE_32_ACCESS, RAM_BYTES - 2, "\x0f\x01", 2); /* the third byte is in no memory */
    assert_true(undefined_again(RAM_BYTES - 2));
    assert_int_not_equal(guest.state, GUEST_CRASHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_instructions_are_answered_in_every_mode),
        cmocka_unit_test(the_native_one_gets_the_same_answer),
        cmocka_unit_test(code_64_gets_an_answer_of_64_bits),
        cmocka_unit_test(user_code_is_refused),
        cmocka_unit_test(all_else_stays_undefined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
