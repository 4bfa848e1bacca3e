/* SPDX-License-Identifier: MIT */
/* See hv/dev/debug_ports.h. */
#include "hv/dev/debug_ports.h"

#include "hv/base/byte_ring.h"
#include "hv/dev/timebase.h"

static bool read_at(void *state, struct bus_access *access)
{
    (void)state;
    access->value = DEBUG_CONSOLE_PORT;
    return access->at == DEBUG_CONSOLE_PORT;
}

static bool write_at(void *state, const struct bus_access *access)
{
    struct debug_ports *ports = state;

    if (access->at == DEBUG_CONSOLE_PORT) {
        if (ports->out != NULL) {
            (void)byte_ring_put(ports->out, (uint8_t)access->value);
        }
        return true;
    }
    if (access->at != DEBUG_EXIT_PORT && access->at != DEBUG_EXIT_QEMU_PORT) {
        return false;
    }
    ports->exit_value = (uint32_t)access->value;
    bus_request_power(&ports->signals, POWER_DEBUG_EXIT, access->at == DEBUG_EXIT_PORT ? "port 0xf4" : "port 0x501");
    return true;
}

static void reset(void *state, const struct bus_environment *environment, uint64_t now)
{
    struct debug_ports *ports = state;

    (void)now;
    *ports = (struct debug_ports){.out = environment->console_out, .signals.deadline = DEADLINE_NONE};
}

const struct bus_row debug_ports_row = {
    .name = "debug ports",
    BUS_RANGES(BUS_PORTS(DEBUG_CONSOLE_PORT, 1), BUS_AT(BUS_PORT, DEBUG_EXIT_PORT, 4, DEBUG_EXIT_PORT, 1 | 2 | 4),
               BUS_AT(BUS_PORT, DEBUG_EXIT_QEMU_PORT, 4, DEBUG_EXIT_QEMU_PORT, 1 | 2 | 4)),
    .read = read_at,
    .write = write_at,
    .reset = reset,
    .presence = BUS_WITH_DEBUG_PORTS,
    BUS_STATE(struct debug_ports, signals),
};
