/* SPDX-License-Identifier: MIT */
/*
 * VMX's short ways do what the long way does: every exit is made twice from the same random state, by
 * vmx_handle_any_exit() and by vmx_handle_exit(), and the VMCS that would be entered next, the vCPU and the devices are
 * compared. The vendor's own files run here, with VMREAD and VMWRITE on a table, and RDTSC and what needs ring 0
 * replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/exit/dispatch.h"
#include "hv/host/cpu_timer.h"
#include "hv/vmx/insn.h"
#include "hv/x86/insn.h"

static void counted_dispatch(struct vcpu *vcpu, const struct vm_exit *exit);
static bool timer_ticks(struct cpu *cpu, struct vcpu *vcpu, uint64_t at);
static bool deadline_moved; /* which the long way leaves to the loop */
static bool fake_vmread(uint64_t field, uint64_t *value);
static uint64_t fake_vmread_sure(uint64_t field);
static bool fake_vmwrite(uint64_t field, uint64_t value);
static uint64_t fake_rdtsc(void);
static void fake_xsetbv(uint32_t index, uint64_t value);

#define exit_dispatch counted_dispatch
#define cpu_this() ((struct cpu *)NULL)
#define cpu_timer_follow(cpu, vcpu) ((void)(cpu), (void)(vcpu), (void)(deadline_moved = true))
#define cpu_timer_follow_apic(cpu, vcpu) cpu_timer_follow(cpu, vcpu)
#define cpu_timer_tick(cpu, vcpu, now) timer_ticks(cpu, vcpu, now)
#define insn_interrupt_window() ((void)0)
#define insn_rdmsr(msr) ((void)(msr), 0ULL)
#define insn_rdmsr_safe(msr, value) ((void)(msr), *(value) = 0, false)
#define vmx_insn_vmread(field, value) fake_vmread(field, value)
#define vmx_insn_vmread_sure(field) fake_vmread_sure(field)
#define vmx_insn_vmwrite(field, value) fake_vmwrite(field, value)
#define vmx_insn_vmwrite_sure(field, value) ((void)fake_vmwrite(field, value))
#define vmx_insn_invvpid(type, descriptor) ((void)(type), (void)(descriptor), true)
#define vmx_insn_invept(type, descriptor) ((void)(type), (void)(descriptor), true)
#define insn_rdtsc() fake_rdtsc()
#define insn_read_cr2() 0ULL
#define insn_write_cr2(value) ((void)(value))
#define insn_read_dr6() 0ULL
#define insn_write_dr6(value) ((void)(value))
#define insn_wrmsr(msr, value) ((void)(msr), (void)(value))
#define insn_xsetbv(index, value) fake_xsetbv(index, value)

#include "tests/unit/quick_accepted.h"

#include "hv/vmx/apic.c"
#include "hv/vmx/events.c"
#include "hv/vmx/quick.c"
#include "hv/vmx/quirks.c"
#include "hv/vmx/run.c"
#include "hv/vmx/state.c"
#include "hv/vmx/timer.c"

#undef exit_dispatch
#include "tests/unit/quick_both_ways.h"

#define ROUNDS 70000u
#define FIELDS 0x8000u /* no encoding is above it. SDM 3D B */

struct vmx_features vmx_features;
static struct vmx_vcpu vmxs[COPIES];
static uint64_t vmcs[COPIES][FIELDS];
static uint32_t current; /* whose VMCS is loaded */
static uint32_t dispatched;
static bool window_waits;

static void counted_dispatch(struct vcpu *vcpu, const struct vm_exit *exit)
{
    dispatched++;
    exit_dispatch(vcpu, exit);
}

static bool fake_vmread(uint64_t field, uint64_t *value)
{
    *value = vmcs[current][field];
    return true;
}

static uint64_t fake_vmread_sure(uint64_t field)
{
    uint64_t value;

    (void)fake_vmread(field, &value);
    return value;
}

static bool fake_vmwrite(uint64_t field, uint64_t value)
{
    vmcs[current][field] = value;
    return true;
}

static uint64_t fake_rdtsc(void)
{
    return now;
}

static void fake_xsetbv(uint32_t index, uint64_t value)
{
    xcr0_loaded = index == 0 ? value : ~0ULL;
}

bool host_timer_is_deadline(void)
{
    return false;
}

void host_timer_arm(uint64_t deadline_tsc)
{
    (void)deadline_tsc;
}

uint32_t vmx_enter(struct vcpu *vcpu, uint32_t launched)
{
    (void)vcpu;
    return launched;
}

uint32_t vmx_enter_guarded(struct vcpu *vcpu, uint32_t launched)
{
    (void)vcpu;
    return launched;
}

void speculation_set_control(struct cpu *cpu, uint64_t guest_bits)
{
    (void)cpu;
    (void)guest_bits;
}

void speculation_barrier(void)
{
}

uint64_t vmx_msr_map(const struct vmx_vcpu *vmx)
{
    return vmx->secondary;
}

/* User code, one time in `users`; a code segment has the CPL, or it is conforming. */
static void random_privilege(uint64_t *fields, uint64_t users)
{
    bool user = one_in(users);

    fields[access_field(SEGMENT_SS)] = user ? 0xf3 : 0x93;
    fields[access_field(SEGMENT_CS)] = SEGMENT_L | (one_in(16) ? 0x9f : user ? 0xfb : 0x9b);
}

/* To itself, to no vCPU, or a number that is not offered. */
static const struct exiting *random_hypercall(uint64_t *fields)
{
    fields[VMCS_EXIT_REASON] = VMX_EXIT_VMCALL;
    random_privilege(fields, 8);
    vcpus[0].gpr[GPR_RAX] = one_in(3) ? random_word() : one_in(3) ? NO_HYPERCALL : 10;
    random_ipi();
    return &vmcall_forms[one_in(8)];
}

/* #UD of an instruction, now and then of an IRET that ended an NMI, or in a delivery. */
static const struct exiting *random_undefined(uint64_t *fields)
{
    fields[VMCS_EXIT_REASON] = VMX_EXIT_EXCEPTION_NMI;
    fields[VMCS_EXIT_EVENT] = UNDEFINED_EVENT | (one_in(8) ? VMX_EVENT_NMI_UNBLOCKED : 0);
    fields[VMCS_VECTORING_EVENT] = one_in(8) ? VMX_EVENT_VALID | 0x30 : 0;
    random_privilege(fields, 4);
    vcpus[0].gpr[GPR_RAX] = one_in(3) ? random_word() : 10;
    random_ipi();
    return &undefined_forms[random_word() % ARRAY_COUNT(undefined_forms)];
}

/* Mostly to itself: by the register in memory, or by x2APIC's. */
static const struct exiting *random_self_ipi(uint64_t *fields)
{
    uint64_t *gpr = vcpus[0].gpr;

    gpr[GPR_RAX] = random_command();
    if (in_memory) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_EPT_VIOLATION;
        fields[VMCS_EXIT_QUALIFICATION] = VMX_EPT_WRITE | VMX_EPT_LINEAR_VALID | VMX_EPT_FINAL;
        fields[VMCS_GUEST_PHYSICAL] = gpr[GPR_RBX] = 0xfee00300;
        return &access_forms[1];
    }
    fields[VMCS_EXIT_REASON] = VMX_EXIT_WRMSR;
    gpr[GPR_RCX] = one_in(2) ? 0x830 : 0x83f;
    gpr[GPR_RDX] = 0;
    gpr[GPR_RAX] &= gpr[GPR_RCX] == 0x83f ? 0xff : ~0ULL;
    return &wrmsr_forms[one_in(8)];
}

/* A register that the CPU has written to, which is told by an exit: all of it, some bytes, or one that it would not. */
static const struct exiting *random_apic_write(uint64_t *fields)
{
    static const uint64_t offsets[] = {0x20,  0x80,  0xb0,  0xb3,  0xd0,  0xe0,  0xf0,  0x280, 0x300,
                                       0x302, 0x320, 0x321, 0x350, 0x370, 0x380, 0x3e0, 0x3f0};
    fields[VMCS_EXIT_REASON] = VMX_EXIT_APIC_WRITE;
    fields[VMCS_EXIT_QUALIFICATION] = ONE_OF(offsets);
    fields[VMCS_VECTORING_EVENT] = one_in(8) ? VMX_EVENT_VALID | 0x30 : 0;
    return &hlt_forms[0];
}

static void write_page(uint64_t offset)
{
    uint32_t value = one_in(2) ? (uint32_t)random_word() : 0x40000u | (uint8_t)random_word();

    for (uint32_t i = 0; i < COPIES; i++) {
        pages[i].registers[offset / 4] = value;
    }
}

/* The CPU may serve the local APIC in memory: then accesses to it that exit are told by another exit. */
static void random_apic_access(uint64_t *fields)
{
    bool write = (fields[VMCS_EXIT_QUALIFICATION] & VMX_EPT_WRITE) != 0;

    if ((fields[VMCS_GUEST_PHYSICAL] & ~0xfffULL) == 0xfee00000 && in_memory && !one_in(4)) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_APIC_ACCESS;
        fields[VMCS_EXIT_QUALIFICATION] = (fields[VMCS_GUEST_PHYSICAL] & 0xfff) | (uint64_t)(one_in(16) ? 15 : write)
                                                                                      << VMX_APIC_TYPE_SHIFT;
    }
}

static const struct exiting *random_access(uint64_t *fields, uint64_t address)
{
    const struct exiting *form = &access_forms[random_word() % ARRAY_COUNT(access_forms)];

    fields[VMCS_EXIT_REASON] = VMX_EXIT_EPT_VIOLATION;
    fields[VMCS_EXIT_QUALIFICATION] = (form->code[0] == 0x8b || form->code[1] == 0x8b ? 1 : VMX_EPT_WRITE) |
                                      VMX_EPT_LINEAR_VALID | (one_in(16) ? 0 : VMX_EPT_FINAL);
    fields[VMCS_GUEST_PHYSICAL] = vcpus[0].gpr[GPR_RBX] = address;
    random_apic_access(fields);
    return form;
}

/* Whether it does, and delivers what is requested. */
static void serve_in_memory(uint64_t reason)
{
    bool serves = (reason == VMX_EXIT_APIC_ACCESS || reason == VMX_EXIT_APIC_WRITE || one_in(16)) && in_memory;
    bool delivers = one_in(2);

    for (uint32_t i = 0; i < COPIES && serves; i++) {
        current = i;
        write_status(&vcpus[i].lapic);
        write_eoi_exits(&vmxs[i], &vcpus[i].lapic);
        vmxs[i].secondary |= delivers ? SECONDARY_VIRTUAL_XAPIC : SECONDARY_APIC_ACCESSES;
        vcpus[i].cpu_delivers = delivers;
        if (delivers) {
            lapic_set_end_word(&vcpus[i].lapic, NULL);
            vmxs[i].tpr_threshold = VMX_THRESHOLD_UNUSED;
        }
        guests[i].apic_page.mapped = true;
    }
}

static const struct exiting *random_exit(uint64_t *fields)
{
    uint64_t kind = random_word() % 22;
    static const uint64_t read_offsets[] = {0x80, 0xa0, 0xb0, 0x300, 0x390, 0x3f0};
    const struct exiting *form;
    bool in = one_in(2);

    if (kind > 19) {
        return random_self_ipi(fields);
    }
    tick = kind == 17 && !one_in(4);
    if (kind == 18) {
        return random_apic_write(fields);
    } else if (kind == 19) {
        return random_access(fields, 0xfee00000 | ONE_OF(read_offsets));
    } else if (kind == 17) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_EXTERNAL_INTERRUPT;
        fields[VMCS_VECTORING_EVENT] = one_in(8) ? VMX_EVENT_VALID | 0x30 : 0;
        return &hlt_forms[0];
    } else if (kind == 16) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_HLT;
        fields[VMCS_VECTORING_EVENT] = one_in(8) ? VMX_EVENT_VALID | 0x30 : 0;
        return &hlt_forms[one_in(8)];
    } else if (kind == 15) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_XSETBV;
        random_privilege(fields, 8);
        vcpus[0].gpr[GPR_RCX] = one_in(8) ? random_word() : 0;
        vcpus[0].gpr[GPR_RAX] = random_value(0);
        return &xsetbv_forms[one_in(8)];
    } else if (kind == 14) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_WRMSR;
        vcpus[0].gpr[GPR_RCX] = one_in(2) ? MSR_PAT : MSR_APIC_BASE;
        vcpus[0].gpr[GPR_RAX] = random_value(vcpus[0].gpr[GPR_RCX]);
        return &wrmsr_forms[one_in(8)];
    } else if (kind == 13) {
        return random_undefined(fields);
    } else if (kind == 12) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_WBINVD;
        return &wbinvd_forms[one_in(8)];
    } else if (kind == 11) {
        return random_hypercall(fields);
    } else if (kind == 10) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_RDMSR;
        vcpus[0].gpr[GPR_RCX] = one_in(2) ? ONE_OF(some_msrs) : ONE_OF(more_msrs);
        return &rdmsr_forms[one_in(8)];
    } else if (kind >= 8) {
        return random_access(fields, ONE_OF(some_registers));
    } else if (kind < 2) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_CPUID;
        vcpus[0].leave_at = vcpus[1].leave_at = UINT64_MAX; /* which the short CPUID does not look at */
        vcpus[0].gpr[GPR_RAX] = (vcpus[0].gpr[GPR_RAX] & ~0xffffffffULL) | ONE_OF(some_leaves);
        return &cpuid_forms[one_in(8)];
    } else if (kind < 5) {
        fields[VMCS_EXIT_REASON] = VMX_EXIT_WRMSR;
        vcpus[0].gpr[GPR_RCX] = ONE_OF(some_msrs);
        vcpus[0].gpr[GPR_RDX] = one_in(4) ? random_word() : 0;
        vcpus[0].gpr[GPR_RAX] = one_in(3) ? 0 : 90 * MS + random_word() % (20 * MS);
        return &wrmsr_forms[one_in(8)];
    }
    form = in ? &in_forms[one_in(8) + one_in(8)] : &out_forms[one_in(8) + one_in(8)];
    fields[VMCS_EXIT_REASON] = VMX_EXIT_IO;
    fields[VMCS_EXIT_QUALIFICATION] = ONE_OF(some_ports) << VMX_IO_PORT_SHIFT | (in ? VMX_IO_IN : 0) |
                                      (uint64_t)(form->count == 2    ? 1
                                                 : form->code[0] & 1 ? 3
                                                                     : 0);
    return form;
}

/* A guest with interrupts off for which what waits was looked at before the entry: a window for it stands. Now and then
 * the guest has set them since, by the STI before the instruction. */
static void let_wait(void)
{
    bool sti = one_in(4);

    window_waits = one_in(2) && lapic_highest_deliverable(&vcpus[0].lapic) >= 0;
    for (current = 0; current < COPIES && window_waits; current++) {
        vmcs[current][VMCS_GUEST_RFLAGS] &= ~(uint64_t)RFLAGS_IF;
        vcpus[current].rflags = vmcs[current][VMCS_GUEST_RFLAGS];
        vcpus[current].requests = VCPU_EVENT;
        vmx_choose_event(&vmxs[current], &vcpus[current]);
        vmcs[current][VMCS_GUEST_RFLAGS] |= sti ? RFLAGS_IF : 0;
        vmcs[current][VMCS_GUEST_INTERRUPTIBILITY] |= sti ? INTERRUPTIBILITY_STI : 0;
    }
}

/* The CPU delivers: it has been told of what is requested and in service, and which ends exit, but not of what has come
 * since. */
static void virtual_apic(bool on)
{
    uint8_t vector = (uint8_t)(0x20 + random_word() % 0xe0);
    bool comes = one_in(2), level = one_in(2);

    for (current = 0; on && current < COPIES; current++) {
        struct lapic *lapic = &vcpus[current].lapic;

        vcpus[current].cpu_delivers = true;
        lapic_set_end_word(lapic, NULL);
        vmxs[current].tpr_threshold = 0;
        vmcs[current][VMCS_GUEST_INTERRUPT_STATUS] =
            highest(lapic, LAPIC_ISR) << STATUS_SVI_SHIFT | highest(lapic, LAPIC_IRR);
        write_eoi_exits(&vmxs[current], lapic);
        if (comes) {
            lapic_post(lapic, vector, level);
            lapic_merge_pending(lapic);
            vcpus[current].requests |= VCPU_EVENT;
        }
    }
}

/* A guest in 64-bit mode that has just exited. */
static void make_exit(void)
{
    uint64_t *fields = vmcs[0];
    const struct exiting *form;

    memset(vmxs, 0, sizeof(vmxs));
    memset(vmcs, 0, sizeof(vmcs));
    vmx_features.tpr_shadow = one_in(2);
    fields[VMCS_GUEST_CR0] = CR0_PE | CR0_PG | CR0_NE;
    fields[VMCS_GUEST_CR3] = PAGE_BYTES;
    fields[VMCS_GUEST_CR4] = CR4_PAE | CR4_VMXE | CR4_MCE | (one_in(2) ? CR4_OSXSAVE : 0);
    fields[VMCS_GUEST_EFER] = EFER_LMA | EFER_LME;
    fields[VMCS_GUEST_ES_ACCESS + SEGMENT_CS * VMCS_SEGMENT_STRIDE] = 0x9b | SEGMENT_L;
    fields[VMCS_GUEST_RIP] = CODE + random_word() % 0x800;
    fields[VMCS_GUEST_RFLAGS] =
        RFLAGS_FIXED | (one_in(2) ? RFLAGS_IF : 0) | (one_in(8) ? RFLAGS_TF : 0) | (one_in(8) ? RFLAGS_RF : 0);
    fields[VMCS_GUEST_RSP] = vcpus[0].gpr[GPR_RSP];
    fields[VMCS_GUEST_INTERRUPTIBILITY] = one_in(4) ? INTERRUPTIBILITY_STI : 0;
    form = random_exit(fields);
    fields[VMCS_EXIT_INSTRUCTION_LENGTH] = form->count;
    memcpy(vmcs[1], vmcs[0], sizeof(vmcs[1]));
    memcpy(vcpus[1].gpr, vcpus[0].gpr, sizeof(vcpus[1].gpr));
    for (uint32_t i = 0; i < COPIES; i++) {
        make_memory(i, form->code, form->count, fields[VMCS_GUEST_RIP] - CODE);
        vcpus[i].vendor = &vmxs[i];
        vmxs[i].read_system = vmx_read_system;
        vmxs[i].write_system = vmx_write_system;
        vmxs[i].flush_translations = vmx_flush_translations;
        vmxs[i].secondary = SECONDARY_EPT;
        vmxs[i].tpr_threshold = class_held_off();
    }
    virtual_apic(!in_memory && one_in(2));
    serve_in_memory(fields[VMCS_EXIT_REASON]);
    if (fields[VMCS_EXIT_REASON] == VMX_EXIT_EPT_VIOLATION || fields[VMCS_EXIT_REASON] == VMX_EXIT_APIC_ACCESS) {
        known_code(fields[VMCS_GUEST_RIP]);
    }
    let_wait();
    if (fields[VMCS_EXIT_REASON] == VMX_EXIT_APIC_WRITE) {
        write_page(fields[VMCS_EXIT_QUALIFICATION]);
    }
}

/* What the next entry would load. */
static void compare_fields(uint64_t round)
{
    for (uint32_t field = 0; field < FIELDS; field++) {
        if (vmcs[0][field] != vmcs[1][field]) {
            fail_msg("round %llu: reason %llu: field 0x%x of the VMCS: 0x%llx and 0x%llx", (unsigned long long)round,
                     (unsigned long long)vmcs[0][VMCS_EXIT_REASON], field, (unsigned long long)vmcs[0][field],
                     (unsigned long long)vmcs[1][field]);
        }
    }
}

#define RARE_MSR 0x10000u /* WRMSR of PAT or APIC_BASE */
#define WAITS 0x20000u    /* a port, while an interrupt waits for its window */

static uint64_t way_of(const uint64_t *fields)
{
    uint32_t msr = (uint32_t)vcpus[0].gpr[GPR_RCX];
    bool rare = fields[VMCS_EXIT_REASON] == VMX_EXIT_WRMSR && (msr == MSR_PAT || msr == MSR_APIC_BASE);

    if (fields[VMCS_EXIT_REASON] == VMX_EXIT_IO && window_waits) {
        return WAITS;
    }
    return rare ? RARE_MSR : fields[VMCS_EXIT_REASON];
}

/* What one way does at once and the other at the next entry: the end of a shadow. */
static void catch_up(void)
{
    for (current = 0; current < COPIES; current++) {
        if ((vcpus[current].requests & VCPU_ADVANCED) != 0) {
            vmx_end_shadow(&vmxs[current]);
            vcpus[current].requests &= ~(uint32_t)VCPU_ADVANCED;
        }
    }
    for (current = 0; current < COPIES && way_of(vmcs[0]) == RARE_MSR; current++) {
        vmx_read_system(&vcpus[current]); /* the long way writes all of the system state back */
        vmx_write_system(&vmxs[current], &vcpus[current]);
    }
}

static bool went_the_short_way(uint64_t round)
{
    uint64_t reason = vmcs[0][VMCS_EXIT_REASON];
    const char *differs;
    uint64_t deadline = vcpus[1].lapic.deadline;
    bool again[COPIES];
    uint64_t xcr0;
    bool quick;

    current = 0;
    xcr0_loaded = 0;
    long_way = true;
    again[0] = vmx_handle_any_exit(&vmxs[0], &vcpus[0]);
    if (reason == VMX_EXIT_EXTERNAL_INTERRUPT && loop_ticks(&vcpus[0])) {
        before_entry(&vmxs[0], &vcpus[0]);
        again[0] = true;
    }
    long_way = false;
    xcr0 = xcr0_loaded;
    xcr0_loaded = dispatched = 0;
    current = 1;
    again[1] = vmx_handle_exit(&vcpus[1]);
    if (reason == VMX_EXIT_EXTERNAL_INTERRUPT && !again[1] && loop_ticks(&vcpus[1])) {
        before_entry(&vmxs[1], &vcpus[1]);
        again[1] = true;
    }
    assert_int_equal(xcr0, xcr0_loaded);
    if (deadline_moved && vcpus[1].lapic.deadline == deadline) {
        deadline_moved = false; /* to where it was */
    }
    if (deadline_moved) {
        deadline_moved = false;
        vcpus[1].requests = VCPU_TIMER;
        again[1] = vmx_finish_quick(&vmxs[1], &vcpus[1]);
    }
    quick = dispatched == 0;
    catch_up();
    forget_needless_looks();
    differs = difference();
    if (differs != NULL) {
        fail_msg("round %llu: reason %llu (qualification 0x%llx), %s way: %s; requests 0x%x and 0x%x",
                 (unsigned long long)round, (unsigned long long)reason,
                 (unsigned long long)vmcs[0][VMCS_EXIT_QUALIFICATION], quick ? "short" : "long", differs,
                 vcpus[0].requests, vcpus[1].requests);
    }
    assert_int_equal(again[0], again[1]);
    if (again[0]) {
        compare_fields(round);
    } else {
        assert_int_equal(vcpus[0].rip, vcpus[1].rip);
        assert_int_equal(vcpus[0].rflags, vcpus[1].rflags);
        assert_int_equal(vcpus[0].gpr[GPR_RSP], vcpus[1].gpr[GPR_RSP]);
    }
    for (uint32_t n = 0; n < GPR_COUNT; n++) {
        if (n != GPR_RSP) { /* the VMCS has it */
            assert_int_equal(vcpus[0].gpr[n], vcpus[1].gpr[n]);
        }
    }
    return quick;
}

static const uint64_t short_ways[] = {
    VMX_EXIT_CPUID,         VMX_EXIT_WRMSR,  VMX_EXIT_EPT_VIOLATION, VMX_EXIT_RDMSR,      VMX_EXIT_IO,
    VMX_EXIT_VMCALL,        VMX_EXIT_WBINVD, VMX_EXIT_XSETBV,        VMX_EXIT_HLT,        RARE_MSR,
    VMX_EXIT_EXCEPTION_NMI, WAITS,           VMX_EXIT_APIC_ACCESS,   VMX_EXIT_APIC_WRITE, VMX_EXIT_EXTERNAL_INTERRUPT};

static size_t index_of(uint64_t way)
{
    size_t i = 0;

    while (short_ways[i] != way) {
        i++;
    }
    return i;
}

static void both_ways_give_the_same_on_random_states(void **state)
{
    uint64_t quick[ARRAY_COUNT(short_ways)] = {0};

    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint64_t way;

        make_copies(round);
        make_exit();
        way = way_of(vmcs[0]);
        quick[index_of(way)] += went_the_short_way(round);
    }
    for (size_t i = 0; i < ARRAY_COUNT(quick); i++) {
        assert_true(quick[i] > ROUNDS / 700); /* else this test compares the long way with itself */
    }
    print_message("accepted %u, by word %u, published %u\n", accepted_alone, accepted_by_word, published_alone);
    assert_true(accepted_alone > ROUNDS / 400 && accepted_by_word > ROUNDS / 2000 && published_alone > ROUNDS / 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_give_the_same_on_random_states),
    };

    return cmocka_run_group_tests_name("VMX's short ways", tests, NULL, NULL);
}
