/* SPDX-License-Identifier: MIT */
/*
 * What emulators offer to test kernels beside the debug console and exit ports, and no PC has: there only with
 * `debug-ports = yes`.
 *
 *   0xe0-0xe3            a latch of 32 bits: what was written is read back
 *   0xe4-0xe7            "drop this page": accepted, without effect, for guest memory is never swapped
 *   0x510, 0x511         how many CPUs and how much memory there are (QEMU's fw_cfg, without files)
 *   0x2000-0x2017        interrupt lines: a byte that is not 0 raises line n of the I/O APIC and of the 8259
 *   0xff000000, 64 KiB   memory, for tests of instruction emulators. Emulators make a device of it; here it is RAM that
 *                        no memory map names (hv/plan/planner.h), so the CPU itself executes whatever the test tries
 *
 * The numbers are those of QEMU's isa-debug-exit, fw_cfg and pc-testdev (QEMU, docs/specs/fw_cfg.rst and
 * hw/misc/pc-testdev.c). The lines are the wires' to move: testdev_port_write() leaves them in `line` and `level`.
 */
#ifndef HV_DEV_TESTDEV_H
#define HV_DEV_TESTDEV_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"

#define TESTDEV_LINES 24u
#define TESTDEV_NO_LINE 0xffu

struct testdev {
    struct bus_signals signals; /* BUS_TEST_LINE: `line` and `level` */
    uint32_t latch;
    uint16_t key;    /* of fw_cfg: the item */
    uint32_t offset; /* within it */
    uint16_t cpus;
    uint64_t ram_bytes;
    uint8_t line; /* that the last write moved, or TESTDEV_NO_LINE; the wires take it */
    bool level;
};

void testdev_reset(struct testdev *testdev, uint16_t cpus, uint64_t ram_bytes);

/* size is 1, 2 or 4. False: not one of its ports. */
bool testdev_port_read(struct testdev *testdev, uint16_t port, uint8_t size, uint32_t *value);
bool testdev_port_write(struct testdev *testdev, uint16_t port, uint8_t size, uint32_t value);

extern const struct bus_row testdev_row;

#endif
