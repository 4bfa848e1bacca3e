/* SPDX-License-Identifier: MIT */
/* What the guest's PC is built from: hv/guest/create.c fills it in, devices read it at their reset. */
#ifndef HV_DEV_PLATFORM_CONFIG_H
#define HV_DEV_PLATFORM_CONFIG_H

#include "hv/base/clock.h"
#include "hv/base/types.h"

struct i8042_io;

struct platform_config {
    const struct clock *clock;
    uint64_t wall_clock_ns; /* Unix time in ns at host TSC `wall_clock_tsc` */
    uint64_t wall_clock_tsc;
    uint64_t ram_low_bytes, ram_high_bytes; /* for CMOS */
    uint16_t cpus;                          /* for the test device */
    bool bios_interrupts; /* the 8259 is as a BIOS leaves it, for code that starts in real mode: decision 6 */
    bool debug_ports;
    bool com2;
    const struct i8042_io *keyboard; /* the machine's keyboard controller, which the guest has; NULL: it has not */
    uint64_t debug_exit_ok;          /* the value that, written to the debug-exit port, means success */
    bool console; /* the UART is wired to the console; otherwise its output vanishes and it never receives */
};

#endif
