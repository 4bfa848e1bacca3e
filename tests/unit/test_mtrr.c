/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/x86/mtrr.h and hv/host/host_cpu.h about memory types that must be alike on all CPUs: differences that
 * matter are seen, and a CPU takes another's types in the order of SDM 3A 12.11.8, on a model of the registers that
 * fails when one of them changes while memory may be cached.
 */
#include "hv/host/host_cpu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define VARIABLES 8u
#define ENABLE (1ULL << 11)
#define VALID (1ULL << 11)

/* The CPU of the model. */
static struct {
    uint64_t cr0, cr3, cr4;
    uint64_t default_type;
    uint64_t fixed[MTRR_FIXED_REGISTERS];
    struct mtrr_variable variable[VARIABLES];
    bool written_back; /* since caches went off, or since the last register changed */
    bool flushed;      /* the TLB, likewise */
} cpu;

struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)subleaf;
    if (leaf == CPUID_FEATURES) {
        return (struct cpuid_result){.edx = CPUID_1_EDX_MTRR};
    }
    return (struct cpuid_result){.eax = leaf == CPUID_HIGHEST_EXTENDED ? CPUID_ADDRESS_SIZES
                                        : leaf == CPUID_ADDRESS_SIZES  ? 40
                                                                       : 0};
}

bool insn_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    (void)msr;
    (void)value;
    return false;
}

bool insn_wrmsr_safe(uint32_t msr, uint64_t value)
{
    (void)msr;
    (void)value;
    return false;
}

/* Where the model has this register. */
static uint64_t *place_of(uint32_t msr)
{
    static const uint32_t fixed[] = {MSR_MTRR_FIX_64K_00000, MSR_MTRR_FIX_16K_80000, MSR_MTRR_FIX_16K_A0000};

    for (uint32_t i = 0; i < MTRR_FIXED_REGISTERS; i++) {
        if (msr == (i < ARRAY_COUNT(fixed) ? fixed[i] : MSR_MTRR_FIX_4K_C0000 + i - 3u)) {
            return &cpu.fixed[i];
        }
    }
    for (uint32_t i = 0; i < VARIABLES; i++) {
        if (msr == MSR_MTRR_PHYS_BASE(i) || msr == MSR_MTRR_PHYS_MASK(i)) {
            return msr == MSR_MTRR_PHYS_BASE(i) ? &cpu.variable[i].base : &cpu.variable[i].mask;
        }
    }
    assert_int_equal(msr, MSR_MTRR_DEF_TYPE);
    return &cpu.default_type;
}

uint64_t insn_rdmsr(uint32_t msr)
{
    return msr == MSR_MTRR_CAP ? VARIABLES | 1u << 8 : *place_of(msr);
}

void insn_wrmsr(uint32_t msr, uint64_t value)
{
    assert_true((cpu.cr0 & CR0_CD) != 0 && (cpu.cr0 & CR0_NW) == 0);
    assert_true(msr == MSR_MTRR_DEF_TYPE || (cpu.default_type & ENABLE) == 0);
    assert_true(msr != MSR_MTRR_DEF_TYPE || (cpu.default_type & ENABLE) == 0 || (cpu.written_back && cpu.flushed));
    *place_of(msr) = value;
    cpu.written_back = cpu.flushed = false;
}

uint64_t insn_read_cr0(void)
{
    return cpu.cr0;
}

void insn_write_cr0(uint64_t value)
{
    if ((cpu.cr0 & ~value & CR0_CD) != 0) { /* caches go on: nothing of the old types may be left */
        assert_true(cpu.written_back && cpu.flushed);
    } else if ((~cpu.cr0 & value & CR0_CD) != 0) {
        cpu.written_back = cpu.flushed = false;
    }
    cpu.cr0 = value;
}

uint64_t insn_read_cr3(void)
{
    return cpu.cr3;
}

void insn_write_cr3(uint64_t value)
{
    cpu.cr3 = value;
    cpu.flushed = true;
}

uint64_t insn_read_cr4(void)
{
    return cpu.cr4;
}

void insn_write_cr4(uint64_t value)
{
    cpu.cr4 = value;
}

void insn_wbinvd(void)
{
    assert_true((cpu.cr0 & CR0_CD) != 0);
    cpu.written_back = true;
}

/* What firmware sets: write-back, and the hole below 4 GiB uncached. */
static struct mtrr_state usual(void)
{
    struct mtrr_state state = {
        .present = true, .physical_bits = 40, .default_type = 3ULL << 10 | 6, .variable_count = VARIABLES};

    memset(state.fixed, 6, sizeof(state.fixed));
    state.variable[0] = (struct mtrr_variable){.base = 0xc0000000, .mask = 0xffc0000000 | VALID};
    return state;
}

static void setup_cpu(void)
{
    memset(&cpu, 0, sizeof(cpu));
    cpu.cr0 = CR0_PE | CR0_PG;
    cpu.cr3 = 0x1000;
}

static void a_cpu_takes_the_types_of_another(void **state)
{
    const struct mtrr_state boot = usual();
    struct mtrr_state here;

    (void)state;
    setup_cpu();
    cpu.default_type = ENABLE;
    cpu.variable[3].mask = VALID;
    host_cpu_read_mtrrs(&here);
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_SETTABLE);
    host_cpu_write_mtrrs(&boot);
    host_cpu_read_mtrrs(&here);
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_ALIKE);
    assert_int_equal(cpu.cr0, CR0_PE | CR0_PG);
    assert_int_equal(cpu.cr3, 0x1000);
}

static void what_differs_is_seen_unless_it_means_nothing(void **state)
{
    const struct mtrr_state boot = usual();
    struct mtrr_state here = usual();

    (void)state;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_ALIKE);
    here.variable[5].base = 0x1234000; /* not valid on either */
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_ALIKE);
    here.variable[5].mask = VALID;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_SETTABLE);
    here = usual();
    here.fixed[MTRR_FIXED_REGISTERS - 1] = 0;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_SETTABLE);
    here = usual();
    here.default_type = 0;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_SETTABLE);
    here = usual();
    here.variable_count--;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_UNLIKE);
    here = usual();
    here.present = false;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_UNLIKE);
    here = usual();
    here.force_wb_end = 8 * GIB;
    assert_int_equal(mtrr_compare(&boot, &here), MTRR_UNLIKE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cpu_takes_the_types_of_another),
        cmocka_unit_test(what_differs_is_seen_unless_it_means_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
