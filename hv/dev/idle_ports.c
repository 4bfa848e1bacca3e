/* SPDX-License-Identifier: MIT */
/* See hv/dev/idle_ports.h. */
#include "hv/dev/idle_ports.h"

#include "hv/dev/timebase.h"

static bool read_zero(void *state, struct bus_access *access)
{
    (void)state;
    access->value = 0;
    return true;
}

static bool read_ones(void *state, struct bus_access *access)
{
    (void)state;
    access->value = UINT64_MAX;
    return true;
}

static bool write_nothing(void *state, const struct bus_access *access)
{
    (void)state;
    (void)access;
    return true;
}

static void reset_idle(void *state, const struct bus_environment *environment, uint64_t now)
{
    struct idle_ports *ports = state;

    (void)environment;
    (void)now;
    ports->signals = (struct bus_signals){.deadline = DEADLINE_NONE};
}

static void reset_ide(void *state, const struct bus_environment *environment, uint64_t now)
{
    struct ide_ports *ports = state;

    (void)environment;
    (void)now;
    ports->signals = (struct bus_signals){.deadline = DEADLINE_NONE};
}

static void reset_delay(void *state, const struct bus_environment *environment, uint64_t now)
{
    struct delay_ports *ports = state;

    (void)environment;
    (void)now;
    ports->signals = (struct bus_signals){.deadline = DEADLINE_NONE};
}

/* Intel 82371AB (PIIX4) data sheet 4.2.1 "DMA Registers"; 0x80 is the page register that no channel has. */
const struct bus_row idle_ports_row = {
    .name = "DMA",
    BUS_RANGES(BUS_PORTS(0x00, 16), BUS_PORTS(0x81, 15), BUS_PORTS(0xc0, 32)),
    .read = read_zero,
    .write = write_nothing,
    .reset = reset_idle,
    BUS_STATE(struct idle_ports, signals),
};

/* The command and control blocks of the primary and the secondary ATA channel, at the places of every PC. */
const struct bus_row ide_ports_row = {
    .name = "IDE",
    BUS_RANGES(BUS_PORTS(0x170, 8), BUS_PORTS(0x1f0, 8), BUS_PORTS(0x376, 1), BUS_PORTS(0x3f6, 1)),
    .read = read_zero,
    .write = write_nothing,
    .reset = reset_ide,
    BUS_STATE(struct ide_ports, signals),
};

const struct bus_row delay_ports_row = {
    .name = "delay",
    BUS_RANGES(BUS_PORTS(0x80, 1), BUS_PORTS(0xed, 1), BUS_PORTS(0xf0, 2)),
    .read = read_ones,
    .write = write_nothing,
    .reset = reset_delay,
    .inert = true,
    BUS_STATE(struct delay_ports, signals),
};
