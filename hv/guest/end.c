/* SPDX-License-Identifier: MIT */
#include "hv/guest/end.h"

#include "hv/base/format.h"
#include "hv/base/log.h"
#include "hv/base/spinlock.h"
#include "hv/base/text.h"
#include "hv/console/console.h"
#include "hv/core/guest_devices.h"
#include "hv/core/vm_exit.h"
#include "hv/guest/assigned.h"
#include "hv/guest/com2.h"
#include "hv/guest/create.h"
#include "hv/guest/direct.h"
#include "hv/guest/restart.h"
#include "hv/guest/status.h"
#include "hv/guest/typed.h"
#include "hv/host/host_cpu.h"
#include "hv/host/panic_codes.h"
#include "hv/host/power.h"
#include "hv/host/tsc.h"
#include "hv/mm/page_table.h"
#include "hv/report/crash_cause.h"
#include "hv/report/crash_report.h"
#include "hv/report/exit_counts.h"
#include "hv/virt/virt.h"
#include "hv/x86/insn.h"

/* Restarts in a row; a guest that ran for RUN_WELL_MS begins to count again. The first comes at once, the second after
 * BACKOFF_FIRST_MS, then twice as long each time. */
#define RESTARTS_MAX 10u
#define RUN_WELL_MS 60000u
#define BACKOFF_FIRST_MS 50u
#define BACKOFF_MAX_MS 5000u
#define WHY_BYTES 96u
#define STACK_LINES 3u
#define CAUSE_BYTES 320u
#define REPORT_BYTES_MAX 16000u /* a crash with all of its exits, unknown accesses and its text display */
#define NS_PER_MS 1000000ULL

static const struct boot_info *boot;
static struct spinlock end_lock;
static uint32_t left_counts[CONFIG_GUESTS_MAX]; /* vCPUs that have left, by guest */
static uint32_t in_a_row[CONFIG_GUESTS_MAX];    /* restarts since the guest ran well, by guest */
static bool over[CONFIG_GUESTS_MAX];            /* has ended, is reported, and is not restarted by itself */
static uint32_t guests_over;
static bool wants_poweroff; /* the machine's power button was pressed; under end_lock */
static uint32_t reports;    /* atomic: of ends, since the start */
static uint64_t unreported; /* atomic, a bit per guest: it has ended, and its report waits for room on the consoles */

void guest_end_init(const struct boot_info *info)
{
    boot = info;
    guest_restart_init();
}

static void report_registers(const struct vcpu *vcpu)
{
    const uint64_t *gpr = vcpu->gpr;
    const struct vcpu_system *system = &vcpu->system;

    log_error("  vCPU %u: rip %016" PRIx64 " rsp %016" PRIx64 " rflags %" PRIx64, vcpu->index, vcpu->rip, gpr[GPR_RSP],
              vcpu->rflags);
    log_error("  rax %016" PRIx64 " rbx %016" PRIx64 " rcx %016" PRIx64 " rdx %016" PRIx64, gpr[GPR_RAX], gpr[GPR_RBX],
              gpr[GPR_RCX], gpr[GPR_RDX]);
    log_error("  rsi %016" PRIx64 " rdi %016" PRIx64 " rbp %016" PRIx64 " r8  %016" PRIx64, gpr[GPR_RSI], gpr[GPR_RDI],
              gpr[GPR_RBP], gpr[GPR_R8]);
    log_error("  r9  %016" PRIx64 " r10 %016" PRIx64 " r11 %016" PRIx64 " r12 %016" PRIx64, gpr[GPR_R9], gpr[GPR_R10],
              gpr[GPR_R11], gpr[GPR_R12]);
    log_error("  r13 %016" PRIx64 " r14 %016" PRIx64 " r15 %016" PRIx64, gpr[GPR_R13], gpr[GPR_R14], gpr[GPR_R15]);
    log_error("  cr0 %" PRIx64 " cr2 %" PRIx64 " cr3 %" PRIx64 " cr4 %" PRIx64 " efer %" PRIx64 " cpl %u", system->cr0,
              system->cr2, system->cr3, system->cr4, system->efer, system->cpl);
    log_error("  cs %04x base %" PRIx64 " ss %04x base %" PRIx64, system->segments[SEGMENT_CS].selector,
              system->segments[SEGMENT_CS].base, system->segments[SEGMENT_SS].selector,
              system->segments[SEGMENT_SS].base);
    log_error("  gdt %" PRIx64 "+%x idt %" PRIx64 "+%x", system->gdtr.base, system->gdtr.limit, system->idtr.base,
              system->idtr.limit);
}

static const char *leaf_name(enum page_level level)
{
    static const char *const names[] = {"a page of 4 KiB", "a page of 2 MiB", "a page of 1 GiB"};

    return (uint32_t)level < ARRAY_COUNT(names) ? names[level] : "?";
}

/* The way of an address through the guest's tables and the nested ones. */
static void report_walk(const struct vcpu *vcpu, const char *what, uint64_t linear)
{
    char text[CRASH_TEXT_MAX];
    struct crash_walk walk;
    struct page_lookup nested;

    crash_report_walk(vcpu, linear, &walk);
    log_error("  page walk of %s: %s", what, crash_report_walk_text(&walk, text, sizeof(text)));
    if (walk.end != CRASH_WALK_MAPPED) {
        return;
    }
    page_table_lookup(guest_nested_tree(vcpu->guest), walk.address.value, &nested);
    if (nested.present) {
        log_error("  nested walk: host-physical 0x%" PRIx64 ", %s", nested.to.value, leaf_name(nested.level));
    } else {
        log_error("  nested walk: not mapped: there is no memory of this guest");
    }
}

static void kernel_symbols(const struct guest *guest, struct elf_symbols *symbols)
{
    elf_symbols_open(boot->guests[guest->index].kernel, symbols);
}

/* Where it was, how it came there, and where its last page fault was. */
static void report_code(const struct vcpu *vcpu)
{
    char text[CRASH_TEXT_MAX];
    struct elf_symbols symbols;

    kernel_symbols(vcpu->guest, &symbols);
    log_error("  code at rip: %s", crash_report_code_text(vcpu, text, sizeof(text)));
    for (uint32_t line = 0; line < STACK_LINES && crash_report_stack_text(vcpu, line, text, sizeof(text)); line++) {
        log_error("  stack %s", text);
    }
    log_error("  called from: %s", crash_report_backtrace_text(vcpu, &symbols, text, sizeof(text)));
    report_walk(vcpu, "rip", crash_report_rip(vcpu));
    if (vcpu->system.cr2 != 0) {
        report_walk(vcpu, "cr2", vcpu->system.cr2);
    }
}

static void report_exits(const struct guest *guest)
{
    char text[EXIT_COUNTS_TEXT_MAX];

    log_debug("  %s", exit_counts_text(guest, text, sizeof(text)));
}

/* They may be why it failed. Of a guest that ended well they are for `log = debug`, except what it wanted of a BIOS:
 * nothing good comes of that. */
static void report_unknown_accesses(const struct guest *guest)
{
    enum log_level level = guest->ended_well ? LOG_DEBUG : LOG_INFO;
    char text[UNKNOWN_TEXT_MAX];

    for (uint32_t i = 0; i < guest->unknown_count; i++) {
        log_line(guest->unknown[i].kind == UNKNOWN_BIOS ? LOG_INFO : level, "  it %s",
                 guest_unknown_describe(&guest->unknown[i], text, sizeof(text)));
    }
    if (guest->unknown_dropped != 0) {
        log_line(level, "  and %" PRIu64 " accesses to further such resources", guest->unknown_dropped);
    }
}

static uint64_t ran_ms(const struct guest *guest)
{
    return clock_ticks_to_ns(&guest->host->clock, insn_rdtsc() - guest->start_tsc) / NS_PER_MS;
}

static bool never_ran(const struct guest *guest)
{
    return guest->state == GUEST_CRASHED &&
           (guest->failure_code == GUEST_CODE_NO_CPU || guest->failure_code == GUEST_CODE_NO_DEVICE);
}

/* Its memory may still have the error that a machine check told of: nothing reads it, and no restart fills it. */
static bool has_bad_memory(const struct guest *guest)
{
    return guest->state == GUEST_CRASHED && guest->failure_code == GUEST_CODE_MACHINE_CHECK;
}

/* What follows. The operator's last order decides: a guest that was asked to stop is not wanted again. */
static enum config_action action_of(const struct guest *guest)
{
    if (has_bad_memory(guest)) {
        return ACTION_STAY;
    }
    if (guest->obeyed != ORDER_NONE) {
        return guest->obeyed == ORDER_RESTART ? ACTION_RESTART : ACTION_STAY;
    }
    switch ((enum guest_state)guest->state) {
    case GUEST_CRASHED:
        return guest->config->on_crash;
    case GUEST_RESET:
        return guest->config->on_reset;
    case GUEST_STOPPED:
    case GUEST_RUNNING:
        break;
    }
    return guest->config->on_stop;
}

/* The first line: what it was, in the guest's terms. */
static void report_cause(const struct guest *guest, const char *again)
{
    const struct vcpu *vcpu = &guest->vcpus[guest->failed_vcpu];
    char cause[CAUSE_BYTES] = "";
    char where[ELF_SYMBOL_NAME_MAX + 24];
    struct elf_symbols symbols;

    if (guest->failure_code == GUEST_CODE_TRIPLE_FAULT) {
        kernel_symbols(guest, &symbols);
        (void)crash_cause_text(vcpu, crash_report_name_text(&symbols, vcpu->rip, where, sizeof(where)), cause,
                               sizeof(cause));
    } else if (guest->failure_code == GUEST_CODE_PANICKED) {
        (void)format_text(cause, sizeof(cause), "%s", console_panic_reason(guest));
    }
    log_error("P%04u: guest %s failed%s: %s%s%s", guest->failure_code, guest->name, again, guest->report,
              cause[0] == '\0' ? "" : ": ", cause);
}

static bool is_restarted_again(const struct guest *guest)
{
    uint32_t count = in_a_row[guest->index];

    return action_of(guest) == ACTION_RESTART && count != 0 && count < RESTARTS_MAX && ran_ms(guest) < RUN_WELL_MS;
}

/* Of the second restart in a row and later ones two lines are enough; the third says when it begins. */
static void report_again(const struct guest *guest)
{
    const struct vcpu *vcpu = &guest->vcpus[guest->failed_vcpu];
    char text[CRASH_TEXT_MAX];
    struct elf_symbols symbols;

    kernel_symbols(guest, &symbols);
    report_cause(guest, " again");
    log_error("  after %" PRIu64 " ms, at %s", ran_ms(guest),
              crash_report_backtrace_text(vcpu, &symbols, text, sizeof(text)));
}

static void report_failure(const struct guest *guest)
{
    report_cause(guest, "");
    log_error("what to do: %s", code_remedy(guest->failure_code));
    if (guest->failure_code == GUEST_CODE_TRIPLE_FAULT &&
        crash_cause_may_be_emulator(&guest->vcpus[guest->failed_vcpu])) {
        log_error("  possible emulator fault: docs/emulators.md, stale-code");
    }
    if (!never_ran(guest)) {
        report_registers(&guest->vcpus[guest->failed_vcpu]);
    }
    if (!never_ran(guest) && !has_bad_memory(guest)) {
        report_code(&guest->vcpus[guest->failed_vcpu]);
    }
}

static void report_ran(const struct guest *guest)
{
    log_info("guest %s ran %" PRIu64 " ms, %" PRIu64 " exits", guest->name, ran_ms(guest), exit_count_total(guest));
    report_exits(guest);
    report_unknown_accesses(guest);
    guest_devices_tell_unused(guest);
    if (!has_bad_memory(guest) && !guest_status_screen(guest) && guest->config->console) {
        log_warning("guest %s ended without any output, on its serial port (0x3f8) and on its text display",
                    guest->name);
    }
}

static void report(const struct guest *guest)
{
    bool failed = guest->state == GUEST_CRASHED;

    if (failed && is_restarted_again(guest)) {
        report_again(guest);
        return;
    }
    if (failed) {
        report_failure(guest);
        if (never_ran(guest)) {
            return;
        }
    } else {
        log_info("guest %s stopped: %s", guest->name, guest->report);
    }
    report_ran(guest);
    if (failed) {
        crash_report_log_exits(&guest->vcpus[guest->failed_vcpu]);
    }
}

static uint32_t backoff_ms(uint32_t restarts_before)
{
    uint32_t doublings = restarts_before == 0 ? 0 : restarts_before - 1;

    return restarts_before == 0 ? 0 : (uint32_t)min_u64((uint64_t)BACKOFF_FIRST_MS << doublings, BACKOFF_MAX_MS);
}

static void plan_start(struct guest *guest, uint32_t wait_ms)
{
    guest->restarts++;
    left_counts[guest->index] = 0;
    guest_restart_plan(guest, insn_rdtsc() + clock_ns_to_ticks(&guest->host->clock, wait_ms * NS_PER_MS));
}

/* True where the guest will run again. */
static bool restart(struct guest *guest)
{
    uint32_t *count = &in_a_row[guest->index];
    uint32_t wait_ms;

    if (action_of(guest) != ACTION_RESTART || never_ran(guest)) {
        return false;
    }
    if (ran_ms(guest) >= RUN_WELL_MS || guest->obeyed != ORDER_NONE) {
        *count = 0;
    }
    if (*count == RESTARTS_MAX) {
        log_warning("guest %s was restarted %u times in a row and stays stopped now", guest->name, *count);
        guest->ended_well = guest->ended_well && guest->state == GUEST_STOPPED;
        return false;
    }
    wait_ms = backoff_ms(*count);
    (*count)++;
    log_info("guest %s is restarted in %u ms (%u of at most %u times in a row)", guest->name, wait_ms, *count,
             RESTARTS_MAX);
    plan_start(guest, wait_ms);
    return true;
}

static void stop_other_cpus(const struct cpu *self)
{
    for (uint32_t i = 0; i < cpu_count; i++) {
        if (i != self->index && cpu_is_ready(&cpus[i])) {
            cpu_set_flags(&cpus[i], CPU_FLAG_STOP);
            cpu_kick(&cpus[i]);
        }
    }
}

/* A guest that still runs, because another one's end is the machine's, has not failed. */
static bool ended_as_configured(const struct guest *guest)
{
    if (guest->state != GUEST_RUNNING) {
        return guest->ended_well;
    }
    log_info("guest %s still ran", guest->name);
    return true;
}

/* After a failure a real machine is switched off only after this time: its screen may be all that its user has. */
#define SCREEN_STAYS_S 60u
#define US_PER_S 1000000ULL

/* The last line on every console is for what started the machine: tools/run-qemu and tools/run-bochs read it. */
_Noreturn static void end_run(const char *why, enum config_final final)
{
    static const char *const endings[] = {
        [FINAL_POWEROFF] = "the machine is switched off",
        [FINAL_REBOOT] = "the machine is restarted",
        [FINAL_HALT] = "the machine halts (when-all-stopped = halt)",
    };
    bool well = true;
    bool stays;

    stop_other_cpus(cpu_this());
    console_flush(); /* what the guests still had to say comes before the result, however slow a port is */
    for (uint32_t i = 0; i < guest_count; i++) {
        well = ended_as_configured(guests[i]) && well;
    }
    log_info("%s; %s", why, endings[final]);
    stays = !well && final == FINAL_POWEROFF && !host_cpu_is_virtual();
    if (stays) {
        log_info("the screen stays for %u s", SCREEN_STAYS_S);
    }
    log_info("result %s", well ? "ok" : "failed");
    if (stays) {
        console_flush();
        tsc_wait_us(SCREEN_STAYS_S * US_PER_S);
    }
    virt_disable(cpu_this()); /* VMX holds INIT off, which is what some machines reset by. SDM 3C 24.8 */
    switch (final) {
    case FINAL_POWEROFF:
        power_off();
    case FINAL_REBOOT:
        power_reboot();
    case FINAL_HALT:
        break;
    }
    power_halt();
}

static void stay_unstarted(struct guest *guest)
{
    guest_assigned_stop(guest);
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        guest->vcpus[i].state = VCPU_STATE_DEAD;
    }
    __atomic_fetch_or(&unreported, 1ULL << guest->index, __ATOMIC_RELEASE);
}

void guest_end_unstarted(struct guest *guest, const struct cpu *cpu)
{
    guest_fail(&guest->vcpus[0], GUEST_CODE_NO_CPU, "it was not started: it needs CPU %u, and %s", cpu->index,
               cpu->failure);
    stay_unstarted(guest);
}

void guest_end_without_device(struct guest *guest)
{
    guest_fail(&guest->vcpus[0], GUEST_CODE_NO_DEVICE, "it was not started: device %s", guest_assigned_problem(guest));
    stay_unstarted(guest);
}

/* The guest stays as it is. It may have been the last one, or its end may be the machine's. */
static void count_over(struct guest *guest)
{
    char why[WHY_BYTES];

    over[guest->index] = true;
    guests_over++;
    if (guests_over == guest_count) {
        end_run("all guests have stopped", wants_poweroff ? FINAL_POWEROFF : boot->config.when_all_stopped);
    }
    if (action_of(guest) == ACTION_POWEROFF) {
        format_text(why, sizeof(why), "guest %s has stopped, and its config says poweroff", guest->name);
        end_run(why, boot->config.when_all_stopped);
    }
}

/* A kernel whose driver for pvpanic is not there says on its console that it panicked, and then resets the machine. */
static void note_panic(struct guest *guest)
{
    if (guest->state == GUEST_RESET && console_panic_reason(guest)[0] != '\0') {
        guest->state = GUEST_CRASHED;
        guest->failure_code = GUEST_CODE_PANICKED;
        guest->ended_well = false;
        text_copy(text_of("its kernel panicked, by its console, and asked for a reset"), guest->report,
                  sizeof(guest->report));
    }
}

static void finish(struct guest *guest)
{
    note_panic(guest);
    console_end_guest(guest);
    guest_com2_end(guest);
    report(guest);
    __atomic_fetch_add(&reports, 1, __ATOMIC_RELAXED);
    if (!restart(guest)) {
        count_over(guest);
    }
}

/* Its last words come before what is said of it. */
static bool has_said_all(const struct guest *guest)
{
    return (!guest->config->console || byte_ring_count(&guest->platform.console_out) == 0) &&
           guest_com2_has_said_all(guest);
}

void guest_end_serve(void)
{
    if (__atomic_load_n(&unreported, __ATOMIC_ACQUIRE) == 0) {
        return;
    }
    spinlock_take(&end_lock);
    for (uint32_t i = 0; i < guest_count && console_room() >= REPORT_BYTES_MAX; i++) {
        if ((unreported & 1ULL << i) != 0 && has_said_all(guests[i])) {
            __atomic_fetch_and(&unreported, ~(1ULL << i), __ATOMIC_RELEASE);
            finish(guests[i]);
        }
    }
    spinlock_release(&end_lock);
}

uint32_t guest_end_reports(void)
{
    return __atomic_load_n(&reports, __ATOMIC_RELAXED);
}

bool guest_end_start(struct guest *guest)
{
    bool can;

    spinlock_take(&end_lock);
    can = over[guest->index] && !never_ran(guest) && !has_bad_memory(guest);
    if (can) {
        over[guest->index] = false;
        guests_over--;
        in_a_row[guest->index] = 0;
        plan_start(guest, 0);
    }
    spinlock_release(&end_lock);
    return can;
}

bool guest_end_cancel_restart(struct guest *guest)
{
    bool cancelled;

    spinlock_take(&end_lock);
    cancelled = guest_restart_cancel(guest);
    if (cancelled) {
        guest->obeyed = ORDER_KILL;
        log_info("guest %s is not restarted", guest->name);
        count_over(guest);
    }
    spinlock_release(&end_lock);
    return cancelled;
}

void guest_end_wants_poweroff(void)
{
    spinlock_take(&end_lock);
    wants_poweroff = true;
    spinlock_release(&end_lock);
}

_Noreturn void guest_end_poweroff(const char *why)
{
    spinlock_take(&end_lock);
    end_run(why, FINAL_POWEROFF);
}

void guest_end_vcpu_left(struct vcpu *vcpu)
{
    struct guest *guest = vcpu->guest;
    bool last;

    spinlock_take(&end_lock);
    left_counts[guest->index]++;
    last = left_counts[guest->index] == guest->vcpu_count;
    spinlock_release(&end_lock);
    if (last) {
        guest_devices_close(guest);
        guest_assigned_stop(guest);
        guest_direct_close(guest);
        guest_typed_serve(&cpus[vcpu->host_cpu], insn_rdtsc()); /* its own last words come first */
        __atomic_fetch_or(&unreported, 1ULL << guest->index, __ATOMIC_RELEASE);
        guest_end_serve();
    }
}

_Noreturn void guest_end_cpu_stops(struct cpu *cpu)
{
    virt_disable(cpu);
    for (;;) {
        insn_cli();
        insn_hlt();
    }
}
