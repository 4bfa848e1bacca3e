/* SPDX-License-Identifier: MIT */
/*
 * A guest without nested paging: what the CPU is entered with, what the guest's state is for the handlers, and what
 * becomes of its exits. The vendor's own files run here, with VMREAD and VMWRITE on a table; in the entry's place
 * stands a list of exits, with checks of what was entered.
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
#include "hv/vmx/insn.h"
#include "hv/x86/insn.h"

static void noted_dispatch(struct vcpu *vcpu, const struct vm_exit *exit);
static bool fake_vmread(uint64_t field, uint64_t *value);
static uint64_t fake_vmread_sure(uint64_t field);
static bool fake_vmwrite(uint64_t field, uint64_t value);
static bool fake_invvpid(void);

#define exit_dispatch noted_dispatch
#define vmx_insn_vmread(field, value) fake_vmread(field, value)
#define vmx_insn_vmread_sure(field) fake_vmread_sure(field)
#define vmx_insn_vmwrite(field, value) fake_vmwrite(field, value)
#define vmx_insn_vmwrite_sure(field, value) ((void)fake_vmwrite(field, value))
#define vmx_insn_invvpid(type, descriptor) ((void)(type), (void)(descriptor), fake_invvpid())
#define vmx_insn_invept(type, descriptor) ((void)(type), (void)(descriptor), false)
#define vmx_insn_nmi() abort()
#define cpu_this() ((struct cpu *)NULL)
#define cpu_timer_tick(cpu, vcpu, now) ((void)(cpu), (void)(vcpu), (void)(now), false)
#define insn_interrupt_window() ((void)0)
#define insn_rdmsr(msr) ((void)(msr), 0ULL)
#define insn_rdmsr_safe(msr, value) ((void)(msr), *(value) = 0, false)
#define insn_rdtsc() 1ULL
#define insn_read_cr2() 0ULL
static uint64_t cr2;
#define insn_write_cr2(value) ((void)(cr2 = (value)))
#define insn_read_dr6() 0ULL
#define insn_write_dr6(value) ((void)(value))
#define insn_wrmsr(msr, value) ((void)(msr), (void)(value))
#define insn_xsetbv(index, value) ((void)(index), (void)(value))

#include "hv/vmx/apic.c"
#include "hv/vmx/events.c"
#include "hv/vmx/quick.c"
#include "hv/vmx/quirks.c"
#include "hv/vmx/real_mode.c"
#include "hv/vmx/run.c"
#include "hv/vmx/shadow.c"
#include "hv/vmx/state.c"
#include "hv/vmx/timer.c"

#undef exit_dispatch

#include "tests/unit/shadow_harness.h"

#define FIELDS 0x8000u /* no encoding is above it. SDM 3D B */
#define GUEST_PAT 0x0406050400070106ULL
#define CR4_FIXED CR4_VMXE

static struct config_guest config;
static struct vmx_vcpu vmx;
static uint64_t vmcs[FIELDS];
static uint32_t flushed;
struct vmx_features vmx_features;

/* PDPTEs are fields of CPUs with EPT only. */
static bool fake_vmread(uint64_t field, uint64_t *value)
{
    *value = vmcs[field];
    return field < VMCS_GUEST_PDPTE0 || field > VMCS_GUEST_PDPTE0 + 6;
}

static uint64_t fake_vmread_sure(uint64_t field)
{
    uint64_t value;

    (void)fake_vmread(field, &value);
    return value;
}

static bool fake_vmwrite(uint64_t field, uint64_t value)
{
    vmcs[field] = value;
    return field < VMCS_GUEST_PDPTE0 || field > VMCS_GUEST_PDPTE0 + 6;
}

static bool fake_invvpid(void)
{
    flushed++;
    return true;
}

void hv_panic(uint32_t code, const char *format, ...)
{
    (void)code;
    fail_msg("%s", format);
    abort();
}

uint64_t vmx_msr_map(const struct vmx_vcpu *of)
{
    (void)of;
    return 0;
}

uint32_t vmx_enter(struct vcpu *to, uint32_t launched)
{
    (void)to;
    (void)launched;
    abort();
}

static uint32_t entries;

uint32_t vmx_shadow_enter(struct vcpu *to, uint32_t launched)
{
    (void)launched;
    do {
        vmcs[VMCS_VECTORING_EVENT] = 0;
        cpu_runs(entries++);
        flushed = 0;
    } while (vmx_shadow_handle_exit(to));
    return 0;
}

uint32_t vmx_shadow_enter_guarded(struct vcpu *to, uint32_t launched)
{
    (void)to;
    (void)launched;
    abort();
}

void vmx_shadow_exit_guarded(void)
{
    abort();
}

void vmx_shadow_exit(void)
{
    abort();
}

static void make_features(void)
{
    vmx_features = (struct vmx_features){
        .primary = PRIMARY_SECONDARY | PRIMARY_TPR_SHADOW,
        .secondary = SECONDARY_EPT | SECONDARY_UNRESTRICTED | SECONDARY_VPID | SECONDARY_INVPCID,
        .shadow_secondary = ~(SECONDARY_EPT | SECONDARY_UNRESTRICTED | SECONDARY_INVPCID),
        .tpr_shadow = true,
        .vpid = true,
        .caps = {.cr4_fixed0 = CR4_FIXED},
    };
}

/* 64-bit code in ring 0. */
static void long_mode(void)
{
    struct vcpu_system *system = &vcpu.system;

    system->cr0 = CR0_PG | CR0_PE | CR0_WP | CR0_ET;
    system->cr3 = PML4;
    system->cr4 = CR4_PAE;
    system->efer = EFER_LME | EFER_LMA;
    system->segments[SEGMENT_CS].access = 0xa09b;
    system->segments[SEGMENT_SS].access = 0xc093;
    vcpu.rip = CODE;
}

static uint64_t cpu_root(void)
{
    return vmcs[VMCS_GUEST_CR3];
}

static int setup(void **state)
{
    (void)state;
    memset(&vmx, 0, sizeof(vmx));
    memset(vmcs, 0, sizeof(vmcs));
    make_features();
    make_guest(&vmx, CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_MCE);
    facts.is_intel = true;
    guest.config = &config;
    vcpu.msrs.pat = GUEST_PAT;
    vcpu.rflags = RFLAGS_FIXED;
    vmx.primary = vmx_features.primary;
    vmx.secondary_plain = vmx_features.secondary;
    vmx_vcpu_shadow(&vcpu, arena + RAM_BYTES, TABLES, LEVEL_1G);
    vmx.secondary = vmx.secondary_plain;
    vmcs[VMCS_CR0_MASK] = CR0_NE | CR0_NW | CR0_CD;
    vmcs[VMCS_CR4_MASK] = ~guest.cr4_allowed | CR4_MCE;
    vmx_shadow_setup(&vmx);
    entries = 0;
    vcpu.requests = VCPU_SYSTEM_WRITE;
    long_mode();
    return 0;
}

static void run(void (*runs)(uint32_t entry))
{
    cpu_runs = runs;
    vmx_run(NULL, &vcpu);
}

static void page_fault(uint64_t address, uint64_t error)
{
    vmcs[VMCS_EXIT_REASON] = VMX_EXIT_EXCEPTION_NMI;
    vmcs[VMCS_EXIT_EVENT] =
        VMX_EVENT_VALID | VMX_EVENT_HAS_ERROR | EVENT_EXCEPTION << VMX_EVENT_TYPE_SHIFT | EXCEPTION_PF;
    vmcs[VMCS_EXIT_ERROR_CODE] = error;
    vmcs[VMCS_EXIT_QUALIFICATION] = address;
}

static void leave(void)
{
    vmcs[VMCS_EXIT_REASON] = VMX_EXIT_EXTERNAL_INTERRUPT;
}

/* What the guest reads of a register with a mask and a read shadow. */
static uint64_t seen_cr(enum vmcs_field actual, enum vmcs_field shadow, enum vmcs_field mask)
{
    return (vmcs[actual] & ~vmcs[mask]) | (vmcs[shadow] & vmcs[mask]);
}

/* --- no paging --- */

static void no_paging_runs(uint32_t entry)
{
    assert_int_equal(vmcs[VMCS_GUEST_CR0], CR0_PG | CR0_PE | CR0_WP | CR0_NE | CR0_ET);
    assert_int_equal(vmcs[VMCS_GUEST_CR4], CR4_MCE | CR4_PAE | CR4_FIXED);
    assert_int_equal(vmcs[VMCS_GUEST_EFER], EFER_NXE);
    assert_int_equal(vmcs[VMCS_GUEST_PAT], PAGE_TABLE_HOST_PAT);
    assert_int_equal(vmcs[VMCS_ENTRY_CONTROLS] & ENTRY_IA32E, 0);
    assert_int_equal(seen_cr(VMCS_GUEST_CR0, VMCS_CR0_SHADOW, VMCS_CR0_MASK), CR0_PE | CR0_ET);
    assert_int_equal(seen_cr(VMCS_GUEST_CR4, VMCS_CR4_SHADOW, VMCS_CR4_MASK), CR4_SMEP | CR4_SMAP);
    assert_true(vmcs[VMCS_GUEST_CR3] < 4 * GIB && is_aligned(vmcs[VMCS_GUEST_CR3], 32));
    switch (entry) {
    case 0:
        assert_int_equal(leaf_of(0x1234, 3), 0);
        page_fault(0x1234, PAGE_FAULT_WRITE);
        break;
    case 1:
        assert_int_equal(leaf_of(0x1234, 3) & ADDRESS_MASK, (uint64_t)(uintptr_t)arena);
        page_fault(RAM_BYTES + 0x10, PAGE_FAULT_WRITE);
        break;
    default:
        assert_int_equal(flushed, 0);
        leave();
        break;
    }
}

static void without_paging_the_cpu_has_it_and_the_guest_does_not_see_it(void **state)
{
    (void)state;
    vcpu.system.cr0 = CR0_PE | CR0_ET;
    vcpu.system.cr4 = CR4_SMEP | CR4_SMAP;
    vcpu.system.efer = EFER_LME;
    run(no_paging_runs);
    assert_int_equal(entries, 3);
    assert_int_equal(dispatched, 2); /* the device's, and the last one: a fill needs no handler */
    vmx.read_system(&vcpu);
    assert_int_equal(vcpu.system.cr0, CR0_PE | CR0_ET);
    assert_int_equal(vcpu.system.cr3, PML4);
    assert_int_equal(vcpu.system.cr4, CR4_SMEP | CR4_SMAP);
    assert_int_equal(vcpu.system.efer, EFER_LME);
    assert_int_equal(vcpu.msrs.pat, GUEST_PAT);
}

/* Without EPT there are no fields for the four pointers of PAE paging: fake_vmread() refuses them. */
static void pae_runs(uint32_t entry)
{
    (void)entry;
    assert_int_equal(vmcs[VMCS_GUEST_EFER], EFER_NXE);
    leave();
}

static void pae_paging_needs_no_fields_of_ept(void **state)
{
    (void)state;
    vcpu.system.efer = 0;
    run(pae_runs);
    vmx.read_system(&vcpu);
    assert_int_equal(vcpu.system.cr3, PML4);
}

/* --- real mode --- */

#define REAL_CS 0x2000u
#define REAL_SS 0x3000u
#define REAL_SP 0x100u
#define HANDLER_CS 0x1000u
#define HANDLER_IP 0x20u
#define TIMER_VECTOR 8u

static uint64_t field(enum vmcs_field of_es, uint32_t index)
{
    return vmcs[field_of(of_es, index)];
}

static void exception(uint32_t vector, uint32_t type)
{
    vmcs[VMCS_EXIT_REASON] = VMX_EXIT_EXCEPTION_NMI;
    vmcs[VMCS_EXIT_EVENT] = VMX_EVENT_VALID | type << VMX_EVENT_TYPE_SHIFT | vector;
    vmcs[VMCS_EXIT_QUALIFICATION] = 0;
}

static void put_real_code(const char *bytes, size_t count)
{
    memcpy(arena + (REAL_CS << 4), bytes, count);
}

static void real_mode(void)
{
    const uint16_t handler[] = {HANDLER_IP, HANDLER_CS};
    struct vcpu_system *system = &vcpu.system;

    memset(system, 0, sizeof(*system));
    system->cr0 = CR0_ET | CR0_AM;
    for (uint32_t i = 0; i <= SEGMENT_GS; i++) {
        system->segments[i] = (struct segment){.limit = 0xffff, .access = i == SEGMENT_CS ? 0x9b : 0x93};
    }
    system->segments[SEGMENT_CS].selector = REAL_CS;
    system->segments[SEGMENT_CS].base = REAL_CS << 4;
    system->segments[SEGMENT_SS].selector = REAL_SS;
    system->segments[SEGMENT_SS].base = REAL_SS << 4;
    system->segments[SEGMENT_TR] = (struct segment){.limit = 0xffff, .access = 0x8b};
    system->gdtr = (struct table_register){0x600, 0x17};
    system->idtr = (struct table_register){0, 0x3ff};
    vcpu.rip = 0;
    vcpu.gpr[GPR_RSP] = REAL_SP;
    memcpy(arena + TIMER_VECTOR * 4, handler, sizeof(handler));
    memcpy(arena + EXCEPTION_UD * 4, handler, sizeof(handler));
}

static void virtual_8086_runs(uint32_t entry)
{
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS] & (RFLAGS_VM | RFLAGS_IOPL), RFLAGS_VM);
    assert_int_equal(vmcs[VMCS_GUEST_CR0], CR0_PG | CR0_PE | CR0_WP | CR0_NE | CR0_ET);
    assert_int_equal(vmcs[VMCS_EXCEPTION_BITMAP], 0xffffffff);
    for (uint32_t i = 0; i <= SEGMENT_GS; i++) {
        assert_int_equal(field(VMCS_GUEST_ES_ACCESS, i), 0xf3);
        assert_int_equal(field(VMCS_GUEST_ES_LIMIT, i), 0xffff);
        assert_int_equal(field(VMCS_GUEST_ES_BASE, i), field(VMCS_GUEST_ES_SELECTOR, i) << 4);
    }
    assert_int_equal(field(VMCS_GUEST_ES_LIMIT, SEGMENT_TR), 0);
    switch (entry) {
    case 0:
        put_real_code("\xfb\x0f\x0b", 3); /* sti; ud2 */
        exception(EXCEPTION_GP, EVENT_EXCEPTION);
        break;
    case 1:
        assert_int_equal(vmcs[VMCS_GUEST_RFLAGS] & RFLAGS_IF, RFLAGS_IF);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], INTERRUPTIBILITY_STI);
        assert_int_equal(vmcs[VMCS_GUEST_RIP], 1);
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = 0;
        vmcs[VMCS_GUEST_ES_SELECTOR] = 0x4000; /* code loads it itself */
        vmcs[VMCS_GUEST_ES_BASE] = 0x40000;
        exception(EXCEPTION_UD, EVENT_EXCEPTION);
        break;
    case 2: /* delivered before it: an entry without an event takes what waits for the host first */
        assert_int_equal(vmcs[VMCS_ENTRY_EVENT], 0);
        assert_int_equal(vmcs[VMCS_GUEST_RIP], HANDLER_IP);
        leave();
        break;
    default:
        fail_msg("entered again");
    }
}

static void real_mode_is_virtual_8086_mode_where_it_can_be(void **state)
{
    const uint8_t *stack = arena + (REAL_SS << 4) + REAL_SP - 6;

    (void)state;
    real_mode();
    vcpu.rflags = RFLAGS_FIXED;
    run(virtual_8086_runs);
    assert_int_equal(entries, 3);
    vmx.read_system(&vcpu);
    assert_int_equal(vcpu.system.cr0, CR0_ET | CR0_AM);
    assert_int_equal(vcpu.system.cpl, 0);
    assert_int_equal(vcpu.system.segments[SEGMENT_ES].base, 0x40000);
    assert_int_equal(vcpu.system.segments[SEGMENT_ES].access, 0x93);
    assert_int_equal(vcpu.system.segments[SEGMENT_CS].access, 0x9b);
    assert_int_equal(vcpu.system.segments[SEGMENT_TR].limit, 0xffff);
    assert_int_equal(vcpu.system.gdtr.limit, 0x17);
    assert_int_equal(vcpu.rflags & RFLAGS_VM, 0);
    assert_int_equal(stack[0], 1);
    assert_int_equal(stack[3], REAL_CS >> 8);
}

/* What protected mode has left: a segment of 4 GiB, and one whose base is not its selector's. */
static void stepped_runs(uint32_t entry)
{
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS] & (RFLAGS_VM | RFLAGS_TF), RFLAGS_TF);
    assert_int_equal(vmcs[VMCS_GUEST_GDTR_LIMIT], 0);
    assert_int_equal(vmcs[VMCS_GUEST_IDTR_LIMIT], 0);
    assert_int_equal(field(VMCS_GUEST_ES_ACCESS, SEGMENT_CS), 0x9b);
    switch (entry) {
    case 0:
        assert_int_equal(field(VMCS_GUEST_ES_LIMIT, SEGMENT_FS), 0xffffffff);
        assert_int_equal(field(VMCS_GUEST_ES_ACCESS, SEGMENT_FS), 0x8093);
        assert_int_equal(field(VMCS_GUEST_ES_ACCESS, SEGMENT_GS), 0x93 | 0x60); /* RPL 3 */
        vmcs[VMCS_GUEST_GDTR_BASE] = 0x5000;                                    /* an LGDT */
        vmcs[VMCS_GUEST_GDTR_LIMIT] = 0x37;
        exception(EXCEPTION_DB, EVENT_EXCEPTION);
        break;
    case 1:
        assert_int_equal(dispatched, 0); /* the step is not the guest's */
        vmcs[VMCS_GUEST_ES_SELECTOR] = 0;
        vmcs[VMCS_GUEST_ES_ACCESS] = SEGMENT_UNUSABLE; /* mov es, 0 */
        exception(EXCEPTION_DB, EVENT_EXCEPTION);
        break;
    case 2:
        assert_int_equal(dispatched, 0);
        assert_int_equal(vmcs[VMCS_GUEST_ES_ACCESS], 0x93);
        vcpu.gpr[GPR_RAX] = 0x7777;
        put_real_code("\x8e\xe8\x9c", 3); /* mov gs, ax; pushf */
        exception(EXCEPTION_GP, EVENT_EXCEPTION);
        break;
    case 3:
        assert_int_equal(vmcs[VMCS_GUEST_RIP], 3); /* the PUSHF was not the CPU's */
        assert_int_equal(arena[(REAL_SS << 4) + REAL_SP - 1], 0);
        assert_int_equal(field(VMCS_GUEST_ES_BASE, SEGMENT_GS), 0x77770);
        leave();
        break;
    default:
        fail_msg("entered again");
    }
}

static void other_segments_are_stepped_through(void **state)
{
    (void)state;
    real_mode();
    vcpu.system.segments[SEGMENT_FS].limit = 0xffffffff;
    vcpu.system.segments[SEGMENT_FS].access = 0x8093;
    vcpu.system.segments[SEGMENT_GS].selector = 0x13;
    vcpu.system.segments[SEGMENT_ES].selector = 0x10;
    run(stepped_runs);
    assert_int_equal(entries, 4);
    vmx.read_system(&vcpu);
    assert_int_equal(vcpu.system.gdtr.base, 0x5000);
    assert_int_equal(vcpu.system.gdtr.limit, 0x37);
    assert_int_equal(vcpu.system.idtr.limit, 0x3ff);
    assert_int_equal(vcpu.system.segments[SEGMENT_ES].base, 0);
    assert_int_equal(vcpu.system.segments[SEGMENT_ES].limit, 0xffff);
    assert_int_equal(vcpu.rflags & RFLAGS_TF, 0);
}

/* Stepped code has no interrupt shadows: an interrupt that came after the STI would leave it in the HLT. */
static void stepped_code_that_waits_is_not_entered(void **state)
{
    (void)state;
    real_mode();
    vcpu.system.segments[SEGMENT_FS].limit = 0xffffffff;
    vcpu.rflags &= ~RFLAGS_IF;
    put_real_code("\xfb\xf4", 2);
    run(stepped_runs);
    assert_int_equal(entries, 0);
    assert_int_equal(noted.kind, EXIT_HLT);
    assert_int_equal(vcpu.rip, 2);
    assert_true((vcpu.rflags & RFLAGS_IF) != 0);
    assert_int_equal(dispatched, 1);
}

static void each_segment_decides_the_way(void **state)
{
    struct vcpu_system *system = &vcpu.system;

    (void)state;
    real_mode();
    assert_int_equal(vmx_real_way(system), VMX_WAY_VIRTUAL_8086);
    for (uint32_t i = 0; i <= SEGMENT_GS; i++) {
        real_mode();
        system->segments[i].base ^= 0x10;
        assert_int_equal(vmx_real_way(system), VMX_WAY_STEPPED);
        real_mode();
        system->segments[i].limit = 0xfffff;
        assert_int_equal(vmx_real_way(system), VMX_WAY_STEPPED);
        real_mode();
        system->segments[i].access |= SEGMENT_DB;
        assert_int_equal(vmx_real_way(system), VMX_WAY_STEPPED);
        real_mode();
        system->segments[i].access = SEGMENT_UNUSABLE;
        assert_int_equal(vmx_real_way(system), VMX_WAY_STEPPED);
        system->cr0 |= CR0_PE;
        assert_int_equal(vmx_real_way(system), VMX_WAY_PLAIN);
    }
}

static void just_protected_runs(uint32_t entry)
{
    (void)entry;
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS] & (RFLAGS_VM | RFLAGS_TF), 0);
    assert_int_equal(field(VMCS_GUEST_ES_SELECTOR, SEGMENT_SS), 0x7770);
    assert_int_equal(field(VMCS_GUEST_ES_ACCESS, SEGMENT_DS), 0xf3);
    assert_int_equal(vmcs[VMCS_GUEST_GDTR_LIMIT], 0x17);
    assert_int_equal(vmcs[VMCS_EXCEPTION_BITMAP], 1u << EXCEPTION_PF);
    leave();
}

/* The step after CR0.PE is set: selectors of real mode may have any RPL, which an entry to ring 0 does not allow. */
static void selectors_of_real_mode_do_in_protected_mode(void **state)
{
    (void)state;
    real_mode();
    vcpu.system.cr0 |= CR0_PE;
    vcpu.system.segments[SEGMENT_SS].selector = 0x7773;
    vcpu.system.segments[SEGMENT_DS].selector = 0x1001;
    run(just_protected_runs);
    assert_int_equal(entries, 1);
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

static void a_device_is_an_ept_violation(void **state)
{
    (void)state;
    run(device_runs);
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
    run(bad_table_runs);
    assert_int_equal(entries, 2);
}

/* What an entry injects where the fault is the guest's. */
static void check_injected(uint64_t address, uint32_t error)
{
    assert_int_equal(vmcs[VMCS_ENTRY_EVENT],
                     VMX_EVENT_VALID | VMX_EVENT_HAS_ERROR | EVENT_EXCEPTION << VMX_EVENT_TYPE_SHIFT | EXCEPTION_PF);
    assert_int_equal(vmcs[VMCS_ENTRY_ERROR_CODE], error);
    assert_int_equal(cr2, address);
    assert_int_equal(vmcs[VMCS_GUEST_RFLAGS] & RFLAGS_RF, RFLAGS_RF);
    assert_false(vcpu.pending.valid);
    vmcs[VMCS_ENTRY_EVENT] = 0;
}

/* It is injected at once, also where the instruction has RF because a fault's handler has returned to it; where
 * something else is to be done, too, it is raised. */
static void guest_fault_runs(uint32_t entry)
{
    if (entry != 0) {
        check_injected((4 + entry) * GIB, PAGE_FAULT_WRITE);
        vmcs[VMCS_GUEST_RFLAGS] = entry == 1 ? RFLAGS_RF : RFLAGS_TF;
    }
    assert_true(entry < 3);
    page_fault((5 + entry) * GIB, PAGE_FAULT_WRITE | PAGE_FAULT_PRESENT); /* ours are not the guest's matter */
}

static void a_fault_of_the_guests_has_its_own_error_code(void **state)
{
    (void)state;
    run(guest_fault_runs);
    assert_true(vcpu.pending.valid && vcpu.pending.has_error);
    assert_int_equal(vcpu.pending.vector, EXCEPTION_PF);
    assert_int_equal(vcpu.pending.error, PAGE_FAULT_WRITE);
    assert_int_equal(vcpu.system.cr2, 7 * GIB);
}

static void interrupted_runs(uint32_t entry)
{
    assert_int_equal(entry, 0);
    page_fault(0x1000, PAGE_FAULT_WRITE);
    vmcs[VMCS_VECTORING_EVENT] = VMX_EVENT_VALID | 0x42;
}

static void an_event_whose_delivery_needs_a_page_is_injected_again(void **state)
{
    (void)state;
    run(interrupted_runs);
    assert_int_equal(dispatched, 0);
    assert_true(vcpu.pending.valid && (vcpu.requests & VCPU_EVENT) != 0 && (vcpu.requests & VCPU_YIELD) != 0);
    assert_int_equal(vcpu.pending.vector, 0x42);
}

static void iret_runs(uint32_t entry)
{
    if (entry == 0) {
        page_fault(0x1000, PAGE_FAULT_WRITE);
        vmcs[VMCS_EXIT_EVENT] |= VMX_EVENT_NMI_UNBLOCKED;
    } else {
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], INTERRUPTIBILITY_NMI);
        leave();
    }
}

static void an_iret_that_runs_again_has_not_ended_an_nmi(void **state)
{
    (void)state;
    run(iret_runs);
    assert_int_equal(entries, 2);
}

/* With SMAP only the guest's AC decides, and a descriptor's access at CPL 3 is a supervisor's that AC does not help. */
static void smap_runs(uint32_t entry)
{
    assert_int_equal(vmcs[VMCS_GUEST_CR4] & CR4_SMAP, CR4_SMAP);
    switch (entry) {
    case 0:
        vmcs[VMCS_GUEST_RFLAGS] |= RFLAGS_AC;
        page_fault(0x1000, 0);
        break;
    case 1:
        assert_int_equal(dispatched, 0);
        vmcs[VMCS_GUEST_ES_ACCESS + SEGMENT_SS * VMCS_SEGMENT_STRIDE] = 0xc0f3;
        page_fault(0x1000, 0);
        break;
    default:
        check_injected(0x1000, PAGE_FAULT_PRESENT);
        leave();
        break;
    }
}

static void with_smap_the_guests_ac_and_cpl_are_looked_at(void **state)
{
    (void)state;
    vcpu.system.cr4 |= CR4_SMAP;
    run(smap_runs);
    assert_int_equal(entries, 3);
}

/* MOV to CR3 from RAX, MOV from CR3 to RBX. SDM 3C 28.2.1, table 28-3. */
#define RAX_TO_CR3 (TO_CR3 | (uint64_t)GPR_RAX << VMX_CR_GPR_SHIFT)
#define FROM_CR3 (3ULL | 1ULL << VMX_CR_TYPE_SHIFT | (uint64_t)GPR_RBX << VMX_CR_GPR_SHIFT)

static void instruction(uint32_t reason, uint64_t qualification)
{
    vmcs[VMCS_EXIT_REASON] = reason;
    vmcs[VMCS_EXIT_QUALIFICATION] = qualification;
    vmcs[VMCS_EXIT_INSTRUCTION_LENGTH] = 3;
}

static void code_runs(uint32_t entry)
{
    assert_int_equal(vmcs[VMCS_GUEST_EFER], EFER_LME | EFER_LMA | EFER_NXE);
    assert_int_equal(vmcs[VMCS_ENTRY_CONTROLS] & ENTRY_IA32E, ENTRY_IA32E);
    switch (entry) {
    case 0:
        page_fault(0x1000, PAGE_FAULT_WRITE);
        break;
    case 1:
        assert_int_equal(leaf_of(0x1000, 4) & ADDRESS_MASK, (uint64_t)(uintptr_t)arena);
        vcpu.gpr[GPR_RAX] = OTHER_PML4;
        instruction(VMX_EXIT_CR, RAX_TO_CR3);
        break;
    case 2:
        assert_int_equal(flushed, 1);
        assert_int_equal(vmcs[VMCS_GUEST_RIP], CODE + 3);
        assert_int_equal(leaf_of(0x1000, 4), 0);
        instruction(VMX_EXIT_CR, FROM_CR3);
        break;
    case 3:
        assert_int_equal(flushed, 0);
        assert_int_equal(vcpu.gpr[GPR_RBX], OTHER_PML4);
        page_fault(0x1000, 0);
        break;
    case 4:
        assert_int_not_equal(leaf_of(0x1000, 4), 0);
        instruction(VMX_EXIT_INVLPG, 0x1fff);
        break;
    case 5:
        assert_int_equal(vmcs[VMCS_GUEST_RIP], CODE + 9);
        assert_int_equal(leaf_of(0x1000, 4), 0);
        assert_int_equal(flushed, 1);
        vmcs[VMCS_GUEST_INTERRUPTIBILITY] = INTERRUPTIBILITY_STI; /* which an INVLPG ends */
        instruction(VMX_EXIT_INVLPG, 0x1fff);
        break;
    default:
        assert_int_equal(vmcs[VMCS_GUEST_RIP], CODE + 12);
        assert_int_equal(vmcs[VMCS_GUEST_INTERRUPTIBILITY], 0);
        vmcs[VMCS_GUEST_CR0] &= ~CR0_TS;
        leave();
        break;
    }
}

static void control_registers_are_the_guests_and_tables_follow_them(void **state)
{
    (void)state;
    vcpu.system.cr0 |= CR0_TS;
    run(code_runs);
    assert_int_equal(entries, 7);
    vmx.read_system(&vcpu);
    assert_int_equal(vcpu.system.cr0, CR0_PG | CR0_PE | CR0_WP | CR0_ET); /* the guest's CLTS is seen */
    assert_int_equal(vcpu.system.cr3, OTHER_PML4);
    assert_int_equal(vcpu.system.efer, EFER_LME | EFER_LMA);
}

static void the_cpu_is_asked_for_all_that_concerns_translations(void **state)
{
    const uint64_t cr4 = CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_LA57;
    const uint32_t primary = PRIMARY_INVLPG | PRIMARY_CR3_LOAD | PRIMARY_CR3_STORE;

    (void)state;
    assert_int_equal(vmcs[VMCS_PRIMARY_CONTROLS] & primary, primary);
    assert_int_equal(vmx.secondary_plain, SECONDARY_VPID);
    assert_int_equal(vmcs[VMCS_EXCEPTION_BITMAP], 1u << EXCEPTION_PF);
    assert_int_equal(vmcs[VMCS_CR0_MASK], CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_NW | CR0_CD | CR0_AM);
    assert_int_equal(vmcs[VMCS_CR4_MASK] & cr4, cr4);
    assert_int_equal(vmx.shadow->tables.largest, LEVEL_2M); /* CPUID offers no 1 GiB pages, whatever EPT has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_cpu_is_asked_for_all_that_concerns_translations, setup),
        cmocka_unit_test_setup(without_paging_the_cpu_has_it_and_the_guest_does_not_see_it, setup),
        cmocka_unit_test_setup(pae_paging_needs_no_fields_of_ept, setup),
        cmocka_unit_test_setup(real_mode_is_virtual_8086_mode_where_it_can_be, setup),
        cmocka_unit_test_setup(other_segments_are_stepped_through, setup),
        cmocka_unit_test_setup(stepped_code_that_waits_is_not_entered, setup),
        cmocka_unit_test_setup(each_segment_decides_the_way, setup),
        cmocka_unit_test_setup(selectors_of_real_mode_do_in_protected_mode, setup),
        cmocka_unit_test_setup(a_device_is_an_ept_violation, setup),
        cmocka_unit_test_setup(a_table_outside_ram_is_one_of_a_walk, setup),
        cmocka_unit_test_setup(a_fault_of_the_guests_has_its_own_error_code, setup),
        cmocka_unit_test_setup(an_event_whose_delivery_needs_a_page_is_injected_again, setup),
        cmocka_unit_test_setup(an_iret_that_runs_again_has_not_ended_an_nmi, setup),
        cmocka_unit_test_setup(with_smap_the_guests_ac_and_cpl_are_looked_at, setup),
        cmocka_unit_test_setup(control_registers_are_the_guests_and_tables_follow_them, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
