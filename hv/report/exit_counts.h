/* SPDX-License-Identifier: MIT */
/* How often a guest's vCPUs have left it, and why. Counters of vCPUs that run are read as they are at that moment. */
#ifndef HV_REPORT_EXIT_COUNTS_H
#define HV_REPORT_EXIT_COUNTS_H

#include "hv/core/guest.h"
#include "hv/core/vm_exit.h"

#define EXIT_COUNTS_TEXT_MAX 400u

uint64_t exit_count(const struct guest *guest, enum exit_kind kind);
uint64_t exit_count_total(const struct guest *guest);

/* "58 exits, CPUID 56 (96%), HLT 2 (3%)": kinds that there were, percent rounded down. Returns `to`. */
const char *exit_counts_text(const struct guest *guest, char *to, size_t capacity);

#endif
