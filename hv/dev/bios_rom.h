/* SPDX-License-Identifier: MIT */
/*
 * The code in a guest's BIOS area: as much of a BIOS as kernels run into that start without one.
 *
 *   - The restart vectors (FFFF:0000, F000:E05B, INT 19h) ask for a reset.
 *   - The interrupts of the 8259, as a BIOS leaves it, are ended, the timer's counted at 0040:006C and passed to INT
 *     1Ch, so that a boot sector's `sti; hlt` wakes up.
 *   - Services (INT 10h to 1Ah) do not exist: each call is noted (hv/core/guest.h, UNKNOWN_BIOS) and returns with CF
 *     and ZF set and AH 0x86, because a kernel that asks without being sure (Xen for disks and video modes) goes on.
 *     INT 11h and 12h give the words of the data area.
 *   - INT 18h (no boot device) and exceptions that find no handler but this one end the guest with a sentence.
 *
 * The code says what it is about by a 32-bit OUT to the port that firmware has for this (Intel 82371AB (PIIX4) data
 * sheet, "APMC": a write there is an SMI), with a signature in the upper half, so that no other write is taken for it.
 */
#ifndef HV_DEV_BIOS_ROM_H
#define HV_DEV_BIOS_ROM_H

#include "hv/base/types.h"
#include "hv/dev/bus.h"

#define BIOS_ROM_PORT 0xb2u
#define BIOS_ROM_SIGNATURE 0x504cu /* of the upper half; below it the vector, and AH as the guest called it */
#define BIOS_ROM_RESTART 0xffu     /* in place of a vector: the reset vector */

/* The ROM's 64 KiB from 0xf0000 on; what is not code stays as it is. */
#define BIOS_ROM_BYTES 0x10000u
#define BIOS_ROM_CODE 0xe000u /* everything below is free for tables */

void bios_rom_build(uint8_t rom[BIOS_ROM_BYTES]);

/* True for what a service's stub writes: *service is the vector << 8 | AH. */
bool bios_rom_is_service(uint16_t port, uint8_t size, uint32_t value, uint32_t *service);

struct bios_port {
    struct bus_signals signals;
    uint32_t vector; /* with POWER_NO_BIOS */
};

extern const struct bus_row bios_port_row;

#endif
