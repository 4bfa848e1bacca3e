/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/host/host_apic.h about a CPU's local inputs, on a model of the registers: all are masked but the
 * hypervisor's own timer and the boot CPU's NMI button, those that AMD adds included, and what goes to the firmware as
 * SMIs stays.
 */
#include "hv/host/host_apic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hv/host/host_acpi.h"
#include "hv/host/host_cpu.h"
#include "hv/host/tsc.h"
#include "hv/x86/insn.h"
#include "hv/x86/registers.h"

#define BASE 0xfee00000ULL
#define MASKED 0x10000u
#define SMI 0x200u
#define EXTENDED (1u << 31)
#define REGISTERS (0x1000u / 16)

static struct {
    uint32_t registers[REGISTERS];
    uint64_t base;
} model;

struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf)
{
    (void)leaf;
    (void)subleaf;
    return (struct cpuid_result){0, 0, 0, 0};
}

uint64_t insn_rdmsr(uint32_t msr)
{
    if (msr == MSR_APIC_BASE) {
        return model.base;
    }
    assert_in_range(msr, MSR_X2APIC_FIRST, MSR_X2APIC_FIRST + 0xff);
    return model.registers[msr - MSR_X2APIC_FIRST];
}

void insn_wrmsr(uint32_t msr, uint64_t value)
{
    if (msr == MSR_APIC_BASE) {
        model.base = value;
        return;
    }
    assert_in_range(msr, MSR_X2APIC_FIRST, MSR_X2APIC_FIRST + 0xff);
    model.registers[msr - MSR_X2APIC_FIRST] = (uint32_t)value;
}

uint32_t insn_mmio_read32(uint64_t address)
{
    if (address < BASE) {
        return UINT32_MAX; /* there is no I/O APIC */
    }
    assert_in_range(address - BASE, 0, 0xfff);
    return model.registers[(address - BASE) / 16];
}

void insn_mmio_write32(uint64_t address, uint32_t value)
{
    if (address >= BASE) {
        model.registers[(address - BASE) / 16] = value;
    }
}

void insn_out8(uint16_t port, uint8_t value)
{
    (void)port;
    (void)value;
}

void insn_mfence(void)
{
}

void insn_lfence(void)
{
}

void insn_pause(void)
{
}

uint64_t insn_rdtsc(void)
{
    return 0;
}

struct cpu_identity host_cpu_identity(void)
{
    return (struct cpu_identity){.is_intel = false};
}

uint64_t tsc_after_us(uint64_t us)
{
    return us;
}

void tsc_wait_us(uint64_t us)
{
    (void)us;
}

static uint32_t lvt(uint32_t reg)
{
    return model.registers[reg / 16];
}

/* As a firmware may leave it: everything is open, the extended inputs with vectors, NMIs and an SMI. */
static void start(bool x2apic, uint32_t version, uint32_t extended)
{
    const struct host_acpi acpi = {.found = false};

    memset(&model, 0, sizeof(model));
    model.base = BASE | APIC_BASE_ENABLE | APIC_BASE_BSP | (x2apic ? APIC_BASE_X2APIC : 0);
    model.registers[0x030 / 16] = version;
    model.registers[0x400 / 16] = extended << 16;
    model.registers[0x500 / 16] = 0xf9;
    model.registers[0x510 / 16] = 0x400;
    model.registers[0x520 / 16] = SMI;
    model.registers[0x530 / 16] = 0xfa;
    model.registers[0x330 / 16] = SMI | 0x3;
    host_apic_init_machine(&acpi, 1);
    host_apic_init_cpu();
}

static void extended_inputs_are_masked_and_smis_stay(void **state)
{
    (void)state;
    for (uint32_t mode = 0; mode < 2; mode++) {
        start(mode == 1, EXTENDED | 5u << 16, 4);
        assert_int_equal(lvt(0x500), MASKED);
        assert_int_equal(lvt(0x510), MASKED);
        assert_int_equal(lvt(0x520), SMI);
        assert_int_equal(lvt(0x530), MASKED);
        assert_int_equal(lvt(0x330), SMI | 0x3);
        assert_int_equal(lvt(0x350), MASKED);
        assert_int_equal(lvt(0x360), 0x400); /* the boot CPU's NMI button */
        assert_int_equal(lvt(0x370), MASKED);
    }
}

static void what_is_not_there_is_not_touched(void **state)
{
    (void)state;
    start(false, EXTENDED | 5u << 16, 1); /* one of them */
    assert_int_equal(lvt(0x500), MASKED);
    assert_int_equal(lvt(0x510), 0x400);
    start(false, 5u << 16, 4); /* an APIC without the register that counts them */
    assert_int_equal(lvt(0x500), 0xf9);
    start(false, EXTENDED | 5u << 16, 0xff); /* more than there can be */
    assert_int_equal(lvt(0x530), MASKED);
    assert_int_equal(lvt(0x540), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extended_inputs_are_masked_and_smis_stay),
        cmocka_unit_test(what_is_not_there_is_not_touched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
