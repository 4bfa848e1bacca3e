/* SPDX-License-Identifier: MIT */
/* See hv/dev/pvpanic.h. */
#include "hv/dev/pvpanic.h"

#include "hv/dev/timebase.h"

static bool read_at(void *state, struct bus_access *access)
{
    (void)state;
    access->value = PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
    return true;
}

static bool write_at(void *state, const struct bus_access *access)
{
    struct pvpanic *pvpanic = state;

    if ((access->value & PVPANIC_CRASH_LOADED) != 0) {
        pvpanic->crash_loaded = true;
    }
    if ((access->value & PVPANIC_PANICKED) != 0) {
        bus_request_power(&pvpanic->signals, POWER_PANICKED, "pvpanic");
    }
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    (void)environment;
    (void)now;
    *(struct pvpanic *)state = (struct pvpanic){.signals.deadline = DEADLINE_NONE};
}

const struct bus_row pvpanic_row = {
    .name = "pvpanic",
    BUS_RANGES(BUS_PORTS(PVPANIC_PORT, 1)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    BUS_STATE(struct pvpanic, signals),
};
