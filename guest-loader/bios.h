/* SPDX-License-Identifier: MIT */
/*
 * Where the guest's BIOS area has code: what the loader's interrupt vectors point to, and hv/dev/bios_rom.c writes. All
 * offsets are in segment 0xf000. IBM, Personal Computer AT Technical Reference, "ROM BIOS": the entry points that
 * programs jump to without asking a vector are at these places on every PC since.
 */
#ifndef GUEST_LOADER_BIOS_H
#define GUEST_LOADER_BIOS_H

#include "hv/base/types.h"

#define BIOS_SEGMENT 0xf000u
#define BIOS_POWER_ON 0xe05bu /* where the reset vector jumps to */
#define BIOS_IRET 0xff53u     /* an interrupt that does nothing */
#define BIOS_RESET 0xfff0u    /* the reset vector: FFFF:0000 is the same place */

/* A stub for each of the first vectors, which pushes the vector's number: in a row. */
#define BIOS_STUBS 0xe100u
#define BIOS_STUB_BYTES 5u
#define BIOS_STUB_COUNT 0x78u

#define BIOS_VECTORS 256u
#define BIOS_USER_FIRST 0x60u /* left to programs: 0 in the table */
#define BIOS_USER_LAST 0x67u

/* The offset that a vector has in the table at 0, in BIOS_SEGMENT; 0: the vector is 0:0. */
static inline uint16_t bios_vector(uint32_t vector)
{
    bool trap = vector >= 1 && vector <= 5; /* debug traps, NMI, overflow, print screen: nothing is to be done */
    bool unused = vector == 0x1c || (vector >= 0x20 && vector < 0x70) || vector >= BIOS_STUB_COUNT;

    if (vector >= BIOS_USER_FIRST && vector <= BIOS_USER_LAST) {
        return 0;
    }
    return (uint16_t)(trap || unused ? BIOS_IRET : BIOS_STUBS + vector * BIOS_STUB_BYTES);
}

#endif
