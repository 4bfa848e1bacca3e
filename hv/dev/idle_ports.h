/* SPDX-License-Identifier: MIT */
/*
 * Ports that every PC has and that do nothing here: the DMA controllers and their page registers, which read 0 because
 * nothing uses them; two IDE channels without a drive, which read 0; and those whose accesses mean nothing but time or
 * are write-only (0x80: diagnostics; 0xed: Linux' delay; 0xf0, 0xf1: the FPU's error latch), which read all ones.
 * Known, so that no report names them.
 *
 * A channel that is not there at all would read all ones, which is "busy": small kernels take a status of 0 for "no
 * drive", as the empty channels of QEMU's default machine answer, and wait for any other until it is not busy.
 */
#ifndef HV_DEV_IDLE_PORTS_H
#define HV_DEV_IDLE_PORTS_H

#include "hv/dev/bus.h"

struct idle_ports {
    struct bus_signals signals;
};

struct ide_ports {
    struct bus_signals signals;
};

struct delay_ports {
    struct bus_signals signals;
};

extern const struct bus_row idle_ports_row;
extern const struct bus_row ide_ports_row;
extern const struct bus_row delay_ports_row;

#endif
