/* SPDX-License-Identifier: MIT */
/*
 * A watchdog on the guest's PCI bus that stock kernels have a driver for (Linux: i6300esb): the one of Intel's 6300ESB.
 * Intel 6300ESB I/O Controller Hub Datasheet, 300641, 16 "Watchdog Timer".
 *
 *   configuration space   60  16 bits: interrupt kind (1:0), clock 1 MHz (2), no reset (5)
 *                         68   8 bits: lock (0), enable (1), free-running (2); once locked it stays as it is
 *   BAR 0, 16 bytes       00  first preload, 20 bits    04  second preload    08  status
 *                         0c  16 bits: reload (8), timed out (9)
 *
 * It counts down twice. At the first end an interrupt could be asked for, which only the 6300ESB's own I/O APIC has:
 * none is. At the second one the guest has failed, as by its WDAT watchdog (wdat.h). One write of 0 to 0x0c is for one
 * write that follows 0x80 and 0x86 there; else it does nothing.
 *
 * Every guest with a PCI bus has one. It costs nothing until a driver enables it. That it has ended the guest once is
 * kept over the guest's restart, as on a PC.
 */
#ifndef HV_DEV_I6300ESB_H
#define HV_DEV_I6300ESB_H

#include "hv/base/clock.h"
#include "hv/dev/pci/function.h"

struct i6300esb {
    struct pci_endpoint function; /* first */
    const struct clock *clock;
    uint64_t begun; /* host TSC: of the stage that runs */
    uint32_t preloads[2];
    uint8_t stage;    /* 0 and 1 */
    uint8_t unlocked; /* steps of the two that let one write through */
    uint8_t lock;     /* register 0x68 */
    uint16_t config;  /* register 0x60 */
    bool timed_out;   /* kept over i6300esb_init() */
};

extern const struct bus_row i6300esb_row;

/* Describes the function, at each start of the guest. */
void i6300esb_init(struct i6300esb *watchdog, const struct clock *clock);

/* How long the driver has for feeding it, both stages. */
uint64_t i6300esb_ms(const struct i6300esb *watchdog);

#endif
