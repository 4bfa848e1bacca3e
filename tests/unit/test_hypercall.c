/* SPDX-License-Identifier: MIT */
/*
 * Both vendors' hypercall instructions mean the same on both: the one that the CPU raises #UD for, too. And what RDPMC
 * and INT1 do.
 */
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

/* KVM_HC_SEND_IPI by 64-bit code (or 32-bit) of vCPU 1 of 3; the answer. */
static struct vcpu several[3];
static struct lapic_page pages[3];

static uint64_t send_ipis(bool wide, uint64_t low, uint64_t high, uint64_t first, uint64_t icr)
{
    const struct vm_exit exit = {.kind = EXIT_HYPERCALL, .length = 3};
    static const struct clock clock = {.tsc_hz = 1000000000};
    struct vcpu *from = &several[1];

    put(wide ? CODE_64_ACCESS : CODE_32_ACCESS, RIP, "\x0f\x01\xc1", 3);
    guest.vcpus = several;
    guest.vcpu_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        several[i] = vcpu;
        several[i].index = i;
        lapic_init(&several[i].lapic, &pages[i], i, i == 0, &clock);
    }
    from->system.efer = wide ? EFER_LME | EFER_LMA : 0;
    from->gpr[GPR_RAX] = 10;
    from->gpr[GPR_RBX] = low;
    from->gpr[GPR_RCX] = high;
    from->gpr[GPR_RDX] = first;
    from->gpr[GPR_RSI] = icr;
    exit_dispatch(from, &exit);
    assert_int_equal(from->rip, RIP + 3);
    return from->gpr[GPR_RAX];
}

/* Which vCPUs have been told of an interrupt or an NMI, a bit for each. */
static uint32_t reached(enum vcpu_kick kick)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < 3; i++) {
        bool here = kick == VCPU_KICK_NMI ? several[i].nmi_pending != 0 : (several[i].requests & VCPU_EVENT) != 0;

        found |= ((several[i].kick & (uint32_t)kick) != 0 || (i == 1 && here)) ? 1u << i : 0;
    }
    return found;
}

static void a_hypercall_sends_interrupts_to_a_set_of_cpus(void **state)
{
    (void)state;
    assert_int_equal(send_ipis(true, 7, 0, 0, 0x50), 3);
    assert_int_equal(reached(VCPU_KICK_INTERRUPT), 7);
    assert_int_equal(send_ipis(true, 5, 0, 0, 0x50), 2);
    assert_int_equal(reached(VCPU_KICK_INTERRUPT), 5);
    assert_int_equal(send_ipis(true, 6, 0, 1, 0x450), 1); /* NMIs to 2 and to one that is not there */
    assert_int_equal(reached(VCPU_KICK_NMI), 4);
    assert_int_equal(reached(VCPU_KICK_INTERRUPT), 0);
    assert_int_equal(send_ipis(true, 2, 0, 0, 0x450), 1);
    assert_int_equal(reached(VCPU_KICK_NMI), 2);
    assert_int_equal(send_ipis(false, 0x100000001ULL, 1, 0, 0x50), 1); /* words of 32 bits */
    assert_int_equal(reached(VCPU_KICK_INTERRUPT), 1);
    assert_int_equal(guest.unknown_count, 0);
}

static void ids_that_are_not_there_get_nothing(void **state)
{
    (void)state;
    assert_int_equal(send_ipis(true, 0, ~0ULL, 0, 0x50), 0);
    assert_int_equal(send_ipis(true, ~0ULL, ~0ULL, 3, 0x50), 0);
    assert_int_equal(send_ipis(true, 0, 1, 0xffffffc0, 0x50), 0); /* no way round behind the last one */
    assert_int_equal(send_ipis(false, 0, 1, 0, 0x50), 0);
    assert_int_equal(reached(VCPU_KICK_INTERRUPT) | reached(VCPU_KICK_NMI), 0);
}

static void what_is_no_interrupt_is_refused(void **state)
{
    static const uint32_t wrong[] = {0x0f,  0x00,  0x150, 0x250,  0x350,   0x550,
                                     0x650, 0x750, 0x850, 0x8050, 0x40050, 0x80050};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_int_equal(send_ipis(true, 7, 0, 0, wrong[i]), 0 - 22ULL);
        assert_int_equal(send_ipis(false, 7, 0, 0, wrong[i]), (uint32_t)-22);
        assert_int_equal(reached(VCPU_KICK_INTERRUPT) | reached(VCPU_KICK_NMI), 0);
    }
}

/* RDPMC of a counter, by code of a privilege level. True: it read 0. */
static bool reads_counter(bool is_intel, uint32_t counter, uint8_t cpl, uint64_t cr4)
{
    const struct vm_exit exit = {.kind = EXIT_RDPMC, .length = 2};

    put(CODE_32_ACCESS, RIP, "\x0f\x33", 2);
    host.is_intel = is_intel;
    vcpu.gpr[GPR_RCX] = counter;
    vcpu.gpr[GPR_RDX] = 98;
    vcpu.system.cpl = cpl;
    vcpu.system.cr4 = cr4;
    exit_dispatch(&vcpu, &exit);
    if (vcpu.pending.valid) {
        assert_true(vcpu.pending.vector == EXCEPTION_GP && vcpu.pending.has_error && vcpu.pending.error == 0);
        assert_true(vcpu.rip == RIP && vcpu.gpr[GPR_RAX] == 99 && vcpu.gpr[GPR_RDX] == 98);
        return false;
    }
    assert_true(vcpu.rip == RIP + 2 && vcpu.gpr[GPR_RAX] == 0 && vcpu.gpr[GPR_RDX] == 0);
    return true;
}

static void amd_has_four_counters_that_count_nothing(void **state)
{
    (void)state;
    for (uint32_t counter = 0; counter < 8; counter++) {
        assert_int_equal(reads_counter(false, counter, 0, 0), counter < 4);
        assert_false(reads_counter(true, counter, 0, 0));
        assert_false(reads_counter(false, counter, 3, 0));
        assert_int_equal(reads_counter(false, counter, 3, CR4_PCE), counter < 4);
    }
}

static void int1_is_injected_as_what_it_is(void **state)
{
    const struct vm_exit exit = {
        .kind = EXIT_EXCEPTION, .length = 1, .exception = {.vector = EXCEPTION_DB, .by_int1 = true}};

    (void)state;
    put(CODE_32_ACCESS, RIP, "\xf1", 1);
    exit_dispatch(&vcpu, &exit);
    assert_true(vcpu.pending.valid && vcpu.pending.vector == EXCEPTION_DB && !vcpu.pending.has_error);
    assert_int_equal(vcpu.pending.kind, EVENT_PRIVILEGED_SOFTWARE_EXCEPTION);
    assert_int_equal(vcpu.pending.length, 1);
    assert_int_equal(vcpu.rip, RIP);
    assert_int_equal(vcpu.rflags & RFLAGS_RF, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_instructions_are_answered_in_every_mode),
        cmocka_unit_test(the_native_one_gets_the_same_answer),
        cmocka_unit_test(code_64_gets_an_answer_of_64_bits),
        cmocka_unit_test(user_code_is_refused),
        cmocka_unit_test(a_hypercall_sends_interrupts_to_a_set_of_cpus),
        cmocka_unit_test(ids_that_are_not_there_get_nothing),
        cmocka_unit_test(what_is_no_interrupt_is_refused),
        cmocka_unit_test(all_else_stays_undefined),
        cmocka_unit_test(amd_has_four_counters_that_count_nothing),
        cmocka_unit_test(int1_is_injected_as_what_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
