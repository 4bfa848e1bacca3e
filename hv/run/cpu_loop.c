/* SPDX-License-Identifier: MIT */
#include "hv/run/cpu_loop.h"

#include "hv/base/check.h"
#include "hv/base/log.h"
#include "hv/console/console.h"
#include "hv/core/event.h"
#include "hv/core/guest_devices.h"
#include "hv/core/guest_io.h"
#include "hv/core/guest_irq.h"
#include "hv/core/guest_order.h"
#include "hv/core/vcpu_reset.h"
#include "hv/guest/assigned.h"
#include "hv/guest/com2.h"
#include "hv/guest/create.h"
#include "hv/guest/end.h"
#include "hv/guest/operator.h"
#include "hv/guest/restart.h"
#include "hv/guest/typed.h"
#include "hv/host/cpu_idle.h"
#include "hv/host/cpu_timer.h"
#include "hv/host/cpu_watch.h"
#include "hv/host/fault.h"
#include "hv/host/host_irq.h"
#include "hv/host/power.h"
#include "hv/iommu/iommu.h"
#include "hv/virt/vcpu_switch.h"
#include "hv/virt/virt.h"
#include "hv/x86/insn.h"

#define SLICE_DEFAULT_US 10000u
#define US_PER_NS_SCALE 1000u

/*
 * The vCPUs of one host CPU, and where its turn is.
 *
 * A pass looks at the vCPU that ran, at those that are marked or due (hv/base/due_set.h), and at the one whose slice
 * begins next: so it costs the same with one vCPU and with sixty-four. What is known of the others is what their last
 * look has left: `wanting`, `keeping`, and their deadlines. All that can change it in the meantime marks them:
 *
 *   what changes                                               where, from which CPU              by which mark
 *   a kick: interrupts of other vCPUs and of devices,          guest_notify(), guest.c (any),     vcpu_kick_set()
 *     an end, an order, typed bytes, packets, a source           hv/guest, interrupt handlers
 *   a deadline of the PC or of virtio work, by a vCPU          guest_deadline_changed(),          their kick of vCPU 0
 *     that is not vCPU 0                                         set_deadline() (its CPUs)
 *   a restart is planned, or planned anew                      guest_restart_plan() (any)         vcpu_look_at()
 *   a guest begins again: states, all deadlines, kicks         guest_restart_run() (vCPU 0's)     vcpu_look_at()
 *
 * Of its own accord a vCPU changes in its turn and in a look alone, which end with another look and with note(). A
 * restart that is cancelled leaves a deadline that is too early, and so a look for nothing.
 */
struct turn {
    struct vcpu *vcpus[CONFIG_CPU_VCPUS_MAX];
    uint32_t count;
    uint32_t next;
    struct due_set due; /* the vCPUs in the order of `vcpus` */
    uint64_t wanting;   /* a bit for each of them, as it was at its last look: wants_turn() */
    uint64_t keeping;   /* the same: keeps_slice() */
    uint64_t ran;       /* had a turn since its last look */
    uint64_t looked;    /* were looked at in the present pass */
    struct vcpu *owner; /* whose slice it is; it may have halted since */
    uint64_t slice_end;
    uint64_t console_deadline;
    uint64_t work_deadline; /* of all that cpu->turn_end is about but the watch over CPUs, for which no timer is set */
};

static struct turn turns[CPUS_MAX];
static const struct boot_info *boot;
static bool first_entry_told; /* atomic */

void cpu_loop_assign(const struct boot_info *info)
{
    boot = info;
    for (uint32_t g = 0; g < guest_count; g++) {
        for (uint32_t v = 0; v < guests[g]->vcpu_count; v++) {
            struct turn *turn = &turns[guests[g]->vcpus[v].host_cpu];

            CHECK_OP(turn->count, <, CONFIG_CPU_VCPUS_MAX);
            guests[g]->vcpus[v].due = &turn->due;
            guests[g]->vcpus[v].due_member = turn->count;
            turn->vcpus[turn->count++] = &guests[g]->vcpus[v];
        }
    }
    for (uint32_t i = 0; i < CPUS_MAX; i++) {
        due_set_init(&turns[i].due, turns[i].count);
        cpus[i].armed = UINT64_MAX;
    }
}

/* How long it took without the firmware's disk: a figure that every boot prints. */
static void tell_first_entry(const struct guest *guest)
{
    uint64_t ticks = insn_rdtsc() - boot->tsc_start - boot->tsc_file_ticks;

    if (__atomic_exchange_n(&first_entry_told, true, __ATOMIC_ACQ_REL)) {
        return; /* another CPU's guest was the first */
    }
    log_info("first guest instruction %" PRIu64 " us after the start (%" PRIu64 " TSC ticks, file reads not counted)",
             clock_ticks_to_ns(&guest->host->clock, ticks) / US_PER_NS_SCALE, ticks);
}

/* CPUs that a handler asked to interrupt. */
static void send_kicks(const struct cpu *cpu, struct guest *guest)
{
    struct cpu_set targets;

    if (!cpu_set_take(&guest->kick_cpus, &targets)) {
        return;
    }
    for (uint32_t i = cpu_set_next(&targets, 0); i < cpu_count; i = cpu_set_next(&targets, i + 1)) {
        if (i != cpu->index) {
            cpu_kick(&cpus[i]);
        }
    }
}

static void take_init(struct vcpu *vcpu)
{
    if (vcpu->index == 0) {
        guest_reset(vcpu, "INIT to its boot CPU");
        return;
    }
    lapic_reset(&vcpu->lapic, true);
    vcpu_reset(vcpu);
    vcpu->state = VCPU_STATE_OFF;
}

/* What other CPUs, or this one, asked of the vCPU since the last time. INIT before SIPI: they come in this order. */
static void take_kicks(struct vcpu *vcpu, uint64_t now)
{
    uint32_t kick;

    if (__atomic_load_n(&vcpu->kick, __ATOMIC_ACQUIRE) == 0) {
        return;
    }
    kick = __atomic_exchange_n(&vcpu->kick, (uint32_t)VCPU_KICK_TAKING, __ATOMIC_ACQ_REL);
    vcpu->requests |= VCPU_EVENT;
    if ((kick & VCPU_KICK_STOP) != 0) {
        vcpu->requests |= VCPU_STOPPED;
    }
    if ((kick & VCPU_KICK_INIT) != 0) {
        take_init(vcpu);
    }
    if ((kick & VCPU_KICK_SIPI) != 0 && vcpu->state == VCPU_STATE_OFF) {
        vcpu_start_at(vcpu, vcpu->sipi_vector);
        vcpu->state = VCPU_STATE_RUNNABLE;
    }
    vcpu_take_nmis(vcpu, kick);
    if ((kick & VCPU_KICK_EXTINT_MESSAGE) != 0) {
        vcpu->extint_message = true;
    }
    if ((kick & VCPU_KICK_ORDER) != 0) {
        guest_order_take(vcpu, now);
    }
    if ((kick & VCPU_KICK_CONSOLE) != 0 && !guest_console_input(vcpu, now)) {
        (void)vcpu_kick_set(vcpu, VCPU_KICK_CONSOLE);
    }
    if ((kick & VCPU_KICK_DEVICES) != 0) {
        guest_devices_told(vcpu, now);
    }
    if ((kick & VCPU_KICK_SOURCES) != 0) {
        host_irq_rearm(vcpu->guest); /* first: what comes from here on is noted, and what came before is taken below */
        guest_take_sources(vcpu, now);
    }
    __atomic_fetch_and(&vcpu->kick, ~(uint32_t)VCPU_KICK_TAKING, __ATOMIC_RELEASE);
}

/* Output that waits may cost this CPU a quarter of its time and no more: a flood of it must not stop the guests
 * here. */
#define CONSOLE_REST 3u

static void exchange_console(struct cpu *cpu, struct turn *turn, uint64_t now)
{
    uint64_t end;

    guest_typed_serve(cpu, now);
    end = insn_rdtsc();
    turn->console_deadline = max_u64(console_deadline(end), end + CONSOLE_REST * (end - now));
    turn->console_deadline = min_u64(turn->console_deadline, power_button_deadline(end));
}

/* The boot CPU polls the consoles; others only bring what their guests wrote. */
static bool polls_console(const struct cpu *cpu)
{
    return cpu->bsp;
}

static void report_unknown(struct guest *guest)
{
    char text[UNKNOWN_TEXT_MAX];

    for (uint32_t i = 0; i < guest->unknown_count; i++) {
        struct unknown_access *access = &guest->unknown[i];

        if (!access->reported) {
            access->reported = true;
            log_debug("guest %s %s", guest->name, guest_unknown_describe(access, text, sizeof(text)));
        }
    }
}

/* The CPU forgets the vCPU: what its registers hold means nothing any more, and a restart begins with fresh ones. */
static void leave_guest(struct cpu *cpu, struct vcpu *vcpu)
{
    if (vcpu->guest->state != GUEST_STOPPED && (vcpu->requests & VCPU_SYSTEM_WRITE) == 0) {
        vcpu_switch_to(cpu, vcpu);
        virt_read_system(vcpu); /* for the report */
    }
    if (cpu->current == vcpu) {
        cpu->current = NULL;
    }
    vcpu->state = VCPU_STATE_DEAD;
    guest_end_vcpu_left(vcpu);
}

/* A guest whose vCPUs are all down has ended: nothing inside or outside of it can wake one. Of two that halt at once on
 * two CPUs, each has said so before it looks at the other. */
static void check_all_down(struct vcpu *vcpu)
{
    const struct guest *guest = vcpu->guest;

    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (uint32_t i = 0; i < guest->vcpu_count; i++) {
        if (!vcpu_is_down(&guest->vcpus[i])) {
            return;
        }
    }
    guest_stop(vcpu, true, "halted with interrupts off");
}

static bool can_run(const struct vcpu *vcpu)
{
    return vcpu->state == VCPU_STATE_RUNNABLE;
}

/* Halted, and the config says that no other vCPU gets its slices. */
static bool keeps_slice(const struct turn *turn, const struct vcpu *vcpu)
{
    return turn->count > 1 && vcpu != NULL && vcpu->state == VCPU_STATE_HALTED && !vcpu->guest->config->share_idle;
}

/* Another vCPU had the CPU. One that halts, and has nothing due, has missed nothing. */
static bool was_away(const struct cpu *cpu, const struct vcpu *vcpu, uint64_t now)
{
    return cpu->current != NULL && cpu->current != vcpu && (can_run(vcpu) || guest_deadline(vcpu) <= now);
}

/* What the vCPU's last turn, its timers and its neighbours left to do, but for telling other CPUs. */
static void collect_requests(struct cpu *cpu, struct turn *turn, struct vcpu *vcpu, uint64_t now)
{
    take_kicks(vcpu, now);
    if (was_away(cpu, vcpu, now)) {
        guest_was_away(vcpu, now);
    }
    if (guest_deadline(vcpu) <= now) {
        guest_run_timers(vcpu, now);
    }
    if ((vcpu->requests & VCPU_CONSOLE) != 0) {
        report_unknown(vcpu->guest);
        exchange_console(cpu, turn, now);
    }
    if (vcpu->state == VCPU_STATE_HALTED && vcpu_can_wake(vcpu)) {
        vcpu->state = VCPU_STATE_RUNNABLE;
    }
    if ((vcpu->requests & VCPU_HALTED) != 0 && vcpu_is_down(vcpu)) {
        check_all_down(vcpu);
    }
    if ((vcpu->requests & VCPU_PAUSED) != 0 && vcpu->guest->config->share_idle) {
        turn->slice_end = now;
    }
    if ((vcpu->requests & VCPU_STOPPED) != 0) {
        leave_guest(cpu, vcpu);
        return;
    }
    vcpu->requests &= ~VCPU_LEAVE_MASK;
}

/* The kicks come last: the guest's end, which may just have been found, is for its other CPUs, too. A dead vCPU belongs
 * to the CPU that restarts it. */
static void collect_from_vcpu(struct cpu *cpu, struct turn *turn, struct vcpu *vcpu, uint64_t now)
{
    vcpu->pass_end = now + vcpu->guest->host->exit_ticks;
    if (__atomic_load_n(&vcpu->state, __ATOMIC_ACQUIRE) != VCPU_STATE_DEAD) {
        collect_requests(cpu, turn, vcpu, now);
        send_kicks(cpu, vcpu->guest);
    }
}

/* A turn is also what a guest's restart takes. */
static bool wants_turn(const struct vcpu *vcpu, uint64_t now)
{
    return can_run(vcpu) || (vcpu->state == VCPU_STATE_DEAD && guest_restart_deadline(vcpu) <= now);
}

/*
 * True while the owner of the slice has the CPU for itself. What comes for another guest's vCPU on this CPU waits for
 * the end of the slice: else a guest could take its neighbour's time by timers or interrupts that make the CPU leave
 * it.
 */
static bool slice_lasts(const struct turn *turn, uint64_t now)
{
    return turn->count > 1 && turn->owner != NULL && wants_turn(turn->owner, now) && now < turn->slice_end;
}

static bool kicks_wait(const struct turn *turn)
{
    return due_set_marked(&turn->due) != 0;
}

/* What the vCPU's neighbours need to know of it until its next look. */
static void note(struct turn *turn, const struct vcpu *vcpu, uint64_t now)
{
    uint64_t bit = 1ULL << vcpu->due_member;
    bool dead = __atomic_load_n(&vcpu->state, __ATOMIC_ACQUIRE) == VCPU_STATE_DEAD;

    turn->wanting = wants_turn(vcpu, now) ? turn->wanting | bit : turn->wanting & ~bit;
    turn->keeping = keeps_slice(turn, vcpu) ? turn->keeping | bit : turn->keeping & ~bit;
    due_set_put(&turn->due, vcpu->due_member, dead ? guest_restart_deadline(vcpu) : guest_deadline(vcpu));
}

/* The mark goes first: what comes from here on marks it again. */
static void look_at(struct cpu *cpu, struct turn *turn, struct vcpu *vcpu, uint64_t now)
{
    uint64_t bit = 1ULL << vcpu->due_member;

    due_set_unmark(&turn->due, vcpu->due_member);
    turn->ran &= ~bit;
    turn->looked |= bit;
    collect_from_vcpu(cpu, turn, vcpu, now);
    note(turn, vcpu, now);
}

/* At those of `due` and those that are marked, or become so before their place in the order has passed. */
static void look_at_all(struct cpu *cpu, struct turn *turn, uint64_t due, uint64_t now)
{
    uint32_t first = turn->next;

    for (uint32_t round = 0; round < 2; round++) {
        uint64_t to_come = round == 0 ? UINT64_MAX << first : ~(UINT64_MAX << first);
        uint64_t left;

        while ((left = (due | due_set_marked(&turn->due)) & to_come) != 0) {
            uint32_t member = (uint32_t)__builtin_ctzll(left);

            to_come &= UINT64_MAX << member << 1;
            look_at(cpu, turn, turn->vcpus[member], now);
        }
    }
}

/* The one whose slice begins next may have been away from its CPU, whatever is due: was_away(). */
static void look_at_next(struct cpu *cpu, struct turn *turn, uint64_t now)
{
    for (uint32_t i = 0; i < turn->count && (turn->wanting | turn->keeping) != 0; i++) {
        uint32_t member = due_set_next(turn->wanting | turn->keeping, turn->next);

        if ((turn->looked >> member & 1) != 0) {
            return;
        }
        look_at(cpu, turn, turn->vcpus[member], now);
    }
}

/*
 * From those that have something; a second time where one that was looked at has kicked one that had been before it.
 * Not a third time, or vCPUs on other CPUs could keep this one here by their kicks: they are seen at the next pass.
 *
 * Work of devices and waits for locks have one time in a pass (vcpu->pass_end), however many vCPUs there are; where it
 * is over they stay due. The vCPU whose slice comes next is the first, so each is at some time.
 */
static void collect_from_vcpus(struct cpu *cpu, struct turn *turn, uint64_t now)
{
    turn->looked = 0;
    if (turn->count == 1) {
        for (uint32_t pass = 0; pass < 2 && (pass == 0 || kicks_wait(turn)); pass++) {
            look_at(cpu, turn, turn->vcpus[0], now);
        }
        return;
    }
    if (slice_lasts(turn, now)) {
        look_at(cpu, turn, turn->owner, now);
        if (slice_lasts(turn, now)) {
            return;
        }
    }
    look_at_all(cpu, turn, turn->ran | due_set_due(&turn->due, now), now);
    if (kicks_wait(turn)) {
        look_at_all(cpu, turn, 0, now);
    }
    look_at_next(cpu, turn, now);
}

static uint64_t slice_ticks(const struct vcpu *vcpu)
{
    uint32_t slice_us = vcpu->guest->config->slice_us != 0 ? vcpu->guest->config->slice_us : SLICE_DEFAULT_US;

    return clock_ns_to_ticks(&vcpu->guest->host->clock, slice_us * 1000ULL);
}

/* The next vCPU whose slice begins, in the order of the config. NULL: none wants one. */
static struct vcpu *next_owner(struct turn *turn, uint64_t now)
{
    uint32_t member;

    if ((turn->wanting | turn->keeping) == 0) {
        return NULL;
    }
    member = due_set_next(turn->wanting | turn->keeping, turn->next);
    turn->next = member + 1 == turn->count ? 0 : member + 1;
    turn->owner = turn->vcpus[member];
    turn->slice_end = now + slice_ticks(turn->owner);
    return turn->owner;
}

/* The vCPU that runs: the owner of the slice until its end, then the next. NULL: none wants to, or its slice is
 * kept. */
static struct vcpu *decide(struct turn *turn, uint64_t now)
{
    struct vcpu *next;

    if (turn->count == 1 && can_run(turn->vcpus[0])) {
        return turn->vcpus[0];
    }
    if (slice_lasts(turn, now)) {
        return turn->owner;
    }
    if (keeps_slice(turn, turn->owner) && now < turn->slice_end) {
        return NULL;
    }
    next = next_owner(turn, now);
    return keeps_slice(turn, next) ? NULL : next;
}

/* When this CPU has something to do for its vCPUs; for those that do not run, not before the end of the slice of the
 * one that does. */
static uint64_t vcpus_deadline(const struct turn *turn, const struct vcpu *running)
{
    uint64_t earliest = due_set_earliest(&turn->due);
    uint64_t others;

    if (running == NULL) {
        return keeps_slice(turn, turn->owner) ? min_u64(earliest, turn->slice_end) : earliest;
    }
    others = (turn->wanting | turn->keeping | due_set_marked(&turn->due)) & ~(1ULL << running->due_member);
    return min_u64(due_set_deadline(&turn->due, running->due_member),
                   others != 0 ? turn->slice_end : max_u64(earliest, turn->slice_end));
}

/* When this CPU has something to do that is of no guest. */
static uint64_t host_deadline(const struct cpu *cpu, const struct turn *turn)
{
    return polls_console(cpu) ? min_u64(turn->console_deadline, iommu_deadline()) : UINT64_MAX;
}

/* The earliest moment at which this CPU has something to do that the guest does not cause itself. */
static uint64_t next_deadline(const struct cpu *cpu, const struct turn *turn, const struct vcpu *running)
{
    return min_u64(host_deadline(cpu, turn), vcpus_deadline(turn, running));
}

/* Out of line, so that the timer's does not pay for it. */
__attribute__((noinline)) static void take_rare(struct cpu *cpu, uint64_t flags)
{
    if ((flags & CPU_FLAG_DEVICES) != 0) {
        guest_assigned_interrupts(cpu);
    }
    if ((flags & CPU_FLAG_NMI) != 0) {
        cpu_report_nmis(cpu);
    }
    if ((flags & CPU_FLAG_STOP) != 0) {
        guest_end_cpu_stops(cpu);
    }
}

/* An interrupt that came is taken here; the timer is one-shot, so it has to be armed again. */
static void take_interrupts(struct cpu *cpu)
{
    uint64_t flags;

    insn_interrupt_window();
    flags = cpu_take_flags(cpu);
    if ((flags & CPU_FLAG_TIMER) != 0) {
        if (cpu->armed == UINT64_MAX && cpu->current != NULL) {
            virt_late_timer(cpu->current); /* the hypervisor has set none */
        }
        __atomic_store_n(&cpu->armed, UINT64_MAX, __ATOMIC_RELAXED);
    }
    if ((flags & (CPU_FLAG_DEVICES | CPU_FLAG_NMI | CPU_FLAG_STOP)) != 0) {
        take_rare(cpu, flags);
    }
}

/* Sleeps until an interrupt. */
static void idle(struct cpu *cpu)
{
    if (cpu_flags(cpu) == 0) {
        fault_at("asleep");
        __atomic_store_n(&cpu->idle, true, __ATOMIC_RELAXED);
        cpu_idle_sleep(cpu);
        __atomic_store_n(&cpu->idle, false, __ATOMIC_RELAXED);
        fault_at("awake");
    }
}

/* Takes its time, in which interrupts may come. */
static void serve_console(struct cpu *cpu, struct turn *turn, uint64_t now)
{
    exchange_console(cpu, turn, now);
    guest_com2_serve();
    guest_end_serve();
    operator_look_at_button();
    take_interrupts(cpu);
}

/* What has happened until `now`: timers and kicks of the vCPUs here; and when that was. The console comes first, so
 * that the vCPUs are looked at once in a pass, however many there are. */
static uint64_t collect(struct cpu *cpu, struct turn *turn, uint64_t now)
{
    cpu_watch_turn(cpu, now);
    if (polls_console(cpu) && now >= iommu_deadline()) {
        iommu_poll(now);
    }
    if (polls_console(cpu) && now >= turn->console_deadline) {
        serve_console(cpu, turn, now);
        now = insn_rdtsc();
    }
    collect_from_vcpus(cpu, turn, now);
    return now;
}

/* guest_deadline() without the local APIC's timer: of what vCPU 0's CPU takes care. */
static uint64_t deadline_of_others(const struct vcpu *vcpu)
{
    const struct guest *guest = vcpu->guest;
    uint64_t deadline = UINT64_MAX;

    if (vcpu->index == 0) {
        deadline = min_u64(guest->watchdog.deadline, guest->stop_deadline);
        deadline = min_u64(deadline, __atomic_load_n(&guest->platform_deadline, __ATOMIC_ACQUIRE));
        deadline = min_u64(deadline, guest_devices_deadline(guest));
    }
    return deadline;
}

/* cpu->turn_end: hv/host/cpu_timer.h. */
static void find_turn_end(struct cpu *cpu, struct turn *turn, const struct vcpu *vcpu)
{
    cpu->turn_end = turn->work_deadline = 0;
    if (turn->count == 1 && !vcpu->lapic.eoi_pending) {
        turn->work_deadline = min_u64(host_deadline(cpu, turn), deadline_of_others(vcpu));
        cpu->turn_end = min_u64(turn->work_deadline, cpu_watch_deadline());
    }
}

/*
 * The vCPU of a CPU that has no other one slept, or ran, until its own timer, and nothing else has come: then a look at
 * it would do no more than this. True: it runs on. False: all else is found by the look, as always; a timer that has
 * fired stays fired.
 */
static bool goes_on_by_timer(struct cpu *cpu, struct turn *turn, uint64_t now)
{
    struct vcpu *vcpu = turn->vcpus[0];

    if (turn->count != 1 || vcpu->lapic.deadline > now || kicks_wait(turn) || cpu->current != vcpu ||
        (vcpu->state != VCPU_STATE_HALTED && vcpu->state != VCPU_STATE_RUNNABLE) ||
        (vcpu->requests & VCPU_LEAVE_MASK & ~(uint32_t)VCPU_YIELD) != 0) {
        return false;
    }
    find_turn_end(cpu, turn, vcpu);
    if (!cpu_timer_alone(cpu, vcpu, now)) {
        return false;
    }
    lapic_run_timer(&vcpu->lapic, now);
    vcpu->requests = (vcpu->requests & ~(uint32_t)VCPU_YIELD) | VCPU_EVENT;
    if (vcpu->state == VCPU_STATE_HALTED && !vcpu_can_wake(vcpu)) {
        return false;
    }
    vcpu->state = VCPU_STATE_RUNNABLE;
    cpu_watch_turn(cpu, now);
    return true;
}

static void sleep_until_work(struct cpu *cpu, const struct turn *turn)
{
    cpu_timer_set(cpu, min_u64(next_deadline(cpu, turn, NULL), cpu_watch_deadline()));
    idle(cpu);
}

/* The CPU's timer: the vCPU's own, or set to the earliest deadline that there is. */
static void arm_for_turn(struct cpu *cpu, const struct turn *turn, struct vcpu *vcpu, uint64_t now)
{
    bool passes = virt_pass_timer(cpu, vcpu, turn->work_deadline, now);

    if (!passes) {
        cpu_timer_set(cpu, turn->work_deadline != 0 ? min_u64(turn->work_deadline, vcpu->lapic.deadline)
                                                    : next_deadline(cpu, turn, vcpu));
    }
    vcpu->leave_at = passes || vcpu->guest->host->quirks.late_host_interrupts ? cpu->armed : UINT64_MAX;
}

static void run_vcpu(struct cpu *cpu, const struct turn *turn, struct vcpu *vcpu, uint64_t now)
{
    if (!__atomic_load_n(&first_entry_told, __ATOMIC_RELAXED)) {
        fault_at("entry");
        tell_first_entry(vcpu->guest);
    }
    vcpu_switch_to(cpu, vcpu);
    arm_for_turn(cpu, turn, vcpu, now);
    __atomic_store_n(&vcpu->turn_began, now, __ATOMIC_RELAXED);
    fault_vcpu(vcpu);
    virt_run(cpu, vcpu);
    virt_take_timer(cpu, vcpu);
    __atomic_store_n(&vcpu->turn_began, 0, __ATOMIC_RELAXED);
    fault_at("turn");
    vcpu->cpu_ticks += clock_ticks_since(insn_rdtsc(), now);
}

/* The vCPU's turn, the restart of a dead one's guest, or sleep. */
static void run(struct cpu *cpu, struct turn *turn, struct vcpu *vcpu, uint64_t now)
{
    turn->ran |= vcpu == NULL ? 0 : 1ULL << vcpu->due_member;
    if (vcpu == NULL && kicks_wait(turn)) {
        return; /* from a vCPU on this CPU: no interrupt tells of it */
    } else if (vcpu == NULL) {
        sleep_until_work(cpu, turn);
    } else if (vcpu->state == VCPU_STATE_DEAD) {
        guest_restart_run(vcpu, min_u64(now + vcpu->guest->host->exit_ticks, turn->slice_end));
    } else {
        find_turn_end(cpu, turn, vcpu);
        run_vcpu(cpu, turn, vcpu, now);
    }
}

_Noreturn void cpu_loop_run(struct cpu *cpu)
{
    struct turn *turn = &turns[cpu->index];

    turn->console_deadline = min_u64(console_deadline(insn_rdtsc()), power_button_deadline(insn_rdtsc()));
    for (;;) {
        uint64_t now;

        take_interrupts(cpu);
        now = insn_rdtsc();
        if (goes_on_by_timer(cpu, turn, now)) {
            turn->ran |= 1ULL << turn->vcpus[0]->due_member;
            run_vcpu(cpu, turn, turn->vcpus[0], now);
            continue;
        }
        now = collect(cpu, turn, now);
        run(cpu, turn, decide(turn, now), now);
    }
}
