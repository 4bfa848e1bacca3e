/* SPDX-License-Identifier: MIT */
/*
 * A guest without nested paging: what VMRUN gets, what the guest's VMCB has afterwards, and what becomes of its exits.
 * The vendor's own files run here; in VMRUN's place stands a list of exits, with checks of what was entered.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hv/exit/dispatch.h"
#include "hv/host/cpu_timer.h"
#include "hv/svm/insn.h"
#include "hv/x86/insn.h"

static void noted_dispatch(struct vcpu *vcpu, const struct vm_exit *exit);

#define exit_dispatch noted_dispatch
#define cpu_this() ((struct cpu *)NULL)
#define cpu_timer_tick(cpu, vcpu, now) ((void)(cpu), (void)(vcpu), (void)(now), false)
#define insn_interrupt_window() ((void)0)
#define insn_cli() ((void)0)
#define insn_sti() ((void)0)
#define svm_insn_clgi() ((void)0)
#define svm_insn_stgi() ((void)0)
#define insn_rdtsc() 1ULL
#define insn_wrmsr(index, value) ((void)(value))
#define insn_xsetbv(index, value) ((void)(value))
#define insn_write_cr2(value) ((void)(value))

#include "hv/svm/instruction.c"
#include "hv/svm/quick.c"
#include "hv/svm/quirks.c"
#include "hv/svm/run.c"
#include "hv/svm/shadow.c"
#include "hv/svm/state.c"

#undef exit_dispatch

#include "tests/unit/shadow_harness.h"

static struct svm_vcpu svm;
struct svm_features svm_features;

void cpu_kick(const struct cpu *cpu)
{
    (void)cpu;
    abort();
}

void svm_enter(struct svm_vcpu *of, struct vcpu *to, uint64_t host_vmcb)
{
    (void)of;
    (void)to;
    (void)host_vmcb;
    abort();
}

void svm_enter_guarded(struct svm_vcpu *of, struct vcpu *to, uint64_t host_vmcb)
{
    (void)of;
    (void)to;
    (void)host_vmcb;
    abort();
}

void svm_shadow_enter_guarded(struct svm_vcpu *of, struct vcpu *to, uint64_t host_vmcb)
{
    svm_enter_guarded(of, to, host_vmcb);
}

void svm_shadow_enter(struct svm_vcpu *of, struct vcpu *to, uint64_t host_vmcb)
{
    uint32_t entry = 0;

    (void)host_vmcb;
    do {
        cpu_runs(entry++);
    } while (svm_shadow_handle_exit(of, to));
}

static uint64_t cpu_root(void)
{
    return svm.vmcb.cr3;
}

static int setup(void **state)
{
    (void)state;
    memset(&svm, 0, sizeof(svm));
    make_guest(&svm, CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_MCE);
    svm_vcpu_shadow(&vcpu, arena + RAM_BYTES, TABLES, LEVEL_2M);
    svm.vmcb.efer = EFER_SVME;
    svm.vmcb.cr0 = CR0_ET;
    svm.vmcb.cr4 = CR4_MCE;
    svm.added_cr4 = CR4_MCE;
    return 0;
}

static void long_mode(void)
{
    svm.vmcb.cr0 = CR0_PG | CR0_PE | CR0_WP | CR0_ET;
    svm.vmcb.cr3 = PML4;
    svm.vmcb.cr4 = CR4_MCE | CR4_PAE;
    svm.added_cr4 = 0;
    svm.vmcb.efer = EFER_SVME | EFER_LME | EFER_LMA | EFER_NXE;
    svm.vmcb.cs.attributes = 0x29b;
    svm.vmcb.ss.attributes = 0xc93;
    svm.vmcb.rip = CODE;
    vcpu.rip = CODE;
}

static void page_fault(uint64_t address, uint64_t error)
{
    svm.vmcb.exit_code = EXIT_PAGE_FAULT;
    svm.vmcb.exit_info1 = error;
    svm.vmcb.exit_info2 = address;
}

static void leave(void)
{
    svm.vmcb.exit_code = SVM_EXIT_INTR;
}

/* --- no paging: paged real mode --- */

static void real_mode_runs(uint32_t entry)
{
    const struct vmcb *vmcb = &svm.vmcb;

    assert_int_equal(vmcb->cr0, CR0_PG | CR0_WP | CR0_ET);
    assert_int_equal(vmcb->cr4, CR4_MCE | CR4_PAE);
    assert_int_equal(vmcb->efer, EFER_SVME | EFER_NXE);
    assert_true(vmcb->cr3 < 4 * GIB && is_aligned(vmcb->cr3, 32));
    assert_true((vmcb->intercepts[INTERCEPT_EXCEPTION] & 1u << EXCEPTION_PF) != 0);
    assert_true((vmcb->intercepts[INTERCEPT_CR] & INTERCEPT_CR_CR0_READ) != 0); /* it must not see PG */
    assert_true((vmcb->intercepts[INTERCEPT_CR] & INTERCEPT_CR_CR4_READ) != 0);
    switch (entry) {
    case 0:
        assert_int_not_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        assert_int_equal(leaf_of(0x1234, 3), 0);
        page_fault(0x1234, PAGE_FAULT_WRITE);
        break;
    case 1:
        assert_int_equal(leaf_of(0x1234, 3) & ADDRESS_MASK, (uint64_t)(uintptr_t)arena);
        page_fault(RAM_BYTES + 0x10, PAGE_FAULT_WRITE);
        break;
    default:
        assert_int_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        leave();
        break;
    }
}

static void without_paging_the_cpu_has_it_and_the_guest_does_not_see_it(void **state)
{
    (void)state;
    cpu_runs = real_mode_runs;
    svm_shadow_run(&svm, &vcpu, 0);
    assert_int_equal(svm.vmcb.cr0, CR0_ET);
    assert_int_equal(svm.vmcb.cr4, CR4_MCE);
    assert_int_equal(svm.vmcb.efer, EFER_SVME);
    assert_int_equal(svm.vmcb.cr3, 0);
    assert_int_equal(dispatched, 2); /* the device's, and the last one: a fill needs no handler */
}

/* --- long mode --- */

static void device_runs(uint32_t entry)
{
    if (entry == 0) {
        put_entry(PML4 + 0x2000, 1, 0xe0000087); /* no RAM */
        page_fault(2 * MIB + 0x20, PAGE_FAULT_WRITE);
    } else {
        assert_int_equal(noted.kind, EXIT_NESTED_FAULT);
        assert_int_equal(noted.fault.address.value, 0xe0000020);
        assert_true(noted.fault.write && !noted.fault.fetch && !noted.fault.table_walk);
        leave();
    }
}

static void a_device_is_a_nested_page_fault(void **state)
{
    (void)state;
    long_mode();
    cpu_runs = device_runs;
    svm_shadow_run(&svm, &vcpu, 0);
    assert_int_equal(dispatched, 2);
}

static void bad_table_runs(uint32_t entry)
{
    if (entry == 0) {
        put_entry(PML4, 3, 0xe0000007);
        page_fault(3ULL << 39, 0);
    } else {
        assert_int_equal(noted.kind, EXIT_NESTED_FAULT);
        assert_true(noted.fault.table_walk);
        assert_int_equal(noted.fault.address.value, 0xe0000000);
        leave();
    }
}

static void a_table_outside_ram_is_one_of_a_walk(void **state)
{
    (void)state;
    long_mode();
    cpu_runs = bad_table_runs;
    svm_shadow_run(&svm, &vcpu, 0);
}

/* It is injected at once; where something else is to be done, too, it is raised. */
static void guest_fault_runs(uint32_t entry)
{
    struct vmcb *vmcb = &svm.vmcb;

    if (entry == 1) {
        assert_int_equal(vmcb->event_injection, EVENT_VALID | EVENT_HAS_ERROR | EVENT_EXCEPTION << EVENT_TYPE_SHIFT |
                                                    EXCEPTION_PF | (uint64_t)PAGE_FAULT_WRITE << EVENT_ERROR_SHIFT);
        assert_int_equal(vmcb->cr2, 5 * GIB);
        assert_int_equal(vmcb->rflags & RFLAGS_RF, RFLAGS_RF);
        assert_false(vcpu.pending.valid);
        vmcb->event_injection = 0;
        vmcb->rflags = RFLAGS_TF;
    }
    assert_true(entry < 2);
    page_fault((5 + entry) * GIB, PAGE_FAULT_WRITE | PAGE_FAULT_PRESENT); /* ours are not the guest's matter */
}

static void a_fault_of_the_guests_has_its_own_error_code(void **state)
{
    (void)state;
    long_mode();
    cpu_runs = guest_fault_runs;
    svm_shadow_run(&svm, &vcpu, 0);
    assert_true(vcpu.pending.valid && vcpu.pending.has_error);
    assert_int_equal(vcpu.pending.vector, EXCEPTION_PF);
    assert_int_equal(vcpu.pending.error, PAGE_FAULT_WRITE);
    assert_int_equal(vcpu.system.cr2, 6 * GIB);
}

/* An instruction that a fault's handler has returned to has RF, and may be in a shadow: neither matters to a page that
 * is filled, and RF not to a fault of the guest's. The long way brings vcpu.rip up to date. */
static void again_runs(uint32_t entry)
{
    struct vmcb *vmcb = &svm.vmcb;

    switch (entry) {
    case 0:
        vmcb->rip = CODE + 0x100;
        vmcb->rflags = RFLAGS_RF | RFLAGS_TF;
        vmcb->int_state = INT_STATE_SHADOW;
        page_fault(0x1000, PAGE_FAULT_WRITE);
        break;
    case 1:
        assert_int_equal(vcpu.rip, CODE);
        assert_int_equal(vmcb->rflags, RFLAGS_RF | RFLAGS_TF);
        assert_int_equal(vmcb->int_state, INT_STATE_SHADOW);
        assert_int_not_equal(leaf_of(0x1000, 4), 0);
        vmcb->rflags = RFLAGS_RF;
        vmcb->int_state = 0;
        page_fault(5 * GIB, 0);
        break;
    default:
        assert_int_not_equal(vmcb->event_injection & EVENT_VALID, 0);
        assert_int_equal(vcpu.rip, CODE);
        vmcb->event_injection = 0;
        leave();
        break;
    }
}

static void an_instruction_that_runs_again_goes_the_short_way(void **state)
{
    (void)state;
    long_mode();
    cpu_runs = again_runs;
    svm_shadow_run(&svm, &vcpu, 0);
    assert_int_equal(svm.vmcb.exit_code, SVM_EXIT_INTR);
}

static void interrupted_runs(uint32_t entry)
{
    assert_int_equal(entry, 0);
    page_fault(0x1000, PAGE_FAULT_WRITE);
    svm.vmcb.exit_int_info = EVENT_VALID | 0x42;
}

static void an_event_whose_delivery_needs_a_page_is_injected_again(void **state)
{
    (void)state;
    long_mode();
    cpu_runs = interrupted_runs;
    svm_shadow_run(&svm, &vcpu, 0);
    assert_int_equal(dispatched, 0);
    assert_true(vcpu.pending.valid && (vcpu.requests & VCPU_EVENT) != 0 && (vcpu.requests & VCPU_YIELD) != 0);
    assert_int_equal(vcpu.pending.vector, 0x42);
    assert_int_equal(svm.vmcb.cr3, PML4);
}

/* The guest's CLTS is seen; mov cr3, rax; mov rbx, cr3; invlpg [rax]; mov cr3, rax with
 * a prefix, by the long way; invlpg [r8]. */
static const uint8_t code[] = {0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xdb, 0x0f, 0x01, 0x38,
                               0x66, 0x0f, 0x22, 0xd8, 0x41, 0x0f, 0x01, 0x38};

static void code_runs(uint32_t entry)
{
    struct vmcb *vmcb = &svm.vmcb;

    assert_int_equal(vmcb->efer, EFER_SVME | EFER_LME | EFER_LMA | EFER_NXE);
    assert_int_equal(vmcb->intercepts[INTERCEPT_CR] & INTERCEPT_CR_CR0_READ, 0);
    switch (entry) {
    case 0:
        page_fault(0x1000, PAGE_FAULT_WRITE);
        break;
    case 1:
        assert_int_equal(leaf_of(0x1000, 4) & ADDRESS_MASK, (uint64_t)(uintptr_t)arena);
        vmcb->rax = OTHER_PML4;
        vmcb->exit_code = SVM_EXIT_CR3_WRITE;
        break;
    case 2:
        assert_int_not_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        assert_int_equal(vmcb->rip, CODE + 3);
        assert_int_equal(leaf_of(0x1000, 4), 0);
        vmcb->exit_code = SVM_EXIT_CR3_READ;
        break;
    case 3:
        assert_int_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        assert_int_equal(vcpu.gpr[GPR_RBX], OTHER_PML4);
        page_fault(0x1000, 0);
        break;
    case 4:
        assert_int_not_equal(leaf_of(0x1000, 4), 0);
        vmcb->rax = 0x1fff;
        vmcb->exit_code = SVM_EXIT_INVLPG;
        break;
    case 5:
        assert_int_equal(vmcb->rip, CODE + 9);
        assert_int_equal(leaf_of(0x1000, 4), 0);
        assert_int_not_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        assert_int_equal(dispatched, 1); /* the read of CR3 */
        vmcb->rax = OTHER_PML4;
        vmcb->exit_code = SVM_EXIT_CR3_WRITE;
        break;
    case 6:
        assert_int_equal(vmcb->rip, CODE + 13);
        assert_int_not_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        assert_int_equal(dispatched, 2);
        page_fault(0x1000, 0);
        break;
    case 7:
        assert_int_not_equal(leaf_of(0x1000, 4), 0);
        vcpu.gpr[GPR_R8] = 0x1000;
        vmcb->exit_code = SVM_EXIT_INVLPG;
        break;
    default:
        assert_int_equal(vmcb->rip, CODE + sizeof(code));
        assert_int_equal(vmcb->next_rip, 0);
        assert_int_equal(leaf_of(0x1000, 4), 0);
        assert_int_not_equal(vmcb->tlb_control, TLB_FLUSH_NOTHING);
        vmcb->cr0 &= ~CR0_TS;
        leave();
        break;
    }
}

static void control_registers_are_the_guests_and_tables_follow_them(void **state)
{
    (void)state;
    long_mode();
    svm.vmcb.cr0 |= CR0_TS;
    memcpy(arena + CODE, code, sizeof(code));
    cpu_runs = code_runs;
    svm_shadow_run(&svm, &vcpu, 0);
    assert_int_equal(svm.vmcb.cr0, CR0_PG | CR0_PE | CR0_WP | CR0_ET);
    assert_int_equal(svm.vmcb.cr3, OTHER_PML4);
}

/* --- a MOV to CR3 at a place where one was before --- */

#define CR3_EXITS 6u

static const struct cr3_exit {
    uint8_t code[4];
    uint64_t rax, rbx;
    uint64_t cr3;    /* of the guest, afterwards */
    uint8_t bytes;   /* that are stepped over */
    bool dispatched; /* the long way */
} cr3_exits[CR3_EXITS] = {
    {{0x0f, 0x22, 0xd8}, OTHER_PML4, 0, OTHER_PML4, 3, false},
    {{0x0f, 0x22, 0xd8}, PML4, 0, PML4, 3, false},                        /* known here */
    {{0x0f, 0x22, 0xdb}, 0x5000, OTHER_PML4, OTHER_PML4, 3, false},       /* the guest has changed it: RBX */
    {{0x0f, 0x22, 0xdb}, 0x5000, PML4 | 1ULL << 63, OTHER_PML4, 0, true}, /* #GP: PCIDs are not offered */
    {{0x66, 0x0f, 0x22, 0xd8}, PML4, OTHER_PML4, PML4, 4, true},
    /* another CPU has changed it since the exit: it runs again */
    {{0, 0, 0, 0}, OTHER_PML4, OTHER_PML4, PML4, 0, false},
};

static void known_code_runs(uint32_t entry)
{
    if (entry != 0) {
        const struct cr3_exit *before = &cr3_exits[entry - 1];

        assert_int_equal(dispatched, before->dispatched);
        assert_int_equal(svm.vmcb.rip, CODE + before->bytes);
        assert_int_equal(svm.shadow->paging.cr3, before->cr3);
        assert_int_equal(svm.vmcb.tlb_control != TLB_FLUSH_NOTHING, before->bytes != 0);
    }
    if (entry == CR3_EXITS) {
        leave();
        return;
    }
    dispatched = 0;
    svm.vmcb.event_injection = 0;
    svm.vmcb.rip = CODE;
    svm.vmcb.rflags = 0x2;
    memcpy(arena + CODE, cr3_exits[entry].code, sizeof(cr3_exits[entry].code));
    svm.vmcb.rax = cr3_exits[entry].rax;
    vcpu.gpr[GPR_RBX] = cr3_exits[entry].rbx;
    svm.vmcb.exit_code = SVM_EXIT_CR3_WRITE;
}

static void a_switch_that_is_known_is_what_its_bytes_say_now(void **state)
{
    (void)state;
    long_mode();
    cpu_runs = known_code_runs;
    svm_shadow_run(&svm, &vcpu, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_paging_the_cpu_has_it_and_the_guest_does_not_see_it, setup),
        cmocka_unit_test_setup(a_device_is_a_nested_page_fault, setup),
        cmocka_unit_test_setup(a_table_outside_ram_is_one_of_a_walk, setup),
        cmocka_unit_test_setup(a_fault_of_the_guests_has_its_own_error_code, setup),
        cmocka_unit_test_setup(an_instruction_that_runs_again_goes_the_short_way, setup),
        cmocka_unit_test_setup(an_event_whose_delivery_needs_a_page_is_injected_again, setup),
        cmocka_unit_test_setup(control_registers_are_the_guests_and_tables_follow_them, setup),
        cmocka_unit_test_setup(a_switch_that_is_known_is_what_its_bytes_say_now, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
