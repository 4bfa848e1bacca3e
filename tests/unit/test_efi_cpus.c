/* SPDX-License-Identifier: MIT */
/*
 * Which CPUs a machine has, from firmwares that say it in their own ways: twice, out of order, with places for CPUs
 * that are not there, with ids of 255 and above; and the switches of a set-up that hide what a CPU has
 * (hv/host/cpu_limits.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "efi/efi_stage.h"
#include "hv/host/cpu_limits.h"
#include "hv/x86/registers.h"

#include <string.h>

#define CPUS_TOLD_MAX (CPUS_MAX + 8u)

/* ---- the model: CPUID, MP services ---- */

static struct {
    uint32_t basic_max, own_id, features_ecx, vendor_ebx;
    bool no_execute;
    uint64_t misc_enable;
    uint32_t reads, writes;
    bool hybrid_intel, hybrid_amd;
    uint32_t native_type; /* of the CPU that runs now */
} cpu;

/* As a CPU with the limits does: leaves above 2 are gone, and so is NX. */
struct cpuid_result insn_cpuid(uint32_t leaf, uint32_t subleaf)
{
    bool limited = (cpu.misc_enable & 1ULL << 22) != 0;
    bool no_execute = cpu.no_execute && (cpu.misc_enable & 1ULL << 34) == 0;

    switch (leaf) {
    case 0:
        return (struct cpuid_result){limited ? 2 : cpu.basic_max, cpu.vendor_ebx, 0, 0};
    case 1:
        return (struct cpuid_result){0, cpu.own_id << 24, cpu.features_ecx, 0};
    case 7:
        return (struct cpuid_result){0, 0, 0, cpu.hybrid_intel ? 1u << 15 : 0};
    case 0x1a:
        return (struct cpuid_result){cpu.native_type << 24, 0, 0, 0};
    case 0x80000026: /* core, then complex */
        return subleaf > 1 ? (struct cpuid_result){0, 0, 0, 0}
                           : (struct cpuid_result){subleaf << 30, cpu.native_type << 28, (subleaf + 1) << 8, 0};
    case 0xb:
        return (struct cpuid_result){0, 1, 0, cpu.own_id};
    case 0x80000000:
        return (struct cpuid_result){cpu.hybrid_amd ? 0x80000026 : 0x80000008, 0, 0, 0};
    case 0x80000001:
        return (struct cpuid_result){0, 0, 0, no_execute ? CPUID_81_EDX_NX : 0};
    default:
        return (struct cpuid_result){0, 0, 0, 0};
    }
}

uint64_t insn_rdmsr(uint32_t msr)
{
    assert_int_equal(msr, MSR_MISC_ENABLE);
    cpu.reads++;
    return cpu.misc_enable;
}

void insn_wrmsr(uint32_t msr, uint64_t value)
{
    assert_int_equal(msr, MSR_MISC_ENABLE);
    cpu.writes++;
    cpu.misc_enable = value;
}

/* PI 1.7, volume 2, 13.4: what efi_cpus.c calls of the protocol, at its place in it. */
struct services {
    EFI_STATUS(EFIAPI *count)(struct services *services, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *describe)(struct services *services, UINTN number, void *to);
    void *start_all;
    EFI_STATUS(EFIAPI *start)
    (struct services *services, void(EFIAPI *procedure)(void *argument), UINTN number, EFI_EVENT event, UINTN wait_us,
     void *argument, BOOLEAN *finished);
};

struct told {
    uint64_t apic_id;
    uint32_t flags; /* 1 boot CPU, 2 enabled, 4 healthy */
    uint32_t package, core, thread;
};

static struct told told[CPUS_TOLD_MAX];
static uint32_t told_count;
static bool has_services;
static uint32_t types[CPUS_TOLD_MAX]; /* CPUs' native types */
static uint32_t started;

static EFI_STATUS EFIAPI count_cpus(struct services *services, UINTN *all, UINTN *enabled)
{
    (void)services;
    *all = *enabled = told_count;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI describe_cpu(struct services *services, UINTN number, void *to)
{
    (void)services;
    memcpy(to, &told[number], sizeof(told[number]));
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI start_cpu(struct services *services, void(EFIAPI *procedure)(void *argument), UINTN number,
                                   EFI_EVENT event, UINTN wait_us, void *argument, BOOLEAN *finished)
{
    uint32_t own = cpu.native_type;

    (void)services;
    (void)finished;
    assert_null(event);
    assert_true(wait_us != 0);
    started++;
    if (types[number] == UINT32_MAX) {
        return EFI_TIMEOUT; /* it does not come */
    }
    cpu.native_type = types[number];
    procedure(argument);
    cpu.native_type = own;
    return EFI_SUCCESS;
}

static struct services services = {count_cpus, describe_cpu, NULL, start_cpu};

static EFI_STATUS EFIAPI locate_protocol(EFI_GUID *guid, void *registration, void **interface)
{
    (void)guid;
    (void)registration;
    *interface = &services;
    return has_services ? EFI_SUCCESS : EFI_NOT_FOUND;
}

static EFI_BOOT_SERVICES boot = {.LocateProtocol = locate_protocol};
static struct boot_info info;
static struct efi_stage stage = {.boot = &boot, .info = &info};

static void begin(uint32_t own_id)
{
    memset(&cpu, 0, sizeof(cpu));
    memset(&info, 0, sizeof(info));
    memset(&stage.acpi, 0, sizeof(stage.acpi));
    cpu.basic_max = 0x16;
    cpu.own_id = own_id;
    told_count = 0;
    has_services = false;
}

static void tell(uint64_t apic_id, uint32_t flags)
{
    told[told_count++] = (struct told){.apic_id = apic_id, .flags = flags, .core = (uint32_t)apic_id / 2};
    has_services = true;
}

static void madt(uint32_t apic_id, bool enabled)
{
    stage.acpi.cpus[stage.acpi.cpu_count].apic_id = apic_id;
    stage.acpi.cpus[stage.acpi.cpu_count++].enabled = enabled;
}

static void expect(uint32_t count, const uint32_t *ids)
{
    assert_true(efi_cpus_list(&stage));
    assert_int_equal(info.cpu_count, count);
    assert_true(info.cpus[0].is_bsp);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(info.cpus[i].apic_id, ids[i]);
    }
}

/* ---- the promises ---- */

static void the_boot_cpu_is_first_and_broken_ones_are_last(void **state)
{
    (void)state;
    begin(4);
    tell(0, 6);
    tell(2, 2); /* not healthy */
    tell(4, 7);
    tell(6, 6);
    expect(4, (const uint32_t[]){4, 0, 6, 2});
    assert_true(info.cpus[2].healthy && !info.cpus[3].healthy);
}

static void an_apic_id_that_is_told_twice_is_one_cpu(void **state)
{
    (void)state;
    begin(0);
    tell(0, 7);
    tell(1, 6);
    tell(1, 6);
    tell(0, 6);
    tell(2, 6);
    expect(3, (const uint32_t[]){0, 1, 2});
    begin(0);
    madt(0, true);
    madt(2, true);
    madt(2, true);
    madt(0, true);
    expect(2, (const uint32_t[]){0, 2});
}

static void ids_of_255_and_above_are_cpus(void **state)
{
    (void)state;
    begin(0);
    madt(0, true);
    madt(254, true);
    madt(255, true);
    madt(256, true);
    madt(0x10000, true);
    expect(5, (const uint32_t[]){0, 254, 255, 256, 0x10000});
}

static void places_without_a_cpu_are_none(void **state)
{
    (void)state;
    begin(0);
    madt(0, true);
    for (uint32_t i = 0; i < 16; i++) {
        madt(255, false);
    }
    madt(1, true);
    expect(2, (const uint32_t[]){0, 1});
}

static void a_firmware_that_forgets_its_own_cpu_has_one(void **state)
{
    (void)state;
    begin(8);
    expect(1, (const uint32_t[]){8});
    begin(8);
    tell(0, 6);
    tell(2, 6);
    expect(1, (const uint32_t[]){8});
}

static void more_cpus_than_can_be_counted_are_left_out(void **state)
{
    (void)state;
    begin(0);
    for (uint32_t i = 0; i < CPUS_TOLD_MAX; i++) {
        tell(i, i == 0 ? 7 : 6);
    }
    assert_true(efi_cpus_list(&stage));
    assert_int_equal(info.cpu_count, CPUS_MAX);
}

static void kinds_are_asked_where_cpus_differ(void **state)
{
    static const uint32_t intel[] = {0x40, 0x40, 0x20, 0x20, UINT32_MAX, 0x10};
    static const uint32_t amd[] = {0, 0, 1, 1, UINT32_MAX, 2};
    static const enum config_cpu_kind kinds[] = {CPU_KIND_PERFORMANCE, CPU_KIND_PERFORMANCE, CPU_KIND_EFFICIENT,
                                                 CPU_KIND_EFFICIENT,   CPU_KIND_ANY,         CPU_KIND_ANY};

    (void)state;
    for (uint32_t run = 0; run < 3; run++) {
        begin(0);
        cpu.basic_max = 0x1f;
        cpu.hybrid_intel = run == 0;
        cpu.hybrid_amd = run == 1;
        memcpy(types, run == 0 ? intel : amd, sizeof(intel));
        cpu.native_type = types[0];
        started = 0;
        for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
            tell(i, i == 0 ? 7 : 6);
        }
        tell(ARRAY_COUNT(kinds), 2); /* a broken one is not asked */
        assert_true(efi_cpus_list(&stage));
        assert_int_equal(info.kinds_known, run < 2);
        assert_int_equal(started, run < 2 ? ARRAY_COUNT(kinds) - 1 : 0);
        for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
            assert_int_equal(info.cpus[i].kind, run < 2 ? kinds[i] : CPU_KIND_ANY);
        }
    }
}

static void nodes_are_those_of_the_srat(void **state)
{
    (void)state;
    begin(0);
    tell(0, 7);
    tell(2, 6);
    tell(4, 6);
    stage.acpi.numa.node_count = 2;
    stage.acpi.cpu_nodes[0].apic_id = 4;
    stage.acpi.cpu_nodes[0].node = 1;
    stage.acpi.cpu_node_count = 1;
    assert_true(efi_cpus_list(&stage));
    assert_int_equal(info.numa.node_count, 2);
    assert_int_equal(info.cpus[2].node, 1);
    assert_int_equal(info.cpus[1].node, 0); /* left out by the table */
}

#define INTEL 0x756e6547u
#define AMD 0x68747541u
#define LIMIT_LEAVES (1ULL << 22)
#define NO_NX (1ULL << 34)

static const struct {
    const char *name;
    uint32_t vendor, ecx;
    bool no_execute;
    uint64_t misc_enable, after;
    uint32_t lifted;
    bool is_read;
} limits[] = {
    {"nothing is hidden", INTEL, CPUID_1_ECX_VMX, true, 1, 1, 0, false},
    {"leaves", INTEL, CPUID_1_ECX_VMX, true, 1 | LIMIT_LEAVES, 1, CPU_LIMIT_LEAVES, true},
    {"no-execute pages", INTEL, CPUID_1_ECX_VMX, true, 1 | NO_NX, 1, CPU_LIMIT_NO_EXECUTE, true},
    {"both", INTEL, CPUID_1_ECX_VMX, true, LIMIT_LEAVES | NO_NX, 0, CPU_LIMIT_LEAVES | CPU_LIMIT_NO_EXECUTE, true},
    {"a CPU that has no such pages", INTEL, CPUID_1_ECX_VMX, false, 1, 1, 0, true},
    {"an old CPU, without VMX", INTEL, 0, false, NO_NX, NO_NX, 0, false},
    {"a virtual one", INTEL, CPUID_1_ECX_VMX | CPUID_1_ECX_HYPERVISOR, true, NO_NX, NO_NX, 0, false},
    {"another vendor's", AMD, CPUID_1_ECX_VMX, true, NO_NX, NO_NX, 0, false},
};

static void limits_of_the_set_up_are_lifted(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(limits); i++) {
        begin(0);
        cpu.vendor_ebx = limits[i].vendor;
        cpu.features_ecx = limits[i].ecx;
        cpu.no_execute = limits[i].no_execute;
        cpu.misc_enable = limits[i].misc_enable;
        if (cpu_limits_lift() != limits[i].lifted || cpu.misc_enable != limits[i].after ||
            (cpu.reads != 0) != limits[i].is_read || (cpu.writes != 0) != (limits[i].lifted != 0)) {
            fail_msg("%s", limits[i].name);
        }
        assert_int_equal(cpu_limits_lift(), 0); /* a second time there is nothing to lift */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_boot_cpu_is_first_and_broken_ones_are_last),
        cmocka_unit_test(an_apic_id_that_is_told_twice_is_one_cpu),
        cmocka_unit_test(ids_of_255_and_above_are_cpus),
        cmocka_unit_test(places_without_a_cpu_are_none),
        cmocka_unit_test(a_firmware_that_forgets_its_own_cpu_has_one),
        cmocka_unit_test(more_cpus_than_can_be_counted_are_left_out),
        cmocka_unit_test(kinds_are_asked_where_cpus_differ),
        cmocka_unit_test(nodes_are_those_of_the_srat),
        cmocka_unit_test(limits_of_the_set_up_are_lifted),
    };

    return cmocka_run_group_tests_name("efi_cpus", tests, NULL, NULL);
}
