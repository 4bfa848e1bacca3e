/* SPDX-License-Identifier: MIT */
/*
 * How much of a machine one run has room for. Every table and every set that is as long as one of these numbers is made
 * from it, so that this is the one place to change.
 */
#ifndef HV_BASE_LIMITS_H
#define HV_BASE_LIMITS_H

/* CPUs of the machine. The firmware may describe more: the first ones are used. */
#define CPUS_MAX 255u

/* Guests. The console has a bit for each in a word of 64. */
#define GUESTS_MAX 64u

/* Parts of the machine with memory and CPUs of their own (proximity domains of the SRAT): a package, or a part of one
 * where the firmware says so (NPS4 on an EPYC, sub-NUMA clusters on a Xeon). */
#define NUMA_NODES_MAX 64u

#endif
