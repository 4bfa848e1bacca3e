/* SPDX-License-Identifier: MIT */
#include "hv/host/panic.h"

#include "hv/base/check.h"
#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/console/console.h"
#include "hv/core/guest.h"
#include "hv/host/cpu.h"
#include "hv/host/host_apic.h"
#include "hv/host/machine_check.h"
#include "hv/host/panic_state.h"
#include "hv/host/traps.h"
#include "hv/host/version.h"
#include "hv/report/crash_report.h"
#include "hv/report/unwind.h"

#define SENTENCE_MAX 320u
#define BACKTRACE_MAX 16u
#define STOP_WAIT_SPINS 1000000u
#define VECTOR_DF 8u
#define VECTOR_PF 14u
#define VECTOR_MC 18u
#define FAULT_FETCH (1ULL << 4) /* SDM 3A 4.7 */
#define GPR_RSP 4u              /* in struct unwind_context */

static struct unwind_image image;
static const struct cpu *panic_cpu;
static bool panic_nested;

void hv_panic_init(uint64_t image_start, uint64_t image_end)
{
    image.base = image_start;
    image.image = (struct span){(const uint8_t *)(uintptr_t)image_start, image_end - image_start};
}

/* What guests have printed and is not shown yet comes before the last lines: the result is the last one. */
static _Noreturn void end(void)
{
    console_flush();
    log_error("the machine is halted: reset it, and the next start keeps these lines in \\plinth\\last-boot.txt");
    log_line(LOG_INFO, "result failed");
    hv_panic_stop();
}

/* A CPU panics already. Where it is this one, its report has met a second fault: say so once, and end. */
static _Noreturn void end_nested(void)
{
    if (cpu_this() == panic_cpu && !panic_nested) {
        panic_nested = true;
        log_error("a second fault happened while the first was reported");
        end();
    }
    hv_panic_stop();
}

/* By an NMI each, and not by one to all: a CPU that was never started is in the firmware's code, whose tables are
 * free memory now, and an NMI there would reset the machine. They get a moment, so that their lines are not in
 * between. */
static void stop_others(void)
{
    bool sent = false;

    for (uint32_t i = 0; i < cpu_count; i++) {
        if (&cpus[i] != cpu_this() && cpu_is_ready(&cpus[i])) {
            host_apic_send_nmi(cpus[i].apic_id);
            sent = true;
        }
    }
    for (uint32_t i = 0; sent && i < STOP_WAIT_SPINS; i++) {
        insn_pause();
    }
}

/* The first to come stops all others and goes on. */
static void begin(void)
{
    insn_cli();
    if (!panic_state_enter()) {
        end_nested();
    }
    panic_cpu = cpu_this();
    console_panic_mode();
    stop_others();
    console_panic_screen();
}

/* The part of the stack that may be read from `rsp` on: of one of our stacks, or else up to the end of the page. */
static void bound_stack(uint64_t rsp)
{
    uint64_t start = rsp;
    uint64_t end_of_stack = align_down(rsp, PAGE_BYTES) + PAGE_BYTES;

    for (uint32_t i = 0; i < cpu_count; i++) {
        const struct cpu_stacks *stacks = &cpus[i].stacks;

        for (unsigned s = 0; s <= DESCRIPTOR_IST_COUNT; s++) {
            uint64_t top = s == 0 ? stacks->main_top : stacks->ist_top[s - 1];
            uint64_t bottom = top - (s == 0 ? CPU_STACK_BYTES : CPU_IST_BYTES);

            if (rsp < top && rsp >= bottom - PAGE_BYTES) {
                start = max_u64(rsp, bottom); /* the guard page below cannot be read */
                end_of_stack = top;
            }
        }
    }
    image.stack_base = start;
    image.stack = (struct span){(const uint8_t *)(uintptr_t)start, end_of_stack - start};
}

static void print_backtrace(struct unwind_context context)
{
    bound_stack(context.gpr[GPR_RSP]);
    log_error("backtrace (addresses relative to the image's start; see docs/host.md):");
    for (uint32_t i = 0; i < BACKTRACE_MAX; i++) {
        log_error("  %2u  +0x%06" PRIx64, i, context.rip - image.base);
        if (!unwind_step(&image, &context)) {
            break;
        }
    }
}

static void print_heading(uint32_t code, const char *sentence)
{
    log_error("panic P%04u on CPU %u, Plinth %s", code, cpu_this()->index, plinth_version);
    log_error("%s", sentence);
    log_error("what to do: %s", code_remedy(code));
}

_Noreturn void hv_panic(uint32_t code, const char *form, ...)
{
    char sentence[SENTENCE_MAX];
    struct unwind_context context;
    va_list list;

    begin();
    va_start(list, form);
    (void)format_list(sentence, sizeof(sentence), form, list);
    va_end(list);
    print_heading(code, sentence);
    unwind_capture(&context);
    print_backtrace(context);
    end();
}

_Noreturn void check_failed(const char *file, uint32_t line, const char *condition, uint64_t left, uint64_t right)
{
    hv_panic(PANIC_CHECK, "check failed at %s:%u: %s (left 0x%" PRIx64 ", right 0x%" PRIx64 ")", file, line, condition,
             left, right);
}

/* Lines of 80 characters: what a screen has at least. `rfl`: RFLAGS, `seg`: CS in the upper half and SS. */
static void print_three(const char *one, uint64_t first, const char *two, uint64_t second, const char *three,
                        uint64_t third)
{
    log_error("%s %016" PRIx64 "  %s %016" PRIx64 "  %s %016" PRIx64, one, first, two, second, three, third);
}

static void print_registers(const struct trap_frame *frame)
{
    print_three("rip", frame->rip, "rsp", frame->rsp, "rfl", frame->rflags);
    print_three("rax", frame->rax, "rbx", frame->rbx, "rcx", frame->rcx);
    print_three("rdx", frame->rdx, "rsi", frame->rsi, "rdi", frame->rdi);
    print_three("rbp", frame->rbp, "r8 ", frame->r8, "r9 ", frame->r9);
    print_three("r10", frame->r10, "r11", frame->r11, "r12", frame->r12);
    print_three("r13", frame->r13, "r14", frame->r14, "r15", frame->r15);
    print_three("cr0", insn_read_cr0(), "cr2", insn_read_cr2(), "cr3", insn_read_cr3());
    print_three("cr4", insn_read_cr4(), "err", frame->error, "seg", frame->cs << 32 | frame->ss);
}

static struct unwind_context context_of(const struct trap_frame *frame)
{
    return (struct unwind_context){
        .rip = frame->rip,
        .gpr = {frame->rax, frame->rcx, frame->rdx, frame->rbx, frame->rsp, frame->rbp, frame->rsi, frame->rdi,
                frame->r8, frame->r9, frame->r10, frame->r11, frame->r12, frame->r13, frame->r14, frame->r15},
    };
}

/* The guard page under this CPU's stack was met by the stack itself, and not by a wild pointer. */
static const char *stack_overflowed(uint64_t address, uint64_t rsp)
{
    const struct cpu_stacks *stacks = &cpu_this()->stacks;
    uint64_t bottom = stacks->main_top - CPU_STACK_BYTES;

    return stacks->main_top != 0 && address < bottom && address >= bottom - PAGE_BYTES && rsp < bottom + PAGE_BYTES
               ? "the CPU's stack has overflowed into its guard page"
               : NULL;
}

static uint32_t describe(const struct trap_frame *frame, char *sentence)
{
    const char *overflow = stack_overflowed(insn_read_cr2(), frame->rsp);
    char cause[SENTENCE_MAX / 2];

    if ((frame->vector == VECTOR_DF || frame->vector == VECTOR_PF) && (frame->error & FAULT_FETCH) == 0 &&
        overflow != NULL) {
        format_text(sentence, SENTENCE_MAX, "%s at +0x%" PRIx64 ": %s (address 0x%" PRIx64 ")",
                    trap_name(frame->vector), frame->rip - image.base, overflow, insn_read_cr2());
        return PANIC_STACK;
    }
    cause[0] = '\0';
    if (frame->vector == VECTOR_PF) {
        trap_describe_page_fault(cause, sizeof(cause), frame->error, insn_read_cr2());
    }
    format_text(sentence, SENTENCE_MAX, "%s in the hypervisor at +0x%" PRIx64 "%s%s", trap_name(frame->vector),
                frame->rip - image.base, cause[0] != '\0' ? ": " : "", cause);
    return frame->vector == VECTOR_MC ? PANIC_MACHINE_CHECK : PANIC_TRAP;
}

_Noreturn void hv_panic_machine_check(const struct vcpu *vcpu)
{
    char sentence[SENTENCE_MAX];

    begin();
    format_text(sentence, sizeof(sentence), "machine check (#MC) while guest %s, vCPU %u, was at rip 0x%" PRIx64,
                vcpu->guest->name, vcpu->index, vcpu->rip);
    print_heading(PANIC_MACHINE_CHECK, sentence);
    machine_check_report(LOG_ERROR, "");
    end();
}

/* Without an answer only the exits tell: on SVM all that follows an exit is run with NMIs held off. */
static void print_place(const struct cpu *hung)
{
    const struct trap_frame *frame = __atomic_load_n(&hung->stopped_at, __ATOMIC_ACQUIRE);

    if (frame == NULL) {
        log_error("it does not take an NMI either");
    } else {
        log_error("it was at +0x%06" PRIx64, frame->rip - image.base);
        print_registers(frame);
        print_backtrace(context_of(frame));
    }
    if (hung->current != NULL) {
        log_error("it has guest %s, vCPU %u", hung->current->guest->name, hung->current->index);
        crash_report_log_exits(hung->current);
    }
}

_Noreturn void hv_panic_hang(const struct cpu *hung, const char *sentence)
{
    begin();
    print_heading(PANIC_HANG, sentence);
    print_place(hung);
    end();
}

_Noreturn void trap_fatal(const struct trap_frame *frame)
{
    char sentence[SENTENCE_MAX];
    uint32_t code;

    begin();
    code = describe(frame, sentence);
    print_heading(code, sentence);
    if (code == PANIC_MACHINE_CHECK) {
        machine_check_report(LOG_ERROR, "");
    }
    print_registers(frame);
    print_backtrace(context_of(frame));
    end();
}
