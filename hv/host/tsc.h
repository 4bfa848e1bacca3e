/* SPDX-License-Identifier: MIT */
/*
 * How fast the TSC counts, and whether it can be a clock.
 *
 * CPUID states the rate on newer CPUs (leaf 0x15, or the base frequency in 0x16), but emulators and some boards state
 * one that is wrong by a large factor. So the rate is always measured against the timers with a known rate as well
 * (hv/host/tsc_reference.h), in two pieces of 10 ms, one after the other, which must agree, else they are repeated; the
 * rate is that of the whole 20 ms. Of the timers the first of those is believed with which most others agree within 1
 * percent, and the source says which do and which do not. Within 1 percent of it leaf 0x15 is believed, because it is
 * exact; beyond, the timer is believed and the note says so. The
 * frequency leaves of a hypervisor below us (0x40000010) are never used.
 *
 * "Stable" means: the same rate in all power states. The invariant-TSC bit says it (SDM 3B 18.17.1 "Invariant TSC").
 * Without the bit, a machine that says it is virtual (CPUID.1:ECX[31]) and whose two measurements agree within
 * TSC_STABLE_PPM is believed as well: QEMU's TCG does not offer the bit and counts constantly. A real CPU without the
 * bit is not believed, because no measurement of 20 ms can show what deep sleep does to its TSC.
 */
#ifndef HV_HOST_TSC_H
#define HV_HOST_TSC_H

#include "hv/base/types.h"

#define TSC_NOTE_MAX 160u
#define TSC_SOURCE_MAX 240u

struct tsc_calibration {
    uint64_t hz;
    char source[TSC_SOURCE_MAX]; /* "CPUID leaf 0x15, checked with the ACPI PM timer; also by the HPET" */
    bool stable;
    char note[TSC_NOTE_MAX]; /* what was odd; empty where nothing was */
};

struct host_acpi;

/* Takes about 20 ms. Without any timer and without CPUID's word, hz is 0 and the note says what is missing. `stall_hz`:
 * the rate by the firmware's Stall(), 0 where it is not known. */
struct tsc_calibration tsc_calibrate(const struct host_acpi *acpi, uint64_t stall_hz);

/* Waits with the CPU busy. Correct after tsc_calibrate(); before it, a rate of 4 GHz is taken, which waits too long
 * rather than too short on slower CPUs. */
void tsc_wait_us(uint64_t us);

/* Microseconds as TSC ticks, with the rate of the last calibration; before it, of 4 GHz. */
uint64_t tsc_ticks_of_us(uint64_t us);

/* The TSC value `us` microseconds from now, with the rate of the last calibration. */
uint64_t tsc_after_us(uint64_t us);

#endif
