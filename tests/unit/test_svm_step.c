/* SPDX-License-Identifier: MIT */
/*
 * Stepping a guest on SVM (hv/svm/step.h), against a model: a small CPU with SVM's rules for shadows, traps, intercepts
 * and event injection runs random programs under the vendor's own run loop, while NMIs and interrupts arrive. The model
 * knows what the guest's own TF and shadow are, and whether an NMI is being handled, and fails where the guest could
 * see anything else:
 *
 *   - TF in flags that are pushed or stored is the guest's own, and each instruction that it steps is followed by its
 *   #DB;
 *   - an exception that an instruction raises is delivered before anything else runs, once;
 *   - no NMI and no interrupt comes in a shadow, and no NMI within another one;
 *   - an NMI that may come does so before many instructions have run, and every program comes to its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hv/exit/dispatch.h"
#include "hv/host/cpu.h"
#include "hv/svm/insn.h"
#include "hv/x86/insn.h"

static void model_dispatch(struct vcpu *vcpu, const struct vm_exit *exit);
static uint64_t fake_rdtsc(void);
static struct cpu *fake_cpu_this(void);

#define exit_dispatch model_dispatch
#define cpu_this fake_cpu_this
#define insn_rdtsc() fake_rdtsc()
#define insn_xsetbv(index, value) ((void)(index), (void)(value))
#define insn_xgetbv(index) ((uint64_t)(index))
#define insn_write_cr2(value) ((void)(value))
#define insn_read_dr0() 0ULL
#define insn_read_dr1() 0ULL
#define insn_read_dr2() 0ULL
#define insn_read_dr3() 0ULL

#include "hv/svm/instruction.c"
#include "hv/svm/quick.c"
#include "hv/svm/quirks.c"
#include "hv/svm/run.c"
#include "hv/svm/state.c"

#include "hv/core/event.h"
#include "hv/host/panic.h"
#include "hv/policy/cpuid_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAMS 20000u
#define MAIN 0x1000u       /* where the program is */
#define HANDLERS 0x100000u /* where handlers are: 0x100 apart, by vector */
#define BYTES 2u           /* of each instruction */
#define LENGTH 24u         /* instructions of a program */
#define HANDLER_LENGTH 8u
#define FRAMES 512u
#define FRAME_BYTES 40u
#define ENTRIES_MAX 3000u /* of a program: far more than one needs */
#define NMI_LATE_MAX 3u   /* instructions that may run before an NMI that may come */
#define VECTOR_TEST 0x51u
#define VECTOR_INTN 0x80u
#define MS 1000000ULL

enum kind {
    NOP,
    STI,
    CLI,
    MOV_SS,
    UD2,
    DIVIDE,  /* #DE */
    PROTECT, /* #GP */
    ABSENT,  /* #PF */
    CPUID_EXITS,
    DEVICE,        /* #NPF, emulated */
    DEVICE_FAULTS, /* #NPF, the emulation raises #GP */
    PUSHF,
    POPF,
    INTN,
    INT3,
    PAUSE,
    IRET,
    END,
    KINDS,
};

struct frame {
    uint64_t rip;
    uint64_t flags;
    uint8_t vector;
};

/* The CPU's state beside the VMCB, and what is true for the guest. */
static struct {
    enum kind code[LENGTH + 1];
    enum kind handlers[256][HANDLER_LENGTH];
    struct frame frames[FRAMES];
    uint32_t depth;
    uint64_t popf_flags;
    bool tf;     /* the guest's own */
    bool shadow; /* the next instruction is in one */
    uint64_t shadow_rip;
    bool nmi;          /* one is being handled */
    bool trap_due;     /* the guest stepped an instruction, and its #DB has not come */
    int exception_due; /* vector, or -1 */
    uint64_t exception_rip;
    bool kicked; /* a host interrupt waits */
    bool ended;
    uint32_t late; /* instructions since an NMI could have come */
    uint32_t executed, delivered_nmis, delivered_interrupts, traps, exceptions, raised;
    uint32_t freed;    /* IRETs that end an NMI without a step */
    bool loses_shadow; /* quirks.lost_shadow */
    bool hides_dr6;    /* quirks.dr6_not_saved */
} cpu;

static struct host_facts host;
static struct guest guest;
static struct vcpu vcpu;
static struct lapic_page page;
static struct svm_vcpu svm;
static struct cpu this_cpu;
static uint64_t seed;
struct svm_features svm_features = {.next_rip = true};

static uint64_t random_word(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * 0x2545f4914f6cdd1dULL;
}

static bool one_in(uint64_t n)
{
    return random_word() % n == 0;
}

static uint64_t fake_rdtsc(void)
{
    return 100 * MS;
}

static struct cpu *fake_cpu_this(void)
{
    return &this_cpu;
}

void cpu_kick(const struct cpu *which)
{
    (void)which;
    cpu.kicked = true;
}

void machine_check_in_guest(struct vcpu *which)
{
    (void)which;
    abort();
}

void svm_enter(struct svm_vcpu *which, struct vcpu *of, uint64_t host_vmcb)
{
    (void)which;
    (void)of;
    (void)host_vmcb;
}

void svm_enter_guarded(struct svm_vcpu *which, struct vcpu *of, uint64_t host_vmcb)
{
    (void)which;
    (void)of;
    (void)host_vmcb;
}

void speculation_set_control(struct cpu *of, uint64_t guest_bits)
{
    (void)of;
    (void)guest_bits;
}

void host_timer_arm(uint64_t deadline_tsc)
{
    (void)deadline_tsc;
}

void speculation_barrier(void)
{
}

static uint64_t round_number;

#define PROMISE(condition)                                                                      \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            fail_msg("program %llu, rip 0x%llx: " #condition, (unsigned long long)round_number, \
                     (unsigned long long)svm.vmcb.rip);                                         \
        }                                                                                       \
    } while (0)

/* --- The CPU --- */

static enum kind fetch(uint64_t rip)
{
    if (rip >= HANDLERS) {
        return cpu.handlers[(rip - HANDLERS) / 0x100][(rip % 0x100) / BYTES];
    }
    return cpu.code[(rip - MAIN) / BYTES];
}

static bool is_exception(uint8_t vector)
{
    return vector < 32 && vector != EXCEPTION_NMI;
}

static bool uses_the_stack_flags(enum kind kind)
{
    return kind == PUSHF || kind == POPF || kind == IRET || kind == INTN || kind == INT3;
}

/* What every delivery must respect, and what it does. `rip` is what is pushed. */
static void deliver(struct vmcb *vmcb, uint8_t vector, uint64_t rip)
{
    bool held = cpu.shadow && cpu.shadow_rip == vmcb->rip && !uses_the_stack_flags(fetch(vmcb->rip));

    if (cpu.exception_due >= 0) {
        PROMISE(vector == (uint8_t)cpu.exception_due && rip == cpu.exception_rip);
        cpu.exception_due = -1;
        cpu.exceptions++;
    } else if (cpu.trap_due) {
        PROMISE(vector == EXCEPTION_DB);
        /* A POPF may have cleared TF, which is all there is then. */
        PROMISE((vmcb->dr6 & DR6_BS) != 0 || cpu.hides_dr6);
        cpu.trap_due = false;
        cpu.traps++;
    } else if (vector == EXCEPTION_NMI) {
        PROMISE(!cpu.nmi);
        PROMISE(!held);
        cpu.nmi = true;
        cpu.delivered_nmis++;
        cpu.late = 0;
    } else if (vector == VECTOR_TEST) {
        PROMISE(!held);
        PROMISE((vmcb->rflags & RFLAGS_IF) != 0);
        cpu.delivered_interrupts++;
        lapic_end_of_interrupt(&vcpu.lapic);
    } else {
        PROMISE(vector == VECTOR_INTN || vector == EXCEPTION_BP);
    }
    PROMISE(((vmcb->rflags & RFLAGS_TF) != 0) == cpu.tf);
    PROMISE(cpu.depth < FRAMES);
    cpu.frames[cpu.depth++] = (struct frame){rip, vmcb->rflags & ~RFLAGS_RF, vector};
    vmcb->rsp -= FRAME_BYTES;
    vmcb->rflags &= ~(RFLAGS_TF | RFLAGS_IF | RFLAGS_RF);
    vmcb->rip = HANDLERS + vector * 0x100u;
    cpu.tf = false;
    cpu.shadow = false;
}

static bool leave(struct vmcb *vmcb, uint64_t code)
{
    vmcb->exit_code = code;
    vmcb->next_rip = vmcb->rip + BYTES;
    vmcb->int_state = cpu.shadow && cpu.shadow_rip == vmcb->rip ? INT_STATE_SHADOW : 0;
    return true;
}

static bool intercepts(const struct vmcb *vmcb, enum vmcb_intercept_vector vector, uint32_t bit)
{
    return (vmcb->intercepts[vector] & 1u << bit) != 0;
}

/* True where the guest is left. */
static bool raise_exception(struct vmcb *vmcb, uint8_t vector)
{
    cpu.exception_due = vector;
    cpu.exception_rip = vmcb->rip;
    cpu.raised++;
    if (intercepts(vmcb, INTERCEPT_EXCEPTION, vector)) {
        vmcb->exit_info1 = 0;
        vmcb->exit_info2 = 0x1234;
        return leave(vmcb, SVM_EXIT_EXCEPTION_FIRST + vector);
    }
    PROMISE(svm.step.reason == SVM_STEP_NONE);
    deliver(vmcb, vector, vmcb->rip);
    return false;
}

static uint8_t fault_of(enum kind kind)
{
    switch ((unsigned)kind) {
    case UD2:
        return EXCEPTION_UD;
    case DIVIDE:
        return EXCEPTION_DE;
    case PROTECT:
        return EXCEPTION_GP;
    case ABSENT:
        return EXCEPTION_PF;
    default:
        return 0xff;
    }
}

/* Exits before the instruction runs. 0: none. */
static uint64_t exit_of(const struct vmcb *vmcb, enum kind kind)
{
    switch ((unsigned)kind) {
    case CPUID_EXITS:
        return SVM_EXIT_CPUID;
    case DEVICE:
    case DEVICE_FAULTS:
        return SVM_EXIT_NPF;
    case END:
        return SVM_EXIT_HLT;
    case PUSHF:
        return intercepts(vmcb, INTERCEPT_MISC1, MISC1_PUSHF) ? SVM_EXIT_PUSHF : 0;
    case POPF:
        return intercepts(vmcb, INTERCEPT_MISC1, MISC1_POPF) ? SVM_EXIT_POPF : 0;
    case IRET:
        return intercepts(vmcb, INTERCEPT_MISC1, MISC1_IRET) ? SVM_EXIT_IRET : 0;
    case INTN:
        return intercepts(vmcb, INTERCEPT_MISC1, MISC1_INTN) ? SVM_EXIT_INTN : 0;
    case INT3:
        return intercepts(vmcb, INTERCEPT_EXCEPTION, EXCEPTION_BP) ? SVM_EXIT_EXCEPTION_FIRST + EXCEPTION_BP : 0;
    default:
        return 0;
    }
}

/* Handlers of faults go on behind the instruction. */
static void do_iret(struct vmcb *vmcb)
{
    struct frame frame;

    PROMISE(cpu.depth != 0);
    frame = cpu.frames[--cpu.depth];
    vmcb->rsp += FRAME_BYTES;
    vmcb->rip = frame.rip;
    if (is_exception(frame.vector) && frame.vector != EXCEPTION_DB && frame.vector != EXCEPTION_BP) {
        vmcb->rip += BYTES;
    }
    vmcb->rflags = frame.flags;
    cpu.tf = (frame.flags & RFLAGS_TF) != 0;
    cpu.nmi = false;
}

static void do_instruction(struct vmcb *vmcb, enum kind kind)
{
    bool shadow = kind == MOV_SS || (kind == STI && (vmcb->rflags & RFLAGS_IF) == 0);
    uint64_t next = vmcb->rip + BYTES;

    cpu.shadow = false;
    switch ((unsigned)kind) {
    case STI:
        vmcb->rflags |= RFLAGS_IF;
        break;
    case CLI:
        vmcb->rflags &= ~RFLAGS_IF;
        break;
    case PUSHF:
        PROMISE(((vmcb->rflags & RFLAGS_TF) != 0) == cpu.tf);
        break;
    case POPF:
        vmcb->rflags = cpu.popf_flags;
        cpu.tf = (cpu.popf_flags & RFLAGS_TF) != 0;
        cpu.popf_flags ^= RFLAGS_TF;
        break;
    case INTN:
        deliver(vmcb, VECTOR_INTN, next);
        return;
    case INT3:
        deliver(vmcb, EXCEPTION_BP, next);
        return;
    case IRET:
        do_iret(vmcb);
        return;
    default:
        break;
    }
    vmcb->rip = next;
    cpu.shadow = shadow;
    cpu.shadow_rip = next;
}

/* One instruction and its trap. True: the guest is left. */
static bool execute(struct vmcb *vmcb)
{
    enum kind kind = fetch(vmcb->rip);
    bool tf = (vmcb->rflags & RFLAGS_TF) != 0, guest_tf = cpu.tf, delivers = kind == INTN || kind == INT3;
    uint64_t exits = exit_of(vmcb, kind);

    PROMISE(cpu.exception_due < 0 && !cpu.trap_due);
    if (exits != 0) {
        return leave(vmcb, exits);
    }
    cpu.executed++;
    if (fault_of(kind) != 0xff) {
        return raise_exception(vmcb, fault_of(kind));
    }
    if (vcpu.nmi_pending != 0 && !cpu.nmi && !cpu.shadow) {
        PROMISE(++cpu.late <= NMI_LATE_MAX);
    }
    do_instruction(vmcb, kind);
    if (!tf || kind == MOV_SS || delivers) { /* MOV SS holds the trap back, a delivery clears TF */
        return false;
    }
    cpu.trap_due = guest_tf;
    vmcb->dr6 |= cpu.hides_dr6 ? 0 : DR6_BS;
    PROMISE(intercepts(vmcb, INTERCEPT_EXCEPTION, EXCEPTION_DB));
    return leave(vmcb, SVM_EXIT_DEBUG);
}

static bool at_a_boundary(struct vmcb *vmcb, bool knows_shadow)
{
    bool shadow = knows_shadow && cpu.shadow && cpu.shadow_rip == vmcb->rip;

    if (cpu.kicked || one_in(16)) {
        cpu.kicked = false;
        return leave(vmcb, SVM_EXIT_INTR);
    }
    if ((vmcb->int_control & INT_CONTROL_V_IRQ) != 0 && (vmcb->rflags & RFLAGS_IF) != 0 && !shadow) {
        PROMISE(intercepts(vmcb, INTERCEPT_MISC1, MISC1_VINTR));
        return leave(vmcb, SVM_EXIT_VINTR);
    }
    return false;
}

/* VMRUN to #VMEXIT. */
static void run_cpu(struct vmcb *vmcb)
{
    uint64_t event = vmcb->event_injection;
    bool knows_shadow = !cpu.loses_shadow;

    /* The quirk takes a loop that comes back to an instruction for a shadow that is there still. */
    PROMISE((vmcb->int_state & INT_STATE_SHADOW) == 0 || cpu.shadow || cpu.loses_shadow);
    vmcb->exit_int_info = 0;
    vmcb->event_injection = 0;
    if ((event & EVENT_VALID) != 0) {
        if (one_in(8)) { /* the delivery itself exits: it is to be injected again */
            vmcb->exit_int_info = event;
            leave(vmcb, SVM_EXIT_INTR);
            return;
        }
        deliver(vmcb, (uint8_t)event, vmcb->rip);
    }
    while (!at_a_boundary(vmcb, knows_shadow) && !execute(vmcb)) {
        knows_shadow = true;
    }
}

/* --- What the dispatch would do --- */

static void model_dispatch(struct vcpu *of, const struct vm_exit *exit)
{
    uint64_t rip = of->rip;
    bool tf = cpu.tf;

    switch ((unsigned)exit->kind) {
    case EXIT_HOST_INTERRUPT:
    case EXIT_INTERRUPT_WINDOW:
        of->requests |= VCPU_EVENT;
        break;
    case EXIT_CPUID:
        vcpu_advance(of, exit->length);
        break;
    case EXIT_NESTED_FAULT:
        if (fetch(rip) == DEVICE) {
            vcpu_advance(of, BYTES);
        } else {
            cpu.exception_due = EXCEPTION_GP;
            cpu.exception_rip = rip;
            cpu.raised++;
            vcpu_raise_error(of, EXCEPTION_GP, 0);
        }
        break;
    case EXIT_EXCEPTION:
        if (exit->exception.vector == EXCEPTION_PF) {
            vcpu_raise_page_fault(of, exit->exception.address, exit->exception.error);
        } else if (exit->exception.has_error) {
            vcpu_raise_error(of, (enum exception)exit->exception.vector, exit->exception.error);
        } else {
            vcpu_raise(of, (enum exception)exit->exception.vector);
        }
        break;
    case EXIT_HLT:
        cpu.ended = true;
        break;
    default:
        fail_msg("program %llu: exit 0x%x", (unsigned long long)round_number, exit->raw);
    }
    if (of->rip != rip) {
        cpu.executed++;
        cpu.shadow = false;
        cpu.trap_due = tf;
    }
}

/* --- Programs --- */

static enum kind random_kind(void)
{
    enum kind kind = (enum kind)(random_word() % IRET);

    return one_in(3) ? (one_in(2) ? STI : MOV_SS) : kind;
}

static void make_program(void)
{
    memset(&cpu, 0, sizeof(cpu));
    cpu.exception_due = -1;
    cpu.popf_flags = RFLAGS_FIXED | RFLAGS_IF | (one_in(4) ? RFLAGS_TF : 0);
    for (uint32_t i = 0; i < LENGTH; i++) {
        cpu.code[i] = random_kind();
    }
    cpu.code[LENGTH] = END;
    for (uint32_t vector = 0; vector < 256; vector++) {
        for (uint32_t i = 0; i < HANDLER_LENGTH; i++) {
            cpu.handlers[vector][i] = i + 1 == HANDLER_LENGTH || one_in(3) ? IRET : NOP;
        }
    }
    for (uint32_t i = 0; i < 2 && one_in(2); i++) { /* within an NMI's handler, too */
        cpu.handlers[EXCEPTION_NMI][i] = one_in(2) ? STI : UD2;
    }
}

static void make_vcpu(void)
{
    host.clock = clock_of(1000 * MS);
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&page, 0, sizeof(page));
    memset(&svm, 0, sizeof(svm));
    guest.host = &host;
    guest.vcpus = &vcpu;
    guest.vcpu_count = 1;
    vcpu.guest = &guest;
    vcpu.vendor = &svm;
    vcpu.index = 1; /* the 8259 is vCPU 0's */
    vcpu.rip = MAIN;
    vcpu.rflags = RFLAGS_FIXED;
    lapic_init(&vcpu.lapic, &page, 0, true, &host.clock);
    assert_true(lapic_base_write(&vcpu.lapic, vcpu.lapic.base_msr | 0x400, 46));
    assert_true(lapic_msr_write(&vcpu.lapic, 0x80f, 0x1ff, 0));
    svm_reset_state(&svm);
    svm.repairs = svm_quirks_any(&vcpu);
    svm.vmcb.intercepts[INTERCEPT_EXCEPTION] = 1u << EXCEPTION_DB | 1u << EXCEPTION_UD | 1u << EXCEPTION_AC;
    svm.vmcb.cr0 = CR0_PE;
    svm.vmcb.efer = EFER_SVME;
}

/* A second NMI while one waits in the guest's handler is remembered, a third is not. */
static void arrive(void)
{
    if (one_in(4)) {
        vcpu_note_nmi(&vcpu);
        vcpu.requests |= VCPU_EVENT;
    }
    if (one_in(8)) {
        lapic_post(&vcpu.lapic, VECTOR_TEST, false);
        vcpu.requests |= VCPU_EVENT;
    }
}

/* The IRET that ends an NMI has a short way, too. */
static bool handle_exit_either_way(void)
{
    bool iret = svm.vmcb.exit_code == SVM_EXIT_IRET;
    bool go_on = iret && one_in(2) ? svm_handle_exit(&svm, &vcpu) : svm_handle_any_exit(&svm, &vcpu);

    cpu.freed += iret && svm.step.iret_runs ? 1 : 0;
    return go_on;
}

static void run_program(uint64_t number)
{
    uint32_t entries = 0;

    round_number = number;
    seed = number * 0x9e3779b97f4a7c15ULL + 1;
    make_program();
    make_vcpu();
    cpu.loses_shadow = host.quirks.lost_shadow;
    cpu.hides_dr6 = host.quirks.dr6_not_saved;
    before_entry(&svm, &vcpu);
    while (!cpu.ended) {
        PROMISE(++entries < ENTRIES_MAX);
        run_cpu(&svm.vmcb);
        if (entries < ENTRIES_MAX / 2) {
            arrive();
        }
        PROMISE(handle_exit_either_way());
    }
    assert_int_equal(cpu.raised, cpu.exceptions);
    PROMISE(cpu.traps != 0 || (svm.vmcb.dr6 & DR6_BS) == 0);
}

static uint32_t totals[5];

static void run_programs(bool lost_shadow, bool dr6_not_saved)
{
    memset(totals, 0, sizeof(totals));
    memset(&host, 0, sizeof(host));
    host.quirks.lost_shadow = lost_shadow;
    host.quirks.dr6_not_saved = dr6_not_saved;
    for (uint64_t number = 0; number < PROGRAMS; number++) {
        run_program(number);
        totals[0] += cpu.delivered_nmis;
        totals[1] += cpu.delivered_interrupts;
        totals[2] += cpu.exceptions;
        totals[3] += cpu.traps;
        totals[4] += cpu.freed;
    }
    for (size_t i = 0; i < ARRAY_COUNT(totals); i++) {
        assert_true(totals[i] > PROGRAMS); /* else the programs do not try what this is about */
    }
}

static void a_step_shows_nothing_on_a_cpu(void **state)
{
    (void)state;
    run_programs(false, false);
}

static void a_step_shows_nothing_where_vmrun_loses_the_shadow(void **state)
{
    (void)state;
    run_programs(true, false);
}

static void a_step_shows_nothing_where_dr6_is_not_saved(void **state)
{
    (void)state;
    run_programs(false, true);
}

/* A task switch that exits: rip is still at it, and what the old task saves must not have the step's TF. */
static void a_task_switch_ends_a_step_and_saves_no_tf(void **state)
{
    static const enum svm_step_reason reasons[] = {SVM_STEP_SHADOW, SVM_STEP_IRET};

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        bool guest_tf = i >= 2;
        uint32_t exceptions;

        make_vcpu();
        exceptions = svm.vmcb.intercepts[INTERCEPT_EXCEPTION];
        vcpu.rflags |= guest_tf ? RFLAGS_TF : 0;
        if (reasons[i % 2] == SVM_STEP_IRET) {
            svm_step_nmi_begins(&svm.step, &svm.vmcb);
        }
        svm_step_begin(&svm.step, &svm.vmcb, &vcpu, reasons[i % 2]);
        assert_int_equal(svm.step.tf, RFLAGS_TF);
        vcpu.rflags |= svm.step.tf; /* as the exit finds them */
        svm.vmcb.exit_code = SVM_EXIT_TASK_SWITCH;
        assert_true(svm_step_concerns(&svm.step, &svm.vmcb));
        assert_false(svm_step_exit(&svm.step, &svm.vmcb, &vcpu));
        assert_int_equal((vcpu.rflags & RFLAGS_TF) != 0, guest_tf);
        assert_true(svm.step.reason == SVM_STEP_NONE && svm.step.tf == 0 && !svm.step.nmi_masked);
        assert_int_equal(svm.vmcb.intercepts[INTERCEPT_EXCEPTION], exceptions);
        assert_int_equal(svm.vmcb.intercepts[INTERCEPT_MISC1] & (1u << MISC1_IRET | 1u << MISC1_PUSHF), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_switch_ends_a_step_and_saves_no_tf),
        cmocka_unit_test(a_step_shows_nothing_on_a_cpu),
        cmocka_unit_test(a_step_shows_nothing_where_vmrun_loses_the_shadow),
        cmocka_unit_test(a_step_shows_nothing_where_dr6_is_not_saved),
    };

    return cmocka_run_group_tests_name("stepping on SVM", tests, NULL, NULL);
}
