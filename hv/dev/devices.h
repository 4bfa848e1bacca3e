/* SPDX-License-Identifier: MIT */
/*
 * The devices of the guest's PC, a line each: the type of its state, its name, which is that of its member in struct
 * platform and, with `_row` behind it, of its row. A device is added by its header and a line here, and by nothing
 * else (docs/devices.md, "To add a device"). In this order they are reset, and run when several are due.
 */
#ifndef HV_DEV_DEVICES_H
#define HV_DEV_DEVICES_H

#include "hv/dev/bios_rom.h"
#include "hv/dev/cmos.h"
#include "hv/dev/crtc.h"
#include "hv/dev/debug_ports.h"
#include "hv/dev/hpet.h"
#include "hv/dev/i8042.h"
#include "hv/dev/idle_ports.h"
#include "hv/dev/ioapic.h"
#include "hv/dev/pci/host.h"
#include "hv/dev/pic.h"
#include "hv/dev/pit.h"
#include "hv/dev/pm.h"
#include "hv/dev/pvpanic.h"
#include "hv/dev/testdev.h"
#include "hv/dev/uart.h"
#include "hv/dev/wdat.h"

#define PLATFORM_DEVICES(DEVICE)            \
    DEVICE(struct pic_pair, pic)            \
    DEVICE(struct ioapic, ioapic)           \
    DEVICE(struct pit, pit)                 \
    DEVICE(struct cmos, cmos)               \
    DEVICE(struct pm, pm)                   \
    DEVICE(struct hpet, hpet)               \
    DEVICE(struct uart, uart)               \
    DEVICE(struct uart, com2)               \
    DEVICE(struct i8042, i8042)             \
    DEVICE(struct crtc, crtc)               \
    DEVICE(struct pci_host, pci_host)       \
    DEVICE(struct idle_ports, idle_ports)   \
    DEVICE(struct ide_ports, ide_ports)     \
    DEVICE(struct delay_ports, delay_ports) \
    DEVICE(struct bios_port, bios_port)     \
    DEVICE(struct pvpanic, pvpanic)         \
    DEVICE(struct wdat, wdat)               \
    DEVICE(struct debug_ports, debug_ports) \
    DEVICE(struct testdev, testdev)

#endif
