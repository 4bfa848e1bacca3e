/* SPDX-License-Identifier: MIT */
/*
 * Control registers that the guest writes under our eyes: what the manual refuses is #GP and changes nothing, what it
 * allows is taken over, and CR4 has only the bits whose features the guest's CPUID offers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/emulate/cr_access.h"
#include "hv/policy/cpuid_policy.h"
#include "hv/policy/cr4_policy.h"
#include "hv/x86/registers.h"

#include <string.h>

#define LENGTH 3
#define RIP 0x1000u
#define CODE_64 0xa09bu
#define CODE_32 0xc09bu
#define ALWAYS ((1ULL << 6) | (1ULL << 8)) /* MCE, PCE */

#define POINTERS 0x1e0u /* where CR3 points: any multiple of 32 */
#define POINTER_PRESENT 1ULL
#define PHYSICAL_BITS 39u

static struct host_facts facts = {.physical_bits = PHYSICAL_BITS, .is_intel = true};
static uint64_t ram[512] __attribute__((aligned(4096)));
static struct guest guest;
static struct vcpu vcpu;
static struct cpuid_host host;

static int setup(void **state)
{
    (void)state;
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    guest.cr4_allowed = CR4_PAE | CR4_PCIDE | CR4_OSXSAVE | ALWAYS;
    guest.vcpus = &vcpu;
    facts.is_intel = true;
    facts.quirks.pae_pointer_accessed = false;
    guest.host = &facts;
    guest.memory.ranges[0] = (struct guest_range){gpa(0), hpa((uint64_t)(uintptr_t)ram), sizeof(ram)};
    guest.memory.range_count = 1;
    vcpu.guest = &guest;
    vcpu.rip = RIP;
    vcpu.rflags = RFLAGS_FIXED;
    vcpu.system.cr0 = CR0_PE | CR0_ET | CR0_NE;
    vcpu.system.segments[SEGMENT_CS].access = CODE_32;
    return 0;
}

static void long_mode(void)
{
    vcpu.system.cr0 |= CR0_PG;
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.efer = EFER_LME | EFER_LMA;
    vcpu.system.segments[SEGMENT_CS].access = CODE_64;
}

static void access_register(struct exit_cr_access access)
{
    vcpu.pending.valid = false;
    vcpu.requests = 0;
    vcpu.rip = RIP;
    cr_access(&vcpu, &access, LENGTH);
}

static void write_register(uint8_t number, uint64_t value)
{
    vcpu.gpr[GPR_RDX] = value;
    access_register((struct exit_cr_access){.number = number, .write = true, .gpr = GPR_RDX});
}

static bool refused(void)
{
    return vcpu.pending.valid && vcpu.pending.vector == EXCEPTION_GP && vcpu.pending.has_error &&
           vcpu.pending.error == 0 && vcpu.rip == RIP && (vcpu.requests & VCPU_SYSTEM_WRITE) == 0;
}

static bool done(void)
{
    return !vcpu.pending.valid && vcpu.rip == RIP + LENGTH;
}

/* Leaf and register of the CPUID bit behind each bit of CR4. SDM 3A 2.5 "Control Registers". */
static const struct {
    uint64_t cr4;
    uint32_t leaf;
    uint32_t word; /* eax, ebx, ecx, edx */
    uint32_t feature;
} features[] = {
    {CR4_PAE, 1, 3, 6},     {1ULL << 7, 1, 3, 13}, {1ULL << 9, 1, 3, 24},   {CR4_UMIP, 7, 2, 2},
    {1ULL << 16, 7, 1, 0},  {CR4_PCIDE, 1, 2, 17}, {CR4_OSXSAVE, 1, 2, 26}, {1ULL << 20, 7, 1, 7},
    {1ULL << 21, 7, 1, 20}, {1ULL << 3, 1, 3, 2},  {1ULL << 10, 1, 3, 25},
};

static uint64_t allowed_without(uint32_t leaf, uint32_t word, uint32_t feature)
{
    static struct cpuid_table table;
    struct cpuid_policy_input input = {.host = &host, .vcpu_count = 1, .tsc_khz = 1000000, .is_intel = true};

    host = (struct cpuid_host){.count = 4};
    host.entries[0] = (struct cpuid_entry){.leaf = 0, .words = {0x16, 1, 2, 3}};
    host.entries[1] = (struct cpuid_entry){.leaf = 1, .words = {0x50657, ~0u, ~0u, ~0u}};
    host.entries[2] = (struct cpuid_entry){.leaf = 7, .words = {0, ~0u, ~0u, ~0u}};
    host.entries[3] = (struct cpuid_entry){.leaf = 0x80000000, .words = {0x80000008, 1, 2, 3}};
    for (uint32_t i = 1; i < host.count; i++) {
        uint32_t *words = &host.entries[i].words.eax;

        if (host.entries[i].leaf == leaf) {
            words[word] &= ~(1u << feature);
        }
    }
    cpuid_policy_build(&input, &table);
    return cr4_allowed(&table);
}

static void cr4_bits_come_and_go_with_their_cpuid_features(void **state)
{
    uint64_t all = allowed_without(0xff, 0, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
        uint64_t without = allowed_without(features[i].leaf, features[i].word, features[i].feature);

        if ((all & features[i].cr4) == 0 || without != (all & ~features[i].cr4)) {
            fail_msg("CR4 bit 0x%" PRIx64 ": 0x%" PRIx64 " and 0x%" PRIx64 " without it", features[i].cr4, all,
                     without);
        }
    }
    assert_int_equal(all & (CR4_VMXE | 1ULL << 22 | 1ULL << 23 | 1ULL << 14), 0);
}

static void a_cr4_bit_that_is_not_offered_is_refused(void **state)
{
    (void)state;
    long_mode();
    for (uint32_t bit = 0; bit < 64; bit++) {
        uint64_t before = vcpu.system.cr4;
        uint64_t value = before | 1ULL << bit;

        write_register(4, value);
        if ((guest.cr4_allowed >> bit & 1) == 0) {
            assert_true(refused());
            assert_int_equal(vcpu.system.cr4, before);
        } else {
            assert_true(done());
            assert_int_equal(vcpu.system.cr4, value);
        }
    }
}

static void paging_levels_stay_in_long_mode_and_pcids_need_it(void **state)
{
    (void)state;
    long_mode();
    guest.cr4_allowed |= CR4_LA57;
    write_register(4, 0);
    assert_true(refused());
    write_register(4, CR4_PAE | CR4_LA57);
    assert_true(refused());
    vcpu.system.cr3 = 0x1001;
    write_register(4, CR4_PAE | CR4_PCIDE);
    assert_true(refused());
    vcpu.system.cr3 = 0x1000;
    write_register(4, CR4_PAE | CR4_PCIDE);
    assert_true(done());
    setup(NULL);
    guest.cr4_allowed |= CR4_LA57;
    write_register(4, CR4_PAE | CR4_PCIDE);
    assert_true(refused());
    write_register(4, CR4_PAE | CR4_LA57);
    assert_true(done());
}

static void cr0_combinations_that_the_manual_forbids_are_refused(void **state)
{
    (void)state;
    write_register(0, CR0_PG | CR0_ET);
    assert_true(refused());
    write_register(0, CR0_PE | CR0_NW);
    assert_true(refused());
    long_mode();
    write_register(0, CR0_PE | CR0_PG | 1ULL << 32);
    assert_true(refused());
    write_register(0, CR0_PE); /* paging off, from 64-bit code */
    assert_true(refused());
    assert_int_equal(vcpu.system.cr0, CR0_PE | CR0_ET | CR0_NE | CR0_PG);
    vcpu.system.segments[SEGMENT_CS].access = CODE_32;
    vcpu.system.cr4 |= CR4_PCIDE;
    write_register(0, CR0_PE);
    assert_true(refused());
}

static void caches_off_is_what_the_guest_reads_back(void **state)
{
    (void)state;
    write_register(0, CR0_PE | CR0_CD | CR0_NW);
    assert_true(done());
    access_register((struct exit_cr_access){.number = 0, .gpr = GPR_RSI});
    assert_int_equal(vcpu.gpr[GPR_RSI], CR0_PE | CR0_CD | CR0_NW | CR0_ET);
}

static void long_mode_begins_and_ends_with_paging(void **state)
{
    (void)state;
    vcpu.system.efer = EFER_LME;
    write_register(0, CR0_PE | CR0_PG);
    assert_true(refused()); /* without PAE */
    vcpu.system.cr4 = CR4_PAE;
    write_register(0, CR0_PE | CR0_PG);
    assert_true(done());
    assert_int_equal(vcpu.system.efer, EFER_LME | EFER_LMA);
    write_register(0, CR0_PE);
    assert_true(done());
    assert_int_equal(vcpu.system.efer, EFER_LME);
}

/* --- PAE's page-directory pointers --- */

static void pae_mode(void)
{
    guest.cr4_allowed |= CR4_PGE;
    vcpu.system.cr0 |= CR0_PG;
    vcpu.system.cr4 = CR4_PAE;
    vcpu.system.cr3 = POINTERS;
    for (uint32_t i = 0; i < PAE_POINTERS; i++) {
        ram[POINTERS / 8 + i] = 0x10000 * i | POINTER_PRESENT;
        vcpu.system.pae_pointers[i] = 0xdead000;
    }
}

static void expect_pointers(bool loaded)
{
    for (uint32_t i = 0; i < PAE_POINTERS; i++) {
        assert_int_equal(vcpu.system.pae_pointers[i], loaded ? ram[POINTERS / 8 + i] : 0xdead000);
    }
}

/* SDM 3A 4.4.1, table 4-8: bits 2:1, 8:5 and those from MAXPHYADDR on. */
static void a_malformed_pae_pointer_is_gp_and_changes_nothing(void **state)
{
    uint64_t reserved = 6 | 0x1e0 | ~0ULL << PHYSICAL_BITS;

    (void)state;
    pae_mode();
    for (uint32_t bit = 1; bit < 64; bit++) {
        uint64_t cr0 = vcpu.system.cr0, cr4 = vcpu.system.cr4;
        bool bad = (reserved >> bit & 1) != 0;

        ram[POINTERS / 8 + bit % PAE_POINTERS] ^= 1ULL << bit;
        write_register(0, cr0 ^ CR0_CD);
        assert_true(bad ? refused() : done());
        write_register(4, cr4 ^ CR4_PGE);
        assert_true(bad ? refused() : done());
        write_register(3, POINTERS);
        assert_true(bad ? refused() : done());
        assert_int_equal(vcpu.system.cr0, bad ? cr0 : cr0 ^ CR0_CD);
        assert_int_equal(vcpu.system.cr4, bad ? cr4 : cr4 ^ CR4_PGE);
        ram[POINTERS / 8 + bit % PAE_POINTERS] ^= 1ULL << bit;
    }
}

static void a_pae_pointer_that_is_not_present_may_have_any_bits(void **state)
{
    (void)state;
    pae_mode();
    ram[POINTERS / 8 + 2] = ~POINTER_PRESENT;
    write_register(3, POINTERS);
    assert_true(done());
    expect_pointers(true);
}

/* On neither vendor's side, but where an emulator's MMU has been that takes bit 5 for an accessed bit. */
static void bit_5_of_a_pae_pointer_is_let_pass_by_a_quirk_only(void **state)
{
    (void)state;
    pae_mode();
    ram[POINTERS / 8] |= 1ULL << 5;
    write_register(4, vcpu.system.cr4 | CR4_PGE);
    assert_true(refused());
    facts.is_intel = false;
    write_register(4, vcpu.system.cr4 | CR4_PGE);
    assert_true(refused());
    facts.quirks.pae_pointer_accessed = true;
    write_register(4, vcpu.system.cr4 | CR4_PGE);
    assert_true(done());
}

static void pae_pointers_outside_memory_are_refused(void **state)
{
    (void)state;
    pae_mode();
    write_register(3, sizeof(ram));
    assert_true(refused());
    assert_int_equal(vcpu.system.cr3, POINTERS);
    expect_pointers(false);
}

/* What the CPU holds stays, whatever memory says, until a write that loads it. */
static void pae_pointers_are_loaded_when_the_manual_says_so_and_not_else(void **state)
{
    (void)state;
    pae_mode();
    ram[POINTERS / 8 + 1] |= 2;
    write_register(0, vcpu.system.cr0 ^ CR0_NE);
    assert_true(done());
    write_register(4, vcpu.system.cr4 ^ (1ULL << 8)); /* PCE */
    assert_true(done());
    expect_pointers(false);
    ram[POINTERS / 8 + 1] &= ~2ULL;
    write_register(0, vcpu.system.cr0 ^ CR0_CD);
    assert_true(done());
    expect_pointers(true);
}

static void other_paging_modes_have_no_pae_pointers(void **state)
{
    (void)state;
    pae_mode();
    ram[POINTERS / 8] |= 2;
    vcpu.system.cr4 = 0; /* 32-bit paging */
    write_register(3, POINTERS);
    assert_true(done());
    write_register(0, vcpu.system.cr0 ^ CR0_CD);
    assert_true(done());
    write_register(4, CR4_PAE); /* and here PAE begins */
    assert_true(refused());
    vcpu.system.efer = EFER_LME | EFER_LMA;
    vcpu.system.cr4 = CR4_PAE;
    write_register(3, POINTERS);
    assert_true(done());
    expect_pointers(false);
}

static void lmsw_cannot_leave_protected_mode_and_clts_clears_one_bit(void **state)
{
    (void)state;
    access_register((struct exit_cr_access){.number = 0, .write = true, .lmsw = true, .lmsw_source = 0xfff8});
    assert_int_equal(vcpu.system.cr0, CR0_PE | CR0_ET | CR0_NE | CR0_TS);
    access_register((struct exit_cr_access){.number = 0, .write = true, .clts = true});
    assert_int_equal(vcpu.system.cr0, CR0_PE | CR0_ET | CR0_NE);
}

static void smsw_changes_as_many_bytes_as_its_operand_has(void **state)
{
    static const uint64_t expected[][2] = {
        {2, 0xffffffffffff0031}, {4, 0x60000031}, {8, 0x60000031}, {0, 0xffffffffffffffff}};

    (void)state;
    vcpu.system.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_CD | CR0_NW;
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        vcpu.gpr[GPR_RBX] = ~0ULL;
        access_register((struct exit_cr_access){.smsw = true, .gpr = GPR_RBX, .smsw_bytes = (uint8_t)expected[i][0]});
        assert_true(done());
        assert_int_equal(vcpu.gpr[GPR_RBX], expected[i][1]);
    }
}

static void user_code_reaches_nothing_but_smsw_without_umip(void **state)
{
    const struct exit_cr_access smsw = {.smsw = true, .gpr = GPR_RBX, .smsw_bytes = 4};

    (void)state;
    vcpu.system.cpl = 3;
    write_register(0, CR0_PE | CR0_TS);
    assert_true(refused());
    access_register((struct exit_cr_access){.number = 4, .gpr = GPR_RBX});
    assert_true(refused());
    access_register(smsw);
    assert_true(done());
    vcpu.system.cr4 = CR4_UMIP;
    access_register(smsw);
    assert_true(refused());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(cr4_bits_come_and_go_with_their_cpuid_features, setup),
        cmocka_unit_test_setup(a_cr4_bit_that_is_not_offered_is_refused, setup),
        cmocka_unit_test_setup(paging_levels_stay_in_long_mode_and_pcids_need_it, setup),
        cmocka_unit_test_setup(cr0_combinations_that_the_manual_forbids_are_refused, setup),
        cmocka_unit_test_setup(caches_off_is_what_the_guest_reads_back, setup),
        cmocka_unit_test_setup(long_mode_begins_and_ends_with_paging, setup),
        cmocka_unit_test_setup(a_malformed_pae_pointer_is_gp_and_changes_nothing, setup),
        cmocka_unit_test_setup(a_pae_pointer_that_is_not_present_may_have_any_bits, setup),
        cmocka_unit_test_setup(bit_5_of_a_pae_pointer_is_let_pass_by_a_quirk_only, setup),
        cmocka_unit_test_setup(pae_pointers_outside_memory_are_refused, setup),
        cmocka_unit_test_setup(pae_pointers_are_loaded_when_the_manual_says_so_and_not_else, setup),
        cmocka_unit_test_setup(other_paging_modes_have_no_pae_pointers, setup),
        cmocka_unit_test_setup(lmsw_cannot_leave_protected_mode_and_clts_clears_one_bit, setup),
        cmocka_unit_test_setup(smsw_changes_as_many_bytes_as_its_operand_has, setup),
        cmocka_unit_test_setup(user_code_reaches_nothing_but_smsw_without_umip, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
