/* SPDX-License-Identifier: MIT */
/*
 * SVM's short ways do what the long way does: every exit is made twice from the same random state, by
 * svm_handle_any_exit() and by svm_handle_exit(), and the VMCB that would be entered next, the vCPU and the devices are
 * compared. The vendor's own files run here, with RDTSC and what needs ring 0 replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/svm/insn.h"
#include "hv/x86/insn.h"

#include "hv/exit/dispatch.h"
#include "hv/host/cpu_timer.h"

static uint64_t fake_rdtsc(void);
static void fake_xsetbv(uint32_t index, uint64_t value);

static void counted_dispatch(struct vcpu *vcpu, const struct vm_exit *exit);
static bool timer_ticks(struct cpu *cpu, struct vcpu *vcpu, uint64_t at);
static bool deadline_moved; /* which the long way leaves to the loop */

#define exit_dispatch counted_dispatch
#define cpu_this() ((struct cpu *)NULL)
#define cpu_timer_follow(cpu, vcpu) ((void)(cpu), (void)(vcpu), (void)(deadline_moved = true))
#define cpu_timer_follow_apic(cpu, vcpu) cpu_timer_follow(cpu, vcpu)
#define cpu_timer_tick(cpu, vcpu, now) timer_ticks(cpu, vcpu, now)
#define insn_interrupt_window() ((void)0)
#define insn_cli() ((void)0)
#define insn_sti() ((void)0)
#define svm_insn_clgi() ((void)0)
#define svm_insn_stgi() ((void)0)
#define insn_rdtsc() fake_rdtsc()
#define insn_xsetbv(index, value) fake_xsetbv(index, value)
#define insn_xgetbv(index) ((uint64_t)(index) + 7) /* more than the guest has by XSETBV */
#define insn_write_cr2(value) ((void)(value))

#include "tests/unit/quick_accepted.h"

#include "hv/svm/instruction.c"
#include "hv/svm/quick.c"
#include "hv/svm/quirks.c"
#include "hv/svm/run.c"
#include "hv/svm/state.c"

#undef exit_dispatch
#include "tests/unit/quick_both_ways.h"

#define ROUNDS 200000u

struct svm_features svm_features;
static struct svm_vcpu svms[COPIES];
static bool window_waits;
static bool cr8_written; /* by the guest: V_TPR is not the local APIC's TPR yet */

static uint64_t fake_rdtsc(void)
{
    return now;
}

static void fake_xsetbv(uint32_t index, uint64_t value)
{
    xcr0_loaded = index == 0 ? value : ~0ULL;
}

static uint32_t dispatched;

static void counted_dispatch(struct vcpu *vcpu, const struct vm_exit *exit)
{
    dispatched++;
    exit_dispatch(vcpu, exit);
}

void cpu_kick(const struct cpu *cpu)
{
    (void)cpu; /* an exception and something behind it: the next entry comes right back */
}

void svm_enter(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb)
{
    (void)svm;
    (void)vcpu;
    (void)host_vmcb;
}

void svm_enter_guarded(struct svm_vcpu *svm, struct vcpu *vcpu, uint64_t host_vmcb)
{
    (void)svm;
    (void)vcpu;
    (void)host_vmcb;
}

void speculation_set_control(struct cpu *cpu, uint64_t guest_bits)
{
    (void)cpu;
    (void)guest_bits;
}

void speculation_barrier(void)
{
}

/* Mostly what a kernel writes to flush its translations; now and then another bit, which may not be allowed. */
static const struct exiting *random_cr4_access(struct vmcb *vmcb)
{
    const struct exiting *form = &cr4_forms[random_word() % ARRAY_COUNT(cr4_forms)];
    uint64_t value = vmcb->cr4 ^ CR4_PGE;

    if (one_in(2)) { /* which the guest has clear and the CPU set: hv/svm/state.c */
        svms[0].added_cr4 = CR4_MCE;
        vmcb->intercepts[INTERCEPT_CR] |= INTERCEPT_CR_CR4_READ;
        value ^= CR4_MCE;
    }
    value ^= one_in(4) ? 1ULL << random_word() % 24 : 0;
    vmcb->exit_code = form->code[1] == 0x20 ? SVM_EXIT_CR4_READ : SVM_EXIT_CR4_WRITE;
    vmcb->cpl = one_in(8) ? 3 : 0;
    if (form->code[form->count - 1] == 0xe0 && form->count == 3) {
        vmcb->rax = value;
    } else {
        vcpus[0].gpr[GPR_RBX] = value;
    }
    return form;
}

/* To itself, to no vCPU, or a number that is not offered. */
static const struct exiting *random_hypercall(struct vmcb *vmcb)
{
    vmcb->exit_code = SVM_EXIT_VMMCALL;
    vmcb->cpl = one_in(8) ? 3 : 0;
    vmcb->rax = one_in(3) ? random_word() : one_in(3) ? NO_HYPERCALL : 10;
    random_ipi();
    return &vmmcall_forms[one_in(8)];
}

/* #UD of an instruction, now and then while an IRET that ends an NMI runs, or is being stepped. */
static const struct exiting *random_undefined(struct vmcb *vmcb)
{
    vmcb->exit_code = SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_UD;
    vmcb->cpl = one_in(4) ? 3 : 0;
    vmcb->rax = one_in(3) ? random_word() : 10;
    random_ipi();
    if (one_in(8)) {
        svms[0].step.nmi_masked = true;
        svms[0].step.iret_runs = true;
        svms[0].step.rip = one_in(2) ? vmcb->rip : vmcb->rip - 2;
        svms[0].step.rsp = vmcb->rsp;
    }
    return &undefined_forms[random_word() % ARRAY_COUNT(undefined_forms)];
}

/* HLT, now and then in a delivery, or where quirks.c has something to look at. */
static const struct exiting *random_halt(struct vmcb *vmcb)
{
    vmcb->exit_code = SVM_EXIT_HLT;
    vmcb->exit_int_info = one_in(8) ? EVENT_VALID | 0x30 : 0;
    svms[0].quirk.shadow_rip = one_in(8) ? vmcb->rip : 0;
    return &hlt_forms[one_in(8)];
}

/* Mostly to itself: by the register in memory, or by x2APIC's. */
static const struct exiting *random_self_ipi(struct vmcb *vmcb)
{
    vmcb->rax = random_command();
    if (in_memory) {
        vmcb->exit_code = SVM_EXIT_NPF;
        vmcb->cs.attributes |= VMCB_CS_LONG;
        vmcb->exit_info1 = NPF_WRITE;
        vmcb->exit_info2 = vcpus[0].gpr[GPR_RBX] = 0xfee00300;
        return &access_forms[1];
    }
    vmcb->exit_code = SVM_EXIT_MSR;
    vmcb->exit_info1 = SVM_MSR_WRITE;
    vcpus[0].gpr[GPR_RCX] = one_in(2) ? 0x830 : 0x83f;
    vcpus[0].gpr[GPR_RDX] = 0;
    vmcb->rax &= vcpus[0].gpr[GPR_RCX] == 0x83f ? 0xff : ~0ULL;
    return &wrmsr_forms[one_in(8)];
}

static const struct exiting *random_exit(struct vmcb *vmcb)
{
    uint64_t kind = random_word() % 21;
    const struct exiting *form;
    bool in = one_in(2);

    if (kind > 18) {
        return random_self_ipi(vmcb);
    }
    tick = kind == 18 && !one_in(4);
    if (kind == 18) {
        vmcb->exit_code = SVM_EXIT_INTR;
        vmcb->exit_int_info = one_in(8) ? EVENT_VALID | 0x30 : 0;
        vmcb->int_control |= svms[0].quirk.armed != 0 && one_in(4) ? INT_CONTROL_V_IRQ : 0; /* it was not taken yet */
        return &hlt_forms[0];
    }
    if (kind == 17) {
        return random_halt(vmcb);
    }
    if (kind == 16) {
        vmcb->exit_code = SVM_EXIT_XSETBV;
        vmcb->cpl = one_in(8) ? 3 : 0;
        vcpus[0].gpr[GPR_RCX] = one_in(8) ? random_word() : 0;
        vmcb->rax = random_value(0);
        return &xsetbv_forms[one_in(8)];
    } else if (kind == 15) {
        vmcb->exit_code = SVM_EXIT_MSR;
        vmcb->exit_info1 = SVM_MSR_WRITE;
        vcpus[0].gpr[GPR_RCX] = one_in(2) ? MSR_PAT : MSR_APIC_BASE;
        vmcb->rax = random_value(vcpus[0].gpr[GPR_RCX]);
        return &wrmsr_forms[one_in(8)];
    } else if (kind == 14) {
        return random_undefined(vmcb);
    } else if (kind == 13) {
        vmcb->exit_code = SVM_EXIT_WBINVD;
        return &wbinvd_forms[one_in(8)];
    } else if (kind == 12) {
        return random_hypercall(vmcb);
    } else if (kind == 11) {
        return random_cr4_access(vmcb);
    } else if (kind == 10) {
        vmcb->exit_code = SVM_EXIT_MSR;
        vmcb->exit_info1 = 0;
        vcpus[0].gpr[GPR_RCX] = one_in(2) ? ONE_OF(some_msrs) : ONE_OF(more_msrs);
        return &rdmsr_forms[(vmcb->cs.attributes & VMCB_CS_LONG) != 0 && one_in(8)]; /* elsewhere 0x48 is DEC */
    } else if (kind >= 8) {
        form = &access_forms[random_word() % ARRAY_COUNT(access_forms)];
        vmcb->exit_code = SVM_EXIT_NPF;
        vmcb->cs.attributes |= VMCB_CS_LONG; /* the tables are for 64-bit mode */
        vmcb->exit_info1 =
            (form->code[0] == 0x8b || form->code[1] == 0x8b ? 0 : NPF_WRITE) | (one_in(16) ? NPF_TABLE_WALK : 0);
        vmcb->exit_info2 = vcpus[0].gpr[GPR_RBX] = ONE_OF(some_registers);
        return form;
    } else if (kind < 2) {
        vmcb->exit_code = SVM_EXIT_CPUID;
        vcpus[0].leave_at = vcpus[1].leave_at = UINT64_MAX; /* which the short CPUID does not look at */
        vmcb->rax = (vmcb->rax & ~0xffffffffULL) | ONE_OF(some_leaves);
        vcpus[0].gpr[GPR_RCX] = random_word() % 3;
        return &cpuid_forms[one_in(8)];
    } else if (kind < 5) {
        vmcb->exit_code = SVM_EXIT_MSR;
        vmcb->exit_info1 = SVM_MSR_WRITE;
        vcpus[0].gpr[GPR_RCX] = ONE_OF(some_msrs);
        vcpus[0].gpr[GPR_RDX] = one_in(4) ? random_word() : 0;
        vmcb->rax = one_in(3) ? 0 : 90 * MS + random_word() % (20 * MS);
        return &wrmsr_forms[one_in(8)];
    }
    form = in ? &in_forms[one_in(8) + one_in(8)] : &out_forms[one_in(8) + one_in(8)];
    vmcb->exit_code = SVM_EXIT_IOIO;
    vmcb->exit_info1 = ONE_OF(some_ports) << SVM_IOIO_PORT_SHIFT | (in ? SVM_IOIO_IN : 0) |
                       (uint64_t)(form->count == 2    ? 2
                                  : form->code[0] & 1 ? 4
                                                      : 1)
                           << SVM_IOIO_SIZE_SHIFT;
    vmcb->exit_info2 = vmcb->rip + form->count;
    return form;
}

/*
 * The guest may have raised CR8 since the last exit. Where something waits for its TPR that exits; where something
 * waits for an EOI only that looks at the TPR.
 */
static void write_cr8(struct vmcb *vmcb)
{
    int requested = lapic_highest_requested(&vcpus[0].lapic);
    bool eoi = vmcb->exit_code == SVM_EXIT_MSR && vcpus[0].gpr[GPR_RCX] == 0x80b;

    cr8_written = one_in(4) && (requested < 0 || (eoi && (uint32_t)requested >> 4 > lapic_cr8(&vcpus[0].lapic)));
    vmcb->int_control |= cr8_written ? 0xf : 0;
}

/* A guest with interrupts off for which what waits was looked at before the entry: a window for it stands. Now and then
 * the guest has set them since, by the STI before the instruction. */
static void let_wait(void)
{
    bool sti = one_in(4);

    window_waits = one_in(2) && !cr8_written && lapic_highest_deliverable(&vcpus[0].lapic) >= 0;
    for (uint32_t i = 0; i < COPIES && window_waits; i++) {
        svms[i].vmcb.rflags &= ~RFLAGS_IF;
        vcpus[i].rflags = svms[i].vmcb.rflags;
        vcpus[i].requests = VCPU_EVENT;
        svm_choose_event(&svms[i], &vcpus[i]);
        svms[i].vmcb.rflags |= sti ? RFLAGS_IF : 0;
        svms[i].vmcb.int_state |= sti ? INT_STATE_SHADOW : 0;
    }
}

/* A guest in 64-bit mode that has just exited. */
static void make_exit(void)
{
    struct vmcb *vmcb = &svms[0].vmcb;
    const struct exiting *form;

    memset(svms, 0, sizeof(svms));
    host.quirks.xsetbv_unseen = one_in(2);
    host.quirks.double_injection = host.quirks.xsetbv_unseen && one_in(2);
    svms[0].quirk.armed = host.quirks.double_injection && one_in(2) ? SVM_ARMED_VIRTUAL_INTERRUPT : 0;
    svm_features.vmcb_clean = one_in(2);
    vmcb->efer = EFER_LMA | EFER_LME | EFER_SVME;
    vmcb->cr0 = CR0_PE | CR0_PG;
    vmcb->cr3 = PAGE_BYTES;
    vmcb->cr4 = CR4_PAE | CR4_MCE | (one_in(2) ? CR4_OSXSAVE : 0);
    vmcb->cs.attributes = (uint16_t)(0x9b | (one_in(8) ? 0 : VMCB_CS_LONG));
    vmcb->rip = CODE + random_word() % 0x800;
    vmcb->rflags =
        RFLAGS_FIXED | (one_in(2) ? RFLAGS_IF : 0) | (one_in(8) ? RFLAGS_TF : 0) | (one_in(8) ? RFLAGS_RF : 0);
    vmcb->rsp = vcpus[0].gpr[GPR_RSP];
    vmcb->rax = vcpus[0].gpr[GPR_RAX];
    vmcb->int_state = one_in(4) ? INT_STATE_SHADOW : 0;
    vmcb->int_control =
        INT_CONTROL_V_MASKING | lapic_cr8(&vcpus[0].lapic) |
        (svms[0].quirk.armed != 0 ? INT_CONTROL_V_IGNORE_TPR | 0x33ULL << INT_CONTROL_V_VECTOR_SHIFT : 0);
    vmcb->clean = (uint32_t)random_word() & (svm_features.vmcb_clean ? CLEAN_ALL : 0);
    vmcb->tlb_control = one_in(2) ? TLB_FLUSH_EVERYTHING : TLB_FLUSH_NOTHING;
    vmcb->intercepts[INTERCEPT_CR] = class_held_off() != 0 ? INTERCEPT_CR_CR8_WRITE : 0;
    form = random_exit(vmcb);
    vmcb->next_rip = one_in(2) && vmcb->exit_code != SVM_EXIT_NPF && !svm_exit_is_cr_access(vmcb->exit_code)
                         ? vmcb->rip + form->count
                         : 0;
    write_cr8(vmcb);
    memcpy(&svms[1], &svms[0], sizeof(svms[1]));
    memcpy(vcpus[1].gpr, vcpus[0].gpr, sizeof(vcpus[1].gpr));
    for (uint32_t i = 0; i < COPIES; i++) {
        make_memory(i, form->code, form->count, vmcb->rip - CODE);
        vcpus[i].vendor = &svms[i];
        vcpus[i].xcr0 = 1;
        svms[i].repairs = host.quirks.xsetbv_unseen;
    }
    if (vmcb->exit_code == SVM_EXIT_NPF) {
        known_code(vmcb->rip);
    }
    let_wait();
}

/* Without V_IRQ its priority and vector mean nothing. APM 2 15.21.4. */
static void forget_taken(struct vmcb *vmcb)
{
    if ((vmcb->int_control & INT_CONTROL_V_IRQ) == 0) {
        vmcb->int_control &= ~(INT_CONTROL_V_VECTOR | INT_CONTROL_V_IGNORE_TPR);
    }
}

/* What the next VMRUN would load. Clean bits are about what was changed on the way, which was not the same. */
static void compare_vmcbs(uint64_t round)
{
    struct vmcb *a = &svms[0].vmcb, *b = &svms[1].vmcb;

    a->clean = b->clean = 0;
    forget_taken(a);
    forget_taken(b);
    if (memcmp(a, b, sizeof(*a)) != 0) {
        for (size_t at = 0; at < sizeof(*a); at += 8) {
            if (memcmp((uint8_t *)a + at, (uint8_t *)b + at, 8) != 0) {
                fail_msg("round %llu: exit 0x%llx: the VMCBs differ at 0x%zx", (unsigned long long)round,
                         (unsigned long long)a->exit_code, at);
            }
        }
    }
}

static bool writes_pat(const struct vmcb *vmcb)
{
    return vmcb->exit_code == SVM_EXIT_MSR && vmcb->exit_info1 == SVM_MSR_WRITE &&
           (uint32_t)vcpus[0].gpr[GPR_RCX] == MSR_PAT;
}

/* What the CPU may have kept since the last entry and has to load again now. APM 2 15.15.3 "VMCB Clean Field". */
static void what_has_changed_is_not_clean(const struct vmcb *before, const struct vmcb *after, uint64_t round)
{
    uint32_t changed =
        (before->int_control != after->int_control ? CLEAN_INT_CONTROL : 0) |
        (before->cr4 != after->cr4 || before->cr0 != after->cr0 ? CLEAN_CR : 0) |
        (before->pat != after->pat ? CLEAN_NESTED : 0) |
        (memcmp(before->intercepts, after->intercepts, sizeof(after->intercepts)) != 0 ? CLEAN_INTERCEPTS : 0);

    if ((changed & after->clean) != 0) {
        fail_msg("round %llu: exit 0x%llx: changed and clean: 0x%x", (unsigned long long)round,
                 (unsigned long long)before->exit_code, changed & after->clean);
    }
}

/* What one way does at once and the other at the next entry or exit: the end of a shadow, the TPR. */
static void catch_up(void)
{
    for (uint32_t i = 0; i < COPIES; i++) {
        if ((vcpus[i].requests & VCPU_ADVANCED) != 0) {
            svm_end_shadow(&svms[i]);
            vcpus[i].requests &= ~(uint32_t)VCPU_ADVANCED;
        }
        if (cr8_written) {
            lapic_cr8_write(&vcpus[i].lapic, svms[i].vmcb.int_control & INT_CONTROL_V_TPR);
            vcpus[i].requests &= ~(uint32_t)VCPU_EVENT;
        }
    }
    for (uint32_t i = 0; i < COPIES && writes_pat(&svms[0].vmcb); i++) {
        svm_read_system(&vcpus[i]); /* the long way writes all of the system state back */
        svm_write_system(&svms[i], &vcpus[i]);
    }
}

static bool went_the_short_way(uint64_t round)
{
    uint64_t exit_code = svms[0].vmcb.exit_code;
    const char *differs;
    uint64_t deadline = vcpus[1].lapic.deadline;
    bool again[COPIES];
    static struct vmcb before;
    uint64_t xcr0;
    bool quick;

    memcpy(&before, &svms[0].vmcb, sizeof(before));
    xcr0_loaded = 0;
    long_way = true;
    again[0] = svm_handle_any_exit(&svms[0], &vcpus[0]);
    if (exit_code == SVM_EXIT_INTR && loop_ticks(&vcpus[0])) {
        before_entry(&svms[0], &vcpus[0]);
        again[0] = true;
    }
    long_way = false;
    xcr0 = xcr0_loaded;
    xcr0_loaded = dispatched = 0;
    again[1] = svm_handle_exit(&svms[1], &vcpus[1]);
    if (exit_code == SVM_EXIT_INTR && !again[1] && loop_ticks(&vcpus[1])) {
        before_entry(&svms[1], &vcpus[1]);
        again[1] = true;
    }
    assert_int_equal(xcr0, xcr0_loaded);
    if (deadline_moved && vcpus[1].lapic.deadline == deadline) {
        deadline_moved = false; /* to where it was */
    }
    if (deadline_moved) {
        deadline_moved = false;
        vcpus[1].requests = VCPU_TIMER;
        again[1] = svm_finish_quick(&svms[1], &vcpus[1]);
    }
    quick = dispatched == 0;
    what_has_changed_is_not_clean(&before, &svms[0].vmcb, round);
    what_has_changed_is_not_clean(&before, &svms[1].vmcb, round);
    catch_up();
    forget_needless_looks();
    assert_int_equal(again[0], again[1]);
    differs = difference();
    if (differs != NULL) {
        fail_msg("round %llu: exit 0x%llx (words 0x%llx), %s way: %s; requests 0x%x and 0x%x",
                 (unsigned long long)round, (unsigned long long)exit_code, (unsigned long long)svms[0].vmcb.exit_info1,
                 quick ? "short" : "long", differs, vcpus[0].requests, vcpus[1].requests);
    }
    assert_memory_equal(&svms[0].step, &svms[1].step, sizeof(svms[0].step));
    if (again[0]) {
        compare_vmcbs(round);
    } else {
        assert_int_equal(vcpus[0].rip, vcpus[1].rip);
        assert_int_equal(vcpus[0].rflags, vcpus[1].rflags);
        assert_int_equal(vcpus[0].gpr[GPR_RSP], vcpus[1].gpr[GPR_RSP]);
        assert_int_equal(vcpus[0].gpr[GPR_RAX], vcpus[1].gpr[GPR_RAX]);
        assert_int_equal(svms[0].vmcb.int_state, svms[1].vmcb.int_state);
    }
    for (uint32_t n = 0; n < GPR_COUNT; n++) {
        if (n != GPR_RAX && n != GPR_RSP) { /* these two are the VMCB's */
            assert_int_equal(vcpus[0].gpr[n], vcpus[1].gpr[n]);
        }
    }
    return quick;
}

#define READ_MSR 0x10000u  /* beside the exit code, which is the same for both */
#define WIDE_PORT 0x20000u /* two or four bytes at the PCI bus's ports */
#define RARE_MSR 0x40000u  /* a write of PAT or APIC_BASE */
#define WAITS 0x80000u     /* a port, while an interrupt waits for its window */
static const uint64_t short_ways[] = {SVM_EXIT_CPUID,
                                      SVM_EXIT_MSR,
                                      SVM_EXIT_MSR | READ_MSR,
                                      SVM_EXIT_NPF,
                                      SVM_EXIT_IOIO,
                                      SVM_EXIT_CR4_WRITE,
                                      SVM_EXIT_IOIO | WIDE_PORT,
                                      SVM_EXIT_CR4_READ,
                                      SVM_EXIT_VMMCALL,
                                      SVM_EXIT_WBINVD,
                                      SVM_EXIT_XSETBV,
                                      SVM_EXIT_HLT,
                                      SVM_EXIT_MSR | RARE_MSR,
                                      SVM_EXIT_IOIO | WAITS,
                                      SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_UD,
                                      SVM_EXIT_INTR};

static size_t way_of(const struct vmcb *vmcb)
{
    uint64_t code = vmcb->exit_code | (vmcb->exit_code == SVM_EXIT_MSR && vmcb->exit_info1 == 0 ? READ_MSR : 0);
    uint64_t port = vmcb->exit_info1 >> SVM_IOIO_PORT_SHIFT;
    size_t i = 0;

    if (vmcb->exit_code == SVM_EXIT_IOIO && port >= 0xcf8 && port < 0xd00 &&
        (vmcb->exit_info1 & SVM_IOIO_SIZE) != SVM_IOIO_SIZE_8) {
        code |= WIDE_PORT;
    } else if (vmcb->exit_code == SVM_EXIT_IOIO && window_waits) {
        code |= WAITS;
    }
    if (code == SVM_EXIT_MSR &&
        ((uint32_t)vcpus[0].gpr[GPR_RCX] == MSR_PAT || (uint32_t)vcpus[0].gpr[GPR_RCX] == MSR_APIC_BASE)) {
        code |= RARE_MSR;
    }
    while (short_ways[i] != code) {
        i++;
    }
    return i;
}

static void both_ways_give_the_same_on_random_states(void **state)
{
    uint64_t quick[ARRAY_COUNT(short_ways)] = {0};

    (void)state;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        size_t way;

        make_copies(round);
        make_exit();
        way = way_of(&svms[0].vmcb);
        quick[way] += went_the_short_way(round);
    }
    for (size_t i = 0; i < ARRAY_COUNT(quick); i++) {
        assert_true(quick[i] > ROUNDS / 250); /* else this test compares the long way with itself */
    }
    print_message("accepted %u, by word %u\n", accepted_alone, accepted_by_word);
    assert_true(accepted_alone > ROUNDS / 400 && accepted_by_word > ROUNDS / 2000);
}

/* An exit of a control register's access, with these bytes at rip then. True: they were executed. */
static bool access_was_executed(uint64_t exit_code, const char *code, size_t count)
{
    make_copies(0);
    make_exit();
    make_memory(0, (const uint8_t *)code, count, 0x10);
    svms[0].vmcb.cs.attributes = 0x9b | VMCB_CS_LONG;
    svms[0].vmcb.cpl = 0;
    svms[0].vmcb.rip = CODE + 0x10;
    svms[0].vmcb.exit_code = exit_code;
    dispatched = 0;
    (void)svm_handle_any_exit(&svms[0], &vcpus[0]);
    return dispatched != 0;
}

/* The guest's other CPU may write there between the exit and our fetch: what the CPU has not checked is not
 * executed. */
static void a_changed_access_to_a_control_register_is_left_to_the_cpu(void **state)
{
    static const struct {
        const char *code;
        size_t count;
        uint64_t first, second; /* exits whose instruction it can be */
    } rows[] = {
        {"\x0f\x22\xc0", 3, SVM_EXIT_CR0_WRITE, SVM_EXIT_CR0_SELECTIVE}, /* MOV to CR0 */
        {"\x0f\x06", 2, SVM_EXIT_CR0_WRITE, SVM_EXIT_CR0_SELECTIVE},     /* CLTS */
        {"\x0f\x01\xf0", 3, SVM_EXIT_CR0_WRITE, SVM_EXIT_CR0_SELECTIVE}, /* LMSW */
        {"\x0f\x20\xc0", 3, SVM_EXIT_CR0_READ, SVM_EXIT_CR0_READ},
        {"\x0f\x01\xe0", 3, SVM_EXIT_CR0_READ, SVM_EXIT_CR0_READ}, /* SMSW */
        {"\x0f\x22\xe0", 3, SVM_EXIT_CR4_WRITE, SVM_EXIT_CR4_WRITE},
        {"\x0f\x20\xe0", 3, SVM_EXIT_CR4_READ, SVM_EXIT_CR4_READ},
        {"\x44\x0f\x22\xc0", 4, SVM_EXIT_CR8_WRITE, SVM_EXIT_CR8_WRITE},
        {"\x0f\x22\xd8", 3, UINT64_MAX, UINT64_MAX}, /* MOV to CR3, which never exits */
        {"\x6e", 1, UINT64_MAX, UINT64_MAX},         /* OUTSB */
        {"\xf4", 1, UINT64_MAX, UINT64_MAX},         /* HLT */
    };
    static const uint64_t exits[] = {SVM_EXIT_CR0_READ, SVM_EXIT_CR0_WRITE, SVM_EXIT_CR0_SELECTIVE,
                                     SVM_EXIT_CR4_READ, SVM_EXIT_CR4_WRITE, SVM_EXIT_CR8_WRITE};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (size_t j = 0; j < ARRAY_COUNT(exits); j++) {
            bool its = exits[j] == rows[i].first || exits[j] == rows[i].second;

            if (access_was_executed(exits[j], rows[i].code, rows[i].count) != its) {
                fail_msg("row %zu, exit 0x%llx: executed %d", i, (unsigned long long)exits[j], !its);
            }
            assert_true(its || (vcpus[0].rip == CODE + 0x10 && !vcpus[0].pending.valid));
            assert_true(guests[0].state == GUEST_RUNNING);
        }
    }
    assert_false(access_was_executed(SVM_EXIT_CR4_WRITE, "\x6e", 1));
    for (uint32_t i = 0; i < 64 && guests[0].state == GUEST_RUNNING; i++) {
        (void)svm_handle_any_exit(&svms[0], &vcpus[0]);
    }
    assert_int_equal(guests[0].failure_code, GUEST_CODE_UNDECODABLE); /* for ever is too long */
    assert_int_equal(dispatched, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_access_to_a_control_register_is_left_to_the_cpu),
        cmocka_unit_test(both_ways_give_the_same_on_random_states),
    };

    return cmocka_run_group_tests_name("SVM's short ways", tests, NULL, NULL);
}
