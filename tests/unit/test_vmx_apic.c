/* SPDX-License-Identifier: MIT */
/*
 * Promises of hv/vmx/apic.c and hv/core/guest_apic_page.c: which side serves a vCPU's local APIC, that the leaf for it
 * is in the nested tree only while no vCPU could reach the page behind it, and what the CPU is told. The tree is a real
 * one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/vmx/insn.h"

#include <string.h>

static uint64_t fields[0x8000];
static uint32_t flushes;

#define vmx_insn_vmread_sure(field) fields[field]
#define vmx_insn_vmwrite_sure(field, value) ((void)(fields[field] = (value)))
#define vmx_insn_invept(type, descriptor) ((void)(type), (void)(descriptor), flushes++, true)

#include "hv/vmx/apic.c"

#define VCPUS 2u
#define PAGE_AT 0x5000ULL
#define POOL_PAGES 8u
#define PHYSICAL_BITS 46u
#define PLAIN SECONDARY_EPT

struct vmx_features vmx_features;

static struct guest guest;
static struct config_guest config;
static struct host_facts host;
static struct vcpu vcpus[VCPUS];
static struct vmx_vcpu vmxs[VCPUS];
static struct page_table tree;
static uint8_t pool_memory[(POOL_PAGES + 1) * PAGE_BYTES] __attribute__((aligned(4096)));
static uint32_t dispatched;

void vmx_write(enum vmcs_field field, uint64_t value)
{
    fields[field] = value;
}

void vmx_write_primary(struct vmx_vcpu *vmx, uint32_t primary)
{
    vmx->primary = primary;
}

uint64_t vmx_msr_map(const struct vmx_vcpu *vmx)
{
    return (vmx->secondary & SECONDARY_X2APIC) != 0 ? 0x2000 : 0x1000;
}

void exit_dispatch(struct vcpu *vcpu, const struct vm_exit *exit)
{
    (void)vcpu;
    dispatched = exit->kind;
}

static bool leaf_is_there(void)
{
    struct page_lookup found;

    page_table_lookup(&tree, GUEST_LAPIC_BASE, &found);
    assert_true(!found.present || (found.to.value == PAGE_AT && found.level == LEVEL_4K && !found.attributes.execute));
    assert_int_equal(found.present, guest_apic_page_is_mapped(&guest));
    return found.present;
}

static void set_mode(uint32_t i)
{
    vmx_apic_set_mode(&vmxs[i], &vcpus[i]);
    if ((vmxs[i].secondary & SECONDARY_APIC_ACCESSES) == 0) {
        assert_false(leaf_is_there()); /* it would reach the page */
    }
}

static void write_base(uint32_t i, uint64_t value)
{
    assert_true(lapic_base_write(&vcpus[i].lapic, value, PHYSICAL_BITS));
    set_mode(i);
}

static void write_svr(uint32_t i, uint32_t value)
{
    lapic_mmio_write(&vcpus[i].lapic, LAPIC_SVR, 4, value, 0);
    set_mode(i);
}

static int setup(void **state)
{
    static struct lapic_page pages[VCPUS];
    static struct table_pool pool;
    static const struct clock clock = {.tsc_hz = 1000000000};
    const struct page_table_caps caps = {.largest_leaf = LEVEL_1G, .physical_bits = PHYSICAL_BITS};

    (void)state;
    memset(&guest, 0, sizeof(guest));
    memset(&host, 0, sizeof(host));
    memset(vmxs, 0, sizeof(vmxs));
    memset(vcpus, 0, sizeof(vcpus));
    memset(fields, 0, sizeof(fields));
    memset(pool_memory, 0, sizeof(pool_memory));
    flushes = 0;
    vmx_features = (struct vmx_features){.virtual_apic = true, .virtual_xapic = true, .tpr_shadow = true};
    config.virtual_apic = true;
    guest.config = &config;
    guest.host = &host;
    assert_int_equal(table_pool_init(&pool, (uint64_t)(uintptr_t)pool_memory - PAGE_BYTES, hpa(PAGE_BYTES), POOL_PAGES),
                     STATUS_OK);
    assert_int_equal(page_table_init(&tree, &page_table_ept4, &caps, &pool), STATUS_OK);
    assert_int_equal(guest_apic_page_create(&guest, &tree, hpa(PAGE_AT)), STATUS_OK);
    for (uint32_t i = 0; i < VCPUS; i++) {
        vcpus[i].guest = &guest;
        vcpus[i].vendor = &vmxs[i];
        vmxs[i].secondary = vmxs[i].secondary_plain = PLAIN;
        lapic_init(&vcpus[i].lapic, &pages[i], i, i == 0, &clock);
        set_mode(i);
    }
    return 0;
}

static void software_enable_decides_what_the_cpu_does_in_memory(void **state)
{
    (void)state;
    assert_true(leaf_is_there());
    assert_int_equal(vmxs[0].secondary, PLAIN | SECONDARY_APIC_ACCESSES);
    assert_false(vcpus[0].cpu_delivers);
    write_svr(0, 0x1ff);
    assert_int_equal(vmxs[0].secondary, PLAIN | SECONDARY_VIRTUAL_XAPIC);
    assert_int_equal(fields[VMCS_SECONDARY_CONTROLS], vmxs[0].secondary);
    assert_int_equal(fields[VMCS_MSR_BITMAP], 0x1000); /* no MSR of x2APIC mode passes */
    assert_true(vcpus[0].cpu_delivers);
    write_svr(0, 0xff);
    assert_int_equal(vmxs[0].secondary, PLAIN | SECONDARY_APIC_ACCESSES);
    assert_false(vcpus[0].cpu_delivers);
    assert_int_equal(flushes, 0);
}

static void the_page_goes_with_the_first_vcpu_that_leaves_it(void **state)
{
    static const uint64_t bases[] = {0xfee00000, 0xfed40800, 0xfee00c00};

    for (uint32_t i = 0; i < ARRAY_COUNT(bases); i++) {
        bool x2apic = bases[i] == 0xfee00c00;

        setup(state);
        write_svr(0, 0x1ff);
        write_svr(1, 0x1ff);
        write_base(0, bases[i] | LAPIC_BASE_BSP);
        assert_false(leaf_is_there());
        assert_int_equal(flushes, 1);
        assert_int_equal(vmxs[0].secondary, PLAIN | (x2apic ? SECONDARY_VIRTUAL_X2APIC : 0));
        assert_int_equal(vcpus[0].cpu_delivers, x2apic);
        assert_int_equal(vmxs[1].secondary, PLAIN | SECONDARY_VIRTUAL_XAPIC); /* right as long as its CPU knows it */
        write_base(1, 0xfee00000);
        assert_int_equal(flushes, 2); /* on its own CPU */
        write_base(1, 0xfee00800);
        assert_int_equal(vmxs[1].secondary, PLAIN); /* the page does not come back */
        assert_false(leaf_is_there());
    }
}

static void the_page_comes_back_with_a_new_start(void **state)
{
    (void)state;
    write_base(0, 0xfee00d00);
    assert_false(leaf_is_there());
    lapic_reset(&vcpus[0].lapic, false);
    guest_apic_page_map(&guest);
    vmx_apic_set_mode(&vmxs[0], &vcpus[0]);
    assert_true(leaf_is_there());
    assert_int_equal(vmxs[0].secondary, PLAIN | SECONDARY_APIC_ACCESSES);
    guest_apic_page_map(&guest);
    assert_true(leaf_is_there());
}

static void a_vcpu_that_has_lost_the_page_is_plain_when_something_waits(void **state)
{
    (void)state;
    write_svr(0, 0x1ff);
    write_svr(1, 0x1ff);
    lapic_post(&vcpus[1].lapic, 0x61, false);
    vmx_apic_publish(&vmxs[1], &vcpus[1]);
    assert_int_equal(fields[VMCS_GUEST_INTERRUPT_STATUS], 0x61);
    write_base(0, 0xfee00d00);
    fields[VMCS_GUEST_INTERRUPT_STATUS] = 0xf000; /* an end that was emulated */
    *lapic_register(&vcpus[1].lapic, LAPIC_PPR) = 0xf0;
    vmx_apic_publish(&vmxs[1], &vcpus[1]);
    assert_int_equal(vmxs[1].secondary, PLAIN);
    assert_false(vcpus[1].cpu_delivers);
    assert_int_equal(flushes, 2);
    assert_int_equal(lapic_highest_deliverable(&vcpus[1].lapic), 0x61);
    assert_true((vmxs[1].primary & PRIMARY_INTERRUPT_WINDOW) != 0);
    assert_true((vcpus[1].requests & VCPU_EVENT) != 0);
}

static void what_the_cpu_cannot_or_shall_not_do_is_plain(void **state)
{
    setup(state);
    guest_apic_page_unmap(&guest);
    guest.apic_page = (struct guest_apic_page){0}; /* none was made */
    vmx_apic_set_mode(&vmxs[0], &vcpus[0]);
    write_svr(0, 0x1ff);
    assert_int_equal(vmxs[0].secondary, PLAIN);
    host.quirks.wrong_virtual_interrupts = true;
    write_base(0, 0xfee00d00);
    assert_int_equal(vmxs[0].secondary, PLAIN);
    host.quirks.wrong_virtual_interrupts = false;
    config.virtual_apic = false;
    set_mode(0);
    assert_int_equal(vmxs[0].secondary, PLAIN);
    config.virtual_apic = true;
    set_mode(0);
    assert_int_equal(vmxs[0].secondary, PLAIN | SECONDARY_VIRTUAL_X2APIC);
}

/* SVI and RVI after an emulated access, and levels in the EOI-exit bitmap. */
static void the_cpu_is_told_what_the_page_says(void **state)
{
    struct lapic *lapic = &vcpus[0].lapic;
    const struct vmx_exit_words eoi = {.qualification = 0x71};

    (void)state;
    write_svr(0, 0x1ff);
    lapic_post(lapic, 0x71, true);
    vmx_apic_publish(&vmxs[0], &vcpus[0]);
    assert_int_equal(fields[VMCS_EOI_EXIT_0 + 2], 1ULL << (0x71 - 64));
    lapic_accept(lapic, 0x71);
    lapic_post(lapic, 0x52, false);
    lapic_merge_pending(lapic);
    *lapic_register(lapic, LAPIC_TPR) = 0x12345620;
    vmx_apic_handle(&vcpus[0], &(struct vm_exit){.kind = EXIT_APIC_ACCESS}, &eoi);
    assert_int_equal(dispatched, EXIT_NESTED_FAULT);
    assert_int_equal(fields[VMCS_GUEST_INTERRUPT_STATUS], 0x7152);
    assert_int_equal(lapic_get(lapic, LAPIC_TPR), 0x20);
    lapic_end_of_interrupt(lapic);
    vmx_apic_handle(&vcpus[0], &(struct vm_exit){.kind = EXIT_APIC_WRITE, .apic.offset = 0xb1}, &eoi);
    assert_int_equal(dispatched, EXIT_APIC_WRITE);
    assert_int_equal(fields[VMCS_GUEST_INTERRUPT_STATUS], 0x52);
    lapic->eois[3] = 0;
    vmx_apic_handle(&vcpus[0], &(struct vm_exit){.kind = EXIT_EOI}, &eoi);
    assert_int_equal(dispatched, EXIT_EOI);
    assert_int_equal(lapic->eois[3], 1u << 0x11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(software_enable_decides_what_the_cpu_does_in_memory, setup),
        cmocka_unit_test_setup(the_page_goes_with_the_first_vcpu_that_leaves_it, setup),
        cmocka_unit_test_setup(the_page_comes_back_with_a_new_start, setup),
        cmocka_unit_test_setup(a_vcpu_that_has_lost_the_page_is_plain_when_something_waits, setup),
        cmocka_unit_test_setup(what_the_cpu_cannot_or_shall_not_do_is_plain, setup),
        cmocka_unit_test_setup(the_cpu_is_told_what_the_page_says, setup),
    };

    return cmocka_run_group_tests_name("VMX's virtual APIC", tests, NULL, NULL);
}
