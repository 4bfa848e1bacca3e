/* SPDX-License-Identifier: MIT */
/*
 * The HPET's registers. See hpet.h.
 *
 *   0x000 capabilities | 0x010 configuration | 0x020 interrupt status | 0x0f0 counter
 *   0x100 + 32 n: timer n's configuration, its comparator
 *
 * Each is 64 bits wide; a narrower access is a part of it. While a periodic timer's comparator is written without
 * VAL_SET, it is the period that is written.
 */
#include "hv/dev/hpet.h"

#include "hv/base/memory.h"
#include "hv/dev/pit.h"
#include "hv/dev/platform_config.h"
#include "hv/dev/pm.h"
#include "hv/mm/guest_layout.h"

#define REG_CAPABILITIES 0x000u
#define REG_CONFIG 0x010u
#define REG_STATUS 0x020u
#define REG_COUNTER 0x0f0u
#define REG_TIMERS 0x100u
#define TIMER_BYTES 0x20u
#define TIMER_COMPARATOR 0x08u

/* 2.3.4 "General Capabilities and ID Register": period in fs, Intel, legacy routes, 64 bits, last timer, revision. */
#define PERIOD_FS 69841279ULL /* 10^15 / HPET_HZ */
_Static_assert(PERIOD_FS == (1000000000000000ULL + HPET_HZ / 2) / HPET_HZ, "the period of HPET_HZ, in femtoseconds");
_Static_assert(HPET_HZ == 4u * PM_TIMER_HZ && (HPET_HZ + 6) / 12 == PIT_HZ,
               "one crystal of 14.31818 MHz has all three");
#define CAPABILITIES (PERIOD_FS << 32 | HPET_BLOCK_ID)
/* 2.3.5 "General Configuration Register". */
#define CONFIG_ENABLE 0x1u
#define CONFIG_LEGACY 0x2u
/* 2.3.8 "Timer N Configuration and Capabilities Register". */
#define TIMER_LEVEL 0x0002u
#define TIMER_ENABLE 0x0004u
#define TIMER_PERIODIC 0x0008u
#define TIMER_VALUE_SET 0x0040u
#define TIMER_32_BITS 0x0100u
#define TIMER_ROUTE_SHIFT 9u
#define TIMER_ROUTE_MASK 0x3e00u
#define TIMER_WRITABLE 0x3f4eu
#define TIMER_READ_ONLY ((uint64_t)HPET_PINS << 32 | 0x30u) /* periodic, 64 bits */
#define PAST_MAX (1ULL << 31)
#define NEVER UINT64_MAX
#define TICKS_MAX (1ULL << 54) /* its TSC value fits 64 bits */
#define PERIOD_MIN_NS 20000u
#define PERIOD_MIN (PERIOD_MIN_NS / (PERIOD_FS / 1000000)) /* the same in counts: shorter periods are not owed */
#define PIN_IRQ0 2u
#define PIN_IRQ8 8u

static uint64_t count_at(const struct hpet *hpet, uint64_t now)
{
    bool runs = (hpet->config & CONFIG_ENABLE) != 0;

    return hpet->offset + (runs ? timebase_ticks(&hpet->base, now) : 0);
}

static uint64_t mask_of(const struct hpet_timer *timer)
{
    return (timer->config & TIMER_32_BITS) != 0 ? UINT32_MAX : UINT64_MAX;
}

static bool is_periodic(const struct hpet_timer *timer)
{
    return (timer->config & TIMER_PERIODIC) != 0;
}

/* From a change of the timer or of the count on: what was owed before is not asked for any more. */
static void arm(struct hpet_timer *timer, uint64_t count)
{
    uint64_t ahead = (timer->comparator - count) & mask_of(timer);

    ticks_forget(&timer->ticks);
    timer->next = ahead > NEVER - count ? NEVER : count + ahead;
}

static void update_deadline(struct hpet *hpet)
{
    hpet->signals.deadline = DEADLINE_NONE;
    for (unsigned i = 0; i < HPET_TIMERS && (hpet->config & CONFIG_ENABLE) != 0; i++) {
        const struct hpet_timer *timer = &hpet->timers[i];
        uint64_t due;

        if ((timer->config & TIMER_ENABLE) == 0 || timer->next == NEVER || timer->next - hpet->offset > TICKS_MAX) {
            continue;
        }
        due = timebase_tsc(&hpet->base, timer->next - hpet->offset);
        due = is_periodic(timer) ? max_u64(due, hpet->not_before) : due;
        hpet->signals.deadline = min_u64(hpet->signals.deadline, min_u64(due, ticks_deadline(&timer->ticks)));
    }
}

static void interrupt(struct hpet *hpet, unsigned index)
{
    const struct hpet_timer *timer = &hpet->timers[index];

    if ((timer->config & TIMER_LEVEL) != 0) {
        hpet->status |= 1u << index;
    } else if ((timer->config & TIMER_ENABLE) != 0) {
        hpet->edges |= 1u << index;
    }
}

/* A level that the guest has not cleared. Of an edge the wires tell: hpet_edge_merged(). */
static bool level_waits(const struct hpet *hpet, unsigned index)
{
    return (hpet->timers[index].config & TIMER_LEVEL) != 0 && (hpet->status >> index & 1u) != 0;
}

/* Several periods that have passed are one interrupt, and what may be owed for the others. */
static void fire(struct hpet *hpet, unsigned index, uint64_t count)
{
    struct hpet_timer *timer = &hpet->timers[index];
    uint64_t merged = level_waits(hpet, index) ? 1 : 0;
    uint64_t periods;

    interrupt(hpet, index);
    if (!is_periodic(timer) || timer->period == 0) {
        uint64_t round = mask_of(timer) == UINT32_MAX ? 1ULL << 32 : 0;

        timer->next = round == 0 ? NEVER : timer->next + ((count - timer->next) / round + 1) * round;
        return;
    }
    periods = (count - timer->next) / timer->period + 1;
    timer->next += periods * timer->period;
    timer->comparator = (timer->comparator + periods * timer->period) & mask_of(timer);
    if ((timer->config & TIMER_ENABLE) != 0 && timer->period >= PERIOD_MIN) {
        ticks_miss(&timer->ticks, periods - 1 + merged);
    }
}

/* True where the timer has interrupted. */
static bool run_timer(struct hpet *hpet, unsigned index, uint64_t count, uint64_t now)
{
    struct hpet_timer *timer = &hpet->timers[index];

    if (timer->next <= count) {
        fire(hpet, index, count);
        ticks_made(&timer->ticks, now, hpet->repeat_tsc);
        return true;
    }
    if (!ticks_due(&timer->ticks, now)) {
        return false;
    }
    if (ticks_repeat(&timer->ticks, level_waits(hpet, index), now, hpet->repeat_tsc)) {
        interrupt(hpet, index);
    }
    return true;
}

void hpet_run(struct hpet *hpet, uint64_t now)
{
    uint64_t count = count_at(hpet, now);
    bool fired = false;

    for (unsigned i = 0; i < HPET_TIMERS && (hpet->config & CONFIG_ENABLE) != 0; i++) {
        fired = run_timer(hpet, i, count, now) || fired;
    }
    if (fired) {
        hpet->not_before = now + hpet->quiet_tsc;
        hpet->signals.wants |= BUS_ROUTES;
        update_deadline(hpet);
    }
}

void hpet_edge_merged(struct hpet *hpet, unsigned timer)
{
    ticks_miss(&hpet->timers[timer].ticks, 1);
    update_deadline(hpet);
}

void hpet_reset(struct hpet *hpet, const struct clock *clock, uint64_t now)
{
    memset(hpet, 0, sizeof(*hpet));
    hpet->base = timebase_of(clock, HPET_HZ, now);
    hpet->quiet_tsc = clock_ns_to_ticks(clock, PERIOD_MIN_NS);
    hpet->repeat_tsc = clock_ns_to_ticks(clock, TICKS_GAP_NS);
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        hpet->timers[i].comparator = UINT64_MAX;
        hpet->timers[i].next = NEVER;
    }
    hpet->signals.deadline = DEADLINE_NONE;
}

/* --- Registers --- */

static uint64_t read_register(const struct hpet *hpet, uint32_t at, uint64_t now)
{
    uint32_t timer = (at - REG_TIMERS) / TIMER_BYTES;

    if (at >= REG_TIMERS && timer < HPET_TIMERS) {
        switch (at % TIMER_BYTES) {
        case 0:
            return hpet->timers[timer].config | TIMER_READ_ONLY;
        case TIMER_COMPARATOR:
            return hpet->timers[timer].comparator;
        default:
            return 0;
        }
    }
    switch (at) {
    case REG_CAPABILITIES:
        return CAPABILITIES;
    case REG_CONFIG:
        return hpet->config;
    case REG_STATUS:
        return hpet->status;
    case REG_COUNTER:
        return count_at(hpet, now);
    default:
        return 0;
    }
}

/* Starting and stopping: the count goes on from where it stands. */
static void write_config(struct hpet *hpet, uint64_t value, uint64_t now)
{
    hpet->offset = count_at(hpet, now);
    hpet->base.start = now;
    hpet->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
}

static void write_counter(struct hpet *hpet, uint64_t value, uint64_t now)
{
    hpet->offset = value;
    hpet->base.start = now;
    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        arm(&hpet->timers[i], value);
    }
}

static void write_timer_config(struct hpet *hpet, unsigned index, uint64_t value, uint64_t count)
{
    struct hpet_timer *timer = &hpet->timers[index];
    uint64_t route = (value & TIMER_ROUTE_MASK) >> TIMER_ROUTE_SHIFT, mask = mask_of(timer);

    if ((HPET_PINS >> route & 1u) == 0) {
        value &= ~(uint64_t)TIMER_ROUTE_MASK; /* a route that it has not: reads back as another. 2.3.8 */
    }
    timer->config = value & TIMER_WRITABLE;
    if ((timer->config & TIMER_LEVEL) == 0) {
        hpet->status &= ~(1ULL << index);
    }
    if ((timer->config & TIMER_32_BITS) != 0) {
        timer->comparator = (uint32_t)timer->comparator;
        timer->period = (uint32_t)timer->period;
    }
    if ((timer->config & TIMER_ENABLE) == 0) {
        ticks_forget(&timer->ticks);
    }
    if (mask_of(timer) != mask) {
        arm(timer, count);
    }
}

static void write_comparator(struct hpet_timer *timer, uint64_t value, uint64_t count)
{
    value &= mask_of(timer);
    if (is_periodic(timer)) {
        timer->period = value;
    }
    if (!is_periodic(timer) || (timer->config & TIMER_VALUE_SET) != 0) {
        timer->comparator = value;
        timer->config &= ~(uint64_t)TIMER_VALUE_SET;
    }
    arm(timer, count);
    if (((count - value) & mask_of(timer)) < PAST_MAX && timer->comparator == value) {
        timer->next = count; /* it has just passed */
    }
}

static void write_register(struct hpet *hpet, uint32_t at, uint64_t value, uint64_t now)
{
    uint32_t timer = (at - REG_TIMERS) / TIMER_BYTES;
    uint64_t count = count_at(hpet, now);

    if (at >= REG_TIMERS && timer < HPET_TIMERS) {
        if (at % TIMER_BYTES == 0) {
            write_timer_config(hpet, timer, value, count);
        } else if (at % TIMER_BYTES == TIMER_COMPARATOR) {
            write_comparator(&hpet->timers[timer], value, count);
        }
        return;
    }
    switch (at) {
    case REG_CONFIG:
        write_config(hpet, value, now);
        break;
    case REG_STATUS:
        hpet->status &= ~value;
        break;
    case REG_COUNTER:
        write_counter(hpet, value, now);
        break;
    default:
        break;
    }
}

/* An access that crosses the end of a register gets its part only. */
uint64_t hpet_read(const struct hpet *hpet, uint32_t offset, uint8_t size, uint64_t now)
{
    return read_register(hpet, offset & ~7u, now) >> (8 * (offset & 7u)) & size_mask(size);
}

/* The other part keeps its value; of the status, where ones count, it is zeroes. */
void hpet_write(struct hpet *hpet, uint32_t offset, uint8_t size, uint64_t value, uint64_t now)
{
    uint32_t at = offset & ~7u, shift = 8 * (offset & 7u);
    uint64_t mask = size_mask(size) << shift;
    uint64_t old = at == REG_STATUS ? 0 : read_register(hpet, at, now);
    uint32_t timer = (at - REG_TIMERS) / TIMER_BYTES;

    if (at >= REG_TIMERS && timer < HPET_TIMERS && is_periodic(&hpet->timers[timer]) &&
        (hpet->timers[timer].config & TIMER_VALUE_SET) == 0 && at % TIMER_BYTES == TIMER_COMPARATOR) {
        old = hpet->timers[timer].period;
    }
    write_register(hpet, at, (old & ~mask) | (value << shift & mask), now);
    hpet->signals.wants |= BUS_ROUTES;
    update_deadline(hpet);
}

/* --- Wires --- */

bool hpet_is_legacy(const struct hpet *hpet)
{
    return (hpet->config & CONFIG_LEGACY) != 0;
}

unsigned hpet_pin(const struct hpet *hpet, unsigned timer)
{
    if (hpet_is_legacy(hpet) && timer < 2) {
        return timer == 0 ? PIN_IRQ0 : PIN_IRQ8;
    }
    return (unsigned)(hpet->timers[timer].config & TIMER_ROUTE_MASK) >> TIMER_ROUTE_SHIFT;
}

uint32_t hpet_levels(const struct hpet *hpet)
{
    uint32_t levels = 0;

    for (unsigned i = 0; i < HPET_TIMERS; i++) {
        bool enabled = (hpet->timers[i].config & TIMER_ENABLE) != 0;

        levels |= enabled && (hpet->status >> i & 1u) != 0 ? 1u << i : 0;
    }
    return levels;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    hpet_run(state, access->now);
    access->value = hpet_read(state, (uint32_t)access->at, access->size, access->now);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    hpet_run(state, access->now);
    hpet_write(state, (uint32_t)access->at, access->size, access->value, access->now);
    return true;
}

static void run(void *state, uint64_t now)
{
    hpet_run(state, now);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    hpet_reset(state, environment->config->clock, now);
}

const struct bus_row hpet_row = {
    .name = "HPET",
    BUS_RANGES(BUS_MMIO(GUEST_HPET_BASE, HPET_BYTES)),
    .read = read_at,
    .write = write_at,
    .run = run,
    .reset = reset,
    BUS_STATE(struct hpet, signals),
};
