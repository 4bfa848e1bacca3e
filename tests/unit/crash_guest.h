/* SPDX-License-Identifier: MIT */
/* A guest with one vCPU and RAM from 0 on, whose tables and code a test writes by hand: for tests of hv/report. */
#ifndef TESTS_UNIT_CRASH_GUEST_H
#define TESTS_UNIT_CRASH_GUEST_H

#include "hv/core/guest.h"
#include "hv/x86/registers.h"

#include <string.h>

#define RAM_BYTES 0x20000u

static uint8_t ram[RAM_BYTES] __attribute__((aligned(4096)));
static struct guest guest;
static struct vcpu vcpu;

/* The low bytes of a value, at an address of the guest. */
static inline void put(uint64_t at, uint64_t value, size_t bytes)
{
    memcpy(ram + at, &value, bytes);
}

/* All is zero but what says that it is a guest; CR3 is 0x1000. */
static inline void crash_guest_begin(uint64_t cr0)
{
    memset(ram, 0, sizeof(ram));
    memset(&guest, 0, sizeof(guest));
    memset(&vcpu, 0, sizeof(vcpu));
    guest.memory.window = (uint64_t)(uintptr_t)ram;
    guest.memory.range_count = 1;
    guest.memory.ranges[0] = (struct guest_range){.start = gpa(0), .backing = hpa(0), .bytes = RAM_BYTES};
    vcpu.guest = &guest;
    vcpu.system.cr0 = cr0;
    vcpu.system.cr3 = 0x1000;
}

#endif
