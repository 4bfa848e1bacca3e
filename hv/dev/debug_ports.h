/* SPDX-License-Identifier: MIT */
/*
 * Three ports of emulators, there only with `debug-ports = yes`: 0xe9, whose bytes go to the console and which reads
 * 0xe9 (Bochs, "port_e9_hack"), and 0xf4 and 0x501, where a test kernel leaves its verdict and ends (QEMU,
 * isa-debug-exit: 0x501 is where that is when nothing is said). The console port has no flow control: bytes that find
 * the ring full are lost.
 */
#ifndef HV_DEV_DEBUG_PORTS_H
#define HV_DEV_DEBUG_PORTS_H

#include "hv/dev/bus.h"

#define DEBUG_CONSOLE_PORT 0xe9u
#define DEBUG_EXIT_PORT 0xf4u
#define DEBUG_EXIT_QEMU_PORT 0x501u

struct debug_ports {
    struct byte_ring *out; /* NULL: bytes vanish */
    struct bus_signals signals;
    uint32_t exit_value; /* with POWER_DEBUG_EXIT */
};

extern const struct bus_row debug_ports_row;

#endif
