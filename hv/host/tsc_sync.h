/* SPDX-License-Identifier: MIT */
/*
 * The TSCs of two CPUs, compared when the second one starts.
 *
 * Deadlines and the guests' clocks are TSC values that all CPUs share, so a guest with vCPUs on both would see its time
 * jump where they differ. Two things are done. Where the CPU has IA32_TSC_ADJUST, the boot CPU's value is copied: a
 * firmware that wrote the TSC of one CPU alone left a difference there. Then both CPUs take turns at reading the TSC;
 * a value that is smaller than one that the other CPU read before it is a warp. SDM 3B 18.17.3 "Time-Stamp Counter
 * Adjustment".
 *
 * The order: the boot CPU calls tsc_sync_begin(), starts the other CPU, and both call their halves, which wait for each
 * other with a bound.
 */
#ifndef HV_HOST_TSC_SYNC_H
#define HV_HOST_TSC_SYNC_H

#include "hv/base/types.h"

/* Once, on the boot CPU: keeps its IA32_TSC_ADJUST. */
void tsc_sync_begin(void);

/* The starting CPU's half: its TSC is adjusted, then compared. Ends after TSC_SYNC_WAIT_US without the other half. */
#define TSC_SYNC_WAIT_US 100000u
void tsc_sync_starting_cpu(void);

/*
 * The boot CPU's half, until `deadline` (TSC) at most for the other one to come. False: it did not come. True: *warp is
 * the largest difference that was seen, in ticks; 0: none. *adjusted: by how much the CPU's TSC was moved.
 */
bool tsc_sync_boot_cpu(uint64_t deadline, uint64_t *warp, uint64_t *adjusted);

#endif
