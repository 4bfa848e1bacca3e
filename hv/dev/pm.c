/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware. See pm.h. ACPI 6.5, 4.8.3.1 "PM1 Event Grouping", 4.8.3.2 "PM1 Control Grouping", 4.8.3.3
 * "Power Management Timer".
 *
 * The timer status bit is set each time the timer's top bit changes: every 10 minutes with 32 bits. Only an enabled
 * one has a deadline; otherwise the status is brought up to date when it is read.
 */
#include "hv/dev/pm.h"

#include "hv/base/memory.h"
#include "hv/dev/platform_config.h"

#define PM1_TMR 0x0001u
#define PM1_PWRBTN 0x0100u
#define PM1_RTC 0x0400u
#define PM1_STATUS_BITS 0x8531u /* TMR, BM, GBL, PWRBTN, RTC, WAK: cleared by writing 1 */
#define PM1_ENABLE_BITS 0x0521u /* TMR, GBL, PWRBTN, RTC */
#define PM1_SCI_EN 0x0001u
#define PM1_SLP_TYP(control) ((control) >> 10 & 7u)
#define PM1_SLP_EN 0x2000u       /* write-only: reads 0 */
#define PM1_CONTROL_BITS 0x1c02u /* BM_RLD, SLP_TYP; GBL_RLS is write-only and has no firmware to call */
#define PM_TIMER_TOP_BIT 31u

static void update(struct pm *pm)
{
    pm->signals.lines = (pm->status & pm->enable & PM1_ENABLE_BITS) != 0;
    pm->signals.deadline = DEADLINE_NONE;
    if ((pm->enable & PM1_TMR) != 0 && (pm->status & PM1_TMR) == 0) {
        pm->signals.deadline = timebase_tsc(&pm->base, (pm->half_cycles + 1) << PM_TIMER_TOP_BIT);
    }
}

void pm_run(struct pm *pm, uint64_t now)
{
    uint64_t half_cycles = timebase_ticks(&pm->base, now) >> PM_TIMER_TOP_BIT;

    if (half_cycles != pm->half_cycles) {
        pm->half_cycles = half_cycles;
        pm->status |= PM1_TMR;
    }
    update(pm);
}

void pm_reset(struct pm *pm, const struct clock *clock, uint64_t now)
{
    memset(pm, 0, sizeof(*pm));
    pm->base = timebase_of(clock, PM_TIMER_HZ, now);
    pm->control = PM1_SCI_EN;
    update(pm);
}

static uint8_t read_byte(const struct pm *pm, unsigned offset, uint32_t timer)
{
    unsigned shift = 8 * (offset & 1u);

    switch (offset & ~1u) {
    case PM_STATUS_OFFSET:
        return (uint8_t)(pm->status >> shift);
    case PM_ENABLE_OFFSET:
        return (uint8_t)(pm->enable >> shift);
    case PM_CONTROL_OFFSET:
        return (uint8_t)(pm->control >> shift);
    case PM_TIMER_OFFSET:
    case PM_TIMER_OFFSET + 2:
        return (uint8_t)(timer >> (8 * (offset - PM_TIMER_OFFSET)));
    default:
        return 0;
    }
}

/* All bytes of one access come from one reading of the timer. */
uint32_t pm_read(struct pm *pm, unsigned offset, uint8_t size, uint64_t now)
{
    uint32_t timer = (uint32_t)timebase_ticks(&pm->base, now);
    uint32_t value = 0;

    if (offset < PM_ENABLE_OFFSET) {
        pm_run(pm, now);
    }
    for (unsigned i = 0; i < size; i++) {
        value |= (uint32_t)read_byte(pm, offset + i, timer) << (8 * i);
    }
    return value;
}

static void write_control(struct pm *pm, uint16_t value)
{
    pm->control = (uint16_t)((value & PM1_CONTROL_BITS) | PM1_SCI_EN);
    if ((value & PM1_SLP_EN) != 0 && PM1_SLP_TYP(value) == PM_SLEEP_TYPE_S5) {
        bus_request_power(&pm->signals, POWER_OFF_REQUESTED, "ACPI S5");
    }
}

static uint16_t replace_byte(uint16_t old, unsigned offset, uint8_t value)
{
    return (offset & 1u) != 0 ? (uint16_t)((old & 0xffu) | (uint16_t)(value << 8))
                              : (uint16_t)((old & 0xff00u) | value);
}

static void write_byte(struct pm *pm, unsigned offset, uint8_t value)
{
    switch (offset & ~1u) {
    case PM_STATUS_OFFSET:
        pm->status &= (uint16_t) ~(replace_byte(0, offset, value) & PM1_STATUS_BITS);
        break;
    case PM_ENABLE_OFFSET:
        pm->enable = replace_byte(pm->enable, offset, value) & PM1_ENABLE_BITS;
        pm->signals.wants |= BUS_MASKS; /* the RTC may be heard now, or no longer */
        break;
    case PM_CONTROL_OFFSET:
        write_control(pm, replace_byte(pm->control, offset, value));
        break;
    default:
        break; /* the timer is read-only */
    }
}

void pm_write(struct pm *pm, unsigned offset, uint8_t size, uint32_t value, uint64_t now)
{
    pm_run(pm, now);
    if (size == 2 && offset == PM_CONTROL_OFFSET) {
        write_control(pm, (uint16_t)value);
    } else {
        for (unsigned i = 0; i < size; i++) {
            write_byte(pm, offset + i, (uint8_t)(value >> (8 * i)));
        }
    }
    update(pm);
}

void pm_press_power_button(struct pm *pm)
{
    pm->status |= PM1_PWRBTN;
    update(pm);
}

void pm_rtc_rises(struct pm *pm)
{
    pm->status |= PM1_RTC;
    update(pm);
}

bool pm_hears_rtc(const struct pm *pm)
{
    return (pm->enable & PM1_RTC) != 0;
}

/* --- The row --- */

static bool read_at(void *state, struct bus_access *access)
{
    access->value = pm_read(state, (unsigned)access->at, access->size, access->now);
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    pm_write(state, (unsigned)access->at, access->size, (uint32_t)access->value, access->now);
    return true;
}

static void run(void *state, uint64_t now)
{
    pm_run(state, now);
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    pm_reset(state, environment->config->clock, now);
}

const struct bus_row pm_row = {
    .name = "ACPI fixed hardware",
    BUS_RANGES(BUS_AT(BUS_PORT, PM_BASE, PM_BYTES, 0, 1 | 2 | 4)),
    .read = read_at,
    .write = write_at,
    .run = run,
    .reset = reset,
    .lines = {PM_IRQ},
    .line_count = 1,
    .asleep_unheard = true,
    BUS_STATE(struct pm, signals),
};
