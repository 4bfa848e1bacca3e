/* SPDX-License-Identifier: MIT */
/*
 * QEMU's `edu` (1234:11e8): a device that copies between its own buffer and any address that its driver names. QEMU,
 * docs/specs/edu; a copy takes 100 ms.
 */
#ifndef TESTS_GUESTS_LIB_EDU_H
#define TESTS_GUESTS_LIB_EDU_H

#include "tests/guests/lib/guest.h"

#define EDU 0x11e81234u /* PCI_ID */

#define EDU_VERSION 0x010000edu
#define EDU_LIVE 0x04u
#define EDU_FACTORIAL 0x08u
#define EDU_STATUS 0x24u
#define EDU_RAISE 0x60u
#define EDU_ACKNOWLEDGE 0x64u
#define EDU_SOURCE 0x80u
#define EDU_TARGET 0x88u
#define EDU_COUNT 0x90u
#define EDU_DMA 0x98u
#define EDU_GO 1u
#define EDU_FROM_DEVICE 2u
#define EDU_BUFFER 0x40000u

/* The device whose BAR 0 is at `registers` begins a copy; `command`: EDU_FROM_DEVICE, or 0 for one to its buffer. */
static inline void edu_begin(uint32_t registers, uint32_t from, uint32_t to, uint32_t bytes, uint32_t command)
{
    mmio_write32(registers + EDU_SOURCE, from);
    mmio_write32(registers + EDU_TARGET, to);
    mmio_write32(registers + EDU_COUNT, bytes);
    mmio_write32(registers + EDU_DMA, command | EDU_GO);
}

static inline bool edu_is_busy(uint32_t registers)
{
    return (mmio_read32(registers + EDU_DMA) & EDU_GO) != 0;
}

#endif
