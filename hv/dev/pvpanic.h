/* SPDX-License-Identifier: MIT */
/*
 * pvpanic: a kernel tells that it has panicked. Port 0x505, ACPI device QEMU0001. QEMU, docs/specs/pvpanic.rst.
 *
 *   read    the events that may be told: 0x3
 *   write   bit 0: the kernel has panicked and does nothing more about it
 *           bit 1: it has panicked, and a kernel for crashes begins, which writes a dump and resets the machine
 *
 * The first one is a crash at once. The second makes a crash of the reset that follows.
 */
#ifndef HV_DEV_PVPANIC_H
#define HV_DEV_PVPANIC_H

#include "hv/dev/bus.h"

#define PVPANIC_PORT 0x505u
#define PVPANIC_PANICKED 0x01u
#define PVPANIC_CRASH_LOADED 0x02u

struct pvpanic {
    struct bus_signals signals;
    bool crash_loaded; /* a kernel for crashes has the machine */
};

extern const struct bus_row pvpanic_row;

#endif
