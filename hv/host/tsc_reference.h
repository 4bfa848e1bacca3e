/* SPDX-License-Identifier: MIT */
/*
 * The machine's timers with a known rate, and what the TSC's is by each of them.
 *
 *   the ACPI PM timer   3.579545 MHz. ACPI 6.5 4.8.3.3
 *   the HPET            says its own. "IA-PC HPET (High Precision Event Timers) Specification" 1.0a, 2.3, 3.2.4
 *   the 8254 timer      1.193182 MHz, channel 2. Intel 8254 data sheet
 *   Stall()             the firmware's wait, measured before the hand-over
 *
 * All of them are read in the same two pieces of 10 ms, so that a further one costs no time.
 */
#ifndef HV_HOST_TSC_REFERENCE_H
#define HV_HOST_TSC_REFERENCE_H

#include "hv/base/types.h"

struct host_acpi;

enum tsc_reference {
    TSC_BY_PM_TIMER,
    TSC_BY_HPET,
    TSC_BY_PIT,
    TSC_BY_STALL,
    TSC_REFERENCES,
};

#define TSC_STABLE_PPM 500u /* two pieces that differ by no more agree */

/* The TSC's rate by each; 0: the timer is not there, or stands still. */
struct tsc_measurement {
    uint64_t hz[TSC_REFERENCES];
    uint64_t halves_ppm[TSC_REFERENCES]; /* by how much the two pieces differ; UINT64_MAX: not known */
};

/* "the ACPI PM timer". */
const char *tsc_reference_name(enum tsc_reference reference);

/* Takes about 20 ms, and up to four times that where the two pieces differ: the round is kept in which they differ
 * least. `stall_hz`: what Stall() gave, 0 for nothing. The HPET is left as it was found. */
void tsc_reference_measure(const struct host_acpi *acpi, uint64_t stall_hz, struct tsc_measurement *measurement);

#endif
