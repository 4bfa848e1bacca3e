/* SPDX-License-Identifier: MIT */
#include "hv/host/tsc_reference.h"

#include "hv/host/host_acpi.h"
#include "hv/x86/insn.h"

#define HALF_US 10000u       /* each of the two pieces */
#define ROUNDS_MAX 4u        /* until the two pieces of a round agree */
#define SAMPLE_READS 5u      /* per sample: the quickest one counts */
#define STILL_SPINS 1000u    /* reads after which a timer that shows what it showed stands still */
#define SPINS_MAX 100000000u /* and a timer that creeps ends the wait by this */
#define PARTS_PER_MILLION 1000000u
#define TSC_HZ_MIN 1000000ULL

/* ACPI 6.5 4.8.3.3 "Power Management Timer (PM_TMR)". */
#define PM_TIMER_HZ 3579545u
#define PM_TIMER_24BIT 0xffffffu

/* Channel 2 of the 8254, gated by bit 0 of port 0x61. Intel 8254 data sheet, "Programming". */
#define PIT_HZ 1193182u
#define PIT_CHANNEL_2 0x42u
#define PIT_COMMAND 0x43u
#define PIT_PORT_B 0x61u
#define PIT_GATE_2 0x01u
#define PIT_SPEAKER 0x02u
#define PIT_SELECT_2_MODE_0 0xb0u /* channel 2, low then high byte, mode 0: counts down once, without reload */
#define PIT_LATCH_2 0x80u
#define PIT_MASK 0xffffu

/* "IA-PC HPET Specification" 1.0a, 2.3.4, 2.3.5, 2.3.7. */
#define HPET_PERIOD 0x004u /* femtoseconds: the upper half of the capabilities */
#define HPET_CONFIG 0x010u
#define HPET_COUNTER 0x0f0u
#define HPET_ENABLE 1u
#define HPET_PERIOD_MAX 100000000u
#define FS_PER_SECOND 1000000000000000ULL

/* A timer, and how it is read. */
struct timer {
    uint32_t hz; /* 0: it is not there */
    uint32_t mask;
    uint64_t place; /* port or address */
};

struct sample {
    uint64_t tsc;
    uint32_t count; /* counts up */
};

static const char *const names[TSC_REFERENCES] = {
    [TSC_BY_PM_TIMER] = "the ACPI PM timer",
    [TSC_BY_HPET] = "the HPET",
    [TSC_BY_PIT] = "the 8254 timer",
    [TSC_BY_STALL] = "the firmware's Stall()",
};

const char *tsc_reference_name(enum tsc_reference reference)
{
    return names[reference];
}

static uint32_t read_pit(void)
{
    uint8_t low, high;

    insn_out8(PIT_COMMAND, PIT_LATCH_2);
    low = insn_in8(PIT_CHANNEL_2);
    high = insn_in8(PIT_CHANNEL_2);
    return PIT_MASK - ((uint32_t)high << 8 | low);
}

static void start_pit(void)
{
    insn_out8(PIT_PORT_B, (uint8_t)((insn_in8(PIT_PORT_B) & ~PIT_SPEAKER) | PIT_GATE_2));
    insn_out8(PIT_COMMAND, PIT_SELECT_2_MODE_0);
    insn_out8(PIT_CHANNEL_2, 0xff);
    insn_out8(PIT_CHANNEL_2, 0xff);
}

static uint32_t read_timer(const struct timer *timers, uint32_t which)
{
    const struct timer *timer = &timers[which];

    switch (which) {
    case TSC_BY_PM_TIMER:
        return insn_in32((uint16_t)timer->place) & timer->mask;
    case TSC_BY_HPET:
        return insn_mmio_read32(timer->place + HPET_COUNTER);
    default:
        return read_pit();
    }
}

/* The reading that took the least time, with the TSC in its middle: an SMI or a busy host makes others long. */
static struct sample take_sample(const struct timer *timers, uint32_t which)
{
    struct sample best = {0};
    uint64_t best_ticks = UINT64_MAX;

    for (uint32_t i = 0; i < SAMPLE_READS; i++) {
        uint64_t before = insn_rdtsc();
        uint32_t count = read_timer(timers, which);
        uint64_t ticks = insn_rdtsc() - before;

        if (ticks < best_ticks) {
            best_ticks = ticks;
            best = (struct sample){before + ticks / 2, count};
        }
    }
    return best;
}

static void take_samples(const struct timer *timers, struct sample samples[TSC_BY_STALL])
{
    for (uint32_t i = 0; i < TSC_BY_STALL; i++) {
        if (timers[i].hz != 0) {
            samples[i] = take_sample(timers, i);
        }
    }
}

/* Waits until the timer has counted for a piece from `start`; false where it stands still. */
static bool wait_piece(const struct timer *timers, uint32_t which, const struct sample *start)
{
    uint32_t counts = (uint32_t)((uint64_t)timers[which].hz * HALF_US / PARTS_PER_MILLION);

    for (uint32_t spins = 0; spins < SPINS_MAX; spins++) {
        uint32_t gone = (read_timer(timers, which) - start->count) & timers[which].mask;

        if (gone >= counts) {
            return true;
        }
        if (spins > STILL_SPINS && gone == 0) {
            return false;
        }
    }
    return false;
}

static uint64_t hz_between(const struct timer *timer, const struct sample *from, const struct sample *to)
{
    uint32_t counts = (to->count - from->count) & timer->mask;
    uint64_t hz = counts == 0 ? 0 : (to->tsc - from->tsc) * timer->hz / counts;

    return hz < TSC_HZ_MIN ? 0 : hz;
}

static uint64_t ppm(uint64_t a, uint64_t b)
{
    uint64_t more = max_u64(a, b), less = min_u64(a, b);

    return less == 0 ? UINT64_MAX : (more - less) * PARTS_PER_MILLION / less;
}

/* Less has gone by, as `leader` counted, than the timer takes to come round: a host or an SMI may hold the CPU up. */
static bool is_unambiguous(const struct timer *timer, const struct timer *leader, const struct sample *from,
                           const struct sample *to)
{
    uint64_t gone = (to->count - from->count) & leader->mask;

    return gone * timer->hz / leader->hz < timer->mask;
}

/* One round, by the clock of `leader`. False: that one stands still. */
static bool measure_once(const struct timer *timers, uint32_t leader, struct tsc_measurement *round)
{
    struct sample start[TSC_BY_STALL], middle[TSC_BY_STALL], end[TSC_BY_STALL];

    start_pit();
    take_samples(timers, start);
    if (!wait_piece(timers, leader, &start[leader])) {
        return false;
    }
    take_samples(timers, middle);
    if (!wait_piece(timers, leader, &middle[leader])) {
        return false;
    }
    take_samples(timers, end);
    for (uint32_t i = 0; i < TSC_BY_STALL; i++) {
        bool there = timers[i].hz != 0 && is_unambiguous(&timers[i], &timers[leader], &start[leader], &end[leader]);

        round->hz[i] = there ? hz_between(&timers[i], &start[i], &end[i]) : 0;
        round->halves_ppm[i] =
            there ? ppm(hz_between(&timers[i], &start[i], &middle[i]), hz_between(&timers[i], &middle[i], &end[i]))
                  : UINT64_MAX;
    }
    return true;
}

/* Rounds by this one's clock, until its two pieces agree. False: it stands still. */
static bool measure_by(const struct timer *timers, uint32_t leader, struct tsc_measurement *best)
{
    struct tsc_measurement round;
    bool measured = false;

    for (uint32_t i = 0; i < ROUNDS_MAX && (!measured || best->halves_ppm[leader] > TSC_STABLE_PPM); i++) {
        if (!measure_once(timers, leader, &round)) {
            return measured;
        }
        if (!measured || round.halves_ppm[leader] < best->halves_ppm[leader]) {
            *best = round;
        }
        measured = true;
    }
    return measured;
}

/* It counts from here on. Returns the register as it was. */
static uint32_t start_hpet(struct timer *timer, uint64_t address)
{
    uint32_t period = insn_mmio_read32(address + HPET_PERIOD);
    uint32_t config = insn_mmio_read32(address + HPET_CONFIG);

    if (period != 0 && period <= HPET_PERIOD_MAX) {
        *timer = (struct timer){(uint32_t)(FS_PER_SECOND / period), UINT32_MAX, address};
        insn_mmio_write32(address + HPET_CONFIG, config | HPET_ENABLE);
    }
    return config;
}

void tsc_reference_measure(const struct host_acpi *acpi, uint64_t stall_hz, struct tsc_measurement *measurement)
{
    struct timer timers[TSC_BY_STALL] = {[TSC_BY_PIT] = {PIT_HZ, PIT_MASK, PIT_CHANNEL_2}};
    uint32_t hpet_config = 0;
    bool measured = false;

    *measurement = (struct tsc_measurement){.hz = {0}};
    if (acpi->pm_timer_port != 0) {
        timers[TSC_BY_PM_TIMER] =
            (struct timer){PM_TIMER_HZ, acpi->pm_timer_32bit ? UINT32_MAX : PM_TIMER_24BIT, acpi->pm_timer_port};
    }
    if (acpi->hpet != 0) {
        hpet_config = start_hpet(&timers[TSC_BY_HPET], acpi->hpet);
    }
    for (uint32_t i = 0; i < TSC_BY_STALL && !measured; i++) {
        measured = timers[i].hz != 0 && measure_by(timers, i, measurement);
    }
    if (timers[TSC_BY_HPET].hz != 0) {
        insn_mmio_write32(acpi->hpet + HPET_CONFIG, hpet_config);
    }
    measurement->hz[TSC_BY_STALL] = stall_hz;
    measurement->halves_ppm[TSC_BY_STALL] = UINT64_MAX;
}
