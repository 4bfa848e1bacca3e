/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer. SDM 3A 11.5.4 "APIC Timer".
 *
 * One-shot and periodic counts are not decremented by anything: `timer_start` is the host TSC at which the present
 * count began, and the current count follows from the time of the read. `deadline` is the host TSC at which the timer
 * interrupts next; a masked timer has none and costs nothing, and its count reads right all the same.
 *
 * The undivided frequency is 1 GHz, so a count is a number of nanoseconds shifted by the divider. Where the TSC is
 * slower than that (an emulator's), the frequency is 1 GHz divided by the smallest power of two that makes it no
 * faster: on a PC the timer's clock never outruns the TSC, and kernels divide one by the other.
 */
#include "hv/dev/lapic_registers.h"

/*
 * A guest can ask for a period of a nanosecond; nothing could run between two such interrupts. The count
 * register reads as programmed, but interrupts of a periodic timer come no more often than this.
 */
#define LAPIC_PERIOD_MIN_NS 20000u

#define LAPIC_DIVIDE_BITS 0xbu /* SDM 3A 11.5.4, figure 11-10: bits 3, 1, 0 */

static uint32_t timer_mode(const struct lapic *lapic)
{
    return lapic->timer_lvt & LAPIC_LVT_TIMER_MODE;
}

unsigned lapic_timer_slowdown(uint64_t tsc_hz)
{
    unsigned shift = 0;

    while ((NS_PER_SECOND >> shift) > tsc_hz) {
        shift++;
    }
    return shift;
}

/* log2 of nanoseconds a count. The divider: 000 is 2, 001 is 4, ... 110 is 128, 111 is 1. */
static unsigned divide_shift(const struct lapic *lapic)
{
    uint32_t divide = lapic->timer_divide;

    return ((((divide >> 1 & 4u) | (divide & 3u)) + 1) & 7u) + lapic->timer_slowdown;
}

static uint64_t count_to_ticks(const struct lapic *lapic, uint64_t count)
{
    return clock_ns_to_ticks(lapic->clock, count << divide_shift(lapic));
}

/* Counts since timer_start, as if it had never wrapped. */
static uint64_t counted(const struct lapic *lapic, uint64_t now)
{
    return clock_ticks_to_ns(lapic->clock, now - lapic->timer_start) >> divide_shift(lapic);
}

/*
 * Makes the state true before a register changes: what was due interrupts under the old registers, a one-shot count
 * that has run out is over and stays so whatever the mode becomes, and a periodic one is in its present period.
 */
static void settle(struct lapic *lapic, uint64_t now)
{
    uint32_t initial = lapic->timer_initial;
    uint64_t passed;

    lapic_run_timer(lapic, now);
    passed = counted(lapic, now);
    if (timer_mode(lapic) == LAPIC_TIMER_TSC_DEADLINE || initial == 0 || passed < initial) {
        return;
    }
    if (timer_mode(lapic) == LAPIC_TIMER_PERIODIC) {
        lapic->timer_start += count_to_ticks(lapic, passed - passed % initial);
    } else {
        lapic->timer_expired = true;
    }
}

static uint64_t period_ticks(const struct lapic *lapic)
{
    return max_u64(count_to_ticks(lapic, lapic->timer_initial), clock_ns_to_ticks(lapic->clock, LAPIC_PERIOD_MIN_NS));
}

/* Moves timer_start over the periods that have passed, and returns how many. The division happens only when more than
 * one has. */
static uint64_t skip_periods(struct lapic *lapic, uint64_t now)
{
    uint64_t period = period_ticks(lapic);
    uint64_t passed = now - lapic->timer_start;
    uint64_t periods = passed >= period ? 1 : 0;

    if (period != 0 && passed >= 2 * period) {
        periods = passed / period;
    }
    lapic->timer_start += periods * period;
    return periods;
}

/* Computes the deadline of a running one-shot or periodic count after a change of its registers. */
static void timer_arm(struct lapic *lapic, uint64_t now)
{
    uint32_t initial = lapic->timer_initial;
    uint64_t end;

    lapic->deadline = DEADLINE_NONE;
    if (initial == 0 || lapic->timer_expired || (lapic->timer_lvt & LAPIC_LVT_MASKED) != 0) {
        return;
    }
    if (timer_mode(lapic) == LAPIC_TIMER_PERIODIC) {
        (void)skip_periods(lapic, now);
        lapic->deadline = min_u64(lapic->timer_start + period_ticks(lapic), ticks_deadline(&lapic->ticks));
        return;
    }
    end = lapic->timer_start + max_u64(count_to_ticks(lapic, initial), 1);
    if (timer_mode(lapic) == LAPIC_TIMER_ONE_SHOT && end > now) {
        lapic->deadline = end; /* else it expired while it was masked */
    }
}

static void set_initial(struct lapic *lapic, uint32_t value)
{
    *lapic_register(lapic, LAPIC_TIMER_INITIAL) = lapic->timer_initial = value;
}

void lapic_timer_stop(struct lapic *lapic)
{
    set_initial(lapic, 0);
    lapic->timer_expired = false;
    lapic->tsc_deadline = 0;
    lapic->deadline = DEADLINE_NONE;
    ticks_forget(&lapic->ticks);
}

uint32_t lapic_timer_count(const struct lapic *lapic, uint64_t now)
{
    uint32_t initial = lapic->timer_initial;
    uint64_t passed;

    if (initial == 0 || lapic->timer_expired || timer_mode(lapic) == LAPIC_TIMER_TSC_DEADLINE) {
        return 0;
    }
    passed = counted(lapic, now);
    if (passed < initial) {
        return initial - (uint32_t)passed;
    }
    return timer_mode(lapic) == LAPIC_TIMER_PERIODIC ? initial - (uint32_t)(passed % initial) : 0;
}

/*
 * A change between TSC-deadline and the counting modes disarms the timer; between one-shot and periodic the count
 * runs on. SDM 3A 11.5.4.1 "TSC-Deadline Mode".
 */
void lapic_timer_write_lvt(struct lapic *lapic, uint32_t value, uint64_t now)
{
    uint32_t old = lapic->timer_lvt;

    settle(lapic, now);
    if (((old ^ value) & LAPIC_TIMER_TSC_DEADLINE) != 0) {
        lapic_timer_stop(lapic);
    }
    *lapic_register(lapic, LAPIC_LVT_TIMER) = lapic->timer_lvt = value;
    ticks_forget(&lapic->ticks);
    if ((value & LAPIC_TIMER_TSC_DEADLINE) == 0) {
        timer_arm(lapic, now);
    }
}

void lapic_timer_write_initial(struct lapic *lapic, uint32_t value, uint64_t now)
{
    if (timer_mode(lapic) == LAPIC_TIMER_TSC_DEADLINE) {
        set_initial(lapic, lapic->timer_initial); /* the CPU may have put the value into the page */
        return;
    }
    lapic_run_timer(lapic, now);
    set_initial(lapic, value);
    lapic->timer_expired = false;
    lapic->timer_start = now;
    ticks_forget(&lapic->ticks);
    timer_arm(lapic, now);
}

/* What is left of the count runs on at the new rate. */
void lapic_timer_write_divide(struct lapic *lapic, uint32_t value, uint64_t now)
{
    uint32_t done;

    settle(lapic, now);
    done = lapic->timer_initial - lapic_timer_count(lapic, now);
    *lapic_register(lapic, LAPIC_TIMER_DIVIDE) = lapic->timer_divide = value & LAPIC_DIVIDE_BITS;
    lapic->timer_start = now - count_to_ticks(lapic, done);
    if (timer_mode(lapic) != LAPIC_TIMER_TSC_DEADLINE) {
        timer_arm(lapic, now);
    }
}

/* The ends of periods, several of which are one interrupt, or an interrupt that is owed for one of them. Out of line,
 * so that no other mode pays for its registers. */
__attribute__((noinline)) static void run_periodic(struct lapic *lapic, uint64_t now)
{
    uint64_t gap = clock_ns_to_ticks(lapic->clock, TICKS_GAP_NS);
    bool waits = lapic_requests(lapic, (uint8_t)lapic->timer_lvt);
    uint64_t periods = skip_periods(lapic, now);

    if (periods != 0) {
        ticks_miss(&lapic->ticks, periods - (waits ? 0 : 1));
        ticks_made(&lapic->ticks, now, gap);
        lapic_raise_entry(lapic, lapic->timer_lvt);
    } else if (ticks_due(&lapic->ticks, now) && ticks_repeat(&lapic->ticks, waits, now, gap)) {
        lapic_raise_entry(lapic, lapic->timer_lvt);
    }
    timer_arm(lapic, now);
}

static inline void forget_deadline(struct lapic *lapic)
{
    lapic->deadline = DEADLINE_NONE;
    lapic->tsc_deadline = 0;
}

void lapic_run_timer(struct lapic *lapic, uint64_t now)
{
    if (now < lapic->deadline) {
        return;
    }
    forget_deadline(lapic);
    if (timer_mode(lapic) == LAPIC_TIMER_PERIODIC) {
        run_periodic(lapic, now);
    } else {
        lapic_raise_entry(lapic, lapic->timer_lvt);
    }
}

bool lapic_takes_tsc_deadline(const struct lapic *lapic)
{
    return timer_mode(lapic) == LAPIC_TIMER_TSC_DEADLINE && lapic_enabled(lapic);
}

void lapic_timer_fired(struct lapic *lapic, uint64_t now)
{
    if (lapic->deadline <= now) {
        forget_deadline(lapic);
    }
    lapic_raise_entry(lapic, lapic->timer_lvt);
}

uint64_t lapic_tsc_deadline_read(const struct lapic *lapic, uint64_t now)
{
    return now < lapic->deadline ? lapic->tsc_deadline : 0;
}

/* The old deadline or the new one has passed. */
__attribute__((noinline)) static void write_passed_deadline(struct lapic *lapic, uint64_t value, uint64_t tsc_offset,
                                                            uint64_t now)
{
    uint64_t guest_now = now + tsc_offset;

    lapic_run_timer(lapic, now);
    lapic->tsc_deadline = value;
    lapic->deadline = value != 0 ? lapic_deadline_after(value - guest_now, now) : DEADLINE_NONE;
    if (value != 0 && value <= guest_now) {
        forget_deadline(lapic);
        lapic_raise_entry(lapic, lapic->timer_lvt);
    }
}

/* Ignored outside TSC-deadline mode. A deadline that has passed fires at once. What a kernel does at each tick makes no
 * stack frame. */
void lapic_tsc_deadline_write(struct lapic *lapic, uint64_t value, uint64_t tsc_offset, uint64_t now)
{
    if (!lapic_quick_tsc_deadline(lapic, value, tsc_offset, now)) {
        write_passed_deadline(lapic, value, tsc_offset, now);
    }
}
